//! The values to set on one Imprint customer, by field.
//!
//! An [`Update`] can contain only fields that Imprint has, so the bridge cannot send an unknown field.

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

/// The path of the field with the country of the customer's address. The address fields at the top level of an update,
/// such as `city`, state no country.
const COUNTRY: &str = "customer_history.address.country";
/// The countries with addresses that are domestic for the mail of the USA: the USA, its territories, and the freely
/// associated states Micronesia, Marshall Islands and Palau.
///
/// The list is from USPS Publication 28 (2024), appendix B, and the Domestic Mail Manual (July 2024), sections 608.2.1 and
/// 608.2.2, with the codes of ISO 3166-1. An address in one of these countries has a state and a ZIP code of the USA.
const DOMESTIC: [&str; 10] = [
    "USA", "PRI", "GUM", "VIR", "ASM", "MNP", "UMI", "MHL", "FSM", "PLW",
];

/// Returns whether an address in the country of this ISO 3166-1 alpha-3 code is an address of the USA for the mail.
/// The address fields at the top level of an update can represent such an address.
pub fn is_domestic(alpha3: &str) -> bool {
    DOMESTIC.contains(&alpha3)
}

/// The usual number of fields in an update, used as capacity when the store reads an update.
const FIELDS_USUAL: usize = 32;

/// The source's new value of one field. If the source does not mention a field, the update has no value for the field.
#[derive(Clone, PartialEq)]
pub enum FieldValue {
    /// The field has this value: a string, a whole number or, under `metadata`, any JSON value except null.
    Set(Value),
    /// The source no longer has a value for the field: the source sent null or an empty text.
    Cleared,
}

impl FieldValue {
    /// Converts a JSON value to a field value. Null means that the source cleared the field.
    pub fn from_value(value: Value) -> Self {
        if value.is_null() {
            Self::Cleared
        } else {
            Self::Set(value)
        }
    }
}

/// Prints only the kind of the field value, because field values are personal data.
impl fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set(_) => "Set",
            Self::Cleared => "Cleared",
        })
    }
}

/// The values to set on one Imprint customer, at most one per field.
///
/// The store keeps an update as a JSON object of field to value, where null means cleared. Clones of an update share
/// the values, so folding and the request use the values of an event without a copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update(Arc<LiteMap<Field, FieldValue>>);

impl Update {
    /// Sets the value of a field, and replaces an earlier value of the field.
    pub fn insert(&mut self, field: Field, value: FieldValue) {
        put(Arc::make_mut(&mut self.0), field, value);
    }

    /// Returns whether one update is a clone of the other, so that both updates share their values. Two equal updates
    /// need not share their values.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the number of fields in the update.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Iterates over the fields of the update with their values, in field order.
    pub fn iter(&self) -> impl Iterator<Item = (&Field, &FieldValue)> {
        self.0.iter()
    }

    /// Iterates over the fields of the update, in field order.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.keys()
    }

    /// Returns the value of a field, or `None` if the update does not mention the field.
    pub fn value(&self, field: &Field) -> Option<&FieldValue> {
        self.0.get(field)
    }

    /// Returns whether the update mentions no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the request body that sets the values of the update at Imprint.
    pub fn body(&self, clearing: Clearing) -> Body {
        Body::new(self.clone(), clearing)
    }

    /// Returns the address fields at the top level, such as `city`, that the update clears.
    pub fn cleared_address_lines(&self) -> Vec<Field> {
        let is_cleared_line = |(field, value): &(&Field, &FieldValue)| {
            field.group() == FieldGroup::Address && **value == FieldValue::Cleared
        };
        let lines = self.iter().filter(is_cleared_line);
        lines.map(|(field, _)| field.clone()).collect()
    }

    /// Returns whether the update sets an address that is known to be outside the USA and its territories.
    ///
    /// Only the address fields at the top level of an update count, such as `city`. These fields state no country, so
    /// they cannot represent a foreign address.
    pub fn is_foreign(&self) -> bool {
        self.names_foreign_country() && self.sets_address()
    }

    /// Returns whether the country of the address in `customer_history` is outside the USA and its territories.
    pub fn names_foreign_country(&self) -> bool {
        let country = Field::parse(COUNTRY).and_then(|field| self.0.get(&field));
        matches!(country, Some(FieldValue::Set(Value::String(country))) if !is_domestic(country))
    }

    /// Returns whether the update sets an address field at the top level, such as `city`.
    pub fn sets_address(&self) -> bool {
        let sets_line = |(field, value): (&Field, &FieldValue)| {
            field.group() == FieldGroup::Address && *value != FieldValue::Cleared
        };
        self.iter().any(sets_line)
    }

    /// Returns a copy of the update without the address fields at the top level, such as `city`.
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
    // Fields usually arrive in field order, so an append usually succeeds and avoids the search.
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

/// Reads an update from its stored form: a JSON object of field to value.
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

    fn field(path: &str) -> Field {
        Field::parse(path).unwrap()
    }

    fn update(values: &[(&str, Value)]) -> Update {
        values
            .iter()
            .map(|(path, value)| (field(path), FieldValue::from_value(value.clone())))
            .collect()
    }

    #[test]
    fn the_last_value_of_a_field_wins_in_any_order() {
        let mut update = update(&[
            ("phone", json!("+1")),
            ("email", json!("a")),
            ("phone", Value::Null),
        ]);
        assert_eq!((update.len(), update.is_empty()), (2, false));
        update.insert(field("city"), FieldValue::Set(json!("Reno")));
        update.insert(field("email"), FieldValue::Set(json!("b")));
        let fields: Vec<String> = update.fields().map(Field::to_string).collect();
        assert_eq!(fields, ["email", "phone", "city"]);
        let value = |path| update.value(&field(path)).cloned();
        assert_eq!(value("email"), Some(FieldValue::Set(json!("b"))));
        assert_eq!(value("phone"), Some(FieldValue::Cleared));
        assert_eq!(value("state"), None);
        assert!(Update::default().is_empty());
    }

    #[test]
    fn clones_share_their_values_until_one_changes() {
        let update = update(&[("email", json!("a"))]);
        let mut copy = update.clone();
        assert!(update.ptr_eq(&copy));
        copy.insert(field("email"), FieldValue::Set(json!("a")));
        assert!(!update.ptr_eq(&copy));
        assert_eq!(update, copy);
    }

    #[test]
    fn a_cleared_field_is_sent_as_configured() {
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
            let sent = Value::Object(update.body(clearing).to_object());
            assert_eq!(sent, body, "{clearing:?}");
        }
    }

    #[test]
    fn only_cleared_lines_of_the_flat_address_are_listed() {
        let update = update(&[
            ("email", Value::Null),
            ("street_line2", Value::Null),
            ("city", json!("Reno")),
            ("customer_history.address.city", Value::Null),
        ]);
        assert_eq!(update.cleared_address_lines(), [field("street_line2")]);
    }

    #[test]
    fn an_address_is_foreign_if_it_is_set_and_its_country_is_another() {
        // Each row contains the values, whether the update sets an address, and whether the address is foreign.
        let table = [
            (
                &[("city", json!("Paris")), (COUNTRY, json!("FRA"))][..],
                true,
                true,
            ),
            (
                &[("city", json!("Reno")), (COUNTRY, json!("USA"))],
                true,
                false,
            ),
            (
                &[("city", json!("San Juan")), (COUNTRY, json!("PRI"))],
                true,
                false,
            ),
            (&[("city", json!("Reno"))], true, false),
            (
                &[("city", json!("Reno")), (COUNTRY, Value::Null)],
                true,
                false,
            ),
            (
                &[(COUNTRY, json!("FRA")), ("email", json!("a@example.com"))],
                false,
                false,
            ),
            (
                &[("city", Value::Null), (COUNTRY, json!("FRA"))],
                false,
                false,
            ),
        ];
        for (values, sets_address, is_foreign) in table {
            let update = update(values);
            assert_eq!(update.sets_address(), sets_address, "{values:?}");
            assert_eq!(update.is_foreign(), is_foreign, "{values:?}");
        }
    }

    #[test]
    fn the_territories_are_domestic_under_their_own_codes() {
        for code in DOMESTIC {
            assert!(is_domestic(code), "{code}");
        }
        for code in ["CAN", "MEX", "CUB", "WSM", "VGB", "US", "usa", ""] {
            assert!(!is_domestic(code), "{code}");
        }
    }

    #[test]
    fn an_update_without_its_address_keeps_every_other_field() {
        let whole = update(&[
            ("city", json!("Paris")),
            ("email", json!("a")),
            (COUNTRY, json!("FRA")),
        ]);
        let rest = update(&[("email", json!("a")), (COUNTRY, json!("FRA"))]);
        assert_eq!(whole.without_address(), rest);
    }

    #[test]
    fn a_body_nests_fields_and_omits_cleared_ones() {
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
    fn the_stored_form_reads_back_equal() {
        let update = update(&[
            ("email", Value::Null),
            ("city", json!("Reno")),
            ("metadata.x", json!([1])),
        ]);
        let stored = serde_json::to_string(&update).unwrap();
        assert_eq!(stored, r#"{"0":null,"7":"Reno","metadata.x":[1]}"#);
        assert_eq!(serde_json::from_str::<Update>(&stored).unwrap(), update);
    }

    #[test]
    fn only_an_object_is_an_update() {
        for (json, error) in [
            ("[]", "expected an object of field to value"),
            (r#"{"ssn":1}"#, "not a field of Imprint's update request"),
        ] {
            let read = serde_json::from_str::<Update>(json).unwrap_err();
            assert!(read.to_string().contains(error), "{read}");
        }
    }

    #[test]
    fn no_value_is_printed() {
        let update = update(&[("email", json!("jane@example.com")), ("city", Value::Null)]);
        let printed = format!("{update:?}");
        assert!(
            printed.contains("Set") && printed.contains("Cleared"),
            "{printed}"
        );
        assert!(!printed.contains("jane"), "{printed}");
    }
}
