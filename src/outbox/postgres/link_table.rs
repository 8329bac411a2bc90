//! The identity links of some customers, for operators: a link that lacks its sealing key is an error, because a caller must
//! not take the link for absent.

use std::collections::HashMap;

use tokio_postgres::types::Type;

use super::columns::get;
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::links::{imprint_key, partner_key};
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::outbox::codec;
use crate::outbox::keyed_digest::KeyedDigest;
use crate::outbox::{IdentityLink, LaneKey};
use crate::time::Timestamp;

/// Links by the digests of both ids.
#[derive(Default)]
pub(super) struct LinkTable {
    by_partner: HashMap<KeyedDigest, IdentityLink>,
    by_imprint: HashMap<KeyedDigest, Vec<IdentityLink>>,
}

impl LinkTable {
    /// Adds all links of these ids.
    ///
    /// # Errors
    /// Returns an error if the process does not have the sealing key of a link.
    pub(super) async fn read(
        &mut self,
        db: &Connected,
        engine: &Engine,
        keys: &[LaneKey],
    ) -> Result<(), DbFault> {
        let (mut partners, mut imprints) = (Vec::new(), Vec::new());
        for key in keys {
            match key {
                LaneKey::Partner(partner) => partners.push(partner_key(engine, partner).to_vec()),
                LaneKey::Imprint(imprint) => imprints.push(imprint_key(engine, imprint).to_vec()),
            }
        }
        if partners.is_empty() && imprints.is_empty() {
            return Ok(());
        }
        let sql = "SELECT partner, imprint, ids, confirmed_at FROM imprint_bridge.link WHERE partner = ANY($1) OR imprint = ANY($2) ORDER BY partner";
        let rows = db
            .query(
                sql,
                &[
                    (&partners, Type::BYTEA_ARRAY),
                    (&imprints, Type::BYTEA_ARRAY),
                ],
            )
            .await?;
        for row in &rows {
            let Ok(partner) = KeyedDigest::try_from(get::<&[u8]>(row, 0)?) else {
                continue;
            };
            let ids = match codec::decode_link(&engine.sealer, &partner, get(row, 2)?) {
                Err(error) if error.missing_key().is_some() => return Err(error.into()),
                ids => ids.ok().flatten(),
            };
            // Dispatch asks Imprint again about a damaged link.
            let Some(ids) = ids else {
                continue;
            };
            let link = IdentityLink {
                partner: ids.partner,
                imprint: ids.imprint,
                confirmed_at: Timestamp::from_millis(get(row, 3)?),
            };
            let imprint: Option<&[u8]> = get(row, 1)?;
            self.add(partner, imprint, link);
        }
        Ok(())
    }

    fn add(&mut self, partner: KeyedDigest, imprint: Option<&[u8]>, link: IdentityLink) {
        if let Some(Ok(imprint)) = imprint.map(KeyedDigest::try_from) {
            let links = self.by_imprint.entry(imprint).or_default();
            if !links.contains(&link) {
                links.push(link.clone());
            }
        }
        self.by_partner.insert(partner, link);
    }

    /// Returns the link of a CRM's id that [`Self::read`] has read.
    pub(super) fn of_partner(
        &self,
        engine: &Engine,
        partner: &PartnerCustomerId,
    ) -> Option<&IdentityLink> {
        self.by_partner.get(&partner_key(engine, partner))
    }

    /// Returns the links of an Imprint id that [`Self::read`] has read.
    pub(super) fn of_imprint(&self, engine: &Engine, imprint: &ImprintId) -> &[IdentityLink] {
        let links = self.by_imprint.get(&imprint_key(engine, imprint));
        links.map(Vec::as_slice).unwrap_or_default()
    }
}

/// Deletes the links of a customer id.
pub(super) async fn delete(db: &Connected, engine: &Engine, key: &LaneKey) -> Result<(), DbFault> {
    let (sql, digest) = match key {
        LaneKey::Partner(partner) => (
            "DELETE FROM imprint_bridge.link WHERE partner = $1",
            partner_key(engine, partner),
        ),
        LaneKey::Imprint(imprint) => (
            "DELETE FROM imprint_bridge.link WHERE imprint = $1",
            imprint_key(engine, imprint),
        ),
    };
    db.execute(sql, &[(&digest.as_slice(), Type::BYTEA)])
        .await?;
    Ok(())
}
