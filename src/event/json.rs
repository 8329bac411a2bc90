//! Parses bytes as strict JSON. An error names the broken rule and the place in the body.
//!
//! The parser is stricter than RFC 8259, so that the source, a gateway and the bridge cannot read the same body in
//! different ways. The parser requires UTF-8 without a byte order mark, and refuses a duplicate key, a NUL and a lone
//! surrogate. The parser also limits the nesting depth, the number of keys, and the length of strings. The parser makes
//! one pass, in time linear in the size of the body. A parse error never contains any part of the body.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

mod cause;
mod long_numbers;

pub use cause::SyntaxCause;

/// The maximum nesting depth of arrays and objects in a body. The deepest known event has 5 levels.
pub const DEPTH_MAX: usize = 32;
/// The maximum number of keys in all objects of a body together. A batch of 100 events with 60 fields has 6000 keys.
pub const KEYS_MAX: usize = 10_000;
/// The maximum number of items in all arrays of a body together. A batch of 100 events with 60 tags has 6100 items.
///
/// Without this limit, a body of 250 KB could have 125,000 items, and each item possibly becomes an event.
pub const ITEMS_MAX: usize = 10_000;
/// The maximum size of one string or key in a body. CloudEvents requires receivers to accept events of up to 64 KiB.
pub const STRING_BYTES_MAX: usize = 64 * 1024;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The error of a body that breaks a rule of strict JSON. Lines and columns start at 1, and columns count bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} at line {line}, column {column}", self.reason())]
pub struct Error {
    /// The strict JSON rule that the body breaks.
    pub rule: JsonRule,
    /// The cause, if the bridge knows more than the rule.
    pub cause: Option<SyntaxCause>,
    /// The line of the error in the body.
    pub line: usize,
    /// The column of the error in the body, in bytes.
    pub column: usize,
}

impl Error {
    /// Returns the cause of the error, without any part of the body.
    pub fn reason(&self) -> String {
        let cause = self.cause.as_ref().map(ToString::to_string);
        cause.unwrap_or_else(|| self.rule.to_string())
    }

    const fn caused_by(mut self, cause: Option<SyntaxCause>) -> Self {
        self.cause = cause;
        self
    }
}

/// A rule of strict JSON for request bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonRule {
    /// The body must be UTF-8.
    Utf8,
    /// The body must not begin with a byte order mark.
    ByteOrderMark,
    /// The body must not be empty.
    Empty,
    /// The body must be valid JSON, with no lone surrogates, no raw control characters and no numbers out of range.
    Syntax,
    /// Only white space is allowed after the JSON value of the body.
    Trailing,
    /// An object must not have the same key twice, even if the two copies of the key are written with different
    /// escapes.
    DuplicateKey,
    /// A string must not contain a NUL character, because some databases and logs would cut the string at this
    /// character.
    Nul,
    /// Arrays and objects must be nested at most [`DEPTH_MAX`] deep.
    Depth,
    /// The body must have at most [`KEYS_MAX`] keys.
    Keys,
    /// The arrays of the body must have at most [`ITEMS_MAX`] items together.
    Items,
    /// Every string and key must have at most [`STRING_BYTES_MAX`] bytes.
    StringLength,
}

impl JsonRule {
    /// Returns the name of the strict JSON rule in a problem document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::ByteOrderMark => "byte_order_mark",
            Self::Empty => "empty",
            Self::Syntax => "syntax",
            Self::Trailing => "trailing",
            Self::DuplicateKey => "duplicate_key",
            Self::Nul => "nul",
            Self::Depth => "depth",
            Self::Keys => "keys",
            Self::Items => "items",
            Self::StringLength => "string_length",
        }
    }
}

impl fmt::Display for JsonRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf8 => f.write_str("the body is not UTF-8"),
            Self::ByteOrderMark => f.write_str("the body begins with a byte order mark"),
            Self::Empty => f.write_str("the body is empty"),
            Self::Syntax => f.write_str("the body is not JSON"),
            Self::Trailing => f.write_str("the body continues after the JSON value"),
            Self::DuplicateKey => f.write_str("an object has the same key more than once"),
            Self::Nul => f.write_str("a string contains a NUL character"),
            Self::Depth => write!(f, "the body is nested deeper than {DEPTH_MAX} levels"),
            Self::Keys => write!(f, "the body has more than {KEYS_MAX} keys"),
            Self::Items => write!(
                f,
                "the arrays of the body have more than {ITEMS_MAX} items together"
            ),
            Self::StringLength => write!(f, "a string is longer than {STRING_BYTES_MAX} bytes"),
        }
    }
}

/// Parses one JSON value.
///
/// # Errors
/// Returns the first rule that the body breaks, and the place of the error in the body.
pub fn parse(body: &[u8]) -> Result<Value, Error> {
    read(body, ParseState::default())
}

/// Parses the JSON value of a file that an operator wrote. The size of the file limits the numbers of keys and items.
///
/// # Errors
/// Returns the first rule that the file breaks, and the place of the error in the file.
pub fn parse_file(content: &[u8]) -> Result<Value, Error> {
    let reading = ParseState {
        is_file: true,
        ..ParseState::default()
    };
    read(content, reading)
}

fn read(body: &[u8], reading: ParseState) -> Result<Value, Error> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let error = at(body, error.valid_up_to()).breaks(JsonRule::Utf8);
        error.caused_by(SyntaxCause::of_encoding(body))
    })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        return Err(at(body, 0).breaks(JsonRule::ByteOrderMark));
    }
    if body.trim_ascii().is_empty() {
        return Err(at(body, 0).breaks(JsonRule::Empty));
    }
    let reading = ParseState {
        long_numbers: long_numbers::positions(body),
        has_escapes: memchr::memchr(b'\\', body).is_some(),
        ..reading
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = reading
        .seed(0)
        .deserialize(&mut deserializer)
        .map_err(|error| match reading.broken.get() {
            Some(rule) => place(&error).breaks(rule),
            None => {
                let cause = SyntaxCause::of_syntax(body, index(body, &error), &error);
                place(&error).breaks(JsonRule::Syntax).caused_by(cause)
            }
        })?;
    deserializer.end().map_err(|error| {
        let cause = SyntaxCause::of_trailing(body, index(body, &error));
        place(&error).breaks(JsonRule::Trailing).caused_by(cause)
    })?;
    Ok(value)
}

// === Positions ===

struct LineAndColumn {
    line: usize,
    column: usize,
}

impl LineAndColumn {
    const fn breaks(self, rule: JsonRule) -> Error {
        Error {
            rule,
            cause: None,
            line: self.line,
            column: self.column,
        }
    }
}

fn at(body: &[u8], offset: usize) -> LineAndColumn {
    let before = body.get(..offset).unwrap_or(body);
    LineAndColumn {
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        column: 1 + before
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count(),
    }
}

/// Returns the index in the body at which the parser stopped.
fn index(body: &[u8], error: &serde_json::Error) -> usize {
    let lines = body.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    before + error.column().saturating_sub(1)
}

fn place(error: &serde_json::Error) -> LineAndColumn {
    LineAndColumn {
        line: error.line(),
        column: error.column(),
    }
}

// === Parsing ===

/// The number of keys and items in the whole body up to now, and the strict JSON rule that ended the parsing. The parse state
/// stores the rule, because a serde error contains only text.
#[derive(Default)]
struct ParseState {
    keys: Cell<usize>,
    items: Cell<usize>,
    /// True if the limits on bodies do not apply.
    is_file: bool,
    /// The number of JSON numbers up to now. The state counts them only if the body has long numbers.
    numbers: Cell<usize>,
    /// The positions of the numbers with more digits than a 64-bit float keeps.
    long_numbers: BTreeSet<usize>,
    /// True if strings of the body possibly have escapes. Only an escape can stand for a NUL.
    has_escapes: bool,
    broken: Cell<Option<JsonRule>>,
}

impl ParseState {
    const fn seed(&self, depth: usize) -> Seed<'_> {
        Seed {
            reading: self,
            depth,
        }
    }

    fn fail<E: de::Error>(&self, rule: JsonRule) -> E {
        self.broken.set(Some(rule));
        E::custom(rule.as_str())
    }

    fn text<E: de::Error>(&self, text: String) -> Result<String, E> {
        if text.len() > STRING_BYTES_MAX && !self.is_file {
            Err(self.fail(JsonRule::StringLength))
        } else if self.has_escapes && text.contains('\0') {
            Err(self.fail(JsonRule::Nul))
        } else {
            Ok(text)
        }
    }

    /// Returns whether the number that the parser has just read has more digits than a 64-bit float keeps.
    fn is_long_number(&self) -> bool {
        if self.long_numbers.is_empty() {
            return false;
        }
        self.long_numbers
            .contains(&self.numbers.replace(self.numbers.get() + 1))
    }

    fn count_item<E: de::Error>(&self) -> Result<(), E> {
        self.items.set(self.items.get() + 1);
        if self.items.get() > ITEMS_MAX && !self.is_file {
            return Err(self.fail(JsonRule::Items));
        }
        Ok(())
    }

    fn key<E: de::Error>(&self, key: String) -> Result<String, E> {
        self.keys.set(self.keys.get() + 1);
        if self.keys.get() > KEYS_MAX && !self.is_file {
            return Err(self.fail(JsonRule::Keys));
        }
        self.text(key)
    }
}

/// The parser of a JSON value at this nesting depth.
struct Seed<'a> {
    reading: &'a ParseState,
    depth: usize,
}

impl<'a> Seed<'a> {
    fn inside<E: de::Error>(&self) -> Result<usize, E> {
        if self.depth < DEPTH_MAX || self.reading.is_file {
            Ok(self.depth + 1)
        } else {
            Err(self.reading.fail(JsonRule::Depth))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        self.reading.is_long_number();
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        self.reading.is_long_number();
        Ok(value.into())
    }

    /// Reads a float. A number that has lost digits becomes the next float: 16 or 17 digits are necessary to write this
    /// float, so every later rule sees that the digits are not those of the source.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let value = if self.reading.is_long_number() {
            value.next_up()
        } else {
            value
        };
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| self.reading.fail(JsonRule::Syntax))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        self.reading.text(value).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.inside()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self.reading.seed(depth))? {
            self.reading.count_item()?;
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let depth = self.inside()?;
        let mut values = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let Entry::Vacant(slot) = values.entry(self.reading.key(key)?) else {
                return Err(self.reading.fail(JsonRule::DuplicateKey));
            };
            slot.insert(members.next_value_seed(self.reading.seed(depth))?);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(body: impl AsRef<[u8]>, rule: JsonRule) {
        let body = body.as_ref();
        let shown = String::from_utf8_lossy(body.get(..40).unwrap_or(body)).into_owned();
        let refused = parse(body).map_err(|error| error.rule);
        assert_eq!(refused, Err(rule), "{shown}");
    }

    #[test]
    fn a_value_of_any_kind_is_parsed() {
        let body = r#" {"a":[1,-2,1.5,true,false,null,"x"],"b":{"\u0061":"\ud83d\ude00 é"}} "#;
        let read = parse(body.as_bytes()).unwrap();
        assert_eq!(
            read,
            json!({"a": [1, -2, 1.5, true, false, null, "x"], "b": {"a": "😀 é"}})
        );
        assert_eq!(parse(b"null").unwrap(), Value::Null);
        assert_eq!(
            parse(b"18446744073709551615").unwrap(),
            json!(18_446_744_073_709_551_615_u64)
        );
    }

    /// FAULTS N322: a number never looks like a shorter number.
    #[test]
    fn a_number_that_loses_digits_keeps_no_short_form() {
        for (text, expected) in [
            ("1.00000000000000000001", "1.0000000000000002"),
            (
                "[7,-2,100.000000000000000000001,1.5]",
                "[7,-2,100.00000000000001,1.5]",
            ),
            (
                "{\"a\":0.300000000000000000001}",
                "{\"a\":0.30000000000000004}",
            ),
            ("18446744073709551615", "18446744073709551615"),
            ("[18446744073709551615,0.5]", "[18446744073709551615,0.5]"),
            ("340.100000000000000000000", "340.1"),
            ("0.10000000000000001", "0.1"),
        ] {
            assert_eq!(
                parse(text.as_bytes()).unwrap().to_string(),
                expected,
                "{text}"
            );
        }
    }

    /// FAULTS I05
    #[test]
    fn a_duplicate_key_is_refused_however_it_is_escaped() {
        for body in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#,
            r#"{"\ud83d\ude00":1,"😀":2}"#,
            r#"{"":1,"":2}"#,
        ] {
            check(body, JsonRule::DuplicateKey);
        }
        assert!(parse(br#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    }

    /// FAULTS I07
    #[test]
    fn only_valid_utf_8_is_accepted() {
        check(b"\"\xff\"", JsonRule::Utf8);
        check(b"\"\xc0\xaf\"", JsonRule::Utf8);
        check(b"\"\xed\xa0\x80\"", JsonRule::Utf8);
        check(b"\xef\xbb\xbf{}", JsonRule::ByteOrderMark);
        check(b"\xff\xfe{\0}\0", JsonRule::Utf8);
        for lone in [
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800x""#,
            r#""\ud800\u0041""#,
            r#"{"\udfff":1}"#,
        ] {
            check(lone, JsonRule::Syntax);
        }
    }

    /// FAULTS I08
    #[test]
    fn a_nul_or_a_raw_control_character_is_refused() {
        check(r#"{"a":"b\u0000c"}"#, JsonRule::Nul);
        check(r#"{"a\u0000":1}"#, JsonRule::Nul);
        check(b"\"a\0\"", JsonRule::Syntax);
        check(b"\"a\n\"", JsonRule::Syntax);
        assert_eq!(parse(br#""a\nb""#).unwrap(), json!("a\nb"));
    }

    /// FAULTS I35
    #[test]
    fn an_empty_body_has_an_error_of_its_own() {
        check("", JsonRule::Empty);
        check(" \r\n\t", JsonRule::Empty);
    }

    #[test]
    fn anything_but_one_json_value_is_refused() {
        for body in [
            "{",
            "}",
            "nul",
            "{'a':1}",
            "{\"a\":1,}",
            "[1,]",
            "NaN",
            "Infinity",
            "1e999",
            "-",
            "01",
            "// x\n1",
            "\"a",
            "{\"a\"}",
            "+1",
            ".5",
        ] {
            check(body, JsonRule::Syntax);
        }
        for body in ["{}{}", "1 2", "{} x", "[]]", "null,"] {
            check(body, JsonRule::Trailing);
        }
    }

    /// FAULTS I03, P19
    #[test]
    fn depth_is_limited_before_the_stack_grows() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        check(nested(DEPTH_MAX + 1), JsonRule::Depth);
        check(nested(100_000), JsonRule::Depth);
        check("{\"a\":".repeat(100_000), JsonRule::Depth);
    }

    /// FAULTS I04
    #[test]
    fn keys_are_counted_in_the_whole_body() {
        let object = |from: usize, keys: usize| {
            let members: Vec<_> = (from..from + keys).map(|k| format!("\"{k}\":1")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(parse(object(0, KEYS_MAX).as_bytes()).is_ok());
        check(object(0, KEYS_MAX + 1), JsonRule::Keys);
        check(object(0, 100_000), JsonRule::Keys);
        check(
            format!("[{},{}]", object(0, 6_000), object(0, 6_000)),
            JsonRule::Keys,
        );
    }

    /// FAULTS N761.
    #[test]
    fn items_are_counted_in_the_whole_body() {
        let list = |items: usize| format!("[{}]", vec!["1"; items].join(","));
        assert!(parse(list(ITEMS_MAX).as_bytes()).is_ok());
        check(list(ITEMS_MAX + 1), JsonRule::Items);
        check(
            format!("[{},{}]", list(6_000), list(6_000)),
            JsonRule::Items,
        );
    }

    /// FAULTS N763.
    #[test]
    fn a_file_has_other_limits_and_the_same_rules() {
        let list = format!("[{}]", vec!["1"; ITEMS_MAX + 1].join(","));
        let nested = format!(
            "{}1{}",
            "[".repeat(DEPTH_MAX + 1),
            "]".repeat(DEPTH_MAX + 1)
        );
        let long = format!("\"{}\"", "x".repeat(STRING_BYTES_MAX + 1));
        for content in [list, nested, long] {
            assert!(parse_file(content.as_bytes()).is_ok());
            assert!(parse(content.as_bytes()).is_err());
        }
        let twice = parse_file(br#"{"a": 1, "\u0061": 2}"#).unwrap_err();
        assert_eq!(twice.rule, JsonRule::DuplicateKey);
    }

    /// FAULTS I26
    #[test]
    fn strings_and_keys_have_a_maximum_length() {
        let long = "x".repeat(STRING_BYTES_MAX);
        assert!(parse(format!("{{\"{long}\":\"{long}\"}}").as_bytes()).is_ok());
        check(format!("\"{long}x\""), JsonRule::StringLength);
        check(format!("{{\"{long}x\":1}}"), JsonRule::StringLength);
    }

    #[test]
    fn an_error_names_its_position_and_nothing_of_the_body() {
        let error = parse(b"{\"a\": 1,\n \"secret\": 2,\n \"secret\": 3}").unwrap_err();
        assert_eq!((error.rule, error.line), (JsonRule::DuplicateKey, 3));
        assert!(!error.to_string().contains("secret"));
        let error = parse(b"{\n  \"a\": \"\xff\"}").unwrap_err();
        assert_eq!((error.line, error.column), (2, 9));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let read = parse(&body);
            prop_assert!(read.is_err() || serde_json::from_slice::<Value>(&body).ok() == read.ok());
        }

        #[test]
        fn serialised_json_parses_to_the_same_value(keys in proptest::collection::btree_map("[a-z\"\\\\é]{0,8}", any::<i64>(), 0..20)) {
            let value = serde_json::to_value(&keys).unwrap();
            prop_assert_eq!(parse(value.to_string().as_bytes()), Ok(value));
        }
    }
}
