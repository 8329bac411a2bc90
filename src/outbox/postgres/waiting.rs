//! Reads the waiting entries of claimed lanes, with one statement for all lanes.

use std::collections::HashMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::bound_updates;
use super::columns::{get, number, size, unsigned};
use super::connection::{Connected, Params};
use super::fault::DbFault;
use crate::event::SourceName;
use crate::imprint::PartnerCustomerId;
use crate::outbox::codec::{self, CustomerColumns};
use crate::outbox::sealer::Sealer;
use crate::outbox::{ClaimBounds, EntryId, LaneId, LaneKey, WaitingEntry};
use crate::time::Timestamp;

/// The newest waiting entries of each lane, until their updates have too many bytes. The last column is the number of rows
/// that the inner statement has found: at most one row more than the claim reads.
const NEWEST: &str = "SELECT w.* FROM unnest($1::bigint[]) AS l(id) CROSS JOIN LATERAL (
        SELECT p.*, row_number() OVER newest AS place, sum(length(p.facts)) OVER newest - length(p.facts) AS bytes_before,
            count(*) OVER () AS found
        FROM (SELECT lane, entry, epoch, value, facts, partner, stated, accepted_at, source, jump_max
            FROM imprint_bridge.payload WHERE lane = l.id AND state = 0 ORDER BY entry DESC LIMIT $2 + 1) AS p
        WINDOW newest AS (ORDER BY p.entry DESC)) AS w
    WHERE w.place <= $2 AND w.bytes_before < $3 ORDER BY w.lane, w.entry DESC";

/// The oldest waiting entries of each lane, up to an entry.
const OLDEST: &str = "SELECT w.* FROM unnest($1::bigint[], $4::bigint[]) AS l(id, last) CROSS JOIN LATERAL (
        SELECT p.*, sum(length(p.facts)) OVER oldest - length(p.facts) AS bytes_before
        FROM (SELECT lane, entry, epoch, value, facts, partner, stated, accepted_at, source, jump_max
            FROM imprint_bridge.payload WHERE lane = l.id AND state = 0 AND entry < l.last ORDER BY entry LIMIT $2) AS p
        WINDOW oldest AS (ORDER BY p.entry)) AS w
    WHERE w.bytes_before < $3 ORDER BY w.lane, w.entry";

/// The newest and the oldest waiting entries of a lane.
#[derive(Default)]
pub(super) struct LaneEntries {
    rows: Vec<Row>,
    /// True if the lane has more waiting entries than the newest entries that the claim reads.
    pub(super) has_more: bool,
}

/// Reads the newest waiting entries of these lanes, and some of the oldest entries of long lanes.
pub(super) async fn read(
    db: &Connected,
    lanes: &[i64],
    bounds: ClaimBounds,
) -> Result<HashMap<LaneId, LaneEntries>, DbFault> {
    let mut found: HashMap<LaneId, LaneEntries> = HashMap::new();
    let (newest, bytes) = (size(bounds.newest), size(bounds.bytes));
    let params: Params<'_> = &[
        (&lanes, Type::INT8_ARRAY),
        (&newest, Type::INT8),
        (&bytes, Type::INT8),
    ];
    for row in db.query(NEWEST, params).await? {
        let rows_found: i64 = get(&row, 12)?;
        let lane = found.entry(LaneId(unsigned(get(&row, 0)?))).or_default();
        lane.rows.push(row);
        lane.has_more = size(lane.rows.len()) < rows_found;
    }
    let (mut long, mut last) = (Vec::new(), Vec::new());
    for (id, lane) in found.iter().filter(|(_, lane)| lane.has_more) {
        if let Some(row) = lane.rows.last() {
            long.push(number(id.0));
            last.push(get::<i64>(row, 1)?);
        }
    }
    if !long.is_empty() {
        let (oldest, bytes) = (size(bounds.oldest), size(bounds.oldest_bytes()));
        let params: Params<'_> = &[
            (&long, Type::INT8_ARRAY),
            (&oldest, Type::INT8),
            (&bytes, Type::INT8),
            (&last, Type::INT8_ARRAY),
        ];
        for row in db.query(OLDEST, params).await? {
            let lane = found.entry(LaneId(unsigned(get(&row, 0)?))).or_default();
            lane.rows.push(row);
        }
    }
    Ok(found)
}

/// The decoded entries of a lane.
#[derive(Default)]
pub(super) struct DecodedEntries {
    pub(super) entries: Vec<WaitingEntry>,
    /// The waiting entries whose stored content cannot be read.
    pub(super) unreadable: Vec<EntryId>,
    /// The newest entry and its source.
    pub(super) newest: Option<(EntryId, SourceName)>,
}

impl LaneEntries {
    /// Returns the size of the stored updates.
    pub(super) fn bytes(&self) -> Result<usize, DbFault> {
        let sizes = self
            .rows
            .iter()
            .map(|row| get::<&[u8]>(row, 4).map(<[u8]>::len));
        sizes.sum()
    }

    /// Decodes the entries.
    ///
    /// # Errors
    /// Returns an error if the process does not have the sealing key of an update.
    pub(super) fn decode(
        &self,
        sealer: &Sealer,
        key: Option<&LaneKey>,
    ) -> Result<DecodedEntries, DbFault> {
        let mut decoded = DecodedEntries::default();
        for row in &self.rows {
            let entry = EntryId(unsigned(get(row, 1)?));
            let source = SourceName::parse(get(row, 8)?).ok();
            if let (None, Some(source)) = (&decoded.newest, &source) {
                decoded.newest = Some((entry, source.clone()));
            }
            match waiting_entry(row, (entry, source), key, sealer)? {
                Some(entry) => decoded.entries.push(entry),
                None => decoded.unreadable.push(entry),
            }
        }
        Ok(decoded)
    }
}

/// Decodes a waiting entry. Returns `None` if the stored content is damaged, or if the columns of the entry are not those with
/// which the update was sealed.
fn waiting_entry(
    row: &Row,
    (entry, source): (EntryId, Option<SourceName>),
    key: Option<&LaneKey>,
    sealer: &Sealer,
) -> Result<Option<WaitingEntry>, DbFault> {
    let stored = match codec::decode_update(sealer, entry.0, get(row, 4)?) {
        Ok(stored) => stored,
        Err(error) if error.missing_key().is_some() => return Err(error.into()),
        Err(_damaged) => return Ok(None),
    };
    let route = bound_updates::route(row, [0, 2, 3, 6, 9])?;
    let Some(route) = route.filter(|route| stored.is_at(route)) else {
        return Ok(None);
    };
    let sealed = stored.partner.as_ref().map(PartnerCustomerId::as_str);
    let columns = CustomerColumns {
        partner: sealed.or(get(row, 5)?),
        names_imprint_id: route.names_imprint_id,
    };
    let customer = key.and_then(|key| codec::customer(key, &columns));
    let Some((customer, source)) = customer.zip(source) else {
        return Ok(None);
    };
    Ok(Some(WaitingEntry {
        entry,
        version: route.version.arrived(entry.0),
        customer,
        update: stored.update,
        jump_max: route.jump_max.map(unsigned),
        source,
        accepted_at: Timestamp::from_millis(get(row, 7)?),
        floors: None,
    }))
}
