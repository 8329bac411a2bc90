//! Claims due lanes: selects them from the queues, gives them to this replica, and reads them with their entries.
//!
//! The selection reads the first lanes of every queue, without locks. Then one statement claims the selected lanes that
//! are still free, and skips lanes that another transaction has locked: an append to such a lane wakes dispatch again.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::{get, number, size, small, time, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::Fault;
use super::links::{self, FoundLinks};
use super::waiting::{self, LaneEntries};
use super::{lane_row, receipt};
use crate::fold::LaneVersions;
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::sealer::Sealer;
use crate::outbox::{
    Claim, ClaimBounds, ClaimToken, ClaimedLane, DueLane, DueQueues, EntryId, Error, LaneClass,
    LaneId, LaneKey, Pick, Standing, Trials, Unproven, UntriedOrder,
};
use crate::time::Timestamp;

/// The time after which dispatch claims again if another transaction had locked a selected lane.
const SKIPPED_PAUSE: Duration = Duration::from_millis(20);
/// The time between two claims while more lanes wait for a missing sealing key than the replica remembers.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

/// Claims up to `max` lanes that are due and not claimed.
pub(super) async fn claim(
    engine: &Engine,
    now: Timestamp,
    (max, pick): (usize, Pick),
) -> Result<Claim, Error> {
    let _turn = engine.claiming.lock().await;
    let claimed = claim_in_turn(engine, now, (max, pick)).await;
    claimed.map_err(|fault| fault.report("claiming"))
}

async fn claim_in_turn(
    engine: &Engine,
    now: Timestamp,
    (max, pick): (usize, Pick),
) -> Result<Claim, Fault> {
    if engine.claims.borrow().has_unknown {
        free_unknown(engine).await?;
    }
    let (connector, link) = (&engine.connector, &engine.links.claims);
    let window = window(pick, max, engine.bounds);
    let queues = connector.read(link, async |db: &Connected| {
        QueueHeads::read(db, engine, window).await
    });
    let Ok(picked) = pick.select(&queues.await?, max, now);
    let mut claim = Claim {
        lanes: Vec::new(),
        next_due: picked.next_due,
        is_failing_left: picked.is_failing_left,
        is_untried_left: picked.is_untried_left,
    };
    if picked.lanes.is_empty() {
        return Ok(claim);
    }
    let take = connector.transact(link, async |db: &Connected| {
        take(db, engine, &picked.lanes).await
    });
    let taken = take.await;
    if taken.as_ref().is_err_and(Fault::is_in_doubt) {
        engine.claims.borrow_mut().has_unknown = true;
    }
    let taken = taken?;
    let is_skipped = taken.len() < picked.lanes.len();
    for lane in &taken {
        engine.claims.borrow_mut().insert(lane.id, lane.token);
    }
    let read = connector.read(link, async |db: &Connected| read(db, engine, &taken).await);
    let (lanes, locked) = match read.await {
        Ok(read) => read,
        Err(fault) => {
            free(engine, taken.iter().map(|lane| (lane.id, lane.token))).await;
            return Err(fault);
        }
    };
    claim.lanes = in_order(lanes, &picked.lanes);
    if !locked.is_empty() {
        lock(engine, &locked).await;
    }
    let pause = match claim.lanes.is_empty() && engine.claims.borrow().has_locked_most() {
        true => Some(LOCKED_PAUSE),
        false => is_skipped.then_some(SKIPPED_PAUSE),
    };
    let again = pause.map(|pause| now.after(pause));
    claim.next_due = claim.next_due.into_iter().chain(again).min();
    Ok(claim)
}

/// Returns the claimed lanes in the order of their selection.
fn in_order(lanes: Vec<ClaimedLane>, picked: &[LaneId]) -> Vec<ClaimedLane> {
    let mut by_id: HashMap<LaneId, ClaimedLane> =
        lanes.into_iter().map(|lane| (lane.lane, lane)).collect();
    picked
        .iter()
        .filter_map(|lane| by_id.remove(lane))
        .collect()
}

/// Returns the number of lanes of each queue that the selection possibly needs.
fn window(pick: Pick, max: usize, bounds: ClaimBounds) -> usize {
    let needs_window = match pick {
        Pick::LongestDue(shares) => {
            shares.newest_first || matches!(shares.untried, UntriedOrder::Last { .. })
        }
        Pick::NotFailed | Pick::LeastFailed(_) => true,
    };
    let window = if needs_window {
        max.max(bounds.probe)
    } else {
        max
    };
    window.saturating_add(1)
}

/// The first unclaimed lanes of each queue.
struct QueueHeads {
    lanes: BTreeMap<u8, Vec<DueLane>>,
    failures: HashMap<LaneId, u32>,
    bounds: ClaimBounds,
}

impl QueueHeads {
    async fn read(db: &Connected, engine: &Engine, window: usize) -> Result<Self, Fault> {
        // The number of the queue is a literal, so that PostgreSQL uses the partial index.
        let head = |class: LaneClass| {
            let low = codec::class_number(class);
            format!(
                "(SELECT id, due_at, low, failures FROM imprint_bridge.lane
                  WHERE low = {low} AND due_at IS NOT NULL AND owner IS NULL AND id <> ALL($2) ORDER BY due_at, id LIMIT $1)"
            )
        };
        let heads: Vec<String> = LaneClass::all().map(head).collect();
        let locked: Vec<i64> = {
            let claims = engine.claims.borrow();
            claims.locked_lanes().map(|lane| number(lane.0)).collect()
        };
        let window = size(window);
        let params = [(&window as _, Type::INT8), (&locked as _, Type::INT8_ARRAY)];
        let mut queues = Self {
            lanes: BTreeMap::new(),
            failures: HashMap::new(),
            bounds: engine.bounds,
        };
        for row in db.query(&heads.join(" UNION ALL "), &params).await? {
            let lane = LaneId(unsigned(get(&row, 0)?));
            let low: i16 = get(&row, 2)?;
            let due = DueLane {
                due: Timestamp::from_millis(get(&row, 1)?),
                lane,
            };
            let queue = u8::try_from(low).unwrap_or_default();
            queues.lanes.entry(queue).or_default().push(due);
            queues.failures.insert(lane, small(get(&row, 3)?));
        }
        for lanes in queues.lanes.values_mut() {
            lanes.sort_unstable();
        }
        Ok(queues)
    }
}

impl DueQueues for QueueHeads {
    type Error = Infallible;

    fn first_due(&self, class: LaneClass, max: usize) -> Result<Vec<DueLane>, Infallible> {
        let lanes = self.lanes.get(&codec::class_number(class));
        let lanes = lanes.into_iter().flatten().copied();
        Ok(lanes.take(max.saturating_add(1)).collect())
    }

    fn failures(&self, lane: LaneId) -> Result<u32, Infallible> {
        Ok(self.failures.get(&lane).copied().unwrap_or_default())
    }

    fn bounds(&self) -> ClaimBounds {
        self.bounds
    }
}

/// A lane that this replica has claimed in the database.
struct TakenLane {
    id: LaneId,
    token: ClaimToken,
    row: Row,
}

/// Gives the lanes that are still free to this replica.
async fn take(db: &Connected, engine: &Engine, lanes: &[LaneId]) -> Result<Vec<TakenLane>, Fault> {
    let owner = engine.owner.get();
    let (me, lanes) = (number(owner), lane_numbers(lanes));
    // The lock keeps the registration until the commit. Without a registration nobody would free the lanes.
    let registered = "SELECT 1 FROM imprint_bridge.replica WHERE owner = $1 FOR KEY SHARE";
    if db
        .query_opt(registered, &[(&me, Type::INT8)])
        .await?
        .is_none()
    {
        return Err(Fault::Raced);
    }
    let sql = "UPDATE imprint_bridge.lane AS l SET owner = $1, epoch = l.epoch + 1
         FROM (SELECT id FROM imprint_bridge.lane WHERE id = ANY($2) AND owner IS NULL AND due_at IS NOT NULL
               ORDER BY id FOR UPDATE SKIP LOCKED) AS free
         WHERE l.id = free.id
         RETURNING l.id, l.epoch, l.kind, l.received, l.erased, l.failures, l.spent, l.tried_at, l.blamed_since,
             l.unfold_to, l.versions, l.low, l.maybe_sent, l.spelled, l.unproven_since, l.absence";
    let params = [(&me as _, Type::INT8), (&lanes as _, Type::INT8_ARRAY)];
    let rows = db.query(sql, &params).await?;
    let taken = rows.into_iter().map(|row| {
        let epoch = unsigned(get(&row, 1)?);
        Ok(TakenLane {
            id: LaneId(unsigned(get(&row, 0)?)),
            token: ClaimToken { owner, epoch },
            row,
        })
    });
    taken.collect()
}

fn lane_numbers(lanes: &[LaneId]) -> Vec<i64> {
    lanes.iter().map(|lane| number(lane.0)).collect()
}

/// The read lanes, and the lanes that wait for a missing sealing key.
type ReadLanes = (Vec<ClaimedLane>, Vec<(LaneId, ClaimToken)>);

async fn read(db: &Connected, engine: &Engine, taken: &[TakenLane]) -> Result<ReadLanes, Fault> {
    let ids: Vec<i64> = taken.iter().map(|lane| number(lane.id.0)).collect();
    let entries = waiting::read(db, &ids, engine.bounds).await?;
    let (mut lanes, mut locked) = (Vec::new(), Vec::new());
    for lane in taken {
        match read_lane(engine, lane, entries.get(&lane.id)) {
            Ok(claimed) => lanes.push(claimed),
            Err(fault) if fault.missing_key().is_some() => locked.push((lane.id, lane.token)),
            Err(fault) => {
                // The lane stays claimed until the next start: a free lane would fail again in every claim.
                tracing::error!(lane.id = lane.id.0, fault = %fault, "the bridge cannot read the lane; the entries of the lane wait until the bridge starts again");
            }
        }
    }
    let found = find_links(db, engine, &lanes).await?;
    for lane in &mut lanes {
        lane.links = found.of(engine, &partners(lane), imprint(lane));
    }
    Ok((lanes, locked))
}

fn read_lane(
    engine: &Engine,
    lane: &TakenLane,
    entries: Option<&LaneEntries>,
) -> Result<ClaimedLane, Fault> {
    let mut claimed = match claimed(lane, &engine.sealer) {
        Err(fault) if fault.missing_key().is_none() => {
            ClaimedLane::empty(lane.id, lane.token, Trials::default())
        }
        claimed => claimed?,
    };
    let Some(entries) = entries else {
        return Ok(claimed);
    };
    let decoded = entries.decode(&engine.sealer, claimed.key.as_ref())?;
    let mut claims = engine.claims.borrow_mut();
    claims.remember(lane.id, decoded.newest);
    if entries.has_more || !decoded.unreadable.is_empty() {
        claimed.maybe_sent = claimed.maybe_sent.beyond_the_claim();
    }
    claimed.waiting = decoded.entries;
    claimed.unreadable = decoded.unreadable;
    Ok(claimed)
}

/// Decodes the row of a claimed lane, without its entries. Returns an error if the row is damaged, or if the process does
/// not have the sealing key of the versions or of the customer id.
fn claimed(lane: &TakenLane, sealer: &Sealer) -> Result<ClaimedLane, Fault> {
    let (id, row) = (lane.id, &lane.row);
    let versions: Option<&[u8]> = get(row, 10)?;
    let versions = match versions {
        Some(bytes) => match codec::decode(sealer, BlobKind::LaneVersions, id.0, bytes) {
            Err(error) if error.missing_key().is_some() => return Err(error.into()),
            versions => versions.ok(),
        },
        None => Some(LaneVersions::default()),
    };
    // If the versions are unreadable, the bridge could send values that are older than the delivered values. The claim
    // therefore has no key, and dispatch sends nothing.
    let key = match versions.is_some() {
        true => receipt::lane_key(row, (2, 3, 4), sealer, 0)?,
        false => None,
    };
    let low: i16 = get(row, 11)?;
    let class = codec::class("lane.low", low.into());
    let absence: Option<&[u8]> = get(row, 15)?;
    let unfold_to: Option<i64> = get(row, 9)?;
    Ok(ClaimedLane {
        key,
        versions: versions.unwrap_or_default(),
        standing: class.map_or(Standing::Well, |class| class.standing),
        unproven: Unproven {
            since: time(row, 14)?,
            absence: absence.and_then(|bytes| codec::absence(sealer, id.0, bytes)),
        },
        unfold_to: unfold_to.map(unsigned).map(EntryId),
        maybe_sent: codec::maybe_sent(get(row, 12)?),
        is_gone: get::<i16>(row, 13)? == i16::from(codec::GONE),
        ..ClaimedLane::empty(id, lane.token, lane_row::trials(row, 5)?)
    })
}

/// Returns the CRM's ids in the waiting entries of a lane.
fn partners(lane: &ClaimedLane) -> Vec<&PartnerCustomerId> {
    let waiting = lane.waiting.iter();
    let mut partners: Vec<_> = waiting.filter_map(|it| it.customer.partner()).collect();
    partners.sort_unstable();
    partners.dedup();
    partners
}

/// Returns the Imprint id of a lane whose entries contain a CRM's id.
fn imprint(lane: &ClaimedLane) -> Option<&ImprintId> {
    let has_partner = lane
        .waiting
        .iter()
        .any(|it| it.customer.partner().is_some());
    match &lane.key {
        Some(LaneKey::Imprint(imprint)) if has_partner => Some(imprint),
        Some(LaneKey::Imprint(_) | LaneKey::Partner(_)) | None => None,
    }
}

async fn find_links(
    db: &Connected,
    engine: &Engine,
    lanes: &[ClaimedLane],
) -> Result<FoundLinks, Fault> {
    let readable = || lanes.iter().filter(|lane| lane.key.is_some());
    let partners = readable().flat_map(partners);
    let partners: Vec<_> = partners.map(|it| links::partner_key(engine, it)).collect();
    let imprints = readable().filter_map(imprint);
    let imprints: Vec<_> = imprints.map(|it| links::imprint_key(engine, it)).collect();
    links::find(db, &engine.sealer, &partners, &imprints).await
}

/// Ends claims whose caller is gone.
pub(super) async fn give_back(engine: &Engine, claim: &Claim) {
    let _turn = engine.claiming.lock().await;
    free(
        engine,
        claim.lanes.iter().map(|lane| (lane.lane, lane.token)),
    )
    .await;
}

/// Ends the claims of lanes that wait for a missing sealing key. Later claims of this process leave these lanes out.
async fn lock(engine: &Engine, lanes: &[(LaneId, ClaimToken)]) {
    free(engine, lanes.iter().copied()).await;
    let mut claims = engine.claims.borrow_mut();
    for (lane, _) in lanes {
        claims.lock(*lane);
    }
    engine.shared.set_locked_lanes(claims.locked());
}

/// Ends claims without a settlement. If that fails, the next claim ends them.
async fn free(engine: &Engine, claims: impl Iterator<Item = (LaneId, ClaimToken)>) {
    let claims: Vec<(LaneId, ClaimToken)> = claims.collect();
    let mut held = engine.claims.borrow_mut();
    for (lane, token) in &claims {
        held.free(*lane, *token);
    }
    held.has_unknown = true;
    drop(held);
    if let Err(fault) = free_unknown(engine).await {
        tracing::warn!(fault = %fault, "the store could not end claims; the next claim ends them");
    }
}

/// Frees the lanes that the database gives to this replica, but that the replica does not know as claimed.
async fn free_unknown(engine: &Engine) -> Result<(), Fault> {
    let me = number(engine.owner.get());
    let freed = engine
        .connector
        .transact(&engine.links.claims, async |db: &Connected| {
            let sql = "SELECT id FROM imprint_bridge.lane WHERE owner = $1 ORDER BY id FOR UPDATE";
            let rows = db.query(sql, &[(&me, Type::INT8)]).await?;
            let mut unknown: Vec<i64> = Vec::new();
            for row in &rows {
                let id: i64 = get(row, 0)?;
                if !engine.claims.borrow().is_claimed(LaneId(unsigned(id))) {
                    unknown.push(id);
                }
            }
            let sql = "UPDATE imprint_bridge.lane SET owner = NULL WHERE id = ANY($1)";
            db.execute(sql, &[(&unknown, Type::INT8_ARRAY)]).await
        });
    freed.await?;
    engine.claims.borrow_mut().has_unknown = false;
    Ok(())
}
