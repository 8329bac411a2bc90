//! The identity link that the echo of an applied update confirms. This module is pure: it does no IO and reads no clock.

use crate::dispatch::lane_exchange::LaneExchange;
use crate::dispatch::rules::DeliveryRules;
use crate::imprint::Echo;
use crate::outbox::IdentityLink;
use crate::time::Timestamp;

/// Returns the identity link that an echo confirms, if an entry of the lane names our id, and the link is new or older
/// than half of `link_ttl`.
pub(super) fn confirmed_link(
    exchange: &LaneExchange,
    echo: Echo,
    rules: &DeliveryRules,
    now: Timestamp,
) -> Option<IdentityLink> {
    let partner = echo.partner_customer_id?;
    let imprint = exchange.imprint_id()?;
    let waiting = &exchange.claimed.waiting;
    if !waiting
        .iter()
        .any(|waiting| waiting.customer.partner().is_some())
    {
        return None;
    }
    let is_known = exchange.claimed.links.iter().any(|link| {
        let linked = link.imprint.as_ref();
        linked.is_some_and(|linked| linked.is_same(imprint.as_str()))
            && link.partner == partner
            && now.since(link.confirmed_at) < rules.link_ttl / 2
    });
    (!is_known).then(|| IdentityLink {
        partner,
        imprint: Some(imprint.clone()),
        confirmed_at: now,
    })
}
