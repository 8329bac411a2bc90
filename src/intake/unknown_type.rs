//! The rejection of an event whose type has no table in the source file.
//!
//! The type is a text of the sender, and can be a value of a person by mistake. The error quotes the type only if it looks
//! like the name of a type.

use super::card_number;
use super::pipeline::{Pipeline, error};
use super::rejection::{Rejection, RejectionClass};
use crate::event::{ChangeEvent, RequestHeaders};
use crate::mapping::EnvelopeAttribute;
use crate::spelling;

/// The maximum number of event types that an error lists.
const LISTED_TYPES_MAX: usize = 5;
/// The maximum number of digits in a row in the name of a type. Dates and versions have fewer, or have separators.
const DIGITS_IN_A_ROW_MAX: usize = 6;

impl Pipeline<'_> {
    pub(super) fn unknown_event_type(
        &self,
        event: &ChangeEvent,
        headers: &RequestHeaders,
    ) -> Rejection {
        let place = self.source.json_envelope.as_ref().map_or_else(
            || "/type".to_owned(),
            |envelope| {
                let data = self.source.view(&event.envelope);
                envelope.place_of(EnvelopeAttribute::Type, data, headers)
            },
        );
        if self.source.has_card(&event.event_type) {
            return Rejection::new(RejectionClass::CardNumber, vec![card_number::error(place)]);
        }
        let name = event.event_type.as_str();
        let types = &self.source.event_types;
        let suggestion = match self.may_compare(types.len()) {
            true => spelling::nearest(name, types.keys().map(String::as_str)),
            false => None,
        };
        let bare = name.trim_matches(['"', '\'']);
        let suggestion = match suggestion {
            Some(known) if known == bare && known != name => {
                format!(
                    ", but has [events.\"{known}\"]: the type of the event has quotes around it"
                )
            }
            Some(known) => format!(", but has [events.\"{known}\"]"),
            None => self.listed_event_types(),
        };
        let (table, listed) = match is_name(name) {
            true => (format!("table [events.\"{name}\"]"), format!("\"{name}\"")),
            false => (
                "table for the type of this event".to_owned(),
                "its type".to_owned(),
            ),
        };
        let detail = format!(
            "The source file has no {table}{suggestion}. To accept events of this type and send nothing for them, add {listed} to \
             `ignore` in the source file."
        );
        let errors = error(&place, "unknown_event_type", "events", &detail);
        Rejection::new(RejectionClass::UnknownEventType, errors)
    }

    /// Lists the tables of the event types in the source file, if they are few: perhaps `body.type` gives another name.
    fn listed_event_types(&self) -> String {
        let tables = self.source.event_types.keys();
        let tables: Vec<String> = tables.map(|name| format!("[events.\"{name}\"]")).collect();
        match tables.len() {
            1..=LISTED_TYPES_MAX => format!(", only {}", tables.join(", ")),
            _ => String::new(),
        }
    }
}

/// Returns whether the type of an event looks like a name: not like an e-mail address, a phone number or an id.
fn is_name(event_type: &str) -> bool {
    let mut digits = event_type.split(|letter: char| !letter.is_ascii_digit());
    event_type.starts_with(char::is_alphabetic)
        && !event_type.contains('@')
        && digits.all(|digits| digits.len() <= DIGITS_IN_A_ROW_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1096
    #[test]
    fn only_a_type_that_looks_like_a_name_is_quoted() {
        for name in [
            "contact",
            "Contact Updated",
            "com.example.crm/contact.2025-01-31.v2",
            "état-civil",
        ] {
            assert!(is_name(name), "{name}");
        }
        for value in [
            "ann@example.com",
            "+14155550123",
            "4155550123",
            "Ann 4155550123",
            "7",
        ] {
            assert!(!is_name(value), "{value}");
        }
    }
}
