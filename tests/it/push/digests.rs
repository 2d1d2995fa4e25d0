//! Who finds out the digests of what is pushed: the registry, once it has shown that it does, and hod where it does not
//! or where something is wrong.

use std::path::Path;

use hyper::Method;
use tempfile::TempDir;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On};
use crate::support::hod::Output;
use crate::support::images::{Content, Image, image, layer};
use crate::support::job::{assert_registry_has, blob_path, flip, manifest, pack, push};

/// Larger than what hod hashes whatever the registry does.
const LARGE: usize = 3_000_000;

/// An image with larger blobs, which come first, so that the registry shows what it does, before the one in question.
fn content() -> (Content, Image) {
    let large = image("linux/amd64", &[layer(2, LARGE), layer(3, LARGE + 1), layer(4, LARGE + 2)]);
    (Content::default().with("large:1", &large), large)
}

/// Pushes blob by blob.
fn push_in_turns(source: &Path, host: &str, input: &[u8]) -> Output {
    push(source, host, ["-j", "1"]).input(input).run()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn damage_in_a_large_blob_is_named_and_not_pushed() {
    let folder = TempDir::new().unwrap();
    let (content, large) = content();
    let (store, bundle) = (folder.path().join("store"), folder.path().join("b.tar"));
    content.write_root(&store);
    pack(&store, &bundle, []).ok();
    let blob = large.blobs[1].digest();
    let whole = fs_err::read(blob_path(&store, &blob)).unwrap();
    flip(&blob_path(&store, &blob), LARGE / 2);
    // The same byte in the bundle.
    let mut bytes = fs_err::read(&bundle).unwrap();
    let start = bytes.windows(64).position(|window| *window == whole[..64]).unwrap();
    bytes[start + LARGE / 2] ^= 1;
    fs_err::write(&bundle, &bytes).unwrap();
    for (source, input) in [(&*store, &[][..]), (&bundle, &[]), (Path::new("-"), &bytes)] {
        let registry = DockerRegistry::empty();
        let output = push_in_turns(source, registry.host(), input);
        assert!(matches!(output.code, Some(1..=4)), "{source:?}: {:?}", output.code);
        assert!(output.stderr.contains(&blob.to_string()), "{source:?}: {}", output.stderr);
        assert_eq!(manifest(registry.host(), "large", "1").status, 404, "{source:?}");
    }
}

/// It is asked to take large blobs again as soon as it does not say what it found: the second time hod has hashed them.
#[test]
fn a_registry_that_says_no_digest_gets_what_hod_has_hashed() {
    let folder = TempDir::new().unwrap();
    let (content, _) = content();
    content.write_root(folder.path());
    for silent in [On::upload(Method::PUT), On::upload(Method::PUT).times(1)] {
        let registry = Faulty::new(Content::default()).fault(silent, Effect::NoDigest).start();
        assert_eq!(push_in_turns(folder.path(), registry.host(), &[]).code, Some(0));
        assert_registry_has(registry.host(), &content);
    }
}

#[test]
fn a_registry_that_finds_another_digest_is_an_error() {
    let folder = TempDir::new().unwrap();
    let (content, large) = content();
    content.write_root(folder.path());
    let wrong = Effect::Digest(large.blobs[0].digest());
    let registry = Faulty::new(Content::default()).fault(On::upload(Method::PUT), wrong).start();
    let output = push(folder.path(), registry.host(), ["-j", "1", "--retry-times", "0"]).run();
    assert!(matches!(output.code, Some(1..=4)), "{:?}", output.code);
    // Any of the layers may be the first.
    let mut layers = large.blobs.iter().skip(1).map(|layer| format!("upload of {}", layer.digest()));
    assert!(layers.any(|layer| output.stderr.contains(&layer)), "{}", output.stderr);
    let said = format!("the digest should be {}", large.blobs[0].digest());
    assert!(output.stderr.contains(&said), "{}", output.stderr);
    assert_eq!(manifest(registry.host(), "large", "1").status, 404);
}
