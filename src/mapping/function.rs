//! The functions of the mapping language, such as `e164` and `digits`, in one table.
//!
//! Every mapping function returns absent for absent input. For null or a blank text, every function returns null,
//! because there is no value to convert. A function never guesses: it refuses input that has two possible meanings.

use std::collections::BTreeMap;
use std::sync::Arc;

use rlibphonenumber::Region;
use serde_json::Value;

use super::budget;
use super::comparison::is_cleared;
use super::error::{Argument, EvalError, ValueError, other_type};
use super::located::{Assumed, LocatedValue, Presence};
use calendar::EpochUnit;
use text::LineSelector;

pub(super) mod calendar;
pub(super) mod country;
mod digest;
pub(super) mod language;
pub(super) mod marks;
pub(super) mod money;
pub(super) mod phone;
mod place_name;
pub(super) mod states;
pub(super) mod text;
pub(in crate::mapping) mod time_form;

/// The number of budget steps for a call of a mapping function. The text that the function reads takes further steps.
const CALL_STEPS: usize = 4;
/// The number of budget steps for a call of `e164`. A call takes about 10 µs, because the function tries many patterns.
const PHONE_STEPS: usize = 100;

/// A lookup table `[tables.<name>]` of the configuration. The table translates the words of the source into Imprint's
/// words.
pub(super) type LookupTable = BTreeMap<String, String>;

/// The result of a mapping function on one value.
pub(super) type Conversion = Result<Value, ValueError>;

/// The name, usage and parameters of a function of the mapping language.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    /// The notation of a call, for error messages.
    pub(super) usage: &'static str,
    pub(super) parameters: Parameters,
}

/// The parameters of a mapping function. Some variants also contain the Rust function that implements the mapping
/// function.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parameters {
    /// Takes no arguments. The input must be a text.
    Nothing(fn(&str) -> Conversion),
    /// Takes no arguments. The input can be any value.
    Anything(fn(&Value) -> Conversion),
    /// Takes no arguments. The function reads the whole input, with all items and members.
    Whole(fn(&Value) -> Conversion),
    /// Takes one argument: the unit of the input, such as `"ms"`.
    Unit,
    /// Takes two arguments: the number of a line, and the maximum number of lines in the input.
    Line,
    /// Takes one optional argument: the region of phone numbers that are written without `+`.
    Region,
    /// Takes one argument: the name of a lookup table.
    Table,
    /// Takes two arguments. Both arguments are expressions.
    Expressions(fn(&Value, &Value) -> Conversion),
}

const fn signature(name: &'static str, usage: &'static str, parameters: Parameters) -> Signature {
    Signature {
        name,
        usage,
        parameters,
    }
}

/// All functions of the mapping language.
pub(super) static FUNCTIONS: [Signature; 21] = [
    signature("alpha3", "alpha3", Parameters::Nothing(country::alpha3)),
    signature("date", "date", Parameters::Nothing(calendar::date)),
    signature("digest", "digest", Parameters::Whole(digest::digest)),
    signature("digits", "digits", Parameters::Nothing(text::digits)),
    signature("e164", "e164 or e164(\"US\")", Parameters::Region),
    signature(
        "is_domestic",
        "is_domestic",
        Parameters::Nothing(country::is_domestic),
    ),
    signature(
        "language",
        "language",
        Parameters::Nothing(language::language),
    ),
    signature("line", "line(1; 2)", Parameters::Line),
    signature("lookup", "lookup(\"table\")", Parameters::Table),
    signature("lower", "lower", Parameters::Nothing(text::lower)),
    signature(
        "minor_units",
        "minor_units(.amount; .currency)",
        Parameters::Expressions(money::minor_units),
    ),
    signature("moment", "moment(\"ms\")", Parameters::Unit),
    signature(
        "months_since",
        "months_since(.date; .time)",
        Parameters::Expressions(calendar::months_since),
    ),
    signature("text", "text", Parameters::Anything(text::text)),
    signature("title", "title", Parameters::Nothing(text::title)),
    signature("trim", "trim", Parameters::Nothing(text::trim)),
    signature("upper", "upper", Parameters::Nothing(text::upper)),
    signature(
        "us_state",
        "us_state",
        Parameters::Nothing(states::us_state),
    ),
    signature("us_zip", "us_zip", Parameters::Anything(states::us_zip)),
    signature("utc", "utc", Parameters::Nothing(calendar::utc)),
    signature("whole", "whole", Parameters::Anything(text::whole)),
];

/// Finds the mapping function with this name.
pub(super) fn find(name: &str) -> Option<&'static Signature> {
    FUNCTIONS.iter().find(|known| known.name == name)
}

/// A call of a mapping function on its input, such as `.phone | e164("US")`.
#[derive(Clone, Debug)]
pub(super) struct FunctionCall {
    pub(super) name: &'static str,
    pub(super) function: Function,
}

/// A function of the mapping language with its constant arguments.
#[derive(Clone, Debug)]
pub(super) enum Function {
    Text(fn(&str) -> Conversion),
    Value(fn(&Value) -> Conversion),
    Whole(fn(&Value) -> Conversion),
    Moment(EpochUnit),
    Line(LineSelector),
    Phone(Option<Region>),
    Lookup(Arc<LookupTable>),
}

/// A call of a mapping function on the values of two expressions, such as `minor_units(.amount; .currency)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct BinaryCall {
    pub(super) name: &'static str,
    pub(super) apply: fn(&Value, &Value) -> Conversion,
}

impl FunctionCall {
    /// Returns the constants that the mapping function can return.
    pub(super) fn constants(&self) -> Vec<Value> {
        match &self.function {
            Function::Lookup(table) => table.values().map(|to| Value::from(to.as_str())).collect(),
            Function::Text(_)
            | Function::Value(_)
            | Function::Whole(_)
            | Function::Moment(_)
            | Function::Line(_)
            | Function::Phone(_) => Vec::new(),
        }
    }

    /// Calls the mapping function on `input`.
    pub(super) fn read<'a>(&self, input: &LocatedValue<'a>) -> Result<LocatedValue<'a>, EvalError> {
        match &self.function {
            Function::Text(apply) => self.on_text(input, apply),
            Function::Value(apply) | Function::Whole(apply) => self.on_value(input, apply),
            Function::Moment(unit) => self.on_value(input, |value| unit.moment(value)),
            Function::Line(line) => self.on_text(input, |text| line.select(text)),
            Function::Phone(region) => self.on_text(input, |text| phone::e164(text, *region)),
            Function::Lookup(table) => self.on_value(input, |value| text::lookup(value, table)),
        }
    }

    /// Returns the number of budget steps for a call on `input`. Only a function of the kind `Whole` reads the items and
    /// members of its input. For all other functions, only a long text takes more steps.
    fn steps(&self, input: &LocatedValue<'_>) -> usize {
        let read = input.value().and_then(Value::as_str);
        let read = read.map_or(1, budget::work_steps);
        match &self.function {
            Function::Phone(_) => PHONE_STEPS + read,
            Function::Whole(_) => CALL_STEPS + input.value().map_or(1, budget::hash_steps),
            Function::Text(_)
            | Function::Value(_)
            | Function::Moment(_)
            | Function::Line(_)
            | Function::Lookup(_) => CALL_STEPS + read,
        }
    }

    fn on_text<'a>(
        &self,
        input: &LocatedValue<'a>,
        apply: impl Fn(&str) -> Conversion,
    ) -> Result<LocatedValue<'a>, EvalError> {
        self.on_value(input, |value| match value {
            Value::String(text) => apply(text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => Err(ValueError::new(other_type(value, "a text"))),
        })
    }

    fn on_value<'a>(
        &self,
        input: &LocatedValue<'a>,
        apply: impl Fn(&Value) -> Conversion,
    ) -> Result<LocatedValue<'a>, EvalError> {
        input.charge(self.steps(input))?;
        match &input.presence {
            Presence::Absent(_) => Ok(input.absent(Assumed::Null)),
            Presence::Present(value) if is_cleared(value) => Ok(input.made(Value::Null)),
            Presence::Present(value) => apply(value)
                .map(|made| input.made(made))
                .map_err(|error| input.error(self.name, error)),
        }
    }
}

impl BinaryCall {
    /// Calls the mapping function on two values.
    ///
    /// If the first argument is absent, the result is absent. If the first argument is null or empty, the result is null.
    /// If the first argument has a value, a missing second argument is an error, because the function does not guess.
    pub(super) fn read<'a>(
        &self,
        first: &LocatedValue<'a>,
        second: &LocatedValue<'a>,
    ) -> Result<LocatedValue<'a>, EvalError> {
        first.charge(CALL_STEPS)?;
        for argument in [first, second] {
            let text = argument.value().and_then(Value::as_str);
            argument.charge(text.map_or(1, budget::work_steps))?;
        }
        let Presence::Present(subject) = &first.presence else {
            return Ok(first.absent(Assumed::Null));
        };
        if is_cleared(subject) {
            return Ok(first.made(Value::Null));
        }
        let other = match &second.presence {
            Presence::Present(other) if !is_cleared(other) => other,
            Presence::Present(_) | Presence::Absent(_) => {
                let error = ValueError::new("The second argument is absent or empty.");
                return Err(second.error(self.name, error));
            }
        };
        (self.apply)(subject, other)
            .map(|made| first.made(made))
            .map_err(|error| match error.argument {
                Argument::First => first.error(self.name, error),
                Argument::Second => second.error(self.name, error),
            })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::tests::FieldResult::{Absent, Cleared, Refused, Set};
    use crate::mapping::tests::{CANARY, FieldResult, check};

    #[test]
    fn every_function_keeps_absent_and_null() {
        for known in &FUNCTIONS {
            let expression = match known.parameters {
                Parameters::Nothing(_)
                | Parameters::Anything(_)
                | Parameters::Whole(_)
                | Parameters::Region => {
                    format!(".v | {}", known.name)
                }
                Parameters::Unit | Parameters::Line => format!(".v | {}", known.usage),
                Parameters::Table => ".v | lookup(\"tiers\")".to_owned(),
                Parameters::Expressions(_) if known.name == "minor_units" => {
                    "minor_units(.v; \"USD\")".to_owned()
                }
                Parameters::Expressions(_) => format!("{}(.v; .at)", known.name),
            };
            check("metadata.k", &expression, None, &Absent);
            check("metadata.k", &expression, Some(Value::Null), &Cleared);
            check("metadata.k", &expression, Some(json!(" ")), &Cleared);
            if matches!(known.parameters, Parameters::Whole(_)) {
                continue;
            }
            check(
                "metadata.k",
                &expression,
                Some(json!([CANARY])),
                &Refused(known.name, "/v"),
            );
        }
    }

    /// Checks one mapping function on texts. An expected result of `None` means that the function refuses the text.
    fn check_texts(expression: &str, rule: &'static str, cases: &[(&str, Option<&str>)]) {
        for (text, made) in cases {
            let expected = made.map_or(Refused(rule, "/v"), |made| Set(json!(made)));
            check("metadata.k", expression, Some(json!(text)), &expected);
        }
    }

    #[test]
    fn phone_numbers_become_e164_and_are_never_guessed() {
        let cases = [
            ("(415) 555-2671", Some("+14155552671")),
            ("415.555.2671", Some("+14155552671")),
            ("4155552671", Some("+14155552671")),
            ("1 415 555 2671", Some("+14155552671")),
            (" +1 415-555-2671 ", Some("+14155552671")),
            ("+44 20 7946 0000", Some("+442079460000")),
            ("011 44 20 7946 0000", Some("+442079460000")),
            ("555-2671", None),
            ("(555) 555-2671", None),
            ("415 555 2671 x5", None),
            ("1-800-FLOWERS", None),
            ("x415 555 2671", None),
            ("415+555+2671", None),
            ("415 555 2671, 415 555 2672", None),
            ("415 555 2671 / 415 555 2672", None),
            ("+", None),
            ("canary-7f3a", None),
            ("٤١٥٥٥٥٢٦٧١", None),
        ];
        check_texts(".v | e164(\"US\")", "e164", &cases);
        let cases = [
            ("+1 (415) 555-2671", Some("+14155552671")),
            ("4155552671", None),
            ("00442079460000", None),
            ("+999 123456", None),
        ];
        check_texts(".v | e164", "e164", &cases);
        check_texts(
            ".v | e164(\"GB\")",
            "e164",
            &[("020 7946 0000", Some("+442079460000"))],
        );
    }

    #[test]
    fn countries_become_alpha_3() {
        let cases = [
            ("US", Some("USA")),
            ("usa", Some("USA")),
            ("United States", Some("USA")),
            ("United States of America", Some("USA")),
            ("UK", Some("GBR")),
            ("gb", Some("GBR")),
            ("germany", Some("DEU")),
            ("TÜRKIYE", Some("TUR")),
            ("South Korea", Some("KOR")),
            (" FR ", Some("FRA")),
            ("Korea", None),
            ("America", None),
            ("XX", None),
            ("840", None),
            ("canary-7f3a", None),
        ];
        check_texts(".v | alpha3", "alpha3", &cases);
    }

    #[test]
    fn language_tags_become_two_letters() {
        let cases = [
            ("en-US", Some("en")),
            ("EN", Some("en")),
            ("pt_BR", Some("pt")),
            ("zh-Hant-TW", Some("zh")),
            ("iw-IL", Some("he")),
            ("eng", None),
            ("fil", None),
            ("xx", None),
            ("English", None),
            ("en-", None),
            ("en US", None),
            ("i-klingon", None),
            ("canary-7f3a", None),
        ];
        check_texts(".v | language", "language", &cases);
    }

    #[test]
    fn names_and_addresses_are_converted_and_never_guessed() {
        let cases = [
            ("JOHN O'NEIL-SMITH", Some("John O'Neil-Smith")),
            ("john's", Some("John's")),
            ("McDonald", Some("McDonald")),
            ("ÉLODIE", Some("Élodie")),
            ("l'oréal paris", Some("L'Oréal Paris")),
        ];
        check_texts(".v | title", "title", &cases);
        let cases = [
            ("94105-1234", Some("941051234")),
            ("n/a", None),
            ("٤", None),
        ];
        check_texts(".v | digits", "digits", &cases);
        let cases = [
            ("CA", Some("CA")),
            ("california", Some("CA")),
            ("D.C.", Some("DC")),
            (" New York ", Some("NY")),
            ("Puerto Rico", Some("PR")),
            ("AE", Some("AE")),
            ("Calif.", None),
            ("Bavaria", None),
            ("canary-7f3a", None),
        ];
        check_texts(".v | us_state", "us_state", &cases);
        let cases = [
            ("94105", Some("94105")),
            ("94105-1234", Some("94105-1234")),
            ("941051234", Some("94105-1234")),
            (" 02134 ", Some("02134")),
            ("2134", None),
            ("9410-51234", None),
            ("94105 1234", None),
            ("K1A 0B1", None),
            ("é4105", None),
        ];
        check_texts(".v | us_zip", "us_zip", &cases);
        let refused = Refused("us_zip", "/v");
        check("metadata.k", ".v | us_zip", Some(json!(94105)), &refused);
    }

    #[test]
    fn a_line_is_selected_and_none_is_dropped() {
        let line = |number: usize, v: &str, expected: &FieldResult| {
            let expression = format!(".v | line({number}; 2)");
            check("metadata.k", &expression, Some(json!(v)), expected);
        };
        line(1, "1 Elm St\r\n\n Apt 4B ", &Set(json!("1 Elm St")));
        line(2, "1 Elm St\r\n\n Apt 4B ", &Set(json!("Apt 4B")));
        line(2, "1 Elm St", &Cleared);
        line(1, "a\nb\nc", &Refused("line", "/v"));
    }

    #[test]
    fn numbers_and_texts_are_converted_only_without_loss() {
        let text =
            |v: Value, expected: &FieldResult| check("metadata.k", ".v | text", Some(v), expected);
        text(json!(42), &Set(json!("42")));
        text(json!(u64::MAX), &Set(json!("18446744073709551615")));
        text(json!(true), &Set(json!("true")));
        text(json!("007"), &Set(json!("007")));
        text(json!(1.5), &Refused("text", "/v"));
        let whole =
            |v: Value, expected: &FieldResult| check("metadata.k", ".v | whole", Some(v), expected);
        let refused = Refused("whole", "/v");
        whole(json!(" +42 "), &Set(json!(42)));
        whole(json!("-7"), &Set(json!(-7)));
        whole(json!(42.0), &Set(json!(42)));
        whole(json!(i64::MAX), &Set(json!(i64::MAX)));
        for v in [
            json!("4.0"),
            json!("1e3"),
            json!("+-1"),
            json!(1.5),
            json!(1e300),
            json!(1e16),
            json!(u64::MAX),
            json!("٤"),
        ] {
            whole(v, &refused);
        }
    }

    #[test]
    fn numbers_become_moments_in_the_named_unit() {
        let moment = |unit: &str, v: Value, expected: Option<&str>| {
            let expression = format!(".v | moment(\"{unit}\")");
            let expected = expected.map_or(Refused("moment", "/v"), |text| Set(json!(text)));
            check("metadata.k", &expression, Some(v), &expected);
        };
        moment("s", json!(1_739_473_687), Some("2025-02-13T19:08:07Z"));
        moment(
            "ms",
            json!(1_739_473_687_250_i64),
            Some("2025-02-13T19:08:07.25Z"),
        );
        moment(
            "us",
            json!("1739473687000001"),
            Some("2025-02-13T19:08:07.000001Z"),
        );
        moment(
            "s",
            json!(1_739_473_687.25),
            Some("2025-02-13T19:08:07.25Z"),
        );
        moment(
            "ms",
            json!("1739473687250.125"),
            Some("2025-02-13T19:08:07.250125Z"),
        );
        moment(
            "ms",
            json!("2025-02-13T14:08:07-05:00"),
            Some("2025-02-13T14:08:07-05:00"),
        );
        for v in [
            json!("2025-02-13"),
            json!(1.5),
            json!("soon"),
            json!(i64::MAX),
            json!("+1"),
        ] {
            moment("s", v, None);
        }
    }

    #[test]
    fn amounts_become_minor_units_without_rounding() {
        let check = |amount: Value, currency: Value, expected: &FieldResult| {
            let v = json!({"amount": amount, "currency": currency});
            let expression = ".v | minor_units(.amount; .currency)";
            check("customer_history.ltv_amount", expression, Some(v), expected);
        };
        let amount = |amount: Value, units: i64| check(amount, json!("USD"), &Set(json!(units)));
        let bad_amount = |amount: Value| {
            check(amount, json!("USD"), &Refused("minor_units", "/v/amount"));
        };
        amount(json!("340.00"), 34000);
        amount(json!("340"), 34000);
        amount(json!("0.1"), 10);
        amount(json!("1.1000"), 110);
        amount(json!("-12.34"), -1234);
        amount(json!("0"), 0);
        amount(json!("92233720368547758.07"), i64::MAX);
        amount(json!(340), 34000);
        amount(json!(340.0), 34000);
        amount(json!(0.29), 29);
        amount(json!(1.1), 110);
        amount(json!(1234567890123.45), 123_456_789_012_345);
        bad_amount(json!("1.005"));
        bad_amount(json!("1,234.00"));
        bad_amount(json!("$5"));
        bad_amount(json!("1e3"));
        bad_amount(json!("+5"));
        bad_amount(json!(".5"));
        bad_amount(json!("5."));
        bad_amount(json!("1_000"));
        bad_amount(json!("٣"));
        bad_amount(json!("92233720368547758.08"));
        bad_amount(json!("99999999999999999999999999999999999"));
        bad_amount(json!(1.005));
        bad_amount(json!(1e-7));
        bad_amount(json!(1e16));
        bad_amount(json!(1e300));
        bad_amount(json!(12345678901234.567));
        bad_amount(json!(u64::MAX));
        bad_amount(json!(true));
        check(json!("340"), json!("JPY"), &Set(json!(340)));
        check(json!("1.234"), json!("KWD"), &Set(json!(1234)));
        check(
            json!("340.5"),
            json!("JPY"),
            &Refused("minor_units", "/v/amount"),
        );
        for currency in [
            json!("XXX"),
            json!("dollar"),
            json!("XAU"),
            json!(CANARY),
            json!(7),
            Value::Null,
        ] {
            check(json!("1"), currency, &Refused("minor_units", "/v/currency"));
        }
    }

    #[test]
    fn months_are_whole_and_end_at_the_time_of_the_event() {
        let months = |date: &str, at: &str, expected: &FieldResult| {
            let expression = "months_since(.v.date; .v.at)";
            let v = json!({"date": date, "at": at});
            check(
                "customer_history.account_tenure",
                expression,
                Some(v),
                expected,
            );
        };
        months("2024-01-10", "2025-02-13T19:08:07.000Z", &Set(json!(13)));
        months("2024-01-14", "2025-02-13T19:08:07Z", &Set(json!(12)));
        months("2025-02-13", "2025-02-13T00:00:00+05:30", &Set(json!(0)));
        months("2024-01-31", "2024-02-29T00:00:00Z", &Set(json!(0)));
        months("2024-01-31", "2024-03-01T00:00:00Z", &Set(json!(1)));
        months("2024-02-29", "2025-02-28T00:00:00Z", &Set(json!(11)));
        months("2024-01-10T23:59:59.5-08:00", "2024-02-10", &Set(json!(1)));
        for bad in [
            "1/2/2025",
            "2025-02-14",
            "2025-02-30",
            "20250213",
            "2025-02-13 10:00:00Z",
            "2025-02-13T10:00:00",
            "2025-02-13T10:00Z",
            "2025-02-13T10:00:00Z[UTC]",
            "2025-02-13x",
            "canary-7f3a",
        ] {
            let refused = Refused("months_since", "/v/date");
            months(bad, "2025-02-13T19:08:07Z", &refused);
        }
        months("2025-02-13", "yesterday", &Refused("months_since", "/v/at"));
        months("2025-02-13", "", &Refused("months_since", "/v/at"));
    }

    #[test]
    fn case_dates_and_tables_are_converted() {
        check_texts(".v | trim", "trim", &[(" a b ", Some("a b"))]);
        check_texts(".v | upper", "upper", &[("straße", Some("STRASSE"))]);
        check_texts(".v | lower", "lower", &[("ÄB", Some("äb"))]);
        let cases = [
            ("2024-01-10", Some("2024-01-10")),
            ("2024-01-10T23:00:00-08:00", Some("2024-01-10")),
            ("10.01.2024", None),
            ("/Date(1739404800000)/", Some("2025-02-13")),
            ("/Date(-86400000)/", Some("1969-12-31")),
            ("/Date(1739404800001)/", None),
            ("/Date(1739404800000+0100)/", None),
            ("/Date(1739404800000-0500)/", None),
            ("/Date(x)/", None),
        ];
        check_texts(".v | date", "date", &cases);
        let cases = [
            ("Gold", Some("GOLD")),
            ("gold", None),
            ("canary-7f3a", None),
        ];
        check_texts(".v | lookup(\"tiers\")", "lookup", &cases);
        let lookup = ".v | lookup(\"tiers\")";
        check("metadata.k", lookup, Some(json!(3)), &Set(json!("BRONZE")));
        check(
            "metadata.k",
            lookup,
            Some(json!(3.5)),
            &Refused("lookup", "/v"),
        );
    }
}
