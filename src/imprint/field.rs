//! The fields of Imprint's update request.
//!
//! The table is the request as `schemas/imprint/update-request.schema.json` has it; a field that is not in the table
//! cannot be named, so nothing that Imprint does not know can be sent.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The prefix of the fields that carry the open `metadata` object, one field a key.
const METADATA: &str = "metadata";

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// Any JSON value but null.
    Open,
}

/// The fields that move together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldGroup {
    /// `email`
    Email,
    /// `phone`
    Phone,
    /// `first_name`
    FirstName,
    /// `last_name`
    LastName,
    /// `preferred_language`
    PreferredLanguage,
    /// The five flat address fields.
    Address,
    /// Everything under `customer_history`.
    CustomerHistory,
    /// Everything under `metadata`.
    Metadata,
}

struct FieldRow {
    /// What the store calls it: given once and never again, whatever the table comes to be.
    number: u8,
    path: &'static str,
    /// The keys that lead to it, outermost first.
    keys: &'static [&'static str],
    kind: FieldKind,
    group: FieldGroup,
}

macro_rules! known {
    ($number:literal, $outermost:ident $(. $inner:ident)*, $kind:ident, $group:ident) => {
        FieldRow {
            number: $number,
            path: concat!(stringify!($outermost) $(, ".", stringify!($inner))*),
            keys: &[stringify!($outermost) $(, stringify!($inner))*],
            kind: FieldKind::$kind,
            group: FieldGroup::$group,
        }
    };
}

/// Every field but those of `metadata`; fields of one object stand together, which is what a request body relies on.
#[rustfmt::skip]
static FIELDS: [FieldRow; 27] = [
    known!(0, email, Text, Email),
    known!(1, phone, Text, Phone),
    known!(2, first_name, Text, FirstName),
    known!(3, last_name, Text, LastName),
    known!(4, preferred_language, Text, PreferredLanguage),
    known!(5, street_line1, Text, Address),
    known!(6, street_line2, Text, Address),
    known!(7, city, Text, Address),
    known!(8, state, Text, Address),
    known!(9, postal_code, Text, Address),
    known!(10, customer_history.email, Text, CustomerHistory),
    known!(11, customer_history.phone, Text, CustomerHistory),
    known!(12, customer_history.first_name, Text, CustomerHistory),
    known!(13, customer_history.last_name, Text, CustomerHistory),
    known!(14, customer_history.preferred_language, Text, CustomerHistory),
    known!(15, customer_history.address.street_line1, Text, CustomerHistory),
    known!(16, customer_history.address.street_line2, Text, CustomerHistory),
    known!(17, customer_history.address.city, Text, CustomerHistory),
    known!(18, customer_history.address.state, Text, CustomerHistory),
    known!(19, customer_history.address.postal_code, Text, CustomerHistory),
    known!(20, customer_history.address.country, Text, CustomerHistory),
    known!(21, customer_history.account_tenure, Integer, CustomerHistory),
    known!(22, customer_history.ltv_amount, Integer, CustomerHistory),
    known!(23, customer_history.ltv_currency, Text, CustomerHistory),
    known!(24, customer_history.loyalty_tier, Text, CustomerHistory),
    known!(25, customer_history.account_created_at, Text, CustomerHistory),
    known!(26, customer_history.transaction_count, Integer, CustomerHistory),
];

/// One field of Imprint's update request, named by its dotted path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field(FieldId);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum FieldId {
    /// An index into [`FIELDS`].
    Known(u8),
    /// The path of a key of `metadata`; shared, because every event of a mapping names the same ones.
    Metadata(Arc<str>),
}

impl Field {
    /// The field at a dotted path such as `customer_history.address.city` or `metadata.segment`; `None` where Imprint's
    /// update request has no such field.
    pub fn parse(path: &str) -> Option<Self> {
        if let Some(index) = FIELDS.iter().position(|known| known.path == path) {
            return u8::try_from(index)
                .ok()
                .map(|index| Self(FieldId::Known(index)));
        }
        let key = path.strip_prefix(METADATA)?.strip_prefix('.')?;
        (!key.is_empty()).then(|| Self(FieldId::Metadata(path.into())))
    }

    /// Every path that [`Field::parse`] takes, `metadata.*` aside.
    pub fn paths() -> impl Iterator<Item = &'static str> {
        FIELDS.iter().map(|known| known.path)
    }

    /// Its dotted path.
    pub fn path(&self) -> &str {
        match (&self.0, self.known()) {
            (FieldId::Metadata(path), _) => path,
            (FieldId::Known(_), known) => known.map_or("", |known| known.path),
        }
    }

    /// What it holds.
    pub fn kind(&self) -> FieldKind {
        self.known().map_or(FieldKind::Open, |known| known.kind)
    }

    /// The group it belongs to.
    pub fn group(&self) -> FieldGroup {
        self.known()
            .map_or(FieldGroup::Metadata, |known| known.group)
    }

    fn known(&self) -> Option<&'static FieldRow> {
        match &self.0 {
            FieldId::Known(index) => FIELDS.get(usize::from(*index)),
            FieldId::Metadata(_) => None,
        }
    }

    fn numbered(number: u8) -> Option<Self> {
        let index = FIELDS.iter().position(|known| known.number == number)?;
        Some(Self(FieldId::Known(u8::try_from(index).ok()?)))
    }

    /// The key that leads to it at this depth, the outermost at 0. A metadata key is one key, whatever it contains.
    pub(super) fn key(&self, depth: usize) -> Option<&str> {
        match (&self.0, self.known(), depth) {
            (FieldId::Known(_), known, _) => known?.keys.get(depth).copied(),
            (FieldId::Metadata(_), _, 0) => Some(METADATA),
            (FieldId::Metadata(path), _, 1) => path.get(METADATA.len() + 1..),
            (FieldId::Metadata(_), _, _) => None,
        }
    }
}

/// As the store keeps it: by its number, or by its path under `metadata`. A customer's lane would else be paths for the
/// most part, and what is written and read for every event with it.
impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (&self.0, self.known()) {
            (FieldId::Known(_), Some(known)) => serializer.serialize_u8(known.number),
            (FieldId::Known(_) | FieldId::Metadata(_), _) => serializer.serialize_str(self.path()),
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

/// Reads a number, as itself or as the text that a key is, or a path, which is what stores up to layout 3 have throughout.
struct FieldVisitor;

impl Visitor<'_> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number or the path of a field that Imprint knows")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Field, E> {
        let field = u8::try_from(number).ok().and_then(Field::numbered);
        field.ok_or_else(|| E::custom("a field Imprint does not know"))
    }

    fn visit_str<E: de::Error>(self, kept: &str) -> Result<Field, E> {
        let field = match kept.parse() {
            Ok(number) => Field::numbered(number),
            Err(_) => Field::parse(kept),
        };
        field.ok_or_else(|| E::custom("a field Imprint does not know"))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FieldGroup {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::PreferredLanguage => "preferred_language",
            Self::Address => "address",
            Self::CustomerHistory => "customer_history",
            Self::Metadata => "metadata",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_leaf_is_one_of_imprints_fields_or_a_metadata_key() {
        for path in Field::paths().chain(["metadata.k"]) {
            assert_eq!(
                Field::parse(path).map(|field| field.to_string()).as_deref(),
                Some(path)
            );
        }
        for path in [
            "",
            "country",
            "ssn",
            "metadata",
            "metadata.",
            "customer_history",
            "Email",
        ] {
            assert_eq!(Field::parse(path), None, "{path}");
        }
    }

    /// What is kept under a number is read under it for ever.
    #[test]
    fn the_store_knows_each_leaf_by_a_number_that_is_its_alone() {
        for (index, field) in FIELDS.iter().enumerate() {
            let (field, others) = (Field::parse(field.path).unwrap(), &FIELDS[..index]);
            let number = serde_json::to_string(&field).unwrap();
            assert!(
                others
                    .iter()
                    .all(|other| other.number.to_string() != number)
            );
            for kept in [
                number.clone(),
                format!("\"{number}\""),
                format!("\"{field}\""),
            ] {
                assert_eq!(
                    serde_json::from_str::<Field>(&kept).unwrap(),
                    field,
                    "{kept}"
                );
            }
        }
        let numbered: Vec<String> = FIELDS
            .iter()
            .filter(|field| [0, 9, 15, 26].contains(&field.number))
            .map(|field| format!("{} {}", field.number, field.path))
            .collect();
        assert_eq!(
            numbered,
            [
                "0 email",
                "9 postal_code",
                "15 customer_history.address.street_line1",
                "26 customer_history.transaction_count",
            ]
        );
        for unknown in ["27", "\"27\"", "-1", "256", "\"\"", "\"country\"", "null"] {
            assert!(serde_json::from_str::<Field>(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn the_table_agrees_with_imprints_schema() {
        let schema: Value = serde_json::from_str(include_str!(
            "../../schemas/imprint/update-request.schema.json"
        ))
        .unwrap();
        let mut documented = Vec::new();
        collect(&schema, &schema["properties"], "", &mut documented);
        let mut known: Vec<String> = Field::paths().map(str::to_owned).collect();
        documented.sort();
        known.sort();
        assert_eq!(known, documented);
    }

    fn collect(schema: &Value, properties: &Value, prefix: &str, paths: &mut Vec<String>) {
        for (name, property) in properties.as_object().unwrap() {
            let path = format!("{prefix}{name}");
            let property = match property["$ref"].as_str() {
                Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
                None => property,
            };
            match property.get("properties") {
                Some(inner) => collect(schema, inner, &format!("{path}."), paths),
                None if path == METADATA => {}
                None => paths.push(path),
            }
        }
    }
}
