//! Settlements of lanes whose customer Imprint does not know, or whose failures nothing has explained yet. This module is
//! pure: it does no IO and reads no clock.

use std::time::Duration;

use super::remaining;
use crate::dispatch::lane_exchange::LaneExchange;
use crate::dispatch::moment::Moment;
use crate::dispatch::rules::{DeliveryRules, UnknownCustomer};
use crate::outbox::{Absence, DUE_AHEAD_MAX, Ending, EntryId, Settlement, Unproven};
use crate::time::Timestamp;

/// The longest rest of a lane after the first answer that the customer does not exist. Even the shortest rest, half of
/// this, lasts until the bridge has asked a witness, which it does once a second, and has the answer. Otherwise the bridge
/// would ask about the customer again for nothing.
const PROOF_REST_FIRST: Duration = Duration::from_secs(4);
/// The longest rest of a lane whose customer does not exist according to an answer that nothing has proven. The rest is
/// shorter than the time for which an answer can be proven.
const PROOF_REST_MAX: Duration = Duration::from_mins(5);

/// Returns the settlement of a lane whose entries wait until Imprint knows the customer.
pub(super) fn waits_for_customer(rules: &DeliveryRules, sent: Settlement) -> Settlement {
    Settlement {
        due: sent.at.after(rules.unknown_ttl.min(DUE_AHEAD_MAX)),
        attempted: Vec::new(),
        ..sent
    }
}

/// Returns the remaining entries that the conclusion concerns and that were accepted at least this time ago.
pub(super) fn too_old(
    exchange: &LaneExchange,
    settlement: &Settlement,
    age: Duration,
) -> Vec<EntryId> {
    let now = settlement.at;
    remaining(exchange, settlement)
        .filter(|waiting| exchange.concerns(waiting))
        .filter(|waiting| now.since(waiting.accepted_at) >= age)
        .map(|waiting| waiting.entry)
        .collect()
}

/// Returns the settlement of a lane that may be sent only later, for a reason that has nothing to do with the lane.
pub(super) fn postponed(
    exchange: &LaneExchange,
    later: Timestamp,
    unsent: Settlement,
) -> Settlement {
    Settlement {
        due: later,
        unproven: exchange.claimed.unproven,
        ..unsent
    }
}

/// Returns the settlement that records the answer "the customer does not exist" until evidence shows that the answer is
/// true. If the entries wait for the customer anyway, the answer ends none of them, so it needs no evidence.
pub(super) fn await_proof(
    exchange: &LaneExchange,
    absence: Option<Absence>,
    rules: &DeliveryRules,
    moment: Moment,
    mut sent: Settlement,
) -> Settlement {
    // A stored link without an Imprint id counts as proof that the customer does not exist.
    sent.new_link.take_if(|link| link.imprint.is_none());
    if rules.unknown == UnknownCustomer::Wait
        && !exchange.is_known()
        && too_old(exchange, &sent, rules.wait_max).is_empty()
    {
        return waits_for_customer(rules, sent);
    }
    let since = exchange.claimed.unproven.since.unwrap_or(moment.now);
    let waits = Settlement {
        due: moment.now.after(rest(since, moment)),
        trials: exchange.claimed.trials,
        unproven: Unproven {
            since: Some(since),
            absence,
        },
        ..sent
    };
    unproven(exchange, waits, rules)
}

/// Returns the rest of a lane that waits for proof since this time. The rest grows with the time.
fn rest(since: Timestamp, moment: Moment) -> Duration {
    let longest = PROOF_REST_FIRST.max(moment.now.since(since) / 2);
    longest
        .min(PROOF_REST_MAX)
        .mul_f64(0.5 + moment.jitter() / 2.0)
}

/// Returns the settlement of a lane that is sent again although no evidence shows whose fault the failure is. Entries
/// that have waited too long for evidence become undecided.
pub fn unproven(
    exchange: &LaneExchange,
    settlement: Settlement,
    rules: &DeliveryRules,
) -> Settlement {
    let since = exchange.claimed.unproven.since.unwrap_or(settlement.at);
    let mut endings = settlement.endings.clone();
    if settlement.at.since(since) >= rules.undecided_max {
        let old = too_old(exchange, &settlement, rules.undecided_max);
        endings.extend(old.into_iter().map(|entry| (entry, Ending::Undecided)));
    }
    Settlement {
        endings,
        unproven: Unproven {
            since: Some(since),
            ..settlement.unproven
        },
        ..settlement
    }
}
