//! What an operator must know about the database of a store: what keeps it from removing dead rows, and how often the
//! process had to wait or to repeat.

use std::time::Duration;

/// The figures of a store in a database. Each value is `None` until the first look at the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseFigures {
    /// The age of the oldest snapshot, or zero. While a session has a snapshot, the database removes no later dead row.
    pub oldest_snapshot: Option<Duration>,
    /// The bytes of the log that the slowest replication slot holds, or 0.
    pub slot_bytes: Option<u64>,
    /// The number of dead rows of the store.
    pub dead_rows: Option<u64>,
    /// The time for which operations waited for a connection, since the process started.
    pub connection_wait: Duration,
    /// The number of leases that this process lost.
    pub lost_leases: u64,
    /// The number of requests of this process whose claims had ended before the answer.
    pub late_sends: u64,
    /// The number of transactions that the process repeated.
    pub repeats: u64,
}
