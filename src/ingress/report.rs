//! Reports refused requests to the operator: in a metric, in the log and in the admin API. The log limits the number of
//! lines.

use std::collections::BTreeMap;

use actix_web::HttpRequest;

use super::auth::Denial;
use super::refusal::FINAL_PROBLEMS;
use super::{Endpoint, Ingress, Refusal};
use crate::event::pointer;
use crate::http::denied::DeniedRequest;

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
        self.counts.rejected(problem, source);
        if endpoint.is_none() || !FINAL_PROBLEMS.contains(&problem) {
            return;
        }
        let now = self.clock.now();
        for broken in broken_rules(refusal) {
            let BrokenRule {
                rule,
                pointers,
                detail,
            } = broken;
            tracing::warn!(
                source,
                problem,
                rule,
                pointers = pointers.join(" "),
                "refused a request: the sender must change it"
            );
            let request = DeniedRequest {
                source,
                problem,
                reason: rule,
                pointers,
                detail,
            };
            self.denied.record(request, now);
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
    /// The places in the body, without personal data.
    pointers: Vec<String>,
    /// A sentence about the first error.
    detail: String,
}

/// Returns the rules that a refused request breaks, each once.
fn broken_rules(refusal: &Refusal) -> Vec<BrokenRule<'_>> {
    let mut rules: BTreeMap<&str, BrokenRule<'_>> = BTreeMap::new();
    for error in refusal.errors() {
        let broken = rules.entry(&error.rule).or_insert_with(|| BrokenRule {
            rule: &error.rule,
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
        return vec![BrokenRule {
            rule: "-",
            pointers: Vec::new(),
            detail: refusal.detail(),
        }];
    }
    rules.into_values().collect()
}
