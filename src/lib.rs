//! Imprint Bridge accepts customer change events over HTTP, keeps them in a durable outbox, and delivers them to Imprint.
//!
//! # The flow, one direction
//!
//! ```text
//! bytes ─ingress→ authentic bytes ─intake→ update ─outbox.append→ 202
//!         HTTP, auth      decode, schema, map    │ the durable line
//! decision ←policy─ outcome ←imprint─ request ←fold─ lane ←outbox.claim
//!     └→ outbox.settle: delivered │ superseded │ ignored │ retry at t │ parked
//! ```
//!
//! # Invariants
//!
//! - A 2xx answer is sent only after the event is on disk. Delivery is at least once.
//! - Each customer has at most one request in flight, and an older value never overwrites a newer one.
//! - A failure of the destination stops sending and ends no entry. A failure caused by one entry parks only that entry.
//! - `ingress` and `dispatch` never name each other: only the outbox connects them.
//! - Personal data and keys appear in the request to Imprint and in the store, and nowhere else.
//!
//! # The rooms
//!
//! A room may name only the rooms that `tests/it/tidy.rs` allows. Pure rooms have no IO, no clock and no random numbers:
//! `now` and `jitter` are arguments.
//!
//! | room | what it does | |
//! |---|---|---|
//! | `cli` | the commands, one file each | |
//! | `demo` | a simulated CRM and the check of what it sent | |
//! | `sender` | a client that sends events to a bridge | |
//! | `sandbox` | a server that stands in for Imprint | |
//! | `app` | wires the parts: listeners, watched files, tasks, shutdown | |
//! | `config` | reads settings and sources, and reports every error at once | |
//! | `ingress` | HTTP of the event route: body, authentication, problems, receipts | |
//! | `ops` | the second listener: health, metrics, the operator's use cases and their API | |
//! | `dispatch` | sends what waits: a pure core that decides, and an async shell that acts | core pure |
//! | `outbox` | the durable store: ports, vocabulary, codec, engines | |
//! | `imprint` | Imprint's vocabulary, the port `ImprintApi`, and its HTTP client | |
//! | `intake` | turns bytes and headers into entries or a rejection | pure |
//! | `mapping` | compiles and runs the expressions that turn an event into an update | pure |
//! | `fold` | orders values by version and folds waiting entries into one request | pure |
//! | `event` | change events, CloudEvents, JSON with places | pure |
//! | `backoff` | the delay before the next try | pure |
//! | `http` | shared HTTP pieces: client pool, Retry-After, problem document | |
//! | `metrics` | every metric and its labels | |
//! | `telemetry` | logs | |
//! | `terminal` | output of commands | |
//! | `shutdown` | the order to stop | |
//! | `failpoint` | crashes and faults for tests; not in a release | |
//! | `random` | the random source | |
//! | `time` | the clock and timestamps | |
//!
//! # Words that are not used
//!
//! *Message* and *job* (an *event* before it is stored, an *entry* afterwards), *record* (an audit record), *dead letter*
//! (*parked*), *queue* for one customer (*lane*), *upstream* and *partner* for Imprint (*destination*, or Imprint),
//! *leaf* and *fact* (*field* and *value*).
//!
//! # Absent on purpose
//!
//! Several destinations, exactly-once delivery, an embedded scripting language with IO, a home-made cluster, creating or
//! deleting Imprint customers, storing Imprint's answers.

pub mod app;
pub mod backoff;
pub mod cli;
pub mod config;
mod demo;
pub mod dispatch;
pub mod event;
mod failpoint;
pub mod fold;
pub mod http;
pub mod imprint;
pub mod ingress;
pub mod intake;
pub mod mapping;
pub mod metrics;
pub mod ops;
pub mod outbox;
pub mod random;
pub mod sandbox;
mod sender;
pub mod shutdown;
pub mod telemetry;
mod terminal;
pub mod time;
