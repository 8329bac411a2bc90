//! The limits of the brake of a source.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The highest number of customers that a setting of the brake can allow. The counts of 10,000 customers take about 1 MB
/// for each field.
pub const BRAKE_CUSTOMERS_MAX: usize = 10_000;

/// Whether the brake of a source is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrakePolicy {
    Off,
    On(BrakeLimits),
}

/// The limits of the brake of a source. The file `config/default.toml` describes each limit; 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrakeLimits {
    pub window: Duration,
    pub customers_max: usize,
    pub share_percent_max: usize,
    pub same_value_max: usize,
    pub cleared_max: usize,
}

impl BrakeLimits {
    /// Returns the part of the limits for one of several bridges. Together, the bridges then let no more customers pass than the
    /// limits allow. The rule `share` stays, because each bridge compares only the customers that it has seen.
    #[must_use]
    pub fn part_of(&self, bridges: NonZeroUsize) -> Self {
        let part = |limit: usize| part(limit, bridges);
        Self {
            window: self.window,
            customers_max: part(self.customers_max),
            share_percent_max: self.share_percent_max,
            same_value_max: part(self.same_value_max),
            cleared_max: part(self.cleared_max),
        }
    }

    /// Returns the number of customers that the brake must remember of a field, to know whether a limit is exceeded.
    pub fn kept_max(&self) -> usize {
        let most = match self.customers_max {
            0 => BRAKE_CUSTOMERS_MAX,
            customers => customers.max(self.same_value_max).max(self.cleared_max),
        };
        most.saturating_add(1)
    }
}

/// Returns the part of a limit for one of several bridges. A limit of 0 is no limit, so the part of a small limit is 1.
fn part(limit: usize, bridges: NonZeroUsize) -> usize {
    limit.min((limit / bridges).max(1))
}
