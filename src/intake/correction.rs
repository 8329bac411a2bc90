//! Checks the event that an operator writes in the place of a stored one. The corrected event is mapped, and never stored.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Sources;
use super::invalid::decode_again;
use super::pipeline::unreadable;
use super::source::Source;
use crate::event::{Attribute, EventError, SourceName, pointer};
use crate::mapping::KeptInCorrections;

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
    /// Returns an error for each changed member that names the event, for another type, customer or version, and for each card
    /// number if the source refuses card numbers: the store would keep the number in the corrected update. The type, the customer
    /// and the version stay, because an erasure must find the stored event, and because another version would order the values
    /// of other events.
    pub fn correct(
        &self,
        source: &SourceName,
        stored: Option<&[u8]>,
        corrected: &Value,
    ) -> Result<CorrectedEvent, Vec<EventError>> {
        let source = self
            .get(source)
            .ok_or_else(|| vec![refusal("", NO_SOURCE)])?;
        let bytes = corrected.to_string().into_bytes();
        let stored_bytes = stored.ok_or_else(unreadable)?;
        let stored = serde_json::from_slice(stored_bytes).map_err(|_error| unreadable())?;
        let (Value::Object(before), Value::Object(after)) = (&stored, corrected) else {
            return Err(vec![refusal("", NO_EVENT)]);
        };
        let mut errors: Vec<EventError> = changed_names(before, after)
            .map(|name| {
                let place = pointer::without_values(&pointer::inside("", name));
                refusal(&place, KEPT_MEMBER)
            })
            .collect();
        errors.extend(source.cards_in(corrected));
        if errors.is_empty() {
            let kept = source.kept_in_corrections(stored_bytes);
            match kept {
                None => errors.push(refusal("", UNREAD)),
                Some(kept) if source.kept_in_corrections(&bytes).as_ref() != Some(&kept) => {
                    errors.push(refusal("", KEPT));
                }
                Some(_) => {}
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut places = ChangedPlaces::default();
        places.compare("", &stored, corrected);
        Ok(CorrectedEvent {
            bytes,
            places: (places.first, places.others),
        })
    }
}

impl Source {
    /// Reads what a correction of a stored event must keep: its type, its customer and its version. `None` if the mapping in use
    /// does not tell one of them.
    fn kept_in_corrections(&self, stored: &[u8]) -> Option<(Attribute, KeptInCorrections)> {
        let (decoded, _) = decode_again(self, stored).ok()?;
        let (_, known) = self.mapped(decoded.event_type.as_str())?;
        let view = self.view(&decoded.envelope);
        let kept = known.mapping.kept_in_corrections(view)?;
        Some((decoded.event_type, kept))
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

const KEPT_MEMBER: &str = "A correction changes only data, subject and time: the other members name the event. For another event, let the source send it.";
const NO_EVENT: &str = "A corrected event is a JSON object, in the form that `parked --events` prints, and replaces a JSON object.";
const NO_SOURCE: &str =
    "The bridge no longer has this source, so nothing maps the corrected event.";
const KEPT: &str = "A correction keeps the type, the customer and the version of the event. For another one of them, let the source send a new event, and discard this entry.";
const UNREAD: &str = "The mapping in use does not read a type, a customer and a version from the stored event, so nothing shows that the correction keeps them. Correct the mapping, or let the source send a new event and discard this entry.";

fn refusal(place: &str, detail: &str) -> EventError {
    EventError {
        pointer: place.to_owned(),
        rule: "correction".to_owned(),
        location: "events".to_owned(),
        detail: detail.to_owned(),
    }
}
