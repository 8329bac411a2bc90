//! The senders of the kill test, and the list of sent events, which is in the test process and survives every kill of
//! the bridge.

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
/// FAULTS V8: the longest time until a sender that keeps sending gets an answer, including restarts of the bridge.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The pause of a sender between two attempts to send an event.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// The number of acknowledged events that a sender remembers, in order to send some of these events again.
const REPEATABLE_MAX: usize = 32;

/// The status of an event that a sender of the kill test has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendStatus {
    /// The sender got no answer, so the bridge may have stored the event or not.
    Unanswered,
    /// The bridge answered 202, so the bridge must never lose the event.
    Acknowledged,
}

/// All events that the senders of the kill test have sent, with the status of each event.
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

/// The reaction of a sender to a request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RetryMode {
    /// The sender sends the event again until the bridge answers.
    UntilAnswered,
    /// The sender does not send the event again.
    Never,
}

/// A sender of the kill test, with its own connection.
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

    /// Sends events until `stop` is set: mostly new events, some in the wrong order, some a second time.
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

    /// Sends each unanswered event again until the bridge answers.
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
                // 429 and 503 are the only statuses after which a sender sends the same event again.
                Ok(answer) if matches!(answer.status, 429 | 503) => {}
                Ok(answer) => {
                    return Err(Violation::Rejected {
                        event,
                        answer: format!("{} {}", answer.status, answer.text()),
                    });
                }
                // No process listens while the bridge restarts, so a refused connection means that the event was not
                // sent.
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

    /// Records a 202. The bridge must answer an event that was acknowledged before as a duplicate.
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

/// Returns true in one of `times` calls, on average.
fn one_in(random: &mut SeededRandom, times: u64) -> bool {
    random.below(times) == 0
}
