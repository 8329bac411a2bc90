//! Notes about phone numbers that become numbers of another country.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{TypeExamples, base, text};
use crate::event::pointer;
use crate::intake::EventExplanation;

/// The number of digits of a phone number in the USA and Canada without the country code.
const NATIONAL_DIGITS: usize = 10;
/// The country code of the USA and Canada.
const NORTH_AMERICA: &str = "+1";
const USA: &str = "USA";

/// Returns a note for each rule that makes a number of another country of ten digits of the USA, the country of the address.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    for (event, body) in evidence.with_bodies() {
        notes.extend(second_code(event, body));
        let rules = || event.targets.iter().flatten();
        let mut countries = rules().filter(|rule| base(&rule.target) == "country");
        let country = countries.next().and_then(text);
        if country != Some(USA) {
            continue;
        }
        let phones = rules().filter(|rule| base(&rule.target) == "phone");
        notes.extend(phones.filter_map(|rule| {
            let made = text(rule)?;
            let [read] = rule.reads.as_slice() else {
                return None;
            };
            let sent = body.pointer(read).and_then(Value::as_str);
            sent.filter(|sent| is_national(sent, made))?;
            Some(format!(
                "in an example, {} reads ten digits in {}, a number of the USA without its country code, and makes a number of another country of them: write e164(\"US\")",
                rule.target,
                pointer::without_values(read)
            ))
        }));
    }
    notes
}

/// Returns a note for each rule that puts the country code of the USA before a number that has a country code.
fn second_code(event: &EventExplanation, body: &Value) -> Option<String> {
    let mut phones = event.targets.iter().flatten();
    phones.find_map(|rule| {
        let made = text(rule)?.strip_prefix(NORTH_AMERICA)?;
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let mut sent = rule.reads.iter().filter_map(|read| body.pointer(read)?.as_str());
        let is_phone = base(&rule.target) == "phone";
        // Some senders write + before a number of the USA without its code.
        let is_second = is_phone
            && !is_of_plan(made)
            && sent.any(|sent| sent.trim().starts_with('+') && digits(sent) == made);
        is_second.then(|| {
            format!(
                "in an example, {} puts +1 before a number that begins with + and has its country code: it becomes the number of another person. Write e164(\"US\"), which leaves such a number as it is",
                rule.target
            )
        })
    })
}

/// Returns whether digits have the form of a number of the USA and Canada without the country code.
fn is_of_plan(digits: &str) -> bool {
    let bytes = digits.as_bytes();
    let mut starts = [bytes.first(), bytes.get(3)].into_iter().flatten();
    bytes.len() == NATIONAL_DIGITS && starts.all(|digit| *digit >= b'2')
}

/// Returns whether a text has the ten digits of a number of the USA, and the number made of it has another country code.
fn is_national(sent: &str, made: &str) -> bool {
    let digits: String = sent.chars().filter(char::is_ascii_digit).collect();
    is_of_plan(&digits)
        && !sent.contains('+')
        && made.ends_with(&digits)
        && !made.starts_with(NORTH_AMERICA)
}
