//! The kind of a value, for the errors of paths into values without members or items.

use serde_json::Value;

/// The kind of a value, for an error message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Object,
}

impl ValueKind {
    pub(super) const fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::List,
            Value::Object(_) => Self::Object,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

/// The beginning of the error text for a path into a value without members or items.
pub(super) const PATH_ERROR: &str = "The path continues";

/// Returns the error text for a path that asks for a member of a value that is not an object.
pub(super) fn no_object(found: ValueKind) -> String {
    let remedy = match found {
        ValueKind::List => {
            " `[0]` takes the first item of a list, `first(.[] | select(.type == \"…\"))` a certain item, and in body.split `[]` takes each item."
        }
        ValueKind::Text => " If the text contains JSON, the sender must post this JSON itself.",
        ValueKind::Null | ValueKind::Bool | ValueKind::Number | ValueKind::Object => "",
    };
    let found = found.name();
    format!("{PATH_ERROR} into a member, but the value here is {found}, not an object.{remedy}")
}

/// Returns the error text for a path that asks for an item of a value that is not a list.
pub(super) fn no_list(found: ValueKind) -> String {
    let found = found.name();
    format!("{PATH_ERROR} into an item, but the value here is {found}, not a list.")
}
