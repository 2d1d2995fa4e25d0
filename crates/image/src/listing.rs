//! The images of a store or bundle, with total and shared sizes.

use std::collections::HashMap;

use serde::Serialize;

use super::contents::StoredImage;
use hod_bundle::{DeltaBase, Header};
use hod_oci::{Digest, MediaType};

/// The images of one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// The bundle's id, where it is a bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Digest>,
    /// The images.
    pub images: Vec<ListedImage>,
    /// Bytes of the different contents of all of them.
    pub bytes_unique: u64,
    /// Bytes of all of them, each counted as if it were alone.
    pub bytes_of_images: u64,
    /// Contents that a bundle leaves out and its target must have.
    pub required: usize,
    /// The bytes of these contents.
    pub bytes_required: u64,
    /// The bases of a delta, where it names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub base: Vec<DeltaBase>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedImage {
    /// `repository:tag`, or `repository@digest`.
    pub name: String,
    /// The digest of the root manifest.
    pub digest: Digest,
    /// The media type of the root manifest.
    pub media_type: MediaType,
    /// The platforms that are there.
    pub platforms: Vec<String>,
    /// Bytes of everything in it.
    pub size: u64,
    /// Bytes that no other image here uses.
    pub unique: u64,
    /// The group of the list that it came with.
    pub group: Option<Box<str>>,
    /// Its origin.
    pub source: Option<Box<str>>,
}

/// An image and the contents it consists of.
type Entry = (ListedImage, HashMap<Digest, u64>);

impl Listing {
    /// The listing of images that were read.
    pub fn of_images(images: &[StoredImage]) -> Self {
        let entries = images.iter().map(|held| {
            let root = &held.graph.root.descriptor;
            let manifests = held.graph.manifests();
            let manifests = manifests.iter().map(|node| (node.descriptor.digest, node.descriptor.size));
            let contents = manifests.chain(held.graph.blobs().into_iter().map(|blob| (blob.digest, blob.size)));
            let contents: HashMap<_, _> = contents.collect();
            let image = ListedImage {
                name: held.label(),
                digest: root.digest,
                media_type: root.media_type.clone(),
                platforms: held.graph.platforms().iter().map(ToString::to_string).collect(),
                size: 0,
                unique: 0,
                group: held.group.clone(),
                source: held.source.clone(),
            };
            (image, contents)
        });
        Self::of(entries.collect())
    }

    /// The listing of a bundle, for which its header is enough.
    pub fn of_header(header: &Header) -> Self {
        let entries = header.images().iter().map(|image| {
            let contents = header.contents_of(image).map(|content| (content.digest, content.size)).collect();
            let image = ListedImage {
                name: image.label(),
                digest: image.digest,
                media_type: image.media_type.clone(),
                platforms: image.platforms.iter().map(ToString::to_string).collect(),
                size: 0,
                unique: 0,
                group: image.group.clone(),
                source: image.source.clone(),
            };
            (image, contents)
        });
        Self {
            bundle: Some(header.id()),
            required: header.requires().len(),
            bytes_required: header.requires().iter().map(|content| content.size).sum(),
            base: header.base().to_vec(),
            ..Self::of(entries.collect())
        }
    }

    fn of(entries: Vec<Entry>) -> Self {
        let mut users: HashMap<Digest, (usize, u64)> = HashMap::new();
        for (digest, size) in entries.iter().flat_map(|(_, contents)| contents) {
            users.entry(*digest).or_insert((0, *size)).0 += 1;
        }
        let alone = |digest: &Digest| users.get(digest).is_some_and(|(users, _)| *users == 1);
        let images: Vec<ListedImage> = entries
            .into_iter()
            .map(|(image, contents)| ListedImage {
                size: contents.values().sum(),
                unique: contents.iter().filter(|(digest, _)| alone(digest)).map(|(_, size)| size).sum(),
                ..image
            })
            .collect();
        Self {
            bundle: None,
            bytes_unique: users.values().map(|(_, size)| size).sum(),
            bytes_of_images: images.iter().map(|image| image.size).sum(),
            images,
            required: 0,
            bytes_required: 0,
            base: Vec::new(),
        }
    }
}
