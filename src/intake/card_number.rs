//! Finds payment card numbers in events. The bridge does not store a card number, unless the source file allows it.
//!
//! A card number has 13 to 19 digits with a correct check digit (Luhn, ISO/IEC 7812-1), and begins with a digit that the
//! payment networks use. One number out of twenty with as many digits looks like a card number without being one: this is
//! the reason for the setting `body.card_numbers`.

use serde_json::{Number, Value};

use crate::event::{EventError, pointer};

/// The rule of the errors about card numbers.
pub(super) const RULE: &str = "card_number";
/// The place of the setting that allows card numbers.
const LOCATION: &str = "body.card_numbers";
/// The error text. It must not contain the value.
const DETAIL: &str = "The value contains the number of a payment card, or a number that looks like one: 13 to 19 digits with a correct check digit. The bridge stores no card numbers. If the numbers here are no card numbers, set body.card_numbers = \"keep\" in the source file.";

/// The minimum number of digits in a card number. Shorter numbers are phone numbers and ids.
const DIGITS_MIN: usize = 13;
/// The maximum number of digits in a card number, from ISO/IEC 7812-1.
const DIGITS_MAX: usize = 19;
/// The smallest number with [`DIGITS_MIN`] digits.
const NUMBER_MIN: u64 = 1_000_000_000_000;
/// The same number as a float.
const FLOAT_MIN: f64 = 1e12;
/// The minimum number of digits in a group before a separator. Cards have groups of 4 to 6 digits; the parts of a date
/// are shorter.
const GROUP_DIGITS_MIN: usize = 3;
/// The maximum number of digits in a group beside a separator. The first and the last group of a UUID are longer.
const GROUP_DIGITS_MAX: usize = 7;
/// The maximum number of errors about card numbers in one event. One error is enough for the sender to look at the event.
pub(super) const ERRORS_MAX: usize = 20;

/// Returns the error of a card number at a place in the event, a JSON Pointer.
pub(super) fn error(pointer: String) -> EventError {
    EventError {
        pointer,
        rule: RULE.to_owned(),
        location: LOCATION.to_owned(),
        detail: DETAIL.to_owned(),
    }
}

/// Masks the names in the places of errors that contain a card number: a sender's object can have names that are values.
pub(super) fn mask_places(errors: &mut [EventError]) {
    let errors = errors.iter_mut();
    let with_card = errors.filter(|error| is_in_text(&error.pointer));
    with_card.for_each(|error| error.pointer = pointer::without_values(&error.pointer));
}

/// Returns whether a text, number or truth value contains a card number. Does not look into objects and lists.
pub(super) fn is_in_scalar(value: &Value) -> bool {
    match value {
        Value::String(text) => is_in_text(text),
        Value::Number(number) => is_number(number),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Removes every member with a card number from an event, and returns the places of the removed members. A list with a
/// card number is removed as a whole, because a list without one item would be another statement. The place of a member
/// whose name is a card number is the place of the object.
pub(super) fn remove(value: &mut Value) -> Vec<String> {
    let mut removed = Vec::new();
    remove_inside(value, "", &mut removed);
    removed.truncate(ERRORS_MAX);
    removed
}

/// Returns whether the caller must remove the value itself.
fn remove_inside(value: &mut Value, place: &str, removed: &mut Vec<String>) -> bool {
    match value {
        Value::Object(members) => {
            members.retain(|name, member| {
                if is_in_text(name) {
                    removed.push(place.to_owned());
                    return false;
                }
                let place = pointer::inside(place, name);
                let must_go = remove_inside(member, &place, removed);
                if must_go {
                    removed.push(place);
                }
                !must_go
            });
            false
        }
        Value::Array(items) => {
            let before = removed.len();
            let mut must_go = false;
            for (index, item) in items.iter_mut().enumerate() {
                must_go |=
                    remove_inside(item, &pointer::inside(place, &index.to_string()), removed);
            }
            if must_go {
                removed.truncate(before);
            }
            must_go
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => is_in_scalar(value),
    }
}

fn is_number(number: &Number) -> bool {
    let whole = number.as_u64().or_else(|| whole(number.as_f64()?));
    whole.is_some_and(|whole| whole >= NUMBER_MIN && is_in_text(&whole.to_string()))
}

/// Returns a number with a decimal point as a whole number, if its decimals are zero.
fn whole(number: f64) -> Option<u64> {
    if number < FLOAT_MIN {
        return None;
    }
    let text = format!("{number}");
    text.strip_suffix(".0").unwrap_or(&text).parse().ok()
}

/// Returns whether a text contains a card number, also with spaces or dashes between groups of digits.
pub(super) fn is_in_text(text: &str) -> bool {
    if !has_enough_digits(text) {
        return false;
    }
    let (mut second, mut last) = (None, None);
    for (start, letter) in text.char_indices() {
        if letter.is_ascii_digit() && can_begin_after(second, last) {
            let rest = text.get(start..).unwrap_or_default();
            if starts_with_card(rest) {
                return true;
            }
        }
        (second, last) = (last, Some(letter));
    }
    false
}

/// Returns whether a text has enough digits for a card number, with nothing but separators between them. The function
/// takes every byte of a letter that is not ASCII for a separator.
fn has_enough_digits(text: &str) -> bool {
    if text.len() < DIGITS_MIN {
        return false;
    }
    let mut digits = 0;
    text.bytes().any(|byte| {
        match byte {
            b'0'..=b'9' => digits += 1,
            b' ' | b'-' | 0x80.. => {}
            _other => digits = 0,
        }
        digits == DIGITS_MIN
    })
}

/// Returns whether a card number can begin after these two letters. A number inside a word, a number with a decimal point,
/// and a phone number are no card numbers.
fn can_begin_after(second: Option<char>, last: Option<char>) -> bool {
    match last {
        None => true,
        Some('.') => second.is_none_or(|second| !second.is_ascii_digit()),
        Some(last) => !last.is_alphanumeric() && last != '_' && last != '+',
    }
}

/// Returns whether a text that begins with a digit begins with a card number.
fn starts_with_card(text: &str) -> bool {
    let mut digits = Digits::default();
    let mut separator = None;
    let mut in_group = 0;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if let Some(digit) = letter.to_digit(10) {
            in_group += 1;
            if !digits.push(digit) {
                return false;
            }
            let next = letters.peek().copied();
            if next.is_some_and(|next| next.is_ascii_digit()) {
                continue;
            }
            let fits = separator.is_none() || in_group <= GROUP_DIGITS_MAX;
            let mut after = letters.clone().skip(1);
            if fits && can_end_before(next, after.next()) && digits.are_card() {
                return true;
            }
            continue;
        }
        let is_group = (GROUP_DIGITS_MIN..=GROUP_DIGITS_MAX).contains(&in_group);
        let is_same = separator.is_none_or(|known| known == letter);
        let goes_on = letters.peek().is_some_and(char::is_ascii_digit);
        if !is_separator(letter) || !is_group || !is_same || !goes_on {
            return false;
        }
        separator = Some(letter);
        in_group = 0;
    }
    false
}

fn can_end_before(next: Option<char>, after: Option<char>) -> bool {
    match next {
        None => true,
        Some('.') => after.is_none_or(|after| !after.is_ascii_digit()),
        Some(next) => !next.is_alphanumeric() && next != '_',
    }
}

/// Returns whether people write this letter between the groups of a card number: a space or a dash.
const fn is_separator(letter: char) -> bool {
    matches!(
        letter,
        ' ' | '-' | '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{2010}'..='\u{2013}'
    )
}

/// The digits of a number that is possibly a card number.
#[derive(Default)]
struct Digits {
    first: u32,
    count: usize,
    /// The sums of the check digit algorithm: the digit before the end, and so every second digit, counts twice in the
    /// first sum if the number of digits is even, and in the second sum if it is odd.
    even: u32,
    odd: u32,
}

impl Digits {
    /// Adds a digit. Returns `false` if the number has too many digits.
    const fn push(&mut self, digit: u32) -> bool {
        if self.count == 0 {
            self.first = digit;
        }
        let twice = if digit > 4 { 2 * digit - 9 } else { 2 * digit };
        if self.count.is_multiple_of(2) {
            self.even += twice;
            self.odd += digit;
        } else {
            self.even += digit;
            self.odd += twice;
        }
        self.count += 1;
        self.count <= DIGITS_MAX
    }

    /// Returns whether the digits are a card number. Only old Visa cards have 13 digits. A time in milliseconds or
    /// microseconds begins with 1.
    fn are_card(&self) -> bool {
        let sum = if self.count.is_multiple_of(2) {
            self.even
        } else {
            self.odd
        };
        let begins_well = match self.count {
            DIGITS_MIN => self.first == 4,
            _ => (2..=6).contains(&self.first),
        };
        self.count >= DIGITS_MIN && begins_well && sum.is_multiple_of(10)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// FAULTS N622: the test numbers of the payment networks, of every length, as people write them.
    #[test]
    fn card_numbers_are_found() {
        for text in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "4111\u{a0}1111\u{a0}1111\u{a0}1111",
            "4111\u{2013}1111\u{2013}1111\u{2013}1111",
            "378282246310005",
            "3782 822463 10005",
            "4222222222222",
            "4222 2222 2222 2",
            "30569309025904",
            "5555555555554444",
            "2223003122003222",
            "6011111111111117",
            "3530111333300000",
            "6200000000000005",
            "4000000000000000006",
            "4000 0000 0000 0000 006",
            "my card is 4111 1111 1111 1111, valid until 12/27",
            "my card is 4111 1111 1111 1111 12/27",
            "card:4111111111111111;",
            "order 12 4111 1111 1111 1111",
            "order-4111111111111111",
            "(4111111111111111)",
            "4111111111111111.",
            "x 4111111111111112 4111111111111111",
        ] {
            assert!(is_in_text(text), "{text}");
        }
        assert!(is_in_scalar(&json!(4_111_111_111_111_111_u64)));
        assert!(is_in_scalar(&json!(4_111_111_111_111_111.0)));
    }

    /// FAULTS N622: times, phone numbers, ids and checksums are no card numbers.
    #[test]
    fn other_numbers_are_not_found() {
        for text in [
            "",
            "4111111111111112",
            "4111 1111 1111 1112",
            "411111111111",
            "1700000000000",
            "1700000000000000",
            "1234567812345670",
            "0000000000000000",
            "+4111111111111111",
            "a4111111111111111",
            "4111111111111111b",
            "x_4111111111111111",
            "0.4111111111111111",
            "4111111111111111.5",
            "41111111111111114111111111111111",
            "4111 1111-1111 1111",
            "4111  1111  1111  1111",
            "41 11 11 11 11 11 11 11",
            "41111111-1111-4111-8111-111111111111",
            "2024-01-10 2024-01-11",
            "+1 415-555-2671",
            "4155552671 4155552672",
        ] {
            assert!(!is_in_text(text), "{text}");
        }
        for value in [
            json!(1_700_000_000_000_u64),
            json!(-4_111_111_111_111_111_i64),
            json!(0.411_111_111_111_111_1),
            json!(true),
            json!(null),
        ] {
            assert!(!is_in_scalar(&value), "{value}");
        }
    }

    #[test]
    fn every_wrong_check_digit_is_noticed() {
        let with = |digit: u32| format!("411111111111111{digit}");
        let found = (0..10).filter(|digit| is_in_text(&with(*digit)));
        assert_eq!(found.collect::<Vec<_>>(), [1]);
    }

    /// FAULTS N623
    #[test]
    fn only_the_members_with_card_numbers_are_removed() {
        let card = "4111 1111 1111 1111";
        let mut event = json!({
            "note": card,
            "name": {"first": "Ada", "card": card},
            "list": [1, card, {"x": card}],
            "objects": [{"a": 1, "x": card}, {"b": 2}],
            (card): {"a": 1},
            "number": 4_111_111_111_111_111_u64,
        });
        let mut removed = remove(&mut event);
        removed.sort_unstable();
        assert_eq!(
            event,
            json!({"name": {"first": "Ada"}, "objects": [{"a": 1}, {"b": 2}]})
        );
        assert_eq!(
            removed,
            [
                "",
                "/list",
                "/name/card",
                "/note",
                "/number",
                "/objects/0/x"
            ]
        );
    }
}
