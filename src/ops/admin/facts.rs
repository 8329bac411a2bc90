//! The facts of an update as operators are shown them.

use serde_json::{Value, json};

use crate::event::Show;
use crate::imprint::{Fact, Update};

/// The facts, by field.
pub(super) fn facts(show: Show, update: &Update) -> Value {
    let facts = update.iter().map(|(leaf, fact)| {
        let shown = match fact {
            Fact::Set(value) => show.value(value),
            Fact::Cleared => json!("(cleared)"),
        };
        (leaf.to_string(), shown)
    });
    Value::Object(facts.collect())
}
