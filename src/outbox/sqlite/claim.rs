//! The SQL statements of claiming: find due lanes, and read the due lanes with their waiting entries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Row, params};

use super::claimed_lanes::ClaimedLanes;
use super::decode_cache::DecodeCache;
use super::statements::Statements;
use super::store_connection::StoreConnection;
use super::waiting::{self, WaitingEntries};
use super::{columns, identity_link, lane, tombstones, versions};
use crate::fold::LaneVersions;
use crate::imprint::PartnerCustomerId;
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::{
    Claim, ClaimBounds, ClaimToken, ClaimedLane, DueLane, DueQueues, EntryId, IdentityLink,
    LaneClass, LaneId, LaneKey, Pick, Standing, Trials, WaitingEntry,
};
use crate::time::Timestamp;

/// The time between two claims while more lanes wait for a missing sealing key than the store remembers.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

/// The inputs of a claim: the store, the set of claimed lanes, the cache of decoded updates, and the current time.
pub(super) struct Claimer<'a, 'c> {
    pub(super) statements: &'a Statements<'c>,
    pub(super) claimed: &'a mut ClaimedLanes,
    pub(super) decoded: &'a mut DecodeCache,
    pub(super) now: Timestamp,
}

impl Claimer<'_, '_> {
    /// Claims up to `max` lanes that are due and not claimed.
    pub(super) fn claim(&mut self, max: usize, pick: Pick) -> rusqlite::Result<Claim> {
        let picked = pick.select(self, max, self.now)?;
        let lanes = picked.lanes.into_iter();
        let lanes: Vec<_> = lanes.filter_map(|lane| self.claim_lane(lane)).collect();
        // The next claim would find the same lanes, so it waits.
        let is_useless = lanes.is_empty() && self.claimed.has_locked_most();
        let next_due = is_useless.then(|| self.now.after(LOCKED_PAUSE));
        Ok(Claim {
            lanes,
            next_due: next_due.or(picked.next_due),
            is_failing_left: picked.is_failing_left,
            is_untried_left: picked.is_untried_left,
        })
    }

    /// Claims a lane. If SQLite cannot read the lane, the lane stays claimed until the next start: a free lane would
    /// fail again in every claim. If a sealing key is missing, the lane waits for the key.
    fn claim_lane(&mut self, lane: LaneId) -> Option<ClaimedLane> {
        let token = self.claimed.claim(lane);
        match self.read_lane(lane, token) {
            Ok(claimed) => Some(claimed),
            Err(error) if columns::missing_key(&error).is_some() => {
                self.claimed.lock(lane);
                None
            }
            Err(error) => {
                tracing::error!(lane.id = lane.0, error = %error, "the bridge cannot read the lane; the entries of the lane wait until the bridge starts again");
                None
            }
        }
    }

    fn read_lane(&mut self, lane: LaneId, token: ClaimToken) -> rusqlite::Result<ClaimedLane> {
        let select = "SELECT kind, received, failures, spent, tried_at, unfold_to, versions, low, maybe_sent, blamed_since, spelled,
                        unproven_since, absence, customer
                 FROM lane WHERE id = ?1";
        let store: &StoreConnection = self.statements;
        let mut claimed = self.statements.with(select, |select| {
            select.query_row([lane.0], |row| match claimed(lane, token, row, store) {
                Err(error) if columns::missing_key(&error).is_none() => {
                    Ok(ClaimedLane::empty(lane, token, Trials::default()))
                }
                claimed => claimed,
            })
        })?;
        let key = claimed.key.as_ref();
        let WaitingEntries {
            entries,
            unreadable,
            sizes,
            has_more,
            ..
        } = waiting::read(
            self.statements,
            lane,
            key,
            self.decoded,
            self.claimed.bounds,
        )?;
        self.claimed.remember(lane, sizes);
        if has_more || !unreadable.is_empty() {
            claimed.maybe_sent = claimed.maybe_sent.beyond_the_claim();
        }
        claimed.waiting = entries;
        claimed.unreadable = unreadable;
        if let Some(key) = &claimed.key {
            claimed.links = links(self.statements, key, &claimed.waiting)?;
        }
        if store.tombstones().is_some() {
            add_floors(store, &mut claimed.waiting)?;
        }
        Ok(claimed)
    }
}

impl DueQueues for Claimer<'_, '_> {
    type Error = rusqlite::Error;

    fn first_due(&self, class: LaneClass, max: usize) -> rusqlite::Result<Vec<DueLane>> {
        // Claimed lanes, and lanes that wait for a key, stay in the index of due lanes. The query reads one more row for
        // each of these lanes, and then skips them.
        let limit = max.saturating_add(self.claimed.taken()).saturating_add(1);
        let select = "SELECT id, due_at FROM lane WHERE low = ?1 AND due_at IS NOT NULL ORDER BY due_at, id LIMIT ?2";
        let read = |row: &Row<'_>| {
            // A lane whose due time is damaged is due now.
            let due = row.get(1).map_or(self.now, Timestamp::from_millis);
            let lane = LaneId(row.get(0)?);
            Ok(DueLane { due, lane })
        };
        let is_free = |due: &rusqlite::Result<DueLane>| {
            let is_taken = |due: &DueLane| self.claimed.is_taken(due.lane);
            !due.as_ref().is_ok_and(is_taken)
        };
        let mut free = self.statements.with(select, |select| {
            let rows = select.query_map(params![codec::class_number(class), limit], read)?;
            columns::readable(rows.filter(is_free).take(max.saturating_add(1)))
        })?;
        free.sort_by_key(|due| due.due);
        Ok(free)
    }

    fn bounds(&self) -> ClaimBounds {
        self.claimed.bounds
    }

    fn failures(&self, lane: LaneId) -> rusqlite::Result<u32> {
        self.statements
            .prepare_cached("SELECT failures FROM lane WHERE id = ?1")?
            .query_row([lane.0], |row| Ok(columns::or_default(row, 0)))
    }
}

/// Reads the row of a claimed lane, without the waiting entries of the lane. Returns an error if the row is damaged, or if
/// the process does not have the sealing key of the versions or of the customer id.
fn claimed(
    lane: LaneId,
    token: ClaimToken,
    row: &Row<'_>,
    store: &StoreConnection,
) -> rusqlite::Result<ClaimedLane> {
    let sealer = store.sealer();
    let trials = Trials {
        failures: row.get(2)?,
        attempts: row.get(3)?,
        tried_at: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
        blamed_since: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_millis),
    };
    let versions = match row.get_ref(6)?.as_blob_or_null()? {
        Some(bytes) => match codec::decode(sealer, BlobKind::LaneVersions, lane.0, bytes) {
            Err(error) if error.missing_key().is_some() => return Err(columns::unreadable(error)),
            versions => versions.ok(),
        },
        None => Some(LaneVersions::default()),
    };
    // If the versions are unreadable, the bridge could send values that are older than the delivered values. If the lane is
    // found by the id of another customer, the bridge could send that customer's values. The claim therefore has no key, and
    // dispatch sends nothing.
    let key = match versions.is_some() {
        true => columns::lane_key(row, (0, 1), (lane, sealer))?,
        false => None,
    };
    let key = key.filter(|key| is_found_by(row, 13, (key, store)));
    Ok(ClaimedLane {
        key,
        versions: versions.unwrap_or_default(),
        standing: columns::class(row, 7).map_or(Standing::Well, |class| class.standing),
        unproven: columns::unproven(row, (11, 12), (lane, sealer)),
        unfold_to: row.get::<_, Option<u64>>(5)?.map(EntryId),
        maybe_sent: codec::maybe_sent(row.get(8).unwrap_or(-1)),
        is_gone: row
            .get_ref(10)?
            .as_i64()
            .is_ok_and(|spelled| spelled == i64::from(codec::GONE)),
        ..ClaimedLane::empty(lane, token, trials)
    })
}

/// Returns whether the store finds a lane by the customer id of the lane: in a sealed store, the column `customer` has the
/// digest of the id.
fn is_found_by(row: &Row<'_>, column: usize, (key, store): (&LaneKey, &StoreConnection)) -> bool {
    let Ok(ValueRef::Blob(digest)) = row.get_ref(column) else {
        return true;
    };
    let digests = store.customer_key();
    digests.is_none_or(|digests| digests.of(&codec::lane_columns(key)) == digest)
}

/// Adds the version floors of the CRM's ids in events that also name an Imprint id: an operator possibly erased the customer by
/// the CRM's id before the bridge knew Imprint's id.
fn add_floors(store: &StoreConnection, waiting: &mut [WaitingEntry]) -> rusqlite::Result<()> {
    let mut known: BTreeMap<PartnerCustomerId, Option<Arc<LaneVersions>>> = BTreeMap::new();
    for entry in waiting {
        let Some(partner) = entry.second_id() else {
            continue;
        };
        entry.floors = match known.get(partner) {
            Some(floors) => floors.clone(),
            None => {
                let floors = floors(store, partner)?.map(Arc::new);
                known.insert(partner.clone(), floors.clone());
                floors
            }
        };
    }
    Ok(())
}

/// Returns the version floors of the lane, or of the tombstone, of a CRM's id.
fn floors(
    store: &StoreConnection,
    partner: &PartnerCustomerId,
) -> rusqlite::Result<Option<LaneVersions>> {
    let key = LaneKey::Partner(partner.clone());
    let lane = match lane::find(store, &key)? {
        Some(lane) => Some(lane),
        None => tombstones::find(store, &key)?.map(|(lane, _)| lane),
    };
    match lane {
        Some(lane) => Ok(versions::of_lane(store, lane)?.only_floors()),
        None => Ok(None),
    }
}

/// Returns the identity links of the customer ids in the waiting entries of a lane.
fn links(
    statements: &Statements<'_>,
    key: &LaneKey,
    waiting: &[WaitingEntry],
) -> rusqlite::Result<Vec<IdentityLink>> {
    let mut partners: Vec<&PartnerCustomerId> = waiting
        .iter()
        .filter_map(|waiting| waiting.customer.partner())
        .collect();
    partners.sort_unstable();
    partners.dedup();
    let mut links = Vec::new();
    for partner in &partners {
        links.extend(readable(identity_link::of_partner(statements, partner))?.flatten());
    }
    if let (LaneKey::Imprint(imprint), false) = (key, partners.is_empty()) {
        let linked = readable(identity_link::of_imprint(statements, imprint))?;
        links.extend(linked.into_iter().flatten());
        links.sort_unstable_by(|one: &IdentityLink, other: &IdentityLink| {
            one.partner.cmp(&other.partner)
        });
        links.dedup();
    }
    Ok(links)
}

/// Returns `None` if the process does not have the sealing key of a link: dispatch then asks Imprint again, as for a
/// customer without a link.
fn readable<T>(links: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    match links {
        Err(error) if columns::missing_key(&error).is_some() => Ok(None),
        links => links.map(Some),
    }
}
