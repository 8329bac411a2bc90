//! The real program, started and killed many times with the same store and the same addresses.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use imprint_bridge::time::Clock;
use tempfile::TempDir;

use super::http::Client;

/// FAULTS P20, D20: the longest time to ready, whatever the last process left behind.
pub(crate) const READY_MAX: Duration = Duration::from_secs(5);
/// The time between two polls of a process.
const POLL_EVERY: Duration = Duration::from_millis(5);
/// The maximum number of requests in flight, for every bridge here.
pub(crate) const CONCURRENCY: u64 = 8;
/// Below the range from which the kernel takes client ports, so that no connection of a test can occupy them.
const INGRESS_PORT: u16 = 28_080;
const OPS_PORT: u16 = 28_090;

/// A folder with a store and a configuration, and the addresses that all its processes listen on.
#[derive(Debug)]
pub(crate) struct Bridge {
    folder: TempDir,
    config: PathBuf,
    clock: Clock,
    pub(crate) ingress: SocketAddr,
    pub(crate) ops: SocketAddr,
}

/// One run of the process. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct ProcessRun {
    child: Child,
    pub(crate) time_to_ready: Duration,
}

/// The process was not ready in time, or it exited. The text has the reason and the end of the log.
#[derive(Debug)]
pub(crate) struct NotReady(pub(crate) String);

impl Bridge {
    /// Prepares a bridge that delivers to `imprint`, with the source `crm` of this repository and without a rate limit.
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

    /// Starts a process with these failpoints armed, and waits until it is ready.
    pub(crate) fn start(&self, failpoints: &str) -> Result<ProcessRun, NotReady> {
        let log = || {
            let path = self.folder.path().join("log");
            File::options().create(true).append(true).open(path)
        };
        let started = self.clock.now();
        let child = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .arg("serve")
            .arg("--config")
            .arg(&self.config)
            .env_clear()
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
                return Ok(run);
            }
            // A process with an armed crash may exit before the poll sees it ready.
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

    /// The metrics page; `None` if the process does not answer.
    pub(crate) fn metrics(&self) -> Option<String> {
        let answer = Client::new(self.ops).get("/metrics").ok()?;
        (answer.status == 200).then(|| answer.text())
    }

    /// Whether the metrics of the bridge count no waiting and no parked entry.
    pub(crate) fn is_drained(&self) -> bool {
        let is_zero = |page: &str, name: &str| {
            let line = format!("imprint_bridge_{name} 0");
            page.lines().any(|other| other == line)
        };
        self.metrics().is_some_and(|page| {
            is_zero(&page, "waiting_entries") && is_zero(&page, "parked_entries")
        })
    }

    /// The last lines of the log of all processes.
    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl ProcessRun {
    /// Sends SIGKILL.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Waits until the process exits by itself; `None` if it does not within this time.
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
        // The process may have exited already.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for ProcessRun {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits in real time: no test can move the clock of another process.
#[expect(
    clippy::disallowed_methods,
    reason = "another process must run meanwhile"
)]
pub(crate) fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// A loopback address without a listener, so that the bridges of concurrent tests can use the same ports.
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
