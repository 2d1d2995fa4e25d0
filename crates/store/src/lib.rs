//! The store: a registry root, `docker/registry/v2`, that hod writes and any CNCF registry serves.
//!
//! Source: the filesystem driver of distribution 2.8 and 3. `docs/store.md` has the layout, byte by byte.
//!
//! * **For**: content by digest, links of repositories to it, and tags.
//! * **Must stay true**: content reaches its place only complete, verified and durable, and links follow the content that
//!   they name, tags last. A root may be shared with other hod processes and with a running registry; hod's own files are in
//!   `.hod`, outside what the registry sees.
//! * **Does not**: fetch anything, or know which images belong together.
//!
//! ```text
//! ingest ──▶ .hod/partial ──▶ complete ──▶ commit: sync, blobs and links, sync, tags, sync
//! ```
//!
//! ```
//! use hod_oci::{Digest, RepositoryName, Tag};
//! use hod_store::{Links, Store, TagLink};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let store = Store::create(directory.path())?;
//! let manifest = br#"{"schemaVersion": 2}"#;
//! let digest = Digest::sha256(manifest);
//! store.add(&digest, manifest)?;
//!
//! let (name, tag): (RepositoryName, Tag) = ("library/app".parse()?, "1.0".parse()?);
//! let tags = vec![TagLink { name: tag.clone(), digest }];
//! store.commit(&[Links { revisions: vec![digest], tags, ..Links::none(name.clone()) }])?;
//! assert_eq!(Store::open(directory.path())?.tag(&name, &tag)?, Some(digest));
//! # Ok(())
//! # }
//! ```

mod commit;
mod error;
mod hashed;
mod ingest;
pub mod layout;
mod passed;
mod read;
mod referrers;
mod remove;
mod repository;
mod restore;
mod root;
mod rounds;
mod spelling;
mod staging;
mod still;
mod sweep;
mod tags_alike;
mod unchanged;
mod upload;
mod walk;
mod withdraw;
mod writers;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use fs_err as fs;

pub use error::{Result, StoreError};
pub use ingest::{Attempt, Ingest};
pub use layout::{Entry, Links, TagLink};
pub use referrers::ReferrersLock;
pub use repository::Repository;
pub use rounds::Committed;
pub use still::WriteBarrier;
pub use sweep::StoredBlob;
pub use upload::Upload;
pub use walk::{FoundEntry, FoundKind, Walk};
pub use writers::{QueuedIngest, Writers};

use hashed::HashRecord;
use hod_io::fs::Directory;
use hod_oci::{RepositoryName, Tag};
use root::Root;
use rounds::CommitRounds;
use spelling::Spelling;
use staging::Staging;

/// A registry root on disk. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    root: Root,
    hashed: HashRecord,
    writing: Option<Writing>,
    spelling: OnceLock<Spelling>,
    /// Tags that were written to a root whose file system does not tell all tags apart, by what such tags share.
    claimed: Mutex<HashMap<(RepositoryName, String), Tag>>,
}

/// What only a store that was opened for writing has.
struct Writing {
    staging: Staging,
    rounds: CommitRounds,
}

impl Store {
    /// Opens an existing root for reading. Writes nothing, so the filesystem may be read-only.
    pub fn open(root: &Path) -> Result<Self> {
        match root::absent(fs::metadata(root.join(layout::REGISTRY)))? {
            Some(metadata) if metadata.is_dir() => {
                let root = Root::new(root)?;
                // What leads out of the root is said once, and not as content that is missing.
                for folder in [layout::BLOBS, layout::REPOSITORIES] {
                    root.look(folder)?;
                }
                Ok(Self::new(root, None))
            }
            _ => Err(StoreError::NoRoot(root.to_owned())),
        }
    }

    /// Opens a root for writing, and makes it where it is missing.
    ///
    /// What other processes have left unfinished is kept to be resumed.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another process is alone with the root to delete from it.
    pub fn create(root: &Path) -> Result<Self> {
        fs::create_dir_all(root)?;
        let root = Root::hold(root)?;
        let staging = Staging::join(&root)?;
        Ok(Self::new(root, Some(Writing { staging, rounds: CommitRounds::default() })))
    }

    /// Opens an existing root to delete from it. While the value lives no other hod process can write there; a
    /// registry cannot be kept from it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process writes to the root, [`StoreError::Locked`] while one deletes.
    pub fn alone(root: &Path) -> Result<Self> {
        Self::open(root)?;
        let root = Root::hold(root)?;
        let staging = Staging::join_alone(&root)?;
        Ok(Self::new(root, Some(Writing { staging, rounds: CommitRounds::default() })))
    }

    fn new(root: Root, writing: Option<Writing>) -> Self {
        let hashed = HashRecord::of(&root, writing.is_some());
        let (spelling, claimed) = (OnceLock::new(), Mutex::default());
        Self { inner: Arc::new(Inner { root, hashed, writing, spelling, claimed }) }
    }

    /// The folder that holds `docker/registry/v2`.
    pub fn root(&self) -> &Path {
        self.inner.root.path()
    }

    /// Whether it was opened for writing.
    pub fn is_writable(&self) -> bool {
        self.inner.writing.is_some()
    }

    /// A directory of that name among hod's own files in the root, which only this user can read.
    pub fn private(&self, name: &str) -> Result<Directory> {
        Ok(self.staging()?.private(name).make_or_open(0o700)?)
    }

    fn tree(&self) -> &Root {
        &self.inner.root
    }

    fn writing(&self) -> Result<&Writing> {
        self.inner.writing.as_ref().ok_or_else(|| StoreError::ReadOnly(self.root().to_owned()))
    }

    fn staging(&self) -> Result<&Staging> {
        Ok(&self.writing()?.staging)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("root", &self.root()).finish_non_exhaustive()
    }
}
