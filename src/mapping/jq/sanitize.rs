//! Rewrites a mapping expression for jaq, with only the terms that the mapping language allows.
//!
//! jaq never gets the author's text, so jaq runs only terms that the sanitizer has written. The sanitizer's `match`
//! expressions over jaq's syntax have no default arm: if a later version of jaq adds a term, this file does not compile
//! until a developer decides about the new term.
//!
//! The evaluation of every allowed expression ends. An expression cannot contain definitions, recursion or ranges of
//! numbers, so every loop visits the items of a value. The operator `,` adds results without visiting items: each
//! further part of the pipe `(., .) | (., .)` would double the number of results. The sanitizer therefore allows `,`
//! only directly inside `[…]` and `first(…)`.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops::{Cmp, Math};
use serde_json::Value;

use super::super::LookupTables;
use super::super::function::{BinaryCall, FunctionCall};
use super::super::syntax::{
    self, ExpressionError, constant, constant_truth, first_slice, is_constant, joined, lone_text,
    number,
};
use super::advice::{advice, is_text};
use super::allowed::allowed;

mod calls;
mod collection;
mod path;
mod results;

/// A sanitized expression for jaq, and the bridge's own functions that the expression calls by index.
#[derive(Debug, Default)]
pub(super) struct SanitizedCode {
    pub(super) code: String,
    pub(super) calls: Vec<FunctionCall>,
    pub(super) binary_calls: Vec<BinaryCall>,
    /// The request headers that the expression reads by index.
    pub(super) headers: Vec<String>,
}

/// The number of results that an expression can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mapping) enum ResultCount {
    One,
    /// The expression `body.split` returns the events of a body.
    Many,
}

/// Writes a term of a mapping expression for jaq.
///
/// # Errors
/// Returns an error for every term that the language does not allow.
pub(super) fn sanitize<'c>(
    term: &Term<&'c str>,
    code: &'c str,
    tables: &LookupTables,
    results: ResultCount,
) -> Result<SanitizedCode, Vec<ExpressionError>> {
    let mut sanitizer = Sanitizer {
        code,
        tables,
        results,
        optional: match results {
            ResultCount::One => "__optional(",
            ResultCount::Many => "__optional_event(",
        },
        sanitized: SanitizedCode::default(),
        errors: Vec::new(),
        variables: Vec::new(),
    };
    match results {
        ResultCount::One => sanitizer.term(term),
        ResultCount::Many => sanitizer.events(term),
    }
    if sanitizer.errors.is_empty() {
        Ok(sanitizer.sanitized)
    } else {
        Err(sanitizer.errors)
    }
}

struct Sanitizer<'t, 'c> {
    code: &'c str,
    tables: &'t LookupTables,
    results: ResultCount,
    /// The beginning of the interpreter's function for `t?`.
    optional: &'static str,
    sanitized: SanitizedCode,
    errors: Vec<ExpressionError>,
    /// The jq variables in scope.
    variables: Vec<&'c str>,
}

impl<'c> Sanitizer<'_, 'c> {
    fn term(&mut self, term: &Term<&'c str>) {
        match term {
            Term::Id => self.put("."),
            Term::Num(text) => self.number(text),
            Term::Neg(inner) => self.around("(-", inner, ")"),
            Term::Str(None, parts) => self.text(parts),
            Term::Arr(None) => self.put("[]"),
            Term::Arr(Some(inner)) => self.array(inner),
            Term::Obj(members) => self.object(members),
            Term::BinOp(left, op, right) => self.binary(term, (left, right), op),
            Term::TryCatch(tried, caught) => self.try_catch(tried, caught.as_deref()),
            Term::IfThenElse(branches, otherwise) => {
                self.branches(branches, otherwise.as_deref(), ResultCount::One);
            }
            Term::Call(name, arguments) => self.call(name, arguments),
            Term::Var(name) => self.variable(name),
            Term::Path(from, path) => self.path(from, path),
            Term::Recurse => self.refused(term, ".."),
            Term::Str(Some(name), _) | Term::Fold(name, ..) => self.refused(term, name),
            Term::Label(..) => self.refused(term, "label"),
            Term::Break(_) => self.refused(term, "break"),
            Term::Def(..) => self.refused(term, "def"),
        }
    }

    fn put(&mut self, code: &str) {
        self.sanitized.code.push_str(code);
    }

    fn around(&mut self, before: &str, term: &Term<&'c str>, after: &str) {
        self.put(before);
        self.term(term);
        self.put(after);
    }

    fn constant(&mut self, text: &str) {
        self.put(&Value::from(text).to_string());
    }

    fn number(&mut self, text: &'c str) {
        match number("", text) {
            Some(number) => self.put(&number.to_string()),
            None => self.error(Some(text), "a number is written as in JSON".to_owned()),
        }
    }

    /// Writes terms that are separated by `,`.
    fn stream(&mut self, term: &Term<&'c str>) {
        if let Term::BinOp(left, BinaryOp::Comma, right) = term {
            self.stream(left);
            self.put(", ");
            self.stream(right);
        } else {
            self.term(term);
        }
    }

    fn text(&mut self, parts: &[StrPart<&'c str, Term<&'c str>>]) {
        if let Some(text) = joined(parts) {
            return self.constant(&text);
        }
        for part in parts {
            self.put("__text(");
            match part {
                StrPart::Str(text) => self.constant(text),
                StrPart::Char(letter) => self.constant(&letter.to_string()),
                StrPart::Term(term) => self.operand(term),
            }
            self.put("; ");
        }
        self.put("\"\"");
        self.put(&")".repeat(parts.len()));
    }

    fn binary(
        &mut self,
        term: &Term<&'c str>,
        (left, right): (&Term<&'c str>, &Term<&'c str>),
        op: &BinaryOp<&'c str>,
    ) {
        if let Some(reason) = lone_text(left, op, right) {
            return self.error(first_slice(right), reason);
        }
        match op {
            BinaryOp::Pipe(None) => self.pipe(left, right),
            BinaryOp::Pipe(Some(Pattern::Var(name))) => {
                self.bound(left, name, right, ResultCount::One);
            }
            BinaryOp::Alt => self.function("__alternative", left, right),
            // jq does not evaluate the right side of such a term, so the term is a constant.
            BinaryOp::Or if constant_truth(left) == Some(true) => {
                self.constant_logic(right, "true");
            }
            BinaryOp::And if constant_truth(left) == Some(false) => {
                self.constant_logic(right, "false");
            }
            BinaryOp::Or => self.logic("__or", left, right),
            BinaryOp::And => self.logic("__and", left, right),
            BinaryOp::Math(Math::Add) if is_constant(left) != is_constant(right) => {
                if is_constant(left) {
                    self.operator("__constant_plus", right, left);
                } else {
                    self.operator("__plus_constant", left, right);
                }
            }
            BinaryOp::Math(math @ (Math::Add | Math::Sub | Math::Mul)) => {
                self.put("(");
                self.operand(left);
                self.put(&format!(" {} ", math.as_str()));
                self.operand(right);
                self.put(")");
            }
            BinaryOp::Cmp(cmp) => self.operator(comparison(*cmp), left, right),
            BinaryOp::Pipe(Some(Pattern::Arr(_) | Pattern::Obj(_))) => {
                self.refused(term, "as […]");
            }
            BinaryOp::Comma if self.results == ResultCount::Many => {
                let reason = "`,` is not allowed here; body.split makes an event of each item of a list: write `[]` after the list, such as .ids[]";
                self.error(first_slice(term), reason.to_owned());
            }
            BinaryOp::Comma => self.refused(term, ","),
            BinaryOp::Math(math @ (Math::Div | Math::Rem)) => {
                self.refused(term, math.as_str());
            }
            BinaryOp::Assign => self.refused(term, "="),
            BinaryOp::Update => self.refused(term, "|="),
            BinaryOp::UpdateMath(math) => {
                self.refused(term, &format!("{}=", math.as_str()));
            }
            BinaryOp::UpdateAlt => self.refused(term, "//="),
        }
    }

    fn pipe(&mut self, left: &Term<&'c str>, right: &Term<&'c str>) {
        self.around("(", left, " ");
        // jaq evaluates these terms without calling code of the bridge, so the sanitizer adds `__step`, which takes a
        // step.
        if matches!(left, Term::Id | Term::Var(_) | Term::BinOp(..)) {
            self.put("| __step ");
        }
        self.around("| ", right, ")");
    }

    fn function(&mut self, name: &str, first: &Term<&'c str>, second: &Term<&'c str>) {
        self.put(name);
        self.around("(", first, "; ");
        self.around("", second, ")");
    }

    /// Writes a call of the interpreter's function for an operator.
    fn operator(&mut self, name: &str, first: &Term<&'c str>, second: &Term<&'c str>) {
        self.put(name);
        self.put("(");
        self.operand(first);
        self.put("; ");
        self.operand(second);
        self.put(")");
    }

    /// Writes a constant for `and` or `or`. The unused side must still be allowed.
    fn constant_logic(&mut self, unused: &Term<&'c str>, constant: &str) {
        let written = self.sanitized.code.len();
        self.term(unused);
        self.sanitized.code.truncate(written);
        self.put(constant);
    }

    /// Writes `and` or `or`. If only one side is a constant, the other side decides whether the result is absent.
    fn logic(&mut self, name: &str, left: &Term<&'c str>, right: &Term<&'c str>) {
        let is_mixed = is_constant(left) != is_constant(right);
        self.put(name);
        for (before, side) in [("(", left), ("; ", right)] {
            self.put(before);
            match constant_truth(side).filter(|_| is_mixed) {
                None => self.operand(side),
                Some(true) => self.constant_logic(side, "__assumed_true"),
                Some(false) => self.constant_logic(side, "__assumed_false"),
            }
        }
        self.put(")");
    }

    fn variable(&mut self, name: &'c str) {
        if self.variables.contains(&name.trim_start_matches('$')) {
            self.put(name);
        } else if ["$ENV", "$__loc__"].contains(&name) {
            self.not_allowed(Some(name), name);
        } else {
            let reason = format!(
                "`{name}` is not defined: a path begins with a dot, and `. as {name} |` before it makes a variable of the input"
            );
            self.error(Some(name), reason);
        }
    }

    fn try_catch(&mut self, tried: &Term<&'c str>, caught: Option<&Term<&'c str>>) {
        match caught {
            None => self.around(self.optional, tried, ")"),
            Some(caught) => self.function("__try", tried, caught),
        }
    }

    fn refused(&mut self, term: &Term<&'c str>, name: &str) {
        self.not_allowed(first_slice(term), name);
    }

    /// Reports a term or function that the language does not have, with advice. If there is no advice, and this error is
    /// the first error of the expression, the report lists all terms and functions of the language.
    fn not_allowed(&mut self, slice: Option<&str>, name: &str) {
        if is_text(self.code) && !self.errors.is_empty() {
            return;
        }
        let advice = match advice(self.code, slice, name) {
            None if self.errors.is_empty() => Some(allowed()),
            advice => advice,
        };
        self.error(slice, syntax::not_allowed(name, advice.as_deref()));
        if let Some(error) = self.errors.last_mut() {
            error.unknown = Some(name.to_owned());
        }
    }

    /// Reports an error at a part of the expression. If `slice` is `None`, the error concerns the whole expression.
    fn error(&mut self, slice: Option<&str>, reason: String) {
        let slice = slice.unwrap_or(self.code);
        self.errors
            .push(ExpressionError::at(self.code, slice, reason));
    }
}

/// Returns the name of the interpreter's function for a comparison.
const fn comparison(cmp: Cmp) -> &'static str {
    match cmp {
        Cmp::Eq => "__eq",
        Cmp::Ne => "__ne",
        Cmp::Lt => "__lt",
        Cmp::Le => "__le",
        Cmp::Gt => "__gt",
        Cmp::Ge => "__ge",
    }
}
