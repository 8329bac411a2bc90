//! The SQL statements that find every id and every lane of a customer, for the erasure of the customer.

use std::collections::BTreeSet;

use crate::imprint::PartnerCustomerId;
use crate::outbox::sqlite::statements::Statements;
use crate::outbox::sqlite::store_connection::StoreConnection;
use crate::outbox::sqlite::{columns, identity_link, lane, payload};
use crate::outbox::{LaneId, LaneKey, State, codec};

/// Follows the identity links of some keys, also the expired ones, until no link leads to a further key.
pub(super) fn all(store: &StoreConnection, keys: &[LaneKey]) -> rusqlite::Result<Vec<LaneKey>> {
    let mut known: Vec<LaneKey> = Vec::new();
    let mut found = keys.to_vec();
    while let Some(key) = found.pop() {
        if !known.contains(&key) {
            found.extend(linked(store, &key)?);
            known.push(key);
        }
    }
    Ok(known)
}

fn linked(store: &StoreConnection, key: &LaneKey) -> rusqlite::Result<Vec<LaneKey>> {
    let statements = &Statements::of(store);
    Ok(match key {
        LaneKey::Imprint(imprint) => {
            let links = identity_link::all_of_imprint(statements, imprint)?;
            let mut partners: Vec<_> = links.into_iter().map(|link| link.partner).collect();
            // Of an entry that a search moved into the lane, the event had only the CRM's id.
            if let Some(lane) = lane::find(store, key)? {
                for state in payload::UNFINISHED {
                    partners.extend(partners_of_moved(store, state, lane)?);
                }
            }
            partners.into_iter().map(LaneKey::Partner).collect()
        }
        LaneKey::Partner(partner) => {
            let link = identity_link::of_partner(statements, partner)?;
            let imprint = link.and_then(|link| link.imprint);
            imprint.into_iter().map(LaneKey::Imprint).collect()
        }
    })
}

/// Returns the CRM's ids in the events of entries in this state that a search moved into a lane of an Imprint id.
///
/// # Errors
/// Returns an error if the process does not have the sealing key of an update.
fn partners_of_moved(
    connection: &StoreConnection,
    state: State,
    lane: LaneId,
) -> rusqlite::Result<BTreeSet<PartnerCustomerId>> {
    let Some(table) = payload::table(state) else {
        return Ok(BTreeSet::new());
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT entry, facts, partner FROM {table} WHERE lane = ?1 AND stated = 0"
    ))?;
    let mut rows = statement.query([lane.0])?;
    let mut partners = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let column: Option<String> = columns::or_default(row, 2);
        if let Some(column) = column {
            partners.extend(PartnerCustomerId::parse(&column).ok());
            continue;
        }
        let update = row.get_ref(1)?.as_bytes().unwrap_or_default();
        match codec::decode_update(connection.sealer(), columns::or_default(row, 0), update) {
            Ok(stored) => partners.extend(stored.partner),
            Err(error) if error.missing_key().is_some() => return Err(columns::unreadable(error)),
            Err(_damaged) => {}
        }
    }
    Ok(partners)
}

/// Returns the lanes of these keys.
pub(super) fn lanes(store: &StoreConnection, keys: &[LaneKey]) -> rusqlite::Result<Vec<LaneId>> {
    let mut lanes = Vec::new();
    for key in keys {
        lanes.extend(lane::find(store, key)?.filter(|lane| !lanes.contains(lane)));
    }
    Ok(lanes)
}
