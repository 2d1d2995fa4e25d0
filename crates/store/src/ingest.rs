//! How content comes in: a partial file that grows until it is complete, and survives a crash.
//!
//! A blob of [`LARGE`] bytes or more is made durable and put in its place by the thread that
//! completes it, so that the disk works while others still receive. Smaller ones wait for the sync
//! of the next commit, which they share.

use std::fs::Metadata;
use std::io::IoSlice;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;
use std::{io, thread};

use bytes::Bytes;
use fs_err as fs;
use rustix::fs::OFlags;

use super::staging::STAGED;
use super::{Entry, Result, Staging, Store, StoreError};
use hod_engine::endpoint::{LocalFile, Placed, Prefix};
use hod_io::fs::{ALIGNMENT, Appender, Child, from_start};
use hod_oci::{Digest, Hasher};

/// Blobs from this size on are synced one by one.
const LARGE: u64 = 1024 * 1024;
/// How long to wait before looking again whether another process is done.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// What became of the wish to write some content.
#[derive(Debug)]
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
    place: Child,
    file: Appender,
    length: u64,
    /// Whether the partial file is no longer this value's business.
    done: bool,
}

/// An ingest that has let go of its lock, and knows what it had.
#[derive(Debug)]
pub(super) struct Parked {
    ingest: Ingest,
}

impl Store {
    /// Whether the content is in its place, or complete and waiting for its commit, as far as that is known without
    /// reading it. [`Store::holds`] knows.
    pub fn has(&self, digest: &Digest, size: u64) -> Result<bool> {
        if self.is_staged(digest, size) {
            return Ok(true);
        }
        Ok(self.in_place(digest, size)?.is_some_and(|metadata| !self.is_damaged(digest, &metadata)))
    }

    /// Whether the content is complete and waits for its commit.
    pub(super) fn is_staged(&self, digest: &Digest, size: u64) -> bool {
        self.inner.writing.as_ref().is_some_and(|writing| writing.staging.size(digest) == Some(size))
    }

    /// The file in the place of some content, if it has the right length.
    pub(super) fn in_place(&self, digest: &Digest, size: u64) -> Result<Option<Metadata>> {
        let found = self.tree().look(&Entry::Data(*digest).to_string())?;
        Ok(found.filter(|metadata| metadata.is_file() && metadata.len() == size))
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
        let staging = self.staging()?;
        let place = staging.partial(digest);
        loop {
            if self.holds(digest, size)? {
                return Ok(Attempt::There);
            }
            let Some(mut ingest) = Ingest::open(self, digest, size, place.clone())? else { return Ok(Attempt::Busy) };
            if self.holds(digest, size)? || ingest.length > size {
                ingest.remove()?;
                continue;
            }
            ingest.done = false;
            return Ok(Attempt::Begun(ingest));
        }
    }

    /// Takes a file as content, by a hard link or a reflink; `None` where neither is possible.
    ///
    /// From here on [`Store::has`] knows it; [`Store::commit`] puts it in its place.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where its bytes are others.
    pub fn link_in(&self, digest: &Digest, size: u64, file: &LocalFile) -> Result<Option<Placed>> {
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
                    check(file, &link, digest).inspect_err(|_| drop(link.remove()))?;
                    self.inner.hashed.note(digest, &metadata);
                    staging.add(&link, digest, size)?;
                    return Ok(Some(Placed::Linked));
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
    fn clone_in(&self, digest: &Digest, size: u64, file: &LocalFile) -> Result<Option<Placed>> {
        let place = self.staging()?.upload();
        let clone = self.tree().create_new(&place, OFlags::RDWR, size)?;
        let take = || {
            if !hod_io::fs::clone_file(file.file(), &clone)? || clone.metadata()?.len() != size {
                return Ok(None);
            }
            check(file, &place, digest)?;
            // Whoever is writing the same content at this moment will be done with it.
            let Attempt::Begun(mut ingest) = self.try_ingest(digest, size)? else { return Ok(None) };
            ingest.replace(clone, &place, size)?;
            ingest.commit()?;
            Ok(Some(Placed::Cloned))
        };
        let taken = take();
        if !matches!(taken, Ok(Some(_))) {
            let _ = place.remove();
        }
        taken
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
    /// Opens the partial file with its lock, if that is free.
    fn open(store: &Store, digest: &Digest, size: u64, place: Child) -> Result<Option<Self>> {
        let open = || store.tree().open_alone(&place, OFlags::RDWR | OFlags::APPEND, size);
        let Some((file, length)) = place.lock(open, hod_io::fs::try_lock)? else { return Ok(None) };
        let file = Appender::new(file);
        // Whoever asked may not want it yet.
        Ok(Some(Self { store: store.clone(), digest: *digest, size, place, file, length, done: true }))
    }

    fn remove(&mut self) -> Result<()> {
        self.done = true;
        Ok(self.place.remove()?)
    }

    /// Where the bytes go for the time being.
    pub fn path(&self) -> PathBuf {
        self.place.path()
    }

    /// How many bytes are there.
    pub const fn written(&self) -> u64 {
        self.length
    }

    /// Hashes what is there from an earlier attempt, for the caller to continue after it.
    ///
    /// Complete content with another digest is thrown away.
    pub fn prefix(&mut self) -> Result<Prefix> {
        let mut hasher = Hasher::new(self.digest.algorithm());
        if self.length == 0 {
            return Ok(Prefix::new(0, hasher));
        }
        hasher.read(from_start(self.file.file()))?;
        if self.length == self.size && hasher.clone().finish() != self.digest {
            self.restart()?;
            return Ok(Prefix::none(self.digest.algorithm()));
        }
        Ok(Prefix::new(self.length, hasher))
    }

    /// Throws away what is there and starts with an empty file.
    pub fn restart(&mut self) -> Result<()> {
        if self.length == 0 {
            return Ok(());
        }
        // A new file: a partial file never shrinks, or others could not trust what they hashed of it. It takes the place
        // of the old one with its lock, so there is no moment at which somebody else could have it.
        let (place, file) = self.store.own_file(self.size)?;
        self.replace(file, &place, 0)
    }

    /// Takes a file of this filesystem instead of what is there; `length` is that of the file.
    pub(super) fn replace(&mut self, file: fs::File, from: &Child, length: u64) -> Result<()> {
        // Locked before others can find it, as every partial file is that somebody writes to.
        file.try_lock().map_err(|_| StoreError::Overtaken(self.digest))?;
        from.rename(&self.place)?;
        self.file = Appender::new(file);
        self.length = length;
        Ok(())
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_slices(&mut [IoSlice::new(bytes)])
    }

    /// Appends chunks, without gathering them first.
    pub(super) fn write_chunks(&mut self, chunks: &[Bytes]) -> Result<()> {
        let mut slices: Vec<_> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        self.write_slices(&mut slices)
    }

    fn write_slices(&mut self, slices: &mut [IoSlice<'_>]) -> Result<()> {
        let left = self.size.saturating_sub(self.length);
        if left >= LARGE && self.length.is_multiple_of(ALIGNMENT as u64) && !self.file.is_gathering() {
            self.file.gather(&self.store.staging()?.blocks);
        }
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        self.file.append(slices).map_err(|error| self.write_error(error))?;
        self.length += length as u64;
        Ok(())
    }

    /// Writes what waits in memory.
    fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|error| self.write_error(error))
    }

    fn write_error(&self, error: io::Error) -> StoreError {
        let path = self.store.root().join(Entry::Data(self.digest).to_string());
        StoreError::write(&path, self.size.saturating_sub(self.length), error)
    }

    /// Takes the content as complete. The caller MUST have checked its digest.
    ///
    /// From here on [`Store::has`] knows it; [`Store::commit`] makes it durable for good.
    pub fn commit(mut self) -> Result<()> {
        if self.length != self.size {
            return Err(StoreError::Size { path: self.place.path(), found: self.length, expected: self.size });
        }
        self.flush()?;
        let staging = self.store.staging()?;
        if self.size >= LARGE {
            self.file.file().sync_data()?;
        }
        self.store.inner.hashed.note(&self.digest, &self.file.file().metadata()?);
        if self.size < LARGE {
            staging.add(&self.place, &self.digest, self.size)?;
        } else {
            self.store.tree().place(&self.place, &Entry::Data(self.digest).to_string())?;
            staging.touch();
        }
        self.done = true;
        Ok(())
    }

    /// Throws away what is there.
    pub fn discard(mut self) -> Result<()> {
        self.remove()
    }

    /// Lets others write while the caller is looking for the rest of the bytes.
    pub(super) fn park(mut self) -> Result<Parked> {
        self.flush()?;
        self.file.file().unlock()?;
        self.done = true;
        Ok(Parked { ingest: self })
    }
}

/// Refuses what was made of a file and has other bytes than the content.
fn check(file: &LocalFile, linked: &Child, expected: &Digest) -> Result<()> {
    match file.digest_of(linked, expected)? {
        found if found == *expected => Ok(()),
        found => Err(StoreError::Corrupt { path: file.path().to_owned(), found }),
    }
}

impl Parked {
    /// Takes up where [`Ingest::park`] left off.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] where the file is no longer what it was.
    pub(super) fn resume(&mut self) -> Result<bool> {
        let file = self.ingest.file.file();
        if !hod_io::fs::try_lock(file)? {
            return Ok(false);
        }
        let length = self.ingest.length;
        let own = file.metadata()?;
        if self.ingest.place.is(&own)? && own.len() == length {
            self.ingest.done = false;
            return Ok(true);
        }
        Err(StoreError::Overtaken(self.ingest.digest))
    }

    /// The ingest, after [`Parked::resume`] said that it has its lock again.
    pub(super) fn into_ingest(self) -> Ingest {
        self.ingest
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // An empty file would be nothing to resume.
        if self.length == 0 {
            let _ = self.place.remove();
        } else {
            let _ = self.file.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

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
            let file = LocalFile::new(hod_io::fs::open_plain(&file).unwrap(), false);
            store.link_in(&digest, 6, &file).unwrap()
        };
        let Attempt::Begun(mut ingest) = store.try_ingest(&digest, 6).unwrap() else { panic!() };
        ingest.write(b"bricks").unwrap();
        assert_eq!(link(), Some(Placed::Linked));
        ingest.commit().unwrap();
        assert_eq!(link(), Some(Placed::Linked));
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
