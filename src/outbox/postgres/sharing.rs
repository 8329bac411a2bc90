//! What all replicas share about the destination: the settings of the operator and of Imprint, and the token bucket of
//! each API key.

use std::rc::Rc;

use tokio_postgres::types::Type;

use super::PostgresOutbox;
use super::columns::{get, to_text};
use super::connection::{Connected, Params};
use super::engine::Engine;
use super::fault::DbFault;
use crate::outbox::codec::StoredText;
use crate::outbox::{
    KeyMark, ReplicaReport, Setting, SharedDestination, SharedSettings, SharedView, StoreFuture,
    TokenGrant, TokenOrder,
};

/// Fills the bucket, and takes tokens from it, in one statement. The bucket begins with one token. The time of the
/// statement is before its wait for the lock of the row, so the bucket never gains tokens twice for the same time. If the clock of the
/// database has gone back, the bucket begins to fill now.
const ORDER: &str = "INSERT INTO imprint_bridge.budget AS b (key, tokens, granted, filled_at)
     VALUES ($1, 0, 1, statement_timestamp())
     ON CONFLICT (key) DO UPDATE SET
         (tokens, granted, filled_at) = (
             SELECT filled - floor(least($2, filled)), floor(least($2, filled))::bigint, greatest(since, statement_timestamp())
             FROM (SELECT CASE WHEN b.filled_at > clock_timestamp() THEN statement_timestamp() ELSE b.filled_at END AS since) AS s,
                 LATERAL (SELECT least($4, b.tokens + $3 * greatest(0, extract(epoch FROM statement_timestamp() - since)::float8)) AS filled) AS f)
     RETURNING granted, tokens";

impl SharedDestination for PostgresOutbox {
    fn exchange(&self, report: ReplicaReport) -> StoreFuture<'_, Option<SharedView>> {
        self.read(async move |engine: Rc<Engine>| {
            let (connector, link) = (&engine.connector, &engine.links.sharing);
            let exchange = async |db: &Connected| exchange(db, &report).await;
            let view = connector.read(link, exchange).await;
            view.map(Some)
                .map_err(|fault| fault.report("sharing the destination"))
        })
    }
}

async fn exchange(db: &Connected, report: &ReplicaReport) -> Result<SharedView, DbFault> {
    let mut view = SharedView::default();
    if let Some(tokens) = report.tokens {
        view.tokens = Some(order(db, report.key, tokens).await?);
    }
    if report.looks {
        view.settings = Some(look(db).await?);
    }
    Ok(view)
}

async fn look(db: &Connected) -> Result<SharedSettings, DbFault> {
    let names = [Setting::DestinationMode, Setting::ThrottledUntil].map(Setting::name);
    let [mode, wait] = names;
    let sql = "SELECT name, value FROM imprint_bridge.meta WHERE name IN ($1, $2)";
    let params: Params<'_> = &[(&mode, Type::TEXT), (&wait, Type::TEXT)];
    let mut settings = SharedSettings::default();
    for row in db.query(sql, params).await? {
        let name: &str = get(&row, 0)?;
        let text = match to_text(get(&row, 1)?) {
            Some(StoredText::Plain(text)) => Some(text.to_owned()),
            Some(StoredText::Sealed(_)) | None => None,
        };
        match name == mode {
            true => settings.mode = text,
            false => settings.wait = text,
        }
    }
    Ok(settings)
}

async fn order(db: &Connected, key: KeyMark, order: TokenOrder) -> Result<TokenGrant, DbFault> {
    let key = key.0.cast_signed();
    let params: Params<'_> = &[
        (&key, Type::INT8),
        (&order.wanted, Type::FLOAT8),
        (&order.rate, Type::FLOAT8),
        (&order.burst, Type::FLOAT8),
    ];
    let row = db.query_opt(ORDER, params).await?;
    let row = row.ok_or(DbFault::Damaged("budget"))?;
    let granted: i64 = get(&row, 0)?;
    Ok(TokenGrant {
        count: usize::try_from(granted).unwrap_or_default(),
        left: get(&row, 1)?,
    })
}
