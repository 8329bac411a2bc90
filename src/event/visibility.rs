//! Masks personal data in the output for operators. The output shows personal data unmasked only if the operator asks
//! for it.

use serde_json::{Map, Value, json};

/// The choice between masked and revealed values of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// The output contains only the kind of a value, and the length of a text.
    Masked,
    /// The output contains the values themselves.
    Revealed,
}

impl Visibility {
    /// Masks or reveals a JSON value and every value inside it.
    #[must_use]
    pub fn value(self, value: &Value) -> Value {
        match (self, value) {
            (Self::Revealed, value) => value.clone(),
            (Self::Masked, Value::Object(members)) => self.object(members),
            (Self::Masked, Value::Array(items)) => {
                Value::Array(items.iter().map(|item| self.value(item)).collect())
            }
            (Self::Masked, Value::String(text)) => {
                json!(format!("••• (text of {})", text.chars().count()))
            }
            (Self::Masked, Value::Number(_)) => json!("••• (number)"),
            (Self::Masked, Value::Bool(_)) => json!("••• (true or false)"),
            (Self::Masked, Value::Null) => Value::Null,
        }
    }

    /// Masks or reveals the values of a JSON object. The keys are names and stay visible.
    #[must_use]
    pub fn object(self, members: &Map<String, Value>) -> Value {
        let members = members
            .iter()
            .map(|(key, value)| (key.clone(), self.value(value)));
        Value::Object(members.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_shows_kind_and_length_but_no_value() {
        let value =
            json!({"email": "canary@example.com", "n": 7, "list": [true, null, {"k": "canary"}]});
        let masked = Visibility::Masked.value(&value);
        assert_eq!(masked["email"], "••• (text of 18)");
        assert!(!masked.to_string().contains("canary"));
        assert_eq!(Visibility::Revealed.value(&value), value);
    }
}
