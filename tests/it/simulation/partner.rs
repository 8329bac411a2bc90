//! Scenarios of a partner who fails for some customers only: the other customers are served as if nothing had happened
//! (FAULTS U50, U51, V9).

use std::time::Duration;

use imprint_bridge::dispatch::pace::Rate;
use imprint_bridge::imprint::{CustomerRef, ImprintId, PartnerCustomerId};
use imprint_bridge::outbox::ClaimBounds;

use crate::support::is_full_run;

use super::bug::Bug;
use super::plan::{
    Answer, AnswerOfEach, Clears, Event, Fault, Person, Phase, Plan, SECOND, Stated,
};
use super::random::SeededRandom;
use super::world::World;

/// The answers that some customers always get. A 404 with the type of Imprint is missing, because it proves that Imprint does not
/// know the customer: see `unknown_customers_delay_nobody`.
pub(super) const ANSWERS: [Answer; 20] = [
    Answer::Status(302, None),
    Answer::Status(307, None),
    Answer::Typed(400, "INVALID_REQUEST_ERROR"),
    Answer::Status(401, None),
    Answer::Status(403, None),
    Answer::Status(404, None),
    Answer::Status(405, None),
    Answer::Status(408, None),
    Answer::Status(410, None),
    Answer::Status(422, None),
    Answer::Status(429, None),
    Answer::Status(429, Some("40")),
    Answer::Status(500, None),
    Answer::Status(502, None),
    Answer::Status(503, None),
    Answer::Status(503, Some("40")),
    Answer::Status(504, None),
    Answer::Nothing,
    Answer::Short,
    Answer::Stray,
];
/// The longest time in milliseconds that the model of Imprint and the store need for a request.
const ROUND_TRIP: i64 = 950;
/// The wait that Imprint states when it throttles.
const THROTTLED: i64 = 40 * SECOND;
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

/// A scenario: the customers at fault, their answers, and the traffic of the other customers.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    victims: usize,
    fault: Fault,
    traffic: Traffic,
    /// True if the other customers were served before the fault.
    is_warm: bool,
    /// False if Imprint knows none of the customers at fault.
    is_known: bool,
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
        let mut people: Vec<Person> = (0..self.victims + OTHERS).map(person).collect();
        for (number, person) in people.iter_mut().take(self.victims).enumerate() {
            person.known_from = self.is_known.then_some(0);
            let partner = PartnerCustomerId::parse(&format!("P {number}")).unwrap();
            person.partner = (!self.is_known && number % 2 == 0).then_some(partner);
        }
        let events = self.events(random).into_iter().map(|(at, person)| Event {
            at,
            person,
            customer: people[person].partner.clone().map_or_else(
                || CustomerRef::Imprint(people[person].imprint.clone()),
                CustomerRef::Partner,
            ),
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
                fault: self.fault,
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
        self.holds_in(&self.plan(seed), seed);
    }

    fn holds_in(self, plan: &Plan, seed: u64) {
        if let Err(violation) = World::new(plan, seed, Bug::Absent).play() {
            let mut world = World::new(plan, seed, Bug::Absent).logging();
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
            fault: Fault::Answers(victims, *answer),
            traffic,
            is_warm: true,
            is_known: true,
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

/// Without a witness, two customers who are throttled throttle the destination for the time that Imprint states.
#[test]
fn one_or_two_faulty_customers_before_all_others_delay_nobody_for_long() {
    for answer in ANSWERS {
        for victims in [1, 2] {
            let scenario = Scenario {
                victims,
                fault: Fault::Answers(victims, answer),
                traffic: Traffic::Low,
                is_warm: false,
                is_known: true,
            };
            let is_throttled = matches!(
                answer,
                Answer::Status(429, _) | Answer::Status(503, Some(_))
            );
            let wait = if victims == 2 && is_throttled {
                THROTTLED
            } else {
                0
            };
            for seed in 0..6 {
                let mut plan = scenario.plan(seed);
                plan.isolation += wait;
                scenario.holds_in(&plan, seed);
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
    if is_full_run() {
        hold(40, Traffic::High, &answers, 1);
    }
}

/// FAULTS N780
#[test]
fn four_hundred_failing_customers_delay_nobody() {
    let answers = |statuses: &[u16]| -> Vec<Answer> {
        let answers = statuses.iter().map(|status| Answer::Status(*status, None));
        answers.collect()
    };
    if is_full_run() {
        let all = answers(&[302, 401, 403, 404, 405, 429, 500, 503]);
        hold(400, Traffic::Low, &all, 1);
        hold(400, Traffic::High, &all, 1);
    } else {
        hold(400, Traffic::Low, &answers(&[500]), 1);
        hold(400, Traffic::High, &answers(&[429]), 1);
    }
}

/// FAULTS N1471: each of the customers at fault gets another answer.
#[test]
fn two_customers_with_any_two_answers_delay_nobody() {
    for first in 0..ANSWERS.len() {
        for step in 0..ANSWERS.len() - first {
            hold_each(2, Traffic::Low, AnswerOfEach { first, step });
        }
    }
}

/// FAULTS N1471
#[test]
fn customers_with_every_answer_delay_nobody() {
    for step in [1, 2, 5] {
        for first in 0..3 {
            hold_each(42, Traffic::Low, AnswerOfEach { first, step });
            hold_each(42, Traffic::High, AnswerOfEach { first, step });
        }
    }
}

/// FAULTS N1472: Imprint does not know 95 of 100 customers: it says so about every second one, and about the other ones it says so,
/// or a gateway answers 404 without a type.
#[test]
fn unknown_customers_delay_nobody() {
    let victims = 19 * OTHERS;
    let untyped = Fault::Answers(victims, Answer::Status(404, None));
    let typed = Fault::Answers(victims, Answer::Typed(404, "CUSTOMER_NOT_FOUND_ERROR"));
    let all = [Traffic::Low, Traffic::High].map(|traffic| [(untyped, traffic), (typed, traffic)]);
    let short = [(untyped, Traffic::High)];
    let scenarios = if is_full_run() {
        all.as_flattened()
    } else {
        &short
    };
    for &(fault, traffic) in scenarios {
        let scenario = Scenario {
            victims,
            fault,
            traffic,
            is_warm: true,
            is_known: false,
        };
        scenario.holds(0);
    }
}

fn hold_each(victims: usize, traffic: Traffic, answers: AnswerOfEach) {
    let scenario = Scenario {
        victims,
        fault: Fault::Each(victims, answers),
        traffic,
        is_warm: true,
        is_known: true,
    };
    scenario.holds(0);
}

/// FAULTS U53: the first requests of new customers hang, more than Imprint may have in flight.
#[test]
fn four_hundred_hanging_customers_delay_nobody() {
    hold(400, Traffic::Low, &[Answer::Nothing], 1);
    hold(400, Traffic::High, &[Answer::Nothing], 1);
}
