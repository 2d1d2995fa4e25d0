//! The hash of a body that arrives beside others: two of them are hashed in turns, which takes less than one after the
//! other (see [`Hasher::update_both`]).
//!
//! There is no thread for it. Whoever has enough waiting hashes it together with what another body has waiting, and
//! alone where no other has. So the hash may be behind the body, by [`LIMIT`] and what arrives while it is made, and
//! the body's end MUST NOT be told before [`BodyHash::finish`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use bytes::{Buf as _, Bytes};

use super::Prefix;
use hod_oci::{Digest, Hasher};

/// Bytes of one body that are worth to be hashed together with another's.
pub(super) const ENOUGH: usize = 512 * 1024;
/// Bytes of one body that wait for another's; as much memory is taken for each body.
const LIMIT: usize = 1024 * 1024;
/// Bytes in a block of SHA-256.
const BLOCK: usize = 64;

/// The bodies that arrive at this moment.
static ARRIVING: Mutex<Vec<Arc<Shared>>> = Mutex::new(Vec::new());

/// The running SHA-256 of one body.
#[derive(Debug)]
pub(super) struct BodyHash(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Held by whoever hashes, who may be another body's thread. Locked before `waiting`.
    hash: Mutex<Running>,
    /// What has arrived and is not hashed. Never locked for long.
    waiting: Mutex<Waiting>,
}

#[derive(Debug)]
struct Running {
    hasher: Hasher,
    /// Bytes that went through it.
    length: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    chunks: VecDeque<Bytes>,
    bytes: usize,
}

impl BodyHash {
    /// Goes on where a prefix ends, which MUST have been hashed by SHA-256.
    pub(super) fn new(prefix: Prefix) -> Self {
        let shared = Arc::new(Shared::new(prefix));
        lock(&ARRIVING).push(shared.clone());
        Self(shared)
    }

    /// Adds a chunk. May hash it, and others, before it returns.
    pub(super) fn add(&self, chunk: Bytes) {
        let bytes = self.0.put(chunk);
        let is_alone = lock(&ARRIVING).len() == 1;
        if bytes < ENOUGH && !is_alone {
            return;
        }
        let hash = match self.0.hash.try_lock() {
            Ok(hash) => hash,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another body's thread is at it, and is waited for only where there is too much.
            Err(TryLockError::WouldBlock) if bytes < LIMIT => return,
            Err(TryLockError::WouldBlock) => lock(&self.0.hash),
        };
        self.0.catch_up(hash, is_alone);
    }

    /// The digest of all that was added.
    pub(super) fn finish(self) -> Digest {
        let mut hash = lock(&self.0.hash);
        self.0.alone(&mut hash);
        hash.hasher.clone().finish()
    }
}

impl Drop for BodyHash {
    fn drop(&mut self) {
        lock(&ARRIVING).retain(|other| !Arc::ptr_eq(other, &self.0));
    }
}

impl Shared {
    fn new(prefix: Prefix) -> Self {
        let running = Running { length: prefix.length, hasher: prefix.hasher };
        Self { hash: Mutex::new(running), waiting: Mutex::default() }
    }

    /// Hashes what waits, as far as others have as much; and what is too much.
    fn catch_up(&self, mut hash: MutexGuard<'_, Running>, is_alone: bool) {
        for other in self.others() {
            if self.bytes() < ENOUGH {
                return;
            }
            if let Ok(mut its) = other.hash.try_lock() {
                in_turns((self, &mut hash), (&other, &mut its));
            }
        }
        if is_alone || self.bytes() >= LIMIT {
            self.alone(&mut hash);
        }
    }

    /// Bodies that have something to be hashed beside this one's, those with the most first.
    fn others(&self) -> Vec<Arc<Self>> {
        let mut others = lock(&ARRIVING).clone();
        others.retain(|other| !std::ptr::eq(&raw const **other, self) && other.bytes() >= ENOUGH / 2);
        others.sort_by_cached_key(|other| std::cmp::Reverse(other.bytes()));
        others
    }

    /// Hashes all that waits.
    fn alone(&self, hash: &mut Running) {
        for chunk in self.take() {
            hash.add(&chunk);
        }
    }

    fn bytes(&self) -> usize {
        lock(&self.waiting).bytes
    }

    /// Adds a chunk at the end; how many bytes wait then.
    fn put(&self, chunk: Bytes) -> usize {
        let mut waiting = lock(&self.waiting);
        waiting.bytes += chunk.len();
        waiting.chunks.push_back(chunk);
        waiting.bytes
    }

    fn take(&self) -> VecDeque<Bytes> {
        std::mem::take(&mut *lock(&self.waiting)).chunks
    }

    /// Puts what was taken and not hashed before what has arrived since.
    fn put_back(&self, chunks: VecDeque<Bytes>) {
        let mut waiting = lock(&self.waiting);
        for chunk in chunks.into_iter().rev() {
            waiting.bytes += chunk.len();
            waiting.chunks.push_front(chunk);
        }
    }
}

impl Running {
    fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Hashes until it stands between two blocks with a whole one in the first chunk; `false` where they end before.
    fn align(&mut self, chunks: &mut VecDeque<Bytes>) -> bool {
        while let Some(chunk) = chunks.front_mut() {
            let within = usize::try_from(self.length % BLOCK as u64).unwrap_or_default();
            if within == 0 && chunk.len() >= BLOCK {
                return true;
            }
            let head = chunk.split_to(chunk.len().min(BLOCK - within));
            self.add(&head);
            if chunk.is_empty() {
                chunks.pop_front();
            }
        }
        false
    }
}

/// Hashes what waits for two bodies, until one of them has no more.
fn in_turns((a, hash_a): (&Shared, &mut Running), (b, hash_b): (&Shared, &mut Running)) {
    let (mut of_a, mut of_b) = (a.take(), b.take());
    while hash_a.align(&mut of_a) && hash_b.align(&mut of_b) {
        let (Some(first), Some(second)) = (of_a.front_mut(), of_b.front_mut()) else { break };
        let count = hash_a.hasher.update_both(first, &mut hash_b.hasher, second);
        for (chunk, hash) in [(first, &mut *hash_a), (second, &mut *hash_b)] {
            chunk.advance(count);
            hash.length += count as u64;
        }
    }
    a.put_back(of_a);
    b.put_back(of_b);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hod_oci::Algorithm;

    fn content(number: usize) -> Bytes {
        (0..3_000_000 + number * 77_777).map(|byte| (byte * (number + 1)).to_le_bytes()[0] ^ 0x5a).collect()
    }

    /// Bodies in chunks of odd lengths, on as many threads; each chunk is from memory of its own, as from a network.
    #[test]
    fn each_body_has_its_own_digest() {
        let arrive = |number: usize| {
            let whole = content(number);
            let start = [0, 1, 64, 100_000][number % 4];
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(&whole[..start]);
            let lane = BodyHash::new(Prefix::new(start as u64, hasher));
            let lengths = [417_792, 1, 63, 64, 65, 8192, 0, 300_001, 2_000_000];
            let (mut rest, mut turn) = (&whole[start..], number);
            while !rest.is_empty() {
                let (chunk, later) = rest.split_at(lengths[turn % lengths.len()].min(rest.len()));
                lane.add(Bytes::copy_from_slice(chunk));
                (rest, turn) = (later, turn + 1);
            }
            assert_eq!(lane.finish(), Digest::sha256(&whole), "{number}");
        };
        std::thread::scope(|scope| {
            for number in 0..12 {
                scope.spawn(move || arrive(number));
            }
        });
    }

    #[test]
    fn two_bodies_are_hashed_as_far_as_both_have_something() {
        let bodies = [0, 1].map(|_| Shared::new(Prefix::none(Algorithm::Sha256)));
        let [a, b] = &bodies;
        for length in [100, 5000, 0, 1] {
            a.put(Bytes::from(vec![1; length]));
        }
        b.put(Bytes::from(vec![2; 9000]));
        in_turns((a, &mut lock(&a.hash)), (b, &mut lock(&b.hash)));
        assert_eq!((a.bytes(), lock(&a.hash).length), (0, 5101));
        assert_eq!(b.bytes() as u64 + lock(&b.hash).length, 9000);
        assert!(b.bytes() > 3800);
        for (body, content) in [(a, vec![1; 5101]), (b, vec![2; 9000])] {
            let mut hash = lock(&body.hash);
            body.alone(&mut hash);
            assert_eq!(hash.hasher.clone().finish(), Digest::sha256(&content));
        }
    }

    #[test]
    fn no_body_waits_for_ever() {
        let lanes = [0, 1].map(|_| BodyHash::new(Prefix::none(Algorithm::Sha256)));
        let chunk = Bytes::from(vec![7; ENOUGH]);
        for _ in 0..9 {
            lanes[0].add(chunk.clone());
            assert!(lanes[0].0.bytes() < LIMIT);
        }
        let [lane, idle] = lanes;
        assert_eq!(lane.finish(), Digest::sha256(&chunk.repeat(9)));
        assert_eq!(idle.finish(), Digest::sha256(b""));
    }
}
