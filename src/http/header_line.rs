//! Parses request headers that a person writes, such as `x-topic: customers/update`.

use awc::http::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

const NOT_A_HEADER: &str = "a header is written NAME: VALUE";

/// Parses a request header such as `x-topic: customers/update`.
pub(crate) fn parse_header(raw: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parts = raw.split_once(':');
    // `HeaderName` also takes a double quote, which no name of a header has.
    let name = parts.and_then(|(name, _)| name.trim().parse::<HeaderName>().ok());
    let name = name.filter(|name| !name.as_str().contains('"'));
    if parts.is_some() && name.is_none() {
        return Err(
            "the name of a header has only the characters of a token, such as letters, digits and - (RFC 9110, 5.6.2)"
                .to_owned(),
        );
    }
    let value = parts.and_then(|(_, value)| HeaderValue::from_str(value.trim()).ok());
    let parsed = name.zip(value);
    parsed.ok_or_else(|| NOT_A_HEADER.to_owned())
}

/// Parses the header lines of a captured request. Skips empty lines, and the line of the request before the headers.
///
/// # Errors
/// Returns the number and not the text of a wrong line, because a header can be a secret.
pub(crate) fn parse_headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let lines = text.lines().zip(1..);
    let lines = lines.filter(|(line, _)| !line.trim().is_empty());
    let is_header =
        |(position, (line, _)): &(usize, (&str, u32))| *position > 0 || !is_request_line(line);
    let headers = lines.enumerate().filter(is_header);
    let parsed = headers.map(|(_, (line, number))| {
        parse_header(line).map_err(|reason| match foreign_form(line) {
            Some(form) => format!("line {number}: {NOT_A_HEADER}, {form}"),
            None => format!("line {number}: {reason}"),
        })
    });
    parsed.collect()
}

/// Returns how a line of another notation differs from a header line.
fn foreign_form(line: &str) -> Option<&'static str> {
    let line = line.trim();
    if line.starts_with(['{', '}', '"', '\'']) {
        Some("without JSON and quotes")
    } else if line.starts_with("-H") || line.starts_with("--header") {
        Some("without the option of curl and without quotes")
    } else {
        None
    }
}

/// Returns whether a line is the line of a request, such as `POST /hooks HTTP/1.1`, and no header such as `Upgrade: HTTP/2`.
fn is_request_line(line: &str) -> bool {
    let line = line.trim();
    let method = line.split(' ').next().unwrap_or_default();
    let is_http = line.ends_with(" HTTP/1.1") || line.ends_with(" HTTP/2");
    is_http && !method.contains(':')
}

/// Collects headers. A header can occur several times.
pub(crate) fn header_map(headers: &[(HeaderName, HeaderValue)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.clone(), value.clone());
    }
    map
}

/// Returns the call that reads a header, if the place of an error is in a member `headers`, and the body has no such member. A
/// relay can put the headers of another request into the body.
pub(crate) fn header_of_place(place: &str, body: &Value) -> Option<String> {
    let mut parts = ["headers", "header"].iter();
    let name = parts.find_map(|member| {
        let rest = place.strip_prefix('/')?.strip_prefix(member)?;
        let is_relayed = body.get(member).is_some_and(Value::is_object);
        rest.strip_prefix('/').filter(|_| !is_relayed)
    })?;
    let name = name.to_ascii_lowercase().replace('_', "-");
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_name = !name.is_empty() && name.chars().all(is_of_name);
    is_name
        .then(|| format!("the function header reads a header of the request: header(\"{name}\")"))
}
