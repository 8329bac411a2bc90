//! Dispatch: claims due lanes, folds each into one request, sends it to Imprint, and records the result.
//!
//! | module | content |
//! |---|---|
//! | [`dispatcher`] | the loop: claims, sends and settles with tokio, the store and Imprint |
//! | [`core`] | the state machine that decides every step of the dispatch loop; pure |
//! | [`lane_exchange`] | the sequence of calls to Imprint about one lane; pure |
//! | [`policy`], [`settlement`] | turn a result into a decision, and the decision into a record for the store; pure |
//! | [`destination`] | the state that all dispatch threads share: operator mode, breaker, rate |
//! | [`evidence`], [`breaker`], [`pace`], [`backoff`] | the rules behind the shared state; pure |
//! | [`moment`] | the time and the random number of one call |
//! | [`rules`] | the delivery rules that the operator configures |
//!
//! Dispatch holds only the lanes in flight in memory, and limits their number; all other entries stay in the outbox.
//! Dispatch does not know how events arrive.

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

#[cfg(test)]
mod tests;
