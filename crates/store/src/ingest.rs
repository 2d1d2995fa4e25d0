//! How content comes in: a partial file that grows until it is complete, and survives a crash.
//!
//! A blob of [`LARGE`] bytes or more is made durable and put in its place by the thread that
//! completes it, so that the disk works while others still receive. Smaller ones wait for the sync
//! of the next commit, which they share.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;
use std::{io, thread};

use rustix::fs::OFlags;

use super::staging::STAGED;
use super::{Entry, Result, Staging, Store, StoreError};
use hod_engine::endpoint::{LocalFile, Placement, Prefix};
use hod_io::fs::{Child, PartialFile};
use hod_oci::Digest;

/// Blobs from this size on are synced one by one.
const LARGE: u64 = 1024 * 1024;
/// How long to wait before looking again whether another process is done.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// What became of the wish to write some content.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most attempts begin, and none is kept")]
pub enum Attempt {
    /// The store has it: nothing is to be written.
    There,
    /// Another process, or another thread of this one, is writing it.
    Busy,
    /// The caller is the one to write it.
    Begun(Ingest),
}

/// Content on its way into a store, for one writer alone.
///
/// Dropping it keeps what was written, for [`Ingest::prefix`] to find the next time.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    digest: Digest,
    size: u64,
    file: PartialFile,
}

impl Store {
    /// Whether the content is in its place, or complete and waiting for its commit, as far as that is known without
    /// reading it. [`Store::holds`] knows.
    pub fn has(&self, digest: &Digest, size: u64) -> Result<bool> {
        if self.is_staged(digest) {
            return Ok(true);
        }
        let found = self.in_place(digest)?.filter(|metadata| metadata.len() == size);
        Ok(found.is_some_and(|metadata| !self.is_damaged(digest, &metadata)))
    }

    /// Whether the content is complete and waits for its commit.
    pub(super) fn is_staged(&self, digest: &Digest) -> bool {
        self.inner.writing.as_ref().is_some_and(|writing| writing.staging.size(digest).is_some())
    }

    /// The file in the place of some content.
    pub(super) fn in_place(&self, digest: &Digest) -> Result<Option<Metadata>> {
        Ok(self.tree().look(&Entry::Data(*digest).to_string())?.filter(Metadata::is_file))
    }

    /// How many bytes of some content, which is `size` long, lie here unfinished. Whoever writes it goes on after
    /// them or takes their room; nobody has checked them.
    pub fn kept(&self, digest: &Digest, size: u64) -> Result<u64> {
        let file = |path: String| -> Result<Option<_>> { Ok(self.tree().look(&path)?.filter(Metadata::is_file)) };
        let mut kept = file(Staging::partial_below(digest))?.map_or(0, |found| found.len());
        // A process that was killed leaves more, of which the next one that writes makes partial content.
        let folders = if self.is_writable() { Vec::new() } else { self.folders(STAGED)? };
        for folder in folders {
            let own = file(Staging::staged_below(&folder, digest))?.filter(|found| found.nlink() == 1);
            kept = kept.max(own.map_or(0, |found| found.len()));
        }
        Ok(kept.min(size))
    }

    /// Begins to write some content, or to continue where an earlier run was interrupted.
    pub fn try_ingest(&self, digest: &Digest, size: u64) -> Result<Attempt> {
        let place = self.staging()?.partial(digest);
        loop {
            if self.holds(digest)? {
                return Ok(Attempt::There);
            }
            let open = |place: &Child| self.tree().open_alone(place, OFlags::RDWR | OFlags::APPEND, size);
            let file = PartialFile::lock(place.clone(), open, hod_io::fs::try_lock)?;
            let Some(file) = file else { return Ok(Attempt::Busy) };
            if !self.holds(digest)? && file.length() <= size {
                return Ok(Attempt::Begun(Ingest { store: self.clone(), digest: *digest, size, file }));
            }
            file.remove()?;
        }
    }

    /// Takes a file as content, by a hard link or a reflink; `None` where neither is possible.
    ///
    /// From here on [`Store::has`] knows it; [`Store::commit`] puts it in its place.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where its bytes are others.
    pub fn link_in(&self, digest: &Digest, size: u64, file: &LocalFile) -> Result<Option<Placement>> {
        let staging = self.staging()?;
        let metadata = file.file().metadata()?;
        if !metadata.is_file() || metadata.len() != size {
            return Ok(None);
        }
        // A link has one owner and one mode: the root's, or it is no file for the root.
        if self.tree().owns_as_is(&metadata) {
            let link = staging.upload();
            match file.link_to(&link) {
                Ok(true) => {
                    file.check(&link, digest, wrong(file)).inspect_err(|_| drop(link.remove()))?;
                    self.inner.hashed.note(digest, &metadata);
                    staging.add(&link, digest, size)?;
                    return Ok(Some(Placement::Linked));
                }
                Ok(false) => {}
                // Another filesystem, or one without links, or the kernel's rules on links to others' files.
                Err(error) => match error.kind() {
                    io::ErrorKind::CrossesDevices
                    | io::ErrorKind::TooManyLinks
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::Unsupported => {}
                    _ => return Err(error.into()),
                },
            }
        }
        self.clone_in(digest, size, file)
    }

    /// Takes a file as content by a reflink, where the filesystem can.
    fn clone_in(&self, digest: &Digest, size: u64, file: &LocalFile) -> Result<Option<Placement>> {
        let mut clone = self.own_file(size)?;
        if !clone.clone_from(file.file())? || clone.length() != size {
            return Ok(None);
        }
        file.check(clone.name(), digest, wrong(file))?;
        // Whoever is writing the same content at this moment will be done with it.
        let Attempt::Begun(mut ingest) = self.try_ingest(digest, size)? else { return Ok(None) };
        ingest.file.replace(clone)?;
        ingest.commit()?;
        Ok(Some(Placement::Cloned))
    }

    /// Begins to write some content as [`Store::try_ingest`] does, and waits while another writes it;
    /// `None` where the store has it.
    pub fn ingest(&self, digest: &Digest, size: u64) -> Result<Option<Ingest>> {
        loop {
            match self.try_ingest(digest, size)? {
                Attempt::There => return Ok(None),
                Attempt::Begun(ingest) => return Ok(Some(ingest)),
                Attempt::Busy => thread::sleep(POLL),
            }
        }
    }
}

impl Ingest {
    /// Where the bytes go for the time being.
    pub fn path(&self) -> PathBuf {
        self.file.name().path()
    }

    /// How many bytes are there.
    pub const fn written(&self) -> u64 {
        self.file.length()
    }

    /// Hashes what is there from an earlier attempt, for the caller to continue after it.
    ///
    /// Complete content with another digest is thrown away.
    pub fn prefix(&mut self) -> Result<Prefix> {
        if let Some(prefix) = Prefix::of(&self.file, &self.digest, self.size)? {
            return Ok(prefix);
        }
        self.restart()?;
        Ok(Prefix::none(self.digest.algorithm()))
    }

    /// Throws away what is there and starts with an empty file.
    pub fn restart(&mut self) -> Result<()> {
        if self.written() > 0 {
            // A new file: a partial file never shrinks, or others could not trust what they hashed of it.
            self.file.replace(self.store.own_file(self.size)?)?;
        }
        Ok(())
    }

    /// Takes a file of this filesystem instead of what is there.
    pub(super) fn replace(&mut self, file: PartialFile) -> Result<()> {
        Ok(self.file.replace(file)?)
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_chunks(&[bytes])
    }

    /// Appends chunks, without gathering them first.
    pub(super) fn write_chunks(&mut self, chunks: &[impl AsRef<[u8]>]) -> Result<()> {
        if self.size.saturating_sub(self.written()) >= LARGE {
            self.file.gather();
        }
        self.file.append_chunks(chunks).map_err(|error| self.write_error(error))
    }

    /// Writes what waits in memory.
    fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|error| self.write_error(error))
    }

    fn write_error(&self, error: io::Error) -> StoreError {
        let path = self.store.root().join(Entry::Data(self.digest).to_string());
        StoreError::write(&path, self.size.saturating_sub(self.written()), error)
    }

    /// Takes the content as complete. The caller MUST have checked its digest.
    ///
    /// From here on [`Store::has`] knows it; [`Store::commit`] makes it durable for good.
    pub fn commit(mut self) -> Result<()> {
        if self.written() != self.size {
            return Err(StoreError::Size { path: self.path(), found: self.written(), expected: self.size });
        }
        self.flush()?;
        let staging = self.store.staging()?;
        if self.size >= LARGE {
            self.file.file().sync_data()?;
        }
        self.store.inner.hashed.note(&self.digest, &self.file.file().metadata()?);
        if self.size < LARGE {
            staging.add(self.file.name(), &self.digest, self.size)?;
        } else {
            self.store.tree().place(self.file.name(), &Entry::Data(self.digest).to_string())?;
            staging.touch();
        }
        self.file.leave();
        Ok(())
    }

    /// Throws away what is there.
    pub fn discard(self) -> Result<()> {
        Ok(self.file.remove()?)
    }

    /// Lets others write while the caller is looking for the rest of the bytes.
    pub(super) fn park(&mut self) -> Result<()> {
        Ok(self.file.unlock()?)
    }

    /// Takes up where [`Ingest::park`] left off; says whether nobody else is writing.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] where the file is no longer what it was.
    pub(super) fn resume(&mut self) -> Result<bool> {
        if !self.file.relock()? {
            return Ok(false);
        }
        if self.file.is_unchanged()? { Ok(true) } else { Err(StoreError::Overtaken(self.digest)) }
    }
}

/// The error for a file that has other bytes than the content.
fn wrong(file: &LocalFile) -> impl FnOnce(Digest) -> StoreError {
    |found| StoreError::Corrupt { path: file.path().to_owned(), found }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn a_file_that_begins_anew_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) = (Store::create(folder.path()).unwrap(), Store::create(folder.path()).unwrap());
        let digest = Digest::sha256(b"bricks");
        let begin = |store: &Store| store.try_ingest(&digest, 6).unwrap();
        let Attempt::Begun(mut interrupted) = begin(&store) else { panic!() };
        interrupted.write(b"bri").unwrap();
        drop(interrupted);
        let Attempt::Begun(mut ingest) = begin(&store) else { panic!() };
        hod_io::fs::pause::with(move || {
            if let Attempt::Begun(mut ingest) = other.try_ingest(&digest, 6).unwrap() {
                ingest.write(b"bricks").unwrap();
                ingest.commit().unwrap();
                other.finish().unwrap();
            }
        });
        ingest.restart().unwrap();
        ingest.write(b"bricks").unwrap();
        ingest.commit().unwrap();
        store.finish().unwrap();
        assert_eq!(fs::read(Entry::Data(digest).under(folder.path())).unwrap(), b"bricks");
    }

    /// Two ways lead to content: it is fetched, and linked from another place.
    #[test]
    fn content_that_comes_twice_waits_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("root")).unwrap();
        let (digest, file) = (Digest::sha256(b"bricks"), folder.path().join("file"));
        fs::write(&file, "bricks").unwrap();
        let link = || {
            let file = LocalFile::new(hod_io::fs::open_plain(&file).unwrap());
            store.link_in(&digest, 6, &file).unwrap()
        };
        let Attempt::Begun(mut ingest) = store.try_ingest(&digest, 6).unwrap() else { panic!() };
        ingest.write(b"bricks").unwrap();
        assert_eq!(link(), Some(Placement::Linked));
        ingest.commit().unwrap();
        assert_eq!(link(), Some(Placement::Linked));
        store.finish().unwrap();
        let data = Entry::Data(digest).under(store.root());
        assert_eq!(fs::metadata(&data).unwrap().ino(), fs::metadata(&file).unwrap().ino());
        store.finish().unwrap();
        let staged = store.root().join(".hod/staged/0");
        assert_eq!(fs::read_dir(staged).unwrap().count(), 0);
    }

    #[test]
    fn many_bring_the_same_content_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        for number in 0..30_u8 {
            let (bytes, digest) = ([number], Digest::sha256(&[number]));
            let bring = || {
                if let Some(mut ingest) = store.ingest(&digest, 1).unwrap() {
                    ingest.restart().unwrap();
                    ingest.write(&bytes).unwrap();
                    ingest.commit().unwrap();
                }
                store.finish().unwrap();
                assert!(Entry::Data(digest).under(folder.path()).exists(), "{number}");
            };
            thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(bring))));
        }
    }
}
