//! What a command says that fails: the reason once, and what to do about it.

use crate::support::docker_registry::DockerRegistry;
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::job::text;
use crate::support::tls::Certificates;

#[test]
fn one_image_that_cannot_be_copied_is_told_of_once() {
    let registry = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let from = format!("docker://{}/web:9", registry.host());
    let output = hod(["copy", &from, "dir:x"]).in_folder(folder.path()).code(1);
    assert_eq!(output.stderr.matches("there is no tag 9").count(), 1, "{}", output.stderr);
    assert!(output.stderr.starts_with("error: cannot copy "), "{}", output.stderr);
    let output = hod(["copy", "--json", &from, "dir:x"]).in_folder(folder.path()).code(1);
    assert_eq!(output.json()["failed"][0]["name"], from);
}

#[test]
fn what_a_registry_refuses_has_a_hint() {
    let certificates = Certificates::new();
    let locked = DockerRegistry::options().tls(&certificates).user("me", "secret").root(fixtures::root()).start();
    let open = DockerRegistry::over(fixtures::root());
    let home = tempfile::tempdir().unwrap();
    let authority = home.path().join("authority");
    fs_err::create_dir(&authority).unwrap();
    fs_err::copy(certificates.authority(), authority.join("ca.crt")).unwrap();
    let image = |registry: &DockerRegistry, name: &str| format!("docker://{}/{name}", registry.host());
    let (strange, missing) = (image(&locked, "web:1.0"), image(&open, "web:9"));
    let commands: [&[&str]; 6] = [
        &["copy", "IMAGE", "dir:x"],
        &["inspect", "IMAGE"],
        &["stat", "IMAGE"],
        &["unpack-image", "IMAGE", "x"],
        &["layer", "extract", "IMAGE", "1"],
        &["delete", "IMAGE"],
    ];
    for command in commands {
        let run = |image: &str, more: &[&str]| {
            let words: Vec<&str> = command.iter().map(|word| if *word == "IMAGE" { image } else { word }).collect();
            let command = hod(words.into_iter().chain(more.iter().copied())).in_folder(home.path());
            command.env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path()).code(1).stderr
        };
        for (image, more, hint) in [
            (&strange, &["--retry-times", "0"][..], "hint: its authority is trusted if"),
            (&strange, &["--cert-dir", text(&authority)], "hint: check the credentials"),
            (&missing, &[], "hint: check the name and the tag"),
        ] {
            let more = if command[0] == "copy" && more.first() == Some(&"--cert-dir") {
                vec!["--src-cert-dir", more[1]]
            } else {
                more.to_vec()
            };
            let said = run(image, &more);
            assert_eq!(said.matches(hint).count(), 1, "{command:?} {more:?}: {said}");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_written_has_a_hint() {
    if nix::unistd::geteuid().is_root() {
        let from = format!("store:{}:pause:3.9", text(fixtures::root()));
        for to in ["dir:/proc/x", "oci:/proc/x:1", "oci-archive:/proc/x:1"] {
            let said = hod(["copy", &from, to]).code(1).stderr;
            assert!(said.contains("/proc/"), "{said}");
        }
    }
}
