//! What keeps the database from removing dead rows: the oldest snapshot and the slowest replication slot, each with its
//! owner, and the number of dead rows.
//!
//! A session with an old snapshot is the most common accident of a queue in PostgreSQL: a query for a report, a dump, or a
//! replication slot whose reader is gone. The dead rows of the queue stay then, and every claim reads them.

use std::time::Duration;

use super::columns::{get, unsigned};
use super::connection::Connected;
use super::fault::DbFault;

/// The session with the oldest snapshot.
#[derive(Clone, Debug)]
pub struct OldestSnapshot {
    /// The process of the session.
    pub process: i32,
    /// The name that the program of the session gave itself.
    pub program: String,
    /// The state of the session, such as `idle in transaction`.
    pub state: String,
    /// The age of the transaction.
    pub age: Duration,
}

/// The replication slot that holds the most of the log.
#[derive(Clone, Debug)]
pub struct SlowestSlot {
    /// The name of the slot.
    pub name: String,
    /// True if a reader uses the slot.
    pub is_active: bool,
    /// The bytes of the log that the slot holds.
    pub bytes: u64,
}

/// The result of a look at the database.
#[derive(Clone, Debug, Default)]
pub struct DatabaseSignals {
    /// The session with the oldest snapshot. Without the role `pg_monitor`, only sessions of the same user count.
    pub snapshot: Option<OldestSnapshot>,
    /// The replication slot that holds the most of the log.
    pub slot: Option<SlowestSlot>,
    /// The number of dead rows of the store.
    pub dead_rows: u64,
}

/// Looks at the database.
pub(super) async fn sample(db: &Connected) -> Result<DatabaseSignals, DbFault> {
    let sql = "SELECT pid, coalesce(application_name, ''), coalesce(state, ''),
             greatest(extract(epoch FROM clock_timestamp() - xact_start), 0)::float8
         FROM pg_stat_activity
         WHERE backend_xmin IS NOT NULL AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
             AND datname = current_database()
         ORDER BY xact_start LIMIT 1";
    let snapshot = db.query_opt(sql, &[]).await?;
    let snapshot = snapshot.map(|row| {
        let seconds: f64 = get(&row, 3)?;
        Ok::<_, DbFault>(OldestSnapshot {
            process: get(&row, 0)?,
            program: get(&row, 1)?,
            state: get(&row, 2)?,
            age: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
        })
    });
    let sql = "SELECT slot_name::text, active, greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
         FROM pg_replication_slots WHERE restart_lsn IS NOT NULL ORDER BY restart_lsn LIMIT 1";
    let slot = db.query_opt(sql, &[]).await?;
    let slot = slot.map(|row| {
        Ok::<_, DbFault>(SlowestSlot {
            name: get(&row, 0)?,
            is_active: get(&row, 1)?,
            bytes: unsigned(get(&row, 2)?),
        })
    });
    let sql = "SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables WHERE schemaname = 'imprint_bridge'";
    let dead = db.query_opt(sql, &[]).await?;
    let dead = dead.map_or(Ok(0), |row| get::<i64>(&row, 0));
    Ok(DatabaseSignals {
        snapshot: snapshot.transpose()?,
        slot: slot.transpose()?,
        dead_rows: unsigned(dead?),
    })
}
