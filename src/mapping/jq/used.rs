//! The parts of its input that an interpreted expression can use.
//!
//! A term that this module does not know uses its whole input.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops::Cmp;
use jaq_core::path::{Part, Path};

use super::super::syntax::{constant, literal};
use super::super::used::{ComparedPlaces, UsedPart, UsedParts, ValueOrigin, in_list};

/// Returns the parts of the input that a term can use, and the places in the input from which its results can come.
pub(super) fn used(term: &Term<&str>) -> (Vec<UsedPart>, Vec<ValueOrigin>) {
    let mut analysis = Analysis::default();
    let results = analysis.term(term, &[ValueOrigin::event()]);
    (analysis.parts.into_parts(), results)
}

/// Returns the comparisons of values of the input with constants.
pub(super) fn compared(term: &Term<&str>) -> Vec<ComparedPlaces> {
    let mut analysis = Analysis::default();
    drop(analysis.term(term, &[ValueOrigin::event()]));
    analysis.compared
}

#[derive(Default)]
struct Analysis<'t> {
    parts: UsedParts,
    compared: Vec<ComparedPlaces>,
    /// The variables in scope, each with the places from which its value can come.
    variables: Vec<(&'t str, Vec<ValueOrigin>)>,
}

impl<'t> Analysis<'t> {
    fn term(&mut self, term: &'t Term<&'t str>, input: &[ValueOrigin]) -> Vec<ValueOrigin> {
        match term {
            Term::Id => input.to_vec(),
            Term::Num(_) | Term::Arr(None) => Vec::new(),
            Term::Neg(inner) => self.whole(inner, input),
            Term::Str(None, parts) => self.text(parts, input),
            Term::Arr(Some(inner)) => in_list(self.term(inner, input)),
            Term::Obj(members) => self.object(members, input),
            Term::BinOp(left, op, right) => self.binary((left, right), op, input),
            Term::TryCatch(tried, caught) => {
                let tried = self.term(tried, input);
                // The input of `catch` is the text of the error.
                let caught = caught.as_ref().map(|caught| self.term(caught, &[]));
                self.parts.either(tried, caught.unwrap_or_default())
            }
            Term::IfThenElse(branches, otherwise) => {
                self.conditional(branches, otherwise.as_deref(), input)
            }
            Term::Call(name, arguments) => self.call(name, arguments, input),
            Term::Var(name) => self.variable(name),
            Term::Path(from, path) => self.path(from, path, input),
            Term::Recurse
            | Term::Str(Some(_), _)
            | Term::Fold(..)
            | Term::Label(..)
            | Term::Break(_)
            | Term::Def(..) => self.made(input),
        }
    }

    /// Adds the whole result of a term.
    fn whole(&mut self, term: &'t Term<&'t str>, input: &[ValueOrigin]) -> Vec<ValueOrigin> {
        let result = self.term(term, input);
        self.made(&result)
    }

    /// Adds whole values. The value that the expression makes of them comes from no place.
    fn made(&mut self, values: &[ValueOrigin]) -> Vec<ValueOrigin> {
        self.parts.use_whole(values);
        Vec::new()
    }

    /// Adds the truth of the result of a term.
    fn condition(&mut self, term: &'t Term<&'t str>, input: &[ValueOrigin]) -> Vec<ValueOrigin> {
        let result = self.term(term, input);
        self.parts.touch(&result);
        Vec::new()
    }

    fn text(
        &mut self,
        parts: &'t [StrPart<&'t str, Term<&'t str>>],
        input: &[ValueOrigin],
    ) -> Vec<ValueOrigin> {
        for part in parts {
            match part {
                StrPart::Str(_) | StrPart::Char(_) => {}
                StrPart::Term(term) => drop(self.whole(term, input)),
            }
        }
        Vec::new()
    }

    fn object(
        &mut self,
        members: &'t [(Term<&'t str>, Option<Term<&'t str>>)],
        input: &[ValueOrigin],
    ) -> Vec<ValueOrigin> {
        for (name, value) in members {
            match (constant(name), value) {
                (Some(_), Some(value)) => drop(self.whole(value, input)),
                (Some(name), None) => {
                    let member = self.parts.member(input, &name);
                    self.made(&member);
                }
                (None, _) => drop(self.made(input)),
            }
        }
        Vec::new()
    }

    fn binary(
        &mut self,
        (left, right): (&'t Term<&'t str>, &'t Term<&'t str>),
        op: &'t BinaryOp<&'t str>,
        input: &[ValueOrigin],
    ) -> Vec<ValueOrigin> {
        match op {
            BinaryOp::Pipe(None) => {
                let left = self.term(left, input);
                self.term(right, &left)
            }
            BinaryOp::Pipe(Some(Pattern::Var(name))) => {
                let bound = self.term(left, input);
                self.variables.push((name.trim_start_matches('$'), bound));
                let result = self.term(right, input);
                self.variables.pop();
                result
            }
            BinaryOp::Alt | BinaryOp::Comma => {
                let left = self.term(left, input);
                self.parts.touch(&left);
                let right = self.term(right, input);
                self.parts.either(left, right)
            }
            BinaryOp::Or | BinaryOp::And => {
                self.condition(left, input);
                self.condition(right, input)
            }
            BinaryOp::Cmp(Cmp::Eq | Cmp::Ne) => self.comparison((left, right), input),
            BinaryOp::Math(_) | BinaryOp::Cmp(_) => {
                self.whole(left, input);
                self.whole(right, input)
            }
            BinaryOp::Pipe(Some(Pattern::Arr(_) | Pattern::Obj(_)))
            | BinaryOp::Assign
            | BinaryOp::Update
            | BinaryOp::UpdateMath(_)
            | BinaryOp::UpdateAlt => self.made(input),
        }
    }

    /// Adds the two sides of a comparison, and notes the comparison if one side is a constant.
    fn comparison(
        &mut self,
        (left, right): (&'t Term<&'t str>, &'t Term<&'t str>),
        input: &[ValueOrigin],
    ) -> Vec<ValueOrigin> {
        let values = [self.term(left, input), self.term(right, input)];
        for (values, other) in values.iter().zip([right, left]) {
            let other = literal(other);
            let places = values.iter().filter_map(ValueOrigin::steps);
            let pairs = places.filter_map(|steps| Some((steps, other.clone()?)));
            self.compared
                .extend(pairs.map(|(steps, other)| ComparedPlaces {
                    steps: steps.to_vec(),
                    other,
                }));
        }
        self.made(&values.concat())
    }

    fn conditional(
        &mut self,
        branches: &'t [(Term<&'t str>, Term<&'t str>)],
        otherwise: Option<&'t Term<&'t str>>,
        input: &[ValueOrigin],
    ) -> Vec<ValueOrigin> {
        let mut results = match otherwise {
            Some(otherwise) => self.term(otherwise, input),
            None => input.to_vec(),
        };
        for (condition, result) in branches {
            self.condition(condition, input);
            let result = self.term(result, input);
            results = self.parts.either(results, result);
        }
        results
    }

    fn variable(&self, name: &str) -> Vec<ValueOrigin> {
        let name = name.trim_start_matches('$');
        let known = self.variables.iter().rev();
        let known = known.filter(|(known, _)| *known == name);
        let origins = known.map(|(_, origins)| origins.clone()).next();
        origins.unwrap_or_default()
    }

    fn path(
        &mut self,
        from: &'t Term<&'t str>,
        path: &'t Path<Term<&'t str>>,
        input: &[ValueOrigin],
    ) -> Vec<ValueOrigin> {
        let mut values = self.term(from, input);
        for (part, _) in &path.0 {
            values = match part {
                Part::Range(None, None) => self.parts.each(&values),
                Part::Index(index) if is_number(index) => self.parts.each(&values),
                Part::Index(index) => match constant(index) {
                    Some(name) => self.parts.member(&values, &name),
                    None => {
                        self.whole(index, input);
                        self.made(&values)
                    }
                },
                // A part of a list, or of a text.
                Part::Range(..) => {
                    self.parts.each(&values);
                    values
                }
            };
        }
        values
    }

    fn call(
        &mut self,
        name: &str,
        arguments: &'t [Term<&'t str>],
        input: &[ValueOrigin],
    ) -> Vec<ValueOrigin> {
        match (name, arguments) {
            ("empty" | "true" | "false" | "null", []) => Vec::new(),
            ("not", []) => {
                self.parts.touch(input);
                Vec::new()
            }
            ("first" | "last", []) => self.parts.each(input),
            ("reverse", []) => {
                self.parts.each(input);
                input.to_vec()
            }
            ("first", [stream]) => self.term(stream, input),
            ("has", [member]) => {
                match constant(member) {
                    Some(member) => drop(self.parts.member(input, &member)),
                    None => drop(self.made(input)),
                }
                Vec::new()
            }
            ("select", [condition]) => {
                self.condition(condition, input);
                input.to_vec()
            }
            ("map", [each]) => {
                let items = self.parts.each(input);
                in_list(self.term(each, &items))
            }
            ("any" | "all", [condition]) => {
                let items = self.parts.each(input);
                self.condition(condition, &items)
            }
            // Items with equal keys are sorted by their whole values.
            ("sort_by", [_]) => {
                self.parts.use_whole(input);
                input.to_vec()
            }
            // A function of the bridge, such as `minor_units(.amount; .currency)`, or a function that uses its whole
            // input.
            (_, arguments) => {
                for argument in arguments {
                    self.whole(argument, input);
                }
                self.made(input)
            }
        }
    }
}

/// Returns whether a term is the index of an item, such as `0` or `-1`.
fn is_number(index: &Term<&str>) -> bool {
    let is_plain = |term: &Term<&str>| matches!(term, Term::Num(_));
    let is_negative = matches!(index, Term::Neg(inner) if is_plain(inner));
    is_plain(index) || is_negative
}
