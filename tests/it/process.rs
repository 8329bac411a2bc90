//! The real program as a process, for tests of start, shutdown and log.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};
use serde_json::Value;

use crate::http::ask;
use crate::support::{Files, wait_for};

/// A bridge process that runs `serve`. Dropping a `Process` kills the process, and fails the test if the log contains
/// a panic or a canary value.
pub(crate) struct Process {
    pub(crate) child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    pub(crate) fn serve(files: &Files) -> Self {
        Self::start(command(files))
    }

    /// Starts a bridge process that may open `open_files` files.
    pub(crate) fn serve_with_open_files(files: &Files, open_files: usize) -> Self {
        Self::serve_with_limits(files, &format!("ulimit -n {open_files}"))
    }

    /// Starts a bridge process after this command of the shell.
    pub(crate) fn serve_with_limits(files: &Files, limits: &str) -> Self {
        let serve = command(files);
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &format!("{limits} && exec \"$@\""), "sh"])
            .arg(serve.get_program())
            .args(serve.get_args())
            .env("IMPRINT_BRIDGE__LOG__FORMAT", "json");
        Self::start(limited)
    }

    /// Starts a bridge process.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (log_lines, log) = (Arc::clone(&lines), child.stderr.take().unwrap());
        let read = move || {
            for line in BufReader::new(log).lines() {
                log_lines.lock().unwrap().push(line.unwrap());
            }
        };
        let reader = std::thread::Builder::new().spawn(read).unwrap();
        Self {
            child,
            lines,
            reader: Some(reader),
        }
    }

    /// Waits until the bridge process is ready, and returns the addresses of the event listener and the ops listener.
    #[track_caller]
    pub(crate) fn ready(&self) -> (SocketAddr, SocketAddr) {
        wait_for("the process is ready", || {
            let lines = self.lines.lock().unwrap();
            lines.iter().find_map(|line| addresses(line))
        })
    }

    /// Sends SIGTERM to the bridge process.
    pub(crate) fn terminate(&self) {
        terminate(&self.child);
    }

    /// Waits until the bridge process exits.
    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let status = wait_for("the process exits", || self.child.try_wait().unwrap());
        self.reader
            .take()
            .map(JoinHandle::join)
            .transpose()
            .unwrap();
        status
    }

    /// Returns the log that the bridge process has written so far.
    pub(crate) fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

/// Returns the command that runs `serve` with a JSON log.
pub(crate) fn command(files: &Files) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"));
    command
        .arg("serve")
        .env("IMPRINT_BRIDGE__LOG__FORMAT", "json");
    for file in files.settings() {
        command.arg("--config").arg(file);
    }
    command
}

/// Returns the addresses of the event listener and the ops listener, if the log line says that the bridge is ready.
pub(crate) fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let ready: Value = serde_json::from_str(line).ok()?;
    let address = |name| ready[name].as_str().unwrap().parse().unwrap();
    (ready["message"] == "ready").then(|| (address("ingress"), address("ops")))
}

/// Returns the weakenings that the metrics page of a bridge shows.
pub(crate) fn weakenings(ops: SocketAddr) -> Vec<String> {
    let page = ask(ops, "GET /metrics", &[], "").unwrap().body;
    let lines = page.lines().filter_map(|line| {
        let rest = line.strip_prefix("imprint_bridge_weakened{weakening=\"")?;
        rest.strip_suffix("\"} 1").map(str::to_owned)
    });
    lines.collect()
}

/// Starts a thread that gets `ENOSYS` for these system calls with the given rules, and runs `task` in it. Without rules, the
/// thread gets the error for all arguments. The processes that `task` starts get the same errors.
pub(crate) fn without_system_calls<T: Send>(
    calls: &[i64],
    rules: &[SeccompRule],
    task: impl FnOnce() -> T + Send,
) -> T {
    let rules: BTreeMap<_, _> = calls.iter().map(|call| (*call, rules.to_vec())).collect();
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let processor = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, processor).unwrap();
    let filter = BpfProgram::try_from(filter).unwrap();
    std::thread::scope(|scope| {
        let run = || {
            apply_filter(&filter).unwrap();
            task()
        };
        scope.spawn(run).join().unwrap()
    })
}

/// Sends SIGTERM to a process.
pub(crate) fn terminate(child: &Child) {
    let kill = format!("kill -TERM {}", child.id());
    let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(status.success());
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            return;
        }
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        assert!(!log.contains("canary"), "the log has a canary value: {log}");
    }
}
