//! The overview: one sentence about the state of the bridge, and what needs an operator.

use std::time::Duration;

use actix_web::web;
use askama::Template;

use super::Console;
use super::chart::Chart;
use super::field_drift::{by_source, drifted_fields, vanished};
use super::page::{Frame, PageResult, Section, page};
use super::sentence::{Sentence, sentence};
use super::situation::{Refusals, denied_rows, refusals};
use super::visitor::Visitor;
use super::words::{TimeText, capitalized, counted, grouped, span_text};
use crate::metrics::{MetricsSnapshot, StoreSnapshot};
use crate::notices::{DriftedField, SilentSource};
use crate::ops::Figures;
use crate::ops::history::History;
use crate::ops::operate::{Operations, RefusedSet};
use crate::time::Timestamp;

/// The age of the oldest waiting entry from which the overview forecasts when nothing waits any more.
const BACKLOG_MIN: Duration = Duration::from_mins(1);

/// The maximum number of notes of one kind about sources.
const NOTES_MAX: usize = 5;

#[derive(Template)]
#[template(path = "overview.html", config = "src/console/askama.toml")]
struct OverviewPage {
    frame: Frame,
    sentence: Sentence,
    /// What needs an operator. A healthy bridge has nothing here.
    notes: Vec<Note>,
    counts: Vec<Count>,
    charts: [Chart; 3],
    /// The protections that are switched off: the name in the metric `weakened`, and a sentence.
    weakenings: Vec<(&'static str, String)>,
    last_delivery: Option<TimeText>,
    version: &'static str,
}

/// One thing that needs an operator.
struct Note {
    count: Option<String>,
    text: String,
    /// The page on which the operator acts.
    path: &'static str,
    link: &'static str,
}

/// A number with its name.
struct Count {
    name: &'static str,
    value: String,
    detail: String,
    /// The page with the entries.
    path: String,
}

/// Answers `GET /`.
pub(super) async fn show(
    visitor: Visitor,
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    figures: web::Data<Figures>,
) -> PageResult {
    let operator = visitor.operator();
    let history = figures.history();
    let drifted = figures.findings().drifted;
    let figures = figures.snapshot().await;
    let situation = console.situation(&operations, operator, &figures).await;
    let now = situation.now;
    let set = operations.source_set(operator);
    let drifted = drifted_fields(drifted, &set.names);
    let last_delivery = figures.dispatch.last_delivered_at_seconds;
    let last_delivery = last_delivery.map(|at| Timestamp::from_millis(at.saturating_mul(1000)));
    let sentence = sentence(&situation);
    let weakenings = operations.weakenings(operator);
    let explain = |name| (name, capitalized((console.explain_weakening)(name)));
    let mut notes = notes(
        &figures.store,
        &refusals(denied_rows(&operations, operator), now),
        (set.refused.as_ref(), now),
    );
    notes.extend(source_notes(&situation.silent, &drifted, now));
    page(&OverviewPage {
        frame: Frame::new(&visitor, &console, Section::Overview, now).entitled(&sentence),
        sentence,
        notes,
        counts: counts(&figures, &history),
        charts: charts(&history),
        weakenings: weakenings.into_iter().map(explain).collect(),
        last_delivery: last_delivery.map(|at| TimeText::of(at, now)),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Returns the note about the refused requests of a source.
fn refusal_note(refusals: &Refusals, now: Timestamp) -> Note {
    Note {
        count: Some(grouped(refusals.count)),
        text: format!(
            "errors in refused requests of the source {} since the start, the latest {}: {}",
            refusals.source,
            TimeText::of(refusals.last, now).relative,
            refusals.detail
        ),
        path: "/sources",
        link: "Look at the reasons",
    }
}

/// Returns the notes about the events of sources: those that do not come, and those without the values of before.
fn source_notes(silent: &[SilentSource], drifted: &[DriftedField], now: Timestamp) -> Vec<Note> {
    let note = |text, link| Note {
        count: None,
        text,
        path: "/sources",
        link,
    };
    let silent = silent.iter().take(NOTES_MAX).map(|silent| {
        let since = TimeText::since(silent.since, now);
        let text = format!(
            "The bridge has accepted no event of the source {} since {since}.",
            silent.source
        );
        note(text, "Look at the source")
    });
    let drifted = by_source(drifted).into_iter().take(NOTES_MAX);
    let drifted =
        drifted.map(|(source, fields)| note(vanished(source, fields), "Look at the fields"));
    silent.chain(drifted).collect()
}

fn charts(history: &History) -> [Chart; 3] {
    [
        Chart::of("Accepted", history, |totals| totals.accepted),
        Chart::of("Delivered", history, |totals| totals.delivered),
        Chart::of("Parked", history, |totals| totals.parked),
    ]
}

/// Returns the time after which nothing waits any more, if entries go on to end faster than new entries come.
fn until_empty(waiting: u64, history: &History) -> Option<Duration> {
    let ended = history.tenths_per_minute(|totals| totals.ended)?;
    let accepted = history.tenths_per_minute(|totals| totals.accepted)?;
    let tenths = ended.saturating_sub(accepted);
    let seconds = waiting.saturating_mul(600).checked_div(tenths)?;
    Some(Duration::from_secs(seconds))
}

/// Says how long the oldest entry waits, and when nothing waits any more.
fn oldest_waiting(store: &StoreSnapshot, history: &History) -> String {
    let until_empty = until_empty(store.waiting, history);
    // A queue that empties all the time needs no forecast.
    let until_empty = until_empty.filter(|_| store.oldest_waiting >= BACKLOG_MIN);
    match (store.waiting, until_empty) {
        (0, _) => String::new(),
        (_, None) => format!("the oldest for {}", span_text(store.oldest_waiting)),
        (_, Some(span)) => format!(
            "the oldest for {}; none in about {} at the present rate",
            span_text(store.oldest_waiting),
            span_text(span)
        ),
    }
}

/// Says how many applied requests have brought the delivered entries.
fn requests_text(applied: Option<u64>) -> String {
    match applied.unwrap_or_default() {
        0 => "entries since the start".to_owned(),
        requests => format!(
            "entries since the start, with {}",
            counted(requests, ["request", "requests"])
        ),
    }
}

fn counts(figures: &MetricsSnapshot, history: &History) -> Vec<Count> {
    let store = &figures.store;
    let oldest = oldest_waiting(store, history);
    let ended = |state| figures.dispatch.ended.get(state).copied();
    let ended = |state| ended(state).unwrap_or_default();
    let parked = store.parked.saturating_add(store.undecided);
    let refused = figures.ingress.rejected.values().sum();
    let ignored = figures.ingress.ignored.values().sum();
    let requests = requests_text(figures.dispatch.attempts.get("applied").copied());
    let counts = [
        ("Waiting", store.waiting, oldest.as_str(), "waiting"),
        ("Held", store.held, "entries of mass changes", ""),
        ("Parked", parked, "entries that need a decision", ""),
        (
            "Accepted",
            figures.ingress.accepted,
            "events since the start",
            "all",
        ),
        (
            "Delivered",
            ended("delivered"),
            requests.as_str(),
            "delivered",
        ),
        (
            "Superseded",
            ended("superseded"),
            "entries with older values, since the start",
            "superseded",
        ),
        (
            "Ignored",
            ignored,
            "entries that send nothing, since the start",
            "ignored",
        ),
        ("Refused", refused, "requests since the start", "refused"),
    ];
    let counts = counts.map(|(name, value, detail, state)| Count {
        name,
        value: grouped(value),
        detail: detail.to_owned(),
        path: match state {
            "" => "/problems".to_owned(),
            "refused" => "/sources#refusals".to_owned(),
            state => format!("/entries?state={state}"),
        },
    });
    Vec::from(counts)
}

/// Returns what needs an operator, the most urgent first.
fn notes(
    store: &StoreSnapshot,
    refusals: &[Refusals],
    (refused, now): (Option<&RefusedSet>, Timestamp),
) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut counted = |count: u64, path: &'static str, [one, several]: [&str; 2]| {
        let text = if count == 1 { one } else { several };
        notes.extend((count > 0).then(|| Note {
            count: Some(grouped(count)),
            text: text.to_owned(),
            path,
            link: "Look at them",
        }));
    };
    counted(
        store.held,
        "/problems",
        [
            "held entry belongs to a mass change of a source: release or discard it.",
            "held entries belong to a mass change of a source: release or discard them.",
        ],
    );
    counted(
        store.parked,
        "/problems",
        [
            "parked entry waits for a decision.",
            "parked entries wait for a decision.",
        ],
    );
    counted(
        store.undecided,
        "/problems",
        [
            "undecided entry has failed for a long time for an unknown reason.",
            "undecided entries have failed for a long time for an unknown reason.",
        ],
    );
    notes.extend(refusals.iter().map(|refusals| refusal_note(refusals, now)));
    notes.extend(refused.map(|refused| Note {
        count: None,
        text: format!(
            "The files of the sources have errors since {}: the bridge uses the files from before.",
            TimeText::since(refused.since, now)
        ),
        path: "/sources",
        link: "Look at the errors",
    }));
    notes
}
