//! The examination of a captured request with an HMAC signature. If no signature matches, the examination tries the
//! common mistakes: other settings of the scheme, and a body that was changed after the sender signed it.

use actix_web::http::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

use super::super::examination::{CapturedRequest, Examination, NamedSecret};
use super::super::{Denial, SecretFlaw, required};
use super::{Algorithm, HmacScheme, SecretEncoding, SignatureEncoding, Template};

/// The templates that many senders use, besides the configured template.
const TEMPLATES: [&str; 4] = [
    "{body}",
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "{timestamp}:{body}",
];

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
        examination.say(near.unwrap_or_else(|| NO_MISTAKE.to_owned()));
    }
    if let Err(denial) = &stale {
        examination.denied(denial);
    }
    examination.is_authentic = is_signed && stale.is_ok();
    Ok(examination)
}

const NO_MISTAKE: &str = "no common mistake explains the difference: the sender has another secret, or the method, the path or the body was changed after the sender signed it. Compare the SHA-256 of the body with the sender's";

impl HmacScheme {
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
        let nearest = notes.min_by_key(Vec::len)?;
        Some(format!(
            "the signature matches if {}",
            nearest.join(" and ")
        ))
    }

    /// Returns, for each combination of encoding, algorithm and key that makes a signature of the request for `text`,
    /// the differences from the configured scheme.
    fn matching_settings(
        &self,
        line: &str,
        text: &[&[u8]],
        keys: &[(Vec<u8>, Option<String>)],
    ) -> Vec<Vec<String>> {
        let mut matching = Vec::new();
        for (encoding, word) in SIGNATURE_ENCODINGS {
            let signatures = self.signatures(line, encoding);
            let encoding_note = differs(encoding != self.encoding, "encoding", word);
            for (algorithm, word) in ALGORITHMS {
                let algorithm_note = differs(algorithm != self.algorithm, "algorithm", word);
                let made = |key: &[u8]| algorithm.made_any(key, text, &signatures);
                let notes = keys
                    .iter()
                    .filter(|(key, _)| made(key))
                    .map(|(_, note)| note);
                let notes = notes.map(|key_note| [&encoding_note, &algorithm_note, key_note]);
                matching.extend(notes.map(|notes| notes.into_iter().flatten().cloned().collect()));
            }
        }
        matching
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

/// Returns the body, and the bodies before common changes by editors and gateways, each with a note on the change.
fn bodies(body: &[u8]) -> Vec<(Vec<u8>, Option<String>)> {
    let mut bodies = vec![(body.to_vec(), None)];
    let without_end = body.trim_ascii_end();
    let line_feeds: Vec<u8> = body.iter().copied().filter(|byte| *byte != b'\r').collect();
    let with_end = [body, b"\n"].concat();
    let compact = without_white_space(body);
    let changes = [
        (
            without_end.to_vec(),
            "the body has no line break or white space at its end",
        ),
        (with_end, "the body has a line break at its end"),
        (
            line_feeds,
            "the lines of the body end with LF instead of CRLF",
        ),
        (
            compact,
            "the JSON of the body has no white space: the file was formatted after the sender signed it",
        ),
    ];
    for (changed, note) in changes {
        if bodies.iter().all(|(known, _)| *known != changed) {
            bodies.push((changed, Some(note.to_owned())));
        }
    }
    bodies
}

/// Returns JSON without the white space between its tokens. The order of the keys stays the same.
fn without_white_space(body: &[u8]) -> Vec<u8> {
    let (mut is_text, mut is_escaped) = (false, false);
    let is_kept = |byte: &u8| {
        let was_text = is_text;
        if *byte == b'"' && !is_escaped {
            is_text = !is_text;
        }
        is_escaped = was_text && *byte == b'\\' && !is_escaped;
        was_text || !byte.is_ascii_whitespace()
    };
    body.iter().copied().filter(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_inside_a_text_stays() {
        let pretty = br#"{
            "a b": "x \" y\\" , "c": [ 1 , 2 ]
        }"#;
        let compact = br#"{"a b":"x \" y\\","c":[1,2]}"#;
        assert_eq!(without_white_space(pretty), compact);
        assert_eq!(without_white_space(compact), compact);
    }
}
