//! Finds settings in the wrong table or the wrong file: fields of Imprint outside the table `update`, and the settings of the
//! bridge in a source file.

use std::collections::BTreeSet;

use super::super::reader::Reader;
use crate::imprint::Field;
use crate::spelling;

/// The maximum number of fields that an error lists.
const LISTED_MAX: usize = 12;
/// The tables that only the settings of the bridge have.
const SETTINGS_TABLES: [&str; 4] = ["dispatch", "imprint", "ingress", "outbox"];

/// Returns whether the file has the settings of the bridge and is no source file. Adds the error, and forgets the settings.
pub(super) fn is_settings_file(reader: &mut Reader) -> bool {
    let is_settings = SETTINGS_TABLES.iter().any(|table| reader.has(&[table]));
    let is_source = ["auth", "body", "events"]
        .iter()
        .any(|table| reader.has(&[table]));
    if !is_settings || is_source {
        return false;
    }
    reader.error(
        &[],
        "has the settings of the bridge and no source: sources_dir must name the folder with the source files, such as config/sources",
    );
    reader.forget(&[]);
    true
}

/// Returns the names of the event types. Adds an error for a table `update` without the other settings of an event type, if
/// another name has them: a name that differs only in letter case or separators, or the only name without such a table. Leaves
/// the first name out.
pub(super) fn event_types(reader: &mut Reader) -> BTreeSet<String> {
    let mut names = reader.keys(&["events"]);
    let is_only_update = |reader: &mut Reader, name: &str| {
        let keys = reader.keys(&["events", name]);
        let is_part = |key: &String| ["update", "on_invalid"].contains(&key.as_str());
        keys.contains("update") && keys.iter().all(is_part)
    };
    let has_no_update = |reader: &Reader, name: &str| {
        reader.has(&["events", name, "schema"]) && !reader.has(&["events", name, "update"])
    };
    let halves = names
        .iter()
        .filter(|name| is_only_update(reader, name))
        .count();
    let others = names
        .iter()
        .filter(|name| has_no_update(reader, name))
        .count();
    // Two tables that complete each other are the tables of one event type.
    let is_pair = halves == 1 && others == 1;
    for name in names.clone() {
        if !is_only_update(reader, &name) {
            continue;
        }
        let is_meant = |other: &&String| {
            **other != name
                && (is_pair || spelling::has_same_letters(other, &name))
                && has_no_update(reader, other)
        };
        let Some(other) = names.iter().find(is_meant).cloned() else {
            continue;
        };
        let reason = format!(
            "has only the table `update`, and [events.\"{other}\"] has the other settings: write one name in both headers, as the source writes the event type"
        );
        reader.error(&["events", &name], reason);
        reader.forget(&["events", &name]);
        names.remove(&name);
    }
    names
}

/// Moves the fields of Imprint in the table of an event type into its table `update`, and adds one error for them.
pub(super) fn move_fields(reader: &mut Reader, event_type: &str) {
    let table = ["events", event_type];
    let is_field = |name: &str| Field::parse(name).is_some();
    let moved = reader.move_into(&table, "update", is_field);
    if moved.is_empty() {
        return;
    }
    let mut names = moved.iter().take(LISTED_MAX).cloned().collect::<Vec<_>>();
    if moved.len() > LISTED_MAX {
        names.push("…".to_owned());
    }
    let reason = format!(
        "has fields of Imprint outside of its table `update`: write the header [events.\"{event_type}\".update] before {}",
        names.join(", ")
    );
    reader.error(&table, reason);
}

/// Returns the field that the author wrote as a table, if `target` is inside it, as in `city = { path = ".city" }`.
pub(super) fn field_as_table(target: &str) -> Option<&str> {
    let mut outer = target
        .rmatch_indices('.')
        .filter_map(|(end, _)| target.get(..end));
    let is_field = Field::parse(target).is_some();
    outer.find(|outer| !is_field && Field::parse(outer).is_some())
}

/// Adds an error for each field that the author wrote as a table.
pub(super) fn report_tables(reader: &mut Reader, event_type: &str, fields: &BTreeSet<String>) {
    for field in fields {
        let name = field.rsplit('.').next().unwrap_or(field);
        let place: Vec<&str> = ["events", event_type, "update"]
            .into_iter()
            .chain(field.split('.'))
            .collect();
        let reason = format!(
            "must be a text with an expression, such as \".{name}\", and not a table: write {field} = \"…\" below the header [events.\"{event_type}\".update]"
        );
        reader.error(&place, reason);
    }
}
