//! The SQL of lanes: finds or creates the lane of a customer, and adds an entry to the lane.
//!
//! This module uses plain reads and writes: an upsert that returns its row makes SQLite keep a separate journal for
//! each row.

use rusqlite::{Connection, OptionalExtension, params};

use crate::outbox::codec::{self, LaneColumns};
use crate::outbox::{LaneId, LaneKey, Priority};
use crate::time::Timestamp;

/// The lane that a new entry enters.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryLane {
    pub(super) id: LaneId,
    entrance: Entrance,
    before: LaneBefore,
}

/// The state in which an entry enters its lane.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entrance {
    /// The entry waits, with this priority and from this moment on.
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

    const fn low(self) -> u8 {
        match self {
            Self::Waiting(priority, _) => codec::priority_number(priority),
            Self::SetAside => codec::priority_number(Priority::Live),
        }
    }
}

/// The state of the lane before the entry enters.
#[derive(Clone, Copy, Debug)]
enum LaneBefore {
    /// The lane was just created, with the due time and the priority of its first entry.
    New,
    /// No entry waits in the lane.
    Idle,
    /// Entries wait in the lane. The column `low` contains the priority of the most urgent entry.
    Busy { low: u8 },
}

impl EntryLane {
    /// Finds the lane of `key`, and creates the lane if no lane has this key.
    pub(super) fn find_or_create(
        connection: &Connection,
        key: &LaneKey,
        entrance: Entrance,
    ) -> rusqlite::Result<Self> {
        let LaneColumns {
            kind,
            canonical,
            received,
        } = codec::lane_columns(key);
        let lane = |id, before| Self {
            id,
            entrance,
            before,
        };
        let found = connection
            .prepare_cached(
                "SELECT id, idle OR due_at IS NULL, low FROM lane WHERE kind = ?1 AND customer = ?2",
            )?
            .query_row(params![kind, canonical], |row| {
                let is_idle: bool = row.get(1)?;
                // A damaged priority counts as less urgent than every other priority, so that the next entry repairs it.
                let low = row.get(2).unwrap_or(u8::MAX);
                let before = if is_idle { LaneBefore::Idle } else { LaneBefore::Busy { low } };
                Ok(lane(LaneId(row.get(0)?), before))
            })
            .optional()?;
        if let Some(found) = found {
            return Ok(found);
        }
        let due = entrance.due();
        connection
            .prepare_cached(
                "INSERT INTO lane (kind, customer, received, due_at, low, idle) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![kind, canonical, received, due, entrance.low(), due.is_none()])?;
        let id = LaneId(connection.last_insert_rowid().unsigned_abs());
        Ok(lane(id, LaneBefore::New))
    }

    /// Updates the lane for an entry that enters. A waiting entry makes an idle lane due, and makes a lane more urgent
    /// if all other entries of the lane are less urgent. Other entries change nothing.
    pub(super) fn enter(self, connection: &Connection) -> rusqlite::Result<()> {
        let low = self.entrance.low();
        match (self.before, self.entrance.due()) {
            (LaneBefore::New, _) | (_, None) => {}
            (LaneBefore::Idle, Some(due)) => {
                connection
                    .prepare_cached(
                        "UPDATE lane SET low = ?2, due_at = ?3, idle = 0 WHERE id = ?1",
                    )?
                    .execute(params![self.id.0, low, due])?;
            }
            (LaneBefore::Busy { low: before }, Some(_)) if low < before => {
                connection
                    .prepare_cached("UPDATE lane SET low = ?2 WHERE id = ?1")?
                    .execute(params![self.id.0, low])?;
            }
            (LaneBefore::Busy { .. }, Some(_)) => {}
        }
        Ok(())
    }

    /// Deletes a lane that was created for an entry which then does not enter the lane.
    pub(super) fn undo(self, connection: &Connection) -> rusqlite::Result<()> {
        if matches!(self.before, LaneBefore::New) {
            connection.execute("DELETE FROM lane WHERE id = ?1", [self.id.0])?;
        }
        Ok(())
    }
}
