//! The interpreter of mapping expressions: jaq runs the expressions that the bridge cannot compile to a plan.
//!
//! jaq never gets the author's text: [`mod@sanitize`] rewrites each expression with only the terms that the language
//! allows. jaq works on the bridge's own values ([`value`]), so that compiled and interpreted expressions give the same
//! results. jaq knows only the bridge's own functions, so jaq cannot call a function that the language does not allow.
//! If an expression has no result, the value of the expression is *absent*. If an expression has several results, the
//! expression fails.

use std::fmt;

use jaq_core::data::HasLut;
use jaq_core::load::parse::Term;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, DataT, Exn, Filter, Lut, Vars};
use serde_json::Value;

use super::LookupTables;
use super::budget::{self, EXPRESSION_STEPS_MAX, SPLIT_COPY_STEPS_MAX, SPLIT_STEPS_MAX};
use super::compared::ComparedKind;
use super::error::EvalError;
use super::function::{BinaryCall, FunctionCall};
use super::located::LocatedValue;
use super::places::EventPlaces;
use super::syntax::{self, ExpressionError, first_slice};
use super::used::{ComparedPlaces, UsedPart, ValueOrigin};
use crate::event::RequestHeaders;
pub(super) use sanitize::ResultCount;
use sanitize::{SanitizedCode, sanitize};
use value::Val;
use value::notes::SplitNotes;

mod advice;
mod allowed;
mod native;
mod replacements;
mod sanitize;
mod used;
mod value;

/// The functions of the interpreter that are written in jq itself. Every loop in these functions visits the items of a
/// value, and each visit takes steps from the step budget.
const PRELUDE: &str = "
def empty: [] | .[];
def select(f): if f then . else empty end;
def map(f): __unless_null(__array(0; .[] | f));
def first: __unless_null(.[0]);
def last: __unless_null(.[-1]);
def any: any(.);
def all: all(.);
def with_entries(f): to_entries | map(f) | from_entries;
def sort_by(f): __unless_null([.[] | [[f], .]] | __sort | [.[] | .[1]]);
def unique: __sort | __unique;
";

/// The error text for a body in which the expression `body.split` finds no event.
const NO_EVENT: &str =
    "The expression finds no event in the body, because the body has no list here.";

/// A mapping expression that jaq interprets.
pub(super) struct Program {
    filter: Filter<Interpreter>,
    calls: Vec<FunctionCall>,
    binary_calls: Vec<BinaryCall>,
    headers: Vec<String>,
    /// The parts of the input that the expression can use.
    used: Vec<UsedPart>,
    /// The places in the input from which the results of the expression can come.
    origins: Vec<ValueOrigin>,
}

/// Tells jaq which Rust types the bridge uses: the type of values, and the type of the data for native functions.
struct Interpreter;

/// The data that native functions of the interpreter can use, besides their input.
#[derive(Clone, Copy)]
struct InterpreterData<'a> {
    lut: &'a Lut<Interpreter>,
    calls: &'a [FunctionCall],
    binary_calls: &'a [BinaryCall],
    /// The names of the request headers that the expression reads.
    header_names: &'a [String],
    /// The headers of the request, or `None` if the expression must not read headers.
    headers: Option<&'a RequestHeaders>,
}

impl DataT for Interpreter {
    type V<'a> = Val;
    type Data<'a> = InterpreterData<'a>;
}

impl<'a> HasLut<'a, Interpreter> for InterpreterData<'a> {
    fn lut(&self) -> &'a Lut<Interpreter> {
        self.lut
    }
}

/// Returns the comparisons of an expression with constants.
pub(super) fn compared(code: &str) -> Vec<ComparedPlaces> {
    let term = syntax::parse(code);
    term.map_or_else(|_errors| Vec::new(), |term| used::compared(&term))
}

/// Returns the comparisons of the values of a body with constants.
pub(crate) fn comparisons(code: &str, body: &Value) -> Vec<ComparedKind> {
    ComparedPlaces::kinds(&compared(code), body)
}

impl Program {
    /// Compiles a term of the expression `code` for the interpreter.
    ///
    /// # Errors
    /// Returns an error for every term that the language does not allow.
    pub(super) fn compile<'c>(
        term: &Term<&'c str>,
        code: &'c str,
        tables: &LookupTables,
        results: ResultCount,
    ) -> Result<Self, Vec<ExpressionError>> {
        let sanitized = sanitize(term, code, tables, results)?;
        let used = used::used(term);
        Self::load(sanitized, used).map_err(|reason| {
            let slice = first_slice(term).unwrap_or(code);
            vec![ExpressionError::at(code, slice, reason)]
        })
    }

    fn load(
        sanitized: SanitizedCode,
        (used, origins): (Vec<UsedPart>, Vec<ValueOrigin>),
    ) -> Result<Self, String> {
        let SanitizedCode {
            code,
            calls,
            binary_calls,
            headers,
        } = sanitized;
        let prelude = jaq_core::load::parse(PRELUDE, |parser| parser.defs());
        let arena = Arena::default();
        let file = File {
            code: code.as_str(),
            path: (),
        };
        let modules = Loader::new(prelude.unwrap_or_default())
            .load(&arena, file)
            .map_err(|_errors| "jq cannot read this expression".to_owned())?;
        let filter = Compiler::default()
            .with_funs(native::functions())
            .compile(modules)
            .map_err(|errors| {
                let undefined = errors.into_iter().flat_map(|(_file, undefined)| undefined);
                let names: Vec<_> = undefined.map(|(name, _kind)| format!("`{name}`")).collect();
                format!("{} is not defined", names.join(", "))
            })?;
        Ok(Self {
            filter,
            calls,
            binary_calls,
            headers,
            used,
            origins,
        })
    }

    /// Returns the parts of the input that the expression can use, and the places in the input from which its results can
    /// come.
    pub(super) fn used(&self) -> (&[UsedPart], &[ValueOrigin]) {
        (&self.used, &self.origins)
    }

    /// Returns the names of the request headers that the expression reads.
    pub(super) fn headers(&self) -> &[String] {
        &self.headers
    }

    /// Runs the interpreted expression and returns its one result.
    pub(super) fn run<'a>(
        &'a self,
        input: &LocatedValue<'a>,
    ) -> Result<LocatedValue<'a>, EvalError> {
        // The interpreter computes at most two results, because two results are an error.
        let results = self.results(input, EXPRESSION_STEPS_MAX, 2, |result| result)?;
        let mut results = results.into_iter();
        let result = results.next().unwrap_or(Val::ABSENT);
        if let Some(second) = results.next() {
            let error = second.error("The expression has several results; `first(…)` takes one.");
            return Err(placed(value::into_eval_error(error), input));
        }
        // The copy of the result takes steps from the budget of the event.
        result.located_in(input).map_err(value::into_eval_error)
    }

    /// Runs the interpreted expression and returns up to `max` results. An absent result is an error. No result is an
    /// error too, unless the expression has read an empty list or has left out a value: the body states something that
    /// the expression does not find.
    pub(super) fn run_all(
        &self,
        input: &LocatedValue<'_>,
        max: usize,
    ) -> Result<Vec<Value>, EvalError> {
        let results = self.results(input, SPLIT_STEPS_MAX, max, |result| result)?;
        let notes = SplitNotes::end();
        if results.is_empty() && !notes.has_empty_list {
            let error = notes.no_list.unwrap_or(Val::ABSENT).error(NO_EVENT);
            return Err(placed(value::into_eval_error(error), input));
        }
        // The results of the expression share memory, but each event gets its own copy. The copies have their own
        // budget.
        budget::begin_event(SPLIT_COPY_STEPS_MAX);
        let present = |result: &Val| {
            let value = result.value()?;
            value.ok_or_else(|| result.error("The body must have a value here."))
        };
        let values: Result<_, _> = results.iter().map(present).collect();
        values.map_err(|error| placed(value::into_eval_error(error), input))
    }

    /// Runs the interpreted expression like [`Self::run_all`], and returns the places of each result that is not null.
    pub(super) fn places(&self, input: &LocatedValue<'_>, max: usize) -> Vec<EventPlaces> {
        let located = |event: Val| {
            let (item, absent) = SplitNotes::of_event();
            (!event.is_null()).then(|| event.places(item, &absent))
        };
        let results = self.results(input, SPLIT_STEPS_MAX, max, located);
        // The notes of this run keep a part of the body in memory.
        SplitNotes::end();
        results.unwrap_or_default().into_iter().flatten().collect()
    }

    /// Runs the interpreted expression, and converts each of its first `max` results with `convert` before the next
    /// result is computed. The hidden errors of `t?` are no results.
    fn results<T>(
        &self,
        input: &LocatedValue<'_>,
        steps: u32,
        max: usize,
        convert: impl Fn(Val) -> T,
    ) -> Result<Vec<T>, EvalError> {
        let data = InterpreterData {
            lut: &self.filter.lut,
            calls: &self.calls,
            binary_calls: &self.binary_calls,
            header_names: &self.headers,
            headers: input.headers(),
        };
        budget::begin(steps, input.log().is_some());
        SplitNotes::begin();
        let context = Ctx::<Interpreter>::new(data, Vars::new([]));
        let results: Result<Vec<T>, _> = Val::of(input).map_err(Exn::from).and_then(|input| {
            let results = self.filter.id.run((context, input));
            let counted = |result: &Result<Val, _>| !result.as_ref().is_ok_and(Val::is_hidden);
            let converted = results.filter(counted).map(|result| result.map(&convert));
            converted.take(max).collect()
        });
        let (places, is_within_budget) = budget::end();
        if let Some(log) = input.log() {
            places.into_iter().for_each(|place| log.record(place));
        }
        let failed = |exception: Exn<'_, Val>| {
            let error = exception.get_err();
            error.unwrap_or_else(|_halt| value::failed(value::STOPPED))
        };
        if !is_within_budget {
            return Err(input.exceeded());
        }
        let failed = |exception| placed(value::into_eval_error(failed(exception)), input);
        results.map_err(failed)
    }
}

/// Gives an error without a place the place of the expression's input.
fn placed(error: EvalError, input: &LocatedValue<'_>) -> EvalError {
    if error.pointer.is_empty() {
        let pointer = input.pointer();
        return EvalError { pointer, ..error };
    }
    error
}

/// Prints only the names of the called functions, because a compiled program has no readable form.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("calls", &self.calls)
            .field("binary_calls", &self.binary_calls)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
