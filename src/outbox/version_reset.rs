//! The reset of the versions of a customer after an absurd version has frozen the customer.

use super::LaneId;

/// The result of [`Ledger::reset_versions`](super::Ledger::reset_versions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionReset {
    /// The versions are reset.
    Reset {
        /// The lane of the customer.
        lane: LaneId,
        /// The number of fields that Imprint has of the customer.
        fields: usize,
    },
    /// The store knows no such customer.
    UnknownCustomer,
    /// The lane is claimed, so its settlement could bring the old versions back. Nothing was changed.
    InFlight,
}
