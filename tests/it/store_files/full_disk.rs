//! Tests of the real program on a full disk: it keeps a reserve of disk space, so it delivers also after a crash.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::disk::{DiskFault, add_faults, end_limit, leave_free, with_faults};
use super::{Bridge, mode, restore, run};
use crate::http;
use crate::process::{Process, weakenings};
use crate::support::{Event, FakeImprint, Files, KEY, metric, post, receipt, wait_for};

/// The size of the reserve.
const RESERVE_BYTES: u64 = 48 * MIB;

/// The number of entries that wait when the disk becomes full: more than one group of settlements.
const ENTRIES: usize = 300;

/// The size of a large event. Most pages of a log with large events are pages that the store file does not have yet.
const LARGE_BYTES: usize = 60_000;

/// The minimum length of a long log. The store truncates the log at intervals, and writes a log of 32 MiB back.
const LONG_LOG_BYTES: u64 = 11 * MIB;

/// The number of large events in one request. With one event each, the index pages of all commits would fill the log.
const BATCH: usize = 15;

const MIB: u64 = 1024 * 1024;

/// Writes the files of a bridge that sends to this Imprint, with the store in a separate folder.
fn prepare(imprint: &FakeImprint) -> Files {
    let files = Files::write(imprint.address, KEY, "");
    fs::create_dir(files.store_file("data")).unwrap();
    let url = format!("sqlite:{}", files.store_file("data/outbox.db").display());
    files.write_settings(&format!("[outbox]\nurl = \"{url}\"\n[shutdown]\ndrain = 1"));
    files.write_token("alice", "a-token-of-alice");
    files
}

/// Does the same as [`prepare`]. The source stores whole events, so that large events are large in the store.
fn prepare_large(imprint: &FakeImprint) -> Files {
    let files = prepare(imprint);
    let sources = files.store_file("sources");
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crm = fs::read_to_string(package.join("config/sources/crm.toml")).unwrap();
    fs::create_dir_all(sources.join("crm")).unwrap();
    fs::write(
        sources.join("crm.toml"),
        format!("{crm}\n[body]\nkeep = \"all\"\n"),
    )
    .unwrap();
    let url = format!("sqlite:{}", files.store_file("data/outbox.db").display());
    files.write_settings(&format!(
        "sources_dir = {sources:?}\n[outbox]\nurl = \"{url}\"\n[shutdown]\ndrain = 1\n\
         [ingress]\nbody_bytes_max = 1048576\n"
    ));
    files
}

impl Bridge {
    /// Accepts large events until the log is long. Returns the number of events.
    fn accept_large(&self) -> usize {
        let log = self.path("data/outbox.db-wal");
        let mut first = 0;
        while fs::metadata(&log).unwrap().len() < LONG_LOG_BYTES {
            let ids = (first..first + BATCH).map(|number| format!("e-{number}"));
            let padding = json!("x".repeat(LARGE_BYTES));
            let events = ids.map(|id| {
                let event = Event::new(&id, &id, 1).email("canary@example.com");
                event.with("/data/padding", padding.clone()).json().clone()
            });
            let batch: Vec<Value> = events.collect();
            let headers = [("content-type", "application/cloudevents-batch+json")];
            let answer = post(self.ingress, &headers, &json!(batch).to_string()).unwrap();
            assert_eq!(answer.status, 202, "{first}: {}", answer.body);
            first += BATCH;
        }
        first
    }

    fn accept_many(&self) {
        for number in 0..ENTRIES {
            self.accept(&format!("e-{number}"));
        }
    }

    fn is_refused_as_full(&self, id: &str) {
        let answer = self.post(id);
        assert_eq!(answer.status, 503, "{id}: {}", answer.body);
        assert!(answer.body.contains("store_full"), "{}", answer.body);
    }

    fn resume(&self) {
        let headers = [
            ("authorization", "Bearer a-token-of-alice"),
            ("content-type", "application/json"),
        ];
        let body = json!({"mode": "open"}).to_string();
        let answer = http::ask(self.ops, "POST /admin/v1/destination", &headers, &body);
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Waits until no entry waits, and expects that the first events, up to this number, were delivered.
    fn wait_until_drained(&self, count: usize) {
        wait_for("every entry is delivered", || {
            let page = self.get("/metrics").body;
            (metric(&page, "waiting_entries") == Some(0.0)).then_some(())
        });
        for number in 0..count {
            let id = format!("e-{number}");
            let answer = receipt(self.ingress, &id).unwrap();
            assert_eq!(
                answer.json()["status"],
                "delivered",
                "{id}: {}",
                answer.body
            );
        }
    }

    fn has_reserve(&self) -> bool {
        let lacks_reserve = weakenings(self.ops).contains(&"disk_reserve".to_owned());
        assert_eq!(lacks_reserve, !self.path("data/outbox.db.reserve").exists());
        !lacks_reserve
    }

    /// Returns the metrics of the conditions `working` and `full`.
    fn conditions(&self) -> [f64; 2] {
        ["working", "full"].map(|name| self.condition(name).unwrap())
    }

    fn refusals(&self) -> Option<f64> {
        let page = self.get("/metrics").body;
        metric(
            &page,
            "refused_total{problem=\"store_full\",source=\"crm\"}",
        )
    }

    pub(super) fn wait_for_reserve(&self) {
        wait_for("the reserve exists", || {
            let exists = self.path("data/outbox.db.reserve").exists();
            (exists && !weakenings(self.ops).contains(&"disk_reserve".to_owned())).then_some(())
        });
    }
}

fn restore_with_faults(files: &Files, copy: &Path) -> Output {
    let mut restore = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"));
    restore.args(["store", "restore"]).arg(copy);
    for file in files.settings() {
        restore.arg("--config").arg(file);
    }
    add_faults(files, restore).output().unwrap()
}

/// FAULTS N770: a process dies on a full disk. The next process starts in the space of the reserve and delivers every
/// entry. It makes the reserve again when the disk has space.
#[test]
fn a_process_that_dies_on_a_full_disk_starts_again_and_delivers() {
    for free in [0, 64 * 1024] {
        let imprint = FakeImprint::start(|_settings| {});
        let bridge = Bridge::serve(prepare(&imprint), with_faults);
        bridge.pause();
        bridge.accept_many();
        bridge.wait_for_reserve();
        let reserve = fs::metadata(bridge.path("data/outbox.db.reserve")).unwrap();
        assert!(reserve.blocks() * 512 >= RESERVE_BYTES);
        assert_eq!(mode(&bridge.path("data/outbox.db.reserve")), 0o600);
        let files = bridge.kill();
        leave_free(&files, free);
        let bridge = Bridge::serve(files, with_faults);
        assert!(!bridge.has_reserve());
        bridge.is_refused_as_full("on-the-full-disk");
        bridge.resume();
        bridge.wait_until_drained(ENTRIES);
        bridge.is_refused_as_full("on-the-full-disk");
        end_limit(&bridge.files);
        bridge.accept("after");
        bridge.wait_for_reserve();
        bridge.stop();
    }
}

/// FAULTS N770, N1437: the disk becomes full while the bridge runs. It delivers in the space of the reserve.
#[test]
fn a_disk_that_becomes_full_does_not_stop_deliveries() {
    let imprint = FakeImprint::start(|_settings| {});
    let bridge = Bridge::serve(prepare(&imprint), with_faults);
    bridge.pause();
    bridge.accept_many();
    bridge.wait_for_reserve();
    assert_eq!(bridge.conditions(), [1.0, 0.0]);
    assert_eq!(bridge.refusals(), Some(0.0), "the first one is an increase");
    leave_free(&bridge.files, 0);
    bridge.is_refused_as_full("on-the-full-disk");
    wait_for("the metric says that the disk is full", || {
        (bridge.conditions() == [0.0, 1.0]).then_some(())
    });
    assert_eq!(bridge.refusals(), Some(1.0));
    bridge.resume();
    bridge.wait_until_drained(ENTRIES);
    let log = bridge.process.log();
    assert_eq!(
        log.matches("the store uses its reserve").count(),
        1,
        "{log}"
    );
    // With 50 MiB, no space stays for events beside the reserve; with 70 MiB it does.
    leave_free(&bridge.files, 50 * MIB);
    bridge.is_refused_as_full("on-the-full-disk");
    assert!(!bridge.has_reserve());
    leave_free(&bridge.files, 70 * MIB);
    bridge.accept("after");
    bridge.wait_for_reserve();
    wait_for("the store works", || {
        (bridge.conditions() == [1.0, 0.0]).then_some(())
    });
    // A stop leaves a reserve for the next start, also if only the file itself has space.
    leave_free(&bridge.files, 0);
    bridge.is_refused_as_full("again");
    leave_free(&bridge.files, RESERVE_BYTES + MIB);
    let files = bridge.stop();
    assert!(files.store_file("data/outbox.db.reserve").exists());
}

/// FAULTS N1496: the disk has too little space for events, and the store still has its reserve. The metric says that the disk
/// is full.
#[test]
fn the_condition_is_full_while_events_are_refused_beside_the_reserve() {
    let imprint = FakeImprint::start(|_settings| {});
    let bridge = Bridge::serve(prepare(&imprint), with_faults);
    bridge.accept("first");
    bridge.wait_for_reserve();
    for free in [12 * MIB, 5 * MIB] {
        leave_free(&bridge.files, free);
        bridge.is_refused_as_full("on-the-full-disk");
        assert!(bridge.has_reserve());
        wait_for("the metric says that the disk is full", || {
            (bridge.conditions() == [0.0, 1.0]).then_some(())
        });
        leave_free(&bridge.files, 40 * MIB);
        bridge.accept(&format!("with-space-{free}"));
        wait_for("the store works", || {
            (bridge.conditions() == [1.0, 0.0]).then_some(())
        });
    }
    // Nobody sends an event: the store looks at the disk by itself.
    leave_free(&bridge.files, 12 * MIB);
    wait_for("the store looks at the disk", || {
        (bridge.conditions() == [0.0, 1.0]).then_some(())
    });
    bridge.stop();
}

/// FAULTS N770: the log has many pages that the store file does not have, and no byte is free. The reserve has space for
/// all these pages.
#[test]
fn a_long_log_is_written_back_in_the_space_of_the_reserve() {
    let imprint = FakeImprint::start(|_settings| {});
    let bridge = Bridge::serve(prepare_large(&imprint), with_faults);
    bridge.pause();
    bridge.wait_for_reserve();
    let count = bridge.accept_large();
    let files = bridge.kill();
    leave_free(&files, 0);
    let bridge = Bridge::serve(files, with_faults);
    assert!(!bridge.has_reserve());
    bridge.resume();
    bridge.wait_until_drained(count);
    bridge.stop();
}

/// FAULTS N774: another program takes the space of the reserve too. The start says so and ends; a later start delivers.
#[test]
fn a_start_without_any_space_says_so_and_a_later_start_delivers() {
    let imprint = FakeImprint::start(|_settings| {});
    let bridge = Bridge::serve(prepare(&imprint), with_faults);
    bridge.pause();
    bridge.accept_many();
    bridge.wait_for_reserve();
    let files = bridge.kill();
    fs::remove_file(files.store_file("data/outbox.db.reserve")).unwrap();
    leave_free(&files, 0);
    let mut process = Process::start(with_faults(&files));
    let status = process.wait_for_exit();
    let log = process.log();
    assert_eq!(status.code(), Some(1), "{log}");
    for words in ["the disk of the store", "is full", "free 48 MiB"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    leave_free(&files, MIB);
    let bridge = Bridge::serve(files, with_faults);
    bridge.resume();
    bridge.wait_until_drained(ENTRIES);
    bridge.stop();
}

/// FAULTS N774: another program takes the space of the reserve while the bridge runs. The deliveries go on by themselves
/// when the disk has space.
#[test]
fn deliveries_wait_without_any_space_and_go_on_with_space() {
    let imprint = FakeImprint::start(|_settings| {});
    let bridge = Bridge::serve(prepare(&imprint), with_faults);
    bridge.pause();
    bridge.accept_many();
    bridge.wait_for_reserve();
    bridge.resume();
    fs::remove_file(bridge.path("data/outbox.db.reserve")).unwrap();
    leave_free(&bridge.files, 0);
    wait_for("the log says that deliveries wait", || {
        let log = bridge.process.log();
        log.contains("no reserve of disk space is left")
            .then_some(())
    });
    leave_free(&bridge.files, 2 * MIB);
    bridge.wait_until_drained(ENTRIES);
    let log = bridge.process.log();
    assert!(log.contains("space for deliveries again"), "{log}");
    end_limit(&bridge.files);
    bridge.stop();
}

/// FAULTS N771: the disk has no space for the reserve at the start.
#[test]
fn a_store_without_space_for_a_reserve_starts_and_says_so() {
    let imprint = FakeImprint::start(|_settings| {});
    let files = prepare(&imprint);
    leave_free(&files, 12 * MIB);
    let bridge = Bridge::serve(files, with_faults);
    wait_for("the metric shows the missing reserve", || {
        weakenings(bridge.ops)
            .contains(&"disk_reserve".to_owned())
            .then_some(())
    });
    bridge.is_refused_as_full("too-early");
    let log = bridge.process.log();
    assert!(log.contains("no space for the reserve"), "{log}");
    assert_eq!(bridge.get("/readyz").status, 200);
    end_limit(&bridge.files);
    bridge.accept("later");
    bridge.wait_for_reserve();
    bridge.stop();
}

/// FAULTS N772: the commands on a closed store use the reserve on a full disk, and leave a reserve behind. A restore that
/// fails takes no space, and a copy of the store gets no reserve.
#[test]
fn the_commands_on_a_closed_store_keep_its_reserve() {
    let imprint = FakeImprint::start(|_settings| {});
    let bridge = Bridge::serve(prepare(&imprint), with_faults);
    bridge.accept("first");
    let (code, output) = bridge.backup("copy.db");
    assert_eq!(code, Some(0), "{output}");
    let files = bridge.stop();
    let reserve = files.store_file("data/outbox.db.reserve");
    let copy = files.store_file("data/copy.db");
    let before = fs::metadata(&reserve).unwrap();
    let (code, output) = run(&["store", "verify", copy.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{output}");
    assert!(!files.store_file("data/copy.db.reserve").exists());
    let (code, output) = restore(&files, &copy);
    assert_eq!(code, Some(0), "{output}");
    let after = fs::metadata(&reserve).unwrap();
    assert_eq!(before.ino(), after.ino());
    leave_free(&files, 0);
    let output = restore_with_faults(&files, &copy);
    assert!(output.status.success(), "{output:?}");
    assert!(!reserve.exists());
    end_limit(&files);
    DiskFault::Quota.begin(&files);
    let output = restore_with_faults(&files, &copy);
    assert!(!output.status.success(), "{output:?}");
    assert!(!files.store_file("data/outbox.db.new").exists());
    DiskFault::Quota.end(&files);
    let bridge = Bridge::serve(files, with_faults);
    bridge.accept("second");
    bridge.stop();
}
