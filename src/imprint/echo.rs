//! What Imprint echoes after an update, held against what was sent. Pure.
//!
//! The echo carries what we must not keep (`ssn4`, `date_of_birth`), so only the fields that are compared are read, and
//! nothing but names leaves this module.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Cause, Echo, Facet, Leaf, Outcome, PartnerId, Request};

/// The part of a customer that is compared.
#[derive(Deserialize)]
struct Customer<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    email: Text<'a>,
    #[serde(borrow, default)]
    phone: Text<'a>,
    #[serde(borrow, default)]
    first_name: Text<'a>,
    #[serde(borrow, default)]
    last_name: Text<'a>,
    #[serde(borrow, default)]
    preferred_language: Text<'a>,
    #[serde(borrow, default)]
    partner_customer_id: Text<'a>,
    #[serde(borrow, default)]
    address: Option<Address<'a>>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
}

#[derive(Default, Deserialize)]
struct Address<'a> {
    #[serde(borrow, default)]
    street_line1: Text<'a>,
    #[serde(borrow, default)]
    street_line2: Text<'a>,
    #[serde(borrow, default)]
    city: Text<'a>,
    #[serde(borrow, default)]
    state: Text<'a>,
    #[serde(borrow, default)]
    postal_code: Text<'a>,
}

/// A text, or nothing: what else a partner puts there is not compared, and is no reason to doubt the rest.
#[derive(Default)]
struct Text<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either<'a> {
            Text(#[serde(borrow)] Cow<'a, str>),
            Other(serde::de::IgnoredAny),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Text(text) => Self(Some(text)),
            Either::Other(_) => Self(None),
        })
    }
}

/// A 2xx counts only with a JSON object about the customer that was asked for.
pub(super) fn applied(request: &Request, body: &[u8]) -> Outcome {
    // A derived struct also reads an array of its fields, and that is not an answer of Imprint's.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Outcome::Unknown(Cause::Unreadable);
    }
    let Ok(customer) = serde_json::from_slice::<Customer<'_>>(body) else {
        return Outcome::Unknown(Cause::Unreadable);
    };
    if !request.customer.is_same(&customer.id) {
        return Outcome::Unknown(Cause::WrongCustomer);
    }
    let shows = |leaf: &&Leaf| {
        let line = customer.line(&leaf.to_string());
        line.is_some_and(|text| !text.trim().is_empty())
    };
    Outcome::Applied(Echo {
        differs: customer.differs(&request.body),
        standing: request.cleared.iter().filter(shows).cloned().collect(),
        partner: customer
            .partner_customer_id
            .0
            .as_deref()
            .and_then(|raw| PartnerId::parse(raw).ok()),
    })
}

impl Customer<'_> {
    /// The facets that were sent and are echoed otherwise. What is not echoed at all is no difference.
    fn differs(&self, sent: &Map<String, Value>) -> Vec<Facet> {
        let mut differs = Vec::new();
        for (field, value) in sent {
            let is_same = match (value, self.field(field)) {
                (Value::String(sent), Some(echoed)) => sent == echoed,
                (Value::Object(sent), None) if field == "metadata" => self.has_metadata(sent),
                (_, _) => true,
            };
            let facet = Leaf::parse(field).map_or(Facet::Metadata, |leaf| leaf.facet());
            if !is_same && !differs.contains(&facet) {
                differs.push(facet);
            }
        }
        differs
    }

    fn has_metadata(&self, sent: &Map<String, Value>) -> bool {
        self.metadata.as_ref().is_none_or(|echoed| {
            sent.iter()
                .all(|(key, value)| echoed.get(key).is_none_or(|echoed| echoed == value))
        })
    }

    fn field(&self, field: &str) -> Option<&str> {
        let text = match field {
            "email" => &self.email,
            "phone" => &self.phone,
            "first_name" => &self.first_name,
            "last_name" => &self.last_name,
            "preferred_language" => &self.preferred_language,
            _ => return self.line(field),
        };
        text.0.as_deref()
    }

    /// A line of the address: flat in what is sent, nested in what is echoed.
    fn line(&self, field: &str) -> Option<&str> {
        let address = self.address.as_ref()?;
        let text = match field {
            "street_line1" => &address.street_line1,
            "street_line2" => &address.street_line2,
            "city" => &address.city,
            "state" => &address.state,
            "postal_code" => &address.postal_code,
            _ => return None,
        };
        text.0.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ImprintId;
    use super::*;

    fn check(sent: &Value, echoed: &Value) -> Echo {
        let request = Request {
            customer: ImprintId::parse("CUST-1").unwrap(),
            body: sent.as_object().unwrap().clone(),
            cleared: vec![Leaf::parse("street_line2").unwrap()],
        };
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
                vec![Facet::Address, Facet::Email],
            ),
            (
                json!({"id": "CUST-1", "customer_history": {"email": "y"}}),
                vec![],
            ),
            (
                json!({"id": "CUST-1", "metadata": {"tier": "IRON", "a": 1}}),
                vec![Facet::Metadata],
            ),
            (
                json!({"id": "CUST-1", "metadata": null, "address": null}),
                vec![],
            ),
        ];
        for (echoed, differs) in table {
            assert_eq!(check(&sent, &echoed).differs, differs, "{echoed}");
        }
    }

    #[test]
    fn a_cleared_line_that_is_echoed_is_still_standing() {
        let line = |text: &str| json!({"id": "CUST-1", "address": {"street_line2": text}});
        let standing = |echoed: &Value| check(&json!({}), echoed).standing.len();
        assert_eq!(standing(&line("Apt 4B")), 1);
        assert_eq!(standing(&line(" ")), 0);
        assert_eq!(standing(&json!({"id": "CUST-1"})), 0);
    }

    #[test]
    fn the_partners_id_is_kept_where_it_is_one() {
        let partner = |value: Value| {
            let echoed = json!({"id": "CUST-1", "partner_customer_id": value});
            check(&json!({}), &echoed).partner
        };
        assert_eq!(partner(json!("P-1")), PartnerId::parse("P-1").ok());
        assert_eq!(partner(json!("")), None);
        assert_eq!(partner(json!(null)), None);
    }
}
