//! Mirrors for podman, CRI-O, buildah and skopeo, which read the same files.

use std::process::Command;

use fs_err as fs;

use super::{DockerRegistry, Root, fixtures, may_change_root, pack};

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn podman_and_cri_o_get_a_mirror() {
    if !may_change_root() {
        return;
    }
    let root = Root::busybox();
    pack(&root, "release.tar");
    let before = root.listing();
    let key = ["--key", "/etc/ours.pub", "--yes"];
    let podman = ["--podman", "docker.io", "--podman", "quay.io"];
    let said = root.install(&[&key[..], &podman, &["--serve", "127.0.0.1:5000"]].concat()).ok();
    let file = "/etc/containers/registries.conf.d/50-hod-quay.io.conf";
    assert!(said.contains(&format!("\n  write {file}, which points to http://127.0.0.1:5000\n")), "{said}");
    let expected = "[[registry]]\nprefix = \"quay.io\"\nlocation = \"quay.io\"\n\n\
                    [[registry.mirror]]\nlocation = \"127.0.0.1:5000\"\ninsecure = true\n";
    assert_eq!(fs::read_to_string(root.path(file)).unwrap(), expected);
    assert!(root.path("etc/containers/registries.conf.d/50-hod-docker.io.conf").exists());
    // Over TLS, below a path that containerd needs with /v2.
    root.install(&[&key[..], &["--podman", "quay.io", "--mirror", "https://harbor.site/v2/project/"]].concat()).ok();
    let conf = fs::read_to_string(root.path(file)).unwrap();
    assert!(conf.ends_with("location = \"harbor.site/project\"\ninsecure = false\n"), "{conf}");
    // Files of version 1 are named: podman refuses both together.
    fs::write(root.path("etc/containers/registries.conf"), "[registries.search]\nregistries = ['docker.io']\n")
        .unwrap();
    let said = root.install(&[&key[..], &podman, &["--mirror", "http://127.0.0.1:5000"]].concat()).ok();
    assert!(said.contains("note: /etc/containers/registries.conf has version 1 of its format"), "{said}");
    root.install(&["--undo", "--yes"]).ok();
    assert!(!root.path(file).exists() && !before.contains_key(file));
    // Words that are no names of registries, and a mirror that nobody named.
    for word in ["_default", "../x", "a b", "quay.io/team"] {
        root.install(&[&key[..], &["--podman", word, "--mirror", "http://127.0.0.1:5000"]].concat()).code(2);
    }
    root.install(&[&key[..], &["--podman", "quay.io"]].concat()).code(2);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn skopeo_pulls_from_the_mirror_of_the_file() {
    if !may_change_root() {
        return;
    }
    let root = Root::busybox();
    pack(&root, "release.tar");
    let unpacked = ["--key", "/etc/ours.pub", "--yes", "--podman", "quay.io", "--mirror"];
    root.install(&[&unpacked[..], &["http://127.0.0.1:1"]].concat()).ok();
    let registry = DockerRegistry::over(&root.path("var/lib/registry"));
    let mirror = format!("http://{}", registry.host());
    root.install(&[&unpacked[..], &[&mirror]].concat()).ok();
    let conf = root.path("etc/containers/registries.conf.d/50-hod-quay.io.conf");
    let mut command = Command::new("skopeo");
    command.arg("--registries-conf").arg(conf).args(["inspect", "--raw", "docker://quay.io/web:1.0"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(hod_oci::Digest::sha256(&output.stdout), fixtures::digest("web:1.0"));
}
