//! jaq's parser, with limits, and where in an expression something stands.

use jaq_core::load::lex::{Lexer, StrPart};
use jaq_core::load::parse::{Parser, Term};
use jaq_core::path::Part;

/// The longest expression; the longest that anyone would want to read is far shorter.
const EXPRESSION_CHARS_MAX: usize = 1_000;
/// The most brackets, and words and signs that have a whole term after them. The parser goes a level deeper with each,
/// and takes about 8 KiB of the stack for it; without this, a line of brackets would end the process.
const NESTING_MAX: usize = 64;
/// The words and signs that nest.
const NESTING: [&str; 11] = [
    "(", "[", "{", "-", "as", "def", "foreach", "if", "label", "reduce", "try",
];

/// Parses an expression, or says all that is wrong with its syntax.
pub(super) fn parse(code: &str) -> Result<Term<&str>, Vec<ExpressionError>> {
    if let Some(reason) = excess(code) {
        return Err(vec![ExpressionError::at(code, code, reason)]);
    }
    let tokens = Lexer::new(code)
        .lex()
        .map_err(|errors| -> Vec<ExpressionError> {
            errors
                .into_iter()
                .map(|(expected, found)| {
                    ExpressionError::at(code, found, unreadable(expected.as_str(), found))
                })
                .collect::<Vec<_>>()
        });
    let tokens = tokens.map_err(|mut flaws| {
        // One wrong sign breaks several rules of the language at its place; the first one says it.
        flaws.dedup_by_key(|flaw| flaw.position);
        flaws
    })?;
    Parser::new(&tokens)
        .parse(|parser| parser.term())
        .map_err(|errors| {
            errors
                .into_iter()
                .map(|(expected, found)| {
                    let (part, found) = match found {
                        Some(token) => (token.as_str(), format!("`{}`", token.as_str())),
                        None => (code.get(code.len()..).unwrap_or(code), "the end".to_owned()),
                    };
                    let reason = format!("expected {} and found {found}", expected.as_str());
                    ExpressionError::at(code, part, reason)
                })
                .collect()
        })
}

/// Why a sign is not taken; the usual mistake is said by name.
fn unreadable(expected: &str, found: &str) -> String {
    if found.starts_with('\'') || found.starts_with('‘') || found.starts_with('“') {
        return "a text stands in plain double quotes, as in e164(\"US\")".to_owned();
    }
    format!("expected {expected} here")
}

/// What an expression has too much of.
fn excess(code: &str) -> Option<String> {
    if code.chars().count() > EXPRESSION_CHARS_MAX {
        return Some(format!(
            "an expression has at most {EXPRESSION_CHARS_MAX} characters"
        ));
    }
    let nesting: usize = NESTING.iter().map(|word| code.matches(word).count()).sum();
    (nesting > NESTING_MAX).then(|| format!("an expression has at most {NESTING_MAX} brackets"))
}

/// A place in an expression, both counted from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Position {
    /// Where `part` begins in `code`, of which it must be a slice; the beginning if it is not.
    pub(super) fn of(code: &str, part: &str) -> Self {
        let before = part
            .as_ptr()
            .addr()
            .checked_sub(code.as_ptr().addr())
            .and_then(|offset| code.get(..offset))
            .unwrap_or_default();
        let column = before.rsplit('\n').next().unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: column.chars().count() + 1,
        }
    }
}

/// Why an expression is not taken, and where in it.
#[derive(Debug)]
pub(super) struct ExpressionError {
    pub(super) position: Position,
    pub(super) reason: String,
}

impl ExpressionError {
    /// A flaw of `part`, a slice of `code`.
    pub(super) fn at(code: &str, part: &str, reason: String) -> Self {
        Self {
            position: Position::of(code, part),
            reason,
        }
    }
}

/// The first piece of the expression that belongs to a term. Symbols and brackets leave none behind in jaq's syntax
/// tree, so it can be a little further on than where the term begins, or nowhere.
pub(super) fn place<'c>(term: &Term<&'c str>) -> Option<&'c str> {
    match term {
        Term::Id | Term::Recurse | Term::Arr(None) => None,
        Term::Num(text)
        | Term::Str(Some(text), _)
        | Term::Label(text, _)
        | Term::Break(text)
        | Term::Fold(text, ..)
        | Term::Call(text, _)
        | Term::Var(text) => Some(text),
        Term::Str(None, parts) => parts.iter().find_map(|part| match part {
            StrPart::Str(text) => Some(*text),
            StrPart::Term(term) => place(term),
            StrPart::Char(_) => None,
        }),
        Term::Arr(Some(inner)) | Term::Neg(inner) => place(inner),
        Term::Obj(members) => members
            .iter()
            .find_map(|(key, value)| place(key).or_else(|| value.as_ref().and_then(place))),
        Term::BinOp(left, _, right) => place(left).or_else(|| place(right)),
        Term::TryCatch(tried, caught) => place(tried).or_else(|| caught.as_deref().and_then(place)),
        Term::IfThenElse(branches, otherwise) => branches
            .iter()
            .find_map(|(condition, result)| place(condition).or_else(|| place(result)))
            .or_else(|| otherwise.as_deref().and_then(place)),
        Term::Def(definitions, inner) => definitions
            .first()
            .map(|definition| definition.name)
            .or_else(|| place(inner)),
        Term::Path(from, path) => place(from).or_else(|| {
            path.0.iter().find_map(|(part, _)| match part {
                Part::Index(index) => place(index),
                Part::Range(from, upto) => [from, upto]
                    .into_iter()
                    .find_map(|bound| bound.as_ref().and_then(place)),
            })
        }),
    }
}
