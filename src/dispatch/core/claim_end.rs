//! The deliveries whose claims end before their settlement. This module is pure: it does no IO and reads no clock.

use super::{Core, DeliveryId, ImprintCall, LaneAction, Moment};

impl Core {
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
