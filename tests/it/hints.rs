//! What a command says that fails: the reason once, and what to do about it.

use hyper::Method;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On};
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::images::{Content, image, layer};
use crate::support::job::{pull, push, text};
use crate::support::tls::Certificates;

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn one_image_that_cannot_be_copied_is_told_of_once() {
    let registry = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let from = format!("docker://{}/web:9", registry.host());
    let output = hod(["copy", &from, "dir:x"]).in_folder(folder.path()).code(1);
    assert_eq!(output.stderr.matches("tag 9 in ").count(), 1, "{}", output.stderr);
    assert!(output.stderr.starts_with("error: cannot copy "), "{}", output.stderr);
    let output = hod(["copy", "--json", &from, "dir:x"]).in_folder(folder.path()).code(1);
    assert_eq!(output.json()["failed"][0]["name"], from);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
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
            (&strange, &["--retry-times", "0"][..], "hint: to trust its authority, put"),
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
#[ignore = "needs the tools that scripts/test installs"]
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
    let conflict =
        hod(["copy", "dir:x", "dir:y"]).env("HOD_ALL", "true").env("HOD_PLATFORM", "linux/amd64").code(2).stderr;
    assert!(conflict.contains("the variable HOD_ALL") || conflict.contains("the variable HOD_PLATFORM"), "{conflict}");
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
        assert!(said.contains("notes is not a ") && said.contains("an invalid tar header"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

/// Two images whose trouble is the same: what to do about it stands there once, and fits what was done.
#[test]
fn what_to_do_is_said_once_and_fits_the_direction() {
    let (a, b) = (image("linux/amd64", &[layer(1, 9000)]), image("linux/amd64", &[layer(2, 9000)]));
    let content = Content::default().with("a:1", &a).with("b:1", &b);
    let folder = tempfile::tempdir().unwrap();
    let (store, other) = (folder.path().join("store"), folder.path().join("other"));
    content.write_root(&store);
    let layers = [a.blobs[1].digest(), b.blobs[1].digest()];
    let of_layer = move || On::matching(move |seen| layers.iter().any(|layer| seen.is_blob(layer)));
    let pulls: [(On, Effect, &str); 5] = [
        (On::manifest("1"), Effect::Status(503), "run the same command again when HOST is reachable\n"),
        (of_layer(), Effect::Reset, "run the same command again when HOST is reachable; partial downloads are kept\n"),
        (
            of_layer(),
            Effect::Status(429),
            "run the same command again later; partial downloads are kept; many registries",
        ),
        (On::manifest("1"), Effect::Status(403), "many registries give the same answer for names that do not exist\n"),
        (On::manifest("1"), Effect::Status(404), "names without a registry host are looked up in --from\n"),
    ];
    let check = |said: &str, host: &str, hint: &str| {
        let said = said.replace(host, "HOST");
        assert_eq!((said.matches("hint: ").count(), said.matches(hint).count()), (1, 1), "{hint}: {said}");
    };
    for (on, effect, hint) in pulls {
        let registry = Faulty::new(content.clone()).fault(on, effect).start();
        let output = pull(registry.host(), &other, ["a:1", "b:1", "--retry-times", "0"]).code(1);
        check(&output.stderr, registry.host(), hint);
    }
    let pushes = [
        (Effect::Status(500), "when HOST is reachable; content that is already there is not sent again\n"),
        (Effect::Status(429), "run the same command again later; content that is already there is not sent again;"),
        (Effect::Status(404), "some registries require that the repository, or its project, is created first\n"),
    ];
    for (effect, hint) in pushes {
        let registry = Faulty::new(Content::default()).fault(On::upload(Method::POST), effect).start();
        let output = push(&store, registry.host(), ["--retry-times", "0"]).code(1);
        check(&output.stderr, registry.host(), hint);
        assert!(!output.stderr.contains("images pushed"), "{}", output.stderr);
    }
    let output = pull("registry.invalid:5000", &other, ["a:1", "b:1"]).code(1);
    check(&output.stderr, "registry.invalid:5000", "check the spelling of the host and the DNS of this machine");
    // Two images have a line each, and the reason is told once.
    assert_eq!(output.stderr.matches("\nerror: argument ").count(), 2, "{}", output.stderr);
    assert_eq!(output.stderr.matches("  caused by: ").count(), 2, "{}", output.stderr);
}

/// Only what keeps partial downloads says that it does.
#[test]
fn looking_at_an_image_promises_no_partial_downloads() {
    let content = Content::default().with("a:1", &image("linux/amd64", &[layer(1, 100)]));
    let registry = Faulty::new(content).fault(On::manifest("1"), Effect::Status(429)).start();
    let from = format!("docker://{}/a:1", registry.host());
    let said = hod(["inspect", "--retry-times", "0", &from]).code(1).stderr;
    assert!(said.contains("hint: run the same command again later\n") && !said.contains("kept"), "{said}");
}

/// Where nothing can be had there is nothing to plan, and no bundle is begun.
#[test]
fn without_any_image_nothing_is_said_of_sizes() {
    let registry = Faulty::new(Content::default()).start();
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let fixed = ["gone:1", "--from", registry.host()];
        hod([words, &fixed].concat()).in_folder(folder.path()).code(1)
    };
    let plan = run(&["plan"]);
    assert_eq!(
        (plan.text().as_str(), plan.stderr.contains("1 image cannot be fetched")),
        ("", true),
        "{}",
        plan.stderr
    );
    assert_eq!(run(&["plan", "--json"]).json()["failed"].as_array().unwrap().len(), 1);
    let bundle = run(&["bundle", "-o", "x.tar"]).stderr;
    assert!(
        bundle.contains("hint: nothing was fetched, because a bundle must be complete") && !bundle.contains("kept"),
        "{bundle}"
    );
}

#[test]
fn a_list_without_images_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("list.txt"), "# alpine:3\n\n").unwrap();
    let said = hod(["plan", "-f", "list.txt"]).in_folder(folder.path()).code(2).stderr;
    assert!(said.contains("hint: list.txt has only blank lines and comments"), "{said}");
}

/// A registry that is gone fails all images: that is one error, with the number of images and a hint.
#[test]
fn a_host_that_cannot_be_reached_is_one_error() {
    let folder = tempfile::tempdir().unwrap();
    let list: Vec<String> = (0..143).map(|number| format!("team/app-{number}:1")).collect();
    fs_err::write(folder.path().join("list.txt"), list.join("\n")).unwrap();
    let words = ["pull", "-f", "list.txt", "--store", "store", "--retry-times", "0", "--from", "127.0.0.1:1"];
    let output = hod(words).in_folder(folder.path()).code(1);
    let said = output.stderr;
    assert!(said.lines().count() <= 7, "{said}");
    assert!(said.contains("error: 143 images failed for one reason: list.txt:1: team/app-0:1, list.txt:2:"), "{said}");
    assert!(said.contains("and 141 more\n") && said.contains("hint: ") && said.contains("143 of 143 images failed"));
    // Who wants to know all gets all.
    let all = hod(words).arg("-v").in_folder(folder.path()).code(1).stderr;
    assert_eq!(all.matches("\nerror: list.txt:").count(), 143, "{all}");
    let json = hod(words).arg("--json").in_folder(folder.path()).code(1).json();
    assert_eq!(json["failed"].as_array().unwrap().len(), 143);
}

/// The line that tells of an image as it fails is for people, and has short digests; the error in the end has all.
#[test]
fn an_image_that_fails_is_told_of_in_short_and_then_in_full() {
    let image = image("linux/amd64", &[layer(1, 9000)]);
    let digest = image.blobs[1].digest();
    let registry = Faulty::new(Content::default().with("a:1", &image)).fault(On::blob(&digest), Effect::Status(400));
    let registry = registry.start();
    let folder = tempfile::tempdir().unwrap();
    let said = pull(registry.host(), folder.path(), ["a:1"]).code(1).stderr;
    assert!(said.starts_with("fetch: 1 image") && said.contains("\n! a:1  failed\n"), "{said}");
    let said = pull(registry.host(), folder.path(), ["a:1", "-v"]).code(1).stderr;
    let line = said.lines().find(|line| line.starts_with("! a:1 ")).unwrap();
    assert!(line.contains(&digest.short()) && !line.contains(&digest.to_string()), "{line}");
    assert!(said.contains(&format!("error: argument 1: a:1: cannot copy layer {digest}")), "{said}");
}

/// A folder that says where signatures are is not looked for after the image was copied.
#[test]
fn a_folder_of_signatures_that_is_not_there_is_told_of_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("store:{}:web:1.0", fixtures::root().display());
    let copy = hod(["--registries.d", "/nonexist", "copy", &store, "dir:out"]).in_folder(folder.path());
    let said = copy.code(2).stderr;
    assert!(said.contains("--registries.d /nonexist is not a directory"), "{said}");
    assert!(!folder.path().join("out").exists(), "something was written");
}

/// `ls` is for stores and bundles; that a layout is none does not mean that it is not there.
#[test]
fn who_lists_a_layout_is_told_how() {
    let layout = format!("oci:{}", fixtures::folder().join("images").display());
    for (place, how) in
        [(layout.as_str(), "hod list-tags oci:"), ("dir:x", "hod inspect dir:x"), ("oci:x:1", "hod inspect oci:x:1")]
    {
        let said = hod(["ls", place]).code(2).stderr;
        assert!(said.contains(&format!("{place} is neither a store nor a bundle")) && said.contains(how), "{said}");
    }
    assert!(hod(["ls", "nowhere"]).code(1).stderr.contains("nowhere does not exist"));
}

/// What people of other tools and other habits type.
#[test]
fn what_was_meant_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs_err::write(folder.path().join(name), bytes).unwrap();
    write("list.txt", b"alpine:3\n");
    write("blank.txt", b"calico/node v3.16.3\n");
    write("images.yaml", b"images:\n  - nginx:1\n");
    for (words, code, says) in [
        (&["copy", "alpine:3.14", "dir:x"][..], 2, "an image of a registry is docker://alpine:3.14"),
        (&["unpack", "release.tar", "root"], 2, "hint: name the target with --root: --root root"),
        (&["pull", "-f", "list.txt", "-o", "x.tar"], 2, "hod bundle -o FILE writes a bundle"),
        (&["rm", "--image", "lay:1"], 2, "oci:DIR:TAG is umoci's --image DIR:TAG"),
        (&["unpack", "--image", "lay:1", "out"], 2, "hod unpack-image oci:DIR:TAG TARGET"),
        (&["plan", "-f", "blank.txt"], 2, "calico/node and v3.16.3 are two words: write calico/node:v3.16.3"),
        (&["plan", "-f", "images.yaml"], 2, "hint: this looks like YAML"),
        (
            &["plan", "list.txt", "--from", "127.0.0.1:1", "--retry-times", "0"],
            1,
            "note: list.txt is also a file: -f list.txt",
        ),
    ] {
        let said = hod(words).in_folder(folder.path()).code(code).stderr;
        assert!(said.contains(says), "{words:?}: {said}");
    }
}

/// `>` of PowerShell writes UTF-16.
#[test]
fn a_list_in_utf_16_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Faulty::new(Content::default().with("app:1", &image("linux/amd64", &[layer(1, 100)]))).start();
    let text: Vec<u16> = "##a\r\napp:1 # größe\r\n".encode_utf16().collect();
    for (mark, bytes) in [
        (&[0xff, 0xfe], text.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<u8>>()),
        (&[0xfe, 0xff], text.iter().flat_map(|unit| unit.to_be_bytes()).collect()),
    ] {
        fs_err::write(folder.path().join("list"), [&mark[..], &bytes].concat()).unwrap();
        let words = ["pull", "-f", "list", "--from", registry.host(), "--store", "s", "--group", "a"];
        hod(words).in_folder(folder.path()).ok();
        // Half a letter too many is no text.
        fs_err::write(folder.path().join("list"), [&mark[..], &bytes, b"x"].concat()).unwrap();
        hod(words).in_folder(folder.path()).code(2);
    }
}

/// Tools such as mindthegap carry a bare registry root as a tar.
#[test]
fn a_tar_of_a_bare_registry_root_is_said_to_become_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root/docker/registry/v2");
    fs_err::create_dir_all(root.join("repositories")).unwrap();
    let archive = |name: &str, below: &str, of: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_dir_all(below, folder.path().join(of)).unwrap();
        fs_err::write(folder.path().join(name), tar.into_inner().unwrap()).unwrap();
        let zst = zstd::encode_all(&*fs_err::read(folder.path().join(name)).unwrap(), 1).unwrap();
        fs_err::write(folder.path().join(format!("{name}.zst")), zst).unwrap();
    };
    archive("a.tar", "docker", "root/docker");
    archive("b.tar", ".", "root");
    archive("c.tar", "root", "root");
    for name in ["a.tar", "b.tar", "c.tar", "a.tar.zst", "b.tar.zst"] {
        for words in [
            &["ls", name][..],
            &["verify", name],
            &["unpack", name, "--root", "far"],
            &["push", name, "docker://127.0.0.1:1"],
        ] {
            let said = hod(words).in_folder(folder.path()).code(1).stderr;
            assert!(said.contains("tar -x") && said.contains("is a store"), "{words:?}: {said}");
            assert!(!said.contains("damage"), "{words:?}: {said}");
        }
    }
}
