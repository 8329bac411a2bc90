//! The fields of Imprint's update request.
//!
//! The table is the request as `schemas/imprint/update-request.schema.json` has it; a leaf that is not in the table
//! cannot be named, so nothing that Imprint does not know can be sent.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

/// Every leaf but those of `metadata`; leaves of one object stand together, which is what a request body relies on.
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
    /// The path of a key of `metadata`.
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
        (!key.is_empty()).then(|| Self(Place::Metadata(path.into())))
    }

    /// Every path that [`Leaf::parse`] takes, `metadata.*` aside.
    pub fn paths() -> impl Iterator<Item = &'static str> {
        LEAVES.iter().map(|known| known.path)
    }

    /// Its dotted path.
    pub fn path(&self) -> &str {
        match (&self.0, self.known()) {
            (Place::Metadata(path), _) => path,
            (Place::Known(_), known) => known.map_or("", |known| known.path),
        }
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
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let keys = match &self.0 {
            Place::Known(_) => usize::MAX,
            Place::Metadata(_) => 2,
        };
        self.path().splitn(keys, '.')
    }
}

/// As its path.
impl Serialize for Leaf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.path())
    }
}

impl<'de> Deserialize<'de> for Leaf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Path)
    }
}

/// Reads a path.
struct Path;

impl Visitor<'_> for Path {
    type Value = Leaf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the path of a leaf that Imprint knows")
    }

    fn visit_str<E: de::Error>(self, path: &str) -> Result<Leaf, E> {
        Leaf::parse(path).ok_or_else(|| E::custom("a leaf Imprint does not know"))
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Facet {
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
