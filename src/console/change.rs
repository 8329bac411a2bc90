//! The change of entries in two steps: a page shows what would happen, and its form then changes exactly these entries.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use actix_web::web;
use askama::Template;

use super::Console;
use super::change_form::{Change, ChangeAction, ChosenEntries};
use super::entry_row::CustomerText;
use super::entry_text::{RequestText, ResultText, UnchangedText, UnmappableText, numbers};
use super::form::Form;
use super::mass_change::{MassChangeText, WrittenFields, release_effects};
use super::page::{Frame, PageResult, Section, page};
use super::rejected_again::{RejectedText, results};
use super::result::result_path;
use super::visitor::Visitor;
use super::words::{counted, grouped, length};
use crate::ops::AdminProblem;
use crate::ops::operate::{
    CHANGE_ENTRIES_MAX, MappingChoice, ORIGIN_CUSTOMERS_MAX, Operations, ReplayedRequest, Role,
    ValueView, WithdrawAction,
};
use crate::outbox::{EntryId, State};

/// The maximum number of requests on the page of a preview: for their customers, the preview names the delivered events.
const REQUESTS_MAX: usize = ORIGIN_CUSTOMERS_MAX;

/// The results of a change, or the results that it would have.
#[derive(Default)]
struct ChangeOutcome {
    /// The number of entries that the change changes.
    changed: usize,
    requests: Vec<RequestText>,
    written: WrittenFields,
    results: Vec<ResultText>,
    /// The entries of a replay whose stored values Imprint has rejected.
    rejected: RejectedText,
    unmappable: Vec<UnmappableText>,
    unchanged: Vec<UnchangedText>,
    /// The entries that a request in progress possibly has.
    in_flight: Vec<u64>,
    /// True if the filter matches more entries than one change can have.
    has_more: bool,
}

impl ChangeOutcome {
    fn changed_text(&self) -> String {
        let count = u64::try_from(self.changed).unwrap_or(u64::MAX);
        counted(count, ["entry", "entries"])
    }

    /// Returns how many entries would get which result. `None` if a table of few entries shows it.
    fn summary(&self) -> Option<String> {
        if self.results.len() <= 3 {
            return None;
        }
        let mut states: BTreeMap<&str, u64> = BTreeMap::new();
        for result in &self.results {
            *states.entry(result.word()).or_default() += 1;
        }
        let mut states: Vec<(&str, u64)> = states.into_iter().collect();
        states.sort_by_key(|(_, entries)| Reverse(*entries));
        let states = states.into_iter();
        let parts = states.map(|(word, entries)| format!("{} {word}", grouped(entries)));
        let parts: Vec<String> = parts.collect();
        Some(format!("Expected: {}.", parts.join(", ")))
    }

    fn requests_text(&self) -> String {
        let count = length(&self.requests);
        let requests = counted(count, ["request", "requests"]);
        match self.requests.len() > REQUESTS_MAX {
            true => format!("{requests}, the first {REQUESTS_MAX} here"),
            false => requests,
        }
    }

    fn shown_requests(&self) -> impl Iterator<Item = &RequestText> {
        self.requests.iter().take(REQUESTS_MAX)
    }

    /// Returns the numbers of all entries.
    fn numbers(&self) -> Vec<u64> {
        let results = self.results.iter().map(|result| result.entry);
        let unmappable = self.unmappable.iter().map(|unmappable| unmappable.entry);
        let unchanged = self.unchanged.iter().map(|unchanged| unchanged.entry);
        let mut numbers: Vec<u64> = results.chain(unmappable).chain(unchanged).collect();
        numbers.sort_unstable();
        numbers
    }
}

#[derive(Template)]
#[template(path = "preview.html", config = "src/console/askama.toml")]
struct PreviewPage {
    frame: Frame,
    action: ChangeAction,
    /// The entries of the preview. The form changes these entries only, and not entries that match the filter later.
    numbers: Vec<u64>,
    is_current_mapping: bool,
    /// What the brakes know of the mass changes to which the entries belong.
    mass_changes: Vec<MassChangeText>,
    /// What a release of the mass changes does at Imprint.
    effects: Vec<String>,
    back: String,
    outcome: ChangeOutcome,
    entries_max: usize,
}

/// Answers `POST /entries/preview`.
pub(super) async fn preview(
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    form: Form<Vec<(String, String)>>,
) -> PageResult {
    let Form { visitor, fields } = form;
    visitor.operator().require(Role::Operator)?;
    let change = Change::parse(fields)?;
    let (mapping, outcome) = forecast_with_mapping(&visitor, &operations, &change).await?;
    let numbers = match &change.entries {
        ChosenEntries::Numbers(entries) => numbers(entries),
        ChosenEntries::Matching(_) => outcome.numbers(),
    };
    let now = operations.clock.now();
    let chosen = numbers.iter().copied().map(EntryId).collect();
    let held = operations.held_sources_of(visitor.operator(), chosen);
    let held = held.await?;
    let mass_changes = held
        .iter()
        .flat_map(|held| MassChangeText::of_source(held, now));
    page(&PreviewPage {
        frame: console.frame(&visitor, Section::Entries, &operations).await,
        action: change.action,
        effects: release_effects(&held, &outcome.written),
        mass_changes: mass_changes.collect(),
        numbers,
        is_current_mapping: mapping == MappingChoice::Current,
        back: change.back,
        outcome,
        entries_max: CHANGE_ENTRIES_MAX,
    })
}

/// Returns, for each field, the customers whose field the requests set or clear.
fn written(requests: &[ReplayedRequest]) -> WrittenFields {
    let mut written = WrittenFields::new();
    for request in requests {
        let customer = CustomerText::of(&request.customer).id;
        for field in &request.fields {
            let customers = written.entry(field.view.field.to_string()).or_default();
            match field.view.value {
                ValueView::Set(_) => customers.set.insert(customer.clone()),
                ValueView::Cleared => customers.cleared.insert(customer.clone()),
                ValueView::Omitted(_) => false,
            };
        }
    }
    written
}

/// Returns the outcome that a change would have, and the mapping of a replay.
///
/// If the form chooses no mapping, a replay sends the stored values. If Imprint has rejected them for all entries, the
/// replay maps the events again: Imprint would probably reject the same values again.
async fn forecast_with_mapping(
    visitor: &Visitor,
    operations: &Operations,
    change: &Change,
) -> Result<(MappingChoice, ChangeOutcome), AdminProblem> {
    let mapping = change.mapping.unwrap_or(MappingChoice::Stored);
    let outcome = forecast(visitor, operations, (change, mapping)).await?;
    let is_rejected = outcome.rejected.entries == outcome.changed && outcome.changed > 0;
    if change.mapping.is_some() || !is_rejected {
        return Ok((mapping, outcome));
    }
    let mapping = MappingChoice::Current;
    let outcome = forecast(visitor, operations, (change, mapping)).await?;
    Ok((mapping, outcome))
}

/// Returns the outcome that a change would have.
async fn forecast(
    visitor: &Visitor,
    operations: &Operations,
    (change, mapping): (&Change, MappingChoice),
) -> Result<ChangeOutcome, AdminProblem> {
    let (operator, selection) = (visitor.operator(), change.selection()?);
    let now = operations.clock.now();
    Ok(match change.action {
        ChangeAction::Replay | ChangeAction::Release => {
            let preview = operations.preview_replay(operator, selection, mapping);
            let preview = preview.await?;
            ChangeOutcome {
                changed: preview.entries.len(),
                results: results(&preview),
                rejected: RejectedText::of(&preview.rejected),
                written: written(&preview.requests),
                requests: preview
                    .requests
                    .into_iter()
                    .map(|request| RequestText::of(request, now))
                    .collect(),
                unmappable: preview.unmappable.iter().map(UnmappableText::of).collect(),
                unchanged: preview.unchanged.iter().map(UnchangedText::of).collect(),
                has_more: preview.coverage.next.is_some(),
                ..ChangeOutcome::default()
            }
        }
        ChangeAction::Withdraw(action) => {
            let preview = operations.preview_withdrawal(operator, action, selection);
            let preview = preview.await?;
            let results = preview.entries.iter();
            let results = results.map(|entry| ResultText::in_state(*entry, state(action)));
            ChangeOutcome {
                changed: preview.entries.len(),
                results: results.collect(),
                unchanged: preview.unchanged.iter().map(UnchangedText::of).collect(),
                has_more: preview.coverage.next.is_some(),
                ..ChangeOutcome::default()
            }
        }
    })
}

#[derive(Template)]
#[template(path = "changed.html", config = "src/console/askama.toml")]
struct ChangedPage {
    frame: Frame,
    action: ChangeAction,
    back: String,
    outcome: ChangeOutcome,
    /// The page with the present states of the changed entries.
    result: String,
}

/// Answers `POST /entries/change`.
pub(super) async fn apply(
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    form: Form<Vec<(String, String)>>,
) -> PageResult {
    let Form { visitor, fields } = form;
    let change = Change::parse(fields)?;
    let (action, back) = (change.action, change.back.clone());
    let outcome = change_entries(&visitor, &operations, change).await?;
    let changed: Vec<u64> = outcome.results.iter().map(|result| result.entry).collect();
    page(&ChangedPage {
        frame: console.frame(&visitor, Section::Entries, &operations).await,
        action,
        back,
        result: result_path(&changed),
        outcome,
    })
}

async fn change_entries(
    visitor: &Visitor,
    operations: &Operations,
    change: Change,
) -> Result<ChangeOutcome, AdminProblem> {
    let (operator, selection) = (visitor.operator(), change.selection()?);
    Ok(match change.action {
        ChangeAction::Replay | ChangeAction::Release => {
            let mapping = change.mapping.unwrap_or(MappingChoice::Stored);
            let replayed = operations.replay(operator, selection, mapping, change.reason);
            let replayed = replayed.await?;
            let waiting = replayed.entries.iter();
            let waiting = waiting.map(|entry| ResultText::in_state(*entry, State::Waiting));
            let ignored = replayed.ignored.iter().map(ResultText::ignored);
            let results: Vec<ResultText> = waiting.chain(ignored).collect();
            ChangeOutcome {
                changed: results.len(),
                results,
                unmappable: replayed.unmappable.iter().map(UnmappableText::of).collect(),
                unchanged: replayed.unchanged.iter().map(UnchangedText::of).collect(),
                has_more: replayed.coverage.next.is_some(),
                ..ChangeOutcome::default()
            }
        }
        ChangeAction::Withdraw(action) => {
            let report = operations.withdraw(operator, action, selection, change.reason);
            let report = report.await?;
            let results = report.withdrawn.entries.iter();
            let results = results.map(|entry| ResultText::in_state(*entry, state(action)));
            ChangeOutcome {
                changed: report.withdrawn.entries.len(),
                results: results.collect(),
                in_flight: numbers(&report.withdrawn.in_flight),
                unchanged: report.unchanged.iter().map(UnchangedText::of).collect(),
                has_more: report.coverage.next.is_some(),
                ..ChangeOutcome::default()
            }
        }
    })
}

/// Returns the state of the entries after a withdrawal.
const fn state(action: WithdrawAction) -> State {
    match action {
        WithdrawAction::Discard => State::Discarded,
        WithdrawAction::Park => State::Parked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imprint::{Field, ImprintId};
    use crate::ops::operate::{FieldView, ReplayedField};
    use crate::outbox::LaneKey;

    /// FAULTS N1311: the page gave one number for the customers whose field is cleared and for those whose field is set.
    #[test]
    fn the_customers_of_a_field_are_told_apart_by_what_requests_do() {
        let request = |customer: &str, value: ValueView| ReplayedRequest {
            customer: LaneKey::Imprint(ImprintId::parse(customer).unwrap()),
            entries: Vec::new(),
            fields: vec![ReplayedField {
                view: FieldView {
                    field: Field::parse("phone").unwrap(),
                    value,
                },
                version: None,
                delivered: None,
            }],
        };
        let written = written(&[
            request("c-1", ValueView::Set("+1".into())),
            request("c-2", ValueView::Set("+2".into())),
            request("c-2", ValueView::Set("+3".into())),
            request("c-3", ValueView::Cleared),
            request("c-4", ValueView::Omitted("imprint keeps it")),
        ]);
        let phone = &written["phone"];
        let ids = |customers: &std::collections::BTreeSet<String>| {
            customers.iter().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            (ids(&phone.set), ids(&phone.cleared)),
            ("c-1 c-2".to_owned(), "c-3".to_owned())
        );
    }
}
