//! Crashes of the program while it seals records again.

use std::path::Path;
use std::time::Duration;

use imprint_bridge::config::sealing_keys;
use imprint_bridge::outbox::{
    ClaimBounds, EntryId, KeyUse, Ledger as _, Lifecycle as _, OpenError, SqliteOutbox,
};
use imprint_bridge::time::Clock;
use serde_json::Value;

use super::{hex, key_id};
use crate::kill::bridge::Bridge;
use crate::kill::http::Client;
use crate::support::{block_on, email, wait_for};

/// The longest time from the start of a bridge until the bridge crashes at its armed failpoint.
const CRASH_MAX: Duration = Duration::from_secs(20);

fn open_sealed(store: &Path, keys: &Path) -> Result<SqliteOutbox, OpenError> {
    let keys = sealing_keys::read(Some(keys)).unwrap().ring;
    let now = Clock::machine().now();
    SqliteOutbox::open_sealed(store, 1000, now, (ClaimBounds::default(), keys))
}

/// FAULTS P11: after a crash at any step of a rotation, every record is readable.
#[test]
fn a_crash_while_records_are_sealed_again_loses_nothing() {
    const ENTRIES: u64 = 600;
    let imprint = "127.0.0.1:9".parse().unwrap();
    let bridge = Bridge::prepare(imprint);
    let run = bridge.start("").unwrap();
    let mut client = Client::new(bridge.ingress);
    for number in 1..=ENTRIES {
        let event = email(&format!("E{number}"), &format!("CUST-{number}"), 1);
        let body = event.json().to_string();
        let media_type = "application/cloudevents+json";
        let answer = client.post("/v1/sources/crm/events", media_type, body.as_bytes());
        let answer = answer.unwrap();
        assert_eq!(answer.status, 202);
    }
    run.kill();
    for (name, seed) in [("2026-01", 1), ("2026-02", 2)] {
        bridge.write_sealing_key(name, &hex(seed));
        for point in [
            "before_reseal:1",
            "after_reseal:1",
            "before_reseal:3",
            "after_reseal:4",
        ] {
            let mut run = bridge.start(&format!("crash:{point}")).unwrap();
            assert!(run.wait_for_exit(CRASH_MAX).is_some(), "{point}");
            check_every_record(&bridge, ENTRIES);
        }
    }
    let store = open_sealed(&bridge.store(), &bridge.keys()).unwrap();
    block_on(async { while store.reseal().await.unwrap() {} });
    let removable: Vec<String> = {
        let status = store.sealing().borrow().clone();
        status
            .with(KeyUse::Removable)
            .map(|id| id.to_string())
            .collect()
    };
    assert_eq!(removable, [key_id(1)]);
}

fn check_every_record(bridge: &Bridge, entries: u64) {
    let open = || open_sealed(&bridge.store(), &bridge.keys()).ok();
    let store = wait_for("the store can be opened", open);
    for number in 1..=entries {
        let found = block_on(store.inspect(EntryId(number))).unwrap().unwrap();
        let event: Value = serde_json::from_slice(&found.event.unwrap()).unwrap();
        assert_eq!(event["id"], format!("E{number}"));
        assert!(found.update.is_some(), "{number}");
    }
    assert_eq!(block_on(store.depth()).unwrap().waiting, entries);
}
