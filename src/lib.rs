//! Imprint Bridge takes customer change events from internal systems, keeps them, and brings them to Imprint.
//!
//! # The flow, one direction
//!
//! ```text
//! bytes ─ingress→ authentic bytes ─schema→ event ─mapping→ update ─outbox.append→ 202
//!                                                              │ the durable line
//! decision ←policy─ outcome ←imprint─ request ←fold─ lane ←outbox.claim
//!     └→ outbox.settle: delivered │ superseded │ ignored │ again at t │ parked
//! ```
//!
//! # What always holds
//!
//! - An event is answered 2xx only after it is on disk. Delivery is at least once.
//! - One request in flight a customer; older facts never overwrite newer ones.
//! - A fault of the destination stops sending and ends no entry; a fault of one entry parks that entry only.
//! - `ingress` and `dispatch` never name each other; the outbox is all that lies between them.
//! - Personal data and keys are in the request to Imprint and in the store, and nowhere else.
//!
//! # Words that are not used
//!
//! *Message* and *job* (it is an event before the durable line and an entry behind it; the *record* is what operators
//! did), *dead letter* (it is parked), *queue* for a lane, *upstream* (it is the destination, or Imprint).
//!
//! # Absent on purpose
//!
//! Several destinations, exactly-once delivery, scripting with IO, a home-made cluster, creating or deleting Imprint
//! customers, storing what Imprint answers.

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
pub mod mapping;
pub mod metrics;
pub mod ops;
pub mod outbox;
pub mod random;
pub mod sandbox;
pub mod schema;
mod sender;
pub mod shutdown;
pub mod telemetry;
mod terminal;
pub mod time;
