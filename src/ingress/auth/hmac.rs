//! HMAC signatures in a source's own scheme: which header, which encoding, over which text.
//!
//! A [`HmacScheme`] is what the configuration says, without secrets. [`HmacKeys`] are a scheme with its secrets: they verify, and
//! sign for tests and for the command `send`, by the same text.
//!
//! HMAC with SHA-1 is there because CRMs sign with it. It is not broken: what is broken of SHA-1 are collisions, which
//! HMAC does not rest on.

use std::fmt;

use ::hmac::{Hmac, KeyInit, Mac};
use actix_web::http::header::HeaderName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::{DenialReason, Error, Head, required};
use crate::time::Timestamp;

mod header_items;
mod signing_time;
mod template;

pub use header_items::HeaderItems;
pub use signing_time::{SigningTime, TimeUnit};
pub use template::Template;

/// A shorter secret could be guessed.
const SECRET_BYTES_MIN: usize = 16;
/// How many signatures are looked at: one a secret in rotation, and room to spare.
const SIGNATURES_MAX: usize = 8;

/// How a source signs; every value is right with every other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacScheme {
    /// The hash under the HMAC.
    pub algorithm: Algorithm,
    /// How a secret is written in its file.
    pub secret_encoding: SecretEncoding,
    /// The header that the signature stands in.
    pub header: HeaderName,
    /// Which parts of that header are signatures.
    pub marks: HeaderItems,
    /// How a signature is written.
    pub encoding: SignatureEncoding,
    /// What is signed.
    pub signed: SignedText,
}

/// The hash under the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1. HMAC-SHA1 is not broken, though nobody would choose it today.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a secret is written in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretEncoding {
    /// Its characters are the key.
    Text,
    /// The key in base64.
    Base64,
    /// The key in hexadecimal digits, of either case.
    Hex,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// Hexadecimal digits, of either case.
    Hex,
    /// Base64 with padding.
    Base64,
}

/// What is signed, and where its time stands if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedText {
    template: Template,
    stamp: Option<SigningTime>,
}

/// A template and the place of the time do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampMismatch {
    /// The time is signed, and nobody knows where it stands.
    #[error("is required where `signed` has {{timestamp}}")]
    NoStamp,
    /// There is a time that anybody could change.
    #[error("is not signed: `signed` has no {{timestamp}}")]
    Unsigned,
}

/// A scheme with its secrets.
pub struct HmacKeys {
    scheme: HmacScheme,
    secrets: Vec<SecretSlice<u8>>,
}

// === impl SignedText ===

impl SignedText {
    /// What is signed, with its time where the template has one.
    ///
    /// # Errors
    /// One of them has a time and the other has not.
    pub fn new(template: Template, stamp: Option<SigningTime>) -> Result<Self, TimestampMismatch> {
        match (template.has_timestamp(), &stamp) {
            (true, None) => Err(TimestampMismatch::NoStamp),
            (false, Some(_)) => Err(TimestampMismatch::Unsigned),
            (true, Some(_)) | (false, None) => Ok(Self { template, stamp }),
        }
    }

    /// Whether an old request can be told from a new one.
    pub const fn has_time(&self) -> bool {
        self.stamp.is_some()
    }
}

// === impl HmacKeys ===

impl HmacKeys {
    /// Takes the secrets of a scheme; any of them will do, and the first one signs.
    ///
    /// # Errors
    /// There is no secret, or one is not in its encoding or too short.
    pub fn new(scheme: HmacScheme, secrets: &[SecretString]) -> Result<Self, Error> {
        let decode = |(index, secret): (usize, &SecretString)| {
            scheme
                .secret_encoding
                .decode(secret.expose_secret())
                .map(SecretSlice::from)
                .filter(|secret| secret.expose_secret().len() >= SECRET_BYTES_MIN)
                .ok_or(Error::HmacSecret(index))
        };
        let secrets: Vec<_> = secrets
            .iter()
            .enumerate()
            .map(decode)
            .collect::<Result<_, _>>()?;
        if secrets.is_empty() {
            return Err(Error::NoSecret);
        }
        Ok(Self { scheme, secrets })
    }

    /// The headers with which a sender signs a request at `at`; `head` has all other headers.
    ///
    /// `None` where a header that is to be signed is not there once, as text.
    pub fn sign(
        &self,
        head: Head<'_>,
        at: Timestamp,
        body: &[u8],
    ) -> Option<Vec<(HeaderName, String)>> {
        let HmacScheme {
            algorithm,
            header,
            marks,
            encoding,
            signed,
            ..
        } = &self.scheme;
        let time = signed.stamp.as_ref().map(|stamp| stamp.unit.write(at));
        let written = time.as_deref().unwrap_or_default();
        let text = signed.template.fill(head, written, body).ok()?;
        let mac = algorithm.mac(self.secrets.first()?.expose_secret(), &text)?;
        let signature = marks.item(&encoding.encode(&mac));
        let stamp = signed.stamp.as_ref().zip(time);
        let stamp = stamp.map(|(stamp, time)| (&stamp.header, stamp.marks.item(&time)));
        Some(match stamp {
            Some((same, time)) if same == header => {
                let separator = marks.separator();
                vec![(header.clone(), format!("{time}{separator}{signature}"))]
            }
            Some((other, time)) => vec![(other.clone(), time), (header.clone(), signature)],
            None => vec![(header.clone(), signature)],
        })
    }

    /// Says whether one of the secrets made one of the signatures.
    pub(super) fn verify(
        &self,
        head: Head<'_>,
        body: &[u8],
        wall: Timestamp,
    ) -> Result<(), DenialReason> {
        let HmacScheme {
            algorithm,
            header,
            marks,
            encoding,
            signed,
            ..
        } = &self.scheme;
        let line = required(head.headers, header.as_str())?;
        let signatures: Vec<_> = marks
            .items(line)
            .filter_map(|text| encoding.decode(text))
            .take(SIGNATURES_MAX)
            .collect();
        if signatures.is_empty() {
            return Err(DenialReason::Malformed);
        }
        let time = match &signed.stamp {
            Some(stamp) => stamp.read(head.headers, wall)?,
            None => "",
        };
        let text = signed.template.fill(head, time, body)?;
        // Every pair is compared, whichever matches: which key is current cannot be timed.
        let is_signed = self.secrets.iter().fold(false, |is_signed, secret| {
            is_signed | algorithm.made_any(secret.expose_secret(), &text, &signatures)
        });
        is_signed.then_some(()).ok_or(DenialReason::Mismatch)
    }

    /// Whether the path is signed.
    pub(super) fn sign_path(&self) -> bool {
        self.scheme.signed.template.has_path()
    }

    /// Whether the header of this name, in lower case, is signed.
    pub(super) fn sign_header(&self, name: &str) -> bool {
        self.scheme.signed.template.has_header(name)
    }
}

/// Never the secrets.
impl fmt::Debug for HmacKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacKeys")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

// === impl Algorithm ===

impl Algorithm {
    fn mac(self, key: &[u8], text: &[&[u8]]) -> Option<Vec<u8>> {
        match self {
            Self::Sha1 => made::<Hmac<Sha1>>(key, text),
            Self::Sha256 => made::<Hmac<Sha256>>(key, text),
            Self::Sha512 => made::<Hmac<Sha512>>(key, text),
        }
    }

    fn made_any(self, key: &[u8], text: &[&[u8]], signatures: &[Vec<u8>]) -> bool {
        match self {
            Self::Sha1 => made_any::<Hmac<Sha1>>(key, text, signatures),
            Self::Sha256 => made_any::<Hmac<Sha256>>(key, text, signatures),
            Self::Sha512 => made_any::<Hmac<Sha512>>(key, text, signatures),
        }
    }
}

fn made<M: Mac + KeyInit>(key: &[u8], text: &[&[u8]]) -> Option<Vec<u8>> {
    keyed::<M>(key, text).map(|mac| mac.finalize().into_bytes().to_vec())
}

fn made_any<M: Mac + KeyInit + Clone>(key: &[u8], text: &[&[u8]], signatures: &[Vec<u8>]) -> bool {
    keyed::<M>(key, text).is_some_and(|mac| {
        signatures.iter().fold(false, |is_any, signature| {
            is_any | mac.clone().verify_slice(signature).is_ok()
        })
    })
}

/// `None` would be a key of a length that the algorithm does not take; HMAC takes all.
fn keyed<M: Mac + KeyInit>(key: &[u8], text: &[&[u8]]) -> Option<M> {
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    for piece in text {
        mac.update(piece);
    }
    Some(mac)
}

// === impl SecretEncoding, SignatureEncoding ===

impl SecretEncoding {
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Text => Some(text.as_bytes().to_vec()),
            Self::Base64 => STANDARD.decode(text).ok(),
            Self::Hex => unhex(text),
        }
    }
}

impl SignatureEncoding {
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => unhex(text),
            Self::Base64 => STANDARD.decode(text).ok(),
        }
    }

    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(high)? << 4 | digit(low)?));
    bytes.collect::<Option<_>>().filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests;
