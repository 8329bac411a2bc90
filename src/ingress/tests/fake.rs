//! A fake outbox for tests, which stores entries in a list and fails on request.

use std::sync::{Mutex, MutexGuard};

use crate::event::{Attribute, SourceName};
use crate::outbox::{
    Appended, AppendedEntry, ConflictingEvent, Disposition, EntryId, Error, Inbox, Lookup,
    NewEntry, ParkReason, Receipt, State, StoreFuture,
};

#[derive(Debug, Default)]
pub(super) struct Fake {
    entries: Mutex<Vec<NewEntry>>,
    /// The error that the next operations of the fake outbox return.
    pub(super) failure: Mutex<Option<Error>>,
    /// The final state of every entry, or `None` if no entry reaches a final state.
    pub(super) end: Mutex<Option<State>>,
}

impl Fake {
    pub(super) fn entries(&self) -> MutexGuard<'_, Vec<NewEntry>> {
        self.entries.lock().unwrap()
    }

    pub(super) fn fail(&self, error: Error) {
        *self.failure.lock().unwrap() = Some(error);
    }

    pub(super) fn end(&self, state: State) {
        *self.end.lock().unwrap() = Some(state);
    }

    fn failed(&self) -> Result<(), Error> {
        self.failure.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn keep(&self, batch: Vec<NewEntry>) -> Appended {
        let mut entries = self.entries();
        let conflicts: Vec<_> = (0..batch.len())
            .filter_map(|place| {
                let new = &batch[place];
                let mut earlier = entries.iter().chain(&batch[..place]);
                let found = earlier
                    .position(|old| old.identity == new.identity && old.digest != new.digest)?;
                let stored = EntryId(u64::try_from(found).unwrap() + 1);
                let earlier = (found < entries.len()).then_some(stored);
                Some(ConflictingEvent { place, earlier })
            })
            .collect();
        if !conflicts.is_empty() {
            return Appended::Conflict(conflicts);
        }
        Appended::Stored(
            batch
                .into_iter()
                .map(|new| keep_one(&mut entries, new))
                .collect(),
        )
    }

    fn receipt(&self, lookup: &Lookup) -> Option<Receipt> {
        let entries = self.entries();
        let place = entries.iter().rposition(|entry| {
            entry.identity.source == lookup.source
                && entry.identity.id == lookup.id
                && lookup
                    .ce_source
                    .as_ref()
                    .is_none_or(|it| entry.identity.ce_source.as_ref() == Some(it))
        })?;
        let end = *self.end.lock().unwrap();
        let entry = &entries[place];
        Some(Receipt {
            entry: entry_id(place),
            identity: entry.identity.clone(),
            event_type: entry.event_type.clone(),
            state: end.unwrap_or_else(|| state(entry)),
            attempts: u32::from(end.is_some()),
            accepted_at: entry.accepted_at,
            settled_at: end.map(|_| entry.accepted_at),
            superseded_by: (end == Some(State::Superseded))
                .then(|| Attribute::parse("winner").unwrap()),
            parked: (end == Some(State::Parked))
                .then(|| (ParkReason::Rejected, Some("email".to_owned()))),
            errors: Vec::new(),
            unsent: entry.disposition.skipped().to_vec(),
            ignored: None,
            erased_at: None,
        })
    }
}

fn keep_one(entries: &mut Vec<NewEntry>, new: NewEntry) -> AppendedEntry {
    let found = entries.iter().position(|old| old.identity == new.identity);
    let state = state(&new);
    let place = found.unwrap_or(entries.len());
    if found.is_none() {
        entries.push(new);
    }
    AppendedEntry {
        entry: entry_id(place),
        state,
        duplicate: found.is_some(),
    }
}

fn entry_id(place: usize) -> EntryId {
    EntryId(place.try_into().unwrap())
}

fn state(entry: &NewEntry) -> State {
    match entry.disposition {
        Disposition::Enqueue(_) => State::Waiting,
        Disposition::Park(..) | Disposition::Invalid(_) => State::Parked,
        Disposition::Hold(_) => State::Held,
        Disposition::Ignore(_) => State::Ignored,
    }
}

impl Inbox for Fake {
    fn append(&self, batch: Vec<NewEntry>) -> StoreFuture<'_, Appended> {
        Box::pin(async move { self.failed().map(|()| self.keep(batch)) })
    }

    fn find(&self, lookup: Lookup) -> StoreFuture<'_, Option<Receipt>> {
        Box::pin(async move { self.failed().map(|()| self.receipt(&lookup)) })
    }

    fn wait_settled(&self, _entry: EntryId) -> StoreFuture<'_, State> {
        let end = *self.end.lock().unwrap();
        Box::pin(async move {
            match end {
                Some(State::Waiting) => Err(Error::Closed),
                Some(state) => Ok(state),
                None => std::future::pending().await,
            }
        })
    }

    fn digest_key(&self) -> [u8; 32] {
        [7; 32]
    }

    fn stored_bytes(&self, source: &SourceName) -> u64 {
        let entries = self.entries();
        let events = entries
            .iter()
            .filter(|entry| entry.identity.source == *source);
        events
            .map(|entry| u64::try_from(entry.event.len()).unwrap())
            .sum()
    }
}
