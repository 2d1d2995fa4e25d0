//! `docker-archive:` — what `docker save` writes and `docker load` reads.
//!
//! ```text
//! <hex>.tar              a layer, never compressed: the name is its diff id
//! <hex>.json             a config: the name is the image id
//! manifest.json          [{"Config":"<hex>.json","RepoTags":["docker.io/library/a:1"],"Layers":["<hex>.tar"]}]
//! ```
//!
//! The format has no manifests. The one that is made up for reading is the same on every machine, but its digest is
//! not that of the image in a registry. With Docker's containerd store members are called `blobs/<algorithm>/<hex>`, and
//! layers may be compressed: such a name is the digest. Any other compressed layer is expanded once, for its diff id.

mod output;
mod sink;

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use sink::DockerArchiveSink;

use super::archive::{Part, TarFile, expanded, hash_in};
use super::compression::Compression;
use super::{ArchiveImage, TransportError};
use hod_engine::endpoint::{BlobReader, Place, Result, Source};
use hod_oci::{
    Algorithm, DOCKER_IO, Descriptor, Digest, Hasher, MediaType, Reference, Version, check_weight, diff_ids,
};

/// What messages call such archives.
const KIND: &str = "docker";

/// An archive of `docker save`.
#[derive(Debug, Clone)]
pub struct DockerArchive {
    tar: TarFile,
    items: Arc<[DockerItem]>,
    /// The digests of compressed layers, by where they are: images share them.
    compressed: Arc<Mutex<HashMap<(u64, u64), CompressedLayer>>>,
}

/// What a compressed layer is, and what is in it.
#[derive(Debug, Clone, Copy)]
struct CompressedLayer {
    digest: Digest,
    diff: Digest,
}

/// An image of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerItem {
    /// The member with its config.
    pub config: String,
    /// Its names, with their tags.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub repo_tags: Vec<String>,
    /// The members with its layers, lowest first.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub layers: Vec<String>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

/// An image of an archive to read from.
#[derive(Debug)]
pub struct DockerArchiveSource {
    tar: TarFile,
    place: Place,
    root: Digest,
    manifest: Bytes,
    /// Where content is: offset and length.
    members: HashMap<Digest, (u64, u64)>,
}

impl DockerArchive {
    /// Opens an archive and reads what it lists.
    pub fn open(path: &Path) -> super::Result<Self> {
        Self::open_in(path, Path::new(super::SCRATCH))
    }

    /// The same, with another folder for what has to be expanded.
    pub fn open_in(path: &Path, scratch: &Path) -> super::Result<Self> {
        Self::of(TarFile::open(path, KIND, scratch)?)
    }

    /// The archive in a file that is open already; `path` is what messages call it.
    pub(super) fn of_file(path: &Path, file: fs::File, scratch: &Path) -> super::Result<Self> {
        Self::of(TarFile::of(path, file, KIND, scratch)?)
    }

    fn of(tar: TarFile) -> super::Result<Self> {
        let bad = |problem: String| TransportError::NoArchive { path: tar.path().to_owned(), kind: KIND, problem };
        let list = tar.small("manifest.json")?.ok_or_else(|| bad("it has no manifest.json".to_owned()))?;
        check_weight(&list).map_err(|heavy| bad(format!("its manifest.json: {heavy}")))?;
        let items: Vec<DockerItem> =
            serde_json::from_slice(&list).map_err(|error| bad(format!("its manifest.json: {error}")))?;
        Ok(Self { tar, items: items.into(), compressed: Arc::default() })
    }

    /// The images.
    pub fn items(&self) -> &[DockerItem] {
        &self.items
    }

    /// A name as it stands in the archive, where tools leave out what Docker Hub adds: `alpine:3`.
    pub fn name_of(&self, wanted: &Reference) -> Option<String> {
        let mut names = self.items.iter().flat_map(|item| &item.repo_tags);
        names.find(|name| qualified(name).as_ref() == Some(wanted)).cloned()
    }

    /// The image that is meant; without a name there must be exactly one.
    fn find(&self, image: Option<&ArchiveImage>) -> super::Result<&DockerItem> {
        let names = || self.items.iter().flat_map(|item| item.repo_tags.clone()).collect::<Vec<_>>();
        let found = match image {
            None if self.items.len() > 1 => {
                return Err(TransportError::Several { path: self.tar.path().to_owned(), images: names() });
            }
            None => self.items.first(),
            Some(ArchiveImage::Position(position)) => self.items.get(*position),
            Some(ArchiveImage::Name(wanted)) => {
                let is_wanted = |name: &String| qualified(name).as_ref() == Some(wanted);
                self.items.iter().find(|item| item.repo_tags.iter().any(is_wanted))
            }
        };
        found.ok_or_else(|| TransportError::Unknown {
            path: self.tar.path().to_owned(),
            image: image.map_or_else(|| "at all".to_owned(), ToString::to_string),
            images: names(),
        })
    }

    /// An image as a source. Reads the config, and those compressed layers whose names do not say their digest.
    pub fn source(&self, image: Option<&ArchiveImage>) -> super::Result<DockerArchiveSource> {
        let item = self.find(image)?;
        let bad = |problem: String| TransportError::NoArchive { path: self.tar.path().to_owned(), kind: KIND, problem };
        let absent = |name: &str| bad(format!("its manifest.json names {name}, which it does not contain"));
        let config = self.tar.small(&item.config)?.ok_or_else(|| absent(&item.config))?;
        let ids = diff_ids(&config).map_err(|error| bad(format!("{}: {error}", item.config)))?;
        if ids.len() != item.layers.len() {
            let (ids, layers) = (ids.len(), item.layers.len());
            return Err(bad(format!("{} names {ids} layers, and manifest.json {layers}", item.config)));
        }
        let mut members = HashMap::new();
        let config_type = MediaType::parse("application/vnd.docker.container.image.v1+json");
        let config_descriptor = Descriptor::of(config_type, &config);
        members.insert(config_descriptor.digest, self.tar.member(&item.config).ok_or_else(|| absent(&item.config))?);
        let mut layers = Vec::new();
        for (name, id) in item.layers.iter().zip(ids) {
            let (offset, size) = self.tar.member(name).ok_or_else(|| absent(name))?;
            let compression = Compression::of(&self.tar.head(offset, size)?);
            // Whoever takes the bytes holds them to the digest, so one that the archive states is not computed here.
            let digest = match (compression, blob_digest(name)) {
                (Compression::None, _) => id,
                (_, Some(digest)) => digest,
                (_, None) => self.compressed(name, (offset, size), compression, id)?,
            };
            members.insert(digest, (offset, size));
            let plain = MediaType::parse("application/vnd.docker.image.rootfs.diff.tar");
            layers.push(Descriptor::new(compression.layer_type(&plain), digest, size));
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::DockerManifest,
            "config": config_descriptor,
            "layers": layers,
        });
        let manifest = Bytes::from(manifest.to_string());
        let place = Place::local(&self.tar.path().display().to_string(), None);
        Ok(DockerArchiveSource { tar: self.tar.clone(), place, root: Digest::sha256(&manifest), manifest, members })
    }

    /// The digest of a compressed layer, which has to expand to what the config says.
    fn compressed(&self, name: &str, key: (u64, u64), compression: Compression, id: Digest) -> super::Result<Digest> {
        let known = self.compressed.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        let layer = if let Some(layer) = known.filter(|layer| layer.diff.algorithm() == id.algorithm()) {
            layer
        } else {
            let read = CompressedLayer::read(&self.tar, key, compression, id.algorithm());
            let layer = read.map_err(|source| TransportError::Expand { path: self.tar.path().join(name), source })?;
            self.compressed.lock().unwrap_or_else(PoisonError::into_inner).insert(key, layer);
            layer
        };
        if layer.diff != id {
            let (path, expected, found) = (self.tar.path().join(name), Box::new(id), Box::new(layer.diff));
            return Err(TransportError::DiffId { path, expected, found });
        }
        Ok(layer.digest)
    }
}

impl CompressedLayer {
    /// Hashes a layer as it is and as it expands, in one pass.
    fn read(
        tar: &TarFile,
        (offset, size): (u64, u64),
        compression: Compression,
        of_diff: Algorithm,
    ) -> io::Result<Self> {
        let seen = Arc::new(Mutex::new((Hasher::new(Algorithm::Sha256), 0)));
        let layer = TeeReader { bytes: tar.part(offset, size), seen: seen.clone() };
        let (diff, _) = hash_in(of_diff, expanded(compression, layer)?)?;
        let (hasher, length) = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A decoder may leave what comes after its last frame.
        let mut rest =
            TeeReader { bytes: tar.part(offset + length, size - length), seen: Arc::new(Mutex::new((hasher, 0))) };
        io::copy(&mut rest, &mut io::sink())?;
        let (hasher, _) = rest.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Self { digest: hasher.finish(), diff })
    }
}

/// Bytes of a layer on their way to a decoder, which takes them for its own: what has passed is hashed, and counted.
struct TeeReader {
    bytes: Part,
    seen: Arc<Mutex<(Hasher, u64)>>,
}

impl Read for TeeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0.update(buffer.get(..count).unwrap_or_default());
        seen.1 += count as u64;
        Ok(count)
    }
}

/// The digest that the name of a member states, where it is that of a blob.
fn blob_digest(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("./").unwrap_or(name).strip_prefix("blobs/")?.split_once('/')?;
    Digest::from_parts(Algorithm::from_name(algorithm)?, hex).ok()
}

/// A name of an archive with everything filled in, so that names can be compared.
fn qualified(name: &str) -> Option<Reference> {
    name.parse::<Reference>().ok()?.qualified(DOCKER_IO).ok()
}

impl DockerArchiveSource {
    /// The digest of the manifest that was made up.
    pub const fn root(&self) -> Digest {
        self.root
    }
}

#[async_trait]
impl Source for DockerArchiveSource {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn manifest(&self, version: &Version) -> Result<(Descriptor, Bytes)> {
        match version {
            Version::Digest(digest) if *digest == self.root => {
                let size = self.manifest.len() as u64;
                Ok((Descriptor::new(MediaType::DockerManifest, self.root, size), self.manifest.clone()))
            }
            other => Err(TransportError::Unknown {
                path: self.tar.path().to_owned(),
                image: other.to_string(),
                images: Vec::new(),
            }
            .into()),
        }
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> Result<BlobReader> {
        let found = self.members.get(&content.digest).copied();
        let absent = TransportError::Absent { path: self.tar.path().to_owned(), digest: content.digest };
        let (start, size) = found.ok_or(absent)?;
        Ok(self.tar.stream(start + offset, size.saturating_sub(offset)))
    }
}
