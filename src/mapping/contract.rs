//! Checks that a value has the format that its Imprint field requires. Also checks the ids, the version and the country
//! in an event.

use serde_json::Value;

use super::comparison::is_cleared;
use super::error::{EvalError, ValueError, other_type};
use super::function::{calendar, language, money, time_form};
use super::located::{LocatedValue, Presence};
use super::number;
use super::plan::Plan;
use super::{
    Field, FieldFormat, FieldValue, ImprintId, PartnerCustomerId, VersionDomain, is_domestic,
};

mod email;
mod placeholder;

/// The maximum number of digits in an E.164 phone number.
const PHONE_DIGITS_MAX: usize = 15;

/// Returns the value to set in an Imprint field, or `None` if the event does not mention the field.
pub(super) fn field_value(
    field: &Field,
    located: LocatedValue<'_>,
) -> Result<Option<FieldValue>, EvalError> {
    let Presence::Present(value) = &located.presence else {
        return Ok(None);
    };
    if is_cleared(value) {
        return Ok(Some(FieldValue::Cleared));
    }
    let format = field.format();
    if format == FieldFormat::Currency
        && let Some(code) = value.as_str().and_then(money::code)
    {
        return Ok(Some(FieldValue::Set(Value::from(code))));
    }
    if let Some(error) = field_error(field, value) {
        return Err(located.error(format.rule(), error));
    }
    Ok(located.into_value()?.map(FieldValue::from_value))
}

/// The error of a constant such as `// "N/A"`, which the author of the mapping has written.
const OWN_PLACEHOLDER: &str = "the text says that there is no value, so leave it out: a value that is absent or null needs no other text.";

/// Finds the constants that an expression can return. Returns one error for each constant that does not have the format
/// of the field.
pub(super) fn wrong_constants(field: &Field, plan: &Plan) -> Vec<ValueError> {
    let wrong = |value: Value| {
        let text = value.as_str();
        let is_placeholder = || {
            let flaw =
                |text| placeholder::flaw(text).or_else(|| placeholder::no_value(field, text));
            field.format() == FieldFormat::Text && text.and_then(flaw).is_some()
        };
        if is_cleared(&value) {
            None
        } else if is_placeholder() {
            Some(ValueError::new(OWN_PLACEHOLDER))
        } else {
            field_error(field, &value)
        }
    };
    plan.constants().into_iter().filter_map(wrong).collect()
}

/// Returns an error if a value does not have the format of its Imprint field, or only says that there is no value.
fn field_error(field: &Field, value: &Value) -> Option<ValueError> {
    format_error(field.format(), value).or_else(|| {
        let flaw = placeholder::no_value(field, value.as_str()?)?;
        Some(ValueError::new(flaw))
    })
}

/// Returns an error if a value does not have this format.
fn format_error(format: FieldFormat, value: &Value) -> Option<ValueError> {
    let is_text = value.is_string() || format == FieldFormat::Open;
    if is_text && has_control(value) {
        return Some(ValueError::new("The text contains control characters."));
    }
    let text = value.as_str();
    if format == FieldFormat::Text
        && let Some(flaw) = text.and_then(placeholder::flaw)
    {
        return Some(ValueError::new(flaw));
    }
    let fits = match format {
        FieldFormat::Text => value.is_string(),
        FieldFormat::Email => text.is_some_and(email::is_email),
        FieldFormat::Phone => text.is_some_and(is_e164),
        FieldFormat::Language => text.is_some_and(is_language),
        FieldFormat::Country => text.is_some_and(is_country),
        FieldFormat::Currency => text.and_then(money::code).is_some(),
        FieldFormat::DateTime => {
            let has_time = |text: &str| calendar::microseconds(text).is_some();
            text.is_some_and(|text| has_time(text) && !is_no_time(text))
        }
        FieldFormat::Integer => value.is_i64(),
        FieldFormat::Open => !number::has_lost_digits(value),
    };
    (!fits).then(|| ValueError::new(format_flaw(format, value)))
}

/// Describes why a value does not have the format of its Imprint field: the format, and the type or the flaw of the value.
fn format_flaw(format: FieldFormat, value: &Value) -> String {
    let text = value.as_str();
    let wanted = match format {
        FieldFormat::Text => "a text",
        FieldFormat::Email => "one email address of the form name@domain",
        FieldFormat::Phone if text.is_some_and(|text| text.matches('+').count() > 1) => {
            return "The text has two plus signs: two numbers, or a + that the expression puts before a number with its country code. Write the path of one number with the function e164.".to_owned();
        }
        FieldFormat::Phone if text.is_some_and(|text| text.starts_with('+')) => {
            "a phone number in E.164 (+ and digits); the function e164 makes one of the number as the source has it"
        }
        FieldFormat::Phone => "a phone number in E.164 (+ and digits); the function e164 makes one",
        FieldFormat::Language if text.is_some_and(|tag| language::language(tag).is_err()) => {
            "a language code of two letters, and the function language reads none in it: write the path of a code or of a tag such as en-US, or translate the value with the function lookup"
        }
        FieldFormat::Language => "a language code of two letters; the function language makes one",
        FieldFormat::Country if value.is_boolean() => {
            "a country code of three letters; leave out is_domestic, and write the path of the country with the function alpha3"
        }
        FieldFormat::Country => "a country code of three letters; the function alpha3 makes one",
        FieldFormat::Currency => "a currency code of three letters",
        FieldFormat::DateTime if text.is_some_and(is_no_time) => return NO_TIME.to_owned(),
        FieldFormat::DateTime if text.is_some() || value.is_number() => {
            return time_form::advice(value).to_owned();
        }
        FieldFormat::DateTime => "an RFC 3339 time",
        FieldFormat::Integer => "a whole number of 64 bits",
        FieldFormat::Open => return number::TOO_MANY_DIGITS.to_owned(),
    };
    let known = match format {
        FieldFormat::Email => text.and_then(email::flaw),
        FieldFormat::Currency if text.is_some_and(|text| money::code(text.trim()).is_some()) => {
            Some(
                "The currency code has white space before or after it; the function trim removes it.",
            )
        }
        FieldFormat::Integer => text
            .map(number::advice_for_text)
            .or_else(|| number::not_whole_amount(value)),
        FieldFormat::Text
        | FieldFormat::Phone
        | FieldFormat::Language
        | FieldFormat::Country
        | FieldFormat::Currency
        | FieldFormat::DateTime
        | FieldFormat::Open => None,
    };
    known.map_or_else(|| other_type(value, wanted), str::to_owned)
}

/// Returns whether mail to a country is foreign mail, or `None` if the event names no country.
pub(super) fn is_foreign(located: &LocatedValue<'_>) -> Result<Option<bool>, EvalError> {
    let Some(value) = named(located) else {
        return Ok(None);
    };
    match format_error(FieldFormat::Country, value) {
        Some(error) => Err(located.error(FieldFormat::Country.rule(), error)),
        None => Ok(Some(!value.as_str().is_some_and(is_domestic))),
    }
}

/// Returns Imprint's id of the customer, or `None` if the event does not contain this id.
pub(super) fn imprint_id(located: &LocatedValue<'_>) -> Result<Option<ImprintId>, EvalError> {
    let Some(value) = named(located) else {
        return Ok(None);
    };
    no_id(located, "imprint_id")?;
    let id = value.as_str().and_then(|raw| ImprintId::parse(raw).ok());
    let error = ValueError::new(match value.is_number() {
        true => {
            "The value is a number, and an Imprint id is a text of 1 to 64 characters of A-Z, a-z, 0-9, _ and -. If the number is the source's own id of the customer, write customer.partner_id."
        }
        false => "An Imprint id is a text of 1 to 64 characters of A-Z, a-z, 0-9, _ and -.",
    });
    id.map(Some)
        .ok_or_else(|| located.error("imprint_id", error))
}

/// Returns an error if a text is a placeholder, or says that there is no id.
fn no_id(located: &LocatedValue<'_>, rule: &'static str) -> Result<(), EvalError> {
    let text = located.value().and_then(Value::as_str);
    let flaw = text.and_then(|text| placeholder::no_id(text.trim()));
    flaw.map_or(Ok(()), |flaw| {
        Err(located.error(rule, ValueError::new(flaw)))
    })
}

/// Returns the partner customer id, if the event contains this id. The id can be a whole number instead of a text,
/// because many CRMs use the number of a database row as the customer id.
pub(super) fn partner_id(
    located: &LocatedValue<'_>,
) -> Result<Option<PartnerCustomerId>, EvalError> {
    let Some(value) = named(located) else {
        return Ok(None);
    };
    no_id(located, "partner_id")?;
    let is_whole = value.is_i64() || value.is_u64();
    let number = is_whole.then(|| value.to_string());
    let id = value.as_str().or(number.as_deref());
    let id = id.and_then(|raw| PartnerCustomerId::parse(raw).ok());
    let error = ValueError::new(number::not_whole(value).unwrap_or(
        "A partner customer id is a whole number, or a text of 1 to 256 characters without control characters and outer white space.",
    ));
    id.map(Some)
        .ok_or_else(|| located.error("partner_id", error))
}

/// Creates the error for an event without any id of the customer.
/// `has_both` says whether the mapping has a rule for each of the two ids.
pub(super) fn no_customer(located: &LocatedValue<'_>, has_both: bool) -> EvalError {
    let error = ValueError::new(match has_both {
        true => {
            "The event does not say which customer it is about: neither customer.imprint_id nor customer.partner_id gives an id."
        }
        false => "The event does not say which customer it is about.",
    });
    located.error("customer", error)
}

fn named<'a>(located: &'a LocatedValue<'_>) -> Option<&'a Value> {
    match &located.presence {
        Presence::Present(value) if !is_cleared(value) => Some(value),
        Presence::Present(_) | Presence::Absent(_) => None,
    }
}

/// Returns the version of an event as a number.
///
/// The version in the event is a whole number, the text of a whole number, or an RFC 3339 time. A time becomes the
/// number of microseconds since the Unix epoch.
pub(super) fn version(domain: VersionDomain, located: &LocatedValue<'_>) -> Result<i64, EvalError> {
    let refused = |detail: &str| located.error("version", ValueError::new(detail));
    let value = match &located.presence {
        Presence::Present(value) if !is_cleared(value) => value,
        Presence::Present(_) | Presence::Absent(_) => {
            return Err(refused(
                "The event has no version, which is required to order it.",
            ));
        }
    };
    match domain {
        VersionDomain::Sequence => value
            .as_i64()
            .or_else(|| value.as_str().and_then(whole))
            .ok_or_else(|| {
                let is_time = value.as_str().and_then(calendar::microseconds).is_some();
                let reason = is_time.then_some(VERSION_IS_TIME);
                let reason = reason.or_else(|| number::not_whole(value));
                refused(reason.unwrap_or("The version is not a whole number of 64 bits."))
            }),
        VersionDomain::Time if value.as_str().is_some_and(is_no_time) => Err(refused(NO_TIME)),
        VersionDomain::Time => value
            .as_str()
            .and_then(calendar::microseconds)
            .ok_or_else(|| {
                let advice = time_form::advice(value);
                match value.as_i64().or_else(|| value.as_str().and_then(whole)) {
                    Some(_) => refused(&format!("{advice} {VERSION_IS_NUMBER}")),
                    None => refused(advice),
                }
            }),
    }
}

/// The error text for the first day of the year 1.
const NO_TIME: &str = "The time is 0001-01-01, which .NET and other programs write for a time that is not set. The source must send null; otherwise add | if .[0:4] == \"0001\" then null else . end to the expression.";

/// Returns whether a time stands for no time: the lowest value of .NET's `DateTime`, also after a conversion to UTC.
fn is_no_time(text: &str) -> bool {
    text.starts_with("0001-01-0")
}

/// The error text for a time where the source file says that the versions are numbers.
const VERSION_IS_TIME: &str = "The version is a time, and version_domain = \"sequence\" requires a whole number. If the versions are times, set version_domain = \"time\".";
/// The end of the error text for a number where the source file says that the versions are times.
const VERSION_IS_NUMBER: &str = "If the source counts the changes of the customer with this number, set version_domain = \"sequence\".";

fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_whole.then(|| text.parse().ok()).flatten()
}

fn is_language(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn is_country(text: &str) -> bool {
    let is_upper = text.bytes().all(|byte| byte.is_ascii_uppercase());
    is_upper && rust_iso3166::from_alpha3(text).is_some()
}

fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (2..=PHONE_DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

/// Returns whether a JSON value contains a text with a control character, at any depth. Every text in an Imprint field
/// is a single line.
fn has_control(value: &Value) -> bool {
    // Nearly every text has only bytes that need no decoding.
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~');
    let in_text = |text: &str| !text.bytes().all(is_plain) && text.chars().any(char::is_control);
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => in_text(text),
        Value::Array(items) => items.iter().any(has_control),
        Value::Object(object) => object
            .iter()
            .any(|(key, value)| in_text(key) || has_control(value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::tests::FieldResult::{Absent, Cleared, Refused, Set};
    use crate::mapping::tests::{CANARY, check, mapping, rules};
    use crate::mapping::{Mapping, MappingRules, VersionRule};

    #[test]
    fn a_field_accepts_only_the_format_that_imprint_accepts() {
        for (target, good, bad) in [
            ("first_name", json!("José"), json!(7)),
            ("city", json!("St. John's"), json!({"a": CANARY})),
            ("email", json!("a+b@mail.example.com"), json!("a@b")),
            ("email", json!("a@b.c"), json!("a b@c.d")),
            ("customer_history.email", json!("ä@b.de"), json!("a@b@c.d")),
            ("email", json!("a@b.c"), json!("a@b..c")),
            (
                "email",
                json!("\"ann lee\"@example.com"),
                json!("ann@example.com,"),
            ),
            (
                "customer_history.email",
                json!("a@b.c"),
                json!("mailto:a@b.c"),
            ),
            ("phone", json!("+14155552671"), json!("4155552671")),
            (
                "customer_history.phone",
                json!("+442079460000"),
                json!("+0123456"),
            ),
            ("phone", json!("+12"), json!("+1234567890123456")),
            ("customer_history.transaction_count", json!(100), json!(1.5)),
            (
                "customer_history.transaction_count",
                json!(-1),
                json!("100"),
            ),
            (
                "customer_history.ltv_amount",
                json!(i64::MAX),
                json!(u64::MAX),
            ),
            ("metadata.k", json!([1, {"a": "b"}]), json!(["a\u{0}"])),
            ("first_name", json!("a"), json!("a\nb")),
            ("metadata.k", json!(false), json!({"a\u{7}": 1})),
            ("metadata.k", json!(u64::MAX), json!(1e22)),
            (
                "metadata.k",
                json!([0.1]),
                json!({"a": [0.123_456_789_012_345_67]}),
            ),
        ] {
            check(target, ".v", Some(good.clone()), &Set(good));
            let format = Field::parse(target).unwrap().format().rule();
            check(target, ".v", Some(bad), &Refused(format, "/v"));
            check(target, ".v", Some(json!(" \t")), &Cleared);
            check(target, ".v", Some(Value::Null), &Cleared);
            check(target, ".v", None, &Absent);
        }
    }

    /// Values of a wrong type, each with a part of its error.
    fn wrong_types() -> Vec<(&'static str, Value, &'static str)> {
        vec![
            (
                "email",
                json!(["a@b.c"]),
                "The value is a list, not one email address of the form name@domain. The function first takes the first item of a list.",
            ),
            (
                "email",
                json!({"a": 1}),
                "The value is an object, not one email address of the form name@domain. Write the path of one of its members; an `if` without `else` returns its input.",
            ),
            (
                "first_name",
                json!(["a"]),
                "The value is a list, not a text.",
            ),
            // FAULTS N1059: a control character inside an object is not the cause.
            (
                "first_name",
                json!({"street": "1 Main St\r\nSuite 5"}),
                "The value is an object, not a text.",
            ),
            (
                "first_name",
                json!(7),
                "The value is a number, not a text. The function text makes a text of a whole number.",
            ),
            (
                "first_name",
                json!(true),
                "The value is true or false, not a text.",
            ),
            (
                "phone",
                json!({"a": 1}),
                "The value is an object, not a phone number",
            ),
            (
                "customer_history.transaction_count",
                json!(["1"]),
                "The value is a list, not a whole number",
            ),
        ]
    }

    /// Values of a wrong form, each with a part of its error.
    fn wrong_forms() -> Vec<(&'static str, Value, &'static str)> {
        vec![
            (
                "email",
                json!("priya.n@example"),
                "The domain of the email address has no dot.",
            ),
            (
                "email",
                json!(" a@b.com "),
                "white space before or after it; the function trim removes it",
            ),
            (
                "email",
                json!("a@b.com, c@d.com"),
                "Imprint takes one address",
            ),
            ("customer_history.ltv_amount", json!(12.5), "minor_units"),
            ("customer_history.ltv_amount", json!("12.50"), "minor_units"),
            (
                "customer_history.ltv_amount",
                json!("1250"),
                "the function whole",
            ),
            (
                "customer_history.ltv_amount",
                json!(901.0),
                "The function whole converts",
            ),
            (
                "customer_history.ltv_amount",
                json!("x"),
                "The value is not a whole number of 64 bits",
            ),
        ]
    }

    /// FAULTS N922: the error of a value names the type of the value, or the flaw of the text.
    #[test]
    fn the_error_of_a_value_names_its_type_or_its_flaw() {
        for (target, value, expected) in wrong_types().into_iter().chain(wrong_forms()) {
            let rules = rules(&[(target, ".v")]);
            let mapping = Mapping::compile(&rules).unwrap();
            let event = json!({"id": "C1", "v": value.clone(), "version": 1, "seq": 1});
            let errors = mapping.map(&event).unwrap_err();
            let detail = &errors[0].detail;
            assert!(detail.contains(expected), "{target} {value}: {detail}");
        }
    }

    #[test]
    fn phone_numbers_have_a_format() {
        for (text, expected) in [
            ("+12", true),
            ("+123456789012345", true),
            ("+1234567890123456", false),
            ("+1", false),
            ("+", false),
            ("12", false),
            ("+02", false),
            ("+1a", false),
        ] {
            assert_eq!(is_e164(text), expected, "{text}");
        }
    }

    #[test]
    fn codes_have_a_length_and_a_case() {
        assert!(is_language("en") && !is_language("EN") && !is_language("eng"));
        assert!(is_country("USA") && !is_country("usa") && !is_country("XXX") && !is_country("US"));
    }

    /// FAULTS N1433: the lowest time of .NET stands for no time.
    #[test]
    fn a_time_that_is_not_set_is_no_value() {
        let field = "customer_history.account_created_at";
        for (expression, v) in [
            (".v", "0001-01-01T00:00:00Z"),
            (".v", "0001-01-01T08:00:00Z"),
            (".v | utc", "/Date(-62135596800000)/"),
        ] {
            let refused = Refused("moment", "/v");
            check(field, expression, Some(json!(v)), &refused);
            let expression = format!("{expression} | if .[0:4] == \"0001\" then null else . end");
            check(field, &expression, Some(json!(v)), &Cleared);
        }
        let year = json!("1001-01-01T00:00:00Z");
        check(field, ".v", Some(year.clone()), &Set(year));
    }

    #[test]
    fn the_letter_case_of_a_currency_is_no_fault() {
        for (v, expected) in [
            ("USD", Set(json!("USD"))),
            ("usd", Set(json!("USD"))),
            ("Eur", Set(json!("EUR"))),
            ("US", Refused("currency", "/v")),
            ("usd ", Refused("currency", "/v")),
            ("$", Refused("currency", "/v")),
        ] {
            check(
                "customer_history.ltv_currency",
                ".v",
                Some(json!(v)),
                &expected,
            );
        }
    }

    /// A number that the source writes with decimals has no text that the bridge knows, so it is no id.
    #[test]
    fn a_number_that_is_no_id_or_version_says_what_is_wrong() {
        let rules = MappingRules {
            imprint_id: None,
            partner_id: Some(".v".to_owned()),
            version: Some(VersionRule {
                expression: ".v".to_owned(),
                domain: VersionDomain::Sequence,
            }),
            ..rules(&[("customer_history.transaction_count", ".v")])
        };
        let mapping = Mapping::compile(&rules).unwrap();
        for (v, reason) in [
            (json!(901.0), "such as 901.0"),
            (json!(1e22), "more digits"),
        ] {
            let errors = mapping.map(&json!({"v": v})).unwrap_err();
            assert_eq!(errors.len(), 3, "{errors:?}");
            for error in errors {
                assert!(error.detail.contains(reason), "{error:?}");
            }
        }
        let largest = mapping.map(&json!({"v": u64::MAX})).unwrap_err();
        let rules: Vec<&str> = largest.iter().map(|error| error.rule.as_str()).collect();
        assert_eq!(rules, ["version", "integer"], "{largest:?}");
    }

    #[test]
    fn a_version_is_a_sequence_or_a_moment_and_is_required() {
        let version = |domain: VersionDomain, v: Value| {
            let mut rules = rules(&[]);
            rules.version = Some(VersionRule {
                expression: ".v".to_owned(),
                domain,
            });
            let mapping = Mapping::compile(&rules).unwrap();
            assert_eq!(mapping.version_domain(), Some(domain));
            mapping
                .map(&json!({"id": "C1", "v": v}))
                .map(|mapped| mapped.unwrap().version.value)
                .map_err(|errors| (errors[0].rule.clone(), errors[0].pointer.clone()))
        };
        let refused = || Err(("version".to_owned(), "/v".to_owned()));
        for (v, expected) in [
            (json!(17), Ok(17)),
            (json!("17"), Ok(17)),
            (json!(0), Ok(0)),
            (json!("-3"), Ok(-3)),
            (json!(i64::MAX.to_string()), Ok(i64::MAX)),
            (json!(17.0), refused()),
            (json!("+17"), refused()),
            (json!("17.0"), refused()),
            (json!("9223372036854775808"), refused()),
            (json!(""), refused()),
            (Value::Null, refused()),
        ] {
            assert_eq!(version(VersionDomain::Sequence, v.clone()), expected, "{v}");
        }
        for (v, expected) in [
            (json!("1970-01-01T00:00:01Z"), Ok(1_000_000)),
            (json!("2025-02-13T19:08:07.000Z"), Ok(1_739_473_687_000_000)),
            (
                json!("2025-02-13t20:08:07.0000019+01:00"),
                Ok(1_739_473_687_000_001),
            ),
            (json!("2025-02-13"), refused()),
            (json!(1_739_473_687), refused()),
        ] {
            assert_eq!(version(VersionDomain::Time, v.clone()), expected, "{v}");
        }
        assert_eq!(
            mapping(&[])
                .map(&json!({"id": "C1"}))
                .unwrap()
                .unwrap()
                .version
                .value,
            0
        );
        assert_eq!(mapping(&[]).version_domain(), None);
    }

    #[test]
    fn an_event_without_a_valid_customer_id_is_refused() {
        for (event, rule) in [
            (json!({}), "customer"),
            (json!({"id": null}), "customer"),
            (json!({"id": ""}), "customer"),
            (json!({"id": 7}), "imprint_id"),
            (json!({"id": "../x"}), "imprint_id"),
        ] {
            let errors = mapping(&[("email", ".email")]).map(&event).unwrap_err();
            assert_eq!(errors.len(), 1);
            let error = &errors[0];
            assert_eq!(
                (
                    error.rule.as_str(),
                    error.pointer.as_str(),
                    error.location.as_str()
                ),
                (rule, "/id", "customer.imprint_id")
            );
        }
    }

    #[test]
    fn one_of_the_two_customer_ids_is_enough() {
        let both = MappingRules {
            partner_id: Some(".own".to_owned()),
            ..rules(&[])
        };
        let own = MappingRules {
            imprint_id: None,
            ..both.clone()
        };
        let table = [
            (
                &both,
                json!({"id": "C1", "own": "P 1"}),
                Some((Some("C1"), Some("P 1"))),
            ),
            (
                &both,
                json!({"id": null, "own": 17}),
                Some((None, Some("17"))),
            ),
            (
                &both,
                json!({"id": "C1", "own": " "}),
                Some((Some("C1"), None)),
            ),
            (&both, json!({"id": "", "own": ""}), None),
            (&both, json!({"id": "C1", "own": " P1"}), None),
            (
                &own,
                json!({"id": "C1", "own": "P1"}),
                Some((None, Some("P1"))),
            ),
            (&own, json!({"id": "C1"}), None),
        ];
        for (rules, event, expected) in table {
            let mapped = Mapping::compile(rules).unwrap().map(&event);
            let customer = mapped
                .as_ref()
                .ok()
                .map(|mapped| &mapped.as_ref().unwrap().customer);
            let ids = customer.map(|customer| {
                let imprint = customer.imprint().map(ImprintId::as_str);
                (imprint, customer.partner().map(PartnerCustomerId::as_str))
            });
            assert_eq!(ids, expected, "{event}");
        }
        let neither = MappingRules {
            imprint_id: None,
            ..rules(&[])
        };
        let errors = Mapping::compile(&neither).unwrap_err();
        assert_eq!(
            errors[0].reason,
            "is required, or customer.partner_id: an event must say which customer it is about"
        );
    }
}
