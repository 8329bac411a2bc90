//! HMAC signatures in a scheme of the source's own: the header, the encoding and the signed text are configured.
//!
//! A [`HmacScheme`] is the configuration without secrets. [`HmacKeys`] is a scheme with its secrets. It verifies requests, and
//! it signs them for tests and for the command `send`; both use the same signed text.
//!
//! HMAC-SHA1 is supported because some CRMs use it. It is not broken: SHA-1 has collisions, and the security of HMAC does
//! not depend on them.

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

/// The minimum length of a secret: a shorter one could be guessed.
const SECRET_BYTES_MIN: usize = 16;
/// The maximum number of signatures that are compared: one for each secret in rotation, and some more.
const SIGNATURES_MAX: usize = 8;

/// How a source signs. All values can be combined freely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacScheme {
    /// The hash algorithm.
    pub algorithm: Algorithm,
    /// The encoding of a secret in its file.
    pub secret_encoding: SecretEncoding,
    /// The header with the signature.
    pub header: HeaderName,
    /// The parts of that header that are signatures.
    pub header_items: HeaderItems,
    /// The encoding of a signature.
    pub encoding: SignatureEncoding,
    /// The text that is signed.
    pub signed: SignedText,
}

/// The hash algorithm of the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// The encoding of a secret in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretEncoding {
    /// The UTF-8 bytes of the text are the key.
    Text,
    /// Base64 with padding.
    Base64,
    /// Hexadecimal digits in either case.
    Hex,
}

/// The encoding of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// Hexadecimal digits in either case.
    Hex,
    /// Base64 with padding.
    Base64,
}

/// The text that is signed, and where the time of signing is, if it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedText {
    template: Template,
    signing_time: Option<SigningTime>,
}

/// The template and the time of signing contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampMismatch {
    /// The template has a time, but no header for it is configured.
    #[error("is required because `signed` has {{timestamp}}")]
    NoSigningTime,
    /// A header for the time is configured, but the template does not sign it: anybody could change it.
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
    /// Combines a template with the place of its time.
    ///
    /// # Errors
    /// Fails if only the template has `{timestamp}`, or if only a signing time is configured.
    pub fn new(
        template: Template,
        signing_time: Option<SigningTime>,
    ) -> Result<Self, TimestampMismatch> {
        match (template.has_timestamp(), &signing_time) {
            (true, None) => Err(TimestampMismatch::NoSigningTime),
            (false, Some(_)) => Err(TimestampMismatch::Unsigned),
            (true, Some(_)) | (false, None) => Ok(Self {
                template,
                signing_time,
            }),
        }
    }

    /// Returns whether a time is signed, so that an old request can be recognised.
    pub const fn has_time(&self) -> bool {
        self.signing_time.is_some()
    }
}

// === impl HmacKeys ===

impl HmacKeys {
    /// Adds the secrets to a scheme. A request may be signed with any of them; [`HmacKeys::sign`] uses the first.
    ///
    /// # Errors
    /// Fails if there is no secret, or if a secret is too short or not in its encoding.
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

    /// Returns the headers that sign a request at the time `at`. `head` has all other headers.
    ///
    /// Returns `None` if a header that must be signed is missing, occurs more than once or is not text.
    pub fn sign(
        &self,
        head: Head<'_>,
        at: Timestamp,
        body: &[u8],
    ) -> Option<Vec<(HeaderName, String)>> {
        let HmacScheme {
            algorithm,
            header,
            header_items,
            encoding,
            signed,
            ..
        } = &self.scheme;
        let time = signed
            .signing_time
            .as_ref()
            .map(|signing_time| signing_time.unit.write(at));
        let written = time.as_deref().unwrap_or_default();
        let text = signed.template.fill(head, written, body).ok()?;
        let mac = algorithm.mac(self.secrets.first()?.expose_secret(), &text)?;
        let signature = header_items.item(&encoding.encode(&mac));
        let signing_time = signed.signing_time.as_ref().zip(time);
        let signing_time = signing_time.map(|(signing_time, time)| {
            (&signing_time.header, signing_time.header_items.item(&time))
        });
        Some(match signing_time {
            Some((same, time)) if same == header => {
                let separator = header_items.separator();
                vec![(header.clone(), format!("{time}{separator}{signature}"))]
            }
            Some((other, time)) => vec![(other.clone(), time), (header.clone(), signature)],
            None => vec![(header.clone(), signature)],
        })
    }

    /// Verifies that one of the secrets made one of the signatures.
    pub(super) fn verify(
        &self,
        head: Head<'_>,
        body: &[u8],
        wall: Timestamp,
    ) -> Result<(), DenialReason> {
        let HmacScheme {
            algorithm,
            header,
            header_items,
            encoding,
            signed,
            ..
        } = &self.scheme;
        let line = required(head.headers, header.as_str())?;
        let signatures: Vec<_> = header_items
            .items(line)
            .filter_map(|text| encoding.decode(text))
            .take(SIGNATURES_MAX)
            .collect();
        if signatures.is_empty() {
            return Err(DenialReason::Malformed);
        }
        let time = match &signed.signing_time {
            Some(signing_time) => signing_time.read(head.headers, wall)?,
            None => "",
        };
        let text = signed.template.fill(head, time, body)?;
        // Every pair is compared, even after a match, so that the time does not reveal which key is current.
        let is_signed = self.secrets.iter().fold(false, |is_signed, secret| {
            is_signed | algorithm.made_any(secret.expose_secret(), &text, &signatures)
        });
        is_signed.then_some(()).ok_or(DenialReason::Mismatch)
    }

    /// Returns whether the signature covers the path.
    pub(super) fn covers_path(&self) -> bool {
        self.scheme.signed.template.has_path()
    }

    /// Returns whether the signature covers this header. The name is in lower case.
    pub(super) fn covers_header(&self, name: &str) -> bool {
        self.scheme.signed.template.has_header(name)
    }
}

/// Never prints the secrets.
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

/// Never `None`: HMAC accepts keys of every length.
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
