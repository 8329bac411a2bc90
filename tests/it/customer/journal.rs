//! Tests of the erasure journal: restored backups, crashes, and journals that the bridge cannot use.

use std::path::PathBuf;

use super::*;
use crate::process::Process;
use crate::support::{Event, wait_for};

impl CustomerApp {
    pub(super) fn journal(&self) -> PathBuf {
        self.journal.path().join("journal")
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.app.files.store().parent().unwrap().to_owned()
    }

    /// Replaces the store by a backup, as an operator without the command `store restore` does.
    pub(super) fn put_back(&mut self, backup: &str) {
        self.app.stop().unwrap();
        let store = self.app.files.store();
        for ending in ["-wal", "-shm"] {
            let file = format!("{}{ending}", store.display());
            drop(fs::remove_file(file));
        }
        fs::rename(self.app.files.store_file(backup), store).unwrap();
    }

    /// Checks that no file has a value or an id of the erased customer.
    #[track_caller]
    fn check_erased(&self, what: &str) {
        for trace in [
            CUSTOMER,
            "E1@example.com",
            "E2@example.com",
            "E3@example.com",
        ] {
            assert!(!contains(&self.folder(), trace), "{what}: {trace}");
            assert!(!contains(self.journal.path(), trace), "{what}: {trace}");
        }
    }

    /// Erases the customer in a process that ends at this crash point.
    #[cfg(feature = "failpoints")]
    #[track_caller]
    pub(super) fn crash_in_erasure(&mut self, point: &str) {
        self.app.leave_waiting_entries();
        self.app.stop().unwrap();
        let mut serve = crate::process::command(&self.app.files);
        serve.env("IMPRINT_BRIDGE_FAILPOINTS", format!("crash:{point}"));
        let mut process = Process::start(serve);
        let (_, ops) = process.ready();
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body = of("customer", CUSTOMER).to_string();
        assert!(
            crate::http::ask(ops, ERASE, &headers, &body).is_err(),
            "{point}"
        );
        assert!(!process.wait_for_exit().success(), "{point}");
    }

    /// Starts the bridge, which must refuse to start. Returns its log.
    fn refusal(&self) -> String {
        let mut process = Process::serve(&self.app.files);
        assert!(!process.wait_for_exit().success());
        process.log()
    }
}

/// The body of an erasure of every id of the customer.
pub(super) fn of(member: &str, id: &str) -> Value {
    json!({"of": {member: id}, "reason": "a request"})
}

pub(super) const ERASE: &str = "POST /admin/v1/customers/erase";

/// FAULTS N647: the start repeats the erasures that an older backup has not finished, before anybody is served.
#[test]
fn a_restored_backup_does_not_bring_a_customer_back() {
    for key in [None, Some("key-1")] {
        let mut bridge = CustomerApp::with(key);
        bridge.fill(CUSTOMER);
        bridge.admin("POST /admin/v1/store/backup", &json!({"name": "older.db"}));
        bridge.admin(ERASE, &of("customer", CUSTOMER));
        bridge.admin(ERASE, &of("partner_id", &format!("P-{CUSTOMER}")));
        bridge.app.accept(&email("N1", CUSTOMER, 20));
        bridge.put_back("older.db");
        let has_id = contains(&bridge.folder(), CUSTOMER);
        assert_eq!(has_id, key.is_none(), "a plain backup has the customer");
        bridge.app.restart();
        bridge.check_erased("after the restore");
        let audit = bridge
            .admin("GET /admin/v1/audit", &Value::Null)
            .to_string();
        assert!(audit.contains("erase_again"), "{audit}");
        let answer = bridge.app.post(&email("E2", CUSTOMER, 2));
        assert_eq!(
            answer.json()["accepted"][0]["duplicate"],
            true,
            "{}",
            answer.body
        );

        // The next start has nothing to repeat, and a customer who has come back stays.
        bridge.app.accept(&email("N2", CUSTOMER, 30));
        bridge.app.stop().unwrap();
        bridge.app.restart();
        bridge.admin("POST /admin/v1/destination", &json!({"mode": "open"}));
        bridge.app.wait_until("N2", "delivered");
        bridge.app.wait_until("other", "delivered");
    }
}

/// FAULTS N1140: after the restore of a backup, the source sends its newest events again, as the bridge asks for.
#[test]
fn a_resend_after_a_restore_does_not_bring_a_customer_back() {
    let mut bridge = CustomerApp::with(Some("key-1"));
    bridge.app.accept(&email("E1", CUSTOMER, 1));
    bridge.app.wait_until("E1", "delivered");
    bridge.admin("POST /admin/v1/store/backup", &json!({"name": "older.db"}));
    let newest = [email("E2", CUSTOMER, 20), email("L1", "late-customer", 1)];
    for event in &newest {
        bridge.app.accept(event);
    }
    bridge.app.wait_until("E2", "delivered");
    bridge.app.wait_until("L1", "delivered");
    bridge.admin(ERASE, &of("customer", CUSTOMER));
    bridge.admin(ERASE, &of("customer", "late-customer"));
    bridge.put_back("older.db");
    bridge.app.restart();
    let calls = bridge.app.imprint.calls().len();
    for (id, event) in [("E2", &newest[0]), ("L1", &newest[1])] {
        assert_eq!(bridge.app.post(event).status, 202);
        let receipt = bridge.app.wait_until(id, "ignored");
        assert_eq!(receipt["ignored"], "blocked", "{receipt}");
    }
    bridge.app.accept(&email("N1", CUSTOMER, 10));
    bridge.app.wait_until("N1", "ignored");
    bridge.app.accept(&email("other", "another", 1));
    bridge.app.wait_until("other", "delivered");
    assert_eq!(bridge.app.imprint.applied(CUSTOMER).len(), 2);
    assert!(bridge.app.imprint.calls().len() > calls);

    // The operator ends the block. The next start has nothing to repeat.
    bridge.admin(ERASE, &of("customer", CUSTOMER));
    bridge.app.stop().unwrap();
    bridge.app.restart();
    bridge.app.accept(&email("N2", CUSTOMER, 30));
    bridge.app.wait_until("N2", "delivered");
}

/// FAULTS N1110: two operators erase at the same time, and the erasure that began later ends first.
#[test]
fn the_next_start_repeats_no_finished_erasure() {
    let mut bridge = CustomerApp::start();
    bridge.pause();
    let many: Vec<Event> = (1..=2_000)
        .map(|number| email(&format!("L{number}"), "large", number))
        .collect();
    for batch in many.chunks(100) {
        assert_eq!(bridge.app.post_batch(batch).status, 202);
    }
    bridge.app.accept(&email("E1", CUSTOMER, 1));
    bridge.app.accept(&email("E2", "later", 1));
    let journal = bridge.journal();
    std::thread::scope(|scope| {
        let large = scope.spawn(|| bridge.admin(ERASE, &of("customer", "large")));
        wait_for("the large erasure has begun", || {
            let records = fs::read_to_string(&journal).unwrap_or_default();
            records.contains('\n').then_some(())
        });
        bridge.admin(ERASE, &of("customer", CUSTOMER));
        assert_eq!(large.join().unwrap()["entries"], 2_000);
    });
    bridge.admin(ERASE, &of("customer", "later"));
    assert_eq!(fs::read_to_string(&journal).unwrap().lines().count(), 3);
    bridge.app.stop().unwrap();
    bridge.app.restart();
    let audit = bridge
        .admin("GET /admin/v1/audit", &Value::Null)
        .to_string();
    assert!(!audit.contains("erase_again"), "{audit}");
}

/// FAULTS N648: a start without the complete journal would bring erased customers back after a restore.
#[test]
fn a_start_without_the_journal_is_refused() {
    let mut bridge = CustomerApp::start();
    bridge.app.accept(&email("E1", CUSTOMER, 1));
    bridge.app.wait_until("E1", "delivered");
    let empty = fs::read(bridge.journal()).unwrap();
    assert!(empty.is_empty());
    bridge.admin(ERASE, &of("customer", CUSTOMER));
    bridge.app.stop().unwrap();
    let aside = bridge.journal.path().join("aside");
    fs::rename(bridge.journal(), &aside).unwrap();
    let log = bridge.refusal();
    assert!(
        log.contains("is missing, but the store has finished erasures"),
        "{log}"
    );
    fs::write(bridge.journal(), "1 00\n").unwrap();
    let log = bridge.refusal();
    assert!(log.contains("line 1 of the erasure journal"), "{log}");
    fs::rename(&aside, bridge.journal()).unwrap();
    bridge.app.restart();
}

/// FAULTS N649: an erasure that the journal does not have would not survive a restore.
#[test]
fn nothing_is_erased_without_a_record_in_the_journal() {
    let bridge = CustomerApp::start();
    bridge.app.accept(&email("E1", "c1", 1));
    bridge.app.wait_until("E1", "delivered");
    let aside = bridge.journal.path().join("aside");
    fs::rename(bridge.journal(), &aside).unwrap();
    let answer = bridge.ask(ERASE, &of("customer", "c1"));
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(bridge.app.receipt("E1")["status"], "delivered");
    fs::rename(&aside, bridge.journal()).unwrap();
    let erased = bridge.admin(ERASE, &of("customer", "c1"));
    assert_eq!(erased["entries"], 1, "{erased}");
}

/// FAULTS N646: a crash at each step of an erasure. The next start repeats the erasure.
#[cfg(feature = "failpoints")]
#[test]
fn a_crash_in_an_erasure_leaves_nothing_of_the_customer() {
    for point in [
        "after_erasure_record:1",
        "before_erasure:1",
        "after_erasure:1",
        "before_erasure:2",
        "after_erasure:2",
    ] {
        let mut bridge = CustomerApp::with(Some("key-1"));
        bridge.fill(CUSTOMER);
        bridge.crash_in_erasure(point);
        bridge.app.restart();
        bridge.app.advance(Duration::from_secs(60));
        let is_gone = |app: &TestApp| {
            let folder = app.files.store().parent().unwrap().to_owned();
            !contains(&folder, "E2@example.com")
        };
        bridge.app.wait_for("the log is truncated", is_gone);
        let partner = of("partner_id", &format!("P-{CUSTOMER}"));
        bridge.admin(ERASE, &partner);
        bridge.check_erased(point);
    }
}
