//! The places for connections on one listener. If all places are taken, the listener closes one connection in favour of
//! a new one: the connection that has waited for its client for the longest time.
//!
//! Without this rule, clients that open connections and send nothing would lock out senders and health checks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;

use crate::time::Clock;

/// For each group of this number of places, the listener can have one additional socket. The additional sockets are for
/// connections that have lost their place but are not yet closed.
const CLOSING_SHARE: usize = 8;

/// The places of one listener. All worker threads of the listener share the places.
#[derive(Debug)]
pub(super) struct Places {
    /// The name of the setting with the address of the listener. The log shows this name.
    listener: &'static str,
    places_max: usize,
    clock: Clock,
    taken: Mutex<TakenPlaces>,
}

#[derive(Debug, Default)]
struct TakenPlaces {
    next: u64,
    occupants: HashMap<u64, Arc<Occupant>>,
}

/// The state of one connection. The listener uses these states to choose the connection that it closes.
#[derive(Debug)]
struct Occupant {
    /// The time in milliseconds of the last complete request. Before the first request, the time at which the
    /// connection was opened.
    since: AtomicI64,
    /// True while the bridge works on a complete request.
    is_busy: AtomicBool,
    /// True if the bridge has authenticated a request on this connection.
    is_trusted: AtomicBool,
    is_closed: AtomicBool,
    task: AtomicWaker,
}

impl Places {
    /// Creates the places of a listener with at most `connections_max` open sockets.
    pub(super) fn new(listener: &'static str, connections_max: usize, clock: Clock) -> Self {
        // Keeps some sockets for connections that have lost their place but are not yet closed.
        let closing = connections_max / (CLOSING_SHARE + 1);
        Self {
            listener,
            places_max: connections_max.saturating_sub(closing).max(1),
            clock,
            taken: Mutex::default(),
        }
    }

    /// Returns the name of the setting with the address of the listener.
    pub(super) const fn listener(&self) -> &'static str {
        self.listener
    }

    /// Returns the maximum number of open connections of one of `workers` worker threads.
    pub(super) const fn for_worker(&self, workers: usize) -> usize {
        let all = self.places_max + self.places_max / CLOSING_SHARE;
        let share = all / workers;
        if share == 0 { 1 } else { share }
    }

    /// Gives a place to a new connection. Returns `None` if all places are taken and the bridge works on a request of
    /// every connection.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.lock();
        let closed = if taken.occupants.len() >= self.places_max {
            Some(taken.longest_waiting()?)
        } else {
            None
        };
        let number = taken.next;
        taken.next = taken.next.wrapping_add(1);
        let occupant = Arc::new(Occupant {
            since: AtomicI64::new(self.clock.now().as_millis()),
            is_busy: AtomicBool::new(false),
            is_trusted: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            task: AtomicWaker::new(),
        });
        taken.occupants.insert(number, Arc::clone(&occupant));
        drop(taken);
        if let Some(closed) = closed {
            closed.is_closed.store(true, Ordering::Release);
            closed.task.wake();
            let listener = self.listener;
            tracing::warn!(
                listener,
                "all connections are in use: the listener closed the one that had waited longest for its client"
            );
        }
        Some(Place {
            places: Arc::clone(self),
            number,
            occupant,
        })
    }

    fn lock(&self) -> MutexGuard<'_, TakenPlaces> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TakenPlaces {
    /// Removes the connection that has waited for its client for the longest time. Prefers connections without an
    /// authenticated request.
    fn longest_waiting(&mut self) -> Option<Arc<Occupant>> {
        let waiting = self.occupants.iter();
        let waiting = waiting.filter(|(_, occupant)| !occupant.is_busy.load(Ordering::Acquire));
        let longest = waiting.min_by_key(|(number, occupant)| {
            let is_trusted = occupant.is_trusted.load(Ordering::Relaxed);
            (is_trusted, occupant.since.load(Ordering::Relaxed), **number)
        });
        let number = longest.map(|(number, _)| *number)?;
        self.occupants.remove(&number)
    }
}

/// The place of one connection. The drop of a `Place` frees the place for another connection.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    occupant: Arc<Occupant>,
}

impl Place {
    /// Records that the bridge works on a complete request.
    pub(super) fn begin(&self) {
        let now = self.places.clock.now().as_millis();
        self.occupant.since.store(now, Ordering::Relaxed);
        self.occupant.is_busy.store(true, Ordering::Release);
    }

    /// Records that the bridge has answered, and that the connection waits for its client.
    pub(super) fn end(&self, is_trusted: bool) {
        self.occupant
            .is_trusted
            .store(is_trusted, Ordering::Relaxed);
        self.occupant.is_busy.store(false, Ordering::Release);
    }

    /// Returns whether the connection must close. If it must close only later, wakes `task` at that time.
    pub(super) fn is_closed(&self, task: &Waker) -> bool {
        self.occupant.task.register(task);
        self.occupant.is_closed.load(Ordering::Acquire)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().occupants.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::Timestamp;

    /// FAULTS N50
    #[test]
    fn the_connection_that_has_waited_longest_gives_its_place_away() {
        let clock = Clock::manual(Timestamp::from_millis(0));
        let places = Arc::new(Places::new("test", 3, clock.clone()));
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(places.enter().unwrap());
            clock.advance(Duration::from_secs(1));
        }
        taken[0].begin();
        taken[1].end(true);
        let is_closed = |place: &Place| place.is_closed(Waker::noop());
        // The first is busy, and the second was authentic.
        let fourth = places.enter().unwrap();
        assert_eq!(
            taken.iter().map(is_closed).collect::<Vec<_>>(),
            [false, false, true]
        );
        fourth.begin();
        let fifth = places.enter().unwrap();
        assert!(is_closed(&taken[1]));
        fifth.begin();
        assert!(places.enter().is_none());
        drop(taken);
        assert!(places.enter().is_some());
        assert_eq!(places.lock().occupants.len(), 2);
    }
}
