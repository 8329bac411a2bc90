//! The state of the destination on which the processes of a store agree, and the rules by which a process changes it or
//! takes it over. This module is pure: it does no IO and reads no clock.
//!
//! The store keeps one state for each API key, with a revision. A process proposes a change with the revision that it
//! knows, and the store accepts the proposal only if no other process was faster. Then:
//!
//! - The state whose deciding request was sent later counts. A process that has had a success since the request that
//!   stopped the destination proposes the state flowing again.
//! - A probe is a change too: the proposal has the times of the following probes. So only one process probes at a time.
//!   If this process dies, the next probe is due at the next time as after any probe without an answer.
//! - The pause before the next probe begins with the request, which the process sends up to [`PROBE_LIVES`] after it won
//!   the probe. The proposal therefore has the latest end of this pause, and the process stores the true end after the
//!   request.

use std::time::Duration;

use super::{PermitKind, SendLimiter};
use crate::dispatch::breaker::{
    Admission, CLOCKS_DIFFER, ClockShift, DestinationState, StoredState,
};
use crate::outbox::{AgreedView, KeyMark, StateProposal};
use crate::time::Timestamp;

/// The time within which a process uses a probe that it won.
const PROBE_LIVES: Duration = Duration::from_secs(1);

/// What a process knows about the agreed state.
#[derive(Debug)]
pub(super) struct AgreedState {
    /// The revision in the store. 0 means that the store has no state.
    revision: u64,
    /// The state of this revision, by the clock of this process.
    outline: DestinationState,
    shift: ClockShift,
    /// The time of the request that decided about the present state.
    pub(super) decided_at: Timestamp,
    /// The kind of the probe that dispatch wants to send.
    pub(super) wanted: Option<PermitKind>,
    /// The kind of the probe that the process won, and the time of the win.
    won: Option<(PermitKind, Timestamp)>,
    /// The won probe whose permit dispatch has taken, until dispatch sends the request.
    taken: Option<(PermitKind, Timestamp)>,
}

/// A proposal that is on its way to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingProposal {
    /// The proposal for the store.
    pub proposal: StateProposal,
    key: KeyMark,
    /// The proposed state, by the clock of this process.
    outline: DestinationState,
    /// The state before the proposed probe, and the kind of the probe.
    probe: Option<(DestinationState, ProposedProbe)>,
}

/// A probe in a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProposedProbe {
    kind: PermitKind,
    at: Timestamp,
}

impl Default for AgreedState {
    fn default() -> Self {
        Self {
            revision: 0,
            outline: DestinationState::FIRST,
            shift: ClockShift::default(),
            decided_at: Timestamp::from_millis(0),
            wanted: None,
            won: None,
            taken: None,
        }
    }
}

/// Returns whether a process can still use a probe, by the time of the win.
fn lives_at(now: Timestamp) -> impl Fn(&(PermitKind, Timestamp)) -> bool {
    move |(_, at)| now < at.after(PROBE_LIVES)
}

impl AgreedState {
    /// Returns the kind of the probe that this process won and can use.
    pub(super) fn won(&self, now: Timestamp) -> Option<PermitKind> {
        self.won.filter(lives_at(now)).map(|(kind, _)| kind)
    }

    /// Forgets the won probes whose time is over, because another process possibly probes now.
    fn forget_old_probes(&mut self, now: Timestamp) {
        self.won = self.won.filter(lives_at(now));
        self.taken = self.taken.filter(lives_at(now));
    }

    pub(super) const fn take_probe(&mut self) {
        self.taken = self.won.take();
    }

    /// Takes back a probe that no lane used. Another lane can use it, and the store does not learn of it.
    pub(super) fn return_probe(&mut self) {
        self.won = self.taken.take().or(self.won);
    }
}

impl SendLimiter {
    /// Returns whether the process has a change for the store.
    pub(super) fn is_proposal_due(&self) -> bool {
        let is_changed = self.state.outline() != self.agreed.outline;
        self.is_shared && (is_changed || self.agreed.wanted.is_some())
    }

    /// Returns the change that the process proposes to the store.
    pub(in crate::dispatch::destination) fn propose(
        &mut self,
        now: Timestamp,
    ) -> Option<PendingProposal> {
        if !self.is_proposal_due() {
            return None;
        }
        let before = self.state.outline();
        let mut proposed = before;
        // Another dispatch thread possibly wanted the same probe while the store answered the proposal of this probe.
        let wanted = self.agreed.wanted.take();
        let wanted = wanted.filter(|kind| self.is_probe_due(*kind, now));
        if wanted.is_none() && before == self.agreed.outline {
            return None;
        }
        if let Some(kind) = wanted {
            proposed.probe_taken(kind == PermitKind::ArrivalProbe, now);
            proposed.probe_taken(true, now.after(PROBE_LIVES));
        }
        let times = (self.agreed.decided_at, now);
        let stored = StoredState::of(proposed, times, self.agreed.shift);
        Some(PendingProposal {
            proposal: StateProposal {
                revision: self.agreed.revision,
                state: serde_json::to_string(&stored).ok()?,
            },
            key: self.key(),
            outline: proposed,
            probe: wanted.map(|kind| (before, ProposedProbe { kind, at: now })),
        })
    }

    /// Returns whether a probe of this kind is due, and the process has not won it yet.
    fn is_probe_due(&self, kind: PermitKind, now: Timestamp) -> bool {
        let admission = self.state.admits(1, now);
        !self.has_probe(now)
            && match admission {
                Admission::Probe => true,
                Admission::ArrivalProbe => kind == PermitKind::ArrivalProbe,
                Admission::Lanes(_) | Admission::NotBefore(_) => false,
            }
    }

    /// Processes the answer of the store. Returns the state before and after, if the state changes.
    pub(in crate::dispatch::destination) fn agree(
        &mut self,
        proposed: Option<&PendingProposal>,
        view: &AgreedView,
        now: Timestamp,
    ) -> Option<(DestinationState, DestinationState)> {
        self.agreed.shift = ClockShift::between(view.at, now);
        if view.is_accepted
            && let Some(proposed) = proposed
        {
            self.accepted(proposed, view.revision);
            return None;
        }
        if view.revision == self.agreed.revision {
            return None;
        }
        self.agreed.forget_old_probes(now);
        let is_mine_open = self.state.outline() != self.agreed.outline;
        self.agreed.revision = view.revision;
        // A text that this program cannot read counts as no state, so the next change replaces it.
        self.agreed.outline = DestinationState::FIRST;
        let stored = view.state.as_deref();
        let stored: StoredState = serde_json::from_str(stored?).ok()?;
        let shift = stored.shift(self.agreed.shift, now);
        let theirs = stored.for_process(self.state, shift);
        self.agreed.outline = theirs.outline();
        let sent_at = stored.sent_at(shift);
        let succeeded_at = self.evidence.worked_at();
        let has_refuted = theirs.is_probed()
            && !self.state.is_probed()
            && succeeded_at.is_some_and(|at| sent_at < at);
        if has_refuted {
            self.agreed.decided_at = self.agreed.decided_at.max(succeeded_at?);
            return None;
        }
        // Dispatch has possibly just sent a probe, and the other process has possibly won one.
        let theirs = match is_mine_open {
            true => theirs.not_probed_before(self.state),
            false => theirs,
        };
        if is_mine_open && sent_at <= self.agreed.decided_at {
            self.state = self.state.not_probed_before(theirs);
            return None;
        }
        let before = self.state;
        self.agreed.decided_at = sent_at;
        // The comparison of the clocks is not exact, and only a longer wait halves the rate.
        match before.wait().map(|until| until.after(CLOCKS_DIFFER)) < theirs.wait() {
            true => self.enter(theirs),
            false => self.state = theirs,
        }
        (before.outline() != theirs.outline()).then_some((before, theirs))
    }

    fn accepted(&mut self, proposed: &PendingProposal, revision: u64) {
        if proposed.key != self.key() {
            return;
        }
        self.agreed.revision = revision;
        self.agreed.outline = proposed.outline;
        if let Some((before, ProposedProbe { kind, at })) = proposed.probe
            && before == self.state.outline()
        {
            self.state = proposed.outline;
            self.agreed.won = Some((kind, at));
        }
    }

    /// Returns whether the process won a probe that no lane has taken.
    pub(in crate::dispatch::destination) fn has_probe(&self, now: Timestamp) -> bool {
        self.agreed.won(now).is_some()
    }

    /// Makes a won probe due again if no lane used it in its time.
    pub(super) fn expire_probe(&mut self, now: Timestamp) {
        let lives = lives_at(now);
        if let Some((kind, at)) = self.agreed.won.take_if(|won| !lives(won))
            && self.state.outline() == self.agreed.outline
        {
            let is_arrival = kind == PermitKind::ArrivalProbe;
            self.state.probe_returned(is_arrival, at);
        }
    }

    /// Records that dispatch sends the request of a probe.
    pub(super) fn probe_sent(&mut self, now: Timestamp) {
        self.agreed.taken = None;
        self.state.probe_taken(true, now);
    }

    /// Remembers the time of the request whose answer changed the state.
    pub(super) fn decided(&mut self, before: DestinationState, sent_at: Timestamp) {
        if before.outline() != self.state.outline() {
            self.agreed.decided_at = sent_at;
        }
    }

    /// Forgets the agreed state, because it belongs to a different API key.
    pub(super) fn forget_agreed(&mut self) {
        let AgreedState {
            shift, decided_at, ..
        } = self.agreed;
        self.agreed = AgreedState {
            shift,
            decided_at,
            ..AgreedState::default()
        };
    }
}
