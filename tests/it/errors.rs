//! Typical failures, each with all that it prints on standard error, in one snapshot.
//!
//! `INSTA_UPDATE=always cargo test --test it errors` writes the snapshot again; its difference is there to be read.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use fs_err as fs;

use crate::support::faulty::{Effect, Faulty, On, Running};
use crate::support::hod::hod;
use crate::support::images::{Content, image, index, layer};
use crate::support::job::flip;

/// The command lines, a group each; `HOST` is the registry.
const FAILURES: [(&str, &[&str]); 9] = [
    (
        "lists",
        &[
            "pull --store new -f bad.list",
            "pull --store new -f absent.list",
            "pull --store new -f empty.list",
            "pull --store new -f groups.list --group other",
            "pull --store new -f clash.list --from HOST",
            "pull --store new app:1 --platform amd64",
            "pull --store new app:1 --from nodots",
            "pull app:1",
        ],
    ),
    (
        "registries",
        &[
            "pull --store new app:1 gone:1 --from HOST --platform linux/arm64",
            "pull --store new app:denied --from HOST",
            "pull --store new app:forbidden --from HOST",
            "pull --store new app:busy --from HOST --retry-times 0",
            "pull --store new app:broken --from HOST --retry-times 0",
            "pull --store new app:portal --from HOST",
            "pull --store new app:loop --from HOST",
            "pull --store new damaged:1 --from HOST --retry-times 0",
            "pull --store new app:1 --from 127.0.0.1:1 --retry-times 0",
            "lock -o app.lock gone:1 --from HOST",
            "list-tags docker://HOST/app:1",
        ],
    ),
    (
        "bundles",
        &[
            "pack --store store -o x.rar",
            "pack --store store -o x.tar nothing:1",
            "pack --store absent -o x.tar",
            "pack --store store -o - --volume-size dvd",
            "unpack absent.tar --root new",
            "unpack text.tar --root new",
            "unpack damaged.tar --root new",
            "unpack truncated.tar --root new",
            "unpack update.tar --root empty",
            "unpack update.tar --root store --on-existing-tag error",
        ],
    ),
    (
        "signatures of bundles",
        &[
            "unpack release.tar --root new --key one.pub",
            "unpack signed.tar --root new --key two.pub",
            "unpack signed.tar --root new --key text.tar",
            "sign release.tar --sign absent.key",
            "keygen one --no-passphrase",
        ],
    ),
    (
        "pushes",
        &[
            "push store registry.site:5000",
            "push store docker://HOST/app:1",
            "push absent docker://HOST",
            "push store docker://HOST nothing:1",
            "push store docker://127.0.0.1:1 --retry-times 0",
        ],
    ),
    (
        "copies",
        &[
            "copy flatpak:x dir:y",
            "copy dir:absent oci:layout",
            "copy store:store:nothing:1 oci:layout",
            "copy store:store docker-archive:x.tar",
            "copy store:store:app:1 docker-archive:text.tar",
            "copy store:store:app:1 bundle:x.tar",
            "copy --override-arch riscv64 store:store:app:1 dir:y",
            "sync --src yaml --dest docker bad.yaml HOST",
            "sync --src dir --dest dir store new",
            "index create oci:layout:x",
        ],
    ),
    (
        "images",
        &[
            "inspect docker://HOST/gone:1",
            "inspect --format {{.Nope}} store:store:app:1",
            "stat oci:absent:x",
            "layer extract store:store:app:1 9",
            "unpack-image store:store:app:1 store",
        ],
    ),
    (
        "stores",
        &[
            "ls absent",
            "ls text.tar",
            "verify absent",
            "verify text.tar",
            "diff store bad.list",
            "rm --store store nothing:1",
            "tag --store store app:1 Bad:1",
            "gc store:store:app:1",
            "select --store store --to store",
            "serve text.tar",
            "serve store --listen 192.0.2.1:1",
        ],
    ),
    ("credentials", &["login HOST", "logout HOST", "pull --store new app:1 --creds a=b --no-creds"]),
];

/// Sets up what the command lines name.
fn prepare(folder: &Path) -> Running {
    let one = image("linux/amd64", &[layer(1, 100)]);
    let other = image("linux/amd64", &[layer(1, 100), layer(2, 100)]);
    let damaged = layer(3, 100);
    let content = Content::default().with("app:1", &index(std::slice::from_ref(&one)));
    content.clone().write_root(&folder.join("store"));
    Content::default().with("app:1", &other).write_root(&folder.join("later"));
    let run = |words: &str| hod(words.split(' ')).in_folder(folder).ok();
    run("pack --store store -o release.tar");
    run("pack --store later -o update.tar --have release.tar");
    run("keygen one --no-passphrase");
    run("keygen two --no-passphrase");
    run("pack --store store -o signed.tar --sign one.key");
    let bundle = fs::read(folder.join("release.tar")).unwrap();
    fs::write(folder.join("truncated.tar"), &bundle[..bundle.len() / 2]).unwrap();
    fs::write(folder.join("damaged.tar"), &bundle).unwrap();
    let brick = layer(1, 100).bytes;
    let position = bundle.windows(brick.len()).position(|bytes| *bytes == *brick).unwrap();
    flip(&folder.join("damaged.tar"), position);
    for (name, text) in [
        ("text.tar", "{}"),
        ("bad.list", "app:1\nBad:1\nhttps://a.example/x\napp:1 platforms=x\napp:1 as=a as=b\n"),
        ("empty.list", "# nothing\n"),
        ("groups.list", "##base\napp:1\n"),
        ("clash.list", "app:1 as=x:1\ndamaged:1 as=x:1\n"),
        ("bad.yaml", "a.example:\n  images:\n    UPPER: [\"1\"]\n    x: [\"-\"]\n"),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    let digest = damaged.digest();
    Faulty::new(content.with("damaged:1", &image("linux/amd64", &[damaged])))
        .fault(On::manifest("denied"), Effect::Status(401))
        .fault(On::manifest("forbidden"), Effect::Status(403))
        .fault(On::manifest("busy"), Effect::Status(429))
        .fault(On::manifest("broken"), Effect::Status(500))
        .fault(On::manifest("portal"), Effect::Body(Bytes::from_static(b"<html>sign in</html>")))
        .fault(On::manifest("loop"), Effect::Moved("/v2/app/manifests/loop"))
        .fault(On::blob(&digest), Effect::WrongByte)
        .start()
}

#[test]
fn failures_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let registry = prepare(folder.path());
    let (mut said, mut good) = (String::new(), Vec::new());
    for (group, lines) in FAILURES {
        let _ = writeln!(said, "# {group}\n");
        for line in lines {
            let words = line.split(' ').map(|word| word.replace("HOST", registry.host()));
            // Lines about images come in the order in which these end.
            let output = hod(words).env("HOD_QUIET", "1").in_folder(folder.path()).run();
            let code = output.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
            let _ = writeln!(said, "$ hod {line}\n{}exit {code}\n", output.stderr);
            if output.code == Some(0) {
                good.push(line);
            }
        }
    }
    assert!(good.is_empty(), "did not fail: {good:#?}");
    let directory = folder.path().display().to_string();
    let filters = [
        (directory.as_str(), "FOLDER"),
        (registry.host(), "HOST"),
        (r"\b[0-9A-F]{16}\b", "KEY"),
        (r" of [0-9]{4}-[0-9]{2}-[0-9]{2}, ", " of DATE, "),
    ];
    insta::with_settings!({ filters => filters, omit_expression => true }, { insta::assert_snapshot!(said) });
}
