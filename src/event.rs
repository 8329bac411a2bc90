//! Change events: the event itself, the names that identify it, its errors and its version.
//!
//! Constructors parse, so every value of these types is valid. Nothing here knows HTTP, the store or Imprint.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub mod cloudevents;
pub mod json;
pub mod pointer;
mod visibility;

pub use visibility::Visibility;

/// The maximum length of a source name.
const SOURCE_NAME_CHARS_MAX: usize = 64;
/// The maximum length of an event id, event type or CloudEvents `source`. No real id is longer.
const ATTRIBUTE_CHARS_MAX: usize = 256;

/// A text does not fit its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not a source name.
    #[error("a source name must have 1 to 64 characters out of a-z, 0-9, - and _")]
    SourceName,
    /// The text is not an attribute.
    #[error("an attribute must have 1 to 256 characters and no control characters")]
    Attribute,
}

/// The name of a source: the path segment that it posts to, and the name of its files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(String);

impl SourceName {
    /// Parses 1 to 64 characters out of `a-z`, `0-9`, `-` and `_`.
    ///
    /// # Errors
    /// [`Error::SourceName`] for anything else.
    pub fn parse(raw: &str) -> Result<Self, Error> {
        let fits = (1..=SOURCE_NAME_CHARS_MAX).contains(&raw.len())
            && raw
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if fits {
            Ok(Self(raw.to_owned()))
        } else {
            Err(Error::SourceName)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An attribute that names something: the id of an event, its type, or its CloudEvents `source`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute(String);

impl Attribute {
    /// Parses 1 to 256 characters without control characters.
    ///
    /// # Errors
    /// [`Error::Attribute`] for anything else.
    pub fn parse(raw: &str) -> Result<Self, Error> {
        let fits = !raw.is_empty()
            && raw.chars().count() <= ATTRIBUTE_CHARS_MAX
            && !raw.chars().any(char::is_control);
        if fits {
            Ok(Self(raw.to_owned()))
        } else {
            Err(Error::Attribute)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The identity of an event: the source name, the CloudEvents `source`, and the id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The name of the source that sent it.
    pub source: SourceName,
    /// The CloudEvents `source`; `None` for plain JSON.
    pub ce_source: Option<Attribute>,
    /// The id that the sender gave it.
    pub id: Attribute,
}

/// One change as the source sent it, decoded but not yet validated against a schema.
///
/// `Debug` prints no value: the envelope is personal data.
#[derive(Clone, PartialEq)]
pub struct ChangeEvent {
    pub identity: Identity,
    pub event_type: Attribute,
    /// The event as an object. For CloudEvents this is the structured form in every content mode; for plain JSON it has
    /// the id, type, time and data.
    pub envelope: Value,
}

impl fmt::Debug for ChangeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeEvent")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// One error of an event. The error never contains a value of the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventError {
    /// The place of the error: a JSON Pointer (RFC 6901) into the event, or into the batch.
    pub pointer: String,
    /// The broken rule: a schema keyword such as `required`, or a name of the mapping language such as `e164`.
    pub rule: String,
    /// The place of the rule: a location in the schema, or the target of the mapping.
    pub location: String,
    /// One sentence for the sender's developer.
    pub detail: String,
}

/// The place of an event in the order of its source: the part of a [`Version`] that is known before the event is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceVersion {
    /// Raised by the operator when a source restarts its counter.
    pub epoch: u32,
    /// The source's revision, or its time in microseconds; 0 if the mapping names no version.
    pub value: i64,
}

impl SourceVersion {
    /// Returns the full version, once the store has given the event its number.
    #[must_use]
    pub const fn arrived(self, arrival: u64) -> Version {
        Version {
            epoch: self.epoch,
            value: self.value,
            arrival,
        }
    }
}

/// The order of all values of one customer: the greater version is newer.
///
/// The members are compared in the order of their declaration. `value` is a sequence or a time, as the mapping says; `check`
/// rejects two kinds on one field, so they are never compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Raised by the operator when a source restarts its counter.
    pub epoch: u32,
    /// The source's revision, or its time in microseconds; 0 if the mapping names no version.
    pub value: i64,
    /// The number of the entry. It orders equal values. If the mapping names no version, only the arrival number orders
    /// entries.
    pub arrival: u64,
}

impl Version {
    /// Returns whether two entries have the same epoch and value, so that only their arrival decides. Without a
    /// configured version the arrival always decides, and equal values are not a tie.
    pub fn ties(self, other: Self) -> bool {
        let is_versioned = self.value != 0 || self.epoch != 0;
        is_versioned
            && self.arrival != other.arrival
            && (self.epoch, self.value) == (other.epoch, other.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_name_has_only_its_alphabet() {
        for good in ["crm", "a", "crm-2_x"] {
            assert!(SourceName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "CRM", "a/b", "..", "a b", "é", &"a".repeat(65)] {
            assert_eq!(SourceName::parse(bad), Err(Error::SourceName), "{bad}");
        }
    }

    #[test]
    fn an_attribute_has_no_control_characters() {
        for good in ["crm-evt-000017", "/crm/us", "π"] {
            assert!(Attribute::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "a\0", "\u{85}", &"a".repeat(257)] {
            assert_eq!(Attribute::parse(bad), Err(Error::Attribute), "{bad:?}");
        }
    }

    #[test]
    fn versions_order_by_epoch_then_value_then_arrival() {
        let version = |epoch, value, arrival| Version {
            epoch,
            value,
            arrival,
        };
        assert!(version(1, 0, 0) > version(0, 9, 9));
        assert!(version(0, 2, 1) > version(0, 1, 9));
        assert!(version(0, 1, 2) > version(0, 1, 1));
    }
}
