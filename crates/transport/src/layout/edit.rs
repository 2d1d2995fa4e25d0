//! Changing a layout without moving content: names, removal, and what nothing refers to.

use std::collections::HashSet;
use std::io;

use fs_err as fs;
use rustix::fs::FileType;

use super::Layout;
use crate::landing::name_on_its_way;
use crate::{LayoutImage, TransportError};
use hod_io::fs::{Child, Directory, Removal};
use hod_oci::{Algorithm, Digest, Manifest, MediaType};

/// What was removed from a layout, or would be.
#[derive(Debug, Clone, Default)]
pub struct SweepReceipt {
    /// The blobs, with their lengths.
    pub blobs: Vec<(Digest, u64)>,
    /// What interrupted runs have left: files and bytes.
    pub unfinished: (usize, u64),
    /// Whether nobody else could write meanwhile, which only a dry run does without.
    pub alone: bool,
}

/// The names that a removal takes.
const REMOVED: &str = ".hod-removed";

/// What an image is called in the note of a removal.
fn noted_as(image: Option<&LayoutImage>) -> String {
    image.map_or_else(|| "the only image".to_owned(), ToString::to_string)
}

/// What images need. One digest may be a manifest here and a layer there; only as a manifest has it something below it.
#[derive(Default)]
struct NeededContent {
    manifests: HashSet<Digest>,
    blobs: HashSet<Digest>,
}

impl NeededContent {
    fn contains(&self, digest: &Digest) -> bool {
        self.manifests.contains(digest) || self.blobs.contains(digest)
    }
}

/// A blob that is there.
struct Present {
    digest: Digest,
    size: u64,
    file: Child,
}

/// A file that an interrupted run has left.
struct Left {
    size: u64,
    file: Child,
}

/// A directory of a layout, if it is there.
///
/// # Errors
/// Where it is a link: what is deleted would lie outside the layout, where somebody else may need it.
fn inside(place: &Child) -> super::super::Result<Option<Directory>> {
    match place.stat() {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            Err(TransportError::LinkInLayout(place.path()))
        }
        Ok(_) => Ok(Some(place.directory()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Every blob that is there, sorted, and the files that interrupted runs have left, with their lengths.
fn present(blobs: &Directory) -> super::super::Result<(Vec<Present>, Vec<Left>)> {
    let (mut found, mut left) = (Vec::new(), Vec::new());
    let mut look = |folder: &Directory, algorithm: Option<Algorithm>| -> io::Result<()> {
        for (name, _) in folder.entries()? {
            let Some(name) = name.to_str() else { continue };
            let digest = algorithm.and_then(|algorithm| Digest::from_parts(algorithm, name).ok());
            let is_left = name_on_its_way(name).is_some();
            if digest.is_none() && !is_left {
                continue;
            }
            let file = folder.child(name);
            let size = u64::try_from(file.stat()?.st_size).unwrap_or_default();
            match digest {
                Some(digest) => found.push(Present { digest, size, file }),
                None => left.push(Left { size, file }),
            }
        }
        Ok(())
    };
    look(blobs, None)?;
    for algorithm in Algorithm::ALL {
        if let Some(folder) = inside(&blobs.child(algorithm.name()))? {
            look(&folder, Some(algorithm))?;
        }
    }
    found.sort_by_key(|blob| blob.digest);
    Ok((found, left))
}

/// What becomes of blobs that nothing needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepMode {
    /// They are counted.
    DryRun,
    /// They are removed.
    Remove,
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

    /// The note of a removal, with the names that one was to take that was killed.
    pub fn removal(&self) -> super::super::Result<Removal> {
        Ok(Removal::open(Directory::open(self.path())?.child(REMOVED))?)
    }

    /// Whether a removal that was killed was to take this image.
    pub fn was_to_go(image: Option<&LayoutImage>, removal: &Removal) -> bool {
        let name = noted_as(image);
        removal.has(&name) || removal.after(&format!("{name} ")).is_some()
    }

    /// Removes names, or a nameless image by its position, all at once; blobs stay until [`Layout::sweep`]. Gives what
    /// each stood for, but for those that a removal has taken that was killed.
    ///
    /// The removal MUST be ended when nothing else belongs to it.
    pub fn untag(
        &self,
        images: &[Option<LayoutImage>],
        removal: &Removal,
    ) -> super::super::Result<Vec<Option<Digest>>> {
        let index = self.index()?;
        let (mut meant, mut lines) = (Vec::new(), Vec::new());
        for image in images {
            let name = noted_as(image.as_ref());
            if let Some(LayoutImage::Position(_)) = image {
                // What is at a position afterwards is another image: the one that was there has to go.
                let noted = removal.after(&format!("{name} ")).and_then(|noted| noted.parse().ok());
                let digest = noted
                    .map_or_else(|| Ok(index.find(self.path(), image.as_ref())?.digest), Ok::<_, TransportError>)?;
                lines.push(format!("{name} {digest}"));
                meant.push(Some(LayoutImage::Digest(digest)));
                continue;
            }
            match index.find(self.path(), image.as_ref()) {
                Err(TransportError::Unknown { .. }) if removal.has(&name) => {}
                found => drop(found?),
            }
            lines.push(name);
            meant.push(image.clone());
        }
        removal.note(lines)?;
        self.update(|index| {
            let take = |image: &Option<LayoutImage>| {
                let found = match index.find(self.path(), image.as_ref()) {
                    // It is gone, or it was named twice.
                    Err(TransportError::Unknown { .. }) => return Ok(None),
                    found => found?.digest,
                };
                match image {
                    Some(LayoutImage::Name(name)) => drop(index.remove(name)),
                    _ => index.remove_digest(&found),
                }
                Ok(Some(found))
            };
            meant.iter().map(take).collect()
        })
    }

    /// Removes the blobs that no image of the index needs.
    ///
    /// What manifests name is kept though it may be absent; so is a referrer of what is kept. A blob that may be a
    /// manifest and cannot be read ends it before anything is removed. A dry run writes nothing, and does without the
    /// locks where it cannot have them.
    pub fn sweep(&self, mode: SweepMode) -> super::super::Result<SweepReceipt> {
        let folder = inside(&Directory::open(self.path())?.child("blobs"))?;
        let folder = folder.ok_or_else(|| TransportError::NoLayout(self.path().to_owned()))?;
        let blobs = folder.file()?;
        let mut swept = SweepReceipt::default();
        match hod_io::fs::try_lock(&blobs) {
            Ok(true) => swept.alone = true,
            _ if mode == SweepMode::DryRun => {}
            Ok(false) => return Err(TransportError::InUse(self.path().to_owned())),
            Err(error) => return Err(error.into()),
        }
        let lock = fs::File::open(self.path().join("oci-layout"))?;
        if mode == SweepMode::DryRun {
            swept.alone &= hod_io::fs::try_lock(&lock).unwrap_or_default();
        } else {
            hod_io::fs::lock(&lock)?;
        }
        let (present, left) = present(&folder)?;
        let mut kept = NeededContent::default();
        for (_, image) in self.index()?.images() {
            self.keep(image.digest, &mut kept)?;
        }
        let sizes: Vec<(Digest, u64)> = present.iter().map(|blob| (blob.digest, blob.size)).collect();
        self.keep_referrers(&sizes, &mut kept)?;
        for blob in present {
            if !kept.contains(&blob.digest) {
                if mode == SweepMode::Remove {
                    blob.file.remove()?;
                }
                swept.blobs.push((blob.digest, blob.size));
            }
        }
        for left in left {
            swept.unfinished = (swept.unfinished.0 + 1, swept.unfinished.1 + left.size);
            if mode == SweepMode::Remove {
                left.file.remove()?;
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

    /// Keeps a manifest and all below it, however deep indexes lie in each other.
    fn keep(&self, root: Digest, kept: &mut NeededContent) -> super::super::Result<()> {
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
    fn keep_referrers(&self, present: &[(Digest, u64)], kept: &mut NeededContent) -> super::super::Result<()> {
        loop {
            let before = kept.manifests.len();
            for (digest, size) in present.iter().filter(|(_, size)| *size <= hod_oci::MANIFEST_LIMIT) {
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
