//! Pure functions that read only the needed parts of Imprint's JSON, as slices borrowed from the received text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Parses a JSON object. The function first checks that the JSON is an object, because a derived `Deserialize` would
/// also accept an array.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    let is_object = json.trim_ascii_start().starts_with('{');
    is_object.then(|| serde_json::from_str(json).ok()).flatten()
}

/// Returns the string in a raw JSON value, or `None` for any other JSON type. A string with the replacement character
/// U+FFFD is unreadable, because the character stands for bytes that are not UTF-8.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw.get())
        .ok()
        .map(|text| text.0)
        .filter(|text| !text.contains(char::REPLACEMENT_CHARACTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_read_as_one() {
        #[derive(Deserialize, PartialEq, Debug)]
        struct Customer {
            id: String,
        }
        let customer = |json: &str| object::<Customer>(json).map(|found| found.id);
        for (json, id) in [
            (r#"{"id":"a"}"#, Some("a")),
            (" \r\n{\"id\":\"a\"}\n", Some("a")),
            (r#"["a"]"#, None),
            (r#"{"id":"a"}x"#, None),
            (r#"{"id":7}"#, None),
            ("", None),
        ] {
            assert_eq!(customer(json).as_deref(), id, "{json}");
        }
    }

    #[test]
    fn only_a_string_is_a_text() {
        for (json, expected) in [
            (r#""a\"b""#, Some("a\"b")),
            (r#""""#, Some("")),
            ("\"M\u{fffd}ller\"", None),
            ("7", None),
            ("null", None),
            (r#"["a"]"#, None),
        ] {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(text(raw).as_deref(), expected, "{json}");
        }
    }
}
