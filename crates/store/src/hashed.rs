//! The record of files that hod has hashed, so that a blob which nobody has changed is not read again.
//!
//! ```text
//! .hod/hashed-<user>    for each file: <digest> <inode> <size> <modified> <created>
//! ```
//!
//! It is a cache of hod's own work and never the only reason to write anything. A file counts as unchanged while its
//! inode, its size, and the times when it was made and last written are those of the record. The time of the last
//! change of its metadata is left out: every hard link changes it. Each user has a record of their own, which nobody
//! else may read or write. What cannot be read or written, or does not look right, costs time and nothing else.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::Metadata;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use fs_err as fs;
use rustix::fs::OFlags;

use super::root::{OWN, Root};
use hod_io::fs::Child;
use hod_oci::Digest;

/// The length of the record in bytes, some 100,000 files, from which on it starts anew.
const LIMIT: u64 = 16 * 1024 * 1024;

/// Files that are hashed before they are written to the record, at the latest.
const GATHERED: usize = 64;

/// The record's mode: nobody but its user.
const PRIVATE: u32 = 0o600;

/// The bits of a mode that let others write.
const OTHERS_WRITE: u32 = 0o022;

/// A state of a file: two equal ones mean the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    /// Nanoseconds.
    modified: u64,
    /// Nanoseconds; 0 where the file system does not keep it.
    created: u64,
}

/// What is known of a file.
pub(super) enum Verdict {
    Right,
    Damaged,
    Unknown,
}

/// The record of one root.
#[derive(Debug)]
pub(super) struct HashRecord {
    root: Root,
    is_writable: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the record has been read, which it is when somebody asks first.
    is_read: bool,
    right: HashMap<Digest, Stamp>,
    damaged: HashMap<Digest, Stamp>,
    /// Those that are not in the record yet.
    new: Vec<(Digest, Stamp)>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let nanoseconds = metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec());
        let created = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanoseconds.cast_unsigned(),
            created: created.and_then(|time| u64::try_from(time.as_nanos()).ok()).unwrap_or_default(),
        }
    }

    /// One line of the record. What a crash leaves of a line does not parse.
    fn parse(line: &str) -> Option<(Digest, Self)> {
        let mut fields = line.split(' ');
        let digest = fields.next()?.parse().ok()?;
        let mut number =
            || fields.next().filter(|field| field.len() == 16).and_then(|field| u64::from_str_radix(field, 16).ok());
        let stamp = Self { inode: number()?, size: number()?, modified: number()?, created: number()? };
        fields.next().is_none().then_some((digest, stamp))
    }
}

impl HashRecord {
    /// The record of a root, which is written only where the root is.
    pub(super) fn of(root: &Root, is_writable: bool) -> Self {
        Self { root: root.clone(), is_writable, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name in the root, if the directory is there.
    fn name(&self) -> Option<Child> {
        self.root.child(&format!("{OWN}/hashed-{}", nix::unistd::geteuid())).ok().flatten()
    }

    pub(super) fn judge(&self, digest: &Digest, metadata: &Metadata) -> Verdict {
        let stamp = Stamp::of(metadata);
        let mut state = self.state();
        if state.damaged.get(digest) == Some(&stamp) {
            return Verdict::Damaged;
        }
        if !state.is_read {
            state.is_read = true;
            for (digest, stamp) in self.read().unwrap_or_default() {
                // What this process has found out itself is newer.
                state.right.entry(digest).or_insert(stamp);
            }
        }
        if state.right.get(digest) == Some(&stamp) { Verdict::Right } else { Verdict::Unknown }
    }

    /// Takes note that a file holds that content. The metadata MUST be of a moment when the bytes that were hashed had
    /// been written, and before they were read for that.
    pub(super) fn note(&self, digest: &Digest, metadata: &Metadata) {
        let stamp = Stamp::of(metadata);
        let mut state = self.state();
        if state.right.insert(*digest, stamp) != Some(stamp) && self.is_writable {
            state.new.push((*digest, stamp));
        }
        if state.new.len() >= GATHERED {
            self.write(&mut state);
        }
    }

    /// Whether a file was found damaged, and is as it was then.
    pub(super) fn is_damaged(&self, digest: &Digest, metadata: &Metadata) -> bool {
        self.state().damaged.get(digest) == Some(&Stamp::of(metadata))
    }

    /// Content of which a file was found damaged.
    pub(super) fn damaged(&self) -> Vec<Digest> {
        self.state().damaged.keys().copied().collect()
    }

    pub(super) fn note_damage(&self, digest: &Digest, metadata: &Metadata) {
        self.state().damaged.insert(*digest, Stamp::of(metadata));
    }

    /// Adds to the record what is not there yet.
    pub(super) fn flush(&self) {
        self.write(&mut self.state());
    }

    fn write(&self, state: &mut State) {
        let new = std::mem::take(&mut state.new);
        if !new.is_empty() {
            // Without the record the files are hashed again.
            let _ = self.append(&new);
        }
    }

    /// The lines of the record, the last of a digest last.
    fn read(&self) -> io::Result<Vec<(Digest, Stamp)>> {
        let Some(file) = self.name().map(|name| private(name.open(OFlags::RDONLY)?)).transpose()?.flatten() else {
            return Ok(Vec::new());
        };
        let mut bytes = Vec::new();
        file.take(LIMIT).read_to_end(&mut bytes)?;
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
        let mut found: HashMap<Digest, Stamp> = HashMap::new();
        found.extend(lines.filter_map(|line| Stamp::parse(str::from_utf8(line).ok()?)));
        Ok(found.into_iter().collect())
    }

    /// One write, so that lines of several processes do not mix. It is not synced: a line that is lost is no loss.
    fn append(&self, new: &[(Digest, Stamp)]) -> io::Result<()> {
        let mut text = String::new();
        for (digest, Stamp { inode, size, modified, created }) in new {
            let _ = writeln!(text, "{digest} {inode:016x} {size:016x} {modified:016x} {created:016x}");
        }
        let Some(name) = self.name() else { return Ok(()) };
        let file = match name.create_new_as(OFlags::WRONLY | OFlags::APPEND, PRIVATE) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => name.open(OFlags::WRONLY | OFlags::APPEND)?,
            made => made?,
        };
        let Some(mut file) = private(file)? else { return Ok(()) };
        if file.metadata()?.len() > LIMIT {
            return name.remove();
        }
        file.write_all(text.as_bytes())
    }

    /// Whether nobody else can put another record in the place of this one.
    pub(super) fn is_guarded(&self) -> bool {
        fs::metadata(self.root.path()).is_ok_and(|found| only_own_user_writes(&found))
            && self.root.look(OWN).is_ok_and(|found| found.is_some_and(|found| only_own_user_writes(&found)))
    }
}

/// A record, if it is this user's alone.
fn private(file: fs::File) -> io::Result<Option<fs::File>> {
    let found = file.metadata()?;
    let is_private = found.is_file() && found.nlink() == 1 && found.mode() & 0o7777 == PRIVATE && is_own(&found);
    Ok(is_private.then_some(file))
}

impl Drop for HashRecord {
    fn drop(&mut self) {
        self.flush();
    }
}

fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == nix::unistd::geteuid().as_raw()
}

/// Whether a file or directory is this user's, and nobody else may write to it.
pub(super) fn only_own_user_writes(metadata: &Metadata) -> bool {
    is_own(metadata) && metadata.mode() & OTHERS_WRITE == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::Links;
    use crate::{Entry, Store};

    fn filled(root: &std::path::Path) -> Digest {
        let store = Store::create(root).unwrap();
        let digest = Digest::sha256(b"brick");
        store.add(&digest, b"brick").unwrap();
        store.commit(&[Links { layers: vec![digest], ..Links::none("a".parse().unwrap()) }]).unwrap();
        digest
    }

    /// Whether a store that is opened anew knows the blob without reading it.
    fn is_known(root: &std::path::Path, digest: &Digest) -> bool {
        let store = Store::open(root).unwrap();
        let metadata = store.in_place(digest).unwrap().unwrap();
        matches!(store.inner.hashed.judge(digest, &metadata), Verdict::Right)
    }

    fn record(root: &std::path::Path) -> PathBuf {
        Store::open(root).unwrap().inner.hashed.name().unwrap().path()
    }

    #[test]
    fn what_is_written_is_known_until_it_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let digest = filled(folder.path());
        let data = Entry::Data(digest).under(folder.path());
        assert!(is_known(folder.path(), &digest));
        // A second name changes nothing but the metadata.
        fs::hard_link(&data, folder.path().join("second")).unwrap();
        assert!(is_known(folder.path(), &digest));
        let modified = fs::metadata(&data).unwrap().modified().unwrap();
        fs::write(&data, "brack").unwrap();
        let file = fs::OpenOptions::new().write(true).open(&data).unwrap();
        file.set_modified(modified + Duration::from_nanos(1)).unwrap();
        assert!(!is_known(folder.path(), &digest));
        // A file of the same time is another file.
        fs::remove_file(&data).unwrap();
        fs::write(&data, "brick").unwrap();
        fs::OpenOptions::new().write(true).open(&data).unwrap().set_modified(modified).unwrap();
        assert!(!is_known(folder.path(), &digest));
    }

    #[test]
    fn damage_is_found_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let digest = filled(folder.path());
        let data = Entry::Data(digest).under(folder.path());
        let other = folder.path().join("other");
        fs::write(&other, "brack").unwrap();
        fs::rename(&other, &data).unwrap();
        let store = Store::create(folder.path()).unwrap();
        assert!(store.has(&digest, 5).unwrap(), "nobody has read it");
        assert!(!store.holds(&digest).unwrap());
        assert!(!store.has(&digest, 5).unwrap());
        assert_eq!(store.repaired().unwrap(), []);
        store.add(&digest, b"brick").unwrap();
        store.finish().unwrap();
        assert!(store.holds(&digest).unwrap() && store.has(&digest, 5).unwrap());
        assert_eq!(store.repaired().unwrap(), [digest]);
        assert_eq!(fs::read(&data).unwrap(), b"brick");
    }

    #[test]
    fn a_record_that_others_could_have_written_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let digest = filled(folder.path());
        let known_outside = || Store::open(folder.path()).unwrap().file(&digest, 5).unwrap().unwrap().is_known();
        let mode = |path: PathBuf, mode| fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(folder.path().to_owned(), 0o755);
        assert!(known_outside());
        for path in [folder.path().to_owned(), folder.path().join(".hod"), Entry::Data(digest).under(folder.path())] {
            let before = fs::metadata(&path).unwrap().permissions().mode();
            mode(path.clone(), before | 0o020);
            assert!(!known_outside(), "{}", path.display());
            assert!(is_known(folder.path(), &digest), "who can write to the root can spoil it anyway");
            mode(path, before);
        }
        assert!(known_outside());
        for wrong in [0o644, 0o620, 0o700] {
            mode(record(folder.path()), wrong);
            assert!(!is_known(folder.path(), &digest), "{wrong:o}");
        }
        mode(record(folder.path()), PRIVATE);
        fs::hard_link(record(folder.path()), folder.path().join("theirs")).unwrap();
        assert!(!is_known(folder.path(), &digest));
        fs::remove_file(record(folder.path())).unwrap();
        fs_err::os::unix::fs::symlink(folder.path().join("theirs"), record(folder.path())).unwrap();
        assert!(!is_known(folder.path(), &digest));
    }

    #[test]
    fn a_record_that_a_crash_has_spoilt_costs_no_more_than_its_lines() {
        let folder = tempfile::tempdir().unwrap();
        let digest = filled(folder.path());
        let path = record(folder.path());
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(!is_known(folder.path(), &digest), "{end}");
        }
        let junk: [&[u8]; 4] = [&[0; 300], b"\xff\n", b"sha256:1 2 3\n", &whole[..70]];
        for junk in junk {
            fs::write(&path, [junk, b"\n", &whole].concat()).unwrap();
            assert!(is_known(folder.path(), &digest));
        }
    }

    #[test]
    fn a_record_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let digest = filled(folder.path());
        let path = record(folder.path());
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(LIMIT + 1).unwrap();
        Store::create(folder.path()).unwrap().add(&Digest::sha256(b"other"), b"other").unwrap();
        assert!(!path.exists());
        let store = Store::create(folder.path()).unwrap();
        assert!(store.holds(&digest).unwrap());
        drop(store);
        assert!(is_known(folder.path(), &digest));
    }
}
