//! Writes arrays and objects for jaq. Constants do not make a collection of absent values a statement of the event.

use jaq_core::load::parse::{BinaryOp, Term};

use super::super::super::syntax::{constant, first_slice, is_constant};
use super::Sanitizer;

/// A member of an object: its name and its value. Without a value, the member of the input with this name is the value.
type Member<'c> = (Term<&'c str>, Option<Term<&'c str>>);

impl<'c> Sanitizer<'_, 'c> {
    /// Writes an array with the number of its items that are constants, because constants do not make an array of
    /// absent items a statement of the event.
    pub(super) fn array(&mut self, inner: &Term<&'c str>) {
        if let Term::Num(number) = inner
            && self.is_after_pipe(number, "[")
        {
            // The author of `.emails | [0]` means an item of the input.
            let reason = format!(
                "`[{number}]` after a pipe is a list with the number {number}: write .[{number}] for an item of the input"
            );
            return self.error(Some(number), reason);
        }
        let mut parts = 0;
        let constants = constants(inner, &mut parts);
        if parts == constants {
            self.put("[");
            self.stream(inner);
            return self.put("]");
        }
        self.put(&format!("__array({constants}; "));
        self.stream(inner);
        self.put(")");
    }

    pub(super) fn object(&mut self, members: &[Member<'c>]) {
        let (constants, read): (Vec<_>, Vec<_>) = members.iter().partition(|(_, value)| {
            let value = value.as_ref();
            value.is_some_and(is_constant)
        });
        if constants.is_empty() || read.is_empty() {
            return self.members(members.iter());
        }
        self.put("__with_constants(");
        self.members(read.into_iter());
        self.put("; ");
        self.members(constants.into_iter());
        self.put(")");
    }

    fn members<'m>(&mut self, members: impl Iterator<Item = &'m Member<'c>>)
    where
        'c: 'm,
    {
        self.put("{");
        for (number, (key, value)) in members.enumerate() {
            if number > 0 {
                self.put(", ");
            }
            let variable = variable(key).map(str::to_owned);
            let Some(name) = constant(key).or(variable) else {
                let reason = "the names in an object are constants";
                self.error(first_slice(key), reason.to_owned());
                continue;
            };
            self.constant(&name);
            match (value, key) {
                (Some(value), _) => {
                    self.put(": (");
                    self.operand(value);
                    self.put(")");
                }
                (None, Term::Var(_)) => self.around(": ", key, ""),
                (None, _) => {
                    self.put(": .[");
                    self.constant(&name);
                    self.put("]");
                }
            }
        }
        self.put("}");
    }
}

/// Counts the terms of an array that are constants, and adds the number of all terms to `parts`.
fn constants(inner: &Term<&str>, parts: &mut usize) -> usize {
    if let Term::BinOp(left, BinaryOp::Comma, right) = inner {
        return constants(left, parts) + constants(right, parts);
    }
    *parts += 1;
    usize::from(is_constant(inner))
}

/// Returns the name of a variable, or `None` if the term is not a variable.
fn variable<'c>(term: &Term<&'c str>) -> Option<&'c str> {
    if let Term::Var(name) = term {
        Some(name.trim_start_matches('$'))
    } else {
        None
    }
}
