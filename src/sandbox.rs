//! A stand-in for Imprint: the same operations on the same paths, and faults on request.
//!
//! It serves the command `sandbox`, the `demo`, and the integration tests, which run it in their own process. It is
//! not a model of what Imprint does beyond its documentation: where that is silent, the choice stands in [`SandboxSettings`]
//! or beside the code that makes it.
//!
//! # Imprint's side
//!
//! | call | answer |
//! |---|---|
//! | `POST /v2/customers/{id}` | *update*: merges field by field; 200 Customer, 400, 404 |
//! | `GET /v2/customers/{id}` | *retrieve*: 200 Customer, 404 |
//! | `GET /v2/customers?partner_customer_id=&limit=&starting_after=` | *search*: 200; a blank filter lists everyone |
//! | `POST /v2/customers` | *search* again, with the filter in the body |
//! | anything under `/v2/keys` | 404, and `forbidden` in the ledger: the bridge must never ask for it |
//! | anything else under `/v2` | 404, and `unknown` in the ledger |
//!
//! A key that is not the sandbox's is answered 401 without a body.
//!
//! # The tester's side, without a key
//!
//! | call | effect |
//! |---|---|
//! | `GET /sandbox/ledger?after=SEQ&limit=N` | every call received under `/v2`, in order of arrival |
//! | `DELETE /sandbox/ledger` | forgets them; the sequence goes on |
//! | `GET /sandbox/customers/{id}` | the whole customer, with `customer_history` and the count of updates |
//! | `POST /sandbox/customers` | seeds one customer or an array of them |
//! | `GET /sandbox/stats` | counts: calls, updates applied, in flight, most a second |
//! | `POST /sandbox/faults` | adds one [rule](FaultRule) or an array of them |
//! | `GET /sandbox/faults` | the rules in force, and how often each fired |
//! | `DELETE /sandbox/faults` | ends them all |
//! | `POST /sandbox/outage` `{"for_ms": N}` | 503 without Retry-After to every call, for so long |
//!
//! A rule of faults says whom it concerns (`body_has` is a JSON Pointer), how often and until when, and one action:
//!
//! ```json
//! {"customer": "ID", "method": "POST", "body_has": "/email", "rate": 0.5, "times": 3, "for_ms": 60000, "action": {"status": 503}}
//! ```
//!
//! | action | what the caller meets |
//! |---|---|
//! | `{"status": 503}` | that error |
//! | `{"body": "…", "status": 200}` | that text, labelled as JSON |
//! | `{"latency_ms": 200}` | the answer, later |
//! | `{"hang": true}` | no answer |
//! | `{"lands_after_ms": 1500}` | no answer; the update is made that much later, whoever is still there |
//! | `{"reset": true}` | a TCP reset before the first byte |
//! | `{"endless_body": true}` | a 200 that does not end |
//! | `{"interim": 103, "then_ms": 30}` | a 1xx head, then the answer |
//! | `{"stall_body": true}` | the head of the answer, then silence |
//! | `{"short_body": true}` | half the body of the answer, then the end of the connection |
//! | `{"wrong_id": true}` | the answer, about another customer |
//!
//! With a status go `shape` (`envelope`, `flat`, `invalid_request`, `string`, `html` or `empty`), `type`, `param`,
//! `message`, `location`, and `retry_after`: one text or several, sent verbatim.
//!
//! The last four happen to an update that was made. The others happen instead of it, or after it with
//! `"after": "apply"`; a delay with `"after": "apply"` stands between the update and its answer. Faults strike before
//! the key is looked at. Delays are in real time, whatever the clock; `for_ms` follows the clock.
//!
//! # What always holds
//!
//! The clock is passed in and chance comes from a seed, so that a run can be repeated. Everything has a bound. No lock
//! is held over an await. The ledger keeps what it was sent, personal data included: the sandbox is for made-up
//! customers only.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, web};
use serde_json::Value;

use crate::time::Clock;

use api::{ImprintCall, UpdateEffect};
use customers::CustomerTable;
use faults::{FaultPlan, FaultRules};
use ledger::{Ledger, Traffic};
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
pub use settings::{LEDGER_MAX, Nulls, SandboxSettings, UnknownCustomer};

/// The threads that serve: one is enough for thousands of calls a second, and keeps what is drawn by chance in order.
const WORKERS: usize = 1;
/// Longer than any client keeps a connection, so that the sandbox drops none unless asked to.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Why the sandbox did not do what its owner asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener could not be bound.
    #[error("binding the sandbox to {listen}")]
    Bind {
        /// Where.
        listen: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The thread of a [`BackgroundSandbox`] could not be started.
    #[error("starting the sandbox's thread")]
    Thread(#[source] std::io::Error),
    /// The seed is not a customer or an array of customers.
    #[error("reading the customers to seed")]
    Seed(#[source] serde_json::Error),
    /// There is no room for another customer.
    #[error("the sandbox holds {customers_max} customers at the most")]
    CustomersFull {
        /// The bound.
        customers_max: usize,
    },
    /// The fault is not a rule or an array of rules.
    #[error("reading the rules of faults")]
    FaultRule(#[source] serde_json::Error),
    /// There is no room for another rule.
    #[error("the sandbox holds {rules_max} rules of faults at the most")]
    RulesFull {
        /// The bound.
        rules_max: usize,
    },
}

/// A sandbox that listens. It answers once somebody polls `server`, on any thread that has a runtime.
#[expect(
    missing_debug_implementations,
    reason = "the server it holds has no Debug"
)]
pub struct RunningSandbox {
    /// Where it listens, with the port that was free.
    pub address: SocketAddr,
    /// What it received and holds.
    pub sandbox: Sandbox,
    /// What stops it from any thread: `handle.stop(false)` acts when it is called, its future waits for the end.
    pub handle: ServerHandle,
    /// The server; awaited by the caller, who owns the task.
    pub server: Server,
}

/// What a sandbox received and holds; clones are the same sandbox.
#[derive(Clone)]
pub struct Sandbox(Arc<SandboxShared>);

struct SandboxShared {
    settings: SandboxSettings,
    clock: Clock,
    state: Mutex<SandboxState>,
}

struct SandboxState {
    customers: CustomerTable,
    ledger: Ledger,
    traffic: Traffic,
    faults: FaultRules,
}

/// Never what it holds: it is personal data.
impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Binds the listener; the caller runs what it returns.
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

    /// Reads rules of faults: one, or an array of them.
    ///
    /// # Errors
    /// [`Error::Rule`] for anything else.
    pub fn parse_rules(json: &[u8]) -> Result<Vec<FaultRule>, Error> {
        one_or_many(json).map_err(Error::FaultRule)
    }

    /// Adds customers; one that is there already is replaced.
    ///
    /// # Errors
    /// [`Error::CustomersFull`]; those before the first that found no room are in.
    pub fn seed(&self, seeds: Vec<SeedCustomer>) -> Result<(), Error> {
        let now = self.0.clock.wall();
        let mut state = self.state();
        seeds
            .into_iter()
            .try_for_each(|seeded| state.customers.seed(seeded, now))
    }

    /// Adds rules of faults behind those in force.
    ///
    /// # Errors
    /// [`Error::RulesFull`]; then none is added.
    pub fn inject(&self, rules: Vec<FaultRule>) -> Result<(), Error> {
        self.state().faults.add(rules, self.0.clock.now())
    }

    /// Ends every fault, an outage included.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Answers 503 without Retry-After to every call, for so long; before any other rule.
    pub fn outage(&self, span: Duration) {
        self.state().faults.outage(span, self.0.clock.now());
    }

    /// The rules in force, as they were given, with how often each fired.
    pub fn faults(&self) -> Value {
        self.state().faults.describe(self.0.clock.now())
    }

    /// At most `limit` calls received after the one numbered `after`.
    pub fn ledger(&self, after: u64, limit: usize) -> LedgerPage {
        let records = self.state().ledger.page(after, limit);
        records.into_page(after)
    }

    /// Forgets the calls received so far.
    pub fn clear_ledger(&self) {
        self.state().ledger.clear();
    }

    /// `{"customer", "customer_history", "updates"}` of a customer.
    pub fn customer(&self, id: &str) -> Option<Value> {
        self.state().customers.describe(id)
    }

    /// The counts so far.
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
            ledger: Ledger::new(settings.ledger_max),
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
    fn arrive(&self, call: &ImprintCall) -> u64 {
        let mut state = self.state();
        let seq = state.ledger.open(call, self.0.clock.wall());
        state.traffic.arrive(call.operation, self.0.clock.now());
        seq
    }

    /// Draws what meets a call.
    fn draw(&self, call: &ImprintCall) -> FaultPlan {
        self.state().faults.draw(call, self.0.clock.now())
    }

    /// Lets Imprint's side answer, and keeps what the call changed.
    fn answer(&self, call: &ImprintCall, seq: u64) -> SandboxReply {
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

    /// Writes into the ledger what the caller got.
    fn close(&self, seq: u64, status: Option<u16>, fault: Option<&'static str>) {
        self.state().ledger.close(seq, status, fault);
    }

    fn leave(&self) {
        self.state().traffic.leave();
    }

    /// A panic elsewhere leaves counts at worst one behind, so the lock is taken all the same.
    fn state(&self) -> MutexGuard<'_, SandboxState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads one value, or an array of them; the error is that of the value, not of the choice between the two.
fn one_or_many<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<Vec<T>, serde_json::Error> {
    let value: Value = serde_json::from_slice(json)?;
    if value.is_array() {
        serde_json::from_value(value)
    } else {
        serde_json::from_value(value).map(|one| vec![one])
    }
}
