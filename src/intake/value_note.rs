//! Notes about values that Imprint accepts and that are probably wrong, for the author of a mapping.

use serde_json::Value;

use crate::event::pointer;
use crate::imprint::is_domestic;
use crate::mapping::{ComparedLetters, RuleExplanation, RuleResult};

const STATE: &str =
    "the value is not the code of a state in two letters; the function us_state makes one";
const ZIP: &str =
    "the value is not a ZIP code of five or nine digits; the function us_zip reads one";
/// The note about a state or a ZIP code that the function of the expression did not make.
const OTHER_BRANCH: &str = "the value is no state in two letters or no ZIP code, although the expression has the function us_state or us_zip: another branch of the expression gave the value";
const NO_ID: &str = "00000000-0000-0000-0000-000000000000";
const UUID: &str = "the value is a UUID: write the path of the name and not of the id, such as .City.displayValue instead of .City.value";
const SPACE: &str = "the value begins or ends with a space, which the function trim removes: write | trim at the end";
const ZERO: &str =
    "the value is the UUID of zeros, which a program writes for an id that it does not have";
const KINDS: &str = "the expression compares a text with a number or with true or false, which are never equal: write the constant as the event has it, such as == \"0\" for a text";
const ALTERNATIVE: &str = "`or` and `and` give true or false; an alternative to a value that is absent or null is written with //, such as .a // .b";
pub(super) const CASE: &str = "the expression compares a text with a constant that differs in upper and lower case, so they are not equal: write the constant as the event has it";
const LIST: &str = "the expression compares a list with one value, which are never equal: any(. == \"x\") after a pipe is true if the list contains the text x";
const CONDITION: &str = "the condition is a text or a number, so it is true for every value: compare it, such as .type == \"contact\"; if only the presence of the value matters, write .type != null";
/// The beginning of the error of a truth value in the place of a text.
const TRUTH: &str = "The value is true or false, not";
/// The longest plausible tenure of an account, in months: 100 years.
const MONTHS_MAX: f64 = 1200.0;
const TENURE: &str = "the value is more than 1,200, and account_tenure is a number of months; the function months_since counts the months since a time";
/// The first times that a number of each unit gives if the unit is wrong are in 1970.
const EARLY: [(&str, &str); 3] = [
    (
        "moment(\"ms\")",
        "the time is before the year 2000; if the source counts seconds, write moment(\"s\")",
    ),
    (
        "moment(\"us\")",
        "the time is before the year 2000; if the source counts milliseconds, write moment(\"ms\"), and for seconds moment(\"s\")",
    ),
    (
        "moment(\"s\")",
        "the time is before the year 2000, and moment(\"s\") counts the seconds since 1970",
    ),
];

const COUNTER: &str = "the number is too small for the time since 1970; if it counts the changes of the customer, write the path alone, and version_domain = \"sequence\"";

/// Returns a note about the value of a rule, or `None` if the value is plausible. The note does not contain the value.
pub(super) fn note(rule: &RuleExplanation) -> Option<&'static str> {
    if rule.compared.iter().any(|compared| compared.is_list) {
        return Some(LIST);
    }
    if rule.compared.iter().any(|compared| !compared.fits)
        && rule.result != RuleResult::Value(Value::Bool(true))
    {
        return Some(KINDS);
    }
    if differs_in_case(rule)
        && rule.result != RuleResult::Value(Value::Bool(true))
        && !rule.expression.contains("!= \"")
    {
        return Some(CASE);
    }
    if rule.is_always_true {
        return Some(CONDITION);
    }
    if let RuleResult::Value(Value::Number(number)) = &rule.result {
        let is_long = number.as_f64().is_some_and(|months| months > MONTHS_MAX);
        return (rule.target.ends_with(".account_tenure") && is_long).then_some(TENURE);
    }
    if let RuleResult::Refused(error) | RuleResult::Skipped(error) = &rule.result {
        // A word inside a text is no operator.
        let outside: String = rule.expression.split('"').step_by(2).collect();
        let has = |word: &str| outside.contains(word);
        let is_alternative =
            error.detail.starts_with(TRUTH) && (has(" or ") || has(" and ")) && !has("if ");
        return is_alternative.then_some(ALTERNATIVE);
    }
    let RuleResult::Value(Value::String(text)) = &rule.result else {
        return None;
    };
    let field = rule.target.rsplit('.').next().unwrap_or_default();
    if rule.target.starts_with("customer.") && text == NO_ID {
        return Some(ZERO);
    }
    let is_state = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    match field {
        "state" if !is_state => Some(made_by("us_state", &rule.expression, STATE)),
        "city" | "first_name" | "last_name" | "street_line1"
            if is_uuid(text) && !rule.target.starts_with("metadata.") =>
        {
            Some(UUID)
        }
        "street_line1" | "street_line2" | "city" | "first_name" | "last_name"
            if text.trim() != text && rule.expression.contains("split(") =>
        {
            Some(SPACE)
        }
        "postal_code" if !is_zip(text) => Some(made_by("us_zip", &rule.expression, ZIP)),
        _ => of_time(text, rule),
    }
}

/// Returns whether a rule compares a text of the event only with constants of other letters or another case. A list can have other
/// items, so a comparison with its items says something only if the rule has found none.
fn differs_in_case(rule: &RuleExplanation) -> bool {
    let has_equal = |place: &str| {
        let mut all = rule.compared.iter();
        all.any(|other| other.letters == ComparedLetters::Equal && other.place == place)
    };
    let mut compared = rule.compared.iter();
    compared.any(|compared| {
        let is_result = !compared.place.contains('*') || rule.result == RuleResult::Absent;
        let is_other = compared.letters == ComparedLetters::OtherCase;
        is_result && is_other && !has_equal(&compared.place)
    })
}

/// Returns the place that a rule without a value reads, and a place of the event whose name differs only in upper and lower case.
/// `unused` are the places that no expression reads.
pub(super) fn other_case<'p>(
    reads: &'p [String],
    unused: &'p [String],
    event: &Value,
) -> Option<[&'p String; 2]> {
    let is_same = |read: &str, place: &str| {
        let start = read.get(..place.len());
        let rest = read.get(place.len()..).unwrap_or_default();
        let is_other = |start: &str| {
            let is_absent = event.pointer(start).is_none();
            is_absent && start != place && start.eq_ignore_ascii_case(place)
        };
        start.is_some_and(is_other) && (rest.is_empty() || rest.starts_with('/'))
    };
    let mut pairs = reads.iter().flat_map(|read| {
        let same = unused.iter().filter(|place| is_same(read, place));
        same.map(move |place| [read, place])
    });
    pairs.next()
}

/// Returns the note about the places of [`other_case`].
pub(super) fn other_case_note(places: &[String]) -> Option<String> {
    let [read, place] = places else { return None };
    let [read, place] = [read, place].map(|place| pointer::without_values(place));
    Some(format!(
        "the expression reads {read}, and the event has {place}, whose name differs in upper and lower case, so the field has no value"
    ))
}

/// Returns the note of a function, or the note that the function is there.
fn made_by(function: &str, expression: &str, note: &'static str) -> &'static str {
    if expression.contains(function) {
        OTHER_BRANCH
    } else {
        note
    }
}

/// Completes the note that another branch of an expression gave the value: the rule of the country can be the wrong one. Leaves
/// out the note if the rule of the country has an error of its own.
pub(super) fn with_country(note: String, rules: &[RuleExplanation]) -> Option<String> {
    if note != OTHER_BRANCH {
        return Some(note);
    }
    let mut countries = rules
        .iter()
        .filter(|rule| rule.target.ends_with("address.country"));
    let Some(RuleExplanation {
        target,
        expression,
        result,
        ..
    }) = countries.next()
    else {
        return Some(format!(
            "{note}. Look at its conditions; no rule gives the country, so the bridge takes each address for one in the USA: if the event has the country, set customer_history.address.country"
        ));
    };
    let what = match result {
        RuleResult::Refused(_) | RuleResult::Skipped(_) => return None,
        RuleResult::Value(_) => "says that the address is in the USA",
        RuleResult::Absent | RuleResult::Cleared => {
            "gives no country, so the bridge takes the address for one in the USA"
        }
    };
    Some(format!(
        "{note}. The rule {target} = {expression} {what}: if this is wrong, correct this rule, otherwise look at the conditions of the branches"
    ))
}

/// Returns whether a rule says that the address of the event is outside the USA.
pub(super) fn is_abroad(rule: &RuleExplanation) -> bool {
    let RuleResult::Value(Value::String(country)) = &rule.result else {
        return false;
    };
    rule.target.ends_with("address.country") && !is_domestic(country)
}

/// Returns whether a field has another form outside the USA.
pub(super) fn is_of_country(target: &str) -> bool {
    let field = target.rsplit('.').next().unwrap_or_default();
    ["state", "postal_code"].contains(&field)
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12]
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn is_zip(text: &str) -> bool {
    let are_digits = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    match text.split_once('-') {
        Some((zip, more)) => are_digits(zip, 5) && are_digits(more, 4),
        None => are_digits(text, 5),
    }
}

/// Returns the note about a time whose number has another unit, or is no time.
fn of_time(text: &str, rule: &RuleExplanation) -> Option<&'static str> {
    let expression = &rule.expression;
    if rule.target == "version" && is_counter(text, expression) {
        return Some(COUNTER);
    }
    let mut units = EARLY.iter().filter(|_| is_early(text));
    let of_unit = units.find(|(call, _)| expression.contains(call));
    of_unit.map(|(_, note)| *note)
}

/// Returns whether the number of a time is too small in each unit: also if it counts 1,000 times as much as the expression says.
fn is_counter(text: &str, expression: &str) -> bool {
    let is_before = |latest: &str| text.starts_with("1970-") && text < latest;
    expression.contains("moment(\"ms\")") && is_before("1970-01-11T22:58")
        || expression.contains("moment(\"s\")") && is_before("1971")
}

/// Returns whether a text is an RFC 3339 time or a date of the twentieth century.
fn is_early(text: &str) -> bool {
    text.starts_with("19") && text.as_bytes().get(4) == Some(&b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::mapping::ComparedKind;

    /// Returns the explanation of a rule. Each expression that begins with `.list` compares a list with a text.
    fn rule(target: &str, expression: &str, value: &Value) -> RuleExplanation {
        let compared = expression.starts_with(".list").then(|| ComparedKind {
            place: "/list".to_owned(),
            kind: "string",
            is_list: true,
            fits: false,
            letters: ComparedLetters::Different,
        });
        RuleExplanation {
            target: target.to_owned(),
            expression: expression.to_owned(),
            is_interpreted: false,
            reads: Vec::new(),
            compared: compared.into_iter().collect(),
            result: RuleResult::Value(value.clone()),
            is_assumed: false,
            is_always_true: false,
            is_public: false,
            is_unchanged: false,
            is_held_back: false,
        }
    }

    #[track_caller]
    fn check((target, expression, value): (&str, &str, &Value), expected: Option<&str>) {
        let found = note(&rule(target, expression, value));
        assert_eq!(found.is_some(), expected.is_some(), "{target} {value}");
        let expected = expected.unwrap_or_default();
        assert!(
            found.unwrap_or_default().contains(expected),
            "{value} {found:?}"
        );
    }

    #[test]
    fn a_note_names_the_function_that_makes_the_value() {
        for (target, expression, value, expected) in [
            ("state", ".s", json!("Nevada"), Some("us_state")),
            (
                "customer_history.address.state",
                ".s",
                json!("nv"),
                Some("us_state"),
            ),
            // FAULTS N1048
            (
                "state",
                "if .c == null then .s | us_state else .s end",
                json!("Nevada"),
                Some("another branch"),
            ),
            ("state", ".s", json!("NV"), None),
            ("postal_code", ".s", json!("8950"), Some("us_zip")),
            ("postal_code", ".s", json!("89501-1234"), None),
            ("postal_code", ".s", json!("89501"), None),
            (
                "version",
                ".s | moment(\"ms\")",
                json!("1970-01-21T18:49:26Z"),
                Some("moment(\"s\")"),
            ),
            (
                "version",
                ".s | moment(\"us\")",
                json!("1970-01-21T18:49:26Z"),
                Some("moment(\"ms\")"),
            ),
            (
                "version",
                ".s | moment(\"ms\")",
                json!("2026-01-21T18:49:26Z"),
                None,
            ),
            ("version", ".s", json!("1999-01-21T18:49:26Z"), None),
            ("metadata.x", ".s", json!(7), None),
            // FAULTS N1203
            (
                "metadata.vip",
                ".list == \"vip\"",
                json!(false),
                Some("any(. == "),
            ),
            (
                "metadata.vip",
                ".list != \"vip\"",
                json!(true),
                Some("any(. == "),
            ),
        ] {
            check((target, expression, &value), expected);
        }
    }

    /// FAULTS N1354: the path of a lookup leads to its id.
    #[test]
    fn a_uuid_is_no_name_of_a_city() {
        let id = json!("705eb1ce-5c33-4d9a-8a01-2b6f0e7b0001");
        check(("city", ".c.value", &id), Some("is a UUID"));
        check(("metadata.city", ".c.value", &id), None);
        check(("city", ".c", &json!("Winston-Salem")), None);
    }

    /// FAULTS N1371: a member has the name of the expression in other letter case.
    #[test]
    fn a_name_in_other_letter_case_is_noted() {
        for (read, unused, is_noted) in [
            ("/City/displayValue", "/City/DisplayValue", true),
            ("/City/displayValue", "/city", true),
            ("/City/displayValue", "/City", false),
            ("/City/displayValue", "/Cit", false),
            ("/City/displayValue", "/City/display", false),
            ("/cityName", "/city", false),
            // The event has the place that the expression reads.
            ("/Type", "/type", false),
            ("/Type/name", "/type", false),
        ] {
            let event = json!({"Type": null});
            let (read, unused) = ([read.to_owned()], [unused.to_owned()]);
            let found = other_case(&read, &unused, &event);
            assert_eq!(found.is_some(), is_noted, "{read:?} {unused:?}");
        }
    }

    #[test]
    fn a_note_names_the_function_that_counts_months() {
        for (target, expression, value, expected) in [
            // FAULTS N1254
            (
                "customer_history.account_tenure",
                ".created",
                json!(1_718_000_000),
                Some("months_since"),
            ),
            (
                "customer_history.account_tenure",
                ".months",
                json!(48),
                None,
            ),
            (
                "customer_history.ltv_amount",
                ".amount",
                json!(48_000),
                None,
            ),
        ] {
            check((target, expression, &value), expected);
        }
    }
}
