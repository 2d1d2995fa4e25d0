//! Packs images of a store into a bundle: reads, checks and writes every blob once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Write};

use bytes::Bytes;

use hod_bundle::{BundleError, BundleSummary, Compression, Content, Contents, Header, HeaderError, Image, Writer};
use hod_engine::observe::{Event, Observer, Stop};
use hod_image::base::Base;
use hod_image::contents::StoredImage;
use hod_io::fs::{ColdFile, WriteBehind};
use hod_oci::{Digest, RepositoryName, is_referrers_tag};
use hod_store::{Links, Store, StoreError, TagLink};

/// The errors of writing a bundle.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Two images with the same name, of which a bundle can have one.
    #[error("{name} names two different images: {one} and {other}")]
    Collision {
        /// The name.
        name: String,
        /// The root of one.
        one: Digest,
        /// The root of the other.
        other: Digest,
    },
    /// The selected images do not make a valid bundle.
    #[error("the images cannot be described in a bundle")]
    Header(#[from] HeaderError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A blob that the images need.
    #[error("cannot pack {digest}, which is needed by {}", images.join(", "))]
    Blob {
        /// The blob.
        digest: Digest,
        /// The images that need it.
        images: Vec<String>,
        /// The reason.
        #[source]
        source: BundleError,
    },
    /// Writing.
    #[error(transparent)]
    Write(BundleError),
    /// Asked to stop.
    #[error("stopped before the bundle was complete")]
    Stopped,
}

/// The header of a bundle of these images, in their order. `mtime` is in seconds since 1970.
pub fn header(images: &[StoredImage], mtime: u64) -> Result<Header, PackError> {
    delta(images, mtime, &Base::default())
}

/// The header of a delta: a bundle that leaves out the configs and layers that its target has.
pub fn delta(images: &[StoredImage], mtime: u64, base: &Base) -> Result<Header, PackError> {
    let mut contents = Contents { mtime, ..Contents::default() };
    let mut repositories: BTreeMap<&RepositoryName, Links> = BTreeMap::new();
    let (mut first, mut layers) = (Vec::new(), Vec::new());
    for held in images {
        let links = repositories.entry(&held.name.repository).or_insert_with_key(|name| Links::none((*name).clone()));
        add_links(links, held)?;
        let manifests = held.graph.manifests();
        first.extend(manifests.iter().map(|node| (node.descriptor.digest, node.descriptor.size)));
        let configs: HashSet<Digest> =
            manifests.iter().filter_map(|node| node.manifest.config()).map(|config| config.digest).collect();
        for blob in held.graph.blobs() {
            let list = if configs.contains(&blob.digest) { &mut first } else { &mut layers };
            list.push((blob.digest, blob.size));
        }
    }
    let manifests: HashSet<Digest> = repositories.values().flat_map(|links| links.revisions.iter().copied()).collect();
    // A map of all digests takes megabytes, so each lives as long as it is needed and no longer.
    {
        let mut seen = HashSet::new();
        for (digest, size) in first.into_iter().chain(layers).filter(|(digest, _)| seen.insert(*digest)) {
            let is_there = !manifests.contains(&digest) && base.holds(&digest, size);
            let list = if is_there { &mut contents.requires } else { &mut contents.blobs };
            list.push(Content { digest, size });
        }
    }
    {
        let all = contents.blobs.iter().chain(&contents.requires);
        let positions = all.enumerate().map(|(position, content)| (content.digest, position)).collect();
        let mut seen = HashSet::new();
        let images = images.iter().filter(|held| seen.insert((&held.name, held.graph.root.descriptor.digest)));
        contents.images = images.map(|held| image(held, &positions)).collect();
    }
    if !contents.requires.is_empty() {
        contents.base = base.named().to_vec();
    }
    contents.repositories = repositories.into_values().map(without_repeats).collect();
    Ok(Header::new(contents)?)
}

fn add_links(links: &mut Links, held: &StoredImage) -> Result<(), PackError> {
    let root = held.graph.root.descriptor.digest;
    if let Some(tag) = &held.name.tag {
        match links.tags.iter().find(|link| link.name == *tag) {
            None => links.tags.push(TagLink { name: tag.clone(), digest: root }),
            Some(link) if link.digest == root => {}
            Some(link) => {
                return Err(PackError::Collision { name: held.name.to_string(), one: link.digest, other: root });
            }
        }
    }
    links.layers.extend(held.graph.blobs().iter().map(|blob| blob.digest));
    links.revisions.extend(held.graph.manifests().iter().map(|node| node.descriptor.digest));
    Ok(())
}

/// The links with each digest where it stands first.
fn without_repeats(mut links: Links) -> Links {
    for list in [&mut links.layers, &mut links.revisions] {
        let mut seen = HashSet::new();
        list.retain(|digest| seen.insert(*digest));
    }
    links
}

fn image(held: &StoredImage, positions: &HashMap<Digest, usize>) -> Image {
    let root = &held.graph.root.descriptor;
    let manifests = held.graph.manifests();
    let manifests = manifests.iter().map(|node| node.descriptor.digest);
    let contents = manifests.chain(held.graph.blobs().into_iter().map(|blob| blob.digest));
    // A manifest may be a layer of another, as of an artifact that brings it along.
    let mut seen = HashSet::new();
    let contents = contents.filter(|digest| seen.insert(*digest));
    Image {
        name: held.name.repository.clone(),
        tag: held.name.tag.clone(),
        digest: root.digest,
        media_type: root.media_type.clone(),
        contents: contents.filter_map(|digest| u32::try_from(*positions.get(&digest)?).ok()).collect(),
        platforms: held.graph.platforms(),
        group: held.group.clone(),
        source: held.source.clone(),
    }
}

/// Images of a store.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// The store.
    pub store: &'a Store,
    /// The images.
    pub images: &'a [StoredImage],
    /// The header of a bundle with all their content.
    pub header: &'a Header,
}

/// Writes the bundle of a selection, with a signature where there is one.
pub fn pack<W: Write + Send + 'static>(
    Selection { store, images, header }: Selection<'_>,
    signature: Option<&[u8]>,
    out: W,
    compression: Compression,
    observer: &dyn Observer,
    stop: &Stop,
) -> Result<(W, BundleSummary), PackError> {
    let bytes = header.blobs().iter().map(|blob| blob.size).sum();
    observer.on(&Event::Step { name: "pack", images: header.image_count(), bytes });
    // Hashing and writing take about as long: each on a thread, they take half.
    let out = WriteBehind::new(out).map_err(|error| PackError::Write(BundleError::Write(error)))?;
    let mut writer = Writer::new(out, header, signature, compression).map_err(PackError::Write)?;
    let made = made_indexes(images);
    while let Some(blob) = writer.next_blob() {
        let inner: Box<dyn Read> = match made.get(&blob.digest) {
            Some(bytes) => Box::new(bytes.as_ref()),
            None => Box::new(ColdFile::new(store.open_blob(&blob.digest)?)),
        };
        let mut content = Watched { inner, digest: blob.digest, observer, stop };
        writer.blob(&blob.digest, &mut content).map_err(|source| match source {
            _ if stop.is_requested() => PackError::Stopped,
            BundleError::Write(_) => PackError::Write(source),
            source => PackError::Blob { digest: blob.digest, images: users(images, &blob.digest), source },
        })?;
    }
    let (out, written) = writer.finish().map_err(PackError::Write)?;
    let out = out.finish().map_err(|error| PackError::Write(BundleError::Write(error)))?;
    Ok((out, written))
}

/// The indexes of referrers. Those that a lock decides are in no store.
pub(super) fn made_indexes(images: &[StoredImage]) -> HashMap<Digest, &Bytes> {
    let is_index = |held: &&StoredImage| held.name.tag.as_ref().is_some_and(is_referrers_tag);
    images.iter().filter(is_index).map(|held| (held.graph.root.descriptor.digest, &held.graph.root.bytes)).collect()
}

/// The images that need some content.
pub(super) fn users(images: &[StoredImage], digest: &Digest) -> Vec<String> {
    let needs = |held: &&StoredImage| {
        held.graph.blobs().iter().any(|blob| blob.digest == *digest)
            || held.graph.manifests().iter().any(|node| node.descriptor.digest == *digest)
    };
    images.iter().filter(needs).map(StoredImage::label).collect()
}

/// A reader that reports how far it is, and ends when it is asked to.
struct Watched<'a, R> {
    inner: R,
    digest: Digest,
    observer: &'a dyn Observer,
    stop: &'a Stop,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.is_requested() {
            return Err(std::io::Error::other("stopped"));
        }
        let count = self.inner.read(bytes)?;
        self.observer.on(&Event::Moved { digest: &self.digest, bytes: count as u64 });
        Ok(count)
    }
}
