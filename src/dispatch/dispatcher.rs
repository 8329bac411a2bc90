//! The dispatcher: carries out the actions of [`Core`] with tokio, the store and Imprint.
//!
//! Each dispatch thread runs one dispatcher with its own Imprint client. All dispatchers share the [`Destination`]. The
//! loop of a dispatcher claims lanes and collects ended tasks. Each claimed lane has one local task until its
//! settlement. The dispatcher borrows the core for one call at a time, and never across an await.

use std::cell::RefCell;
use std::future::poll_fn;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::core::{
    Core, DeliveryId, DestinationChange, DispatchLimits, LaneAction, LaneResult, LoopAction,
    Moment, POLL_EVERY, StoredWait,
};
use super::destination::Destination;
use super::lane_exchange::{ImprintCall, ImprintReply};
use crate::failpoint::{self, CrashPoint, Fault as Failpoint};
use crate::imprint::{AnswerFacts, Echo, ImprintApi, LastCheck, Outcome};
use crate::metrics::DispatchMetrics;
use crate::outbox::{Error, Lanes, Setting, Settled, Settlement};
use crate::random::random_u32;
use crate::time::{Clock, Timestamp};
use crate::traces::Traces;

use self::gauge::InFlightGauge;
use self::sent::{AskedRequest, SentRequests};

mod claim_guard;
mod gauge;
mod report;
mod sent;
mod traced;
mod witness;

/// The parts that one dispatcher works with.
#[derive(Debug)]
pub struct Dispatcher<I> {
    /// The store that holds the lanes.
    pub outbox: Arc<dyn Lanes>,
    /// The client of the Imprint API.
    pub imprint: I,
    /// The state of the destination. All dispatchers share this state.
    pub destination: Arc<Destination>,
    /// The limits of this dispatcher.
    pub limits: DispatchLimits,
    pub clock: Clock,
    /// The metrics of delivery to Imprint.
    pub metrics: DispatchMetrics,
    /// The traces of the entries. `None` means that the bridge exports no traces.
    pub traces: Option<Traces>,
}

/// The error of a dispatcher after its store failed permanently. The data is on disk, and the next process continues
/// with the data.
#[derive(Debug, thiserror::Error)]
#[error("the store failed, so dispatch cannot continue")]
pub struct StoreFailed(#[source] Error);

impl<I: ImprintApi + 'static> Dispatcher<I> {
    /// Runs the dispatcher until `stopping` is true and all requests in flight are settled.
    ///
    /// # Errors
    /// Returns [`StoreFailed`] when the store accepts no more operations.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) -> Result<(), StoreFailed> {
        let shell = Rc::new(Shell {
            core: RefCell::new(Core::new(Arc::clone(&self.destination), self.limits)),
            tasks: RefCell::default(),
            dispatcher: self,
        });
        let result = shell.run(&mut stopping).await;
        // After a failure of the store, tasks can still run. Abort them, because each task holds a reference to the
        // shell.
        drop(shell.tasks.take());
        result.map_err(StoreFailed)
    }
}

/// A running dispatcher.
struct Shell<I> {
    dispatcher: Dispatcher<I>,
    core: RefCell<Core>,
    tasks: RefCell<JoinSet<Ended>>,
}

/// The end of a task, with or without a panic.
struct Ended {
    /// The delivery of the task. `None` means that the task asked about a witness.
    id: Option<DeliveryId>,
    panicked: bool,
}

// === impl Shell: the loop ===

impl<I: ImprintApi + 'static> Shell<I> {
    async fn run(self: &Rc<Self>, stopping: &mut watch::Receiver<bool>) -> Result<(), Error> {
        // The loop creates one timer before the loop and resets this timer: a reset keeps it the earliest timer of the
        // runtime.
        let first = self.now().after(POLL_EVERY);
        let mut next_poll = std::pin::pin!(self.dispatcher.clock.sleep_until(first));
        while !*stopping.borrow() {
            // Listen for wake-ups before asking the store: otherwise the loop would miss a wake-up between the two.
            let woken = self.dispatcher.outbox.woken();
            let changed = self.dispatcher.destination.changed();
            let poll_at = self.claim_due().await?;
            let poll_at = poll_at.min(self.now().after(POLL_EVERY));
            next_poll.set(self.dispatcher.clock.sleep_until(poll_at));
            tokio::select! {
                biased;
                () = &mut next_poll => {}
                ended = self.ended(), if !self.tasks.borrow().is_empty() => self.reap(ended),
                () = woken => {}
                () = changed => {}
                _ = stopping.changed() => {}
            }
        }
        self.core.borrow_mut().stop();
        self.start_ready();
        while let Some(ended) = self.ended().await {
            self.reap(Some(ended));
        }
        Ok(())
    }

    /// Claims lanes and starts their deliveries. Returns the time of the next claim.
    async fn claim_due(self: &Rc<Self>) -> Result<Timestamp, Error> {
        let (moment, max, pick) = loop {
            let moment = self.moment();
            let action = self.core.borrow_mut().poll(moment);
            match action {
                LoopAction::Claim { max, pick } => break (moment, max, pick),
                LoopAction::AskWitness(inquiry) => self.start_inquiry(inquiry),
                LoopAction::SaveEvidence(evidence) => self.save_evidence(evidence).await,
                LoopAction::SleepUntil(later) => return Ok(later),
            }
        };
        let claim = self.dispatcher.outbox.claim(moment.now, max, pick).await;
        let poll_at = match claim {
            Ok(claim) => self.core.borrow_mut().on_claimed(claim, moment.now),
            Err(error) => {
                let poll_at = self.core.borrow_mut().on_claim_refused(self.now());
                match error {
                    Error::Busy | Error::Full | Error::Failed { .. } | Error::Unavailable(_) => {
                        poll_at
                    }
                    Error::Closed => return Err(error),
                }
            }
        };
        self.start_ready();
        Ok(poll_at)
    }

    /// Starts a task for each delivery that gets a free request slot.
    fn start_ready(self: &Rc<Self>) {
        loop {
            let next = self.core.borrow_mut().next_start();
            let Some(id) = next else { return };
            let shell = Rc::clone(self);
            self.spawn(Some(id), async move { shell.deliver_lane(id).await });
        }
    }

    /// Spawns a task. `id` is the delivery of the task. The task of an inquiry has no delivery.
    fn spawn(&self, id: Option<DeliveryId>, task: impl Future<Output = ()> + 'static) {
        // The task set moves a task several times, and the state of a delivery has some KiB.
        let task = AssertUnwindSafe(Box::pin(task)).catch_unwind();
        let ended = task.map(move |result| Ended {
            id,
            panicked: result.is_err(),
        });
        self.tasks.borrow_mut().spawn_local(ended);
    }

    /// Waits for the next task that ends. Returns `None` if no task runs.
    ///
    /// Borrows the task set only during a poll, so that a running task can spawn a task while the loop waits.
    async fn ended(&self) -> Option<Result<Ended, JoinError>> {
        poll_fn(|context| self.tasks.borrow_mut().poll_join_next(context)).await
    }

    /// Collects all ended tasks, so that the loop asks the outbox for lanes only once for all of them.
    fn reap(self: &Rc<Self>, ended: Option<Result<Ended, JoinError>>) {
        let mut next = ended;
        while let Some(ended) = next {
            // Ignore cancelled tasks: only the end of the dispatcher cancels tasks.
            if let Ok(Ended {
                id: Some(id),
                panicked: true,
            }) = ended
            {
                self.recover(id);
            }
            next = self.tasks.borrow_mut().try_join_next();
        }
        self.start_ready();
    }

    /// Settles a delivery whose task panicked.
    fn recover(self: &Rc<Self>, id: DeliveryId) {
        let lane = self.core.borrow().lane(id).map(|lane| lane.0);
        tracing::error!(lane.id = lane, "the task that delivers this lane panicked");
        let action = self.core.borrow_mut().on_lost(id, self.moment());
        let shell = Rc::clone(self);
        self.spawn(
            Some(id),
            async move { shell.follow(id, action, None).await },
        );
    }

    fn now(&self) -> Timestamp {
        self.dispatcher.clock.now()
    }

    fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            random: random_u32(),
        }
    }
}

// === impl Shell: one lane ===

impl<I: ImprintApi + 'static> Shell<I> {
    /// Delivers one claimed lane until its settlement.
    async fn deliver_lane(self: &Rc<Self>, id: DeliveryId) {
        let gauge = InFlightGauge::raise(&self.dispatcher.metrics);
        let action = self.core.borrow_mut().start(id, self.moment());
        failpoint::crash_point(CrashPoint::AfterClaimBeforeRequest);
        self.follow(id, action, Some(gauge)).await;
    }

    /// Carries out the actions of a delivery, one after another, until the delivery ends.
    async fn follow(
        self: &Rc<Self>,
        id: DeliveryId,
        first: LaneAction,
        mut gauge: Option<InFlightGauge<'_>>,
    ) {
        let mut action = first;
        let mut sent = SentRequests::default();
        loop {
            action = match action {
                LaneAction::Call {
                    call,
                    claim,
                    entries,
                    entry,
                } => {
                    let asked = AskedRequest::of(&call, entry, self.now());
                    let traced = self.traced_entries(id, entry);
                    let (action, answer) = self.send((id, claim), call, entries).await;
                    self.trace_request(&traced, &asked, answer.as_ref());
                    sent.add(asked, answer, self.now());
                    action
                }
                LaneAction::SleepUntil(later) => {
                    self.dispatcher.clock.sleep_until(later).await;
                    let moment = self.moment();
                    self.core.borrow_mut().resume(id, moment)
                }
                LaneAction::Settle(result) => {
                    drop(gauge.take());
                    self.record_requests(mem::take(&mut sent), &result);
                    self.finish(id, result).await
                }
                LaneAction::Done => return,
            };
        }
    }

    /// Reports the result of a delivery, makes the result durable, and returns the next action of the delivery.
    async fn finish(self: &Rc<Self>, id: DeliveryId, result: LaneResult) -> LaneAction {
        // The delivery has returned its in-flight permit, so a waiting delivery can start.
        self.start_ready();
        failpoint::crash_point(CrashPoint::AfterRequestBeforeSettle);
        if let Some(report) = result.report {
            self.report(&report);
        }
        if let Some(change) = result.change {
            self.save(change).await;
        }
        self.settle(id, result.settlement).await
    }

    /// Sends one call to Imprint. If the check refuses an update, the reply means nothing.
    async fn call(
        &self,
        call: ImprintCall,
        entries: usize,
        check: &LastCheck,
    ) -> (ImprintReply, Option<AnswerFacts>) {
        let Dispatcher {
            imprint,
            limits,
            metrics,
            ..
        } = &self.dispatcher;
        let started = self.now();
        match call {
            ImprintCall::Update(request) => {
                let answered = imprint.deliver(request, limits.deadline, check).await;
                let outcome = match failpoint::is_armed(Failpoint::AssumeApplied) {
                    true => Outcome::Applied(Echo::default()),
                    false => answered.result,
                };
                if !check.has_refused() {
                    metrics.attempt(outcome.label(), entries, self.now().since(started));
                }
                (ImprintReply::Outcome(outcome), answered.facts)
            }
            ImprintCall::Retrieve(customer) => {
                let answered = self.retrieve(customer).await;
                (ImprintReply::Lookup(answered.result), answered.facts)
            }
            ImprintCall::Search(partner) => {
                let answered = imprint.search(partner, limits.deadline).await;
                metrics.lookup(answered.result.label());
                (ImprintReply::Lookup(answered.result), answered.facts)
            }
        }
    }

    /// Saves a change of the destination in the store. After a recovery, makes the resting lanes due.
    async fn save(&self, change: DestinationChange) {
        let outbox = &self.dispatcher.outbox;
        let saved = match change {
            DestinationChange::Throttled(until) => {
                let since = self.now();
                let wait = StoredWait { until, since }.to_text();
                outbox.store_setting(Setting::ThrottledUntil, wait).await
            }
            DestinationChange::Recovered => outbox.release(self.now()).await,
        };
        if let Err(error) = saved {
            tracing::warn!(error = %error, "the store did not save a change of the destination");
        }
    }

    /// Records a settlement in the store and returns the next action of the delivery.
    async fn settle(&self, id: DeliveryId, settlement: Arc<Settlement>) -> LaneAction {
        match self.dispatcher.outbox.settle(settlement).await {
            Ok(answer) => {
                failpoint::crash_point(CrashPoint::AfterSettle);
                if answer == Settled::Stale {
                    tracing::warn!("the claim had ended, so the settlement changed nothing");
                    // Since then, an operator possibly erased the customer at another process.
                    let lane = self.core.borrow().lane(id);
                    self.dispatcher.destination.forget(lane.as_slice());
                }
                let recorded = self.core.borrow_mut().on_settled(id, answer);
                if let Some(settlement) = recorded {
                    self.count_endings(&settlement);
                    self.trace_endings(&settlement);
                }
                LaneAction::Done
            }
            // If a damaged row fails the settlement, dispatch repeats it without end. The lane stays claimed, and other
            // lanes continue.
            Err(Error::Busy | Error::Full | Error::Failed { .. } | Error::Unavailable(_)) => {
                self.core.borrow().on_settle_refused(self.now())
            }
            // The next claim of the dispatch loop fails too and stops the process. After the restart, dispatch sends
            // the lane again.
            Err(Error::Closed) => LaneAction::Done,
        }
    }
}
