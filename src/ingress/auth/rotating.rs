//! The lock of a door, which can be changed while people come in.

use std::sync::{Arc, PoisonError, RwLock};

use super::Verifier;

/// A verifier that can be replaced: secrets are rotated while the process runs.
#[derive(Debug)]
pub struct RotatingVerifier(RwLock<Arc<Verifier>>);

impl RotatingVerifier {
    /// A lock that this verifier opens.
    pub fn new(verifier: Verifier) -> Self {
        Self(RwLock::new(Arc::new(verifier)))
    }

    /// The verifier of this moment.
    pub fn verifier(&self) -> Arc<Verifier> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes another verifier from now on.
    pub fn replace(&self, verifier: Verifier) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(verifier);
    }
}
