//! Maps a stored event again, after an operator has corrected the schema or the mapping.

use serde_json::Value;

use super::Sources;
use super::digest::StoredEvent;
use super::invalid::{self, bounded};
use super::pipeline::{change, error, unreadable, version_ahead};
use super::source::{EventType, Source, TypeHandling};
use crate::event::{Attribute, EventError, RequestHeaders, SourceName, SourceVersion};
use crate::imprint::CustomerChange;
use crate::outbox::{Disposition, IgnoreReason, ReplayChange};
use crate::time::Timestamp;

/// The values that [`Sources::remap`] needs, besides the stored event itself.
#[derive(Clone, Copy, Debug)]
pub struct MappedAgain {
    /// The stored version of the event.
    pub stored: StoredVersion,
    /// The current wall-clock time, for versions that are times.
    pub wall_time: Timestamp,
}

/// The stored version of an event that the bridge maps again.
#[derive(Clone, Copy, Debug)]
pub enum StoredVersion {
    /// The version from the mapping that accepted the event. The value is `None` if the store cannot read the version.
    Mapped(Option<SourceVersion>),
    /// The event was invalid, so no mapping has read its version yet. The store has only the epoch.
    Invalid {
        /// The epoch that the source's version counter had when the event arrived.
        epoch: u32,
    },
}

impl Sources {
    /// Maps a stored event again with the current schema and mapping.
    ///
    /// The bridge maps a parked event again after an operator has fixed the schema or the mapping. The event keeps its
    /// stored version, including the epoch. With the current epoch of the source, the values of an old event would win
    /// over the newer values that Imprint has.
    ///
    /// An event that was invalid has only the epoch of its arrival. If the source file has a higher epoch now, the source
    /// has restarted its counter, or the mapping reads another version, so the current rule cannot give a value of the
    /// earlier epoch. The event then has the oldest version of the earlier epoch: its values lose against all delivered
    /// values, and reach only fields for which Imprint has none. A source file with a lower epoch belongs to an event type
    /// that the bridge did not know at the arrival, and its rule gives the whole version.
    ///
    /// If the source now ignores the event, or if the mapping now has nothing to send for the event, returns the reason.
    ///
    /// # Errors
    /// Returns every reason why the stored event cannot be sent.
    pub fn remap(
        &self,
        source: &SourceName,
        event_type: &Attribute,
        event: &[u8],
        again: MappedAgain,
    ) -> Result<ReplayChange, Vec<EventError>> {
        let source = self.get(source).ok_or_else(unknown_source_today)?;
        let known = source.mapped(event_type.as_str());
        let (event_type, envelope, headers) = match (known, again.stored) {
            (Some((_, known)), StoredVersion::Mapped(_)) => {
                let parsed = StoredEvent::parse(event);
                let (envelope, headers) = parsed.ok_or_else(unreadable)?;
                (known, envelope, headers)
            }
            // The bridge has perhaps not read the type of an event that was invalid when the event arrived.
            (None, StoredVersion::Mapped(_)) | (_, StoredVersion::Invalid { .. }) => {
                let (decoded, headers) = match invalid::decode_again(source, event) {
                    Err(_) if is_listed(source, event_type) => return Ok(listed()),
                    decoded => decoded?,
                };
                if is_listed(source, &decoded.event_type) {
                    return Ok(listed());
                }
                let known = source.mapped(decoded.event_type.as_str());
                let (_, known) = known.ok_or_else(unknown_event_type_today)?;
                (known, decoded.envelope, headers)
            }
        };
        let has_update = matches!(again.stored, StoredVersion::Mapped(_));
        let message = (&envelope, &headers);
        let mut change = change_again(source, event_type, message, has_update)?;
        if let Some(change) = &mut change {
            match again.stored {
                StoredVersion::Mapped(Some(stored)) => change.version = stored,
                StoredVersion::Invalid { epoch } if epoch < change.version.epoch => {
                    change.version = SourceVersion::oldest(epoch);
                    change.jump_max = None;
                }
                StoredVersion::Invalid { .. } | StoredVersion::Mapped(None) => {}
            }
        }
        let pipeline = self.pipeline(source, None, again.wall_time);
        if let Some(change) = &mut change {
            change.skipped = bounded(std::mem::take(&mut change.skipped));
        }
        if let Some(change) = &change
            && pipeline.is_ahead(event_type, change)
        {
            return Err(version_ahead(event_type, source.view(&envelope)));
        }
        match self.settings.foreign_address.disposition(change) {
            Disposition::Enqueue(change) | Disposition::Hold(change) => {
                Ok(ReplayChange::Mapped(change))
            }
            Disposition::Park(..) => Err(foreign_address()),
            Disposition::Ignore(ignored) => Ok(ReplayChange::Ignored(ignored)),
            Disposition::Invalid(invalid) => Err(invalid.errors),
        }
    }
}

/// Maps an event, unless the condition `when` reads a header that the bridge did not store with it. Taken for an absent header, it
/// could end an event that the source wants to be sent. `has_update` says whether the entry has an update to send without the
/// mapping.
fn change_again(
    source: &Source,
    event_type: &EventType,
    (envelope, headers): (&Value, &RequestHeaders),
    has_update: bool,
) -> Result<Option<CustomerChange>, Vec<EventError>> {
    let mut unknown = headers.unknown(event_type.mapping.headers());
    if let Some(name) = unknown.next() {
        return Err(header_not_stored(name, has_update));
    }
    change(source, event_type, envelope, headers).map_err(|rejection| rejection.errors)
}

/// Returns the result for an event whose type the source file lists in `ignore`.
fn listed() -> ReplayChange {
    ReplayChange::Ignored(IgnoreReason::ListedType.into())
}

fn is_listed(source: &Source, event_type: &Attribute) -> bool {
    matches!(source.handling(event_type.as_str()), TypeHandling::Ignored)
}

// === errors ===

fn header_not_stored(name: &str, has_update: bool) -> Vec<EventError> {
    let remedy = match has_update {
        true => "Without --map-again, a replay sends the stored update",
        false => "Leave the header out of `when` until this replay",
    };
    let detail = format!(
        "The condition `when` reads the request header {name}, which the bridge did not store with this event: it stores only the headers that `when` read when the event arrived. {remedy}, or the source sends the event again under another id."
    );
    error("", "header", "when", &detail)
}

fn unknown_source_today() -> Vec<EventError> {
    let detail = "The bridge no longer has this source. Without --map-again, a replay sends the stored update.";
    error("", "unknown_source", "sources", detail)
}

fn unknown_event_type_today() -> Vec<EventError> {
    let detail = "The source file has no table for this event type. To send nothing for events of this type, add the type to \
                  `ignore` in the source file.";
    error("", "unknown_event_type", "events", detail)
}

fn foreign_address() -> Vec<EventError> {
    let detail = "The address is outside the USA. To send the event without it, set imprint.foreign_address = \"skip\".";
    error("", "foreign_address", "events", detail)
}
