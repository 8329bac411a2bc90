//! Tests of entries whose customer or version somebody without the sealing key has changed in the stopped store.

use rusqlite::Connection;

use super::{TOKEN, command, hex, set_mode};
use crate::support::{TestApp, email};

/// FAULTS N1113: two sealed entries swap their customers, and an older event of a third customer gets a higher version.
#[test]
fn no_customer_gets_the_values_of_another_customer() {
    let mut app = TestApp::setup()
        .manual_clock()
        .operator("alice", TOKEN)
        .sealing_key("key-1", hex(1))
        .start();
    set_mode(&app, "paused");
    for (id, customer, revision) in [
        ("E1", "CUST-1", 1),
        ("E2", "CUST-2", 1),
        ("E3", "CUST-3", 1),
        ("E4", "CUST-3", 5),
        ("E5", "CUST-5", 1),
    ] {
        app.accept(&email(id, customer, revision));
    }
    app.stop().unwrap();
    let path = app.files.store();
    let store = Connection::open(&path).unwrap();
    store
        .execute_batch(
            "UPDATE waiting SET lane = 3 - lane WHERE entry IN (1, 2);
             UPDATE entry SET lane = 3 - lane WHERE id IN (1, 2);
             UPDATE waiting SET value = value + 100 WHERE entry = 3;",
        )
        .unwrap();
    drop(store);
    let (code, text) = command(&app, &["store", "verify", path.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{text}");
    for entry in [1, 2, 3] {
        let line = format!("update of entry {entry}: the customer or the version beside it");
        assert!(text.contains(&line), "{text}");
    }

    app.restart();
    set_mode(&app, "open");
    for id in ["E4", "E5"] {
        app.wait_until(id, "delivered");
    }
    for id in ["E1", "E2", "E3"] {
        app.wait_until(id, "parked");
        let receipt = app.receipt(id);
        assert_eq!(receipt["parked"]["reason"], "unreadable", "{receipt}");
    }
    for customer in ["CUST-1", "CUST-2"] {
        assert!(app.imprint.applied(customer).is_empty(), "{customer}");
    }
    let newest = app.imprint.email("CUST-3");
    assert_eq!(newest.as_deref(), Some("E4@example.com"));
}
