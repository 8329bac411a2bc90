//! Retention in a store of several replicas: retention and an erasure never wait for each other in a circle.

use imprint_bridge::outbox::{LaterEvents, PostgresOutbox};
use imprint_bridge::sealing::KeyRing;

use super::damage::LATER;
use super::erased::{erase, imprint};
use super::*;
use crate::support::block_on;

/// The time in seconds for which another session keeps its lock. PostgreSQL looks for a deadlock after 1 second.
const LOCKED_SECONDS: f64 = 2.5;
/// The time after which the erasure follows the retention.
const ERASED_AFTER: Duration = Duration::from_millis(300);

/// Appends an event of each customer, and delivers all of them.
async fn deliver(outbox: &PostgresOutbox, value: i64) {
    let entries = ["C-1", "C-2", "C-3"];
    let entries = entries.map(|customer| entry(&format!("{customer}-{value}"), customer, value));
    append(outbox, &entries).await;
    for claimed in claim(outbox, NOW).await.lanes {
        let versions = Some(delivered(&claimed));
        record(outbox, settle_as_delivered(&claimed, versions)).await;
    }
}

/// FAULTS N970: retention and the erasure of a customer change the same receipts and origins at two replicas.
#[test]
fn retention_and_an_erasure_cause_no_deadlock() {
    let database = postgres::database();
    let open = || database.open(ClaimBounds::default(), Arc::<KeyRing>::default());
    let (one, other) = (open(), open());
    let prune = || one.prune_receipts(EntryId(0), LATER..=LATER);
    block_on(deliver(&one, 1));
    block_on(prune()).unwrap();
    let origins = || database.psql("SELECT count(*) FROM imprint_bridge.origin");
    assert_eq!(origins(), "2");
    // The second values replace the first ones, so retention deletes their origins.
    block_on(deliver(&one, 2));
    let lock = format!(
        "SELECT 1 FROM imprint_bridge.origin ORDER BY entry DESC LIMIT 1 FOR UPDATE; SELECT pg_sleep({LOCKED_SECONDS})"
    );
    std::thread::scope(|scope| {
        let locked = scope.spawn(|| database.psql(&lock));
        wait_for("another session has locked an origin", || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
            (database.psql(sql) == "1").then_some(())
        });
        block_on(async {
            let erasure = async {
                tokio::time::sleep(ERASED_AFTER).await;
                erase(&other, imprint("C-1"), LaterEvents::Delivered).await
            };
            let (pruned, _erased) = futures_util::future::join(prune(), erasure).await;
            pruned.unwrap();
        });
        locked.join().unwrap();
    });
    // The sessions report their deadlocks when they end.
    drop((one, other));
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.psql(deadlocks), "0");
}
