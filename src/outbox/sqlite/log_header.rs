//! The header of the write-ahead log. SQLite ignores a log without a valid header, and so loses every commit in it.
//!
//! The form of the header stands in "WAL File Format", <https://www.sqlite.org/fileformat2.html#walformat>.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The length of the header in bytes.
const HEADER_BYTES: usize = 32;
/// The first four bytes of a log whose checksums read words with the lowest byte first.
const MAGIC_LITTLE_ENDIAN: [u8; 4] = 0x377f_0682_u32.to_be_bytes();
/// The first four bytes of a log whose checksums read words with the highest byte first.
const MAGIC_BIG_ENDIAN: [u8; 4] = 0x377f_0683_u32.to_be_bytes();
/// The place of the checkpoint number in the header, in words of four bytes.
const CHECKPOINT_NUMBER: usize = 3;
/// The place of the first salt in the header, in words of four bytes.
const FIRST_SALT: usize = 4;

/// The origin of a log: the difference of the first salt and the checkpoint number in its header.
///
/// SQLite chooses the first salt of a new log at random, with the checkpoint number 0. Each time SQLite starts the log
/// again from the beginning, it adds 1 to both numbers, also in the next process after a crash. The difference therefore
/// stays the same until SQLite deletes the log, and it differs from the difference in the log of another store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogOrigin(u32);

impl LogOrigin {
    /// Reads the origin from the first bytes of a log. Returns `None` if SQLite ignores this log.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        if !is_valid(start) {
            return None;
        }
        let (words, _) = start.as_chunks::<4>();
        let word = |number: usize| words.get(number).copied().map(u32::from_be_bytes);
        Some(Self(
            word(FIRST_SALT)?.wrapping_sub(word(CHECKPOINT_NUMBER)?),
        ))
    }
}

impl fmt::Display for LogOrigin {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "{:08x}", self.0)
    }
}

impl FromStr for LogOrigin {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u32::from_str_radix(text, 16).map(Self)
    }
}

/// Returns whether these are the first bytes of a log that SQLite reads.
pub(super) fn is_valid(start: &[u8]) -> bool {
    let Some((header, _)) = start.split_first_chunk::<HEADER_BYTES>() else {
        return false;
    };
    let (fields, checksum) = header.split_at(HEADER_BYTES - 8);
    let read = match fields.first_chunk() {
        Some(&MAGIC_LITTLE_ENDIAN) => u32::from_le_bytes,
        Some(&MAGIC_BIG_ENDIAN) => u32::from_be_bytes,
        Some(_) | None => return false,
    };
    let (words, _) = fields.as_chunks::<4>();
    let (pairs, _) = words.as_chunks::<2>();
    let sums = pairs
        .iter()
        .fold((0_u32, 0_u32), |(first, second), [one, two]| {
            let first = first.wrapping_add(read(*one)).wrapping_add(second);
            (first, second.wrapping_add(read(*two)).wrapping_add(first))
        });
    [sums.0.to_be_bytes(), sums.1.to_be_bytes()].concat() == checksum
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn the_header_that_sqlite_writes_is_valid_until_one_bit_changes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Connection::open(folder.path().join("db")).unwrap();
        store.pragma_update(None, "journal_mode", "WAL").unwrap();
        store.execute_batch("CREATE TABLE t (a)").unwrap();
        let log = std::fs::read(folder.path().join("db-wal")).unwrap();
        assert!(is_valid(&log));
        assert!(!is_valid(&log[..HEADER_BYTES - 1]));
        for bit in 0..HEADER_BYTES * 8 {
            let mut changed = log.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_valid(&changed), "bit {bit}");
        }
    }

    /// FAULTS N785: the origin of a log is the same after every reset and every crash, and differs between stores.
    #[test]
    fn the_origin_stays_the_same_until_sqlite_deletes_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let origin = |name: &str| {
            let log = std::fs::read(folder.path().join(name)).unwrap();
            LogOrigin::of(&log).unwrap()
        };
        let open = |name: &str| {
            let store = Connection::open(folder.path().join(name)).unwrap();
            store
                .pragma_update(None, "locking_mode", "EXCLUSIVE")
                .unwrap();
            store.pragma_update(None, "journal_mode", "WAL").unwrap();
            store
                .execute_batch("CREATE TABLE IF NOT EXISTS t (a); INSERT INTO t VALUES (1)")
                .unwrap();
            store
        };
        let store = open("db");
        let first = origin("db-wal");
        let mut logs = vec![std::fs::read(folder.path().join("db-wal")).unwrap()];
        let reset = |store: &Connection, logs: &mut Vec<Vec<u8>>, name: &str| {
            for mode in ["PASSIVE", "TRUNCATE", "RESTART"] {
                let checkpoint = format!("PRAGMA wal_checkpoint({mode})");
                store.query_row(&checkpoint, [], |_| Ok(())).unwrap();
                store.execute_batch("INSERT INTO t VALUES (2)").unwrap();
                assert_eq!(origin(name), first, "{mode}");
                logs.push(std::fs::read(folder.path().join(name)).unwrap());
            }
        };
        reset(&store, &mut logs, "db-wal");
        // A copy of the files is what a crash leaves.
        for ending in ["", "-wal"] {
            let at = |name: &str| folder.path().join(format!("{name}{ending}"));
            std::fs::copy(at("db"), at("crashed")).unwrap();
        }
        let crashed = open("crashed");
        reset(&crashed, &mut logs, "crashed-wal");
        let salts: std::collections::BTreeSet<_> =
            logs.iter().map(|log| log[16..24].to_vec()).collect();
        assert_eq!(salts.len(), logs.len());
        assert_eq!(first.to_string().parse(), Ok(first));
        let other = open("other");
        assert_ne!(origin("other-wal"), first);
        drop((store, other));
        let store = open("db");
        assert_ne!(origin("db-wal"), first);
        drop(store);
    }
}
