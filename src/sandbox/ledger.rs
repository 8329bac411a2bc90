//! The sandbox's ledger, a list of the received calls, and the sandbox's counts of calls.
//!
//! The ledger has a maximum number of calls, and a maximum total length of the bodies of these calls. Beyond a limit,
//! the ledger drops the oldest calls and counts the dropped calls.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::time::Timestamp;

use super::api::{Authorization, Operation, SandboxCall};

/// The maximum length of a request body that the ledger keeps. The updates of the bridge are far shorter.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The maximum total length of all bodies in the ledger. Without this limit, 100,000 calls could fill the memory.
const BODIES_BYTES_MAX: usize = 128 * 1024 * 1024;
/// The time window of the count `per_second_max`.
const SECOND: Duration = Duration::from_secs(1);
/// The maximum number of arrival times that the sandbox keeps for `per_second_max`. Only a test that stops the clock
/// can reach this number.
const ARRIVALS_MAX: usize = 1_000_000;

/// One call under `/v2`, as an entry of the ledger.
#[derive(Clone, Serialize)]
pub struct LedgerEntry {
    /// The number of the call in order of arrival, from 1.
    pub seq: u64,
    /// The time of arrival, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The HTTP method of the call.
    pub method: String,
    /// The path of the call, as the client sent it.
    pub path: String,
    /// The query of the call, as the client sent it.
    pub query: String,
    /// The operation of Imprint that the call requests.
    pub operation: Operation,
    /// The kind of authentication that the call uses.
    pub authorization: Authorization,
    /// The value of the header `x-imprint-merchant-key`.
    pub merchant_key: Option<String>,
    /// The body of the call as JSON, or as a string if it is not JSON. The value is null for a call without a body, and
    /// `{"bytes": N}` for a body that is too long for the ledger.
    pub body: Value,
    /// The HTTP status of the answer. `None` while the call is in flight, or if the sandbox sent no answer.
    pub status: Option<u16>,
    /// The name of the fault that the sandbox applied to the call.
    pub fault: Option<&'static str>,
    /// The customer id in the path of the call.
    pub customer: Option<String>,
    /// True if the call changed the customer.
    pub applied: bool,
}

/// The debug output shows no body of a call, because the body contains personal data.
impl fmt::Debug for LedgerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("seq", &self.seq)
            .field("method", &self.method)
            .field("operation", &self.operation)
            .field("status", &self.status)
            .field("fault", &self.fault)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

/// One page of the ledger.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerPage {
    /// The calls on this page.
    pub entries: Vec<LedgerEntry>,
    /// The value that the parameter `after` must have in the request for the next page.
    pub next: u64,
    /// The number of calls in the ledger.
    pub total: usize,
    /// The number of calls that the ledger dropped because of a limit.
    pub dropped: u64,
}

/// The counts that the sandbox has kept since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SandboxStats {
    /// The number of calls under `/v2`.
    pub requests: u64,
    /// The number of update requests, including requests that changed no customer.
    pub updates: u64,
    /// The number of updates that changed a customer.
    pub applied: u64,
    /// The number of calls that the bridge must never make.
    pub forbidden: u64,
    /// The number of calls in flight.
    pub in_flight: u64,
    /// The highest number of calls that were in flight at the same time.
    pub in_flight_max: u64,
    /// The highest number of calls that arrived within one second.
    pub per_second_max: usize,
    /// The number of customers in the sandbox.
    pub customers: usize,
    /// The number of calls that the ledger dropped because of a limit.
    pub dropped: u64,
}

/// A ledger entry whose request body the sandbox has not parsed yet.
#[derive(Clone)]
struct LedgerRecord {
    entry: LedgerEntry,
    body: Arc<[u8]>,
    body_bytes: usize,
}

/// A copy of some ledger records. The sandbox parses the bodies in the copy after it has released the lock of the
/// ledger.
pub(super) struct LedgerRecords {
    records: Vec<LedgerRecord>,
    total: usize,
    dropped: u64,
}

impl LedgerRecords {
    pub(super) fn into_page(self, after: u64) -> LedgerPage {
        let entries: Vec<LedgerEntry> = self.records.into_iter().map(LedgerRecord::read).collect();
        LedgerPage {
            next: entries.last().map_or(after, |entry| entry.seq),
            entries,
            total: self.total,
            dropped: self.dropped,
        }
    }
}

impl LedgerRecord {
    fn read(self) -> LedgerEntry {
        let mut entry = self.entry;
        entry.body = if self.body_bytes > self.body.len() {
            json!({"bytes": self.body_bytes})
        } else if self.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&self.body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&self.body).into())
        };
        entry
    }
}

/// The newest calls that the sandbox received.
pub(super) struct CallLedger {
    records: VecDeque<LedgerRecord>,
    entries_max: usize,
    bodies_bytes: usize,
    last_seq: u64,
    dropped: u64,
}

impl CallLedger {
    pub(super) fn new(entries_max: usize) -> Self {
        Self {
            records: VecDeque::new(),
            entries_max,
            bodies_bytes: 0,
            last_seq: 0,
            dropped: 0,
        }
    }

    /// Adds a received call to the ledger, and returns the number of the call.
    pub(super) fn open(&mut self, call: &SandboxCall, now: Timestamp) -> u64 {
        self.last_seq = self.last_seq.saturating_add(1);
        let body: Arc<[u8]> = if call.body.len() > BODY_BYTES_MAX {
            Arc::default()
        } else {
            Arc::from(call.body.as_ref())
        };
        self.bodies_bytes = self.bodies_bytes.saturating_add(body.len());
        self.records.push_back(LedgerRecord {
            entry: LedgerEntry {
                seq: self.last_seq,
                at_ms: now.as_millis(),
                method: call.method.to_string(),
                path: call.path.clone(),
                query: call.query.clone(),
                operation: call.operation,
                authorization: call.authorization,
                merchant_key: call.merchant_key.clone(),
                body: Value::Null,
                status: None,
                fault: None,
                customer: call.customer.clone(),
                applied: false,
            },
            body,
            body_bytes: call.body.len(),
        });
        while self.records.len() > self.entries_max || self.bodies_bytes > BODIES_BYTES_MAX {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.bodies_bytes = self.bodies_bytes.saturating_sub(oldest.body.len());
            self.dropped = self.dropped.saturating_add(1);
        }
        self.last_seq
    }

    pub(super) fn apply(&mut self, seq: u64) {
        if let Some(record) = self.find(seq) {
            record.entry.applied = true;
        }
    }

    pub(super) fn close(&mut self, seq: u64, status: Option<u16>, fault: Option<&'static str>) {
        if let Some(record) = self.find(seq) {
            record.entry.status = status;
            record.entry.fault = fault;
        }
    }

    pub(super) fn page(&self, after: u64, limit: usize) -> LedgerRecords {
        let start = self
            .records
            .partition_point(|record| record.entry.seq <= after);
        LedgerRecords {
            records: self
                .records
                .iter()
                .skip(start)
                .take(limit)
                .cloned()
                .collect(),
            total: self.records.len(),
            dropped: self.dropped,
        }
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.bodies_bytes = 0;
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn find(&mut self, seq: u64) -> Option<&mut LedgerRecord> {
        let at = self
            .records
            .partition_point(|record| record.entry.seq < seq);
        self.records
            .get_mut(at)
            .filter(|record| record.entry.seq == seq)
    }
}

/// The counts of received calls.
#[derive(Default)]
pub(super) struct Traffic {
    counts: SandboxStats,
    arrivals: VecDeque<Timestamp>,
}

impl Traffic {
    pub(super) fn arrive(&mut self, operation: Operation, now: Timestamp) {
        let counts = &mut self.counts;
        counts.requests = counts.requests.saturating_add(1);
        match operation {
            Operation::Update => counts.updates = counts.updates.saturating_add(1),
            Operation::Forbidden => counts.forbidden = counts.forbidden.saturating_add(1),
            Operation::Retrieve | Operation::Search | Operation::Unknown => {}
        }
        counts.in_flight = counts.in_flight.saturating_add(1);
        counts.in_flight_max = counts.in_flight_max.max(counts.in_flight);
        self.arrivals.push_back(now);
        while self.arrivals.len() > ARRIVALS_MAX
            || self
                .arrivals
                .front()
                .is_some_and(|first| now.since(*first) >= SECOND)
        {
            self.arrivals.pop_front();
        }
        counts.per_second_max = counts.per_second_max.max(self.arrivals.len());
    }

    pub(super) fn apply(&mut self) {
        self.counts.applied = self.counts.applied.saturating_add(1);
    }

    pub(super) fn end_call(&mut self) {
        self.counts.in_flight = self.counts.in_flight.saturating_sub(1);
    }

    pub(super) fn stats(&self, customers: usize, dropped: u64) -> SandboxStats {
        SandboxStats {
            customers,
            dropped,
            ..self.counts
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(body: &[u8]) -> SandboxCall {
        SandboxCall {
            body: body.to_vec().into(),
            ..SandboxCall::default()
        }
    }

    #[test]
    fn the_oldest_calls_are_dropped_and_counted() {
        let mut ledger = CallLedger::new(2);
        for body in ["1", "2", "3"] {
            ledger.open(&call(body.as_bytes()), Timestamp::default());
        }
        let page = ledger.page(0, 10).into_page(0);
        assert_eq!((page.total, page.dropped, page.next), (2, 1, 3));
        assert_eq!(page.entries[0].body, json!(2));
        assert!(ledger.find(1).is_none());
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let mut ledger = CallLedger::new(10);
        for _ in 0..3 {
            ledger.open(&call(b""), Timestamp::default());
        }
        let first = ledger.page(0, 2).into_page(0);
        assert_eq!((first.entries.len(), first.next), (2, 2));
        let second = ledger.page(first.next, 2).into_page(first.next);
        assert_eq!((second.entries.len(), second.next), (1, 3));
        assert_eq!(ledger.page(3, 2).into_page(3).next, 3);
        ledger.clear();
        assert_eq!(ledger.open(&call(b""), Timestamp::default()), 4);
    }

    #[test]
    fn a_body_is_kept_as_json_or_as_a_string_or_as_its_length() {
        let mut ledger = CallLedger::new(10);
        for (body, kept) in [
            (b"{\"a\":1}".to_vec(), json!({"a": 1})),
            (b"{\"a\":".to_vec(), json!("{\"a\":")),
            (Vec::new(), Value::Null),
            (vec![b'x'; BODY_BYTES_MAX + 1], json!({"bytes": 65_537})),
        ] {
            let seq = ledger.open(&call(&body), Timestamp::default());
            let page = ledger.page(seq - 1, 1).into_page(0);
            assert_eq!(page.entries[0].body, kept);
        }
    }

    #[test]
    fn the_maximum_per_second_counts_any_window_of_one_second() {
        let mut traffic = Traffic::default();
        for at in [0, 600, 900, 1_400, 1_599, 3_000] {
            traffic.arrive(Operation::Update, Timestamp::from_millis(at));
        }
        let stats = traffic.stats(0, 0);
        assert_eq!((stats.per_second_max, stats.in_flight_max), (4, 6));
        assert_eq!(stats.updates, 6);
        traffic.end_call();
        assert_eq!(traffic.stats(0, 0).in_flight, 5);
    }
}
