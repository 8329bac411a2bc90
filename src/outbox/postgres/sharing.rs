//! What all replicas share about the destination: the settings of the operator and of Imprint, and the token bucket of
//! each API key.

use std::num::NonZeroUsize;
use std::rc::Rc;

use tokio_postgres::types::Type;

use super::PostgresOutbox;
use super::columns::{get, number, to_text, unsigned};
use super::connection::{Connected, Params};
use super::engine::Engine;
use super::fault::DbFault;
use super::{forgetting, replica};
use crate::outbox::codec::StoredText;
use crate::outbox::{
    AgreedView, Forgotten, LaneId, ReplicaReport, Setting, SharedDestination, SharedSettings,
    SharedView, StateProposal, StoreFuture, TokenGrant, TokenOrder,
};
use crate::time::Timestamp;

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
            let me = engine.owner.get();
            let exchange = async |db: &Connected| exchange(db, &report, me).await;
            let view = connector.read(link, exchange).await;
            let mut view = view.map_err(|fault| fault.report("sharing the destination"))?;
            if report.looks && engine.shared.take_lost_lease() {
                view.forgotten = Forgotten::Everybody;
            }
            Ok(Some(view))
        })
    }

    fn confirm_forgotten(&self, lanes: Vec<LaneId>) -> StoreFuture<'_, ()> {
        self.run(async move |engine: Rc<Engine>| {
            let (connector, link) = (&engine.connector, &engine.links.sharing);
            let me = engine.owner.get();
            let confirm = async |db: &Connected| forgetting::confirm(db, me, &lanes).await;
            let confirmed = connector.transact(link, confirm).await;
            confirmed.map_err(|fault| fault.report("sharing the destination"))
        })
    }

    fn bridges(&self) -> StoreFuture<'_, NonZeroUsize> {
        self.read(async move |engine: Rc<Engine>| engine.read(replica::count).await)
    }

    fn has_lost_lease(&self) -> bool {
        self.shared.has_lost_lease()
    }

    fn remembering(&self) -> StoreFuture<'_, Vec<u64>> {
        self.read(async move |engine: Rc<Engine>| engine.read(forgetting::replicas).await)
    }
}

async fn exchange(db: &Connected, report: &ReplicaReport, me: u64) -> Result<SharedView, DbFault> {
    let key = report.key.0.cast_signed();
    let mut view = SharedView::default();
    if let Some(tokens) = report.tokens {
        view.tokens = Some(order(db, key, tokens).await?);
    }
    if let Some(proposal) = &report.proposal {
        view.agreed = propose(db, key, proposal).await?;
    }
    if view.agreed.is_none() && (report.looks || report.proposal.is_some()) {
        view.agreed = Some(agreed(db, key).await?);
    }
    if report.looks {
        view.settings = Some(look(db).await?);
        view.forgotten = forgetting::ordered(db, me).await?;
    }
    Ok(view)
}

/// Changes the agreed state. Returns `None` if another replica was faster.
async fn propose(
    db: &Connected,
    key: i64,
    proposal: &StateProposal,
) -> Result<Option<AgreedView>, DbFault> {
    let sql = "INSERT INTO imprint_bridge.agreed_state AS a (key, revision, state) VALUES ($1, 1, $3)
         ON CONFLICT (key) DO UPDATE SET revision = a.revision + 1, state = excluded.state WHERE a.revision = $2
         RETURNING revision, (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let revision = number(proposal.revision);
    let params: Params<'_> = &[
        (&key, Type::INT8),
        (&revision, Type::INT8),
        (&proposal.state, Type::TEXT),
    ];
    let row = db.query_opt(sql, params).await?;
    let accepted = row.map(|row| {
        Ok(AgreedView {
            is_accepted: true,
            revision: unsigned(get(&row, 0)?),
            state: None,
            at: Timestamp::from_millis(get(&row, 1)?),
        })
    });
    accepted.transpose()
}

async fn agreed(db: &Connected, key: i64) -> Result<AgreedView, DbFault> {
    let sql = "SELECT a.revision, a.state, (extract(epoch FROM clock_timestamp()) * 1000)::bigint
         FROM (SELECT 1) AS one LEFT JOIN imprint_bridge.agreed_state AS a ON a.key = $1";
    let row = db.query_opt(sql, &[(&key, Type::INT8)]).await?;
    let row = row.ok_or(DbFault::Damaged("agreed_state"))?;
    let revision: Option<i64> = get(&row, 0)?;
    Ok(AgreedView {
        is_accepted: false,
        revision: unsigned(revision.unwrap_or_default()),
        state: get(&row, 1)?,
        at: Timestamp::from_millis(get(&row, 2)?),
    })
}

async fn look(db: &Connected) -> Result<SharedSettings, DbFault> {
    let sql = "SELECT value FROM imprint_bridge.meta WHERE name = $1";
    let name = Setting::DestinationMode.name();
    let row = db.query_opt(sql, &[(&name, Type::TEXT)]).await?;
    let mode: Option<&[u8]> = row.as_ref().map(|row| get(row, 0)).transpose()?;
    let mode = mode.and_then(to_text).and_then(|mode| match mode {
        StoredText::Plain(mode) => Some(mode.to_owned()),
        StoredText::Sealed(_) => None,
    });
    Ok(SharedSettings { mode })
}

async fn order(db: &Connected, key: i64, order: TokenOrder) -> Result<TokenGrant, DbFault> {
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
