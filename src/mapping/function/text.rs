//! The text functions of the mapping language: `trim`, `upper`, `lower`, `title`, `digits`, `line`, `lookup`, `text`,
//! `whole`.

use serde_json::Value;

use super::super::error::{ValueError, no_text_or_number};
use super::super::number::{self, EXACT_MAX};
use super::{Conversion, LookupTable};

/// Removes white space from both ends of a text.
pub(super) fn trim(text: &str) -> Conversion {
    Ok(Value::from(text.trim()))
}

pub(super) fn upper(text: &str) -> Conversion {
    Ok(Value::from(text.to_uppercase()))
}

pub(super) fn lower(text: &str) -> Conversion {
    Ok(Value::from(text.to_lowercase()))
}

/// Looks up a text or a whole number in a lookup table. A value that is not in the table is an error, so that the
/// operator learns about new values, such as a new loyalty tier.
pub(super) fn lookup(value: &Value, table: &LookupTable) -> Conversion {
    let entry = match value {
        Value::String(text) => table.get(text),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            table.get(&number.to_string())
        }
        Value::Number(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(ValueError::new(no_text_or_number(value)));
        }
    };
    entry
        .map(|text| Value::from(text.as_str()))
        .ok_or_else(|| ValueError::new(no_entry(value, table)))
}

/// Describes a value without an entry. An entry can differ only in letter case or in white space.
fn no_entry(value: &Value, table: &LookupTable) -> &'static str {
    let text = value.as_str().unwrap_or_default();
    let is_near = |known: &String| known.trim().to_lowercase() == text.trim().to_lowercase();
    let has = |text: &str| table.contains_key(text);
    let are_all = |is_right: fn(&String) -> bool| table.keys().all(is_right);
    let is_lower = |key: &String| key.to_lowercase() == *key;
    let is_upper = |key: &String| key.to_uppercase() == *key;
    if has(text.trim()) && are_all(|key| key.trim() == key) {
        "The table has no entry for the value, but one without the white space around it: write trim before lookup."
    } else if has(&text.to_lowercase()) && are_all(is_lower) {
        "The table has no entry for the value, but one in lower case: add an entry, or write lower before lookup."
    } else if has(&text.to_uppercase()) && are_all(is_upper) {
        "The table has no entry for the value, but one in upper case: add an entry, or write upper before lookup."
    } else if table.keys().any(is_near) {
        "The table has no entry for the value, but one that differs only in letter case or in white space: add an entry for the value."
    } else if table.values().any(|result| result == text) {
        "The table has no entry for the value, which is the result of one. If the sides are exchanged, write the value of the source on the left side of each entry, and the value for Imprint on the right side; otherwise add an entry for the value."
    } else {
        "The table has no entry for the value."
    }
}

/// Converts a text that is all upper case or all lower case to title case.
///
/// A text in mixed case, such as `McDonald`, stays unchanged. `MCDONALD` becomes `Mcdonald`: title case is wrong for
/// this name and right for most names.
pub(super) fn title(text: &str) -> Conversion {
    let is_mixed = text.chars().any(char::is_uppercase) && text.chars().any(char::is_lowercase);
    if is_mixed {
        return Ok(Value::from(text));
    }
    let mut titled = String::with_capacity(text.len());
    // `title` counts the letters of the current word: a new word starts after one letter and an apostrophe (O'Neil,
    // D'Angelo).
    let mut letters = 0_usize;
    for letter in text.chars() {
        if letter.is_alphabetic() && letters == 0 {
            titled.extend(letter.to_uppercase());
        } else {
            titled.extend(letter.to_lowercase());
        }
        letters = match letter {
            '\'' | '’' if letters == 1 => 0,
            '\'' | '’' => letters,
            letter if letter.is_alphabetic() => letters + 1,
            _between => 0,
        };
    }
    Ok(Value::from(titled))
}

/// Returns the digits of a text and drops all other characters.
pub(super) fn digits(text: &str) -> Conversion {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return Err(ValueError::new("The text has no digit."));
    }
    Ok(Value::from(digits))
}

/// The arguments of the mapping function `line`, which selects one line of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mapping) struct LineSelector {
    /// The number of the selected line, counted from 1.
    pub(in crate::mapping) number: usize,
    /// The maximum number of lines in the text. The function `line` refuses a text with more lines than this maximum,
    /// because the mapping would lose a line of the address.
    pub(in crate::mapping) of: usize,
}

impl LineSelector {
    /// Returns the selected line of a text. If the text ends before the selected line, the result is null: the source
    /// has no such line.
    pub(super) fn select(self, text: &str) -> Conversion {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines.clone().count() > self.of {
            return Err(ValueError::new(match self.of {
                1 => "The text has more than one line; line(1; 2) reads the first line of at most two.".to_owned(),
                of => format!("The text has more than {of} lines."),
            }));
        }
        let line = self
            .number
            .checked_sub(1)
            .and_then(|before| lines.nth(before));
        Ok(line.map_or(Value::Null, Value::from))
    }
}

/// Converts a text, a whole number, true or false to text. The function refuses a fraction, because the parsed number
/// does not show whether the source wrote `1.5` or `1.50`.
pub(super) fn text(value: &Value) -> Conversion {
    match value {
        Value::String(text) => Ok(Value::from(text.as_str())),
        Value::Bool(_) => Ok(Value::from(value.to_string())),
        Value::Number(number) if !number.is_f64() => Ok(Value::from(number.to_string())),
        Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(ValueError::new(number::not_whole(value).unwrap_or(
                "The value is not a text, a whole number, true or false.",
            )))
        }
    }
}

/// Converts a number, or a text with a number, to a whole number.
pub(super) fn whole(value: &Value) -> Conversion {
    let refused =
        || ValueError::new("The value is neither a whole number of 64 bits nor the text of one.");
    let parsed = match value {
        Value::Number(number) if number.is_f64() => {
            let is_exact = number
                .as_f64()
                .is_some_and(|number| number.abs() < EXACT_MAX);
            let written = number.to_string();
            let whole = written.strip_suffix(".0").filter(|_| is_exact);
            whole.and_then(|whole| whole.parse().ok())
        }
        Value::Number(number) => number.as_i64(),
        Value::String(text) => {
            let text = text.trim();
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_: &i64| is_number)
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    parsed
        .map(|number: i64| Value::from(number))
        .ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(function: fn(&str) -> Conversion, cases: &[(&str, Option<&str>)]) {
        for (text, expected) in cases {
            assert_eq!(function(text).ok(), expected.map(Value::from), "{text}");
        }
    }

    #[test]
    fn case_and_white_space_are_changed() {
        check(trim, &[(" a b\t", Some("a b"))]);
        check(upper, &[("straße", Some("STRASSE"))]);
        check(lower, &[("ÄB", Some("äb"))]);
        check(
            digits,
            &[("+1 (2) 3", Some("123")), ("a", None), ("", None)],
        );
    }

    #[test]
    fn a_title_capitalises_each_word_of_a_text_in_one_case() {
        let cases = [
            ("ada king", Some("Ada King")),
            ("ADA KING", Some("Ada King")),
            ("Ada king", Some("Ada king")),
            ("o'neil", Some("O'Neil")),
            ("o’neil", Some("O’Neil")),
            ("john's", Some("John's")),
            ("ab'c'd", Some("Ab'c'd")),
            ("a1b", Some("A1B")),
            ("smith-jones", Some("Smith-Jones")),
            ("", Some("")),
        ];
        check(title, &cases);
    }

    /// FAULTS N1217
    #[test]
    fn an_error_of_a_table_or_a_line_names_a_remedy() {
        let table = LookupTable::from([("gold".to_owned(), "GOLD".to_owned())]);
        for (value, expected) in [
            ("Gold", "write lower before lookup"),
            ("GOLD", "write lower before lookup"),
            ("gold ", "write trim before lookup"),
            ("Gold ", "letter case or in white space: add an entry"),
            ("iron", "no entry for the value."),
        ] {
            let error = lookup(&Value::from(value), &table).unwrap_err();
            assert!(error.detail.contains(expected), "{value}: {}", error.detail);
        }
        let line = |of| LineSelector { number: 1, of }.select("a\nb");
        let error = line(1).unwrap_err();
        assert!(
            error
                .detail
                .starts_with("The text has more than one line; line(1; 2)")
        );
        assert_eq!(line(2).ok(), Some(Value::from("a")));
    }

    #[test]
    fn a_line_is_selected_and_none_is_dropped() {
        let line =
            |number: usize, of: usize, text: &str| LineSelector { number, of }.select(text).ok();
        assert_eq!(line(1, 2, " a \r\n\n b "), Some(json!("a")));
        assert_eq!(line(2, 2, " a \r\n\n b "), Some(json!("b")));
        assert_eq!(line(2, 2, "a"), Some(Value::Null));
        assert_eq!(line(1, 1, "a"), Some(json!("a")));
        assert_eq!(line(1, 1, "a\nb"), None);
        assert_eq!(line(0, 1, "a"), Some(Value::Null));
    }

    #[test]
    fn a_table_has_an_entry_or_refuses() {
        let table = LookupTable::from([
            ("a".to_owned(), "A".to_owned()),
            ("3".to_owned(), "C".to_owned()),
            ("3.0".to_owned(), "fraction".to_owned()),
            ("18446744073709551615".to_owned(), "max".to_owned()),
        ]);
        for (value, expected) in [
            (json!("a"), Some("A")),
            (json!("3"), Some("C")),
            (json!("3.0"), Some("fraction")),
            (json!(3), Some("C")),
            (json!(u64::MAX), Some("max")),
            (json!(3.0), None),
            (json!("b"), None),
            (json!(true), None),
        ] {
            assert_eq!(
                lookup(&value, &table).ok(),
                expected.map(Value::from),
                "{value}"
            );
        }
    }

    #[test]
    fn texts_and_whole_numbers_become_each_other_exactly() {
        for (value, expected) in [
            (json!("007"), Some("007")),
            (json!(7), Some("7")),
            (json!(u64::MAX), Some("18446744073709551615")),
            (json!(false), Some("false")),
            (json!(7.0), None),
            (json!([]), None),
        ] {
            assert_eq!(text(&value).ok(), expected.map(Value::from), "{value}");
        }
        for (value, expected) in [
            (json!(7), Some(7)),
            (json!(i64::MIN), Some(i64::MIN)),
            (json!(7.0), Some(7)),
            (json!(-7.0), Some(-7)),
            (json!(9_007_199_254_740_991.0), Some(9_007_199_254_740_991)),
            (json!(9_007_199_254_740_992.0), None),
            (json!(9_007_199_254_740_994.0), None),
            (json!(7.5), None),
            (json!(u64::MAX), None),
            (json!(" +7 "), Some(7)),
            (json!("-7"), Some(-7)),
            (json!("7.0"), None),
            (json!("+-7"), None),
            (json!(""), None),
            (json!("7a"), None),
            (json!(true), None),
        ] {
            assert_eq!(whole(&value).ok(), expected.map(Value::from), "{value}");
        }
    }
}
