//! Scenarios of a partner who fails for some customers only: the other customers are served as if nothing had happened
//! (FAULTS U50, U51, V9).

use std::time::Duration;

use imprint_bridge::dispatch::pace::Rate;
use imprint_bridge::imprint::{CustomerRef, ImprintId};
use imprint_bridge::outbox::ClaimBounds;

use super::bug::Bug;
use super::plan::{Answer, Clears, Event, Fault, Person, Phase, Plan, SECOND, Stated};
use super::random::SeededRandom;
use super::world::World;

/// The answers that some customers always get.
const ANSWERS: [Answer; 9] = [
    Answer::Status(302, None),
    Answer::Status(401, None),
    Answer::Status(403, None),
    Answer::Status(404, None),
    Answer::Status(405, None),
    Answer::Status(429, None),
    Answer::Status(429, Some("40")),
    Answer::Status(500, None),
    Answer::Nothing,
];
/// The longest time in milliseconds that the model of Imprint and the store need for a request.
const ROUND_TRIP: i64 = 950;
/// The time at which the customers at fault begin to send events, so that other customers were served before.
const WARM: i64 = 20 * SECOND;

/// The traffic of the customers who are not at fault.
#[derive(Clone, Copy, Debug)]
enum Traffic {
    /// One event every 12 s.
    Low,
    /// One event every 200 ms.
    High,
}

/// A scenario: the customers at fault, their answer, and the traffic of the other customers.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    victims: usize,
    answer: Answer,
    traffic: Traffic,
    /// True if the other customers were served before the fault.
    is_warm: bool,
}

/// The number of customers who are not at fault.
const OTHERS: usize = 20;

impl Scenario {
    /// Returns the interval between two events of the customers who are not at fault, and the end of the fault.
    const fn pace(self) -> (i64, i64) {
        match self.traffic {
            Traffic::Low => (12 * SECOND, 400 * SECOND),
            Traffic::High => (200, 60 * SECOND),
        }
    }

    /// Returns the time from which Imprint fails for the customers at fault.
    const fn start(self) -> i64 {
        if self.is_warm { WARM } else { 0 }
    }

    /// Returns the times of all events, and the customers.
    fn events(self, random: &mut SeededRandom) -> Vec<(i64, usize)> {
        let (every, healed) = self.pace();
        let spread = i64::try_from(self.victims).unwrap() * 150 + 1;
        let at_fault =
            (0..self.victims).map(|person| (self.start() + random.between(0, spread), person));
        let mut events: Vec<(i64, usize)> = at_fault.collect();
        let first = if self.is_warm { 0 } else { 5 * SECOND };
        let times = (0..).map(|number| first + number * every);
        let times = times.take_while(|at| *at < healed).enumerate();
        events.extend(times.map(|(number, at)| (at, self.victims + number % OTHERS)));
        // At high traffic, every customer is served before the fault anyway.
        if self.is_warm && matches!(self.traffic, Traffic::Low) {
            // The first of the other customers has an event at this time already.
            let others = (0..OTHERS).zip((0..).step_by(500)).skip(1);
            events.extend(others.map(|(other, at)| (at, self.victims + other)));
        }
        events
    }

    fn plan(self, seed: u64) -> Plan {
        let mut random = SeededRandom::new(seed);
        let random = &mut random;
        let people: Vec<Person> = (0..self.victims + OTHERS).map(person).collect();
        let events = self.events(random).into_iter().map(|(at, person)| Event {
            at,
            person,
            customer: CustomerRef::Imprint(people[person].imprint.clone()),
            is_false_pair: false,
            epoch: 0,
            value: 0,
            values: vec![(0, Stated::Set)],
            is_low: false,
            poison: None,
        });
        let normal = if self.is_warm {
            ROUND_TRIP
        } else {
            ROUND_TRIP + SECOND
        };
        let (_, healed) = self.pace();
        let mut plan = Plan::of(seed);
        plan.rules.max_fold = 100;
        plan.rules.attempts_max = 12;
        Plan {
            rate: random.pick(&[Rate::Unlimited, Rate::PerSecond(60.0)]),
            deadline: Duration::from_secs(10),
            dispatchers: 1,
            concurrency: 16,
            bounds: ClaimBounds::default(),
            phases: vec![Phase {
                from: self.start(),
                to: healed,
                fault: Fault::Answers(self.victims, self.answer),
            }],
            events: events.collect(),
            people,
            healed,
            victims: self.victims,
            is_isolated: true,
            isolation: normal * 12 / 10,
            steps_max: 2_000_000,
            ..plan.undisturbed()
        }
    }

    fn holds(self, seed: u64) {
        let plan = self.plan(seed);
        if let Err(violation) = World::new(&plan, seed, Bug::Absent).play() {
            let mut world = World::new(&plan, seed, Bug::Absent).logging();
            drop(world.play());
            let lines = world.last_lines().join("\n");
            panic!("{self:?}, seed {seed}: {violation:?}\n{lines}");
        }
    }
}

fn person(number: usize) -> Person {
    Person {
        imprint: ImprintId::parse(&format!("CUST-{number}")).unwrap(),
        partner: None,
        known_from: Some(0),
        is_twin: false,
        clears: Clears::Obeys,
    }
}

fn hold(victims: usize, traffic: Traffic, answers: &[Answer], seeds: u64) {
    for answer in answers {
        let scenario = Scenario {
            victims,
            answer: *answer,
            traffic,
            is_warm: true,
        };
        for seed in 0..seeds {
            scenario.holds(seed);
        }
    }
}

#[test]
fn one_or_two_faulty_customers_delay_nobody_at_low_traffic() {
    hold(1, Traffic::Low, &ANSWERS, 6);
    hold(2, Traffic::Low, &ANSWERS, 6);
}

#[test]
fn one_or_two_faulty_customers_delay_nobody_at_high_traffic() {
    hold(1, Traffic::High, &ANSWERS, 1);
    hold(2, Traffic::High, &ANSWERS, 1);
}

/// Without a witness, two customers who are throttled throttle the destination, so this answer is left out.
#[test]
fn one_or_two_faulty_customers_before_all_others_delay_nobody_for_long() {
    let is_throttled = |answer: &&Answer| matches!(answer, Answer::Status(429, _));
    for answer in ANSWERS.iter().filter(|answer| !is_throttled(answer)) {
        for victims in [1, 2] {
            let scenario = Scenario {
                victims,
                answer: *answer,
                traffic: Traffic::Low,
                is_warm: false,
            };
            for seed in 0..6 {
                scenario.holds(seed);
            }
        }
    }
}

/// FAULTS N780: many customers in a row are refused, throttled or failed.
#[test]
fn forty_faulty_customers_delay_nobody() {
    let at_once = |answer: &Answer| *answer != Answer::Nothing;
    let answers: Vec<Answer> = ANSWERS.into_iter().filter(at_once).collect();
    hold(40, Traffic::Low, &answers, 1);
    hold(40, Traffic::High, &answers, 1);
}

/// FAULTS N780
#[test]
fn four_hundred_failing_customers_delay_nobody() {
    for status in [500, 403, 404] {
        hold(400, Traffic::Low, &[Answer::Status(status, None)], 1);
    }
}

/// FAULTS U53: the first requests of new customers hang, more than Imprint may have in flight.
#[test]
fn four_hundred_hanging_customers_delay_nobody() {
    hold(400, Traffic::Low, &[Answer::Nothing], 1);
    hold(400, Traffic::High, &[Answer::Nothing], 1);
}
