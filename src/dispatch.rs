//! Dispatch: claims lanes that are due, folds each into one request, sends it, and settles what came of it.
//!
//! One dispatcher lives on one thread, with a client of its own; several share the destination. It never holds more
//! lanes than it has leave to send, so what it knows is small and what waits stays in the outbox. It must not know how
//! events come in.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{Id, JoinError, JoinSet};

use self::breaker::{Admission, Attribution, DestinationState};
use self::destination::{Assessment, Destination, FollowUp, OperatorMode};
use self::lane_exchange::{Conclusion, ExchangeStep, ImprintCall, ImprintReply, LaneExchange};
use self::policy::{Attempt, Decision, Effect, Rest, decide};
use self::rules::DeliveryRules;
use self::settlement::settlement;
use crate::failpoint::{self, CrashPoint, Fault as Failpoint};
use crate::imprint::{Echo, ImprintApi, Outcome};
use crate::metrics;
use crate::outbox::{
    ClaimToken, ClaimedLane, Ending, Error, LaneId, Lanes, Pick, Setting, Settled, Settlement,
    Trials,
};
use crate::random::{jitter, random_u32};
use crate::time::{Clock, Timestamp};

pub mod backoff;
pub mod breaker;
pub mod destination;
pub mod lane_exchange;
pub mod pace;
pub mod policy;
pub mod rules;
pub mod settlement;

#[cfg(test)]
mod tests;

/// How often the outbox is looked at although nothing said that there is something: the fallback for a lost wake-up.
///
/// Below the half second for which awc sets a timer with every request: a runtime is woken by a system call for each timer
/// that is the earliest it has.
const POLL_EVERY: Duration = Duration::from_millis(400);
/// How long a lane rests whose request was made in shadow only; then it is looked at again, for what is newer.
const SHADOW_REST: Duration = Duration::from_secs(60);
/// Of so many requests that may be in exchange, one lane more may be held: enough for a store that takes half as long as
/// the partner, and all that a crash adds to the requests that are made once more.
const AHEAD_PART: usize = 2;
/// How long to rest when the store did not take a claim or a settlement.
const STORE_REST: Duration = Duration::from_millis(200);

/// What a dispatcher may do.
#[derive(Clone, Copy, Debug)]
pub struct DispatchLimits {
    /// Requests in exchange at once, of this dispatcher.
    pub concurrency: usize,
    /// How long one request may take.
    pub deadline: Duration,
    /// What the operator decided.
    pub rules: DeliveryRules,
}

impl DispatchLimits {
    /// How many lanes may be held. Without a pace some are claimed ahead: while a busy store hands over one and takes
    /// another back, the partner's time would go by. With one they would keep the leave they were given for later, and
    /// all leave at once when the partner, who was slow, is so no more.
    fn lanes(&self, is_paced: bool) -> usize {
        let ahead = if is_paced {
            0
        } else {
            self.concurrency.div_ceil(AHEAD_PART)
        };
        self.concurrency.saturating_add(ahead)
    }
}

/// What a dispatcher works with.
#[derive(Debug)]
pub struct Dispatcher<P> {
    /// Where the lanes are.
    pub outbox: Arc<dyn Lanes>,
    /// Whom they go to.
    pub partner: P,
    /// How the partner is doing.
    pub destination: Arc<Destination>,
    /// What it may do.
    pub limits: DispatchLimits,
    /// What time it is.
    pub clock: Clock,
    /// What it counts.
    pub counts: metrics::DispatchMetrics,
}

/// The store failed for good; what it has is on disk, and the next process goes on with it.
#[derive(Debug, thiserror::Error)]
#[error("dispatch cannot go on")]
pub struct StoreFailed(#[source] Error);

/// The lanes that are held, each from its claim to its settlement.
struct Flights {
    tasks: JoinSet<()>,
    lanes: HashMap<Id, (LaneId, ClaimToken, Trials)>,
    /// One for each request that may be in exchange; closed when no more may begin.
    seats: Arc<Semaphore>,
}

/// The place of a lane whose request is in exchange.
struct Seat<'a> {
    counts: &'a metrics::DispatchMetrics,
    _permit: OwnedSemaphorePermit,
}

impl<'a> Seat<'a> {
    fn taken(permit: OwnedSemaphorePermit, counts: &'a metrics::DispatchMetrics) -> Self {
        counts.in_flight(1);
        Self {
            counts,
            _permit: permit,
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.counts.in_flight(-1);
    }
}

impl<P: ImprintApi + 'static> Dispatcher<P> {
    /// Runs until `stopping` says so, then until what is in exchange is settled.
    ///
    /// # Errors
    /// [`Failed`] when the store takes no more work.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) -> Result<(), StoreFailed> {
        let dispatcher = Rc::new(self);
        let mut flights = Flights {
            tasks: JoinSet::new(),
            lanes: HashMap::new(),
            seats: Arc::new(Semaphore::new(dispatcher.limits.concurrency)),
        };
        // Armed first and all the time, so that it is the earliest.
        let mut look = std::pin::pin!(dispatcher.clock.sleep(POLL_EVERY));
        while !*stopping.borrow() {
            // Armed before the look: what happens in between is not missed.
            let woken = dispatcher.outbox.woken();
            let changed = dispatcher.destination.changed();
            let look_again = match Rc::clone(&dispatcher).launch(&mut flights).await {
                Ok(look_again) => look_again,
                Err(error @ (Error::Failed { .. } | Error::Closed)) => {
                    return Err(StoreFailed(error));
                }
                Err(Error::Busy | Error::Full) => dispatcher.clock.now().after(STORE_REST),
            };
            let pause = look_again.since(dispatcher.clock.now()).min(POLL_EVERY);
            look.set(dispatcher.clock.sleep(pause));
            tokio::select! {
                biased;
                () = &mut look => {}
                Some(landed) = flights.tasks.join_next_with_id(), if !flights.tasks.is_empty() => {
                    dispatcher.land(&mut flights, landed).await;
                    // One look at the outbox serves all that have landed meanwhile.
                    while let Some(landed) = flights.tasks.try_join_next_with_id() {
                        dispatcher.land(&mut flights, landed).await;
                    }
                }
                () = woken => {}
                () = changed => {}
                _ = stopping.changed() => {}
            }
        }
        flights.seats.close();
        while let Some(landed) = flights.tasks.join_next_with_id().await {
            dispatcher.land(&mut flights, landed).await;
        }
        Ok(())
    }

    /// Claims what may be sent now and sends it; returns when to look again at the latest.
    async fn launch(self: Rc<Self>, flights: &mut Flights) -> Result<Timestamp, Error> {
        let now = self.clock.now();
        let room = self
            .limits
            .lanes(self.destination.is_paced())
            .saturating_sub(flights.tasks.len());
        if room == 0 {
            return Ok(now.after(POLL_EVERY));
        }
        let granted = self.destination.grant(room, now);
        if let Admission::NotBefore(later) = granted {
            return Ok(later);
        }
        let pick = match granted {
            Admission::Probe => Pick::LeastFailed(random_u32()),
            Admission::Lanes(_) | Admission::NotBefore(_) => Pick::LongestDue,
        };
        let claim = self.outbox.claim(now, granted.lanes(), pick).await;
        let claimed = claim.as_ref().map_or(0, |claim| claim.lanes.len());
        self.destination.give_back(granted, claimed, now);
        let claim = claim?;
        for claimed in claim.lanes {
            let (lane, token, trials) = (claimed.lane, claimed.token, claimed.trials);
            let seat = Arc::clone(&flights.seats).acquire_owned();
            let task =
                flights
                    .tasks
                    .spawn_local(Rc::clone(&self).carry(claimed, granted.of_one(), seat));
            flights.lanes.insert(task.id(), (lane, token, trials));
        }
        Ok(claim.next_due.unwrap_or_else(|| now.after(POLL_EVERY)))
    }

    /// Carries one lane from its claim to its settlement.
    async fn carry(
        self: Rc<Self>,
        claimed: ClaimedLane,
        place: Admission,
        seat: impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>>,
    ) {
        let seat = seat.await.map(|permit| Seat::taken(permit, &self.counts));
        let rules = &self.limits.rules;
        let (mut exchange, mut step) = LaneExchange::start(claimed, rules, self.clock.now());
        failpoint::crash_point(CrashPoint::AfterClaimBeforeRequest);
        let mut asked = 0;
        let conclusion = loop {
            match step {
                ExchangeStep::Conclude(conclusion) if asked == 0 => {
                    self.destination.give_back(place, 0, self.clock.now());
                    break conclusion;
                }
                ExchangeStep::Conclude(conclusion) => break conclusion,
                ExchangeStep::Call(_) if seat.is_err() => {
                    let now = self.clock.now();
                    self.destination.give_back(place, 0, now);
                    break Conclusion::Postponed(now);
                }
                ExchangeStep::Call(_) if asked == 0 && self.withdrew(place) => {
                    break Conclusion::Postponed(self.clock.now());
                }
                ExchangeStep::Call(ask) if self.destination.mode() == OperatorMode::Shadow => {
                    let now = self.clock.now();
                    self.destination.shadowed(exchange.claimed.lane, &ask, now);
                    self.destination.give_back(place, 0, now);
                    break Conclusion::Postponed(now.after(SHADOW_REST));
                }
                // It does not wait for leave where it stands: its place is for those who have theirs.
                ExchangeStep::Call(ImprintCall::Search(_))
                    if let Err(later) = self.may_search(place, asked) =>
                {
                    break Conclusion::Postponed(later);
                }
                ExchangeStep::Call(ask) => {
                    let answer = self.ask(ask, &exchange, asked).await;
                    step = exchange.hear(answer, self.clock.now());
                    asked += 1;
                }
            }
        };
        drop(seat);
        failpoint::crash_point(CrashPoint::AfterRequestBeforeSettle);
        let (now, jitter) = (self.clock.now(), jitter());
        let before = self.destination.condition();
        let view = self.learn(&exchange, &conclusion, (now, jitter));
        self.remember(before, view.condition, now).await;
        let decision = decide(&exchange, conclusion, view, rules);
        if let Decision::Deliver(echo) = &decision {
            self.counts.asserted(exchange.fold.reasserted);
            self.counts.ties(exchange.fold.ties);
            for group in &echo.mismatches {
                self.counts.echo_differs(group.as_str());
            }
        }
        self.settle(settlement(&exchange, decision, rules, (now, jitter)))
            .await;
    }

    /// Whether the place of a exchange that has asked nothing yet was withdrawn; it is given back then.
    fn withdrew(&self, place: Admission) -> bool {
        let now = self.clock.now();
        let withdrew = self.destination.is_withdrawn(place, now);
        if withdrew {
            self.destination.give_back(place, 0, now);
        }
        withdrew
    }

    /// Asks Imprint one thing. What does not follow from a claim itself needs leave of its own.
    async fn ask(&self, ask: ImprintCall, exchange: &LaneExchange, asked: usize) -> ImprintReply {
        let deadline = self.limits.deadline;
        match &ask {
            ImprintCall::Update(_) if asked == 0 => {}
            ImprintCall::Update(_) | ImprintCall::Retrieve(_) => self.leave().await,
            ImprintCall::Search(_) => {}
        }
        let started = self.clock.now();
        let took = || self.clock.now().since(started);
        match ask {
            ImprintCall::Update(request) => {
                let mut outcome = self.partner.deliver(request, deadline).await;
                if failpoint::is_armed(Failpoint::AssumeApplied) {
                    outcome = Outcome::Applied(Echo::default());
                }
                let entries = exchange.fold.carried.len();
                self.counts.attempt(outcome.label(), entries, took());
                ImprintReply::Outcome(outcome)
            }
            ImprintCall::Retrieve(customer) => {
                let found = self.partner.retrieve(customer, deadline).await;
                self.counts.lookup(found.label());
                ImprintReply::Lookup(found)
            }
            ImprintCall::Search(partner) => {
                let found = self.partner.search(partner, deadline).await;
                self.counts.lookup(found.label());
                ImprintReply::Lookup(found)
            }
        }
    }

    /// Waits until one more request may be made.
    async fn leave(&self) {
        while let Err(later) = self.destination.extra(FollowUp::Question, self.clock.now()) {
            self.clock.sleep(later.since(self.clock.now())).await;
        }
    }

    /// Whether a search may be made now, or from when on: the first one of a exchange takes the place of its lane.
    fn may_search(&self, place: Admission, asked: usize) -> Result<(), Timestamp> {
        let now = self.clock.now();
        if asked == 0 {
            self.destination.search_instead(place, now)
        } else {
            self.destination.extra(FollowUp::Search, now)
        }
    }

    /// Keeps what a restart must know, and wakes who rested while the destination was down.
    async fn remember(&self, before: DestinationState, after: DestinationState, now: Timestamp) {
        let done = match (before, after) {
            (_, DestinationState::Throttled { until, .. }) if before != after => {
                let until = until.as_millis().to_string();
                self.outbox
                    .store_setting(Setting::ThrottledUntil, until)
                    .await
            }
            (
                DestinationState::Probing { .. } | DestinationState::Stopped { .. },
                DestinationState::Flowing { .. },
            ) => self.outbox.release(now).await,
            (_, _) => Ok(()),
        };
        if let Err(error) = done {
            // It costs a wait that is cut short by a restart, or a rest of some seconds.
            tracing::warn!(error = %error, "the store did not take a change of the destination");
        }
    }

    /// Tells the destination what came of a exchange, and the log.
    fn learn(
        &self,
        exchange: &LaneExchange,
        conclusion: &Conclusion,
        (now, jitter): (Timestamp, f64),
    ) -> Assessment {
        let claimed = &exchange.claimed;
        let Some(signal) = exchange.signal(conclusion) else {
            return Assessment {
                condition: self.destination.condition(),
                fault: Attribution::Unknown,
            };
        };
        let before = self.destination.condition();
        let view = self
            .destination
            .note(claimed.lane, claimed.trials, signal, (now, jitter));
        let after = view.condition.as_str();
        self.counts.condition(after);
        let (word, cause) = told(conclusion);
        if before.as_str() != after {
            tracing::warn!(from = before.as_str(), to = after, outcome = word, cause = %cause, "the destination changed");
        }
        tracing::debug!(
            lane.id = claimed.lane.0,
            outcome = word,
            cause = %cause,
            entries = exchange.fold.carried.len(),
            "a request came back"
        );
        view
    }

    /// Records a settlement, for as long as the store has no room for it: until it has, the lane is not sent again.
    async fn settle(&self, settlement: Settlement) {
        loop {
            match self.outbox.settle(settlement.clone()).await {
                Ok(Settled::Recorded) => break,
                Ok(Settled::Stale) => return tracing::warn!("a stale settlement changed nothing"),
                Err(Error::Busy | Error::Full) => self.clock.sleep(STORE_REST).await,
                // The loop ends the process at its next look; after the restart the lane is sent again.
                Err(Error::Failed { .. } | Error::Closed) => return,
            }
        }
        failpoint::crash_point(CrashPoint::AfterSettle);
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

    /// Forgets a exchange that has landed. One that panicked rests like one that failed; its entries still wait.
    async fn land(&self, flights: &mut Flights, landed: Result<(Id, ()), JoinError>) {
        let id = landed.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let lane = flights.lanes.remove(&id);
        if let (Err(_), Some((lane, token, trials))) = (&landed, lane) {
            tracing::error!(lane.id = lane.0, "carrying a lane panicked");
            self.destination
                .give_back(Admission::Lanes(1), 0, self.clock.now());
            let (exchange, _) = LaneExchange::start(
                ClaimedLane::empty(lane, token, trials),
                &self.limits.rules,
                self.clock.now(),
            );
            let again = Decision::Retry {
                applied: Effect::None,
                rest: Rest::Backoff,
                attempt: Attempt::NotCounted,
            };
            let now = (self.clock.now(), jitter());
            self.settle(settlement(&exchange, again, &self.limits.rules, now))
                .await;
        }
    }
}

/// What a exchange came to, and why, for the log.
fn told(conclusion: &Conclusion) -> (&'static str, String) {
    let outcome = match conclusion {
        Conclusion::Updated(outcome) => outcome,
        Conclusion::NothingToSend | Conclusion::Postponed(_) => return ("nothing", String::new()),
        Conclusion::NotCleared(_) => return ("not_cleared", String::new()),
        Conclusion::Identified(_) => return ("found", String::new()),
        Conclusion::UnknownCustomer => return ("nobody", String::new()),
        Conclusion::Ambiguous => return ("several", String::new()),
        Conclusion::SearchForbidden(cause) => return ("may_not_search", cause.to_string()),
    };
    let cause = match outcome {
        Outcome::Unavailable(cause)
        | Outcome::Unknown(cause)
        | Outcome::Unclear(cause)
        | Outcome::Denied(cause) => cause.to_string(),
        Outcome::Rejected(rejection) => format!("status_{}", rejection.status),
        Outcome::Throttled(_) | Outcome::NotFound | Outcome::Applied(_) => String::new(),
    };
    (outcome.label(), cause)
}
