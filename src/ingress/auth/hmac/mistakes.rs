//! The common mistakes that explain why no signature of a captured request matches: other settings of the scheme, and a
//! body that was changed after the sender signed it.

use actix_web::http::header::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};

use super::super::examination::{CapturedRequest, NamedSecret};
use super::super::required;
use super::sent_body::bodies;
use super::signed_texts::{PossibleText, header_texts, signed_texts};
use super::{Algorithm, HmacScheme, SecretEncoding, SignatureEncoding};

/// The maximum number of request headers that the examination tries as a part of the signed text, or as the header of the
/// signature. Each header costs some hundred signatures of the whole body.
pub(super) const HEADERS_MAX: usize = 24;
/// The separators of the items of a header that senders use.
const SEPARATORS: [char; 6] = [',', ';', ' ', '&', '|', ':'];

/// The minimum number of digits of a time in seconds since 1970.
const TIME_DIGITS_MIN: usize = 9;
/// The note on a header with several signatures that no prefix selects.
const ONE_SIGNATURE: &str = "the sender sends only this one signature (auth.prefix and auth.separator are then left out), because no prefix selects the signatures of this list";

impl HmacScheme {
    /// Returns the settings and the change of the body with which a signature of the request matches, with as few
    /// differences as possible.
    pub(super) fn nearest_match(
        &self,
        line: &str,
        time: &str,
        secrets: &[NamedSecret],
        request: CapturedRequest<'_>,
    ) -> Option<Vec<String>> {
        let keys = self.keys(secrets);
        let bodies = bodies(request.body);
        let matching = |candidate: &PossibleText, body: &(Vec<u8>, Option<String>)| {
            let filled = candidate
                .template
                .fill(request.head, &candidate.time, &body.0)
                .ok()?;
            let notes = candidate.notes.iter().chain(&body.1).cloned();
            let notes: Vec<String> = notes.collect();
            let found = self.matching_settings(line, &filled, &keys).into_iter();
            let found = found.map(|settings| [settings, notes.clone()].concat());
            found.min_by_key(Vec::len)
        };
        let candidates = signed_texts(self, (line, time), request.head.headers);
        let notes = candidates.iter().flat_map(|candidate| {
            let of_candidate = bodies.iter().filter_map(|body| matching(candidate, body));
            of_candidate.collect::<Vec<_>>()
        });
        // A change of the body together with another header is improbable, and would cost too many signatures.
        let of_headers = header_texts(&self.header, request.head.headers);
        let of_headers = of_headers
            .iter()
            .filter_map(|candidate| matching(candidate, bodies.first()?));
        notes.chain(of_headers).min_by_key(Vec::len)
    }

    /// Returns the settings with which a signature in another header of the request matches.
    pub(in crate::ingress::auth) fn match_in_other_header(
        &self,
        time: &str,
        secrets: &[NamedSecret],
        request: CapturedRequest<'_>,
    ) -> Option<Vec<String>> {
        let headers = request.head.headers;
        let found = self.other_signatures(headers).filter_map(|(name, line)| {
            let other = Self {
                header: name.clone(),
                ..self.clone()
            };
            let inside = name.as_str().strip_prefix("http_");
            let own = vec![match inside.map(|name| name.replace('_', "-")) {
                Some(sent) => format!(
                    "auth.header is \"{sent}\", which a program sees as {name}: give verify the header with the name that the sender sends"
                ),
                None => format!("auth.header is \"{name}\""),
            }];
            let near = other.nearest_match(line, time, secrets, request)?;
            Some([own, near].concat())
        });
        found.min_by_key(Vec::len)
    }

    /// Returns the other headers of a request whose value can be a signature.
    pub(super) fn other_signatures<'a>(
        &'a self,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = (&'a HeaderName, &'a str)> {
        let is_other = |name: &&HeaderName| **name != self.header;
        let names = headers.keys().filter(is_other).take(HEADERS_MAX);
        let lines = names.filter_map(|name| Some((name, required(headers, name.as_str()).ok()?)));
        lines.filter(|(_, line)| looks_signed(line))
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
        for algorithm in ALGORITHMS {
            let is_other = algorithm != self.algorithm;
            let algorithm_note = differs(is_other, "algorithm", algorithm.as_str());
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
        let selection = |encoding: SignatureEncoding| {
            let prefix_note = self.is_in(line, encoding, mac)?;
            let encoding_note = differs(encoding != self.encoding, "encoding", encoding.as_str());
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
    pub(super) fn is_in(
        &self,
        line: &str,
        encoding: SignatureEncoding,
        mac: &[u8],
    ) -> Option<Option<String>> {
        if self.signatures(line, encoding).iter().any(|one| one == mac) {
            return Some(None);
        }
        let text = encoding.encode(mac);
        // A sender can leave out the padding of base64.
        let lengths = [text.len(), text.trim_end_matches('=').len()];
        let prefix_of = |item: &'_ str| {
            lengths.into_iter().find_map(|length| {
                let (prefix, tail) = item.split_at_checked(item.len().checked_sub(length)?)?;
                (encoding.decode(tail)? == mac).then(|| prefix.to_owned())
            })
        };
        let is_in = |separator: &char| line.contains(*separator);
        let in_list = SEPARATORS.into_iter().filter(is_in).find_map(|separator| {
            let mut prefixes = line.split(separator).map(str::trim).filter_map(prefix_of);
            let prefix = prefixes.find(|prefix| !prefix.is_empty())?;
            Some(format!(
                "auth.separator is \"{separator}\" and auth.prefix is {prefix:?}"
            ))
        });
        in_list
            .or_else(|| Some(self.whole_line(&prefix_of(line)?)))
            .or_else(|| without_prefix(line, prefix_of).map(str::to_owned))
            .map(Some)
    }

    /// Returns the note on a header whose value is this prefix and the signature.
    fn whole_line(&self, prefix: &str) -> String {
        // A prefix with a time fits one request only.
        let mut numbers = prefix.split(|c: char| !c.is_ascii_digit());
        let has_time = numbers.any(|digits| digits.len() >= TIME_DIGITS_MIN);
        if has_time || prefix.split(SEPARATORS).any(looks_signed) {
            return ONE_SIGNATURE.to_owned();
        }
        let separator = self.header_items.separator();
        let is_list = !separator.is_empty() && (prefix.is_empty() || prefix.contains(separator));
        match is_list {
            true => format!("auth.prefix is {prefix:?} and auth.separator is left out"),
            false => format!("auth.prefix is {prefix:?}"),
        }
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

/// Returns the note on a signature in a list whose items have no prefix.
fn without_prefix(line: &str, prefix_of: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let mut items = line.split(SEPARATORS).map(str::trim);
    let is_signed = items.any(|item| prefix_of(item).is_some());
    is_signed.then_some(ONE_SIGNATURE)
}

/// Returns whether a header value, or an item of it, has the form of a signature.
fn looks_signed(line: &str) -> bool {
    let is_signature = |text: &str| {
        let lengths = ALGORITHMS.map(Algorithm::signature_bytes);
        let mut codes = SIGNATURE_ENCODINGS
            .into_iter()
            .filter_map(|encoding| encoding.decode(text));
        codes.any(|code| lengths.contains(&code.len()))
    };
    let mut items = line.split(SEPARATORS).map(str::trim);
    items.any(|item| {
        let value = item.split_once('=').map_or("", |(_, value)| value);
        is_signature(item) || is_signature(value)
    })
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Sha512];
pub(super) const SIGNATURE_ENCODINGS: [SignatureEncoding; 2] =
    [SignatureEncoding::Hex, SignatureEncoding::Base64];
const ENCODINGS: [(SecretEncoding, &str); 3] = [
    (SecretEncoding::Text, "text"),
    (SecretEncoding::Base64, "base64"),
    (SecretEncoding::Hex, "hex"),
];

fn differs(is_other: bool, key: &str, value: &str) -> Option<String> {
    is_other.then(|| format!("auth.{key} is \"{value}\""))
}
