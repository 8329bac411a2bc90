//! Links between our ids and Imprint's ids: how long they are trusted, and which entries contradict them. Pure.

use crate::dispatch::rules::DeliveryRules;
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId};
use crate::outbox::{ClaimedLane, EntryId, IdentityLink, WaitingEntry};
use crate::time::Timestamp;

/// Whether a link is young enough to be used without another search.
pub(super) fn is_fresh(link: &IdentityLink, rules: &DeliveryRules, now: Timestamp) -> bool {
    let ttl = match link.imprint {
        Some(_) => rules.link_ttl,
        None => rules.unknown_ttl,
    };
    now.since(link.confirmed_at) < ttl
}

/// The entries that name two ids which belong to different customers, as Imprint said. One wrong row of a CRM must not
/// send the values of one customer to another cardholder.
pub(super) fn conflicts(
    claimed: &ClaimedLane,
    rules: &DeliveryRules,
    now: Timestamp,
) -> Vec<EntryId> {
    let links: Vec<(&PartnerCustomerId, &ImprintId)> = claimed
        .links
        .iter()
        .filter(|link| is_fresh(link, rules, now))
        .filter_map(|link| Some((&link.partner, link.imprint.as_ref()?)))
        .collect();
    let contradicts = |waiting: &&WaitingEntry| {
        let CustomerRef::Pair { imprint, partner } = &waiting.customer else {
            return false;
        };
        links.iter().any(|(linked_partner, linked_imprint)| {
            (*linked_partner == partner) != linked_imprint.is_same(imprint.as_str())
        })
    };
    claimed
        .waiting
        .iter()
        .filter(contradicts)
        .map(|waiting| waiting.entry)
        .collect()
}
