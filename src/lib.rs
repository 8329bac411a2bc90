//! Imprint Bridge accepts customer change events over HTTP, keeps them in a durable outbox, and delivers them to
//! Imprint.
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
//! - The bridge answers 2xx only after the event is on disk. Delivery is at least once.
//! - Each customer has at most one request in flight, and an older value never overwrites a newer value.
//! - A failure of the destination stops sending and ends no entry. A failure caused by one entry parks only this entry.
//! - `ingress` and `dispatch` never use each other: only the outbox connects these two rooms.
//! - Personal data and keys appear only in requests to Imprint and in the store.
//!
//! # The rooms
//!
//! A room may use only the rooms that `tests/it/tidy.rs` allows. Pure rooms have no IO, no clock and no random numbers:
//! pure functions take `now` and `jitter` as arguments.
//!
//! | room | what it does | |
//! |---|---|---|
//! | `cli` | the commands, one file each | |
//! | `demo` | a simulated CRM, and the check of the result at Imprint | |
//! | `sender` | a client that sends events to a bridge | |
//! | `sandbox` | a server that simulates Imprint | |
//! | `app` | wires the parts: listeners, watched files, tasks, shutdown | |
//! | `config` | reads settings and sources, and reports every error at once | |
//! | `ingress` | HTTP of the event route: body, authentication, problems, receipts | |
//! | `ops` | the second listener: health, metrics, the operator's use cases and the admin API | |
//! | `dispatch` | sends waiting entries: a pure core that decides, and an async shell that acts | core pure |
//! | `outbox` | the durable store: ports, vocabulary, codec, engines | |
//! | `imprint` | Imprint's vocabulary, the port `ImprintApi`, and the HTTP client for Imprint | |
//! | `intake` | turns bytes and headers into entries or a rejection | pure |
//! | `mapping` | compiles and runs the expressions that turn an event into an update | pure |
//! | `fold` | orders values by version and folds waiting entries into one request | pure |
//! | `event` | change events, CloudEvents, JSON with the place of each value | pure |
//! | `backoff` | the delay before the next attempt | pure |
//! | `http` | shared HTTP pieces: client pool, Retry-After, problem document | |
//! | `metrics` | every metric with its labels | |
//! | `telemetry` | the log of the process | |
//! | `terminal` | the output of commands | |
//! | `shutdown` | the signal to stop the process | |
//! | `failpoint` | crashes and faults for tests; not part of a release | |
//! | `random` | the random source | |
//! | `time` | the clock and timestamps | |
//!
//! # Words that are not used
//!
//! This code does not use these words; the word in parentheses is used instead: *message* and *job* (*event* before the
//! bridge stores it, *entry* afterwards), *record* without "audit" (*audit record*), *dead letter* (*parked*), *queue*
//! of one customer (*lane*), *upstream* and *partner* for Imprint (*destination*), *leaf* (*field*), and *fact*
//! (*value*).
//!
//! # Absent on purpose
//!
//! The bridge intentionally does not have several destinations, exactly-once delivery, an embedded scripting language
//! with IO, or its own clustering. The bridge does not create or delete Imprint customers, and does not store Imprint's
//! answers.

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
