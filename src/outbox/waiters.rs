//! The callers that wait until an entry is settled: HTTP requests of senders with the header `Prefer: wait`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{EntryId, State};

/// The maximum number of callers that wait at the same time. A caller waits for one entry, and takes about 300 bytes
/// of memory.
pub(super) const WAITERS_MAX: usize = 4096;

/// The waiting callers of each entry. No code holds the lock across an await.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters(Arc<Mutex<WaitersTable>>);

#[derive(Debug, Default)]
struct WaitersTable {
    by_entry: HashMap<EntryId, Vec<oneshot::Sender<State>>>,
    count: usize,
}

/// One waiting caller. A dropped caller waits no longer.
#[derive(Debug)]
pub(super) struct WaitingCaller {
    waiters: Waiters,
    entry: EntryId,
    receiver: oneshot::Receiver<State>,
}

impl WaitingCaller {
    /// Waits until [`Waiters::settle`] is called with the entry. Returns `None` if the outbox no longer exists.
    pub(super) async fn settled(mut self) -> Option<State> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for WaitingCaller {
    fn drop(&mut self) {
        self.receiver.close();
        let mut table = self.waiters.table();
        let Some(mut of_entry) = table.by_entry.remove(&self.entry) else {
            return;
        };
        let before = of_entry.len();
        of_entry.retain(|waiter| !waiter.is_closed());
        table.count = table
            .count
            .saturating_sub(before.saturating_sub(of_entry.len()));
        if !of_entry.is_empty() {
            table.by_entry.insert(self.entry, of_entry);
        }
    }
}

impl Waiters {
    fn table(&self) -> MutexGuard<'_, WaitersTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a caller that waits for the entry. Returns `None` if [`WAITERS_MAX`] callers already wait.
    pub(super) fn register(&self, entry: EntryId) -> Option<WaitingCaller> {
        let (sender, receiver) = oneshot::channel();
        let mut table = self.table();
        if table.count >= WAITERS_MAX {
            return None;
        }
        table.count = table.count.saturating_add(1);
        table.by_entry.entry(entry).or_default().push(sender);
        drop(table);
        let waiters = self.clone();
        Some(WaitingCaller {
            waiters,
            entry,
            receiver,
        })
    }

    /// Answers the callers that wait for these entries, which all have this new state.
    pub(super) fn settle_all(&self, changed: &[EntryId], state: State) {
        let changed = changed.iter().map(|entry| (*entry, state));
        self.settle(&changed.collect::<Vec<_>>());
    }

    /// Answers the callers that wait for these entries, if the new state is settled. Takes time for each of these
    /// entries, and none for the other waiting callers.
    pub(super) fn settle(&self, changed: &[(EntryId, State)]) {
        let mut table = self.table();
        if table.by_entry.is_empty() {
            return;
        }
        for (entry, state) in changed.iter().filter(|(_, state)| state.is_settled()) {
            let of_entry = table.by_entry.remove(entry).unwrap_or_default();
            table.count = table.count.saturating_sub(of_entry.len());
            for waiter in of_entry {
                let _caller_is_gone = waiter.send(*state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(waiters: &Waiters) -> (usize, usize) {
        let table = waiters.table();
        (table.count, table.by_entry.len())
    }

    /// FAULTS N760.
    #[test]
    fn at_most_so_many_callers_wait_and_a_gone_caller_leaves_nothing() {
        let waiters = Waiters::default();
        // Two callers wait for each entry.
        let register = |entry: u64| [0, 1].map(|_| waiters.register(EntryId(entry)).unwrap());
        let waiting: Vec<[WaitingCaller; 2]> = (0..2048).map(register).collect();
        assert!(waiters.register(EntryId(0)).is_none());
        waiters.settle(&[(EntryId(0), State::Delivered), (EntryId(1), State::Waiting)]);
        assert_eq!(count(&waiters), (WAITERS_MAX - 2, WAITERS_MAX / 2 - 1));
        assert!(waiters.register(EntryId(1)).is_some());
        drop(waiting);
        assert_eq!(count(&waiters), (0, 0));
    }
}
