//! Tests of the dispatch core: each test drives the core by one claim, answer, settlement or panic at a time.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::dispatch::breaker::{DestinationState, Ramp, Signal};
use crate::dispatch::destination::{Clearance, LaneAnswer, OperatorMode};
use crate::dispatch::pace::Rate;
use crate::dispatch::rules::UnknownCustomer;
use crate::event::{SourceName, Version};
use crate::imprint::clearing::Clearing;
use crate::imprint::{
    Cause, CustomerRef, Echo, Field, FieldValue, ImprintId, LookupResult, Outcome,
    PartnerCustomerId, Rejection,
};
use crate::outbox::{
    Absence, ClaimToken, ClaimedLane, EntryId, FailingShare, IdentityLink, KeyMark, LaneId,
    LaneKey, LaneShares, MaybeSent, Recognition, Trials, Unproven, UntriedOrder, WaitingEntry,
};

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
const SECOND_BEFORE: Timestamp = Timestamp::from_millis(999_999_000);

fn later(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

const fn moment(now: Timestamp) -> Moment {
    Moment {
        now,
        random: u32::MAX / 2,
    }
}

fn limits(concurrency: usize) -> DispatchLimits {
    DispatchLimits {
        concurrency,
        deadline: Duration::from_secs(10),
        rules: DeliveryRules {
            max_fold: 100,
            undecided_max: Duration::from_hours(24),
            attempts_max: 12,
            park_after: Duration::ZERO,
            reassert_after: Duration::from_secs(60),
            clearing: Clearing::default(),
            unknown: UnknownCustomer::Ignore,
            wait_max: Duration::from_hours(24),
            link_ttl: Duration::from_hours(24),
            unknown_ttl: Duration::from_mins(15),
        },
    }
}

/// Returns a core and the destination of the core.
fn core_at(rate: Rate, concurrency: usize) -> (Core, Arc<Destination>) {
    let destination = Arc::new(Destination::new(rate, SECOND_BEFORE));
    (
        Core::new(Arc::clone(&destination), limits(concurrency)),
        destination,
    )
}

/// Returns a claimed lane of an Imprint id, with one entry.
fn lane(id: u64) -> ClaimedLane {
    let key = LaneKey::Imprint(ImprintId::parse(&format!("CUST-{id}")).unwrap());
    let value = (
        Field::parse("email").unwrap(),
        FieldValue::from_value(json!("x")),
    );
    ClaimedLane {
        key: Some(key),
        waiting: vec![WaitingEntry {
            entry: EntryId(id),
            version: Version {
                epoch: 0,
                value: 1,
                arrival: id,
            },
            update: [value].into_iter().collect(),
            customer: CustomerRef::Imprint(ImprintId::parse(&format!("CUST-{id}")).unwrap()),
            jump_max: None,
            source: SourceName::parse("crm").unwrap(),
            accepted_at: NOW,
            floors: None,
        }],
        ..ClaimedLane::empty(LaneId(id), ClaimToken::default(), Trials::default())
    }
}

/// Returns a claimed lane whose customer dispatch must search by our own id.
fn unidentified_lane(id: u64) -> ClaimedLane {
    let partner = PartnerCustomerId::parse(&format!("P-{id}")).unwrap();
    let mut claimed = lane(id);
    claimed.waiting[0].customer = CustomerRef::Partner(partner.clone());
    claimed.key = Some(LaneKey::Partner(partner));
    claimed
}

/// Returns a claimed lane that has nothing to send.
fn idle_lane(id: u64) -> ClaimedLane {
    ClaimedLane::empty(LaneId(id), ClaimToken::default(), Trials::default())
}

fn claim(lanes: Vec<ClaimedLane>) -> Claim {
    Claim {
        lanes,
        ..Claim::default()
    }
}

/// Returns the next action of the core except saving the evidence.
fn polled(core: &mut Core, moment: Moment) -> LoopAction {
    loop {
        match core.poll(moment) {
            LoopAction::SaveEvidence(_) => {}
            other @ (LoopAction::Claim { .. }
            | LoopAction::AskWitness(_)
            | LoopAction::SleepUntil(_)) => return other,
        }
    }
}

/// Lets the core claim these lanes, and returns the deliveries that may start.
fn claimed(core: &mut Core, now: Timestamp, lanes: Vec<ClaimedLane>) -> Vec<DeliveryId> {
    let action = polled(core, moment(now));
    assert!(
        matches!(action, LoopAction::Claim { max, .. } if max >= lanes.len()),
        "{action:?}"
    );
    core.on_claimed(claim(lanes), now);
    started(core)
}

fn started(core: &mut Core) -> Vec<DeliveryId> {
    std::iter::from_fn(|| core.next_start()).collect()
}

fn applied() -> ImprintReply {
    ImprintReply::Outcome(Outcome::Applied(Echo::default()))
}

fn is_call(action: &LaneAction) -> bool {
    matches!(action, LaneAction::Call { .. })
}

fn result(action: LaneAction) -> LaneResult {
    let LaneAction::Settle(result) = action else {
        panic!("{action:?}")
    };
    result
}

fn settled(action: LaneAction) -> Settlement {
    Arc::unwrap_or_clone(result(action).settlement)
}

fn max_claim(action: &LoopAction) -> usize {
    match action {
        LoopAction::Claim { max, .. } => *max,
        LoopAction::SleepUntil(_) | LoopAction::AskWitness(_) | LoopAction::SaveEvidence(_) => 0,
    }
}

#[track_caller]
fn is_action(action: &LoopAction, expected: &LoopAction) {
    assert_eq!(format!("{action:?}"), format!("{expected:?}"));
}

/// Stops the destination: Imprint refuses the API key for two lanes.
fn stopped(destination: &Arc<Destination>, now: Timestamp) {
    for lane in [101, 102] {
        let permit = destination.acquire(1, now).unwrap().take_one().unwrap();
        permit.assess(answer(lane, Signal::Refused), moment(now));
    }
    assert_eq!(destination.state().as_str(), "stopped");
}

const fn answer(lane: u64, signal: Signal) -> LaneAnswer<'static> {
    LaneAnswer {
        lane: LaneId(lane),
        customer: None,
        trials: Trials {
            failures: 0,
            attempts: 0,
            tried_at: None,
            blamed_since: None,
        },
        is_known: false,
        signal,
        absent: None,
        has_found: false,
    }
}

/// Returns how many permits the destination gives now, and gives the permits back at once.
fn permits(destination: &Arc<Destination>, now: Timestamp) -> usize {
    destination
        .acquire(1000, now)
        .map_or(0, |permits| permits.count())
}

/// Brings the destination into a ramp with two places.
fn recovered(destination: &Arc<Destination>) {
    // A refusal shows something only about a key that was in use before its request.
    destination.key_changed(KeyMark(1), Timestamp::from_millis(0));
    for (lane, signal, now) in [
        (98, Signal::Refused, SECOND_BEFORE),
        (99, Signal::Refused, NOW),
        (99, Signal::Applied, later(1)),
    ] {
        destination.key_changed(KeyMark(1), now);
        let permit = destination.acquire(1, now).unwrap().take_one().unwrap();
        permit.assess(answer(lane, signal), moment(now));
    }
    assert_eq!(
        destination.state(),
        DestinationState::Flowing {
            failures: 0,
            ramp: Ramp::Rising {
                credits: 2,
                answers: 1
            }
        }
    );
}

// === claims ===

#[test]
fn without_a_rate_one_lane_is_prefetched_for_two_requests() {
    for (concurrency, rate, expected) in [
        (4, Rate::Unlimited, 6),
        (5, Rate::Unlimited, 8),
        (1, Rate::Unlimited, 2),
        (4, Rate::PerSecond(1000.0), 4),
    ] {
        let (core, _) = core_at(rate, concurrency);
        assert_eq!(core.lanes_max(), expected, "{concurrency} {rate:?}");
    }
}

#[test]
fn a_claim_asks_for_as_many_lanes_as_may_be_held() {
    let (mut core, _) = core_at(Rate::Unlimited, 4);
    let deliveries = claimed(&mut core, NOW, vec![lane(1), lane(2)]);
    assert_eq!((deliveries.len(), core.deliveries()), (2, 2));
    let expected = LoopAction::Claim {
        max: 4,
        pick: Pick::LongestDue(LaneShares {
            failing: FailingShare { kept: 1, max: 1 },
            untried_max: 5,
            newest_first: false,
            untried: UntriedOrder::ByDueTime,
        }),
    };
    is_action(&polled(&mut core, moment(NOW)), &expected);
    // The core makes one claim at a time.
    is_action(
        &polled(&mut core, moment(NOW)),
        &LoopAction::SleepUntil(NOW.after(POLL_EVERY)),
    );
    core.on_claimed(claim((3..=6).map(lane).collect()), NOW);
    // The core holds as many lanes as it may.
    is_action(
        &polled(&mut core, moment(NOW)),
        &LoopAction::SleepUntil(NOW.after(POLL_EVERY)),
    );
}

fn failing_lane(id: u64) -> ClaimedLane {
    ClaimedLane {
        standing: Standing::Failing,
        trials: Trials {
            failures: 1,
            ..Trials::default()
        },
        ..lane(id)
    }
}

fn failing_share(action: LoopAction) -> FailingShare {
    match action {
        LoopAction::Claim {
            pick: Pick::LongestDue(shares),
            ..
        } => shares.failing,
        other @ (LoopAction::Claim { .. }
        | LoopAction::AskWitness(_)
        | LoopAction::SaveEvidence(_)
        | LoopAction::SleepUntil(_)) => {
            panic!("{other:?}")
        }
    }
}

/// FAULTS U50: failing lanes hold at most a quarter of the places, requests in flight included.
#[test]
fn failing_lanes_hold_a_quarter_of_the_places() {
    let (mut core, _) = core_at(Rate::Unlimited, 16);
    let share = failing_share(polled(&mut core, moment(NOW)));
    assert_eq!((share.kept, share.max), (1, 4));
    core.on_claimed(claim((1..=3).map(failing_lane).collect()), NOW);
    let ids = started(&mut core);
    let share = failing_share(polled(&mut core, moment(NOW)));
    assert_eq!((share.kept, share.max), (0, 1));
    core.on_claimed(claim(vec![failing_lane(4), lane(5)]), NOW);
    let share = failing_share(polled(&mut core, moment(NOW)));
    assert_eq!((share.kept, share.max), (0, 0));
    core.on_claimed(claim(Vec::new()), NOW);
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    settled(core.on_answer(ids[0], applied(), moment(NOW)));
    assert!(core.on_settled(ids[0], Settled::Recorded).is_some());
    assert_eq!(failing_share(polled(&mut core, moment(NOW))).max, 1);
}

fn untried_lane(id: u64) -> ClaimedLane {
    ClaimedLane {
        standing: Standing::Untried,
        ..lane(id)
    }
}

fn untried_max(action: LoopAction) -> usize {
    match action {
        LoopAction::Claim {
            pick: Pick::LongestDue(shares),
            ..
        } => shares.untried_max,
        other @ (LoopAction::Claim { .. }
        | LoopAction::AskWitness(_)
        | LoopAction::SaveEvidence(_)
        | LoopAction::SleepUntil(_)) => {
            panic!("{other:?}")
        }
    }
}

/// FAULTS U53: untried lanes hold at most three quarters of the places, together with failing lanes, however many are
/// due. A lane that Imprint answered before starts although untried lanes wait before it.
#[test]
fn untried_lanes_leave_a_quarter_of_the_places_to_other_lanes() {
    let (mut core, _) = core_at(Rate::Unlimited, 16);
    assert_eq!(untried_max(polled(&mut core, moment(NOW))), 20);
    core.on_claimed(claim((1..=20).map(untried_lane).collect()), NOW);
    let ids = started(&mut core);
    assert_eq!(ids.len(), 12, "eight are prefetched");
    assert_eq!(untried_max(polled(&mut core, moment(NOW))), 0);
    core.on_claimed(claim(vec![lane(21)]), NOW);
    let well = started(&mut core);
    assert_eq!(well.len(), 1, "the lane passes the prefetched lanes");
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    settled(core.on_answer(ids[0], applied(), moment(NOW)));
    assert_eq!(started(&mut core).len(), 1, "an answer frees a place");
    assert!(core.on_settled(ids[0], Settled::Recorded).is_some());
    assert_eq!(untried_max(polled(&mut core, moment(NOW))), 1);
    let (mut core, _) = core_at(Rate::Unlimited, 1);
    assert_eq!(
        untried_max(polled(&mut core, moment(NOW))),
        2,
        "a single place"
    );
}

fn untried_order(core: &mut Core) -> UntriedOrder {
    match polled(core, moment(NOW)) {
        LoopAction::Claim {
            pick: Pick::LongestDue(shares),
            ..
        } => shares.untried,
        other @ (LoopAction::Claim { .. }
        | LoopAction::AskWitness(_)
        | LoopAction::SaveEvidence(_)
        | LoopAction::SleepUntil(_)) => {
            panic!("{other:?}")
        }
    }
}

/// Delivers an untried lane whose request gets this answer.
fn first_request(core: &mut Core, id: u64, answer: ImprintReply) {
    let ids = claimed(core, NOW, vec![untried_lane(id)]);
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    settled(core.on_answer(ids[0], answer, moment(NOW)));
    assert!(core.on_settled(ids[0], Settled::Recorded).is_some());
}

/// FAULTS N783: after the first requests of three new customers failed, untried lanes come last until the first requests
/// of 62 other new customers succeeded. One untried lane follows after seven lanes that Imprint answered before.
#[test]
fn untried_lanes_come_last_while_first_requests_fail() {
    let refused = || ImprintReply::Outcome(Outcome::Unavailable(Cause::Status(500)));
    let (mut core, _) = core_at(Rate::Unlimited, 4);
    for id in 1..=3 {
        assert_eq!(untried_order(&mut core), UntriedOrder::ByDueTime, "{id}");
        core.on_claimed(Claim::default(), NOW);
        first_request(&mut core, id, refused());
    }
    for (wells, kept) in [(0, 0), (6, 0), (1, 1), (1, 1)] {
        for well in 0..wells {
            let ids = claimed(&mut core, NOW, vec![lane(100 + well)]);
            assert!(is_call(&core.start(ids[0], moment(NOW))));
            settled(core.on_answer(ids[0], applied(), moment(NOW)));
            core.on_settled(ids[0], Settled::Recorded);
        }
        let order = untried_order(&mut core);
        assert_eq!(order, UntriedOrder::Last { kept }, "{wells}");
        core.on_claimed(Claim::default(), NOW);
    }
    // The eight other lanes are new customers too: Imprint had not applied an update of them before.
    for id in 4..58 {
        assert_eq!(
            untried_order(&mut core),
            UntriedOrder::Last {
                kept: usize::from(id == 4)
            },
            "{id}"
        );
        core.on_claimed(Claim::default(), NOW);
        first_request(&mut core, id, applied());
    }
    assert_eq!(untried_order(&mut core), UntriedOrder::ByDueTime);
}

/// Seed 11973 of the simulation: an untried lane that probes does not wait for untried lanes that hang.
#[test]
fn an_untried_probe_fills_a_kept_place() {
    let (mut core, destination) = core_at(Rate::Unlimited, 2);
    let ids = claimed(&mut core, NOW, vec![untried_lane(1)]);
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    stopped(&destination, NOW);
    let probe = claimed(&mut core, later(30), vec![untried_lane(2)]);
    assert!(is_call(&core.start(probe[0], moment(later(30)))));
}

/// A core with one place keeps no place for failing lanes, but still sends a failing lane if no other lane is due.
#[test]
fn a_core_with_one_place_prefers_lanes_that_do_not_fail() {
    let (mut core, _) = core_at(Rate::Unlimited, 1);
    let share = failing_share(polled(&mut core, moment(NOW)));
    assert_eq!((share.kept, share.max), (0, 1));
}

/// FAULTS U50: failing lanes use at most a quarter of the rate, and dispatch asks the store again when the next token
/// for failing lanes is there.
#[test]
fn failing_lanes_use_a_quarter_of_the_rate() {
    let (mut core, _) = core_at(Rate::PerSecond(10.0), 16);
    let sent = (0..100).map(|tenth| {
        let now = NOW.after(Duration::from_millis(100 * tenth + 1));
        let max = failing_share(polled(&mut core, moment(now))).max;
        let lanes = (0..max).map(|_| failing_lane(1)).collect();
        core.on_claimed(claim(lanes), now);
        for id in started(&mut core) {
            assert!(is_call(&core.start(id, moment(now))));
            let reply = ImprintReply::Outcome(Outcome::Rejected(Rejection {
                status: 400,
                kind: None,
                param: Some("email".to_owned()),
            }));
            settled(core.on_answer(id, reply, moment(now)));
            core.on_settled(id, Settled::Recorded);
        }
        max
    });
    let sent: usize = sent.sum();
    assert!((24..=26).contains(&sent), "{sent}");
    let (mut core, destination) = core_at(Rate::PerSecond(10.0), 16);
    polled(&mut core, moment(NOW));
    let left = Claim {
        is_failing_left: true,
        ..claim(vec![failing_lane(1)])
    };
    let poll_at = core.on_claimed(left, NOW);
    assert_eq!(poll_at, destination.next_failing());
    assert!(
        poll_at > NOW.after(Duration::from_millis(390)),
        "{poll_at:?}"
    );
    // A slow store answers just when the next token is free: the core must not poll again without a pause.
    let left = Claim {
        is_failing_left: true,
        ..Claim::default()
    };
    assert_eq!(core.on_claimed(left, poll_at), poll_at.after(POLL_EVERY));
}

/// FAULTS N784: the further requests of a failing lane count against the share of failing lanes.
#[test]
fn further_requests_of_failing_lanes_use_the_quarter_of_the_rate() {
    let (mut core, _) = core_at(Rate::PerSecond(10.0), 16);
    let requests = (0..100).map(|second| {
        let now = NOW.after(Duration::from_millis(500 * second + 1));
        let max = failing_share(polled(&mut core, moment(now))).max;
        let lanes = (0..max).map(|_| failing_lane(1)).collect();
        core.on_claimed(claim(lanes), now);
        for id in started(&mut core) {
            assert!(is_call(&core.start(id, moment(now))));
            let unclear = ImprintReply::Outcome(Outcome::Unclear(Cause::Status(403)));
            let mut now = now;
            let mut action = core.on_answer(id, unclear, moment(now));
            while let LaneAction::SleepUntil(later) = action {
                now = later;
                action = core.resume(id, moment(now));
            }
            assert!(is_call(&action));
            let failed = Outcome::Unavailable(Cause::Status(500));
            let failed = ImprintReply::Lookup(LookupResult::Failed(failed));
            settled(core.on_answer(id, failed, moment(now)));
            core.on_settled(id, Settled::Recorded);
        }
        2 * max
    });
    let requests: usize = requests.sum();
    assert!((90..=125).contains(&requests), "{requests} of 500");
}

/// The dispatch loop names the lane in the log when the task of a delivery has panicked.
#[test]
fn a_delivery_has_a_lane_until_it_ends() {
    let (mut core, _) = core_at(Rate::Unlimited, 1);
    let id = claimed(&mut core, NOW, vec![lane(5)])[0];
    assert_eq!(core.lane(id), Some(LaneId(5)));
    assert!(is_call(&core.start(id, moment(NOW))));
    settled(core.on_answer(id, applied(), moment(NOW)));
    core.on_settled(id, Settled::Recorded);
    assert_eq!(core.lane(id), None);
}

/// FAULTS U50: the limit on failing lanes ends when Imprint has applied eight of these lanes in a row, so that an
/// outage of many lanes does not drain slowly; the next failure limits failing lanes again.
#[test]
fn failing_lanes_that_are_applied_are_limited_no_longer() {
    let (mut core, _) = core_at(Rate::Unlimited, 4);
    for id in 1..=9 {
        let share = failing_share(polled(&mut core, moment(NOW)));
        let is_limited = id <= 8;
        assert_eq!(share.max == 1, is_limited, "{id}: {share:?}");
        core.on_claimed(claim(vec![failing_lane(id)]), NOW);
        let delivery = started(&mut core)[0];
        assert!(is_call(&core.start(delivery, moment(NOW))));
        let reply = match id {
            9 => ImprintReply::Outcome(Outcome::Unavailable(Cause::Status(500))),
            _ => applied(),
        };
        settled(core.on_answer(delivery, reply, moment(NOW)));
        core.on_settled(delivery, Settled::Recorded);
    }
    assert_eq!(failing_share(polled(&mut core, moment(NOW))).max, 1);
}

#[test]
fn the_next_poll_is_when_the_next_lane_is_due() {
    let (mut core, _) = core_at(Rate::Unlimited, 4);
    polled(&mut core, moment(NOW));
    let due = Claim {
        next_due: Some(later(7)),
        ..Claim::default()
    };
    assert_eq!(core.on_claimed(due, NOW), later(7));
    polled(&mut core, moment(NOW));
    let poll_at = core.on_claimed(claim(Vec::new()), NOW);
    assert_eq!(poll_at, NOW.after(Duration::from_millis(400)));
}

#[test]
fn a_refused_claim_returns_its_permits_and_is_made_again_soon() {
    let (mut core, destination) = core_at(Rate::PerSecond(1.0), 4);
    assert_eq!(max_claim(&polled(&mut core, moment(NOW))), 1);
    assert_eq!(permits(&destination, NOW), 0);
    assert_eq!(
        core.on_claim_refused(NOW),
        NOW.after(Duration::from_millis(200))
    );
    assert_eq!(permits(&destination, NOW), 1);
    assert_eq!(max_claim(&polled(&mut core, moment(NOW))), 1);
}

#[test]
fn a_claim_that_finds_fewer_lanes_returns_the_other_permits() {
    let (mut core, destination) = core_at(Rate::PerSecond(100.0), 8);
    assert_eq!(max_claim(&polled(&mut core, moment(later(60)))), 8);
    core.on_claimed(claim(vec![lane(1)]), later(60));
    assert_eq!(permits(&destination, later(60)), 9);
}

/// The core does not send a lane beyond the requested number of lanes, because such a lane has no permit.
#[test]
fn a_lane_without_a_permit_is_given_back() {
    let (mut core, _) = core_at(Rate::PerSecond(1.0), 8);
    let action = polled(&mut core, moment(NOW));
    assert_eq!(max_claim(&action), 1);
    core.on_claimed(claim(vec![lane(1), lane(2)]), NOW);
    let deliveries = started(&mut core);
    assert!(is_call(&core.start(deliveries[0], moment(NOW))));
    let settlement = settled(core.start(deliveries[1], moment(NOW)));
    assert_eq!(
        (settlement.lane, settlement.due, settlement.endings.len()),
        (LaneId(2), NOW, 0)
    );
}

#[test]
fn a_probe_claims_the_lane_that_has_failed_least() {
    let (mut core, destination) = core_at(Rate::Unlimited, 4);
    stopped(&destination, NOW);
    let expected = LoopAction::Claim {
        max: 1,
        pick: Pick::LeastFailed(u32::MAX / 2),
    };
    is_action(&polled(&mut core, moment(later(30))), &expected);
}

/// FAULTS U51: a lane that has not failed probes a stopped destination at once; the claim of this probe takes no other
/// lane, and the next poll is not later than the next regular probe.
#[test]
fn a_new_lane_probes_a_stopped_destination_at_once() {
    let (mut core, destination) = core_at(Rate::Unlimited, 4);
    stopped(&destination, NOW);
    let expected = || LoopAction::Claim {
        max: 1,
        pick: Pick::NotFailed,
    };
    is_action(&polled(&mut core, moment(later(29))), &expected());
    let left = Claim {
        is_failing_left: true,
        ..Claim::default()
    };
    assert_eq!(core.on_claimed(left, later(29)), later(30));
    is_action(&polled(&mut core, moment(later(29))), &expected());
    core.on_claimed(claim(vec![lane(1)]), later(29));
    let delivery = started(&mut core)[0];
    assert!(is_call(&core.start(delivery, moment(later(29)))));
    settled(core.on_answer(delivery, applied(), moment(later(29))));
    assert_eq!(destination.state().as_str(), "flowing");
}

/// Seed 1671 of the simulation: a prefetched probe waited for a request slot, and was sent just before the next probe.
#[test]
fn a_probe_is_not_prefetched() {
    let (mut core, destination) = core_at(Rate::Unlimited, 1);
    let ids = claimed(&mut core, NOW, vec![lane(1)]);
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    stopped(&destination, NOW);
    let now = later(30);
    let expected = LoopAction::SleepUntil(now.after(POLL_EVERY));
    is_action(&polled(&mut core, moment(now)), &expected);
    core.on_answer(
        ids[0],
        ImprintReply::Outcome(Outcome::Denied(Cause::Status(401))),
        moment(now),
    );
    assert_eq!(
        max_claim(&polled(&mut core, moment(now))),
        1,
        "it is still due"
    );
}

/// FAULTS N1004: without a free request slot, a process does not try to win the probe of all processes.
#[test]
fn without_a_free_place_a_process_wins_no_probe() {
    let (mut core, destination) = core_at(Rate::Unlimited, 1);
    destination.share();
    let ids = claimed(&mut core, NOW, vec![lane(1)]);
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    stopped(&destination, NOW);
    let proposed = destination.propose(NOW);
    let accepted = crate::outbox::AgreedView {
        is_accepted: true,
        revision: 1,
        state: None,
        at: NOW,
    };
    destination.agree(proposed.as_ref(), &accepted, NOW);
    let now = later(30);
    let expected = LoopAction::SleepUntil(now.after(POLL_EVERY));
    is_action(&polled(&mut core, moment(now)), &expected);
    assert_eq!(destination.propose(now), None);
}

// === requests in flight ===

#[test]
fn prefetched_lanes_start_in_order_when_a_request_ends() {
    let (mut core, _) = core_at(Rate::Unlimited, 2);
    let first = claimed(&mut core, NOW, vec![lane(1), lane(2), lane(3)]);
    assert_eq!(first.len(), 2);
    for id in &first {
        assert!(is_call(&core.start(*id, moment(NOW))));
    }
    assert_eq!(core.next_start(), None);
    core.on_answer(first[1], applied(), moment(NOW));
    let third = core.next_start().unwrap();
    assert!(is_call(&core.start(third, moment(NOW))));
    assert_eq!((core.next_start(), core.deliveries()), (None, 3));
}

#[test]
fn a_stopping_core_gives_back_what_it_has_not_sent() {
    let (mut core, destination) = core_at(Rate::Unlimited, 1);
    recovered(&destination);
    let first = claimed(&mut core, NOW, vec![lane(1), lane(2)]);
    assert!(is_call(&core.start(first[0], moment(NOW))));
    core.stop();
    let queued = started(&mut core);
    assert_eq!(queued.len(), 1);
    let settlement = settled(core.start(queued[0], moment(NOW)));
    assert_eq!(
        (settlement.lane, settlement.due, settlement.endings.len()),
        (LaneId(2), NOW, 0)
    );
    assert_eq!(permits(&destination, NOW), 1, "its place is free");
    let answered = settled(core.on_answer(first[0], applied(), moment(NOW)));
    assert_eq!(
        answered.endings.len(),
        1,
        "what was sent is settled as always"
    );
    assert!(matches!(
        polled(&mut core, moment(NOW)),
        LoopAction::SleepUntil(_)
    ));
}

#[test]
fn a_delivery_ends_when_the_store_recorded_it() {
    let (mut core, _) = core_at(Rate::Unlimited, 1);
    let ids = claimed(&mut core, NOW, vec![lane(1)]);
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    let settlement = settled(core.on_answer(ids[0], applied(), moment(NOW)));
    let LaneAction::SleepUntil(again) = core.on_settle_refused(NOW) else {
        panic!("it is settled again")
    };
    assert_eq!(again, NOW.after(STORE_RETRY));
    let retried = result(core.resume(ids[0], moment(again)));
    assert_eq!(
        (retried.report, retried.change),
        (None, None),
        "it was reported before"
    );
    assert_eq!(*retried.settlement, settlement);
    assert_eq!(
        (
            core.deliveries(),
            core.on_settled(ids[0], Settled::Recorded)
        ),
        (1, Some(Arc::new(settlement)))
    );
    assert_eq!(
        (
            core.deliveries(),
            core.on_settled(ids[0], Settled::Recorded)
        ),
        (0, None)
    );
    assert!(matches!(core.resume(ids[0], moment(NOW)), LaneAction::Done));
}

#[test]
fn a_stale_settlement_ends_the_delivery_and_is_not_counted() {
    let (mut core, _) = core_at(Rate::Unlimited, 1);
    let ids = claimed(&mut core, NOW, vec![lane(1)]);
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    settled(core.on_answer(ids[0], applied(), moment(NOW)));
    assert_eq!(core.on_settled(ids[0], Settled::Stale), None);
    assert_eq!(core.deliveries(), 0);
}

#[test]
fn what_does_not_fit_the_stage_of_a_delivery_changes_nothing() {
    let (mut core, _) = core_at(Rate::Unlimited, 1);
    let ids = claimed(&mut core, NOW, vec![lane(1)]);
    assert!(matches!(core.resume(ids[0], moment(NOW)), LaneAction::Done));
    assert!(matches!(
        core.on_answer(ids[0], applied(), moment(NOW)),
        LaneAction::Done
    ));
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    assert!(matches!(core.start(ids[0], moment(NOW)), LaneAction::Done));
    assert!(matches!(core.resume(ids[0], moment(NOW)), LaneAction::Done));
    let settlement = settled(core.on_answer(ids[0], applied(), moment(NOW)));
    assert_eq!(settlement.endings.len(), 1);
}

// === permits ===

/// A delivery that ends without a request gives its token and its place in the ramp back, whatever the reason.
#[test]
fn a_delivery_without_a_request_uses_no_permit() {
    type Setup = fn(&Arc<Destination>);
    let nothing: Setup = |_| {};
    let paused: Setup = |destination| destination.set_mode(OperatorMode::Paused);
    let shadow: Setup = |destination| destination.set_mode(OperatorMode::Shadow);
    for (claimed_lane, setup, rest) in [
        (idle_lane(1), nothing, Duration::ZERO),
        (lane(1), paused, Duration::ZERO),
        (lane(1), shadow, Duration::from_secs(60)),
    ] {
        let (mut core, destination) = core_at(Rate::PerSecond(1.0), 4);
        recovered(&destination);
        let now = later(2);
        let ids = claimed(&mut core, now, vec![claimed_lane]);
        assert_eq!(permits(&destination, now), 0, "there is one token");
        setup(&destination);
        let settlement = settled(core.start(ids[0], moment(now)));
        assert_eq!(settlement.due, now.after(rest));
        destination.set_mode(OperatorMode::Open);
        assert_eq!(permits(&destination, now), 1);
        assert_eq!(credits(&destination), 2);
    }
}

fn credits(destination: &Destination) -> usize {
    let DestinationState::Flowing {
        ramp: Ramp::Rising { credits, .. },
        ..
    } = destination.state()
    else {
        panic!("{destination:?}")
    };
    credits
}

/// A panic before or after the request was sent neither leaks a permit nor returns a permit twice.
#[test]
fn a_panicking_task_neither_leaks_nor_doubles_a_permit() {
    enum PanicAt {
        Start,
        Call,
        Settlement,
    }
    for (panic_at, tokens, credits_left) in [
        (PanicAt::Start, 1, 2),
        (PanicAt::Call, 0, 2),
        // The update uses one place of the ramp, and the answer adds two places.
        (PanicAt::Settlement, 0, 3),
    ] {
        let (mut core, destination) = core_at(Rate::PerSecond(1.0), 1);
        recovered(&destination);
        let now = later(2);
        let ids = claimed(&mut core, now, vec![lane(1)]);
        match panic_at {
            PanicAt::Start => {}
            PanicAt::Call => assert!(is_call(&core.start(ids[0], moment(now)))),
            PanicAt::Settlement => {
                assert!(is_call(&core.start(ids[0], moment(now))));
                settled(core.on_answer(ids[0], applied(), moment(now)));
            }
        }
        let settlement = settled(core.on_lost(ids[0], moment(now)));
        assert_eq!(permits(&destination, now), tokens);
        assert_eq!(credits(&destination), credits_left);
        assert!(
            core.on_settled(ids[0], Settled::Recorded)
                .is_some_and(|recorded| *recorded == settlement)
        );
        assert_eq!(core.deliveries(), 0);
        assert_eq!(
            max_claim(&polled(&mut core, moment(later(9)))),
            1,
            "a request may be in flight"
        );
        core.on_claimed(claim(vec![lane(2)]), later(9));
        assert_eq!(started(&mut core).len(), 1);
    }
}

#[test]
fn a_lane_whose_task_panicked_rests_and_what_it_sent_is_in_doubt() {
    let (mut core, _) = core_at(Rate::Unlimited, 4);
    let ids = claimed(&mut core, NOW, vec![lane(1), lane(2), unidentified_lane(3)]);
    let before = settled(core.on_lost(ids[0], moment(NOW)));
    assert!(is_call(&core.start(ids[1], moment(NOW))));
    let after = settled(core.on_lost(ids[1], moment(NOW)));
    assert!(is_call(&core.start(ids[2], moment(NOW))));
    let searched = settled(core.on_lost(ids[2], moment(NOW)));
    for settlement in [&before, &after, &searched] {
        assert!(settlement.due > NOW && settlement.endings.is_empty());
        assert_eq!(
            (settlement.trials.failures, settlement.trials.attempts),
            (1, 0)
        );
    }
    assert_eq!((before.versions, before.attempted.len()), (None, 0));
    assert_eq!((searched.versions, searched.attempted.len()), (None, 0));
    assert_eq!(after.attempted, [EntryId(2)]);
    let newer = ClaimedLane {
        versions: after.versions.unwrap(),
        ..lane(2)
    };
    assert_ne!(newer.versions, crate::fold::LaneVersions::default());
}

/// A panic before the request was sent keeps the reassertion of the lane, the doubt that an earlier process left, and
/// the sending of entries one by one.
#[test]
fn a_panic_leaves_what_the_lane_must_remember() {
    let (mut core, _) = core_at(Rate::Unlimited, 4);
    let id = claimed(&mut core, NOW, vec![lane(1)])[0];
    assert!(is_call(&core.start(id, moment(NOW))));
    let unanswered = settled(core.on_lost(id, moment(NOW))).versions.unwrap();
    let newer = ClaimedLane {
        versions: unanswered,
        ..lane(2)
    };
    let id = claimed(&mut core, NOW, vec![newer])[0];
    assert!(is_call(&core.start(id, moment(NOW))));
    let delivered = settled(core.on_answer(id, applied(), moment(NOW)));
    let in_doubt = delivered.versions.unwrap();
    let reassert_at = in_doubt.reassert_at();
    assert!(reassert_at.is_some());
    let lanes = vec![
        ClaimedLane {
            versions: in_doubt,
            waiting: Vec::new(),
            unfold_to: Some(EntryId(7)),
            ..lane(2)
        },
        ClaimedLane {
            maybe_sent: MaybeSent::Entries(EntryId(9)),
            ..lane(3)
        },
    ];
    let ids = claimed(&mut core, NOW, lanes);
    let kept = settled(core.on_lost(ids[0], moment(NOW)));
    assert_eq!(kept.reassert_at, reassert_at.map(|at| at.max(kept.due)));
    assert_eq!((kept.unfold_to, kept.versions), (Some(EntryId(7)), None));
    let doubted = settled(core.on_lost(ids[1], moment(NOW)));
    assert_ne!(
        doubted.versions.unwrap(),
        crate::fold::LaneVersions::default()
    );
}

#[test]
fn a_lost_settlement_is_made_again_as_it_was() {
    let (mut core, _) = core_at(Rate::Unlimited, 1);
    let ids = claimed(&mut core, NOW, vec![lane(1)]);
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    let settlement = settled(core.on_answer(ids[0], applied(), moment(NOW)));
    assert_eq!(settled(core.on_lost(ids[0], moment(later(5)))), settlement);
}

// === follow-up calls ===

#[test]
fn a_call_that_follows_from_an_answer_waits_for_a_token_in_its_place() {
    let (mut core, _) = core_at(Rate::PerSecond(1.0), 1);
    let ids = claimed(&mut core, NOW, vec![lane(1)]);
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    let unclear = ImprintReply::Outcome(Outcome::Unclear(Cause::Status(403)));
    let action = core.on_answer(ids[0], unclear, moment(NOW));
    let LaneAction::SleepUntil(token_at) = action else {
        panic!("{action:?}")
    };
    assert!(token_at > NOW);
    let too_early = core.resume(ids[0], moment(NOW));
    assert!(matches!(too_early, LaneAction::SleepUntil(at) if at == token_at));
    let action = core.resume(ids[0], moment(token_at));
    let is_retrieve = matches!(
        &action,
        LaneAction::Call {
            call: ImprintCall::Retrieve(_),
            entries: 1,
            ..
        }
    );
    assert!(is_retrieve, "{action:?}");
    let gone = ImprintReply::Lookup(LookupResult::NotFound);
    let settlement = settled(core.on_answer(ids[0], gone, moment(token_at)));
    assert!(settlement.unproven.absence.is_some());
    assert!(settlement.endings.is_empty(), "nothing proves the answer");
}

/// FAULTS N313, U34, V4: shadow mode, a pause or a wait that Imprint asked for begins between an update and the update
/// that empties an address line: the second update is not sent, and the values of the first update are recorded.
#[test]
fn an_update_of_empty_lines_is_not_sent_in_shadow_mode_or_during_a_pause_or_a_wait() {
    let line = Field::parse("street_line2").unwrap();
    let mut clearing = lane(1);
    let update = &mut clearing.waiting[0].update;
    update.insert(line.clone(), FieldValue::Cleared);
    for (reason, due) in [
        ("shadow", later(60)),
        ("paused", NOW),
        ("throttled", NOW),
        ("open", NOW),
    ] {
        let (mut core, destination) = core_at(Rate::Unlimited, 1);
        let ids = claimed(&mut core, NOW, vec![clearing.clone()]);
        assert!(is_call(&core.start(ids[0], moment(NOW))));
        if reason == "throttled" {
            destination.wait_until(later(5));
        } else {
            destination.set_mode(OperatorMode::parse(reason).unwrap());
        }
        let echo = Echo {
            still_set: vec![line.clone()],
            ..Echo::default()
        };
        let still_there = ImprintReply::Outcome(Outcome::Applied(echo));
        let action = core.on_answer(ids[0], still_there, moment(NOW));
        if reason == "open" {
            assert!(is_call(&action));
            continue;
        }
        let settlement = settled(action);
        assert_eq!(settlement.endings, [], "{reason}: the line is not cleared");
        assert_eq!(settlement.due, due, "{reason}");
        let mut again = clearing.clone();
        again.versions = settlement.versions.unwrap();
        let (mut core, _) = core_at(Rate::Unlimited, 1);
        let ids = claimed(&mut core, NOW, vec![again]);
        let LaneAction::Call {
            call: ImprintCall::Update(request),
            ..
        } = core.start(ids[0], moment(NOW))
        else {
            panic!("the line is sent")
        };
        let sent = serde_json::Value::Object(request.body.to_object());
        assert_eq!(sent, json!({"street_line2": ""}), "{reason}");
    }
}

/// FAULTS U51: the lane of an unknown customer asks Imprint again until evidence proves the first answer. A proven
/// answer finishes the entries without a further request.
#[test]
fn a_lane_asks_again_about_its_customer_until_the_answer_is_proven() {
    let (mut core, destination) = core_at(Rate::Unlimited, 4);
    let absence = Absence {
        at: NOW,
        is_typed: true,
        by_search: false,
        by_id: true,
        key: KeyMark::default(),
    };
    let waits = |id| ClaimedLane {
        unproven: Unproven {
            since: Some(NOW),
            absence: Some(absence),
        },
        ..lane(id)
    };
    let ids = claimed(&mut core, NOW, vec![waits(1), waits(2)]);
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    let not_found = ImprintReply::Outcome(Outcome::NotFound);
    let again = result(core.on_answer(ids[0], not_found, moment(NOW)));
    assert!(again.report.unwrap().is_unproven);
    assert!(again.settlement.endings.is_empty());
    let permit = destination.acquire(1, NOW).unwrap().take_one().unwrap();
    permit.assess(answer(9, Signal::Applied), moment(NOW));
    let settlement = settled(core.start(ids[1], moment(NOW)));
    assert_eq!(settlement.endings.len(), 1);
}

/// Uses up the token of the search share, by the search of another lane.
fn search(destination: &Arc<Destination>, now: Timestamp) {
    let mut permit = destination.acquire(1, now).unwrap().take_one().unwrap();
    permit.name_sources(vec![SourceName::parse("crm").unwrap()]);
    let call = ImprintCall::Search(PartnerCustomerId::parse("P-9").unwrap());
    assert_eq!(permit.clear(LaneId(9), &call, now), Clearance::Send);
}

/// A search without a token of its share frees its lane, and frees the place in the ramp that the answered update used.
/// The search returns its token of the rate.
#[test]
fn a_postponed_search_returns_the_place_of_its_update() {
    let (mut core, destination) = core_at(Rate::PerSecond(10.0), 1);
    recovered(&destination);
    let mut by_partner = lane(1);
    let partner = PartnerCustomerId::parse("P-1").unwrap();
    by_partner.waiting[0].customer = CustomerRef::Partner(partner.clone());
    by_partner.links = vec![IdentityLink {
        partner,
        imprint: Some(ImprintId::parse("CUST-1").unwrap()),
        confirmed_at: NOW,
    }];
    search(&destination, later(2));
    let now = later(2).after(Duration::from_millis(101));
    let ids = claimed(&mut core, now, vec![by_partner]);
    assert!(is_call(&core.start(ids[0], moment(now))));
    assert_eq!(credits(&destination), 1);
    let not_found = ImprintReply::Outcome(Outcome::NotFound);
    let waits = core.on_answer(ids[0], not_found, moment(now));
    let token_at = now.after(Duration::from_millis(101));
    assert!(
        matches!(waits, LaneAction::SleepUntil(at) if at == token_at),
        "{waits:?}"
    );
    let settlement = settled(core.resume(ids[0], moment(token_at)));
    assert!(settlement.due > token_at && settlement.endings.is_empty());
    assert_eq!(credits(&destination), 2);
    assert_eq!(
        permits(&destination, token_at),
        1,
        "the search returned its token"
    );
}

/// A search that finds a token of its share, but no token of the rate, waits for this token. The lane does not begin
/// again with its update, because the updates of a few lanes could use all tokens for ever.
#[test]
fn a_search_waits_for_a_token_of_the_rate() {
    let (mut core, _) = core_at(Rate::PerSecond(10.0), 1);
    let ids = claimed(&mut core, NOW, vec![lane_of_both_ids(1)]);
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    let not_found = ImprintReply::Outcome(Outcome::NotFound);
    let next = NOW.after(Duration::from_millis(101));
    let waits = core.on_answer(ids[0], not_found, moment(NOW));
    assert!(
        matches!(waits, LaneAction::SleepUntil(at) if at == next),
        "{waits:?}"
    );
    let action = core.resume(ids[0], moment(next));
    assert!(matches!(
        action,
        LaneAction::Call {
            call: ImprintCall::Search(_),
            ..
        }
    ));
}

/// FAULTS N302: a search that waits for a token of the rate takes no token of its share before. Otherwise the wait would
/// cost the turn of its source while a search of another source waits, and the lane would begin again with its update.
#[test]
fn a_search_that_waits_for_the_rate_keeps_the_turn_of_its_source() {
    let (mut core, destination) = core_at(Rate::PerSecond(10.0), 1);
    search(&destination, NOW);
    let soon = NOW.after(Duration::from_millis(101));
    let mut other = destination.acquire(1, soon).unwrap().take_one().unwrap();
    other.name_sources(vec![SourceName::parse("crm").unwrap()]);
    let call = ImprintCall::Search(PartnerCustomerId::parse("P-8").unwrap());
    let postponed = other.clear(LaneId(8), &call, soon);
    assert!(matches!(postponed, Clearance::Postpone(_)), "{postponed:?}");
    drop(other);
    let now = NOW.after(Duration::from_millis(600));
    let mut of_shop = lane_of_both_ids(1);
    of_shop.waiting[0].source = SourceName::parse("shop").unwrap();
    let ids = claimed(&mut core, now, vec![of_shop]);
    assert!(is_call(&core.start(ids[0], moment(now))));
    let not_found = ImprintReply::Outcome(Outcome::NotFound);
    let LaneAction::SleepUntil(next) = core.on_answer(ids[0], not_found, moment(now)) else {
        panic!("the search did not wait");
    };
    let action = core.resume(ids[0], moment(next));
    assert!(
        matches!(
            action,
            LaneAction::Call {
                call: ImprintCall::Search(_),
                ..
            }
        ),
        "{action:?}"
    );
}

/// Returns a claimed lane with one entry, whose event names both ids.
fn lane_of_both_ids(id: u64) -> ClaimedLane {
    let mut claimed = lane(id);
    claimed.waiting[0].customer = CustomerRef::Pair {
        imprint: ImprintId::parse(&format!("CUST-{id}")).unwrap(),
        partner: PartnerCustomerId::parse(&format!("P-{id}")).unwrap(),
    };
    claimed
}

/// FAULTS U58: the API key of another program gets a typed 404 for an update, and then the operator replaces the key.
/// The search that completes the answer is not sent under the new key, and nobody remembers the answer: both answers
/// together would prove that the customer does not exist.
#[test]
fn an_answer_to_an_old_key_is_not_completed_under_a_new_key() {
    let (mut core, destination) = core_at(Rate::Unlimited, 4);
    let remembered = ClaimedLane {
        is_gone: true,
        ..lane_of_both_ids(2)
    };
    let ids = claimed(&mut core, NOW, vec![lane_of_both_ids(1), remembered]);
    assert!(is_call(&core.start(ids[0], moment(NOW))));
    destination.key_changed(KeyMark(7), later(1));
    let not_found = ImprintReply::Outcome(Outcome::NotFound);
    let answered = core.on_answer(ids[0], not_found, moment(later(2)));
    let from_memory = core.start(ids[1], moment(later(2)));
    for action in [answered, from_memory] {
        let settlement = settled(action);
        assert_eq!(settlement.recognition, Recognition::Unchanged);
        assert_eq!((settlement.endings.len(), settlement.due), (0, later(2)));
        assert_eq!(settlement.unproven.absence, None);
    }
}

/// FAULTS U58: the store refuses the settlement of a lane whose customer is gone, and the API key may change meanwhile.
#[test]
fn a_settlement_that_is_repeated_under_a_new_key_forgets_that_the_customer_is_gone() {
    let (mut core, destination) = core_at(Rate::PerSecond(10.0), 1);
    search(&destination, NOW);
    let now = NOW.after(Duration::from_millis(101));
    let ids = claimed(&mut core, now, vec![lane_of_both_ids(1)]);
    assert!(is_call(&core.start(ids[0], moment(now))));
    let not_found = ImprintReply::Outcome(Outcome::NotFound);
    let LaneAction::SleepUntil(token_at) = core.on_answer(ids[0], not_found, moment(now)) else {
        panic!("the search did not wait for a token of the rate");
    };
    let postponed = settled(core.resume(ids[0], moment(token_at)));
    assert_eq!(postponed.recognition, Recognition::Gone);
    let repeated = settled(core.resume(ids[0], moment(later(1))));
    assert_eq!(repeated, postponed);
    destination.key_changed(KeyMark(7), later(2));
    let repeated = settled(core.resume(ids[0], moment(later(3))));
    let expected = Settlement {
        recognition: Recognition::Unchanged,
        ..postponed
    };
    assert_eq!(repeated, expected);
}

// === reports ===

#[test]
fn a_settlement_says_what_happened_to_the_destination() {
    let (mut core, destination) = core_at(Rate::Unlimited, 4);
    let ids = claimed(&mut core, NOW, vec![lane(1), lane(2), lane(3), lane(5)]);
    let mut concluded = |id: DeliveryId, outcome, now| {
        assert!(is_call(&core.start(id, moment(now))));
        let reply = ImprintReply::Outcome(outcome);
        let result = result(core.on_answer(id, reply, moment(now)));
        (result.report.unwrap(), result.change)
    };
    let throttled = || Outcome::Throttled(Some(Duration::from_secs(5)));
    let (report, change) = concluded(ids[3], throttled(), NOW);
    assert_eq!((change, report.outcome), (None, "throttled"));
    let (report, change) = concluded(ids[0], throttled(), NOW);
    assert_eq!(change, Some(DestinationChange::Throttled(later(5))));
    assert_eq!(
        (
            report.lane,
            report.outcome,
            report.entries,
            report.delivered
        ),
        (LaneId(1), "throttled", 1, None)
    );
    let states = report.states.map(|(from, to)| (from.as_str(), to.as_str()));
    assert_eq!(states, Some(("flowing", "throttled")));
    let echo = Echo {
        mismatches: vec![crate::imprint::FieldGroup::Email],
        ..Echo::default()
    };
    let (report, change) = concluded(ids[1], Outcome::Applied(echo), later(6));
    assert_eq!((change, report.cause.as_str()), (None, ""));
    let delivered = report.delivered.unwrap();
    assert_eq!(
        (
            delivered.reasserted,
            delivered.ties,
            delivered.differs.len()
        ),
        (0, 0, 1)
    );
    let denied = Outcome::Denied(Cause::Status(401));
    let (report, change) = concluded(ids[2], denied, later(7));
    assert_eq!(
        (change, report.outcome, report.cause.as_str()),
        (None, "denied", "status_401")
    );
    // One lane does not stop the destination; the witness, the customer of lane 2, decides.
    assert_eq!(destination.state().as_str(), "flowing");
    let LoopAction::AskWitness(inquiry) = polled(&mut core, moment(later(7))) else {
        panic!("the witness is asked")
    };
    assert_eq!(inquiry.customer().as_str(), "CUST-2");
    let found = LookupResult::Failed(Outcome::Denied(Cause::Status(401)));
    let ((before, after), change) = conclude_inquiry(inquiry, &found, moment(later(8)));
    assert_eq!((before.as_str(), after.as_str()), ("flowing", "stopped"));
    assert_eq!(change, None);
    let later = later(60);
    let ids = claimed(&mut core, later, vec![lane(4)]);
    assert!(is_call(&core.start(ids[0], moment(later))));
    let action = core.on_answer(ids[0], applied(), moment(later));
    let recovered = Some(DestinationChange::Recovered);
    assert_eq!(result(action).change, recovered);
}

#[test]
fn a_report_says_whether_the_cause_is_unproven() {
    let (mut core, _) = core_at(Rate::Unlimited, 4);
    let ids = claimed(&mut core, NOW, vec![lane(1), lane(2), lane(3)]);
    let throttled = || Outcome::Throttled(None);
    for (id, outcome, is_unproven) in [
        (ids[0], throttled(), true),
        // The second lane proves that the destination is the cause.
        (ids[1], throttled(), false),
        (ids[2], Outcome::Applied(Echo::default()), false),
    ] {
        let now = later(10 * id.0);
        assert!(is_call(&core.start(id, moment(now))));
        let action = core.on_answer(id, ImprintReply::Outcome(outcome), moment(now));
        assert_eq!(result(action).report.unwrap().is_unproven, is_unproven);
    }
}

#[test]
fn a_delivery_that_sent_nothing_reports_no_state() {
    let (mut core, _) = core_at(Rate::Unlimited, 4);
    let ids = claimed(&mut core, NOW, vec![idle_lane(1)]);
    let result = result(core.start(ids[0], moment(NOW)));
    let report = result.report.unwrap();
    assert_eq!(
        (report.states, report.outcome, report.entries),
        (None, "nothing", 0)
    );
    assert_eq!(result.change, None);
}

#[test]
fn jitter_is_a_fraction_below_one() {
    let jitter = |random| Moment { now: NOW, random }.jitter();
    assert_eq!(jitter(0), 0.0);
    assert_eq!(jitter(1 << 31), 0.5);
    assert!(jitter(u32::MAX) < 1.0);
}

// === one hour of failures ===

/// FAULTS N25, U11, U43: when the destination fails in any way for all lanes for an hour, no entry parks and no attempt
/// is counted.
#[test]
fn an_hour_of_trouble_for_everybody_parks_nothing() {
    let troubles: [fn() -> Outcome; 4] = [
        || Outcome::Unknown(Cause::Deadline),
        || Outcome::Unavailable(Cause::Status(503)),
        || Outcome::Throttled(Some(Duration::from_secs(1))),
        || Outcome::Denied(Cause::Status(401)),
    ];
    for trouble in troubles {
        let (mut core, _) = core_at(Rate::PerSecond(50.0), 1);
        let mut lanes: Vec<(Timestamp, Trials)> = vec![(NOW, Trials::default()); 200];
        let mut requests = 0;
        for tenth in 0..36_000 {
            let now = NOW.after(Duration::from_millis(tenth * 100));
            let Some(number) = lanes.iter().position(|(due, _)| *due <= now) else {
                continue;
            };
            if max_claim(&polled(&mut core, moment(now))) == 0 {
                continue;
            }
            requests += 1;
            let id = u64::try_from(number).unwrap();
            let claimed_lane = ClaimedLane {
                trials: lanes[number].1,
                ..lane(id)
            };
            core.on_claimed(claim(vec![claimed_lane]), now);
            let delivery = core.next_start().unwrap();
            assert!(is_call(&core.start(delivery, moment(now))));
            let reply = ImprintReply::Outcome(trouble());
            let settlement = settled(core.on_answer(delivery, reply, moment(now)));
            assert_eq!(settlement.trials.attempts, 0, "{:?}", trouble());
            assert_eq!(settlement.endings, []);
            lanes[number] = (settlement.due, settlement.trials);
            core.on_settled(delivery, Settled::Recorded);
        }
        assert!(
            requests < 3700,
            "{requests} requests that were {:?}",
            trouble()
        );
    }
}

/// FAULTS N1002: with a shared rate limit, the core orders tokens only after it has found a due lane.
#[test]
fn with_a_shared_rate_the_core_looks_for_due_lanes_before_it_orders_tokens() {
    let (mut core, destination) = core_at(Rate::PerSecond(20.0), 4);
    destination.share();
    let claims = |core: &mut Core| match core.poll(moment(NOW)) {
        LoopAction::Claim { max, .. } => Some(max),
        LoopAction::AskWitness(_) | LoopAction::SaveEvidence(_) | LoopAction::SleepUntil(_) => None,
    };
    assert_eq!(claims(&mut core), Some(0), "a look");
    assert_eq!(claims(&mut core), None, "the look is in progress");
    assert_eq!(
        core.on_claimed(Claim::default(), NOW),
        NOW.after(POLL_EVERY)
    );
    assert_eq!(destination.order(NOW), None, "no lane is due");
    assert_eq!(claims(&mut core), Some(0));
    let due = Claim {
        next_due: Some(NOW),
        ..Claim::default()
    };
    assert_eq!(core.on_claimed(due, NOW), NOW);
    assert_eq!(claims(&mut core), None, "no token is in hand");
    let order = destination.order(NOW).unwrap();
    assert!((order.wanted - 4.0).abs() < f64::EPSILON, "{order:?}");
    let grant = crate::outbox::TokenGrant {
        count: 2,
        left: 0.0,
    };
    destination.ordered(order, grant, (NOW, NOW));
    assert_eq!(claims(&mut core), Some(2));
    core.on_claimed(claim(vec![lane(1)]), NOW);
    assert_eq!(claims(&mut core), Some(0), "the store has no more lanes");
}

/// FAULTS N1002: with a shared rate limit, a look that finds no due lane ends with a wait: for the next due lane, or for a
/// probe that is not due yet.
#[test]
fn a_look_that_finds_no_due_lane_ends_with_a_wait() {
    let check = |seconds: u64, next_due: Option<u64>, expected: Timestamp| {
        let (mut core, destination) = core_at(Rate::PerSecond(1_000.0), 4);
        stopped(&destination, NOW);
        destination.share();
        let now = later(seconds);
        let action = polled(&mut core, moment(now));
        assert!(matches!(action, LoopAction::Claim { max: 0, .. }));
        let claim = Claim {
            next_due: next_due.map(later),
            ..Claim::default()
        };
        assert_eq!(core.on_claimed(claim, now), expected, "{seconds}");
    };
    check(2, Some(90), later(30));
    check(2, Some(10), later(10));
    check(40, Some(90), later(90));
    check(40, None, later(40).after(POLL_EVERY));
}

/// FAULTS N1002: with a shared rate limit, failing lanes that wait for a place do not make the core claim again and again.
#[test]
fn with_a_shared_rate_failing_lanes_that_wait_cause_no_busy_claims() {
    let (mut core, destination) = core_at(Rate::PerSecond(4.0), 4);
    destination.share();
    let due = Claim {
        next_due: Some(NOW),
        ..Claim::default()
    };
    assert!(matches!(core.poll(moment(NOW)), LoopAction::Claim { .. }));
    core.on_claimed(due, NOW);
    assert!(matches!(core.poll(moment(NOW)), LoopAction::SleepUntil(_)));
    let order = destination.order(NOW).unwrap();
    let grant = crate::outbox::TokenGrant {
        count: 4,
        left: 9.0,
    };
    destination.ordered(order, grant, (NOW, NOW));
    assert!(matches!(core.poll(moment(NOW)), LoopAction::Claim { .. }));
    let left = Claim {
        is_failing_left: true,
        ..Claim::default()
    };
    let soon = NOW.after(Duration::from_millis(10));
    assert_eq!(core.on_claimed(left, soon), soon.after(POLL_EVERY));
}

/// FAULTS N1006: if the dispatcher does not send a request because the claim has possibly ended, the settlement leaves no
/// value in doubt.
#[test]
fn a_request_that_was_not_sent_is_not_in_doubt() {
    let (mut core, _destination) = core_at(Rate::Unlimited, 4);
    let ids = claimed(&mut core, NOW, vec![lane(1)]);
    let LaneAction::Call { call, claim, .. } = core.start(ids[0], moment(NOW)) else {
        panic!("no call");
    };
    assert_eq!(claim, ClaimToken::default());
    assert!(matches!(call, ImprintCall::Update(_)), "{call:?}");
    let action = core.on_claim_ended(ids[0], true, moment(NOW));
    let LaneAction::Settle(result) = action else {
        panic!("{action:?}");
    };
    assert_eq!(result.settlement.versions, None);
    assert_eq!(result.settlement.attempted, []);
    assert_eq!(result.settlement.endings, []);
}
