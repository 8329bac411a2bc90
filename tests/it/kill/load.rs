//! The senders of the kill test, and their list of sent events, which no kill of the bridge can destroy.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use imprint_bridge::random::SeededRandom;
use imprint_bridge::time::Clock;

use super::bridge::pause;
use super::event::Event;
use super::http::{Answer, Client};
use super::report::Violation;

const EVENTS_PATH: &str = "/v1/sources/crm/events";
const STRUCTURED: &str = "application/cloudevents+json";
/// FAULTS V8: the longest time until a sender that keeps trying is answered, restarts included.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The pause of a sender between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// The number of acknowledged events that a sender keeps, to send some of them again.
const REPEATABLE_MAX: usize = 32;

/// Whether a sent event was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendStatus {
    /// No answer came: the event may be stored or not.
    Unanswered,
    /// The answer was 202: from now on the event must never be lost.
    Acknowledged,
}

/// All events that were sent, and whether they were acknowledged.
#[derive(Debug)]
pub(crate) struct SentEvents {
    events: Mutex<BTreeMap<Event, SendStatus>>,
    /// The next revision of each customer.
    next_revisions: Vec<AtomicU64>,
    pub(crate) acks: AtomicU64,
    pub(crate) retries: AtomicU64,
}

impl SentEvents {
    pub(crate) fn new(customers: usize) -> Self {
        Self {
            events: Mutex::default(),
            next_revisions: (0..customers).map(|_| AtomicU64::new(1)).collect(),
            acks: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        }
    }

    pub(crate) fn events(&self) -> MutexGuard<'_, BTreeMap<Event, SendStatus>> {
        self.events.lock().unwrap()
    }

    fn new_event(&self, random: &mut SeededRandom) -> Event {
        let customer = below(random, self.next_revisions.len());
        let revision = self
            .next_revisions
            .get(customer)
            .map_or(0, |next| next.fetch_add(1, Ordering::Relaxed));
        Event { customer, revision }
    }
}

/// What a sender does if it gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RetryMode {
    /// It sends again until it is answered.
    UntilAnswered,
    /// It does not send again.
    Never,
}

/// A sender with its own connection.
#[derive(Debug)]
pub(crate) struct Sender<'a> {
    sent: &'a SentEvents,
    client: Client,
    clock: Clock,
    random: SeededRandom,
    repeatable: VecDeque<Event>,
}

impl<'a> Sender<'a> {
    pub(crate) fn new(sent: &'a SentEvents, bridge: SocketAddr, seed: u64) -> Self {
        Self {
            sent,
            client: Client::new(bridge),
            clock: Clock::machine(),
            random: SeededRandom::new(seed),
            repeatable: VecDeque::new(),
        }
    }

    /// Sends until `stop` is set: mostly new events, some in the wrong order, some a second time.
    pub(crate) fn send_until(&mut self, stop: &AtomicBool) -> Result<(), Violation> {
        while !stop.load(Ordering::Relaxed) {
            let retry = if one_in(&mut self.random, 20) {
                RetryMode::Never
            } else {
                RetryMode::UntilAnswered
            };
            let event = self.sent.new_event(&mut self.random);
            if one_in(&mut self.random, 15) {
                let newer = self.sent.new_event(&mut self.random);
                self.send(newer, RetryMode::UntilAnswered)?;
            }
            self.send(event, retry)?;
            if one_in(&mut self.random, 10)
                && let Some(again) = self.repeatable.pop_front()
            {
                self.send(again, RetryMode::UntilAnswered)?;
            }
            pause(Duration::from_millis(self.random.below(4)));
        }
        Ok(())
    }

    /// Sends the events without an answer again, until they are answered.
    pub(crate) fn resend_unanswered(&mut self) -> Result<(), Violation> {
        let unanswered: Vec<Event> = self
            .sent
            .events()
            .iter()
            .filter(|(_, status)| **status == SendStatus::Unanswered)
            .map(|(event, _)| *event)
            .collect();
        unanswered
            .into_iter()
            .try_for_each(|event| self.send(event, RetryMode::UntilAnswered))
    }

    fn send(&mut self, event: Event, retry: RetryMode) -> Result<(), Violation> {
        let deadline = self.clock.now().after(ANSWER_MAX);
        let before = *self
            .sent
            .events()
            .entry(event)
            .or_insert(SendStatus::Unanswered);
        loop {
            match self.client.post(EVENTS_PATH, STRUCTURED, &event.body()) {
                Ok(answer) if answer.status == 202 => {
                    return self.acknowledge(event, before, &answer);
                }
                // The only statuses that mean "send again later".
                Ok(answer) if matches!(answer.status, 429 | 503) => {}
                Ok(answer) => {
                    return Err(Violation::Rejected {
                        event,
                        answer: format!("{} {}", answer.status, answer.text()),
                    });
                }
                // No process listens between two runs: the event was not sent yet.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(_) if retry == RetryMode::Never => return Ok(()),
                Err(_) => {}
            }
            if self.clock.now() > deadline {
                return Err(Violation::NotAnswered { event });
            }
            self.sent.retries.fetch_add(1, Ordering::Relaxed);
            pause(RETRY_PAUSE);
        }
    }

    /// Records a 202. An event that was acknowledged before must be answered as a duplicate.
    fn acknowledge(
        &mut self,
        event: Event,
        before: SendStatus,
        answer: &Answer,
    ) -> Result<(), Violation> {
        let answer = answer.json();
        let accepted = answer.pointer("/accepted/0");
        let has_id = accepted.and_then(|line| line.get("id")?.as_str()) == Some(&event.id());
        let is_duplicate = accepted.and_then(|line| line.get("duplicate")?.as_bool());
        if !has_id || (before == SendStatus::Acknowledged && is_duplicate != Some(true)) {
            let reason = format!("status before: {before:?}, answer now: {answer}");
            return Err(Violation::Lost { event, reason });
        }
        self.sent.events().insert(event, SendStatus::Acknowledged);
        self.sent.acks.fetch_add(1, Ordering::Relaxed);
        self.repeatable.push_back(event);
        self.repeatable.truncate(REPEATABLE_MAX);
        Ok(())
    }
}

fn below(random: &mut SeededRandom, end: usize) -> usize {
    let end = u64::try_from(end).unwrap_or(u64::MAX);
    usize::try_from(random.below(end)).unwrap_or_default()
}

/// True in one of `times` calls, on average.
fn one_in(random: &mut SeededRandom, times: u64) -> bool {
    random.below(times) == 0
}
