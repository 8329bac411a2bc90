//! The destination: the state of sending to Imprint, its cause, the rate limit, and the mode that an operator sets.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::Console;
use super::form::Form;
use super::login::see;
use super::page::{Frame, PageResult, Section, page};
use super::requests::RequestList;
use super::secret_text::KeyFileText;
use super::sentence::{ModeChange, Sentence, sentence};
use super::visitor::Visitor;
use super::words::{TimeText, grouped, length, rate_text, span_text};
use crate::dispatch::destination::{OperatorMode, StateChange};
use crate::dispatch::pace::PresentRate;
use crate::ops::operate::{DestinationView, Operations, Reason, Role, ShadowView};
use crate::ops::{AdminProblem, Figures};
use crate::time::Timestamp;

/// The maximum number of requests of the shadow mode on the page.
const SHADOW_MAX: usize = 50;

#[derive(Template)]
#[template(path = "destination.html", config = "src/console/askama.toml")]
struct DestinationPage {
    frame: Frame,
    sentence: Sentence,
    mode: &'static str,
    mode_change: Option<ModeChangeText>,
    address: String,
    deadline: String,
    state: &'static str,
    since: Option<TimeText>,
    /// The files of the keys.
    keys: Vec<KeyFileText>,
    /// The outcome and the cause of the request that changed the state, in the words of the log.
    cause: Option<String>,
    next_try: Option<TimeText>,
    /// The last outages and their ends, the newest first.
    outages: Vec<PastState>,
    rate: RateText,
    in_flight: String,
    last_delivery: Option<TimeText>,
    /// The number of requests since the start of the process, by outcome.
    outcomes: Vec<OutcomeText>,
    /// The modes that the operator may set.
    choices: Vec<ModeChoice>,
    /// The last failed requests, and the last served ones.
    requests: [RequestList; 2],
    shadow: Vec<ShadowText>,
    shadow_count: String,
}

/// An outage of the destination, or the time after one.
struct PastState {
    name: &'static str,
    began: TimeText,
    /// The time until the next state began.
    lasted: String,
    /// The outcome and the cause of the request with which the state began, in the words of the log. Another bridge possibly
    /// sent the request.
    cause: String,
}

impl PastState {
    /// Describes the states that began with these changes. The newest change is the first.
    fn all(changes: &[StateChange], now: Timestamp) -> Vec<Self> {
        let ends = std::iter::once(now).chain(changes.iter().map(|change| change.at));
        let states = changes.iter().zip(ends);
        states
            .map(|(change, end)| Self {
                name: change.to,
                began: TimeText::of(change.at, now),
                lasted: span_text(end.since(change.at)),
                cause: format!("{} {}", change.outcome, change.cause)
                    .trim()
                    .to_owned(),
            })
            .collect()
    }
}

/// The number of requests with one outcome.
struct OutcomeText {
    name: String,
    count: String,
    meaning: &'static str,
}

/// A change of the mode, as the page writes it.
struct ModeChangeText {
    operator: String,
    reason: Option<String>,
    at: TimeText,
}

/// The rate limit: the configured rate, and the present rate if it is lower.
struct RateText {
    configured: String,
    lowered: Option<String>,
}

/// A button that sets a mode.
#[derive(Clone, Copy)]
struct ModeChoice {
    mode: &'static str,
    title: &'static str,
    meaning: &'static str,
    needs_reason: bool,
}

/// A request that the bridge did not send because of the shadow mode, with masked values.
struct ShadowText {
    at: TimeText,
    customer: String,
    operation: &'static str,
    body: String,
}

/// Answers `GET /destination`.
pub(super) async fn show(
    visitor: Visitor,
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    figures: web::Data<Figures>,
) -> PageResult {
    let operator = visitor.operator();
    let figures = figures.snapshot().await;
    let situation = console.situation(&operations, operator, &figures).await;
    let now = situation.now;
    let destination = &situation.destination;
    let change = destination.change.as_ref();
    let cause = change.map(|change| format!("{} {}", change.outcome, change.cause));
    let last_delivery = figures.dispatch.last_delivered_at_seconds;
    let last_delivery = last_delivery.map(|at| Timestamp::from_millis(at.saturating_mul(1000)));
    let shadow = operations.shadow_requests(operator);
    let outcomes = figures.dispatch.attempts.iter();
    let outcomes = outcomes.filter(|(_, count)| **count > 0);
    let sentence = sentence(&situation);
    page(&DestinationPage {
        frame: Frame::new(&visitor, &console, Section::Destination, now).entitled(&sentence),
        sentence,
        mode: destination.mode.as_str(),
        mode_change: situation
            .mode_change
            .as_ref()
            .map(|change| ModeChangeText::of(change, now)),
        address: console.address.clone(),
        deadline: span_text(console.deadline),
        state: destination.state,
        keys: KeyFileText::all(operations.imprint_key_files(operator), destination, now),
        since: change.map(|change| TimeText::of(change.at, now)),
        cause: cause.filter(|_| destination.state != "flowing"),
        next_try: next_try(destination, now),
        outages: PastState::all(&destination.changes, now),
        rate: RateText::of(operations.present_rate(operator)),
        in_flight: figures.dispatch.in_flight.to_string(),
        last_delivery: last_delivery.map(|at| TimeText::of(at, now)),
        outcomes: outcomes
            .map(|(outcome, count)| OutcomeText {
                name: outcome.replace('_', " "),
                count: grouped(*count),
                meaning: meaning(outcome),
            })
            .collect(),
        choices: match visitor.may(Role::Operator) {
            true => choices(destination.mode),
            false => Vec::new(),
        },
        requests: RequestList::both(&operations.recent_requests(operator), now),
        shadow_count: grouped(length(&shadow)),
        shadow: shadow
            .into_iter()
            .take(SHADOW_MAX)
            .map(|request| ShadowText::of(request, now))
            .collect(),
    })
}

/// Returns the time of the next request, if it is not over.
fn next_try(destination: &DestinationView, now: Timestamp) -> Option<TimeText> {
    let next = destination.next_try_at.filter(|next| *next > now);
    next.map(|next| TimeText::of(next, now))
}

/// Returns what an outcome says about the values of the request.
fn meaning(outcome: &str) -> &'static str {
    match outcome {
        "applied" => "Imprint has the values",
        "not_found" => "Imprint does not know the customer",
        "rejected" => "Imprint refuses the values",
        "denied" => "Imprint refuses the key or the operation",
        "throttled" => "Imprint asks the bridge to wait",
        "unavailable" => "Imprint has not served the request; the bridge sends it again",
        "unknown" => {
            "no answer came, so Imprint has possibly applied it; the bridge sends it again, which does no harm"
        }
        "unclear" => "the answer does not show whether it concerns one customer or all of them",
        _ => "",
    }
}

/// The fields of the form that sets the mode.
#[derive(Deserialize)]
pub(super) struct ModeFields {
    mode: String,
    reason: String,
}

/// Answers `POST /destination`.
pub(super) async fn set_mode(
    operations: web::Data<Operations>,
    form: Form<ModeFields>,
) -> Result<HttpResponse, super::problem::ConsoleProblem> {
    let Form { visitor, fields } = form;
    let mode = OperatorMode::parse(&fields.mode)
        .ok_or_else(|| AdminProblem::Malformed("choose a mode".to_owned()))?;
    let reason = Reason::parse(&fields.reason)?;
    let set = operations.set_mode(visitor.operator(), mode, reason);
    set.await?;
    Ok(see("/destination"))
}

/// Returns the modes to which an operator can change the present mode.
fn choices(present: OperatorMode) -> Vec<ModeChoice> {
    let modes = OperatorMode::ALL.into_iter();
    let modes = modes.filter(|mode| *mode != present);
    let choices = modes.map(|mode| {
        let (title, meaning) = match mode {
            OperatorMode::Open => (
                "Send",
                "The bridge sends requests again, at the configured rate.",
            ),
            OperatorMode::Paused => (
                "Pause",
                "The bridge accepts and stores events, and sends nothing.",
            ),
            OperatorMode::Shadow => (
                "Shadow mode",
                "The bridge records the requests on this page, and sends nothing.",
            ),
        };
        ModeChoice {
            needs_reason: mode != OperatorMode::Open,
            mode: mode.as_str(),
            title,
            meaning,
        }
    });
    choices.collect()
}

impl ModeChangeText {
    fn of(change: &ModeChange, now: Timestamp) -> Self {
        Self {
            operator: change.operator.clone(),
            reason: change.reason.clone(),
            at: TimeText::of(change.at, now),
        }
    }
}

impl RateText {
    fn of(rate: Option<PresentRate>) -> Self {
        let Some(rate) = rate else {
            return Self {
                configured: "no limit".to_owned(),
                lowered: None,
            };
        };
        let lowered = (rate.present < rate.configured).then(|| rate_text(rate.present));
        Self {
            configured: format!("{} requests per second", rate_text(rate.configured)),
            lowered,
        }
    }
}

impl ShadowText {
    fn of(request: ShadowView, now: Timestamp) -> Self {
        Self {
            at: TimeText::of(request.at, now),
            customer: request.customer,
            operation: request.operation,
            body: format!("{:#}", request.body),
        }
    }
}
