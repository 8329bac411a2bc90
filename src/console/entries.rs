//! The list of entries: a filter, one page of entries, the newest first, and the choice of entries for a change.

use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use askama::Template;

use super::Console;
use super::change_form::{ChangeAction, ChosenEntries};
use super::entry_filter::{FilterFields, UNDECIDED_STATES};
use super::entry_row::{EntryText, spaced};
use super::page::{Frame, PageResult, Section, html};
use super::visitor::Visitor;
use super::words::grouped;
use crate::metrics::StoreSnapshot;
use crate::ops::operate::{Operations, Role};
use crate::ops::{AdminProblem, Figures};
use crate::outbox::{EntryPage, ParkReason, State};

#[derive(Template)]
#[template(path = "entries.html", config = "src/console/askama.toml")]
struct EntriesPage {
    frame: Frame,
    tabs: Vec<StateTab>,
    fields: FilterFields,
    reasons: Vec<ReasonChoice>,
    rows: Vec<EntryText>,
    /// The path of this page. A change leads back to it.
    path: String,
    first_path: Option<String>,
    next_path: Option<String>,
    /// The same entries in the other order.
    other_order_path: String,
    /// The actions on chosen entries. Only an operator who may change entries has some.
    actions: Vec<ChangeAction>,
    /// The actions on all entries that match.
    matching_actions: Vec<ChangeAction>,
    /// What is wrong with the filter.
    error: Option<String>,
}

/// A link to the entries in some states.
struct StateTab {
    title: &'static str,
    /// The number of entries in these states, without the filter. Only for states whose number is known without a search.
    count: Option<String>,
    path: String,
    is_current: bool,
}

/// A reason for parking in the filter.
struct ReasonChoice {
    name: &'static str,
    title: String,
    is_chosen: bool,
}

/// The links to states: the title, and the states of the filter.
const TABS: [(&str, &str); 7] = [
    ("Needs a decision", UNDECIDED_STATES),
    ("Waiting", "waiting"),
    ("Delivered", "delivered"),
    ("Superseded", "superseded"),
    ("Ignored", "ignored"),
    ("Discarded", "discarded"),
    ("All", "all"),
];

/// Answers `GET /entries`.
pub(super) async fn list(
    visitor: Visitor,
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    figures: web::Data<Figures>,
    request: HttpRequest,
) -> PageResult {
    let fields = FilterFields::parse(request.query_string())?;
    let (listed, problem) = match fields.filter() {
        Ok(filter) => (operations.list(visitor.operator(), filter).await?, None),
        Err(problem) => (EntryPage::default(), Some(problem)),
    };
    let now = operations.clock.now();
    let is_first = fields.after.is_empty();
    let actions = match visitor.may(Role::Operator) {
        true => match fields.state.as_str() {
            "held" => ChangeAction::of_state(State::Held).collect(),
            _ => Vec::from(ChangeAction::MIXED),
        },
        false => Vec::new(),
    };
    let template = EntriesPage {
        frame: console.frame(&visitor, Section::Entries, &operations).await,
        tabs: tabs(&fields, figures.snapshot().await.store),
        reasons: reasons(&fields),
        rows: listed
            .entries
            .iter()
            .map(|entry| EntryText::of(entry, now))
            .collect(),
        path: fields.path(),
        first_path: (!is_first).then(|| fields.after(None).path()),
        next_path: listed.next.map(|next| fields.after(Some(next.0)).path()),
        other_order_path: match fields.is_oldest_first() {
            true => fields.with_order(""),
            false => fields.with_order("oldest"),
        }
        .path(),
        matching_actions: actions
            .iter()
            .copied()
            .filter(|action| accepts(&fields, *action))
            .collect(),
        actions,
        error: problem.as_ref().map(AdminProblem::to_string),
        fields,
    };
    let mut answer = match problem {
        None => HttpResponse::Ok(),
        Some(problem) => HttpResponse::build(problem.status_code()),
    };
    Ok(html(&mut answer, template.render()?))
}

/// Returns whether an action accepts all entries that match a filter.
fn accepts(fields: &FilterFields, action: ChangeAction) -> bool {
    let selection = ChosenEntries::Matching(Box::new(fields.clone())).selection();
    selection.is_ok_and(|selection| selection.is_accepted(action.accepted()))
}

/// Returns the states of the tab to which the states of a filter belong: the same states, otherwise all states of the filter
/// and more.
fn tab_of(states: &str) -> Option<&'static str> {
    let tabs = || TABS.into_iter().map(|(_, tab)| tab);
    let has_all = |tab: &&str| {
        let mut states = states.split(',');
        states.all(|state| tab.split(',').any(|other| other == state))
    };
    tabs()
        .find(|tab| *tab == states)
        .or_else(|| tabs().find(has_all))
}

fn tabs(fields: &FilterFields, store: StoreSnapshot) -> Vec<StateTab> {
    let count = |states| match states {
        UNDECIDED_STATES => Some(store.parked + store.undecided + store.held),
        "waiting" => Some(store.waiting),
        _ => None,
    };
    let current = tab_of(&fields.state);
    let tabs = TABS.into_iter().map(|(title, states)| StateTab {
        title,
        count: count(states).filter(|count| *count > 0).map(grouped),
        path: fields.with_states(states).path(),
        is_current: Some(states) == current,
    });
    tabs.collect()
}

fn reasons(fields: &FilterFields) -> Vec<ReasonChoice> {
    let reasons = ParkReason::ALL.into_iter().map(|reason| ReasonChoice {
        name: reason.as_str(),
        title: spaced(reason.as_str()),
        is_chosen: fields.reason == reason.as_str(),
    });
    reasons.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1313: no tab was marked beside a filter of the page Problems.
    #[test]
    fn a_filter_belongs_to_a_tab() {
        for (states, tab) in [
            ("waiting", Some("waiting")),
            ("all", Some("all")),
            ("held", Some(UNDECIDED_STATES)),
            ("parked,undecided", Some(UNDECIDED_STATES)),
            ("waiting,parked", None),
        ] {
            assert_eq!(tab_of(states), tab, "{states}");
        }
    }
}
