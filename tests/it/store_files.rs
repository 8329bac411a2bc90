//! Tests of the real program whose store files are deleted, renamed, replaced or shortened, whose disk hangs, or whose
//! files may not grow.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use imprint_bridge::time::Clock;
use serde_json::json;

use crate::http::{self, Answer};
use crate::process::{self, Process};
use crate::support::{Event, FakeImprint, Files, KEY, metric, post, receipt, wait_for};

mod causes;
mod disk;
mod foreign_log;
mod full_disk;
mod rebound;
mod upgrade;
mod verified;

use disk::{DiskFault, with_faults};

/// An address at which no Imprint listens, so that every accepted event waits.
const NO_IMPRINT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// The time after which an operation of the store counts as hanging.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// A bridge process with its store in a separate folder.
struct Bridge {
    files: Files,
    process: Process,
    ingress: SocketAddr,
    ops: SocketAddr,
}

impl Bridge {
    fn start() -> Self {
        Self::serve(Self::prepare(), process::command)
    }

    /// Writes the files of a bridge with its store in a separate folder.
    fn prepare() -> Files {
        let files = Files::write(NO_IMPRINT, KEY, "");
        fs::create_dir(files.store_file("data")).unwrap();
        let url = format!("sqlite:{}", files.store_file("data/outbox.db").display());
        files.write_settings(&format!("[outbox]\nurl = \"{url}\"\n[shutdown]\ndrain = 1"));
        files.write_token("alice", "a-token-of-alice");
        files
    }

    fn serve(files: Files, command: impl FnOnce(&Files) -> Command) -> Self {
        let process = Process::start(command(&files));
        let (ingress, ops) = process.ready();
        Self {
            files,
            process,
            ingress,
            ops,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.store_file(name)
    }

    fn post(&self, id: &str) -> Answer {
        let event = Event::new(id, id, 1).email("canary@example.com");
        let headers = [("content-type", "application/cloudevents+json")];
        post(self.ingress, &headers, &event.json().to_string()).unwrap()
    }

    fn accept(&self, id: &str) {
        let answer = self.post(id);
        let log = || self.process.log();
        assert_eq!(answer.status, 202, "{id}: {} {}", answer.body, log());
    }

    /// Accepts a hundred events of as many customers in one request.
    fn accept_batch(&self, number: u32) {
        let event = |item| {
            Event::new(
                &format!("e-{number}-{item}"),
                &format!("C-{number}-{item}"),
                1,
            )
        };
        let events = (0..100).map(|item| event(item).email("canary@example.com").json().clone());
        let headers = [("content-type", "application/cloudevents-batch+json")];
        let body = json!(events.collect::<Vec<_>>()).to_string();
        assert_eq!(post(self.ingress, &headers, &body).unwrap().status, 202);
    }

    fn refuse(&self, id: &str) {
        let answer = self.post(id);
        assert_eq!(answer.status, 503, "{id}: {}", answer.body);
        assert!(answer.body.contains("store_failed"), "{}", answer.body);
        assert!(answer.header("retry-after").is_some());
    }

    fn get(&self, path: &str) -> Answer {
        http::ask(self.ops, &format!("GET {path}"), &[], "").unwrap()
    }

    fn pause(&self) {
        let headers = [
            ("authorization", "Bearer a-token-of-alice"),
            ("content-type", "application/json"),
        ];
        let body = json!({"mode": "paused", "reason": "a test"}).to_string();
        let line = "POST /admin/v1/destination";
        let answer = http::ask(self.ops, line, &headers, &body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    fn wait_until_ready(&self, status: u16) {
        wait_for("readiness changes", || {
            (self.get("/readyz").status == status).then_some(())
        });
    }

    fn condition(&self, name: &str) -> Option<f64> {
        let page = self.get("/metrics").body;
        metric(&page, &format!("store_condition{{condition=\"{name}\"}}"))
    }

    fn stop(mut self) -> Files {
        self.process.terminate();
        let status = self.process.wait_for_exit();
        assert_eq!(status.code(), Some(0), "{}", self.process.log());
        self.files
    }

    fn kill(mut self) -> Files {
        self.process.child.kill().unwrap();
        self.process.wait_for_exit();
        self.files
    }
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .args(arguments)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn restore(files: &Files, copy: &Path) -> (Option<i32>, String) {
    let settings = files.settings();
    let mut arguments = vec!["store", "restore", copy.to_str().unwrap()];
    for file in &settings {
        arguments.extend(["--config", file.to_str().unwrap()]);
    }
    run(&arguments)
}

/// Starts a bridge that must refuse to start, and returns its log.
fn refused_start(files: &Files) -> String {
    let mut process = Process::serve(files);
    assert_eq!(process.wait_for_exit().code(), Some(1), "{}", process.log());
    process.log()
}

// === a file of the store is gone ===

fn is_noticed_at_once(bridge: &Bridge, what: &str, damage: impl FnOnce(&Bridge)) {
    // Without deliveries, the store rests while another program changes its files.
    bridge.pause();
    bridge.accept("before");
    damage(bridge);
    bridge.refuse("after");
    wait_for(what, || (bridge.get("/readyz").status == 503).then_some(()));
    assert_eq!(bridge.get("/readyz").body, "store unavailable\n", "{what}");
    assert_eq!(bridge.get("/livez").status, 200, "{what}");
    assert_eq!(bridge.condition("file_gone"), Some(1.0), "{what}");
    let logged = || {
        let log = bridge.process.log();
        let texts = [
            "of the store was deleted",
            "has written into a file of the store",
        ];
        texts
            .map(|text| log.matches(text).count())
            .iter()
            .sum::<usize>()
    };
    wait_for("the loss is logged", || (logged() > 0).then_some(()));
    assert_eq!(logged(), 1, "{what}");
}

/// Changes bytes of the store file in place.
fn write_into(bridge: &Bridge, at: usize, bytes: &[u8]) {
    let path = bridge.path("data/outbox.db");
    let mut content = fs::read(&path).unwrap();
    content.resize(content.len().max(at + bytes.len()), 0);
    content[at..at + bytes.len()].copy_from_slice(bytes);
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.write_all(&content).unwrap();
}

/// FAULTS N71, V1: no event is acknowledged after a file of the store was replaced, shortened or overwritten, and the
/// bridge is not ready.
#[test]
fn no_event_is_accepted_into_a_replaced_store() {
    type Damage = fn(&Bridge);
    let table: [(&str, Damage); 8] = [
        ("the store file is replaced", |bridge| {
            fs::copy(bridge.path("data/outbox.db"), bridge.path("data/copy")).unwrap();
            fs::rename(bridge.path("data/copy"), bridge.path("data/outbox.db")).unwrap();
        }),
        ("another file is copied over the store file", |bridge| {
            fs::write(bridge.path("data/outbox.db"), "SQLite format 3\0").unwrap();
        }),
        ("a longer file is copied over the store file", |bridge| {
            write_into(bridge, 10_000_000, b"x");
        }),
        (
            "another file of the same length is copied over the store file",
            |bridge| {
                write_into(bridge, 24, &[7; 4]);
            },
        ),
        ("the log is shortened", |bridge| {
            let log = fs::File::options()
                .write(true)
                .open(bridge.path("data/outbox.db-wal"));
            log.unwrap().set_len(10).unwrap();
        }),
        ("another program writes into the log", |bridge| {
            let log = fs::File::options()
                .write(true)
                .open(bridge.path("data/outbox.db-wal"));
            log.unwrap().write_all(&[0; 200]).unwrap();
        }),
        ("the log is deleted", |bridge| {
            fs::remove_file(bridge.path("data/outbox.db-wal")).unwrap();
        }),
        ("the folder is replaced", |bridge| {
            fs::rename(bridge.path("data"), bridge.path("old")).unwrap();
            fs::create_dir(bridge.path("data")).unwrap();
            for name in ["outbox.db", "outbox.db-wal"] {
                let from = bridge.path("old").join(name);
                fs::copy(from, bridge.path("data").join(name)).unwrap();
            }
        }),
    ];
    for (what, damage) in table {
        is_noticed_at_once(&Bridge::start(), what, damage);
    }
}

/// FAULTS N1473: an older copy of the store file replaces the store file of a running bridge. SQLite would apply the log to the copy
/// at the next start.
#[test]
fn a_copy_in_the_place_of_the_store_never_gets_the_log() {
    let bridge = Bridge::serve(Bridge::prepare(), process::command);
    bridge.accept("before");
    fs::copy(bridge.path("data/outbox.db"), bridge.path("data/copy")).unwrap();
    let older = bridge.path("older");
    fs::copy(bridge.path("data/copy"), &older).unwrap();
    bridge.accept("after");
    let original = bridge.path("data/original");
    fs::hard_link(bridge.path("data/outbox.db"), &original).unwrap();
    fs::rename(bridge.path("data/copy"), bridge.path("data/outbox.db")).unwrap();
    bridge.wait_until_ready(503);
    let files = bridge.kill();
    let log = refused_start(&files);
    assert!(log.contains("belongs to another file than"), "{log}");
    assert!(original.exists());
    fs::rename(&original, files.store_file("data/outbox.db")).unwrap();
    let bridge = Bridge::serve(files, process::command);
    for id in ["before", "after"] {
        assert_eq!(receipt(bridge.ingress, id).unwrap().status, 200, "{id}");
    }
    // The log fits no file if another program has written into the store file. A delivery would write the header again.
    bridge.pause();
    write_into(&bridge, 24, &[7; 4]);
    bridge.wait_until_ready(503);
    let files = bridge.kill();
    let log = refused_start(&files);
    assert!(log.contains("belongs to another file than"), "{log}");
    // As the text says: a copy in another folder, without the events in the log.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    fs::copy(older, &copy).unwrap();
    let (code, output) = restore(&files, &copy);
    assert_eq!(code, Some(0), "{output}");
    let bridge = Bridge::serve(files, process::command);
    bridge.accept("again");
}

/// FAULTS N742: another program cuts the log, as `copytruncate` of a log rotation does, while events arrive.
#[test]
fn a_log_that_is_cut_under_load_is_noticed() {
    let bridge = Bridge::start();
    bridge.pause();
    let numbers = AtomicUsize::new(0);
    let post = || {
        bridge
            .post(&format!("e-{}", numbers.fetch_add(1, Ordering::SeqCst)))
            .status
    };
    thread::scope(|scope| {
        let posters = [(); 3].map(|()| {
            scope.spawn(|| {
                // Enough events for several seconds.
                (0..3_000).map(|_| post()).find(|status| *status == 503)
            })
        });
        wait_for("accepted events", || {
            (numbers.load(Ordering::SeqCst) > 30).then_some(())
        });
        let log = fs::File::options()
            .write(true)
            .open(bridge.path("data/outbox.db-wal"));
        log.unwrap().set_len(0).unwrap();
        for poster in posters {
            assert_eq!(poster.join().unwrap(), Some(503));
        }
    });
    assert_eq!(bridge.condition("file_gone"), Some(1.0));
    let files = bridge.kill();
    let bridge = Bridge::serve(files, process::command);
    let log = bridge.process.log();
    assert!(log.contains("no valid header"), "{log}");
}

/// FAULTS N74: a lock file that is damaged prevents no start, and a pipe in its place does not block one.
#[test]
fn an_odd_lock_file_never_blocks_a_start() {
    let bridge = Bridge::serve(Bridge::prepare(), process::command);
    bridge.accept("before");
    let files = bridge.stop();
    let lock = files.store_file("data/outbox.db.lock");
    fs::write(&lock, [0xff; 5000]).unwrap();
    let bridge = Bridge::serve(files, process::command);
    assert_eq!(receipt(bridge.ingress, "before").unwrap().status, 200);
    let files = bridge.stop();
    fs::remove_file(&lock).unwrap();
    let pipe = Command::new("mkfifo").arg(&lock).status();
    assert!(pipe.unwrap().success());
    let log = refused_start(&files);
    assert!(log.contains("not a regular file"), "{log}");
}

/// FAULTS N71, V8: the bridge accepts events again when the store file is back, and nothing is lost.
#[test]
fn a_renamed_store_works_again_when_it_is_renamed_back() {
    let bridge = Bridge::start();
    is_noticed_at_once(&bridge, "the store is renamed", |bridge| {
        fs::rename(bridge.path("data/outbox.db"), bridge.path("data/away")).unwrap();
    });
    fs::rename(bridge.path("data/away"), bridge.path("data/outbox.db")).unwrap();
    bridge.wait_until_ready(200);
    assert_eq!(bridge.condition("working"), Some(1.0));
    let lock = fs::read_to_string(bridge.path("data/outbox.db.lock")).unwrap();
    assert!(!lock.contains("only"), "{lock}");
    bridge.accept("again");
    // An idle process notices the loss too.
    fs::rename(bridge.path("data"), bridge.path("old")).unwrap();
    bridge.wait_until_ready(503);
    let files = bridge.stop();
    fs::rename(files.store_file("old"), files.store_file("data")).unwrap();
    let bridge = Bridge::serve(files, process::command);
    for id in ["before", "again"] {
        assert_eq!(receipt(bridge.ingress, id).unwrap().status, 200, "{id}");
    }
}

/// FAULTS N71, N72, D15: an operator rescues the events of a deleted store with a backup. The next start refuses the
/// remaining log, until the backup is restored.
#[test]
fn a_deleted_store_is_rescued_with_a_backup() {
    let bridge = Bridge::start();
    is_noticed_at_once(&bridge, "the store is deleted", |bridge| {
        fs::remove_file(bridge.path("data/outbox.db")).unwrap();
    });
    let (code, output) = bridge.backup("rescue");
    assert_eq!(code, Some(0), "{output}");
    let files = bridge.stop();
    let log = refused_start(&files);
    for part in ["is missing, but its log", "store restore", "outbox.db-wal"] {
        assert!(log.contains(part), "{log}");
    }
    assert!(!files.store_file("data/outbox.db").exists());
    let (code, output) = restore(&files, &files.store_file("data/rescue"));
    assert_eq!(code, Some(0), "{output}");
    let bridge = Bridge::serve(files, process::command);
    assert_eq!(receipt(bridge.ingress, "before").unwrap().status, 200);
    bridge.accept("later");
}

/// FAULTS N72: a backup that was copied over the store of a killed process is not mixed with the log of that process.
#[test]
fn a_log_is_never_applied_to_another_store() {
    let bridge = Bridge::start();
    bridge.accept("before");
    let (code, output) = bridge.backup("copy");
    assert_eq!(code, Some(0), "{output}");
    bridge.accept("after");
    let files = bridge.kill();
    let store = files.store_file("data/outbox.db");
    let own = fs::read(&store).unwrap();
    fs::copy(files.store_file("data/copy"), &store).unwrap();
    let log = refused_start(&files);
    assert!(log.contains("belongs to another file"), "{log}");
    let (code, output) = run(&["store", "verify", store.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("belongs to another file"), "{output}");
    // Neither refusal has changed the log, so the own store file is complete with it.
    fs::write(&store, own).unwrap();
    let bridge = Bridge::serve(files, process::command);
    for id in ["before", "after"] {
        assert_eq!(receipt(bridge.ingress, id).unwrap().status, 200, "{id}");
    }
}

/// FAULTS N72: processes that end between the new mark of the log and the checkpoint never make the store refuse its own
/// log.
#[cfg(feature = "failpoints")]
#[test]
fn a_crash_during_the_marking_leaves_a_store_that_opens() {
    let crash_during_marking = |files: &Files| {
        let mut command = process::command(files);
        let failpoint = "crash:after_mark_before_checkpoint:1";
        command.env("IMPRINT_BRIDGE_FAILPOINTS", failpoint);
        let status = Process::start(command).wait_for_exit();
        assert_eq!(status.code(), None, "the process aborts");
    };
    let mut files = Files::write(NO_IMPRINT, KEY, "[shutdown]\ndrain = 1");
    let mut accepted = Vec::new();
    for round in ["on-a-new-store", "after-a-kill", "after-another-kill"] {
        for _ in 0..3 {
            crash_during_marking(&files);
        }
        let bridge = Bridge::serve(files, process::command);
        bridge.accept(round);
        accepted.push(round);
        for id in &accepted {
            assert_eq!(receipt(bridge.ingress, id).unwrap().status, 200, "{id}");
        }
        files = bridge.kill();
    }
}

// === a disk that hangs ===

/// FAULTS N73, D09, V8: while the disk hangs, senders get 503 within a deadline and the process is not ready. The
/// process recovers without help.
#[test]
fn a_hung_disk_answers_503_and_recovers() {
    let files = Files::write(NO_IMPRINT, KEY, "[shutdown]\ndrain = 1");
    let hang = files.store_file("hang");
    let armed = |files: &Files| {
        let mut command = process::command(files);
        let failpoint = format!("hang:{}", hang.display());
        command.env("IMPRINT_BRIDGE_FAILPOINTS", failpoint);
        command
    };
    let bridge = Bridge::serve(files, armed);
    bridge.accept("before");
    fs::write(&hang, "").unwrap();
    bridge.refuse("hung");
    bridge.wait_until_ready(503);
    assert_eq!(bridge.condition("stalled"), Some(1.0));
    assert_eq!(bridge.get("/livez").status, 200);
    // The bridge knows that the disk hangs, so the next sender does not wait for the disk.
    let clock = Clock::machine();
    let start = clock.now();
    bridge.refuse("hung-too");
    assert!(clock.now().since(start) < STALLED_AFTER);
    let answer = receipt(bridge.ingress, "before").unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    fs::remove_file(&hang).unwrap();
    bridge.wait_until_ready(200);
    // The event that was answered with 503 was stored after all, and the sender's second request is a duplicate.
    let answer = bridge.post("hung");
    assert_eq!(
        answer.json()["accepted"][0]["duplicate"],
        true,
        "{answer:?}"
    );
    bridge.accept("hung-too");
    // A process whose disk hangs ends within its deadlines.
    fs::write(&hang, "").unwrap();
    bridge.refuse("last");
    bridge.stop();
}

/// FAULTS N75, V8: on a disk whose look-ups hang, such as NFS, the process is not ready and recovers.
#[test]
fn a_disk_that_hangs_at_a_look_up_is_reported() {
    let files = Bridge::prepare();
    let bridge = Bridge::serve(files, with_faults);
    bridge.accept("before");
    DiskFault::Hang.begin(&bridge.files);
    // The store is idle, so only the look at its files hangs.
    bridge.wait_until_ready(503);
    assert_eq!(bridge.condition("stalled"), Some(1.0));
    bridge.refuse("hung");
    DiskFault::Hang.end(&bridge.files);
    bridge.wait_until_ready(200);
    bridge.accept("after");
    bridge.stop();
}

// === a quota, and a file size limit ===

/// FAULTS D04, V1: a quota (EDQUOT) is a full disk, and ends.
#[test]
fn a_quota_is_a_full_disk() {
    let mut bridge = Bridge::serve(Bridge::prepare(), with_faults);
    let mut accepted = vec!["before".to_owned()];
    bridge.accept("before");
    DiskFault::Quota.begin(&bridge.files);
    for number in 0..20 {
        let id = format!("e-{number}");
        let answer = bridge.post(&id);
        match answer.status {
            202 => accepted.push(id),
            503 => assert!(answer.body.contains("store_full"), "{}", answer.body),
            other => panic!("{other} {}", answer.body),
        }
    }
    assert!(accepted.len() < 15, "{accepted:?}");
    assert_eq!(bridge.get("/livez").status, 200);
    assert!(bridge.process.child.try_wait().unwrap().is_none());
    DiskFault::Quota.end(&bridge.files);
    bridge.accept("after");
    let log = bridge.process.log();
    assert!(log.contains("disk is full"), "{log}");
    assert!(!log.contains("the store failed"), "{log}");
    let bridge = Bridge::serve(bridge.stop(), process::command);
    for id in accepted {
        assert_eq!(receipt(bridge.ingress, &id).unwrap().status, 200, "{id}");
    }
}

/// FAULTS N741, D04: the disk is full when the bridge truncates the log, which it does every 25 s to erase ended entries.
#[test]
fn a_truncation_of_the_log_on_a_full_disk_does_not_end_the_process() {
    let mut bridge = Bridge::serve(Bridge::prepare(), with_faults);
    // The store file has to grow when SQLite writes these entries back.
    (0..50).for_each(|number| bridge.accept(&format!("e-{number}")));
    DiskFault::Quota.begin(&bridge.files);
    let clock = Clock::machine();
    let start = clock.now();
    wait_for("the truncation of the log", || {
        (clock.now().since(start) > Duration::from_secs(27)).then_some(())
    });
    let log = bridge.process.log();
    assert!(bridge.process.child.try_wait().unwrap().is_none(), "{log}");
    assert_eq!(bridge.get("/livez").status, 200, "{log}");
    DiskFault::Quota.end(&bridge.files);
    bridge.accept("after");
    bridge.stop();
}

/// FAULTS D04, V1: with a limit on the size of files, the store is full and the process lives.
#[test]
fn a_file_size_limit_is_a_full_disk() {
    let limited = |files: &Files| {
        let command = process::command(files);
        let mut shell = Command::new("sh");
        // The unit of the limit is 512 bytes.
        shell.args(["-c", "ulimit -f 1600; exec \"$0\" \"$@\""]);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        shell
    };
    let files = Files::write(NO_IMPRINT, KEY, "[shutdown]\ndrain = 1");
    let mut bridge = Bridge::serve(files, limited);
    let mut accepted = Vec::new();
    let mut refused = 0;
    // The store refuses single events before it is full: each refusal writes the log back into the store file.
    for number in 0..5_000 {
        let id = format!("e-{number}");
        let answer = bridge.post(&id);
        if answer.status == 202 {
            accepted.push(id);
            refused = 0;
        } else {
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert!(answer.body.contains("store_full"), "{}", answer.body);
            refused += 1;
        }
        if refused == 10 {
            break;
        }
    }
    assert!(refused == 10 && accepted.len() > 100, "{}", accepted.len());
    assert_eq!(bridge.get("/livez").status, 200);
    assert!(bridge.process.child.try_wait().unwrap().is_none());
    let log = bridge.process.log();
    assert!(log.contains("disk is full"), "{log}");
    assert!(!log.contains("the store failed"), "{log}");
    let bridge = Bridge::serve(bridge.stop(), process::command);
    for id in accepted {
        assert_eq!(receipt(bridge.ingress, &id).unwrap().status, 200, "{id}");
    }
    bridge.accept("later");
}

// === copies ===

/// Returns the event ids in a store that no process has open.
fn event_ids(store: &Path) -> Vec<String> {
    let file = rusqlite::Connection::open(store).unwrap();
    let mut ids = file
        .prepare("SELECT event_id FROM entry ORDER BY id")
        .unwrap();
    let ids = ids.query_map([], |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

impl Bridge {
    fn backup(&self, name: &str) -> (Option<i32>, String) {
        let ops = format!("http://{}", self.ops);
        let token = self.files.token_file("alice");
        let token = token.to_str().unwrap();
        run(&[
            "store",
            "backup",
            name,
            "--ops",
            &ops,
            "--token-file",
            token,
        ])
    }
}

/// FAULTS N76: a copy of the store that takes long delays no event, and the bridge stays ready.
#[test]
fn events_are_accepted_during_a_backup() {
    let bridge = Bridge::serve(Bridge::prepare(), with_faults);
    (0..50).for_each(|number| bridge.accept_batch(number));
    DiskFault::Slow.begin(&bridge.files);
    thread::scope(|scope| {
        let copy = scope.spawn(|| bridge.backup("copy"));
        wait_for("the copy has begun", || {
            bridge.path("data/copy").exists().then_some(())
        });
        let (code, output) = bridge.backup("second");
        assert!(code == Some(1) && output.contains("409"), "{output}");
        assert!(output.contains("another backup is in progress"), "{output}");
        let clock = Clock::machine();
        let mut during = 0;
        while !copy.is_finished() {
            let start = clock.now();
            bridge.accept(&format!("during-{during}"));
            let took = clock.now().since(start);
            assert!(took < STALLED_AFTER, "{took:?}");
            assert_eq!(bridge.get("/readyz").status, 200);
            during += 1;
            if during == 10 {
                DiskFault::Slow.end(&bridge.files);
            }
        }
        let (code, output) = copy.join().unwrap();
        assert_eq!(code, Some(0), "{output}");
        assert!(during >= 10, "{during}");
    });
    let copy = bridge.path("data/copy");
    let ids = event_ids(&copy);
    assert!(
        ids.len() >= 5_000 && ids.contains(&"e-49-99".to_owned()),
        "{}",
        ids.len()
    );
    assert_eq!(mode(&copy), 0o600);
    assert!(!bridge.path("data/copy.new").exists());
    let (code, output) = run(&["store", "verify", copy.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{output}");
}

/// FAULTS N163: a restore keeps the replaced store also on a file system without hard links.
#[test]
fn a_restore_needs_no_hard_links() {
    let bridge = Bridge::serve(Bridge::prepare(), process::command);
    bridge.accept("first");
    let (code, output) = bridge.backup("copy");
    assert_eq!(code, Some(0), "{output}");
    bridge.accept("second");
    let files = bridge.kill();
    DiskFault::NoLinks.begin(&files);
    let copy = files.store_file("data/copy");
    let mut restore = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"));
    restore.args(["store", "restore"]).arg(&copy);
    for file in files.settings() {
        restore.arg("--config").arg(file);
    }
    let output = disk::add_faults(&files, restore).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let replaced = files.store_file("data/outbox.db.replaced");
    assert_eq!(event_ids(&replaced), ["first", "second"]);
    assert_eq!(event_ids(&files.store_file("data/outbox.db")), ["first"]);
    assert_eq!(mode(&replaced), 0o600);
}

/// FAULTS N162, V1: each restore keeps the replaced store, also the store of a killed process with its log.
#[test]
fn every_restore_keeps_the_store_that_it_replaces() {
    let bridge = Bridge::start();
    bridge.accept("first");
    let (code, output) = bridge.backup("copy");
    assert_eq!(code, Some(0), "{output}");
    bridge.accept("second");
    let files = bridge.kill();
    let (copy, store) = (
        files.store_file("data/copy"),
        files.store_file("data/outbox.db"),
    );
    let bystander = files.store_file("data/outbox.db.replaced.2");
    fs::write(&bystander, "another file").unwrap();
    for (replaced, id) in [("replaced", "second"), ("replaced.3", "third")] {
        let (code, output) = restore(&files, &copy);
        assert_eq!(code, Some(0), "{output}");
        let replaced = files.store_file(&format!("data/outbox.db.{replaced}"));
        assert!(output.contains(replaced.to_str().unwrap()), "{output}");
        assert_eq!(event_ids(&replaced), ["first", id]);
        assert_eq!(event_ids(&store), ["first"]);
        for file in [&copy, &store, &replaced] {
            assert_eq!(mode(file), 0o600, "{}", file.display());
        }
        let url = format!("[outbox]\nurl = \"sqlite:{}\"", store.display());
        files.write_settings(&url);
        let mut process = Process::serve(&files);
        let (ingress, _) = process.ready();
        let event = Event::new("third", "third", 1).email("canary@example.com");
        let headers = [("content-type", "application/cloudevents+json")];
        let answer = post(ingress, &headers, &event.json().to_string()).unwrap();
        assert_eq!(answer.status, 202);
        process.child.kill().unwrap();
        process.wait_for_exit();
    }
    assert_eq!(
        event_ids(&files.store_file("data/outbox.db.replaced")),
        ["first", "second"]
    );
    assert_eq!(fs::read_to_string(&bystander).unwrap(), "another file");
}

/// FAULTS N161: no copy gets the name of the store, of a file beside the store, or a name with a meaning for SQLite.
#[test]
fn a_copy_never_touches_the_store() {
    let bridge = Bridge::start();
    bridge.accept("first");
    let link = bridge.path("data/link");
    std::os::unix::fs::symlink(bridge.path("data/outbox.db-journal"), &link).unwrap();
    for name in [
        "outbox.db",
        "outbox.db-wal",
        "outbox.db-journal",
        "outbox.db-shm",
        "outbox.db.lock",
        "outbox.db.new",
        "outbox.db.reserve",
        "../data/outbox.db",
        "./outbox.db",
        ":memory:",
        "file:copy",
        "",
        "link",
    ] {
        let (code, output) = bridge.backup(name);
        assert_eq!(code, Some(1), "{name}: {output}");
    }
    fs::remove_file(&link).unwrap();
    let mut names: Vec<String> = fs::read_dir(bridge.path("data"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "outbox.db",
            "outbox.db-shm",
            "outbox.db-wal",
            "outbox.db.lock",
            "outbox.db.reserve"
        ]
    );
    bridge.accept("second");
}

/// FAULTS N773: an operator makes a backup with the name of an earlier backup.
#[test]
fn a_backup_never_replaces_an_earlier_backup_and_says_so() {
    let bridge = Bridge::start();
    let (code, output) = bridge.backup("copy");
    assert_eq!(code, Some(0), "{output}");
    let earlier = fs::read(bridge.path("data/copy")).unwrap();
    bridge.accept("first");
    let (code, output) = bridge.backup("copy");
    assert_eq!(code, Some(1), "{output}");
    for word in ["409", "a file with this name: choose another name"] {
        assert!(output.contains(word), "{output}");
    }
    assert_eq!(fs::read(bridge.path("data/copy")).unwrap(), earlier);
}

/// FAULTS N161: the store is no copy of itself, whatever its path, and a path with a meaning for SQLite is no store.
#[test]
fn the_store_is_no_copy_of_itself() {
    let bridge = Bridge::start();
    bridge.accept("first");
    let files = bridge.stop();
    let (store, link) = (
        files.store_file("data/outbox.db"),
        files.store_file("data/link"),
    );
    std::os::unix::fs::symlink(&store, &link).unwrap();
    let own_name = files.store_file("data/../data/outbox.db");
    for copy in [&store, &link, &own_name] {
        let (code, output) = restore(&files, copy);
        assert_eq!(code, Some(1), "{output}");
        assert!(output.contains("is the store itself"), "{output}");
    }
    assert_eq!(event_ids(&store), ["first"]);
    for (command, name) in [
        ("verify", ":memory:"),
        ("verify", "file:x"),
        ("restore", ":memory:"),
    ] {
        let (code, output) = run(&["store", command, name]);
        assert_eq!(code, Some(1), "{output}");
    }
    for url in [
        "sqlite::memory:",
        "sqlite:file:x",
        "sqlite:data/",
        "sqlite:x-wal",
        "sqlite:..",
    ] {
        files.write_settings(&format!("[outbox]\nurl = \"{url}\""));
        let mut process = Process::serve(&files);
        assert_eq!(process.wait_for_exit().code(), Some(2), "{url}");
        assert!(process.log().contains("outbox.url"), "{}", process.log());
    }
}

// === another environment or host ===

fn rebind(files: &Files, more: &[&str]) -> (Option<i32>, String) {
    let settings = files.settings();
    let mut arguments = vec!["store", "rebind"];
    for file in &settings {
        arguments.extend(["--config", file.to_str().unwrap()]);
    }
    run(&[&arguments[..], more].concat())
}

/// FAULTS N181: entries that were accepted for one Imprint are not sent to another, until an operator moves the store.
#[test]
fn a_store_belongs_to_one_environment_and_host() {
    let first = FakeImprint::start(|_settings| {});
    let files = Files::write(first.address, KEY, "");
    let bridge = Bridge::serve(files, process::command);
    bridge.accept("delivered");
    wait_for("the first event is delivered", || {
        let receipt = receipt(bridge.ingress, "delivered").unwrap().json();
        (receipt["status"] == "delivered").then_some(())
    });
    first.inject(&json!({"action": {"status": 503}}));
    bridge.accept("waits");
    let files = bridge.stop();
    files.write_settings("[imprint]\nenvironment = \"sandbox\"");
    let log = refused_start(&files);
    for part in ["local 127.0.0.1", "sandbox 127.0.0.1", "store rebind"] {
        assert!(log.contains(part), "{log}");
    }
    let second = FakeImprint::start(|_settings| {});
    let other = format!(
        "[imprint]\nbase_url = \"http://localhost:{}\"",
        second.address.port()
    );
    files.write_settings(&other);
    let log = refused_start(&files);
    for part in ["local 127.0.0.1", "local localhost", "store rebind"] {
        assert!(log.contains(part), "{log}");
    }
    let (code, output) = rebind(&files, &[]);
    assert_eq!(code, Some(0), "{output}");
    for part in [
        "local 127.0.0.1",
        "1 waiting entries",
        "crm waits",
        "add --yes",
    ] {
        assert!(output.contains(part), "{output}");
    }
    refused_start(&files);
    let (code, output) = rebind(&files, &["--yes", "--reason", "a drill"]);
    assert_eq!(code, Some(0), "{output}");
    let file = rusqlite::Connection::open(files.store()).unwrap();
    let count = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(
        count("SELECT count(*) FROM lane WHERE versions IS NOT NULL"),
        0
    );
    assert_eq!(count("SELECT count(*) FROM pair"), 0);
    assert_eq!(
        count("SELECT entries FROM act WHERE what = 'rebind' AND reason = 'a drill'"),
        1
    );
    drop(file);
    let bridge = Bridge::serve(files, process::command);
    wait_for("the waiting event is delivered", || {
        let receipt = receipt(bridge.ingress, "waits").unwrap().json();
        (receipt["status"] == "delivered").then_some(())
    });
    assert_eq!(second.applied("waits").len(), 1);
    assert_eq!(second.applied("delivered").len(), 0);
}

/// FAULTS N1494: the log names each damaged optional setting once, and no other one.
#[test]
fn a_damaged_optional_setting_is_logged_once() {
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, "");
    let files = Bridge::serve(files, process::command).stop();
    let store = rusqlite::Connection::open(files.store()).unwrap();
    for setting in ["('last_events', x'01ff')", "('last_backup', 'yesterday')"] {
        let sql = format!("INSERT OR REPLACE INTO meta VALUES {setting}");
        store.execute(&sql, []).unwrap();
    }
    drop(store);
    let bridge = Bridge::serve(files, process::command);
    assert_eq!(bridge.get("/metrics").status, 200);
    let log = bridge.process.log();
    let damaged = log.lines().filter(|line| line.contains("is damaged"));
    let damaged: Vec<&str> = damaged.collect();
    assert_eq!(damaged.len(), 2, "{log}");
    for setting in ["last_events", "last_backup"] {
        assert!(damaged.iter().any(|line| line.contains(setting)), "{log}");
    }
    bridge.stop();
}
