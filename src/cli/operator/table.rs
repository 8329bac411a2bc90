//! Formats answers of the admin API as lines of text. This module is pure: it uses no IO, no clock and no random
//! numbers.

use serde_json::Value;

use crate::cli::error_groups::ErrorGroup;
use crate::terminal::printable;

/// Returns a member of a JSON object. Returns null if the object does not have the member.
pub(in crate::cli) fn at<'a>(object: &'a Value, name: &str) -> &'a Value {
    object.get(name).unwrap_or(&Value::Null)
}

/// Formats a JSON value as text, and null as a dash.
pub(in crate::cli) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // A line feed in a text would look like the next row.
        Value::String(text) => printable(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Pads the cells of all rows with spaces, so that all cells of one column have the same width.
pub(in crate::cli) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

pub(in crate::cli) fn list<'a>(
    answer: &'a Value,
    name: &str,
) -> impl Iterator<Item = &'a Value> + use<'a> {
    at(answer, name).as_array().into_iter().flatten()
}

/// Formats one line for each entry.
pub(super) fn entries(answer: &Value) -> Vec<String> {
    let head = [
        "ENTRY", "ID", "TYPE", "STATUS", "CUSTOMER", "ATTEMPTS", "ACCEPTED", "DETAIL",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(list(answer, "entries").map(|entry| {
        let customer = [at(entry, "imprint_id"), at(entry, "partner_id")];
        let customer = customer.into_iter().find(|id| !id.is_null());
        let parked = at(entry, "parked");
        let erased_at = at(entry, "erased_at").as_str();
        let detail = match (at(parked, "reason").as_str(), at(parked, "detail").as_str()) {
            (None, _) if erased_at.is_some() => format!("erased {}", erased_at.unwrap_or_default()),
            (Some(reason), Some(detail)) => format!("{reason}: {detail}"),
            (Some(reason), None) => format!("{reason}{}", first_error(list(parked, "faults"))),
            (None, _) if list(entry, "skipped").next().is_some() => {
                format!("skipped{}", first_error(list(entry, "skipped")))
            }
            (None, _) => {
                let reasons = [at(entry, "ignored"), at(entry, "superseded_by")];
                let reason = reasons.into_iter().find(|reason| !reason.is_null());
                text(reason.unwrap_or(&Value::Null))
            }
        };
        vec![
            text(at(entry, "entry")),
            text(at(entry, "id")),
            text(at(entry, "type")),
            text(at(entry, "status")),
            text(customer.unwrap_or(&Value::Null)),
            text(at(entry, "attempts")),
            text(at(entry, "accepted_at")),
            detail,
        ]
    }));
    if rows.len() == 1 {
        return vec!["none".to_owned()];
    }
    aligned(&rows)
}

/// Formats the first error of an event, and the number of the other errors.
fn first_error<'a>(errors: impl Iterator<Item = &'a Value>) -> String {
    match ErrorGroup::of_answer(errors).as_slice() {
        [] => String::new(),
        [only] => format!(": {}", only.short()),
        [first, others @ ..] => format!(": {} and {} more", first.short(), others.len()),
    }
}

/// Formats one line for each member of an object. The members of inner objects are indented.
pub(in crate::cli) fn entry(answer: &Value) -> Vec<String> {
    let Some(members) = answer.as_object() else {
        return vec![text(answer)];
    };
    let mut lines = Vec::new();
    for (name, value) in members {
        match value {
            Value::Object(_) => {
                lines.push(format!("{name}:"));
                lines.extend(entry(value).into_iter().map(|line| format!("  {line}")));
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => lines.push(format!("{name}: {}", text(value))),
        }
    }
    lines
}

/// The members of an answer that list the changed entries, with the words for them.
///
/// The effect of a replay of ignored entries, and of the preview of a replay, stands in the members [`RESULTS`].
pub(super) const CHANGED: [(&str, &str); 5] = [
    ("replayed", "replayed"),
    ("discarded", "discarded"),
    ("would_discard", "would be discarded"),
    ("parked", "parked"),
    ("would_park", "would be parked"),
];

/// The members that only the answer to a preview has.
const PLANNED: [&str; 3] = ["would_replay", "would_discard", "would_park"];

/// The members of an answer that list further changed entries, and that have lines of their own.
pub(super) const RESULTS: [&str; 2] = ["ignored", "results"];

/// Returns whether a change, or its preview, has an effect.
pub(super) fn has_changed(answer: &Value) -> bool {
    let members = CHANGED.iter().map(|(member, _)| member);
    let mut members = members.chain(&RESULTS);
    members.any(|member| list(answer, member).next().is_some())
}

/// Formats the effect of a change of entries, or of its preview.
pub(super) fn change(answer: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, sentence) in CHANGED {
        if let Some(numbers) = at(answer, name).as_array() {
            lines.push(format!("{} {sentence}", numbers.len()));
        }
    }
    if list(answer, "in_flight").next().is_some() {
        lines.push(format!(
            "unchanged, because requests of these customers are in progress (repeat the command): {}",
            text(at(answer, "in_flight"))
        ));
    }
    if let Some(number) = at(answer, "would_replay").as_u64() {
        lines.push(format!("{number} would be replayed"));
    }
    for request in list(answer, "requests") {
        lines.push(format!(
            "request to customer {} with the values of entries {}:",
            text(at(request, "customer")),
            text(at(request, "entries"))
        ));
        lines.extend(requested_fields(request));
    }
    lines.extend(list(answer, "results").flat_map(result));
    lines.extend(list(answer, "ignored").map(|ignored| {
        let (entry, reason) = (text(at(ignored, "entry")), text(at(ignored, "reason")));
        format!("entry {entry}: ignored, nothing is sent ({reason})")
    }));
    lines.extend(list(answer, "unmappable").flat_map(rejected));
    lines.extend(list(answer, "unchanged").map(|unchanged| {
        let (entry, detail) = (text(at(unchanged, "entry")), text(at(unchanged, "detail")));
        format!("entry {entry}: unchanged, because {detail}")
    }));
    let is_preview = PLANNED.iter().any(|member| !at(answer, member).is_null());
    let (as_of, next) = (at(answer, "as_of").as_str(), at(answer, "next").as_u64());
    lines.extend(match (is_preview, as_of, next) {
        (true, _, Some(_)) => Some(
            "the filter matches more entries than the preview shows, and a change without --limit takes them too".to_owned(),
        ),
        (true, Some(as_of), None) => Some(format!(
            "the preview shows entries accepted before {as_of}: the option --before {as_of} limits the change to them"
        )),
        (false, _, Some(next)) => Some(format!(
            "the filter matches more entries: the option --after {next} continues with them"
        )),
        (_, _, None) => None,
    });
    lines
}

/// Formats the fields of a request that a replay would send, each beside what Imprint has.
fn requested_fields(request: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let facts = at(request, "facts").as_object();
    for (field, value) in facts.into_iter().flatten() {
        let version = at(at(at(request, "versions"), field), "value");
        let mut delivered = list(request, "delivered");
        let before = delivered.find(|origin| at(origin, "field").as_str() == Some(field.as_str()));
        let before = before.map_or_else(|| "nothing that the bridge knows".to_owned(), origin);
        let (value, version) = (text(value), text(version));
        lines.push(format!(
            "  {field}: {value} (version {version}; Imprint has {before})"
        ));
    }
    lines
}

/// Describes the value that Imprint has of a field.
fn origin(origin: &Value) -> String {
    let version = at(origin, "version");
    let value = at(version, "value");
    let value = match value.as_i64() == Some(i64::MIN) {
        true => "reset by an operator".to_owned(),
        false => text(value),
    };
    let entry = text(at(version, "arrival"));
    let event = at(origin, "event");
    let event = match event.is_null() {
        true => String::new(),
        false => format!(
            ", event {} of {}, delivered at {}",
            text(at(event, "id")),
            text(at(event, "source")),
            text(at(event, "delivered_at"))
        ),
    };
    format!("version {value} of entry {entry}{event}")
}

/// Formats the errors of an event that the current mapping rejects.
fn rejected(unmappable: &Value) -> Vec<String> {
    let entry = text(at(unmappable, "entry"));
    let mut lines = vec![format!(
        "entry {entry}: the current mapping rejects its event (paths into the stored event, for plain JSON into its member data):"
    )];
    let groups = ErrorGroup::of_answer(list(unmappable, "faults"));
    lines.extend(groups.iter().map(|group| format!("  {group}")));
    lines
}

/// Formats the result of a replayed entry, as far as it is not simply delivered.
fn result(result: &Value) -> Vec<String> {
    let entry = text(at(result, "entry"));
    let winner = at(result, "superseded_by");
    let parked = at(result, "parked");
    match at(result, "status").as_str() {
        None => vec![format!(
            "entry {entry}: the bridge must first ask Imprint about the customer, so the result is not known"
        )],
        Some("superseded") => vec![format!(
            "entry {entry}: superseded, nothing is sent, because entry {} has newer values",
            text(winner)
        )],
        Some("parked") => vec![format!("entry {entry}: parked again, {}", text(parked))],
        Some("ignored") => vec![format!(
            "entry {entry}: ignored, nothing is sent ({})",
            text(at(result, "ignored"))
        )],
        Some(_) => {
            let overtaken = at(result, "overtaken").as_object().into_iter().flatten();
            let line = |(field, winner): (&String, &Value)| {
                let field = printable(field);
                format!(
                    "entry {entry}: {field} is not sent, because entry {} has a newer value",
                    text(winner)
                )
            };
            overtaken.map(line).collect()
        }
    }
}

/// Formats one line for each record of the audit log.
pub(super) fn audit(answer: &Value) -> Vec<String> {
    let head = [
        "NUMBER", "TIME", "OPERATOR", "ACTION", "ENTRIES", "TARGET", "REASON", "INTACT",
    ];
    let columns = [
        "number", "at", "who", "what", "entries", "on", "reason", "sound",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(
        list(answer, "acts").map(|record| columns.map(|name| text(at(record, name))).to_vec()),
    );
    aligned(&rows)
}

/// Formats one line for each source, problem type, reason and cause of denied requests.
pub(super) fn denied_requests(answer: &Value) -> Vec<String> {
    let head = [
        "SOURCE", "PROBLEM", "REASON", "LOCATION", "COUNT", "FIRST", "LAST", "POINTERS", "DETAIL",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(list(answer, "requests").map(|row| {
        let column = |name| text(at(row, name));
        let pointers: Vec<String> = list(row, "last_pointers").map(text).collect();
        let pointers = if pointers.is_empty() {
            "-".to_owned()
        } else {
            pointers.join(" ")
        };
        let [source, problem, reason, count] = ["source", "problem", "reason", "count"].map(column);
        let [first, last, detail] = ["first_at", "last_at", "last_detail"].map(column);
        // An older bridge has no location.
        let location = match column("location") {
            empty if empty.is_empty() => "-".to_owned(),
            location => location,
        };
        vec![
            source, problem, reason, location, count, first, last, pointers, detail,
        ]
    }));
    if rows.len() == 1 {
        return vec!["none".to_owned()];
    }
    aligned(&rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_are_columns() {
        let answer = json!({"entries": [
            {"entry": 7, "id": "a", "type": "t", "status": "parked", "imprint_id": "C", "attempts": 1,
             "accepted_at": "now", "parked": {"reason": "rejected", "detail": "status 400"}},
            {"entry": 8, "id": "b", "type": "t", "status": "parked", "attempts": 0, "accepted_at": "now",
             "parked": {"reason": "invalid", "detail": null, "faults": [{"pointer": "/1/phone", "rule": "e164"}, {}]}},
            {"entry": 12, "id": "longer", "type": "t", "status": "waiting", "partner_id": "P", "attempts": 0, "accepted_at": "now"},
            {"entry": 13, "id": "c", "type": "t", "status": "ignored", "attempts": 0, "accepted_at": "now",
             "ignored": "listed_type", "superseded_by": null},
        ]});
        assert_eq!(
            entries(&answer),
            [
                "ENTRY  ID      TYPE  STATUS   CUSTOMER  ATTEMPTS  ACCEPTED  DETAIL",
                "7      a       t     parked   C         1         now       rejected: status 400",
                "8      b       t     parked   -         0         now       invalid: /1/phone (e164) and 1 more",
                "12     longer  t     waiting  P         0         now       -",
                "13     c       t     ignored  -         0         now       listed_type",
            ]
        );
        assert_eq!(entries(&json!({"entries": []})), ["none"]);
    }

    /// FAULTS I37
    #[test]
    fn a_line_feed_in_a_text_adds_no_row() {
        let answer = json!({"acts": [{"number": 1, "reason": "typo\n2  now  root  discard"}]});
        let lines = audit(&answer);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");
    }

    #[test]
    fn a_withdrawal_lists_the_entries_that_are_in_flight() {
        let answer = json!({"parked": [1, 2], "in_flight": [3], "more": false});
        assert_eq!(
            change(&answer),
            [
                "2 parked",
                "unchanged, because requests of these customers are in progress (repeat the command): [3]",
            ]
        );
        let answer = json!({"discarded": [], "in_flight": [], "more": false});
        assert_eq!(change(&answer), ["0 discarded"]);
    }

    #[test]
    fn a_preview_lists_requests_results_and_rejected_entries() {
        let answer = json!({
            "would_replay": 4, "more": true, "next": 7,
            "requests": [{"customer": "C", "entries": [4], "facts": {"email": "•••", "phone": "•••"},
                "versions": {"email": {"value": 8}, "phone": {"value": 8}},
                "delivered": [{"field": "email", "version": {"value": 5, "arrival": 2},
                    "event": {"id": "e1", "source": "crm", "delivered_at": "T"}}]}],
            "results": [
                {"entry": 3, "status": "superseded", "superseded_by": 9, "overtaken": {"email": 9}},
                {"entry": 4, "status": "delivered", "overtaken": {"phone": 9}},
                {"entry": 6, "status": "parked", "parked": "version_jump", "overtaken": {}},
                {"entry": 7, "status": null, "overtaken": {}},
            ],
            "unmappable": [{"entry": 5, "faults": [{"pointer": "/a", "rule": "e164", "detail": "No."}]}],
        });
        assert_eq!(
            change(&answer),
            [
                "4 would be replayed",
                "request to customer C with the values of entries [4]:",
                "  email: ••• (version 8; Imprint has version 5 of entry 2, event e1 of crm, delivered at T)",
                "  phone: ••• (version 8; Imprint has nothing that the bridge knows)",
                "entry 3: superseded, nothing is sent, because entry 9 has newer values",
                "entry 4: phone is not sent, because entry 9 has a newer value",
                "entry 6: parked again, version_jump",
                "entry 7: the bridge must first ask Imprint about the customer, so the result is not known",
                "entry 5: the current mapping rejects its event (paths into the stored event, for plain JSON into its member data):",
                "  /a: No. (e164)",
                "the filter matches more entries than the preview shows, and a change without --limit takes them too",
            ]
        );
    }

    /// FAULTS N1156: the sentence about the bound is true for what the preview has shown.
    #[test]
    fn a_preview_names_its_bound_only_if_it_shows_all_entries() {
        let bound = "the preview shows entries accepted before T: the option --before T limits the change to them";
        let more = "the filter matches more entries than the preview shows, and a change without --limit takes them too";
        let after = "the filter matches more entries: the option --after 7 continues with them";
        for (member, as_of, next, expected) in [
            ("would_replay", json!("T"), Value::Null, Some(bound)),
            ("would_replay", json!("T"), json!(7), Some(more)),
            ("would_replay", Value::Null, Value::Null, None),
            ("replayed", json!("T"), json!(7), Some(after)),
            ("replayed", json!("T"), Value::Null, None),
        ] {
            let answer = json!({member: [], "as_of": as_of, "next": next});
            let lines = change(&answer);
            let line = lines.iter().find(|line| line.contains("the "));
            assert_eq!(line.map(String::as_str), expected, "{answer}");
        }
    }
}
