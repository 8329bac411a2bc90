//! What a source says: a change event, and the names that identify it.
//!
//! Constructors are parsers: a value of these types has been checked. Nothing here knows HTTP, the store or Imprint.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub mod cloudevents;
pub mod json;
pub mod pointer;
mod visibility;

pub use visibility::Visibility;

/// The longest name of a source.
const SOURCE_NAME_CHARS_MAX: usize = 64;
/// The longest event id, event type or CloudEvents `source`; CloudEvents asks consumers to take 64 KiB events, and an
/// id longer than this is a payload in disguise.
const ATTRIBUTE_CHARS_MAX: usize = 256;

/// A text is not what its type asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name of a source has another alphabet.
    #[error("a source name must have 1 to 64 characters out of a-z, 0-9, - and _")]
    SourceName,
    /// An attribute is empty, too long, or has control characters.
    #[error("an attribute must have 1 to 256 characters and no control characters")]
    Attribute,
}

/// The name of a source: the path segment it posts to and the name of its files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(String);

impl SourceName {
    /// Takes 1 to 64 of `a-z`, `0-9`, `-` and `_`.
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

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An attribute that names something: an event's id, its type, its CloudEvents `source`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute(String);

impl Attribute {
    /// Takes 1 to 256 characters without control characters.
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

    /// The attribute as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What tells one event from every other: the source's name, the CloudEvents `source`, and `id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The source it came through.
    pub source: SourceName,
    /// The CloudEvents `source` attribute; `None` where the format has none.
    pub ce_source: Option<Attribute>,
    /// The sender's id of the event.
    pub id: Attribute,
}

/// One change as the source sent it, parsed but not yet held against a schema.
///
/// `Debug` prints no value: the envelope is personal data.
#[derive(Clone, PartialEq)]
pub struct ChangeEvent {
    /// What identifies it.
    pub identity: Identity,
    /// Which of the source's event types it is.
    pub event_type: Attribute,
    /// The whole event in CloudEvents' structured JSON form, whichever mode it arrived in; mapping expressions and
    /// schemas read this.
    pub envelope: Value,
}

impl fmt::Debug for ChangeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeEvent")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// One thing that is wrong with an event, said without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventError {
    /// Where in the event: a JSON Pointer (RFC 6901) into its structured form.
    pub pointer: String,
    /// Which rule it breaks: a schema keyword such as `required`, or a word of the mapping language such as `e164`.
    pub rule: String,
    /// Where the rule stands: a location in the schema, or the target field of the mapping.
    pub location: String,
    /// One sentence for the sender's developer; never a value of the event.
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
    /// The full version, once the store has given the event its number.
    #[must_use]
    pub const fn arrived(self, arrival: u64) -> Version {
        Version {
            epoch: self.epoch,
            value: self.value,
            arrival,
        }
    }
}

/// What orders the facts about one customer: the greater one is newer.
///
/// Compared field by field in the order they stand here. Which domain `value` belongs to (a sequence or a time) is
/// named by the mapping of the event type; `check` refuses two domains on one group, so they are never compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Raised by the operator when a source restarts its counter.
    pub epoch: u32,
    /// The source's revision, or its time in microseconds; 0 where no version is configured.
    pub value: i64,
    /// The store's own sequence: decides between equal values, and alone where no version is configured. It is the
    /// entry's number, so a version also names the entry that brought it.
    pub arrival: u64,
}

impl Version {
    /// Whether the source gave both the same place in the order, so that only their arrival decides. Where no version is
    /// configured it always does, and that is no tie.
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
    fn names_take_only_their_alphabet() {
        for good in ["crm", "a", "crm-2_x"] {
            assert!(SourceName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "CRM", "a/b", "..", "a b", "é", &"a".repeat(65)] {
            assert_eq!(SourceName::parse(bad), Err(Error::SourceName), "{bad}");
        }
    }

    #[test]
    fn attributes_take_no_control_characters() {
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
