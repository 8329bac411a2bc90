//! The problems: the entries that wait for an operator, grouped into cases with the same cause.

use actix_web::web;
use askama::Template;

use super::Console;
use super::case_hint::{CaseHint, HINTS_MAX};
use super::change_form::ChangeAction;
use super::entry_filter::FilterFields;
use super::entry_row::StateText;
use super::mass_change::MassChangeText;
use super::page::{Frame, PageResult, Section, page};
use super::problem_clause::title;
use super::visitor::Visitor;
use super::words::{TimeText, counted, grouped, length};
use crate::ops::operate::{CASE_STATES, Case, CaseError, HeldSource, Operations, Role};
use crate::outbox::{EntryId, State};
use crate::time::Timestamp;

#[derive(Template)]
#[template(path = "problems.html", config = "src/console/askama.toml")]
struct ProblemsPage {
    frame: Frame,
    cases: Vec<CaseText>,
    /// The number of the newest entries that the cases contain. `None` if they contain all entries.
    newest: Option<String>,
    /// The number of older cases that the page leaves out.
    left_out: Option<String>,
}

/// A case as the page shows it.
struct CaseText {
    title: String,
    state: StateText,
    is_held: bool,
    source: String,
    event_type: String,
    /// The path of the source file.
    file: String,
    /// Imprint's answer.
    detail: Option<String>,
    error: Option<CaseError>,
    entries: String,
    customers: String,
    first: TimeText,
    last: TimeText,
    /// The list of the entries with this state and reason.
    path: String,
    /// The numbers of the entries that the actions change, for the form.
    numbers: String,
    /// The try-out with the newest entry.
    try_path: Option<String>,
    actions: Vec<ChangeAction>,
    /// What the actions change, if they do not change all entries of the case.
    changes: Option<String>,
    /// The mapping of the field whose values Imprint rejects.
    hint: Option<CaseHint>,
    /// What the brake knows of the mass changes, if the entries are held.
    mass_changes: Vec<MassChangeText>,
    /// The commands with which an operator corrects the events of the case by hand, if the entries are parked.
    correct: Option<String>,
    /// True if the store has no update of the entries, so that a replay must map the events.
    is_unmapped: bool,
}

/// Answers `GET /problems`.
pub(super) async fn list(
    visitor: Visitor,
    console: web::Data<Console>,
    operations: web::Data<Operations>,
) -> PageResult {
    let listed = operations.cases(visitor.operator()).await?;
    let held = operations.held_sources(visitor.operator(), &listed);
    let now = operations.clock.now();
    let may_change = visitor.may(Role::Operator);
    let mut cases = Vec::new();
    for case in listed.cases {
        let hint = match cases.len() < HINTS_MAX {
            true => CaseHint::find(&operations, visitor.operator(), &case).await,
            false => None,
        };
        let text = CaseText::of(case, may_change, now).with_mass_changes(&held, now);
        let file = console.source_path(&text.source);
        cases.push(CaseText { hint, file, ..text });
    }
    page(&ProblemsPage {
        frame: console
            .frame(&visitor, Section::Problems, &operations)
            .await,
        cases,
        left_out: (listed.left_out > 0)
            .then(|| counted(listed.left_out, ["older case", "older cases"])),
        newest: listed.has_more.then(|| grouped(listed.entries)),
    })
}

impl CaseText {
    fn of(case: Case, may_change: bool, now: Timestamp) -> Self {
        let cause = case.cause;
        let mut states = CASE_STATES.into_iter();
        let state = states.find(|state| state.as_str() == cause.state);
        let state = state.unwrap_or(State::Parked);
        let fields = FilterFields {
            state: cause.state.to_owned(),
            source: cause.source.as_str().to_owned(),
            r#type: cause.event_type.as_str().to_owned(),
            reason: cause.reason.unwrap_or_default().to_owned(),
            ..FilterFields::default()
        };
        let actions = ChangeAction::of_state(state).filter(|_| may_change);
        let changed = length(&case.newest);
        Self {
            title: title(cause.state, cause.reason),
            state: StateText::of(state),
            is_held: state == State::Held,
            source: fields.source.clone(),
            event_type: fields.r#type.clone(),
            file: String::new(),
            detail: cause.detail,
            is_unmapped: cause.error.is_some(),
            error: cause.error,
            entries: counted(case.entries, ["entry", "entries"]),
            customers: match case.customers {
                0 => "no known customer".to_owned(),
                number => counted(number, ["customer", "customers"]),
            },
            first: TimeText::of(case.first, now),
            last: TimeText::of(case.last, now),
            path: fields.path(),
            changes: (changed < case.entries)
                .then(|| format!("The newest {}:", counted(changed, ["entry", "entries"]))),
            try_path: case
                .newest
                .iter()
                .map(|entry| entry.0)
                .max()
                .map(|entry| format!("/sources/{}/try?entry={entry}", fields.source)),
            numbers: numbers(&case.newest),
            actions: actions.collect(),
            hint: None,
            correct: (state == State::Parked).then(|| corrections(&fields)),
            mass_changes: Vec::new(),
        }
    }

    fn with_mass_changes(self, held: &[HeldSource], now: Timestamp) -> Self {
        let mut held = held.iter();
        let held = held.find(|held| held.source == self.source && self.is_held);
        let mass_changes = held.map(|held| MassChangeText::of_source(held, now));
        Self {
            mass_changes: mass_changes.unwrap_or_default(),
            ..self
        }
    }
}

/// Returns the commands that print the events of a case and send the corrected ones. The type of the event is no part of them:
/// a sender chooses it, and a person copies the line into a shell.
fn corrections(case: &FilterFields) -> String {
    format!(
        "imprint-bridge parked --events --source {} --parked-for {} --token-file TOKEN > events.ndjson\nimprint-bridge correct events.ndjson --preview --token-file TOKEN",
        case.source, case.reason
    )
}

fn numbers(entries: &[EntryId]) -> String {
    let numbers: Vec<String> = entries.iter().map(EntryId::to_string).collect();
    numbers.join(",")
}
