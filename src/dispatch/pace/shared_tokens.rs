//! The tokens of a rate that several processes share. This module is pure: it does no IO and reads no clock.
//!
//! The token bucket is in the store: a process orders tokens when it has a request to send, and uses them within a
//! second after the answer.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// The time for which a process can use the tokens of an order, from the answer of the store. A process that stops, or loses
/// the store, sends no request with older tokens.
const TOKENS_LIVE: Duration = Duration::from_secs(1);
/// The longest time between an order and its answer. A slow store, for example one with a slow standby, delays the requests
/// and does not stop them. The tokens of an older order possibly belong to the time before the process stood still.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The share of a second's tokens that the bucket holds, and that one order asks for at most.
///
/// A process gets its next tokens some moments after the last ones, so a smaller bucket would overflow. More tokens in the
/// hand of one process would delay the other processes.
const ORDER_SHARE: f64 = 0.25;
/// The shortest time between an order that emptied the bucket and the next order.
const ORDER_EVERY: Duration = Duration::from_millis(50);
/// The time after which dispatch looks for ordered tokens again.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// The tokens in hand, and the tokens that dispatch needs.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedTokens {
    /// The tokens of each order, and the time until which dispatch can use them. The oldest order comes first.
    in_hand: VecDeque<(usize, Timestamp)>,
    /// The end of the oldest tokens that dispatch took and can return.
    taken_until: Option<Timestamp>,
    needed: usize,
    /// The time of the next order. `None` means that no order is too early.
    next_order: Option<Timestamp>,
}

impl SharedTokens {
    pub(super) fn take(&mut self, wanted: usize, now: Timestamp) -> usize {
        self.in_hand.retain(|(_, until)| now < *until);
        let mut taken = 0;
        while taken < wanted
            && let Some((count, until)) = self.in_hand.front_mut()
        {
            let part = (wanted - taken).min(*count);
            *count -= part;
            taken += part;
            self.taken_until = Some(*until);
            if *count == 0 {
                self.in_hand.pop_front();
            }
        }
        taken
    }

    /// Returns unused tokens. They end when the tokens of their order end.
    pub(super) fn give_back(&mut self, unused: usize) {
        if let Some(until) = self.taken_until.filter(|_| unused > 0) {
            self.in_hand.push_front((unused, until));
        }
    }

    /// Remembers that dispatch has requests to send for which no token is in hand.
    pub(super) fn need(&mut self, requests: usize) {
        self.needed = self.needed.max(requests);
    }

    /// Returns the time of the next order. Returns `None` if dispatch needs no tokens.
    pub(super) fn next_order(&self, now: Timestamp) -> Option<Timestamp> {
        let next = self.next_order.unwrap_or(now).max(now);
        (self.needed > 0).then_some(next)
    }

    /// Returns the number of tokens to order now at this rate. Returns `None` if no order is due.
    pub(super) fn order(&self, rate: f64, now: Timestamp) -> Option<f64> {
        self.next_order(now).filter(|next| *next <= now)?;
        let needed = f64::from(u32::try_from(self.needed).unwrap_or(u32::MAX));
        Some(needed.min(Self::burst(rate)).floor())
    }

    /// Adds the tokens of an order that was sent and answered at these times. `left` is the content of the bucket after the
    /// order.
    ///
    /// Dispatch reports again what it still needs.
    pub(super) fn ordered(
        &mut self,
        granted: usize,
        (left, rate): (f64, f64),
        (ordered_at, answered_at): (Timestamp, Timestamp),
    ) {
        self.needed = 0;
        if granted > 0 && answered_at.since(ordered_at) <= ANSWER_WITHIN {
            let until = answered_at.after(TOKENS_LIVE);
            self.in_hand.push_back((granted, until));
        }
        let missing = Duration::from_secs_f64((1.0 - left).max(0.0) / rate);
        self.next_order = (left < 1.0).then(|| ordered_at.after(missing.max(ORDER_EVERY)));
    }

    /// Returns the maximum number of tokens in the bucket at this rate.
    pub(super) fn burst(rate: f64) -> f64 {
        (rate * ORDER_SHARE).max(1.0)
    }

    /// Returns the time at which dispatch looks for tokens again if none is in hand.
    pub(super) fn next(now: Timestamp) -> Timestamp {
        now.after(LOOK_AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn nothing_is_ordered_while_nothing_is_needed() {
        let tokens = SharedTokens::default();
        assert_eq!(tokens.next_order(at(5)), None);
        assert_eq!(tokens.order(20.0, at(5)), None);
    }

    #[test]
    fn an_order_asks_for_what_is_needed_and_at_most_a_quarter_of_a_second() {
        for (needed, rate, expected) in [(1, 20.0, 1.0), (50, 20.0, 5.0), (3, 0.5, 1.0)] {
            let mut tokens = SharedTokens::default();
            tokens.need(needed);
            assert_eq!(tokens.order(rate, at(0)), Some(expected), "{needed}");
        }
    }

    #[test]
    fn tokens_end_a_second_after_the_answer() {
        let mut tokens = SharedTokens::default();
        tokens.need(4);
        tokens.ordered(4, (2.0, 20.0), (at(0), at(0)));
        assert_eq!(tokens.take(1, at(10)), 1);
        assert_eq!(tokens.take(2, at(20)), 2);
        tokens.give_back(1);
        assert_eq!(tokens.take(9, at(999)), 2, "the returned one too");
        tokens.give_back(2);
        assert_eq!(tokens.take(9, at(1_000)), 0);
    }

    /// FAULTS N1168: a store that answered later than the life of the tokens stopped every request.
    #[test]
    fn tokens_of_a_slow_answer_are_used() {
        for (answered_at, usable) in [(1_200, 4), (10_000, 4), (10_001, 0)] {
            let mut tokens = SharedTokens::default();
            tokens.ordered(4, (2.0, 20.0), (at(0), at(answered_at)));
            assert_eq!(tokens.take(9, at(answered_at + 999)), usable);
        }
    }

    #[test]
    fn an_empty_bucket_delays_the_next_order() {
        for (left, rate, next) in [
            (1.0, 20.0, 7),
            (0.0, 20.0, 50),
            (0.5, 0.5, 1_000),
            (0.0, 1000.0, 50),
        ] {
            let mut tokens = SharedTokens::default();
            tokens.ordered(0, (left, rate), (at(0), at(0)));
            tokens.need(1);
            assert_eq!(tokens.next_order(at(7)), Some(at(next)), "{left} {rate}");
        }
    }
}
