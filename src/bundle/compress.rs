//! Compression of a tar stream into frames, on threads of its own.
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
use super::seek_table::{self, FrameLengths};

/// The level of compression. Layers are compressed already, so that higher levels gain little: of 52 MB of gzip,
/// level 1 saves 0.9 %, level 3 1.3 %, at well above the speed of disks.
const LEVEL: i32 = 3;
/// More threads would need more than 32 MiB of buffers.
const THREADS_LIMIT: usize = 4;

/// A frame to be compressed, and where the result goes.
struct Job {
    content: Vec<u8>,
    done: Sender<io::Result<Done>>,
}

struct Done {
    /// The buffer of the content, to be used again.
    content: Vec<u8>,
    frame: Vec<u8>,
}

/// A writer of compressed frames and of the table at their end.
pub(super) struct Frames<W> {
    out: W,
    written: u64,
    content: Vec<u8>,
    spare: Vec<Vec<u8>>,
    lengths: Vec<FrameLengths>,
    pending: VecDeque<Receiver<io::Result<Done>>>,
    pending_limit: usize,
    jobs: Sender<Job>,
}

impl<W: Write> Frames<W> {
    pub(super) fn new(out: W, threads: usize) -> io::Result<Self> {
        let threads = threads.clamp(1, THREADS_LIMIT);
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            let mut compressor = Compressor::new(LEVEL)?;
            compressor.set_parameter(CParameter::ChecksumFlag(true))?;
            thread::Builder::new().name("compress".to_owned()).spawn(move || work(&queue, &mut compressor))?;
        }
        Ok(Self {
            out,
            written: 0,
            content: Vec::with_capacity(FRAME),
            spare: Vec::new(),
            lengths: Vec::new(),
            pending: VecDeque::new(),
            pending_limit: threads + 2,
            jobs,
        })
    }

    /// Begins a member of that many bytes, with its tar header and all.
    pub(super) fn begin(&mut self, length: u64) -> io::Result<()> {
        let fits = (FRAME - self.content.len()) as u64 >= length;
        if fits { Ok(()) } else { self.cut() }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(FRAME - self.content.len()));
            self.content.extend_from_slice(now);
            bytes = later;
            if self.content.len() == FRAME {
                self.cut()?;
            }
        }
        Ok(())
    }

    /// Writes what is left and the table. Returns what was written to and how much.
    pub(super) fn finish(mut self) -> io::Result<(W, u64)> {
        self.cut()?;
        while self.take_one()? {}
        let table = seek_table::encode(&self.lengths).ok_or_else(|| io::Error::other("too many frames"))?;
        self.out.write_all(&table)?;
        self.out.flush()?;
        Ok((self.out, self.written + table.len() as u64))
    }

    /// Ends the frame, if there is anything in it.
    fn cut(&mut self) -> io::Result<()> {
        if self.content.is_empty() {
            return Ok(());
        }
        if self.pending.len() >= self.pending_limit {
            self.take_one()?;
        }
        let next = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(FRAME));
        let (done, result) = channel();
        let job = Job { content: std::mem::replace(&mut self.content, next), done };
        self.jobs.send(job).map_err(|_| no_thread())?;
        self.pending.push_back(result);
        Ok(())
    }

    /// Waits for the oldest frame in flight and writes it.
    fn take_one(&mut self) -> io::Result<bool> {
        let Some(result) = self.pending.pop_front() else { return Ok(false) };
        let Done { mut content, frame } = result.recv().map_err(|_| no_thread())??;
        self.lengths.extend(FrameLengths::of(&frame, &content));
        self.out.write_all(&frame)?;
        self.written += frame.len() as u64;
        content.clear();
        self.spare.push(content);
        Ok(true)
    }
}

fn no_thread() -> io::Error {
    io::Error::other("a thread that compresses has died")
}

/// Compresses one frame after another until there is nobody left to ask for more.
fn work(queue: &Mutex<Receiver<Job>>, compressor: &mut Compressor<'_>) {
    loop {
        let job = queue.lock().map(|queue| queue.recv());
        let Ok(Ok(Job { content, done })) = job else { return };
        let frame = compressor.compress(&content).map(|frame| Done { content, frame });
        // The writer may have failed and gone.
        let _ = done.send(frame);
    }
}
