//! The state of an entry, and the reason why an entry is parked. HTTP answers, metrics and logs use the fixed names in
//! this module.

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
    /// The entry belongs to a mass change of its source. An operator must approve the mass change before dispatch sends
    /// the entry.
    Held,
    /// Requests with the entry failed for a long time, and nothing proves whether the entry or Imprint is the cause.
    Undecided,
}

impl State {
    /// Every state of an entry, in the order in which reports list the states.
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

    /// The names of the final states of an entry.
    pub const ENDINGS: [&'static str; 5] = [
        Self::Delivered.as_str(),
        Self::Superseded.as_str(),
        Self::Ignored.as_str(),
        Self::Parked.as_str(),
        Self::Discarded.as_str(),
    ];

    /// Returns the name of the state for HTTP answers, metrics and logs.
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

    /// Returns whether an entry in this state has ended or is parked. When the entry of an event reaches such a state,
    /// the bridge answers the sender that waits for the result.
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
    /// Requests with the entry kept failing while requests for other customers succeeded.
    AttemptsExhausted,
    /// Imprint does not know the customer, and the delivery rules park entries of unknown customers.
    UnknownCustomer,
    /// The bridge cannot read the stored content of the entry.
    Unreadable,
    /// The two customer ids in the event belong to different customers at Imprint. A request could change the data of
    /// the wrong cardholder.
    IdentityConflict,
    /// Imprint knows several customers with the same partner id as the customer of the entry.
    AmbiguousCustomer,
    /// The address in the entry is outside the USA, but Imprint's flat address has no country field.
    ForeignAddress,
    /// The entry clears an address line, but Imprint still has the line.
    NotCleared,
    /// Imprint has applied values of the customer before, and no longer knows the customer.
    Vanished,
    /// The version of the entry is absurdly far from the other versions of the customer.
    VersionJump,
}

impl ParkReason {
    /// Every reason for parking an entry.
    pub const ALL: [Self; 10] = [
        Self::Rejected,
        Self::AttemptsExhausted,
        Self::UnknownCustomer,
        Self::Unreadable,
        Self::IdentityConflict,
        Self::AmbiguousCustomer,
        Self::ForeignAddress,
        Self::NotCleared,
        Self::Vanished,
        Self::VersionJump,
    ];

    /// Returns whether the detail of an entry with this reason names a customer. Only operators see such a detail: the log
    /// and the sender's receipt leave it out.
    pub const fn is_about_ids(self) -> bool {
        matches!(self, Self::IdentityConflict)
    }

    /// Returns the name of the reason for HTTP answers and logs.
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
            Self::Vanished => "vanished",
            Self::VersionJump => "version_jump",
        }
    }
}
