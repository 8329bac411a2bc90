//! Keyed digests, which stand for ids that the store must find but must not contain as text. This module is pure.
//!
//! Nobody without the key can find out, or try out, which id a digest stands for. Each use has its own key, which is derived
//! from the key of the content digests. The newest sealing key seals the key of the content digests, so a rotation of the
//! sealing keys changes no digest. In a store without sealing keys, a person with the store file can try out ids.

use std::fmt;

use ring::hmac::{Context, HMAC_SHA256, Key};

/// The length of a digest in bytes. Two of a billion digests are equal with a probability of 2^-69.
const DIGEST_BYTES: usize = 16;

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
