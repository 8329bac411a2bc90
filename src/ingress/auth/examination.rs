//! The examination of a captured request without a running bridge: which secret or signature the bridge expects, and why
//! the request does not match.
//!
//! The report is for an operator who has the secrets. It shows signatures, which are valid for this one request, but no
//! secret.

use std::collections::BTreeSet;

use actix_web::web::Bytes;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

use super::hmac::{
    Algorithm, HeaderItems, HmacScheme, SecretEncoding, SignatureEncoding, SignedText,
};
use super::token::{self, TokenKeys};
use super::{
    Denial, DenialReason, Error, Head, SecretMinimum, TokenScheme, UnsignedAttribute, Untrusted,
    Verifier, required,
};
use crate::http::HeaderName;
use crate::http::header::{AUTHORIZATION, HeaderMap};
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

    /// Adds a denial that the bridge finds after the comparison with the secrets.
    pub fn deny(&mut self, denial: &Denial) {
        self.is_authentic = false;
        self.denied(denial);
    }

    pub(super) fn denied(&mut self, denial: &Denial) {
        let Denial { reason, detail } = denial;
        self.say(format!("denied ({}): {detail}", reason.as_str()));
    }
}

/// The headers of a request that the bridge reads besides those of the authentication.
pub(crate) struct ReadHeaders<'a> {
    /// The headers that the expressions of the source read.
    pub(crate) named: &'a BTreeSet<String>,
    /// All headers of a request in binary mode, whose `ce-` headers are attributes.
    pub(crate) attributes: Option<&'a [(&'a str, &'a [u8])]>,
    /// The headers that the bridge believes without a signature.
    pub(crate) unsigned: &'a BTreeSet<String>,
}

/// Returns the denial of a request with a value in a header that the bridge reads and that the signature does not cover.
pub(crate) fn unsigned_header(
    verifier: &Verifier,
    request: CapturedRequest<'_>,
    read: &ReadHeaders<'_>,
) -> Option<Denial> {
    let body = Untrusted::new(Bytes::copy_from_slice(request.body));
    let authentic = match verifier.verify(request.head, body, request.wall) {
        Ok(authentic) => authentic,
        Err(denial) => return Some(denial),
    };
    let named = authentic.verify_read_headers(request.head.headers, read.named);
    let attributes = || {
        let verified = authentic.verify_attributes(read.attributes, read.unsigned);
        verified.err().map(UnsignedAttribute::into_denial)
    };
    named.err().or_else(attributes)
}

/// Returns the last line about a request in which the bridge reads no value of a header.
pub(super) fn nothing_compared(headers: &HeaderMap, header: &str) -> String {
    match headers.get_all(header).count() {
        0 => NOTHING_COMPARED.to_owned(),
        1 => "nothing was compared with the secrets".to_owned(),
        count => format!(
            "nothing was compared with the secrets: the header {header} occurs {count} times, and the bridge takes it only once. Keep one of them"
        ),
    }
}

/// The last line about a request without the header of the secret or of the signature.
const NOTHING_COMPARED: &str = "nothing was compared with the secrets; if the captured request has the header, add it with the option --header";
/// The minimum length of a header value that can be a cut secret.
const CUT_BYTES_MIN: usize = 8;
const OTHER_SECRET: &str =
    "no header contains a secret of the source: compare the secret with the sender's";

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
    let line = required(headers, header.as_str());
    let is_missing = line.is_err_and(|denial| denial.reason == DenialReason::Missing);
    let compared = if is_missing { &[][..] } else { secrets };
    for secret in compared {
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
        let is_repeated = headers.get_all(header.as_str()).count() > 1;
        let others = headers
            .iter()
            .filter(|(name, _)| !is_repeated || **name != header);
        let near = others.into_iter().find_map(|(name, value)| {
            let value = value.to_str().ok()?;
            let mistake = tokens
                .iter()
                .find_map(|token| mistake(scheme, value, token))?;
            Some(format!("the header {name} {mistake}"))
        });
        let other = if is_missing || is_repeated {
            nothing_compared(headers, header.as_str())
        } else {
            OTHER_SECRET.to_owned()
        };
        let value = header_text(headers, header.as_str());
        let length = || {
            let mut tokens = tokens.iter();
            tokens.find_map(|token| length_mistake(scheme, value?, token))
        };
        let query = || in_query(request.head.path, &tokens, &header);
        let near = near.or_else(length).or_else(query);
        let near = near.or_else(|| signature(secrets, request));
        examination.say(near.unwrap_or(other));
    }
    Ok(examination)
}

fn header_text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Names the header with a signature of the body that a secret makes. The source then needs another kind.
fn signature(secrets: &[NamedSecret], request: CapturedRequest<'_>) -> Option<String> {
    let scheme = HmacScheme {
        algorithm: Algorithm::Sha256,
        secret_encoding: SecretEncoding::Text,
        header: AUTHORIZATION,
        header_items: HeaderItems::default(),
        encoding: SignatureEncoding::Hex,
        signed: SignedText::new("{body}".parse().ok()?, None).ok()?,
    };
    let settings = scheme.match_in_other_header("", secrets, request)?;
    Some(format!(
        "a header has a signature that the secret makes, and not the secret: set auth.kind = \"hmac\" and auth.encoding; the signature matches if {}",
        settings.join(" and ")
    ))
}

/// Describes a secret that was cut, and a wrong password of the right user. The description has lengths and no characters.
fn length_mistake(scheme: &TokenScheme, value: &str, token: &SecretString) -> Option<String> {
    if let TokenScheme::Basic { user } = scheme {
        let text = token::decoded_basic(value)?;
        let (sent_user, password) = text.split_once(':')?;
        return (sent_user == user).then(|| {
            format!(
                "the user name is right, and the password is wrong: the sender's password has {} characters, and the secret has {}",
                password.chars().count(),
                token.expose_secret().chars().count()
            )
        });
    }
    let expected = scheme.value(token);
    let expected = expected.expose_secret();
    let is_cut =
        (CUT_BYTES_MIN..expected.len()).contains(&value.len()) && expected.starts_with(value);
    is_cut.then(|| {
        format!(
            "the sender cuts the secret: the header has the first {} of {} characters",
            value.len(),
            expected.len()
        )
    })
}

/// Describes how a header value differs from the expected value, if the difference is a common mistake. The description
/// names only settings that the kind of authentication has.
fn mistake(scheme: &TokenScheme, value: &str, token: &SecretString) -> Option<String> {
    let secret = token.expose_secret();
    let settings = match scheme {
        TokenScheme::Bearer | TokenScheme::Basic { .. } => "check auth.kind",
        TokenScheme::Header { .. } => "check auth.header, auth.prefix and auth.kind",
    };
    basic_mistake(scheme, value, secret)
        .or_else(|| after_bearer(scheme, value, secret).map(str::to_owned))
        .or_else(|| decoration(value, scheme.value(token).expose_secret(), settings))
        .or_else(|| decoration(value, secret, settings))
}

/// Describes a mistake in a header value of HTTP Basic that contains the secret.
fn basic_mistake(scheme: &TokenScheme, value: &str, secret: &str) -> Option<String> {
    let Some(text) = token::decoded_basic(value) else {
        return incomplete_basic(scheme, value, secret).map(str::to_owned);
    };
    if let TokenScheme::Basic { user } = scheme {
        if is_file_with_user(&text, secret) {
            return Some("has the same user name and password as the secret file: the file must have only the password, without the user name, the colon and base64".to_owned());
        }
        if text.strip_prefix(user.as_str()) == Some(secret) {
            return Some("contains the user name and the secret without the colon between them: the sender must encode USER:PASSWORD in base64".to_owned());
        }
    }
    let (user, password) = text.split_once(':').unwrap_or((&text, ""));
    let mistake = match scheme {
        TokenScheme::Basic { .. } if text.trim() == secret => {
            "contains the secret without a user name: the sender must encode USER:PASSWORD in base64"
        }
        _scheme if user == secret => {
            "contains the secret as the user name of HTTP Basic: the sender must send the secret as the password"
        }
        _scheme if password.trim() == secret && password != secret => {
            "contains the secret with white space beside it, inside the base64 text: perhaps the line break that `echo` adds. The sender must encode USER:PASSWORD without it"
        }
        _scheme if password != secret => return None,
        TokenScheme::Basic { user: expected } if user == expected => return None,
        TokenScheme::Basic { user: expected } if user == expected.trim() => {
            "contains the right password, and the user name without the space at the beginning or the end of auth.user"
        }
        TokenScheme::Basic { .. } => {
            "contains the right password, but not the user name in auth.user"
        }
        TokenScheme::Bearer | TokenScheme::Header { .. } => {
            "contains the secret as the password of HTTP Basic: set auth.kind = \"basic\", auth.user and auth.password_files"
        }
    };
    Some(mistake.to_owned())
}

/// Returns whether the secret file has the user name and the password of a request, as plain text or in base64.
fn is_file_with_user(sent: &str, secret: &str) -> bool {
    let has_password = sent
        .split_once(':')
        .is_some_and(|(_, password)| !password.is_empty());
    has_password && (sent == secret || token::decoded(secret).is_some_and(|text| text == sent))
}

/// Describes a value of HTTP Basic that is not `Basic` and a text in base64, but has the secret.
fn incomplete_basic(scheme: &TokenScheme, value: &str, secret: &str) -> Option<&'static str> {
    let TokenScheme::Basic { .. } = scheme else {
        return None;
    };
    let has_secret = |text: &str| {
        let parts = text.trim().split_once(':');
        parts.is_some_and(|(_, password)| password == secret)
    };
    let credentials = value.split_once(' ').map_or(value, |(_, rest)| rest);
    if token::other_base64(value).is_some_and(|text| has_secret(&text)) {
        Some(
            "contains the password in base64 without padding, or in the URL-safe alphabet: the sender must use standard base64, with = at the end",
        )
    } else if token::decoded(value.trim()).is_some_and(|text| has_secret(&text)) {
        Some(
            "contains the user name and the password in base64, but not the word `Basic` before them",
        )
    } else if has_secret(credentials) {
        Some(
            "contains the user name and the password as plain text: the sender must encode USER:PASSWORD in base64",
        )
    } else {
        None
    }
}

/// Describes a bearer token for a source that expects the secret without the word before it.
fn after_bearer(scheme: &TokenScheme, value: &str, secret: &str) -> Option<&'static str> {
    let TokenScheme::Header { name, prefix } = scheme else {
        return None;
    };
    let is_bearer = prefix.is_empty() && token::bearer(value) == Some(secret);
    is_bearer.then_some(if *name == AUTHORIZATION {
        "contains the secret after other text, the word Bearer: set auth.kind = \"bearer\", and remove auth.header"
    } else {
        "contains the secret after other text, the word Bearer: if it is the header authorization, set auth.kind = \"bearer\" and remove auth.header; otherwise set auth.prefix = \"Bearer \""
    })
}

/// Says that the secret stands in the query of the request.
fn in_query(path: &str, tokens: &[SecretString], header: &HeaderName) -> Option<String> {
    let (_, query) = path.split_once('?')?;
    let query = percent_decode_str(query).decode_utf8_lossy();
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut values = values.map(|(_, value)| value);
    let has_secret = |value: &str| tokens.iter().any(|token| token.expose_secret() == value);
    values.any(has_secret).then(|| {
        format!(
            "the query of the request has the secret, and the bridge reads a secret only in a header: the sender must send it in the header {header}"
        )
    })
}

/// Describes what a header value contains beside the expected value.
fn decoration(value: &str, expected: &str, settings: &str) -> Option<String> {
    let is_decoration =
        |sign: char| sign.is_whitespace() || matches!(sign, '"' | '\'' | '<' | '>' | '{' | '}');
    if value == expected {
        return Some(format!("contains the secret: {settings}"));
    }
    if value.eq_ignore_ascii_case(expected) {
        return Some("contains the secret in other letter case".to_owned());
    }
    if value.trim_matches(is_decoration) == expected {
        return Some(
            "contains the secret with quotes, brackets or white space around it".to_owned(),
        );
    }
    value
        .ends_with(expected)
        .then(|| format!("contains the secret after other text: {settings}"))
}
