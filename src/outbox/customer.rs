//! Finds the lanes of one customer. This module is pure: it does no IO.
//!
//! The bridge knows a customer by Imprint's id, by the CRM's own id, or by both. Entries with only the CRM's id wait in a
//! lane of this id, until dispatch knows Imprint's id. An identity link connects the two ids.

use serde_json::Value;

use super::{IdentityLink, LaneKey, Trials, Unproven};
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId};
use crate::time::Timestamp;

/// What dispatch waits for before the next request of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneWait {
    /// The lane.
    pub key: LaneKey,
    /// The time of the next request, if nothing else stops the destination. `None` means that no request is necessary.
    pub due: Option<Timestamp>,
    /// The failures of the lane since Imprint last applied a request of the lane.
    pub trials: Trials,
    /// The last answers about the lane, if nothing proves their cause yet.
    pub unproven: Unproven,
}

/// Returns the customers that a text can name: the same text can be the Imprint id of one customer and the CRM's id of
/// another.
pub fn named(text: &str) -> impl Iterator<Item = CustomerRef> {
    let imprint = ImprintId::parse(text).map(CustomerRef::Imprint);
    let partner = PartnerCustomerId::parse(text).map(CustomerRef::Partner);
    imprint.into_iter().chain(partner)
}

/// Returns whether a value or the name of a member of an event is one of these customer ids.
///
/// The event belongs to no lane, so any string or number of the event can be the id. An id inside a longer text does not
/// count: a short id is a part of many texts.
pub fn mentions(event: &Value, keys: &[LaneKey]) -> bool {
    match event {
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| keys.iter().any(|key| is_id(key, name)) || mentions(value, keys)),
        Value::Array(items) => items.iter().any(|item| mentions(item, keys)),
        Value::String(text) => keys.iter().any(|key| is_id(key, text)),
        Value::Number(number) => {
            let text = number.to_string();
            keys.iter().any(|key| is_id(key, &text))
        }
        Value::Null | Value::Bool(_) => false,
    }
}

/// Returns whether the CRM's id in an event is one of these customer ids.
pub(super) fn names_partner(partner: &str, keys: &[LaneKey]) -> bool {
    keys.iter().any(|key| match key {
        LaneKey::Imprint(_) => false,
        LaneKey::Partner(own) => own.as_str() == partner,
    })
}

fn is_id(key: &LaneKey, text: &str) -> bool {
    match key {
        LaneKey::Imprint(imprint) => imprint.is_same(text),
        LaneKey::Partner(partner) => partner.as_str() == text,
    }
}

/// The keys of the lanes of one customer.
pub(super) struct CustomerKeys {
    /// The key of the lane from which dispatch sends the customer's entries. If the store has no link to an Imprint id,
    /// this is the key with the CRM's id.
    pub(super) key: LaneKey,
    /// The identity links of the customer's ids.
    pub(super) links: Vec<IdentityLink>,
    /// The CRM's id that the caller asked for, if it belongs to the customer.
    asked: Option<PartnerCustomerId>,
}

impl CustomerKeys {
    /// Finds the keys of a customer with the identity links of a partner customer id and of an Imprint id.
    pub(super) fn find<E>(
        customer: &CustomerRef,
        of_partner: impl FnOnce(&PartnerCustomerId) -> Result<Option<IdentityLink>, E>,
        of_imprint: impl FnOnce(&ImprintId) -> Result<Vec<IdentityLink>, E>,
    ) -> Result<Self, E> {
        let own = customer.partner().map(of_partner).transpose()?.flatten();
        let linked = own.as_ref().and_then(|own| own.imprint.as_ref());
        let imprint = customer.imprint().or(linked).cloned();
        let mut links: Vec<IdentityLink> = own.into_iter().collect();
        let key = match imprint {
            Some(imprint) => {
                links.extend(of_imprint(&imprint)?);
                links.sort_unstable_by(|one, other| one.partner.cmp(&other.partner));
                links.dedup();
                LaneKey::Imprint(imprint)
            }
            None => LaneKey::of(customer),
        };
        let asked = match customer {
            CustomerRef::Partner(partner) => Some(partner.clone()),
            CustomerRef::Imprint(_) | CustomerRef::Pair { .. } => None,
        };
        Ok(Self { key, links, asked })
    }

    /// Returns the keys of all lanes that the customer can have. The first key is [`Self::key`].
    pub(super) fn all(&self) -> Vec<LaneKey> {
        let is_own = |link: &&IdentityLink| match (&self.key, &link.imprint) {
            (LaneKey::Imprint(imprint), Some(linked)) => linked.is_same(imprint.as_str()),
            (LaneKey::Imprint(_) | LaneKey::Partner(_), _) => false,
        };
        let linked = self.links.iter().filter(is_own).map(|link| &link.partner);
        let mut keys = vec![self.key.clone()];
        for partner in linked.chain(&self.asked) {
            let key = LaneKey::Partner(partner.clone());
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// FAULTS N640: an invalid event belongs to no lane, but is an event of the customer.
    #[test]
    fn an_event_mentions_a_customer_by_a_whole_value() {
        let uuid = "0A1B2C3D-0000-4000-8000-00000000000F";
        let keys = [
            LaneKey::Imprint(ImprintId::parse(uuid).unwrap()),
            LaneKey::Partner(PartnerCustomerId::parse("4711").unwrap()),
        ];
        for (event, expected) in [
            (json!({"data": [{"id": "4711"}]}), true),
            (json!({"data": {"id": 4711}}), true),
            (json!({"subject": uuid.to_ascii_lowercase()}), true),
            (json!({"data": {"id": "47110", "note": "see 4711"}}), false),
            (json!({"data": {"4711": null}}), true),
            (json!({"no 4711": null, "data": true}), false),
        ] {
            assert_eq!(mentions(&event, &keys), expected, "{event}");
        }
    }
}
