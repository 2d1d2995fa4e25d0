//! One repository of a bundle file, as a source for the copy engine.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};

use async_trait::async_trait;
use bytes::Bytes;

use super::{DeltaBase, Header, OpenBundle};
use hod_engine::endpoint::{BlobReader, EndpointError, Fault, Place, Result, Source, blocking, read_ahead};
use hod_oci::{Descriptor, Digest, MANIFEST_LIMIT, Manifest, MediaType, RepositoryName, Version};

/// Content that a delta leaves to its base.
#[derive(Debug, thiserror::Error)]
#[error(
    "{digest} is not in the bundle, which is a delta: it leaves {contents} content{} ({bytes} bytes) of {} to its base{}",
    if *contents == 1 { "" } else { "s" },
    images.join(", "),
    base.iter().map(|base| format!(": {base}")).collect::<Vec<_>>().concat()
)]
pub struct LeftOutBlob {
    /// The content.
    pub digest: Digest,
    /// The images of the repository that need it.
    pub images: Vec<String>,
    /// How much of these images is left out: contents.
    pub contents: usize,
    /// And their bytes.
    pub bytes: u64,
    /// Any of these has it, where the bundle names them.
    pub base: Vec<DeltaBase>,
}

impl LeftOutBlob {
    /// Says of some content of a repository that it is left out, where it is.
    fn of(header: &Header, name: &RepositoryName, digest: &Digest) -> Option<Self> {
        let required: BTreeMap<Digest, u64> =
            header.requires().iter().map(|content| (content.digest, content.size)).collect();
        required.get(digest)?;
        let mut images = Vec::new();
        let mut left: BTreeMap<Digest, u64> = BTreeMap::new();
        for image in header.images().iter().filter(|image| image.name == *name) {
            if header.contents_of(image).any(|content| content.digest == *digest) {
                images.push(image.label());
                left.extend(header.contents_of(image).filter_map(|it| required.get_key_value(&it.digest)));
            }
        }
        let (contents, bytes) = (left.len(), left.into_values().sum());
        Some(Self { digest: *digest, images, contents, bytes, base: header.base().to_vec() })
    }
}

/// A repository of a bundle.
#[derive(Debug)]
pub struct BundleSource {
    bundle: OpenBundle,
    name: RepositoryName,
    place: Place,
}

impl OpenBundle {
    /// A repository of this bundle. `label` is what the bundle is called in messages.
    pub fn source(&self, label: &str, name: &RepositoryName) -> BundleSource {
        BundleSource { bundle: self.clone(), name: name.clone(), place: Place::local(label, Some(name)) }
    }

    /// The bytes of a manifest or another small blob, checked against its digest; `None` where the bundle does
    /// not hold it.
    pub fn small(&self, digest: &Digest) -> Result<Option<Bytes>> {
        let Some(mut blob) = self.blob(digest) else { return Ok(None) };
        if blob.size() > MANIFEST_LIMIT {
            let problem = format!("{digest} has {} bytes, too many for a manifest", blob.size());
            return Err(EndpointError::new(Fault::Rejected, problem));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(blob.size()).unwrap_or_default());
        blob.read_to_end(&mut bytes).map_err(EndpointError::io)?;
        let found = Digest::of(digest.algorithm(), &bytes);
        if found != *digest {
            let mismatch = hod_engine::endpoint::Mismatch::Digest { expected: *digest, found };
            return Err(EndpointError::new(Fault::Corrupt, mismatch));
        }
        Ok(Some(bytes.into()))
    }
}

impl BundleSource {
    fn find(&self, version: &Version) -> Result<Digest> {
        let links = self.bundle.header().repository(&self.name);
        let found = links.and_then(|links| match version {
            Version::Tag(tag) => links.tags.iter().find(|link| link.name == *tag).map(|link| link.digest),
            Version::Digest(digest) => links.revisions.contains(digest).then_some(*digest),
        });
        found.ok_or_else(|| EndpointError::new(Fault::Missing, format!("missing {version} of {}", self.place)))
    }
}

#[async_trait]
impl Source for BundleSource {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn manifest(&self, version: &Version) -> Result<(Descriptor, Bytes)> {
        let digest = self.find(version)?;
        let bundle = self.bundle.clone();
        let read = blocking(move || bundle.small(&digest)).await?;
        let bytes = read.ok_or_else(|| EndpointError::new(Fault::Missing, format!("{digest} is not in the bundle")))?;
        let manifest = Manifest::parse(&MediaType::Other("".into()), &bytes)
            .map_err(|error| EndpointError::new(Fault::Rejected, error))?;
        Ok((Descriptor::new(manifest.media_type, digest, bytes.len() as u64), bytes))
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> Result<BlobReader> {
        let missing = || match LeftOutBlob::of(self.bundle.header(), &self.name, &content.digest) {
            Some(left_out) => EndpointError::new(Fault::Missing, left_out),
            None => EndpointError::new(Fault::Missing, format!("{} is not in the bundle", content.digest)),
        };
        let mut blob = self.bundle.blob(&content.digest).ok_or_else(missing)?;
        blob.seek(SeekFrom::Start(offset)).map_err(EndpointError::io)?;
        Ok(read_ahead(blob.once(), content.size.saturating_sub(offset)))
    }

    async fn size(&self, content: &Descriptor) -> Result<Option<u64>> {
        Ok(self.bundle.header().blob(&content.digest).map(|blob| blob.size))
    }
}
