//! The sandbox of the kill test runs in a thread of the test process, so no kill ends the sandbox, and a test can read
//! the sandbox's ledger directly.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt::System;
use imprint_bridge::sandbox::{LedgerEntry, Sandbox, SandboxSettings};
use imprint_bridge::time::Clock;
use serde_json::Value;

/// The maximum number of calls in the sandbox's ledger: more than the longest kill test makes, because a ledger with a
/// gap would prove nothing.
const LEDGER_MAX: usize = 2_000_000;

/// A running sandbox, which stops when the `Imprint` value is dropped.
pub(crate) struct Imprint {
    pub(crate) address: SocketAddr,
    pub(crate) sandbox: Sandbox,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Imprint {
    /// Starts a sandbox with these fault rules, which answers after `latency`.
    pub(crate) fn start(latency: Duration, seed: u64, faults: &Value) -> Self {
        let mut settings = SandboxSettings::new(([127, 0, 0, 1], 0).into(), "kill-key".into());
        settings.latency = latency;
        settings.random_seed = seed;
        settings.ledger_max = LEDGER_MAX;
        let (started, wait_for_start) = mpsc::channel();
        let serve = move || {
            System::new().block_on(async {
                let running = Sandbox::start(settings, Clock::machine()).unwrap();
                started
                    .send((running.address, running.sandbox, running.handle))
                    .unwrap();
                running.server.await.unwrap();
            });
        };
        let thread = std::thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(serve)
            .unwrap();
        let (address, sandbox, handle) = wait_for_start.recv().unwrap();
        let rules = Sandbox::parse_rules(faults.to_string().as_bytes()).unwrap();
        sandbox.inject(rules).unwrap();
        Self {
            address,
            sandbox,
            handle,
            thread: Some(thread),
        }
    }

    /// Returns every call that the sandbox received, in order of arrival.
    pub(crate) fn calls(&self) -> Vec<LedgerEntry> {
        let page = self.sandbox.ledger(0, usize::MAX);
        assert_eq!(page.dropped, 0, "the ledger is too small for this test");
        page.entries
    }
}

impl Drop for Imprint {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            // The sandbox thread has already printed its panic. A second panic while dropping would hide the failure
            // of the test.
            let _ended = thread.join();
        }
    }
}
