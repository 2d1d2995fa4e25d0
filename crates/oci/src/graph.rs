//! An image with all selected parts: the value that the steps pass on.
//!
//! A graph holds the manifests' own bytes and knows all digests below them. Who loads it decides
//! what is in it (`copy::load` asks a source and a choice of platforms); who copies it copies
//! exactly that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::{Descriptor, Digest, Manifest, Platform};

/// The root manifest of an image with all selected content.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The manifest that the name points to.
    pub root: Node,
}

/// A manifest with its chosen children.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is. Type and length are the bytes' own, whatever an index says of them.
    pub descriptor: Descriptor,
    /// The bytes as they came, whose digest is the descriptor's.
    pub bytes: Bytes,
    /// The bytes, read.
    pub manifest: Arc<Manifest>,
    /// The children that are part of this graph, in the order of the index.
    pub children: Vec<Self>,
    /// The children that are not: platforms that nobody asked for.
    pub absent: Vec<Descriptor>,
    /// The platform in the config, if it was read.
    pub platform: Option<Platform>,
    /// The bytes of the config, where they had to be read, so that nobody asks for them again.
    pub config: Option<Bytes>,
}

impl Node {
    /// A manifest with what was chosen of its children, and nothing read of its config.
    pub fn new(
        named: Descriptor,
        bytes: Bytes,
        manifest: impl Into<Arc<Manifest>>,
        children: Vec<Self>,
        absent: Vec<Descriptor>,
    ) -> Self {
        let manifest = manifest.into();
        let descriptor = Descriptor { media_type: manifest.media_type.clone(), size: bytes.len() as u64, ..named };
        Self { descriptor, bytes, manifest, children, absent, platform: None, config: None }
    }

    /// Adds the children that another has of the same manifest.
    fn join(&mut self, other: Self) {
        let (mut own, mut others) = (by_name(std::mem::take(&mut self.children)), by_name(other.children));
        self.absent.clear();
        for named in self.manifest.children() {
            let name = (named.digest, named.platform.clone());
            let next = |of: &mut ByName| of.get_mut(&name)?.pop();
            match (next(&mut own), next(&mut others)) {
                (Some(mut child), Some(other)) => {
                    child.join(other);
                    self.children.push(child);
                }
                (Some(child), None) | (None, Some(child)) => self.children.push(child),
                (None, None) => self.absent.push(named.clone()),
            }
        }
        self.platform = self.platform.take().or(other.platform);
        self.config = self.config.take().or(other.config);
    }

    fn visit<'a>(&'a self, seen: &mut HashSet<Digest>, found: &mut Vec<&'a Self>) {
        if seen.insert(self.descriptor.digest) {
            self.children.iter().for_each(|child| child.visit(seen, found));
            found.push(self);
        }
    }
}

/// Children by what an index calls them. It may name one more than once.
type ByName = HashMap<(Digest, Option<Platform>), Vec<Node>>;

fn by_name(children: Vec<Node>) -> ByName {
    let mut all = ByName::new();
    for child in children {
        all.entry((child.descriptor.digest, child.descriptor.platform.clone())).or_default().push(child);
    }
    all
}

impl Graph {
    /// Adds what another choice has of the same image, in the order of its indexes.
    pub fn join(&mut self, other: Self) {
        self.root.join(other.root);
    }

    /// The root as if it named nothing.
    #[must_use]
    pub fn without_children(&self) -> Self {
        let Node { descriptor, bytes, manifest, platform, config, .. } = &self.root;
        let root = Node {
            descriptor: descriptor.clone(),
            bytes: bytes.clone(),
            manifest: manifest.clone(),
            children: Vec::new(),
            absent: Vec::new(),
            platform: platform.clone(),
            config: config.clone(),
        };
        Self { root }
    }

    /// Every manifest once, children before the indexes that name them, the root last.
    pub fn manifests(&self) -> Vec<&Node> {
        let mut found = Vec::new();
        self.root.visit(&mut HashSet::new(), &mut found);
        found
    }

    /// Gives configs and layers the lengths that their place knows, where a manifest says others: the digest decides
    /// what content is, and no reader of manifests minds a wrong length.
    pub fn correct_sizes(&mut self, sizes: &HashMap<Digest, u64>) {
        let mut open = vec![&mut self.root];
        while let Some(node) = open.pop() {
            let is_wrong = |blob: &Descriptor| sizes.get(&blob.digest).is_some_and(|size| *size != blob.size);
            if node.manifest.blobs().any(is_wrong) {
                for blob in Arc::make_mut(&mut node.manifest).blobs_mut() {
                    blob.size = sizes.get(&blob.digest).copied().unwrap_or(blob.size);
                }
            }
            open.extend(&mut node.children);
        }
    }

    /// Every config and layer once, in the order of first use; foreign layers are left out.
    pub fn blobs(&self) -> Vec<&Descriptor> {
        self.blobs_where(|blob| !blob.media_type.is_foreign_layer())
    }

    /// The layers whose bytes lie elsewhere and are not carried.
    pub fn foreign(&self) -> Vec<&Descriptor> {
        self.blobs_where(|blob| blob.media_type.is_foreign_layer())
    }

    fn blobs_where(&self, wanted: impl Fn(&Descriptor) -> bool) -> Vec<&Descriptor> {
        let mut seen = HashSet::new();
        let manifests = self.manifests();
        let blobs = manifests.iter().flat_map(|node| node.manifest.blobs());
        blobs.filter(|blob| wanted(blob) && seen.insert(blob.digest)).collect()
    }

    /// The bytes of a config that came with the graph.
    pub fn config(&self, digest: &Digest) -> Option<Bytes> {
        let manifests = self.manifests();
        let mut named = manifests.iter().filter(|node| node.manifest.config().is_some_and(|it| it.digest == *digest));
        named.find_map(|node| node.config.clone())
    }

    /// Bytes of all manifests and blobs, each counted once.
    pub fn size(&self) -> u64 {
        let manifests: u64 = self.manifests().iter().map(|node| node.descriptor.size).sum();
        self.blobs().iter().map(|blob| blob.size).fold(manifests, u64::saturating_add)
    }

    /// The platforms that are in the graph, as index or config name them.
    pub fn platforms(&self) -> Vec<Platform> {
        let mut found: Vec<Platform> = Vec::new();
        for node in self.manifests() {
            let platform = node.descriptor.platform.as_ref().or(node.platform.as_ref());
            if let Some(platform) = platform.filter(|platform| &*platform.os != "unknown" && !found.contains(platform))
            {
                found.push(platform.clone());
            }
        }
        found
    }
}
