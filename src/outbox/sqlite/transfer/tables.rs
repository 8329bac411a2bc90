//! The tables of a store in a file, and the statements that read and write their rows.

use crate::outbox::transfer::row::{RowKind, TransferValue};

use TransferValue::{Bytes, Null, Number, Text};

/// Keeps a receipt of nothing if the receipts of the newest entries are gone: the next entry follows the highest number of
/// a receipt. 5 is "discarded".
pub(super) const KEEP_HIGHEST_ENTRY: &str = "INSERT INTO entry (id, source, ce_source, event_id, event_type, digest, accepted_at, state, settled_at)
    SELECT ?1, 'bridge', '', 'highest-number-' || ?1, 'highest-number', zeroblob(16), 0, 5, 0
    WHERE ?1 > (SELECT coalesce(max(id), 0) FROM entry)";

/// Adds up the bytes of the events, announces tombstones, and marks the store as closed in order.
pub(super) const COMPLETE: &str = "INSERT INTO stored_bytes (source, bytes)
        SELECT source, sum(event_bytes) FROM (
            SELECT source, event_bytes FROM waiting
            UNION ALL SELECT source, event_bytes FROM parked
            UNION ALL SELECT source, event_bytes FROM held
            UNION ALL SELECT source, event_bytes FROM undecided)
        GROUP BY source;
    INSERT INTO meta (name, value) SELECT 'erasures', 1
        WHERE EXISTS (SELECT 1 FROM lane WHERE kind BETWEEN 2 AND 5) OR EXISTS (SELECT 1 FROM entry WHERE event_id LIKE 'erased-%');
    INSERT INTO meta (name, value) SELECT 'retirements', 1 WHERE EXISTS (SELECT 1 FROM lane WHERE kind > 5);
    INSERT OR REPLACE INTO meta (name, value) VALUES ('clean', 1);";

/// A table of the store, and the statements that read and write its rows.
#[derive(Clone, Copy)]
pub(super) struct FileTable {
    pub(super) name: &'static str,
    /// Selects the columns of the rows, in their order, after the first of two parameters. The first column finds the row.
    pub(super) select: &'static str,
    pub(super) insert: &'static str,
}

/// The settings that belong to the file, and not to the store. The file of a copy has no backup yet.
macro_rules! own_settings {
    () => {
        "('digest_key', 'clean', 'openings', 'erasures', 'retirements', 'log_mark', 'needs_log', 'secure_delete', 'last_backup', 'transfer', 'unbound_updates')"
    };
}

/// Builds the statement that selects the payloads of a state.
macro_rules! select_payloads {
    ($table:literal, $state:literal, $set_aside:literal) => {
        concat!(
            "SELECT p.entry, p.lane, ",
            $state,
            ", coalesce(p.source, (SELECT e.source FROM entry e WHERE e.id = p.entry), ''), p.epoch, p.value,
                CAST(p.facts AS BLOB), CAST(p.event AS BLOB), coalesce(p.event_bytes, length(p.event)), p.partner, p.stated,
                p.accepted_at, p.jump_max, ",
            $set_aside,
            " FROM ",
            $table,
            " p WHERE p.entry > ?1 ORDER BY p.entry LIMIT ?2"
        )
    };
}

/// Builds the statement that inserts a payload of a state. The table lacks the columns about parked entries.
macro_rules! insert_payload {
    ($table:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (entry, lane, source, epoch, value, facts, event, event_bytes, partner, stated, accepted_at, jump_max)
             VALUES (?1, ?2, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        )
    };
}

impl FileTable {
    pub(super) const fn of(kind: RowKind) -> Self {
        match kind {
            RowKind::SealingKeys => SEALING_KEYS,
            RowKind::Settings => SETTINGS,
            RowKind::Lanes => LANES,
            RowKind::Receipts => RECEIPTS,
            RowKind::Waiting => Self {
                name: "waiting",
                select: select_payloads!("waiting", "0", "NULL, NULL, NULL"),
                insert: insert_payload!("waiting"),
            },
            RowKind::Parked => PARKED,
            RowKind::Held => Self {
                name: "held",
                select: select_payloads!("held", "6", "NULL, NULL, NULL"),
                insert: insert_payload!("held"),
            },
            RowKind::Undecided => Self {
                name: "undecided",
                select: select_payloads!("undecided", "7", "NULL, NULL, NULL"),
                insert: insert_payload!("undecided"),
            },
            RowKind::Links => LINKS,
            RowKind::Origins => ORIGINS,
            RowKind::Audit => AUDIT,
        }
    }

    /// Returns whether the table is read in pages. The other tables have a few rows.
    pub(super) fn is_paged(&self) -> bool {
        self.select.contains("?2")
    }

    /// Returns the value before the rows that follow `after`.
    pub(super) fn start(&self, after: &TransferValue) -> TransferValue {
        match after {
            // No link has an empty id, and SQLite sorts every text before every blob.
            Null if self.name == LINKS.name => Text(String::new()),
            Null => Number(i64::MIN),
            Number(_) | Text(_) | Bytes(_) => after.clone(),
        }
    }
}

/// Returns the number of columns that the statement of this kind selects.
pub(super) fn width(kind: RowKind) -> usize {
    let width = kind.columns().len();
    // The column `erased` follows from the kind of the lane.
    if kind == RowKind::Lanes {
        width - 1
    } else {
        width
    }
}

const SEALING_KEYS: FileTable = FileTable {
    name: "sealing_key",
    select: "SELECT id FROM sealing_key ORDER BY id",
    insert: "INSERT OR IGNORE INTO sealing_key (id) VALUES (?1)",
};
const SETTINGS: FileTable = FileTable {
    name: "meta",
    select: concat!(
        "SELECT name, value FROM meta WHERE name NOT IN ",
        own_settings!(),
        " ORDER BY name"
    ),
    insert: "INSERT INTO meta (name, value) VALUES (?1, ?2)",
};
const LANES: FileTable = FileTable {
    name: "lane",
    select: "SELECT id, kind, customer, received, due_at, idle, low, failures, spent, tried_at, blamed_since, unfold_to,
            CAST(versions AS BLOB), maybe_sent, spelled, unproven_since, CAST(absence AS BLOB)
        FROM lane WHERE id > ?1 ORDER BY id LIMIT ?2",
    insert: "INSERT INTO lane (id, kind, customer, received, due_at, idle, low, failures, spent, tried_at, blamed_since, unfold_to,
            versions, maybe_sent, spelled, unproven_since, absence)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
};
const RECEIPTS: FileTable = FileTable {
    name: "entry",
    select: "SELECT id, source, ce_source, event_id, event_type, digest, lane, accepted_at, state, attempts, settled_at,
            superseded_by, ignored, CAST(skipped AS BLOB)
        FROM entry WHERE id > ?1 ORDER BY id LIMIT ?2",
    insert: "INSERT INTO entry (id, source, ce_source, event_id, event_type, digest, lane, accepted_at, state, attempts, settled_at,
            superseded_by, ignored, skipped)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
};
const PARKED: FileTable = FileTable {
    name: "parked",
    select: select_payloads!(
        "parked",
        "4",
        "p.reason, p.detail, CAST(p.errors AS BLOB)"
    ),
    insert: "INSERT INTO parked (entry, lane, source, epoch, value, facts, event, event_bytes, partner, stated, accepted_at,
            jump_max, reason, detail, errors)
        VALUES (?1, ?2, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
};
const LINKS: FileTable = FileTable {
    name: "pair",
    select: "SELECT partner, imprint, received, confirmed_at FROM pair WHERE partner > ?1 ORDER BY partner LIMIT ?2",
    insert: "INSERT INTO pair (partner, imprint, received, confirmed_at) VALUES (?1, ?2, ?3, ?4)",
};
const ORIGINS: FileTable = FileTable {
    name: "origin",
    select: "SELECT entry, lane, source, ce_source, event_id, delivered_at, attempts
        FROM origin WHERE entry > ?1 ORDER BY entry LIMIT ?2",
    insert: "INSERT INTO origin (entry, lane, source, ce_source, event_id, delivered_at, attempts) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
};
const AUDIT: FileTable = FileTable {
    name: "act",
    select: "SELECT number, at, who, what, on_what, entries, reason, hash FROM act WHERE number > ?1 ORDER BY number LIMIT ?2",
    insert: "INSERT INTO act (number, at, who, what, on_what, entries, reason, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
};
