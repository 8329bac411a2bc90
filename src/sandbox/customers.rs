//! The customers of the sandbox, and the effects of *update*, *retrieve* and *search* on the customers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::imprint::{EchoPlace, Field, ImprintId};
use crate::time::Timestamp;

use super::contract::CustomerSearch;
use super::seed::SeedCustomer;
use super::{Error, UnseededCustomer};

/// The maximum number of customers in the sandbox. A million customers take about 2 GB of memory, and no test needs
/// more customers.
const CUSTOMERS_MAX: usize = 1_000_000;

struct StoredCustomer {
    id: ImprintId,
    shown: Map<String, Value>,
    history: Map<String, Value>,
    updates: u64,
}

impl StoredCustomer {
    /// Creates a customer that always has a date of birth and a social security number. Every answer of the sandbox
    /// therefore contains values that the bridge must not keep.
    fn new(seeded: SeedCustomer, now: Timestamp) -> Self {
        let SeedCustomer {
            id,
            mut shown,
            history,
        } = seeded;
        let now = Value::from(now.to_rfc3339());
        for (field, value) in [
            ("statuses", json!({"Sandbox Card": "OPEN"})),
            ("ssn4", json!("6789")),
            ("date_of_birth", json!({"year": 1987, "month": 6, "day": 5})),
            ("metadata", json!({})),
            ("created_at", now.clone()),
            ("updated_at", now),
        ] {
            shown.entry(field).or_insert(value);
        }
        Self {
            id,
            shown,
            history,
            updates: 0,
        }
    }

    fn merge(&mut self, body: Map<String, Value>, now: Timestamp) {
        for (field, value) in body {
            let shown = &mut self.shown;
            match field.as_str() {
                "customer_history" if value.is_null() => self.history.clear(),
                "customer_history" => merge_deep(&mut self.history, object(Some(value))),
                "metadata" if !value.is_null() => {
                    let keys = object(Some(value));
                    within(shown, "metadata", |metadata| merge_keys(metadata, keys));
                }
                line if echo_place(line) == Some(EchoPlace::Address) => {
                    within(shown, "address", |address| set(address, field, value));
                }
                _ => set(shown, field, value),
            }
        }
        self.shown
            .insert("updated_at".to_owned(), now.to_rfc3339().into());
        self.updates = self.updates.saturating_add(1);
    }

    /// Returns the sandbox's customer in the form of Imprint's Customer object.
    fn show(&self) -> Value {
        let mut shown = self.shown.clone();
        shown.insert("id".to_owned(), self.id.as_str().into());
        Value::Object(shown)
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.shown.get(field).and_then(Value::as_str)
    }

    fn is_found_by(&self, search: &CustomerSearch) -> bool {
        let last_four = search.ssn.as_deref().map(last_four);
        search
            .partner_customer_id
            .as_deref()
            .is_none_or(|id| self.text("partner_customer_id") == Some(id))
            && last_four.is_none_or(|ssn4| self.text("ssn4") == Some(ssn4.as_str()))
            && search
                .date_of_birth
                .as_ref()
                .is_none_or(|born| self.shown.get("date_of_birth") == Some(born))
    }
}

/// The reason why an update did not change a customer.
pub(super) enum NotUpdated {
    /// The sandbox has no customer with this id.
    NotFound,
    /// The sandbox has the maximum number of customers.
    Full,
}

/// The sandbox's customers, by Imprint id and by partner customer id.
#[derive(Default)]
pub(super) struct CustomerTable {
    by_id: BTreeMap<String, StoredCustomer>,
    by_partner: BTreeMap<String, BTreeSet<String>>,
}

impl CustomerTable {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn seed(&mut self, seeded: SeedCustomer, now: Timestamp) -> Result<(), Error> {
        let key = seeded.id.canonical();
        if self.by_id.len() >= CUSTOMERS_MAX && !self.by_id.contains_key(&key) {
            return Err(Error::CustomersFull {
                customers_max: CUSTOMERS_MAX,
            });
        }
        let customer = StoredCustomer::new(seeded, now);
        let partner = customer.text("partner_customer_id").map(str::to_owned);
        let replaced = self.by_id.insert(key.clone(), customer);
        let old_partner = replaced
            .as_ref()
            .and_then(|old| old.text("partner_customer_id"));
        if let Some(keys) = old_partner.and_then(|id| self.by_partner.get_mut(id)) {
            keys.remove(&key);
        }
        if let Some(id) = partner {
            self.by_partner.entry(id).or_default().insert(key);
        }
        Ok(())
    }

    pub(super) fn update(
        &mut self,
        id: &ImprintId,
        body: Map<String, Value>,
        unknown_customer: UnseededCustomer,
        now: Timestamp,
    ) -> Result<Value, NotUpdated> {
        let key = id.canonical();
        if !self.by_id.contains_key(&key) {
            match unknown_customer {
                UnseededCustomer::NotFound => return Err(NotUpdated::NotFound),
                UnseededCustomer::Created => {
                    let made = SeedCustomer {
                        id: id.clone(),
                        shown: Map::new(),
                        history: Map::new(),
                    };
                    self.seed(made, now).map_err(|_full| NotUpdated::Full)?;
                }
            }
        }
        let customer = self.by_id.get_mut(&key).ok_or(NotUpdated::NotFound)?;
        customer.merge(body, now);
        Ok(customer.show())
    }

    pub(super) fn retrieve(&self, id: &ImprintId) -> Option<Value> {
        self.by_id.get(&id.canonical()).map(StoredCustomer::show)
    }

    /// Returns one page of the customers that match the filter, ordered by id.
    pub(super) fn search(&self, search: &CustomerSearch) -> Value {
        let found: Vec<&StoredCustomer> = match &search.partner_customer_id {
            Some(partner) => self
                .by_partner
                .get(partner)
                .into_iter()
                .flatten()
                .filter_map(|key| self.by_id.get(key))
                .filter(|customer| customer.is_found_by(search))
                .collect(),
            None => self
                .by_id
                .values()
                .filter(|customer| customer.is_found_by(search))
                .collect(),
        };
        let mut rest = found.iter().filter(|customer| {
            search
                .starting_after
                .as_ref()
                .is_none_or(|last| customer.id.canonical() > last.canonical())
        });
        let data: Vec<Value> = rest
            .by_ref()
            .take(search.limit)
            .map(|customer| customer.show())
            .collect();
        json!({"data": data, "has_more": rest.next().is_some(), "total": found.len()})
    }

    pub(super) fn describe(&self, id: &str) -> Option<Value> {
        let id = ImprintId::parse(id).ok()?;
        let customer = self.by_id.get(&id.canonical())?;
        Some(json!({
            "customer": customer.show(),
            "customer_history": customer.history,
            "updates": customer.updates,
        }))
    }
}

fn echo_place(path: &str) -> Option<EchoPlace> {
    Field::parse(path).map(|field| field.echo_place())
}

fn last_four(ssn: &str) -> String {
    let skipped = ssn.chars().count().saturating_sub(4);
    ssn.chars().skip(skipped).collect()
}

fn object(value: Option<Value>) -> Map<String, Value> {
    let Some(Value::Object(object)) = value else {
        return Map::new();
    };
    object
}

/// Calls `change` with the object at `field`. If there is no object at `field`, passes an empty object to `change`.
fn within(
    parent: &mut Map<String, Value>,
    field: &str,
    change: impl FnOnce(&mut Map<String, Value>),
) {
    let mut inner = object(parent.remove(field));
    change(&mut inner);
    parent.insert(field.to_owned(), Value::Object(inner));
}

fn merge_keys(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (field, value) in from {
        set(into, field, value);
    }
}

fn merge_deep(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (field, value) in from {
        if value.is_object() {
            within(into, &field, |inner| merge_deep(inner, object(Some(value))));
        } else {
            set(into, field, value);
        }
    }
}

/// Sets a field of a customer, or clears the field if the value is null.
///
/// With the setting `Nulls::Refused`, the value is never null, because `read_update` returns an error for an update
/// with null.
fn set(object: &mut Map<String, Value>, field: String, value: Value) {
    if value.is_null() {
        object.remove(&field);
    } else {
        object.insert(field, value);
    }
}
