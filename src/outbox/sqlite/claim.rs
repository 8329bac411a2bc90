//! The SQL of claiming lanes.

use std::collections::HashSet;

use rusqlite::{Connection, Row, params};

use super::decode_cache::DecodeCache;
use super::identity_link;
use crate::event::Version;
use crate::fold::LaneVersions;
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId};
use crate::outbox::{
    CLAIM_BYTES_MAX, Claim, ClaimedLane, EntryId, IdentityLink, LaneId, LaneKey, PROBE_WINDOW,
    Pick, Priority, Trials, WAITING_WINDOW, WaitingEntry,
};
use crate::time::Timestamp;

/// The number of the kind of lane that is known by Imprint's id.
pub(super) const IMPRINT: i64 = 0;
/// The number of the kind that is known by the partner's.
pub(super) const PARTNER: i64 = 1;

/// Lanes that are not free, or not free of doubt.
#[derive(Debug, Default)]
pub(super) struct ClaimedLanes {
    /// Those that are claimed.
    pub(super) lanes: HashSet<LaneId>,
    /// Those that a process before this one may have had in flight.
    pub(super) doubted: HashSet<LaneId>,
    /// The last entry that process can have sent.
    pub(super) sent_to: EntryId,
}

/// A lane that is due.
#[derive(Clone, Copy)]
struct DueLane {
    lane: LaneId,
    due: Timestamp,
}

/// Claims up to `max` lanes that are due and not in flight, those with something live in them first.
pub(super) fn claim(
    connection: &Connection,
    (claimed_lanes, decoded): (&ClaimedLanes, &mut DecodeCache),
    now: Timestamp,
    (max, pick): (usize, Pick),
) -> rusqlite::Result<Claim> {
    if matches!(pick, Pick::LeastFailed(_)) {
        return probe(connection, (claimed_lanes, decoded), now, (max, pick));
    }
    let mut claim = Claim::default();
    for priority in [Priority::Live, Priority::Low] {
        let room = max.saturating_sub(claim.lanes.len());
        let (due, next_due) = due(connection, claimed_lanes, (priority, now), room)?;
        claim.next_due = claim.next_due.into_iter().chain(next_due).min();
        for due in due {
            claim
                .lanes
                .push(read_lane(connection, due.lane, (claimed_lanes, decoded))?);
        }
    }
    Ok(claim)
}

/// Claims what is to find out whether the destination is back: who failed least, whatever is in the lane.
fn probe(
    connection: &Connection,
    (claimed_lanes, decoded): (&ClaimedLanes, &mut DecodeCache),
    now: Timestamp,
    (max, pick): (usize, Pick),
) -> rusqlite::Result<Claim> {
    let mut claim = Claim::default();
    let mut found = Vec::new();
    for priority in [Priority::Live, Priority::Low] {
        let (due, next_due) = due(connection, claimed_lanes, (priority, now), PROBE_WINDOW)?;
        claim.next_due = claim.next_due.into_iter().chain(next_due).min();
        found.extend(due);
    }
    found.sort_unstable_by_key(|due| (due.due, due.lane));
    let failures = found
        .iter()
        .map(|due| failures(connection, due.lane))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut found: Vec<_> = found.into_iter().zip(failures).collect();
    pick.sort(&mut found, |(_, failures)| *failures);
    let rest = found.split_off(max.min(found.len()));
    claim.next_due = claim
        .next_due
        .into_iter()
        .chain(rest.iter().map(|(due, _)| due.due))
        .min();
    for (due, _) in found {
        claim
            .lanes
            .push(read_lane(connection, due.lane, (claimed_lanes, decoded))?);
    }
    Ok(claim)
}

fn failures(connection: &Connection, lane: LaneId) -> rusqlite::Result<u32> {
    connection
        .prepare_cached("SELECT failures FROM lane WHERE id = ?1")?
        .query_row([lane.0], |row| row.get(0))
}

/// The lanes of one priority that are due, and when the next one is.
fn due(
    connection: &Connection,
    claimed_lanes: &ClaimedLanes,
    (priority, now): (Priority, Timestamp),
    max: usize,
) -> rusqlite::Result<(Vec<DueLane>, Option<Timestamp>)> {
    // Lanes in flight are still due: skipping all of them costs that many lines of the index at most.
    let limit = max
        .saturating_add(claimed_lanes.lanes.len())
        .saturating_add(1);
    let mut free = connection
        .prepare_cached(
            "SELECT id, due_at FROM lane WHERE low = ?1 AND due_at IS NOT NULL ORDER BY due_at, id LIMIT ?2",
        )?
        .query_map(params![low(priority), limit], |row| {
            let due = Timestamp::from_millis(row.get(1)?);
            Ok(DueLane { lane: LaneId(row.get(0)?), due })
        })?
        .filter(|due| {
            let is_in_flight = |due: &DueLane| claimed_lanes.lanes.contains(&due.lane);
            !due.as_ref().is_ok_and(is_in_flight)
        })
        .take(max.saturating_add(1))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let later = free.split_off(free.partition_point(|due| due.due <= now));
    let next_due = free.get(max).or_else(|| later.first()).map(|due| due.due);
    free.truncate(max);
    Ok((free, next_due))
}

/// The number a priority is stored as.
pub(super) const fn low(priority: Priority) -> i64 {
    match priority {
        Priority::Live => 0,
        Priority::Low => 1,
    }
}

fn read_lane(
    connection: &Connection,
    lane: LaneId,
    (claimed_lanes, decoded): (&ClaimedLanes, &mut DecodeCache),
) -> rusqlite::Result<ClaimedLane> {
    let mut claimed = connection
        .prepare_cached(
            "SELECT kind, received, failures, spent, tried_at, unfold_to, versions FROM lane WHERE id = ?1",
        )?
        .query_row([lane.0], |row| claimed(lane, row))?;
    claimed.maybe_sent_to = claimed_lanes
        .doubted
        .contains(&lane)
        .then_some(claimed_lanes.sent_to);
    (claimed.waiting, claimed.unreadable) =
        waiting(connection, lane, claimed.key.as_ref(), decoded)?;
    if let Some(key) = &claimed.key {
        claimed.links = known(connection, key, &claimed.waiting)?;
    }
    Ok(claimed)
}

/// A lane's row, before what waits in it is read.
fn claimed(lane: LaneId, row: &Row<'_>) -> rusqlite::Result<ClaimedLane> {
    let trials = Trials {
        failures: row.get(2)?,
        attempts: row.get(3)?,
        tried_at: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
    };
    let versions = match row.get_ref(6)?.as_blob_or_null()? {
        Some(kept) => serde_json::from_slice(kept).ok(),
        None => Some(LaneVersions::default()),
    };
    // What cannot be read is never guessed: without its versions a lane could send facts that are overtaken.
    let key = match versions.is_some() {
        true => lane_key(row.get(0)?, row.get_ref(1)?.as_str()?),
        false => None,
    };
    Ok(ClaimedLane {
        key,
        versions: versions.unwrap_or_default(),
        unfold_to: row.get::<_, Option<u64>>(5)?.map(EntryId),
        ..ClaimedLane::empty(lane, trials)
    })
}

/// Whose lane it is, by what is kept of it.
pub(super) fn lane_key(kind: i64, received: &str) -> Option<LaneKey> {
    match kind {
        IMPRINT => ImprintId::parse(received).ok().map(LaneKey::Imprint),
        PARTNER => PartnerCustomerId::parse(received)
            .ok()
            .map(LaneKey::Partner),
        _ => None,
    }
}

/// What waits in a lane, and what of it cannot be read.
pub(super) fn waiting(
    connection: &Connection,
    lane: LaneId,
    key: Option<&LaneKey>,
    decoded: &mut DecodeCache,
) -> rusqlite::Result<(Vec<WaitingEntry>, Vec<EntryId>)> {
    let (mut waiting, mut unreadable) = (Vec::new(), Vec::new());
    let mut statement = connection.prepare_cached(
        "SELECT entry, epoch, value, facts, partner, stated, accepted_at FROM waiting
         WHERE lane = ?1 ORDER BY entry DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![lane.0, WAITING_WINDOW])?;
    let mut bytes = 0;
    while bytes < CLAIM_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        bytes += row.get_ref(3)?.as_bytes().map_or(0, <[u8]>::len);
        match entry(row, key, decoded)? {
            Ok(entry) => waiting.push(entry),
            Err(entry) => unreadable.push(entry),
        }
    }
    Ok((waiting, unreadable))
}

/// One entry, or its number if what was kept of it cannot be read.
fn entry(
    row: &Row<'_>,
    key: Option<&LaneKey>,
    decoded: &mut DecodeCache,
) -> rusqlite::Result<Result<WaitingEntry, EntryId>> {
    let entry = EntryId(row.get(0)?);
    let version = Version {
        epoch: row.get(1)?,
        value: row.get(2)?,
        arrival: entry.0,
    };
    let kept = row.get_ref(3)?.as_bytes().unwrap_or_default();
    let update = decoded.take(entry);
    let update = update.or_else(|| serde_json::from_slice(kept).ok());
    let partner: Option<String> = row.get(4)?;
    let customer = key.and_then(|key| customer(key, partner.as_deref(), row.get(5).ok()?));
    let accepted_at = Timestamp::from_millis(row.get(6)?);
    Ok(match (update, customer) {
        (Some(update), Some(customer)) => Ok(WaitingEntry {
            entry,
            version,
            update,
            customer,
            accepted_at,
        }),
        (_, _) => Err(entry),
    })
}

/// Whom an event named, by the lane it is in and what is kept of it.
fn customer(key: &LaneKey, partner: Option<&str>, is_stated: bool) -> Option<CustomerRef> {
    let partner = partner.map(PartnerCustomerId::parse).transpose().ok()?;
    match (key, partner) {
        (LaneKey::Imprint(imprint), None) => Some(CustomerRef::Imprint(imprint.clone())),
        (LaneKey::Imprint(imprint), Some(partner)) if is_stated => Some(CustomerRef::Pair {
            imprint: imprint.clone(),
            partner,
        }),
        (LaneKey::Imprint(_) | LaneKey::Partner(_), Some(partner)) => {
            Some(CustomerRef::Partner(partner))
        }
        (LaneKey::Partner(_), None) => None,
    }
}

/// What is known of the ids that are named in a lane.
fn known(
    connection: &Connection,
    key: &LaneKey,
    waiting: &[WaitingEntry],
) -> rusqlite::Result<Vec<IdentityLink>> {
    let mut partners: Vec<&PartnerCustomerId> = waiting
        .iter()
        .filter_map(|waiting| waiting.customer.partner())
        .collect();
    partners.sort_unstable();
    partners.dedup();
    let mut known = Vec::new();
    for partner in &partners {
        known.extend(identity_link::of_partner(connection, partner)?);
    }
    if let (LaneKey::Imprint(imprint), false) = (key, partners.is_empty()) {
        known.extend(identity_link::of_imprint(connection, imprint)?);
        known.sort_unstable_by(|one: &IdentityLink, other: &IdentityLink| {
            one.partner.cmp(&other.partner)
        });
        known.dedup();
    }
    Ok(known)
}
