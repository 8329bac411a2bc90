//! The stored form of customer ids inside sealed blobs: the CRM's id beside the update of an entry, and the two ids of an
//! identity link.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::blob::{BlobKind, CodecError, decode_bytes, encode};
use crate::imprint::{ImprintId, PartnerCustomerId, Update};
use crate::outbox::keyed_digest::KeyedDigest;
use crate::outbox::sealer::Sealer;

/// A stored update, with the CRM's id in the event of the entry.
#[derive(Debug)]
pub(in crate::outbox) struct StoredUpdate {
    /// The CRM's id. `None` means that the event has none, or that the id is in the column `partner`: a store without
    /// sealing keys has the id there.
    pub(in crate::outbox) partner: Option<PartnerCustomerId>,
    pub(in crate::outbox) update: Update,
}

/// The columns of an entry with its update.
pub(in crate::outbox) struct UpdateColumns<'a> {
    pub(in crate::outbox) update: Vec<u8>,
    pub(in crate::outbox) partner: Option<&'a str>,
}

/// Encodes an update. If the process has a sealing key, the sealed blob contains the CRM's id too.
pub(in crate::outbox) fn encode_update<'a>(
    sealer: &Sealer,
    entry: u64,
    update: &Update,
    partner: Option<&'a str>,
) -> Result<UpdateColumns<'a>, CodecError> {
    let kind = BlobKind::Update;
    Ok(match partner.filter(|_| sealer.has_key()) {
        Some(sealed) => UpdateColumns {
            update: encode(sealer, kind, entry, &(sealed, update))?,
            partner: None,
        },
        None => UpdateColumns {
            update: encode(sealer, kind, entry, update)?,
            partner,
        },
    })
}

/// Decodes an update: an object, or an array of the CRM's id and an object.
pub(in crate::outbox) fn decode_update(
    sealer: &Sealer,
    entry: u64,
    bytes: &[u8],
) -> Result<StoredUpdate, CodecError> {
    let kind = BlobKind::Update;
    let bytes = decode_bytes(sealer, kind, entry, bytes)?;
    let decoded = match bytes.first() {
        Some(b'[') => {
            serde_json::from_slice(&bytes).map(|(partner, update)| (Some(partner), update))
        }
        Some(_) | None => {
            serde_json::from_slice(&bytes).map(|update| (None::<Cow<'_, str>>, update))
        }
    };
    let (partner, update) = decoded.map_err(|source| CodecError::Unreadable {
        kind,
        record: entry,
        source,
    })?;
    Ok(StoredUpdate {
        partner: partner.and_then(|partner| PartnerCustomerId::parse(&partner).ok()),
        update,
    })
}

/// The ids of a sealed identity link.
#[derive(Serialize, Deserialize)]
struct StoredLink<'a> {
    #[serde(borrow)]
    partner: Cow<'a, str>,
    #[serde(borrow)]
    imprint: Option<Cow<'a, str>>,
}

/// The ids of an identity link.
pub(in crate::outbox) struct LinkIds {
    pub(in crate::outbox) partner: PartnerCustomerId,
    pub(in crate::outbox) imprint: Option<ImprintId>,
}

/// Encodes the ids of an identity link whose CRM's id has this digest.
pub(in crate::outbox) fn encode_link(
    sealer: &Sealer,
    digest: &KeyedDigest,
    partner: &str,
    imprint: Option<&str>,
) -> Result<Vec<u8>, CodecError> {
    let stored = StoredLink {
        partner: partner.into(),
        imprint: imprint.map(Cow::from),
    };
    encode(sealer, BlobKind::LinkIds, link_record(digest), &stored)
}

/// Decodes the ids of an identity link. Returns `None` if they are no valid customer ids.
pub(in crate::outbox) fn decode_link(
    sealer: &Sealer,
    digest: &KeyedDigest,
    bytes: &[u8],
) -> Result<Option<LinkIds>, CodecError> {
    let (kind, record) = (BlobKind::LinkIds, link_record(digest));
    let bytes = decode_bytes(sealer, kind, record, bytes)?;
    let stored: StoredLink<'_> =
        serde_json::from_slice(&bytes).map_err(|source| CodecError::Unreadable {
            kind,
            record,
            source,
        })?;
    Ok(link_ids(&stored.partner, stored.imprint.as_deref()))
}

/// Parses the ids of an identity link. Returns `None` if they are no valid customer ids.
pub(in crate::outbox) fn link_ids(partner: &str, imprint: Option<&str>) -> Option<LinkIds> {
    Some(LinkIds {
        partner: PartnerCustomerId::parse(partner).ok()?,
        imprint: imprint.map(ImprintId::parse).transpose().ok()?,
    })
}

/// Returns the record id of a sealed identity link: the first half of the digest. Links have no number.
pub(in crate::outbox) fn link_record(digest: &KeyedDigest) -> u64 {
    let (half, _rest) = digest.split_first_chunk().unwrap_or((&[0; _], &[]));
    u64::from_be_bytes(*half)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::imprint::{Field, FieldValue};
    use crate::sealing::{KeyRing, SealingKey};

    fn update() -> Update {
        let email = FieldValue::from_value(json!("a@example.com"));
        [(Field::parse("email").unwrap(), email)]
            .into_iter()
            .collect()
    }

    fn sealed() -> Sealer {
        let hex: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let key = SealingKey::parse(&hex.into()).unwrap();
        Sealer::new(
            Arc::new(KeyRing::new([key])),
            std::collections::BTreeSet::new(),
        )
    }

    /// FAULTS N821: the id of the CRM is either in the sealed blob or in the column.
    #[test]
    fn the_id_of_the_crm_is_sealed_with_the_update() {
        for id in ["P-1", "a \"quoted\" id", "[", "{}"] {
            for (sealer, column) in [(Sealer::default(), Some(id)), (sealed(), None)] {
                let stored = encode_update(&sealer, 7, &update(), Some(id)).unwrap();
                assert_eq!(stored.partner, column);
                let read = decode_update(&sealer, 7, &stored.update).unwrap();
                let partner = read.partner.as_ref().map(PartnerCustomerId::as_str);
                assert_eq!(partner.or(stored.partner), Some(id));
                assert_eq!(read.update, update());
            }
        }
        for sealer in [Sealer::default(), sealed()] {
            let stored = encode_update(&sealer, 7, &update(), None).unwrap();
            assert_eq!(stored.partner, None);
            let read = decode_update(&sealer, 7, &stored.update).unwrap();
            assert!(read.partner.is_none());
            assert_eq!(read.update, update());
        }
    }

    /// FAULTS N822: a sealed link belongs to the digest of its CRM's id.
    #[test]
    fn a_sealed_link_opens_only_under_its_digest() {
        let sealer = sealed();
        let blob = encode_link(&sealer, &[1; 16], "P-\u{e9}\"", Some("C-1")).unwrap();
        let ids = decode_link(&sealer, &[1; 16], &blob).unwrap().unwrap();
        assert_eq!(ids.partner.as_str(), "P-\u{e9}\"");
        assert_eq!(ids.imprint.unwrap().as_str(), "C-1");
        assert!(decode_link(&sealer, &[2; 16], &blob).is_err());
        let unknown = encode_link(&sealer, &[1; 16], "P", None).unwrap();
        let ids = decode_link(&sealer, &[1; 16], &unknown).unwrap().unwrap();
        assert!(ids.imprint.is_none());
    }
}
