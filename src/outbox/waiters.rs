//! Who waits for an entry to be settled: the senders that asked with `Prefer: wait`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{EntryId, State};

/// Held only while a map is touched, never across an await. Bounded by the connections that wait.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<HashMap<EntryId, Vec<oneshot::Sender<State>>>>);

impl Waiters {
    /// Resolves when [`Waiters::settle`] names the entry.
    pub(super) fn register(&self, entry: EntryId) -> oneshot::Receiver<State> {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let those = waiters.entry(entry).or_default();
        those.retain(|waiter| !waiter.is_closed());
        those.push(sender);
        receiver
    }

    /// Tells those who wait, if anybody does.
    pub(super) fn settle(&self, settled: &[(EntryId, State)]) {
        let mut waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiters.is_empty() {
            return;
        }
        for (entry, state) in settled {
            for waiter in waiters.remove(entry).unwrap_or_default() {
                // Who has stopped waiting does not want to know.
                let _unheard = waiter.send(*state);
            }
        }
        waiters.retain(|_, those| those.iter().any(|waiter| !waiter.is_closed()));
    }
}
