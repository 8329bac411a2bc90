//! The file names that a store or a copy of a store must not have.

/// The endings of the files that SQLite and the bridge create and delete beside a store.
///
/// SQLite or the bridge would delete a copy with such a name, or SQLite would apply the copy to the store as a log or a
/// journal.
const RESERVED_ENDINGS: [&str; 8] = [
    "-wal",
    "-shm",
    "-journal",
    ".lock",
    ".new",
    ".probe",
    ".replaced",
    ".reserve",
];

/// The text before the hexadecimal number in the name of SQLite's journal for several files.
const SUPER_JOURNAL: &str = "-mj";

/// When a restore replaces a store, the old store file gets a new name: its old name, this text and a number.
const REPLACED: &str = ".replaced.";

/// The maximum length of the name of a store, in bytes. The names of the files beside the store are longer, such as
/// `outbox.db.replaced.2-journal`, and a file system allows at most 255 bytes.
pub const NAME_BYTES_MAX: usize = 225;

/// Returns whether SQLite or the bridge gives the file name a special meaning.
pub fn is_reserved_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_numbered = |separator: &str, radix| {
        let number = name.rsplit_once(separator).map(|(_, number)| number);
        number.is_some_and(|number| number.chars().all(|digit| digit.is_digit(radix)))
    };
    name.is_empty()
        || name.starts_with(':')
        || name.starts_with("file:")
        || RESERVED_ENDINGS.iter().any(|ending| name.ends_with(ending))
        || is_numbered(SUPER_JOURNAL, 16)
        || is_numbered(REPLACED, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N161
    #[test]
    fn a_name_that_sqlite_deletes_is_reserved() {
        for name in [
            "",
            ":memory:",
            "file:outbox.db",
            "FILE:outbox.db?mode=memory",
            "outbox.db-wal",
            "outbox.db-WAL",
            "outbox.db-shm",
            "outbox.db-journal",
            "outbox.db-mj00A1B29FF",
            "outbox.db.lock",
            "outbox.db.new",
            "outbox.db.new-journal",
            "outbox.db.probe",
            "outbox.db.replaced",
            "outbox.db.replaced.2",
            "outbox.db.reserve",
        ] {
            assert!(is_reserved_name(name), "{name}");
        }
        for name in [
            "outbox.db",
            "outbox.db.2025-02-13",
            "copy",
            "new",
            "wal",
            "journal.db",
            "x-mjolnir",
        ] {
            assert!(!is_reserved_name(name), "{name}");
        }
    }
}
