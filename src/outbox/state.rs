//! Where an entry stands, and why it may stand still. Closed sets: answers, metrics and logs use these words.

/// Where an entry stands. The table at the top of [`outbox`](super) says how it gets from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It waits to be sent, or is being sent.
    Waiting,
    /// Imprint has it.
    Delivered,
    /// Newer facts won.
    Superseded,
    /// There was nothing to send, or nobody to send it to.
    Ignored,
    /// A person must look.
    Parked,
    /// A person decided that it is not to be sent.
    Discarded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Delivered,
        Self::Superseded,
        Self::Ignored,
        Self::Parked,
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

    /// The word for it: in answers, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Superseded => "superseded",
            Self::Ignored => "ignored",
            Self::Parked => "parked",
            Self::Discarded => "discarded",
        }
    }

    /// Whether nothing more happens to it unless a person acts.
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Waiting)
    }
}

/// Why an entry is parked, in a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParkReason {
    /// Imprint will not take it.
    Rejected,
    /// It alone kept failing.
    AttemptsExhausted,
    /// Imprint does not know the customer, and the policy is to park.
    UnknownCustomer,
    /// What the store kept of it cannot be read.
    Unreadable,
    /// It names a pair of ids that Imprint contradicts: its facts could reach another cardholder.
    IdentityConflict,
    /// Imprint knows several customers by the partner's id.
    AmbiguousCustomer,
    /// Its address is outside the USA, and Imprint's has no country.
    ForeignAddress,
    /// It clears a line of the address, and Imprint keeps the line.
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

    /// The word for it.
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
