//! The fence: which terms of jq are let through to jaq.
//!
//! An expression is not handed on as it was written. It is written anew, from what is allowed, with all its parentheses;
//! so nothing can reach jaq that is not named here. Matches over jaq's syntax have no default arm: a term that is new in
//! a later jaq must be decided on before it compiles.
//!
//! What is allowed ends by itself: there are no definitions, no recursion and no numbers to count to, so every loop goes
//! through the items of a value; and `,`, which doubles without looking at any, stands only where it cannot be squared.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Opt, Part, Path};
use serde_json::Value;

use super::super::function::{FUNCTIONS, Function, FunctionCall, Parameters, Signature};
use super::super::lower::{Lowering, constant, joined};
use super::super::plan::Plan;
use super::super::syntax;
use super::allowed::{ALLOWED, ArgumentKind};

/// An expression in the words that jaq is given, and the functions of ours that it calls.
#[derive(Debug, Default)]
pub(in crate::mapping) struct SanitizedCode {
    pub(super) code: String,
    pub(super) calls: Vec<FunctionCall>,
}

/// Writes a term anew; what is not allowed is noted as a flaw.
pub(in crate::mapping) fn fence<'c>(
    term: &Term<&'c str>,
    lowering: &mut Lowering<'c>,
) -> SanitizedCode {
    let mut fence = Sanitizer {
        fenced: SanitizedCode::default(),
        lowering,
        variables: Vec::new(),
    };
    fence.term(term);
    fence.fenced
}

struct Sanitizer<'l, 'c> {
    fenced: SanitizedCode,
    lowering: &'l mut Lowering<'c>,
    /// The variables that are bound where the fence stands.
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
            Term::TryCatch(tried, caught) => self.attempt(tried, caught.as_deref()),
            Term::IfThenElse(branches, otherwise) => self.choice(branches, otherwise.as_deref()),
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
        self.fenced.code.push_str(code);
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
        if let Plan::Literal(number) = self.lowering.number(text, "") {
            self.put(&number.to_string());
        }
    }

    /// Terms with `,` between them.
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
                self.lowering
                    .flaw_of(key, "the names in an object are constants".to_owned());
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
        self.put(word);
        self.around(" ", right, ")");
    }

    /// `a as $x | b`
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
            let reason = self.lowering.not_allowed(name);
            self.lowering.flaw(Some(name), reason);
        }
    }

    fn attempt(&mut self, tried: &Term<&'c str>, caught: Option<&Term<&'c str>>) {
        self.around("(try (", tried, ") catch ");
        match caught {
            None => self.put("empty)"),
            Some(caught) => self.around("(", caught, "))"),
        }
    }

    fn choice(
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
                Part::Range(from, upto) => self.range(from.as_ref(), upto.as_ref()),
                Part::Index(index) => self.index(index),
            }
            self.put(if optional { " catch empty)" } else { "" });
        }
        self.put(")");
    }

    fn range(&mut self, from: Option<&Term<&'c str>>, upto: Option<&Term<&'c str>>) {
        self.put("[");
        for (bound, after) in [(from, ":"), (upto, "]")] {
            match bound {
                None => {}
                Some(Term::Num(text)) => self.number(text),
                Some(other) => self.lowering.flaw_of(
                    other,
                    "a part is taken from and to constant numbers from 0 up".to_owned(),
                ),
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
                self.lowering.flaw_of(index, reason.to_owned());
            }
        }
        self.put("]");
    }

    fn call(&mut self, name: &&'c str, arguments: &[Term<&'c str>]) {
        let mut fitting = ALLOWED.iter().filter(|(known, _)| known == name);
        let is_known = fitting.clone().next().is_some();
        let takes = fitting.find(|(_, takes)| match takes {
            ArgumentKind::Nothing => arguments.is_empty(),
            ArgumentKind::Filter | ArgumentKind::Stream | ArgumentKind::Text => {
                arguments.len() == 1
            }
        });
        match (takes, arguments) {
            (Some(_), []) => self.put(name),
            (Some((_, takes)), [argument, ..]) => self.jq_function(name, *takes, argument),
            (None, _) if is_known => {
                let reason = format!("`{name}` takes another number of arguments");
                self.lowering.flaw(Some(name), reason);
            }
            (None, _) => self.our_function(name, arguments),
        }
    }

    fn jq_function(&mut self, name: &'c str, takes: ArgumentKind, argument: &Term<&'c str>) {
        self.put(name);
        self.put("(");
        match (takes, constant(argument)) {
            (ArgumentKind::Stream, _) => self.stream(argument),
            (ArgumentKind::Text, Some(text)) => self.constant(&text),
            (ArgumentKind::Text, None) => {
                let reason = format!("`{name}` takes a constant text");
                self.lowering.flaw_of(argument, reason);
            }
            (ArgumentKind::Nothing | ArgumentKind::Filter, _) => self.term(argument),
        }
        self.put(")");
    }

    fn our_function(&mut self, name: &&'c str, arguments: &[Term<&'c str>]) {
        let signature = FUNCTIONS.iter().find(|known| known.name == *name);
        if let (Some(signature), [first, second]) = (signature, arguments)
            && let Parameters::Terms(apply) = signature.takes
        {
            let terms = Function::Terms {
                apply,
                terms: Box::new((Plan::Input, Plan::Input)),
            };
            let place = self.called(signature, terms);
            self.put(&format!("__terms({place}; "));
            self.term(first);
            self.around("; ", second, ")");
        } else if let Plan::Call(call) = self.lowering.call(name, arguments)
            && let Some(signature) = signature
        {
            let place = self.called(signature, call.function);
            self.put(&format!("__call({place})"));
        }
    }

    /// Keeps a function for the expression; the place is what the expression calls it by.
    fn called(&mut self, signature: &Signature, function: Function) -> usize {
        self.fenced.calls.push(FunctionCall {
            name: signature.name,
            function,
        });
        self.fenced.calls.len() - 1
    }

    fn refused(&mut self, term: &Term<&'c str>, name: &str) {
        let reason = self.lowering.not_allowed(name);
        self.lowering.flaw(syntax::place(term), reason);
    }
}

/// The name of a term that is a variable.
fn variable<'c>(term: &Term<&'c str>) -> Option<&'c str> {
    if let Term::Var(name) = term {
        Some(name.trim_start_matches('$'))
    } else {
        None
    }
}
