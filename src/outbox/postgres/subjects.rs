//! The entries that an operator wants to change, with their lanes. The lanes and the payloads are locked before a change.

use std::collections::{BTreeSet, HashMap};

use tokio_postgres::types::Type;

use super::columns::{get, number, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::receipt;
use crate::event::SourceName;
use crate::outbox::{EntryId, LaneId, LaneKey, State, codec};

/// An entry that an operator wants to change.
pub(super) struct OperatorEntry {
    pub(super) entry: EntryId,
    pub(super) state: State,
    pub(super) lane: LaneId,
    /// True if the lane exists. An entry that is parked as invalid belongs to no lane.
    pub(super) has_lane: bool,
    /// False if the entry belongs to no lane, or if the process does not have the sealing key of the lane's customer id.
    pub(super) can_wait: bool,
    /// The key of the lane. `None` means that the columns of the lane contain no valid customer id.
    pub(super) key: Option<LaneKey>,
    /// `None` means that the stored name is damaged.
    pub(super) source: Option<SourceName>,
    pub(super) event_bytes: i64,
}

/// Reads the entries that are in one of these states.
pub(super) async fn read(
    db: &Connected,
    engine: &Engine,
    entries: impl Iterator<Item = EntryId>,
    states: &[State],
) -> Result<HashMap<EntryId, OperatorEntry>, DbFault> {
    let entries: Vec<i64> = entries.map(|entry| number(entry.0)).collect();
    let states = states.iter().map(|state| codec::state_number(*state));
    let states: Vec<i16> = states.map(i16::from).collect();
    let sql = "SELECT p.entry, p.state, p.lane, l.id, l.kind, l.received, l.erased, p.source, p.event_bytes
         FROM imprint_bridge.payload p LEFT JOIN imprint_bridge.lane l ON l.id = p.lane
         WHERE p.entry = ANY($1) AND p.state = ANY($2)";
    let rows = db
        .query(
            sql,
            &[(&entries, Type::INT8_ARRAY), (&states, Type::INT2_ARRAY)],
        )
        .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let entry = EntryId(unsigned(get(row, 0)?));
        let state: i16 = get(row, 1)?;
        let has_lane = get::<Option<i64>>(row, 3)?.is_some();
        let key = receipt::lane_key(row, (4, 5, 6), &engine.sealer, 3);
        let subject = OperatorEntry {
            entry,
            state: codec::state("payload.state", state.into())?,
            lane: LaneId(unsigned(get(row, 2)?)),
            has_lane,
            can_wait: has_lane && key.is_ok(),
            key: key.ok().flatten(),
            source: SourceName::parse(get(row, 7)?).ok(),
            event_bytes: get(row, 8)?,
        };
        found.insert(entry, subject);
    }
    Ok(found)
}

/// Returns the lanes of the entries.
pub(super) fn lanes<'a>(subjects: impl Iterator<Item = &'a OperatorEntry>) -> BTreeSet<LaneId> {
    let with_lane = subjects.filter(|subject| subject.has_lane);
    with_lane.map(|subject| subject.lane).collect()
}

/// Locks the payloads of entries whose lanes are locked. If another transaction has changed one of them since the read, the
/// transaction begins again.
pub(super) async fn lock(
    db: &Connected,
    subjects: impl Iterator<Item = (EntryId, State, LaneId)>,
) -> Result<(), DbFault> {
    let (mut entries, mut states, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
    for (entry, state, lane) in subjects {
        entries.push(number(entry.0));
        states.push(i16::from(codec::state_number(state)));
        lanes.push(number(lane.0));
    }
    if entries.is_empty() {
        return Ok(());
    }
    let sql = "SELECT p.entry FROM unnest($1::bigint[], $2::smallint[], $3::bigint[]) AS u(entry, state, lane)
         JOIN imprint_bridge.payload p ON p.entry = u.entry AND p.state = u.state AND p.lane = u.lane
         ORDER BY p.entry FOR UPDATE OF p";
    let locked = db
        .query(
            sql,
            &[
                (&entries, Type::INT8_ARRAY),
                (&states, Type::INT2_ARRAY),
                (&lanes, Type::INT8_ARRAY),
            ],
        )
        .await?;
    match locked.len() == entries.len() {
        true => Ok(()),
        false => Err(DbFault::Raced),
    }
}
