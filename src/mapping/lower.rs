//! Compiles the text of a mapping expression to its plan.
//!
//! jaq's parser reads the whole syntax of jq. If a term always has exactly one result, the bridge compiles the term to
//! a [`Plan`]. jaq interprets every other allowed term ([`super::jq`]). The bridge does not load a mapping with a term
//! that the language does not have, and reports each such term by name. Every expression of a loaded mapping can
//! therefore run on an event.
//!
//! Only [`Lowering::term`] decides whether the bridge compiles a term or leaves the term to jaq. The `match`
//! expressions over jaq's syntax have no default arm: if a later version of jaq adds a term, this module does not
//! compile until a developer decides about the new term.

use std::sync::Arc;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::ops::Cmp;
use jaq_core::path::{Opt, Part, Path};
use serde_json::Value;

use super::LookupTables;
use super::call::{function_call, input_on_the_right};
use super::function::{self, BinaryCall, Parameters};
use super::header;
use super::jq::{Program, ResultCount};
use super::located::PathStep;
use super::plan::Plan;
use super::split::Split;
use super::syntax::{self, ExpressionError, constant, joined, number};

/// The maximum number of copies of the input in the result of an expression. An expression that joins names and an
/// address into one text needs about twelve copies.
const COPIES_MAX: usize = 64;

/// Compiles a mapping expression to a plan.
///
/// # Errors
/// Returns every error in the mapping expression.
pub(super) fn lower(code: &str, tables: &LookupTables) -> Result<Plan, Vec<ExpressionError>> {
    let term = syntax::parse(code)?;
    let plan = Lowering { code, tables }.expression(&term)?;
    if plan.copies() > COPIES_MAX {
        let reason = format!("an expression copies its input at most {COPIES_MAX} times");
        return Err(vec![ExpressionError::at(code, code, reason)]);
    }
    Ok(plan)
}

/// Prepares an expression that can have many results. jaq always interprets such an expression.
///
/// # Errors
/// Returns every error in the mapping expression.
pub(super) fn lower_stream(
    code: &str,
    tables: &LookupTables,
) -> Result<Program, Vec<ExpressionError>> {
    let term = syntax::parse(code)?;
    Program::compile(&term, code, tables, ResultCount::Many)
}

struct Lowering<'c> {
    code: &'c str,
    tables: &'c LookupTables,
}

type Branches<'c> = [(Term<&'c str>, Term<&'c str>)];

impl<'c> Lowering<'c> {
    /// Compiles a whole expression. In a pipe, the bridge compiles the terms before the first term that jaq must
    /// interpret. jaq interprets the rest of the pipe.
    fn expression(&self, term: &Term<&'c str>) -> Result<Plan, Vec<ExpressionError>> {
        match self.compiled_prefix(term) {
            Some((plan, None)) => Ok(plan),
            Some((first, Some(rest))) => Ok(pipe(first, self.expression(rest)?)),
            None => self.interpreted(term),
        }
    }

    /// Returns the plan of the first term of a pipe, and the rest of the pipe. Returns `None` if jaq must interpret the
    /// first term.
    fn compiled_prefix<'t>(
        &self,
        term: &'t Term<&'c str>,
    ) -> Option<(Plan, Option<&'t Term<&'c str>>)> {
        if let Some((split, rest)) = Split::of(term) {
            return Some((Plan::Split(split), rest));
        }
        if let Term::BinOp(left, BinaryOp::Pipe(None), right) = term {
            return Some((self.term(left)?, Some(right)));
        }
        Some((self.term(term)?, None))
    }

    fn interpreted(&self, term: &Term<&'c str>) -> Result<Plan, Vec<ExpressionError>> {
        let program = Program::compile(term, self.code, self.tables, ResultCount::One)?;
        Ok(Plan::Interpreted(Arc::new(program)))
    }

    /// Returns the plan of a term, or `None` if jaq must interpret the term.
    ///
    /// A term with an error has no plan: the sanitizer of the interpreter ([`super::jq`]) reports every error of the
    /// term.
    fn term(&self, term: &Term<&'c str>) -> Option<Plan> {
        if let Some((split, rest)) = Split::of(term) {
            return self.split(split, rest);
        }
        match term {
            Term::Id => Some(Plan::Input),
            Term::Num(text) => literal_number("", text),
            Term::Neg(inner) => {
                if let Term::Num(text) = inner.as_ref() {
                    literal_number("-", text)
                } else {
                    None
                }
            }
            Term::Str(None, parts) => self.text(parts),
            Term::Obj(members) => self.object(members),
            Term::BinOp(left, op, right) => self.binary(left, op, right),
            Term::IfThenElse(branches, otherwise) => {
                self.conditional(branches, otherwise.as_deref())
            }
            Term::Call(name, arguments) => self.call(name, arguments),
            Term::Path(from, path) => self.path(from, path),
            Term::Recurse
            | Term::Str(Some(_), _)
            | Term::Arr(_)
            | Term::Label(..)
            | Term::Break(_)
            | Term::Fold(..)
            | Term::TryCatch(..)
            | Term::Def(..)
            | Term::Var(_) => None,
        }
    }

    fn split(&self, split: Split, rest: Option<&Term<&'c str>>) -> Option<Plan> {
        let split = Plan::Split(split);
        match rest {
            Some(rest) => Some(pipe(split, self.term(rest)?)),
            None => Some(split),
        }
    }

    fn binary(
        &self,
        left: &Term<&'c str>,
        op: &BinaryOp<&'c str>,
        right: &Term<&'c str>,
    ) -> Option<Plan> {
        if syntax::lone_text(left, op, right).is_some() {
            return None;
        }
        let combine: fn(Plan, Plan) -> Plan = match op {
            BinaryOp::Pipe(None) => pipe,
            BinaryOp::Alt => alternative,
            BinaryOp::Or => or,
            BinaryOp::And => and,
            BinaryOp::Cmp(Cmp::Eq) => equal,
            BinaryOp::Cmp(Cmp::Ne) => unequal,
            BinaryOp::Pipe(Some(_))
            | BinaryOp::Comma
            | BinaryOp::Math(_)
            | BinaryOp::Cmp(Cmp::Lt | Cmp::Le | Cmp::Gt | Cmp::Ge)
            | BinaryOp::Assign
            | BinaryOp::Update
            | BinaryOp::UpdateMath(_)
            | BinaryOp::UpdateAlt => return None,
        };
        Some(combine(self.term(left)?, self.term(right)?))
    }

    fn conditional(
        &self,
        branches: &Branches<'c>,
        otherwise: Option<&Term<&'c str>>,
    ) -> Option<Plan> {
        let branches = branches
            .iter()
            .map(|(condition, result)| Some((self.term(condition)?, self.term(result)?)))
            .collect::<Option<_>>()?;
        // As in jq, an `if` without `else` returns its input.
        let otherwise = match otherwise {
            Some(otherwise) => self.term(otherwise)?,
            None => Plan::Input,
        };
        Some(Plan::Conditional(branches, Box::new(otherwise)))
    }

    fn path(&self, from: &Term<&'c str>, path: &Path<Term<&'c str>>) -> Option<Plan> {
        if input_on_the_right(from, path).is_some() {
            return None;
        }
        let from = self.term(from)?;
        let steps = path
            .0
            .iter()
            .map(|(part, optional)| match (part, optional) {
                (Part::Index(index), Opt::Essential) => step(index),
                (Part::Index(_), Opt::Optional) | (Part::Range(..), _) => None,
            });
        Some(Plan::Path(Box::new(from), steps.collect::<Option<_>>()?))
    }

    fn object(&self, members: &[(Term<&'c str>, Option<Term<&'c str>>)]) -> Option<Plan> {
        let member = |(key, value): &(Term<&'c str>, Option<Term<&'c str>>)| {
            let name = constant(key)?;
            let plan = match value {
                Some(value) => self.term(value)?,
                None => Plan::Path(Box::new(Plan::Input), vec![PathStep::Key(name.clone())]),
            };
            Some((name, plan))
        };
        let members = members.iter().map(member).collect::<Option<_>>()?;
        Some(Plan::Object(members))
    }

    fn text(&self, parts: &[StrPart<&'c str, Term<&'c str>>]) -> Option<Plan> {
        if let Some(text) = joined(parts) {
            return Some(Plan::Literal(Value::String(text)));
        }
        let literal = |text: String| Some(Plan::Literal(Value::String(text)));
        let parts = parts.iter().map(|part| match part {
            StrPart::Str(text) => literal((*text).to_owned()),
            StrPart::Char(letter) => literal(letter.to_string()),
            StrPart::Term(term) => self.term(term),
        });
        Some(Plan::Interpolation(parts.collect::<Option<_>>()?))
    }

    fn call(&self, name: &str, arguments: &[Term<&'c str>]) -> Option<Plan> {
        match (name, arguments) {
            ("null", []) => return Some(Plan::Literal(Value::Null)),
            ("true", []) => return Some(Plan::Literal(Value::Bool(true))),
            ("false", []) => return Some(Plan::Literal(Value::Bool(false))),
            ("not", []) => return Some(Plan::Not),
            (header::NAME, _) => return header::name_of(arguments).map(Plan::Header),
            _function => {}
        }
        let signature = function::find(name)?;
        if let (Parameters::Expressions(apply), [first, second]) = (signature.parameters, arguments)
        {
            let call = BinaryCall {
                name: signature.name,
                apply,
            };
            let expressions = (self.term(first)?, self.term(second)?);
            return Some(Plan::BinaryCall(call, Box::new(expressions)));
        }
        function_call(signature, arguments, self.tables)
            .ok()
            .map(Plan::Call)
    }
}

fn pipe(first: Plan, then: Plan) -> Plan {
    Plan::Pipe(Box::new(first), Box::new(then))
}

fn alternative(first: Plan, other: Plan) -> Plan {
    Plan::Alternative(Box::new(first), Box::new(other))
}

fn or(left: Plan, right: Plan) -> Plan {
    logic(left, right, true)
}

fn and(left: Plan, right: Plan) -> Plan {
    logic(left, right, false)
}

/// Returns the plan of `and` or `or`. If only one side is a constant, the other side decides whether the result is
/// absent.
fn logic(left: Plan, right: Plan, decisive: bool) -> Plan {
    let sides = match (left.constant_truth(), right.constant_truth()) {
        // jq does not evaluate the right side, so the term is a constant.
        (Some(truth), _) if truth == decisive => return Plan::Literal(Value::Bool(decisive)),
        (Some(truth), None) => (Plan::Assumed(truth.into()), right),
        (None, Some(truth)) => (left, Plan::Assumed(truth.into())),
        (Some(_), Some(_)) | (None, None) => (left, right),
    };
    Plan::Logic {
        sides: Box::new(sides),
        decisive,
    }
}

fn equal(left: Plan, right: Plan) -> Plan {
    Plan::Compare {
        sides: Box::new((left, right)),
        expects_equal: true,
    }
}

fn unequal(left: Plan, right: Plan) -> Plan {
    Plan::Compare {
        sides: Box::new((left, right)),
        expects_equal: false,
    }
}

fn literal_number(sign: &str, text: &str) -> Option<Plan> {
    number(sign, text).map(|number| Plan::Literal(Value::Number(number)))
}

/// Returns the path step for an index that is a constant name or a whole number of at least 0.
fn step(index: &Term<&str>) -> Option<PathStep> {
    if let Term::Num(text) = index {
        return text.parse().ok().map(PathStep::Index);
    }
    constant(index).map(PathStep::Key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::mapping::tests::rules;
    use crate::mapping::{Mapping, VersionDomain, VersionRule};

    #[test]
    fn all_errors_of_rules_are_reported_at_once_with_their_positions() {
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
        let errors = Mapping::compile(&rules).unwrap_err();
        let found: Vec<_> = errors
            .iter()
            .map(|error| {
                let reason = error.reason.split(';').next().unwrap_or_default();
                (error.target.as_str(), error.line, error.column, reason)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("customer.partner_id", 1, 7, "`@json` is not allowed here"),
                ("version", 1, 1, "the expression is empty"),
                (
                    "city",
                    1,
                    12,
                    "a region is the ISO 3166 alpha-2 code of a country, in upper case"
                ),
                (
                    "city",
                    1,
                    19,
                    "`upper` takes no argument: write upper instead of upper(1)"
                ),
                ("email", 1, 24, "`reduce` is not allowed here"),
                ("first_name", 2, 3, "expected term and found `|`"),
                ("last_name", 1, 14, "there is no table tires"),
                ("metadata.k", 1, 11, "`env` is not allowed here"),
                ("ssn", 1, 1, "Imprint's update has no such field"),
                ("state", 1, 2, "`/` is not allowed here"),
            ]
        );
        assert!(
            errors[0]
                .to_string()
                .starts_with("`@json` is not allowed here")
        );
    }

    /// FAULTS N1403
    #[test]
    fn the_advice_about_a_function_depends_on_the_field() {
        for (target, expression, expected) in [
            ("phone", ".v | tonumber", "use e164"),
            (
                "customer_history.address.postal_code",
                ".v | tonumber",
                "use us_zip",
            ),
            ("state", ".v | alpha2", "use us_state"),
            (
                "customer_history.account_tenure",
                ".v | tonumber",
                "use whole",
            ),
        ] {
            let errors = Mapping::compile(&rules(&[(target, expression)])).unwrap_err();
            assert!(errors[0].reason.ends_with(expected), "{target}: {errors:?}");
        }
    }

    /// Refused expressions, each with a part of its error message.
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
        ("(.a", "the `(` here has no `)`"),
        ("\"a", "that begins here has no closing double quote"),
        ("import \"a\" as a; .", "should end before"),
        ("§", "token"),
        (".a | e164('US')", "double quotes"),
        ("not .is_deleted", "write `(.is_deleted | not)`"),
        (
            "if not .x then .a else .b end",
            "write `(.x | not)` instead of `not .x`",
        ),
        (".a and not .b.c", "write `(.b.c | not)`"),
        ("not .[\"x y\"]", "write `(.\"x y\" | not)`"),
        ("not .a?", "write `(.a? | not)`"),
        ("[not .a]", "write `(.a | not)`"),
        ("not .a[]", "write `(.a[] | not)`"),
        (".items[0] | not .a", "write `(.a | not)`"),
        ("lower .name", "write `(.name | lower)`"),
        ("e164(\"US\") .phone", "write `(.phone | e164(\"US\"))`"),
        ("not .[0].a", "write `(.[0].a | not)`"),
        ("length .tags", "write `(.tags | length)`"),
        // FAULTS N920: a function with its input in its parentheses.
        ("upper(.x)", "write `.x | upper` instead of `upper(.x)`"),
        // FAULTS N1404
        ("last(.x[])", "write `.x | last` instead of `last(.x[])`"),
        ("last(.x[]?)", "write `.x | last` instead of `last(.x[]?)`"),
        (
            "last(.x[].y)",
            "write `[.x[].y] | last` instead of `last(.x[].y)`",
        ),
        // FAULTS N1512
        ("last(.x[] | .y)", "write `[…] | last` instead of `last(…)`"),
        ("us_state(.data.state)", "write `.data.state | us_state`"),
        ("[date(.a[0])]", "write `.a[0] | date`"),
        ("text(.)", "write `. | text`"),
        ("lower(1)", "write `1 | lower`"),
        ("e164(.phone)", "write `.phone | e164(\"US\")`"),
        (
            "lookup(.x; \"tiers\")",
            "write `.x | lookup(\"tiers\")` instead of `lookup(.x; \"tiers\")`",
        ),
        ("moment(.ts)", "write `.ts | moment(\"ms\")`"),
        ("line(.street; 1; 2)", "write `.street | line(1; 2)`"),
        ("length(.tags)", "write `.tags | length`"),
        ("not(.is_deleted)", "write `.is_deleted | not`"),
        ("split(.name; \" \")", "write `.name | split(\" \")`"),
        // FAULTS N1050: an argument after a pipe, and other notation whose advice must not change the meaning.
        (
            ".birthdate | date(\"%Y\")",
            "`date` takes no argument: write date instead of date(\"%Y\")",
        ),
        (
            ".s | us_state(\"US\")",
            "write us_state instead of us_state(\"US\")",
        ),
        (".c | alpha3(\"x\")", "write alpha3 instead"),
        (
            ".phones[0] | .number | e164(.country_code)",
            "if .country_code == \"US\" then .phone | e164(\"US\") else .phone | e164 end",
        ),
        (
            ".x | lookup(.y)",
            "`lookup` is written lookup(\"table\"), with a constant text",
        ),
        (".x | upper(.y)", "write `.y | upper`"),
        (".first_name | [0]", "write .[0] for an item of the input"),
        (".names | [0] | trim", "write .[0] for an item of the input"),
        (
            "..first_name",
            "one dot before each name: write .first_name",
        ),
        ("getpath([\"data\", \"values\"])", "such as .data.values"),
        (
            "any(.data.emails[].email_address)",
            "write `.data.emails | any(.email_address)`",
        ),
        ("all(.emails[])", "write `.emails | all(.)`"),
        ("if .a then .b", "the `if` has no `end`"),
        (".a // ", "ends with `//`: write the second value"),
        (".a and", "ends with `and`"),
        ("| .a", "does not begin with `|`"),
        (".a)", "closes here that no bracket opens"),
        // An unused side of `and` must still be allowed.
        (". and (\"a\" or (not).b)", "write `(.b | not)`"),
        (".a | split", "such as split(\", \")"),
        ("if empty(.a) then null else .a end", "compare with null"),
        // FAULTS N1055: a constant text in the place of a path.
        (
            "\".data.first_name\"",
            "write .data.first_name without them",
        ),
        ("\"{{first_name}}\"", "replaces nothing in it"),
        ("\"${.data.id}\"", "replaces nothing in it"),
        ("\"#{.data.id}\"", "replaces nothing in it"),
        ("\"(.data.first_name)\"", "replaces nothing in it"),
        ("\u{ff0e}data", "plain character of ASCII"),
        // FAULTS N921: a member without its dot, and a text without its quotes.
        (
            "data.attributes.firstName | trim",
            "`data` is not allowed here; if it is a member of the event, write .data.attributes.firstName",
        ),
        ("data.type == \"x\"", "write .data.type"),
        (".a and (items[0].b)", "write .items[0].b"),
        ("first_name | trim", "write .first_name"),
        (".a // last_name", "write .last_name"),
        (".x | uper", "did you mean upper?"),
        (".x | (uper)", "did you mean upper?"),
        (
            ".meta.eventName != prospect.destroyed",
            "if it is a constant text, write the text in double quotes: \"prospect.destroyed\"; if it is a member of the event, write .prospect.destroyed",
        ),
        (
            ".a == paid",
            "double quotes: \"paid\"; if it is a member of the event, write .paid",
        ),
        (
            "del(.meta)",
            "use with_entries(select(.key != \"name\")) to leave out a member",
        ),
    ];

    /// An expression, a part of its error, and the expression that the error proposes.
    const REMEDIES: &[(&str, &str, &str)] = &[
        // FAULTS N1200: notation whose error named another cause, or a remedy that the next error refused.
        ("[.a, .b", "the `[` here has no `]`", "[.a, .b] | first"),
        (
            ". as $b | .ids | {event: $b.event, id: .",
            "the `{` here has no `}`",
            ". as $b | .ids | {event: $b.event, id: .}",
        ),
        ("(.a]", "the `(` here has no `)`", "(.a)"),
        (
            "\"\\(.data.first_name) \\(.data.last_name\"",
            "the `\\(` here has no `)`",
            "\"\\(.data.first_name) \\(.data.last_name)\"",
        ),
        (
            "(.a ? .b : .c)",
            "write `if .a then .b else .c end`",
            "if .a then .b else .c end",
        ),
        (
            "/updated_attributes/first_name/1",
            "write .updated_attributes.first_name[1]",
            ".updated_attributes.first_name[1]",
        ),
        (
            "/data/e-mail | lower",
            "write .data.\"e-mail\"",
            ".data.\"e-mail\" | lower",
        ),
        (
            ".data.custom_fields.Date of Birth | date",
            "write it in double quotes: .\"Date of Birth\"",
            ".data.custom_fields.\"Date of Birth\" | date",
        ),
        (
            ".data.custom_fields[Birthday] | date",
            "write .Birthday instead of [Birthday]",
            ".data.custom_fields.Birthday | date",
        ),
        (
            ".data.first_name & \" \" & .data.last_name",
            "a text such as \"\\(.a) \\(.b)\" to join two texts",
            "\"\\(.data.first_name) \\(.data.last_name)\"",
        ),
        (
            ".data.email!",
            "there is no `!` after a value: delete it",
            ".data.email",
        ),
        (
            ".data.email\u{200b}",
            "an invisible character (U+200B) stands here: delete it",
            ".data.email",
        ),
        (
            ".data.\u{1d4ee}mail",
            "here U+1D4EE) stands in double quotes",
            ".data.\"\u{1d4ee}mail\"",
        ),
        (
            ".data.name | split(\" \", 1)",
            "`split` has one argument: write split(\" \")",
            ".data.name | split(\" \") | first",
        ),
        (
            ".data.name | split(\" \"; 1)",
            "`split` has one argument: write split(\" \")",
            ".data.name | split(\" \") | last",
        ),
        (".data.name | hash", "use digest", ".data.name | digest"),
        (".data.name | md5", "use digest", ".data.name | digest"),
        (
            ".a | {b: $b.c}",
            "`. as $b |` before it makes a variable of the input",
            ". as $b | .a | {b: $b.c}",
        ),
        (
            "$event.data.email",
            "`$event` is not defined: a path begins with a dot",
            ".data.email",
        ),
        (
            ".data->email",
            "write one dot between two names of a path",
            ".data.email",
        ),
        (
            ".data::email",
            "write one dot between two names of a path",
            ".data.email",
        ),
        (
            ".data.email,",
            "ends with a comma: remove it",
            ".data.email",
        ),
        (
            "=.data.email",
            "does not begin with `=`: remove it",
            ".data.email",
        ),
        // FAULTS N1201: a function with an argument, in empty parentheses.
        (
            ".a | lookup()",
            "`lookup` is written lookup(\"table\")",
            ".a | text",
        ),
        (
            ".a | line()",
            "`line` is written line(1; 2)",
            ".a | line(1; 2)",
        ),
        (
            ".a | moment()",
            "`moment` is written moment(\"ms\")",
            ".a | moment(\"ms\")",
        ),
        (
            "minor_units()",
            "`minor_units` is written minor_units(.amount;.currency)",
            "minor_units(.amount; .currency)",
        ),
        (
            ".a | split()",
            "`split` is written split(\" \")",
            ".a | split(\" \") | first",
        ),
        (
            ".a | join()",
            "`join` is written join(\", \")",
            ".a | join(\", \")",
        ),
        (
            ".a | has()",
            "`has` is written has(\"name\")",
            ".a | has(\"name\")",
        ),
        (
            ".a | map()",
            "`map` is written map(.name)",
            ".a | map(.name) | first",
        ),
        (
            ".a | select()",
            "`select` is written select(.primary)",
            ".a | select(.primary)",
        ),
        (
            ".a | sort_by()",
            "`sort_by` is written sort_by(.date)",
            ".a | sort_by(.date) | last",
        ),
        (
            ".a | with_entries()",
            "`with_entries` is written with_entries(select(.key != \"name\"))",
            ".a | with_entries(select(.key != \"name\"))",
        ),
        (
            ".a | header()",
            "`header` is written header(\"x-topic\")",
            ".a",
        ),
        (
            ".a | e164()",
            "write `e164` without the empty parentheses",
            ".a | e164",
        ),
        // FAULTS N1202: notation with a wrong value and without an error.
        (
            "(.data.mobile ?? .data.phone) | e164(\"US\")",
            "write `//` instead of `??`",
            "(.data.mobile // .data.phone) | e164(\"US\")",
        ),
        (
            "\"\\(.a ?? .b)\"",
            "write `//` instead of `??`",
            "\"\\(.a // .b)\"",
        ),
        (
            "\"{.data.first_name}\"",
            "replaces nothing in it",
            "\"\\(.data.first_name)\"",
        ),
        (
            "\"Mr. .data.first_name\"",
            "replaces nothing in it",
            "\"Mr. \\(.data.first_name)\"",
        ),
        (
            ".tags | any(. == \"VIP\" or \"vip\")",
            "the text \"vip\" after `or` is not compared, and a text is always true",
            ".tags | any(. == \"VIP\" or . == \"vip\")",
        ),
        (
            ".tier == \"gold\" or .tier == \"silver\" or \"black\"",
            "the text \"black\" after `or` is not compared",
            ".tier == \"gold\" or .tier == \"silver\" or .tier == \"black\"",
        ),
        (
            "if .a != \"x\" and \"y\" then .b end",
            "the text \"y\" after `and` is not compared",
            "if .a != \"x\" and .a != \"y\" then .b end",
        ),
    ];

    /// FAULTS N1200, N1201, N1202: the error names the true cause, and the bridge accepts the remedy.
    #[test]
    fn the_remedy_of_an_error_is_accepted() {
        for (wrong, expected, remedy) in REMEDIES {
            let compile = |code: &str| Mapping::compile(&rules(&[("metadata.k", code)]));
            let errors = compile(wrong).unwrap_err();
            assert_eq!(errors.len(), 1, "{wrong}: {errors:?}");
            assert!(errors[0].reason.contains(expected), "{wrong}: {errors:?}");
            assert!(compile(remedy).is_ok(), "{remedy}: {:?}", compile(remedy));
        }
    }

    /// FAULTS N1202: braces and dots that are no path stay a text.
    #[test]
    fn a_constant_text_that_is_no_path_is_allowed() {
        for text in ["\"{a}\"", "\"a.b.c\"", "\"see .com\"", "\"{.} .5.6\""] {
            let compiled = Mapping::compile(&rules(&[("metadata.k", text)]));
            assert!(compiled.is_ok(), "{text}: {compiled:?}");
        }
    }

    /// FAULTS N397: a path after a function whose result has members, or a part of a text, is no mistake.
    #[test]
    fn a_path_after_a_function_with_members_is_allowed() {
        for expression in [
            "(.a | not)",
            ".tags | first.name",
            "last.name",
            ".v | lower[0:3]",
            "(.v | split(\",\"))[0]",
            ".v | split(\",\")[0]",
        ] {
            let compiled = Mapping::compile(&rules(&[("metadata.k", expression)]));
            assert!(compiled.is_ok(), "{expression}: {compiled:?}");
        }
    }

    /// FAULTS N397
    #[test]
    fn a_term_outside_the_language_is_refused_by_name() {
        for (expression, name) in REFUSED {
            let errors = Mapping::compile(&rules(&[("email", expression)])).unwrap_err();
            assert!(errors[0].reason.contains(name), "{expression}: {errors:?}");
        }
    }

    #[test]
    fn a_deep_expression_does_not_overflow_the_stack() {
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
