//! Explains the evaluation of a mapping on one event, expression by expression.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::budget;
use super::compared::ComparedKind;
use super::contract;
use super::error::EvalError;
use super::jq;
use super::located::{LocatedValue, ReadContext};
use super::used::ComparedPlaces;
use super::{CompiledRule, Field, FieldValue, Mapping, Update};
use crate::event::{EventError, RequestHeaders, pointer};
use crate::imprint::CustomerChange;

/// The explanation of how a mapping evaluates one event.
#[derive(Clone, Debug)]
pub struct MappingExplanation {
    /// One explanation for each expression of the mapping: first the mapping rules, then the Imprint fields.
    pub rules: Vec<RuleExplanation>,
    /// The places of the event that no mapping expression read, as JSON Pointers.
    pub unused: Vec<String>,
    /// The result of [`Mapping::map`].
    pub outcome: Result<Option<CustomerChange>, Vec<EventError>>,
}

/// The explanation of how one mapping expression evaluates the event.
#[derive(Clone, Debug)]
pub struct RuleExplanation {
    /// The Imprint field, or the name of the mapping rule.
    pub target: String,
    pub expression: String,
    /// Whether jaq interprets a part of the mapping expression.
    pub is_interpreted: bool,
    /// The places of the event that the mapping expression read, as JSON Pointers.
    pub reads: Vec<String>,
    pub result: RuleResult,
    /// The comparisons of the expression that show the kind of a value, or that compare a text with a number or a truth value.
    pub compared: Vec<ComparedKind>,
    /// Whether the event says nothing about the condition `when`: the result then comes from an absent value, which
    /// counts as null.
    pub is_assumed: bool,
    /// Whether the value of the condition `when` is a text or a number, which is always true.
    pub is_always_true: bool,
    /// Whether the result is no personal data: a decision of the bridge, or the id or the type of the event.
    pub is_public: bool,
    /// Whether the update leaves out the field because `only_changed` finds no difference in the field's group.
    pub is_unchanged: bool,
    /// Whether the update leaves out the field because a field that belongs with it has an invalid value.
    pub is_held_back: bool,
}

/// The result of a mapping expression on one event.
#[derive(Clone, PartialEq)]
pub enum RuleResult {
    /// The event does not contain the path to the value, so the update leaves the field unchanged.
    Absent,
    /// The event says that the source has no value any more, so the update clears the field.
    Cleared,
    Value(Value),
    /// The value is invalid, so the update leaves out the field.
    Skipped(EventError),
    /// The evaluation of the mapping expression on the event failed.
    Refused(EventError),
}

/// Prints the kind of the result, never the value, because the value is personal data.
impl fmt::Debug for RuleResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Cleared => "Cleared",
            Self::Value(_) => "Value",
            Self::Skipped(_) => "Skipped",
            Self::Refused(_) => "Refused",
        })
    }
}

/// A mapping expression that jaq interprets, entirely or in part.
#[derive(Clone, Copy, Debug)]
pub struct InterpretedRule<'a>(&'a CompiledRule);

impl<'a> InterpretedRule<'a> {
    /// Returns the Imprint field, or the name of the mapping rule.
    pub fn target(self) -> &'a str {
        &self.0.target
    }

    pub fn expression(self) -> &'a str {
        &self.0.expression
    }

    /// Evaluates the interpreted expression once, so that the caller can measure the time. Returns whether the
    /// evaluation succeeded.
    pub fn run(self, event: &Value) -> bool {
        budget::begin_event(budget::EVENT_STEPS_MAX);
        self.0.plan.read(&LocatedValue::of_event(event)).is_ok()
    }
}

impl Mapping {
    /// Returns the place of the version in an event, as a JSON Pointer. Returns an empty text if the mapping has no
    /// version, or if its expression fails.
    pub fn version_place(&self, event: &Value) -> String {
        budget::begin_event(budget::EVENT_STEPS_MAX);
        let rule = self.version.as_ref().map(|(_, rule)| rule);
        let located = rule.and_then(|rule| rule.plan.read(&LocatedValue::of_event(event)).ok());
        located.map(|located| located.pointer()).unwrap_or_default()
    }

    /// Explains the mapping of an event from a request with these headers. `root` is a JSON Pointer: the explanation lists
    /// only unused places inside `root`. `used` are places that something else than the mapping has read.
    pub fn explain(
        &self,
        event: &Value,
        headers: &RequestHeaders,
        root: &str,
        used: &[String],
    ) -> MappingExplanation {
        let when = self.when.as_ref();
        let when = when.map(|when| explained_condition(when, (event, headers)));
        let mut rules: Vec<RuleExplanation> = when.into_iter().collect();
        rules.extend(self.rules_after_when().map(|rule| {
            let read = explained(rule, (event, headers), |located| {
                Ok(located.into_value()?.map(FieldValue::from_value))
            });
            read.explanation(|_error| false)
        }));
        rules.extend(self.fields.iter().map(|field| {
            let read = explained(&field.rule, (event, headers), |located| {
                contract::field_value(&field.field, located)
            });
            read.explanation(|error| field.skips(error))
        }));
        self.mark_held_back(&mut rules);
        let mut unused = Vec::new();
        let mut reads: BTreeSet<&str> = rules
            .iter()
            .flat_map(|rule| rule.reads.iter().map(String::as_str))
            .collect();
        // The mapping compares the customer before the change as a whole, so every place inside it counts as read.
        let before = self
            .images
            .as_ref()
            .and_then(|images| images.before.origin(event));
        reads.extend(before.as_deref());
        reads.extend(used.iter().map(String::as_str));
        if let Some(part) = event.pointer(root) {
            add_unused(part, root, &reads, &mut unused);
        }
        let outcome = self.map_with_headers(event, headers);
        if let (Some(_), Ok(Some(change))) = (&self.images, &outcome) {
            mark_unchanged(&mut rules, &change.update);
        }
        MappingExplanation {
            rules,
            unused,
            outcome,
        }
    }

    /// Marks the fields that have a value, but that the update leaves out because a field that belongs with them has an
    /// invalid value.
    fn mark_held_back(&self, rules: &mut [RuleExplanation]) {
        let is_skipped = |rule: &&RuleExplanation| matches!(rule.result, RuleResult::Skipped(_));
        let skipped = rules.iter().filter(is_skipped);
        let skipped: Vec<Field> = skipped
            .filter_map(|rule| Field::parse(&rule.target))
            .collect();
        for rule in rules {
            let is_set = matches!(rule.result, RuleResult::Cleared | RuleResult::Value(_));
            let field = Field::parse(&rule.target).filter(|_| is_set);
            rule.is_held_back = field.is_some_and(|field| self.holds_back(skipped.iter(), &field));
        }
    }

    /// Returns all mapping rules except the rules of the fields.
    fn rules(&self) -> impl Iterator<Item = &CompiledRule> {
        self.when.iter().chain(self.rules_after_when())
    }

    /// Returns all mapping rules except the condition `when` and the rules of the fields.
    fn rules_after_when(&self) -> impl Iterator<Item = &CompiledRule> {
        let version = self.version.as_ref().map(|(_, rule)| rule);
        let images = self.images.as_ref();
        [
            self.imprint_id.as_ref(),
            self.partner_id.as_ref(),
            version,
            self.country.as_ref(),
            images.map(|images| &images.before),
            images.map(|images| &images.after),
        ]
        .into_iter()
        .flatten()
    }

    /// Returns every mapping expression that jaq interprets.
    pub fn interpreted_rules(&self) -> impl Iterator<Item = InterpretedRule<'_>> {
        self.rules()
            .chain(self.fields.iter().map(|field| &field.rule))
            .filter(|rule| rule.plan.is_interpreted())
            .map(InterpretedRule)
    }

    /// Returns the places that compiled expressions can read, as JSON Pointers. Only a run on an example event shows
    /// which places an interpreted expression reads.
    pub fn reads(&self) -> BTreeSet<String> {
        places(
            self.rules()
                .chain(self.fields.iter().map(|field| &field.rule)),
        )
    }
}

/// Returns the places of an event that the plans of the given mapping rules can read.
pub(super) fn places<'a>(rules: impl Iterator<Item = &'a CompiledRule>) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for rule in rules {
        rule.plan.add_places(&mut places);
    }
    places
}

/// Marks the fields that have a value, but that `only_changed` has left out of the update.
fn mark_unchanged(rules: &mut [RuleExplanation], update: &Update) {
    for rule in rules {
        let is_set = matches!(rule.result, RuleResult::Cleared | RuleResult::Value(_));
        let field = Field::parse(&rule.target).filter(|_| is_set && !rule.is_held_back);
        rule.is_unchanged = field.is_some_and(|field| update.value(&field).is_none());
    }
}

/// A mapping expression with its result on one event.
pub(super) struct EvaluatedRule<'a> {
    rule: &'a CompiledRule,
    reads: Vec<String>,
    compared: Vec<ComparedKind>,
    result: Result<Option<FieldValue>, EvalError>,
}

/// Evaluates a mapping expression, and logs the places that it reads.
pub(super) fn explained<'a>(
    rule: &'a CompiledRule,
    (event, headers): (&Value, &RequestHeaders),
    read: impl Fn(LocatedValue<'_>) -> Result<Option<FieldValue>, EvalError>,
) -> EvaluatedRule<'a> {
    budget::begin_event(budget::EVENT_STEPS_MAX);
    let context = ReadContext::logged(Some(headers));
    let located = rule.plan.read(&LocatedValue::in_context(event, &context));
    let result = located.and_then(read);
    let mut compared = context.compared();
    if rule.plan.is_interpreted() {
        let places = jq::compared(&rule.expression);
        compared.extend(ComparedPlaces::kinds(&places, event));
    }
    EvaluatedRule {
        rule,
        compared,
        reads: context.into_places(),
        result,
    }
}

/// Explains the condition `when`, with the decision that the bridge takes.
fn explained_condition(rule: &CompiledRule, input: (&Value, &RequestHeaders)) -> RuleExplanation {
    let is_assumed = Cell::new(false);
    let is_always_true = Cell::new(false);
    let read = explained(rule, input, |located| {
        is_assumed.set(located.is_absent());
        let value = located.compared();
        is_always_true.set(value.is_string() || value.is_number());
        Ok(Some(FieldValue::Set(Value::Bool(located.is_true()))))
    });
    RuleExplanation {
        is_assumed: is_assumed.get(),
        is_always_true: is_always_true.get(),
        is_public: true,
        ..read.explanation(|_error| false)
    }
}

impl EvaluatedRule<'_> {
    pub(super) fn explanation(self, skips: impl Fn(&EvalError) -> bool) -> RuleExplanation {
        let Self {
            rule,
            reads,
            compared,
            result,
        } = self;
        let result = match result {
            Ok(None) => RuleResult::Absent,
            Ok(Some(FieldValue::Cleared)) => RuleResult::Cleared,
            Ok(Some(FieldValue::Set(value))) => RuleResult::Value(value),
            Err(error) if skips(&error) => {
                RuleResult::Skipped(error.into_skipped_error(&rule.target))
            }
            Err(error) => RuleResult::Refused(error.into_event_error(&rule.target)),
        };
        RuleExplanation {
            target: rule.target.clone(),
            expression: rule.expression.clone(),
            is_interpreted: rule.plan.is_interpreted(),
            reads,
            compared,
            result,
            is_assumed: false,
            is_always_true: false,
            is_public: false,
            is_unchanged: false,
            is_held_back: false,
        }
    }
}

impl CompiledRule {
    /// Returns the place in the event from which the result of the mapping expression comes.
    fn origin(&self, event: &Value) -> Option<String> {
        budget::begin_event(budget::EVENT_STEPS_MAX);
        let located = self.plan.read(&LocatedValue::of_event(event)).ok()?;
        Some(located.pointer())
    }
}

/// Adds the unused places of `value`, which is at `place` in the event. If no expression reads anything inside a place,
/// the function adds only the place itself.
fn add_unused(value: &Value, place: &str, reads: &BTreeSet<&str>, unused: &mut Vec<String>) {
    if !pointer::any_inside(reads, place) {
        if !reads.contains(place) {
            unused.push(place.to_owned());
        }
        return;
    }
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                add_unused(member, &pointer::inside(place, key), reads, unused);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                add_unused(
                    item,
                    &pointer::inside(place, &index.to_string()),
                    reads,
                    unused,
                );
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
