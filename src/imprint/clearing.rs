//! What a request says about a field that the source has cleared. Imprint documents neither null nor the empty string,
//! so the operator chooses.

use serde_json::Value;

use super::{Field, FieldGroup, FieldKind};

/// What a request says about cleared fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clearing {
    /// For every field outside the address.
    pub fields: FieldClearing,
    /// For the lines of the address.
    pub address: AddressClearing,
}

/// What a request says about a cleared field outside the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldClearing {
    /// The request leaves the field out.
    #[default]
    Omit,
    /// The request sets the field to null.
    Null,
    /// The request sets a string to "". It leaves other fields out: there is no empty number.
    Empty,
}

/// What a request says about a cleared address line. A forgotten "Apt 4B" sends a letter to the wrong letterbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressClearing {
    /// The request leaves the line out. If the echo still has it, a second request sets it to "".
    #[default]
    Verify,
    /// The request sets the line to "".
    Empty,
    /// The request leaves the line out.
    Omit,
}

impl Clearing {
    /// The value to send for a cleared field; `None` if the request leaves it out.
    pub(super) fn value(self, field: &Field) -> Option<&'static Value> {
        match (field.group(), self.address, self.fields) {
            (FieldGroup::Address, AddressClearing::Empty, _) => Some(&EMPTY),
            (FieldGroup::Address, AddressClearing::Verify | AddressClearing::Omit, _) => None,
            (_, _, FieldClearing::Omit) => None,
            (_, _, FieldClearing::Null) => Some(&Value::Null),
            (_, _, FieldClearing::Empty) if field.kind() == FieldKind::Text => Some(&EMPTY),
            (_, _, FieldClearing::Empty) => None,
        }
    }
}

static EMPTY: Value = Value::String(String::new());

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cleared_field_is_omitted_null_or_empty_as_configured() {
        let (null, empty) = (Some(json!(null)), Some(json!("")));
        let table = [
            // The path, then the values for fields = Omit, Null, Empty.
            ("email", None, null.clone(), empty.clone()),
            ("customer_history.phone", None, null.clone(), empty),
            ("customer_history.ltv_amount", None, null.clone(), None),
            ("metadata.tier", None, null, None),
            ("street_line2", None, None, None),
        ];
        for (path, omit, null, empty) in table {
            let field = Field::parse(path).unwrap();
            for (fields, expected) in [
                (FieldClearing::Omit, omit),
                (FieldClearing::Null, null),
                (FieldClearing::Empty, empty),
            ] {
                let clearing = Clearing {
                    fields,
                    address: AddressClearing::Verify,
                };
                let value = clearing.value(&field).cloned();
                assert_eq!(value, expected, "{path} {fields:?}");
            }
        }
    }

    #[test]
    fn an_address_line_has_a_setting_of_its_own() {
        let field = Field::parse("street_line2").unwrap();
        for (address, expected) in [
            (AddressClearing::Verify, None),
            (AddressClearing::Omit, None),
            (AddressClearing::Empty, Some(json!(""))),
        ] {
            let clearing = Clearing {
                fields: FieldClearing::Null,
                address,
            };
            assert_eq!(clearing.value(&field).cloned(), expected, "{address:?}");
        }
    }
}
