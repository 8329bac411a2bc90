//! Reports refused requests to the operator: in a metric, in the log and in the admin API. The log limits the number of
//! lines.

use std::collections::BTreeMap;

use actix_web::http::Method;
use actix_web::{HttpRequest, ResponseError as _};

use super::auth::Denial;
use super::refusal::FINAL_PROBLEMS;
use super::{Endpoint, Ingress, Refusal};
use crate::event::{EventError, pointer};
use crate::http::denied::DeniedRequest;
use crate::http::refused::RefusedProblem;
use crate::intake::MassChange;
use crate::outbox::{AppendedEntry, State};

/// The maximum number of pointers in one report. More pointers rarely have another cause.
const POINTERS_MAX: usize = 10;

impl Ingress {
    /// Counts a refused request. If the sender must change the request, also reports the broken rules, because many
    /// senders do not show the answer to anybody.
    pub(super) fn refused(&self, request: &HttpRequest, refusal: &Refusal) {
        let endpoints = self.endpoints.current();
        let endpoint = endpoints.of_request(request).ok();
        let source = endpoint.map_or("", |endpoint| endpoint.source.name.as_str());
        let problem = refusal.word();
        let refused = RefusedProblem {
            status: refusal.status_code().as_u16(),
            word: problem,
            title: refusal.to_string(),
            detail: refusal.detail(),
        };
        self.count_refused(source, refused);
        if matches!(refusal, Refusal::UnknownSource) {
            let name = request.match_info().get("source").unwrap_or_default();
            tracing::warn!(
                similar_to = endpoints.similar(name).unwrap_or("-"),
                name_characters = name.chars().count(),
                "refused a request: no source has the name in its path, or the source is a draft"
            );
        }
        if matches!(refusal, Refusal::NotFound) && request.method() == Method::POST {
            tracing::warn!(
                source = endpoints.named_in(request.path()).unwrap_or("-"),
                "refused a request: no resource has its path; events go to POST /v1/sources/{{source}}/events"
            );
        }
        if endpoint.is_none() || !FINAL_PROBLEMS.contains(&problem) {
            return;
        }
        for (_, broken) in broken_rules(refusal, |_error| String::new()) {
            tracing::warn!(
                source,
                problem,
                rule = broken.rule,
                pointers = broken.pointers.join(" "),
                "refused a request: the sender must change it"
            );
        }
        let now = self.clock.now();
        for (cause, broken) in broken_rules(refusal, cause) {
            let request = DeniedRequest {
                source,
                problem,
                reason: broken.rule,
                cause,
                location: broken.location,
                pointers: broken.pointers,
                detail: broken.detail,
            };
            self.denied.record(request, now);
        }
    }

    /// Reports a request head that the listener refused, so no source is known.
    pub fn refused_head(&self, problem: RefusedProblem) {
        // A client that sends nothing is no fault of a sender or a gateway.
        if problem.status == 400 {
            tracing::warn!(
                problem = problem.word,
                detail = problem.detail,
                "refused a request before its handler"
            );
        }
        self.count_refused("", problem);
    }

    /// Counts a refused request in the metrics, and adds it to the list for operators. `source` is empty if the request names
    /// no configured source.
    fn count_refused(&self, source: &str, problem: RefusedProblem) {
        self.counts.rejected(problem.word, source);
        self.refused.record(source, problem, self.clock.now());
    }

    /// Counts the held entries of a request. Logs each mass change once, when the brake holds its first entry.
    pub(super) fn braked(
        &self,
        endpoint: &Endpoint,
        first: &[&MassChange],
        stored: &[AppendedEntry],
    ) {
        let source = endpoint.source.name.as_str();
        let is_held = |entry: &&AppendedEntry| !entry.duplicate && entry.state == State::Held;
        self.counts
            .held(source, stored.iter().filter(is_held).count());
        for MassChange { field, rule } in first {
            tracing::warn!(
                source,
                field = field.path(),
                rule = rule.as_str(),
                "the brake holds a mass change: an operator must release or discard the held entries"
            );
        }
    }

    /// Reports a denied request to the operator. The refusal is the same for every reason.
    pub(super) fn unauthenticated(&self, endpoint: &Endpoint, denial: Denial) -> Refusal {
        let source = endpoint.source.name.as_str();
        let reason = denial.reason.as_str();
        self.counts.unauthenticated(reason);
        tracing::warn!(
            source,
            reason,
            detail = denial.detail,
            "denied a request: the authentication failed; capture such a request and examine it with `imprint-bridge verify`"
        );
        let refusal = Refusal::Unauthenticated {
            challenge: endpoint.verifier.current().challenge(),
        };
        let request = DeniedRequest {
            source,
            problem: refusal.word(),
            reason,
            cause: without_numbers(&denial.detail),
            location: String::new(),
            pointers: Vec::new(),
            detail: denial.detail,
        };
        self.denied.record(request, self.clock.now());
        refusal
    }
}

/// One rule that a refused request breaks.
#[derive(Debug, PartialEq, Eq)]
struct BrokenRule<'a> {
    /// The name of the rule, or `-` if the refusal has no errors of events.
    rule: &'a str,
    /// The place in the configuration, such as an Imprint field.
    location: String,
    /// The places in the body, without personal data.
    pointers: Vec<String>,
    /// A sentence about the first error.
    detail: String,
}

/// The rule of an error whose sentence contains a name that the sender chose.
const UNKNOWN_EVENT_TYPE: &str = "unknown_event_type";

/// Returns the cause of an error, from a closed set: the place in the configuration, and the words of the sentence without
/// a value of the request.
fn cause(error: &EventError) -> String {
    if error.rule == UNKNOWN_EVENT_TYPE {
        return error.location.clone();
    }
    format!("{} {}", error.location, without_numbers(&error.detail))
}

/// Replaces the numbers in a sentence. A number can be a value of the request, such as a line or a length.
fn without_numbers(sentence: &str) -> String {
    let words = sentence.split(|letter: char| letter.is_ascii_digit());
    let words = words.filter(|part| !part.is_empty());
    words.collect::<Vec<_>>().join("#")
}

/// Returns the rules that a refused request breaks. Each rule occurs once for each result of `cause`.
fn broken_rules(
    refusal: &Refusal,
    cause: impl Fn(&EventError) -> String,
) -> Vec<(String, BrokenRule<'_>)> {
    let mut rules: BTreeMap<(&str, String), BrokenRule<'_>> = BTreeMap::new();
    for error in refusal.errors() {
        let broken = rules
            .entry((&error.rule, cause(error)))
            .or_insert_with(|| BrokenRule {
                rule: &error.rule,
                location: error.location.clone(),
                pointers: Vec::new(),
                detail: error.detail.clone(),
            });
        if broken.pointers.len() < POINTERS_MAX {
            let place = pointer::without_values(&error.pointer);
            if !place.is_empty() && !broken.pointers.contains(&place) {
                broken.pointers.push(place);
            }
        }
    }
    if rules.is_empty() {
        let detail = refusal.detail();
        let broken = BrokenRule {
            rule: "-",
            location: String::new(),
            pointers: Vec::new(),
            detail: detail.clone(),
        };
        return vec![(without_numbers(&detail), broken)];
    }
    let rules = rules.into_iter();
    rules.map(|((_, cause), broken)| (cause, broken)).collect()
}
