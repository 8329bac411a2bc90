//! The fields to set on one Imprint customer, leaf by leaf.
//!
//! The table of leaves is Imprint's update request as `schemas/imprint/update-request.schema.json` has it; a leaf that
//! is not in the table cannot be named, so nothing that Imprint does not know can be sent.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// The prefix of the leaves that carry the open `metadata` object, one leaf a key.
const METADATA: &str = "metadata";

/// What a leaf holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafKind {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// Any JSON value but null.
    Open,
}

/// The leaves that move together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Facet {
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

struct Known {
    path: &'static str,
    kind: LeafKind,
    facet: Facet,
}

const fn known(path: &'static str, kind: LeafKind, facet: Facet) -> Known {
    Known { path, kind, facet }
}

/// Every leaf but those of `metadata`; leaves of one object stand together, which is what [`Update::body`] relies on.
static LEAVES: [Known; 27] = [
    known("email", LeafKind::Text, Facet::Email),
    known("phone", LeafKind::Text, Facet::Phone),
    known("first_name", LeafKind::Text, Facet::FirstName),
    known("last_name", LeafKind::Text, Facet::LastName),
    known(
        "preferred_language",
        LeafKind::Text,
        Facet::PreferredLanguage,
    ),
    known("street_line1", LeafKind::Text, Facet::Address),
    known("street_line2", LeafKind::Text, Facet::Address),
    known("city", LeafKind::Text, Facet::Address),
    known("state", LeafKind::Text, Facet::Address),
    known("postal_code", LeafKind::Text, Facet::Address),
    known(
        "customer_history.email",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.phone",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.first_name",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.last_name",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.preferred_language",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.address.street_line1",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.address.street_line2",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.address.city",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.address.state",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.address.postal_code",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.address.country",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.account_tenure",
        LeafKind::Integer,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.ltv_amount",
        LeafKind::Integer,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.ltv_currency",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.loyalty_tier",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.account_created_at",
        LeafKind::Text,
        Facet::CustomerHistory,
    ),
    known(
        "customer_history.transaction_count",
        LeafKind::Integer,
        Facet::CustomerHistory,
    ),
];

/// One field of Imprint's update request, named by its dotted path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leaf(Place);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Place {
    /// An index into [`LEAVES`].
    Known(u8),
    /// A key of `metadata`.
    Metadata(Box<str>),
}

impl Leaf {
    /// The leaf at a dotted path such as `customer_history.address.city` or `metadata.segment`; `None` where Imprint's
    /// update request has no such field.
    pub fn parse(path: &str) -> Option<Self> {
        if let Some(index) = LEAVES.iter().position(|known| known.path == path) {
            return u8::try_from(index)
                .ok()
                .map(|index| Self(Place::Known(index)));
        }
        let key = path.strip_prefix(METADATA)?.strip_prefix('.')?;
        (!key.is_empty()).then(|| Self(Place::Metadata(key.into())))
    }

    /// Every path that [`Leaf::parse`] takes, `metadata.*` aside.
    pub fn paths() -> impl Iterator<Item = &'static str> {
        LEAVES.iter().map(|known| known.path)
    }

    /// What it holds.
    pub fn kind(&self) -> LeafKind {
        self.known().map_or(LeafKind::Open, |known| known.kind)
    }

    /// The facet it belongs to.
    pub fn facet(&self) -> Facet {
        self.known().map_or(Facet::Metadata, |known| known.facet)
    }

    fn known(&self) -> Option<&'static Known> {
        match &self.0 {
            Place::Known(index) => LEAVES.get(usize::from(*index)),
            Place::Metadata(_) => None,
        }
    }

    /// The keys that lead to it, outermost first. A metadata key is one key, whatever it contains.
    fn keys(&self) -> Vec<&str> {
        match &self.0 {
            Place::Known(_) => self
                .known()
                .map(|known| known.path.split('.').collect())
                .unwrap_or_default(),
            Place::Metadata(key) => vec![METADATA, key],
        }
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0, self.known()) {
            (Place::Metadata(key), _) => write!(f, "{METADATA}.{key}"),
            (Place::Known(_), known) => f.write_str(known.map_or("", |known| known.path)),
        }
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a source says of one leaf. A leaf it says nothing of is not in the update at all.
#[derive(Clone, PartialEq)]
pub enum Fact {
    /// It has this value: a text, a whole number or, under `metadata`, any JSON value but null.
    Set(Value),
    /// The source has no value for it any more (null or empty there).
    Cleared,
}

impl Fact {
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
impl fmt::Debug for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set(_) => "Set",
            Self::Cleared => "Cleared",
        })
    }
}

/// The facts to set on one Imprint customer, at most one a leaf.
///
/// Serialised as an object of leaf path to value, null for cleared; this is the form the store keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update(BTreeMap<Leaf, Fact>);

impl Update {
    /// States a fact; what was stated of that leaf before is replaced.
    pub fn insert(&mut self, leaf: Leaf, fact: Fact) {
        self.0.insert(leaf, fact);
    }

    /// What is stated, in the order of the leaves.
    pub fn iter(&self) -> impl Iterator<Item = (&Leaf, &Fact)> {
        self.0.iter()
    }

    /// The leaves something is stated of.
    pub fn leaves(&self) -> impl Iterator<Item = &Leaf> {
        self.0.keys()
    }

    /// What is stated of this leaf.
    pub fn fact(&self, leaf: &Leaf) -> Option<&Fact> {
        self.0.get(leaf)
    }

    /// Whether nothing is stated.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Imprint's request body: the facts that are set, nested as Imprint nests them. A cleared leaf is left out,
    /// because Imprint documents neither null nor the empty text (imprint-api.md §1).
    pub fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        for (leaf, fact) in &self.0 {
            if let Fact::Set(value) = fact {
                place(&mut body, &leaf.keys(), value);
            }
        }
        body
    }
}

/// Puts `value` at the end of `keys`, making the objects on the way.
fn place(object: &mut Map<String, Value>, keys: &[&str], value: &Value) {
    match keys {
        [] => {}
        [key] => {
            object.insert((*key).to_owned(), value.clone());
        }
        [key, rest @ ..] => {
            let inner = object
                .entry((*key).to_owned())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                place(inner, rest, value);
            }
        }
    }
}

impl FromIterator<(Leaf, Fact)> for Update {
    fn from_iter<I: IntoIterator<Item = (Leaf, Fact)>>(facts: I) -> Self {
        Self(facts.into_iter().collect())
    }
}

impl Serialize for Update {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (leaf, fact) in &self.0 {
            match fact {
                Fact::Set(value) => map.serialize_entry(&leaf.to_string(), value)?,
                Fact::Cleared => map.serialize_entry(&leaf.to_string(), &Value::Null)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Update {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Facts)
    }
}

/// Reads an object of leaf path to value.
struct Facts;

impl<'de> Visitor<'de> for Facts {
    type Value = Update;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of leaf path to value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Update, A::Error> {
        let unknown = || de::Error::custom("a leaf Imprint does not know");
        let mut update = Update::default();
        while let Some((path, value)) = map.next_entry::<String, Value>()? {
            update.insert(
                Leaf::parse(&path).ok_or_else(unknown)?,
                Fact::from_value(value),
            );
        }
        Ok(update)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn update(facts: &[(&str, Value)]) -> Update {
        facts
            .iter()
            .map(|(path, value)| (Leaf::parse(path).unwrap(), Fact::from_value(value.clone())))
            .collect()
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
            Value::Object(update.body()),
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

    #[test]
    fn a_leaf_is_one_of_imprints_fields_or_a_metadata_key() {
        for path in Leaf::paths().chain(["metadata.k"]) {
            assert_eq!(
                Leaf::parse(path).map(|leaf| leaf.to_string()).as_deref(),
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
            assert_eq!(Leaf::parse(path), None, "{path}");
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
        let mut known: Vec<String> = Leaf::paths().map(str::to_owned).collect();
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
