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

/// Returns whether a line is the first line of a captured request, before its headers.
pub(crate) fn is_request_line(line: &str) -> bool {
    let line = line.trim_end();
    line.ends_with(" HTTP/1.1") || line.ends_with(" HTTP/2")
}

/// Collects headers. A header can occur several times.
pub(crate) fn header_map(headers: &[(HeaderName, HeaderValue)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.clone(), value.clone());
    }
    map
}
