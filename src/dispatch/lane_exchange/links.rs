//! Links between our ids and Imprint's ids: decides how long to trust a link, and which entries contradict links. This
//! module is pure: it does no IO and reads no clock.

use crate::dispatch::rules::DeliveryRules;
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId};
use crate::outbox::{ClaimedLane, EntryId, IdentityLink, WaitingEntry};
use crate::time::Timestamp;

/// Returns whether an identity link is young enough to be used without another search.
pub(super) fn is_fresh(link: &IdentityLink, rules: &DeliveryRules, now: Timestamp) -> bool {
    let ttl = match link.imprint {
        Some(_) => rules.link_ttl,
        None => rules.unknown_ttl,
    };
    now.since(link.confirmed_at) < ttl
}

/// Returns the entries that name two ids which, according to Imprint, belong to different customers. One wrong row of a
/// CRM must not send the values of one customer to another cardholder.
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
