//! The SQL statements that erase a customer, step by step.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, params};

use self::named_entries::EntrySearch;
use super::claimed_lanes::ClaimedLanes;
use super::counts::Counts;
use super::store_connection::StoreConnection;
use super::writer::job::{ActJob, Wakes, WriterCommand};
use super::{
    SqliteOutbox, columns, identity_link, journaled, lane, meta, payload, tombstones, versions,
    withdraw,
};
use crate::failpoint::{self, CrashPoint};
use crate::fold::LaneVersions;
use crate::outbox::named_part::NamedPart;
use crate::outbox::tombstone::TombstoneKind;
use crate::outbox::{
    CustomerErasure, ENTRY_MAX, ERASE_MAX, EntryId, ErasedPart, ErasureProgress, ErasureStep,
    LaneId, LaneKey, LaterEvents, ParkReason, Setting, State, StoreFuture, codec,
};
use crate::time::Timestamp;

mod linked_keys;
pub(super) mod named_entries;

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
/// the lane would write values again, and the request of the lane may be in flight. The same holds for an entry of the
/// customer in the lane of another customer.
///
/// The lanes and the identity links come last, in the step that finds no further entry in another lane: a crash before this
/// step leaves the links, so a repeated command finds the same ids, and no entry arrives between the two.
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
    let search = EntrySearch {
        keys: &keys,
        invalid: &erasure.invalid,
        own: &[],
        left_out: &lanes,
        after: examined(erasure, &keys),
        last: erasure
            .progress
            .map_or(EntryId(ENTRY_MAX), |progress| progress.last),
        max: ERASE_MAX,
    };
    let Some(found) = search.next(store)?.before_claimed(&is_claimed) else {
        return Ok(ErasureStep::InFlight);
    };
    let progress = match erasure.progress {
        Some(progress) => progress,
        None => journaled::begin(store, erasure, &keys)?,
    };
    let mut eraser = Eraser {
        store,
        counts,
        now: erasure.at,
        last: progress.last,
        part: ErasedPart {
            unreadable: found.unreadable.len(),
            ..ErasedPart::default()
        },
        floors: LaneVersions::default(),
    };
    let is_erased = match found.is_end() {
        true => eraser.erase_lanes(&keys, &lanes, erasure.later_events)?,
        false => eraser.erase_named(&keys, &found, erasure.later_events)?,
    };
    if let (true, Some(number)) = (is_erased, progress.number) {
        journaled::finish(store, number)?;
    }
    failpoint::crash_point(CrashPoint::BeforeErasure);
    let progress = (!is_erased).then_some(ErasureProgress {
        examined: found.up_to,
        ..progress
    });
    Ok(ErasureStep::Erased(ErasedPart {
        keys,
        progress,
        ..eraser.part
    }))
}

/// Returns the entry after which the search for entries in other lanes continues. If an identity link has led to a further
/// id since the step before, the search begins again.
fn examined(erasure: &CustomerErasure, keys: &[LaneKey]) -> EntryId {
    match erasure.progress {
        Some(progress) if erasure.keys.len() == keys.len() => progress.examined,
        Some(_) | None => EntryId(0),
    }
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
    /// Erases entries outside the lanes of the customer, and returns false: the lanes of the customer are left. The other
    /// entries of the lanes stay, and are due at once.
    fn erase_named(
        &mut self,
        keys: &[LaneKey],
        found: &NamedPart,
        later: LaterEvents,
    ) -> rusqlite::Result<bool> {
        if !found.entries.is_empty() {
            tombstones::announce(self.store)?;
        }
        let lanes = found.lanes();
        self.part.lanes.extend(lanes);
        let mut left = BTreeSet::new();
        for entry in &found.entries {
            self.erase_entry(entry.entry, Some(entry.state))?;
            left.extend((entry.state == State::Waiting).then_some(entry.lane));
        }
        for lane in left {
            withdraw::leave(self.store, lane, self.now)?;
        }
        self.raise_keys(keys, later)?;
        Ok(false)
    }

    /// Raises the versions of the customer to the versions of the erased updates. A customer without a lane gets a
    /// tombstone: for its Imprint id, or for the CRM's id if no Imprint id is known.
    fn raise_keys(&mut self, keys: &[LaneKey], later: LaterEvents) -> rusqlite::Result<()> {
        if self.floors.is_empty() {
            return Ok(());
        }
        let has_imprint = keys.iter().any(|key| matches!(key, LaneKey::Imprint(_)));
        for key in keys {
            if let Some(lane) = lane::find(self.store, key)? {
                self.raise(lane)?;
                continue;
            }
            let lane = match tombstones::find(self.store, key)? {
                Some((buried, _)) => buried,
                None if has_imprint && matches!(key, LaneKey::Partner(_)) => continue,
                None => tombstones::create(self.store, key, later)?,
            };
            self.raise(lane)?;
            self.keep_floors(lane)?;
        }
        Ok(())
    }

    /// Replaces the versions of the erased entries of a lane by version floors.
    fn keep_floors(&mut self, lane: LaneId) -> rusqlite::Result<()> {
        let versions = versions::of_lane(self.store, lane)?;
        self.part.unversioned += versions.unversioned(self.last.0);
        versions::store(self.store, lane, &versions.erased(self.last.0))
    }

    /// Erases the next entries of some lanes. After the last entry, makes the lanes tombstones, deletes the identity links,
    /// and returns true.
    fn erase_lanes(
        &mut self,
        keys: &[LaneKey],
        lanes: &[LaneId],
        later: LaterEvents,
    ) -> rusqlite::Result<bool> {
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
            return Ok(false);
        }
        for key in keys {
            self.bury(key, later)?;
        }
        self.delete_evidence(keys)?;
        Ok(true)
    }

    /// Finds the next entries of a lane, each with its state if it has a payload.
    fn find_entries(
        &self,
        lane: LaneId,
        found: &mut BTreeSet<(EntryId, Option<State>)>,
    ) -> rusqlite::Result<()> {
        let params = params![lane.0, self.last.0, ERASE_MAX + 1];
        for state in payload::UNFINISHED {
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

    /// Erases the payload of an entry, and makes its receipt a tombstone, which was settled at the time of the erasure. An entry that has not ended ends as discarded.
    fn erase_entry(&mut self, entry: EntryId, state: Option<State>) -> rusqlite::Result<()> {
        if let Some(state) = state {
            self.read_floor(entry, state)?;
            payload::erase(self.store, state, entry, self.counts)?;
            self.counts.leave(state);
            self.counts.enter(State::Discarded);
            self.part.discarded.push(entry);
        }
        let ended = state.map(|_| codec::state_number(State::Discarded));
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
        let event = digests.map(|digests| digests.event(&source, &ce_source, &id));
        let id = digests.map(|digests| digests.event_id(&source, &id));
        self.store.execute(
            "UPDATE entry SET event_id = ?2, ce_source = ?5, lane = NULL, skipped = NULL,
                    state = coalesce(?3, state), settled_at = ?4 WHERE id = ?1",
            params![entry.0, id, ended, self.now.as_millis(), event],
        )?;
        self.part.entries += 1;
        Ok(())
    }

    /// Remembers the version of an entry's update. No floor keeps out the values of an update that the bridge cannot read, or
    /// whose columns are not those with which it was sealed. An invalid event has no update. A version jump is no floor.
    fn read_floor(&mut self, entry: EntryId, state: State) -> rusqlite::Result<()> {
        let Some(table) = payload::table(state) else {
            return Ok(());
        };
        let sealer = self.store.sealer();
        let jump = codec::reason_number(ParkReason::VersionJump);
        let is_parked = state == State::Parked;
        let reason = if is_parked { "reason" } else { "NULL" };
        let sql = format!(
            "SELECT lane, epoch, value, stated, jump_max, facts FROM {table}
             WHERE entry = ?1 AND lane IS NOT 0 AND {reason} IS NOT {jump}"
        );
        let read = self.store.query_row(&sql, [entry.0], |row| {
            let lane = LaneId(columns::or_default(row, 0));
            let route = columns::route(row, lane, [1, 2, 3, 4]).ok();
            let update = row.get_ref(5)?.as_bytes().unwrap_or_default();
            let stored = codec::decode_update(sealer, entry.0, update).ok();
            Ok(stored
                .zip(route)
                .filter(|(stored, route)| stored.is_at(route)))
        });
        match read.optional()? {
            Some(Some((stored, route))) => {
                let version = route.version.arrived(entry.0);
                self.floors.raise(version, stored.update.fields());
            }
            Some(None) => self.part.unversioned += 1,
            None => {}
        }
        Ok(())
    }

    /// Raises the versions of a lane to the versions of the erased updates: a crash can follow this step.
    fn raise(&self, lane: LaneId) -> rusqlite::Result<()> {
        if self.floors.is_empty() {
            return Ok(());
        }
        let mut versions = versions::of_lane(self.store, lane)?;
        versions.raise_to(&self.floors);
        versions::store(self.store, lane, &versions)
    }

    /// Makes the lane of a key its tombstone, and deletes the identity links of the key. A lane with newer entries, or with
    /// versions of newer entries, stays a lane.
    fn bury(&mut self, key: &LaneKey, later: LaterEvents) -> rusqlite::Result<()> {
        let buried = tombstones::find(self.store, key)?;
        let lane = match (lane::find(self.store, key)?, buried) {
            (Some(lane), _) => lane,
            (None, Some((buried, kind))) => {
                self.part.was_retired |= kind == TombstoneKind::Retired;
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
        self.keep_floors(lane)?;
        self.store.execute(
            "DELETE FROM origin WHERE lane = ?1 AND entry <= ?2",
            params![lane.0, self.last.0],
        )?;
        if self.has_newer_entry(lane)? {
            return Ok(());
        }
        tombstones::bury(self.store, lane, key, TombstoneKind::Erased(later))?;
        identity_link::delete(self.store, key)
    }

    fn has_newer_entry(&self, lane: LaneId) -> rusqlite::Result<bool> {
        if versions::of_lane(self.store, lane)?.has_newer_than(self.last.0) {
            return Ok(true);
        }
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
}
