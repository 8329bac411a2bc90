//! The steps of an exchange that find out to which customer an entry belongs. This module is pure: it does no IO and
//! reads no clock.

use super::links::{CheckStep, IdentityCheck, is_fresh};
use super::{Conclusion, ExchangeStep, ImprintCall, LaneExchange, PendingCall};
use crate::dispatch::rules::DeliveryRules;
use crate::imprint::{Cause, CustomerRef, ImprintId, LookupResult, Outcome, PartnerCustomerId};
use crate::outbox::{ClaimedLane, EntryId, IdentityLink, LaneKey, WaitingEntry};
use crate::time::Timestamp;

impl LaneExchange {
    /// Finds the Imprint id of a lane that has only a partner customer id.
    pub(super) fn identify(
        &mut self,
        partner: PartnerCustomerId,
        rules: &DeliveryRules,
        now: Timestamp,
    ) -> ExchangeStep {
        if self.claimed.waiting.is_empty() {
            return ExchangeStep::Conclude(Conclusion::NothingToSend);
        }
        let links = self.claimed.links.iter();
        let link = links
            .filter(|link| link.partner == partner)
            .find(|link| is_fresh(link, rules, now));
        match link {
            Some(IdentityLink {
                imprint: Some(imprint),
                ..
            }) => ExchangeStep::Conclude(Conclusion::Identified(imprint.clone())),
            Some(IdentityLink { imprint: None, .. }) => {
                ExchangeStep::Conclude(Conclusion::ProvenAbsent)
            }
            None => self.search(partner, None),
        }
    }

    /// Starts the check of entries whose ids contradict an identity link.
    pub(super) fn check(
        &mut self,
        IdentityCheck { partner, step, .. }: IdentityCheck,
    ) -> ExchangeStep {
        match (step, self.imprint_id().cloned()) {
            (CheckStep::RetrieveLane(other), Some(lane)) => {
                self.pending = PendingCall::RetrieveLane { partner, other };
                ExchangeStep::Call(ImprintCall::Retrieve(lane))
            }
            (CheckStep::Search | CheckStep::RetrieveLane(_), _) => self.search(partner, None),
            (CheckStep::SearchRival(rival), _) => {
                self.pending = PendingCall::SearchRival {
                    partner,
                    rival: rival.clone(),
                };
                ExchangeStep::Call(ImprintCall::Search(rival))
            }
            (CheckStep::Move(other), _) => {
                self.about = Some(partner);
                ExchangeStep::Conclude(Conclusion::Identified(other))
            }
            (CheckStep::Unknown, _) => {
                self.about = Some(partner);
                ExchangeStep::Conclude(Conclusion::ProvenAbsent)
            }
        }
    }

    /// Continues after Imprint's answer that no customer has the Imprint id of the lane. If the Imprint id is outdated,
    /// a search by the partner customer id can still find the customer.
    pub(super) fn on_gone(&mut self, lane: ImprintId) -> ExchangeStep {
        self.is_gone = true;
        let entry = self.search_for.and_then(|at| self.claimed.waiting.get(at));
        match entry.and_then(|waiting| waiting.customer.partner()) {
            Some(partner) => self.search(partner.clone(), Some(lane)),
            None => ExchangeStep::Conclude(Conclusion::Updated(Outcome::NotFound)),
        }
    }

    pub(super) fn search(
        &mut self,
        partner: PartnerCustomerId,
        gone: Option<ImprintId>,
    ) -> ExchangeStep {
        self.about = Some(partner.clone());
        self.pending = PendingCall::Search {
            partner: partner.clone(),
            gone,
        };
        ExchangeStep::Call(ImprintCall::Search(partner))
    }

    pub(super) fn on_found(
        &mut self,
        partner: PartnerCustomerId,
        gone: Option<&ImprintId>,
        found: LookupResult,
        now: Timestamp,
    ) -> ExchangeStep {
        let imprint = match found {
            LookupResult::Found(imprint) => Some(imprint),
            LookupResult::NotFound => None,
            LookupResult::Ambiguous => return ExchangeStep::Conclude(Conclusion::Ambiguous),
            LookupResult::Failed(Outcome::Denied(cause)) if cause.is_forbidden() => {
                return self.on_search_forbidden(&partner, gone, cause);
            }
            LookupResult::Failed(outcome) => {
                return ExchangeStep::Conclude(Conclusion::Updated(outcome));
            }
        };
        // Keep the link to a customer that no longer exists, because the customer still counts as known.
        if imprint.is_some() || !self.is_linked() {
            self.new_link = Some(IdentityLink {
                partner,
                imprint: imprint.clone(),
                confirmed_at: now,
            });
        }
        let lane = self.imprint_id().cloned();
        let is_lane = |imprint: &ImprintId| {
            let lane = lane.as_ref();
            lane.is_some_and(|lane| lane.is_same(imprint.as_str()))
        };
        ExchangeStep::Conclude(match imprint {
            Some(imprint) if is_lane(&imprint) && gone.is_some() => {
                self.is_gone = false;
                // If an earlier claim got the answer "does not exist", this exchange has sent no update: the next claim
                // sends it.
                if self.claimed.is_gone {
                    Conclusion::LookAgain
                } else {
                    Conclusion::Updated(Outcome::NotFound)
                }
            }
            Some(imprint) if is_lane(&imprint) => Conclusion::LookAgain,
            Some(imprint) => Conclusion::Identified(imprint),
            // The new identity link shows that the two ids of an entry do not belong together.
            None if gone.is_none() && self.has_pair_with_our_id() => Conclusion::LookAgain,
            None => Conclusion::UnknownCustomer,
        })
    }

    /// Concludes after a search that the API key does not permit. If every event with the partner customer id also
    /// contains the Imprint id, Imprint's answer about the Imprint id is enough, and no answer is needed if there is
    /// nothing to send.
    fn on_search_forbidden(
        &mut self,
        partner: &PartnerCustomerId,
        gone: Option<&ImprintId>,
        cause: Cause,
    ) -> ExchangeStep {
        let mut waiting = self.claimed.waiting.iter();
        let needs_search = waiting.any(
            |waiting| matches!(&waiting.customer, CustomerRef::Partner(other) if other == partner),
        );
        let has_nothing_to_send = gone.is_none() && !self.fold.is_empty();
        if needs_search || gone.is_none() && !has_nothing_to_send {
            return ExchangeStep::Conclude(Conclusion::SearchForbidden(cause));
        }
        self.about = None;
        if has_nothing_to_send {
            return ExchangeStep::Conclude(Conclusion::NothingToSend);
        }
        ExchangeStep::Conclude(Conclusion::Updated(Outcome::NotFound))
    }

    /// Continues after the retrieve of the lane's customer. The partner customer id `partner` belongs to the customer
    /// `other`.
    pub(super) fn on_lane_retrieved(
        &mut self,
        partner: PartnerCustomerId,
        other: ImprintId,
        found: LookupResult,
    ) -> ExchangeStep {
        self.about = Some(partner);
        ExchangeStep::Conclude(match found {
            LookupResult::Found(_) => {
                let contradict = self.pairs_with_our_id().collect::<Vec<_>>();
                self.conflicts.extend(contradict);
                Conclusion::LookAgain
            }
            LookupResult::NotFound => {
                self.is_gone = true;
                Conclusion::Identified(other)
            }
            LookupResult::Ambiguous => Conclusion::Updated(Outcome::Unknown(Cause::Protocol)),
            LookupResult::Failed(outcome) => Conclusion::Updated(outcome),
        })
    }

    /// Continues after the search by the partner customer id `rival`, which belonged to the customer of the lane before a
    /// search found the same customer for `partner`.
    ///
    /// If the rival still belongs to the customer, the answer about `partner` was wrong: the values must not reach the
    /// customer.
    pub(super) fn on_rival_found(
        &mut self,
        partner: PartnerCustomerId,
        rival: PartnerCustomerId,
        found: LookupResult,
        now: Timestamp,
    ) -> ExchangeStep {
        let imprint = match found {
            LookupResult::Found(imprint) => Some(imprint),
            LookupResult::NotFound => None,
            LookupResult::Ambiguous => {
                self.about = Some(partner);
                return ExchangeStep::Conclude(Conclusion::Ambiguous);
            }
            LookupResult::Failed(Outcome::Denied(cause)) if cause.is_forbidden() => {
                self.about = Some(partner);
                return ExchangeStep::Conclude(Conclusion::SearchForbidden(cause));
            }
            LookupResult::Failed(outcome) => {
                return ExchangeStep::Conclude(Conclusion::Updated(outcome));
            }
        };
        let lane = self.imprint_id();
        let is_lane = |imprint: &ImprintId| lane.is_some_and(|lane| lane.is_same(imprint.as_str()));
        if imprint.as_ref().is_some_and(is_lane) {
            let is_by_partner = |waiting: &&WaitingEntry| matches!(&waiting.customer, CustomerRef::Partner(own) if *own == partner);
            let wrong = self.claimed.waiting.iter().filter(is_by_partner);
            let wrong: Vec<_> = wrong.map(|waiting| waiting.entry).collect();
            self.conflicts.extend(wrong);
        }
        self.new_link = Some(IdentityLink {
            partner: rival,
            imprint,
            confirmed_at: now,
        });
        ExchangeStep::Conclude(Conclusion::LookAgain)
    }

    fn has_pair_with_our_id(&self) -> bool {
        self.pairs_with_our_id().next().is_some()
    }

    /// Returns the entries that have both the Imprint id of the lane and the partner customer id of this exchange.
    fn pairs_with_our_id(&self) -> impl Iterator<Item = EntryId> + '_ {
        let is_pair = |waiting: &&WaitingEntry| match &waiting.customer {
            CustomerRef::Pair { partner, .. } => Some(partner) == self.about.as_ref(),
            CustomerRef::Imprint(_) | CustomerRef::Partner(_) => false,
        };
        let pairs = self.claimed.waiting.iter().filter(is_pair);
        pairs.map(|waiting| waiting.entry)
    }

    /// Returns whether an entry has the partner customer id about which the exchange asked Imprint. If the exchange
    /// asked about no such id, returns true.
    pub fn names_our_id(&self, waiting: &WaitingEntry) -> bool {
        let about = self.about.as_ref();
        about.is_none_or(|about| waiting.customer.partner() == Some(about))
    }

    /// Returns whether the conclusion of the exchange concerns this entry.
    ///
    /// An answer about a partner customer id concerns only the entries with this id. If Imprint has no customer with
    /// the Imprint id of the lane, the answer also concerns entries that have only the Imprint id.
    pub fn concerns(&self, waiting: &WaitingEntry) -> bool {
        let Some(about) = &self.about else {
            return true;
        };
        match (&self.claimed.key, &waiting.customer) {
            (Some(LaneKey::Partner(_)) | None, _) => true,
            (Some(LaneKey::Imprint(_)), CustomerRef::Imprint(_)) => self.is_gone,
            (Some(LaneKey::Imprint(_)), CustomerRef::Partner(partner)) => partner == about,
            (Some(LaneKey::Imprint(_)), CustomerRef::Pair { partner, .. }) => {
                self.is_gone && partner == about
            }
        }
    }

    /// Returns whether an entry of the applied request has a different partner customer id than the customer has at
    /// Imprint.
    pub(super) fn is_misdirected(&self, echoed: &PartnerCustomerId) -> bool {
        self.misdirected(echoed).next().is_some()
    }

    /// Returns the entries of the request whose partner customer id differs from `echoed`.
    pub fn misdirected<'a>(
        &'a self,
        echoed: &'a PartnerCustomerId,
    ) -> impl Iterator<Item = EntryId> + 'a {
        let is_other = move |waiting: &&WaitingEntry| {
            let partner = waiting.customer.partner();
            partner.is_some_and(|partner| !partner.is_same(echoed.as_str()))
        };
        let waiting = self.claimed.waiting.iter().filter(is_other);
        let entries = waiting.map(|waiting| waiting.entry);
        entries.filter(|entry| self.fold.carried.contains(&entry.0))
    }
}

/// Returns the index of the entry whose partner customer id the exchange searches if no customer has the Imprint id.
///
/// Usually, this is the newest suitable entry. While the lane has an unproven answer, the entry depends on the time, so
/// that the bridge searches each of the ids now and then.
pub(super) fn search_for(
    claimed: &ClaimedLane,
    is_worth: impl Fn(&WaitingEntry) -> bool,
    now: Timestamp,
) -> Option<usize> {
    let waiting = claimed.waiting.iter().enumerate();
    let mut worth = waiting.filter(|(_, waiting)| is_worth(waiting));
    if claimed.unproven.since.is_none() {
        return worth.next().map(|(at, _)| at);
    }
    let worth: Vec<usize> = worth.map(|(at, _)| at).collect();
    let turn = usize::try_from(scattered(now)).unwrap_or_default();
    worth.get(turn.checked_rem(worth.len())?).copied()
}

/// Returns a number that differs irregularly from one time to the next: the multiplicative hash of Knuth (The Art of
/// Computer Programming, volume 3, section 6.4).
///
/// The time itself is not irregular enough: retries can come in whole seconds, and two ids would never take turns.
const fn scattered(now: Timestamp) -> u64 {
    now.as_millis()
        .unsigned_abs()
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        >> 32
}

/// Returns whether a search by the partner customer id of an entry can find the customer.
///
/// The entry must have such an id. A fresh link that Imprint has no customer with this id makes a search useless.
pub(super) fn is_worth_a_search(
    waiting: &WaitingEntry,
    links: &[IdentityLink],
    rules: &DeliveryRules,
    now: Timestamp,
) -> bool {
    let is_missing = |partner: &PartnerCustomerId| {
        let mut own = links.iter().filter(|link| link.partner == *partner);
        own.any(|link| link.imprint.is_none() && is_fresh(link, rules, now))
    };
    let partner = waiting.customer.partner();
    partner.is_some_and(|partner| !is_missing(partner))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// FAULTS N845: whatever the time of the first try, each of a few ids has its turn, also in whole seconds and minutes.
    #[test]
    fn all_ids_take_turns_at_regular_times() {
        for step in [1_000, 2_000, 60_000] {
            for (start, ids) in (0..20).flat_map(|start| [(start, 2), (start, 3), (start, 4)]) {
                let times = (0..40).map(|turn| Timestamp::from_millis(start + turn * step));
                let seen: BTreeSet<u64> = times.map(|now| scattered(now) % ids).collect();
                assert_eq!(seen, (0..ids).collect(), "{step} {start}");
            }
        }
    }
}
