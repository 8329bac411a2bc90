//! The deliveries whose claims end before their settlement. This module is pure: it does no IO and reads no clock.

use super::{Core, DeliveryId, ImprintCall, LaneAction, Moment};
use crate::outbox::ClaimToken;

impl Core {
    /// Returns the claim of a delivery. Returns `None` if the delivery has ended.
    pub fn claim(&self, id: DeliveryId) -> Option<ClaimToken> {
        self.deliveries.get(&id).map(|delivery| delivery.token)
    }

    /// Settles a delivery whose last call the dispatcher did not send, because the claim of the lane has possibly ended.
    pub fn on_claim_ended(
        &mut self,
        id: DeliveryId,
        unsent: &ImprintCall,
        moment: Moment,
    ) -> LaneAction {
        self.advance(id, |delivery, context| {
            delivery.on_claim_ended(unsent, context, moment)
        })
    }
}
