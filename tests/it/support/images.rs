//! Images made in memory: any size and shape, the same on every run.
//!
//! ```no_run
//! let base = layer(1, 100_000);
//! let amd64 = image("linux/amd64", &[base.clone(), layer(2, 5_000)]);
//! let arm64 = image("linux/arm64", &[base, layer(3, 5_000)]);
//! let content = Content::default().with("app:1.0", &index(&[amd64, arm64]));
//! ```
//!
//! Layers are gzipped tars with one file of random bytes, so that runtimes take them too.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fs_err as fs;
use hod_oci::{Algorithm, Descriptor, Digest, Hasher, MediaType, Platform};
use serde_json::{Value, json};

/// A blob: config or layer.
#[derive(Debug, Clone)]
pub struct Blob {
    /// What a manifest says of it.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Bytes,
    /// The digest of what was compressed.
    diff: Digest,
}

/// A manifest or index with everything below it.
#[derive(Debug, Clone)]
pub struct Image {
    /// What an index says of it.
    pub descriptor: Descriptor,
    /// Its own bytes.
    pub bytes: Bytes,
    /// Its config and layers.
    pub blobs: Vec<Blob>,
    /// Its child manifests. Those that are taken out here are named and absent (a sparse index).
    pub children: Vec<Self>,
}

impl Blob {
    /// Some bytes as they are.
    pub fn new(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let diff = Digest::sha256(&bytes);
        Self { descriptor: Descriptor::of(media_type.into(), &bytes), bytes, diff }
    }

    /// Bytes that are the compressed form of others.
    pub fn compressed(media_type: &str, bytes: impl Into<Bytes>, plain: &[u8]) -> Self {
        Self { diff: Digest::sha256(plain), ..Self::new(media_type, bytes) }
    }

    /// The same with a wrong digest of what was compressed.
    pub fn with_diff(self, diff: Digest) -> Self {
        Self { diff, ..self }
    }

    /// The digest.
    pub fn digest(&self) -> Digest {
        self.descriptor.digest
    }
}

/// `size` bytes that do not compress; each seed has its own.
pub fn random(seed: u64, size: usize) -> Vec<u8> {
    // SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(size.div_ceil(8)).flatten().collect();
    bytes.truncate(size);
    bytes
}

/// A layer with one file of `size` random bytes; its own size is a little more.
pub fn layer(seed: u64, size: usize) -> Blob {
    let mut header = tar::Header::new_ustar();
    header.set_size(size as u64);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, format!("data-{seed}"), random(seed, size).as_slice()).unwrap();
    let tar = tar.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let layer = Blob::new("application/vnd.oci.image.layer.v1.tar+gzip", gzip.finish().unwrap());
    Blob { diff: Digest::sha256(&tar), ..layer }
}

/// A layer whose bytes no registry has.
pub fn foreign_layer(seed: u64, url: &str) -> Blob {
    let mut blob = layer(seed, 100);
    blob.descriptor.media_type = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
    blob.descriptor.urls = vec![url.into()];
    blob
}

/// An OCI image.
pub fn image(platform: &str, layers: &[Blob]) -> Image {
    let config = Blob::new("application/vnd.oci.image.config.v1+json", config(platform, layers));
    platformed(manifest(&MediaType::OciManifest, config, layers, json!({})), platform)
}

/// An OCI image that runs as `run` says, the `config` of its config, with more fields beside it.
pub fn image_with(platform: &str, run: &Value, more: &Value, layers: &[Blob]) -> Image {
    let mut value: Value = serde_json::from_str(&config(platform, layers)).unwrap();
    value["config"] = run.clone();
    for (name, field) in more.as_object().into_iter().flatten() {
        value[name] = field.clone();
    }
    let config = Blob::new("application/vnd.oci.image.config.v1+json", value.to_string());
    platformed(manifest(&MediaType::OciManifest, config, layers, json!({})), platform)
}

/// A Docker image, version 2 schema 2.
pub fn docker_image(platform: &str, layers: &[Blob]) -> Image {
    let config = Blob::new("application/vnd.docker.container.image.v1+json", config(platform, layers));
    let mut layers = layers.to_vec();
    for layer in layers.iter_mut().filter(|layer| !layer.descriptor.media_type.is_foreign_layer()) {
        layer.descriptor.media_type = "application/vnd.docker.image.rootfs.diff.tar.gzip".into();
    }
    platformed(manifest(&MediaType::DockerManifest, config, &layers, json!({})), platform)
}

/// An OCI artifact with the empty config, which may be about another image.
pub fn artifact(artifact_type: &str, layers: &[Blob], subject: Option<&Image>) -> Image {
    let config = Blob::new("application/vnd.oci.empty.v1+json", &b"{}"[..]);
    let mut extra = json!({"artifactType": artifact_type});
    if let Some(subject) = subject {
        let plain = &subject.descriptor;
        extra["subject"] = json!(Descriptor::new(plain.media_type.clone(), plain.digest, plain.size));
    }
    let mut image = manifest(&MediaType::OciManifest, config, layers, extra);
    image.descriptor.artifact_type = Some(artifact_type.into());
    image
}

/// An attestation of the kind that `BuildKit` adds to an index.
pub fn attestation(of: &Image) -> Image {
    let statement = Blob::new("application/vnd.in-toto+json", format!("{{\"about\":\"{}\"}}", of.descriptor.digest));
    let mut image = image("unknown/unknown", &[statement]);
    image.descriptor.annotations = BTreeMap::from([
        ("vnd.docker.reference.type".into(), "attestation-manifest".into()),
        ("vnd.docker.reference.digest".into(), of.descriptor.digest.to_string().into()),
    ]);
    image
}

/// An OCI index; the children may be indexes.
pub fn index(children: &[Image]) -> Image {
    list(&MediaType::OciIndex, children)
}

/// A Docker manifest list.
pub fn docker_list(children: &[Image]) -> Image {
    list(&MediaType::DockerList, children)
}

fn list(media_type: &MediaType, children: &[Image]) -> Image {
    let descriptors: Vec<&Descriptor> = children.iter().map(|child| &child.descriptor).collect();
    let value = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": descriptors});
    assemble(media_type, &value, Vec::new(), children.to_vec())
}

fn config(platform: &str, layers: &[Blob]) -> String {
    let mut config = json!(parsed(platform));
    config["config"] = json!({"Cmd": ["/bin/sh"]});
    config["rootfs"] = json!({"type": "layers", "diff_ids": layers.iter().map(|layer| layer.diff).collect::<Vec<_>>()});
    config.to_string()
}

fn parsed(platform: &str) -> Platform {
    platform.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn platformed(mut image: Image, platform: &str) -> Image {
    image.descriptor.platform = Some(parsed(platform));
    image
}

fn manifest(media_type: &MediaType, config: Blob, layers: &[Blob], extra: Value) -> Image {
    let mut value = extra;
    value["schemaVersion"] = json!(2);
    value["mediaType"] = json!(media_type);
    value["config"] = json!(config.descriptor);
    value["layers"] = layers.iter().map(|layer| json!(layer.descriptor)).collect();
    let mut blobs = vec![config];
    blobs.extend_from_slice(layers);
    assemble(media_type, &value, blobs, Vec::new())
}

fn assemble(media_type: &MediaType, value: &Value, blobs: Vec<Blob>, children: Vec<Image>) -> Image {
    let bytes = Bytes::from(value.to_string());
    Image { descriptor: Descriptor::of(media_type.clone(), &bytes), bytes, blobs, children }
}

impl Image {
    /// The digest.
    pub fn digest(&self) -> Digest {
        self.descriptor.digest
    }

    /// A manifest of any bytes, with nothing below it: for what registries should not serve.
    pub fn of_bytes(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { descriptor: Descriptor::of(media_type.into(), &bytes), bytes, blobs: Vec::new(), children: Vec::new() }
    }

    /// Writes an OCI layout that holds this image alone, without a name.
    pub fn write_layout(&self, folder: &Path) {
        let mut all = Repository::default();
        all.add(self);
        let manifests = all.manifests.iter().map(|(digest, (_, bytes))| (digest, bytes));
        for (digest, bytes) in manifests.chain(&all.blobs) {
            write(&folder.join("blobs").join(split(digest)), bytes);
        }
        let entries = json!({"schemaVersion": 2, "manifests": [self.descriptor]});
        write(&folder.join("index.json"), entries.to_string().as_bytes());
        write(&folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
    }
}

/// What a registry holds.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// The repositories by name.
    pub repositories: BTreeMap<String, Repository>,
}

/// What a repository of a registry holds.
#[derive(Debug, Clone, Default)]
pub struct Repository {
    /// Tags.
    pub tags: BTreeMap<String, Digest>,
    /// Manifests and indexes, each with the type that it is served as.
    pub manifests: BTreeMap<Digest, (String, Bytes)>,
    /// Configs and layers.
    pub blobs: BTreeMap<Digest, Bytes>,
}

impl Content {
    /// Adds an image as `name:tag`, or as `name` without a tag.
    pub fn with(mut self, name: &str, image: &Image) -> Self {
        let (repository, tag) = name.rsplit_once(':').map_or((name, None), |(name, tag)| (name, Some(tag)));
        let repository = self.repositories.entry(repository.to_owned()).or_default();
        repository.add(image);
        if let Some(tag) = tag {
            repository.tags.insert(tag.to_owned(), image.digest());
        }
        self
    }

    /// Writes everything as a registry root, by the table of distribution's paths and not by hod's.
    pub fn write_root(&self, root: &Path) {
        let root = root.join("docker/registry/v2");
        let blobs = |digest: &Digest, bytes: &[u8]| write(&blob_path(&root, digest), bytes);
        for (name, repository) in &self.repositories {
            let folder = root.join("repositories").join(name);
            let link = |path: String, digest: &Digest| write(&folder.join(path), digest.to_string().as_bytes());
            for needed in ["_layers", "_manifests/revisions", "_manifests/tags"] {
                fs::create_dir_all(folder.join(needed)).unwrap();
            }
            for (digest, bytes) in &repository.blobs {
                blobs(digest, bytes);
                link(format!("_layers/{}/link", split(digest)), digest);
            }
            for (digest, (_, bytes)) in &repository.manifests {
                blobs(digest, bytes);
                link(format!("_manifests/revisions/{}/link", split(digest)), digest);
            }
            for (tag, digest) in &repository.tags {
                link(format!("_manifests/tags/{tag}/index/{}/link", split(digest)), digest);
                link(format!("_manifests/tags/{tag}/current/link"), digest);
            }
        }
    }
}

impl Repository {
    /// Takes an image in with everything below it, without a tag.
    pub fn add(&mut self, image: &Image) {
        self.manifests.insert(image.digest(), (image.descriptor.media_type.to_string(), image.bytes.clone()));
        let here = image.blobs.iter().filter(|blob| !blob.descriptor.media_type.is_foreign_layer());
        self.blobs.extend(here.map(|blob| (blob.digest(), blob.bytes.clone())));
        image.children.iter().for_each(|child| self.add(child));
    }
}

/// Writes a registry root with one image of one layer of `size` bytes, without holding them in memory.
pub fn write_big_root(root: &Path, name: &str, size: u64) -> Image {
    const BLOCK: usize = 1 << 20;
    let path = root.join("big-layer");
    let mut file = fs::File::create(&path).unwrap();
    let mut block = random(size, BLOCK);
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for position in (0..size).step_by(BLOCK) {
        block[..8].copy_from_slice(&position.to_le_bytes());
        let part = &block[..usize::try_from(size - position).unwrap_or(BLOCK).min(BLOCK)];
        hasher.update(part);
        file.write_all(part).unwrap();
    }
    let digest = hasher.finish();
    let mut layer = Blob::new("application/vnd.oci.image.layer.v1.tar", Bytes::new());
    layer.diff = digest;
    layer.descriptor = Descriptor::new(layer.descriptor.media_type, digest, size);
    let image = image("linux/amd64", &[layer]);
    Content::default().with(name, &image).write_root(root);
    fs::rename(path, blob_path(&root.join("docker/registry/v2"), &digest)).unwrap();
    image
}

fn split(digest: &Digest) -> String {
    digest.to_string().replacen(':', "/", 1)
}

fn blob_path(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    root.join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(hex).join("data")
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::docker_registry::{DockerRegistry, assert_no_garbage};
    use crate::support::skopeo;

    #[test]
    #[ignore = "needs the tools that scripts/test installs"]
    fn a_registry_and_skopeo_take_every_shape() {
        let base = layer(1, 50_000);
        let arms = image("linux/arm/v7", std::slice::from_ref(&base));
        let oci = image("linux/amd64", &[base.clone(), layer(2, 10)]);
        let docker = docker_image("linux/amd64", &[base]);
        let content = Content::default()
            .with("single:1", &oci)
            .with("a/b/c/several:1", &index(&[oci.clone(), arms.clone(), attestation(&oci)]))
            .with("docker:1", &docker_list(std::slice::from_ref(&docker)))
            .with("docker:2", &docker)
            .with("thing:1", &artifact("text/x", &[Blob::new("text/plain", "hello")], Some(&oci)));
        let root = tempfile::tempdir().unwrap();
        content.write_root(root.path());
        let registry = DockerRegistry::over(root.path());
        let folder = tempfile::tempdir().unwrap();
        for (name, repository) in &content.repositories {
            for (tag, digest) in &repository.tags {
                let image = format!("{}/{name}:{tag}", registry.host());
                assert_eq!(skopeo::digest(&image), *digest);
                skopeo::copy_all(&format!("docker://{image}"), &format!("dir:{}", folder.path().display()));
            }
        }
        assert_no_garbage(root.path());
    }

    #[test]
    #[ignore = "needs the tools that scripts/test installs"]
    fn foreign_layers_are_named_and_not_stored() {
        let foreign = foreign_layer(1, "http://127.0.0.1:1/layer");
        let image = docker_image("windows/amd64", &[foreign.clone(), layer(2, 10)]);
        assert!(String::from_utf8_lossy(&image.bytes).contains("http://127.0.0.1:1/layer"));
        let content = Content::default().with("windows:1", &image);
        assert!(!content.repositories["windows"].blobs.contains_key(&foreign.digest()));
        let root = tempfile::tempdir().unwrap();
        content.write_root(root.path());
        assert_no_garbage(root.path());
    }

    #[test]
    fn the_same_seed_gives_the_same_image() {
        assert_eq!(layer(7, 1000).bytes, layer(7, 1000).bytes);
        assert_ne!(layer(7, 1000).digest(), layer(8, 1000).digest());
        assert_eq!(random(1, 13).len(), 13);
    }

    #[test]
    fn big_layers_have_the_digest_that_they_say() {
        let root = tempfile::tempdir().unwrap();
        let image = write_big_root(root.path(), "big:1", 3_000_001);
        let layer = &image.blobs[1].descriptor;
        let bytes = fs::read(blob_path(&root.path().join("docker/registry/v2"), &layer.digest)).unwrap();
        assert_eq!((bytes.len() as u64, Digest::sha256(&bytes)), (layer.size, layer.digest));
    }
}
