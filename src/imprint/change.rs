//! The change that one event makes to one customer: intake produces a change, and the outbox stores the change.

use super::{CustomerRef, Update};
use crate::event::SourceVersion;

/// One event as an update of one customer.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomerChange {
    /// The ids by which the event names the customer.
    pub customer: CustomerRef,
    /// The position of the event among all changes of this customer, as the source states it.
    pub version: SourceVersion,
    /// The field values to set; empty if the event mentions no field.
    pub update: Update,
    /// `true` if the update sets a flat address that is known to be outside the USA. Imprint's flat address has no
    /// country.
    pub is_foreign: bool,
}
