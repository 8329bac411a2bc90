//! Decides whether a request may be sent to Imprint: combines the operator's mode, the breaker and the rate. This
//! module is pure: it does no IO and reads no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Map;

use super::{Clearance, OperatorMode, ShadowRecord};
use crate::dispatch::breaker::{Admission, DestinationState};
use crate::dispatch::evidence::{Evidence, SavedEvidence};
use crate::dispatch::lane_exchange::ImprintCall;
use crate::dispatch::pace::{Pace, Rate};
use crate::event::SourceName;
use crate::imprint::ImprintId;
use crate::outbox::{Absence, KeyMark, LaneId};
use crate::time::Timestamp;

mod assess;
mod recent;
mod searches;

pub use self::assess::LaneAnswer;

use self::assess::LastApplied;
use self::recent::RecentResults;
use self::searches::SearchTurns;

/// The share of the request rate that lanes may use whose last request failed. With the share, other lanes never wait
/// for the tokens that hundreds of failing lanes use up.
const FAILING_SHARE: f64 = 0.25;
/// The number of failing lanes in a row that Imprint must apply before the limiter no longer limits failing lanes: the
/// cause of their failures is over, and the lanes must not drain slowly.
const FAILING_APPLIED_MIN: u32 = 8;
/// The interval at which dispatch threads check a paused destination, in addition to the wake-up when the operator
/// changes the mode.
const PAUSE_LOOK: Duration = Duration::from_secs(10);
/// The most lanes for which the limiter keeps a shadow record: enough for a comparison, and a limit on memory.
const SHADOW_RECORDS_MAX: usize = 1000;

/// The kind of requests that a send permit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PermitKind {
    /// The permit allows a request of any lane that is due.
    Lane,
    /// The permit allows the one request that tests whether the destination works again.
    Probe,
    /// The permit allows a lane that has not failed to test whether the destination works for this lane.
    ArrivalProbe,
}

/// A call that a lane wants to send, with the sources whose entries wait in the lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedCall<'a> {
    pub(super) lane: LaneId,
    pub(super) call: &'a ImprintCall,
    pub(super) sources: &'a [SourceName],
}

/// The rules and the state that decide whether a request may be sent.
#[derive(Debug)]
pub(super) struct SendLimiter {
    mode: OperatorMode,
    /// The last recorded request of each lane in shadow mode.
    shadow_records: BTreeMap<LaneId, ShadowRecord>,
    state: DestinationState,
    pace: Pace,
    searches: SearchTurns,
    failing: Pace,
    /// The number of requests of failing lanes in a row that Imprint applied.
    failing_applied: u32,
    applied: LastApplied,
    results: RecentResults,
    evidence: Evidence,
}

impl SendLimiter {
    pub(super) fn new(rate: Rate, now: Timestamp) -> Self {
        Self {
            mode: OperatorMode::Open,
            shadow_records: BTreeMap::new(),
            state: DestinationState::FIRST,
            pace: Pace::new(rate, now),
            searches: SearchTurns::new(rate, now),
            failing: Pace::new(rate.share(FAILING_SHARE), now),
            failing_applied: 0,
            applied: LastApplied::default(),
            results: RecentResults::default(),
            evidence: Evidence::default(),
        }
    }

    pub(super) const fn state(&self) -> DestinationState {
        self.state
    }

    pub(super) const fn mode(&self) -> OperatorMode {
        self.mode
    }

    pub(super) fn set_mode(&mut self, mode: OperatorMode) {
        self.mode = mode;
        if mode != OperatorMode::Shadow {
            self.shadow_records.clear();
        }
    }

    pub(super) fn shadow_records(&self) -> Vec<ShadowRecord> {
        self.shadow_records.values().cloned().collect()
    }

    pub(super) const fn throttle_until(&mut self, until: Timestamp) {
        self.state = DestinationState::Throttled { until, streak: 1 };
    }

    pub(super) fn begin(
        &mut self,
        key: KeyMark,
        canary: Option<ImprintId>,
        stored: Option<&str>,
        now: Timestamp,
    ) {
        self.evidence.begin(key, canary, stored, now);
    }

    pub(super) fn key_changed(&mut self, key: KeyMark, now: Timestamp) {
        self.evidence.key_changed(key, now);
        if let DestinationState::Stopped(probes) = &mut self.state {
            probes.next = now;
            probes.arrival = now;
        }
    }

    pub(super) fn proves(&self, absence: &Absence, now: Timestamp) -> bool {
        self.evidence.proves(absence, now)
    }

    pub(super) fn evidence_to_save(&mut self, now: Timestamp) -> Option<SavedEvidence> {
        self.evidence.take_changed(now)
    }

    /// Takes up to `wanted` send permits of one kind, or returns the time of the next attempt.
    pub(super) fn acquire(
        &mut self,
        wanted: usize,
        now: Timestamp,
    ) -> Result<(PermitKind, usize), Timestamp> {
        let admission = match self.mode {
            OperatorMode::Open | OperatorMode::Shadow => self.state.admits(wanted, now),
            OperatorMode::Paused => Admission::NotBefore(now.after(PAUSE_LOOK)),
        };
        let (kind, lanes) = match admission {
            Admission::NotBefore(later) => return Err(later),
            Admission::Lanes(lanes) => (PermitKind::Lane, lanes),
            Admission::Probe => (PermitKind::Probe, 1),
            Admission::ArrivalProbe => (PermitKind::ArrivalProbe, 1),
        };
        let count = self.pace.take(lanes, now);
        if count == 0 {
            return Err(self.pace.next());
        }
        match kind {
            PermitKind::Lane => self.state.take_places(count),
            PermitKind::Probe => self.state.probe_taken(false, now),
            PermitKind::ArrivalProbe => self.state.probe_taken(true, now),
        }
        Ok((kind, count))
    }

    /// Returns how many of `count` permits lanes may take whose last request failed: at most `share` permits, and at
    /// most as many as the share of the rate allows. The other permits are only for lanes that do not fail.
    pub(super) fn take_failing(&mut self, count: usize, share: usize, now: Timestamp) -> usize {
        if self.failing_applied >= FAILING_APPLIED_MIN {
            return count;
        }
        self.failing.take(share.min(count), now)
    }

    /// Takes back permits for failing lanes that no failing lane used.
    pub(super) fn return_failing(&mut self, count: usize) {
        self.failing.give_back(count);
    }

    /// Returns the time from which failing lanes may be sent again, as far as the rate decides.
    pub(super) fn next_failing(&self) -> Timestamp {
        self.failing.next().max(self.pace.next())
    }

    /// Takes back permits whose requests were not sent. If unused permits were not returned, the ramp would run out of
    /// places: without an answer, no place would become free, and nothing would ever be sent again. A returned probe is
    /// due at the time when its permit was taken.
    pub(super) fn return_unused(&mut self, kind: PermitKind, count: usize, acquired_at: Timestamp) {
        self.pace.give_back(count);
        match kind {
            PermitKind::Lane => self.state.return_places(count),
            PermitKind::Probe => self.state.probe_returned(false, acquired_at),
            PermitKind::ArrivalProbe => self.state.probe_returned(true, acquired_at),
        }
    }

    /// Frees the place in the ramp of a request that was sent and whose result will not be assessed. The token of the
    /// request stays used, and the next probe stays due at its usual time.
    pub(super) fn return_place(&mut self, kind: PermitKind) {
        match kind {
            PermitKind::Lane => self.state.return_places(1),
            PermitKind::Probe | PermitKind::ArrivalProbe => {}
        }
    }

    /// Decides whether the first request of a lane may be sent. The first request uses the token of the lane's permit.
    pub(super) fn clear_first(
        &mut self,
        kind: PermitKind,
        asked: AskedCall<'_>,
        now: Timestamp,
    ) -> Clearance {
        let is_valid = match kind {
            _ if self.mode == OperatorMode::Paused => false,
            PermitKind::Lane => self.state.honours_permits(now),
            PermitKind::Probe | PermitKind::ArrivalProbe => true,
        };
        if !is_valid {
            return Clearance::Withdrawn;
        }
        if self.mode == OperatorMode::Shadow {
            self.record_shadow(asked.lane, asked.call, now);
            return Clearance::Shadow;
        }
        match asked.call {
            ImprintCall::Update(_) | ImprintCall::Retrieve(_) => Clearance::Send,
            ImprintCall::Search(_) => self
                .searches
                .take(asked.sources, now)
                .map_or_else(Clearance::Postpone, |()| Clearance::Send),
        }
    }

    /// Decides whether a request that follows from an answer may be sent. A request that follows from an answer needs
    /// another token. An update or a retrieve waits for the token, and the lane stays claimed. A search does not wait:
    /// the share of searches is small, and the claimed lane would block other lanes for seconds.
    pub(super) fn clear_follow_up(&mut self, asked: AskedCall<'_>, now: Timestamp) -> Clearance {
        if self.mode == OperatorMode::Shadow {
            self.record_shadow(asked.lane, asked.call, now);
            return Clearance::Shadow;
        }
        match asked.call {
            ImprintCall::Update(_) | ImprintCall::Retrieve(_) => {
                if self.pace.take(1, now) == 1 {
                    Clearance::Send
                } else {
                    Clearance::Wait(self.pace.next())
                }
            }
            ImprintCall::Search(_) => match self.searches.take(asked.sources, now) {
                Err(turn) => Clearance::Postpone(turn),
                Ok(()) if self.pace.take(1, now) == 1 => Clearance::Send,
                Ok(()) => {
                    self.searches.give_back();
                    Clearance::Postpone(self.pace.next())
                }
            },
        }
    }

    fn record_shadow(&mut self, lane: LaneId, call: &ImprintCall, at: Timestamp) {
        let (customer, operation, body) = match call {
            ImprintCall::Update(request) => (
                request.customer.as_str(),
                "update",
                request.body.to_object(),
            ),
            ImprintCall::Retrieve(customer) => (customer.as_str(), "retrieve", Map::new()),
            ImprintCall::Search(partner) => (partner.as_str(), "search", Map::new()),
        };
        let is_new = !self.shadow_records.contains_key(&lane);
        if is_new && self.shadow_records.len() >= SHADOW_RECORDS_MAX {
            self.shadow_records.pop_first();
        }
        let record = ShadowRecord {
            at,
            customer: customer.to_owned(),
            operation,
            body,
        };
        self.shadow_records.insert(lane, record);
    }

    /// Returns the time of the next regular probe.
    pub(super) fn next_probe(&self) -> Option<Timestamp> {
        self.state.next_probe()
    }
}
