//! Bundles of the first version of the format, byte for byte. They must be readable for ever.

use fs_err as fs;
use hod_bundle::{BundleReader, Compression, Contents, DeltaBase, DeltaBaseKind};
use hod_oci::Digest;

use super::sample::{Sample, read};

const SIGNATURE: &[u8] = b"untrusted comment: not a real signature\n";

fn sample() -> Sample {
    let mut sample = Sample::small();
    sample.contents = Contents { mtime: 1_700_000_000, ..sample.contents };
    sample.contents.images[0].group = Some("base".into());
    sample
}

/// The same as a delta, which leaves its layer to three bases.
fn delta() -> Sample {
    let mut sample = sample();
    sample.contents.requires = sample.contents.blobs.split_off(4);
    let base = |kind, name: &str, id: Option<&str>, date: Option<&str>| DeltaBase {
        kind,
        name: name.into(),
        id: id.map(|text| Digest::sha256(text.as_bytes())),
        date: date.map(Into::into),
    };
    sample.contents.base = vec![
        base(DeltaBaseKind::Bundle, "may.tar", Some("may"), Some("2026-05-01")),
        base(DeltaBaseKind::Inventory, "site \"a\".json", Some("site"), None),
        base(DeltaBaseKind::Store, "registry", None, None),
    ];
    sample
}

fn path(name: &str) -> String {
    format!("{}/fixtures/bundles/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn golden(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

fn files() -> [(&'static str, Vec<u8>); 6] {
    let write = |signature, form| sample().write_signed(signature, form).0;
    [
        ("v1.json", sample().header().to_json()),
        ("v1.tar", write(None, Compression::None)),
        ("v1-signed.tar", write(Some(SIGNATURE), Compression::None)),
        ("v1.tar.zst", write(None, Compression::Zstd { threads: 1 })),
        ("v1-delta.json", delta().header().to_json()),
        ("v1-delta.tar", delta().write(Compression::None)),
    ]
}

#[test]
#[ignore = "writes the fixtures: for a new version of the format only"]
fn write_the_fixtures() {
    for (name, bytes) in files() {
        fs::write(path(name), bytes).unwrap();
    }
}

#[test]
fn the_bytes_of_version_1() {
    for (name, bytes) in files() {
        assert!(golden(name) == bytes, "{name} has changed");
    }
    assert_eq!(
        sample().header().id().to_string(),
        "sha256:a825f915e4ef4b1b13808461f861c7c3a319801865120d9ecbd008b951c0b255"
    );
}

#[test]
fn version_1_is_readable() {
    for name in ["v1.tar", "v1-signed.tar", "v1.tar.zst"] {
        let bundle = golden(name);
        let (blobs, result) = read(&bundle);
        result.unwrap();
        assert_eq!(blobs.len(), 5);
        let reader = BundleReader::new(bundle.as_slice()).unwrap();
        assert_eq!(reader.header().to_json(), golden("v1.json"));
        assert_eq!(reader.signature(), name.contains("signed").then_some(SIGNATURE));
    }
}

#[test]
fn a_delta_of_version_1_is_readable() {
    let bundle = golden("v1-delta.tar");
    let (blobs, result) = read(&bundle);
    result.unwrap();
    assert_eq!(blobs.len(), 4);
    let reader = BundleReader::new(bundle.as_slice()).unwrap();
    assert_eq!(reader.header().to_json(), golden("v1-delta.json"));
    assert_eq!(reader.header().base(), delta().contents.base);
}
