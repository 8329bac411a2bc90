//! The part of a pass that seals customer ids, of entries, of lanes, of identity links and of the evidence, and that binds
//! updates to what routes and orders them.
//!
//! The digest by which the store finds an id never changes, so a later pass with a newer key only seals the blobs again.

use std::borrow::Cow;

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, params};

use super::{ResealStep, STEP_ROWS_MAX};
use crate::outbox::codec::{self, BlobKind, LaneColumns, StoredText};
use crate::outbox::keyed_digest::KeyedDigest;
use crate::outbox::sqlite::statements::Statements;
use crate::outbox::sqlite::{columns, identity_link};
use crate::outbox::{IdentityLink, LaneId, Setting};
use crate::sealing::is_sealed;

/// The part of the identity links at which a pass is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkPlace {
    /// The links that are not sealed. A sealed link leaves this part.
    Plain,
    /// The sealed links after this digest.
    Sealed(KeyedDigest),
}

/// The new columns of a lane.
struct SealedLane {
    lane: u64,
    customer: Option<KeyedDigest>,
    received: Option<StoredText<'static>>,
}

impl ResealStep<'_> {
    /// Binds the updates of some entries to what routes and orders them, and moves the CRM's ids of the column `partner` into
    /// the sealed updates. Leaves an entry with an unreadable update as it is.
    pub(super) fn updates(
        &mut self,
        table: &str,
        (after, last): (u64, u64),
    ) -> rusqlite::Result<()> {
        let sealer = self.store.sealer();
        let mut statement = self.store.prepare_cached(&format!(
            "SELECT entry, partner, facts, lane, epoch, value, stated, jump_max FROM {table}
             WHERE entry > ?1 AND entry <= ?2 AND (partner IS NOT NULL OR ?3)"
        ))?;
        let mut rows = statement.query(params![after, last, self.binds])?;
        let mut changes = Vec::new();
        while let Some(row) = rows.next()? {
            let entry: u64 = columns::or_default(row, 0);
            let partner = row.get_ref(1)?.as_str().ok();
            let update = row.get_ref(2)?.as_bytes().unwrap_or_default();
            let lane = LaneId(columns::or_default(row, 3));
            let Ok(route) = columns::route(row, lane, [4, 5, 6, 7]) else {
                continue;
            };
            let sealed = codec::bind(sealer, entry, (update, partner), &route);
            if let Some(sealed) = sealed.map_err(columns::unwritable)? {
                self.has_erased |= partner.is_some() || !is_sealed(update);
                changes.push((entry, sealed));
            }
        }
        let update = format!("UPDATE {table} SET facts = ?2, partner = NULL WHERE entry = ?1");
        for (entry, sealed) in changes {
            let mut update = self.store.prepare_cached(&update)?;
            update.execute(params![entry, sealed])?;
            self.sealed = self.sealed.saturating_add(1);
        }
        Ok(())
    }

    /// Seals the customer ids of some lanes.
    pub(super) fn lane_customers(&mut self, (after, last): (u64, u64)) -> rusqlite::Result<()> {
        let store = self.store;
        let mut statement = store.prepare_cached(
            "SELECT id, kind, customer, received FROM lane WHERE id > ?1 AND id <= ?2 AND kind IN (0, 1)",
        )?;
        let mut rows = statement.query(params![after, last])?;
        let mut changes = Vec::new();
        while let Some(row) = rows.next()? {
            let lane: u64 = columns::or_default(row, 0);
            let stored = row.get_ref(3)?;
            if matches!(stored, ValueRef::Text(_)) && store.sealer().accept_plain().is_err() {
                continue;
            }
            let customer = row.get_ref(2)?.as_str().ok();
            let customer = customer.and_then(|customer| {
                let id = LaneColumns {
                    kind: columns::or_default(row, 1),
                    canonical: Cow::Borrowed(customer),
                    received: customer,
                };
                Some(store.customer_digests()?.of(&id))
            });
            let received = self.seal_again(BlobKind::LaneCustomer, lane, stored)?;
            if customer.is_some() || received.is_some() {
                changes.push(SealedLane {
                    lane,
                    customer,
                    received,
                });
            }
        }
        for change in changes {
            self.seal_lane(&change)?;
        }
        Ok(())
    }

    fn seal_lane(&mut self, change: &SealedLane) -> rusqlite::Result<()> {
        // A damaged lane with the digest of another lane stays as it is.
        let mut update = self.store.prepare_cached(
            "UPDATE OR IGNORE lane SET customer = coalesce(?2, customer), received = coalesce(?3, received) WHERE id = ?1",
        )?;
        let received = change.received.as_ref().map(columns::bound_text);
        update.execute(params![change.lane, change.customer, received])?;
        self.sealed = self.sealed.saturating_add(1);
        self.has_erased |= change.customer.is_some();
        Ok(())
    }

    /// Seals the next identity links. Returns the place of the next step, or `None` if no link is left.
    pub(super) fn links(&mut self, place: LinkPlace) -> rusqlite::Result<Option<LinkPlace>> {
        match place {
            LinkPlace::Plain => Ok(Some(match self.plain_links()? {
                0 => LinkPlace::Sealed(KeyedDigest::default()),
                _ => LinkPlace::Plain,
            })),
            LinkPlace::Sealed(after) => Ok(self.sealed_links(&after)?.map(LinkPlace::Sealed)),
        }
    }

    /// Seals the next links that are not sealed, and deletes damaged ones: dispatch asks Imprint again. Returns the number
    /// of these links.
    fn plain_links(&mut self) -> rusqlite::Result<usize> {
        // SQLite sorts every text before every blob.
        let mut statement = self.store.prepare_cached(
            "SELECT partner, received, confirmed_at FROM pair WHERE partner < x'' ORDER BY partner LIMIT ?1",
        )?;
        let mut rows = statement.query([STEP_ROWS_MAX])?;
        let mut plain: Vec<(Vec<u8>, Option<IdentityLink>)> = Vec::new();
        while let Some(row) = rows.next()? {
            let partner = row.get_ref(0)?.as_bytes().unwrap_or_default();
            plain.push((
                partner.to_vec(),
                identity_link::link(row, self.store.sealer())?,
            ));
        }
        let statements = &Statements::of(self.store);
        for (partner, link) in &plain {
            self.store
                .prepare_cached("DELETE FROM pair WHERE partner = CAST(?1 AS TEXT)")?
                .execute([partner])?;
            if let Some(link) = link {
                identity_link::store(statements, link)?;
                self.sealed = self.sealed.saturating_add(1);
            }
            self.has_erased = true;
        }
        Ok(plain.len())
    }

    /// Seals the next sealed links again. Returns the digest of the last one.
    fn sealed_links(&mut self, after: &KeyedDigest) -> rusqlite::Result<Option<KeyedDigest>> {
        let mut statement = self.store.prepare_cached(
            "SELECT partner, received FROM pair WHERE partner > ?1 AND length(partner) = ?2 ORDER BY partner LIMIT ?3",
        )?;
        let mut rows = statement.query(params![after, after.len(), STEP_ROWS_MAX])?;
        let (mut last, mut changes) = (None, Vec::new());
        while let Some(row) = rows.next()? {
            let partner: KeyedDigest = row.get(0)?;
            let record = codec::link_record(&partner);
            let sealed = self.seal_again(BlobKind::LinkIds, record, row.get_ref(1)?)?;
            changes.extend(sealed.map(|sealed| (partner, sealed)));
            last = Some(partner);
        }
        for (partner, sealed) in changes {
            self.store
                .prepare_cached("UPDATE pair SET received = ?2 WHERE partner = ?1")?
                .execute(params![partner, columns::bound_text(&sealed)])?;
            self.sealed = self.sealed.saturating_add(1);
        }
        Ok(last)
    }

    /// Seals the stored evidence.
    pub(super) fn evidence(&mut self) -> rusqlite::Result<()> {
        let name = Setting::Evidence.name();
        let mut statement = self
            .store
            .prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
        let sealed = statement.query_row([name], |row| {
            self.seal_again(BlobKind::Evidence, 0, row.get_ref(0)?)
        });
        if let Some(sealed) = sealed.optional()?.flatten() {
            self.store
                .prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1")?
                .execute(params![name, columns::bound_text(&sealed)])?;
        }
        Ok(())
    }
}
