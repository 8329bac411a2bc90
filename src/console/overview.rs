//! The overview: one sentence about the state of the bridge, and what needs an operator.

use std::time::Duration;

use actix_web::web;
use askama::Template;
use std::collections::BTreeMap;

use super::Console;
use super::chart::Chart;
use super::page::{Frame, PageResult, Section, page};
use super::sentence::{ModeChange, Sentence, Situation, sentence};
use super::visitor::Visitor;
use super::words::{TimeText, grouped, span_text};
use crate::dispatch::destination::OperatorMode;
use crate::http::denied::DeniedRow;
use crate::metrics::{MetricsSnapshot, StoreSnapshot};
use crate::ops::history::History;
use crate::ops::operate::{self, Operations, Operator, RefusedSet};
use crate::ops::{Figures, Health};
use crate::time::Timestamp;

/// For this time after the bridge has refused a request, the overview shows the refusals of the source.
pub(super) const REFUSED_LATELY: Duration = Duration::from_mins(15);

#[derive(Template)]
#[template(path = "overview.html", config = "src/console/askama.toml")]
struct OverviewPage {
    frame: Frame,
    sentence: Sentence,
    /// What needs an operator. A healthy bridge has nothing here.
    notes: Vec<Note>,
    counts: Vec<Count>,
    charts: [Chart; 3],
    /// The names of the protections that are switched off, as in the metric `weakened`.
    weakenings: Vec<&'static str>,
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
}

/// Answers `GET /`.
pub(super) async fn show(
    visitor: Visitor,
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    figures: web::Data<Figures>,
    health: web::Data<Health>,
) -> PageResult {
    let operator = visitor.operator();
    let history = figures.history();
    let figures = figures.snapshot().await;
    let situation = situation(&operations, operator, (&figures, &health)).await?;
    let now = situation.now;
    let refused = operations.source_set(operator).refused;
    let last_delivery = figures.dispatch.last_delivered_at_seconds;
    let last_delivery = last_delivery.map(|at| Timestamp::from_millis(at.saturating_mul(1000)));
    page(&OverviewPage {
        frame: Frame::new(&visitor, &console, Section::Overview, now),
        sentence: sentence(&situation),
        notes: notes(
            &figures.store,
            refusals(operations.denied_requests(operator, None), now),
            (refused.as_ref(), now),
        ),
        counts: counts(&figures, &history),
        charts: charts(&history),
        weakenings: operations.weakenings(operator),
        last_delivery: last_delivery.map(|at| TimeText::of(at, now)),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Returns everything that the sentence about the bridge depends on.
pub(super) async fn situation(
    operations: &Operations,
    operator: &Operator,
    (figures, health): (&MetricsSnapshot, &Health),
) -> Result<Situation, operate::Error> {
    let denied = operations.denied_requests(operator, None);
    let store = &figures.store;
    Ok(Situation {
        held: store.held,
        parked: store.parked.saturating_add(store.undecided),
        refuses_lately: !refusals(denied, operations.clock.now()).is_empty(),
        has_store: health.has_store(),
        destination: operations.destination(operator),
        mode_change: mode_change(operations, operator).await?,
        waiting: figures.store.waiting,
        oldest_waiting: figures.store.oldest_waiting,
        now: operations.clock.now(),
    })
}

/// Returns the change with which the present mode began, unless the mode is open.
async fn mode_change(
    operations: &Operations,
    operator: &Operator,
) -> Result<Option<ModeChange>, operate::Error> {
    let record = match operations.destination(operator).mode {
        OperatorMode::Open => None,
        OperatorMode::Paused | OperatorMode::Shadow => operations.mode_change(operator).await?,
    };
    Ok(record.map(|record| ModeChange {
        operator: record.operator,
        reason: record.reason,
        at: record.at,
    }))
}

/// The refused requests of a source, of which the latest was a short time ago.
struct Refusals {
    source: String,
    count: u64,
    /// The sentence about the latest refused request.
    detail: String,
    last: Timestamp,
}

impl Refusals {
    fn note(self, now: Timestamp) -> Note {
        Note {
            count: Some(grouped(self.count)),
            text: format!(
                "refused requests of the source {} since the start, the latest {}: {}",
                self.source,
                TimeText::of(self.last, now).relative,
                self.detail
            ),
            path: "/sources",
            link: "Look at the reasons",
        }
    }
}

/// Returns the sources whose requests the bridge has refused lately.
fn refusals(rows: Vec<DeniedRow>, now: Timestamp) -> Vec<Refusals> {
    let mut by_source: BTreeMap<String, Refusals> = BTreeMap::new();
    let is_late = |row: &DeniedRow| now.since(row.last_at) < REFUSED_LATELY;
    for row in rows.into_iter().filter(is_late) {
        let refusals = by_source
            .entry(row.source.clone())
            .or_insert_with(|| Refusals {
                source: row.source,
                count: 0,
                detail: String::new(),
                last: row.last_at,
            });
        refusals.count = refusals.count.saturating_add(row.count);
        if row.last_at >= refusals.last {
            (refusals.last, refusals.detail) = (row.last_at, row.last_detail);
        }
    }
    by_source.into_values().collect()
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

fn counts(figures: &MetricsSnapshot, history: &History) -> Vec<Count> {
    let store = &figures.store;
    let oldest = match (store.waiting, until_empty(store.waiting, history)) {
        (0, _) => String::new(),
        (_, None) => format!("the oldest for {}", span_text(store.oldest_waiting)),
        (_, Some(span)) => format!(
            "the oldest for {}; none in about {} at the present rate",
            span_text(store.oldest_waiting),
            span_text(span)
        ),
    };
    let ended = |state| {
        let entries = figures.dispatch.ended.get(state).copied();
        entries.unwrap_or_default()
    };
    let counts = [
        ("Waiting", store.waiting, oldest.as_str()),
        ("Held", store.held, "entries of mass changes"),
        (
            "Parked",
            store.parked.saturating_add(store.undecided),
            "entries that need a decision",
        ),
        (
            "Accepted",
            figures.ingress.accepted,
            "events since the start",
        ),
        ("Delivered", ended("delivered"), "entries since the start"),
        (
            "Superseded",
            ended("superseded"),
            "entries with older values, since the start",
        ),
    ];
    let counts = counts.map(|(name, value, detail)| Count {
        name,
        value: grouped(value),
        detail: detail.to_owned(),
    });
    Vec::from(counts)
}

/// Returns what needs an operator, the most urgent first.
fn notes(
    store: &StoreSnapshot,
    refusals: Vec<Refusals>,
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
    notes.extend(refusals.into_iter().map(|refusals| refusals.note(now)));
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
