//! Operators and their tokens.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// Reads an operator's token; what is wrong with it is its own to log.
pub type ReadToken = Box<dyn Fn() -> Option<SecretString> + Send + Sync>;

/// Those who may administer.
pub struct Operators(Vec<(String, ReadToken)>);

/// Why somebody is not one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Nobody is.
    Disabled,
    /// There is no token in the request.
    Missing,
    /// It is nobody's.
    Mismatch,
}

impl std::fmt::Debug for Operators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl Operators {
    /// Those with these names and tokens. Tokens are read for each request, so that one that was taken away opens nothing
    /// any more.
    pub const fn new(operators: Vec<(String, ReadToken)>) -> Self {
        Self(operators)
    }

    /// The name of the operator whose token is shown.
    pub(super) fn recognise(&self, headers: &HeaderMap) -> Result<String, Denied> {
        if self.0.is_empty() {
            return Err(Denied::Disabled);
        }
        let shown = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or(Denied::Missing)?;
        let shown = Sha256::digest(shown);
        let mut found = None;
        // All are compared, and by their digests: how long it takes says nothing about any token.
        for (name, read) in &self.0 {
            let token = read().map(|token| Sha256::digest(token.expose_secret()));
            if token == Some(shown) {
                found = Some(name.clone());
            }
        }
        found.ok_or(Denied::Mismatch)
    }
}
