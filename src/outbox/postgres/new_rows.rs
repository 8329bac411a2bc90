//! The rows of new entries: the receipts, and the payloads of the entries that have not ended.

use tokio_postgres::types::Type;

use super::append_plan::PlannedEntry;
use super::columns::{number, size};
use super::connection::Connected;
use super::fault::DbFault;
use crate::event::Attribute;
use crate::outbox::codec::{self, BlobKind, UpdateColumns};
use crate::outbox::sealer::Sealer;
use crate::outbox::{LaneId, State};

/// A new entry with its number and its lane.
pub(super) struct NumberedEntry<'p, 'a> {
    pub(super) planned: &'p PlannedEntry<'a>,
    pub(super) entry: u64,
    pub(super) lane: Option<LaneId>,
}

impl NumberedEntry<'_, '_> {
    fn skipped(&self, sealer: &Sealer) -> Result<Option<Vec<u8>>, DbFault> {
        let skipped = self.planned.new.disposition.skipped();
        let errors = (!skipped.is_empty())
            .then_some(skipped)
            .map(|skipped| codec::encode(sealer, BlobKind::SkippedFields, self.entry, &skipped));
        Ok(errors.transpose()?)
    }

    fn settled_at(&self) -> Option<i64> {
        let is_settled = self.planned.state().is_settled();
        is_settled.then_some(self.planned.new.accepted_at.as_millis())
    }
}

const INSERT_ENTRIES: &str = "INSERT INTO imprint_bridge.entry (id, event_key, ce_key, source, ce_source, event_id, event_type, digest, lane,
        accepted_at, state, settled_at, ignored, skipped)
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::bytea[], $9::bigint[], $10::bigint[], $11::smallint[], $12::bigint[], $13::smallint[], $14::bytea[])
    ON CONFLICT (event_key, ce_key) DO NOTHING";

/// Inserts the receipts of new entries, in the order of their keys. If another replica has stored one of the events in the
/// meantime, returns [`DbFault::Raced`].
pub(super) async fn insert_entries(
    db: &Connected,
    sealer: &Sealer,
    entries: &[NumberedEntry<'_, '_>],
) -> Result<(), DbFault> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut sorted: Vec<&NumberedEntry<'_, '_>> = entries.iter().collect();
    sorted.sort_unstable_by_key(|entry| entry.planned.keys);
    let new = || sorted.iter().map(|entry| entry.planned.new);
    let planned = || sorted.iter().map(|entry| entry.planned);
    let ids: Vec<i64> = sorted.iter().map(|entry| number(entry.entry)).collect();
    let event_keys: Vec<&[u8]> = planned().map(|it| it.keys.event.as_slice()).collect();
    let ce_keys: Vec<&[u8]> = planned().map(|it| it.keys.ce_source.as_slice()).collect();
    let sources: Vec<&str> = new().map(|it| it.identity.source.as_str()).collect();
    let ce_source = |source: &Option<Attribute>| source.as_ref().map(|it| it.as_str().to_owned());
    let ce_sources = new().map(|it| ce_source(&it.identity.ce_source).unwrap_or_default());
    let ce_sources: Vec<String> = ce_sources.collect();
    let event_ids: Vec<&str> = new().map(|it| it.identity.id.as_str()).collect();
    let event_types: Vec<&str> = new().map(|it| it.event_type.as_str()).collect();
    let digests: Vec<&[u8]> = new().map(|it| it.digest.0.as_slice()).collect();
    let lanes: Vec<Option<i64>> = sorted
        .iter()
        .map(|entry| entry.lane.map(|lane| number(lane.0)))
        .collect();
    let accepted: Vec<i64> = new().map(|it| it.accepted_at.as_millis()).collect();
    let states: Vec<i16> = planned()
        .map(|it| codec::state_number(it.state()).into())
        .collect();
    let settled: Vec<Option<i64>> = sorted.iter().map(|entry| entry.settled_at()).collect();
    let ignored = planned().map(|it| it.ignored().map(|it| codec::ignore_number(it).into()));
    let ignored: Vec<Option<i16>> = ignored.collect();
    let skipped: Result<Vec<_>, DbFault> = sorted.iter().map(|it| it.skipped(sealer)).collect();
    let inserted = db
        .execute(
            INSERT_ENTRIES,
            &[
                (&ids, Type::INT8_ARRAY),
                (&event_keys, Type::BYTEA_ARRAY),
                (&ce_keys, Type::BYTEA_ARRAY),
                (&sources, Type::TEXT_ARRAY),
                (&ce_sources, Type::TEXT_ARRAY),
                (&event_ids, Type::TEXT_ARRAY),
                (&event_types, Type::TEXT_ARRAY),
                (&digests, Type::BYTEA_ARRAY),
                (&lanes, Type::INT8_ARRAY),
                (&accepted, Type::INT8_ARRAY),
                (&states, Type::INT2_ARRAY),
                (&settled, Type::INT8_ARRAY),
                (&ignored, Type::INT2_ARRAY),
                (&skipped?, Type::BYTEA_ARRAY),
            ],
        )
        .await?;
    match usize::try_from(inserted) == Ok(entries.len()) {
        true => Ok(()),
        false => Err(DbFault::Raced),
    }
}

/// The row of a payload.
struct PayloadRow<'a> {
    entry: i64,
    lane: i64,
    state: i16,
    source: &'a str,
    epoch: i64,
    value: i64,
    facts: Vec<u8>,
    event: Vec<u8>,
    event_bytes: i64,
    partner: Option<&'a str>,
    stated: bool,
    accepted_at: i64,
    jump_max: Option<i64>,
    reason: Option<i16>,
    errors: Option<Vec<u8>>,
}

impl<'a> PayloadRow<'a> {
    /// Encodes the payload of a new entry. Returns `None` for an entry that is ignored.
    fn of(sealer: &Sealer, numbered: &NumberedEntry<'_, 'a>) -> Result<Option<Self>, DbFault> {
        let NumberedEntry { planned, entry, .. } = *numbered;
        let new = planned.new;
        if planned.state() == State::Ignored {
            return Ok(None);
        }
        let event = codec::encode_bytes(sealer, BlobKind::Event, entry, &new.event)?;
        let mut row = Self {
            entry: number(entry),
            lane: numbered.lane.map_or(0, |lane| number(lane.0)),
            state: codec::state_number(planned.state()).into(),
            source: new.identity.source.as_str(),
            epoch: 0,
            value: 0,
            facts: Vec::new(),
            event: event.into_owned(),
            event_bytes: size(new.stored_bytes()),
            partner: None,
            stated: false,
            accepted_at: new.accepted_at.as_millis(),
            jump_max: None,
            reason: planned.reason().map(|it| codec::reason_number(it).into()),
            errors: None,
        };
        if let Some(change) = planned.change() {
            let customer = codec::customer_columns(&change.customer);
            let parts = (&change.update, customer.partner);
            let lane = numbered.lane.unwrap_or(LaneId(0));
            let route = codec::route(lane, change);
            let stored = codec::encode_update(sealer, entry, parts, &route)?;
            let UpdateColumns { update, partner } = stored;
            (row.facts, row.partner) = (update, partner);
            (row.epoch, row.value) = (change.version.epoch.into(), change.version.value);
            row.stated = customer.names_imprint_id;
            row.jump_max = change.jump_max.map(codec::jump_max);
        }
        if let Some(invalid) = new.disposition.invalid() {
            row.epoch = invalid.epoch.into();
            let errors = codec::encode(sealer, BlobKind::EventErrors, entry, &invalid.errors)?;
            row.errors = Some(errors);
        }
        Ok(Some(row))
    }
}

const INSERT_PAYLOADS: &str = "INSERT INTO imprint_bridge.payload (entry, lane, state, source, epoch, value, facts, event, event_bytes, partner,
        stated, accepted_at, jump_max, reason, errors)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::bigint[], $6::bigint[],
        $7::bytea[], $8::bytea[], $9::bigint[], $10::text[], $11::boolean[], $12::bigint[], $13::bigint[],
        $14::smallint[], $15::bytea[])";

/// Inserts the payloads of the new entries that have not ended.
pub(super) async fn insert_payloads(
    db: &Connected,
    sealer: &Sealer,
    entries: &[NumberedEntry<'_, '_>],
) -> Result<(), DbFault> {
    let rows = entries.iter().map(|entry| PayloadRow::of(sealer, entry));
    let rows: Result<Vec<Option<PayloadRow<'_>>>, DbFault> = rows.collect();
    let rows: Vec<PayloadRow<'_>> = rows?.into_iter().flatten().collect();
    if rows.is_empty() {
        return Ok(());
    }
    let numbers = |of: fn(&PayloadRow<'_>) -> i64| rows.iter().map(of).collect::<Vec<i64>>();
    let states: Vec<i16> = rows.iter().map(|row| row.state).collect();
    let sources: Vec<&str> = rows.iter().map(|row| row.source).collect();
    let facts: Vec<&[u8]> = rows.iter().map(|row| row.facts.as_slice()).collect();
    let events: Vec<&[u8]> = rows.iter().map(|row| row.event.as_slice()).collect();
    let partners: Vec<Option<&str>> = rows.iter().map(|row| row.partner).collect();
    let stated: Vec<bool> = rows.iter().map(|row| row.stated).collect();
    let jumps: Vec<Option<i64>> = rows.iter().map(|row| row.jump_max).collect();
    let reasons: Vec<Option<i16>> = rows.iter().map(|row| row.reason).collect();
    let errors: Vec<Option<&[u8]>> = rows.iter().map(|row| row.errors.as_deref()).collect();
    db.execute(
        INSERT_PAYLOADS,
        &[
            (&numbers(|row| row.entry), Type::INT8_ARRAY),
            (&numbers(|row| row.lane), Type::INT8_ARRAY),
            (&states, Type::INT2_ARRAY),
            (&sources, Type::TEXT_ARRAY),
            (&numbers(|row| row.epoch), Type::INT8_ARRAY),
            (&numbers(|row| row.value), Type::INT8_ARRAY),
            (&facts, Type::BYTEA_ARRAY),
            (&events, Type::BYTEA_ARRAY),
            (&numbers(|row| row.event_bytes), Type::INT8_ARRAY),
            (&partners, Type::TEXT_ARRAY),
            (&stated, Type::BOOL_ARRAY),
            (&numbers(|row| row.accepted_at), Type::INT8_ARRAY),
            (&jumps, Type::INT8_ARRAY),
            (&reasons, Type::INT2_ARRAY),
            (&errors, Type::BYTEA_ARRAY),
        ],
    )
    .await?;
    Ok(())
}
