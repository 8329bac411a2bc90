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

use self::condition::{Condition, Fault, Grant};
use self::destination::{Destination, Extra, Mode, View};
use self::flight::{Answer, Ask, Conclusion, Flight, Step};
use self::policy::{Applied, Attempt, Decision, Rest, decide};
use self::rules::Rules;
use self::settle::settlement;
use crate::failpoint::{self, CrashPoint, Fault as Failpoint};
use crate::imprint::{Echo, ImprintApi, Outcome};
use crate::metrics;
use crate::outbox::{ClaimedLane, Ending, Error, LaneId, Note, Outbox, Pick, Settlement, Trials};
use crate::random::{jitter, random_u32};
use crate::time::{Clock, Timestamp};

pub mod backoff;
pub mod condition;
pub mod destination;
pub mod flight;
pub mod pace;
pub mod policy;
pub mod rules;
pub mod settle;

#[cfg(test)]
mod tests;

/// How often the outbox is looked at although nothing said that there is something: the fallback for a lost wake-up.
///
/// Below the half second for which awc sets a timer with every request: a runtime is woken by a system call for each timer
/// that is the earliest it has.
const POLL_EVERY: Duration = Duration::from_millis(400);
/// How long a lane rests whose request was made in shadow only; then it is looked at again, for what is newer.
const SHADOW_REST: Duration = Duration::from_secs(60);
/// Of so many requests that may be in flight, one lane more may be held: enough for a store that takes half as long as
/// the partner, and all that a crash adds to the requests that are made once more.
const AHEAD_PART: usize = 2;
/// How long to rest when the store did not take a claim or a settlement.
const STORE_REST: Duration = Duration::from_millis(200);

/// What a dispatcher may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests in flight at once, of this dispatcher.
    pub concurrency: usize,
    /// How long one request may take.
    pub deadline: Duration,
    /// What the operator decided.
    pub rules: Rules,
}

impl Limits {
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
    pub counts: metrics::DispatchMetrics,
}

/// The store failed for good; what it has is on disk, and the next process goes on with it.
#[derive(Debug, thiserror::Error)]
#[error("dispatch cannot go on")]
pub struct Failed(#[source] Error);

/// The lanes that are held, each from its claim to its settlement.
struct Flights {
    tasks: JoinSet<()>,
    lanes: HashMap<Id, (LaneId, Trials)>,
    /// One for each request that may be in flight; closed when no more may begin.
    seats: Arc<Semaphore>,
}

/// The place of a lane whose request is in flight.
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
    /// Runs until `stopping` says so, then until what is in flight is settled.
    ///
    /// # Errors
    /// [`Failed`] when the store takes no more work.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) -> Result<(), Failed> {
        let dispatcher = Rc::new(self);
        let mut flights = Flights {
            tasks: JoinSet::new(),
            lanes: HashMap::new(),
            seats: Arc::new(Semaphore::new(dispatcher.limits.concurrency)),
        };
        // Armed first and all the time, so that it is the earliest.
        let mut look = std::pin::pin!(tokio::time::sleep(POLL_EVERY));
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
            look.set(tokio::time::sleep(pause));
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
        if let Grant::NotBefore(later) = granted {
            return Ok(later);
        }
        let pick = match granted {
            Grant::Probe => Pick::LeastFailed(random_u32()),
            Grant::Lanes(_) | Grant::NotBefore(_) => Pick::LongestDue,
        };
        let claim = self.outbox.claim(now, granted.lanes(), pick).await;
        let claimed = claim.as_ref().map_or(0, |claim| claim.lanes.len());
        self.destination.give_back(granted, claimed, now);
        let claim = claim?;
        for claimed in claim.lanes {
            let (lane, trials) = (claimed.lane, claimed.trials);
            let seat = Arc::clone(&flights.seats).acquire_owned();
            let task =
                flights
                    .tasks
                    .spawn_local(Rc::clone(&self).carry(claimed, granted.of_one(), seat));
            flights.lanes.insert(task.id(), (lane, trials));
        }
        Ok(claim.next_due.unwrap_or_else(|| now.after(POLL_EVERY)))
    }

    /// Carries one lane from its claim to its settlement.
    async fn carry(
        self: Rc<Self>,
        claimed: ClaimedLane,
        place: Grant,
        seat: impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>>,
    ) {
        let seat = seat.await.map(|permit| Seat::taken(permit, &self.counts));
        let rules = &self.limits.rules;
        let (mut flight, mut step) = Flight::start(claimed, rules, self.clock.now());
        failpoint::crash_point(CrashPoint::AfterClaimBeforeRequest);
        let mut asked = 0;
        let conclusion = loop {
            match step {
                Step::Conclude(conclusion) if asked == 0 => {
                    self.destination.give_back(place, 0, self.clock.now());
                    break conclusion;
                }
                Step::Conclude(conclusion) => break conclusion,
                Step::Ask(_) if seat.is_err() => {
                    let now = self.clock.now();
                    self.destination.give_back(place, 0, now);
                    break Conclusion::Postponed(now);
                }
                Step::Ask(_) if asked == 0 && self.withdrew(place) => {
                    break Conclusion::Postponed(self.clock.now());
                }
                Step::Ask(ask) if self.destination.mode() == Mode::Shadow => {
                    let now = self.clock.now();
                    self.destination.shadowed(flight.claimed.lane, &ask, now);
                    self.destination.give_back(place, 0, now);
                    break Conclusion::Postponed(now.after(SHADOW_REST));
                }
                // It does not wait for leave where it stands: its place is for those who have theirs.
                Step::Ask(Ask::Search(_)) if let Err(later) = self.may_search(place, asked) => {
                    break Conclusion::Postponed(later);
                }
                Step::Ask(ask) => {
                    let answer = self.ask(ask, &flight, asked).await;
                    step = flight.hear(answer, self.clock.now());
                    asked += 1;
                }
            }
        };
        drop(seat);
        failpoint::crash_point(CrashPoint::AfterRequestBeforeSettle);
        let (now, jitter) = (self.clock.now(), jitter());
        let before = self.destination.condition();
        let view = self.learn(&flight, &conclusion, (now, jitter));
        self.remember(before, view.condition, now).await;
        let decision = decide(&flight, conclusion, view, rules);
        if let Decision::Deliver(echo) = &decision {
            self.counts.asserted(flight.fold.asserted);
            self.counts.ties(flight.fold.ties);
            for group in &echo.differs {
                self.counts.echo_differs(group.as_str());
            }
        }
        self.settle(settlement(&flight, decision, rules, (now, jitter)))
            .await;
    }

    /// Whether the place of a flight that has asked nothing yet was withdrawn; it is given back then.
    fn withdrew(&self, place: Grant) -> bool {
        let now = self.clock.now();
        let withdrew = self.destination.is_withdrawn(place, now);
        if withdrew {
            self.destination.give_back(place, 0, now);
        }
        withdrew
    }

    /// Asks Imprint one thing. What does not follow from a claim itself needs leave of its own.
    async fn ask(&self, ask: Ask, flight: &Flight, asked: usize) -> Answer {
        let deadline = self.limits.deadline;
        match &ask {
            Ask::Update(_) if asked == 0 => {}
            Ask::Update(_) | Ask::Retrieve(_) => self.leave().await,
            Ask::Search(_) => {}
        }
        let started = self.clock.now();
        let took = || self.clock.now().since(started);
        match ask {
            Ask::Update(request) => {
                let mut outcome = self.partner.deliver(request, deadline).await;
                if failpoint::is_armed(Failpoint::AssumeApplied) {
                    outcome = Outcome::Applied(Echo::default());
                }
                let entries = flight.fold.carried.len();
                self.counts.attempt(outcome.label(), entries, took());
                Answer::Outcome(outcome)
            }
            Ask::Retrieve(customer) => {
                let found = self.partner.retrieve(customer, deadline).await;
                self.counts.lookup(found.label());
                Answer::Found(found)
            }
            Ask::Search(partner) => {
                let found = self.partner.search(partner, deadline).await;
                self.counts.lookup(found.label());
                Answer::Found(found)
            }
        }
    }

    /// Waits until one more request may be made.
    async fn leave(&self) {
        while let Err(later) = self.destination.extra(Extra::Question, self.clock.now()) {
            tokio::time::sleep(later.since(self.clock.now())).await;
        }
    }

    /// Whether a search may be made now, or from when on: the first one of a flight takes the place of its lane.
    fn may_search(&self, place: Grant, asked: usize) -> Result<(), Timestamp> {
        let now = self.clock.now();
        if asked == 0 {
            self.destination.search_instead(place, now)
        } else {
            self.destination.extra(Extra::Search, now)
        }
    }

    /// Keeps what a restart must know, and wakes who rested while the destination was down.
    async fn remember(&self, before: Condition, after: Condition, now: Timestamp) {
        let done = match (before, after) {
            (_, Condition::Throttled { until, .. }) if before != after => {
                let until = until.as_millis().to_string();
                self.outbox.note(Note::Wait, until).await
            }
            (Condition::Probing { .. } | Condition::Stopped { .. }, Condition::Flowing { .. }) => {
                self.outbox.release(now).await
            }
            (_, _) => Ok(()),
        };
        if let Err(error) = done {
            // It costs a wait that is cut short by a restart, or a rest of some seconds.
            tracing::warn!(error = %error, "the store did not take a change of the destination");
        }
    }

    /// Tells the destination what came of a flight, and the log.
    fn learn(
        &self,
        flight: &Flight,
        conclusion: &Conclusion,
        (now, jitter): (Timestamp, f64),
    ) -> View {
        let claimed = &flight.claimed;
        let Some(news) = flight.news(conclusion) else {
            return View {
                condition: self.destination.condition(),
                fault: Fault::OfAnyone,
            };
        };
        let before = self.destination.condition();
        let view = self
            .destination
            .note(claimed.lane, claimed.trials, news, (now, jitter));
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
            entries = flight.fold.carried.len(),
            "a request came back"
        );
        view
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

    /// Forgets a flight that has landed. One that panicked rests like one that failed; its entries still wait.
    async fn land(&self, flights: &mut Flights, landed: Result<(Id, ()), JoinError>) {
        let id = landed.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let lane = flights.lanes.remove(&id);
        if let (Err(_), Some((lane, trials))) = (&landed, lane) {
            tracing::error!(lane.id = lane.0, "carrying a lane panicked");
            self.destination
                .give_back(Grant::Lanes(1), 0, self.clock.now());
            let (flight, _) = Flight::start(
                ClaimedLane::empty(lane, trials),
                &self.limits.rules,
                self.clock.now(),
            );
            let again = Decision::Again {
                applied: Applied::No,
                rest: Rest::Backoff,
                attempt: Attempt::Free,
            };
            let now = (self.clock.now(), jitter());
            self.settle(settlement(&flight, again, &self.limits.rules, now))
                .await;
        }
    }
}

/// What a flight came to, and why, for the log.
fn told(conclusion: &Conclusion) -> (&'static str, String) {
    let outcome = match conclusion {
        Conclusion::Updated(outcome) => outcome,
        Conclusion::Nothing | Conclusion::Postponed(_) => return ("nothing", String::new()),
        Conclusion::NotCleared(_) => return ("not_cleared", String::new()),
        Conclusion::Is(_) => return ("found", String::new()),
        Conclusion::Nobody => return ("nobody", String::new()),
        Conclusion::Several => return ("several", String::new()),
        Conclusion::MayNotSearch(cause) => return ("may_not_search", cause.to_string()),
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
