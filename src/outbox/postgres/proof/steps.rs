//! The steps of the proof. Each step has rows of its own, and returns whether the database did what the engine needs.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::ReplicaPair;
use crate::outbox::postgres::columns::get;
use crate::outbox::postgres::connection::{Connected, Params};
use crate::outbox::postgres::fault::DbFault;

/// The isolation of the transactions of the engine.
const COMMITTED: &str = "READ COMMITTED";
/// The time after which the other connection ends the lock for which a statement waits.
const HELD_FOR: Duration = Duration::from_millis(5);

/// The rows of the steps.
const UPSERTED: [i64; 2] = [1, 2];
const ISOLATED: i64 = 10;
const LOCKED: i64 = 20;
const FREE: i64 = 21;
const READ: i64 = 30;
const FENCED: i64 = 40;
const CONFLICT: i64 = 50;

impl ReplicaPair {
    /// An insert of a row that exists changes and returns nothing, and an update returns the new value.
    pub(super) async fn upserts(&self) -> Result<bool, DbFault> {
        let [first, second] = UPSERTED;
        let begun = self.insert(&[first]).await?;
        let ignored = self.insert(&[first, second]).await?;
        let sql = format!(
            "INSERT INTO {table} AS t (run, id, epoch) VALUES ($1, $2, 0)
             ON CONFLICT (run, id) DO UPDATE SET epoch = t.epoch + 1 RETURNING epoch",
            table = self.table
        );
        let row = self.one.query_opt(&sql, &self.row(&first)).await?;
        let updated = row.as_ref().map(|row| get::<i64>(row, 0)).transpose()?;
        Ok(begun == [first] && ignored == [second] && updated == Some(1))
    }

    /// A transaction sees a commit that happened after its beginning.
    pub(super) async fn isolates(&self) -> Result<bool, DbFault> {
        self.insert(&[ISOLATED]).await?;
        self.begin(&self.one, COMMITTED).await?;
        let level = self
            .one
            .query_opt("SHOW transaction_isolation", &[])
            .await?;
        let level: Option<String> = level.as_ref().map(|row| get(row, 0)).transpose()?;
        let before = self.epoch(&self.one, ISOLATED).await?;
        let changed = self.raise_epoch(&self.other, ISOLATED).await?;
        let after = self.epoch(&self.one, ISOLATED).await?;
        self.one.batch("COMMIT").await?;
        let is_committed = level.as_deref() == Some("read committed");
        Ok(is_committed && changed == 1 && (before, after) == (Some(0), Some(1)))
    }

    /// A claim of two rows gets the row that is not locked, without waiting.
    pub(super) async fn skips_locked(&self) -> Result<bool, DbFault> {
        self.insert(&[LOCKED, FREE]).await?;
        self.begin(&self.one, COMMITTED).await?;
        self.lock(&self.one, LOCKED).await?;
        self.begin(&self.other, COMMITTED).await?;
        let claimed = self.claim(&self.other, &[LOCKED, FREE], 1).await?;
        self.other.batch("COMMIT").await?;
        self.one.batch("COMMIT").await?;
        Ok(claimed == [FREE])
    }

    /// A read with a lock waits for the transaction that has the lock, and then sees its change.
    pub(super) async fn reads_locked(&self) -> Result<bool, DbFault> {
        self.insert(&[READ]).await?;
        self.begin(&self.one, COMMITTED).await?;
        self.raise_epoch(&self.one, READ).await?;
        self.begin(&self.other, COMMITTED).await?;
        let read = self.lock(&self.other, READ);
        let commit = async {
            tokio::time::sleep(HELD_FOR).await;
            self.one.batch("COMMIT").await
        };
        let (read, committed) = futures_util::future::join(read, commit).await;
        committed?;
        let read = read?;
        self.other.batch("COMMIT").await?;
        Ok(read == Some(1))
    }

    /// After a takeover, the earlier owner changes nothing, and the new owner changes the row.
    pub(super) async fn fences(&self) -> Result<bool, DbFault> {
        self.insert(&[FENCED]).await?;
        let claimed = self.claim(&self.one, &[FENCED], 1).await?;
        let sql = format!(
            "UPDATE {} SET owner = NULL WHERE run = $1 AND id = $2",
            self.table
        );
        self.other.execute(&sql, &self.row(&FENCED)).await?;
        let taken = self.claim(&self.other, &[FENCED], 2).await?;
        let late = self.settle(&self.one, FENCED, (1, 1)).await?;
        let settled = self.settle(&self.other, FENCED, (2, 2)).await?;
        Ok(claimed == [FENCED] && taken == [FENCED] && (late, settled) == (0, 1))
    }

    /// An update of a row that another transaction has changed fails with 40001, and does not overwrite the change.
    pub(super) async fn reports_conflicts(&self) -> Result<bool, DbFault> {
        self.insert(&[CONFLICT]).await?;
        self.begin(&self.one, "REPEATABLE READ").await?;
        self.epoch(&self.one, CONFLICT).await?;
        self.raise_epoch(&self.other, CONFLICT).await?;
        let conflict = self.raise_epoch(&self.one, CONFLICT).await;
        self.one.batch("ROLLBACK").await?;
        let is_reported = match conflict {
            Err(DbFault::Database(error)) => {
                error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
            }
            Err(fault) => return Err(fault),
            Ok(_) => false,
        };
        Ok(is_reported && self.raise_epoch(&self.one, CONFLICT).await? == 1)
    }

    /// Inserts rows that do not exist, and returns their ids.
    async fn insert(&self, ids: &[i64]) -> Result<Vec<i64>, DbFault> {
        let sql = format!(
            "INSERT INTO {} (run, id, epoch) SELECT $1, u.id, 0 FROM unnest($2::bigint[]) AS u(id)
             ON CONFLICT (run, id) DO NOTHING RETURNING id",
            self.table
        );
        let params: Params<'_> = &[(&self.run, Type::INT8), (&ids, Type::INT8_ARRAY)];
        numbers(&self.one.query(&sql, params).await?)
    }

    /// Gives the free and unlocked rows to an owner, and returns their ids.
    async fn claim(&self, db: &Connected, ids: &[i64], owner: i64) -> Result<Vec<i64>, DbFault> {
        let sql = format!(
            "UPDATE {table} AS t SET owner = $3, epoch = t.epoch + 1
             FROM (SELECT id FROM {table} WHERE run = $1 AND id = ANY($2) AND owner IS NULL
                   ORDER BY id FOR UPDATE SKIP LOCKED) AS free
             WHERE t.run = $1 AND t.id = free.id RETURNING t.id",
            table = self.table
        );
        let params: Params<'_> = &[
            (&self.run, Type::INT8),
            (&ids, Type::INT8_ARRAY),
            (&owner, Type::INT8),
        ];
        numbers(&db.query(&sql, params).await?)
    }

    /// Ends a claim, and returns the number of changed rows.
    async fn settle(
        &self,
        db: &Connected,
        id: i64,
        (owner, epoch): (i64, i64),
    ) -> Result<u64, DbFault> {
        let sql = format!(
            "UPDATE {} SET owner = NULL WHERE run = $1 AND id = $2 AND owner = $3 AND epoch = $4",
            self.table
        );
        let params: Params<'_> = &[
            (&self.run, Type::INT8),
            (&id, Type::INT8),
            (&owner, Type::INT8),
            (&epoch, Type::INT8),
        ];
        db.execute(&sql, params).await
    }

    async fn raise_epoch(&self, db: &Connected, id: i64) -> Result<u64, DbFault> {
        let sql = format!(
            "UPDATE {} SET epoch = epoch + 1 WHERE run = $1 AND id = $2",
            self.table
        );
        db.execute(&sql, &self.row(&id)).await
    }

    async fn epoch(&self, db: &Connected, id: i64) -> Result<Option<i64>, DbFault> {
        self.read_epoch(db, id, "").await
    }

    async fn lock(&self, db: &Connected, id: i64) -> Result<Option<i64>, DbFault> {
        self.read_epoch(db, id, "FOR UPDATE").await
    }

    async fn read_epoch(
        &self,
        db: &Connected,
        id: i64,
        lock: &str,
    ) -> Result<Option<i64>, DbFault> {
        let sql = format!(
            "SELECT epoch FROM {} WHERE run = $1 AND id = $2 {lock}",
            self.table
        );
        let row = db.query_opt(&sql, &self.row(&id)).await?;
        row.as_ref().map(|row| get(row, 0)).transpose()
    }

    /// Returns the parameters that name a row.
    fn row<'a>(
        &'a self,
        id: &'a i64,
    ) -> [(&'a (dyn tokio_postgres::types::ToSql + Sync), Type); 2] {
        [(&self.run, Type::INT8), (id, Type::INT8)]
    }
}

fn numbers(rows: &[Row]) -> Result<Vec<i64>, DbFault> {
    rows.iter().map(|row| get(row, 0)).collect()
}
