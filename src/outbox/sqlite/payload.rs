//! The SQL statements of payloads. A payload is the update and the event of an entry in a state that is not final.
//!
//! Each state that is not final has a separate table of payloads. When the state of an entry changes, the store copies
//! the row without decoding it.

use rusqlite::{OptionalExtension, params};

use super::columns::{self, unreadable, unwritable};
use super::counts::{Counts, EventSize};
use super::statements::Statements;
use super::store_connection::StoreConnection;
use crate::event::{SourceName, SourceVersion};
use crate::imprint::{CustomerChange, CustomerRef, PartnerCustomerId, Update};
use crate::outbox::codec::{self, BlobKind, CustomerColumns, UpdateColumns, UpdateRoute};
use crate::outbox::{EntryId, InvalidReason, LaneId, LaneKey, NewEntry, ParkReason, State};

pub(super) mod moved_update;

/// Builds an SQL statement that contains the common columns of all payload tables.
macro_rules! with_columns {
    ($before:literal, $between:literal, $after:literal) => {
        concat!(
            $before,
            "entry, lane, epoch, value, facts, event, partner, stated, accepted_at, source, jump_max, event_bytes",
            $between,
            $after
        )
    };
}

/// Builds the SQL statement that copies a payload from the table of a different state into the table `parked`.
macro_rules! park_from {
    ($table:literal) => {
        concat!(
            "INSERT INTO parked (entry, lane, reason, detail, epoch, value, facts, event, partner, stated, accepted_at, source, jump_max, event_bytes)
             SELECT entry, lane, ?3, ?4, epoch, value, facts, event, partner, stated, accepted_at, source, jump_max, event_bytes
             FROM ",
            $table,
            " WHERE entry = ?1 AND lane = ?2"
        )
    };
}

const INSERT_WAITING: &str = with_columns!(
    "INSERT INTO waiting (",
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    ""
);
const INSERT_HELD: &str = with_columns!(
    "INSERT INTO held (",
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    ""
);
/// An entry that is parked as invalid belongs to lane 0, which does not exist, and its update is empty bytes.
const INSERT_INVALID: &str = with_columns!(
    "INSERT INTO parked (",
    ", reason, errors) VALUES (?1, 0, ?2, 0, x'', ?3, NULL, 0, ?4, ?5, NULL, ?6, ?7, ?8)",
    ""
);
const INSERT_PARKED: &str = with_columns!(
    "INSERT INTO parked (",
    ", reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    ""
);

/// The common columns of all payload tables.
const COLUMNS: &str = with_columns!("", "", "");

/// The states whose entries have a payload.
pub(super) const UNFINISHED: [State; 4] =
    [State::Waiting, State::Parked, State::Held, State::Undecided];

/// Returns the payload table of a state. Returns `None` for a final state, because entries in a final state have no
/// payload.
pub(super) const fn table(state: State) -> Option<&'static str> {
    match state {
        State::Waiting => Some("waiting"),
        State::Parked => Some("parked"),
        State::Held => Some("held"),
        State::Undecided => Some("undecided"),
        State::Delivered | State::Superseded | State::Ignored | State::Discarded => None,
    }
}

/// The key of a payload: the entry, and the lane of the entry.
#[derive(Clone, Copy)]
pub(super) struct PayloadKey {
    pub(super) entry: EntryId,
    pub(super) lane: LaneId,
}

/// The table that receives the payload of a new entry.
#[derive(Clone, Copy)]
pub(super) enum Arrives {
    Waiting,
    Held,
    Parked(ParkReason),
}

/// Stores the payload of a new entry.
pub(super) fn insert(
    statements: &Statements<'_>,
    PayloadKey { entry, lane }: PayloadKey,
    new: &NewEntry,
    arrives: Arrives,
    change: &CustomerChange,
) -> rusqlite::Result<()> {
    let sealer = statements.sealer();
    let customer = codec::customer_columns(&change.customer);
    let parts = (&change.update, customer.partner);
    let route = codec::route(lane, change);
    let stored = codec::encode_update(sealer, entry.0, parts, &route);
    let UpdateColumns { update, partner } = stored.map_err(unwritable)?;
    let event = codec::encode_bytes(sealer, BlobKind::Event, entry.0, &new.event);
    let event = event.map_err(unwritable)?;
    let event_bytes = new.stored_bytes();
    let UpdateRoute {
        version: SourceVersion { epoch, value },
        jump_max,
        names_imprint_id,
        ..
    } = route;
    let accepted_at = new.accepted_at.as_millis();
    let source = new.identity.source.as_str();
    let sql = match arrives {
        Arrives::Waiting => INSERT_WAITING,
        Arrives::Held => INSERT_HELD,
        Arrives::Parked(_) => INSERT_PARKED,
    };
    statements.with(sql, |statement| match arrives {
        Arrives::Waiting | Arrives::Held => statement.execute(params![
            entry.0,
            lane.0,
            epoch,
            value,
            update,
            event,
            partner,
            names_imprint_id,
            accepted_at,
            source,
            jump_max,
            event_bytes
        ]),
        Arrives::Parked(reason) => statement.execute(params![
            entry.0,
            lane.0,
            epoch,
            value,
            update,
            event,
            partner,
            names_imprint_id,
            accepted_at,
            source,
            jump_max,
            event_bytes,
            codec::reason_number(reason)
        ]),
    })?;
    Ok(())
}

/// Stores the payload of a new entry that is parked as invalid.
pub(super) fn insert_invalid(
    statements: &Statements<'_>,
    entry: EntryId,
    new: &NewEntry,
    invalid: &InvalidReason,
) -> rusqlite::Result<()> {
    let sealer = statements.sealer();
    let errors = codec::encode(sealer, BlobKind::EventErrors, entry.0, &invalid.errors);
    let event = codec::encode_bytes(sealer, BlobKind::Event, entry.0, &new.event);
    statements.prepare_cached(INSERT_INVALID)?.execute(params![
        entry.0,
        invalid.epoch,
        event.map_err(unwritable)?,
        new.accepted_at.as_millis(),
        new.identity.source.as_str(),
        new.stored_bytes(),
        codec::reason_number(ParkReason::Invalid),
        errors.map_err(unwritable)?,
    ])?;
    Ok(())
}

/// Copies the payload of an entry in `lane` from the table of the state `from` to the table `parked`. Does nothing if
/// the entry is already parked or has ended.
pub(super) fn park(
    connection: &StoreConnection,
    PayloadKey { entry, lane }: PayloadKey,
    from: State,
    reason: ParkReason,
    detail: Option<&str>,
) -> rusqlite::Result<()> {
    let sql = match from {
        State::Waiting => park_from!("waiting"),
        State::Held => park_from!("held"),
        State::Undecided => park_from!("undecided"),
        State::Parked
        | State::Delivered
        | State::Superseded
        | State::Ignored
        | State::Discarded => return Ok(()),
    };
    let sealer = connection.sealer();
    let kind = BlobKind::ParkedDetail;
    let detail = detail.map(|detail| codec::encode_text(sealer, kind, entry.0, detail));
    let detail = detail.transpose().map_err(unwritable)?;
    connection.prepare_cached(sql)?.execute(params![
        entry.0,
        lane.0,
        codec::reason_number(reason),
        detail.as_ref().map(columns::bound_text),
    ])?;
    Ok(())
}

/// Copies the payload of a waiting entry in `lane` to the table `undecided`.
pub(super) fn copy_to_undecided(
    connection: &StoreConnection,
    PayloadKey { entry, lane }: PayloadKey,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(&format!(
            "INSERT INTO undecided ({COLUMNS}) SELECT {COLUMNS} FROM waiting WHERE entry = ?1 AND lane = ?2"
        ))?
        .execute(params![entry.0, lane.0])?;
    Ok(())
}

/// Moves the payload of a parked, held or undecided entry to the table `waiting`, and the entry into `lane`.
pub(super) fn move_to_waiting(
    connection: &StoreConnection,
    PayloadKey { entry, lane }: PayloadKey,
    from: State,
) -> rusqlite::Result<()> {
    let Some(table) = table(from) else {
        return Ok(());
    };
    connection
        .prepare_cached(&format!(
            "INSERT INTO waiting ({COLUMNS})
             SELECT entry, ?2, epoch, value, facts, event, partner, stated, accepted_at, source, jump_max, event_bytes FROM {table} WHERE entry = ?1"
        ))?
        .execute(params![entry.0, lane.0])?;
    delete(connection, from, entry)
}

/// Deletes the payload of an entry from the table of its state.
pub(super) fn delete(
    connection: &StoreConnection,
    state: State,
    entry: EntryId,
) -> rusqlite::Result<()> {
    if let Some(table) = table(state) {
        connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE entry = ?1"))?
            .execute([entry.0])?;
    }
    Ok(())
}

/// Erases the payload of an entry in this state, and subtracts the size of the event from the stored bytes of its
/// source.
pub(super) fn erase(
    connection: &StoreConnection,
    state: State,
    entry: EntryId,
    counts: &mut Counts,
) -> rusqlite::Result<()> {
    if let Some(erased) = event_size(connection, state, entry)? {
        counts.erase(&erased);
    }
    delete(connection, state, entry)
}

/// Reads the source of an entry and the size of its event. Returns `None` if the entry is not in this state, or if its
/// row is damaged.
pub(super) fn event_size(
    connection: &StoreConnection,
    state: State,
    entry: EntryId,
) -> rusqlite::Result<Option<EventSize>> {
    let Some(table) = table(state) else {
        return Ok(None);
    };
    let size = connection
        .prepare_cached(&format!(
            "SELECT e.source, coalesce(p.event_bytes, length(p.event)) FROM {table} p JOIN entry e ON e.id = p.entry WHERE p.entry = ?1"
        ))?
        .query_row([entry.0], |row| {
            let source = row.get_ref(0)?.as_str().ok();
            let source = source.and_then(|name| SourceName::parse(name).ok());
            let size = source.zip(row.get(1).ok());
            Ok(size.map(|(source, bytes)| EventSize { source, bytes }))
        })
        .optional()?;
    Ok(size.flatten())
}

/// Replaces the stored update of a waiting entry in `lane`.
pub(super) fn update(
    connection: &StoreConnection,
    PayloadKey { entry, lane }: PayloadKey,
    change: &CustomerChange,
) -> rusqlite::Result<()> {
    let sealer = connection.sealer();
    let customer = codec::customer_columns(&change.customer);
    let parts = (&change.update, customer.partner);
    let stored = codec::encode_update(sealer, entry.0, parts, &codec::route(lane, change));
    let UpdateColumns { update, partner } = stored.map_err(unwritable)?;
    connection
        .prepare_cached(
            "UPDATE waiting SET epoch = ?2, value = ?3, facts = ?4, partner = ?5, stated = ?6, jump_max = ?7 WHERE entry = ?1",
        )?
        .execute(params![
            entry.0,
            change.version.epoch,
            change.version.value,
            update,
            partner,
            customer.names_imprint_id,
            change.jump_max.map(codec::jump_max),
        ])?;
    Ok(())
}

/// The stored payload of an entry.
pub(super) struct Payload {
    pub(super) version: SourceVersion,
    /// The update. `None` means that the entry is parked as invalid, or that the bridge cannot read the stored update, or
    /// that the columns of the entry are not those with which the update was sealed.
    pub(super) update: Option<Update>,
    /// The customer ids in the event. `None` means that the entry is parked as invalid, or that the columns are damaged.
    pub(super) customer: Option<CustomerRef>,
    pub(super) jump_max: Option<u64>,
    pub(super) event: Vec<u8>,
}

/// Reads the payload of an entry in this state. `key` is the key of the entry's lane.
pub(super) fn read(
    connection: &StoreConnection,
    state: State,
    entry: EntryId,
    key: Option<&LaneKey>,
) -> rusqlite::Result<Option<Payload>> {
    let Some(table) = table(state) else {
        return Ok(None);
    };
    connection
        .prepare_cached(&format!(
            "SELECT epoch, value, facts, event, partner, stated, jump_max, lane FROM {table} WHERE entry = ?1"
        ))?
        .query_row([entry.0], |row| {
            let sealer = connection.sealer();
            let update = row.get_ref(2)?.as_bytes().unwrap_or_default();
            let event = row.get_ref(3)?.as_blob()?;
            let event = codec::decode_bytes(sealer, BlobKind::Event, entry.0, event);
            let route = columns::route(row, LaneId(columns::or_default(row, 7)), [0, 1, 5, 6]);
            let stored = codec::decode_update(sealer, entry.0, update).ok();
            let stored = stored.filter(|stored| route.is_ok_and(|route| stored.is_at(&route)));
            let column: Option<String> = columns::or_default(row, 4);
            let sealed = stored.as_ref().and_then(|stored| stored.partner.as_ref());
            let customer = CustomerColumns {
                partner: sealed.map(PartnerCustomerId::as_str).or(column.as_deref()),
                names_imprint_id: columns::or_default(row, 5),
            };
            Ok(Payload {
                version: SourceVersion {
                    epoch: row.get(0)?,
                    value: row.get(1)?,
                },
                customer: key.and_then(|key| codec::customer(key, &customer)),
                update: stored.map(|stored| stored.update),
                jump_max: columns::or_default(row, 6),
                event: event.map_err(unreadable)?.into_owned(),
            })
        })
        .optional()
}
