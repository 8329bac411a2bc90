//! Seals the values of the store again: the values that are not sealed with the newest key.
//!
//! One pass goes through all tables in small steps. Each step is one transaction. New values are sealed with the newest key.
//! But a transaction in progress, or another replica that does not have the newest key yet, possibly adds a value with an old
//! key behind the pass. The store therefore forgets the old keys only after a pass that has found no such value.

use std::collections::BTreeSet;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::{get, number, size, to_text, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::sealed_columns::{ROWS_MAX, SEALED, SealedColumns, ends, link_digest};
use super::{bound_updates, sealing_keys};
use crate::failpoint::{self, CrashPoint};
use crate::outbox::codec::{self, BlobKind, StoredText};
use crate::outbox::keyed_digest::KeyedDigest;
use crate::outbox::sealer::{Sealer, UsedKey};
use crate::outbox::{Error, SealingStatus, Setting};

/// The part of the store at which a pass is, and the last row before the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SealingPlace {
    /// A table of [`SEALED`].
    Numbered(usize, u64),
    Links(Option<KeyedDigest>),
    End,
}

/// A pass through the store.
#[derive(Clone, Debug)]
pub(super) struct SealingPass {
    newest: UsedKey,
    /// The keys that no value needs after the pass.
    old: BTreeSet<UsedKey>,
    place: SealingPlace,
    /// The highest numbers of the tables at the beginning of the pass. Without these numbers, a pass would never end while
    /// events arrive.
    ends: [u64; SEALED.len()],
    /// The number of values that this pass has sealed again.
    sealed: u64,
    /// True if this pass only looks for values behind the pass before.
    is_second: bool,
}

/// Does the next step. Returns whether values are possibly left.
pub(super) async fn reseal(engine: &Engine) -> Result<bool, Error> {
    let mut slot = engine.resealing.lock().await;
    let pass = match slot.take() {
        Some(pass) => Some(pass),
        None => engine.snapshot(async |db| begin(db, engine).await).await?,
    };
    let Some(pass) = pass else {
        return Ok(false);
    };
    let stepped = engine.act(async |db: &Connected| {
        let next = pass.step(db, engine).await?;
        failpoint::crash_point(CrashPoint::BeforeReseal);
        Ok(next)
    });
    let next = match stepped.await {
        Ok(next) => next,
        Err(error) => {
            *slot = Some(pass);
            return Err(error);
        }
    };
    failpoint::crash_point(CrashPoint::AfterReseal);
    if next.place != SealingPlace::End {
        publish(engine, Some(&next));
        *slot = Some(next);
        return Ok(true);
    }
    if next.sealed > 0 && !next.is_second {
        let second = engine.snapshot(async |db| begin(db, engine).await).await?;
        *slot = second.map(|second| SealingPass {
            is_second: true,
            ..second
        });
        return Ok(slot.is_some());
    }
    end(engine, &next).await?;
    publish(engine, None);
    Ok(false)
}

/// Begins a pass. Returns `None` if every readable value is already sealed with the newest key.
async fn begin(db: &Connected, engine: &Engine) -> Result<Option<SealingPass>, DbFault> {
    let ring = engine.sealer.ring();
    let newest = UsedKey::newest(&ring);
    let used = engine.sealer.used().into_iter();
    let old = used.filter(|key| *key != newest && key.is_readable(&ring));
    let old: BTreeSet<UsedKey> = old.collect();
    if old.is_empty() {
        return Ok(None);
    }
    Ok(Some(SealingPass {
        newest,
        old,
        place: SealingPlace::Numbered(0, 0),
        ends: ends(db).await?,
        sealed: 0,
        is_second: false,
    }))
}

/// Ends a pass.
async fn end(engine: &Engine, pass: &SealingPass) -> Result<(), Error> {
    if pass.sealed > 0 {
        tracing::warn!(
            sealed = pass.sealed,
            "another replica still seals records with an old key; the store keeps the old key in its list"
        );
        return Ok(());
    }
    let forget = async |db: &Connected| sealing_keys::forget(db, &pass.old).await;
    let used = engine.act(forget).await?;
    engine.sealer.replace(engine.sealer.ring(), used);
    tracing::info!(
        "the bridge has sealed every record of the store that it can read with the newest key"
    );
    Ok(())
}

/// Publishes the state of the sealing.
pub(super) fn publish(engine: &Engine, pass: Option<&SealingPass>) {
    let status = SealingStatus::of(&engine.sealer.ring(), &engine.sealer.used());
    engine.shared.set_sealing(SealingStatus {
        locked_lanes: engine.claims.borrow().locked(),
        left: pass.map_or(0, SealingPass::left),
        ..status
    });
}

impl SealingPass {
    /// Returns the number of rows at which the pass has not looked yet. All identity links together count as one.
    fn left(&self) -> u64 {
        match self.place {
            SealingPlace::Numbered(table, after) => {
                let ends = self.ends.iter().skip(table);
                let all = ends.fold(1, |all: u64, end| all.saturating_add(*end));
                all.saturating_sub(after)
            }
            SealingPlace::Links(_) => 1,
            SealingPlace::End => 0,
        }
    }

    async fn step(&self, db: &Connected, engine: &Engine) -> Result<Self, DbFault> {
        let step = SealingStep {
            db,
            sealer: &engine.sealer,
            newest: self.newest,
        };
        let (sealed, place) = match self.place {
            SealingPlace::Numbered(place, after) => {
                let table = SEALED.get(place).zip(self.ends.get(place));
                let (sealed, last) = match table {
                    Some((table, end)) => step.numbered(table, (after, *end)).await?,
                    None => (0, None),
                };
                let next = place.saturating_add(1);
                let place = match last {
                    Some(last) => SealingPlace::Numbered(place, last),
                    None if next < SEALED.len() => SealingPlace::Numbered(next, 0),
                    None => SealingPlace::Links(None),
                };
                (sealed, place)
            }
            SealingPlace::Links(after) => match step.links(after).await? {
                (sealed, Some(last)) => (sealed, SealingPlace::Links(Some(last))),
                (sealed, None) => (
                    sealed.saturating_add(step.evidence().await?),
                    SealingPlace::End,
                ),
            },
            SealingPlace::End => (0, SealingPlace::End),
        };
        failpoint::crash_point(CrashPoint::BeforeReseal);
        Ok(Self {
            place,
            sealed: self.sealed.saturating_add(sealed),
            ..self.clone()
        })
    }
}

struct SealingStep<'a> {
    db: &'a Connected,
    sealer: &'a Sealer,
    newest: UsedKey,
}

impl SealingStep<'_> {
    /// Seals the values of the next rows of a table. Returns the number of sealed values, and the last row, or `None` if no
    /// row is left.
    async fn numbered(
        &self,
        sealed: &SealedColumns,
        (after, end): (u64, u64),
    ) -> Result<(u64, Option<u64>), DbFault> {
        let rows = sealed.rows(self.db, (after, end), "FOR UPDATE").await?;
        let mut count: u64 = 0;
        for (column, (name, kind)) in (1..).zip(sealed.columns) {
            let (mut records, mut values) = (Vec::new(), Vec::new());
            for row in &rows {
                let record = unsigned(get(row, 0)?);
                let stored: Option<&[u8]> = get(row, column)?;
                let after = sealed.columns.len().saturating_add(1);
                let bound = match name {
                    &"facts" => self.bind((row, after), record, stored)?,
                    _ => None,
                };
                let value = match bound {
                    Some(bound) => Some(bound),
                    None => self.seal_again(*kind, record, stored)?,
                };
                records.extend(value.is_some().then_some(number(record)));
                values.extend(value);
            }
            count = count.saturating_add(unsigned(size(records.len())));
            self.write(sealed, name, (&records, &values)).await?;
        }
        let last = rows.last().map(|row| get(row, 0).map(unsigned));
        Ok((count, last.transpose()?))
    }

    async fn write(
        &self,
        sealed: &SealedColumns,
        name: &str,
        (records, values): (&[i64], &[Vec<u8>]),
    ) -> Result<(), DbFault> {
        if records.is_empty() {
            return Ok(());
        }
        let partner = match name {
            "facts" => ", partner = NULL",
            _ => "",
        };
        let (table, id) = (sealed.table, sealed.number);
        let sql = format!(
            "UPDATE imprint_bridge.{table} AS t SET {name} = u.value{partner}
             FROM unnest($1::bigint[], $2::bytea[]) AS u(record, value) WHERE t.{id} = u.record"
        );
        self.db
            .execute(
                &sql,
                &[(&records, Type::INT8_ARRAY), (&values, Type::BYTEA_ARRAY)],
            )
            .await?;
        Ok(())
    }

    /// Seals the next identity links. Returns the number of sealed links, and the last one, or `None` if no link is left.
    async fn links(
        &self,
        after: Option<KeyedDigest>,
    ) -> Result<(u64, Option<KeyedDigest>), DbFault> {
        let after = after.as_ref().map_or(&[][..], |digest| digest.as_slice());
        let sql = "SELECT partner, ids FROM imprint_bridge.link WHERE partner > $1 ORDER BY partner LIMIT $2 FOR UPDATE";
        let max = size(ROWS_MAX);
        let rows = self
            .db
            .query(sql, &[(&after, Type::BYTEA), (&max, Type::INT8)])
            .await?;
        let (mut partners, mut values) = (Vec::new(), Vec::new());
        for row in &rows {
            let partner = link_digest(row)?;
            let record = codec::link_record(&partner);
            if let Some(value) = self.seal_again(BlobKind::LinkIds, record, get(row, 1)?)? {
                partners.push(partner.to_vec());
                values.push(value);
            }
        }
        let sql = "UPDATE imprint_bridge.link AS l SET ids = u.ids
             FROM unnest($1::bytea[], $2::bytea[]) AS u(partner, ids) WHERE l.partner = u.partner";
        self.db
            .execute(
                sql,
                &[(&partners, Type::BYTEA_ARRAY), (&values, Type::BYTEA_ARRAY)],
            )
            .await?;
        let last = rows.last().map(link_digest).transpose()?;
        Ok((unsigned(size(partners.len())), last))
    }

    /// Seals the stored evidence. Returns the number of sealed values.
    async fn evidence(&self) -> Result<u64, DbFault> {
        let name = Setting::Evidence.name();
        let sql = "SELECT value FROM imprint_bridge.meta WHERE name = $1 FOR UPDATE";
        let row = self.db.query_opt(sql, &[(&name, Type::TEXT)]).await?;
        let stored = row.as_ref().map(|row| get(row, 0)).transpose()?;
        let Some(value) = self.seal_again(BlobKind::Evidence, 0, stored)? else {
            return Ok(0);
        };
        let sql = "UPDATE imprint_bridge.meta SET value = $2 WHERE name = $1";
        self.db
            .execute(sql, &[(&name, Type::TEXT), (&value, Type::BYTEA)])
            .await?;
        Ok(1)
    }

    /// Binds an update to what routes and orders it, and moves the CRM's id into the sealed update. The columns of the row
    /// begin at `column`. Returns `None` if nothing is missing, or if the update cannot be read.
    fn bind(
        &self,
        (row, column): (&Row, usize),
        entry: u64,
        stored: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, DbFault> {
        let columns = [1, 2, 3, 4, 5].map(|next| column.saturating_add(next));
        let Some(route) = bound_updates::route(row, columns)? else {
            return Ok(None);
        };
        let parts = (stored.unwrap_or_default(), get(row, column)?);
        Ok(codec::bind(self.sealer, entry, parts, &route)?)
    }

    /// Seals a stored value again. Returns `None` if the value must stay as it is.
    fn seal_again(
        &self,
        kind: BlobKind,
        record: u64,
        stored: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, DbFault> {
        // The update of an invalid event is empty.
        let Some(stored) = stored.filter(|stored| !stored.is_empty()) else {
            return Ok(None);
        };
        let key = UsedKey::of_blob(stored);
        if key.is_none() || key == Some(self.newest) {
            return Ok(None);
        }
        let plain: Option<Vec<u8>> = match to_text(stored).filter(|_| kind.is_text()) {
            Some(text @ StoredText::Plain(_)) => {
                codec::decode_text(self.sealer, kind, record, &text)
                    .ok()
                    .map(String::into_bytes)
            }
            Some(StoredText::Sealed(_)) | None => {
                let plain = codec::decode_bytes(self.sealer, kind, record, stored);
                plain.ok().map(std::borrow::Cow::into_owned)
            }
        };
        match plain {
            Some(plain) => Ok(codec::seal(self.sealer, kind, record, &plain)?),
            None => Ok(None),
        }
    }
}
