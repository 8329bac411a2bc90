//! The plan of a simulation run, which the seed decides: the customers, the events, and the faults with their times.

use std::time::Duration;

use imprint_bridge::dispatch::destination::OperatorMode;
use imprint_bridge::dispatch::pace::Rate;
use imprint_bridge::dispatch::rules::{DeliveryRules, UnknownCustomer};
use imprint_bridge::imprint::clearing::{AddressClearing, Clearing, FieldClearing};
use imprint_bridge::imprint::{CustomerRef, ImprintId, PartnerCustomerId};
use imprint_bridge::outbox::{ClaimBounds, LaterEvents, ParkReason, WithdrawnState};

use super::random::SeededRandom;

/// The fields that the events of a plan set: fields of every kind and of most groups.
pub(super) const FIELDS: [&str; 9] = [
    "email",
    "phone",
    "street_line1",
    "street_line2",
    "city",
    "customer_history.account_tenure",
    "customer_history.address.city",
    "metadata.k",
    "metadata.l",
];
/// The longest time in milliseconds between sending a request and its arrival at Imprint.
///
/// The sum of `LATE_MAX` and [`FORWARD_MAX`] is less than [`REASSERT_AFTER`], because the bridge cannot correct a
/// request that arrives after the reassertion.
pub(super) const LATE_MAX: i64 = 35_000;
/// The longest time in milliseconds by which a plan sets the clock forward.
const FORWARD_MAX: i64 = 20_000;
const BACKWARD_MAX: i64 = 300_000;
const REASSERT_AFTER: Duration = Duration::from_secs(60);
pub(super) const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;

/// The plan of a simulation run: all values that a seed decides.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) rules: DeliveryRules,
    pub(super) rate: Rate,
    /// True if the token bucket of the rate is in the store, as with several processes.
    pub(super) is_shared: bool,
    pub(super) deadline: Duration,
    pub(super) dispatchers: usize,
    pub(super) concurrency: usize,
    /// The bounds of the store's claims: often so small that lanes and entries exceed every bound.
    pub(super) bounds: ClaimBounds,
    pub(super) people: Vec<Person>,
    pub(super) events: Vec<Event>,
    /// The times at which senders repeat events, and the indexes of these events.
    pub(super) repeats: Vec<(i64, usize)>,
    pub(super) phases: Vec<Phase>,
    pub(super) crashes: Vec<Crash>,
    /// The probability, per mille, that the process ends after a step between a claim and the end of the settlement.
    pub(super) crash_per_mille: i64,
    /// The times at which the process stands still, and the durations.
    pub(super) freezes: Vec<(i64, i64)>,
    /// The start and the end of each time in which the operator pauses or shadows the destination.
    pub(super) modes: Vec<(i64, i64, OperatorMode)>,
    /// The probability, per mille, that the store refuses an operation.
    pub(super) store_refusals_per_mille: i64,
    /// The probability, per mille, that a step of a delivery panics.
    pub(super) panics_per_mille: i64,
    /// The times at which the operator handles the parked entries, and the actions.
    pub(super) operator: Vec<(i64, OperatorAction)>,
    /// The times at which retention deletes all receipts of ended entries, and then retires all idle customers.
    pub(super) retirements: Vec<i64>,
    /// The time at which the last fault of the plan ends.
    pub(super) healed: i64,
    /// The number of customers at fault, in a plan that has no other fault: the first customers of the plan.
    pub(super) victims: usize,
    /// True if the plan has no other fault, so that no fault may affect the other customers.
    pub(super) is_isolated: bool,
    /// FAULTS V9: the time in milliseconds within which every other customer must be served while some customers are at
    /// fault.
    pub(super) isolation: i64,
    /// True if Imprint refuses only the updates of the customers at fault, except while it refuses every customer: no
    /// entry of another customer may be parked or ignored.
    pub(super) refuses: bool,
    /// The maximum number of steps of the run. A run with more steps would repeat itself without end.
    pub(super) steps_max: u64,
}

/// The maximum number of steps of a run with few customers.
const STEPS_MAX: u64 = 20_000;

/// A customer in the model of Imprint.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) imprint: ImprintId,
    pub(super) partner: Option<PartnerCustomerId>,
    /// The time from which Imprint knows the customer, or `None` if Imprint never does.
    pub(super) known_from: Option<i64>,
    /// True if Imprint knows another customer with the same partner customer id.
    pub(super) is_twin: bool,
    pub(super) clears: Clears,
}

/// The reaction of Imprint to an address line that is sent as the empty text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clears {
    Obeys,
    Keeps,
    Refuses,
}

/// One event of a simulation plan. Every value of an event contains the event's number, so that a request shows which
/// events it carries.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) at: i64,
    pub(super) person: usize,
    pub(super) customer: CustomerRef,
    /// True if the event names two ids that belong to different customers.
    pub(super) is_false_pair: bool,
    pub(super) epoch: u32,
    pub(super) value: i64,
    /// The fields that the event sets or clears, by index in [`FIELDS`].
    pub(super) values: Vec<(usize, Stated)>,
    pub(super) is_low: bool,
    /// The field of the event whose value Imprint always rejects.
    pub(super) poison: Option<usize>,
}

/// The effect of an event on a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stated {
    Set,
    Cleared,
}

/// A fault of a simulation plan, and its duration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Fault: the given number of requests per 1,000 fail, each in a random way.
    Flaky(i64),
    /// Fault: Imprint serves no request.
    Outage(Silence),
    /// Fault: Imprint answers every request with 429 and this Retry-After.
    Throttled(&'static str),
    /// Fault: Imprint refuses the API key.
    KeyRefused,
    /// Fault: Imprint forbids every request, for every customer.
    AllForbidden,
    /// Fault: a gateway answers 404 to every request, without an error type of Imprint.
    Misrouted,
    /// Fault: Imprint never answers an update of one customer.
    Hanging(usize),
    /// Fault: Imprint answers every update of one customer with 500.
    Failing(usize),
    /// Fault: Imprint forbids the updates of one customer.
    Forbidden(usize),
    /// Fault: Imprint gives this answer to every update of the first customers of the plan, and of no other customer.
    Answers(usize, Answer),
    /// Fault: as [`Fault::Answers`], but each of the customers always gets an answer of its own.
    Each(usize, AnswerOfEach),
}

/// The answer of each customer: the first customer gets the answer with the number `first` of
/// [`ANSWERS`](super::partner::ANSWERS), and each further customer the answer that is `step` places further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AnswerOfEach {
    pub(super) first: usize,
    pub(super) step: usize,
}

/// The answer of Imprint to every update of some customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The status, and the Retry-After.
    Status(u16, Option<&'static str>),
    /// The status, and an error type of Imprint.
    Typed(u16, &'static str),
    /// Imprint never answers.
    Nothing,
    /// The answer ends before its body is complete, or the connection breaks after the request.
    Short,
    /// The answer is a success with the id of another customer, as a stray answer is.
    Stray,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    Refuses,
    Says503,
    Swallows,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Crash {
    pub(super) at: i64,
    /// The time after the crash during which no process runs.
    pub(super) down: i64,
    /// The change of the clock before the next process starts.
    pub(super) jump: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperatorAction {
    /// Replays all parked entries.
    Replay,
    /// Discards all parked entries.
    Discard,
    /// Withdraws the waiting entries whose number is a multiple of `every`.
    Withdraw { every: u64, to: WithdrawnState },
    /// Erases a customer, by index in the plan.
    Erase { person: usize, later: LaterEvents },
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        let random = &mut random;
        let span = random.between(10, 400) * SECOND;
        let is_isolated = random.chance(150);
        let people = people(random, span, is_isolated);
        let events = events(random, &people, span);
        let repeats = (0..random.between(0, 6))
            .map(|_| {
                let which = random.between(0, i64::try_from(events.len()).unwrap());
                let which = usize::try_from(which).unwrap();
                (events[which].at + random.between(0, span), which)
            })
            .collect();
        let victim = is_isolated.then_some(0);
        let mut plan = Self {
            rules: rules(random),
            rate: random.pick(&[
                Rate::Unlimited,
                Rate::PerSecond(5.0),
                Rate::PerSecond(20.0),
                Rate::PerSecond(60.0),
            ]),
            is_shared: false,
            deadline: Duration::from_secs(random.pick(&[2, 10, 30])),
            dispatchers: random.pick(&[1, 1, 2]),
            concurrency: random.pick(&[1, 2, 4, 16]),
            bounds: ClaimBounds::default(),
            phases: phases(random, span, (people.len(), victim)),
            people,
            events,
            repeats,
            crashes: Vec::new(),
            crash_per_mille: 0,
            freezes: Vec::new(),
            modes: Vec::new(),
            store_refusals_per_mille: 0,
            panics_per_mille: 0,
            operator: Vec::new(),
            retirements: Vec::new(),
            healed: span,
            victims: usize::from(is_isolated),
            is_isolated,
            isolation: 0,
            refuses: false,
            steps_max: STEPS_MAX,
        };
        plan.bounds = bounds(seed, &plan);
        plan.rules.park_after = park_after(seed);
        plan.is_shared = is_shared(seed);
        plan.isolation = 40 * SECOND + 3 * millis(plan.deadline);
        if !is_isolated {
            plan.disturb(random, span);
            plan.operator.extend(withdrawals(seed, span));
            plan.erase(seed, span);
            plan.retire(seed, span);
            plan.refuse(seed, span);
        }
        plan.healed = plan.last();
        plan
    }

    /// Adds crashes, clock changes, pauses, operator actions, store refusals and panics to the plan.
    fn disturb(&mut self, random: &mut SeededRandom, span: i64) {
        let mut forward = FORWARD_MAX;
        let mut backward = BACKWARD_MAX;
        for _ in 0..random.pick(&[0, 0, 1, 2, 5]) {
            let jump = match random.between(0, 5) {
                0 => random.between(0, forward + 1),
                1 => -random.between(0, backward + 1),
                _ => 0,
            };
            forward -= jump.max(0);
            backward -= (-jump).max(0);
            self.crashes.push(Crash {
                at: random.between(0, span),
                down: random.pick(&[0, 100, 3_000, 40_000]),
                jump,
            });
        }
        self.crash_per_mille = random.pick(&[0, 0, 0, 20, 100]);
        if random.chance(200) {
            let standing = random.pick(&[500, 20_000, 90_000]);
            self.freezes.push((random.between(0, span), standing));
        }
        if random.chance(150) {
            let from = random.between(0, span);
            let to = from + random.between(0, 60_000);
            self.modes.push((from, to, OperatorMode::Paused));
        }
        for _ in 0..random.pick(&[0, 0, 1, 3]) {
            let what = random.pick(&[
                OperatorAction::Replay,
                OperatorAction::Replay,
                OperatorAction::Discard,
            ]);
            let at = random.between(0, span + span / 2);
            self.operator.push((at, what));
        }
        if random.chance(150) {
            let from = random.between(0, span);
            let to = from + random.between(0, 120_000);
            self.modes.push((from, to, OperatorMode::Shadow));
        }
        self.store_refusals_per_mille = random.pick(&[0, 0, 0, 10, 100]);
        self.panics_per_mille = random.pick(&[0, 0, 0, 5, 30]);
    }

    /// Adds erasures of customers, each followed by repetitions of the customer's events, with separate random numbers.
    fn erase(&mut self, seed: u64, span: i64) {
        let mut random = SeededRandom::new(seed.rotate_left(32));
        for _ in 0..random.pick(&[0, 0, 1, 3]) {
            let at = random.between(0, span);
            let people = i64::try_from(self.people.len()).unwrap();
            let person = usize::try_from(random.between(0, people)).unwrap();
            let later = random.pick(&[
                LaterEvents::Delivered,
                LaterEvents::Delivered,
                LaterEvents::Ignored,
            ]);
            let action = OperatorAction::Erase { person, later };
            self.operator.push((at, action));
            let events = self.events.iter().enumerate();
            let own = events.filter(|(_, event)| event.person == person && event.at <= at);
            let own: Vec<usize> = own.map(|(event, _)| event).collect();
            let resent = own.into_iter().filter(|_| random.chance(300));
            let resent: Vec<usize> = resent.collect();
            for event in resent {
                self.repeats.push((at + random.between(0, span), event));
            }
        }
    }

    /// Adds passes of retention, with separate random numbers.
    fn retire(&mut self, seed: u64, span: i64) {
        let mut random = SeededRandom::new(seed.rotate_left(40));
        for _ in 0..random.pick(&[0, 0, 0, 1, 4, 12]) {
            self.retirements.push(random.between(0, span));
        }
    }

    /// FAULTS N782: replaces the faults of some plans, with separate random numbers: Imprint refuses a growing set of
    /// customers, and serves or refuses every customer for short times in between.
    fn refuse(&mut self, seed: u64, span: i64) {
        let mut random = SeededRandom::new(seed.rotate_left(24));
        if !random.chance(200) {
            return;
        }
        let own = random.pick(&REFUSALS);
        self.phases.clear();
        self.refuses = true;
        let mut at = 0;
        while at < span {
            let to = at + random.between(1, 45) * SECOND;
            let fault = match random.between(0, 10) {
                0..5 => Some(Fault::Answers(self.victims, own)),
                5..8 => Some(everyone(&mut random, self.people.len())),
                _ => None,
            };
            self.phases.extend(fault.map(|fault| Phase {
                from: at,
                to,
                fault,
            }));
            at = to;
            let victims = self.victims + usize::from(random.chance(400));
            self.victims = victims.min(self.people.len() - 2);
        }
        // Imprint possibly serves other customers between three failures of a customer without a fault.
        self.rules.attempts_max = 12;
    }

    /// Returns the plan without crashes, clock changes, pauses, operator actions, store refusals and panics.
    pub(super) fn undisturbed(self) -> Self {
        Self {
            repeats: Vec::new(),
            crashes: Vec::new(),
            crash_per_mille: 0,
            freezes: Vec::new(),
            modes: Vec::new(),
            store_refusals_per_mille: 0,
            panics_per_mille: 0,
            operator: Vec::new(),
            retirements: Vec::new(),
            ..self
        }
    }

    /// Returns the time at which the last planned happening ends.
    fn last(&self) -> i64 {
        let events = self.events.iter().map(|event| event.at);
        let repeats = self.repeats.iter().map(|(at, _)| *at);
        let phases = self.phases.iter().map(|phase| phase.to);
        let crashes = self.crashes.iter().map(|crash| crash.at + crash.down);
        let freezes = self.freezes.iter().map(|(at, standing)| at + standing);
        let modes = self.modes.iter().map(|(_, to, _)| *to);
        let operator = self.operator.iter().map(|(at, _)| *at);
        let people = self.people.iter().filter_map(|person| person.known_from);
        let ends = events.chain(repeats).chain(phases).chain(crashes);
        let ends = ends
            .chain(freezes)
            .chain(modes)
            .chain(operator)
            .chain(people);
        ends.max().unwrap_or(0)
    }

    /// Returns the planned fault of Imprint at this time.
    pub(super) fn fault(&self, at: i64) -> Option<Fault> {
        let phase = self
            .phases
            .iter()
            .find(|phase| (phase.from..phase.to).contains(&at));
        phase.map(|phase| phase.fault)
    }

    /// FAULTS V8: returns the time by which every entry must have ended. The longest backoff and the longest wait that
    /// Imprint may ask for are 1 h.
    pub(super) fn drained_by(&self) -> i64 {
        let backs_off = |phase: &Phase| match phase.fault {
            Fault::Flaky(_)
            | Fault::Hanging(_)
            | Fault::Failing(_)
            | Fault::Forbidden(_)
            | Fault::Answers(..)
            | Fault::Each(..)
            | Fault::Throttled(_)
            | Fault::Misrouted => true,
            Fault::Outage(_) | Fault::KeyRefused | Fault::AllForbidden => false,
        };
        // A process that crashes often never finds out that the destination is down, so its lanes back off instead.
        let lives = self.crashes.is_empty() && self.crash_per_mille == 0;
        // Lanes also back off if the store refuses to wake the lanes, or if a panic makes the lanes rest.
        let lives = lives && self.store_refusals_per_mille == 0 && self.panics_per_mille == 0;
        let backoff = if !lives || self.phases.iter().any(backs_off) {
            2 * HOUR
        } else {
            600 * SECOND
        };
        let jumps: i64 = self.crashes.iter().map(|crash| (-crash.jump).max(0)).sum();
        let waits = match self.rules.unknown {
            UnknownCustomer::Wait => millis(self.rules.wait_max + self.rules.unknown_ttl),
            UnknownCustomer::Ignore | UnknownCustomer::Park => 0,
        };
        // Without evidence, an entry ends as undecided.
        let undecided = millis(self.rules.undecided_max) + 600 * SECOND;
        self.healed + backoff + jumps + waits + undecided + 3 * millis(REASSERT_AFTER)
    }
}

pub(super) fn rules(random: &mut SeededRandom) -> DeliveryRules {
    DeliveryRules {
        max_fold: random.pick(&[1, 2, 100]),
        undecided_max: Duration::from_mins(30),
        attempts_max: random.pick(&[3, 12]),
        park_after: Duration::ZERO,
        reassert_after: REASSERT_AFTER,
        clearing: Clearing {
            fields: random.pick(&[
                FieldClearing::Omit,
                FieldClearing::Null,
                FieldClearing::Empty,
            ]),
            address: random.pick(&[
                AddressClearing::Verify,
                AddressClearing::Empty,
                AddressClearing::Omit,
            ]),
        },
        unknown: random.pick(&[
            UnknownCustomer::Ignore,
            UnknownCustomer::Wait,
            UnknownCustomer::Park,
        ]),
        wait_max: Duration::from_mins(10),
        link_ttl: random.pick(&[Duration::from_mins(1), Duration::from_hours(24)]),
        unknown_ttl: random.pick(&[Duration::from_secs(30), Duration::from_mins(5)]),
    }
}

/// Returns whether the token bucket is in the store, with separate random numbers.
fn is_shared(seed: u64) -> bool {
    SeededRandom::new(seed.rotate_left(24)).chance(300)
}

/// Returns the shortest time for which an entry is sent again, with separate random numbers.
fn park_after(seed: u64) -> Duration {
    let mut random = SeededRandom::new(seed.rotate_left(16));
    random.pick(&[
        Duration::ZERO,
        Duration::from_mins(1),
        Duration::from_hours(24),
    ])
}

/// Returns the operator's withdrawals of waiting entries, with separate random numbers.
fn withdrawals(seed: u64, span: i64) -> Vec<(i64, OperatorAction)> {
    let mut random = SeededRandom::new(seed.rotate_left(48));
    let count = random.pick(&[0, 0, 1, 4]);
    let withdrawals = (0..count).map(|_| {
        let to = random.pick(&[
            WithdrawnState::Parked(ParkReason::ByOperator),
            WithdrawnState::Discarded,
        ]);
        let every = random.pick(&[1, 2, 3]);
        let at = random.between(0, span);
        (at, OperatorAction::Withdraw { every, to })
    });
    withdrawals.collect()
}

/// Returns the bounds of claims. The bound of lanes in flight is exact: a smaller bound would miss a lane in flight.
fn bounds(seed: u64, plan: &Plan) -> ClaimBounds {
    // Separate random numbers, so that the other values of a seed's plan do not depend on the bounds.
    let mut random = SeededRandom::new(seed.rotate_left(32));
    if random.chance(400) {
        return ClaimBounds::default();
    }
    let probe = random.pick(&[1, 2]);
    let claimed = plan.dispatchers * (plan.concurrency + plan.concurrency.div_ceil(2));
    ClaimBounds {
        newest: random.pick(&[1, 2, 3, 5]),
        oldest: random.pick(&[1, 2]),
        in_flight: claimed + probe,
        probe,
        // An update has up to 300 bytes, so a claim often ends at this bound.
        bytes: random.pick(&[1, 200, 1_000, ClaimBounds::default().bytes]),
    }
}

fn people(random: &mut SeededRandom, span: i64, is_isolated: bool) -> Vec<Person> {
    (0..random.between(3, 9))
        .map(|number| {
            let is_plain = is_isolated || random.chance(600);
            let known_from = match random.between(0, 4) {
                _ if is_plain => Some(0),
                0 => None,
                1 => Some(random.between(0, span)),
                _ => Some(0),
            };
            let id = if random.chance(300) {
                format!("BBB815E9-F654-438D-9AD3-{number:012X}")
            } else {
                format!("CUST-{number}")
            };
            let partner = PartnerCustomerId::parse(&format!("P {number}")).unwrap();
            Person {
                imprint: ImprintId::parse(&id).unwrap(),
                partner: random.chance(600).then_some(partner),
                known_from,
                is_twin: !is_plain && random.chance(150),
                clears: random.pick(&[
                    Clears::Obeys,
                    Clears::Obeys,
                    Clears::Keeps,
                    Clears::Refuses,
                ]),
            }
        })
        .collect()
}

fn events(random: &mut SeededRandom, people: &[Person], span: i64) -> Vec<Event> {
    let count = random.between(10, 60);
    let is_versioned = random.chance(750);
    let poisons = random.pick(&[0, 0, 40]);
    (1..=count)
        .map(|number| {
            let person = usize::try_from(random.between(0, i64::try_from(people.len()).unwrap()));
            let person = person.unwrap();
            let (customer, is_false_pair) = named(random, people, person);
            let mut values: Vec<(usize, Stated)> = Vec::new();
            for field in 0..FIELDS.len() {
                match random.between(0, 10) {
                    0..3 => values.push((field, Stated::Set)),
                    3 if random.chance(400) => values.push((field, Stated::Cleared)),
                    _ => {}
                }
            }
            let poison = values.iter().find(|(_, stated)| *stated == Stated::Set);
            Event {
                at: random.between(0, span),
                person,
                customer,
                is_false_pair,
                epoch: u32::from(is_versioned && number > count / 2 && random.chance(100)),
                // Version values are slightly out of order, and two events sometimes have the same value.
                value: if is_versioned {
                    1 + random.between(number / 2, number / 2 + 8)
                } else {
                    0
                },
                poison: poison
                    .map(|(field, _)| *field)
                    .filter(|_| random.chance(poisons)),
                values,
                is_low: random.chance(150),
            }
        })
        .collect()
}

/// Returns the customer reference of an event. The flag is true if the reference names two different customers.
fn named(random: &mut SeededRandom, people: &[Person], person: usize) -> (CustomerRef, bool) {
    let of = &people[person];
    let mut imprint = of.imprint.clone();
    if imprint.canonical() != imprint.as_str() && random.chance(500) {
        imprint = ImprintId::parse(&imprint.canonical()).unwrap();
    }
    let Some(partner) = of.partner.clone() else {
        return (CustomerRef::Imprint(imprint), false);
    };
    let others = people.iter().enumerate();
    let other = others
        .filter(|(place, _)| *place != person)
        .find_map(|(_, other)| other.partner.clone());
    match (random.between(0, 20), other) {
        (0..8, _) => (CustomerRef::Partner(partner), false),
        (8..13, _) => (CustomerRef::Pair { imprint, partner }, false),
        (13, Some(partner)) => (CustomerRef::Pair { imprint, partner }, true),
        _ => (CustomerRef::Imprint(imprint), false),
    }
}

fn phases(
    random: &mut SeededRandom,
    span: i64,
    (people, victim): (usize, Option<usize>),
) -> Vec<Phase> {
    let mut at = 0;
    let mut phases = Vec::new();
    while at < span && phases.len() < 5 {
        let from = at + random.between(0, span / 2);
        let to = from + random.between(0, span / 2);
        let one = usize::try_from(random.between(0, i64::try_from(people).unwrap())).unwrap();
        let fault = match victim {
            Some(victim) => random.pick(&[
                Fault::Hanging(victim),
                Fault::Failing(victim),
                Fault::Forbidden(victim),
            ]),
            None => fault(random, one),
        };
        phases.push(Phase { from, to, fault });
        at = to;
    }
    phases
}

fn fault(random: &mut SeededRandom, one: usize) -> Fault {
    let silence = random.pick(&[Silence::Refuses, Silence::Says503, Silence::Swallows]);
    // The Retry-After hints include absurd values: a century, the past, an invalid text, or no hint.
    let hint = random.pick(&[
        "",
        "3",
        "40",
        "0",
        "99999999999999999999",
        "3155760000",
        "-1",
        "soon",
        "Thu, 13 Feb 2225 19:08:07 GMT",
        "Thu, 13 Feb 1975 19:08:07 GMT",
    ]);
    let per_mille = random.pick(&[100, 400, 900]);
    random.pick(&[
        Fault::Flaky(per_mille),
        Fault::Flaky(per_mille),
        Fault::Flaky(per_mille),
        Fault::Outage(silence),
        Fault::Outage(silence),
        Fault::Throttled(hint),
        Fault::KeyRefused,
        Fault::AllForbidden,
        Fault::Misrouted,
        Fault::Hanging(one),
        Fault::Failing(one),
        Fault::Forbidden(one),
    ])
}

/// The answers with which Imprint refuses single customers.
const REFUSALS: [Answer; 8] = [
    Answer::Status(302, None),
    Answer::Status(400, None),
    Answer::Status(401, None),
    Answer::Status(403, None),
    Answer::Status(404, None),
    Answer::Status(405, None),
    Answer::Status(429, None),
    Answer::Status(429, Some("40")),
];

/// Returns a fault of Imprint, or of a gateway in front of Imprint, that concerns every customer.
fn everyone(random: &mut SeededRandom, people: usize) -> Fault {
    let updates = Fault::Answers(people, random.pick(&REFUSALS));
    random.pick(&[
        Fault::KeyRefused,
        Fault::AllForbidden,
        Fault::Misrouted,
        Fault::Throttled("2"),
        updates,
        updates,
    ])
}

pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
