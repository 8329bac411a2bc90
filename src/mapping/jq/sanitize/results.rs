//! Finds out from its syntax how many results a term can have.
//!
//! In jq, a term has no result if one of its operands has no result. The events of a body would disappear without a
//! trace in this way, for example `{id, phone: (.phone | select(. != ""))}`. The sanitizer therefore makes an operand
//! without a result absent, unless the operand reads the items of a list: jq makes one result for each item then.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::path::Part;
use serde_json::Value;

use super::{Sanitizer, constant};

/// The number of results that a term can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Results {
    One,
    AtMostOne,
    /// The term reads the items of a list, or adds results with `,`.
    Any,
}

/// Returns whether a term can have no result, although the term does not read the items of a list.
pub(super) fn can_be_empty(term: &Term<&str>) -> bool {
    results(term) == Results::AtMostOne
}

/// Returns the error of a call of `any`, `all` or `select` whose condition is a constant text.
pub(super) fn constant_condition(name: &str, condition: &Term<&str>) -> Option<String> {
    if !matches!(name, "any" | "all" | "select") {
        return None;
    }
    let text = Value::from(constant(condition)?);
    Some(format!(
        "`{name}({text})` does not look at its input, because a text is always true; write {name}(. == {text})"
    ))
}

impl<'c> Sanitizer<'_, 'c> {
    /// Writes an operand of a term, such as one side of an operator. An operand without a result is absent.
    pub(super) fn operand(&mut self, term: &Term<&'c str>) {
        self.some_if(can_be_empty(term), |sanitizer| sanitizer.term(term));
    }

    /// Writes a condition. A condition without a result is absent, and therefore not true.
    pub(super) fn condition(&mut self, term: &Term<&'c str>) {
        let is_one = results(term) == Results::One;
        self.some_if(!is_one, |sanitizer| sanitizer.term(term));
    }

    /// Writes a term that has at least one result if `is_some` is true.
    pub(super) fn some_if(&mut self, is_some: bool, write: impl FnOnce(&mut Self)) {
        self.put(if is_some { "__some(" } else { "" });
        write(self);
        self.put(if is_some { ")" } else { "" });
    }
}

fn results(term: &Term<&str>) -> Results {
    match term {
        Term::Id
        | Term::Recurse
        | Term::Num(_)
        | Term::Str(Some(_), _)
        | Term::Arr(_)
        | Term::Var(_)
        | Term::Label(..)
        | Term::Break(_)
        | Term::Fold(..)
        | Term::Def(..) => Results::One,
        Term::Neg(inner) => results(inner),
        Term::Str(None, parts) => of_operands(parts.iter().filter_map(|part| match part {
            StrPart::Term(term) => Some(term),
            StrPart::Str(_) | StrPart::Char(_) => None,
        })),
        Term::Obj(members) => of_operands(members.iter().filter_map(|(_, value)| value.as_ref())),
        Term::BinOp(left, op, right) => match op {
            BinaryOp::Pipe(None) => results(left).max(results(right)),
            BinaryOp::Pipe(Some(_)) | BinaryOp::Alt => {
                of_operands([left.as_ref()].into_iter()).max(results(right))
            }
            BinaryOp::Comma => Results::Any,
            BinaryOp::Or
            | BinaryOp::And
            | BinaryOp::Math(_)
            | BinaryOp::Cmp(_)
            | BinaryOp::Assign
            | BinaryOp::Update
            | BinaryOp::UpdateMath(_)
            | BinaryOp::UpdateAlt => of_operands([left.as_ref(), right.as_ref()].into_iter()),
        },
        Term::TryCatch(tried, caught) => {
            let caught = caught
                .as_ref()
                .map_or(Results::One, |caught| results(caught));
            results(tried).max(caught)
        }
        Term::IfThenElse(branches, otherwise) => {
            let conditions = of_operands(branches.iter().map(|(condition, _)| condition));
            let branches = branches.iter().map(|(_, branch)| results(branch));
            let otherwise = otherwise.as_ref().map(|otherwise| results(otherwise));
            branches.chain(otherwise).fold(conditions, Results::max)
        }
        Term::Call(name, arguments) => of_call(name, arguments),
        Term::Path(from, path) => {
            let reads_items = |(part, _): &(Part<_>, _)| matches!(part, Part::Range(None, None));
            if path.0.iter().any(reads_items) {
                Results::Any
            } else {
                results(from)
            }
        }
    }
}

fn of_call(name: &str, arguments: &[Term<&str>]) -> Results {
    match (name, arguments) {
        ("empty", []) => Results::AtMostOne,
        ("select", [condition]) => of_operands([condition].into_iter()).max(Results::AtMostOne),
        ("first", [stream]) => results(stream).min(Results::AtMostOne),
        ("all" | "any" | "map" | "sort_by" | "with_entries", _) => Results::One,
        (_, arguments) => of_operands(arguments.iter()),
    }
}

/// Returns the number of results of a term that has these operands. An operand without a result is absent.
fn of_operands<'t, 'c: 't>(operands: impl Iterator<Item = &'t Term<&'c str>>) -> Results {
    let has_any = operands.map(results).any(|results| results == Results::Any);
    if has_any { Results::Any } else { Results::One }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::syntax::parse;

    #[test]
    fn the_syntax_shows_how_many_results_a_term_can_have() {
        for (expression, expected) in [
            (".a.b[0]?", Results::One),
            (".a | select(.b)", Results::AtMostOne),
            ("if .a then .b else empty end", Results::AtMostOne),
            ("if (.a | select(.b)) then .b end", Results::One),
            (".a // empty", Results::AtMostOne),
            ("(.a | select(.b)) // 1", Results::One),
            ("try .a catch empty", Results::AtMostOne),
            ("{a: (.a | select(.b))}", Results::One),
            ("\"\\(empty)\"", Results::One),
            ("(.a | select(.b)) == 1", Results::One),
            ("first(.a[])", Results::AtMostOne),
            ("first(.a)", Results::One),
            ("[.a[]] | length", Results::One),
            (".a | map(select(.b))", Results::One),
            (".a[]", Results::Any),
            ("{a: .a[]}", Results::Any),
            ("select(.a[])", Results::Any),
            ("months_since(.a[]; .b)", Results::Any),
            (".a[] as $x | $x", Results::Any),
            ("(.a | select(.b)) as $x | $x", Results::One),
        ] {
            let term = parse(expression).unwrap();
            assert_eq!(results(&term), expected, "{expression}");
        }
    }
}
