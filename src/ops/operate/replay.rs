//! The use case that lets parked, undecided and held entries wait for delivery again, with a preview.

use super::mapped_entries::{MappedEntries, map};
use super::preview::{Forecast, ReplayedEntry, ReplayedRequest, forecast, replayed};
use super::selection::{ChangeSelection, Coverage, Reason, SelectedEntries};
use super::unchanged::{Unchanged, UnchangedReason, changed_meanwhile};
use super::{Error, Operations, Operator, Role};
use crate::event::EventError;
use crate::imprint::CustomerRef;
use crate::outbox::{
    AuditEvent, Detail, EntryId, IgnoreReason, LoadedEntries, LoadedEntry, ParkReason, Receipt,
    Replay, ReplayChange, State, WaitingEntry,
};

/// The states that a replay accepts.
pub const REPLAYED_STATES: &[State] = &[State::Parked, State::Undecided, State::Held];

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

/// An entry for whose event the current mapping has nothing to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IgnoredEntry {
    pub entry: EntryId,
    pub reason: IgnoreReason,
}

/// An entry whose values Imprint has rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedEntry {
    pub entry: EntryId,
    /// Imprint's answer: the status, and the `type` and the `param` of the rejection.
    pub detail: Option<String>,
    /// True if the replay would send the rejected values again.
    pub is_same: bool,
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
    /// The replayed entries whose stored values Imprint has rejected.
    pub rejected: Vec<RejectedEntry>,
    pub unmappable: Vec<Unmappable>,
    /// The entries that the replay would not change.
    pub unchanged: Vec<Unchanged>,
    pub coverage: Coverage,
}

/// The result of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The entries that wait for delivery again.
    pub entries: Vec<EntryId>,
    /// The entries that the replay ended, because the current mapping has nothing to send for their events.
    pub ignored: Vec<IgnoredEntry>,
    pub unmappable: Vec<Unmappable>,
    /// The entries that the replay did not change.
    pub unchanged: Vec<Unchanged>,
    pub coverage: Coverage,
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
        selection.states(REPLAYED_STATES)?;
        let selected = self.load_selected(selection, Detail::Payloads, REPLAYED_STATES);
        self.preview_selected(selected.await?, mapping).await
    }

    /// Returns the requests that a replay of loaded entries would send.
    pub(super) async fn preview_selected(
        &self,
        selected: SelectedEntries,
        mapping: MappingChoice,
    ) -> Result<ReplayPreview, Error> {
        let SelectedEntries {
            mut loaded,
            mut unchanged,
            coverage,
        } = selected;
        refuse_mapping(&mut loaded, mapping, &mut unchanged);
        let mut mapped = self.map(&mut loaded.entries, mapping).await?;
        self.end_blocked(&mut mapped.replays).await?;
        let Forecast {
            mut requests,
            mut entries,
        } = self.forecast(&loaded, &mapped.replays).await?;
        self.name_delivered(&mut requests).await?;
        let rejected = rejected(&loaded.entries, &mapped.replays);
        let ignored = mapped.ignored();
        let replayable = mapped.replays.len().saturating_sub(ignored.len());
        entries.extend(ignored.into_iter().map(ReplayedEntry::ignored));
        unchanged.extend(mapped.unchanged);
        Ok(ReplayPreview {
            replayable,
            requests,
            entries,
            rejected,
            unmappable: mapped.unmappable,
            unchanged,
            coverage,
        })
    }

    /// Makes parked, undecided and held entries wait for delivery again, with a lower priority than new events.
    ///
    /// An entry stays parked if the current mapping rejects its event, and becomes ignored if the current mapping has
    /// nothing to send for its event. Undecided and held entries keep their stored change, so a replay with the current
    /// mapping leaves them unchanged.
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
        operator.require(Role::Operator)?;
        let detail = match mapping {
            MappingChoice::Stored => Detail::Summaries,
            MappingChoice::Current => Detail::Payloads,
        };
        selection.states(REPLAYED_STATES)?;
        let selected = self
            .load_selected(selection, detail, REPLAYED_STATES)
            .await?;
        let mut event = self.audit_event(operator, "replay", String::new());
        event.reason = reason.map(Reason::into_text);
        let named = move |numbers: &[EntryId]| AuditEvent {
            target: target(numbers),
            ..event.clone()
        };
        self.replay_selected(selected, mapping, named).await
    }

    /// Replays loaded entries. `named` makes the audit record of the changed entries.
    pub(super) async fn replay_selected(
        &self,
        selected: SelectedEntries,
        mapping: MappingChoice,
        named: impl Fn(&[EntryId]) -> AuditEvent,
    ) -> Result<Replayed, Error> {
        let SelectedEntries {
            mut loaded,
            mut unchanged,
            coverage,
        } = selected;
        refuse_mapping(&mut loaded, mapping, &mut unchanged);
        let mut entries = self
            .approve_loaded(&mut loaded, &named, &mut unchanged)
            .await?;
        let mut mapped = self.map(&mut loaded.entries, mapping).await?;
        self.end_blocked(&mut mapped.replays).await?;
        let mut ignored = mapped.ignored();
        unchanged.extend(mapped.unchanged);
        let replays = mapped.replays;
        if !replays.is_empty() || entries.is_empty() {
            let numbers: Vec<EntryId> = replays.iter().map(|replay| replay.entry).collect();
            let changed = self.outbox.replay(replays, named(&numbers)).await?;
            unchanged.extend(changed_meanwhile(&numbers, &changed));
            ignored.retain(|ignored| changed.contains(&ignored.entry));
            let waits = |entry: &EntryId| !ignored.iter().any(|ignored| ignored.entry == *entry);
            entries.extend(changed.into_iter().filter(waits));
        }
        Ok(Replayed {
            entries,
            ignored,
            unmappable: mapped.unmappable,
            unchanged,
            coverage,
        })
    }

    /// Lets the entries of blocked customers end as ignored. The store would do the same, but the preview and the answer of
    /// a replay must say so.
    async fn end_blocked(&self, replays: &mut [Replay]) -> Result<(), Error> {
        let mut mapped: Vec<(&mut ReplayChange, CustomerRef)> = replays
            .iter_mut()
            .filter_map(|replay| match &replay.change {
                ReplayChange::Mapped(change) => {
                    let customer = change.customer.clone();
                    Some((&mut replay.change, customer))
                }
                ReplayChange::Stored | ReplayChange::Ignored(_) => None,
            })
            .collect();
        let customers = mapped.iter().map(|(_, customer)| customer.clone());
        let lanes = self.outbox.lanes(customers.collect()).await?;
        for ((change, _), lane) in mapped.iter_mut().zip(lanes) {
            if lane.is_blocked {
                **change = ReplayChange::Ignored(IgnoreReason::Blocked.into());
            }
        }
        Ok(())
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
        let (rules, now) = (self.rules, self.clock.now());
        let forecast = move || forecast(waiting, lanes, &rules, now);
        self.map_apart(forecast).await
    }

    /// Takes the undecided and held entries out of the loaded ones, and lets them wait. Returns the entries that now wait.
    async fn approve_loaded(
        &self,
        loaded: &mut LoadedEntries,
        named: &impl Fn(&[EntryId]) -> AuditEvent,
        unchanged: &mut Vec<Unchanged>,
    ) -> Result<Vec<EntryId>, Error> {
        let approvable: Vec<EntryId> = loaded
            .entries
            .extract_if(.., |entry| needs_approval(entry.summary.receipt.state))
            .map(|entry| number(&entry))
            .collect();
        if approvable.is_empty() {
            return Ok(approvable);
        }
        let event = named(&approvable);
        let approved = self.outbox.approve(approvable.clone(), event).await?;
        unchanged.extend(changed_meanwhile(&approvable, &approved));
        Ok(approved)
    }

    /// Maps the selected entries, apart from the thread of the operators' listener.
    async fn map(
        &self,
        entries: &mut Vec<LoadedEntry>,
        mapping: MappingChoice,
    ) -> Result<MappedEntries, Error> {
        let (sources, wall_time) = (self.sources.sources(), self.clock.shared_wall());
        let loaded = std::mem::take(entries);
        let map = move || (map(&sources, &loaded, mapping, wall_time), loaded);
        let (mapped, loaded) = self.map_apart(map).await?;
        *entries = loaded;
        Ok(mapped)
    }
}

/// Returns the entries whose stored values Imprint has rejected, and whether the replays send these values again.
fn rejected(entries: &[LoadedEntry], replays: &[Replay]) -> Vec<RejectedEntry> {
    let rejected = replays.iter().filter_map(|replay| {
        let mut entries = entries.iter();
        let loaded = entries.find(|loaded| number(loaded) == replay.entry)?;
        let parked = loaded.summary.receipt.parked.as_ref();
        let (_, detail) = parked.filter(|(reason, _)| *reason == ParkReason::Rejected)?;
        let stored = loaded.update.as_ref().map(|(_, update)| update);
        let is_same = match &replay.change {
            ReplayChange::Stored => true,
            ReplayChange::Mapped(change) => stored == Some(&change.update),
            ReplayChange::Ignored(_) => return None,
        };
        Some(RejectedEntry {
            entry: replay.entry,
            detail: detail.clone(),
            is_same,
        })
    });
    rejected.collect()
}

/// Takes the undecided and held entries out of the loaded ones if the operator chose the current mapping: such an entry keeps
/// its stored values, and the operator must not believe that the bridge sends corrected ones.
fn refuse_mapping(
    loaded: &mut LoadedEntries,
    mapping: MappingChoice,
    unchanged: &mut Vec<Unchanged>,
) {
    if mapping == MappingChoice::Stored {
        return;
    }
    let kept = loaded
        .entries
        .extract_if(.., |entry| needs_approval(entry.summary.receipt.state));
    unchanged.extend(kept.map(|entry| Unchanged {
        entry: number(&entry),
        reason: UnchangedReason::KeepsValues(entry.summary.receipt.state),
    }));
}

/// Returns whether an operator approves an entry in this state instead of replaying it.
const fn needs_approval(state: State) -> bool {
    matches!(state, State::Undecided | State::Held)
}

/// Returns whether the entry is parked because its event was invalid. Such an entry has no customer change.
pub(super) fn is_invalid(receipt: &Receipt) -> bool {
    let parked = receipt.parked.as_ref();
    parked.is_some_and(|(reason, _)| *reason == ParkReason::Invalid)
}

pub(super) const fn number(entry: &LoadedEntry) -> EntryId {
    entry.summary.receipt.entry
}

/// Returns the ids of the entries as one text for the audit log.
pub(super) fn target(entries: &[EntryId]) -> String {
    let numbers: Vec<String> = entries.iter().map(EntryId::to_string).collect();
    numbers.join(" ")
}
