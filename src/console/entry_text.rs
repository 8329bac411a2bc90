//! How pages write fields with their values, and errors of events. Pure.

use serde_json::Value;

use crate::event::{EventError, pointer};
use crate::ops::operate::{FieldView, ValueView};

/// One field of an update or of a request, with the value as the use case shows it.
#[derive(Clone, Debug)]
pub(super) struct FieldText {
    pub(super) name: String,
    pub(super) value: String,
    /// True if the value is a remark and not a value.
    pub(super) is_remark: bool,
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
