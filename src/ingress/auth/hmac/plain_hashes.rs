//! A hash in the place of a signature: the sender hashes the body, with or without the secret, and makes no HMAC.

use secrecy::ExposeSecret as _;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

use super::super::examination::{CapturedRequest, NamedSecret};
use super::mistakes::SIGNATURE_ENCODINGS;
use super::{Algorithm, HmacScheme};

impl HmacScheme {
    /// Returns the last line about a request whose signature header has a plain hash.
    pub(super) fn plain_hash(
        &self,
        line: &str,
        secrets: &[NamedSecret],
        request: CapturedRequest<'_>,
    ) -> Option<String> {
        let with_secret = secrets.iter().flat_map(|named| {
            let secret = named.secret.expose_secret().as_bytes();
            [
                ("the secret and the body", [secret, request.body].concat()),
                ("the body and the secret", [request.body, secret].concat()),
            ]
        });
        let alone = [("the body without a secret", request.body.to_vec())];
        let texts: Vec<_> = alone.into_iter().chain(with_secret).collect();
        let hashes = texts.iter().flat_map(|(what, text)| {
            let hashes = [
                (Algorithm::Sha1, Sha1::digest(text).to_vec()),
                (Algorithm::Sha256, Sha256::digest(text).to_vec()),
                (Algorithm::Sha512, Sha512::digest(text).to_vec()),
            ];
            hashes.map(|(algorithm, hash)| (*what, algorithm, hash))
        });
        let mut hashes = hashes;
        let (what, algorithm, _) = hashes.find(|(_, _, hash)| {
            let mut encodings = SIGNATURE_ENCODINGS.into_iter();
            encodings.any(|encoding| self.is_in(line, encoding, hash).is_some())
        })?;
        Some(format!(
            "the value is a plain {} hash of {what}, and no HMAC. The sender must sign with an HMAC",
            algorithm.as_str()
        ))
    }
}
