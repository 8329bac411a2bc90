//! The simulated bridge process: start and end, and the actions of senders and of the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imprint_bridge::dispatch::core::{Core, DispatchLimits, StoredWait};
use imprint_bridge::dispatch::destination::{Destination, Inquiry, OperatorMode};
use imprint_bridge::imprint::CustomerRef;
use imprint_bridge::outbox::{
    Appended, AuditEvent, Claim, CustomerErasure, EntryFilter, EntryId, ErasedPart, ErasureStep,
    Inbox as _, KeyMark, LaneId, LaneKey, Lanes as _, LaterEvents, Ledger as _, Replay,
    ReplayChange, Setting, Settings as _, State, Withdrawal, WithdrawnState,
};
use imprint_bridge::time::Timestamp;

use super::budget::SharedExchange;
use super::deliveries::Attempt;
use super::{Happening, Key, World, now_or_never};
use crate::simulation::bug::Bug;
use crate::simulation::entries;
use crate::simulation::oracle::{Law, Violation, violation};
use crate::simulation::plan::{Crash, OperatorAction};

/// The time by which the clock of an accepted event is possibly ahead of the clock of retention, in milliseconds.
const DAY: i64 = 24 * 3_600_000;

/// The memory of a simulated bridge process.
pub(super) struct Process {
    pub(super) destination: Arc<Destination>,
    pub(super) dispatchers: Vec<Dispatcher>,
    /// The simulated world's record of each running delivery.
    pub(super) attempts: BTreeMap<Key, Attempt>,
    /// The questions to witnesses that Imprint has not answered.
    pub(super) inquiries: BTreeMap<u64, Inquiry>,
    /// True if the last claim found no due lane and no lane with a later due time.
    pub(super) nothing_due: bool,
    pub(super) exchange: SharedExchange,
}

/// One simulated dispatch thread.
pub(super) struct Dispatcher {
    pub(super) core: Core,
    /// The time at which the dispatcher polls its core next.
    pub(super) next_poll: Option<i64>,
    /// The store's answer to the dispatcher's claim.
    pub(super) claim: Option<Claim>,
    /// True if the dispatcher was woken while it waited for the store's answer: it polls its core again after the
    /// answer.
    pub(super) is_woken: bool,
    /// The simulated world's records of the claimed deliveries that have not started.
    pub(super) queued: BTreeMap<LaneId, Attempt>,
}

impl Process {
    pub(super) fn is_idle(&self) -> bool {
        let is_idle = |dispatcher: &Dispatcher| {
            dispatcher.claim.is_none() && dispatcher.core.deliveries() == 0
        };
        self.nothing_due && self.inquiries.is_empty() && self.dispatchers.iter().all(is_idle)
    }

    pub(super) fn postpone_poll(&mut self, dispatcher: usize, until: i64) {
        self.dispatchers[dispatcher].next_poll = Some(until);
    }
}

impl World<'_> {
    /// Starts a simulated bridge process, like `app::start`.
    pub(super) fn start(&mut self, jump: i64) {
        self.offset += jump;
        self.log(|| format!("a process starts, its clock off by {jump}"));
        let now = self.clock();
        let destination = Arc::new(Destination::new(self.bug.rate(self.plan.rate), now));
        let evidence = now_or_never(self.outbox.setting(Setting::Evidence));
        if self.plan.is_shared {
            let view = self.budget.agree(None, self.now);
            destination.agree(None, &view, now);
            destination.share();
        }
        destination.begin(KeyMark(1), None, evidence.as_deref(), now);
        let mode = now_or_never(self.outbox.setting(Setting::DestinationMode));
        let mode = mode.and_then(|name| OperatorMode::parse(&name));
        let mode = mode.unwrap_or_default();
        destination.set_mode(mode);
        let until = now_or_never(self.outbox.setting(Setting::ThrottledUntil));
        if let Some(until) = until.and_then(|text| StoredWait::continued(&text, now)) {
            destination.wait_until(until);
        }
        self.protocol.restarted(jump == 0);
        let limits = DispatchLimits {
            concurrency: self.plan.concurrency,
            deadline: self.plan.deadline,
            rules: self.plan.rules,
        };
        let dispatchers = (0..self.plan.dispatchers).map(|_| Dispatcher {
            core: Core::new(Arc::clone(&destination), limits),
            next_poll: None,
            claim: None,
            is_woken: false,
            queued: BTreeMap::new(),
        });
        self.process = Some(Process {
            dispatchers: dispatchers.collect(),
            destination,
            attempts: BTreeMap::new(),
            inquiries: BTreeMap::new(),
            nothing_due: false,
            exchange: SharedExchange::None,
        });
        if mode != self.wanted {
            self.set_mode(self.wanted);
        }
        self.wake();
    }

    /// Ends the bridge process, like `kill -9`. A request that was sent may still arrive at Imprint.
    pub(super) fn end(&mut self, crash: Crash) {
        let Some(process) = self.process.take() else {
            return;
        };
        self.log(|| "the process ends".to_owned());
        self.figures.crashes += 1;
        self.oracle.crashed();
        for attempt in process.attempts.into_values() {
            if let Some(person) = attempt.person {
                self.oracle.orphaned(person, &attempt.sent);
            }
        }
        for (delivery, _) in self.exchanges.values_mut() {
            *delivery = None;
        }
        self.outbox.crash();
        self.at(self.now + crash.down, Happening::Starts(crash.jump));
    }

    /// Decides at random whether the process ends between two steps.
    pub(super) fn ends_here(&mut self) -> bool {
        let ends = self.now < self.plan.healed && self.random.chance(self.plan.crash_per_mille);
        if ends {
            self.end_soon();
        }
        ends
    }

    pub(super) fn end_soon(&mut self) {
        let down = self.random.pick(&[0, 10, 2_000]);
        let (at, jump) = (self.now, 0);
        self.end(Crash { at, down, jump });
    }

    /// Sets the operator's mode of the destination, like the admin API.
    pub(super) fn set_mode(&mut self, mode: OperatorMode) {
        self.wanted = mode;
        let now = self.clock();
        let Some(process) = &self.process else { return };
        let before = process.destination.mode();
        let name = mode.as_str().to_owned();
        now_or_never(self.outbox.store_setting(Setting::DestinationMode, name));
        process.destination.set_mode(mode);
        if before != OperatorMode::Open && mode == OperatorMode::Open {
            now_or_never(self.outbox.release(now));
            self.protocol.released();
        }
        self.protocol.set_mode(mode);
        self.log(|| format!("the mode is {}", mode.as_str()));
        self.wake();
    }

    pub(super) fn operator(&mut self, action: OperatorAction) -> Result<(), Violation> {
        if self.process.is_none() {
            self.at(self.now + 1_000, Happening::Operator(action));
            return Ok(());
        }
        let audit = AuditEvent {
            operator: "somebody".to_owned(),
            action: "looked",
            target: String::new(),
            reason: None,
            at: self.clock(),
        };
        let (done, from, to) = match action {
            OperatorAction::Replay => {
                let replay = |entry| Replay {
                    entry,
                    change: ReplayChange::Stored,
                };
                let replays = self.entries_in(State::Parked).map(replay).collect();
                let replayed = now_or_never(self.outbox.replay(replays, audit));
                (replayed, State::Parked, State::Waiting)
            }
            OperatorAction::Discard => {
                let parked = self.entries_in(State::Parked).collect();
                let to = WithdrawnState::Discarded;
                let discarded = self.withdraw(parked, State::Parked, to, audit);
                (discarded, State::Parked, to.state())
            }
            OperatorAction::Withdraw { every, to } => {
                let waiting = self.entries_in(State::Waiting);
                let waiting = waiting.filter(|entry| entry.0.is_multiple_of(every));
                let withdrawn = self.withdraw(waiting.collect(), State::Waiting, to, audit);
                (withdrawn, State::Waiting, to.state())
            }
            OperatorAction::Erase { person, later } => return self.erase(person, later),
        };
        self.log(|| format!("{action:?} of {done:?}"));
        self.oracle.handled(&done, from, to)?;
        self.protocol.released();
        self.wake();
        Ok(())
    }

    /// Erases a customer, like the admin API: tries again while a request of the customer is in flight.
    fn erase(&mut self, person: usize, later: LaterEvents) -> Result<(), Violation> {
        let planned = &self.plan.people[person];
        let partner = planned.partner.clone().map(LaneKey::Partner);
        let imprint = LaneKey::Imprint(planned.imprint.clone());
        let erasure = CustomerErasure {
            keys: partner.into_iter().chain([imprint]).collect(),
            invalid: Vec::new(),
            later_events: later,
            at: self.clock(),
            progress: None,
        };
        let keys = erasure.keys.clone();
        let step = if self.bug == Bug::KeepsWhatWasErased {
            ErasureStep::Erased(ErasedPart::default())
        } else {
            now_or_never(self.outbox.erase_customer(erasure))
        };
        let ErasureStep::Erased(part) = step else {
            let action = OperatorAction::Erase { person, later };
            self.at(self.now + 1_000, Happening::Operator(action));
            return Ok(());
        };
        let strange = part.keys.iter().find(|key| !keys.contains(key));
        if let Some(key) = strange {
            let what = format!("the erasure of customer {person} reaches {key:?}");
            return violation(Law::Erased, what);
        }
        self.figures.erased += 1;
        self.log(|| {
            format!(
                "customer {person} is erased, {later:?}: {:?}",
                part.discarded
            )
        });
        self.oracle.erased(person, later, &part.discarded)?;
        self.protocol.released();
        self.wake();
        Ok(())
    }

    fn entries_in(&self, state: State) -> impl Iterator<Item = EntryId> + use<> {
        let filter = EntryFilter::in_state(state, 1_000);
        let page = now_or_never(self.outbox.list(filter));
        let entries = page.entries.into_iter();
        entries.map(|listed| listed.receipt.entry)
    }

    fn withdraw(
        &self,
        entries: Vec<EntryId>,
        from: State,
        to: WithdrawnState,
        audit: AuditEvent,
    ) -> Vec<EntryId> {
        let withdrawal = Withdrawal {
            entries,
            from: vec![from],
            to,
        };
        now_or_never(self.outbox.withdraw(withdrawal, audit)).entries
    }

    /// Deletes the receipts of all ended entries, and retires all idle customers, like the retention task.
    pub(super) fn retain(&mut self) {
        if self.process.is_none() {
            return;
        }
        let now = self.clock();
        let kept = now..=Timestamp::from_millis(now.as_millis() + DAY);
        let mut from = EntryId(0);
        while let Some(next) = now_or_never(self.outbox.prune_receipts(from, kept.clone())) {
            from = next;
        }
        let outbox = &self.outbox;
        self.oracle
            .forget(|event| now_or_never(outbox.find(entries::lookup(event))).is_none());
        let before = self.known_lanes();
        let retired = now_or_never(self.outbox.retire_customers(LaneId(0), now));
        self.log(|| format!("{} customers are retired", retired.customers));
        self.figures.retired += u64::try_from(retired.customers).unwrap();
        if self.bug == Bug::RetiresVersions {
            let after = self.known_lanes();
            self.forgotten.extend(before.difference(&after));
        }
    }

    fn known_lanes(&self) -> BTreeSet<LaneId> {
        let people = self.plan.people.iter();
        let customers = people.map(|person| CustomerRef::Imprint(person.imprint.clone()));
        let lanes = now_or_never(self.outbox.lanes(customers.collect()));
        lanes.into_iter().flat_map(|lane| lane.lanes).collect()
    }

    pub(super) fn sent(&mut self, event: usize) -> Result<(), Violation> {
        // No sender repeats an event after the store has deleted the receipt of the event.
        if self.oracle.is_forgotten(event) {
            self.to_be_sent -= 1;
            return Ok(());
        }
        if self.process.is_none() || self.is_refused() {
            self.at(self.now + 500, Happening::Sent(event));
            return Ok(());
        }
        let entry = entries::new(self.plan, event, self.clock());
        if self.bug == Bug::AnswersBeforeStoring && self.random.chance(100) {
            self.to_be_sent -= 1;
            let stored = entries::never_stored();
            return self.oracle.accepted(event, stored, self.now);
        }
        let Appended::Stored(stored) = now_or_never(self.outbox.append(vec![entry])) else {
            return violation(Law::NoLoss, format!("event {event} conflicts with itself"));
        };
        let stored = stored[0];
        self.log(|| {
            format!(
                "event {event} is entry {}, {:?}",
                stored.entry, stored.state
            )
        });
        let is_blocked = stored.state == State::Ignored && !stored.duplicate;
        self.figures.blocked += u64::from(is_blocked);
        self.oracle.accepted(event, stored, self.now)?;
        self.protocol.released();
        self.wake();
        if self.ends_here() {
            // The sender has no answer and sends the event once more.
            self.at(self.now + 1_000, Happening::Sent(event));
        } else {
            self.to_be_sent -= 1;
        }
        Ok(())
    }

    /// Schedules a poll of every dispatcher, because a lane may be due.
    pub(super) fn wake(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        process.nothing_due = false;
        for dispatcher in 0..self.plan.dispatchers {
            let soon = self.now + self.random.between(0, 3);
            self.poll_at(dispatcher, soon);
        }
    }

    pub(super) fn poll_at(&mut self, dispatcher: usize, at: i64) {
        let at = at.max(self.now);
        let Some(process) = &mut self.process else {
            return;
        };
        let next_poll = &mut process.dispatchers[dispatcher].next_poll;
        if next_poll.is_none_or(|poll| at < poll) {
            *next_poll = Some(at);
            self.at(at, Happening::Poll(dispatcher));
        }
    }
}
