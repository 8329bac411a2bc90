//! Dispatch: claims due lanes, folds each into one request, sends it to Imprint, and records the result.
//!
//! | module | content |
//! |---|---|
//! | [`dispatcher`] | the loop: claims, sends and settles with tokio, the store and Imprint |
//! | [`core`] | the state machine that decides every step of the loop; pure |
//! | [`lane_exchange`] | the calls about one lane, until the result is known; pure |
//! | [`policy`], [`settlement`] | from the result to a decision, and from the decision to the store; pure |
//! | [`destination`] | the state that all dispatch threads share: mode, breaker, rate |
//! | [`breaker`], [`pace`], [`backoff`] | its rules; pure |
//! | [`rules`] | the operator's configuration of delivery |
//!
//! What is in memory is bounded by the requests that may be in flight; everything else stays in the outbox. Dispatch does
//! not know how events come in.

pub mod backoff;
pub mod breaker;
pub mod core;
pub mod destination;
pub mod dispatcher;
pub mod lane_exchange;
pub mod pace;
pub mod policy;
pub mod rules;
pub mod settlement;

#[cfg(test)]
mod tests;
