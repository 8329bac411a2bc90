//! A PostgreSQL server for tests: a new cluster in a temporary folder, which only its Unix socket can reach.
//!
//! All tests of a process share one server, and each store has a database of its own. The server is the child of a shell
//! that stops it as soon as the test process has ended, in whatever way.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use imprint_bridge::outbox::{ClaimBounds, PostgresOutbox};
use imprint_bridge::sealing::KeyRing;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::wait_for;

/// The folder in which the packages of Debian and Ubuntu install the programs of a version of PostgreSQL.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The user and the group `nobody`: the server refuses to run as root.
const NOBODY: u32 = 65_534;

/// The settings of the server. Tests of the logic need no durable files.
const SETTINGS: [&str; 9] = [
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "listen_addresses=",
    "max_connections=600",
    "shared_buffers=64MB",
    "log_min_messages=warning",
    "wal_level=minimal",
    "max_wal_senders=0",
];

/// Runs a server until its input ends, then stops the server at once and deletes its folder.
const KEEP: &str = r#"folder=$1; shift; "$@" & cat > /dev/null; server=$(head -n 1 "$folder/data/postmaster.pid"); kill -QUIT "$server"; wait; while kill -0 "$server" 2> /dev/null; do sleep 0.05; done; rm -rf "$folder""#;

/// Runs a pooler until its input ends, then stops the pooler.
const KEEP_POOLER: &str = r#""$@" & cat > /dev/null; kill "$!"; wait"#;

/// The variable with the folder of the programs of another version of PostgreSQL.
const OTHER_PROGRAMS: &str = "IMPRINT_BRIDGE_TEST_POSTGRES";
/// The variable with the program `PgBouncer`. The bridge then reaches each database through a pool of connections, which gives
/// each transaction another connection.
const POOLER: &str = "IMPRINT_BRIDGE_TEST_POOLER";

/// A running PostgreSQL server. Dropping it stops the server and deletes its files.
pub(crate) struct PostgresServer {
    shell: Child,
    folder: TempDir,
    programs: PathBuf,
    pooler: Option<Pooler>,
}

impl PostgresServer {
    /// Creates a cluster and starts its server.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Does the same as [`Self::start`], with further settings.
    pub(crate) fn start_with(settings: &[&str]) -> Self {
        let programs = programs();
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = folder.path().join("data");
        let mut initdb = as_user(&programs.join("initdb"));
        initdb.args([
            "--no-sync",
            "-A",
            "trust",
            "-U",
            "bridge",
            "-E",
            "UTF8",
            "--locale=C",
            "-D",
        ]);
        let created = initdb.arg(&data).output().unwrap();
        let text = String::from_utf8_lossy(&created.stderr);
        assert!(created.status.success(), "initdb failed: {text}");
        let mut shell = as_user(Path::new("/bin/sh"));
        shell.args(["-c", KEEP, "sh"]).arg(folder.path());
        shell.arg(programs.join("postgres"));
        shell.arg("-D").arg(&data).arg("-k").arg(folder.path());
        for setting in SETTINGS.iter().chain(settings) {
            shell.args(["-c", setting]);
        }
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let shell = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self {
            shell,
            folder,
            programs,
            pooler: None,
        };
        wait_for("PostgreSQL answers", || {
            server.psql("postgres", "SELECT 1").ok()
        });
        server.pooler = variable(POOLER).map(|program| Pooler::start(&program, &server));
        server
    }

    /// Stops the server at once, as a crash does.
    pub(crate) fn crash(&self) {
        self.control(&["stop", "-m", "immediate"]);
    }

    /// Starts the server again after [`Self::crash`], with further settings.
    pub(crate) fn start_again(&self, settings: &[&str]) {
        let settings = SETTINGS.iter().chain(settings);
        let settings: Vec<String> = settings.map(|setting| format!("-c {setting}")).collect();
        let folder = self.folder.path().display();
        let options = format!("-k {folder} {}", settings.join(" "));
        self.control(&["start", "-o", &options]);
    }

    /// Makes all commits durable so far, then stops the process that writes the log. The server loses the later commits
    /// with `synchronous_commit=off` in [`Self::lose_commits`].
    pub(crate) fn stop_log_writer(&self) -> Pid {
        let sql = "SET synchronous_commit = on; SELECT pg_logical_emit_message(true, '', '')";
        self.psql("postgres", sql).unwrap();
        let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'";
        let writer = self.psql("postgres", sql).unwrap();
        let writer = Pid::from_raw(writer.parse().unwrap()).unwrap();
        kill_process(writer, Signal::STOP).unwrap();
        writer
    }

    /// Kills the process that writes the log: the server ends all connections, and recovers without the last commits.
    pub(crate) fn lose_commits(&self, log_writer: Pid) {
        kill_process(log_writer, Signal::KILL).unwrap();
        wait_for("PostgreSQL has ended its connections", || {
            self.psql("postgres", "SELECT 1").err()
        });
        wait_for("PostgreSQL has recovered", || {
            self.psql("postgres", "SELECT 1").ok()
        });
    }

    fn control(&self, arguments: &[&str]) {
        let mut control = as_user(&self.programs.join("pg_ctl"));
        control
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .arg("-l")
            .arg(self.folder.path().join("data/log"));
        let control = control.args(["-w", "-s"]).args(arguments);
        let done = control.stdout(Stdio::null()).status().unwrap();
        assert!(done.success(), "pg_ctl {arguments:?} failed");
    }

    /// Runs an SQL statement and returns its output.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(self.programs.join("psql"))
            // A statement of a test never waits for a standby.
            .env("PGOPTIONS", "-c synchronous_commit=local")
            .args([
                "-X", "-q", "-A", "-t", "-U", "bridge", "-d", database, "-c", sql, "-h",
            ])
            .arg(self.folder.path())
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Creates an empty database.
    pub(crate) fn database(self: &Arc<Self>) -> PostgresDatabase {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let name = format!("store_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"))
            .unwrap();
        PostgresDatabase {
            server: Arc::clone(self),
            name,
        }
    }
}

/// A running `PgBouncer` in front of a server.
struct Pooler {
    shell: Child,
    folder: TempDir,
}

impl Pooler {
    fn start(program: &Path, server: &PostgresServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let settings = format!(
            "[databases]\n* = host={} user=bridge\n[pgbouncer]\nunix_socket_dir = {}\nlisten_port = 5432\nauth_type = any\n\
             pool_mode = transaction\nmax_client_conn = 2000\nserver_login_retry = 1\ndefault_pool_size = 20\n",
            server.folder.path().display(),
            folder.path().display()
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).unwrap();
        let mut shell = as_user(Path::new("/bin/sh"));
        shell
            .args(["-c", KEEP_POOLER, "sh"])
            .arg(program)
            .arg(&file);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let shell = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let socket = folder.path().join(".s.PGSQL.5432");
        wait_for("PgBouncer listens", || socket.exists().then_some(()));
        Self { shell, folder }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ended = self.shell.wait();
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ended = self.shell.wait();
    }
}

/// One database of a server. Dropping it deletes the database.
pub(crate) struct PostgresDatabase {
    server: Arc<PostgresServer>,
    name: String,
}

impl PostgresDatabase {
    pub(crate) fn url(&self) -> String {
        self.url_in(self.folder())
    }

    /// Returns the folder with the socket of the server or of its pooler.
    pub(crate) fn folder(&self) -> &Path {
        let pooler = self.server.pooler.as_ref();
        let folder = pooler.map_or(&self.server.folder, |pooler| &pooler.folder);
        folder.path()
    }

    /// Returns the URL for a server with its socket in this folder.
    pub(crate) fn url_in(&self, folder: &Path) -> String {
        let folder = folder.display();
        format!("postgres:///{}?host={folder}&user=bridge", self.name)
    }

    /// Opens the store in this database.
    pub(crate) fn open(&self, bounds: ClaimBounds, ring: Arc<KeyRing>) -> PostgresOutbox {
        PostgresOutbox::open(&self.url(), 1000, (bounds, ring), None).unwrap()
    }

    /// Opens the store in this database. Statements and commits fail at random with 40001.
    pub(crate) fn open_with_failures(&self) -> PostgresOutbox {
        let keys = (ClaimBounds::default(), Arc::<KeyRing>::default());
        PostgresOutbox::open_with_failures(&self.url(), 1000, keys).unwrap()
    }

    /// Ends all connections to this database and refuses new ones, or accepts connections again.
    pub(crate) fn refuse(&self, refuses: bool) {
        let name = &self.name;
        let allow = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {}", !refuses);
        // A session that waits for a lock ends first: it would go on if the session with the lock ended before it.
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'
             ORDER BY wait_event_type IS DISTINCT FROM 'Lock'"
        );
        self.server.psql("postgres", &allow).unwrap();
        if refuses {
            self.server.psql("postgres", &end).unwrap();
        }
    }

    /// Runs an SQL statement in this database, and returns its output or its error.
    pub(crate) fn try_psql(&self, sql: &str) -> Result<String, String> {
        self.server.psql(&self.name, sql)
    }

    /// Runs an SQL statement in this database and returns its output.
    pub(crate) fn psql(&self, sql: &str) -> String {
        self.server.psql(&self.name, sql).unwrap()
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let _server_is_gone = self.server.psql("postgres", &drop);
    }
}

/// Creates an empty database on the server that all tests of this process share.
pub(crate) fn database() -> PostgresDatabase {
    static SERVER: OnceLock<Arc<PostgresServer>> = OnceLock::new();
    SERVER
        .get_or_init(|| Arc::new(PostgresServer::start()))
        .database()
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

/// Returns the folder with the programs of the newest installed version, unless a variable names another folder.
fn programs() -> PathBuf {
    if let Some(programs) = variable(OTHER_PROGRAMS) {
        return programs;
    }
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let versions = versions.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let programs = entry.path().join("bin");
        programs
            .join("initdb")
            .exists()
            .then_some((number, programs))
    });
    let newest = versions.max();
    let missing = "PostgreSQL is not installed: run `apt-get install postgresql`, or tests/run, which installs it";
    newest.expect(missing).1
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns a command that runs as the user `nobody` if this process runs as root.
fn as_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
