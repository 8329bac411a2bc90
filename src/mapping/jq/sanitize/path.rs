//! Writes paths, pipes with variables, and the expression `body.split` for jaq.

use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path::{Opt, Part, Path};

use super::super::super::call::input_on_the_right;
use super::super::super::syntax::{constant, first_slice};
use super::results::can_be_empty;
use super::{ResultCount, Sanitizer};

impl<'c> Sanitizer<'_, 'c> {
    /// Writes the expression `body.split`. The `.[]` that makes the events accepts only a list.
    pub(super) fn events(&mut self, term: &Term<&'c str>) {
        if let Term::BinOp(left, BinaryOp::Pipe(Some(Pattern::Var(name))), right) = term {
            self.bound(left, name, right, ResultCount::Many);
        } else if let Term::BinOp(left, BinaryOp::Pipe(None), right) = term {
            self.put("(");
            self.events(left);
            self.put(" | __step | ");
            self.events(right);
            self.put(")");
        } else if let Term::Path(from, path) = term {
            self.refuse_input_on_the_right(from, path);
            self.put("((");
            self.events(from);
            self.put(")");
            self.steps(path, ResultCount::Many);
        } else if let Term::IfThenElse(branches, otherwise) = term {
            self.branches(branches, otherwise.as_deref(), ResultCount::Many);
        } else if let Term::TryCatch(tried, caught) = term {
            self.put(if caught.is_some() {
                "__try("
            } else {
                self.optional
            });
            self.events(tried);
            if let Some(caught) = caught {
                self.put("; ");
                self.events(caught);
            }
            self.put(")");
        } else {
            self.term(term);
        }
    }

    /// Writes an `if`. Without a result of a condition, the condition is not true.
    pub(super) fn branches(
        &mut self,
        branches: &[(Term<&'c str>, Term<&'c str>)],
        otherwise: Option<&Term<&'c str>>,
        results: ResultCount,
    ) {
        let write = Self::writer(results);
        for (number, (condition, result)) in branches.iter().enumerate() {
            self.put(if number == 0 { "(if " } else { " elif " });
            self.condition(condition);
            self.put(" then ");
            write(self, result);
        }
        if let Some(otherwise) = otherwise {
            self.put(" else ");
            write(self, otherwise);
        }
        self.put(" end)");
    }

    fn writer(results: ResultCount) -> fn(&mut Self, &Term<&'c str>) {
        match results {
            ResultCount::One => Self::term,
            ResultCount::Many => Self::events,
        }
    }

    /// Writes the term `a as $x | b` for jaq. If `a` has no result, `$x` is absent, unless `a` reads the items of a list.
    pub(super) fn bound(
        &mut self,
        value: &Term<&'c str>,
        name: &'c str,
        body: &Term<&'c str>,
        results: ResultCount,
    ) {
        let write = Self::writer(results);
        let name = name.trim_start_matches('$');
        self.put("((");
        self.some_if(can_be_empty(value), |sanitizer| write(sanitizer, value));
        self.put(") as $");
        self.put(name);
        self.variables.push(name);
        self.put(" | ");
        write(self, body);
        self.put(")");
        self.variables.pop();
    }

    pub(super) fn path(&mut self, from: &Term<&'c str>, path: &Path<Term<&'c str>>) {
        self.refuse_input_on_the_right(from, path);
        self.around("((", from, ")");
        self.steps(path, ResultCount::One);
    }

    fn refuse_input_on_the_right(&mut self, from: &Term<&'c str>, path: &Path<Term<&'c str>>) {
        if let Some(error) = input_on_the_right(from, path) {
            self.error(error.slice, error.reason);
        }
    }

    fn steps(&mut self, path: &Path<Term<&'c str>>, results: ResultCount) {
        for (part, optional) in &path.0 {
            let optional = matches!(optional, Opt::Optional);
            self.put(" | ");
            self.put(if optional { self.optional } else { "" });
            match (part, results) {
                (Part::Range(None, None), ResultCount::One) => self.put(".[]"),
                (Part::Range(None, None), ResultCount::Many) => self.put("__events"),
                (Part::Range(from, to), _) => self.range(from.as_ref(), to.as_ref()),
                (Part::Index(index), _) => self.index(index),
            }
            self.put(if optional { ")" } else { "" });
        }
        self.put(")");
    }

    fn range(&mut self, from: Option<&Term<&'c str>>, to: Option<&Term<&'c str>>) {
        self.put(".[");
        for (bound, after) in [(from, ":"), (to, "]")] {
            match bound {
                None => {}
                Some(Term::Num(text)) => self.number(text),
                Some(other) => {
                    let reason = "the bounds of a range are constant numbers from 0 up";
                    self.error(first_slice(other), reason.to_owned());
                }
            }
            self.put(after);
        }
    }

    fn index(&mut self, index: &Term<&'c str>) {
        self.put(".[");
        match (constant(index), index) {
            (Some(name), _) => self.constant(&name),
            (None, Term::Num(_)) => self.term(index),
            (None, Term::Neg(number)) if matches!(number.as_ref(), Term::Num(_)) => {
                self.term(index);
            }
            (None, Term::Call(name, arguments)) if arguments.is_empty() => {
                let reason = format!(
                    "the name of a member stands after a dot: write .{name} instead of [{name}]; a name that itself has brackets or dots stands in double quotes, such as .\"contact[email]\""
                );
                self.error(Some(name), reason);
            }
            (None, _) => {
                let reason = "a path is made of constant names and item numbers; a name with brackets or dots stands in double quotes, such as .\"contact[email]\"";
                self.error(first_slice(index), reason.to_owned());
            }
        }
        self.put("]");
    }
}
