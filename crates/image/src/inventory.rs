//! The inventory: a small file that lists the content of a place, to carry back over the gap.
//!
//! ```text
//! full      images by name, and every content with its size
//! minimal   the digests of manifests alone; the near side finds in its own store what belongs to them
//! ```
//!
//! `docs/inventory.md` is the specification. What is listed is there: an image of which something is missing
//! lists what is left of it.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::contents::{Holdings, StoredImage};
use hod_bundle::{Content, HEADER_LIMIT, Header};
use hod_oci::{Digest, Manifest, MediaType, Node, RepositoryName, Tag};
use hod_store::{Store, StoreError};

/// The name of the format.
pub const FORMAT: &str = "hod-inventory";
/// The version of the format that is written and read.
pub const VERSION: u64 = 1;
/// The longest inventory that is read, in bytes.
pub const INVENTORY_LIMIT: u64 = HEADER_LIMIT;

/// The content of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inventory {
    /// Everything by name.
    Full {
        /// The images.
        images: Vec<ListedImage>,
        /// All contents.
        contents: Vec<Content>,
    },
    /// Manifests by digest.
    Minimal {
        /// Manifests that are there with everything below them.
        complete: Vec<Digest>,
        /// Indexes that are there, and of their children those that are listed.
        alone: Vec<Digest>,
    },
}

/// An image of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedImage {
    /// The repository.
    pub name: RepositoryName,
    /// The tag, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The digest of the root manifest.
    pub digest: Digest,
    /// Positions of what it consists of, as far as it is there.
    pub contents: Vec<u32>,
}

/// A file that is no inventory.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// No JSON, or not that of an inventory.
    #[error("it is damaged, or was written by a newer hod")]
    Json(#[source] serde_json::Error),
    /// Another format.
    #[error("its format is {0:?}, expected \"hod-inventory\"")]
    Format(String),
    /// A version that is yet to come.
    #[error("it has format version {0}, but this hod supports only version 1: use a newer hod")]
    Newer(u64),
    /// Parts that do not fit together.
    #[error("it is inconsistent: {0}")]
    Inconsistent(&'static str),
    /// More bytes than a reader takes.
    #[error("it has more than {INVENTORY_LIMIT} bytes")]
    Large,
}

/// Both forms, as they are read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    version: u64,
    images: Option<Vec<ListedImage>>,
    contents: Option<Vec<(Digest, u64)>>,
    complete: Option<Vec<Digest>>,
    alone: Option<Vec<Digest>>,
}

/// Just enough to tell a newer inventory from a damaged one.
#[derive(Deserialize)]
struct Preface {
    format: String,
    version: u64,
}

impl Inventory {
    /// The inventory of images that were read. `is_there` tells whether a config or layer is.
    pub fn of_images<E>(
        images: &[StoredImage],
        mut is_there: impl FnMut(&Digest, u64) -> Result<bool, E>,
    ) -> Result<Self, E> {
        let mut contents = Vec::new();
        let mut positions: HashMap<Digest, Option<u32>> = HashMap::new();
        let mut listed = Vec::with_capacity(images.len());
        for held in images {
            let manifests = held.graph.manifests();
            let manifests = manifests.iter().map(|node| (node.descriptor.digest, node.descriptor.size, true));
            let blobs = held.graph.blobs().into_iter().map(|blob| (blob.digest, blob.size, false));
            let mut own = Vec::new();
            for (digest, size, is_manifest) in manifests.chain(blobs) {
                let position = match positions.get(&digest) {
                    Some(position) => *position,
                    None if is_manifest || is_there(&digest, size)? => {
                        contents.push(Content { digest, size });
                        u32::try_from(contents.len() - 1).ok()
                    }
                    None => None,
                };
                positions.insert(digest, position);
                own.extend(position);
            }
            own.sort_unstable();
            own.dedup();
            let digest = held.graph.root.descriptor.digest;
            let (name, tag) = (held.name.repository.clone(), held.name.tag.clone());
            listed.push(ListedImage { name, tag, digest, contents: own });
        }
        Ok(Self::Full { images: listed, contents })
    }

    /// The inventory of a place to which a bundle has been brought.
    pub fn of_header(header: &Header) -> Self {
        let blobs = header.blobs().iter().map(|blob| Content { digest: blob.digest, size: blob.size });
        let contents = blobs.chain(header.requires().iter().copied()).collect();
        let images = header.images().iter().map(|image| ListedImage {
            name: image.name.clone(),
            tag: image.tag.clone(),
            digest: image.digest,
            contents: image.contents.clone(),
        });
        Self::Full { images: images.collect(), contents }
    }

    /// The minimal inventory of images that were read.
    ///
    /// Manifests of which something is missing are left out.
    pub fn minimal<E>(
        images: &[StoredImage],
        mut is_there: impl FnMut(&Digest, u64) -> Result<bool, E>,
    ) -> Result<Self, E> {
        let mut minimal = Minimal::default();
        for held in images {
            if minimal.add(&held.graph.root, &mut is_there)? {
                minimal.complete.push(held.graph.root.descriptor.digest);
            }
        }
        let unique = |digests: Vec<Digest>| {
            let mut seen = HashSet::new();
            digests.into_iter().filter(|digest| seen.insert(*digest)).collect()
        };
        Ok(Self::Minimal { complete: unique(minimal.complete), alone: unique(minimal.alone) })
    }

    /// Reads an inventory.
    pub fn parse(json: &[u8]) -> Result<Self, InventoryError> {
        if json.len() as u64 > INVENTORY_LIMIT {
            return Err(InventoryError::Large);
        }
        let document = serde_json::from_slice(json);
        let preface = match &document {
            Ok(Document { format, version, .. }) => Preface { format: format.clone(), version: *version },
            Err(_) => serde_json::from_slice(json).map_err(InventoryError::Json)?,
        };
        match (preface.format.as_str(), preface.version) {
            (FORMAT, VERSION) => {}
            (FORMAT, version) => return Err(InventoryError::Newer(version)),
            (format, _) => return Err(InventoryError::Format(format.to_owned())),
        }
        match document.map_err(InventoryError::Json)? {
            Document { images: Some(images), contents: Some(contents), complete: None, alone: None, .. } => {
                let contents: Vec<Content> =
                    contents.into_iter().map(|(digest, size)| Content { digest, size }).collect();
                check(&images, &contents)?;
                Ok(Self::Full { images, contents })
            }
            Document { images: None, contents: None, complete: Some(complete), alone: Some(alone), .. } => {
                Ok(Self::Minimal { complete, alone })
            }
            _ => Err(InventoryError::Inconsistent("it has the members of neither a full nor a minimal inventory")),
        }
    }

    /// The bytes of the file.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Full<'a> {
            format: &'a str,
            version: u64,
            images: &'a [ListedImage],
            contents: Vec<(Digest, u64)>,
        }
        #[derive(Serialize)]
        struct Minimal<'a> {
            format: &'a str,
            version: u64,
            complete: &'a [Digest],
            alone: &'a [Digest],
        }
        let (format, version) = (FORMAT, VERSION);
        let json = match self {
            Self::Full { images, contents } => {
                let contents = contents.iter().map(|content| (content.digest, content.size)).collect();
                serde_json::to_vec(&Full { format, version, images, contents })
            }
            Self::Minimal { complete, alone } => serde_json::to_vec(&Minimal { format, version, complete, alone }),
        };
        // Digests, names and numbers can always be written.
        let mut json = json.unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// Every content that is listed; of a minimal inventory, what a store knows to belong to its manifests.
    pub fn contents(&self, near: Option<&Store>) -> Result<HashMap<Digest, u64>, StoreError> {
        let mut found = HashMap::new();
        match (self, near) {
            (Self::Full { contents, .. }, _) => {
                found.extend(contents.iter().map(|content| (content.digest, content.size)));
            }
            (Self::Minimal { complete, alone }, Some(store)) => {
                expand(store, complete, &mut found)?;
                for digest in alone {
                    if let Some(bytes) = Holdings::manifest(store, digest)? {
                        found.insert(*digest, bytes.len() as u64);
                    }
                }
            }
            (Self::Minimal { .. }, None) => {}
        }
        Ok(found)
    }
}

/// Checks that every position is one, once, and no content is listed twice.
fn check(images: &[ListedImage], contents: &[Content]) -> Result<(), InventoryError> {
    let mut seen = HashSet::with_capacity(contents.len());
    if !contents.iter().all(|content| seen.insert(content.digest)) {
        return Err(InventoryError::Inconsistent("a digest is listed twice"));
    }
    for image in images {
        let mut own = image.contents.clone();
        own.sort_unstable();
        let is_twice = own.windows(2).any(|pair| pair.first() == pair.last());
        if is_twice || own.last().is_some_and(|last| *last as usize >= contents.len()) {
            return Err(InventoryError::Inconsistent("an image names a digest that is not listed, or names one twice"));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Minimal {
    complete: Vec<Digest>,
    alone: Vec<Digest>,
}

impl Minimal {
    /// Returns true if a manifest is there with all that it names; where it is not, what of it is, is added.
    fn add<E>(&mut self, node: &Node, is_there: &mut impl FnMut(&Digest, u64) -> Result<bool, E>) -> Result<bool, E> {
        for blob in node.manifest.blobs().filter(|blob| !blob.media_type.is_foreign_layer()) {
            if !is_there(&blob.digest, blob.size)? {
                return Ok(false);
            }
        }
        let mut whole = node.absent.is_empty();
        let mut children = Vec::new();
        for child in &node.children {
            if self.add(child, is_there)? {
                children.push(child.descriptor.digest);
            } else {
                whole = false;
            }
        }
        if !whole {
            self.complete.extend(children);
            self.alone.push(node.descriptor.digest);
        }
        Ok(whole)
    }
}

/// Adds manifests and everything below them that a store knows of.
fn expand(store: &Store, roots: &[Digest], found: &mut HashMap<Digest, u64>) -> Result<(), StoreError> {
    let (mut open, mut seen) = (roots.to_vec(), HashSet::new());
    while let Some(digest) = open.pop() {
        if !seen.insert(digest) {
            continue;
        }
        let Some(bytes) = Holdings::manifest(store, &digest)? else { continue };
        let Ok(manifest) = Manifest::parse(&MediaType::Other("".into()), &bytes) else { continue };
        found.insert(digest, bytes.len() as u64);
        found.extend(manifest.blobs().map(|blob| (blob.digest, blob.size)));
        open.extend(manifest.children().iter().map(|child| child.digest));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Inventory {
        let contents: Vec<Content> =
            (0..4_u64).map(|size| Content { digest: Digest::sha256(&[u8::try_from(size).unwrap()]), size }).collect();
        let image = |name: &str, tag: Option<&str>, root: usize, contents_of: &[u32]| ListedImage {
            name: name.parse().unwrap(),
            tag: tag.map(|tag| tag.parse().unwrap()),
            digest: contents[root].digest,
            contents: contents_of.to_vec(),
        };
        let images = vec![image("a/b", Some("1"), 0, &[0, 2]), image("c", None, 1, &[1, 2, 3])];
        Inventory::Full { images, contents }
    }

    #[test]
    fn what_is_written_is_read() {
        let minimal = Inventory::Minimal { complete: vec![Digest::sha256(b"1")], alone: vec![Digest::sha256(b"2")] };
        for inventory in [sample(), minimal] {
            assert_eq!(Inventory::parse(&inventory.to_json()).unwrap(), inventory);
        }
    }

    #[test]
    fn the_examples() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/inventories");
        for name in ["full.json", "minimal.json"] {
            let json = fs_err::read(folder.join(name)).unwrap();
            assert_eq!(Inventory::parse(&json).unwrap().to_json(), json, "{name}");
        }
        for name in ["position", "twice", "newer", "name"] {
            let json = fs_err::read(folder.join(format!("bad-{name}.json"))).unwrap();
            assert!(Inventory::parse(&json).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_no_inventory() {
        let text = String::from_utf8(sample().to_json()).unwrap();
        let problem = |text: &str| Inventory::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(problem(&text.replace("\"version\":1", "\"version\":2")).contains("newer hod"));
        assert!(problem(&text.replace("hod-inventory", "hod-bundle")).contains("hod-bundle"));
        assert!(problem(&text.replace("[0,2]", "[0,4]")).contains("it is inconsistent"));
        assert!(problem(&text.replace("[0,2]", "[2,2]")).contains("it is inconsistent"));
        assert!(problem(&text.replace("\"a/b\"", "\"../b\"")).contains("damaged"));
        assert!(problem(&text.replace("\"images\"", "\"pictures\"")).contains("damaged"));
        assert!(
            problem("{\"format\":\"hod-inventory\",\"version\":1}").contains("neither a full nor a minimal inventory")
        );
        for bad in ["", "[]", "{}", "null", "\u{0}"] {
            assert!(Inventory::parse(bad.as_bytes()).is_err());
        }
    }

    proptest! {
        #[test]
        fn changes_never_panic(position in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut json = sample().to_json();
            let position = position.index(json.len());
            json[position] = byte;
            if cut {
                json.truncate(position);
            }
            if let Ok(Inventory::Full { images, contents }) = Inventory::parse(&json) {
                prop_assert!(images.iter().flat_map(|image| &image.contents).all(|position| (*position as usize) < contents.len()));
            }
        }
    }
}
