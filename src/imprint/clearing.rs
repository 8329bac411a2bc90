//! The settings for a field that the source has cleared: the request omits the field, sends null, or sends "".
//!
//! Imprint's documentation does not say what null or the empty string in a request means, so the operator chooses.

use serde_json::Value;

use super::{Field, FieldGroup, FieldKind};

/// The operator's settings for cleared fields in an update request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clearing {
    /// The setting for every field outside the address.
    pub fields: FieldClearing,
    /// The setting for the address fields at the top level of a request, such as `city`.
    pub address: AddressClearing,
}

/// The representation of a cleared field outside the address in an update request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldClearing {
    /// The update request omits the cleared field.
    #[default]
    Omit,
    /// The update request sets the cleared field to null.
    Null,
    /// The update request sets a cleared text field to "". The request omits a cleared field that is not a text field,
    /// because there is no empty number.
    Empty,
}

/// The representation of a cleared address line in an update request. This setting matters: if Imprint keeps the old
/// line "Apt 4B", Imprint's letters go to the wrong letterbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressClearing {
    /// The update request omits the cleared line. If Imprint's answer still has the line, a second request sets the
    /// line to "".
    #[default]
    Verify,
    /// The update request sets the cleared line to "".
    Empty,
    /// The update request omits the cleared line.
    Omit,
}

impl Clearing {
    /// Returns the reason why no request sends this cleared field, or `None` if a request sends the field.
    pub fn omission(self, field: &Field) -> Option<&'static str> {
        match (field.group(), self.address, self.fields) {
            (FieldGroup::Address, AddressClearing::Omit, _) => {
                Some("imprint.address_clearing is \"omit\"")
            }
            (FieldGroup::Address, AddressClearing::Verify | AddressClearing::Empty, _) => None,
            (_, _, FieldClearing::Omit) => Some("imprint.clearing is \"omit\""),
            (_, _, FieldClearing::Empty) if field.kind() != FieldKind::Text => {
                Some("imprint.clearing is \"empty\", and the field is no text")
            }
            (_, _, FieldClearing::Null | FieldClearing::Empty) => None,
        }
    }

    /// Returns the value to send for a cleared field, or `None` if the request omits the field.
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
            // Each row contains the path, then the expected values for `fields` = Omit, Null and Empty.
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
                let is_sent = field.group() == FieldGroup::Address || expected.is_some();
                assert_eq!(
                    clearing.omission(&field).is_none(),
                    is_sent,
                    "{path} {fields:?}"
                );
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
