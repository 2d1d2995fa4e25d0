//! `docker-archive:` — what `docker save` writes and `docker load` reads.
//!
//! ```text
//! <hex>.tar              a layer, never compressed: the name is its diff id
//! <hex>.json             a config: the name is the image id
//! manifest.json          [{"Config":"<hex>.json","RepoTags":["docker.io/library/a:1"],"Layers":["<hex>.tar"]}]
//! ```
//!
//! The format has no manifests. The one that is made up for reading is the same on every machine, but its digest is
//! not that of the image in a registry.

mod output;
mod sink;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use sink::DockerArchiveSink;

use super::archive::TarFile;
use super::layer::Compression;
use super::{ArchiveImage, TransportError};
use crate::endpoint::{BlobReader, Place, Result, Source};
use crate::oci::{DOCKER_IO, Descriptor, Digest, MediaType, Reference, Version, diff_ids};

/// What messages call such archives.
const KIND: &str = "docker";

/// An archive of `docker save`.
#[derive(Debug, Clone)]
pub struct DockerArchive {
    tar: TarFile,
    items: Arc<[DockerItem]>,
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
        let items: Vec<DockerItem> =
            serde_json::from_slice(&list).map_err(|error| bad(format!("its manifest.json: {error}")))?;
        Ok(Self { tar, items: items.into() })
    }

    /// The images.
    pub fn items(&self) -> &[DockerItem] {
        &self.items
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

    /// An image as a source. Reads the config, and hashes those layers that are compressed.
    pub fn source(&self, image: Option<&ArchiveImage>) -> super::Result<DockerArchiveSource> {
        let item = self.find(image)?;
        let bad = |problem: String| TransportError::NoArchive { path: self.tar.path().to_owned(), kind: KIND, problem };
        let absent = |name: &str| bad(format!("its manifest.json names {name}, which it does not hold"));
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
            let (digest, media_type) = match Compression::of(&self.tar.head(offset, size)?) {
                Compression::None => (id, "application/vnd.docker.image.rootfs.diff.tar"),
                Compression::Gzip => (self.hash(offset, size)?, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
                Compression::Zstd => (self.hash(offset, size)?, "application/vnd.docker.image.rootfs.diff.tar.zstd"),
            };
            members.insert(digest, (offset, size));
            layers.push(Descriptor::new(MediaType::parse(media_type), digest, size));
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

    fn hash(&self, offset: u64, size: u64) -> super::Result<Digest> {
        Ok(self.tar.part(offset, size).hash()?)
    }
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

    async fn resolve(&self, version: &Version) -> Result<Descriptor> {
        Ok(self.manifest(version).await?.0)
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
