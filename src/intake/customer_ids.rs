//! Reads the customer ids of invalid events, for operators who export or erase a customer.

use super::Sources;
use super::digest::StoredEvent;
use super::invalid::decode_again;
use crate::event::{Attribute, SourceName};
use crate::outbox::LaneKey;

impl Sources {
    /// Returns the customer ids that the mapping in use reads from a stored invalid event. If the source does not know the
    /// type of the event, each of its mappings can be the right one.
    ///
    /// Returns `None` if no mapping tells the customer: the source is gone, or it computes the ids, and the event lacks the
    /// values for them.
    pub fn customer_of_invalid(
        &self,
        source: &SourceName,
        event_type: &Attribute,
        stored: &[u8],
    ) -> Option<Vec<LaneKey>> {
        let source = self.get(source)?;
        let decoded = match decode_again(source, stored) {
            Ok((event, _)) => Some((event.event_type, event.envelope)),
            Err(_) => {
                let parsed = StoredEvent::parse(stored);
                parsed.map(|(envelope, _)| (event_type.clone(), envelope))
            }
        };
        let mut keys = Vec::new();
        if let Some((event_type, envelope)) = decoded {
            let known = source.mapped(event_type.as_str()).map(|(_, known)| known);
            let any = source.event_types.values().filter(|_| known.is_none());
            for event_type in known.into_iter().chain(any) {
                let (imprint, partner) = event_type.mapping.customer_ids(source.view(&envelope));
                keys.extend(imprint.map(LaneKey::Imprint));
                keys.extend(partner.map(LaneKey::Partner));
            }
        }
        (!keys.is_empty() || source.copies_customer_ids()).then_some(keys)
    }
}
