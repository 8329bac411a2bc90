//! The facts of an update as operators are shown them.

use serde_json::{Value, json};

use crate::event::Visibility;
use crate::imprint::{FieldValue, Update};

/// The facts, by field.
pub(super) fn facts(show: Visibility, update: &Update) -> Value {
    let facts = update.iter().map(|(field, fact)| {
        let shown = match fact {
            FieldValue::Set(value) => show.value(value),
            FieldValue::Cleared => json!("(cleared)"),
        };
        (field.to_string(), shown)
    });
    Value::Object(facts.collect())
}
