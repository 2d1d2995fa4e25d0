//! `dir:` — one image as loose files, as the containers tools write it.
//!
//! ```text
//! version                  "Directory Transport Version: 1.1\n" (1.2 with digests that are not SHA-256)
//! manifest.json            the root manifest, verbatim
//! <hex>.manifest.json      its children, where it is an index
//! <hex>                    configs and layers; <algorithm>-<hex> where that is not SHA-256
//! signature-1              signatures of the root; <hex>.signature-1 those of a child
//! ```
//!
//! `manifest.json` comes last and is what makes the directory an image. Where another image was before,
//! it stays whole until then, and what only it needed is removed afterwards.

mod names;
mod signatures;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use fs_err as fs;
use rustix::fs::FileType;

use self::names::blob_name;
use super::TransportError;
use super::archive::read_small;
use super::files::{blocking, described, file_size, has, holds, is_there, local_file, open_file};
use super::landing::{PartialFiles, name_on_its_way};
use super::scaffold::{Made, Scaffolds};
use hod_engine::endpoint::{
    BlobReader, FirstFormat, LocalFile, Place, Placement, Prefix, Result, Sink, Source, Verified,
};
use hod_io::fs::Directory;
use hod_oci::{Algorithm, Descriptor, Digest, Graph, Manifest, MediaType, Schema1, Tag, Version};

const VERSION: &str = "Directory Transport Version: 1.1\n";
const VERSION_OTHER_DIGESTS: &str = "Directory Transport Version: 1.2\n";
/// How much of `version` is looked at, and shown where it is another.
const VERSION_HEAD: u64 = 60;

/// An image directory to read from.
#[derive(Debug)]
pub struct DirSource {
    path: PathBuf,
    place: Place,
    root: Digest,
}

/// An image directory to write to.
#[derive(Debug)]
pub struct DirSink {
    path: PathBuf,
    place: Place,
    landings: PartialFiles,
    /// The names of the files that the image needs.
    needed: Mutex<BTreeSet<String>>,
    /// Locked, so that nobody takes the directory away while it is empty.
    _held: fs::File,
    /// Dropped after the lock: the directory may go with it.
    _scaffolds: Option<Scaffolds>,
}

fn file_name(content: &Descriptor) -> String {
    let name = blob_name(&content.digest);
    if content.media_type.is_manifest() { format!("{name}.manifest.json") } else { name }
}

impl DirSource {
    /// Opens a directory that holds an image. One without `version` is taken as well, since scripts write such.
    pub fn open(path: &Path) -> super::Result<Self> {
        check_version(path)?;
        let root = match read_small(&path.join("manifest.json")) {
            Err(TransportError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Err(TransportError::NoImageDirectory(path.to_owned()));
            }
            bytes => Digest::sha256(&bytes?),
        };
        let place = Place::local(&path.display().to_string(), None);
        Ok(Self { path: path.to_owned(), place, root })
    }

    /// The digest of the image's root.
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// The file that holds some content. Before 2017 the names of blobs ended in `.tar`.
    pub fn path_of(&self, content: &Descriptor) -> PathBuf {
        if content.digest == self.root {
            return self.path.join("manifest.json");
        }
        let path = self.path.join(file_name(content));
        let old = path.with_extension("tar");
        if !path.exists() && !content.media_type.is_manifest() && old.exists() { old } else { path }
    }
}

/// Refuses a directory whose `version` is one that is not understood.
fn check_version(path: &Path) -> super::Result<()> {
    let found = match hod_io::fs::read_head(&path.join("version"), VERSION_HEAD) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if is_version(&found) {
        return Ok(());
    }
    let found = String::from_utf8_lossy(&found).trim().to_owned();
    Err(TransportError::DirectoryVersion { path: path.to_owned(), found })
}

/// Refuses a folder with any file in it, but for what an interrupted run may have left.
fn refuse_foreign(path: &Path) -> super::Result<()> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with('.') && name.ends_with(".tmp")) {
            return Err(TransportError::Foreign(path.to_owned()));
        }
    }
    Ok(())
}

fn is_version(bytes: &[u8]) -> bool {
    bytes.starts_with(b"Directory Transport Version: 1.")
}

#[async_trait]
impl Source for DirSource {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn manifest(&self, version: &Version) -> Result<(Descriptor, Bytes)> {
        let unknown = |image: String| TransportError::Unknown { path: self.path.clone(), image, images: Vec::new() };
        let Version::Digest(digest) = *version else { return Err(unknown(version.to_string()).into()) };
        let content = Descriptor::new(MediaType::OciManifest, digest, 0);
        let path = self.path_of(&content);
        let absent = unknown(digest.to_string());
        blocking(move || match read_small(&path) {
            Err(TransportError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Err(absent),
            Ok(bytes) => described(path, digest, bytes),
            Err(error) => Err(error),
        })
        .await
    }

    async fn open(&self, content: &Descriptor, offset: u64) -> Result<BlobReader> {
        open_file(&self.path, self.path_of(content), content, offset).await
    }

    async fn size(&self, content: &Descriptor) -> Result<Option<u64>> {
        file_size(self.path_of(content)).await
    }

    async fn signatures(&self, manifest: &Digest) -> Result<Vec<Bytes>> {
        let (path, child) = (self.path.clone(), (*manifest != self.root).then_some(*manifest));
        blocking(move || signatures::read(&path, child.as_ref())).await
    }

    async fn first_format(&self, version: &Version) -> Result<Option<FirstFormat>> {
        let path = self.path.join("manifest.json");
        let bytes = blocking(move || read_small(&path)).await?;
        if !Schema1::is(&bytes) || *version != Version::Digest(self.root) {
            return Ok(None);
        }
        let path = self.path.join("manifest.json");
        let manifest = Schema1::parse(&bytes).map_err(|source| TransportError::Manifest { path, source })?;
        let mut sizes = HashMap::new();
        for layer in manifest.layers.iter().filter(|layer| !layer.is_empty) {
            let content = Descriptor::new(MediaType::parse("application/octet-stream"), layer.blob, 0);
            sizes.insert(layer.blob, fs::metadata(self.path_of(&content))?.len());
        }
        Ok(Some(FirstFormat { bytes, manifest, sizes }))
    }

    async fn file(&self, content: &Descriptor) -> Result<Option<LocalFile>> {
        local_file(self.path_of(content)).await
    }
}

impl DirSink {
    /// Makes a directory for an image, or takes one that is empty or holds an image already.
    pub fn open(path: &Path) -> super::Result<Self> {
        Self::make(path, &mut Made::at(path))
    }

    /// The same, which notes what was made.
    pub(super) fn make(path: &Path, made: &mut Made) -> super::Result<Self> {
        // Not every filesystem has locks. Without one, the worst that can come is a write that fails.
        let held = made.hold(|folder| folder.lock_shared().or(Ok(())))?;
        let is_ours = || match hod_io::fs::read_head(&path.join("version"), VERSION_HEAD) {
            Ok(version) => Ok(is_version(&version)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        };
        if !is_ours()? {
            match refuse_foreign(path) {
                // Another image that comes here has made it ours since.
                Err(TransportError::Foreign(_)) if is_ours()? => {}
                // Before anything else, so that a run that was interrupted can be taken up again.
                Ok(()) => made.file(&path.join("version"), VERSION.as_bytes())?,
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            path: path.to_owned(),
            place: Place::local(&path.display().to_string(), None),
            landings: PartialFiles::new(path)?,
            needed: Mutex::default(),
            _held: held,
            _scaffolds: None,
        })
    }

    /// The same, one of several that were opened together.
    pub(super) fn within(self, scaffolds: &Scaffolds) -> Self {
        Self { _scaffolds: Some(scaffolds.clone()), ..self }
    }

    /// The file of some content.
    pub(super) fn path_of(&self, content: &Descriptor) -> PathBuf {
        self.path.join(file_name(content))
    }

    fn need(&self, content: &Descriptor) {
        self.needed.lock().unwrap_or_else(PoisonError::into_inner).insert(file_name(content));
    }

    /// Whether the files of all blobs that a manifest names are there.
    fn check(&self, digest: Digest, manifest: &Manifest) -> super::Result<()> {
        for blob in manifest.blobs().filter(|blob| !blob.media_type.is_foreign_layer()) {
            if !is_there(&self.path.join(file_name(blob)))? {
                let (path, manifest) = (self.path.clone(), Box::new(digest));
                return Err(TransportError::Incomplete { path, manifest, digest: blob.digest });
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for DirSink {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn published(&self, graph: &Graph, _: &[Tag]) -> Result<bool> {
        let manifests = graph.manifests();
        let (root, children) = match manifests.split_last() {
            Some((root, children)) => (&root.descriptor, children),
            None => return Ok(false),
        };
        let children = children.iter().map(|node| &node.descriptor);
        let files: Vec<(PathBuf, u64)> =
            graph.blobs().into_iter().chain(children).map(|it| (self.path.join(file_name(it)), it.size)).collect();
        let (path, expected) = (self.path.join("manifest.json"), root.digest);
        let landings = self.landings.clone();
        blocking(move || {
            let found = match read_small(&path) {
                Err(TransportError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                found => Digest::of(expected.algorithm(), &found?),
            };
            for (file, size) in &files {
                if !has(file, *size)? {
                    return Ok(false);
                }
            }
            if found == expected {
                // A run that was killed when it had published the image. What cannot be removed harms nobody.
                let _ = landings.tidy(is_left);
            }
            Ok(found == expected)
        })
        .await
    }

    fn holds_foreign_layers(&self) -> bool {
        true
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        let found = holds(content, self.path.join(file_name(content))).await?;
        if found {
            self.need(content);
        }
        Ok(found)
    }

    async fn link(&self, content: &Descriptor, file: LocalFile) -> Result<Option<Placement>> {
        let placed = self.landings.link(content, file, &self.path.join(file_name(content))).await?;
        if placed.is_some() {
            self.need(content);
        }
        Ok(placed)
    }

    async fn prefix(&self, content: &Descriptor) -> Result<Prefix> {
        self.landings.prefix(content).await
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placement> {
        let path = self.path.join(file_name(content));
        if content.media_type.is_manifest() {
            let bytes = body.collect().await?;
            let manifest = Manifest::parse(&content.media_type, &bytes)
                .map_err(|source| TransportError::Manifest { path: path.clone(), source })?;
            self.check(content.digest, &manifest)?;
            blocking(move || Ok(hod_io::fs::write_atomically(&path, &bytes)?)).await?;
        } else {
            self.landings.receive(content, &path, body).await?;
        }
        self.need(content);
        Ok(Placement::Written)
    }

    async fn publish(&self, root: &Descriptor, bytes: Bytes, _: &[Tag]) -> Result<()> {
        let path = self.path.join("manifest.json");
        let (_, bytes) = described(path.clone(), root.digest, bytes)?;
        let manifest = Manifest::parse(&root.media_type, &bytes)
            .map_err(|source| TransportError::Manifest { path: path.clone(), source })?;
        self.check(root.digest, &manifest)?;
        let needed = std::mem::take(&mut *self.needed.lock().unwrap_or_else(PoisonError::into_inner));
        let (folder, landings) = (self.path.clone(), self.landings.clone());
        blocking(move || {
            let other = needed.iter().any(|name| name.contains('-'));
            if other {
                hod_io::fs::write_atomically(&folder.join("version"), VERSION_OTHER_DIGESTS.as_bytes())?;
            }
            hod_io::fs::sync_directory(&folder)?;
            hod_io::fs::write_atomically(&path, &bytes)?;
            landings.tidy(is_left)?;
            Ok(tidy(landings.folder(), &needed)?)
        })
        .await
    }

    async fn keep_signatures(&self, manifest: &Digest, is_root: bool, signatures: &[Bytes]) -> Result<bool> {
        let (path, child, signatures) = (self.path.clone(), (!is_root).then_some(*manifest), signatures.to_vec());
        blocking(move || Ok(signatures::write(&path, child.as_ref(), &signatures)?)).await?;
        Ok(true)
    }
}

/// Removes the files of an image that was here before, and nothing that no image directory has.
fn tidy(folder: &Directory, needed: &BTreeSet<String>) -> io::Result<()> {
    for (name, kind) in folder.entries()? {
        let is_old = name
            .to_str()
            .is_some_and(|name| (is_content(name) && !needed.contains(name)) || name.starts_with("signature-"));
        if is_old && kind == FileType::RegularFile {
            folder.child(name).remove()?;
        }
    }
    Ok(())
}

/// Whether a file of that name is, or belongs to, some content.
fn is_content(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let (algorithm, hex) = stem.split_once('-').unwrap_or(("sha256", stem));
    Algorithm::from_name(algorithm).is_some_and(|algorithm| Digest::from_parts(algorithm, hex).is_ok())
}

/// Whether a file of that name is what a killed run may have left of a file of an image directory.
fn is_left(name: &str) -> bool {
    name_on_its_way(name).is_some_and(|name| {
        is_content(name) || ["version", "manifest.json", "signature-"].iter().any(|own| name.starts_with(own))
    })
}

impl Scaffolds {
    /// An image directory to write to, see [`DirSink::open`].
    pub fn dir(&self, path: &Path) -> super::Result<DirSink> {
        let mut made = Made::at(path);
        let sink = DirSink::make(path, &mut made);
        self.note(made);
        Ok(sink?.within(self))
    }
}
