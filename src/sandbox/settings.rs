//! The settings of a sandbox. Some settings choose a behaviour that Imprint's documentation does not define.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;

use super::seed::SeedCustomer;

/// The default number of calls that the ledger keeps. This number is enough for a long test, and the calls take at most
/// about 200 MB.
pub const LEDGER_MAX: usize = 100_000;

/// The sandbox's reaction to an *update* of a customer that it does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnseededCustomer {
    /// The sandbox creates the customer. The new customer has a card and a date of birth, but no partner customer id.
    #[default]
    Created,
    /// The sandbox answers 404 to an update of an unknown customer.
    NotFound,
}

/// The sandbox's reaction to a null in an *update*. Imprint does not document the effect of null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nulls {
    /// The sandbox answers 400 to an update with a null, because no field of Imprint's schema is nullable.
    #[default]
    Refused,
    /// The sandbox clears a field that is null in the update.
    Clear,
}

/// The settings of a sandbox.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// The address on which the sandbox listens. Port 0 means any free port.
    pub listen: SocketAddr,
    /// The API key that clients must send, as a bearer token or as the user name of Basic authentication.
    pub key: SecretString,
    /// The required value of `x-imprint-merchant-key`. With `None`, the sandbox does not check this header.
    pub merchant_key: Option<SecretString>,
    /// The sandbox's reaction to an *update* of a customer that it does not have.
    pub unknown_customer: UnseededCustomer,
    /// The sandbox's reaction to a null in an *update*.
    pub nulls: Nulls,
    /// The customers that the sandbox has at its start.
    pub seeds: Vec<SeedCustomer>,
    /// The time that the sandbox waits before every answer.
    pub latency: Duration,
    /// The seed of the random numbers for fault rules with a rate below 1.
    pub random_seed: u64,
    /// The number of calls that the ledger keeps.
    pub ledger_max: usize,
}

impl SandboxSettings {
    /// Creates the settings of a sandbox that answers without delay and creates unknown customers.
    pub fn new(listen: SocketAddr, key: SecretString) -> Self {
        Self {
            listen,
            key,
            merchant_key: None,
            unknown_customer: UnseededCustomer::default(),
            nulls: Nulls::default(),
            seeds: Vec::new(),
            latency: Duration::ZERO,
            random_seed: 1,
            ledger_max: LEDGER_MAX,
        }
    }
}
