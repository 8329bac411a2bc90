//! The writer: takes all waiting appends and settlements, and commits them as one group.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::append;
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::lane_table::{LaneTable, next_numbers};
use super::late_sends::{self, LateSend};
use super::new_rows::{NumberedEntry, insert_entries};
use super::settle::{self, SettleGroup};
use super::tally::{self, TallyChange};
use crate::imprint::CustomerRef;
use crate::outbox::{
    Appended, EntryId, Error, LaneClass, LaneKey, NewEntry, Settled, Settlement, State,
};
use crate::time::Timestamp;

/// The maximum number of calls in one commit. More calls share the cost of a commit better, but then each caller waits
/// longer.
const GROUP_CALLS_MAX: usize = 1024;

/// The maximum total size of the events in one commit. The last call of a group can exceed the limit.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The time between two reads of the totals of all replicas.
const READ_TOTALS_EVERY: Duration = Duration::from_secs(1);

type WriteReply<T> = oneshot::Sender<Result<T, Error>>;

/// A call that waits for the next group commit.
pub(super) enum WriteCall {
    Append(Vec<NewEntry>, WriteReply<Appended>),
    Settle(Arc<Settlement>, WriteReply<Settled>),
}

impl WriteCall {
    fn bytes(&self) -> usize {
        match self {
            Self::Append(batch, _) => batch.iter().map(|new| new.event.len()).sum(),
            Self::Settle(..) => 0,
        }
    }
}

/// The result of a committed group.
#[derive(Default)]
struct GroupAnswers {
    appended: Vec<Appended>,
    settled: Vec<Settled>,
    late_sends: Vec<LateSend>,
    ended: Vec<(EntryId, State)>,
    tally: TallyChange,
    /// The first due times of the queues into which the group put free lanes.
    dues: Vec<(LaneClass, Timestamp)>,
}

pub(super) struct GroupWriter {
    engine: Rc<Engine>,
}

impl GroupWriter {
    pub(super) const fn new(engine: Rc<Engine>) -> Self {
        Self { engine }
    }

    /// Serves calls until every sender is dropped.
    pub(super) async fn run(self, mut queue: UnboundedReceiver<WriteCall>) {
        let mut totals = tokio::time::interval(READ_TOTALS_EVERY);
        totals.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let first = tokio::select! {
                first = queue.recv() => first,
                _ = totals.tick() => {
                    self.read_totals().await;
                    continue;
                }
            };
            let Some(first) = first else {
                return;
            };
            // On a busy machine, the yield lets more callers add their calls to this group.
            tokio::task::yield_now().await;
            let mut bytes = first.bytes();
            let mut group = vec![first];
            while group.len() < GROUP_CALLS_MAX
                && bytes < GROUP_BYTES_MAX
                && let Ok(next) = queue.try_recv()
            {
                bytes = bytes.saturating_add(next.bytes());
                group.push(next);
            }
            self.serve(group).await;
        }
    }

    /// Publishes the sizes of the stored events of all replicas. The writer reads them between two groups, so that no
    /// group changes them meanwhile.
    async fn read_totals(&self) {
        let engine = &self.engine;
        let before = engine.acts_done();
        let totals = engine.connector.read(&engine.links.writer, tally::read);
        if let (Ok(totals), true) = (totals.await, before.is_some())
            && engine.acts_done() == before
        {
            engine.shared.publish(totals.stored_bytes);
        }
    }

    async fn serve(&self, group: Vec<WriteCall>) {
        let (mut appends, mut settles) = (Vec::new(), Vec::new());
        for call in group {
            match call {
                WriteCall::Append(batch, reply) => {
                    let bytes = batch.iter().map(|new| new.event.len()).sum();
                    self.engine.shared.intake.dequeued(batch.len(), bytes);
                    appends.push((batch, reply));
                }
                WriteCall::Settle(settlement, reply) => settles.push((settlement, reply)),
            }
        }
        // A group whose values PostgreSQL refuses is divided, until only the call with these values fails.
        let mut groups = vec![(appends, settles)];
        while let Some((mut appends, mut settles)) = groups.pop() {
            let fault = match self.commit(&appends, &settles).await {
                Ok(answers) => {
                    self.answer(appends, settles, answers);
                    continue;
                }
                Err(fault) => fault,
            };
            if fault.is_about_values() && appends.len() + settles.len() > 1 {
                let appends_half = appends.split_off(appends.len() / 2);
                let settles_half = settles.split_off(settles.len() / 2);
                // With one call of each kind, the halves are the two kinds.
                groups.push((appends_half, settles));
                groups.push((appends, settles_half));
                continue;
            }
            // The database possibly committed the group.
            self.engine.floors.borrow_mut().ask();
            let error = fault.report("committing");
            for (_, reply) in appends {
                let _caller_is_gone = reply.send(Err(error.clone()));
            }
            for (_, reply) in settles {
                let _caller_is_gone = reply.send(Err(error.clone()));
            }
        }
    }

    async fn commit(
        &self,
        appends: &[(Vec<NewEntry>, WriteReply<Appended>)],
        settles: &[(Arc<Settlement>, WriteReply<Settled>)],
    ) -> Result<GroupAnswers, DbFault> {
        let engine = &*self.engine;
        let batches: Vec<&[NewEntry]> = appends.iter().map(|(batch, _)| batch.as_slice()).collect();
        let settlements: Vec<&Settlement> = settles.iter().map(|(it, _)| &**it).collect();
        let group = async |db: &Connected| write(db, engine, &batches, &settlements).await;
        engine.connector.transact(&engine.links.writer, group).await
    }

    fn answer(
        &self,
        appends: Vec<(Vec<NewEntry>, WriteReply<Appended>)>,
        settles: Vec<(Arc<Settlement>, WriteReply<Settled>)>,
        answers: GroupAnswers,
    ) {
        let shared = &self.engine.shared;
        shared.add(&answers.tally);
        late_sends::report(&answers.late_sends, &self.engine.connector.counts);
        for (class, due) in answers.dues {
            self.engine.floors.borrow_mut().lower(class, due);
        }
        for ((settlement, reply), settled) in settles.into_iter().zip(answers.settled) {
            let (lane, token) = (settlement.lane, settlement.token);
            if self.engine.claims.borrow_mut().free(lane, token) {
                // The reads of the queues left the lane out, so their floors do not count it.
                self.engine.floors.borrow_mut().ask();
            }
            let _caller_is_gone = reply.send(Ok(settled));
        }
        for ((_, reply), appended) in appends.into_iter().zip(answers.appended) {
            let _caller_is_gone = reply.send(Ok(appended));
        }
        shared.waiters.settle(&answers.ended);
        shared.woken.notify_waiters();
    }
}

/// Returns for each settlement whether it possibly holds: this replica knows its claim, and no earlier settlement of the
/// group is about the same claim. Claims of different lanes possibly have equal tokens.
fn held(engine: &Engine, settlements: &[&Settlement]) -> Vec<bool> {
    let claims = engine.claims.borrow();
    let mut seen = HashSet::new();
    let held = settlements.iter().map(|settlement| {
        claims.holds(settlement.lane, settlement.token)
            && seen.insert((settlement.lane, settlement.token))
    });
    held.collect()
}

/// Writes a group in the current transaction. Takes the locks in this order: entries by their keys, new lanes by their
/// keys, lanes by their numbers.
async fn write(
    db: &Connected,
    engine: &Engine,
    batches: &[&[NewEntry]],
    settlements: &[&Settlement],
) -> Result<GroupAnswers, DbFault> {
    let held = held(engine, settlements);
    let possible = || settlements.iter().zip(&held).filter(|(_, held)| **held);
    let mut answers = GroupAnswers::default();
    let mut lanes = LaneTable::default();
    let targets: Vec<CustomerRef> = possible()
        .filter_map(|(it, _)| settle::target(it))
        .collect();
    let customers = append::customers(batches).chain(&targets);
    lanes.find(db, engine, customers).await?;
    let plan = append::plan(db, engine, batches, &lanes).await?;
    let numbers = next_numbers(db, "entry_number", plan.new.len()).await?;
    let targets = targets.iter().filter(|it| !lanes.is_blocked(engine, it));
    let targets: Vec<LaneKey> = targets.map(LaneKey::of).collect();
    let keys = plan.new.iter().filter_map(append::lane_key);
    let keys: Vec<LaneKey> = keys.chain(targets.iter().cloned()).collect();
    lanes.number(db, engine, keys.iter().cloned()).await?;
    let numbered = plan.new.iter().zip(&numbers).map(|(planned, entry)| {
        let lane = append::lane_key(planned).map(|key| lanes.id(engine, &key));
        Ok(NumberedEntry {
            planned,
            entry: *entry,
            lane: lane.transpose()?,
        })
    });
    let numbered: Vec<NumberedEntry<'_, '_>> = numbered.collect::<Result<_, DbFault>>()?;
    insert_entries(db, &engine.sealer, &numbered).await?;
    let locked = keys.iter().map(|key| lanes.id(engine, key));
    let locked = locked.chain(possible().map(|(settlement, _)| Ok(settlement.lane)));
    let stale = settlements.iter().zip(&held).filter(|(_, held)| !**held);
    let stale = late_sends::lanes(db, stale.map(|(it, _)| *it)).await?;
    let locked = locked.chain(stale.into_iter().map(Ok));
    let locked = locked.collect::<Result<BTreeSet<_>, DbFault>>()?;
    lanes.lock(db, locked).await?;
    let mut tally = TallyChange::default();
    append::enter(db, engine, &numbered, (&mut lanes, &mut tally)).await?;
    let mut group = SettleGroup::default();
    for (settlement, held) in settlements.iter().zip(&held) {
        if *held && lanes.row(settlement.lane)?.is_claimed_by(settlement) {
            group.settlements.push(settlement);
            answers.settled.push(Settled::Recorded);
        } else {
            let late_send = late_sends::mark(&mut lanes, settlement);
            answers.late_sends.extend(late_send);
            answers.settled.push(Settled::Stale);
        }
    }
    answers.ended = group.record(db, engine, (&mut lanes, &mut tally)).await?;
    lanes.write(db).await?;
    answers.dues = lanes.free_dues();
    tally.write(db).await?;
    answers.appended = plan.answers(&numbers);
    answers.tally = tally;
    Ok(answers)
}
