//! The use cases that give the events of parked entries to a revealer, and that replay entries with corrected events.
//!
//! A correction is a replay that maps the operator's event instead of the stored one. The entry keeps its identity, so that the
//! same event from the source stays a duplicate. The store keeps the event of the source, and the corrected update.

use std::collections::BTreeMap;

use serde_json::Value;

use super::replay::{MappingChoice, ReplayPreview, Replayed, Unmappable, number, target};
use super::selection::{ChangeSelection, Coverage, Reason, SelectedEntries};
use super::unchanged::Unchanged;
use super::{Error, Operations, Operator, Role};
use crate::intake::CorrectedEvent;
use crate::outbox::{AuditEvent, Detail, EntryId, EntrySummary, LoadedEntry, State};

/// The states whose events an operator can correct.
const CORRECTED_STATES: &[State] = &[State::Parked];

/// The maximum size of the events on a page, after its first event. The command line reads an answer of at most 16 MiB.
const PAGE_EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The event with which an operator replaces the stored event of an entry.
pub struct Correction {
    pub entry: EntryId,
    pub event: Value,
}

/// Prints only the number of the entry, because the event is personal data.
impl std::fmt::Debug for Correction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Correction").field(&self.entry).finish()
    }
}

/// The events of parked entries, with unmasked values.
pub struct RevealedEvents {
    pub entries: Vec<RevealedEvent>,
    /// The entries that are not parked.
    pub unchanged: Vec<Unchanged>,
    pub coverage: Coverage,
}

/// The stored event of a parked entry.
pub struct RevealedEvent {
    pub summary: EntrySummary,
    /// `None` if the bridge cannot read the stored event.
    pub event: Option<Value>,
}

/// Prints no value, because the events are personal data.
impl std::fmt::Debug for RevealedEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevealedEvents").finish_non_exhaustive()
    }
}

/// Prints no value, because the event is personal data.
impl std::fmt::Debug for RevealedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entry = &self.summary.receipt.entry;
        f.debug_tuple("RevealedEvent").field(entry).finish()
    }
}

/// The entries of a correction, each with the corrected event in the place of the stored one.
struct CorrectedEntries {
    selected: SelectedEntries,
    rejected: Vec<Unmappable>,
    /// The changed places of each corrected event, for the audit log.
    places: BTreeMap<EntryId, (Vec<String>, usize)>,
}

impl Operations {
    /// Returns the stored events of parked entries, with unmasked values. First writes an audit record with the numbers of the
    /// entries.
    ///
    /// # Errors
    /// Returns an error if the operator is not a revealer, if the filter has another state, or if the store fails.
    pub async fn parked_events(
        &self,
        operator: &Operator,
        selection: ChangeSelection,
        reason: Option<Reason>,
    ) -> Result<RevealedEvents, Error> {
        operator.require(Role::Revealer)?;
        selection.states(CORRECTED_STATES)?;
        let selected = self.load_selected(selection, Detail::Payloads, CORRECTED_STATES);
        let SelectedEntries {
            mut loaded,
            unchanged,
            mut coverage,
        } = selected.await?;
        if coverage.as_of.is_some() && shorten(&mut loaded.entries) {
            coverage.next = loaded.entries.last().map(number);
        }
        let numbers: Vec<EntryId> = loaded.entries.iter().map(number).collect();
        if !numbers.is_empty() {
            let mut event = self.audit_event(operator, "reveal", target(&numbers));
            event.reason = reason.map(Reason::into_text);
            self.outbox.append_audit(event).await?;
        }
        let parked = |entry: LoadedEntry| RevealedEvent {
            event: entry
                .event
                .and_then(|event| serde_json::from_slice(&event).ok()),
            summary: entry.summary,
        };
        Ok(RevealedEvents {
            entries: loaded.entries.into_iter().map(parked).collect(),
            unchanged,
            coverage,
        })
    }

    /// Returns the requests that a correction would send.
    ///
    /// # Errors
    /// Returns an error if the operator does not have the roles of [`Self::correct`], if there are too many corrections, or two of one entry, or if the store fails.
    pub async fn preview_correction(
        &self,
        operator: &Operator,
        corrections: Vec<Correction>,
    ) -> Result<ReplayPreview, Error> {
        operator.require(Role::Operator)?;
        operator.require(Role::Revealer)?;
        let corrected = self.corrected(corrections).await?;
        let selected = corrected.selected;
        let preview = self.preview_selected(selected, MappingChoice::Current);
        let mut preview = preview.await?;
        preview.unmappable.extend(corrected.rejected);
        Ok(preview)
    }

    /// Replays parked entries with corrected events. The audit log names the changed places, without a value.
    ///
    /// The operator must be a revealer too: who writes values for a customer has seen what the source sent.
    ///
    /// # Errors
    /// Returns an error if the operator does not have both roles, if there are too many corrections, or two of one entry, or if
    /// the store fails.
    pub async fn correct(
        &self,
        operator: &Operator,
        corrections: Vec<Correction>,
        reason: Option<Reason>,
    ) -> Result<Replayed, Error> {
        operator.require(Role::Operator)?;
        operator.require(Role::Revealer)?;
        let reason = reason.ok_or(Error::ReasonRequired)?;
        let CorrectedEntries {
            selected,
            rejected,
            places,
        } = self.corrected(corrections).await?;
        let mut event = self.audit_event(operator, "correct", String::new());
        event.reason = Some(reason.into_text());
        let named = move |numbers: &[EntryId]| AuditEvent {
            target: with_places(numbers, &places),
            ..event.clone()
        };
        let replayed = self.replay_selected(selected, MappingChoice::Current, named);
        let mut replayed = replayed.await?;
        replayed.unmappable.extend(rejected);
        Ok(replayed)
    }

    /// Loads the entries of a correction, and puts each corrected event into the place of the stored one.
    async fn corrected(&self, corrections: Vec<Correction>) -> Result<CorrectedEntries, Error> {
        let numbers: Vec<EntryId> = corrections.iter().map(|one| one.entry).collect();
        let mut events: BTreeMap<EntryId, Value> = BTreeMap::new();
        for correction in corrections {
            if events.insert(correction.entry, correction.event).is_some() {
                return Err(Error::CorrectedTwice(correction.entry));
            }
        }
        let selection = ChangeSelection::numbers(numbers)?;
        let selected = self.load_selected(selection, Detail::Payloads, CORRECTED_STATES);
        let mut selected = selected.await?;
        let sources = self.sources.sources();
        let (mut rejected, mut places) = (Vec::new(), BTreeMap::new());
        let loaded = std::mem::take(&mut selected.loaded.entries);
        for mut entry in loaded {
            let source = &entry.summary.receipt.identity.source;
            let event = events.remove(&number(&entry)).unwrap_or_default();
            match sources.correct(source, entry.event.as_deref(), &event) {
                Ok(CorrectedEvent {
                    bytes,
                    places: of_event,
                }) => {
                    places.insert(number(&entry), of_event);
                    entry.event = Some(bytes);
                    selected.loaded.entries.push(entry);
                }
                Err(errors) => rejected.push(Unmappable {
                    entry: number(&entry),
                    errors,
                }),
            }
        }
        Ok(CorrectedEntries {
            selected,
            rejected,
            places,
        })
    }
}

/// Shortens a page to [`PAGE_EVENT_BYTES_MAX`]. Returns whether it left entries out.
fn shorten(entries: &mut Vec<LoadedEntry>) -> bool {
    let mut bytes = 0;
    let too_many = entries.iter().skip(1).position(|entry| {
        bytes += entry.event.as_ref().map_or(0, Vec::len);
        bytes > PAGE_EVENT_BYTES_MAX
    });
    let Some(kept) = too_many else { return false };
    entries.truncate(kept + 1);
    true
}

/// Returns the target for the audit log: each entry with its changed places.
fn with_places(numbers: &[EntryId], places: &BTreeMap<EntryId, (Vec<String>, usize)>) -> String {
    let target = |entry: &EntryId| match places.get(entry) {
        Some((first, _)) if first.is_empty() => format!("{entry} (unchanged)"),
        Some((first, 0)) => format!("{entry} ({})", first.join(" ")),
        Some((first, others)) => format!("{entry} ({} and {others} more)", first.join(" ")),
        None => entry.to_string(),
    };
    let targets: Vec<String> = numbers.iter().map(target).collect();
    targets.join(", ")
}
