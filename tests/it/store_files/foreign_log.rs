//! Tests of the real program whose write-ahead log was replaced with the log of another store.

use std::fs;
use std::path::PathBuf;

#[cfg(feature = "failpoints")]
use super::NO_IMPRINT;
use super::{Bridge, rebind, refused_start, run};
use crate::process;
#[cfg(feature = "failpoints")]
use crate::support::KEY;
use crate::support::{Files, receipt};

/// Returns the log of another store, whose process was killed. The log contains an accepted event.
fn log_of_another_store(id: &str) -> Vec<u8> {
    let bridge = Bridge::start();
    bridge.accept(id);
    let files = bridge.kill();
    fs::read(log(&files)).unwrap()
}

fn log(files: &Files) -> PathBuf {
    files.store_file("data/outbox.db-wal")
}

fn lock(files: &Files) -> PathBuf {
    files.store_file("data/outbox.db.lock")
}

fn expect_refusals(files: &Files) {
    let store = files.store_file("data/outbox.db");
    let contents = || [fs::read(&store).unwrap(), fs::read(log(files)).unwrap()];
    let before = contents();
    let path = store.to_str().unwrap();
    let outputs = [
        refused_start(files),
        run(&["store", "verify", path]).1,
        rebind(files, &[]).1,
        // Also after a refused start.
        refused_start(files),
    ];
    for output in outputs {
        for part in [
            "outbox.db-wal belongs to another store than",
            "move this log away",
        ] {
            assert!(output.contains(part), "{output}");
        }
    }
    assert!(contents() == before, "a refusal changes no file");
}

/// FAULTS N785: the log of another store lies beside the store of a killed process.
#[test]
fn the_log_of_another_store_is_refused_after_a_crash() {
    let foreign = log_of_another_store("foreign");
    let bridge = Bridge::start();
    bridge.accept("before");
    let files = bridge.kill();
    let own = fs::read(log(&files)).unwrap();
    fs::write(log(&files), foreign).unwrap();
    expect_refusals(&files);
    // The refusals have changed nothing, so the own log is still complete with the store.
    fs::write(log(&files), own).unwrap();
    let bridge = Bridge::serve(files, process::command);
    assert_eq!(receipt(bridge.ingress, "before").unwrap().status, 200);
    assert_eq!(receipt(bridge.ingress, "foreign").unwrap().status, 404);
    bridge.accept("after");
}

/// FAULTS N785: the log of another store lies beside a store that was closed in order, which has no log.
#[test]
fn the_log_of_another_store_is_refused_after_a_stop() {
    let bridge = Bridge::start();
    bridge.accept("before");
    let files = bridge.stop();
    assert!(!log(&files).exists());
    fs::write(log(&files), log_of_another_store("foreign")).unwrap();
    expect_refusals(&files);
    fs::remove_file(log(&files)).unwrap();
    let bridge = Bridge::serve(files, process::command);
    assert_eq!(receipt(bridge.ingress, "before").unwrap().status, 200);
    bridge.accept("after");
}

/// FAULTS N785: a store never refuses its own log, in whatever order its processes crash and stop.
#[test]
fn the_own_log_is_accepted_after_crashes_and_stops() {
    let mut files = Bridge::prepare();
    let mut accepted: Vec<String> = Vec::new();
    for (round, ends_by_kill) in [true, true, false, true, true].into_iter().enumerate() {
        let bridge = Bridge::serve(files, process::command);
        for id in &accepted {
            assert_eq!(receipt(bridge.ingress, id).unwrap().status, 200, "{id}");
        }
        let id = format!("e-{round}");
        bridge.accept(&id);
        accepted.push(id);
        files = if ends_by_kill {
            bridge.kill()
        } else {
            bridge.stop()
        };
        let text = fs::read_to_string(lock(&files)).unwrap();
        assert!(text.contains("\norigin "), "{text}");
    }
    // The lock file of an older program has no origin, and neither does a file that somebody deleted.
    for line in ["\norigin ", "process "] {
        let text = fs::read_to_string(lock(&files)).unwrap();
        let (start, _) = text.split_once(line).unwrap();
        fs::write(lock(&files), start).unwrap();
        let bridge = Bridge::serve(files, process::command);
        for id in &accepted {
            assert_eq!(receipt(bridge.ingress, id).unwrap().status, 200, "{id}");
        }
        files = bridge.kill();
    }
}

/// FAULTS N785: a process that crashes before it has recorded the origin of a new log leaves a log that opens.
#[cfg(feature = "failpoints")]
#[test]
fn a_crash_before_the_record_of_a_new_log_leaves_a_store_that_opens() {
    let mut files = Files::write(NO_IMPRINT, KEY, "[shutdown]\ndrain = 1");
    for round in ["one", "two"] {
        let bridge = Bridge::serve(files, process::command);
        bridge.accept(round);
        // A stop in order deletes the log, so the next process begins a log with another origin.
        files = bridge.stop();
        let mut command = process::command(&files);
        let failpoint = "crash:after_mark_before_checkpoint:1";
        command.env("IMPRINT_BRIDGE_FAILPOINTS", failpoint);
        let status = process::Process::start(command).wait_for_exit();
        assert_eq!(status.code(), None, "the process aborts");
    }
    let bridge = Bridge::serve(files, process::command);
    for round in ["one", "two"] {
        assert_eq!(receipt(bridge.ingress, round).unwrap().status, 200);
    }
}
