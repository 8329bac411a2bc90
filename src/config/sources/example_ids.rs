//! Notes about the ids of events, the customers and the versions in the examples of a source.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::event::pointer;
use crate::intake::{Explanation, Source, TargetExplanation, TargetResult};

/// The expression in `[body]` for the id of an event.
const BODY_ID: &str = "body.id";
/// The rule with the version of an event.
const VERSION: &str = "version";
/// The rules that name the customer of an event.
const CUSTOMER_RULES: [&str; 2] = ["customer.imprint_id", "customer.partner_id"];

/// What the examples of a source show about ids, customers and versions.
#[derive(Debug, Default)]
pub(crate) struct ExampleIds {
    /// For each event id that `body.id` gives, the different results of the events with this id.
    ids: BTreeMap<String, BTreeSet<String>>,
    /// The ids that several events of one body have, each with the number of these events.
    in_one_body: BTreeMap<String, usize>,
    /// The expression `body.id`, if it is a constant.
    constant_id: Option<String>,
    /// The rules that name the customer of an event and are constants, each with its expression.
    constant_customers: BTreeSet<(String, String)>,
    /// The rules that name the customer with the same expression as `body.id`.
    event_id_customers: BTreeSet<String>,
    /// The expressions of versions that are constants.
    constant_versions: BTreeSet<String>,
    /// The places of times that `body.id` reads.
    time_ids: BTreeSet<String>,
}

/// Returns whether the expression of a rule is a constant.
fn is_constant(rule: &TargetExplanation) -> bool {
    serde_json::from_str::<Value>(&rule.expression).is_ok() && rule.reads.is_empty()
}

/// Returns whether a text is a time, such as `2026-11-20 22:17:22 +00:00`, and nothing else.
fn is_time(text: &str) -> bool {
    let of_time = |sign: char| sign.is_ascii_digit() || "-:+. TZ".contains(sign);
    let date = text.get(..10).unwrap_or_default();
    let has_clock = text.get(10..).is_some_and(|clock| clock.contains(':'));
    let is_date = date.split('-').map(str::len).eq([4, 2, 2]);
    is_date && has_clock && text.chars().all(of_time)
}

impl ExampleIds {
    /// Returns the notes about constants that must differ between events, and about an expression `body.id` that gives several
    /// events one id. The bridge takes the second of these events for a changed repetition of the first, and refuses or parks
    /// it.
    pub(crate) fn notes(&self) -> Vec<String> {
        if let Some(expression) = &self.constant_id {
            return vec![format!(
                "body.id = {expression} is a constant, so all events have one id, and the bridge refuses each event after the first: read an id that each event has for itself"
            )];
        }
        let constant = self.constant_customers.iter();
        let constant = constant.map(|(rule, expression)| {
            format!("{rule} = {expression} is a constant, so all events change one customer: read the id of the customer from the event")
        });
        let versions = self.constant_versions.iter();
        let versions = versions.map(|expression| {
            format!("version = {expression} is a constant, so it orders no events, and a late event can replace newer values: read a number or a time that grows with each change")
        });
        let customers = self.event_id_customers.iter().map(|rule| {
            format!("{rule} reads the same path as body.id: one of the two is wrong, because a customer has several events, and each event has an id of its own")
        });
        let times = self.time_ids.iter().map(|read| {
            format!("body.id reads {read}, a time: two events at one time have one id, and the bridge refuses the second one. Read the id of the event, or write id = \"digest\"")
        });
        let split = self.in_one_body.iter().map(|(id, events)| {
            format!(
                "{events} different events of one body have the id {id:?}, and the bridge refuses or parks all but the first: if each is a change of its own, body.id must read an id of each; if they are one change, correct body.split"
            )
        });
        let shared = self.ids.iter().filter(|(_, results)| results.len() > 1);
        let shared = shared.filter(|(id, _)| !self.in_one_body.contains_key(*id));
        let shared = shared.map(|(id, results)| {
            format!(
                "body.id gives the id {id:?} to {} different events of the examples: if body.id reads a value that several events share, such as the id of the customer, the bridge refuses each event after the first",
                results.len()
            )
        });
        constant
            .chain(versions)
            .chain(customers)
            .chain(times)
            .chain(split)
            .chain(shared)
            .collect()
    }

    /// Records the rules of the events of an example.
    pub(super) fn observe(&mut self, source: &Source, explanation: &Explanation) {
        if source.json_envelope.is_some() {
            self.observe_body(explanation);
        }
        for event in &explanation.events {
            let targets: Vec<&TargetExplanation> = event.targets.iter().flatten().collect();
            let id = targets.iter().find(|rule| rule.target == BODY_ID);
            for rule in &targets {
                self.observe_rule(rule, id.copied());
            }
            if source.json_envelope.is_none() {
                continue;
            }
            let constant = id.filter(|rule| is_constant(rule));
            self.constant_id = constant.map(|rule| rule.expression.clone());
            // The bridge refuses an empty id, and the result of the example says so.
            let id = event.id.as_ref().filter(|id| !id.trim().is_empty());
            if let (Some(id), Ok(result)) = (id, serde_json::to_string(&event.outcome)) {
                self.ids.entry(id.clone()).or_default().insert(result);
            }
        }
    }

    /// Records the ids that several events of a body have.
    fn observe_body(&mut self, explanation: &Explanation) {
        let mut events: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for event in &explanation.events {
            let id = event.id.as_deref().filter(|id| !id.trim().is_empty());
            // An equal event is a repetition, which the bridge accepts.
            if let (Some(id), Ok(result)) = (id, serde_json::to_string(&event.outcome)) {
                events.entry(id).or_default().insert(result);
            }
        }
        let several = events.into_iter().filter(|(_, results)| results.len() > 1);
        self.in_one_body
            .extend(several.map(|(id, results)| (id.to_owned(), results.len())));
    }

    /// Records a version that is a constant, an id of an event that is a time, and a customer whose id is a constant or the id of
    /// the event.
    fn observe_rule(&mut self, rule: &TargetExplanation, id: Option<&TargetExplanation>) {
        let (target, expression) = (rule.target.clone(), rule.expression.clone());
        let is_customer = CUSTOMER_RULES.contains(&target.as_str());
        let is_id = id.is_some_and(|id| id.expression == expression && !id.reads.is_empty());
        if target == BODY_ID
            && let ([read], TargetResult::Value { value }) = (rule.reads.as_slice(), &rule.result)
            && value.as_str().is_some_and(is_time)
        {
            self.time_ids.insert(pointer::without_values(read));
        } else if target == VERSION && is_constant(rule) {
            self.constant_versions.insert(expression);
        } else if is_customer && is_constant(rule) {
            self.constant_customers.insert((target, expression));
        } else if is_customer && is_id {
            self.event_id_customers.insert(target);
        }
    }
}
