//! The test harness: [`TestApp`] runs a complete bridge and the sandbox in this process, with free ports and a temporary
//! store, and has a method for each thing that a sender or an operator does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt::System;
use futures_util::FutureExt as _;
use imprint_bridge::app::App;
use imprint_bridge::config::{Config, Purpose, sources};
use imprint_bridge::outbox::{Ledger as _, SqliteOutbox};
use imprint_bridge::sandbox::{
    LedgerEntry, Operation, RunningSandbox, Sandbox, SandboxSettings, UnseededCustomer,
};
use imprint_bridge::time::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::http::{self, Answer};

/// A test fails if it waits longer than this. It never asserts how quick something is.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The time between two checks of a condition.
const POLL_EVERY: Duration = Duration::from_millis(10);
/// The API key that the sandbox accepts.
pub(crate) const KEY: &str = "sk_test_canary_key";
/// The folder of the package. Tests must not depend on the current folder.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// Polls `condition` until it returns a value. Except for the kill tests, no other code of a test sleeps.
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

/// Whether `tests/run --full` asked for the long tests.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
pub(crate) fn is_full_run() -> bool {
    std::env::var("IMPRINT_BRIDGE_TEST_FULL").is_ok()
}

/// Runs a future on this thread.
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
    /// An event that sets no value. Events of different customers share no id.
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

    /// The example event of the source `crm`.
    pub(crate) fn sample() -> Self {
        let sample = include_str!("../../config/sources/crm/customer-changed.event.json");
        Self(serde_json::from_str(sample).unwrap())
    }

    pub(crate) fn email(self, email: &str) -> Self {
        self.with("/data/customer/email", json!(email))
    }

    /// Sets the value at a JSON Pointer. Its parent must exist.
    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        self.0.pointer_mut(parent).unwrap()[name] = value;
        self
    }

    pub(crate) fn json(&self) -> &Value {
        &self.0
    }
}

// === impl FakeImprint ===

/// A running sandbox. It stops when it is dropped.
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

    fn with_clock(clock: Clock, change: impl FnOnce(&mut SandboxSettings)) -> Self {
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

    /// Adds fault rules: the JSON that src/sandbox.rs describes.
    pub(crate) fn inject(&self, rules: &Value) {
        let rules = Sandbox::parse_rules(rules.to_string().as_bytes()).unwrap();
        self.sandbox.inject(rules).unwrap();
    }

    /// All requests that it received.
    pub(crate) fn calls(&self) -> Vec<LedgerEntry> {
        self.sandbox.ledger(0, usize::MAX).entries
    }

    /// The updates that it applied to a customer.
    pub(crate) fn applied(&self, customer: &str) -> Vec<LedgerEntry> {
        let mut calls = self.calls();
        calls.retain(|call| {
            call.operation == Operation::Update
                && call.applied
                && call.customer.as_deref() == Some(customer)
        });
        calls
    }

    /// The e-mail address that it stores for a customer.
    pub(crate) fn email(&self, customer: &str) -> Option<String> {
        let customer = self.sandbox.customer(customer)?;
        customer["customer"]["email"].as_str().map(str::to_owned)
    }
}

impl Drop for FakeImprint {
    fn drop(&mut self) {
        // The call sends the stop signal; the join waits for the end.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

// === impl Files ===

/// A temporary folder with all files of a bridge.
pub(crate) struct Files(TempDir);

impl Files {
    /// Writes the settings of a bridge that sends to `imprint`. `more` is TOML that overrides them.
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

    /// The settings files; later ones override earlier ones.
    pub(crate) fn settings(&self) -> Vec<PathBuf> {
        let files = ["bridge.toml", "more.toml", "operator.toml"];
        let files = files.into_iter().map(|name| self.path(name));
        files.filter(|path| path.exists()).collect()
    }

    /// Replaces the settings of this test.
    pub(crate) fn write_settings(&self, settings: &str) {
        std::fs::write(self.path("more.toml"), settings).unwrap();
    }

    /// A file in the folder of the store.
    pub(crate) fn store_file(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// The token file of an operator.
    pub(crate) fn token_file(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// Writes the token file of an operator and names it in the settings.
    pub(crate) fn write_token(&self, name: &str, token: &str) {
        std::fs::write(self.path(name), token).unwrap();
        let file = self.path(name);
        let settings = format!("[ops]\ntoken_files = [\"{}\"]", file.display());
        std::fs::write(self.path("operator.toml"), settings).unwrap();
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("outbox.db")
    }

    fn key(&self) -> PathBuf {
        self.path("key")
    }

    /// Replaces the key file atomically, as Kubernetes does.
    pub(crate) fn write_key(&self, key: &str) {
        let draft = self.path("key.new");
        std::fs::write(&draft, format!("{key}\n")).unwrap();
        std::fs::rename(draft, self.key()).unwrap();
    }

    /// The number of waiting entries. No bridge may have the store open.
    pub(crate) fn waiting(&self) -> u64 {
        block_on(self.open_store().depth()).unwrap().waiting
    }

    /// Opens the store as soon as its lock is free. A process that another test starts at this moment inherits the lock
    /// file until it executes its program.
    fn open_store(&self) -> SqliteOutbox {
        let now = Clock::machine().now();
        let open = || SqliteOutbox::open(&self.store(), 1, now).ok();
        wait_for("the store can be opened", open)
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.0.path()).join(name)
    }
}

// === impl TestApp ===

/// Whether entries may still wait when a test ends.
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
    clock: Clock,
}

impl TestAppBuilder {
    /// Stops the clock of the bridge and of the sandbox: only [`TestApp::advance`] moves it. Deadlines of real IO, such as
    /// `imprint.deadline`, still run in real time.
    pub(crate) fn manual_clock(self) -> Self {
        let clock = Clock::manual(Clock::machine().now());
        Self { clock, ..self }
    }

    /// Sets what the sandbox does with an unknown customer.
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

    /// Overrides settings; TOML.
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

/// A bridge, and the sandbox that it sends to. Dropping it fails the test if entries still wait.
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

    pub(crate) fn post_batch(&self, events: &[Event]) -> Answer {
        let batch = Value::Array(events.iter().map(|event| event.json().clone()).collect());
        let media_type = [("content-type", "application/cloudevents-batch+json")];
        self.post_raw(&media_type, &batch.to_string())
    }

    pub(crate) fn post_raw(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        post(self.bridge().ingress, headers, body).unwrap()
    }

    /// Posts an event and asserts that it is accepted.
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

    /// The value of a metric. The name includes labels, and not the namespace.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        metric(&self.ops_get("/metrics").body, name)
    }

    /// Stops the bridge as SIGTERM does, and returns its result.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.bridge.take().expect("the bridge is running").stop()
    }

    /// Starts a bridge with the same files, after [`TestApp::stop`].
    pub(crate) fn restart(&mut self) {
        self.files.open_store();
        self.bridge = Some(Bridge::start(&self.files, self.clock.clone()));
    }

    /// Moves the manual clock forward.
    pub(crate) fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }

    /// Moves the manual clock forward, one step after the other, until the condition is true. Between two steps, the bridge
    /// and the sandbox have some real milliseconds for what is due.
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

    /// The address of the event listener.
    pub(crate) fn ingress(&self) -> SocketAddr {
        self.bridge().ingress
    }

    /// The address of the listener for health, metrics and the admin API.
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

/// Posts events of the source `crm`.
pub(crate) fn post(
    ingress: SocketAddr,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Answer> {
    http::ask(ingress, POST_EVENTS, headers, body)
}

/// Method and path of a request with events.
pub(crate) const POST_EVENTS: &str = "POST /v1/sources/crm/events";

pub(crate) fn receipt(ingress: SocketAddr, id: &str) -> std::io::Result<Answer> {
    let line = format!("GET /v1/sources/crm/events/{id}");
    http::ask(ingress, &line, &[], "")
}

/// The value of a metric on a metrics page. The name includes labels, and not the namespace.
pub(crate) fn metric(page: &str, name: &str) -> Option<f64> {
    let line = format!("imprint_bridge_{name} ");
    let value = page.lines().find_map(|known| known.strip_prefix(&line))?;
    value.parse().ok()
}

// === impl Bridge ===

/// A bridge in its own thread.
struct Bridge {
    ingress: SocketAddr,
    ops: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Bridge {
    fn start(files: &Files, clock: Clock) -> Self {
        let config = Config::read(&files.settings(), Purpose::Serve).unwrap();
        let sources = sources::read(&config).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (started, addresses) = mpsc::channel();
        let serve = async move {
            let app = App::start(config, sources, clock).await?;
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
        // A bridge that has ended by itself says why when it is joined.
        let _gone: Result<(), ()> = self.stop.send(());
        self.thread.join().expect("the bridge panicked")
    }
}
