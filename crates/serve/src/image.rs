//! One image of a repository: its kind, its platforms, and which of them are complete here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Read as _;

use bytes::Bytes;

use super::repositories::Repositories;
use hod_oci::{Descriptor, Digest, MANIFEST_LIMIT, Manifest, MediaType, Platform, RepositoryName};

/// The platform of a child that describes an image, such as an attestation.
const UNKNOWN: &str = "unknown/unknown";
/// `BuildKit` marks the attestations in its indexes with this annotation.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// The most platforms that one line names.
const NAMES: usize = 12;
const CHART: &str = "application/vnd.cncf.helm.config.v1+json";

/// An image, a chart or another artifact.
pub(super) struct Image {
    pub(super) digest: Digest,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// The images for single platforms, in the order of the index.
    pub(super) instances: Vec<Instance>,
    /// The attestations in the index that are here.
    pub(super) attestations: Vec<Digest>,
    /// Manifests and blobs that are here, each once, with their sizes.
    pub(super) blobs: BTreeMap<Digest, u64>,
    /// How many other children of the index are not here.
    pub(super) absent: usize,
}

/// Which clients can use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A runtime starts it.
    Container,
    /// Helm installs it.
    Chart,
    /// Something else, by its type.
    Artifact(String),
}

/// How its manifests are nested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A manifest without an index.
    Single,
    /// An index of manifests.
    Index,
    /// An index with an index in it, which some clients cannot copy.
    Nested,
}

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instance {
    /// The platform as it is written in the index or config; empty if neither has one.
    pub(super) platform: String,
    pub(super) digest: Digest,
    pub(super) state: State,
    /// The bytes of its manifest, config and layers that are here.
    pub(super) bytes: u64,
}

/// How much of an image is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// All of it.
    Complete,
    /// Not all of its blobs, as in a delta bundle without its base.
    Partial { missing: usize },
    /// Not even its manifest, as in a sparse index.
    Absent,
}

impl Instance {
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The platform as people read it.
    pub(super) fn label(&self) -> &str {
        if self.platform.is_empty() { "no platform" } else { &self.platform }
    }

    /// The platform in the form that commands accept. Whoever pushed the image wrote the platform, so a text that is
    /// not a platform must not get into a command.
    pub(super) fn option(&self) -> Option<Platform> {
        self.platform.parse().ok()
    }
}

impl Image {
    /// Reads an image and everything below it, each manifest once; `None` if the image itself cannot be read.
    pub(super) fn read(repositories: &dyn Repositories, name: &RepositoryName, digest: Digest) -> Option<Self> {
        let (_, root) = read_manifest(repositories, name, &digest)?;
        let is_index = root.media_type.is_index();
        let mut image = Self {
            digest,
            kind: kind(&root),
            shape: if is_index { Shape::Index } else { Shape::Single },
            instances: Vec::new(),
            attestations: Vec::new(),
            blobs: BTreeMap::new(),
            absent: 0,
        };
        image.follow(repositories, name);
        if is_index {
            image.kind = image.kind_of_children(repositories, name, &root);
        }
        Some(image)
    }

    /// Returns true if a client can pull it without a choice of a platform.
    pub(super) fn has_all_platforms(&self) -> bool {
        self.instances.iter().all(Instance::is_complete)
    }

    /// Returns true if all that the index lists is here.
    pub(super) fn is_whole(&self) -> bool {
        self.absent == 0 && self.has_all_platforms()
    }

    /// The bytes that are here.
    pub(super) fn bytes(&self) -> u64 {
        self.blobs.values().sum()
    }

    /// The image for one platform: the wanted one, otherwise the most common one that is complete.
    pub(super) fn instance(&self, wanted: Option<&str>) -> Option<&Instance> {
        let find = |is_it: &dyn Fn(&&Instance) -> bool| self.instances.iter().find(is_it);
        wanted
            .and_then(|wanted| find(&|instance| instance.platform == wanted))
            .or_else(|| find(&|instance| instance.is_complete() && instance.platform == "linux/amd64"))
            .or_else(|| find(&|instance| instance.is_complete()))
            .or_else(|| self.instances.first())
    }

    /// The platforms in one line, such as `linux/amd64 of 2 platforms`.
    pub(super) fn platforms(&self) -> String {
        let named = self.instances.iter().filter(|instance| !instance.platform.is_empty());
        let (mut here, mut known, mut all) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for instance in named {
            let name = instance.platform.as_str();
            if instance.state != State::Absent && known.insert(name) {
                here.push(name);
            }
            all.insert(name);
        }
        let mut text = if here.is_empty() {
            "none".to_owned()
        } else {
            here.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ")
        };
        if here.len() > NAMES {
            text = format!("{text} and {} more", here.len() - NAMES);
        }
        match all.len() {
            0 => String::new(),
            count if count == here.len() => text,
            count => format!("{text} of {}", hod_engine::count(count, "platform")),
        }
    }

    fn follow(&mut self, repositories: &dyn Repositories, name: &RepositoryName) {
        let mut seen: HashMap<Digest, Option<Instance>> = HashMap::new();
        let mut listed_as: HashSet<(Digest, String)> = HashSet::new();
        let mut open: Vec<(Digest, Option<Descriptor>)> = vec![(self.digest, None)];
        while let Some((digest, listed)) = open.pop() {
            let platform = listed.as_ref().and_then(|listed| listed.platform.as_ref()).map(ToString::to_string);
            let is_new = !seen.contains_key(&digest);
            if is_new {
                let found = read_manifest(repositories, name, &digest);
                let instance = match &found {
                    None if is_image(listed.as_ref()) => Some(absent(digest)),
                    None => {
                        self.absent += 1;
                        None
                    }
                    Some((bytes, manifest)) => {
                        self.blobs.insert(digest, bytes.len() as u64);
                        self.instance_of(repositories, name, digest, manifest, listed.as_ref())
                    }
                };
                seen.insert(digest, instance);
                if let Some((_, manifest)) = found {
                    self.nest(listed.as_ref(), &manifest);
                    // Children are taken in the order in which they are listed.
                    open.extend(manifest.children().iter().rev().map(|child| (child.digest, Some(child.clone()))));
                }
            }
            // A manifest may be listed for several platforms.
            if let Some(Some(instance)) = seen.get(&digest) {
                let platform = platform.unwrap_or_else(|| instance.platform.clone());
                let instance = Instance { platform, ..instance.clone() };
                if instance.platform != UNKNOWN && listed_as.insert((digest, instance.platform.clone())) {
                    self.instances.push(instance);
                }
            }
        }
    }

    fn nest(&mut self, listed: Option<&Descriptor>, manifest: &Manifest) {
        if listed.is_some() && manifest.media_type.is_index() {
            self.shape = Shape::Nested;
        }
    }

    /// Counts what is here of a manifest; `None` for an index, and for what describes an image.
    fn instance_of(
        &mut self,
        repositories: &dyn Repositories,
        name: &RepositoryName,
        digest: Digest,
        manifest: &Manifest,
        listed: Option<&Descriptor>,
    ) -> Option<Instance> {
        let config = manifest.config()?;
        let mut parts = BTreeMap::from([(digest, self.blobs.get(&digest).copied().unwrap_or_default())]);
        let mut missing = 0;
        for blob in manifest.blobs() {
            // Clients fetch a foreign layer from its own address.
            let is_elsewhere = blob.media_type.is_foreign_layer() && !blob.urls.is_empty();
            if repositories.blob(name, &blob.digest).ok().flatten().is_some() {
                parts.insert(blob.digest, blob.size);
            } else if !is_elsewhere {
                missing += 1;
            }
        }
        self.blobs.extend(&parts);
        if !is_image(listed) {
            self.attestations.push(digest);
            return None;
        }
        let platform = match listed.and_then(|listed| listed.platform.as_ref()) {
            Some(platform) => platform.to_string(),
            None => read_config(repositories, name, config)
                .and_then(|config| Platform::of_config(&config))
                .map_or_else(String::new, |platform| platform.to_string()),
        };
        let state = if missing == 0 { State::Complete } else { State::Partial { missing } };
        Some(Instance { platform, digest, state, bytes: parts.values().sum() })
    }

    /// The kind of an index: that of its first child that is here, otherwise the type that it names.
    fn kind_of_children(&self, repositories: &dyn Repositories, name: &RepositoryName, root: &Manifest) -> Kind {
        let here = self.instances.iter().find(|instance| instance.state != State::Absent);
        let child = here.and_then(|instance| read_manifest(repositories, name, &instance.digest));
        match (child, root.artifact_type.as_deref()) {
            (Some((_, manifest)), _) => kind(&manifest),
            (None, Some(own)) if !own.is_empty() => Kind::Artifact(own.to_owned()),
            _ => Kind::Container,
        }
    }
}

/// Returns true if an index lists it as an image, and not as an attestation of one.
fn is_image(listed: Option<&Descriptor>) -> bool {
    listed.is_none_or(|listed| {
        !listed.annotations.contains_key(REFERENCE_TYPE)
            && listed.platform.as_ref().is_none_or(|platform| platform.to_string() != UNKNOWN)
    })
}

const fn absent(digest: Digest) -> Instance {
    Instance { platform: String::new(), digest, state: State::Absent, bytes: 0 }
}

fn kind(manifest: &Manifest) -> Kind {
    match manifest.config() {
        None => Kind::Container,
        Some(config) if config.media_type.is_image_config() => Kind::Container,
        Some(config) if config.media_type.as_str() == CHART => Kind::Chart,
        Some(config) => {
            let own = manifest.artifact_type.as_deref().filter(|own| !own.is_empty());
            Kind::Artifact(own.unwrap_or(config.media_type.as_str()).to_owned())
        }
    }
}

/// The bytes of a manifest, parsed; `None` if they are missing or invalid.
pub(super) fn read_manifest(
    repositories: &dyn Repositories,
    name: &RepositoryName,
    digest: &Digest,
) -> Option<(Bytes, Manifest)> {
    let bytes = repositories.manifest(name, digest).ok()??;
    let manifest = Manifest::parse(&MediaType::Other("".into()), &bytes).ok()?;
    Some((bytes, manifest))
}

/// The bytes of a config that is here and not larger than a manifest may be.
pub(super) fn read_config(
    repositories: &dyn Repositories,
    name: &RepositoryName,
    config: &Descriptor,
) -> Option<Vec<u8>> {
    let size = repositories.blob(name, &config.digest).ok()??;
    if size > MANIFEST_LIMIT {
        return None;
    }
    let mut bytes = Vec::new();
    repositories.open(name, &config.digest, 0).ok()?.reader.take(MANIFEST_LIMIT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::super::repositories::BlobReader;
    use super::*;
    use hod_engine::endpoint::{EndpointError, Fault, Result};
    use hod_oci::Tag;

    /// One repository. Manifests are there until too many were asked for.
    struct One {
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
            Ok(None)
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
        let one = One { manifests, asked: AtomicUsize::new(0) };
        let image = Image::read(&one, &"a".parse().unwrap(), below.digest).unwrap();
        assert!(one.asked.into_inner() <= LEVELS + 3);
        assert_eq!((image.bytes(), image.shape, image.is_whole()), (bytes + 2, Shape::Nested, true));
        assert_eq!(image.platforms(), "linux/arm/v0, linux/arm/v1");
    }

    #[test]
    fn platforms_that_are_not_here_are_counted() {
        let instance = |platform: &str, state| Instance {
            platform: platform.to_owned(),
            digest: Digest::sha256(b"x"),
            state,
            bytes: 1,
        };
        let image = |instances| Image {
            digest: Digest::sha256(b"x"),
            kind: Kind::Container,
            shape: Shape::Index,
            instances,
            attestations: Vec::new(),
            blobs: BTreeMap::new(),
            absent: 0,
        };
        let sparse = image(vec![instance("linux/arm64", State::Absent), instance("linux/amd64", State::Complete)]);
        assert_eq!(sparse.platforms(), "linux/amd64 of 2 platforms");
        assert_eq!(sparse.instance(Some("linux/arm64")).unwrap().state, State::Absent);
        assert_eq!(sparse.instance(Some("x")).unwrap().platform, "linux/amd64");
        assert_eq!(sparse.instance(None).unwrap().platform, "linux/amd64");
        assert!(!sparse.has_all_platforms());
        assert_eq!(image(vec![instance("linux/arm64", State::Absent)]).platforms(), "none of 1 platform");
        assert!(image(Vec::new()).instance(None).is_none());
    }
}
