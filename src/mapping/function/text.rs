//! Texts as they are: case, white space, tables.

use serde_json::Value;

use super::{Answer, Refusal, Table};

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
pub(super) fn lookup(value: &Value, table: &Table) -> Answer {
    let entry = match value {
        Value::String(text) => table.get(text),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            table.get(&number.to_string())
        }
        Value::Number(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(Refusal::new(
                "The value is neither a text nor a whole number.",
            ));
        }
    };
    entry
        .map(|text| Value::from(text.as_str()))
        .ok_or_else(|| Refusal::new("The table has no entry for the value."))
}
