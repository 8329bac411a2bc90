//! How many entries wait and how many are parked, kept by counting and never by scanning.

/// How many entries are in a state; changed only together with a commit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) waiting: u64,
    pub(super) parked: u64,
}
