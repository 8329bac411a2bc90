//! The fields to set on one Imprint customer, field by field.
//!
//! A field that Imprint does not know cannot be named, so nothing that it does not know can be sent.

use std::fmt;
use std::sync::Arc;

use litemap::LiteMap;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::Body;
use super::clearing::Clearing;
use super::field::{Field, FieldGroup};

/// Where the country of the customer's address stands; the flat address has none.
const COUNTRY: &str = "customer_history.address.country";
/// The country that the flat address is in.
const HOME: &str = "USA";

/// How many fields an update is given room for before it is read.
const FIELDS_USUAL: usize = 32;

/// What a source says of one field. A field it says nothing of is not in the update at all.
#[derive(Clone, PartialEq)]
pub enum FieldValue {
    /// It has this value: a text, a whole number or, under `metadata`, any JSON value but null.
    Set(Value),
    /// The source has no value for it any more (null or empty there).
    Cleared,
}

impl FieldValue {
    /// The fact that a JSON value states: null means cleared.
    pub fn from_value(value: Value) -> Self {
        if value.is_null() {
            Self::Cleared
        } else {
            Self::Set(value)
        }
    }
}

/// Never the value: it is personal data.
impl fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set(_) => "Set",
            Self::Cleared => "Cleared",
        })
    }
}

/// The facts to set on one Imprint customer, at most one a field.
///
/// Serialised as an object of field to value, null for cleared; this is the form the store keeps. A copy shares the facts:
/// what one event states goes through fold and request as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update(Arc<LiteMap<Field, FieldValue>>);

impl Update {
    /// States a fact; what was stated of that field before is replaced.
    pub fn insert(&mut self, field: Field, value: FieldValue) {
        put(Arc::make_mut(&mut self.0), field, value);
    }

    /// Whether this is the other one or a copy of it, and not only the same.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many facts are stated.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What is stated, in the order of the fields.
    pub fn iter(&self) -> impl Iterator<Item = (&Field, &FieldValue)> {
        self.0.iter()
    }

    /// The fields something is stated of.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.keys()
    }

    /// What is stated of this field.
    pub fn value(&self, field: &Field) -> Option<&FieldValue> {
        self.0.get(field)
    }

    /// Whether nothing is stated.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a request says to have Imprint take the facts.
    pub fn body(&self, clearing: Clearing) -> Body {
        Body::new(self.clone(), clearing)
    }

    /// The lines of the address that are cleared.
    pub fn cleared_address_lines(&self) -> Vec<Field> {
        let is_cleared_line = |(field, value): &(&Field, &FieldValue)| {
            field.group() == FieldGroup::Address && **value == FieldValue::Cleared
        };
        let lines = self.iter().filter(is_cleared_line);
        lines.map(|(field, _)| field.clone()).collect()
    }

    /// Whether it sets an address that is known to be outside the USA, which Imprint's flat address cannot say.
    pub fn is_foreign(&self) -> bool {
        let country = Field::parse(COUNTRY).and_then(|field| self.0.get(&field));
        let is_abroad =
            matches!(country, Some(FieldValue::Set(Value::String(country))) if country != HOME);
        is_abroad && self.sets_address()
    }

    /// Whether it sets a line of the flat address.
    pub fn sets_address(&self) -> bool {
        let sets = |(field, value): (&Field, &FieldValue)| {
            field.group() == FieldGroup::Address && *value != FieldValue::Cleared
        };
        self.iter().any(sets)
    }

    /// The same without the flat address.
    #[must_use]
    pub fn without_address(mut self) -> Self {
        Arc::make_mut(&mut self.0).retain(|field, _| field.group() != FieldGroup::Address);
        self
    }
}

impl FromIterator<(Field, FieldValue)> for Update {
    fn from_iter<I: IntoIterator<Item = (Field, FieldValue)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        let (least, most) = pairs.size_hint();
        let mut values = LiteMap::with_capacity(most.unwrap_or(least));
        for (field, value) in pairs {
            put(&mut values, field, value);
        }
        Self(Arc::new(values))
    }
}

fn put(values: &mut LiteMap<Field, FieldValue>, field: Field, value: FieldValue) {
    // Mostly they come in order: then no place has to be looked for.
    if let Some((field, value)) = values.try_append(field, value) {
        values.insert(field, value);
    }
}

impl Serialize for Update {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (field, value) in self.iter() {
            match value {
                FieldValue::Set(value) => map.serialize_entry(field, value)?,
                FieldValue::Cleared => map.serialize_entry(field, &Value::Null)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Update {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UpdateVisitor)
    }
}

/// Reads an object of field to value.
struct UpdateVisitor;

impl<'de> Visitor<'de> for UpdateVisitor {
    type Value = Update;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of field to value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Update, A::Error> {
        let mut values = LiteMap::with_capacity(FIELDS_USUAL);
        while let Some((field, value)) = map.next_entry()? {
            put(&mut values, field, FieldValue::from_value(value));
        }
        Ok(Update(Arc::new(values)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::clearing::{AddressClearing, FieldClearing};
    use super::*;

    fn update(values: &[(&str, Value)]) -> Update {
        values
            .iter()
            .map(|(path, value)| {
                (
                    Field::parse(path).unwrap(),
                    FieldValue::from_value(value.clone()),
                )
            })
            .collect()
    }

    #[test]
    fn a_cleared_leaf_is_sent_as_the_operator_says() {
        let update = update(&[
            ("email", Value::Null),
            ("street_line2", Value::Null),
            ("customer_history.account_tenure", Value::Null),
            ("metadata.k", Value::Null),
        ]);
        let table = [
            (FieldClearing::Omit, AddressClearing::Verify, json!({})),
            (FieldClearing::Omit, AddressClearing::Omit, json!({})),
            (
                FieldClearing::Omit,
                AddressClearing::Empty,
                json!({"street_line2": ""}),
            ),
            (
                FieldClearing::Empty,
                AddressClearing::Omit,
                json!({"email": ""}),
            ),
            (
                FieldClearing::Null,
                AddressClearing::Omit,
                json!({"email": null, "customer_history": {"account_tenure": null}, "metadata": {"k": null}}),
            ),
        ];
        for (fields, address, body) in table {
            let clearing = Clearing { fields, address };
            assert_eq!(
                Value::Object(update.body(clearing).to_object()),
                body,
                "{clearing:?}"
            );
        }
        assert_eq!(
            update.cleared_address_lines(),
            [Field::parse("street_line2").unwrap()]
        );
    }

    #[test]
    fn an_address_abroad_is_foreign_where_it_is_set() {
        let table = [
            (
                &[("city", json!("Paris")), (COUNTRY, json!("FRA"))][..],
                true,
            ),
            (&[("city", json!("Reno")), (COUNTRY, json!("USA"))], false),
            (&[("city", json!("Reno"))], false),
            (
                &[(COUNTRY, json!("FRA")), ("email", json!("a@example.com"))],
                false,
            ),
            (&[("city", Value::Null), (COUNTRY, json!("FRA"))], false),
        ];
        for (values, is_foreign) in table {
            assert_eq!(update(values).is_foreign(), is_foreign, "{values:?}");
            assert!(!update(values).without_address().is_foreign());
        }
    }

    #[test]
    fn a_body_nests_leaves_and_leaves_cleared_ones_out() {
        let update = update(&[
            ("metadata.a.b", json!({"c": 1})),
            ("customer_history.address.city", json!("Reno")),
            ("customer_history.account_tenure", json!(13)),
            ("phone", Value::Null),
            ("email", json!("a@example.com")),
        ]);
        assert_eq!(
            Value::Object(update.body(Clearing::default()).to_object()),
            json!({
                "email": "a@example.com",
                "customer_history": {"address": {"city": "Reno"}, "account_tenure": 13},
                "metadata": {"a.b": {"c": 1}},
            })
        );
    }

    #[test]
    fn what_the_store_keeps_reads_back_as_it_was() {
        let update = update(&[
            ("email", Value::Null),
            ("city", json!("Reno")),
            ("metadata.x", json!([1])),
        ]);
        let kept = serde_json::to_string(&update).unwrap();
        assert_eq!(serde_json::from_str::<Update>(&kept).unwrap(), update);
    }
}
