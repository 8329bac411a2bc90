//! The customers that a seed file adds to the sandbox. A misspelt member is an error, at any depth, because a customer
//! without the intended value would make a test pass or fail for the wrong reason.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::imprint::{EchoPlace, Field, FieldKind, ImprintId};

/// The members of a customer that are no fields of an update, by dotted path. The list extends the fields of an update.
const OWN_MEMBERS: [(&str, FieldKind); 9] = [
    ("id", FieldKind::Text),
    ("partner_customer_id", FieldKind::Text),
    ("ssn4", FieldKind::Text),
    ("date_of_birth.year", FieldKind::Integer),
    ("date_of_birth.month", FieldKind::Integer),
    ("date_of_birth.day", FieldKind::Integer),
    ("address.country", FieldKind::Text),
    ("created_at", FieldKind::Text),
    ("updated_at", FieldKind::Text),
];
/// The objects whose members can have any name, with the type of their values.
const OPEN_OBJECTS: [(&str, FieldKind); 2] =
    [("statuses", FieldKind::Text), ("metadata", FieldKind::Open)];

/// A customer to add: the members of Imprint's Customer object, and `customer_history`. Only `id` is required.
#[derive(Clone, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct SeedCustomer {
    pub(super) id: ImprintId,
    pub(super) shown: Map<String, Value>,
    pub(super) history: Map<String, Value>,
}

/// The debug output shows no data of the customer, because the data is personal.
impl fmt::Debug for SeedCustomer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seeded").finish_non_exhaustive()
    }
}

impl TryFrom<Map<String, Value>> for SeedCustomer {
    type Error = String;

    fn try_from(mut shown: Map<String, Value>) -> Result<Self, String> {
        check_members("", &shown)?;
        let id = shown.remove("id").unwrap_or_default();
        let id = id.as_str().ok_or("id: is required")?;
        let id = ImprintId::parse(id).map_err(|fault| format!("id: {fault}"))?;
        let history = shown.remove("customer_history");
        let history = history.and_then(|history| history.as_object().cloned());
        let history = history.unwrap_or_default();
        Ok(Self { id, shown, history })
    }
}

/// Returns an error for the first member that a customer does not have, or whose value has another type. `place` is the
/// dotted path of the object, with a dot at its end, or an empty text.
fn check_members(place: &str, members: &Map<String, Value>) -> Result<(), String> {
    members.iter().try_for_each(|(name, value)| {
        let path = format!("{place}{name}");
        let open = OPEN_OBJECTS.iter().find(|(object, _)| *object == path);
        if let Some((_, kind)) = open {
            let items = value
                .as_object()
                .ok_or_else(|| wrong_type(&path, "an object"))?;
            return items.iter().try_for_each(|(name, value)| {
                check_value(&format!("{path}.{name}"), value, *kind)
            });
        }
        let inner = format!("{path}.");
        if KNOWN_MEMBERS
            .iter()
            .any(|(known, _)| known.starts_with(&inner))
        {
            let inside = value.as_object();
            return check_members(
                &inner,
                inside.ok_or_else(|| wrong_type(&path, "an object"))?,
            );
        }
        match KNOWN_MEMBERS.iter().find(|(known, _)| *known == path) {
            Some((_, kind)) => check_value(&path, value, *kind),
            None => Err(format!(
                "{path}: is not a member of a customer; the members here are {}",
                names_in(place).join(", ")
            )),
        }
    })
}

fn check_value(path: &str, value: &Value, kind: FieldKind) -> Result<(), String> {
    match kind {
        FieldKind::Text if !value.is_string() => Err(wrong_type(path, "a text")),
        FieldKind::Integer if !value.is_i64() => Err(wrong_type(path, "a whole number")),
        FieldKind::Text | FieldKind::Integer | FieldKind::Open => Ok(()),
    }
}

fn wrong_type(path: &str, kind: &str) -> String {
    format!("{path}: must be {kind}")
}

/// The dotted paths of the members of a customer, except the members of [`OPEN_OBJECTS`].
static KNOWN_MEMBERS: LazyLock<Vec<(String, FieldKind)>> = LazyLock::new(|| {
    let own = OWN_MEMBERS
        .into_iter()
        .map(|(path, kind)| (path.to_owned(), kind));
    let fields = Field::paths().filter_map(|path| {
        let field = Field::parse(path)?;
        let path = match field.echo_place() {
            EchoPlace::Address => format!("address.{path}"),
            EchoPlace::TopLevel | EchoPlace::Metadata | EchoPlace::NotEchoed => path.to_owned(),
        };
        Some((path, field.kind()))
    });
    own.chain(fields).collect()
});

/// Lists the names of the members of the object at `place`.
fn names_in(place: &str) -> Vec<&str> {
    let open = OPEN_OBJECTS.iter().map(|(object, _)| *object);
    let paths = KNOWN_MEMBERS
        .iter()
        .map(|(path, _)| path.as_str())
        .chain(open);
    let names: BTreeSet<&str> = paths
        .filter_map(|path| path.strip_prefix(place)?.split('.').next())
        .collect();
    names.into_iter().collect()
}
