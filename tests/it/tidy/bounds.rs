//! The bounds of the code: the constants that limit something, with their value and their reason.

use std::collections::BTreeMap;
use std::fs;

use super::source::{files_below, root};

/// The parts of a name that make a numeric constant a bound.
const PARTS: [&str; 10] = [
    "MAX",
    "MIN",
    "DEADLINE",
    "TIMEOUT",
    "LIMIT",
    "TOLERANCE",
    "WINDOW",
    "STEPS",
    "SHARE",
    "BYTES",
];
/// A bound of the code.
#[derive(Clone)]
pub(super) struct Bound {
    /// The module and the name, such as `event::json::DEPTH_MAX`.
    pub(super) name: String,
    pub(super) value: String,
    /// The doc comment of the constant.
    pub(super) meaning: String,
}

/// A constant of the code.
struct Constant {
    module: String,
    name: String,
    kind: String,
    expression: String,
    doc: String,
}

/// The value of a constant: a number, or a duration in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Whole(i128),
    Float(f64),
    Millis(i128),
}

/// Returns all bounds, sorted by their name.
pub(super) fn all() -> Vec<Bound> {
    let constants = constants();
    let mut by_name: BTreeMap<&str, Vec<&Constant>> = BTreeMap::new();
    for constant in &constants {
        by_name.entry(&constant.name).or_default().push(constant);
    }
    let bounds = constants.iter().filter(|constant| is_bound(constant));
    let mut bounds: Vec<Bound> = bounds
        .map(|constant| Bound {
            name: format!("{}::{}", constant.module, constant.name),
            value: value(constant, &by_name),
            meaning: constant.doc.clone(),
        })
        .collect();
    bounds.sort_by(|one, other| one.name.cmp(&other.name));
    bounds
}

fn is_bound(constant: &Constant) -> bool {
    let mut parts = constant.name.split('_');
    let is_text_or_list = constant.kind.starts_with(['&', '[']);
    let is_limit = constant.kind.ends_with("Duration") || parts.any(|part| PARTS.contains(&part));
    is_limit && !is_text_or_list
}

fn constants() -> Vec<Constant> {
    let folder = root().join("src");
    let mut constants = Vec::new();
    for path in files_below(&folder) {
        let relative = path.strip_prefix(&folder).unwrap().to_str().unwrap();
        let is_test = relative.contains("/tests/") || relative.ends_with("/tests.rs");
        if is_test || relative == "failpoint.rs" {
            continue;
        }
        let module = relative.trim_end_matches(".rs").replace('/', "::");
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let mut doc: Vec<&str> = Vec::new();
        for (at, line) in lines(code) {
            if let Some(text) = line.strip_prefix("///") {
                doc.push(text.trim());
            } else if let Some((name, kind, expression)) = declaration(line, &code[at..]) {
                constants.push(Constant {
                    module: module.clone(),
                    name,
                    kind,
                    expression,
                    doc: paragraphs(&doc),
                });
                doc.clear();
            } else if !line.starts_with("#[") {
                doc.clear();
            }
        }
    }
    constants
}

/// Returns each line with its position in the text.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        (start, line.trim_end())
    })
}

/// Parses the declaration of a constant outside functions.
fn declaration(line: &str, code: &str) -> Option<(String, String, String)> {
    let rest = line.strip_prefix("pub").map_or(line, |rest| {
        rest.strip_prefix('(')
            .map_or(rest, |rest| rest.split_once(')').unwrap().1)
    });
    rest.trim_start().strip_prefix("const ")?;
    let declaration = code.split_once("const ")?.1.split_once(';')?.0;
    let (name, rest) = declaration.split_once(':')?;
    let (kind, expression) = rest.split_once(" =")?;
    Some((
        name.to_owned(),
        kind.trim().to_owned(),
        expression.trim().to_owned(),
    ))
}

/// Joins the lines of a doc comment, without the brackets of links.
fn paragraphs(doc: &[&str]) -> String {
    doc.join(" ")
        .replace("  ", " ")
        .replace("[`", "`")
        .replace("`]", "`")
}

fn value(constant: &Constant, known: &BTreeMap<&str, Vec<&Constant>>) -> String {
    let shown = |expression: &str| {
        let number = evaluate(expression, constant, known)?;
        Some(format_number(number, constant))
    };
    if let Some((least, most)) = constant.expression.split_once("..=")
        && let (Some(least), Some(most)) = (shown(least), shown(most))
    {
        return format!("{least} to {most}");
    }
    shown(&constant.expression).unwrap_or_else(|| format!("`{}`", constant.expression))
}

/// Evaluates products, shifts, quotients and sums of numbers and constants, from the operator that binds least.
fn evaluate(
    expression: &str,
    constant: &Constant,
    known: &BTreeMap<&str, Vec<&Constant>>,
) -> Option<Number> {
    let expression = expression.trim();
    let units = [
        ("from_millis(", 1),
        ("from_secs(", 1_000),
        ("from_mins(", 60_000),
        ("from_hours(", 3_600_000),
    ];
    for (unit, millis) in units {
        if let Some((_, inner)) = expression
            .split_once(unit)
            .filter(|(start, _)| start.ends_with("Duration::"))
        {
            let Number::Whole(count) = evaluate(inner.trim_end_matches(')'), constant, known)?
            else {
                return None;
            };
            return Some(Number::Millis(count * millis));
        }
    }
    if let Some((base, exponent)) = expression.split_once(".pow(") {
        let base = evaluate(base, constant, known)?;
        let exponent = evaluate(exponent.trim_end_matches(')'), constant, known)?;
        return apply("pow", base, exponent);
    }
    for operator in [" << ", " + ", " * ", " / "] {
        if let Some((left, right)) = expression.rsplit_once(operator) {
            let left = evaluate(left, constant, known)?;
            let right = evaluate(right, constant, known)?;
            return apply(operator.trim(), left, right);
        }
    }
    match expression {
        "u64::MAX" => return Some(Number::Whole(i128::from(u64::MAX))),
        "Duration::ZERO" => return Some(Number::Millis(0)),
        _ => {}
    }
    let digits = expression.trim_end_matches("_u128").replace('_', "");
    if let Ok(whole) = digits.parse() {
        return Some(Number::Whole(whole));
    }
    if let Ok(float) = digits.parse() {
        return Some(Number::Float(float));
    }
    let found = known.get(expression)?;
    let same = |found: &&&Constant| found.module == constant.module;
    let other = found.iter().find(same).or_else(|| found.first())?;
    evaluate(&other.expression, other, known)
}

fn apply(operator: &str, left: Number, right: Number) -> Option<Number> {
    match (left, right) {
        (Number::Whole(left), Number::Whole(right)) => Some(Number::Whole(match operator {
            "<<" => left << right,
            "*" => left * right,
            "/" => left / right,
            "pow" => left.pow(right.try_into().ok()?),
            _ => left + right,
        })),
        (Number::Float(left), Number::Float(right)) if operator == "/" => {
            Some(Number::Float(left / right))
        }
        _ => None,
    }
}

fn format_number(number: Number, constant: &Constant) -> String {
    match number {
        Number::Float(float) => format!("{float:.4}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        Number::Millis(millis) => span(millis),
        Number::Whole(whole) => {
            let is_bytes = constant.name.contains("BYTES");
            let units = [(1_i128 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
            let unit = units
                .iter()
                .find(|(size, _)| is_bytes && whole >= *size && whole % size == 0);
            match unit {
                Some((size, unit)) => format!("{} {unit}", grouped(whole / size)),
                None if is_bytes => format!("{} bytes", grouped(whole)),
                None => grouped(whole),
            }
        }
    }
}

fn span(millis: i128) -> String {
    let units = [
        (86_400_000, "days"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ];
    let unit = units.iter().find(|(size, unit)| {
        let least = if *unit == "days" { 2 * size } else { *size };
        millis >= least && millis % size == 0
    });
    match unit {
        Some((size, unit)) => format!("{} {unit}", grouped(millis / size)),
        None => format!("{millis} ms"),
    }
}

/// Formats a number with a comma after every three digits.
fn grouped(whole: i128) -> String {
    let digits = whole.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        if index > 0 && left.is_multiple_of(3) && digit != '-' {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[test]
fn every_bound_has_a_value_and_a_reason() {
    let bounds = all();
    assert!(bounds.len() > 150, "only {} bounds", bounds.len());
    let wrong = bounds
        .iter()
        .filter(|bound| bound.meaning.is_empty() || bound.value.starts_with('`'));
    let wrong = wrong.map(|bound| format!("{}: {} {:?}", bound.name, bound.value, bound.meaning));
    super::assert_none(&wrong.collect::<Vec<_>>());
    for (name, value) in [
        ("event::json::DEPTH_MAX", "32"),
        ("event::json::STRING_BYTES_MAX", "64 KiB"),
        ("config::ingress::BODIES_BYTES_MAX", "4 GiB"),
        ("config::DEADLINE_MIN", "50 ms"),
        ("http::retry_after::RETRY_AFTER_MAX", "1 h"),
        ("outbox::ledger::LOAD_MAX", "500"),
    ] {
        let found = bounds.iter().find(|bound| bound.name == name);
        assert_eq!(
            found.map(|bound| bound.value.as_str()),
            Some(value),
            "{name}"
        );
    }
}

/// FAULTS N1158: the page for authors of mappings repeats the limits of the steps.
#[test]
fn the_page_of_the_sources_has_the_limits_of_the_code() {
    let page = fs::read_to_string(root().join("config/sources/REFERENCE.md")).unwrap();
    let bounds = all();
    for (row, name) in [
        ("one interpreted expression", "EXPRESSION_STEPS_MAX"),
        ("all expressions of one event", "EVENT_STEPS_MAX"),
        ("`body.split`", "SPLIT_STEPS_MAX"),
        (
            "the events that `body.split` makes from one body",
            "SPLIT_COPY_STEPS_MAX",
        ),
    ] {
        let name = format!("mapping::budget::{name}");
        let bound = bounds.iter().find(|bound| bound.name == name).unwrap();
        let expected = format!("| {row} | {}", bound.value);
        assert!(page.contains(&expected), "{expected}");
    }
}
