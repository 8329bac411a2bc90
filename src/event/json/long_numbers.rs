//! Finds the numbers of a body that have more digits than a 64-bit float keeps.
//!
//! The JSON parser gives only the float, so a long number such as `1.00000000000000000001` would look like `1.0`. The
//! search looks at the text of the body before the parser reads it.

use std::collections::BTreeSet;

/// The maximum number of significant digits of a number that stands for one 64-bit float. 17 digits are enough to write
/// every float of IEEE 754-2019 binary64, and some programs write all 17: `0.10000000000000001` is 0.1.
const DIGITS_MAX: usize = 17;

/// Returns the positions of the long numbers among all numbers of a JSON text, counted from 0.
pub(super) fn positions(text: &[u8]) -> BTreeSet<usize> {
    if has_long_run(text) {
        long_numbers(text)
    } else {
        BTreeSet::new()
    }
}

/// Returns whether a text has more than [`DIGITS_MAX`] characters of numbers in a row. A row of this length contains a
/// byte whose index is a multiple of its length, so the function looks at few bytes.
fn has_long_run(text: &[u8]) -> bool {
    let is_in_number = |byte: &&u8| is_number_byte(**byte);
    let steps = (0..text.len()).step_by(DIGITS_MAX + 1);
    steps.into_iter().any(|at| {
        let (before, after) = text.split_at(at);
        let after = after.iter().take_while(is_in_number).count();
        after > 0 && after + before.iter().rev().take_while(is_in_number).count() > DIGITS_MAX
    })
}

fn long_numbers(text: &[u8]) -> BTreeSet<usize> {
    let mut long = BTreeSet::new();
    let mut count = 0;
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'"' => after_string(after),
            b'-' | b'0'..=b'9' => {
                let length = rest
                    .iter()
                    .take_while(|byte| is_number_byte(**byte))
                    .count();
                let (number, after) = rest.split_at(length);
                if significant_digits(number) > DIGITS_MAX {
                    long.insert(count);
                }
                count += 1;
                after
            }
            _other => after,
        };
    }
    long
}

/// Returns the text after the end of a string.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'"' => return after,
            b'\\' => after.get(1..).unwrap_or_default(),
            _other => after,
        };
    }
    rest
}

/// Counts the digits of a number from the first to the last that is not zero, without the exponent.
fn significant_digits(number: &[u8]) -> usize {
    let mantissa = number
        .iter()
        .take_while(|byte| !matches!(byte, b'e' | b'E'));
    let digits: Vec<u8> = mantissa.copied().filter(u8::is_ascii_digit).collect();
    let is_significant = |digit: &u8| *digit != b'0';
    let first = digits.iter().position(is_significant);
    let last = digits.iter().rposition(is_significant);
    first.zip(last).map_or(0, |(first, last)| last - first + 1)
}

const fn is_number_byte(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_found_by_their_position() {
        let long = "123456789012345678";
        for (text, expected) in [
            (format!("[1,{long},2,0.{long}]"), vec![1, 3]),
            (format!("{{\"{long}\":1,\"a\\\"\":-{long}e-3}}"), vec![1]),
            (format!("[\"{long}\",\"\\\\\",{long}]"), vec![0]),
            (long.to_owned(), vec![0]),
            ("1.00000000000000000001".to_owned(), vec![0]),
            ("340.100000000000000000000000".to_owned(), vec![]),
            ("0.000000000000000000000000015".to_owned(), vec![]),
            ("100000000000000000000000000".to_owned(), vec![]),
            ("0.10000000000000001".to_owned(), vec![]),
            ("[12345678901234567,-1.5e-10]".to_owned(), vec![]),
            ("\"123456789012345678".to_owned(), vec![]),
            ("\"\\".to_owned(), vec![]),
            (String::new(), vec![]),
        ] {
            let found: Vec<usize> = positions(text.as_bytes()).into_iter().collect();
            assert_eq!(found, expected, "{text}");
            for blanks in 0..20 {
                let shifted = format!("{}{text}", " ".repeat(blanks));
                assert_eq!(
                    positions(shifted.as_bytes()).len(),
                    expected.len(),
                    "{shifted}"
                );
            }
        }
    }
}
