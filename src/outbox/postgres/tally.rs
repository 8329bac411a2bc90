//! The numbers of entries that have not ended, and the bytes of their events, by source.
//!
//! Each transaction adds its changes as new rows of the table `tally`, and the keeper adds up old rows from time to time.
//! The sum of all rows is exact after every commit. One row for each source would make the commits of all replicas wait
//! for each other.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::columns::{get, unsigned};
use super::connection::Connected;
use super::fault::DbFault;
use crate::event::SourceName;
use crate::outbox::State;

/// The number of rows from which on the keeper adds up rows.
const ROWS_MAX: i64 = 1000;

/// The changes of one transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct TallyChange(BTreeMap<SourceName, SourceChange>);

#[derive(Clone, Copy, Debug, Default)]
struct SourceChange {
    waiting: i64,
    parked: i64,
    held: i64,
    undecided: i64,
    bytes: i64,
}

impl SourceChange {
    const fn of(&mut self, state: State) -> Option<&mut i64> {
        match state {
            State::Waiting => Some(&mut self.waiting),
            State::Parked => Some(&mut self.parked),
            State::Held => Some(&mut self.held),
            State::Undecided => Some(&mut self.undecided),
            State::Delivered | State::Superseded | State::Ignored | State::Discarded => None,
        }
    }
}

impl TallyChange {
    /// Adds an entry of this source, whose event has this size, to a state. Changes no number for a final state.
    pub(super) fn enter(&mut self, state: State, source: &SourceName, bytes: i64) {
        self.add(state, source, (1, bytes));
    }

    /// Removes an entry from a state.
    pub(super) fn leave(&mut self, state: State, source: &SourceName, bytes: i64) {
        self.add(state, source, (-1, bytes.saturating_neg()));
    }

    fn add(&mut self, state: State, source: &SourceName, (entries, bytes): (i64, i64)) {
        // A row without entries records the source: the list of entries by the id of an event needs all sources.
        if !self.0.contains_key(source) {
            self.0.insert(source.clone(), SourceChange::default());
        }
        if state.is_final() {
            return;
        }
        let Some(change) = self.0.get_mut(source) else {
            return;
        };
        change.bytes = change.bytes.saturating_add(bytes);
        if let Some(count) = change.of(state) {
            *count = count.saturating_add(entries);
        }
    }

    /// Writes the changes in the current transaction.
    pub(super) async fn write(&self, db: &Connected) -> Result<(), DbFault> {
        if self.0.is_empty() {
            return Ok(());
        }
        let sources: Vec<&str> = self.0.keys().map(SourceName::as_str).collect();
        let column = |of: fn(&SourceChange) -> i64| self.0.values().map(of).collect::<Vec<i64>>();
        let sql = "INSERT INTO imprint_bridge.tally (source, waiting, parked, held, undecided, bytes)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])";
        let params = [
            column(|it| it.waiting),
            column(|it| it.parked),
            column(|it| it.held),
            column(|it| it.undecided),
            column(|it| it.bytes),
        ];
        let [waiting, parked, held, undecided, bytes] = &params;
        db.execute(
            sql,
            &[
                (&sources, Type::TEXT_ARRAY),
                (waiting, Type::INT8_ARRAY),
                (parked, Type::INT8_ARRAY),
                (held, Type::INT8_ARRAY),
                (undecided, Type::INT8_ARRAY),
                (bytes, Type::INT8_ARRAY),
            ],
        )
        .await?;
        Ok(())
    }

    /// Returns the change of each source's bytes.
    pub(super) fn bytes(&self) -> impl Iterator<Item = (&SourceName, i64)> {
        self.0.iter().map(|(source, change)| (source, change.bytes))
    }
}

/// The totals of the whole store, over all replicas.
#[derive(Clone, Debug, Default)]
pub(super) struct TallyTotals {
    pub(super) waiting: u64,
    pub(super) parked: u64,
    pub(super) held: u64,
    pub(super) undecided: u64,
    pub(super) stored_bytes: BTreeMap<SourceName, u64>,
}

/// Reads the totals.
pub(super) async fn read(db: &Connected) -> Result<TallyTotals, DbFault> {
    let sql = "SELECT source, sum(waiting)::bigint, sum(parked)::bigint, sum(held)::bigint, sum(undecided)::bigint, sum(bytes)::bigint
         FROM imprint_bridge.tally GROUP BY source";
    let mut totals = TallyTotals::default();
    for row in db.query(sql, &[]).await? {
        let count = |column| get(&row, column).map(unsigned);
        totals.waiting = totals.waiting.saturating_add(count(1)?);
        totals.parked = totals.parked.saturating_add(count(2)?);
        totals.held = totals.held.saturating_add(count(3)?);
        totals.undecided = totals.undecided.saturating_add(count(4)?);
        let source: &str = get(&row, 0)?;
        if let Ok(source) = SourceName::parse(source) {
            totals.stored_bytes.insert(source, count(5)?);
        }
    }
    Ok(totals)
}

/// Replaces many rows by one row for each source.
pub(super) async fn add_up(db: &Connected) -> Result<(), DbFault> {
    let many = "SELECT count(*) > $1 FROM imprint_bridge.tally";
    let row = db.query_opt(many, &[(&ROWS_MAX, Type::INT8)]).await?;
    let is_long: bool = row.as_ref().map_or(Ok(false), |row| get(row, 0))?;
    if is_long {
        // A row that another replica adds up at this moment is locked.
        let sql = "WITH old AS (
                 DELETE FROM imprint_bridge.tally WHERE ctid IN (SELECT ctid FROM imprint_bridge.tally FOR UPDATE SKIP LOCKED)
                 RETURNING *)
             INSERT INTO imprint_bridge.tally (source, waiting, parked, held, undecided, bytes)
             SELECT source, sum(waiting), sum(parked), sum(held), sum(undecided), sum(bytes) FROM old GROUP BY source";
        db.execute(sql, &[]).await?;
    }
    Ok(())
}
