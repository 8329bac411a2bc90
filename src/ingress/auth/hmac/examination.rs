//! The examination of a captured request with an HMAC signature. If no signature matches, the examination tries the
//! common mistakes: other settings of the scheme, and a body that was changed after the sender signed it.

use actix_web::http::header::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

use super::super::examination::{CapturedRequest, Examination, NOTHING_COMPARED, NamedSecret};
use super::super::{Denial, SecretFlaw, required};
use super::sent_body::bodies;
use super::signing_time::TimeUnit;
use super::{Algorithm, HmacScheme, SecretEncoding, SignatureEncoding, Template};

/// The templates that many senders use, besides the configured template.
const TEMPLATES: [&str; 4] = [
    "{body}",
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "{timestamp}:{body}",
];

/// The texts between a header value and the body that the examination tries.
const JOINTS: [&str; 4] = ["", ".", ":", "\n"];
/// The maximum number of request headers that the examination tries as a part of the signed text. Each header costs some
/// hundred signatures of the whole body.
const HEADERS_MAX: usize = 24;

/// Examines a request with a signature in a source's own HMAC scheme.
///
/// # Errors
/// Returns the flaw of a secret, with the name of its file.
pub fn examine_hmac(
    scheme: &HmacScheme,
    secrets: &[NamedSecret],
    request: CapturedRequest<'_>,
) -> Result<Examination, (String, SecretFlaw)> {
    let mut keys = Vec::new();
    for named in secrets {
        let encoding = scheme.secret_encoding;
        let key = encoding.decode(named.secret.expose_secret());
        let flaw = SecretFlaw::Encoding(encoding.alphabet());
        keys.push((named, key.ok_or_else(|| (named.file.clone(), flaw))?));
    }
    let mut examination = Examination::default();
    let line = match required(request.head.headers, scheme.header.as_str()) {
        Ok(line) => line,
        Err(denial) => {
            examination.denied(&denial);
            examination.say(NOTHING_COMPARED);
            return Ok(examination);
        }
    };
    let stale = scheme.time(request);
    let time = stale.as_ref().map_or_else(
        |_denial| scheme.time_text(request.head.headers).unwrap_or_default(),
        |time| *time,
    );
    let text = match scheme
        .signed
        .template
        .fill(request.head, time, request.body)
    {
        Ok(text) => text,
        Err(denial) => {
            examination.denied(&denial);
            return Ok(examination);
        }
    };
    scheme.describe_text(request, time, &mut examination);
    let is_signed = scheme.compare(line, &text, &keys, &mut examination);
    if !is_signed {
        let near = scheme.nearest_match(line, time, secrets, request);
        examination.say(near.unwrap_or_else(|| scheme.no_mistake(line)));
    }
    if let Err(denial) = &stale {
        examination.denied(denial);
    }
    examination.is_authentic = is_signed && stale.is_ok();
    Ok(examination)
}

impl HmacScheme {
    /// Returns the last line about a request whose signature no common mistake explains. The line names only values that
    /// the signature covers.
    fn no_mistake(&self, line: &str) -> String {
        if self.header_items.items(line).next().is_none() {
            return NOTHING_COMPARED.to_owned();
        }
        let template = &self.signed.template;
        let mut signed = Vec::new();
        if template.has_method() {
            signed.push("the method".to_owned());
        }
        if template.has_path() {
            signed.push("the path".to_owned());
        }
        signed.extend(template.headers().map(|name| format!("the header {name}")));
        signed.push("the body".to_owned());
        format!(
            "no common mistake explains the difference: the sender has another secret, or {} was changed after the sender signed it. \
             Compare the SHA-256 of the body with the sender's: a program that parses the JSON and writes it again changes the bytes",
            signed.join(" or ")
        )
    }

    /// Returns the signing time of the request, or the denial of a stale request.
    fn time<'a>(&'a self, request: CapturedRequest<'a>) -> Result<&'a str, Denial> {
        let signing_time = self.signed.signing_time.as_ref();
        signing_time.map_or(Ok(""), |signing_time| {
            signing_time.read(request.head.headers, request.wall)
        })
    }

    /// Returns the text of the signing time, even if the time is not valid.
    fn time_text<'a>(&'a self, headers: &'a HeaderMap) -> Option<&'a str> {
        let signing_time = self.signed.signing_time.as_ref()?;
        let line = required(headers, signing_time.header.as_str()).ok()?;
        signing_time.header_items.items(line).next()
    }

    fn signatures(&self, line: &str, encoding: SignatureEncoding) -> Vec<Vec<u8>> {
        let items = self.header_items.items(line);
        items.filter_map(|text| encoding.decode(text)).collect()
    }

    /// Compares the signatures of the request with the signature that each key makes. Returns whether one of them matches.
    fn compare(
        &self,
        line: &str,
        text: &[&[u8]],
        keys: &[(&NamedSecret, Vec<u8>)],
        into: &mut Examination,
    ) -> bool {
        for signature in self.header_items.items(line) {
            into.say(format!("the request has the signature {signature}"));
        }
        if self.header_items.items(line).next().is_none() {
            let prefix = self.header_items.prefix();
            into.say(format!(
                "the header {} has no signature after auth.prefix {prefix:?}",
                self.header
            ));
        }
        let signatures = self.signatures(line, self.encoding);
        let mut is_signed = false;
        for (named, key) in keys {
            let mac = self.algorithm.mac(key, text).unwrap_or_default();
            let matches = self.algorithm.made_any(key, text, &signatures);
            is_signed |= matches;
            into.say(format!(
                "{} makes the signature {}: {}",
                named.file,
                self.encoding.encode(&mac),
                if matches { "matches" } else { "does not match" }
            ));
        }
        is_signed
    }

    /// Describes the signed text and the values of its placeholders. The body is personal data, so the report shows only
    /// its length and its digest.
    fn describe_text(&self, request: CapturedRequest<'_>, time: &str, into: &mut Examination) {
        let template = &self.signed.template;
        into.say(format!("the signed text is {template}"));
        let digest = Sha256::digest(request.body);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let values = [
            ("{timestamp}", time.to_owned()),
            ("{method}", request.head.method.to_owned()),
            ("{path}", request.head.path.to_owned()),
            (
                "{body}",
                format!("{} bytes with the SHA-256 {digest}", request.body.len()),
            ),
        ];
        let written = template.to_string();
        for (placeholder, value) in values {
            if written.contains(placeholder) {
                into.say(format!("  {placeholder} is {value}"));
            }
        }
        for name in template.headers() {
            let value = required(request.head.headers, name.as_str());
            into.say(format!(
                "  {{header:{name}}} is {}",
                value.unwrap_or_default()
            ));
        }
    }

    /// Returns the settings and the change of the body with which a signature of the request matches, with as few
    /// differences as possible.
    fn nearest_match(
        &self,
        line: &str,
        time: &str,
        secrets: &[NamedSecret],
        request: CapturedRequest<'_>,
    ) -> Option<String> {
        let keys = self.keys(secrets);
        let bodies = bodies(request.body);
        let matching = |template: &(Template, Option<String>), body: &(Vec<u8>, Option<String>)| {
            let text = template.0.fill(request.head, time, &body.0).ok()?;
            let notes = [&template.1, &body.1].into_iter().flatten().cloned();
            let notes: Vec<String> = notes.collect();
            let found = self.matching_settings(line, &text, &keys).into_iter();
            let found = found.map(|settings| [settings, notes.clone()].concat());
            found.min_by_key(Vec::len)
        };
        let templates = self.templates(!time.is_empty());
        let notes = templates.iter().flat_map(|template| {
            let of_template = bodies.iter().filter_map(|body| matching(template, body));
            of_template.collect::<Vec<_>>()
        });
        // A change of the body together with another header is improbable, and would cost too many signatures.
        let of_headers = self.header_templates(request.head.headers);
        let of_headers = of_headers
            .iter()
            .filter_map(|template| matching(template, bodies.first()?));
        let notes = notes.chain(of_headers);
        let nearest = notes.min_by_key(Vec::len)?;
        Some(format!(
            "the signature matches if {}",
            nearest.join(" and ")
        ))
    }

    /// Returns, for each combination of prefix, encoding, algorithm and key that makes a signature of the request for
    /// `text`, the differences from the configured scheme.
    fn matching_settings(
        &self,
        line: &str,
        text: &[&[u8]],
        keys: &[(Vec<u8>, Option<String>)],
    ) -> Vec<Vec<String>> {
        let mut matching = Vec::new();
        for (algorithm, word) in ALGORITHMS {
            let algorithm_note = differs(algorithm != self.algorithm, "algorithm", word);
            for (key, key_note) in keys {
                let mac = algorithm.mac(key, text).unwrap_or_default();
                matching.extend(self.selections(line, &mac, [&algorithm_note, key_note]));
            }
        }
        matching
    }

    /// Returns, for each encoding in which the header has this signature, the differences from the configured scheme.
    /// `notes` are the differences that made this signature.
    fn selections(&self, line: &str, mac: &[u8], notes: [&Option<String>; 2]) -> Vec<Vec<String>> {
        let selection = |(encoding, word)| {
            let prefix_note = self.is_in(line, encoding, mac)?;
            let encoding_note = differs(encoding != self.encoding, "encoding", word);
            let others = notes.into_iter().flatten().cloned();
            let own = [encoding_note, prefix_note].into_iter().flatten();
            Some(own.chain(others).collect())
        };
        SIGNATURE_ENCODINGS
            .into_iter()
            .filter_map(selection)
            .collect()
    }

    /// Returns whether the header has this signature: with `None` if the configured prefix selects the signature,
    /// otherwise with a note on the prefix that would select it.
    fn is_in(&self, line: &str, encoding: SignatureEncoding, mac: &[u8]) -> Option<Option<String>> {
        if self.signatures(line, encoding).iter().any(|one| one == mac) {
            return Some(None);
        }
        let length = encoding.encode(mac).len();
        let items = line.split(',').map(str::trim);
        let whole = std::iter::once(line).chain(items);
        let prefix = whole.into_iter().find_map(|item| {
            let start = item.len().checked_sub(length)?;
            let (prefix, tail) = item.split_at_checked(start)?;
            (encoding.decode(tail)? == mac).then_some(prefix)
        })?;
        Some(Some(match prefix.rsplit_once(',') {
            Some((_, last)) => {
                format!(
                    "auth.separator is \",\" and auth.prefix is {:?}",
                    last.trim()
                )
            }
            None if line.contains(',') => {
                format!("auth.separator is \",\" and auth.prefix is {prefix:?}")
            }
            None => format!("auth.prefix is {prefix:?}"),
        }))
    }

    /// Returns templates of each header of the request before or behind the body, each with a note on the difference.
    fn header_templates(&self, headers: &HeaderMap) -> Vec<(Template, Option<String>)> {
        let is_other = |name: &&HeaderName| **name != self.header;
        let names = headers.keys().filter(is_other).take(HEADERS_MAX);
        let of_name = |name: &HeaderName| {
            let value = required(headers, name.as_str()).unwrap_or_default();
            let unit = TimeUnit::of_text(value);
            let raws = JOINTS.into_iter().flat_map(move |joint| {
                ["{header}", "{body}"].map(|first| match first {
                    "{body}" => format!("{{body}}{joint}{{header}}"),
                    _ => format!("{{header}}{joint}{{body}}"),
                })
            });
            let templates = raws.filter_map(|raw| {
                let placeholder = format!("{{header:{name}}}");
                let read = raw.replace("{header}", &placeholder);
                let note = match unit {
                    Some(unit) => format!(
                        "auth.signed is {:?}, auth.timestamp_header is \"{name}\" and auth.timestamp_unit is \"{}\"",
                        raw.replace("{header}", "{timestamp}"),
                        unit.as_str()
                    ),
                    None => format!("auth.signed is {read:?}"),
                };
                Some((read.parse().ok()?, Some(note)))
            });
            templates.collect::<Vec<_>>()
        };
        names.flat_map(of_name).collect()
    }

    /// Returns the configured template and other common templates, each with a note on the difference.
    fn templates(&self, has_time: bool) -> Vec<(Template, Option<String>)> {
        let configured = &self.signed.template;
        let others = TEMPLATES
            .into_iter()
            .filter(|raw| has_time || !raw.contains("{timestamp}"))
            .filter_map(|raw| Some((raw.parse().ok()?, differs(true, "signed", raw))));
        let mut templates = vec![(configured.clone(), None)];
        templates.extend(others.filter(|(template, _)| template != configured));
        templates
    }

    /// Returns the keys that each secret can mean, each with a note on the difference from the configured key.
    fn keys(&self, secrets: &[NamedSecret]) -> Vec<(Vec<u8>, Option<String>)> {
        let mut keys = Vec::new();
        for named in secrets {
            let raw: &SecretString = &named.secret;
            let raw = raw.expose_secret();
            for (encoding, word) in ENCODINGS {
                let note = differs(encoding != self.secret_encoding, "secret_encoding", word);
                keys.extend(encoding.decode(raw).map(|key| (key, note.clone())));
            }
            let inner = raw.rsplit_once("whsec_").map(|(_, inner)| inner);
            let inner = inner.and_then(|inner| SecretEncoding::Base64.decode(inner));
            let note = "auth.kind is \"standard_webhooks\", or the secret file has only the text after `whsec_` and auth.secret_encoding is \"base64\"";
            keys.extend(inner.map(|key| (key, Some(note.to_owned()))));
        }
        keys
    }
}

const ALGORITHMS: [(Algorithm, &str); 3] = [
    (Algorithm::Sha256, "sha256"),
    (Algorithm::Sha1, "sha1"),
    (Algorithm::Sha512, "sha512"),
];
const SIGNATURE_ENCODINGS: [(SignatureEncoding, &str); 2] = [
    (SignatureEncoding::Hex, "hex"),
    (SignatureEncoding::Base64, "base64"),
];
const ENCODINGS: [(SecretEncoding, &str); 3] = [
    (SecretEncoding::Text, "text"),
    (SecretEncoding::Base64, "base64"),
    (SecretEncoding::Hex, "hex"),
];

fn differs(is_other: bool, key: &str, value: &str) -> Option<String> {
    is_other.then(|| format!("auth.{key} is \"{value}\""))
}
