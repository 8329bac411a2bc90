//! The kill test: kills the real program again and again under load, and checks the guarantees of the bridge from
//! outside.
//!
//! The kill tests run in real time, because no test can move the clock of another process. The moment of a kill must
//! not depend on the work of the program. FAULTS T2, T5, T14 describe the method.
//!
//! The sandbox, the senders and the list of acknowledged events live in the test process; only the bridge is killed.
//! The senders send every unanswered event again, as a CRM does. At the end, [`oracle`] compares the events that the
//! bridge answered with 2xx with their receipts, with the requests that Imprint received, and with the customers that
//! Imprint stores (FAULTS V1, V2, V3, V4). The oracle's own tests, and failpoints that make the program lose events
//! (feature `failpoints`), show that the oracle detects loss.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::Duration;

use imprint_bridge::random::{self, SeededRandom};
use imprint_bridge::time::Clock;
use serde_json::{Value, json};

use self::bridge::{Bridge, CONCURRENCY, ProcessRun, pause};
use self::event::{Event, imprint_id};
use self::http::Client;
use self::imprint::Imprint;
use self::load::{Sender, SentEvents};
use self::oracle::{Evidence, UpdateCall};
use self::report::{Report, Violation};
use crate::support::is_full_run;

pub(crate) mod bridge;
mod event;
pub(crate) mod http;
pub(crate) mod imprint;
mod load;
mod oracle;
mod report;

/// The number of random kills in a normal run of the tests.
const KILLS: u64 = 20;
/// FAULTS N1: the number of random kills in a full run of the tests.
const KILLS_FULL: u64 = 1_000;
/// The number of kills after which a long kill test prints its progress again.
const PROGRESS_EVERY: usize = 50;
/// FAULTS V8: the longest time from the last fault until no entry waits, including the backoff after a few failures.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// The longest time from the start of a bridge until the bridge crashes at its armed failpoint.
const CRASH_MAX: Duration = Duration::from_secs(20);
const SENDERS: u64 = 4;
const CUSTOMERS: usize = 40;

/// FAULTS P01, P03, P05, P06, P07, P08, P09, P20, D20, N1, N705: SIGKILL at random moments loses no event. The script
/// `tests/pod/run.py` runs this test with the limits of a pod too.
#[test]
fn random_kills_lose_no_event() {
    let kills = if is_full_run() { KILLS_FULL } else { KILLS };
    let kill = || RunEnd::Kill(5..=400);
    let report = assert_sound(&Plan::new((0..kills).map(|_| kill()).collect()));
    assert_eq!(report.kills, kills);
    assert!(
        report.acks > kills,
        "too little load: {} events accepted over {kills} kills",
        report.acks
    );
}

#[cfg(feature = "failpoints")]
mod detects_loss {
    use super::*;

    /// The passes of a failpoint that crash a process: the 1st pass in the first run, the 6th in the second run, and
    /// so on.
    const PASSES: [u32; 4] = [1, 6, 25, 60];

    fn assert_sound_after_crashes_at(point: &str) {
        let crash = |pass| RunEnd::Crash(format!("crash:{point}:{pass}"));
        let report = assert_sound(&Plan::new(PASSES.into_iter().map(crash).collect()));
        assert_eq!(report.kills, 4);
    }

    /// FAULTS P02: the sender gets no acknowledgement, and sends the event again.
    #[test]
    fn a_crash_before_the_commit_loses_nothing() {
        assert_sound_after_crashes_at("before_commit");
    }

    /// FAULTS P04: the sender sends the event again, and the bridge recognizes the duplicate.
    #[test]
    fn a_crash_before_the_answer_stores_the_event_once() {
        assert_sound_after_crashes_at("after_commit_before_answer");
    }

    /// FAULTS P06: a claim of a lane becomes void when the process ends.
    #[test]
    fn a_crash_before_the_request_sends_it_after_the_restart() {
        assert_sound_after_crashes_at("after_claim_before_request");
    }

    /// FAULTS P07, P08: the next process sends the request again.
    #[test]
    fn a_crash_before_the_settlement_sends_the_request_again() {
        assert_sound_after_crashes_at("after_request_before_settle");
    }

    #[test]
    fn a_crash_after_the_settlement_loses_nothing() {
        assert_sound_after_crashes_at("after_settle");
    }

    /// FAULTS T14: a failpoint makes the bridge answer 202 before the commit.
    #[test]
    fn an_answer_before_the_commit_is_reported_as_loss() {
        let crash =
            |pass| RunEnd::Crash(format!("answer_before_commit,crash:before_commit:{pass}"));
        assert_loss_reported(&Plan::new([5, 12, 30, 31, 32, 33].map(crash).into()));
    }

    /// FAULTS T14: a failpoint makes the bridge record a failed request as delivered.
    #[test]
    fn a_failed_request_taken_for_delivered_is_reported_as_loss() {
        let run = || RunEnd::FaultThenKill("assume_applied", 200..=300);
        assert_loss_reported(&Plan {
            faults: json!([{"rate": 0.3, "action": {"status": 503}}]),
            ..Plan::new(vec![run(), run(), run()])
        });
    }

    fn assert_loss_reported(plan: &Plan) {
        match execute(plan) {
            Err(Violation::Lost { .. }) => {}
            other => panic!("seed {}: no loss reported: {other:?}", plan.seed),
        }
    }
}

/// The plan of one kill test.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    /// The end of each process run, in the order of the runs. One more run delivers the remaining entries.
    run_ends: Vec<RunEnd>,
    /// The fault rules of the sandbox.
    faults: Value,
}

/// The end of one run of the bridge process.
#[derive(Clone, Debug)]
enum RunEnd {
    /// The test kills the process with SIGKILL at a random time after the start. The range is the time in milliseconds
    /// since the process was ready.
    Kill(RangeInclusive<u64>),
    /// The bridge process crashes at an armed failpoint.
    #[cfg_attr(
        not(feature = "failpoints"),
        expect(dead_code, reason = "only failpoints crash a process")
    )]
    Crash(String),
    /// The test arms this failpoint at the start, and kills the process with SIGKILL at a random time. The range is
    /// the time in milliseconds since the process was ready.
    #[cfg_attr(
        not(feature = "failpoints"),
        expect(dead_code, reason = "only failpoints make a process lose events")
    )]
    FaultThenKill(&'static str, RangeInclusive<u64>),
}

impl Plan {
    /// Creates a plan with these process runs and with a sandbox that is sometimes slow or down, or applies a request
    /// without answering.
    fn new(run_ends: Vec<RunEnd>) -> Self {
        Self {
            seed: seed(),
            run_ends,
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
    reason = "the printed figures are the result of the test"
)]
fn assert_sound(plan: &Plan) -> Report {
    match execute(plan) {
        Ok(report) => {
            println!("{report}");
            report
        }
        Err(violation) => panic!("IMPRINT_BRIDGE_TEST_SEED={}: {violation}", plan.seed),
    }
}

/// Executes a kill plan under load. After the last fault, waits until every entry has ended, and returns the oracle's
/// result.
fn execute(plan: &Plan) -> Result<Report, Violation> {
    let imprint = Imprint::start(Duration::from_millis(2), plan.seed, &plan.faults);
    let bridge = Bridge::prepare(imprint.address);
    let sent = SentEvents::new(CUSTOMERS);
    let stop = AtomicBool::new(false);
    let (last_run, slowest_start) = std::thread::scope(|scope| {
        let senders = start_senders(scope, plan, &bridge, &sent, &stop);
        let last_run = run_processes(plan, &bridge, &stop);
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.join().unwrap()?;
        }
        last_run
    })?;
    imprint.sandbox.clear_faults();
    Sender::new(&sent, bridge.ingress, plan.seed).resend_unanswered()?;
    wait_until_drained(&bridge)?;
    let evidence = collect_evidence(plan, &bridge, &imprint, &sent)?;
    last_run.kill();
    Ok(Report {
        seed: plan.seed,
        kills: evidence.kills,
        acks: sent.acks.load(Ordering::Relaxed),
        retries: sent.retries.load(Ordering::Relaxed),
        events: evidence.receipts.len(),
        requests: evidence.calls.len(),
        counts: oracle::check(&evidence)?,
        slowest_start,
    })
}

type SenderThread<'scope> = std::thread::ScopedJoinHandle<'scope, Result<(), Violation>>;

/// Starts the senders of the kill test. A sender that finds a violation ends the test.
fn start_senders<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    plan: &Plan,
    bridge: &Bridge,
    sent: &'env SentEvents,
    stop: &'env AtomicBool,
) -> Vec<SenderThread<'scope>> {
    let start = |number: u64| {
        let seed = plan.seed.wrapping_add(number);
        let mut sender = Sender::new(sent, bridge.ingress, seed);
        scope.spawn(move || {
            sender
                .send_until(stop)
                .inspect_err(|_violation| stop.store(true, Ordering::Relaxed))
        })
    };
    (1..=SENDERS).map(start).collect()
}

/// Runs the planned bridge processes one after the other, and starts one more. Returns the last process and the
/// longest time to ready.
#[expect(clippy::print_stdout, reason = "a long test prints its progress")]
fn run_processes(
    plan: &Plan,
    bridge: &Bridge,
    stop: &AtomicBool,
) -> Result<(ProcessRun, Duration), Violation> {
    let clock = Clock::machine();
    let started = clock.now();
    let mut random = SeededRandom::new(plan.seed);
    let mut slowest = Duration::ZERO;
    for (number, end) in plan.run_ends.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if number > 0 && number.is_multiple_of(PROGRESS_EVERY) {
            println!("{number} kills in {:?}", clock.now().since(started));
        }
        let failpoints = match end {
            RunEnd::Kill(_) => "",
            RunEnd::Crash(failpoints) => failpoints,
            RunEnd::FaultThenKill(failpoints, _) => failpoints,
        };
        let mut run = bridge.start(failpoints)?;
        slowest = slowest.max(run.time_to_ready);
        match end {
            RunEnd::Kill(span) | RunEnd::FaultThenKill(_, span) => {
                let width = span.end() - span.start();
                let millis = span.start() + random.below(width + 1);
                pause(Duration::from_millis(millis));
            }
            RunEnd::Crash(failpoints) if run.wait_for_exit(CRASH_MAX).is_none() => {
                let failpoints = failpoints.clone();
                return Err(Violation::NoCrash { failpoints });
            }
            RunEnd::Crash(_) => {}
        }
        run.kill();
    }
    let last_run = bridge.start("")?;
    slowest = slowest.max(last_run.time_to_ready);
    Ok((last_run, slowest))
}

fn wait_until_drained(bridge: &Bridge) -> Result<(), Violation> {
    let clock = Clock::machine();
    let deadline = clock.now().after(DRAIN_MAX);
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

/// Collects the evidence for the oracle: the receipts, and the requests and customers of the sandbox.
fn collect_evidence(
    plan: &Plan,
    bridge: &Bridge,
    imprint: &Imprint,
    sent: &SentEvents,
) -> Result<Evidence, Violation> {
    let mut client = Client::new(bridge.ingress);
    let mut receipt = |event: Event| {
        let path = format!("/v1/sources/crm/events/{}", event.id());
        let answer = client.get(&path).unwrap();
        (answer.status == 200).then(|| answer.json())
    };
    let stored = |customer: usize| {
        let found = imprint.sandbox.customer(&imprint_id(customer))?;
        let text = |field: &str| {
            let value = found.get("customer")?.get(field)?;
            value.as_str().map(str::to_owned)
        };
        Some((customer, (text("email"), text("first_name"))))
    };
    let calls = imprint.calls();
    Ok(Evidence {
        receipts: sent
            .events()
            .keys()
            .map(|event| (*event, receipt(*event)))
            .collect(),
        calls: UpdateCall::read_all(&calls)?,
        customers: (0..CUSTOMERS).filter_map(stored).collect(),
        kills: plan.run_ends.len().try_into().unwrap_or(u64::MAX),
        // A process holds the lanes in flight and half as many prefetched lanes.
        lanes: CONCURRENCY + CONCURRENCY / 2,
    })
}

/// Returns the seed of the kill test: the value of `IMPRINT_BRIDGE_TEST_SEED`, otherwise a random number.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
fn seed() -> u64 {
    let given = std::env::var("IMPRINT_BRIDGE_TEST_SEED").ok();
    given.map_or_else(
        || {
            let mut bytes = [0; 8];
            random::fill_random(&mut bytes).unwrap();
            u64::from_le_bytes(bytes) >> 32
        },
        |seed| seed.parse().unwrap(),
    )
}
