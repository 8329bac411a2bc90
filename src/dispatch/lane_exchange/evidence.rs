//! What the conclusion of an exchange shows about the destination and about the customer. This module is pure: it does
//! no IO and reads no clock.

use super::{Conclusion, LaneExchange};
use crate::dispatch::breaker::Signal;
use crate::dispatch::evidence::AbsentCustomer;
use crate::dispatch::rules::DeliveryRules;
use crate::imprint::{Cause, ImprintId, Outcome};
use crate::outbox::{EntryId, IdentityLink, LaneKey};

impl LaneExchange {
    /// Returns what a conclusion shows about the destination. Returns `None` if the exchange sent nothing.
    pub fn signal(&self, conclusion: &Conclusion) -> Option<Signal> {
        Some(match conclusion {
            Conclusion::NothingToSend | Conclusion::Postponed(_) | Conclusion::ProvenAbsent => {
                return None;
            }
            // The conclusion comes from a stored identity link: this exchange sent nothing.
            Conclusion::Identified(_) if !self.is_answered => return None,
            Conclusion::SearchForbidden(_) => Signal::Unrelated,
            Conclusion::UnknownCustomer => Signal::Missing,
            Conclusion::Identified(_) | Conclusion::Ambiguous | Conclusion::LookAgain => {
                Signal::Answered
            }
            Conclusion::NotCleared(_)
            | Conclusion::LinesPostponed(..)
            | Conclusion::Misdirected(_) => Signal::Applied,
            Conclusion::LinesRejected(_) => Signal::Rejected,
            Conclusion::Updated(outcome) => signal_of(outcome),
        })
    }

    /// Returns the entries whose number of attempts a failure of this exchange increases: the entries in the request.
    ///
    /// After a search, returns the oldest entries with the searched id: as many entries as one request can contain. A
    /// recorded answer belongs to an earlier request, and dispatch counted its attempts at that time.
    pub fn attempted(&self, rules: &DeliveryRules) -> Vec<EntryId> {
        if self.claimed.unproven.absence.is_some() {
            return Vec::new();
        }
        if self.about.is_none() || !self.fold.is_empty() {
            return self.fold.carried.iter().copied().map(EntryId).collect();
        }
        let searched = self.claimed.waiting.iter();
        let searched = searched.filter(|waiting| self.names_our_id(waiting));
        let mut searched: Vec<EntryId> = searched.map(|waiting| waiting.entry).collect();
        searched.sort_unstable();
        searched.truncate(rules.max_fold);
        searched
    }

    /// If the conclusion is that the customer does not exist, returns the details of Imprint's answer.
    pub fn absent(&self, conclusion: &Conclusion) -> Option<AbsentCustomer> {
        let by_search = *conclusion == Conclusion::UnknownCustomer;
        let is_absent = by_search || *conclusion == Conclusion::Updated(Outcome::NotFound);
        is_absent.then(|| AbsentCustomer {
            is_typed: !self.is_untyped || self.is_confirming,
            by_search,
            by_id: self.is_gone || !by_search,
            is_known: self.is_known(),
        })
    }

    /// Returns the number of parts of the request that can be sent by themselves: each entry, and the delivered values
    /// that the request sends again.
    pub fn parts(&self) -> usize {
        self.fold.carried.len() + usize::from(self.fold.reasserted > 0)
    }

    /// Returns whether the request only sends delivered values again.
    pub fn is_reassertion(&self) -> bool {
        self.fold.carried.is_empty() && self.fold.reasserted > 0
    }

    /// Returns whether a search of this exchange found a customer.
    pub fn has_found(&self) -> bool {
        let link = self.new_link.as_ref();
        link.is_some_and(|link| link.imprint.is_some())
    }

    /// Returns whether Imprint knew the customer before: Imprint applied an update of the customer, or a search found
    /// the customer.
    pub fn is_known(&self) -> bool {
        match &self.claimed.key {
            Some(LaneKey::Imprint(_)) => self.claimed.versions.has_applied(),
            Some(LaneKey::Partner(partner)) => {
                let mut links = self.claimed.links.iter();
                links.any(|link| link.partner == *partner && link.imprint.is_some())
            }
            None => false,
        }
    }

    /// Returns whether the recorded answer "the customer does not exist" decides about all waiting entries. The caller
    /// has checked that evidence proves the answer.
    ///
    /// The answer must be newer than every waiting entry. An answer without Imprint's error type does not decide before
    /// Imprint has given it again.
    pub(super) fn is_recorded_absent(&self) -> bool {
        let absence = self.claimed.unproven.absence;
        absence
            .filter(|absence| absence.is_typed)
            .is_some_and(|absence| {
                let mut waiting = self.claimed.waiting.iter();
                let is_one = !absence.by_search || self.has_one_of_our_ids();
                is_one && waiting.all(|waiting| waiting.accepted_at <= absence.at)
            })
    }

    /// Returns whether the entries of the lane have at most one partner customer id. With several ids, the record does
    /// not show which id dispatch searched.
    fn has_one_of_our_ids(&self) -> bool {
        let waiting = self.claimed.waiting.iter();
        let mut ours = waiting.filter_map(|waiting| waiting.customer.partner());
        let first = ours.next();
        ours.all(|partner| Some(partner) == first)
    }

    /// Sets the fields of the exchange as if Imprint had just given the recorded answer.
    ///
    /// The lane's entries have not changed since the answer, so the exchange would send the same call again. If the
    /// recorded answer came from a search, also records that Imprint has no customer with the partner customer id. An
    /// existing link to a customer stays, because the customer still counts as known.
    pub(super) fn recall_absence(&mut self) {
        let Some(absence) = self.claimed.unproven.absence else {
            return;
        };
        let check = self.check.take().filter(|_| self.fold.is_empty());
        let waiting = &self.claimed.waiting;
        let searched = self.search_for.and_then(|at| waiting.get(at));
        let searched = searched.and_then(|waiting| waiting.customer.partner());
        self.is_gone = check.is_none();
        self.about = match &self.claimed.key {
            _ if !absence.by_search => None,
            Some(LaneKey::Partner(partner)) => Some(partner.clone()),
            Some(LaneKey::Imprint(_)) | None => check
                .map(|check| check.partner)
                .or_else(|| searched.cloned()),
        };
        if let (Some(partner), false) = (self.about.clone(), self.is_linked()) {
            self.new_link = Some(IdentityLink {
                partner,
                imprint: None,
                confirmed_at: absence.at,
            });
        }
    }

    /// Returns whether the lane has only a partner customer id, and an earlier search found the customer.
    pub(super) fn is_linked(&self) -> bool {
        matches!(self.claimed.key, Some(LaneKey::Partner(_))) && self.is_known()
    }

    /// Returns whether an answer with Imprint's error type says that no customer has the Imprint id of the lane.
    pub const fn is_surely_gone(&self) -> bool {
        self.is_gone && !self.is_untyped
    }

    /// Returns the spelling of the Imprint id under which Imprint applied the update.
    pub fn spelling(&self) -> Option<&ImprintId> {
        self.tried.as_ref().or_else(|| self.imprint_id())
    }
}

/// Returns what an outcome shows about the destination.
pub(in crate::dispatch) const fn signal_of(outcome: &Outcome) -> Signal {
    match outcome {
        Outcome::Applied(_) => Signal::Applied,
        Outcome::NotFound => Signal::Missing,
        Outcome::Rejected(rejection) if rejection.is_typed() => Signal::Rejected,
        Outcome::Rejected(_) => Signal::Unexplained,
        Outcome::Unavailable(_) | Outcome::Unknown(_) | Outcome::Unclear(_) => Signal::Failed,
        Outcome::Throttled(hint) => Signal::Throttled(*hint),
        Outcome::Denied(Cause::Status(403..=405 | 410)) => Signal::Forbidden,
        Outcome::Denied(_) => Signal::Refused,
    }
}
