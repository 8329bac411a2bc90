//! The SQL statements for identity links. An identity link connects a partner customer id with Imprint's id of the same
//! customer.

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, Row, params};

use super::columns;
use super::statements::Statements;
use super::store_connection::StoreConnection;
use super::store_connection::lookup_id::{LookupId, LookupIds};
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::outbox::codec::{self, StoredText};
use crate::outbox::sealer::Sealer;
use crate::outbox::{IdentityLink, LaneKey};
use crate::time::Timestamp;

/// The maximum number of identity links that a claim reads for one Imprint id. One link is normal. Two links contradict
/// each other.
const LINKS_MAX: i64 = 4;

/// Reads the identity link of a partner customer id.
///
/// # Errors
/// Returns an error if the process does not have the sealing key of the link: a caller must not take it for absent.
pub(super) fn of_partner(
    statements: &Statements<'_>,
    partner: &PartnerCustomerId,
) -> rusqlite::Result<Option<IdentityLink>> {
    let sealer = statements.sealer();
    let sql = "SELECT partner, received, confirmed_at FROM pair WHERE partner = ?1";
    for id in LookupIds::of(statements, &codec::partner_columns(partner)).all() {
        let found = statements.with(sql, |statement| {
            statement
                .query_row([id], |row| link(row, sealer))
                .optional()
        })?;
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Reads some identity links of this Imprint id.
pub(super) fn of_imprint(
    statements: &Statements<'_>,
    imprint: &ImprintId,
) -> rusqlite::Result<Vec<IdentityLink>> {
    read_of_imprint(statements, imprint, LINKS_MAX)
}

/// Reads all identity links of this Imprint id.
pub(super) fn all_of_imprint(
    statements: &Statements<'_>,
    imprint: &ImprintId,
) -> rusqlite::Result<Vec<IdentityLink>> {
    // For SQLite, a negative limit is no limit.
    read_of_imprint(statements, imprint, -1)
}

fn read_of_imprint(
    statements: &Statements<'_>,
    imprint: &ImprintId,
    max: i64,
) -> rusqlite::Result<Vec<IdentityLink>> {
    let sealer = statements.sealer();
    let sql = "SELECT partner, received, confirmed_at FROM pair WHERE imprint = ?1 LIMIT ?2";
    let mut links = Vec::new();
    for id in LookupIds::of(statements, &codec::imprint_columns(imprint)).all() {
        statements.with(sql, |statement| {
            for link in statement.query_map(params![id, max], |row| link(row, sealer))? {
                links.extend(link?);
            }
            Ok(())
        })?;
    }
    Ok(links)
}

/// Stores an identity link. Replaces the previous link of the same partner customer id.
pub(super) fn store(statements: &Statements<'_>, link: &IdentityLink) -> rusqlite::Result<()> {
    let partner = LookupIds::of(statements, &codec::partner_columns(&link.partner));
    if let Some(plain) = &partner.plain {
        delete_partner(statements, plain)?;
    }
    let received = link.imprint.as_ref().map(ImprintId::as_str);
    let ids = ids(
        statements.sealer(),
        &partner.new,
        link.partner.as_str(),
        received,
    )?;
    let imprint = link.imprint.as_ref();
    let imprint = imprint.map(|id| LookupIds::of(statements, &codec::imprint_columns(id)).new);
    statements.with("INSERT INTO pair (partner, imprint, received, confirmed_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (partner) DO UPDATE SET
                 imprint = excluded.imprint, received = excluded.received, confirmed_at = excluded.confirmed_at", |statement| statement.execute(params![
            partner.new,
            imprint,
            ids.as_ref().map(columns::bound_text),
            link.confirmed_at.as_millis(),
        ]))?;
    Ok(())
}

/// Returns the column `received` of a link: Imprint's id, or both ids in a sealed blob.
fn ids<'a>(
    sealer: &Sealer,
    lookup: &LookupId<'_>,
    partner: &str,
    imprint: Option<&'a str>,
) -> rusqlite::Result<Option<StoredText<'a>>> {
    match lookup {
        LookupId::Text(_) => Ok(imprint.map(StoredText::Plain)),
        LookupId::Digest(digest) => {
            let sealed = codec::encode_link(sealer, digest, partner, imprint);
            let sealed = sealed.map_err(columns::unwritable)?;
            Ok(Some(StoredText::Sealed(sealed.into())))
        }
    }
}

/// Returns whether the store has an identity link of a customer id.
pub(super) fn is_linked(store: &StoreConnection, key: &LaneKey) -> rusqlite::Result<bool> {
    let sql = match key {
        LaneKey::Partner(_) => "SELECT 1 FROM pair WHERE partner = ?1",
        LaneKey::Imprint(_) => "SELECT 1 FROM pair WHERE imprint = ?1",
    };
    let mut statement = store.prepare_cached(sql)?;
    for id in LookupIds::of(store, &codec::lane_columns(key)).all() {
        if statement.exists([id])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes the identity links of a customer id.
pub(super) fn delete(store: &StoreConnection, key: &LaneKey) -> rusqlite::Result<()> {
    let ids = LookupIds::of(store, &codec::lane_columns(key));
    for id in ids.all() {
        match key {
            LaneKey::Partner(_) => delete_partner(store, id)?,
            LaneKey::Imprint(_) => {
                store.execute("DELETE FROM pair WHERE imprint = ?1", [id])?;
            }
        }
    }
    Ok(())
}

fn delete_partner(store: &StoreConnection, id: &LookupId<'_>) -> rusqlite::Result<()> {
    store
        .prepare_cached("DELETE FROM pair WHERE partner = ?1")?
        .execute([id])?;
    Ok(())
}

/// Decodes the row of an identity link. Returns `None` for a damaged link, so dispatch asks Imprint again, and an error if
/// the process does not have the sealing key of the link.
pub(super) fn link(row: &Row<'_>, sealer: &Sealer) -> rusqlite::Result<Option<IdentityLink>> {
    let ids = match (row.get_ref(0)?, row.get_ref(1)?) {
        (ValueRef::Blob(digest), ValueRef::Blob(sealed)) => {
            let Ok(digest) = digest.try_into() else {
                return Ok(None);
            };
            match codec::decode_link(sealer, digest, sealed) {
                Err(error) if error.missing_key().is_some() => {
                    return Err(columns::unreadable(error));
                }
                ids => ids.ok().flatten(),
            }
        }
        (partner @ ValueRef::Text(_), imprint) if sealer.accept_plain().is_ok() => {
            let ids = partner.as_str().ok().zip(imprint.as_str_or_null().ok());
            ids.and_then(|(partner, imprint)| codec::link_ids(partner, imprint))
        }
        _ => None,
    };
    let confirmed_at = row.get(2).ok().map(Timestamp::from_millis);
    Ok(ids
        .zip(confirmed_at)
        .map(|(ids, confirmed_at)| IdentityLink {
            partner: ids.partner,
            imprint: ids.imprint,
            confirmed_at,
        }))
}
