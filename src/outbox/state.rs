//! The state of an entry, and the reason why an entry is parked. Answers, metrics and logs use the fixed names in this
//! module.

/// The state of an entry. The table at the top of [`outbox`](super) lists the transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The entry waits to be sent, or a request with the entry is in flight.
    Waiting,
    /// Imprint has the values of the entry.
    Delivered,
    /// Imprint has newer values in place of the values of the entry.
    Superseded,
    /// The entry had nothing to send, or Imprint does not know the customer.
    Ignored,
    /// The entry is set aside until an operator acts.
    Parked,
    /// An operator decided not to send the entry.
    Discarded,
    /// The entry belongs to a mass change of its source, which an operator must approve first.
    Held,
    /// The requests of the entry failed for a long time, without proof which party caused the failures.
    Undecided,
}

impl State {
    /// Every state of an entry, in the order in which people read the states.
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

    /// The names of the states in which an entry ends.
    pub const ENDINGS: [&'static str; 5] = [
        Self::Delivered.as_str(),
        Self::Superseded.as_str(),
        Self::Ignored.as_str(),
        Self::Parked.as_str(),
        Self::Discarded.as_str(),
    ];

    /// Returns the name of the state, which answers, metrics and logs show.
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

    /// Returns whether a waiting sender gets this state as the result, because the entry has ended or is parked.
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Delivered | Self::Superseded | Self::Ignored | Self::Parked | Self::Discarded => {
                true
            }
            Self::Waiting | Self::Held | Self::Undecided => false,
        }
    }

    /// Returns whether the state is final. Retention deletes the receipt of an entry in a final state.
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
    /// Imprint rejected the values of the entry.
    Rejected,
    /// The requests of the entry kept failing while requests of other customers succeeded.
    AttemptsExhausted,
    /// Imprint does not know the customer, and the delivery rules park entries of unknown customers.
    UnknownCustomer,
    /// The stored content of the entry cannot be read.
    Unreadable,
    /// The event names two ids that, according to Imprint, belong to different customers: the values could reach
    /// another cardholder.
    IdentityConflict,
    /// Imprint knows several customers with our customer id.
    AmbiguousCustomer,
    /// The address is outside the USA, but Imprint's address has no country.
    ForeignAddress,
    /// The entry clears an address line, but Imprint still has the line.
    NotCleared,
}

impl ParkReason {
    /// Every reason for parking an entry.
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

    /// Returns the name of the reason, which answers and logs show.
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
