//! The witnesses: customers whose update Imprint has applied, and the configured witness (`imprint.canary_id`). This
//! module is pure: it does no IO and reads no clock.

use std::time::Duration;

use crate::imprint::ImprintId;
use crate::outbox::LaneId;
use crate::time::Timestamp;

/// For at least this time, a new witness does not replace an old one. Without this time, the bridge would copy a
/// customer id for each applied request.
const WITNESS_KEPT: Duration = Duration::from_secs(1);
/// For this time after Imprint did not return the configured witness, the bridge asks about other witnesses.
const CANARY_REST: Duration = Duration::from_secs(30);

/// A customer whose update Imprint applied.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    pub(super) lane: LaneId,
    pub(super) customer: ImprintId,
    pub(super) applied_at: Timestamp,
}

/// The configured witness: the customer in the setting `imprint.canary_id`.
#[derive(Debug)]
struct Canary {
    customer: ImprintId,
    /// The lane of the customer. `None` means that dispatch has not sent a request of this lane.
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
    /// Sets the configured witness: the customer in the setting `imprint.canary_id`.
    pub(super) fn name(&mut self, canary: Option<ImprintId>) {
        self.canary = canary.map(|customer| Canary {
            customer,
            lane: None,
            rests_until: None,
        });
    }

    /// Replaces all witnesses except the configured witness, and returns the replaced witnesses.
    pub(super) const fn replace(&mut self, applied: [Option<Witness>; 2]) -> [Option<Witness>; 2] {
        std::mem::replace(&mut self.applied, applied)
    }

    /// If the customer is the configured witness, records the lane of the customer.
    pub(super) fn meet(&mut self, lane: LaneId, customer: &ImprintId) {
        if let Some(canary) = &mut self.canary
            && canary.lane.is_none()
            && canary.customer.is_same(customer.as_str())
        {
            canary.lane = Some(lane);
        }
    }

    /// Records the customer of an applied request as a witness. Returns true if the customer is a new witness.
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

    /// Restores the witnesses that an earlier process stored.
    pub(super) fn restore(&mut self, witnesses: impl IntoIterator<Item = Witness>) {
        let mut witnesses = witnesses.into_iter();
        self.applied = [witnesses.next(), witnesses.next()];
    }

    pub(super) fn applied(&self) -> impl Iterator<Item = &Witness> {
        self.applied.iter().flatten()
    }

    /// Returns the witnesses, so that the caller can remove some of them.
    pub(super) const fn applied_mut(&mut self) -> &mut [Option<Witness>; 2] {
        &mut self.applied
    }

    /// Returns a witness whose lane fulfils `is_sound`. Prefers the configured witness.
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

    /// Removes a witness that Imprint did not return. The configured witness is not removed, but rests for
    /// [`CANARY_REST`].
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

    /// Removes the customer of a lane from the witnesses.
    pub(super) fn forget_lane(&mut self, lane: LaneId) {
        for witness in &mut self.applied {
            witness.take_if(|known| known.lane == lane);
        }
    }
}
