//! Hashes many files on all processors, two at a time on each of them, which is faster (see [`Hasher::update_both`]).

use std::io::{self, Read};
use std::ops::Range;

use super::processors::{WorkQueue, on_all_processors};
use hod_engine::observe::Stop;
use hod_oci::{Algorithm, Digest, Hasher};

/// Bytes that are read at a time. Two such buffers fit into the cache of a processor beside each other, so what has been
/// read is not fetched from memory again to be hashed.
const CHUNK: usize = 256 * 1024;

/// What is hashed, and who hears of it.
pub(super) struct HashJob<Open, Moved, Judge> {
    /// Opens a thing, and says which hash it wants.
    pub(super) open: Open,
    /// Hears how many bytes of a thing were hashed.
    pub(super) moved: Moved,
    /// Says what is to be said of a thing: it has that digest, or could not be read.
    pub(super) judge: Judge,
}

impl<Open, Moved, Judge> HashJob<Open, Moved, Judge> {
    /// Hashes the things of a queue, begun in its order, and gives back what was to be said of them, in any order.
    /// What is under way when all are asked to stop is not judged.
    pub(super) fn run<T, R, E, F>(&self, queue: &[T], stop: &Stop) -> Vec<F>
    where
        T: Sync,
        R: Read,
        E: From<io::Error>,
        F: Send,
        Open: Fn(&T) -> Result<(Algorithm, R), E> + Sync,
        Moved: Fn(&T, usize) + Sync,
        Judge: Fn(&T, Result<Digest, E>) -> Option<F> + Sync,
    {
        on_all_processors(queue, stop, |mut taken: WorkQueue<'_, T>, found| {
            let mut lanes = [Lane::new(), Lane::new()];
            let judge = |thing: &T, digest| (self.judge)(thing, digest).into_iter().for_each(found);
            while !stop.is_requested() {
                for lane in &mut lanes {
                    lane.fill(&mut taken, &self.open, judge);
                }
                let [first, second] = &mut lanes;
                let counts = match (&mut first.current, &mut second.current) {
                    (None, None) => break,
                    (Some(a), Some(b)) => both((a, &first.buffer), (b, &second.buffer)),
                    (Some(a), None) => [a.add(&first.buffer), 0],
                    (None, Some(b)) => [0, b.add(&second.buffer)],
                };
                for (lane, count) in lanes.iter().zip(counts) {
                    lane.current.iter().filter(|_| count > 0).for_each(|current| (self.moved)(current.thing, count));
                }
            }
        })
    }
}

/// One of the two things that a thread has under way, and what was read of it.
struct Lane<'a, T, R> {
    buffer: Vec<u8>,
    current: Option<Current<'a, T, R>>,
}

struct Current<'a, T, R> {
    thing: &'a T,
    reader: R,
    hasher: Hasher,
    /// Where in the buffer the bytes are that were read and not hashed.
    rest: Range<usize>,
}

impl<'a, T, R: Read> Lane<'a, T, R> {
    fn new() -> Self {
        Self { buffer: vec![0; CHUNK], current: None }
    }

    /// Sees to it that there are bytes to hash, of the thing under way or of the next; without, there is nothing left.
    fn fill<E: From<io::Error>>(
        &mut self,
        taken: &mut WorkQueue<'a, T>,
        open: impl Fn(&T) -> Result<(Algorithm, R), E>,
        judge: impl Fn(&T, Result<Digest, E>),
    ) {
        loop {
            let mut current = match self.current.take() {
                Some(current) => current,
                None => match taken.next().map(|thing| (thing, open(thing))) {
                    None => return,
                    Some((thing, Err(error))) => {
                        judge(thing, Err(error));
                        continue;
                    }
                    Some((thing, Ok((algorithm, reader)))) => {
                        Current { thing, reader, hasher: Hasher::new(algorithm), rest: 0..0 }
                    }
                },
            };
            if current.rest.is_empty() {
                match current.reader.read(&mut self.buffer) {
                    Ok(0) => {
                        judge(current.thing, Ok(current.hasher.finish()));
                        continue;
                    }
                    Ok(count) => current.rest = 0..count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        judge(current.thing, Err(error.into()));
                        continue;
                    }
                }
            }
            let is_filled = !current.rest.is_empty();
            self.current = Some(current);
            if is_filled {
                return;
            }
        }
    }
}

impl<T, R> Current<'_, T, R> {
    fn bytes<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        buffer.get(self.rest.clone()).unwrap_or_default()
    }

    /// Hashes all that was read, and says how many bytes that were.
    fn add(&mut self, buffer: &[u8]) -> usize {
        let bytes = self.bytes(buffer);
        self.hasher.update(bytes);
        self.rest = 0..0;
        bytes.len()
    }
}

/// Hashes what was read of two things, as far as they can be hashed together, or all of that with the fewer bytes; and
/// says how many bytes of each that were.
fn both<T, R>(first: (&mut Current<'_, T, R>, &[u8]), second: (&mut Current<'_, T, R>, &[u8])) -> [usize; 2] {
    let ((a, buffer_a), (b, buffer_b)) = (first, second);
    let (bytes_a, bytes_b) = (a.bytes(buffer_a), b.bytes(buffer_b));
    match a.hasher.update_both(bytes_a, &mut b.hasher, bytes_b) {
        0 if bytes_a.len() <= bytes_b.len() => [a.add(buffer_a), 0],
        0 => [0, b.add(buffer_b)],
        count => {
            a.rest.start += count;
            b.rest.start += count;
            [count, count]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Gives out bytes in pieces of odd lengths, is interrupted now and then, and may fail at the end.
    struct Uneven {
        rest: Vec<u8>,
        turn: usize,
        fails: bool,
    }

    impl Read for Uneven {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.turn += 1;
            if self.turn.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if self.rest.is_empty() && self.fails {
                return Err(io::Error::other("the disk is broken"));
            }
            let count = [1, 64, 100, 4096, 300_000][self.turn % 5].min(self.rest.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.rest[..count]);
            self.rest.drain(..count);
            Ok(count)
        }
    }

    #[test]
    fn everything_is_judged_by_what_it_holds() {
        let queue: Vec<usize> = (0..40).collect();
        let content = |number: usize| (0..number * number * 700).map(|byte| byte.to_le_bytes()[0]).collect::<Vec<u8>>();
        let algorithm = |number: usize| Algorithm::ALL[usize::from(number % 7 == 3)];
        let moved = Mutex::new(vec![0; queue.len()]);
        let found = HashJob {
            open: |number: &usize| match number {
                13 => Err(io::Error::other("it cannot be opened")),
                number => {
                    Ok((algorithm(*number), Uneven { rest: content(*number), turn: *number, fails: *number == 17 }))
                }
            },
            moved: |number: &usize, count| moved.lock().unwrap()[*number] += count,
            judge: |number: &usize, digest: io::Result<Digest>| Some((*number, digest.map_err(|it| it.to_string()))),
        };
        let mut found = found.run(&queue, &Stop::default());
        found.sort_by_key(|(number, _)| *number);
        assert_eq!(found.len(), queue.len());
        for (number, digest) in found {
            let content = content(number);
            match number {
                13 => assert_eq!(digest, Err("it cannot be opened".to_owned())),
                17 => assert_eq!(digest, Err("the disk is broken".to_owned())),
                _ => assert_eq!(digest, Ok(Digest::of(algorithm(number), &content)), "{number}"),
            }
            assert_eq!(moved.lock().unwrap()[number], if number == 13 { 0 } else { content.len() });
        }
    }

    #[test]
    fn a_stop_is_heeded_in_the_middle() {
        let stop = Stop::default();
        let endless = HashJob {
            open: |(): &()| Ok((Algorithm::Sha256, io::repeat(7))),
            moved: |(): &(), _| stop.request(),
            judge: |(): &(), _: io::Result<Digest>| Some(()),
        };
        assert!(endless.run(&[(); 9], &stop).is_empty());
    }
}
