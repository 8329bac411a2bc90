//! The sandbox's fault rules. The rules decide which faults each call gets.
//!
//! A fault rule has conditions for calls, and one action for every call that meets the conditions. The sandbox checks
//! an outage first, and then the rules in the order in which a tester added them. A call gets the delay of each
//! matching rule, until a rule matches whose action is not a delay. The call gets the action of this rule too, and the
//! sandbox checks no more rules. The random numbers come from a seed, so calls that arrive in the same order get the
//! same faults.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::imprint::ImprintId;
use crate::random::SeededRandom;
use crate::time::Timestamp;

use super::Error;
use super::api::SandboxCall;
use super::fault_action::{FaultAction, FaultTiming, FinalStatus, StatusFault};

/// The maximum number of fault rules. The sandbox checks every rule for each call.
const RULES_MAX: usize = 1_000;
/// The maximum delay of one call. No test has a longer deadline.
pub(super) const DELAY_MAX: Duration = Duration::from_secs(600);

/// A fault rule: conditions that a call must meet, a probability, an end, and one action.
///
/// ```json
/// {"customer": "ID", "method": "POST", "body_has": "/email", "rate": 0.5, "times": 3, "for_ms": 60000, "action": {"status": 503}}
/// ```
///
/// Only `action` is required. A rule with only an action matches every call, until a tester deletes the rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub struct FaultRule {
    terms: RuleFields,
    given: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFields {
    customer: Option<String>,
    method: Option<String>,
    /// A JSON Pointer. The fault rule matches only calls whose JSON body has a value at this place.
    body_has: Option<String>,
    #[serde(default)]
    rate: Probability,
    times: Option<u64>,
    for_ms: Option<u64>,
    action: FaultAction,
}

/// The probability, from 0 to 1, that a matching call gets the fault.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "f64")]
struct Probability(f64);

impl Default for Probability {
    fn default() -> Self {
        Self(1.0)
    }
}

impl TryFrom<f64> for Probability {
    type Error = &'static str;

    fn try_from(rate: f64) -> Result<Self, &'static str> {
        if (0.0..=1.0).contains(&rate) {
            Ok(Self(rate))
        } else {
            Err("a rate is a number from 0 to 1")
        }
    }
}

impl TryFrom<Value> for FaultRule {
    type Error = serde_json::Error;

    fn try_from(given: Value) -> Result<Self, serde_json::Error> {
        let terms = RuleFields::deserialize(&given)?;
        Ok(Self { terms, given })
    }
}

/// An active fault rule.
struct ActiveRule {
    rule: FaultRule,
    ends_at: Option<Timestamp>,
    times_left: Option<u64>,
    fired: u64,
}

impl ActiveRule {
    fn new(rule: FaultRule, now: Timestamp) -> Self {
        Self {
            ends_at: rule
                .terms
                .for_ms
                .map(|span| now.after(Duration::from_millis(span))),
            times_left: rule.terms.times,
            fired: 0,
            rule,
        }
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.times_left == Some(0) || self.ends_at.is_some_and(|end| end <= now)
    }

    fn matches(&self, call: &SandboxCall) -> bool {
        let terms = &self.rule.terms;
        let is_customer = terms.customer.as_deref().is_none_or(|wanted| {
            call.customer.as_deref().is_some_and(|id| {
                ImprintId::parse(id).map_or(id == wanted, |id| id.is_same(wanted))
            })
        });
        let is_method = terms
            .method
            .as_deref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(call.method.as_str()));
        let has_value = terms.body_has.as_deref().is_none_or(|pointer| {
            let body = serde_json::from_slice::<Value>(&call.body).unwrap_or_default();
            body.pointer(pointer).is_some()
        });
        is_customer && is_method && has_value
    }

    fn fire(&mut self) {
        self.fired = self.fired.saturating_add(1);
        self.times_left = self.times_left.map(|left| left.saturating_sub(1));
    }
}

/// The faults that one call gets.
#[derive(Debug, Default)]
pub(super) struct FaultPlan {
    /// The delay before the update.
    pub(super) delay_before: Duration,
    /// The delay between the update and the answer.
    pub(super) delay_after: Duration,
    /// The fault that replaces or changes the answer. This action is never a delay.
    pub(super) action: Option<FaultAction>,
}

impl FaultPlan {
    /// Returns the name that the ledger shows for the fault.
    pub(super) fn label(&self) -> Option<&'static str> {
        let is_delayed = !(self.delay_before.is_zero() && self.delay_after.is_zero());
        self.action
            .as_ref()
            .map(FaultAction::label)
            .or_else(|| is_delayed.then_some("latency"))
    }
}

/// The active fault rules, and the random numbers for rules with a rate below 1.
pub(super) struct FaultRules {
    active: Vec<ActiveRule>,
    random: SeededRandom,
}

impl FaultRules {
    pub(super) fn new(random_seed: u64) -> Self {
        Self {
            active: Vec::new(),
            random: SeededRandom::new(random_seed),
        }
    }

    pub(super) fn add(&mut self, rules: Vec<FaultRule>, now: Timestamp) -> Result<(), Error> {
        self.active.retain(|active| !active.is_expired(now));
        if self.active.len().saturating_add(rules.len()) > RULES_MAX {
            return Err(Error::RulesFull {
                rules_max: RULES_MAX,
            });
        }
        let added = rules.into_iter().map(|rule| ActiveRule::new(rule, now));
        self.active.extend(added);
        Ok(())
    }

    /// Adds an outage as the first fault rule. The outage counts in addition to the maximum number of rules.
    pub(super) fn outage(&mut self, span: Duration, now: Timestamp) {
        let for_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let rule = FaultRule {
            terms: RuleFields {
                customer: None,
                method: None,
                body_has: None,
                rate: Probability::default(),
                times: None,
                for_ms: Some(for_ms),
                action: FaultAction::Status(StatusFault::new(FinalStatus::UNAVAILABLE)),
            },
            given: json!({"for_ms": for_ms, "action": {"status": 503}}),
        };
        self.active.retain(|active| !active.is_expired(now));
        self.active.truncate(RULES_MAX);
        self.active.insert(0, ActiveRule::new(rule, now));
    }

    pub(super) fn clear(&mut self) {
        self.active.clear();
    }

    /// Decides which faults a call gets, counts the rules that fired, and deletes expired rules.
    pub(super) fn draw(&mut self, call: &SandboxCall, now: Timestamp) -> FaultPlan {
        self.active.retain(|active| !active.is_expired(now));
        let mut plan = FaultPlan::default();
        for active in &mut self.active {
            let Probability(rate) = active.rule.terms.rate;
            if !active.matches(call) || (rate < 1.0 && self.random.unit() >= rate) {
                continue;
            }
            active.fire();
            if let FaultAction::Latency { latency_ms, after } = active.rule.terms.action {
                let delay = match after {
                    FaultTiming::BeforeUpdate => &mut plan.delay_before,
                    FaultTiming::AfterUpdate => &mut plan.delay_after,
                };
                *delay = delay.saturating_add(Duration::from_millis(latency_ms));
            } else {
                plan.action = Some(active.rule.terms.action.clone());
                break;
            }
        }
        plan
    }

    /// Returns the active fault rules in their original form, with the number of times that each rule fired.
    pub(super) fn describe(&mut self, now: Timestamp) -> Value {
        self.active.retain(|active| !active.is_expired(now));
        self.active
            .iter()
            .map(|active| {
                json!({
                    "rule": active.rule.given,
                    "fired": active.fired,
                    "times_left": active.times_left,
                    "ends_at_ms": active.ends_at.map(Timestamp::as_millis),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::Method;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn faults(rules: Value) -> FaultRules {
        let mut faults = FaultRules::new(7);
        let rules: Vec<FaultRule> = serde_json::from_value(rules).unwrap();
        faults.add(rules, NOW).unwrap();
        faults
    }

    fn update(id: &str) -> SandboxCall {
        SandboxCall {
            method: Method::POST,
            customer: Some(id.to_owned()),
            ..SandboxCall::default()
        }
    }

    fn label(faults: &mut FaultRules, call: &SandboxCall) -> Option<&'static str> {
        faults.draw(call, NOW).label()
    }

    #[test]
    fn a_rule_matches_the_calls_that_it_states() {
        let uuid = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";
        for (rule, id, met) in [
            (json!({}), "a", true),
            (json!({"customer": "a"}), "a", true),
            (json!({"customer": "a"}), "b", false),
            (json!({"customer": uuid.to_lowercase()}), uuid, true),
            (json!({"method": "post"}), "a", true),
            (json!({"method": "GET"}), "a", false),
            (json!({"rate": 0}), "a", false),
        ] {
            let mut rule = rule;
            rule["action"] = json!({"hang": true});
            let drawn = label(&mut faults(json!([rule])), &update(id));
            assert_eq!(drawn.is_some(), met, "{rule} {id}");
        }
        let mut named = faults(json!([{"customer": "a", "action": {"hang": true}}]));
        assert_eq!(label(&mut named, &SandboxCall::default()), None);
    }

    #[test]
    fn a_rule_ends_by_count_and_by_time() {
        let mut counted = faults(json!([{"times": 2, "action": {"hang": true}}]));
        let drawn: Vec<_> = (0..3).map(|_| label(&mut counted, &update("a"))).collect();
        assert_eq!(drawn, [Some("hang"), Some("hang"), None]);
        let mut timed = faults(json!([{"for_ms": 5, "action": {"hang": true}}]));
        assert_eq!(label(&mut timed, &update("a")), Some("hang"));
        let later = NOW.after(Duration::from_millis(5));
        assert!(timed.draw(&update("a"), later).action.is_none());
        assert_eq!(timed.describe(later), json!([]));
    }

    #[test]
    fn delays_add_up_and_the_first_other_fault_ends_the_search() {
        let mut faults = faults(json!([
            {"action": {"latency_ms": 5}},
            {"action": {"latency_ms": 7, "after": "apply"}},
            {"action": {"latency_ms": 9}},
            {"action": {"status": 500}},
            {"action": {"reset": true}},
        ]));
        let plan = faults.draw(&update("a"), NOW);
        assert_eq!(plan.delay_before, Duration::from_millis(14));
        assert_eq!(plan.delay_after, Duration::from_millis(7));
        assert_eq!(plan.label(), Some("status"));
        assert_eq!(faults.describe(NOW)[4]["fired"], 0);
    }

    #[test]
    fn the_same_seed_hits_the_same_calls_at_about_the_rate() {
        let rules = json!([{"rate": 0.25, "action": {"hang": true}}]);
        let draws = |mut faults: FaultRules| -> Vec<bool> {
            (0..4_000)
                .map(|_| label(&mut faults, &update("a")).is_some())
                .collect()
        };
        let drawn = draws(faults(rules.clone()));
        assert_eq!(drawn, draws(faults(rules)));
        let met = drawn.iter().filter(|met| **met).count();
        assert!((900..1_100).contains(&met), "{met}");
    }

    #[test]
    fn an_outage_comes_before_every_rule() {
        let mut faults = faults(json!([{"action": {"hang": true}}]));
        faults.outage(Duration::from_millis(5), NOW);
        assert_eq!(label(&mut faults, &update("a")), Some("status"));
    }

    #[test]
    fn rules_beyond_the_maximum_are_rejected_together() {
        let mut faults = faults(json!([]));
        let rule: FaultRule = serde_json::from_value(json!({"action": {"hang": true}})).unwrap();
        assert!(faults.add(vec![rule.clone(); RULES_MAX], NOW).is_ok());
        assert!(matches!(
            faults.add(vec![rule], NOW),
            Err(Error::RulesFull { .. })
        ));
    }

    #[test]
    fn an_invalid_rule_is_rejected() {
        for rule in [
            json!({}),
            json!({"action": {}}),
            json!({"action": {"hang": false}}),
            json!({"action": {"hang": true, "reset": true}}),
            json!({"action": {"hang": true}, "rat": 1}),
            json!({"action": {"hang": true}, "rate": 1.5}),
            json!({"action": {"status": 103}}),
            json!({"action": {"status": 700}}),
            json!({"action": {"interim": 200}}),
            json!({"action": {"status": 503, "retry_after": "a\nb"}}),
            json!({"action": {"status": 503, "shape": "xml"}}),
        ] {
            assert!(FaultRule::try_from(rule.clone()).is_err(), "{rule}");
        }
    }
}
