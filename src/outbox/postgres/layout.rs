//! Compares the layout of a store with the layout that this program creates, for the verification of the store.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::columns::get;
use super::connection::Connected;
use super::fault::DbFault;
use super::schema;
use crate::outbox::store_layout::{LayoutDifferences, StoreLayout};

/// The schema of the layout that the comparison creates in a transaction and rolls back.
const COMPARED: &str = "imprint_bridge_compared";
const STORE: &str = "imprint_bridge";

/// The layout that this program creates.
pub(super) enum ExpectedLayout {
    Created(StoreLayout),
    /// The user of the database has no right to create a schema.
    Refused,
}

/// Creates the layout in a transaction, reads its definitions, and rolls the transaction back. So the database itself writes
/// the definitions, in the form of its version.
pub(super) async fn expected(db: &Connected) -> Result<ExpectedLayout, DbFault> {
    db.batch("BEGIN").await?;
    let created = create(db).await;
    db.batch("ROLLBACK").await?;
    match created {
        Err(DbFault::Database(error))
            if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
        {
            Ok(ExpectedLayout::Refused)
        }
        created => created.map(ExpectedLayout::Created),
    }
}

async fn create(db: &Connected) -> Result<StoreLayout, DbFault> {
    let part = schema::statements(db).await?;
    db.batch(&part.replace(STORE, COMPARED)).await?;
    definitions(db, COMPARED).await
}

impl ExpectedLayout {
    /// Compares the layout of the store.
    pub(super) async fn differences(&self, db: &Connected) -> Result<LayoutDifferences, DbFault> {
        Ok(match self {
            Self::Created(expected) => expected.differences(&definitions(db, STORE).await?),
            Self::Refused => LayoutDifferences {
                are_unknown: true,
                ..LayoutDifferences::default()
            },
        })
    }
}

/// Reads the definitions of a schema, without the name of the schema.
async fn definitions(db: &Connected, schema: &str) -> Result<StoreLayout, DbFault> {
    let rows = db.query(DEFINITIONS, &[(&schema, Type::TEXT)]).await?;
    let prefix = format!("{schema}.");
    let mut layout = StoreLayout::default();
    for row in &rows {
        let definition: String = get(row, 2)?;
        layout.add(get(row, 0)?, get(row, 1)?, definition.replace(&prefix, ""));
    }
    Ok(layout)
}

const DEFINITIONS: &str = "WITH part AS (
        SELECT c.oid, c.relname::text AS name, c.relkind::text AS kind, c.relpersistence::text AS persistence
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1)
    SELECT 'table', name, persistence FROM part WHERE kind = 'r'
    UNION ALL SELECT 'sequence', name, persistence FROM part WHERE kind = 'S'
    UNION ALL SELECT 'column', name || '.' || a.attname::text, concat_ws(' ', pg_catalog.format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attnotnull THEN 'NOT NULL' END, pg_catalog.pg_get_expr(d.adbin, d.adrelid))
        FROM part JOIN pg_catalog.pg_attribute a ON a.attrelid = part.oid AND a.attnum > 0 AND NOT a.attisdropped
            LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = part.oid AND d.adnum = a.attnum
        WHERE kind = 'r'
    UNION ALL SELECT 'index', name, concat_ws(' ', pg_catalog.pg_get_indexdef(i.indexrelid),
            CASE WHEN NOT i.indisvalid THEN 'INVALID' END)
        FROM part JOIN pg_catalog.pg_index i ON i.indexrelid = part.oid WHERE NOT i.indisprimary
    UNION ALL SELECT 'constraint', name || '.' || k.conname::text, pg_catalog.pg_get_constraintdef(k.oid)
        FROM part JOIN pg_catalog.pg_constraint k ON k.conrelid = part.oid WHERE k.contype IN ('p', 'u', 'f', 'c')";
