//! The comparisons of a value of the event with a value of a certain kind, for the notes about expressions.

use serde_json::Value;

use super::comparison::differ_in_kind;

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
    pub letters: ComparedLetters,
}

/// The result of the comparison of a text with a constant text.
///
/// The order of the variants is the order in which the comparisons with the items of a list say something: a later one decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComparedLetters {
    /// The texts have different letters, or one side is no text.
    Different,
    /// The texts differ only in upper and lower case.
    OtherCase,
    Equal,
}

impl ComparedLetters {
    fn of(value: &Value, other: &Value) -> Self {
        match (value, other) {
            (Value::String(value), Value::String(other)) if value == other => Self::Equal,
            (Value::String(value), Value::String(other)) if value.eq_ignore_ascii_case(other) => {
                Self::OtherCase
            }
            (_, _) => Self::Different,
        }
    }
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
            letters: ComparedLetters::of(value, other),
        })
    }

    /// Returns whether the other comparison shows a value of the kind, or in the letter case, that this comparison lacks.
    pub fn is_answered_by(&self, other: &Self) -> bool {
        let is_of_letters = self.letters == ComparedLetters::OtherCase;
        let is_equal = other.letters == ComparedLetters::Equal;
        (is_equal || !is_of_letters)
            && other.fits
            && other.place == self.place
            && other.kind == self.kind
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
