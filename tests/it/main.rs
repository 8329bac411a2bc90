//! Everything that is seen from outside: the ports' suites, and the service through its front door.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected is to end there"
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
