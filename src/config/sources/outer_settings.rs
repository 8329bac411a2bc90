//! Finds settings that stand in a table below their own: TOML reads each key after the header of a table as a key of this
//! table.

use super::super::reader::Reader;
use super::other_kinds;
use super::rules;
use crate::imprint::Field;

/// The tables of an event type that have names of the author's choice, or few settings.
const INNER_TABLES: [&str; 4] = ["customer", "on_invalid", "only_changed", "update"];

/// The tables of a source file with settings of their own.
const FILE_TABLES: [&str; 4] = ["auth", "body", "brake", "quota"];

/// The settings of `[body]`.
const BODY: [&str; 8] = [
    "card_numbers",
    "format",
    "id",
    "keep",
    "on_invalid",
    "split",
    "time",
    "type",
];
/// The settings of `[brake]`.
const BRAKE: [&str; 6] = [
    "cleared_max",
    "customers_max",
    "mode",
    "same_value_max",
    "share_percent_max",
    "window",
];
/// The settings of `[quota]`.
const QUOTA: [&str; 3] = ["events_burst", "events_per_second", "stored_bytes_max"];

/// The settings of `[body]` and `[auth]` that are also usual names of data.
const NAMES_OF_DATA: [&str; 9] = [
    "format", "header", "id", "kind", "mode", "prefix", "time", "type", "user",
];

/// The place of a setting outside of the table in which the author wrote it.
enum OuterPlace {
    BeforeTables,
    /// A table of the file.
    Table(&'static str),
    EventType,
    /// The table `on_invalid` of an event type, without a field.
    OnInvalid,
    LookupTable(String),
}

/// Adds an error for each setting of an outer table in a table of an event type, or in another table of the file. Moves the
/// value to its own place, so that no error follows.
pub(super) fn report(reader: &mut Reader) {
    let event_types = reader.keys(&["events"]);
    for event_type in &event_types {
        for table in INNER_TABLES {
            // The name of an event type has a dot and no quotes, such as [events.order.update.update].
            let inner = reader.keys(&["events", event_type, table]);
            if inner.iter().any(|key| key == "update") {
                continue;
            }
            report_in(reader, &["events", event_type, table], Some(event_type));
        }
    }
    let only = event_types.first().filter(|_| event_types.len() == 1);
    for table in FILE_TABLES {
        report_in(reader, &[table], only.map(String::as_str));
    }
}

fn report_in(reader: &mut Reader, table: &[&str], event_type: Option<&str>) {
    for inside in reader.places_in(table) {
        let place: Vec<&str> = inside.iter().map(String::as_str).collect();
        let Some(outer) = outer_place(reader, table, &place) else {
            continue;
        };
        let reason = reason(&outer, (table, &place), event_type);
        let from = [table, &place].concat();
        reader.error(&from, reason);
        reader.move_setting(&from, own_place(&outer, &place, event_type).as_deref());
    }
}

/// Describes the setting, and where the author must write it.
fn reason(
    outer: &OuterPlace,
    (table, place): (&[&str], &[&str]),
    event_type: Option<&str>,
) -> String {
    let (name, last) = (place.join("."), place.last().copied().unwrap_or_default());
    let not = match table {
        [.., "update"] => "no field of Imprint",
        _ => "not of this table",
    };
    let header = format!("[events.\"{}\"]", event_type.unwrap_or("TYPE"));
    let before = match table {
        ["events", event_type, inner] => format!(", before [events.\"{event_type}\".{inner}]"),
        _ => String::new(),
    };
    match outer {
        OuterPlace::BeforeTables => format!(
            "`{name}` is a setting of the file and {not}: write `{last}` before the first table of the file"
        ),
        OuterPlace::Table(own) => format!(
            "`{name}` is a setting of [{own}] and {not}: write `{last}` below the header [{own}]"
        ),
        OuterPlace::EventType => format!(
            "`{name}` is a setting of the event type and {not}: write `{name}` below the header {header}{before}"
        ),
        OuterPlace::OnInvalid => format!(
            "`{name}` is a setting of the event type and {not}: write on_invalid.FIELD = \"skip\", with the name of a field, below the header {header}{before}"
        ),
        OuterPlace::LookupTable(lookup) => format!(
            "`{name}` is a setting of the file and {not}: write the header [tables.{lookup}], and `{last}` below it"
        ),
    }
}

/// Returns the key path of the setting at its own place, if there is exactly one such place.
fn own_place<'p>(
    outer: &OuterPlace,
    place: &[&'p str],
    event_type: Option<&'p str>,
) -> Option<Vec<&'p str>> {
    match outer {
        OuterPlace::BeforeTables | OuterPlace::LookupTable(_) => Some(place.to_vec()),
        OuterPlace::Table(own) => Some(vec![*own, place.last()?]),
        OuterPlace::EventType => Some([&["events", event_type?], place].concat()),
        OuterPlace::OnInvalid => None,
    }
}

/// Returns where a setting belongs, if it does not belong into `table`.
fn outer_place(reader: &Reader, table: &[&str], place: &[&str]) -> Option<OuterPlace> {
    // A rule for an invalid value, under a wrong name.
    let is_rule = matches!(
        reader.text_at(&[table, place].concat()),
        Some("refuse" | "skip")
    );
    if is_own(reader, table, place) || table.ends_with(&["on_invalid"]) && is_rule {
        return None;
    }
    let is_in_event_type = table.len() > 1;
    match place {
        ["draft"] => Some(OuterPlace::BeforeTables),
        ["tables", lookup, _] if is_in_event_type => {
            Some(OuterPlace::LookupTable((*lookup).to_owned()))
        }
        ["on_invalid"] if is_in_event_type => Some(OuterPlace::OnInvalid),
        ["on_invalid" | "only_changed", _, ..] | ["customer", "imprint_id" | "partner_id"] => {
            Some(OuterPlace::EventType)
        }
        [name] if rules::EVENT_TYPE_SETTINGS.contains(name) => Some(OuterPlace::EventType),
        [own, name] if FILE_TABLES.contains(own) => outer_table(reader, (table, Some(own)), name),
        [name] => outer_table(reader, (table, None), name),
        _ => None,
    }
}

/// Returns the table of the file that has a setting of this name and does not set it. A name that is usual for data is a
/// setting only in a table that is no table of fields.
fn outer_table(
    reader: &Reader,
    (table, named): (&[&str], Option<&str>),
    name: &str,
) -> Option<OuterPlace> {
    let kind = reader.text_at(&["auth", "kind"]);
    let tables: [(&'static str, &[&str]); 4] = [
        ("body", &BODY),
        ("brake", &BRAKE),
        ("quota", &QUOTA),
        ("auth", other_kinds::settings_of(kind.unwrap_or_default())),
    ];
    let is_data = table.len() > 1 && named.is_none() && NAMES_OF_DATA.contains(&name);
    let has_name = |(own, names): &&(&'static str, &[&str])| {
        let is_setting =
            names.contains(&name) || *own == "auth" && other_kinds::OF_EVERY_KIND.contains(&name);
        is_setting && named.is_none_or(|named| named == *own) && table.first() != Some(own)
    };
    let (own, _) = tables.iter().find(has_name)?;
    (!is_data && !reader.has(&[own, name])).then_some(OuterPlace::Table(own))
}

/// Returns whether a setting belongs into the table in which it stands.
fn is_own(reader: &Reader, table: &[&str], place: &[&str]) -> bool {
    let name = place.join(".");
    match table {
        [.., "update"] => place.first() == Some(&"metadata") || Field::parse(&name).is_some(),
        ["events", _, "customer"] => matches!(place, ["imprint_id" | "partner_id"]),
        ["events", event_type, "on_invalid"] => {
            Field::parse(&name).is_some() || reader.has(&["events", event_type, "update", &name])
        }
        ["events", _, "only_changed"] => matches!(place, ["before" | "after"]),
        ["auth"] => other_kinds::is_setting(&name) || matches!(place, ["unsigned_headers"]),
        ["body"] => BODY.contains(&name.as_str()),
        ["brake"] => BRAKE.contains(&name.as_str()),
        ["quota"] => QUOTA.contains(&name.as_str()),
        _ => true,
    }
}
