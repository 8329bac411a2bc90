//! The fields of Imprint's update request, in one table with every property that differs between fields.
//!
//! The field table restates `schemas/imprint/update-request.schema.json`. The bridge cannot send a field that is not in
//! the table. To support a new field of Imprint, add one row to the table. The mapping, the request body, the echo
//! comparison, the store and the sandbox read the rows of the table.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod unit;

/// The first key of every path into the `metadata` object. Imprint accepts any key inside `metadata`, and each of these
/// keys is one field.
const METADATA: &str = "metadata";

/// The JSON type of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// The value is a string.
    Text,
    /// The value is a whole number.
    Integer,
    /// Any JSON value except null.
    Open,
}

/// The format that the bridge requires of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldFormat {
    /// Any string.
    Text,
    /// An email address.
    Email,
    /// A phone number in E.164.
    Phone,
    /// A language code of two letters (ISO 639-1).
    Language,
    /// A country code of three letters (ISO 3166-1).
    Country,
    /// A currency code of three letters (ISO 4217).
    Currency,
    /// A date and time (RFC 3339).
    DateTime,
    /// A whole number of 64 bits.
    Integer,
    /// Any JSON value except null.
    Open,
}

impl FieldFormat {
    /// Returns the name of the rule that a value breaks if the value does not have this format.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Language => "language",
            Self::Country => "country",
            Self::Currency => "currency",
            Self::DateTime => "moment",
            Self::Integer => "integer",
            Self::Open => "open",
        }
    }

    /// Returns the JSON type of a value in this format.
    pub const fn kind(self) -> FieldKind {
        match self {
            Self::Text
            | Self::Email
            | Self::Phone
            | Self::Language
            | Self::Country
            | Self::Currency
            | Self::DateTime => FieldKind::Text,
            Self::Integer => FieldKind::Integer,
            Self::Open => FieldKind::Open,
        }
    }
}

/// The constraint of Imprint's schema on a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaRule {
    /// Imprint's schema states only the JSON type of the field.
    Type,
    /// Imprint's schema states the JSON type and a `format` or `pattern` keyword. Imprint rejects a value that does not
    /// match the keyword.
    Format,
}

/// The place of a field in Imprint's answer to an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoPlace {
    /// Imprint's answer contains the field at the top level, under the same name as the request.
    TopLevel,
    /// Imprint's answer contains the field in the object `address`, under the same name as the request. The request
    /// contains the field at the top level.
    Address,
    /// Imprint's answer contains the field in the object `metadata`.
    Metadata,
    /// Imprint's answer does not contain the field.
    NotEchoed,
}

/// A group of fields. If Imprint's answer to an update differs from the sent values, the bridge reports the groups of
/// the fields that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldGroup {
    /// The field `email`.
    Email,
    /// The field `phone`.
    Phone,
    /// The field `first_name`.
    FirstName,
    /// The field `last_name`.
    LastName,
    /// The field `preferred_language`.
    PreferredLanguage,
    /// The five address fields at the top level, from `street_line1` to `postal_code`.
    Address,
    /// All fields in `customer_history`.
    CustomerHistory,
    /// All fields in `metadata`.
    Metadata,
}

/// One row of the table of Imprint's fields.
struct FieldRow {
    /// The number that identifies the field in the store. The number of a field never changes, and no two fields ever
    /// have the same number.
    number: u8,
    path: &'static str,
    /// The keys of the field's path, outermost first.
    keys: &'static [&'static str],
    format: FieldFormat,
    schema: SchemaRule,
    echo: EchoPlace,
    group: FieldGroup,
}

macro_rules! row {
    ($number:literal, $outermost:ident $(. $inner:ident)*, $format:ident, $schema:ident, $echo:ident, $group:ident) => {
        FieldRow {
            number: $number,
            path: concat!(stringify!($outermost) $(, ".", stringify!($inner))*),
            keys: &[stringify!($outermost) $(, stringify!($inner))*],
            format: FieldFormat::$format,
            schema: SchemaRule::$schema,
            echo: EchoPlace::$echo,
            group: FieldGroup::$group,
        }
    };
}

/// Every field of Imprint's update request except those in `metadata`. The rows for the fields of one object must be
/// neighbours, because the serialiser of the request body relies on this order.
#[rustfmt::skip]
static FIELDS: [FieldRow; 27] = [
    row!(0, email, Email, Format, TopLevel, Email),
    row!(1, phone, Phone, Format, TopLevel, Phone),
    row!(2, first_name, Text, Type, TopLevel, FirstName),
    row!(3, last_name, Text, Type, TopLevel, LastName),
    row!(4, preferred_language, Language, Type, TopLevel, PreferredLanguage),
    row!(5, street_line1, Text, Type, Address, Address),
    row!(6, street_line2, Text, Type, Address, Address),
    row!(7, city, Text, Type, Address, Address),
    row!(8, state, Text, Type, Address, Address),
    row!(9, postal_code, Text, Type, Address, Address),
    row!(10, customer_history.email, Email, Format, NotEchoed, CustomerHistory),
    row!(11, customer_history.phone, Phone, Type, NotEchoed, CustomerHistory),
    row!(12, customer_history.first_name, Text, Type, NotEchoed, CustomerHistory),
    row!(13, customer_history.last_name, Text, Type, NotEchoed, CustomerHistory),
    row!(14, customer_history.preferred_language, Language, Type, NotEchoed, CustomerHistory),
    row!(15, customer_history.address.street_line1, Text, Type, NotEchoed, CustomerHistory),
    row!(16, customer_history.address.street_line2, Text, Type, NotEchoed, CustomerHistory),
    row!(17, customer_history.address.city, Text, Type, NotEchoed, CustomerHistory),
    row!(18, customer_history.address.state, Text, Type, NotEchoed, CustomerHistory),
    row!(19, customer_history.address.postal_code, Text, Type, NotEchoed, CustomerHistory),
    row!(20, customer_history.address.country, Country, Type, NotEchoed, CustomerHistory),
    row!(21, customer_history.account_tenure, Integer, Type, NotEchoed, CustomerHistory),
    row!(22, customer_history.ltv_amount, Integer, Type, NotEchoed, CustomerHistory),
    row!(23, customer_history.ltv_currency, Currency, Type, NotEchoed, CustomerHistory),
    row!(24, customer_history.loyalty_tier, Text, Type, NotEchoed, CustomerHistory),
    row!(25, customer_history.account_created_at, DateTime, Type, NotEchoed, CustomerHistory),
    row!(26, customer_history.transaction_count, Integer, Type, NotEchoed, CustomerHistory),
];

/// The number of rows of the field table.
pub(super) const ROWS: usize = FIELDS.len();

/// One field of Imprint's update request, named by its dotted path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field(FieldId);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum FieldId {
    /// A field of the table, as an index into [`FIELDS`].
    Known(u8),
    /// The path of a `metadata` key. Clones of the field share the memory of the path, because every event of a mapping
    /// uses the same keys.
    Metadata(Arc<str>),
}

impl Field {
    /// Returns the field at a dotted path such as `customer_history.address.city` or `metadata.segment`. Returns `None`
    /// if Imprint's update request has no such field.
    pub fn parse(path: &str) -> Option<Self> {
        if let Some(index) = FIELDS.iter().position(|row| row.path == path) {
            return Self::at(index);
        }
        let key = path.strip_prefix(METADATA)?.strip_prefix('.')?;
        (!key.is_empty()).then(|| Self(FieldId::Metadata(path.into())))
    }

    /// Iterates over every field path that [`Field::parse`] accepts, except `metadata.*`.
    pub fn paths() -> impl Iterator<Item = &'static str> {
        FIELDS.iter().map(|row| row.path)
    }

    /// Returns whether the path names an object that contains fields of the table, such as `customer_history.address`.
    pub fn is_object(path: &str) -> bool {
        let is_inside = |field: &str| {
            field
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        Self::paths().any(is_inside)
    }

    /// Returns the dotted path of the field.
    pub fn path(&self) -> &str {
        match &self.0 {
            FieldId::Metadata(path) => path,
            FieldId::Known(_) => self.row().map_or("", |row| row.path),
        }
    }

    /// Returns the JSON type of the field's value.
    pub fn kind(&self) -> FieldKind {
        self.format().kind()
    }

    /// Returns the format that the bridge requires of the field's value.
    pub fn format(&self) -> FieldFormat {
        self.row().map_or(FieldFormat::Open, |row| row.format)
    }

    /// Returns the constraint of Imprint's schema on the field's value.
    pub fn schema_rule(&self) -> SchemaRule {
        self.row().map_or(SchemaRule::Type, |row| row.schema)
    }

    /// Returns the place of the field in Imprint's answer to an update.
    pub fn echo_place(&self) -> EchoPlace {
        self.row().map_or(EchoPlace::Metadata, |row| row.echo)
    }

    /// Returns the group that the bridge reports if Imprint's answer has a different value for the field than the
    /// bridge sent.
    pub fn group(&self) -> FieldGroup {
        self.row().map_or(FieldGroup::Metadata, |row| row.group)
    }

    /// Returns the index of the field's row in the table, or `None` for a key of `metadata`.
    pub(super) fn row_index(&self) -> Option<usize> {
        match &self.0 {
            FieldId::Known(index) => Some(usize::from(*index)),
            FieldId::Metadata(_) => None,
        }
    }

    /// Returns the table row of the field that Imprint's answer contains at the top level under `key`.
    pub(super) fn top_level_row(key: &str) -> Option<usize> {
        let is_shown = |row: &FieldRow| row.echo == EchoPlace::TopLevel && row.path == key;
        FIELDS.iter().position(is_shown)
    }

    /// Returns the key at this depth of the field's path. The outermost key has depth 0. The name of a `metadata` field
    /// is one key, even if the name contains dots.
    pub(super) fn key(&self, depth: usize) -> Option<&str> {
        match (&self.0, depth) {
            (FieldId::Known(_), _) => self.row()?.keys.get(depth).copied(),
            (FieldId::Metadata(_), 0) => Some(METADATA),
            (FieldId::Metadata(path), 1) => path.get(METADATA.len() + 1..),
            (FieldId::Metadata(_), _) => None,
        }
    }

    fn row(&self) -> Option<&'static FieldRow> {
        FIELDS.get(self.row_index()?)
    }

    fn at(index: usize) -> Option<Self> {
        Some(Self(FieldId::Known(u8::try_from(index).ok()?)))
    }

    fn numbered(number: u8) -> Option<Self> {
        Self::at(FIELDS.iter().position(|row| row.number == number)?)
    }
}

/// Writes a field in its stored form: the number of the field, or the path of a `metadata` key.
///
/// Field numbers keep the stored data of a customer small: with a path for every field, the data would consist mostly
/// of field names. The store reads and writes the data of the customer for each event.
impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.row() {
            Some(row) => serializer.serialize_u8(row.number),
            None => serializer.serialize_str(self.path()),
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

/// Reads a stored field: a number, a number as text (in object keys), or a path. Stores with layout 3 or an earlier
/// layout contain only paths.
struct FieldVisitor;

impl Visitor<'_> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number or the path of a field of Imprint's update request")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Field, E> {
        let field = u8::try_from(number).ok().and_then(Field::numbered);
        field.ok_or_else(|| E::custom("not a field of Imprint's update request"))
    }

    fn visit_str<E: de::Error>(self, stored: &str) -> Result<Field, E> {
        let field = match stored.parse() {
            Ok(number) => Field::numbered(number),
            Err(_) => Field::parse(stored),
        };
        field.ok_or_else(|| E::custom("not a field of Imprint's update request"))
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
    /// Returns the name of the field group, for log fields and metric labels.
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
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn a_field_is_one_of_the_table_or_a_metadata_key() {
        for path in Field::paths().chain(["metadata.k"]) {
            let field = Field::parse(path).unwrap();
            assert_eq!(field.to_string(), path);
            assert_eq!(format!("{field:?}"), path);
        }
        for path in [
            "",
            "country",
            "ssn",
            "metadata",
            "metadata.",
            "metadatak",
            "customer_history",
            "Email",
        ] {
            assert_eq!(Field::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_row_decides_format_echo_and_group() {
        use EchoPlace::{Address, Metadata, NotEchoed, TopLevel};
        let table = [
            ("email", FieldFormat::Email, TopLevel, "email"),
            ("phone", FieldFormat::Phone, TopLevel, "phone"),
            ("first_name", FieldFormat::Text, TopLevel, "first_name"),
            ("last_name", FieldFormat::Text, TopLevel, "last_name"),
            (
                "preferred_language",
                FieldFormat::Language,
                TopLevel,
                "preferred_language",
            ),
            ("street_line2", FieldFormat::Text, Address, "address"),
            (
                "customer_history.phone",
                FieldFormat::Phone,
                NotEchoed,
                "customer_history",
            ),
            (
                "customer_history.address.country",
                FieldFormat::Country,
                NotEchoed,
                "customer_history",
            ),
            (
                "customer_history.ltv_amount",
                FieldFormat::Integer,
                NotEchoed,
                "customer_history",
            ),
            (
                "customer_history.ltv_currency",
                FieldFormat::Currency,
                NotEchoed,
                "customer_history",
            ),
            (
                "customer_history.account_created_at",
                FieldFormat::DateTime,
                NotEchoed,
                "customer_history",
            ),
            ("metadata.x", FieldFormat::Open, Metadata, "metadata"),
        ];
        for (path, format, echo, group) in table {
            let field = Field::parse(path).unwrap();
            let read = (field.format(), field.echo_place(), field.group().as_str());
            assert_eq!(read, (format, echo, group), "{path}");
            assert_eq!(field.kind(), format.kind(), "{path}");
        }
    }

    #[test]
    fn a_format_has_one_json_type_and_one_rule() {
        for (format, kind, rule) in [
            (FieldFormat::Text, FieldKind::Text, "text"),
            (FieldFormat::Email, FieldKind::Text, "email"),
            (FieldFormat::Phone, FieldKind::Text, "phone"),
            (FieldFormat::Language, FieldKind::Text, "language"),
            (FieldFormat::Country, FieldKind::Text, "country"),
            (FieldFormat::Currency, FieldKind::Text, "currency"),
            (FieldFormat::DateTime, FieldKind::Text, "moment"),
            (FieldFormat::Integer, FieldKind::Integer, "integer"),
            (FieldFormat::Open, FieldKind::Open, "open"),
        ] {
            assert_eq!((format.kind(), format.rule()), (kind, rule));
        }
    }

    #[test]
    fn keys_are_the_parts_of_the_path_and_a_metadata_key_is_one() {
        for (path, keys) in [
            ("email", vec!["email"]),
            (
                "customer_history.address.city",
                vec!["customer_history", "address", "city"],
            ),
            ("metadata.a.b", vec!["metadata", "a.b"]),
        ] {
            let field = Field::parse(path).unwrap();
            let read: Vec<&str> = (0..4).filter_map(|depth| field.key(depth)).collect();
            assert_eq!(read, keys, "{path}");
        }
    }

    #[test]
    fn an_object_is_a_path_with_fields_inside() {
        for (path, is_object) in [
            ("customer_history", true),
            ("customer_history.address", true),
            ("customer_history.addr", false),
            ("customer", false),
            ("email", false),
            ("", false),
            ("metadata", false),
        ] {
            assert_eq!(Field::is_object(path), is_object, "{path}");
        }
    }

    #[test]
    fn only_fields_shown_at_the_top_level_are_found_by_their_key() {
        for (key, path) in [
            ("email", Some("email")),
            ("preferred_language", Some("preferred_language")),
            ("city", None),
            ("customer_history.email", None),
            ("ssn4", None),
        ] {
            let row = path.map(|path| Field::parse(path).unwrap().row_index().unwrap());
            assert_eq!(Field::top_level_row(key), row, "{key}");
        }
        assert_eq!(Field::parse("metadata.a").unwrap().row_index(), None);
    }

    /// A request body writes each object once, so the fields of one object must be neighbours.
    #[test]
    fn fields_of_one_object_are_neighbours() {
        for depth in 1..3 {
            let rows = FIELDS.iter().filter(|row| row.keys.len() > depth);
            let mut objects: Vec<&[&str]> = rows.map(|row| &row.keys[..depth]).collect();
            objects.dedup();
            let distinct: BTreeSet<&[&str]> = objects.iter().copied().collect();
            assert_eq!(objects.len(), distinct.len(), "{objects:?}");
        }
    }

    /// A stored field number must always identify the same field.
    #[test]
    fn the_store_identifies_each_field_by_a_unique_number() {
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
        let error = serde_json::from_str::<Field>("null").unwrap_err();
        assert!(
            error.to_string().contains("the number or the path"),
            "{error}"
        );
    }

    #[test]
    fn the_table_has_exactly_the_fields_of_imprints_schema() {
        let schema: Value = serde_json::from_str(include_str!(
            "../../schemas/imprint/update-request.schema.json"
        ))
        .unwrap();
        let mut documented = Vec::new();
        collect(&schema, &schema["properties"], "", &mut documented);
        let mut listed: Vec<String> = Field::paths().map(str::to_owned).collect();
        documented.sort();
        listed.sort();
        assert_eq!(listed, documented);
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
                None => {
                    let rule = Field::parse(&path).map(|field| field.schema_rule());
                    let has_rule =
                        property.get("format").is_some() || property.get("pattern").is_some();
                    assert_eq!(rule == Some(SchemaRule::Format), has_rule, "{path}");
                    paths.push(path);
                }
            }
        }
    }
}
