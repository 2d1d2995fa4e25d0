//! Writes blobs on threads of their own, while whoever reads them goes on reading.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{Ingest, Result};
use hod_io::fs::Block;

/// How many threads; each waits for the disk most of the time.
const THREADS: usize = 3;
/// Blocks in all; with their size the memory that this takes at the most.
const BLOCKS: usize = 8;
/// Bytes in a block.
const BLOCK: usize = 512 * 1024;

/// Threads that write ingests and commit them.
#[derive(Debug)]
pub struct Writers {
    queue: Option<SyncSender<Job>>,
    empty: Receiver<Block>,
    failed: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

/// An ingest, and what is to be done with it.
type Job = (Ingest, Receiver<Task>);

#[derive(Debug)]
enum Task {
    Append(Block),
    Commit,
    Discard,
}

/// An ingest that a thread writes. Dropping it keeps what was written, for the next time.
#[derive(Debug)]
pub struct QueuedIngest<'a> {
    writers: &'a mut Writers,
    /// `None` once a thread has failed: nobody waits for more.
    tasks: Option<SyncSender<Task>>,
}

impl Writers {
    /// Starts the threads.
    pub fn start() -> Result<Self> {
        let (queue, waiting) = sync_channel::<Job>(THREADS);
        let waiting = Arc::new(Mutex::new(waiting));
        let (back, empty) = sync_channel(BLOCKS);
        for _ in 0..BLOCKS {
            let _ = back.send(Block::new(BLOCK));
        }
        let failed = Arc::<AtomicBool>::default();
        let spawn = |_| {
            let (waiting, back, failed) = (waiting.clone(), back.clone(), failed.clone());
            std::thread::Builder::new().name("write".to_owned()).spawn(move || {
                while let Some((ingest, tasks)) = next(&waiting) {
                    let written = write(ingest, &tasks, &back);
                    if written.is_err() {
                        failed.store(true, Ordering::SeqCst);
                    }
                    // Blocks that are still to come go back too, or their sender would wait for them.
                    for task in tasks {
                        give_back(task, &back);
                    }
                    written?;
                }
                Ok(())
            })
        };
        let threads = (0..THREADS).map(spawn).collect::<std::io::Result<_>>()?;
        Ok(Self { queue: Some(queue), empty, failed, threads })
    }

    /// Hands an ingest to a thread; its content follows block by block.
    pub fn begin(&mut self, ingest: Ingest) -> Result<QueuedIngest<'_>> {
        let (tasks, received) = sync_channel(BLOCKS + 1);
        self.check()?;
        if let Some(queue) = &self.queue {
            let _ = queue.send((ingest, received));
        }
        Ok(QueuedIngest { writers: self, tasks: Some(tasks) })
    }

    /// Waits until all are committed. MUST be called before their links are: a failure shows here at the latest.
    pub fn finish(mut self) -> Result<()> {
        self.wait()
    }

    /// Gives the first failure, if there is one.
    fn check(&mut self) -> Result<()> {
        if self.failed.load(Ordering::SeqCst) { self.wait() } else { Ok(()) }
    }

    /// Waits for all threads; gives the first failure.
    fn wait(&mut self) -> Result<()> {
        self.queue = None;
        let ended = self.threads.drain(..).map(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => Err(std::io::Error::other("a thread that writes blobs ended unexpectedly").into()),
        });
        ended.fold(Ok(()), Result::and)
    }
}

impl QueuedIngest<'_> {
    /// A block to be filled; waits while all are being written.
    pub fn block(&mut self) -> Result<Block> {
        if self.writers.failed.load(Ordering::SeqCst) {
            // The thread that has this ingest waits for its end.
            self.tasks = None;
            self.writers.wait()?;
        }
        // The threads hold the other end until the last of them has failed, which was said above.
        Ok(self.writers.empty.recv().unwrap_or_else(|_| Block::new(BLOCK)))
    }

    /// Appends the content of a block.
    pub fn append(&self, block: Block) {
        self.send(Task::Append(block));
    }

    /// Has the ingest committed once all of it is written. Its bytes MUST be complete and right, as
    /// [`Ingest::commit`] demands.
    pub fn commit(self) {
        self.send(Task::Commit);
    }

    /// Has what was written thrown away.
    pub fn discard(self) {
        self.send(Task::Discard);
    }

    /// A thread that has failed takes nothing more; [`Writers::finish`] tells why.
    fn send(&self, task: Task) {
        if let Some(tasks) = &self.tasks {
            let _ = tasks.send(task);
        }
    }
}

/// What was handed over is committed even where the rest never comes, so that the next run finds it.
impl Drop for Writers {
    fn drop(&mut self) {
        let _ = self.wait();
    }
}

fn next(waiting: &Mutex<Receiver<Job>>) -> Option<Job> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn write(mut ingest: Ingest, tasks: &Receiver<Task>, back: &SyncSender<Block>) -> Result<()> {
    for task in tasks {
        match task {
            Task::Append(block) => {
                let written = ingest.write(block.filled());
                give_back(Task::Append(block), back);
                written?;
            }
            Task::Commit => return ingest.commit(),
            Task::Discard => return ingest.discard(),
        }
    }
    Ok(())
}

fn give_back(task: Task, back: &SyncSender<Block>) {
    if let Task::Append(mut block) = task {
        block.clear();
        let _ = back.send(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attempt, Entry, Store};
    use hod_oci::Digest;

    fn hand_over(writers: &mut Writers, store: &Store, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let Attempt::Begun(ingest) = store.try_ingest(digest, bytes.len() as u64)? else { return Ok(()) };
        let mut outgoing = writers.begin(ingest)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut block = outgoing.block()?;
            let count = block.take(rest);
            rest = &rest[count..];
            outgoing.append(block);
        }
        outgoing.commit();
        Ok(())
    }

    #[test]
    fn what_is_handed_over_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let contents: Vec<Vec<u8>> = (0..40_u8).map(|number| vec![number; usize::from(number) * 77_777]).collect();
        let mut writers = Writers::start().unwrap();
        for content in &contents {
            hand_over(&mut writers, &store, &Digest::sha256(content), content).unwrap();
        }
        writers.finish().unwrap();
        store.finish().unwrap();
        for content in &contents {
            assert!(fs_err::read(Entry::Data(Digest::sha256(content)).under(folder.path())).unwrap() == *content);
        }
    }

    #[test]
    fn what_is_not_committed_is_kept_or_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let mut writers = Writers::start().unwrap();
        for (name, discard) in [(b"kept", false), (b"gone", true)] {
            let Attempt::Begun(ingest) = store.try_ingest(&Digest::sha256(name), 100).unwrap() else { panic!() };
            let mut outgoing = writers.begin(ingest).unwrap();
            let mut block = outgoing.block().unwrap();
            block.take(name);
            outgoing.append(block);
            if discard {
                outgoing.discard();
            }
        }
        writers.finish().unwrap();
        let partial: Vec<_> = fs_err::read_dir(folder.path().join(".hod/partial")).unwrap().flatten().collect();
        let contents: Vec<_> = partial.iter().map(|entry| fs_err::read(entry.path()).unwrap()).collect();
        assert_eq!(contents, [b"kept"]);
    }

    /// Content that ends too soon cannot be committed; whoever sends more hears of it and does not hang.
    #[test]
    fn a_failure_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let mut writers = Writers::start().unwrap();
        let Attempt::Begun(ingest) = store.try_ingest(&Digest::sha256(b"brick"), 5).unwrap() else { panic!() };
        writers.begin(ingest).unwrap().commit();
        // Another thread has this one, and goes on when the first has failed.
        let big = vec![1; 100 * BLOCK];
        let outcome = hand_over(&mut writers, &store, &Digest::sha256(&big), &big).and_then(|()| writers.finish());
        assert!(matches!(outcome, Err(crate::StoreError::Size { .. })), "{outcome:?}");
    }
}
