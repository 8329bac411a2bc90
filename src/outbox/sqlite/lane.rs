//! The SQL statements for lanes: find or create the lane of a customer, and add an entry to the lane.
//!
//! This module reads and writes with separate statements: for an upsert that returns its row, SQLite would keep a
//! separate journal for each row.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns;
use super::statements::Statements;
use super::store_connection::StoreConnection;
use super::store_connection::lookup_id::{LookupId, LookupIds};
use super::tombstones;
use crate::outbox::codec::{self, BlobKind, StoredText};
use crate::outbox::sealer::Sealer;
use crate::outbox::tombstone::TombstoneKind;
use crate::outbox::{LaneClass, LaneId, LaneKey, Priority, Standing};
use crate::time::Timestamp;

/// Finds the lane of a customer.
pub(super) fn find(store: &StoreConnection, key: &LaneKey) -> rusqlite::Result<Option<LaneId>> {
    let columns = codec::lane_columns(key);
    let mut statement =
        store.prepare_cached("SELECT id FROM lane WHERE kind = ?1 AND customer = ?2")?;
    for id in LookupIds::of(store, &columns).all() {
        let found = statement.query_row(params![columns.kind, id], |row| row.get(0).map(LaneId));
        if let Some(found) = found.optional()? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Returns the stored form of the customer id of a lane, for the column `lane.received`.
pub(super) fn stored_id<'a>(
    sealer: &Sealer,
    lane: LaneId,
    received: &'a str,
) -> rusqlite::Result<StoredText<'a>> {
    let stored = codec::encode_text(sealer, BlobKind::LaneCustomer, lane.0, received);
    stored.map_err(columns::unwritable)
}

/// The lane that a new entry enters.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryLane {
    pub(super) id: LaneId,
    entrance: Entrance,
    before: LaneBefore,
    /// True if the lane must get the customer's id from the entry: Imprint has not yet applied an update of the customer and
    /// the entry spells the id in a different way, or the bridge cannot read the id of the lane.
    needs_id: bool,
}

/// Whether an entry enters its lane as a waiting entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entrance {
    /// The entry waits with this priority, starting at this time.
    Waiting(Priority, Timestamp),
    /// The entry is parked, held or undecided, and does not make the lane due.
    SetAside,
}

impl Entrance {
    fn due(self) -> Option<i64> {
        match self {
            Self::Waiting(_, now) => Some(now.as_millis()),
            Self::SetAside => None,
        }
    }

    const fn priority(self) -> Priority {
        match self {
            Self::Waiting(priority, _) => priority,
            Self::SetAside => Priority::Live,
        }
    }
}

/// The state of the lane before the entry enters.
#[derive(Clone, Copy, Debug)]
enum LaneBefore {
    /// The lane was just created, with the due time and the priority of its first entry.
    New,
    /// The lane was the tombstone of a customer, and has the due time and the priority of its first entry.
    Tombstone(TombstoneKind),
    /// No entry waits in the lane. The lane belongs to this queue.
    Idle(LaneClass),
    /// No entry waits in the lane, but the lane is due, because dispatch must send delivered values again. The request
    /// with these values is possibly in flight. The lane belongs to this queue.
    Reasserting(LaneClass),
    /// Entries wait in the lane. The lane belongs to this queue.
    Busy { class: LaneClass, is_due: bool },
}

impl EntryLane {
    /// Finds the lane of `key`, and creates the lane if no lane has this key.
    pub(super) fn find_or_create(
        statements: &Statements<'_>,
        key: &LaneKey,
        entrance: Entrance,
    ) -> rusqlite::Result<Self> {
        let ids = LookupIds::of(statements, &codec::lane_columns(key));
        for id in ids.all() {
            if let Some(found) = Self::find(statements, (key, id), entrance)? {
                return Ok(found);
            }
        }
        let class = LaneClass {
            priority: entrance.priority(),
            standing: Standing::Untried,
        };
        let place = (entrance.due(), codec::class_number(class));
        let (id, before) = match tombstones::revive(statements, key, place)? {
            Some((revived, tombstone)) => (revived, LaneBefore::Tombstone(tombstone)),
            None => (insert(statements, (key, &ids.new), place)?, LaneBefore::New),
        };
        Ok(Self {
            id,
            entrance,
            before,
            needs_id: false,
        })
    }

    fn find(
        statements: &Statements<'_>,
        (key, id): (&LaneKey, &LookupId<'_>),
        entrance: Entrance,
    ) -> rusqlite::Result<Option<Self>> {
        let kind = codec::lane_columns(key).kind;
        let select = "SELECT id, idle OR due_at IS NULL, low, due_at <= ?3, spelled <> 1, received
             FROM lane WHERE kind = ?1 AND customer = ?2";
        let read = |row: &Row<'_>| {
            let lane = LaneId(row.get(0)?);
            let is_idle: bool = row.get(1)?;
            let is_due: Option<bool> = row.get(3)?;
            let before = match (columns::class(row, 2), is_idle, is_due) {
                (Some(class), true, Some(true)) => LaneBefore::Reasserting(class),
                (Some(class), true, _) => LaneBefore::Idle(class),
                (Some(class), false, is_due) => LaneBefore::Busy {
                    class,
                    is_due: is_due.unwrap_or_default(),
                },
                // The number of the queue is damaged: treat the lane as idle, so that the new entry writes the
                // number again.
                (None, _, _) => LaneBefore::Idle(LaneClass::DEFAULT),
            };
            Ok(Self {
                id: lane,
                entrance,
                before,
                needs_id: needs_id(row, (lane, key), statements.sealer()),
            })
        };
        statements
            .with(select, |statement| {
                statement.query_row(params![kind, id, entrance.due()], read)
            })
            .optional()
    }

    /// Updates the lane for a new entry whose event spells the customer's id as `key` does. `source` is the source of
    /// the entry, or `None` if a search found the lane of the entry.
    ///
    /// A waiting entry makes an idle lane due, and raises the priority of the lane to the priority of the entry. A
    /// parked, held or undecided entry changes nothing.
    ///
    /// A lane of a partner customer id sometimes waits for the search turn of other sources. A waiting entry of a
    /// different source makes the lane due: otherwise many events of one source would delay the customer of a different
    /// source.
    pub(super) fn enter(
        self,
        statements: &Statements<'_>,
        key: &LaneKey,
        source: Option<&str>,
    ) -> rusqlite::Result<()> {
        if self.needs_id && self.entrance.due().is_some() {
            let received = codec::lane_columns(key).received;
            let received = stored_id(statements.sealer(), self.id, received)?;
            statements
                .prepare_cached("UPDATE lane SET received = ?2, spelled = 0 WHERE id = ?1")?
                .execute(params![self.id.0, columns::bound_text(&received)])?;
        }
        let priority = self.entrance.priority();
        let low = |class| codec::class_number(LaneClass { priority, ..class });
        match (self.before, self.entrance.due()) {
            (LaneBefore::New | LaneBefore::Tombstone(_), _) | (_, None) => {}
            (LaneBefore::Idle(class), Some(due)) => {
                statements.with("UPDATE lane SET low = ?2, due_at = ?3, idle = 0, spelled = spelled % 2 WHERE id = ?1", |statement| statement.execute(params![self.id.0, low(class), due]))?;
            }
            // The lane keeps its due time: its request is possibly in flight, so a start after a crash must find the
            // lane among the first due lanes.
            (LaneBefore::Reasserting(class), Some(_)) => {
                let priority = priority.min(class.priority);
                let number = codec::class_number(LaneClass { priority, ..class });
                statements
                    .prepare_cached(
                        "UPDATE lane SET low = ?2, idle = 0, spelled = spelled % 2 WHERE id = ?1",
                    )?
                    .execute(params![self.id.0, number])?;
            }
            (LaneBefore::Busy { class, is_due }, Some(due)) => {
                if priority < class.priority {
                    statements
                        .prepare_cached("UPDATE lane SET low = ?2 WHERE id = ?1")?
                        .execute(params![self.id.0, low(class)])?;
                }
                let rests = !is_due && class.standing != Standing::Failing;
                if let (true, LaneKey::Partner(_), Some(source)) = (rests, key, source) {
                    self.ask_for(statements, source, due)?;
                }
            }
        }
        Ok(())
    }

    /// Makes the lane due now. Changes nothing if the newest waiting entry has the same source, or if a recorded answer
    /// waits for proof.
    fn ask_for(self, connection: &Connection, source: &str, now: i64) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "UPDATE lane SET due_at = ?2 WHERE id = ?1 AND due_at > ?2 AND absence IS NULL
                    AND ?3 IS NOT (SELECT source FROM waiting WHERE lane = ?1 ORDER BY entry DESC LIMIT 1)",
            )?
            .execute(params![self.id.0, now, source])?;
        Ok(())
    }

    /// Deletes the lane if it was created for this entry, because the entry turned out to be a duplicate or a conflict. A
    /// lane that was a tombstone becomes a tombstone again.
    pub(super) fn undo(self, store: &StoreConnection, key: &LaneKey) -> rusqlite::Result<()> {
        match self.before {
            LaneBefore::New => {
                store.execute("DELETE FROM lane WHERE id = ?1", [self.id.0])?;
            }
            LaneBefore::Tombstone(tombstone) => {
                tombstones::bury(store, self.id, key, tombstone)?;
            }
            LaneBefore::Idle(_) | LaneBefore::Reasserting(_) | LaneBefore::Busy { .. } => {}
        }
        Ok(())
    }
}

/// Inserts a lane with this due time into this queue.
fn insert(
    statements: &Statements<'_>,
    (key, customer): (&LaneKey, &LookupId<'_>),
    (due, class): (Option<i64>, u8),
) -> rusqlite::Result<LaneId> {
    let columns = codec::lane_columns(key);
    // The sealed id is bound to the number of the lane. For the text of a store without keys, SQLite chooses the number.
    let number = match customer {
        LookupId::Digest(_) => Some(next_number(statements)?),
        LookupId::Text(_) => None,
    };
    let lane = LaneId(number.unwrap_or_default());
    let received = stored_id(statements.sealer(), lane, columns.received)?;
    statements.with(
        "INSERT INTO lane (id, kind, customer, received, due_at, low, idle) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        |statement| {
            statement.execute(params![
                number,
                columns.kind,
                customer,
                columns::bound_text(&received),
                due,
                class,
                due.is_none(),
            ])
        },
    )?;
    Ok(LaneId(statements.last_insert_rowid().unsigned_abs()))
}

/// Returns the number that SQLite would give to the next lane.
fn next_number(statements: &Statements<'_>) -> rusqlite::Result<u64> {
    let newest: Option<u64> = statements.with("SELECT max(id) FROM lane", |statement| {
        statement.query_row([], |row| row.get(0))
    })?;
    Ok(newest.unwrap_or_default().saturating_add(1))
}

/// Returns whether a new event must replace the id of its lane: the id is damaged or its sealing key is missing, or Imprint
/// has not yet applied an update and the event spells the id in another way. Only a UUID has two spellings, so the function
/// opens no other sealed id.
fn needs_id(row: &Row<'_>, (lane, key): (LaneId, &LaneKey), sealer: &Sealer) -> bool {
    let received = codec::lane_columns(key).received;
    let is_unapplied: bool = columns::or_default(row, 4);
    let has_spellings = || match key {
        LaneKey::Imprint(imprint) => imprint.in_other_case().is_some(),
        LaneKey::Partner(_) => false,
    };
    match columns::stored_text(row, 5) {
        Ok(Some(StoredText::Plain(stored))) => is_unapplied && stored != received,
        Ok(Some(StoredText::Sealed(blob))) if sealer.lacks_key_of(&blob) => true,
        Ok(Some(sealed)) => {
            let stored = || codec::decode_text(sealer, BlobKind::LaneCustomer, lane.0, &sealed);
            is_unapplied && has_spellings() && !stored().is_ok_and(|stored| stored == received)
        }
        Ok(None) | Err(_) => is_unapplied,
    }
}
