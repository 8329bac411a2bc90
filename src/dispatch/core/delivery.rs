//! One delivery: a claimed lane, its permits, and the progress of the work on the lane.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::conclude::{conclude, without_gone};
use super::in_flight::InFlightPermit;
use super::{Context, Core, DeliveryId, LaneAction, LaneResult, Moment};
use crate::dispatch::destination::{Clearance, SendPermit};
use crate::dispatch::lane_exchange::{
    Conclusion, ExchangeStep, ImprintCall, ImprintReply, LaneExchange,
};
use crate::dispatch::policy::{Attempt, Decision, Effect, Rest};
use crate::dispatch::settlement::settlement;
use crate::imprint::Outcome;
use crate::outbox::{
    ClaimToken, ClaimedLane, EntryId, LaneId, MaybeSent, Settlement, Standing, Trials,
};
use crate::time::Timestamp;

/// The time for which a lane rests after dispatch has recorded its request in shadow mode.
const SHADOW_REST: Duration = Duration::from_mins(1);

impl Core {
    /// Returns the entries whose values the request of a delivery contains, for their traces.
    pub fn carried(&self, id: DeliveryId) -> Vec<EntryId> {
        let delivery = self.deliveries.get(&id);
        let exchange = delivery.and_then(|delivery| delivery.exchange.as_ref());
        let carried = exchange.map_or(&[][..], |exchange| exchange.fold.carried.as_slice());
        carried.iter().copied().map(EntryId).collect()
    }
}

/// One delivery of a claimed lane.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) lane: LaneId,
    token: ClaimToken,
    attempts: Trials,
    standing: Standing,
    /// Dispatch sends the entries up to this number one by one, even after the task of the delivery panicked.
    unfold_to: Option<EntryId>,
    /// The time at which dispatch sends the values in doubt again, even after the task of the delivery panicked.
    reassert_at: Option<Timestamp>,
    permit: Option<SendPermit>,
    /// The time of the last request, or of the permit, after the delivery has returned its permit.
    asked_at: Option<Timestamp>,
    pub(super) in_flight: Option<InFlightPermit>,
    /// The exchange with Imprint about the lane. `None` means that the lane is not folded yet.
    exchange: Option<LaneExchange>,
    stage: Stage,
    /// The number of updates that the delivery has sent. If its task panics afterwards, the values of the updates are in
    /// doubt.
    updates_sent: u32,
}

/// The progress of a delivery from the claim to the settlement.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a claimed lane is moved once; a box would be an allocation per request"
)]
enum Stage {
    /// The delivery waits for an [`InFlightPermit`].
    Queued(ClaimedLane),
    /// The core folds the lane's entries into a request, or a call to Imprint is in flight.
    Exchanging,
    /// The call to Imprint waits for a token of the rate limit.
    WaitingForToken(ImprintCall),
    /// The store has not recorded this settlement of the delivery yet.
    Settling(Arc<Settlement>),
}

impl Delivery {
    pub(super) fn new(claimed: ClaimedLane, permit: Option<SendPermit>) -> Self {
        Self {
            lane: claimed.lane,
            token: claimed.token,
            attempts: claimed.trials,
            standing: claimed.standing,
            unfold_to: claimed.unfold_to,
            reassert_at: claimed.versions.reassert_at(),
            permit,
            asked_at: None,
            in_flight: None,
            exchange: None,
            stage: Stage::Queued(claimed),
            updates_sent: 0,
        }
    }

    /// Returns whether the claim took the lane from the queue of failing lanes.
    pub(super) const fn is_failing(&self) -> bool {
        matches!(self.standing, Standing::Failing)
    }

    /// Returns whether Imprint answered the lane before, and the last request of the lane did not fail.
    pub(super) const fn is_well(&self) -> bool {
        matches!(self.standing, Standing::Well)
    }

    pub(super) fn start(&mut self, context: Context<'_>, moment: Moment) -> LaneAction {
        if let Some(permit) = &mut self.in_flight {
            permit.start(moment.now);
        }
        let mut claimed = match mem::replace(&mut self.stage, Stage::Exchanging) {
            Stage::Queued(claimed) => claimed,
            later @ (Stage::Exchanging | Stage::WaitingForToken(_) | Stage::Settling(_)) => {
                self.stage = later;
                return LaneAction::Done;
            }
        };
        claimed
            .unproven
            .absence
            .take_if(|absence| !context.destination.proves(absence, moment.now));
        let (exchange, step) = LaneExchange::start(claimed, context.rules, moment.now);
        self.exchange = Some(exchange);
        self.advance(step, context, moment)
    }

    pub(super) fn on_answer(
        &mut self,
        reply: ImprintReply,
        context: Context<'_>,
        moment: Moment,
    ) -> LaneAction {
        let Some(exchange) = &mut self.exchange else {
            return LaneAction::Done;
        };
        let step = exchange.on_answer(reply, moment.now);
        self.advance(step, context, moment)
    }

    pub(super) fn resume(&mut self, context: Context<'_>, moment: Moment) -> LaneAction {
        match mem::replace(&mut self.stage, Stage::Exchanging) {
            Stage::WaitingForToken(call) => self.advance(ExchangeStep::Call(call), context, moment),
            // The API key has changed while the store refused the settlement.
            Stage::Settling(settlement)
                if self
                    .asked_at
                    .is_some_and(|at| !context.destination.is_of_key(at)) =>
            {
                self.settle_again(without_gone(Arc::unwrap_or_clone(settlement)).into())
            }
            Stage::Settling(settlement) => self.settle_again(settlement),
            earlier @ (Stage::Queued(_) | Stage::Exchanging) => {
                self.stage = earlier;
                LaneAction::Done
            }
        }
    }

    /// Settles a delivery whose last call was not sent, because its claim has possibly ended.
    pub(super) fn on_claim_ended(
        &mut self,
        is_update: bool,
        context: Context<'_>,
        moment: Moment,
    ) -> LaneAction {
        self.updates_sent = self.updates_sent.saturating_sub(u32::from(is_update));
        self.on_lost(context, moment)
    }

    /// Settles a delivery whose task panicked. If the store recorded a settlement before the panic, the store answers
    /// that this second settlement is stale.
    pub(super) fn on_lost(&mut self, context: Context<'_>, moment: Moment) -> LaneAction {
        self.in_flight = None;
        self.permit = None;
        let settlement = match mem::replace(&mut self.stage, Stage::Exchanging) {
            Stage::Settling(settlement) => settlement,
            Stage::Queued(claimed) => {
                let (exchange, _) = LaneExchange::start(claimed, context.rules, moment.now);
                self.exchange = Some(exchange);
                Arc::new(self.lost(context, moment))
            }
            Stage::Exchanging | Stage::WaitingForToken(_) => Arc::new(self.lost(context, moment)),
        };
        self.settle_again(settlement)
    }

    /// Returns the settlement of a delivery whose task panicked.
    ///
    /// If the delivery sent no update, the settlement finishes no entry and contains no value, because the content of
    /// an entry possibly caused the panic. The settlement keeps the values in doubt, the time to send these values
    /// again, and the mark for sending entries one by one.
    fn lost(&self, context: Context<'_>, moment: Moment) -> Settlement {
        let retry = |effect| Decision::Retry {
            effect,
            rest: Rest::Backoff,
            attempt: Attempt::NotCounted,
        };
        if let Some(exchange) = self.exchange.as_ref().filter(|_| self.updates_sent > 0) {
            return settlement(exchange, retry(Effect::Unconfirmed), context.rules, moment);
        }
        let empty = ClaimedLane {
            unfold_to: self.unfold_to,
            ..ClaimedLane::empty(self.lane, self.token, self.attempts)
        };
        let (exchange, _) = LaneExchange::start(empty, context.rules, moment.now);
        let retried = settlement(&exchange, retry(Effect::None), context.rules, moment);
        let claimed = self.exchange.as_ref().map(|exchange| &exchange.claimed);
        let reassert_at =
            claimed.map_or(self.reassert_at, |claimed| claimed.versions.reassert_at());
        let in_doubt = claimed.filter(|claimed| claimed.maybe_sent != MaybeSent::Nothing);
        Settlement {
            versions: in_doubt.map(|claimed| claimed.versions.clone()),
            reassert_at: reassert_at.map(|at| at.max(retried.due)),
            ..retried
        }
    }

    pub(super) fn into_settlement(self) -> Option<Arc<Settlement>> {
        match self.stage {
            Stage::Settling(settlement) => Some(settlement),
            Stage::Queued(_) | Stage::Exchanging | Stage::WaitingForToken(_) => None,
        }
    }

    fn advance(&mut self, step: ExchangeStep, context: Context<'_>, moment: Moment) -> LaneAction {
        let call = match step {
            ExchangeStep::Conclude(conclusion) => {
                return self.conclude(conclusion, context, moment);
            }
            ExchangeStep::Call(call) => call,
        };
        let due = match self.clear(&call, moment) {
            Clearance::Send => return self.send(call),
            Clearance::Wait(later) => {
                self.stage = Stage::WaitingForToken(call);
                return LaneAction::SleepUntil(later);
            }
            Clearance::Withdrawn => moment.now,
            Clearance::Shadow => moment.now.after(SHADOW_REST),
            Clearance::Postpone(later) => later,
        };
        let postponed = self.exchange.as_mut();
        let postponed = postponed.map_or(Conclusion::Postponed(due), |exchange| {
            exchange.postponed(due)
        });
        self.conclude(postponed, context, moment)
    }

    /// Asks the send permit whether dispatch is allowed to send the call. A delivery without an [`InFlightPermit`] must
    /// not send a call, because the core is stopping.
    fn clear(&mut self, call: &ImprintCall, moment: Moment) -> Clearance {
        match (&mut self.permit, &self.in_flight) {
            (Some(permit), Some(_)) => {
                if let (ImprintCall::Search(_), Some(exchange)) = (call, &self.exchange) {
                    permit.name_sources(exchange.claimed.sources());
                }
                permit.clear(self.lane, call, moment.now)
            }
            (_, _) => Clearance::Withdrawn,
        }
    }

    fn send(&mut self, call: ImprintCall) -> LaneAction {
        self.stage = Stage::Exchanging;
        self.updates_sent += u32::from(matches!(call, ImprintCall::Update(_)));
        let exchange = self.exchange.as_ref();
        let carried = exchange.map(|exchange| exchange.fold.carried.as_slice());
        let carried = carried.unwrap_or_default();
        let newest = carried.last().copied().map(EntryId);
        LaneAction::Call {
            call,
            claim: self.token,
            entries: carried.len(),
            entry: newest.or_else(|| exchange?.claimed.waiting.last().map(|it| it.entry)),
        }
    }

    fn conclude(
        &mut self,
        conclusion: Conclusion,
        context: Context<'_>,
        moment: Moment,
    ) -> LaneAction {
        if let (Conclusion::Updated(Outcome::Applied(_)), Some(permit)) =
            (&conclusion, &self.in_flight)
        {
            permit.applied(moment.now);
        }
        self.in_flight = None;
        let permit = self.permit.take();
        self.asked_at = permit.as_ref().map(SendPermit::sent_at);
        let Some(exchange) = &self.exchange else {
            return LaneAction::Done;
        };
        let result = conclude(exchange, conclusion, permit, context, moment);
        self.settle(result)
    }

    /// Returns the action that settles the delivery. Keeps the settlement until the store has recorded it.
    fn settle(&mut self, result: LaneResult) -> LaneAction {
        self.stage = Stage::Settling(Arc::clone(&result.settlement));
        LaneAction::Settle(result)
    }

    fn settle_again(&mut self, settlement: Arc<Settlement>) -> LaneAction {
        self.settle(LaneResult {
            report: None,
            change: None,
            settlement,
        })
    }
}
