//! The outbox port of dispatch.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::answer::wait;
use super::engine::Engine;
use super::runtime::EngineCommand;
use super::writer::WriteCall;
use super::{PostgresOutbox, claim, release};
use crate::outbox::{Claim, ClaimToken, Lanes, Pick, Settled, Settlement, StoreFuture};
use crate::time::Timestamp;

impl Lanes for PostgresOutbox {
    fn claim(&self, now: Timestamp, max: usize, pick: Pick) -> StoreFuture<'_, Claim> {
        let (reply, answer) = oneshot::channel();
        let operation = move |engine: Rc<Engine>| -> Pin<Box<dyn Future<Output = ()>>> {
            Box::pin(claim::serve(engine, (now, max, pick), reply))
        };
        wait(self.send(EngineCommand::Run(Box::new(operation))), answer)
    }

    fn settle(&self, settlement: Arc<Settlement>) -> StoreFuture<'_, Settled> {
        self.write(|reply| WriteCall::Settle(settlement, reply))
    }

    fn is_claim_valid(&self, token: ClaimToken) -> bool {
        self.shared.lease.covers(token)
    }

    fn release(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        self.run(async move |engine: Rc<Engine>| release::release(&engine, now).await)
    }

    fn release_absent(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        self.run(async move |engine: Rc<Engine>| release::release_absent(&engine, now).await)
    }

    fn woken(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.shared.woken.notified())
    }
}
