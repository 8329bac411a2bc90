//! Decides whether dispatch is allowed to send a request to Imprint. The decision combines the operator's mode, the
//! breaker and the rate limit. This module is pure: it does no IO and reads no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Map;

use super::{Clearance, OperatorMode, ShadowRecord};
use crate::dispatch::breaker::{Admission, DestinationState};
use crate::dispatch::evidence::{Evidence, SavedEvidence};
use crate::dispatch::lane_exchange::ImprintCall;
use crate::dispatch::pace::{Pace, PresentRate, Rate};
use crate::event::SourceName;
use crate::imprint::ImprintId;
use crate::outbox::{Absence, KeyMark, LaneId};
use crate::time::Timestamp;

mod agreed;
mod assess;
mod first;
mod recent;
mod searches;
mod shared;

pub use self::agreed::PendingProposal;
pub use self::assess::LaneAnswer;

use self::agreed::AgreedState;
use self::assess::LastApplied;
use self::first::FirstResults;
use self::recent::RecentResults;
use self::searches::SearchTurns;

/// The share of the request rate for failing lanes: lanes whose last request failed. Without this share, hundreds of
/// failing lanes would take the tokens of the other lanes.
const FAILING_SHARE: f64 = 0.25;
/// After Imprint has applied this number of requests of failing lanes in a row, the limiter no longer limits failing
/// lanes.
///
/// Their failures had a common cause that is over, so the limit would only delay the lanes.
const FAILING_APPLIED_MIN: u32 = 8;
/// The interval at which dispatch threads poll a paused destination. A change of the mode also wakes the threads.
const PAUSE_LOOK: Duration = Duration::from_secs(10);
/// The interval at which dispatch threads poll for ordered tokens of a shared rate limit.
const ORDER_LOOK: Duration = Duration::from_millis(400);
/// The maximum number of lanes with a shadow record. This number is enough for a comparison, and limits the memory.
const SHADOW_RECORDS_MAX: usize = 1000;

/// The kind of requests that a send permit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PermitKind {
    /// The permit allows a request of any due lane.
    Lane,
    /// The permit allows the probe: the single request that tests whether the destination works again.
    Probe,
    /// The permit allows the probe of a lane that has not failed.
    ArrivalProbe,
}

/// A call that a lane wants to send, with the sources of the lane's waiting entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedCall<'a> {
    pub(super) lane: LaneId,
    pub(super) call: &'a ImprintCall,
    pub(super) sources: &'a [SourceName],
    /// The time when the last request of the lane was sent, or when the lane got its permit.
    pub(super) since: Timestamp,
}

/// The rules and the state that decide whether dispatch is allowed to send a request.
#[derive(Debug)]
pub(super) struct SendLimiter {
    mode: OperatorMode,
    mode_changes: u64,
    /// True if other processes possibly use the same store.
    is_shared: bool,
    agreed: AgreedState,
    /// The last request of each lane that dispatch recorded in shadow mode.
    shadow_records: BTreeMap<LaneId, ShadowRecord>,
    state: DestinationState,
    pace: Pace,
    searches: SearchTurns,
    failing: Pace,
    /// The number of failing lanes' requests in a row that Imprint applied.
    failing_applied: u32,
    applied: LastApplied,
    results: RecentResults,
    first_results: FirstResults,
    evidence: Evidence,
}

impl SendLimiter {
    pub(super) fn new(rate: Rate, now: Timestamp) -> Self {
        Self {
            mode: OperatorMode::Open,
            mode_changes: 0,
            is_shared: false,
            agreed: AgreedState::default(),
            shadow_records: BTreeMap::new(),
            state: DestinationState::FIRST,
            pace: Pace::new(rate, now),
            searches: SearchTurns::new(rate, now),
            failing: Pace::new(rate.share(FAILING_SHARE), now),
            failing_applied: 0,
            applied: LastApplied::default(),
            results: RecentResults::default(),
            first_results: FirstResults::default(),
            evidence: Evidence::default(),
        }
    }

    pub(super) const fn state(&self) -> DestinationState {
        self.state
    }

    pub(super) fn present_rate(&self, now: Timestamp) -> Option<PresentRate> {
        self.pace.present_rate(now)
    }

    pub(super) const fn mode(&self) -> OperatorMode {
        self.mode
    }

    pub(super) fn set_mode(&mut self, mode: OperatorMode) {
        self.mode = mode;
        self.mode_changes = self.mode_changes.saturating_add(1);
        if mode != OperatorMode::Shadow {
            self.shadow_records.clear();
        }
    }

    pub(super) fn shadow_records(&self) -> Vec<ShadowRecord> {
        self.shadow_records.values().cloned().collect()
    }

    pub(super) fn forget(&mut self, is_forgotten: impl Fn(LaneId) -> bool) {
        self.shadow_records.retain(|lane, _| !is_forgotten(*lane));
        self.evidence.forget_customers(is_forgotten);
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
        if key != self.key() {
            self.forget_agreed();
        }
        self.evidence.key_changed(key, now);
        if let DestinationState::Stopped(probes) = &mut self.state {
            probes.next = now;
            probes.arrival = now;
        }
    }

    /// Returns whether a request that was sent at this time used the present API key.
    pub(super) fn is_of_key(&self, sent_at: Timestamp) -> bool {
        self.evidence.is_of_key(sent_at)
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
        self.expire_probe(now);
        let (kind, lanes) = match self.admits(wanted, now) {
            Admission::NotBefore(later) => return Err(later),
            Admission::Lanes(lanes) => (PermitKind::Lane, lanes),
            Admission::Probe => (PermitKind::Probe, 1),
            Admission::ArrivalProbe => (PermitKind::ArrivalProbe, 1),
        };
        let count = self.pace.take(lanes, now);
        if count == 0 {
            self.pace.need(lanes);
            return Err(match self.pace.is_shared() {
                // The tokens of an order wake dispatch.
                true => now.after(ORDER_LOOK),
                false => self.pace.next(),
            });
        }
        if kind != PermitKind::Lane && self.is_shared && self.agreed.won(now).is_none() {
            self.pace.give_back(count);
            self.agreed.wanted = Some(kind);
            return Err(now.after(ORDER_LOOK));
        }
        match kind {
            PermitKind::Lane => self.state.take_places(count),
            PermitKind::Probe | PermitKind::ArrivalProbe if self.is_shared => {
                self.agreed.take_probe();
            }
            PermitKind::Probe => self.state.probe_taken(false, now),
            PermitKind::ArrivalProbe => self.state.probe_taken(true, now),
        }
        Ok((kind, count))
    }

    /// Returns how many of `count` permits failing lanes can take: at most `share`, and at most as many as
    /// [`FAILING_SHARE`] allows. The other permits are only for lanes that do not fail.
    pub(super) fn take_failing(&mut self, count: usize, share: usize, now: Timestamp) -> usize {
        if self.failing_applied >= FAILING_APPLIED_MIN {
            return count;
        }
        self.failing.take(share.min(count), now)
    }

    /// Counts a further request of a failing lane against the share of failing lanes.
    pub(super) const fn charge_failing(&mut self) {
        if self.failing_applied < FAILING_APPLIED_MIN {
            self.failing.charge();
        }
    }

    /// Takes back permits that were reserved for failing lanes and that no failing lane used.
    pub(super) fn return_failing(&mut self, count: usize) {
        self.failing.give_back(count);
    }

    /// Returns whether the first requests of many new customers fail.
    pub(super) const fn are_first_requests_failing(&self) -> bool {
        self.first_results.are_failing()
    }

    /// Returns the time from which the rate limit has a token for a failing lane.
    pub(super) fn next_failing(&self) -> Timestamp {
        match self.pace.is_shared() {
            // The tokens of an order wake dispatch.
            true => self.failing.next(),
            false => self.failing.next().max(self.pace.next()),
        }
    }

    /// Takes back permits whose requests were not sent. A returned probe is due again at the time when its permit was
    /// taken.
    ///
    /// Only an answer or a returned permit adds credits to the ramp. If dispatch kept unused permits, the ramp could
    /// run out of credits, and dispatch would never send again.
    pub(super) fn return_unused(&mut self, kind: PermitKind, count: usize, acquired_at: Timestamp) {
        self.pace.give_back(count);
        match kind {
            PermitKind::Lane => self.state.return_places(count),
            PermitKind::Probe | PermitKind::ArrivalProbe if self.is_shared => {
                self.agreed.return_probe();
            }
            PermitKind::Probe => self.state.probe_returned(false, acquired_at),
            PermitKind::ArrivalProbe => self.state.probe_returned(true, acquired_at),
        }
    }

    /// Returns the credit of the ramp for a sent request whose result dispatch will not assess.
    ///
    /// The token of the request stays used, and the time of the next probe does not change.
    pub(super) fn return_place(&mut self, kind: PermitKind) {
        match kind {
            PermitKind::Lane => self.state.return_places(1),
            PermitKind::Probe | PermitKind::ArrivalProbe => {}
        }
    }

    /// Decides whether a lane is allowed to send its first request. The first request uses the token of the lane's
    /// permit.
    pub(super) fn clear_first(
        &mut self,
        kind: PermitKind,
        asked: AskedCall<'_>,
        now: Timestamp,
    ) -> Clearance {
        let is_valid = match kind {
            _ if self.mode == OperatorMode::Paused => false,
            PermitKind::Lane => self.state.honours_permits(now),
            PermitKind::Probe | PermitKind::ArrivalProbe => !self.state.waits(now),
        };
        if !is_valid {
            return Clearance::Withdrawn;
        }
        if self.mode == OperatorMode::Shadow {
            self.record_shadow(asked.lane, asked.call, now);
            return Clearance::Shadow;
        }
        let clearance = match asked.call {
            ImprintCall::Update(_) | ImprintCall::Retrieve(_) => Clearance::Send,
            ImprintCall::Search(_) if !self.is_of_key(asked.since) => Clearance::Withdrawn,
            ImprintCall::Search(_) => self
                .searches
                .take(asked.lane, asked.sources, now)
                .map_or_else(Clearance::Postpone, |()| Clearance::Send),
        };
        if self.is_shared && kind != PermitKind::Lane && clearance == Clearance::Send {
            self.probe_sent(now);
        }
        clearance
    }

    /// Decides whether a lane is allowed to send a further request after an answer. Each further request needs one more
    /// token.
    ///
    /// If no token is free, an update or a retrieve waits, and the lane stays claimed. A search waits for a token of
    /// the rate too: the lane would otherwise begin again with its update, and the updates could use all tokens for
    /// ever. A search does not wait for its share: that can take seconds, and the claimed lane would occupy a request
    /// slot. The search takes its token of the rate first: a token of the share would use up the turn of its source,
    /// and a different search could take the share's next token during the wait for the rate.
    ///
    /// If the API key has changed since the answer, dispatch does not send a search: the answers to two keys prove
    /// nothing about each other.
    ///
    /// While the destination is paused, or waits because Imprint asked for a wait, dispatch sends no further request:
    /// the lane continues later. If Imprint has applied the first update of the exchange, the settlement records its
    /// values.
    pub(super) fn clear_follow_up(&mut self, asked: AskedCall<'_>, now: Timestamp) -> Clearance {
        if self.mode == OperatorMode::Paused || self.state.waits(now) {
            return Clearance::Withdrawn;
        }
        if self.mode == OperatorMode::Shadow {
            self.record_shadow(asked.lane, asked.call, now);
            return Clearance::Shadow;
        }
        match asked.call {
            ImprintCall::Update(_) | ImprintCall::Retrieve(_) => {
                if self.pace.take(1, now) == 1 {
                    Clearance::Send
                } else {
                    self.pace.need(1);
                    Clearance::Wait(self.pace.next())
                }
            }
            ImprintCall::Search(_) if !self.is_of_key(asked.since) => Clearance::Withdrawn,
            ImprintCall::Search(_) if self.pace.take(1, now) == 0 => {
                self.pace.need(1);
                Clearance::Wait(self.pace.next())
            }
            ImprintCall::Search(_) => match self.searches.take(asked.lane, asked.sources, now) {
                Ok(()) => Clearance::Send,
                Err(turn) => {
                    self.pace.give_back(1);
                    Clearance::Postpone(turn)
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
