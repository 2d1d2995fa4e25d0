//! Plans a pull or pack: bytes per image, existing content, and the size of the bundle.
//!
//! It is worked out from manifests alone. No layer moves, and nothing is written.

use std::collections::HashMap;

use serde::Serialize;

use hod_bundle::{Header, VolumeSize, signature_length};
use hod_image::contents::StoredImage;
use hod_oci::Digest;

/// A plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The images, in the order of the list.
    pub images: Vec<PlannedImage>,
    /// Bytes of all images, each counted as if it were alone.
    pub bytes_of_images: u64,
    /// Bytes of the different contents.
    pub bytes_unique: u64,
    /// Contents that the store has, and their bytes.
    pub already_there: Amount,
    /// Contents that have to be fetched, and their bytes.
    pub to_fetch: Amount,
    /// Those of them that an interrupted run has begun to fetch, and the bytes that it has left: they are not fetched
    /// again.
    pub kept: Amount,
    /// Contents that the bundle leaves out, since its target has them.
    pub left_out: Amount,
    /// The bundle.
    pub bundle: Option<PlannedBundle>,
    /// Where bytes go, and what room there is.
    pub space: Vec<Space>,
}

/// One image of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedImage {
    /// `repository:tag`, or `repository@digest`.
    pub name: String,
    /// The digest of the root manifest.
    pub digest: Digest,
    /// The platforms that are taken.
    pub platforms: Vec<String>,
    /// Bytes of everything in it.
    pub size: u64,
    /// Bytes that other images of the plan use too.
    pub shared: u64,
    /// Bytes that the plan would have less without it.
    pub marginal: u64,
    /// Bytes of it that have to be fetched.
    pub to_fetch: u64,
    /// Bytes of those that an interrupted run has left.
    pub kept: u64,
}

/// A number of contents and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// How many.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// The bundle of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedBundle {
    /// Its length in bytes.
    pub bytes: u64,
    /// True if that is known to the byte. A compressed bundle is most likely smaller.
    pub exact: bool,
    /// The number of volumes, where it is to be cut up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<u64>,
    /// Bytes that unpacking it writes to a place that has nothing of it but what it requires.
    pub bytes_unpacked: u64,
}

/// Room on a filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Space {
    /// What goes there.
    pub what: &'static str,
    /// The folder.
    pub path: String,
    /// Bytes to come.
    pub needed: u64,
    /// Bytes free.
    pub free: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What is known of the files of a bundle before it is written.
#[derive(Debug, Clone, Copy)]
pub struct BundleForm {
    /// True if it will be signed.
    pub signed: bool,
    /// True if it is not compressed, so that its size is known.
    pub exact: bool,
    /// The size of its volumes.
    pub volumes: Option<VolumeSize>,
}

impl PlannedBundle {
    /// The bundle that a header describes.
    pub fn new(header: &Header, form: BundleForm) -> Self {
        let BundleForm { signed, exact, volumes } = form;
        let bytes = header.tar_size(signed.then(|| signature_length(header)));
        let bytes_unpacked = header.blobs().iter().map(|blob| blob.size).sum();
        Self { bytes, exact, volumes: volumes.map(|size| size.volumes(bytes)), bytes_unpacked }
    }
}

impl Plan {
    /// The plan for images, of whose bundle this is the header. `lacking` is asked for contents by digest and size: it
    /// answers `None` for what the store has, else how much of it lies there unfinished.
    pub fn new<E>(
        images: &[StoredImage],
        header: &Header,
        mut lacking: impl FnMut(&Digest, u64) -> Result<Option<u64>, E>,
    ) -> Result<Self, E> {
        let mut plan = Self::default();
        let mut known: HashMap<Digest, Known> = HashMap::new();
        let mut contents = Vec::with_capacity(images.len());
        for held in images {
            let own = contents_of(held);
            for (digest, size) in &own {
                if let Some(known) = known.get_mut(digest) {
                    known.users += 1;
                    continue;
                }
                let lacking = lacking(digest, *size)?;
                plan.bytes_unique = plan.bytes_unique.saturating_add(*size);
                if lacking.is_none() { &mut plan.already_there } else { &mut plan.to_fetch }.add(*size);
                lacking.filter(|kept| *kept > 0).into_iter().for_each(|kept| plan.kept.add(kept));
                known.insert(*digest, Known { users: 1, lacking });
            }
            contents.push(own);
        }
        header.requires().iter().for_each(|content| plan.left_out.add(content.size));
        for (held, own) in images.iter().zip(contents) {
            let sum = |wanted: &dyn Fn(&Digest) -> bool| -> u64 {
                own.iter().filter(|(digest, _)| wanted(digest)).map(|(_, size)| size).sum()
            };
            let size = sum(&|_| true);
            let alone = |digest: &Digest| known.get(digest).is_some_and(|known| known.users == 1);
            plan.bytes_of_images = plan.bytes_of_images.saturating_add(size);
            plan.images.push(PlannedImage {
                name: held.label(),
                digest: held.graph.root.descriptor.digest,
                platforms: held.graph.platforms().iter().map(ToString::to_string).collect(),
                size,
                shared: sum(&|digest| !alone(digest)),
                marginal: sum(&|digest| alone(digest) && header.blob(digest).is_some()),
                to_fetch: sum(&|digest| known.get(digest).is_some_and(|known| known.lacking.is_some())),
                kept: own.keys().filter_map(|digest| known.get(digest)?.lacking).sum(),
            });
        }
        Ok(plan)
    }
}

/// What is known of a content.
struct Known {
    users: usize,
    /// How much of it lies in the store unfinished; `None` where all of it is there.
    lacking: Option<u64>,
}

/// Everything that an image consists of, each once.
fn contents_of(held: &StoredImage) -> HashMap<Digest, u64> {
    let manifests = held.graph.manifests();
    let manifests = manifests.iter().map(|node| (node.descriptor.digest, node.descriptor.size));
    manifests.chain(held.graph.blobs().into_iter().map(|blob| (blob.digest, blob.size))).collect()
}
