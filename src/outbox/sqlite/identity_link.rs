//! The SQL statements for identity links. An identity link connects a partner customer id with Imprint's id of the same
//! customer.

use rusqlite::{OptionalExtension, Row, params};

use super::statements::Statements;
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::outbox::IdentityLink;
use crate::time::Timestamp;

/// The maximum number of identity links that the store reads for one Imprint id. One link is normal. Two links
/// contradict each other.
const LINKS_MAX: usize = 4;

/// Reads the identity link of a partner customer id.
pub(super) fn of_partner(
    statements: &Statements<'_>,
    partner: &PartnerCustomerId,
) -> rusqlite::Result<Option<IdentityLink>> {
    statements
        .with(
            "SELECT partner, received, confirmed_at FROM pair WHERE partner = ?1",
            |statement| statement.query_row([partner.as_str()], |row| Ok(link(row))),
        )
        .optional()
        .map(Option::flatten)
}

/// Reads the identity links of this Imprint id.
pub(super) fn of_imprint(
    statements: &Statements<'_>,
    imprint: &ImprintId,
) -> rusqlite::Result<Vec<IdentityLink>> {
    let sql = "SELECT partner, received, confirmed_at FROM pair WHERE imprint = ?1 LIMIT ?2";
    statements.with(sql, |statement| {
        statement
            .query_map(params![imprint.canonical(), LINKS_MAX], |row| Ok(link(row)))?
            .filter_map(Result::transpose)
            .collect()
    })
}

/// Stores an identity link. Replaces the previous link of the same partner customer id.
pub(super) fn store(statements: &Statements<'_>, link: &IdentityLink) -> rusqlite::Result<()> {
    statements.with("INSERT INTO pair (partner, imprint, received, confirmed_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (partner) DO UPDATE SET
                 imprint = excluded.imprint, received = excluded.received, confirmed_at = excluded.confirmed_at", |statement| statement.execute(params![
            link.partner.as_str(),
            link.imprint.as_ref().map(ImprintId::canonical),
            link.imprint.as_ref().map(ImprintId::as_str),
            link.confirmed_at.as_millis(),
        ]))?;
    Ok(())
}

/// Decodes the row of an identity link. Returns `None` for a damaged link, so dispatch asks Imprint again.
fn link(row: &Row<'_>) -> Option<IdentityLink> {
    let partner: String = row.get(0).ok()?;
    let imprint: Option<String> = row.get(1).ok()?;
    Some(IdentityLink {
        partner: PartnerCustomerId::parse(&partner).ok()?,
        imprint: imprint.as_deref().map(ImprintId::parse).transpose().ok()?,
        confirmed_at: Timestamp::from_millis(row.get(2).ok()?),
    })
}
