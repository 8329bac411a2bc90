//! The sources: the set that the bridge uses, newer files with errors, and the refused requests by reason.

use std::collections::BTreeMap;

use actix_web::web;
use askama::Template;

use super::Console;
use super::brake::OPEN_MINUTES;
use super::chart::{rate, time_of};
use super::field_drift::{DriftText, drifted_fields};
use super::mass_change::MassChangeText;
use super::page::{Frame, PageResult, Section, page};
use super::refusals::RefusalList;
use super::reloads::{ReloadText, SourceChangeText, changed_at};
use super::secret_text::wrong_secret;
use super::silent_source::{silent_sentence, silent_sources};
use super::visitor::Visitor;
use super::words::{TimeText, capitalized, counted, grouped, length};
use crate::http::denied::DeniedRow;
use crate::http::refused::RefusedRow;
use crate::intake::BrakePolicy;
use crate::metrics::IngressSnapshot;
use crate::notices::{DriftedField, SilentSource, SourceFindings};
use crate::ops::Figures;
use crate::ops::history::{History, HourTotals};
use crate::ops::operate::{
    BrakeView, CaseList, HeldSource, Operations, Operator, ReloadView, Role, SetView,
};
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
    /// The number of fields that have vanished.
    drifted: u64,
    /// The time since which this process compares the fields of events.
    counted_since: TimeText,
    /// The last changes of the files, the newest first.
    reloads: Vec<ReloadText>,
    /// The refused requests of every problem type.
    refusals: RefusalList,
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
    /// The path of the source file.
    file: String,
    /// False if no file of the set in use has the source.
    is_loaded: bool,
    refusals: String,
    /// The time of the last accepted event, and the rate. Empty for a source that is not loaded.
    activity: String,
    /// Says since when the source is silent.
    silence: Option<String>,
    /// The fields that have vanished from its events.
    drifted: Vec<DriftText>,
    brake: BrakeText,
    /// The last change of the source file since the start.
    change: Option<SourceChangeText>,
    /// Says in plain words that the sender has another secret than the bridge.
    wrong_secret: Option<String>,
    rows: Vec<RefusalText>,
}

/// The mass-change brake of a source.
#[derive(Default)]
struct BrakeText {
    /// Says until when an operator has opened the brake.
    open: Option<String>,
    /// The mass changes with held entries, or with entries that the brake has lately held.
    mass_changes: Vec<MassChangeText>,
    /// The change of the brake that the page offers.
    change: Option<BrakeSwitch>,
}

/// The change of a brake that the page offers.
enum BrakeSwitch {
    Open,
    Close,
}

/// The silent sources and the vanished fields of the sources in use.
struct Findings {
    counted_since: Timestamp,
    silent: Vec<SilentSource>,
    drifted: Vec<DriftedField>,
    now: Timestamp,
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
    first: TimeText,
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
    let figures = figures.snapshot().await;
    // Only held entries need the cases, and the cases read thousands of parked entries.
    let cases = match figures.store.held {
        0 => CaseList::default(),
        1.. => operations.cases(operator).await?,
    };
    let held = operations.held_sources(operator, &cases);
    let ingress = figures.ingress;
    let set = operations.source_set(operator);
    let now = operations.clock.now();
    let denied = operations.denied_requests(operator, None);
    let reloads = operations.reloads(operator);
    let refused_requests = operations.refused_requests(operator);
    let found = Findings::of(console.figures.findings(), (&set.names, &ingress), now);
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
        drifted: length(&found.drifted),
        counted_since: TimeText::of(found.counted_since, now),
        sources: sources(
            (&set, &reloads),
            (&refused_requests, &denied),
            (&operations.brakes(operator), now),
        )
        .into_iter()
        .map(|source| source.with_activity(&ingress, &history, now))
        .map(|source| source.with_held(&held, now))
        .map(|source| source.with_findings(&found))
        .map(|source| SourceText {
            file: console.source_path(&source.name),
            ..source
        })
        .map(|source| source.with_wrong_secret(&reloads, (&operations, operator)))
        .collect(),
        refusals: RefusalList::of(refused_requests, (&denied, now)),
        reloads: reloads
            .iter()
            .map(|reload| ReloadText::of(reload, now))
            .collect(),
    })
}

/// Returns the loaded sources, and then other names that refused requests had.
fn sources(
    (set, reloads): (&SetView, &[ReloadView]),
    (refused, denied): (&[RefusedRow], &[DeniedRow]),
    (brakes, now): (&[BrakeView], Timestamp),
) -> Vec<SourceText> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for row in refused.iter().filter(|row| !row.source.is_empty()) {
        let count = counts.entry(&row.source).or_default();
        *count = count.saturating_add(row.count);
    }
    let rows = |name: &str| {
        let mut rows: Vec<_> = denied.iter().filter(|row| row.source == name).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.last_at));
        let rows = rows.into_iter();
        rows.map(|row| RefusalText::of(row.clone(), now)).collect()
    };
    let loaded = set.names.iter().map(|name| {
        let brake = brakes.iter().find(|brake| brake.source == *name);
        let brake = brake.map(|brake| BrakeText::of(brake, now));
        let of_source = refused.iter().filter(|row| row.source == *name);
        let last = of_source.map(|row| row.last_at).max();
        SourceText {
            is_loaded: true,
            change: SourceChangeText::of(reloads, name, (last, now)),
            brake: brake.unwrap_or_default(),
            ..SourceText::of(name, counts.get(name.as_str()), rows(name))
        }
    });
    let others = counts.iter();
    let others = others.filter(|(name, _)| !set.names.iter().any(|loaded| loaded == *name));
    let others = others.map(|(name, count)| SourceText::of(name, Some(count), rows(name)));
    loaded.chain(others).collect()
}

impl Findings {
    fn of(
        found: SourceFindings,
        (loaded, ingress): (&[String], &IngressSnapshot),
        now: Timestamp,
    ) -> Self {
        Self {
            counted_since: found.counted_since,
            drifted: drifted_fields(found.drifted.clone(), loaded),
            silent: silent_sources(found, loaded, &ingress.last_event_at),
            now,
        }
    }
}

impl SourceText {
    /// Replaces the lately held mass changes by those whose entries wait for an operator.
    fn with_held(mut self, held: &[HeldSource], now: Timestamp) -> Self {
        if let Some(held) = held.iter().find(|held| held.source == self.name) {
            self.brake.mass_changes = MassChangeText::of_source(held, now);
        }
        self
    }

    fn with_findings(mut self, findings: &Findings) -> Self {
        let mut silent = findings.silent.iter();
        let silent = silent.find(|silent| silent.source == self.name);
        self.silence = silent.map(|silent| silent_sentence(silent, findings.now));
        let drifted = findings.drifted.iter();
        let drifted = drifted.filter(|drifted| drifted.source == self.name);
        self.drifted = drifted.map(DriftText::of).collect();
        self
    }

    fn with_wrong_secret(
        mut self,
        reloads: &[ReloadView],
        (operations, operator): (&Operations, &Operator),
    ) -> Self {
        let files = operations.secret_files(operator, &self.name);
        let changed_at = changed_at(reloads, &self.name);
        let denied = operations.denied_requests(operator, Some(&self.name));
        let latest = denied.iter().max_by_key(|row| row.last_at);
        let now = operations.clock.now();
        let sentence = latest.and_then(|row| wrong_secret(row, (&files, changed_at), now));
        self.wrong_secret = sentence.map(|sentence| format!("{}.", capitalized(&sentence)));
        self
    }

    fn with_activity(self, ingress: &IngressSnapshot, history: &History, now: Timestamp) -> Self {
        let activity = match self.is_loaded {
            true => activity(&self.name, (ingress, history), now),
            false => String::new(),
        };
        Self { activity, ..self }
    }

    /// Describes a source that is not loaded.
    fn of(name: &str, refused: Option<&u64>, rows: Vec<RefusalText>) -> Self {
        Self {
            name: name.to_owned(),
            file: String::new(),
            is_loaded: false,
            activity: String::new(),
            silence: None,
            drifted: Vec::new(),
            brake: BrakeText::default(),
            change: None,
            wrong_secret: None,
            refusals: match refused {
                None | Some(0) => "no refused request since the start".to_owned(),
                Some(count) => {
                    let requests = ["refused request", "refused requests"];
                    format!("{} since the start", counted(*count, requests))
                }
            },
            rows,
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
    let minutes = history.minutes(of_source);
    format!(
        "last event {}; {} now, {} {}",
        TimeText::of(at, now).relative,
        rate(history, of_source),
        counted(minutes.iter().flatten().sum(), ["new event", "new events"]),
        time_of(&minutes)
    )
}

impl BrakeText {
    fn of(brake: &BrakeView, now: Timestamp) -> Self {
        let state = &brake.state;
        let is_on = state.policy != BrakePolicy::Off;
        Self {
            open: state.open_until.map(|until| open_sentence(until, now)),
            mass_changes: state
                .holding
                .iter()
                .map(|change| MassChangeText::of((&brake.source, state.policy), change, now))
                .collect(),
            change: is_on.then_some(match state.open_until {
                None => BrakeSwitch::Open,
                Some(_) => BrakeSwitch::Close,
            }),
        }
    }
}

fn open_sentence(until: Timestamp, now: Timestamp) -> String {
    let until = TimeText::since(until, now);
    format!("An operator has opened the mass-change brake until {until}: mass changes pass.")
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
            first: TimeText::of(row.first_at, now),
            last: TimeText::of(row.last_at, now),
        }
    }
}
