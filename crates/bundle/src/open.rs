//! Reads single blobs of a bundle file, without reading the others.
//!
//! The header says where each blob lies in the tar stream. For a compressed bundle the table at its end says
//! in which frames; nothing else is read. The bytes are not checked here: whoever asks for a blob knows its digest.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err::os::unix::fs::FileExt;
use zstd::bulk::Decompressor;

use super::frames::{self, FramePlace, Frames};
use super::layout::FILL_LIMIT;
use super::signature::{BundleSigner, Trust};
use super::tape::Tape;
use super::{Blob, BundleError, Header, Result, frame, trace};
use hod_io::fs::{ColdFile, is_same_file};
use hod_oci::Digest;

/// Bytes that can be read at any position: a file, or the volumes of one.
pub trait RandomAccess: Send + Sync {
    /// Reads some bytes from a position on; none at the end only.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// How many bytes there are.
    fn size(&self) -> io::Result<u64>;
    /// The file that holds them all, opened anew, if there is one.
    fn reopen(&self) -> Option<fs_err::File> {
        None
    }
}

impl RandomAccess for fs_err::File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn reopen(&self) -> Option<Self> {
        let again = Self::open(self.path()).ok()?;
        let (own, found) = (self.metadata().ok()?, again.metadata().ok()?);
        // Somebody may have put another in its place.
        is_same_file(&own, &found).then_some(again)
    }
}

/// A bundle whose blobs can be read in any order, by several threads at once.
#[derive(Debug, Clone)]
pub struct OpenBundle {
    file: Arc<BundleFile>,
    header: Arc<Header>,
    signature: Option<Arc<[u8]>>,
    /// Where the data area begins in the tar stream.
    area: u64,
}

struct BundleFile {
    bytes: Box<dyn RandomAccess>,
    /// The frames of a compressed bundle.
    frames: Option<Frames>,
    bytes_read: AtomicU64,
}

impl OpenBundle {
    /// Opens a bundle that is not just one file, and that must be signed as `trust` says; with who signed it.
    pub fn over(bytes: Box<dyn RandomAccess>, trust: &Trust) -> Result<(Self, Option<BundleSigner>)> {
        let size = bytes.size()?;
        let mut file = BundleFile { bytes, frames: None, bytes_read: AtomicU64::new(0) };
        let mut magic = [0; 4];
        let is_zstd = size >= 4 && {
            file.read_exact_at(&mut magic, 0)?;
            magic == frame::MAGIC
        };
        let tar_size = if is_zstd { file.load_frames(size)? } else { size };
        let file = Arc::new(file);
        let preamble = Tape::new(OpenBlob::new(&file, 0, tar_size)).preamble(|_| is_zstd.then_some(size))?;
        let signed = trust.check(&preamble.json, preamble.signature.as_deref())?;
        let (header, signature) = preamble.parse()?;
        let signature_size = signature.as_ref().map(|signature| signature.len() as u64);
        let expected = header.tar_size(signature_size);
        let area = header.data_area(signature_size);
        if tar_size < expected && !is_zstd {
            let cut = header.members().find(|member| area + member.end() > tar_size);
            let member = cut.map_or_else(|| "the end of the archive".to_owned(), |member| member.entry.to_string());
            return Err(BundleError::Truncated { offset: tar_size, member });
        }
        if tar_size > expected && !is_zstd {
            let mut rest = Tape::new(OpenBlob::new(&file, expected, tar_size - expected));
            rest.expect_end(FILL_LIMIT).map_err(|_| BundleError::Trailing { offset: expected })?;
        } else if tar_size != expected {
            return Err(BundleError::Size { expected, found: tar_size });
        }
        Ok((Self { file, header: Arc::new(header), signature: signature.map(Into::into), area }, signed))
    }

    /// The header.
    pub const fn header(&self) -> &Arc<Header> {
        &self.header
    }

    /// The bytes of the signature over the header's bytes, which nobody has checked.
    pub fn signature(&self) -> Option<&[u8]> {
        self.signature.as_deref()
    }

    /// The bytes of a blob, unchecked, if the bundle holds it.
    pub fn blob(&self, digest: &Digest) -> Option<OpenBlob> {
        let Blob { offset, size, .. } = self.header.blob(digest)?;
        Some(OpenBlob::new(&self.file, self.area + offset, *size))
    }

    /// The tar stream behind header and signature to its end, whatever follows, with where it begins.
    pub(super) fn members(&self) -> (u64, OpenBlob) {
        let signature = self.signature().map(|signature| signature.len() as u64);
        (self.area, OpenBlob::new(&self.file, self.area, self.header.tar_size(signature) - self.area))
    }

    /// How many bytes of the file have been read so far.
    pub fn bytes_read(&self) -> u64 {
        self.file.bytes_read.load(Ordering::Relaxed)
    }
}

impl BundleFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.bytes.read_at(bytes, offset)?;
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn read_exact_at(&self, mut bytes: &mut [u8], mut offset: u64) -> Result<()> {
        while !bytes.is_empty() {
            match self.read_at(bytes, offset) {
                Ok(0) => return Err(BundleError::Truncated { offset, member: String::new() }),
                Ok(count) => {
                    bytes = bytes.split_at_mut(count).1;
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads the table at the end of a compressed bundle. Returns the length of the tar stream.
    fn load_frames(&mut self, size: u64) -> Result<u64> {
        let frames =
            frames::load(size, &|bytes, offset| self.read_exact_at(bytes, offset)).map_err(|error| match error {
                BundleError::SeekTable(frames::NO_TABLE) if !self.begins_as_ours(size) => {
                    BundleError::ForeignCompression
                }
                error => error,
            })?;
        let tar = frames.tar_size();
        self.frames = Some(frames);
        Ok(tar)
    }

    /// Returns true if a file without a table begins with frames of a bundle.
    fn begins_as_ours(&self, size: u64) -> bool {
        let mut bytes = vec![0; usize::try_from(size.min(trace::LOOK)).unwrap_or_default()];
        self.read_exact_at(&mut bytes, 0).is_ok() && (trace::begins(&bytes) || trace::has_frame(&bytes))
    }

    /// Reads and expands a frame.
    fn expand(&self, place: &FramePlace, decompressor: &mut Decompressor<'_>, content: &mut Vec<u8>) -> Result<()> {
        let mut bytes = vec![0; usize::try_from(place.compressed).unwrap_or(usize::MAX)];
        self.read_exact_at(&mut bytes, place.file)?;
        place.expand(&bytes, decompressor, content)
    }
}

impl fmt::Debug for BundleFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleFile").field("frames", &self.frames.as_ref().map(Frames::len)).finish_non_exhaustive()
    }
}

/// The bytes of one blob of an [`OpenBundle`], unchecked.
pub struct OpenBlob {
    file: Arc<BundleFile>,
    start: u64,
    size: u64,
    position: u64,
    /// The frame that was read last: its index and content.
    frame: Option<(usize, Vec<u8>)>,
    decompressor: Option<Decompressor<'static>>,
}

impl OpenBlob {
    fn new(file: &Arc<BundleFile>, start: u64, size: u64) -> Self {
        Self { file: Arc::clone(file), start, size, position: 0, frame: None, decompressor: None }
    }

    /// The length of the blob in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Reads on to the end, once: what is large and not compressed past the page cache.
    pub fn once(self) -> Box<dyn Read + Send> {
        let (from, end) = (self.start + self.position, self.start + self.size);
        let is_cold = self.file.frames.is_none() && end.saturating_sub(from) >= ColdFile::LARGE;
        match is_cold.then(|| self.file.bytes.reopen()).flatten() {
            Some(file) => {
                let bytes = ColdFile::at(file, from).until(end).take(end - from);
                Box::new(SinglePassReader { bytes, file: self.file })
            }
            None => Box::new(self),
        }
    }

    /// The expanded bytes from a position of the tar stream to the end of its frame.
    fn frame_from(&mut self, position: u64) -> Result<&[u8]> {
        let Some(frames) = &self.file.frames else { return Ok(&[]) };
        let index = frames.begun(position).saturating_sub(1);
        let Some(place) = frames.get(index) else { return Ok(&[]) };
        if self.frame.as_ref().is_none_or(|(cached, _)| *cached != index) {
            let mut content = self.frame.take().map(|(_, content)| content).unwrap_or_default();
            let decompressor = match &mut self.decompressor {
                Some(decompressor) => decompressor,
                none => none.insert(Decompressor::new()?),
            };
            self.file.expand(&place, decompressor, &mut content)?;
            self.frame = Some((index, content));
        }
        let skip = usize::try_from(position - place.tar).unwrap_or(usize::MAX);
        Ok(self.frame.as_ref().and_then(|(_, content)| content.get(skip..)).unwrap_or_default())
    }
}

impl Read for OpenBlob {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.size.saturating_sub(self.position)).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.get_mut(..limit).unwrap_or_default();
        let position = self.start + self.position;
        let count = if bytes.is_empty() {
            0
        } else if self.file.frames.is_some() {
            self.frame_from(position)?.read(bytes)?
        } else {
            self.file.read_at(bytes, position)?
        };
        self.position += count as u64;
        Ok(count)
    }
}

/// What [`OpenBlob::once`] reads past the page cache.
struct SinglePassReader {
    bytes: io::Take<ColdFile>,
    file: Arc<BundleFile>,
}

impl Read for SinglePassReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(bytes)?;
        self.file.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for OpenBlob {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(distance) => self.size.checked_add_signed(distance),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl fmt::Debug for OpenBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBlob").field("size", &self.size).field("position", &self.position).finish_non_exhaustive()
    }
}
