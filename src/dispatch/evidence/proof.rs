//! Decides whether the answer "the customer does not exist" is true. This module is pure: it does no IO and reads no
//! clock.
//!
//! A misrouted gateway answers 404 for every customer, and so does Imprint if the API key belongs to another program. The
//! answer therefore counts only if Imprint applied an update, or returned a witness, by a request that was sent after the
//! answer. An answer without an error type of Imprint also needs such a request before the answer: otherwise the gateway
//! may have been repaired in between. If Imprint denies a witness, only answers after the next success count.

use std::collections::BTreeSet;
use std::time::Duration;

use super::EVIDENCE_AGE_MAX;
use crate::outbox::{Absence, KeyMark, LaneId};
use crate::time::Timestamp;

/// The number of different lanes with an answer that Imprint rarely gives, without an applied update of any lane in
/// between, after which the destination counts as faulty. The answers are typed rejections, "does not exist" for a
/// customer whose update Imprint applied before, and 404 without an error type.
pub(super) const REFUSED_LANES_MAX: usize = 20;
/// The shortest time between two questions to the witness about customers who do not exist. Most customers of a CRM have
/// no card, so the questions must not use up the rate.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// An answer that the customer of a lane does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsentCustomer {
    /// True if the answer has a form that only Imprint uses.
    pub is_typed: bool,
    /// True if a search by the partner's own id found nobody.
    pub by_search: bool,
    /// True if Imprint found no customer with the Imprint id of the lane.
    pub by_id: bool,
    /// True if Imprint knew the customer before.
    pub is_known: bool,
}

impl AbsentCustomer {
    /// An answer that any gateway may give. The bridge knows nothing else about the customer.
    pub(in crate::dispatch) const UNTYPED: Self = Self {
        is_typed: false,
        by_search: false,
        by_id: true,
        is_known: false,
    };
}

/// The successes in a row: Imprint denied no witness in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The time when the first successful request was sent.
    pub(super) from: Timestamp,
    /// The time when the last successful request was sent.
    pub(super) to: Timestamp,
}

/// The evidence that Imprint answers truly under one API key.
#[derive(Debug, Default)]
pub(super) struct Proof {
    pub(super) key: KeyMark,
    /// The time since when the bridge uses the key. Requests that were sent before used another key.
    pub(super) key_since: Option<Timestamp>,
    pub(super) run: Option<Run>,
    /// The time when the bridge sent the last retrieve of a witness to which Imprint answered "does not exist".
    pub(super) denied_at: Option<Timestamp>,
    /// True if a search under this key has ever found a customer.
    pub(super) has_found: bool,
    /// The lanes with a rejection or an unexpected "does not exist" since Imprint last applied an update.
    pub(super) refused: BTreeSet<LaneId>,
    /// The time of the last answer that a success must still prove.
    pub(super) pending: Option<Timestamp>,
    pub(super) asked_at: Option<Timestamp>,
}

impl Proof {
    /// Starts without evidence, because the bridge uses this API key from now on.
    pub(super) fn under(key: KeyMark, since: Option<Timestamp>) -> Self {
        Self {
            key,
            key_since: since,
            ..Self::default()
        }
    }

    /// Returns whether a request that was sent at this time used the present API key.
    pub(super) fn is_of_key(&self, sent_at: Timestamp) -> bool {
        self.key_since.is_none_or(|since| since <= sent_at)
    }

    /// Records that Imprint applied an update or returned a witness. Returns true if the success is the first one.
    pub(super) fn worked(&mut self, sent_at: Timestamp) -> bool {
        if !self.is_of_key(sent_at) || self.denied_at.is_some_and(|denied| sent_at < denied) {
            return false;
        }
        self.pending.take_if(|answered| *answered <= sent_at);
        let is_first = self.run.is_none();
        let run = self.run.get_or_insert(Run {
            from: sent_at,
            to: sent_at,
        });
        run.from = run.from.min(sent_at);
        run.to = run.to.max(sent_at);
        is_first
    }

    /// Records that Imprint applied an update.
    pub(super) fn applied(&mut self) {
        self.refused.clear();
    }

    /// Records that Imprint answered "does not exist" to the retrieve of a witness that the bridge sent at `sent_at`.
    pub(super) fn denied(&mut self, sent_at: Timestamp) {
        if self.is_of_key(sent_at) {
            self.run = None;
            self.denied_at = self.denied_at.max(Some(sent_at));
        }
    }

    /// Records a rejection, or an unexpected "does not exist", of a lane.
    pub(super) fn refused(&mut self, lane: LaneId) {
        if !self.is_refusing() {
            self.refused.insert(lane);
        }
    }

    /// Returns whether the answers to many lanes in a row show that the destination is at fault.
    pub(super) fn is_refusing(&self) -> bool {
        self.refused.len() >= REFUSED_LANES_MAX
    }

    /// Returns the record of an answer; `None` if the request used another API key.
    pub(super) fn absence(
        &self,
        absent: AbsentCustomer,
        (sent_at, now): (Timestamp, Timestamp),
    ) -> Option<Absence> {
        self.is_of_key(sent_at).then_some(Absence {
            at: now,
            is_typed: absent.is_typed,
            by_search: absent.by_search,
            by_id: absent.by_id,
            key: self.key,
        })
    }

    /// Returns whether the evidence shows that an answer is true.
    pub(super) fn proves(&self, absence: &Absence, now: Timestamp) -> bool {
        let is_fresh = now.since(absence.at) <= EVIDENCE_AGE_MAX;
        // An answer about the Imprint id is enough, even if a search for our id follows.
        let is_found = absence.by_id || self.has_found;
        let can_be_first = absence.is_typed && self.denied_at.is_none();
        let is_between = self
            .run
            .is_some_and(|run| absence.at <= run.to && (can_be_first || run.from < absence.at));
        absence.key == self.key && is_fresh && is_found && is_between
    }

    /// Notes that a success must prove an answer that came at this time.
    pub(super) fn want(&mut self, answered: Timestamp) {
        self.pending = self.pending.max(Some(answered));
    }

    /// Returns whether the bridge must ask the witness about an answer now.
    pub(super) fn is_question_due(&self, now: Timestamp) -> bool {
        let is_early = |asked: Timestamp| now < asked.after(ASK_EVERY);
        self.pending.is_some() && !self.asked_at.is_some_and(is_early)
    }

    /// Notes that the bridge asked the witness, or had no witness to ask.
    pub(super) const fn asked(&mut self, now: Timestamp) {
        self.asked_at = Some(now);
    }
}
