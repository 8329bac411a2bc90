//! Authentication by a secret in a request header: a bearer token, a token in a header of the sender's choice, or a user
//! name with a password (HTTP Basic).

use ::hmac::{Hmac, Mac};
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::secret_length::{SecretFlaw, SecretMinimum};
use super::{Denial, Error, hmac_sha256, required};

/// The default minimum length of a token or password. An attacker could guess a shorter one.
const TOKEN_BYTES_MIN: usize = 16;
/// The HMAC key for the comparison of tokens.
///
/// The bridge compares the HMACs of two tokens and not the tokens: the time of the comparison then reveals neither the
/// length nor the first characters of a token.
const TOKEN_LABEL: &[u8; 27] = b"imprint-bridge bearer token";
const BEARER: &str = "bearer";
const BASIC: &str = "basic";

/// The part of a request that contains the secret of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenScheme {
    /// `Authorization: Bearer TOKEN` (RFC 6750, section 2.1).
    Bearer,
    /// A header of the sender's choice, whose value is the prefix and the token.
    Header {
        name: HeaderName,
        /// The text before the token, such as `Token `. The comparison of the prefix ignores upper and lower case.
        prefix: String,
    },
    /// `Authorization: Basic …` with this user name and the secret as the password (RFC 7617).
    Basic { user: String },
}

/// A [`TokenScheme`] with its tokens. The bridge accepts a request with any of the tokens.
#[derive(Clone)]
pub(super) struct TokenKeys {
    scheme: TokenScheme,
    tokens: Vec<SecretString>,
}

impl TokenScheme {
    /// Returns the value of the setting `auth.kind` for this scheme.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Header { .. } => "token",
            Self::Basic { .. } => "basic",
        }
    }

    /// Returns the header that contains the secret.
    pub fn header(&self) -> HeaderName {
        match self {
            Self::Bearer | Self::Basic { .. } => AUTHORIZATION,
            Self::Header { name, .. } => name.clone(),
        }
    }

    /// Returns the value of the header for a request with this secret.
    pub fn value(&self, secret: &SecretString) -> SecretString {
        let secret = secret.expose_secret();
        SecretString::from(match self {
            Self::Bearer => format!("Bearer {secret}"),
            Self::Header { prefix, .. } => format!("{prefix}{secret}"),
            Self::Basic { user } => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")))
            }
        })
    }

    pub(super) const fn challenge(&self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Header { .. } => "Token",
            Self::Basic { .. } => "Basic realm=\"imprint-bridge\", charset=\"UTF-8\"",
        }
    }

    /// Returns the secret of a request.
    fn presented(&self, headers: &HeaderMap) -> Result<SecretString, Denial> {
        let header = self.header();
        let line = required(headers, header.as_str())?;
        let secret = match self {
            Self::Bearer => bearer(line).map(str::to_owned),
            Self::Header { prefix, .. } => {
                let parts = line.split_at_checked(prefix.len());
                let parts = parts.filter(|(start, _)| start.eq_ignore_ascii_case(prefix));
                parts.map(|(_, token)| token.to_owned())
            }
            Self::Basic { .. } => decoded_basic(line),
        };
        let form = self.form();
        let secret = secret
            .ok_or_else(|| Denial::malformed(format!("the header {header} is not {form}")))?;
        Ok(SecretString::from(secret))
    }

    /// Describes the value of the header, for the operator.
    const fn form(&self) -> &'static str {
        match self {
            Self::Bearer => "`Bearer` and a token",
            Self::Header { .. } => "auth.prefix and a token",
            Self::Basic { .. } => "`Basic` and a user name and password in base64",
        }
    }

    /// Returns the text that a request with this secret presents.
    fn expected(&self, secret: &SecretString) -> SecretString {
        match self {
            Self::Bearer | Self::Header { .. } => secret.clone(),
            Self::Basic { user } => {
                SecretString::from(format!("{user}:{}", secret.expose_secret()))
            }
        }
    }
}

/// Returns the text after the name of an authentication scheme. The name ignores upper and lower case (RFC 9110,
/// section 11.1).
fn after_word<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let (scheme, rest) = line.split_once(' ')?;
    scheme.eq_ignore_ascii_case(word).then(|| rest.trim())
}

/// Returns the token of a header value of RFC 6750.
pub(super) fn bearer(line: &str) -> Option<&str> {
    after_word(line, BEARER)
}

/// Decodes the user name and password of RFC 7617.
pub(super) fn decoded(credentials: &str) -> Option<String> {
    let bytes = STANDARD.decode(credentials).ok()?;
    String::from_utf8(bytes).ok()
}

/// Returns the user name and password of a header value of HTTP Basic in base64 without padding, or in the URL-safe alphabet.
pub(super) fn other_base64(line: &str) -> Option<String> {
    let credentials = after_word(line, BASIC)?.trim_end_matches('=');
    let mut engines = [STANDARD_NO_PAD, URL_SAFE_NO_PAD].into_iter();
    let bytes = engines.find_map(|engine| engine.decode(credentials).ok())?;
    String::from_utf8(bytes).ok()
}

/// Returns the user name and password of a header value of HTTP Basic.
pub(super) fn decoded_basic(line: &str) -> Option<String> {
    after_word(line, BASIC).and_then(decoded)
}

impl TokenKeys {
    pub(super) fn new(
        scheme: TokenScheme,
        tokens: &[SecretString],
        minimum: SecretMinimum,
    ) -> Result<Self, Error> {
        let expected = |(index, token): (usize, &SecretString)| {
            let text = token.expose_secret();
            let flaw = if text.bytes().all(|byte| byte.is_ascii_graphic()) {
                minimum.flaw(text.len(), TOKEN_BYTES_MIN)
            } else {
                Some(SecretFlaw::Encoding("visible ASCII characters"))
            };
            match flaw {
                None => Ok(scheme.expected(token)),
                Some(flaw) => Err(Error::Secret { index, flaw }),
            }
        };
        let tokens: Vec<_> = tokens
            .iter()
            .enumerate()
            .map(expected)
            .collect::<Result<_, _>>()?;
        if tokens.is_empty() {
            return Err(Error::NoSecret);
        }
        Ok(Self { scheme, tokens })
    }

    pub(super) const fn scheme(&self) -> &TokenScheme {
        &self.scheme
    }

    pub(super) fn verify(&self, headers: &HeaderMap) -> Result<(), Denial> {
        let presented = self.scheme.presented(headers)?;
        let presented = mac(&presented).finalize().into_bytes();
        // The verifier compares every token, even after a match: the duration of the check must not reveal which token
        // matched.
        let is_known = self.tokens.iter().fold(false, |is_known, token| {
            is_known | mac(token).verify_slice(&presented).is_ok()
        });
        is_known.then_some(()).ok_or_else(|| {
            let (header, count) = (self.scheme.header(), self.tokens.len());
            let what = match self.scheme {
                TokenScheme::Bearer | TokenScheme::Header { .. } => "token",
                TokenScheme::Basic { .. } => "user name and password",
            };
            Denial::mismatch(format!(
                "the source does not accept the {what} in the header {header}; it accepts {count}"
            ))
        })
    }
}

fn mac(token: &SecretString) -> Hmac<Sha256> {
    hmac_sha256(TOKEN_LABEL, &[token.expose_secret().as_bytes()])
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::super::DenialReason;
    use super::*;

    const SECRETS: [&str; 2] = ["old-token-0123456789", "new-token-0123456789"];

    fn keys(scheme: TokenScheme) -> TokenKeys {
        let secrets = SECRETS.map(SecretString::from);
        TokenKeys::new(scheme, &secrets, SecretMinimum::default()).unwrap()
    }

    #[track_caller]
    fn check(keys: &TokenKeys, name: &'static str, rows: &[(&str, Result<(), DenialReason>)]) {
        for (value, expected) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
            let verified = keys.verify(&headers).map_err(|denial| denial.reason);
            assert_eq!(verified, *expected, "{name}: {value}");
        }
        let missing = keys.verify(&HeaderMap::new()).unwrap_err();
        assert_eq!(missing.reason, DenialReason::Missing);
        assert!(missing.detail.contains(name), "{missing:?}");
    }

    #[test]
    fn a_token_is_in_the_header_that_the_source_names() {
        let plain = TokenScheme::Header {
            name: HeaderName::from_static("x-crm-token"),
            prefix: String::new(),
        };
        let rows = [
            ("old-token-0123456789", Ok(())),
            ("new-token-0123456789", Ok(())),
            ("New-token-0123456789", Err(DenialReason::Mismatch)),
            ("new-token-012345678", Err(DenialReason::Mismatch)),
            (
                "new-token-0123456789, old-token-0123456789",
                Err(DenialReason::Mismatch),
            ),
            ("", Err(DenialReason::Malformed)),
        ];
        check(&keys(plain), "x-crm-token", &rows);
        let prefixed = TokenScheme::Header {
            name: AUTHORIZATION,
            prefix: "Token ".to_owned(),
        };
        let rows = [
            ("Token new-token-0123456789", Ok(())),
            ("token new-token-0123456789", Ok(())),
            ("Tokennew-token-0123456789", Err(DenialReason::Malformed)),
            ("new-token-0123456789", Err(DenialReason::Malformed)),
            ("To", Err(DenialReason::Malformed)),
        ];
        check(&keys(prefixed), "authorization", &rows);
    }

    #[test]
    fn basic_authentication_has_the_user_and_one_of_the_passwords() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let user = "crm".to_owned();
        let rows = [
            (basic("crm:new-token-0123456789"), Ok(())),
            (
                basic("crm:old-token-0123456789").replace("Basic", "BASIC"),
                Ok(()),
            ),
            (
                basic("CRM:new-token-0123456789"),
                Err(DenialReason::Mismatch),
            ),
            (basic(":new-token-0123456789"), Err(DenialReason::Mismatch)),
            (basic("crm"), Err(DenialReason::Mismatch)),
            (
                "Basic crm:new-token-0123456789".to_owned(),
                Err(DenialReason::Malformed),
            ),
            ("Basic /w==".to_owned(), Err(DenialReason::Malformed)),
            (
                "Bearer new-token-0123456789".to_owned(),
                Err(DenialReason::Malformed),
            ),
        ];
        let rows: Vec<_> = rows.iter().map(|(line, is)| (line.as_str(), *is)).collect();
        check(&keys(TokenScheme::Basic { user }), "authorization", &rows);
    }

    #[test]
    fn the_value_for_a_sender_is_accepted() {
        let name = HeaderName::from_static("x-key");
        for scheme in [
            TokenScheme::Bearer,
            TokenScheme::Basic {
                user: "crm".to_owned(),
            },
            TokenScheme::Header {
                name,
                prefix: "Key ".to_owned(),
            },
        ] {
            let mut headers = HeaderMap::new();
            let value = scheme.value(&SecretString::from(SECRETS[1]));
            let value = HeaderValue::from_str(value.expose_secret()).unwrap();
            headers.insert(scheme.header(), value);
            assert_eq!(keys(scheme).verify(&headers), Ok(()));
        }
    }
}
