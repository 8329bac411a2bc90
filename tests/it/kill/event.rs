//! The events of the kill test. Customer and revision determine the content of an event, so that every value at
//! Imprint shows which event set the value.

use serde_json::{Map, Value, json};

/// The CloudEvents `source` of all events in the kill test.
const CE_SOURCE: &str = "/crm/us";

/// An event of the kill test: one change of one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) customer: usize,
    pub(crate) revision: u64,
}

impl Event {
    pub(crate) fn id(self) -> String {
        format!("c{}-r{}", self.customer, self.revision)
    }

    pub(crate) fn from_id(id: &str) -> Option<Self> {
        let (customer, revision) = id.strip_prefix('c')?.split_once("-r")?;
        Some(Self {
            customer: customer.parse().ok()?,
            revision: revision.parse().ok()?,
        })
    }

    /// Returns true for every third revision, which also sets the first name. So a customer's newest values may come
    /// from different events.
    pub(crate) fn has_first_name(self) -> bool {
        self.revision.is_multiple_of(3)
    }

    /// Builds the event body that the CRM sends.
    pub(crate) fn body(self) -> Vec<u8> {
        let mut customer = json!({
            "id": format!("P-{}", self.customer),
            "imprint_customer_id": imprint_id(self.customer),
            "revision": self.revision,
            "email": self.email(),
        });
        if self.has_first_name()
            && let Some(customer) = customer.as_object_mut()
        {
            customer.insert("name".to_owned(), json!({"first": self.first_name()}));
        }
        json!({
            "specversion": "1.0",
            "id": self.id(),
            "source": CE_SOURCE,
            "type": "customer.changed",
            "time": "2025-02-13T19:08:07Z",
            "datacontenttype": "application/json",
            "data": {"customer": customer},
        })
        .to_string()
        .into_bytes()
    }

    pub(crate) fn email(self) -> String {
        format!("r{}.c{}@example.com", self.revision, self.customer)
    }

    pub(crate) fn first_name(self) -> String {
        format!("First {}", self.revision)
    }
}

/// Returns Imprint's id of a customer in the kill test.
pub(crate) fn imprint_id(customer: usize) -> String {
    format!("kill-{customer}")
}

/// The events that set the values of one request to Imprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CarriedEvents {
    pub(crate) email: Option<Event>,
    pub(crate) first_name: Option<Event>,
}

impl CarriedEvents {
    /// Reads the body of an update; returns `None` if no events of this customer can produce the body.
    pub(crate) fn read(customer: usize, body: &Map<String, Value>) -> Option<Self> {
        let mut carried = Self::default();
        let mut history = Self::default();
        let is_history = |(field, _): &(&String, &Value)| *field == "customer_history";
        for (field, value) in body.iter().filter(|entry| !is_history(entry)) {
            carried.add(customer, field, value)?;
        }
        for (field, value) in body.get("customer_history")?.as_object()? {
            history.add(customer, field, value)?;
        }
        // Every event sets each value both at the top level and in `customer_history`, so both must show the same
        // event.
        (history == carried).then_some(carried)
    }

    fn add(&mut self, customer: usize, field: &str, value: &Value) -> Option<()> {
        match field {
            "email" => self.email = Some(event_of_email(customer, value.as_str()?)?),
            "first_name" => self.first_name = Some(event_of_first_name(customer, value.as_str()?)?),
            _ => return None,
        }
        Some(())
    }

    pub(crate) fn events(self) -> impl Iterator<Item = Event> {
        [self.email, self.first_name].into_iter().flatten()
    }
}

fn event_of_email(customer: usize, email: &str) -> Option<Event> {
    let revision = email.strip_prefix('r')?.split('.').next()?.parse().ok()?;
    let event = Event { customer, revision };
    (event.email() == email).then_some(event)
}

fn event_of_first_name(customer: usize, name: &str) -> Option<Event> {
    let revision = name.strip_prefix("First ")?.parse().ok()?;
    let event = Event { customer, revision };
    event.has_first_name().then_some(event)
}
