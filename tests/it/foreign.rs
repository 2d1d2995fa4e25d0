//! Files that others write: the damaged ones among the fixtures, each with its message, and all fixtures through
//! every entrance of the fuzzer.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use hod_bundle::volumes::Sums;
use hod_bundle::{Header, PublicKey, SigningKey, Trust};
use hod_image::list::{ListError, ListReader};
use hod_io::secret::Secret;

use crate::support::hod::hod;

#[path = "../fuzz/entrances.rs"]
mod entrances;

fn fixtures(folder: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder)
}

/// The damaged files of a folder of fixtures with this ending: name and content.
fn damaged(folder: &str, ending: &str) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(fixtures(folder)).unwrap().map(|entry| entry.unwrap().path());
    let named = files.filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_prefix("bad-")?.strip_suffix(ending)?.to_owned();
        Some((name, fs::read(&path).unwrap()))
    });
    named.collect()
}

/// Checks that every damaged file has its message, and no message is without a file.
#[track_caller]
fn assert_messages(found: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.iter().map(|(name, _)| name).collect::<Vec<_>>());
    for (name, message) in expected {
        assert!(found[*name].contains(message), "{name}: {}", found[*name]);
    }
}

#[test]
fn signatures() {
    let header = Header::parse(&fs::read(fixtures("bundles/v1.json")).unwrap()).unwrap();
    let key = PublicKey::parse(&fs::read_to_string(fixtures("signatures/release.pub")).unwrap()).unwrap();
    let trust = Trust::keys(vec![key]);
    for good in ["v1.minisig", "v1-crlf.minisig"] {
        let signature = fs::read(fixtures("signatures").join(good)).unwrap();
        assert_eq!(trust.check(&header.to_json(), Some(&signature)).unwrap().unwrap().comment, "hod bundle v1");
    }
    let refused = |(name, bytes): (String, Vec<u8>)| {
        (name, trust.check(&header.to_json(), Some(&bytes)).unwrap_err().to_string())
    };
    assert_messages(
        &damaged("signatures", ".minisig").into_iter().map(refused).collect(),
        &[
            ("algorithm", "its algorithm or format is unknown"),
            ("bundle", "does not belong to this bundle: the header or the signature was changed"),
            ("comment", "does not belong to this bundle: the header or the signature was changed"),
            ("comments", "its comments are missing"),
            ("control", "it has control characters"),
            ("fourth-line", "its fourth line is not a signature"),
            ("key", "which is not trusted"),
            ("lines", "it does not have four lines"),
            ("long", "it is too long"),
            ("second-line", "its second line is not a signature"),
            ("text", "it is not text"),
        ],
    );
}

#[test]
fn signatures_beside_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for name in ["bundles/v1.tar", "signatures/release.pub"] {
        fs::copy(fixtures(name), here.join(name.split('/').next_back().unwrap())).unwrap();
    }
    let verify = |signature: &str| {
        fs::copy(fixtures("signatures").join(signature), here.join("v1.tar.header.minisig")).unwrap();
        hod(["unpack", "v1.tar", "--key", "release.pub", "--root", "root"]).in_folder(here)
    };
    for (name, message) in [("bad-lines", "it does not have four lines"), ("bad-key", "which is not trusted")] {
        let output = verify(&format!("{name}.minisig")).code(4);
        assert!(output.stderr.contains(message), "{}", output.stderr);
        assert!(!here.join("root").exists(), "something was written");
    }
    verify("v1.minisig").ok();
}

#[test]
#[ignore = "takes long"]
fn keys() {
    let text = |name: &str| fs::read_to_string(fixtures("signatures").join(name)).unwrap();
    let secret = SigningKey::parse(&Secret::new(text("release.key")), None).unwrap();
    assert_eq!(secret.public().id(), PublicKey::parse(&text("release.pub")).unwrap().id());
    let locked = SigningKey::parse(&Secret::new(text("locked.key")), None).unwrap_err();
    assert_eq!(locked.to_string(), "the secret key is encrypted: a passphrase is required");
    SigningKey::parse(&Secret::new(text("locked.key")), Some(&Secret::new("secret".to_owned()))).unwrap();
    let read = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let public = damaged("signatures", ".pub").into_iter();
    assert_messages(
        &public.map(|(name, bytes)| (name, PublicKey::parse(&read(bytes)).unwrap_err().to_string())).collect(),
        &["algorithm", "lines", "secret", "short"].map(|name| (name, "not a minisign public key")),
    );
    let parse = |bytes: Vec<u8>| SigningKey::parse(&Secret::new(read(bytes)), None).unwrap_err().to_string();
    assert_messages(
        &damaged("signatures", ".key").into_iter().map(|(name, bytes)| (name, parse(bytes))).collect(),
        &["public", "short"].map(|name| (name, "not a minisign secret key")),
    );
}

#[test]
fn sums_of_volumes() {
    let lines = |(name, bytes): (String, Vec<u8>)| (name, format!("{:?}", Sums::parse(&bytes, "v1.tar")));
    assert_messages(
        &damaged("volumes", ".sha256").into_iter().map(lines).collect(),
        &[("digest", "Err(2)"), ("form", "Err(2)"), ("gap", "Err(3)"), ("text", "Err(2)"), ("twice", "Err(3)")],
    );
    let folder = tempfile::tempdir().unwrap();
    for name in ["v1.tar.001", "v1.tar.002", "v1.tar.003"] {
        fs::copy(fixtures("volumes").join(name), folder.path().join(name)).unwrap();
    }
    for name in damaged("volumes", ".sha256").keys() {
        fs::copy(fixtures("volumes").join(format!("bad-{name}.sha256")), folder.path().join("v1.tar.sha256")).unwrap();
        let output = hod(["verify", "v1.tar.001"]).in_folder(folder.path()).code(4);
        assert!(output.stderr.contains("v1.tar.sha256"), "{name}: {}", output.stderr);
        assert!(output.stderr.contains("copy this file again, or delete it"), "{name}: {}", output.stderr);
    }
}

#[test]
fn locks() {
    let read = |bytes: &[u8]| {
        let mut reader = ListReader::new();
        reader.file("release.lock", bytes);
        reader.finish(&[])
    };
    let good = read(&fs::read(fixtures("lists/good.lock")).unwrap()).unwrap();
    assert_eq!(good.lines[0].referrers.as_ref().map(Vec::len), Some(2));
    let message = |(name, bytes): (String, Vec<u8>)| {
        let message = match read(&bytes).unwrap_err() {
            ListError::Lines(lines) => format!("{}: {}", lines[0].0, lines[0].2),
            error => error.to_string(),
        };
        (name, message)
    };
    assert_messages(
        &damaged("lists", ".lock").into_iter().map(message).collect(),
        &[
            ("algorithm", "release.lock:3: "),
            ("cut", "is not a referrer: write TAG@DIGEST"),
            ("digest", "release.lock:3: "),
            ("empty", "the list has no images"),
            ("name", "as=../alpine:3.20 is not a valid name in a store"),
            (
                "option",
                "is not an option: only platform=…, as=…, referrers=… and, for images on this machine, digest=… may follow the image",
            ),
            ("platform", "release.lock:3: "),
            ("referrer", "is not a referrer: write TAG@DIGEST"),
            ("text", "the line is not UTF-8 text"),
            ("twice", "option as= is given twice"),
        ],
    );
}

/// Entrances that write files.
const WITH_FILES: [&str; 5] = ["credentials", "docker-archive", "htpasswd", "layer", "registries-conf"];

#[test]
#[ignore = "takes long"]
fn every_fixture_through_every_entrance_of_the_fuzzer() {
    let mut files = Vec::new();
    for folder in ["bundles", "fuzz", "inventories", "lists", "signatures", "volumes", "images"] {
        let found = walkdir::WalkDir::new(fixtures(folder)).into_iter().filter_map(Result::ok);
        files.extend(found.filter(|entry| entry.metadata().unwrap().len() < 64 * 1024 && entry.path().is_file()));
    }
    assert!(files.len() > 60, "the fixtures are not where they were");
    for file in files {
        let bytes = fs::read(file.path()).unwrap();
        for (name, entrance) in entrances::ENTRANCES {
            entrance(&bytes);
            // What makes files takes longer, and is not fed all changes of what is nothing to it.
            let is_its_own = file.path().parent().is_some_and(|folder| folder.ends_with(Path::new("fuzz").join(name)));
            if WITH_FILES.contains(name) && !is_its_own {
                continue;
            }
            // And with each of a few bytes changed, and cut off there.
            for position in (0..bytes.len()).step_by(bytes.len() / 8 + 1) {
                let mut changed = bytes.clone();
                changed[position] ^= 0x15;
                let checked = || {
                    entrance(&changed);
                    entrance(&changed[..position]);
                };
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(checked));
                assert!(result.is_ok(), "{name} breaks on {} with byte {position} changed", file.path().display());
            }
        }
    }
}
