//! The result of a kill test: the figures of the run, or the violation that the oracle found.

use std::fmt;
use std::time::Duration;

use super::bridge::NotReady;
use super::event::Event;
use super::oracle::Counts;

/// The figures of a kill test without a violation.
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
            faulty,
        } = self.counts;
        write!(
            f,
            "seed {}: {} kills, {} acks of {} events ({} retries), {} requests, {applied} applied, {repeats} of them \
             repeated, {faulty} with a fault; {delivered} delivered, {superseded} superseded, 0 lost; slowest start {:?}",
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

/// An invariant that the bridge broke. The message begins with the code of the invariant in tests/FAULTS.md.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Violation {
    #[error("V1: {event:?} is lost: {reason}")]
    Lost { event: Event, reason: String },
    #[error("V1: {event:?} was accepted and has not ended: {receipt}")]
    NotEnded { event: Event, receipt: String },
    #[error("V2: Imprint received a request that belongs to no event: {request}")]
    Invented { request: String },
    #[error("V3: revision {older} of customer {customer} was applied after {newer}")]
    OutOfOrder {
        customer: usize,
        newer: u64,
        older: u64,
    },
    #[error("V3: Imprint has {stored} for customer {customer}; the newest is {newest}")]
    Stale {
        customer: String,
        stored: String,
        newest: String,
    },
    #[error(
        "V4: {repeats} requests were repeated; at most {allowed} may be, and for one customer only those after a kill or \
         a fault"
    )]
    Repeated { repeats: u64, allowed: u64 },
    #[error("V8: {event:?} was not answered in time")]
    NotAnswered { event: Event },
    #[error("{event:?} was rejected: {answer}")]
    Rejected { event: Event, answer: String },
    #[error("V8: entries still wait; the log ends with {log}")]
    NotDrained { log: String },
    #[error("P20: the process was not ready in time: {0}")]
    NotReady(String),
    #[error("the process did not crash at {failpoints}")]
    NoCrash { failpoints: String },
}

impl From<NotReady> for Violation {
    fn from(NotReady(reason): NotReady) -> Self {
        Self::NotReady(reason)
    }
}
