//! The request headers that the expressions of a source read. Some senders name the type or the id of an event only in a
//! header.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use super::EventError;

/// The maximum length of a header value that an expression reads. A topic or an id is much shorter. The bridge stores
/// the value with each event of the request.
const VALUE_BYTES_MAX: usize = 1024;

/// The headers of one request, by name in lower case. The set contains only headers that the source file names. A header that
/// the request does not have has no value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RequestHeaders(BTreeMap<String, Option<String>>);

impl RequestHeaders {
    /// Reads the headers with these names. `read` returns the value of a header, or `None` if the request does not have
    /// the header. `read` returns an error if the header occurs more than once, or is not visible ASCII.
    ///
    /// # Errors
    /// Returns an error for each header that cannot be read or is too long.
    pub fn read<'v, E>(
        names: &BTreeSet<String>,
        read: impl Fn(&str) -> Result<Option<&'v str>, E>,
    ) -> Result<Self, Vec<EventError>> {
        let mut headers = BTreeMap::new();
        let mut errors = Vec::new();
        for name in names {
            match read(name) {
                Ok(Some(value)) if value.len() <= VALUE_BYTES_MAX => {
                    headers.insert(name.clone(), Some(value.to_owned()));
                }
                Ok(Some(_)) => {
                    let reason = format!("is longer than {VALUE_BYTES_MAX} bytes");
                    errors.push(error(name, &reason));
                }
                Ok(None) => {
                    headers.insert(name.clone(), None);
                }
                Err(_unreadable) => {
                    errors.push(error(
                        name,
                        "occurs more than once, or is not visible ASCII",
                    ));
                }
            }
        }
        if errors.is_empty() {
            Ok(Self(headers))
        } else {
            Err(errors)
        }
    }

    /// Returns the value of a header. `name` is in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref()
    }

    /// Returns the names of `names` of which nothing is known: the bridge did not read these headers of the request.
    pub fn unknown<'n>(&self, names: &'n BTreeSet<String>) -> impl Iterator<Item = &'n String> {
        names.iter().filter(|name| !self.0.contains_key(*name))
    }

    /// Returns the headers with these names as a JSON object, for the stored form of an event: null for a header that the
    /// request does not have. Returns `None` if the bridge read none of the headers.
    pub fn to_json(&self, names: &BTreeSet<String>) -> Option<Value> {
        let kept = names.iter().filter_map(|name| {
            let value = self.0.get(name)?.as_deref();
            Some((name.clone(), Value::from(value)))
        });
        let kept: Map<String, Value> = kept.collect();
        (!kept.is_empty()).then_some(Value::Object(kept))
    }

    /// Reads the headers in the stored form of an event.
    pub fn of_json(stored: &Value) -> Self {
        let members = stored.as_object().into_iter().flatten();
        let texts = members.filter(|(_, value)| value.is_string() || value.is_null());
        let texts = texts.map(|(name, value)| (name.clone(), value.as_str().map(str::to_owned)));
        Self(texts.collect())
    }
}

fn error(name: &str, reason: &str) -> EventError {
    EventError {
        pointer: String::new(),
        rule: "header".to_owned(),
        location: "http".to_owned(),
        detail: format!("The header {name} {reason}."),
    }
}

/// Prints only the names of the headers, because the values are personal data.
impl fmt::Debug for RequestHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present = self.0.iter().filter(|(_, value)| value.is_some());
        f.debug_set()
            .entries(present.map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_named_headers_are_read_and_unreadable_ones_are_errors() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let read = |name: &str| match name {
            "x-topic" => Ok(Some("customers/update")),
            "x-twice" => Err(()),
            "x-long" => Ok(Some(long.as_str())),
            _other => Ok(None),
        };
        let headers = RequestHeaders::read(&names(&["x-topic", "x-none"]), read).unwrap();
        assert_eq!(headers.get("x-topic"), Some("customers/update"));
        assert_eq!(headers.get("x-none"), None);
        assert_eq!(format!("{headers:?}"), "{\"x-topic\"}");
        let errors = RequestHeaders::read(&names(&["x-twice", "x-long"]), read).unwrap_err();
        assert_eq!(errors.len(), 2);
        let stored = headers.to_json(&names(&["x-topic", "x-none"])).unwrap();
        assert_eq!(
            stored,
            json!({"x-topic": "customers/update", "x-none": null})
        );
        assert_eq!(RequestHeaders::of_json(&stored), headers);
        assert_eq!(headers.to_json(&names(&["x-other"])), None);
        let names = names(&["x-none", "x-other"]);
        assert_eq!(headers.unknown(&names).collect::<Vec<_>>(), ["x-other"]);
    }
}
