//! Imprint Bridge accepts customer change events over HTTP, keeps the events in a durable outbox, and delivers the
//! changes to Imprint.
//!
//! # The flow of an event
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
//! - The bridge answers 2xx only after the event is on disk. Delivery is at least once.
//! - Each customer has at most one request in flight, and an older value never overwrites a newer value.
//! - If the destination (Imprint) fails, the bridge stops sending, and all entries wait. If one entry causes a failure,
//!   the bridge parks only this entry: an operator must decide about it.
//! - The rooms `ingress` and `dispatch` never use each other. Only the room `outbox` connects the two rooms.
//! - Personal data and keys appear only in requests to Imprint and in the store.
//!
//! # The rooms
//!
//! A room is a top-level module. The test `tests/it/tidy.rs` lists, for each room, the rooms that this room may use. A
//! pure room has no IO, no clock and no random numbers: its functions take `now` and `jitter` as arguments.
//!
//! | room | what it does | pure? |
//! |---|---|---|
//! | `cli` | the commands, with one file for each command | |
//! | `demo` | a simulated CRM, and a check of the final values at the simulated Imprint | |
//! | `sender` | a client that sends events to a bridge | |
//! | `sandbox` | a server that simulates Imprint | |
//! | `app` | starts and connects the parts of the bridge: listeners, watched files, tasks, shutdown | |
//! | `config` | reads settings and sources, and reports every error at once | |
//! | `ingress` | HTTP of the event route: body, authentication, problem documents, receipts | |
//! | `ops` | the second listener: health checks, metrics, the operator's use cases, the admin API | |
//! | `console` | the operator's pages on the second listener | |
//! | `dispatch` | sends waiting entries: a pure core that decides, and an async shell that acts | core pure |
//! | `outbox` | the durable store of entries: traits, vocabulary, encoding, and the storage engines | |
//! | `imprint` | Imprint's vocabulary, the trait `ImprintApi`, and the HTTP client for Imprint | |
//! | `draft` | drafts the files of a new source from sample bodies | pure |
//! | `intake` | turns bytes and headers into entries or a rejection | pure |
//! | `mapping` | compiles and runs the expressions that turn an event into an update | pure |
//! | `fold` | orders values by version and folds waiting entries into one request | pure |
//! | `event` | change events, CloudEvents, and JSON values that know their path in the event | pure |
//! | `backoff` | the delay before the next attempt | pure |
//! | `http` | shared HTTP pieces: client pool, `Retry-After`, problem documents | |
//! | `metrics` | every metric with its labels | |
//! | `notices` | decides which notices the bridge sends to the webhook of the operators | pure |
//! | `traces` | collects the spans of events for a collector of OpenTelemetry | |
//! | `telemetry` | the log of the process | |
//! | `terminal` | the output of commands | |
//! | `spelling` | finds the known name that a misspelt name probably means | pure |
//! | `sealing` | encrypts the records of the store, and the keys for this | pure |
//! | `shutdown` | the signal to stop the process | |
//! | `confinement` | takes away the rights that the running bridge does not need: Landlock and seccomp | |
//! | `core_dump` | keeps the memory of the process out of core dumps | |
//! | `failpoint` | crashes and faults for tests; a release contains no failpoints | |
//! | `random` | the random source | |
//! | `reference` | the explanations of all messages, and the page with all messages and bounds | pure |
//! | `time` | the clock and timestamps | |
//!
//! # Words that are not used
//!
//! | word that is not used | word that this code uses instead |
//! |---|---|
//! | *message*, *job* | *event* before the bridge stores the event, *entry* afterwards |
//! | *record* without "audit" | *audit record* for a record of the audit log |
//! | *dead letter* | *parked* |
//! | *queue* of one customer | *lane* |
//! | *upstream* for Imprint, *partner* for Imprint | *destination* |
//! | *leaf* | *field* |
//! | *fact* | *value* |
//!
//! # Absent on purpose
//!
//! The bridge intentionally does not have several destinations, exactly-once delivery, an embedded scripting language
//! with IO, or its own clustering. The bridge intentionally does not create or delete customers at Imprint. The bridge
//! intentionally does not store Imprint's answers.

pub mod app;
pub mod backoff;
pub mod cli;
pub mod config;
pub mod confinement;
pub mod console;
pub mod core_dump;
#[cfg(feature = "sandbox")]
mod demo;
pub mod dispatch;
pub mod draft;
pub mod event;
mod failpoint;
pub mod fold;
pub mod http;
pub mod imprint;
pub mod ingress;
pub mod intake;
pub mod mapping;
pub mod metrics;
pub mod notices;
pub mod ops;
pub mod outbox;
pub mod random;
pub mod reference;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod sealing;
mod sender;
pub mod shutdown;
mod spelling;
pub mod telemetry;
mod terminal;
pub mod time;
pub mod traces;
