//! What a mapping makes of one event, expression by expression.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::contract;
use super::located::{EvalError, LocatedValue, ReadLog};
use super::{CompiledRule, FieldValue, Mapping};
use crate::event::{EventError, pointer};
use crate::imprint::CustomerChange;

/// A mapping at work on one event.
#[derive(Clone, Debug)]
pub struct MappingExplanation {
    /// Every expression, the ones that find the customer first.
    pub rules: Vec<RuleExplanation>,
    /// The places of the event that no expression looked at, as JSON Pointers.
    pub unused: Vec<String>,
    /// What the event comes to, as [`Mapping::map`] says it.
    pub outcome: Result<Option<CustomerChange>, Vec<EventError>>,
}

/// One expression at work.
#[derive(Clone, Debug)]
pub struct RuleExplanation {
    /// The field, or the name of the rule.
    pub target: String,
    /// The expression.
    pub expression: String,
    /// Whether it runs on jaq.
    pub is_interpreted: bool,
    /// The places of the event that it looked at, as JSON Pointers.
    pub reads: Vec<String>,
    /// What it came to.
    pub result: RuleResult,
}

/// What an expression came to.
#[derive(Clone, PartialEq)]
pub enum RuleResult {
    /// The event says nothing; the field is left alone.
    Absent,
    /// The source has no value any more.
    Cleared,
    /// This.
    Value(Value),
    /// It cannot be read.
    Refused(EventError),
}

/// Never the value: it is personal data.
impl fmt::Debug for RuleResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Cleared => "Cleared",
            Self::Value(_) => "Value",
            Self::Refused(_) => "Refused",
        })
    }
}

/// An expression that runs on jaq.
#[derive(Clone, Copy, Debug)]
pub struct InterpretedRule<'a>(&'a CompiledRule);

impl<'a> InterpretedRule<'a> {
    /// What it is for.
    pub fn target(self) -> &'a str {
        &self.0.target
    }

    /// Its text.
    pub fn expression(self) -> &'a str {
        &self.0.expression
    }

    /// Runs it once, to see what that costs.
    pub fn run(self, event: &Value) -> bool {
        self.0.plan.read(&LocatedValue::whole(event)).is_ok()
    }
}

impl Mapping {
    /// Explains an event; `root` is the part of it whose unused places are of interest, as a JSON Pointer.
    pub fn explain(&self, event: &Value, root: &str) -> MappingExplanation {
        let mut rules: Vec<RuleExplanation> = self
            .rules()
            .map(|rule| {
                explained(rule, event, |reading| {
                    Ok(reading
                        .value()
                        .map(|value| FieldValue::from_value(value.clone())))
                })
            })
            .collect();
        rules.extend(self.fields.iter().map(|line| {
            explained(&line.rule, event, |reading| {
                contract::fact(line.form, reading)
            })
        }));
        let mut unused = Vec::new();
        let mut reads: BTreeSet<&str> = rules
            .iter()
            .flat_map(|line| line.reads.iter().map(String::as_str))
            .collect();
        let older = self
            .images
            .as_ref()
            .and_then(|images| images.before.origin(event));
        reads.extend(older.as_deref());
        if let Some(part) = event.pointer(root) {
            note_unused(part, root, &reads, &mut unused);
        }
        MappingExplanation {
            rules,
            unused,
            outcome: self.map(event),
        }
    }

    /// The rules beside the fields.
    fn rules(&self) -> impl Iterator<Item = &CompiledRule> {
        let version = self.version.as_ref().map(|(_, rule)| rule);
        let images = self.images.as_ref();
        [
            self.when.as_ref(),
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

    /// Every expression that runs on jaq.
    pub fn interpreted_rules(&self) -> impl Iterator<Item = InterpretedRule<'_>> {
        self.rules()
            .chain(self.fields.iter().map(|line| &line.rule))
            .filter(|rule| rule.plan.is_interpreted())
            .map(InterpretedRule)
    }

    /// The places that expressions read in every event, as JSON Pointers; what runs on jaq is known from examples only.
    pub fn reads(&self) -> BTreeSet<String> {
        places(
            self.rules()
                .chain(self.fields.iter().map(|line| &line.rule)),
        )
    }
}

/// The places that the plans of some rules read.
pub(super) fn places<'a>(rules: impl Iterator<Item = &'a CompiledRule>) -> BTreeSet<String> {
    let mut places = Vec::new();
    for rule in rules {
        rule.plan.places(&mut places);
    }
    places.into_iter().collect()
}

fn explained(
    rule: &CompiledRule,
    event: &Value,
    read: impl Fn(LocatedValue<'_>) -> Result<Option<FieldValue>, EvalError>,
) -> RuleExplanation {
    let seen = ReadLog::default();
    let result = match rule
        .plan
        .read(&LocatedValue::watched(event, &seen))
        .and_then(read)
    {
        Ok(None) => RuleResult::Absent,
        Ok(Some(FieldValue::Cleared)) => RuleResult::Cleared,
        Ok(Some(FieldValue::Set(value))) => RuleResult::Value(value),
        Err(refused) => RuleResult::Refused(refused.into_fault(&rule.target)),
    };
    RuleExplanation {
        target: rule.target.clone(),
        expression: rule.expression.clone(),
        is_interpreted: rule.plan.is_interpreted(),
        reads: seen.into_places(),
        result,
    }
}

impl CompiledRule {
    /// The place of the event that the expression found its value at.
    fn origin(&self, event: &Value) -> Option<String> {
        let reading = self.plan.read(&LocatedValue::whole(event)).ok()?;
        Some(reading.pointer())
    }
}

/// Notes what of `value`, which stands at `place`, nobody has looked at: as little as says it all.
fn note_unused(value: &Value, place: &str, reads: &BTreeSet<&str>, unused: &mut Vec<String>) {
    if !pointer::any_inside(reads, place) {
        if !reads.contains(place) {
            unused.push(place.to_owned());
        }
        return;
    }
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                note_unused(member, &pointer::inside(place, key), reads, unused);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                note_unused(
                    item,
                    &pointer::inside(place, &number.to_string()),
                    reads,
                    unused,
                );
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
