//! What all replicas know about the destination.

use std::rc::Rc;

use tokio_postgres::types::Type;

use super::PostgresOutbox;
use super::columns::{get, to_text};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use crate::outbox::codec::StoredText;
use crate::outbox::{Setting, SharedDestination, SharedView, StoreFuture};

impl SharedDestination for PostgresOutbox {
    fn exchange(&self) -> StoreFuture<'_, Option<SharedView>> {
        self.read(async move |engine: Rc<Engine>| Ok(Some(engine.read(look).await?)))
    }
}

async fn look(db: &Connected) -> Result<SharedView, DbFault> {
    let sql = "SELECT value FROM imprint_bridge.meta WHERE name = $1";
    let name = Setting::DestinationMode.name();
    let row = db.query_opt(sql, &[(&name, Type::TEXT)]).await?;
    let mode: Option<&[u8]> = row.as_ref().map(|row| get(row, 0)).transpose()?;
    let mode = mode.and_then(to_text).and_then(|mode| match mode {
        StoredText::Plain(mode) => Some(mode.to_owned()),
        StoredText::Sealed(_) => None,
    });
    Ok(SharedView { mode })
}
