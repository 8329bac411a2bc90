//! The evidence in the conclusion of an exchange: about the destination, and about the customer. This module is pure: it
//! does no IO and reads no clock.

use super::{Conclusion, LaneExchange};
use crate::dispatch::breaker::Signal;
use crate::dispatch::evidence::AbsentCustomer;
use crate::imprint::{Cause, Outcome};
use crate::outbox::{IdentityLink, LaneKey};

impl LaneExchange {
    /// Returns the evidence about the destination in a conclusion; `None` if the exchange sent nothing.
    pub fn signal(&self, conclusion: &Conclusion) -> Option<Signal> {
        Some(match conclusion {
            Conclusion::NothingToSend | Conclusion::Postponed(_) | Conclusion::ProvenAbsent => {
                return None;
            }
            // The conclusion comes from a stored identity link: this exchange sent nothing.
            Conclusion::Identified(_) if self.new_link.is_none() => {
                return None;
            }
            Conclusion::SearchForbidden(_) => Signal::Unrelated,
            Conclusion::UnknownCustomer => Signal::Missing,
            Conclusion::Identified(_) | Conclusion::Ambiguous => Signal::Answered,
            Conclusion::NotCleared(_) => Signal::Applied,
            Conclusion::Updated(outcome) => signal_of(outcome),
        })
    }

    /// Returns the kind of the answer, if the exchange concludes that the customer does not exist.
    pub fn absent(&self, conclusion: &Conclusion) -> Option<AbsentCustomer> {
        let by_search = *conclusion == Conclusion::UnknownCustomer;
        let is_absent = by_search || *conclusion == Conclusion::Updated(Outcome::NotFound);
        is_absent.then(|| AbsentCustomer {
            is_typed: !self.is_untyped || self.is_confirming,
            by_search,
            is_known: self.is_known(),
        })
    }

    /// Returns whether a search of this exchange found a customer.
    pub fn has_found(&self) -> bool {
        let link = self.new_link.as_ref();
        link.is_some_and(|link| link.imprint.is_some())
    }

    /// Returns whether Imprint knew the customer before: it applied values of the customer, or a search found the
    /// customer.
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

    /// Returns whether the recorded answer, which evidence has proven, came after every waiting entry. An answer without an
    /// error type of Imprint must first repeat itself.
    pub(super) fn is_recorded_absent(&self) -> bool {
        let absence = self.claimed.unproven.absence;
        absence
            .filter(|absence| absence.is_typed)
            .is_some_and(|absence| {
                let mut waiting = self.claimed.waiting.iter();
                waiting.all(|waiting| waiting.accepted_at <= absence.at)
            })
    }

    /// Remembers that Imprint knows no customer with our id. A link to a known customer stays, so that the customer
    /// still counts as known.
    pub(super) fn remember_absence(&mut self) {
        if let (Some(LaneKey::Partner(partner)), Some(absence), false) = (
            &self.claimed.key,
            self.claimed.unproven.absence,
            self.is_known(),
        ) {
            self.new_link = Some(IdentityLink {
                partner: partner.clone(),
                imprint: None,
                confirmed_at: absence.at,
            });
        }
    }
}

/// Returns the evidence about the destination in an outcome.
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
