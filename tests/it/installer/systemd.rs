//! The service of the installer under a systemd of its own: started, killed, restarted, taken back.
//!
//! systemd runs as the first process of a PID namespace, over a copy of this machine's root that is gone afterwards.

use std::process::Command;

use fs_err as fs;

use super::{Root, pack};
use crate::support::skipped::{may_change_root, skipped};

/// Makes the root and starts systemd in it. Ends with 77 where the kernel does not allow that.
const BOOT: &str = r#"
set -e
work=$1
mount --make-rprivate / && mount -t tmpfs tmpfs "$work" || exit 77
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root" || exit 77
cd "$work/root"
mkdir -p media run/out
rm -rf etc/systemd/system/* etc/hod etc/docker/daemon.json var/lib/registry usr/local/bin/hod
mount -t proc proc proc && mount --rbind /sys sys && mount --rbind /dev dev && mount -t tmpfs tmpfs run || exit 77
mkdir run/out
mount --bind "$2" run/out
mount --bind "$3" media
cp "$4" etc/ours.pub
cp "$5" probe.sh
cat >etc/systemd/system/probe.service <<UNIT
[Service]
Type=oneshot
ExecStart=/bin/sh -ex /probe.sh
StandardOutput=file:/run/out/said
StandardError=file:/run/out/said
TimeoutStartSec=300
ExecStopPost=/bin/systemctl poweroff --force --force
UNIT
mount -t tmpfs tmpfs tmp
exec chroot . /usr/bin/env -i container=hod PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=probe.service --log-target=console --show-status=false
"#;

/// Runs below systemd.
const PROBE: &str = r#"
busybox ip link set lo up
unit=/etc/systemd/system/hod-serve.service
ask() { busybox wget -q -O - http://127.0.0.1:5000/v2/_catalog; }
sh /media/install.sh --yes --key /etc/ours.pub --serve 127.0.0.1:5000
systemd-analyze verify "$unit" >/run/out/verify 2>&1
systemctl is-active hod-serve.service
systemctl is-enabled hod-serve.service
# It has said that it is ready, so it answers now.
ask | grep base/busybox
[ "$(systemctl show -p User --value hod-serve.service)" != root ]
old=$(systemctl show -p MainPID --value hod-serve.service)
kill -9 "$old"
until ask; do sleep 0.1; done
[ "$(systemctl show -p MainPID --value hod-serve.service)" != "$old" ]
sh /media/install.sh --yes --key /etc/ours.pub --serve 127.0.0.1:5000
ask
systemctl stop hod-serve.service
[ "$(systemctl show -p Result --value hod-serve.service)" = success ]
systemctl start hod-serve.service
sh /media/install.sh --undo --yes
if systemctl is-active hod-serve.service; then exit 1; fi
[ ! -e "$unit" ]
[ ! -e /etc/systemd/system/multi-user.target.wants/hod-serve.service ]
if ask; then exit 1; fi
# In the home of somebody who lets nobody in.
mkdir -p /home && mkdir -m 700 /home/keeper
sh /media/install.sh --yes --key /etc/ours.pub --serve 127.0.0.1:5000 --root /home/keeper/images/registry
systemd-analyze verify "$unit" >>/run/out/verify 2>&1
ask | grep base/busybox
sh /media/install.sh --undo --yes
echo whole >/run/out/done
"#;

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_service_lives_and_goes_under_systemd() {
    if !may_change_root() {
        return;
    }
    let root = Root::busybox();
    pack(&root, "release.tar");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("boot.sh"), BOOT).unwrap();
    fs::write(path("probe.sh"), PROBE).unwrap();
    for name in ["work", "out"] {
        fs::create_dir(path(name)).unwrap();
    }
    let mut command = Command::new("unshare");
    command.args(["--fork", "--kill-child", "--pid", "--mount", "--cgroup", "--ipc", "--uts", "--net", "sh"]);
    command.arg(path("boot.sh")).arg(path("work")).arg(path("out")).arg(root.path("media"));
    let output = command.arg(root.path("etc/ours.pub")).arg(path("probe.sh")).output().unwrap();
    if output.status.code() == Some(77) {
        skipped("all of it", &format!("no systemd in a namespace here: {}", String::from_utf8_lossy(&output.stderr)));
        return;
    }
    let said = fs::read_to_string(path("out/said")).unwrap_or_default();
    let said = format!("{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(path("out/done")).unwrap_or_default(), "whole\n", "{said}");
    // Units of the machine may have flaws of their own, which are not looked at here.
    let verified = fs::read_to_string(path("out/verify")).unwrap();
    assert!(!verified.contains("hod-serve"), "{verified}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_root_that_the_service_cannot_see_is_refused() {
    if !may_change_root() {
        return;
    }
    let root = Root::busybox();
    pack(&root, "release.tar");
    std::os::unix::fs::symlink("/tmp", root.path("srv")).unwrap();
    let before = root.listing();
    for folder in ["/root", "/root/a/registry", "/tmp/registry", "/var/tmp/a/b", "/srv/registry", "/media/../tmp"] {
        let words = ["--key", "/etc/ours.pub", "--yes", "--root", folder];
        let said = root.install(&[&words[..], &["--serve", "127.0.0.1:5000"]].concat()).code(2);
        assert!(said.contains(&format!("cannot serve {folder}")) && said.contains("choose another --root"), "{said}");
    }
    assert_eq!(root.listing(), before);
    // Without the service it is a folder like any other.
    root.install(&["--key", "/etc/ours.pub", "--yes", "--root", "/tmp/registry"]).ok();
}
