//! The destination (Imprint), shared by all dispatch threads: decides whether dispatch is allowed to send a request to
//! Imprint now.
//!
//! [`Destination`] alone owns the state that belongs to the API key: the rate limit, the breaker, the operator's mode,
//! the shadow records, and the last applied lanes. All rules are in the pure `SendLimiter`. [`Destination`] adds the
//! lock and the wake-up. It holds the lock only for one decision, and never across an await.
//!
//! Dispatch threads take permits and report results. The operations listener reads the state and sets the mode. The
//! watcher of the key file reports a new API key.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use self::limiter::SendLimiter;
use super::breaker::{Attribution, DestinationState};
use super::evidence::{Blame, SavedEvidence};
use super::pace::{PresentRate, Rate};
use crate::imprint::ImprintId;
use crate::outbox::{Absence, KeyMark, LaneId};
use crate::time::Timestamp;

pub use self::failing::LaneFailures;
pub use self::inquiry::Inquiry;
pub use self::limiter::{LaneAnswer, PendingProposal};
pub use self::permit::{Clearance, SendPermit, SendPermits};
pub use self::recent::{RecentRequests, RequestDecision, RequestOperation, RequestRecord};
pub use self::unproven::UnprovenFailures;

use self::failing::FailingLanes;
use self::unproven::UnprovenRow;

mod failing;
mod inquiry;
mod limiter;
mod permit;
mod recent;
mod shared;
mod unproven;

#[cfg(test)]
mod tests;

/// The mode that the operator sets for the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OperatorMode {
    /// Dispatch sends requests.
    #[default]
    Open,
    /// Dispatch sends no request.
    Paused,
    /// Dispatch records each request instead of sending the request.
    Shadow,
}

impl OperatorMode {
    /// Every operator mode.
    pub const ALL: [Self; 3] = [Self::Open, Self::Paused, Self::Shadow];
    /// The names of all operator modes.
    pub const NAMES: [&'static str; 3] = [
        Self::Open.as_str(),
        Self::Paused.as_str(),
        Self::Shadow.as_str(),
    ];

    /// Returns the name of the operator mode for the store and the admin API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Shadow => "shadow",
        }
    }

    /// Parses the name of an operator mode.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

/// The assessment of a lane's result. The assessment takes the results of all other lanes into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// The state of the destination after the result of the request.
    pub state: DestinationState,
    /// The party that caused a failed attempt, according to recent results of other lanes.
    pub attribution: Attribution,
    /// The party that caused a failure, according to the evidence.
    pub blame: Blame,
    /// The time of the result.
    pub at: Timestamp,
    /// The record of an answer that the customer of the lane does not exist.
    pub absence: Option<Absence>,
}

/// The number of outages and of their ends that the process keeps for operators: more than a bad night has.
const OUTAGE_CHANGES_MAX: usize = 50;

/// A change of the destination's state, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The name of the state that began.
    pub to: &'static str,
    pub at: Timestamp,
    /// The result of the request that changed the state, in one word.
    pub outcome: &'static str,
    /// The cause of a failure in one word, such as `status_401`. The text is empty if the request did not fail.
    pub cause: String,
}

impl StateChange {
    /// Returns whether an outage began: Imprint was down, or refused all requests.
    fn is_outage(&self) -> bool {
        matches!(self.to, "probing" | "stopped")
    }
}

/// The changes of the destination's state, for operators.
#[derive(Debug, Default)]
struct StateChanges {
    /// The latest change.
    last: Option<StateChange>,
    /// The last outages and their ends, the newest first. Throttling is left out: it can begin and end each second.
    outages: VecDeque<StateChange>,
}

/// A request that dispatch did not send but only recorded, because the mode is [`OperatorMode::Shadow`].
#[derive(Clone, PartialEq)]
pub struct ShadowRecord {
    /// The time when dispatch would have sent the request.
    pub at: Timestamp,
    /// The Imprint id of the customer. For a search, the partner customer id.
    pub customer: String,
    /// The operation of the request: `update`, `retrieve` or `search`.
    pub operation: &'static str,
    /// The body of the update request. The body is empty for a retrieve or a search.
    pub body: Map<String, Value>,
}

/// Prints neither the body nor the customer of the shadow record: both are personal data.
impl fmt::Debug for ShadowRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowRecord")
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// The destination. All dispatch threads, the operations listener and the watcher of the key file share this value.
#[derive(Debug)]
pub struct Destination {
    limiter: Mutex<SendLimiter>,
    /// The changes of the state. No decision reads them.
    changes: Mutex<StateChanges>,
    /// The failures that dispatch threads reported. No decision reads it.
    unproven: Mutex<UnprovenRow>,
    /// The last requests of all dispatch threads. No decision reads them.
    recent: Mutex<RecentRequests>,
    /// The lanes whose last requests failed. No decision reads them.
    failing: Mutex<FailingLanes>,
    changed: Notify,
    /// Wakes the task that shares the destination.
    asked: Notify,
    is_paced: bool,
}

impl Destination {
    /// Creates a destination in the state flowing with this rate limit.
    pub fn new(rate: Rate, now: Timestamp) -> Self {
        Self {
            limiter: Mutex::new(SendLimiter::new(rate, now)),
            changes: Mutex::default(),
            unproven: Mutex::default(),
            recent: Mutex::default(),
            failing: Mutex::default(),
            changed: Notify::new(),
            asked: Notify::new(),
            is_paced: rate != Rate::Unlimited,
        }
    }

    /// Locks the limiter. A panic under the lock leaves no partial change: each change is one assignment.
    fn limiter(&self) -> MutexGuard<'_, SendLimiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current state of the destination.
    pub fn state(&self) -> DestinationState {
        self.limiter().state()
    }

    fn changes(&self) -> MutexGuard<'_, StateChanges> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a change of the state, for [`Self::outage_changes`] and [`Self::present_change`].
    pub fn record_change(&self, change: StateChange) {
        let mut changes = self.changes();
        let before = changes.outages.front();
        if change.is_outage() || before.is_some_and(StateChange::is_outage) {
            changes.outages.push_front(change.clone());
            changes.outages.truncate(OUTAGE_CHANGES_MAX);
        }
        changes.last = Some(change);
    }

    /// Returns the last outages and their ends since the start of the process, the newest first.
    pub fn outage_changes(&self) -> Vec<StateChange> {
        self.changes().outages.iter().cloned().collect()
    }

    /// Returns the change with which the current state began. Returns `None` if the state began with the process, or if
    /// two threads reported two changes in the wrong order.
    pub fn present_change(&self) -> Option<StateChange> {
        let last = self.changes().last.clone();
        last.filter(|change| change.to == self.state().as_str())
    }

    /// Returns whether a rate limit is configured.
    pub const fn is_paced(&self) -> bool {
        self.is_paced
    }

    /// Returns the configured and the present rate of requests. Returns `None` if no rate limit is configured.
    pub fn present_rate(&self, now: Timestamp) -> Option<PresentRate> {
        self.limiter().present_rate(now)
    }

    /// Returns the mode of the destination that the operator set.
    pub fn mode(&self) -> OperatorMode {
        self.limiter().mode()
    }

    /// Sets the operator's mode. Leaving shadow mode deletes the shadow records.
    pub fn set_mode(&self, mode: OperatorMode) {
        self.limiter().set_mode(mode);
        self.changed.notify_waiters();
    }

    /// Returns the requests recorded in shadow mode: the last request of each lane, for at most 1,000 lanes.
    pub fn shadow_records(&self) -> Vec<ShadowRecord> {
        self.limiter().shadow_records()
    }

    /// Forgets the customers of these lanes: as witnesses, and in the shadow records. An operator erases the customers.
    pub fn forget(&self, lanes: &[LaneId]) {
        self.limiter().forget(|lane| lanes.contains(&lane));
        self.forget_failures(|lane| lanes.contains(&lane));
    }

    /// Forgets all customers: as witnesses, and in the shadow records.
    pub fn forget_all(&self) {
        self.limiter().forget(|_| true);
        self.forget_failures(|_| true);
    }

    /// Continues a wait that Imprint asked for before this process started.
    pub fn wait_until(&self, until: Timestamp) {
        self.limiter().throttle_until(until);
    }

    /// Restores the evidence that an earlier process stored under the same API key. `canary` is the configured customer
    /// that always exists at Imprint.
    pub fn begin(
        &self,
        key: KeyMark,
        canary: Option<ImprintId>,
        stored: Option<&str>,
        now: Timestamp,
    ) {
        self.limiter().begin(key, canary, stored, now);
    }

    /// Replaces the API key. Deletes the evidence of the old API key, and makes the probe of a stopped destination due
    /// at once.
    pub fn key_changed(&self, key: KeyMark, now: Timestamp) {
        self.limiter().key_changed(key, now);
        self.changed.notify_waiters();
    }

    /// Takes at least one and at most `wanted` permits to send a lane.
    ///
    /// # Errors
    /// Returns the time of the next attempt if dispatch is not allowed to send a lane now.
    pub fn acquire(
        self: &Arc<Self>,
        wanted: usize,
        now: Timestamp,
    ) -> Result<SendPermits, Timestamp> {
        let mut limiter = self.limiter();
        let acquired = limiter.acquire(wanted, now);
        self.wake_sharing(&limiter, now);
        drop(limiter);
        let (kind, count) = acquired?;
        Ok(SendPermits::new(Arc::clone(self), kind, count, now))
    }

    /// Returns the question about a witness that dispatch must send now. Returns `None` if no question is necessary or
    /// possible now.
    pub fn ask_witness(self: &Arc<Self>, now: Timestamp) -> Option<Inquiry> {
        let mut limiter = self.limiter();
        let customer = limiter.ask_witness(now);
        self.wake_sharing(&limiter, now);
        drop(limiter);
        let customer = customer?;
        Some(Inquiry::new(Arc::clone(self), customer, now))
    }

    /// Returns whether evidence shows that a recorded answer (the customer does not exist) is true.
    pub fn proves(&self, absence: &Absence, now: Timestamp) -> bool {
        self.limiter().proves(absence, now)
    }

    /// Returns the evidence that dispatch must save in the store now. Returns `None` if the saved evidence is current.
    pub fn evidence_to_save(&self, now: Timestamp) -> Option<SavedEvidence> {
        self.limiter().evidence_to_save(now)
    }

    /// Returns whether a request that was sent at this time used the present API key.
    pub fn is_of_key(&self, sent_at: Timestamp) -> bool {
        self.limiter().is_of_key(sent_at)
    }

    /// Returns the time of the next regular probe. Returns `None` if the destination needs no probe.
    pub fn next_probe(&self) -> Option<Timestamp> {
        self.limiter().next_probe()
    }

    /// Returns the time from which the rate limit has a token for a failing lane: a lane whose last request failed.
    pub fn next_failing(&self) -> Timestamp {
        self.limiter().next_failing()
    }

    /// Returns whether the first requests of many new customers fail.
    pub fn are_first_requests_failing(&self) -> bool {
        self.limiter().are_first_requests_failing()
    }

    /// Resolves when the mode or the state of the destination has changed since this call, or when dispatch must poll
    /// for a question about a witness or a probe.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}
