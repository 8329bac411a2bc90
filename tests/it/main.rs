//! The integration tests: the test suite of the outbox ports, and tests of the service from the view of senders,
//! operators and Imprint.
//!
//! The doc comments of tests cite fault codes, such as `FAULTS P01, D05`. tests/FAULTS.md lists all fault codes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an unexpected value fails the test"
)]

mod absence;
mod authentication;
mod authors;
mod brake;
mod browser;
mod cases;
mod client;
mod clock;
mod commands;
mod confinement;
mod console;
mod core_dump;
mod customer;
mod delivery;
mod diff;
mod doubt;
mod egress;
mod erasure;
mod examples;
mod explained;
mod fairness;
mod flow;
mod gateway;
mod guide;
mod hanging;
mod hints;
mod hostile;
mod identity;
mod keep;
mod key_rotation;
mod kill;
mod leaks;
mod log;
mod mapping;
mod messages;
mod new_source;
mod notices;
mod openapi;
mod operator;
mod outbox_suite;
mod partial;
mod production;
mod proof;
mod readers;
mod request_headers;
mod scenarios;
mod sealing;
mod secret_files;
mod senders;
mod signed;
mod simulation;
mod skip;
mod split;
mod stop;
mod store_copy;
mod store_files;
mod tidy;
mod traces;
mod upstream;
mod verify_remedies;
mod versions;
mod waits;

mod http;
mod postgres;
mod postgres_bridge;
mod postgres_clock;
mod postgres_crash;
mod postgres_proof;
mod postgres_proxy;
mod postgres_signals;
mod process;
mod raw_imprint;
mod refused;
mod refused_customers;
mod reload;
mod support;
