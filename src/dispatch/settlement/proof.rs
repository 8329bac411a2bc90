//! Settlements of lanes whose customer Imprint does not know, or whose failures have no proven cause yet. This module
//! is pure: it does no IO and reads no clock.

use std::time::Duration;

use super::doubt::without_departed;
use super::remaining;
use crate::dispatch::lane_exchange::LaneExchange;
use crate::dispatch::moment::Moment;
use crate::dispatch::rules::{DeliveryRules, UnknownCustomer};
use crate::outbox::{Absence, DUE_AHEAD_MAX, Ending, EntryId, Settlement, Unproven};
use crate::time::Timestamp;

/// The longest rest of a lane after the first answer that the customer does not exist. The shortest rest is half of
/// this time.
///
/// During the rest, the bridge asks about a witness (at most once a second) and gets the answer. After a shorter rest,
/// the bridge would ask about the customer again before the answer can be proven.
const PROOF_REST_FIRST: Duration = Duration::from_secs(4);
/// The longest rest of a lane that has an unproven answer that its customer does not exist. After the rest, the answer
/// is still young enough for a proof.
const PROOF_REST_MAX: Duration = Duration::from_mins(5);

/// Returns the settlement of a lane whose entries wait until Imprint knows the customer.
pub(super) fn waits_for_customer(rules: &DeliveryRules, sent: Settlement) -> Settlement {
    Settlement {
        due: sent.at.after(rules.unknown_ttl.min(DUE_AHEAD_MAX)),
        attempted: Vec::new(),
        ..sent
    }
}

/// Returns the remaining entries that the conclusion concerns, and whose events the bridge accepted at least `age` ago.
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

/// Returns the settlement of a lane whose next call the limiter does not allow before `later`. The lane did not cause
/// this wait.
pub(super) fn postponed(
    exchange: &LaneExchange,
    later: Timestamp,
    unsent: Settlement,
) -> Settlement {
    let mut unproven = exchange.claimed.unproven;
    // Before the search, the lane possibly got the answer of a gateway. Such a lane must not come before the lanes of new
    // customers to which Imprint has not answered yet.
    if exchange.is_gone && !exchange.is_surely_gone() {
        unproven.since = unproven.since.or(Some(unsent.at));
    }
    Settlement {
        due: later,
        unproven,
        ..unsent
    }
}

/// Returns the settlement that records the answer "the customer does not exist" until evidence shows that the answer is
/// true.
///
/// If the delivery rules let entries wait for unknown customers, the answer finishes no entry, so it needs no evidence.
pub(super) fn await_proof(
    exchange: &LaneExchange,
    absence: Option<Absence>,
    rules: &DeliveryRules,
    moment: Moment,
    mut sent: Settlement,
) -> Settlement {
    // Store no link without an Imprint id: such a link would count as proof that the customer does not exist.
    sent.new_link.take_if(|link| link.imprint.is_none());
    if rules.unknown == UnknownCustomer::Wait
        && !exchange.is_known()
        && too_old(exchange, &sent, rules.wait_max).is_empty()
    {
        return waits_for_customer(rules, sent);
    }
    let since = exchange.claimed.unproven.since.unwrap_or(moment.now);
    let absence = absence.map(|absence| Absence {
        is_typed: absence.is_typed && (!absence.by_search || names_only_searched(exchange, &sent)),
        ..absence
    });
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

/// Returns whether the remaining entries name no partner customer id except the one that dispatch searched. The record of
/// a search does not tell the searched id. It must not decide about another id after the entries with the searched id have
/// ended.
fn names_only_searched(exchange: &LaneExchange, settlement: &Settlement) -> bool {
    remaining(exchange, settlement)
        .filter_map(|waiting| waiting.customer.partner())
        .all(|partner| exchange.about.as_ref() == Some(partner))
}

/// Returns the rest of a lane that has waited for proof since this time. The longer the lane has waited, the longer is
/// the rest.
fn rest(since: Timestamp, moment: Moment) -> Duration {
    let longest = PROOF_REST_FIRST.max(moment.now.since(since) / 2);
    longest
        .min(PROOF_REST_MAX)
        .mul_f64(0.5 + moment.jitter() / 2.0)
}

/// Returns the settlement of a lane that dispatch sends again although nothing proves the cause of its failure.
///
/// Entries that have waited too long for evidence become undecided.
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
    let settlement = Settlement {
        endings,
        unproven: Unproven {
            since: Some(since),
            ..settlement.unproven
        },
        ..settlement
    };
    without_departed(exchange, settlement)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lane that has waited long for proof asks more seldom, and lanes do not ask all at the same time.
    #[test]
    fn the_rest_grows_with_the_wait_and_is_spread_over_half_of_its_length() {
        let since = Timestamp::from_millis(0);
        for (waited, longest) in [(0, 4), (7, 4), (60, 30), (3_600, 300)] {
            let now = since.after(Duration::from_secs(waited));
            let rest = |random| rest(since, Moment { now, random }).as_secs_f64();
            let longest = f64::from(longest);
            assert!((rest(0) - longest / 2.0).abs() < 0.001, "{waited}");
            assert!((rest(u32::MAX) - longest).abs() < 0.001, "{waited}");
        }
    }
}
