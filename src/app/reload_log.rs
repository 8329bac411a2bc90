//! The last changes of the files of the sources, for operators.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::ops::operate::ReloadView;

/// The maximum number of changes that the bridge keeps.
const RELOADS_MAX: usize = 5;

/// The last changes, the newest first.
#[derive(Debug, Default)]
pub(super) struct ReloadLog(Mutex<VecDeque<ReloadView>>);

impl ReloadLog {
    pub(super) fn record(&self, reload: ReloadView) {
        let mut reloads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.truncate(RELOADS_MAX.saturating_sub(1));
        reloads.push_front(reload);
    }

    pub(super) fn newest_first(&self) -> Vec<ReloadView> {
        let reloads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.iter().cloned().collect()
    }
}
