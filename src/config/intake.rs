//! The settings of the module `intake`, which validates and maps events. The settings are in the sections `[ingress]`
//! and `[imprint]`.

use std::time::Duration;

use super::reader::Reader;
use crate::imprint::clearing::Clearing;
use crate::intake::{ForeignAddress, IntakeSettings};

/// The maximum of `ingress.batch_max`. The store commits all events of a batch at once.
const BATCH_MAX: u64 = 1000;
/// The maximum of `ingress.version_ahead_max`. No clock of a sender is a day ahead.
const VERSION_AHEAD_MAX: Duration = Duration::from_hours(24);

/// Reads the settings of the module `intake`. `clearing` is a setting of the section `[imprint]` that the caller has
/// already taken.
pub(super) fn take(reader: &mut Reader, clearing: Option<Clearing>) -> Option<IntakeSettings> {
    let batch_events_max = reader.take(&["ingress", "batch_max"], |raw| raw.count(1, BATCH_MAX));
    let version_ahead_max = reader.take(&["ingress", "version_ahead_max"], |raw| {
        raw.duration(Duration::ZERO, VERSION_AHEAD_MAX)
    });
    let foreign_address = reader.take(&["imprint", "foreign_address"], |raw| {
        raw.word(&[
            ("park", ForeignAddress::Park),
            ("skip", ForeignAddress::Skip),
        ])
    });
    Some(IntakeSettings {
        batch_events_max: batch_events_max?,
        version_ahead_max: version_ahead_max?,
        foreign_address: foreign_address?,
        clearing: clearing?,
    })
}
