//! Metrics of a store in a database. Without a database, the gauges have no series and the counters stay 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::IntGaugeVec;

use super::declare::Declare;
use super::read_counter::to_value;

/// The figures of the database, as the store last saw them. A figure that is not known has no series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseSnapshot {
    pub oldest_snapshot: Option<Duration>,
    pub slot_bytes: Option<u64>,
    pub dead_rows: Option<u64>,
    pub connection_wait: Duration,
    pub lost_leases: u64,
    pub late_sends: u64,
    pub repeats: u64,
}

#[derive(Clone, Debug)]
pub(super) struct DatabaseMetrics {
    oldest_snapshot_seconds: IntGaugeVec,
    slot_bytes: IntGaugeVec,
    dead_rows: IntGaugeVec,
    counts: Arc<DatabaseCounts>,
}

#[derive(Debug, Default)]
struct DatabaseCounts {
    wait_micros: AtomicU64,
    lost_leases: AtomicU64,
    late_sends: AtomicU64,
    repeats: AtomicU64,
}

impl DatabaseMetrics {
    pub(super) fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        let counts = Arc::new(DatabaseCounts::default());
        let counted = || Arc::clone(&counts);
        let (waits, leases, repeats, late) = (counted(), counted(), counted(), counted());
        declare.read_counter(
            "database_connection_wait_seconds_total",
            "Time for which operations of the store waited for a connection to the database, in seconds.",
            move || to_value(waits.wait_micros.load(Ordering::Relaxed)) / 1_000_000.0,
        )?;
        declare.read_counter(
            "database_lost_leases_total",
            "Leases that this bridge lost; other bridges then took over its customers.",
            move || to_value(leases.lost_leases.load(Ordering::Relaxed)),
        )?;
        declare.read_counter(
            "database_late_sends_total",
            "Requests that possibly reached Imprint after this bridge had lost the customer to another bridge.",
            move || to_value(late.late_sends.load(Ordering::Relaxed)),
        )?;
        declare.read_counter(
            "database_repeats_total",
            "Transactions that the bridge repeated after a conflict or a broken connection.",
            move || to_value(repeats.repeats.load(Ordering::Relaxed)),
        )?;
        Ok(Self {
            oldest_snapshot_seconds: declare.optional_gauge(
                "database_oldest_snapshot_seconds",
                "Age of the oldest snapshot in the database in seconds, or 0. The database removes no later dead row.",
            )?,
            slot_bytes: declare.optional_gauge(
                "database_slot_bytes",
                "Bytes of the log of the database that its slowest replication slot holds.",
            )?,
            dead_rows: declare.optional_gauge(
                "database_dead_rows",
                "Dead rows in the tables of the store that the database has not removed yet.",
            )?,
            counts,
        })
    }

    pub(super) fn set(&self, database: DatabaseSnapshot) {
        let gauges = [
            (
                &self.oldest_snapshot_seconds,
                database.oldest_snapshot.map(|age| age.as_secs()),
            ),
            (&self.slot_bytes, database.slot_bytes),
            (&self.dead_rows, database.dead_rows),
        ];
        for (gauge, value) in gauges {
            if let Some(value) = value {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                gauge.with_label_values::<&str>(&[]).set(value);
            }
        }
        let micros = u64::try_from(database.connection_wait.as_micros()).unwrap_or(u64::MAX);
        let counts = &self.counts;
        counts.wait_micros.store(micros, Ordering::Relaxed);
        counts
            .lost_leases
            .store(database.lost_leases, Ordering::Relaxed);
        counts
            .late_sends
            .store(database.late_sends, Ordering::Relaxed);
        counts.repeats.store(database.repeats, Ordering::Relaxed);
    }
}
