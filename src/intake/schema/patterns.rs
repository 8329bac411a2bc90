//! The regular expressions of schemas: their limits, their sizes, and the cause if one of them cannot be used.

use std::collections::BTreeSet;

use jsonschema::{PatternOptions, Regex};
use serde_json::{Value, json};

/// The maximum size of a compiled pattern. A repetition in a repetition multiplies the size: `((a{99}){99}){99}` would
/// need a hundred megabytes.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// The sizes that the bridge tells apart, in ascending order. A pattern counts with the first size that is enough.
const SIZES: [usize; 4] = [16 * 1024, 64 * 1024, 256 * 1024, PATTERN_BYTES_MAX];
/// The maximum size of the states that the matcher of one pattern remembers. Each thread remembers the states of each
/// pattern. With the default of 2 MiB, a sender could fill the memory with texts for a few hundred patterns. The matcher
/// takes linear time with any number of states.
const STATES_BYTES_MAX: usize = 64 * 1024;

/// The signs of look-around and back references, which the bridge does not have.
const BACKTRACKING: [&str; 5] = ["(?=", "(?!", "(?<=", "(?<!", "\\k<"];

/// The size of a schema before the bridge compiles it.
#[derive(Debug, Default)]
pub struct SchemaSize {
    /// The number of JSON values in the document.
    pub values: usize,
    /// The different patterns in the document.
    pub patterns: BTreeSet<String>,
}

impl SchemaSize {
    /// Measures a document.
    pub fn of(document: &Value) -> Self {
        let mut size = Self::default();
        size.add(document);
        size
    }

    fn add(&mut self, value: &Value) {
        self.values += 1;
        match value {
            Value::Object(members) => {
                self.patterns.extend(patterns_in(members));
                members.values().for_each(|member| self.add(member));
            }
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn patterns_in(members: &serde_json::Map<String, Value>) -> impl Iterator<Item = String> {
    let pattern = members.get("pattern").and_then(Value::as_str);
    let names = members.get("patternProperties").and_then(Value::as_object);
    let names = names.into_iter().flat_map(|names| names.keys());
    pattern.map(str::to_owned).into_iter().chain(names.cloned())
}

/// Returns the options of the validator for patterns.
pub(super) fn options() -> PatternOptions<Regex> {
    limited(PATTERN_BYTES_MAX)
}

fn limited(bytes_max: usize) -> PatternOptions<Regex> {
    let options = PatternOptions::regex().size_limit(bytes_max);
    options.dfa_size_limit(STATES_BYTES_MAX)
}

/// Returns the size of a compiled pattern, rounded up. A pattern that does not compile has no size: the error of its schema
/// names it.
pub fn pattern_bytes(pattern: &str) -> usize {
    let fits = |size: &usize| compiles(pattern, *size);
    SIZES.into_iter().find(fits).unwrap_or_default()
}

/// Returns the reason why a pattern does not compile.
pub(super) fn reason(pattern: &str) -> String {
    if let Some(flaw) = flaw(pattern) {
        return format!("the pattern is no regular expression: {flaw}");
    }
    if is_supported(pattern) && is_too_large(pattern) {
        return format!(
            "the pattern is too large: compiled, a pattern has at most {PATTERN_BYTES_MAX} bytes. A number in braces repeats a part that often, so write + or * instead, and limit the length with maxLength"
        );
    }
    "the pattern is no regular expression of the bridge, which has neither look-around nor back references, knows only the classes of Unicode, and nests groups less than 250 deep".to_owned()
}

/// Returns the most usual mistake in the syntax of a pattern without look-around and back references.
fn flaw(pattern: &str) -> Option<&'static str> {
    if refers_back(pattern) || BACKTRACKING.iter().any(|sign| pattern.contains(sign)) {
        return None;
    }
    let (mut open, mut is_set, mut can_repeat) = (0_usize, false, false);
    let mut signs = pattern.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' if signs.next().is_none() => return Some("a `\\` at its end escapes nothing"),
            ']' if is_set => is_set = false,
            _ if is_set => {}
            '[' => {
                is_set = true;
                // A `]` directly after the beginning of a set is a character of the set.
                let rest = signs.as_str();
                let start = rest.strip_prefix('^').unwrap_or(rest);
                signs = start.strip_prefix(']').unwrap_or(start).chars();
            }
            '(' => open = open.saturating_add(1),
            ')' if open == 0 => return Some("a `)` closes nothing"),
            ')' => open = open.saturating_sub(1),
            '*' | '+' | '?' if !can_repeat => {
                return Some(
                    "nothing stands before a `*`, `+` or `?` that it can repeat; any text is `.*`",
                );
            }
            _ => {}
        }
        can_repeat = !matches!(sign, '(' | '|' | '^');
        if sign == '(' && signs.as_str().starts_with('?') {
            signs.next();
        }
    }
    if is_set {
        Some("a `[` has no `]`")
    } else if open > 0 {
        Some("a `(` has no `)`")
    } else {
        None
    }
}

fn refers_back(pattern: &str) -> bool {
    let mut escapes = pattern.split('\\').skip(1);
    escapes.any(|escape| escape.starts_with(|sign| matches!(sign, '1'..='9')))
}

/// Returns whether the bridge could use a pattern if it was smaller.
fn is_supported(pattern: &str) -> bool {
    let mut options = jsonschema::options().should_validate_formats(true);
    options = options.offline();
    let syntax = options.build(&json!({"format": "regex"}));
    let is_regex = syntax.is_ok_and(|syntax| syntax.is_valid(&json!(pattern)));
    is_regex && !refers_back(pattern) && !BACKTRACKING.iter().any(|sign| pattern.contains(sign))
}

/// Returns whether the size is the only fault of a pattern: zero repetitions of the pattern compile to nothing, but have the
/// same syntax.
fn is_too_large(pattern: &str) -> bool {
    compiles(&format!("(?:{pattern}){{0}}"), PATTERN_BYTES_MAX)
}

fn compiles(pattern: &str, bytes_max: usize) -> bool {
    let mut options = jsonschema::options().with_pattern_options(limited(bytes_max));
    options = options.offline();
    options.build(&json!({"pattern": pattern})).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N792, N1091: the cause of a pattern that does not compile is its size, or its syntax.
    #[test]
    fn a_pattern_that_is_too_large_has_another_cause_than_a_wrong_one() {
        let classes = "\\p{L}".repeat(1_000);
        let groups = ["(", "a", ")"].map(|part| part.repeat(3_000)).concat();
        for (pattern, is_large) in [
            ("^((a{99}){99}){99}$", true),
            (classes.as_str(), true),
            ("\\p{Foo}", false),
            ("\\p{Foo}{9999}", false),
            ("\\ud800", false),
            (groups.as_str(), false),
            ("^.{1,65536}x", true),
            ("(?=x)", false),
            ("(?<!x)y", false),
            ("(a)\\1", false),
            ("[", false),
        ] {
            assert_eq!(pattern_bytes(pattern), 0, "{pattern}");
            let found = reason(pattern);
            assert_eq!(found.contains("too large"), is_large, "{pattern}: {found}");
        }
    }

    /// FAULTS N1052: the message names the mistake in a pattern.
    #[test]
    fn a_wrong_pattern_has_its_cause() {
        for (pattern, expected) in [
            ("^[0-9{5}$", "a `[` has no `]`"),
            ("*abc", "nothing stands before"),
            ("a|*b", "nothing stands before"),
            ("(ab", "a `(` has no `)`"),
            ("ab)", "a `)` closes nothing"),
            ("ab\\", "escapes nothing"),
            ("(?=x)", "neither look-around"),
            ("(a)\\1", "neither look-around"),
            ("[]", "a `[` has no `]`"),
            ("(?:[", "a `[` has no `]`"),
        ] {
            let found = reason(pattern);
            assert!(found.contains(expected), "{pattern}: {found}");
        }
        for pattern in ["^(?:a|b)+[])*]?$", "\\(a\\)*", "^(?P<n>x*)$"] {
            assert_eq!(flaw(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn an_ordinary_pattern_has_the_least_size() {
        for pattern in [
            "^[A-Z]{2}$",
            "^[a-z0-9._%+-]+@[a-z0-9.-]+\\.[a-z]{2,}$",
            "^\\+?[0-9 ()-]{7,20}$",
        ] {
            assert_eq!(pattern_bytes(pattern), SIZES[0], "{pattern}");
        }
    }

    #[test]
    fn a_document_is_measured_before_it_is_compiled() {
        let size = SchemaSize::of(&json!({
            "properties": {"a": {"pattern": "x"}, "b": {"pattern": "x"}, "pattern": {"type": "string"}},
            "patternProperties": {"^y": {}},
        }));
        assert_eq!(
            size.patterns,
            BTreeSet::from(["x".to_owned(), "^y".to_owned()])
        );
        assert_eq!(size.values, 10);
    }
}
