//! The values by which the store finds a customer id in `lane.customer`, `pair.partner` and `pair.imprint`.
//!
//! A store without sealing keys contains the id itself, as a text. A sealed store contains a keyed digest of the id, as a
//! blob, and the id only in a sealed blob. While the bridge seals a store that was not sealed before, the store contains
//! both forms, and each id in only one of them.

use std::borrow::Cow;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use super::StoreConnection;
use crate::outbox::codec::LaneColumns;
use crate::outbox::keyed_digest::KeyedDigest;

/// A value by which the store finds a customer id.
#[derive(Clone, Debug)]
pub(in crate::outbox::sqlite) enum LookupId<'a> {
    Text(Cow<'a, str>),
    Digest(KeyedDigest),
}

impl ToSql for LookupId<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Digest(digest) => ValueRef::Blob(digest),
        }))
    }
}

/// All values by which the store possibly finds a customer id.
#[derive(Clone, Debug)]
pub(in crate::outbox::sqlite) struct LookupIds<'a> {
    /// The value of a new row.
    pub(in crate::outbox::sqlite) new: LookupId<'a>,
    /// The value of a row from before the first sealing key, if the store possibly has such a row.
    pub(in crate::outbox::sqlite) plain: Option<LookupId<'a>>,
}

impl<'a> LookupIds<'a> {
    pub(in crate::outbox::sqlite) fn of(store: &StoreConnection, id: &LaneColumns<'a>) -> Self {
        let text = || LookupId::Text(id.canonical.clone());
        match store.customer_digests() {
            Some(digests) => Self {
                new: LookupId::Digest(digests.of(id)),
                plain: store.sealer().has_plain().then(text),
            },
            None => Self {
                new: text(),
                plain: None,
            },
        }
    }

    pub(in crate::outbox::sqlite) fn all(&self) -> impl Iterator<Item = &LookupId<'a>> {
        std::iter::once(&self.new).chain(&self.plain)
    }
}
