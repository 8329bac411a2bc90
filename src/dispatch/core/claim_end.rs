//! The deliveries whose claims end before their settlement. This module is pure: it does no IO and reads no clock.

use super::{Core, DeliveryId, LaneAction, Moment};

impl Core {
    /// Settles a delivery whose last call the dispatcher did not send, because the claim of the lane has possibly ended.
    pub fn on_claim_ended(
        &mut self,
        id: DeliveryId,
        is_update: bool,
        moment: Moment,
    ) -> LaneAction {
        self.advance(id, |delivery, context| {
            delivery.on_claim_ended(is_update, context, moment)
        })
    }
}
