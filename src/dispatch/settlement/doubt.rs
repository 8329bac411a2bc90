//! The requests in doubt after a settlement: requests without a clear answer that can still arrive at Imprint. This
//! module is pure: it does no IO and reads no clock.

use crate::dispatch::lane_exchange::LaneExchange;
use crate::dispatch::policy::Effect;
use crate::dispatch::rules::DeliveryRules;
use crate::outbox::{Ending, Settlement};

/// Marks the values of the request as in doubt if Imprint has possibly applied the request.
pub(super) fn in_doubt(
    exchange: &LaneExchange,
    effect: Effect,
    rules: &DeliveryRules,
    settlement: Settlement,
) -> Settlement {
    match effect {
        Effect::None => settlement,
        Effect::Unconfirmed => unconfirmed(exchange, rules, settlement),
    }
}

/// Returns the settlement that marks the values of the request as in doubt. Imprint has possibly applied the request,
/// or the request can still arrive.
fn unconfirmed(exchange: &LaneExchange, rules: &DeliveryRules, unsent: Settlement) -> Settlement {
    let until = unsent.at.after(rules.reassert_after);
    let versions = exchange.claimed.versions.clone();
    let versions = versions.with_unconfirmed(&exchange.fold, until);
    Settlement {
        reassert_at: versions.reassert_at(),
        versions: Some(versions),
        ..unsent
    }
}

/// Plans no further request that only sends delivered values again, because Imprint refuses these values. The doubt
/// stays: the request for the next event of the customer sends the values too.
pub(super) fn without_reassertion(exchange: &LaneExchange, sent: Settlement) -> Settlement {
    let reassert_at = sent.reassert_at.filter(|_| !exchange.is_reassertion());
    Settlement {
        reassert_at,
        ..sent
    }
}

/// Keeps the doubt about the entries that the settlement takes out of the lane although Imprint does not have their
/// values: parked, ignored, undecided and moved entries.
///
/// A request with the values of such an entry can still arrive. The remaining entries may have older versions, so their
/// versions do not show that the late request overwrites them.
pub(super) fn without_departed(exchange: &LaneExchange, settlement: Settlement) -> Settlement {
    let departs = |ending: &Ending| match ending {
        Ending::Parked { .. } | Ending::Ignored(_) | Ending::Undecided => true,
        Ending::Delivered | Ending::Superseded(_) => false,
    };
    let mut endings = settlement.endings.iter();
    if settlement.moved.is_none() && !endings.any(|(_, ending)| departs(ending)) {
        return settlement;
    }
    let before = settlement.versions.as_ref();
    let before = before.unwrap_or(&exchange.claimed.versions);
    let after = before.clone().without_entries();
    if after == *before {
        return settlement;
    }
    Settlement {
        versions: Some(after),
        ..settlement
    }
}
