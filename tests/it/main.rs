//! Everything that is seen from outside: the ports' suites, and the service through its front door.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that meets the unexpected is to end there"
)]

mod kill;
mod outbox_suite;
mod senders;
mod tidy;
