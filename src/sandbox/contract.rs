//! The contract of Imprint's operations: the body of *update* and the filter of *search*.
//!
//! The type [`Field`] defines the fields of an update and the rule for the value of each field. An error names the
//! field, but never contains the value.

use actix_web::web;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::imprint::{Field, FieldFormat, FieldKind, ImprintId, SchemaRule};

use super::Nulls;

/// The default number of customers on a page of *search*, from Imprint's documentation.
const LIMIT: usize = 10;
/// The maximum number of customers on a page of *search*. Imprint documents no maximum, but an answer needs a limit.
const LIMIT_MAX: usize = 100;
/// The maximum number of digits in Imprint's pattern for phone numbers.
const PHONE_DIGITS_MAX: usize = 15;

/// Parses the body of *update*, or returns every error in the body.
pub(super) fn read_update(body: &[u8], nulls: Nulls) -> Result<Map<String, Value>, Vec<String>> {
    let Ok(Value::Object(body)) = serde_json::from_slice(body) else {
        return Err(vec!["body: must be a JSON object".to_owned()]);
    };
    let mut errors = Vec::new();
    inspect("", &body, nulls, &mut errors);
    if errors.is_empty() {
        Ok(body)
    } else {
        Err(errors)
    }
}

fn inspect(prefix: &str, object: &Map<String, Value>, nulls: Nulls, errors: &mut Vec<String>) {
    for (key, value) in object {
        let path = format!("{prefix}{key}");
        let verdict = match (value, nulls) {
            (Value::Null, Nulls::Clear) => Ok(()),
            (Value::Null, Nulls::Refused) => Err("must not be null"),
            (
                Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_)
                | Value::Object(_),
                Nulls::Clear | Nulls::Refused,
            ) => inspect_field(&path, key, value, nulls, errors),
        };
        if let Err(error) = verdict {
            errors.push(format!("{path}: {error}"));
        }
    }
}

fn inspect_field(
    path: &str,
    key: &str,
    value: &Value,
    nulls: Nulls,
    errors: &mut Vec<String>,
) -> Result<(), &'static str> {
    match path {
        object if Field::is_object(object) => {
            let inner = value.as_object().ok_or("must be an object")?;
            inspect(&format!("{path}."), inner, nulls, errors);
            Ok(())
        }
        "metadata" => {
            let inner = value.as_object().ok_or("must be an object")?;
            let has_null = inner.values().any(Value::is_null);
            if has_null && nulls == Nulls::Refused {
                return Err("must not hold null");
            }
            Ok(())
        }
        _ => inspect_value(path, key, value),
    }
}

fn inspect_value(path: &str, key: &str, value: &Value) -> Result<(), &'static str> {
    // A dot separates the keys in the path of a field. No field of Imprint has a key that contains a dot.
    let field = Field::parse(path)
        .filter(|_| !key.contains('.'))
        .ok_or("is not a field of this request")?;
    match field.kind() {
        FieldKind::Text => inspect_text(&field, value.as_str().ok_or("must be a string")?),
        FieldKind::Integer if value.is_i64() || value.is_u64() => Ok(()),
        FieldKind::Integer => Err("must be a whole number"),
        FieldKind::Open => Ok(()),
    }
}

fn inspect_text(field: &Field, text: &str) -> Result<(), &'static str> {
    if field.schema_rule() == SchemaRule::Type {
        return Ok(());
    }
    let format = field.format();
    if format == FieldFormat::Email && !is_email(text) {
        return Err("must be a well-formed email address");
    }
    if format == FieldFormat::Phone && !is_phone(text) {
        return Err(r"must match ^\+?[1-9]\d{1,14}$");
    }
    Ok(())
}

/// Returns whether a text has the rough form of an email address. A user name in quotes can contain spaces and `@`.
fn is_email(text: &str) -> bool {
    let Some((user, host)) = text.rsplit_once('@') else {
        return false;
    };
    let is_quoted = user.len() > 1 && user.starts_with('"') && user.ends_with('"');
    let is_plain =
        |text: &str| !text.is_empty() && !text.contains(|c: char| c == '@' || c.is_whitespace());
    (is_quoted || is_plain(user)) && is_plain(host)
}

fn is_phone(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    (2..=PHONE_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_digit())
        && !digits.starts_with('0')
}

/// The filter of *search*. An empty filter finds every customer.
pub(super) struct CustomerSearch {
    pub(super) partner_customer_id: Option<String>,
    pub(super) ssn: Option<String>,
    pub(super) date_of_birth: Option<Value>,
    pub(super) limit: usize,
    pub(super) starting_after: Option<ImprintId>,
}

#[derive(Deserialize)]
struct SearchFilter {
    partner_customer_id: Option<String>,
    ssn: Option<String>,
    date_of_birth: Option<Value>,
    limit: Option<usize>,
    starting_after: Option<String>,
}

/// The query parameters of *search*. Imprint allows the social security number and the date of birth only in a body,
/// not in a URL.
#[derive(Deserialize)]
struct SearchQuery {
    partner_customer_id: Option<String>,
    limit: Option<usize>,
    starting_after: Option<String>,
}

impl CustomerSearch {
    pub(super) fn from_query(query: &str) -> Result<Self, Vec<String>> {
        let query = web::Query::<SearchQuery>::from_query(query)
            .map_err(|_error| vec!["query: must be a search".to_owned()])?
            .into_inner();
        Self::read(SearchFilter {
            partner_customer_id: query.partner_customer_id,
            ssn: None,
            date_of_birth: None,
            limit: query.limit,
            starting_after: query.starting_after,
        })
    }

    pub(super) fn from_body(body: &[u8]) -> Result<Self, Vec<String>> {
        let filter = serde_json::from_slice(body)
            .map_err(|_error| vec!["body: must be a search".to_owned()])?;
        Self::read(filter)
    }

    fn read(filter: SearchFilter) -> Result<Self, Vec<String>> {
        let limit = filter.limit.unwrap_or(LIMIT);
        if limit == 0 {
            return Err(vec!["limit: must be at least 1".to_owned()]);
        }
        let starting_after = present(filter.starting_after)
            .map(|id| ImprintId::parse(&id))
            .transpose()
            .map_err(|error| vec![format!("starting_after: {error}")])?;
        Ok(Self {
            partner_customer_id: present(filter.partner_customer_id),
            ssn: present(filter.ssn),
            date_of_birth: filter.date_of_birth,
            limit: limit.min(LIMIT_MAX),
            starting_after,
        })
    }
}

/// Returns `None` for a blank filter value of *search*. The search then lists every customer.
///
/// If the bridge searches for a blank id by mistake, its tests therefore fail.
fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_within_the_contract_is_accepted() {
        for body in [
            json!({}),
            json!({"email": "\"a b@c\"@d", "customer_history": {"email": "a@b"}, "phone": "+14155552671", "street_line2": ""}),
            json!({"customer_history": {"address": {"country": "USA"}, "account_tenure": 13}}),
            json!({"metadata": {"a.b": {"c": [1]}}}),
        ] {
            let read = read_update(body.to_string().as_bytes(), Nulls::Refused);
            assert_eq!(read.map(Value::Object), Ok(body));
        }
    }

    #[test]
    fn a_body_outside_the_contract_is_rejected_by_field_and_rule() {
        for (body, error) in [
            ("", "body: must be a JSON object"),
            ("[]", "body: must be a JSON object"),
            (
                r#"{"email": "nobody"}"#,
                "email: must be a well-formed email address",
            ),
            (
                r#"{"email": ""}"#,
                "email: must be a well-formed email address",
            ),
            (
                r#"{"customer_history": {"email": "a@"}}"#,
                "customer_history.email: must be a well-formed email address",
            ),
            (
                r#"{"phone": "0123"}"#,
                r"phone: must match ^\+?[1-9]\d{1,14}$",
            ),
            (
                r#"{"phone": "+1 415"}"#,
                r"phone: must match ^\+?[1-9]\d{1,14}$",
            ),
            (r#"{"city": 5}"#, "city: must be a string"),
            (r#"{"city": null}"#, "city: must not be null"),
            (
                r#"{"metadata": {"a": null}}"#,
                "metadata: must not hold null",
            ),
            (r#"{"metadata": []}"#, "metadata: must be an object"),
            (
                r#"{"country": "USA"}"#,
                "country: is not a field of this request",
            ),
            (
                r#"{"customer_history.email": "a@b"}"#,
                "customer_history.email: is not a field of this request",
            ),
            (
                r#"{"customer_history": {"ltv_amount": 3.4}}"#,
                "customer_history.ltv_amount: must be a whole number",
            ),
            (
                r#"{"customer_history": {"address": "x"}}"#,
                "customer_history.address: must be an object",
            ),
        ] {
            assert_eq!(
                read_update(body.as_bytes(), Nulls::Refused),
                Err(vec![error.to_owned()]),
                "{body}"
            );
        }
    }

    #[test]
    fn every_error_of_a_body_is_reported() {
        let errors = read_update(br#"{"email": 1, "phone": "x", "ssn": ""}"#, Nulls::Refused);
        assert_eq!(errors.unwrap_err().len(), 3);
    }

    #[test]
    fn null_is_accepted_if_it_clears() {
        let body =
            br#"{"city": null, "metadata": {"a": null}, "customer_history": {"email": null}}"#;
        assert!(read_update(body, Nulls::Clear).is_ok());
    }

    #[test]
    fn a_blank_filter_filters_nothing() {
        for query in ["", "partner_customer_id=", "partner_customer_id=%20"] {
            let search = CustomerSearch::from_query(query).unwrap();
            assert_eq!(search.partner_customer_id, None, "{query}");
            assert_eq!(search.limit, LIMIT);
        }
    }

    #[test]
    fn an_invalid_search_is_rejected() {
        for query in ["limit=0", "limit=x", "limit=-1", "starting_after=a/b"] {
            assert!(CustomerSearch::from_query(query).is_err(), "{query}");
        }
        for body in ["", "[]", "{\"partner_customer_id\": 7}"] {
            assert!(
                CustomerSearch::from_body(body.as_bytes()).is_err(),
                "{body}"
            );
        }
    }
}
