//! From the text of an expression to its plan.
//!
//! jaq's parser reads the whole language of jq. Plain terms, which always have exactly one result, become a plan of our
//! own; the rest goes to jaq through the fence, or is refused by name when the mapping is loaded, so that no event ever
//! meets an expression that cannot be run. Matches over jaq's syntax have no default arm: a term that is new in a later
//! jaq must be decided on before it compiles.

use std::sync::Arc;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::ops::Cmp;
use jaq_core::path::{Part, Path};
use serde_json::Value;

use super::LookupTables;
use super::function::calendar::EpochUnit;
use super::function::text::LineSelector;
use super::function::{FUNCTIONS, Function, FunctionCall, Parameters, Signature, phone};
use super::jq::{self, Program};
use super::located::PathStep;
use super::plain::{is_plain, step};
use super::plan::Plan;
use super::split::Split;
use super::syntax::{self, ExpressionError};

/// How often an expression may repeat what it reads; a text of names and an address needs a dozen.
const COPIES_MAX: usize = 64;

/// The most lines that `line` counts: no address has more.
const LINES_MAX: usize = 9;

/// Lowers an expression, or says all that is wrong with it.
pub(super) fn lower(code: &str, tables: &LookupTables) -> Result<Plan, Vec<ExpressionError>> {
    let term = syntax::parse(code)?;
    let mut lowering = Lowering::new(code, tables);
    let plan = lowering.term(&term);
    if plan.copies() > COPIES_MAX {
        let reason = format!("an expression repeats what it reads at most {COPIES_MAX} times");
        lowering.flaw(None, reason);
    }
    lowering.finish(plan)
}

/// The same on the slow road, whether it needs it or not: for expressions that may have many results.
pub(super) fn lower_to_jq(code: &str, tables: &LookupTables) -> Result<Plan, Vec<ExpressionError>> {
    let term = syntax::parse(code)?;
    let mut lowering = Lowering::new(code, tables);
    let plan = lowering.slow(&term);
    lowering.finish(plan)
}

pub(super) struct Lowering<'c> {
    code: &'c str,
    tables: &'c LookupTables,
    flaws: Vec<ExpressionError>,
}

impl<'c> Lowering<'c> {
    fn new(code: &'c str, tables: &'c LookupTables) -> Self {
        Self {
            code,
            tables,
            flaws: Vec::new(),
        }
    }

    fn finish(self, plan: Plan) -> Result<Plan, Vec<ExpressionError>> {
        if self.flaws.is_empty() {
            Ok(plan)
        } else {
            Err(self.flaws)
        }
    }

    fn term(&mut self, term: &Term<&'c str>) -> Plan {
        if let Some((pieces, rest)) = Split::of(term) {
            let pieces = Plan::Split(pieces);
            return match rest {
                Some(rest) => Plan::Pipe(Box::new(pieces), self.boxed(rest)),
                None => pieces,
            };
        }
        // What comes before a loop need not wait for it.
        if let Term::BinOp(left, BinaryOp::Pipe(None), right) = term
            && is_plain(left)
        {
            return Plan::Pipe(self.boxed(left), self.boxed(right));
        }
        if !is_plain(term) {
            return self.slow(term);
        }
        match term {
            Term::Num(text) => self.number(text, ""),
            Term::Neg(inner) => {
                if let Term::Num(text) = inner.as_ref() {
                    self.number(text, "-")
                } else {
                    Plan::Input
                }
            }
            Term::Str(None, parts) => self.text(parts),
            Term::Obj(members) => self.object(members),
            Term::BinOp(left, op, right) => self.binary((left, right), op),
            Term::IfThenElse(branches, otherwise) => self.choice(branches, otherwise.as_deref()),
            Term::Call(name, arguments) => self.call(name, arguments),
            Term::Path(from, path) => self.path(from, path),
            Term::Id
            | Term::Recurse
            | Term::Str(Some(_), _)
            | Term::Arr(_)
            | Term::Label(..)
            | Term::Break(_)
            | Term::Fold(..)
            | Term::TryCatch(..)
            | Term::Def(..)
            | Term::Var(_) => Plan::Input,
        }
    }

    fn slow(&mut self, term: &Term<&'c str>) -> Plan {
        let flaws = self.flaws.len();
        let fenced = jq::fence(term, self);
        if self.flaws.len() > flaws {
            return Plan::Input;
        }
        match Program::compile(fenced) {
            Ok(program) => Plan::Jq(Arc::new(program)),
            Err(reason) => {
                self.flaw(syntax::place(term), reason);
                Plan::Input
            }
        }
    }

    fn binary(
        &mut self,
        (left, right): (&Term<&'c str>, &Term<&'c str>),
        op: &BinaryOp<&'c str>,
    ) -> Plan {
        let sides = (self.term(left), self.term(right));
        let logic = |decisive| Plan::Logic {
            sides: Box::new(sides.clone()),
            decisive,
        };
        let same = |wanted| Plan::Same {
            sides: Box::new(sides.clone()),
            wanted,
        };
        match op {
            BinaryOp::Or => logic(true),
            BinaryOp::And => logic(false),
            BinaryOp::Cmp(Cmp::Eq) => same(true),
            BinaryOp::Cmp(_) => same(false),
            BinaryOp::Alt => Plan::Otherwise(Box::new(sides.0), Box::new(sides.1)),
            BinaryOp::Pipe(_)
            | BinaryOp::Comma
            | BinaryOp::Math(_)
            | BinaryOp::Assign
            | BinaryOp::Update
            | BinaryOp::UpdateMath(_)
            | BinaryOp::UpdateAlt => Plan::Pipe(Box::new(sides.0), Box::new(sides.1)),
        }
    }

    fn choice(
        &mut self,
        branches: &[(Term<&'c str>, Term<&'c str>)],
        otherwise: Option<&Term<&'c str>>,
    ) -> Plan {
        let branches = branches
            .iter()
            .map(|(condition, result)| (self.term(condition), self.term(result)))
            .collect();
        let otherwise = otherwise.map_or(Plan::Input, |otherwise| self.term(otherwise));
        Plan::Choice(branches, Box::new(otherwise))
    }

    fn path(&mut self, from: &Term<&'c str>, path: &Path<Term<&'c str>>) -> Plan {
        let from = self.boxed(from);
        let steps = path.0.iter().filter_map(|(part, _)| match part {
            Part::Index(index) => step(index),
            Part::Range(..) => None,
        });
        Plan::Path(from, steps.collect())
    }

    fn object(&mut self, members: &[(Term<&'c str>, Option<Term<&'c str>>)]) -> Plan {
        let mut plans = Vec::with_capacity(members.len());
        for (key, value) in members {
            let Some(name) = constant(key) else {
                let reason = "the names in an object are constants";
                self.flaw(syntax::place(key), reason.to_owned());
                continue;
            };
            let plan = match value {
                Some(value) => self.term(value),
                None => Plan::Path(Box::new(Plan::Input), vec![PathStep::Key(name.clone())]),
            };
            plans.push((name, plan));
        }
        Plan::Object(plans)
    }

    pub(super) fn number(&mut self, text: &'c str, sign: &str) -> Plan {
        match serde_json::from_str(&format!("{sign}{text}")) {
            Ok(number) => Plan::Literal(Value::Number(number)),
            Err(_) => {
                self.flaw(Some(text), "a number is written as in JSON".to_owned());
                Plan::Input
            }
        }
    }

    fn text(&mut self, parts: &[StrPart<&'c str, Term<&'c str>>]) -> Plan {
        if let Some(text) = joined(parts) {
            return Plan::Literal(Value::String(text));
        }
        let literal = |text: String| Plan::Literal(Value::String(text));
        let parts = parts.iter().map(|part| match part {
            StrPart::Str(text) => literal((*text).to_owned()),
            StrPart::Char(letter) => literal(letter.to_string()),
            StrPart::Term(term) => self.term(term),
        });
        Plan::Text(parts.collect())
    }

    pub(super) fn call(&mut self, name: &&'c str, arguments: &[Term<&'c str>]) -> Plan {
        match (*name, arguments) {
            ("null", []) => return Plan::Literal(Value::Null),
            ("true", []) => return Plan::Literal(Value::Bool(true)),
            ("false", []) => return Plan::Literal(Value::Bool(false)),
            ("not", []) => return Plan::Not,
            _function => {}
        }
        let Some(signature) = FUNCTIONS.iter().find(|known| known.name == *name) else {
            let reason = self.not_allowed(name);
            self.flaw(Some(name), reason);
            return Plan::Input;
        };
        let function = match (signature.takes, arguments) {
            (Parameters::Nothing(apply), []) => Some(Function::Text(apply)),
            (Parameters::Region, []) => Some(Function::Phone(None)),
            (Parameters::Region, [code]) => self.region(signature, code),
            (Parameters::Table, [table]) => self.table(signature, table),
            (Parameters::Terms(apply), [first, second]) => Some(Function::Terms {
                apply,
                terms: Box::new((self.term(first), self.term(second))),
            }),
            (Parameters::Anything(apply), []) => Some(Function::Value(apply)),
            (Parameters::Unit, [unit]) => self.unit(signature, unit),
            (Parameters::Line, [number, of]) => self.line(signature, (number, of)),
            (
                Parameters::Nothing(_)
                | Parameters::Anything(_)
                | Parameters::Unit
                | Parameters::Line
                | Parameters::Region
                | Parameters::Table
                | Parameters::Terms(_),
                _,
            ) => {
                self.flaw(Some(name), usage(signature));
                None
            }
        };
        function.map_or(Plan::Input, |function| {
            Plan::Call(FunctionCall {
                name: signature.name,
                function,
            })
        })
    }

    fn region(&mut self, signature: &Signature, code: &Term<&'c str>) -> Option<Function> {
        let Some(text) = constant(code) else {
            self.flaw(syntax::place(code), usage(signature));
            return None;
        };
        let region = phone::region(&text);
        if region.is_none() {
            let reason = "a region is the ISO 3166 alpha-2 code of a country, in upper case";
            self.flaw(syntax::place(code), reason.to_owned());
        }
        region.map(|region| Function::Phone(Some(region)))
    }

    fn unit(&mut self, signature: &Signature, unit: &Term<&'c str>) -> Option<Function> {
        let since = constant(unit).and_then(|unit| EpochUnit::parse(&unit));
        if since.is_none() {
            let reason = format!("{}, or \"s\", or \"us\"", usage(signature));
            self.flaw(syntax::place(unit), reason);
        }
        since.map(Function::Moment)
    }

    fn line(
        &mut self,
        signature: &Signature,
        (number, of): (&Term<&'c str>, &Term<&'c str>),
    ) -> Option<Function> {
        let parsed = |term: &Term<&'c str>| {
            if let Term::Num(text) = term {
                text.parse().ok()
            } else {
                None
            }
        };
        let line = parsed(number).zip(parsed(of));
        let line = line.filter(|(number, of)| (1..=*of).contains(number) && *of <= LINES_MAX);
        if line.is_none() {
            let reason = format!("{}: the first of at most two lines", usage(signature));
            self.flaw(syntax::place(number), reason);
        }
        line.map(|(number, of)| Function::Line(LineSelector { number, of }))
    }

    fn table(&mut self, signature: &Signature, name: &Term<&'c str>) -> Option<Function> {
        let Some(text) = constant(name) else {
            self.flaw(syntax::place(name), usage(signature));
            return None;
        };
        let table = self.tables.get(&text);
        if table.is_none() {
            let names: Vec<_> = self.tables.keys().map(String::as_str).collect();
            let reason = if names.is_empty() {
                format!("there is no table {text}, nor any other")
            } else {
                format!("there is no table {text}; there is {}", names.join(", "))
            };
            self.flaw(syntax::place(name), reason);
        }
        table.map(|table| Function::Lookup(Arc::clone(table)))
    }

    fn boxed(&mut self, term: &Term<&'c str>) -> Box<Plan> {
        Box::new(self.term(term))
    }

    /// Why something cannot stand in an expression; what can is said once for each.
    pub(super) fn not_allowed(&self, name: &str) -> String {
        if self.flaws.is_empty() {
            format!("`{name}` is not allowed here; {}", jq::allowed())
        } else {
            format!("`{name}` is not allowed here")
        }
    }

    /// Notes a flaw of a term.
    pub(super) fn flaw_of(&mut self, term: &Term<&str>, reason: String) {
        self.flaw(syntax::place(term), reason);
    }

    /// Notes a flaw of a part of the expression, or of all of it.
    pub(super) fn flaw(&mut self, place: Option<&str>, reason: String) {
        self.flaws.push(ExpressionError::at(
            self.code,
            place.unwrap_or(self.code),
            reason,
        ));
    }
}

fn usage(signature: &Signature) -> String {
    format!("`{}` is written {}", signature.name, signature.usage)
}

/// The text of a term that is a constant text.
pub(super) fn constant(term: &Term<&str>) -> Option<String> {
    if let Term::Str(None, parts) = term {
        joined(parts)
    } else {
        None
    }
}

/// The parts as one text, if none of them is a term.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::mapping::tests::rules;
    use crate::mapping::{Mapping, VersionDomain, VersionRule};

    #[test]
    fn all_faults_of_rules_are_said_at_once_with_their_places() {
        let mut rules = rules(&[
            ("email", ".data.customer.email | reduce .[] as $x (0; .)"),
            ("ssn", ".data.ssn"),
            ("first_name", ".a |\n  | .b"),
            ("last_name", ".a | lookup(\"tires\")"),
            ("city", ".a | e164(\"us\") | upper(1)"),
            ("state", ".a / 2"),
            ("metadata.k", ".a[0].b | env"),
        ]);
        rules.imprint_id = None;
        rules.partner_id = Some(".id | @json".to_owned());
        rules.version = Some(VersionRule {
            expression: String::new(),
            domain: VersionDomain::Sequence,
        });
        let faults = Mapping::compile(&rules).unwrap_err();
        let found: Vec<_> = faults
            .iter()
            .map(|fault| {
                let reason = fault.reason.split(';').next().unwrap_or_default();
                (fault.target.as_str(), fault.line, fault.column, reason)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("customer.partner_id", 1, 7, "`@json` is not allowed here"),
                ("version", 1, 1, "expected term and found the end"),
                (
                    "city",
                    1,
                    12,
                    "a region is the ISO 3166 alpha-2 code of a country, in upper case"
                ),
                ("city", 1, 19, "`upper` is written upper"),
                ("email", 1, 24, "`reduce` is not allowed here"),
                ("first_name", 2, 3, "expected term and found `|`"),
                ("last_name", 1, 14, "there is no table tires"),
                ("metadata.k", 1, 11, "`env` is not allowed here"),
                ("ssn", 1, 1, "Imprint's update has no such field"),
                ("state", 1, 2, "`/` is not allowed here"),
            ]
        );
        assert!(faults[0].to_string().starts_with("customer.partner_id: "));
    }

    /// Expressions, and what the refusal of each names.
    const REFUSED: &[(&str, &str)] = &[
        ("..", "`..`"),
        (".a[range(3)]", "constant names"),
        (".a[.b:]", "constant numbers"),
        (".a[-1:]", "constant numbers"),
        (".[.b]", "constant names"),
        (".a, .b", "`,`"),
        ("[(.a, .b) | .c]", "`,`"),
        ("map(.a, .b)", "`,`"),
        (".a / 2", "`/`"),
        (".a % 2", "`%`"),
        (".a = 1", "`=`"),
        (".a |= 1", "`|=`"),
        (".a += 1", "`+=`"),
        (".a //= 1", "`//=`"),
        ("$x", "`$x`"),
        ("(.a as $x | $x) | $x", "`$x`"),
        (". as [$x] | $x", "`as […]`"),
        ("label $f | .a", "`label`"),
        ("foreach .a as $x (0; .)", "`foreach`"),
        ("reduce .[] as $x (0; .)", "`reduce`"),
        ("def f: f; f", "`def`"),
        ("def f: [f]; f", "`def`"),
        ("@base64 \"x\"", "`@base64`"),
        ("@json", "`@json`"),
        ("[range(1e9)]", "`range`"),
        ("range(1e9)", "`range`"),
        ("\"\\(range(5))\"", "`range`"),
        (".[range(3)]", "constant names"),
        ("[recurse([.,.])]", "`recurse`"),
        ("limit(1; repeat(1))", "`limit`"),
        ("first(repeat(1))", "`repeat`"),
        ("until(false; .)", "`until`"),
        ("while(true; .)", "`while`"),
        ("env", "`env`"),
        ("$ENV", "`$ENV`"),
        ("$ENV.PATH", "`$ENV`"),
        ("$__loc__", "`$__loc__`"),
        ("input", "`input`"),
        ("inputs", "`inputs`"),
        ("debug", "`debug`"),
        ("halt", "`halt`"),
        ("now", "`now`"),
        ("input_filename", "`input_filename`"),
        ("splits(\",\")", "`splits`"),
        ("path(.a)", "`path`"),
        ("walk(.)", "`walk`"),
        ("tojson", "`tojson`"),
        ("__call(0)", "`__call`"),
        ("__items(.)", "`__items`"),
        ("map(env)", "`env`"),
        ("{a: [input]}", "`input`"),
        ("if .a then env else 1 end", "`env`"),
        ("try .a catch env", "`env`"),
        ("error", "`error`"),
        ("e164(env)", "e164(\"US\")"),
        ("first(.a; .b)", "number of arguments"),
        ("join(.a)", "constant text"),
        ("{(.a): 1}", "constants"),
        ("{$x}", "`$x`"),
        ("e164(.a)", "e164(\"US\")"),
        ("[e164(.a)]", "e164(\"US\")"),
        ("e164(\"ZZ\")", "alpha-2"),
        ("minor_units(.a)", "minor_units(.amount; .currency)"),
        ("lookup", "lookup(\"table\")"),
        ("lookup(.a)", "lookup(\"table\")"),
        ("true(1)", "`true`"),
        (
            ".a | {a: ., b: .}|{a: ., b: .}|{a: ., b: .}|{a: ., b: ., c: {d: ., e: .}}|{a: ., b: ., c: .}",
            "64 times",
        ),
        (
            "\"\\(.)\\(.)\\(.)\\(.)\"|\"\\(.)\\(.)\\(.)\\(.)\"|\"\\(.)\\(.)\\(.)\\(.)\"|\"\\(.)\\(.)\"",
            "64 times",
        ),
        ("007", "JSON"),
        ("\"\\q\"", "escape"),
        ("(.a", "closing parenthesis"),
        ("\"a", "closing quote"),
        ("import \"a\" as a; .", "nothing"),
        ("§", "token"),
        (".a | e164('US')", "double quotes"),
    ];

    #[test]
    fn what_is_not_in_the_language_is_refused_by_name() {
        for (expression, name) in REFUSED {
            let faults = Mapping::compile(&rules(&[("email", expression)])).unwrap_err();
            assert!(faults[0].reason.contains(name), "{expression}: {faults:?}");
        }
    }

    #[test]
    fn a_deep_expression_ends_neither_the_parser_nor_the_reader() {
        for deep in [
            "(".repeat(999),
            format!("{}.{}", "(".repeat(499), ")".repeat(499)),
            format!("{}1{}", "{a:".repeat(249), "}".repeat(249)),
            "-".repeat(999),
            "try ".repeat(249),
            "if ".repeat(333),
            "\"\\(".repeat(333),
            ".|".repeat(499) + ".",
            ".//".repeat(333) + ".",
            ".[".repeat(499),
            "def a:".repeat(166),
            "(".repeat(5000),
            "(".repeat(64),
            "-".repeat(64),
            format!("{}1{}", "{a:".repeat(64), "}".repeat(64)),
            "if ".repeat(64),
            "\"\\(".repeat(64),
        ] {
            let mapping = Mapping::compile(&rules(&[("metadata.k", &deep)]));
            if let Ok(mapping) = mapping {
                assert!(mapping.map(&json!({"id": "C1"})).is_ok());
            }
        }
    }
}
