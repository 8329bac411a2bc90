//! The SQL of what Imprint said of the partner's ids.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::outbox::IdentityLink;
use crate::time::Timestamp;

/// How many partner's ids of one customer are looked at: there is to be one, and two contradict each other.
const PAIRS_MAX: usize = 4;

/// What was said of a partner's id.
pub(super) fn of_partner(
    connection: &Connection,
    partner: &PartnerCustomerId,
) -> rusqlite::Result<Option<IdentityLink>> {
    connection
        .prepare_cached("SELECT partner, received, confirmed_at FROM pair WHERE partner = ?1")?
        .query_row([partner.as_str()], pair)
        .optional()
        .map(Option::flatten)
}

/// The partner's ids that were said to be this customer's.
pub(super) fn of_imprint(
    connection: &Connection,
    imprint: &ImprintId,
) -> rusqlite::Result<Vec<IdentityLink>> {
    let pairs: Vec<Option<IdentityLink>> = connection
        .prepare_cached(
            "SELECT partner, received, confirmed_at FROM pair WHERE imprint = ?1 LIMIT ?2",
        )?
        .query_map(params![imprint.canonical(), PAIRS_MAX], pair)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(pairs.into_iter().flatten().collect())
}

/// Remembers what was said, in place of what was said before.
pub(super) fn learn(connection: &Connection, pair: &IdentityLink) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO pair (partner, imprint, received, confirmed_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (partner) DO UPDATE SET
                 imprint = excluded.imprint, received = excluded.received, confirmed_at = excluded.confirmed_at",
        )?
        .execute(params![
            pair.partner.as_str(),
            pair.imprint.as_ref().map(ImprintId::canonical),
            pair.imprint.as_ref().map(ImprintId::as_str),
            pair.confirmed_at.as_millis(),
        ])?;
    Ok(())
}

/// A pair that cannot be read is none: Imprint is asked again.
fn pair(row: &Row<'_>) -> rusqlite::Result<Option<IdentityLink>> {
    let partner: String = row.get(0)?;
    let imprint: Option<String> = row.get(1)?;
    let imprint = imprint.as_deref().map(ImprintId::parse).transpose();
    let (Ok(partner), Ok(imprint)) = (PartnerCustomerId::parse(&partner), imprint) else {
        return Ok(None);
    };
    Ok(Some(IdentityLink {
        partner,
        imprint,
        confirmed_at: Timestamp::from_millis(row.get(2)?),
    }))
}
