//! The SQL statements for lanes: find or create the lane of a customer, and add an entry to the lane.
//!
//! This module reads and writes with separate statements: for an upsert that returns its row, SQLite would keep a
//! separate journal for each row.

use rusqlite::{Connection, OptionalExtension, params};

use super::columns;
use super::statements::Statements;
use super::store_connection::StoreConnection;
use super::tombstones;
use crate::outbox::codec::{self, LaneColumns};
use crate::outbox::{LaneClass, LaneId, LaneKey, LaterEvents, Priority, Standing};
use crate::time::Timestamp;

/// Finds the lane of a customer.
pub(super) fn find(connection: &Connection, key: &LaneKey) -> rusqlite::Result<Option<LaneId>> {
    let columns = codec::lane_columns(key);
    connection
        .prepare_cached("SELECT id FROM lane WHERE kind = ?1 AND customer = ?2")?
        .query_row(params![columns.kind, columns.canonical], |row| {
            row.get(0).map(LaneId)
        })
        .optional()
}

/// The lane that a new entry enters.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryLane {
    pub(super) id: LaneId,
    entrance: Entrance,
    before: LaneBefore,
    /// True if the entry spells the customer's id in a different way than the lane does, and Imprint has not yet
    /// applied an update of the customer.
    is_respelled: bool,
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
    /// The lane was the tombstone of an erased customer, and has the due time and the priority of its first entry.
    Tombstone,
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
        let LaneColumns {
            kind,
            canonical,
            received,
        } = codec::lane_columns(key);
        let lane = |id, before, is_respelled| Self {
            id,
            entrance,
            before,
            is_respelled,
        };
        let due = entrance.due();
        let found = statements.with("SELECT id, idle OR due_at IS NULL, low, due_at <= ?3, spelled <> 1 AND received <> ?4
                 FROM lane WHERE kind = ?1 AND customer = ?2", |statement| statement.query_row(params![kind, canonical, due, received], |row| {
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
                Ok(lane(LaneId(row.get(0)?), before, row.get(4)?))
            }))
            .optional()?;
        if let Some(found) = found {
            return Ok(found);
        }
        let class = LaneClass {
            priority: entrance.priority(),
            standing: Standing::Untried,
        };
        if statements.tombstones().is_some() {
            let place = (due, codec::class_number(class));
            if let Some(revived) = tombstones::revive(statements, key, place)? {
                return Ok(lane(revived, LaneBefore::Tombstone, false));
            }
        }
        statements.with("INSERT INTO lane (kind, customer, received, due_at, low, idle) VALUES (?1, ?2, ?3, ?4, ?5, ?6)", |statement| statement.execute(params![
                kind,
                canonical,
                received,
                due,
                codec::class_number(class),
                due.is_none(),
            ]))?;
        let id = LaneId(statements.last_insert_rowid().unsigned_abs());
        Ok(lane(id, LaneBefore::New, false))
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
        if self.is_respelled && self.entrance.due().is_some() {
            statements
                .prepare_cached("UPDATE lane SET received = ?2, spelled = 0 WHERE id = ?1")?
                .execute(params![self.id.0, codec::lane_columns(key).received])?;
        }
        let priority = self.entrance.priority();
        let low = |class| codec::class_number(LaneClass { priority, ..class });
        match (self.before, self.entrance.due()) {
            (LaneBefore::New | LaneBefore::Tombstone, _) | (_, None) => {}
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
            LaneBefore::Tombstone => {
                tombstones::bury(store, self.id, key, LaterEvents::Delivered)?;
            }
            LaneBefore::Idle(_) | LaneBefore::Reasserting(_) | LaneBefore::Busy { .. } => {}
        }
        Ok(())
    }
}
