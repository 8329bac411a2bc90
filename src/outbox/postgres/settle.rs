//! The settlements of a group: ends and moves entries, then updates the settled lanes.

use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;

use super::columns::{get, number, unsigned};
use super::connection::{Connected, Params};
use super::endings::{self, EndingRow};
use super::engine::Engine;
use super::fault::DbFault;
use super::lane_table::LaneTable;
use super::tally::TallyChange;
use super::{bound_updates, links};
use crate::fold::LaneVersions;
use crate::imprint::CustomerRef;
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::{Ending, EntryId, IgnoreReason, LaneId, LaneKey, Moved, Settlement, State};

const BLOCKED: Ending = Ending::Ignored(IgnoreReason::Blocked);

/// Returns the move of a settlement, if it moves an entry.
pub(super) fn moved(settlement: &Settlement) -> Option<&Moved> {
    let moved = settlement.moved.as_ref();
    moved.filter(|moved| !moved.entries.is_empty())
}

/// Returns the customer to whose lane a settlement moves entries.
pub(super) fn target(settlement: &Settlement) -> Option<CustomerRef> {
    moved(settlement).map(|moved| CustomerRef::Imprint(moved.to.clone()))
}

/// The settlements of a group whose claims hold. Their lanes are locked.
#[derive(Default)]
pub(super) struct SettleGroup<'a> {
    pub(super) settlements: Vec<&'a Settlement>,
}

impl SettleGroup<'_> {
    /// Records the settlements. Returns each entry that no longer waits, with its new state.
    pub(super) async fn record(
        &self,
        db: &Connected,
        engine: &Engine,
        (lanes, tally): (&mut LaneTable, &mut TallyChange),
    ) -> Result<Vec<(EntryId, State)>, DbFault> {
        if self.settlements.is_empty() {
            return Ok(Vec::new());
        }
        let sealer = &engine.sealer;
        let endings = self.endings(engine, lanes);
        let ended = endings::apply(db, sealer, endings, tally).await?;
        self.count_attempts(db, &ended).await?;
        let omitted = self.settlements.iter().flat_map(|it| &it.omitted);
        let omitted = omitted.map(|(entry, errors)| (*entry, errors.as_slice()));
        endings::add_omitted(db, sealer, omitted, &ended).await?;
        let new_links = self.settlements.iter();
        let new_links = new_links.filter_map(|settlement| settlement.new_link.as_ref());
        links::store(db, engine, new_links).await?;
        self.move_entries(db, engine, lanes).await?;
        let has_waiting = self.lanes_with_entries(db).await?;
        let asked = self.asked_lanes(db, engine, lanes).await?;
        for settlement in &self.settlements {
            let lane = settlement.lane;
            let state = (has_waiting.contains(&lane), asked.contains(&lane));
            lanes.row_mut(lane)?.settle(sealer, settlement, state)?;
        }
        Ok(ended)
    }

    /// Returns the entries that end, and the entries of a blocked customer that a search has found.
    fn endings(&self, engine: &Engine, lanes: &LaneTable) -> Vec<EndingRow<'_>> {
        let mut endings = Vec::new();
        for settlement in &self.settlements {
            let row = |entry, ending, was_attempted| EndingRow {
                entry,
                lane: settlement.lane,
                ending,
                was_attempted,
                at: settlement.at,
            };
            for (entry, ending) in &settlement.endings {
                let was_attempted = settlement.attempted.contains(entry);
                endings.push(row(*entry, ending, was_attempted));
            }
            let is_blocked = |customer| lanes.is_blocked(engine, &customer);
            if target(settlement).is_some_and(is_blocked) {
                let moved = moved(settlement).into_iter().flat_map(|it| &it.entries);
                endings.extend(moved.map(|entry| row(*entry, &BLOCKED, false)));
            }
        }
        endings
    }

    /// Counts the attempts of entries that still wait. `ended` has counted the attempts of the other entries.
    async fn count_attempts(
        &self,
        db: &Connected,
        ended: &[(EntryId, State)],
    ) -> Result<(), DbFault> {
        let ended: HashSet<EntryId> = ended.iter().map(|(entry, _)| *entry).collect();
        let attempted = self.settlements.iter().flat_map(|it| &it.attempted);
        let waiting = attempted.filter(|entry| !ended.contains(entry));
        let waiting: Vec<i64> = waiting.map(|entry| number(entry.0)).collect();
        endings::count_attempts(db, &waiting).await
    }

    /// Moves entries into the lanes of the customers that searches found.
    async fn move_entries(
        &self,
        db: &Connected,
        engine: &Engine,
        lanes: &mut LaneTable,
    ) -> Result<(), DbFault> {
        let (mut entries, mut from, mut to) = (Vec::new(), Vec::new(), Vec::new());
        let mut ways = Vec::new();
        for settlement in &self.settlements {
            let Some(moved) = moved(settlement) else {
                continue;
            };
            let customer = CustomerRef::Imprint(moved.to.clone());
            if lanes.is_blocked(engine, &customer) {
                continue;
            }
            let key = LaneKey::of(&customer);
            let target = lanes.id(engine, &key)?;
            let priority = lanes.row(settlement.lane)?.class.priority;
            let entrance = Some((priority, settlement.at));
            let row = lanes.row_mut(target)?;
            row.enter(&engine.sealer, &key, entrance, None)?;
            ways.push((settlement.lane, target));
            for entry in &moved.entries {
                entries.push(number(entry.0));
                from.push(number(settlement.lane.0));
                to.push(number(target.0));
            }
        }
        if entries.is_empty() {
            return Ok(());
        }
        for (table, id, state) in [("payload", "entry", "AND t.state = 0"), ("entry", "id", "")] {
            let sql = format!(
                "UPDATE imprint_bridge.{table} AS t SET lane = u.new_lane
                 FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u(number, old_lane, new_lane)
                 WHERE t.{id} = u.number AND t.lane = u.old_lane {state}"
            );
            let params: Params<'_> = &[
                (&entries, Type::INT8_ARRAY),
                (&from, Type::INT8_ARRAY),
                (&to, Type::INT8_ARRAY),
            ];
            db.execute(&sql, params).await?;
        }
        bound_updates::bind_moved(db, &engine.sealer, (&entries, &from, &to)).await?;
        raise_floors(db, engine, lanes, &ways).await
    }

    async fn lanes_with_entries(&self, db: &Connected) -> Result<HashSet<LaneId>, DbFault> {
        let settled = self.settlements.iter();
        let settled: Vec<i64> = settled.map(|it| number(it.lane.0)).collect();
        let sql = "SELECT l.id FROM unnest($1::bigint[]) AS l(id)
             WHERE EXISTS (SELECT 1 FROM imprint_bridge.payload p WHERE p.lane = l.id AND p.state = 0)";
        let rows = db.query(sql, &[(&settled, Type::INT8_ARRAY)]).await?;
        let lanes = rows.iter().map(|row| get(row, 0).map(unsigned).map(LaneId));
        lanes.collect()
    }

    /// Returns the lanes with only the CRM's id that wait for the turn of their search although an entry of a different
    /// source has arrived after the claim.
    async fn asked_lanes(
        &self,
        db: &Connected,
        engine: &Engine,
        lanes: &LaneTable,
    ) -> Result<HashSet<LaneId>, DbFault> {
        let (mut ids, mut newest, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for settlement in self.settlements.iter().filter(|it| it.is_postponed()) {
            let claimed = engine.claims.borrow().newest(settlement.lane);
            if let (true, Some((entry, source))) =
                (lanes.row(settlement.lane)?.is_partner(), claimed)
            {
                ids.push(number(settlement.lane.0));
                newest.push(number(entry.0));
                sources.push(source.as_str().to_owned());
            }
        }
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let sql = "SELECT l.id FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS l(id, newest, source)
             WHERE EXISTS (SELECT 1 FROM imprint_bridge.payload p
                 WHERE p.lane = l.id AND p.state = 0 AND p.entry > l.newest AND p.source <> l.source)";
        let params: Params<'_> = &[
            (&ids, Type::INT8_ARRAY),
            (&newest, Type::INT8_ARRAY),
            (&sources, Type::TEXT_ARRAY),
        ];
        let rows = db.query(sql, params).await?;
        let asked = rows.iter().map(|row| get(row, 0).map(unsigned).map(LaneId));
        asked.collect()
    }
}

/// Raises the version floors of the lanes that entries move to. Before an erasure, the customer possibly had only the lane
/// with the CRM's id.
async fn raise_floors(
    db: &Connected,
    engine: &Engine,
    lanes: &mut LaneTable,
    ways: &[(LaneId, LaneId)],
) -> Result<(), DbFault> {
    let ids = ways.iter().flat_map(|(from, to)| [*from, *to]);
    let ids: Vec<i64> = ids.map(|lane| number(lane.0)).collect();
    let sql =
        "SELECT id, versions FROM imprint_bridge.lane WHERE id = ANY($1) AND versions IS NOT NULL";
    let mut versions: HashMap<LaneId, LaneVersions> = HashMap::new();
    for row in db.query(sql, &[(&ids, Type::INT8_ARRAY)]).await? {
        let lane = LaneId(unsigned(get(&row, 0)?));
        let stored: &[u8] = get(&row, 1)?;
        match codec::decode(&engine.sealer, BlobKind::LaneVersions, lane.0, stored) {
            Ok(found) => {
                versions.insert(lane, found);
            }
            // The move must not take versions that it cannot read for empty versions.
            Err(error) if error.missing_key().is_some() => return Err(error.into()),
            Err(_damaged) => {}
        }
    }
    for (from, to) in ways {
        let Some(floors) = versions.get(from).cloned() else {
            continue;
        };
        let before = versions.get(to).cloned().unwrap_or_default();
        let mut raised = before.clone();
        raised.raise_to_floors_of(&floors);
        if raised != before {
            lanes.row_mut(*to)?.set_versions(&engine.sealer, &raised)?;
            versions.insert(*to, raised);
        }
    }
    Ok(())
}
