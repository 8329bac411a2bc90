//! Finds the lanes of one customer. This module is pure: it does no IO.
//!
//! The bridge knows a customer by Imprint's id, by the CRM's own id, or by both. Entries with only the CRM's id wait in a
//! lane of this id, until dispatch knows Imprint's id. An identity link connects the two ids.

use super::{IdentityLink, LaneKey};
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId};

/// Returns the customers that a text can name: the same text can be the Imprint id of one customer and the CRM's id of
/// another.
pub(super) fn named(text: &str) -> impl Iterator<Item = CustomerRef> {
    let imprint = ImprintId::parse(text).map(CustomerRef::Imprint);
    let partner = PartnerCustomerId::parse(text).map(CustomerRef::Partner);
    imprint.into_iter().chain(partner)
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
