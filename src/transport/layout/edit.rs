//! Changing a layout without moving content: names, removal, and what nothing refers to.

use std::collections::HashSet;
use std::fs::TryLockError;
use std::io;

use fs_err as fs;

use super::Layout;
use crate::oci::{Algorithm, Digest, Manifest, MediaType};
use crate::transport::{LayoutImage, TransportError};

/// What was removed from a layout, or would be.
#[derive(Debug, Clone, Default)]
pub struct Swept {
    /// The blobs, with their lengths.
    pub blobs: Vec<(Digest, u64)>,
    /// What interrupted runs have left: files and bytes.
    pub unfinished: (usize, u64),
    /// Whether nobody else could write meanwhile, which only a dry run does without.
    pub alone: bool,
}

/// What images need. One digest may be a manifest here and a layer there; only as a manifest has it something below it.
#[derive(Default)]
struct Kept {
    manifests: HashSet<Digest>,
    blobs: HashSet<Digest>,
}

impl Kept {
    fn contains(&self, digest: &Digest) -> bool {
        self.manifests.contains(digest) || self.blobs.contains(digest)
    }
}

impl Layout {
    /// Gives an image one more name, which stands for nothing else afterwards.
    pub fn tag(&self, image: &LayoutImage, name: &str) -> super::super::Result<Digest> {
        self.update(|index| {
            let found = index.find(self.path(), Some(image))?;
            index.add_name(&found, name);
            Ok(found.digest)
        })
    }

    /// Removes a name, or a nameless image by its position; blobs stay until [`Layout::sweep`].
    pub fn untag(&self, image: Option<&LayoutImage>) -> super::super::Result<Digest> {
        self.update(|index| {
            let found = index.find(self.path(), image)?;
            match image {
                Some(LayoutImage::Name(name)) => {
                    index.remove(name);
                }
                _ => index.remove_digest(&found.digest),
            }
            Ok(found.digest)
        })
    }

    /// Removes the blobs that no image of the index needs.
    ///
    /// What manifests name is kept though it may be absent; so is a referrer of what is kept. A blob that may be a
    /// manifest and cannot be read ends it before anything is removed. A dry run writes nothing, and does without the
    /// locks where it cannot have them.
    pub fn sweep(&self, dry_run: bool) -> super::super::Result<Swept> {
        let blobs = fs::File::open(self.path().join("blobs"))?;
        let mut swept = Swept::default();
        match blobs.try_lock() {
            Ok(()) => swept.alone = true,
            Err(_) if dry_run => {}
            Err(TryLockError::WouldBlock) => return Err(TransportError::InUse(self.path().to_owned())),
            Err(TryLockError::Error(error)) => return Err(crate::fs::with_path(blobs.path(), &error).into()),
        }
        let lock = fs::File::open(self.path().join("oci-layout"))?;
        if dry_run {
            swept.alone &= lock.try_lock().is_ok();
        } else {
            lock.lock()?;
        }
        let present = self.present()?;
        let mut kept = Kept::default();
        for (_, image) in self.index()?.images() {
            self.keep(image.digest, &mut kept)?;
        }
        self.keep_referrers(&present, &mut kept)?;
        for (digest, size) in present {
            if !kept.contains(&digest) {
                if !dry_run {
                    fs::remove_file(self.blob(&digest))?;
                }
                swept.blobs.push((digest, size));
            }
        }
        for entry in fs::read_dir(blobs.path())? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(".partial")) {
                swept.unfinished = (swept.unfinished.0 + 1, swept.unfinished.1 + entry.metadata()?.len());
                if !dry_run {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(swept)
    }

    /// Whether there is an image of that name.
    pub fn has(&self, image: Option<&LayoutImage>) -> super::super::Result<bool> {
        match self.find(image) {
            Ok(_) => Ok(true),
            Err(TransportError::Unknown { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Every blob that is there, with its length.
    fn present(&self) -> super::super::Result<Vec<(Digest, u64)>> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            let folder = self.path().join("blobs").join(algorithm.name());
            let entries = match fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let digest = name.to_str().and_then(|hex| Digest::from_parts(algorithm, hex).ok());
                if let Some(digest) = digest {
                    found.push((digest, entry.metadata()?.len()));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Keeps a manifest and all below it, however deep indexes lie in each other.
    fn keep(&self, root: Digest, kept: &mut Kept) -> super::super::Result<()> {
        let mut open = vec![root];
        while let Some(digest) = open.pop() {
            if !kept.manifests.insert(digest) {
                continue;
            }
            let bytes = match self.manifest(&digest) {
                Ok((_, bytes)) => bytes,
                Err(TransportError::Absent { .. }) => continue,
                Err(error) => return Err(error),
            };
            let manifest = Manifest::parse(&MediaType::parse(""), &bytes)
                .map_err(|source| TransportError::Manifest { path: self.blob(&digest), source })?;
            open.extend(manifest.children().iter().map(|child| child.digest));
            kept.blobs.extend(manifest.blobs().map(|blob| blob.digest));
        }
        Ok(())
    }

    /// Keeps the manifests whose subject is kept, and what they name, until there are no more.
    fn keep_referrers(&self, present: &[(Digest, u64)], kept: &mut Kept) -> super::super::Result<()> {
        loop {
            let before = kept.manifests.len();
            for (digest, size) in present.iter().filter(|(_, size)| *size <= crate::oci::MANIFEST_LIMIT) {
                if kept.contains(digest) || *size < 2 {
                    continue;
                }
                let bytes = match self.manifest(digest) {
                    Ok((_, bytes)) => bytes,
                    // A config or layer, or bytes that nobody takes for what their name says.
                    Err(
                        TransportError::Absent { .. }
                        | TransportError::Corrupt { .. }
                        | TransportError::Manifest { .. },
                    ) => continue,
                    // It may be a signature of what is kept.
                    Err(error) => return Err(error),
                };
                let subject = Manifest::parse(&MediaType::parse(""), &bytes).ok().and_then(|manifest| manifest.subject);
                if subject.is_some_and(|subject| kept.contains(&subject.digest)) {
                    self.keep(*digest, kept)?;
                }
            }
            if kept.manifests.len() == before {
                return Ok(());
            }
        }
    }
}
