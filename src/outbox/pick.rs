//! The rules by which a claim selects due lanes, and the standing of a lane that the rules look at.

/// The rule that decides which due lanes the store claims first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Claims the lanes first that have been due longest. Lanes whose last request failed come last. These lanes and
    /// untried lanes take only their share of the claim.
    LongestDue(LaneShares),
    /// Claims lanes whose last request did not fail. Untried lanes come last, because their customers may be at fault.
    NotFailed,
    /// Selects from the [`PROBE_WINDOW`](super::PROBE_WINDOW) longest due lanes those that have failed least; the
    /// number picks one of these lanes. Lanes whose last request failed are selected only if no other lane is due. A
    /// probe of the destination needs a lane that does not always fail, and a different lane each time.
    LeastFailed(u32),
}

/// The share of one claim for lanes whose last request failed.
///
/// However many lanes fail, the share limits the places and the tokens that failing lanes hold, so that failing lanes
/// neither delay other lanes nor wait for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailingShare {
    /// The number of places that the claim keeps for failing lanes even if enough other lanes are due.
    pub kept: usize,
    /// The most failing lanes that the claim may take.
    pub max: usize,
}

impl FailingShare {
    /// The share without a limit: failing lanes take every place that no other lane takes.
    pub const UNLIMITED: Self = Self {
        kept: 0,
        max: usize::MAX,
    };
}

/// The shares of one claim for lanes that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneShares {
    /// The share for lanes whose last request failed.
    pub failing: FailingShare,
    /// The most untried lanes that the claim may take. Hundreds of new customers whose first requests hang must not hold
    /// every place.
    pub untried_max: usize,
}

impl LaneShares {
    /// The shares without a limit.
    pub const UNLIMITED: Self = Self {
        failing: FailingShare::UNLIMITED,
        untried_max: usize::MAX,
    };
}

/// The results of a lane's requests so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Imprint answered the last request of the lane.
    #[default]
    Well,
    /// Imprint has not answered any request of the lane yet.
    Untried,
    /// The last request of the lane failed, and the destination has not recovered since.
    Failing,
}
