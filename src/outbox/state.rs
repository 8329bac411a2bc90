//! The state of an entry, and the reason why it is parked. Closed sets: answers, metrics and logs use these words.

/// The state of an entry. The table at the top of [`outbox`](super) says how an entry gets from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It waits to be sent, or is being sent.
    Waiting,
    /// Imprint has its values.
    Delivered,
    /// Newer values won.
    Superseded,
    /// There was nothing to send, or no such customer at Imprint.
    Ignored,
    /// It was set aside until an operator acts on it.
    Parked,
    /// An operator decided that it is not to be sent.
    Discarded,
    /// It belongs to a mass change of its source, which an operator must approve first.
    Held,
    /// Its requests failed for a long time, and nothing has proved whose fault that is.
    Undecided,
}

impl State {
    /// Every state, in the order in which people read them.
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Held,
        Self::Undecided,
        Self::Parked,
        Self::Delivered,
        Self::Superseded,
        Self::Ignored,
        Self::Discarded,
    ];

    /// The words for how an entry ends.
    pub const ENDINGS: [&'static str; 5] = [
        Self::Delivered.as_str(),
        Self::Superseded.as_str(),
        Self::Ignored.as_str(),
        Self::Parked.as_str(),
        Self::Discarded.as_str(),
    ];

    /// The word for it, in answers, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Superseded => "superseded",
            Self::Ignored => "ignored",
            Self::Parked => "parked",
            Self::Discarded => "discarded",
            Self::Held => "held",
            Self::Undecided => "undecided",
        }
    }

    /// Whether an entry in it has a result that a waiting sender is told: it ended, or it is parked.
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Delivered | Self::Superseded | Self::Ignored | Self::Parked | Self::Discarded => {
                true
            }
            Self::Waiting | Self::Held | Self::Undecided => false,
        }
    }

    /// Whether it is final: retention deletes the receipt of such an entry.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Delivered | Self::Superseded | Self::Ignored | Self::Discarded => true,
            Self::Waiting | Self::Parked | Self::Held | Self::Undecided => false,
        }
    }
}

/// The reason why an entry is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParkReason {
    /// Imprint rejected it.
    Rejected,
    /// Its requests kept failing while those of other customers succeeded.
    AttemptsExhausted,
    /// Imprint does not know the customer, and the policy is to park.
    UnknownCustomer,
    /// The stored content of the entry cannot be read.
    Unreadable,
    /// It names a pair of ids that Imprint contradicts: its values could reach another cardholder.
    IdentityConflict,
    /// Imprint knows several customers by our customer id.
    AmbiguousCustomer,
    /// Its address is outside the USA, and Imprint's address has no country.
    ForeignAddress,
    /// It clears a line of the address, and Imprint still has the line.
    NotCleared,
}

impl ParkReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Rejected,
        Self::AttemptsExhausted,
        Self::UnknownCustomer,
        Self::Unreadable,
        Self::IdentityConflict,
        Self::AmbiguousCustomer,
        Self::ForeignAddress,
        Self::NotCleared,
    ];

    /// The word for it, in answers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::UnknownCustomer => "unknown_customer",
            Self::Unreadable => "unreadable",
            Self::IdentityConflict => "identity_conflict",
            Self::AmbiguousCustomer => "ambiguous_customer",
            Self::ForeignAddress => "foreign_address",
            Self::NotCleared => "not_cleared",
        }
    }
}
