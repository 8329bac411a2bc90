//! Crashes of the program while it seals records again, and while it seals the customer ids of a plain store.

use std::path::Path;
use std::time::Duration;

use imprint_bridge::config::sealing_keys;
use imprint_bridge::imprint::{CustomerRef, ImprintId, PartnerCustomerId};
use imprint_bridge::outbox::{
    ClaimBounds, EntryId, KeyUse, LaneId, LaneKey, Ledger as _, Lifecycle as _, OpenError,
    SqliteOutbox,
};
use imprint_bridge::sandbox::UnseededCustomer;
use imprint_bridge::time::Clock;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{TOKEN, hex, key_id};
use crate::erasure::contains;
use crate::http;
use crate::kill::bridge::Bridge;
use crate::kill::http::Client;
use crate::process::{Process, command};
use crate::support::{
    FakeImprint, Files, KEY, block_on, email, is_full_run, metric, post, wait_for,
};

/// The longest time from the start of a bridge until the bridge crashes at its armed failpoint.
const CRASH_MAX: Duration = Duration::from_secs(20);

fn open_sealed(store: &Path, keys: &Path) -> Result<SqliteOutbox, OpenError> {
    let keys = sealing_keys::read(Some(keys)).unwrap().ring;
    let now = Clock::machine().now();
    SqliteOutbox::open_sealed(store, 1000, now, (ClaimBounds::default(), keys))
}

/// FAULTS P11, N1444: after a crash at any step of a rotation, every record is readable: at the listing of the first key, of
/// the second key, and at each step that seals records again with the second key.
#[test]
fn a_crash_while_records_are_sealed_again_loses_nothing() {
    const ENTRIES: u64 = 600;
    let bridge = filled(ENTRIES);
    let crash = |point: &str| {
        let mut run = bridge.start(&format!("crash:{point}")).unwrap();
        assert!(run.wait_for_exit(CRASH_MAX).is_some(), "{point}");
        check_every_record(&bridge, ENTRIES);
    };
    let listing = ["before_key_listing:1", "after_key_listing:1"];
    bridge.write_sealing_key("2026-01", &hex(1));
    for point in listing {
        crash(point);
    }
    seal_all(&bridge);
    let kept = tempfile::tempdir().unwrap();
    let template = kept.path().join("first-key.db");
    let first = Connection::open(bridge.store()).unwrap();
    first
        .execute("VACUUM INTO ?1", [template.to_str().unwrap()])
        .unwrap();
    drop(first);
    bridge.write_sealing_key("2026-02", &hex(2));
    for point in listing {
        put(&bridge, &template);
        crash(point);
    }
    put(&bridge, &template);
    let steps = seal_all(&bridge);
    assert!(steps > 6, "{steps} steps");
    for point in points_of(steps) {
        put(&bridge, &template);
        crash(&point);
    }
    seal_all(&bridge);
    let store = open_sealed(&bridge.store(), &bridge.keys()).unwrap();
    let status = store.sealing().borrow().clone();
    let removable = status.with(KeyUse::Removable).map(|id| id.to_string());
    assert_eq!(removable.collect::<Vec<_>>(), [key_id(1)]);
}

/// Returns the failpoints before and after the commit of each step that seals records again. A short run has one of the
/// two for each step.
fn points_of(steps: u64) -> Vec<String> {
    let points = (1..=steps).flat_map(|step| {
        let (before, after) = (
            format!("before_reseal:{step}"),
            format!("after_reseal:{step}"),
        );
        match (is_full_run(), step % 2) {
            (true, _) => vec![before, after],
            (false, 0) => vec![before],
            (false, _) => vec![after],
        }
    });
    points.collect()
}

/// Returns a stopped bridge with a plain store, in which one entry of each customer waits. Each event names its customer by
/// both ids.
fn filled(entries: u64) -> Bridge {
    let imprint = "127.0.0.1:9".parse().unwrap();
    let bridge = Bridge::prepare(imprint);
    let run = bridge.start("").unwrap();
    let mut client = Client::new(bridge.ingress);
    for number in 1..=entries {
        let event = email(&format!("E{number}"), &format!("CUST-{number}"), 1);
        let event = event.with("/data/customer/id", json!(format!("CRM-{number}")));
        let body = event.json().to_string();
        let media_type = "application/cloudevents+json";
        let answer = client.post("/v1/sources/crm/events", media_type, body.as_bytes());
        let answer = answer.unwrap();
        assert_eq!(answer.status, 202);
    }
    run.kill();
    bridge
}

/// FAULTS N825: after a crash at any step at which a plain store gets its ids sealed, every record is readable and every
/// customer is found by both ids. After the last step, no file has an id.
#[test]
fn a_crash_at_any_step_of_the_sealing_of_ids_loses_no_customer() {
    const CUSTOMERS: u64 = 300;
    let bridge = filled(CUSTOMERS);
    let plain = tempfile::tempdir().unwrap();
    let template = plain.path().join("plain.db");
    let settled = Connection::open(bridge.store()).unwrap();
    let now = Clock::machine().now().as_millis();
    let links = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {CUSTOMERS})
         INSERT INTO pair SELECT 'CRM-' || i, 'CUST-' || i, 'CUST-' || i, {now} FROM n;"
    );
    settled.execute_batch(&links).unwrap();
    settled
        .execute("VACUUM INTO ?1", [template.to_str().unwrap()])
        .unwrap();
    drop(settled);
    bridge.write_sealing_key("2026-01", &hex(1));
    put(&bridge, &template);
    let steps = seal_all(&bridge);
    assert!(steps > 10, "{steps} steps");
    for point in points_of(steps) {
        put(&bridge, &template);
        let mut run = bridge.start(&format!("crash:{point}")).unwrap();
        assert!(run.wait_for_exit(CRASH_MAX).is_some(), "{point}");
        check_every_record(&bridge, CUSTOMERS);
        check_every_link(&bridge, CUSTOMERS);
    }
    seal_all(&bridge);
    // The start after the pass rewrites the store.
    drop(open_sealed(&bridge.store(), &bridge.keys()).unwrap());
    check_every_record(&bridge, CUSTOMERS);
    check_every_link(&bridge, CUSTOMERS);
    let folder = bridge.store();
    let folder = folder.parent().unwrap();
    assert!(!contains(folder, "CUST-") && !contains(folder, "CRM-"));
}

/// Replaces the store of the stopped bridge, and removes its log.
fn put(bridge: &Bridge, template: &Path) {
    let store = bridge.store();
    let name = store.file_name().unwrap().to_str().unwrap().to_owned();
    for file in std::fs::read_dir(store.parent().unwrap()).unwrap() {
        let file = file.unwrap().path();
        if file
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(&name)
        {
            std::fs::remove_file(file).unwrap();
        }
    }
    std::fs::copy(template, store).unwrap();
}

/// Seals every record of the store with the newest key. Returns the number of steps.
fn seal_all(bridge: &Bridge) -> u64 {
    let open = || open_sealed(&bridge.store(), &bridge.keys()).ok();
    let store = wait_for("the store can be opened", open);
    let mut steps = 1;
    while block_on(store.reseal()).unwrap() {
        steps += 1;
    }
    steps
}

/// Checks that each id of the CRM leads to the lane and to the Imprint id of its customer.
fn check_every_link(bridge: &Bridge, customers: u64) {
    let open = || open_sealed(&bridge.store(), &bridge.keys()).ok();
    let store = wait_for("the store can be opened", open);
    for number in 1..=customers {
        let partner = PartnerCustomerId::parse(&format!("CRM-{number}")).unwrap();
        let found = block_on(store.lanes(vec![CustomerRef::Partner(partner.clone())]));
        let found = found.unwrap().remove(0);
        assert_eq!(found.lanes, [LaneId(number)], "{number}");
        assert_eq!(found.links.len(), 1, "{number}");
        let imprint = ImprintId::parse(&format!("CUST-{number}")).unwrap();
        assert_eq!(found.links[0].imprint, Some(imprint), "{number}");
        assert_eq!(found.links[0].partner, partner, "{number}");
        let waiting = found
            .waiting
            .iter()
            .filter_map(|waiting| waiting.customer.partner());
        assert_eq!(waiting.collect::<Vec<_>>(), [&partner], "{number}");
    }
}

fn check_every_record(bridge: &Bridge, entries: u64) {
    let open = || open_sealed(&bridge.store(), &bridge.keys()).ok();
    let store = wait_for("the store can be opened", open);
    for number in 1..=entries {
        let found = block_on(store.inspect(EntryId(number))).unwrap().unwrap();
        let event: Value = serde_json::from_slice(&found.event.unwrap()).unwrap();
        assert_eq!(event["id"], format!("E{number}"));
        assert!(found.update.is_some(), "{number}");
        let customer = ImprintId::parse(&format!("CUST-{number}")).unwrap();
        assert_eq!(found.summary.customer, Some(LaneKey::Imprint(customer)));
    }
    assert_eq!(block_on(store.depth()).unwrap().waiting, entries);
}

/// Accepts an event of the customer with this number.
fn accept_of(process: &Process, number: usize) {
    let headers = [("content-type", "application/cloudevents+json")];
    let event = email(&format!("E{number}"), &format!("c{number}"), 1);
    let answer = post(process.ready().0, &headers, &event.json().to_string()).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

/// FAULTS N1444: a bridge is killed while it lists a new sealing key in the database, and while it seals records again.
#[test]
fn a_killed_rotation_of_a_database_loses_no_record() {
    const CUSTOMERS: usize = 40;
    let imprint =
        FakeImprint::start(|settings| settings.unknown_customer = UnseededCustomer::Created);
    let database = crate::postgres::database();
    let settings = format!("[outbox]\nurl = \"{}\"", database.url());
    let files = Files::write(imprint.address, KEY, &settings);
    files.write_token("alice", TOKEN);
    files.write_sealing_key("2026-01", &hex(1));
    let set_mode = |process: &Process, mode: &str| {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body = json!({"mode": mode, "reason": "a test"}).to_string();
        let line = "POST /admin/v1/destination";
        let answer = http::ask(process.ready().1, line, &headers, &body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let mut process = Process::serve(&files);
    set_mode(&process, "paused");
    for number in 0..CUSTOMERS {
        accept_of(&process, number);
    }
    process.terminate();
    assert_eq!(process.wait_for_exit().code(), Some(0));
    files.write_sealing_key("2026-02", &hex(2));
    for point in [
        "before_key_listing:1",
        "before_reseal:1",
        "before_reseal:2",
        "after_reseal:2",
    ] {
        let mut serve = command(&files);
        serve.env("IMPRINT_BRIDGE_FAILPOINTS", format!("crash:{point}"));
        assert_eq!(
            Process::start(serve).wait_for_exit().code(),
            None,
            "{point}"
        );
    }
    let process = Process::serve(&files);
    wait_for("no record needs the first key", || {
        let page = http::ask(process.ready().1, "GET /metrics", &[], "").unwrap();
        (metric(&page.body, "sealing_removable_keys") == Some(1.0)).then_some(())
    });
    set_mode(&process, "open");
    for number in 0..CUSTOMERS {
        let expected = Some(format!("E{number}@example.com"));
        wait_for("the values are delivered", || {
            (imprint.email(&format!("c{number}")) == expected).then_some(())
        });
    }
}
