//! The integration tests: the suites of the ports, and the service as senders, operators and Imprint see it.
//!
//! Doc comments cite fault codes: `FAULTS P01, D05`. tests/FAULTS.md lists them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an unexpected value fails the test"
)]

mod client;
mod commands;
mod delivery;
mod examples;
mod flow;
mod kill;
mod mapping;
mod operator;
mod outbox_suite;
mod scenarios;
mod senders;
mod signed;
mod simulation;
mod stop;
mod tidy;

mod http;
mod process;
mod raw_imprint;
mod support;
