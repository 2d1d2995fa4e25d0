//! Makes complete blobs durable on threads of their own, while whoever reads a bundle goes on reading.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{Ingest, Result};

/// Threads that commit ingests.
#[derive(Debug)]
pub struct Committers {
    queue: Option<SyncSender<Ingest>>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Committers {
    /// How many; each waits for the disk most of the time.
    const THREADS: usize = 3;

    /// Starts the threads.
    pub fn start() -> Result<Self> {
        let (queue, waiting) = sync_channel::<Ingest>(Self::THREADS);
        let waiting = Arc::new(Mutex::new(waiting));
        let next = |waiting: &Mutex<Receiver<Ingest>>| waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let spawn = |_| {
            let waiting = waiting.clone();
            std::thread::Builder::new().name("commit".to_owned()).spawn(move || {
                while let Ok(ingest) = next(&waiting) {
                    ingest.commit()?;
                }
                Ok(())
            })
        };
        let threads = (0..Self::THREADS).map(spawn).collect::<std::io::Result<_>>()?;
        Ok(Self { queue: Some(queue), threads })
    }

    /// Hands over content whose bytes are complete and right, as [`Ingest::commit`] demands.
    pub fn commit(&self, ingest: Ingest) -> Result<()> {
        match self.queue.as_ref().map(|queue| queue.send(ingest)) {
            Some(Err(refused)) => refused.0.commit(),
            _ => Ok(()),
        }
    }

    /// Waits until all are committed. MUST be called before their links are: a failure shows here at the latest.
    pub fn finish(mut self) -> Result<()> {
        self.wait()
    }

    /// Waits for all threads; gives the first failure.
    fn wait(&mut self) -> Result<()> {
        self.queue = None;
        let ended = self.threads.drain(..).map(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => Err(std::io::Error::other("a thread that commits blobs ended unexpectedly").into()),
        });
        ended.fold(Ok(()), Result::and)
    }
}

/// What was handed over is committed even where the rest never comes, so that the next run finds it.
impl Drop for Committers {
    fn drop(&mut self) {
        let _ = self.wait();
    }
}
