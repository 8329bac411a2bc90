//! The address of a store in PostgreSQL.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use secrecy::SecretString;

/// Reads the password of the database. Returns `None` if the password cannot be read.
pub type ReadPassword = Arc<dyn Fn() -> Option<SecretString> + Send + Sync>;

/// The address of a store in PostgreSQL.
#[derive(Clone, Default)]
pub struct DatabaseAddress {
    /// `postgres://user@host:port/database?parameters`.
    pub url: String,
    /// The password, if the database asks for one.
    pub password: Option<ReadPassword>,
    /// The settings of TLS, if the URL can ask for TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// What the caller expects of the commits.
    pub durability: Durability,
}

/// What the bridge expects of the commits of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the database possibly loses confirmed commits.
    #[default]
    Any,
    /// A crash of the database loses no confirmed commit.
    Required,
}

impl fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseAddress").finish_non_exhaustive()
    }
}
