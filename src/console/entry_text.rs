//! How pages write the results of the use cases for entries: fields, requests, errors and unchanged entries. Pure.

use serde_json::Value;

use super::entry_row::{CustomerText, StateText, spaced};
use super::words::TimeText;
use crate::event::{EventError, Identity, Version, pointer};
use crate::ops::operate::{
    FieldView, IgnoredEntry, ReplayedEntry, ReplayedField, ReplayedRequest, Unchanged, Unmappable,
    ValueView,
};
use crate::outbox::{Ending, EntryId, FieldOrigin, State};
use crate::time::Timestamp;

/// One field of an update or of a request, with the value as the use case shows it.
#[derive(Clone, Debug)]
pub(super) struct FieldText {
    pub(super) name: String,
    pub(super) value: String,
    /// True if the value is a remark and not a value.
    pub(super) is_remark: bool,
}

/// A request that a replay would send.
#[derive(Clone, Debug)]
pub(super) struct RequestText {
    pub(super) customer: CustomerText,
    pub(super) entries: Vec<u64>,
    pub(super) fields: Vec<ReplayedFieldText>,
}

/// One field of a request that a replay would send, beside what Imprint has.
#[derive(Clone, Debug)]
pub(super) struct ReplayedFieldText {
    pub(super) sent: FieldText,
    /// The version of the sent value.
    pub(super) version: Option<VersionText>,
    /// What Imprint has from the bridge. `None` if the bridge has delivered no value of the field.
    pub(super) delivered: Option<DeliveredText>,
}

/// A version, and the number of the entry that contains the value.
#[derive(Clone, Debug)]
pub(super) struct VersionText {
    pub(super) version: String,
    pub(super) entry: u64,
}

/// The value that Imprint has of a field: where it comes from, without the value.
#[derive(Clone, Debug)]
pub(super) struct DeliveredText {
    pub(super) version: VersionText,
    /// The id and the source of the event, and the time of the delivery.
    pub(super) event: Option<(String, String, TimeText)>,
}

/// The result that an entry would have or has.
#[derive(Clone, Debug)]
pub(super) struct ResultText {
    pub(super) entry: u64,
    pub(super) state: StateText,
    pub(super) detail: Option<String>,
    /// The fields for which Imprint has a newer value, each with the entry of the newer value.
    pub(super) overtaken: Vec<(String, u64)>,
}

/// An entry with the errors with which the present mapping rejects its event.
#[derive(Clone, Debug)]
pub(super) struct UnmappableText {
    pub(super) entry: u64,
    pub(super) errors: Vec<ErrorText>,
}

/// An entry that stays unchanged, and the reason.
#[derive(Clone, Debug)]
pub(super) struct UnchangedText {
    pub(super) entry: u64,
    pub(super) reason: String,
}

/// One error of an event, without its value.
#[derive(Clone, Debug)]
pub(super) struct ErrorText {
    pub(super) place: String,
    pub(super) rule: String,
    pub(super) location: String,
    pub(super) detail: String,
}

impl FieldText {
    pub(super) fn of(view: FieldView) -> Self {
        let (value, is_remark) = match view.value {
            ValueView::Set(Value::String(text)) => (text, false),
            ValueView::Set(value) => (value.to_string(), false),
            ValueView::Cleared => ("cleared".to_owned(), true),
            ValueView::Omitted(reason) => (format!("cleared, but nothing is sent: {reason}"), true),
        };
        Self {
            name: view.field.to_string(),
            value,
            is_remark,
        }
    }
}

impl RequestText {
    pub(super) fn of(request: ReplayedRequest, now: Timestamp) -> Self {
        let fields = request.fields.into_iter();
        Self {
            customer: CustomerText::of(&request.customer),
            entries: numbers(&request.entries),
            fields: fields
                .map(|field| ReplayedFieldText::of(field, now))
                .collect(),
        }
    }
}

impl ReplayedFieldText {
    fn of(field: ReplayedField, now: Timestamp) -> Self {
        Self {
            sent: FieldText::of(field.view),
            version: field.version.map(VersionText::of),
            delivered: field.delivered.map(|origin| DeliveredText::of(origin, now)),
        }
    }
}

impl VersionText {
    fn of(version: Version) -> Self {
        Self {
            version: version_text(version),
            entry: version.arrival,
        }
    }
}

impl DeliveredText {
    fn of(origin: FieldOrigin, now: Timestamp) -> Self {
        let event = origin.event.map(|event| {
            let at = TimeText::of(event.delivered_at, now);
            let Identity { id, source, .. } = event.identity;
            (id.as_str().to_owned(), source.as_str().to_owned(), at)
        });
        Self {
            version: VersionText::of(origin.version),
            event,
        }
    }
}

impl ResultText {
    pub(super) fn of(result: &ReplayedEntry) -> Self {
        let detail = match &result.ending {
            None => Some("Imprint is asked about the customer first".to_owned()),
            Some(Ending::Superseded(winner)) => Some(format!("by entry {}", winner.0)),
            Some(Ending::Parked { reason, .. }) => Some(spaced(reason.as_str())),
            Some(Ending::Ignored(reason)) => Some(spaced(reason.as_str())),
            Some(Ending::Delivered) => Some("if Imprint accepts the request".to_owned()),
            Some(Ending::Undecided) => None,
        };
        let state = result.ending.as_ref().map_or(State::Waiting, Ending::state);
        let overtaken = result.overtaken.iter();
        let overtaken = overtaken.map(|(field, winner)| (field.to_string(), winner.0));
        Self {
            detail,
            overtaken: overtaken.collect(),
            ..Self::in_state(result.entry, state)
        }
    }

    /// Returns the expected result of values that Imprint has rejected before.
    pub(super) fn rejected_again(result: &ReplayedEntry, answer: &str) -> Self {
        Self {
            detail: Some(format!("the same values as before: {answer}")),
            state: StateText::of(State::Parked),
            ..Self::of(result)
        }
    }

    pub(super) fn ignored(ignored: &IgnoredEntry) -> Self {
        Self {
            detail: Some(spaced(ignored.reason.as_str())),
            ..Self::in_state(ignored.entry, State::Ignored)
        }
    }

    /// Returns the state in a word.
    pub(super) const fn word(&self) -> &'static str {
        self.state.word
    }

    pub(super) const fn in_state(entry: EntryId, state: State) -> Self {
        Self {
            entry: entry.0,
            state: StateText::of(state),
            detail: None,
            overtaken: Vec::new(),
        }
    }
}

impl UnmappableText {
    pub(super) fn of(unmappable: &Unmappable) -> Self {
        Self {
            entry: unmappable.entry.0,
            errors: unmappable.errors.iter().map(ErrorText::of).collect(),
        }
    }
}

impl UnchangedText {
    pub(super) fn of(unchanged: &Unchanged) -> Self {
        Self {
            entry: unchanged.entry.0,
            reason: unchanged.reason.to_string(),
        }
    }
}

/// Returns a version as the source gave it.
pub(super) fn version_text(version: Version) -> String {
    match (version.is_reset(), version.epoch) {
        (true, _) => "reset by an operator".to_owned(),
        (false, 0) => version.value.to_string(),
        (false, epoch) => format!("{} of epoch {epoch}", version.value),
    }
}

pub(super) fn numbers(entries: &[EntryId]) -> Vec<u64> {
    entries.iter().map(|entry| entry.0).collect()
}

impl ErrorText {
    /// Writes an error as the admin API does: the place contains no name that can be a value.
    pub(super) fn of(error: &EventError) -> Self {
        Self {
            place: pointer::without_values(&error.pointer),
            rule: error.rule.clone(),
            location: error.location.clone(),
            detail: error.detail.clone(),
        }
    }
}
