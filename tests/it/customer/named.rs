//! Tests of the erasure of entries in the lanes of other customers: the event names the customer beside another Imprint id.

use super::journal::{ERASE, of};
use super::*;
use crate::support::Event;

/// The CRM's id of the customer.
const PARTNER: &str = "P-canary-customer-4711";
/// The values of the customer that wait in the lane of another Imprint id, and the ids of their events.
const TRACES: [&str; 6] = [
    PARTNER,
    "canary-customer-4711",
    "E2@example.com",
    "E3@example.com",
    "canary-event-2",
    "canary-event-3",
];

/// Creates an event with the CRM's id of the customer and the Imprint id of another customer.
fn outdated(id: &str, email: &str, revision: u64) -> Event {
    let event = Event::new(id, "OLD", revision).email(email);
    event.with("/data/customer/id", json!(PARTNER))
}

impl CustomerApp {
    /// Delivers an event of the customer. Then accepts a waiting and a parked event in the lane of another customer, and an
    /// event of the other customer.
    fn fill_other_lane(&self) {
        seed(
            &self.app,
            &json!({"id": CUSTOMER, "partner_customer_id": PARTNER}),
        );
        self.app.accept(&by_partner("E1", PARTNER, 1));
        self.app.wait_until("E1", "delivered");
        self.pause();
        self.app.accept(&email("other-1", "OLD", 1));
        self.app
            .accept(&outdated("canary-event-2", "E2@example.com", 2));
        let abroad =
            json!({"line1": "1 Rue X", "city": "Paris", "postal_code": "75001", "country": "FR"});
        let parked = outdated("canary-event-3", "E3@example.com", 3);
        self.app
            .accept(&parked.with("/data/customer/address", abroad));
        self.app.wait_until("canary-event-3", "parked");
        self.app
            .accept(&email("other-2", "OLD", 2).with("/data/customer/first_name", json!("Other")));
    }

    /// Returns the ids of the entries that an export shows.
    fn shown(&self, member: &str, id: &str) -> Vec<String> {
        let line = "POST /admin/v1/customers/export";
        let (mut shown, mut page) = (Vec::new(), Value::Null);
        loop {
            let exported = self.admin(line, &json!({"of": {member: id}, "page": page}));
            shown.extend(ids(&exported["entries"]).into_iter().map(str::to_owned));
            page = exported["next"].clone();
            if page.is_null() {
                return shown;
            }
        }
    }

    #[track_caller]
    fn check_no_trace(&self, what: &str) {
        let folder = self.folder();
        for trace in TRACES {
            assert!(!contains(&folder, trace), "{what}: {trace}");
            assert!(!contains(self.journal.path(), trace), "{what}: {trace}");
        }
    }

    /// Checks that Imprint gets the values of the other customer, and no value of the erased customer.
    fn check_deliveries(&self) {
        self.admin("POST /admin/v1/destination", &json!({"mode": "open"}));
        self.app.wait_until("other-2", "delivered");
        self.app.wait_until("other-1", "superseded");
        let calls = self.app.imprint.calls();
        let bodies: Vec<String> = calls.iter().map(|call| call.body.to_string()).collect();
        let bodies = bodies.join("\n");
        assert!(bodies.contains("other-2@example.com"), "{bodies}");
        for value in ["E2@example.com", "E3@example.com"] {
            assert!(!bodies.contains(value), "{bodies}");
        }
    }
}

/// FAULTS N777: the export shows, and the erasure erases, every entry whose event names the customer, in any lane.
#[test]
fn an_entry_in_the_lane_of_another_id_is_of_its_customer() {
    for key in [None, Some("key-1")] {
        for (member, id) in [("partner_id", PARTNER), ("imprint_id", CUSTOMER)] {
            let bridge = CustomerApp::with(key);
            bridge.fill_other_lane();
            let shown = bridge.shown(member, id);
            assert_eq!(shown, ["E1", "canary-event-2", "canary-event-3"], "{key:?}");
            let erased = bridge.admin(ERASE, &of(member, id));
            assert_eq!(
                (&erased["entries"], &erased["discarded"]),
                (&json!(3), &json!(2)),
                "{key:?}: {erased}"
            );
            bridge.admin("POST /admin/v1/store/backup", &json!({"name": "later.db"}));
            bridge.check_no_trace("after the erasure");
            let repeated = outdated("canary-event-2", "E2@example.com", 2);
            let answer = bridge.app.post(&repeated).json();
            assert_eq!(answer["accepted"][0]["duplicate"], true, "{answer}");
            bridge.check_deliveries();
        }
    }
}

/// FAULTS N777: with `--block`, no later event that names the customer enters the lane of another id.
#[test]
fn a_blocked_customer_is_ignored_in_the_lane_of_another_id() {
    let bridge = CustomerApp::start();
    bridge.pause();
    bridge
        .app
        .accept(&outdated("canary-event-2", "E2@example.com", 2));
    bridge.app.accept(&email("other-2", "OLD", 2));
    let body = json!({"of": {"partner_id": PARTNER}, "block": true, "reason": "a request"});
    let erased = bridge.admin(ERASE, &body);
    assert_eq!(
        (&erased["entries"], &erased["known"]),
        (&json!(1), &json!(true)),
        "{erased}"
    );
    let answer = bridge.app.post(&outdated("later", "E3@example.com", 3));
    assert_eq!(answer.json()["accepted"][0]["status"], "ignored");
    bridge.admin("POST /admin/v1/destination", &json!({"mode": "open"}));
    bridge.app.wait_until("other-2", "delivered");
}

/// FAULTS N778: a restored backup brings back no entry of the customer in the lane of another id.
#[test]
fn a_restored_backup_has_nothing_in_the_lane_of_another_id() {
    for key in [None, Some("key-1")] {
        let mut bridge = CustomerApp::with(key);
        bridge.fill_other_lane();
        bridge.admin("POST /admin/v1/store/backup", &json!({"name": "older.db"}));
        bridge.admin(ERASE, &of("imprint_id", CUSTOMER));
        bridge.put_back("older.db");
        bridge.app.restart();
        bridge.check_no_trace("after the restore");
        bridge.check_deliveries();
    }
}

/// FAULTS N778: after a crash at each step, with and without a journal, nothing of the customer stays in the lane of another
/// id.
#[cfg(feature = "failpoints")]
#[test]
fn a_crash_leaves_nothing_in_the_lane_of_another_id() {
    for point in ["after_erasure:1", "before_erasure:2", "after_erasure:2"] {
        for has_journal in [true, false] {
            let mut bridge = CustomerApp::start();
            bridge.fill_other_lane();
            bridge.crash_in_erasure(point);
            if !has_journal {
                fs::write(bridge.journal(), "").unwrap();
            }
            bridge.app.restart();
            if !has_journal {
                bridge.admin(ERASE, &of("imprint_id", CUSTOMER));
            }
            bridge.app.advance(Duration::from_secs(60));
            let folder = bridge.folder();
            bridge.app.wait_for("the log is truncated", |_| {
                !contains(&folder, "E2@example.com")
            });
            bridge.check_no_trace(point);
            bridge.check_deliveries();
        }
    }
}
