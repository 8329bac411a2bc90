//! What the operator decided about delivery, once, for all lanes.

use std::time::Duration;

use crate::imprint::clearing::Clearing;

/// What is done with facts about somebody whom Imprint does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownCustomer {
    /// Most customers of a CRM have no card: the facts are dropped.
    Ignore,
    /// They wait, up to [`DeliveryRules::wait_max`], for the customer to appear.
    Wait,
    /// A person must look.
    Park,
}

/// The rules of delivery.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryRules {
    /// Entries one request may carry.
    pub max_fold: usize,
    /// How often an entry may fail that alone keeps failing.
    pub attempts_max: u32,
    /// How long after a request without a sound answer that request may still land.
    pub reassert_after: Duration,
    /// What becomes of fields that the source cleared.
    pub clearing: Clearing,
    /// What becomes of facts about somebody whom Imprint does not know.
    pub unknown: UnknownCustomer,
    /// How long facts wait for their customer.
    pub wait_max: Duration,
    /// How long it is believed which customer a partner's id is.
    pub link_ttl: Duration,
    /// How long it is believed that there is none.
    pub unknown_ttl: Duration,
}
