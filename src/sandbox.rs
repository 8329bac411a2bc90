//! The sandbox simulates Imprint: it has the same operations on the same paths. On request, it also causes faults such
//! as errors, delays and broken connections.
//!
//! The command `sandbox`, the demo and the integration tests use the sandbox. The sandbox models only the behaviour
//! that Imprint documents. If Imprint's documentation does not define a behaviour, a setting in [`SandboxSettings`] or
//! a comment in the code defines the behaviour of the sandbox.
//!
//! # Imprint's API
//!
//! | call | answer |
//! |---|---|
//! | `POST /v2/customers/{id}` | *update*: changes only the fields in the body; 200 with the customer, 400, 404 |
//! | `GET /v2/customers/{id}` | *retrieve*: 200 with the customer, 404 |
//! | `GET /v2/customers?partner_customer_id=&limit=&starting_after=` | *search*: 200; a blank filter lists every customer |
//! | `POST /v2/customers` | *search* with the filter in the body: 200 |
//! | any path under `/v2/keys` | 404, and `forbidden` in the ledger: the bridge must never call this path |
//! | any other path under `/v2` | 404, and `unknown` in the ledger |
//!
//! The sandbox answers 401 without a body to a call whose API key or merchant key is missing or wrong.
//!
//! # The tester's API, which needs no key
//!
//! | call | effect |
//! |---|---|
//! | `GET /sandbox/ledger?after=SEQ&limit=N` | lists the calls received under `/v2`, in order of arrival |
//! | `DELETE /sandbox/ledger` | deletes the calls in the ledger; the number of the next call does not restart at 1 |
//! | `GET /sandbox/customers/{id}` | returns the whole customer, with `customer_history` and the number of updates |
//! | `POST /sandbox/customers` | adds one customer or an array of customers |
//! | `GET /sandbox/stats` | returns counts: calls, applied updates, calls in flight, maximum calls per second |
//! | `POST /sandbox/faults` | adds one [fault rule](FaultRule) or an array of fault rules |
//! | `GET /sandbox/faults` | lists the active fault rules, with the number of times that each rule fired |
//! | `DELETE /sandbox/faults` | deletes all fault rules |
//! | `POST /sandbox/outage` `{"for_ms": N}` | answers 503 without Retry-After to every call for N ms |
//!
//! A fault rule has conditions that a call must meet, a probability (`rate`), an end (`times` or `for_ms`), and one
//! action. The condition `body_has` is a JSON Pointer. A call meets this condition if its body has a value at this
//! place:
//!
//! ```json
//! {"customer": "ID", "method": "POST", "body_has": "/email", "rate": 0.5, "times": 3, "for_ms": 60000, "action": {"status": 503}}
//! ```
//!
//! | action | effect for the caller |
//! |---|---|
//! | `{"status": 503}` | an error answer with this status |
//! | `{"body": "…", "status": 200}` | an answer with this text as the body, labelled as JSON |
//! | `{"latency_ms": 200}` | the real answer, after this delay |
//! | `{"hang": true}` | no answer |
//! | `{"lands_after_ms": 1500}` | no answer; the sandbox makes the update after this time, even if the caller hung up |
//! | `{"reset": true}` | a TCP reset before the first byte of an answer |
//! | `{"endless_body": true}` | an answer 200 whose body does not end |
//! | `{"interim": 103, "then_ms": 30}` | a 1xx head, then the real answer |
//! | `{"stall_body": true}` | the head of the real answer, then silence |
//! | `{"short_body": true}` | half the body of the real answer, then the end of the connection |
//! | `{"wrong_id": true}` | the real answer, with the id of another customer |
//!
//! The action `status` can also have the members `shape` (`envelope`, `flat`, `invalid_request`, `string`, `html` or
//! `empty`), `type`, `param`, `message`, `location` and `retry_after`. The member `retry_after` is one string or a list
//! of strings, which the sandbox sends verbatim. With the member `lands_after_ms`, the sandbox first sends the error
//! answer, and makes the update after this time.
//!
//! For the actions `interim`, `stall_body`, `short_body` and `wrong_id`, the sandbox makes the update before the fault.
//! For the actions `status`, `body`, `hang`, `reset` and `endless_body`, the sandbox makes no update. If such an action
//! has the member `"after": "apply"`, the sandbox makes the update before the fault. The delay `latency_ms` comes
//! before the update. If `latency_ms` has the member `"after": "apply"`, the delay comes between the update and the
//! answer. The sandbox applies faults before it checks the API key. Delays and `for_ms` use the sandbox's clock.
//!
//! # Invariants
//!
//! The sandbox gets its clock from the caller and its random numbers from a seed, so a test can repeat a run. The
//! sandbox limits the numbers of customers, of fault rules and of ledger entries. The sandbox holds no lock across an
//! await. The ledger keeps every request with its personal data: use made-up customers only.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, web};
use serde::de::{DeserializeOwned, Error as _};
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
mod seed;
mod settings;
mod socket;

#[cfg(test)]
mod tests;

pub use api::{Authorization, Operation};
pub use background::BackgroundSandbox;
pub use faults::FaultRule;
pub use ledger::{LedgerEntry, LedgerPage, SandboxStats};
pub use seed::SeedCustomer;
pub use settings::{LEDGER_MAX, Nulls, SandboxSettings, UnseededCustomer};

/// The number of the sandbox's server threads. One thread serves thousands of calls per second. With one thread, calls
/// use the random numbers of the faults in the order in which they arrive.
const WORKERS: usize = 1;
/// The time after which the sandbox closes an idle connection. Every client closes its idle connections earlier, so the
/// sandbox never closes a connection except as a fault.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The reason why an operation on the sandbox failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sandbox cannot listen on the configured address.
    #[error("binding the sandbox to {listen}")]
    Bind {
        listen: SocketAddr,
        source: std::io::Error,
    },
    /// The sandbox cannot start the thread of a [`BackgroundSandbox`].
    #[error("starting the sandbox's thread")]
    Thread(#[source] std::io::Error),
    /// The JSON of the customers to add is neither a customer nor an array of customers.
    #[error("reading the customers to seed")]
    Seed(#[source] serde_json::Error),
    /// The sandbox already has the maximum number of customers.
    #[error("the sandbox holds at most {customers_max} customers")]
    CustomersFull { customers_max: usize },
    /// The JSON is neither a fault rule nor an array of fault rules.
    #[error("reading the fault rules")]
    FaultRule(#[source] serde_json::Error),
    /// The sandbox would have more than the maximum number of fault rules.
    #[error("the sandbox holds at most {rules_max} fault rules")]
    RulesFull { rules_max: usize },
}

/// A sandbox with a bound listener. The sandbox answers only while the caller polls `server`. The caller can do this on
/// any thread with an async runtime.
#[expect(
    missing_debug_implementations,
    reason = "the server it holds has no Debug"
)]
pub struct RunningSandbox {
    /// The address on which the sandbox listens.
    pub address: SocketAddr,
    /// The sandbox's state: received calls, customers and faults.
    pub sandbox: Sandbox,
    /// The handle that stops the server from any thread. A call of `handle.stop(false)` stops the server at once. The
    /// returned future waits until the server has stopped.
    pub handle: ServerHandle,
    /// The future that runs the sandbox's server. The caller must poll this future.
    pub server: Server,
}

/// The state of a sandbox: received calls, customers and faults. All clones share the same state.
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

/// The debug output shows no state of the sandbox, because the state contains personal data.
impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Binds the sandbox's listener. Afterwards the caller must poll the returned server.
    ///
    /// # Errors
    /// Returns [`Error::Bind`] if the sandbox cannot listen on the address. Returns [`Error::CustomersFull`] if the
    /// settings contain too many customers.
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

    /// Parses one customer to add, or an array of customers.
    ///
    /// # Errors
    /// Returns [`Error::Seed`] for JSON that is neither a customer nor an array, and for a customer with an unknown
    /// field.
    pub fn parse_seed(json: &[u8]) -> Result<Vec<SeedCustomer>, Error> {
        one_or_many(json).map_err(Error::Seed)
    }

    /// Parses one fault rule, or an array of fault rules.
    ///
    /// # Errors
    /// Returns [`Error::FaultRule`] for JSON that is neither a fault rule nor an array of fault rules.
    pub fn parse_rules(json: &[u8]) -> Result<Vec<FaultRule>, Error> {
        one_or_many(json).map_err(Error::FaultRule)
    }

    /// Adds customers to the sandbox. An added customer replaces a customer with the same id.
    ///
    /// # Errors
    /// Returns [`Error::CustomersFull`] if the sandbox has the maximum number of customers. The sandbox keeps the
    /// customers that it added before the error.
    pub fn seed(&self, seeds: Vec<SeedCustomer>) -> Result<(), Error> {
        let now = self.0.clock.wall();
        let mut state = self.state();
        seeds
            .into_iter()
            .try_for_each(|seeded| state.customers.seed(seeded, now))
    }

    /// Adds fault rules at the end of the list of active rules.
    ///
    /// # Errors
    /// If the sandbox would have too many rules, adds no rule and returns [`Error::RulesFull`].
    pub fn inject(&self, rules: Vec<FaultRule>) -> Result<(), Error> {
        self.state().faults.add(rules, self.0.clock.now())
    }

    /// Deletes every fault rule, including an outage.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Makes the sandbox answer every call with 503 without Retry-After for the time `span`. During this time, no other
    /// fault rule has an effect.
    pub fn outage(&self, span: Duration) {
        self.state().faults.outage(span, self.0.clock.now());
    }

    /// Returns the active fault rules in their original form, with the number of times that each rule fired.
    pub fn faults(&self) -> Value {
        self.state().faults.describe(self.0.clock.now())
    }

    /// Returns at most `limit` calls of the ledger whose number is greater than `after`.
    pub fn ledger(&self, after: u64, limit: usize) -> LedgerPage {
        let records = self.state().ledger.page(after, limit);
        records.into_page(after)
    }

    /// Deletes all calls in the ledger.
    pub fn clear_ledger(&self) {
        self.state().ledger.clear();
    }

    /// Returns a customer of the sandbox as `{"customer", "customer_history", "updates"}`.
    pub fn customer(&self, id: &str) -> Option<Value> {
        self.state().customers.describe(id)
    }

    /// Returns the counts that the sandbox has kept since its start.
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

    /// Adds a received call to the ledger, and returns the number of the call.
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

    /// Answers a call as Imprint would, and counts an update that changed a customer.
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

    /// Adds the status of the answer and the name of the fault to the call's entry in the ledger.
    fn close(&self, seq: u64, status: Option<u16>, fault: Option<&'static str>) {
        self.state().ledger.close(seq, status, fault);
    }

    fn end_call(&self) {
        self.state().traffic.end_call();
    }

    /// Locks the sandbox's state. After a panic of a thread that held the lock, a count is possibly wrong by one.
    fn state(&self) -> MutexGuard<'_, SandboxState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parses one JSON value or an array of values. An error in an array has the number of the item.
fn one_or_many<T: DeserializeOwned>(json: &[u8]) -> Result<Vec<T>, serde_json::Error> {
    let value: Value = serde_json::from_slice(json)?;
    let Value::Array(items) = value else {
        return serde_json::from_value(value).map(|one| vec![one]);
    };
    let parsed = (1_u64..).zip(items).map(|(number, item)| {
        let in_list =
            |error| serde_json::Error::custom(format!("item {number} of the list: {error}"));
        serde_json::from_value(item).map_err(in_list)
    });
    parsed.collect()
}
