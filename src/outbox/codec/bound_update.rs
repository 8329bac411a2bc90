//! The stored form of the update of an entry. In a sealed store, the update is bound to what routes and orders it: the lane,
//! the version, the bound of the version's jump, and the ids that the event names. Nobody without the key can give the update
//! to another customer, or change its version, unnoticed.
//!
//! The update of an older program has no such part. The next pass that seals the store again adds it.

use std::borrow::Cow;

use serde::Deserialize;

use super::blob::{BlobKind, CodecError, decode_bytes, encode};
use crate::event::SourceVersion;
use crate::imprint::{CustomerChange, PartnerCustomerId, Update};
use crate::outbox::LaneId;
use crate::outbox::sealer::Sealer;

/// The columns that route and order the update of an entry. A sealed lane id is bound to the number of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::outbox) struct UpdateRoute {
    pub(in crate::outbox) lane: LaneId,
    pub(in crate::outbox) version: SourceVersion,
    /// The stored form of the largest allowed jump of the version.
    pub(in crate::outbox) jump_max: Option<i64>,
    pub(in crate::outbox) names_imprint_id: bool,
}

/// The sealed form of a route: lane, epoch, value, jump and whether the event names Imprint's id.
type StoredRoute = (u64, u32, i64, Option<i64>, bool);

impl UpdateRoute {
    const fn stored(&self) -> StoredRoute {
        let SourceVersion { epoch, value } = self.version;
        (
            self.lane.0,
            epoch,
            value,
            self.jump_max,
            self.names_imprint_id,
        )
    }

    /// Returns the same columns in another lane.
    #[must_use]
    pub(in crate::outbox) fn in_lane(&self, lane: LaneId) -> Self {
        Self { lane, ..*self }
    }
}

/// Returns the columns of an entry with this change.
pub(in crate::outbox) fn route(lane: LaneId, change: &CustomerChange) -> UpdateRoute {
    UpdateRoute {
        lane,
        version: change.version,
        jump_max: change.jump_max.map(super::jump_max),
        names_imprint_id: change.customer.imprint().is_some(),
    }
}

/// A stored update, with the CRM's id in the event of the entry.
#[derive(Debug)]
pub(in crate::outbox) struct StoredUpdate {
    /// The CRM's id. `None` means that the event has none, or that the id is in the column `partner`: a store without
    /// sealing keys has the id there.
    pub(in crate::outbox) partner: Option<PartnerCustomerId>,
    pub(in crate::outbox) update: Update,
    /// The sealed route. `None` means that the update is not sealed, or that an older program has stored it.
    route: Option<StoredRoute>,
}

impl StoredUpdate {
    /// Returns an update that has not left this process.
    pub(in crate::outbox) const fn own(partner: Option<PartnerCustomerId>, update: Update) -> Self {
        Self {
            partner,
            update,
            route: None,
        }
    }

    /// Returns whether the columns of the entry are those with which the update was sealed.
    pub(in crate::outbox) fn is_at(&self, route: &UpdateRoute) -> bool {
        self.route.is_none_or(|own| own == route.stored())
    }
}

/// The stored parts of an update with the CRM's id or with a route.
#[derive(Deserialize)]
struct UpdateParts<'a> {
    #[serde(borrow)]
    partner: Option<Cow<'a, str>>,
    update: Update,
    #[serde(default)]
    route: Option<StoredRoute>,
}

/// The columns of an entry with its update.
pub(in crate::outbox) struct UpdateColumns<'a> {
    pub(in crate::outbox) update: Vec<u8>,
    pub(in crate::outbox) partner: Option<&'a str>,
}

/// Encodes an update. If the process has a sealing key, the sealed blob contains the CRM's id and the route too.
pub(in crate::outbox) fn encode_update<'a>(
    sealer: &Sealer,
    entry: u64,
    (update, partner): (&Update, Option<&'a str>),
    route: &UpdateRoute,
) -> Result<UpdateColumns<'a>, CodecError> {
    let kind = BlobKind::Update;
    if sealer.binds_updates() {
        return Ok(UpdateColumns {
            update: encode(sealer, kind, entry, &(partner, update, route.stored()))?,
            partner: None,
        });
    }
    Ok(match partner.filter(|_| sealer.has_key()) {
        Some(sealed) => UpdateColumns {
            update: encode(sealer, kind, entry, &(sealed, update))?,
            partner: None,
        },
        None => UpdateColumns {
            update: encode(sealer, kind, entry, update)?,
            partner,
        },
    })
}

/// Decodes an update: an object, or an array of the CRM's id, an object and possibly the route.
pub(in crate::outbox) fn decode_update(
    sealer: &Sealer,
    entry: u64,
    bytes: &[u8],
) -> Result<StoredUpdate, CodecError> {
    let kind = BlobKind::Update;
    let bytes = decode_bytes(sealer, kind, entry, bytes)?;
    let decoded = match bytes.first() {
        Some(b'[') => serde_json::from_slice(&bytes),
        Some(_) | None => serde_json::from_slice(&bytes).map(|update| UpdateParts {
            partner: None,
            update,
            route: None,
        }),
    };
    let stored = decoded.map_err(|source| CodecError::Unreadable {
        kind,
        record: entry,
        source,
    })?;
    let partner = stored.partner.as_deref();
    Ok(StoredUpdate {
        partner: partner.and_then(|partner| PartnerCustomerId::parse(partner).ok()),
        update: stored.update,
        route: stored.route,
    })
}

/// Returns an error if an update cannot be read, or was sealed with other columns.
pub(in crate::outbox) fn expect_route(
    sealer: &Sealer,
    entry: u64,
    bytes: &[u8],
    route: &UpdateRoute,
) -> Result<(), CodecError> {
    let stored = decode_update(sealer, entry, bytes)?;
    match stored.is_at(route) {
        true => Ok(()),
        false => Err(CodecError::OtherRoute {
            kind: BlobKind::Update,
            record: entry,
        }),
    }
}

/// Seals the update of an entry that moves from one route to another. Returns `None` if the stored bytes must stay as they
/// are: they are not bound to a route, or are damaged, or are bound to another route than `from`.
///
/// # Errors
/// Returns an error if the process does not have the sealing key of the update, or if the encryption fails.
pub(in crate::outbox) fn move_update(
    sealer: &Sealer,
    entry: u64,
    bytes: &[u8],
    (from, to): (&UpdateRoute, &UpdateRoute),
) -> Result<Option<Vec<u8>>, CodecError> {
    if !sealer.has_key() || from == to {
        return Ok(None);
    }
    let stored = match decode_update(sealer, entry, bytes) {
        Err(error) if error.missing_key().is_some() => return Err(error),
        stored => stored.ok(),
    };
    let Some(stored) = stored.filter(|stored| stored.route == Some(from.stored())) else {
        return Ok(None);
    };
    let partner = stored.partner.as_ref().map(PartnerCustomerId::as_str);
    let parts = (partner, &stored.update, to.stored());
    encode(sealer, BlobKind::Update, entry, &parts).map(Some)
}

/// Seals an update with the CRM's id of the column `partner` and with its route. Returns `None` if nothing is missing, or if
/// the update cannot be read.
pub(in crate::outbox) fn bind(
    sealer: &Sealer,
    entry: u64,
    (bytes, partner): (&[u8], Option<&str>),
    route: &UpdateRoute,
) -> Result<Option<Vec<u8>>, CodecError> {
    let Ok(stored) = decode_update(sealer, entry, bytes) else {
        return Ok(None);
    };
    let is_bound = stored.route.is_some() || !sealer.binds_updates();
    if !sealer.has_key() || is_bound && partner.is_none() || !stored.is_at(route) {
        return Ok(None);
    }
    let own = stored.partner.as_ref().map(PartnerCustomerId::as_str);
    let parts = (&stored.update, own.or(partner));
    let sealed = encode_update(sealer, entry, parts, route)?;
    Ok(sealed.partner.is_none().then_some(sealed.update))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::imprint::{Field, FieldValue};
    use crate::sealing::{KeyRing, SealingKey};

    const ROUTE: UpdateRoute = UpdateRoute {
        lane: LaneId(3),
        version: SourceVersion { epoch: 1, value: 5 },
        jump_max: Some(9),
        names_imprint_id: true,
    };

    fn update() -> Update {
        let email = FieldValue::from_value(json!("a@example.com"));
        [(Field::parse("email").unwrap(), email)]
            .into_iter()
            .collect()
    }

    fn sealed(has_older_form: bool) -> Sealer {
        let hex: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let key = SealingKey::parse(&hex.into()).unwrap();
        let ring = KeyRing::new([key]).with_older_form(has_older_form);
        Sealer::new(Arc::new(ring), BTreeSet::new())
    }

    fn other_routes() -> [UpdateRoute; 6] {
        let version = |epoch, value| UpdateRoute {
            version: SourceVersion { epoch, value },
            ..ROUTE
        };
        let jump = |jump_max| UpdateRoute { jump_max, ..ROUTE };
        let unstated = UpdateRoute {
            names_imprint_id: false,
            ..ROUTE
        };
        let lane = ROUTE.in_lane(LaneId(4));
        let [epoch, value] = [version(2, 5), version(1, 6)];
        [lane, epoch, value, jump(None), jump(Some(8)), unstated]
    }

    /// FAULTS N821: the id of the CRM is either in the sealed blob or in the column.
    #[test]
    fn the_id_of_the_crm_is_sealed_with_the_update() {
        for id in ["P-1", "a \"quoted\" id", "[", "{}"] {
            for (sealer, column) in [
                (Sealer::default(), Some(id)),
                (sealed(true), None),
                (sealed(false), None),
            ] {
                let stored = encode_update(&sealer, 7, (&update(), Some(id)), &ROUTE).unwrap();
                assert_eq!(stored.partner, column);
                let read = decode_update(&sealer, 7, &stored.update).unwrap();
                let partner = read.partner.as_ref().map(PartnerCustomerId::as_str);
                assert_eq!(partner.or(stored.partner), Some(id));
                assert_eq!(read.update, update());
            }
        }
        for sealer in [Sealer::default(), sealed(true), sealed(false)] {
            let stored = encode_update(&sealer, 7, (&update(), None), &ROUTE).unwrap();
            assert_eq!(stored.partner, None);
            let read = decode_update(&sealer, 7, &stored.update).unwrap();
            assert!(read.partner.is_none());
            assert_eq!(read.update, update());
        }
    }

    /// FAULTS N1113: each column that routes or orders an update is bound to it.
    #[test]
    fn a_sealed_update_fits_only_its_own_columns() {
        let sealer = sealed(false);
        for partner in [None, Some("P-1")] {
            let stored = encode_update(&sealer, 7, (&update(), partner), &ROUTE).unwrap();
            let read = decode_update(&sealer, 7, &stored.update).unwrap();
            assert!(read.is_at(&ROUTE));
            for other in other_routes() {
                assert!(!read.is_at(&other), "{other:?}");
                let moved = move_update(&sealer, 7, &stored.update, (&other, &ROUTE)).unwrap();
                assert!(moved.is_none(), "{other:?}");
                let moved = move_update(&sealer, 7, &stored.update, (&ROUTE, &other)).unwrap();
                let moved = decode_update(&sealer, 7, &moved.unwrap()).unwrap();
                assert!(moved.is_at(&other) && !moved.is_at(&ROUTE), "{other:?}");
                let own = moved.partner.as_ref().map(PartnerCustomerId::as_str);
                assert_eq!((own, moved.update), (partner, update()));
            }
        }
    }

    /// FAULTS N1114: the update of an older program fits all columns until it is bound.
    #[test]
    fn the_update_of_an_older_program_is_bound_later() {
        let (older, newer) = (sealed(true), sealed(false));
        for partner in [None, Some("P-1")] {
            let stored = encode_update(&older, 7, (&update(), partner), &ROUTE).unwrap();
            let read = decode_update(&newer, 7, &stored.update).unwrap();
            assert!(other_routes().iter().all(|other| read.is_at(other)));
            let bound = bind(&newer, 7, (&stored.update, None), &ROUTE).unwrap();
            let bound = bound.unwrap();
            let read = decode_update(&newer, 7, &bound).unwrap();
            assert!(read.is_at(&ROUTE) && !read.is_at(&other_routes()[0]));
            let own = read.partner.as_ref().map(PartnerCustomerId::as_str);
            assert_eq!(own, partner);
            assert!(bind(&newer, 7, (&bound, None), &ROUTE).unwrap().is_none());
            let again = bind(&older, 7, (&stored.update, None), &ROUTE);
            assert!(again.unwrap().is_none());
        }
        let plain = Sealer::default();
        let stored = encode_update(&plain, 7, (&update(), Some("P-1")), &ROUTE).unwrap();
        assert!(
            bind(&plain, 7, (&stored.update, stored.partner), &ROUTE)
                .unwrap()
                .is_none()
        );
    }
}
