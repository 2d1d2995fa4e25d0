//! What there is to be pulled, as people want to see it: images, platforms, sizes, what they share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;

use super::repositories::Repositories;
use hod_engine::endpoint::Result;
use hod_oci::{
    Descriptor, Digest, MANIFEST_LIMIT, Manifest, MediaType, Platform, RepositoryName, Tag, is_companion_tag,
};

/// The platform of what describes an image and is none.
const UNKNOWN: &str = "unknown/unknown";

/// All images with a tag.
pub(super) struct Overview {
    pub(super) images: Vec<Image>,
    /// The bytes of all images, each blob once.
    pub(super) bytes: u64,
    /// Tags of signatures and other attachments, which are not among the images.
    pub(super) attachments: usize,
}

/// An image under one or more tags of a repository.
pub(super) struct Image {
    pub(super) name: RepositoryName,
    pub(super) tags: Vec<Tag>,
    pub(super) digest: Digest,
    pub(super) platforms: BTreeSet<String>,
    /// What kind of artifact it is, if it is no image to be run.
    pub(super) artifact: Option<String>,
    /// The bytes that a pull of everything moves.
    pub(super) bytes: u64,
    /// How many of them other images need as well.
    pub(super) shared: u64,
    blobs: BTreeMap<Digest, u64>,
    /// Whether parts of it are not here.
    pub(super) partial: bool,
}

impl Overview {
    /// Reads the manifests of everything. What cannot be read is left out; pulling it tells why.
    pub(super) fn of(repositories: &dyn Repositories) -> Result<Self> {
        let (mut images, mut attachments) = (Vec::<Image>::new(), 0);
        let mut names = repositories.names()?;
        names.sort();
        for name in names {
            let mut positions = HashMap::new();
            let mut tags = repositories.tags(&name)?.unwrap_or_default();
            tags.sort();
            for tag in tags {
                if is_companion_tag(&tag) {
                    attachments += 1;
                } else if let Ok(Some(digest)) = repositories.tag(&name, &tag) {
                    let position = *positions.entry(digest).or_insert(images.len());
                    match images.get_mut(position) {
                        Some(image) => image.tags.push(tag),
                        None => images.push(Image::read(repositories, &name, digest, tag)),
                    }
                }
            }
        }
        let mut uses: BTreeMap<Digest, (u64, usize)> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        // The same image in two repositories is one.
        for image in images.iter().filter(|image| seen.insert(image.digest)) {
            for (digest, size) in &image.blobs {
                uses.entry(*digest).or_insert((*size, 0)).1 += 1;
            }
        }
        for image in &mut images {
            let shared = image.blobs.iter().filter(|(digest, _)| uses.get(digest).is_some_and(|(_, count)| *count > 1));
            image.shared = shared.map(|(_, size)| *size).sum();
        }
        Ok(Self { images, bytes: uses.values().map(|(size, _)| *size).sum(), attachments })
    }
}

impl Image {
    fn read(repositories: &dyn Repositories, name: &RepositoryName, digest: Digest, tag: Tag) -> Self {
        let mut image = Self {
            name: name.clone(),
            tags: vec![tag],
            digest,
            platforms: BTreeSet::new(),
            artifact: None,
            bytes: 0,
            shared: 0,
            blobs: BTreeMap::new(),
            partial: false,
        };
        image.follow(repositories);
        image.bytes = image.blobs.values().sum();
        image
    }

    /// Adds the root and everything below it, each manifest once. Of what was `seen` it is known whether it runs, and so
    /// for which platforms: one manifest may be listed for several.
    fn follow(&mut self, repositories: &dyn Repositories) {
        let mut seen = HashMap::new();
        let mut open: Vec<(Digest, Option<Descriptor>)> = vec![(self.digest, None)];
        while let Some((digest, listed)) = open.pop() {
            let platform = listed.as_ref().and_then(|listed| listed.platform.as_ref()).map(ToString::to_string);
            if let Some(runs) = seen.get(&digest) {
                self.platforms.extend(platform.filter(|platform| *runs && platform != UNKNOWN));
                continue;
            }
            let bytes = repositories.manifest(&self.name, &digest).ok().flatten();
            let manifest = bytes.as_ref().and_then(|bytes| Manifest::parse(&MediaType::Other("".into()), bytes).ok());
            let config = manifest.as_ref().and_then(Manifest::config);
            seen.insert(digest, config.is_some());
            let (Some(bytes), Some(manifest)) = (bytes, &manifest) else {
                self.partial = true;
                continue;
            };
            self.blobs.insert(digest, bytes.len() as u64);
            for blob in manifest.blobs() {
                if repositories.blob(&self.name, &blob.digest).ok().flatten().is_some() {
                    self.blobs.insert(blob.digest, blob.size);
                } else {
                    self.partial = true;
                }
            }
            if let Some(config) = config {
                let platform = platform.or_else(|| platform_of(repositories, &self.name, config));
                if listed.is_none() && !config.media_type.is_image_config() {
                    let kind = manifest.artifact_type.as_deref().unwrap_or(config.media_type.as_str());
                    self.artifact = Some(kind.to_owned());
                }
                self.platforms.extend(platform.filter(|platform| platform != UNKNOWN));
            }
            // What is named first is taken first.
            open.extend(manifest.children().iter().rev().map(|child| (child.digest, Some(child.clone()))));
        }
    }
}

/// The platform of an image that no index lists.
fn platform_of(repositories: &dyn Repositories, name: &RepositoryName, config: &Descriptor) -> Option<String> {
    if !config.media_type.is_image_config() || config.size > MANIFEST_LIMIT {
        return None;
    }
    repositories.blob(name, &config.digest).ok()??;
    let mut bytes = Vec::new();
    repositories.open(name, &config.digest, 0).ok()?.reader.take(MANIFEST_LIMIT).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice::<Platform>(&bytes).ok().map(|platform| platform.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use serde_json::json;

    use super::super::repositories::BlobReader;
    use super::*;
    use hod_engine::endpoint::{EndpointError, Fault};

    /// One repository with one tag. Manifests are there until too many were asked for.
    struct One {
        root: Digest,
        manifests: HashMap<Digest, Bytes>,
        asked: AtomicUsize,
    }

    impl Repositories for One {
        fn names(&self) -> Result<Vec<RepositoryName>> {
            Ok(vec!["a".parse().unwrap()])
        }

        fn tags(&self, _: &RepositoryName) -> Result<Option<Vec<Tag>>> {
            Ok(Some(vec!["1".parse().unwrap()]))
        }

        fn tag(&self, _: &RepositoryName, _: &Tag) -> Result<Option<Digest>> {
            Ok(Some(self.root))
        }

        fn manifest(&self, _: &RepositoryName, digest: &Digest) -> Result<Option<Bytes>> {
            let is_enough = self.asked.fetch_add(1, Ordering::Relaxed) > 100;
            Ok(self.manifests.get(digest).filter(|_| !is_enough).cloned())
        }

        fn manifests(&self, _: &RepositoryName) -> Result<Vec<Digest>> {
            Ok(self.manifests.keys().copied().collect())
        }

        fn blob(&self, _: &RepositoryName, _: &Digest) -> Result<Option<u64>> {
            Ok(Some(2))
        }

        fn open(&self, _: &RepositoryName, _: &Digest, _: u64) -> Result<BlobReader> {
            Err(EndpointError::new(Fault::Missing, "there are no blobs"))
        }

        fn place(&self, _: &Digest) -> std::path::PathBuf {
            std::path::PathBuf::new()
        }
    }

    #[test]
    fn indexes_that_name_each_other_many_times_are_read_once() {
        const LEVELS: usize = 50;
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::sha256(b"{}"), "size": 2});
        let image = json!({"schemaVersion": 2, "mediaType": MediaType::OciManifest, "config": config, "layers": []});
        let mut below = Descriptor::of(MediaType::OciManifest, image.to_string().as_bytes());
        let mut manifests = HashMap::from([(below.digest, Bytes::from(image.to_string()))]);
        for _ in 0..LEVELS {
            let children: Vec<Descriptor> = (0..100)
                .map(|number| Descriptor {
                    platform: Some(format!("linux/arm/v{}", number % 2).parse().unwrap()),
                    ..below.clone()
                })
                .collect();
            let index =
                json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": children}).to_string();
            below = Descriptor::of(MediaType::OciIndex, index.as_bytes());
            manifests.insert(below.digest, index.into());
        }
        let bytes: u64 = manifests.values().map(|manifest| manifest.len() as u64).sum();
        let one = One { root: below.digest, manifests, asked: AtomicUsize::new(0) };
        let overview = Overview::of(&one).unwrap();
        assert_eq!(one.asked.into_inner(), LEVELS + 1);
        let image = &overview.images[0];
        assert_eq!((image.bytes, image.partial), (bytes + 2, false));
        assert!(image.platforms.iter().eq(["linux/arm/v0", "linux/arm/v1"]));
    }
}
