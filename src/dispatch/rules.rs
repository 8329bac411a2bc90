//! The delivery rules that the operator configures, for all lanes.

use std::time::Duration;

use crate::imprint::clearing::Clearing;

/// What is done with values for a customer that Imprint does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownCustomer {
    /// The values are dropped: most customers of a CRM have no card.
    Ignore,
    /// They wait for the customer to appear, for at most [`DeliveryRules::wait_max`].
    Wait,
    /// An operator must look.
    Park,
}

/// The delivery rules.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryRules {
    /// How many entries one request may carry.
    pub max_fold: usize,
    /// After how many counted attempts an entry that fails alone is parked.
    pub attempts_max: u32,
    /// How long a request without a clear answer may still arrive at Imprint.
    pub reassert_after: Duration,
    /// What is sent for fields that the source cleared.
    pub clearing: Clearing,
    /// What is done with values for a customer that Imprint does not know.
    pub unknown: UnknownCustomer,
    /// How long values wait for their customer.
    pub wait_max: Duration,
    /// How long a link between our id and an Imprint id is trusted.
    pub link_ttl: Duration,
    /// How long it is trusted that Imprint does not know an id of ours.
    pub unknown_ttl: Duration,
}
