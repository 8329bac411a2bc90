//! Who may speak for a source: untrusted bytes become authentic bytes, or they become nothing.
//!
//! It stands before parsing and reads raw bytes, so that a body is never read that its source did not send. Secrets
//! are compared in constant time; the one who asks hears the same whatever was wrong, and only a metric knows why.

use std::fmt;
use std::sync::Arc;

use ::hmac::{Hmac, KeyInit, Mac};
use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::event::{Attribute, cloudevents};
use crate::http::single_header::SingleHeader;
use crate::intake;
use crate::time::Timestamp;

pub mod hmac;
mod rotating;
mod standard_webhooks;

pub use rotating::RotatingVerifier;
pub use standard_webhooks::SigningKey;

/// A shorter bearer token could be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// Both sides of a comparison of tokens go through this HMAC, so that neither length nor prefix can be timed.
const TOKEN_LABEL: &[u8; 27] = b"imprint-bridge bearer token";
/// The header of the one attribute that can have only one value.
const SPECVERSION: &str = "ce-specversion";
const BEARER: &str = "bearer";

/// A secret is not what its kind of authentication asks for. Which one: its place in the list, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is none: verification is never off by accident.
    #[error("there is no secret; authentication `none` must be spelled out")]
    NoSecret,
    /// A token is short, or cannot stand in a header.
    #[error("token {0} is not 16 or more visible ASCII characters")]
    Token(usize),
    /// A signing secret is not one of Standard Webhooks.
    #[error("secret {0} is not `whsec_` and 24 to 64 bytes in base64")]
    SigningSecret(usize),
    /// A secret of a source's own scheme is short, or not in its encoding.
    #[error("secret {0} is not 16 or more bytes as auth.secret_encoding has them")]
    HmacSecret(usize),
}

/// The head of a request, as far as it can be signed.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query, exactly as in the request line.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// Never the content: paths have ids in them, headers secrets.
impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Head")
    }
}

/// What came over the wire and nobody vouches for yet.
#[derive(Clone)]
pub struct Untrusted<T>(T);

impl<T> Untrusted<T> {
    /// Marks what came over the wire.
    pub const fn new(inner: T) -> Self {
        Self(inner)
    }
}

/// Never the content: it is personal data.
impl<T> fmt::Debug for Untrusted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Untrusted")
    }
}

/// What the source has sent, as far as its authentication can tell.
#[derive(Clone)]
pub struct Authentic<T> {
    content: T,
    signed: SignatureScope,
}

/// What a signature is about, besides the body.
#[derive(Clone)]
enum SignatureScope {
    /// There is no signature: whoever knows the token is believed in everything.
    Nothing,
    /// This id.
    Id(String),
    /// What the template of this scheme has.
    Text(Arc<hmac::HmacKeys>),
}

impl<T> Authentic<T> {
    /// What was sent.
    pub const fn content(&self) -> &T {
        &self.content
    }

    /// Whether the signature, where there is one, is about the event with this id, which stands in the path.
    pub fn is_about(&self, id: &Attribute) -> bool {
        match &self.signed {
            SignatureScope::Nothing => true,
            SignatureScope::Id(signed) => signed == id.as_str(),
            SignatureScope::Text(keys) => keys.sign_path(),
        }
    }

    /// In binary mode the attributes of the event are headers: what intake uses of them must be signed, if anything is.
    ///
    /// An event without a readable id or type passes: intake reads them the same way and rejects it.
    ///
    /// # Errors
    /// The signature does not cover an attribute that intake uses.
    pub fn verify_attributes(
        &self,
        source: &intake::Source,
        attribute_headers: Option<&[(&str, &[u8])]>,
    ) -> Result<(), DenialReason> {
        let Some(headers) = attribute_headers else {
            return Ok(());
        };
        let is_covered = match &self.signed {
            SignatureScope::Nothing => true,
            SignatureScope::Id(signed) => {
                let attribute = |name| cloudevents::header_attribute(headers, name);
                let event_type = attribute("type").and_then(|text| Attribute::parse(&text).ok());
                attribute("id").is_none_or(|id| id == *signed)
                    && event_type.is_none_or(|name| source.identifies_by_data_only(&name))
            }
            SignatureScope::Text(keys) => headers
                .iter()
                .map(|(name, _)| *name)
                .filter(|name| cloudevents::is_attribute(name) && *name != SPECVERSION)
                .all(|name| keys.sign_header(name)),
        };
        is_covered.then_some(()).ok_or(DenialReason::Mismatch)
    }
}

/// Never the content: it is personal data.
impl<T> fmt::Debug for Authentic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authentic")
    }
}

/// The reason for an authentication failure. It is a metric label only: the sender never learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// A header is not there.
    Missing,
    /// A header is there and cannot be read.
    Malformed,
    /// It was signed too long ago, or by a clock that is ahead.
    Stale,
    /// No secret of ours made this.
    Mismatch,
}

impl DenialReason {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Mismatch => "mismatch",
        }
    }
}

/// How a source proves that a request is its own.
#[derive(Clone)]
pub struct Verifier(AuthScheme);

#[derive(Clone)]
enum AuthScheme {
    None,
    Bearer(Vec<SecretString>),
    StandardWebhooks(Vec<SigningKey>),
    Hmac(Arc<hmac::HmacKeys>),
}

impl Verifier {
    /// Believes everybody: for a source that nobody else can reach.
    pub const fn none() -> Self {
        Self(AuthScheme::None)
    }

    /// Believes who knows one of these tokens, sent as `Authorization: Bearer …`.
    ///
    /// # Errors
    /// There is no token, or one is too short or could not stand in a header.
    pub fn bearer(tokens: &[SecretString]) -> Result<Self, Error> {
        let parse = |(index, token): (usize, &SecretString)| {
            let bytes = token.expose_secret().as_bytes();
            let fits = bytes.len() >= TOKEN_BYTES_MIN && bytes.iter().all(u8::is_ascii_graphic);
            fits.then(|| token.clone()).ok_or(Error::Token(index))
        };
        let tokens: Vec<_> = tokens
            .iter()
            .enumerate()
            .map(parse)
            .collect::<Result<_, _>>()?;
        if tokens.is_empty() {
            return Err(Error::NoSecret);
        }
        Ok(Self(AuthScheme::Bearer(tokens)))
    }

    /// Believes who signs with one of these secrets as Standard Webhooks 1.0 has it (`v1`, HMAC-SHA256).
    ///
    /// # Errors
    /// There is no secret, or one is not `whsec_` and 24 to 64 bytes in base64.
    pub fn standard_webhooks(secrets: &[SecretString]) -> Result<Self, Error> {
        let parse = |(index, secret)| SigningKey::parse(secret).ok_or(Error::SigningSecret(index));
        let keys: Vec<_> = secrets
            .iter()
            .enumerate()
            .map(parse)
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(Error::NoSecret);
        }
        Ok(Self(AuthScheme::StandardWebhooks(keys)))
    }

    /// Believes who signs with one of the secrets of a scheme of its own.
    pub fn hmac(keys: hmac::HmacKeys) -> Self {
        Self(AuthScheme::Hmac(Arc::new(keys)))
    }

    /// What a refusal names in `WWW-Authenticate`.
    pub const fn challenge(&self) -> &'static str {
        match self.0 {
            AuthScheme::None => "None",
            AuthScheme::Bearer(_) => "Bearer",
            AuthScheme::StandardWebhooks(_) => "StandardWebhooks",
            AuthScheme::Hmac(_) => "HMAC",
        }
    }

    /// Takes the body if the head proves it at the time `wall`.
    ///
    /// # Errors
    /// It does not.
    pub fn verify(
        &self,
        head: Head<'_>,
        body: Untrusted<Bytes>,
        wall: Timestamp,
    ) -> Result<Authentic<Bytes>, DenialReason> {
        let signed =
            match &self.0 {
                AuthScheme::None => SignatureScope::Nothing,
                AuthScheme::Bearer(tokens) => {
                    bearer(tokens, head.headers)?;
                    SignatureScope::Nothing
                }
                AuthScheme::StandardWebhooks(keys) => SignatureScope::Id(
                    standard_webhooks::verify(keys, head.headers, &body.0, wall)?,
                ),
                AuthScheme::Hmac(keys) => {
                    keys.verify(head, &body.0, wall)?;
                    SignatureScope::Text(Arc::clone(keys))
                }
            };
        Ok(Authentic {
            content: body.0,
            signed,
        })
    }
}

/// Never the secrets.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifier").field(&self.challenge()).finish()
    }
}

/// HMAC-SHA256 under a key of at most one block, which is filled up with zeros as the algorithm has it.
pub(super) fn hmac_sha256<const LEN: usize>(key: &[u8; LEN], parts: &[&[u8]]) -> Hmac<Sha256> {
    const {
        assert!(
            LEN <= KEY_BYTES_MAX,
            "a longer key would have to be hashed first"
        );
    };
    let mut block = [0; KEY_BYTES_MAX];
    for (slot, byte) in block.iter_mut().zip(key) {
        *slot = *byte;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac
}

/// The block of SHA-256.
const KEY_BYTES_MAX: usize = 64;

fn required<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, DenialReason> {
    match SingleHeader::read(headers, name) {
        SingleHeader::Absent => Err(DenialReason::Missing),
        SingleHeader::Text("") | SingleHeader::Unreadable => Err(DenialReason::Malformed),
        SingleHeader::Text(text) => Ok(text),
    }
}

fn bearer(tokens: &[SecretString], headers: &HeaderMap) -> Result<(), DenialReason> {
    let (scheme, presented) = required(headers, "authorization")?
        .split_once(' ')
        .ok_or(DenialReason::Malformed)?;
    if !scheme.eq_ignore_ascii_case(BEARER) {
        return Err(DenialReason::Malformed);
    }
    let presented = token_mac(presented.trim()).finalize().into_bytes();
    // Every token is compared, whichever matches: which one is current cannot be timed.
    let is_known = tokens.iter().fold(false, |is_known, token| {
        let token = token_mac(token.expose_secret());
        is_known | token.verify_slice(&presented).is_ok()
    });
    is_known.then_some(()).ok_or(DenialReason::Mismatch)
}

fn token_mac(token: &str) -> Hmac<Sha256> {
    hmac_sha256(TOKEN_LABEL, &[token.as_bytes()])
}

#[cfg(test)]
mod tests;
