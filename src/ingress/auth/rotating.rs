//! A verifier that the bridge can replace while requests use it, to rotate secrets without a restart.

use std::sync::{Arc, PoisonError, RwLock};

use super::Verifier;

/// The current verifier of a source. The bridge replaces the verifier when a secret file changes.
#[derive(Debug)]
pub struct RotatingVerifier(RwLock<Arc<Verifier>>);

impl RotatingVerifier {
    /// Creates a rotating verifier that starts with the given verifier.
    pub fn new(verifier: Verifier) -> Self {
        Self(RwLock::new(Arc::new(verifier)))
    }

    /// Returns the verifier that is currently in use.
    pub fn current(&self) -> Arc<Verifier> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the verifier for all later requests.
    pub fn replace(&self, verifier: Verifier) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(verifier);
    }
}
