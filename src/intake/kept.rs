//! The parts of an event that the store keeps: the parts that the schema describes, and the parts that the mapping or
//! the expression `body.type` can use.
//!
//! The bridge compiles the parts once, when it loads the configuration, so that the check of an event is one walk
//! through the event. A corrected mapping can read every kept part of a stored event.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

use jsonschema::Validator;
use serde_json::Value;

use super::card_number;
use super::schema::Schema;
use crate::event::pointer;
use crate::mapping::{JsonEnvelope, Mapping, UsedExtent, UsedPart, UsedStep};

/// The attributes of a CloudEvents event that the bridge needs to decode the stored event again, and the time.
const ATTRIBUTES: [&str; 5] = ["id", "source", "specversion", "time", "type"];

/// The parts of the events of one type that the store keeps.
pub struct KeptParts {
    /// The rules for the values of an event. The first rule applies to the event itself, in the form that the schema
    /// and the mapping read. Without rules, the store keeps whole events.
    rules: Vec<KeptRule>,
}

/// The position of a rule in [`KeptParts`].
pub(super) type RuleIndex = usize;

/// The rule for the parts of one value.
#[derive(Debug, Default)]
pub(super) struct KeptRule {
    /// The store keeps everything inside the value. The other members of this struct then have no effect.
    pub(super) is_whole: bool,
    pub(super) members: BTreeMap<String, RuleIndex>,
    pub(super) others: Option<OtherMembers>,
    pub(super) items: Option<KeptItems>,
}

/// The rule for the members of an object that have no rule of their own.
#[derive(Debug)]
pub(super) struct OtherMembers {
    /// The patterns of which the name must match one. `None` means that the store keeps every member.
    pub(super) patterns: Option<Vec<Validator>>,
    pub(super) rule: RuleIndex,
}

/// The rule for the items of an array.
#[derive(Debug)]
pub(super) struct KeptItems {
    /// The number of items that the store keeps. `None` means all items.
    pub(super) count: Option<usize>,
    pub(super) rule: RuleIndex,
}

/// What the bridge finds in an event before it stores the event.
#[derive(Debug, Default)]
pub(super) struct PartsFound {
    /// Whether the event has parts that the store does not keep.
    pub(super) has_others: bool,
    /// The places of card numbers in the kept parts, as JSON Pointers.
    pub(super) card_numbers: Vec<String>,
}

/// Prints only the number of rules, because the rules are long.
impl fmt::Debug for KeptParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptParts")
            .field("rules", &self.rules.len())
            .finish_non_exhaustive()
    }
}

impl KeptParts {
    /// Compiles the parts that the store keeps of the events of one type. `envelope` is the table `[body]` of a source
    /// that sends plain JSON.
    pub(super) fn compile(
        schema: &Schema,
        mapping: &Mapping,
        envelope: Option<&JsonEnvelope>,
    ) -> Self {
        let mut used = mapping.used();
        match envelope {
            Some(envelope) => used.extend(envelope.used_by_type()),
            None => used.extend(ATTRIBUTES.map(|name| UsedPart {
                steps: vec![UsedStep::Member(name.to_owned())],
                extent: UsedExtent::Whole,
            })),
        }
        Self {
            rules: schema.kept_rules(&used),
        }
    }

    /// Returns the rules of a source that keeps whole events.
    pub(super) const fn whole() -> Self {
        Self { rules: Vec::new() }
    }

    /// Looks for parts that the store does not keep. With `finds_cards`, also looks for card numbers in the other parts.
    pub(super) fn look(&self, event: &Value, finds_cards: bool) -> PartsFound {
        let mut search = PartSearch {
            parts: self,
            finds_cards,
            found: PartsFound::default(),
        };
        search.value(event, 0, &WalkedPlace::Event);
        search.found
    }

    /// Removes the parts that the store does not keep from an event.
    pub(super) fn remove_others(&self, event: &mut Value) {
        self.remove_inside(event, 0);
    }

    fn remove_inside(&self, value: &mut Value, rule: RuleIndex) {
        let Some(rule) = self.limiting(rule) else {
            return;
        };
        match value {
            Value::Object(members) => members.retain(|name, member| {
                let inner = rule.member(name);
                inner.is_some_and(|inner| {
                    self.remove_inside(member, inner);
                    true
                })
            }),
            Value::Array(items) => match &rule.items {
                None => items.clear(),
                Some(kept) => {
                    items.truncate(kept.count.unwrap_or(usize::MAX));
                    for item in items {
                        self.remove_inside(item, kept.rule);
                    }
                }
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Returns the rule, or `None` if the store keeps the whole value.
    fn limiting(&self, rule: RuleIndex) -> Option<&KeptRule> {
        self.rules.get(rule).filter(|rule| !rule.is_whole)
    }
}

/// Adds the places of the parts that `kept` does not have of `event`, as JSON Pointers. `*` stands for every item, and for a
/// name that can be a value.
pub(super) fn add_removed(
    event: &Value,
    kept: &Value,
    place: &str,
    removed: &mut BTreeSet<String>,
) {
    match (event, kept) {
        (Value::Object(members), Value::Object(kept)) => {
            for (name, member) in members {
                let place = pointer::without_values(&pointer::inside(place, name));
                match kept.get(name) {
                    Some(kept) => add_removed(member, kept, &place, removed),
                    None => _ = removed.insert(place),
                }
            }
        }
        (Value::Array(items), Value::Array(kept)) => {
            let place = format!("{place}/*");
            for (item, kept) in items.iter().zip(kept) {
                add_removed(item, kept, &place, removed);
            }
            if items.len() > kept.len() {
                removed.insert(place);
            }
        }
        (_, _) => {}
    }
}

impl KeptRule {
    /// Returns the rule of a member, or `None` if the store does not keep the member.
    fn member(&self, name: &str) -> Option<RuleIndex> {
        let known = self.members.get(name).copied();
        known.or_else(|| self.other(name))
    }

    /// Returns the rule of a member without a rule of its own.
    fn other(&self, name: &str) -> Option<RuleIndex> {
        let others = self.others.as_ref()?;
        let is_kept = others.patterns.as_ref().is_none_or(|patterns| {
            let name = Value::from(name);
            patterns.iter().any(|pattern| pattern.is_valid(&name))
        });
        is_kept.then_some(others.rule)
    }

    /// Returns a function that does the same as [`Self::member`]. The function is fast for the members of an object in
    /// the order of their names: it compares each name with the next name of the rule before it searches.
    fn members_in_order(&self) -> impl FnMut(&str) -> Option<RuleIndex> {
        let mut next = self.members.range::<str, _>(..);
        move |name| {
            let mut known = next.next();
            if known.is_none_or(|(known, _)| known != name) {
                let rest = (Bound::Included(name), Bound::Unbounded);
                next = self.members.range::<str, _>(rest);
                known = next.next().filter(|(known, _)| *known == name);
            }
            let rule = known.map(|(_, rule)| *rule);
            rule.or_else(|| self.other(name))
        }
    }
}

/// A walk through an event.
struct PartSearch<'p> {
    parts: &'p KeptParts,
    finds_cards: bool,
    found: PartsFound,
}

/// The place of a value in an event, without allocated memory: only the place of a card number becomes a text.
enum WalkedPlace<'a> {
    Event,
    Member(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl PartSearch<'_> {
    fn value(&mut self, value: &Value, rule: RuleIndex, place: &WalkedPlace<'_>) {
        let rule_index = rule;
        let rule = self.parts.limiting(rule);
        if rule.is_none() && !self.finds_cards {
            return;
        }
        match value {
            Value::Object(members) => {
                let mut rules = rule.map(KeptRule::members_in_order);
                for (name, member) in members {
                    let inner = match &mut rules {
                        Some(rules) => rules(name),
                        None => Some(rule_index),
                    };
                    match inner {
                        Some(inner) => self.member((name, member), inner, place),
                        None => self.found.has_others = true,
                    }
                }
            }
            Value::Array(items) => {
                let (count, inner) = match rule.map(|rule| &rule.items) {
                    None => (usize::MAX, rule_index),
                    Some(None) => (0, rule_index),
                    Some(Some(kept)) => (kept.count.unwrap_or(usize::MAX), kept.rule),
                };
                self.found.has_others |= items.len() > count;
                for (index, item) in items.iter().take(count).enumerate() {
                    self.value(item, inner, &WalkedPlace::Item(place, index));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                if self.finds_cards && card_number::is_in_scalar(value) {
                    self.found.add_card_number(place);
                }
            }
        }
    }

    fn member(&mut self, (name, member): (&str, &Value), rule: RuleIndex, outer: &WalkedPlace<'_>) {
        if self.finds_cards && card_number::is_in_text(name) {
            self.found.add_card_number(outer);
        } else {
            self.value(member, rule, &WalkedPlace::Member(outer, name));
        }
    }
}

impl PartsFound {
    fn add_card_number(&mut self, place: &WalkedPlace<'_>) {
        if self.card_numbers.len() < card_number::ERRORS_MAX {
            self.card_numbers.push(place.pointer());
        }
    }
}

impl WalkedPlace<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Event => String::new(),
            Self::Member(outer, name) => pointer::inside(&outer.pointer(), name),
            Self::Item(outer, index) => pointer::inside(&outer.pointer(), &index.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_in_order_are_the_rules_of_the_names() {
        let members = ["b", "c", "e"].into_iter().zip(1..);
        let rule = |others| KeptRule {
            members: members
                .clone()
                .map(|(name, rule)| (name.to_owned(), rule))
                .collect(),
            others,
            ..KeptRule::default()
        };
        let others = OtherMembers {
            patterns: None,
            rule: 9,
        };
        for rule in [rule(None), rule(Some(others))] {
            for names in ["abcdef", "bce", "ace", "b", "f", "", "ecb", "bbee"] {
                let each = names.split("").filter(|name| !name.is_empty());
                let in_order: Vec<_> = each.clone().map(rule.members_in_order()).collect();
                let expected: Vec<_> = each.map(|name| rule.member(name)).collect();
                assert_eq!(in_order, expected, "{names}");
            }
        }
    }
}
