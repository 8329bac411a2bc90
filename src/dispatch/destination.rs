//! Whether anything may be sent at all: the destination as all dispatch threads see it.
//!
//! What it is like is a pure value ([`Condition`]); [`Destination`] shares one of them, the pace, and what was applied
//! last between threads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::condition::{Condition, Fault, Grant, News};
use super::flight::Ask;
use super::pace::{Pace, Rate};
use crate::outbox::{DUE_AHEAD_MAX, LaneId, Trials};
use crate::time::Timestamp;

/// The part of the rate that searches may take.
const SEARCH_SHARE: f64 = 0.2;
/// For how long an applied request speaks for the destination where a lane has not failed before.
const EVIDENCE_FRESH_MILLIS: i64 = 10_000;
/// How often it is asked whether a pause is over, although nobody said so.
const PAUSE_LOOK: Duration = Duration::from_secs(10);

/// How many lanes' requests are kept that were made in shadow only: enough to compare, and a bound.
const SHADOWS_MAX: usize = 1000;

/// What the operator wants of the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything that is due is sent.
    #[default]
    Open,
    /// Nothing is sent.
    Paused,
    /// Everything is done but the request itself.
    Shadow,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Open, Self::Paused, Self::Shadow];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Shadow => "shadow",
        }
    }

    /// The mode of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }
}

/// What a request means for its lane, seen beside all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// What the destination is like after it.
    pub condition: Condition,
    /// Whose fault it can be if it failed.
    pub fault: Fault,
}

/// A request beside the ones that follow from what waits: to find out what an answer means, or who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Something about a customer whose id is known.
    Question,
    /// Who somebody is; such requests get a share of the rate only.
    Search,
}

/// The destination, shared by all dispatch threads.
#[derive(Debug)]
pub struct Destination {
    /// Held only while a decision is made, never across an await.
    shared: Mutex<Shared>,
    changed: Notify,
}

/// A request that would have been made.
#[derive(Clone, PartialEq)]
pub struct Shadowed {
    /// When.
    pub at: Timestamp,
    /// Whom it is about, by whichever id.
    pub customer: String,
    /// What it is.
    pub operation: &'static str,
    /// Its body.
    pub body: Map<String, Value>,
}

/// Never the body: it is personal data.
impl fmt::Debug for Shadowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shadowed")
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Shared {
    mode: Mode,
    /// The last request of each lane that was made in shadow only.
    shadows: BTreeMap<LaneId, Shadowed>,
    condition: Condition,
    pace: Pace,
    searches: Pace,
    /// When the last of those who wait for a search has its turn.
    last_turn: Timestamp,
    applied: Applied,
}

/// The lanes that requests were last applied of: the last one, and the last one of another lane.
#[derive(Clone, Copy, Debug, Default)]
struct Applied {
    last: Option<(LaneId, Timestamp)>,
    other: Option<(LaneId, Timestamp)>,
}

impl Applied {
    fn note(&mut self, lane: LaneId, now: Timestamp) {
        if self.last.is_some_and(|(last, _)| last != lane) {
            self.other = self.last;
        }
        self.last = Some((lane, now));
    }

    /// When a request of another lane than this one was last applied.
    fn beside(&self, lane: LaneId) -> Option<Timestamp> {
        let of_another = |applied: &(LaneId, Timestamp)| applied.0 != lane;
        let newest_first = [self.last, self.other].into_iter().flatten();
        newest_first.filter(of_another).map(|(_, at)| at).next()
    }
}

impl Shared {
    /// Takes leave for a search, or says when it is their turn who ask for it. Each is told another moment: if all came
    /// back for the next search, all but one would come in vain.
    fn search(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        if self.searches.take(1, now) == 1 {
            return Ok(());
        }
        let turn = self.last_turn.max(now).after(self.searches.interval());
        self.last_turn = turn.min(now.after(DUE_AHEAD_MAX));
        Err(self.last_turn)
    }

    /// Without it a ramp would run dry, and with no answer to come nothing would ever be sent again.
    fn give_back(&mut self, granted: Grant, unused: usize, now: Timestamp) {
        if unused == 0 {
            return;
        }
        self.pace.give_back(unused);
        match granted {
            Grant::Probe => self.condition.unprobed(now),
            Grant::Lanes(_) => self.condition.given_back(unused),
            Grant::NotBefore(_) => {}
        }
    }
}

impl Destination {
    /// A destination that flows at this rate.
    pub fn new(rate: Rate, now: Timestamp) -> Self {
        let shared = Shared {
            mode: Mode::Open,
            shadows: BTreeMap::new(),
            condition: Condition::FIRST,
            pace: Pace::new(rate, now),
            searches: Pace::new(rate.share(SEARCH_SHARE), now),
            last_turn: now,
            applied: Applied::default(),
        };
        Self {
            shared: Mutex::new(shared),
            changed: Notify::new(),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is like.
    pub fn condition(&self) -> Condition {
        self.shared().condition
    }

    /// Whether it is sent to at a rate, and not as fast as concurrency allows.
    pub fn is_paced(&self) -> bool {
        self.shared().pace.is_limited()
    }

    /// What the operator wants of it.
    pub fn mode(&self) -> Mode {
        self.shared().mode
    }

    /// Does as the operator says.
    pub fn set_mode(&self, mode: Mode) {
        let mut shared = self.shared();
        shared.mode = mode;
        if mode != Mode::Shadow {
            shared.shadows.clear();
        }
        drop(shared);
        self.changed.notify_waiters();
    }

    /// Notes a request that would have been made.
    pub(super) fn shadowed(&self, lane: LaneId, ask: &Ask, at: Timestamp) {
        let (customer, operation, body) = match ask {
            Ask::Update(request) => (
                request.customer.as_str(),
                "update",
                request.body.to_object(),
            ),
            Ask::Retrieve(customer) => (customer.as_str(), "retrieve", Map::new()),
            Ask::Search(partner) => (partner.as_str(), "search", Map::new()),
        };
        let mut shared = self.shared();
        if shared.shadows.len() >= SHADOWS_MAX && !shared.shadows.contains_key(&lane) {
            shared.shadows.pop_first();
        }
        let shadowed = Shadowed {
            at,
            customer: customer.to_owned(),
            operation,
            body,
        };
        shared.shadows.insert(lane, shadowed);
        // No answer will come that lets others follow.
        shared.condition.given_back(1);
    }

    /// The requests that would have been made: the last one of each lane, up to a bound.
    pub fn shadows(&self) -> Vec<Shadowed> {
        self.shared().shadows.values().cloned().collect()
    }

    /// Goes on with a wait that it asked for before this process was there.
    pub fn wait_until(&self, until: Timestamp) {
        self.shared().condition = Condition::Throttled { until, streak: 1 };
    }

    /// Asks for leave to send up to `wanted` lanes.
    pub fn grant(&self, wanted: usize, now: Timestamp) -> Grant {
        let mut shared = self.shared();
        let admitted = match shared.mode {
            Mode::Open | Mode::Shadow => shared.condition.admits(wanted, now),
            Mode::Paused => Grant::NotBefore(now.after(PAUSE_LOOK)),
        };
        let taken = shared.pace.take(admitted.lanes(), now);
        match admitted {
            Grant::NotBefore(_) => admitted,
            Grant::Lanes(_) | Grant::Probe if taken == 0 => Grant::NotBefore(shared.pace.next()),
            Grant::Lanes(_) => {
                shared.condition.granted(taken);
                Grant::Lanes(taken)
            }
            Grant::Probe => {
                shared.condition.probed(now);
                Grant::Probe
            }
        }
    }

    /// Whether a place that was granted counts no more: while its lane was claimed, the destination came to refuse
    /// everybody, or the operator to want nothing sent.
    pub fn is_withdrawn(&self, place: Grant, now: Timestamp) -> bool {
        let shared = self.shared();
        match place {
            _ if shared.mode == Mode::Paused => true,
            Grant::Lanes(_) => !shared.condition.lets_go(now),
            Grant::Probe | Grant::NotBefore(_) => false,
        }
    }

    /// Gives back what was granted and not used: fewer lanes had something to send, or a lane had nothing to ask.
    pub fn give_back(&self, granted: Grant, used: usize, now: Timestamp) {
        let unused = granted.lanes().saturating_sub(used);
        self.shared().give_back(granted, unused, now);
    }

    /// Lets a search have the place that was granted to its lane, or takes the place back and says when to ask again.
    ///
    /// # Errors
    /// The moment before which there is no use in asking again.
    pub fn search_instead(&self, place: Grant, now: Timestamp) -> Result<(), Timestamp> {
        let mut shared = self.shared();
        let searched = shared.search(now);
        if searched.is_err() {
            shared.give_back(place, 1, now);
        }
        searched
    }

    /// Asks for leave to make one more request, or says when to ask again.
    ///
    /// # Errors
    /// The moment before which there is no use in asking again.
    pub fn extra(&self, extra: Extra, now: Timestamp) -> Result<(), Timestamp> {
        let mut shared = self.shared();
        if extra == Extra::Search {
            shared.search(now)?;
        }
        if shared.pace.take(1, now) == 1 {
            return Ok(());
        }
        if extra == Extra::Search {
            shared.searches.give_back(1);
        }
        Err(shared.pace.next())
    }

    /// Learns what came of a request of a lane; says what that means for the lane.
    pub fn note(
        &self,
        lane: LaneId,
        trials: Trials,
        news: News,
        (now, jitter): (Timestamp, f64),
    ) -> View {
        let mut shared = self.shared();
        let lately = now.as_millis().saturating_sub(EVIDENCE_FRESH_MILLIS);
        let lately = Timestamp::from_millis(lately);
        let since = trials.tried_at.unwrap_or(lately);
        let others_applied = shared.applied.beside(lane).is_some_and(|at| at >= since);
        let before = shared.condition;
        let fault = match before {
            Condition::Flowing { .. } if others_applied => Fault::OfTheLane,
            Condition::Flowing { .. }
            | Condition::Throttled { .. }
            | Condition::Probing { .. }
            | Condition::Stopped { .. } => Fault::OfAnyone,
        };
        shared.condition = before.after(news, fault, now, jitter);
        if news == News::Applied {
            shared.applied.note(lane, now);
        }
        let condition = shared.condition;
        drop(shared);
        if before != condition {
            self.changed.notify_waiters();
        }
        View { condition, fault }
    }

    /// Tries at once whether it takes us again, because the key is another one.
    pub fn probe_now(&self, now: Timestamp) {
        if let Condition::Stopped { probe_at } = &mut self.shared().condition {
            *probe_at = now;
        }
        self.changed.notify_waiters();
    }

    /// Resolves when something has changed since the future was made.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn later(seconds: u64) -> Timestamp {
        NOW.after(Duration::from_secs(seconds))
    }

    fn unlimited() -> Destination {
        Destination::new(Rate::Unlimited, NOW)
    }

    fn note(destination: &Destination, lane: u64, news: News, now: Timestamp) -> View {
        destination.note(LaneId(lane), Trials::default(), news, (now, 0.5))
    }

    /// U25: one probe every 30 s, and at once when the key changes.
    #[test]
    fn a_refused_key_lets_one_probe_through_every_thirty_seconds() {
        let destination = unlimited();
        assert_eq!(destination.grant(8, NOW), Grant::Lanes(8));
        note(&destination, 1, News::Refused, NOW);
        note(&destination, 2, News::Refused, later(9));
        assert_eq!(destination.grant(8, later(10)), Grant::NotBefore(later(30)));
        assert_eq!(destination.grant(8, later(30)), Grant::Probe);
        assert_eq!(destination.grant(8, later(31)), Grant::NotBefore(later(60)));
        destination.probe_now(later(32));
        assert_eq!(destination.grant(8, later(32)), Grant::Probe);
        note(&destination, 1, News::Applied, later(33));
        assert_eq!(destination.grant(8, later(33)), Grant::Lanes(2));
    }

    #[test]
    fn a_probe_that_found_nothing_to_send_stays_due() {
        let destination = unlimited();
        note(&destination, 1, News::Refused, NOW);
        assert_eq!(destination.grant(8, later(30)), Grant::Probe);
        destination.give_back(Grant::Probe, 0, later(30));
        assert_eq!(destination.grant(8, later(31)), Grant::Probe);
    }

    /// O06, V9: what is a lane's own fault is seen by what becomes of the others.
    #[test]
    fn a_failure_is_a_lanes_own_if_another_one_was_served_since_its_last() {
        let destination = unlimited();
        let failed = |lane: u64, tried_at, now| {
            let trials = Trials {
                tried_at,
                ..Trials::default()
            };
            let view = destination.note(LaneId(lane), trials, News::Failed, (now, 0.5));
            view.fault
        };
        assert_eq!(failed(1, None, NOW), Fault::OfAnyone);
        note(&destination, 1, News::Applied, later(1));
        assert_eq!(failed(1, Some(NOW), later(2)), Fault::OfAnyone, "its own");
        note(&destination, 2, News::Applied, later(3));
        assert_eq!(failed(1, Some(later(2)), later(4)), Fault::OfTheLane);
        assert_eq!(failed(1, Some(later(4)), later(5)), Fault::OfAnyone);
        assert_eq!(failed(2, Some(NOW), later(6)), Fault::OfTheLane);
        assert_eq!(failed(3, None, later(7)), Fault::OfTheLane);
        assert_eq!(failed(3, None, later(60)), Fault::OfAnyone, "long ago");
    }

    /// Seed 70 of the simulation: lanes that turn out to have nothing to ask used up the ramp, and all stood still for ever.
    #[test]
    fn what_had_nothing_to_ask_leaves_the_ramp_and_the_probe_to_others() {
        let destination = Destination::new(Rate::PerSecond(1.0), NOW);
        note(&destination, 1, News::Refused, NOW);
        let probe = destination.grant(8, later(30));
        assert_eq!(probe, Grant::Probe);
        destination.give_back(probe.of_one(), 0, later(30));
        assert_eq!(destination.grant(8, later(30)), Grant::Probe, "still due");
        note(&destination, 1, News::Applied, later(31));
        for second in 31..40 {
            let granted = destination.grant(8, later(second));
            assert_eq!(granted, Grant::Lanes(1), "in second {second}");
            destination.give_back(granted.of_one(), 0, later(second));
        }
    }

    #[test]
    fn a_search_takes_the_place_of_its_lane_or_leaves_it() {
        let destination = Destination::new(Rate::PerSecond(10.0), NOW);
        assert_eq!(destination.grant(8, NOW), Grant::Lanes(1));
        assert_eq!(destination.search_instead(Grant::Lanes(1), NOW), Ok(()));
        assert_eq!(destination.grant(8, NOW).lanes(), 0);
        let soon = NOW.after(Duration::from_millis(100));
        assert_eq!(destination.grant(8, soon), Grant::Lanes(1));
        let again = destination.search_instead(Grant::Lanes(1), soon);
        assert_eq!(again, Err(soon.after(Duration::from_millis(500))));
        assert_eq!(destination.grant(8, soon), Grant::Lanes(1));
    }

    #[test]
    fn a_paused_destination_gets_nothing_until_it_is_resumed() {
        let destination = unlimited();
        destination.set_mode(Mode::Paused);
        assert_eq!(destination.grant(8, NOW).lanes(), 0);
        destination.set_mode(Mode::Open);
        assert_eq!(destination.grant(8, NOW).lanes(), 8);
        for mode in Mode::ALL {
            assert_eq!(Mode::parse(mode.as_str()), Some(mode));
        }
    }

    /// V8: lanes that were being claimed while the key was found refused do not go out after all.
    #[test]
    fn what_was_granted_before_it_stopped_is_withdrawn() {
        let destination = unlimited();
        let place = destination.grant(8, NOW).of_one();
        assert!(!destination.is_withdrawn(place, NOW));
        note(&destination, 1, News::Refused, NOW);
        assert!(destination.is_withdrawn(place, NOW));
        let probe = destination.grant(8, later(30));
        assert!(!destination.is_withdrawn(probe, later(30)), "a probe goes");
        note(&destination, 1, News::Applied, later(31));
        assert!(!destination.is_withdrawn(place, later(31)));
        destination.set_mode(Mode::Paused);
        assert!(destination.is_withdrawn(place, later(31)));
        destination.set_mode(Mode::Open);
        note(&destination, 1, News::Throttled(None), later(32));
        assert!(destination.is_withdrawn(place, later(32)));
        assert!(!destination.is_withdrawn(place, later(40)), "it is over");
    }

    /// N18: searches and questions count, and searches get a fifth.
    #[test]
    fn extra_requests_take_from_the_same_rate() {
        let destination = Destination::new(Rate::PerSecond(10.0), NOW);
        let mut searches = 0;
        for tenth in 0..600_u64 {
            let now = NOW.after(Duration::from_millis(tenth * 100));
            searches += u64::from(destination.extra(Extra::Search, now).is_ok());
        }
        assert!((110..=122).contains(&searches), "{searches} in a minute");
        let minute = later(60);
        // V9: who has to wait is told when it is their turn, and not to come back for the next one.
        let turns = (0..4).filter_map(|_| destination.extra(Extra::Search, minute).err());
        let turns: Vec<u128> = turns.map(|turn| turn.since(minute).as_millis()).collect();
        assert!(turns.len() >= 3, "{turns:?}");
        assert!(
            turns.windows(2).all(|pair| pair[1] >= pair[0] + 500),
            "{turns:?}"
        );
        let second = later(61);
        assert_eq!(destination.grant(100, second).lanes(), 1);
        assert!(destination.extra(Extra::Question, second).is_err());
    }
}
