//! What is sent for a field that the source has cleared: the operator's choice, because Imprint documents none.

use serde_json::Value;

use super::{Field, FieldGroup, FieldKind};

/// What is sent for a field that the source cleared. Imprint documents neither null nor the empty text (imprint-api.md §1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clearing {
    /// For all fields but those of the address.
    pub fields: FieldClearing,
    /// For the lines of the address.
    pub address: AddressClearing,
}

/// What is sent for a cleared field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldClearing {
    /// Nothing.
    #[default]
    Omit,
    /// Null.
    Null,
    /// The empty text; nothing where the field is no text, because an empty number does not exist.
    Empty,
}

/// What is sent for a cleared line of the address: a forgotten "Apt 4B" is a wrong letterbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressClearing {
    /// Nothing, and the empty text if the line is still echoed then.
    #[default]
    Verify,
    /// The empty text.
    Empty,
    /// Nothing.
    Omit,
}

impl Clearing {
    /// What stands for a cleared field; `None` where nothing does.
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
