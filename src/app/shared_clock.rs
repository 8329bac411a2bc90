//! Sets the clock of the bridge to the clock of a database that several bridges share, at the start and from then on: a
//! machine can stand still for a time, and an operator can correct the clock of the database.

use std::future::pending;
use std::time::Duration;

use crate::outbox::Outbox;
use crate::time::{Clock, Timestamp};

/// The difference between two clocks that the bridge reports.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10);
/// The time between two looks at the clock of the database. After a suspend of the machine, the bridge compares the times of
/// events with a wrong time for as long at most.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// An answer that took longer says too little about the time.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Returns the clock of this machine, set to the clock of the store.
pub(super) fn set(clock: &Clock, shared: Timestamp) -> Clock {
    let now = clock.now();
    let ahead = now.since(shared).max(shared.since(now));
    if ahead > CLOCKS_DIFFER {
        tracing::warn!(
            seconds = ahead.as_secs(),
            "the clock of this machine and the clock of the database differ; the bridge plans its work by the clock of the database, and checks signatures by the clock of this machine"
        );
    }
    clock.set_to(shared)
}

/// Follows the clock of the store, without end. A store in a file has no clock.
pub(super) async fn follow(outbox: &dyn Outbox, clock: &Clock) {
    loop {
        clock.sleep(LOOK_EVERY).await;
        let asked = clock.monotonic();
        // The bridge reports a failing store elsewhere.
        let Ok(shared) = outbox.shared_time().await else {
            continue;
        };
        let Some(shared) = shared else {
            return pending().await;
        };
        if clock.monotonic().saturating_sub(asked) > ANSWER_MAX {
            continue;
        }
        let difference = clock.follow(shared);
        if let Some(difference) = difference.filter(|difference| *difference > CLOCKS_DIFFER) {
            tracing::warn!(
                seconds = difference.as_secs(),
                "the clock of the database has moved against this bridge: the machine stood still, or somebody set the clock of the database; the bridge follows it"
            );
        }
    }
}
