//! Verifies the result of the demo: every accepted event must be in a final state, and every customer at Imprint must
//! have the newest values.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::expectations::Expectations;
use crate::http::client::{ExchangeLimits, HttpClient};
use crate::http::{Method, StatusCode};
use crate::outbox::State;
use crate::sandbox::Sandbox;

/// The maximum number of receipts that the demo requests at once.
const CONCURRENCY: usize = 32;
/// The maximum length of a receipt.
const RECEIPT_BYTES_MAX: usize = 16 * 1024;
/// The limits of a request for a receipt.
const LIMITS: ExchangeLimits = ExchangeLimits {
    deadline: Duration::from_secs(30),
    body_bytes_max: RECEIPT_BYTES_MAX,
};

/// The number of accepted events by final state.
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

    /// Adds 1 to the count of the final state with this name. Returns the reason as an error if the demo does not
    /// expect this state.
    fn count(&mut self, state: &str) -> Result<(), &'static str> {
        let count = match State::ALL.into_iter().find(|known| known.as_str() == state) {
            Some(State::Delivered) => &mut self.delivered,
            Some(State::Superseded) => &mut self.superseded,
            Some(State::Ignored) => &mut self.ignored,
            Some(State::Parked) => &mut self.parked,
            Some(State::Waiting | State::Held | State::Undecided) => {
                return Err("is still waiting");
            }
            Some(State::Discarded) => return Err("is discarded, but no operator discarded it"),
            None => return Err("is in an unknown state"),
        };
        *count = count.saturating_add(1);
        Ok(())
    }
}

#[derive(Deserialize)]
struct ReceiptStatus {
    status: String,
}

/// Reads the receipts of all accepted events, and counts the events by final state.
pub(super) async fn count_final_states(
    http: &HttpClient,
    events_url: &str,
    expectations: &Expectations,
    errors: &mut Vec<String>,
) -> FinalStates {
    let mut receipts = stream::iter(&expectations.accepted)
        .map(|id| async move {
            let segment = utf8_percent_encode(id, NON_ALPHANUMERIC);
            let url = format!("{events_url}/{segment}");
            (id, receipt(http, &url).await)
        })
        .buffer_unordered(CONCURRENCY);
    let mut final_states = FinalStates::default();
    while let Some((id, receipt)) = receipts.next().await {
        let counted = match receipt {
            Some(receipt) => final_states.count(&receipt.status),
            None => Err("has no receipt"),
        };
        if let Err(error) = counted {
            errors.push(format!("event {id} {error}"));
        }
    }
    final_states
}

/// Reads the receipt at a URL. Returns `None` if the bridge has no receipt there.
async fn receipt(http: &HttpClient, url: &str) -> Option<ReceiptStatus> {
    let request = http.request(Method::GET, url);
    let response = request.send(Vec::new(), LIMITS).await.ok()?;
    if response.status != StatusCode::OK {
        return None;
    }
    serde_json::from_slice(&response.body?).ok()
}

/// Compares every customer at Imprint with the newest accepted update of the customer.
pub(super) fn compare_customers(
    sandbox: &Sandbox,
    expectations: &Expectations,
    errors: &mut Vec<String>,
) {
    for (id, expected) in &expectations.newest {
        match sandbox.customer(id) {
            None => errors.push(format!("customer {id} does not exist at Imprint")),
            Some(found) => {
                let differences = expected.values.differences(&found);
                if !differences.is_empty() {
                    errors.push(format!(
                        "customer {id} does not have the values of revision {}: {}",
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
    fn only_final_states_are_counted() {
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
