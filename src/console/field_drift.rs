//! What pages say about a field that has vanished from the events of a source: the rule of the alert
//! `ImprintBridgeFieldDrift` decides. Pure.

use super::words::{counted, grouped, span_text};
use crate::notices::{DriftKind, DriftedField};

/// A sentence about a field, in three parts.
pub(super) struct DriftText {
    pub(super) begin: String,
    pub(super) field: String,
    pub(super) end: String,
}

/// Returns the drifted fields of the loaded sources. A field that most events clear also has no value: it counts once.
pub(super) fn drifted_fields(fields: Vec<DriftedField>, loaded: &[String]) -> Vec<DriftedField> {
    let cleared = fields
        .iter()
        .filter(|field| field.kind == DriftKind::Cleared);
    let cleared: Vec<(String, String)> = cleared
        .map(|field| (field.source.clone(), field.field.clone()))
        .collect();
    let is_first = |field: &DriftedField| match field.kind {
        DriftKind::Cleared => true,
        DriftKind::Missing => !cleared
            .iter()
            .any(|(source, name)| *source == field.source && *name == field.field),
    };
    let mut fields = fields;
    fields.retain(|field| loaded.contains(&field.source) && is_first(field));
    fields
}

/// Returns the sources with drifted fields and the number of these fields.
pub(super) fn by_source(fields: &[DriftedField]) -> Vec<(&str, u64)> {
    let mut counts: Vec<(&str, u64)> = Vec::new();
    for field in fields {
        match counts
            .iter_mut()
            .find(|(source, _)| *source == field.source)
        {
            Some((_, count)) => *count = count.saturating_add(1),
            None => counts.push((&field.source, 1)),
        }
    }
    counts
}

/// Says for the overview how many fields of a source have vanished.
pub(super) fn vanished(source: &str, fields: u64) -> String {
    let verb = if fields == 1 { "has" } else { "have" };
    let fields = counted(fields, ["field", "fields"]);
    format!(
        "{fields} of the source {source} {verb} vanished: new events have no value, or clear it."
    )
}

impl DriftText {
    pub(super) fn of(drifted: &DriftedField) -> Self {
        let events = counted(drifted.events, ["new event", "new events"]);
        let window = span_text(drifted.window);
        let (begin, end) = match drifted.kind {
            DriftKind::Missing => (
                format!("None of the {events} of the last {window} has a value of"),
                "had one",
            ),
            DriftKind::Cleared => (
                format!(
                    "{} of the {events} of the last {window} clear",
                    grouped(drifted.counted)
                ),
                "cleared it",
            ),
        };
        Self {
            begin,
            field: drifted.field.clone(),
            end: format!(
                "; of the {} of the day before, {} % {end}.",
                counted(drifted.events_before, ["event", "events"]),
                drifted.percent_before
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn drifted(source: &str, field: &str, kind: DriftKind) -> DriftedField {
        DriftedField {
            source: source.to_owned(),
            field: field.to_owned(),
            kind,
            window: Duration::from_hours(1),
            events: 1_234,
            counted: 700,
            events_before: 1,
            percent_before: 3,
        }
    }

    #[test]
    fn a_cleared_field_counts_once() {
        let fields = vec![
            drifted("crm", "email", DriftKind::Missing),
            drifted("crm", "email", DriftKind::Cleared),
            drifted("crm", "phone", DriftKind::Missing),
            drifted("erp", "email", DriftKind::Missing),
            drifted("gone", "email", DriftKind::Cleared),
        ];
        let loaded = ["crm", "erp"].map(str::to_owned);
        let found = drifted_fields(fields, &loaded);
        assert_eq!(by_source(&found), [("crm", 2), ("erp", 1)]);
        assert_eq!(found[0].kind, DriftKind::Cleared);
        assert_eq!(
            vanished("erp", 1),
            "1 field of the source erp has vanished: new events have no value, or clear it."
        );
        let text = DriftText::of(&found[0]);
        assert_eq!(
            text.begin + " email" + &text.end,
            "700 of the 1,234 new events of the last 60 min clear email; of the 1 event of the day before, 3 % cleared it."
        );
    }
}
