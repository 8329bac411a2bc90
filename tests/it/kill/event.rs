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

    fn history(self) -> Value {
        let mut history = json!({"email": self.email()});
        if self.speaks_of_name()
            && let Some(history) = history.as_object_mut()
        {
            history.insert("first_name".to_owned(), self.first_name().into());
        }
        history
    }
}

/// Imprint's id of a customer.
pub(crate) fn imprint_id(customer: usize) -> String {
    format!("kill-{customer}")
}

/// The events that the facts of a request came from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carried {
    pub(crate) email: Option<Event>,
    pub(crate) first_name: Option<Event>,
}

impl Carried {
    /// Reads a request about a customer; `None` for a body that no events of this customer come to.
    pub(crate) fn read(customer: usize, body: &Map<String, Value>) -> Option<Self> {
        let mut carried = Self::default();
        let mut history = None;
        for (field, value) in body {
            match field.as_str() {
                "email" => carried.email = Some(of_email(customer, value.as_str()?)?),
                "first_name" => carried.first_name = Some(of_name(customer, value.as_str()?)?),
                "customer_history" => history = Some(of_history(customer, value)?),
                _ => return None,
            }
        }
        // Every event speaks of both, so that both have the same newest.
        (history == carried.email).then_some(carried)
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

fn of_history(customer: usize, history: &Value) -> Option<Event> {
    let event = of_email(customer, history.get("email")?.as_str()?)?;
    (event.history() == *history).then_some(event)
}

fn of_name(customer: usize, name: &str) -> Option<Event> {
    let revision = name.strip_prefix("First ")?.parse().ok()?;
    let event = Event { customer, revision };
    event.speaks_of_name().then_some(event)
}
