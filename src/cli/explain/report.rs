//! Formats an explanation of `explain` as text for people.

use crate::cli::error_groups::ErrorGroup;
use crate::cli::operator::table::{aligned, text};
use crate::intake::{
    EventExplanation, ExplainedOutcome, ExplainedProblem, Explanation, RequestExplanation,
    TargetExplanation, TargetResult,
};
use crate::terminal::printable;

/// The maximum width of the columns RESULT and READS, so that all columns fit into a wide terminal.
const CELL_CHARACTERS_MAX: usize = 48;
const HEAD: [&str; 4] = ["FIELD", "RESULT", "READS", "EXPRESSION"];

/// Formats the explanation of a request body, with one part for each event of the body.
pub(in crate::cli) fn body(explanation: &Explanation) -> Vec<String> {
    if let Some(outcome) = &explanation.outcome {
        let mut lines = vec![format!("the body: {}", summary(outcome))];
        lines.extend(details(outcome));
        return lines;
    }
    if explanation.events.is_empty() {
        return vec!["no events: nothing would be stored".to_owned()];
    }
    let mut lines: Vec<String> = explanation.events.iter().flat_map(event).collect();
    let left_out = Some(explanation.left_out.as_slice());
    let title = "in no event, because body.split does not copy it";
    lines.extend(list(title, left_out).map(|line| line.trim_start().to_owned()));
    lines
}

/// Formats the explanation of one event.
pub(super) fn event(event: &EventExplanation) -> Vec<String> {
    let name = match (&event.id, &event.event_type) {
        (Some(id), event_type) => format!("{id} ({})", event_type.as_deref().unwrap_or("-")),
        (None, _) => "the body".to_owned(),
    };
    let mut lines = vec![format!("{name}: {}", summary(&event.outcome))];
    lines.extend(details(&event.outcome));
    let targets = event.targets.as_deref().unwrap_or_default();
    let request = request_of(&event.outcome);
    if !targets.is_empty() {
        let head = HEAD.map(str::to_owned).to_vec();
        let rows: Vec<_> = std::iter::once(head)
            .chain(targets.iter().map(|target| row(target, request)))
            .collect();
        lines.extend(aligned(&rows).into_iter().map(|row| format!("  {row}")));
    }
    lines.extend(targets.iter().flat_map(remarks));
    let cleared = request.map(|request| request.cleared.as_slice());
    lines.extend(list("cleared by the source", cleared));
    let skipped = request.map(|request| request.skipped.as_slice());
    lines.extend(list("skipped, because the value is invalid", skipped));
    lines.extend(list("not read", event.unused.as_deref()));
    lines
}

fn summary(outcome: &ExplainedOutcome) -> String {
    match outcome {
        ExplainedOutcome::Refused { problem } => format!("refused, {}", problem.class),
        ExplainedOutcome::Invalid { problem } => {
            format!("parked, because the event is invalid ({})", problem.class)
        }
        ExplainedOutcome::Ignored { reason } => {
            format!("ignored: accepted, and nothing is sent ({reason})")
        }
        ExplainedOutcome::Request(request) if request.is_nothing() => "nothing to send".to_owned(),
        ExplainedOutcome::Request(_) => "request".to_owned(),
        ExplainedOutcome::Parked { reason, .. } => format!("parked, {reason}"),
    }
}

/// Lists the errors of a refused event.
///
/// For an accepted event, names the path of the request, or the partner customer id if the path is not known.
fn details(outcome: &ExplainedOutcome) -> Vec<String> {
    match outcome {
        ExplainedOutcome::Refused { problem } | ExplainedOutcome::Invalid { problem } => {
            errors(problem)
        }
        ExplainedOutcome::Ignored { .. } => Vec::new(),
        ExplainedOutcome::Request(request) | ExplainedOutcome::Parked { request, .. } => {
            vec![destination(request)]
        }
    }
}

const fn request_of(outcome: &ExplainedOutcome) -> Option<&RequestExplanation> {
    match outcome {
        ExplainedOutcome::Request(request) | ExplainedOutcome::Parked { request, .. } => {
            Some(request)
        }
        ExplainedOutcome::Refused { .. }
        | ExplainedOutcome::Invalid { .. }
        | ExplainedOutcome::Ignored { .. } => None,
    }
}

fn errors(problem: &ExplainedProblem) -> Vec<String> {
    let groups = ErrorGroup::all(&problem.errors);
    groups.iter().map(|group| format!("  {group}")).collect()
}

fn destination(request: &RequestExplanation) -> String {
    let preview = &request.request;
    let call = preview.method.as_ref().zip(preview.path.as_ref());
    let call = call.map(|(method, path)| format!("{method} {path}"));
    let to = match (call, preview.partner_id.as_deref()) {
        (None, partner_id) => format!(
            "the customer whose partner customer id is {}",
            partner_id.unwrap_or("-")
        ),
        (Some(call), None) => call,
        (Some(call), Some(partner_id)) => {
            format!("{call}, if its partner customer id is {partner_id}")
        }
    };
    let version = request.version;
    format!(
        "  to {to}; version {}, epoch {}",
        version.value, version.epoch
    )
}

fn row(target: &TargetExplanation, request: Option<&RequestExplanation>) -> Vec<String> {
    let omitted = request.and_then(|request| request.omitted.get(&target.target));
    let result = match (&target.result, omitted) {
        (TargetResult::Absent, _) => "(absent)".to_owned(),
        // The column becomes wider for this reason, because the reason is important.
        (TargetResult::Cleared, Some(reason)) => {
            format!("(cleared: nothing is sent, because {})", printable(reason))
        }
        (TargetResult::Cleared, None) => "(cleared)".to_owned(),
        (TargetResult::Value { value }, _) => shortened(&text(value)),
        (TargetResult::Skipped { error }, _) => shortened(&format!("skipped: {}", error.detail)),
        (TargetResult::Refused { error }, _) => shortened(&format!("refused: {}", error.detail)),
    };
    let stale = if target.is_stale == Some(true) {
        ", stale"
    } else {
        ""
    };
    let unchanged = if target.is_unchanged {
        ", unchanged"
    } else {
        ""
    };
    let held_back = if target.is_held_back {
        ", held back"
    } else {
        ""
    };
    let assumed = if target.is_assumed {
        " (absent counts as null)"
    } else {
        ""
    };
    let interpreted = if target.is_interpreted { " (jq)" } else { "" };
    vec![
        target.target.clone(),
        format!("{result}{assumed}{unchanged}{held_back}{stale}"),
        shortened_list(&target.reads),
        format!("{}{interpreted}", in_one_line(&target.expression)),
    ]
}

/// Returns the lines about a rule that do not fit into the table: the whole error, and the note about the value.
fn remarks(target: &TargetExplanation) -> Vec<String> {
    let error = match &target.result {
        TargetResult::Skipped { error } | TargetResult::Refused { error } => Some(&error.detail),
        TargetResult::Absent | TargetResult::Cleared | TargetResult::Value { .. } => None,
    };
    let remarks = error.into_iter().chain(&target.note);
    remarks
        .map(|remark| format!("  {}: {}", target.target, printable(remark)))
        .collect()
}

/// Shortens a text to the maximum width of a column. With `--json`, the command prints the whole text.
fn shortened(cell: &str) -> String {
    let cell = printable(cell);
    match cell.char_indices().nth(CELL_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", cell.get(..end).unwrap_or_default()),
        None => cell,
    }
}

/// Joins places to the maximum width of a column, without a part of a place.
fn shortened_list(places: &[String]) -> String {
    let mut cell = String::new();
    for (shown, place) in places.iter().enumerate() {
        let place = printable(place);
        let is_too_long = cell.chars().count() + place.chars().count() >= CELL_CHARACTERS_MAX;
        if shown > 0 && is_too_long {
            return format!("{cell} and {} more", places.len() - shown);
        }
        if shown > 0 {
            cell.push(' ');
        }
        cell.push_str(&place);
    }
    shortened(&cell)
}

fn list(title: &str, items: Option<&[String]>) -> Option<String> {
    let items = items.filter(|items| !items.is_empty())?;
    Some(format!("  {title}: {}", items.join(", ")))
}

/// Returns an expression without line breaks.
pub(in crate::cli) fn in_one_line(expression: &str) -> String {
    let lines: Vec<&str> = expression.lines().map(str::trim).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N677: a list of places never ends inside a place.
    #[test]
    fn a_long_list_of_places_ends_with_their_number() {
        let places: Vec<String> = (0..9)
            .map(|number| format!("/customFields/{number}"))
            .collect();
        let cell = shortened_list(&places);
        assert_eq!(
            cell,
            "/customFields/0 /customFields/1 /customFields/2 and 6 more"
        );
        assert_eq!(
            shortened_list(places.get(..2).unwrap()),
            "/customFields/0 /customFields/1"
        );
        assert_eq!(shortened_list(&[]), "");
        assert!(shortened_list(&["x".repeat(60)]).ends_with('…'));
    }
}
