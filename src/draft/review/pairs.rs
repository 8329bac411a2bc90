//! Notes about two rules that contradict each other: two fields with one value, and one field with two values.

use std::collections::{BTreeMap, BTreeSet};

use super::customer::CUSTOMER_RULES;
use super::versions::VERSION;
use super::{TypeExamples, base, last_name, text};
use crate::draft::names;
use crate::draft::synonyms::CREATED;
use crate::intake::{TargetExplanation, TargetResult};

/// The fields whose values differ from each other.
const FIELDS: [&str; 8] = [
    "city",
    "first_name",
    "last_name",
    "postal_code",
    "preferred_language",
    "state",
    "street_line1",
    "street_line2",
];
const HISTORY: &str = "customer_history.";
const LANGUAGE: &str = "preferred_language";

/// Returns the notes about pairs of rules.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let mut notes = twins(evidence);
    notes.extend(same_values(evidence));
    notes.extend(same_reads(evidence));
    notes
}

/// Returns a note for each field that Imprint gets at two places of the update, if the two have different values.
fn twins(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    for event in &evidence.events {
        let rules: BTreeMap<&str, &TargetExplanation> = by_target(event.targets.iter().flatten());
        let history = rules
            .iter()
            .filter(|(target, _)| target.starts_with(HISTORY));
        for (target, rule) in history {
            let Some(top) = rules.get(base(target)).filter(|top| contradict(top, rule)) else {
                continue;
            };
            let (field, one, other) = (&top.target, read(top), read(rule));
            notes.insert(format!(
                "{field} and {target} have different values in an example: they read {one} and {other}. Imprint gets both; if they mean the same, correct one of the expressions"
            ));
        }
    }
    notes
}

/// Returns whether one of two rules has no value, or they have different values of different places.
fn contradict(one: &TargetExplanation, other: &TargetExplanation) -> bool {
    match (&one.result, &other.result) {
        (TargetResult::Value { value }, TargetResult::Value { value: other_value }) => {
            value != other_value && one.reads != other.reads
        }
        (TargetResult::Value { .. }, TargetResult::Absent | TargetResult::Cleared)
        | (TargetResult::Absent | TargetResult::Cleared, TargetResult::Value { .. }) => true,
        (TargetResult::Absent, TargetResult::Cleared)
        | (TargetResult::Cleared, TargetResult::Absent) => one.reads != other.reads,
        (TargetResult::Absent, TargetResult::Absent)
        | (TargetResult::Cleared, TargetResult::Cleared)
        | (TargetResult::Skipped { .. } | TargetResult::Refused { .. }, _)
        | (_, TargetResult::Skipped { .. } | TargetResult::Refused { .. }) => false,
    }
}

/// The names of two fields, and whether they have one value in all examples, with the place of this value.
type Pairs<'a> = BTreeMap<(&'a str, &'a str), (bool, &'a str)>;

/// Returns a note for each field that takes a whole text, if another field has the same value from the same place in all
/// examples.
fn same_values(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let mut pairs = Pairs::new();
    for event in &evidence.events {
        let rules = by_target(event.targets.iter().flatten());
        let fields = rules.values().filter(|rule| is_field(&rule.target));
        for rule in fields {
            add_pairs(rule, &rules, &mut pairs);
        }
    }
    pairs.retain(|_, (is_same, _)| *is_same);
    let is_first = |(one, two): (&str, &str)| one < two || !pairs.contains_key(&(two, one));
    let firsts = pairs.iter().filter(|(pair, _)| is_first(**pair));
    let notes = firsts.map(|((one, two), (_, read))| {
        format!("{one} reads {read}, and {two} reads it too: one of the two is probably wrong")
    });
    notes.collect()
}

/// Adds the pairs of a field and of the other fields that read its place in an event.
fn add_pairs<'a>(
    rule: &'a TargetExplanation,
    rules: &BTreeMap<&'a str, &'a TargetExplanation>,
    pairs: &mut Pairs<'a>,
) {
    let [read] = rule.reads.as_slice() else {
        return;
    };
    let others = rules
        .values()
        .filter(|other| is_other(&rule.target, &other.target) && other.reads.contains(read));
    for other in others {
        let (Some(one), Some(two)) = (text(rule), text(other)) else {
            continue;
        };
        let is_language = base(&rule.target) == LANGUAGE && !has_choice(&rule.expression);
        let has_whole = is_path(&rule.expression) && base(&other.target) != LANGUAGE;
        let pair = (rule.target.as_str(), other.target.as_str());
        let (is_same, _) = pairs.entry(pair).or_insert((true, read));
        *is_same &= is_language || has_whole && one == two;
    }
}

/// Returns a note if both ids of the customer read one path, or if the time at which the account was created is the version.
fn same_reads(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let rules = evidence.by_target();
    // Each event of a body has a place of its own.
    let single = |target: &str| {
        let mut rules = rules.get(target)?.iter();
        let reads = rules.try_fold(BTreeSet::new(), |mut reads, rule| {
            let [read] = rule.reads.as_slice() else {
                return None;
            };
            reads.insert(read);
            Some(reads)
        });
        reads.filter(|reads| !reads.is_empty())
    };
    let pairs = [
        ("customer.imprint_id", "customer.partner_id"),
        ("customer_history.account_created_at", VERSION),
    ];
    let same = pairs.into_iter().filter_map(|(one, two)| {
        let reads = single(one).filter(|reads| single(two).as_ref() == Some(reads))?;
        let read = reads.first()?;
        // The event of a new customer can have one time: the time of the creation.
        let is_right = two == VERSION && (is_creation(read) || !has_unread_creation(evidence));
        (!is_right).then(|| {
            format!("{one} reads {read}, and {two} reads it too: one of the two is probably wrong")
        })
    });
    same.collect()
}

/// Returns whether the record of the customer has a time of the creation that no expression reads.
fn has_unread_creation(evidence: &TypeExamples<'_>) -> bool {
    let is_of_record = |rule: &&TargetExplanation| {
        CUSTOMER_RULES.contains(&rule.target.as_str()) || is_field(&rule.target)
    };
    let rules = evidence.targets().filter(is_of_record);
    let mut reads = rules.flat_map(|rule| &rule.reads);
    reads.any(|read| {
        let mut unread = evidence.unread_beside(read);
        unread.any(|(place, _)| is_creation(place))
    })
}

fn is_creation(place: &str) -> bool {
    names::position(&last_name(place), &CREATED).is_some()
}

fn by_target<'a>(
    rules: impl Iterator<Item = &'a TargetExplanation>,
) -> BTreeMap<&'a str, &'a TargetExplanation> {
    rules.map(|rule| (rule.target.as_str(), rule)).collect()
}

fn is_field(target: &str) -> bool {
    FIELDS.contains(&base(target))
}

/// Returns whether two fields are different fields of the same place of the update.
fn is_other(target: &str, other: &str) -> bool {
    let is_history = |target: &str| target.starts_with(HISTORY);
    is_field(other) && base(target) != base(other) && is_history(target) == is_history(other)
}

/// Returns whether an expression is a path, so that it takes the whole value.
fn is_path(expression: &str) -> bool {
    expression.starts_with('.') && !expression.contains(['|', '(', '[', '/', ' '])
}

/// Returns whether an expression chooses a value by another one, such as a language by a state.
fn has_choice(expression: &str) -> bool {
    expression.contains("lookup") || expression.contains("if ")
}

fn read(rule: &TargetExplanation) -> String {
    match rule.reads.as_slice() {
        [] => "nothing".to_owned(),
        reads => reads.join(", "),
    }
}
