//! Permits to send a lane. Each permit holds one token of the rate limit, and either one credit of the ramp (the slow
//! start after a recovery) or the probe.
//!
//! A dropped permit returns automatically, so a delivery can neither lose a permit nor return a permit twice:
//!
//! | dropped | returned |
//! |---|---|
//! | before the request was sent | the token, and the credit of the ramp or the probe |
//! | after the request was sent, without an assessed result | the credit of the ramp: no result will return it |
//! | after the result was assessed | nothing: the assessment has updated the ramp |

use std::sync::Arc;

use super::limiter::{AskedCall, LaneAnswer, PermitKind};
use super::{Assessment, Destination};
use crate::dispatch::breaker::DestinationState;
use crate::dispatch::lane_exchange::ImprintCall;
use crate::dispatch::moment::Moment;
use crate::event::SourceName;
use crate::outbox::LaneId;
use crate::time::Timestamp;

/// The send permits of one claim: one permit for each claimed lane. When `SendPermits` is dropped, the permits that no
/// lane took return.
#[derive(Debug)]
pub struct SendPermits {
    destination: Arc<Destination>,
    kind: PermitKind,
    count: usize,
    /// The number of permits that failing lanes (lanes whose last request failed) can take.
    failing: usize,
    acquired_at: Timestamp,
}

impl SendPermits {
    pub(super) const fn new(
        destination: Arc<Destination>,
        kind: PermitKind,
        count: usize,
        acquired_at: Timestamp,
    ) -> Self {
        Self {
            destination,
            kind,
            count,
            failing: 0,
            acquired_at,
        }
    }

    /// Reserves at most `share` of the permits for failing lanes: lanes whose last request failed. Returns the number
    /// of reserved permits. The rate limit of failing lanes can reduce this number.
    pub fn allow_failing(&mut self, share: usize) -> usize {
        let mut limiter = self.destination.limiter();
        self.failing = limiter.take_failing(self.count, share, self.acquired_at);
        self.failing
    }

    /// Returns the number of permits that no lane has taken yet.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Returns whether the claim holds the permit for the probe: the single request that tests whether the destination
    /// works.
    pub fn is_probe(&self) -> bool {
        self.kind != PermitKind::Lane
    }

    /// Returns whether only a lane that has not failed is allowed to use the probe.
    pub fn is_arrival_probe(&self) -> bool {
        self.kind == PermitKind::ArrivalProbe
    }

    /// Takes one of the permits for one lane.
    pub fn take_one(&mut self) -> Option<SendPermit> {
        self.take(false)
    }

    /// Takes one permit for a lane whose last request failed. A probe permit is also valid for such a lane.
    pub fn take_one_failing(&mut self) -> Option<SendPermit> {
        if self.is_probe() {
            return self.take(false);
        }
        self.failing = self.failing.checked_sub(1)?;
        self.take(true)
    }

    fn take(&mut self, is_failing: bool) -> Option<SendPermit> {
        self.count = self.count.checked_sub(1)?;
        Some(SendPermit {
            destination: Arc::clone(&self.destination),
            kind: self.kind,
            is_failing,
            sources: Vec::new(),
            progress: Progress::Unused,
            acquired_at: self.acquired_at,
            sent_at: self.acquired_at,
        })
    }
}

impl Drop for SendPermits {
    fn drop(&mut self) {
        if self.count == 0 && self.failing == 0 {
            return;
        }
        let mut limiter = self.destination.limiter();
        limiter.return_failing(self.failing);
        if self.count > 0 {
            limiter.return_unused(self.kind, self.count, self.acquired_at);
        }
    }
}

/// The send permit of one lane.
#[derive(Debug)]
pub struct SendPermit {
    destination: Arc<Destination>,
    kind: PermitKind,
    /// True if the permit counts against the share of failing lanes.
    is_failing: bool,
    /// The sources of the lane's waiting entries. The limiter needs the sources to divide the tokens for searches
    /// fairly.
    sources: Vec<SourceName>,
    progress: Progress,
    acquired_at: Timestamp,
    /// The time when the last request was sent.
    sent_at: Timestamp,
}

/// The progress of the delivery that holds a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The delivery has not sent a request.
    Unused,
    /// The delivery has sent a request, and the result of the request has not been assessed.
    Sent,
    /// The result of the request has been assessed.
    Assessed,
}

/// The decision whether dispatch is allowed to send one request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clearance {
    /// Send the request now.
    Send,
    /// Do not send the request: the mode is shadow, so the limiter has only recorded the request.
    Shadow,
    /// The permit became invalid while the lane was claimed: the destination stopped, or the operator paused the
    /// destination.
    Withdrawn,
    /// Free the lane, and claim the lane again at this time.
    Postpone(Timestamp),
    /// Keep the lane claimed, and ask the limiter again at this time.
    Wait(Timestamp),
}

impl SendPermit {
    /// Sets the sources of the lane's waiting entries. A caller must set the sources before it asks for a search.
    pub fn name_sources(&mut self, sources: Vec<SourceName>) {
        self.sources = sources;
    }

    /// Asks the limiter whether this lane is allowed to send `call` now. The first call of a lane uses the token of the
    /// permit. Each later call needs one more token.
    pub fn clear(&mut self, lane: LaneId, call: &ImprintCall, now: Timestamp) -> Clearance {
        let asked = AskedCall {
            lane,
            call,
            sources: &self.sources,
            since: self.sent_at,
        };
        let mut limiter = self.destination.limiter();
        let clearance = match self.progress {
            Progress::Unused => limiter.clear_first(self.kind, asked, now),
            Progress::Sent | Progress::Assessed => limiter.clear_follow_up(asked, now),
        };
        if self.is_failing && self.progress != Progress::Unused && clearance == Clearance::Send {
            limiter.charge_failing();
        }
        self.destination.wake_sharing(&limiter, now);
        if clearance == Clearance::Send {
            self.sent_at = now;
            self.progress = match self.progress {
                Progress::Unused => Progress::Sent,
                later @ (Progress::Sent | Progress::Assessed) => later,
            };
        }
        clearance
    }

    /// Returns the time of the last request, or of the permit if no request was sent.
    pub const fn sent_at(&self) -> Timestamp {
        self.sent_at
    }

    /// Returns whether the last request of the lane used the present API key. If the lane has not sent a request,
    /// returns whether dispatch claimed the lane under this key.
    pub fn is_of_present_key(&self) -> bool {
        self.destination.limiter().is_of_key(self.sent_at)
    }

    /// Reports Imprint's answer to the limiter. Returns the state of the destination before the answer, and the
    /// assessment of the answer.
    pub fn assess(
        mut self,
        answer: LaneAnswer<'_>,
        moment: Moment,
    ) -> (DestinationState, Assessment) {
        self.progress = Progress::Assessed;
        let mut limiter = self.destination.limiter();
        let (before, assessment) = limiter.assess(answer, self.sent_at, moment);
        let is_asking_wanted = limiter.is_asking_wanted(moment.now);
        self.destination.wake_sharing(&limiter, moment.now);
        drop(limiter);
        if before != assessment.state || is_asking_wanted {
            self.destination.changed.notify_waiters();
        }
        (before, assessment)
    }
}

impl Drop for SendPermit {
    fn drop(&mut self) {
        match self.progress {
            Progress::Unused => {
                let mut limiter = self.destination.limiter();
                limiter.return_unused(self.kind, 1, self.acquired_at);
                limiter.return_failing(usize::from(self.is_failing));
            }
            Progress::Sent => self.destination.limiter().return_place(self.kind),
            Progress::Assessed => {}
        }
    }
}
