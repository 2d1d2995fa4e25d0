//! Writing on a thread of its own, so that whoever makes the bytes need not wait for the disk.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::Block;

/// Bytes that are handed over at a time.
const BUFFER: usize = 1024 * 1024;
/// Buffers in all; the memory that this takes at the most.
const BUFFERS: usize = 4;

/// A writer that hands what it gets to a thread, which writes it in the same order.
///
/// All writes but the last are of whole blocks, as direct I/O wants them.
///
/// An error of the thread comes back at a later write, or at [`WriteBehind::finish`] at the latest, which MUST
/// be called: dropping the value ends the thread without a word about what it could not write.
#[derive(Debug)]
pub struct WriteBehind<W> {
    current: Option<Block>,
    full: Option<SyncSender<Block>>,
    thread: Option<JoinHandle<(W, io::Result<()>)>>,
}

impl<W: Write + Send + 'static> WriteBehind<W> {
    /// Begins to write to `out`.
    pub fn new(out: W) -> io::Result<Self> {
        // One more is being filled, and one written.
        let (full, filled) = sync_channel::<Block>(BUFFERS - 2);
        let thread = std::thread::Builder::new().name("write".to_owned()).spawn(move || {
            let mut out = out;
            for buffer in filled {
                if let Err(error) = out.write_all(buffer.filled()) {
                    return (out, Err(error));
                }
            }
            let flushed = out.flush();
            (out, flushed)
        })?;
        Ok(Self { current: None, full: Some(full), thread: Some(thread) })
    }

    /// Waits until everything is written, and gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.hand_over()?;
        self.full = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok((out, Ok(())))) => Ok(out),
            Some(Ok((_, Err(error)))) => Err(error),
            _ => Err(io::Error::other("the writer thread ended unexpectedly")),
        }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let Some(full) = self.current.take() else { return Ok(()) };
        // The thread ends early only on an error, which is then what is to be reported.
        match self.full.as_ref().map(|sender| sender.send(full)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    /// Why the thread has ended.
    fn failure(&mut self) -> io::Error {
        self.full = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok((_, Err(error)))) => error,
            _ => io::Error::other("an earlier write failed"),
        }
    }
}

impl<W: Write + Send + 'static> Write for WriteBehind<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.as_ref().is_some_and(Block::is_full) {
            self.hand_over()?;
        }
        Ok(self.current.get_or_insert_with(|| Block::new(BUFFER)).take(bytes))
    }

    /// Does nothing: bytes are on their way, and [`WriteBehind::finish`] waits for them.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order() {
        let expected: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut writer = WriteBehind::new(Vec::new()).unwrap();
        for piece in expected.chunks(77_777) {
            writer.write_all(piece).unwrap();
        }
        assert!(writer.finish().unwrap() == expected);
        assert!(WriteBehind::new(Vec::new()).unwrap().finish().unwrap().is_empty());
    }

    #[derive(Debug)]
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_error_of_the_thread_comes_back() {
        let mut writer = WriteBehind::new(Full).unwrap();
        let piece = vec![0; BUFFER];
        let failed = (0..20).find_map(|_| writer.write_all(&piece).err()).unwrap();
        assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
        let mut writer = WriteBehind::new(Full).unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(writer.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
