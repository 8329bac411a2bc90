//! Decides whether the lane or the destination caused a failure. This module is pure: it does no IO and reads no clock.
//!
//! One failing answer opens a suspicion: the lane becomes a suspect, and all other lanes go on. Only a request that was
//! sent after the failing answer decides:
//! - If a request of another lane succeeds, the failure was the lane's own. The lane is refuted: it cannot accuse the
//!   destination again until Imprint has applied a request of the lane itself.
//! - If Imprint answers the retrieve of a witness (a customer of another lane whose update Imprint applied), all
//!   suspects are refuted, except lanes to which Imprint forbids the update: a retrieve does not show that updates are
//!   allowed. If the retrieve fails in the same way, the destination is at fault.
//! - An answer that a customer does not exist ends no entry before it is proven: the module `proof` says how.
//! - Without a witness, the same failure of another lane shows that the destination is at fault. Also without a witness,
//!   a lane that is refused several times while no other lane succeeds counts as proof, because new lanes still probe
//!   the destination at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::proof::Proof;
use self::witnesses::Witnesses;
use super::breaker::Signal;
use crate::imprint::ImprintId;
use crate::outbox::LaneId;
use crate::time::Timestamp;

pub use self::proof::AbsentCustomer;
pub use self::stored::SavedEvidence;

mod absence;
mod proof;
mod stored;
mod witnesses;

/// The most suspects, and the most refuted lanes, that the bridge remembers: a limit on memory. Of more lanes, the lanes
/// with the lowest numbers are forgotten, and may then accuse the destination once more.
const LANES_MAX: usize = 4096;
/// The number of refusals of one lane, without the success of another lane, after which the destination counts as
/// refusing.
const REFUSALS_MAX: u32 = 3;
/// The number of failed requests in a row after which the bridge asks the witness. Single failures are too frequent for
/// a retrieve each.
const ASK_AFTER_FAILURES: u32 = 3;
/// The age up to which evidence counts. A success of other lanes that is older does not show any more that a refuted lane
/// itself is at fault, and an older answer that a customer does not exist is asked again.
const EVIDENCE_AGE_MAX: Duration = Duration::from_mins(10);
/// The age of the last success after which the failure of a refuted lane makes the bridge ask the witness: the
/// destination may have failed since.
const CHECK_AFTER: Duration = Duration::from_secs(30);

/// A failure of which the destination may be the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FaultKind {
    Failed,
    Throttled,
    Refused,
    Forbidden,
    /// The update is rejected without an error type of Imprint.
    Unexplained,
}

/// The party that caused a failure, as far as the evidence shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The lane caused the failure: a request of another lane, sent after the failure, succeeded.
    Lane,
    /// No request that was sent after the failure has shown the cause yet.
    Unproven,
    /// The destination caused the failure.
    Destination,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    fault: FaultKind,
    answered_at: Timestamp,
    /// The number of answers with this fault in a row.
    times: u32,
}

/// The progress of the question to the witness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asking {
    #[default]
    NotNeeded,
    Wanted,
    InFlight,
}

/// The answer of Imprint about the witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// Imprint returned the witness.
    Found,
    /// Imprint forbids the retrieve: the answer shows nothing.
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
    refuted: BTreeSet<LaneId>,
    /// The time when the last request was sent whose answer shows that the destination works.
    worked_at: Option<Timestamp>,
    witnesses: Witnesses,
    proof: Proof,
    asking: Asking,
    /// The failure of the last retrieve of a witness, until a request succeeds.
    confirmed: Option<FaultKind>,
    /// True if the evidence that outlives the process has changed since the store saved the evidence.
    is_changed: bool,
    /// True if lanes that rest without proof must be due, because proof has arrived or the API key has changed.
    wakes_lanes: bool,
    saved_at: Option<Timestamp>,
}

impl Evidence {
    /// Records an answer that shows that the destination works: Imprint applied or answered a request of this lane, which
    /// was sent at `sent_at`.
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
        self.refute(|suspected, suspect| {
            suspected != lane && suspect.answered_at <= sent_at && refutes(suspect.fault)
        });
        if signal == Signal::Applied {
            self.proof.applied();
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

    /// Stores which lane belongs to the operator's witness, the customer in `imprint.canary_id`.
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

    /// Records a failing answer of a lane, whose request was sent at `sent_at`, and returns whose fault the failure is.
    /// `failures` is the number of requests in a row that failed before.
    pub(super) fn failed(
        &mut self,
        lane: LaneId,
        signal: Signal,
        (sent_at, now): (Timestamp, Timestamp),
        failures: u32,
    ) -> Blame {
        let Some(fault) = FaultKind::of(signal) else {
            return Blame::Unproven;
        };
        if self.is_refuted(lane, now) {
            return Blame::Lane;
        }
        let times = self.suspect(lane, fault, now);
        let is_proven = if self.confirmed == Some(fault) {
            true
        } else if fault.is_testable() && self.witness(now).is_some() {
            let is_frequent = fault != FaultKind::Failed || failures + 1 >= ASK_AFTER_FAILURES;
            if is_frequent && self.asking == Asking::NotNeeded {
                self.asking = Asking::Wanted;
            }
            false
        } else {
            match fault {
                FaultKind::Failed => self.suspects_with(fault).nth(1).is_some(),
                FaultKind::Throttled => self.is_shared(fault, lane, sent_at),
                FaultKind::Refused | FaultKind::Forbidden | FaultKind::Unexplained => {
                    times >= REFUSALS_MAX || self.is_shared(fault, lane, sent_at)
                }
            }
        };
        if is_proven {
            Blame::Destination
        } else {
            Blame::Unproven
        }
    }

    /// Returns whether the failures of a lane are its own. If the evidence is not fresh, asks the witness, or forgets the
    /// evidence if no witness is left. Forgets evidence that is too old.
    fn is_refuted(&mut self, lane: LaneId, now: Timestamp) -> bool {
        if !self.refuted.contains(&lane) {
            return false;
        }
        let is_younger = |age| self.worked_at.is_some_and(|at| now < at.after(age));
        let can_check = self.witness(now).is_some();
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

    /// Adds the lane to the suspects and returns the number of its answers with this fault in a row.
    fn suspect(&mut self, lane: LaneId, fault: FaultKind, now: Timestamp) -> u32 {
        let new = Suspect {
            fault,
            answered_at: now,
            times: 0,
        };
        let suspect = self.suspects.entry(lane).or_insert(new);
        if suspect.fault != fault {
            *suspect = new;
        }
        suspect.times = suspect.times.saturating_add(1);
        let times = suspect.times;
        if self.suspects.len() > LANES_MAX {
            self.suspects.pop_first();
        }
        times
    }

    /// Returns whether another lane failed in the same way before the request of this lane was sent.
    fn is_shared(&self, fault: FaultKind, lane: LaneId, sent_at: Timestamp) -> bool {
        self.suspects_with(fault)
            .any(|(other, suspect)| *other != lane && suspect.answered_at <= sent_at)
    }

    fn refute(&mut self, is_refuted: impl Fn(LaneId, &Suspect) -> bool) {
        if self.suspects.is_empty() {
            return;
        }
        let refuted = &mut self.refuted;
        self.suspects.retain(|lane, suspect| {
            let refutes = is_refuted(*lane, suspect);
            if refutes {
                refuted.insert(*lane);
            }
            !refutes
        });
        while self.refuted.len() > LANES_MAX {
            self.refuted.pop_first();
        }
    }

    /// Returns a witness whose lane is neither suspected nor refuted.
    fn witness(&self, now: Timestamp) -> Option<&ImprintId> {
        let is_sound = |lane| !self.suspects.contains_key(&lane) && !self.refuted.contains(&lane);
        self.witnesses.find(is_sound, now)
    }

    /// Returns whether the bridge must ask the witness.
    pub(super) fn is_asking_wanted(&self, now: Timestamp) -> bool {
        match self.asking {
            Asking::Wanted => true,
            Asking::NotNeeded => self.proof.is_question_due(now),
            Asking::InFlight => false,
        }
    }

    /// Returns the witness to ask now, if an answer made the question necessary.
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

    /// Makes the question necessary again: the question was lost before its answer.
    pub(super) fn ask_again(&mut self) {
        self.asking = Asking::Wanted;
    }

    /// Records the answer about a witness, which was asked at `sent_at`.
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
                self.refute(|_, suspect| {
                    suspect.answered_at <= sent_at && suspect.fault.is_testable()
                });
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
                self.confirmed = FaultKind::of(signal);
                // Nothing shows any more that only refuted lanes fail.
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

    /// Returns whether the retrieve of a witness can refute the fault.
    const fn is_testable(self) -> bool {
        match self {
            Self::Failed | Self::Throttled | Self::Refused => true,
            Self::Forbidden | Self::Unexplained => false,
        }
    }
}

#[cfg(test)]
mod tests;
