//! Finds entries that lack a row without which the bridge never delivers them, or does not recognize their events.

use super::columns::{get, unsigned};
use super::connection::Connected;
use super::fault::DbFault;
use crate::outbox::{Finding, FoundEntries, State, codec};

/// The states of entries that have not ended.
const STATES: [State; 4] = [State::Waiting, State::Parked, State::Held, State::Undecided];

pub(super) async fn errors(db: &Connected) -> Result<Vec<Finding>, DbFault> {
    let mut found = Vec::new();
    for state in STATES {
        let number = codec::state_number(state);
        let without_event = format!(
            "SELECT count(*), min(e.id) FROM imprint_bridge.entry e LEFT JOIN imprint_bridge.payload p
                 ON p.entry = e.id AND p.state = e.state WHERE e.state = {number} AND p.entry IS NULL"
        );
        let without_receipt = format!(
            "SELECT count(*), min(p.entry) FROM imprint_bridge.payload p LEFT JOIN imprint_bridge.entry e
                 ON e.id = p.entry AND e.state = p.state WHERE p.state = {number} AND e.id IS NULL"
        );
        // Only an invalid event, which is parked, belongs to no lane.
        let laneless = if state == State::Parked {
            "AND p.lane <> 0"
        } else {
            ""
        };
        let without_lane = format!(
            "SELECT count(*), min(p.entry) FROM imprint_bridge.payload p LEFT JOIN imprint_bridge.lane l ON l.id = p.lane
                 WHERE p.state = {number} AND l.id IS NULL {laneless}"
        );
        let event = entries(db, &without_event).await?;
        let receipt = entries(db, &without_receipt).await?;
        let lane = entries(db, &without_lane).await?;
        found.extend(event.map(|found| Finding::NoEvent(state, found)));
        found.extend(receipt.map(|found| Finding::NoReceipt(state, found)));
        found.extend(lane.map(|found| Finding::NoLane(state, found)));
    }
    let never_due = "SELECT count(*), min(p.entry) FROM imprint_bridge.payload p JOIN imprint_bridge.lane l ON l.id = p.lane
         WHERE p.state = 0 AND l.due_at IS NULL";
    found.extend(entries(db, never_due).await?.map(Finding::NeverDue));
    Ok(found)
}

/// Runs a statement that counts entries, and names the first of them.
async fn entries(db: &Connected, sql: &str) -> Result<Option<FoundEntries>, DbFault> {
    let row = db.query_opt(sql, &[]).await?;
    let row = row.ok_or(DbFault::Damaged("entry"))?;
    let first: Option<i64> = get(&row, 1)?;
    let entries = unsigned(get(&row, 0)?);
    Ok(first.map(|first| FoundEntries { entries, first }))
}
