//! A verifier that is replaced while requests use it: secrets are rotated while the process runs.

use std::sync::{Arc, PoisonError, RwLock};

use super::Verifier;

/// The current verifier of a source.
#[derive(Debug)]
pub struct RotatingVerifier(RwLock<Arc<Verifier>>);

impl RotatingVerifier {
    /// Starts with this verifier.
    pub fn new(verifier: Verifier) -> Self {
        Self(RwLock::new(Arc::new(verifier)))
    }

    /// Returns the verifier that is in use now.
    pub fn current(&self) -> Arc<Verifier> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Uses another verifier from now on.
    pub fn replace(&self, verifier: Verifier) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(verifier);
    }
}
