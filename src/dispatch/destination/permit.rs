//! Permits to send. Each permit stands for one token of the rate, and for one place in the ramp or for the probe.
//!
//! A dropped permit returns itself, so no exit of a delivery can forget the permit or return it twice:
//!
//! | dropped | returned |
//! |---|---|
//! | before the request was sent | the token, and the place in the ramp or the probe |
//! | after the request was sent, without an assessed result | the place in the ramp, because no result will free it |
//! | after the result was assessed | nothing: the assessment has updated the ramp |

use std::sync::Arc;

use super::limiter::PermitKind;
use super::{Assessment, Destination};
use crate::dispatch::breaker::{DestinationState, Signal};
use crate::dispatch::core::Moment;
use crate::dispatch::lane_exchange::ImprintCall;
use crate::outbox::{LaneId, Trials};
use crate::time::Timestamp;

/// The permits to send that one claim takes: one for each claimed lane. Permits that no lane takes return themselves.
#[derive(Debug)]
pub struct SendPermits {
    destination: Arc<Destination>,
    kind: PermitKind,
    count: usize,
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
            acquired_at,
        }
    }

    /// Returns how many lanes may still take a permit.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Returns whether these are the permit for the one request that tests whether the destination works again.
    pub fn is_probe(&self) -> bool {
        self.kind == PermitKind::Probe
    }

    /// Takes out one permit, for one lane.
    pub fn take_one(&mut self) -> Option<SendPermit> {
        self.count = self.count.checked_sub(1)?;
        Some(SendPermit {
            destination: Arc::clone(&self.destination),
            kind: self.kind,
            progress: Progress::Unused,
            acquired_at: self.acquired_at,
        })
    }
}

impl Drop for SendPermits {
    fn drop(&mut self) {
        if self.count > 0 {
            self.destination
                .limiter()
                .return_unused(self.kind, self.count, self.acquired_at);
        }
    }
}

/// The permit of one lane.
#[derive(Debug)]
pub struct SendPermit {
    destination: Arc<Destination>,
    kind: PermitKind,
    progress: Progress,
    acquired_at: Timestamp,
}

/// The progress of the delivery that holds a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// No request has been sent.
    Unused,
    /// A request has been sent, and the result has not been assessed.
    Sent,
    /// The result has been assessed.
    Assessed,
}

/// The answer to the question whether one request may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clearance {
    /// Send the request.
    Send,
    /// Do not send the request: it was recorded, because the mode is shadow.
    Shadow,
    /// The permit became invalid while the lane was claimed: the destination stopped, or the operator paused it.
    Withdrawn,
    /// Free the lane and claim it again at this time.
    Postpone(Timestamp),
    /// Keep the lane and ask again at this time.
    Wait(Timestamp),
}

impl SendPermit {
    /// Asks whether this lane may send `call` now. The first call of a lane uses the token of the permit; each later call
    /// takes a token of its own.
    pub fn clear(&mut self, lane: LaneId, call: &ImprintCall, now: Timestamp) -> Clearance {
        let mut limiter = self.destination.limiter();
        match self.progress {
            Progress::Unused => {
                let clearance = limiter.clear_first(self.kind, lane, call, now);
                if clearance == Clearance::Send {
                    self.progress = Progress::Sent;
                }
                clearance
            }
            Progress::Sent | Progress::Assessed => limiter.clear_follow_up(lane, call, now),
        }
    }

    /// Reports the result of the lane's requests. Returns the state before the result, and the meaning for the lane.
    pub fn assess(
        mut self,
        lane: LaneId,
        attempts: Trials,
        signal: Signal,
        moment: Moment,
    ) -> (DestinationState, Assessment) {
        self.progress = Progress::Assessed;
        let (before, assessment) = self
            .destination
            .limiter()
            .assess(lane, attempts, signal, moment);
        if before != assessment.state {
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
            }
            Progress::Sent => self.destination.limiter().return_place(self.kind),
            Progress::Assessed => {}
        }
    }
}
