//! Seals the blobs of the store again: the blobs that are not sealed with the newest key.
//!
//! One pass goes through all entries, then through all lanes, then through all identity links, then through the audit log,
//! in small steps. Each step is one transaction. An entry keeps its number when it moves to another table, and one step
//! looks at an entry in all tables, so no entry can escape the pass. New blobs are sealed with the newest key, so one pass is
//! enough. A pass that a restart has ended begins again, and skips the blobs that are already sealed with the newest key.

use std::collections::BTreeSet;

use rusqlite::params;
use rusqlite::types::ValueRef;

use self::ids::LinkPlace;
use super::store_connection::StoreConnection;
use super::{columns, erase, sealing_keys};
use crate::outbox::codec::{self, BlobKind, StoredText};
use crate::outbox::sealer::UsedKey;

mod ids;

/// The maximum number of rows with blobs that one step reads. A step then takes a few milliseconds.
const STEP_ROWS_MAX: u64 = 256;
/// The size of the events after which one step ends.
const STEP_BYTES_MAX: u64 = 1024 * 1024;
/// The maximum number of entry or lane numbers that one step covers. Most entries of an old store have ended, and have no
/// blob.
const STEP_NUMBERS_MAX: u64 = 10_000;

/// The name of the mark in the table `meta` of a store with updates of an older program.
const UNBOUND: &str = "unbound_updates";

/// The tables with the blobs of entries that have not ended.
const PAYLOAD_TABLES: [&str; 4] = ["waiting", "held", "undecided", "parked"];

/// The part of the store at which a pass is, and the number after which the next step begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PassPlace {
    Entries(u64),
    Lanes(u64),
    Links(LinkPlace),
    AuditRecords(u64),
    End,
}

/// A pass through the store.
#[derive(Clone, Debug)]
pub(super) struct ResealPass {
    newest: UsedKey,
    /// The keys that no blob needs after the pass.
    old: BTreeSet<UsedKey>,
    /// True if some updates are possibly not bound to what routes and orders them.
    binds: bool,
    place: PassPlace,
    /// The highest numbers of entries, lanes and audit records at the beginning of the pass. Later blobs are sealed with
    /// the newest key. Without these numbers, a pass would never end while events arrive.
    ends: [u64; 3],
    /// The number of blobs that the pass has sealed again.
    pub(super) sealed: u64,
}

impl ResealPass {
    /// Begins a pass. Returns `None` if every readable blob is already sealed with the newest key, and every update is bound.
    pub(super) fn begin(store: &StoreConnection) -> rusqlite::Result<Option<Self>> {
        let ring = store.sealer().ring();
        let newest = UsedKey::newest(&ring);
        let used = store.sealer().used().into_iter();
        let old = used.filter(|key| *key != newest && key.is_readable(&ring));
        let old: BTreeSet<_> = old.collect();
        let binds = has_unbound(store)?;
        if old.is_empty() && !binds {
            return Ok(None);
        }
        let highest = |sql| store.query_row(sql, [], |row| Ok(columns::or_default(row, 0)));
        Ok(Some(Self {
            newest,
            binds: binds || old.contains(&UsedKey::Plain),
            old,
            place: PassPlace::Entries(0),
            ends: [
                highest("SELECT max(id) FROM entry")?,
                highest("SELECT max(id) FROM lane")?,
                highest("SELECT max(number) FROM act")?,
            ],
            sealed: 0,
        }))
    }

    /// Returns whether the pass has looked at every blob.
    pub(super) fn has_ended(&self) -> bool {
        self.place == PassPlace::End
    }

    /// Does the next step of the pass in the open transaction, and returns the state of the pass afterwards.
    pub(super) fn step(&self, store: &StoreConnection) -> rusqlite::Result<Self> {
        let mut step = ResealStep {
            store,
            newest: self.newest,
            binds: self.binds,
            sealed: 0,
            has_erased: false,
        };
        let [entries, lanes, records] = self.ends;
        let place = match self.place {
            PassPlace::Entries(after) => match step.entries(after, entries)? {
                Some(last) => PassPlace::Entries(last),
                None => PassPlace::Lanes(0),
            },
            PassPlace::Lanes(after) => match step.lanes(after, lanes)? {
                Some(last) => PassPlace::Lanes(last),
                None => PassPlace::Links(LinkPlace::Plain),
            },
            PassPlace::Links(place) => match step.links(place)? {
                Some(next) => PassPlace::Links(next),
                None => PassPlace::AuditRecords(0),
            },
            PassPlace::AuditRecords(after) => match step.audit_records(after, records)? {
                Some(last) => PassPlace::AuditRecords(last),
                None => {
                    step.evidence()?;
                    sealing_keys::forget(store, &self.old)?;
                    if self.binds {
                        store.execute("DELETE FROM meta WHERE name = ?1", [UNBOUND])?;
                    }
                    PassPlace::End
                }
            },
            PassPlace::End => PassPlace::End,
        };
        if step.has_erased {
            // SQLite does not overwrite every remain of a row that has grown. The next start rewrites the store.
            erase::unmark(store)?;
        }
        Ok(Self {
            place,
            sealed: self.sealed.saturating_add(step.sealed),
            ..self.clone()
        })
    }

    /// Returns the number of entries, lanes and audit records at which the pass has not looked yet. All identity links
    /// together count as one: they have no numbers.
    pub(super) fn left(&self) -> u64 {
        let [entries, lanes, records] = self.ends;
        let all = |some: [u64; 4]| some.into_iter().fold(0, u64::saturating_add);
        match self.place {
            PassPlace::Entries(after) => all([entries.saturating_sub(after), lanes, 1, records]),
            PassPlace::Lanes(after) => all([0, lanes.saturating_sub(after), 1, records]),
            PassPlace::Links(_) => all([0, 0, 1, records]),
            PassPlace::AuditRecords(after) => records.saturating_sub(after),
            PassPlace::End => 0,
        }
    }
}

/// Returns whether an older program has possibly stored updates that are not bound to what routes and orders them.
fn has_unbound(store: &StoreConnection) -> rusqlite::Result<bool> {
    let mut marked = store.prepare_cached("SELECT 1 FROM meta WHERE name = ?1")?;
    Ok(store.sealer().binds_updates() && marked.exists([UNBOUND])?)
}

/// One step of a pass.
struct ResealStep<'a> {
    store: &'a StoreConnection,
    newest: UsedKey,
    binds: bool,
    sealed: u64,
    /// True if the step has replaced a blob that was not sealed.
    has_erased: bool,
}

impl ResealStep<'_> {
    /// Looks at the next entries. Returns the last number, or `None` if no entry is left.
    fn entries(&mut self, after: u64, end: u64) -> rusqlite::Result<Option<u64>> {
        if after >= end {
            return Ok(None);
        }
        let last = self.last_entry(after, end)?;
        let payload = [
            (1, "facts", BlobKind::Update),
            (2, "event", BlobKind::Event),
        ];
        for table in PAYLOAD_TABLES {
            let select =
                format!("SELECT entry, facts, event FROM {table} WHERE entry > ?1 AND entry <= ?2");
            self.updates(table, (after, last))?;
            self.seal_rows((table, "entry"), &select, (after, last), &payload)?;
        }
        let parked = [
            (1, "errors", BlobKind::EventErrors),
            (2, "detail", BlobKind::ParkedDetail),
        ];
        let select = "SELECT entry, errors, detail FROM parked WHERE entry > ?1 AND entry <= ?2";
        self.seal_rows(("parked", "entry"), select, (after, last), &parked)?;
        let skipped = (1, "skipped", BlobKind::SkippedFields);
        let select =
            "SELECT id, skipped FROM entry WHERE id > ?1 AND id <= ?2 AND skipped IS NOT NULL";
        self.seal_rows(("entry", "id"), select, (after, last), &[skipped])?;
        Ok(Some(last))
    }

    /// Returns the number of the last entry of this step.
    fn last_entry(&self, after: u64, end: u64) -> rusqlite::Result<u64> {
        let end = end.min(after.saturating_add(STEP_NUMBERS_MAX));
        let rows = PAYLOAD_TABLES.map(|table| {
            format!(
                "SELECT * FROM (SELECT entry, length(event) AS bytes FROM {table} WHERE entry > ?1 ORDER BY entry LIMIT ?2)"
            )
        });
        let sql = format!("{} ORDER BY entry LIMIT ?2", rows.join(" UNION ALL "));
        let mut statement = self.store.prepare_cached(&sql)?;
        let mut rows = statement.query(params![after, STEP_ROWS_MAX])?;
        let (mut count, mut bytes) = (0, 0);
        while let Some(row) = rows.next()? {
            let entry: u64 = row.get(0)?;
            count += 1;
            bytes += row.get(1).unwrap_or(0);
            if count == STEP_ROWS_MAX || bytes >= STEP_BYTES_MAX {
                return Ok(entry.min(end));
            }
        }
        Ok(end)
    }

    fn lanes(&mut self, after: u64, end: u64) -> rusqlite::Result<Option<u64>> {
        let Some(last) = self.last(("lane", "id"), (after, end))? else {
            return Ok(None);
        };
        let select = "SELECT id, versions, absence FROM lane WHERE id > ?1 AND id <= ?2
             AND (versions IS NOT NULL OR absence IS NOT NULL)";
        let blobs = [
            (1, "versions", BlobKind::LaneVersions),
            (2, "absence", BlobKind::LaneAbsence),
        ];
        self.seal_rows(("lane", "id"), select, (after, last), &blobs)?;
        self.lane_customers((after, last))?;
        Ok(Some(last))
    }

    fn audit_records(&mut self, after: u64, end: u64) -> rusqlite::Result<Option<u64>> {
        let Some(last) = self.last(("act", "number"), (after, end))? else {
            return Ok(None);
        };
        let reason = (1, "reason", BlobKind::AuditReason);
        let select = "SELECT number, reason FROM act WHERE number > ?1 AND number <= ?2";
        self.seal_rows(("act", "number"), select, (after, last), &[reason])?;
        Ok(Some(last))
    }

    /// Returns the last of the next [`STEP_ROWS_MAX`] numbers in a table, up to `end`. Returns `None` if none is left.
    fn last(
        &self,
        (table, number): (&str, &str),
        (after, end): (u64, u64),
    ) -> rusqlite::Result<Option<u64>> {
        let sql = format!(
            "SELECT max({number}) FROM (SELECT {number} FROM {table} WHERE {number} > ?1 AND {number} <= ?3 ORDER BY {number} LIMIT ?2)"
        );
        let mut statement = self.store.prepare_cached(&sql)?;
        statement.query_row(params![after, STEP_ROWS_MAX, end], |row| row.get(0))
    }

    /// Seals the blobs of some rows again. `blobs` has the column of each blob in `select`, its name and its kind. Leaves a
    /// damaged row, and a blob whose key is missing, as it is.
    fn seal_rows(
        &mut self,
        (table, number): (&str, &str),
        select: &str,
        (after, last): (u64, u64),
        blobs: &[(usize, &str, BlobKind)],
    ) -> rusqlite::Result<()> {
        let mut changes = Vec::new();
        let mut statement = self.store.prepare_cached(select)?;
        let mut rows = statement.query(params![after, last])?;
        while let Some(row) = rows.next()? {
            let Ok(record) = row.get::<_, u64>(0) else {
                continue;
            };
            for (column, name, kind) in blobs {
                let sealed = self.seal_again(*kind, record, row.get_ref(*column)?)?;
                changes.extend(sealed.map(|sealed| (record, *name, sealed)));
            }
        }
        for (record, name, sealed) in changes {
            let size = match name {
                "event" => ", event_bytes = coalesce(event_bytes, length(event))",
                _ => "",
            };
            let sql = format!("UPDATE {table} SET {name} = ?2{size} WHERE {number} = ?1");
            let mut update = self.store.prepare_cached(&sql)?;
            update.execute(params![record, columns::bound_text(&sealed)])?;
            self.sealed = self.sealed.saturating_add(1);
        }
        Ok(())
    }

    /// Seals a stored value again. Returns `None` if the value must stay as it is.
    fn seal_again(
        &mut self,
        kind: BlobKind,
        record: u64,
        stored: ValueRef<'_>,
    ) -> rusqlite::Result<Option<StoredText<'static>>> {
        let sealer = self.store.sealer();
        let plain = match stored {
            // The update of an invalid event is empty.
            ValueRef::Blob([]) => return Ok(None),
            ValueRef::Blob(blob) => {
                let key = UsedKey::of_blob(blob);
                if key.is_none() || key == Some(self.newest) {
                    return Ok(None);
                }
                self.has_erased |= key == Some(UsedKey::Plain);
                codec::decode_bytes(sealer, kind, record, blob).ok()
            }
            ValueRef::Text(text) if self.newest != UsedKey::Plain => {
                self.has_erased = true;
                Some(text.into())
            }
            ValueRef::Text(_) | ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
        };
        let Some(plain) = plain else {
            return Ok(None);
        };
        let sealed = codec::seal(sealer, kind, record, &plain).map_err(columns::unwritable)?;
        Ok(sealed.map(|sealed| StoredText::Sealed(sealed.into())))
    }
}
