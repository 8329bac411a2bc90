//! The simulated world that plays a plan: virtual time, the store, the model of Imprint, and a process that
//! dispatches.
//!
//! The process is the production [`Core`](imprint_bridge::dispatch::core::Core), one for each dispatch thread. The
//! world replaces the async shell around the core, and carries out the core's actions one by one. Between any two
//! actions the process may end, the task of a delivery may panic, and the store may refuse an operation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::FutureExt;
use imprint_bridge::dispatch::core::{DeliveryId, Moment};
use imprint_bridge::dispatch::destination::OperatorMode;
use imprint_bridge::outbox::{Inbox as _, LaneId, Ledger as _, MemoryOutbox, StoreFuture};
use imprint_bridge::time::Timestamp;

use self::budget::Budget;
use self::process::Process;
use super::bug::Bug;
use super::entries;
use super::imprint::{Exchange, Imprint};
use super::oracle::{Law, Oracle, Violation, violation};
use super::plan::{Crash, OperatorAction, Plan};
use super::protocol_oracle::ProtocolOracle;
use super::random::SeededRandom;

mod budget;
pub(super) mod deliveries;
mod process;

/// The Unix time in milliseconds at which the simulated world begins.
const EPOCH: i64 = 1_700_000_000_000;
/// The maximum number of steps in the report of a failed seed.
const LOG_LINES_MAX: usize = 60;

/// A happening in the simulated world.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A sender sends an event.
    Sent(usize),
    /// A dispatcher asks its core for the next action.
    Poll(usize),
    /// The store answers a dispatcher's claim.
    Claimed(usize),
    /// A delivery continues after a wait.
    Resume(Key),
    /// A request arrives at Imprint.
    Arrives(u64),
    /// An answer arrives at the bridge, or the deadline of the request passes.
    Answered(u64),
    /// The bridge process ends.
    Ends(Crash),
    /// Another bridge process starts after this change of the clock.
    Starts(i64),
    /// The bridge process stands still for this time.
    Freezes(i64),
    /// The operator changes the mode of the destination.
    SetMode(OperatorMode),
    /// The operator replays or discards the parked entries.
    Operator(OperatorAction),
    /// Retention deletes receipts, and retires idle customers.
    Retention,
    /// The process exchanges with the store what it shares with other processes.
    Exchange,
    /// The store answers the exchange.
    Exchanged,
}

/// The key of a delivery: the dispatcher, and the id of the delivery in this dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    dispatcher: usize,
    id: DeliveryId,
}

/// The complete state of a simulation run.
pub(super) struct World<'p> {
    plan: &'p Plan,
    bug: Bug,
    random: SeededRandom,
    now: i64,
    happenings: BTreeMap<(i64, u32, u64), Happening>,
    number: u64,
    outbox: MemoryOutbox,
    imprint: Imprint,
    oracle: Oracle<'p>,
    protocol: ProtocolOracle,
    log: Option<Vec<String>>,
    /// The difference between the bridge's clock and virtual time.
    offset: i64,
    /// The mode that the operator wants, even while no process runs.
    wanted: OperatorMode,
    process: Option<Process>,
    /// What the store keeps for several processes.
    budget: Budget,
    frozen_until: i64,
    /// The requests on their way to Imprint, each with the delivery that waits for the answer.
    exchanges: BTreeMap<u64, (Option<Key>, Exchange)>,
    /// The lanes of retired customers whose versions a planted bug forgets.
    forgotten: BTreeSet<LaneId>,
    pub(super) figures: Figures,
    to_be_sent: usize,
}

/// The figures of a simulation run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) seeds: u64,
    pub(super) requests: u64,
    pub(super) crashes: u64,
    pub(super) steps: u64,
    pub(super) panics: u64,
    pub(super) refusals: u64,
    pub(super) shadowed: u64,
    pub(super) withdrawn: u64,
    pub(super) prefetched: u64,
    pub(super) witnesses: u64,
    pub(super) erased: u64,
    /// The events that the bridge ignored on arrival, because their customer was erased and blocked.
    pub(super) blocked: u64,
    /// The customers that retention has retired.
    pub(super) retired: u64,
}

impl<'p> World<'p> {
    pub(super) fn new(plan: &'p Plan, seed: u64, bug: Bug) -> Self {
        Self {
            plan,
            bug,
            random: SeededRandom::new(!seed),
            now: 0,
            happenings: BTreeMap::new(),
            number: 0,
            outbox: MemoryOutbox::bounded(plan.bounds),
            imprint: Imprint::new(plan.people.len()),
            oracle: Oracle::new(plan),
            protocol: ProtocolOracle::new(plan),
            log: None,
            offset: EPOCH,
            wanted: OperatorMode::Open,
            process: None,
            budget: Budget::default(),
            frozen_until: 0,
            exchanges: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            figures: Figures {
                seeds: 1,
                ..Figures::default()
            },
            to_be_sent: plan.events.len() + plan.repeats.len(),
        }
    }

    /// Makes the world keep a log of its steps for a report.
    pub(super) fn logging(mut self) -> Self {
        self.log = Some(Vec::new());
        self
    }

    pub(super) fn last_lines(&self) -> &[String] {
        let log = self.log.as_deref().unwrap_or_default();
        &log[log.len().saturating_sub(LOG_LINES_MAX)..]
    }

    fn log(&mut self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:>9} {}", self.now, line()));
        }
    }

    /// Plays the plan of the simulated world to its end.
    pub(super) fn play(&mut self) -> Result<(), Violation> {
        self.prepare();
        self.start(0);
        let until = self.plan.drained_by();
        while let Some(((at, _, _), happening)) = self.happenings.pop_first() {
            self.figures.steps += 1;
            if at > until || self.figures.steps > self.plan.steps_max {
                let (waiting, steps) = (self.oracle.waiting, self.figures.steps);
                let what = format!("{waiting} wait at {at} of {until}, after {steps} steps");
                return violation(Law::Live, what);
            }
            self.now = self.now.max(at);
            self.happens(happening)?;
            let depth = now_or_never(self.outbox.depth());
            self.oracle.counted(&depth)?;
        }
        if !self.is_over() {
            return violation(Law::Live, format!("nothing more happens at {}", self.now));
        }
        let receipt = |event| {
            let lookup = entries::lookup(event);
            now_or_never(self.outbox.find(lookup))
        };
        self.oracle.judge(&self.imprint, receipt)
    }

    fn prepare(&mut self) {
        let plan = self.plan;
        for (event, planned) in plan.events.iter().enumerate() {
            self.at(planned.at, Happening::Sent(event));
        }
        for (at, event) in &plan.repeats {
            self.at(*at, Happening::Sent(*event));
        }
        for crash in &plan.crashes {
            self.at(crash.at, Happening::Ends(*crash));
        }
        for (at, standing) in &plan.freezes {
            self.at(*at, Happening::Freezes(*standing));
        }
        for (from, to, mode) in &plan.modes {
            self.at(*from, Happening::SetMode(*mode));
            self.at(*to, Happening::SetMode(OperatorMode::Open));
        }
        for (at, action) in &plan.operator {
            self.at(*at, Happening::Operator(*action));
        }
        for at in &plan.retirements {
            // Without a random number, so that the other happenings of the seed are the same as without retention.
            self.number += 1;
            self.happenings
                .insert((*at, 0, self.number), Happening::Retention);
        }
    }

    fn at(&mut self, at: i64, happening: Happening) {
        self.number += 1;
        let key = (at.max(self.now), self.random.any_u32(), self.number);
        self.happenings.insert(key, happening);
    }

    /// Returns true if the run is over: no entry waits, no request is on its way, and no lane is due.
    fn is_over(&self) -> bool {
        self.to_be_sent == 0
            && self.oracle.waiting == 0
            && self.exchanges.is_empty()
            && self.process.as_ref().is_some_and(Process::is_idle)
    }

    fn happens(&mut self, happening: Happening) -> Result<(), Violation> {
        if !matches!(happening, Happening::Arrives(_)) && self.now < self.frozen_until {
            if let (Happening::Poll(dispatcher), Some(process)) = (happening, &mut self.process) {
                process.postpone_poll(dispatcher, self.frozen_until);
            }
            // Happenings that a standstill of the process postpones keep their order.
            self.number += 1;
            let key = (self.frozen_until, 0, self.number);
            self.happenings.insert(key, happening);
            return Ok(());
        }
        match happening {
            Happening::Sent(event) => self.sent(event)?,
            Happening::Poll(dispatcher) => self.poll(dispatcher)?,
            Happening::Claimed(dispatcher) => self.claimed(dispatcher)?,
            Happening::Resume(key) => self.resume(key)?,
            Happening::Arrives(exchange) => self.arrives(exchange),
            Happening::Answered(exchange) => self.answered(exchange)?,
            Happening::Ends(crash) => self.end(crash),
            Happening::Starts(jump) => self.start(jump),
            Happening::Freezes(standing) => {
                self.log(|| format!("stands still for {standing}"));
                self.frozen_until = self.now + standing;
            }
            Happening::SetMode(mode) => self.set_mode(mode),
            Happening::Operator(action) => self.operator(action)?,
            Happening::Retention => self.retain(),
            Happening::Exchange => self.exchange(),
            Happening::Exchanged => self.exchanged(),
        }
        self.start_ready()?;
        self.exchange_soon();
        Ok(())
    }

    fn clock(&self) -> Timestamp {
        Timestamp::from_millis(self.now + self.offset)
    }

    fn moment(&mut self) -> Moment {
        Moment {
            now: self.clock(),
            random: self.random.any_u32(),
        }
    }

    /// Decides at random whether the store refuses an operation. A refused operation changes nothing.
    fn is_refused(&mut self) -> bool {
        let is_refused =
            self.now < self.plan.healed && self.random.chance(self.plan.store_refusals_per_mille);
        self.figures.refusals += u64::from(is_refused);
        is_refused
    }
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// Returns the answer of the storage engine in memory, which answers at once and never fails.
fn now_or_never<T>(answer: StoreFuture<'_, T>) -> T {
    answer
        .now_or_never()
        .expect("it never waits")
        .expect("it never fails")
}
