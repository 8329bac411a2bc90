//! What a sandbox is to be; every choice on which Imprint's documentation is silent is one of these.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;

use super::customers::SeedCustomer;

/// How many calls the ledger keeps unless told otherwise: a long test's worth, and some 200 MB at the most.
pub const LEDGER_MAX: usize = 100_000;

/// What *update* makes of a customer that nobody seeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownCustomer {
    /// The customer comes into being, with a card, a birthday and no partner id.
    #[default]
    Created,
    /// 404.
    NotFound,
}

/// What *update* makes of a field that is null. Imprint does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nulls {
    /// 400: the schema declares no field nullable.
    #[default]
    Refused,
    /// The field is cleared.
    Clear,
}

/// What a sandbox is to be.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// Where it listens; port 0 for any free one.
    pub listen: SocketAddr,
    /// The key it takes, as Bearer or as the user name of Basic.
    pub key: SecretString,
    /// The `x-imprint-merchant-key` that each call must carry; `None` takes any and none.
    pub merchant_key: Option<SecretString>,
    /// What becomes of customers that nobody seeded.
    pub unknown_customer: UnknownCustomer,
    /// What becomes of nulls.
    pub nulls: Nulls,
    /// The customers it starts with.
    pub seeds: Vec<SeedCustomer>,
    /// How long every answer takes at least.
    pub latency: Duration,
    /// Where chance starts, for faults that have a rate.
    pub random_seed: u64,
    /// How many calls the ledger keeps.
    pub ledger_max: usize,
}

impl SandboxSettings {
    /// A sandbox that answers at once and makes customers as they are asked for.
    pub fn new(listen: SocketAddr, key: SecretString) -> Self {
        Self {
            listen,
            key,
            merchant_key: None,
            unknown_customer: UnknownCustomer::default(),
            nulls: Nulls::default(),
            seeds: Vec::new(),
            latency: Duration::ZERO,
            random_seed: 1,
            ledger_max: LEDGER_MAX,
        }
    }
}
