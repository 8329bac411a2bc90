//! The real program, started and killed: one store and one address, over many lives.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use imprint_bridge::time::Clock;
use tempfile::TempDir;

use super::http::Client;

/// P20, D20: whatever the last process left lying about, the next one is ready within this time.
pub(crate) const READY_MAX: Duration = Duration::from_secs(5);
/// How often something is looked at that gives no signal.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Requests in flight at once, of every bridge here.
pub(crate) const CONCURRENCY: u64 = 8;
/// Below the ports that the kernel gives to clients, so that no connection of a test can sit on one of them.
const INGRESS_PORT: u16 = 28_080;
const OPS_PORT: u16 = 28_090;

/// A folder with a store and a configuration, and the addresses that stay the same from one process to the next.
#[derive(Debug)]
pub(crate) struct Bridge {
    folder: TempDir,
    config: PathBuf,
    clock: Clock,
    pub(crate) ingress: SocketAddr,
    pub(crate) ops: SocketAddr,
}

/// One life of it. Ends with this value, if it has not ended before.
#[derive(Debug)]
pub(crate) struct Life {
    child: Child,
    /// How long it took until it was ready.
    pub(crate) start: Duration,
}

/// It did not become ready in time, or ended instead.
#[derive(Debug)]
pub(crate) struct NotReady(pub(crate) String);

impl Bridge {
    /// Prepares a bridge that delivers to `imprint`, with the shipped source and no limit of its own to the rate.
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

    /// Starts a process on the store, with these failpoints armed, and waits until it is ready.
    pub(crate) fn start(&self, failpoints: &str) -> Result<Life, NotReady> {
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
        let mut life = Life {
            child,
            start: Duration::ZERO,
        };
        loop {
            life.start = self.clock.now().since(started);
            let ready = Client::new(self.ops).get("/readyz");
            if ready.is_ok_and(|answer| answer.status == 200) {
                return Ok(life);
            }
            // One that was told to crash may be quicker than our look at it.
            let ended = life.child.try_wait().unwrap();
            if ended.is_some() && failpoints.contains("crash:") {
                return Ok(life);
            }
            if ended.is_some() || life.start > READY_MAX {
                let log = self.log_tail();
                return Err(NotReady(format!(
                    "after {:?}, {ended:?}: {log}",
                    life.start
                )));
            }
            pause(LOOK_EVERY);
        }
    }

    /// The figures as Prometheus would read them.
    pub(crate) fn metrics(&self) -> Option<String> {
        let answer = Client::new(self.ops).get("/metrics").ok()?;
        (answer.status == 200).then(|| answer.text())
    }

    /// Whether nothing waits and nothing is parked, as the bridge itself counts.
    pub(crate) fn is_drained(&self) -> bool {
        let is_zero = |page: &str, name: &str| {
            let line = format!("imprint_bridge_{name} 0");
            page.lines().any(|other| other == line)
        };
        self.metrics().is_some_and(|page| {
            is_zero(&page, "waiting_entries") && is_zero(&page, "parked_entries")
        })
    }

    /// The end of what all processes have logged.
    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Life {
    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Waits until it ends by itself.
    pub(crate) fn until_it_ends(&mut self, at_most: Duration) -> Option<ExitStatus> {
        let clock = Clock::machine();
        let deadline = clock.now().after(at_most);
        while clock.now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            pause(LOOK_EVERY);
        }
        None
    }

    fn end(&mut self) {
        // It may have ended by itself; either way there is nothing left of it afterwards.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end();
    }
}

/// Processes are killed and looked at in real time; nothing here can move their clock.
#[expect(clippy::disallowed_methods, reason = "another process runs meanwhile")]
pub(crate) fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// A loopback address that nobody else listens at, so that bridges of tests beside each other can have the same ports.
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
