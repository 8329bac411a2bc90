//! The change that one event makes to one customer. Intake produces a customer change, and the outbox stores it.

use super::{CustomerRef, Update};
use crate::event::{EventError, SourceVersion};

/// The change that one event makes to the values of one customer.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomerChange {
    /// The ids by which the event names the customer.
    pub customer: CustomerRef,
    /// The position of the event among all changes of this customer, as the source states it.
    pub version: SourceVersion,
    /// The field values to set at Imprint. The update is empty if the event contains no value for any field.
    pub update: Update,
    /// The limit for the distance between this version and the other versions of the same fields, at Imprint or in
    /// waiting entries.
    ///
    /// Dispatch parks an event whose version is too far away from the other versions.
    ///
    /// The value is `None` if the version is a time, or if the mapping has no rule for the version.
    pub jump_max: Option<u64>,
    /// Whether the update sets an address that is known to be outside the USA. Only the address fields at the top level
    /// of an update count, such as `city`, because these fields state no country.
    pub is_foreign: bool,
    /// The errors of fields whose values are invalid and whose rules say that the update leaves out such a value. The
    /// errors contain no values.
    pub skipped: Vec<EventError>,
}
