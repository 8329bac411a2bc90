//! Identity links between the CRM's customer ids and Imprint's customer ids: decides how long to trust a link, and
//! which entries contradict a link. This module is pure: it does no IO and reads no clock.

use std::time::Duration;

use crate::dispatch::rules::DeliveryRules;
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId};
use crate::outbox::{ClaimedLane, EntryId, IdentityLink, LaneKey, WaitingEntry};
use crate::time::Timestamp;

/// The shortest time for which a link decides about a contradiction.
///
/// With a shorter configured lifetime, each answer of Imprint would be too old for the next claim, and the bridge would
/// ask without end.
const CERTAIN_MIN: Duration = Duration::from_mins(1);

/// Returns whether dispatch can use an identity link without a new search.
pub(super) fn is_fresh(link: &IdentityLink, rules: &DeliveryRules, now: Timestamp) -> bool {
    now.since(link.confirmed_at) < lifetime(link, rules)
}

fn lifetime(link: &IdentityLink, rules: &DeliveryRules) -> Duration {
    match link.imprint {
        Some(_) => rules.link_ttl,
        None => rules.unknown_ttl,
    }
}

/// Returns whether an identity link decides about a contradiction.
fn is_certain(link: &IdentityLink, rules: &DeliveryRules, now: Timestamp) -> bool {
    now.since(link.confirmed_at) < lifetime(link, rules).max(CERTAIN_MIN)
}

/// Returns the partner customer id of the first of these entries that names both ids, and about whose partner customer
/// id no link decides.
pub(super) fn unconfirmed_pair(
    claimed: &ClaimedLane,
    entries: &[u64],
    rules: &DeliveryRules,
    now: Timestamp,
) -> Option<PartnerCustomerId> {
    let carried = claimed.waiting.iter();
    let mut carried = carried.filter(|waiting| entries.contains(&waiting.entry.0));
    carried.find_map(|waiting| match &waiting.customer {
        CustomerRef::Pair { partner, .. } => {
            let mut own = claimed.links.iter();
            let is_confirmed = own
                .any(|link| partner.is_same(link.partner.as_str()) && is_certain(link, rules, now));
            (!is_confirmed).then(|| partner.clone())
        }
        CustomerRef::Imprint(_) | CustomerRef::Partner(_) => None,
    })
}

/// The entries of a lane that dispatch must not send now, because an identity link contradicts the ids of the entries.
///
/// A wrong row of the CRM must not send the values of one customer to a different cardholder.
#[derive(Debug, Default)]
pub(super) struct Contradictions {
    /// The entries whose two customer ids belong to different customers at Imprint.
    pub(super) conflicts: Vec<EntryId>,
    /// The entries whose customer the bridge must first check at Imprint.
    pub(super) unsure: Vec<EntryId>,
    /// The check of the first unsure entry.
    pub(super) check: Option<IdentityCheck>,
}

/// The check of the customer of an entry whose ids an identity link contradicts.
#[derive(Debug)]
pub(super) struct IdentityCheck {
    /// The partner customer id in the entry.
    pub(super) partner: PartnerCustomerId,
    pub(super) step: CheckStep,
    /// True if nothing contradicts the ids, and only the answer of an earlier search has expired. The entry probably has
    /// the newest values of the customer, so dispatch sends no older values of other entries before the check.
    pub(super) goes_first: bool,
}

/// The next step of an [`IdentityCheck`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CheckStep {
    /// Search by the partner customer id, because the links are too old.
    Search,
    /// Retrieve the customer of the lane. The partner customer id belongs to the customer with this other Imprint id.
    ///
    /// If the customer of the lane does not exist, the Imprint id in the event is outdated, and the partner customer id
    /// decides.
    RetrieveLane(ImprintId),
    /// Move the entry to the lane of this Imprint id. The partner customer id belongs to this customer, and the event
    /// contains no Imprint id.
    Move(ImprintId),
    /// Search by this other partner customer id, because Imprint has confirmed that it belongs to the customer of the
    /// lane, and a search has then found the same customer for the entry. At most one of the two answers is true.
    SearchRival(PartnerCustomerId),
    /// Treat the customer as unknown: Imprint has no customer with the partner customer id, and the event contains no
    /// Imprint id.
    Unknown,
}

/// The relation of one entry to the identity links of its lane.
#[derive(Debug, PartialEq, Eq)]
enum Relation {
    Agreed,
    Conflict,
    Unsure(CheckStep),
    /// The entry contains no Imprint id. A search moved it to this lane, and the answer has expired: Imprint has possibly
    /// given the partner customer id to another customer since.
    Expired,
}

/// Finds the waiting entries whose ids an identity link contradicts.
pub(super) fn contradictions(
    claimed: &ClaimedLane,
    rules: &DeliveryRules,
    now: Timestamp,
) -> Contradictions {
    let mut found = Contradictions::default();
    let Some(LaneKey::Imprint(lane)) = &claimed.key else {
        return found;
    };
    for waiting in &claimed.waiting {
        let Some(partner) = waiting.customer.partner() else {
            continue;
        };
        match relation(waiting, partner, (lane, &claimed.links), rules, now) {
            Relation::Agreed => {}
            Relation::Conflict => found.conflicts.push(waiting.entry),
            Relation::Unsure(step) => {
                found.unsure.push(waiting.entry);
                found.check.get_or_insert_with(|| IdentityCheck {
                    partner: partner.clone(),
                    step,
                    goes_first: false,
                });
            }
            Relation::Expired => {
                found.unsure.push(waiting.entry);
                if !found.check.as_ref().is_some_and(|check| check.goes_first) {
                    found.check = Some(IdentityCheck {
                        partner: partner.clone(),
                        step: CheckStep::Search,
                        goes_first: true,
                    });
                }
            }
        }
    }
    found
}

fn relation(
    waiting: &WaitingEntry,
    partner: &PartnerCustomerId,
    (lane, links): (&ImprintId, &[IdentityLink]),
    rules: &DeliveryRules,
    now: Timestamp,
) -> Relation {
    let is_certain = |link: &IdentityLink| is_certain(link, rules, now);
    let names_imprint_id = matches!(waiting.customer, CustomerRef::Pair { .. });
    let is_own = |link: &&IdentityLink| partner.is_same(link.partner.as_str());
    let own = links.iter().filter(is_own);
    let own = own.max_by_key(|link| link.confirmed_at);
    let elsewhere = own
        .and_then(|own| own.imprint.as_ref())
        .filter(|imprint| !imprint.is_same(lane.as_str()));
    // The newest link of the lane's customer, if its partner customer id differs from the entry's.
    let other = newest_of(lane, links).filter(|link| !is_own(link));
    let is_other_certain = other.is_some_and(is_certain);
    let rival = (!names_imprint_id).then(|| newest_rival(partner, lane, links));
    let rival = rival.flatten().filter(|rival| is_certain(rival));
    match (own.filter(|own| is_certain(own)), elsewhere, other) {
        (_, _, Some(_)) if is_other_certain && names_imprint_id => Relation::Conflict,
        (Some(_), Some(to), _) if names_imprint_id => {
            Relation::Unsure(CheckStep::RetrieveLane(to.clone()))
        }
        (Some(_), Some(to), _) => Relation::Unsure(CheckStep::Move(to.clone())),
        (Some(own), None, Some(_)) if own.imprint.is_none() && names_imprint_id => {
            Relation::Conflict
        }
        (Some(own), None, Some(_)) if own.imprint.is_none() => Relation::Unsure(CheckStep::Unknown),
        (None, Some(_), None) | (_, _, Some(_)) => Relation::Unsure(CheckStep::Search),
        (Some(_), None, None) if let Some(rival) = rival => {
            Relation::Unsure(CheckStep::SearchRival(rival.partner.clone()))
        }
        (None, None, None) if !names_imprint_id => Relation::Expired,
        (_, None, None) => Relation::Agreed,
    }
}

/// Returns the identity link of this customer that Imprint confirmed last. A customer has only one partner customer id
/// at Imprint, so an older link with a different id is outdated.
pub(in crate::dispatch) fn newest_of<'a>(
    customer: &ImprintId,
    links: &'a [IdentityLink],
) -> Option<&'a IdentityLink> {
    let of_customer = links.iter().filter(|link| is_of(link, customer));
    of_customer.max_by_key(|link| link.confirmed_at)
}

/// Returns the newest identity link of the customer with a partner customer id that differs from `partner`.
fn newest_rival<'a>(
    partner: &PartnerCustomerId,
    customer: &ImprintId,
    links: &'a [IdentityLink],
) -> Option<&'a IdentityLink> {
    let of_customer = links.iter().filter(|link| is_of(link, customer));
    of_customer
        .filter(|link| !partner.is_same(link.partner.as_str()))
        .max_by_key(|link| link.confirmed_at)
}

fn is_of(link: &IdentityLink, customer: &ImprintId) -> bool {
    let linked = link.imprint.as_ref();
    linked.is_some_and(|linked| linked.is_same(customer.as_str()))
}

#[cfg(test)]
mod tests;
