//! Unpacks images to files: a runtime bundle, or the root file system only.
//!
//! Sources: OCI image-spec (layers, whiteouts), OCI runtime-spec, umoci's `umoci.json`.
//!
//! * **For**: `hod unpack-image` and `hod layer extract`.
//! * **Must stay true**: no name in a layer is resolved by the kernel, so no layer writes outside its tree. A target that exists is
//!   complete: layers go into a directory beside it, which gets its name when everything is there, checked and durable. Memory does not
//!   grow with the number of entries.
//! * **Does not**: run containers.
//!
//! ```
//! use hod_rootfs::IdMapping;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mapping: IdMapping = "0:100000:65536".parse()?;
//! assert_eq!((mapping.container, mapping.host, mapping.size), (0, 100_000, 65_536));
//! assert!("0:100000:0".parse::<IdMapping>().is_err());
//! # Ok(())
//! # }
//! ```

mod error;
mod layer;
mod members;
mod names;
mod notes;
mod owners;
mod pax;
mod rootfs;
mod runtime_config;
mod sparse;
mod stream;
mod target;
mod umoci;
mod unfinished;
mod users;
mod write;

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;
use rustix::fs::{Gid, Mode, Uid};

pub use error::{LayerError, UnknownUser, UnpackImageError};
pub use owners::{IdMapping, IdMappingError, Owners};
pub use target::{Target, UnpackedTree};
pub use write::SkippedEntries;

use hod_engine::copy::Engine;
use hod_engine::observe::Event;
use hod_image::inspect::InspectedImage;
use hod_image::open::OpenSource;
use hod_oci::{Descriptor, Digest, diff_ids};
use rootfs::{FOLDER, Rootfs};
use runtime_config::ImageConfig;
use stream::unpack;
use unfinished::PartialTarget;
use users::User;
use write::EntryOptions;

/// A layer of an image.
#[derive(Debug, Clone)]
pub struct Layer {
    /// What the manifest says of it.
    pub descriptor: Descriptor,
    /// The digest of what it unpacks to.
    pub diff_id: Digest,
}

/// The target of layers.
#[derive(Debug)]
struct State {
    rootfs: Rootfs,
    how: EntryOptions,
    made: UnpackedTree,
}

/// How an image is unpacked.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// The target to create.
    pub target: Target,
    /// The owners of the files.
    pub owners: Owners,
    /// True if a symbolic link to a folder stays where a layer has a folder of that name.
    pub keep_links: bool,
}

/// Unpacks an image that was looked at and is still where it was.
pub async fn unpack_image(
    engine: &Engine,
    source: &OpenSource,
    image: &InspectedImage,
    options: &UnpackOptions,
) -> Result<UnpackedTree, UnpackImageError> {
    let how = EntryOptions { owners: options.owners.clone(), keep_links: options.keep_links, keep_whiteouts: false };
    let (state, unfinished) = place(engine, source, &layers(image)?, &options.target, how).await?;
    let config: ImageConfig = serde_json::from_slice(&image.config).unwrap_or_default();
    let root = image.instance.root.descriptor.clone();
    finish(state, move |state| {
        if let Some(bundle) = unfinished.bundle() {
            describe(state, bundle, &config, &root)?;
        }
        Ok(unfinished)
    })
    .await
}

/// Unpacks a layer that can be read onto what is in a directory.
///
/// It is public for the fuzzer: what else takes a layer takes a whole image.
pub fn apply_layer(
    layer: impl io::Read,
    diff_id: &Digest,
    directory: &Path,
    owners: Owners,
) -> Result<UnpackedTree, LayerError> {
    let output = |error: rustix::io::Errno| LayerError::Output(error.into());
    let top = rustix::fs::open(directory, FOLDER, Mode::empty()).map_err(output)?;
    let mut rootfs = Rootfs::new(top, None, false).map_err(LayerError::Output)?;
    let mut made = UnpackedTree::default();
    let how = EntryOptions { owners, keep_links: false, keep_whiteouts: false };
    layer::apply(&mut rootfs, layer, diff_id, &how, &mut made)?;
    rootfs.finish().map_err(output)?;
    Ok(made)
}

/// Unpacks one layer as the archive that it is: whiteouts become files.
pub async fn unpack_layer(
    engine: &Engine,
    source: &OpenSource,
    layer: &Layer,
    options: &UnpackOptions,
) -> Result<UnpackedTree, UnpackImageError> {
    let how = EntryOptions { owners: options.owners.clone(), keep_links: options.keep_links, keep_whiteouts: true };
    let layers = std::slice::from_ref(layer);
    let (state, unfinished) = place(engine, source, layers, &options.target, how).await?;
    finish(state, move |_| Ok(unfinished)).await
}

/// Writes one layer, expanded. What was written is to be thrown away if it fails.
pub async fn expand_layer(
    engine: &Engine,
    source: &OpenSource,
    layer: &Layer,
    output: Box<dyn Write + Send>,
) -> Result<(), UnpackImageError> {
    let (output, diff_id) = (Arc::new(Mutex::new(output)), layer.diff_id);
    let work = |body| {
        let output = output.clone();
        unpack(body, move |input| {
            layer::expand(input, &diff_id, &mut *output.lock().unwrap_or_else(PoisonError::into_inner))
        })
    };
    Ok(engine.read_layer(&source.source, "the layer's reader", &layer.descriptor, work).await?)
}

/// The layer of an image that has this number, from 1 at the bottom, this digest, or this diff id.
pub fn find_layer(image: &InspectedImage, wanted: &str) -> Result<Layer, UnpackImageError> {
    let layers = layers(image)?;
    let number: Option<usize> = wanted.parse().ok();
    let digest: Option<Digest> = wanted.parse().ok();
    let mut numbered = (1..).zip(&layers);
    let found = numbered.find(|(position, layer)| {
        number == Some(*position) || digest == Some(layer.descriptor.digest) || digest == Some(layer.diff_id)
    });
    let none = || UnpackImageError::NoLayer { wanted: wanted.to_owned(), layers: layers.len() };
    found.map(|(_, found)| found.clone()).ok_or_else(none)
}

/// Unpacks layers into a new folder, lowest first.
async fn place(
    engine: &Engine,
    source: &OpenSource,
    layers: &[Layer],
    target: &Target,
    how: EntryOptions,
) -> Result<(Arc<Mutex<State>>, PartialTarget), UnpackImageError> {
    let bytes = layers.iter().map(|layer| layer.descriptor.size).sum();
    let owner = root(&how.owners)?;
    let unfinished = blocking({
        let target = target.clone();
        move || PartialTarget::begin(&target)
    })
    .await?;
    let rootfs = Rootfs::new(unfinished.open_rootfs()?, owner, unfinished.bundle().is_some())?;
    let made = UnpackedTree { layers: layers.len(), ..UnpackedTree::default() };
    let state = Arc::new(Mutex::new(State { rootfs, how, made }));
    engine.observer().on(&Event::Step { name: "unpack-image", images: 1, bytes });
    for layer in layers {
        let work = |body| {
            let (state, diff_id) = (state.clone(), layer.diff_id);
            unpack(body, move |input| {
                let State { rootfs, how, made } = &mut *state.lock().unwrap_or_else(PoisonError::into_inner);
                layer::apply(rootfs, input, &diff_id, how, made)
            })
        };
        engine.read_layer(&source.source, &target.path().display().to_string(), &layer.descriptor, work).await?;
    }
    Ok((state, unfinished))
}

/// The runtime's configuration of an image whose files are in `rootfs`, or not at hand.
pub fn runtime_config(
    image: &InspectedImage,
    owners: &Owners,
    rootfs: Option<&Path>,
) -> Result<Vec<u8>, UnpackImageError> {
    layers(image)?;
    let config: ImageConfig = serde_json::from_slice(&image.config).unwrap_or_default();
    let Some(path) = rootfs else {
        let user = User::find(config.user(), "", "");
        let user = user.map_err(|_| UnpackImageError::NamedUser(config.user().to_owned()))?;
        return Ok(config.runtime_config(&user, owners, "rootfs")?);
    };
    let top = rustix::fs::open(path, FOLDER, Mode::empty());
    let top = top.map_err(|error| hod_io::fs::with_path(path, &error.into()))?;
    let (passwd, group) = users::files(&mut Rootfs::new(top, None, false)?).map_err(UnpackImageError::Complete)?;
    let name = fs::canonicalize(path)?;
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    Ok(config.runtime_config(&User::find(config.user(), &passwd, &group)?, owners, &name)?)
}

/// Who gets what no entry describes, where that is not whoever unpacks.
fn root(owners: &Owners) -> Result<Option<(Uid, Gid)>, UnpackImageError> {
    let (uid, gid) = owners.root().map_err(UnpackImageError::Complete)?;
    let is_given = nix::unistd::geteuid().is_root() && (uid, gid) != (0, 0);
    Ok(is_given.then(|| (Uid::from_raw(uid), Gid::from_raw(gid))))
}

/// The layers, lowest first.
fn layers(image: &InspectedImage) -> Result<Vec<Layer>, UnpackImageError> {
    let manifest = &image.instance.root.manifest;
    let digest = manifest.config().map_or(image.digest, |config| config.digest);
    let diff_ids = diff_ids(&image.config).map_err(|_| UnpackImageError::Config(digest))?;
    let layers: Vec<Descriptor> = manifest.blobs().skip(1).cloned().collect();
    if layers.len() != diff_ids.len() {
        return Err(UnpackImageError::Layers { layers: layers.len(), diff_ids: diff_ids.len() });
    }
    for layer in &layers {
        let digest = layer.digest;
        layer::check_media_type(&layer.media_type).map_err(|source| UnpackImageError::Layer { digest, source })?;
    }
    let layers = layers.into_iter().zip(diff_ids);
    Ok(layers.map(|(descriptor, diff_id)| Layer { descriptor, diff_id }).collect())
}

/// Writes what a bundle has beside its tree.
fn describe(
    State { rootfs, how, .. }: &mut State,
    bundle: &Path,
    config: &ImageConfig,
    image: &Descriptor,
) -> Result<(), UnpackImageError> {
    let (passwd, group) = users::files(rootfs).map_err(UnpackImageError::Complete)?;
    let user = User::find(config.user(), &passwd, &group)?;
    fs::write(bundle.join("config.json"), config.runtime_config(&user, &how.owners, "rootfs")?)?;
    fs::write(bundle.join(umoci::DESCRIPTION), umoci::description(image, &how.owners)?)?;
    let listing = fs::File::create(bundle.join(umoci::listing_name(&image.digest)))?;
    Ok(umoci::write_listing(rootfs, io::BufWriter::new(listing))?)
}

/// Completes a tree, after some last work, and gives its folder its name.
async fn finish(
    state: Arc<Mutex<State>>,
    last: impl FnOnce(&mut State) -> Result<PartialTarget, UnpackImageError> + Send + 'static,
) -> Result<UnpackedTree, UnpackImageError> {
    blocking(move || {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let unfinished = last(&mut state)?;
        state.rootfs.finish().map_err(io::Error::from)?;
        unfinished.publish()?;
        Ok(state.made)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UnpackImageError> + Send + 'static,
) -> Result<T, UnpackImageError> {
    tokio::task::spawn_blocking(work).await.map_err(UnpackImageError::Thread)?
}
