//! Several replicas on one PostgreSQL store: claims, fences, leases, and what remains correct while connections break.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use imprint_bridge::outbox::{
    Forgotten, KeyMark, LaneId, Lanes as _, LaterEvents, PostgresOpenError, PostgresOutbox,
    ReplicaReport, Settings as _, SharedDestination as _,
};
use imprint_bridge::sealing::KeyRing;

use super::erased::{erase, imprint};
use super::*;
use crate::postgres::{PostgresDatabase, PostgresServer};
use crate::postgres_proxy::PostgresProxy;

/// The maximum number of appends until the server has read a changed setting.
const APPENDS_MAX: i64 = 20_000;

/// Opens two replicas on a new store.
fn two_replicas(database: &PostgresDatabase) -> [Arc<PostgresOutbox>; 2] {
    [1, 2].map(|_| Arc::new(database.open(ClaimBounds::default(), Arc::<KeyRing>::default())))
}

async fn claim_all(outbox: &PostgresOutbox, max: usize) -> Vec<ClaimedLane> {
    let pick = Pick::LongestDue(LaneShares::UNLIMITED);
    outbox.claim(NOW, max, pick).await.unwrap().lanes
}

fn delivered(claimed: &ClaimedLane) -> Arc<Settlement> {
    settlement(claimed, all(claimed, &Ending::Delivered), NOW).into()
}

#[tokio::test]
async fn replicas_claim_different_lanes_and_settle_only_their_own() {
    let database = postgres::database();
    let [one, other] = two_replicas(&database);
    let entries: Vec<NewEntry> = (0..20)
        .map(|number| entry(&format!("e-{number}"), &format!("C-{number}"), 1))
        .collect();
    append(&*one, &entries).await;
    let (first, second) = (claim_all(&one, 12).await, claim_all(&other, 20).await);
    assert_eq!((first.len(), second.len()), (12, 8));
    let lanes: HashSet<LaneId> = first.iter().chain(&second).map(|lane| lane.lane).collect();
    assert_eq!(lanes.len(), 20);
    let theirs = other.settle(delivered(&first[0])).await.unwrap();
    assert_eq!(theirs, Settled::Stale);
    let own = one.settle(delivered(&first[0])).await.unwrap();
    assert_eq!(own, Settled::Recorded);
    let id = format!("e-{}", 0);
    assert_eq!(receipt(&*other, &id).await.state, State::Delivered);
}

/// FAULTS N1061: a replica settles several lanes at once, and their claims have equal numbers.
#[tokio::test]
async fn settlements_of_different_lanes_in_one_commit_are_all_recorded() {
    for (engine, outbox, _folder) in engines() {
        let entries: Vec<NewEntry> = (0..20)
            .map(|number| entry(&format!("e-{number}"), &format!("C-{number}"), 1))
            .collect();
        append(&*outbox, &entries).await;
        let pick = Pick::LongestDue(LaneShares::UNLIMITED);
        let claimed = outbox.claim(NOW, 20, pick).await.unwrap().lanes;
        let settles = claimed.iter().map(|lane| outbox.settle(delivered(lane)));
        let settles: Vec<_> = settles.collect();
        for settled in settles {
            assert_eq!(settled.await.unwrap(), Settled::Recorded, "{engine}");
        }
        for number in 0..20 {
            let id = format!("e-{number}");
            let state = receipt(&*outbox, &id).await.state;
            assert_eq!(state, State::Delivered, "{engine}");
        }
    }
}

#[tokio::test]
async fn a_waiting_caller_learns_of_a_settlement_by_another_replica() {
    let database = postgres::database();
    let [one, other] = two_replicas(&database);
    let stored = append(&*one, &[entry("a", "CUST-1", 1)]).await;
    let claimed = claim_all(&other, 1).await;
    let settle = async {
        tokio::task::yield_now().await;
        other.settle(delivered(&claimed[0])).await.unwrap()
    };
    let (state, settled) = tokio::join!(one.wait_settled(stored[0].entry), settle);
    assert_eq!(
        (state.unwrap(), settled),
        (State::Delivered, Settled::Recorded)
    );
}

/// A replica whose lease has ended loses its lanes: its late answers change nothing, and it continues under a new number.
#[tokio::test]
async fn a_replica_without_a_lease_loses_its_lanes() {
    let database = postgres::database();
    let one = database.open(ClaimBounds::default(), Arc::default());
    let stored = append(&one, &[entry("a", "CUST-1", 1)]).await;
    let lost = claim_all(&one, 1).await.remove(0);
    database.psql("UPDATE imprint_bridge.replica SET lease_until = '-infinity'");
    let other = database.open(ClaimBounds::default(), Arc::default());
    let claimed = claim_all(&other, 1).await.remove(0);
    assert_eq!(claimed.lane, lost.lane);
    assert_ne!(claimed.token, lost.token);
    assert_eq!(claimed.maybe_sent, MaybeSent::Entries(stored[0].entry));
    let late = one.settle(delivered(&lost)).await.unwrap();
    assert_eq!(late, Settled::Stale);
    assert_eq!(receipt(&other, "a").await.state, State::Waiting);
    let own = other.settle(delivered(&claimed)).await.unwrap();
    assert_eq!(own, Settled::Recorded);
    append(&one, &[entry("b", "CUST-1", 2)]).await;
    let pick = Pick::LongestDue(LaneShares::UNLIMITED);
    let again = loop {
        match one.claim(NOW, 1, pick).await {
            Ok(claim) => break claim.lanes,
            Err(Error::Busy) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    };
    let again = one.settle(delivered(&again[0])).await.unwrap();
    assert_eq!(again, Settled::Recorded);
}

/// Ends the lease of `one` while its claim is open, and opens a second replica, which claims the lane. Returns both claims.
async fn taken_over(
    database: &PostgresDatabase,
    one: &PostgresOutbox,
) -> (ClaimedLane, PostgresOutbox, ClaimedLane) {
    append(one, &[entry("a", "CUST-1", 1)]).await;
    let lost = claim_all(one, 1).await.remove(0);
    database.psql("UPDATE imprint_bridge.replica SET lease_until = '-infinity'");
    let other = database.open(ClaimBounds::default(), Arc::default());
    let claimed = claim_all(&other, 1).await.remove(0);
    (lost, other, claimed)
}

/// Claims lanes under the next registration of a replica whose lease has ended.
async fn claim_again(outbox: &PostgresOutbox, now: Timestamp) -> Vec<ClaimedLane> {
    let pick = Pick::LongestDue(LaneShares::UNLIMITED);
    loop {
        match outbox.claim(now, 5, pick).await {
            Ok(claim) => return claim.lanes,
            Err(Error::Busy) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Ends the lease of `one` while its claim of a customer is open, and registers it again. Returns the claim. No other replica
/// is left.
async fn with_lost_lease(database: &PostgresDatabase, one: &PostgresOutbox) -> ClaimedLane {
    append(one, &[entry("a", "CUST-1", 1)]).await;
    let lost = claim_all(one, 1).await.remove(0);
    database.psql("UPDATE imprint_bridge.replica SET lease_until = '-infinity'");
    let other = database.open(ClaimBounds::default(), Arc::default());
    other.close();
    append(one, &[entry("b", "CUST-2", 1)]).await;
    let claimed = claim_again(one, NOW).await;
    let keys: Vec<_> = claimed.iter().map(|lane| lane.key.clone()).collect();
    assert_eq!(keys, [key("CUST-2")], "the request of CUST-1 is in flight");
    // The last of these claims begins to read the queues behind the lane of CUST-1.
    for now in [NOW, NOW.after(Duration::from_mins(1))] {
        let claimed = claim_again(one, now).await;
        assert_eq!(claimed.len(), 0, "the request of CUST-1 is in flight");
    }
    lost
}

/// FAULTS N1522: a replica whose lease has ended claims a lane again only after dispatch has given back its earlier claim of
/// this lane, with a request or without one.
#[tokio::test]
async fn a_replica_claims_no_lane_that_its_dispatch_still_has() {
    for is_sent in [true, false] {
        let database = postgres::database();
        let one = database.open(ClaimBounds::default(), Arc::default());
        let lost = with_lost_lease(&database, &one).await;
        let late = Settlement {
            attempted: match is_sent {
                true => vec![lost.waiting[0].entry],
                false => Vec::new(),
            },
            ..settlement(&lost, Vec::new(), NOW)
        };
        assert_eq!(one.settle(late.into()).await.unwrap(), Settled::Stale);
        let later = NOW.after(Duration::from_mins(1));
        let again = claim_again(&one, later).await.remove(0);
        assert_eq!(again.lane, lost.lane);
        let possibly_sent = MaybeSent::Entries(lost.waiting[0].entry);
        assert_eq!(again.maybe_sent, possibly_sent);
        let settled = one.settle(delivered(&again)).await.unwrap();
        assert_eq!(settled, Settled::Recorded);
    }
}

/// FAULTS N1522: another replica claims the lane meanwhile, and the replica claims it when both are ready.
#[tokio::test]
async fn another_replica_claims_the_lane_of_a_late_request() {
    let database = postgres::database();
    let one = database.open(ClaimBounds::default(), Arc::default());
    let lost = with_lost_lease(&database, &one).await;
    let other = database.open(ClaimBounds::default(), Arc::default());
    let theirs = claim_all(&other, 1).await.remove(0);
    assert_eq!(theirs.lane, lost.lane);
    assert_eq!(one.settle(delivered(&lost)).await.unwrap(), Settled::Stale);
    let own = other.settle(delivered(&theirs)).await.unwrap();
    assert_eq!(own, Settled::Recorded);
    append(&other, &[entry("c", "CUST-1", 2)]).await;
    let again = claim_all(&one, 1).await.remove(0);
    assert_eq!(again.lane, lost.lane);
    assert_eq!(again.maybe_sent, MaybeSent::Anything);
}

/// Claims the lane of a new event at the only replica that has no open claim, and settles the claim.
async fn next_claim(outbox: &PostgresOutbox, event: &str) -> ClaimedLane {
    append(outbox, &[entry(event, "CUST-1", 2)]).await;
    let claimed = claim_all(outbox, 1).await.remove(0);
    let settled = outbox.settle(delivered(&claimed)).await.unwrap();
    assert_eq!(settled, Settled::Recorded);
    claimed
}

fn late_sends(outbox: &PostgresOutbox) -> u64 {
    outbox.figures().database.map_or(0, |it| it.late_sends)
}

/// FAULTS N1019: a replica notices that its request was late, before or after the settlement of the replica that has the
/// lane now. The late settlement is stale in both cases, and the next claim says that any value was possibly sent.
#[tokio::test]
async fn a_late_request_is_known_to_the_next_claim() {
    for is_before in [true, false] {
        let database = postgres::database();
        let one = database.open(ClaimBounds::default(), Arc::default());
        let (lost, other, claimed) = taken_over(&database, &one).await;
        let late = async || {
            let late = one.settle(delivered(&lost)).await.unwrap();
            assert_eq!(late, Settled::Stale);
        };
        if is_before {
            late().await;
        }
        let own = other.settle(delivered(&claimed)).await.unwrap();
        assert_eq!(own, Settled::Recorded);
        if !is_before {
            // The replica repeats its settlement if it did not get the answer.
            let repeated = other.settle(delivered(&claimed)).await.unwrap();
            assert_eq!(repeated, Settled::Stale);
            late().await;
        }
        assert_eq!((late_sends(&one), late_sends(&other)), (1, 0));
        let next = next_claim(&other, "b").await;
        assert_eq!(next.maybe_sent, MaybeSent::Anything, "{is_before}");
        let next = next_claim(&other, "c").await;
        assert_eq!(next.maybe_sent, MaybeSent::Nothing, "{is_before}");
    }
}

/// FAULTS N1019: the lane of a stale settlement without an update gets no mark.
#[tokio::test]
async fn a_stale_settlement_without_an_update_marks_nothing() {
    let database = postgres::database();
    let one = database.open(ClaimBounds::default(), Arc::default());
    let (lost, other, claimed) = taken_over(&database, &one).await;
    let unsent = Settlement {
        attempted: Vec::new(),
        ..settlement(&lost, Vec::new(), NOW)
    };
    assert_eq!(one.settle(unsent.into()).await.unwrap(), Settled::Stale);
    let own = other.settle(delivered(&claimed)).await.unwrap();
    assert_eq!((own, late_sends(&one)), (Settled::Recorded, 0));
    let next = next_claim(&other, "b").await;
    assert_eq!(next.maybe_sent, MaybeSent::Nothing);
}

/// FAULTS N1019: the other replica sends its values for the last time while the late request becomes known. The lane keeps
/// the values, so that dispatch sends them again.
#[tokio::test]
async fn a_lane_keeps_its_values_if_a_late_request_becomes_known_meanwhile() {
    let database = postgres::database();
    let one = database.open(ClaimBounds::default(), Arc::default());
    let (lost, other, claimed) = taken_over(&database, &one).await;
    let until = NOW.after(Duration::from_mins(1));
    let kept = Settlement {
        versions: Some(LaneVersions::default().with_anything_sent(until)),
        reassert_at: Some(NOW),
        ..settlement(&claimed, all(&claimed, &Ending::Delivered), NOW)
    };
    record(&other, kept.clone()).await;
    let again = claim_all(&other, 1).await.remove(0);
    assert_eq!(Some(&again.versions), kept.versions.as_ref());
    assert_eq!(one.settle(delivered(&lost)).await.unwrap(), Settled::Stale);
    let sent_again = Settlement {
        versions: Some(LaneVersions::default()),
        ..settlement(&again, Vec::new(), NOW)
    };
    record(&other, sent_again).await;
    let next = claim_all(&other, 1).await.remove(0);
    assert_eq!(next.maybe_sent, MaybeSent::Anything);
    assert_eq!(Some(&next.versions), kept.versions.as_ref());
}

/// Two replicas get the same events at the same time: each event is stored once.
#[tokio::test]
async fn an_event_that_two_replicas_get_at_once_is_stored_once() {
    let database = postgres::database();
    let replicas = two_replicas(&database);
    let appends = (0..200_usize).map(|number| {
        let outbox = Arc::clone(&replicas[number % 2]);
        let (event, customer) = (number / 4, number % 7);
        async move {
            let entry = entry(&format!("e-{event}"), &format!("C-{customer}"), 1);
            (event, append(&*outbox, &[entry]).await[0])
        }
    });
    let stored = futures_util::future::join_all(appends).await;
    let mut by_event: HashMap<usize, Vec<AppendedEntry>> = HashMap::new();
    for (event, stored) in stored {
        by_event.entry(event).or_default().push(stored);
    }
    for (event, stored) in by_event {
        let new = stored.iter().filter(|stored| !stored.duplicate).count();
        let numbers: HashSet<EntryId> = stored.iter().map(|stored| stored.entry).collect();
        assert_eq!((new, numbers.len()), (1, 1), "{event}");
    }
    assert_eq!(replicas[0].depth().await.unwrap().waiting, 50);
}

/// Settles a lane. After an error, the outcome is unknown: the settlement is recorded, or another claim follows.
async fn settle(outbox: &PostgresOutbox, lane: &ClaimedLane) {
    while outbox.settle(delivered(lane)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What two replicas do at the same time, and what the test knows about it.
#[derive(Default)]
struct Load {
    in_flight: Mutex<HashSet<LaneId>>,
    delivered: Mutex<HashSet<EntryId>>,
    appended: AtomicUsize,
    is_over: AtomicBool,
}

impl Load {
    /// Appends events until the store has taken all of them.
    async fn append(&self, outbox: &PostgresOutbox, (from, to): (usize, usize)) {
        for number in from..to {
            let customer = if number % 3 == 0 { 0 } else { number % 40 };
            let new = entry(&format!("e-{number}"), &format!("C-{customer}"), 1);
            while outbox.append(vec![new.clone()]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.appended.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Claims and settles lanes until all entries are delivered.
    async fn deliver(&self, outbox: &PostgresOutbox, total: usize) {
        while self.delivered.lock().unwrap().len() < total {
            let pick = Pick::LongestDue(LaneShares::UNLIMITED);
            let Ok(claim) = outbox.claim(NOW, 8, pick).await else {
                continue;
            };
            for lane in &claim.lanes {
                let is_first = self.in_flight.lock().unwrap().insert(lane.lane);
                assert!(is_first, "two replicas have claimed a lane at once");
            }
            tokio::task::yield_now().await;
            for lane in &claim.lanes {
                self.in_flight.lock().unwrap().remove(&lane.lane);
                let entries: HashSet<EntryId> = lane.waiting.iter().map(|it| it.entry).collect();
                settle(outbox, lane).await;
                self.delivered.lock().unwrap().extend(entries);
            }
            if claim.lanes.is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Ends a connection of the store from time to time.
    async fn break_connections(&self, database: &PostgresDatabase) {
        while !self.is_over.load(Ordering::Relaxed) {
            database.psql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'imprint-bridge' AND datname = current_database() ORDER BY random() LIMIT 1",
            );
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
}

/// Two replicas under load, whose connections break all the time: nothing is lost, and no lane is claimed twice.
#[tokio::test]
async fn replicas_lose_nothing_while_connections_break() {
    const EVENTS: usize = 600;
    let database = postgres::database();
    let [one, other] = &two_replicas(&database);
    let load = &Load::default();
    let half = EVENTS / 2;
    futures_util::future::join5(
        load.append(one, (0, half)),
        load.append(other, (half, EVENTS)),
        load.deliver(one, EVENTS),
        load.deliver(other, EVENTS),
        load.break_connections(&database),
    )
    .await;
    let depth = one.depth().await.unwrap();
    assert_eq!(depth.waiting, 0);
    let delivered = "SELECT count(*), count(*) FILTER (WHERE state = 1) FROM imprint_bridge.entry";
    assert_eq!(database.psql(delivered), format!("{EVENTS}|{EVENTS}"));
    assert_eq!(
        database.psql("SELECT count(*) FROM imprint_bridge.payload"),
        "0"
    );
}

/// Claims one lane, and breaks all connections when the database has committed the claim, but before the replica has read
/// the lane. The database also loses the settlements of all other lanes.
async fn lose_claim(database: &Arc<PostgresDatabase>, outbox: &PostgresOutbox) {
    let holder = Arc::clone(database);
    let holder = tokio::task::spawn_blocking(move || {
        holder.try_psql(
            "LOCK TABLE imprint_bridge.payload IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)",
        )
    });
    let wait_for_lock = |condition: &str| {
        let sql = format!(
            "SELECT count(*) FROM pg_locks WHERE relation = 'imprint_bridge.payload'::regclass AND {condition}"
        );
        wait_for(condition, || (database.psql(&sql) != "0").then_some(()));
    };
    wait_for_lock("granted AND mode = 'AccessExclusiveLock'");
    let outage = async {
        tokio::task::yield_now().await;
        wait_for_lock("NOT granted AND (SELECT count(owner) FROM imprint_bridge.lane) = 1");
        database.psql("UPDATE imprint_bridge.lane AS l SET owner = r.owner FROM imprint_bridge.replica AS r WHERE l.owner IS NULL");
        database.refuse(true);
    };
    let pick = Pick::LongestDue(LaneShares::UNLIMITED);
    let (claimed, ()) = tokio::join!(outbox.claim(NOW, 2, pick), outage);
    assert!(matches!(claimed, Err(Error::Unavailable(_))), "{claimed:?}");
    holder.await.unwrap().unwrap_err();
    database.refuse(false);
}

/// FAULTS N1521: the connections break before dispatch gets a claim that the database has committed. The next claim has no
/// value in doubt, except the values of a lane whose settlement the database has lost.
#[tokio::test]
async fn a_claim_that_dispatch_never_got_leaves_no_doubt() {
    let database = Arc::new(postgres::database());
    let outbox = database.open(ClaimBounds::default(), Arc::default());
    append(&outbox, &[entry("sent", "CUST-1", 1)]).await;
    let sent = claim_all(&outbox, 1).await.remove(0);
    let later = NOW.after(Duration::from_mins(1));
    record(&outbox, settlement(&sent, Vec::new(), later)).await;
    append(&outbox, &[entry("unsent", "CUST-2", 1)]).await;
    lose_claim(&database, &outbox).await;
    let pick = Pick::LongestDue(LaneShares::UNLIMITED);
    let mut attempts = 0;
    let claimed = loop {
        match outbox.claim(later, 2, pick).await {
            // PgBouncer tries to log in again only after its server_login_retry.
            Err(Error::Unavailable(_)) if attempts < 300 => {
                attempts += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            claimed => break claimed.unwrap().lanes,
        }
    };
    let doubts = ["CUST-1", "CUST-2"].map(|customer| {
        let lane = claimed.iter().find(|lane| lane.key == key(customer));
        lane.unwrap().maybe_sent
    });
    let is_right = matches!(doubts, [MaybeSent::Entries(_), MaybeSent::Nothing]);
    assert!(is_right, "{doubts:?}");
}

/// The database commits the next claim only after two seconds.
const COMMIT_SLOWLY: &str = "
    CREATE SEQUENCE public.slow_commits;
    CREATE FUNCTION public.commit_slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('public.slow_commits') = 1 THEN PERFORM pg_sleep(2); END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER commit_slowly AFTER UPDATE ON imprint_bridge.lane DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (OLD.owner IS NULL AND NEW.owner IS NOT NULL) EXECUTE FUNCTION public.commit_slowly()";

/// FAULTS N1523: the connections break after the replica has sent the commit of a claim. The database commits later than the
/// replica connects again.
#[tokio::test]
async fn a_claim_that_the_database_commits_late_leaves_no_doubt() {
    let database = postgres::database();
    let proxy = PostgresProxy::start(&database);
    let outbox = proxy.open(&database);
    append(&outbox, &[entry("a", "CUST-1", 1)]).await;
    database.psql(COMMIT_SLOWLY);
    let cut = async {
        tokio::task::yield_now().await;
        let commits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
        wait_for("the commit of the claim", || {
            (database.psql(commits) == "1").then_some(())
        });
        proxy.cut();
    };
    let pick = Pick::LongestDue(LaneShares::UNLIMITED);
    let (claimed, ()) = tokio::join!(outbox.claim(NOW, 1, pick), cut);
    assert!(matches!(claimed, Err(Error::Unavailable(_))), "{claimed:?}");
    let claimed = loop {
        match outbox.claim(NOW, 1, pick).await.unwrap().lanes.pop() {
            Some(lane) => break lane,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assert_eq!(claimed.maybe_sent, MaybeSent::Nothing);
    assert_eq!(claimed.waiting.len(), 1);
}

/// The database says about each commit of a claim that the outcome is unknown.
const DOUBT_COMMITS: &str = "
    CREATE FUNCTION public.doubt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'unknown' USING ERRCODE = 'statement_completion_unknown';
    END $$;
    CREATE CONSTRAINT TRIGGER doubt AFTER UPDATE ON imprint_bridge.lane DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (OLD.owner IS NULL AND NEW.owner IS NOT NULL) EXECUTE FUNCTION public.doubt()";

/// FAULTS N1524: the caller repeats a claim whose outcome is unknown. The database has not committed the claim.
#[tokio::test]
async fn a_claim_whose_outcome_the_database_does_not_know_can_be_repeated() {
    let database = postgres::database();
    let outbox = database.open(ClaimBounds::default(), Arc::default());
    append(&outbox, &[entry("a", "CUST-1", 1)]).await;
    database.psql(DOUBT_COMMITS);
    let pick = Pick::LongestDue(LaneShares::UNLIMITED);
    let claimed = outbox.claim(NOW, 1, pick).await;
    assert!(matches!(claimed, Err(Error::Unavailable(_))), "{claimed:?}");
    database.psql("DROP TRIGGER doubt ON imprint_bridge.lane");
    let claimed = claim_all(&outbox, 1).await.remove(0);
    assert_eq!(claimed.maybe_sent, MaybeSent::Nothing);
}

/// Cancels every wait for the standby until `ended` is set. More than one can come: a commit of the lease can wait before
/// the append does.
fn cancel_waits_for_the_standby(database: &PostgresDatabase, ended: &AtomicBool) {
    let waits =
        "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    wait_for("the append ends", || {
        database.psql(waits);
        ended.load(Ordering::Relaxed).then_some(())
    });
}

/// A commit whose wait for the standby was cancelled is not durable: the caller gets an error, and the retry of the event
/// is a duplicate.
#[tokio::test]
async fn a_commit_that_the_standby_lacks_is_no_success() {
    let settings = [
        "wal_level=replica",
        "max_wal_senders=2",
        "synchronous_commit=on",
    ];
    let server = Arc::new(PostgresServer::start_with(&settings));
    let database = server.database();
    let outbox = database.open(ClaimBounds::default(), Arc::default());
    database.psql("ALTER SYSTEM SET synchronous_standby_names = 'missing'");
    database.psql("SELECT pg_reload_conf()");
    let has_ended = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&has_ended);
    let cancel = tokio::task::spawn_blocking(move || {
        cancel_waits_for_the_standby(&database, &ended);
        database
    });
    // The server reads the setting some time after pg_reload_conf. The appends before that succeed.
    let mut number = 0;
    let (last, appended) = loop {
        number += 1;
        let last = entry(&format!("a{number}"), "CUST-1", number);
        let appended = outbox.append(vec![last.clone()]).await;
        if !matches!(appended, Ok(Appended::Stored(_))) || number == APPENDS_MAX {
            break (last, appended);
        }
    };
    has_ended.store(true, Ordering::Relaxed);
    assert!(
        matches!(appended, Err(Error::Unavailable(_))),
        "{appended:?}"
    );
    let database = cancel.await.unwrap();
    database.psql("ALTER SYSTEM RESET synchronous_standby_names");
    database.psql("SELECT pg_reload_conf()");
    let again = append(&outbox, &[last]).await;
    assert!(again[0].duplicate);
}

/// A program refuses a layout that it cannot read, and reads a newer layout that says it can be read.
#[test]
fn a_newer_layout_is_refused_unless_it_can_be_read() {
    let database = postgres::database();
    drop(database.open(ClaimBounds::default(), Arc::default()));
    database.psql("UPDATE imprint_bridge.layout SET version = 9");
    drop(database.open(ClaimBounds::default(), Arc::default()));
    database.psql("UPDATE imprint_bridge.layout SET min_reader = 9");
    let keys = (ClaimBounds::default(), Arc::<KeyRing>::default());
    let refused = PostgresOutbox::open(&database.url(), 10, keys, None);
    assert!(matches!(refused, Err(PostgresOpenError::TooNew(9))));
}

/// Replicas that start at the same moment on an empty database create one store.
#[test]
fn replicas_that_start_at_once_create_one_store() {
    let database = postgres::database();
    let keys = std::thread::scope(|scope| {
        let start = || {
            database
                .open(ClaimBounds::default(), Arc::default())
                .digest_key()
        };
        let starts = [1, 2, 3, 4].map(|_| scope.spawn(start));
        starts.map(|start| start.join().unwrap())
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
}

/// While the database refuses connections, the store takes no event. When it accepts them again, the store goes on.
#[tokio::test]
async fn the_store_goes_on_after_an_outage_of_the_database() {
    let database = postgres::database();
    let outbox = database.open(ClaimBounds::default(), Arc::default());
    append(&outbox, &[entry("a", "CUST-1", 1)]).await;
    let claimed = claim_all(&outbox, 1).await;
    database.refuse(true);
    let refused = outbox.append(vec![entry("b", "CUST-1", 2)]).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    let refused = outbox.settle(delivered(&claimed[0])).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    let unread = outbox.setting(Setting::DestinationMode).await;
    assert!(matches!(unread, Err(Error::Unavailable(_))), "{unread:?}");
    database.refuse(false);
    // PgBouncer tries to log in again only after its server_login_retry.
    let mut attempts = 0;
    let settled = loop {
        match outbox.settle(delivered(&claimed[0])).await {
            Err(Error::Unavailable(_)) if attempts < 300 => {
                attempts += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            settled => break settled.unwrap(),
        }
    };
    assert_eq!(settled, Settled::Recorded);
    append(&outbox, &[entry("b", "CUST-1", 2)]).await;
    let again = claim_all(&outbox, 1).await.remove(0);
    assert_eq!(again.waiting.len(), 1);
}

/// FAULTS N973: a running replica frees the lanes of a lost replica after a lease, also if somebody has set the clock of the
/// database back after the lost replica had extended its lease.
#[tokio::test]
async fn a_running_replica_takes_over_a_lost_replica() {
    let database = postgres::database();
    let outbox = database.open(ClaimBounds::default(), Arc::default());
    let stored = append(&outbox, &[entry("a", "CUST-1", 1)]).await;
    database.psql(
        "INSERT INTO imprint_bridge.replica (owner, process, keys, lease_until) VALUES (999, 0, '{}', now() + interval '1 day');
         UPDATE imprint_bridge.lane SET owner = 999, epoch = epoch + 1",
    );
    assert!(claim_all(&outbox, 1).await.is_empty());
    let claimed = loop {
        outbox.woken().await;
        if let Some(lane) = claim_all(&outbox, 1).await.pop() {
            break lane;
        }
    };
    assert_eq!(claimed.maybe_sent, MaybeSent::Entries(stored[0].entry));
    let settled = outbox.settle(delivered(&claimed)).await.unwrap();
    assert_eq!(settled, Settled::Recorded);
    let replicas = database.psql("SELECT count(*) FROM imprint_bridge.replica");
    assert_eq!(replicas, "1");
}

/// Looks at what the replicas share. Returns the customers that the replica must forget.
async fn look(outbox: &PostgresOutbox) -> Forgotten {
    let report = ReplicaReport {
        key: KeyMark(1),
        tokens: None,
        proposal: None,
        looks: true,
    };
    outbox.exchange(report).await.unwrap().unwrap().forgotten
}

/// FAULTS N1144: every other replica must forget an erased customer, and the erasure knows which replica has not.
#[tokio::test]
async fn an_erasure_orders_the_other_replicas_to_forget_the_customer() {
    let database = postgres::database();
    let [one, other] = two_replicas(&database);
    append(&*one, &[entry("a", "CUST-1", 1), entry("b", "CUST-2", 1)]).await;
    let id = CustomerRef::Imprint(ImprintId::parse("CUST-1").unwrap());
    let lanes = one.lanes(vec![id]).await.unwrap()[0].lanes.clone();
    let erased = erase(&*one, imprint("CUST-1"), LaterEvents::Delivered).await;
    assert_eq!(erased.entries, 1);
    let owner = "SELECT max(owner) FROM imprint_bridge.replica";
    let owner: u64 = database.psql(owner).parse().unwrap();
    assert_eq!(one.remembering().await.unwrap(), [owner]);
    assert_eq!(look(&one).await, Forgotten::Nobody);
    assert_eq!(look(&other).await, Forgotten::Lanes(lanes.clone()));
    other.confirm_forgotten(lanes).await.unwrap();
    assert_eq!(look(&other).await, Forgotten::Nobody);
    assert_eq!(one.remembering().await.unwrap(), [0; 0]);
    erase(&*one, imprint("CUST-2"), LaterEvents::Delivered).await;
    assert_eq!(one.remembering().await.unwrap(), [owner]);
    other.close();
    assert_eq!(one.remembering().await.unwrap(), [0; 0], "it has stopped");
}

/// FAULTS N1144: while a replica stands still, its lease ends and another replica erases a customer.
#[tokio::test]
async fn a_replica_whose_lease_has_ended_forgets_all_customers() {
    let database = postgres::database();
    let late = database.open(ClaimBounds::default(), Arc::default());
    append(&late, &[entry("a", "CUST-1", 1)]).await;
    database.psql("UPDATE imprint_bridge.replica SET lease_until = '-infinity'");
    let other = database.open(ClaimBounds::default(), Arc::default());
    erase(&other, imprint("CUST-1"), LaterEvents::Delivered).await;
    assert_eq!(other.remembering().await.unwrap(), [0; 0]);
    let forgotten = loop {
        match look(&late).await {
            Forgotten::Nobody => tokio::time::sleep(Duration::from_millis(50)).await,
            forgotten @ (Forgotten::Lanes(_) | Forgotten::Everybody) => break forgotten,
        }
    };
    assert_eq!(forgotten, Forgotten::Everybody);
    assert_eq!(look(&late).await, Forgotten::Nobody);
}

/// FAULTS N1144: the store of an earlier program lacks the table of the orders.
#[tokio::test]
async fn a_start_adds_the_table_that_an_earlier_program_did_not_create() {
    let database = postgres::database();
    let one = database.open(ClaimBounds::default(), Arc::default());
    append(&one, &[entry("a", "CUST-1", 1)]).await;
    one.close();
    database.psql("DROP TABLE imprint_bridge.forgetting");
    let [one, other] = two_replicas(&database);
    erase(&*one, imprint("CUST-1"), LaterEvents::Delivered).await;
    assert!(matches!(look(&other).await, Forgotten::Lanes(_)));
}

/// FAULTS N1062: a group commit finds its rows by indexes, and does not read the receipts of all other events.
#[tokio::test]
async fn a_group_commit_does_not_read_whole_tables() {
    let database = postgres::database();
    let outbox = database.open(ClaimBounds::default(), Arc::default());
    database.psql(
        "INSERT INTO imprint_bridge.entry
             (id, event_key, ce_key, source, ce_source, event_id, event_type, digest, lane, accepted_at, state, settled_at)
         SELECT -n, decode(md5(n::text), 'hex'), decode(md5(n::text), 'hex'), 'crm', '/crm', 'old-' || n, 'customer.changed',
             decode(md5(n::text), 'hex'), -n, 1, 1, 1
         FROM generate_series(1, 20000) n;
         ANALYZE imprint_bridge.entry",
    );
    let read = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'entry'";
    // PostgreSQL publishes the numbers of a session at most once a second.
    let published = Duration::from_millis(1500);
    tokio::time::sleep(published).await;
    let before = database.psql(read);
    for group in 0..3 {
        let entries: Vec<NewEntry> = (0..200)
            .map(|number| entry(&format!("e-{group}-{number}"), &format!("C-{number}"), 1))
            .collect();
        append(&outbox, &entries).await;
        let claimed = claim_all(&outbox, 200).await;
        let settles = claimed.iter().map(|lane| outbox.settle(delivered(lane)));
        let settles: Vec<_> = settles.collect();
        for settled in settles {
            assert_eq!(settled.await.unwrap(), Settled::Recorded);
        }
        tokio::time::sleep(published).await;
    }
    assert_eq!(database.psql(read), before);
}

/// FAULTS N1068: many lanes were due before, and vacuum has not removed their entries from the queue.
#[tokio::test]
async fn a_claim_does_not_read_the_dead_entries_of_a_queue_again() {
    let database = postgres::database();
    let outbox = database.open(ClaimBounds::default(), Arc::default());
    database.psql(
        "INSERT INTO imprint_bridge.lane (id, kind, customer, received, idle, low, due_at)
         SELECT -n, 0, decode(md5(n::text), 'hex'), decode('00', 'hex'), true, 0, n FROM generate_series(1, 20000) n",
    );
    database.psql("UPDATE imprint_bridge.lane SET due_at = NULL");
    append(&outbox, &[entry("a", "CUST-1", 1)]).await;
    assert_eq!(claim_all(&outbox, 1).await.len(), 1);
    let mut read = Vec::new();
    for _ in 0..4 {
        // PostgreSQL publishes the numbers of a session at most once a second, and not before its next statement.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(claim_all(&outbox, 1).await.is_empty());
        let sql = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'lane_due'";
        read.push(database.psql(sql).parse::<u64>().unwrap());
    }
    // A snapshot of the database itself, such as that of autovacuum, can keep the dead entries for a second claim. Every
    // later claim must find them removed.
    assert!((20_000..50_000).contains(&read[3]), "{read:?}");
    assert!(read[3] - read[2] < 1000, "{read:?}");
}
