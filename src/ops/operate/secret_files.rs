//! The use case that shows secret files: their paths, their times and their flaws, and never a secret.

use super::{Operations, Operator};
use crate::time::Timestamp;

/// A secret file, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFileView {
    /// The setting or the source to which the file belongs.
    pub owner: String,
    pub path: String,
    /// The time of the last change of the file. `None` if it is not known.
    pub modified: Option<Timestamp>,
    /// The time at which the bridge last read a secret from the file, after the start.
    pub read: Option<Timestamp>,
    /// Why the bridge cannot use the file.
    pub flaw: Option<String>,
    /// True if a secret of the file is in use.
    pub is_used: bool,
}

/// Describes the files with the keys for requests to Imprint.
pub type ShowKeyFiles = Box<dyn Fn() -> Vec<SecretFileView> + Send + Sync>;

impl Operations {
    /// Returns the files with the keys for requests to Imprint.
    pub fn imprint_key_files(&self, _operator: &Operator) -> Vec<SecretFileView> {
        (self.show_key_files)()
    }

    /// Returns the secret files of a source in use.
    pub fn secret_files(&self, _operator: &Operator, source: &str) -> Vec<SecretFileView> {
        self.sources.secret_files(source)
    }
}
