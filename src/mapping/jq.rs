//! The slow road: what the compiled plan cannot say runs on jaq, behind a fence.
//!
//! The fence ([`mod@fence`]) writes an expression anew out of what it allows, and only that is given to jaq. Under it are
//! values of our own ([`value`]), so that an expression means the same on both roads, and a prelude of our own, so that
//! what the fence does not know does not exist below it either. An expression has one result; none is *absent*.

use std::fmt;

use jaq_core::data::HasLut;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, DataT, Exn, Filter, Lut, Vars};
use serde_json::Value;

use super::function::FunctionCall;
use super::located::{EvalError, LocatedValue};
use value::{RULE, Val, budget};

mod allowed;
mod native;
mod sanitize;
mod value;

pub(super) use allowed::allowed;
pub(super) use sanitize::{SanitizedCode, fence};

/// How many values one expression may look at in one event: far more than a customer has, and over in milliseconds.
const STEPS_MAX: u32 = 20_000;
/// The same for the expression that splits a body into events: as many as the longest body can have.
const SPLIT_STEPS_MAX: u32 = 1_000_000;

/// What the definitions of jq's are that the fence lets pass. Every loop in them goes through items, and going through
/// items costs steps.
const PRELUDE: &str = "
def empty: [] | .[];
def not: if . then false else true end;
def select(f): if f then . else empty end;
def map(f): if __is_nothing then . else [.[] | f] end;
def first: .[0];
def last: .[-1];
def any(f): first((.[] | f | if . then true else empty end), false);
def any: any(.);
def all(f): first((.[] | f | if . then empty else false end), true);
def all: all(.);
def add: if __is_nothing then . else reduce .[] as $x (__absent; . + $x) end;
def with_entries(f): to_entries | map(f) | from_entries;
def sort_by(f): if __is_nothing then . else [.[] | [[f], .]] | __sort | [.[] | .[1]] end;
def unique: __sort | __unique;
";

/// An expression on the slow road.
pub(super) struct Program {
    filter: Filter<Interpreter>,
    calls: Vec<FunctionCall>,
}

/// What jaq's values and functions are here.
struct Interpreter;

/// What functions know beside their input.
#[derive(Clone, Copy)]
struct InterpreterData<'a> {
    lut: &'a Lut<Interpreter>,
    calls: &'a [FunctionCall],
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

impl Program {
    /// Compiles what the fence has written.
    ///
    /// # Errors
    /// jaq does not take it; what it misses is said by name.
    pub(super) fn compile(fenced: SanitizedCode) -> Result<Self, String> {
        let SanitizedCode { code, calls } = fenced;
        let prelude = jaq_core::load::parse(PRELUDE, |parser| parser.defs());
        let arena = Arena::default();
        let modules = Loader::new(prelude.unwrap_or_default())
            .load(
                &arena,
                File {
                    code: code.as_str(),
                    path: (),
                },
            )
            .map_err(|_errors| "jq cannot read this expression".to_owned())?;
        let filter = Compiler::default()
            .with_funs(native::functions())
            .compile(modules)
            .map_err(|errors| {
                let missing = errors.into_iter().flat_map(|(_file, missing)| missing);
                let names: Vec<_> = missing.map(|(name, _kind)| format!("`{name}`")).collect();
                format!("{} is not defined", names.join(", "))
            })?;
        Ok(Self { filter, calls })
    }

    /// Runs it on what was read.
    pub(super) fn run<'a>(
        &'a self,
        input: &LocatedValue<'a>,
    ) -> Result<LocatedValue<'a>, EvalError> {
        let mut results = self.results(input, STEPS_MAX, 2)?.into_iter();
        let result = results.next().unwrap_or(Val::ABSENT);
        if results.next().is_some() {
            return Err(EvalError {
                rule: RULE,
                pointer: input.pointer(),
                detail: "The expression has several results; `first(…)` would take one.".to_owned(),
            });
        }
        result.moved(input).map_err(value::into_refused)
    }

    /// Runs it for up to `max` results; what is absent among them is nothing.
    pub(super) fn run_all(
        &self,
        input: &LocatedValue<'_>,
        max: usize,
    ) -> Result<Vec<Option<Value>>, EvalError> {
        let results = self.results(input, SPLIT_STEPS_MAX, max)?;
        budget::begin(SPLIT_STEPS_MAX, false);
        let values: Result<_, _> = results.iter().map(Val::value).collect();
        values.map_err(value::into_refused)
    }

    fn results(
        &self,
        input: &LocatedValue<'_>,
        steps: u32,
        max: usize,
    ) -> Result<Vec<Val>, EvalError> {
        let knows = InterpreterData {
            lut: &self.filter.lut,
            calls: &self.calls,
        };
        budget::begin(steps, input.seen().is_some());
        let context = Ctx::<Interpreter>::new(knows, Vars::new([]));
        let results: Result<Vec<Val>, _> = self
            .filter
            .id
            .run((context, Val::of(input)))
            .take(max)
            .collect();
        let (places, ended) = budget::end();
        if let Some(seen) = input.seen() {
            places.into_iter().for_each(|place| seen.note(place));
        }
        let failed = |exception: Exn<'_, Val>| {
            let error = exception.get_err();
            error.unwrap_or_else(|_halt| value::failed("The expression came to no end."))
        };
        ended
            .and_then(|()| results.map_err(failed))
            .map_err(value::into_refused)
    }
}

/// It has no readable form but the text in the mapping.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
