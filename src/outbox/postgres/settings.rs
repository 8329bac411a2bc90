//! The settings in the store, which all replicas share.

use std::rc::Rc;

use tokio_postgres::types::Type;

use super::PostgresOutbox;
use super::columns::{from_text, get, to_text};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use crate::outbox::codec::{self, BlobKind, StoredText};
use crate::outbox::sealer::Sealer;
use crate::outbox::{Setting, Settings, StoreFuture};

pub(super) async fn store(
    db: &Connected,
    sealer: &Sealer,
    setting: Setting,
    value: &str,
) -> Result<(), DbFault> {
    let value = match setting {
        Setting::Evidence => codec::encode_text(sealer, BlobKind::Evidence, 0, value)?,
        Setting::DestinationMode
        | Setting::ThrottledUntil
        | Setting::Destination
        | Setting::LastBackup
        | Setting::SourceOrders
        | Setting::OpenBrakes
        | Setting::LastEvents => StoredText::Plain(value),
    };
    let sql = "INSERT INTO imprint_bridge.meta (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let value = from_text(value);
    let params = (setting.name(), value);
    db.execute(sql, &[(&params.0, Type::TEXT), (&params.1, Type::BYTEA)])
        .await?;
    Ok(())
}

/// Replaces a plain setting if its value is still `known`. Returns whether it was. The caller knows a damaged optional value as
/// an empty text.
async fn replace(
    db: &Connected,
    setting: Setting,
    known: Option<&str>,
    value: &str,
) -> Result<bool, DbFault> {
    let is_replaced = replace_known(db, setting, known, value).await?;
    match known == Some("") && !is_replaced {
        true => replace_damaged(db, setting, value).await,
        false => Ok(is_replaced),
    }
}

async fn replace_damaged(db: &Connected, setting: Setting, value: &str) -> Result<bool, DbFault> {
    let name = setting.name();
    let sql = "SELECT value FROM imprint_bridge.meta WHERE name = $1";
    let Some(row) = db.query_opt(sql, &[(&name, Type::TEXT)]).await? else {
        return Ok(false);
    };
    let stored: &[u8] = get(&row, 0)?;
    if let Some(StoredText::Plain(_)) = to_text(stored) {
        return Ok(false);
    }
    let value = from_text(StoredText::Plain(value));
    let sql = "UPDATE imprint_bridge.meta SET value = $2 WHERE name = $1 AND value = $3";
    let replaced = db
        .execute(
            sql,
            &[
                (&name, Type::TEXT),
                (&value, Type::BYTEA),
                (&stored, Type::BYTEA),
            ],
        )
        .await?;
    Ok(replaced > 0)
}

async fn replace_known(
    db: &Connected,
    setting: Setting,
    known: Option<&str>,
    value: &str,
) -> Result<bool, DbFault> {
    let name = setting.name();
    let value = from_text(StoredText::Plain(value));
    let replaced = match known.map(|known| from_text(StoredText::Plain(known))) {
        Some(known) => {
            let sql = "UPDATE imprint_bridge.meta SET value = $2 WHERE name = $1 AND value = $3";
            db.execute(
                sql,
                &[
                    (&name, Type::TEXT),
                    (&value, Type::BYTEA),
                    (&known, Type::BYTEA),
                ],
            )
            .await?
        }
        None => {
            let sql = "INSERT INTO imprint_bridge.meta (name, value) VALUES ($1, $2)
                 ON CONFLICT (name) DO NOTHING";
            db.execute(sql, &[(&name, Type::TEXT), (&value, Type::BYTEA)])
                .await?
        }
    };
    Ok(replaced > 0)
}

/// Reads a setting. Evidence that the bridge cannot read, because it is damaged or its sealing key is missing, does not
/// exist: dispatch collects evidence again. Another optional setting without a readable text is an empty text.
pub(super) async fn read(
    db: &Connected,
    sealer: &Sealer,
    setting: Setting,
) -> Result<Option<String>, DbFault> {
    let sql = "SELECT value FROM imprint_bridge.meta WHERE name = $1";
    let Some(row) = db.query_opt(sql, &[(&setting.name(), Type::TEXT)]).await? else {
        return Ok(None);
    };
    let stored = to_text(get(&row, 0)?);
    if setting == Setting::Evidence {
        let text = stored
            .and_then(|stored| codec::decode_text(sealer, BlobKind::Evidence, 0, &stored).ok());
        return Ok(text);
    }
    match stored {
        Some(StoredText::Plain(text)) => Ok(Some(text.to_owned())),
        Some(StoredText::Sealed(_)) | None if setting.is_optional() => Ok(Some(String::new())),
        // The start would take the absent setting for a new store, and overwrite it.
        Some(StoredText::Sealed(_)) | None => Err(DbFault::Damaged(setting.name())),
    }
}

impl Settings for PostgresOutbox {
    fn store_setting(&self, setting: Setting, value: String) -> StoreFuture<'_, ()> {
        self.run(async move |engine: Rc<Engine>| {
            let sealer = &engine.sealer;
            engine
                .act(async |db: &Connected| store(db, sealer, setting, &value).await)
                .await
        })
    }

    fn replace_setting(
        &self,
        setting: Setting,
        known: Option<String>,
        value: String,
    ) -> StoreFuture<'_, bool> {
        self.run(async move |engine: Rc<Engine>| {
            if setting == Setting::Evidence {
                return Ok(false);
            }
            engine
                .act(async |db: &Connected| replace(db, setting, known.as_deref(), &value).await)
                .await
        })
    }

    fn setting(&self, setting: Setting) -> StoreFuture<'_, Option<String>> {
        self.read(async move |engine: Rc<Engine>| {
            let sealer = &engine.sealer;
            engine
                .read(async |db: &Connected| read(db, sealer, setting).await)
                .await
        })
    }
}
