//! The examination of a captured request with an HMAC signature. If no signature matches, the examination names the mistake
//! that explains the difference.

use actix_web::http::header::HeaderMap;
use secrecy::ExposeSecret;
use sha2::{Digest as _, Sha256};

use super::super::examination::{CapturedRequest, Examination, NamedSecret, nothing_compared};
use super::super::{Denial, DenialReason, SecretFlaw, required};
use super::signing_time::TimeUnit;
use super::{HmacScheme, SIGNATURES_MAX, SignatureEncoding};

/// A decoded secret with the name of its file.
type NamedKey<'s> = (&'s NamedSecret, Vec<u8>);

/// The kind of a source whose signatures the examination compares. It decides which settings a sentence can name.
pub(in crate::ingress::auth) enum SchemeKind {
    /// The source file has the settings of the scheme.
    Own,
    /// Standard Webhooks, which has no such settings. The denial is that of the head of the request.
    Standard(Option<Denial>),
}

/// Examines a request with a signature in a source's own HMAC scheme.
///
/// # Errors
/// Returns the flaw of a secret, with the name of its file.
pub fn examine_hmac(
    scheme: &HmacScheme,
    secrets: &[NamedSecret],
    request: CapturedRequest<'_>,
) -> Result<Examination, (String, SecretFlaw)> {
    examine(scheme, secrets, request, &SchemeKind::Own)
}

/// Examines a request with a signature in the scheme of a kind of source.
pub(in crate::ingress::auth) fn examine(
    scheme: &HmacScheme,
    secrets: &[NamedSecret],
    request: CapturedRequest<'_>,
    kind: &SchemeKind,
) -> Result<Examination, (String, SecretFlaw)> {
    let keys = scheme.decoded_keys(secrets)?;
    let mut examination = Examination::default();
    let headers = request.head.headers;
    let time = scheme.time_text(headers).unwrap_or_default();
    let line = match required(headers, scheme.header.as_str()) {
        Ok(line) => line,
        Err(denial) => {
            examination.denied(&denial);
            examination.say(scheme.other_header(kind, time, secrets, request));
            return Ok(examination);
        }
    };
    let stale = match kind {
        SchemeKind::Own => scheme.time(request).err(),
        SchemeKind::Standard(denial) => denial.clone(),
    };
    let near = || {
        let near = scheme.nearest_match(line, time, secrets, request);
        near.map(|notes| scheme.match_sentence(kind, &notes))
    };
    if let Some(denial) = stale.as_ref().filter(|_| time.is_empty()) {
        examination.denied(denial);
        examination.say(near().unwrap_or_else(|| scheme.no_time(denial, headers)));
        return Ok(examination);
    }
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
        let hash = || scheme.plain_hash(line, secrets, request);
        let cause = near().or_else(hash);
        examination.say(cause.unwrap_or_else(|| scheme.no_mistake(line)));
    }
    if let Some(denial) = &stale {
        examination.denied(denial);
    }
    if let (SchemeKind::Standard(Some(_)), Some(TimeUnit::Milliseconds)) =
        (kind, TimeUnit::of_text(time))
    {
        examination.say("the signing time is in milliseconds, but Standard Webhooks has seconds: the sender must send seconds");
    }
    examination.is_authentic = is_signed && stale.is_none();
    Ok(examination)
}

impl HmacScheme {
    /// Decodes the secrets. Returns the flaw of a secret with the name of its file.
    fn decoded_keys<'s>(
        &self,
        secrets: &'s [NamedSecret],
    ) -> Result<Vec<NamedKey<'s>>, (String, SecretFlaw)> {
        let encoding = self.secret_encoding;
        let decoded = |named: &'s NamedSecret| {
            let key = encoding.decode(named.secret.expose_secret());
            let flaw = SecretFlaw::Encoding(encoding.alphabet());
            Ok((named, key.ok_or_else(|| (named.file.clone(), flaw))?))
        };
        secrets.iter().map(decoded).collect()
    }

    /// Returns the last line about a request whose signature no common mistake explains. The line names only values that
    /// the signature covers.
    fn no_mistake(&self, line: &str) -> String {
        if self.header_items.items(line).next().is_none() {
            return self.no_item();
        }
        let lengths: Vec<usize> = self
            .signatures(line, self.encoding)
            .iter()
            .map(Vec::len)
            .collect();
        let (expected, encoding) = (self.algorithm.signature_bytes(), self.encoding.as_str());
        let Some(length) = lengths.first().filter(|_| !lengths.contains(&expected)) else {
            return self.changed_text(lengths.is_empty().then_some(encoding));
        };
        let is_hex = |signature: &Vec<u8>| {
            signature.len() == 2 * expected && signature.iter().all(u8::is_ascii_hexdigit)
        };
        if self.signatures(line, self.encoding).iter().any(is_hex) {
            return format!(
                "the {encoding} text contains {length} hexadecimal digits: the sender encodes the digits of its signature and not the bytes"
            );
        }
        let cause = match *length < expected {
            true => "the value was cut, or it is no such signature",
            false => "it is no such signature",
        };
        format!(
            "the signature has {length} bytes, and a signature with auth.algorithm \"{}\" has {expected} bytes: {cause}",
            self.algorithm.as_str()
        )
    }

    /// Says that no part of the signature header is a signature.
    fn no_item(&self) -> String {
        let (header, prefix) = (&self.header, self.header_items.prefix());
        let part = match self.header_items.separator() {
            "" => "its value does not begin".to_owned(),
            separator => format!("no item between auth.separator {separator:?} begins"),
        };
        format!(
            "nothing was compared with the secrets: the request has the header {header}, but {part} with auth.prefix {prefix:?}. Correct the settings by the sender's documentation"
        )
    }

    /// Says which parts of the signed text can be changed, or that the signature does not have the encoding `other`.
    fn changed_text(&self, other: Option<&str>) -> String {
        if let Some(encoding) = other {
            return format!(
                "nothing was compared with the secrets: the signature is not in auth.encoding \"{encoding}\""
            );
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
            "no common mistake explains the difference: the sender has another secret, or signs another text than auth.signed, or {} was changed after the sender signed it. \
             Compare the SHA-256 of the body with the sender's: a program that parses the JSON and writes it again changes the bytes",
            signed.join(" or ")
        )
    }

    /// Returns the last line about a request in which the bridge finds no signing time.
    fn no_time(&self, denial: &Denial, headers: &HeaderMap) -> String {
        let signing_time = self.signed.signing_time.as_ref();
        let header = signing_time.map_or("", |signing_time| signing_time.header.as_str());
        let items = signing_time.map(|signing_time| &signing_time.header_items);
        if denial.reason == DenialReason::Missing
            || items.is_none_or(|items| items.prefix().is_empty() && items.separator().is_empty())
        {
            return nothing_compared(headers, header);
        }
        format!(
            "nothing was compared with the secrets: the bridge finds no signing time in the header {header}. Compare auth.timestamp_prefix and auth.separator with its value"
        )
    }

    /// Returns the last line about a request without the signature header. The line names the headers of the request that
    /// can have the signature.
    fn other_header(
        &self,
        kind: &SchemeKind,
        time: &str,
        secrets: &[NamedSecret],
        request: CapturedRequest<'_>,
    ) -> String {
        if let Some(notes) = self.match_in_other_header(time, secrets, request) {
            return self.match_sentence(kind, &notes);
        }
        let others = self.other_signatures(request.head.headers);
        let others: Vec<&str> = others.map(|(name, _)| name.as_str()).collect();
        let (headers, header) = (request.head.headers, self.header.as_str());
        if others.is_empty() || headers.contains_key(header) {
            return nothing_compared(headers, header);
        }
        let remedy = match kind {
            SchemeKind::Own => "if one of them has the signature, correct auth.header",
            SchemeKind::Standard(_) => {
                "if one of them has the signature, the sender does not follow Standard Webhooks, and the source needs auth.kind = \"hmac\""
            }
        };
        format!(
            "nothing was compared with the secrets; these headers of the request have values in the form of a signature: {}; {remedy}",
            others.join(", ")
        )
    }

    /// Returns the sentence about the differences that explain the signature.
    fn match_sentence(&self, kind: &SchemeKind, notes: &[String]) -> String {
        let differences = notes.join(" and ");
        let is_setting = notes.iter().any(|note| note.contains("auth."));
        let SchemeKind::Standard(_) = kind else {
            return format!("the signature matches if {differences}");
        };
        if !is_setting {
            return format!("the signature matches if {differences}");
        }
        let signing_time = self.signed.signing_time.as_ref();
        let settings = [
            ("header", self.header.to_string()),
            ("encoding", self.encoding.as_str().to_owned()),
            ("prefix", self.header_items.prefix().to_owned()),
            ("separator", self.header_items.separator().to_owned()),
            ("secret_encoding", "base64".to_owned()),
            ("signed", self.signed.template.to_string()),
            (
                "timestamp_header",
                signing_time.map_or_else(String::new, |time| time.header.to_string()),
            ),
        ];
        let others = settings.iter().filter(|(key, value)| {
            let is_named = |note: &String| note.contains(&format!("auth.{key} "));
            !value.is_empty() && !notes.iter().any(is_named)
        });
        let others = others.map(|(key, value)| format!("{key} = {value:?}"));
        format!(
            "the sender does not follow Standard Webhooks, which has no further settings. With auth.kind = \"hmac\", the signature matches if {differences}, the secret file has only the text after `whsec_`, and the other settings are {}",
            others.collect::<Vec<_>>().join(", ")
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

    pub(super) fn signatures(&self, line: &str, encoding: SignatureEncoding) -> Vec<Vec<u8>> {
        let items = self.header_items.items(line);
        let signatures = items.filter_map(|text| encoding.decode(text));
        signatures.take(SIGNATURES_MAX).collect()
    }

    /// Compares the signatures of the request with the signature that each key makes. Returns whether one of them matches.
    fn compare(
        &self,
        line: &str,
        text: &[&[u8]],
        keys: &[NamedKey<'_>],
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
        let items = self.header_items.items(line);
        let mut readable = items.filter_map(|text| self.encoding.decode(text));
        if readable.nth(SIGNATURES_MAX).is_some() {
            into.say(format!(
                "the bridge compares only the first {SIGNATURES_MAX} signatures of a request"
            ));
        }
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
}
