//! Keyed digests, which stand for ids that the store must find but must not contain as text. This module is pure.
//!
//! Nobody without the key can find out, or try out, which id a digest stands for. Each use has its own key, which is derived
//! from the key of the content digests. The newest sealing key seals the key of the content digests, so a rotation of the
//! sealing keys changes no digest. In a store without sealing keys, a person with the store file can try out ids.

use std::fmt;

use ring::hmac::{Context, HMAC_SHA256, Key};

use super::codec::LaneColumns;

/// The label of the derivation of the key for the digests of customer ids.
const CUSTOMERS_LABEL: &[u8] = b"imprint-bridge customers v1";
const CUSTOMER_LABEL: &[u8] = b"customer";
/// The length of a digest in bytes. Two of a billion digests are equal with a probability of 2^-69.
const DIGEST_BYTES: usize = 16;

/// The key of the digests of event contents, from which the keys of all other digests are derived.
pub(super) type DigestKey = [u8; 32];

/// A digest that stands for an id.
pub(super) type KeyedDigest = [u8; DIGEST_BYTES];

/// The key of the digests of one use.
pub(super) struct KeyedDigests(Key);

/// Prints nothing, because the key is secret.
impl fmt::Debug for KeyedDigests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedDigests")
    }
}

impl KeyedDigests {
    /// Derives the key of a use from the key of the content digests.
    pub(super) fn derive(digest_key: &[u8; 32], use_label: &[u8]) -> Self {
        let derived = ring::hmac::sign(&Key::new(HMAC_SHA256, digest_key), use_label);
        Self(Key::new(HMAC_SHA256, derived.as_ref()))
    }

    /// Computes the digest of some parts, each with its length.
    pub(super) fn digest(&self, label: &[u8], parts: &[&[u8]]) -> KeyedDigest {
        let mut context = Context::with_key(&self.0);
        context.update(label);
        for part in parts {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        let (digest, _rest) = tag.as_ref().split_first_chunk().unwrap_or((&[0; _], &[]));
        *digest
    }
}

/// The digests of customer ids, by which a sealed store finds lanes and identity links.
#[derive(Debug)]
pub(super) struct CustomerDigests(KeyedDigests);

impl CustomerDigests {
    /// Derives the key from the key of the content digests.
    pub(super) fn new(digest_key: &[u8; 32]) -> Self {
        Self(KeyedDigests::derive(digest_key, CUSTOMERS_LABEL))
    }

    /// Returns the digest of a customer id.
    pub(super) fn of(&self, id: &LaneColumns<'_>) -> KeyedDigest {
        self.0
            .digest(CUSTOMER_LABEL, &[&[id.kind], id.canonical.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imprint::{ImprintId, PartnerCustomerId};
    use crate::outbox::codec::{imprint_columns, partner_columns};

    /// FAULTS N820: the digests of a store must not change, or the store would find no customer any more.
    #[test]
    fn digests_differ_by_kind_id_and_key_and_never_change() {
        let imprint = ImprintId::parse("c1").unwrap();
        let partner = PartnerCustomerId::parse("c1").unwrap();
        let digests = CustomerDigests::new(&[7; 32]);
        let imprint = digests.of(&imprint_columns(&imprint));
        let partner = digests.of(&partner_columns(&partner));
        assert_ne!(imprint, partner);
        let other = ImprintId::parse("c1").unwrap();
        let other = CustomerDigests::new(&[8; 32]).of(&imprint_columns(&other));
        assert_ne!(imprint, other);
        assert_eq!(u128::from_be_bytes(imprint), PINNED, "{imprint:02x?}");
    }

    const PINNED: u128 = 0xb3e6_1359_8b34_e6ec_c7e4_11b0_6b67_6db3;

    /// For a UUID, the case of the letters does not matter.
    #[test]
    fn two_spellings_of_one_id_have_one_digest() {
        let digests = CustomerDigests::new(&[7; 32]);
        let [lower, upper] = [
            "2c9f3a52-7d41-4f0e-9a3b-5e8d1c6b7a90",
            "2C9F3A52-7D41-4F0E-9A3B-5E8D1C6B7A90",
        ]
        .map(|id| digests.of(&imprint_columns(&ImprintId::parse(id).unwrap())));
        assert_eq!(lower, upper);
    }
}
