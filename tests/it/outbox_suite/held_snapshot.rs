//! Claims while a session holds an old snapshot of the database, so that nothing can remove dead rows.

use imprint_bridge::outbox::{LaneId, Lanes as _, PostgresOutbox};
use imprint_bridge::sealing::KeyRing;

use super::*;
use crate::postgres::PostgresDatabase;
use crate::support::block_on;

/// The number of lanes that were due before.
const DEAD: u64 = 20_000;
/// The number before the number of the first lane that was due before.
const FIRST: u64 = 1_000_000;

/// The number of claims, which without floors would read the dead entries each time.
const CLAIMS: u64 = 100;

/// A query for a report that keeps its snapshot.
const REPORT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM imprint_bridge.lane; SELECT pg_sleep(60)";

/// Runs `test` on a store with [`DEAD`] dead entries in the queue, while a session holds a snapshot that is older.
fn with_held_snapshot(test: impl AsyncFnOnce(&PostgresDatabase, &PostgresOutbox)) {
    let database = postgres::database();
    let outbox = database.open(ClaimBounds::default(), Arc::<KeyRing>::default());
    database.psql(&format!(
        "INSERT INTO imprint_bridge.lane (id, kind, customer, received, idle, low, due_at)
         SELECT {FIRST} + n, 0, decode(md5(n::text), 'hex'), decode('00', 'hex'), true, 0, n FROM generate_series(1, {DEAD}) n"
    ));
    std::thread::scope(|scope| {
        let report = scope.spawn(|| database.try_psql(REPORT));
        let pid = wait_for("the report has its snapshot", || {
            let sql = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
            Some(database.psql(sql)).filter(|pid| !pid.is_empty())
        });
        database.psql("UPDATE imprint_bridge.lane SET due_at = NULL");
        block_on(test(&database, &outbox));
        database.psql(&format!("SELECT pg_terminate_backend({pid})"));
        assert!(report.join().unwrap().is_err());
    });
}

async fn claim_one(outbox: &PostgresOutbox) -> Claim {
    let pick = Pick::LongestDue(LaneShares::UNLIMITED);
    outbox.claim(NOW, 1, pick).await.unwrap()
}

/// FAULTS N1022: the dead entries of a queue do not slow every claim down.
#[test]
fn claims_do_not_read_the_dead_entries_of_a_queue_all_the_time() {
    with_held_snapshot(async |database, outbox| {
        let entries: Vec<NewEntry> = (0..CLAIMS)
            .map(|number| entry(&format!("e-{number}"), &format!("C-{number}"), 1))
            .collect();
        append(outbox, &entries).await;
        for number in 0..CLAIMS {
            assert_eq!(claim_one(outbox).await.lanes.len(), 1, "{number}");
        }
        // PostgreSQL publishes the numbers of a session at most once a second, and not before its next statement.
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            assert!(claim_one(outbox).await.lanes.is_empty());
        }
        let sql = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'lane_due'";
        let read: u64 = database.psql(sql).parse().unwrap();
        assert!((DEAD..DEAD * CLAIMS / 2).contains(&read), "{read}");
    });
}

/// FAULTS N1023: lanes become free below the place where claims begin to read, and the replica does not know it.
#[test]
fn a_lane_that_becomes_due_in_the_past_is_claimed_soon() {
    with_held_snapshot(async |database, outbox| {
        for (lane, due) in [(1, 1), (2, 1_000), (3, NOW.as_millis() - 1)] {
            assert!(claim_one(outbox).await.lanes.is_empty());
            let lane = FIRST + lane;
            database.psql(&format!(
                "UPDATE imprint_bridge.lane SET due_at = {due} WHERE id = {lane}"
            ));
            let woken = outbox.woken();
            let mut claimed = claim_one(outbox).await.lanes;
            if claimed.is_empty() {
                let woken = tokio::time::timeout(Duration::from_secs(20), woken);
                woken.await.expect("the store tells when to claim again");
                claimed = claim_one(outbox).await.lanes;
            }
            let claimed: Vec<LaneId> = claimed.iter().map(|claimed| claimed.lane).collect();
            assert_eq!(claimed, [LaneId(lane)]);
        }
    });
}
