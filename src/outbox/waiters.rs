//! The callers that wait until an entry is settled: HTTP requests of senders with the header `Prefer: wait`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{EntryId, State};

/// The waiting callers of each entry. The limit on open connections also limits the number of callers. No code holds
/// the lock across an await.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<HashMap<EntryId, Vec<oneshot::Sender<State>>>>);

impl Waiters {
    /// Registers a caller that waits for the entry. The returned channel resolves when [`Waiters::settle`] is called
    /// with the entry.
    pub(super) fn register(&self, entry: EntryId) -> oneshot::Receiver<State> {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_entry = waiters.entry(entry).or_default();
        of_entry.retain(|waiter| !waiter.is_closed());
        of_entry.push(sender);
        receiver
    }

    /// Answers the callers that wait for these entries, which all have this new state.
    pub(super) fn settle_all(&self, changed: &[EntryId], state: State) {
        let changed = changed.iter().map(|entry| (*entry, state));
        self.settle(&changed.collect::<Vec<_>>());
    }

    /// Answers the callers that wait for these entries, if the new state is settled.
    pub(super) fn settle(&self, changed: &[(EntryId, State)]) {
        let mut waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiters.is_empty() {
            return;
        }
        for (entry, state) in changed.iter().filter(|(_, state)| state.is_settled()) {
            for waiter in waiters.remove(entry).unwrap_or_default() {
                let _caller_is_gone = waiter.send(*state);
            }
        }
        waiters.retain(|_, of_entry| of_entry.iter().any(|waiter| !waiter.is_closed()));
    }
}
