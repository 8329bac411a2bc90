//! The mark of a lane whose request was possibly in flight when an earlier process ended.

use super::EntryId;

/// The values of a lane that an earlier process has possibly sent, and for which the store knows no answer of Imprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaybeSent {
    /// The store knows Imprint's answer to every request of earlier processes.
    #[default]
    Nothing,
    /// An earlier process has possibly sent the waiting entries up to this number.
    Entries(EntryId),
    /// An earlier process has possibly sent values that the claim does not read: more entries wait than a claim reads,
    /// or an entry is unreadable or deleted.
    Anything,
}

impl MaybeSent {
    /// Returns what an earlier process has possibly sent, for a claim that does not read all of these entries.
    #[must_use]
    pub(super) const fn beyond_the_claim(self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Entries(_) | Self::Anything => Self::Anything,
        }
    }

    /// Returns what processes have possibly sent if the entries up to `last` are possibly in flight too.
    #[must_use]
    pub(super) const fn or_entries(self, last: EntryId) -> Self {
        match self {
            Self::Nothing | Self::Entries(_) => Self::Entries(last),
            Self::Anything => Self::Anything,
        }
    }
}
