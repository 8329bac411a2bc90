//! The delivery rules that the operator configures. The rules apply to all lanes.

use std::time::Duration;

use crate::imprint::clearing::Clearing;

/// What dispatch does with values for a customer that Imprint does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownCustomer {
    /// The bridge ignores the values. Use this rule if most customers of the CRM have no card.
    Ignore,
    /// The values wait until the customer appears, for at most [`DeliveryRules::wait_max`].
    Wait,
    /// The bridge parks the entries until an operator acts.
    Park,
}

/// The delivery rules from the configuration. The rules apply to all lanes.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryRules {
    /// The maximum number of entries whose values one request contains.
    pub max_fold: usize,
    /// The longest time for which an entry waits while nothing proves the cause of its failures. After this time,
    /// dispatch moves the entry into the state undecided.
    pub undecided_max: Duration,
    /// The number of counted failed attempts after which dispatch parks an entry that fails while other customers'
    /// requests succeed.
    pub attempts_max: u32,
    /// The shortest time from the first counted failed attempt until dispatch parks an entry.
    ///
    /// Imprint can fail for a single customer for an hour. Without this time, an operator would have to replay the
    /// entries of this customer.
    pub park_after: Duration,
    /// The time after which a request without a clear answer can no longer arrive at Imprint.
    pub reassert_after: Duration,
    /// The values that dispatch sends for fields that the source cleared.
    pub clearing: Clearing,
    /// What dispatch does with values for a customer that Imprint does not know.
    pub unknown: UnknownCustomer,
    /// The longest time for which values wait until Imprint knows the customer.
    pub wait_max: Duration,
    /// The time for which dispatch trusts a link between a partner customer id and an Imprint id.
    pub link_ttl: Duration,
    /// The time for which dispatch trusts Imprint's answer that no customer has the searched partner customer id.
    pub unknown_ttl: Duration,
}
