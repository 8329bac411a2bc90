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
use jaq_core::ops::Math;
use jaq_core::path::{Opt, Part, Path};
use serde_json::Value;

use super::super::SharedTables;
use super::super::call::function_call;
use super::super::function::{self, BinaryCall, FunctionCall, Parameters};
use super::super::syntax::{ExpressionError, constant, first_slice, joined, number};
use super::allowed::{ALLOWED, ArgumentKind, allowed};

/// A sanitized expression for jaq, and the bridge's own functions that the expression calls by index.
#[derive(Debug, Default)]
pub(super) struct SanitizedCode {
    pub(super) code: String,
    pub(super) calls: Vec<FunctionCall>,
    pub(super) binary_calls: Vec<BinaryCall>,
}

/// Writes a term of a mapping expression for jaq.
///
/// # Errors
/// Returns an error for every term that the language does not allow.
pub(super) fn sanitize<'c>(
    term: &Term<&'c str>,
    code: &'c str,
    tables: &SharedTables,
) -> Result<SanitizedCode, Vec<ExpressionError>> {
    let mut sanitizer = Sanitizer {
        code,
        tables,
        sanitized: SanitizedCode::default(),
        errors: Vec::new(),
        variables: Vec::new(),
    };
    sanitizer.term(term);
    if sanitizer.errors.is_empty() {
        Ok(sanitizer.sanitized)
    } else {
        Err(sanitizer.errors)
    }
}

struct Sanitizer<'t, 'c> {
    code: &'c str,
    tables: &'t SharedTables,
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
            Term::Arr(Some(inner)) => {
                self.put("[");
                self.stream(inner);
                self.put("]");
            }
            Term::Obj(members) => self.object(members),
            Term::BinOp(left, op, right) => self.binary(term, (left, right), op),
            Term::TryCatch(tried, caught) => self.try_catch(tried, caught.as_deref()),
            Term::IfThenElse(branches, otherwise) => {
                self.conditional(branches, otherwise.as_deref());
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
                StrPart::Term(term) => self.term(term),
            }
            self.put("; ");
        }
        self.put("\"\"");
        self.put(&")".repeat(parts.len()));
    }

    fn object(&mut self, members: &[(Term<&'c str>, Option<Term<&'c str>>)]) {
        self.put("{");
        for (number, (key, value)) in members.iter().enumerate() {
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
                (Some(value), _) => self.around(": (", value, ")"),
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

    fn binary(
        &mut self,
        term: &Term<&'c str>,
        (left, right): (&Term<&'c str>, &Term<&'c str>),
        op: &BinaryOp<&'c str>,
    ) {
        let word = match op {
            BinaryOp::Pipe(None) => "|",
            BinaryOp::Pipe(Some(Pattern::Var(name))) => return self.bound(left, name, right),
            BinaryOp::Alt => {
                self.around("__alternative(", left, "; ");
                return self.around("", right, ")");
            }
            BinaryOp::Or => "or",
            BinaryOp::And => "and",
            BinaryOp::Math(math @ (Math::Add | Math::Sub | Math::Mul)) => math.as_str(),
            BinaryOp::Cmp(cmp) => cmp.as_str(),
            BinaryOp::Pipe(Some(Pattern::Arr(_) | Pattern::Obj(_))) => {
                return self.refused(term, "as […]");
            }
            BinaryOp::Comma => return self.refused(term, ","),
            BinaryOp::Math(math @ (Math::Div | Math::Rem)) => {
                return self.refused(term, math.as_str());
            }
            BinaryOp::Assign => return self.refused(term, "="),
            BinaryOp::Update => return self.refused(term, "|="),
            BinaryOp::UpdateMath(math) => {
                return self.refused(term, &format!("{}=", math.as_str()));
            }
            BinaryOp::UpdateAlt => return self.refused(term, "//="),
        };
        self.around("(", left, " ");
        // jaq evaluates these terms without calling code of the bridge, so the sanitizer adds `__step`, which takes a
        // step.
        if word == "|" && matches!(left, Term::Id | Term::Var(_) | Term::BinOp(..)) {
            self.put("| __step ");
        }
        self.put(word);
        self.around(" ", right, ")");
    }

    /// Writes the term `a as $x | b` for jaq.
    fn bound(&mut self, value: &Term<&'c str>, name: &'c str, body: &Term<&'c str>) {
        let name = name.trim_start_matches('$');
        self.around("((", value, ") as $");
        self.put(name);
        self.variables.push(name);
        self.around(" | ", body, ")");
        self.variables.pop();
    }

    fn variable(&mut self, name: &'c str) {
        if self.variables.contains(&name.trim_start_matches('$')) {
            self.put(name);
        } else {
            self.not_allowed(Some(name), name);
        }
    }

    fn try_catch(&mut self, tried: &Term<&'c str>, caught: Option<&Term<&'c str>>) {
        self.around("(try (", tried, ") catch ");
        match caught {
            None => self.put("empty)"),
            Some(caught) => self.around("(", caught, "))"),
        }
    }

    fn conditional(
        &mut self,
        branches: &[(Term<&'c str>, Term<&'c str>)],
        otherwise: Option<&Term<&'c str>>,
    ) {
        for (number, (condition, result)) in branches.iter().enumerate() {
            self.put(if number == 0 { "(if " } else { " elif " });
            self.term(condition);
            self.around(" then ", result, "");
        }
        if let Some(otherwise) = otherwise {
            self.around(" else ", otherwise, "");
        }
        self.put(" end)");
    }

    fn path(&mut self, from: &Term<&'c str>, path: &Path<Term<&'c str>>) {
        self.around("((", from, ")");
        for (part, optional) in &path.0 {
            let optional = matches!(optional, Opt::Optional);
            self.put(if optional { " | (try ." } else { " | ." });
            match part {
                Part::Range(None, None) => self.put("[]"),
                Part::Range(from, to) => self.range(from.as_ref(), to.as_ref()),
                Part::Index(index) => self.index(index),
            }
            self.put(if optional { " catch empty)" } else { "" });
        }
        self.put(")");
    }

    fn range(&mut self, from: Option<&Term<&'c str>>, to: Option<&Term<&'c str>>) {
        self.put("[");
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
        self.put("[");
        match (constant(index), index) {
            (Some(name), _) => self.constant(&name),
            (None, Term::Num(_)) => self.term(index),
            (None, Term::Neg(number)) if matches!(number.as_ref(), Term::Num(_)) => {
                self.term(index);
            }
            (None, _) => {
                let reason = "a path is made of constant names and item numbers";
                self.error(first_slice(index), reason.to_owned());
            }
        }
        self.put("]");
    }

    fn call(&mut self, name: &'c str, arguments: &[Term<&'c str>]) {
        let mut rows = ALLOWED.iter().filter(|(known, _)| *known == name);
        let is_known = rows.clone().next().is_some();
        let row = rows.find(|(_, kind)| match kind {
            ArgumentKind::Nothing => arguments.is_empty(),
            ArgumentKind::Filter | ArgumentKind::Stream | ArgumentKind::Text => {
                arguments.len() == 1
            }
        });
        match (row, arguments) {
            (Some(_), []) => self.put(name),
            (Some((_, kind)), [argument, ..]) => self.jq_function(name, *kind, argument),
            (None, _) if is_known => {
                let reason = format!("`{name}` takes a different number of arguments");
                self.error(Some(name), reason);
            }
            (None, _) => self.own_function(name, arguments),
        }
    }

    fn jq_function(&mut self, name: &'c str, kind: ArgumentKind, argument: &Term<&'c str>) {
        self.put(name);
        self.put("(");
        match (kind, constant(argument)) {
            (ArgumentKind::Stream, _) => self.stream(argument),
            (ArgumentKind::Text, Some(text)) => self.constant(&text),
            (ArgumentKind::Text, None) => {
                let reason = format!("`{name}` takes a constant text");
                self.error(first_slice(argument), reason);
            }
            (ArgumentKind::Nothing | ArgumentKind::Filter, _) => self.term(argument),
        }
        self.put(")");
    }

    /// Writes a call of one of the bridge's own functions. jaq calls the function by its index.
    fn own_function(&mut self, name: &'c str, arguments: &[Term<&'c str>]) {
        let Some(signature) = function::find(name) else {
            return self.not_allowed(Some(name), name);
        };
        if let (Parameters::Expressions(apply), [first, second]) = (signature.parameters, arguments)
        {
            let index = self.sanitized.binary_calls.len();
            self.sanitized.binary_calls.push(BinaryCall {
                name: signature.name,
                apply,
            });
            self.put(&format!("__binary_call({index}; "));
            self.term(first);
            return self.around("; ", second, ")");
        }
        match function_call(signature, arguments, self.tables) {
            Ok(call) => {
                let index = self.sanitized.calls.len();
                self.sanitized.calls.push(call);
                self.put(&format!("__call({index})"));
            }
            Err(error) => self.error(error.slice.or(Some(name)), error.reason),
        }
    }

    fn refused(&mut self, term: &Term<&'c str>, name: &str) {
        self.not_allowed(first_slice(term), name);
    }

    /// Reports a term or function that the language does not have. If this error is the first error of the expression,
    /// the report lists all terms and functions of the language.
    fn not_allowed(&mut self, slice: Option<&str>, name: &str) {
        let reason = if self.errors.is_empty() {
            format!("`{name}` is not allowed here; {}", allowed())
        } else {
            format!("`{name}` is not allowed here")
        };
        self.error(slice, reason);
    }

    /// Reports an error at a part of the expression. If `slice` is `None`, the error concerns the whole expression.
    fn error(&mut self, slice: Option<&str>, reason: String) {
        let slice = slice.unwrap_or(self.code);
        self.errors
            .push(ExpressionError::at(self.code, slice, reason));
    }
}

/// Returns the name of a variable, or `None` if the term is not a variable.
fn variable<'c>(term: &Term<&'c str>) -> Option<&'c str> {
    if let Term::Var(name) = term {
        Some(name.trim_start_matches('$'))
    } else {
        None
    }
}
