//! The keyed digests by which the store finds events and customers.
//!
//! Unlike an SQLite store, the store in PostgreSQL always finds them by digests, with and without sealing keys: so an
//! erasure keeps the digest, and the store recognizes an erased event or customer by the same column.

use crate::event::{Attribute, Identity};
use crate::outbox::codec::{self, LaneColumns};
use crate::outbox::keyed_digest::{CustomerDigests, KeyedDigest, KeyedDigests};
use crate::outbox::{LaneKey, Lookup};

const EVENTS_LABEL: &[u8] = b"imprint-bridge events v1";
const EVENT_LABEL: &[u8] = b"event";
const CE_SOURCE_LABEL: &[u8] = b"ce_source";

/// The digests of the identity of an event, in the order of the unique index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EventKeys {
    /// The digest of the source and the id of the event.
    pub(super) event: KeyedDigest,
    /// The digest of the `CloudEvents` source of the event.
    pub(super) ce_source: KeyedDigest,
}

/// The kind of a lane and the digest of its customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CustomerKey {
    pub(super) kind: u8,
    pub(super) customer: KeyedDigest,
}

/// The keys of the digests.
#[derive(Debug)]
pub(super) struct Digests {
    events: KeyedDigests,
    customers: CustomerDigests,
}

impl Digests {
    /// Derives the keys from the key of the content digests, which never changes.
    pub(super) fn new(digest_key: &[u8; 32]) -> Self {
        Self {
            events: KeyedDigests::derive(digest_key, EVENTS_LABEL),
            customers: CustomerDigests::new(digest_key),
        }
    }

    pub(super) fn event(&self, identity: &Identity) -> EventKeys {
        EventKeys {
            event: self.event_of(identity.source.as_str(), identity.id.as_str()),
            ce_source: self.ce_source(identity.ce_source.as_ref()),
        }
    }

    /// Returns the digests of an identity as a receipt has it. No CloudEvents source is an empty text.
    pub(super) fn stored_event(&self, source: &str, ce_source: &str, id: &str) -> EventKeys {
        EventKeys {
            event: self.event_of(source, id),
            ce_source: self.events.digest(CE_SOURCE_LABEL, &[ce_source.as_bytes()]),
        }
    }

    /// Returns the digests by which the store finds the receipt of an event.
    pub(super) fn lookup(&self, lookup: &Lookup) -> (KeyedDigest, Option<KeyedDigest>) {
        let ce_source = lookup.ce_source.as_ref();
        (
            self.event_of(lookup.source.as_str(), lookup.id.as_str()),
            ce_source.map(|source| self.ce_source(Some(source))),
        )
    }

    fn event_of(&self, source: &str, id: &str) -> KeyedDigest {
        let parts = [source.as_bytes(), id.as_bytes()];
        self.events.digest(EVENT_LABEL, &parts)
    }

    fn ce_source(&self, source: Option<&Attribute>) -> KeyedDigest {
        let source = source.map_or("", Attribute::as_str);
        self.events.digest(CE_SOURCE_LABEL, &[source.as_bytes()])
    }

    pub(super) fn lane(&self, key: &LaneKey) -> CustomerKey {
        self.customer(&codec::lane_columns(key))
    }

    pub(super) fn customer(&self, columns: &LaneColumns<'_>) -> CustomerKey {
        CustomerKey {
            kind: columns.kind,
            customer: self.customers.of(columns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SourceName;

    /// The digests of a store must not change, or the store would accept events again.
    #[test]
    fn the_digests_of_events_differ_by_every_part_and_never_change() {
        let digests = Digests::new(&[7; 32]);
        let keys = |source: &str, ce_source: Option<&str>, id: &str| {
            digests.event(&Identity {
                source: SourceName::parse(source).unwrap(),
                ce_source: ce_source.map(|it| Attribute::parse(it).unwrap()),
                id: Attribute::parse(id).unwrap(),
            })
        };
        let all = [
            keys("crm", None, "1"),
            keys("crm", Some("/us"), "1"),
            keys("crm", None, "2"),
            keys("erp", None, "1"),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        let event = u128::from_be_bytes(all[0].event);
        let ce_source = u128::from_be_bytes(all[0].ce_source);
        assert_eq!((event, ce_source), PINNED, "{event:#x} {ce_source:#x}");
    }

    const PINNED: (u128, u128) = (
        0xe309_3a40_ad98_ee33_a21c_3a75_408d_186d,
        0xd6dc_8d9e_201d_927d_26bf_8927_d19e_d0d9,
    );
}
