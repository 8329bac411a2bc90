//! What one event changes on one customer: the value that intake produces and the outbox stores.

use super::{CustomerRef, Update};
use crate::event::SourceVersion;

/// One event as an update of one customer.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomerChange {
    /// The customer, as the event names it.
    pub customer: CustomerRef,
    /// The place of the event among all changes of this customer, as the source states it.
    pub version: SourceVersion,
    /// The values to set. Empty if the event says nothing about any field.
    pub update: Update,
    /// Whether the update sets a flat address that is known to be outside the USA. Imprint's flat address has no country.
    pub is_foreign: bool,
}
