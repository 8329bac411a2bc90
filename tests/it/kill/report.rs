//! What a run came to: its figures, or what went wrong.

use std::fmt;
use std::time::Duration;

use super::bridge::NotReady;
use super::event::Event;
use super::oracle::Counts;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) kills: u64,
    pub(crate) acks: u64,
    pub(crate) retries: u64,
    pub(crate) events: usize,
    pub(crate) requests: usize,
    pub(crate) counts: Counts,
    pub(crate) slowest_start: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            delivered,
            superseded,
            applied,
            repeats,
            spoilt,
        } = self.counts;
        write!(
            f,
            "seed {}: {} kills, {} acks of {} events ({} retries), {} requests, {applied} applied, {repeats} of them \
             repeated, {spoilt} spoilt; {delivered} delivered, {superseded} superseded, 0 lost; slowest start {:?}",
            self.seed,
            self.kills,
            self.acks,
            self.events,
            self.retries,
            self.requests,
            self.slowest_start
        )
    }
}

/// What must never happen.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Violation {
    #[error("V1: {event:?} is lost: {what}")]
    Lost { event: Event, what: String },
    #[error("V1: {event:?} was taken and has not ended: {receipt}")]
    Unsettled { event: Event, receipt: String },
    #[error("V2: Imprint was asked for what no event says: {what}")]
    Invented { what: String },
    #[error("V3: revision {older} of customer {customer} was applied after {newer}")]
    Disordered {
        customer: usize,
        newer: u64,
        older: u64,
    },
    #[error("V3: Imprint holds {held} of {customer}, the newest is {newest}")]
    Stale {
        customer: String,
        held: String,
        newest: String,
    },
    #[error(
        "V4: {repeats} requests were repeated, of {allowed} that may be, or too many of one customer"
    )]
    Repeated { repeats: u64, allowed: u64 },
    #[error("V8: {event:?} was not answered in time")]
    NotLive { event: Event },
    #[error("{event:?} was refused: {answer}")]
    Refused { event: Event, answer: String },
    #[error("V8: it did not drain; its log ends with {log}")]
    NotDrained { log: String },
    #[error("P20: it was not ready in time: {0}")]
    NotReady(String),
    #[error("it did not reach {failpoints}")]
    NotCrashed { failpoints: String },
}

impl From<NotReady> for Violation {
    fn from(NotReady(why): NotReady) -> Self {
        Self::NotReady(why)
    }
}
