//! T5, T2, T14: the real program, killed again and again under load, and judged from outside.
//!
//! The sandbox and the ledger of what is owed live in this process; only the bridge dies. Senders repeat what was not
//! answered, as a CRM would. In the end [`oracle`] compares what was answered 2xx with the receipts and with what
//! Imprint received and holds (V1 to V4). That the oracle detects loss is shown twice: by its own tests, and by
//! failpoints that make the program break its promise (feature `failpoints`).

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::Duration;

use imprint_bridge::random;
use imprint_bridge::time::Clock;
use serde_json::{Value, json};

use self::bridge::{Bridge, CONCURRENCY, pause};
use self::event::{Event, imprint_id};
use self::http::Client;
use self::imprint::Imprint;
use self::load::{Chance, Obligations, Sender};
use self::oracle::{Call, Evidence, judge};
use self::verdict::{Report, Violation};

pub(crate) mod bridge;
mod event;
pub(crate) mod http;
pub(crate) mod imprint;
mod load;
mod oracle;
mod verdict;

/// How many lives the random test takes: a few always, N1's thousand when everything is asked for.
const LIVES: u64 = 20;
const LIVES_FULL: u64 = 1_000;
/// How often a long run says how far it is.
const PROGRESS_EVERY: usize = 50;
/// V8: how long after the last fault everything may still wait; backoffs of a few failures in a row are in it.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);
/// How long a process that was told to crash may take to come to that point.
const CRASHED_WITHIN: Duration = Duration::from_secs(20);
const SENDERS: u64 = 4;
const CUSTOMERS: usize = 40;

/// P01, P03, P05 to P09, P20, D20, N1: whatever a random moment hits.
#[test]
fn nothing_is_lost_over_random_kills() {
    let lives = if is_full() { LIVES_FULL } else { LIVES };
    let report = passes(&Plan::new(
        (0..lives).map(|_| End::Killed(5..=400)).collect(),
    ));
    assert_eq!(report.kills, lives);
    assert!(report.acks > lives, "a kill under no load proves nothing");
}

#[cfg(feature = "failpoints")]
mod detects_loss {
    use super::*;

    /// How often a point is passed before the process ends there.
    const HITS: [u32; 4] = [1, 6, 25, 60];

    fn sound(point: &str) {
        let crash = |hit| End::Crashed(format!("crash:{point}:{hit}"));
        let report = passes(&Plan::new(HITS.into_iter().map(crash).collect()));
        assert_eq!(report.kills, 4);
    }

    /// P02: nothing was promised; the sender comes again.
    #[test]
    fn a_crash_before_the_commit_loses_nothing() {
        sound("before_commit");
    }

    /// P04: the sender comes again, and is recognised.
    #[test]
    fn a_crash_before_the_answer_keeps_one_of_each() {
        sound("after_commit_before_answer");
    }

    /// P06: the claim dies with the process.
    #[test]
    fn a_crash_before_the_request_sends_it_later() {
        sound("after_claim_before_request");
    }

    /// P07, P08: it is sent once more.
    #[test]
    fn a_crash_before_the_settlement_sends_once_more() {
        sound("after_request_before_settle");
    }

    #[test]
    fn a_crash_after_the_settlement_loses_nothing() {
        sound("after_settle");
    }

    /// T14: an answer that goes out before the commit.
    #[test]
    fn an_answer_before_the_commit_is_found_out() {
        let crash = |hit| End::Crashed(format!("answer_before_commit,crash:before_commit:{hit}"));
        is_lost(&Plan::new([5, 12, 30, 31, 32, 33].map(crash).into()));
    }

    /// T14: a request that failed, and is taken for delivered.
    #[test]
    fn a_forgotten_request_is_found_out() {
        let life = || End::FaultyThenKilled("assume_applied", 200..=300);
        is_lost(&Plan {
            faults: json!([{"rate": 0.3, "action": {"status": 503}}]),
            ..Plan::new(vec![life(), life(), life()])
        });
    }

    fn is_lost(plan: &Plan) {
        match run(plan) {
            Err(Violation::Lost { .. }) => {}
            other => panic!("seed {}: {other:?}", plan.seed),
        }
    }
}

/// What a run is to do.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    lives: Vec<End>,
    faults: Value,
}

/// How one life of the process ends.
#[derive(Clone, Debug)]
enum End {
    /// By `kill -9`, so many milliseconds after it was ready.
    Killed(RangeInclusive<u64>),
    /// By itself, where it was told to.
    #[cfg_attr(
        not(feature = "failpoints"),
        expect(dead_code, reason = "only failpoints do it")
    )]
    Crashed(String),
    /// By `kill -9`, after it has done wrong for a while.
    #[cfg_attr(
        not(feature = "failpoints"),
        expect(dead_code, reason = "only failpoints do it")
    )]
    FaultyThenKilled(&'static str, RangeInclusive<u64>),
}

impl Plan {
    /// These lives, at an Imprint that is a little slow, sometimes down, and sometimes does not say what it did.
    fn new(lives: Vec<End>) -> Self {
        Self {
            seed: seed(),
            lives,
            faults: json!([
                {"rate": 0.1, "action": {"latency_ms": 12, "after": "apply"}},
                {"rate": 0.03, "action": {"status": 503}},
                {"rate": 0.02, "action": {"reset": true}},
                {"rate": 0.02, "action": {"reset": true, "after": "apply"}},
                {"rate": 0.01, "action": {"status": 500, "after": "apply"}},
            ]),
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are what the test is run for"
)]
fn passes(plan: &Plan) -> Report {
    match run(plan) {
        Ok(report) => {
            println!("{report}");
            report
        }
        Err(violation) => panic!("IMPRINT_BRIDGE_TEST_SEED={}: {violation}", plan.seed),
    }
}

/// Lets a bridge live and die as planned, under load, then heals the world and judges.
fn run(plan: &Plan) -> Result<Report, Violation> {
    let imprint = Imprint::start(Duration::from_millis(2), plan.seed, &plan.faults);
    let bridge = Bridge::prepare(imprint.address);
    let obligations = Obligations::new(CUSTOMERS);
    let stop = AtomicBool::new(false);
    let (life, slowest_start) = std::thread::scope(|scope| {
        let senders = start_senders(scope, plan, &bridge, &obligations, &stop);
        let lived = live(plan, &bridge, &stop);
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.join().unwrap()?;
        }
        lived
    })?;
    imprint.sandbox.clear_faults();
    Sender::new(&obligations, bridge.ingress, plan.seed).insist()?;
    drain(&bridge)?;
    let evidence = look(plan, &bridge, &imprint, &obligations)?;
    life.kill();
    Ok(Report {
        seed: plan.seed,
        kills: evidence.kills,
        acks: obligations.acks.load(Ordering::Relaxed),
        retries: obligations.retries.load(Ordering::Relaxed),
        events: evidence.receipts.len(),
        requests: evidence.calls.len(),
        counts: judge(&evidence)?,
        slowest_start,
    })
}

type Sending<'scope> = std::thread::ScopedJoinHandle<'scope, Result<(), Violation>>;

/// A sender that has found a violation ends the run.
fn start_senders<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    plan: &Plan,
    bridge: &Bridge,
    obligations: &'env Obligations,
    stop: &'env AtomicBool,
) -> Vec<Sending<'scope>> {
    let start = |number: u64| {
        let mut sender = Sender::new(obligations, bridge.ingress, plan.seed.wrapping_add(number));
        scope.spawn(move || {
            sender
                .run(stop)
                .inspect_err(|_violation| stop.store(true, Ordering::Relaxed))
        })
    };
    (1..=SENDERS).map(start).collect()
}

/// One life after the other; the last one stays.
#[expect(clippy::print_stdout, reason = "a long run says how far it is")]
fn live(
    plan: &Plan,
    bridge: &Bridge,
    stop: &AtomicBool,
) -> Result<(bridge::Life, Duration), Violation> {
    let clock = Clock::machine();
    let started = clock.now();
    let mut chance = Chance(plan.seed);
    let mut slowest = Duration::ZERO;
    for (number, end) in plan.lives.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if number > 0 && number.is_multiple_of(PROGRESS_EVERY) {
            println!("{number} kills in {:?}", clock.now().since(started));
        }
        let failpoints = match end {
            End::Killed(_) => "",
            End::Crashed(failpoints) => failpoints,
            End::FaultyThenKilled(failpoints, _) => failpoints,
        };
        let mut life = bridge.start(failpoints)?;
        slowest = slowest.max(life.start);
        match end {
            End::Killed(span) | End::FaultyThenKilled(_, span) => {
                let width = span.end() - span.start();
                pause(Duration::from_millis(span.start() + chance.up_to(width)));
            }
            End::Crashed(failpoints) if life.until_it_ends(CRASHED_WITHIN).is_none() => {
                let failpoints = failpoints.clone();
                return Err(Violation::NotCrashed { failpoints });
            }
            End::Crashed(_) => {}
        }
        life.kill();
    }
    let life = bridge.start("")?;
    slowest = slowest.max(life.start);
    Ok((life, slowest))
}

fn drain(bridge: &Bridge) -> Result<(), Violation> {
    let clock = Clock::machine();
    let deadline = clock.now().after(DRAINED_WITHIN);
    while !bridge.is_drained() {
        if clock.now() > deadline {
            return Err(Violation::NotDrained {
                log: bridge.log_tail(),
            });
        }
        pause(Duration::from_millis(20));
    }
    Ok(())
}

/// Gathers what can be seen from outside.
fn look(
    plan: &Plan,
    bridge: &Bridge,
    imprint: &Imprint,
    obligations: &Obligations,
) -> Result<Evidence, Violation> {
    let mut client = Client::new(bridge.ingress);
    let mut receipt = |event: Event| {
        let path = format!("/v1/sources/crm/events/{}", event.id());
        let answer = client.get(&path).unwrap();
        (answer.status == 200).then(|| answer.json())
    };
    let held = |customer: usize| {
        let described = imprint.sandbox.customer(&imprint_id(customer))?;
        let text = |field: &str| {
            let value = described.get("customer")?.get(field)?;
            value.as_str().map(str::to_owned)
        };
        Some((customer, (text("email"), text("first_name"))))
    };
    let calls = imprint.calls();
    Ok(Evidence {
        receipts: obligations
            .events()
            .keys()
            .map(|event| (*event, receipt(*event)))
            .collect(),
        calls: calls.iter().map(Call::read).collect::<Result<_, _>>()?,
        held: (0..CUSTOMERS).filter_map(held).collect(),
        kills: plan.lives.len().try_into().unwrap_or(u64::MAX),
        // Those that may be in flight, and half as many ahead of them.
        lanes: CONCURRENCY + CONCURRENCY / 2,
    })
}

/// Where chance starts: told by the environment to draw a run again, else anywhere.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
fn seed() -> u64 {
    let told = std::env::var("IMPRINT_BRIDGE_TEST_SEED").ok();
    told.map_or_else(
        || {
            let mut bytes = [0; 8];
            random::fill_random(&mut bytes).unwrap();
            u64::from_le_bytes(bytes) >> 32
        },
        |seed| seed.parse().unwrap(),
    )
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
pub(crate) fn is_full() -> bool {
    std::env::var("IMPRINT_BRIDGE_TEST_FULL").is_ok()
}
