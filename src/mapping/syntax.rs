//! Parses mapping expressions with jaq's parser. Limits the length and nesting of an expression, and finds constants
//! and text positions in an expression.

use jaq_core::load::lex::{Lexer, StrPart};
use jaq_core::load::parse::{BinaryOp, Parser, Term};
use jaq_core::ops::Cmp;
use jaq_core::path::Part;
use serde_json::{Number, Value};

use super::foreign;

mod unreadable;

/// The maximum length of a mapping expression. A longer expression would be hard to read.
const EXPRESSION_CHARS_MAX: usize = 1_000;
/// The maximum number of [`NESTING`] signs in an expression.
///
/// jaq's parser calls itself for each [`NESTING`] sign and uses about 8 KiB of stack for each call. Without the limit,
/// a line of brackets would overflow the stack and abort the process.
const NESTING_MAX: usize = 64;
/// The signs and keywords that make jaq's parser call itself.
const NESTING: [&str; 11] = [
    "(", "[", "{", "-", "as", "def", "foreach", "if", "label", "reduce", "try",
];

/// Parses a mapping expression.
///
/// # Errors
/// Returns every syntax error of the expression.
pub(super) fn parse(code: &str) -> Result<Term<&str>, Vec<ExpressionError>> {
    if let Some(reason) = excess(code) {
        return Err(vec![ExpressionError::at(code, code, reason)]);
    }
    let tokens = Lexer::new(code)
        .lex()
        .map_err(|found| unreadable::errors(code, found))?;
    if let Some((slice, reason)) = unreadable::misread(&tokens) {
        return Err(vec![ExpressionError::at(code, slice, reason.to_owned())]);
    }
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
                    let expected = expected.as_str();
                    let reason = quoted_name(code, part)
                        .or_else(|| index_after(code, part))
                        .or_else(|| foreign_advice(code, part, expected))
                        .unwrap_or_else(|| unexpected(code, expected, &found));
                    ExpressionError::at(code, part, reason)
                })
                .collect()
        })
}

/// Returns the advice about the name of a member after a dot that begins with a digit, @, # or $, such as `.2faPhone` or `.@type`.
/// `found` is the rest of the code at the error, or the token at the error.
fn quoted_name(code: &str, found: &str) -> Option<String> {
    let start = offset(code, found)?;
    let before = code.get(..start)?;
    let name_start = before.rfind('.').map_or(start, |dot| dot.saturating_add(1));
    let is_at_dot = before.ends_with('.');
    let start = if is_at_dot { start } else { name_start };
    let rest = code.get(start..)?;
    let of_name = |sign: char| sign.is_ascii_alphanumeric() || "_@#$".contains(sign);
    let end = rest.find(|sign| !of_name(sign)).unwrap_or(rest.len());
    let name = rest.get(..end)?;
    let has_letter = name.chars().any(|sign| sign.is_ascii_alphabetic());
    let is_sign = name.starts_with(['@', '#', '$']);
    let is_number = name.starts_with(|sign: char| sign.is_ascii_digit());
    let is_after_dot = code.get(..start)?.ends_with('.');
    (is_after_dot && has_letter && (is_sign || is_number)).then(|| {
        format!(
            "the name of a member that begins with a digit, @, # or $ stands in double quotes: .\"{name}\""
        )
    })
}

fn foreign_advice(code: &str, found: &str, expected: &str) -> Option<String> {
    let (before, rest) = code.split_at_checked(offset(code, found)?)?;
    foreign::advice(before, rest, expected)
}

/// Returns the advice about an index before `rest` that the author wrote like the name of a member, such as
/// `.phones.0.number`. The lexer reads the index as the start of a number with decimals.
fn index_before(code: &str, rest: &str) -> Option<String> {
    let before = code.get(..offset(code, rest)?)?.strip_suffix('.')?;
    let path = before.trim_end_matches(|sign: char| sign.is_ascii_digit());
    index_advice(path, before.get(path.len()..)?)
}

/// Returns the advice about the token `index`, such as the last token of `.phones.0`.
fn index_after(code: &str, index: &str) -> Option<String> {
    index_advice(code.get(..offset(code, index)?)?, index)
}

fn index_advice(path: &str, index: &str) -> Option<String> {
    let is_index = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    let path = path.strip_suffix('.')?;
    let of_path = |sign: char| sign.is_ascii_alphanumeric() || "_.[]\"".contains(sign);
    let start = path.trim_end_matches(of_path).len();
    let path = path.get(start..)?;
    if path == "e" && index == "164" {
        return Some("did you mean e164?".to_owned());
    }
    let name = if path.is_empty() { "." } else { path };
    is_index.then(|| {
        format!("an item of a list has its number in brackets: write {name}[{index}] instead of {path}.{index}")
    })
}

/// Explains why jaq's parser refuses a token.
fn unexpected(code: &str, expected: &str, found: &str) -> String {
    if code.contains("{{") {
        return "an expression is not a template; write .email instead of {{email}}".to_owned();
    }
    match (expected, found) {
        (_, "`||`") => "write `or` instead of `||` between conditions, and `//` for a second value if the first one is null, such as .a // .b".to_owned(),
        ("nothing" | ")" | "]", "`:`") if code.contains('?') => {
            "write `if .a then .b else .c end` instead of `.a ? .b : .c`".to_owned()
        }
        ("nothing", _) if is_email_address(code) => {
            format!("a constant text stands in double quotes inside the expression: '\"{code}\"'")
        }
        ("nothing", _) => format!("the expression should end before {found}"),
        (_, _) => format!("expected {expected} and found {found}"),
    }
}

/// Returns whether an expression is an email address without quotes.
fn is_email_address(code: &str) -> bool {
    let is_part = |part: &str| {
        let of_address = |sign: char| sign.is_alphanumeric() || "._-+".contains(sign);
        part.starts_with(char::is_alphanumeric) && part.chars().all(of_address)
    };
    let parts = code.trim().split_once('@');
    parts.is_some_and(|(name, domain)| is_part(name) && is_part(domain))
}

/// Returns the reason why a mapping expression cannot be parsed: it is empty, or it exceeds a limit.
fn excess(code: &str) -> Option<String> {
    if code.trim().is_empty() {
        return Some("the expression is empty".to_owned());
    }
    if code.chars().count() > EXPRESSION_CHARS_MAX {
        return Some(format!(
            "an expression has at most {EXPRESSION_CHARS_MAX} characters"
        ));
    }
    let nesting: usize = NESTING.iter().map(|word| code.matches(word).count()).sum();
    (nesting > NESTING_MAX).then(|| format!("an expression has at most {NESTING_MAX} brackets"))
}

/// Returns the position of a slice in the code, in bytes.
fn offset(code: &str, slice: &str) -> Option<usize> {
    slice.as_ptr().addr().checked_sub(code.as_ptr().addr())
}

/// A position in a mapping expression. Line and column are counted from 1. The column counts characters, not bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineColumn {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl LineColumn {
    /// Returns the position where `slice` begins in `code`. If `slice` is not a slice of `code`, returns the beginning
    /// of `code`.
    pub(super) fn of(code: &str, slice: &str) -> Self {
        let before = offset(code, slice)
            .and_then(|offset| code.get(..offset))
            .unwrap_or_default();
        let column = before.rsplit('\n').next().unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: column.chars().count() + 1,
        }
    }
}

/// An error in a mapping expression, and the position of the error.
#[derive(Debug)]
pub(super) struct ExpressionError {
    pub(super) position: LineColumn,
    pub(super) reason: String,
    /// The name of a function that the language does not have.
    pub(super) unknown: Option<String>,
}

impl ExpressionError {
    /// Creates an error at the position of `slice`, a slice of `code`.
    pub(super) fn at(code: &str, slice: &str, reason: String) -> Self {
        Self {
            position: LineColumn::of(code, slice),
            reason,
            unknown: None,
        }
    }
}

/// Returns the error of a name that the language does not have, with advice.
pub(super) fn not_allowed(name: &str, advice: Option<&str>) -> String {
    let advice = advice.map(|advice| format!("; {advice}"));
    format!("`{name}` is not allowed here{}", advice.unwrap_or_default())
}

/// Returns the first slice of the expression that belongs to a term.
///
/// jaq's syntax tree keeps no slices of symbols and brackets, so the slice can begin a little after the beginning of
/// the term. Returns `None` if the syntax tree keeps no slice of the term.
pub(super) fn first_slice<'c>(term: &Term<&'c str>) -> Option<&'c str> {
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
            StrPart::Term(term) => first_slice(term),
            StrPart::Char(_) => None,
        }),
        Term::Arr(Some(inner)) | Term::Neg(inner) => first_slice(inner),
        Term::Obj(members) => members.iter().find_map(|(key, value)| {
            first_slice(key).or_else(|| value.as_ref().and_then(first_slice))
        }),
        Term::BinOp(left, _, right) => first_slice(left).or_else(|| first_slice(right)),
        Term::TryCatch(tried, caught) => {
            first_slice(tried).or_else(|| caught.as_deref().and_then(first_slice))
        }
        Term::IfThenElse(branches, otherwise) => branches
            .iter()
            .find_map(|(condition, result)| first_slice(condition).or_else(|| first_slice(result)))
            .or_else(|| otherwise.as_deref().and_then(first_slice)),
        Term::Def(definitions, inner) => definitions
            .first()
            .map(|definition| definition.name)
            .or_else(|| first_slice(inner)),
        Term::Path(from, path) => first_slice(from).or_else(|| {
            path.0.iter().find_map(|(part, _)| match part {
                Part::Index(index) => first_slice(index),
                Part::Range(from, upto) => [from, upto]
                    .into_iter()
                    .find_map(|bound| bound.as_ref().and_then(first_slice)),
            })
        }),
    }
}

/// Returns the text if a term is a constant text, otherwise `None`.
pub(super) fn constant(term: &Term<&str>) -> Option<String> {
    if let Term::Str(None, parts) = term {
        joined(parts)
    } else {
        None
    }
}

/// Returns the value of a term that is a constant text, number or truth value.
pub(super) fn literal(term: &Term<&str>) -> Option<Value> {
    if let Term::Num(text) = term {
        return number("", text).map(Value::Number);
    }
    if let Term::Call(name @ ("true" | "false"), _) = term {
        return Some(Value::Bool(*name == "true"));
    }
    constant(term).map(Value::String)
}

/// Returns whether a term gives the same value for every event: a constant, or an object or a text of constants.
pub(super) fn is_constant(term: &Term<&str>) -> bool {
    match term {
        Term::Num(_) | Term::Arr(None) => true,
        Term::Neg(inner) => is_constant(inner),
        Term::Str(None, parts) => parts.iter().all(|part| match part {
            StrPart::Str(_) | StrPart::Char(_) => true,
            StrPart::Term(term) => is_constant(term),
        }),
        Term::Arr(Some(inner)) => is_constant(inner),
        Term::Obj(members) => members
            .iter()
            .all(|(_, value)| value.as_ref().is_some_and(is_constant)),
        Term::Call(name, arguments) => {
            arguments.is_empty() && matches!(*name, "null" | "true" | "false")
        }
        Term::BinOp(left, BinaryOp::Comma | BinaryOp::Math(_), right) => {
            is_constant(left) && is_constant(right)
        }
        Term::BinOp(left, BinaryOp::And, _) => constant_truth(left) == Some(false),
        Term::BinOp(left, BinaryOp::Or, _) => constant_truth(left) == Some(true),
        Term::Id
        | Term::Recurse
        | Term::Str(Some(_), _)
        | Term::BinOp(..)
        | Term::Label(..)
        | Term::Break(_)
        | Term::Fold(..)
        | Term::TryCatch(..)
        | Term::IfThenElse(..)
        | Term::Def(..)
        | Term::Var(_)
        | Term::Path(..) => false,
    }
}

/// Returns whether a condition with a constant term is true, or `None` if the term is not a constant.
pub(super) fn constant_truth(term: &Term<&str>) -> Option<bool> {
    if let Term::BinOp(_, op @ (BinaryOp::And | BinaryOp::Or), _) = term {
        return is_constant(term).then_some(matches!(op, BinaryOp::Or));
    }
    let is_false = matches!(term, Term::Call("null" | "false", _));
    is_constant(term).then_some(!is_false)
}

/// Returns the error of a constant text beside a comparison, such as `.a == "x" or "y"`: a text is always true.
pub(super) fn lone_text(
    left: &Term<&str>,
    op: &BinaryOp<&str>,
    right: &Term<&str>,
) -> Option<String> {
    if !matches!(op, BinaryOp::Or | BinaryOp::And) {
        return None;
    }
    let word = if matches!(op, BinaryOp::Or) {
        "or"
    } else {
        "and"
    };
    let text = Value::from(constant(right)?);
    is_comparison(left).then(|| {
        format!(
            "the text {text} after `{word}` is not compared, and a text is always true: write the whole comparison again, such as .a == \"x\" {word} .a == {text}"
        )
    })
}

/// Returns whether a condition ends with a comparison.
fn is_comparison(term: &Term<&str>) -> bool {
    let Term::BinOp(_, op, right) = term else {
        return false;
    };
    let is_joined = matches!(op, BinaryOp::Or | BinaryOp::And);
    matches!(op, BinaryOp::Cmp(Cmp::Eq | Cmp::Ne)) || (is_joined && is_comparison(right))
}

/// Joins the constant parts of a text. Returns `None` if a part of the text is an expression.
pub(super) fn joined(parts: &[StrPart<&str, Term<&str>>]) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        match part {
            StrPart::Str(plain) => text.push_str(plain),
            StrPart::Char(escaped) => text.push(*escaped),
            StrPart::Term(_) => return None,
        }
    }
    Some(text)
}

/// Parses a number in JSON notation. jq's syntax allows further notations of numbers: for these, the function returns
/// `None`.
pub(super) fn number(sign: &str, text: &str) -> Option<Number> {
    serde_json::from_str(&format!("{sign}{text}")).ok()
}
