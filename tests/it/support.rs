//! The service as a test sees it: a whole bridge on ports of its own, a store in a folder of its own, and a stand-in for
//! Imprint, all in this process; and a verb for each thing that a sender or an operator does.

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
    LedgerEntry, Operation, RunningSandbox, Sandbox, SandboxSettings, UnknownCustomer,
};
use imprint_bridge::time::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::http::{self, Answer};

/// How long anything may take before a test gives up on it. Never how long something should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The key that the sandbox takes.
pub(crate) const KEY: &str = "sk_test_canary_key";
/// The folder of the package: tests run wherever they are started.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// Waits until `look` finds what it looks for. The only place where a test sleeps.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::machine();
    let start = clock.now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            clock.now().since(start) < PATIENCE,
            "waited in vain: {what}"
        );
        #[expect(
            clippy::disallowed_methods,
            reason = "what happens in another process or thread gives no signal to wait for"
        )]
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Whether `tests/run --full` asked for the long tests.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
pub(crate) fn is_full_run() -> bool {
    std::env::var("IMPRINT_BRIDGE_TEST_FULL").is_ok()
}

/// Runs a future on a runtime of this thread.
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
    /// An event that says nothing but whom it is about; two with different customers have nothing to do with each other.
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

    /// The example event of the source that ships.
    pub(crate) fn sample() -> Self {
        let sample = include_str!("../../config/sources/crm/customer-changed.event.json");
        Self(serde_json::from_str(sample).unwrap())
    }

    pub(crate) fn email(self, email: &str) -> Self {
        self.with("/data/customer/email", json!(email))
    }

    /// The same with another value at a JSON Pointer whose parent is there.
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

/// A sandbox that serves until it is dropped.
pub(crate) struct FakeImprint {
    pub(crate) address: SocketAddr,
    pub(crate) sandbox: Sandbox,
    handle: ServerHandle,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl FakeImprint {
    pub(crate) fn start(change: impl FnOnce(&mut SandboxSettings)) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut settings = SandboxSettings::new(listen, KEY.to_owned().into());
        change(&mut settings);
        let RunningSandbox {
            address,
            sandbox,
            handle,
            server,
        } = Sandbox::start(settings, Clock::machine()).unwrap();
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

    /// Adds faults, as the JSON that src/imprint/sandbox.rs describes.
    pub(crate) fn inject(&self, rules: &Value) {
        let rules = Sandbox::parse_rules(rules.to_string().as_bytes()).unwrap();
        self.sandbox.inject(rules).unwrap();
    }

    /// Every call it received.
    pub(crate) fn calls(&self) -> Vec<LedgerEntry> {
        self.sandbox.ledger(0, usize::MAX).entries
    }

    /// The updates it made of a customer.
    pub(crate) fn applied(&self, customer: &str) -> Vec<LedgerEntry> {
        let mut calls = self.calls();
        calls.retain(|call| {
            call.operation == Operation::Update
                && call.applied
                && call.customer.as_deref() == Some(customer)
        });
        calls
    }

    /// The email it has of a customer.
    pub(crate) fn email(&self, customer: &str) -> Option<String> {
        let customer = self.sandbox.customer(customer)?;
        customer["customer"]["email"].as_str().map(str::to_owned)
    }
}

impl Drop for FakeImprint {
    fn drop(&mut self) {
        // The call sends the stop; the thread that serves waits for its end.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

// === impl Files ===

/// A folder with everything that a bridge reads and writes.
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

    /// The files of settings, in their order.
    pub(crate) fn settings(&self) -> Vec<PathBuf> {
        let files = ["bridge.toml", "more.toml", "operator.toml"];
        let files = files.into_iter().map(|name| self.path(name));
        files.filter(|path| path.exists()).collect()
    }

    /// Puts other settings in the place of those that a test had.
    pub(crate) fn write_more(&self, more: &str) {
        std::fs::write(self.path("more.toml"), more).unwrap();
    }

    /// A file in the folder of the store.
    pub(crate) fn beside_the_store(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// The file of an operator's token.
    pub(crate) fn operator(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// Makes somebody an operator.
    pub(crate) fn write_operator(&self, name: &str, token: &str) {
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

    /// Puts another key in the place of the one that is there, at once, as Kubernetes does it.
    pub(crate) fn write_key(&self, key: &str) {
        let draft = self.path("key.new");
        std::fs::write(&draft, format!("{key}\n")).unwrap();
        std::fs::rename(draft, self.key()).unwrap();
    }

    /// How many entries wait in the store; nobody else may have it open.
    pub(crate) fn waiting(&self) -> u64 {
        block_on(self.until_free().depth()).unwrap().waiting
    }

    /// Opens the store as soon as nobody has it: a process that another test has just started holds all that was open here
    /// until it has become itself.
    fn until_free(&self) -> SqliteOutbox {
        let now = Clock::machine().now();
        let open = || SqliteOutbox::open(&self.store(), 1, now).ok();
        wait_for("the store is free", open)
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.0.path()).join(name)
    }
}

// === impl TestApp ===

/// What a test does about entries that wait when it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    IsDone,
    MayBeLeft,
}

/// How a [`TestApp`] is to be.
pub(crate) struct Setup {
    unknown_customer: UnknownCustomer,
    key: &'static str,
    settings: String,
    operator: Option<(&'static str, &'static str)>,
}

impl Setup {
    /// What the sandbox does with customers it does not know.
    pub(crate) fn unknown_customer(self, unknown_customer: UnknownCustomer) -> Self {
        Self {
            unknown_customer,
            ..self
        }
    }

    /// The key that the bridge has.
    pub(crate) fn key(self, key: &'static str) -> Self {
        Self { key, ..self }
    }

    /// An operator by this name and with this token.
    pub(crate) fn operator(self, name: &'static str, token: &'static str) -> Self {
        let operator = Some((name, token));
        Self { operator, ..self }
    }

    /// Settings, as TOML, that differ from those of all tests.
    pub(crate) fn settings(self, settings: impl Into<String>) -> Self {
        let settings = settings.into();
        Self { settings, ..self }
    }

    pub(crate) fn start(self) -> TestApp {
        let imprint =
            FakeImprint::start(|settings| settings.unknown_customer = self.unknown_customer);
        let files = Files::write(imprint.address, self.key, &self.settings);
        if let Some((name, token)) = self.operator {
            files.write_operator(name, token);
        }
        let bridge = Some(Bridge::start(&files));
        TestApp {
            bridge,
            files,
            imprint,
            work: Work::IsDone,
        }
    }
}

/// A bridge and the sandbox it sends to. It fails where it is dropped with entries that still wait.
pub(crate) struct TestApp {
    bridge: Option<Bridge>,
    pub(crate) files: Files,
    pub(crate) imprint: FakeImprint,
    work: Work,
}

impl TestApp {
    pub(crate) fn start() -> Self {
        Self::setup().start()
    }

    pub(crate) fn setup() -> Setup {
        Setup {
            unknown_customer: UnknownCustomer::Created,
            key: KEY,
            settings: String::new(),
            operator: None,
        }
    }

    /// Says that entries may still wait when the test ends.
    pub(crate) fn leaves_work(&mut self) {
        self.work = Work::MayBeLeft;
    }

    pub(crate) fn post(&self, event: &Event) -> Answer {
        self.post_with(&[], event)
    }

    /// Posts an event in structured mode, with further headers.
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

    /// Posts an event and sees that it is kept.
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

    /// Waits until an event has come to this end, and gives its receipt.
    #[track_caller]
    pub(crate) fn until(&self, id: &str, status: &str) -> Value {
        wait_for(&format!("{id} is {status}"), || {
            Some(self.receipt(id)).filter(|receipt| receipt["status"] == status)
        })
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        wait_for(what, || is_so(self).then_some(()));
    }

    pub(crate) fn ops_get(&self, path: &str) -> Answer {
        http::ask(self.bridge().ops, &format!("GET {path}"), &[], "").unwrap()
    }

    /// The value of a metric, named with its labels and without the namespace.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        metric(&self.ops_get("/metrics").body, name)
    }

    /// Ends the bridge as SIGTERM would, and says how it ended.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.bridge.take().expect("it runs").stop()
    }

    /// Starts another bridge on the same files, after [`TestApp::stop`].
    pub(crate) fn start_again(&mut self) {
        self.files.until_free();
        self.bridge = Some(Bridge::start(&self.files));
    }

    /// Where events come in.
    pub(crate) fn ingress(&self) -> SocketAddr {
        self.bridge().ingress
    }

    /// Where health, metrics and administration are.
    pub(crate) fn ops(&self) -> SocketAddr {
        self.bridge().ops
    }

    fn bridge(&self) -> &Bridge {
        self.bridge.as_ref().expect("it runs")
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let stopped = self.bridge.take().map(Bridge::stop);
        if std::thread::panicking() {
            return;
        }
        stopped.transpose().unwrap();
        if self.work == Work::IsDone {
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

/// The line of a request that brings events.
pub(crate) const POST_EVENTS: &str = "POST /v1/sources/crm/events";

pub(crate) fn receipt(ingress: SocketAddr, id: &str) -> std::io::Result<Answer> {
    let line = format!("GET /v1/sources/crm/events/{id}");
    http::ask(ingress, &line, &[], "")
}

/// The value of a metric on a page, named with its labels and without the namespace.
pub(crate) fn metric(page: &str, name: &str) -> Option<f64> {
    let line = format!("imprint_bridge_{name} ");
    let value = page.lines().find_map(|known| known.strip_prefix(&line))?;
    value.parse().ok()
}

// === impl Bridge ===

/// A bridge that runs on a thread of its own.
struct Bridge {
    ingress: SocketAddr,
    ops: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Bridge {
    fn start(files: &Files) -> Self {
        let config = Config::read(&files.settings(), Purpose::Serve).unwrap();
        let sources = sources::read(&config).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (started, addresses) = mpsc::channel();
        let serve = async move {
            let app = App::start(config, sources).await?;
            started.send((app.ingress, app.ops))?;
            let stopped = stopped.map(|_stop_or_gone| "the test");
            app.run(stopped).await
        };
        let thread = std::thread::Builder::new()
            .name("bridge".to_owned())
            .spawn(|| System::new().block_on(serve))
            .unwrap();
        let Ok((ingress, ops)) = addresses.recv() else {
            panic!("it did not start: {:?}", thread.join());
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
