//! What the sentence about the bridge depends on, and the frame of a page with this sentence in one line.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Console;
use super::full_disk::FullDisk;
use super::page::{Frame, Section};
use super::refusing::RefusedSource;
use super::reloads::changed_at;
use super::secret_text::{is_wrong_secret, wrong_secret};
use super::sentence::{LastRefusal, ModeChange, Situation, sentence};
use super::silent_source::silent_sources;
use super::slow_imprint::slow;
use super::visitor::Visitor;
use super::words::TimeText;
use crate::dispatch::destination::OperatorMode;
use crate::http::denied::DeniedRow;
use crate::metrics::MetricsSnapshot;
use crate::ops::operate::{CaseList, FailingCustomer, Hold, Operations, Operator, ReloadView};
use crate::time::Timestamp;

/// For this time after the bridge has refused a request, the overview shows the refusals of the source.
pub(super) const REFUSED_LATELY: Duration = Duration::from_mins(15);
/// The maximum number of entries that a page reads for the sentence about the bridge.
const CASE_ENTRIES_MAX: usize = 500;
/// The time between the last accepted and the last refused event of a source after which the bridge refuses the source
/// without exception.
const REFUSED_FOR: Duration = Duration::from_mins(1);

impl Console {
    /// Returns the frame of a page, with the state of the bridge in one line unless nothing is wrong.
    pub(super) async fn frame(
        &self,
        visitor: &Visitor,
        section: impl Into<Option<Section>>,
        operations: &Operations,
    ) -> Frame {
        let framed = self.frame_and_hold(visitor, section, operations);
        framed.await.0
    }

    /// Returns the frame of a page, and the reason why the bridge sends no request at present.
    pub(super) async fn frame_and_hold(
        &self,
        visitor: &Visitor,
        section: impl Into<Option<Section>>,
        operations: &Operations,
    ) -> (Frame, Option<String>) {
        let figures = self.figures.snapshot().await;
        let situation = self.situation(operations, visitor.operator(), &figures);
        let situation = situation.await;
        let frame = Frame::new(visitor, self, section, situation.now);
        let frame = frame.with_state_line(&sentence(&situation));
        let changed_at = situation.mode_change.as_ref().map(|change| change.at);
        let hold = Hold::of(&situation.destination, changed_at);
        let hold = hold.map(|hold| hold.text(|at| TimeText::since(at, situation.now)));
        (frame, hold)
    }

    /// Returns everything that the sentence about the bridge depends on.
    pub(super) async fn situation(
        &self,
        operations: &Operations,
        operator: &Operator,
        figures: &MetricsSnapshot,
    ) -> Situation {
        let now = operations.clock.now();
        let refusals = refusals(denied_rows(operations, operator), now);
        let set = operations.source_set(operator);
        let loaded = set.names;
        let accepted = &figures.ingress.last_event_at;
        let store = &figures.store;
        let needs_operator = [store.held, store.parked, store.undecided];
        let cases = match needs_operator.iter().any(|entries| *entries > 0) {
            true => operations.cases_of_newest(operator, CASE_ENTRIES_MAX).await,
            false => Ok(CaseList::default()),
        };
        // Every page shows the state, so a store that cannot be read must not hide the page.
        let cases = cases.unwrap_or_default();
        Situation {
            held: store.held,
            held_sources: operations.held_sources(operator, &cases),
            cases,
            parked: store.parked.saturating_add(store.undecided),
            last_refusal: last_refusal(&refusals, accepted),
            refused_source: refused_source(
                refusals,
                (&loaded, accepted),
                &operations.reloads(operator),
            )
            .map(|source| RefusedSource {
                file: self.source_path(&source.name),
                ..source
            }),
            accepted_at: accepted.values().max().map(|at| from_seconds(*at)),
            has_store: self.health.has_store(),
            full_disk: self.health.is_disk_full().then(|| FullDisk {
                path: self.store.clone(),
                free_bytes: self.figures.free_bytes(),
            }),
            destination: operations.destination(operator),
            key_file: operations
                .imprint_key_files(operator)
                .into_iter()
                .filter(|file| file.is_used)
                .max_by_key(|file| file.modified),
            mode_change: mode_change(operations, operator).await,
            waiting: store.waiting,
            oldest_waiting: store.oldest_waiting,
            failing: failing_customers(operations, operator).await,
            slow: slow(&self.figures.history()),
            silent: silent_sources(self.figures.findings(), &loaded, accepted),
            refused_files: set.refused,
            now,
        }
    }
}

/// Returns the customers whose requests fail while Imprint serves others.
async fn failing_customers(operations: &Operations, operator: &Operator) -> Vec<FailingCustomer> {
    if operations.destination(operator).unproven.is_some() {
        return Vec::new();
    }
    let failing = operations.failing_customers(operator).await;
    failing.unwrap_or_default()
}

/// Returns the change with which the present mode began, unless the mode is open. Every page shows the state, so a store that
/// cannot be read must not hide the page.
async fn mode_change(operations: &Operations, operator: &Operator) -> Option<ModeChange> {
    let record = match operations.destination(operator).mode {
        OperatorMode::Open => return None,
        OperatorMode::Paused | OperatorMode::Shadow => operations.mode_change(operator).await,
    };
    let record = record.ok().flatten()?;
    Some(ModeChange {
        operator: record.operator,
        reason: record.reason,
        at: record.at,
    })
}

/// Returns the latest of the refused requests. The refusals of a source that are not over come first.
fn last_refusal(refusals: &[Refusals], accepted: &BTreeMap<String, i64>) -> Option<LastRefusal> {
    let each = refusals.iter().map(|refusals| {
        let accepted_at = accepted.get(&refusals.source).map(|at| from_seconds(*at));
        LastRefusal {
            source: refusals.source.clone(),
            at: refusals.last,
            is_over: accepted_at.is_some_and(|at| at >= refusals.last.after(REFUSED_FOR)),
        }
    });
    each.max_by_key(|refusal| (!refusal.is_over, refusal.at))
}

/// Returns the source with the most refused requests among the sources that the bridge refuses without exception.
fn refused_source(
    refusals: Vec<Refusals>,
    (loaded, accepted): (&[String], &BTreeMap<String, i64>),
    reloads: &[ReloadView],
) -> Option<RefusedSource> {
    let sources = refusals.into_iter().filter_map(|refusals| {
        let accepted_at = accepted.get(&refusals.source).map(|at| from_seconds(*at));
        let is_refused = accepted_at.is_none_or(|at| refusals.last >= at.after(REFUSED_FOR));
        let is_loaded = loaded.contains(&refusals.source);
        (is_refused && is_loaded).then_some((refusals, accepted_at))
    });
    let (worst, accepted_at) = sources.max_by_key(|(refusals, _)| refusals.count)?;
    Some(RefusedSource {
        // The first refusal can be long after the last event, at which nothing was wrong yet.
        since: accepted_at.map(|at| at.max(worst.first)),
        is_wrong_secret: worst.is_wrong_secret,
        detail: worst.detail,
        changed_at: changed_at(reloads, &worst.source),
        name: worst.source,
        file: String::new(),
        place: worst.place,
    })
}

const fn from_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

/// Returns the refused requests by reason. A wrong secret has a sentence in plain words, with the file of the secret.
pub(super) fn denied_rows(operations: &Operations, operator: &Operator) -> Vec<DeniedRow> {
    let mut rows = operations.denied_requests(operator, None);
    let reloads = operations.reloads(operator);
    for row in &mut rows {
        let files = operations.secret_files(operator, &row.source);
        let changed_at = changed_at(&reloads, &row.source);
        let plain = wrong_secret(row, (&files, changed_at), operations.clock.now());
        row.last_detail = plain.unwrap_or_else(|| std::mem::take(&mut row.last_detail));
    }
    rows
}

/// The refused requests of a source, of which the latest was a short time ago.
pub(super) struct Refusals {
    pub(super) source: String,
    pub(super) count: u64,
    /// The sentence about the latest refused request.
    pub(super) detail: String,
    /// True if the latest request has a signature or a token of another secret.
    pub(super) is_wrong_secret: bool,
    /// The place of the latest error in the event, and the place of its rule.
    pub(super) place: (Option<String>, String),
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// Returns the sources whose requests the bridge has refused lately.
pub(super) fn refusals(rows: Vec<DeniedRow>, now: Timestamp) -> Vec<Refusals> {
    let mut by_source: BTreeMap<String, Refusals> = BTreeMap::new();
    let is_late = |row: &DeniedRow| now.since(row.last_at) < REFUSED_LATELY;
    for row in rows.into_iter().filter(is_late) {
        let is_wrong_secret = is_wrong_secret(&row);
        let refusals = by_source
            .entry(row.source.clone())
            .or_insert_with(|| Refusals {
                source: row.source,
                count: 0,
                detail: String::new(),
                is_wrong_secret: false,
                place: (None, String::new()),
                first: row.first_at,
                last: row.last_at,
            });
        refusals.count = refusals.count.saturating_add(row.count);
        refusals.first = refusals.first.min(row.first_at);
        if row.last_at >= refusals.last {
            refusals.is_wrong_secret = is_wrong_secret;
            (refusals.last, refusals.detail) = (row.last_at, row.last_detail);
            refusals.place = (row.last_pointers.into_iter().next(), row.location);
        }
    }
    by_source.into_values().collect()
}
