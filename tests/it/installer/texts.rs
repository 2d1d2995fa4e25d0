//! What the script and the page tell people: what is on the medium, what will happen, and what to do next.

use fs_err as fs;

use super::{DockerRegistry, Root, fixtures, hod, may_change_root, pack, static_hod};

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_plan_says_count_size_space_and_signature() {
    if !may_change_root() {
        return;
    }
    let root = Root::busybox();
    pack(&root, "release.tar");
    let said = root.install(&["--key", "/etc/ours.pub", "--dry-run"]).ok();
    assert!(said.contains("\nbundle release.tar: 2 images, "), "{said}");
    assert!(said.contains("\n  made on 20") && said.contains(", maker not stated\n"), "{said}");
    let id = fs::read_to_string(root.path("etc/ours.pub")).unwrap();
    let id = id.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    // The root has no minisign.
    assert!(
        said.contains(&format!("\n  signature: present (key {id}), checked only by the hod of this medium\n")),
        "{said}"
    );
    let space = said.lines().find(|line| line.starts_with("  2 images can be unpacked to /var/lib/registry: "));
    let space = space.unwrap_or_else(|| panic!("{said}"));
    assert!(space.contains(" to write (") && space.ends_with("B free; nothing was written"), "{space}");
    assert!(!root.path("var/lib/registry").exists());
    // Nobody who is not trusted gets as far as the plan.
    let said = root.install(&["--key", "/etc/theirs.pub"]).code(4);
    assert!(said.contains("is not trusted") && !said.contains("This will:"), "{said}");
    let said = root.install(&["--dry-run"]).ok();
    assert!(
        said.contains(&format!("\n  signature: present (key {id}), and NOT CHECKED: get the public key")),
        "{said}"
    );
    // A medium without a signature.
    let store = fixtures::root().to_str().unwrap();
    let words = ["pack", "web:1.0", "--store", store, "--with-installer", "-o", "release.tar", "--installer-binary"];
    hod(words).arg(static_hod()).in_folder(&root.path("media")).ok();
    let said = root.install(&["--dry-run"]).ok();
    assert!(said.contains("\n  signature: none: the checksums only show that the copy is complete, not who made it\n"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_end_says_what_to_do_next() {
    if !may_change_root() {
        return;
    }
    let root = Root::busybox();
    pack(&root, "release.tar");
    let key = ["--key", "/etc/ours.pub", "--yes"];
    let said = root.install(&key).ok();
    let next = said.split("\nNext:\n").nth(1).unwrap_or_else(|| panic!("{said}"));
    assert!(
        next.starts_with(
            "  the images are in /var/lib/registry\n  \
         serve them:          sh /media/install.sh --root /var/lib/registry --serve 127.0.0.1:5000\n  \
         push them:           sh /media/install.sh --push docker://HOST[:PORT][/PREFIX]\n"
        ),
        "{said}"
    );
    let mirrors = ["--serve", "127.0.0.1:5000", "--containerd", "_default", "--podman", "docker.io", "--docker"];
    let said = root.install(&[&key[..], &mirrors].concat()).ok();
    let next = said.split("\nNext:\n").nth(1).unwrap_or_else(|| panic!("{said}"));
    for line in [
        "  the images are in /var/lib/registry\n",
        "  they are served at   http://127.0.0.1:5000\n",
        "  pull one:            docker pull 127.0.0.1:5000/web:1.0\n",
        "                       podman pull --tls-verify=false 127.0.0.1:5000/web:1.0\n",
        "  by its own name:     crictl pull ",
        "  by its own name:     podman pull ",
        "  by its own name:     docker pull ",
        "  list them:           /usr/local/bin/hod ls /var/lib/registry\n",
    ] {
        assert!(next.contains(line), "{line}: {next}");
    }
    // What it says works.
    let listed = root.run(&["/usr/local/bin/hod", "ls", "/var/lib/registry"], false).ok();
    assert!(listed.contains("web:1.0"), "{listed}");
    // Others cannot ask for 0.0.0.0.
    let said = root.install(&[&key[..], &["--serve", "0.0.0.0:5000"]].concat()).ok();
    assert!(!said.contains("pull 0.0.0.0") && said.contains(":5000/web:1.0\n"), "{said}");
    let registry = DockerRegistry::empty();
    let to = format!("docker://{}/team", registry.host());
    let said = root.run(&[&["/bin/sh", "/media/install.sh", "--push", &to], &key[..]].concat(), true).ok();
    let next = said.split("\nNext:\n").nth(1).unwrap_or_else(|| panic!("{said}"));
    let place = format!("{}/team", registry.host());
    for line in [
        format!("  the images are at {place}\n"),
        format!("  pull one:            docker pull {place}/web:1.0\n"),
        "  let runtimes ask it: again with --mirror URL, ".to_owned(),
    ] {
        assert!(next.contains(&line), "{line}: {next}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_page_has_date_maker_groups_volumes_and_how_to_pull() {
    let folder = tempfile::tempdir().unwrap();
    let store = fixtures::root().to_str().unwrap();
    fs::write(folder.path().join("list"), "##base\nbase/busybox:1.35\npause:3.9\n##web\nweb:1.0\n").unwrap();
    let words = ["pack", "-f", "list", "--store", store, "--with-installer", "-o", "r.tar", "--volume-size", "300000"];
    let more = ["--installer-binary", "/bin/busybox", "--made-by", "Release team <it@example.com>"];
    let pack = || hod(words).args(more).env("SOURCE_DATE_EPOCH", "1777593600").in_folder(folder.path());
    pack().ok();
    let page = fs::read_to_string(folder.path().join("README.txt")).unwrap();
    let volumes = fs::read_dir(folder.path()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        name.strip_prefix("r.tar.").is_some_and(|number| number.parse::<u32>().is_ok())
    });
    let count = volumes.count();
    assert!(count > 1);
    for line in [
        format!("\nmade on 2026-05-01 with hod {}, by Release team <it@example.com>\n", env!("CARGO_PKG_VERSION")),
        "\ngroups: base (2 images), web (1 image)\n".to_owned(),
        format!(
            "\nvolumes: {count}, r.tar.001 to r.tar.{count:03}; put all of them into one directory, with this file\n"
        ),
        "\n    docker pull 127.0.0.1:5000/base/busybox:1.35\n".to_owned(),
        "\n    podman pull --tls-verify=false 127.0.0.1:5000/base/busybox:1.35\n".to_owned(),
        "\n    crictl pull 127.0.0.1:5000/base/busybox:1.35\n".to_owned(),
        "\nThe bundle is not signed.\n".to_owned(),
    ] {
        assert!(page.contains(&line), "{line}: {page}");
    }
    assert!(
        page.starts_with("r.tar: 3 images, ")
            && page.lines().next().unwrap().ends_with(&format!(", in {count} volumes"))
    );
    // With SOURCE_DATE_EPOCH, it is always the same.
    pack().ok();
    assert_eq!(fs::read_to_string(folder.path().join("README.txt")).unwrap(), page);
    // One line is one line.
    hod(words).args(&more[..2]).args(["--made-by", "a\nb"]).in_folder(folder.path()).code(2);
}
