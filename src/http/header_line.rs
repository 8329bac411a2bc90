//! Parses request headers that a person writes, such as `x-topic: customers/update`.

use awc::http::header::{HeaderMap, HeaderName, HeaderValue};

/// Parses a request header such as `x-topic: customers/update`.
pub(crate) fn parse_header(raw: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parts = raw.split_once(':');
    let parsed = parts.and_then(|(name, value)| {
        let name = name.trim().parse().ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    parsed.ok_or_else(|| "a header is written NAME: VALUE".to_owned())
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
        parse_header(line).map_err(|reason| format!("line {number}: {reason}"))
    });
    parsed.collect()
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
