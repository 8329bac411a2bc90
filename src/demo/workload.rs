//! The story that is told to the bridge: changes of made-up customers in an order that no CRM would admit to.
//!
//! Of a thousand events about 30 repeat an earlier one, 50 come after a newer one of the same customer, and 20 are
//! wrong in one way or another. A seed decides all of it; the clock of the story starts on the same day each time.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::customers::{CalendarDay, ExpectedValues, SimulatedCustomer, pick};
use crate::random::SeededRandom;
use crate::time::Timestamp;

/// In a thousand: events that are wrong.
const INVALID: u64 = 20;
/// In a thousand: events that were sent before.
const REPEATED: u64 = 30;
/// In a thousand: events that a newer one overtakes.
const LATE: u64 = 50;
/// In a thousand: changes of the customer who was changed last, as when a clerk goes through a form.
const AGAIN: u64 = 250;
/// How many events there are to a customer.
const EVENTS_PER_CUSTOMER: u64 = 5;
/// How many events are remembered to be repeated.
const REMEMBERED: usize = 200;
/// How many events overtake a late one at the most.
const LATE_MAX: u64 = 40;
/// When the story starts: 2025-09-01T14:00:00Z.
const START: Timestamp = Timestamp::from_millis(1_756_735_200_000);
/// How much time passes from one event to the next.
const STEP: Duration = Duration::from_secs(17);

/// One event, ready to be posted.
#[derive(Clone)]
pub(super) struct GeneratedEvent {
    pub(super) id: String,
    /// The customer, as the CRM calls them.
    pub(super) subject: String,
    pub(super) body: Rc<[u8]>,
    /// What Imprint is to know if the bridge takes it; `None` if the bridge is not to take it.
    pub(super) expected: Option<Rc<ExpectedUpdate>>,
}

/// What an event says of a customer.
pub(super) struct ExpectedUpdate {
    pub(super) imprint_id: String,
    pub(super) revision: u64,
    pub(super) values: ExpectedValues,
}

/// The events, one after the other.
pub(super) struct Workload {
    random: SeededRandom,
    events: u64,
    generated: u64,
    made: u64,
    customers: BTreeMap<u64, SimulatedCustomer>,
    last: u64,
    recent: VecDeque<GeneratedEvent>,
    /// Events that are held back, and until when.
    late: Vec<(u64, GeneratedEvent)>,
}

impl Workload {
    pub(super) const fn new(seed: u64, events: u64) -> Self {
        Self {
            random: SeededRandom::new(seed),
            events,
            generated: 0,
            made: 0,
            customers: BTreeMap::new(),
            last: 0,
            recent: VecDeque::new(),
            late: Vec::new(),
        }
    }

    /// The late event that is due, or that must go because nothing else fits in any more.
    fn overdue(&mut self) -> Option<GeneratedEvent> {
        let left = self.events.saturating_sub(self.generated);
        let is_end = u64::try_from(self.late.len()).unwrap_or(u64::MAX) > left;
        let generated = self.generated;
        let at = self
            .late
            .iter()
            .position(|(due, _)| is_end || *due <= generated)?;
        Some(self.late.remove(at).1)
    }

    fn draw(&mut self) -> GeneratedEvent {
        let roll = self.random.below(1000);
        if roll < INVALID {
            return self.invalid();
        }
        if roll < INVALID + REPEATED && !self.recent.is_empty() {
            return self.repeated();
        }
        let number = self.whom();
        let change = self.change(number);
        let left = self.events.saturating_sub(self.generated);
        let is_room = u64::try_from(self.late.len()).unwrap_or(u64::MAX) < left;
        if (INVALID + REPEATED..INVALID + REPEATED + LATE).contains(&roll) && is_room {
            let newer = self.change(number);
            let wait = match self.random.happens(500) {
                true => 1,
                false => 1 + self.random.below(LATE_MAX),
            };
            self.late
                .push((self.generated.saturating_add(wait), change));
            return newer;
        }
        change
    }

    fn repeated(&mut self) -> GeneratedEvent {
        let count = u64::try_from(self.recent.len()).unwrap_or(1);
        let at = usize::try_from(self.random.below(count)).unwrap_or(0);
        match self.recent.get(at) {
            Some(event) => event.clone(),
            None => self.invalid(),
        }
    }

    /// Which customer the next event is about.
    fn whom(&mut self) -> u64 {
        if !self.random.happens(AGAIN) {
            self.last = self
                .random
                .below((self.events / EVENTS_PER_CUSTOMER).max(1));
        }
        self.last
    }

    /// The customer's next change.
    fn change(&mut self, number: u64) -> GeneratedEvent {
        let mut customer = self.customer(number);
        customer.change(&mut self.random);
        let (id, at) = self.stamp();
        let expected = ExpectedUpdate {
            imprint_id: customer.imprint_id.clone(),
            revision: customer.revision,
            values: customer.values(day(at)),
        };
        let event = GeneratedEvent {
            body: envelope(&id, at, &customer).to_string().into_bytes().into(),
            id,
            subject: customer.partner_id.clone(),
            expected: Some(Rc::new(expected)),
        };
        self.customers.insert(number, customer);
        event
    }

    /// A change that the bridge must refuse; the customer stays as they were.
    fn invalid(&mut self) -> GeneratedEvent {
        let number = self.whom();
        let mut customer = self.customer(number);
        customer.change(&mut self.random);
        let (id, at) = self.stamp();
        let mut event = envelope(&id, at, &customer);
        let customer = customer.partner_id;
        let flaw = pick(&mut self.random, &FLAWS);
        if let Some(place) = event.pointer_mut(flaw.pointer()) {
            *place = flaw.value();
        }
        let mut body = event.to_string();
        if matches!(flaw, InvalidEvent::Broken) {
            body.truncate(body.len() / 2);
        }
        GeneratedEvent {
            id,
            subject: customer,
            body: body.into_bytes().into(),
            expected: None,
        }
    }

    fn customer(&mut self, number: u64) -> SimulatedCustomer {
        let random = &mut self.random;
        let customer = self.customers.entry(number);
        customer
            .or_insert_with(|| SimulatedCustomer::draw(number, random))
            .clone()
    }

    fn stamp(&mut self) -> (String, Timestamp) {
        self.made = self.made.saturating_add(1);
        let steps = u32::try_from(self.made).unwrap_or(u32::MAX);
        let at = START.after(STEP.saturating_mul(steps));
        (format!("demo-{:07}", self.made), at)
    }
}

impl Iterator for Workload {
    type Item = GeneratedEvent;

    fn next(&mut self) -> Option<GeneratedEvent> {
        if self.generated >= self.events {
            return None;
        }
        self.generated = self.generated.saturating_add(1);
        let event = match self.overdue() {
            Some(event) => event,
            None => self.draw(),
        };
        if event.expected.is_some() {
            self.recent.push_back(event.clone());
        }
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
        Some(event)
    }
}

/// A way to be wrong.
#[derive(Clone, Copy, Debug, Default)]
enum InvalidEvent {
    #[default]
    Broken,
    NoEmail,
    NoCustomer,
    NoTier,
    NoPhone,
    NoNumber,
    NoType,
}

const FLAWS: [InvalidEvent; 7] = [
    InvalidEvent::Broken,
    InvalidEvent::NoEmail,
    InvalidEvent::NoCustomer,
    InvalidEvent::NoTier,
    InvalidEvent::NoPhone,
    InvalidEvent::NoNumber,
    InvalidEvent::NoType,
];

impl InvalidEvent {
    const fn pointer(self) -> &'static str {
        match self {
            Self::Broken => "/specversion",
            Self::NoEmail => "/data/customer/email",
            Self::NoCustomer => "/data/customer",
            Self::NoTier => "/data/customer/loyalty/tier",
            Self::NoPhone => "/data/customer/phone",
            Self::NoNumber => "/data/customer/revision",
            Self::NoType => "/type",
        }
    }

    fn value(self) -> Value {
        match self {
            Self::Broken => json!("1.0"),
            Self::NoEmail => json!("somebody(at)example.com"),
            Self::NoCustomer => {
                json!({"id": "CRM-000000", "imprint_customer_id": "", "revision": "none"})
            }
            Self::NoTier => json!("Diamond"),
            Self::NoPhone => json!("ask at reception"),
            Self::NoNumber => json!("the next one"),
            Self::NoType => json!("customer.vanished"),
        }
    }
}

/// The event as the CRM posts it.
fn envelope(id: &str, at: Timestamp, customer: &SimulatedCustomer) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": "/crm/us",
        "type": "customer.changed",
        "subject": customer.partner_id,
        "time": at.to_rfc3339(),
        "datacontenttype": "application/json",
        "data": customer.data(),
    })
}

/// The day of a moment, read off its text.
fn day(at: Timestamp) -> CalendarDay {
    let text = at.to_rfc3339();
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).and_then(|digits| digits.parse().ok());
        digits.unwrap_or_default()
    };
    CalendarDay {
        year: number(0, 4),
        month: number(5, 7),
        day: number(8, 10),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::demo::environment::shipped;
    use crate::event::SourceName;
    use crate::event::cloudevents::{self, ContentMode, HttpMessage};
    use crate::imprint::CustomerChange;
    use crate::imprint::clearing::Clearing;
    use crate::intake::Source;

    fn map(source: &Source, event: &GeneratedEvent) -> Option<CustomerChange> {
        let message = HttpMessage {
            mode: ContentMode::Structured,
            headers: &[],
            content_type: "application/cloudevents+json",
            body: &event.body,
        };
        let decoded = cloudevents::decode(&SourceName::parse("crm").unwrap(), message, 1).ok()?;
        let event = decoded.into_iter().next()?.ok()?;
        let kind = source.event_types.get(event.event_type.as_str())?;
        let fits = kind.schema.errors(&event.envelope).is_empty();
        fits.then(|| kind.mapping.map(&event.envelope).ok())
            .flatten()
            .flatten()
    }

    /// The sandbox's customer after one update.
    fn generated(mapped: &CustomerChange) -> Value {
        let mut body = mapped.update.body(Clearing::default()).to_object();
        let history = body.remove("customer_history").unwrap();
        let mut address = serde_json::Map::new();
        for field in [
            "street_line1",
            "street_line2",
            "city",
            "state",
            "postal_code",
        ] {
            if let Some(line) = body.remove(field) {
                address.insert(field.to_owned(), line);
            }
        }
        body.insert("address".to_owned(), Value::Object(address));
        json!({"customer": body, "customer_history": history})
    }

    #[test]
    fn what_is_right_is_taken_and_comes_to_the_facts_and_what_is_wrong_is_refused() {
        let source = shipped();
        for event in (0..4).flat_map(|seed| Workload::new(seed, 1_000)) {
            let mapped = map(&source, &event);
            assert_eq!(mapped.is_some(), event.expected.is_some(), "{}", event.id);
            let (Some(mapped), Some(expected)) = (mapped, &event.expected) else {
                continue;
            };
            assert!(
                mapped
                    .customer
                    .imprint()
                    .unwrap()
                    .is_same(&expected.imprint_id)
            );
            assert_eq!(
                u64::try_from(mapped.version.value).unwrap(),
                expected.revision
            );
            let differences = expected.values.differences(&generated(&mapped));
            assert!(differences.is_empty(), "{} {differences:?}", event.id);
        }
    }

    #[test]
    fn a_seed_tells_the_same_story_and_another_seed_another() {
        let tell = |seed| -> Vec<(String, Rc<[u8]>)> {
            Workload::new(seed, 300)
                .map(|event| (event.id, event.body))
                .collect()
        };
        assert_eq!(tell(5), tell(5));
        assert_ne!(tell(5), tell(6));
        // A longer story about as many customers would begin otherwise; no story is shorter than asked for.
        for events in [1, 2, 7, 50, 999] {
            assert_eq!(
                u64::try_from(Workload::new(3, events).count()).unwrap(),
                events
            );
        }
    }

    #[test]
    fn the_shares_are_about_as_promised() {
        const EVENTS: u64 = 20_000;
        let mut ids = BTreeSet::new();
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        let (mut invalid, mut repeated, mut late) = (0, 0, 0);
        for event in Workload::new(11, EVENTS) {
            let is_new = ids.insert(event.id.clone());
            let Some(expected) = &event.expected else {
                invalid += 1;
                continue;
            };
            let newest = newest.entry(expected.imprint_id.clone()).or_default();
            if !is_new {
                repeated += 1;
            } else if expected.revision < *newest {
                late += 1;
            }
            *newest = expected.revision.max(*newest);
        }
        assert!((300..500).contains(&invalid), "{invalid}");
        assert!((450..750).contains(&repeated), "{repeated}");
        assert!((800..1_200).contains(&late), "{late}");
        let customers = newest.len();
        assert!((3_000..=4_000).contains(&customers), "{customers}");
    }

    #[test]
    fn every_revision_of_a_customer_is_told_once() {
        let mut revisions: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for expected in Workload::new(2, 3_000).filter_map(|event| event.expected) {
            let generated = revisions.entry(expected.imprint_id.clone()).or_default();
            generated.insert(expected.revision);
        }
        for generated in revisions.values() {
            let count = u64::try_from(generated.len()).unwrap();
            assert_eq!(
                generated.iter().copied().collect::<Vec<_>>(),
                (1..=count).collect::<Vec<_>>()
            );
        }
    }
}
