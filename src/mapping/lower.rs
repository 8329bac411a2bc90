//! From the text of an expression to its plan.
//!
//! jaq's parser reads the whole language of jq; what is not lowered here is refused by name when the mapping is
//! loaded, so that no event ever meets an expression that cannot be run. Matches over jaq's syntax have no default
//! arm: a term that is new in a later jaq must be decided on before it compiles.

use std::sync::Arc;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::ops::Cmp;
use jaq_core::path::{Opt, Part, Path};
use serde_json::Value;

use super::Tables;
use super::function::{Call, FUNCTIONS, Function, Signature, Takes, phone};
use super::plan::{Plan, Step};
use super::syntax::{self, Flaw};

/// Lowers an expression, or says all that is wrong with it.
pub(super) fn lower(code: &str, tables: &Tables) -> Result<Plan, Vec<Flaw>> {
    let term = syntax::parse(code)?;
    let mut lowering = Lowering {
        code,
        tables,
        flaws: Vec::new(),
    };
    let plan = lowering.term(&term);
    if lowering.flaws.is_empty() {
        Ok(plan)
    } else {
        Err(lowering.flaws)
    }
}

struct Lowering<'c> {
    code: &'c str,
    tables: &'c Tables,
    flaws: Vec<Flaw>,
}

impl<'c> Lowering<'c> {
    fn term(&mut self, term: &Term<&'c str>) -> Plan {
        let name = match term {
            Term::Id => return Plan::Input,
            Term::Num(text) => return self.number(text, ""),
            Term::Neg(inner) => {
                if let Term::Num(text) = inner.as_ref() {
                    return self.number(text, "-");
                }
                "-"
            }
            Term::Str(None, parts) => return self.text(term, parts),
            Term::Obj(members) => return self.object(members),
            Term::BinOp(left, op, right) => return self.binary(term, (left, right), op),
            Term::Call(name, arguments) => return self.call(name, arguments),
            Term::Path(from, path) => return self.path(from, path),
            Term::Recurse => "..",
            Term::Str(Some(format), _) => format,
            Term::Arr(_) => "[…]",
            Term::Label(..) => "label",
            Term::Break(_) => "break",
            Term::Fold(keyword, ..) => keyword,
            Term::TryCatch(_, None) => "?",
            Term::TryCatch(_, Some(_)) => "try",
            Term::IfThenElse(..) => "if",
            Term::Def(..) => "def",
            Term::Var(name) => name,
        };
        self.refused(term, name)
    }

    fn binary(
        &mut self,
        term: &Term<&'c str>,
        (left, right): (&Term<&'c str>, &Term<&'c str>),
        op: &BinaryOp<&'c str>,
    ) -> Plan {
        let name = match op {
            BinaryOp::Pipe(None) => {
                return Plan::Pipe(self.boxed(left), self.boxed(right));
            }
            BinaryOp::Alt => {
                return Plan::Otherwise(self.boxed(left), self.boxed(right));
            }
            BinaryOp::Pipe(Some(_)) => "as",
            BinaryOp::Comma => ",",
            BinaryOp::Or => "or",
            BinaryOp::And => "and",
            BinaryOp::Math(math) => math.as_str(),
            BinaryOp::Cmp(Cmp::Lt) => "<",
            BinaryOp::Cmp(Cmp::Le) => "<=",
            BinaryOp::Cmp(Cmp::Gt) => ">",
            BinaryOp::Cmp(Cmp::Ge) => ">=",
            BinaryOp::Cmp(Cmp::Eq) => "==",
            BinaryOp::Cmp(Cmp::Ne) => "!=",
            BinaryOp::Assign => "=",
            BinaryOp::Update => "|=",
            BinaryOp::UpdateMath(math) => &format!("{}=", math.as_str()),
            BinaryOp::UpdateAlt => "//=",
        };
        self.refused(term, name)
    }

    fn path(&mut self, from: &Term<&'c str>, path: &Path<Term<&'c str>>) -> Plan {
        let from = self.boxed(from);
        let mut steps = Vec::with_capacity(path.0.len());
        for (part, optional) in &path.0 {
            match (part, optional) {
                (Part::Index(index), Opt::Essential) => steps.extend(self.step(index)),
                (Part::Index(index), Opt::Optional) => {
                    self.refused(index, "?");
                }
                (Part::Range(None, None), Opt::Essential | Opt::Optional) => {
                    self.flaw(None, not_allowed("[]"));
                }
                (Part::Range(from, upto), Opt::Essential | Opt::Optional) => {
                    let place = [from, upto].into_iter().flatten().find_map(syntax::place);
                    self.flaw(place, not_allowed("[:]"));
                }
            }
        }
        Plan::Path(from, steps)
    }

    fn step(&mut self, index: &Term<&'c str>) -> Option<Step> {
        if let Some(key) = constant(index) {
            return Some(Step::Key(key));
        }
        let number = if let Term::Num(text) = index {
            text.parse().ok()
        } else {
            None
        };
        if number.is_none() {
            let reason = "a path is made of constant names, and of item numbers from 0 up";
            self.flaw(syntax::place(index), reason.to_owned());
        }
        number.map(Step::Index)
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
                None => Plan::Path(Box::new(Plan::Input), vec![Step::Key(name.clone())]),
            };
            plans.push((name, plan));
        }
        Plan::Object(plans)
    }

    fn number(&mut self, text: &'c str, sign: &str) -> Plan {
        match serde_json::from_str(&format!("{sign}{text}")) {
            Ok(number) => Plan::Literal(Value::Number(number)),
            Err(_) => {
                self.flaw(Some(text), "a number is written as in JSON".to_owned());
                Plan::Input
            }
        }
    }

    fn text(&mut self, term: &Term<&'c str>, parts: &[StrPart<&'c str, Term<&'c str>>]) -> Plan {
        match joined(parts) {
            Some(text) => Plan::Literal(Value::String(text)),
            None => self.refused(term, "\\(…)"),
        }
    }

    fn call(&mut self, name: &&'c str, arguments: &[Term<&'c str>]) -> Plan {
        match (*name, arguments) {
            ("null", []) => return Plan::Literal(Value::Null),
            ("true", []) => return Plan::Literal(Value::Bool(true)),
            ("false", []) => return Plan::Literal(Value::Bool(false)),
            _function => {}
        }
        let Some(signature) = FUNCTIONS.iter().find(|known| known.name == *name) else {
            self.flaw(Some(name), not_allowed(name));
            return Plan::Input;
        };
        let function = match (signature.takes, arguments) {
            (Takes::Nothing(apply), []) => Some(Function::Text(apply)),
            (Takes::Region, []) => Some(Function::Phone(None)),
            (Takes::Region, [code]) => self.region(signature, code),
            (Takes::Table, [table]) => self.table(signature, table),
            (Takes::Terms(apply), [first, second]) => Some(Function::Terms {
                apply,
                terms: Box::new((self.term(first), self.term(second))),
            }),
            (Takes::Nothing(_) | Takes::Region | Takes::Table | Takes::Terms(_), _) => {
                self.flaw(Some(name), usage(signature));
                None
            }
        };
        function.map_or(Plan::Input, |function| {
            Plan::Call(Call {
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

    /// Notes that the term is not allowed; the plan that stands in for it is never run.
    fn refused(&mut self, term: &Term<&'c str>, name: &str) -> Plan {
        self.flaw(syntax::place(term), not_allowed(name));
        Plan::Input
    }

    fn flaw(&mut self, place: Option<&str>, reason: String) {
        self.flaws
            .push(Flaw::at(self.code, place.unwrap_or(self.code), reason));
    }
}

fn not_allowed(name: &str) -> String {
    let functions: Vec<_> = FUNCTIONS.iter().map(|known| known.usage).collect();
    format!(
        "`{name}` is not allowed here; an expression is made of paths such as `.a.b[0]`, `|`, `//`, constants, \
         objects, and the functions {}",
        functions.join(", ")
    )
}

fn usage(signature: &Signature) -> String {
    format!("`{}` is written {}", signature.name, signature.usage)
}

/// The text of a term that is a constant text.
fn constant(term: &Term<&str>) -> Option<String> {
    if let Term::Str(None, parts) = term {
        joined(parts)
    } else {
        None
    }
}

fn joined(parts: &[StrPart<&str, Term<&str>>]) -> Option<String> {
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
    use crate::mapping::{Domain, Mapping, VersionRule};

    #[test]
    fn all_faults_of_rules_are_said_at_once_with_their_places() {
        let mut rules = rules(&[
            ("email", ".data.customer.email | reduce .[] as $x (0; .)"),
            ("ssn", ".data.ssn"),
            ("first_name", ".a |\n  | .b"),
            ("last_name", ".a | lookup(\"tires\")"),
            ("city", ".a | e164(\"us\") | upper(1)"),
            ("state", "\"\\(.a)\""),
            ("metadata.k", ".a[0].b | env"),
        ]);
        rules.imprint_id = None;
        rules.partner_id = Some(".id?".to_owned());
        rules.version = Some(VersionRule {
            expression: String::new(),
            domain: Domain::Sequence,
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
                ("customer.partner_id", 1, 2, "`?` is not allowed here"),
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
                ("state", 1, 5, "`\\(…)` is not allowed here"),
            ]
        );
        assert!(faults[0].to_string().starts_with("customer.partner_id: "));
    }

    #[test]
    fn what_is_not_in_the_language_is_refused_by_name() {
        for (expression, name) in [
            ("..", ".."),
            (".a[]", "[]"),
            (".a[1:2]", "[:]"),
            (".a[range(3)]", "constant names"),
            (".a[-1]", "constant names"),
            (".[.b]", "constant names"),
            (".a?", "`?`"),
            ("try .a catch .b", "`try`"),
            ("[.a]", "[…]"),
            ("[]", "[…]"),
            (".a, .b", "`,`"),
            (".a + .b", "`+`"),
            (".a == 1", "`==`"),
            (".a and .b", "`and`"),
            (".a or .b", "`or`"),
            (".a = 1", "`=`"),
            (".a |= 1", "`|=`"),
            (".a += 1", "`+=`"),
            (".a //= 1", "`//=`"),
            ("-.a", "`-`"),
            (".a as $x | $x", "`as`"),
            ("$x", "`$x`"),
            ("label $f | .a", "`label`"),
            ("foreach .a as $x (0; .)", "`foreach`"),
            ("if .a then .b end", "`if`"),
            ("def f: f; f", "`def`"),
            ("@base64 \"x\"", "`@base64`"),
            ("@json", "`@json`"),
            ("range(1e9)", "`range`"),
            ("input", "`input`"),
            ("{(.a): 1}", "constants"),
            ("{$x}", "constants"),
            ("e164(.a)", "e164(\"US\")"),
            ("e164(\"ZZ\")", "alpha-2"),
            ("minor_units(.a)", "minor_units(.amount; .currency)"),
            ("lookup", "lookup(\"table\")"),
            ("lookup(.a)", "lookup(\"table\")"),
            ("true(1)", "`true`"),
            ("007", "JSON"),
            ("\"\\q\"", "escape"),
            ("(.a", "closing parenthesis"),
            ("\"a", "closing quote"),
            ("import \"a\" as a; .", "nothing"),
            ("§", "token"),
        ] {
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
