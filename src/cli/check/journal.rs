//! The check of the erasure journal.

use crate::config::{JournalPlace, OutboxSettings};
use crate::terminal::{print_notice, print_result};

/// Reports whether the erasure journal outlives the store, and returns the number of errors.
///
/// A missing folder is no error, because the machine of an author need not have the folder. A journal in the folder of the
/// store is no error either: it still repeats the erasures after `store restore`.
pub(super) fn check(settings: &OutboxSettings) -> usize {
    match settings.journal_place() {
        Ok(JournalPlace::Apart) => {}
        Ok(JournalPlace::NotSet) => print_result(
            "  outbox.erasure_journal is not set, so the restore of an older backup brings erased customers back",
        ),
        Ok(JournalPlace::BesideStore) => print_result(
            "  outbox.erasure_journal is in the folder of the store, so a loss or a restore of this folder brings erased customers back",
        ),
        Ok(JournalPlace::NoFolder(folder)) => print_result(format_args!(
            "  the folder {} does not exist; serve needs it for the erasure journal",
            folder.display()
        )),
        Err(reason) => {
            print_notice(format_args!("outbox.erasure_journal: {reason}"));
            return 1;
        }
    }
    0
}
