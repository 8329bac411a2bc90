//! One step of an erasure: erases entries, raises the version floors of the customer, and makes lanes tombstones.
//!
//! The tombstone of an event is its receipt, which keeps its digests: the event id is another keyed digest, and the receipt
//! has no lane. The tombstone of a customer is the lane, without its id. All lanes and entries of the step are locked.

use std::collections::{BTreeSet, HashMap};

use tokio_postgres::types::Type;

use super::columns::{get, number, size, unsigned};
use super::connection::Connected;
use super::customers::KnownLane;
use super::engine::Engine;
use super::erased_rows;
use super::erasure::ErasedIds;
use super::fault::DbFault;
use super::lane_table::LaneTable;
use super::tally::TallyChange;
use super::{candidates, lane_versions, link_table, settings, withdraw};
use crate::fold::LaneVersions;
use crate::outbox::named_part::NamedPart;
use crate::outbox::tombstone::TombstoneKind;
use crate::outbox::{
    ERASE_MAX, EntryId, ErasedPart, LaneClass, LaneId, LaneKey, LaterEvents, Priority, Setting,
    Standing, State, Trials, codec,
};
use crate::time::Timestamp;

pub(super) struct CustomerEraser<'a> {
    db: &'a Connected,
    engine: &'a Engine,
    lanes: LaneTable,
    now: Timestamp,
    /// The newest entry that the erasure concerns.
    last: EntryId,
    pub(super) part: ErasedPart,
    tally: TallyChange,
    /// The newest versions of the erased updates.
    floors: LaneVersions,
    /// The versions of the customer's lanes, with the changes of this step.
    versions: HashMap<LaneId, LaneVersions>,
}

impl<'a> CustomerEraser<'a> {
    pub(super) fn new(
        db: &'a Connected,
        engine: &'a Engine,
        lanes: LaneTable,
        (now, last): (Timestamp, EntryId),
    ) -> Self {
        Self {
            db,
            engine,
            lanes,
            now,
            last,
            part: ErasedPart::default(),
            tally: TallyChange::default(),
            floors: LaneVersions::default(),
            versions: HashMap::new(),
        }
    }

    /// Writes the changed lanes and the tally.
    pub(super) async fn finish(self) -> Result<(ErasedPart, TallyChange), DbFault> {
        self.lanes.write(self.db).await?;
        self.tally.write(self.db).await?;
        Ok((self.part, self.tally))
    }

    /// Erases entries outside the lanes of the customer, and returns false: the lanes of the customer are left. The other
    /// entries of the lanes stay, and are due at once.
    pub(super) async fn erase_named(
        &mut self,
        ids: &ErasedIds,
        named: &NamedPart,
        later: LaterEvents,
    ) -> Result<bool, DbFault> {
        self.part.lanes.extend(named.lanes());
        let entries = named.entries.iter();
        let entries: Vec<_> = entries.map(|it| (it.entry, Some(it.state))).collect();
        self.erase_entries(&entries).await?;
        let waiting = named.entries.iter();
        let waiting = waiting.filter(|found| found.state == State::Waiting);
        let left: BTreeSet<LaneId> = waiting.map(|found| found.lane).collect();
        let lanes = (&mut self.lanes, &left);
        withdraw::leave(self.db, self.engine, lanes, self.now).await?;
        self.raise_keys(ids, later).await?;
        Ok(false)
    }

    /// Raises the versions of the customer to the versions of the erased updates. A customer without a lane gets a
    /// tombstone: for its Imprint id, or for the CRM's id if no Imprint id is known.
    async fn raise_keys(&mut self, ids: &ErasedIds, later: LaterEvents) -> Result<(), DbFault> {
        if self.floors.is_empty() {
            return Ok(());
        }
        let is_imprint = |key: &LaneKey| matches!(key, LaneKey::Imprint(_));
        let has_imprint = ids.keys.iter().any(is_imprint);
        for (key, found) in ids.keys.iter().zip(&ids.found) {
            let lane = match found {
                Some(KnownLane {
                    id,
                    is_erased: false,
                    ..
                }) => {
                    self.raise(*id).await?;
                    continue;
                }
                Some(buried) => buried.id,
                None if has_imprint && !is_imprint(key) => continue,
                None => self.create(key, later).await?,
            };
            self.raise(lane).await?;
            self.keep_floors(lane).await?;
        }
        Ok(())
    }

    /// Erases the next entries of the customer's lanes. After the last entry, makes the lanes tombstones, deletes the
    /// identity links, and returns true.
    pub(super) async fn erase_lanes(
        &mut self,
        ids: &ErasedIds,
        later: LaterEvents,
    ) -> Result<bool, DbFault> {
        let lanes = ids.lanes();
        let mut entries = self.find_entries(&lanes).await?;
        let is_last = entries.len() <= ERASE_MAX;
        entries.truncate(ERASE_MAX);
        self.erase_entries(&entries).await?;
        for lane in &lanes {
            self.raise(*lane).await?;
        }
        if !is_last {
            return Ok(false);
        }
        for (key, found) in ids.keys.iter().zip(&ids.found) {
            self.bury(key, *found, later).await?;
        }
        self.delete_evidence(&ids.keys).await?;
        Ok(true)
    }

    /// Finds the next entries of some lanes, each with its state if it has a payload.
    async fn find_entries(
        &self,
        lanes: &[LaneId],
    ) -> Result<Vec<(EntryId, Option<State>)>, DbFault> {
        let lanes: Vec<i64> = lanes.iter().map(|lane| number(lane.0)).collect();
        let ended = candidates::ENDED;
        let sql = format!(
            "SELECT f.id, p.state FROM (SELECT DISTINCT e.id FROM unnest($1::bigint[]) AS l(lane) CROSS JOIN LATERAL (
                 (SELECT entry AS id FROM imprint_bridge.payload WHERE lane = l.lane AND state = 0 AND entry <= $2 ORDER BY entry LIMIT $3)
                 UNION ALL (SELECT entry FROM imprint_bridge.payload WHERE lane = l.lane AND state <> 0 AND entry <= $2 ORDER BY entry LIMIT $3)
                 UNION ALL (SELECT id FROM imprint_bridge.entry WHERE lane = l.lane AND {ended} AND id <= $2 ORDER BY id LIMIT $3)) AS e
                 ORDER BY e.id LIMIT $3) AS f
             LEFT JOIN imprint_bridge.payload p ON p.entry = f.id ORDER BY f.id"
        );
        let (last, max) = (number(self.last.0), size(ERASE_MAX).saturating_add(1));
        let rows = self
            .db
            .query(
                &sql,
                &[
                    (&lanes, Type::INT8_ARRAY),
                    (&last, Type::INT8),
                    (&max, Type::INT8),
                ],
            )
            .await?;
        let entries = rows.iter().map(|row| {
            let state: Option<i16> = get(row, 1)?;
            let state = state.map(|state| codec::state("payload.state", state.into()));
            Ok((EntryId(unsigned(get(row, 0)?)), state.transpose()?))
        });
        entries.collect()
    }

    /// Erases the payloads of entries, and makes their receipts tombstones. An entry that had not ended ends as discarded.
    async fn erase_entries(&mut self, entries: &[(EntryId, Option<State>)]) -> Result<(), DbFault> {
        let unfinished = entries.iter().filter(|(_, state)| state.is_some());
        let unfinished: Vec<EntryId> = unfinished.map(|(entry, _)| *entry).collect();
        let changes = (&mut self.tally, &mut self.floors);
        let unversioned = erased_rows::delete_payloads(self.db, self.engine, &unfinished, changes);
        let unversioned = unversioned.await?;
        self.part.unversioned = self.part.unversioned.saturating_add(unversioned);
        let numbers: Vec<i64> = entries.iter().map(|(entry, _)| number(entry.0)).collect();
        let erased =
            erased_rows::erase_receipts(self.db, self.engine, (&numbers, &unfinished), self.now);
        self.part.entries = self.part.entries.saturating_add(erased.await?);
        self.part.discarded.extend(unfinished);
        Ok(())
    }

    async fn versions(&mut self, lane: LaneId) -> Result<LaneVersions, DbFault> {
        if let Some(known) = self.versions.get(&lane) {
            return Ok(known.clone());
        }
        let versions = lane_versions::of_lane(self.db, &self.engine.sealer, lane).await?;
        self.versions.insert(lane, versions.clone());
        Ok(versions)
    }

    fn set_versions(&mut self, lane: LaneId, versions: LaneVersions) -> Result<(), DbFault> {
        let row = self.lanes.row_mut(lane)?;
        row.set_versions(&self.engine.sealer, &versions)?;
        self.versions.insert(lane, versions);
        Ok(())
    }

    /// Raises the versions of a lane to the versions of the erased updates: a step of this erasure can be the last step
    /// before a crash.
    async fn raise(&mut self, lane: LaneId) -> Result<(), DbFault> {
        if self.floors.is_empty() {
            return Ok(());
        }
        let mut versions = self.versions(lane).await?;
        versions.raise_to(&self.floors);
        self.set_versions(lane, versions)
    }

    /// Replaces the versions of the erased entries of a lane by version floors.
    async fn keep_floors(&mut self, lane: LaneId) -> Result<(), DbFault> {
        let versions = self.versions(lane).await?;
        let unversioned = versions.unversioned(self.last.0);
        self.part.unversioned = self.part.unversioned.saturating_add(unversioned);
        self.set_versions(lane, versions.erased(self.last.0))
    }

    /// Creates the tombstone of a customer without a lane.
    async fn create(&mut self, key: &LaneKey, later: LaterEvents) -> Result<LaneId, DbFault> {
        let customer = self.engine.digests.lane(key);
        let lane = erased_rows::create(self.db, &customer, erased(later)).await?;
        self.lanes.lock(self.db, BTreeSet::from([lane])).await?;
        Ok(lane)
    }

    /// Makes the lane of a key its tombstone, and deletes the identity links of the key. A lane with newer entries, or with
    /// versions of newer entries, stays a lane.
    async fn bury(
        &mut self,
        key: &LaneKey,
        found: Option<KnownLane>,
        later: LaterEvents,
    ) -> Result<(), DbFault> {
        let lane = match found {
            Some(found) if found.is_erased => {
                self.part.was_retired |= found.is_retired;
                self.raise(found.id).await?;
                found.id
            }
            Some(found) => found.id,
            None => {
                let needs_floors = matches!(key, LaneKey::Imprint(_)) && !self.floors.is_empty();
                if later == LaterEvents::Delivered && !needs_floors {
                    return link_table::delete(self.db, self.engine, key).await;
                }
                let lane = self.create(key, later).await?;
                self.raise(lane).await?;
                lane
            }
        };
        self.keep_floors(lane).await?;
        let has_newer = erased_rows::forget_lane(self.db, lane, self.last).await?;
        if has_newer || self.versions(lane).await?.has_newer_than(self.last.0) {
            return Ok(());
        }
        let row = self.lanes.row_mut(lane)?;
        row.erased = Some(erased(later));
        row.received = None;
        row.class = LaneClass {
            priority: Priority::Live,
            standing: Standing::Untried,
        };
        (row.due, row.idle, row.spelled, row.unfold_to) = (None, true, 0, None);
        row.trials = Trials::default();
        (row.unproven_since, row.absence) = (None, None);
        row.forget_sent_entries();
        row.is_changed = true;
        link_table::delete(self.db, self.engine, key).await
    }

    /// Deletes the stored evidence about Imprint if it names the customer, or cannot be read. Dispatch stores its evidence
    /// again.
    async fn delete_evidence(&self, keys: &[LaneKey]) -> Result<(), DbFault> {
        let name = Setting::Evidence;
        let stored = settings::read(self.db, &self.engine.sealer, name).await?;
        let stored = stored.map(|stored| stored.to_ascii_lowercase());
        let is_named = |stored: &String| {
            keys.iter().any(|key| match key {
                LaneKey::Imprint(imprint) => {
                    stored.contains(&imprint.as_str().to_ascii_lowercase())
                }
                LaneKey::Partner(_) => false,
            })
        };
        if stored.as_ref().is_none_or(is_named) {
            let sql = "DELETE FROM imprint_bridge.meta WHERE name = $1";
            self.db.execute(sql, &[(&name.name(), Type::TEXT)]).await?;
        }
        Ok(())
    }
}

/// Returns the value of `lane.erased`.
fn erased(later: LaterEvents) -> i16 {
    i16::from(codec::tombstone_number(TombstoneKind::Erased(later)))
}
