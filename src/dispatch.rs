//! Dispatch: claims lanes that are due, folds each into one request, sends it, and settles what came of it.
//!
//! One dispatcher lives on one thread, with a client of its own; several share the destination. It never holds more
//! lanes than it has leave to send, so what it knows is small and what waits stays in the outbox. It must not know how
//! events come in.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use self::destination::{Destination, Grant};
use self::policy::{Applied, Decision, Rest, decide, settlement, unsent};
use crate::fold::{Fold, FoldMax, LaneVersions, fold};
use crate::imprint::{Outcome, Partner, Request};
use crate::metrics;
use crate::outbox::{ClaimedLane, Ending, Error, LaneId, Outbox, Pick, Settlement};
use crate::planted::{self, CrashPoint, Planted};
use crate::time::{Clock, Timestamp, dice, jitter};

pub mod backoff;
pub mod destination;
pub mod pace;
pub mod policy;

/// How often the outbox is looked at although nothing said that there is something: the fallback for a lost wake-up.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// How long to rest when the store did not take a claim or a settlement.
const STORE_REST: Duration = Duration::from_millis(200);

/// What a dispatcher may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests in flight at once, of this dispatcher.
    pub concurrency: usize,
    /// Entries one request may carry.
    pub fold_max: usize,
    /// How long one request may take.
    pub deadline: Duration,
}

/// What a dispatcher works with.
#[derive(Debug)]
pub struct Dispatcher<P> {
    /// Where the lanes are.
    pub outbox: Arc<dyn Outbox>,
    /// Whom they go to.
    pub partner: P,
    /// How the partner is doing.
    pub destination: Arc<Destination>,
    /// What it may do.
    pub limits: Limits,
    /// What time it is.
    pub clock: Clock,
    /// What it counts.
    pub counts: metrics::Dispatch,
}

/// The store failed for good; what it has is on disk, and the next process goes on with it.
#[derive(Debug, thiserror::Error)]
#[error("dispatch cannot go on")]
pub struct Failed(#[source] Error);

/// The requests in flight, each with the lane it belongs to.
#[derive(Default)]
struct Flights {
    tasks: JoinSet<()>,
    lanes: HashMap<Id, (LaneId, u32)>,
}

impl<P: Partner + 'static> Dispatcher<P> {
    /// Runs until `stopping` says so, then until what is in flight is settled.
    ///
    /// # Errors
    /// [`Failed`] when the store takes no more work.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) -> Result<(), Failed> {
        let dispatcher = Rc::new(self);
        let mut flights = Flights::default();
        while !*stopping.borrow() {
            // Armed before the look: what happens in between is not missed.
            let woken = dispatcher.outbox.woken();
            let changed = dispatcher.destination.changed();
            let look_again = match Rc::clone(&dispatcher).launch(&mut flights).await {
                Ok(look_again) => look_again,
                Err(error @ (Error::Failed { .. } | Error::Closed)) => return Err(Failed(error)),
                Err(Error::Busy | Error::Full) => dispatcher.clock.now().after(STORE_REST),
            };
            let pause = look_again.since(dispatcher.clock.now()).min(POLL_EVERY);
            tokio::select! {
                Some(landed) = flights.tasks.join_next_with_id(), if !flights.tasks.is_empty() => {
                    dispatcher.land(&mut flights, landed).await;
                    // One look at the outbox serves all that have landed meanwhile.
                    while let Some(landed) = flights.tasks.try_join_next_with_id() {
                        dispatcher.land(&mut flights, landed).await;
                    }
                }
                () = woken => {}
                () = changed => {}
                () = tokio::time::sleep(pause) => {}
                _ = stopping.changed() => {}
            }
        }
        while let Some(landed) = flights.tasks.join_next_with_id().await {
            dispatcher.land(&mut flights, landed).await;
        }
        Ok(())
    }

    /// Claims what may be sent now and sends it; returns when to look again at the latest.
    async fn launch(self: Rc<Self>, flights: &mut Flights) -> Result<Timestamp, Error> {
        let now = self.clock.now();
        let room = self.limits.concurrency.saturating_sub(flights.tasks.len());
        if room == 0 {
            return Ok(now.after(POLL_EVERY));
        }
        let granted = self.destination.grant(room, now);
        if let Grant::NotBefore(later) = granted {
            return Ok(later);
        }
        let pick = match granted {
            Grant::Probe => Pick::LeastFailed(dice()),
            Grant::Lanes(_) | Grant::NotBefore(_) => Pick::LongestDue,
        };
        let claim = self.outbox.claim(now, granted.lanes(), pick).await;
        let claimed = claim.as_ref().map_or(0, |claim| claim.lanes.len());
        self.destination.give_back(granted, claimed, now);
        let claim = claim?;
        for claimed in claim.lanes {
            let (lane, failures) = (claimed.lane, claimed.failures);
            let task = flights.tasks.spawn_local(Rc::clone(&self).carry(claimed));
            flights.lanes.insert(task.id(), (lane, failures));
            self.counts.in_flight(1);
        }
        Ok(claim.next_due.unwrap_or_else(|| now.after(POLL_EVERY)))
    }

    /// Carries one lane from its claim to its settlement.
    async fn carry(self: Rc<Self>, claimed: ClaimedLane) {
        let fold = self.fold(&claimed);
        let body = fold.update.body();
        let request = claimed.customer.clone().filter(|_| !body.is_empty());
        let Some(customer) = request else {
            self.settle(unsent(&claimed, &fold, self.clock.now())).await;
            return;
        };
        planted::crash_point(CrashPoint::AfterClaimBeforeRequest);
        let started = self.clock.now();
        let outcome = self
            .partner
            .deliver(Request { customer, body }, self.limits.deadline)
            .await;
        planted::crash_point(CrashPoint::AfterRequestBeforeSettle);
        let now = self.clock.now();
        self.counts
            .attempt(outcome.label(), fold.carried.len(), now.since(started));
        let before = self.destination.condition();
        let after = self.destination.note(&outcome, now, jitter());
        self.counts.condition(after.as_str());
        if before.as_str() != after.as_str() {
            tracing::warn!(from = before.as_str(), to = after.as_str(), outcome = outcome.label(), cause = %cause(&outcome), "the destination changed");
        }
        let decision = if planted::armed(Planted::ForgetInFlight) {
            Decision::Deliver
        } else {
            decide(&outcome, fold.carried.len(), after)
        };
        tracing::debug!(
            lane.id = claimed.lane.0,
            outcome = outcome.label(),
            cause = %cause(&outcome),
            entries = fold.carried.len(),
            "a request came back"
        );
        self.settle(settlement(&claimed, &fold, decision, now, jitter()))
            .await;
    }

    fn fold(&self, claimed: &ClaimedLane) -> Fold {
        let unfolding = claimed
            .unfold_to
            .is_some_and(|to| claimed.waiting.iter().any(|waiting| waiting.entry <= to));
        let max = if unfolding { 1 } else { self.limits.fold_max };
        fold(&claimed.versions, &claimed.candidates(), FoldMax(max))
    }

    /// Records a settlement, for as long as the store has no room for it: until it has, the lane is not sent again.
    async fn settle(&self, settlement: Settlement) {
        loop {
            match self.outbox.settle(settlement.clone()).await {
                Ok(()) => break,
                Err(Error::Busy | Error::Full) => tokio::time::sleep(STORE_REST).await,
                // The loop ends the process at its next look; after the restart the lane is sent again.
                Err(Error::Failed { .. } | Error::Closed) => return,
            }
        }
        planted::crash_point(CrashPoint::AfterSettle);
        for (entry, ending) in &settlement.endings {
            self.counts.ended(ending.state().as_str());
            if *ending == Ending::Delivered {
                self.counts.delivered_at(settlement.at.as_millis() / 1000);
            }
            if let Ending::Parked { reason, detail } = ending {
                self.counts.parked(reason.as_str());
                tracing::warn!(
                    entry.id = entry.0,
                    reason = reason.as_str(),
                    detail = detail.as_deref().unwrap_or_default(),
                    "an entry is parked"
                );
            }
        }
    }

    /// Forgets a flight that has landed. One that panicked rests like one that failed; its entries still wait.
    async fn land(&self, flights: &mut Flights, landed: Result<(Id, ()), JoinError>) {
        let id = landed.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let lane = flights.lanes.remove(&id);
        if let (Err(_), Some((lane, failures))) = (&landed, lane) {
            tracing::error!(lane.id = lane.0, "carrying a lane panicked");
            let claimed = ClaimedLane {
                lane,
                customer: None,
                versions: LaneVersions::default(),
                failures,
                unfold_to: None,
                waiting: Vec::new(),
                unreadable: Vec::new(),
            };
            let rest = settlement(
                &claimed,
                &Fold::default(),
                Decision::Again(Applied::No, Rest::Backoff),
                self.clock.now(),
                jitter(),
            );
            self.settle(rest).await;
        }
        self.counts.in_flight(-1);
    }
}

/// Why, for the log.
fn cause(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unavailable(cause) | Outcome::Unknown(cause) | Outcome::Denied(cause) => {
            cause.to_string()
        }
        Outcome::Rejected(rejection) => format!("status_{}", rejection.status),
        Outcome::Throttled(_) | Outcome::NotFound | Outcome::Applied => String::new(),
    }
}
