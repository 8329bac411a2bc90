//! The table `[auth]` of a draft, recognized from the request headers of a sample.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::document::{Document, toml_text};
use super::form::TimeForm;
use super::path::quoted;

/// The HMAC scheme of a known sender. The guide lists the same settings.
struct KnownScheme {
    /// The header with the signature.
    header: &'static str,
    sender: &'static str,
    settings: &'static [(&'static str, &'static str)],
}

#[rustfmt::skip]
const SCHEMES: [KnownScheme; 8] = [
    KnownScheme { header: "x-hub-signature-256", sender: "GitHub", settings: &[("encoding", "hex"), ("prefix", "sha256=")] },
    KnownScheme { header: "x-shopify-hmac-sha256", sender: "Shopify", settings: &[("encoding", "base64")] },
    KnownScheme { header: "stripe-signature", sender: "Stripe", settings: &[
        ("encoding", "hex"), ("prefix", "v1="), ("separator", ","), ("signed", "{timestamp}.{body}"),
        ("timestamp_header", "stripe-signature"), ("timestamp_prefix", "t="),
    ] },
    KnownScheme { header: "x-hubspot-signature-v3", sender: "HubSpot", settings: &[
        ("encoding", "base64"), ("signed", "{method}https://bridge.example.com{path}{body}{timestamp}"),
        ("timestamp_header", "x-hubspot-request-timestamp"), ("timestamp_unit", "milliseconds"),
    ] },
    KnownScheme { header: "x-zendesk-webhook-signature", sender: "Zendesk", settings: &[
        ("encoding", "base64"), ("signed", "{timestamp}{body}"),
        ("timestamp_header", "x-zendesk-webhook-signature-timestamp"), ("timestamp_unit", "rfc3339"),
    ] },
    KnownScheme { header: "x-slack-signature", sender: "Slack", settings: &[
        ("encoding", "hex"), ("prefix", "v0="), ("signed", "v0:{timestamp}:{body}"),
        ("timestamp_header", "x-slack-request-timestamp"),
    ] },
    KnownScheme { header: "close-sig-hash", sender: "Close", settings: &[
        ("encoding", "hex"), ("secret_encoding", "hex"), ("signed", "{timestamp}{body}"),
        ("timestamp_header", "close-sig-timestamp"),
    ] },
    // Klaviyo developer documentation, "Working with system webhooks", read in November 2026.
    KnownScheme { header: "klaviyo-signature", sender: "Klaviyo", settings: &[
        ("encoding", "hex"), ("signed", "{body}{timestamp}"), ("timestamp_header", "klaviyo-timestamp"),
        ("timestamp_unit", "rfc3339"),
    ] },
];

/// The headers with a signature that the sender makes with a private key.
const PUBLIC_KEY_HEADERS: [&str; 5] = [
    "paypal-transmission-sig",
    "x-ghl-signature",
    "x-signature-ed25519",
    "x-twilio-email-event-webhook-signature",
    "x-wh-signature",
];

/// The ends of the names of request headers that contain a token.
const TOKEN_ENDINGS: [&str; 9] = [
    "token",
    "api-key",
    "apikey",
    "access-key",
    "auth-key",
    "secret",
    "authentication",
    "authorization",
    "-auth",
];
/// The words that a sender writes before a token, in lower case.
const TOKEN_SCHEMES: [&str; 5] = ["bearer", "token", "apikey", "api-key", "key"];

/// The authentication of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authentication {
    settings: Vec<(String, String)>,
    /// The reason for the settings.
    pub(super) reason: String,
    /// What the person must decide or do.
    pub(super) decision: String,
    /// Whether only a signature protects the request, so that a header can be changed on the way.
    pub(super) is_signature: bool,
}

/// Returns the settings for the request headers. The names of the headers are in lower case.
pub(super) fn recognize(headers: &[(String, String)], source: &str) -> Authentication {
    let file = format!("[\"/run/secrets/imprint-bridge/sources/{source}\"]");
    let has = |name: &str| headers.iter().any(|(header, _)| header == name);
    let signs = |id: &str, signature: &str| has(id) && has(signature);
    if signs("webhook-id", "webhook-signature") || signs("svix-id", "svix-signature") {
        let settings = [
            ("kind", "\"standard_webhooks\"".to_owned()),
            ("secret_files", file.clone()),
        ];
        return signed(&settings, "the headers of Standard Webhooks", &file, false);
    }
    if let Some(scheme) = SCHEMES.iter().find(|scheme| has(scheme.header)) {
        let mut all = hmac(scheme.header, &file);
        let settings = scheme.settings.iter();
        all.extend(settings.map(|(key, value)| (*key, toml_text(value))));
        let reason = format!("the header {} of {}", scheme.header, scheme.sender);
        return signed(&all, &reason, &file, true);
    }
    unknown_signature(headers, &file)
        .or_else(|| authorization(headers, &file))
        .or_else(|| token(headers, &file))
        .unwrap_or_else(|| none(headers))
}

/// Returns whether a name is the name of a header with a signature.
pub(super) fn is_signature(name: &str) -> bool {
    let is_named = ["signature", "hmac"].iter().any(|word| name.contains(word));
    let is_about = ["timestamp", "version"]
        .iter()
        .any(|word| name.contains(word));
    (is_named && !is_about) || PUBLIC_KEY_HEADERS.contains(&name)
}

/// Returns whether a name has a word for a signature. Only the value can tell whether the header has one.
fn has_signature_word(name: &str) -> bool {
    let mut words = name.split(['-', '_']);
    words.any(|word| ["sig", "sign", "hash", "mac", "digest"].contains(&word))
}

/// Returns whether a name is the name of a header with the time of a signature.
pub(super) fn is_signing_time(name: &str) -> bool {
    name.ends_with("timestamp")
}

/// Returns whether a value has the form of an HMAC signature.
pub(super) fn looks_signed(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_hexdigit).count();
    of_signature(value).is_some() && digits >= 64
}

fn unknown_signature(headers: &[(String, String)], file: &str) -> Option<Authentication> {
    let mut signatures = headers.iter().filter(|(name, _)| {
        let is_named = is_signature(name) || has_signature_word(name);
        is_named && !PUBLIC_KEY_HEADERS.contains(&name.as_str())
    });
    let (header, settings) = signatures.find_map(|(header, value)| {
        let settings = of_signature(value).or_else(|| of_list(header, value));
        Some((header, settings?))
    })?;
    let mut all = hmac(header, file);
    let has_time = settings.iter().any(|(key, _)| *key == "signed");
    all.extend(settings);
    let reason = format!("the header {header} and the form of its value");
    let mut found = signed(&all, &reason, file, true);
    let time = headers
        .iter()
        .find(|(name, _)| is_signing_time(name))
        .filter(|_| !has_time);
    let assumption = match time {
        None if has_time => "the sender signs the time, a dot and the body".to_owned(),
        None => "the sender signs only the body".to_owned(),
        Some((time, _)) => format!(
            "the sender signs only the body. The header {time} is probably the time of the signature: then auth.signed has {{timestamp}}, such as `signed = \"{{timestamp}}.{{body}}\"`, with `timestamp_header = {}`",
            quoted(time)
        ),
    };
    found.decision.push_str(&format!(" Compare the settings with the sender's documentation: the draft assumes that {assumption}. `imprint-bridge verify` examines a captured request, and names the settings with which its signature matches."));
    Some(found)
}

fn authorization(headers: &[(String, String)], file: &str) -> Option<Authentication> {
    let (_, value) = headers
        .iter()
        .find(|(header, _)| header == "authorization")?;
    let (scheme, credentials) = value.split_once(' ')?;
    let reason = "the header authorization";
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => {
            let settings = [
                ("kind", "\"bearer\"".to_owned()),
                ("token_files", file.to_owned()),
            ];
            Some(signed(&settings, reason, file, false))
        }
        "basic" => {
            let user = basic_user(credentials);
            let settings = [
                ("kind", "\"basic\"".to_owned()),
                ("user", quoted(user.as_deref().unwrap_or("imprint"))),
                ("password_files", file.to_owned()),
            ];
            let mut found = signed(&settings, reason, file, false);
            if user.is_none() {
                found
                    .decision
                    .push_str(" Replace the user name in auth.user.");
            }
            Some(found)
        }
        _ => None,
    }
}

/// Returns the user name in a header value of HTTP Basic. The password stays out of the draft.
fn basic_user(credentials: &str) -> Option<String> {
    let decoded = STANDARD.decode(credentials.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, _password) = text.split_once(':')?;
    let is_visible = user.bytes().all(|byte| byte.is_ascii_graphic());
    (is_visible && !user.is_empty()).then(|| user.to_owned())
}

/// Recognizes a token in a header with a name of the sender's choice, such as `X-Crm-Token` or `Authentication`.
fn token(headers: &[(String, String)], file: &str) -> Option<Authentication> {
    let is_token = |name: &str| TOKEN_ENDINGS.iter().any(|end| name.ends_with(end));
    let has_scheme = |(_, value): &&(String, String)| scheme(value).is_some();
    let named = headers.iter().find(|(name, _)| is_token(name));
    let (header, value) = named.or_else(|| headers.iter().find(has_scheme))?;
    let mut settings = vec![
        ("kind", "\"token\"".to_owned()),
        ("header", toml_text(header)),
        ("token_files", file.to_owned()),
    ];
    let prefix = scheme(value).map(|scheme| toml_text(&format!("{scheme} ")));
    settings.extend(prefix.map(|prefix| ("prefix", prefix)));
    let reason = format!("the name of the header {header}");
    Some(signed(&settings, &reason, file, false))
}

/// Returns the word before a token, such as `Bearer`. Another first word could be a part of the secret.
fn scheme(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let is_known = TOKEN_SCHEMES.contains(&scheme.to_ascii_lowercase().as_str());
    (is_known && !token.trim().is_empty()).then_some(scheme)
}

fn none(headers: &[(String, String)]) -> Authentication {
    let signature = headers.iter().find(|(name, _)| is_signature(name));
    let reason = signature.map_or_else(
        || "no header of the samples authenticates the sender".to_owned(),
        |(name, _)| format!("the header {name} has a signature that the bridge cannot verify"),
    );
    Authentication {
        settings: vec![("kind".to_owned(), "\"none\"".to_owned())],
        reason,
        decision: "The authentication in [auth]: set the kind that the source supports. `check` and `serve` warn about a source without authentication, because everybody who can reach the port can send its events. With the profile `production`, both refuse the source. If the source can put a secret only into the URL, see the recipe \"A CRM that can put a secret only into the URL\" in config/sources/RECIPES.md.".to_owned(),
        is_signature: false,
    }
}

fn hmac(header: &str, file: &str) -> Vec<(&'static str, String)> {
    vec![
        ("kind", "\"hmac\"".to_owned()),
        ("secret_files", file.to_owned()),
        ("header", toml_text(header)),
    ]
}

fn signed(
    settings: &[(&str, String)],
    reason: &str,
    file: &str,
    is_signature: bool,
) -> Authentication {
    let settings = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    let file = file.trim_matches(['[', ']', '"']);
    Authentication {
        settings: settings.collect(),
        reason: reason.to_owned(),
        decision: format!(
            "The secret: write it to the file {file}, or name another file in [auth]."
        ),
        is_signature,
    }
}

/// Returns the algorithm and the encoding of a signature, by the form of its value.
fn of_signature(value: &str) -> Option<Vec<(&'static str, String)>> {
    let (prefix, code) = match value.split_once('=') {
        Some((prefix, code)) if !code.is_empty() && prefix.len() <= 8 => {
            (Some(format!("{prefix}=")), code)
        }
        Some(_) | None => (None, value),
    };
    let is_hex = code.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (algorithm, encoding) = match (code.len(), is_hex) {
        (40, true) => ("sha1", "hex"),
        (64, true) => ("sha256", "hex"),
        (128, true) => ("sha512", "hex"),
        (28, false) => ("sha1", "base64"),
        (44, false) => ("sha256", "base64"),
        (88, false) => ("sha512", "base64"),
        (_, _) => return None,
    };
    let mut settings = vec![
        ("algorithm", toml_text(algorithm)),
        ("encoding", toml_text(encoding)),
    ];
    settings.extend(prefix.map(|prefix| ("prefix", toml_text(&prefix))));
    Some(settings)
}

/// Returns the settings for a list with a time and a signature, such as `t=1700000000,v1=5257a869…`.
fn of_list(header: &str, value: &str) -> Option<Vec<(&'static str, String)>> {
    let separator = [',', ';', ' ']
        .into_iter()
        .find(|separator| value.contains(*separator))?;
    let items = value.split(separator).map(str::trim);
    let items: Vec<(&str, &str)> = items.filter_map(|item| item.split_once('=')).collect();
    let form = |text: &str| TimeForm::of_value(&Value::from(text));
    let is_time = |text: &str| {
        matches!(
            form(text),
            Some(TimeForm::SecondsText | TimeForm::MillisText)
        )
    };
    let time = items.iter().find(|(_, text)| is_time(text));
    let signature = items
        .iter()
        .find_map(|(name, code)| Some((name, of_signature(code)?)));
    // A placeholder such as `v1=HEX` shows the form of the header.
    let placeholder = || {
        let other = items
            .iter()
            .find(|(name, _)| Some(*name) != time.map(|(name, _)| *name));
        let encoding = ("encoding", toml_text("hex"));
        time.and(other).map(|(name, _)| (name, vec![encoding]))
    };
    let (name, mut settings) = signature.or_else(placeholder)?;
    settings.push(("prefix", toml_text(&format!("{name}="))));
    settings.push(("separator", toml_text(&separator.to_string())));
    if let Some((name, text)) = time {
        settings.push(("signed", toml_text("{timestamp}.{body}")));
        settings.push(("timestamp_header", toml_text(header)));
        settings.push(("timestamp_prefix", toml_text(&format!("{name}="))));
        let unit = (form(text) == Some(TimeForm::MillisText)).then(|| toml_text("milliseconds"));
        settings.extend(unit.map(|unit| ("timestamp_unit", unit)));
    }
    Some(settings)
}

impl Authentication {
    pub(super) fn write(&self, document: &mut Document) {
        document.table("auth");
        for (key, value) in &self.settings {
            document.setting(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_a_sample_show_the_kind_of_authentication() {
        let (hex, base64) = ("a".repeat(64), format!("{}=", "A".repeat(43)));
        for (headers, kind, detail) in [
            (vec![], "none", ""),
            (
                vec![("x-shopify-hmac-sha256", base64.as_str())],
                "hmac",
                "base64",
            ),
            (vec![("x-crm-signature", hex.as_str())], "hmac", "sha256"),
            (
                vec![(
                    "x-crm-signature",
                    "sha1=aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd",
                )],
                "hmac",
                "sha1=",
            ),
            (
                vec![("svix-id", "m"), ("svix-signature", "v1,x")],
                "standard_webhooks",
                "",
            ),
            (vec![("authorization", "Bearer abc")], "bearer", ""),
            (vec![("authorization", "Basic abc")], "basic", ""),
            (vec![("x-crm-token", "abc")], "token", "x-crm-token"),
            (
                vec![("authentication", "Bearer 0123456789")],
                "token",
                "\"Bearer ",
            ),
            (vec![("x-relay", "bearer 0123456789")], "token", "\"bearer "),
            (
                vec![("authorization", "0123456789")],
                "token",
                "authorization",
            ),
            (vec![("idempotency-key", "0123456789")], "none", ""),
            (vec![("x-crm-signature", "?")], "none", ""),
        ] {
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let found = recognize(&headers, "crm");
            let text = format!("{:?}", found.settings);
            assert!(
                text.contains(&format!("\\\"{kind}\\\"")) && text.contains(detail),
                "{headers:?} {text}"
            );
            let values = headers.iter().filter(|(name, _)| !name.contains("id"));
            for (_, value) in values.filter(|(_, value)| value.len() > 8) {
                assert!(
                    !text.contains(value.as_str()),
                    "the draft contains a secret: {text}"
                );
            }
        }
    }

    /// FAULTS N684
    #[test]
    fn the_key_of_close_is_hexadecimal() {
        let headers = ["close-sig-hash", "close-sig-timestamp"];
        let headers = headers.map(|name| (name.to_owned(), "a".repeat(64)));
        let found = recognize(&headers, "crm").settings;
        let encoding = ("secret_encoding".to_owned(), "\"hex\"".to_owned());
        assert!(found.contains(&encoding), "{found:?}");
    }
}
