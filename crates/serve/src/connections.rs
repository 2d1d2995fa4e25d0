//! Places for connections: how many there are in all, and from one address.
//!
//! An address that has its share waits for its own connections, and whatever waits takes the place of
//! one that does nothing: the longest idle one of the address that has the most. So neither idle
//! connections nor heads that never end keep anybody out.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::origin::Origin;

/// Connections beyond the shares of their addresses that wait at a time; each takes a file.
const WAITING: usize = 64;
/// How long a connection does nothing before another may have its place.
const GRACE: Duration = Duration::from_secs(1);
/// How often whoever waits looks for an idle connection.
const LOOK: Duration = Duration::from_millis(100);

/// All connections of a server.
pub(super) struct Connections {
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    share: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    seats: HashMap<u64, Arc<Seat>>,
    shares: HashMap<Origin, Arc<Semaphore>>,
}

/// How a new connection is met.
pub(super) enum Knock {
    /// Its address has places left.
    Welcome(Share),
    /// It may wait until one of its address ends.
    Wait(Share, OwnedSemaphorePermit),
    /// Too many wait already.
    Refused,
}

/// A part of what an address may have.
pub(super) struct Share {
    connections: Arc<Connections>,
    origin: Origin,
    all: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

/// A place that a connection has.
pub(super) struct Place {
    number: u64,
    seat: Arc<Seat>,
    share: Share,
    _permit: OwnedSemaphorePermit,
}

/// What is known of a connection that has a place.
#[derive(Debug)]
pub(super) struct Seat {
    origin: Origin,
    /// Its place is wanted for another.
    pub(super) leave: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Since when it has been waiting for a request; `None` while one is answered.
    idle: Option<Instant>,
    asked: bool,
    admitted: bool,
}

impl Connections {
    /// `limit` connections in all, and `share` from one address.
    pub(super) fn new(limit: usize, share: usize) -> Arc<Self> {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        // Without shares all wait in the system's queue, which is longer.
        let share = if share >= limit { Semaphore::MAX_PERMITS } else { share.max(1) };
        Arc::new(Self {
            places: Arc::new(Semaphore::new(limit)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            share,
            table: Mutex::default(),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Meets a connection that has just come.
    pub(super) fn knock(self: &Arc<Self>, origin: Origin) -> Knock {
        let all = Arc::clone(self.table().shares.entry(origin).or_insert_with(|| Arc::new(Semaphore::new(self.share))));
        let permit = Arc::clone(&all).try_acquire_owned().ok();
        let share = Share { connections: Arc::clone(self), origin, all, permit };
        if share.permit.is_some() {
            return Knock::Welcome(share);
        }
        match Arc::clone(&self.waiting).try_acquire_owned() {
            Ok(waiting) => Knock::Wait(share, waiting),
            Err(_) => Knock::Refused,
        }
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
        for seat in table.seats.values() {
            *held.entry(seat.origin).or_default() += 1;
        }
        let idle = table.seats.values().filter(|seat| among.is_none_or(|origin| seat.origin == origin));
        let idle = idle
            .filter_map(|seat| Some((held.get(&seat.origin)?, seat.idle(now).filter(|idle| *idle >= GRACE)?, seat)));
        if let Some((_, _, seat)) = idle.max_by_key(|(held, idle, _)| (**held, *idle)) {
            seat.leave.cancel();
        }
    }
}

impl Share {
    /// Waits for a place within this share.
    pub(super) async fn place(mut self) -> Option<Place> {
        let connections = Arc::clone(&self.connections);
        if self.permit.is_none() {
            self.permit = Some(connections.acquire(&self.all, Some(self.origin)).await?);
        }
        let permit = connections.acquire(&connections.places, None).await?;
        let state = State { idle: Some(Instant::now()), asked: false, admitted: false };
        let seat = Seat { origin: self.origin, leave: CancellationToken::new(), state: Mutex::new(state) };
        let seat = Arc::new(seat);
        let mut table = connections.table();
        let number = table.next;
        table.next += 1;
        table.seats.insert(number, Arc::clone(&seat));
        Some(Place { number, seat, share: self, _permit: permit })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        self.permit = None;
        // Beside this one only the table's own is left.
        if Arc::strong_count(&self.all) == 2 {
            table.shares.remove(&self.origin);
        }
    }
}

impl Place {
    pub(super) const fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.share.connections.table().seats.remove(&self.number);
    }
}

impl Seat {
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
        self.state().asked
    }

    /// Notes that a request is answered, until what is returned is dropped.
    pub(super) fn ask(self: &Arc<Self>) -> Asking {
        let mut state = self.state();
        (state.idle, state.asked) = (None, true);
        Asking(Arc::clone(self))
    }

    /// Notes that the client may do what it wants to.
    pub(super) fn admit(&self) {
        self.state().admitted = true;
    }

    /// Ends when the connection should: its place is wanted, or within `patience` it has asked for nothing that it may.
    pub(super) async fn left(&self, patience: Duration) {
        if timeout(patience, self.leave.cancelled()).await.is_err() && self.state().admitted {
            self.leave.cancelled().await;
        }
    }
}

/// A request that is answered.
#[derive(Debug)]
pub(super) struct Asking(Arc<Seat>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.state().idle = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(last: u8) -> Origin {
        Origin::of(std::net::SocketAddr::from(([10, 0, 0, last], 1)))
    }

    fn welcome(connections: &Arc<Connections>, last: u8) -> Share {
        match connections.knock(origin(last)) {
            Knock::Welcome(share) => share,
            Knock::Wait(..) | Knock::Refused => panic!("{last} has its share already"),
        }
    }

    #[tokio::test]
    async fn no_address_takes_all_places() {
        let connections = Connections::new(4, 2);
        let mut places = Vec::new();
        for _ in 0..2 {
            places.push(welcome(&connections, 1).place().await.unwrap());
        }
        let asking: Vec<Asking> = places.iter().map(|place| place.seat().ask()).collect();
        let mut waiting = Vec::new();
        for _ in 0..WAITING {
            let Knock::Wait(share, permit) = connections.knock(origin(1)) else { panic!("it must wait") };
            waiting.push((share, permit));
        }
        assert!(matches!(connections.knock(origin(1)), Knock::Refused));
        places.push(welcome(&connections, 2).place().await.unwrap());

        // Whoever waits follows a connection of its address, and nobody else.
        let (share, _waiting) = waiting.pop().unwrap();
        places.remove(0);
        assert_eq!(share.place().await.unwrap().seat().origin, origin(1));
        drop((places, waiting, asking));
        assert!(connections.table().shares.is_empty() && connections.table().seats.is_empty());
    }

    #[tokio::test]
    async fn the_longest_idle_of_the_address_with_most_makes_room() {
        let connections = Connections::new(4, 4);
        let (mut places, start) = (Vec::new(), Instant::now());
        for (second, last) in [1, 2, 2, 2].into_iter().enumerate() {
            let place = welcome(&connections, last).place().await.unwrap();
            place.seat().state().idle = Some(start + Duration::from_secs(second as u64));
            places.push(place);
        }
        let _asking = places[1].seat().ask();
        let leave = |among, second| {
            connections.make_room(among, start + Duration::from_secs(second));
            places.iter().map(|place| place.seat().leave.is_cancelled()).collect::<Vec<_>>()
        };
        assert_eq!(leave(None, 0), [false; 4], "nobody has been idle for long");
        assert_eq!(leave(None, 9), [false, false, true, false]);
        assert_eq!(leave(Some(origin(1)), 9), [true, false, true, false]);
        assert_eq!(leave(None, 9), [true, false, true, true]);
        assert_eq!(leave(None, 9), [true, false, true, true], "one that is answered stays");
    }
}
