//! The witnesses: customers whose update Imprint applied, and the operator's witness. This module is pure: it does no IO
//! and reads no clock.

use std::time::Duration;

use crate::imprint::ImprintId;
use crate::outbox::LaneId;
use crate::time::Timestamp;

/// The shortest time after which another customer replaces a witness, because the id of a customer must not be copied
/// for each request.
const WITNESS_KEPT: Duration = Duration::from_secs(1);
/// The time for which the bridge asks other witnesses after Imprint did not find the operator's witness.
const CANARY_REST: Duration = Duration::from_secs(30);

/// A customer whose update Imprint applied.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    pub(super) lane: LaneId,
    pub(super) customer: ImprintId,
    pub(super) applied_at: Timestamp,
}

/// The operator's witness: the customer in `imprint.canary_id`.
#[derive(Debug)]
struct Canary {
    customer: ImprintId,
    /// The lane of the customer, if the customer has one and the lane was sent.
    lane: Option<LaneId>,
    rests_until: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(super) struct Witnesses {
    canary: Option<Canary>,
    /// The customers of two different lanes, so that a failing lane is not its own witness.
    applied: [Option<Witness>; 2],
}

impl Witnesses {
    /// Names the customer of `imprint.canary_id` as a witness.
    pub(super) fn name(&mut self, canary: Option<ImprintId>) {
        self.canary = canary.map(|customer| Canary {
            customer,
            lane: None,
            rests_until: None,
        });
    }

    /// Forgets the customers whose update Imprint applied.
    pub(super) fn clear(&mut self) {
        self.applied = [None, None];
    }

    /// Stores which lane belongs to the operator's witness.
    pub(super) fn meet(&mut self, lane: LaneId, customer: &ImprintId) {
        if let Some(canary) = &mut self.canary
            && canary.lane.is_none()
            && canary.customer.is_same(customer.as_str())
        {
            canary.lane = Some(lane);
        }
    }

    /// Remembers the customer of an applied request. Returns true if the customer is a new witness.
    pub(super) fn record(&mut self, lane: LaneId, customer: &ImprintId, now: Timestamp) -> bool {
        let [last, other] = &mut self.applied;
        match last {
            Some(witness) if witness.lane == lane => {
                witness.applied_at = now;
                return false;
            }
            Some(witness) if other.is_some() && now < witness.applied_at.after(WITNESS_KEPT) => {
                return false;
            }
            Some(_) | None => {}
        }
        *other = last.replace(Witness {
            lane,
            customer: customer.clone(),
            applied_at: now,
        });
        true
    }

    /// Puts back the witnesses of an earlier process.
    pub(super) fn restore(&mut self, witnesses: impl IntoIterator<Item = Witness>) {
        let mut witnesses = witnesses.into_iter();
        self.applied = [witnesses.next(), witnesses.next()];
    }

    pub(super) fn applied(&self) -> impl Iterator<Item = &Witness> {
        self.applied.iter().flatten()
    }

    /// Returns a witness whose lane is sound, first of all the operator's witness.
    pub(super) fn find(
        &self,
        is_sound: impl Fn(LaneId) -> bool,
        now: Timestamp,
    ) -> Option<&ImprintId> {
        let canary = self.canary.as_ref().filter(|canary| {
            canary.lane.is_none_or(&is_sound) && canary.rests_until.is_none_or(|until| until <= now)
        });
        let applied = || self.applied().find(|witness| is_sound(witness.lane));
        canary
            .map(|canary| &canary.customer)
            .or_else(|| applied().map(|witness| &witness.customer))
    }

    /// Forgets a witness that Imprint does not find or does not show. The operator's witness only rests.
    pub(super) fn forget(&mut self, customer: &ImprintId, now: Timestamp) {
        if let Some(canary) = self.canary.as_mut()
            && canary.customer == *customer
        {
            canary.rests_until = Some(now.after(CANARY_REST));
        }
        for witness in &mut self.applied {
            witness.take_if(|known| known.customer == *customer);
        }
    }

    /// Forgets the customer of a lane as a witness.
    pub(super) fn forget_lane(&mut self, lane: LaneId) {
        for witness in &mut self.applied {
            witness.take_if(|known| known.lane == lane);
        }
    }
}
