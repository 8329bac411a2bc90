//! Dispatch: claims due lanes, folds the waiting entries of each lane into one request, sends the request to Imprint,
//! and records the result.
//!
//! | module | content |
//! |---|---|
//! | [`dispatcher`] | the async loop: claims lanes, sends requests, and records settlements |
//! | [`core`] | the state machine that decides every step of the dispatch loop; pure |
//! | [`lane_exchange`] | the sequence of calls to Imprint about one lane; pure |
//! | [`policy`], [`settlement`] | turn a result into a decision, and a decision into a settlement for the store; pure |
//! | [`destination`] | the state that all dispatch threads share: operator mode, breaker, rate limit |
//! | [`evidence`], [`breaker`], [`pace`], [`backoff`] | the rules for the shared state; pure |
//! | [`sharing`] | the task that shares the destination with the other processes of the store |
//! | [`StoredWait`](core::StoredWait) | the stored form of a wait that Imprint asked for; pure |
//! | [`moment`] | the time and the random number of one call |
//! | [`rules`] | the delivery rules that the operator configures |
//!
//! Dispatch keeps only a limited number of claimed lanes in memory. All other entries stay in the outbox. Dispatch does
//! not know how events arrive.

pub mod backoff;
pub mod breaker;
pub mod core;
pub mod destination;
pub mod dispatcher;
pub mod evidence;
pub mod lane_exchange;
pub mod moment;
pub mod pace;
pub mod policy;
pub mod rules;
pub mod settlement;
pub mod sharing;
mod stored_wait;

#[cfg(test)]
mod tests;
