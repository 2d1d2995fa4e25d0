//! Decompresses the tar stream of a bundle frame by frame, and checks every field.

use std::fmt;
use std::io::{self, Read};

use zstd::bulk::Decompressor;

use super::frame::{self, FrameError};
use super::seek_table::{self, FrameLengths};
use super::{BundleError, Result, trace};

/// A reader that expands frames. It ends only after a table that describes exactly what came before it,
/// and the end of the input.
pub(super) struct ExpandedReader<R> {
    input: CountingReader<R>,
    decompressor: Decompressor<'static>,
    frame: Vec<u8>,
    content: Vec<u8>,
    position: usize,
    frames: Vec<FrameLengths>,
    ended: bool,
}

struct CountingReader<R> {
    input: R,
    count: u64,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(bytes)?;
        self.count += count as u64;
        Ok(count)
    }
}

impl<R: Read> ExpandedReader<R> {
    pub(super) fn new(input: R) -> io::Result<Self> {
        Ok(Self {
            input: CountingReader { input, count: 0 },
            decompressor: Decompressor::new()?,
            frame: Vec::new(),
            content: Vec::new(),
            position: 0,
            frames: Vec::new(),
            ended: false,
        })
    }

    /// How many bytes of the input have been taken.
    pub(super) const fn consumed(&self) -> u64 {
        self.input.count
    }

    /// Expands the next frame, or reads the table.
    fn advance(&mut self) -> Result<()> {
        let start = self.input.count;
        self.content.clear();
        self.position = 0;
        let mut magic = [0; 4];
        let result = match self.input.read_exact(&mut magic) {
            Err(error) => Err(error.into()),
            Ok(()) if magic == frame::MAGIC => self.expand(),
            Ok(()) if magic == seek_table::MAGIC => return self.finish(start),
            Ok(()) => Err(FrameError::Damaged("no frame starts here".to_owned())),
        };
        result.map_err(|error| match error {
            FrameError::Foreign if self.frames.is_empty() && !self.is_ours() => BundleError::ForeignCompression,
            error => self.failure(error, start),
        })
    }

    /// Returns true if something of a bundle follows a first frame that is none: then that is damaged.
    fn is_ours(&mut self) -> bool {
        let mut looked = std::mem::take(&mut self.frame);
        // What cannot be read tells nothing.
        let _ = self.input.by_ref().take(trace::LOOK).read_to_end(&mut looked);
        trace::has_frame(&looked)
    }

    fn expand(&mut self) -> Result<(), FrameError> {
        let length = frame::read(&mut self.input, &mut self.frame)?;
        frame::expand(&mut self.decompressor, &self.frame, length, &mut self.content)?;
        if self.frames.len() == seek_table::FRAMES_LIMIT {
            return Err(FrameError::Damaged("it has more frames than a bundle can have".to_owned()));
        }
        self.frames.extend(FrameLengths::of(&self.frame, &self.content));
        Ok(())
    }

    /// Reads the table and the end of the input.
    fn finish(&mut self, start: u64) -> Result<()> {
        // The magic has been read.
        let mut found = seek_table::MAGIC.to_vec();
        for expected in seek_table::encode(&self.frames).into_iter().flatten() {
            let rest = expected.len().saturating_sub(found.len()) as u64;
            let read = self.input.by_ref().take(rest).read_to_end(&mut found);
            read.map_err(|error| self.failure(FrameError::Read(error), start))?;
            if !expected.starts_with(&found) {
                return Err(BundleError::SeekTable("its entries do not match the frames"));
            }
            if found.len() < expected.len() {
                return Err(self.failure(FrameError::Truncated, start));
            }
            found.clear();
        }
        let mut one = Vec::new();
        let read = self.input.by_ref().take(1).read_to_end(&mut one);
        if read.map_err(|error| self.failure(FrameError::Read(error), start))? > 0 {
            return Err(BundleError::Trailing { offset: self.input.count - 1 });
        }
        self.ended = true;
        Ok(())
    }

    fn failure(&self, error: FrameError, start: u64) -> BundleError {
        match error {
            FrameError::Truncated => BundleError::Truncated { offset: self.input.count, member: String::new() },
            FrameError::Foreign => BundleError::Zstd { offset: start, problem: frame::NOT_OURS.to_owned() },
            FrameError::Damaged(problem) => BundleError::Zstd { offset: start, problem },
            FrameError::Read(error) => error.into(),
        }
    }
}

impl<R: Read> Read for ExpandedReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.position == self.content.len() && !self.ended {
            self.advance()?;
        }
        let mut rest = self.content.get(self.position..).unwrap_or_default();
        let count = rest.read(bytes)?;
        self.position += count;
        Ok(count)
    }
}

impl<R> fmt::Debug for ExpandedReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expanded").field("frames", &self.frames.len()).finish_non_exhaustive()
    }
}
