//! Tests of the log of the real process: standard error that is blocked or closed, and repeated lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::time::Duration;

use imprint_bridge::time::Clock;

use crate::http;
use crate::process::{Process, addresses, command, terminate};
use crate::support::{Event, FakeImprint, Files, KEY, metric, post, receipt, wait_for};

/// The longest time from SIGTERM to the exit of the process, with a margin for a busy machine.
const STOP_MAX: Duration = Duration::from_secs(25);
/// The size of a pipe of Linux in bytes.
const PIPE_BYTES: usize = 64 * 1024;

/// A bridge process whose log nobody reads after the line that says that the process is ready.
struct UnreadProcess {
    child: Child,
    ingress: SocketAddr,
    ops: SocketAddr,
}

impl UnreadProcess {
    /// Starts a process, and returns the process with the pipe of its log.
    fn serve(files: &Files) -> (Self, BufReader<ChildStderr>) {
        let mut child = command(files).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let (ingress, ops) = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the process ended");
            if let Some(addresses) = addresses(&line) {
                break addresses;
            }
        };
        let process = Self {
            child,
            ingress,
            ops,
        };
        (process, log)
    }

    fn page(&self) -> String {
        http::ask(self.ops, "GET /metrics", &[], "").unwrap().body
    }

    fn dropped_lines(&self) -> f64 {
        metric(&self.page(), "log_lines_dropped_total").unwrap()
    }

    /// Posts an event and waits until Imprint has it.
    fn deliver(&self, id: &str) {
        let headers = [("content-type", "application/cloudevents+json")];
        let event = Event::new(id, "c1", 1).email("canary@example.com");
        let answer = post(self.ingress, &headers, &event.json().to_string()).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        wait_for(&format!("{id} is delivered"), || {
            let receipt = receipt(self.ingress, id).ok()?.json();
            ["delivered", "superseded"]
                .contains(&receipt["status"].as_str()?)
                .then_some(())
        });
    }

    /// Asserts that the process answers probes, delivers an event and stops in order.
    fn check_alive_and_stop(mut self) {
        let live = http::ask(self.ops, "GET /livez", &[], "").unwrap();
        assert_eq!(live.status, 200);
        self.deliver("last");
        let clock = Clock::machine();
        let start = clock.now();
        terminate(&self.child);
        let status: ExitStatus = wait_for("the process exits", || self.child.try_wait().unwrap());
        assert!(clock.now().since(start) < STOP_MAX);
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

impl Drop for UnreadProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// FAULTS N40: nobody reads standard error, so the pipe is full.
#[test]
fn a_blocked_log_stops_neither_deliveries_nor_probes_nor_the_shutdown() {
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, "[log]\nfilter = \"trace\"");
    let (process, unread) = UnreadProcess::serve(&files);
    let mut number = 0;
    wait_for("lines are dropped", || {
        number += 1;
        process.deliver(&format!("e-{number}"));
        (process.dropped_lines() > 0.0).then_some(())
    });
    process.check_alive_and_stop();
    drop(unread);
}

/// FAULTS N41: the reader of standard error has ended, so each write fails with EPIPE.
#[test]
fn a_closed_log_does_not_kill_the_process() {
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, "");
    files.write_token("ann", "token-of-ann-0123456789-0123456789");
    let (process, closed) = UnreadProcess::serve(&files);
    drop(closed);
    let login = [("authorization", "Bearer token-of-eve")];
    wait_for("lines are dropped", || {
        let answer = http::ask(process.ops, "GET /admin/v1/entries", &login, "").unwrap();
        assert_eq!(answer.status, 401);
        (process.dropped_lines() > 0.0).then_some(())
    });
    process.check_alive_and_stop();
}

/// FAULTS N40: a process that fails ends although nobody reads the reason.
#[test]
fn a_process_that_fails_ends_although_its_log_is_blocked() {
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, "");
    let first = Process::serve(&files);
    first.ready();
    let (unread, mut full) = std::io::pipe().unwrap();
    full.write_all(&vec![b'\n'; PIPE_BYTES]).unwrap();
    let mut second = command(&files).stderr(full).spawn().unwrap();
    let status = wait_for("the process exits", || second.try_wait().unwrap());
    assert_eq!(status.code(), Some(1), "{status}");
    drop(unread);
}

/// FAULTS N42
#[test]
fn repeated_lines_are_sampled_and_counted() {
    const LOGINS: u64 = 200;
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, "");
    files.write_token("ann", "token-of-ann-0123456789-0123456789");
    let mut process = Process::serve(&files);
    let (_, ops) = process.ready();
    for _ in 0..LOGINS {
        let answer = http::ask(ops, "GET /admin/v1/entries", &[], "").unwrap();
        assert_eq!(answer.status, 401);
    }
    let page = http::ask(ops, "GET /metrics", &[], "").unwrap().body;
    let left_out = metric(&page, "log_lines_left_out_total").unwrap();
    assert!(left_out > 0.0, "{page}");
    process.terminate();
    assert_eq!(process.wait_for_exit().code(), Some(0), "{}", process.log());
    let log = process.log();
    let lines = log.lines().filter(|line| {
        line.contains("\"unauthorized admin request\"") && !line.contains("left out")
    });
    let reported = log
        .lines()
        .filter(|line| line.contains("similar lines were left out"))
        .map(|line| {
            assert!(line.contains("unauthorized admin request"), "{line}");
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let message = line["message"].as_str().unwrap();
            let lines: u64 = message.split(' ').next().unwrap().parse().unwrap();
            lines
        });
    assert_eq!(
        u64::try_from(lines.count()).unwrap() + reported.sum::<u64>(),
        LOGINS,
        "{log}"
    );
}
