//! The sources: the set that the bridge uses, newer files with errors, and the refused requests by reason.

use std::collections::BTreeMap;

use actix_web::web;
use askama::Template;

use super::Console;
use super::brake::OPEN_MINUTES;
use super::chart::rate;
use super::page::{Frame, PageResult, Section, page};
use super::visitor::Visitor;
use super::words::{TimeText, counted, grouped};
use crate::http::denied::DeniedRow;
use crate::intake::BrakePolicy;
use crate::metrics::IngressSnapshot;
use crate::ops::Figures;
use crate::ops::history::{History, HourTotals};
use crate::ops::operate::{BrakeView, Operations, Role, SetView};
use crate::time::Timestamp;

#[derive(Template)]
#[template(path = "sources.html", config = "src/console/askama.toml")]
struct SourcesPage {
    frame: Frame,
    since: TimeText,
    /// The digest of the files. `None` if the bridge cannot look at the files.
    digest: Option<String>,
    /// The newer files with errors, which the bridge does not use.
    refused: Option<RefusedText>,
    accepted: String,
    duplicates: String,
    sources: Vec<SourceText>,
    /// Whether the operator may change entries and brakes.
    may_change: bool,
    /// The times for which an operator can open a brake.
    open_minutes: [(u64, &'static str); 4],
}

/// The newer files of the sources that have errors.
struct RefusedText {
    since: TimeText,
    errors: Vec<String>,
}

/// A source with its refused requests.
struct SourceText {
    name: String,
    /// False if no file of the set in use has the source.
    is_loaded: bool,
    refusals: String,
    /// The time of the last accepted event, and the rate. Empty for a source that is not loaded.
    activity: String,
    brake: BrakeText,
    rows: Vec<RefusalText>,
}

/// The mass-change brake of a source.
#[derive(Default)]
struct BrakeText {
    /// The state in sentences. Empty if the brake is off, or is on and holds nothing.
    sentences: Vec<String>,
    /// The change of the brake that the page offers.
    change: Option<BrakeSwitch>,
}

/// The change of a brake that the page offers.
enum BrakeSwitch {
    Open,
    Close,
}

/// Refused requests with one reason.
struct RefusalText {
    count: String,
    problem: String,
    reason: String,
    /// The place in the source file or in the schema whose rule the request breaks.
    location: String,
    pointers: Vec<String>,
    detail: String,
    last: TimeText,
}

/// Answers `GET /sources`.
pub(super) async fn list(
    visitor: Visitor,
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    figures: web::Data<Figures>,
) -> PageResult {
    let operator = visitor.operator();
    let history = figures.history();
    let ingress = figures.snapshot().await.ingress;
    let set = operations.source_set(operator);
    let now = operations.clock.now();
    let refused = set.refused.as_ref().map(|refused| RefusedText {
        since: TimeText::of(refused.since, now),
        errors: refused.errors.clone(),
    });
    page(&SourcesPage {
        frame: console.frame(&visitor, Section::Sources, &operations).await,
        since: TimeText::of(set.since, now),
        digest: set.digest.clone(),
        refused,
        may_change: visitor.may(Role::Operator),
        open_minutes: OPEN_MINUTES,
        accepted: grouped(ingress.accepted),
        duplicates: grouped(ingress.duplicates),
        sources: sources(
            &set,
            operations.denied_requests(operator, None),
            (&operations.brakes(operator), now),
        )
        .into_iter()
        .map(|source| source.with_activity(&ingress, &history, now))
        .collect(),
    })
}

/// Returns the loaded sources, and then other names that refused requests had.
fn sources(
    set: &SetView,
    denied: Vec<DeniedRow>,
    (brakes, now): (&[BrakeView], Timestamp),
) -> Vec<SourceText> {
    let mut rows: BTreeMap<String, Vec<DeniedRow>> = BTreeMap::new();
    for row in denied {
        rows.entry(row.source.clone()).or_default().push(row);
    }
    let loaded = set.names.iter().map(|name| {
        let rows = rows.remove(name).unwrap_or_default();
        let brake = brakes.iter().find(|brake| brake.source == *name);
        let brake = brake.map(|brake| BrakeText::of(brake, now));
        let brake = brake.unwrap_or_default();
        SourceText {
            brake,
            ..SourceText::of(name.clone(), true, (rows, now))
        }
    });
    let mut sources: Vec<SourceText> = loaded.collect();
    let others = rows.into_iter();
    sources.extend(others.map(|(name, rows)| SourceText::of(name, false, (rows, now))));
    sources
}

impl SourceText {
    fn with_activity(self, ingress: &IngressSnapshot, history: &History, now: Timestamp) -> Self {
        let activity = match self.is_loaded {
            true => activity(&self.name, (ingress, history), now),
            false => String::new(),
        };
        Self { activity, ..self }
    }

    fn of(name: String, is_loaded: bool, (mut rows, now): (Vec<DeniedRow>, Timestamp)) -> Self {
        rows.sort_by_key(|row| std::cmp::Reverse(row.last_at));
        let count = rows.iter().map(|row| row.count).sum();
        Self {
            name,
            is_loaded,
            activity: String::new(),
            brake: BrakeText::default(),
            refusals: match count {
                0 => "no refused request since the start".to_owned(),
                count => {
                    // A request with several errors counts once for each of them.
                    let errors = ["error in a refused request", "errors in refused requests"];
                    format!("{} since the start", counted(count, errors))
                }
            },
            rows: rows
                .into_iter()
                .map(|row| RefusalText::of(row, now))
                .collect(),
        }
    }
}

/// Says when the last event of a source came, and how many come: a source that is silent shows an old time beside the
/// number of the last hour.
fn activity(
    name: &str,
    (ingress, history): (&IngressSnapshot, &History),
    now: Timestamp,
) -> String {
    let Some(seconds) = ingress.last_event_at.get(name) else {
        return "no event since the start".to_owned();
    };
    let at = Timestamp::from_millis(seconds.saturating_mul(1000));
    let of_source = |totals: &HourTotals| totals.by_source.get(name).copied().unwrap_or_default();
    let hour: u64 = history.minutes(of_source).into_iter().flatten().sum();
    format!(
        "last event {}; {} now, {} in the last hour",
        TimeText::of(at, now).relative,
        rate(history, of_source),
        counted(hour, ["new event", "new events"])
    )
}

impl BrakeText {
    fn of(brake: &BrakeView, now: Timestamp) -> Self {
        let state = &brake.state;
        let is_on = state.policy != BrakePolicy::Off;
        Self {
            sentences: brake_sentences(brake, now),
            change: is_on.then_some(match state.open_until {
                None => BrakeSwitch::Open,
                Some(_) => BrakeSwitch::Close,
            }),
        }
    }
}

/// Returns the sentences about a brake. A brake that is on and holds nothing needs no sentence.
fn brake_sentences(brake: &BrakeView, now: Timestamp) -> Vec<String> {
    let state = &brake.state;
    let open = state.open_until.map(|until| {
        let until = TimeText::since(until, now);
        format!("An operator has opened the mass-change brake until {until}: mass changes pass.")
    });
    let holding = state.holding.iter().map(|(kind, holding)| {
        format!(
            "The mass-change brake has held {} since {}: {} exceeds the limit of the rule {}.",
            counted(holding.entries, ["entry", "entries"]),
            TimeText::since(holding.since, now),
            kind.field.path(),
            kind.rule.as_str().replace('_', " "),
        )
    });
    open.into_iter().chain(holding).collect()
}

impl RefusalText {
    fn of(row: DeniedRow, now: Timestamp) -> Self {
        Self {
            count: grouped(row.count),
            problem: row.problem.replace('_', " "),
            reason: row.reason.replace('_', " "),
            location: row.location,
            pointers: row.last_pointers,
            detail: row.last_detail,
            last: TimeText::of(row.last_at, now),
        }
    }
}
