//! Tests of the real program whose store cannot be used: each message names the cause and the remedy.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use super::disk::{DiskFault, add_faults, end_limit, leave_free, with_faults};
use super::{Bridge, refused_start, restore, run};
use crate::process::{self, Process};
use crate::support::{Files, receipt, wait_for};

/// The user of the bridge in a container.
const USER: u32 = 65_532;

const MIB: u64 = 1024 * 1024;

/// Returns the files of a bridge that has accepted an event and has stopped.
fn stopped() -> Files {
    let bridge = Bridge::start();
    bridge.pause();
    bridge.accept("before");
    bridge.stop()
}

/// Starts a bridge again with the same files, and expects that it has the event of [`stopped`].
fn starts_again(files: Files) {
    let bridge = Bridge::serve(files, process::command);
    assert_eq!(receipt(bridge.ingress, "before").unwrap().status, 200);
    bridge.stop();
}

#[track_caller]
fn names(output: &str, words: &[&str]) {
    for word in words {
        assert!(output.contains(word), "{word}: {output}");
    }
}

/// Replaces a path by something else, and returns a function that puts the path back.
fn replace(path: PathBuf, put: impl FnOnce(&Path)) -> impl FnOnce() {
    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).unwrap();
    put(&path);
    move || {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir(&path).unwrap(),
            Ok(_) => fs::remove_file(&path).unwrap(),
            Err(_absent) => {}
        }
        fs::rename(&aside, &path).unwrap();
    }
}

fn pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

/// FAULTS N868: the folder or the file of a stopped store is gone, cut, or something else.
#[test]
fn a_start_names_what_is_wrong_with_the_store() {
    type Put = fn(&Path);
    let cut: [(Put, &str); 2] = [
        (|path| fs::write(path, b"SQLite for").unwrap(), "is damaged"),
        (|path| fs::write(path, [7; 300]).unwrap(), "is not a store"),
    ];
    let cases: [(&str, Put, &[&str]); 7] = [
        (
            "data",
            |_| {},
            &["the folder", "does not exist", "mount the volume"],
        ),
        (
            "data",
            |path| fs::write(path, "").unwrap(),
            &["is not a folder"],
        ),
        (
            "data/outbox.db",
            |path| fs::create_dir(path).unwrap(),
            &["is a folder", "name the file"],
        ),
        ("data/outbox.db", pipe, &["is not a regular file"]),
        (
            "data/outbox.db",
            |path| symlink(path, path).unwrap(),
            &["is not a regular file"],
        ),
        ("data/outbox.db", cut[0].0, &[cut[0].1, "store restore"]),
        ("data/outbox.db", cut[1].0, &[cut[1].1]),
    ];
    let files = stopped();
    for (name, put, words) in cases {
        let put_back = replace(files.store_file(name), put);
        names(&refused_start(&files), words);
        put_back();
    }
    let store = files.store_file("data/outbox.db");
    let content = fs::read(&store).unwrap();
    fs::write(&store, &content[..5000]).unwrap();
    names(&refused_start(&files), &["is damaged", "store restore"]);
    fs::write(&store, &content).unwrap();
    let log = files.store_file("data/outbox.db-wal");
    fs::create_dir(&log).unwrap();
    names(
        &refused_start(&files),
        &["outbox.db-wal is not a regular file"],
    );
    fs::remove_dir(&log).unwrap();
    let lock = files.store_file("data/outbox.db.lock");
    let put_back = replace(lock, |path| fs::create_dir(path).unwrap());
    names(
        &refused_start(&files),
        &["outbox.db.lock is not a regular file"],
    );
    put_back();
    starts_again(files);
}

/// FAULTS N868: the names of the files beside the store would be longer than a file system allows.
#[test]
fn a_start_refuses_a_store_with_too_long_a_name() {
    let files = Bridge::prepare();
    let long = format!("sqlite:{}", files.store_file(&"n".repeat(230)).display());
    files.write_settings(&format!("[outbox]\nurl = \"{long}\""));
    let mut process = Process::serve(&files);
    assert!(!process.wait_for_exit().success());
    names(&process.log(), &["outbox.url", "225 bytes"]);
}

/// FAULTS N868: the commands on a closed store name a folder, a file that is no store, or a missing file as such, and
/// leave no file behind.
#[test]
fn a_command_names_what_is_no_store() {
    let files = stopped();
    let path = |name: &str| files.store_file(name).to_str().unwrap().to_owned();
    let is_like = |name: &str| fs::exists(files.store_file(name)).unwrap();
    for (name, words) in [
        ("data", "is a folder: name the file of the store in it"),
        ("data/outbox.db.reserve", "is not a store of this program"),
        ("data/nothing", "does not exist"),
        ("nothing/outbox.db", "the folder"),
    ] {
        let (code, output) = run(&["store", "verify", &path(name)]);
        assert_eq!(code, Some(1), "{output}");
        names(&output, &[words]);
        let (code, output) = restore(&files, &files.store_file(name));
        assert_eq!(code, Some(1), "{output}");
        names(&output, &[words]);
        assert!(!is_like(&format!("{name}.lock")), "{name}");
    }
    pipe(&files.store_file("data/pipe"));
    let (code, output) = run(&["store", "verify", &path("data/pipe")]);
    assert_eq!(code, Some(1), "{output}");
    names(&output, &["is not a regular file"]);
    starts_again(files);
}

fn verify_with_faults(files: &Files) -> Output {
    let mut verify = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"));
    let store = files.store_file("data/outbox.db");
    verify.args(["store", "verify"]).arg(store);
    add_faults(files, verify).output().unwrap()
}

/// FAULTS N869: the disk of the store is read-only, as after an error of the disk.
#[test]
fn a_read_only_disk_is_named_and_loses_nothing() {
    let files = stopped();
    DiskFault::ReadOnly.begin(&files);
    let mut process = Process::start(with_faults(&files));
    assert_eq!(process.wait_for_exit().code(), Some(1), "{}", process.log());
    names(
        &process.log(),
        &[
            "is read-only",
            "log of the kernel",
            "no accepted event is lost",
        ],
    );
    let output = verify_with_faults(&files);
    let error = String::from_utf8_lossy(&output.stderr);
    names(&error, &["is read-only", "put it on a writable disk"]);
    DiskFault::ReadOnly.end(&files);
    starts_again(files);
}

/// FAULTS N869: the files of the store belong to another user.
#[test]
fn files_of_another_user_are_named_with_the_remedy() {
    let files = stopped();
    let folder = files.store_file("data");
    let is_root = fs::metadata(&folder).unwrap().uid() == 0;
    let start = |files: &Files| {
        let mut process = if is_root {
            let bridge = process::command(files);
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", "65532", "--regid", "65532", "--clear-groups"])
                .arg(bridge.get_program())
                .args(bridge.get_args());
            Process::start(command)
        } else {
            Process::serve(files)
        };
        assert_eq!(process.wait_for_exit().code(), Some(1), "{}", process.log());
        process.log()
    };
    if is_root {
        let all = Command::new("chown")
            .args(["-R", "65532:65532"])
            .arg(files.store_file("."))
            .status();
        assert!(all.unwrap().success());
        for name in ["data/outbox.db", "data/outbox.db.lock", "data"] {
            let path = files.store_file(name);
            std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
            let remedy = format!("chown {USER} {}", path.display());
            names(&start(&files), &["belongs to the user 0", &remedy]);
            std::os::unix::fs::chown(&path, Some(USER), Some(USER)).unwrap();
        }
    } else {
        let mode = fs::metadata(&folder).unwrap().permissions();
        let mut read_only = mode.clone();
        read_only.set_readonly(true);
        fs::set_permissions(&folder, read_only).unwrap();
        fs::rename(
            files.store_file("data/outbox.db.lock"),
            files.store_file("x"),
        )
        .unwrap_err();
        names(&start(&files), &["is not permitted to use"]);
        fs::set_permissions(&folder, mode).unwrap();
    }
    starts_again(files);
}

/// FAULTS N878: the disk has space for events, and not for a backup.
#[test]
fn a_backup_without_space_says_how_much_it_needs() {
    let bridge = Bridge::serve(Bridge::prepare(), with_faults);
    bridge.pause();
    bridge.accept("before");
    bridge.wait_for_reserve();
    // On a full disk, the store gives its reserve back, and the reserve has space for this small copy.
    fs::remove_file(bridge.path("data/outbox.db.reserve")).unwrap();
    leave_free(&bridge.files, 4 * MIB);
    let (code, output) = bridge.backup("copy.db");
    assert_eq!(code, Some(1), "{output}");
    names(
        &output,
        &["507", "a copy needs", "MiB", "the store continues"],
    );
    assert!(!output.contains("the store's disk is full"), "{output}");
    assert!(!bridge.path("data/copy.db").exists());
    leave_free(&bridge.files, 200 * MIB);
    let (code, output) = bridge.backup("copy.db");
    assert_eq!(code, Some(0), "{output}");
    end_limit(&bridge.files);
    bridge.accept("after");
    bridge.stop();
}

/// FAULTS N786: the disk becomes full, or the quota ends, while the bridge writes the draft or the copy of a backup.
#[test]
fn a_backup_that_runs_out_of_space_leaves_no_file() {
    let bridge = Bridge::serve(Bridge::prepare(), with_faults);
    bridge.pause();
    (0..20).for_each(|number| bridge.accept_batch(number));
    let is_begun = |name: &str| fs::metadata(bridge.path(name)).is_ok_and(|file| file.len() > 0);
    let fill = |has_quota: bool| {
        if has_quota {
            DiskFault::Quota.begin(&bridge.files);
        } else {
            leave_free(&bridge.files, 0);
        }
    };
    for file in ["data/copy.new", "data/copy"] {
        for has_quota in [true, false] {
            DiskFault::Slow.begin(&bridge.files);
            let (code, output) = thread::scope(|scope| {
                let copy = scope.spawn(|| bridge.backup("copy"));
                wait_for("the copy has begun", || is_begun(file).then_some(()));
                fill(has_quota);
                DiskFault::Slow.end(&bridge.files);
                copy.join().unwrap()
            });
            assert_eq!(code, Some(1), "{output}");
            names(
                &output,
                &["507", "the disk became full during the copy", "MiB"],
            );
            for file in ["data/copy", "data/copy.new", "data/copy.new.probe"] {
                assert!(!bridge.path(file).exists(), "{file}");
            }
            if has_quota {
                DiskFault::Quota.end(&bridge.files);
            } else {
                end_limit(&bridge.files);
            }
        }
    }
    let log = bridge.process.log();
    assert!(!log.contains("the backup of the store failed"), "{log}");
    bridge.wait_until_ready(200);
    let (code, output) = bridge.backup("copy");
    assert_eq!(code, Some(0), "{output}");
    bridge.accept("after");
    bridge.stop();
}

/// FAULTS N879: the disk needs a second for the removal of the log at the stop.
#[test]
fn a_stop_on_a_slow_disk_reports_no_lost_file() {
    let mut bridge = Bridge::serve(Bridge::prepare(), with_faults);
    bridge.pause();
    bridge.accept("before");
    DiskFault::Late.begin(&bridge.files);
    bridge.process.terminate();
    assert!(bridge.process.wait_for_exit().success());
    let log = bridge.process.log();
    assert!(!log.contains("was deleted"), "{log}");
}
