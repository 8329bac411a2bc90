//! Decides whether refused lanes show that the destination refuses every customer. This module is pure: it does no IO
//! and reads no clock.
//!
//! Hundreds of customers can be refused one after another while Imprint applies the updates of other customers. If two
//! of them stopped the destination, the other customers would wait for a probe again and again. For a short time after
//! an applied update, therefore, only refusals of many customers that Imprint applied before show that the destination
//! is the cause. Until the destination stops, the refusals are unproven: they park no entry and count as no attempt.
//!
//! A refusal concerns the API key of its request. During a rotation, many requests with the newer key can be in flight
//! when the bridge returns to the older key. Their refusals show nothing about the older key.

use std::time::Duration;

use super::proof::REFUSED_LANES_MAX;
use super::{Evidence, FaultKind, LANES_MAX, REFUSALS_MAX, Suspect};
use crate::outbox::LaneId;
use crate::time::Timestamp;

/// For this time after dispatch sent a request that Imprint applied, refusals of new customers do not stop the
/// destination. If a permission ends, this time is the longest delay until the destination stops.
const APPLIED_COUNTS_FOR: Duration = Duration::from_secs(30);

/// The lane that got a failing answer.
#[derive(Clone, Copy, Debug)]
pub struct Accuser {
    pub lane: LaneId,
    /// True if Imprint has applied an update of the lane's customer before.
    pub is_known: bool,
}

/// The proof that a lane itself caused its failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refutation {
    /// The fault of the lane.
    pub(super) fault: FaultKind,
    /// The time when dispatch sent the request that refuted the lane.
    pub(super) sent_at: Timestamp,
}

impl Evidence {
    /// Returns whether dispatch sent the rejected request of a lane before the success that refuted the lane. Somebody
    /// has possibly repaired a gateway in between, and a rejection of a refuted lane would park the entry.
    ///
    /// Removes the refutation of a lane that had a different fault. Only a success after a rejection of the lane proves
    /// that the lane causes its next rejection: the answer about a witness refutes other faults, and shows nothing about
    /// updates.
    pub(super) fn is_before_refutation(&mut self, lane: LaneId, sent_at: Timestamp) -> bool {
        let Some(refutation) = self.refuted.get(&lane).copied() else {
            return false;
        };
        if refutation.fault != FaultKind::Unexplained {
            self.refuted.remove(&lane);
            return false;
        }
        sent_at < refutation.sent_at
    }

    /// Forgets that the lane caused its last rejection. The rejected entries have ended, or Imprint has given the lane another
    /// answer since, so the next rejection needs its own proof: it can be the first answer of a gateway that rejects every
    /// customer.
    pub(in crate::dispatch) fn forget_rejection(&mut self, lane: LaneId) {
        let refuted = self.refuted.get(&lane);
        if refuted.is_some_and(|refutation| refutation.fault == FaultKind::Unexplained) {
            self.refuted.remove(&lane);
        }
    }

    /// Returns whether the refusal of a suspect shows that the destination refuses every customer. `times` is the number
    /// of refusals of the suspect in a row.
    ///
    /// A fault that the retrieve of a witness can test needs no delay: shortly after an applied update, a witness is
    /// known, and the answer about the witness decides.
    pub(super) fn is_refused_for_all(
        &mut self,
        (fault, times): (FaultKind, u32),
        accuser: Accuser,
        (sent_at, now): (Timestamp, Timestamp),
    ) -> bool {
        let is_refused = if fault.is_testable() || !self.has_just_applied(now) {
            times >= REFUSALS_MAX || self.is_shared(fault, accuser.lane, sent_at)
        } else {
            accuser.is_known && self.are_known_refused(fault, accuser.lane, sent_at)
        };
        if is_refused {
            // Until Imprint applies the next update, two refusals are enough again.
            self.applied_at = None;
        }
        is_refused
    }

    /// Returns whether a different lane got an answer with the same fault before dispatch sent the request of this
    /// lane.
    pub(super) fn is_shared(&self, fault: FaultKind, lane: LaneId, sent_at: Timestamp) -> bool {
        self.earlier_suspects(fault, lane, sent_at).next().is_some()
    }

    /// Returns whether this lane completes the [`REFUSED_LANES_MAX`] lanes that Imprint applied before and now refuses.
    fn are_known_refused(&self, fault: FaultKind, lane: LaneId, sent_at: Timestamp) -> bool {
        let known = self.earlier_suspects(fault, lane, sent_at);
        let known = known.filter(|suspect| suspect.is_known);
        known.take(REFUSED_LANES_MAX).count() + 1 >= REFUSED_LANES_MAX
    }

    /// Returns the suspects of different lanes with this fault that got their answers before `sent_at`.
    fn earlier_suspects(
        &self,
        fault: FaultKind,
        lane: LaneId,
        sent_at: Timestamp,
    ) -> impl Iterator<Item = &Suspect> {
        let others = self
            .suspects_with(fault)
            .filter(move |(other, _)| **other != lane);
        let suspects = others.map(|(_, suspect)| suspect);
        suspects.filter(move |suspect| suspect.answered_at <= sent_at)
    }

    /// Returns whether Imprint has applied an update under the present API key a short time ago.
    pub(super) fn has_just_applied(&self, now: Timestamp) -> bool {
        self.applied_at
            .is_some_and(|at| self.proof.is_of_key(at) && now < at.after(APPLIED_COUNTS_FOR))
    }

    /// Returns whether a refusal possibly concerns the API key before the present key. The bridge sent a request at the
    /// time of the change with either key.
    pub(super) fn is_of_earlier_key(&self, fault: FaultKind, sent_at: Timestamp) -> bool {
        fault.concerns_key() && self.proof.key_since.is_some_and(|since| sent_at <= since)
    }

    /// Forgets the refusals of the API key before the present key.
    pub(super) fn forget_refusals(&mut self) {
        self.suspects
            .retain(|_, suspect| !suspect.fault.concerns_key());
        self.confirmed.take_if(|fault| fault.concerns_key());
    }

    /// Adds the lane to the suspects. Returns the number of its answers in a row with this fault.
    pub(super) fn suspect(&mut self, accuser: Accuser, fault: FaultKind, now: Timestamp) -> u32 {
        let new = Suspect {
            fault,
            answered_at: now,
            times: 0,
            is_known: accuser.is_known,
        };
        let suspect = self.suspects.entry(accuser.lane).or_insert(new);
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
}

impl FaultKind {
    /// Returns whether the API key can be the cause of this fault.
    const fn concerns_key(self) -> bool {
        match self {
            Self::Refused | Self::Forbidden => true,
            Self::Failed | Self::Throttled | Self::Unexplained => false,
        }
    }
}
