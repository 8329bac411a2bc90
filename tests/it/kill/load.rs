//! The senders, and the ledger of what the bridge owes them: it lives here, where no kill of the bridge reaches it.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use imprint_bridge::time::Clock;

use super::bridge::pause;
use super::event::Event;
use super::http::{Answer, Client};
use super::verdict::Violation;

/// Where events go.
const EVENTS: &str = "/v1/sources/crm/events";
const STRUCTURED: &str = "application/cloudevents+json";
/// V8: how long a sender that never gives up may have to try, restarts included.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// How long a sender waits before it tries again.
const RETRY_AFTER: Duration = Duration::from_millis(5);
/// Of how many events a sender remembers that they were answered, to send them again.
const REMEMBERED: usize = 32;

/// What a sender knows of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was sent, and no answer came: it may be kept or not.
    Open,
    /// It was answered 2xx: it is owed.
    Answered,
}

/// What was sent, and what is owed for it.
#[derive(Debug)]
pub(crate) struct Obligations {
    events: Mutex<BTreeMap<Event, Standing>>,
    /// The next revision of each customer.
    next: Vec<AtomicU64>,
    pub(crate) acks: AtomicU64,
    pub(crate) retries: AtomicU64,
}

impl Obligations {
    pub(crate) fn new(customers: usize) -> Self {
        Self {
            events: Mutex::default(),
            next: (0..customers).map(|_| AtomicU64::new(1)).collect(),
            acks: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        }
    }

    /// Everything that was ever sent.
    pub(crate) fn events(&self) -> MutexGuard<'_, BTreeMap<Event, Standing>> {
        self.events.lock().unwrap()
    }

    fn fresh(&self, chance: &mut Chance) -> Event {
        let customer = chance.below(self.next.len());
        let revision = self
            .next
            .get(customer)
            .map_or(0, |next| next.fetch_add(1, Ordering::Relaxed));
        Event { customer, revision }
    }
}

/// What a sender does when it hears nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Temper {
    /// It tries until it is answered.
    Persistent,
    /// It tries once.
    Fickle,
}

/// One sender with a connection of its own.
#[derive(Debug)]
pub(crate) struct Sender<'a> {
    obligations: &'a Obligations,
    client: Client,
    clock: Clock,
    chance: Chance,
    answered: VecDeque<Event>,
}

impl<'a> Sender<'a> {
    pub(crate) fn new(obligations: &'a Obligations, bridge: SocketAddr, seed: u64) -> Self {
        Self {
            obligations,
            client: Client::new(bridge),
            clock: Clock::machine(),
            chance: Chance(seed),
            answered: VecDeque::new(),
        }
    }

    /// Sends until it is told to stop: fresh events mostly, some in the wrong order, some once more.
    pub(crate) fn run(&mut self, stop: &AtomicBool) -> Result<(), Violation> {
        while !stop.load(Ordering::Relaxed) {
            let temper = if self.chance.one_in(20) {
                Temper::Fickle
            } else {
                Temper::Persistent
            };
            let event = self.obligations.fresh(&mut self.chance);
            if self.chance.one_in(15) {
                let newer = self.obligations.fresh(&mut self.chance);
                self.send(newer, Temper::Persistent)?;
            }
            self.send(event, temper)?;
            if self.chance.one_in(10)
                && let Some(again) = self.answered.pop_front()
            {
                self.send(again, Temper::Persistent)?;
            }
            pause(Duration::from_millis(self.chance.up_to(3)));
        }
        Ok(())
    }

    /// Sends what was never answered, until it is.
    pub(crate) fn insist(&mut self) -> Result<(), Violation> {
        let open: Vec<Event> = self
            .obligations
            .events()
            .iter()
            .filter(|(_, standing)| **standing == Standing::Open)
            .map(|(event, _)| *event)
            .collect();
        open.into_iter()
            .try_for_each(|event| self.send(event, Temper::Persistent))
    }

    fn send(&mut self, event: Event, temper: Temper) -> Result<(), Violation> {
        let deadline = self.clock.now().after(ANSWERED_WITHIN);
        let before = *self
            .obligations
            .events()
            .entry(event)
            .or_insert(Standing::Open);
        loop {
            match self.client.post(EVENTS, STRUCTURED, &event.content()) {
                Ok(answer) if answer.status == 202 => return self.heard(event, before, &answer),
                // The only refusals that say "come again".
                Ok(answer) if matches!(answer.status, 429 | 503) => {}
                Ok(answer) => {
                    return Err(Violation::Refused {
                        event,
                        answer: format!("{} {}", answer.status, answer.text()),
                    });
                }
                // Nobody listens between two processes; that is no reason to give up even for the fickle.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(_) if temper == Temper::Fickle => return Ok(()),
                Err(_) => {}
            }
            if self.clock.now() > deadline {
                return Err(Violation::NotLive { event });
            }
            self.obligations.retries.fetch_add(1, Ordering::Relaxed);
            pause(RETRY_AFTER);
        }
    }

    /// What was answered before is known for ever.
    fn heard(&mut self, event: Event, before: Standing, answer: &Answer) -> Result<(), Violation> {
        let answer = answer.json();
        let told = answer.pointer("/accepted/0");
        let is_about = told.and_then(|told| told.get("id")?.as_str()) == Some(&event.id());
        let is_known = told.and_then(|told| told.get("duplicate")?.as_bool());
        if !is_about || (before == Standing::Answered && is_known != Some(true)) {
            let what = format!("it was answered before, and now {answer}");
            return Err(Violation::Lost { event, what });
        }
        self.obligations.events().insert(event, Standing::Answered);
        self.obligations.acks.fetch_add(1, Ordering::Relaxed);
        self.answered.push_back(event);
        self.answered.truncate(REMEMBERED);
        Ok(())
    }
}

/// A seeded sequence: splitmix64, so that a run is drawn the same way again.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `most`.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        self.draw() % (most + 1)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.up_to(u64::MAX - 1)).unwrap_or_default() % end
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.draw().is_multiple_of(times)
    }
}
