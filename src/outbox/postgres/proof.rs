//! The proof that a database does what the engine needs, before the engine relies on it.
//!
//! Other databases speak the protocol of PostgreSQL, and some of them accept a statement but do less: their `SKIP LOCKED`
//! skips nothing, or a locked read returns old values. So every start runs the statements that the engine depends on,
//! over two connections that act as two replicas. The rows are in a table of their own and have a random number, so proofs
//! of several replicas do not meet, and no proof touches a customer.

use std::cell::Cell;
use std::time::Duration;

use tokio_postgres::types::Type;

use super::columns::get;
use super::connection::{Connected, Connector};
use super::database_address::{DatabaseAddress, Durability};
use super::fault::DbFault;
use super::open_error::PostgresOpenError;
use super::random_number::random_number;
use super::signals::{self, DatabaseSignals};
use crate::time::Clock;

mod steps;

/// The number of times that the engine tries the proof while the connection breaks.
const TRIES_MAX: u32 = 3;
/// The longest time that a step waits for a lock. No step of a working database waits.
const SETTINGS: &str =
    "SET LOCAL lock_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = '5s'";

/// The level of `synchronous_commit` at which a confirmed commit is on the disk, and on the disk of a synchronous standby.
const DURABLE: [&str; 2] = ["on", "remote_apply"];

/// What a database must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseDuty {
    /// `ON CONFLICT` inserts, ignores or updates, and returns the changed rows.
    Upsert,
    /// Each statement of a transaction sees the newest commits.
    Isolation,
    /// `SKIP LOCKED` skips locked rows at once.
    SkipLocked,
    /// A lock waits, and the locked read then returns the newest values.
    LockedRead,
    /// A replica that lost its lane changes nothing.
    Fence,
    /// A conflict of transactions has the code 40001.
    Conflict,
}

impl DatabaseDuty {
    pub(super) const ALL: [Self; 6] = [
        Self::Upsert,
        Self::Isolation,
        Self::SkipLocked,
        Self::LockedRead,
        Self::Fence,
        Self::Conflict,
    ];

    /// Returns the name of the duty in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Isolation => "isolation",
            Self::SkipLocked => "skip_locked",
            Self::LockedRead => "locked_read",
            Self::Fence => "fence",
            Self::Conflict => "conflict",
        }
    }

    /// Returns the duty as a sentence without an end.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Upsert => {
                "ON CONFLICT inserts, ignores or updates rows and returns the changed rows"
            }
            Self::Isolation => "each statement under READ COMMITTED sees the newest commits",
            Self::SkipLocked => "FOR UPDATE SKIP LOCKED skips locked rows at once",
            Self::LockedRead => "FOR UPDATE waits for the lock and then returns the newest values",
            Self::Fence => "an update with an old owner and epoch changes nothing",
            Self::Conflict => "a conflict of two transactions fails with 40001",
        }
    }
}

/// The result of one step of the proof.
#[derive(Clone, Copy, Debug)]
pub struct ProvenDuty {
    /// What the database must do.
    pub duty: DatabaseDuty,
    /// True if the database did it.
    pub is_proven: bool,
}

/// The result of the proof.
#[derive(Clone, Debug)]
pub struct DatabaseProof {
    /// The name and the version of the database.
    pub engine: String,
    /// The setting `synchronous_commit`.
    pub synchronous_commit: String,
    /// The setting `fsync`.
    pub fsync: String,
    /// What keeps the database from removing dead rows. `None` if the database does not say it.
    pub signals: Option<DatabaseSignals>,
    /// Each step of the proof.
    pub duties: Vec<ProvenDuty>,
    /// The time of the proof.
    pub took_ms: u64,
}

impl DatabaseProof {
    /// Returns the first duty that the database does not do.
    pub fn unproven(&self) -> Option<DatabaseDuty> {
        let unproven = self.duties.iter().find(|duty| !duty.is_proven);
        unproven.map(|unproven| unproven.duty)
    }

    /// Returns the setting with which a crash of the database can lose confirmed commits.
    pub fn lossy_setting(&self) -> Option<String> {
        let level = &self.synchronous_commit;
        if self.fsync == "off" {
            Some("fsync is off".to_owned())
        } else if DURABLE.contains(&level.as_str()) {
            None
        } else {
            Some(format!("synchronous_commit is {level}"))
        }
    }
}

/// Two connections that act as two replicas, with the rows of one proof.
pub(super) struct ReplicaPair {
    pub(super) one: Connected,
    pub(super) other: Connected,
    /// The table of the proof.
    pub(super) table: &'static str,
    /// The random number of the proof.
    pub(super) run: i64,
}

/// The table of the proof in a store.
pub(super) const STORE_TABLE: &str = "imprint_bridge.proof";
/// The table of the proof in a database without a store. The schema exists only during the proof.
const OWN_TABLE: &str = "imprint_bridge_proof.proof";

/// The columns of the table.
const COLUMNS: &str = "(run bigint, id bigint, owner bigint, epoch bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (run, id))";

/// Runs the proof at the start of a replica.
///
/// # Errors
/// Returns an error if the database cannot hold the store.
pub(super) async fn at_start(
    connector: &Connector,
    durability: Durability,
) -> Result<DatabaseProof, PostgresOpenError> {
    let proof = run(connector, STORE_TABLE).await;
    let proof = proof.map_err(PostgresOpenError::of("proving the database"))?;
    if let Some(duty) = proof.unproven() {
        return Err(PostgresOpenError::Unproven {
            engine: proof.engine,
            promise: duty.sentence(),
        });
    }
    let lossy = proof.lossy_setting();
    match (durability, &lossy) {
        (Durability::Required, Some(setting)) => {
            return Err(PostgresOpenError::LosesCommits(setting.clone()));
        }
        (Durability::Any, Some(setting)) => {
            tracing::warn!(
                setting,
                "a crash of the database can lose confirmed commits"
            );
        }
        (Durability::Any | Durability::Required, None) => {}
    }
    tracing::info!(
        database = proof.engine,
        took_ms = proof.took_ms,
        "the database does what the store needs"
    );
    Ok(proof)
}

/// Runs the proof in a table that exists.
pub(super) async fn run(
    connector: &Connector,
    table: &'static str,
) -> Result<DatabaseProof, DbFault> {
    let tries = Cell::new(1);
    loop {
        match run_once(connector, table).await {
            Err(fault) if fault.is_passing() && tries.get() < TRIES_MAX => {
                tries.set(tries.get() + 1);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            result => return result,
        }
    }
}

async fn run_once(connector: &Connector, table: &'static str) -> Result<DatabaseProof, DbFault> {
    let clock = Clock::machine();
    let started = clock.now();
    let (one, other) = (
        connector.connect_in_time().await?,
        connector.connect_in_time().await?,
    );
    let run = random_number()?;
    let pair = ReplicaPair {
        one,
        other,
        table,
        run,
    };
    let sql = "SELECT version(), current_setting('synchronous_commit', true), current_setting('fsync', true)";
    let row = pair.one.query_opt(sql, &[]).await?;
    let row = row.ok_or(DbFault::Damaged("version()"))?;
    let version: String = get(&row, 0)?;
    let setting = |column| get::<Option<String>>(&row, column).map(Option::unwrap_or_default);
    let mut duties = Vec::new();
    for duty in DatabaseDuty::ALL {
        let is_proven = pair.prove(duty).await?;
        duties.push(ProvenDuty { duty, is_proven });
    }
    pair.clean().await?;
    Ok(DatabaseProof {
        engine: version.split(" on ").next().unwrap_or_default().to_owned(),
        synchronous_commit: setting(1)?,
        fsync: setting(2)?,
        signals: signals::sample(&pair.one).await.ok(),
        duties,
        took_ms: u64::try_from(clock.now().since(started).as_millis()).unwrap_or(u64::MAX),
    })
}

impl ReplicaPair {
    async fn prove(&self, duty: DatabaseDuty) -> Result<bool, DbFault> {
        let proven = match duty {
            DatabaseDuty::Upsert => self.upserts().await,
            DatabaseDuty::Isolation => self.isolates().await,
            DatabaseDuty::SkipLocked => self.skips_locked().await,
            DatabaseDuty::LockedRead => self.reads_locked().await,
            DatabaseDuty::Fence => self.fences().await,
            DatabaseDuty::Conflict => self.reports_conflicts().await,
        };
        match proven {
            // The database refuses a statement or waits for a lock that it should skip.
            Err(DbFault::Database(error)) if error.code().is_some() => {
                self.one.batch("ROLLBACK").await?;
                self.other.batch("ROLLBACK").await?;
                Ok(false)
            }
            proven => proven,
        }
    }

    /// Deletes the rows of this proof, and those of proofs that a crash has ended.
    async fn clean(&self) -> Result<(), DbFault> {
        let sql = format!(
            "DELETE FROM {} WHERE run = $1 OR at < clock_timestamp() - interval '1 hour'",
            self.table
        );
        self.one.execute(&sql, &[(&self.run, Type::INT8)]).await?;
        Ok(())
    }

    /// Begins a transaction as the engine does.
    async fn begin(&self, db: &Connected, isolation: &str) -> Result<(), DbFault> {
        db.batch(&format!("BEGIN ISOLATION LEVEL {isolation}; {SETTINGS}"))
            .await
    }
}

/// Runs the proof in a database that possibly has no store. Creates no store.
///
/// # Errors
/// Returns an error if the process cannot connect to the database.
pub fn prove_database(address: DatabaseAddress) -> Result<DatabaseProof, PostgresOpenError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(PostgresOpenError::Thread)?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let DatabaseAddress {
            url, password, tls, ..
        } = address;
        let connector = Connector::parse(&url, tls, false)?.with_password(password);
        let proven = prove_anywhere(&connector).await;
        proven.map_err(PostgresOpenError::of("proving the database"))
    })
}

async fn prove_anywhere(connector: &Connector) -> Result<DatabaseProof, DbFault> {
    let db = connector.connect_in_time().await?;
    let sql = "SELECT to_regclass($1) IS NOT NULL";
    let found = db.query_opt(sql, &[(&STORE_TABLE, Type::TEXT)]).await?;
    let has_store = found.as_ref().map_or(Ok(false), |row| get(row, 0))?;
    if has_store {
        return run(connector, STORE_TABLE).await;
    }
    db.batch(&format!(
        "CREATE SCHEMA imprint_bridge_proof; CREATE TABLE {OWN_TABLE} {COLUMNS}"
    ))
    .await?;
    let proven = run(connector, OWN_TABLE).await;
    db.batch("DROP SCHEMA imprint_bridge_proof CASCADE").await?;
    proven
}
