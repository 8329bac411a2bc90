//! A sandbox in place of Imprint: the same operations on the same paths, and faults on request.
//!
//! The command `sandbox`, the demo and the integration tests use it; the tests run it in their own process. It models
//! Imprint's documentation and nothing more. Where the documentation is silent, [`SandboxSettings`] or a comment states
//! the choice.
//!
//! # Imprint's API
//!
//! | call | answer |
//! |---|---|
//! | `POST /v2/customers/{id}` | *update*: merges field by field; 200 Customer, 400, 404 |
//! | `GET /v2/customers/{id}` | *retrieve*: 200 Customer, 404 |
//! | `GET /v2/customers?partner_customer_id=&limit=&starting_after=` | *search*: 200; a blank filter lists every customer |
//! | `POST /v2/customers` | *search* again, with the filter in the body |
//! | anything under `/v2/keys` | 404, and `forbidden` in the ledger: the bridge must never call it |
//! | anything else under `/v2` | 404, and `unknown` in the ledger |
//!
//! A call with another key is answered 401 without a body.
//!
//! # The tester's API, without a key
//!
//! | call | effect |
//! |---|---|
//! | `GET /sandbox/ledger?after=SEQ&limit=N` | every call received under `/v2`, in order of arrival |
//! | `DELETE /sandbox/ledger` | deletes them; the sequence goes on |
//! | `GET /sandbox/customers/{id}` | the whole customer, with `customer_history` and the count of updates |
//! | `POST /sandbox/customers` | seeds one customer or an array of them |
//! | `GET /sandbox/stats` | counts: calls, applied updates, calls in flight, maximum per second |
//! | `POST /sandbox/faults` | adds one [rule](FaultRule) or an array of them |
//! | `GET /sandbox/faults` | the active rules, and how often each fired |
//! | `DELETE /sandbox/faults` | deletes all rules |
//! | `POST /sandbox/outage` `{"for_ms": N}` | answers 503 without Retry-After to every call for N ms |
//!
//! A rule states the calls that it matches (`body_has` is a JSON Pointer), its rate and its end, and one action:
//!
//! ```json
//! {"customer": "ID", "method": "POST", "body_has": "/email", "rate": 0.5, "times": 3, "for_ms": 60000, "action": {"status": 503}}
//! ```
//!
//! | action | effect for the caller |
//! |---|---|
//! | `{"status": 503}` | this error |
//! | `{"body": "…", "status": 200}` | this text, labelled as JSON |
//! | `{"latency_ms": 200}` | the answer, later |
//! | `{"hang": true}` | no answer |
//! | `{"lands_after_ms": 1500}` | no answer; the update is made that much later, even if the caller is gone |
//! | `{"reset": true}` | a TCP reset before the first byte |
//! | `{"endless_body": true}` | a 200 that does not end |
//! | `{"interim": 103, "then_ms": 30}` | a 1xx head, then the answer |
//! | `{"stall_body": true}` | the head of the answer, then silence |
//! | `{"short_body": true}` | half the body of the answer, then the end of the connection |
//! | `{"wrong_id": true}` | the answer, about another customer |
//!
//! A status may have a `shape` (`envelope`, `flat`, `invalid_request`, `string`, `html` or `empty`), `type`, `param`,
//! `message`, `location`, and `retry_after`: one string or several, sent verbatim.
//!
//! The last four actions happen after the update is made. The others happen instead of the update, or after it with
//! `"after": "apply"`. A delay with `"after": "apply"` is between the update and its answer. Faults happen before the key
//! is checked. Delays and `for_ms` follow the clock.
//!
//! # Invariants
//!
//! The clock is an argument and random numbers come from a seed, so a run can be repeated. Everything has a limit. No lock
//! is held across an await. The ledger keeps every request, personal data included: use made-up customers only.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, web};
use serde_json::Value;

use crate::time::Clock;

use api::{SandboxCall, UpdateEffect};
use customers::CustomerTable;
use faults::{FaultPlan, FaultRules};
use ledger::{CallLedger, Traffic};
use reply::SandboxReply;

mod api;
mod background;
mod contract;
mod control;
mod customers;
mod exchange;
mod fault_action;
mod faults;
mod ledger;
mod reply;
mod settings;
mod socket;

#[cfg(test)]
mod tests;

pub use api::{Authorization, Operation};
pub use background::BackgroundSandbox;
pub use customers::SeedCustomer;
pub use faults::FaultRule;
pub use ledger::{LedgerEntry, LedgerPage, SandboxStats};
pub use settings::{LEDGER_MAX, Nulls, SandboxSettings, UnseededCustomer};

/// The number of server threads. One serves thousands of calls per second, and keeps the random numbers in order.
const WORKERS: usize = 1;
/// Longer than any client keeps a connection, so that the sandbox closes a connection only as a fault.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The error of an operation on the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener could not be bound.
    #[error("binding the sandbox to {listen}")]
    Bind {
        listen: SocketAddr,
        source: std::io::Error,
    },
    /// The thread of a [`BackgroundSandbox`] could not be started.
    #[error("starting the sandbox's thread")]
    Thread(#[source] std::io::Error),
    /// The seed is not a customer or an array of customers.
    #[error("reading the customers to seed")]
    Seed(#[source] serde_json::Error),
    /// The sandbox has the maximum number of customers.
    #[error("the sandbox holds at most {customers_max} customers")]
    CustomersFull { customers_max: usize },
    /// The JSON is not a rule or an array of rules.
    #[error("reading the fault rules")]
    FaultRule(#[source] serde_json::Error),
    /// The sandbox would have more than the maximum number of rules.
    #[error("the sandbox holds at most {rules_max} fault rules")]
    RulesFull { rules_max: usize },
}

/// A sandbox with a bound listener. It answers as soon as the caller polls `server`, on any thread with a runtime.
#[expect(
    missing_debug_implementations,
    reason = "the server it holds has no Debug"
)]
pub struct RunningSandbox {
    /// The address on which the sandbox listens.
    pub address: SocketAddr,
    /// The sandbox's state: received calls, customers and faults.
    pub sandbox: Sandbox,
    /// Stops it from any thread: the call `handle.stop(false)` stops the server, and its future waits for the end.
    pub handle: ServerHandle,
    /// The server; the caller owns its task.
    pub server: Server,
}

/// The state of a sandbox: received calls, customers and faults. Clones share the state.
#[derive(Clone)]
pub struct Sandbox(Arc<SandboxShared>);

struct SandboxShared {
    settings: SandboxSettings,
    clock: Clock,
    state: Mutex<SandboxState>,
}

struct SandboxState {
    customers: CustomerTable,
    ledger: CallLedger,
    traffic: Traffic,
    faults: FaultRules,
}

/// Never prints the state, because the state contains personal data.
impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Binds the listener. The caller runs the server.
    ///
    /// # Errors
    /// [`Error::Bind`], or [`Error::CustomersFull`] for too many seeds.
    pub fn start(settings: SandboxSettings, clock: Clock) -> Result<RunningSandbox, Error> {
        let listen = settings.listen;
        let bind = |source| Error::Bind { listen, source };
        let sandbox = Self::new(settings, clock)?;
        let shared = sandbox.clone();
        let server = HttpServer::new(move || {
            let sandbox = shared.clone();
            App::new().configure(move |config| sandbox.routes(config))
        })
        .workers(WORKERS)
        .keep_alive(KEEP_ALIVE)
        .disable_signals()
        .shutdown_timeout(0)
        .tcp_nodelay(true)
        .on_connect(socket::keep)
        .bind(listen)
        .map_err(bind)?;
        let address = server.addrs().first().copied().unwrap_or(listen);
        let server = server.run();
        Ok(RunningSandbox {
            address,
            sandbox,
            handle: server.handle(),
            server,
        })
    }

    /// Reads the customers to seed: one, or an array of them.
    ///
    /// # Errors
    /// [`Error::Seed`] for anything else, an unknown field included.
    pub fn parse_seed(json: &[u8]) -> Result<Vec<SeedCustomer>, Error> {
        one_or_many(json).map_err(Error::Seed)
    }

    /// Reads fault rules: one, or an array of them.
    ///
    /// # Errors
    /// [`Error::FaultRule`] for anything else.
    pub fn parse_rules(json: &[u8]) -> Result<Vec<FaultRule>, Error> {
        one_or_many(json).map_err(Error::FaultRule)
    }

    /// Adds customers. A customer with a known id is replaced.
    ///
    /// # Errors
    /// [`Error::CustomersFull`]; the customers before the limit are added.
    pub fn seed(&self, seeds: Vec<SeedCustomer>) -> Result<(), Error> {
        let now = self.0.clock.wall();
        let mut state = self.state();
        seeds
            .into_iter()
            .try_for_each(|seeded| state.customers.seed(seeded, now))
    }

    /// Adds fault rules behind the active ones.
    ///
    /// # Errors
    /// [`Error::RulesFull`]; then no rule is added.
    pub fn inject(&self, rules: Vec<FaultRule>) -> Result<(), Error> {
        self.state().faults.add(rules, self.0.clock.now())
    }

    /// Deletes every rule, an outage included.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Answers 503 without Retry-After to every call for this time. The outage comes before any other rule.
    pub fn outage(&self, span: Duration) {
        self.state().faults.outage(span, self.0.clock.now());
    }

    /// Returns the active fault rules in their original form, and how often each rule fired.
    pub fn faults(&self) -> Value {
        self.state().faults.describe(self.0.clock.now())
    }

    /// Returns at most `limit` received calls with a number above `after`.
    pub fn ledger(&self, after: u64, limit: usize) -> LedgerPage {
        let records = self.state().ledger.page(after, limit);
        records.into_page(after)
    }

    /// Deletes the received calls.
    pub fn clear_ledger(&self) {
        self.state().ledger.clear();
    }

    /// Returns a customer of the sandbox as `{"customer", "customer_history", "updates"}`.
    pub fn customer(&self, id: &str) -> Option<Value> {
        self.state().customers.describe(id)
    }

    /// Returns the sandbox's counts since its start.
    pub fn stats(&self) -> SandboxStats {
        let state = self.state();
        state
            .traffic
            .stats(state.customers.len(), state.ledger.dropped())
    }

    fn new(mut settings: SandboxSettings, clock: Clock) -> Result<Self, Error> {
        let seeds = std::mem::take(&mut settings.seeds);
        let state = SandboxState {
            customers: CustomerTable::default(),
            ledger: CallLedger::new(settings.ledger_max),
            traffic: Traffic::default(),
            faults: FaultRules::new(settings.random_seed),
        };
        let sandbox = Self(Arc::new(SandboxShared {
            settings,
            clock,
            state: Mutex::new(state),
        }));
        sandbox.seed(seeds)?;
        Ok(sandbox)
    }

    fn routes(&self, config: &mut web::ServiceConfig) {
        config
            .app_data(web::Data::new(self.clone()))
            .service(control::scope())
            .default_service(web::to(exchange::serve));
    }

    /// Writes a call into the ledger.
    fn arrive(&self, call: &SandboxCall) -> u64 {
        let mut state = self.state();
        let seq = state.ledger.open(call, self.0.clock.wall());
        state.traffic.arrive(call.operation, self.0.clock.now());
        seq
    }

    /// Decides which faults a call gets.
    fn draw(&self, call: &SandboxCall) -> FaultPlan {
        self.state().faults.draw(call, self.0.clock.now())
    }

    /// Answers as Imprint would, and counts an applied update.
    fn answer(&self, call: &SandboxCall, seq: u64) -> SandboxReply {
        let mut state = self.state();
        let answer = api::answer(
            call,
            &self.0.settings,
            &mut state.customers,
            self.0.clock.wall(),
        );
        match answer.applied {
            UpdateEffect::Changed => {
                state.traffic.apply();
                state.ledger.apply(seq);
            }
            UpdateEffect::Nothing => {}
        }
        answer.reply
    }

    /// Completes the entry of a call in the ledger.
    fn close(&self, seq: u64, status: Option<u16>, fault: Option<&'static str>) {
        self.state().ledger.close(seq, status, fault);
    }

    fn end_call(&self) {
        self.state().traffic.end_call();
    }

    /// Locks the sandbox's state, even after a panic on another thread: the counts are then wrong by at most one.
    fn state(&self) -> MutexGuard<'_, SandboxState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads one value or an array of values. The error is that of the value, not of the choice between the two.
fn one_or_many<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<Vec<T>, serde_json::Error> {
    let value: Value = serde_json::from_slice(json)?;
    if value.is_array() {
        serde_json::from_value(value)
    } else {
        serde_json::from_value(value).map(|one| vec![one])
    }
}
