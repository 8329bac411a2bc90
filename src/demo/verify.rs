//! Holds the end against what was promised: every accepted event has ended, and every customer is right.

use futures_util::{StreamExt as _, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::expectations::Expectations;
use crate::http::client::HttpClient;
use crate::outbox::State;
use crate::sandbox::Sandbox;
use crate::sender::fetch;

/// How many receipts are asked for at once.
const CONCURRENCY: usize = 32;
/// The longest receipt.
const RECEIPT_BYTES_MAX: usize = 16 * 1024;

/// How the accepted events ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FinalStates {
    pub(super) delivered: u64,
    pub(super) superseded: u64,
    pub(super) ignored: u64,
    pub(super) parked: u64,
}

impl FinalStates {
    pub(super) const fn sum(self) -> u64 {
        self.delivered
            .saturating_add(self.superseded)
            .saturating_add(self.ignored)
            .saturating_add(self.parked)
    }

    /// Counts a state by its word; says what is wrong with it if it is no ending of the demo.
    fn count(&mut self, state: &str) -> Result<(), &'static str> {
        let count = match State::ALL.into_iter().find(|known| known.as_str() == state) {
            Some(State::Delivered) => &mut self.delivered,
            Some(State::Superseded) => &mut self.superseded,
            Some(State::Ignored) => &mut self.ignored,
            Some(State::Parked) => &mut self.parked,
            Some(State::Waiting | State::Held | State::Undecided) => return Err("still waits"),
            Some(State::Discarded) => return Err("was discarded, and nobody did that"),
            None => return Err("is in a state that nobody knows"),
        };
        *count = count.saturating_add(1);
        Ok(())
    }
}

#[derive(Deserialize)]
struct ReceiptStatus {
    status: String,
}

/// Asks for the receipt of every accepted event.
pub(super) async fn final_states(
    http: &HttpClient,
    events_url: &str,
    expectations: &Expectations,
    wrong: &mut Vec<String>,
) -> FinalStates {
    let mut receipts = stream::iter(&expectations.accepted)
        .map(|id| async move {
            let segment = utf8_percent_encode(id, NON_ALPHANUMERIC);
            let url = format!("{events_url}/{segment}");
            let receipt = fetch(http, &url, RECEIPT_BYTES_MAX).await.ok();
            let receipt =
                receipt.and_then(|body| serde_json::from_slice::<ReceiptStatus>(&body).ok());
            (id, receipt)
        })
        .buffer_unordered(CONCURRENCY);
    let mut final_states = FinalStates::default();
    while let Some((id, receipt)) = receipts.next().await {
        let counted = match receipt {
            Some(receipt) => final_states.count(&receipt.status),
            None => Err("has no receipt"),
        };
        if let Err(what) = counted {
            wrong.push(format!("event {id} {what}"));
        }
    }
    final_states
}

/// Compares every customer with the newest facts that were accepted of them.
pub(super) fn customers(sandbox: &Sandbox, expectations: &Expectations, wrong: &mut Vec<String>) {
    for (id, expected) in &expectations.newest {
        match sandbox.customer(id) {
            None => wrong.push(format!("customer {id} is unknown to Imprint")),
            Some(found) => {
                let differences = expected.values.differences(&found);
                if !differences.is_empty() {
                    wrong.push(format!(
                        "customer {id} is not as of revision {}: {}",
                        expected.revision,
                        differences.join(", ")
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_endings_count() {
        let mut final_states = FinalStates::default();
        for (state, counts) in [
            ("delivered", true),
            ("superseded", true),
            ("ignored", true),
            ("parked", true),
            ("waiting", false),
            ("discarded", false),
            ("lost", false),
        ] {
            assert_eq!(final_states.count(state).is_ok(), counts, "{state}");
        }
        assert_eq!(final_states.sum(), 4);
    }
}
