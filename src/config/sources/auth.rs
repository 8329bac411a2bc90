//! The table `[auth]` of a source file. The table configures how the source authenticates its requests.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::super::reader::{Raw, Reader};
use super::super::secret_path;
use super::other_kinds;
use crate::ingress::auth::hmac::{
    Algorithm, HeaderItems, HmacKeys, HmacScheme, SecretEncoding, SignatureEncoding, SignedText,
    SigningTime, Template, TimeUnit,
};
use crate::ingress::auth::{Error, SecretMinimum, TokenScheme, Verifier};
use crate::spelling;

/// The highest value of the setting `secret_bytes_min`: the maximum length of a Standard Webhooks secret.
const SECRET_BYTES_MIN_MAX: u64 = 64;
/// A secret with fewer bytes can be guessed.
const GUESSABLE_BYTES: usize = 16;
/// The default of the setting `signed`.
const SIGNED: &str = "{body}";
/// The default of the setting `tolerance`.
const TOLERANCE: Duration = Duration::from_mins(5);
/// The minimum of the setting `tolerance`.
const TOLERANCE_MIN: Duration = Duration::from_secs(1);
/// The maximum of the setting `tolerance`.
const TOLERANCE_MAX: Duration = Duration::from_hours(1);
/// The settings of `[auth]` that require `timestamp_header`.
const TIMESTAMP_KEYS: [&str; 3] = ["timestamp_prefix", "timestamp_unit", "tolerance"];

/// The settings with secret files. Each kind of authentication has one of them.
const FILES: [&str; 3] = ["token_files", "secret_files", "password_files"];

/// The authentication of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No authentication. Anybody can send events as this source.
    None,
    /// A token or a password in a header.
    Token(TokenScheme, SecretFiles),
    /// A Standard Webhooks signature.
    StandardWebhooks(SecretFiles),
    /// A signature in the source's own HMAC scheme.
    Hmac(Box<HmacScheme>, SecretFiles),
}

/// The secret files of a source. A request can use the secret of any file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFiles {
    pub paths: Vec<PathBuf>,
    pub minimum: SecretMinimum,
}

impl Auth {
    /// Returns the value of the setting `auth.kind`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token(scheme, _) => scheme.as_str(),
            Self::StandardWebhooks(_) => "standard_webhooks",
            Self::Hmac(..) => "hmac",
        }
    }

    /// Returns the secret files of the source, or `None` if the source does not authenticate.
    pub const fn files(&self) -> Option<&SecretFiles> {
        match self {
            Self::None => None,
            Self::Token(_, files) | Self::StandardWebhooks(files) | Self::Hmac(_, files) => {
                Some(files)
            }
        }
    }

    /// Returns whether the source does not authenticate.
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Returns whether the signature of a request covers no time. Anybody who saw a request can then send it again.
    pub const fn lacks_signing_time(&self) -> bool {
        match self {
            Self::Hmac(scheme, _) => !scheme.signed.has_time(),
            Self::None | Self::Token(..) | Self::StandardWebhooks(_) => false,
        }
    }

    /// Returns whether the source file allows secrets that an attacker could guess.
    pub fn allows_guessable_secrets(&self) -> bool {
        let files = self.files();
        let bytes_min = files.and_then(|files| files.minimum.bytes());
        bytes_min.is_some_and(|bytes_min| bytes_min < GUESSABLE_BYTES)
    }

    /// Returns a warning if the settings of the signature contradict each other.
    pub fn contradiction(&self) -> Option<String> {
        match self {
            Self::Hmac(scheme, _) => scheme.other_algorithm(),
            Self::None | Self::Token(..) | Self::StandardWebhooks(_) => None,
        }
    }

    /// Returns a warning if the user name has white space around it, which no message shows.
    pub fn user_with_space(&self) -> Option<&'static str> {
        match self {
            Self::Token(TokenScheme::Basic { user }, _) if user.trim() != user => Some(
                "auth.user begins or ends with a space, so the user name of the sender must have this space too",
            ),
            Self::None | Self::Token(..) | Self::StandardWebhooks(_) | Self::Hmac(..) => None,
        }
    }

    /// Returns the headers whose names the settings of the source have.
    pub fn headers(&self) -> Vec<String> {
        match self {
            Self::Token(scheme, _) => vec![scheme.header().as_str().to_owned()],
            Self::Hmac(scheme, _) => vec![scheme.header.as_str().to_owned()],
            Self::None | Self::StandardWebhooks(_) => Vec::new(),
        }
    }

    /// Creates the verifier of requests with these secrets.
    ///
    /// # Errors
    /// Returns an error if there is no secret, or if a secret cannot be used.
    pub fn verifier(&self, secrets: &[SecretString]) -> Result<Verifier, Error> {
        match self {
            Self::None => Ok(Verifier::none()),
            Self::Token(scheme, files) => Verifier::token(scheme.clone(), secrets, files.minimum),
            Self::StandardWebhooks(files) => Verifier::standard_webhooks(secrets, files.minimum),
            Self::Hmac(scheme, files) => {
                HmacKeys::new(scheme.as_ref().clone(), secrets, files.minimum).map(Verifier::hmac)
            }
        }
    }

    /// Returns a warning if this kind of authentication has a security risk.
    pub const fn warning(&self) -> Option<&'static str> {
        match self {
            Self::None => {
                Some("requests are not authenticated: anybody can send events as this source")
            }
            Self::Hmac(..) if self.lacks_signing_time() => {
                Some("the signature covers no time: anybody who saw a request can send it again")
            }
            Self::Token(..) | Self::StandardWebhooks(_) | Self::Hmac(..) => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AuthKind {
    None,
    Bearer,
    Token,
    Basic,
    StandardWebhooks,
    Hmac,
}

/// Reads the table `[auth]`.
pub(super) fn take(reader: &mut Reader) -> Option<Auth> {
    let words = [
        ("none", AuthKind::None),
        ("bearer", AuthKind::Bearer),
        ("token", AuthKind::Token),
        ("basic", AuthKind::Basic),
        ("standard_webhooks", AuthKind::StandardWebhooks),
        ("hmac", AuthKind::Hmac),
    ];
    let has_kind = reader.has(&["auth", "kind"]);
    let table = words.iter().find(|(name, _)| reader.has(&["auth", name]));
    if let Some((name, _)) = table.filter(|_| !has_kind) {
        reader.forget(&["auth"]);
        let reason =
            format!("is no table: write kind = \"{name}\" and the settings of this kind in [auth]");
        reader.error(&["auth", name], reason);
        return None;
    }
    let Some(kind) = reader.take(&["auth", "kind"], |raw| raw.word(&words)) else {
        // Without a kind, the bridge knows no other setting of the table. A misspelt key gets its error.
        if has_kind {
            reader.forget(&["auth"]);
        }
        return None;
    };
    let name = words.iter().find(|(_, known)| *known == kind);
    other_kinds::report(reader, name.map_or("", |(name, _)| *name));
    match kind {
        AuthKind::None => Some(Auth::None),
        AuthKind::Bearer => {
            files(reader, "token_files").map(|files| Auth::Token(TokenScheme::Bearer, files))
        }
        AuthKind::Token => {
            let files = files(reader, "token_files");
            let name = header(reader);
            let prefix = text(reader, "prefix").unwrap_or_default();
            let scheme = TokenScheme::Header {
                name: name?,
                prefix,
            };
            Some(Auth::Token(scheme, files?))
        }
        AuthKind::Basic => {
            let files = files(reader, "password_files");
            let user = reader.take(&["auth", "user"], |raw| user(raw.text()?));
            Some(Auth::Token(TokenScheme::Basic { user: user? }, files?))
        }
        AuthKind::StandardWebhooks => files(reader, "secret_files").map(Auth::StandardWebhooks),
        AuthKind::Hmac => {
            let files = files(reader, "secret_files");
            let scheme = scheme(reader);
            Some(Auth::Hmac(Box::new(scheme?), files?))
        }
    }
}

/// Parses the user name of HTTP Basic authentication. The colon ends the user name in a request (RFC 7617, section 2).
fn user(text: String) -> Result<String, String> {
    if text.is_empty() || text.contains(':') || text.chars().any(char::is_control) {
        Err("must be a user name without `:` and without control characters".to_owned())
    } else {
        Ok(text)
    }
}

fn files(reader: &mut Reader, key: &str) -> Option<SecretFiles> {
    let of_other_kind = |other: &&&str| **other != key && reader.has(&["auth", other]);
    if !reader.has(&["auth", key])
        && let Some(other) = FILES.iter().find(of_other_kind)
    {
        let reason = format!("is a setting of another auth.kind; this kind has {key}");
        reader.error(&["auth", other], reason);
        reader.forget(&["auth", other]);
        return None;
    }
    let minimum = reader.take_optional(&["auth", "secret_bytes_min"], |raw| {
        raw.count(1, SECRET_BYTES_MIN_MAX)
    });
    let files = reader.take(&["auth", key], |raw| {
        let files = secret_path::take_list(raw)?;
        if files.is_empty() {
            Err("must name at least one file".to_owned())
        } else {
            Ok(files)
        }
    })?;
    Some(SecretFiles {
        paths: files,
        minimum: minimum.map(SecretMinimum::of_bytes).unwrap_or_default(),
    })
}

/// Reads the setting `auth.header`, the name of a header.
fn header<T: FromStr>(reader: &mut Reader) -> Option<T> {
    reader.take(&["auth", "header"], Raw::header_name)
}

fn scheme(reader: &mut Reader) -> Option<HmacScheme> {
    let algorithms = [
        ("sha256", Algorithm::Sha256),
        ("sha1", Algorithm::Sha1),
        ("sha512", Algorithm::Sha512),
    ];
    let secret_encodings = [
        ("text", SecretEncoding::Text),
        ("base64", SecretEncoding::Base64),
        ("hex", SecretEncoding::Hex),
    ];
    let encodings = [
        ("hex", SignatureEncoding::Hex),
        ("base64", SignatureEncoding::Base64),
    ];
    let algorithm = word(reader, "algorithm", &algorithms).unwrap_or(Algorithm::Sha256);
    let secret_encoding =
        word(reader, "secret_encoding", &secret_encodings).unwrap_or(SecretEncoding::Text);
    let encoding = reader.take(&["auth", "encoding"], |raw| raw.word(&encodings));
    let header = header(reader);
    let prefix = text(reader, "prefix");
    let separator = text(reader, "separator");
    let header_items = header_items(reader, "separator", (prefix, separator.clone()));
    let template = template(reader);
    let is_signing_time = |key: &String| spelling::has_same_letters(key, "timestamp_header");
    let has_signing_time = reader.keys(&["auth"]).iter().any(is_signing_time);
    let signing_time = if has_signing_time {
        signing_time(reader, separator)
    } else {
        without_signing_time(reader);
        None
    };
    if let (Some(signing_time), Some(header)) = (&signing_time, &header) {
        let is_disjoint = signing_time.header != *header
            || signing_time
                .header_items
                .are_disjoint_from(header_items.as_ref());
        if !is_disjoint {
            let reason = "must differ from prefix, because both are in one header";
            reader.error(&["auth", "timestamp_prefix"], reason);
        }
    }
    // If the settings of the signing time are not valid, the function `signing_time` has already reported an error. The
    // function `signed` must then not report a missing signing time.
    let signed = if has_signing_time && signing_time.is_none() {
        None
    } else {
        signed(reader, template?, signing_time)
    };
    Some(HmacScheme {
        algorithm,
        secret_encoding,
        header: header?,
        header_items: header_items?,
        encoding: encoding?,
        signed: signed?,
    })
}

fn signed(
    reader: &mut Reader,
    template: Template,
    signing_time: Option<SigningTime>,
) -> Option<SignedText> {
    SignedText::new(template, signing_time)
        .map_err(|unfit| reader.error(&["auth", "timestamp_header"], unfit.to_string()))
        .ok()
}

fn template(reader: &mut Reader) -> Option<Template> {
    let raw = text(reader, "signed").unwrap_or_else(|| SIGNED.to_owned());
    raw.parse()
        .map_err(|flaws: String| reader.error(&["auth", "signed"], flaws))
        .ok()
}

fn signing_time(reader: &mut Reader, separator: Option<String>) -> Option<SigningTime> {
    let units = [
        ("seconds", TimeUnit::Seconds),
        ("milliseconds", TimeUnit::Milliseconds),
        ("rfc3339", TimeUnit::Rfc3339),
    ];
    let header = reader.take(&["auth", "timestamp_header"], Raw::header_name);
    let unit = word(reader, "timestamp_unit", &units).unwrap_or(TimeUnit::Seconds);
    let tolerance = reader
        .take_optional(&["auth", "tolerance"], |raw| {
            raw.duration(TOLERANCE_MIN, TOLERANCE_MAX)
        })
        .unwrap_or(TOLERANCE);
    let header_items = match (text(reader, "timestamp_prefix"), separator) {
        (None, _) => Some(HeaderItems::default()),
        (Some(_), None) => {
            reader.error(&["auth", "timestamp_prefix"], "needs separator");
            None
        }
        (prefix, separator) => header_items(reader, "timestamp_prefix", (prefix, separator)),
    };
    Some(SigningTime {
        header: header?,
        header_items: header_items?,
        unit,
        tolerance,
    })
}

/// Reports an error for each setting that is useless without the setting `timestamp_header`.
fn without_signing_time(reader: &mut Reader) {
    let known = reader.keys(&["auth"]);
    for key in TIMESTAMP_KEYS
        .into_iter()
        .filter(|key| known.contains(*key))
    {
        let refuse = |_raw| Err::<(), _>("needs timestamp_header".to_owned());
        let _told: Option<()> = reader.take(&["auth", key], refuse);
    }
}

fn header_items(
    reader: &mut Reader,
    key: &str,
    (prefix, separator): (Option<String>, Option<String>),
) -> Option<HeaderItems> {
    HeaderItems::new(prefix.unwrap_or_default(), separator)
        .map_err(|reason| reader.error(&["auth", key], reason))
        .ok()
}

fn text(reader: &mut Reader, key: &str) -> Option<String> {
    reader.take_optional(&["auth", key], Raw::text)
}

fn word<T: Copy>(reader: &mut Reader, key: &str, words: &[(&str, T)]) -> Option<T> {
    reader.take_optional(&["auth", key], |raw| raw.word(words))
}

#[cfg(test)]
mod tests {
    use config::{File, FileFormat, Value, ValueKind};

    use super::*;

    const GOOD: &str = "kind = \"hmac\"\nsecret_files = [\"a\", \"b\"]\nheader = \"X-Signature\"\nencoding = \"hex\"\n";

    /// The test cases: settings added to [`GOOD`], and all expected errors. The test replaces `$` by settings for a
    /// signed time.
    const ERRORS: [(&str, &[&str]); 22] = [
        (
            "signed = \"{timestmp}.{body}\"",
            &["auth.signed: has an unknown placeholder {timestmp}"],
        ),
        (
            "signed = \"{header:}{body}\"",
            &["auth.signed: has an unknown placeholder {header:}"],
        ),
        (
            "signed = \"{header:a b}{body}\"",
            &["auth.signed: has an unknown placeholder {header:a b}"],
        ),
        (
            "signed = \"{}{body}\"",
            &["auth.signed: has an unknown placeholder {}"],
        ),
        ("signed = \"v0\"", &["auth.signed: has {body} 0 times"]),
        (
            "signed = \"{body}{body}\"",
            &["auth.signed: has {body} 2 times"],
        ),
        (
            "signed = \"{body}}\"",
            &["auth.signed: has a } without a {"],
        ),
        (
            "signed = \"{body}{\"",
            &["auth.signed: has a { without a }"],
        ),
        (
            "signed = \"{header:ce-id}{header:ce-type}.{body}\"",
            &["auth.signed: has nothing between"],
        ),
        (
            "signed = \"{x}{y}\"",
            &[
                "{x}: a placeholder is {timestamp}, {method}, {path}, {body} or {header:NAME}; {{ and }} are braces; has an unknown placeholder {y}",
            ],
        ),
        (
            "signed = \"{timestamp}{body}\"",
            &["auth.timestamp_header: is required"],
        ),
        (
            "timestamp_header = \"x-t\"",
            &["auth.timestamp_header: is not signed"],
        ),
        (
            "timestamp_unit = \"seconds\"",
            &["auth.timestamp_unit: needs timestamp_header"],
        ),
        (
            "timestamp_prefix = \"t=\"\ntolerance = \"1m\"",
            &[
                "auth.timestamp_prefix: needs timestamp_header",
                "auth.tolerance: needs timestamp_header",
            ],
        ),
        ("separator = \",\"", &["auth.separator: needs a prefix"]),
        (
            "separator = \"=\"\nprefix = \"a\"",
            &["auth.separator: must be made of"],
        ),
        (
            "separator = \"a\"\nprefix = \"b\"",
            &["auth.separator: must be made of"],
        ),
        (
            "separator = \",\"\nprefix = \"a,b\"",
            &["auth.separator: must not occur in the prefix"],
        ),
        (
            "algorithm = \"md5\"\nsecret_encoding = \"utf-8\"",
            &["auth.algorithm: must be", "auth.secret_encoding: must be"],
        ),
        (
            "$timestamp_prefix = \"t=\"",
            &["auth.timestamp_prefix: needs separator"],
        ),
        (
            "$tolerance = \"61m\"\ntimestamp_unit = \"days\"",
            &["auth.timestamp_unit: must be", "auth.tolerance: must be"],
        ),
        ("signd = \"{body}\"", &["auth.signd: unknown setting"]),
    ];

    fn read(auth: &str) -> Result<Auth, Vec<String>> {
        let text = format!("[auth]\n{auth}");
        let table = config::Config::builder()
            .add_source(File::from_str(&text, FileFormat::Toml))
            .build()
            .unwrap()
            .try_deserialize()
            .unwrap();
        let mut reader = Reader::new("file", Value::new(None, ValueKind::Table(table)));
        let auth = take(&mut reader);
        let errors: Vec<String> = reader.finish().iter().map(ToString::to_string).collect();
        match auth {
            Some(auth) if errors.is_empty() => Ok(auth),
            Some(_) | None => Err(errors),
        }
    }

    #[test]
    fn a_scheme_is_read_with_its_deerrors() {
        let Auth::Hmac(scheme, files) = read(GOOD).unwrap() else {
            panic!("another kind");
        };
        assert_eq!(files.paths, [PathBuf::from("a"), PathBuf::from("b")]);
        let expected = HmacScheme {
            algorithm: Algorithm::Sha256,
            secret_encoding: SecretEncoding::Text,
            header: "x-signature".parse().unwrap(),
            header_items: HeaderItems::default(),
            encoding: SignatureEncoding::Hex,
            signed: SignedText::new("{body}".parse().unwrap(), None).unwrap(),
        };
        assert_eq!(*scheme, expected);
    }

    #[test]
    fn a_token_and_a_password_have_their_settings() {
        let files = |bytes_min: Option<usize>| SecretFiles {
            paths: vec![PathBuf::from("a")],
            minimum: bytes_min.map(SecretMinimum::of_bytes).unwrap_or_default(),
        };
        let header = |prefix: &str| TokenScheme::Header {
            name: "x-crm-token".parse().unwrap(),
            prefix: prefix.to_owned(),
        };
        let basic = TokenScheme::Basic {
            user: "crm".to_owned(),
        };
        let token = "kind = \"token\"\ntoken_files = [\"a\"]\nheader = \"X-CRM-Token\"\n";
        let password = "kind = \"basic\"\npassword_files = [\"a\"]\n";
        for (text, expected) in [
            (token.to_owned(), Auth::Token(header(""), files(None))),
            (
                format!("{token}prefix = \"Key \"\nsecret_bytes_min = 8"),
                Auth::Token(header("Key "), files(Some(8))),
            ),
            (
                format!("{password}user = \"crm\""),
                Auth::Token(basic, files(None)),
            ),
        ] {
            assert_eq!(read(&text), Ok(expected), "{text}");
        }
        for (text, key) in [
            (
                "kind = \"token\"\ntoken_files = [\"a\"]".to_owned(),
                "auth.header",
            ),
            (format!("{token}secret_bytes_min = 0"), "secret_bytes_min"),
            (format!("{token}secret_bytes_min = 65"), "secret_bytes_min"),
            (format!("{password}user = \"a:b\""), "auth.user"),
            (password.to_owned(), "auth.user"),
        ] {
            let errors = read(&text).unwrap_err();
            assert_eq!(errors.len(), 1, "{text}: {errors:?}");
            assert!(errors[0].contains(key), "{text}: {errors:?}");
        }
    }

    #[test]
    fn a_scheme_is_read_with_every_key() {
        let more = "algorithm = \"sha512\"\nsecret_encoding = \"base64\"\nprefix = \"v1=\"\nseparator = \",\"\n\
                    signed = \"{timestamp}.{body}\"\ntimestamp_header = \"x-signature\"\ntimestamp_prefix = \"t=\"\n\
                    timestamp_unit = \"rfc3339\"\ntolerance = \"1h\"\n";
        let auth = read(&format!("{GOOD}{more}")).unwrap();
        assert_eq!((auth.as_str(), auth.warning()), ("hmac", None));
        let Auth::Hmac(scheme, _) = auth else {
            panic!("another kind");
        };
        let header_items =
            |prefix: &str| HeaderItems::new(prefix.to_owned(), Some(",".to_owned())).unwrap();
        let signing_time = SigningTime {
            header: "x-signature".parse().unwrap(),
            header_items: header_items("t="),
            unit: TimeUnit::Rfc3339,
            tolerance: Duration::from_hours(1),
        };
        let expected = HmacScheme {
            algorithm: Algorithm::Sha512,
            secret_encoding: SecretEncoding::Base64,
            header: "x-signature".parse().unwrap(),
            header_items: header_items("v1="),
            encoding: SignatureEncoding::Hex,
            signed: SignedText::new("{timestamp}.{body}".parse().unwrap(), Some(signing_time))
                .unwrap(),
        };
        assert_eq!(*scheme, expected);
    }

    #[test]
    fn a_warning_names_requests_that_can_be_forged_or_repeated() {
        for (auth, warns) in [
            ("kind = \"none\"", true),
            ("kind = \"bearer\"\ntoken_files = [\"a\"]", false),
            (
                "kind = \"standard_webhooks\"\nsecret_files = [\"a\"]",
                false,
            ),
            (GOOD, true),
        ] {
            assert_eq!(read(auth).unwrap().warning().is_some(), warns, "{auth}");
        }
    }

    #[test]
    fn every_error_of_a_scheme_names_its_key() {
        let stamped = "signed = \"{timestamp}{body}\"\ntimestamp_header = \"x-t\"\n";
        for (more, expected) in ERRORS {
            let more = more.replace('$', stamped);
            let errors = read(&format!("{GOOD}{more}")).unwrap_err();
            assert_eq!(errors.len(), expected.len(), "{more}: {errors:#?}");
            for (error, expected) in errors.iter().zip(expected) {
                assert!(error.contains(expected), "{more}: {error}");
            }
        }
    }

    #[test]
    fn all_errors_of_a_scheme_are_reported_at_once() {
        let errors = read(
            "kind = \"hmac\"\nsigned = \"x\"\nalgorithm = \"md5\"\nseparator = \",\"\nsecret_files = []\n",
        );
        let errors = errors.unwrap_err();
        let keys = [
            "algorithm",
            "encoding",
            "header",
            "secret_files",
            "separator",
            "signed",
        ];
        for (error, key) in errors.iter().zip(keys) {
            assert!(error.contains(&format!("auth.{key}: ")), "{error}");
        }
        assert_eq!(errors.len(), keys.len(), "{errors:#?}");
    }

    /// A time in the header of the signature needs its own prefix, to be distinguished from the signature.
    #[test]
    fn a_time_in_the_header_of_the_signature_needs_a_prefix_of_its_own() {
        let list = "separator = \",\"\nprefix = \"v1=\"\nsigned = \"{timestamp}.{body}\"\n\
                    timestamp_header = \"x-signature\"\n";
        for (more, fits) in [
            ("timestamp_prefix = \"t=\"", true),
            ("timestamp_prefix = \"v1=\"", false),
            ("timestamp_prefix = \"v\"", false),
            ("timestamp_prefix = \"v1=x\"", false),
            ("", false),
        ] {
            let errors = read(&format!("{GOOD}{list}{more}"));
            assert_eq!(errors.is_ok(), fits, "{more}: {errors:?}");
        }
    }
}
