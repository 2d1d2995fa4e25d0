//! Compresses a tar stream into frames, on its own threads.
//!
//! Where frames are cut depends on the lengths of the members and nothing else, and each frame is compressed
//! alone, so the bytes are the same for any number of threads. What is in flight is bounded: two
//! frames more than there are threads.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::frame::FRAME;
use super::raw_frame::{self, Sampler};
use super::seek_table::{self, FrameLengths};

/// The level of compression of what compresses at all: manifests, configs, and layers without compression.
const LEVEL: i32 = 3;
/// More threads would need more than 32 MiB of buffers.
const THREADS_LIMIT: usize = 4;

/// A frame to be compressed, and where the result goes.
struct Job {
    buffers: Buffers,
    done: Sender<io::Result<Buffers>>,
}

/// Content and what becomes of it; both are used again.
#[derive(Default)]
struct Buffers {
    content: Vec<u8>,
    frame: Vec<u8>,
}

/// A writer of compressed frames and of the table at their end.
pub(super) struct Frames<W> {
    out: W,
    written: u64,
    current: Buffers,
    spare: Vec<Buffers>,
    lengths: Vec<FrameLengths>,
    pending: VecDeque<Receiver<io::Result<Buffers>>>,
    pending_limit: usize,
    jobs: Sender<Job>,
}

impl<W: Write> Frames<W> {
    /// For a tar stream of that many bytes.
    pub(super) fn new(out: W, threads: usize, length: u64) -> io::Result<Self> {
        if length / FRAME as u64 > seek_table::FRAMES_LIMIT as u64 {
            return Err(too_long());
        }
        let threads = threads.clamp(1, THREADS_LIMIT);
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            let mut compressor = Compressor::new(LEVEL)?;
            compressor.set_parameter(CParameter::ChecksumFlag(true))?;
            let mut sampler = Sampler::new()?;
            let work = move || work(&queue, &mut compressor, &mut sampler);
            thread::Builder::new().name("compress".to_owned()).spawn(work)?;
        }
        Ok(Self {
            out,
            written: 0,
            current: Buffers::default(),
            spare: Vec::new(),
            lengths: Vec::new(),
            pending: VecDeque::new(),
            pending_limit: threads + 2,
            jobs,
        })
    }

    /// Begins a member of that many bytes, with its tar header and all.
    pub(super) fn begin(&mut self, length: u64) -> io::Result<()> {
        let fits = (FRAME - self.current.content.len()) as u64 >= length;
        if fits { Ok(()) } else { self.cut() }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(FRAME - self.current.content.len()));
            self.current.content.extend_from_slice(now);
            bytes = later;
            if self.current.content.len() == FRAME {
                self.cut()?;
            }
        }
        Ok(())
    }

    /// Writes what is left and the table. Returns what was written to and how much.
    pub(super) fn finish(mut self) -> io::Result<(W, u64)> {
        self.cut()?;
        while self.take_one()? {}
        for piece in seek_table::encode(&self.lengths).ok_or_else(too_long)? {
            self.out.write_all(&piece)?;
            self.written += piece.len() as u64;
        }
        self.out.flush()?;
        Ok((self.out, self.written))
    }

    /// Ends the frame, if there is anything in it.
    fn cut(&mut self) -> io::Result<()> {
        if self.current.content.is_empty() {
            return Ok(());
        }
        if self.pending.len() >= self.pending_limit {
            self.take_one()?;
        }
        let next = self.spare.pop().unwrap_or_default();
        let (done, result) = channel();
        let job = Job { buffers: std::mem::replace(&mut self.current, next), done };
        self.jobs.send(job).map_err(|_| no_thread())?;
        self.pending.push_back(result);
        Ok(())
    }

    /// Waits for the oldest frame in flight and writes it.
    fn take_one(&mut self) -> io::Result<bool> {
        let Some(result) = self.pending.pop_front() else { return Ok(false) };
        let mut buffers = result.recv().map_err(|_| no_thread())??;
        let Buffers { content, frame } = &mut buffers;
        self.lengths.extend(FrameLengths::of(frame, content));
        self.out.write_all(frame)?;
        self.written += frame.len() as u64;
        content.clear();
        frame.clear();
        self.spare.push(buffers);
        Ok(true)
    }
}

fn too_long() -> io::Error {
    io::Error::other("a compressed bundle has at most 4 TiB: write it as .tar")
}

fn no_thread() -> io::Error {
    io::Error::other("a compression thread ended unexpectedly")
}

/// Compresses one frame after another until there is nobody left to ask for more.
fn work(queue: &Mutex<Receiver<Job>>, compressor: &mut Compressor<'_>, sampler: &mut Sampler) {
    loop {
        let job = queue.lock().map(|queue| queue.recv());
        let Ok(Ok(Job { mut buffers, done })) = job else { return };
        let Buffers { content, frame } = &mut buffers;
        let compressed = sampler.is_dense(content).and_then(|is_dense| {
            if is_dense {
                raw_frame::store(content, frame);
                return Ok(());
            }
            frame.reserve(zstd::zstd_safe::compress_bound(content.len()));
            compressor.compress_to_buffer(content, frame).map(|_| ())
        });
        // The writer may have failed and gone.
        let _ = done.send(compressed.map(|()| buffers));
    }
}
