//! Checks the event that an operator writes in the place of a stored one. The corrected event is mapped, and never stored.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Sources;
use super::pipeline::unreadable;
use crate::event::{EventError, SourceName, pointer};

/// The members of a stored event that a correction can change. The others name the event: its receipt, its duplicates and its
/// mapping depend on them.
const CORRECTABLE: [&str; 3] = ["data", "subject", "time"];
/// The maximum number of places that the audit log names for one corrected event.
const PLACES_MAX: usize = 5;

/// A corrected event, in the form that [`Sources::remap`] reads.
pub struct CorrectedEvent {
    pub bytes: Vec<u8>,
    /// The places that the operator has changed, as JSON Pointers without values, and the number of further places.
    pub places: (Vec<String>, usize),
}

/// Prints no value, because the event is personal data.
impl std::fmt::Debug for CorrectedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CorrectedEvent").finish_non_exhaustive()
    }
}

impl Sources {
    /// Checks a corrected event against the stored one.
    ///
    /// # Errors
    /// Returns an error for each changed member that names the event, and for each card number if the source refuses card
    /// numbers: the store would keep the number in the corrected update.
    pub fn correct(
        &self,
        source: &SourceName,
        stored: Option<&[u8]>,
        corrected: &Value,
    ) -> Result<CorrectedEvent, Vec<EventError>> {
        let stored: Option<Value> = stored.and_then(|stored| serde_json::from_slice(stored).ok());
        let stored = stored.ok_or_else(unreadable)?;
        let mut errors = Vec::new();
        match (&stored, corrected) {
            (Value::Object(stored), Value::Object(corrected)) => {
                errors.extend(changed_names(stored, corrected).map(|name| kept_member(name)));
            }
            // An invalid event can be any JSON value. Its correction is an event again.
            (Value::Object(_), _) => errors.push(no_event()),
            (_, _) => {}
        }
        let cards = self.get(source).map(|source| source.cards_in(corrected));
        errors.extend(cards.into_iter().flatten());
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut places = ChangedPlaces::default();
        places.compare("", &stored, corrected);
        Ok(CorrectedEvent {
            bytes: corrected.to_string().into_bytes(),
            places: (places.first, places.others),
        })
    }
}

/// Returns the names of changed members that a correction cannot change.
fn changed_names<'a>(
    stored: &'a Map<String, Value>,
    corrected: &'a Map<String, Value>,
) -> impl Iterator<Item = &'a String> {
    let names: BTreeSet<&String> = stored.keys().chain(corrected.keys()).collect();
    names.into_iter().filter(|name| {
        !CORRECTABLE.contains(&name.as_str()) && stored.get(*name) != corrected.get(*name)
    })
}

/// Collects the places where two events differ.
#[derive(Default)]
struct ChangedPlaces {
    first: Vec<String>,
    others: usize,
}

impl ChangedPlaces {
    fn compare(&mut self, place: &str, stored: &Value, corrected: &Value) {
        match (stored, corrected) {
            (Value::Object(stored), Value::Object(corrected)) => {
                let names: BTreeSet<&String> = stored.keys().chain(corrected.keys()).collect();
                for name in names {
                    let place = pointer::inside(place, name);
                    self.compare_members(&place, stored.get(name), corrected.get(name));
                }
            }
            (Value::Array(stored), Value::Array(corrected)) => {
                for index in 0..stored.len().max(corrected.len()) {
                    let place = format!("{place}/{index}");
                    self.compare_members(&place, stored.get(index), corrected.get(index));
                }
            }
            (stored, corrected) if stored == corrected => {}
            (_, _) => self.add(place),
        }
    }

    fn compare_members(&mut self, place: &str, stored: Option<&Value>, corrected: Option<&Value>) {
        match (stored, corrected) {
            (Some(stored), Some(corrected)) => self.compare(place, stored, corrected),
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => self.add(place),
        }
    }

    fn add(&mut self, place: &str) {
        match self.first.len() < PLACES_MAX {
            true => self.first.push(pointer::without_values(place)),
            false => self.others += 1,
        }
    }
}

// === errors ===

fn kept_member(name: &str) -> EventError {
    EventError {
        pointer: pointer::without_values(&pointer::inside("", name)),
        rule: "correction".to_owned(),
        location: "events".to_owned(),
        detail: format!(
            "A correction changes only {}: the other members name the event. For another event, let the source send it.",
            CORRECTABLE.join(", ")
        ),
    }
}

fn no_event() -> EventError {
    EventError {
        pointer: String::new(),
        rule: "correction".to_owned(),
        location: "events".to_owned(),
        detail: "A corrected event is a JSON object, in the form that `events` prints.".to_owned(),
    }
}
