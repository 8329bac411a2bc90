//! Verifies a store: its layout, the audit log, the rows that belong together, and every sealed record. Changes nothing.
//!
//! Bridges can use the store meanwhile. Each row is then in the state of one commit, and a record that appears behind the
//! walk is not opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::bound_updates;
use super::columns::{get, size, to_text, unsigned};
use super::command_database::CommandDatabase;
use super::connection::{Connected, Params};
use super::database_address::DatabaseAddress;
use super::fault::DbFault;
use super::open_error::PostgresOpenError;
use super::sealed_columns::{ROWS_MAX, SEALED, SealedColumns};
use super::snapshot::in_snapshot;
use super::{audit, layout, references, schema, sealing_keys};
use crate::outbox::codec::{self, BlobKind, CodecError, StoredText};
use crate::outbox::keyed_digest::{CustomerDigests, KeyedDigest};
use crate::outbox::sealer::{Sealer, UsedKey};
use crate::outbox::store_layout::LayoutDifferences;
use crate::outbox::stored_value::{self, Binding, Record, StoredValue};
use crate::outbox::{
    AuditProof, ENTRY_MAX, Finding, PlainSettings, RecordReport, Setting, VerifyReport,
};
use crate::sealing::KeyRing;

/// The result of opening one value.
type OpenedValue = Result<Option<UsedKey>, CodecError>;

/// The place at which the walk through the records continues.
enum VerifyPlace {
    /// A table of [`SEALED`], and the last row before the place.
    Numbered(usize, u64),
    /// The identity links, and the digest of the last link before the place.
    Links(Vec<u8>),
    Evidence,
}

/// Verifies the store in a database. Returns `None` if the database has no store.
///
/// `proof` is what the caller knows about the audit log. `progress` gets the number of opened records several times.
///
/// # Errors
/// Returns an error if the process cannot read the store.
pub fn verify_database(
    address: DatabaseAddress,
    proof: &AuditProof,
    ring: &Arc<KeyRing>,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<(VerifyReport, RecordReport)>, PostgresOpenError> {
    let database = CommandDatabase::new(address)?;
    let failed = PostgresOpenError::of("verifying the store");
    let Some(differences) = differences(&database)? else {
        return Ok(None);
    };
    if !differences.tables.is_empty() {
        let errors = differences.tables.iter().map(Finding::to_string);
        let report = VerifyReport::without_tables(errors.collect());
        return Ok(Some((report, RecordReport::default())));
    }
    let sealer = Sealer::new(Arc::clone(ring), BTreeSet::new());
    let begun = database.query(async |db| {
        sealer.replace(sealer.ring(), sealing_keys::used(db).await?);
        let report = in_snapshot(db, async |db| report(db, &sealer, proof).await).await?;
        Ok((report, sealing_keys::examine_digest_key(db, &sealer).await?))
    });
    let (mut report, (digest_key, key)) = begun.map_err(&failed)?;
    let is_lost = |error: &CodecError| error.missing_key().is_none();
    let lost_key = digest_key.as_ref().is_err_and(is_lost);
    let lost_key = lost_key.then(|| Finding::Damaged("digest key".to_owned()));
    let found = differences.others.iter().chain(&lost_key);
    report.errors.extend(found.map(Finding::to_string));
    report.is_layout_unknown = differences.are_unknown;
    let digests = key.map(|key| CustomerDigests::new(&key));
    let mut records = RecordReport::default();
    records.add(digest_key);
    let mut place = Some(VerifyPlace::Numbered(0, 0));
    while let Some(from) = place {
        let stepped = database.query(async |db| {
            // A bridge possibly begins to seal with another key meanwhile.
            sealer.replace(sealer.ring(), sealing_keys::used(db).await?);
            let keys = (&sealer, digests.as_ref());
            Verification { db, keys }.step(&from).await
        });
        let (opened, next) = stepped.map_err(&failed)?;
        opened.into_iter().for_each(|opened| records.add(opened));
        progress(records.total());
        place = next;
    }
    Ok(Some((report, records)))
}

/// Compares the layout of the store. Returns `None` if the database has no store.
fn differences(database: &CommandDatabase) -> Result<Option<LayoutDifferences>, PostgresOpenError> {
    let failed = PostgresOpenError::of("comparing the layout of the store");
    let found = database.query(async |db| schema::find_if_any(db).await);
    let Some(found) = found.map_err(&failed)? else {
        let has_parts = database.query(async |db| schema::has_parts(db).await);
        let missing = Finding::Missing("table layout".to_owned());
        return Ok(has_parts.map_err(failed)?.then(|| LayoutDifferences {
            tables: vec![missing],
            ..LayoutDifferences::default()
        }));
    };
    found.expect_readable()?;
    let expected = database.query(async |db| layout::expected(db).await);
    let expected = expected.map_err(&failed)?;
    let differences = database.query(async |db| expected.differences(db).await);
    Ok(Some(differences.map_err(failed)?))
}

/// Verifies the audit log, the settings, and the rows that belong together.
async fn report(
    db: &Connected,
    sealer: &Sealer,
    proof: &AuditProof,
) -> Result<VerifyReport, DbFault> {
    let max = VerifyReport::AUDIT_RECORDS_MAX;
    let records = audit::read(db, sealer, &proof.keys, (0, max)).await?;
    let last_number = audit::last_number(db).await?;
    let mut report = VerifyReport::of_audit(&records, proof, last_number.unwrap_or_default());
    if last_number.is_none() {
        let error = "the store has lost the number of the newest record of the audit log";
        report.errors.push(error.to_owned());
    }
    let settings = settings(db).await?;
    let references = references::errors(db).await?;
    let found = settings.damaged.iter().chain(&references);
    report.errors.extend(found.map(Finding::to_string));
    let sql = "SELECT (SELECT count(*) FROM imprint_bridge.entry),
         (SELECT count(*) FROM imprint_bridge.payload WHERE state = 0),
         (SELECT count(*) FROM imprint_bridge.payload WHERE state = 4)";
    let row = db.query_opt(sql, &[]).await?;
    let row = row.ok_or(DbFault::Damaged("entry"))?;
    Ok(VerifyReport {
        entries: unsigned(get(&row, 0)?),
        waiting: unsigned(get(&row, 1)?),
        parked: unsigned(get(&row, 2)?),
        settings: settings.texts,
        ..report
    })
}

/// Reads the plain settings. A setting that is no text is damaged.
async fn settings(db: &Connected) -> Result<PlainSettings, DbFault> {
    let mut settings = PlainSettings::default();
    for setting in Setting::PLAIN {
        let name = setting.name();
        let sql = "SELECT value FROM imprint_bridge.meta WHERE name = $1";
        let Some(row) = db.query_opt(sql, &[(&name, Type::TEXT)]).await? else {
            continue;
        };
        match to_text(get(&row, 0)?) {
            Some(StoredText::Plain(text)) => settings.texts.push((setting, text.to_owned())),
            Some(StoredText::Sealed(_)) | None => {
                let damaged = Finding::Damaged(format!("setting {name}"));
                settings.damaged.push(damaged);
            }
        }
    }
    Ok(settings)
}

struct Verification<'a> {
    db: &'a Connected,
    keys: (&'a Sealer, Option<&'a CustomerDigests>),
}

impl Verification<'_> {
    /// Opens the values of the next rows. Returns the results, and the place of the next step, or `None` at the end of the
    /// store.
    async fn step(
        &self,
        from: &VerifyPlace,
    ) -> Result<(Vec<OpenedValue>, Option<VerifyPlace>), DbFault> {
        match from {
            VerifyPlace::Numbered(place, after) => match SEALED.get(*place) {
                Some(table) => {
                    let (opened, last) = self.numbered(table, *after).await?;
                    let next = match last {
                        Some(last) => VerifyPlace::Numbered(*place, last),
                        None => VerifyPlace::Numbered(place.saturating_add(1), 0),
                    };
                    Ok((opened, Some(next)))
                }
                None => Ok((Vec::new(), Some(VerifyPlace::Links(Vec::new())))),
            },
            VerifyPlace::Links(after) => {
                let (opened, last) = self.links(after).await?;
                let next = last.map_or(VerifyPlace::Evidence, VerifyPlace::Links);
                Ok((opened, Some(next)))
            }
            VerifyPlace::Evidence => Ok((self.evidence().await?, None)),
        }
    }

    async fn numbered(
        &self,
        table: &SealedColumns,
        after: u64,
    ) -> Result<(Vec<OpenedValue>, Option<u64>), DbFault> {
        let rows = table.rows(self.db, (after, ENTRY_MAX), "").await?;
        let mut opened = Vec::new();
        for row in &rows {
            let record = Record {
                number: unsigned(get(row, 0)?),
                binding: binding(table, row)?,
            };
            for (column, (_, kind)) in (1..).zip(table.columns) {
                let value = value(*kind, get(row, column)?);
                opened.push(stored_value::open(self.keys, *kind, record, value));
            }
        }
        let last = rows.last().map(|row| get(row, 0).map(unsigned));
        Ok((opened, last.transpose()?))
    }

    async fn links(&self, after: &[u8]) -> Result<(Vec<OpenedValue>, Option<Vec<u8>>), DbFault> {
        let sql = "SELECT partner, imprint, ids FROM imprint_bridge.link WHERE partner > $1 ORDER BY partner LIMIT $2";
        let max = size(ROWS_MAX);
        let params: Params<'_> = &[(&after, Type::BYTEA), (&max, Type::INT8)];
        let rows = self.db.query(sql, params).await?;
        let mut opened = Vec::new();
        for row in &rows {
            opened.push(self.link(get(row, 0)?, get(row, 1)?, get(row, 2)?));
        }
        let last = rows.last().map(|row| get(row, 0));
        Ok((opened, last.transpose()?))
    }

    /// Opens a link, and compares its ids with the digests by which the store finds it.
    fn link(&self, partner: &[u8], imprint: Option<&[u8]>, stored: &[u8]) -> OpenedValue {
        let kind = BlobKind::LinkIds;
        let Ok(digest) = KeyedDigest::try_from(partner) else {
            return Err(CodecError::OtherRoute { kind, record: 0 });
        };
        let (sealer, digests) = self.keys;
        let record = codec::link_record(&digest);
        let ids = codec::decode_link(sealer, &digest, stored)?;
        let ids = ids.ok_or(CodecError::NoText { kind, record })?;
        let is_found = digests.is_none_or(|digests| {
            let of_imprint = ids.imprint.as_ref().map(codec::imprint_columns);
            let of_imprint = of_imprint.map(|columns| digests.of(&columns));
            digests.of(&codec::partner_columns(&ids.partner)) == digest
                && of_imprint.as_ref().map(KeyedDigest::as_slice) == imprint
        });
        match is_found {
            true => Ok(UsedKey::of_blob(stored)),
            false => Err(CodecError::OtherRoute { kind, record }),
        }
    }

    async fn evidence(&self) -> Result<Vec<OpenedValue>, DbFault> {
        let name = Setting::Evidence.name();
        let sql = "SELECT value FROM imprint_bridge.meta WHERE name = $1";
        let row = self.db.query_opt(sql, &[(&name, Type::TEXT)]).await?;
        let stored: Option<&[u8]> = row.as_ref().map(|row| get(row, 0)).transpose()?;
        let kind = BlobKind::Evidence;
        let value = value(kind, stored);
        let opened = stored_value::open(self.keys, kind, Record::numbered(0), value);
        Ok(vec![opened])
    }
}

/// Reads what the values of a row are bound to. The columns follow the values.
fn binding(table: &SealedColumns, row: &Row) -> Result<Binding, DbFault> {
    let first = table.columns.len().saturating_add(1);
    Ok(match table.table {
        "payload" => {
            let columns = [1, 2, 3, 4, 5].map(|next| first.saturating_add(next));
            let route = bound_updates::route(row, columns)?;
            route.map_or(Binding::Damaged, Binding::Route)
        }
        "lane" => {
            let kind: i16 = get(row, first)?;
            let customer: &[u8] = get(row, first.saturating_add(1))?;
            let digest = KeyedDigest::try_from(customer);
            digest.map_or(Binding::Damaged, |digest| {
                Binding::Customer(kind.into(), digest)
            })
        }
        _ => Binding::None,
    })
}

/// Returns the stored value of a column. The update of an invalid event is empty, and a tombstone has no customer id.
fn value(kind: BlobKind, stored: Option<&[u8]>) -> StoredValue<'_> {
    let Some(stored) = stored.filter(|stored| !stored.is_empty()) else {
        return StoredValue::None;
    };
    match to_text(stored).filter(|_| kind.is_text()) {
        Some(StoredText::Plain(text)) => StoredValue::Text(text.as_bytes()),
        Some(StoredText::Sealed(_)) => StoredValue::Blob(stored),
        None if kind.is_text() => StoredValue::Other,
        None => StoredValue::Blob(stored),
    }
}
