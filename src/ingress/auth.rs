//! Authentication: proves that a request comes from its source, or denies the request.
//!
//! Authentication runs before parsing and on the raw bytes, so that the bridge never parses a body that the source did
//! not send. The bridge compares secrets in constant time. The response is the same for every denial reason. Only the
//! operator sees the reasons: in a metric, in the log and in the admin API.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ::hmac::{Hmac, KeyInit, Mac};
use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use secrecy::SecretString;
use sha2::Sha256;

use crate::event::{Attribute, cloudevents};
use crate::http::single_header::SingleHeader;
use crate::time::Timestamp;

mod denial;
pub mod examination;
pub mod hmac;
mod secret_length;
mod standard_webhooks;
mod token;

pub use denial::{Denial, DenialReason};
pub use secret_length::{SecretFlaw, SecretMinimum};
pub use standard_webhooks::{SigningKey, covers_header, examine_standard_webhooks, receipt_denial};
pub use token::TokenScheme;

use denial::required;
use token::TokenKeys;

/// The header of the CloudEvents attribute `specversion`. The bridge accepts only one value of this attribute.
const SPECVERSION: &str = "ce-specversion";
/// The header of the CloudEvents attribute `id`.
const ID: &str = "ce-id";

/// The reason why a list of configured secrets cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The list of secrets is empty. Without this error, an empty list would turn authentication off by accident.
    #[error("there is no secret; to accept unauthenticated requests, set auth.kind = \"none\"")]
    NoSecret,
    /// A secret cannot be used. `index` is the position of the secret in the list.
    #[error("secret {index} {flaw}")]
    Secret { index: usize, flaw: SecretFlaw },
}

/// The parts of a request's head that a signature can cover.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a str,
    /// The path and query of the request, byte by byte as in the request line.
    pub path: &'a str,
    /// All headers of the request.
    pub headers: &'a HeaderMap,
}

/// The debug output shows only the type name, because paths contain ids and headers contain secrets.
impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Head")
    }
}

/// Bytes from the network that the bridge has not yet authenticated.
#[derive(Clone)]
pub struct Untrusted<T>(T);

impl<T> Untrusted<T> {
    /// Marks bytes from the network as not authenticated.
    pub const fn new(inner: T) -> Self {
        Self(inner)
    }
}

/// The debug output shows only the type name, never the content, because the content is personal data.
impl<T> fmt::Debug for Untrusted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Untrusted")
    }
}

/// Bytes that the bridge has authenticated: they come from the source.
#[derive(Clone)]
pub struct Authentic<T> {
    content: T,
    signed: SignatureScope,
}

/// The parts of a request, besides the body, that the signature covers.
#[derive(Clone)]
enum SignatureScope {
    /// The request has no signature. A token or password, if the source uses one, covers the whole request.
    Nothing,
    /// The signature covers the event id and the signing time of Standard Webhooks.
    Message(standard_webhooks::SignedValues),
    /// The signature covers the parts of the request that the template of this HMAC scheme names.
    Text(Arc<hmac::HmacKeys>),
}

impl<T> Authentic<T> {
    /// Returns the authenticated content.
    pub const fn content(&self) -> &T {
        &self.content
    }

    /// Returns true if the signature covers the event id in the path, or if the source signs no requests.
    pub fn is_about(&self, id: &Attribute) -> bool {
        match &self.signed {
            SignatureScope::Nothing => true,
            SignatureScope::Message(signed) => signed.id == id.as_str(),
            SignatureScope::Text(keys) => keys.covers_path(),
        }
    }

    /// Returns true if the signature covers the header, or if the source signs no requests. `header` is in lower case.
    pub fn covers(&self, header: &str) -> bool {
        match &self.signed {
            SignatureScope::Nothing => true,
            SignatureScope::Message(_) => header == ID,
            SignatureScope::Text(keys) => keys.covers_header(header),
        }
    }

    /// Verifies that a header with the id or the time of Standard Webhooks has the signed value, if an expression reads it.
    ///
    /// A request can have the headers of Standard Webhooks and of Svix at the same time, but only the values of one of them
    /// are signed. The others could be forged.
    ///
    /// # Errors
    /// Returns a denial if an expression reads a value that is not signed.
    pub fn verify_read_headers(
        &self,
        headers: &HeaderMap,
        read: &BTreeSet<String>,
    ) -> Result<(), Denial> {
        let SignatureScope::Message(signed) = &self.signed else {
            return Ok(());
        };
        let is_read = |(name, _): &(&str, &str)| read.contains(*name);
        for (name, signed) in signed.headers().into_iter().filter(is_read) {
            let value = SingleHeader::read(headers, name);
            if !matches!(value, SingleHeader::Absent) && value.text() != Some(signed) {
                let detail = format!("the header {name} differs from the signed value");
                return Err(Denial::mismatch(detail));
            }
        }
        Ok(())
    }

    /// Verifies that the signature covers every event attribute that intake reads from headers.
    ///
    /// In binary mode, each attribute of the event is a header. A forged attribute could change the type, the identity,
    /// the version or a value of the event.
    ///
    /// Two kinds of headers need no signature: `ce-specversion`, because the bridge accepts only one value of it, and
    /// the headers in `unsigned`, because the operator accepts the risk of a forged value.
    ///
    /// # Errors
    /// Returns the names of the attribute headers that the signature does not cover. Returns
    /// [`UnsignedAttribute::OtherId`] if the signed event id differs from the id of the event.
    pub fn verify_attributes(
        &self,
        attribute_headers: Option<&[(&str, &[u8])]>,
        unsigned: &BTreeSet<String>,
    ) -> Result<(), UnsignedAttribute> {
        let Some(headers) = attribute_headers else {
            return Ok(());
        };
        if let SignatureScope::Message(signed) = &self.signed {
            let id = cloudevents::header_attribute(headers, "id");
            if id.is_some_and(|id| id != signed.id) {
                return Err(UnsignedAttribute::OtherId);
            }
        }
        let names: BTreeSet<_> = headers
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| cloudevents::is_attribute(name) && *name != SPECVERSION)
            .filter(|name| !self.covers(name) && !unsigned.contains(*name))
            .map(str::to_owned)
            .collect();
        match names.is_empty() {
            true => Ok(()),
            false => Err(UnsignedAttribute::Headers(names)),
        }
    }
}

/// The error of a binary-mode request whose signature does not cover all event attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnsignedAttribute {
    /// The signed event id differs from the id of the event.
    OtherId,
    /// The signature does not cover the event attributes in these headers.
    Headers(BTreeSet<String>),
}

impl UnsignedAttribute {
    /// Converts the error to a denial that an operator reads.
    pub fn into_denial(self) -> Denial {
        Denial::mismatch(match self {
            Self::OtherId => {
                "the header ce-id differs from the signed webhook-id or svix-id".to_owned()
            }
            Self::Headers(names) => format!(
                "the signature does not cover {}: the bridge answers 415. The sender must send the event in structured mode or sign the headers, or unsigned_headers must list them",
                Vec::from_iter(names).join(", ")
            ),
        })
    }
}

/// The debug output shows only the type name, never the content, because the content is personal data.
impl<T> fmt::Debug for Authentic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authentic")
    }
}

/// The verifier of one source's requests.
#[derive(Clone)]
pub struct Verifier(AuthScheme);

#[derive(Clone)]
enum AuthScheme {
    None,
    Token(TokenKeys),
    StandardWebhooks(Vec<SigningKey>),
    Hmac(Arc<hmac::HmacKeys>),
    /// All secrets of the source have ended. The text is the challenge of the source's scheme.
    Revoked(&'static str),
}

impl Verifier {
    /// Creates a verifier that accepts every request. Use it only for a source on a network that no other client can
    /// reach.
    pub const fn none() -> Self {
        Self(AuthScheme::None)
    }

    /// Creates a verifier that accepts a request with one of these tokens or passwords in a header.
    ///
    /// # Errors
    /// Returns an error if there is no token, or if a token is too short or cannot be a header value.
    pub fn token(
        scheme: TokenScheme,
        tokens: &[SecretString],
        minimum: SecretMinimum,
    ) -> Result<Self, Error> {
        TokenKeys::new(scheme, tokens, minimum).map(|keys| Self(AuthScheme::Token(keys)))
    }

    /// Creates a verifier that accepts a request with a Standard Webhooks 1.0 signature (`v1`, HMAC-SHA256) by one of
    /// these secrets.
    ///
    /// # Errors
    /// Returns an error if there is no secret, or if a secret is not `whsec_` followed by 24 to 64 bytes in base64.
    /// `minimum` replaces the number 24.
    pub fn standard_webhooks(
        secrets: &[SecretString],
        minimum: SecretMinimum,
    ) -> Result<Self, Error> {
        let parse = |(index, secret)| {
            SigningKey::parse_with(secret, minimum).map_err(|flaw| Error::Secret { index, flaw })
        };
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

    /// Creates a verifier for a source that signs its requests with its own HMAC scheme.
    pub fn hmac(keys: hmac::HmacKeys) -> Self {
        Self(AuthScheme::Hmac(Arc::new(keys)))
    }

    /// Creates a verifier that denies every request, because all secrets of the source have ended. The sender gets the
    /// same answer as with a wrong secret, so the challenge stays the same.
    pub const fn revoked(challenge: &'static str) -> Self {
        Self(AuthScheme::Revoked(challenge))
    }

    /// Returns the `WWW-Authenticate` header value for a denied request.
    pub const fn challenge(&self) -> &'static str {
        match &self.0 {
            AuthScheme::None => "None",
            AuthScheme::Token(keys) => keys.scheme().challenge(),
            AuthScheme::StandardWebhooks(_) => "StandardWebhooks",
            AuthScheme::Hmac(_) => "HMAC",
            AuthScheme::Revoked(challenge) => challenge,
        }
    }

    /// Returns the denial of every request for a receipt, if no signature of the source can cover the event id in the path.
    pub fn receipt_denial(&self) -> Option<Denial> {
        match &self.0 {
            AuthScheme::Hmac(keys) => keys.receipt_denial(),
            AuthScheme::None
            | AuthScheme::Token(_)
            | AuthScheme::StandardWebhooks(_)
            | AuthScheme::Revoked(_) => None,
        }
    }

    /// Verifies a request as far as possible without its body: a token completely, but of a signature only the
    /// format and the signing time.
    ///
    /// # Errors
    /// Returns the reason for the denial.
    pub fn verify_head(&self, headers: &HeaderMap, wall: Timestamp) -> Result<(), Denial> {
        match &self.0 {
            AuthScheme::None => Ok(()),
            AuthScheme::Token(keys) => keys.verify(headers),
            AuthScheme::StandardWebhooks(_) => {
                standard_webhooks::SignedHead::read(headers, wall).map(drop)
            }
            AuthScheme::Hmac(keys) => keys.read_head(headers, wall).map(drop),
            AuthScheme::Revoked(_) => Err(revoked()),
        }
    }

    /// Authenticates a request by its head and its body. `wall` is the current time.
    ///
    /// # Errors
    /// Returns the reason for the denial.
    pub fn verify(
        &self,
        head: Head<'_>,
        body: Untrusted<Bytes>,
        wall: Timestamp,
    ) -> Result<Authentic<Bytes>, Denial> {
        let signed = match &self.0 {
            AuthScheme::None => SignatureScope::Nothing,
            AuthScheme::Token(keys) => {
                keys.verify(head.headers)?;
                SignatureScope::Nothing
            }
            AuthScheme::StandardWebhooks(keys) => SignatureScope::Message(
                standard_webhooks::verify(keys, head.headers, &body.0, wall)?,
            ),
            AuthScheme::Hmac(keys) => {
                keys.verify(head, &body.0, wall)?;
                SignatureScope::Text(Arc::clone(keys))
            }
            AuthScheme::Revoked(_) => return Err(revoked()),
        };
        Ok(Authentic {
            content: body.0,
            signed,
        })
    }
}

fn revoked() -> Denial {
    Denial::mismatch(
        "all secrets of the source have ended, because their files are gone".to_owned(),
    )
}

/// The debug output shows only the authentication scheme, never the secrets.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifier").field(&self.challenge()).finish()
    }
}

/// Computes an HMAC-SHA256 with a key of at most one block. The function pads a shorter key with zeros, as HMAC
/// requires.
pub(super) fn hmac_sha256<const LEN: usize>(key: &[u8; LEN], parts: &[&[u8]]) -> Hmac<Sha256> {
    const {
        assert!(LEN <= KEY_BYTES_MAX, "HMAC would hash a longer key first");
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

/// The block size of SHA-256 in bytes.
const KEY_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests;
