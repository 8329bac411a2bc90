//! The events of a run. What is in one follows from whom it is about and its revision, so that whatever turns up at
//! Imprint says itself which event it came from.

use serde_json::{Map, Value, json};

/// The sender's name for itself.
const CE_SOURCE: &str = "/crm/us";

/// One change of one customer.
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

    /// Every third revision speaks of the first name too, so that the newest facts may come from several events.
    pub(crate) fn speaks_of_name(self) -> bool {
        self.revision.is_multiple_of(3)
    }

    /// What the CRM sends.
    pub(crate) fn content(self) -> Vec<u8> {
        let mut customer = json!({
            "id": format!("P-{}", self.customer),
            "imprint_customer_id": imprint_id(self.customer),
            "revision": self.revision,
            "email": self.email(),
        });
        if self.speaks_of_name()
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

/// Imprint's id of a customer.
pub(crate) fn imprint_id(customer: usize) -> String {
    format!("kill-{customer}")
}

/// The events that the facts of a request came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) email: Option<Event>,
    pub(crate) first_name: Option<Event>,
}

impl Carried {
    /// Reads a request about a customer; `None` for a body that no events of this customer come to.
    pub(crate) fn read(customer: usize, body: &Map<String, Value>) -> Option<Self> {
        let mut carried = Self::default();
        let mut history = Self::default();
        let is_history = |(field, _): &(&String, &Value)| *field == "customer_history";
        for (field, value) in body.iter().filter(|entry| !is_history(entry)) {
            carried.take(customer, field, value)?;
        }
        for (field, value) in body.get("customer_history")?.as_object()? {
            history.take(customer, field, value)?;
        }
        // An event that speaks of a fact speaks of it in both places, so that both have the same newest.
        (history == carried).then_some(carried)
    }

    fn take(&mut self, customer: usize, field: &str, value: &Value) -> Option<()> {
        match field {
            "email" => self.email = Some(of_email(customer, value.as_str()?)?),
            "first_name" => self.first_name = Some(of_name(customer, value.as_str()?)?),
            _ => return None,
        }
        Some(())
    }

    pub(crate) fn events(self) -> impl Iterator<Item = Event> {
        [self.email, self.first_name].into_iter().flatten()
    }
}

fn of_email(customer: usize, email: &str) -> Option<Event> {
    let revision = email.strip_prefix('r')?.split('.').next()?.parse().ok()?;
    let event = Event { customer, revision };
    (event.email() == email).then_some(event)
}

fn of_name(customer: usize, name: &str) -> Option<Event> {
    let revision = name.strip_prefix("First ")?.parse().ok()?;
    let event = Event { customer, revision };
    event.speaks_of_name().then_some(event)
}
