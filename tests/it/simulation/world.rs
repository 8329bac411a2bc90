//! The world a plan plays in: virtual time, the bridge's dispatch loop as single steps, and what happens to it.
//!
//! The steps are those of `Dispatcher::launch` and `Dispatcher::carry`, one after the other and without a runtime; all
//! that decides in them is the real thing. Between any two of them the process may end.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::FutureExt;
use imprint_bridge::dispatch::breaker::{Admission, Attribution, DestinationState};
use imprint_bridge::dispatch::destination::{Assessment, Destination, FollowUp, OperatorMode};
use imprint_bridge::dispatch::lane_exchange::{
    Conclusion, ExchangeStep, ImprintCall, ImprintReply as Heard, LaneExchange,
};
use imprint_bridge::dispatch::policy::decide;
use imprint_bridge::dispatch::settlement::settlement;
use imprint_bridge::event::Version;
use imprint_bridge::imprint::{LookupResult, Outcome};
use imprint_bridge::outbox::{
    Appended, AuditEvent, ClaimedLane, DUE_AHEAD_MAX, Ending, EntryFilter, Inbox as _, LaneId,
    LaneKey, Lanes as _, Ledger as _, MemoryOutbox, ParkReason, Pick, Replay, Setting,
    Settings as _, Settled, Settlement, State, StoreFuture,
};
use imprint_bridge::time::Timestamp;

use super::bug::Bug;
use super::chance::Chance;
use super::entries;
use super::imprint::{About, Exchange, Imprint, Said, person, said};
use super::manners::{Manners, Turn};
use super::oracle::{Law, Oracle, Violation, violation};
use super::plan::{Crash, Desk, Plan};

/// When the world begins.
const EPOCH: i64 = 1_700_000_000_000;
/// How many of the last steps are told.
const TOLD_MAX: usize = 60;
/// How many steps a story has at the most; one that has more goes round in circles.
const STEPS_MAX: u64 = 20_000;

/// What is to happen.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A sender sends an event.
    Sent(usize),
    /// A dispatcher looks at the outbox.
    Look(usize),
    /// A flight asks for leave once more.
    Leave(u64),
    /// A request arrives at Imprint.
    Lands(u64),
    /// An answer arrives at the bridge, or the deadline does.
    Heard(u64),
    /// The process ends.
    Ends(Crash),
    /// Another one takes over, with its clock off by so much.
    Begins(i64),
    /// The process stands still for so long.
    Freezes(i64),
    /// The operator speaks.
    Set(OperatorMode),
    Desk(Desk),
}

/// One lane under way.
struct Carried {
    dispatcher: usize,
    place: Admission,
    flight: LaneExchange,
    asked: u32,
    /// What waits for leave.
    pending: Option<(ImprintCall, FollowUp)>,
    person: Option<usize>,
    /// What waited for this customer when the lane was claimed.
    newest: BTreeMap<usize, Version>,
    /// What its first update said.
    said: Vec<(usize, Said)>,
}

/// Whose lane it is, and the newest version of each field that waits for them.
type Waits = (Option<usize>, BTreeMap<usize, Version>);

/// Everything.
pub(super) struct World<'p> {
    plan: &'p Plan,
    bug: Bug,
    chance: Chance,
    now: i64,
    happenings: BTreeMap<(i64, u32, u64), Happening>,
    number: u64,
    outbox: MemoryOutbox,
    imprint: Imprint,
    oracle: Oracle<'p>,
    manners: Manners,
    told: Option<Vec<String>>,
    /// How far the bridge's clock is off.
    offset: i64,
    /// What the operator wants, whether there is anybody to be told or not.
    wanted: OperatorMode,
    /// The process, where there is one.
    life: Option<Life>,
    frozen_until: i64,
    exchanges: BTreeMap<u64, (Option<u64>, Exchange)>,
    pub(super) requests: u64,
    pub(super) crashes: u64,
    pub(super) steps: u64,
    to_be_sent: usize,
}

/// What a process knows and forgets.
struct Life {
    destination: Destination,
    flights: BTreeMap<u64, Carried>,
    /// When each dispatcher looks at the outbox next.
    looks: Vec<Option<i64>>,
    /// Whether nothing was due at the last look.
    is_idle: bool,
}

impl<'p> World<'p> {
    pub(super) fn new(plan: &'p Plan, seed: u64, bug: Bug) -> Self {
        Self {
            plan,
            bug,
            chance: Chance::new(!seed),
            now: 0,
            happenings: BTreeMap::new(),
            number: 0,
            outbox: MemoryOutbox::default(),
            imprint: Imprint::new(plan.people.len()),
            oracle: Oracle::new(plan),
            manners: Manners::new(plan),
            told: None,
            offset: EPOCH,
            wanted: OperatorMode::Open,
            life: None,
            frozen_until: 0,
            exchanges: BTreeMap::new(),
            requests: 0,
            crashes: 0,
            steps: 0,
            to_be_sent: plan.events.len() + plan.repeats.len(),
        }
    }

    /// Remembers what happens, for the report.
    pub(super) fn telling(mut self) -> Self {
        self.told = Some(Vec::new());
        self
    }

    pub(super) fn told(&self) -> &[String] {
        let told = self.told.as_deref().unwrap_or_default();
        &told[told.len().saturating_sub(TOLD_MAX)..]
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(told) = &mut self.told {
            told.push(format!("{:>9} {}", self.now, what()));
        }
    }

    /// Plays it to the end.
    pub(super) fn play(&mut self) -> Result<(), Violation> {
        self.prepare();
        self.begin(0);
        let until = self.plan.drained_by();
        while let Some(((at, _, _), happening)) = self.happenings.pop_first() {
            self.steps += 1;
            if at > until || self.steps > STEPS_MAX {
                let (waiting, steps) = (self.oracle.waiting, self.steps);
                let what = format!("{waiting} wait at {at} of {until}, after {steps} steps");
                return violation(Law::Live, what);
            }
            self.now = self.now.max(at);
            self.happens(happening)?;
            let depth = now_or_never(self.outbox.depth());
            self.oracle.counted(depth)?;
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
        for (from, to) in &plan.pauses {
            self.at(*from, Happening::Set(OperatorMode::Paused));
            self.at(*to, Happening::Set(OperatorMode::Open));
        }
        for (at, desk) in &plan.desk {
            self.at(*at, Happening::Desk(*desk));
        }
    }

    fn at(&mut self, at: i64, happening: Happening) {
        self.number += 1;
        let key = (at.max(self.now), self.chance.dice(), self.number);
        self.happenings.insert(key, happening);
    }

    /// Whether everything is over: nothing waits, nothing is on its way, and nothing is due any more.
    fn is_over(&self) -> bool {
        let is_idle = |life: &Life| life.is_idle && life.flights.is_empty();
        self.to_be_sent == 0
            && self.oracle.waiting == 0
            && self.exchanges.is_empty()
            && self.life.as_ref().is_some_and(is_idle)
    }

    fn happens(&mut self, happening: Happening) -> Result<(), Violation> {
        if !matches!(happening, Happening::Lands(_)) && self.now < self.frozen_until {
            if let (Happening::Look(dispatcher), Some(life)) = (happening, &mut self.life) {
                life.looks[dispatcher] = Some(self.frozen_until);
            }
            // In the order in which they were to happen.
            self.number += 1;
            let key = (self.frozen_until, 0, self.number);
            self.happenings.insert(key, happening);
            return Ok(());
        }
        match happening {
            Happening::Sent(event) => self.sent(event),
            Happening::Look(dispatcher) => self.look(dispatcher),
            Happening::Leave(flight) => self.leave(flight),
            Happening::Lands(exchange) => {
                self.lands(exchange);
                Ok(())
            }
            Happening::Heard(exchange) => self.heard(exchange),
            Happening::Ends(crash) => {
                self.end(crash);
                Ok(())
            }
            Happening::Begins(jump) => {
                self.begin(jump);
                Ok(())
            }
            Happening::Freezes(standing) => {
                self.tell(|| format!("stands still for {standing}"));
                self.frozen_until = self.now + standing;
                Ok(())
            }
            Happening::Set(mode) => {
                self.set(mode);
                Ok(())
            }
            Happening::Desk(desk) => self.desk(desk),
        }
    }

    // === the process ===

    fn clock(&self) -> Timestamp {
        Timestamp::from_millis(self.now + self.offset)
    }

    /// As `app::start` does.
    fn begin(&mut self, jump: i64) {
        self.offset += jump;
        self.tell(|| format!("a process begins, its clock off by {jump}"));
        let now = self.clock();
        let destination = Destination::new(self.bug.paced(self.plan.rate), now);
        let mode = now_or_never(self.outbox.setting(Setting::DestinationMode));
        let mode = mode
            .and_then(|word| OperatorMode::parse(&word))
            .unwrap_or_default();
        destination.set_mode(mode);
        let until = now_or_never(self.outbox.setting(Setting::ThrottledUntil));
        let until = until.and_then(|text| text.parse().ok());
        if let Some(until) = until
            .map(Timestamp::from_millis)
            .filter(|until| *until > now)
        {
            destination.wait_until(until.min(now.after(DUE_AHEAD_MAX)));
        }
        self.manners.restarted(jump == 0);
        let is_said = mode == self.wanted;
        self.life = Some(Life {
            destination,
            flights: BTreeMap::new(),
            looks: vec![None; self.plan.dispatchers],
            is_idle: false,
        });
        if !is_said {
            self.set(self.wanted);
        }
        self.wake();
    }

    /// As `kill -9` does. What has been sent may still arrive.
    fn end(&mut self, crash: Crash) {
        let Some(life) = self.life.take() else { return };
        self.tell(|| "the process ends".to_owned());
        self.crashes += 1;
        self.oracle.crashed();
        for carried in life.flights.into_values() {
            if let Some(person) = carried.person {
                self.oracle.orphaned(person, &carried.said);
            }
        }
        for (flight, _) in self.exchanges.values_mut() {
            *flight = None;
        }
        self.outbox.crash();
        self.at(self.now + crash.down, Happening::Begins(crash.jump));
    }

    /// Whether the process ends between two of its steps.
    fn ends_here(&mut self) -> bool {
        let ends = self.now < self.plan.healed && self.chance.happens(self.plan.crash_per_mille);
        if ends {
            let down = self.chance.pick(&[0, 10, 2_000]);
            let (at, jump) = (self.now, 0);
            self.end(Crash { at, down, jump });
        }
        ends
    }

    fn set(&mut self, mode: OperatorMode) {
        self.wanted = mode;
        let Some(life) = &self.life else { return };
        life.destination.set_mode(mode);
        now_or_never(
            self.outbox
                .store_setting(Setting::DestinationMode, mode.as_str().to_owned()),
        );
        self.manners.paused(mode == OperatorMode::Paused);
        self.tell(|| format!("it is {}", mode.as_str()));
        self.wake();
    }

    fn desk(&mut self, desk: Desk) -> Result<(), Violation> {
        if self.life.is_none() {
            self.at(self.now + 1_000, Happening::Desk(desk));
            return Ok(());
        }
        let parked = now_or_never(
            self.outbox
                .list(EntryFilter::in_state(State::Parked, 1_000)),
        );
        let entries = parked
            .entries
            .into_iter()
            .map(|listed| listed.receipt.entry);
        let act = AuditEvent {
            operator: "somebody".to_owned(),
            action: "looked",
            target: String::new(),
            reason: None,
            at: self.clock(),
        };
        let (done, state) = match desk {
            Desk::Replay => {
                let replay = |entry| Replay {
                    entry,
                    change: None,
                };
                let replays = entries.map(replay).collect();
                (
                    now_or_never(self.outbox.replay(replays, act)),
                    State::Waiting,
                )
            }
            Desk::Discard => {
                let given_up = self.outbox.discard(entries.collect(), act);
                (now_or_never(given_up), State::Discarded)
            }
        };
        self.tell(|| format!("{desk:?} of {done:?}"));
        self.oracle.desked(&done, state)?;
        self.manners.released();
        self.wake();
        Ok(())
    }

    // === taking in ===

    fn sent(&mut self, event: usize) -> Result<(), Violation> {
        if self.life.is_none() {
            self.at(self.now + 500, Happening::Sent(event));
            return Ok(());
        }
        let entry = entries::new(self.plan, event, self.clock());
        if self.bug == Bug::AnswersBeforeKeeping && self.chance.happens(100) {
            self.to_be_sent -= 1;
            return self
                .oracle
                .accepted(event, entries::kept_unseen(), self.now);
        }
        let Appended::Stored(kept) = now_or_never(self.outbox.append(vec![entry])) else {
            return violation(Law::NoLoss, format!("event {event} conflicts with itself"));
        };
        let kept = kept[0];
        self.tell(|| format!("event {event} is entry {}, {:?}", kept.entry, kept.state));
        self.oracle.accepted(event, kept, self.now)?;
        self.manners.released();
        self.wake();
        if self.ends_here() {
            // The sender has no answer and sends it once more.
            self.at(self.now + 1_000, Happening::Sent(event));
        } else {
            self.to_be_sent -= 1;
        }
        Ok(())
    }

    // === Dispatcher::run and Dispatcher::launch ===

    /// Something may be due.
    fn wake(&mut self) {
        let Some(life) = &mut self.life else { return };
        life.is_idle = false;
        for dispatcher in 0..self.plan.dispatchers {
            let soon = self.now + self.chance.between(0, 3);
            self.look_at(dispatcher, soon);
        }
    }

    fn look_at(&mut self, dispatcher: usize, at: i64) {
        let at = at.max(self.now);
        let Some(life) = &mut self.life else { return };
        if life.looks[dispatcher].is_none_or(|look| at < look) {
            life.looks[dispatcher] = Some(at);
            self.at(at, Happening::Look(dispatcher));
        }
    }

    fn look(&mut self, dispatcher: usize) -> Result<(), Violation> {
        let now = self.clock();
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        // Another look has taken its place.
        if life.looks[dispatcher] != Some(self.now) {
            return Ok(());
        }
        life.looks[dispatcher] = None;
        let own = life.flights.values();
        let own = own.filter(|carried| carried.dispatcher == dispatcher);
        let room = self.plan.concurrency - own.count();
        if room == 0 {
            return Ok(());
        }
        let granted = life.destination.grant(room, now);
        if let Admission::NotBefore(later) = granted {
            self.look_at(dispatcher, later.as_millis() - self.offset);
            return Ok(());
        }
        let pick = match granted {
            Admission::Probe => Pick::LeastFailed(self.chance.dice()),
            Admission::Lanes(_) | Admission::NotBefore(_) => Pick::LongestDue,
        };
        let claim = now_or_never(self.outbox.claim(now, granted.lanes(), pick));
        life.destination.give_back(granted, claim.lanes.len(), now);
        life.is_idle = claim.lanes.is_empty() && claim.next_due.is_none();
        if let Some(due) = claim.next_due {
            self.look_at(dispatcher, due.as_millis() - self.offset);
        }
        let claimed: Vec<_> = claim
            .lanes
            .into_iter()
            .map(|claimed| (self.waits(&claimed), claimed))
            .collect();
        for (waits, claimed) in claimed {
            if self.life.is_none() || self.ends_here() {
                break;
            }
            self.carry(dispatcher, claimed, (waits, granted.of_one()))?;
        }
        Ok(())
    }

    // === Dispatcher::carry ===

    /// Whose lane it is, and what waits for them now.
    fn waits(&self, claimed: &ClaimedLane) -> Waits {
        let person = match &claimed.key {
            Some(LaneKey::Imprint(imprint)) => person(self.plan, imprint),
            Some(LaneKey::Partner(_)) | None => None,
        };
        let newest = person.map(|person| self.oracle.newest_waiting(person));
        (person, newest.unwrap_or_default())
    }

    fn carry(
        &mut self,
        dispatcher: usize,
        mut claimed: ClaimedLane,
        ((person, newest), place): (Waits, Admission),
    ) -> Result<(), Violation> {
        self.bug.claimed(&mut claimed);
        let (flight, step) = LaneExchange::start(claimed, &self.plan.rules, self.clock());
        let carried = Carried {
            dispatcher,
            place,
            flight,
            asked: 0,
            pending: None,
            person,
            newest,
            said: Vec::new(),
        };
        self.number += 1;
        let number = self.number;
        if let Some(life) = &mut self.life {
            life.flights.insert(number, carried);
        }
        self.go_on(number, step)
    }

    fn go_on(&mut self, number: u64, step: ExchangeStep) -> Result<(), Violation> {
        let now = self.clock();
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        let Some(carried) = life.flights.get_mut(&number) else {
            return Ok(());
        };
        let ask = match step {
            ExchangeStep::Conclude(conclusion) => {
                if carried.asked == 0 && self.bug != Bug::KeepsItsPlace {
                    life.destination.give_back(carried.place, 0, now);
                }
                return self.conclude(number, &conclusion);
            }
            ExchangeStep::Call(ask) => ask,
        };
        match (&ask, carried.asked) {
            (ImprintCall::Search(_), 0) => {
                match life.destination.search_instead(carried.place, now) {
                    Ok(()) => self.ask(number, ask),
                    Err(later) => self.conclude(number, &Conclusion::Postponed(later)),
                }
            }
            (ImprintCall::Update(_), 0) => self.ask(number, ask),
            (ImprintCall::Update(_) | ImprintCall::Retrieve(_), _) => {
                carried.pending = Some((ask, FollowUp::Question));
                self.leave(number)
            }
            (ImprintCall::Search(_), _) => {
                carried.pending = Some((ask, FollowUp::Search));
                self.leave(number)
            }
        }
    }

    fn leave(&mut self, number: u64) -> Result<(), Violation> {
        let now = self.clock();
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        let carried = life.flights.get_mut(&number);
        let Some((ask, extra)) = carried.and_then(|carried| carried.pending.take()) else {
            return Ok(());
        };
        match life.destination.extra(extra, now) {
            Err(later) => {
                if let Some(carried) = life.flights.get_mut(&number) {
                    carried.pending = Some((ask, extra));
                }
                let later = later.as_millis() - self.offset;
                self.at(later.max(self.now + 1), Happening::Leave(number));
                Ok(())
            }
            Ok(()) => self.ask(number, ask),
        }
    }

    fn ask(&mut self, number: u64, mut ask: ImprintCall) -> Result<(), Violation> {
        self.bug.asked(&mut ask, self.plan);
        let Some(carried) = self
            .life
            .as_mut()
            .and_then(|life| life.flights.get_mut(&number))
        else {
            return Ok(());
        };
        let (lane, turn) = match carried.asked {
            0 => (carried.flight.claimed.lane, Turn::First),
            _ => (carried.flight.claimed.lane, Turn::Later),
        };
        self.requests += 1;
        self.manners.sent(lane, turn, self.now)?;
        let exchange = Imprint::exchange(ask, self.plan, self.now, &mut self.chance);
        if let (Some(request), About::Update(Some(person))) = (&exchange.request, &exchange.about) {
            let Some(said) = said(&request.body).filter(|said| !said.is_empty()) else {
                return violation(Law::NoInvention, "nobody said that".to_owned());
            };
            let newest = (turn == Turn::First).then_some(&carried.newest);
            self.oracle.sent(*person, &said, newest)?;
            if turn == Turn::First {
                carried.said = said;
            }
        }
        self.tell(|| {
            let about = match &exchange.request {
                Some(request) => format!("update with {:?}", said(&request.body)),
                None => format!("{:?}", exchange.about),
            };
            format!("lane {} asks: {about}", lane.0)
        });
        self.frees_early(number);
        let id = self.number;
        if let Some(lands) = exchange.lands {
            self.at(lands, Happening::Lands(id));
        }
        self.at(exchange.heard, Happening::Heard(id));
        self.exchanges.insert(id, (Some(number), exchange));
        self.number += 1;
        Ok(())
    }

    /// A bug: the lane is free while its request is under way.
    fn frees_early(&mut self, number: u64) {
        if self.bug != Bug::FreesEarly {
            return;
        }
        let carried = self
            .life
            .as_ref()
            .and_then(|life| life.flights.get(&number));
        let Some(carried) = carried else { return };
        let rest = Conclusion::Postponed(self.clock());
        let (now, view) = (self.clock(), self.nothing_learned());
        let decision = decide(&carried.flight, rest, view, &self.plan.rules);
        let free = settlement(&carried.flight, decision, &self.plan.rules, (now, 0.0));
        let answered = now_or_never(self.outbox.settle(Settlement {
            endings: Vec::new(),
            ..free
        }));
        assert_eq!(answered, Settled::Recorded);
        self.wake();
    }

    fn lands(&mut self, id: u64) {
        let Some((_, exchange)) = self.exchanges.get_mut(&id) else {
            return;
        };
        let done = self.imprint.land(exchange, self.plan, self.now);
        exchange.lands = None;
        if let About::Update(Some(person)) = exchange.about {
            self.oracle.landed(person, &done);
            self.tell(|| format!("customer {person} has {done:?}"));
        }
        self.forget(id);
    }

    /// An exchange is over when it has arrived on both sides.
    fn forget(&mut self, id: u64) {
        let exchange = self.exchanges.get(&id);
        if exchange.is_some_and(|(_, exchange)| exchange.lands.is_none() && exchange.heard < 0) {
            self.exchanges.remove(&id);
        }
    }

    fn heard(&mut self, id: u64) -> Result<(), Violation> {
        let now = self.clock();
        let Some((number, exchange)) = self.exchanges.get_mut(&id) else {
            return Ok(());
        };
        let number = *number;
        exchange.heard = -1;
        let answer = exchange.answer(self.plan, (self.now, now));
        let is_there = match (&exchange.about, &answer) {
            (About::Retrieve(_), Heard::Lookup(LookupResult::Found(_))) => true,
            (About::Retrieve(_) | About::Search(_) | About::Update(_), _) => false,
        };
        self.forget(id);
        let life = self.life.as_mut().filter(|_| number.is_some());
        let number = number.unwrap_or_default();
        let Some(carried) = life.and_then(|life| life.flights.get_mut(&number)) else {
            return Ok(());
        };
        let lane = carried.flight.claimed.lane;
        match outcome(&answer) {
            // That a customer is there says nothing of the destination.
            None if is_there => self.manners.answered(lane),
            told => self.manners.heard(lane, told, self.now),
        }
        carried.asked += 1;
        let label = outcome(&answer).map_or("found", Outcome::label);
        let step = carried.flight.hear(answer, now);
        self.tell(|| format!("lane {} hears: {label}", lane.0));
        self.go_on(number, step)
    }

    fn nothing_learned(&self) -> Assessment {
        let life = self.life.as_ref();
        let condition = life.map_or(DestinationState::FIRST, |life| life.destination.condition());
        Assessment {
            condition,
            fault: Attribution::Unknown,
        }
    }

    fn conclude(&mut self, number: u64, conclusion: &Conclusion) -> Result<(), Violation> {
        if self.ends_here() {
            self.manners.forgets();
            return Ok(());
        }
        let (now, jitter) = (self.clock(), self.chance.jitter());
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        let Some(carried) = life.flights.remove(&number) else {
            return Ok(());
        };
        let flight = &carried.flight;
        let before = life.destination.condition();
        let (lane, trials) = (flight.claimed.lane, flight.claimed.trials);
        let news = self.bug.told(flight.signal(conclusion));
        let view = match news {
            Some(news) => life.destination.note(lane, trials, news, (now, jitter)),
            None => self.nothing_learned(),
        };
        self.remember(before, view.condition);
        let view = self.bug.seen(view);
        let decision = decide(flight, conclusion.clone(), view, &self.plan.rules);
        let decision = self.bug.decided(conclusion, decision);
        let mut settled = settlement(flight, decision, &self.plan.rules, (now, jitter));
        self.bug.written(&mut settled);
        self.tell(|| {
            let Settlement { endings, due, .. } = &settled;
            let due = due.since(now);
            format!(
                "lane {}: {conclusion:?}, {endings:?}, due in {due:?}, {view:?}",
                lane.0
            )
        });
        self.judged(&carried, conclusion, &settled)?;
        let answered = now_or_never(self.outbox.settle(settled.clone()));
        let freed_early = self.bug == Bug::FreesEarly;
        assert!(answered == Settled::Recorded || freed_early, "a lost lane");
        if self.bug == Bug::SettlesTwice {
            self.judged(&carried, conclusion, &settled)?;
        }
        if !self.ends_here() {
            self.wake();
        }
        Ok(())
    }

    fn judged(
        &mut self,
        carried: &Carried,
        conclusion: &Conclusion,
        settled: &Settlement,
    ) -> Result<(), Violation> {
        for (entry, _) in &settled.endings {
            self.oracle.is_isolated(*entry, self.now)?;
        }
        let sent = (carried.person, carried.said.as_slice());
        self.oracle.settled(settled, conclusion, sent)?;
        let before = carried.flight.claimed.trials;
        let spent =
            settled.trials.attempts > before.attempts || settled.endings.iter().any(is_exhausted);
        let failed = settled.trials.tried_at == Some(settled.at);
        let is_applied = matches!(
            conclusion,
            Conclusion::Updated(Outcome::Applied(_)) | Conclusion::NotCleared(_)
        );
        let lane: LaneId = settled.lane;
        if failed {
            let until = settled.due.as_millis() - self.offset;
            self.manners.rests(lane, until);
        }
        if settled.moved.is_some() {
            self.manners.released();
        }
        self.manners
            .settled(lane, is_applied, (spent, failed), self.now)
    }

    /// As `Dispatcher::remember` does.
    fn remember(&mut self, before: DestinationState, after: DestinationState) {
        match (before, after) {
            (_, DestinationState::Throttled { until, .. }) if before != after => {
                let until = until.as_millis().to_string();
                now_or_never(self.outbox.store_setting(Setting::ThrottledUntil, until));
            }
            (
                DestinationState::Probing { .. } | DestinationState::Stopped { .. },
                DestinationState::Flowing { .. },
            ) => {
                now_or_never(self.outbox.release(self.clock()));
                self.manners.released();
            }
            (_, _) => {}
        }
    }
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

const fn is_exhausted(ending: &(imprint_bridge::outbox::EntryId, Ending)) -> bool {
    let reason = match &ending.1 {
        Ending::Parked { reason, .. } => *reason,
        Ending::Delivered | Ending::Superseded(_) | Ending::Ignored | Ending::Undecided => {
            return false;
        }
    };
    matches!(reason, ParkReason::AttemptsExhausted)
}

/// What an answer says beside what was asked; `None` if a look-up found what there is.
const fn outcome(answer: &Heard) -> Option<&Outcome> {
    match answer {
        Heard::Outcome(outcome) | Heard::Lookup(LookupResult::Failed(outcome)) => Some(outcome),
        Heard::Lookup(
            LookupResult::Found(_) | LookupResult::NotFound | LookupResult::Ambiguous,
        ) => None,
    }
}

/// The engine in memory answers at once and has no reason to fail.
fn now_or_never<T>(answer: StoreFuture<'_, T>) -> T {
    answer
        .now_or_never()
        .expect("it never waits")
        .expect("it never fails")
}
