//! The charset of a media type.

use crate::event::cloudevents::is_utf8;

/// Returns whether a JSON media type has a charset other than UTF-8 and ASCII.
pub(super) fn has_other_charset(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset").then_some(value)
    });
    let is_json = media_type == "application/json" || media_type.ends_with("+json");
    is_json && charset.is_some_and(|charset| !is_utf8(charset))
}
