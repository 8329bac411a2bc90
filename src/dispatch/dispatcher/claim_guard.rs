//! The check before each request that this process still has the claim of the lane.

use super::Shell;
use super::sent::SentAnswer;
use crate::dispatch::core::{DeliveryId, LaneAction};
use crate::dispatch::lane_exchange::ImprintCall;
use crate::imprint::ImprintApi;
use crate::outbox::ClaimToken;

impl<I: ImprintApi + 'static> Shell<I> {
    /// Sends one call of a delivery, unless the claim of the lane has possibly ended: then another process possibly sends
    /// newer values. Returns the next action of the delivery, and the answer if the call was sent.
    pub(super) async fn send(
        &self,
        (id, claim): (DeliveryId, ClaimToken),
        call: ImprintCall,
        entries: usize,
    ) -> (LaneAction, Option<SentAnswer>) {
        if !self.dispatcher.outbox.is_claim_valid(claim) {
            tracing::warn!("the lease of this replica has ended, so it does not send a request");
            let moment = self.moment();
            let action = self.core.borrow_mut().on_claim_ended(id, &call, moment);
            return (action, None);
        }
        let (reply, facts) = self.call(call, entries).await;
        let answer = SentAnswer::of(&reply, facts);
        let moment = self.moment();
        let action = self.core.borrow_mut().on_answer(id, reply, moment);
        (action, Some(answer))
    }
}
