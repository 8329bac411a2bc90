//! The brakes and the quotas of removed sources. A source whose file is moved, or is gone for a moment, comes back with the
//! counts that it had: otherwise the rest of a mass change would pass its brake.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::SourceName;
use crate::ingress::{Endpoint, SourceBrake, SourceQuota};
use crate::intake::OpenBrakes;

/// The maximum number of removed sources. The counts of one brake take a few megabytes.
const REMOVED_MAX: usize = 16;

/// The limits of a source that the bridge keeps when the source changes.
#[derive(Debug)]
pub(super) struct SourceLimits {
    pub(super) brake: SourceBrake,
    pub(super) quota: Arc<SourceQuota>,
}

impl SourceLimits {
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        Self {
            brake: endpoint.brake.clone(),
            quota: Arc::clone(&endpoint.quota),
        }
    }
}

/// The limits of the sources that the bridge removed last.
#[derive(Debug, Default)]
pub(super) struct RemovedSources(VecDeque<(SourceName, SourceLimits)>);

impl RemovedSources {
    /// Keeps the limits of a removed source. Forgets the source that was removed first, if the number exceeds its bound.
    pub(super) fn keep(&mut self, endpoint: &Endpoint) {
        let name = endpoint.source.name.clone();
        self.0.push_back((name, SourceLimits::of(endpoint)));
        while self.0.len() > REMOVED_MAX {
            self.0.pop_front();
        }
    }

    /// Opens and closes the kept brakes, so that a source comes back with the brake that the operators have set meanwhile.
    pub(super) fn set_open_brakes(&self, open: &OpenBrakes) {
        for (name, limits) in &self.0 {
            limits.brake.set_open_until(open.until(name));
        }
    }

    /// Takes the limits of a source that comes back.
    pub(super) fn take(&mut self, name: &SourceName) -> Option<SourceLimits> {
        let place = self.0.iter().position(|(removed, _)| removed == name)?;
        self.0.remove(place).map(|(_, limits)| limits)
    }
}
