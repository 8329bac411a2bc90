//! Records two kinds of answers as evidence: rejections, and answers that a customer does not exist. This module is
//! pure: it does no IO and reads no clock.

use super::proof::{AbsentCustomer, REFUSED_LANES_MAX};
use super::{Blame, Evidence};
use crate::outbox::{Absence, KeyMark, LaneId};
use crate::time::Timestamp;

impl Evidence {
    /// Records a rejection with Imprint's error type. Returns the party that caused the rejection. The destination is
    /// the cause only if Imprint rejected the updates of many lanes in a row.
    pub(in crate::dispatch) fn rejected(&mut self, lane: LaneId, now: Timestamp) -> Blame {
        self.proof.refused(lane);
        if self.is_refusing(now) {
            Blame::Destination
        } else {
            Blame::Unproven
        }
    }

    /// Records the answer that the customer of a lane does not exist. Returns the party that caused the answer, and a
    /// record of the answer. Later evidence can prove the recorded answer.
    pub(in crate::dispatch) fn missing(
        &mut self,
        lane: LaneId,
        absent: AbsentCustomer,
        (sent_at, now): (Timestamp, Timestamp),
    ) -> (Blame, Option<Absence>) {
        self.witnesses.forget_lane(lane);
        if absent.is_known {
            self.proof.refused(lane);
        } else if !absent.is_typed {
            self.proof.untyped(lane);
        }
        let absence = self.proof.absence(absent, (sent_at, now));
        let blame = if self.is_refusing(now) {
            Blame::Destination
        } else if absence.is_some_and(|absence| self.proof.proves(&absence, now)) {
            Blame::Lane
        } else {
            self.proof.want(now);
            Blame::Unproven
        };
        (blame, absence)
    }

    /// Returns the time when dispatch sent the last request whose answer shows that the destination works.
    pub(in crate::dispatch) const fn worked_at(&self) -> Option<Timestamp> {
        self.worked_at
    }

    /// Returns the mark of the API key in use.
    pub(in crate::dispatch) const fn key(&self) -> KeyMark {
        self.proof.key
    }

    /// Returns whether a request that was sent at this time used the present API key.
    pub(in crate::dispatch) fn is_of_key(&self, sent_at: Timestamp) -> bool {
        self.proof.is_of_key(sent_at)
    }

    /// Returns whether evidence shows that a recorded answer "the customer does not exist" is true.
    pub(in crate::dispatch) fn proves(&self, absence: &Absence, now: Timestamp) -> bool {
        self.proof.proves(absence, now)
    }

    /// Returns whether the last answers to many lanes in a row show that the destination is the cause.
    pub(in crate::dispatch) fn is_refusing(&self, now: Timestamp) -> bool {
        let lanes = if self.has_just_applied(now) {
            self.proof.refused_lanes()
        } else {
            self.proof.refused_and_untyped_lanes()
        };
        lanes >= REFUSED_LANES_MAX
    }

    /// Records that a search found a customer. `sent_at` is the time when dispatch sent the search.
    pub(in crate::dispatch) fn found(&mut self, sent_at: Timestamp) {
        if self.proof.is_of_key(sent_at) && !self.proof.has_found {
            self.proof.has_found = true;
            self.is_changed = true;
        }
    }
}
