//! The use case that shows the sealing keys of the store to an operator who replaces a key.

use std::time::Duration;

use super::{Error, Operations, Operator};
use crate::outbox::{KeyReport, RecordCounts, RecordCursor, SealingStatus};

/// The longest time that a count of the records takes. It is shorter than the deadline of the command line. The store counts
/// about a million records in this time.
const COUNT_MAX: Duration = Duration::from_secs(20);

/// Finds the name of the file with a key, by the id of the key.
pub type FindKeyFile = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl Operations {
    /// Returns the state of the sealing. Reads no record.
    pub fn sealing(&self, _operator: &Operator) -> SealingStatus {
        self.outbox.sealing().borrow().clone()
    }

    /// Returns the name of the file with a key. Returns `None` if the process does not have the key.
    pub fn key_file(&self, id: &str) -> Option<String> {
        (self.find_key_file)(id)
    }

    /// Returns the sealing keys, each with the number of records that it still seals. Counts the records in small steps,
    /// between which the store serves other commands, and only while records need different keys. An entry that changes its
    /// state during the count is possibly counted twice or not at all.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn keys(&self, _operator: &Operator) -> Result<KeyReport, Error> {
        let status = self.outbox.sealing().borrow().clone();
        if let Some(report) = KeyReport::uncounted(&status) {
            return Ok(report);
        }
        let started = self.clock.now();
        let mut counts = RecordCounts::default();
        let mut place = Some(RecordCursor::START);
        while let Some(from) = place.filter(|_| self.clock.now().since(started) < COUNT_MAX) {
            let (part, next) = self.outbox.count_records(from).await?;
            counts.add(&part);
            place = next;
        }
        // A key that became removable during the count needs no count any more.
        let status = self.outbox.sealing().borrow().clone();
        Ok(KeyReport::counted(&status, &counts, place.is_none()))
    }
}
