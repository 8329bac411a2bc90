//! The bridge process of the kill test, which is started and killed many times with one store and the same addresses.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use imprint_bridge::time::Clock;
use tempfile::TempDir;

use super::http::Client;
use crate::process::weakenings;
use crate::support::TEST_TIMEOUT;

/// FAULTS P20, D20: the longest time until a bridge process is ready, whatever files the killed process left behind. A
/// process that waits for a person is never ready.
pub(crate) const READY_MAX: Duration = TEST_TIMEOUT;
/// The time between two polls of a bridge process.
const POLL_EVERY: Duration = Duration::from_millis(5);
/// The maximum number of requests in flight in each bridge of the kill test.
pub(crate) const CONCURRENCY: u64 = 8;
/// The environment variable with the program that starts each bridge process. The program `tests/pod/enter` starts it with
/// the limits of a pod, and `tests/pod/run.py` sets the variable.
const LAUNCHER: &str = "IMPRINT_BRIDGE_TEST_LAUNCHER";
/// The lines in the status of a process in a pod: the user and the group, no capability, no way to new privileges, and
/// the filter of the confinement.
const POD_STATUS: [&str; 6] = [
    "Uid:\t65532\t65532\t65532\t65532",
    "Gid:\t65532\t65532\t65532\t65532",
    "CapEff:\t0000000000000000",
    "CapBnd:\t0000000000000000",
    "NoNewPrivs:\t1",
    "Seccomp:\t2",
];
/// The weakenings that a bridge in a pod must not have.
const POD_WEAKENINGS: [&str; 5] = [
    "confinement_off",
    "core_dumps",
    "files_open",
    "files_partly_open",
    "system_calls_open",
];
/// The ports of the bridge are below the range of client ports, so that no test connection can occupy a bridge port.
const INGRESS_PORT: u16 = 28_080;
const OPS_PORT: u16 = 28_090;

/// The store, the configuration and the listen addresses that all bridge processes of one kill test use.
#[derive(Debug)]
pub(crate) struct Bridge {
    folder: TempDir,
    config: PathBuf,
    clock: Clock,
    pub(crate) ingress: SocketAddr,
    pub(crate) ops: SocketAddr,
}

/// One run of the bridge process. Dropping a `ProcessRun` kills the process.
#[derive(Debug)]
pub(crate) struct ProcessRun {
    child: Child,
    pub(crate) time_to_ready: Duration,
}

/// The error that a bridge process exited or was not ready in time. The text has the reason and the end of the log.
#[derive(Debug)]
pub(crate) struct NotReady(pub(crate) String);

/// The sealing keys of the process, for tests that crash it.
#[cfg(feature = "failpoints")]
impl Bridge {
    /// Writes a sealing key file, which the next process uses.
    pub(crate) fn write_sealing_key(&self, name: &str, key: &str) {
        let path = |name: &str| self.folder.path().join(name);
        std::fs::create_dir_all(path("keys")).unwrap();
        std::fs::write(path("keys").join(name), key).unwrap();
        let settings = format!("[outbox]\nkeys_dir = \"{}\"", path("keys").display());
        std::fs::write(path("sealing.toml"), settings).unwrap();
    }

    /// Returns the path of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("outbox.db")
    }

    /// Returns the path of the directory of the sealing keys.
    pub(crate) fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }
}

impl Bridge {
    /// Prepares a bridge without a rate limit that delivers the events of the source `crm` to `imprint`.
    pub(crate) fn prepare(imprint: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let root = env!("CARGO_MANIFEST_DIR");
        let address = free_address();
        let ingress = SocketAddr::new(address, INGRESS_PORT);
        let ops = SocketAddr::new(address, OPS_PORT);
        std::fs::write(path("key"), "kill-key\n").unwrap();
        let text = format!(
            r#"
            profile = "local"
            sources_dir = "{root}/config/sources"
            schemas_dir = "{root}/schemas"
            [ingress]
            listen = "{ingress}"
            workers = 2
            [ops]
            listen = "{ops}"
            [outbox]
            url = "sqlite:{store}"
            [imprint]
            base_url = "http://{imprint}"
            environment = "local"
            key_file = "{key}"
            rate_per_second = 0
            concurrency = {CONCURRENCY}
            deadline = "2s"
            [log]
            filter = "info"
            "#,
            store = path("outbox.db").display(),
            key = path("key").display(),
        );
        let config = path("bridge.toml");
        std::fs::write(&config, text).unwrap();
        Self {
            folder,
            config,
            clock: Clock::machine(),
            ingress,
            ops,
        }
    }

    /// Starts a bridge process with armed failpoints, and waits until the process is ready.
    pub(crate) fn start(&self, failpoints: &str) -> Result<ProcessRun, NotReady> {
        let log = || {
            let path = self.folder.path().join("log");
            File::options().create(true).append(true).open(path)
        };
        let started = self.clock.now();
        let launcher = launcher();
        let mut command = self.program(launcher.as_deref());
        let sealing = self.folder.path().join("sealing.toml");
        command.arg("serve").arg("--config").arg(&self.config);
        if sealing.exists() {
            command.arg("--config").arg(sealing);
        }
        let child = command
            .env("IMPRINT_BRIDGE_FAILPOINTS", failpoints)
            .current_dir(self.folder.path())
            .stdout(log().unwrap())
            .stderr(log().unwrap())
            .spawn()
            .unwrap();
        let mut run = ProcessRun {
            child,
            time_to_ready: Duration::ZERO,
        };
        loop {
            run.time_to_ready = self.clock.now().since(started);
            let ready = Client::new(self.ops).get("/readyz");
            if ready.is_ok_and(|answer| answer.status == 200) {
                self.assert_launched(&run, failpoints, launcher.as_deref());
                return Ok(run);
            }
            // A process with an armed crash may exit before a poll finds the process ready.
            let ended = run.child.try_wait().unwrap();
            if ended.is_some() && failpoints.contains("crash:") {
                return Ok(run);
            }
            if ended.is_some() || run.time_to_ready > READY_MAX {
                let log = self.log_tail();
                return Err(NotReady(format!(
                    "after {:?}, {ended:?}: {log}",
                    run.time_to_ready
                )));
            }
            pause(POLL_EVERY);
        }
    }

    /// Returns the command that runs the program of the bridge, directly or with the launcher.
    fn program(&self, launcher: Option<&OsStr>) -> Command {
        let program = env!("CARGO_BIN_EXE_imprint-bridge");
        let Some(launcher) = launcher else {
            let mut command = Command::new(program);
            command.env_clear();
            return command;
        };
        let mut command = Command::new(launcher);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("POD_WRITABLE", self.folder.path())
            .arg(program);
        command
    }

    /// Checks that the launcher has limited the process, and that the process has limited itself. A process with armed
    /// failpoints possibly ends before the check.
    fn assert_launched(&self, run: &ProcessRun, failpoints: &str, launcher: Option<&OsStr>) {
        if launcher.is_none() || !failpoints.is_empty() {
            return;
        }
        let process = PathBuf::from(format!("/proc/{}", run.child.id()));
        let status = std::fs::read_to_string(process.join("status")).unwrap();
        for expected in POD_STATUS {
            assert!(status.lines().any(|line| line == expected), "{status}");
        }
        let mounts = std::fs::read_to_string(process.join("mountinfo")).unwrap();
        let root = mounts.lines().find(|line| line.contains(" / / "));
        assert!(root.unwrap().contains(" / / ro"), "{mounts}");
        let weakenings = weakenings(self.ops);
        for weakening in POD_WEAKENINGS {
            let found = weakenings.iter().any(|found| found == weakening);
            assert!(!found, "{weakenings:?}");
        }
    }

    /// Returns the metrics page, or `None` if the bridge process does not answer.
    pub(crate) fn metrics(&self) -> Option<String> {
        let answer = Client::new(self.ops).get("/metrics").ok()?;
        (answer.status == 200).then(|| answer.text())
    }

    /// Returns true if the metrics of the bridge count no waiting and no parked entries.
    pub(crate) fn is_drained(&self) -> bool {
        let is_zero = |page: &str, name: &str| {
            let line = format!("imprint_bridge_{name} 0");
            page.lines().any(|other| other == line)
        };
        self.metrics().is_some_and(|page| {
            is_zero(&page, "waiting_entries") && is_zero(&page, "parked_entries")
        })
    }

    /// Returns the last lines of the log that all bridge processes share.
    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl ProcessRun {
    /// Kills the bridge process with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Waits until the bridge process exits; returns `None` if the process still runs after `timeout`.
    pub(crate) fn wait_for_exit(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let clock = Clock::machine();
        let deadline = clock.now().after(timeout);
        while clock.now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            pause(POLL_EVERY);
        }
        None
    }

    fn end(&mut self) {
        // `kill` fails if the bridge process has already exited.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for ProcessRun {
    fn drop(&mut self) {
        self.end();
    }
}

fn launcher() -> Option<OsString> {
    std::env::var_os(LAUNCHER)
}

/// Sleeps in real time, because no test can move the clock of another process.
#[expect(
    clippy::disallowed_methods,
    reason = "another process must run meanwhile"
)]
pub(crate) fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// Returns a loopback address without a listener, so that the bridges of concurrent tests can use the same ports.
fn free_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = u8::try_from(std::process::id() % 250).unwrap();
    for _ in 0..250 {
        let address = Ipv4Addr::new(127, 77, process, NEXT.fetch_add(1, Ordering::Relaxed));
        let is_free = |port| TcpListener::bind((address, port)).is_ok();
        if is_free(INGRESS_PORT) && is_free(OPS_PORT) {
            return address.into();
        }
    }
    panic!("no loopback address has the ports {INGRESS_PORT} and {OPS_PORT} free");
}
