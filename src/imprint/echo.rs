//! Compares the customer in Imprint's answer to an update, the *echo*, with the values that the bridge sent. The
//! comparison is a pure function.
//!
//! The echo contains values that the bridge must not keep (`ssn4`, `date_of_birth`). The comparison therefore reads
//! only the fields that it compares, and returns only names of fields. The comparison does not parse a field that the
//! bridge did not send. If an echoed field has an unexpected type, the comparison of the other fields still works.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::field::{EchoPlace, ROWS};
use super::json::{object, text};
use super::{Body, Cause, Echo, Field, FieldGroup, Outcome, PartnerCustomerId, Request};

/// Returns the outcome of a 2xx answer: `Applied` only if the body is a JSON object about the customer of the request.
pub(super) fn applied(request: &Request, body: &str) -> Outcome {
    let Some(customer) = object::<EchoedCustomer<'_>>(body) else {
        return Outcome::Unknown(Cause::Unreadable);
    };
    if !request.customer.is_same(&customer.id) {
        return Outcome::Unknown(Cause::WrongCustomer);
    }
    let address = customer.address.and_then(members);
    let is_set = |field: &&Field| !is_empty(member(address.as_ref(), field.path()));
    Outcome::Applied(Echo {
        mismatches: customer.mismatches(&request.body, address.as_ref()),
        still_set: request.cleared.iter().filter(is_set).cloned().collect(),
        partner_customer_id: customer
            .partner_customer_id
            .and_then(text)
            .and_then(|raw| PartnerCustomerId::parse(&raw).ok()),
    })
}

/// The parts of an echoed customer that the bridge compares with the update.
struct EchoedCustomer<'a> {
    id: Cow<'a, str>,
    partner_customer_id: Option<&'a RawValue>,
    address: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
    /// The echoed fields at the top level, indexed by the row of the field table.
    top_level: [Option<&'a RawValue>; ROWS],
}

/// The members of a JSON object, with unparsed values.
type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

impl<'a> EchoedCustomer<'a> {
    /// Returns each field group in which an echoed value differs from the value that the bridge sent. A field that is
    /// missing in the echo does not count as a mismatch.
    fn mismatches(&self, sent: &Body, address: Option<&Members<'a>>) -> Vec<FieldGroup> {
        let metadata = self.metadata.and_then(members);
        let mut mismatches = Vec::new();
        for (field, value) in sent.iter() {
            let echoed = match field.echo_place() {
                EchoPlace::NotEchoed => None,
                EchoPlace::TopLevel => field.row_index().and_then(|row| self.at(row)),
                EchoPlace::Address => member(address, field.path()),
                EchoPlace::Metadata => member(metadata.as_ref(), field.key(1).unwrap_or_default()),
            };
            if !agrees(value, echoed) && !mismatches.contains(&field.group()) {
                mismatches.push(field.group());
            }
        }
        mismatches
    }

    fn at(&self, row: usize) -> Option<&'a RawValue> {
        self.top_level.get(row).copied().flatten()
    }
}

impl<'de> Deserialize<'de> for EchoedCustomer<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EchoVisitor)
    }
}

struct EchoVisitor;

impl<'de> Visitor<'de> for EchoVisitor {
    type Value = EchoedCustomer<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a customer with an id")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut id = None;
        let mut partner_customer_id = None;
        let mut address = None;
        let mut metadata = None;
        let mut top_level = [None; ROWS];
        while let Some(BorrowedText(key)) = map.next_key()? {
            match key.as_ref() {
                "id" => set_once(&mut id, map.next_value::<BorrowedText<'_>>()?)?,
                "partner_customer_id" => set_once(&mut partner_customer_id, map.next_value()?)?,
                "address" => set_once(&mut address, map.next_value()?)?,
                "metadata" => set_once(&mut metadata, map.next_value()?)?,
                other => match Field::top_level_row(other).and_then(|row| top_level.get_mut(row)) {
                    Some(echoed) => set_once(echoed, map.next_value()?)?,
                    None => {
                        map.next_value::<IgnoredAny>()?;
                    }
                },
            }
        }
        let BorrowedText(id) = id.ok_or_else(|| A::Error::missing_field("id"))?;
        Ok(EchoedCustomer {
            id,
            partner_customer_id,
            address,
            metadata,
            top_level,
        })
    }
}

/// A JSON string that borrows from the body if the string has no escapes.
#[derive(Deserialize)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

/// Stores a member of the echoed object. A repeated member is an error, because a member with two values is ambiguous.
fn set_once<T, E: de::Error>(slot: &mut Option<T>, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom("a member occurs twice")),
    }
}

/// Returns the members of a JSON object, or `None` for any other JSON type. If the echo has a different JSON type where
/// the bridge expects an object, the bridge does not compare the value.
fn members(raw: &RawValue) -> Option<Members<'_>> {
    object(raw.get())
}

fn member<'a>(object: Option<&Members<'a>>, key: &str) -> Option<&'a RawValue> {
    object?.get(key).copied()
}

/// Returns whether the echoed value of a field is missing or equal to the sent value. If the bridge sent null or "",
/// the echoed value must be empty.
fn agrees(sent: &Value, echoed: Option<&RawValue>) -> bool {
    let Some(raw) = echoed else { return true };
    match sent {
        Value::Null => is_empty(echoed),
        Value::String(sent) if sent.is_empty() => is_empty(echoed),
        Value::String(sent) => {
            is_verbatim(raw, sent) || text(raw).is_none_or(|echoed| echoed == *sent)
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            serde_json::from_str::<Value>(raw.get()).is_ok_and(|echoed| echoed == *sent)
        }
    }
}

/// Returns whether a JSON string consists of exactly this text, without escapes. Most echoed values are such strings, and
/// need no parser.
fn is_verbatim(raw: &RawValue, text: &str) -> bool {
    let inner = raw.get().strip_prefix('"');
    let inner = inner.and_then(|inner| inner.strip_suffix('"'));
    inner == Some(text) && !text.contains('\\')
}

/// Returns whether the echoed value is empty: missing, null, or white space only.
fn is_empty(echoed: Option<&RawValue>) -> bool {
    echoed.is_none_or(|raw| {
        raw.get() == "null" || text(raw).is_some_and(|text| text.trim().is_empty())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::clearing::{Clearing, FieldClearing};
    use super::super::{FieldValue, ImprintId, Update};
    use super::*;

    fn request(sent: &Value) -> Request {
        let mut values: Vec<(String, &Value)> = Vec::new();
        for (field, value) in sent.as_object().unwrap() {
            match value.as_object() {
                Some(inner) => values.extend(
                    inner
                        .iter()
                        .map(|(key, value)| (format!("{field}.{key}"), value)),
                ),
                None => values.push((field.clone(), value)),
            }
        }
        let values = values.into_iter().map(|(path, value)| {
            (
                Field::parse(&path).unwrap(),
                FieldValue::from_value(value.clone()),
            )
        });
        let clearing = Clearing {
            fields: FieldClearing::Null,
            ..Clearing::default()
        };
        Request {
            customer: ImprintId::parse("CUST-1").unwrap(),
            body: values.collect::<Update>().body(clearing),
            cleared: vec![Field::parse("street_line2").unwrap()],
        }
    }

    fn check(sent: &Value, echoed: &Value) -> Echo {
        let request = request(sent);
        let Outcome::Applied(echo) = applied(&request, &echoed.to_string()) else {
            panic!("{echoed} was not accepted as an echo")
        };
        echo
    }

    #[test]
    fn mismatches_are_reported_by_group() {
        let sent = json!({
            "email": "a@example.com", "phone": "+14155550100", "city": "Reno", "state": "NV",
            "customer_history": {"email": "x"}, "metadata": {"tier": "GOLD"},
        });
        let table = [
            (json!({"id": "CUST-1"}), vec![]),
            (
                json!({"id": "CUST-1", "email": "a@example.com", "ssn4": "1234"}),
                vec![],
            ),
            (
                json!({"id": "CUST-1", "email": "b@example.com", "phone": 7, "address": {"city": "Elko", "state": "X"}}),
                vec![FieldGroup::Email, FieldGroup::Address],
            ),
            (
                json!({"id": "CUST-1", "customer_history": {"email": "y"}}),
                vec![],
            ),
            (json!({"id": "CUST-1", "city": "Elko"}), vec![]),
            (
                json!({"id": "CUST-1", "metadata": {"tier": "IRON", "a": 1}}),
                vec![FieldGroup::Metadata],
            ),
            (
                json!({"id": "CUST-1", "metadata": null, "address": null}),
                vec![],
            ),
        ];
        for (echoed, mismatches) in table {
            assert_eq!(check(&sent, &echoed).mismatches, mismatches, "{echoed}");
        }
    }

    #[test]
    fn every_echoed_field_of_the_table_is_compared() {
        for path in Field::paths() {
            let field = Field::parse(path).unwrap();
            let show = |value: &str| match field.echo_place() {
                EchoPlace::TopLevel => Some(json!({"id": "CUST-1", path: value})),
                EchoPlace::Address => Some(json!({"id": "CUST-1", "address": {path: value}})),
                EchoPlace::Metadata | EchoPlace::NotEchoed => None,
            };
            let (Some(same), Some(other)) = (show("sent"), show("other")) else {
                continue;
            };
            let sent = json!({path: "sent"});
            assert_eq!(check(&sent, &same).mismatches, [], "{path}");
            assert_eq!(check(&sent, &other).mismatches, [field.group()], "{path}");
        }
    }

    #[test]
    fn a_2xx_without_a_customer_object_is_unreadable() {
        for body in [
            "",
            "[]",
            r#"["CUST-1"]"#,
            "{}",
            r#"{"id":7}"#,
            r#"{"id":null}"#,
            r#"{"id":"CUST-1""#,
            r#"{"id":"CUST-1","id":"CUST-1"}"#,
            r#"{"id":"CUST-1","email":"a","email":"b"}"#,
        ] {
            let outcome = applied(&request(&json!({})), body);
            assert_eq!(outcome, Outcome::Unknown(Cause::Unreadable), "{body}");
        }
        let error = serde_json::from_str::<EchoedCustomer<'_>>("7").err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("expected a customer with an id"), "{error}");
        let outcome = applied(&request(&json!({})), r#"{"id":"CUST-2"}"#);
        assert_eq!(outcome, Outcome::Unknown(Cause::WrongCustomer));
    }

    #[test]
    fn a_field_of_an_unexpected_type_affects_nothing_but_itself() {
        let sent = json!({"email": "a@example.com", "city": "Reno", "metadata": {"tier": "GOLD"}});
        for shown in [
            json!({"address": "1 Main St, Reno"}),
            json!({"address": ["1 Main St", "", "Elko", "NV", "1"]}),
            json!({"address": 7}),
            json!({"address": {"city": ["Elko"]}}),
            json!({"metadata": "GOLD"}),
            json!({"metadata": ["GOLD"]}),
            json!({"email": {"value": "a@example.com"}}),
            json!({"email": ["b@example.com"]}),
            json!({"partner_customer_id": 17}),
        ] {
            let mut echoed = shown.clone();
            echoed["id"] = json!("CUST-1");
            assert_eq!(check(&sent, &echoed), Echo::default(), "{shown}");
        }
    }

    #[test]
    fn strings_are_compared_after_their_escapes_are_resolved() {
        let sent = json!({"first_name": "José \"Pepe\"", "metadata": {"a": [1, {"b": "é"}]}});
        let escaped = r#"{"id":"CUST\u002d1","first_name":"Jos\u00e9 \"Pepe\"","metadata":{"a": [1, {"b":"\u00e9"}]}}"#;
        let outcome = applied(&request(&sent), escaped);
        assert_eq!(outcome, Outcome::Applied(Echo::default()));
        // The sent text has a backslash and the echoed text has none, although their bytes are equal.
        let sent = json!({"first_name": r"Jos\u00e9"});
        let escaped = r#"{"id":"CUST-1","first_name":"Jos\u00e9"}"#;
        let Outcome::Applied(echo) = applied(&request(&sent), escaped) else {
            panic!("{escaped} was not accepted as an echo")
        };
        assert_eq!(echo.mismatches, [FieldGroup::FirstName]);
    }

    #[test]
    fn a_value_that_is_no_string_is_compared_as_json() {
        let sent = json!({"metadata": {"n": 1, "list": [true]}});
        for (metadata, mismatches) in [
            (json!({"n": 1, "list": [true]}), vec![]),
            (json!({"n": 2}), vec![FieldGroup::Metadata]),
            (json!({"list": [false]}), vec![FieldGroup::Metadata]),
            (json!({"n": "1"}), vec![FieldGroup::Metadata]),
        ] {
            let echoed = json!({"id": "CUST-1", "metadata": metadata});
            assert_eq!(check(&sent, &echoed).mismatches, mismatches, "{echoed}");
        }
    }

    #[test]
    fn a_cleared_field_differs_while_imprint_still_has_a_value() {
        let sent = json!({"email": null, "phone": "", "metadata": {"tier": null}});
        let table = [
            (json!({"id": "CUST-1"}), vec![]),
            (
                json!({"id": "CUST-1", "email": null, "phone": "", "metadata": {"tier": null}}),
                vec![],
            ),
            (
                json!({"id": "CUST-1", "email": " ", "metadata": {}}),
                vec![],
            ),
            (
                json!({"id": "CUST-1", "email": "a@example.com", "phone": "+1", "metadata": {"tier": "GOLD"}}),
                vec![FieldGroup::Email, FieldGroup::Phone, FieldGroup::Metadata],
            ),
            (
                json!({"id": "CUST-1", "email": 7, "phone": ["+1"]}),
                vec![FieldGroup::Email, FieldGroup::Phone],
            ),
        ];
        for (echoed, mismatches) in table {
            assert_eq!(check(&sent, &echoed).mismatches, mismatches, "{echoed}");
        }
    }

    #[test]
    fn a_cleared_address_line_that_is_echoed_is_still_set() {
        let line = |value: Value| json!({"id": "CUST-1", "address": {"street_line2": value}});
        let still_set = |echoed: &Value| check(&json!({}), echoed).still_set;
        let street_line2 = Field::parse("street_line2").unwrap();
        assert_eq!(still_set(&line(json!("Apt 4B"))), [street_line2]);
        assert_eq!(still_set(&line(json!(" "))), []);
        assert_eq!(still_set(&line(json!(null))), []);
        assert_eq!(still_set(&json!({"id": "CUST-1"})), []);
        assert_eq!(
            still_set(&json!({"id": "CUST-1", "street_line2": "Apt 4B"})),
            []
        );
    }

    #[test]
    fn the_partner_customer_id_is_read_if_it_is_valid() {
        let partner = |value: Value| {
            let echoed = json!({"id": "CUST-1", "partner_customer_id": value});
            check(&json!({}), &echoed).partner_customer_id
        };
        assert_eq!(partner(json!("P-1")), PartnerCustomerId::parse("P-1").ok());
        assert_eq!(partner(json!("")), None);
        assert_eq!(partner(json!(null)), None);
    }
}
