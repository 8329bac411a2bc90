//! The simulated shell around the dispatch cores carries out the cores' actions and passes the results to the oracles.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use imprint_bridge::dispatch::core::{
    Core, DestinationChange, LaneAction, LaneResult, LoopAction, Report, StoredWait,
    conclude_inquiry,
};
use imprint_bridge::dispatch::destination::{Inquiry, OperatorMode};
use imprint_bridge::dispatch::lane_exchange::{ImprintCall, ImprintReply};
use imprint_bridge::event::Version;
use imprint_bridge::fold::LaneVersions;
use imprint_bridge::imprint::{Cause, LookupResult, Outcome};
use imprint_bridge::outbox::{
    Claim, ClaimToken, ClaimedLane, Ending, EntryId, LaneId, LaneKey, Lanes as _, ParkReason,
    Recognition, Setting, Settings as _, Settled, Settlement, Trials, Unproven,
};

use super::process::Dispatcher;
use super::{Happening, Key, World, now_or_never};
use crate::simulation::bug::Bug;
use crate::simulation::imprint::{About, Imprint, SentValue, is_line, person, said};
use crate::simulation::oracle::{Law, Violation, violation};
use crate::simulation::protocol_oracle::{CLAIM_MAX, Turn};

/// The simulated world's record of one delivery.
#[derive(Debug)]
pub(in crate::simulation) struct Attempt {
    pub(super) lane: LaneId,
    token: ClaimToken,
    /// The lane's failures and attempts at the claim.
    before: Trials,
    pub(in crate::simulation) person: Option<usize>,
    /// The customer's newest waiting versions at the claim of the lane.
    newest: BTreeMap<usize, Version>,
    calls: u32,
    /// The values in the first update of the delivery.
    pub(in crate::simulation) sent: Vec<(usize, SentValue)>,
    /// True if the call in flight only empties address lines, after Imprint applied all other values.
    is_emptying: bool,
    /// True if the store has recorded the settlement of the delivery.
    is_recorded: bool,
    /// True if the last answer shows that Imprint applied the sent values.
    pub(in crate::simulation) is_applied: bool,
    /// True if it is unknown whether Imprint applied the sent values.
    pub(in crate::simulation) is_unknown: bool,
}

impl World<'_> {
    fn dispatcher(&mut self, number: usize) -> Option<&mut Dispatcher> {
        self.process.as_mut()?.dispatchers.get_mut(number)
    }

    fn attempt(&mut self, key: Key) -> Option<&mut Attempt> {
        self.process.as_mut()?.attempts.get_mut(&key)
    }

    // === claims ===

    pub(super) fn poll(&mut self, number: usize) -> Result<(), Violation> {
        let (now, moment) = (self.now, self.moment());
        let Some(dispatcher) = self.dispatcher(number) else {
            return Ok(());
        };
        // A poll at another time has replaced the scheduled poll.
        if dispatcher.next_poll != Some(now) {
            return Ok(());
        }
        dispatcher.next_poll = None;
        if dispatcher.claim.is_some() {
            dispatcher.is_woken = true;
            return Ok(());
        }
        let (max, pick) = match dispatcher.core.poll(moment) {
            LoopAction::SleepUntil(later) => {
                self.poll_at(number, later.as_millis() - self.offset);
                return Ok(());
            }
            LoopAction::AskWitness(inquiry) => {
                self.poll_at(number, now);
                return self.ask(inquiry);
            }
            LoopAction::SaveEvidence(evidence) => {
                now_or_never(self.outbox.store_setting(Setting::Evidence, evidence.text));
                if evidence.wakes_lanes {
                    now_or_never(self.outbox.release_absent(moment.now));
                    self.protocol.released();
                    self.wake();
                }
                self.poll_at(number, now);
                return Ok(());
            }
            LoopAction::Claim { max, pick } => (max, pick),
        };
        if self.is_refused() {
            if self.random.chance(100) {
                self.log(|| "the store fails for good".to_owned());
                self.end_soon();
                return Ok(());
            }
            let later = self
                .dispatcher(number)
                .map(|dispatcher| dispatcher.core.on_claim_refused(moment.now));
            if let Some(later) = later {
                self.poll_at(number, later.as_millis() - self.offset);
            }
            return Ok(());
        }
        let claim = now_or_never(self.outbox.claim(moment.now, max, pick));
        let attempts: Vec<Attempt> = claim.lanes.iter().map(|lane| self.begin(lane)).collect();
        if let Some(process) = &mut self.process {
            let is_left = claim.is_failing_left || claim.is_untried_left;
            process.nothing_due = claim.lanes.is_empty() && claim.next_due.is_none() && !is_left;
            let dispatcher = &mut process.dispatchers[number];
            dispatcher.claim = Some(claim);
            let attempts = attempts.into_iter().map(|attempt| (attempt.lane, attempt));
            dispatcher.queued.extend(attempts);
        }
        // The state of the destination may change while the store works on the claim.
        let took = self.random.pick(&[0, 0, 1, CLAIM_MAX]);
        self.at(self.now + took, Happening::Claimed(number));
        Ok(())
    }

    pub(super) fn claimed(&mut self, number: usize) -> Result<(), Violation> {
        let now = self.clock();
        let claim = self
            .dispatcher(number)
            .and_then(|dispatcher| dispatcher.claim.take());
        let Some(Claim {
            mut lanes,
            next_due,
            is_failing_left,
            is_untried_left,
        }) = claim
        else {
            return Ok(());
        };
        for lane in &mut lanes {
            self.bug.claimed(lane);
            if self.forgotten.remove(&lane.lane) {
                lane.versions = LaneVersions::default();
            }
        }
        let concurrency = self.plan.concurrency;
        let Some(dispatcher) = self.dispatcher(number) else {
            return Ok(());
        };
        let claim = Claim {
            lanes,
            next_due,
            is_failing_left,
            is_untried_left,
        };
        let poll_at = dispatcher.core.on_claimed(claim, now);
        let is_woken = std::mem::take(&mut dispatcher.is_woken);
        let prefetched = dispatcher.core.deliveries().saturating_sub(concurrency);
        self.figures.prefetched += u64::try_from(prefetched).unwrap_or(0);
        if is_woken {
            self.poll_at(number, self.now);
        }
        // If no lane becomes due later, the outbox wakes the dispatcher instead.
        if next_due.is_some() || is_failing_left || is_untried_left {
            self.poll_at(number, poll_at.as_millis() - self.offset);
        }
        Ok(())
    }

    fn begin(&self, claimed: &ClaimedLane) -> Attempt {
        let person = match &claimed.key {
            Some(LaneKey::Imprint(imprint)) => person(self.plan, imprint),
            Some(LaneKey::Partner(_)) | None => None,
        };
        let read = claimed
            .waiting
            .iter()
            .map(|waiting| waiting.entry)
            .collect();
        let newest = person.map(|person| self.oracle.newest_waiting(person, &read));
        Attempt {
            lane: claimed.lane,
            token: claimed.token,
            before: claimed.trials,
            person,
            newest: newest.unwrap_or_default(),
            calls: 0,
            sent: Vec::new(),
            is_emptying: false,
            is_recorded: false,
            is_applied: false,
            is_unknown: false,
        }
    }

    /// Starts every delivery that may have a request in flight now.
    pub(super) fn start_ready(&mut self) -> Result<(), Violation> {
        for number in 0..self.plan.dispatchers {
            while let Some(key) = self.next_start(number) {
                self.start_delivery(key)?;
            }
        }
        Ok(())
    }

    fn start_delivery(&mut self, key: Key) -> Result<(), Violation> {
        if self.ends_here() || self.panics(key)? {
            return Ok(());
        }
        let moment = self.moment();
        self.step(key, |core| core.start(key.id, moment))
    }

    fn next_start(&mut self, number: usize) -> Option<Key> {
        let dispatcher = self.dispatcher(number)?;
        let id = dispatcher.core.next_start()?;
        let attempt = dispatcher.queued.remove(&dispatcher.core.lane(id)?)?;
        let key = Key {
            dispatcher: number,
            id,
        };
        self.process.as_mut()?.attempts.insert(key, attempt);
        Some(key)
    }

    // === steps of a delivery ===

    pub(super) fn resume(&mut self, key: Key) -> Result<(), Violation> {
        let moment = self.moment();
        self.step(key, |core| core.resume(key.id, moment))
    }

    fn step(
        &mut self,
        key: Key,
        step: impl FnOnce(&mut Core) -> LaneAction,
    ) -> Result<(), Violation> {
        let Some(dispatcher) = self.dispatcher(key.dispatcher) else {
            return Ok(());
        };
        let action = step(&mut dispatcher.core);
        self.follow(key, action)
    }

    fn follow(&mut self, key: Key, action: LaneAction) -> Result<(), Violation> {
        match action {
            LaneAction::Call { call, .. } => self.call(key, call),
            LaneAction::SleepUntil(later) => {
                let later = later.as_millis() - self.offset;
                self.at(later.max(self.now + 1), Happening::Resume(key));
                Ok(())
            }
            LaneAction::Settle(result) => self.settle(key, result),
            LaneAction::Done => Ok(()),
        }
    }

    /// Decides at random whether the task of a delivery panics before its result is known.
    fn panics(&mut self, key: Key) -> Result<bool, Violation> {
        let panics = self.now < self.plan.healed && self.random.chance(self.plan.panics_per_mille);
        if !panics {
            return Ok(false);
        }
        self.figures.panics += 1;
        for (delivery, _) in self.exchanges.values_mut() {
            if *delivery == Some(key) {
                *delivery = None;
            }
        }
        if let Some(attempt) = self.attempt(key) {
            attempt.is_applied = false;
            attempt.is_unknown = attempt.calls > 0;
            let lane = attempt.lane;
            self.protocol.answered(lane);
            self.log(|| format!("lane {}: its task panics", lane.0));
        }
        let moment = self.moment();
        self.step(key, |core| core.on_lost(key.id, moment))?;
        Ok(true)
    }

    fn call(&mut self, key: Key, mut call: ImprintCall) -> Result<(), Violation> {
        self.bug.calls(&mut call, self.plan);
        let Some(attempt) = self.attempt(key) else {
            return Ok(());
        };
        let lane = attempt.lane;
        let turn = match attempt.calls {
            0 => Turn::First,
            _ => Turn::Later,
        };
        attempt.calls += 1;
        self.figures.requests += 1;
        self.protocol.sent(lane, turn, self.now)?;
        let exchange = Imprint::exchange(call, self.plan, self.now, &mut self.random);
        if let (Some(request), About::Update(Some(person))) = (&exchange.request, &exchange.about) {
            let Some(said) = said(&request.body).filter(|said| !said.is_empty()) else {
                return violation(Law::NoInvention, "no event says that".to_owned());
            };
            let empties =
                |(field, said): &(usize, SentValue)| is_line(*field) && *said == SentValue::Empty;
            let is_emptying = !request.cleared.is_empty() && said.iter().all(empties);
            let newest = self.attempt(key).map(|attempt| {
                attempt.is_emptying = is_emptying;
                attempt.newest.clone()
            });
            let newest = newest.filter(|_| turn == Turn::First);
            if turn == Turn::Later && !is_emptying {
                // Imprint did not find the customer by the id in the other letter case.
                self.oracle.orphaned(*person, &said);
            }
            self.oracle.sent(*person, &said, newest.as_ref())?;
            if let Some(attempt) = self.attempt(key).filter(|_| turn == Turn::First) {
                attempt.sent = said;
            }
        }
        self.log(|| {
            let about = match &exchange.request {
                Some(request) => format!("update with {:?}", said(&request.body)),
                None => format!("{:?}", exchange.about),
            };
            format!("lane {} sends: {about}", lane.0)
        });
        self.frees_early(key);
        self.number += 1;
        let id = self.number;
        if let Some(arrives) = exchange.arrives {
            self.at(arrives, Happening::Arrives(id));
        }
        self.at(exchange.answered, Happening::Answered(id));
        self.exchanges.insert(id, (Some(key), exchange));
        self.panics(key)?;
        Ok(())
    }

    /// Plants the bug `FreesEarly`: the store releases a lane while its request is in flight.
    fn frees_early(&mut self, key: Key) {
        if self.bug != Bug::FreesEarly {
            return;
        }
        let Some(attempt) = self.attempt(key) else {
            return;
        };
        let (lane, token) = (attempt.lane, attempt.token);
        let now = self.clock();
        let answer = now_or_never(
            self.outbox.settle(
                Settlement {
                    lane,
                    token,
                    endings: Vec::new(),
                    attempted: Vec::new(),
                    omitted: Vec::new(),
                    moved: None,
                    new_link: None,
                    recognition: Recognition::Unchanged,
                    versions: None,
                    trials: Trials::default(),
                    unproven: Unproven::default(),
                    unfold_to: None,
                    due: now,
                    reassert_at: None,
                    at: now,
                }
                .into(),
            ),
        );
        // The settlement is stale at the second call of a delivery, whose lane is already released.
        assert!(matches!(answer, Settled::Recorded | Settled::Stale));
        self.wake();
    }

    pub(super) fn arrives(&mut self, id: u64) {
        let Some((_, exchange)) = self.exchanges.get_mut(&id) else {
            return;
        };
        let done = self.imprint.arrive(exchange, self.plan, self.now);
        exchange.arrives = None;
        if let About::Update(Some(person)) = exchange.about {
            self.oracle.applied(person, &done);
            self.log(|| format!("customer {person} has {done:?}"));
        }
        self.forget(id);
    }

    /// Removes an exchange whose request and answer have both arrived.
    fn forget(&mut self, id: u64) {
        let exchange = self.exchanges.get(&id);
        if exchange.is_some_and(|(_, exchange)| exchange.arrives.is_none() && exchange.answered < 0)
        {
            self.exchanges.remove(&id);
        }
    }

    pub(super) fn answered(&mut self, id: u64) -> Result<(), Violation> {
        let now = self.clock();
        let Some((key, exchange)) = self.exchanges.get_mut(&id) else {
            return Ok(());
        };
        let key = *key;
        exchange.answered = -1;
        let reply = exchange.answer(self.plan, (self.now, now));
        if let Some(process) = &mut self.process
            && let Some(inquiry) = process.inquiries.remove(&id)
        {
            self.forget(id);
            self.testified(inquiry, reply);
            return Ok(());
        }
        let is_there = match (&exchange.about, &reply) {
            (About::Retrieve(_), ImprintReply::Lookup(LookupResult::Found(_))) => true,
            (About::Retrieve(_) | About::Search(_) | About::Update(_), _) => false,
        };
        self.forget(id);
        let Some(key) = key else { return Ok(()) };
        if self.panics(key)? {
            return Ok(());
        }
        let Some(attempt) = self.attempt(key) else {
            return Ok(());
        };
        attempt.replied(&reply);
        let (lane, is_first) = (attempt.lane, attempt.calls == 1);
        let outcome = outcome(&reply);
        // A retrieve after a refused update shows nothing about the state of the destination. As the first call of a
        // delivery, a retrieve is a probe, and its answer shows that Imprint accepts the API key.
        if outcome.is_none() && is_there && !is_first {
            self.protocol.answered(lane);
        } else {
            self.protocol.heard(lane, outcome, self.now);
        }
        let label = outcome.map_or("found", Outcome::label);
        self.log(|| format!("lane {} hears: {label}", lane.0));
        let stops_all = self.bug.stops_all(outcome);
        let (reply, moment) = (self.bug.replied(reply), self.moment());
        self.step(key, |core| core.on_answer(key.id, reply, moment))?;
        if let (Bug::TellsNobody, Some(process)) = (self.bug, &self.process) {
            process.destination.wait_until(moment.now);
        }
        if let (true, Some(process)) = (stops_all, &self.process) {
            let until = moment.now.after(Duration::from_mins(20));
            process.destination.wait_until(until);
        }
        Ok(())
    }

    // === witnesses ===

    /// Sends the question about a witness.
    fn ask(&mut self, inquiry: Inquiry) -> Result<(), Violation> {
        self.figures.witnesses += 1;
        self.protocol.keeps_pace(self.now)?;
        self.protocol.asked_witness();
        let call = ImprintCall::Retrieve(inquiry.customer().clone());
        let exchange = Imprint::exchange(call, self.plan, self.now, &mut self.random);
        self.log(|| format!("asks the witness {:?}", inquiry.customer()));
        self.number += 1;
        let id = self.number;
        // A retrieve changes nothing, so its arrival does not matter.
        let exchange = exchange.without_arrival();
        self.at(exchange.answered, Happening::Answered(id));
        self.exchanges.insert(id, (None, exchange));
        if let Some(process) = &mut self.process {
            process.inquiries.insert(id, inquiry);
        }
        Ok(())
    }

    fn testified(&mut self, inquiry: Inquiry, reply: ImprintReply) {
        let ImprintReply::Lookup(found) = reply else {
            return;
        };
        self.protocol.testified(&found, self.now);
        let moment = self.moment();
        let ((before, after), change) = conclude_inquiry(inquiry, &found, moment);
        self.log(|| {
            let (before, after) = (before.as_str(), after.as_str());
            format!("the witness: {}, {before} to {after}", found.label())
        });
        self.save(change);
        self.wake();
    }

    // === settlements ===

    fn settle(
        &mut self,
        key: Key,
        LaneResult {
            report,
            change,
            settlement,
        }: LaneResult,
    ) -> Result<(), Violation> {
        if self.ends_here() {
            self.protocol.wait_was_not_saved();
            return Ok(());
        }
        if let Some(report) = report {
            self.count(&report);
            if self.attempt(key).is_some_and(|attempt| attempt.is_applied) {
                self.protocol.applied(settlement.lane, self.now);
            }
        }
        self.save(change);
        if self.is_refused() {
            let now = self.clock();
            return self.step(key, |core| core.on_settle_refused(now));
        }
        let Some(attempt) = self.attempt(key) else {
            return Ok(());
        };
        let (before, is_unsent) = (attempt.before, attempt.calls == 0);
        let mut settlement = Arc::unwrap_or_clone(settlement);
        self.bug.settles(&mut settlement, before);
        self.log(|| {
            let Settlement { endings, due, .. } = &settlement;
            let due = due.since(settlement.at);
            format!("lane {}: {endings:?}, due in {due:?}", settlement.lane.0)
        });
        let answer = now_or_never(self.outbox.settle(Arc::new(settlement.clone())));
        self.recorded(key, &settlement, answer)?;
        if self.bug == Bug::KeepsItsPermit
            && is_unsent
            && let Some(process) = &self.process
        {
            std::mem::forget(process.destination.acquire(1, settlement.at));
        }
        if self.ends_here() {
            return Ok(());
        }
        self.wake();
        if self.now < self.plan.healed && self.random.chance(self.plan.panics_per_mille) {
            self.figures.panics += 1;
            let moment = self.moment();
            return self.step(key, |core| core.on_lost(key.id, moment));
        }
        if let Some(process) = &mut self.process {
            process.attempts.remove(&key);
        }
        if let Some(dispatcher) = self.dispatcher(key.dispatcher) {
            dispatcher.core.on_settled(key.id, answer);
        }
        Ok(())
    }

    /// Handles the store's answer to a settlement. The answer may be stale only if the settlement was recorded before.
    fn recorded(
        &mut self,
        key: Key,
        settlement: &Settlement,
        answer: Settled,
    ) -> Result<(), Violation> {
        let was_recorded = self.attempt(key).is_some_and(|attempt| {
            let was_recorded = attempt.is_recorded;
            attempt.is_recorded = true;
            was_recorded
        });
        match answer {
            Settled::Recorded => self.judged(key, settlement)?,
            Settled::Stale if was_recorded || self.bug == Bug::FreesEarly => {}
            Settled::Stale => {
                let what = format!("lane {} was lost", settlement.lane.0);
                return violation(Law::NoLoss, what);
            }
        }
        if self.bug == Bug::SettlesTwice {
            self.judged(key, settlement)?;
        }
        Ok(())
    }

    fn count(&mut self, report: &Report) {
        let is_unsent = report.outcome == "nothing" && report.entries > 0;
        match self.wanted {
            OperatorMode::Shadow => self.figures.shadowed += u64::from(is_unsent),
            OperatorMode::Open | OperatorMode::Paused => {
                self.figures.withdrawn += u64::from(is_unsent);
            }
        }
    }

    /// Saves a change of the destination's state. Like the dispatcher, the world drops a change that the store refuses.
    fn save(&mut self, change: Option<DestinationChange>) {
        let now = self.clock();
        let Some(change) = change else { return };
        let is_refused = self.is_refused();
        match change {
            DestinationChange::Throttled(until) => {
                self.protocol.wait_is_saved(!is_refused);
                if !is_refused {
                    let wait = StoredWait { until, since: now }.to_text();
                    let setting = Setting::ThrottledUntil;
                    now_or_never(self.outbox.store_setting(setting, wait));
                }
            }
            DestinationChange::Recovered if is_refused => {}
            DestinationChange::Recovered => {
                now_or_never(self.outbox.release(now));
                self.protocol.released();
                self.wake();
            }
        }
    }

    fn judged(&mut self, key: Key, settlement: &Settlement) -> Result<(), Violation> {
        let now = self.now;
        for (entry, _) in &settlement.endings {
            self.oracle.is_isolated(*entry, now)?;
        }
        let Some(process) = &self.process else {
            return Ok(());
        };
        let Some(attempt) = process.attempts.get(&key) else {
            return Ok(());
        };
        self.oracle.settled(settlement, attempt)?;
        // Without a call, the retrieve of a witness has proven the answer of an earlier delivery.
        let counted = attempt.calls > 0 && settlement.trials.attempts > attempt.before.attempts
            || settlement.endings.iter().any(is_exhausted);
        let failed = settlement.trials.tried_at == Some(settlement.at);
        let lane = settlement.lane;
        if failed {
            let until = settlement.due.as_millis() - self.offset;
            self.protocol.rests(lane, until);
        }
        if settlement.moved.is_some() {
            self.protocol.released();
        }
        let at = settlement.at.as_millis() - self.offset;
        self.protocol.settled(lane, (counted, failed), at)
    }
}

impl Attempt {
    /// Records whether the answer shows that Imprint applied the sent values.
    fn replied(&mut self, reply: &ImprintReply) {
        self.is_unknown = matches!(
            outcome(reply),
            Some(
                Outcome::Unknown(_)
                    | Outcome::Unavailable(Cause::Status(_))
                    | Outcome::Throttled(_)
            )
        );
        self.is_applied = match reply {
            ImprintReply::Outcome(Outcome::Applied(_)) => true,
            ImprintReply::Outcome(Outcome::Rejected(_)) => self.is_emptying,
            ImprintReply::Outcome(_) | ImprintReply::Lookup(_) => false,
        };
    }
}

const fn is_exhausted(ending: &(EntryId, Ending)) -> bool {
    let reason = match &ending.1 {
        Ending::Parked { reason, .. } => *reason,
        Ending::Delivered | Ending::Superseded(_) | Ending::Ignored(_) | Ending::Undecided => {
            return false;
        }
    };
    matches!(reason, ParkReason::AttemptsExhausted)
}

/// Returns the outcome in a reply of Imprint, or `None` for a lookup that succeeded.
const fn outcome(reply: &ImprintReply) -> Option<&Outcome> {
    match reply {
        ImprintReply::Outcome(outcome) | ImprintReply::Lookup(LookupResult::Failed(outcome)) => {
            Some(outcome)
        }
        ImprintReply::Lookup(
            LookupResult::Found(_) | LookupResult::NotFound | LookupResult::Ambiguous,
        ) => None,
    }
}
