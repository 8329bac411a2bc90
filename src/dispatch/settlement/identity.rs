//! The settlements after Imprint's answers about the customer of a lane. This module is pure: it does no IO and reads
//! no clock.

use super::proof::{too_old, waits_for_customer};
use super::{park, remaining, some_end};
use crate::dispatch::lane_exchange::LaneExchange;
use crate::dispatch::rules::{DeliveryRules, UnknownCustomer};
use crate::imprint::ImprintId;
use crate::outbox::{Ending, IgnoreReason, Moved, ParkReason, Recognition, Settlement, Trials};

/// The ending of an entry whose customer Imprint does not know.
const IGNORED: Ending = Ending::Ignored(IgnoreReason::UnknownCustomer);

/// Returns the settlement that parks the entries for which Imprint's answer does not tell the customer.
pub(super) fn all_parked(
    exchange: &LaneExchange,
    reason: ParkReason,
    sent: Settlement,
) -> Settlement {
    some_end(exchange, &park(reason), sent, LaneExchange::names_our_id)
}

/// Returns the settlement after evidence has shown that Imprint does not know the customer.
pub(super) fn customer_unknown(
    exchange: &LaneExchange,
    rules: &DeliveryRules,
    sent: Settlement,
) -> Settlement {
    let ends = LaneExchange::concerns;
    match rules.unknown {
        UnknownCustomer::Ignore => some_end(exchange, &IGNORED, sent, ends),
        UnknownCustomer::Park => some_end(exchange, &park(ParkReason::UnknownCustomer), sent, ends),
        UnknownCustomer::Wait => {
            let too_old = too_old(exchange, &sent, rules.wait_max);
            let too_old = too_old.into_iter().map(|entry| (entry, IGNORED));
            let mut waits = waits_for_customer(rules, sent);
            waits.endings.extend(too_old);
            waits
        }
    }
}

/// Returns the settlement that moves entries with a partner customer id to the lane of the Imprint id.
pub(super) fn moved(exchange: &LaneExchange, to: ImprintId, unsent: Settlement) -> Settlement {
    let entries = remaining(exchange, &unsent)
        .filter(|waiting| waiting.customer.partner().is_some() && exchange.concerns(waiting))
        .map(|waiting| waiting.entry)
        .collect();
    Settlement {
        moved: Some(Moved { to, entries }),
        trials: Trials::default(),
        recognition: Recognition::Unchanged,
        ..unsent
    }
}
