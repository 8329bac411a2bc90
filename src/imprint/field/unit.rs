//! The fields whose values have a meaning only together.

use super::{Field, FieldGroup};

/// Several fields whose values have a meaning only together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldUnit {
    Address,
    HistoryAddress,
    LifetimeValue,
}

impl Field {
    /// Returns whether the values of the two fields have a meaning only together: the lines of an address, or an amount and
    /// its currency. An update never mixes new and old values of such fields.
    pub fn belongs_with(&self, other: &Self) -> bool {
        let unit = self.unit();
        self == other || unit.is_some() && unit == other.unit()
    }

    fn unit(&self) -> Option<FieldUnit> {
        match self.path() {
            _ if self.group() == FieldGroup::Address => Some(FieldUnit::Address),
            "customer_history.ltv_amount" | "customer_history.ltv_currency" => {
                Some(FieldUnit::LifetimeValue)
            }
            path => path
                .starts_with("customer_history.address.")
                .then_some(FieldUnit::HistoryAddress),
        }
    }
}
