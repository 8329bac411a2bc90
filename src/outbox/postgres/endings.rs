//! Ends waiting entries, each kind of change with one statement for all entries of a group. The lanes of the entries are
//! locked.

use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;

use super::columns::{from_text, get, number};
use super::connection::Connected;
use super::fault::DbFault;
use super::receipt;
use super::tally::TallyChange;
use crate::event::{EventError, SourceName};
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::sealer::Sealer;
use crate::outbox::{Ending, EntryId, LaneId, State};
use crate::time::Timestamp;

/// One waiting entry that gets a new state.
pub(super) struct EndingRow<'a> {
    pub(super) entry: EntryId,
    pub(super) lane: LaneId,
    pub(super) ending: &'a Ending,
    pub(super) was_attempted: bool,
    pub(super) at: Timestamp,
}

impl EndingRow<'_> {
    fn state(&self) -> i16 {
        codec::state_number(self.ending.state()).into()
    }

    fn settled_at(&self) -> Option<i64> {
        let is_settled = self.ending.state().is_settled();
        is_settled.then_some(self.at.as_millis())
    }

    fn winner(&self) -> Option<i64> {
        match self.ending {
            Ending::Superseded(winner) => Some(number(winner.0)),
            Ending::Delivered | Ending::Ignored(_) | Ending::Parked { .. } | Ending::Undecided => {
                None
            }
        }
    }

    fn ignored(&self) -> Option<i16> {
        match self.ending {
            Ending::Ignored(reason) => Some(codec::ignore_number(*reason).into()),
            Ending::Delivered
            | Ending::Superseded(_)
            | Ending::Parked { .. }
            | Ending::Undecided => None,
        }
    }
}

/// Ends the entries that still wait in these lanes, and returns their numbers with their new states.
pub(super) async fn apply(
    db: &Connected,
    sealer: &Sealer,
    endings: Vec<EndingRow<'_>>,
    tally: &mut TallyChange,
) -> Result<Vec<(EntryId, State)>, DbFault> {
    let mut waiting = waiting(db, endings.iter().map(|ending| ending.entry)).await?;
    let mut ended = Vec::with_capacity(endings.len());
    for ending in endings {
        let Some(found) = waiting.remove(&ending.entry) else {
            continue;
        };
        if found.lane != number(ending.lane.0) {
            continue;
        }
        if let Some(source) = &found.source {
            let state = ending.ending.state();
            tally.leave(State::Waiting, source, found.event_bytes);
            tally.enter(state, source, found.event_bytes);
        }
        ended.push(ending);
    }
    delete_final(db, &ended).await?;
    set_aside(db, sealer, &ended).await?;
    update_entries(db, &ended).await?;
    let states = ended.iter();
    Ok(states.map(|row| (row.entry, row.ending.state())).collect())
}

/// The value of `payload.state` of an entry that waits.
const WAITING: i16 = 0;

struct WaitingRow {
    lane: i64,
    /// `None` if the stored name is damaged.
    source: Option<SourceName>,
    event_bytes: i64,
}

async fn waiting(
    db: &Connected,
    entries: impl Iterator<Item = EntryId>,
) -> Result<HashMap<EntryId, WaitingRow>, DbFault> {
    let entries: Vec<i64> = entries.map(|entry| number(entry.0)).collect();
    let mut found = HashMap::new();
    if entries.is_empty() {
        return Ok(found);
    }
    // Without a condition on the state: PostgreSQL would take the index of the waiting entries for small, and read all its
    // entries since the last vacuum.
    let sql = "SELECT entry, lane, source, event_bytes, state FROM imprint_bridge.payload WHERE entry = ANY($1)";
    for row in db.query(sql, &[(&entries, Type::INT8_ARRAY)]).await? {
        if get::<i16>(&row, 4)? != WAITING {
            continue;
        }
        let source: &str = get(&row, 2)?;
        let entry = EntryId(super::columns::unsigned(get(&row, 0)?));
        let row = WaitingRow {
            lane: get(&row, 1)?,
            source: SourceName::parse(source).ok(),
            event_bytes: get(&row, 3)?,
        };
        found.insert(entry, row);
    }
    Ok(found)
}

async fn delete_final(db: &Connected, ended: &[EndingRow<'_>]) -> Result<(), DbFault> {
    let gone = ended.iter().filter(|row| row.ending.state().is_final());
    let gone: Vec<i64> = gone.map(|row| number(row.entry.0)).collect();
    if !gone.is_empty() {
        let sql = "DELETE FROM imprint_bridge.payload WHERE entry = ANY($1)";
        db.execute(sql, &[(&gone, Type::INT8_ARRAY)]).await?;
    }
    Ok(())
}

/// Moves the payloads of parked and undecided entries into their new states.
async fn set_aside(
    db: &Connected,
    sealer: &Sealer,
    ended: &[EndingRow<'_>],
) -> Result<(), DbFault> {
    let kept = || ended.iter().filter(|row| !row.ending.state().is_final());
    let entries: Vec<i64> = kept().map(|row| number(row.entry.0)).collect();
    if entries.is_empty() {
        return Ok(());
    }
    let states: Vec<i16> = kept().map(EndingRow::state).collect();
    let mut reasons: Vec<Option<i16>> = Vec::with_capacity(entries.len());
    let mut details: Vec<Option<Vec<u8>>> = Vec::with_capacity(entries.len());
    for row in kept() {
        let (reason, detail) = match row.ending {
            Ending::Parked { reason, detail } => (Some(*reason), detail.as_deref()),
            Ending::Delivered | Ending::Superseded(_) | Ending::Ignored(_) | Ending::Undecided => {
                (None, None)
            }
        };
        reasons.push(reason.map(|reason| codec::reason_number(reason).into()));
        let (kind, entry) = (BlobKind::ParkedDetail, row.entry.0);
        let detail = detail.map(|detail| codec::encode_text(sealer, kind, entry, detail));
        details.push(detail.transpose()?.map(from_text));
    }
    let sql = "UPDATE imprint_bridge.payload AS p SET state = u.state, reason = u.reason, detail = u.detail
         FROM unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::bytea[]) AS u(entry, state, reason, detail)
         WHERE p.entry = u.entry";
    db.execute(
        sql,
        &[
            (&entries, Type::INT8_ARRAY),
            (&states, Type::INT2_ARRAY),
            (&reasons, Type::INT2_ARRAY),
            (&details, Type::BYTEA_ARRAY),
        ],
    )
    .await?;
    Ok(())
}

async fn update_entries(db: &Connected, ended: &[EndingRow<'_>]) -> Result<(), DbFault> {
    if ended.is_empty() {
        return Ok(());
    }
    let entries: Vec<i64> = ended.iter().map(|row| number(row.entry.0)).collect();
    let states: Vec<i16> = ended.iter().map(EndingRow::state).collect();
    let settled: Vec<Option<i64>> = ended.iter().map(EndingRow::settled_at).collect();
    let winners: Vec<Option<i64>> = ended.iter().map(EndingRow::winner).collect();
    let ignored: Vec<Option<i16>> = ended.iter().map(EndingRow::ignored).collect();
    let attempts = ended.iter().map(|row| i64::from(row.was_attempted));
    let attempts: Vec<i64> = attempts.collect();
    let sql = "UPDATE imprint_bridge.entry AS e SET state = u.state, settled_at = u.settled_at, superseded_by = u.winner,
             ignored = u.ignored, attempts = e.attempts + u.attempts
         FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[])
             AS u(id, state, settled_at, winner, ignored, attempts)
         WHERE e.id = u.id";
    db.execute(
        sql,
        &[
            (&entries, Type::INT8_ARRAY),
            (&states, Type::INT2_ARRAY),
            (&settled, Type::INT8_ARRAY),
            (&winners, Type::INT8_ARRAY),
            (&ignored, Type::INT2_ARRAY),
            (&attempts, Type::INT8_ARRAY),
        ],
    )
    .await?;
    Ok(())
}

/// Counts one attempt for each of these entries, which still wait.
pub(super) async fn count_attempts(db: &Connected, entries: &[i64]) -> Result<(), DbFault> {
    if !entries.is_empty() {
        let sql = "UPDATE imprint_bridge.entry SET attempts = attempts + 1 WHERE id = ANY($1)";
        db.execute(sql, &[(&entries, Type::INT8_ARRAY)]).await?;
    }
    Ok(())
}

/// Adds the cleared fields that no request sends to the fields that the updates of ended entries leave out. Most
/// settlements have no such fields.
pub(super) async fn add_omitted<'a>(
    db: &Connected,
    sealer: &Sealer,
    omitted: impl Iterator<Item = (EntryId, &'a [EventError])>,
    ended: &[(EntryId, State)],
) -> Result<(), DbFault> {
    let ended: HashSet<EntryId> = ended.iter().map(|(entry, _)| *entry).collect();
    let omitted = omitted.filter(|(entry, _)| ended.contains(entry));
    let omitted: HashMap<EntryId, &[EventError]> = omitted.collect();
    if omitted.is_empty() {
        return Ok(());
    }
    let entries: Vec<i64> = omitted.keys().map(|entry| number(entry.0)).collect();
    let sql = "SELECT id, skipped FROM imprint_bridge.entry WHERE id = ANY($1)";
    let (mut ids, mut stored) = (Vec::new(), Vec::new());
    for row in db.query(sql, &[(&entries, Type::INT8_ARRAY)]).await? {
        let id: i64 = get(&row, 0)?;
        let entry = EntryId(super::columns::unsigned(id));
        let kind = BlobKind::SkippedFields;
        let mut unsent = receipt::errors(sealer, kind, entry, get(&row, 1)?);
        unsent.extend(omitted.get(&entry).iter().flat_map(|it| it.iter().cloned()));
        ids.push(id);
        stored.push(codec::encode(sealer, kind, entry.0, &unsent)?);
    }
    let sql = "UPDATE imprint_bridge.entry AS e SET skipped = u.skipped FROM unnest($1::bigint[], $2::bytea[]) AS u(id, skipped)
         WHERE e.id = u.id";
    let params = (ids, stored);
    db.execute(
        sql,
        &[
            (&params.0, Type::INT8_ARRAY),
            (&params.1, Type::BYTEA_ARRAY),
        ],
    )
    .await?;
    Ok(())
}
