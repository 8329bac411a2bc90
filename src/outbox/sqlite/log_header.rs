//! The header of the write-ahead log. SQLite ignores a log without a valid header, and so loses every commit in it.
//!
//! The form of the header stands in "WAL File Format", <https://www.sqlite.org/fileformat2.html#walformat>.

/// The length of the header in bytes.
const HEADER_BYTES: usize = 32;
/// The first four bytes of a log whose checksums read words with the lowest byte first.
const MAGIC_LITTLE_ENDIAN: [u8; 4] = 0x377f_0682_u32.to_be_bytes();
/// The first four bytes of a log whose checksums read words with the highest byte first.
const MAGIC_BIG_ENDIAN: [u8; 4] = 0x377f_0683_u32.to_be_bytes();

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
}
