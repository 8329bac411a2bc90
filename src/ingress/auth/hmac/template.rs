//! The template of the text that a source signs.
//!
//! A template is literal text with the placeholders `{timestamp}`, `{method}`, `{path}`, `{body}` and `{header:NAME}`.
//! In a template, `{{` and `}}` are literal braces.

use std::fmt;
use std::str::FromStr;

use actix_web::http::header::HeaderName;

use super::super::{Denial, Head, required};

/// The prefix of headers that contain CloudEvents attributes.
const ATTRIBUTE: &str = "ce-";
const HEADER: &str = "header:";
const USAGE: &str =
    "a placeholder is {timestamp}, {method}, {path}, {body} or {header:NAME}; {{ and }} are braces";

/// The beginnings of the placeholders.
const PLACEHOLDERS: [&str; 5] = ["{timestamp}", "{method}", "{path}", "{body}", "{header:"];

/// A template of the signed text, with exactly one `{body}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Timestamp,
    Method,
    Path,
    Body,
    Header(HeaderName),
}

impl FromStr for Template {
    /// One line of text that describes all errors of the template.
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut flaws = Vec::new();
        let mut rest = raw;
        while !rest.is_empty() {
            let (part, left) = next(rest);
            match part {
                Ok(part) => push(&mut parts, part),
                Err(flaw) => flaws.push(flaw),
            }
            rest = left;
        }
        let bodies = parts.iter().filter(|part| **part == Part::Body).count();
        if let Some(name) = PLACEHOLDERS
            .iter()
            .find(|name| raw.contains(&format!("{{{name}}}")))
        {
            flaws.push(format!(
                "has double braces around a placeholder, which would be a part of the signed text: write {} with single braces",
                name.trim_end_matches(':')
            ));
        } else if bodies != 1 {
            flaws.push(format!("has {{body}} {bodies} times; it must have it once"));
        }
        if PLACEHOLDERS
            .iter()
            .any(|name| raw.contains(&format!("${name}")))
        {
            flaws.push(format!(
                "has a $ before a placeholder, which would be a part of the signed text: {USAGE}"
            ));
        }
        let is_attribute = |name: &HeaderName| name.as_str().starts_with(ATTRIBUTE);
        flaws.extend(mixed_values(&parts, is_attribute));
        if flaws.is_empty() {
            Ok(Self(parts))
        } else {
            Err(flaws.join("; "))
        }
    }
}

/// Writes the template as in the setting `signed`.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Part::Timestamp => f.write_str("{timestamp}"),
            Part::Method => f.write_str("{method}"),
            Part::Path => f.write_str("{path}"),
            Part::Body => f.write_str("{body}"),
            Part::Header(name) => write!(f, "{{{HEADER}{name}}}"),
        })
    }
}

impl Template {
    /// Returns whether the template contains `{timestamp}`.
    pub fn has_timestamp(&self) -> bool {
        self.0.contains(&Part::Timestamp)
    }

    /// Returns whether the template contains `{method}`.
    pub(super) fn has_method(&self) -> bool {
        self.0.contains(&Part::Method)
    }

    /// Returns whether the template contains `{path}`.
    pub(super) fn has_path(&self) -> bool {
        self.0.contains(&Part::Path)
    }

    /// Returns whether the template contains the placeholder for the header `name`. `name` is in lower case.
    pub(super) fn has_header(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|part| matches!(part, Part::Header(known) if known.as_str() == name))
    }

    /// Returns an error if an attacker could move characters between the header `name` and another signed value.
    pub(super) fn header_flaw(&self, name: &str) -> Option<String> {
        mixed_values(&self.0, |known| known.as_str() == name).next()
    }

    /// Returns the names of the headers in the template.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().filter_map(|part| match part {
            Part::Header(name) => Some(name),
            Part::Literal(_) | Part::Timestamp | Part::Method | Part::Path | Part::Body => None,
        })
    }

    /// Returns the signed text of a request, as one slice for each part of the template.
    ///
    /// # Errors
    /// Returns an error if a header in the template is missing, occurs more than once or is not text.
    pub(super) fn fill<'a>(
        &'a self,
        head: Head<'a>,
        timestamp: &'a str,
        body: &'a [u8],
    ) -> Result<Vec<&'a [u8]>, Denial> {
        let piece = |part: &'a Part| {
            Ok(match part {
                Part::Literal(text) => text.as_bytes(),
                Part::Timestamp => timestamp.as_bytes(),
                Part::Method => head.method.as_bytes(),
                Part::Path => head.path.as_bytes(),
                Part::Body => body,
                Part::Header(name) => required(head.headers, name.as_str())?.as_bytes(),
            })
        };
        self.0.iter().map(piece).collect()
    }
}

/// Returns the first part of the template `raw`, and the text after this part. `raw` must not be empty.
fn next(raw: &str) -> (Result<Part, String>, &str) {
    let literal = |text: &str| Ok(Part::Literal(text.to_owned()));
    if let Some(rest) = raw.strip_prefix("{{") {
        return (literal("{"), rest);
    }
    if let Some(rest) = raw.strip_prefix("}}") {
        return (literal("}"), rest);
    }
    if let Some(rest) = raw.strip_prefix('}') {
        return (Err(format!("has a }} without a {{: {USAGE}")), rest);
    }
    match raw.strip_prefix('{').map(|inner| inner.split_once('}')) {
        Some(Some((name, rest))) => (placeholder(name), rest),
        Some(None) => (Err(format!("has a {{ without a }}: {USAGE}")), ""),
        None => {
            let end = raw.find(['{', '}']).unwrap_or(raw.len());
            let (text, rest) = raw.split_at_checked(end).unwrap_or((raw, ""));
            (literal(text), rest)
        }
    }
}

fn placeholder(name: &str) -> Result<Part, String> {
    match name {
        "timestamp" => Ok(Part::Timestamp),
        "method" => Ok(Part::Method),
        "path" => Ok(Part::Path),
        "body" => Ok(Part::Body),
        other => other
            .strip_prefix(HEADER)
            .and_then(|header| header.parse().ok())
            .map(Part::Header)
            .ok_or_else(|| format!("has an unknown placeholder {{{other}}}: {USAGE}")),
    }
}

/// Adds a part to a template. Adjacent literal texts become one part.
fn push(parts: &mut Vec<Part>, part: Part) {
    match (parts.last_mut(), part) {
        (Some(Part::Literal(text)), Part::Literal(more)) => text.push_str(&more),
        (_, part) => parts.push(part),
    }
}

/// Returns the errors of headers whose values could mix with the values beside them. `is_attribute` tells whether a
/// header decides something.
fn mixed_values<'p>(
    parts: &'p [Part],
    is_attribute: impl Fn(&HeaderName) -> bool + Copy + 'p,
) -> impl Iterator<Item = String> + 'p {
    let adjacent = parts.windows(2);
    let adjacent = adjacent.filter_map(move |pair| adjacent_values(pair, is_attribute));
    let separated = parts.windows(3);
    adjacent.chain(separated.filter_map(move |parts| movable_separator(parts, is_attribute)))
}

/// Returns an error if the template has two adjacent placeholders, and one of them is the header of an event attribute.
///
/// An attacker who saw one signature could move characters between two adjacent values, and so forge an event id or
/// type.
fn adjacent_values(pair: &[Part], is_attribute: impl Fn(&HeaderName) -> bool) -> Option<String> {
    let is_literal = |part: &Part| matches!(part, Part::Literal(_));
    let attribute = pair.iter().find_map(|part| match part {
        Part::Header(name) if is_attribute(name) => Some(name),
        Part::Header(_)
        | Part::Literal(_)
        | Part::Timestamp
        | Part::Method
        | Part::Path
        | Part::Body => None,
    })?;
    (!pair.iter().any(is_literal)).then(|| {
        format!(
            "has nothing between {{{HEADER}{attribute}}} and the value next to it: put text between them"
        )
    })
}

/// Returns an error if the text between two header placeholders could also occur in a header value, and one of the
/// headers is an event attribute.
///
/// For example, with a dot as this text, an attacker who saw the signature of the id `1.2` and the type `3` could send
/// the id `1` and the type `2.3` with the same signature.
fn movable_separator(parts: &[Part], is_attribute: impl Fn(&HeaderName) -> bool) -> Option<String> {
    let [
        Part::Header(before),
        Part::Literal(text),
        Part::Header(after),
    ] = parts
    else {
        return None;
    };
    let mut headers = [before, after].into_iter();
    let attribute = headers.find(|name| is_attribute(name))?;
    // No header value contains a control character, except a tab.
    let is_fixed = text.chars().any(|c| c.is_ascii_control() && c != '\t');
    (!is_fixed).then(|| {
        format!(
            "has no line break in the text beside {{{HEADER}{attribute}}}: the values of two headers must not mix"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_knows_the_parts_of_the_request_that_it_signs() {
        let template = |text: &str| text.parse::<Template>().unwrap();
        assert!(template("{path}{body}").has_path());
        assert!(!template("{method}{body}").has_path());
        let signed = template("{header:ce-id}\n{header:X-Other}{body}");
        for (name, is_signed) in [("ce-id", true), ("x-other", true), ("ce-type", false)] {
            assert_eq!(signed.has_header(name), is_signed, "{name}");
        }
    }

    /// Reports about a signature print the template as the operator wrote it, and name the headers that it signs.
    #[test]
    fn a_template_is_printed_as_it_is_written() {
        let text = "{{a}}{timestamp}.{method}.{path}.{header:x-shop}\n{body}";
        let template: Template = text.parse().unwrap();
        assert_eq!(template.to_string(), text);
        let headers: Vec<_> = template.headers().map(HeaderName::as_str).collect();
        assert_eq!(headers, ["x-shop"]);
    }

    /// FAULTS S15: a header that decides something, for example the type of the event, needs a line break beside it.
    #[test]
    fn the_flaw_of_a_header_names_the_header() {
        let template = |text: &str| text.parse::<Template>().unwrap();
        let adjacent = template("{header:x-topic}{header:x-shop}{body}");
        let flaw = adjacent.header_flaw("x-topic").unwrap();
        assert!(flaw.contains("{header:x-topic}"), "{flaw}");
        assert_eq!(adjacent.header_flaw("x-other"), None);
        let apart = template("{header:x-topic}\n{header:x-shop}\n{body}");
        assert_eq!(apart.header_flaw("x-topic"), None);
    }

    /// FAULTS S15: a separator that moves from one value into the next leaves the signed text unchanged.
    #[test]
    fn two_headers_need_a_line_break_between_them() {
        for (text, is_valid) in [
            ("{header:ce-id}\n{header:ce-type}\n{body}", true),
            ("{header:ce-id}\r\n{header:x-shop}{body}", true),
            ("{header:ce-id}.{header:ce-type}\n{body}", false),
            ("{header:x-shop}|{header:ce-id}.{body}", false),
            ("{header:ce-id}\t{header:ce-type}.{body}", false),
            ("{header:ce-id}.{timestamp}.{body}", true),
            ("{header:x-topic}.{header:x-shop}{body}", true),
        ] {
            assert_eq!(text.parse::<Template>().is_ok(), is_valid, "{text}");
        }
    }

    /// A character that moves from one value into the next must change the signed text.
    #[test]
    fn an_attribute_needs_a_text_beside_every_other_value() {
        for (text, is_valid) in [
            ("{header:ce-id}\n{header:ce-type}\n{body}", true),
            ("{header:ce-id}{header:ce-type}\n{body}", false),
            ("{timestamp}{header:ce-id}\n{body}", false),
            ("{header:ce-id}{body}", false),
            ("{header:x-topic}{body}", true),
            ("{header:x-topic}{header:x-shop}{body}", true),
        ] {
            let parsed = text.parse::<Template>();
            assert_eq!(parsed.is_ok(), is_valid, "{text}");
            let names_it = |flaws: String| flaws.contains("has nothing between {header:ce-id}");
            assert_eq!(parsed.is_err_and(names_it), !is_valid, "{text}");
        }
    }
}
