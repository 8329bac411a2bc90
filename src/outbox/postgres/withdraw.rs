//! Withdraws entries: parks or discards entries that have not ended.

use std::collections::{BTreeSet, HashSet};

use tokio_postgres::types::Type;

use super::columns::{get, number, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::lane_table::LaneTable;
use super::tally::TallyChange;
use super::{audit, lane_versions, subjects};
use crate::fold::LaneVersions;
use crate::outbox::audit_chain::AuditKeys;
use crate::outbox::{
    AuditEvent, AuditHead, EntryId, LaneId, State, Withdrawal, Withdrawn, WithdrawnState, codec,
};
use crate::time::Timestamp;

/// Withdraws the entries. A waiting entry of a claimed lane stays unchanged.
pub(super) async fn withdraw(
    db: &Connected,
    engine: &Engine,
    withdrawal: &Withdrawal,
    (event, keys): (&AuditEvent, &AuditKeys),
) -> Result<(Withdrawn, TallyChange, Option<AuditHead>), DbFault> {
    let entries = withdrawal.entries.iter().copied();
    let mut found = subjects::read(db, engine, entries, &withdrawal.from).await?;
    let mut lanes = LaneTable::default();
    lanes.lock(db, subjects::lanes(found.values())).await?;
    let payloads = found.values();
    let payloads = payloads.map(|subject| (subject.entry, subject.state, subject.lane));
    subjects::lock(db, payloads).await?;
    let mut withdrawn = Withdrawn::default();
    let mut tally = TallyChange::default();
    let mut left = BTreeSet::new();
    for entry in &withdrawal.entries {
        let Some(subject) = found.remove(entry) else {
            continue;
        };
        let is_waiting = subject.state == State::Waiting;
        if is_waiting && subject.has_lane && lanes.row(subject.lane)?.owner.is_some() {
            withdrawn.in_flight.push(*entry);
            continue;
        }
        if let Some(source) = &subject.source {
            tally.leave(subject.state, source, subject.event_bytes);
            tally.enter(withdrawal.to.state(), source, subject.event_bytes);
        }
        withdrawn.entries.push(*entry);
        left.extend((is_waiting && subject.has_lane).then_some(subject.lane));
    }
    change(db, &withdrawn.entries, withdrawal.to, event.at).await?;
    leave(db, engine, (&mut lanes, &left), event.at).await?;
    lanes.write(db).await?;
    tally.write(db).await?;
    let head = match withdrawn.audit_event(event.clone()) {
        Some(event) => {
            let changed = withdrawn.entries.len();
            Some(audit::append(db, engine, (&event, keys), changed).await?)
        }
        None => None,
    };
    Ok((withdrawn, tally, head))
}

/// Gives the entries their new state.
async fn change(
    db: &Connected,
    entries: &[EntryId],
    to: WithdrawnState,
    now: Timestamp,
) -> Result<(), DbFault> {
    if entries.is_empty() {
        return Ok(());
    }
    let entries: Vec<i64> = entries.iter().map(|entry| number(entry.0)).collect();
    match to {
        WithdrawnState::Parked(reason) => {
            let sql = "UPDATE imprint_bridge.payload SET state = 4, reason = $2, detail = NULL WHERE entry = ANY($1)";
            let reason = i16::from(codec::reason_number(reason));
            db.execute(sql, &[(&entries, Type::INT8_ARRAY), (&reason, Type::INT2)])
                .await?;
        }
        WithdrawnState::Discarded => {
            let sql = "DELETE FROM imprint_bridge.payload WHERE entry = ANY($1)";
            db.execute(sql, &[(&entries, Type::INT8_ARRAY)]).await?;
        }
    }
    let sql = "UPDATE imprint_bridge.entry SET state = $2, settled_at = $3 WHERE id = ANY($1)";
    let state = i16::from(codec::state_number(to.state()));
    let now = now.as_millis();
    db.execute(
        sql,
        &[
            (&entries, Type::INT8_ARRAY),
            (&state, Type::INT2),
            (&now, Type::INT8),
        ],
    )
    .await?;
    Ok(())
}

/// Updates lanes after the withdrawal of waiting entries. The lanes are locked.
pub(super) async fn leave(
    db: &Connected,
    engine: &Engine,
    (lanes, left): (&mut LaneTable, &BTreeSet<LaneId>),
    now: Timestamp,
) -> Result<(), DbFault> {
    if left.is_empty() {
        return Ok(());
    }
    let with_entries = with_entries(db, left).await?;
    let versions = lane_versions::read(db, &engine.sealer, left.iter().copied()).await?;
    for (lane, before) in versions {
        let row = lanes.row_mut(lane)?;
        // An operator can withdraw entries whose sealing key is lost. The next claim with the key reads the versions.
        let before = before.ok();
        let after = before.clone().map(LaneVersions::without_entries);
        if let Some(after) = after.as_ref().filter(|_| before != after) {
            row.set_versions(&engine.sealer, after)?;
        }
        // The recorded answer is possibly about an id that only a withdrawn entry has.
        row.absence = None;
        row.forget_sent_entries();
        row.idle = !with_entries.contains(&lane);
        row.is_changed = true;
        if !row.idle {
            row.due = row.due.map(|due| due.min(now.as_millis()));
            continue;
        }
        let Some(after) = after else {
            continue;
        };
        // The answers to requests with the withdrawn entries must not decide about a later entry. A lane without values to
        // send again is never due.
        let reassert_at = after.reassert_at().map(Timestamp::as_millis);
        row.due = reassert_at.map(|at| at.max(row.due.unwrap_or_default()));
        row.trials.attempts = 0;
        row.trials.blamed_since = None;
        row.unproven_since = None;
    }
    Ok(())
}

/// Returns the lanes in which entries wait.
async fn with_entries(
    db: &Connected,
    lanes: &BTreeSet<LaneId>,
) -> Result<HashSet<LaneId>, DbFault> {
    let lanes: Vec<i64> = lanes.iter().map(|lane| number(lane.0)).collect();
    let sql = "SELECT l.id FROM unnest($1::bigint[]) AS l(id)
         WHERE EXISTS (SELECT 1 FROM imprint_bridge.payload p WHERE p.lane = l.id AND p.state = 0)";
    let rows = db.query(sql, &[(&lanes, Type::INT8_ARRAY)]).await?;
    let lanes = rows.iter().map(|row| get(row, 0).map(unsigned).map(LaneId));
    lanes.collect()
}
