//! The checks that this process still has the claim of the lane: before each request, and again immediately before the
//! first byte of an update. In between, the process possibly waits for a connection, or stands still.

use std::sync::Arc;

use super::Shell;
use super::sent::SentAnswer;
use crate::dispatch::core::{DeliveryId, LaneAction};
use crate::dispatch::lane_exchange::ImprintCall;
use crate::imprint::{ImprintApi, LastCheck};
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
        let is_update = matches!(call, ImprintCall::Update(_));
        let outbox = Arc::clone(&self.dispatcher.outbox);
        let check = LastCheck::new(move || outbox.is_claim_valid(claim));
        if check.allows() {
            let (reply, facts) = self.call(call, entries, &check).await;
            if !check.has_refused() {
                let answer = SentAnswer::of(&reply, facts);
                let moment = self.moment();
                let action = self.core.borrow_mut().on_answer(id, reply, moment);
                return (action, Some(answer));
            }
        }
        tracing::warn!("the lease of this replica has ended, so it does not send a request");
        let moment = self.moment();
        let action = self.core.borrow_mut().on_claim_ended(id, is_update, moment);
        (action, None)
    }
}
