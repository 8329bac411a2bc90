//! Change events: the contents of an event, the names that identify it, its version, and the errors in it.
//!
//! The constructors of the module `event` parse their input, so every constructed value is valid. The module `event`
//! does not know HTTP, the store or Imprint.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub mod cloudevents;
mod headers;
pub mod json;
pub mod member_name;
pub mod pointer;
pub mod trace_context;
mod visibility;

pub use headers::RequestHeaders;
pub use trace_context::{SpanId, TraceContext, TraceId, TraceReading};
pub use visibility::Visibility;

/// The maximum length of a source name.
const SOURCE_NAME_CHARS_MAX: usize = 64;
/// The maximum length of an event id, event type or CloudEvents `source`. Event ids in practice are shorter.
const ATTRIBUTE_CHARS_MAX: usize = 256;

/// The error of a text that is not a valid source name or event attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not a valid source name.
    #[error("a source name must have 1 to 64 characters out of a-z, 0-9, - and _")]
    SourceName,
    /// The text is not a valid event attribute.
    #[error("an attribute must have 1 to 256 characters and no control characters")]
    Attribute,
}

/// The name of a source. The name is also the path segment of the source's URL, and the name of the source's files.
///
/// Clones share the text, because every entry has the name of its source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(Arc<str>);

impl SourceName {
    /// Parses a source name: 1 to 64 characters out of `a-z`, `0-9`, `-` and `_`.
    ///
    /// # Errors
    /// Returns [`Error::SourceName`] if the text is not a source name.
    pub fn parse(raw: &str) -> Result<Self, Error> {
        let fits = (1..=SOURCE_NAME_CHARS_MAX).contains(&raw.len())
            && raw
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if fits {
            Ok(Self(raw.into()))
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

/// An event attribute that is a name: the id of an event, its type, or its CloudEvents `source`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute(String);

impl Attribute {
    /// Parses an event attribute: 1 to 256 characters without control characters.
    ///
    /// # Errors
    /// Returns [`Error::Attribute`] if the text is not an event attribute.
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

    /// Returns the id of an invalid event that the bridge cannot store under the id from its sender. The digest is the
    /// digest of the event.
    pub fn of_invalid_event(digest: [u8; 16]) -> Self {
        let digits = digest.iter().map(|byte| format!("{byte:02x}"));
        Self(format!("invalid-{}", digits.collect::<String>()))
    }

    /// Returns the id of an ignored event without a readable id. The digest is the digest of the event.
    pub fn of_ignored_event(digest: [u8; 16]) -> Self {
        let digits = digest.iter().map(|byte| format!("{byte:02x}"));
        Self(format!("ignored-{}", digits.collect::<String>()))
    }

    /// Returns the type of an invalid event whose type the bridge cannot read, and an id for events without an id.
    pub fn unreadable() -> Self {
        Self("unreadable".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The identity of an event: the source name, the CloudEvents `source`, and the id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The name of the source that sent the event.
    pub source: SourceName,
    /// The CloudEvents `source` of the event. `None` means that the source sends plain JSON instead of CloudEvents.
    pub ce_source: Option<Attribute>,
    /// The id that the sender gave the event.
    pub id: Attribute,
}

/// One change event as the source sent it, decoded but not yet validated against a schema.
///
/// `Debug` prints no value of the event, because the envelope is personal data.
#[derive(Clone, PartialEq)]
pub struct ChangeEvent {
    pub identity: Identity,
    pub event_type: Attribute,
    /// The event as a JSON object. For CloudEvents, the envelope is the structured form of the event, in every content
    /// mode. For plain JSON, the envelope has the id, type, time and data.
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
    /// The place of the error in the event or in the batch, as a JSON Pointer (RFC 6901).
    pub pointer: String,
    /// The broken rule: a schema keyword such as `required`, or a name of the mapping language such as `e164`.
    pub rule: String,
    /// The place of the broken rule: a location in the schema, or the Imprint field or mapping rule whose expression
    /// failed.
    pub location: String,
    /// One sentence that describes the error for the developer of the source.
    pub detail: String,
}

impl EventError {
    /// Masks each name that can be a value in the place of the error.
    pub fn mask_place(&mut self) {
        self.pointer = pointer::without_values(&self.pointer);
    }
}

/// The position of an event in the order of its source. A source version is a [`Version`] without the arrival number,
/// which the store assigns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceVersion {
    /// The epoch of the source's version counter. The operator raises the epoch when the source restarts the counter.
    pub epoch: u32,
    /// The version that the source gives the change: a revision number, or a time in microseconds. The value is 0 if
    /// the mapping names no version.
    pub value: i64,
}

impl SourceVersion {
    /// Returns the version that is older than the version of every other event of this epoch.
    #[must_use]
    pub const fn oldest(epoch: u32) -> Self {
        Self {
            epoch,
            value: i64::MIN,
        }
    }

    /// Returns the full version, with the arrival number that the store has given the event.
    #[must_use]
    pub const fn arrived(self, arrival: u64) -> Version {
        Version {
            epoch: self.epoch,
            value: self.value,
            arrival,
        }
    }
}

/// The version of a change. Versions order all values of one customer: the greater version is newer.
///
/// The bridge compares versions by epoch, then by value, then by arrival. The mapping decides whether `value` is a
/// sequence number or a time. The command `check` rejects a configuration that mixes sequence numbers and times on one
/// field, so the bridge never compares a sequence number with a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The epoch of the source's version counter. The operator raises the epoch when the source restarts the counter.
    pub epoch: u32,
    /// The version that the source gives the change: a revision number, or a time in microseconds. The value is 0 if
    /// the mapping names no version.
    pub value: i64,
    /// The arrival number of the outbox entry. The arrival number orders changes with an equal `value`. If the mapping
    /// names no version, only the arrival number orders entries.
    pub arrival: u64,
}

impl Version {
    /// Returns the part of the version that comes from the source.
    #[must_use]
    pub const fn of_source(self) -> SourceVersion {
        SourceVersion {
            epoch: self.epoch,
            value: self.value,
        }
    }

    /// Returns the reset form of this version, for an operator who resets the versions of a customer.
    ///
    /// A reset version is older than the version of every event. Two reset versions have the order of their arrival.
    #[must_use]
    pub const fn reset(self) -> Self {
        SourceVersion::oldest(0).arrived(self.arrival)
    }

    /// Returns whether an operator has reset this version.
    pub const fn is_reset(self) -> bool {
        self.epoch == 0 && self.is_oldest()
    }

    /// Returns whether this version is older than every version that a source gives an event of the same epoch.
    pub const fn is_oldest(self) -> bool {
        self.value == i64::MIN
    }

    /// Returns whether two versions of one epoch differ by more than `max`, and by more than the smaller of the two. The
    /// second limit is for sequences that count microseconds or bytes, because they move in large steps.
    pub fn is_distant(self, other: Self, max: u64) -> bool {
        let smaller = self.value.unsigned_abs().min(other.value.unsigned_abs());
        self.epoch == other.epoch && self.value.abs_diff(other.value) > smaller.max(max)
    }

    /// Returns whether the versions of two different entries have the same epoch and value, so that only the arrival
    /// numbers order the entries.
    ///
    /// If the mapping names no version, the arrival number always decides, and equal values do not count as a tie.
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
