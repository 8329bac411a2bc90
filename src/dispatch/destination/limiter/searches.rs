//! The share of the request rate for searches, divided fairly between the sources. This module is pure: it does no IO
//! and reads no clock.
//!
//! If no token is free, a search gets a *turn*: the time at which its lane asks for a token again. If searches of
//! several sources have turns, each source gets an equal part of the tokens. Thousands of unknown customers of one
//! source therefore do not delay the customers of a different source. A single source gets all tokens.
//!
//! A lane that asks before its turn keeps the turn, unless a different source of the lane gives the lane an earlier
//! turn. A lane asks early when an event of a different source names its customer, and when the destination recovers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::dispatch::pace::{Pace, Rate};
use crate::event::SourceName;
use crate::outbox::{DUE_AHEAD_MAX, LaneId};
use crate::time::Timestamp;

/// The share of the request rate for searches.
const SEARCH_SHARE: f64 = 0.2;
/// For this time after the last turn of a source, the other sources leave tokens for this source. A lane asks within
/// this time, unless its entries no longer need a search.
const TURN_KEPT: Duration = Duration::from_secs(2);
/// The maximum number of lanes whose turns the limiter remembers. This number limits the memory to about 2 MiB. If a
/// further lane asks before its turn, it gets a new turn after the other lanes.
const LANES_MAX: usize = 16_384;

/// The tokens for searches, and the turns of each source.
#[derive(Debug)]
pub(super) struct SearchTurns {
    pace: Pace,
    /// The sources that have a turn, or that have just taken a token. The key `None` is for searches whose source is
    /// unknown.
    sources: BTreeMap<Option<SourceName>, SourceTurns>,
    lanes: LaneTurns,
}

/// The turns of lanes that have not come yet.
#[derive(Debug, Default)]
struct LaneTurns {
    of_lane: HashMap<LaneId, Timestamp>,
    in_order: BTreeSet<(Timestamp, LaneId)>,
}

#[derive(Clone, Copy, Debug)]
struct SourceTurns {
    /// While a different source waits, this source can take its next token at this time or later.
    next: Timestamp,
    /// The turn of the first waiting search of the source.
    head: Timestamp,
    /// The latest turn of a search of the source. `None` means that no search of the source waits for its turn.
    last_turn: Option<Timestamp>,
}

impl SourceTurns {
    const fn new(now: Timestamp) -> Self {
        Self {
            next: now,
            head: now,
            last_turn: None,
        }
    }

    /// Returns whether the turn of the first waiting search has passed.
    fn is_head_free(&self, now: Timestamp) -> bool {
        self.head <= now
    }

    fn waits(&self, now: Timestamp) -> bool {
        self.last_turn
            .is_some_and(|turn| now <= turn.after(TURN_KEPT))
    }
}

impl LaneTurns {
    /// Forgets the turns that have come.
    fn forget_past(&mut self, now: Timestamp) {
        while let Some((turn, lane)) = self.in_order.first().copied() {
            if now < turn {
                return;
            }
            self.in_order.pop_first();
            self.of_lane.remove(&lane);
        }
    }

    fn remove(&mut self, lane: LaneId) {
        if let Some(turn) = self.of_lane.remove(&lane) {
            self.in_order.remove(&(turn, lane));
        }
    }

    /// Gives a lane this turn in place of an earlier one.
    fn give(&mut self, lane: LaneId, turn: Timestamp) {
        self.remove(lane);
        if self.of_lane.len() < LANES_MAX {
            self.of_lane.insert(lane, turn);
            self.in_order.insert((turn, lane));
        }
    }
}

impl SearchTurns {
    pub(super) fn new(rate: Rate, now: Timestamp) -> Self {
        Self {
            pace: Pace::new(rate.share(SEARCH_SHARE), now),
            sources: BTreeMap::new(),
            lanes: LaneTurns::default(),
        }
    }

    /// Takes a token for a search of a lane with entries of these sources. If no token is free, returns the turn of the
    /// lane: the time at which the caller must ask again for this lane.
    ///
    /// Each lane gets a different turn: if all lanes asked again at the same time, only one of them would get a token.
    pub(super) fn take(
        &mut self,
        lane: LaneId,
        sources: &[SourceName],
        now: Timestamp,
    ) -> Result<(), Timestamp> {
        self.sources
            .retain(|_, turns| turns.waits(now) || turns.next > now);
        self.lanes.forget_past(now);
        let source = self.first_in_line(sources, now);
        let waiting = self.sources.iter().filter(|(_, turns)| turns.waits(now));
        let others = waiting.filter(|(other, _)| **other != source);
        let others = u32::try_from(others.count()).unwrap_or(u32::MAX);
        // The time between two tokens of a source if all waiting sources get equal parts.
        let interval = self
            .pace
            .interval()
            .saturating_mul(others.saturating_add(1));
        let turns = self.sources.get(&source);
        let is_turn = others == 0 || turns.is_none_or(|turns| turns.next <= now);
        if is_turn && self.pace.take(1, now) == 1 {
            self.lanes.remove(lane);
            self.took(source, interval, now);
            return Ok(());
        }
        let turn = self.next_turn(&source, interval, now);
        if let Some(kept) = self.lanes.of_lane.get(&lane).filter(|kept| **kept <= turn) {
            return Err(*kept);
        }
        self.lanes.give(lane, turn);
        self.give_turn(source, turn, now);
        Err(turn)
    }

    /// Returns, of the lane's sources, the source that gets a token first. A source that can take a token now comes
    /// before the other sources, and a source without waiting searches comes before the sources with waiting searches.
    fn first_in_line(&self, sources: &[SourceName], now: Timestamp) -> Option<SourceName> {
        let sources = sources.iter().cloned().map(Some);
        let line = |source: &Option<SourceName>| {
            let turns = self.sources.get(source);
            let waits_for_token = turns.is_some_and(|turns| now < turns.next);
            (
                waits_for_token,
                turns.map(|turns| (turns.last_turn, turns.next)),
            )
        };
        sources.min_by_key(line).flatten()
    }

    /// Records that a source took a token. If the latest turn of the source has passed, no search of the source waits
    /// any more.
    fn took(&mut self, source: Option<SourceName>, interval: Duration, now: Timestamp) {
        let turns = self
            .sources
            .entry(source)
            .or_insert_with(|| SourceTurns::new(now));
        // If the source took this token late, the source can take the next token earlier.
        let late = now.since(turns.next);
        turns.next = now.after(interval.saturating_sub(late));
        turns.last_turn = turns.last_turn.filter(|turn| *turn > now);
    }

    /// Gives this turn to a search of this source.
    fn give_turn(&mut self, source: Option<SourceName>, turn: Timestamp, now: Timestamp) {
        let turns = self
            .sources
            .entry(source)
            .or_insert_with(|| SourceTurns::new(now));
        if turns.is_head_free(now) {
            turns.head = turn;
        }
        turns.last_turn = turns.last_turn.max(Some(turn));
    }

    /// Returns the turn that a search of this source would get.
    ///
    /// The first waiting search asks again as soon as a token for the source can be free. Each later search gets a turn
    /// one interval after the search before.
    fn next_turn(
        &self,
        source: &Option<SourceName>,
        interval: Duration,
        now: Timestamp,
    ) -> Timestamp {
        let token = self.pace.next();
        let turn = match self.sources.get(source) {
            Some(turns) if turns.is_head_free(now) => turns.next.max(token),
            Some(turns) => turns.last_turn.unwrap_or(turns.head).after(interval),
            None => token,
        };
        turn.min(now.after(DUE_AHEAD_MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(0).after(Duration::from_millis(millis))
    }

    fn lane_id(lane: usize) -> LaneId {
        LaneId(u64::try_from(lane).unwrap())
    }

    fn source(name: &str) -> Vec<SourceName> {
        vec![SourceName::parse(name).unwrap()]
    }

    /// Simulates lanes that ask again at their turns, as dispatch does. Returns the times of the searches of each
    /// source.
    fn run(
        turns: &mut SearchTurns,
        lanes: &[(&str, u64)],
        until: u64,
    ) -> BTreeMap<String, Vec<u64>> {
        let arrivals = lanes.iter().enumerate();
        let mut due: BTreeSet<(u64, usize)> = arrivals
            .map(|(lane, (_, arrives))| (*arrives, lane))
            .collect();
        let mut taken: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        while let Some((now, lane)) = due.pop_first().filter(|(now, _)| *now < until) {
            let name = lanes[lane].0;
            match turns.take(lane_id(lane), &source(name), at(now)) {
                Ok(()) => taken.entry(name.to_owned()).or_default().push(now),
                Err(turn) => {
                    let turn = u64::try_from(turn.as_millis()).unwrap();
                    due.insert((turn.max(now + 1), lane));
                }
            }
        }
        taken
    }

    fn flood(name: &'static str, count: usize, arrives: u64) -> Vec<(&'static str, u64)> {
        vec![(name, arrives); count]
    }

    /// FAULTS N302: however many searches one source has, a search of a different source waits for at most three
    /// intervals.
    #[test]
    fn a_flood_of_one_source_does_not_delay_another_source() {
        for count in [1, 2, 10, 300, 3_000] {
            let mut turns = SearchTurns::new(Rate::PerSecond(20.0), at(0));
            let calm = [1_000, 5_000, 9_000, 14_900].map(|arrives| ("calm", arrives));
            let lanes = [flood("busy", count, 0), calm.to_vec()].concat();
            let taken = run(&mut turns, &lanes, 20_000);
            for (searched, (_, arrived)) in taken["calm"].iter().zip(calm) {
                assert!(searched - arrived <= 750, "{count}: {taken:?}");
            }
            assert_eq!(taken["calm"].len(), 4, "{count}");
        }
    }

    /// A source that searches alone gets all tokens, even after a different source has searched.
    #[test]
    fn a_single_source_gets_the_whole_share() {
        let mut turns = SearchTurns::new(Rate::PerSecond(20.0), at(0));
        let lanes = [flood("busy", 100, 0), flood("calm", 1, 2_000)].concat();
        let taken = run(&mut turns, &lanes, 25_000);
        assert!(taken["busy"].len() >= 90, "{}", taken["busy"].len());
    }

    #[test]
    fn sources_that_flood_get_equal_parts() {
        let mut turns = SearchTurns::new(Rate::PerSecond(20.0), at(0));
        let lanes = [
            flood("one", 1_000, 0),
            flood("two", 100, 3_000),
            flood("three", 100, 6_000),
        ];
        let taken = run(&mut turns, &lanes.concat(), 66_000);
        for name in ["one", "two", "three"] {
            let late = taken[name].iter().filter(|time| **time >= 6_000).count();
            assert!((70..=90).contains(&late), "{name}: {late}");
        }
    }

    /// A source whose lane never asks again soon loses its part of the tokens.
    #[test]
    fn a_turn_that_nobody_takes_expires() {
        let mut turns = SearchTurns::new(Rate::PerSecond(20.0), at(0));
        assert_eq!(turns.take(LaneId(1), &source("busy"), at(0)), Ok(()));
        let turn = turns.take(LaneId(2), &source("gone"), at(0)).unwrap_err();
        assert_eq!(turn, at(251));
        let mut searches = 0;
        for now in (0..10_000).step_by(250) {
            let taken = turns.take(LaneId(3), &source("busy"), at(now));
            searches += usize::from(taken.is_ok());
        }
        assert!(searches >= 34, "{searches}");
        assert!(turns.sources.len() <= 2, "{:?}", turns.sources);
    }

    /// A lane with entries of two sources uses the turn that comes first.
    #[test]
    fn a_lane_of_two_sources_waits_for_the_first_turn_of_either() {
        let mut turns = SearchTurns::new(Rate::PerSecond(20.0), at(0));
        let busy = source("busy");
        assert_eq!(turns.take(LaneId(0), &busy, at(0)), Ok(()));
        for lane in 1..=100 {
            turns.take(LaneId(lane), &busy, at(0)).unwrap_err();
        }
        let both = [source("busy"), source("calm")].concat();
        assert_eq!(turns.take(LaneId(200), &both, at(0)), Err(at(251)));
        // The other lanes of the busy source leave a token for this lane, even if they always ask just before this
        // lane.
        for quarter in 1..=3 {
            let now = at(quarter * 251);
            let earlier = turns.take(LaneId(quarter), &busy, now);
            if turns.take(LaneId(200), &both, now).is_ok() {
                return;
            }
            assert_eq!(earlier, Ok(()), "nobody took the token of {now:?}");
        }
        panic!("the lane never gets a token");
    }

    /// FAULTS N302: a lane that asks before its turn keeps the turn and makes no line longer, unless another source
    /// gives the lane an earlier turn.
    #[test]
    fn a_lane_that_asks_again_keeps_its_turn() {
        let mut turns = SearchTurns::new(Rate::PerSecond(20.0), at(0));
        let busy = source("busy");
        assert_eq!(turns.take(LaneId(0), &busy, at(0)), Ok(()));
        assert_eq!(turns.take(LaneId(1), &busy, at(0)), Err(at(251)));
        assert_eq!(turns.take(LaneId(2), &busy, at(0)), Err(at(501)));
        for again in 1..100 {
            assert_eq!(turns.take(LaneId(2), &busy, at(again)), Err(at(501)));
        }
        assert_eq!(turns.take(LaneId(3), &busy, at(100)), Err(at(751)));
        let both = [busy.clone(), source("calm")].concat();
        assert_eq!(turns.take(LaneId(3), &both, at(100)), Err(at(251)));
        assert_eq!(turns.take(LaneId(3), &both, at(101)), Err(at(251)));
        assert_eq!(turns.lanes.of_lane.len(), 3);
        assert_eq!(turns.lanes.in_order.len(), 3, "one turn for each lane");
        turns.take(LaneId(1), &busy, at(2_000)).unwrap();
        assert!(turns.lanes.of_lane.is_empty() && turns.lanes.in_order.is_empty());
    }

    /// A different lane of the source can take the token just before the lane asks at its turn.
    #[test]
    fn a_lane_that_finds_no_token_at_its_turn_gets_a_later_turn() {
        let mut turns = SearchTurns::new(Rate::PerSecond(20.0), at(0));
        let busy = source("busy");
        assert_eq!(turns.take(LaneId(0), &busy, at(0)), Ok(()));
        assert_eq!(turns.take(LaneId(1), &busy, at(0)), Err(at(251)));
        assert_eq!(turns.take(LaneId(2), &busy, at(251)), Ok(()));
        let later = turns.take(LaneId(1), &busy, at(251)).unwrap_err();
        assert!(later > at(251), "{later:?}");
    }

    /// FAULTS N302: a source that took a token leaves the next token to a source that waits, even if no search of the
    /// first source has waited. A lane of both sources can take that token.
    #[test]
    fn a_source_that_never_waits_takes_no_token_of_a_waiting_source() {
        let mut turns = SearchTurns::new(Rate::PerSecond(20.0), at(0));
        let (quick, calm) = (source("quick"), source("calm"));
        assert_eq!(turns.take(LaneId(0), &quick, at(0)), Ok(()));
        assert_eq!(turns.take(LaneId(1), &calm, at(0)), Err(at(251)));
        assert_eq!(turns.take(LaneId(2), &quick, at(251)), Ok(()));
        turns.take(LaneId(1), &calm, at(251)).unwrap_err();
        turns.take(LaneId(3), &quick, at(502)).unwrap_err();
        let both = [quick, calm].concat();
        assert_eq!(turns.take(LaneId(4), &both, at(502)), Ok(()));
    }

    /// FAULTS N302: while a search of a source still waits for its turn, a different source gets every second token.
    /// After the last search of the source, the different source gets every token.
    #[test]
    fn a_source_counts_as_waiting_until_its_last_search() {
        for waiting in [1, 2] {
            let mut turns = SearchTurns::new(Rate::PerSecond(20.0), at(0));
            let (early, late) = (source("early"), source("late"));
            assert_eq!(turns.take(LaneId(0), &early, at(0)), Ok(()));
            for lane in 1..=waiting {
                turns.take(LaneId(lane), &early, at(0)).unwrap_err();
            }
            assert_eq!(turns.take(LaneId(1), &early, at(251)), Ok(()));
            assert_eq!(turns.take(LaneId(3), &late, at(502)), Ok(()));
            let next = turns.take(LaneId(4), &late, at(753));
            assert_eq!(next.is_ok(), waiting == 1, "{next:?}");
        }
    }

    /// A lane of two sources takes the token of the source whose next token is free from just now on.
    #[test]
    fn a_token_is_free_from_its_time_on() {
        let mut turns = SearchTurns::new(Rate::PerSecond(200.0), at(0));
        let (flood, waits, quick) = (source("flood"), source("waits"), source("quick"));
        for lane in 0..4 {
            assert_eq!(turns.take(LaneId(lane), &flood, at(1_000)), Ok(()));
        }
        turns.take(LaneId(4), &flood, at(1_000)).unwrap_err();
        assert_eq!(turns.take(LaneId(5), &waits, at(1_025)), Ok(()));
        let turn = turns.take(LaneId(6), &waits, at(1_025)).unwrap_err();
        assert_eq!(turn, at(1_075));
        assert_eq!(turns.take(LaneId(7), &quick, turn), Ok(()));
        let both = [waits, quick].concat();
        assert_eq!(turns.take(LaneId(8), &both, turn), Ok(()));
    }

    /// Two sources name each of 100 customers; the second source names them later, in this order. Returns the time of
    /// the last search.
    fn last_search(named_at: impl Fn(u64) -> u64) -> u64 {
        let mut turns = SearchTurns::new(Rate::PerSecond(20.0), at(0));
        let both = [source("busy"), source("calm")].concat();
        let early = (0..100).map(|lane| (0, lane));
        let again = (0..100).map(|lane| (named_at(lane), lane));
        let mut due: BTreeSet<(u64, u64)> = early.chain(again).collect();
        let mut last = 0;
        while let Some((now, lane)) = due.pop_first() {
            let is_named = now >= named_at(lane);
            let sources = if is_named { &both[..] } else { &both[..1] };
            let taken = turns.take(LaneId(lane), sources, at(now));
            due.retain(|(_, other)| *other != lane || (taken.is_err() && !is_named));
            if let Err(turn) = taken {
                let turn = u64::try_from(turn.as_millis()).unwrap();
                due.insert((turn.max(now + 1), lane));
            } else {
                last = now;
            }
        }
        last
    }

    /// FAULTS N302: two sources that name the same customers, in any order, use the whole share.
    #[test]
    fn sources_that_name_the_same_customers_use_the_whole_share() {
        let lasts = [
            last_search(|lane| 1_000 + lane),
            last_search(|lane| 2_000 - lane),
            last_search(|lane| 1_000 + 100 * lane),
        ];
        assert!(lasts.iter().all(|last| *last <= 42_000), "{lasts:?}");
    }

    /// The turns of more lanes than the limiter remembers cost no memory.
    #[test]
    fn the_number_of_remembered_turns_is_limited() {
        let mut turns = SearchTurns::new(Rate::PerSecond(20.0), at(0));
        for lane in 0..=LANES_MAX + 10 {
            let _turn = turns.take(lane_id(lane), &source("busy"), at(0));
        }
        assert_eq!(turns.lanes.of_lane.len(), LANES_MAX);
        assert_eq!(turns.lanes.in_order.len(), LANES_MAX);
    }
}
