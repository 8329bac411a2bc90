//! The comparisons of a value of the event with a value of a certain kind, for the notes about expressions.

use serde_json::Value;

use super::comparison::differ_in_kind;
use super::used::UsedStep;
use crate::event::pointer;

/// A comparison in an expression, such as `.vip == "1"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComparedKind {
    /// The place of the event whose value the expression compares, as a JSON Pointer.
    pub place: String,
    /// The kind of the other side, as a type of JSON Schema.
    pub kind: &'static str,
    /// Whether the value is a list. A list is never equal to a text, a number or a truth value.
    pub is_list: bool,
    /// Whether the value has this kind. A text is never equal to a number or a truth value.
    pub fits: bool,
}

impl ComparedKind {
    /// Returns the comparison of the value at `place` with `other`. Returns `None` if the kinds say nothing about a mistake.
    pub(super) fn of(place: String, value: &Value, other: &Value) -> Option<Self> {
        let kind = kind(other)?;
        let fits = self::kind(value) == Some(kind);
        let is_list = value.is_array();
        (fits || is_list || differ_in_kind(value, other)).then_some(Self {
            place,
            kind,
            is_list,
            fits,
        })
    }

    /// Returns whether the other comparison shows a value of the kind that this comparison lacks.
    pub fn is_answered_by(&self, other: &Self) -> bool {
        other.fits && other.place == self.place && other.kind == self.kind
    }
}

/// A comparison in an interpreted expression, such as `any(.id == 7)`: the places whose values it compares with a constant.
#[derive(Debug)]
pub(super) struct ComparedPlaces {
    pub(super) steps: Vec<UsedStep>,
    pub(super) other: Value,
}

impl ComparedPlaces {
    /// Returns the comparison with the values of an event. One value of the same kind is enough, because the comparison can
    /// then be true. Returns `None` if the values say nothing about a mistake.
    fn kind(&self, event: &Value) -> Option<ComparedKind> {
        let (mut values, mut place) = (vec![event], String::new());
        for step in &self.steps {
            let inner = values.iter().flat_map(|value| match (step, value) {
                (UsedStep::Member(name), _) => value.get(name).into_iter().collect(),
                (UsedStep::Each, Value::Array(items)) => items.iter().collect(),
                (UsedStep::Each, Value::Object(members)) => members.values().collect(),
                (UsedStep::Each, _) => Vec::new(),
            });
            values = inner.collect();
            pointer::push(
                &mut place,
                match step {
                    UsedStep::Member(name) => name,
                    UsedStep::Each => "*",
                },
            );
        }
        let kinds = values.into_iter();
        let kinds = kinds.filter_map(|value| ComparedKind::of(place.clone(), value, &self.other));
        kinds.max_by_key(|compared| compared.fits)
    }

    /// Returns the comparisons of an expression with the values of an event. An expression that compares a value with
    /// constants of several kinds expects values of several kinds.
    pub(super) fn kinds(all: &[Self], event: &Value) -> Vec<ComparedKind> {
        let kinds: Vec<_> = all.iter().filter_map(|places| places.kind(event)).collect();
        let fits = |place: &str| kinds.iter().any(|other| other.fits && other.place == place);
        let kinds = kinds.iter().filter(|one| one.fits || !fits(&one.place));
        kinds.cloned().collect()
    }
}

const fn kind(value: &Value) -> Option<&'static str> {
    match value {
        Value::Bool(_) => Some("boolean"),
        Value::Number(_) => Some("number"),
        Value::String(_) => Some("string"),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
