//! The SQL statements that erase a customer, step by step.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, params};

use self::linked_keys::UNFINISHED;
use super::claimed_lanes::ClaimedLanes;
use super::counts::Counts;
use super::store_connection::StoreConnection;
use super::writer::job::{ActJob, Wakes, WriterCommand};
use super::{
    SqliteOutbox, columns, identity_link, journaled, lane, meta, payload, tombstones, versions,
};
use crate::event::SourceVersion;
use crate::failpoint::{self, CrashPoint};
use crate::fold::LaneVersions;
use crate::outbox::{
    CustomerErasure, ENTRY_MAX, ERASE_MAX, EntryId, ErasedPart, ErasurePlace, ErasureProgress,
    ErasureStep, LaneId, LaneKey, LaterEvents, Setting, State, StoreFuture,
    codec::{self, BlobKind},
    mentions,
};
use crate::time::Timestamp;

mod linked_keys;

impl SqliteOutbox {
    /// Runs one step of an erasure on the writer thread, and answers the senders that wait for an erased entry.
    pub(super) fn erase_step(&self, erasure: CustomerErasure) -> StoreFuture<'_, ErasureStep> {
        let step = move |store: &StoreConnection, counts: &mut Counts, claimed: &ClaimedLanes| {
            step(store, counts, &erasure, |lane| claimed.is_claimed(lane))
        };
        let answer =
            self.ask(|reply| WriterCommand::Act(ActJob::with_claims(reply, Wakes::Dispatch, step)));
        Box::pin(async move {
            let step = answer.await?;
            failpoint::crash_point(CrashPoint::AfterErasure);
            if let ErasureStep::Erased(part) = &step {
                let waiters = &self.shared.waiters;
                waiters.settle_all(&part.discarded, State::Discarded);
            }
            Ok(step)
        })
    }
}

/// Erases the next part of a customer's data. Changes nothing while a lane of the customer is claimed: the settlement of
/// the lane would write values again, and the request of the lane may be in flight.
pub(super) fn step(
    store: &StoreConnection,
    counts: &mut Counts,
    erasure: &CustomerErasure,
    is_claimed: impl Fn(LaneId) -> bool,
) -> rusqlite::Result<ErasureStep> {
    let keys = linked_keys::all(store, &erasure.keys)?;
    let lanes = linked_keys::lanes(store, &keys)?;
    if lanes.iter().any(|lane| is_claimed(*lane)) {
        return Ok(ErasureStep::InFlight);
    }
    let progress = match erasure.progress {
        Some(progress) => progress,
        None => journaled::begin(store, erasure, &keys)?,
    };
    let mut eraser = Eraser {
        store,
        counts,
        now: erasure.at,
        last: progress.last,
        part: ErasedPart::default(),
        floors: LaneVersions::default(),
    };
    let next = match progress.next {
        ErasurePlace::Lanes => eraser.erase_lanes(&keys, &lanes, erasure.later_events)?,
        ErasurePlace::Invalid(after) => eraser.erase_invalid(&keys, after)?,
    };
    if let (None, Some(number)) = (next, progress.number) {
        journaled::finish(store, number)?;
    }
    failpoint::crash_point(CrashPoint::BeforeErasure);
    let progress = next.map(|next| ErasureProgress { next, ..progress });
    Ok(ErasureStep::Erased(ErasedPart {
        keys,
        progress,
        ..eraser.part
    }))
}

struct Eraser<'a> {
    store: &'a StoreConnection,
    counts: &'a mut Counts,
    now: Timestamp,
    /// The newest entry that the erasure concerns.
    last: EntryId,
    part: ErasedPart,
    /// The newest versions of the erased updates.
    floors: LaneVersions,
}

impl Eraser<'_> {
    /// Erases the next entries of some lanes. After the last entry, makes the lanes tombstones, and deletes the identity
    /// links.
    fn erase_lanes(
        &mut self,
        keys: &[LaneKey],
        lanes: &[LaneId],
        later: LaterEvents,
    ) -> rusqlite::Result<Option<ErasurePlace>> {
        tombstones::announce(self.store)?;
        let mut entries: BTreeSet<(EntryId, Option<State>)> = BTreeSet::new();
        for lane in lanes {
            self.find_entries(*lane, &mut entries)?;
        }
        let is_last = entries.len() <= ERASE_MAX;
        for (entry, state) in entries.into_iter().take(ERASE_MAX) {
            self.erase_entry(entry, state)?;
        }
        for lane in lanes {
            self.raise(*lane)?;
        }
        if !is_last {
            return Ok(Some(ErasurePlace::Lanes));
        }
        for key in keys {
            self.bury(key, later)?;
        }
        self.delete_evidence(keys)?;
        Ok(Some(ErasurePlace::Invalid(EntryId(0))))
    }

    /// Finds the next entries of a lane, each with its state if it has a payload.
    fn find_entries(
        &self,
        lane: LaneId,
        found: &mut BTreeSet<(EntryId, Option<State>)>,
    ) -> rusqlite::Result<()> {
        let params = params![lane.0, self.last.0, ERASE_MAX + 1];
        for state in UNFINISHED {
            let Some(table) = payload::table(state) else {
                continue;
            };
            let mut statement = self.store.prepare(&format!(
                "SELECT entry FROM {table} WHERE lane = ?1 AND entry <= ?2 ORDER BY entry LIMIT ?3"
            ))?;
            let entries = statement.query_map(params, |row| row.get(0).map(EntryId))?;
            found.extend(
                columns::readable(entries)?
                    .into_iter()
                    .map(|entry| (entry, Some(state))),
            );
        }
        let mut statement = self.store.prepare(
            "SELECT id FROM entry INDEXED BY entry_ended WHERE lane = ?1 AND settled_at IS NOT NULL
                AND state IN (1, 2, 3, 5) AND id <= ?2 ORDER BY id LIMIT ?3",
        )?;
        let entries = statement.query_map(params, |row| row.get(0).map(EntryId))?;
        found.extend(
            columns::readable(entries)?
                .into_iter()
                .map(|entry| (entry, None)),
        );
        Ok(())
    }

    /// Erases the payload of an entry, and makes its receipt a tombstone. An entry that has not ended ends as discarded.
    fn erase_entry(&mut self, entry: EntryId, state: Option<State>) -> rusqlite::Result<()> {
        if let Some(state) = state {
            self.read_floor(entry, state)?;
            payload::erase(self.store, state, entry, self.counts)?;
            self.counts.leave(state);
            self.counts.enter(State::Discarded);
            self.part.discarded.push(entry);
        }
        let ended = state.map(|_| (codec::state_number(State::Discarded), self.now.as_millis()));
        let (ended, at) = ended.unzip();
        let identity = self.store.query_row(
            "SELECT source, ce_source, event_id FROM entry WHERE id = ?1",
            [entry.0],
            |row| {
                let text = |column| columns::or_default::<String>(row, column);
                Ok([text(0), text(1), text(2)])
            },
        );
        let Some([source, ce_source, id]) = identity.optional()? else {
            return Ok(());
        };
        let digests = self.store.tombstone_key();
        let id = digests.map(|digests| digests.event(&source, &ce_source, &id));
        self.store.execute(
            "UPDATE entry SET event_id = ?2, ce_source = '', lane = NULL, skipped = NULL,
                    state = coalesce(?3, state), settled_at = coalesce(?4, settled_at) WHERE id = ?1",
            params![entry.0, id, ended, at],
        )?;
        self.part.entries += 1;
        Ok(())
    }

    /// Remembers the version of an entry's update. An update that the bridge cannot read has none.
    fn read_floor(&mut self, entry: EntryId, state: State) -> rusqlite::Result<()> {
        let Some(table) = payload::table(state) else {
            return Ok(());
        };
        let sealer = self.store.sealer();
        let sql = format!("SELECT epoch, value, facts FROM {table} WHERE entry = ?1");
        let read = self.store.query_row(&sql, [entry.0], |row| {
            let update = row.get_ref(2)?.as_bytes().unwrap_or_default();
            let stored = codec::decode_update(sealer, entry.0, update).ok();
            let version = SourceVersion {
                epoch: columns::or_default(row, 0),
                value: columns::or_default(row, 1),
            };
            Ok(stored.map(|stored| (version, stored.update)))
        });
        if let Some((version, update)) = read.optional()?.flatten() {
            self.floors.raise(version.arrived(entry.0), update.fields());
        }
        Ok(())
    }

    /// Raises the versions of a lane to the versions of the erased updates: a step of this erasure can be the last step
    /// before a crash.
    fn raise(&self, lane: LaneId) -> rusqlite::Result<()> {
        if self.floors.is_empty() {
            return Ok(());
        }
        let mut versions = versions::of_lane(self.store, lane)?;
        versions.raise_to(&self.floors);
        versions::store(self.store, lane, &versions)
    }

    /// Makes the lane of a key its tombstone, and deletes the identity links of the key. A lane with newer entries stays a
    /// lane, with version floors.
    fn bury(&mut self, key: &LaneKey, later: LaterEvents) -> rusqlite::Result<()> {
        let buried = tombstones::find(self.store, key)?.map(|(lane, _)| lane);
        let lane = match (lane::find(self.store, key)?, buried) {
            (Some(lane), _) => lane,
            (None, Some(buried)) => {
                self.raise(buried)?;
                buried
            }
            (None, None) => {
                let needs_floors = matches!(key, LaneKey::Imprint(_)) && !self.floors.is_empty();
                if later == LaterEvents::Delivered && !needs_floors {
                    return identity_link::delete(self.store, key);
                }
                let lane = tombstones::create(self.store, key, later)?;
                self.raise(lane)?;
                lane
            }
        };
        let versions = versions::of_lane(self.store, lane)?;
        self.part.unversioned += versions.unversioned();
        versions::store(self.store, lane, &versions.erased())?;
        self.store
            .execute("DELETE FROM origin WHERE lane = ?1", [lane.0])?;
        if self.has_newer_entry(lane)? {
            return Ok(());
        }
        tombstones::bury(self.store, lane, key, later)?;
        identity_link::delete(self.store, key)
    }

    fn has_newer_entry(&self, lane: LaneId) -> rusqlite::Result<bool> {
        let mut entries = BTreeSet::new();
        let every = Eraser {
            store: self.store,
            counts: &mut self.counts.clone(),
            now: self.now,
            last: EntryId(ENTRY_MAX),
            part: ErasedPart::default(),
            floors: LaneVersions::default(),
        };
        every.find_entries(lane, &mut entries)?;
        Ok(!entries.is_empty())
    }

    /// Deletes the stored evidence about Imprint if it names the customer, or cannot be read. Dispatch stores its evidence
    /// again.
    fn delete_evidence(&self, keys: &[LaneKey]) -> rusqlite::Result<()> {
        let name = Setting::Evidence;
        let stored = meta::read(self.store, name)?.map(|stored| stored.to_ascii_lowercase());
        let is_named = |stored: &String| {
            keys.iter().any(|key| match key {
                LaneKey::Imprint(imprint) => {
                    stored.contains(&imprint.as_str().to_ascii_lowercase())
                }
                LaneKey::Partner(_) => false,
            })
        };
        if stored.as_ref().is_none_or(is_named) {
            self.store
                .execute("DELETE FROM meta WHERE name = ?1", [name.name()])?;
        }
        Ok(())
    }

    /// Erases the next entries that are parked as invalid and whose event mentions an id of the customer.
    fn erase_invalid(
        &mut self,
        keys: &[LaneKey],
        after: EntryId,
    ) -> rusqlite::Result<Option<ErasurePlace>> {
        let sealer = self.store.sealer();
        let mut statement = self.store.prepare(
            "SELECT entry, event FROM parked WHERE lane = 0 AND entry > ?1 AND entry <= ?2 ORDER BY entry LIMIT ?3",
        )?;
        let mut rows = statement.query(params![after.0, self.last.0, ERASE_MAX])?;
        let (mut mentioning, mut read) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next()? {
            let entry = EntryId(row.get(0)?);
            read.push(entry);
            let stored = row.get_ref(1)?.as_bytes().unwrap_or_default();
            let event = codec::decode_bytes(sealer, BlobKind::Event, entry.0, stored).ok();
            match event.and_then(|event| serde_json::from_slice(&event).ok()) {
                Some(event) if mentions(&event, keys) => mentioning.push(entry),
                Some(_) => {}
                None => self.part.unreadable += 1,
            }
        }
        for entry in mentioning {
            self.erase_entry(entry, Some(State::Parked))?;
        }
        let last = read.last().filter(|_| read.len() == ERASE_MAX);
        Ok(last.map(|last| ErasurePlace::Invalid(*last)))
    }
}
