//! The transaction of a group commit. It runs the commands of the group one after another.

use rusqlite::{Connection, Transaction};

use super::job::recover;
use crate::outbox::Error;
use crate::outbox::sqlite::counts::Counts;
use crate::outbox::sqlite::disk_space::DiskSpace;

/// Which commands of a group the writer thread rolls back when one command fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// The whole group. The writer thread tries this first, because it needs no savepoints.
    Group,
    /// Only the failing command. The writer thread commits the other commands of the group.
    Command,
}

/// The transaction of a group, and what its commands need.
pub(super) struct Command<'a> {
    pub(super) transaction: Transaction<'a>,
    pub(super) counts: Counts,
    pub(super) disk: &'a DiskSpace,
    pub(super) isolation: Isolation,
}

impl Command<'_> {
    pub(super) fn run<T>(
        &mut self,
        doing: &'static str,
        write: impl FnOnce(&Connection, &mut Counts) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Result<T, Error>> {
        if self.isolation == Isolation::Group {
            return write(&self.transaction, &mut self.counts).map(Ok);
        }
        let mut counts = self.counts.clone();
        let savepoint = self.transaction.savepoint()?;
        let written = match write(&savepoint, &mut counts) {
            Err(error) if self.disk.is_full(&error) => return Err(error),
            written => recover(written, doing, self.disk)?,
        };
        if written.is_ok() {
            savepoint.commit()?;
            self.counts = counts;
        }
        Ok(written)
    }
}
