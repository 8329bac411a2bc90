//! The texts that the sender of a captured request can have signed: the configured text, and the texts of other senders.

use actix_web::http::header::{HOST, HeaderMap, HeaderName};

use super::super::required;
use super::mistakes::HEADERS_MAX;
use super::signing_time::TimeUnit;
use super::{HmacScheme, Template};

/// The templates that many senders use, besides the configured template. `{url}` is the full URL of the request.
const TEMPLATES: [&str; 15] = [
    "{body}",
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "{timestamp}:{body}",
    "{body}{timestamp}",
    "{body}.{timestamp}",
    "v0:{timestamp}:{body}",
    "v1:{timestamp}:{body}",
    "{method}{path}{body}",
    "{method}{url}{body}",
    "{url}{body}",
    "{timestamp}{method}{path}{body}",
    "{method}{path}{timestamp}{body}",
    "{method}{path}{body}{timestamp}",
    "{method}{url}{body}{timestamp}",
];
/// The texts between a header value and the body that the examination tries.
const JOINTS: [&str; 4] = ["", ".", ":", "\n"];

/// A text that the sender can have signed, with the differences from the configured scheme.
pub(super) struct PossibleText {
    pub(super) template: Template,
    /// The signing time in the text.
    pub(super) time: String,
    pub(super) notes: Option<String>,
}

/// Returns the configured template and other common templates, with the configured time and with a time in the signature
/// header, as in `t=1700000000,v1=…`.
pub(super) fn signed_texts(
    scheme: &HmacScheme,
    (line, time): (&str, &str),
    headers: &HeaderMap,
) -> Vec<PossibleText> {
    let configured = &scheme.signed.template;
    let raws = TEMPLATES
        .into_iter()
        .filter_map(|raw| with_url(raw, headers));
    let parsed: Vec<(String, Template)> = raws
        .filter_map(|raw| raw.parse().ok().map(|template| (raw, template)))
        .collect();
    let own = (configured.to_string(), configured.clone());
    let mut candidates = vec![PossibleText {
        template: configured.clone(),
        time: time.to_owned(),
        notes: None,
    }];
    let others = parsed.iter().filter(|(_, template)| template != configured);
    let with_time = |template: &Template| !time.is_empty() || !template.has_timestamp();
    candidates.extend(
        others
            .filter(|(_, template)| with_time(template))
            .map(|(raw, template)| PossibleText {
                template: template.clone(),
                time: time.to_owned(),
                notes: Some(signed_note(scheme, raw, template)),
            }),
    );
    let timed = || {
        std::iter::once(&own)
            .chain(&parsed)
            .filter(|(_, template)| template.has_timestamp())
    };
    for (prefix, found, unit) in times(line).filter(|(_, found, _)| *found != time) {
        candidates.extend(timed().map(|(raw, template)| PossibleText {
            template: template.clone(),
            time: found.to_owned(),
            notes: Some(format!(
                "auth.signed is {raw:?}, auth.timestamp_header is \"{}\", auth.timestamp_prefix is {prefix:?} and auth.timestamp_unit is \"{}\"",
                scheme.header,
                unit.as_str()
            )),
        }));
    }
    candidates
}

/// Returns the note on a template that the sender signs. A source without a signing time must not have its settings.
fn signed_note(scheme: &HmacScheme, raw: &str, template: &Template) -> String {
    match scheme.signed.signing_time.is_some() && !template.has_timestamp() {
        true => format!(
            "auth.signed is {raw:?} and auth.timestamp_header and the other settings of the signing time are left out"
        ),
        false => format!("auth.signed is {raw:?}"),
    }
}

/// Returns texts of each header of the request and the body. A header with a time can also stand in the other templates.
pub(super) fn header_texts(signature: &HeaderName, headers: &HeaderMap) -> Vec<PossibleText> {
    let is_other = |name: &&HeaderName| *name != signature;
    let names = headers.keys().filter(is_other).take(HEADERS_MAX);
    let of_name = |name: &HeaderName| {
        let value = required(headers, name.as_str()).unwrap_or_default();
        let unit = TimeUnit::of_text(value);
        let joined = JOINTS.into_iter().flat_map(|joint| {
            [
                format!("{{body}}{joint}{{timestamp}}"),
                format!("{{timestamp}}{joint}{{body}}"),
            ]
        });
        let joined: Vec<String> = joined.collect();
        let common = TEMPLATES
            .into_iter()
            .filter(|raw| raw.contains("{timestamp}"));
        let common = common.filter_map(|raw| with_url(raw, headers));
        let mut raws = joined.clone();
        raws.extend(common.filter(|raw| unit.is_some() && !joined.contains(raw)));
        let candidates = raws.into_iter().filter_map(|raw| {
            let read = raw.replace("{timestamp}", &format!("{{header:{name}}}"));
            let notes = match unit {
                Some(unit) => format!(
                    "auth.signed is {raw:?}, auth.timestamp_header is \"{name}\" and auth.timestamp_unit is \"{}\"",
                    unit.as_str()
                ),
                None => format!("auth.signed is {read:?}"),
            };
            Some(PossibleText {
                template: read.parse().ok()?,
                time: String::new(),
                notes: Some(notes),
            })
        });
        candidates.collect::<Vec<_>>()
    };
    names.flat_map(of_name).collect()
}

/// Replaces `{url}` by the URL of the request. Returns `None` if the template needs the URL, and the request has no header
/// `Host`.
fn with_url(raw: &str, headers: &HeaderMap) -> Option<String> {
    if !raw.contains("{url}") {
        return Some(raw.to_owned());
    }
    let host = required(headers, HOST.as_str()).ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
    let is_host = host.bytes().all(is_plain);
    is_host.then(|| raw.replace("{url}", &format!("https://{host}{{path}}")))
}

/// Returns the times in the items of the signature header, each with its prefix, such as `t=`.
fn times(line: &str) -> impl Iterator<Item = (&str, &str, TimeUnit)> {
    let items = line.split([',', ';', ' ']).map(str::trim);
    items.filter_map(|item| {
        let start = item.find('=')?.checked_add(1)?;
        let (prefix, time) = item.split_at_checked(start)?;
        Some((prefix, time, TimeUnit::of_text(time)?))
    })
}
