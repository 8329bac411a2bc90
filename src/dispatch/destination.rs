//! Whether anything may be sent at all: the destination as all dispatch threads see it.
//!
//! What it is like is a pure value ([`DestinationState`]); [`Destination`] shares one of them, the pace, and what was applied
//! last between threads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::breaker::{Admission, Attribution, DestinationState, Signal};
use super::lane_exchange::ImprintCall;
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
pub enum OperatorMode {
    /// Everything that is due is sent.
    #[default]
    Open,
    /// Nothing is sent.
    Paused,
    /// Everything is done but the request itself.
    Shadow,
}

impl OperatorMode {
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
pub struct Assessment {
    /// What the destination is like after it.
    pub condition: DestinationState,
    /// Whose fault it can be if it failed.
    pub fault: Attribution,
}

/// A request beside the ones that follow from what waits: to find out what an answer means, or who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowUp {
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
pub struct ShadowRecord {
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
impl fmt::Debug for ShadowRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowRecord")
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Shared {
    mode: OperatorMode,
    /// The last request of each lane that was made in shadow only.
    shadows: BTreeMap<LaneId, ShadowRecord>,
    condition: DestinationState,
    pace: Pace,
    searches: Pace,
    /// When the last of those who wait for a search has its turn.
    last_turn: Timestamp,
    applied: LastApplied,
}

/// The lanes that requests were last applied of: the last one, and the last one of another lane.
#[derive(Clone, Copy, Debug, Default)]
struct LastApplied {
    last: Option<(LaneId, Timestamp)>,
    other: Option<(LaneId, Timestamp)>,
}

impl LastApplied {
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
    fn give_back(&mut self, granted: Admission, unused: usize, now: Timestamp) {
        if unused == 0 {
            return;
        }
        self.pace.give_back(unused);
        match granted {
            Admission::Probe => self.condition.unprobed(now),
            Admission::Lanes(_) => self.condition.given_back(unused),
            Admission::NotBefore(_) => {}
        }
    }
}

impl Destination {
    /// A destination that flows at this rate.
    pub fn new(rate: Rate, now: Timestamp) -> Self {
        let shared = Shared {
            mode: OperatorMode::Open,
            shadows: BTreeMap::new(),
            condition: DestinationState::FIRST,
            pace: Pace::new(rate, now),
            searches: Pace::new(rate.share(SEARCH_SHARE), now),
            last_turn: now,
            applied: LastApplied::default(),
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
    pub fn condition(&self) -> DestinationState {
        self.shared().condition
    }

    /// Whether it is sent to at a rate, and not as fast as concurrency allows.
    pub fn is_paced(&self) -> bool {
        self.shared().pace.is_limited()
    }

    /// What the operator wants of it.
    pub fn mode(&self) -> OperatorMode {
        self.shared().mode
    }

    /// Does as the operator says.
    pub fn set_mode(&self, mode: OperatorMode) {
        let mut shared = self.shared();
        shared.mode = mode;
        if mode != OperatorMode::Shadow {
            shared.shadows.clear();
        }
        drop(shared);
        self.changed.notify_waiters();
    }

    /// Notes a request that would have been made.
    pub(super) fn shadowed(&self, lane: LaneId, ask: &ImprintCall, at: Timestamp) {
        let (customer, operation, body) = match ask {
            ImprintCall::Update(request) => (
                request.customer.as_str(),
                "update",
                request.body.to_object(),
            ),
            ImprintCall::Retrieve(customer) => (customer.as_str(), "retrieve", Map::new()),
            ImprintCall::Search(partner) => (partner.as_str(), "search", Map::new()),
        };
        let mut shared = self.shared();
        if shared.shadows.len() >= SHADOWS_MAX && !shared.shadows.contains_key(&lane) {
            shared.shadows.pop_first();
        }
        let shadowed = ShadowRecord {
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
    pub fn shadow_records(&self) -> Vec<ShadowRecord> {
        self.shared().shadows.values().cloned().collect()
    }

    /// Goes on with a wait that it asked for before this process was there.
    pub fn wait_until(&self, until: Timestamp) {
        self.shared().condition = DestinationState::Throttled { until, streak: 1 };
    }

    /// Asks for leave to send up to `wanted` lanes.
    pub fn grant(&self, wanted: usize, now: Timestamp) -> Admission {
        let mut shared = self.shared();
        let admitted = match shared.mode {
            OperatorMode::Open | OperatorMode::Shadow => shared.condition.admits(wanted, now),
            OperatorMode::Paused => Admission::NotBefore(now.after(PAUSE_LOOK)),
        };
        let taken = shared.pace.take(admitted.lanes(), now);
        match admitted {
            Admission::NotBefore(_) => admitted,
            Admission::Lanes(_) | Admission::Probe if taken == 0 => {
                Admission::NotBefore(shared.pace.next())
            }
            Admission::Lanes(_) => {
                shared.condition.granted(taken);
                Admission::Lanes(taken)
            }
            Admission::Probe => {
                shared.condition.probed(now);
                Admission::Probe
            }
        }
    }

    /// Whether a place that was granted counts no more: while its lane was claimed, the destination came to refuse
    /// everybody, or the operator to want nothing sent.
    pub fn is_withdrawn(&self, place: Admission, now: Timestamp) -> bool {
        let shared = self.shared();
        match place {
            _ if shared.mode == OperatorMode::Paused => true,
            Admission::Lanes(_) => !shared.condition.lets_go(now),
            Admission::Probe | Admission::NotBefore(_) => false,
        }
    }

    /// Gives back what was granted and not used: fewer lanes had something to send, or a lane had nothing to ask.
    pub fn give_back(&self, granted: Admission, used: usize, now: Timestamp) {
        let unused = granted.lanes().saturating_sub(used);
        self.shared().give_back(granted, unused, now);
    }

    /// Lets a search have the place that was granted to its lane, or takes the place back and says when to ask again.
    ///
    /// # Errors
    /// The moment before which there is no use in asking again.
    pub fn search_instead(&self, place: Admission, now: Timestamp) -> Result<(), Timestamp> {
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
    pub fn extra(&self, extra: FollowUp, now: Timestamp) -> Result<(), Timestamp> {
        let mut shared = self.shared();
        if extra == FollowUp::Search {
            shared.search(now)?;
        }
        if shared.pace.take(1, now) == 1 {
            return Ok(());
        }
        if extra == FollowUp::Search {
            shared.searches.give_back(1);
        }
        Err(shared.pace.next())
    }

    /// Learns what came of a request of a lane; says what that means for the lane.
    pub fn note(
        &self,
        lane: LaneId,
        trials: Trials,
        signal: Signal,
        (now, jitter): (Timestamp, f64),
    ) -> Assessment {
        let mut shared = self.shared();
        let lately = now.as_millis().saturating_sub(EVIDENCE_FRESH_MILLIS);
        let lately = Timestamp::from_millis(lately);
        let since = trials.tried_at.unwrap_or(lately);
        let others_applied = shared.applied.beside(lane).is_some_and(|at| at >= since);
        let before = shared.condition;
        let fault = match before {
            DestinationState::Flowing { .. } if others_applied => Attribution::Lane,
            DestinationState::Flowing { .. }
            | DestinationState::Throttled { .. }
            | DestinationState::Probing { .. }
            | DestinationState::Stopped { .. } => Attribution::Unknown,
        };
        shared.condition = before.after(signal, fault, now, jitter);
        if signal == Signal::Applied {
            shared.applied.note(lane, now);
        }
        let condition = shared.condition;
        drop(shared);
        if before != condition {
            self.changed.notify_waiters();
        }
        Assessment { condition, fault }
    }

    /// Tries at once whether it takes us again, because the key is another one.
    pub fn probe_now(&self, now: Timestamp) {
        if let DestinationState::Stopped { probe_at } = &mut self.shared().condition {
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

    fn note(destination: &Destination, lane: u64, signal: Signal, now: Timestamp) -> Assessment {
        destination.note(LaneId(lane), Trials::default(), signal, (now, 0.5))
    }

    /// U25: one probe every 30 s, and at once when the key changes.
    #[test]
    fn a_refused_key_lets_one_probe_through_every_thirty_seconds() {
        let destination = unlimited();
        assert_eq!(destination.grant(8, NOW), Admission::Lanes(8));
        note(&destination, 1, Signal::Refused, NOW);
        note(&destination, 2, Signal::Refused, later(9));
        assert_eq!(
            destination.grant(8, later(10)),
            Admission::NotBefore(later(30))
        );
        assert_eq!(destination.grant(8, later(30)), Admission::Probe);
        assert_eq!(
            destination.grant(8, later(31)),
            Admission::NotBefore(later(60))
        );
        destination.probe_now(later(32));
        assert_eq!(destination.grant(8, later(32)), Admission::Probe);
        note(&destination, 1, Signal::Applied, later(33));
        assert_eq!(destination.grant(8, later(33)), Admission::Lanes(2));
    }

    #[test]
    fn a_probe_that_found_nothing_to_send_stays_due() {
        let destination = unlimited();
        note(&destination, 1, Signal::Refused, NOW);
        assert_eq!(destination.grant(8, later(30)), Admission::Probe);
        destination.give_back(Admission::Probe, 0, later(30));
        assert_eq!(destination.grant(8, later(31)), Admission::Probe);
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
            let view = destination.note(LaneId(lane), trials, Signal::Failed, (now, 0.5));
            view.fault
        };
        assert_eq!(failed(1, None, NOW), Attribution::Unknown);
        note(&destination, 1, Signal::Applied, later(1));
        assert_eq!(
            failed(1, Some(NOW), later(2)),
            Attribution::Unknown,
            "its own"
        );
        note(&destination, 2, Signal::Applied, later(3));
        assert_eq!(failed(1, Some(later(2)), later(4)), Attribution::Lane);
        assert_eq!(failed(1, Some(later(4)), later(5)), Attribution::Unknown);
        assert_eq!(failed(2, Some(NOW), later(6)), Attribution::Lane);
        assert_eq!(failed(3, None, later(7)), Attribution::Lane);
        assert_eq!(failed(3, None, later(60)), Attribution::Unknown, "long ago");
    }

    /// Seed 70 of the simulation: lanes that turn out to have nothing to ask used up the ramp, and all stood still for ever.
    #[test]
    fn what_had_nothing_to_ask_leaves_the_ramp_and_the_probe_to_others() {
        let destination = Destination::new(Rate::PerSecond(1.0), NOW);
        note(&destination, 1, Signal::Refused, NOW);
        let probe = destination.grant(8, later(30));
        assert_eq!(probe, Admission::Probe);
        destination.give_back(probe.of_one(), 0, later(30));
        assert_eq!(
            destination.grant(8, later(30)),
            Admission::Probe,
            "still due"
        );
        note(&destination, 1, Signal::Applied, later(31));
        for second in 31..40 {
            let granted = destination.grant(8, later(second));
            assert_eq!(granted, Admission::Lanes(1), "in second {second}");
            destination.give_back(granted.of_one(), 0, later(second));
        }
    }

    #[test]
    fn a_search_takes_the_place_of_its_lane_or_leaves_it() {
        let destination = Destination::new(Rate::PerSecond(10.0), NOW);
        assert_eq!(destination.grant(8, NOW), Admission::Lanes(1));
        assert_eq!(destination.search_instead(Admission::Lanes(1), NOW), Ok(()));
        assert_eq!(destination.grant(8, NOW).lanes(), 0);
        let soon = NOW.after(Duration::from_millis(100));
        assert_eq!(destination.grant(8, soon), Admission::Lanes(1));
        let again = destination.search_instead(Admission::Lanes(1), soon);
        assert_eq!(again, Err(soon.after(Duration::from_millis(500))));
        assert_eq!(destination.grant(8, soon), Admission::Lanes(1));
    }

    #[test]
    fn a_paused_destination_gets_nothing_until_it_is_resumed() {
        let destination = unlimited();
        destination.set_mode(OperatorMode::Paused);
        assert_eq!(destination.grant(8, NOW).lanes(), 0);
        destination.set_mode(OperatorMode::Open);
        assert_eq!(destination.grant(8, NOW).lanes(), 8);
        for mode in OperatorMode::ALL {
            assert_eq!(OperatorMode::parse(mode.as_str()), Some(mode));
        }
    }

    /// V8: lanes that were being claimed while the key was found refused do not go out after all.
    #[test]
    fn what_was_granted_before_it_stopped_is_withdrawn() {
        let destination = unlimited();
        let place = destination.grant(8, NOW).of_one();
        assert!(!destination.is_withdrawn(place, NOW));
        note(&destination, 1, Signal::Refused, NOW);
        assert!(destination.is_withdrawn(place, NOW));
        let probe = destination.grant(8, later(30));
        assert!(!destination.is_withdrawn(probe, later(30)), "a probe goes");
        note(&destination, 1, Signal::Applied, later(31));
        assert!(!destination.is_withdrawn(place, later(31)));
        destination.set_mode(OperatorMode::Paused);
        assert!(destination.is_withdrawn(place, later(31)));
        destination.set_mode(OperatorMode::Open);
        note(&destination, 1, Signal::Throttled(None), later(32));
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
            searches += u64::from(destination.extra(FollowUp::Search, now).is_ok());
        }
        assert!((110..=122).contains(&searches), "{searches} in a minute");
        let minute = later(60);
        // V9: who has to wait is told when it is their turn, and not to come back for the next one.
        let turns = (0..4).filter_map(|_| destination.extra(FollowUp::Search, minute).err());
        let turns: Vec<u128> = turns.map(|turn| turn.since(minute).as_millis()).collect();
        assert!(turns.len() >= 3, "{turns:?}");
        assert!(
            turns.windows(2).all(|pair| pair[1] >= pair[0] + 500),
            "{turns:?}"
        );
        let second = later(61);
        assert_eq!(destination.grant(100, second).lanes(), 1);
        assert!(destination.extra(FollowUp::Question, second).is_err());
    }
}
