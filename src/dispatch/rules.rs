//! The delivery rules that the operator configures, for all lanes.

use std::time::Duration;

use crate::imprint::clearing::Clearing;

/// The treatment of values for a customer that Imprint does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownCustomer {
    /// The bridge discards the values, because most customers of a CRM have no card.
    Ignore,
    /// The values wait until the customer appears, for at most [`DeliveryRules::wait_max`].
    Wait,
    /// The bridge parks the entries until an operator acts.
    Park,
}

/// The delivery rules of the configuration, for all lanes.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryRules {
    /// The most entries that one request may carry.
    pub max_fold: usize,
    /// The time for which an entry waits without evidence whose fault its failures are. After this time, the entry is
    /// undecided.
    pub undecided_max: Duration,
    /// The number of counted attempts after which dispatch parks an entry that fails alone.
    pub attempts_max: u32,
    /// The shortest time between the first counted failure and the parking of an entry that fails alone. Without this
    /// time, a fault of Imprint that lasts an hour for one customer would need an operator.
    pub park_after: Duration,
    /// The time during which a request without a clear answer may still arrive at Imprint.
    pub reassert_after: Duration,
    /// The values that dispatch sends for fields that the source cleared.
    pub clearing: Clearing,
    /// The treatment of values for a customer that Imprint does not know.
    pub unknown: UnknownCustomer,
    /// The longest time for which values wait for a customer that Imprint does not know.
    pub wait_max: Duration,
    /// The time for which dispatch trusts a link between our id and an Imprint id.
    pub link_ttl: Duration,
    /// The time for which dispatch trusts Imprint's answer that no customer has our id.
    pub unknown_ttl: Duration,
}
