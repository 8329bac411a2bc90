//! Tests of damaged rows: each column of each table in turn gets values that no program writes.

use rusqlite::Connection;

use super::*;
use imprint_bridge::outbox::{Lanes as _, Settings as _};

use crate::support::is_full_run;

/// The values that replace a stored value, as SQL.
const DAMAGE: [&str; 7] = [
    "9223372036854775807",
    "-9223372036854775808",
    "-1",
    "1.5e300",
    "'canary text'",
    "''",
    "x'ff00fe'",
];

/// The time of the claims: after every due time, which a start limits to one hour ahead.
pub(super) const LATER: Timestamp = Timestamp::from_millis(NOW.as_millis() + 2 * 3_600_000);

/// The last entry of the store, in a lane of its own, which no damage concerns.
const HEALTHY: &str = "healthy";

fn event(action: &'static str) -> AuditEvent {
    AuditEvent {
        operator: "alice".to_owned(),
        action,
        target: "some".to_owned(),
        reason: Some("because".to_owned()),
        at: NOW,
    }
}

/// Creates a store with rows in every table and entries in every state.
pub(super) async fn template(path: &Path) {
    let file = Connection::open(path).unwrap();
    file.execute_batch(include_str!("layout_5.sql")).unwrap();
    drop(file);
    let store = open(path).unwrap();
    let hold = entry("held", "CUST-HELD", 1);
    let Disposition::Enqueue(change) = hold.disposition.clone() else {
        panic!("{hold:?}");
    };
    let held = NewEntry {
        disposition: Disposition::Hold(change),
        ..hold
    };
    append(&store, &[held, entry("undecided", "CUST-UNDECIDED", 1)]).await;
    for claimed in claim(&store, LATER).await.lanes {
        let is_undecided = claimed.key == key("CUST-UNDECIDED");
        let endings = all(&claimed, &Ending::Undecided);
        let endings = if is_undecided { endings } else { Vec::new() };
        record(&store, settlement(&claimed, endings, NOW)).await;
    }
    append(&store, &[entry(HEALTHY, "CUST-HEALTHY", 1)]).await;
    store.close();
    let file = Connection::open(path).unwrap();
    file.execute_batch(
        "INSERT INTO origin SELECT 1, lane, source, ce_source, event_id, 5, 1 FROM entry WHERE lane IS NOT NULL LIMIT 1",
    )
    .unwrap();
}

/// Returns every column of every table of the store.
pub(super) fn columns(file: &Connection) -> Vec<(String, String)> {
    let sql = "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'";
    let mut columns = file.prepare(sql).unwrap();
    let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    columns.unwrap().map(Result::unwrap).collect()
}

/// Damages a column of the first row of a table; of the digest key's row in the table `meta`, nothing. Returns `false`
/// if SQLite refuses the value.
fn damage(file: &Connection, table: &str, column: &str, value: &str) -> bool {
    file.execute_batch("DROP TRIGGER IF EXISTS act_is_not_changed")
        .unwrap();
    let (row, only) = match table {
        "meta" => ("name", "WHERE name NOT IN ('digest_key')"),
        "pair" => ("partner", ""),
        "sealing_key" => ("id", ""),
        _ => ("rowid", ""),
    };
    // The newest audit record is the one that the next record follows.
    let first = if table == "act" { "max" } else { "min" };
    let sql = format!(
        "UPDATE {table} SET {column} = {value} WHERE {row} = (SELECT {first}({row}) FROM {table} {only})"
    );
    file.execute(&sql, []).is_ok()
}

/// Fails the test unless an error concerns only its request.
fn is_of_request<T>(result: Result<T, Error>, what: &str) -> Option<T> {
    if let Err(error) = &result {
        let is_request = matches!(error, Error::Failed { .. } | Error::Full);
        assert!(is_request, "{what}: {error}");
    }
    result.ok()
}

fn numbers() -> Vec<EntryId> {
    let greatest = EntryId(i64::MAX.unsigned_abs());
    (0..30).map(EntryId).chain([greatest]).collect()
}

/// Runs every read of the ports. Lists and the audit log answer whatever a row contains.
async fn read_everything(store: &SqliteOutbox, what: &str) {
    for state in State::ALL {
        let page = store.list(EntryFilter::in_state(state, 100)).await;
        assert!(page.is_ok(), "{what}: {page:?}");
    }
    for number in numbers() {
        is_of_request(store.inspect(number).await, what);
    }
    for id in ["delivered", "waits", "parked-rejected", "held"] {
        let Identity { source, id, .. } = identity(id);
        let lookup = Lookup {
            source,
            ce_source: None,
            id,
        };
        is_of_request(store.find(lookup).await, what);
    }
    assert!(store.depth().await.is_ok(), "{what}");
    is_of_request(store.origins(key("CUST-1").unwrap()).await, what);
    let audit = store.audit(0, 100).await.unwrap();
    assert!(!audit.is_empty(), "{what}");
    is_of_request(store.setting(Setting::DestinationMode).await, what);
}

/// Runs every change of the ports that an operator or a background task makes.
async fn change_everything(store: &SqliteOutbox, what: &str) {
    is_of_request(store.release(NOW).await, what);
    let replays = numbers().into_iter().map(|entry| Replay {
        entry,
        change: ReplayChange::Stored,
    });
    is_of_request(store.replay(replays.collect(), event("replay")).await, what);
    is_of_request(store.approve(numbers(), event("approve")).await, what);
    for to in [
        WithdrawnState::Parked(ParkReason::ByOperator),
        WithdrawnState::Discarded,
    ] {
        let withdrawal = Withdrawal {
            entries: numbers(),
            from: State::ALL.to_vec(),
            to,
        };
        let withdrawn = store.withdraw(withdrawal, event("withdraw"));
        is_of_request(withdrawn.await, what);
    }
    is_of_request(store.append_audit(event("reveal")).await, what);
}

async fn prune_everything(store: &SqliteOutbox, what: &str) {
    let mut from = Some(EntryId(0));
    while let Some(next) = from {
        let pruned = store.prune_receipts(next, LATER..=LATER).await;
        from = is_of_request(pruned, what).flatten();
    }
}

/// Claims and settles all lanes, as dispatch does: unreadable entries are parked, other entries are delivered.
pub(super) async fn settle_everything(store: &SqliteOutbox, what: &str) {
    for _ in 0..10 {
        let claim = store
            .claim(LATER, 10, Pick::LongestDue(LaneShares::UNLIMITED))
            .await;
        let claim = claim.unwrap_or_else(|error| panic!("{what}: {error}"));
        if claim.lanes.is_empty() {
            return;
        }
        for claimed in claim.lanes {
            let parked = Ending::Parked {
                reason: ParkReason::Unreadable,
                detail: None,
            };
            let unreadable = claimed.unreadable.iter();
            let unreadable = unreadable.map(|entry| (*entry, parked.clone()));
            let endings = all(&claimed, &Ending::Delivered).into_iter();
            let endings = endings.chain(unreadable).collect();
            let settled = store
                .settle(settlement(&claimed, endings, LATER).into())
                .await;
            is_of_request(settled, what);
        }
    }
    panic!("{what}: the lanes never become empty");
}

/// FAULTS N171, D12, V9: whatever one row contains, only requests about this row fail, other customers go on, and the
/// store never stops.
#[tokio::test]
async fn a_damaged_row_fails_only_requests_about_the_row() {
    let folder = fast_folder();
    let intact = folder.path().join("intact.db");
    template(&intact).await;
    let columns = columns(&Connection::open(&intact).unwrap());
    assert!(columns.len() > 80, "{columns:?}");
    let mut cases = 0;
    let damages = columns
        .iter()
        .flat_map(|column| DAMAGE.map(|value| (column, value)));
    // The short run tests one value of each column, in turn.
    let step = if is_full_run() { 1 } else { 8 };
    for ((table, column), value) in damages.step_by(step) {
        let path = folder.path().join("damaged.db");
        std::fs::copy(&intact, &path).unwrap();
        if damage(&Connection::open(&path).unwrap(), table, column, value) {
            check(&path, &format!("{table}.{column} = {value}")).await;
            cases += 1;
        }
    }
    assert!(cases * step > 400, "{cases} cases");
}

async fn check(path: &Path, what: &str) {
    let store = open(path).unwrap_or_else(|error| panic!("{what}: {error}"));
    read_everything(&store, what).await;
    settle_everything(&store, what).await;
    let state = receipt(&store, HEALTHY).await.state;
    assert_eq!(state, State::Delivered, "{what}");
    change_everything(&store, what).await;
    settle_everything(&store, what).await;
    prune_everything(&store, what).await;
    append(&store, &[entry("next", "CUST-NEXT", 1)]).await;
    settle_everything(&store, what).await;
    let state = receipt(&store, "next").await.state;
    assert_eq!(state, State::Delivered, "{what}");
}
