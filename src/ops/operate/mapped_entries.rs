//! The selected entries of a replay after the mapping. Pure.

use super::replay::{IgnoredEntry, MappingChoice, Unmappable, is_invalid, number};
use super::unchanged::{Unchanged, UnchangedReason};
use crate::event::Version;
use crate::intake::{MappedAgain, Sources, StoredVersion};
use crate::outbox::{LoadedEntry, Replay, ReplayChange};
use crate::time::Timestamp;

/// The selected entries of a replay after the mapping.
#[derive(Default)]
pub(super) struct MappedEntries {
    pub(super) replays: Vec<Replay>,
    pub(super) unmappable: Vec<Unmappable>,
    pub(super) unchanged: Vec<Unchanged>,
}

impl MappedEntries {
    /// Returns the entries for whose events the current mapping has nothing to send.
    pub(super) fn ignored(&self) -> Vec<IgnoredEntry> {
        let ignored = self
            .replays
            .iter()
            .filter_map(|replay| match &replay.change {
                ReplayChange::Ignored(ignored) => Some(IgnoredEntry {
                    entry: replay.entry,
                    reason: ignored.reason,
                }),
                ReplayChange::Stored | ReplayChange::Mapped(_) => None,
            });
        ignored.collect()
    }
}

/// Maps the selected entries: finds a replay for each entry, with the stored change or with the result of the current
/// mapping, and the entries that the current mapping rejects.
pub(super) fn map(
    sources: &Sources,
    entries: &[LoadedEntry],
    mapping: MappingChoice,
    wall_time: Timestamp,
) -> MappedEntries {
    let mut mapped = MappedEntries::default();
    for loaded in entries {
        let entry = number(loaded);
        let receipt = &loaded.summary.receipt;
        let version = loaded.version.map(Version::of_source);
        let stored = match is_invalid(receipt) {
            false => StoredVersion::Mapped(version),
            true if mapping == MappingChoice::Stored => {
                let reason = UnchangedReason::NeedsMapping;
                mapped.unchanged.push(Unchanged { entry, reason });
                continue;
            }
            true => StoredVersion::Invalid {
                epoch: version.unwrap_or_default().epoch,
            },
        };
        let event = match mapping {
            MappingChoice::Current => loaded.event.as_deref(),
            MappingChoice::Stored => None,
        };
        let change = event.map_or(Ok(ReplayChange::Stored), |event| {
            let source = &receipt.identity.source;
            let again = MappedAgain { stored, wall_time };
            sources.remap(source, &receipt.event_type, event, again)
        });
        match change {
            Ok(change) => mapped.replays.push(Replay { entry, change }),
            Err(errors) => mapped.unmappable.push(Unmappable { entry, errors }),
        }
    }
    mapped
}
