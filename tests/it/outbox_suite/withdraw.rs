//! Tests of the withdrawal of waiting entries, in every storage engine.

use super::*;

/// FAULTS N306: a filter by customer finds the waiting entries of the customer behind a backlog of other customers.
#[tokio::test]
async fn the_waiting_entries_of_a_customer_are_found_behind_a_backlog() {
    let (folder, path) = (fast_folder(), "outbox.db");
    let outbox = SqliteOutbox::open(&folder.path().join(path), 10_000, NOW).unwrap();
    let others = (0..5_001).map(|number| entry(&format!("e-{number}"), "CUST-1", number));
    append(&outbox, &others.collect::<Vec<_>>()).await;
    let stored = append(&outbox, &[entry("mine", "CUST-2", 1)]).await;
    let filter = |customer: &str| EntryFilter {
        customer: Some(customer.to_owned()),
        ..EntryFilter::in_state(State::Waiting, 10)
    };
    for (customer, expected) in [("CUST-2", vec![stored[0].entry]), ("CUST-3", vec![])] {
        let page = outbox.list(filter(customer)).await.unwrap();
        let entries = page.entries.iter();
        let found: Vec<EntryId> = entries.map(|summary| summary.receipt.entry).collect();
        assert_eq!((found, page.next), (expected, None), "{customer}");
    }
    let page = outbox.list(filter("CUST-1")).await.unwrap();
    assert_eq!((page.entries.len(), page.next), (10, Some(EntryId(10))));
}
