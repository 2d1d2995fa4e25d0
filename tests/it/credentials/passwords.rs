//! Passwords that somebody has typed where none belongs, or that a server puts into an address: nothing repeats them.

use fs_err as fs;

use crate::support::faulty::{Effect, Faulty, On};
use crate::support::hod::hod;
use crate::support::images::{Content, image, layer};
use crate::support::job::text;

/// A list, lock or file of an other tool, the command that reads it, and what of it must still be said.
type Case<'a> = (&'a str, String, &'a [&'a str], &'a str);

#[test]
fn files_with_passwords_are_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Faulty::new(Content::default().with("app:1", &image("linux/amd64", &[layer(1, 100)]))).start();
    let app = format!("{}/app:1", registry.host());
    let pull = &["pull", "-f", "file", "--store", "s"][..];
    let sync = &["sync", "--src", "yaml", "--dest", "dir", "file", "x"][..];
    let syncer = &["sync", "--image-syncer", "--images", "file.json"][..];
    let auth = &["sync", "--image-syncer", "--images", "good.json", "--auth", "file.json"][..];
    let conf = &["inspect", "docker://h.example/app", "--registries-conf", "file"][..];
    fs::write(folder.path().join("good.json"), format!("{{\"{app}\": \"{}/copy\"}}", registry.host())).unwrap();
    let cases: Vec<Case<'_>> = vec![
        ("file", format!("{app} as=bob:hunter2@h/y\n"), pull, "file:1"),
        ("file", format!("{app} as=h/bob:hunter2@h.example\n"), pull, "file:1"),
        ("file", format!("{app} referrers=bob:hunter2@h\n"), pull, "file:1"),
        ("file", format!("{app} digest=bob:hunter2@h\n"), pull, "file:1"),
        ("file", format!("{app} platform=bob:hunter2@h/x\n"), pull, "file:1"),
        ("file", format!("{app} bob:hunter2@h\n"), pull, "file:1"),
        ("file", "bob:hunter2@registry/app:1\n".to_owned(), pull, "file:1"),
        ("file", "bob:hunter2@registry\n".to_owned(), pull, "file:1"),
        ("file", "bob:hunter2@registry/app:1\n".to_owned(), &["lock", "--check", "file"], "file:1"),
        ("file", "bob:hunter2@registry:\n  images:\n    app: []\n".to_owned(), sync, "file"),
        ("file", "h.example:\n  images:\n    \"bob:hunter2@h/app\": []\n".to_owned(), sync, "h.example"),
        ("file", "h.example:\n  images:\n    app: [\"bob:hunter2@h\"]\n".to_owned(), sync, "h.example"),
        ("file", "h.example:\n  credentials:\n    password: [hunter2]\n".to_owned(), sync, "line"),
        ("file", "h.example:\n  credentials: hunter2\n".to_owned(), sync, "line"),
        ("file.json", "{\"bob:hunter2@h/app\": \"x/app\"}".to_owned(), syncer, "@h/app"),
        ("file.json", format!("{{\"{app}\": \"bob:hunter2@h/app\"}}"), syncer, "app"),
        ("file.json", "{\"h\": {\"username\": \"bob\", \"password\": [\"hunter2\"]}}".to_owned(), auth, "file.json"),
        ("file.json", "{\"h\": \"hunter2\"}".to_owned(), auth, "file.json"),
        ("file", "[[registry]]\nlocation = \"bob:hunter2@h/x\"\nmirror = \"x\"\n".to_owned(), conf, "file"),
        ("file", "[[registry]]\nprefix = \"bob:hunter2@h\"\n".to_owned(), conf, "file"),
        ("file", "[[registry]]\nlocation = \"https://bob:hunter2@h\"\n".to_owned(), conf, "file"),
    ];
    for (name, content, words, says) in cases {
        fs::write(folder.path().join(name), &content).unwrap();
        for more in [&[][..], &["--json"], &["--debug", "-vvv"]] {
            let output = hod([words, more].concat()).in_folder(folder.path()).env("HOD_LOG", "trace").run();
            assert!(output.code.is_some_and(|code| code > 0), "{content}: {}", output.stderr);
            let said = format!("{}{}", output.text(), output.stderr);
            assert!(!said.contains("hunter2"), "{words:?} with {content}: {said}");
            assert!(said.contains(says), "{words:?} with {content}: {said}");
        }
    }
}

#[test]
fn addresses_that_a_registry_gives_are_not_quoted_with_their_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let content = Content::default().with("app:1", &image("linux/amd64", &[layer(1, 100)]));
    let elsewhere = "http://bob:hunter2@elsewhere.invalid/x?signature=hunter2";
    let link = format!("<{elsewhere}>; rel=\"next\"");
    let goes_on = Effect::says(move |_| (vec![("Link", link.clone())], r#"{"tags":["1"]}"#.into()));
    let lists = Faulty::new(content.clone()).fault(On::tags(), goes_on).start();
    let moved = Effect::Moved(elsewhere);
    let moves = Faulty::new(content).fault(On::manifest("1"), moved.clone()).fault(On::any_blob(), moved).start();
    // A list goes on at its registry, whatever host the link names.
    for (names, words) in [
        (lists.host(), vec!["list-tags".to_owned(), format!("docker://{}/app", lists.host())]),
        (
            "elsewhere.invalid",
            vec!["pull".to_owned(), format!("{}/app:1", moves.host()), "--store".to_owned(), "s".to_owned()],
        ),
    ] {
        for more in [&[][..], &["--json"], &["--debug", "-vvv"]] {
            let output = hod(&words).args(more).in_folder(folder.path()).env("HOD_LOG", "trace").code(1);
            let said = format!("{}{}", output.text(), output.stderr);
            assert!(said.contains(names) && !said.contains("hunter2"), "{words:?}: {said}");
        }
    }
}

#[test]
fn a_file_of_failed_lines_can_be_pulled_again() {
    let folder = tempfile::tempdir().unwrap();
    let content = Content::default().with("app:1", &image("linux/amd64", &[layer(1, 100)]));
    let registry = Faulty::new(content).fault(On::manifest("1").once(), Effect::Status(403)).start();
    let host = registry.host();
    let digest = image("linux/amd64", &[layer(1, 100)]).digest();
    let line = format!("{host}/app:1@{digest} platform=linux/amd64 as=name:1");
    fs::write(folder.path().join("list"), format!("{line}\n{host}/absent:1\n")).unwrap();
    let failed = folder.path().join("failed");
    let run = |list: &str| {
        hod(["pull", "-f", list, "--store", "s", "--failed", text(&failed)]).in_folder(folder.path()).run()
    };
    run("list");
    let kept = fs::read_to_string(&failed).unwrap();
    assert!(kept.contains(&format!("{host}/absent:1")), "{kept}");
    assert_eq!(run("failed").code, Some(1));
}
