//! The erasure of deleted rows from the write-ahead log.

use super::Writer;
use super::job::{Reply, failed, send, stops_the_store};
use crate::outbox::Error;
use crate::outbox::sqlite::erase::truncate_log;

impl Writer<'_> {
    /// Truncates the write-ahead log, which contains the rows that the store has deleted.
    pub(super) fn erase(&self, replies: Vec<Reply<()>>) -> rusqlite::Result<()> {
        // The bridge calls this function at intervals, also while it has nothing else to write.
        self.disk.adjust_again(self.store);
        // While a file is missing from its path, an operator possibly puts it back. The file then needs its log.
        let erased = if self.files.displaced().is_some() {
            Ok(false)
        } else {
            self.disk.look_again(self.store);
            truncate_log(self.store)
        };
        self.files.leave();
        let answer = match erased {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Busy),
            // First: SQLite reports a full disk also as a failed write, which otherwise stops the store.
            Err(error) if self.disk.is_full(&error) => Err(Error::Full),
            Err(error) if stops_the_store(&error) => return Err(error),
            Err(error) => Err(failed(&error, "erasing")),
        };
        for reply in replies {
            send(reply, answer.clone());
        }
        Ok(())
    }
}
