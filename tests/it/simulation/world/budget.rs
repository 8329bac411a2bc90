//! What the store keeps for several processes, the token bucket and the agreed state, and the task of the simulated process
//! that shares them.

use imprint_bridge::dispatch::destination::PendingProposal;
use imprint_bridge::outbox::{AgreedView, TokenGrant, TokenOrder};
use imprint_bridge::time::Timestamp;

use super::{Happening, World};

/// The time between an exchange that the store refused and the next exchange.
const RETRY: i64 = 250;

/// The exchange of a simulated process with the store.
#[derive(Debug)]
pub(super) enum SharedExchange {
    None,
    /// The process asks the store soon.
    Planned,
    /// The store has answered, and the process does not have the answer yet.
    Answered {
        tokens: Option<(TokenOrder, TokenGrant)>,
        proposed: Option<Box<PendingProposal>>,
        view: AgreedView,
        asked_at: Timestamp,
    },
}

/// The token bucket and the agreed state in the store. Their clock is virtual time, whatever the clock of the process is.
#[derive(Debug, Default)]
pub(super) struct Budget {
    bucket: Option<(f64, i64)>,
    agreed: Option<(u64, String)>,
}

impl Budget {
    /// Does the same as the statement of the PostgreSQL engine.
    fn take(&mut self, order: TokenOrder, now: i64) -> TokenGrant {
        let filled = match self.bucket {
            None => 1.0,
            Some((tokens, filled_at)) => {
                let millis = u32::try_from(now - filled_at).unwrap_or(0);
                (tokens + order.rate * f64::from(millis) / 1_000.0).min(order.burst)
            }
        };
        let mut grant = TokenGrant {
            count: 0,
            left: filled,
        };
        while grant.left >= 1.0 && f64::from(u32::try_from(grant.count).unwrap()) < order.wanted {
            grant.left -= 1.0;
            grant.count += 1;
        }
        self.bucket = Some((grant.left, now));
        grant
    }

    /// Does the same as the statements of the PostgreSQL engine.
    pub(super) fn agree(&mut self, proposed: Option<&PendingProposal>, now: i64) -> AgreedView {
        let revision = self.agreed.as_ref().map_or(0, |(revision, _)| *revision);
        let accepted = proposed.filter(|it| it.proposal.revision == revision);
        if let Some(accepted) = accepted {
            self.agreed = Some((revision + 1, accepted.proposal.state.clone()));
        }
        let known = self.agreed.as_ref().filter(|_| accepted.is_none());
        AgreedView {
            is_accepted: accepted.is_some(),
            revision: revision + u64::from(accepted.is_some()),
            state: known.map(|(_, state)| state.clone()),
            at: Timestamp::from_millis(now),
        }
    }
}

impl World<'_> {
    /// Plans the next exchange with the store.
    pub(super) fn exchange_soon(&mut self) {
        let (clock, offset) = (self.clock(), self.offset);
        let Some(process) = &mut self.process else {
            return;
        };
        let next = process.destination.next_exchange(clock);
        if let (SharedExchange::None, Some(next)) = (&process.exchange, next) {
            process.exchange = SharedExchange::Planned;
            self.at(next.as_millis() - offset, Happening::Exchange);
        }
    }

    pub(super) fn exchange(&mut self) {
        let (now, asked_at) = (self.now, self.clock());
        let is_refused = self.is_refused();
        let Some(process) = &mut self.process else {
            return;
        };
        let SharedExchange::Planned = process.exchange else {
            return;
        };
        if is_refused {
            self.at(now + RETRY, Happening::Exchange);
            return;
        }
        let order = process.destination.order(asked_at);
        let proposed = process.destination.propose(asked_at);
        let budget = &mut self.budget;
        process.exchange = SharedExchange::Answered {
            tokens: order.map(|order| (order, budget.take(order, now))),
            view: budget.agree(proposed.as_ref(), now),
            proposed: proposed.map(Box::new),
            asked_at,
        };
        let took = self.random.pick(&[0, 0, 1, 20]);
        self.at(now + took, Happening::Exchanged);
    }

    pub(super) fn exchanged(&mut self) {
        let now = self.clock();
        let Some(process) = &mut self.process else {
            return;
        };
        let exchange = std::mem::replace(&mut process.exchange, SharedExchange::None);
        let SharedExchange::Answered {
            tokens,
            proposed,
            view,
            asked_at,
        } = exchange
        else {
            process.exchange = exchange;
            return;
        };
        if let Some((order, grant)) = tokens {
            process.destination.ordered(order, grant, (asked_at, now));
        }
        process.destination.agree(proposed.as_deref(), &view, now);
        self.wake();
    }
}
