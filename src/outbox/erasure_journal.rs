//! The erasure journal: a file outside the store with every erasure of a customer, so that an older backup of the store does
//! not bring an erased customer back.
//!
//! The bridge writes a record, and syncs it to disk, before it erases anything. The store keeps the numbers of the erasures
//! that it has finished. At each start, the bridge repeats the other erasures: after a restore of an older backup, and after
//! a crash.
//!
//! A restored store possibly lacks events of the customer, and the journal has neither their digests nor their versions. If
//! the store lacks entries that it had at the time of the order, the repeated erasure therefore blocks the customer: the
//! bridge ignores every later event until an operator ends the block. Otherwise, a sender that sends its events again after
//! the restore would bring erased data back.
//!
//! Each record is one line with hexadecimal digits: the ids of the customer, sealed with a key that is derived from the key
//! of the content digests. The newest sealing key seals the key of the content digests, and every backup of the store
//! contains it. The journal alone reveals nothing. The number of the record is bound into the seal.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ring::hmac::{HMAC_SHA256, Key};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::finished_erasures::FinishedErasures;
use super::{CustomerErasure, EntryId, ErasureProgress, LaneKey, LaterEvents};
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::random;
use crate::sealing::{KeyRing, RecordPlace, SALT_BYTES, SealingKey, Unopened};
use crate::time::Timestamp;

/// The label of the derivation of the journal's key.
const KEY_LABEL: &[u8] = b"imprint-bridge erasure journal v1";
/// The kind of the journal's records. No blob of the store has this kind.
const KIND: u8 = 64;
/// The maximum size of the journal. A record has about 300 bytes, so the journal has space for 200,000 erasures.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The file mode of the journal.
const MODE: u32 = 0o600;

/// The reason why the erasure journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The journal cannot be read or written.
    #[error("the erasure journal {path} cannot be used")]
    File {
        /// The path of the journal.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The journal is missing, but the store has finished erasures.
    #[error(
        "the erasure journal {0} is missing, but the store has finished erasures: put the journal back. If it is lost, create an empty file, and the bridge begins a new journal"
    )]
    Missing(PathBuf),
    /// The last record is older than the last erasure of the store, or the journal begins later.
    #[error(
        "the erasure journal {path} has the erasures {first} to {last}, but the store has finished only the erasures up to {finished}, or later erasures: put the complete journal back. If it is lost, replace the journal by an empty file, and repeat the missing erasures with `erase`"
    )]
    Gap {
        /// The path of the journal.
        path: PathBuf,
        /// The number of the first record.
        first: u64,
        /// The number of the last record.
        last: u64,
        /// The number of the last erasure that the store has finished.
        finished: u64,
    },
    /// The journal belongs to another store.
    #[error(
        "the erasure journal {0} belongs to another store: set outbox.erasure_journal to the journal of this store"
    )]
    OfAnotherStore(PathBuf),
    /// A record is damaged.
    #[error("line {line} of the erasure journal {path} is damaged: put an undamaged copy back")]
    Damaged {
        /// The path of the journal.
        path: PathBuf,
        /// The number of the line.
        line: usize,
    },
}

/// The sealed content of a record.
#[derive(Serialize, Deserialize)]
struct StoredErasure {
    at: i64,
    last: u64,
    /// The number of the newest entry in the store at the time of the order. An older program has not written it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest: Option<u64>,
    ignored: bool,
    imprint: Vec<String>,
    partner: Vec<String>,
    /// The numbers of invalid entries. An older program has not written them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    invalid: Vec<u64>,
}

/// The order of an operator to erase a customer, as the journal records it.
#[derive(Clone, Copy)]
pub(super) struct ErasureOrder<'a> {
    /// The ids of the customer.
    pub(super) keys: &'a [LaneKey],
    /// The invalid entries from whose events the mapping reads an id of the customer.
    pub(super) invalid: &'a [EntryId],
    pub(super) later_events: LaterEvents,
    /// The newest entry that the erasure concerns.
    pub(super) last: EntryId,
    /// The newest entry that the store has.
    pub(super) newest: EntryId,
    pub(super) at: Timestamp,
}

/// An opened erasure journal.
pub(super) struct ErasureJournal {
    path: PathBuf,
    key: KeyRing,
    /// The number of the next record.
    next: u64,
}

impl ErasureJournal {
    /// Opens the journal, or creates it if the store has finished no erasure. Returns the erasures that the store must
    /// repeat; `newest` is the newest entry that the store has. If the journal is empty, `finished` gives up the erasures
    /// that are not finished: the caller stores it.
    pub(super) fn open(
        path: &Path,
        digest_key: &[u8; 32],
        finished: &mut FinishedErasures,
        newest: EntryId,
    ) -> Result<(Self, Vec<CustomerErasure>), JournalError> {
        let file = |source| JournalError::File {
            path: path.to_owned(),
            source,
        };
        let lines = match read(path) {
            Ok(lines) => lines,
            Err(error) if error.kind() == io::ErrorKind::NotFound && finished.newest() == 0 => {
                create(path).map_err(file)?;
                tracing::info!(journal = %path.display(), "a new erasure journal begins");
                Vec::new()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(JournalError::Missing(path.to_owned()));
            }
            Err(error) => return Err(file(error)),
        };
        let mut journal = Self {
            path: path.to_owned(),
            key: key(digest_key),
            next: finished.newest().saturating_add(1),
        };
        let erasures = journal.erasures(&lines, newest)?;
        if let (Some((first, _)), Some((last, _))) = (erasures.first(), erasures.last()) {
            if *last < finished.newest() || *first > finished.up_to().saturating_add(1) {
                return Err(JournalError::Gap {
                    path: path.to_owned(),
                    first: *first,
                    last: *last,
                    finished: finished.newest(),
                });
            }
            journal.next = last.saturating_add(1);
        } else {
            finished.give_up();
        }
        Ok((journal, pending(erasures, finished)))
    }

    /// Appends a record, and syncs it to disk. Returns the number of the record.
    pub(super) fn append(&mut self, order: ErasureOrder<'_>) -> io::Result<u64> {
        let number = self.next;
        let ids = |is_imprint: bool| {
            let keys = order.keys.iter().filter_map(move |key| match key {
                LaneKey::Imprint(id) => is_imprint.then(|| id.as_str().to_owned()),
                LaneKey::Partner(id) => (!is_imprint).then(|| id.as_str().to_owned()),
            });
            keys.collect()
        };
        let stored = StoredErasure {
            at: order.at.as_millis(),
            last: order.last.0,
            newest: Some(order.newest.0),
            ignored: order.later_events == LaterEvents::Ignored,
            imprint: ids(true),
            partner: ids(false),
            invalid: order.invalid.iter().map(|entry| entry.0).collect(),
        };
        let stored = serde_json::to_vec(&stored)?;
        let mut salt = [0; SALT_BYTES];
        random::fill_random(&mut salt).map_err(io::Error::other)?;
        let sealed = self.key.seal(place(number), &stored, &salt);
        let sealed = sealed.map_err(io::Error::other)?.unwrap_or_default();
        self.write(&format!("{number} {}\n", hex(&sealed)))?;
        self.next = number.saturating_add(1);
        Ok(number)
    }

    /// Writes a line at the end of the journal. If the write fails, removes what it has written.
    fn write(&self, line: &str) -> io::Result<()> {
        let mut file = open_private(&self.path, File::options().append(true))?;
        let before = file.metadata()?.len();
        let written = file
            .write_all(line.as_bytes())
            .and_then(|()| file.sync_all());
        if written.is_err() {
            // The next start also ignores an incomplete line.
            drop(file.set_len(before));
        }
        written
    }

    /// Decodes the records. Their numbers have no gap.
    fn erasures(
        &self,
        lines: &[String],
        newest: EntryId,
    ) -> Result<Vec<(u64, CustomerErasure)>, JournalError> {
        let mut erasures: Vec<(u64, CustomerErasure)> = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let damaged = || JournalError::Damaged {
                path: self.path.clone(),
                line: index + 1,
            };
            let (number, sealed) = line.split_once(' ').ok_or_else(damaged)?;
            let number: u64 = number.parse().map_err(|_digits| damaged())?;
            let before = erasures.last().map(|(before, _)| before.saturating_add(1));
            if before.is_some_and(|expected| expected != number) {
                return Err(damaged());
            }
            let sealed = bytes(sealed).ok_or_else(damaged)?;
            let opened = self.key.open(place(number), &sealed);
            let opened = opened.map_err(|error| match error {
                Unopened::MissingKey(_) => JournalError::OfAnotherStore(self.path.clone()),
                Unopened::Damaged => damaged(),
            })?;
            let stored = serde_json::from_slice(&opened).map_err(|_json| damaged())?;
            erasures.push((number, erasure(number, &stored, newest)));
        }
        Ok(erasures)
    }
}

/// Returns the erasures that are not finished. A finished erasure follows if an earlier one of the same customer is not: the
/// last erasure decides whether the bridge ignores later events of the customer.
fn pending(
    erasures: Vec<(u64, CustomerErasure)>,
    finished: &FinishedErasures,
) -> Vec<CustomerErasure> {
    let mut pending: Vec<CustomerErasure> = Vec::new();
    let mut ids = HashSet::new();
    for (number, erasure) in erasures {
        let own = erasure.keys.iter().map(|key| match key {
            LaneKey::Imprint(id) => (true, id.canonical()),
            LaneKey::Partner(id) => (false, id.as_str().to_owned()),
        });
        let own: Vec<(bool, String)> = own.collect();
        if finished.contains(number) && !own.iter().any(|id| ids.contains(id)) {
            continue;
        }
        ids.extend(own);
        pending.push(erasure);
    }
    pending
}

/// Returns an erasure of the journal for a store whose newest entry is `newest`. Blocks the customer if the store lacks
/// entries that it had at the time of the order: events of the customer can be among them.
fn erasure(number: u64, stored: &StoredErasure, newest: EntryId) -> CustomerErasure {
    let lacks_entries = newest.0 < stored.newest.unwrap_or(stored.last);
    let imprint = stored.imprint.iter();
    let imprint = imprint.filter_map(|id| ImprintId::parse(id).ok());
    let partner = stored.partner.iter();
    let partner = partner.filter_map(|id| PartnerCustomerId::parse(id).ok());
    let imprint = imprint.map(LaneKey::Imprint);
    CustomerErasure {
        keys: imprint.chain(partner.map(LaneKey::Partner)).collect(),
        invalid: stored.invalid.iter().copied().map(EntryId).collect(),
        later_events: match stored.ignored || lacks_entries {
            true => LaterEvents::Ignored,
            false => LaterEvents::Delivered,
        },
        at: Timestamp::from_millis(stored.at),
        progress: Some(ErasureProgress {
            number: Some(number),
            last: EntryId(stored.last),
            examined: EntryId(0),
        }),
    }
}

/// Derives the key of the journal from the key of the content digests.
fn key(digest_key: &[u8; 32]) -> KeyRing {
    let derived = ring::hmac::sign(&Key::new(HMAC_SHA256, digest_key), KEY_LABEL);
    let key = SealingKey::parse(&hex(derived.as_ref()).into());
    KeyRing::new(key.ok())
}

const fn place(number: u64) -> RecordPlace {
    RecordPlace {
        kind: KIND,
        id: number,
    }
}

/// Reads the complete lines of the journal, and removes an incomplete last line, which a crash has left: nobody got an
/// answer about its erasure.
fn read(path: &Path) -> io::Result<Vec<String>> {
    let mut file = open_private(path, File::options().read(true).write(true))?;
    if file.metadata()?.len() > JOURNAL_BYTES_MAX {
        return Err(io::Error::other("the file is larger than 64 MiB"));
    }
    let mut text = String::new();
    (&mut file)
        .take(JOURNAL_BYTES_MAX)
        .read_to_string(&mut text)?;
    let complete = text.rfind('\n').map_or(0, |end| end + 1);
    if complete < text.len() {
        file.set_len(u64::try_from(complete).unwrap_or_default())?;
        file.sync_all()?;
        text.truncate(complete);
    }
    Ok(text.lines().map(str::to_owned).collect())
}

/// Opens the journal for the user of the bridge alone: another user who can write the file could cut it, and the next start
/// would refuse it. A pipe or a device is no journal, and an open without `NONBLOCK` would wait for its other end.
fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let options = options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if found.permissions().mode() & 0o777 & !MODE != 0 {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}

fn create(path: &Path) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true).mode(MODE);
    options.open(path)?.sync_all()?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let pairs = pairs.iter().map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST_KEY: [u8; 32] = [7; 32];
    const NEWEST: EntryId = EntryId(8);

    fn append(journal: &mut ErasureJournal, id: &str) -> u64 {
        let order = ErasureOrder {
            keys: &[LaneKey::Imprint(ImprintId::parse(id).unwrap())],
            invalid: &[EntryId(4)],
            later_events: LaterEvents::Delivered,
            last: EntryId(9),
            newest: EntryId(8),
            at: Timestamp::from_millis(5),
        };
        journal.append(order).unwrap()
    }

    fn open(path: &Path, finished: u64) -> Result<(ErasureJournal, Vec<CustomerErasure>), String> {
        let mut finished = FinishedErasures::parse(finished, "").unwrap();
        ErasureJournal::open(path, &DIGEST_KEY, &mut finished, NEWEST)
            .map_err(|error| error.to_string())
    }

    fn refusal(path: &Path, finished: u64) -> String {
        open(path, finished).err().unwrap()
    }

    /// FAULTS N1122: a pipe does not stop the start, and only the bridge's user can change the journal.
    #[test]
    fn a_journal_is_a_private_regular_file() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let opened =
            ErasureJournal::open(&pipe, &DIGEST_KEY, &mut FinishedErasures::default(), NEWEST);
        let error = opened.err().unwrap();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "it is not a regular file");

        let path = folder.path().join("journal");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let mut journal = open(&path, 0).unwrap().0;
        append(&mut journal, "canary-1");
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
    }

    /// FAULTS N647, N648: the journal returns the erasures that a restored store has not finished, and names no id.
    #[test]
    fn a_journal_returns_the_unfinished_erasures() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, pending) = open(&path, 0).unwrap();
        assert_eq!(pending, []);
        assert_eq!(append(&mut journal, "canary-1"), 1);
        assert_eq!(append(&mut journal, "canary-2"), 2);
        for (finished, left) in [
            (0, vec!["canary-1", "canary-2"]),
            (1, vec!["canary-2"]),
            (2, vec![]),
        ] {
            let (_, pending) = open(&path, finished).unwrap();
            let keys: Vec<LaneKey> = pending.iter().flat_map(|one| one.keys.clone()).collect();
            let left = left
                .iter()
                .map(|id| LaneKey::Imprint(ImprintId::parse(id).unwrap()));
            assert_eq!(keys, left.collect::<Vec<_>>(), "{finished}");
            assert!(
                pending
                    .iter()
                    .all(|one| one.progress.unwrap().last == EntryId(9))
            );
            assert!(pending.iter().all(|one| one.invalid == [EntryId(4)]));
        }
        assert!(!std::fs::read_to_string(&path).unwrap().contains("canary"));
    }

    /// FAULTS N1140: only a store that has every entry of the time of the order can say what the customer's events were. A
    /// record of an older program has only the newest entry that the erasure concerns.
    #[test]
    fn a_store_that_lacks_entries_blocks_the_customer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = open(&path, 0).unwrap();
        append(&mut journal, "a");
        let old = br#"{"at":5,"last":9,"ignored":false,"imprint":["b"],"partner":[]}"#;
        let sealed = journal.key.seal(place(2), old, &[0; SALT_BYTES]);
        let line = format!("2 {}\n", hex(&sealed.unwrap().unwrap()));
        journal.write(&line).unwrap();
        let (delivered, ignored) = (LaterEvents::Delivered, LaterEvents::Ignored);
        for (newest, expected) in [
            (7, [ignored, ignored]),
            (8, [delivered, ignored]),
            (9, [delivered, delivered]),
        ] {
            let mut finished = FinishedErasures::default();
            let newest = EntryId(newest);
            let opened = ErasureJournal::open(&path, &DIGEST_KEY, &mut finished, newest);
            let pending = opened.unwrap().1;
            let later: Vec<LaterEvents> = pending.iter().map(|one| one.later_events).collect();
            assert_eq!(later, expected, "{newest:?}");
        }
    }

    /// FAULTS N648: a journal that cannot be trusted is refused with a sentence that says what to do.
    #[test]
    fn a_journal_that_is_not_complete_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        assert!(refusal(&path, 3).contains("is missing"));
        std::fs::write(&path, "").unwrap();
        let (mut journal, _) = open(&path, 3).unwrap();
        assert_eq!(
            append(&mut journal, "a"),
            4,
            "a new journal begins after the store"
        );
        assert_eq!(append(&mut journal, "b"), 5);
        assert!(refusal(&path, 2).contains("has the erasures 4 to 5"));
        assert!(refusal(&path, 6).contains("has the erasures 4 to 5"));
        let mut finished = FinishedErasures::parse(3, "").unwrap();
        let other = ErasureJournal::open(&path, &[8; 32], &mut finished, NEWEST);
        let other = other.err().unwrap();
        assert!(other.to_string().contains("belongs to another store"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}6 0102")).unwrap();
        assert_eq!(open(&path, 3).unwrap().1.len(), 2, "the torn line is gone");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        let changed = text.replacen("4 ", "5 ", 1);
        for damaged in [changed, text.replacen('\n', "0\n", 1), "x\n".to_owned()] {
            std::fs::write(&path, damaged).unwrap();
            assert!(refusal(&path, 3).contains("line"));
        }
    }

    /// FAULTS N1110, N1112: only the unfinished erasures are repeated, and the later erasures of the same customers.
    #[test]
    fn an_erasure_that_ended_out_of_order_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = open(&path, 0).unwrap();
        for id in ["a", "b", "c", "a", "d"] {
            append(&mut journal, id);
        }
        for (up_to, later, expected) in [
            (0, "2 3 4", vec![1, 4, 5]),
            (1, "3 4 5", vec![2]),
            (0, "", vec![1, 2, 3, 4, 5]),
            (5, "", vec![]),
        ] {
            let mut finished = FinishedErasures::parse(up_to, later).unwrap();
            let (_, pending) =
                ErasureJournal::open(&path, &DIGEST_KEY, &mut finished, NEWEST).unwrap();
            let numbers = pending.iter();
            let numbers: Vec<u64> = numbers
                .filter_map(|one| one.progress.and_then(|progress| progress.number))
                .collect();
            assert_eq!(numbers, expected, "{up_to}, {later}");
        }
        std::fs::write(&path, "").unwrap();
        let mut finished = FinishedErasures::parse(1, "3 5").unwrap();
        let opened = ErasureJournal::open(&path, &DIGEST_KEY, &mut finished, NEWEST);
        let (mut journal, _) = opened.unwrap();
        assert_eq!(finished.up_to(), 5, "the lost erasures are given up");
        assert_eq!(append(&mut journal, "e"), 6);
    }
}
