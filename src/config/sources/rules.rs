//! The tables of a source file that describe the format of the request bodies and the event types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::reader::{Raw, Reader};
use super::misplaced;
use super::schema_files::SchemaFiles;
use crate::event::Attribute;
use crate::intake::{CardNumberPolicy, EventType, InvalidEventPolicy, StoredParts};
use crate::mapping::{
    CUSTOMER, ImageRules, JsonEnvelope, JsonEnvelopeRules, LookupTables, Mapping, MappingRules,
    RuleError, VersionDomain, VersionRule,
};

/// The default of `version_jump_max`.
///
/// A real sequence number never grows by a thousand million between two changes of the same customer, even if the
/// system counts the changes of all customers with one counter.
const JUMP_MAX: u64 = 1_000_000_000;
/// The maximum of `version_jump_max`. It is also the highest possible version.
const JUMP_MAX_MAX: u64 = u64::MAX / 2;

/// The tables of a source file at its top level.
const TOP_LEVEL_TABLES: [&str; 6] = ["auth", "body", "brake", "events", "quota", "tables"];

/// The settings that stand directly in the table of an event type.
pub(super) const EVENT_TYPE_SETTINGS: [&str; 6] = [
    "epoch",
    "schema",
    "version",
    "version_domain",
    "version_jump_max",
    "when",
];

/// The tables of an event type.
const EVENT_TYPE_TABLES: [&str; 5] = [
    "address",
    "customer",
    "on_invalid",
    "only_changed",
    "update",
];

/// The format of a source's request bodies.
#[derive(Clone, Copy)]
enum SourceBodyFormat {
    CloudEvents,
    Json,
}

/// Reads the lookup tables. In the expressions of a mapping, the function `lookup` reads these tables.
pub(super) fn tables(reader: &mut Reader) -> LookupTables {
    let mut tables = BTreeMap::new();
    for table in reader.keys(&["tables"]) {
        let mut rows = BTreeMap::new();
        for (key, value) in reader.take_all(&["tables", &table]) {
            if key.is_empty() {
                let reason = format!(
                    "must be a table with a text for each value, such as [tables.{table}] and below it \"en-US\" = \"en\""
                );
                reader.error(&["tables", &table], reason);
                continue;
            }
            match value.text() {
                Ok(value) => {
                    rows.insert(key, value);
                }
                Err(reason) => reader.error(&["tables", &table, &key], reason),
            }
        }
        tables.insert(table, Arc::new(rows));
    }
    for (table, rows) in reader.tables_elsewhere(&TOP_LEVEL_TABLES) {
        tables.entry(table).or_insert_with(|| Arc::new(rows));
    }
    tables
}

/// Reads the rules for plain JSON bodies of a source. Returns `None` if the source sends CloudEvents.
pub(super) fn json_envelope(reader: &mut Reader, tables: &LookupTables) -> Option<JsonEnvelope> {
    let words = [
        ("cloudevents", SourceBodyFormat::CloudEvents),
        ("json", SourceBodyFormat::Json),
    ];
    let format = reader.take_optional(&["body", "format"], |raw| raw.word(&words));
    let mut rule = |name: &str| reader.take_optional(&["body", name], Raw::text);
    let (split, id, event_type, time) = (rule("split"), rule("id"), rule("type"), rule("time"));
    let has_json_rules = [&split, &id, &event_type, &time]
        .into_iter()
        .any(Option::is_some);
    if !matches!(format, Some(SourceBodyFormat::Json)) {
        if has_json_rules {
            let reason = "must be \"json\", because the file has rules for plain JSON bodies";
            reader.missing(&[&["body", "format"]], reason);
        }
        return None;
    }
    for (name, value) in [("id", &id), ("type", &event_type)] {
        if value.is_none() {
            reader.missing(&[&["body", name]], "is required for plain JSON bodies");
        }
    }
    let rules = JsonEnvelopeRules {
        split,
        id: id?,
        event_type: event_type?,
        time,
    };
    JsonEnvelope::compile(&rules, tables)
        .map_err(|errors| report(reader, &[], errors))
        .ok()
}

/// Reads the action for an invalid event.
pub(super) fn invalid_events(reader: &mut Reader) -> InvalidEventPolicy {
    let words = [
        ("refuse", InvalidEventPolicy::RefuseBody),
        ("park", InvalidEventPolicy::Park),
    ];
    let policy = reader.take_optional(&["body", "on_invalid"], |raw| raw.word(&words));
    policy.unwrap_or_default()
}

/// Reads the choice of the parts of an event that the store keeps.
pub(super) fn stored_parts(reader: &mut Reader) -> StoredParts {
    let words = [
        ("described", StoredParts::Described),
        ("all", StoredParts::All),
    ];
    let parts = reader.take_optional(&["body", "keep"], |raw| raw.word(&words));
    parts.unwrap_or_default()
}

/// Reads the action for an event with the number of a payment card.
pub(super) fn card_numbers(reader: &mut Reader) -> CardNumberPolicy {
    let words = [
        ("refuse", CardNumberPolicy::Refuse),
        ("keep", CardNumberPolicy::Keep),
    ];
    let policy = reader.take_optional(&["body", "card_numbers"], |raw| raw.word(&words));
    policy.unwrap_or_default()
}

/// Reads the settings of one event type, and compiles the schema and the mapping. `envelope` is the compiled table
/// `[body]` of a source that sends plain JSON.
pub(super) fn event_type(
    reader: &mut Reader,
    event_type: &str,
    (tables, envelope): (&LookupTables, Option<&JsonEnvelope>),
    schemas: &mut SchemaFiles<'_>,
) -> Option<EventType> {
    let at = |key: &'static str| ["events", event_type, key];
    misplaced::move_fields(reader, event_type);
    if let Err(error) = Attribute::parse(event_type) {
        reader.error(&["events", event_type], error.to_string());
    }
    if let Some(reason) = wrong_star(event_type) {
        reader.error(&["events", event_type], reason);
    }
    let schema = reader.take(&at("schema"), |raw| schemas.read(&raw.text()?));
    let epoch = reader
        .take_optional(&at("epoch"), |raw| raw.whole(0, u64::from(u32::MAX)))
        .unwrap_or(0);
    let version = version(reader, event_type);
    let jump_max = jump_max(reader, event_type, version.as_ref());
    let only_changed = images(reader, event_type);
    let update = update(reader, event_type);
    let skipped = skipped(reader, event_type, &update);
    let mut rule = |place: &[&str]| {
        let place = [&["events", event_type], place].concat();
        reader.take_optional(&place, Raw::text)
    };
    let rules = MappingRules {
        when: rule(&["when"]),
        imprint_id: rule(&["customer", "imprint_id"]),
        partner_id: rule(&["customer", "partner_id"]),
        country: rule(&["address", "country"]),
        version,
        only_changed,
        update,
        skipped,
        tables: tables.clone(),
    };
    schemas.totals.add_expressions(rules.expressions()).ok()?;
    let mapping = Mapping::compile(&rules)
        .map_err(|errors| report(reader, &["events", event_type], errors))
        .ok();
    Some(EventType {
        epoch: u32::try_from(epoch).ok()?,
        jump_max,
        ..EventType::new(schema??, mapping?, envelope)
    })
}

/// Reports the event types whose names have dots and no quotes, as in `[events.person.update]`. Returns whether there is
/// such a name, and forgets the settings of `[events.person]` then, because their errors would only follow.
pub(super) fn has_names_without_quotes(reader: &mut Reader, event_type: &str) -> bool {
    let table = ["events", event_type];
    let settings: [&[&str]; 3] = [
        &["schema"],
        &["customer", "imprint_id"],
        &["customer", "partner_id"],
    ];
    let names = reader.names_without_quotes(&table, (&settings, &["update", "metadata"]));
    // A field of `on_invalid` can have the name of a rule for the customer.
    let is_of_field = |name: &Vec<String>| name.get(2).is_some_and(|key| key == "on_invalid");
    let names: BTreeSet<_> = names
        .into_iter()
        .filter(|name| !is_of_field(name))
        .collect();
    // The reader itself reports a name that does not look like a setting.
    if !names.iter().any(|name| {
        name.get(2)
            .is_some_and(|key| EVENT_TYPE_TABLES.contains(&key.as_str()))
    }) {
        return false;
    }
    for name in names {
        let place: Vec<&str> = name.iter().map(String::as_str).collect();
        let name = place.get(1..).unwrap_or_default().join(".");
        let quoted = format!("[events.\"{name}\"]");
        let reason = format!("unknown table; write a name with dots in quotes: {quoted}");
        reader.error(&place, reason);
    }
    reader.forget(&table);
    true
}

/// Returns the error of a name of event types that has a `*` before its end, or an invisible character.
pub(super) fn wrong_star(name: &str) -> Option<&'static str> {
    let is_pattern = name.ends_with(".*") && name.contains("_.*")
        || name.starts_with('^')
        || name.ends_with('$');
    let is_invisible = |sign: char| sign.is_control() || sign.is_whitespace() && sign != ' ';
    if name.contains(is_invisible) || name.contains(['\u{200b}', '\u{feff}']) {
        return Some(
            "has an invisible character, such as a no-break space: write the name again, without it",
        );
    }
    if is_pattern {
        return Some(
            "is no regular expression: a * at the end stands for every rest of the name, as in \"before_*\"",
        );
    }
    let start = name.strip_suffix('*').unwrap_or(name);
    start
        .contains('*')
        .then_some("a * stands only at the end of an event type, as in \"customers/*\"")
}

/// Reports errors of expressions at the keys of the expressions, below `table`.
fn report(reader: &mut Reader, table: &[&str], errors: Vec<RuleError>) {
    for error in errors {
        if error.target == CUSTOMER {
            let ids = ["imprint_id", "partner_id"].map(|id| [table, &[CUSTOMER, id]].concat());
            let [imprint_id, partner_id] = &ids;
            reader.missing(&[imprint_id, partner_id], error.to_string());
            continue;
        }
        let target: Vec<&str> = error.target.split('.').collect();
        let update = [table, &["update"], &target].concat();
        let is_metadata = target.first() == Some(&"metadata");
        let place = if reader.knows(&update) || is_metadata {
            update
        } else {
            [table, &target].concat()
        };
        reader.error(&place, error.to_string());
    }
}

fn version(reader: &mut Reader, event_type: &str) -> Option<VersionRule> {
    let at = |key: &'static str| ["events", event_type, key];
    let has_domain = reader.has(&at("version_domain"));
    let domain = reader.take_optional(&at("version_domain"), |raw| {
        raw.word(&[
            ("sequence", VersionDomain::Sequence),
            ("time", VersionDomain::Time),
        ])
    });
    let version = reader.take_optional(&at("version"), Raw::text);
    match (version, domain) {
        (Some(expression), Some(domain)) => return Some(VersionRule { expression, domain }),
        // A wrong domain has its error already.
        (Some(_), None) if has_domain => {}
        (Some(_), None) => reader.missing(
            &[&at("version_domain")],
            "is required with version: \"sequence\" or \"time\"",
        ),
        (None, Some(_)) => reader.missing(&[&at("version")], "is required with version_domain"),
        (None, None) => {}
    }
    None
}

/// Reads the maximum by which a sequence number can grow between two events of a customer. A version that is a time has
/// no such limit, because intake refuses times in the future.
fn jump_max(reader: &mut Reader, event_type: &str, version: Option<&VersionRule>) -> Option<u64> {
    let at = ["events", event_type, "version_jump_max"];
    let max = reader.take_optional(&at, |raw| raw.whole(1, JUMP_MAX_MAX));
    match version.map(|version| version.domain) {
        Some(VersionDomain::Sequence) => Some(max.unwrap_or(JUMP_MAX)),
        Some(VersionDomain::Time) | None => {
            if max.is_some() {
                reader.error(&at, "needs version_domain = \"sequence\"");
            }
            None
        }
    }
}

fn images(reader: &mut Reader, event_type: &str) -> Option<ImageRules> {
    let place = ["events", event_type, "only_changed"];
    let mut rule = |name: &'static str| {
        let place = [place.as_slice(), &[name]].concat();
        reader.take_optional(&place, Raw::text)
    };
    match (rule("before"), rule("after")) {
        (Some(before), Some(after)) => Some(ImageRules { before, after }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            reader.error(&place, "needs both before and after");
            None
        }
    }
}

fn update(reader: &mut Reader, event_type: &str) -> BTreeMap<String, String> {
    let mut update = BTreeMap::new();
    let mut tables = BTreeSet::new();
    for (target, expression) in reader.take_all(&["events", event_type, "update"]) {
        if let Some(field) = misplaced::field_as_table(&target) {
            tables.insert(field.to_owned());
            continue;
        }
        match expression.text() {
            Ok(expression) => {
                update.insert(target, expression);
            }
            Err(reason) => reader.error(&["events", event_type, "update", &target], reason),
        }
    }
    misplaced::report_tables(reader, event_type, &tables);
    update
}

/// Reads the fields whose invalid values the update leaves out.
fn skipped(
    reader: &mut Reader,
    event_type: &str,
    update: &BTreeMap<String, String>,
) -> BTreeSet<String> {
    let place = ["events", event_type, "on_invalid"];
    let mut skipped = BTreeSet::new();
    for (target, word) in reader.take_all(&place) {
        if target.is_empty() {
            let reason =
                "must be a table with a word for each field, such as on_invalid.phone = \"skip\"";
            reader.error(&place, reason);
            continue;
        }
        let at = [place.as_slice(), &[target.as_str()]].concat();
        match word.word(&[("refuse", false), ("skip", true)]) {
            Err(reason) => reader.error(&at, reason),
            Ok(_) if !update.contains_key(&target) => {
                let set: Vec<&str> = update.keys().map(String::as_str).collect();
                let reason = match set.is_empty() {
                    true => "is about a field of the table `update`, and this event type has no field there".to_owned(),
                    false => format!(
                        "must be a field that the table `update` sets: {}",
                        set.join(", ")
                    ),
                };
                reader.error(&at, reason);
            }
            Ok(true) => {
                skipped.insert(target);
            }
            Ok(false) => {}
        }
    }
    skipped
}
