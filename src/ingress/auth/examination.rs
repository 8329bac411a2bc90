//! The examination of a captured request without a running bridge: which secret or signature the bridge expects, and why
//! the request does not match.
//!
//! The report is for an operator who has the secrets. It shows signatures, which are valid for this one request, but no
//! secret.

use secrecy::{ExposeSecret, SecretString};

use super::token::TokenKeys;
use super::{Denial, Error, Head, SecretMinimum, TokenScheme};
use crate::time::Timestamp;

/// A request that an operator has captured, for example in a gateway.
#[derive(Clone, Copy)]
pub struct CapturedRequest<'a> {
    pub head: Head<'a>,
    pub body: &'a [u8],
    /// The time of the bridge's clock at which the bridge received the request.
    pub wall: Timestamp,
}

/// The debug output shows only the type name, because the request contains personal data and secrets.
impl std::fmt::Debug for CapturedRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CapturedRequest")
    }
}

/// A secret with the name of its file.
#[derive(Debug)]
pub struct NamedSecret {
    pub file: String,
    pub secret: SecretString,
}

/// The result of an examination.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Examination {
    /// What the bridge reads and expects, one line each.
    pub report: Vec<String>,
    /// Whether the bridge would accept the request.
    pub is_authentic: bool,
}

impl Examination {
    pub(super) fn say(&mut self, line: impl Into<String>) {
        self.report.push(line.into());
    }

    pub(super) fn denied(&mut self, denial: &Denial) {
        let Denial { reason, detail } = denial;
        self.say(format!("denied ({}): {detail}", reason.as_str()));
    }
}

/// Examines a request with a token or a password in a header.
///
/// # Errors
/// Returns an error if a secret cannot be used.
pub fn examine_token(
    scheme: &TokenScheme,
    secrets: &[NamedSecret],
    minimum: SecretMinimum,
    request: CapturedRequest<'_>,
) -> Result<Examination, Error> {
    let mut examination = Examination::default();
    let headers = request.head.headers;
    let header = scheme.header();
    examination.say(format!("the secret is in the header {header}"));
    for secret in secrets {
        let tokens = std::slice::from_ref(&secret.secret);
        let keys = TokenKeys::new(scheme.clone(), tokens, minimum)?;
        let file = &secret.file;
        match keys.verify(headers) {
            Ok(()) => {
                examination.is_authentic = true;
                examination.say(format!("{file}: matches"));
            }
            Err(_denial) => examination.say(format!("{file}: does not match")),
        }
    }
    let tokens: Vec<_> = secrets.iter().map(|named| named.secret.clone()).collect();
    let verified = TokenKeys::new(scheme.clone(), &tokens, minimum)?.verify(headers);
    if let Err(denial) = verified {
        examination.denied(&denial);
        let near = headers.iter().find_map(|(name, value)| {
            let value = value.to_str().ok()?;
            let mistake = tokens.iter().find_map(|token| {
                mistake(value, scheme.value(token).expose_secret())
                    .or_else(|| mistake(value, token.expose_secret()))
            })?;
            Some(format!("the header {name} {mistake}"))
        });
        examination.say(near.unwrap_or_else(|| {
            "no header contains a secret of the source: compare the secret with the sender's"
                .to_owned()
        }));
    }
    Ok(examination)
}

/// Describes how a header value differs from the expected value, if the difference is a common mistake.
fn mistake(value: &str, expected: &str) -> Option<&'static str> {
    let is_decoration =
        |sign: char| sign.is_whitespace() || matches!(sign, '"' | '\'' | '<' | '>' | '{' | '}');
    if value == expected {
        return Some("contains the secret: check auth.header, auth.prefix and auth.kind");
    }
    if value.eq_ignore_ascii_case(expected) {
        return Some("contains the secret in other letter case");
    }
    if value.trim_matches(is_decoration) == expected {
        return Some("contains the secret with quotes, brackets or white space around it");
    }
    value
        .ends_with(expected)
        .then_some("contains the secret after other text: check auth.prefix and auth.kind")
}
