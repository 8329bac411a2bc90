//! The parts of an event that a schema describes, as rules for [`kept`](crate::intake::kept).
//!
//! A schema describes a member if the schema names it (in `properties`, `required` and so on), if the name matches a
//! pattern of `patternProperties`, or if `additionalProperties` or `unevaluatedProperties` has a schema for it. A
//! schema describes an item if `items`, `prefixItems`, `contains` or another keyword has a schema for it, or if a
//! keyword counts or compares the items. Inside a described part, the same rule applies again. The schemas `true` and
//! `{}` describe everything inside a named member or an item, and nothing in `additionalProperties`, where they say
//! only that the member is allowed.
//!
//! The description is the union of all subschemas, also of those that do not apply to an event (`anyOf`, `if`, `not`).
//! The union keeps more than the evaluated properties of JSON Schema. In exchange, an event without its other parts
//! almost always gets the same result from the schema; the caller checks this.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::Schema;
use super::bounds::{references, same_place, target};
use crate::intake::kept::{KeptItems, KeptRule, OtherMembers, RuleIndex};
use crate::mapping::UsedPart;

mod applied;
mod used_tree;

use applied::{
    compiled, item_lists, item_schemas, names, other_members, pattern_members, speaking,
};
use used_tree::{UsedNode, UsedTree};

/// The maximum number of rules for one schema and its mapping. The largest schema in this repository needs about 60
/// rules. A larger schema keeps whole events.
const RULES_MAX: usize = 10_000;

/// The keywords that say nothing about a value.
const ANNOTATIONS: [&str; 15] = [
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$id",
    "$recursiveAnchor",
    "$schema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];
/// The keywords whose subschemas or references apply to the same value, and so speak for themselves.
const REFERENCES: [&str; 4] = ["$dynamicRef", "$recursiveRef", "$ref", "allOf"];
/// The keywords that count or compare the items of an array.
const COUNTS: [&str; 4] = ["minItems", "maxItems", "minContains", "maxContains"];

impl Schema {
    /// Returns the rules for the parts of an event that the schema describes, or that `used` contains. The first rule
    /// applies to the event. Returns no rules, which keeps whole events, if the schema needs more than [`RULES_MAX`].
    pub(in crate::intake) fn kept_rules(&self, used: &[UsedPart]) -> Vec<KeptRule> {
        let mut reads = UsedTree::default();
        used.iter().for_each(|part| reads.add(part));
        let mut rules = RuleTable {
            document: &self.document,
            reads: &reads,
            known: BTreeMap::new(),
            queue: VecDeque::new(),
            patterns: BTreeMap::new(),
        };
        rules.compile().unwrap_or_default()
    }
}

/// The subschemas and the used parts that apply to one value.
#[derive(Clone, Default)]
struct Described<'s> {
    schemas: Vec<&'s Value>,
    used: Vec<usize>,
    /// Whether a keyword describes the value with `true` or `{}`: everything inside the value is then described.
    is_whole: bool,
}

/// Identifies [`Described`]: the addresses of the subschemas, the used parts, and `is_whole`.
type DescribedKey = (Vec<usize>, Vec<usize>, bool);

/// The schema needs too many rules.
#[derive(Debug)]
struct TooLarge;

/// The rules up to now. Equal descriptions share one rule, so that a recursive schema has a bounded number of rules.
struct RuleTable<'s> {
    document: &'s Value,
    reads: &'s UsedTree,
    known: BTreeMap<DescribedKey, RuleIndex>,
    /// The descriptions whose rules are not compiled yet, in the order of their rules.
    queue: VecDeque<Described<'s>>,
    /// The compiled patterns of `patternProperties`.
    patterns: BTreeMap<&'s str, Option<Validator>>,
}

impl<'s> RuleTable<'s> {
    fn compile(&mut self) -> Result<Vec<KeptRule>, TooLarge> {
        let mut schemas = self.with_same_place(vec![self.document]);
        // A schema that allows every event describes no part of it.
        if schemas.iter().all(|schema| is_silent(schema)) {
            schemas.clear();
        }
        let used = (0..self.reads.nodes.len().min(1)).collect();
        self.insert(Described {
            schemas,
            used,
            is_whole: false,
        })?;
        let mut rules = Vec::new();
        while let Some(described) = self.queue.pop_front() {
            let rule = self.rule(&described)?;
            rules.push(rule);
        }
        Ok(rules)
    }

    /// Returns the index of the rule for a value to which these subschemas and used parts apply.
    fn index(
        &mut self,
        applied: impl IntoIterator<Item = &'s Value>,
        used: Vec<usize>,
    ) -> Result<RuleIndex, TooLarge> {
        let mut described = Described {
            used,
            ..Described::default()
        };
        for schema in applied {
            let schemas = self.with_same_place(vec![schema]);
            described.is_whole |= schemas.iter().all(|schema| is_silent(schema));
            described.schemas.extend(schemas);
        }
        self.insert(described)
    }

    /// Returns the index of the rule for a description.
    fn insert(&mut self, mut described: Described<'s>) -> Result<RuleIndex, TooLarge> {
        let address = |schema: &&Value| std::ptr::from_ref(*schema).addr();
        described.schemas.sort_unstable_by_key(address);
        described.schemas.dedup_by_key(|schema| address(schema));
        described.used.sort_unstable();
        described.used.dedup();
        let addresses = described.schemas.iter().map(address).collect();
        let next = self.known.len();
        let key = (addresses, described.used.clone(), described.is_whole);
        let index = *self.known.entry(key).or_insert(next);
        if index == next {
            if next >= RULES_MAX {
                return Err(TooLarge);
            }
            self.queue.push_back(described);
        }
        Ok(index)
    }

    /// Adds the subschemas that apply to the same value.
    fn with_same_place(&self, schemas: Vec<&'s Value>) -> Vec<&'s Value> {
        let mut all: BTreeMap<usize, &'s Value> = BTreeMap::new();
        let mut waiting = schemas;
        while let Some(schema) = waiting.pop() {
            let address = std::ptr::from_ref(schema).addr();
            if all.insert(address, schema).is_some() {
                continue;
            }
            if let Value::Object(keywords) = schema {
                waiting.extend(same_place(keywords));
                waiting.extend(self.targets(keywords));
            }
        }
        all.into_values().collect()
    }

    fn targets(&self, keywords: &'s Map<String, Value>) -> impl Iterator<Item = &'s Value> {
        references(keywords).filter_map(|reference| target(self.document, reference))
    }

    fn rule(&mut self, described: &Described<'s>) -> Result<KeptRule, TooLarge> {
        let used: Vec<&'s UsedNode> = described
            .used
            .iter()
            .filter_map(|index| self.reads.nodes.get(*index))
            .collect();
        let is_whole = described.is_whole
            || used.iter().any(|node| node.is_whole)
            || described
                .schemas
                .iter()
                .any(|schema| compares_whole(schema))
            || described
                .schemas
                .iter()
                .any(|schema| self.is_embedded(schema));
        if is_whole {
            return Ok(KeptRule {
                is_whole,
                ..KeptRule::default()
            });
        }
        let objects: Vec<&'s Map<String, Value>> = described
            .schemas
            .iter()
            .filter_map(|schema| schema.as_object())
            .collect();
        Ok(KeptRule {
            is_whole,
            members: self.members(&objects, &used)?,
            others: self.others(&objects, &used)?,
            items: self.items(&objects, &used)?,
        })
    }

    /// Returns whether a schema has an address of its own inside the document. The bridge cannot follow its references.
    fn is_embedded(&self, schema: &Value) -> bool {
        let address = schema.get("$id").and_then(Value::as_str);
        let has_address = address.is_some_and(|address| !address.starts_with('#'));
        has_address && !std::ptr::eq(schema, self.document)
    }

    /// Returns the subschemas that apply to the member `name`.
    fn member(&mut self, schema: &'s Map<String, Value>, name: &str) -> Vec<&'s Value> {
        let property = schema.get("properties");
        let property = property.and_then(|properties| properties.get(name));
        let mut schemas: Vec<_> = property.into_iter().collect();
        for (pattern, inner) in pattern_members(schema) {
            let known = self.patterns.entry(pattern);
            let pattern = known.or_insert_with(|| compiled(pattern));
            let is_match = |pattern: &Validator| pattern.is_valid(&json!(name));
            schemas.extend(pattern.as_ref().is_none_or(is_match).then_some(inner));
        }
        if schemas.is_empty() {
            schemas.extend(other_members(schema));
        } else {
            schemas.extend(speaking(schema, "unevaluatedProperties"));
        }
        schemas
    }

    fn members(
        &mut self,
        schemas: &[&'s Map<String, Value>],
        used: &[&'s UsedNode],
    ) -> Result<BTreeMap<String, RuleIndex>, TooLarge> {
        let mut names: BTreeSet<&'s str> =
            schemas.iter().flat_map(|schema| names(schema)).collect();
        names.extend(
            used.iter()
                .flat_map(|node| node.members.keys())
                .map(String::as_str),
        );
        let mut members = BTreeMap::new();
        for name in names {
            let mut applied = Vec::new();
            for schema in schemas {
                applied.extend(self.member(schema, name));
            }
            let used = used
                .iter()
                .flat_map(|node| node.members.get(name).into_iter().chain(&node.each))
                .copied()
                .collect();
            members.insert(name.to_owned(), self.index(applied, used)?);
        }
        Ok(members)
    }

    fn others(
        &mut self,
        schemas: &[&'s Map<String, Value>],
        used: &[&'s UsedNode],
    ) -> Result<Option<OtherMembers>, TooLarge> {
        let each: Vec<usize> = used.iter().filter_map(|node| node.each).collect();
        let every: Vec<&'s Value> = schemas
            .iter()
            .flat_map(|schema| other_members(schema))
            .collect();
        let named: Vec<(&'s str, &'s Value)> = schemas
            .iter()
            .flat_map(|schema| pattern_members(schema))
            .collect();
        if each.is_empty() && every.is_empty() && named.is_empty() {
            return Ok(None);
        }
        let patterns = (each.is_empty() && every.is_empty()).then(|| {
            let patterns = named.iter().filter_map(|(pattern, _)| compiled(pattern));
            patterns.collect()
        });
        let named = named.into_iter().map(|(_, schema)| schema);
        let rule = self.index(every.into_iter().chain(named), each)?;
        Ok(Some(OtherMembers { patterns, rule }))
    }

    fn items(
        &mut self,
        schemas: &[&'s Map<String, Value>],
        used: &[&'s UsedNode],
    ) -> Result<Option<KeptItems>, TooLarge> {
        let each: Vec<usize> = used.iter().filter_map(|node| node.each).collect();
        let all: Vec<&'s Value> = schemas
            .iter()
            .flat_map(|schema| item_schemas(schema))
            .collect();
        let first: Vec<&'s Vec<Value>> = schemas
            .iter()
            .flat_map(|schema| item_lists(schema))
            .collect();
        let is_counted = schemas
            .iter()
            .any(|schema| COUNTS.iter().any(|key| schema.contains_key(*key)));
        let keeps_all = is_counted || !all.is_empty() || !each.is_empty();
        let count = first
            .iter()
            .map(|list| list.len())
            .max()
            .unwrap_or_default();
        if !keeps_all && count == 0 {
            return Ok(None);
        }
        let first = first.into_iter().flatten();
        let rule = self.index(all.into_iter().chain(first), each)?;
        Ok(Some(KeptItems {
            count: (!keeps_all).then_some(count),
            rule,
        }))
    }
}

/// Returns whether a schema says nothing about a value, apart from its references: `true`, `{}`, and annotations.
fn is_silent(schema: &Value) -> bool {
    match schema {
        Value::Bool(allows) => *allows,
        Value::Object(keywords) => keywords.keys().all(|keyword| {
            ANNOTATIONS.contains(&keyword.as_str()) || REFERENCES.contains(&keyword.as_str())
        }),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

/// Returns whether a schema compares the value with everything inside it, or has a reference that can lead to several
/// places.
fn compares_whole(schema: &Value) -> bool {
    let has_parts = |value: &Value| value.is_object() || value.is_array();
    let values = schema.get("enum").and_then(Value::as_array);
    let constant = schema.get("const");
    let values = values.into_iter().flatten().chain(constant);
    let is_true = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    values.into_iter().any(has_parts) || is_true("uniqueItems") || has_wide_reference(schema)
}

fn has_wide_reference(schema: &Value) -> bool {
    let key = |key: &str| schema.get(key).is_some();
    key("$dynamicRef") || key("$recursiveRef")
}

#[cfg(test)]
mod tests;
