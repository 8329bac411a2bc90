//! The token bucket in the store, as several processes share it, and the task of the simulated process that orders tokens.

use imprint_bridge::outbox::{TokenGrant, TokenOrder};
use imprint_bridge::time::Timestamp;

use super::{Happening, World};

/// The time between an order that the store refused and the next order.
const RETRY: i64 = 250;

/// The order of tokens of a simulated process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    None,
    /// The process orders tokens soon.
    Planned,
    /// The store has granted tokens, and the process does not have the answer yet.
    Granted(TokenOrder, TokenGrant, Timestamp),
}

/// The token bucket in the store. Its clock is virtual time, whatever the clock of the process is.
#[derive(Debug, Default)]
pub(super) struct Budget {
    bucket: Option<(f64, i64)>,
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
}

impl World<'_> {
    /// Plans the next order of tokens.
    pub(super) fn order_soon(&mut self) {
        let (clock, offset) = (self.clock(), self.offset);
        let Some(process) = &mut self.process else {
            return;
        };
        if let (Order::None, Some(next)) = (process.order, process.destination.next_order(clock)) {
            process.order = Order::Planned;
            self.at(next.as_millis() - offset, Happening::Order);
        }
    }

    pub(super) fn order(&mut self) {
        let (now, clock) = (self.now, self.clock());
        let is_refused = self.is_refused();
        let Some(process) = &mut self.process else {
            return;
        };
        let Order::Planned = process.order else {
            return;
        };
        if is_refused {
            self.at(now + RETRY, Happening::Order);
            return;
        }
        process.order = Order::None;
        let Some(order) = process.destination.order(clock) else {
            return;
        };
        let grant = self.budget.take(order, now);
        process.order = Order::Granted(order, grant, clock);
        let took = self.random.pick(&[0, 0, 1, 20]);
        self.at(now + took, Happening::Ordered);
    }

    pub(super) fn ordered(&mut self) {
        let now = self.clock();
        let Some(process) = &mut self.process else {
            return;
        };
        if let Order::Granted(order, grant, ordered_at) = process.order {
            process.order = Order::None;
            process.destination.ordered(order, grant, (ordered_at, now));
            self.wake();
        }
    }
}
