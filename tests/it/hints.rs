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
fn an_archive_that_is_not_written_is_not_said_to_be() {
    let registry = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let from = format!("docker://{}", registry.host());
    for archive in ["docker-archive:a.tar", "oci-archive:a.tar"] {
        let copy = |more: &[&str], code: i32| {
            let words = ["copy", "--file", "-", &from, archive].into_iter().chain(more.iter().copied());
            hod(words).in_folder(folder.path()).input("web:1.0\nnope:1\n").code(code)
        };
        let said = copy(&[], 1).stderr;
        assert!(said.contains("1 of 2 images not copied, and a.tar not written"), "{said}");
        assert!(!said.contains("1 image copied"), "{said}");
        let report = copy(&["--json"], 1).json();
        assert_eq!(report["images"], serde_json::json!([]));
        assert!(fs_err::read_dir(folder.path()).unwrap().next().is_none());
    }
}

#[test]
fn a_variable_is_named_where_it_is_the_reason() {
    let run = |words: &[&str]| hod(words.iter().copied()).env("HOD_TLS_VERIFY", "maybe").code(2).stderr;
    let said = run(&["inspect", "dir:x"]);
    assert!(said.contains("the variable HOD_TLS_VERIFY"), "{said}");
    let said = run(&["inspect", "dir:x", "--tls-verify=perhaps"]);
    assert!(!said.contains("HOD_TLS_VERIFY"), "{said}");
    let conflict = hod(["copy", "--platform", "linux/amd64", "dir:x", "dir:y"]).env("HOD_ALL", "true").code(2).stderr;
    assert!(conflict.contains("the variable HOD_ALL"), "{conflict}");
}

#[test]
fn a_digest_that_cannot_be_written_is_not_an_image_that_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let from = format!("store:{}:pause:3.9", text(fixtures::root()));
    let said = hod(["copy", "--digestfile", "no/digest", &from, "dir:x"]).in_folder(folder.path()).code(1).stderr;
    assert!(said.contains("the image is copied") && said.contains("no/digest"), "{said}");
    assert!(folder.path().join("x/manifest.json").exists());
}

#[test]
fn a_file_that_was_named_by_mistake_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("notes"), "my secret\n".repeat(500)).unwrap();
    for place in ["docker-archive:notes", "oci-archive:notes", "tarball:notes"] {
        let said = hod(["copy", place, "dir:x"]).in_folder(folder.path()).code(1).stderr;
        assert!(said.contains("notes is no ") && said.contains("none of tar"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}
