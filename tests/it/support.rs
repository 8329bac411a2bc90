//! The test harness: [`TestApp`] runs a complete bridge and the sandbox in the test process, with free ports and a
//! temporary store. `TestApp` has a method for each action of a sender or an operator.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt::System;
use futures_util::FutureExt as _;
use imprint_bridge::app::App;
use imprint_bridge::config::source_set::SourceSet;
use imprint_bridge::config::{Config, Purpose, sealing_keys};
use imprint_bridge::outbox::{ClaimBounds, Ledger as _, SqliteOutbox};
use imprint_bridge::sandbox::{
    LedgerEntry, Operation, RunningSandbox, Sandbox, SandboxSettings, UnseededCustomer,
};
use imprint_bridge::sealing::KeyRing;
use imprint_bridge::time::{Clock, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::http::{self, Answer};

/// The longest time that a test waits for a condition before the test fails. No test uses this limit to measure speed.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The time between two checks of a condition that a test waits for.
const POLL_EVERY: Duration = Duration::from_millis(10);
/// The API key that the sandbox accepts.
pub(crate) const KEY: &str = "sk_test_canary_key";
/// The root folder of this package, because tests must not depend on the current folder.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// Polls `condition` until `condition` returns a value. Except for the kill tests, no other test code sleeps.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::machine();
    let start = clock.now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(clock.now().since(start) < TEST_TIMEOUT, "timed out: {what}");
        #[expect(
            clippy::disallowed_methods,
            reason = "another process or thread gives no signal to wait for"
        )]
        std::thread::sleep(POLL_EVERY);
    }
}

/// Returns true if `tests/run --full` asked for the long tests.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
pub(crate) fn is_full_run() -> bool {
    std::env::var("IMPRINT_BRIDGE_TEST_FULL").is_ok()
}

/// Runs a future to its end on the current thread.
pub(crate) fn block_on<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, task)
}

// === impl Event ===

/// A `customer.changed` event of the source `crm`.
#[derive(Clone, Debug)]
pub(crate) struct Event(Value);

impl Event {
    /// Creates an event that sets no value. Events of different customers have no id in common.
    pub(crate) fn new(id: &str, customer: &str, revision: u64) -> Self {
        Self(json!({
            "specversion": "1.0",
            "id": id,
            "source": "/crm/us",
            "type": "customer.changed",
            "time": "2025-02-13T19:08:07.000Z",
            "data": {"customer": {"id": format!("P-{customer}"), "imprint_customer_id": customer, "revision": revision}},
        }))
    }

    /// Returns the example event of the source `crm`.
    pub(crate) fn sample() -> Self {
        let sample = include_str!("../../config/sources/crm/customer-changed.event.json");
        Self(serde_json::from_str(sample).unwrap())
    }

    pub(crate) fn email(self, email: &str) -> Self {
        self.with("/data/customer/email", json!(email))
    }

    /// Sets the value at a JSON Pointer of the event. The parent of the value must exist.
    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        self.0.pointer_mut(parent).unwrap()[name] = value;
        self
    }

    pub(crate) fn json(&self) -> &Value {
        &self.0
    }
}

/// Creates an event that sets an email address. The address contains the id of the event.
pub(crate) fn email(id: &str, customer: &str, revision: u64) -> Event {
    Event::new(id, customer, revision).email(&format!("{id}@example.com"))
}

/// Creates an event that names its customer only by the CRM's own id.
pub(crate) fn by_partner(id: &str, partner: &str, revision: u64) -> Event {
    let event = email(id, "unused", revision);
    let event = event.with("/data/customer/id", json!(partner));
    event.with("/data/customer/imprint_customer_id", Value::Null)
}

/// Creates customers in the sandbox.
pub(crate) fn seed(app: &TestApp, customers: &Value) {
    let seed = Sandbox::parse_seed(customers.to_string().as_bytes()).unwrap();
    app.imprint.sandbox.seed(seed).unwrap();
}

// === impl FakeImprint ===

/// A running sandbox, which stops when the `FakeImprint` value is dropped.
pub(crate) struct FakeImprint {
    pub(crate) address: SocketAddr,
    pub(crate) sandbox: Sandbox,
    handle: ServerHandle,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl FakeImprint {
    pub(crate) fn start(change: impl FnOnce(&mut SandboxSettings)) -> Self {
        Self::with_clock(Clock::machine(), change)
    }

    pub(crate) fn with_clock(clock: Clock, change: impl FnOnce(&mut SandboxSettings)) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut settings = SandboxSettings::new(listen, KEY.to_owned().into());
        change(&mut settings);
        let RunningSandbox {
            address,
            sandbox,
            handle,
            server,
        } = Sandbox::start(settings, clock).unwrap();
        let thread = std::thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(move || System::new().block_on(server))
            .unwrap();
        Self {
            address,
            sandbox,
            handle,
            thread: Some(thread),
        }
    }

    /// Adds fault rules to the sandbox, in the JSON format that src/sandbox.rs describes.
    pub(crate) fn inject(&self, rules: &Value) {
        let rules = Sandbox::parse_rules(rules.to_string().as_bytes()).unwrap();
        self.sandbox.inject(rules).unwrap();
    }

    /// Returns all requests that the sandbox received.
    pub(crate) fn calls(&self) -> Vec<LedgerEntry> {
        self.sandbox.ledger(0, usize::MAX).entries
    }

    /// Returns the updates that the sandbox applied to a customer.
    pub(crate) fn applied(&self, customer: &str) -> Vec<LedgerEntry> {
        let mut calls = self.calls();
        calls.retain(|call| {
            call.operation == Operation::Update
                && call.applied
                && call.customer.as_deref() == Some(customer)
        });
        calls
    }

    /// Returns the e-mail address that the sandbox stores for a customer.
    pub(crate) fn email(&self, customer: &str) -> Option<String> {
        let customer = self.sandbox.customer(customer)?;
        customer["customer"]["email"].as_str().map(str::to_owned)
    }
}

impl Drop for FakeImprint {
    fn drop(&mut self) {
        // `stop` sends the stop signal to the sandbox, and `join` waits for the end of the sandbox's thread.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

// === impl Files ===

/// A temporary folder with all files of a bridge under test.
pub(crate) struct Files(TempDir);

impl Files {
    /// Writes the settings of a bridge that sends to `imprint`. The TOML in `more` overrides these settings.
    pub(crate) fn write(imprint: SocketAddr, key: &str, more: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write_key(key);
        let settings = format!(
            r#"
            sources_dir = "{PACKAGE}/config/sources"
            schemas_dir = "{PACKAGE}/schemas"
            [ingress]
            listen = "127.0.0.1:0"
            workers = 1
            [ops]
            listen = "127.0.0.1:0"
            [outbox]
            url = "sqlite:{store}"
            [imprint]
            base_url = "http://{imprint}"
            environment = "local"
            key_file = "{key}"
            rate_per_second = 0
            [shutdown]
            lag = 0
            "#,
            store = files.store().display(),
            key = files.key().display(),
        );
        std::fs::write(files.path("bridge.toml"), settings).unwrap();
        std::fs::write(files.path("more.toml"), more).unwrap();
        files
    }

    /// Returns the settings files of the bridge. A later file overrides an earlier file.
    pub(crate) fn settings(&self) -> Vec<PathBuf> {
        let files = ["bridge.toml", "more.toml", "operator.toml", "sealing.toml"];
        let files = files.into_iter().map(|name| self.path(name));
        files.filter(|path| path.exists()).collect()
    }

    /// Replaces `more.toml`, the settings file of the current test.
    pub(crate) fn write_settings(&self, settings: &str) {
        std::fs::write(self.path("more.toml"), settings).unwrap();
    }

    /// Returns the path of a file in the folder of the store.
    pub(crate) fn store_file(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// Returns the path of an operator's token file.
    pub(crate) fn token_file(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// Writes the token file of an operator, and adds the file to the settings of the bridge.
    pub(crate) fn write_token(&self, name: &str, token: &str) {
        std::fs::write(self.path(name), token).unwrap();
        let file = self.path(name);
        let settings = format!("[ops]\ntoken_files = [\"{}\"]", file.display());
        std::fs::write(self.path("operator.toml"), settings).unwrap();
    }

    /// Writes a sealing key file atomically, and adds the directory of the keys to the settings of the bridge.
    pub(crate) fn write_sealing_key(&self, name: &str, key: &str) {
        let directory = self.path("keys");
        std::fs::create_dir_all(&directory).unwrap();
        let settings = format!("[outbox]\nkeys_dir = \"{}\"", directory.display());
        std::fs::write(self.path("sealing.toml"), settings).unwrap();
        std::fs::write(self.path("sealing.new"), format!("{key}\n")).unwrap();
        std::fs::rename(self.path("sealing.new"), directory.join(name)).unwrap();
    }

    /// Removes a sealing key file.
    pub(crate) fn remove_sealing_key(&self, name: &str) {
        std::fs::remove_file(self.path("keys").join(name)).unwrap();
    }

    /// Reads the sealing keys, if the bridge has sealing keys.
    pub(crate) fn sealing_keys(&self) -> Arc<KeyRing> {
        let directory = self.path("keys");
        let directory = directory.exists().then_some(directory);
        sealing_keys::read(directory.as_deref()).unwrap().ring
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("outbox.db")
    }

    fn key(&self) -> PathBuf {
        self.path("key")
    }

    /// Replaces the API key file atomically, as Kubernetes does.
    pub(crate) fn write_key(&self, key: &str) {
        let draft = self.path("key.new");
        std::fs::write(&draft, format!("{key}\n")).unwrap();
        std::fs::rename(draft, self.key()).unwrap();
    }

    /// Removes the API key file.
    pub(crate) fn remove_key(&self) {
        std::fs::remove_file(self.key()).unwrap();
    }

    /// Returns the number of waiting entries in the store, which no bridge may have open.
    pub(crate) fn waiting(&self) -> u64 {
        block_on(self.open_store().depth()).unwrap().waiting
    }

    /// Opens the store as soon as its lock is free. A process that another test starts at this moment inherits the
    /// lock file until the process executes its program.
    fn open_store(&self) -> SqliteOutbox {
        let now = Clock::machine().now();
        let sealed = || (ClaimBounds::default(), self.sealing_keys());
        let open = || SqliteOutbox::open_sealed(&self.store(), 1, now, sealed()).ok();
        wait_for("the store can be opened", open)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(self.0.path()).join(name)
    }
}

// === impl TestApp ===

/// The reaction of [`TestApp`] to entries that still wait when a test ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitingEntries {
    Fail,
    Allowed,
}

/// Builds a [`TestApp`].
pub(crate) struct TestAppBuilder {
    unknown_customer: UnseededCustomer,
    key: &'static str,
    settings: String,
    operator: Option<(&'static str, &'static str)>,
    sealing_key: Option<(&'static str, String)>,
    clock: Clock,
}

impl TestAppBuilder {
    /// Stops the common clock of the bridge and the sandbox: only [`TestApp::advance`] moves this clock. Deadlines of
    /// real IO, such as `imprint.deadline`, still run in real time.
    pub(crate) fn manual_clock(self) -> Self {
        let clock = Clock::manual(Clock::machine().now());
        Self { clock, ..self }
    }

    /// Gives the bridge and the sandbox this clock.
    pub(crate) fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Sets the sandbox's answer about an unknown customer.
    pub(crate) fn unknown_customer(self, unknown_customer: UnseededCustomer) -> Self {
        Self {
            unknown_customer,
            ..self
        }
    }

    /// Sets the API key of the bridge.
    pub(crate) fn key(self, key: &'static str) -> Self {
        Self { key, ..self }
    }

    /// Adds an operator with this name and token.
    pub(crate) fn operator(self, name: &'static str, token: &'static str) -> Self {
        let operator = Some((name, token));
        Self { operator, ..self }
    }

    /// Gives the bridge a sealing key.
    pub(crate) fn sealing_key(self, name: &'static str, key: String) -> Self {
        let sealing_key = Some((name, key));
        Self {
            sealing_key,
            ..self
        }
    }

    /// Overrides settings of the bridge with TOML.
    pub(crate) fn settings(self, settings: impl Into<String>) -> Self {
        let settings = settings.into();
        Self { settings, ..self }
    }

    pub(crate) fn start(self) -> TestApp {
        let imprint = FakeImprint::with_clock(self.clock.clone(), |settings| {
            settings.unknown_customer = self.unknown_customer;
        });
        let files = Files::write(imprint.address, self.key, &self.settings);
        if let Some((name, token)) = self.operator {
            files.write_token(name, token);
        }
        if let Some((name, key)) = self.sealing_key {
            files.write_sealing_key(name, &key);
        }
        let bridge = Some(Bridge::start(&files, self.clock.clone()));
        TestApp {
            bridge,
            clock: self.clock,
            files,
            imprint,
            waiting_entries: WaitingEntries::Fail,
        }
    }
}

/// A bridge, and the sandbox that receives the bridge's requests. Dropping a `TestApp` fails the test if entries still
/// wait.
pub(crate) struct TestApp {
    bridge: Option<Bridge>,
    clock: Clock,
    pub(crate) files: Files,
    pub(crate) imprint: FakeImprint,
    waiting_entries: WaitingEntries,
}

impl TestApp {
    pub(crate) fn start() -> Self {
        Self::setup().start()
    }

    pub(crate) fn setup() -> TestAppBuilder {
        TestAppBuilder {
            unknown_customer: UnseededCustomer::Created,
            key: KEY,
            settings: String::new(),
            operator: None,
            sealing_key: None,
            clock: Clock::machine(),
        }
    }

    /// Allows entries to wait when the test ends.
    pub(crate) fn leave_waiting_entries(&mut self) {
        self.waiting_entries = WaitingEntries::Allowed;
    }

    pub(crate) fn post(&self, event: &Event) -> Answer {
        self.post_with(&[], event)
    }

    /// Posts an event in structured mode with additional headers.
    pub(crate) fn post_with(&self, headers: &[(&str, &str)], event: &Event) -> Answer {
        let mut all = vec![("content-type", "application/cloudevents+json")];
        all.extend(headers);
        self.post_raw(&all, &event.json().to_string())
    }

    /// Sends a request to the admin API. The request has no body if `body` is null.
    pub(crate) fn ask_operator(&self, token: &str, line: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        http::ask(self.ops(), line, &headers, &body).unwrap()
    }

    pub(crate) fn post_batch(&self, events: &[Event]) -> Answer {
        let batch = Value::Array(events.iter().map(|event| event.json().clone()).collect());
        let media_type = [("content-type", "application/cloudevents-batch+json")];
        self.post_raw(&media_type, &batch.to_string())
    }

    pub(crate) fn post_raw(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        post(self.bridge().ingress, headers, body).unwrap()
    }

    /// Posts an event and asserts that the bridge accepts the event.
    #[track_caller]
    pub(crate) fn accept(&self, event: &Event) {
        let answer = self.post(event);
        assert_eq!(answer.status, 202, "{}", answer.body);
    }

    pub(crate) fn receipt(&self, id: &str) -> Value {
        let answer = receipt(self.bridge().ingress, id).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// Waits until the receipt of an event has this status, and returns the receipt.
    #[track_caller]
    pub(crate) fn wait_until(&self, id: &str, status: &str) -> Value {
        wait_for(&format!("{id} is {status}"), || {
            Some(self.receipt(id)).filter(|receipt| receipt["status"] == status)
        })
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        wait_for(what, || condition(self).then_some(()));
    }

    pub(crate) fn ops_get(&self, path: &str) -> Answer {
        http::ask(self.bridge().ops, &format!("GET {path}"), &[], "").unwrap()
    }

    /// Returns the value of a metric of the bridge. The name includes labels, but not the namespace.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        metric(&self.ops_get("/metrics").body, name)
    }

    /// Stops the bridge as SIGTERM does, and returns the result of the bridge.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.bridge.take().expect("the bridge is running").stop()
    }

    /// Starts a new bridge with the same files, after [`TestApp::stop`].
    pub(crate) fn restart(&mut self) {
        self.files.open_store();
        self.bridge = Some(Bridge::start(&self.files, self.clock.clone()));
    }

    /// Starts a new bridge with the same files and another manual clock, after [`TestApp::stop`].
    pub(crate) fn restart_at(&mut self, now: Timestamp) {
        self.clock = Clock::manual(now);
        self.restart();
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves the manual clock forward.
    pub(crate) fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }

    /// Moves the manual clock forward in steps until the condition is true. Between two steps, the bridge and the
    /// sandbox have some real milliseconds for their due work.
    #[track_caller]
    pub(crate) fn advance_until(&self, what: &str, step: Duration, is_so: impl Fn(&Self) -> bool) {
        wait_for(what, || {
            let found = is_so(self).then_some(());
            if found.is_none() {
                self.advance(step);
            }
            found
        });
    }

    /// Returns the address of the event listener.
    pub(crate) fn ingress(&self) -> SocketAddr {
        self.bridge().ingress
    }

    /// Returns the address of the listener for health, metrics and the admin API.
    pub(crate) fn ops(&self) -> SocketAddr {
        self.bridge().ops
    }

    fn bridge(&self) -> &Bridge {
        self.bridge.as_ref().expect("the bridge is running")
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let stopped = self.bridge.take().map(Bridge::stop);
        if std::thread::panicking() {
            return;
        }
        stopped.transpose().unwrap();
        if self.waiting_entries == WaitingEntries::Fail {
            assert_eq!(self.files.waiting(), 0, "entries still wait");
        }
    }
}

/// Posts a body with events of the source `crm`.
pub(crate) fn post(
    ingress: SocketAddr,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Answer> {
    http::ask(ingress, POST_EVENTS, headers, body)
}

/// The method and the path of a request with events of the source `crm`.
pub(crate) const POST_EVENTS: &str = "POST /v1/sources/crm/events";

pub(crate) fn receipt(ingress: SocketAddr, id: &str) -> std::io::Result<Answer> {
    let line = format!("GET /v1/sources/crm/events/{id}");
    http::ask(ingress, &line, &[], "")
}

/// Returns the value of a metric on a metrics page. The name includes labels, but not the namespace.
pub(crate) fn metric(page: &str, name: &str) -> Option<f64> {
    let line = format!("imprint_bridge_{name} ");
    let value = page.lines().find_map(|known| known.strip_prefix(&line))?;
    value.parse().ok()
}

// === impl Bridge ===

/// A bridge that runs in its own thread.
struct Bridge {
    ingress: SocketAddr,
    ops: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Bridge {
    fn start(files: &Files, clock: Clock) -> Self {
        let config = Config::read(&files.settings(), Purpose::Serve).unwrap();
        let set = SourceSet::read(&config).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (started, addresses) = mpsc::channel();
        let serve = async move {
            let app = App::start(config, set, clock).await?;
            started.send((app.ingress, app.ops))?;
            let stopped = stopped.map(|_stop_or_gone| "the test");
            app.run(stopped).await
        };
        let thread = std::thread::Builder::new()
            .name("bridge".to_owned())
            .spawn(|| System::new().block_on(serve))
            .unwrap();
        let Ok((ingress, ops)) = addresses.recv() else {
            panic!("the bridge did not start: {:?}", thread.join());
        };
        Self {
            ingress,
            ops,
            stop,
            thread,
        }
    }

    fn stop(self) -> anyhow::Result<()> {
        // If the bridge has already ended, `send` fails, and `join` returns the reason.
        let _gone: Result<(), ()> = self.stop.send(());
        self.thread.join().expect("the bridge panicked")
    }
}
