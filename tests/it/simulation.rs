//! The simulation runs the production core of dispatch against a model of Imprint, under virtual time, from a seed.
//!
//! A run uses the production code of the dispatch core with all its decisions (permits, claims, exchanges, breaker,
//! rate, policy, settlement), the fold, the classification of answers, and the engine in memory. The model of Imprint
//! is late, down, throttled, silent or wrong. Between any two steps the process may end, the task of a delivery may
//! panic, and the store may refuse an operation. A plan can also set the clock, stop the process for a while, and let
//! the operator pause or shadow the destination, withdraw entries, and erase customers, and let retention retire idle customers. After every step, the oracles
//! check the laws of delivery. A failed seed prints its number and its last steps, and is then kept in [`REGRESSIONS`].
//! Planted bugs ([`Bug`]) show that the oracles detect violations.
//!
//! The simulation does not model the async shell around the core, so it cannot find a lost wake-up: a step that may
//! make a lane due is always followed by a poll. The simulation also has no request that arrives at Imprint later than
//! the setting `assert_after` covers.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use self::bug::Bug;
use self::oracle::{Law, Violation};
use self::plan::Plan;
use self::world::{Figures, World};

mod bug;
mod entries;
mod erasures;
mod imprint;
mod oracle;
mod partner;
mod plan;
mod protocol_oracle;
mod random;
mod world;

/// The number of simulation seeds in a normal run of the tests.
const SEEDS: u64 = 1_000;
/// The number of simulation seeds in a full run of the tests.
const SEEDS_FULL: u64 = 1_000_000;
/// The number of seeds within which the oracles must detect each planted bug.
const SEEDS_FOR_BUGS: u64 = 1_000;

/// The number of threads that play seeds.
const THREADS: usize = 2;
/// The number of failed seeds after which the simulation stops.
const FAILURES_MAX: usize = 60;

/// Seeds of the simulation that found a fault, each with a comment about the fault. The plans of seeds have changed
/// since, so each of these faults also has a unit test.
const REGRESSIONS: &[u64] = &[
    // Fixed fault: a lane without waiting entries did not rest after its reassertion failed.
    9,
    // Fixed fault: the core treated a forbidden search as an answer of a destination that refuses the API key.
    40,
    // Fixed fault: lanes without a request used up the rate ramp after an outage, so that no request was ever sent
    // again.
    70,
    // Fixed fault: a refusal for one customer stopped the next customer without a second refusal, and no backfill was
    // ever sent as a probe.
    108,
    // Fixed fault: an address line that Imprint had not cleared counted as delivered after the replay of its entry.
    138,
    // Fixed fault: a reassertion that was in flight at the end of a process was not in doubt, and arrived after newer
    // values.
    25_195,
    // Fixed fault: a delivery task that panicked before it sent its request ended the reassertion of its lane.
    7_053,
    // Fixed fault: a destination that refused the API key and also throttled was probed before the end of the wait.
    13_177,
    // Fixed fault: searches that found no token of the rate began again with their updates, which used all tokens.
    3_784,
    // Fixed fault: a late request with an entry that had left its lane overwrote a value that was delivered meanwhile.
    858,
    // Fixed fault: a value was lost because a newer clearing had superseded it, and Imprint refused the clearing.
    970, // Fixed fault: an entry that had cleared two address lines ended twice.
    536,
    // Fixed fault: the 429 of a lane with failures of its own was ignored while Imprint throttled every lane.
    14_041,
    // Fixed fault: a stopped destination asked for a wait, and the bridge probed during the wait, because a witness was
    // known although the bridge asks about no witness in this state.
    86_372,
    // Fixed fault: shadow mode began between two updates of a lane, and the bridge sent the values of the first update
    // again afterwards.
    62_150, 68_620,
    // Corrected laws: the value of an entry that moved to the lane of another customer, a retrieve as a probe, and
    // refusals of lanes with failures of their own.
    3_707, 5_495, 9_119,
    // Fixed fault: an entry that moved to the lane of another customer brought the delivered versions of its lane along,
    // so that a value that the other customer never got counted as delivered.
    5_893,
    // Fixed fault: the recorded answer about the partner customer id of an entry counted for the id of another entry, whose
    // customer exists, after the first entry had been withdrawn or had ended.
    4_405,
    // Corrected law: the wait of a 429 for one customer does not bind the destination.
    34_524,
    // Corrected law: an event with the ids of two customers was rejected because of the customer that it reached.
    42_473, 48_749,
    // Fixed fault: the answer about a witness refuted a refused lane, and its first rejection without an error type then
    // parked its entry.
    34_707,
    // Fixed fault of the oracle: it forgot that a discarded entry had advanced the versions of fields that the bridge
    // does not send.
    602_332,
    // Fixed fault of the oracle: the wait of single lanes bound the destination after a witness was found.
    607_485,
    // Corrected law: while Imprint does not answer about a witness, refusals do not stop the destination.
    18_549,
    // Fixed faults of the state that processes share: two dispatch threads won one probe, and the pause before the next
    // probe did not begin with the request.
    205_462, 307_760, 305_011,
];

impl Figures {
    const fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.requests += other.requests;
        self.crashes += other.crashes;
        self.steps += other.steps;
        self.panics += other.panics;
        self.refusals += other.refusals;
        self.shadowed += other.shadowed;
        self.withdrawn += other.withdrawn;
        self.prefetched += other.prefetched;
        self.witnesses += other.witnesses;
        self.erased += other.erased;
        self.blocked += other.blocked;
        self.retired += other.retired;
    }
}

fn run(seed: u64, bug: Bug) -> Result<Figures, Violation> {
    let plan = Plan::of(seed);
    let mut world = World::new(&plan, seed, bug);
    world.play()?;
    Ok(world.figures)
}

/// Plays a failed seed once more and returns a report with the last steps.
fn report(seed: u64, Violation { law, what }: &Violation) -> String {
    let plan = Plan::of(seed);
    let mut world = World::new(&plan, seed, Bug::Absent).logging();
    drop(world.play());
    let lines = world.last_lines().join("\n");
    format!("IMPRINT_BRIDGE_TEST_SEED={seed}: {law:?}: {what}\n{lines}")
}

fn holds(seed: u64) -> Figures {
    run(seed, Bug::Absent).unwrap_or_else(|violation| panic!("{}", report(seed, &violation)))
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are the result of the run")]
fn every_law_holds_whatever_happens() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Figures::default());
    let failed = Mutex::new(BTreeMap::new());
    let another = || {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let goes_on = seed < seeds.end && failed.lock().unwrap().len() < FAILURES_MAX;
        goes_on.then_some(seed)
    };
    let play = || {
        while let Some(seed) = another() {
            match run(seed, Bug::Absent) {
                Ok(figures) => total.lock().unwrap().add(&figures),
                Err(violation) => drop(failed.lock().unwrap().insert(seed, violation)),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(play);
        }
    });
    let failed = failed.into_inner().unwrap();
    if let Some((seed, violation)) = failed.first_key_value() {
        panic!("{}\n{failed:#?}", report(*seed, violation));
    }
    let total = total.into_inner().unwrap();
    println!("{} seeds: {total:?}", seeds.end - seeds.start);
    assert!(total.requests > total.seeds, "nothing was sent");
    if total.seeds >= SEEDS {
        let rare = [
            total.crashes,
            total.panics,
            total.refusals,
            total.shadowed,
            total.withdrawn,
            total.prefetched,
            total.witnesses,
            total.erased,
            total.blocked,
            total.retired,
        ];
        assert!(rare.iter().all(|count| *count > 0), "{total:?}");
    }
}

#[test]
fn seeds_that_once_failed_hold() {
    for seed in REGRESSIONS {
        holds(*seed);
    }
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..20 {
        assert_eq!(holds(seed), holds(seed));
    }
}

/// Returns the seeds to play: the seed, the number of seeds, or the range of seeds (`20000..40000`) in the environment,
/// otherwise 1,000 seeds (1,000,000 in a full run).
#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
fn seeds() -> std::ops::Range<u64> {
    let variable = |name: &str| std::env::var(name).ok();
    let number = |text: String| text.parse::<u64>().unwrap();
    if let Some(seed) = variable("IMPRINT_BRIDGE_TEST_SEED").map(number) {
        return seed..seed + 1;
    }
    let all = match variable("IMPRINT_BRIDGE_TEST_FULL") {
        Some(_) => SEEDS_FULL,
        None => SEEDS,
    };
    let Some(wanted) = variable("IMPRINT_BRIDGE_TEST_SEEDS") else {
        return 0..all;
    };
    match wanted.split_once("..") {
        Some((first, end)) => number(first.to_owned())..number(end.to_owned()),
        None => 0..number(wanted),
    }
}

mod detects_bugs {
    use super::*;

    /// Checks that the first seeds detect a planted bug as a violation of `law`.
    fn is_detected(bug: Bug, law: Law) {
        let mut broken = Vec::new();
        for seed in 0..SEEDS_FOR_BUGS {
            broken.extend(run(seed, bug).err().map(|violation| violation.law));
            if broken.contains(&law) {
                return;
            }
        }
        panic!("{bug:?} does not break {law:?}, but {broken:?}");
    }

    #[test]
    fn a_fold_that_forgets_the_delivered_versions_is_detected() {
        is_detected(Bug::ForgetsVersions, Law::Order);
    }

    #[test]
    fn a_fold_that_drops_the_newest_entry_is_detected() {
        is_detected(Bug::DropsTheNewest, Law::Order);
    }

    #[test]
    fn a_failure_that_is_taken_for_a_delivery_is_detected() {
        is_detected(Bug::TakesFailureForDelivery, Law::NoLoss);
    }

    #[test]
    fn a_lost_reassertion_is_detected() {
        is_detected(Bug::LosesReassertion, Law::Order);
    }

    #[test]
    fn an_unknown_outcome_that_is_forgotten_is_detected() {
        is_detected(Bug::ForgetsDoubt, Law::Order);
    }

    #[test]
    fn a_crash_that_is_forgotten_is_detected() {
        is_detected(Bug::ForgetsCrash, Law::Order);
    }

    #[test]
    fn a_refused_key_that_parks_is_detected() {
        is_detected(Bug::ParksWhatWasDenied, Law::Isolated);
    }

    #[test]
    fn a_settlement_made_twice_is_detected() {
        is_detected(Bug::SettlesTwice, Law::NoLoss);
    }

    #[test]
    fn a_lane_with_two_requests_in_flight_is_detected() {
        is_detected(Bug::FreesEarly, Law::OneInFlight);
    }

    #[test]
    fn requests_beyond_the_rate_are_detected() {
        is_detected(Bug::IgnoresPace, Law::Pace);
    }

    #[test]
    fn a_destination_that_is_told_nothing_is_detected() {
        is_detected(Bug::TellsNobody, Law::LeftAlone);
    }

    #[test]
    fn an_answer_before_the_event_is_stored_is_detected() {
        is_detected(Bug::AnswersBeforeStoring, Law::Truthful);
    }

    #[test]
    fn values_of_another_customer_are_detected() {
        is_detected(Bug::UpdatesAnother, Law::NoInvention);
    }

    #[test]
    fn a_lane_that_is_blamed_for_an_outage_is_detected() {
        is_detected(Bug::BlamesTheLane, Law::Isolated);
    }

    #[test]
    fn a_lane_that_rests_too_long_is_detected() {
        is_detected(Bug::RestsForADay, Law::Live);
    }

    #[test]
    fn a_delivery_that_is_repeated_for_ever_is_detected() {
        is_detected(Bug::RepeatsWhatWasDelivered, Law::Live);
    }

    #[test]
    fn one_customer_who_stops_all_is_detected() {
        is_detected(Bug::OneStopsAll, Law::Isolated);
    }

    #[test]
    fn an_erasure_that_keeps_the_entries_is_detected() {
        is_detected(Bug::KeepsWhatWasErased, Law::Erased);
    }

    #[test]
    fn an_erasure_without_version_floors_is_detected() {
        is_detected(Bug::ForgetsVersions, Law::Erased);
    }

    /// FAULTS N1455
    #[test]
    fn a_retirement_that_forgets_the_versions_is_detected() {
        is_detected(Bug::RetiresVersions, Law::Order);
    }

    #[test]
    fn a_permit_that_is_not_returned_is_detected() {
        is_detected(Bug::KeepsItsPermit, Law::Live);
    }
}
