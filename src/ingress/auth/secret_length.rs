//! The minimum length of a secret, and the reasons why a secret cannot be used.

use std::fmt;

/// The minimum length of the secrets of a source, if the source file sets one. Without it, each kind of authentication
/// has its own minimum.
///
/// Some vendors give out secrets that are shorter than this minimum. The operator must state that the bridge accepts
/// them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecretMinimum(Option<usize>);

/// The reason why a secret cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretFlaw {
    Short {
        bytes: usize,
        bytes_min: usize,
    },
    Long {
        bytes: usize,
        bytes_max: usize,
    },
    /// The secret does not consist of this.
    Encoding(&'static str),
}

impl SecretMinimum {
    /// Creates the minimum that a source file sets.
    pub const fn of_bytes(bytes: usize) -> Self {
        Self(Some(bytes))
    }

    /// Returns the minimum that the source file sets.
    pub const fn bytes(self) -> Option<usize> {
        self.0
    }

    /// Returns the flaw of a secret that is shorter than the minimum. `usual` is the minimum of the kind of
    /// authentication.
    pub(super) fn flaw(self, bytes: usize, usual: usize) -> Option<SecretFlaw> {
        let bytes_min = self.0.unwrap_or(usual);
        (bytes < bytes_min).then_some(SecretFlaw::Short { bytes, bytes_min })
    }
}

impl fmt::Display for SecretFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { bytes, bytes_min } => write!(
                f,
                "is a secret of {bytes} bytes; the minimum is {bytes_min} bytes. If the sender cannot use a longer secret, set auth.secret_bytes_min"
            ),
            Self::Long { bytes, bytes_max } => {
                write!(
                    f,
                    "is a secret of {bytes} bytes; the maximum is {bytes_max} bytes"
                )
            }
            Self::Encoding(expected) => write!(f, "does not consist of {expected}"),
        }
    }
}
