//! The part of the limiter that follows the other processes of the store. This module is pure: it does no IO and reads
//! no clock.

use super::{PAUSE_LOOK, PermitKind, SendLimiter};
use crate::dispatch::breaker::Admission;
use crate::dispatch::destination::OperatorMode;
use crate::outbox::{KeyMark, LaneShares, Pick, TokenGrant, TokenOrder};
use crate::time::Timestamp;

impl SendLimiter {
    /// Follows the other processes of the store from now on.
    pub(in crate::dispatch::destination) fn share(&mut self) {
        self.is_shared = true;
        self.pace.share_bucket();
    }

    pub(in crate::dispatch::destination) const fn key(&self) -> KeyMark {
        self.evidence.key()
    }

    pub(in crate::dispatch::destination) const fn mode_changes(&self) -> u64 {
        self.mode_changes
    }

    /// Takes over the stored mode, unless the mode has changed since `mode_changes`. Returns the mode before the change.
    /// Returns `None` if nothing changes.
    pub(in crate::dispatch::destination) fn adopt_mode(
        &mut self,
        mode: OperatorMode,
        mode_changes: u64,
    ) -> Option<OperatorMode> {
        if mode == self.mode || mode_changes != self.mode_changes {
            return None;
        }
        let before = self.mode;
        self.set_mode(mode);
        Some(before)
    }

    /// Returns the lanes that dispatch can send. A process can use a probe that it won, although the next probes are due
    /// later.
    pub(super) fn admits(&self, wanted: usize, now: Timestamp) -> Admission {
        let can_probe = self.state.is_probed() && !self.state.waits(now);
        match (self.mode, self.agreed.won(now).filter(|_| can_probe)) {
            (OperatorMode::Paused, _) => Admission::NotBefore(now.after(PAUSE_LOOK)),
            (_, Some(PermitKind::ArrivalProbe)) => Admission::ArrivalProbe,
            (_, Some(PermitKind::Probe | PermitKind::Lane)) => Admission::Probe,
            (OperatorMode::Open | OperatorMode::Shadow, None) => self.state.admits(wanted, now),
        }
    }

    /// Returns the rule of the look for due lanes that dispatch needs before it asks for permits. Returns `None` if it
    /// needs no look, or can send nothing now.
    pub(in crate::dispatch::destination) fn look_first(&mut self, now: Timestamp) -> Option<Pick> {
        if !self.is_shared {
            return None;
        }
        self.expire_probe(now);
        match self.admits(1, now) {
            Admission::NotBefore(_) => None,
            Admission::Lanes(_) if !self.pace.is_shared() => None,
            Admission::ArrivalProbe => Some(Pick::NotFailed),
            Admission::Lanes(_) | Admission::Probe => Some(Pick::LongestDue(LaneShares::UNLIMITED)),
        }
    }

    /// Returns whether dispatch can send a probe now, and nothing else, for all processes.
    pub(in crate::dispatch::destination) fn is_shared_probe_due(&self, now: Timestamp) -> bool {
        self.is_shared
            && match self.admits(1, now) {
                Admission::Probe | Admission::ArrivalProbe => true,
                Admission::Lanes(_) | Admission::NotBefore(_) => false,
            }
    }

    pub(in crate::dispatch::destination) fn need(&mut self, requests: usize) {
        self.pace.need(requests);
    }

    /// Returns the time at which the process next orders tokens or proposes a state, or `None` if it needs neither.
    pub(in crate::dispatch::destination) fn next_exchange(
        &self,
        now: Timestamp,
    ) -> Option<Timestamp> {
        match self.is_proposal_due() {
            true => Some(now),
            false => self.pace.next_order(now),
        }
    }

    pub(in crate::dispatch::destination) fn order(&self, now: Timestamp) -> Option<TokenOrder> {
        self.pace.order(now)
    }

    pub(in crate::dispatch::destination) fn ordered(
        &mut self,
        order: TokenOrder,
        grant: TokenGrant,
        times: (Timestamp, Timestamp),
    ) {
        self.pace.ordered(order, grant, times);
    }
}
