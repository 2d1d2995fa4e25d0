//! From an image, wherever it is, to files: what a container runtime takes, or the tree alone.
//!
//! Layers go into a folder beside the target, which gets its name when everything is there, checked and durable. So
//! a target that exists is complete, and what a killed run has left is cleared away by the next.

mod error;
mod layer;
mod members;
mod pax;
mod rootfs;
mod runtime_config;
mod sink;
mod users;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;
use rustix::fs::{Mode, OFlags, RenameFlags};

pub use error::LayerError;
pub use users::UnknownUser;
pub use write::LeftOut;

use super::inspect::{InspectError, Inspected};
use super::open::OpenSource;
use crate::copy::{CopyError, Engine};
use crate::observe::Event;
use crate::oci::{Descriptor, Digest, diff_ids};
use rootfs::Rootfs;
use runtime_config::{ImageConfig, Runner};
use sink::LayerSink;
use users::User;

/// What is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A folder with `config.json` and `rootfs/`.
    Bundle(PathBuf),
    /// The tree alone.
    Rootfs(PathBuf),
}

impl Target {
    /// The folder that is made.
    pub fn path(&self) -> &Path {
        match self {
            Self::Bundle(path) | Self::Rootfs(path) => path,
        }
    }
}

/// What was made.
#[derive(Debug)]
pub struct UnpackedImage {
    /// The digest of the image that was unpacked, which for an index is that of the chosen child.
    pub digest: Digest,
    /// The number of its layers.
    pub layers: usize,
    /// The number of their entries.
    pub entries: u64,
    /// What could not be made.
    pub left_out: LeftOut,
    /// Whether files have the owners that the image says.
    pub owners_kept: bool,
}

/// Why an image was not unpacked. Nothing is at the target.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackImageError {
    /// The image cannot be looked at.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// Its config says nothing of layers.
    #[error("the config {0} is not that of an image that could run")]
    Config(Digest),
    /// Config and manifest do not belong together.
    #[error("the manifest has {} and the config {}", super::count(*layers, "layer"), super::count(*diff_ids, "diff id"))]
    Layers {
        /// Layers of the manifest.
        layers: usize,
        /// Those that the config knows.
        diff_ids: usize,
    },
    /// A layer that is none.
    #[error("cannot unpack {digest}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Why not.
        #[source]
        source: LayerError,
    },
    /// A layer did not come.
    #[error("cannot unpack the image")]
    Copy(#[from] CopyError),
    /// The user of the image.
    #[error(transparent)]
    User(#[from] UnknownUser),
    /// The tree cannot be completed.
    #[error("cannot complete the tree")]
    Complete(#[source] LayerError),
    /// There is something at the target.
    #[error("{0} exists: an image is unpacked to a new folder")]
    Exists(PathBuf),
    /// Another process unpacks to the same target.
    #[error("another process is unpacking an image to {0}")]
    Busy(PathBuf),
    /// The system said no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A thread ended.
    #[error("a thread of hod ended unexpectedly")]
    Thread(#[source] tokio::task::JoinError),
}

/// What layers are unpacked into.
#[derive(Debug)]
struct State {
    rootfs: Rootfs,
    left_out: LeftOut,
    entries: u64,
}

/// Unpacks an image that was looked at and is still where it was.
pub async fn unpack_image(
    engine: &Engine,
    source: &OpenSource,
    image: &Inspected,
    target: &Target,
) -> Result<UnpackedImage, UnpackImageError> {
    let layers = layers(image)?;
    let bytes = layers.iter().map(|(layer, _)| layer.size).sum();
    let unfinished = blocking({
        let target = target.clone();
        move || Unfinished::begin(&target)
    })
    .await?;
    let unfinished = Arc::new(unfinished);
    let rootfs = Rootfs::new(unfinished.open_rootfs()?)?;
    let state = Arc::new(Mutex::new(State { rootfs, left_out: LeftOut::default(), entries: 0 }));
    engine.observer().on(&Event::Step { name: "unpack-image", images: 1, bytes });
    for (layer, diff_id) in &layers {
        let sink = LayerSink::new(target.path(), *diff_id, state.clone());
        engine.place(&source.source, &sink, layer).await?;
    }
    let config: ImageConfig = serde_json::from_slice(&image.config).unwrap_or_default();
    let finished = (state.clone(), unfinished);
    blocking(move || finish(&finished.0, &finished.1, &config)).await?;
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(UnpackedImage {
        digest: image.instance.root.descriptor.digest,
        layers: layers.len(),
        entries: state.entries,
        left_out: state.left_out,
        owners_kept: nix::unistd::geteuid().is_root(),
    })
}

/// The layers, lowest first, each with the digest of what it unpacks to.
fn layers(image: &Inspected) -> Result<Vec<(Descriptor, Digest)>, UnpackImageError> {
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
    Ok(layers.into_iter().zip(diff_ids).collect())
}

fn finish(state: &Mutex<State>, unfinished: &Unfinished, config: &ImageConfig) -> Result<(), UnpackImageError> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(unfinished.target, Target::Bundle(_)) {
        let (passwd, group) = users::files(&mut state.rootfs).map_err(UnpackImageError::Complete)?;
        let user = User::find(config.user(), &passwd, &group)?;
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let runner = if uid.is_root() { Runner::Root } else { Runner::User(uid.as_raw(), gid.as_raw()) };
        let mut json = serde_json::to_vec_pretty(&config.runtime_config(&user, runner)).map_err(io::Error::from)?;
        json.push(b'\n');
        fs::write(unfinished.path.join("config.json"), json)?;
    }
    state.rootfs.finish().map_err(io::Error::from)?;
    unfinished.publish()
}

/// A target on its way: a folder beside it, which nobody else uses.
#[derive(Debug)]
struct Unfinished {
    target: Target,
    path: PathBuf,
    published: AtomicBool,
    /// Held for its lock.
    _lock: fs::File,
}

impl Unfinished {
    /// Makes the folder; what a killed run has left there is removed.
    fn begin(target: &Target) -> Result<Self, UnpackImageError> {
        let path = target.path();
        if fs::symlink_metadata(path).is_ok() {
            return Err(UnpackImageError::Exists(path.to_owned()));
        }
        let name = path.file_name().ok_or_else(|| UnpackImageError::Exists(path.to_owned()))?.to_string_lossy();
        let beside = above(path).join(format!(".{name}.unpacking"));
        fs::create_dir_all(above(path))?;
        loop {
            match fs::create_dir(&beside) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => clear(&beside, path)?,
                Err(error) => return Err(error.into()),
            }
        }
        let lock = fs::File::open(&beside)?;
        lock.try_lock().map_err(|_| UnpackImageError::Busy(path.to_owned()))?;
        let unfinished = Self { target: target.clone(), path: beside, published: AtomicBool::new(false), _lock: lock };
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&unfinished.path, private)?;
        if matches!(target, Target::Bundle(_)) {
            fs::create_dir(unfinished.rootfs())?;
        }
        Ok(unfinished)
    }

    fn rootfs(&self) -> PathBuf {
        match self.target {
            Target::Bundle(_) => self.path.join("rootfs"),
            Target::Rootfs(_) => self.path.clone(),
        }
    }

    fn open_rootfs(&self) -> io::Result<std::os::fd::OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::open(self.rootfs(), flags, Mode::empty())?)
    }

    /// Gives it its name, with everything in it on the disk.
    fn publish(&self) -> Result<(), UnpackImageError> {
        let path = self.target.path();
        crate::fs::sync_filesystem(&self.path)?;
        let here = rustix::fs::CWD;
        match rustix::fs::renameat_with(here, &self.path, here, path, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::EXIST) => return Err(UnpackImageError::Exists(path.to_owned())),
            // A filesystem that does not know the flag; a folder replaces none that has something in it.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::rename(&self.path, path)?,
            renamed => renamed.map_err(|error| crate::fs::with_path(path, &error.into()))?,
        }
        self.published.store(true, Ordering::SeqCst);
        Ok(crate::fs::sync_directory(above(path))?)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.published.load(Ordering::SeqCst) {
            let _ = remove_tree(&self.path);
        }
    }
}

fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes what a run has left that is dead.
fn clear(beside: &Path, target: &Path) -> Result<(), UnpackImageError> {
    let folder = fs::File::open(beside)?;
    folder.try_lock().map_err(|_| UnpackImageError::Busy(target.to_owned()))?;
    Ok(remove_tree(beside)?)
}

/// Removes a tree that may have folders which are closed to their owner.
fn remove_tree(path: &Path) -> io::Result<()> {
    if nix::unistd::geteuid().is_root() {
        return fs::remove_dir_all(path);
    }
    for entry in walkdir::WalkDir::new(path).into_iter().filter_map(Result::ok).filter(|it| it.file_type().is_dir()) {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let _ = fs::set_permissions(entry.path(), open);
    }
    fs::remove_dir_all(path)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UnpackImageError> + Send + 'static,
) -> Result<T, UnpackImageError> {
    tokio::task::spawn_blocking(work).await.map_err(UnpackImageError::Thread)?
}
