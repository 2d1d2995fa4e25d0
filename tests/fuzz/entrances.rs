//! The functions through which bytes of others enter hod, each with what must hold whatever the bytes are.
//!
//! The fuzzer feeds them inputs of its own making; `tests/it/foreign.rs` feeds them the fixtures in every test run.

#[path = "configuration.rs"]
mod configuration;
#[path = "images.rs"]
mod images;

use std::io::{self, Read as _};

use hod_bundle::volumes::Sums;
use hod_bundle::{BundleReader, Header, OpenBundle, PublicKey, RandomAccess, SigningKey, Trust};
use hod_image::inventory::Inventory;
use hod_image::list::ListReader;
use hod_io::secret::Secret;
use hod_oci::{Digest, Manifest, MediaType, Platforms, Reference, RepositoryName};
use hod_transport::Location;

/// A name, and what is fed with bytes.
pub type Entrance = (&'static str, fn(&[u8]));

/// All entrances by name.
pub const ENTRANCES: &[Entrance] = &[
    ("bundle", bundle),
    ("credentials", configuration::credentials),
    ("docker-archive", images::docker_archive),
    ("header", header),
    ("htpasswd", configuration::htpasswd),
    ("image-config", images::config),
    ("inventory", inventory),
    ("key", key),
    ("layer", images::layer),
    ("list", list),
    ("manifest", manifest),
    ("openpgp", images::openpgp),
    ("policy", configuration::policy),
    ("reference", reference),
    ("registries-conf", configuration::registries_conf),
    ("registry-headers", configuration::registry_headers),
    ("seek-table", seek_table),
    ("signature", signature),
    ("sums", sums),
    ("sync-sources", configuration::sync_sources),
];

const BUNDLE: &[u8] = include_bytes!("../../fixtures/bundles/v1.tar.zst");
const HEADER: &[u8] = include_bytes!("../../fixtures/bundles/v1.json");
const KEY: &str = include_str!("../../fixtures/signatures/release.pub");
const SIGNATURE: &[u8] = include_bytes!("../../fixtures/signatures/v1.minisig");

/// A bundle, read as a stream and in any order: what comes out of it is right, and both ways agree.
fn bundle(bytes: &[u8]) {
    let streamed = stream(bytes);
    let Ok((open, _)) = OpenBundle::over(Box::new(Bytes(bytes.to_vec())), &Trust::default()) else {
        assert!(streamed.is_none(), "a bundle that reads as a stream and does not open");
        return;
    };
    for blob in open.header().blobs() {
        let mut content = Vec::new();
        let read = open.blob(&blob.digest).expect("the header lists it").read_to_end(&mut content);
        let is_right = read.is_ok() && Digest::of(blob.digest.algorithm(), &content) == blob.digest;
        assert!(is_right || streamed.is_none(), "a blob that is right in the stream only");
    }
}

/// Reads a bundle to its end; `None` where it is none.
fn stream(bytes: &[u8]) -> Option<()> {
    let mut reader = BundleReader::new(bytes).ok()?;
    while let Some(mut body) = reader.next_blob().ok()? {
        let (digest, size) = (*body.digest(), body.size());
        let mut content = Vec::new();
        body.read_to_end(&mut content).ok()?;
        assert_eq!((Digest::of(digest.algorithm(), &content), content.len() as u64), (digest, size));
    }
    reader.finish().ok().map(|_| ())
}

/// The header of a bundle: its bytes are the only ones that read as it.
fn header(bytes: &[u8]) {
    let Ok(header) = Header::parse(bytes) else { return };
    assert_eq!(header.to_json(), bytes);
    let last = header.members().last().map_or(0, |member| member.end());
    assert!(header.data_area(None) + last <= header.tar_size(None));
}

/// The inventory of a store.
fn inventory(bytes: &[u8]) {
    let Ok(inventory) = Inventory::parse(bytes) else { return };
    assert_eq!(Inventory::parse(&inventory.to_json()).expect("what is written is read"), inventory);
}

/// The text of a key, public or secret.
fn key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = PublicKey::parse(text) {
        let again = PublicKey::parse(&key.to_text()).expect("what is written is read");
        assert_eq!(again.id(), key.id());
    }
    // Without a passphrase, so that a key that wants one is not opened: that is slow by design.
    let _ = SigningKey::parse(&Secret::new(text.to_owned()), None);
}

/// A list of images, or a lock.
fn list(bytes: &[u8]) {
    let mut reader = ListReader::new();
    reader.file("list", bytes);
    let Ok(list) = reader.finish(&[]) else { return };
    for line in &list.lines {
        let mut again = ListReader::new();
        again.argument(1, &line.text);
        let again = again.finish(&[]).expect("what was read once is read again");
        assert_eq!(again.lines[0].reference, line.reference);
    }
}

/// A manifest or index of an image.
fn manifest(bytes: &[u8]) {
    for media_type in [MediaType::OciManifest, MediaType::OciIndex, MediaType::DockerManifest, MediaType::DockerList] {
        let Ok(manifest) = Manifest::parse(&media_type, bytes) else { continue };
        let _ = (manifest.blobs().count(), Platforms::All.choose(manifest.children()));
    }
}

/// Names of images, platforms, digests and places.
fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse::<Reference>().expect("what is written is read"), reference);
        let _ = reference.in_registry("docker.io");
    }
    if let Ok(name) = text.parse::<RepositoryName>() {
        assert!(name.as_str().split('/').all(|part| !part.is_empty() && !part.starts_with('.')), "{name}");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    let _ = (text.parse::<Platforms>(), text.parse::<Location>());
}

/// The table at the end of a compressed bundle, here of one whose frames are right.
fn seek_table(bytes: &[u8]) {
    let footer = BUNDLE.len() - 9;
    let count = u32::from_le_bytes(BUNDLE[footer..footer + 4].try_into().expect("four bytes")) as usize;
    let table = footer - count * 8 - 8;
    let changed = [&BUNDLE[..table], bytes].concat();
    bundle(&changed);
    assert!(stream(&changed).is_none() || changed == BUNDLE, "another table is accepted");
}

/// The signature of a bundle. Only its signer can write another one that is accepted.
fn signature(bytes: &[u8]) {
    let header = Header::parse(HEADER).expect("the fixture is right");
    let trust = Trust::keys(vec![PublicKey::parse(KEY).expect("the fixture is right")]);
    let Ok(Some(signed)) = trust.check(&header.to_json(), Some(bytes)) else { return };
    // The first line is signed by nobody, and ends of lines may be those of Windows.
    let line = |text: &[u8], number| {
        let text = String::from_utf8_lossy(text).into_owned();
        text.lines().nth(number).unwrap_or_default().trim_end().to_owned()
    };
    for number in 1..4 {
        assert_eq!(line(bytes, number), line(SIGNATURE, number), "another signature by {} is accepted", signed.key);
    }
}

/// The file with the digests of volumes.
fn sums(bytes: &[u8]) {
    let Ok(Some(sums)) = Sums::parse(bytes, "v1.tar") else { return };
    assert_eq!(Sums::parse(sums.to_text("v1.tar").as_bytes(), "v1.tar"), Ok(Some(sums)));
}

struct Bytes(Vec<u8>);

impl RandomAccess for Bytes {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}
