//! Operators and their tokens: one file each, named after whoever holds the token.

use std::path::PathBuf;
use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// Reads the token in a file; what is wrong with it is its own to log.
pub type ReadToken = Arc<dyn Fn(&PathBuf) -> Option<SecretString> + Send + Sync>;

/// Those who may administer.
pub struct Operators {
    files: Vec<PathBuf>,
    read: ReadToken,
}

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
        f.debug_struct("Operators")
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

impl Operators {
    /// Those whose tokens are in these files. They are read for each request, so that a token that was taken away opens
    /// nothing any more.
    pub const fn new(files: Vec<PathBuf>, read: ReadToken) -> Self {
        Self { files, read }
    }

    /// The name of the operator whose token is shown.
    pub(super) fn recognise(&self, headers: &HeaderMap) -> Result<String, Denied> {
        if self.files.is_empty() {
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
        for file in &self.files {
            let Some(token) = (self.read)(file) else {
                continue;
            };
            if Sha256::digest(token.expose_secret()) == shown {
                let name = file.file_stem().and_then(|stem| stem.to_str());
                found = Some(name.unwrap_or("operator").to_owned());
            }
        }
        found.ok_or(Denied::Mismatch)
    }
}
