//! The stored form of the two ids of an identity link inside a sealed blob.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::blob::{BlobKind, CodecError, decode_bytes, encode};
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::outbox::keyed_digest::KeyedDigest;
use crate::outbox::sealer::Sealer;

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

    use super::*;
    use crate::sealing::{KeyRing, SealingKey};

    fn sealed() -> Sealer {
        let hex: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let key = SealingKey::parse(&hex.into()).unwrap();
        Sealer::new(
            Arc::new(KeyRing::new([key])),
            std::collections::BTreeSet::new(),
        )
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
