//! The identity link in Imprint's answer to an applied update. The answer (the echo) contains the customer as Imprint
//! has it. This module is pure: it does no IO and reads no clock.

use super::Settlement;
use crate::dispatch::lane_exchange::{LaneExchange, newest_of};
use crate::dispatch::rules::DeliveryRules;
use crate::imprint::{Echo, PartnerCustomerId};
use crate::outbox::{Ending, IdentityLink, ParkReason, Recognition};
use crate::time::Timestamp;

/// Returns the identity link that an echo confirms, if the store needs it.
///
/// The store needs the link if an entry of the lane has a partner customer id, and if the newest stored link of the
/// customer differs or is older than half of `link_ttl`.
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
    let newest = newest_of(imprint, &exchange.claimed.links);
    let is_known = newest.is_some_and(|link| {
        link.partner.is_same(partner.as_str()) && now.since(link.confirmed_at) < rules.link_ttl / 2
    });
    (!is_known).then(|| IdentityLink {
        partner,
        imprint: Some(imprint.clone()),
        confirmed_at: now,
    })
}

/// Adds the spelling of the Imprint id to the settlement of an applied request.
pub(super) fn applied(exchange: &LaneExchange, settlement: Settlement) -> Settlement {
    let spelling = exchange.spelling().cloned();
    Settlement {
        recognition: spelling.map_or(Recognition::Unchanged, Recognition::Applied),
        ..settlement
    }
}

/// Returns the settlement of a request that reached the customer `echoed`, although some of its entries have a
/// different partner customer id.
///
/// Parks these entries. The detail of each parked entry names the customer that got the values.
///
/// Dispatch sends the other entries again, to overwrite the wrong values. No version counts as delivered: otherwise a
/// version of a wrong entry could make the customer's own values look older.
pub(super) fn misdirected(
    exchange: &LaneExchange,
    echoed: &PartnerCustomerId,
    sent: Settlement,
) -> Settlement {
    let imprint = exchange.imprint_id().cloned();
    let reached = imprint.as_ref().map(|imprint| {
        let (imprint, partner) = (imprint.as_str(), echoed.as_str());
        format!("the values reached Imprint's customer {imprint}, whose partner customer id is {partner}")
    });
    let wrong = exchange.misdirected(echoed).map(|entry| {
        let ending = Ending::Parked {
            reason: ParkReason::IdentityConflict,
            detail: reached.clone(),
        };
        (entry, ending)
    });
    let mut endings = sent.endings.clone();
    endings.extend(wrong.collect::<Vec<_>>());
    applied(
        exchange,
        Settlement {
            endings,
            new_link: Some(IdentityLink {
                partner: echoed.clone(),
                imprint,
                confirmed_at: sent.at,
            }),
            ..sent
        },
    )
}
