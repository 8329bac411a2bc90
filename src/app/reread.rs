//! The schedule on which the bridge reads its secret files and looks at the files of its sources: every few seconds, and
//! at SIGHUP.
//!
//! The bridge uses a new secret only if two reads, half a second apart, return the same secret. At the first read,
//! another program has possibly written only a part of the file.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::time::{Clock, Timestamp};

/// The time between two reads of the secret files, and between two looks at the files of the sources.
///
/// The bridge does not use file change notifications: Kubernetes replaces the symbolic link of a mounted Secret or
/// `ConfigMap`, and the notifications would stay on the old file. A network disk gives no notifications at all.
const READ_EVERY: Duration = Duration::from_secs(3);

/// The time between the two reads of a new secret. A program needs less time to write a short file.
const CONFIRM_AFTER: Duration = Duration::from_millis(500);

/// The schedule of the reads of secret files. All clones share the signal that starts a read at once.
#[derive(Clone, Debug)]
pub struct Rereads {
    clock: Clock,
    now: Arc<Notify>,
}

/// The reason why a read is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RereadCause {
    /// The time since the last read is over.
    Schedule,
    /// Somebody asked for a read at once.
    Signal,
}

impl Rereads {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            now: Arc::default(),
        }
    }

    /// Makes the bridge read its secret files and the files of its sources at once.
    pub fn read_now(&self) {
        self.now.notify_waiters();
    }

    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn moment(&self) -> Timestamp {
        self.clock.now()
    }

    /// Resolves when the next read is due.
    pub(super) async fn next(&self) -> RereadCause {
        tokio::select! {
            () = self.clock.sleep(READ_EVERY) => RereadCause::Schedule,
            () = self.now.notified() => RereadCause::Signal,
        }
    }
}

/// Reads a secret. If the secret is new, waits and reads it again. Returns the new secret if both reads return the same
/// one, otherwise `None`.
pub(super) async fn read_new<T, E>(
    read: impl Fn() -> Result<T, E>,
    is_present: impl Fn(&T) -> bool,
    is_same: impl Fn(&T, &T) -> bool,
) -> Result<Option<T>, E> {
    let first = read()?;
    if is_present(&first) {
        return Ok(None);
    }
    // Another process writes the file, so the wait uses real time and not the clock of the bridge, which tests control.
    sleep(CONFIRM_AFTER).await;
    let second = read()?;
    Ok(is_same(&first, &second).then_some(second))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// FAULTS N201
    #[tokio::test]
    async fn a_half_written_secret_never_counts() {
        type Read = Result<&'static str, &'static str>;
        let table: [(&[Read], Read, Option<&str>); 6] = [
            (&[Ok("present")], Ok(""), None),
            (&[Ok("whole"), Ok("whole")], Ok(""), Some("whole")),
            (&[Ok("who"), Ok("whole")], Ok(""), None),
            (&[Ok("who"), Ok("present")], Ok(""), None),
            (&[Err("empty")], Err("empty"), None),
            (&[Ok("who"), Err("empty")], Err("empty"), None),
        ];
        for (reads, result, expected) in table {
            let left = RefCell::new(reads.iter());
            let read = || *left.borrow_mut().next().unwrap();
            let new = read_new(read, |read| *read == "present", |one, other| one == other).await;
            assert_eq!(new, result.map(|_| expected), "{reads:?}");
            assert_eq!(left.borrow().len(), 0, "{reads:?}");
        }
    }
}
