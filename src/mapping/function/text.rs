//! Texts as they are: case, white space, tables.

use serde_json::Value;

use super::{Answer, LookupTable, ValueError};

/// Without white space at either end.
pub(super) fn trim(text: &str) -> Answer {
    Ok(Value::from(text.trim()))
}

/// In upper case.
pub(super) fn upper(text: &str) -> Answer {
    Ok(Value::from(text.to_uppercase()))
}

/// In lower case.
pub(super) fn lower(text: &str) -> Answer {
    Ok(Value::from(text.to_lowercase()))
}

/// What a table says of a text, or of a whole number written as one. A key that is not in the table is refused: a tier
/// that nobody has heard of yet is news for the operator, not for the customer.
pub(super) fn lookup(value: &Value, table: &LookupTable) -> Answer {
    let entry = match value {
        Value::String(text) => table.get(text),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            table.get(&number.to_string())
        }
        Value::Number(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(ValueError::new(
                "The value is neither a text nor a whole number.",
            ));
        }
    };
    entry
        .map(|text| Value::from(text.as_str()))
        .ok_or_else(|| ValueError::new("The table has no entry for the value."))
}

/// In title case, where it is written in one case only: `McDonald` is right already, and `MCDONALD` could be `Mcdonald`,
/// which is at least how most names are written.
pub(super) fn title(text: &str) -> Answer {
    let is_mixed = text.chars().any(char::is_uppercase) && text.chars().any(char::is_lowercase);
    if is_mixed {
        return Ok(Value::from(text));
    }
    let mut titled = String::with_capacity(text.len());
    // How many letters of the word have been: after one and an apostrophe a name goes on (O'Neil, D'Angelo).
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

/// The digits of a text.
pub(super) fn digits(text: &str) -> Answer {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return Err(ValueError::new("The text has no digit in it."));
    }
    Ok(Value::from(digits))
}

/// One line of a text of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mapping) struct LineSelector {
    /// Which, from 1.
    pub(in crate::mapping) number: usize,
    /// How many there may be: what stands in a further one would be lost.
    pub(in crate::mapping) of: usize,
}

impl LineSelector {
    /// That line, null where the text has fewer: it is stated whole, so the line is known to be empty.
    pub(super) fn take(self, text: &str) -> Answer {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines.clone().count() > self.of {
            return Err(ValueError::new(format!(
                "The text has more lines than {}.",
                self.of
            )));
        }
        let line = self
            .number
            .checked_sub(1)
            .and_then(|before| lines.nth(before));
        Ok(line.map_or(Value::Null, Value::from))
    }
}

/// A text, a whole number or a truth value as text. Of a fraction nobody knows any more how it was written.
pub(super) fn text(value: &Value) -> Answer {
    match value {
        Value::String(text) => Ok(Value::from(text.as_str())),
        Value::Bool(_) => Ok(Value::from(value.to_string())),
        Value::Number(number) if !number.is_f64() => Ok(Value::from(number.to_string())),
        Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => Err(
            ValueError::new("The value is neither a text, a whole number, true nor false."),
        ),
    }
}

/// The whole numbers that floating point has all of: beyond, one stands for several.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A whole number, from one or from the text of one.
pub(super) fn whole(value: &Value) -> Answer {
    let refused =
        || ValueError::new("The value is not a whole number of 64 bits, nor the text of one.");
    let parsed = match value {
        Value::Number(number) if number.is_f64() => {
            let is_exact = number
                .as_f64()
                .is_some_and(|number| number.abs() <= EXACT_MAX);
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
