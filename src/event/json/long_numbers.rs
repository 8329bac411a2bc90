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

/// Returns whether a text has a row of more than [`DIGITS_MAX`] characters of numbers that is possibly a number. The
/// function looks only at one byte of each possible row, and then at the row.
fn has_long_run(text: &[u8]) -> bool {
    let is_in_number = |byte: &&u8| is_number_byte(**byte);
    let mut at = 0;
    while let Some((before, after)) = text.split_at_checked(at) {
        let (Some(first), row_end) = (after.first(), after.iter().take_while(is_in_number).count())
        else {
            break;
        };
        if is_number_byte(*first) {
            let row_start = before.iter().rev().take_while(is_in_number).count();
            let left = before.iter().rev().nth(row_start);
            let right = after.get(row_end);
            if row_start + row_end > DIGITS_MAX && is_separator(left) && is_separator(right) {
                return true;
            }
        }
        // The byte at the end of the row is in no row.
        at += row_end + DIGITS_MAX + 1;
    }
    false
}

/// Returns whether this byte can come directly before or after a number of a JSON text. A number inside a string, such
/// as an id, mostly has a quote or a letter before or after it.
fn is_separator(byte: Option<&u8>) -> bool {
    byte.is_none_or(|byte| byte.is_ascii_whitespace() || b":,[]{}".contains(byte))
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The quick look never misses a long number, whatever stands before it.
        #[test]
        fn no_long_number_is_missed(items in prop::collection::vec("-?[1-9][0-9]{0,25}|\"[0-9a-e:, -]{0,40}\"", 0..12)) {
            for separator in [",", ", "] {
                let text = format!("[{}]", items.join(separator));
                prop_assert_eq!(positions(text.as_bytes()), long_numbers(text.as_bytes()), "{}", text);
            }
        }
    }

    /// A long id, as most senders have one in each event, costs no second look at the whole body.
    #[test]
    fn a_long_id_is_not_taken_for_a_number() {
        for (text, expected) in [
            ("{\"id\":\"evt_123456789012345678\"}", false),
            ("{\"id\":\"123456789012345678\"}", false),
            ("{\"id\":\"123456789012345678-7\",\"a\":1}", false),
            ("{\"id\":123456789012345678}", true),
            (
                "{\"id\":\"evt_123456789012345678\",\"a\":[123456789012345678]}",
                true,
            ),
        ] {
            assert_eq!(has_long_run(text.as_bytes()), expected, "{text}");
        }
    }

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
