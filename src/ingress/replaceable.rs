//! A value that the bridge can replace while requests use it: the secrets of a source, and the set of all sources.

use std::sync::{Arc, PoisonError, RwLock};

/// The current value. A request that has got the previous value keeps it until the request ends.
#[derive(Debug)]
pub struct Replaceable<T>(RwLock<Arc<T>>);

impl<T> Replaceable<T> {
    /// Creates a replaceable value that starts with the given value.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// Returns the value that is currently in use.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value for all later requests, and returns the previous value.
    pub fn replace(&self, value: T) -> Arc<T> {
        let mut present = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *present, Arc::new(value))
    }
}
