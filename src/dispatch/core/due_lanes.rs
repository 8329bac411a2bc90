//! What a core knows about due lanes. This module is pure: it does no IO and reads no clock.
//!
//! If several processes share the rate limit, each order of tokens is a statement of the database. The core then looks
//! whether a lane is due before it asks for permits, so that an idle process orders nothing. The look is a claim of no
//! lanes.

use super::{Core, LoopAction, POLL_EVERY};
use crate::outbox::{Claim, Pick};
use crate::time::Timestamp;

/// What the last claim or look said about due lanes.
#[derive(Debug, Default)]
pub(super) struct DueLanesKnown {
    /// The rule of the look in progress.
    looking: Option<Pick>,
    /// True if unclaimed lanes were due after the last claim or look.
    are_due: bool,
    /// The maximum number of lanes of the claim in progress.
    max: usize,
}

impl DueLanesKnown {
    pub(super) const fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    pub(super) const fn claims(&mut self, max: usize) {
        self.max = max;
    }

    pub(super) const fn refused(&mut self) {
        self.looking = None;
    }
}

impl Core {
    /// Records the result of a claim. After a full claim, more lanes are most likely due: the core then orders the next
    /// tokens while dispatch sends the claimed lanes.
    pub(super) fn note_due(&mut self, claim: &Claim, now: Timestamp) {
        let is_full = claim.lanes.len() >= self.due.max;
        self.due.are_due = is_full || is_due(claim, now);
        if is_full {
            self.destination.need(self.due.max, now);
        }
    }

    /// Returns the claim that looks for due lanes. Returns `None` if the core needs no look before it asks for permits.
    pub(super) fn look(&mut self, now: Timestamp) -> Option<LoopAction> {
        if self.due.are_due {
            return None;
        }
        let pick = self.destination.look_first(now)?;
        self.due.looking = Some(pick);
        Some(LoopAction::Claim { max: 0, pick })
    }

    /// Records the result of a look. Returns the time of the next poll. Returns `None` if the claim was no look.
    pub(super) fn looked(&mut self, claim: &Claim, now: Timestamp) -> Option<Timestamp> {
        let pick = self.due.looking.take()?;
        let is_left =
            matches!(pick, Pick::LongestDue(_)) && (claim.is_failing_left || claim.is_untried_left);
        self.due.are_due = is_left || is_due(claim, now);
        if self.due.are_due {
            return Some(now);
        }
        // No lane is due for a probe that is due now, so only the next due lane ends the wait for this probe.
        let probe = self.destination.next_probe().filter(|probe| now < *probe);
        let next = claim.next_due.into_iter().chain(probe).min();
        Some(next.unwrap_or_else(|| now.after(POLL_EVERY)))
    }
}

fn is_due(claim: &Claim, now: Timestamp) -> bool {
    claim.next_due.is_some_and(|due| due <= now)
}
