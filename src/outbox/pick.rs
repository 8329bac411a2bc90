//! The rules by which a claim selects due lanes. The rules use the standing of each lane.

/// The rule that decides which due lanes the store claims first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Claims the lanes that have been due longest. Lanes whose last request failed come last. Failing lanes and
    /// untried lanes take only their shares of the claim.
    LongestDue(LaneShares),
    /// Claims lanes whose last request did not fail, among the [`PROBE_WINDOW`](super::PROBE_WINDOW) first lanes of each
    /// queue. The lanes that became due last come first. Untried lanes come last, because their customers possibly cause
    /// failures.
    NotFailed,
    /// Claims a lane with the fewest failures; a random number picks one of several such lanes. The store looks at the
    /// [`PROBE_WINDOW`](super::PROBE_WINDOW) lanes of each standing that have been due longest.
    ///
    /// A probe of Imprint needs a lane that does not always fail, and a different lane each time.
    LeastFailed(u32),
}

/// The share of one claim for lanes whose last request failed.
///
/// With the maximum, even thousands of failing lanes do not delay the other lanes. With the kept places, failing lanes
/// do not wait for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailingShare {
    /// The number of places that the claim keeps for failing lanes, even if other lanes could fill the claim.
    pub kept: usize,
    /// The maximum number of failing lanes in the claim.
    pub max: usize,
}

impl FailingShare {
    /// The share without a maximum: failing lanes take every place that no other lane takes.
    pub const UNLIMITED: Self = Self {
        kept: 0,
        max: usize::MAX,
    };
}

/// The shares of one claim for failing lanes and for untried lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneShares {
    /// The share for lanes whose last request failed.
    pub failing: FailingShare,
    /// The maximum number of untried lanes in the claim. Without a maximum, the hanging first requests of hundreds of
    /// new customers would hold every place.
    pub untried_max: usize,
    /// Claims the lanes that became due last, among the [`PROBE_WINDOW`](super::PROBE_WINDOW) first lanes: many requests hang, and the lanes of
    /// hanging customers have been due longest.
    pub newest_first: bool,
    /// The order of untried lanes.
    pub untried: UntriedOrder,
}

/// The order in which a claim takes untried lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UntriedOrder {
    /// Untried lanes and lanes that Imprint answered before come in the order of their due times.
    ByDueTime,
    /// Untried lanes come after the lanes of the same priority that Imprint answered before: the first requests of many
    /// new customers fail. Among the [`PROBE_WINDOW`](super::PROBE_WINDOW) first untried lanes, the lanes that became due
    /// last come first, because the other lanes possibly belong to customers whose requests fail.
    Last {
        /// The number of places that the claim keeps for untried lanes, even if other lanes could fill the claim.
        kept: usize,
    },
}

impl LaneShares {
    /// A claim with these shares can take any number of failing and untried lanes.
    pub const UNLIMITED: Self = Self {
        failing: FailingShare::UNLIMITED,
        untried_max: usize::MAX,
        newest_first: false,
        untried: UntriedOrder::ByDueTime,
    };
}

/// The result of a lane's last request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The last request of the lane did not fail, or Imprint has recovered from an outage since the failure.
    #[default]
    Well,
    /// Imprint has not answered any request of the lane yet.
    Untried,
    /// The last request of the lane failed, and no recovery of Imprint from an outage followed.
    Failing,
}
