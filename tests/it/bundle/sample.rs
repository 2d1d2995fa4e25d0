//! Bundles to test with.

use std::collections::BTreeMap;
use std::io::Read as _;

use hod_bundle::{BundleError, BundleReader, BundleSummary, Compression, Content, Contents, Header, Image, Writer};
use hod_oci::{Algorithm, Digest, MediaType, RepositoryName, Tag};
use hod_store::{Links, TagLink};

/// The contents of a bundle, with the bytes of its blobs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) contents: Contents,
    pub(crate) bytes: BTreeMap<Digest, Vec<u8>>,
}

/// Both forms of a bundle.
pub(crate) const FORMS: [Compression; 2] = [Compression::None, Compression::Zstd { threads: 2 }];

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

impl Sample {
    /// Adds a blob to the bundle.
    pub(crate) fn blob(&mut self, algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let digest = Digest::of(algorithm, bytes);
        if self.bytes.insert(digest, bytes.to_vec()).is_none() {
            self.contents.blobs.push(Content { digest, size: bytes.len() as u64 });
        }
        digest
    }

    /// Adds a repository whose manifests are `revisions`, the last of them under `tags`.
    pub(crate) fn repository(&mut self, name: &str, layers: &[Digest], revisions: &[Digest], tags: &[&str]) {
        let name: RepositoryName = name.parse().unwrap();
        let root = *revisions.last().unwrap();
        let tag = |tag: &&str| -> Tag { tag.parse().unwrap() };
        let position =
            |digest: &Digest| u32::try_from(self.contents.blobs.iter().position(|blob| blob.digest == *digest)?).ok();
        // Empty blobs are one and the same, and may be layer and manifest.
        let mut contents: Vec<u32> = revisions.iter().chain(layers).filter_map(position).collect();
        let mut seen = std::collections::HashSet::new();
        contents.retain(|position| seen.insert(*position));
        self.contents.images.extend(tags.iter().map(|text| Image {
            name: name.clone(),
            tag: Some(tag(text)),
            digest: root,
            media_type: MediaType::OciManifest,
            contents: contents.clone(),
            platforms: vec!["linux/amd64".parse().unwrap()],
            group: None,
            source: Some(format!("docker.io/{name}:{text}").into()),
        }));
        let tags = tags.iter().map(|text| TagLink { name: tag(text), digest: root }).collect();
        self.contents.repositories.push(Links { name, layers: layers.to_vec(), revisions: revisions.to_vec(), tags });
    }

    /// Two repositories that share a layer, a name that needs an extended header, a blob by SHA-512.
    pub(crate) fn small() -> Self {
        let mut sample = Self::default();
        let manifest = sample.blob(Algorithm::Sha256, br#"{"schemaVersion":2}"#);
        let config = sample.blob(Algorithm::Sha256, b"{}");
        let other = sample.blob(Algorithm::Sha512, br#"{"schemaVersion":2,"layers":[]}"#);
        let empty = sample.blob(Algorithm::Sha256, b"");
        let layer = sample.blob(Algorithm::Sha256, &noise(1, 1300));
        sample.repository("library/alpine", &[config, layer], &[manifest], &["3.14", "latest"]);
        let long = format!("{}/{}", "a".repeat(120), "b".repeat(100));
        sample.repository(&long, &[layer, empty, config], &[manifest, other], &["v1"]);
        sample
    }

    /// As [`Sample::small`], with blobs that need several frames.
    pub(crate) fn large() -> Self {
        let mut sample = Self::small();
        let sizes = [100, 3 << 20, 700_000, 400_000, (1 << 20) - 512, 1 << 20, 5];
        let layers: Vec<_> =
            (2..).zip(sizes).map(|(seed, size)| sample.blob(Algorithm::Sha256, &noise(seed, size))).collect();
        let flat = sample.blob(Algorithm::Sha256, &vec![b'x'; 2_500_000]);
        let manifest = sample.contents.blobs[0].digest;
        sample.repository("big", &[layers, vec![flat]].concat(), &[manifest], &["1"]);
        sample
    }

    pub(crate) fn header(&self) -> Header {
        Header::new(self.contents.clone()).unwrap()
    }

    pub(crate) fn write(&self, compression: Compression) -> Vec<u8> {
        self.write_signed(None, compression).0
    }

    pub(crate) fn write_signed(&self, signature: Option<&[u8]>, compression: Compression) -> (Vec<u8>, BundleSummary) {
        let header = self.header();
        let mut writer = Writer::new(Vec::new(), &header, signature, compression).unwrap();
        for blob in header.blobs() {
            writer.blob(&blob.digest, &mut self.bytes[&blob.digest].as_slice()).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// Blobs that were read to their end.
pub(crate) type Blobs = Vec<(Digest, Vec<u8>)>;

/// Reads a whole bundle; gives the blobs, and the bundle's id if it was read to its end.
pub(crate) fn read(bundle: &[u8]) -> (Blobs, Result<Digest, BundleError>) {
    let mut blobs = Vec::new();
    let result = read_into(bundle, &mut blobs);
    (blobs, result)
}

fn read_into(bundle: &[u8], blobs: &mut Blobs) -> Result<Digest, BundleError> {
    let mut reader = BundleReader::new(bundle)?;
    while let Some(mut body) = reader.next_blob()? {
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes)?;
        blobs.push((*body.digest(), bytes));
    }
    Ok(reader.finish()?.id())
}

/// How far `error` and its causes say something.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A compressed bundle of a tar stream that no writer of ours would make.
pub(crate) fn compressed(tar: &[u8]) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true)).unwrap();
    let (mut bundle, mut table) = (Vec::new(), Vec::new());
    for content in tar.chunks(1 << 20) {
        let frame = compressor.compress(content).unwrap();
        table.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_le_bytes());
        table.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
        bundle.extend_from_slice(&frame);
    }
    let count = u32::try_from(table.len() / 8).unwrap();
    bundle.extend_from_slice(&[0x5E, 0x2A, 0x4D, 0x18]);
    bundle.extend_from_slice(&(count * 8 + 9).to_le_bytes());
    bundle.extend_from_slice(&table);
    bundle.extend_from_slice(&count.to_le_bytes());
    bundle.extend_from_slice(&[0, 0xB1, 0xEA, 0x92, 0x8F]);
    bundle
}
