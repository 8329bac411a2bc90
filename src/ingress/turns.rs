//! The turns of the sources on one worker thread of the event listener.
//!
//! A worker thread verifies and maps one body after another, and the bodies of all sources are in one queue. Without
//! turns, one source that sends many large bodies at once would delay the requests of every other source until the
//! worker has mapped all these bodies. With turns, a source that has used its share of the worker lets the requests of
//! other sources pass before its next body.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::Refusal;
use super::body::next_poll;
use crate::event::SourceName;
use crate::time::Clock;

/// The time that a source can use before it lets the other requests of the worker pass. About 100 events take this
/// time.
const SHARE: Duration = Duration::from_millis(5);
/// The maximum number of complete bodies of one source that wait for their turn on one worker. The listener answers 503
/// to more bodies, because the sender would wait for a long time.
const WAITING_MAX: usize = 256;

thread_local! {
    static SHARES: RefCell<BTreeMap<SourceName, Share>> = const { RefCell::new(BTreeMap::new()) };
}

/// The part of the worker's time that one source uses.
#[derive(Debug, Default)]
struct Share {
    /// The number of the current round. A round ends when the worker comes back to a body that waited in this round: the
    /// worker has then served every request that was ready before.
    round: u64,
    /// The time that the source has used in the current round.
    used: Duration,
    /// The number of bodies that wait for their turn.
    waiting: usize,
}

/// The answer to a body that asks for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    Now,
    /// The body waits until the worker has served the other requests that are ready. The number is the current round.
    Later(u64),
}

impl Share {
    /// Decides whether a body can be mapped now. `waited_in` is the round in which the body waited before.
    fn admit(&mut self, waited_in: Option<u64>) -> Passage {
        if waited_in == Some(self.round) {
            self.round = self.round.wrapping_add(1);
            self.used = Duration::ZERO;
        }
        if self.used < SHARE {
            Passage::Now
        } else {
            Passage::Later(self.round)
        }
    }
}

/// The turn of one body. The time until the turn is dropped counts as used by the source. Nothing may be awaited during
/// a turn.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    source: &'a SourceName,
    clock: &'a Clock,
    started: Duration,
}

impl<'a> Turn<'a> {
    /// Waits for the turn of a body of this source.
    ///
    /// # Errors
    /// Returns [`Refusal::BodyBudget`] if [`WAITING_MAX`] bodies of the source already wait.
    pub(super) async fn take(source: &'a SourceName, clock: &'a Clock) -> Result<Self, Refusal> {
        let mut passage = with_share(source, |share| share.admit(None));
        if let Passage::Later(_) = passage {
            let waiting = Waiting::begin(source).ok_or(Refusal::BodyBudget)?;
            while let Passage::Later(round) = passage {
                next_poll().await;
                passage = with_share(source, |share| share.admit(Some(round)));
            }
            drop(waiting);
        }
        Ok(Self {
            source,
            clock,
            started: clock.monotonic(),
        })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let took = self.clock.monotonic().saturating_sub(self.started);
        with_share(self.source, |share| {
            share.used = share.used.saturating_add(took);
        });
    }
}

/// One body that waits for its turn. A dropped request waits no longer.
struct Waiting<'a>(&'a SourceName);

impl<'a> Waiting<'a> {
    fn begin(source: &'a SourceName) -> Option<Self> {
        with_share(source, |share| {
            let begins = share.waiting < WAITING_MAX;
            share.waiting += usize::from(begins);
            begins
        })
        .then_some(Self(source))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        with_share(self.0, |share| {
            share.waiting = share.waiting.saturating_sub(1);
        });
    }
}

/// Changes the share of a source. The shares of sources that no longer exist stay: their number is bounded by the number
/// of names that an operator configures.
fn with_share<T>(source: &SourceName, change: impl FnOnce(&mut Share) -> T) -> T {
    SHARES.with_borrow_mut(|shares| match shares.get_mut(source) {
        Some(share) => change(share),
        None => change(shares.entry(source.clone()).or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_used_its_share_waits_until_the_others_were_served() {
        let mut share = Share::default();
        assert_eq!(share.admit(None), Passage::Now);
        share.used = SHARE;
        assert_eq!(share.admit(None), Passage::Later(0));
        assert_eq!(share.admit(None), Passage::Later(0));
        // The first body that waited comes again: a new round.
        assert_eq!(share.admit(Some(0)), Passage::Now);
        assert_eq!(share.used, Duration::ZERO);
        // The second body waited in the earlier round. It does not end the new round.
        share.used = SHARE;
        assert_eq!(share.admit(Some(0)), Passage::Later(1));
        assert_eq!(share.admit(Some(1)), Passage::Now);
    }

    /// FAULTS N762.
    #[actix_web::test]
    async fn too_many_waiting_bodies_are_refused() {
        let (clock, source) = (Clock::machine(), SourceName::parse("busy").unwrap());
        with_share(&source, |share| {
            share.used = SHARE;
            share.waiting = WAITING_MAX;
        });
        let refused = Turn::take(&source, &clock).await;
        assert!(matches!(refused, Err(Refusal::BodyBudget)), "{refused:?}");
        with_share(&source, |share| share.waiting = 0);
        drop(Turn::take(&source, &clock).await.unwrap());
        assert_eq!(
            with_share(&source, |share| (share.waiting, share.round)),
            (0, 1)
        );
    }
}
