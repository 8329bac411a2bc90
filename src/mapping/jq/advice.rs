//! The advice in an error message about a term or a function that the mapping language does not have: what the author
//! probably meant.

use super::super::function::FUNCTIONS;
use super::super::header;
use super::allowed::{ALLOWED, allowed};
use super::replacements::{CALLED_REPLACEMENTS, REPLACEMENTS};
use crate::spelling;

/// Returns advice about the unknown name at `slice` of the expression, or `None` if no advice fits.
pub(super) fn advice(code: &str, slice: Option<&str>, name: &str) -> Option<String> {
    if let Some(advice) = root(code, slice).or_else(|| request_header(code, slice)) {
        return Some(advice);
    }
    if is_text(code) && !is_word(code) {
        return Some(member_or_text(code));
    }
    if let Some(whole) = slice.and_then(|slice| name_with_hyphen(code, slice)) {
        return Some(format!(
            "write a name with a hyphen in double quotes: .\"{whole}\""
        ));
    }
    let bare = slice.and_then(|slice| BareName::of(code, slice));
    if let Some(bare) = &bare
        && bare.is_path()
    {
        return Some(bare.advice());
    }
    let is_of = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if let Some((_, advice)) = REPLACEMENTS.iter().find(|(names, _)| is_of(names)) {
        return Some((*advice).to_owned());
    }
    let is_called = bare
        .as_ref()
        .is_none_or(|bare| bare.place == NamePlace::Function);
    if is_called
        && let Some((_, advice)) = CALLED_REPLACEMENTS.iter().find(|(names, _)| is_of(names))
    {
        return Some((*advice).to_owned());
    }
    if is_text(code) {
        return Some(member_or_text(code));
    }
    if let Some(bare) = &bare
        && bare.place != NamePlace::Function
    {
        return Some(bare.advice());
    }
    let known = FUNCTIONS.iter().map(|known| known.name);
    let known = known.chain(ALLOWED.iter().map(|(known, _)| *known));
    if let Some(nearest) = spelling::nearest(name, known.chain([header::NAME])) {
        return Some(format!("did you mean {nearest}?"));
    }
    bare.map(|bare| match bare.place {
        NamePlace::Function => format!("after a pipe stands a function; {}", allowed()),
        NamePlace::Compared | NamePlace::Value => format!("{}; {}", bare.advice(), allowed()),
    })
}

/// Words of other languages for the whole event.
const ROOTS: [&str; 5] = ["event", "it", "root", "self", "this"];

/// Returns the advice about a path that begins with a word for the event, such as `event.contact.email`.
fn root(code: &str, slice: Option<&str>) -> Option<String> {
    let bare = BareName::of(code, slice?)?;
    let path = path_at_start(bare.after);
    let name = bare.name;
    let is_root = ROOTS.contains(&name) && path.starts_with('.') && path.len() > 1;
    is_root.then(|| {
        format!("a path begins in the event: write {path}; if `{name}` is a member of the event, write .{name}{path}")
    })
}

/// Words of other languages for the headers of the request.
const HEADERS: [&str; 3] = ["header", "headers", "http_headers"];

/// Returns the advice about a header that the author reads like a member, such as `headers["x-topic"]`.
fn request_header(code: &str, slice: Option<&str>) -> Option<String> {
    let bare = BareName::of(code, slice?)?;
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let after = bare.after.trim_start();
    let is_member = HEADERS.contains(&bare.name) && after.starts_with(['.', '[']);
    let name = after.trim_start_matches(['.', '[', '"', '\'', ' ']);
    let name = name.split(|c| !is_of_name(c)).next().unwrap_or_default();
    (is_member && !name.is_empty()).then(|| {
        let call = name.to_ascii_lowercase().replace('_', "-");
        format!(
            "the function header reads a header of the request: write header(\"{call}\"); if `{}` is a member of the event, write .{}",
            bare.name, bare.name
        )
    })
}

/// Returns whether the whole expression is probably a text that lacks its inner quotes, such as `person.update` or
/// `orders/paid`.
pub(super) fn is_text(code: &str) -> bool {
    let code = code.trim();
    let is_of_text = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:".contains(&byte);
    code.starts_with(|first: char| first.is_ascii_alphabetic()) && code.bytes().all(is_of_text)
}

/// Returns whether an expression is a single word.
fn is_word(code: &str) -> bool {
    code.trim().bytes().all(is_of_name)
}

/// Returns the advice about an expression that is a member without its dot, or a text without its inner quotes.
fn member_or_text(code: &str) -> String {
    let code = code.trim();
    let text = format!("if it is a constant text, write the text with inner quotes: '\"{code}\"'");
    if code.bytes().all(|byte| is_of_name(byte) || byte == b'.') {
        format!("if it is a member of the event, write .{code}; {text}")
    } else {
        text
    }
}

/// The place of a name in an expression. The place shows what the author probably meant with the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NamePlace {
    /// After `==` or `!=`, or an argument such as `USD` in `minor_units(.a; USD)`, where a constant text is more probable than a
    /// member.
    Compared,
    /// After `|`.
    Function,
    /// At any other place, where an expression has a value.
    Value,
}

/// A name without a dot or a `$` before it, and without arguments after it.
struct BareName<'c> {
    name: &'c str,
    /// The expression after the name.
    after: &'c str,
    place: NamePlace,
}

impl<'c> BareName<'c> {
    fn of(code: &'c str, slice: &'c str) -> Option<Self> {
        let start = slice.as_ptr().addr().checked_sub(code.as_ptr().addr())?;
        let (before, rest) = code.split_at_checked(start)?;
        let after = rest.get(slice.len()..)?;
        let is_name = slice.bytes().all(is_of_name);
        if !is_name || before.ends_with(['.', '$', '@']) || after.trim_start().starts_with('(') {
            return None;
        }
        let opened = before.trim_end_matches(|c: char| c == '(' || c.is_whitespace());
        let is_text = opened.ends_with("==") || opened.ends_with("!=") || is_argument(before);
        let place = if is_text {
            NamePlace::Compared
        } else if opened.ends_with('|') {
            NamePlace::Function
        } else {
            NamePlace::Value
        };
        Some(Self {
            name: slice,
            after,
            place,
        })
    }

    fn is_path(&self) -> bool {
        path_at_start(self.after).starts_with(['.', '['])
    }

    fn advice(&self) -> String {
        let Self { name, after, .. } = self;
        let path = path_at_start(after);
        let member = format!("if it is a member of the event, write .{name}{path}");
        if self.place != NamePlace::Compared {
            return member;
        }
        let of_text = |c: char| c.is_ascii_alphanumeric() || "_.-/:".contains(c);
        let end = after.find(|c| !of_text(c)).unwrap_or(after.len());
        let text = after.get(..end).unwrap_or_default();
        format!(
            "if it is a constant text, write the text in double quotes: \"{name}{text}\"; {member}"
        )
    }
}

/// The functions whose arguments are values of the event or constants, and no expressions about each item of a list.
const WITH_VALUES: [&str; 7] = [
    "e164",
    "header",
    "join",
    "lookup",
    "minor_units",
    "moment",
    "split",
];

/// Returns whether a name after `before` is an argument of a function that takes values.
fn is_argument(before: &str) -> bool {
    let before = before.trim_end();
    let Some((call, inner)) = before.rsplit_once('(') else {
        return false;
    };
    let is_first = inner.is_empty();
    let function = call
        .rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .next();
    let function = function.unwrap_or_default();
    WITH_VALUES.contains(&function) && (is_first || inner.trim_end().ends_with(';'))
}

/// Returns the rest of a path at the beginning of a text, up to a closing bracket that the path does not open.
fn path_at_start(text: &str) -> &str {
    let mut open = 0_usize;
    let is_end = |c: char| {
        match c {
            '[' => open = open.saturating_add(1),
            ']' if open == 0 => return true,
            ']' => open = open.saturating_sub(1),
            _ => {}
        }
        !(c.is_ascii_alphanumeric() || "_.[]".contains(c))
    };
    let end = text.find(is_end).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

const fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Returns the name with a hyphen that jq reads as a subtraction, such as `e-mail` in `.e-mail`.
fn name_with_hyphen<'c>(code: &'c str, slice: &str) -> Option<&'c str> {
    let is_of_name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    let at = slice.as_ptr().addr().checked_sub(code.as_ptr().addr())?;
    let (before, after) = code.split_at_checked(at)?;
    let start = before.trim_end_matches(is_of_name).len();
    let has_hyphen = before.ends_with('-') && start + 1 < before.len();
    let is_path = before.get(..start)?.ends_with('.');
    let end = after
        .find(|letter| !is_of_name(letter))
        .unwrap_or(after.len());
    let whole = code.get(start..at + end)?;
    (has_hyphen && is_path).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An expression, the unknown name in it, and a part of the advice.
    const NAMES: &[(&str, &str, &str)] = &[
        (".phone | e146(\"US\")", "e146", "did you mean e164?"),
        (".x | lokup(\"t\")", "lokup", "did you mean lookup?"),
        (".x | ascii_downcase", "ascii_downcase", "use lower"),
        (".x | toString", "toString", "use text"),
        (".x | test(\"a\")", "test", "regular expressions"),
        (
            ".x | ltrimstr(\"S\")",
            "ltrimstr",
            "no function removes the beginning",
        ),
        (".x | rtrimstr(\"S\") | upper", "rtrimstr", ".[2:]"),
        (".x | substr(1; 2)", "substr", ".[0:2]"),
        (".x | sort", "sort", "use sort_by(.)"),
        (".x | max", "max", "sort_by(.) | last"),
        (".x | trunc", "trunc", "never rounds"),
        (".x | fromjson | .a", "fromjson", "no JSON inside a text"),
        (".x | capitalize", "capitalize", "use title"),
        // FAULTS N1380
        (".x | from_epoch_ms", "from_epoch_ms", "use moment(\"ms\")"),
        (".x | fromdateiso8601", "fromdateiso8601", "use utc"),
        ("epoch", "epoch", "write .epoch"),
        (".x | ascii", "ascii", "no function replaces letters"),
        (
            ".x | shorten",
            "shorten",
            "after a pipe stands a function; an expression is made of",
        ),
        (
            "if .a == false then None else .a end",
            "None",
            "null, in lower case",
        ),
        (".a == True", "True", "write true in lower case"),
        (".a | NOT", "NOT", "in lower case"),
        (
            "event.contact.email",
            "event",
            "write .contact.email; if `event` is a member",
        ),
        (".a | isEmpty(.b)", "isEmpty", "compare with null"),
        // FAULTS N1341
        (
            "headers[\"x-creatio-entity\"]",
            "headers",
            "write header(\"x-creatio-entity\"); if `headers` is a member",
        ),
        ("headers.X_Topic", "headers", "write header(\"x-topic\")"),
        (
            "iif(.a, .b, .c)",
            "iif",
            "write `if .a then .b else .c end`",
        ),
        ("[[city]]", "city", "write .city"),
        ("[[city[0].x]]", "city", "write .city[0].x"),
        ("max", "max", "write .max"),
        ("left", "left", "write .left"),
        (".e-mail", "mail", ".\"e-mail\""),
        (".a.first-name.b", "name", ".\"first-name\""),
        ("if .a = 1 then .b end", "=", "compare with =="),
        ("email", "email", "write .email"),
        // FAULTS N1479
        (
            "minor_units(.a; USD)",
            "USD",
            "write the text in double quotes: \"USD\"; if it is a member of the event, write .USD",
        ),
        (".phone | e164(US)", "US", "in double quotes: \"US\""),
        ("any(.items[]; active)", "active", "write .active"),
        (".x | frobnicate(1)", "frobnicate", ""),
        (".a - mail", "mail", "write .mail"),
        (
            "person.update",
            "person",
            "write .person.update; if it is a constant text, write the text with inner quotes: '\"person.update\"'",
        ),
        ("update", "update", "'\"update\"'"),
        ("orders/paid", "paid", "inner quotes: '\"orders/paid\"'"),
        ("skip", "skip", "inner quotes: '\"skip\"'"),
        (".tags | contains(\"VIP\")", "contains", "any(. == \"x\")"),
        ("getpath([\"a\"])", "getpath", "such as .data.values"),
        (".emails | filter(.primary)", "filter", "map(select(…))"),
        (".emails | find(.primary)", "find", "first(.[] | select(…))"),
        (".x | phone(\"US\")", "phone", "use e164"),
        ("uuid", "uuid", "use digest"),
    ];

    /// FAULTS N584: an expression that is a text without its inner quotes.
    #[test]
    fn the_advice_names_what_the_author_probably_meant() {
        for (code, name, expected) in NAMES.iter().copied() {
            let slice = code.find(name).and_then(|at| code.get(at..at + name.len()));
            let found = advice(code, slice, name).unwrap_or_default();
            assert!(found.contains(expected), "{code}: {found}");
            assert!(!found.contains("]]"), "{code}: {found}");
            assert_eq!(found.is_empty(), expected.is_empty(), "{code}: {found}");
        }
    }
}
