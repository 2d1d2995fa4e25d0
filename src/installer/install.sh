#!/bin/sh
# Installs the bundle that lies beside this file. Needs a POSIX shell with the usual tools
# (busybox is enough), no network, and nothing else. See README.txt, or: sh install.sh --help

set -eu
umask 022

bundle=@BUNDLE@
bundle_id=@ID@
content=@CONTENT@
made=@MADE@
# The number of the key that signed it, when it was packed.
signer=@SIGNER@
# Of a delta: what it builds on.
base=@BASE@
# One of its images, for examples, and the reference that it was pulled from.
image=@IMAGE@
source=@SOURCE@

state=/var/lib/hod-install
binary=/usr/local/bin/hod
unit=/etc/systemd/system/hod-serve.service
docker_config=/etc/docker/daemon.json
containers=/etc/containers/registries.conf.d

usage() {
    cat <<'USAGE'
usage: sh install.sh [--root DIR | --push docker://HOST[:PORT][/PREFIX]] [OPTION]...
       sh install.sh --undo [--yes]

  --root DIR         unpack the images to this registry root [default: /var/lib/registry]
  --push REGISTRY    push the images to a registry instead, as docker://HOST[:PORT][/PREFIX]
  --tls-verify=BOOL  with --push: false accepts any certificate and plain HTTP
  --authfile FILE    with --push: file with registry credentials
  --key FILE         accept the bundle only if it is signed with this minisign key; repeatable
  --no-key           check no signature, even if this machine has trusted keys
  --serve ADDRESS    serve the root at this address, such as 127.0.0.1:5000, now and after each boot
  --containerd NAME  let containerd pull images of the registry NAME from there first (docker.io, or
                     _default for all); repeatable
  --podman NAME      let podman, CRI-O, buildah and skopeo pull images of the registry NAME from there
                     first; repeatable
  --docker           let docker pull images of Docker Hub from there first
  --mirror URL       URL of that mirror [default: http:// and the address of --serve]
  --skip-sums        do not check the checksums of the bundle first; hod checks every byte that it reads
  --yes              ask no questions
  --dry-run          show what would be done, and do nothing
  --undo             undo the setup of earlier runs; images stay where they are
USAGE
}

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
misused() { printf 'install.sh: %s; see --help\n' "$*" >&2; exit 2; }

# The SHA-256 of a file.
sum_of() { sha256sum <"$1" | cut -d ' ' -f 1; }

confirm() {
    [ "$yes" = yes ] && return 0
    [ -t 0 ] || fail "no terminal for a prompt; give --yes to continue without it"
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

# Takes the sums, and the signature over them, from the medium, once: from here on the copies count.
take_sums() {
    for name in SHA256SUMS SHA256SUMS.minisig; do
        [ -e "$here/$name" ] || [ -h "$here/$name" ] || continue
        is_plain "$name"
        cp "$here/$name" "$work/$name"
    done
    [ -e "$work/SHA256SUMS" ] || fail "SHA256SUMS is missing beside this file"
}

# Ends the run where a name of the medium is not that of a plain file: a link or pipe could lead anywhere.
is_plain() { [ -f "$here/$1" ] && [ ! -h "$here/$1" ] || fail "$here/$1 is not a plain file"; }

# Finds the keys with which the sums must be signed: those that were named, or the trusted ones of this machine.
find_keys() {
    wanted=$keys
    [ "$no_key" = no ] && [ -z "$keys" ] || return 0
    own=${XDG_CONFIG_HOME:-${HOME:+$HOME/.config}}
    own=${own:+$own/hod/trusted}
    there=no
    for directory in "$own" /etc/hod/trusted; do
        [ -n "$directory" ] && [ -e "$directory" ] || continue
        there=yes
        for key in "$directory"/*.pub; do
            [ ! -e "$key" ] || wanted="$wanted$key
"
        done
    done
    if [ $there = no ]; then
        say "note: no key is trusted by default, and no signature is checked: ${own:+$own and }/etc/hod/trusted: not found"
    elif [ -z "$wanted" ]; then
        fail "no trusted key (*.pub) exists in ${own:+$own or }/etc/hod/trusted; name a key with --key, or give --no-key"
    fi
}

# Checks the signature over the sums. It must be there where keys are wanted; only something other than this medium can
# tell whether it is right. Notes the result for the plan.
check_signature() {
    signature="none: the checksums only show that the copy is complete, not who made it"
    if [ -e "$work/SHA256SUMS.minisig" ] || [ -e "$here/$bundle.header.minisig" ] || [ -n "$signer" ]; then
        signature="present${signer:+ (key $signer)}, and NOT CHECKED: "
        if [ "$no_key" = yes ]; then
            signature="${signature}--no-key was given"
        else
            signature="${signature}get the public key of the maker by another way, and name it with --key"
        fi
    fi
    [ "$no_key" = no ] && [ -n "$wanted" ] || return 0
    [ -e "$work/SHA256SUMS.minisig" ] ||
        fail "the medium is not signed: SHA256SUMS.minisig is missing; nothing of the medium was run"
    if ! command -v minisign >/dev/null 2>&1; then
        say "note: minisign is not installed: only the hod of this medium checks the signature of the bundle"
        signature="present${signer:+ (key $signer)}, checked only by the hod of this medium"
        return 0
    fi
    old_ifs=$IFS
    IFS='
'
    for key in $wanted; do
        # A key may be given as itself, as for hod.
        if [ -e "$key" ]; then option=-p; else option=-P; fi
        if minisign -Vq "$option" "$key" -m "$work/SHA256SUMS" -x "$work/SHA256SUMS.minisig" >/dev/null 2>&1; then
            IFS=$old_ifs
            say "the sums are signed with $key"
            signature="checked with minisign and $key"
            return 0
        fi
    done
    IFS=$old_ifs
    fail "the sums are not signed with a trusted key; nothing of the medium was run"
}

# Checks that the files beside this one are those that were packed together.
check_sums() {
    command -v sha256sum >/dev/null 2>&1 || fail "sha256sum is not installed (coreutils or busybox have it)"
    # Names of this directory alone: no paths, nothing that sha256sum or a terminal would act on.
    if LC_ALL=C grep -qv '^[0-9a-f]\{64\}  [^/[:cntrl:]][^/[:cntrl:]]*$' "$work/SHA256SUMS"; then
        fail "SHA256SUMS has a line that hod does not write: get the medium again"
    fi
    cut -c 67- "$work/SHA256SUMS" >"$work/names"
    for name in hod install.sh; do
        grep -qxF -e "$name" "$work/names" || fail "SHA256SUMS does not name $name: get the medium again"
    done
    grep -qxF -e "$bundle" -e "$bundle.001" "$work/names" ||
        fail "SHA256SUMS does not name $bundle: get the medium again"
    while IFS= read -r name; do
        if [ -e "$here/$name" ] || [ -h "$here/$name" ]; then is_plain "$name"; fi
    done <"$work/names"
    if [ "$skip_sums" = yes ]; then
        bundle=$bundle awk '
            { name = substr($0, 67); bundle = ENVIRON["bundle"] }
            name == bundle { next }
            index(name, bundle ".") == 1 && substr(name, length(bundle) + 2) ~ /^[0-9]+$/ { next }
            { print }' "$work/SHA256SUMS" >"$work/wanted"
    else
        cp "$work/SHA256SUMS" "$work/wanted"
    fi
    say "checking the files of this directory"
    (cd "$here" && sha256sum -c "$work/wanted") >"$work/sums" 2>&1 || {
        grep -v ': OK$' "$work/sums" >&2 || :
        fail "these files are not as they were packed: copy them again"
    }
}

# The hod of the medium, copied and checked once more: media may be mounted so that nothing on them can be run, and may
# give other bytes when they are read again.
find_hod() {
    hod=$work/hod
    cp "$here/hod" "$hod"
    [ "$(sum_of "$hod")" = "$(awk 'substr($0, 67) == "hod" { print $1 }' "$work/SHA256SUMS")" ] ||
        fail "$here/hod has changed while it was read: get the medium again"
    chmod 755 "$hod"
    "$hod" --version >/dev/null 2>&1 ||
        fail "$here/hod does not run on this machine ($(uname -m)) from $work: if nothing can be run there, set TMPDIR"
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
        say "  $docker_config cannot be parsed; add $entry there by hand"
        return 0
    fi
    if has_systemd && systemctl is-active --quiet docker.service; then
        systemctl reload docker.service || say "  docker could not be reloaded: restart it"
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

# Lets podman, CRI-O, buildah and skopeo ask the mirror first (containers-registries.conf(5)).
write_podman() {
    location=${mirror#*://}
    location=${location%/}
    # containerd names the path of a registry with /v2, and these do not.
    case $location in */v2/*) location=${location%%/v2/*}/${location#*/v2/} ;; esac
    case $mirror in http://*) insecure=true ;; *) insecure=false ;; esac
    old_ifs=$IFS
    IFS='
'
    for name in $podman; do
        IFS=$old_ifs
        put "$containers/50-hod-$name.conf" 644 <<CONF
[[registry]]
prefix = "$name"
location = "$name"

[[registry.mirror]]
location = "$location"
insecure = $insecure
CONF
    done
    IFS=$old_ifs
    if grep -qs '^\[registries\.' /etc/containers/registries.conf; then
        say "  note: /etc/containers/registries.conf has version 1 of its format, with which podman and CRI-O"
        say "        read no mirrors: write it anew as version 2"
    fi
    if has_systemd && systemctl is-active --quiet crio.service; then
        systemctl reload crio.service || say "  CRI-O could not be reloaded: restart it"
    fi
}

show_bundle() {
    say "bundle $bundle: $content"
    say "  $bundle_id"
    say "  $made"
    say "  signature: $signature"
    [ -z "$base" ] || say "  this bundle is a DELTA: $base"
}

# Has hod check, without a change, that the bundle is trusted, that what a delta builds on is there, and that it fits.
check_target() {
    if [ -n "$push" ]; then
        run_push --dry-run >/dev/null 2>"$work/checked"
    else
        with_keys unpack "$here/$bundle" --root "$root" --dry-run >/dev/null 2>"$work/checked"
    fi || {
        code=$?
        cat "$work/checked" >&2
        printf 'install.sh: nothing was changed\n' >&2
        exit "$code"
    }
    sed 's/^/  /' "$work/checked"
}

run_push() {
    set -- push "$here/$bundle" "$push" "$@"
    [ -z "$tls_verify" ] || set -- "$@" "--tls-verify=$tls_verify"
    [ -z "$authfile" ] || set -- "$@" --authfile "$authfile"
    with_keys "$@"
}

show_plan() {
    say "This will:"
    if [ -n "$push" ]; then say "  push its images to $push"; else say "  unpack its images to $root"; fi
    if [ -n "$serve" ]; then
        say "  install $binary and $unit"
        say "  serve $root at $serve, now and after each boot"
    fi
    for name in $containerd; do say "  write /etc/containerd/certs.d/$name/hosts.toml, which points to $mirror"; done
    for name in $podman; do say "  write $containers/50-hod-$name.conf, which points to $mirror"; done
    if [ "$docker" = yes ]; then say "  add the mirror $mirror to $docker_config"; fi
}

# What to do now, and where.
show_next() {
    say "Next:"
    if [ -n "$push" ]; then
        place=${push#docker://}
        place=${place%/}
        say "  the images are at $place"
        say "  pull one:            docker pull $place/$image"
        say "                       podman pull $place/$image"
        say "  let runtimes ask it: again with --mirror URL, and --containerd NAME, --podman NAME or --docker"
        return 0
    fi
    say "  the images are in $root"
    if [ -z "$serve" ]; then
        say "  serve them:          sh $0 --root $root --serve 127.0.0.1:5000"
        say "  push them:           sh $0 --push docker://HOST[:PORT][/PREFIX]"
        return 0
    fi
    # An address for all of this machine is none that others can ask.
    case $serve in
        0.0.0.0:* | '[::]:'*) place=$(hostname 2>/dev/null || echo HOST):${serve##*:} ;;
        *) place=$serve ;;
    esac
    say "  they are served at   http://$place"
    say "  pull one:            docker pull $place/$image"
    say "                       podman pull --tls-verify=false $place/$image"
    if [ -n "$containerd" ]; then say "  by its own name:     crictl pull ${source:-$image}"; fi
    if [ -n "$podman" ]; then say "  by its own name:     podman pull ${source:-$image}"; fi
    if [ "$docker" = yes ]; then say "  by its own name:     docker pull ${source:-$image}"; fi
    say "  list them:           $binary ls $root"
    if has_systemd; then say "  see the log:         journalctl -u hod-serve.service"; fi
}

install() {
    take_sums
    find_keys
    check_signature
    check_sums
    find_hod
    show_bundle
    check_target
    show_plan
    [ "$dry" = yes ] && return 0
    confirm "Go on?"
    if [ -n "$push" ]; then
        run_push
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
            say "  systemd is not running; to serve now: $binary serve $root --listen $serve"
        fi
    fi
    [ -z "$containerd" ] || write_containerd
    [ -z "$podman" ] || write_podman
    [ "$docker" = no ] || write_docker
    say "done"
    show_next
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
root=/var/lib/registry push='' keys='' no_key=no serve='' containerd='' podman='' docker=no mirror=''
tls_verify='' authfile='' skip_sums=no yes=no dry=no undo=no

while [ $# -gt 0 ]; do
    case $1 in
        --root | --push | --key | --serve | --containerd | --podman | --mirror | --authfile)
            [ $# -gt 1 ] || misused "$1 needs a value"
            case $1 in
                --root) root=$2 ;;
                --push) push=$2 ;;
                --key) keys="$keys$2
" ;;
                --serve) serve=$2 ;;
                --containerd) containerd="$containerd$2
" ;;
                --podman) podman="$podman$2
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
    real=$(cd "$above" && pwd -P) || fail "$above is not a directory"
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
case $podman in *..* | */* | *_default* | *[!A-Za-z0-9.:_'
'-]*) misused "--podman takes names of registries" ;; esac
[ -n "$mirror" ] || [ -z "$serve" ] || mirror=http://$serve
if [ -z "$mirror" ] && { [ -n "$containerd" ] || [ -n "$podman" ] || [ "$docker" = yes ]; }; then
    misused "say with --serve or --mirror where they should look"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
install
