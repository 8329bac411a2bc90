//! Operators at several replicas of one PostgreSQL store.

use imprint_bridge::outbox::{AuditKeys, LaterEvents, PostgresOutbox};
use imprint_bridge::sealing::KeyRing;

use super::erased::{erase, imprint};
use super::set_aside::event;
use super::*;

fn two_replicas(database: &postgres::PostgresDatabase) -> [Arc<PostgresOutbox>; 2] {
    [1, 2].map(|_| Arc::new(database.open(ClaimBounds::default(), Arc::<KeyRing>::default())))
}

/// FAULTS N963: the records of several replicas are one chain without gaps.
#[tokio::test]
async fn the_audit_logs_of_replicas_are_one_chain() {
    let database = postgres::database();
    let replicas = two_replicas(&database);
    let keys = AuditKeys::new(["0123456789abcdef0123456789abcdef".to_owned().into()]);
    for replica in &replicas {
        replica.protect_audit(keys.clone(), NOW).await.unwrap();
    }
    let appends = (0..100).map(|number| replicas[number % 2].append_audit(event("note")));
    for appended in futures_util::future::join_all(appends).await {
        appended.unwrap();
    }
    let records = replicas[0].audit(0, 1000).await.unwrap();
    assert_eq!(
        records.len(),
        101,
        "100 notes, and the beginning of the key"
    );
    assert!(records.iter().all(|it| it.is_intact && it.is_keyed));
    let head = replicas[1].audit_head().await.unwrap();
    assert_eq!(records.last().unwrap().head(), head);
}

/// FAULTS N964: two operators change the same entries at different replicas at the same time: each entry changes once.
#[tokio::test]
async fn two_operators_change_each_entry_once() {
    let database = postgres::database();
    let [one, other] = two_replicas(&database);
    let parked: Vec<NewEntry> = (0..40)
        .map(|number| {
            let mut new = entry(&format!("e-{number}"), &format!("C-{}", number % 7), 1);
            if let Disposition::Enqueue(change) = new.disposition {
                new.disposition = Disposition::Park(change, ParkReason::ForeignAddress);
            }
            new
        })
        .collect();
    let stored = append(&*one, &parked).await;
    let entries: Vec<EntryId> = stored.iter().map(|stored| stored.entry).collect();
    let replays = |entries: &[EntryId]| -> Vec<Replay> {
        let entries = entries.iter();
        let replay = |entry: &EntryId| Replay {
            entry: *entry,
            change: ReplayChange::Stored,
        };
        entries.map(replay).collect()
    };
    let backwards: Vec<EntryId> = entries.iter().rev().copied().collect();
    let discard = Withdrawal {
        entries: backwards.clone(),
        from: vec![State::Parked],
        to: WithdrawnState::Discarded,
    };
    let (first, second, third) = tokio::join!(
        one.replay(replays(&entries), event("replay")),
        other.replay(replays(&backwards), event("replay")),
        other.withdraw(discard, event("discard")),
    );
    let (first, second, third) = (first.unwrap(), second.unwrap(), third.unwrap());
    let mut changed = [first, second, third.entries.clone()].concat();
    changed.sort_unstable();
    assert_eq!(changed, entries);
    let depth = one.depth().await.unwrap();
    let waiting = u64::try_from(entries.len() - third.entries.len()).unwrap();
    assert_eq!((depth.waiting, depth.parked), (waiting, 0));
}

/// FAULTS N965: events of a customer arrive at another replica while the customer is erased: none of them is lost, and none
/// stays in a lane that is gone.
#[tokio::test]
async fn events_arrive_while_their_customer_is_erased() {
    let database = postgres::database();
    let [one, other] = two_replicas(&database);
    let arrive = async {
        for number in 0..30 {
            append(
                &*other,
                &[entry(&format!("e-{number}"), "CUST-1", 100 - number)],
            )
            .await;
        }
    };
    let erase = async {
        for _ in 0..5 {
            erase(&*one, imprint("CUST-1"), LaterEvents::Delivered).await;
        }
    };
    tokio::join!(arrive, erase);
    let depth = one.depth().await.unwrap();
    let lanes = claim(&*one, NOW).await.lanes;
    let waiting: usize = lanes.iter().map(|lane| lane.waiting.len()).sum();
    assert_eq!(u64::try_from(waiting).unwrap(), depth.waiting);
    let sql = "SELECT count(*) FROM imprint_bridge.payload p JOIN imprint_bridge.lane l ON l.id = p.lane WHERE l.erased IS NOT NULL";
    assert_eq!(database.psql(sql), "0");
}
