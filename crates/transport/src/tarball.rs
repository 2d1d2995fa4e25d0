//! `tarball:` — layers as files, and an image made up around them.
//!
//! Each file is one layer, lowest first, byte for byte as it is: a tar, or one compressed by gzip or zstd. The config
//! holds what the format demands and nothing that changes from run to run, so the same files give the same digest.

use std::collections::HashMap;
use std::io::{self, Read, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fs_err as fs;
use serde::Serialize;
use serde_json::{Value, json};

use super::TransportError;
use super::archive::{DESCRIPTION, Part, expanded, hash, scratch, without_bytes};
use super::compression::Compression;
use hod_engine::endpoint::{BlobReader, Place, Result, Source};
use hod_oci::{Descriptor, Digest, MediaType, Platform, Version};

/// What reproducible images give as their time of creation.
pub const CREATED: &str = "1970-01-01T00:00:00Z";

/// An image of files to read from.
#[derive(Debug)]
pub struct TarballSource {
    place: Place,
    manifest: Bytes,
    config: (Digest, Bytes),
    layers: HashMap<Digest, Arc<fs::File>>,
}

/// The config of an image of which only the layers are known (OCI image-spec, `config.md`).
#[derive(Serialize)]
struct GeneratedConfig<'a> {
    created: &'static str,
    #[serde(flatten)]
    platform: &'a Platform,
    config: Value,
    rootfs: Value,
    history: Vec<Value>,
}

/// A file that became a layer.
struct Layer {
    descriptor: Descriptor,
    diff: Digest,
    file: Arc<fs::File>,
}

impl<'a> GeneratedConfig<'a> {
    fn of(platform: &'a Platform, layers: &[Layer]) -> Self {
        let ids: Vec<Digest> = layers.iter().map(|layer| layer.diff).collect();
        let history = |diff: &Digest| json!({ "created": CREATED, "created_by": format!("tarball {diff}") });
        Self {
            created: CREATED,
            platform,
            config: json!({}),
            rootfs: json!({ "type": "layers", "diff_ids": ids }),
            history: ids.iter().map(history).collect(),
        }
    }
}

impl TarballSource {
    /// Reads the files, `-` being standard input, which is kept in a nameless file of the folder `scratch`.
    pub fn open(files: &[PathBuf], platform: &Platform, scratch: &Path) -> super::Result<Self> {
        let layers = files.iter().map(|file| layer(file, scratch)).collect::<super::Result<Vec<_>>>()?;
        let config = serde_json::to_vec(&GeneratedConfig::of(platform, &layers)).map_err(io::Error::from)?;
        let config = Bytes::from(config);
        let config_type = MediaType::parse("application/vnd.oci.image.config.v1+json");
        let config_descriptor = Descriptor::of(config_type, &config);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OciManifest,
            "config": config_descriptor,
            "layers": layers.iter().map(|layer| &layer.descriptor).collect::<Vec<_>>(),
        });
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        Ok(Self {
            place: Place::local(&names.join(":"), None),
            manifest: manifest.to_string().into(),
            config: (config_descriptor.digest, config),
            layers: layers.into_iter().map(|layer| (layer.descriptor.digest, layer.file)).collect(),
        })
    }

    /// The digest of the manifest that was made up.
    pub fn root(&self) -> Digest {
        Digest::sha256(&self.manifest)
    }

    fn absent(&self, digest: Digest) -> TransportError {
        TransportError::Absent { path: self.place.domain().into(), digest }
    }
}

/// Reads a file to its end: what it is, compressed and expanded.
fn layer(path: &Path, folder: &Path) -> super::Result<Layer> {
    let mut file = if path == Path::new("-") {
        let mut file = scratch(folder)?;
        if io::copy(&mut io::stdin().lock(), &mut file)? == 0 {
            // A list on standard input, or another image, has taken what there was.
            let source = io::Error::new(io::ErrorKind::UnexpectedEof, "it has no data: it can be read only once");
            return Err(TransportError::NoTar { path: path.to_owned(), source });
        }
        file
    } else {
        fs::File::open(path)?
    };
    file.rewind()?;
    let mut head = Vec::new();
    (&mut file).take(8).read_to_end(&mut head)?;
    let compression = Compression::of(&head);
    let file = Arc::new(file);
    let whole = || Part::of(&file, 0, u64::MAX);
    let (digest, size) = hash(whole())?;
    let no_tar = |source| TransportError::NoTar { path: path.to_owned(), source };
    check(&mut *expanded(compression, whole())?).map_err(no_tar)?;
    let (diff, media_type) = match compression {
        Compression::None => (digest, "application/vnd.oci.image.layer.v1.tar"),
        Compression::Gzip => (expanded_digest(compression, whole())?, "application/vnd.oci.image.layer.v1.tar+gzip"),
        Compression::Zstd => (expanded_digest(compression, whole())?, "application/vnd.oci.image.layer.v1.tar+zstd"),
    };
    Ok(Layer { descriptor: Descriptor::new(MediaType::parse(media_type), digest, size), diff, file })
}

fn expanded_digest(compression: Compression, part: Part) -> io::Result<Digest> {
    hash(expanded(compression, part)?).map(|(digest, _)| digest)
}

/// Refuses what does not begin as a tar file does. Of what describes the first entry only so much is read as any has.
fn check(stream: &mut dyn Read) -> io::Result<()> {
    tar::Archive::new(stream.take(DESCRIPTION)).entries()?.next().transpose().map(drop).map_err(without_bytes)
}

#[async_trait]
impl Source for TarballSource {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn manifest(&self, version: &Version) -> Result<(Descriptor, Bytes)> {
        match version {
            Version::Digest(digest) if *digest == self.root() => {
                Ok((Descriptor::of(MediaType::OciManifest, &self.manifest), self.manifest.clone()))
            }
            Version::Digest(digest) => Err(self.absent(*digest).into()),
            Version::Tag(tag) => Err(TransportError::Unknown {
                path: self.place.domain().into(),
                image: tag.to_string(),
                images: Vec::new(),
            }
            .into()),
        }
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> Result<BlobReader> {
        let (digest, config) = &self.config;
        if content.digest == *digest {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(config.len());
            let rest = config.slice(start..);
            return Ok(Box::pin(futures_util::stream::once(std::future::ready(Ok(rest)))));
        }
        let file = self.layers.get(&content.digest).ok_or_else(|| self.absent(content.digest))?;
        Ok(Part::of(file, offset, content.size.saturating_sub(offset)).stream())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_first_entry_is_bounded() {
        let begins = |length: usize| {
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            tar.append_data(&mut header, "n".repeat(length), io::empty()).unwrap();
            check(&mut &*tar.into_inner().unwrap())
        };
        assert!(begins(1).is_ok() && begins(1_000_000).is_ok());
        assert!(begins(2_000_000).is_err());
    }
}
