//! Which terms of jq the compiled plan can say: those that always have exactly one result.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::ops::Cmp;
use jaq_core::path::{Opt, Part};

use super::function::{FUNCTIONS, Parameters};
use super::located::PathStep;
use super::lower::constant;
use super::split::Split;

/// Whether a term can be said by the compiled plan.
pub(super) fn is_plain(term: &Term<&str>) -> bool {
    if let Some((_, rest)) = Split::of(term) {
        return rest.is_none_or(is_plain);
    }
    match term {
        Term::Id | Term::Num(_) => true,
        Term::Neg(inner) => matches!(inner.as_ref(), Term::Num(_)),
        Term::Str(None, parts) => parts.iter().all(|part| match part {
            StrPart::Str(_) | StrPart::Char(_) => true,
            StrPart::Term(term) => is_plain(term),
        }),
        Term::Obj(members) => members
            .iter()
            .all(|(key, value)| constant(key).is_some() && value.as_ref().is_none_or(is_plain)),
        Term::BinOp(left, op, right) => is_plain_operator(op) && is_plain(left) && is_plain(right),
        Term::IfThenElse(branches, otherwise) => {
            let mut terms = branches
                .iter()
                .flat_map(|(condition, result)| [condition, result]);
            terms.all(is_plain) && otherwise.as_deref().is_none_or(is_plain)
        }
        Term::Call(name, arguments) => is_plain_call(name, arguments),
        Term::Path(from, path) => is_plain(from) && path.0.iter().all(is_plain_part),
        Term::Recurse
        | Term::Str(Some(_), _)
        | Term::Arr(_)
        | Term::Label(..)
        | Term::Break(_)
        | Term::Fold(..)
        | Term::TryCatch(..)
        | Term::Def(..)
        | Term::Var(_) => false,
    }
}

const fn is_plain_operator(op: &BinaryOp<&str>) -> bool {
    match op {
        BinaryOp::Pipe(None)
        | BinaryOp::Alt
        | BinaryOp::Or
        | BinaryOp::And
        | BinaryOp::Cmp(Cmp::Eq | Cmp::Ne) => true,
        BinaryOp::Pipe(Some(_))
        | BinaryOp::Comma
        | BinaryOp::Math(_)
        | BinaryOp::Cmp(Cmp::Lt | Cmp::Le | Cmp::Gt | Cmp::Ge)
        | BinaryOp::Assign
        | BinaryOp::Update
        | BinaryOp::UpdateMath(_)
        | BinaryOp::UpdateAlt => false,
    }
}

fn is_plain_call(name: &str, arguments: &[Term<&str>]) -> bool {
    match name {
        "null" | "true" | "false" | "not" => arguments.is_empty(),
        _function => {
            let known = FUNCTIONS.iter().find(|known| known.name == name);
            known.is_some_and(|known| match known.takes {
                Parameters::Terms(_) => arguments.iter().all(is_plain),
                Parameters::Nothing(_)
                | Parameters::Anything(_)
                | Parameters::Unit
                | Parameters::Line
                | Parameters::Region
                | Parameters::Table => true,
            })
        }
    }
}

fn is_plain_part((part, optional): &(Part<Term<&str>>, Opt)) -> bool {
    match (part, optional) {
        (Part::Index(index), Opt::Essential) => step(index).is_some(),
        (Part::Index(_) | Part::Range(..), Opt::Optional) | (Part::Range(..), Opt::Essential) => {
            false
        }
    }
}

/// The step that an index is, if it is a constant name or an item number from 0 up.
pub(super) fn step(index: &Term<&str>) -> Option<PathStep> {
    if let Term::Num(text) = index {
        return text.parse().ok().map(PathStep::Index);
    }
    constant(index).map(PathStep::Key)
}
