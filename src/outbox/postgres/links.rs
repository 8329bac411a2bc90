//! The identity links: which Imprint id belongs to a CRM's id. The store finds them by the keyed digests of both ids.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::get;
use super::connection::{Connected, Params};
use super::engine::Engine;
use super::fault::DbFault;
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::outbox::IdentityLink;
use crate::outbox::codec;
use crate::outbox::keyed_digest::KeyedDigest;
use crate::outbox::sealer::Sealer;
use crate::time::Timestamp;

/// The maximum number of identity links that a claim reads for one Imprint id. One link is normal. Two links contradict
/// each other.
const LINKS_MAX: i64 = 4;

/// Stores identity links. A link replaces the previous link of the same CRM's id.
pub(super) async fn store(
    db: &Connected,
    engine: &Engine,
    links: impl Iterator<Item = &IdentityLink>,
) -> Result<(), DbFault> {
    // The last link of an id counts, and the statement locks the rows in the order of their keys.
    let links: BTreeMap<KeyedDigest, &IdentityLink> = links
        .map(|link| (partner_key(engine, &link.partner), link))
        .collect();
    if links.is_empty() {
        return Ok(());
    }
    let mut imprints: Vec<Option<KeyedDigest>> = Vec::new();
    let mut ids: Vec<Vec<u8>> = Vec::new();
    for (digest, link) in &links {
        let imprint = link.imprint.as_ref();
        imprints.push(imprint.map(|imprint| imprint_key(engine, imprint)));
        let (partner, imprint) = (link.partner.as_str(), imprint.map(ImprintId::as_str));
        ids.push(codec::encode_link(
            &engine.sealer,
            digest,
            partner,
            imprint,
        )?);
    }
    let partners: Vec<&[u8]> = links.keys().map(<[u8; 16]>::as_slice).collect();
    let imprints: Vec<Option<&[u8]>> = imprints
        .iter()
        .map(|imprint| imprint.as_ref().map(<[u8; 16]>::as_slice))
        .collect();
    let confirmed: Vec<i64> = links
        .values()
        .map(|link| link.confirmed_at.as_millis())
        .collect();
    let sql = "INSERT INTO imprint_bridge.link (partner, imprint, ids, confirmed_at)
         SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[])
         ON CONFLICT (partner) DO UPDATE SET imprint = excluded.imprint, ids = excluded.ids, confirmed_at = excluded.confirmed_at";
    let params: Params<'_> = &[
        (&partners, Type::BYTEA_ARRAY),
        (&imprints, Type::BYTEA_ARRAY),
        (&ids, Type::BYTEA_ARRAY),
        (&confirmed, Type::INT8_ARRAY),
    ];
    db.execute(sql, params).await?;
    Ok(())
}

pub(super) fn partner_key(engine: &Engine, partner: &PartnerCustomerId) -> KeyedDigest {
    let key = engine.digests.customer(&codec::partner_columns(partner));
    key.customer
}

pub(super) fn imprint_key(engine: &Engine, imprint: &ImprintId) -> KeyedDigest {
    let key = engine.digests.customer(&codec::imprint_columns(imprint));
    key.customer
}

/// The links of some customers, by the digests of both ids.
#[derive(Default)]
pub(super) struct FoundLinks {
    by_partner: BTreeMap<KeyedDigest, IdentityLink>,
    by_imprint: BTreeMap<KeyedDigest, Vec<IdentityLink>>,
}

/// Reads the links of these CRM's ids and of these Imprint ids. Leaves out a link that the bridge cannot read: dispatch
/// then asks Imprint again.
pub(super) async fn find(
    db: &Connected,
    sealer: &Sealer,
    partners: &[KeyedDigest],
    imprints: &[KeyedDigest],
) -> Result<FoundLinks, DbFault> {
    let mut found = FoundLinks::default();
    if partners.is_empty() && imprints.is_empty() {
        return Ok(found);
    }
    let partners: Vec<&[u8]> = partners.iter().map(<[u8; 16]>::as_slice).collect();
    let imprints: Vec<&[u8]> = imprints.iter().map(<[u8; 16]>::as_slice).collect();
    let sql = "SELECT partner, NULL::bytea, ids, confirmed_at FROM imprint_bridge.link WHERE partner = ANY($1)
         UNION ALL SELECT l.partner, k.imprint, l.ids, l.confirmed_at FROM unnest($2::bytea[]) AS k(imprint)
         CROSS JOIN LATERAL (SELECT partner, ids, confirmed_at FROM imprint_bridge.link WHERE imprint = k.imprint ORDER BY partner LIMIT $3) AS l";
    let params: Params<'_> = &[
        (&partners, Type::BYTEA_ARRAY),
        (&imprints, Type::BYTEA_ARRAY),
        (&LINKS_MAX, Type::INT8),
    ];
    for row in db.query(sql, params).await? {
        let Some((partner, link)) = link(&row, sealer)? else {
            continue;
        };
        let imprint: Option<&[u8]> = get(&row, 1)?;
        match imprint.map(KeyedDigest::try_from) {
            Some(Ok(imprint)) => found.by_imprint.entry(imprint).or_default().push(link),
            Some(Err(_length)) => {}
            None => {
                found.by_partner.insert(partner, link);
            }
        }
    }
    Ok(found)
}

/// Decodes a link. Returns `None` if the bridge cannot read the link.
fn link(row: &Row, sealer: &Sealer) -> Result<Option<(KeyedDigest, IdentityLink)>, DbFault> {
    let (partner, ids): (&[u8], &[u8]) = (get(row, 0)?, get(row, 2)?);
    let Ok(digest) = KeyedDigest::try_from(partner) else {
        return Ok(None);
    };
    let ids = codec::decode_link(sealer, &digest, ids).ok().flatten();
    let confirmed_at = Timestamp::from_millis(get(row, 3)?);
    Ok(ids.map(|ids| {
        let link = IdentityLink {
            partner: ids.partner,
            imprint: ids.imprint,
            confirmed_at,
        };
        (digest, link)
    }))
}

impl FoundLinks {
    /// Returns the links of a lane: of the CRM's ids in its entries, and of its Imprint id.
    pub(super) fn of(
        &self,
        engine: &Engine,
        partners: &[&PartnerCustomerId],
        imprint: Option<&ImprintId>,
    ) -> Vec<IdentityLink> {
        let by_partner = partners
            .iter()
            .filter_map(|partner| self.by_partner.get(&partner_key(engine, partner)));
        let imprint = imprint.map(|imprint| imprint_key(engine, imprint));
        let by_imprint = imprint.and_then(|imprint| self.by_imprint.get(&imprint));
        let mut links: Vec<IdentityLink> = by_partner
            .chain(by_imprint.into_iter().flatten())
            .cloned()
            .collect();
        links.sort_unstable_by(|one, other| one.partner.cmp(&other.partner));
        links.dedup();
        links
    }
}
