//! Finds the members of a sample that look like secrets. A draft maps no secret, and copies no secret into an example.

use serde_json::{Map, Value};

use super::path::JsonPath;
use crate::event::member_name::SensitiveKind;

/// The lowest length of the value of a member `key` that looks like a secret. A shorter value is usually the name or the
/// number of a record.
const KEY_CHARS_MIN: usize = 16;
/// The text that an example has in the place of a secret.
const REPLACEMENT: &str = "replaced-by-new-source";

/// The place of a value that looks like a secret, such as `.users[].token`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SensitivePlace {
    pub(super) place: String,
    pub(super) kind: SensitiveKind,
}

/// Returns the kind of a member that looks like a secret. `members` has the member and the members beside it.
pub(super) fn kind(name: &str, members: &Map<String, Value>) -> Option<SensitiveKind> {
    if name == "key" {
        let is_long = |text: &str| {
            text.chars().count() >= KEY_CHARS_MIN && !text.contains(char::is_whitespace)
        };
        let value = members.get(name).and_then(Value::as_str);
        let is_secret = value.is_some_and(is_long) && !members.contains_key("value");
        return is_secret.then_some(SensitiveKind::Credential);
    }
    let of_entry = || {
        let key = members.get("key").and_then(Value::as_str);
        key.filter(|_| name == "value").and_then(SensitiveKind::of)
    };
    SensitiveKind::of(name).or_else(of_entry)
}

/// Replaces the secrets in a body. Returns the places of the secrets.
pub(super) fn replace(body: &mut Value) -> Vec<SensitivePlace> {
    let mut places = Vec::new();
    replace_in(body, "", &mut places);
    places.sort();
    places.dedup();
    places
}

fn replace_in(value: &mut Value, place: &str, places: &mut Vec<SensitivePlace>) {
    match value {
        Value::Object(members) => {
            let names = members.keys();
            let kinds: Vec<_> = names.map(|name| kind(name, members)).collect();
            for ((name, value), kind) in members.iter_mut().zip(kinds) {
                let place = format!("{place}{}", JsonPath::of(&[name]).expression());
                match kind {
                    None => replace_in(value, &place, places),
                    Some(kind) if replace_all(value) => places.push(SensitivePlace { place, kind }),
                    Some(_) => {}
                }
            }
        }
        Value::Array(items) => {
            let dot = if place.is_empty() { "." } else { "" };
            let place = format!("{place}{dot}[]");
            items
                .iter_mut()
                .for_each(|item| replace_in(item, &place, places));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Replaces all texts and numbers in a value. Returns whether it has any.
fn replace_all(value: &mut Value) -> bool {
    match value {
        Value::Object(members) => replace_each(members.values_mut()),
        Value::Array(items) => replace_each(items.iter_mut()),
        Value::String(text) => {
            let has_text = !text.is_empty();
            if has_text {
                REPLACEMENT.clone_into(text);
            }
            has_text
        }
        Value::Number(_) => {
            *value = Value::from(0);
            true
        }
        Value::Null | Value::Bool(_) => false,
    }
}

fn replace_each<'v>(values: impl Iterator<Item = &'v mut Value>) -> bool {
    let mut was_replaced = false;
    for value in values {
        was_replaced |= replace_all(value);
    }
    was_replaced
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_replaced_and_other_values_stay() {
        let mut body = json!({
            "secret": "s", "clientSecret": 5, "access_token": "t", "X-Api-Key": "k", "password": "", "token_type": "bearer",
            "signature": {"alg": "a", "of": ["b"]}, "key": "CRM-12", "password_changed_at": "2025", "has_password": true,
            "list": [{"key": "webhook_secret", "value": "v"}, {"key": "first", "value": "Ann"}],
            "long": {"key": "0123456789abcdef"}, "idempotency_key": "0123456789abcdef",
        });
        let names = |places: Vec<SensitivePlace>| {
            let names = places.into_iter().map(|found| found.place);
            names.collect::<Vec<_>>()
        };
        let places = names(replace(&mut body));
        let expected = [
            ".\"X-Api-Key\"",
            ".access_token",
            ".clientSecret",
            ".list[].value",
            ".long.key",
            ".secret",
            ".signature",
        ];
        assert_eq!(places, expected);
        let text = REPLACEMENT;
        assert_eq!(
            body,
            json!({
                "secret": text, "clientSecret": 0, "access_token": text, "X-Api-Key": text, "password": "",
                "token_type": "bearer", "signature": {"alg": text, "of": [text]}, "key": "CRM-12",
                "password_changed_at": "2025", "has_password": true,
                "list": [{"key": "webhook_secret", "value": text}, {"key": "first", "value": "Ann"}],
                "long": {"key": text}, "idempotency_key": "0123456789abcdef",
            })
        );
        assert_eq!(
            names(replace(&mut body)),
            expected,
            "a second draft finds the same places"
        );
    }
}
