//! The tombstones of customers, and the keyed digests that stand for the ids of a customer and of the customer's events. This
//! module is pure.
//!
//! After an erasure, the store still has to recognize a resent event, and a later event of the customer. After the
//! retirement of an idle customer, it has to recognize a later event of the customer.

use super::codec::{self, LaneColumns};
use super::keyed_digest::{KeyedDigest, KeyedDigests};
use super::{LaneKey, LaterEvents};

/// The labels of the digests. They separate the digests from each other and from the digests of contents.
const KEY_LABEL: &[u8] = b"imprint-bridge tombstones v1";
const LANE_LABEL: &[u8] = b"lane";
const EVENT_LABEL: &[u8] = b"event";
const EVENT_ID_LABEL: &[u8] = b"event id";
/// The beginning of the event ids of tombstones.
const EVENT_PREFIX: &str = "erased-";

/// Why the row of a lane is the tombstone of its customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TombstoneKind {
    /// An operator has erased the customer. The versions of the row are version floors.
    Erased(LaterEvents),
    /// Nothing has happened to the customer for a long time. The row keeps all versions of the lane, which contain no value.
    Retired,
}

impl TombstoneKind {
    pub(super) const ALL: [Self; 3] = [
        Self::Erased(LaterEvents::Delivered),
        Self::Erased(LaterEvents::Ignored),
        Self::Retired,
    ];
}

/// The key of the digests.
#[derive(Debug)]
pub(super) struct TombstoneKey(KeyedDigests);

impl TombstoneKey {
    /// Derives the key from the key of the content digests.
    pub(super) fn new(digest_key: &[u8; 32]) -> Self {
        Self(KeyedDigests::derive(digest_key, KEY_LABEL))
    }

    /// Returns the digest that stands for the customer of a lane.
    pub(super) fn lane(&self, key: &LaneKey) -> String {
        let LaneColumns {
            kind, canonical, ..
        } = codec::lane_columns(key);
        self.digest(LANE_LABEL, &[&[kind], canonical.as_bytes()])
    }

    /// Returns the event id that stands for an event: the id of its source and the id of the event. A sender can use no such
    /// id by chance or on purpose, because it does not have the key.
    pub(super) fn event_id(&self, source: &str, id: &str) -> String {
        let parts = [source.as_bytes(), id.as_bytes()];
        format!("{EVENT_PREFIX}{}", self.digest(EVENT_ID_LABEL, &parts))
    }

    /// Returns the text that stands for the `CloudEvents` source of an event. It includes the id of the event, so that two
    /// tombstones show no common source. An earlier program stored it as the event id, without a `CloudEvents` source.
    pub(super) fn event(&self, source: &str, ce_source: &str, id: &str) -> String {
        let parts = [source.as_bytes(), ce_source.as_bytes(), id.as_bytes()];
        format!("{EVENT_PREFIX}{}", self.digest(EVENT_LABEL, &parts))
    }

    /// Returns whether an event id is that of a tombstone.
    pub(super) fn is_event(id: &str) -> bool {
        let digest = id.strip_prefix(EVENT_PREFIX).unwrap_or_default();
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        digest.len() == 2 * size_of::<KeyedDigest>() && digest.bytes().all(is_digit)
    }

    fn digest(&self, label: &[u8], parts: &[&[u8]]) -> String {
        let digest = self.0.digest(label, parts);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imprint::{ImprintId, PartnerCustomerId};

    /// FAULTS N645: the digests of a store must not change, or resent events would come back.
    #[test]
    fn digests_differ_by_every_part_and_never_change() {
        let key = TombstoneKey::new(&[7; 32]);
        let imprint = LaneKey::Imprint(ImprintId::parse("c1").unwrap());
        let partner = LaneKey::Partner(PartnerCustomerId::parse("c1").unwrap());
        let digests = [
            key.lane(&imprint),
            key.lane(&partner),
            key.event("crm", "/us", "1"),
            key.event("crm", "/u", "s1"),
            key.event("crm", "", "1"),
            key.event_id("crm", "1"),
            key.event_id("crm1", ""),
            TombstoneKey::new(&[8; 32]).lane(&imprint),
        ];
        let all: std::collections::BTreeSet<&String> = digests.iter().collect();
        assert_eq!(all.len(), digests.len());
        assert_eq!(key.lane(&imprint), PINNED);
    }

    /// FAULTS N1148
    #[test]
    fn only_the_id_of_a_tombstone_has_its_form() {
        let tombstone = TombstoneKey::new(&[7; 32]).event_id("crm", "1");
        assert!(TombstoneKey::is_event(&tombstone));
        for other in [
            "",
            "1",
            "erased-",
            "erased-1",
            &tombstone.to_uppercase(),
            tombstone.trim_start_matches('e'),
        ] {
            assert!(!TombstoneKey::is_event(other), "{other}");
        }
    }

    const PINNED: &str = "c5f0d592ef8075adf4a0df21c8ef7c48";
}
