//! The state of an entry, and the reason why an entry is parked. HTTP answers, metrics and logs use the fixed names in
//! this module.

/// The state of an entry. The table at the top of [`outbox`](super) lists the transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The entry waits for a request to Imprint, or a request with the entry is in flight.
    Waiting,
    /// Imprint has the values of the entry that no newer entry replaces.
    Delivered,
    /// Imprint has newer values instead of the values of the entry.
    Superseded,
    /// The entry had nothing to send, or Imprint does not know the customer.
    Ignored,
    /// The bridge does not send the entry until an operator acts.
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

    /// The names of the states with which work on an entry can finish: the final states and `parked`.
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

    /// Returns whether the state is final or `parked`. When an event's entry reaches a settled state, the bridge
    /// answers a sender that waits for the result.
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

/// The reason why an entry is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IgnoreReason {
    /// The source file lists the type of the event in `ignore`.
    ListedType,
    /// The condition `when` of the mapping is not true for the event.
    Condition,
    /// The mapping sets and clears no field: every expression is absent, or no value changed.
    NothingToSend,
    /// The mapping leaves out all fields of the event, because their values are invalid.
    ValuesSkipped,
    /// The event only sets an address outside the USA, and the bridge leaves such addresses out.
    ForeignAddress,
    /// The event only clears fields, and the settings for cleared fields omit these fields from requests.
    ClearingOmitted,
    /// Imprint does not know the customer.
    UnknownCustomer,
    /// An operator has erased the customer, and has told the bridge to ignore later events of the customer.
    Blocked,
}

impl IgnoreReason {
    /// Every reason for ignoring an entry.
    pub const ALL: [Self; 8] = [
        Self::ListedType,
        Self::Condition,
        Self::NothingToSend,
        Self::ForeignAddress,
        Self::ClearingOmitted,
        Self::UnknownCustomer,
        Self::ValuesSkipped,
        Self::Blocked,
    ];

    /// The names of [`Self::ALL`].
    pub const NAMES: [&'static str; Self::ALL.len()] = {
        let [a, b, c, d, e, f, g, h] = Self::ALL;
        [
            a.as_str(),
            b.as_str(),
            c.as_str(),
            d.as_str(),
            e.as_str(),
            f.as_str(),
            g.as_str(),
            h.as_str(),
        ]
    };

    /// Returns the name of the reason for HTTP answers, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ListedType => "listed_type",
            Self::Condition => "condition",
            Self::NothingToSend => "nothing_to_send",
            Self::ValuesSkipped => "values_skipped",
            Self::ForeignAddress => "foreign_address",
            Self::ClearingOmitted => "clearing_omitted",
            Self::UnknownCustomer => "unknown_customer",
            Self::Blocked => "blocked",
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
    /// Imprint knows several customers with the partner customer id of the entry.
    AmbiguousCustomer,
    /// The address in the entry is outside the USA, but Imprint's flat address has no country field.
    ForeignAddress,
    /// The entry clears an address line, but Imprint still has the line.
    NotCleared,
    /// Imprint no longer knows the customer, but has applied an update of the customer before.
    Vanished,
    /// The version of the entry differs by more than the allowed jump from the other versions of the customer.
    VersionJump,
    /// An operator has taken the entry out of delivery.
    ByOperator,
    /// The event of the entry is invalid, and its source parks the invalid events of a body. The entry has no customer
    /// change.
    Invalid,
}

impl ParkReason {
    /// Every reason for parking an entry.
    pub const ALL: [Self; 12] = [
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
        Self::ByOperator,
        Self::Invalid,
    ];

    /// The names of [`Self::ALL`].
    pub const NAMES: [&'static str; Self::ALL.len()] = {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = Self::ALL;
        [
            a.as_str(),
            b.as_str(),
            c.as_str(),
            d.as_str(),
            e.as_str(),
            f.as_str(),
            g.as_str(),
            h.as_str(),
            i.as_str(),
            j.as_str(),
            k.as_str(),
            l.as_str(),
        ]
    };

    /// Returns whether the detail of an entry with this reason names a customer. Only operators see such a detail: the
    /// log and the sender's receipt leave it out.
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
            Self::ByOperator => "by_operator",
            Self::Invalid => "invalid",
        }
    }
}
