//! The idle connections to one server, and the rules for reusing a connection.
//!
//! HTTP/1.1 has no number that pairs an answer with its request: the next bytes on a connection are the next answer. If
//! an answer arrives late, a client therefore regards it as the answer to the next request. Three rules prevent this
//! error:
//!
//! - After an answer, a connection waits a short time before it carries the next request. If a byte arrives during this
//!   time, the client closes the connection.
//! - A connection carries a second request with the same target (path and query) only after 10 s, and only after a
//!   request with another target in between. The client compares the customer id in an answer with the request, so it
//!   could confuse only two answers about the same customer. If a server is one answer late, the client already notices
//!   the error at the request in between. A single customer who changes all the time therefore needs a new connection
//!   for each request.
//! - After an irregular answer, such as an incomplete answer or a server error, the client closes the connection.
//!
//! One case remains: a wrong answer arrives while the next request is in flight, and contains the customer id of this
//! request. Only a server that confuses its connections sends such an answer.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// The time for which a connection waits after an answer before it carries the next request. A proxy that sends a late
/// answer of its server sends it within about 100 ms.
const REST: Duration = Duration::from_millis(250);
/// The time for which a connection carries no second request with the same target. A gateway that sends a late answer
/// of its server sends it within a few seconds.
const TARGET_REST: Duration = Duration::from_secs(10);
/// With this number of idle connections, the client reuses a connection even before [`REST`] is over, instead of
/// opening a new connection.
///
/// Up to about 250 requests per second, every connection waits for the full [`REST`].
///
/// More connections cost time: the data of a connection that is rarely in use is in no cache of the processor.
const RESTING_MAX: usize = 64;
/// The maximum idle time of a connection. Load balancers usually close an idle connection after 60 s.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// The maximum age of a connection. If the server moves to another address, the client follows within this time.
const LIFETIME_MAX: Duration = Duration::from_secs(75);

/// Returns the maximum number of open connections of a client with at most `concurrency` requests in flight.
pub const fn connections_max(concurrency: usize) -> usize {
    concurrency.saturating_add(resting_max(concurrency))
}

const fn resting_max(concurrency: usize) -> usize {
    if concurrency < RESTING_MAX {
        concurrency
    } else {
        RESTING_MAX
    }
}

/// A connection that [`IdleConnections`] can keep.
pub(super) trait Reusable {
    fn opened(&self) -> Timestamp;
    /// Returns the time of the last answer to a request with this target on this connection.
    fn answered_at(&self, target: u64) -> Option<Timestamp>;
    /// Returns the target of the last request on this connection.
    fn last_target(&self) -> u64;
    /// Returns whether the connection is open and no byte has arrived since the last answer.
    fn is_silent(&self) -> bool;
}

/// The idle connections to one server. The connection that has been idle for the longest time comes first.
#[derive(Debug)]
pub(super) struct IdleConnections<C> {
    idle: VecDeque<(Timestamp, C)>,
    resting_max: usize,
}

impl<C: Reusable> IdleConnections<C> {
    /// Creates an empty queue for a client with at most `concurrency` requests in flight.
    pub(super) const fn new(concurrency: usize) -> Self {
        Self {
            idle: VecDeque::new(),
            resting_max: resting_max(concurrency),
        }
    }

    /// Closes all idle connections.
    pub(super) fn clear(&mut self) {
        self.idle.clear();
    }

    /// Adds a connection that has just carried a complete answer.
    pub(super) fn put(&mut self, connection: C, now: Timestamp) {
        self.idle.push_back((now, connection));
    }

    /// Returns the connection that has been idle for the longest time and can carry a request with `target`. Returns
    /// `None` if the caller must open a new connection.
    ///
    /// If the queue is full, the method then closes one idle connection.
    pub(super) fn take(&mut self, target: u64, now: Timestamp) -> Option<C> {
        // The queue is sorted by idle time, so the loop can stop at the first connection that is still fresh.
        while self.idle.front().is_some_and(|idle| !is_fresh(idle, now)) {
            self.idle.pop_front();
        }
        let is_full = self.idle.len() >= self.resting_max;
        let may_carry = |connection: &C| {
            let answered_at = connection.answered_at(target);
            answered_at
                .is_none_or(|at| now.since(at) >= TARGET_REST && connection.last_target() != target)
        };
        while let Some(at) = self.idle.iter().position(|(since, connection)| {
            (is_full || now.since(*since) >= REST) && may_carry(connection)
        }) {
            let idle = self.idle.remove(at)?;
            if is_fresh(&idle, now) && idle.1.is_silent() {
                return Some(idle.1);
            }
        }
        if is_full {
            self.idle.pop_front();
        }
        None
    }

    /// Closes the connections that are too old or that the server has closed. Returns whether any connection is left.
    /// While the client sends no requests, only this method closes connections.
    pub(super) fn purge(&mut self, now: Timestamp) -> bool {
        self.idle
            .retain(|idle| is_fresh(idle, now) && idle.1.is_silent());
        !self.idle.is_empty()
    }
}

/// Returns whether a connection is young enough for another request.
fn is_fresh<C: Reusable>((since, connection): &(Timestamp, C), now: Timestamp) -> bool {
    now.since(*since) <= IDLE_MAX && now.since(connection.opened()) <= LIFETIME_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection with its number, the time when it was opened, the targets of its requests, and whether it is
    /// silent.
    #[derive(Clone, Debug, PartialEq)]
    struct Connection(u8, Timestamp, Vec<u64>, bool);

    impl Reusable for Connection {
        fn opened(&self) -> Timestamp {
            self.1
        }

        fn answered_at(&self, target: u64) -> Option<Timestamp> {
            self.2.contains(&target).then_some(START)
        }

        fn last_target(&self) -> u64 {
            self.2.last().copied().unwrap_or_default()
        }

        fn is_silent(&self) -> bool {
            self.3
        }
    }

    const CONCURRENCY: usize = 10;
    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn connection(number: u8) -> Connection {
        Connection(number, START, vec![u64::from(number)], true)
    }

    fn idle(connections: impl IntoIterator<Item = Connection>) -> IdleConnections<Connection> {
        let mut idle = IdleConnections::new(CONCURRENCY);
        for connection in connections {
            idle.put(connection, START);
        }
        idle
    }

    fn taken(idle: &mut IdleConnections<Connection>, after: Duration) -> Option<u8> {
        idle.take(99, START.after(after)).map(|taken| taken.0)
    }

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn a_connection_rests_before_its_next_request() {
        let mut idle = idle([connection(1), connection(2)]);
        assert_eq!(taken(&mut idle, REST.saturating_sub(MILLISECOND)), None);
        assert_eq!(taken(&mut idle, REST), Some(1));
        assert_eq!(taken(&mut idle, REST), Some(2));
        assert_eq!(taken(&mut idle, REST), None);
    }

    #[test]
    fn many_connections_rest_for_a_shorter_time() {
        let full = u8::try_from(CONCURRENCY).unwrap();
        let mut idle = idle((1..=full).map(connection));
        assert_eq!(taken(&mut idle, MILLISECOND), Some(1));
        assert_eq!(taken(&mut idle, MILLISECOND), None);
    }

    #[test]
    fn a_connection_makes_room_for_one_to_a_target_that_all_have_carried() {
        let full = u8::try_from(CONCURRENCY).unwrap();
        let carried = |number| Connection(number, START, vec![7], true);
        let mut idle = idle((0..full).map(carried));
        let none = idle.take(7, START.after(MILLISECOND));
        assert_eq!((none, idle.idle.len()), (None, CONCURRENCY - 1));
    }

    #[test]
    fn a_connection_carries_a_target_again_after_a_long_rest_and_another_target() {
        let before = TARGET_REST.saturating_sub(MILLISECOND);
        for (carried, after, expected) in [
            (vec![], REST, true),
            (vec![2], REST, true),
            (vec![1], TARGET_REST, false),
            (vec![2, 1], TARGET_REST, false),
            (vec![1, 2], before, false),
            (vec![1, 2], TARGET_REST, true),
        ] {
            let mut idle = idle([Connection(7, START, carried.clone(), true)]);
            let taken = idle.take(1, START.after(after));
            assert_eq!(taken.is_some(), expected, "{carried:?} {after:?}");
        }
    }

    /// FAULTS N213
    #[test]
    fn a_purge_leaves_the_connections_that_may_carry_a_request() {
        let silent = |number, opened| Connection(number, opened, Vec::new(), true);
        let old = Timestamp::from_millis(START.as_millis() - 75_000);
        let closed = Connection(2, START, Vec::new(), false);
        let mut idle = idle([silent(1, START), closed, silent(3, old)]);
        assert!(idle.purge(START.after(MILLISECOND)));
        let left: Vec<u8> = idle
            .idle
            .iter()
            .map(|(_, connection)| connection.0)
            .collect();
        assert_eq!(left, [1]);
        assert!(idle.purge(START.after(IDLE_MAX)));
        assert!(!idle.purge(START.after(IDLE_MAX + MILLISECOND)));
    }

    #[test]
    fn a_connection_that_is_closed_or_has_unread_bytes_is_dropped() {
        let noisy = Connection(1, START, Vec::new(), false);
        let mut idle = idle([noisy.clone(), connection(2), noisy]);
        assert_eq!(taken(&mut idle, REST), Some(2));
        assert_eq!(taken(&mut idle, REST), None);
        assert_eq!(idle.idle.len(), 0);
    }

    #[test]
    fn an_old_connection_is_dropped() {
        for (opened, after, expected) in [
            (START, IDLE_MAX, Some(1)),
            (START, IDLE_MAX + MILLISECOND, None),
            (
                Timestamp::from_millis(1_000_000 - 70_000),
                Duration::from_secs(5),
                Some(1),
            ),
            (Timestamp::from_millis(1_000_000 - 75_000), REST, None),
        ] {
            let mut idle = idle([Connection(1, opened, Vec::new(), true)]);
            assert_eq!(taken(&mut idle, after), expected, "{opened:?} {after:?}");
            assert_eq!(idle.idle.len(), 0);
        }
    }
}
