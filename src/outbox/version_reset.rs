//! The reset of a customer's versions. Operators need the reset after a far too high version, because every later event
//! of the customer looks older.

use super::LaneId;
use crate::fold::LaneVersions;

/// The result of [`Ledger::reset_versions`](super::Ledger::reset_versions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionReset {
    /// The versions are reset.
    Reset {
        /// The lane of the customer.
        lane: LaneId,
        /// The number of the customer's fields whose versions were reset.
        fields: usize,
        /// The number of the customer's fields that keep the version floor of an erasure.
        floors: usize,
    },
    /// The store knows no such customer.
    UnknownCustomer,
    /// The lane is claimed, and its settlement could restore the old versions. The store has changed nothing.
    InFlight,
}

impl VersionReset {
    /// Describes the reset of a lane. `versions` are the versions after the reset.
    pub(super) fn of(lane: LaneId, versions: &LaneVersions) -> Self {
        let delivered = versions.delivered_fields();
        Self::Reset {
            lane,
            fields: delivered.filter(|(_, version)| version.is_reset()).count(),
            floors: versions.floors(),
        }
    }
}
