//! From every place an image can be; killed, and run again; and by somebody who is not root.

use std::process::Command;

use fs_err as fs;

use super::{Entry, config, entry, file, folder, listing, places, plain, symlink};
use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On};
use crate::support::hod::hod;
use crate::support::images::{Blob, Content, image, index, random};
use crate::support::job::text;
use crate::support::skipped::is_root_for;

fn entries() -> Vec<Entry> {
    vec![folder("bin"), file("bin/tool", "1").mode(0o755), symlink("sbin", "bin"), file("etc/x", "2").mode(0o600)]
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn from_every_place() {
    let (folder, store) = (tempfile::tempdir().unwrap(), "store");
    let image = image("linux/amd64", &[plain(&entries()), plain(&[file("more", "3")])]);
    places(folder.path(), &image);
    let registry = DockerRegistry::over(&folder.path().join(store));
    hod(["pack", "--store", store, "-o", "x.tar.zst"]).in_folder(folder.path()).ok();
    for to in ["dir:dir", "oci-archive:oci.tar:app", "docker-archive:docker.tar:app:1"] {
        hod(["copy", "store:store:app:1", to]).in_folder(folder.path()).ok();
    }
    hod(["unpack-image", "store:store:app:1", "expected"]).in_folder(folder.path()).ok();
    let expected = listing(&folder.path().join("expected/rootfs"));
    assert!(expected.len() > 6);
    let remote = format!("docker://{}/app:1", registry.host());
    for place in [
        &*remote,
        "oci:layout:app",
        "bundle:x.tar.zst:app:1",
        "dir:dir",
        "oci-archive:oci.tar:app",
        "docker-archive:docker.tar:app:1",
    ] {
        let _ = fs::remove_dir_all(folder.path().join("ours"));
        hod(["unpack-image", place, "ours"]).in_folder(folder.path()).ok();
        assert_eq!(listing(&folder.path().join("ours/rootfs")), expected, "{place}");
        assert_eq!(config(&folder.path().join("ours")), config(&folder.path().join("expected")), "{place}");
    }
}

#[test]
fn the_platform_is_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let of = |platform: &str| image(platform, &[plain(&[file("platform", platform)])]);
    places(folder.path(), &index(&[of("linux/amd64"), of("linux/arm64"), of("linux/arm/v7")]));
    for platform in ["linux/amd64", "linux/arm64", "linux/arm/v7"] {
        let tree = platform.replace('/', "-");
        let words = ["unpack-image", "store:store:app:1", "--rootfs", &tree, "--platform", platform];
        hod(words).in_folder(folder.path()).ok();
        assert_eq!(fs::read_to_string(folder.path().join(&tree).join("platform")).unwrap(), platform);
    }
    let words = ["unpack-image", "store:store:app:1", "--rootfs", "none", "--platform", "linux/s390x"];
    let output = hod(words).in_folder(folder.path()).code(1);
    assert!(output.stderr.contains("s390x"), "{}", output.stderr);
}

#[test]
fn a_line_that_breaks_is_taken_up_again_and_a_killed_run_leaves_nothing_that_looks_whole() {
    let bytes = Entry { body: random(1, 3_000_000), ..file("big", "") };
    let layer = plain(&[folder("closed").mode(0o500), file("closed/x", "1"), bytes]);
    let image = image("linux/amd64", &[plain(&entries()), layer.clone()]);
    let content = Content::default().with("app:1", &image);
    let folder = tempfile::tempdir().unwrap();
    let registry =
        Faulty::new(content.clone()).fault(On::blob(&layer.digest()).once(), Effect::Cut { after: 1_000_000 });
    let registry = registry.start();
    let place = format!("docker://{}/app:1", registry.host());
    let words = ["unpack-image", "--retry-delay", "1ms", &place, "whole"];
    hod(words).in_folder(folder.path()).ok();
    let expected = listing(&folder.path().join("whole/rootfs"));

    let registry = Faulty::new(content).fault(On::blob(&layer.digest()).once(), Effect::Stall { after: 1_500_000 });
    let registry = registry.start();
    let place = format!("docker://{}/app:1", registry.host());
    let mut running = hod(["unpack-image", &place, "target"]).in_folder(folder.path()).spawn();
    let partial = folder.path().join(".target.unpacking");
    running.until("a part of the layer is there", || {
        fs::metadata(partial.join("rootfs/big")).is_ok_and(|file| file.len() > 500_000)
    });
    let busy = hod(["unpack-image", &place, "target"]).in_folder(folder.path()).code(1);
    assert!(busy.stderr.contains("another process"), "{}", busy.stderr);
    running.kill();
    assert!(partial.exists() && !folder.path().join("target").exists());
    hod(["unpack-image", &place, "target"]).in_folder(folder.path()).ok();
    assert!(!partial.exists());
    assert_eq!(listing(&folder.path().join("target/rootfs")), expected);
}

#[test]
fn who_is_not_root_owns_what_comes() {
    if !is_root_for("all of it: to be somebody else") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut all = entries();
    all.extend([
        folder_of_others(),
        file("others/file", "1").owner(5, 6).mode(0o4711),
        entry(tar::EntryType::Char, "null").device(1, 3),
        file("capable", "1").pax("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        super::folder("closed").mode(0o000),
    ]);
    let layers: [Blob; 2] = [plain(&all), plain(&[file("closed/later", "1"), file("others/.wh.file", "")])];
    places(folder.path(), &image("linux/amd64", &layers));
    // As somebody else, who has to be able to reach the program and the place.
    let program = folder.path().join("hod");
    fs::copy(env!("CARGO_BIN_EXE_hod"), &program).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(folder.path(), open).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=1234", "--regid=1235", "--clear-groups"])
        .arg(&program)
        .args(["unpack-image", "store:store:app:1", "target"])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("belong to your user") && said.contains("1 device replaced by empty files"), "{said}");
    assert!(said.contains("1 extended attribute left out"), "{said}");
    let tree = listing(&folder.path().join("target/rootfs"));
    assert!(tree.values().all(|line| line.contains("(1234, 1235)")), "{tree:#?}");
    assert!(
        tree.contains_key("closed/later") && tree["null"].starts_with("100644 ") && !tree.contains_key("others/file")
    );
    assert!(tree["closed"].starts_with("40000 "), "{}", tree["closed"]);
    let config = config(&folder.path().join("target"));
    assert_eq!(config["linux"]["uidMappings"][0]["hostID"], 1234);
    assert!(text(folder.path()).starts_with('/'));
}

fn folder_of_others() -> Entry {
    folder("others").owner(5, 6)
}
