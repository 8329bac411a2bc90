//! Symmetric signatures of Standard Webhooks 1.0: `v1` signatures of the text `id.timestamp.body`.
//!
//! The verifier ignores asymmetric `v1a` signatures. A sender possibly adds such signatures for receivers other than
//! the bridge.

use std::fmt;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox, SecretString};
use sha2::Sha256;

use super::examination::{CapturedRequest, Examination, NamedSecret};
use super::hmac::{
    Algorithm, HeaderItems, HmacScheme, SchemeKind, SecretEncoding, SignatureEncoding, SignedText,
    SigningTime, TimeUnit, examine,
};
use super::{Denial, KEY_BYTES_MAX, SecretFlaw, SecretMinimum, hmac_sha256, required};
use crate::time::Timestamp;

/// The header names of the specification (Standard Webhooks 1.0, "Webhook Headers").
const STANDARD_NAMES: SignatureHeaders = SignatureHeaders {
    id: "webhook-id",
    timestamp: "webhook-timestamp",
    signature: "webhook-signature",
};
/// The header names of Svix, which signs in the same way (Svix documentation, "Verifying Webhooks Manually", 2025).
const SVIX_NAMES: SignatureHeaders = SignatureHeaders {
    id: "svix-id",
    timestamp: "svix-timestamp",
    signature: "svix-signature",
};
const SECRET_PREFIX: &str = "whsec_";
/// Describes a secret, for error messages.
const SECRET_FORM: &str = "`whsec_` and a key in base64";
const SIGNATURE_PREFIX: &str = "v1,";
/// The minimum length of a secret in bytes (Standard Webhooks 1.0, "Signature scheme": 24 to 64 bytes). Some vendors
/// break this minimum, so a source file can replace it.
const SECRET_BYTES_MIN: usize = 24;
/// The maximum distance in seconds between the signing time and the bridge's clock, in both directions.
const TOLERANCE_SECONDS: u64 = 300;
/// The maximum number of signatures in a request that the verifier compares. While secrets are rotated, a sender sends
/// one signature for each secret.
const SIGNATURES_MAX: usize = 8;

/// A Standard Webhooks secret, for signing and for verifying requests.
#[derive(Clone)]
pub struct SigningKey(SecretBox<KeyBytes>);

#[derive(Clone)]
struct KeyBytes([u8; KEY_BYTES_MAX]);

impl secrecy::zeroize::Zeroize for KeyBytes {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl secrecy::CloneableSecret for KeyBytes {}

impl SigningKey {
    /// Parses a Standard Webhooks secret: `whsec_` followed by 24 to 64 bytes in base64.
    ///
    /// # Errors
    /// Returns the reason why the text is no such secret.
    pub fn parse(secret: &SecretString) -> Result<Self, SecretFlaw> {
        Self::parse_with(secret, SecretMinimum::default())
    }

    /// Parses a secret of which a source file can set the minimum length.
    ///
    /// # Errors
    /// Returns the reason why the text is no such secret.
    pub fn parse_with(secret: &SecretString, minimum: SecretMinimum) -> Result<Self, SecretFlaw> {
        let encoded = secret.expose_secret().strip_prefix(SECRET_PREFIX);
        let decoded = encoded.and_then(|encoded| SecretEncoding::Base64.decode(encoded));
        let decoded = decoded.ok_or(SecretFlaw::Encoding(SECRET_FORM))?;
        let decoded = SecretBox::new(Box::new(decoded));
        let decoded = decoded.expose_secret();
        if let Some(flaw) = minimum.flaw(decoded.len(), SECRET_BYTES_MIN) {
            return Err(flaw);
        }
        let mut key = SecretBox::new(Box::new(KeyBytes([0; KEY_BYTES_MAX])));
        let bytes = key.expose_secret_mut().0.get_mut(..decoded.len());
        bytes
            .ok_or(SecretFlaw::Long {
                bytes: decoded.len(),
                bytes_max: KEY_BYTES_MAX,
            })?
            .copy_from_slice(decoded);
        Ok(Self(key))
    }

    /// Returns the signature headers for a request that is signed at the time `at`.
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> [(&'static str, String); 3] {
        let timestamp = seconds(at).to_string();
        let mac = self.mac(id, &timestamp, body).finalize().into_bytes();
        let signature = format!("{SIGNATURE_PREFIX}{}", STANDARD.encode(mac));
        [
            (STANDARD_NAMES.id, id.to_owned()),
            (STANDARD_NAMES.timestamp, timestamp),
            (STANDARD_NAMES.signature, signature),
        ]
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let key = &self.0.expose_secret().0;
        hmac_sha256(
            key,
            &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body],
        )
    }
}

/// The debug output shows only the type name, never the secret.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// Returns whether the signature of a request covers the header `name`, so that an expression can read it.
pub fn covers_header(name: &str) -> bool {
    SignedValues::default()
        .headers()
        .iter()
        .any(|(known, _)| *known == name)
}

/// The values besides the body that a signature covers.
#[derive(Clone, Default)]
pub(super) struct SignedValues {
    /// The event id.
    pub(super) id: String,
    /// The signing time, as the sender wrote it.
    timestamp: String,
}

impl SignedValues {
    /// Returns the headers that can contain a signed value, each with this value. A request must not have the names of both
    /// specifications, unless their values are equal.
    pub(super) fn headers(&self) -> [(&'static str, &str); 4] {
        let names = [STANDARD_NAMES, SVIX_NAMES];
        let [standard, svix] =
            names.map(|names| [(names.id, &*self.id), (names.timestamp, &*self.timestamp)]);
        let ([id, timestamp], [svix_id, svix_timestamp]) = (standard, svix);
        [id, timestamp, svix_id, svix_timestamp]
    }
}

/// The names of the three signature headers.
#[derive(Clone, Copy)]
struct SignatureHeaders {
    id: &'static str,
    timestamp: &'static str,
    signature: &'static str,
}

impl SignatureHeaders {
    /// Returns the names that a request uses. A request with the header `webhook-signature` must use the names of the
    /// specification for all three headers.
    fn of(headers: &HeaderMap) -> Self {
        let is_svix = headers.contains_key(SVIX_NAMES.signature)
            && !headers.contains_key(STANDARD_NAMES.signature);
        if is_svix { SVIX_NAMES } else { STANDARD_NAMES }
    }

    /// Describes the signatures of Standard Webhooks as an HMAC scheme. The result is never `None`, because all parts of
    /// the scheme are constants.
    fn scheme(self) -> Option<HmacScheme> {
        let template = format!("{{header:{}}}.{{timestamp}}.{{body}}", self.id);
        let signing_time = SigningTime {
            header: HeaderName::from_static(self.timestamp),
            header_items: HeaderItems::default(),
            unit: TimeUnit::Seconds,
            tolerance: Duration::from_secs(TOLERANCE_SECONDS),
        };
        let prefix = SIGNATURE_PREFIX.to_owned();
        Some(HmacScheme {
            algorithm: Algorithm::Sha256,
            secret_encoding: SecretEncoding::Base64,
            header: HeaderName::from_static(self.signature),
            header_items: HeaderItems::new(prefix, Some(" ".to_owned())).ok()?,
            encoding: SignatureEncoding::Base64,
            signed: SignedText::new(template.parse().ok()?, Some(signing_time)).ok()?,
        })
    }
}

/// The signature headers of a request whose signing time is within the tolerance.
pub(super) struct SignedHead<'a> {
    id: &'a str,
    timestamp: &'a str,
    signatures: Vec<Vec<u8>>,
}

impl<'a> SignedHead<'a> {
    pub(super) fn read(headers: &'a HeaderMap, wall: Timestamp) -> Result<Self, Denial> {
        let names = SignatureHeaders::of(headers);
        let id = required(headers, names.id)?;
        let timestamp = required(headers, names.timestamp)?;
        let signatures = signatures(required(headers, names.signature)?);
        if signatures.is_empty() {
            let header = names.signature;
            let detail = format!("the header {header} has no signature `v1,` in base64");
            return Err(Denial::malformed(detail));
        }
        let signed_at = parse_seconds(timestamp).ok_or_else(|| {
            let header = names.timestamp;
            Denial::malformed(format!("the header {header} is not a number of seconds"))
        })?;
        if signed_at.abs_diff(seconds(wall)) > TOLERANCE_SECONDS {
            let apart = signed_at.saturating_sub(seconds(wall)).saturating_mul(1000);
            return Err(Denial::stale(
                names.timestamp,
                apart,
                TOLERANCE_SECONDS * 1000,
            ));
        }
        Ok(Self {
            id,
            timestamp,
            signatures,
        })
    }
}

/// Examines a captured request with a signature of Standard Webhooks.
///
/// # Errors
/// Returns the flaw of a secret, with the name of its file.
pub fn examine_standard_webhooks(
    secrets: &[NamedSecret],
    request: CapturedRequest<'_>,
) -> Result<Examination, (String, SecretFlaw)> {
    let key = |named: &NamedSecret| {
        let flaw = SecretFlaw::Encoding(SECRET_FORM);
        let key = named.secret.expose_secret().strip_prefix(SECRET_PREFIX);
        let key = key.ok_or_else(|| (named.file.clone(), flaw))?;
        Ok(NamedSecret {
            file: named.file.clone(),
            secret: SecretString::from(key),
        })
    };
    let keys: Vec<_> = secrets.iter().map(key).collect::<Result<_, _>>()?;
    match SignatureHeaders::of(request.head.headers).scheme() {
        Some(scheme) => {
            let denial = SignedHead::read(request.head.headers, request.wall).err();
            examine(&scheme, &keys, request, &SchemeKind::Standard(denial))
        }
        None => Ok(Examination::default()),
    }
}

/// Returns the denial of an authentic request for the receipt of the event `id`, if the sender signed another id.
pub fn receipt_denial(headers: &HeaderMap, id: &str) -> Option<Denial> {
    let name = SignatureHeaders::of(headers).id;
    let is_signed = required(headers, name).is_ok_and(|signed| signed == id);
    (!is_signed).then(Denial::other_event)
}

/// Returns the values that the sender signed. Returns an error if none of the signatures was made with one of `keys`.
pub(super) fn verify(
    keys: &[SigningKey],
    headers: &HeaderMap,
    body: &[u8],
    wall: Timestamp,
) -> Result<SignedValues, Denial> {
    let SignedHead {
        id,
        timestamp,
        signatures,
    } = SignedHead::read(headers, wall)?;
    // The verifier compares every pair of key and signature, even after a match: the duration of the check must not
    // reveal which key matched.
    let is_signed = keys.iter().fold(false, |is_signed, key| {
        let mac = key.mac(id, timestamp, body);
        is_signed | is_any(&mac, &signatures)
    });
    let signed = || SignedValues {
        id: id.to_owned(),
        timestamp: timestamp.to_owned(),
    };
    is_signed.then(signed).ok_or_else(|| {
        Denial::mismatch(format!(
            "no secret of the source (number of secrets: {}) makes a signature of the request (number of signatures: {}), for the text ID.TIMESTAMP.BODY with a body of {} bytes",
            keys.len(),
            signatures.len(),
            body.len()
        ))
    })
}

fn is_any(mac: &Hmac<Sha256>, signatures: &[Vec<u8>]) -> bool {
    signatures.iter().fold(false, |is_any, signature| {
        is_any | mac.clone().verify_slice(signature).is_ok()
    })
}

fn signatures(line: &str) -> Vec<Vec<u8>> {
    line.split(' ')
        .filter_map(|signature| signature.strip_prefix(SIGNATURE_PREFIX))
        .filter_map(|encoded| SignatureEncoding::Base64.decode(encoded))
        .take(SIGNATURES_MAX)
        .collect()
}

fn seconds(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(1000)
}

/// Parses a signing time of digits only. The parser of `i64` alone would also accept a plus or minus sign.
fn parse_seconds(text: &str) -> Option<i64> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}
