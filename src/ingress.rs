//! The door: events come in over HTTP.

pub mod auth;
mod header;
pub mod refusal;
