#!/bin/sh
# Installs the bundle that lies beside this file. Needs a POSIX shell with the usual tools
# (busybox is enough), no network, and nothing else. See README.txt, or: sh install.sh --help

set -eu
umask 022

bundle=@BUNDLE@
bundle_id=@ID@

state=/var/lib/hod-install
binary=/usr/local/bin/hod
unit=/etc/systemd/system/hod-serve.service
docker_config=/etc/docker/daemon.json

usage() {
    cat <<'USAGE'
usage: sh install.sh [--root DIR | --push docker://HOST[:PORT][/PREFIX]] [OPTION]...
       sh install.sh --undo [--yes]

  --root DIR         unpack the images to this registry root [default: /var/lib/registry]
  --push REGISTRY    push them into a registry instead, as docker://HOST[:PORT][/PREFIX]
  --tls-verify=BOOL  for --push: false takes any certificate, and plain HTTP
  --authfile FILE    for --push: the file with the credentials
  --key FILE         take the bundle only if it is signed with this minisign key; repeatable
  --no-key           look at no signature, even if this machine has trusted keys
  --serve ADDRESS    serve the root at this address, such as 127.0.0.1:5000, now and after each boot
  --containerd NAME  let containerd look for images of the registry NAME there first (docker.io, or _default
                     for all); repeatable
  --docker           let docker look for images of Docker Hub there first
  --mirror URL       where they look [default: http:// and the address of --serve]
  --skip-sums        do not check the sums of the bundle before; hod checks every byte as it reads it
  --yes              ask nothing
  --dry-run          say what would be done, and do nothing
  --undo             take back what earlier runs have set up; images stay where they are
USAGE
}

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
misused() { printf 'install.sh: %s; see --help\n' "$*" >&2; exit 2; }

# The SHA-256 of a file.
sum_of() { sha256sum <"$1" | cut -d ' ' -f 1; }

confirm() {
    [ "$yes" = yes ] && return 0
    [ -t 0 ] || fail "there is no terminal to ask on; give --yes to go on without"
    printf '%s [y/N] ' "$1"
    read -r answer || answer=n
    case $answer in y | Y | yes) ;; *) fail "nothing was changed" ;; esac
}

# Writes standard input to a file, and notes in the state what was there before. A file that is as it should be is
# left alone.
put() {
    target=$1 mode=$2
    before=-
    [ -d "$(dirname "$target")" ] || before=/
    mkdir -p "$state/before" "$(dirname "$target")"
    new=$target.hod-new
    cat >"$new"
    chmod "$mode" "$new"
    sum=$(sum_of "$new")
    if [ -e "$target" ] && [ "$(sum_of "$target")" = "$sum" ]; then
        rm -f "$new"
        say "  $target is as it should be"
        return 0
    fi
    if [ -e "$state/files" ] && grep -q " $target\$" "$state/files"; then
        before=$(sed -n "s|^[0-9a-f]* \\([^ ]*\\) $target\$|\\1|p" "$state/files")
    elif [ -e "$target" ]; then
        before=$(echo "$target" | tr / _)
        cp -p "$target" "$state/before/$before"
    fi
    # The note comes first: if the machine stops here, undo finds a file with another sum and leaves it alone.
    { [ ! -e "$state/files" ] || grep -v " $target\$" "$state/files" || :; printf '%s %s %s\n' "$sum" "$before" "$target"; } \
        >"$state/files.new"
    mv "$state/files.new" "$state/files"
    mv "$new" "$target"
    say "  wrote $target"
}

has_systemd() { [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; }

undo() {
    [ -e "$state/files" ] || { say "there is nothing to undo"; return 0; }
    say "This takes back:"
    while read -r sum before target; do
        if [ "$before" = - ] || [ "$before" = / ]; then say "  $target is removed"; else say "  $target becomes what it was"; fi
    done <"$state/files"
    [ "$dry" = yes ] && return 0
    confirm "Go on?"
    if has_systemd && grep -q " $unit\$" "$state/files"; then
        systemctl disable --now hod-serve.service >/dev/null 2>&1 || say "  hod-serve.service could not be stopped"
    fi
    kept=
    while read -r sum before target; do
        if [ -e "$target" ] && [ "$(sum_of "$target")" != "$sum" ]; then
            say "  $target was changed since, and stays"
            kept="$kept $target"
        elif [ "$before" = - ] || [ "$before" = / ]; then
            rm -f "$target"
            [ "$before" = - ] || rmdir "$(dirname "$target")" 2>/dev/null || :
            say "  removed $target"
        else
            cp -p "$state/before/$before" "$target.hod-new"
            mv "$target.hod-new" "$target"
            say "  $target is what it was"
        fi
    done <"$state/files"
    if has_systemd; then systemctl daemon-reload || :; fi
    if [ -n "$kept" ]; then
        say "what was there before these files is in $state/before:$kept"
        mv "$state/files" "$state/files.undone"
    else
        rm -rf "$state"
    fi
    say "done; images that were unpacked or pushed stay where they are"
}

# Checks that the files beside this one are those that were packed together.
check_sums() {
    command -v sha256sum >/dev/null 2>&1 || fail "there is no sha256sum (coreutils or busybox have it)"
    if [ "$skip_sums" = yes ]; then
        wanted=$(awk -v bundle="$bundle" '
            { name = substr($0, 67) }
            name == bundle { next }
            index(name, bundle ".") == 1 && substr(name, length(bundle) + 2) ~ /^[0-9]+$/ { next }
            { print }' "$here/SHA256SUMS")
    else
        wanted=$(cat "$here/SHA256SUMS")
    fi
    say "checking the files of this folder"
    (cd "$here" && printf '%s\n' "$wanted" | sha256sum -c -) >"$work/sums" 2>&1 || {
        grep -v ': OK$' "$work/sums" >&2 || :
        fail "these files are not as they were packed: copy them again"
    }
}

# Checks the signature over the sums, where something other than this medium can do it.
check_signature() {
    [ -n "$keys" ] && [ -e "$here/SHA256SUMS.minisig" ] && command -v minisign >/dev/null 2>&1 || return 0
    old_ifs=$IFS
    IFS='
'
    for key in $keys; do
        if minisign -Vq -p "$key" -m "$here/SHA256SUMS" -x "$here/SHA256SUMS.minisig" >/dev/null 2>&1; then
            IFS=$old_ifs
            say "the sums are signed with $key"
            return 0
        fi
    done
    IFS=$old_ifs
    fail "the sums are not signed with a key that was named"
}

# A copy of hod that can be run: media may be mounted so that nothing on them can.
find_hod() {
    hod=$here/hod
    "$hod" --version >/dev/null 2>&1 && return 0
    cp "$here/hod" "$work/hod"
    chmod 755 "$work/hod"
    hod=$work/hod
    "$hod" --version >/dev/null 2>&1 || fail "$here/hod does not run on this machine ($(uname -m))"
}

# Runs a command of hod with the keys that were named.
with_keys() {
    old_ifs=$IFS
    IFS='
'
    for key in $keys; do set -- "$@" --key "$key"; done
    IFS=$old_ifs
    [ "$no_key" = no ] || set -- "$@" --no-key
    "$hod" "$@"
}

write_unit() {
    # The homes are hidden but for the root, where it is in one: homes are open to their owners alone.
    home='ProtectHome=yes'
    case $real in
        /home/*) home="ProtectHome=tmpfs
BindReadOnlyPaths=$real" ;;
    esac
    put "$unit" 644 <<UNIT
[Unit]
Description=Registry over $root (hod)
Documentation=file://$here/README.txt
After=network.target

[Service]
Type=notify
ExecStart=$binary serve $root --listen $serve
DynamicUser=yes
ProtectSystem=strict
$home
PrivateTmp=yes
NoNewPrivileges=yes
Restart=on-failure

[Install]
WantedBy=multi-user.target
UNIT
}

write_docker() {
    entry="\"registry-mirrors\": [\"$mirror\"]"
    if [ ! -s "$docker_config" ] || [ "$(tr -d ' \n\r\t' <"$docker_config")" = '{}' ]; then
        printf '{\n  %s\n}\n' "$entry" | put "$docker_config" 644
    elif grep -q "\"$mirror\"" "$docker_config"; then
        say "  $docker_config has this mirror"
    elif grep -q '"registry-mirrors"' "$docker_config"; then
        say "  $docker_config has other mirrors; add \"$mirror\" to \"registry-mirrors\" there by hand"
        return 0
    elif [ "$(tr -d ' \n\r\t' <"$docker_config" | cut -c 1-2)" = '{"' ]; then
        # The first brace is that of the whole, and an entry follows it.
        awk -v entry="$entry" '!done && sub(/\{/, "{\n  " entry ",") { done = 1 } { print }' "$docker_config" >"$work/docker"
        put "$docker_config" 644 <"$work/docker"
    else
        say "  $docker_config is not understood; add $entry there by hand"
        return 0
    fi
    if has_systemd && systemctl is-active --quiet docker.service; then
        systemctl reload docker.service || say "  docker could not be told: restart it"
    fi
}

write_containerd() {
    old_ifs=$IFS
    IFS='
'
    for name in $containerd; do
        IFS=$old_ifs
        put "/etc/containerd/certs.d/$name/hosts.toml" 644 <<HOSTS
[host."$mirror"]
  capabilities = ["pull", "resolve"]
HOSTS
    done
    IFS=$old_ifs
    if ! grep -qs 'config_path.*certs.d' /etc/containerd/config.toml; then
        say "  note: containerd reads these once /etc/containerd/config.toml has"
        say "        config_path = \"/etc/containerd/certs.d\" in its registry section"
    fi
}

show_plan() {
    say "bundle $bundle"
    say "  $bundle_id"
    say "This will:"
    if [ -n "$push" ]; then say "  push its images to $push"; else say "  unpack its images to $root"; fi
    if [ -n "$serve" ]; then
        say "  install $binary and $unit"
        say "  serve $root at $serve, now and after each boot"
    fi
    for name in $containerd; do say "  write /etc/containerd/certs.d/$name/hosts.toml, which points to $mirror"; done
    if [ "$docker" = yes ]; then say "  add the mirror $mirror to $docker_config"; fi
}

install() {
    check_sums
    check_signature
    find_hod
    show_plan
    [ "$dry" = yes ] && return 0
    confirm "Go on?"
    if [ -n "$push" ]; then
        set -- push "$here/$bundle" "$push"
        [ -z "$tls_verify" ] || set -- "$@" "--tls-verify=$tls_verify"
        [ -z "$authfile" ] || set -- "$@" --authfile "$authfile"
        with_keys "$@"
    else
        with_keys unpack "$here/$bundle" --root "$root"
    fi
    if [ -n "$serve" ]; then
        put "$binary" 755 <"$hod"
        write_unit
        if has_systemd; then
            systemctl daemon-reload
            systemctl enable hod-serve.service
            systemctl restart hod-serve.service
        else
            say "  there is no systemd here; to serve now: $binary serve $root --listen $serve"
        fi
    fi
    [ -z "$containerd" ] || write_containerd
    [ "$docker" = no ] || write_docker
    say "done"
}

# Words that become part of files must not mean anything there.
plain_path() {
    case $1 in
        /*) ;;
        *) misused "$1 does not begin with /" ;;
    esac
    case $1 in *[!A-Za-z0-9_./-]*) misused "$1 has characters other than letters, digits and _ . / -" ;; esac
}

here=$(cd "$(dirname "$0")" && pwd)
root=/var/lib/registry push='' keys='' no_key=no serve='' containerd='' docker=no mirror=''
tls_verify='' authfile='' skip_sums=no yes=no dry=no undo=no

while [ $# -gt 0 ]; do
    case $1 in
        --root | --push | --key | --serve | --containerd | --mirror | --authfile)
            [ $# -gt 1 ] || misused "$1 needs a value"
            case $1 in
                --root) root=$2 ;;
                --push) push=$2 ;;
                --key) keys="$keys$2
" ;;
                --serve) serve=$2 ;;
                --containerd) containerd="$containerd$2
" ;;
                --mirror) mirror=$2 ;;
                --authfile) authfile=$2 ;;
            esac
            shift
            ;;
        --tls-verify=*) tls_verify=${1#*=} ;;
        --no-key) no_key=yes ;;
        --docker) docker=yes ;;
        --skip-sums) skip_sums=yes ;;
        --yes | -y) yes=yes ;;
        --dry-run) dry=yes ;;
        --undo) undo=yes ;;
        --help | -h) usage; exit 0 ;;
        *) misused "$1 is no option" ;;
    esac
    shift
done

if [ "$undo" = yes ]; then
    undo
    exit 0
fi
if [ -n "$push" ] && [ -n "$serve" ]; then misused "--serve is for a root, and --push writes none"; fi
plain_path "$root"
real=$root
if [ -n "$serve" ]; then
    # Of folders that are not there yet those above are looked at.
    above=$root below=
    while [ ! -e "$above" ]; do
        below=/$(basename "$above")$below
        above=$(dirname "$above")
    done
    real=$(cd "$above" && pwd -P) || fail "$above is no folder"
    real=${real%/}$below
    plain_path "$real"
    case $real/ in
        /root/* | /tmp/* | /var/tmp/*)
            misused "--serve cannot serve $root: the service runs as a user of its own, which sees nothing below /root, /tmp and /var/tmp; choose another --root"
            ;;
    esac
fi
case $serve in *[!A-Za-z0-9.:\[\]-]*) misused "$serve is no address" ;; esac
case $mirror in *[!A-Za-z0-9.:/_\[\]-]*) misused "$mirror is no URL of a registry" ;; esac
case $containerd in *..* | */* | *[!A-Za-z0-9.:_'
'-]*) misused "--containerd takes names of registries" ;; esac
[ -n "$mirror" ] || [ -z "$serve" ] || mirror=http://$serve
if [ -z "$mirror" ] && { [ -n "$containerd" ] || [ "$docker" = yes ]; }; then
    misused "say with --serve or --mirror where they should look"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
install
