//! The body of an update request to Imprint. A [`Body`] is a flat map of field to value. The serialiser nests the
//! fields into objects.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::clearing::Clearing;
use super::update::FieldValue;
use super::{Field, Update};

/// The fields of an update request with the values to send, in field order.
#[derive(Clone, Default, PartialEq)]
pub struct Body {
    update: Update,
    clearing: Clearing,
}

impl Body {
    pub(super) const fn new(update: Update, clearing: Clearing) -> Self {
        Self { update, clearing }
    }

    /// Returns whether the body has no field to send.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Iterates over the fields with the values to send.
    pub fn iter(&self) -> impl Iterator<Item = (&Field, &Value)> {
        self.update.iter().filter_map(|(field, value)| match value {
            FieldValue::Set(value) => Some((field, value)),
            FieldValue::Cleared => Some((field, self.clearing.value(field)?)),
        })
    }

    /// Returns the body as the JSON object that the client sends.
    pub fn to_object(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(object)) => object,
            // The conversion cannot fail: the serialiser always writes an object, and a write to memory always
            // succeeds.
            Ok(_) | Err(_) => Map::new(),
        }
    }
}

/// Prints only the field names of the body, because field values are personal data.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(field, _)| field))
            .finish()
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries = Vec::with_capacity(self.update.len());
        entries.extend(self.iter());
        let level = NestedBody {
            entries: &entries,
            depth: 0,
        };
        level.serialize(serializer)
    }
}

/// The fields of one nested object of the request body. The path to the object has `depth` keys.
struct NestedBody<'a> {
    entries: &'a [(&'a Field, &'a Value)],
    depth: usize,
}

impl Serialize for NestedBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut rest = self.entries;
        while let Some((field, value)) = rest.first() {
            let Some(name) = field.key(self.depth) else {
                break;
            };
            // The fields of one object are neighbours, so the serialiser writes each object once.
            let inside = match field.key(self.depth + 1) {
                None => 0,
                Some(_) => {
                    let is_inside = |field: &Field| field.key(self.depth) == Some(name);
                    rest.iter()
                        .take_while(|(field, _)| is_inside(field))
                        .count()
                }
            };
            match rest.split_at_checked(inside.max(1)) {
                Some((_, after)) if inside == 0 => {
                    map.serialize_entry(name, value)?;
                    rest = after;
                }
                Some((entries, after)) => {
                    let depth = self.depth + 1;
                    map.serialize_entry(name, &NestedBody { entries, depth })?;
                    rest = after;
                }
                None => break,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::clearing::FieldClearing;
    use super::*;

    #[test]
    fn every_field_is_written_at_its_path() {
        let metadata = [
            "metadata.a.b",
            "metadata.customer_history.email",
            "metadata.z",
        ];
        let paths: Vec<&str> = Field::paths().chain(metadata).collect();
        let values = paths.iter().rev().map(|path| {
            (
                Field::parse(path).unwrap(),
                FieldValue::from_value(json!(path)),
            )
        });
        let body = values.collect::<Update>().body(Clearing::default());
        let object = Value::Object(body.to_object());
        for path in Field::paths() {
            let pointer = format!("/{}", path.replace('.', "/"));
            assert_eq!(object.pointer(&pointer), Some(&json!(path)), "{pointer}");
        }
        for path in metadata {
            let key = path.strip_prefix("metadata.").unwrap();
            assert_eq!(object["metadata"][key], path);
        }
        let written = serde_json::to_string(&body).unwrap();
        for object in ["\"customer_history\":{", "\"address\":{", "\"metadata\":{"] {
            assert_eq!(written.matches(object).count(), 1, "{written}");
        }
        assert_eq!(serde_json::to_string(&Body::default()).unwrap(), "{}");
    }

    #[test]
    fn a_body_is_empty_if_clearing_leaves_nothing_to_send() {
        let email = Field::parse("email").unwrap();
        let cleared: Update = [(email, FieldValue::Cleared)].into_iter().collect();
        let null = Clearing {
            fields: FieldClearing::Null,
            ..Clearing::default()
        };
        for (clearing, is_empty, printed) in
            [(Clearing::default(), true, "[]"), (null, false, "[email]")]
        {
            let body = cleared.body(clearing);
            assert_eq!(body.is_empty(), is_empty);
            assert_eq!(format!("{body:?}"), printed);
        }
    }
}
