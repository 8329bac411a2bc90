//! What Imprint echoes after an update, held against what was sent. Pure.
//!
//! The echo carries what we must not keep (`ssn4`, `date_of_birth`), so only the fields that are compared are read, and
//! nothing but names fields this module. Every answer comes through here: a field that was not sent is stepped over and
//! never taken apart, and one of an unexpected kind spoils nothing but itself.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{object, text};
use super::{Body, Cause, Echo, Field, FieldGroup, Outcome, PartnerCustomerId, Request};

/// The part of a customer that is compared.
#[derive(Deserialize)]
struct EchoedCustomer<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    email: Option<&'a RawValue>,
    #[serde(borrow)]
    phone: Option<&'a RawValue>,
    #[serde(borrow)]
    first_name: Option<&'a RawValue>,
    #[serde(borrow)]
    last_name: Option<&'a RawValue>,
    #[serde(borrow)]
    preferred_language: Option<&'a RawValue>,
    #[serde(borrow)]
    partner_customer_id: Option<&'a RawValue>,
    #[serde(borrow)]
    address: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// An object whose members are not looked into.
type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// A 2xx counts only with a JSON object about the customer that was asked for.
pub(super) fn applied(request: &Request, body: &[u8]) -> Outcome {
    let Some(customer) = object::<EchoedCustomer<'_>>(body) else {
        return Outcome::Unknown(Cause::Unreadable);
    };
    if !request.customer.is_same(&customer.id) {
        return Outcome::Unknown(Cause::WrongCustomer);
    }
    let address = customer.address.and_then(members);
    let stands = |field: &&Field| !is_empty(line(address.as_ref(), &field.to_string()));
    Outcome::Applied(Echo {
        mismatches: customer.mismatches(&request.body, address.as_ref()),
        still_set: request.cleared.iter().filter(stands).cloned().collect(),
        partner_customer_id: customer
            .partner_customer_id
            .and_then(text)
            .and_then(|raw| PartnerCustomerId::parse(&raw).ok()),
    })
}

impl<'a> EchoedCustomer<'a> {
    /// The groups that were sent and are echoed otherwise. What is not echoed at all is no difference.
    fn mismatches(&self, sent: &Body, address: Option<&Members<'a>>) -> Vec<FieldGroup> {
        let metadata = self.metadata.and_then(members);
        let mut differs = Vec::new();
        for (field, value) in sent.iter() {
            let echoed = match field.group() {
                // It is not echoed.
                FieldGroup::CustomerHistory => None,
                FieldGroup::Metadata => {
                    let key = field.key(1).unwrap_or_default();
                    metadata
                        .as_ref()
                        .and_then(|echoed| echoed.get(key).copied())
                }
                FieldGroup::Email
                | FieldGroup::Phone
                | FieldGroup::FirstName
                | FieldGroup::LastName
                | FieldGroup::PreferredLanguage
                | FieldGroup::Address => self.field(field.path(), address),
            };
            if !agrees(value, echoed) && !differs.contains(&field.group()) {
                differs.push(field.group());
            }
        }
        differs
    }

    fn field(&self, field: &str, address: Option<&Members<'a>>) -> Option<&'a RawValue> {
        match field {
            "email" => self.email,
            "phone" => self.phone,
            "first_name" => self.first_name,
            "last_name" => self.last_name,
            "preferred_language" => self.preferred_language,
            _ => line(address, field),
        }
    }
}

/// The members of an object; what is none is not compared, and is no reason to doubt the rest.
fn members(raw: &RawValue) -> Option<Members<'_>> {
    object(raw.get().as_bytes())
}

/// A line of the address: flat in what is sent, nested in what is echoed.
fn line<'a>(address: Option<&Members<'a>>, field: &str) -> Option<&'a RawValue> {
    address?.get(field).copied()
}

/// Whether a field is echoed as it was sent, or not at all. One that was sent to be cleared is to be empty.
fn agrees(sent: &Value, echoed: Option<&RawValue>) -> bool {
    let Some(raw) = echoed else { return true };
    match sent {
        Value::Null => is_empty(echoed),
        Value::String(sent) if sent.is_empty() => is_empty(echoed),
        Value::String(sent) => text(raw).is_none_or(|echoed| echoed == *sent),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            serde_json::from_str::<Value>(raw.get()).is_ok_and(|echoed| echoed == *sent)
        }
    }
}

/// Whether nothing stands there: no value, null, or a text of nothing but white space.
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
        let mut said: Vec<(String, &Value)> = Vec::new();
        for (field, value) in sent.as_object().unwrap() {
            match value.as_object() {
                Some(inner) => said.extend(
                    inner
                        .iter()
                        .map(|(key, value)| (format!("{field}.{key}"), value)),
                ),
                None => said.push((field.clone(), value)),
            }
        }
        let said = said.into_iter().map(|(path, value)| {
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
            body: said.collect::<Update>().body(clearing),
            cleared: vec![Field::parse("street_line2").unwrap()],
        }
    }

    fn check(sent: &Value, echoed: &Value) -> Echo {
        let request = request(sent);
        let Outcome::Applied(echo) = applied(&request, echoed.to_string().as_bytes()) else {
            panic!("{echoed} was not taken for an echo")
        };
        echo
    }

    /// U48, M03
    #[test]
    fn an_echo_is_compared_facet_by_facet() {
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
            (
                json!({"id": "CUST-1", "metadata": {"tier": "IRON", "a": 1}}),
                vec![FieldGroup::Metadata],
            ),
            (
                json!({"id": "CUST-1", "metadata": null, "address": null}),
                vec![],
            ),
        ];
        for (echoed, differs) in table {
            assert_eq!(check(&sent, &echoed).mismatches, differs, "{echoed}");
        }
    }

    /// U17: what is applied is applied, whatever one field of the echo looks like.
    #[test]
    fn a_field_of_another_kind_spoils_nothing_but_itself() {
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
    fn a_text_is_compared_as_what_it_says() {
        let sent = json!({"first_name": "José \"Pepe\"", "metadata": {"a": [1, {"b": "é"}]}});
        let escaped = r#"{"id":"CUST-1","first_name":"Jos\u00e9 \"Pepe\"","metadata":{"a": [1, {"b":"\u00e9"}]}}"#;
        let echoed = serde_json::from_str(escaped).unwrap();
        assert_eq!(check(&sent, &echoed), Echo::default());
        let request = request(&sent);
        let outcome = applied(&request, escaped.as_bytes());
        assert_eq!(outcome, Outcome::Applied(Echo::default()));
    }

    /// M16: a null or an empty text that Imprint ignored is seen.
    #[test]
    fn what_was_sent_to_be_cleared_differs_while_it_is_still_there() {
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
        ];
        for (echoed, differs) in table {
            assert_eq!(check(&sent, &echoed).mismatches, differs, "{echoed}");
        }
    }

    #[test]
    fn a_cleared_line_that_is_echoed_is_still_standing() {
        let line = |text: &str| json!({"id": "CUST-1", "address": {"street_line2": text}});
        let standing = |echoed: &Value| check(&json!({}), echoed).still_set.len();
        assert_eq!(standing(&line("Apt 4B")), 1);
        assert_eq!(standing(&line(" ")), 0);
        assert_eq!(standing(&json!({"id": "CUST-1"})), 0);
    }

    #[test]
    fn the_partners_id_is_kept_where_it_is_one() {
        let partner = |value: Value| {
            let echoed = json!({"id": "CUST-1", "partner_customer_id": value});
            check(&json!({}), &echoed).partner_customer_id
        };
        assert_eq!(partner(json!("P-1")), PartnerCustomerId::parse("P-1").ok());
        assert_eq!(partner(json!("")), None);
        assert_eq!(partner(json!(null)), None);
    }
}
