//! Decides whether the answer "the customer does not exist" is true. This module is pure: it does no IO and reads no
//! clock.
//!
//! A misconfigured gateway answers 404 for every customer. Imprint does the same if the API key belongs to a different
//! program. The answer therefore counts only after a *success*: dispatch sent a request after the answer, and Imprint
//! applied its update or returned a witness.
//!
//! An answer without an error type of Imprint needs a success before the answer too. If only a later success exists,
//! the answer is possibly wrong: somebody has possibly repaired the gateway between the answer and the success. After
//! Imprint has answered that a witness does not exist, only answers after the next success count.

use std::collections::BTreeSet;
use std::time::Duration;

use super::EVIDENCE_AGE_MAX;
use crate::outbox::{Absence, KeyMark, LaneId};
use crate::time::Timestamp;

/// If this many different lanes get a rare answer, and Imprint applies no update in between, the destination counts as
/// the cause.
///
/// Three answers are rare: a rejection with Imprint's error type; the answer "does not exist" for a customer whose
/// update Imprint has applied before; and 404 without an error type.
pub(super) const REFUSED_LANES_MAX: usize = 20;
/// The shortest time between two questions about a witness after answers that customers do not exist.
///
/// Most customers of a CRM have no card, so these questions must not take all tokens of the rate limit.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// An answer that the customer of a lane does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsentCustomer {
    /// True if the answer has a form that only Imprint uses.
    pub is_typed: bool,
    /// True if a search by the partner customer id found no customer.
    pub by_search: bool,
    /// True if Imprint found no customer with the Imprint id of the lane.
    pub by_id: bool,
    /// True if Imprint knew the customer before.
    pub is_known: bool,
}

impl AbsentCustomer {
    /// An answer that can come from any gateway, about a customer of which the bridge knows nothing else.
    pub(in crate::dispatch) const UNTYPED: Self = Self {
        is_typed: false,
        by_search: false,
        by_id: true,
        is_known: false,
    };
}

/// The successes (applied updates and returned witnesses) since Imprint last answered that a witness does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The time when the first successful request was sent.
    pub(super) from: Timestamp,
    /// The time when the last successful request was sent.
    pub(super) to: Timestamp,
}

/// The evidence that Imprint's answers under one API key are true.
#[derive(Debug, Default)]
pub(super) struct Proof {
    pub(super) key: KeyMark,
    /// The time from which the bridge uses this key. Earlier requests had a different key.
    pub(super) key_since: Option<Timestamp>,
    pub(super) run: Option<Run>,
    /// The time when the bridge sent the last retrieve of a witness to which Imprint answered "does not exist".
    pub(super) denied_at: Option<Timestamp>,
    /// True if a search under this key has ever found a customer.
    pub(super) has_found: bool,
    /// The lanes that got a rare answer ([`REFUSED_LANES_MAX`]) since Imprint last applied an update.
    pub(super) refused: BTreeSet<LaneId>,
    /// The lanes that got 404 without an error type since Imprint last applied an update, and that Imprint has never
    /// applied. Shortly after an applied update, these lanes do not count.
    pub(super) untyped: BTreeSet<LaneId>,
    /// The time of the last "does not exist" that no success has proven yet.
    pub(super) pending: Option<Timestamp>,
    pub(super) asked_at: Option<Timestamp>,
}

impl Proof {
    /// Creates empty evidence for an API key.
    pub(super) fn under(key: KeyMark, since: Option<Timestamp>) -> Self {
        Self {
            key,
            key_since: since,
            ..Self::default()
        }
    }

    /// Returns whether a request at this time had the present API key.
    pub(super) fn is_of_key(&self, sent_at: Timestamp) -> bool {
        self.key_since.is_none_or(|since| since <= sent_at)
    }

    /// Records a success: Imprint applied an update or returned a witness. Returns true if this is the first success.
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
        self.untyped.clear();
    }

    /// Records that Imprint answered "does not exist" to the retrieve of a witness. `sent_at` is the time of the
    /// retrieve.
    pub(super) fn denied(&mut self, sent_at: Timestamp) {
        if self.is_of_key(sent_at) {
            self.run = None;
            self.denied_at = self.denied_at.max(Some(sent_at));
        }
    }

    /// Records that a lane got a rare answer ([`REFUSED_LANES_MAX`]).
    pub(super) fn refused(&mut self, lane: LaneId) {
        insert(&mut self.refused, lane);
    }

    /// Records that a lane that Imprint has never applied got 404 without an error type.
    pub(super) fn untyped(&mut self, lane: LaneId) {
        insert(&mut self.untyped, lane);
    }

    /// Returns the number of lanes that got a rare answer.
    pub(super) fn refused_lanes(&self) -> usize {
        self.refused.len()
    }

    /// Returns the number of lanes that got a rare answer or a 404 without an error type.
    pub(super) fn refused_and_untyped_lanes(&self) -> usize {
        self.refused.union(&self.untyped).count()
    }

    /// Returns the record of an answer "the customer does not exist". Returns `None` if the request had a different API
    /// key.
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

    /// Returns whether the evidence shows that a recorded answer "the customer does not exist" is true.
    pub(super) fn proves(&self, absence: &Absence, now: Timestamp) -> bool {
        let is_fresh = now.since(absence.at) <= EVIDENCE_AGE_MAX;
        // An answer about the Imprint id is enough, even if dispatch also searched by the partner customer id.
        let is_found = absence.by_id || self.has_found;
        let can_be_first = absence.is_typed && self.denied_at.is_none();
        let is_between = self
            .run
            .is_some_and(|run| absence.at <= run.to && (can_be_first || run.from < absence.at));
        absence.key == self.key && is_fresh && is_found && is_between
    }

    /// Records that an answer at this time needs a success as proof.
    pub(super) fn want(&mut self, answered: Timestamp) {
        self.pending = self.pending.max(Some(answered));
    }

    /// Returns whether an answer without proof requires a question about a witness now.
    pub(super) fn is_question_due(&self, now: Timestamp) -> bool {
        let is_early = |asked: Timestamp| now < asked.after(ASK_EVERY);
        self.pending.is_some() && !self.asked_at.is_some_and(is_early)
    }

    /// Records that the bridge asked about a witness, or knew no witness.
    pub(super) const fn asked(&mut self, now: Timestamp) {
        self.asked_at = Some(now);
    }
}

/// Adds a lane to a set of at most [`REFUSED_LANES_MAX`] lanes.
fn insert(lanes: &mut BTreeSet<LaneId>, lane: LaneId) {
    if lanes.len() < REFUSED_LANES_MAX {
        lanes.insert(lane);
    }
}
