//! The SQL of lanes: finding one, making one, and letting something wait in it.
//!
//! Looks and plain writes: an upsert that returns what it did keeps a journal of its own for every row.

use std::borrow::Cow;

use rusqlite::{Connection, OptionalExtension, params};

use super::claim::{IMPRINT, PARTNER, low};
use crate::outbox::{LaneKey, Priority};
use crate::time::Timestamp;

/// A lane, for something that enters it.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryLane {
    pub(super) id: i64,
    entrance: Entrance,
    found: LaneState,
}

/// How something enters.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entrance {
    /// It waits from this moment on.
    Waiting(Priority, Timestamp),
    /// It is parked, and nothing waits because of it.
    Parked,
}

impl Entrance {
    fn due(self) -> Option<i64> {
        match self {
            Self::Waiting(_, now) => Some(now.as_millis()),
            Self::Parked => None,
        }
    }

    const fn low(self) -> i64 {
        match self {
            Self::Waiting(priority, _) => low(priority),
            Self::Parked => 0,
        }
    }
}

/// What a lane was found to be like.
#[derive(Clone, Copy, Debug)]
enum LaneState {
    /// It was not there, and was made as its first entry needs it.
    New,
    /// Nothing waits in it.
    Idle,
    /// Something of this priority waits in it.
    Busy { low: i64 },
}

impl EntryLane {
    /// The lane of `key`, made if there is none.
    pub(super) fn of(
        connection: &Connection,
        key: &LaneKey,
        entrance: Entrance,
    ) -> rusqlite::Result<Self> {
        let (kind, canonical, received) = match key {
            LaneKey::Imprint(imprint) => {
                (IMPRINT, Cow::from(imprint.canonical()), imprint.as_str())
            }
            LaneKey::Partner(partner) => (PARTNER, Cow::from(partner.as_str()), partner.as_str()),
        };
        let lane = |id, found| Self {
            id,
            entrance,
            found,
        };
        let found = connection
            .prepare_cached(
                "SELECT id, idle OR due_at IS NULL, low FROM lane WHERE kind = ?1 AND customer = ?2",
            )?
            .query_row(params![kind, canonical], |row| {
                let is_idle: bool = row.get(1)?;
                let low = row.get(2)?;
                Ok(lane(row.get(0)?, if is_idle { LaneState::Idle } else { LaneState::Busy { low } }))
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
        Ok(lane(connection.last_insert_rowid(), LaneState::New))
    }

    /// Lets it enter: what waits makes the lane due, unless the lane rests. No write where something as urgent waits already.
    pub(super) fn enter(self, connection: &Connection) -> rusqlite::Result<()> {
        let low = self.entrance.low();
        match (self.found, self.entrance.due()) {
            (LaneState::New, _) | (_, None) => {}
            (LaneState::Idle, Some(due)) => {
                connection
                    .prepare_cached(
                        "UPDATE lane SET low = ?2, due_at = ?3, idle = 0 WHERE id = ?1",
                    )?
                    .execute(params![self.id, low, due])?;
            }
            (LaneState::Busy { low: before }, Some(_)) if low < before => {
                connection
                    .prepare_cached("UPDATE lane SET low = ?2 WHERE id = ?1")?
                    .execute(params![self.id, low])?;
            }
            (LaneState::Busy { .. }, Some(_)) => {}
        }
        Ok(())
    }

    /// Takes the lane back if it was made for something that does not enter.
    pub(super) fn leave(self, connection: &Connection) -> rusqlite::Result<()> {
        if matches!(self.found, LaneState::New) {
            connection.execute("DELETE FROM lane WHERE id = ?1", [self.id])?;
        }
        Ok(())
    }
}
