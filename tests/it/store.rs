//! The store, judged by a registry, by other processes, and by what a kill leaves.

mod disk;
mod exfat;
mod kill;
mod locks;
mod odd_roots;
mod others;
mod served;
mod shared;

use std::path::Path;

use bytes::Bytes;
use hod_engine::endpoint::{Placement, Prefix, Sink as _, Verified};
use hod_oci::{Descriptor, Digest, MediaType, Tag};
use hod_store::{Entry, FoundKind, Repository, Store};

/// Bytes and what they are; for manifests, all that they name.
#[derive(Debug, Clone)]
struct Content {
    descriptor: Descriptor,
    bytes: Bytes,
    parts: Vec<Self>,
}

impl Content {
    fn new(media_type: &str, bytes: impl Into<Bytes>, parts: &[Self]) -> Self {
        let bytes = bytes.into();
        Self { descriptor: Descriptor::of(MediaType::parse(media_type), &bytes), bytes, parts: parts.to_vec() }
    }

    fn digest(&self) -> Digest {
        self.descriptor.digest
    }

    fn is_manifest(&self) -> bool {
        self.descriptor.media_type.is_manifest()
    }

    /// This content and all below it, parts first.
    fn all(&self) -> Vec<&Self> {
        self.parts.iter().flat_map(Self::all).chain([self]).collect()
    }
}

/// Bytes that do not repeat, as compressed layers do not.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(size).collect()
}

fn layer(bytes: impl Into<Bytes>) -> Content {
    Content::new("application/vnd.oci.image.layer.v1.tar+gzip", bytes, &[])
}

fn image(architecture: &str, layers: &[Content]) -> Content {
    let config = format!(r#"{{"architecture":"{architecture}","os":"linux","rootfs":{{"type":"layers"}}}}"#);
    let config = Content::new("application/vnd.oci.image.config.v1+json", config, &[]);
    let descriptors: Vec<_> = layers.iter().map(|layer| &layer.descriptor).collect();
    let text = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OciManifest.as_str(),
        "config": config.descriptor,
        "layers": descriptors,
    });
    let parts: Vec<_> = [config].into_iter().chain(layers.iter().cloned()).collect();
    Content::new(MediaType::OciManifest.as_str(), text.to_string(), &parts)
}

fn index(children: &[(&str, Content)]) -> Content {
    let descriptors: Vec<_> = children
        .iter()
        .map(|(platform, child)| {
            let mut descriptor = child.descriptor.clone();
            descriptor.platform = Some(platform.parse().unwrap());
            descriptor
        })
        .collect();
    let text = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OciIndex.as_str(),
        "manifests": descriptors,
    });
    let parts: Vec<_> = children.iter().map(|(_, child)| child.clone()).collect();
    Content::new(MediaType::OciIndex.as_str(), text.to_string(), &parts)
}

fn repository(store: &Store, name: &str) -> Repository {
    store.repository(&name.parse().unwrap())
}

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// Writes an image as the engine does.
async fn write(store: &Store, name: &str, names: &[&str], root: &Content) -> hod_engine::endpoint::Result<()> {
    let sink = repository(store, name);
    let all = root.all();
    let (blobs, manifests): (Vec<_>, Vec<_>) = all[..all.len() - 1].iter().partition(|part| !part.is_manifest());
    for part in blobs.into_iter().chain(manifests) {
        bring(&sink, part).await?;
    }
    sink.publish(&root.descriptor, root.bytes.clone(), &tags(names)).await
}

async fn bring(sink: &Repository, part: &Content) -> hod_engine::endpoint::Result<Placement> {
    if sink.contains(&part.descriptor).await? {
        return Ok(Placement::AlreadyThere);
    }
    if let Some(placed) = sink.adopt(&part.descriptor, None).await? {
        return Ok(placed);
    }
    let prefix = sink.prefix(&part.descriptor).await?;
    sink.put(&part.descriptor, rest(part, prefix)).await
}

/// The bytes of some content from the end of a prefix on.
fn rest(part: &Content, prefix: Prefix) -> Verified {
    use futures_util::StreamExt as _;
    let bytes = part.bytes.slice(usize::try_from(prefix.length()).unwrap()..);
    let chunks: Vec<_> = bytes.chunks(16 * 1024).map(|chunk| Ok(bytes.slice_ref(chunk))).collect();
    Verified::new(&part.descriptor, prefix, futures_util::stream::iter(chunks).boxed())
}

/// Fails where anything in a root is not as it must be at every moment: what is there by a digest
/// has that digest, and a link leads to something.
#[track_caller]
pub fn assert_sound(root: &Path) {
    let store = Store::open(root).unwrap();
    for found in store.walk() {
        let found = found.unwrap();
        let path = root.join(&found.path);
        let digest = match found.entry {
            Some(Entry::Data(digest)) => {
                let bytes = fs_err::read(&path).unwrap();
                assert_eq!(Digest::of(digest.algorithm(), &bytes), digest, "{}", path.display());
                continue;
            }
            Some(Entry::Layer(_, digest) | Entry::Revision(_, digest) | Entry::TagIndex(_, _, digest)) => {
                assert_eq!(fs_err::read_to_string(&path).unwrap(), digest.to_string(), "{}", path.display());
                digest
            }
            Some(Entry::TagCurrent(name, _)) => {
                let digest = fs_err::read_to_string(&path).unwrap().parse().unwrap();
                assert!(store.has_revision(&name, &digest).unwrap(), "{}", path.display());
                digest
            }
            _ => {
                assert_eq!(found.kind, FoundKind::Folder, "{} does not belong there", path.display());
                continue;
            }
        };
        assert!(store.size(&digest).unwrap().is_some(), "{} leads nowhere", path.display());
    }
}

/// The names in hod's folders of unfinished content.
fn unfinished(root: &Path) -> Vec<String> {
    let names = |folder: &str| -> Vec<String> {
        let entries = fs_err::read_dir(root.join(".hod").join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut found = names("partial");
    for process in names("staged") {
        found.extend(names(&format!("staged/{process}")));
    }
    found
}
