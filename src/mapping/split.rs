//! Compiles `split(" ") | first` and similar terms, which select parts of a name or an address.
//!
//! A compiled split creates no list of the pieces. jaq interprets every other list operation of a mapping expression.

use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::path::{Opt, Part, Path};
use serde_json::Value;

use super::budget;
use super::error::{EvalError, ValueError, other_type};
use super::located::{Assumed, LocatedValue, Presence};
use super::syntax::constant;

/// The name of the rule in the errors of a compiled split.
const RULE: &str = "split";

/// A separator that splits a text, and a selection of the pieces.
#[derive(Clone, Debug)]
pub(super) struct Split {
    /// The separator of the pieces, never empty.
    separator: String,
    selection: PieceSelection,
}

#[derive(Clone, Debug)]
enum PieceSelection {
    /// The index of the piece that a path such as `.[1]` selects, counted from 0.
    One(usize),
    /// The first piece: `first`
    First,
    /// The last piece: `last`
    Last,
    /// Several pieces: `.[1:3] | join(" ")`. The variant contains the first index, the index after the last piece, and
    /// the text to put between two pieces.
    Joined(usize, Option<usize>, String),
}

impl Split {
    /// Returns the split at the beginning of a term, and the rest of the pipe after the split.
    pub(super) fn of<'t, 'c>(term: &'t Term<&'c str>) -> Option<(Self, Option<&'t Term<&'c str>>)> {
        if let Term::Path(from, path) = term {
            let (separator, selection) = (separator(from)?, one(path)?);
            return Some((
                Self {
                    separator,
                    selection,
                },
                None,
            ));
        }
        let (from, then) = pipe(term)?;
        let separator = separator(from)?;
        let (next, rest) = match pipe(then) {
            Some((next, rest)) => (next, Some(rest)),
            None => (then, None),
        };
        if let Some(selection) = selection(next) {
            return Some((
                Self {
                    separator,
                    selection,
                },
                rest,
            ));
        }
        let (from, to) = range(next)?;
        let (join, rest) = match rest.and_then(pipe) {
            Some((join, rest)) => (join, Some(rest)),
            None => (rest?, None),
        };
        let between = call(join, "join")?;
        let selection = PieceSelection::Joined(from, to, between);
        Some((
            Self {
                separator,
                selection,
            },
            rest,
        ))
    }

    /// Splits the text in `input` and selects the pieces.
    pub(super) fn read<'a>(&self, input: &LocatedValue<'a>) -> Result<LocatedValue<'a>, EvalError> {
        match input.value() {
            // A path into null is absent, but a function of null is null.
            Some(Value::Null) if matches!(self.selection, PieceSelection::One(_)) => {
                Ok(input.absent(Assumed::Null))
            }
            None | Some(Value::Null) => Ok(input.clone()),
            Some(Value::String(text)) => {
                input.charge(self.steps(text))?;
                Ok(input.with(Presence::of(self.take(text).map(Value::String))))
            }
            Some(
                value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)),
            ) => Err(input.error(RULE, ValueError::new(other_type(value, "a text")))),
        }
    }

    /// Returns the number of budget steps for splitting a text. A joined text contains the text `between` at most once
    /// for each separator.
    fn steps(&self, text: &str) -> usize {
        let read = budget::text_steps(text);
        match &self.selection {
            PieceSelection::One(_) | PieceSelection::First | PieceSelection::Last => read,
            PieceSelection::Joined(_, _, between) => {
                let separators = text.matches(&self.separator).count();
                read.saturating_add(separators.saturating_mul(budget::text_steps(between)))
            }
        }
    }

    /// Returns the selected pieces. Returns `None` if the text has no piece with the selected index. If a range selects no
    /// piece, the joined text is empty, because the source has stated the whole text.
    fn take(&self, text: &str) -> Option<String> {
        let mut pieces = text.split(&self.separator);
        match &self.selection {
            PieceSelection::One(index) => pieces.nth(*index).map(str::to_owned),
            PieceSelection::First => pieces.next().map(str::to_owned),
            // `split(…) | last` takes the last piece from the front: a search from the back would find overlapping
            // separators at other places.
            PieceSelection::Last => pieces.last().map(str::to_owned),
            PieceSelection::Joined(from, to, between) => {
                let count = to.map_or(usize::MAX, |to| to.saturating_sub(*from));
                let mut pieces = pieces.skip(*from).take(count);
                let mut joined = pieces.next().unwrap_or_default().to_owned();
                for piece in pieces {
                    joined.push_str(between);
                    joined.push_str(piece);
                }
                Some(joined)
            }
        }
    }
}

fn pipe<'t, 'c>(term: &'t Term<&'c str>) -> Option<(&'t Term<&'c str>, &'t Term<&'c str>)> {
    if let Term::BinOp(first, BinaryOp::Pipe(None), then) = term {
        Some((first, then))
    } else {
        None
    }
}

/// Returns the constant text argument in a call of the function `name`.
fn call(term: &Term<&str>, name: &str) -> Option<String> {
    if let Term::Call(called, arguments) = term
        && *called == name
        && let [text] = arguments.as_slice()
    {
        constant(text)
    } else {
        None
    }
}

fn separator(term: &Term<&str>) -> Option<String> {
    call(term, "split").filter(|by| !by.is_empty())
}

fn selection(term: &Term<&str>) -> Option<PieceSelection> {
    if let Term::Path(from, path) = term {
        return matches!(from.as_ref(), Term::Id).then(|| one(path))?;
    }
    if let Term::Call(name, arguments) = term
        && arguments.is_empty()
    {
        return match *name {
            "first" => Some(PieceSelection::First),
            "last" => Some(PieceSelection::Last),
            _another => None,
        };
    }
    None
}

/// Converts a path that selects one piece of a split text, such as `.[1]`.
fn one(path: &Path<Term<&str>>) -> Option<PieceSelection> {
    match path.0.as_slice() {
        [(Part::Index(index), Opt::Essential)] => number(index).map(PieceSelection::One),
        _other => None,
    }
}

/// Converts a path that selects a range of pieces, such as `.[1:3]`. Returns the first index, and the index after the
/// last piece.
fn range(term: &Term<&str>) -> Option<(usize, Option<usize>)> {
    if let Term::Path(from, path) = term
        && let Term::Id = from.as_ref()
        && let [(Part::Range(from, to), Opt::Essential)] = path.0.as_slice()
    {
        let from = from.as_ref().map_or(Some(0), number)?;
        return match to {
            Some(to) => Some((from, Some(number(to)?))),
            None => Some((from, None)),
        };
    }
    None
}

fn number(term: &Term<&str>) -> Option<usize> {
    if let Term::Num(text) = term {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Split;
    use crate::mapping::syntax::parse;
    use crate::mapping::tests::FieldResult::{Absent, Cleared, Refused, Set};
    use crate::mapping::tests::{CANARY, FieldResult, check};

    /// Returns the selected pieces of a text, and whether the expression has more terms after the split. Returns `None`
    /// if the expression does not begin with a split.
    fn take(expression: &str, text: &str) -> Option<(Option<String>, bool)> {
        let term = parse(expression).unwrap();
        Split::of(&term).map(|(split, rest)| (split.take(text), rest.is_some()))
    }

    #[test]
    fn selected_pieces_are_taken() {
        for (expression, text, expected) in [
            ("split(\" \") | first", "a b c", Some("a")),
            ("split(\" \") | last", "a b c", Some("c")),
            ("split(\" \") | .[1]", "a b c", Some("b")),
            ("split(\" \")[2]", "a b c", Some("c")),
            ("split(\" \") | .[3]", "a b c", None),
            ("split(\" \") | first", "", Some("")),
            ("split(\"aa\") | last", "aaa", Some("a")),
            (
                "split(\" \") | .[1:3] | join(\"-\")",
                "a b c d",
                Some("b-c"),
            ),
            ("split(\" \") | .[:2] | join(\"\")", "a b c d", Some("ab")),
            ("split(\" \") | .[2:] | join(\"-\")", "a b c d", Some("c-d")),
            ("split(\" \") | .[2:2] | join(\"-\")", "a b c d", Some("")),
            ("split(\" \") | .[4:] | join(\"-\")", "a b c d", Some("")),
        ] {
            let expected = Some((expected.map(str::to_owned), false));
            assert_eq!(take(expression, text), expected, "{expression}");
        }
    }

    #[test]
    fn the_rest_of_a_pipe_is_returned() {
        for expression in [
            "split(\" \") | first | upper",
            "split(\" \") | .[1:] | join(\" \") | upper",
        ] {
            assert!(take(expression, "").unwrap().1, "{expression}");
        }
    }

    #[test]
    fn any_other_use_of_split_is_interpreted() {
        for expression in [
            "split(\"\") | first",
            "split(.a) | first",
            "split(\" \")",
            "split(\" \") | length",
            "split(\" \") | .[-1]",
            "split(\" \") | .[1]?",
            "split(\" \") | .a[1]",
            "split(\" \") | .[1:3]",
            "split(\" \") | .[1:3]? | join(\"\")",
            "split(\" \") | .[1:3] | join(.a)",
            "split(\" \") | .[1:3] | has(\"a\")",
            "join(\" \") | first",
            "(split(\" \") | .[1:]) | join(\"\")",
            "split(\" \") | .[1:3] | first",
            "split(\" \") | first(.)",
            "split(\" \") | upper",
            ".a | first",
            "first",
        ] {
            assert_eq!(take(expression, "a b"), None, "{expression}");
        }
    }

    #[test]
    fn absent_and_null_are_kept_and_other_values_refused() {
        let open = |expression: &str, v: Value, expected: &FieldResult| {
            check("metadata.k", expression, Some(v), expected);
        };
        let rest = ".v | split(\" \") | .[1:] | join(\"-\")";
        open(rest, json!("Ada Maria King"), &Set(json!("Maria-King")));
        open(rest, json!("Ada"), &Cleared);
        open(rest, Value::Null, &Cleared);
        open(rest, json!([CANARY]), &Refused("split", "/v"));
        open(rest, json!({"a": CANARY}), &Refused("split", "/v"));
        check("metadata.k", rest, None, &Absent);
        open(".v | split(\" \") | first", Value::Null, &Cleared);
        open(".v | split(\" \") | .[0]", Value::Null, &Absent);
        let first = ".v | split(\" \") | .[1] | upper";
        open(first, json!("Ada Maria King"), &Set(json!("MARIA")));
    }
}
