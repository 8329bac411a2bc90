//! The use case that lets parked and undecided entries wait for delivery again, with a preview.

use super::preview::{Forecast, ReplayedEntry, ReplayedRequest, forecast, replayed};
use super::selection::{ChangeSelection, Reason};
use super::{Error, Operations, Operator};
use crate::event::{EventError, Version};
use crate::intake::{MappedAgain, StoredVersion};
use crate::outbox::{
    AuditEvent, Detail, EntryId, LoadedEntries, LoadedEntry, ParkReason, Receipt, Replay, State,
    WaitingEntry,
};

/// The states that a replay accepts.
const REPLAYED: &[State] = &[State::Parked, State::Undecided];

/// The mapping that a replay uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingChoice {
    /// The replay sends the update that the bridge stored when it accepted the event.
    Stored,
    /// The replay maps the stored event again, with the current schema and mapping.
    Current,
}

/// An entry whose event the current mapping rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmappable {
    pub entry: EntryId,
    pub errors: Vec<EventError>,
}

/// The effect that a replay would have.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayPreview {
    /// The number of entries that would wait for delivery again.
    pub replayable: usize,
    /// The requests that the replay would send.
    pub requests: Vec<ReplayedRequest>,
    /// The results of the replayed entries, if Imprint applies every request.
    pub entries: Vec<ReplayedEntry>,
    pub unmappable: Vec<Unmappable>,
    /// True if the filter matches more entries than one request can change.
    pub has_more: bool,
}

/// The result of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The entries that wait for delivery again.
    pub entries: Vec<EntryId>,
    pub unmappable: Vec<Unmappable>,
    /// True if the filter matches more entries than one request can change.
    pub has_more: bool,
}

impl Operations {
    /// Returns the requests that a replay of these entries would send.
    ///
    /// # Errors
    /// Returns an error if a replay does not accept the filter, or if the store fails.
    pub async fn preview_replay(
        &self,
        _operator: &Operator,
        selection: ChangeSelection,
        mapping: MappingChoice,
    ) -> Result<ReplayPreview, Error> {
        let states = selection.states(REPLAYED)?;
        let loaded = self.load_selected(selection, Detail::Payloads, &states);
        let loaded = loaded.await?;
        let (replays, unmappable) = self.map(&loaded.entries, mapping);
        let Forecast { requests, entries } = self.forecast(&loaded, &replays).await?;
        Ok(ReplayPreview {
            replayable: replays.len(),
            requests,
            entries,
            unmappable,
            has_more: loaded.has_more,
        })
    }

    /// Makes parked and undecided entries wait for delivery again, with a lower priority than new events.
    ///
    /// An entry stays parked if the current mapping rejects its event. An undecided entry always keeps its stored
    /// change.
    ///
    /// # Errors
    /// Returns an error if a replay does not accept the filter, or if the store fails.
    pub async fn replay(
        &self,
        operator: &Operator,
        selection: ChangeSelection,
        mapping: MappingChoice,
        reason: Option<Reason>,
    ) -> Result<Replayed, Error> {
        let detail = match mapping {
            MappingChoice::Stored => Detail::Summaries,
            MappingChoice::Current => Detail::Payloads,
        };
        let states = selection.states(REPLAYED)?;
        let mut loaded = self.load_selected(selection, detail, &states).await?;
        let mut event = self.audit_event(operator, "replay", String::new());
        event.reason = reason.map(Reason::into_text);
        let mut entries = self.approve_undecided(&mut loaded, &event).await?;
        let (replays, unmappable) = self.map(&loaded.entries, mapping);
        if !replays.is_empty() || entries.is_empty() {
            event.target = target(replays.iter().map(|replay| replay.entry));
            entries.extend(self.outbox.replay(replays, event).await?);
        }
        Ok(Replayed {
            entries,
            unmappable,
            has_more: loaded.has_more,
        })
    }

    /// Computes the requests and the results of a replay, in the lanes that the entries would join.
    async fn forecast(
        &self,
        loaded: &LoadedEntries,
        replays: &[Replay],
    ) -> Result<Forecast, Error> {
        let replay = |entry| {
            let mut replays = replays.iter();
            replays.find(|replay| replay.entry == number(entry))
        };
        let waiting = loaded
            .entries
            .iter()
            .filter_map(|entry| replayed(entry, replay(entry)?));
        let waiting: Vec<WaitingEntry> = waiting.collect();
        let customers = waiting.iter().map(|waiting| waiting.customer.clone());
        let lanes = self.outbox.lanes(customers.collect()).await?;
        Ok(forecast(waiting, lanes, &self.rules, self.clock.now()))
    }

    /// Takes the undecided entries out of the loaded ones, and lets them wait again. Returns the entries that now wait.
    async fn approve_undecided(
        &self,
        loaded: &mut LoadedEntries,
        event: &AuditEvent,
    ) -> Result<Vec<EntryId>, Error> {
        let undecided: Vec<EntryId> = loaded
            .entries
            .extract_if(.., |entry| entry.summary.receipt.state == State::Undecided)
            .map(|entry| number(&entry))
            .collect();
        if undecided.is_empty() {
            return Ok(undecided);
        }
        let event = AuditEvent {
            target: target(undecided.iter().copied()),
            ..event.clone()
        };
        Ok(self.outbox.approve(undecided, event).await?)
    }

    /// Returns two lists: a replay for each entry, with the stored change or with the result of the current mapping,
    /// and the entries that the current mapping rejects. An undecided entry always keeps its stored change.
    fn map(
        &self,
        entries: &[LoadedEntry],
        mapping: MappingChoice,
    ) -> (Vec<Replay>, Vec<Unmappable>) {
        let (mut replays, mut unmappable) = (Vec::new(), Vec::new());
        let sources = self.sources.sources();
        for loaded in entries {
            let entry = number(loaded);
            let receipt = &loaded.summary.receipt;
            let version = loaded.version.map(Version::of_source);
            let stored = match is_invalid(receipt) {
                false => StoredVersion::Mapped(version),
                true if mapping == MappingChoice::Stored => {
                    let errors = vec![needs_current_mapping()];
                    unmappable.push(Unmappable { entry, errors });
                    continue;
                }
                true => StoredVersion::Invalid {
                    epoch: version.unwrap_or_default().epoch,
                },
            };
            let event = match mapping {
                MappingChoice::Current if receipt.state != State::Undecided => {
                    loaded.event.as_deref()
                }
                MappingChoice::Current | MappingChoice::Stored => None,
            };
            let change = event.map(|event| {
                let source = &receipt.identity.source;
                let again = MappedAgain {
                    stored,
                    wall_time: self.clock.wall(),
                };
                sources.remap(source, &receipt.event_type, event, again)
            });
            match change.transpose() {
                Ok(change) => replays.push(Replay { entry, change }),
                Err(errors) => unmappable.push(Unmappable { entry, errors }),
            }
        }
        (replays, unmappable)
    }
}

/// Returns whether the entry is parked because its event was invalid. Such an entry has no customer change.
pub(super) fn is_invalid(receipt: &Receipt) -> bool {
    let parked = receipt.parked.as_ref();
    parked.is_some_and(|(reason, _)| *reason == ParkReason::Invalid)
}

fn needs_current_mapping() -> EventError {
    EventError {
        pointer: String::new(),
        rule: "map_again".to_owned(),
        location: "events".to_owned(),
        detail: "The event was invalid when it arrived, so the bridge stored no update. Replay the entry with --map-again."
            .to_owned(),
    }
}

pub(super) const fn number(entry: &LoadedEntry) -> EntryId {
    entry.summary.receipt.entry
}

/// Returns the ids of the entries as one text for the audit log.
fn target(entries: impl Iterator<Item = EntryId>) -> String {
    let numbers: Vec<String> = entries.map(|entry| entry.to_string()).collect();
    numbers.join(" ")
}
