//! What pages say about a customer whose requests fail while Imprint serves others. Pure.

use super::entry_row::CustomerText;
use super::mass_change::PageLink;
use super::words::{TimeText, counted, length};
use crate::ops::operate::{FAILING_CUSTOMERS_MAX, FailingCustomer, connection_cause};
use crate::time::Timestamp;

/// The maximum number of customers that the overview describes.
const DESCRIBED_MAX: usize = 3;
const FAILS: &str = "the requests fail";
/// What an operator does about it.
pub(super) const FAILING_ALONE: &str = "Nothing is lost: the bridge repeats the requests, and other customers do not wait for them. If it lasts, ask Imprint about its answer: Destination shows the last failed requests.";

/// Returns the state for a headline.
pub(super) fn failing_name(failing: &[FailingCustomer]) -> String {
    match failing.len() {
        1 => "Delivering, but 1 customer fails".to_owned(),
        FAILING_CUSTOMERS_MAX.. => {
            format!("Delivering, but {FAILING_CUSTOMERS_MAX} or more customers fail")
        }
        several => format!("Delivering, but {several} customers fail"),
    }
}

/// Describes the customers in one sentence each.
pub(super) fn failing_sentences(failing: &[FailingCustomer], now: Timestamp) -> Vec<String> {
    let described = failing.iter().take(DESCRIBED_MAX);
    let mut sentences: Vec<String> = described
        .map(|customer| {
            let failures = &customer.failures;
            let requests = ["request has", "requests have"];
            format!(
                "{} waits: {}, and {} failed since {}.",
                CustomerText::of(&customer.key).id,
                failure_text(&failures.cause).unwrap_or_else(|| FAILS.to_owned()),
                counted(failures.requests.into(), requests),
                TimeText::since(failures.since, now)
            )
        })
        .collect();
    let others = length(failing).saturating_sub(length(&sentences));
    sentences.extend((others > 0).then(|| {
        let others = counted(others, ["other customer", "other customers"]);
        format!("{others} too.")
    }));
    sentences
}

/// Returns the link to the page of the customer that has failed for the longest time.
pub(super) fn failing_link(failing: &[FailingCustomer]) -> Option<PageLink> {
    failing.first().map(|customer| PageLink {
        path: CustomerText::of(&customer.key).path(),
        text: "Look at the customer".to_owned(),
    })
}

/// Returns the cause of a failure as a clause. `None` if the word says nothing more.
pub(super) fn failure_text(cause: &str) -> Option<String> {
    match cause.strip_prefix("status_") {
        Some(status) => Some(format!("Imprint answers with {status}")),
        None => connection_cause(cause).map(|(text, _)| text.to_owned()),
    }
}
