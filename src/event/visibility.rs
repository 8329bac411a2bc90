//! Masks personal data in the output for operators. The output shows personal data unmasked only if the operator asks
//! for it.

use serde_json::{Map, Value, json};

use super::pointer::is_name;

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

    /// Masks or reveals the values of a JSON object. Its names stay visible. A name that can be a value, such as an
    /// e-mail address, is masked too, and gets a number because the names of an object differ.
    #[must_use]
    pub fn object(self, members: &Map<String, Value>) -> Value {
        let members = members.iter().zip(1_u64..).map(|((name, value), number)| {
            let name = match self {
                Self::Masked if !is_name(name) => format!("••• (name {number})"),
                Self::Masked | Self::Revealed => name.clone(),
            };
            (name, self.value(value))
        });
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

    /// FAULTS N562: a sender's object has names that are values.
    #[test]
    fn a_mask_shows_no_name_that_can_be_a_value() {
        let value = json!({"by_mail": {"a@example.com": 1, "b@example.com": 2, "total": 2}});
        assert_eq!(
            Visibility::Masked.value(&value),
            json!({"by_mail": {
                "••• (name 1)": "••• (number)",
                "••• (name 2)": "••• (number)",
                "total": "••• (number)",
            }})
        );
        assert_eq!(Visibility::Revealed.value(&value), value);
    }
}
