//! The workload of the demo: generated events about changes of simulated customers, in a difficult order.
//!
//! Of 1,000 events, about 30 repeat an earlier event, 50 arrive after a newer event of the same customer, and 20 are
//! invalid. The same seed and the same number of events always give the same workload. The generated event times do not
//! depend on the real time.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::customers::{CalendarDay, ExpectedValues, SimulatedCustomer, pick};
use crate::random::SeededRandom;
use crate::time::Timestamp;

/// The number of invalid events per 1,000 events.
const INVALID: u64 = 20;
/// The number of repeated events per 1,000 events.
const REPEATED: u64 = 30;
/// The number of late events per 1,000 events. The CRM sends a late event after a newer event of the same customer.
const LATE: u64 = 50;
/// The number of events per 1,000 events that change the same customer as the event before. A clerk who saves a form
/// repeatedly causes such events.
const AGAIN: u64 = 250;
/// The average number of events per customer.
const EVENTS_PER_CUSTOMER: u64 = 5;
/// To repeat an event, the workload chooses among this number of the most recently sent valid events.
const RECENT_MAX: usize = 200;
/// The maximum distance, in events, between a late event and the newer event that the CRM sends first.
const LATE_MAX: u64 = 40;
/// The time one [`STEP`] before the first event of the workload: 2025-09-01T14:00:00Z.
const START: Timestamp = Timestamp::from_millis(1_756_735_200_000);
/// The difference between the times of two consecutive events of the workload.
const STEP: Duration = Duration::from_secs(17);

/// One generated event that the simulated CRM can send.
#[derive(Clone)]
pub(super) struct GeneratedEvent {
    pub(super) id: String,
    /// The CRM's id of the customer.
    pub(super) subject: String,
    pub(super) body: Rc<[u8]>,
    /// The expected effect of the event at Imprint. The value is `None` if the bridge must refuse the event.
    pub(super) expected: Option<Rc<ExpectedUpdate>>,
}

/// The expected effect of one event on one customer at Imprint.
pub(super) struct ExpectedUpdate {
    pub(super) imprint_id: String,
    pub(super) revision: u64,
    pub(super) values: ExpectedValues,
}

/// The generated events, in the order in which the simulated CRM sends the events.
pub(super) struct Workload {
    random: SeededRandom,
    events: u64,
    sent: u64,
    made: u64,
    customers: BTreeMap<u64, SimulatedCustomer>,
    last_customer: u64,
    recent: VecDeque<GeneratedEvent>,
    /// The late events that the CRM has not sent yet. The number in a pair is the number of sent events at which the
    /// late event is due.
    late: Vec<(u64, GeneratedEvent)>,
}

impl Workload {
    pub(super) const fn new(seed: u64, events: u64) -> Self {
        Self {
            random: SeededRandom::new(seed),
            events,
            sent: 0,
            made: 0,
            customers: BTreeMap::new(),
            last_customer: 0,
            recent: VecDeque::new(),
            late: Vec::new(),
        }
    }

    /// Returns a late event that is due. At the end of the workload, every late event is due.
    fn overdue(&mut self) -> Option<GeneratedEvent> {
        let left = self.events.saturating_sub(self.sent);
        let is_end = u64::try_from(self.late.len()).unwrap_or(u64::MAX) > left;
        let sent = self.sent;
        let at = self
            .late
            .iter()
            .position(|(due, _)| is_end || *due <= sent)?;
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
        let number = self.next_customer();
        let change = self.change(number);
        let left = self.events.saturating_sub(self.sent);
        let is_room = u64::try_from(self.late.len()).unwrap_or(u64::MAX) < left;
        if (INVALID + REPEATED..INVALID + REPEATED + LATE).contains(&roll) && is_room {
            let newer = self.change(number);
            let wait = match self.random.happens(500) {
                true => 1,
                false => 1 + self.random.below(LATE_MAX),
            };
            self.late.push((self.sent.saturating_add(wait), change));
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

    /// Chooses the customer of the next event.
    fn next_customer(&mut self) -> u64 {
        if !self.random.happens(AGAIN) {
            self.last_customer = self
                .random
                .below((self.events / EVENTS_PER_CUSTOMER).max(1));
        }
        self.last_customer
    }

    /// Changes customer `number` and returns the event of this change.
    fn change(&mut self, number: u64) -> GeneratedEvent {
        let mut customer = self.customer(number);
        customer.change(&mut self.random);
        let (id, at) = self.stamp();
        let expected = ExpectedUpdate {
            imprint_id: customer.imprint_id.clone(),
            revision: customer.revision,
            values: customer.expected_values(day(at)),
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

    /// Creates an invalid event and leaves the customer unchanged.
    fn invalid(&mut self) -> GeneratedEvent {
        let number = self.next_customer();
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
        if self.sent >= self.events {
            return None;
        }
        self.sent = self.sent.saturating_add(1);
        let event = match self.overdue() {
            Some(event) => event,
            None => self.draw(),
        };
        if event.expected.is_some() {
            self.recent.push_back(event.clone());
        }
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        Some(event)
    }
}

/// The ways in which an event is invalid.
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

/// Returns the `CloudEvent` that the simulated CRM sends about a customer.
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

/// Returns the calendar day of a timestamp.
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

    /// Returns the sandbox's customer after one update.
    fn updated(mapped: &CustomerChange) -> Value {
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
    fn valid_events_map_to_the_expected_values_and_invalid_ones_do_not_map() {
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
            let differences = expected.values.differences(&updated(&mapped));
            assert!(differences.is_empty(), "{} {differences:?}", event.id);
        }
    }

    #[test]
    fn the_seed_decides_the_workload() {
        let tell = |seed| -> Vec<(String, Rc<[u8]>)> {
            Workload::new(seed, 300)
                .map(|event| (event.id, event.body))
                .collect()
        };
        assert_eq!(tell(5), tell(5));
        assert_ne!(tell(5), tell(6));
        // A workload has exactly the requested number of events.
        for events in [1, 2, 7, 50, 999] {
            assert_eq!(
                u64::try_from(Workload::new(3, events).count()).unwrap(),
                events
            );
        }
    }

    #[test]
    fn the_shares_are_about_as_documented() {
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
    fn every_revision_of_a_customer_occurs() {
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
