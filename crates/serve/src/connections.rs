//! Slots for connections: how many there are in all, and from one address.
//!
//! An address that has its share waits for its own connections, and whatever waits takes the slot of
//! one that does nothing: the longest idle one of the address that has the most. So neither idle
//! connections nor heads that never end keep anybody out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::origin::Origin;

/// Connections beyond the shares of their addresses that wait at a time; each takes a file.
const WAITING: usize = 64;
/// How long a connection does nothing before another may have its slot.
const GRACE: Duration = Duration::from_secs(1);
/// How often whoever waits looks for an idle connection.
const LOOK: Duration = Duration::from_millis(100);

/// All connections of a server.
pub(super) struct Connections {
    slots: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    share: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    open: Vec<Arc<Connection>>,
    shares: HashMap<Origin, Arc<Semaphore>>,
}

/// A part of what an address may have.
pub(super) struct Share {
    connections: Arc<Connections>,
    peer: SocketAddr,
    all: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    waiting: Option<OwnedSemaphorePermit>,
}

/// A slot that a connection has.
pub(super) struct Slot {
    pub(super) connection: Arc<Connection>,
    share: Share,
    _permit: OwnedSemaphorePermit,
}

/// What is known of a connection that has a slot.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    /// Where it has come to.
    pub(super) local: Option<SocketAddr>,
    pub(super) origin: Origin,
    /// Its slot is wanted for another.
    leave: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Since when it has been waiting for a request; `None` while one is answered.
    idle: Option<Instant>,
    has_asked: bool,
    is_admitted: bool,
}

impl Connections {
    /// `limit` connections in all, and `share` from one address.
    pub(super) fn new(limit: usize, share: usize) -> Arc<Self> {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        // Without shares all wait in the system's queue, which is longer.
        let share = if share >= limit { Semaphore::MAX_PERMITS } else { share.max(1) };
        let (slots, waiting) = (Arc::new(Semaphore::new(limit)), Arc::new(Semaphore::new(WAITING)));
        Arc::new(Self { slots, waiting, share, table: Mutex::default() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Meets a connection that has just come: `None` where its address has its share, and too many wait already.
    pub(super) fn meet(self: &Arc<Self>, peer: SocketAddr) -> Option<Share> {
        let mut table = self.table();
        let all = table.shares.entry(Origin::of(peer)).or_insert_with(|| Arc::new(Semaphore::new(self.share)));
        let all = Arc::clone(all);
        drop(table);
        let permit = Arc::clone(&all).try_acquire_owned().ok();
        let mut share = Share { connections: Arc::clone(self), peer, all, permit, waiting: None };
        if share.permit.is_none() {
            share.waiting = Some(Arc::clone(&self.waiting).try_acquire_owned().ok()?);
        }
        Some(share)
    }

    /// Waits for a permit, and asks idle connections for theirs.
    async fn acquire(&self, from: &Arc<Semaphore>, among: Option<Origin>) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(from).try_acquire_owned() {
            return Some(permit);
        }
        let mut acquired = pin!(Arc::clone(from).acquire_owned());
        loop {
            self.make_room(among, Instant::now());
            if let Ok(permit) = timeout(LOOK, acquired.as_mut()).await {
                return permit.ok();
            }
        }
    }

    /// Asks one idle connection to leave: of an address, or of the address that has the most.
    fn make_room(&self, among: Option<Origin>, now: Instant) {
        let table = self.table();
        let mut held: HashMap<Origin, usize> = HashMap::new();
        for connection in &table.open {
            *held.entry(connection.origin).or_default() += 1;
        }
        let candidates = table.open.iter().filter(|it| among.is_none_or(|origin| it.origin == origin));
        let idle = candidates.filter_map(|it| Some((it, it.idle(now).filter(|idle| *idle >= GRACE)?)));
        if let Some((connection, _)) = idle.max_by_key(|(it, idle)| (held.get(&it.origin), *idle)) {
            connection.leave.cancel();
        }
    }
}

impl Share {
    /// Whether the address has its share already, so that the connection may wait for another of its address.
    pub(super) const fn is_full(&self) -> bool {
        self.waiting.is_some()
    }

    /// Waits for a slot within this share, for a connection that has come to `local`.
    pub(super) async fn slot(mut self, local: Option<SocketAddr>) -> Option<Slot> {
        let connections = Arc::clone(&self.connections);
        let origin = Origin::of(self.peer);
        if self.permit.is_none() {
            self.permit = Some(connections.acquire(&self.all, Some(origin)).await?);
        }
        let permit = connections.acquire(&connections.slots, None).await?;
        self.waiting = None;
        let state = Mutex::new(State { idle: Some(Instant::now()), has_asked: false, is_admitted: false });
        let connection =
            Arc::new(Connection { peer: self.peer, local, origin, leave: CancellationToken::new(), state });
        connections.table().open.push(Arc::clone(&connection));
        Some(Slot { connection, share: self, _permit: permit })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        self.permit = None;
        // Beside this one only the table's own is left.
        if Arc::strong_count(&self.all) == 2 {
            table.shares.remove(&Origin::of(self.peer));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.share.connections.table().open.retain(|it| !Arc::ptr_eq(it, &self.connection));
    }
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it has been waiting for a request, unless it is about to leave.
    fn idle(&self, now: Instant) -> Option<Duration> {
        let since = self.state().idle.filter(|_| !self.leave.is_cancelled())?;
        Some(now.saturating_duration_since(since))
    }

    /// Whether a request has come.
    pub(super) fn has_asked(&self) -> bool {
        self.state().has_asked
    }

    /// Notes that a request is answered, until what is returned is dropped.
    pub(super) fn begin_request(self: &Arc<Self>) -> RequestGuard {
        let mut state = self.state();
        (state.idle, state.has_asked) = (None, true);
        RequestGuard(Arc::clone(self))
    }

    /// Notes that the client may do what it wants to.
    pub(super) fn admit(&self) {
        self.state().is_admitted = true;
    }

    /// Ends when the connection should: its slot is wanted, or within `greeting` it has asked for nothing that it may.
    pub(super) async fn left(&self, greeting: Duration) {
        if timeout(greeting, self.leave.cancelled()).await.is_err() && self.state().is_admitted {
            self.leave.cancelled().await;
        }
    }
}

/// A request that is answered.
#[derive(Debug)]
pub(super) struct RequestGuard(Arc<Connection>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.state().idle = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(last: u8) -> Origin {
        Origin::of(peer(last))
    }

    fn peer(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 1))
    }

    fn free(connections: &Arc<Connections>, last: u8) -> Share {
        let share = connections.meet(peer(last)).unwrap();
        assert!(!share.is_full(), "{last} has its share already");
        share
    }

    #[tokio::test]
    async fn no_address_takes_all_slots() {
        let connections = Connections::new(4, 2);
        let mut slots = Vec::new();
        for _ in 0..2 {
            slots.push(free(&connections, 1).slot(None).await.unwrap());
        }
        let asking: Vec<RequestGuard> = slots.iter().map(|slot| slot.connection.begin_request()).collect();
        let mut waiting = Vec::new();
        for _ in 0..WAITING {
            waiting.push(connections.meet(peer(1)).unwrap());
        }
        assert!(waiting.iter().all(Share::is_full) && connections.meet(peer(1)).is_none());
        slots.push(free(&connections, 2).slot(None).await.unwrap());

        // Whoever waits follows a connection of its address, and nobody else.
        let share = waiting.pop().unwrap();
        slots.remove(0);
        assert_eq!(share.slot(None).await.unwrap().connection.origin, origin(1));
        drop((slots, waiting, asking));
        assert!(connections.table().shares.is_empty() && connections.table().open.is_empty());
    }

    #[tokio::test]
    async fn the_longest_idle_of_the_address_with_most_makes_room() {
        let connections = Connections::new(4, 4);
        let (mut slots, start) = (Vec::new(), Instant::now());
        for (second, last) in [1, 2, 2, 2].into_iter().enumerate() {
            let slot = free(&connections, last).slot(None).await.unwrap();
            slot.connection.state().idle = Some(start + Duration::from_secs(second as u64));
            slots.push(slot);
        }
        let _asking = slots[1].connection.begin_request();
        let leave = |among, second| {
            connections.make_room(among, start + Duration::from_secs(second));
            slots.iter().map(|slot| slot.connection.leave.is_cancelled()).collect::<Vec<_>>()
        };
        assert_eq!(leave(None, 0), [false; 4], "nobody has been idle for long");
        assert_eq!(leave(None, 9), [false, false, true, false]);
        assert_eq!(leave(Some(origin(1)), 9), [true, false, true, false]);
        assert_eq!(leave(None, 9), [true, false, true, true]);
        assert_eq!(leave(None, 9), [true, false, true, true], "one that is answered stays");
    }
}
