//! The SQL statements for settings, and the SQL statements that make lanes due.

use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteOutbox;
use super::columns;
use super::counts::Counts;
use super::store_connection::StoreConnection;
use super::writer::job::Wakes;
use crate::outbox::{
    Error, LaneClass, Setting, Settings, Standing, StoreFuture,
    codec::{self, BlobKind, StoredText},
};
use crate::time::Timestamp;

/// The maximum number of lanes that one transaction makes due. Such a transaction takes about ten milliseconds.
///
/// After an outage, hundreds of thousands of lanes can rest. New events must not wait until all of these lanes are due.
const RELEASED_MAX: usize = 2_000;

impl SqliteOutbox {
    /// Makes all resting lanes due in several transactions. Between two transactions, the writer thread serves other
    /// commands.
    pub(super) async fn release_all(&self, now: Timestamp) -> Result<(), Error> {
        for class in LaneClass::all() {
            let slice = move |store: &StoreConnection, _: &mut Counts| release(store, class, now);
            while self.act(Wakes::Dispatch, slice).await? == RELEASED_MAX {}
        }
        Ok(())
    }

    /// Makes due all lanes that wait for proof. Uses several transactions, as `release_all` does.
    pub(super) async fn release_all_absent(&self, now: Timestamp) -> Result<(), Error> {
        let slice = move |store: &StoreConnection, _: &mut Counts| release_absent(store, now);
        while self.act(Wakes::Dispatch, slice).await? == RELEASED_MAX {}
        Ok(())
    }
}

/// Makes at most [`RELEASED_MAX`] lanes of one queue due that have a waiting entry. Returns the number of changed
/// lanes.
///
/// If the number is lower than [`RELEASED_MAX`], no further lane of the queue needs the change.
fn release(connection: &Connection, class: LaneClass, now: Timestamp) -> rusqlite::Result<usize> {
    // The index of due lanes begins with the number of the queue, so the statement needs no sort.
    let change = match class.standing {
        // Imprint possibly caused the failures, so the lane returns to the queue of lanes without failures.
        Standing::Failing => {
            "UPDATE lane SET low = low % 2, due_at = min(due_at, ?2) WHERE id IN
             (SELECT id FROM lane WHERE low = ?1 AND due_at IS NOT NULL AND NOT idle LIMIT ?3)"
        }
        Standing::Well | Standing::Untried => {
            "UPDATE lane SET due_at = ?2 WHERE id IN
             (SELECT id FROM lane WHERE low = ?1 AND due_at > ?2 AND NOT idle LIMIT ?3)"
        }
    };
    let class = codec::class_number(class);
    connection
        .prepare_cached(change)?
        .execute(params![class, now.as_millis(), RELEASED_MAX])
}

/// Makes due at most [`RELEASED_MAX`] lanes that wait for proof. Returns the number of changed lanes.
///
/// Also removes every mark that Imprint has no customer with a lane's Imprint id: the bridge possibly got such an
/// answer with an earlier API key.
fn release_absent(connection: &Connection, now: Timestamp) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("UPDATE lane SET spelled = 0 WHERE spelled = 2")?
        .execute([])?;
    connection
        .prepare_cached(
            "UPDATE lane SET due_at = ?1 WHERE id IN
             (SELECT id FROM lane WHERE absence IS NOT NULL AND due_at > ?1 AND NOT idle LIMIT ?2)",
        )?
        .execute(params![now.as_millis(), RELEASED_MAX])
}

pub(super) fn store(
    connection: &StoreConnection,
    setting: Setting,
    value: &str,
) -> rusqlite::Result<()> {
    let value = match setting {
        Setting::Evidence => {
            let stored = codec::encode_text(connection.sealer(), BlobKind::Evidence, 0, value);
            stored.map_err(columns::unwritable)?
        }
        Setting::DestinationMode
        | Setting::ThrottledUntil
        | Setting::Destination
        | Setting::LastBackup
        | Setting::SourceOrders
        | Setting::OpenBrakes
        | Setting::LastEvents => StoredText::Plain(value),
    };
    connection
        .prepare_cached(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![setting.name(), columns::bound_text(&value)])?;
    Ok(())
}

/// Reads a setting. Evidence that the bridge cannot read, because it is damaged or its sealing key is missing, does not
/// exist: dispatch collects evidence again. Another optional setting without a readable text is an empty text.
pub(super) fn read(
    connection: &StoreConnection,
    setting: Setting,
) -> rusqlite::Result<Option<String>> {
    let value = connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([setting.name()], |row| match setting {
            Setting::Evidence => {
                let stored = columns::stored_text(row, 0).ok().flatten();
                let sealer = connection.sealer();
                let text =
                    stored.map(|stored| codec::decode_text(sealer, BlobKind::Evidence, 0, &stored));
                Ok(text.and_then(Result::ok))
            }
            Setting::DestinationMode
            | Setting::ThrottledUntil
            | Setting::Destination
            | Setting::LastBackup
            | Setting::SourceOrders
            | Setting::OpenBrakes
            | Setting::LastEvents => match row.get(0) {
                Err(_damaged) if setting.is_optional() => Ok(Some(String::new())),
                value => value.map(Some),
            },
        })
        .optional()?;
    Ok(value.flatten())
}

impl Settings for SqliteOutbox {
    fn store_setting(&self, setting: Setting, value: String) -> StoreFuture<'_, ()> {
        self.act(Wakes::Nobody, move |connection, _| {
            store(connection, setting, &value)
        })
    }

    fn replace_setting(
        &self,
        setting: Setting,
        known: Option<String>,
        value: String,
    ) -> StoreFuture<'_, bool> {
        self.act(Wakes::Nobody, move |connection, _| {
            let is_known = setting != Setting::Evidence && read(connection, setting)? == known;
            if is_known {
                store(connection, setting, &value)?;
            }
            Ok(is_known)
        })
    }

    fn setting(&self, setting: Setting) -> StoreFuture<'_, Option<String>> {
        self.read(move |connection, _| read(connection, setting))
    }
}
