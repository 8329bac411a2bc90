//! Compiles a function call of a mapping expression, such as `e164("US")`.

use std::sync::Arc;

use jaq_core::load::parse::Term;
use jaq_core::path::{Opt, Part, Path};
use serde_json::Value;

use super::LookupTables;
use super::function::calendar::EpochUnit;
use super::function::text::LineSelector;
use super::function::{self, Function, FunctionCall, Parameters, Signature, phone};
use super::syntax::{constant, first_slice, is_constant};
use crate::spelling;

/// The maximum number of lines that the function `line` accepts in a text: no address has more than 9 lines.
const LINES_MAX: usize = 9;

/// The reason why the bridge cannot compile a function call.
#[derive(Debug)]
pub(super) struct CallError<'c> {
    /// The text of the wrong argument. `None` means that all arguments of the call are wrong, or that the syntax tree
    /// does not keep the text of the argument.
    pub(super) slice: Option<&'c str>,
    pub(super) reason: String,
}

/// The functions of jq whose result is never an object or a list.
const PLAIN_RESULTS: [&str; 6] = ["all", "any", "has", "join", "length", "not"];

/// Returns the error of a function that stands before its input, such as `not .a`.
///
/// jq reads `not .a` as the member `a` of the result of `not`. A result without members makes this certainly a mistake.
/// A range such as `lower[0:3]` is a part of a text, and no mistake.
pub(super) fn input_on_the_right<'c>(
    from: &Term<&'c str>,
    path: &Path<Term<&'c str>>,
) -> Option<CallError<'c>> {
    let Term::Call(name, arguments) = from else {
        return None;
    };
    if !matches!(path.0.first()?, (Part::Index(_), _)) {
        return None;
    }
    if !PLAIN_RESULTS.contains(name) && function::find(name).is_none() {
        return None;
    }
    let arguments: Vec<_> = arguments.iter().map(printed).collect();
    let call = if arguments.is_empty() {
        (*name).to_owned()
    } else {
        format!("{name}({})", arguments.join("; "))
    };
    let steps: String = path.0.iter().map(printed_step).collect();
    let dot = if steps.starts_with('[') { "." } else { "" };
    let input = format!("{dot}{steps}");
    Some(CallError {
        slice: Some(name),
        reason: format!(
            "a function reads its input from the left; write `({input} | {call})` instead of `{call} {input}`"
        ),
    })
}

/// Returns the correction of a call that has its input in its parentheses, such as `upper(.x)` instead of `.x | upper`.
/// `usage` is the correct call, if the remaining arguments do not give it. Returns `None` for a call without arguments.
pub(super) fn input_in_parentheses(
    name: &str,
    arguments: &[Term<&str>],
    usage: &str,
) -> Option<String> {
    let (input, others) = arguments.split_first()?;
    let input = printed_input(input);
    let list = input.strip_suffix('?').unwrap_or(&input);
    let list = list.strip_suffix("[]").unwrap_or(&input);
    let read = match name {
        "last" if list.contains(['|', '…']) || list.contains("[]") => format!("[{input}]"),
        "last" => list.to_owned(),
        _ => input.clone(),
    };
    let others: Vec<String> = others.iter().map(printed_input).collect();
    let (others, written) = match others.join("; ") {
        others if others.is_empty() => (usage.to_owned(), input.clone()),
        others => (format!("{name}({others})"), format!("{input}; {others}")),
    };
    Some(format!(
        "a function reads its input from the left; write `{read} | {others}` instead of `{name}({written})`"
    ))
}

/// Returns the notation of a path or of a constant, or `…` for another term.
fn printed_input(term: &Term<&str>) -> String {
    if matches!(term, Term::Id) {
        return ".".to_owned();
    }
    let Term::Path(from, path) = term else {
        return printed(term);
    };
    if !matches!(from.as_ref(), Term::Id) {
        return printed(term);
    }
    let steps: String = path.0.iter().map(printed_step).collect();
    let dot = if steps.starts_with('[') { "." } else { "" };
    format!("{dot}{steps}")
}

/// Returns the error of a call of `any` or `all` at the beginning of an expression whose condition reads the items of a list of
/// the event, such as `any(.emails[].value)`. The function would test each member of the event.
pub(super) fn items_of_event(name: &str, condition: &Term<&str>) -> Option<String> {
    let Term::Path(from, path) = condition else {
        return None;
    };
    let is_items = |(part, _): &(Part<Term<&str>>, Opt)| matches!(part, Part::Range(None, None));
    let end = path.0.iter().position(is_items).filter(|end| *end > 0)?;
    if !matches!(name, "any" | "all") || !matches!(from.as_ref(), Term::Id) {
        return None;
    }
    let (list, rest) = path.0.split_at_checked(end)?;
    let list: String = list.iter().map(printed_step).collect();
    let rest: String = rest.iter().skip(1).map(printed_step).collect();
    let rest = if rest.is_empty() { "." } else { &rest };
    Some(format!(
        "`{name}` tests each item of the list before a pipe: write `{list} | {name}({rest})`"
    ))
}

fn printed_step((part, optional): &(Part<Term<&str>>, Opt)) -> String {
    let step = match part {
        Part::Index(index) => match constant(index) {
            Some(name) if is_identifier(&name) => format!(".{name}"),
            Some(_) => format!(".{}", printed(index)),
            None => format!("[{}]", printed(index)),
        },
        Part::Range(None, None) => "[]".to_owned(),
        Part::Range(from, to) => {
            let bound = |term: &Option<_>| term.as_ref().map(printed).unwrap_or_default();
            format!("[{}:{}]", bound(from), bound(to))
        }
    };
    let sign = if matches!(optional, Opt::Optional) {
        "?"
    } else {
        ""
    };
    format!("{step}{sign}")
}

/// Returns the notation of a constant, or `…` for another term.
fn printed(term: &Term<&str>) -> String {
    if let Term::Num(number) = term {
        return (*number).to_owned();
    }
    constant(term).map_or_else(|| "…".to_owned(), |text| Value::from(text).to_string())
}

fn is_identifier(name: &str) -> bool {
    let is_sign = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    name.bytes().all(is_sign) && name.starts_with(|first: char| !first.is_ascii_digit())
}

/// Compiles the call of a mapping function that converts its input, such as `e164("US")`.
///
/// # Errors
/// Returns an error if the function does not take the given arguments.
pub(super) fn function_call<'c>(
    signature: &'static Signature,
    arguments: &[Term<&'c str>],
    tables: &LookupTables,
) -> Result<FunctionCall, CallError<'c>> {
    let function = match (signature.parameters, arguments) {
        (Parameters::Nothing(apply), []) => Function::Text(apply),
        (Parameters::Anything(apply), []) => Function::Value(apply),
        (Parameters::Whole(apply), []) => Function::Whole(apply),
        (Parameters::Region, []) => Function::Phone(None),
        (Parameters::Region, [code]) => region(signature, code)?,
        (Parameters::Table, [name]) => table(signature, name, tables)?,
        (Parameters::Unit, [name]) => unit(signature, name)?,
        (Parameters::Line, [number, of]) => line(signature, number, of)?,
        (
            Parameters::Nothing(_)
            | Parameters::Anything(_)
            | Parameters::Whole(_)
            | Parameters::Unit
            | Parameters::Line
            | Parameters::Region
            | Parameters::Table
            | Parameters::Expressions(_),
            _,
        ) => {
            return Err(CallError {
                slice: None,
                reason: wrong_arguments(signature, arguments),
            });
        }
    };
    Ok(FunctionCall {
        name: signature.name,
        function,
    })
}

fn usage(signature: &Signature) -> String {
    format!("`{}` is written {}", signature.name, signature.usage)
}

/// Returns the reason why a call has wrong arguments. Only a function with a parameter can have a constant argument.
fn wrong_arguments(signature: &Signature, arguments: &[Term<&str>]) -> String {
    let has_parameter = match signature.parameters {
        Parameters::Nothing(_) | Parameters::Anything(_) | Parameters::Whole(_) => false,
        Parameters::Unit | Parameters::Line | Parameters::Region | Parameters::Table => true,
        Parameters::Expressions(_) => return usage(signature),
    };
    if let [argument] = arguments
        && has_parameter
        && let Some(reason) = without_quotes(signature.name, argument)
    {
        return format!("{}; {reason}", usage(signature));
    }
    let is_input = arguments.first().is_some_and(|first| !is_constant(first));
    let call = signature.usage.rsplit(" or ").next();
    let correction = (!has_parameter || is_input)
        .then(|| input_in_parentheses(signature.name, arguments, call.unwrap_or_default()));
    match correction.flatten() {
        Some(correction) if is_input => correction,
        // After a pipe, the function has its input already.
        Some(correction) => format!("{correction}; `{}` takes no argument", signature.name),
        None => usage(signature),
    }
}

/// Returns the error of a call with arguments that the function does not take, if the call stands after a pipe. The function
/// has its input already, so the argument is not the input. Returns `None` if the argument can be the input all the same.
pub(super) fn wrong_after_pipe(signature: &Signature, arguments: &[Term<&str>]) -> Option<String> {
    let are_constant = !arguments.is_empty() && arguments.iter().all(is_constant);
    match (signature.parameters, arguments) {
        (Parameters::Nothing(_) | Parameters::Anything(_) | Parameters::Whole(_), _)
            if are_constant =>
        {
            let written: Vec<String> = arguments.iter().map(printed).collect();
            let (name, written) = (signature.name, written.join("; "));
            Some(format!(
                "`{name}` takes no argument: write {name} instead of {name}({written})"
            ))
        }
        (Parameters::Region, [Term::Path(..)]) => Some(format!(
            "{}, and the region is a constant: for a region that the event states, write a condition such as if .country_code == \"US\" then .phone | e164(\"US\") else .phone | e164 end",
            usage(signature)
        )),
        (Parameters::Unit | Parameters::Table, [Term::Path(..)]) => {
            Some(format!("{}, with a constant text", usage(signature)))
        }
        _ => None,
    }
}

/// Returns the error of an argument that is a word without quotes, such as `DE` in `e164(DE)`.
pub(super) fn without_quotes(name: &str, argument: &Term<&str>) -> Option<String> {
    let Term::Call(word, inner) = argument else {
        return None;
    };
    (inner.is_empty() && !is_constant(argument)).then(|| {
        format!("a text stands in quotes: write {name}(\"{word}\") instead of {name}({word})")
    })
}

fn wrong_argument<'c>(argument: &Term<&'c str>, reason: String) -> CallError<'c> {
    CallError {
        slice: first_slice(argument),
        reason,
    }
}

fn region<'c>(signature: &Signature, code: &Term<&'c str>) -> Result<Function, CallError<'c>> {
    let text = constant(code).ok_or_else(|| {
        let reason = wrong_arguments(signature, std::slice::from_ref(code));
        wrong_argument(code, reason)
    })?;
    let region = phone::region(&text).ok_or_else(|| {
        let suggestion = match function::country::alpha3(&text).as_ref().map(Value::as_str) {
            Ok(Some(alpha3)) => rust_iso3166::from_alpha3(alpha3)
                .map(|country| format!("; did you mean \"{}\"?", country.alpha2)),
            Ok(None) | Err(_) => None,
        };
        let reason = format!(
            "a region is the ISO 3166 alpha-2 code of a country, in upper case{}",
            suggestion.unwrap_or_default()
        );
        wrong_argument(code, reason)
    })?;
    Ok(Function::Phone(Some(region)))
}

fn unit<'c>(signature: &Signature, name: &Term<&'c str>) -> Result<Function, CallError<'c>> {
    let unit = constant(name).and_then(|name| EpochUnit::parse(&name));
    unit.map(Function::Moment).ok_or_else(|| {
        let reason = if is_constant(name) {
            format!(
                "{} (milliseconds), with \"s\" (seconds), or with \"us\" (microseconds)",
                usage(signature)
            )
        } else {
            wrong_arguments(signature, std::slice::from_ref(name))
        };
        wrong_argument(name, reason)
    })
}

fn line<'c>(
    signature: &Signature,
    number: &Term<&'c str>,
    of: &Term<&'c str>,
) -> Result<Function, CallError<'c>> {
    let parsed = |term: &Term<&'c str>| {
        if let Term::Num(text) = term {
            text.parse().ok()
        } else {
            None
        }
    };
    let line = parsed(number).zip(parsed(of));
    let line = line.filter(|(number, of)| (1..=*of).contains(number) && *of <= LINES_MAX);
    let (number, of) = line.ok_or_else(|| {
        let reason = format!("{}: line 1 of at most 2 lines", usage(signature));
        wrong_argument(number, reason)
    })?;
    Ok(Function::Line(LineSelector { number, of }))
}

fn table<'c>(
    signature: &Signature,
    name: &Term<&'c str>,
    tables: &LookupTables,
) -> Result<Function, CallError<'c>> {
    let text = constant(name).ok_or_else(|| {
        let reason = wrong_arguments(signature, std::slice::from_ref(name));
        wrong_argument(name, reason)
    })?;
    let table = tables.get(&text).ok_or_else(|| {
        let names: Vec<_> = tables.keys().map(String::as_str).collect();
        let reason = if names.is_empty() {
            format!("there is no table {text}; add [tables.{text}] to the source file")
        } else {
            let suggestion = spelling::suggestion(&text, names.iter().copied());
            format!(
                "there is no table {text}; there is {}{suggestion}",
                names.join(", ")
            )
        };
        wrong_argument(name, reason)
    })?;
    Ok(Function::Lookup(Arc::clone(table)))
}
