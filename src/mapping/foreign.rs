//! The notation of other languages in an expression that jaq's parser refuses: what the author probably meant.

const NO_TEMPLATE: &str =
    "an expression is not a template; write the path of the member, such as .email";

/// Words and signs of other languages between two values, each with the notation of the mapping language.
const OPERATORS: [(&[&str], &str); 5] = [
    (
        &["is", "eq", "equals", "==="],
        "compare with ==, such as .city == null",
    ),
    (
        &["<>", "ne", "!=="],
        "compare with !=, such as .city != null",
    ),
    (
        &["=~", "~", "like", "matches", "rlike"],
        "regular expressions are not available; use lookup, split, digits or ==",
    ),
    (
        &["in", "contains", "includes"],
        "a list contains the text x if any(. == \"x\") is true; a text can only be compared as a whole, with == or lookup, or cut with split",
    ),
    (
        &["?:"],
        "write `//` for a second value if the first one is null or false, such as .a // .b",
    ),
];
/// The functions that have an argument, each as it is written.
const WITH_ARGUMENT: [(&str, &str); 13] = [
    ("has", "has(\"name\")"),
    ("header", "header(\"x-topic\")"),
    ("join", "join(\", \")"),
    ("line", "line(1; 2)"),
    ("lookup", "lookup(\"table\")"),
    ("map", "map(.name)"),
    ("minor_units", "minor_units(.amount;.currency)"),
    ("moment", "moment(\"ms\")"),
    ("months_since", "months_since(.date;.time)"),
    ("select", "select(.primary)"),
    ("sort_by", "sort_by(.date)"),
    ("split", "split(\" \")"),
    ("with_entries", "with_entries(select(.key != \"name\"))"),
];
/// The keywords of the mapping language that an author possibly writes in upper case.
const KEYWORDS: [&str; 7] = ["and", "or", "if", "then", "elif", "else", "end"];

/// Returns advice about the token `found`, at which the parser stopped. `before` is the expression before the token, and
/// `expected` is the name of the token that the parser expected.
pub(super) fn advice(before: &str, found: &str, expected: &str) -> Option<String> {
    let start = before.trim_end();
    let word = word(found);
    if found.trim().is_empty() && expected.ends_with("end") {
        return Some(open_condition(before));
    }
    if is_template(start, found, expected) {
        return Some(NO_TEMPLATE.to_owned());
    }
    if let Some(advice) = at_an_edge(start, found) {
        return Some(advice);
    }
    if let Some(method) = method(start, found) {
        return Some(method);
    }
    if start.ends_with('(') && found.starts_with(')') {
        let name = last_name(start.trim_end_matches('('));
        return (!name.is_empty()).then(|| without_argument(name));
    }
    let advice = if found.starts_with('!') && !found.starts_with("!=") {
        let is_after_value =
            before.ends_with(|sign: char| sign.is_ascii_alphanumeric() || "_\")]".contains(sign));
        if is_after_value {
            "there is no `!` after a value: delete it, or write `.a | not` or `.a != .b`"
        } else {
            "write `.a | not` instead of `!.a`"
        }
    } else if start.ends_with("??") || found.starts_with("??") {
        "write `//` instead of `??`, such as .a // .b"
    } else if start.ends_with('?') && found.contains(':') {
        "write `if .a then .b else .c end` instead of `.a ? .b : .c`"
    } else if (expected == "then" && found.starts_with('{'))
        || (start.ends_with("case") && word == "when")
    {
        "write `if .a then .b else .c end`"
    } else if expected == "pattern" {
        "the name of a variable begins with a dollar sign, such as `.city as $city | $city`"
    } else if let Some(keyword) = KEYWORDS
        .iter()
        .find(|keyword| is_in_other_case(word, keyword))
    {
        return Some(format!("write `{keyword}` in lower case"));
    } else {
        let is_word = |names: &&(&[&str], &str)| {
            let mut names = names.0.iter();
            names.any(|name| {
                word.eq_ignore_ascii_case(name) || (is_sign(name) && found.starts_with(name))
            })
        };
        match OPERATORS.iter().find(is_word) {
            Some((_, advice)) => advice,
            None => return missing(before, found, expected),
        }
    };
    Some(advice.to_owned())
}

/// Returns the advice about a condition without its `end`.
fn open_condition(code: &str) -> String {
    let words: Vec<&str> = code.split_whitespace().collect();
    if words.windows(2).any(|pair| pair == ["else", "if"]) {
        "write `elif` instead of `else if`, or one more `end`".to_owned()
    } else {
        "the `if` has no `end`".to_owned()
    }
}

/// Returns the advice about the beginning or the end of an expression.
fn at_an_edge(start: &str, found: &str) -> Option<String> {
    if start.is_empty() && found.starts_with('/') {
        let pointer = found.split([' ', '|', ')', '"']).next().unwrap_or_default();
        let names = pointer.split('/').filter(|name| !name.is_empty());
        let path: String = names.map(step).collect();
        return Some(format!("a path begins with a dot: write {path}"));
    }
    if start.is_empty() && found.starts_with('|') {
        return Some(
            "an expression does not begin with `|`: write the path before it, or remove the `|`"
                .to_owned(),
        );
    }
    if start.is_empty() && found.starts_with('=') {
        return Some("an expression does not begin with `=`: remove it".to_owned());
    }
    if found.trim().is_empty() && start.ends_with(',') {
        return Some("the expression ends with a comma: remove it".to_owned());
    }
    if found.starts_with("->") || found.starts_with("::") {
        return Some("write one dot between two names of a path".to_owned());
    }
    if start.ends_with("..") && !word(found).is_empty() {
        let name = word(found);
        return Some(format!(
            "a path has one dot before each name: write .{name}"
        ));
    }
    let operator = open_operator(start).filter(|_| found.trim().is_empty())?;
    Some(format!(
        "the expression ends with `{operator}`: write the second value after it"
    ))
}

/// Returns the step of a path for a part of a JSON Pointer.
fn step(name: &str) -> String {
    let is_of_name = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("[{name}]")
    } else if name.chars().all(is_of_name)
        && !name.starts_with(|first: char| first.is_ascii_digit())
    {
        format!(".{name}")
    } else {
        format!(".\"{name}\"")
    }
}

/// Returns the advice about a call with empty parentheses: the function takes an argument, or no parentheses.
fn without_argument(name: &str) -> String {
    let known = WITH_ARGUMENT.iter().find(|(known, _)| *known == name);
    known.map_or_else(
        || format!("write `{name}` without the empty parentheses"),
        |(_, usage)| format!("`{name}` is written {usage}"),
    )
}

/// Returns the operator at the end of an expression that has no second value.
fn open_operator(start: &str) -> Option<&'static str> {
    let operators = ["//", "==", "!=", " and", " or"].into_iter();
    let found = operators.rev().find(|operator| start.ends_with(operator));
    found.map(str::trim_start)
}

/// Returns whether the expression is a name between the signs of a template, such as `${city}` or `%city%`.
fn is_template(start: &str, found: &str, expected: &str) -> bool {
    let is_object = start.contains(':') || found.contains(':');
    (start.trim().is_empty() && found.starts_with(['%', '<']))
        || (start.ends_with('$') && found.starts_with('{'))
        || (start.starts_with('{') && found.ends_with('}') && !is_object)
        || (start.starts_with("#{") && expected == "term")
}

/// Returns the advice about a sign or a name that is missing at the place of the error, or that stands there without a use.
fn missing(before: &str, found: &str, expected: &str) -> Option<String> {
    let start = before.trim_end();
    let word = word(found);
    let advice = if found.trim().is_empty() && start.ends_with('|') {
        "the expression ends with `|`: write the function after it, or remove the `|`"
    } else if found.trim().is_empty() && start.ends_with('.') {
        "the expression ends with a dot: write the name of the member after it"
    } else if found.trim() == ";" {
        "an expression ends without a semicolon"
    } else if found.starts_with("..") {
        "write one dot between two names of a path"
    } else if found.starts_with('*') && start.ends_with('[') {
        "write `[]` for each item of a list, such as first(.a[]), or `[0]` for the first item"
    } else if start.ends_with('.') && start != before && !word.is_empty() {
        "write the name of the member directly after its dot"
    } else {
        let is_name = word.starts_with(|sign: char| sign.is_ascii_alphabetic());
        let is_known = KEYWORDS
            .iter()
            .any(|keyword| word.eq_ignore_ascii_case(keyword))
            || OPERATORS.iter().any(|(names, _)| names.contains(&word))
            || ["as", "when"].contains(&word);
        return (expected == "nothing" && is_name && !is_known).then(|| {
            format!(
                "a `|` or an operator is missing before `{word}`{}",
                spaced(start, found)
            )
        });
    };
    Some(advice.to_owned())
}

/// Continues the advice with the name of a member that possibly has spaces, such as `.Date of Birth`.
fn spaced(start: &str, found: &str) -> String {
    let first = last_name(start);
    let before = start.get(..start.len().saturating_sub(first.len()));
    if first.is_empty() || !before.is_some_and(|before| before.ends_with('.')) {
        return String::new();
    }
    let is_of_name = |part: &&str| {
        let is_keyword = KEYWORDS.contains(part) || ["as", "|"].contains(part);
        !is_keyword && part.chars().all(|sign| sign.is_ascii_alphanumeric())
    };
    let parts: Vec<&str> = found.split(' ').take_while(is_of_name).collect();
    if parts.is_empty() {
        return String::new();
    }
    format!(
        "; if the name of the member has spaces, write it in double quotes: .\"{first} {}\"",
        parts.join(" ")
    )
}

/// Returns the advice about a call like that of a method, such as `.name.split(" ")`.
fn method(start: &str, found: &str) -> Option<String> {
    let name = last_name(start);
    let path = start.get(..start.len().checked_sub(name.len())?)?;
    let path = path.strip_suffix('.')?;
    let of_path = |sign: char| sign.is_ascii_alphanumeric() || "_.[]\"".contains(sign);
    let begin = path.trim_end_matches(of_path).len();
    let path = path.get(begin..)?;
    let is_call = found.starts_with('(') && !name.is_empty() && path.starts_with('.');
    is_call.then(|| {
        format!(
            "a function stands after a pipe: `{path} | {name}(…)` instead of `{path}.{name}(…)`; config/sources/REFERENCE.md lists the functions"
        )
    })
}

fn last_name(code: &str) -> &str {
    let is_of_name = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
    let start = code.trim_end_matches(is_of_name).len();
    code.get(start..).unwrap_or_default()
}

/// Returns the word at the beginning of a text.
fn word(text: &str) -> &str {
    let is_of_word = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
    let end = text.find(|sign| !is_of_word(sign)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

fn is_sign(name: &str) -> bool {
    !name.starts_with(|sign: char| sign.is_ascii_alphabetic())
}

fn is_in_other_case(word: &str, keyword: &str) -> bool {
    word != keyword && word.eq_ignore_ascii_case(keyword)
}
