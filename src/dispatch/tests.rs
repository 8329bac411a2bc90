//! What is asked about a lane, and what becomes of it: flights flown by hand, without a store or a network.

use std::time::Duration;

use serde_json::{Value, json};

use super::breaker::{Attribution, DestinationState, Signal};
use super::core::Moment;
use super::destination::Assessment;
use super::lane_exchange::{Conclusion, ExchangeStep, ImprintCall, ImprintReply, LaneExchange};
use super::policy::{Attempt, Decision, Effect, Rest, decide};
use super::rules::{DeliveryRules, UnknownCustomer};
use super::settlement::settlement;
use crate::event::Version;
use crate::fold::LaneVersions;
use crate::imprint::clearing::{AddressClearing, Clearing};
use crate::imprint::{
    Cause, CustomerRef, Echo, Field, FieldValue, ImprintId, LookupResult, Outcome,
    PartnerCustomerId, Rejection,
};
use crate::outbox::{
    ClaimToken, ClaimedLane, EntryId, IdentityLink, LaneId, LaneKey, ParkReason, Settlement,
    Trials, WaitingEntry,
};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

const RULES: DeliveryRules = DeliveryRules {
    max_fold: 100,
    attempts_max: 12,
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
        accepted_at: NOW,
    }
}

/// A lane with two entries that ride together, 1 and 3, one that 1 beats, and one that cannot be read.
fn lane() -> ClaimedLane {
    ClaimedLane {
        key: Some(LaneKey::Imprint(imprint("CUST-1"))),
        trials: Trials {
            failures: 2,
            attempts: 0,
            tried_at: Some(NOW),
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

/// A lane with one entry, whose event names its customer like this.
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

/// Flies a lane on these answers; says what was asked, and what it comes to.
fn fly(
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

const fn assessment(attribution: Attribution) -> Assessment {
    Assessment {
        state: DestinationState::FIRST,
        attribution,
    }
}

/// What becomes of a lane whose update had this outcome.
fn settle(
    claimed: ClaimedLane,
    outcome: Outcome,
    attribution: Attribution,
) -> (Decision, Settlement) {
    let (exchange, _, conclusion) = fly(claimed, &RULES, vec![ImprintReply::Outcome(outcome)]);
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
        kind: Some("BAD_REQUEST".to_owned()),
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
    let throttled = || Outcome::Throttled(None);
    let (unavailable, unknown) = (|| Outcome::Unavailable(cause), || Outcome::Unknown(cause));
    let echo = Echo::default;
    let table = [
        (Outcome::Applied(echo()), Unknown, Decision::Deliver(echo())),
        (throttled(), Unknown, Decision::Wait(Rest::None)),
        (throttled(), Lane, Decision::Wait(Rest::Backoff)),
        (key(), Unknown, Decision::Wait(Rest::None)),
        (key(), Lane, Decision::Wait(Rest::None)),
        (forbidden(), Unknown, Decision::Wait(Rest::Short)),
        (forbidden(), Lane, again(Effect::None, Attempt::Counted)),
        (
            unavailable(),
            Unknown,
            again(Effect::None, Attempt::NotCounted),
        ),
        (unavailable(), Lane, again(Effect::None, Attempt::Counted)),
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
        (Outcome::NotFound, Unknown, Decision::CustomerUnknown),
        (rejection(), Unknown, Decision::Unfold),
    ];
    for (outcome, attribution, decision) in table {
        let decided = settle(lane(), outcome.clone(), attribution).0;
        assert_eq!(decided, decision, "{outcome:?}");
    }
}

#[test]
fn one_entry_that_is_rejected_is_parked_with_imprints_words() {
    let alone = ClaimedLane {
        waiting: vec![waiting(1, 5, "email")],
        ..lane()
    };
    let parked = Decision::Park {
        reason: ParkReason::Rejected,
        detail: Some("status 400 BAD_REQUEST email".to_owned()),
    };
    assert_eq!(settle(alone, rejection(), Attribution::Unknown).0, parked);
}

#[test]
fn what_is_delivered_names_what_it_beat() {
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

/// FAULTS U25, U34, U35: no fault of the destination ends an entry, and only a failure of the lane itself counts as an attempt.
#[test]
fn a_fault_of_the_destination_ends_nothing() {
    let cause = Cause::Status(503);
    let table = [
        (Outcome::Throttled(None), Attribution::Unknown, (0, 2, 0)),
        (Outcome::Throttled(None), Attribution::Lane, (0, 3, 0)),
        (
            Outcome::Denied(Cause::Status(401)),
            Attribution::Lane,
            (0, 2, 0),
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
fn the_first_failure_of_a_lane_is_never_held_against_it() {
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

/// FAULTS O06: what alone keeps failing while others are served is parked, but only what is at attribution.
#[test]
fn an_entry_that_alone_keeps_failing_is_parked_after_its_attempts() {
    let tried = |waiting| ClaimedLane {
        trials: Trials {
            failures: 20,
            attempts: 11,
            tried_at: Some(NOW),
        },
        waiting,
        ..lane()
    };
    let failed = || Outcome::Unavailable(Cause::Status(500));
    let two = vec![waiting(1, 5, "email"), waiting(3, 6, "phone")];
    let (decision, settlement) = settle(tried(two.clone()), failed(), Attribution::Lane);
    assert_eq!(decision, Decision::Unfold);
    assert_eq!(
        (settlement.unfold_to, settlement.trials.attempts),
        (Some(EntryId(3)), 0)
    );
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
    let (exchange, asked, conclusion) = fly(claimed, &RULES, vec![]);
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

/// FAULTS U37, P07: what may land late is remembered, whoever sent it.
#[test]
fn an_unknown_outcome_is_asserted_once_more_when_something_newer_was_delivered() {
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
fn what_a_process_before_may_have_sent_is_remembered_even_while_nothing_can_be_sent() {
    let claimed = ClaimedLane {
        maybe_sent_to: Some(EntryId(2)),
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

/// An assertion that fails rests like anything that fails, and one that Imprint will not have is given up.
#[test]
fn an_assertion_that_fails_neither_spins_nor_lasts_for_ever() {
    let until = NOW.after(RULES.reassert_after);
    let doubted = {
        let first = ClaimedLane {
            waiting: vec![waiting(1, 5, "email")],
            ..lane()
        };
        let (_, unknown) = settle(
            first,
            Outcome::Unknown(Cause::Deadline),
            Attribution::Unknown,
        );
        let second = ClaimedLane {
            versions: unknown.versions.unwrap(),
            waiting: vec![waiting(4, 7, "email")],
            ..lane()
        };
        let applied = Outcome::Applied(Echo::default());
        settle(second, applied, Attribution::Unknown)
            .1
            .versions
            .unwrap()
    };
    let assert_with = |outcome: Outcome| {
        let idle = ClaimedLane {
            versions: doubted.clone(),
            waiting: Vec::new(),
            unreadable: Vec::new(),
            ..lane()
        };
        let (mut exchange, _) = LaneExchange::start(idle, &RULES, until);
        let ExchangeStep::Conclude(conclusion) =
            exchange.on_answer(ImprintReply::Outcome(outcome), until)
        else {
            panic!("nothing more is asked")
        };
        let decision = decide(
            &exchange,
            conclusion,
            assessment(Attribution::Unknown),
            &RULES,
        );
        settlement(&exchange, decision, &RULES, moment(until))
    };
    let unavailable = assert_with(Outcome::Unavailable(Cause::Connect));
    assert_eq!(unavailable.reassert_at, Some(unavailable.due));
    assert!(unavailable.due > until);
    for given_up in [rejection(), Outcome::NotFound] {
        let settlement = assert_with(given_up);
        assert_eq!(settlement.reassert_at, None);
        assert_eq!(settlement.versions.unwrap().reassert_at(), None);
        assert!(settlement.endings.is_empty());
    }
}

// === refusals told apart ===

/// FAULTS M05, U26, U27
#[test]
fn a_refused_update_is_told_apart_by_a_retrieve() {
    let cause = Cause::Status(403);
    let table = [
        (
            LookupResult::Found(imprint("CUST-1")),
            Outcome::Denied(cause),
            Signal::Forbidden(LaneId(7)),
        ),
        (
            LookupResult::Failed(Outcome::Denied(Cause::Status(401))),
            Outcome::Denied(cause),
            Signal::Forbidden(LaneId(7)),
        ),
        (LookupResult::NotFound, Outcome::NotFound, Signal::Answered),
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
        let (exchange, asked, conclusion) = fly(lane(), &RULES, answers);
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

/// A forgotten "Apt 4B" is a wrong letterbox.
#[test]
fn a_cleared_line_that_stays_is_emptied_and_parked_if_it_stays_then() {
    let applied = |echo| ImprintReply::Outcome(Outcome::Applied(echo));
    let answers = vec![applied(still_there()), applied(Echo::default())];
    let (exchange, asked, conclusion) = fly(clearing_lane(), &RULES, answers);
    assert_eq!(asked[1], r#"update {"street_line2":""}"#);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(
        ended(&settlement),
        [(1, "delivered"), (2, "superseded"), (3, "delivered")]
    );
    for last in [Outcome::Applied(still_there()), rejection()] {
        let answers = vec![applied(still_there()), ImprintReply::Outcome(last)];
        let (exchange, _, conclusion) = fly(clearing_lane(), &RULES, answers);
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
    let (exchange, _, conclusion) = fly(clearing_lane(), &RULES, answers);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(ended(&settlement), [], "it is all sent again");
}

/// Seed 138 of the simulation: taken up again, it was said to be delivered, and the line stood.
#[test]
fn a_line_that_stayed_is_emptied_once_more_when_its_entry_is_taken_up_again() {
    let applied = ImprintReply::Outcome(Outcome::Applied(still_there()));
    let answers = vec![applied, ImprintReply::Outcome(rejection())];
    let (exchange, _, conclusion) = fly(clearing_lane(), &RULES, answers);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    let mut again = clearing_lane();
    again.versions = settlement.versions.unwrap();
    again.waiting.drain(..2);
    let applied = ImprintReply::Outcome(Outcome::Applied(Echo::default()));
    let (_, asked, _) = fly(again, &RULES, vec![applied]);
    assert_eq!(asked, [r#"update {"street_line2":""}"#]);
}

/// An entry that is not over yet is parked all the same: else it would be sent, and refused, for ever.
#[test]
fn what_cleared_a_line_that_stays_is_parked_even_if_it_has_more_to_say() {
    let mut claimed = clearing_lane();
    let newer = waiting(4, 7, "phone");
    claimed.waiting.push(newer);
    claimed.waiting.drain(..2);
    claimed.unfold_to = Some(EntryId(4));
    let (exchange, _, conclusion) = fly(claimed, &RULES, vec![ImprintReply::Outcome(rejection())]);
    assert_eq!(exchange.fold.finished, []);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(ended(&settlement), [(3, "parked")]);
}

/// What only clears lines of the address would not be echoed if it were left out.
#[test]
fn lines_that_are_all_there_is_to_clear_are_emptied_at_once() {
    let line = (Field::parse("street_line2").unwrap(), FieldValue::Cleared);
    let claimed = || {
        let mut claimed = lane();
        claimed.unreadable.clear();
        claimed.waiting = vec![WaitingEntry {
            update: [line.clone()].into_iter().collect(),
            ..waiting(1, 5, "email")
        }];
        claimed
    };
    for (outcome, expected) in [
        (Outcome::Applied(Echo::default()), "delivered"),
        (Outcome::Applied(still_there()), "parked"),
        (rejection(), "parked"),
    ] {
        let (exchange, asked, conclusion) =
            fly(claimed(), &RULES, vec![ImprintReply::Outcome(outcome)]);
        assert_eq!(asked, [r#"update {"street_line2":""}"#]);
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
        assert_eq!(ended(&settlement), [(1, expected)]);
    }
}

// === identity ===

fn pair(partner_id: &str, imprint_id: Option<&str>) -> IdentityLink {
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
fn a_partner_lane_moves_once_it_is_known_whose_it_is() {
    let found = vec![ImprintReply::Lookup(LookupResult::Found(imprint("CUST-2")))];
    for (known, answers) in [(vec![], found), (vec![pair("P-1", Some("CUST-2"))], vec![])] {
        let has_asked = !answers.is_empty();
        let (exchange, asked, conclusion) = fly(partner_lane(known), &RULES, answers);
        assert_eq!(asked.len(), usize::from(has_asked));
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

#[test]
fn what_was_said_of_an_id_is_believed_for_a_while() {
    let long_ago = Timestamp::from_millis(NOW.as_millis() - 24 * 3_600_000);
    let old = IdentityLink {
        confirmed_at: long_ago,
        ..pair("P-1", Some("CUST-2"))
    };
    let (_, asked, _) = fly(
        partner_lane(vec![old]),
        &RULES,
        vec![ImprintReply::Lookup(LookupResult::NotFound)],
    );
    assert_eq!(asked, ["search P-1"]);
    let (_, asked, conclusion) = fly(partner_lane(vec![pair("P-1", None)]), &RULES, vec![]);
    assert_eq!((asked.len(), conclusion), (0, Conclusion::UnknownCustomer));
}

#[test]
fn somebody_whom_imprint_does_not_know_is_treated_as_the_policy_says() {
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
        let (exchange, _, conclusion) = fly(
            claimed,
            &rules,
            vec![ImprintReply::Lookup(LookupResult::NotFound)],
        );
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &rules);
        assert_eq!(ended(&settlement), expected, "{unknown:?}");
        assert_eq!(settlement.new_link, Some(pair("P-1", None)));
        if unknown == UnknownCustomer::Wait {
            assert_eq!(settlement.due, NOW.after(RULES.unknown_ttl));
        }
    }
}

#[test]
fn somebody_who_is_several_is_parked() {
    let (exchange, _, conclusion) = fly(
        partner_lane(vec![]),
        &RULES,
        vec![ImprintReply::Lookup(LookupResult::Ambiguous)],
    );
    let (decision, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(decision, Decision::ParkAll(ParkReason::AmbiguousCustomer));
    assert_eq!(ended(&settlement), [(1, "parked")]);
}

/// FAULTS M13: who is gone is looked up once more, if only the partner's id was named.
#[test]
fn a_customer_who_is_gone_is_looked_up_once_more() {
    let lane = |customer| lane_of(LaneKey::Imprint(imprint("CUST-1")), customer);
    let gone = || ImprintReply::Outcome(Outcome::NotFound);
    let stated = named(Some("CUST-1"), Some("P-1"));
    let (_, asked, conclusion) = fly(lane(stated), &RULES, vec![gone()]);
    assert_eq!(
        (asked.len(), conclusion),
        (1, Conclusion::Updated(Outcome::NotFound))
    );
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
        let answers = vec![gone(), ImprintReply::Lookup(found)];
        let (_, asked, conclusion) = fly(lane(named(None, Some("P-1"))), &RULES, answers);
        assert_eq!((asked[1].as_str(), conclusion), ("search P-1", expected));
    }
}

/// Who was found is moved, and nobody else who is in the same lane.
#[test]
fn only_those_who_were_found_move_on() {
    let mut claimed = lane_of(
        LaneKey::Imprint(imprint("CUST-1")),
        named(None, Some("P-1")),
    );
    for (entry, customer) in [
        (2, named(None, Some("P-2"))),
        (3, named(Some("CUST-1"), Some("P-1"))),
    ] {
        claimed.waiting.push(WaitingEntry {
            customer,
            ..waiting(entry, 5, "phone")
        });
    }
    let answers = vec![
        ImprintReply::Outcome(Outcome::NotFound),
        ImprintReply::Lookup(LookupResult::Found(imprint("CUST-2"))),
    ];
    let (exchange, _, conclusion) = fly(claimed, &RULES, answers);
    let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(settlement.moved.unwrap().entries, [EntryId(1)]);
}

/// A key that may not search stops nobody who can be sent to.
#[test]
fn that_we_may_not_search_says_nothing_of_the_destination() {
    let denied = LookupResult::Failed(Outcome::Denied(Cause::Status(403)));
    let (exchange, _, conclusion) = fly(
        partner_lane(vec![]),
        &RULES,
        vec![ImprintReply::Lookup(denied)],
    );
    assert_eq!(exchange.signal(&conclusion), Some(Signal::Unrelated));
    let stopped = DestinationState::Stopped { probe_at: NOW };
    let after = stopped.after(Signal::Unrelated, Attribution::Unknown, NOW, 0.5);
    assert_eq!(after, stopped, "nor of a key that is refused");
    let (decision, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
    assert_eq!(decision, again(Effect::None, Attempt::NotCounted));
    assert!(settlement.due > NOW && settlement.endings.is_empty());
}

#[test]
fn an_event_that_contradicts_what_imprint_said_is_parked() {
    let table = [
        (pair("P-1", Some("CUST-1")), "delivered"),
        (pair("P-1", Some("CUST-2")), "parked"),
        (pair("P-2", Some("CUST-1")), "parked"),
        (pair("P-2", Some("CUST-2")), "delivered"),
        (pair("P-1", None), "delivered"),
    ];
    for (known, expected) in table {
        let claimed = ClaimedLane {
            links: vec![known.clone()],
            ..lane_of(
                LaneKey::Imprint(imprint("CUST-1")),
                named(Some("CUST-1"), Some("P-1")),
            )
        };
        let answers = match expected {
            "delivered" => vec![ImprintReply::Outcome(Outcome::Applied(Echo::default()))],
            _ => vec![],
        };
        let (exchange, _, conclusion) = fly(claimed, &RULES, answers);
        let (_, settlement) = conclude(&exchange, conclusion, Attribution::Unknown, &RULES);
        assert_eq!(ended(&settlement), [(1, expected)], "{known:?}");
    }
}

#[test]
fn an_echo_confirms_a_pair_where_somebody_goes_by_one() {
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
        Some(pair("P-1", Some("CUST-1")))
    );
    assert_eq!(learned(lane(named(Some("CUST-1"), None))), None);
    let known = ClaimedLane {
        links: vec![pair("P-1", Some("CUST-1"))],
        ..lane(both)
    };
    assert_eq!(learned(known), None);
}
