//! Decides whether the lane or the destination caused a failure. This module is pure: it does no IO and reads no clock.
//!
//! After a failing answer, the lane becomes a *suspect*, and all other lanes continue. Only the answer to a request
//! that dispatch sends after the failing answer shows the cause:
//! - If a request of a different lane succeeds, the suspect itself caused its failure. The suspect is then *refuted*:
//!   its failures do not count as failures of the destination until Imprint has applied a request of this lane.
//! - A *witness* is a customer of a different lane whose update Imprint has applied before. If Imprint answers the
//!   retrieve of a witness, all suspects are refuted. The exception is a suspect whose update Imprint forbids, because
//!   a retrieve does not show that updates are permitted. If the retrieve fails as the suspect's request did, the
//!   destination is the cause.
//! - An answer that a customer does not exist finishes no entry before evidence proves the answer. The module `proof`
//!   contains the rules.
//! - Without a witness, the same failure of a second lane shows that the destination is the cause. Several refusals of
//!   one lane, without a success of a different lane, show the same. The module `refusals` contains the exceptions
//!   shortly after an applied update. A wrong conclusion does not last long, because new
//!   lanes still probe the destination at once. The same rule applies while dispatch sends only probes or waits, because
//!   dispatch then asks about no witness.

use std::collections::BTreeMap;
use std::time::Duration;

use self::proof::Proof;
use self::refusals::Refutation;
use self::stored::KeyEvidence;
use self::witnesses::Witnesses;
use super::breaker::{DestinationState, Signal};
use crate::imprint::ImprintId;
use crate::outbox::LaneId;
use crate::time::Timestamp;

pub use self::proof::AbsentCustomer;
pub use self::refusals::Accuser;
pub use self::stored::SavedEvidence;

mod absence;
mod proof;
mod refusals;
mod stored;
mod witnesses;

/// The maximum number of suspects, and of refuted lanes, in memory.
///
/// Beyond this number, the bridge removes the lanes with the lowest numbers. The next failure of a removed lane makes
/// the lane a suspect again.
const LANES_MAX: usize = 4096;
/// After this number of refusals of one lane, without a success of a different lane, the destination counts as the
/// cause.
const REFUSALS_MAX: u32 = 3;
/// After this number of failed requests in a row, the bridge asks about a witness. Single failures are so frequent that
/// a retrieve for each failure would cost too many requests.
const ASK_AFTER_FAILURES: u32 = 3;
/// The maximum age of evidence.
///
/// An older success of other lanes does not show that a refuted lane is the cause of its present failures. If an answer
/// "the customer does not exist" is older, dispatch asks Imprint again.
const EVIDENCE_AGE_MAX: Duration = Duration::from_mins(10);
/// If the last success is older than this and a refuted lane fails, the bridge asks about a witness, because the
/// destination has possibly failed since the last success.
const CHECK_AFTER: Duration = Duration::from_secs(30);

/// A failure whose cause is possibly the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FaultKind {
    Failed,
    Throttled,
    Refused,
    Forbidden,
    /// The answer rejects the update, but contains no error type of Imprint: possibly a gateway has sent the answer.
    Unexplained,
}

/// The party that caused a failure, according to the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The lane caused the failure: after the failure, dispatch sent a request of a different lane, and the request
    /// succeeded.
    Lane,
    /// The cause is unknown: no answer to a request after the failure has shown the cause yet.
    Unproven,
    /// The destination caused the failure.
    Destination,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    fault: FaultKind,
    answered_at: Timestamp,
    /// The number of answers in a row with this fault.
    times: u32,
    /// True if Imprint has applied an update of the lane's customer before.
    is_known: bool,
}

/// The progress of the question about a witness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asking {
    #[default]
    NotNeeded,
    Wanted,
    InFlight,
}

/// Imprint's answer about a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// Imprint returned the witness.
    Found,
    /// The answer shows nothing, for example because Imprint forbids the retrieve.
    Nothing,
    /// Imprint, or a gateway in front of Imprint, answered that the witness does not exist.
    Denied,
    /// The retrieve failed with this signal.
    Failed(Signal),
}

/// The suspects, the refuted lanes, and the witnesses.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    suspects: BTreeMap<LaneId, Suspect>,
    refuted: BTreeMap<LaneId, Refutation>,
    /// The time when dispatch sent the last request whose answer shows that the destination works.
    worked_at: Option<Timestamp>,
    /// The time when dispatch sent the last request that Imprint applied.
    applied_at: Option<Timestamp>,
    witnesses: Witnesses,
    proof: Proof,
    /// The evidence under the API key before the present key.
    earlier_key: Option<KeyEvidence>,
    asking: Asking,
    /// The failure of the last retrieve of a witness. `None` after a request has succeeded.
    confirmed: Option<FaultKind>,
    /// True if the evidence has changed since the store last saved it.
    is_changed: bool,
    /// True if dispatch must make due the lanes that wait for proof. The reason is new proof or a new API key.
    wakes_lanes: bool,
    saved_at: Option<Timestamp>,
}

impl Evidence {
    /// Records an answer that shows that the destination works: Imprint applied or answered a request of this lane.
    /// `sent_at` is the time when dispatch sent the request.
    pub(super) fn succeeded(&mut self, lane: LaneId, signal: Signal, sent_at: Timestamp) {
        let refutes = |fault: FaultKind| match signal {
            Signal::Applied => true,
            Signal::Answered | Signal::Rejected => fault.is_testable(),
            Signal::Missing
            | Signal::Unrelated
            | Signal::Unexplained
            | Signal::Failed
            | Signal::Throttled(_)
            | Signal::Refused
            | Signal::Forbidden => false,
        };
        self.refute(sent_at, |suspected, fault| {
            suspected != lane && refutes(fault)
        });
        if signal == Signal::Applied {
            self.proof.applied();
            self.applied_at = self.applied_at.max(Some(sent_at));
            self.worked(sent_at);
            self.suspects.remove(&lane);
            self.refuted.remove(&lane);
        }
        if refutes(FaultKind::Failed) {
            self.confirmed = None;
            self.worked_at = self.worked_at.max(Some(sent_at));
        }
    }

    /// Remembers the customer of an applied request as a witness.
    pub(super) fn record_witness(&mut self, lane: LaneId, customer: &ImprintId, now: Timestamp) {
        self.is_changed |= self.witnesses.record(lane, customer, now);
    }

    /// Records the lane of the configured witness: the customer in the setting `imprint.canary_id`.
    pub(super) fn meet(&mut self, lane: LaneId, customer: &ImprintId) {
        self.witnesses.meet(lane, customer);
    }

    /// Records that Imprint applied an update or returned a witness.
    fn worked(&mut self, sent_at: Timestamp) {
        if self.proof.worked(sent_at) {
            (self.is_changed, self.wakes_lanes) = (true, true);
        }
        self.worked_at = self.worked_at.max(Some(sent_at));
    }

    /// Records a failing answer to a lane's request, and returns the party that caused the failure.
    ///
    /// `sent_at` is the time when dispatch sent the request, and `state` is the state of the destination before the
    /// answer. If the state permits no question about a witness, the answers to several lanes decide, as without a
    /// witness.
    pub(super) fn failed(
        &mut self,
        accuser: Accuser,
        signal: Signal,
        (sent_at, now): (Timestamp, Timestamp),
        state: DestinationState,
    ) -> Blame {
        let lane = accuser.lane;
        let Some(fault) = FaultKind::of(signal) else {
            return Blame::Unproven;
        };
        if self.is_of_earlier_key(fault, sent_at)
            || fault == FaultKind::Unexplained && self.is_before_refutation(lane, sent_at)
        {
            return Blame::Unproven;
        }
        let can_ask = state.honours_permits(now);
        if self.is_refuted(lane, now, can_ask) {
            if fault == FaultKind::Unexplained {
                // The rejection possibly parks an entry, so the next rejection of the lane needs its own proof.
                self.refuted.remove(&lane);
            }
            return Blame::Lane;
        }
        let times = self.suspect(accuser, fault, now);
        let is_proven = if self.confirmed == Some(fault) {
            true
        } else if fault.is_testable() && can_ask && self.witness(now).is_some() {
            let failures = state.failures() + 1;
            let is_frequent = fault != FaultKind::Failed || failures >= ASK_AFTER_FAILURES;
            if is_frequent && self.asking == Asking::NotNeeded {
                self.asking = Asking::Wanted;
            }
            false
        } else {
            match fault {
                FaultKind::Failed => self.suspects_with(fault).nth(1).is_some(),
                FaultKind::Throttled => self.is_shared(fault, lane, sent_at),
                FaultKind::Refused | FaultKind::Forbidden | FaultKind::Unexplained => {
                    self.is_refused_for_all((fault, times), accuser, (sent_at, now))
                }
            }
        };
        if !is_proven {
            return Blame::Unproven;
        }
        if fault == FaultKind::Throttled {
            // Imprint throttles every lane, so nothing shows any more that only refuted lanes fail.
            self.worked_at = None;
        }
        Blame::Destination
    }

    /// Returns whether the lane itself is the cause of its failures.
    ///
    /// If the evidence against the lane is not fresh, asks about a witness. If dispatch cannot ask about a witness, or if
    /// the evidence is too old, the lane is no longer refuted.
    fn is_refuted(&mut self, lane: LaneId, now: Timestamp, can_ask: bool) -> bool {
        if !self.refuted.contains_key(&lane) {
            return false;
        }
        let is_younger = |age| self.worked_at.is_some_and(|at| now < at.after(age));
        let can_check = can_ask && self.witness(now).is_some();
        if !is_younger(EVIDENCE_AGE_MAX) || (!is_younger(CHECK_AFTER) && !can_check) {
            self.refuted.remove(&lane);
            return false;
        }
        if !is_younger(CHECK_AFTER) && self.asking == Asking::NotNeeded {
            self.asking = Asking::Wanted;
        }
        true
    }

    fn suspects_with(&self, fault: FaultKind) -> impl Iterator<Item = (&LaneId, &Suspect)> {
        let suspects = self.suspects.iter();
        suspects.filter(move |(_, suspect)| suspect.fault == fault)
    }

    /// Refutes the suspects that failed before dispatch sent a successful request, and that `is_refuted` selects.
    fn refute(&mut self, sent_at: Timestamp, is_refuted: impl Fn(LaneId, FaultKind) -> bool) {
        if self.suspects.is_empty() {
            return;
        }
        let refuted = &mut self.refuted;
        self.suspects.retain(|lane, suspect| {
            let refutes = suspect.answered_at <= sent_at && is_refuted(*lane, suspect.fault);
            if refutes {
                let fault = suspect.fault;
                refuted.insert(*lane, Refutation { fault, sent_at });
            }
            !refutes
        });
        while self.refuted.len() > LANES_MAX {
            self.refuted.pop_first();
        }
    }

    /// Returns a witness whose lane is neither a suspect nor refuted.
    fn witness(&self, now: Timestamp) -> Option<&ImprintId> {
        let is_sound =
            |lane| !self.suspects.contains_key(&lane) && !self.refuted.contains_key(&lane);
        self.witnesses.find(is_sound, now)
    }

    /// Returns whether the bridge must ask about a witness.
    pub(super) fn is_asking_wanted(&self, now: Timestamp) -> bool {
        match self.asking {
            Asking::Wanted => true,
            Asking::NotNeeded => self.proof.is_question_due(now),
            Asking::InFlight => false,
        }
    }

    /// Returns the witness to retrieve now. Returns `None` if no question is necessary or no witness is known.
    pub(super) fn ask(&mut self, now: Timestamp) -> Option<ImprintId> {
        if !self.is_asking_wanted(now) {
            return None;
        }
        let customer = self.witness(now).cloned();
        self.proof.asked(now);
        self.asking = match customer {
            Some(_) => Asking::InFlight,
            None => Asking::NotNeeded,
        };
        customer
    }

    /// Makes the question necessary again, because the last question got no answer.
    pub(super) fn ask_again(&mut self) {
        self.asking = Asking::Wanted;
    }

    /// Records the answer about a witness. `sent_at` is the time of the question.
    pub(super) fn testified(
        &mut self,
        customer: &ImprintId,
        testimony: Testimony,
        (sent_at, now): (Timestamp, Timestamp),
    ) {
        self.asking = Asking::NotNeeded;
        match testimony {
            Testimony::Found => {
                self.confirmed = None;
                self.worked(sent_at);
                self.refute(sent_at, |_, fault| fault.is_testable());
                let mut suspects = self.suspects.values();
                if suspects.any(|suspect| suspect.fault.is_testable()) {
                    self.asking = Asking::Wanted;
                }
            }
            Testimony::Nothing => self.witnesses.forget(customer, now),
            Testimony::Denied => {
                self.witnesses.forget(customer, now);
                self.proof.denied(sent_at);
                self.is_changed = true;
            }
            Testimony::Failed(signal) => {
                let fault = FaultKind::of(signal);
                self.confirmed = fault.filter(|fault| !self.is_of_earlier_key(*fault, sent_at));
                // The destination itself has failed, so nothing shows any more that only refuted lanes fail.
                self.worked_at = None;
            }
        }
    }
}

impl FaultKind {
    const fn of(signal: Signal) -> Option<Self> {
        match signal {
            Signal::Applied
            | Signal::Answered
            | Signal::Rejected
            | Signal::Missing
            | Signal::Unrelated => None,
            Signal::Unexplained => Some(Self::Unexplained),
            Signal::Failed => Some(Self::Failed),
            Signal::Throttled(_) => Some(Self::Throttled),
            Signal::Refused => Some(Self::Refused),
            Signal::Forbidden => Some(Self::Forbidden),
        }
    }

    /// Returns whether an answer to the retrieve of a witness can show that the destination does not cause this fault.
    const fn is_testable(self) -> bool {
        match self {
            Self::Failed | Self::Throttled | Self::Refused => true,
            Self::Forbidden | Self::Unexplained => false,
        }
    }
}

#[cfg(test)]
mod tests;
