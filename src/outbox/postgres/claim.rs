//! Claims due lanes: selects them from the queues, gives them to this replica, and reads them with their entries.
//!
//! The selection reads the first lanes of every queue, without locks, from the floor of the queue on: see
//! [`due_floors`](super::due_floors). Then one statement claims the selected lanes that
//! are still free, and skips lanes that another transaction has locked: an append to such a lane wakes dispatch again.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_postgres::types::Type;

use super::claimed::{TAKEN, TakenLane, read};
use super::columns::{get, number, size, small, unsigned};
use super::connection::{Connected, Params};
use super::due_floors::FlooredRead;
use super::engine::Engine;
use super::fault::DbFault;
use super::{own_lanes, replica};
use crate::outbox::codec;
use crate::outbox::{
    Claim, ClaimBounds, ClaimToken, ClaimedLane, DueLane, DueQueues, Error, LaneClass, LaneId,
    Pick, UntriedOrder,
};
use crate::time::Timestamp;

/// The time after which dispatch claims again if another transaction had locked a selected lane.
const SKIPPED_PAUSE: Duration = Duration::from_millis(20);
/// The time between two claims while more lanes wait for a missing sealing key than the replica remembers.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

/// Claims lanes for a caller. If the caller is gone, ends the claims.
pub(super) async fn serve(
    engine: Rc<Engine>,
    (now, max, pick): (Timestamp, usize, Pick),
    reply: oneshot::Sender<Result<Claim, Error>>,
) {
    let claimed = claim(&engine, now, (max, pick)).await;
    for lane in claimed.iter().flat_map(|claim| &claim.lanes) {
        engine.claims.borrow_mut().give(lane.lane, lane.token);
    }
    if let Err(Ok(unreceived)) = reply.send(claimed) {
        give_back(&engine, &unreceived).await;
    }
}

/// Claims up to `max` lanes that are due and not claimed.
async fn claim(
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
) -> Result<Claim, DbFault> {
    let (connector, link) = (&engine.connector, &engine.links.claims);
    let queues = queues(engine, (now, window(pick, max, engine.bounds))).await?;
    let Ok(picked) = pick.select(&queues, max, now);
    let mut claim = Claim {
        lanes: Vec::new(),
        next_due: picked.next_due,
        is_failing_left: picked.is_failing_left,
        is_untried_left: picked.is_untried_left,
    };
    let held = queues.has_held.then(|| now.after(SKIPPED_PAUSE));
    claim.next_due = claim.next_due.into_iter().chain(held).min();
    if picked.lanes.is_empty() {
        return Ok(claim);
    }
    let tried = RefCell::default();
    let take = connector.transact(link, async |db: &Connected| {
        let taken = take(db, engine, &picked.lanes).await?;
        tried.replace(tokens(&taken));
        Ok(taken)
    });
    let taken = take.await;
    if taken.as_ref().is_err_and(DbFault::is_in_doubt) {
        engine.claims.borrow_mut().forget(&tried.borrow());
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
            free(engine, &tokens(&taken)).await;
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

/// Reads the queues. If the connection was opened again, or a queue has a lane that this replica has claimed, the replica
/// and the database first agree about the lanes of the replica.
async fn queues(engine: &Engine, (now, window): (Timestamp, usize)) -> Result<QueueHeads, DbFault> {
    let link = &engine.links.claims;
    let heads = async |db: &Connected| QueueHeads::read(db, engine, (now, window)).await;
    // A transaction, because its local settings keep PostgreSQL from reading the dead entries of the queues.
    let queues = engine.connector.transact(link, heads).await?;
    let opened = link.opened();
    if queues.has_lost || engine.agreed.get() != opened {
        engine.claims.borrow_mut().suspect();
    }
    if !engine.claims.borrow().needs_agreement() {
        return Ok(queues);
    }
    own_lanes::agree(engine).await?;
    engine.agreed.set(opened);
    engine.connector.transact(link, heads).await
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
    /// The first due times of the queues, including the lanes that were left out.
    first_due: BTreeMap<u8, Timestamp>,
    failures: HashMap<LaneId, u32>,
    bounds: ClaimBounds,
    /// True if a lane was left out because this replica has claimed it: its settlement was committed just now.
    has_held: bool,
    /// True if the database does not know a claim of this replica any more.
    has_lost: bool,
}

impl QueueHeads {
    async fn read(
        db: &Connected,
        engine: &Engine,
        (now, window): (Timestamp, usize),
    ) -> Result<Self, DbFault> {
        let read = engine
            .floors
            .borrow_mut()
            .begin(engine.connector.monotonic());
        let queues = Self::read_from(db, engine, (&read, window)).await?;
        let first_due = |queue: u8| queues.first_due.get(&queue).copied();
        let ended = (now, engine.connector.monotonic());
        engine.floors.borrow_mut().end(&read, first_due, ended);
        Ok(queues)
    }

    async fn read_from(
        db: &Connected,
        engine: &Engine,
        (read, window): (&FlooredRead, usize),
    ) -> Result<Self, DbFault> {
        // The number of the queue is a literal, so that PostgreSQL uses the partial index.
        let head = |(place, class): (usize, LaneClass)| {
            let low = codec::class_number(class);
            format!(
                "(SELECT id, due_at, low, failures, epoch FROM imprint_bridge.lane
                  WHERE low = {low} AND due_at >= ($3::bigint[])[{place}] AND due_at IS NOT NULL AND owner IS NULL
                      AND id <> ALL($2) ORDER BY due_at, id LIMIT $1)"
            )
        };
        let heads: Vec<String> = (1..).zip(LaneClass::all()).map(head).collect();
        let floors: Vec<i64> = LaneClass::all().map(|class| read.floor(class)).collect();
        let left_out: Vec<i64> = {
            let claims = engine.claims.borrow();
            claims.left_out().map(|lane| number(lane.0)).collect()
        };
        let window = size(window);
        let params: Params<'_> = &[
            (&window, Type::INT8),
            (&left_out, Type::INT8_ARRAY),
            (&floors, Type::INT8_ARRAY),
        ];
        let mut queues = Self {
            lanes: BTreeMap::new(),
            first_due: BTreeMap::new(),
            failures: HashMap::new(),
            bounds: engine.bounds,
            has_held: false,
            has_lost: false,
        };
        for row in db.query(&heads.join(" UNION ALL "), params).await? {
            let lane = LaneId(unsigned(get(&row, 0)?));
            let due = Timestamp::from_millis(get(&row, 1)?);
            let low: i16 = get(&row, 2)?;
            let queue = u8::try_from(low).unwrap_or_default();
            let first_due = queues.first_due.entry(queue).or_insert(due);
            *first_due = due.min(*first_due);
            if let Some(token) = engine.claims.borrow().token(lane) {
                queues.has_held = true;
                queues.has_lost |= unsigned(get(&row, 4)?) < token.epoch;
                continue;
            }
            let lanes = queues.lanes.entry(queue).or_default();
            lanes.push(DueLane { due, lane });
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

/// Gives the lanes that are still free to this replica. The epoch of a claim is higher than the epochs of all earlier
/// claims, even of the claims that the database lost in a crash: it follows the clock of the database.
async fn take(
    db: &Connected,
    engine: &Engine,
    lanes: &[LaneId],
) -> Result<Vec<TakenLane>, DbFault> {
    let owner = engine.owner.get();
    let lanes: Vec<LaneId> = {
        // The lease has possibly ended since the queues were read. A lane that was claimed under it is late since then.
        let claims = engine.claims.borrow();
        let lanes = lanes.iter().copied();
        lanes.filter(|lane| !claims.is_late(*lane)).collect()
    };
    let (me, lanes) = (number(owner), lane_numbers(&lanes));
    replica::lock(db, engine.registration()).await?;
    let sql = format!(
"UPDATE imprint_bridge.lane AS l SET owner = $1, maybe_sent = greatest(l.maybe_sent, -1),
             epoch = greatest(l.epoch + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
         FROM (SELECT id FROM imprint_bridge.lane WHERE id = ANY($2) AND owner IS NULL AND due_at IS NOT NULL
               ORDER BY id FOR UPDATE SKIP LOCKED) AS free
         WHERE l.id = free.id
         RETURNING {TAKEN}");
    let params: Params<'_> = &[(&me, Type::INT8), (&lanes, Type::INT8_ARRAY)];
    let rows = db.query(&sql, params).await?;
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

fn tokens(taken: &[TakenLane]) -> Vec<(LaneId, ClaimToken)> {
    taken.iter().map(|lane| (lane.id, lane.token)).collect()
}

fn lane_numbers(lanes: &[LaneId]) -> Vec<i64> {
    lanes.iter().map(|lane| number(lane.0)).collect()
}

/// Ends claims whose caller is gone.
async fn give_back(engine: &Engine, claim: &Claim) {
    let _turn = engine.claiming.lock().await;
    let claims = claim.lanes.iter().map(|lane| (lane.lane, lane.token));
    free(engine, &claims.collect::<Vec<_>>()).await;
}

/// Ends the claims of lanes that wait for a missing sealing key. Later claims of this process leave these lanes out.
async fn lock(engine: &Engine, lanes: &[(LaneId, ClaimToken)]) {
    free(engine, lanes).await;
    let mut claims = engine.claims.borrow_mut();
    for (lane, _) in lanes {
        claims.lock(*lane);
    }
    engine.shared.set_locked_lanes(claims.locked());
}

/// Ends claims that dispatch never got. If that fails, the next claim ends them.
async fn free(engine: &Engine, claims: &[(LaneId, ClaimToken)]) {
    engine.claims.borrow_mut().forget(claims);
    if let Err(fault) = own_lanes::agree(engine).await {
        tracing::warn!(fault = %fault, "the store could not end claims; the next claim ends them");
    }
}
