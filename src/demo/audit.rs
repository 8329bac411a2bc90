//! Holds the end against what was promised: every accepted event has ended, and every customer is right.

use futures_util::{StreamExt as _, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::books::Books;
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
pub(super) struct Endings {
    pub(super) delivered: u64,
    pub(super) superseded: u64,
    pub(super) ignored: u64,
    pub(super) parked: u64,
}

impl Endings {
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
            Some(State::Waiting) => return Err("still waits"),
            Some(State::Discarded) => return Err("was discarded, and nobody did that"),
            None => return Err("is in a state that nobody knows"),
        };
        *count = count.saturating_add(1);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Receipt {
    status: String,
}

/// Asks for the receipt of every accepted event.
pub(super) async fn endings(
    http: &HttpClient,
    events_url: &str,
    books: &Books,
    wrong: &mut Vec<String>,
) -> Endings {
    let mut receipts = stream::iter(&books.accepted)
        .map(|id| async move {
            let segment = utf8_percent_encode(id, NON_ALPHANUMERIC);
            let url = format!("{events_url}/{segment}");
            let receipt = fetch(http, &url, RECEIPT_BYTES_MAX).await.ok();
            let receipt = receipt.and_then(|body| serde_json::from_slice::<Receipt>(&body).ok());
            (id, receipt)
        })
        .buffer_unordered(CONCURRENCY);
    let mut endings = Endings::default();
    while let Some((id, receipt)) = receipts.next().await {
        let counted = match receipt {
            Some(receipt) => endings.count(&receipt.status),
            None => Err("has no receipt"),
        };
        if let Err(what) = counted {
            wrong.push(format!("event {id} {what}"));
        }
    }
    endings
}

/// Compares every customer with the newest facts that were accepted of them.
pub(super) fn customers(sandbox: &Sandbox, books: &Books, wrong: &mut Vec<String>) {
    for (id, claim) in &books.newest {
        match sandbox.customer(id) {
            None => wrong.push(format!("customer {id} is unknown to Imprint")),
            Some(found) => {
                let differences = claim.facts.differences(&found);
                if !differences.is_empty() {
                    wrong.push(format!(
                        "customer {id} is not as of revision {}: {}",
                        claim.revision,
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
        let mut endings = Endings::default();
        for (state, counts) in [
            ("delivered", true),
            ("superseded", true),
            ("ignored", true),
            ("parked", true),
            ("waiting", false),
            ("discarded", false),
            ("lost", false),
        ] {
            assert_eq!(endings.count(state).is_ok(), counts, "{state}");
        }
        assert_eq!(endings.sum(), 4);
    }
}
