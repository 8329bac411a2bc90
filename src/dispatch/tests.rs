//! Tests of the exchange about a lane, the decision, and the settlement, without a store or a network.

use std::time::Duration;

use serde_json::{Value, json};

use super::breaker::{Attribution, DestinationState, Probes, Signal};
use super::destination::Assessment;
use super::evidence::Blame;
use super::lane_exchange::{Conclusion, ExchangeStep, ImprintCall, ImprintReply, LaneExchange};
use super::moment::Moment;
use super::policy::{Attempt, Decision, Effect, Rest, decide};
use super::rules::{DeliveryRules, UnknownCustomer};
use super::settlement::{settlement, unproven};
use crate::event::{SourceName, Version};
use crate::fold::LaneVersions;
use crate::imprint::clearing::{AddressClearing, Clearing};
use crate::imprint::{
    Cause, CustomerRef, Echo, Field, FieldValue, ImprintId, LookupResult, Outcome,
    PartnerCustomerId, Rejection,
};
use crate::outbox::{
    Absence, ClaimToken, ClaimedLane, Ending, EntryId, IdentityLink, KeyMark, LaneId, LaneKey,
    MaybeSent, ParkReason, Recognition, Settlement, State, Trials, Unproven, WaitingEntry,
};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

const RULES: DeliveryRules = DeliveryRules {
    max_fold: 100,
    undecided_max: Duration::from_hours(24),
    attempts_max: 12,
    park_after: Duration::ZERO,
    reassert_after: Duration::from_secs(60),
    clearing: Clearing {
        fields: crate::imprint::clearing::FieldClearing::Omit,
        address: AddressClearing::Verify,
    },
    unknown: UnknownCustomer::Ignore,
    wait_max: Duration::from_hours(24),
    link_ttl: Duration::from_hours(24),
    unknown_ttl: Duration::from_mins(15),
};

fn imprint(id: &str) -> ImprintId {
    ImprintId::parse(id).unwrap()
}

fn partner(id: &str) -> PartnerCustomerId {
    PartnerCustomerId::parse(id).unwrap()
}

fn named(imprint_id: Option<&str>, partner_id: Option<&str>) -> CustomerRef {
    match (imprint_id, partner_id) {
        (Some(id), None) => CustomerRef::Imprint(imprint(id)),
        (None, Some(id)) => CustomerRef::Partner(partner(id)),
        (Some(id), Some(other)) => CustomerRef::Pair {
            imprint: imprint(id),
            partner: partner(other),
        },
        (None, None) => panic!("an event names somebody"),
    }
}

fn waiting(entry: u64, value: i64, path: &str) -> WaitingEntry {
    let fact = (
        Field::parse(path).unwrap(),
        FieldValue::from_value(json!("x")),
    );
    WaitingEntry {
        entry: EntryId(entry),
        version: Version {
            epoch: 0,
            value,
            arrival: entry,
        },
        update: [fact].into_iter().collect(),
        customer: named(Some("CUST-1"), None),
        jump_max: None,
        source: SourceName::parse("crm").unwrap(),
        accepted_at: NOW,
        floors: None,
    }
}

/// Returns a lane with two entries that are sent together (1 and 3), one entry that entry 1 supersedes, and one
/// unreadable entry.
fn lane() -> ClaimedLane {
    ClaimedLane {
        key: Some(LaneKey::Imprint(imprint("CUST-1"))),
        trials: Trials {
            failures: 2,
            attempts: 0,
            tried_at: Some(NOW),
            blamed_since: None,
        },
        waiting: vec![
            waiting(1, 5, "email"),
            waiting(2, 4, "email"),
            waiting(3, 6, "phone"),
        ],
        unreadable: vec![EntryId(9)],
        ..ClaimedLane::empty(LaneId(7), ClaimToken::default(), Trials::default())
    }
}

/// Returns a lane with one entry, whose event names this customer.
fn lane_of(key: LaneKey, customer: CustomerRef) -> ClaimedLane {
    ClaimedLane {
        key: Some(key),
        waiting: vec![WaitingEntry {
            customer,
            ..waiting(1, 5, "email")
        }],
        ..ClaimedLane::empty(LaneId(7), ClaimToken::default(), Trials::default())
    }
}

/// Runs the exchange about a lane with these answers, and returns the calls and the conclusion.
fn exchange_with(
    claimed: ClaimedLane,
    rules: &DeliveryRules,
    answers: Vec<ImprintReply>,
) -> (LaneExchange, Vec<String>, Conclusion) {
    let (mut exchange, mut step) = LaneExchange::start(claimed, rules, NOW);
    let mut asked = Vec::new();
    let mut answers = answers.into_iter();
    loop {
        match step {
            ExchangeStep::Conclude(conclusion) => {
                assert!(answers.next().is_none(), "nobody asked");
                return (exchange, asked, conclusion);
            }
            ExchangeStep::Call(ask) => {
                asked.push(match ask {
                    ImprintCall::Update(request) => {
                        format!("update {}", Value::Object(request.body.to_object()))
                    }
                    ImprintCall::Retrieve(customer) => format!("retrieve {}", customer.as_str()),
                    ImprintCall::Search(partner) => format!("search {}", partner.as_str()),
                });
                step = exchange.on_answer(answers.next().expect("an answer"), NOW);
            }
        }
    }
}

const fn moment(now: Timestamp) -> Moment {
    Moment {
        now,
        random: u32::MAX / 2,
    }
}

const PROBES: Probes = Probes {
    until: None,
    next: NOW,
    arrival: NOW,
};

const fn assessment(attribution: Attribution) -> Assessment {
    Assessment {
        state: DestinationState::FIRST,
        attribution,
        blame: match attribution {
            Attribution::Lane => Blame::Lane,
            Attribution::Unknown => Blame::Unproven,
        },
        at: NOW,
        absence: None,
    }
}

/// Returns the decision and the settlement for a lane whose update had this outcome.
fn settle(
    claimed: ClaimedLane,
    outcome: Outcome,
    attribution: Attribution,
) -> (Decision, Settlement) {
    let (exchange, _, conclusion) =
        exchange_with(claimed, &RULES, vec![ImprintReply::Outcome(outcome)]);
    conclude(&exchange, conclusion, attribution, &RULES)
}

fn conclude(
    exchange: &LaneExchange,
    conclusion: Conclusion,
    attribution: Attribution,
    rules: &DeliveryRules,
) -> (Decision, Settlement) {
    let decision = decide(exchange, conclusion, assessment(attribution), rules);
    let settlement = settlement(exchange, decision.clone(), rules, moment(NOW));
    (decision, settlement)
}

fn ended(settlement: &Settlement) -> Vec<(u64, &'static str)> {
    settlement
        .endings
        .iter()
        .map(|(entry, ending)| (entry.0, ending.state().as_str()))
        .collect()
}

fn rejection() -> Outcome {
    Outcome::Rejected(Rejection {
        status: 400,
        kind: Some("BAD_REQUEST_ERROR"),
        param: Some("email".to_owned()),
    })
}

// === outcome and decision ===

const fn again(effect: Effect, attempt: Attempt) -> Decision {
    Decision::Retry {
        effect,
        rest: Rest::Backoff,
        attempt,
    }
}

#[test]
fn every_outcome_has_its_decision() {
    use Attribution::{Lane, Unknown};
    let cause = Cause::Status(500);
    let key = || Outcome::Denied(Cause::Status(401));
    let forbidden = || Outcome::Denied(Cause::Status(403));
    let throttled = || Outcome::Throttled(Some(Duration::from_secs(7)));
    let (unavailable, unknown) = (|| Outcome::Unavailable(cause), || Outcome::Unknown(cause));
    let echo = Echo::default;
    let table = [
        (Outcome::Applied(echo()), Unknown, Decision::Deliver(echo())),
        (
            throttled(),
            Unknown,
            Decision::Wait(Rest::AtLeast(Duration::from_secs(7))),
        ),
        (
            throttled(),
            Lane,
            Decision::Retry {
                effect: Effect::Unconfirmed,
                rest: Rest::AtLeast(Duration::from_secs(7)),
                attempt: Attempt::Counted,
            },
        ),
        (key(), Unknown, Decision::Wait(Rest::Unproven)),
        (key(), Lane, again(Effect::None, Attempt::Counted)),
        (forbidden(), Unknown, Decision::Wait(Rest::Unproven)),
        (forbidden(), Lane, again(Effect::None, Attempt::Counted)),
        (
            unavailable(),
            Unknown,
            again(Effect::Unconfirmed, Attempt::NotCounted),
        ),
        (
            unavailable(),
            Lane,
            again(Effect::Unconfirmed, Attempt::Counted),
        ),
        (
            unknown(),
            Unknown,
            again(Effect::Unconfirmed, Attempt::NotCounted),
        ),
        (
            unknown(),
            Lane,
            again(Effect::Unconfirmed, Attempt::Counted),
        ),
        (Outcome::NotFound, Unknown, Decision::AwaitProof(None)),
        (Outcome::NotFound, Lane, Decision::CustomerUnknown),
        (rejection(), Unknown, Decision::Unfold),
    ];
    for (outcome, attribution, decision) in table {
        let decided = settle(lane(), outcome.clone(), attribution).0;
        assert_eq!(decided, decision, "{outcome:?}");
    }
}

#[test]
fn a_rejected_entry_is_parked_with_the_names_in_imprints_answer() {
    let alone = ClaimedLane {
        waiting: vec![waiting(1, 5, "email")],
        ..lane()
    };
    let parked = Decision::Park {
        reason: ParkReason::Rejected,
        detail: Some("status 400 BAD_REQUEST_ERROR email".to_owned()),
    };
    assert_eq!(settle(alone, rejection(), Attribution::Unknown).0, parked);
}

#[test]
fn a_delivery_supersedes_older_entries() {
    let (_, settlement) = settle(
        lane(),
        Outcome::Applied(Echo::default()),
        Attribution::Unknown,
    );
    assert_eq!(
        ended(&settlement),
        [
            (9, "parked"),
            (1, "delivered"),
            (2, "superseded"),
            (3, "delivered")
        ]
    );
    assert_eq!(
        (settlement.trials, settlement.due),
        (Trials::default(), NOW)
    );
    assert!(settlement.versions.is_some());
}

/// FAULTS U25, U34: while the destination is at fault, its state and not a rest of the lane decides when the lane is
/// sent again.
#[test]
fn a_lane_does_not_rest_for_a_fault_of_the_destination() {
    for (outcome, rest, failures) in [
        (Outcome::Throttled(None), Rest::None, 2),
        (Outcome::Denied(Cause::Status(401)), Rest::Stopped, 3),
        (Outcome::Denied(Cause::Status(403)), Rest::Stopped, 3),
    ] {
        let (exchange, _, conclusion) =
            exchange_with(lane(), &RULES, vec![ImprintReply::Outcome(outcome)]);
        let assessment = Assessment {
            blame: Blame::Destination,
            ..assessment(Attribution::Unknown)
        };
        let decision = decide(&exchange, conclusion, assessment, &RULES);
        assert_eq!(decision, Decision::Wait(rest));
        let settlement = settlement(&exchange, decision, &RULES, moment(NOW));
        assert_eq!(
            (settlement.due, settlement.trials.failures),
            (NOW, failures)
        );
        assert_eq!(settlement.trials.attempts, 0);
    }
}

/// FAULTS U51: a lane that is throttled or refused without proof rests with backoff, within limits.
#[test]
fn a_lane_rests_within_limits_without_proof() {
    let claimed = ClaimedLane {
        trials: Trials {
            failures: 20,
            ..Trials::default()
        },
        ..lane()
    };
    let hour = Duration::from_hours(1);
    for (outcome, seconds) in [
        (Outcome::Denied(Cause::Status(401)), 30),
        (Outcome::Throttled(Some(hour)), 3600),
        (Outcome::Throttled(None), 1800),
    ] {
        let (_, settlement) = settle(claimed.clone(), outcome, Attribution::Unknown);
        let rest = settlement.due.since(NOW).as_secs_f64().round();
        assert_eq!(rest, f64::from(seconds));
    }
}

/// FAULTS U25, U34, U35: no fault of the destination ends an entry, and only a failure of the lane itself counts as an
/// attempt.
#[test]
fn a_fault_of_the_destination_ends_nothing() {
    let cause = Cause::Status(503);
    let table = [
        (Outcome::Throttled(None), Attribution::Unknown, (0, 3, 0)),
        (Outcome::Throttled(None), Attribution::Lane, (2, 3, 1)),
        (
            Outcome::Denied(Cause::Status(401)),
            Attribution::Unknown,
            (0, 3, 0),
        ),
        (
            Outcome::Denied(Cause::Status(401)),
            Attribution::Lane,
            (2, 3, 1),
        ),
        (Outcome::Unavailable(cause), Attribution::Unknown, (2, 3, 0)),
        (Outcome::Unavailable(cause), Attribution::Lane, (2, 3, 1)),
        (Outcome::Unknown(cause), Attribution::Lane, (2, 3, 1)),
    ];
    for (outcome, attribution, expected) in table {
        let (_, settlement) = settle(lane(), outcome.clone(), attribution);
        let Trials {
            failures, attempts, ..
        } = settlement.trials;
        assert_eq!(ended(&settlement), [(9, "parked")], "{outcome:?}");
        assert_eq!(
            (settlement.attempted.len(), failures, attempts),
            expected,
            "{outcome:?}"
        );
    }
}

#[test]
fn the_first_failure_of_a_lane_is_not_counted() {
    let fresh = ClaimedLane {
        trials: Trials::default(),
        ..lane()
    };
    let (_, settlement) = settle(
        fresh,
        Outcome::Unavailable(Cause::Connect),
        Attribution::Lane,
    );
    assert_eq!(
        (settlement.trials.failures, settlement.trials.attempts),
        (1, 0)
    );
}

/// Returns whether a newer value that is delivered after this settlement is sent once more, because the request of this
/// settlement may still arrive.
fn is_in_doubt(settlement: &Settlement) -> bool {
    let claimed = ClaimedLane {
        versions: settlement.versions.clone().unwrap_or_default(),
        waiting: vec![waiting(50, 9, "email")],
        ..lane()
    };
    let echo = Outcome::Applied(Echo::default());
    let (_, settlement) = settle(claimed, echo, Attribution::Unknown);
    settlement.reassert_at.is_some()
}

/// FAULTS U52: only a connection that never stood, or a refusal, proves that a request changed nothing.
#[test]
fn a_request_that_a_gateway_gave_up_is_in_doubt() {
    let status = |status| Outcome::Unavailable(Cause::Status(status));
    for (outcome, expected) in [
        (status(500), true),
        (status(502), true),
        (status(503), true),
        (status(504), true),
        (status(408), true),
        (status(425), true),
        (Outcome::Unavailable(Cause::Disconnected), true),
        (Outcome::Throttled(Some(Duration::from_secs(1))), true),
        (Outcome::Unavailable(Cause::Connect), false),
        (Outcome::Unavailable(Cause::Dns), false),
        (Outcome::Unavailable(Cause::Tls), false),
        (Outcome::Denied(Cause::Certificate), false),
        (Outcome::Denied(Cause::Status(401)), false),
    ] {
        for attribution in [Attribution::Lane, Attribution::Unknown] {
            for attempts in [0, 11] {
                let claimed = ClaimedLane {
                    trials: Trials {
                        failures: 20,
                        attempts,
                        tried_at: Some(NOW),
                        blamed_since: None,
                    },
                    waiting: vec![waiting(1, 5, "email")],
                    ..lane()
                };
                let (_, settlement) = settle(claimed, outcome.clone(), attribution);
                assert_eq!(is_in_doubt(&settlement), expected, "{outcome:?} {attempts}");
            }
        }
    }
}

/// FAULTS O06: dispatch parks an entry that keeps failing alone while Imprint applies the requests of other lanes.
#[test]
fn an_entry_that_alone_keeps_failing_is_parked_after_its_attempts() {
    let tried = |waiting| ClaimedLane {
        trials: Trials {
            failures: 20,
            attempts: 11,
            tried_at: Some(NOW),
            blamed_since: None,
        },
        waiting,
        ..lane()
    };
    let failed = || Outcome::Unavailable(Cause::Status(500));
    let two = vec![waiting(1, 5, "email"), waiting(3, 6, "phone")];
    let (decision, settlement) = settle(tried(two.clone()), failed(), Attribution::Lane);
    assert!(matches!(decision, Decision::GiveUp { .. }), "{decision:?}");
    assert_eq!(
        (settlement.unfold_to, settlement.trials.attempts),
        (Some(EntryId(3)), 0)
    );
    assert!(is_in_doubt(&settlement));
    let (_, settlement) = settle(tried(two[..1].to_vec()), failed(), Attribution::Lane);
    assert_eq!(ended(&settlement), [(9, "parked"), (1, "parked")]);
    let (_, settlement) = settle(tried(two[..1].to_vec()), failed(), Attribution::Unknown);
    assert_eq!(
        ended(&settlement),
        [(9, "parked")],
        "an outage spends nothing"
    );
}

#[test]
fn clearing_alone_needs_no_request() {
    let mut claimed = lane();
    for entry in &mut claimed.waiting {
        let field = entry.update.fields().next().unwrap().clone();
        entry.update.insert(field, FieldValue::Cleared);
    }
    let (exchange, asked, conclusion) = exchange_with(claimed, &RULES, vec![]);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(asked.len(), 0);
    assert_eq!(
        ended(&settlement),
        [
            (9, "parked"),
            (1, "ignored"),
            (2, "superseded"),
            (3, "ignored")
        ]
    );
    assert!(settlement.attempted.is_empty());
}

// === late requests ===

/// FAULTS U37, P07: the lane remembers a request that may arrive late, whichever process sent the request.
#[test]
fn values_delivered_after_an_unknown_outcome_are_sent_once_more() {
    let first = ClaimedLane {
        waiting: vec![waiting(1, 5, "email")],
        ..lane()
    };
    let (_, unknown) = settle(
        first,
        Outcome::Unknown(Cause::Deadline),
        Attribution::Unknown,
    );
    assert_eq!(unknown.reassert_at, None);
    let second = ClaimedLane {
        versions: unknown.versions.unwrap(),
        waiting: vec![waiting(1, 5, "email"), waiting(4, 7, "email")],
        ..lane()
    };
    let (_, delivered) = settle(
        second,
        Outcome::Applied(Echo::default()),
        Attribution::Unknown,
    );
    let until = NOW.after(RULES.reassert_after);
    assert_eq!(delivered.reassert_at, Some(until));
    let idle = ClaimedLane {
        versions: delivered.versions.unwrap(),
        waiting: Vec::new(),
        ..lane()
    };
    let (mut exchange, step) = LaneExchange::start(idle, &RULES, until);
    assert!(matches!(step, ExchangeStep::Call(ImprintCall::Update(_))));
    let answer = ImprintReply::Outcome(Outcome::Applied(Echo::default()));
    let ExchangeStep::Conclude(conclusion) = exchange.on_answer(answer, until) else {
        panic!("nothing more is asked")
    };
    let (_, asserted) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!((exchange.fold.reasserted, asserted.reassert_at), (1, None));
}

/// FAULTS P07, V3
#[test]
fn entries_that_an_earlier_process_may_have_sent_stay_in_doubt_while_nothing_can_be_sent() {
    let claimed = ClaimedLane {
        maybe_sent: MaybeSent::Entries(EntryId(2)),
        ..lane()
    };
    let (_, held) = settle(
        claimed.clone(),
        Outcome::Throttled(None),
        Attribution::Unknown,
    );
    assert_ne!(held.versions, None);
    assert_ne!(held.versions, Some(LaneVersions::default()));
    let (_, delivered) = settle(
        claimed,
        Outcome::Applied(Echo::default()),
        Attribution::Unknown,
    );
    assert_eq!(delivered.reassert_at, Some(NOW.after(RULES.reassert_after)));
}

/// FAULTS N310, V3: the request with an entry got no clear answer, and then the entry left the lane undelivered. The
/// late request may overwrite a value that is delivered meanwhile, even if the version of the value is older.
#[test]
fn an_older_value_is_sent_again_after_an_entry_in_doubt_left_the_lane() {
    let long_ago = Timestamp::from_millis(NOW.as_millis() - 25 * 3_600_000);
    let customer = named(Some("CUST-1"), Some("P-1"));
    let mut claimed = lane_of(LaneKey::Imprint(imprint("CUST-1")), customer);
    claimed.waiting[0].accepted_at = long_ago;
    let deliver_older = |versions: LaneVersions| {
        let older = ClaimedLane {
            versions,
            waiting: vec![waiting(2, 3, "email")],
            ..claimed.clone()
        };
        let applied = Outcome::Applied(Echo::default());
        settle(older, applied, Attribution::Unknown).1
    };
    let unknown = Outcome::Unknown(Cause::Deadline);
    let (_, unknown) = settle(claimed.clone(), unknown, Attribution::Unknown);
    let in_doubt = ClaimedLane {
        versions: unknown.versions.unwrap(),
        unproven: Unproven {
            since: Some(long_ago),
            absence: None,
        },
        ..claimed.clone()
    };
    let stays = deliver_older(in_doubt.versions.clone());
    assert_eq!(stays.reassert_at, None, "the entry itself is sent again");
    let detail = || "status 400".to_owned();
    for decision in [
        Decision::Park {
            reason: ParkReason::Rejected,
            detail: Some(detail()),
        },
        Decision::GiveUp {
            effect: Effect::None,
            detail: detail(),
        },
        Decision::ParkAll(ParkReason::AmbiguousCustomer),
        Decision::CustomerUnknown,
        Decision::Move(imprint("CUST-2")),
        Decision::Wait(Rest::Unproven),
    ] {
        let (exchange, _) = LaneExchange::start(in_doubt.clone(), &RULES, NOW);
        let mut left = settlement(&exchange, decision.clone(), &RULES, moment(NOW));
        if decision == Decision::Wait(Rest::Unproven) {
            left = unproven(&exchange, left, &RULES);
        }
        let is_gone = left.moved.is_some() || !left.endings.is_empty();
        assert!(is_gone, "{decision:?}");
        let delivered = deliver_older(left.versions.unwrap_or_default());
        let until = NOW.after(RULES.reassert_after);
        assert_eq!(delivered.reassert_at, Some(until), "{decision:?}");
    }
}

/// FAULTS N310, V3: the request leaves out the entry in doubt, and the same settlement parks it.
#[test]
fn an_older_value_is_sent_again_after_a_request_that_leaves_out_an_entry_in_doubt() {
    let near_only = |entry: WaitingEntry| WaitingEntry {
        jump_max: Some(1_000),
        ..entry
    };
    let far = near_only(waiting(1, 1_000_000, "email"));
    let first = ClaimedLane {
        waiting: vec![far.clone()],
        unreadable: Vec::new(),
        ..lane()
    };
    let unknown = Outcome::Unknown(Cause::Deadline);
    let (_, unknown) = settle(first, unknown, Attribution::Unknown);
    let both = ClaimedLane {
        versions: unknown.versions.unwrap(),
        waiting: vec![near_only(waiting(2, 7, "email")), far],
        unreadable: Vec::new(),
        ..lane()
    };
    let applied = Outcome::Applied(Echo::default());
    let (_, delivered) = settle(both, applied, Attribution::Unknown);
    let states = delivered.endings.iter();
    let states: Vec<_> = states
        .map(|(entry, ending)| (entry.0, ending.state()))
        .collect();
    assert!(states.contains(&(1, State::Parked)), "{states:?}");
    assert!(states.contains(&(2, State::Delivered)), "{states:?}");
    let until = NOW.after(RULES.reassert_after);
    assert_eq!(delivered.reassert_at, Some(until));
}

/// Returns the versions of a lane after a request without an answer, and a newer email that was delivered after it.
fn overtaken() -> LaneVersions {
    let first = ClaimedLane {
        waiting: vec![waiting(1, 5, "email")],
        ..lane()
    };
    let unknown = Outcome::Unknown(Cause::Deadline);
    let (_, unknown) = settle(first, unknown, Attribution::Unknown);
    let second = ClaimedLane {
        versions: unknown.versions.unwrap(),
        waiting: vec![waiting(4, 7, "email")],
        ..lane()
    };
    let applied = Outcome::Applied(Echo::default());
    let (_, delivered) = settle(second, applied, Attribution::Unknown);
    delivered.versions.unwrap()
}

/// FAULTS U59: a reassertion that fails or is rejected rests like any failed request. If Imprint rejects it for
/// `park_after` while other customers are served, dispatch plans no further one and keeps the doubt.
#[test]
fn a_failed_reassertion_is_neither_sent_at_once_nor_for_ever() {
    let until = NOW.after(RULES.reassert_after);
    let doubted = overtaken();
    let assert_with = |outcome: Outcome, attribution, attempts| {
        let idle = ClaimedLane {
            versions: doubted.clone(),
            waiting: Vec::new(),
            unreadable: Vec::new(),
            trials: Trials {
                attempts,
                ..lane().trials
            },
            ..lane()
        };
        let (mut exchange, _) = LaneExchange::start(idle, &RULES, until);
        let ExchangeStep::Conclude(conclusion) =
            exchange.on_answer(ImprintReply::Outcome(outcome), until)
        else {
            panic!("nothing more is asked")
        };
        let decision = decide(&exchange, conclusion, assessment(attribution), &RULES);
        settlement(&exchange, decision, &RULES, moment(until))
    };
    let failed = [
        (Outcome::Unavailable(Cause::Connect), Attribution::Unknown),
        (Outcome::Unavailable(Cause::Connect), Attribution::Lane),
        (rejection(), Attribution::Unknown),
    ];
    for (outcome, attribution) in failed {
        let failed = assert_with(outcome, attribution, 11);
        assert_eq!(failed.reassert_at, Some(failed.due));
        assert!(failed.due > until);
    }
    let missing = assert_with(Outcome::NotFound, Attribution::Unknown, 11);
    assert!(
        missing.reassert_at >= Some(missing.due),
        "nothing proves it"
    );
    for outcome in [rejection(), Outcome::NotFound] {
        let again = assert_with(outcome.clone(), Attribution::Lane, 10);
        assert_eq!(again.reassert_at, Some(again.due), "{outcome:?}");
        assert_eq!(again.trials.attempts, 11, "{outcome:?}");
        let last = assert_with(outcome, Attribution::Lane, 11);
        assert_eq!((last.reassert_at, last.versions), (None, None));
        assert!(last.endings.is_empty());
    }
}

/// FAULTS U37, V3: a further request without a clear answer can arrive after the first one, so the delivered values are
/// sent again only when neither can arrive.
#[test]
fn a_further_request_in_doubt_delays_the_reassertion() {
    let now = NOW.after(Duration::from_secs(30));
    let doubted = ClaimedLane {
        versions: overtaken(),
        waiting: vec![waiting(6, 8, "phone")],
        unreadable: Vec::new(),
        ..lane()
    };
    let (exchange, _) = LaneExchange::start(doubted, &RULES, now);
    let decision = again(Effect::Unconfirmed, Attempt::NotCounted);
    let settlement = settlement(&exchange, decision, &RULES, moment(now));
    let until = now.after(RULES.reassert_after);
    assert_eq!(settlement.reassert_at, Some(until));
}

/// FAULTS O06: the request counts as tried even if only the destination is at fault: an older success of another lane
/// says nothing about the next failure.
#[test]
fn a_lane_that_waits_for_the_destination_remembers_when_it_was_tried() {
    let untried = ClaimedLane {
        trials: Trials::default(),
        ..lane()
    };
    let (exchange, _) = LaneExchange::start(untried, &RULES, NOW);
    let decision = Decision::Wait(Rest::None);
    let settlement = settlement(&exchange, decision, &RULES, moment(NOW));
    assert_eq!(settlement.trials.tried_at, Some(NOW));
}

/// FAULTS U59: Imprint rejects a request with one entry and with delivered values that are sent again, or the request
/// uses up the last attempt. The entry is then sent alone, so that only the faulty part counts as rejected.
#[test]
fn an_entry_is_not_parked_for_values_that_are_sent_again_with_it() {
    let over = NOW.after(RULES.reassert_after);
    let applied = || Outcome::Applied(Echo::default());
    let both = ClaimedLane {
        versions: overtaken(),
        waiting: vec![waiting(6, 8, "phone")],
        unreadable: Vec::new(),
        trials: Trials {
            attempts: 11,
            ..lane().trials
        },
        ..lane()
    };
    let concluded = |claimed: &ClaimedLane, outcome: Outcome| {
        let (mut exchange, _) = LaneExchange::start(claimed.clone(), &RULES, over);
        let sent = (exchange.fold.carried.len(), exchange.fold.reasserted);
        let step = exchange.on_answer(ImprintReply::Outcome(outcome), over);
        let ExchangeStep::Conclude(conclusion) = step else {
            panic!("nothing more is asked")
        };
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Lane, &RULES);
        (sent, settlement)
    };
    let exhausted = Outcome::Unavailable(Cause::Status(500));
    for outcome in [rejection(), exhausted] {
        let (sent, unfolded) = concluded(&both, outcome.clone());
        assert_eq!(sent, (1, 1));
        assert_eq!(ended(&unfolded), [], "{outcome:?}");
        let alone = ClaimedLane {
            unfold_to: unfolded.unfold_to,
            ..both.clone()
        };
        let (sent, parked) = concluded(&alone, outcome);
        assert_eq!((sent, ended(&parked)), ((1, 0), vec![(6, "parked")]));
        let (sent, delivered) = concluded(&alone, applied());
        assert_eq!((sent, ended(&delivered)), ((1, 0), vec![(6, "delivered")]));
        assert!(delivered.reassert_at.is_some(), "the doubt stays");
    }
}

// === ambiguous refusals ===

/// FAULTS M05, U26, U27
#[test]
fn a_retrieve_resolves_an_ambiguous_refusal() {
    let cause = Cause::Status(403);
    let table = [
        (
            LookupResult::Found(imprint("CUST-1")),
            Outcome::Denied(cause),
            Signal::Forbidden,
        ),
        (
            LookupResult::Failed(Outcome::Denied(Cause::Status(401))),
            Outcome::Denied(cause),
            Signal::Forbidden,
        ),
        (LookupResult::NotFound, Outcome::NotFound, Signal::Missing),
        (
            LookupResult::Failed(Outcome::Unavailable(Cause::Connect)),
            Outcome::Unavailable(Cause::Connect),
            Signal::Failed,
        ),
    ];
    for (found, outcome, expected) in table {
        let answers = vec![
            ImprintReply::Outcome(Outcome::Unclear(cause)),
            ImprintReply::Lookup(found.clone()),
        ];
        let (exchange, asked, conclusion) = exchange_with(lane(), &RULES, answers);
        assert_eq!(asked[1..], ["retrieve CUST-1"]);
        assert_eq!(exchange.signal(&conclusion), Some(expected), "{found:?}");
        assert_eq!(conclusion, Conclusion::Updated(outcome));
    }
}

// === clearing ===

fn clearing_lane() -> ClaimedLane {
    let mut claimed = lane();
    claimed.unreadable.clear();
    let line = Field::parse("street_line2").unwrap();
    claimed.waiting[2].update.insert(line, FieldValue::Cleared);
    claimed
}

fn still_there() -> Echo {
    Echo {
        still_set: vec![Field::parse("street_line2").unwrap()],
        ..Echo::default()
    }
}

/// If Imprint kept a cleared address line such as "Apt 4B", mail would go to the wrong letterbox.
#[test]
fn a_cleared_line_that_stays_is_sent_empty_and_its_entry_parks_if_it_still_stays() {
    let applied = |echo| ImprintReply::Outcome(Outcome::Applied(echo));
    let answers = vec![applied(still_there()), applied(Echo::default())];
    let (exchange, asked, conclusion) = exchange_with(clearing_lane(), &RULES, answers);
    assert_eq!(asked[1], r#"update {"street_line2":""}"#);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(
        ended(&settlement),
        [(1, "delivered"), (2, "superseded"), (3, "delivered")]
    );
    for last in [Outcome::Applied(still_there()), rejection()] {
        let answers = vec![applied(still_there()), ImprintReply::Outcome(last)];
        let (exchange, _, conclusion) = exchange_with(clearing_lane(), &RULES, answers);
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
        assert_eq!(
            ended(&settlement),
            [(1, "delivered"), (2, "superseded"), (3, "parked")]
        );
    }
    let answers = vec![
        applied(still_there()),
        ImprintReply::Outcome(Outcome::Unknown(Cause::Deadline)),
    ];
    let (exchange, _, conclusion) = exchange_with(clearing_lane(), &RULES, answers);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(ended(&settlement), [], "it is all sent again");
}

/// Seed 138 of the simulation: the replayed entry counted as delivered, but Imprint still had the cleared line.
#[test]
fn a_line_that_stayed_is_cleared_again_when_its_entry_is_replayed() {
    let applied = ImprintReply::Outcome(Outcome::Applied(still_there()));
    let answers = vec![applied, ImprintReply::Outcome(rejection())];
    let (exchange, _, conclusion) = exchange_with(clearing_lane(), &RULES, answers);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    let mut again = clearing_lane();
    again.versions = settlement.versions.unwrap();
    again.waiting.drain(..2);
    let applied = ImprintReply::Outcome(Outcome::Applied(Echo::default()));
    let (_, asked, _) = exchange_with(again, &RULES, vec![applied]);
    assert_eq!(asked, [r#"update {"street_line2":""}"#]);
}

/// An entry that is not finished parks as well: otherwise dispatch would send the entry for ever, and Imprint would
/// reject the entry each time.
#[test]
fn an_entry_that_cleared_a_line_that_stays_parks_even_if_it_is_not_finished() {
    let mut claimed = clearing_lane();
    let newer = waiting(4, 7, "phone");
    claimed.waiting.push(newer);
    claimed.waiting.drain(..2);
    claimed.unfold_to = Some(EntryId(4));
    let (exchange, _, conclusion) =
        exchange_with(claimed, &RULES, vec![ImprintReply::Outcome(rejection())]);
    assert_eq!(exchange.fold.finished, []);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(ended(&settlement), [(3, "parked")]);
}

/// Seeds 536 and 991 of the simulation.
#[test]
fn an_entry_that_cleared_two_lines_that_stay_parks_once() {
    let mut claimed = clearing_lane();
    let city = Field::parse("city").unwrap();
    claimed.waiting[2]
        .update
        .insert(city.clone(), FieldValue::Cleared);
    let mut echo = still_there();
    echo.still_set.push(city);
    let answers = vec![
        ImprintReply::Outcome(Outcome::Applied(echo)),
        ImprintReply::Outcome(rejection()),
    ];
    let (exchange, _, conclusion) = exchange_with(claimed, &RULES, answers);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(
        ended(&settlement),
        [(1, "delivered"), (2, "superseded"), (3, "parked")]
    );
}

/// FAULTS N311, V3; seeds 138 and 970 of the simulation: the entries whose values the parked clearing had superseded
/// counted as finished, so an even older value won.
#[test]
fn a_line_that_a_parked_clearing_had_superseded_is_sent_after_all() {
    let mut claimed = clearing_lane();
    let mut carried = waiting(4, 5, "first_name");
    let line = (
        Field::parse("street_line2").unwrap(),
        FieldValue::from_value(json!("Apt 4B")),
    );
    carried.update.insert(line.0, line.1);
    claimed
        .waiting
        .extend([carried, waiting(5, 4, "street_line2")]);
    let answers = vec![
        ImprintReply::Outcome(Outcome::Applied(still_there())),
        ImprintReply::Outcome(rejection()),
    ];
    let (exchange, _, conclusion) = exchange_with(claimed.clone(), &RULES, answers);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(
        ended(&settlement),
        [(1, "delivered"), (2, "superseded"), (3, "parked")]
    );
    claimed.versions = settlement.versions.unwrap();
    claimed.waiting.drain(..3);
    let answers = vec![ImprintReply::Outcome(Outcome::Applied(Echo::default()))];
    let (exchange, asked, conclusion) = exchange_with(claimed, &RULES, answers);
    assert_eq!(asked, [r#"update {"street_line2":"Apt 4B"}"#]);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(ended(&settlement), [(4, "delivered"), (5, "superseded")]);
}

/// Returns a lane with one entry, which only clears an address line.
fn lane_of_a_line(id: &str) -> ClaimedLane {
    let mut claimed = uuid_lane(id);
    let line = (Field::parse("street_line2").unwrap(), FieldValue::Cleared);
    claimed.waiting[0].update = [line].into_iter().collect();
    claimed
}

/// FAULTS N313, V4; seeds 62150 and 68620 of the simulation: the limiter forbids the second update, and the settlement
/// forgot that Imprint had applied the values of the first update.
#[test]
fn the_values_of_the_first_update_are_delivered_if_the_empty_lines_must_wait() {
    let applied = |echo| ImprintReply::Outcome(Outcome::Applied(echo));
    let later = NOW.after(Duration::from_mins(1));
    let (mut exchange, _) = LaneExchange::start(clearing_lane(), &RULES, NOW);
    let step = exchange.on_answer(applied(still_there()), NOW);
    assert!(matches!(step, ExchangeStep::Call(ImprintCall::Update(_))));
    let conclusion = exchange.postponed(later);
    assert_eq!(exchange.signal(&conclusion), Some(Signal::Applied));
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(ended(&settlement), [(1, "delivered"), (2, "superseded")]);
    assert_eq!(
        (settlement.due, settlement.trials),
        (later, Trials::default())
    );
    assert!(matches!(settlement.recognition, Recognition::Applied(_)));
    let mut again = clearing_lane();
    again.versions = settlement.versions.unwrap();
    again.waiting.drain(..2);
    let (exchange, asked, conclusion) =
        exchange_with(again, &RULES, vec![applied(Echo::default())]);
    assert_eq!(asked, [r#"update {"street_line2":""}"#]);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(ended(&settlement), [(3, "delivered")]);
    // Without a first update, Imprint has applied nothing.
    let (mut exchange, _) = LaneExchange::start(lane_of_a_line("CUST-1"), &RULES, NOW);
    assert_eq!(exchange.postponed(later), Conclusion::Postponed(later));
}

/// If only address lines are cleared, the first update is empty, and Imprint echoes nothing.
#[test]
fn address_lines_are_sent_empty_at_once_if_nothing_else_is_sent() {
    for (outcome, expected) in [
        (Outcome::Applied(Echo::default()), "delivered"),
        (Outcome::Applied(still_there()), "parked"),
        (rejection(), "parked"),
    ] {
        let answers = vec![ImprintReply::Outcome(outcome)];
        let (exchange, asked, conclusion) =
            exchange_with(lane_of_a_line("CUST-1"), &RULES, answers);
        assert_eq!(asked, [r#"update {"street_line2":""}"#]);
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
        assert_eq!(ended(&settlement), [(1, expected)]);
    }
}

/// FAULTS N312, U55, U56: the rejection of a request that only empties address lines counted as an applied update, and
/// parked the entry even if a gateway rejected every update.
#[test]
fn a_rejected_request_of_empty_lines_is_no_applied_update() {
    let untyped = Outcome::Rejected(Rejection {
        status: 400,
        kind: None,
        param: None,
    });
    for (outcome, signal, is_parked) in [
        (rejection(), Signal::Rejected, true),
        (untyped, Signal::Unexplained, false),
    ] {
        let answers = vec![ImprintReply::Outcome(outcome)];
        let (exchange, _, conclusion) = exchange_with(lane_of_a_line("CUST-1"), &RULES, answers);
        assert_eq!(exchange.signal(&conclusion), Some(signal));
        let (_, unproven) = conclude(&exchange, conclusion.clone(), Attribution::Unknown, &RULES);
        assert_eq!(unproven.endings.len(), usize::from(is_parked), "{signal:?}");
        let destination = Assessment {
            blame: Blame::Destination,
            ..assessment(Attribution::Unknown)
        };
        let decision = decide(&exchange, conclusion, destination, &RULES);
        assert_eq!(decision, Decision::Wait(Rest::Stopped), "{signal:?}");
    }
}

/// FAULTS N312, U58, M05: a request that only empties address lines is handled as every other update if Imprint does
/// not know the customer or forbids the update.
#[test]
fn a_request_of_empty_lines_finds_out_why_imprint_refuses_it() {
    const UPPER: &str = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";
    let gone = || ImprintReply::Outcome(Outcome::NotFound);
    let empty = r#"update {"street_line2":""}"#;
    let (exchange, asked, conclusion) =
        exchange_with(lane_of_a_line(UPPER), &RULES, vec![gone(), gone()]);
    assert_eq!(asked, [empty, empty]);
    assert_eq!(conclusion, Conclusion::Updated(Outcome::NotFound));
    assert_ne!(exchange.spelling(), exchange.imprint_id());
    let forbidden = || Cause::Status(403);
    let answers = vec![
        ImprintReply::Outcome(Outcome::Unclear(forbidden())),
        ImprintReply::Lookup(LookupResult::Found(imprint("CUST-1"))),
    ];
    let (exchange, asked, conclusion) = exchange_with(lane_of_a_line("CUST-1"), &RULES, answers);
    assert_eq!(asked, [empty, "retrieve CUST-1"]);
    assert_eq!(exchange.signal(&conclusion), Some(Signal::Forbidden));
    let mut of_both = lane_of_a_line("CUST-1");
    of_both.waiting[0].customer = named(Some("CUST-1"), Some("P-1"));
    let found = ImprintReply::Lookup(LookupResult::Found(imprint("CUST-2")));
    let (_, asked, conclusion) = exchange_with(of_both, &RULES, vec![gone(), found]);
    assert_eq!(asked, [empty, "search P-1"]);
    assert_eq!(conclusion, Conclusion::Identified(imprint("CUST-2")));
}

/// FAULTS N312: Imprint's answer to a request that only empties address lines decides about the lines.
#[test]
fn the_answer_to_a_request_of_empty_lines_decides_about_the_lines() {
    let lines = || vec![Field::parse("street_line2").unwrap()];
    let cleared = || Outcome::Applied(Echo::default());
    let still_set = Outcome::Applied(Echo {
        still_set: lines(),
        ..Echo::default()
    });
    for (outcome, expected) in [
        (cleared(), Conclusion::Updated(cleared())),
        (still_set, Conclusion::NotCleared(lines())),
        (rejection(), Conclusion::LinesRejected(lines())),
    ] {
        let answers = vec![ImprintReply::Outcome(outcome)];
        let (_, _, conclusion) = exchange_with(lane_of_a_line("CUST-1"), &RULES, answers);
        assert_eq!(conclusion, expected);
    }
}

// === identity ===

fn link(partner_id: &str, imprint_id: Option<&str>) -> IdentityLink {
    IdentityLink {
        partner: partner(partner_id),
        imprint: imprint_id.map(imprint),
        confirmed_at: NOW,
    }
}

fn partner_lane(known: Vec<IdentityLink>) -> ClaimedLane {
    let customer = named(None, Some("P-1"));
    ClaimedLane {
        links: known,
        ..lane_of(LaneKey::Partner(partner("P-1")), customer)
    }
}

#[test]
fn a_lane_of_our_id_moves_once_its_imprint_id_is_known() {
    let found = vec![ImprintReply::Lookup(LookupResult::Found(imprint("CUST-2")))];
    for (known, answers) in [(vec![], found), (vec![link("P-1", Some("CUST-2"))], vec![])] {
        let has_asked = !answers.is_empty();
        let (exchange, asked, conclusion) = exchange_with(partner_lane(known), &RULES, answers);
        assert_eq!(asked.len(), usize::from(has_asked));
        assert_eq!(exchange.has_found(), has_asked);
        let signal = exchange.signal(&conclusion);
        assert_eq!(
            signal,
            has_asked.then_some(Signal::Answered),
            "a stored link shows nothing"
        );
        assert_eq!(conclusion, Conclusion::Identified(imprint("CUST-2")));
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
        let moved = settlement.moved.unwrap();
        assert_eq!(
            (moved.to, moved.entries),
            (imprint("CUST-2"), vec![EntryId(1)])
        );
        assert_eq!(settlement.new_link.is_some(), has_asked);
        assert!(settlement.endings.is_empty());
    }
}

/// FAULTS O06: the failures of a search say nothing about the customer's own lane.
#[test]
fn entries_move_without_the_failures_of_their_search() {
    let failing = ClaimedLane {
        trials: lane().trials,
        ..partner_lane(vec![link("P-1", Some("CUST-2"))])
    };
    let (exchange, _, conclusion) = exchange_with(failing, &RULES, vec![]);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert!(settlement.moved.is_some());
    assert_eq!(settlement.trials, Trials::default());
}

#[test]
fn a_link_is_trusted_until_it_expires() {
    let long_ago = Timestamp::from_millis(NOW.as_millis() - 24 * 3_600_000);
    let old = IdentityLink {
        confirmed_at: long_ago,
        ..link("P-1", Some("CUST-2"))
    };
    let (_, asked, _) = exchange_with(
        partner_lane(vec![old]),
        &RULES,
        vec![ImprintReply::Lookup(LookupResult::NotFound)],
    );
    assert_eq!(asked, ["search P-1"]);
    let (_, asked, conclusion) =
        exchange_with(partner_lane(vec![link("P-1", None)]), &RULES, vec![]);
    assert_eq!((asked.len(), conclusion), (0, Conclusion::ProvenAbsent));
}

#[test]
fn an_unknown_customer_is_treated_as_configured() {
    let too_old = Timestamp::from_millis(NOW.as_millis() - 25 * 3_600_000);
    let table = [
        (UnknownCustomer::Ignore, NOW, vec![(1, "ignored")]),
        (UnknownCustomer::Park, NOW, vec![(1, "parked")]),
        (UnknownCustomer::Wait, NOW, vec![]),
        (UnknownCustomer::Wait, too_old, vec![(1, "ignored")]),
    ];
    for (unknown, accepted_at, expected) in table {
        let rules = DeliveryRules { unknown, ..RULES };
        let mut claimed = partner_lane(vec![]);
        claimed.waiting[0].accepted_at = accepted_at;
        let (exchange, _, conclusion) = exchange_with(
            claimed,
            &rules,
            vec![ImprintReply::Lookup(LookupResult::NotFound)],
        );
        let again = conclusion.clone();
        let (_, unproven) = conclude(&exchange, again, Attribution::Unknown, &rules);
        assert_eq!((ended(&unproven), unproven.new_link), (vec![], None));
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Lane, &rules);
        assert_eq!(ended(&settlement), expected, "{unknown:?}");
        assert_eq!(settlement.new_link, Some(link("P-1", None)));
        if unknown == UnknownCustomer::Wait {
            assert_eq!(settlement.due, NOW.after(RULES.unknown_ttl));
        }
    }
}

#[test]
fn an_ambiguous_customer_is_parked() {
    let (exchange, _, conclusion) = exchange_with(
        partner_lane(vec![]),
        &RULES,
        vec![ImprintReply::Lookup(LookupResult::Ambiguous)],
    );
    let (decision, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(decision, Decision::ParkAll(ParkReason::AmbiguousCustomer));
    assert_eq!(ended(&settlement), [(1, "parked")]);
}

/// FAULTS M13, N217: the exchange searches once more for a customer that is gone, if an entry names our id.
#[test]
fn a_customer_that_is_gone_is_searched_once_more() {
    let lane = |customer| lane_of(LaneKey::Imprint(imprint("CUST-1")), customer);
    let gone = || ImprintReply::Outcome(Outcome::NotFound);
    let table = [
        (
            LookupResult::Found(imprint("CUST-2")),
            Conclusion::Identified(imprint("CUST-2")),
        ),
        (
            LookupResult::Found(imprint("CUST-1")),
            Conclusion::Updated(Outcome::NotFound),
        ),
        (LookupResult::NotFound, Conclusion::UnknownCustomer),
    ];
    for (found, expected) in table {
        for imprint_id in [None, Some("CUST-1")] {
            let answers = vec![gone(), ImprintReply::Lookup(found.clone())];
            let claimed = ClaimedLane {
                links: vec![link("P-1", Some("CUST-1"))],
                ..lane(named(imprint_id, Some("P-1")))
            };
            let (_, asked, conclusion) = exchange_with(claimed, &RULES, answers);
            assert_eq!(asked[1], "search P-1");
            assert_eq!(conclusion, expected);
        }
    }
    let by_imprint_id = lane(named(Some("CUST-1"), None));
    let known_missing = ClaimedLane {
        links: vec![link("P-1", None)],
        ..lane(named(Some("CUST-1"), Some("P-1")))
    };
    for claimed in [by_imprint_id, known_missing] {
        let (_, asked, conclusion) = exchange_with(claimed, &RULES, vec![gone()]);
        assert_eq!(asked.len(), 1);
        assert_eq!(conclusion, Conclusion::Updated(Outcome::NotFound));
    }
}

/// FAULTS N217: the settlement moves only the entries that name the searched id, and an answer that the customer is
/// unknown ends no entry with another of our ids.
#[test]
fn an_answer_about_our_id_decides_about_its_entries() {
    let mut claimed = lane_of(
        LaneKey::Imprint(imprint("CUST-1")),
        named(None, Some("P-1")),
    );
    for (entry, customer) in [
        (2, named(None, Some("P-2"))),
        (3, named(Some("CUST-1"), Some("P-1"))),
        (4, named(Some("CUST-1"), None)),
        (5, named(Some("CUST-1"), Some("P-3"))),
    ] {
        claimed.waiting.push(WaitingEntry {
            customer,
            ..waiting(entry, 5, "phone")
        });
    }
    claimed.links = vec![link("P-1", Some("CUST-1"))];
    // The link contradicts the ids of entry 5.
    for (found, moved, ends) in [
        (
            LookupResult::Found(imprint("CUST-2")),
            vec![1, 3],
            vec![(5, "parked")],
        ),
        (
            LookupResult::NotFound,
            vec![],
            vec![
                (5, "parked"),
                (1, "ignored"),
                (3, "ignored"),
                (4, "ignored"),
            ],
        ),
        (
            LookupResult::Ambiguous,
            vec![],
            vec![(5, "parked"), (1, "parked"), (3, "parked")],
        ),
    ] {
        let answers = vec![
            ImprintReply::Outcome(Outcome::NotFound),
            ImprintReply::Lookup(found),
        ];
        let (exchange, _, conclusion) = exchange_with(claimed.clone(), &RULES, answers);
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Lane, &RULES);
        assert_eq!(ended(&settlement), ends);
        let entries = settlement.moved.map_or(Vec::new(), |moved| moved.entries);
        assert_eq!(entries, moved.into_iter().map(EntryId).collect::<Vec<_>>());
    }
}

/// FAULTS N217: an answer that the customer is gone outlasts a search that fails or must wait, and no other answer.
#[test]
fn a_search_that_fails_is_repeated_without_an_update() {
    let both = named(Some("CUST-1"), Some("P-1"));
    let claimed = lane_of(LaneKey::Imprint(imprint("CUST-1")), both);
    let gone = || ImprintReply::Outcome(Outcome::NotFound);
    let down = LookupResult::Failed(Outcome::Unavailable(Cause::Status(500)));
    for (found, expected) in [
        (down, Recognition::Gone),
        (LookupResult::NotFound, Recognition::Unchanged),
        (
            LookupResult::Found(imprint("CUST-2")),
            Recognition::Unchanged,
        ),
    ] {
        let answers = vec![gone(), ImprintReply::Lookup(found)];
        let (exchange, _, conclusion) = exchange_with(claimed.clone(), &RULES, answers);
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
        assert_eq!(settlement.recognition, expected);
        let postponed = Conclusion::Postponed(NOW);
        let (_, settlement) = conclude(&exchange, postponed, Attribution::Unknown, &RULES);
        assert_eq!(settlement.recognition, Recognition::Gone);
    }
    let remembered = ClaimedLane {
        is_gone: true,
        ..claimed
    };
    let answers = vec![ImprintReply::Lookup(LookupResult::NotFound)];
    let (_, asked, conclusion) = exchange_with(remembered.clone(), &RULES, answers);
    assert_eq!(asked, ["search P-1"]);
    assert_eq!(conclusion, Conclusion::UnknownCustomer);
    // Nothing is left to search, so the exchange asks about the Imprint id again.
    let searched = ClaimedLane {
        links: vec![link("P-1", None)],
        ..remembered
    };
    let (_, asked, _) = exchange_with(searched, &RULES, vec![gone()]);
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("update"), "{asked:?}");
}

/// A search that has failed too often parks the entries with the searched id, and counts their last attempt.
#[test]
fn a_search_that_has_failed_too_often_parks_its_entries() {
    let (exchange, step) = LaneExchange::start(partner_lane(vec![]), &RULES, NOW);
    assert!(matches!(step, ExchangeStep::Call(ImprintCall::Search(_))));
    let decision = Decision::GiveUp {
        effect: Effect::None,
        detail: "status 500".to_owned(),
    };
    let settlement = settlement(&exchange, decision, &RULES, moment(NOW));
    assert_eq!(ended(&settlement), [(1, "parked")]);
    assert_eq!(settlement.attempted, [EntryId(1)]);
}

/// FAULTS N215: entries without a contradiction are sent first, because the check of another entry can fail for long.
#[test]
fn an_entry_without_a_contradiction_is_sent_before_a_check() {
    let pair = named(Some("CUST-1"), Some("P-1"));
    let mut claimed = lane_of(LaneKey::Imprint(imprint("CUST-1")), pair);
    claimed.links = vec![link("P-1", Some("CUST-2"))];
    let (_, step) = LaneExchange::start(claimed.clone(), &RULES, NOW);
    assert!(matches!(step, ExchangeStep::Call(ImprintCall::Retrieve(_))));
    claimed.waiting.push(waiting(2, 6, "phone"));
    let (_, step) = LaneExchange::start(claimed, &RULES, NOW);
    assert!(matches!(step, ExchangeStep::Call(ImprintCall::Update(_))));
}

/// FAULTS N215: only a fresh link that Imprint has no customer with the partner customer id makes a search useless.
#[test]
fn a_gone_customer_is_searched_unless_a_fresh_link_says_that_there_is_none() {
    let minutes_ago = |minutes: i64| Timestamp::from_millis(NOW.as_millis() - minutes * 60_000);
    for (imprint_id, minutes, is_searched) in [
        (None, 0, false),
        (None, 15, true),
        (Some("CUST-1"), 0, true),
    ] {
        let pair = named(Some("CUST-1"), Some("P-1"));
        let claimed = ClaimedLane {
            is_gone: true,
            links: vec![IdentityLink {
                confirmed_at: minutes_ago(minutes),
                ..link("P-1", imprint_id)
            }],
            ..lane_of(LaneKey::Imprint(imprint("CUST-1")), pair)
        };
        let (_, step) = LaneExchange::start(claimed, &RULES, NOW);
        let is_search = matches!(step, ExchangeStep::Call(ImprintCall::Search(_)));
        assert_eq!(is_search, is_searched, "{imprint_id:?} {minutes}");
    }
}

/// FAULTS N217: without the right to search, Imprint's answer about the Imprint id counts for events that name it.
#[test]
fn a_forbidden_search_leaves_the_answer_about_the_imprint_id() {
    let denied = || LookupResult::Failed(Outcome::Denied(Cause::Status(403)));
    for (imprint_id, expected) in [
        (Some("CUST-1"), Conclusion::Updated(Outcome::NotFound)),
        (None, Conclusion::SearchForbidden(Cause::Status(403))),
    ] {
        let customer = named(imprint_id, Some("P-1"));
        let claimed = ClaimedLane {
            links: vec![link("P-1", Some("CUST-1"))],
            ..lane_of(LaneKey::Imprint(imprint("CUST-1")), customer)
        };
        let answers = vec![
            ImprintReply::Outcome(Outcome::NotFound),
            ImprintReply::Lookup(denied()),
        ];
        let (_, _, conclusion) = exchange_with(claimed, &RULES, answers);
        assert_eq!(conclusion, expected);
    }
}

/// FAULTS N217: if Imprint refuses the key itself during the search, the answer about the Imprint id does not count:
/// a refused key must stop the destination.
#[test]
fn a_search_with_a_refused_key_is_no_answer_about_the_customer() {
    let refused = || Outcome::Denied(Cause::Status(401));
    let pair = named(Some("CUST-1"), Some("P-1"));
    let claimed = lane_of(LaneKey::Imprint(imprint("CUST-1")), pair);
    let answers = vec![
        ImprintReply::Outcome(Outcome::NotFound),
        ImprintReply::Lookup(LookupResult::Failed(refused())),
    ];
    let (_, _, conclusion) = exchange_with(claimed, &RULES, answers);
    assert_eq!(conclusion, Conclusion::Updated(refused()));
}

/// An API key that may not search does not stop updates.
#[test]
fn a_forbidden_search_says_nothing_about_the_destination() {
    let denied = LookupResult::Failed(Outcome::Denied(Cause::Status(403)));
    let (exchange, _, conclusion) = exchange_with(
        partner_lane(vec![]),
        &RULES,
        vec![ImprintReply::Lookup(denied)],
    );
    assert_eq!(exchange.signal(&conclusion), Some(Signal::Unrelated));
    let stopped = DestinationState::Stopped(PROBES);
    let after = stopped.after(Signal::Unrelated, Blame::Unproven, NOW, 0.5);
    assert_eq!(after, stopped, "nor of a key that is refused");
    let (decision, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(decision, again(Effect::None, Attempt::NotCounted));
    assert!(settlement.due > NOW && settlement.endings.is_empty());
}

/// FAULTS N215: an entry that an identity link contradicts is sent to no customer before Imprint has decided about it.
#[test]
fn an_event_that_contradicts_a_link_is_parked_or_checked() {
    let applied = || vec![ImprintReply::Outcome(Outcome::Applied(Echo::default()))];
    let retrieved = |found| vec![ImprintReply::Lookup(found)];
    let here = LookupResult::Found(imprint("CUST-1"));
    let elsewhere = || link("P-1", Some("CUST-2"));
    let table = [
        (
            link("P-1", Some("CUST-1")),
            applied(),
            vec![(1, "delivered")],
        ),
        (elsewhere(), retrieved(here), vec![(1, "parked")]),
        (elsewhere(), retrieved(LookupResult::NotFound), vec![]),
        (link("P-2", Some("CUST-1")), vec![], vec![(1, "parked")]),
        (
            link("P-2", Some("CUST-2")),
            applied(),
            vec![(1, "delivered")],
        ),
        (link("P-1", None), applied(), vec![(1, "delivered")]),
    ];
    for (known, answers, expected) in table {
        let claimed = ClaimedLane {
            links: vec![known.clone()],
            ..lane_of(
                LaneKey::Imprint(imprint("CUST-1")),
                named(Some("CUST-1"), Some("P-1")),
            )
        };
        let (exchange, _, conclusion) = exchange_with(claimed, &RULES, answers);
        let is_moved = conclusion == Conclusion::Identified(imprint("CUST-2"));
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
        assert_eq!(ended(&settlement), expected, "{known:?}");
        assert_eq!(is_moved, expected.is_empty());
        let moved = settlement.moved.map(|moved| moved.entries);
        assert_eq!(moved, is_moved.then(|| vec![EntryId(1)]));
    }
}

/// FAULTS N215: an old answer of Imprint contradicts the event, so the exchange searches before it sends anything.
#[test]
fn an_old_link_that_contradicts_an_event_is_checked_by_a_search() {
    let old = IdentityLink {
        confirmed_at: Timestamp::from_millis(NOW.as_millis() - 25 * 3_600_000),
        ..link("P-2", Some("CUST-1"))
    };
    let both = || named(Some("CUST-1"), Some("P-1"));
    let ours = || named(None, Some("P-1"));
    let here = || LookupResult::Found(imprint("CUST-1"));
    let there = || LookupResult::Found(imprint("CUST-3"));
    let moves = || Conclusion::Identified(imprint("CUST-3"));
    for (customer, found, expected) in [
        (both(), here(), Conclusion::LookAgain),
        (ours(), here(), Conclusion::LookAgain),
        (both(), there(), moves()),
        (ours(), there(), moves()),
        (both(), LookupResult::NotFound, Conclusion::LookAgain),
        (ours(), LookupResult::NotFound, Conclusion::UnknownCustomer),
    ] {
        let is_moved = expected == moves() && customer == ours();
        let claimed = ClaimedLane {
            links: vec![old.clone()],
            ..lane_of(LaneKey::Imprint(imprint("CUST-1")), customer)
        };
        let answers = vec![ImprintReply::Lookup(found)];
        let (exchange, asked, conclusion) = exchange_with(claimed, &RULES, answers);
        assert_eq!(
            (asked, &conclusion),
            (vec!["search P-1".to_owned()], &expected)
        );
        assert_ne!(exchange.signal(&conclusion), None);
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Lane, &RULES);
        assert!(settlement.new_link.is_some());
        let moved = settlement.moved.map_or(0, |moved| moved.entries.len());
        assert_eq!(moved, usize::from(is_moved));
    }
}

/// FAULTS N215: the values reached a customer with another id of ours. The entry parks with the ids, the other entries
/// wait, and no version counts as delivered.
#[test]
fn values_that_reached_another_customer_are_reported_and_not_delivered() {
    let echo = Outcome::Applied(Echo {
        partner_customer_id: Some(partner("P-9")),
        ..Echo::default()
    });
    let mut claimed = lane_of(
        LaneKey::Imprint(imprint("CUST-1")),
        named(Some("CUST-1"), Some("P-1")),
    );
    for (entry, path, customer) in [
        (2, "phone", named(Some("CUST-1"), Some("P-9"))),
        (3, "city", named(Some("CUST-1"), None)),
        (4, "state", named(Some("CUST-1"), Some("P-2"))),
    ] {
        claimed.waiting.push(WaitingEntry {
            customer,
            ..waiting(entry, 5, path)
        });
    }
    let (decision, settlement) = settle(claimed, echo, Attribution::Unknown);
    assert_eq!(decision, Decision::Misdirect(partner("P-9")));
    assert_eq!(ended(&settlement), [(1, "parked"), (4, "parked")]);
    let Ending::Parked { reason, detail } = &settlement.endings[0].1 else {
        panic!("{settlement:?}");
    };
    assert_eq!(*reason, ParkReason::IdentityConflict);
    let detail = detail.as_deref().unwrap();
    assert!(
        detail.contains("CUST-1") && detail.contains("P-9"),
        "{detail}"
    );
    assert_eq!((settlement.versions, settlement.due), (None, NOW));
    assert_eq!(settlement.new_link, Some(link("P-9", Some("CUST-1"))));
    assert_eq!(settlement.attempted.len(), 4);
}

#[test]
fn an_echo_confirms_a_link_if_an_entry_names_our_id() {
    let echo = Outcome::Applied(Echo {
        partner_customer_id: Some(partner("P-1")),
        ..Echo::default()
    });
    let lane = |customer| lane_of(LaneKey::Imprint(imprint("CUST-1")), customer);
    let learned = |claimed| {
        settle(claimed, echo.clone(), Attribution::Unknown)
            .1
            .new_link
    };
    let both = named(Some("CUST-1"), Some("P-1"));
    assert_eq!(
        learned(lane(both.clone())),
        Some(link("P-1", Some("CUST-1")))
    );
    assert_eq!(learned(lane(named(Some("CUST-1"), None))), None);
    let known = ClaimedLane {
        links: vec![link("P-1", Some("CUST-1"))],
        ..lane(both)
    };
    assert_eq!(learned(known), None);
}

// === bounds and guards ===

/// An answer that does not match the pending call counts as no answer, and so does an answer without a pending call.
#[test]
fn an_answer_that_does_not_fit_the_call_leaves_the_outcome_unknown() {
    let found = || ImprintReply::Lookup(LookupResult::Found(imprint("CUST-1")));
    let outcome = || ImprintReply::Outcome(Outcome::Applied(Echo::default()));
    let unknown = Conclusion::Updated(Outcome::Unknown(Cause::Protocol));
    let (_, _, conclusion) = exchange_with(lane(), &RULES, vec![found()]);
    assert_eq!(conclusion, unknown);
    let (_, _, conclusion) = exchange_with(partner_lane(vec![]), &RULES, vec![outcome()]);
    assert_eq!(conclusion, unknown);
    let unclear = ImprintReply::Outcome(Outcome::Unclear(Cause::Status(403)));
    let (_, _, conclusion) = exchange_with(lane(), &RULES, vec![unclear, outcome()]);
    assert_eq!(conclusion, unknown);
    let (mut exchange, _, _) = exchange_with(lane(), &RULES, vec![outcome()]);
    let step = exchange.on_answer(outcome(), NOW);
    assert!(matches!(step, ExchangeStep::Conclude(conclusion) if conclusion == unknown));
}

/// Only the last counted attempt parks the entry; no earlier attempt and no uncounted attempt does.
#[test]
fn an_entry_parks_at_exactly_its_last_attempt() {
    let table = [
        (10, 1, Attribution::Lane, false),
        (11, 1, Attribution::Lane, true),
        (11, 1, Attribution::Unknown, false),
        (11, 0, Attribution::Lane, false),
    ];
    for (attempts, entries, attribution, parks) in table {
        let claimed = ClaimedLane {
            trials: Trials {
                failures: 20,
                attempts,
                tried_at: Some(NOW),
                blamed_since: None,
            },
            waiting: vec![waiting(1, 5, "email")],
            ..lane()
        };
        let (mut exchange, _) = LaneExchange::start(claimed, &RULES, NOW);
        if entries == 0 {
            exchange.fold.carried.clear();
        }
        let outcome = Conclusion::Updated(Outcome::Unavailable(Cause::Connect));
        let decision = decide(&exchange, outcome, assessment(attribution), &RULES);
        let is_parked = matches!(decision, Decision::GiveUp { .. });
        assert_eq!(is_parked, parks, "{attempts} {entries} {attribution:?}");
    }
}

/// FAULTS N25: a lane that used up its attempts parks only after `park_after`, counted from its first counted failure.
/// The next entry of the lane need not fail for as long.
#[test]
fn an_entry_parks_only_after_its_time() {
    let rules = DeliveryRules {
        park_after: Duration::from_hours(24),
        ..RULES
    };
    let day = NOW.after(Duration::from_hours(24));
    let before = Timestamp::from_millis(day.as_millis() - 1);
    for (blamed_since, at, parks) in [
        (None, day, false),
        (Some(NOW), NOW, false),
        (Some(NOW), before, false),
        (Some(NOW), day, true),
    ] {
        let claimed = ClaimedLane {
            trials: Trials {
                failures: 20,
                attempts: 40,
                tried_at: Some(NOW),
                blamed_since,
            },
            waiting: vec![waiting(1, 5, "email")],
            ..lane()
        };
        let (exchange, _) = LaneExchange::start(claimed, &rules, at);
        let outcome = Conclusion::Updated(Outcome::Unavailable(Cause::Status(500)));
        let assessment = Assessment {
            at,
            ..assessment(Attribution::Lane)
        };
        let decision = decide(&exchange, outcome, assessment, &rules);
        let settlement = settlement(&exchange, decision, &rules, moment(at));
        let is_parked = ended(&settlement).contains(&(1, "parked"));
        assert_eq!(is_parked, parks, "{blamed_since:?} {at:?}");
        let expected = blamed_since.or(Some(at));
        assert_eq!(settlement.trials.blamed_since, expected);
    }
}

#[test]
fn a_lane_rests_shortly_while_the_destination_is_down() {
    let probing = DestinationState::Probing(PROBES);
    let throttled = DestinationState::Throttled {
        until: NOW,
        streak: 1,
    };
    let table = [
        (DestinationState::FIRST, Rest::Backoff, 1800),
        (throttled, Rest::Backoff, 1800),
        (probing, Rest::Short, 5),
        (DestinationState::Stopped(PROBES), Rest::Short, 5),
    ];
    for (state, expected, seconds) in table {
        let claimed = ClaimedLane {
            trials: Trials {
                failures: 20,
                ..Trials::default()
            },
            ..lane()
        };
        let (exchange, _) = LaneExchange::start(claimed, &RULES, NOW);
        let assessment = Assessment {
            state,
            ..assessment(Attribution::Unknown)
        };
        let outcome = Conclusion::Updated(Outcome::Unavailable(Cause::Connect));
        let decision = decide(&exchange, outcome, assessment, &RULES);
        assert!(matches!(decision, Decision::Retry { rest, .. } if rest == expected));
        let due = settlement(&exchange, decision, &RULES, moment(NOW)).due;
        assert_eq!(
            due.since(NOW).as_secs_f64().round(),
            f64::from(seconds),
            "{state:?}"
        );
    }
}

/// Dispatch stops sending entries one by one after the last entry of the rejected request.
#[test]
fn entries_are_sent_one_by_one_up_to_the_last_of_the_rejected_request() {
    let carried = |unfold_to: Option<u64>| {
        let claimed = ClaimedLane {
            waiting: vec![waiting(2, 5, "email"), waiting(3, 6, "phone")],
            unfold_to: unfold_to.map(EntryId),
            ..lane()
        };
        LaneExchange::start(claimed, &RULES, NOW)
            .0
            .fold
            .carried
            .len()
    };
    assert_eq!([None, Some(1), Some(2), Some(3)].map(carried), [2, 2, 1, 1]);
}

#[test]
fn a_link_expires_at_its_age_and_an_echo_renews_it_at_half_of_it() {
    let confirmed = |age: Duration| {
        let at = NOW.as_millis() - i64::try_from(age.as_millis()).unwrap();
        IdentityLink {
            confirmed_at: Timestamp::from_millis(at),
            ..link("P-1", Some("CUST-1"))
        }
    };
    let millisecond = Duration::from_millis(1);
    let ttl = RULES.link_ttl;
    for (age, is_searched) in [(ttl.saturating_sub(millisecond), false), (ttl, true)] {
        let (_, step) = LaneExchange::start(partner_lane(vec![confirmed(age)]), &RULES, NOW);
        assert_eq!(matches!(step, ExchangeStep::Call(_)), is_searched);
    }
    let echo = Outcome::Applied(Echo {
        partner_customer_id: Some(partner("P-1")),
        ..Echo::default()
    });
    for (age, is_renewed) in [
        ((ttl / 2).saturating_sub(millisecond), false),
        (ttl / 2, true),
    ] {
        let claimed = ClaimedLane {
            links: vec![confirmed(age)],
            ..lane_of(
                LaneKey::Imprint(imprint("CUST-1")),
                named(Some("CUST-1"), Some("P-1")),
            )
        };
        let (_, settlement) = settle(claimed, echo.clone(), Attribution::Unknown);
        assert_eq!(settlement.new_link.is_some(), is_renewed);
    }
}

#[test]
fn values_wait_for_their_customer_until_exactly_the_longest_wait() {
    let rules = DeliveryRules {
        unknown: UnknownCustomer::Wait,
        ..RULES
    };
    let wait_max = i64::try_from(RULES.wait_max.as_millis()).unwrap();
    for (age, expected) in [(wait_max - 1, 0), (wait_max, 1)] {
        let mut claimed = partner_lane(vec![]);
        claimed.waiting[0].accepted_at = Timestamp::from_millis(NOW.as_millis() - age);
        let answers = vec![ImprintReply::Lookup(LookupResult::NotFound)];
        let (exchange, _, conclusion) = exchange_with(claimed, &rules, answers);
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Lane, &rules);
        assert_eq!(
            (settlement.endings.len(), settlement.attempted.len()),
            (expected, 0)
        );
    }
}

#[test]
fn only_statuses_that_forbid_the_operation_are_about_one_customer() {
    let signal = |status| {
        let (exchange, _) = LaneExchange::start(lane(), &RULES, NOW);
        let denied = Outcome::Denied(Cause::Status(status));
        exchange.signal(&Conclusion::Updated(denied))
    };
    for status in [401, 402, 406, 301] {
        assert_eq!(signal(status), Some(Signal::Refused), "{status}");
    }
    for status in [403, 404, 405] {
        assert_eq!(signal(status), Some(Signal::Forbidden), "{status}");
    }
}

// === proof ===

fn uuid_lane(id: &str) -> ClaimedLane {
    lane_of(LaneKey::Imprint(imprint(id)), named(Some(id), None))
}

/// FAULTS U58: Imprint's samples spell UUIDs in upper case. A UUID that is not found is asked once in the other case.
#[test]
fn a_uuid_that_is_not_found_is_asked_in_the_other_case() {
    const UPPER: &str = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";
    let lower = UPPER.to_lowercase();
    let gone = || ImprintReply::Outcome(Outcome::NotFound);
    let applied = || ImprintReply::Outcome(Outcome::Applied(Echo::default()));
    for (sent, other) in [(UPPER, lower.as_str()), (lower.as_str(), UPPER)] {
        let (mut exchange, _) = LaneExchange::start(uuid_lane(sent), &RULES, NOW);
        let ExchangeStep::Call(ImprintCall::Update(request)) = exchange.on_answer(gone(), NOW)
        else {
            panic!("the other case is asked")
        };
        assert_eq!(request.customer.as_str(), other);
        assert!(!request.body.is_empty());
        let step = exchange.on_answer(applied(), NOW);
        assert!(matches!(
            step,
            ExchangeStep::Conclude(Conclusion::Updated(Outcome::Applied(_)))
        ));
    }
    for (id, calls) in [(UPPER, 2), ("CUST-1", 1)] {
        let answers = (0..calls).map(|_| gone()).collect();
        let (exchange, asked, conclusion) = exchange_with(uuid_lane(id), &RULES, answers);
        assert_eq!(asked.len(), calls, "{id}");
        assert_eq!(conclusion, Conclusion::Updated(Outcome::NotFound));
        assert!(exchange.absent(&conclusion).unwrap().is_typed);
    }
}

/// FAULTS U58: a 404 without an error type is no typed answer, even if a retrieve repeats the answer.
#[test]
fn an_answer_of_a_gateway_is_untyped() {
    let answers = vec![
        ImprintReply::Outcome(Outcome::Unclear(Cause::Status(404))),
        ImprintReply::Lookup(LookupResult::NotFound),
    ];
    let (exchange, _, conclusion) = exchange_with(uuid_lane("CUST-1"), &RULES, answers);
    assert!(!exchange.absent(&conclusion).unwrap().is_typed);
    assert!(!exchange.is_surely_gone());
}

/// FAULTS U54: a customer with only a partner customer id is known if a link of this id names a customer of Imprint.
#[test]
fn a_link_of_the_own_id_makes_a_customer_known() {
    for (known, is_known) in [
        (link("P-1", Some("CUST-2")), true),
        (link("P-1", None), false),
        (link("P-2", Some("CUST-2")), false),
    ] {
        let (exchange, _) = LaneExchange::start(partner_lane(vec![known]), &RULES, NOW);
        assert_eq!(exchange.is_known(), is_known);
    }
}

/// FAULTS U58: the record of a search does not tell the searched id, so it decides only about entries of one id.
#[test]
fn a_recorded_search_decides_only_about_one_partner_customer_id() {
    for (by_search, ids, is_decided) in [
        (true, ["P-1", "P-1"], true),
        (true, ["P-1", "P-2"], false),
        (false, ["P-1", "P-2"], true),
    ] {
        let pair = |id| named(Some("CUST-1"), Some(id));
        let mut claimed = lane_of(LaneKey::Imprint(imprint("CUST-1")), pair(ids[0]));
        claimed.waiting.push(WaitingEntry {
            customer: pair(ids[1]),
            ..waiting(2, 6, "phone")
        });
        claimed.unproven.absence = Some(Absence {
            by_search,
            ..ABSENCE
        });
        let (_, step) = LaneExchange::start(claimed, &RULES, NOW);
        let is_proven = matches!(step, ExchangeStep::Conclude(Conclusion::ProvenAbsent));
        assert_eq!(is_proven, is_decided, "{by_search} {ids:?}");
    }
}

/// FAULTS U58, seed 4405 of the simulation: an entry names another id than the searched one. The recorded answer decides
/// nothing about this entry, also not after the entry with the searched id has ended.
#[test]
fn a_recorded_search_decides_nothing_about_another_id() {
    for (other, is_typed) in [("P-1", true), ("P-2", false)] {
        let pair = |id| named(Some("CUST-1"), Some(id));
        let mut claimed = lane_of(LaneKey::Imprint(imprint("CUST-1")), pair("P-1"));
        claimed.waiting.push(WaitingEntry {
            customer: pair(other),
            ..waiting(2, 6, "phone")
        });
        let answers = vec![
            ImprintReply::Outcome(Outcome::NotFound),
            ImprintReply::Lookup(LookupResult::NotFound),
        ];
        let (exchange, _, conclusion) = exchange_with(claimed, &RULES, answers);
        assert_eq!(conclusion, Conclusion::UnknownCustomer);
        let absence = Absence {
            by_search: true,
            ..ABSENCE
        };
        let decision = Decision::AwaitProof(Some(absence));
        let settlement = settlement(&exchange, decision, &RULES, moment(NOW));
        let recorded = settlement.unproven.absence.unwrap();
        assert_eq!(recorded.is_typed, is_typed, "{other}");
    }
}

/// FAULTS U58: only an answer that the customer does not exist is recorded, with the id that Imprint was asked about.
#[test]
fn an_absence_records_how_imprint_was_asked() {
    let (exchange, _) = LaneExchange::start(uuid_lane("CUST-1"), &RULES, NOW);
    for (conclusion, by_search) in [
        (Conclusion::Updated(Outcome::NotFound), Some(false)),
        (Conclusion::UnknownCustomer, Some(true)),
        (Conclusion::Updated(Outcome::Applied(Echo::default())), None),
        (Conclusion::LookAgain, None),
    ] {
        let absent = exchange.absent(&conclusion);
        let expected = by_search.map(|by_search| (by_search, !by_search));
        assert_eq!(
            absent.map(|absent| (absent.by_search, absent.by_id)),
            expected
        );
    }
    let pair = named(Some("CUST-1"), Some("P-1"));
    let claimed = lane_of(LaneKey::Imprint(imprint("CUST-1")), pair);
    let answers = vec![
        ImprintReply::Outcome(Outcome::NotFound),
        ImprintReply::Lookup(LookupResult::NotFound),
    ];
    let (exchange, _, conclusion) = exchange_with(claimed, &RULES, answers);
    let absent = exchange.absent(&conclusion).unwrap();
    assert!(absent.by_search && absent.by_id, "both ids were asked");
}

/// FAULTS U58: a recorded answer of a search is recalled with the link that the search stored. A link to a customer
/// stays, because the customer still counts as known.
#[test]
fn a_recalled_search_says_that_nobody_has_the_partner_customer_id() {
    let pair = named(Some("CUST-1"), Some("P-1"));
    let of_both = lane_of(LaneKey::Imprint(imprint("CUST-1")), pair);
    let linked = partner_lane(vec![link("P-1", Some("CUST-2"))]);
    for (mut claimed, by_search, has_link) in [
        (of_both.clone(), true, true),
        (of_both, false, false),
        (partner_lane(vec![]), true, true),
        (linked, true, false),
    ] {
        claimed.unproven.absence = Some(Absence {
            by_search,
            ..ABSENCE
        });
        let (exchange, _, conclusion) = exchange_with(claimed, &RULES, vec![]);
        assert_eq!(conclusion, Conclusion::ProvenAbsent);
        assert!(exchange.is_surely_gone());
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Lane, &RULES);
        let nobody = has_link.then(|| link("P-1", None));
        assert_eq!(settlement.new_link, nobody, "{by_search}");
    }
}

/// A lane with nothing to send has no reassertion, and its customer is not gone.
#[test]
fn a_lane_with_nothing_to_send_says_nothing() {
    let idle = ClaimedLane::empty(LaneId(7), ClaimToken::default(), Trials::default());
    let (exchange, _) = LaneExchange::start(idle, &RULES, NOW);
    assert!(!exchange.is_reassertion());
    assert!(!exchange.is_surely_gone());
}

const ABSENCE: Absence = Absence {
    at: NOW,
    is_typed: true,
    by_search: false,
    by_id: true,
    key: KeyMark(1),
};

/// FAULTS U58: a recorded answer that is proven ends the entries without a request, but not an entry that arrived
/// later.
#[test]
fn a_proven_answer_ends_only_the_entries_before_it() {
    let recorded = |accepted_at| {
        let mut lane = uuid_lane("CUST-1");
        lane.unproven.absence = Some(ABSENCE);
        lane.waiting[0].accepted_at = accepted_at;
        lane
    };
    let (exchange, asked, conclusion) = exchange_with(recorded(NOW), &RULES, vec![]);
    assert_eq!((asked.len(), &conclusion), (0, &Conclusion::ProvenAbsent));
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(ended(&settlement), [(1, "ignored")]);
    assert_eq!(
        (settlement.attempted.len(), settlement.unproven),
        (0, Unproven::default())
    );
    let later = NOW.after(Duration::from_millis(1));
    let answers = vec![ImprintReply::Outcome(Outcome::NotFound)];
    let (_, asked, _) = exchange_with(recorded(later), &RULES, answers);
    assert_eq!(asked.len(), 1);
}

/// FAULTS U58, U57: an unproven answer is recorded and ends nothing; after `undecided_max`, the old entries are
/// undecided.
#[test]
fn an_unproven_answer_ends_nothing_before_the_entry_is_undecided() {
    let hours = |hours: i64| Timestamp::from_millis(NOW.as_millis() - hours * 3_600_000);
    for (since, accepted_at, is_undecided) in [
        (None, hours(30), false),
        (Some(hours(23)), hours(30), false),
        (Some(hours(24)), hours(23), false),
        (Some(hours(24)), hours(24), true),
    ] {
        let mut lane = uuid_lane("CUST-1");
        lane.unproven.since = since;
        lane.waiting[0].accepted_at = accepted_at;
        let answers = vec![ImprintReply::Outcome(Outcome::NotFound)];
        let (exchange, _, conclusion) = exchange_with(lane, &RULES, answers);
        let assessment = Assessment {
            absence: Some(ABSENCE),
            ..assessment(Attribution::Unknown)
        };
        let decision = decide(&exchange, conclusion, assessment, &RULES);
        let settlement = settlement(&exchange, decision, &RULES, moment(NOW));
        let expected = if is_undecided {
            vec![(1, "undecided")]
        } else {
            vec![]
        };
        assert_eq!(ended(&settlement), expected, "{since:?}");
        assert_eq!(settlement.unproven.since, since.or(Some(NOW)));
        assert_eq!(settlement.unproven.absence, Some(ABSENCE));
        assert!(settlement.due > NOW);
        assert!(settlement.due <= NOW.after(Duration::from_mins(5)));
    }
}

/// FAULTS U54, U58: if the rules let entries wait, the entries of a customer that Imprint never knew wait without proof,
/// and use up no attempt. The answer about a known customer needs a proof, and the failures of the lane stay.
#[test]
fn entries_wait_for_an_unknown_customer_and_for_a_proof_about_a_known_one() {
    let rules = DeliveryRules {
        unknown: UnknownCustomer::Wait,
        ..RULES
    };
    let applied = vec![ImprintReply::Outcome(Outcome::Applied(Echo::default()))];
    let (delivered, _, _) = exchange_with(uuid_lane("CUST-1"), &rules, applied);
    for is_known in [false, true] {
        let mut claimed = uuid_lane("CUST-1");
        claimed.trials = lane().trials;
        if is_known {
            claimed.versions = LaneVersions::default().delivered(&delivered.fold);
            claimed.waiting[0].version.value = 9;
        }
        let answers = vec![ImprintReply::Outcome(Outcome::NotFound)];
        let (exchange, _, conclusion) = exchange_with(claimed, &rules, answers);
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &rules);
        assert!(settlement.endings.is_empty());
        assert_eq!(settlement.unproven.since.is_some(), is_known);
        if is_known {
            assert_eq!(settlement.trials, lane().trials);
        } else {
            assert_eq!(settlement.due, NOW.after(rules.unknown_ttl));
            assert_eq!(settlement.attempted, []);
        }
    }
}

/// FAULTS U57: the time without proof begins with the first failure, and a wait that the lane has not caused keeps it.
#[test]
fn the_time_without_proof_is_kept() {
    let (exchange, _) = LaneExchange::start(lane(), &RULES, NOW);
    let decision = Decision::Wait(Rest::Unproven);
    let waits = settlement(&exchange, decision, &RULES, moment(NOW));
    let first = unproven(&exchange, waits, &RULES).unproven;
    assert_eq!(first.since, Some(NOW));
    let claimed = ClaimedLane {
        unproven: first,
        ..lane()
    };
    let later = NOW.after(Duration::from_secs(9));
    let (exchange, _) = LaneExchange::start(claimed, &RULES, later);
    let decision = Decision::Postpone(later);
    let postponed = settlement(&exchange, decision, &RULES, moment(later));
    assert_eq!(postponed.unproven, first);
    let decision = Decision::Wait(Rest::Unproven);
    let waits = settlement(&exchange, decision, &RULES, moment(later));
    assert_eq!(unproven(&exchange, waits, &RULES).unproven, first);
}

/// FAULTS U54
#[test]
fn a_known_customer_uses_up_attempts_and_then_parks() {
    for (attempts, expected) in [(0, None), (10, None), (11, Some("vanished"))] {
        let (exchange, _, _) = exchange_with(
            uuid_lane("CUST-1"),
            &RULES,
            vec![ImprintReply::Outcome(Outcome::Applied(Echo::default()))],
        );
        let mut lane = uuid_lane("CUST-1");
        lane.versions = LaneVersions::default().delivered(&exchange.fold);
        lane.waiting[0].version.value = 9;
        lane.trials.attempts = attempts;
        lane.unproven.absence = Some(ABSENCE);
        let (exchange, _, conclusion) = exchange_with(lane, &RULES, vec![]);
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
        let parked = settlement.endings.first().map(|(_, ending)| {
            let Ending::Parked { reason, .. } = ending else {
                panic!("{ending:?}")
            };
            reason.as_str()
        });
        assert_eq!(parked, expected, "{attempts}");
        if expected.is_none() {
            assert_eq!(settlement.trials.attempts, attempts + 1);
        }
    }
}

/// FAULTS U56
#[test]
fn a_rejection_without_an_error_type_needs_evidence() {
    let untyped = |status, kind: Option<&'static str>| {
        Outcome::Rejected(Rejection {
            status,
            kind,
            param: None,
        })
    };
    for (outcome, is_typed) in [
        (untyped(400, None), false),
        (untyped(413, Some("INVALID_REQUEST_ERROR")), false),
        (untyped(422, Some("INVALID_REQUEST_ERROR")), true),
    ] {
        for (blame, parks) in [
            (Blame::Lane, true),
            (Blame::Unproven, is_typed),
            (Blame::Destination, false),
        ] {
            let answers = vec![ImprintReply::Outcome(outcome.clone())];
            let (exchange, _, conclusion) = exchange_with(uuid_lane("CUST-1"), &RULES, answers);
            let assessment = Assessment {
                blame,
                ..assessment(Attribution::Unknown)
            };
            let decision = decide(&exchange, conclusion, assessment, &RULES);
            let is_parked = matches!(decision, Decision::Park { .. });
            assert_eq!(is_parked, parks, "{outcome:?} {blame:?}");
        }
    }
}
