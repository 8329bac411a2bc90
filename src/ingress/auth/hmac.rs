//! HMAC signatures in a source's own scheme: the configuration names the header, the encoding and the signed text.
//!
//! An [`HmacScheme`] is the configuration of the signatures without secrets. [`HmacKeys`] is a scheme with its secrets.
//! [`HmacKeys`] verifies requests, and signs requests for tests and for the command `send`.
//!
//! The bridge supports HMAC-SHA1, because some CRMs use it. HMAC-SHA1 is not broken: attackers can find SHA-1
//! collisions, but an attack on HMAC needs more than collisions.

use std::fmt;

use ::hmac::{Hmac, KeyInit, Mac};
use actix_web::http::header::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::{Denial, Error, Head, SecretFlaw, SecretMinimum, required};
use crate::time::Timestamp;

mod encoding;
mod examination;
mod header_items;
mod mistakes;
mod plain_hashes;
mod sent_body;
mod signed_texts;
mod signing_time;
mod template;

pub use encoding::{SecretEncoding, SignatureEncoding};
pub use examination::examine_hmac;
pub(super) use examination::{SchemeKind, examine};
pub use header_items::HeaderItems;
pub use signing_time::{SigningTime, TimeUnit};
pub use template::Template;

/// The default minimum length of an HMAC secret. An attacker could guess a shorter secret.
const SECRET_BYTES_MIN: usize = 16;
/// The maximum number of signatures in a request that the verifier compares. While secrets are rotated, a sender sends
/// one signature for each secret.
const SIGNATURES_MAX: usize = 8;

/// The HMAC scheme of a source. All fields can be combined freely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacScheme {
    /// The hash algorithm of the HMAC scheme.
    pub algorithm: Algorithm,
    /// The encoding of an HMAC secret in its file.
    pub secret_encoding: SecretEncoding,
    /// The name of the header that contains the signature.
    pub header: HeaderName,
    /// Selects the signatures in the value of the signature header.
    pub header_items: HeaderItems,
    /// The encoding of a signature in the header.
    pub encoding: SignatureEncoding,
    /// The text that the source signs.
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

/// The text that a source signs. If the text contains the signing time, this type also names the header of the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedText {
    template: Template,
    signing_time: Option<SigningTime>,
}

/// The error of an HMAC scheme in which only one of two settings exists: the `{timestamp}` in the template, or the
/// header of the signing time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampMismatch {
    /// The template contains `{timestamp}`, but the configuration names no header for the signing time.
    #[error("is required because `signed` has {{timestamp}}")]
    NoSigningTime,
    /// The configuration names a header for the signing time, but the template does not contain `{timestamp}`. An
    /// attacker could therefore change the time.
    #[error("is not signed: `signed` has no {{timestamp}}")]
    Unsigned,
}

/// An HMAC scheme with its secrets.
pub struct HmacKeys {
    scheme: HmacScheme,
    secrets: Vec<SecretSlice<u8>>,
}

// === impl SignedText ===

impl SignedText {
    /// Combines a template with the header of the signing time.
    ///
    /// # Errors
    /// Returns an error if the template has `{timestamp}` but `signing_time` is `None`, or if the template has no
    /// `{timestamp}` but `signing_time` is given.
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

    /// Returns whether the header `name` has only the signing time, so that the signature covers the whole header.
    fn is_whole_time(&self, name: &str) -> bool {
        let time = self.signing_time.as_ref();
        time.is_some_and(|time| {
            time.header.as_str() == name && time.header_items.separator().is_empty()
        })
    }

    /// Returns whether the signed text contains the signing time. Without a signing time, the bridge cannot recognise
    /// an old request.
    pub const fn has_time(&self) -> bool {
        self.signing_time.is_some()
    }
}

// === impl HmacScheme ===

impl HmacScheme {
    /// Returns a warning if the prefix of the signature names another algorithm than the setting: then no request can match.
    pub fn other_algorithm(&self) -> Option<String> {
        let named = self.header_items.prefix().trim_end_matches(['=', ':', ' ']);
        let named = named.to_ascii_lowercase().replace('-', "");
        let algorithm = self.algorithm.as_str();
        let is_other = ["sha1", "sha256", "sha512"].contains(&named.as_str()) && named != algorithm;
        is_other.then(|| {
            format!(
                "auth.prefix names {named}, and auth.algorithm is \"{algorithm}\": if the sender signs with {named}, write algorithm = \"{named}\""
            )
        })
    }

    /// Returns whether the signature covers the path of the request.
    fn covers_path(&self) -> bool {
        self.signed.template.has_path()
    }

    /// Returns the denial of every request for a receipt, if the signature cannot cover the event id in the path.
    pub fn receipt_denial(&self) -> Option<Denial> {
        (!self.covers_path()).then(Denial::unsigned_path)
    }

    /// Returns whether the signature covers the header `name`. `name` is in lower case.
    pub fn covers_header(&self, name: &str) -> bool {
        self.signed.template.has_header(name) || self.signed.is_whole_time(name)
    }

    /// Returns an error if an attacker could move characters between the signed header `name` and another signed value.
    pub fn header_flaw(&self, name: &str) -> Option<String> {
        self.signed.template.header_flaw(name)
    }
}

// === impl HmacKeys ===

impl HmacKeys {
    /// Adds the secrets to an HMAC scheme. The bridge accepts a signature with any of the secrets. [`HmacKeys::sign`]
    /// uses the first secret.
    ///
    /// # Errors
    /// Returns an error if there is no secret, or if a secret is too short or does not have the configured encoding.
    pub fn new(
        scheme: HmacScheme,
        secrets: &[SecretString],
        minimum: SecretMinimum,
    ) -> Result<Self, Error> {
        let decode = |(index, secret): (usize, &SecretString)| {
            let encoding = scheme.secret_encoding;
            let flawed = |flaw| Error::Secret { index, flaw };
            let secret = encoding.decode(secret.expose_secret());
            let wrong = || flawed(SecretFlaw::Encoding(encoding.alphabet()));
            let secret = secret.ok_or_else(wrong)?;
            match minimum.flaw(secret.len(), SECRET_BYTES_MIN) {
                Some(flaw) => Err(flawed(flaw)),
                None => Ok(SecretSlice::from(secret)),
            }
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

    /// Returns the signature headers for a request that is signed at the time `at`. `head` contains all other headers.
    ///
    /// Returns `None` if the template names a header that is missing, occurs more than once or is not text.
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

    /// Returns the signatures of a request and the text of its signing time. Returns an error if the time is out of
    /// tolerance.
    pub(super) fn read_head<'a>(
        &'a self,
        headers: &'a HeaderMap,
        wall: Timestamp,
    ) -> Result<(Vec<Vec<u8>>, &'a str), Denial> {
        let HmacScheme {
            header,
            header_items,
            encoding,
            signed,
            ..
        } = &self.scheme;
        let line = required(headers, header.as_str())?;
        let signatures: Vec<_> = header_items
            .items(line)
            .filter_map(|text| encoding.decode(text))
            .take(SIGNATURES_MAX)
            .collect();
        if signatures.is_empty() {
            let detail = format!(
                "the header {header} has no signature in the encoding auth.encoding \"{}\" after auth.prefix {:?}",
                encoding.as_str(),
                header_items.prefix()
            );
            return Err(Denial::malformed(detail));
        }
        let time = match &signed.signing_time {
            Some(signing_time) => signing_time.read(headers, wall)?,
            None => "",
        };
        Ok((signatures, time))
    }

    /// Verifies that at least one signature of the request was made with one of the secrets.
    pub(super) fn verify(
        &self,
        head: Head<'_>,
        body: &[u8],
        wall: Timestamp,
    ) -> Result<(), Denial> {
        let (signatures, time) = self.read_head(head.headers, wall)?;
        let HmacScheme {
            algorithm, signed, ..
        } = &self.scheme;
        let text = signed.template.fill(head, time, body)?;
        // The verifier compares every pair of secret and signature, even after a match: the duration of the check must
        // not reveal which secret matched.
        let is_signed = self.secrets.iter().fold(false, |is_signed, secret| {
            is_signed | algorithm.made_any(secret.expose_secret(), &text, &signatures)
        });
        is_signed.then_some(()).ok_or_else(|| {
            Denial::mismatch(format!(
                "no secret of the source (number of secrets: {}) makes a signature of the request (number of signatures: {}) in the header {}, for the text {} with a body of {} bytes",
                self.secrets.len(),
                signatures.len(),
                self.scheme.header,
                signed.template,
                body.len()
            ))
        })
    }

    /// Returns the denial of every request for a receipt, if the signature cannot cover the event id in the path.
    pub(super) fn receipt_denial(&self) -> Option<Denial> {
        self.scheme.receipt_denial()
    }

    /// Returns whether the signature covers the path of the request.
    pub(super) fn covers_path(&self) -> bool {
        self.scheme.covers_path()
    }

    /// Returns whether the signature covers the header `name`. `name` is in lower case.
    pub(super) fn covers_header(&self, name: &str) -> bool {
        self.scheme.covers_header(name)
    }
}

/// The debug output shows the HMAC scheme without the secrets.
impl fmt::Debug for HmacKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacKeys")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

// === impl Algorithm ===

impl Algorithm {
    /// Returns the value of the setting `auth.algorithm`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the length of a signature in bytes.
    const fn signature_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

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

/// Feeds `text` into an HMAC with `key`. The result is never `None`, because HMAC accepts keys of every length.
fn keyed<M: Mac + KeyInit>(key: &[u8], text: &[&[u8]]) -> Option<M> {
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    for piece in text {
        mac.update(piece);
    }
    Some(mac)
}

#[cfg(test)]
mod tests;
