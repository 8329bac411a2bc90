//! The JSON values that jaq works on while it interprets a mapping expression.
//!
//! The bridge's values replace jaq's own values, so that compiled and interpreted expressions give the same results.
//! Absent and null stay distinct, every value knows its place in the event, and arithmetic accepts whole numbers only.
//! The bridge's values also limit the work of jaq: each operation on a value takes steps from the budget of the
//! expression before the operation reads or makes anything.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde_json::Number;

use super::super::budget::{self, OBJECT_STEPS, exhaust, log, take, text_steps};
use super::super::error::{EvalError, ValueError};
use super::super::located::{Assumed, PathStep};
use super::super::value_kind::ValueKind;
use origin::Origin;

mod array;
mod items;
mod json;
pub(super) mod notes;
mod operators;
mod order;
mod origin;
mod places;

/// The rule name in the error of an interpreted expression.
pub(super) const RULE: &str = "jq";
/// The error text for an expression that a `halt` of jaq ended.
pub(super) const STOPPED: &str = "The expression stopped early.";
/// The maximum number of members, at all depths together, in a value that an interpreted expression creates. An Imprint
/// update has far fewer members than this maximum.
const WEIGHT_MAX: usize = 4_096;
/// The maximum length of a text that an interpreted expression creates.
const TEXT_BYTES_MAX: usize = 64 * 1024;

pub(super) type JaqError = jaq_core::Error<Val>;
pub(super) type ValResult<T = Val> = Result<T, JaqError>;

/// A value in the interpreter, with its place in the event if the event contains the value.
#[derive(Clone)]
pub(super) struct Val {
    content: ValContent,
    origin: Option<Rc<Origin>>,
}

#[derive(Clone)]
enum ValContent {
    /// The event says nothing about the value. A condition reads the assumed value.
    Absent(Assumed),
    Null,
    Bool(bool),
    Number(Number),
    Text(Rc<str>),
    Array(Rc<Vec<Val>>, usize),
    Object(Rc<BTreeMap<Rc<str>, Val>>, usize),
    /// The evaluation error inside a jaq error.
    Error(Rc<EvalError>),
}

/// Creates an error about the whole interpreted expression.
pub(super) fn failed(detail: &str) -> JaqError {
    into_jaq_error(EvalError {
        rule: RULE,
        pointer: String::new(),
        detail: detail.to_owned(),
    })
}

/// Takes `steps` from the budget.
///
/// # Errors
/// Returns an error if fewer than `steps` steps are left.
pub(super) fn spend(steps: usize) -> ValResult<()> {
    if take(steps) {
        return Ok(());
    }
    Err(into_jaq_error(EvalError {
        rule: budget::RULE,
        pointer: String::new(),
        detail: budget::EXCEEDED.to_owned(),
    }))
}

/// Wraps an evaluation error in a jaq error.
pub(super) fn into_jaq_error(error: EvalError) -> JaqError {
    JaqError::new(Val::made(ValContent::Error(Rc::new(error))))
}

/// Extracts the evaluation error from a jaq error. The function drops the text of jaq's own errors, because this text
/// contains values of the event.
pub(super) fn into_eval_error(error: JaqError) -> EvalError {
    match error.into_val().content {
        ValContent::Error(error) => error.as_ref().clone(),
        ValContent::Absent(_)
        | ValContent::Null
        | ValContent::Bool(_)
        | ValContent::Number(_)
        | ValContent::Text(_)
        | ValContent::Array(..)
        | ValContent::Object(..) => EvalError {
            rule: RULE,
            pointer: String::new(),
            detail: "The expression cannot be run on this event.".to_owned(),
        },
    }
}

impl Val {
    pub(super) const ABSENT: Self = Self::made(ValContent::Absent(Assumed::Null));
    pub(super) const NULL: Self = Self::made(ValContent::Null);

    /// Creates an absent value that a condition reads as `assumed`.
    pub(super) const fn absent(assumed: Assumed) -> Self {
        Self::made(ValContent::Absent(assumed))
    }

    /// Creates a truth value. If `is_absent` is true, only conditions read the truth value.
    pub(super) fn truth(result: bool, is_absent: bool) -> Self {
        if is_absent {
            Self::absent(result.into())
        } else {
            Self::from(result)
        }
    }

    const fn made(content: ValContent) -> Self {
        Self {
            content,
            origin: None,
        }
    }

    /// Returns the number of budget steps for this value, without the steps for its items and members.
    fn steps(&self) -> usize {
        match &self.content {
            ValContent::Text(text) => text_steps(text),
            ValContent::Object(..) => OBJECT_STEPS,
            ValContent::Absent(_)
            | ValContent::Null
            | ValContent::Bool(_)
            | ValContent::Number(_)
            | ValContent::Array(..)
            | ValContent::Error(_) => 1,
        }
    }

    /// Returns this interpreter value with the place of `other` instead of its own place.
    pub(super) fn with_origin_of(self, other: &Self) -> Self {
        Self {
            content: self.content,
            origin: other.origin.clone(),
        }
    }

    /// Returns whether both values come from the same step of the evaluation, at the same place in the event.
    fn has_origin_of(&self, other: &Self) -> bool {
        match (&self.origin, &other.origin) {
            (Some(one), Some(other)) => Rc::ptr_eq(one, other),
            (_, _) => false,
        }
    }

    pub(super) const fn is_absent(&self) -> bool {
        matches!(self.content, ValContent::Absent(_))
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self.content, ValContent::Null)
    }

    pub(super) const fn is_absent_or_null(&self) -> bool {
        self.is_absent() || self.is_null()
    }

    /// Returns whether a condition with this value is true.
    pub(super) const fn is_true(&self) -> bool {
        !matches!(
            self.content,
            ValContent::Absent(Assumed::Null | Assumed::Hidden | Assumed::False)
                | ValContent::Null
                | ValContent::Bool(false)
        )
    }

    /// Returns whether the value is absent, and a condition reads the value as null.
    pub(super) const fn says_nothing(&self) -> bool {
        matches!(
            self.content,
            ValContent::Absent(Assumed::Null | Assumed::Hidden)
        )
    }

    /// Returns whether the value is the absent result of `t?` after an error of `t`.
    pub(super) const fn is_hidden(&self) -> bool {
        matches!(self.content, ValContent::Absent(Assumed::Hidden))
    }

    /// Returns whether the value has a place in the event.
    pub(super) const fn is_of_event(&self) -> bool {
        self.origin.is_some()
    }

    pub(super) const fn is_list(&self) -> bool {
        matches!(self.content, ValContent::Array(..))
    }

    pub(super) fn kind(&self) -> ValueKind {
        match &self.content {
            ValContent::Absent(_) | ValContent::Null | ValContent::Error(_) => ValueKind::Null,
            ValContent::Bool(_) => ValueKind::Bool,
            ValContent::Number(_) => ValueKind::Number,
            ValContent::Text(_) => ValueKind::Text,
            ValContent::Array(..) => ValueKind::List,
            ValContent::Object(..) => ValueKind::Object,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.content {
            ValContent::Text(text) => Some(text),
            ValContent::Absent(_)
            | ValContent::Null
            | ValContent::Bool(_)
            | ValContent::Number(_)
            | ValContent::Array(..)
            | ValContent::Object(..)
            | ValContent::Error(_) => None,
        }
    }

    pub(super) fn as_index(&self) -> Option<usize> {
        match &self.content {
            ValContent::Number(number) => number
                .as_u64()
                .and_then(|number| usize::try_from(number).ok()),
            ValContent::Absent(_)
            | ValContent::Null
            | ValContent::Bool(_)
            | ValContent::Text(_)
            | ValContent::Array(..)
            | ValContent::Object(..)
            | ValContent::Error(_) => None,
        }
    }

    pub(super) fn len(&self) -> ValResult<Option<usize>> {
        spend(self.steps())?;
        match &self.content {
            ValContent::Absent(_) => Ok(None),
            ValContent::Null => Ok(Some(0)),
            ValContent::Text(text) => Ok(Some(text.chars().count())),
            ValContent::Array(items, _) => Ok(Some(items.len())),
            ValContent::Object(members, _) => Ok(Some(members.len())),
            ValContent::Bool(_) | ValContent::Number(_) | ValContent::Error(_) => {
                Err(self.error("The value here has no length."))
            }
        }
    }

    /// Returns a member or item of `parent` with its place in the event, and logs that the expression reads it.
    fn at(&self, parent: &Self, step: PathStep) -> Self {
        let inner = self.placed_in(parent, step);
        inner.log_read();
        inner
    }

    /// Logs that the expression reads this value, if the event contains it.
    fn log_read(&self) {
        if let Some(origin) = &self.origin {
            log(|| origin.pointer());
        }
    }

    /// Returns a member or item of `parent` with its place in the event.
    fn placed_in(&self, parent: &Self, step: PathStep) -> Self {
        let origin = parent.origin.as_ref().map(|outer| {
            let outer = Rc::clone(outer);
            Rc::new(Origin::Inside { outer, step })
        });
        Self {
            content: self.content.clone(),
            // If the expression created `parent`, the member keeps its own place in the event.
            origin: origin.or_else(|| self.origin.clone()),
        }
    }

    /// Returns the place of this value as a JSON Pointer. Returns an empty text if too few steps are left for the
    /// pointer.
    fn pointer(&self) -> String {
        let origin = self.origin.as_ref();
        let origin = origin.filter(|origin| take(origin.steps() + 1));
        origin.map(|origin| origin.pointer()).unwrap_or_default()
    }

    /// Creates an error about this interpreter value.
    pub(super) fn error(&self, detail: &str) -> JaqError {
        into_jaq_error(EvalError {
            rule: RULE,
            pointer: self.pointer(),
            detail: detail.to_owned(),
        })
    }

    /// Creates an error about this interpreter value, with the given rule name.
    pub(super) fn error_of_rule(&self, rule: &'static str, error: ValueError) -> JaqError {
        into_jaq_error(EvalError {
            rule,
            pointer: self.pointer(),
            detail: error.detail,
        })
    }

    /// Creates a new text value in the interpreter.
    pub(super) fn text(text: &str) -> ValResult {
        spend(text_steps(text))?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(failed("The expression makes a text of more than 64 KiB."));
        }
        Ok(Self::made(ValContent::Text(Rc::from(text))))
    }

    pub(super) fn object(members: impl IntoIterator<Item = (Rc<str>, Self)>) -> Self {
        let members: BTreeMap<_, _> = members
            .into_iter()
            .filter(|(_, member)| !member.is_absent())
            .take(WEIGHT_MAX + 1)
            .collect();
        let weight = members.values().map(Self::weight).sum::<usize>() + 1;
        bounded(ValContent::Object(Rc::new(members), weight), weight)
    }

    fn weight(&self) -> usize {
        match &self.content {
            ValContent::Array(_, weight) | ValContent::Object(_, weight) => *weight,
            ValContent::Absent(_)
            | ValContent::Null
            | ValContent::Bool(_)
            | ValContent::Number(_)
            | ValContent::Text(_)
            | ValContent::Error(_) => 1,
        }
    }
}

/// Creates an array or object in the interpreter. A value that is too large becomes absent and exhausts the step
/// budget, because the functions that create values for jaq cannot return an error.
fn bounded(content: ValContent, weight: usize) -> Val {
    if weight > WEIGHT_MAX {
        exhaust();
        return Val::ABSENT;
    }
    Val::made(content)
}

/// Prints the same words for every value, because values are personal data.
impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
}

/// Prints only the type name, never the value, because the value is personal data.
impl fmt::Debug for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Val")
    }
}
