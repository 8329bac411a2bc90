//! The encodings of secrets in their files, and of signatures in their headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The encoding of an HMAC secret in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretEncoding {
    /// The secret file contains the key itself, as UTF-8 text.
    Text,
    /// The secret file contains the key in base64 with padding.
    Base64,
    /// The secret file contains the key as hexadecimal digits in upper or lower case.
    Hex,
}

/// The encoding of a signature in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// The signature consists of hexadecimal digits in upper or lower case.
    Hex,
    /// The signature is base64 with padding.
    Base64,
}

impl SecretEncoding {
    /// Describes the texts of this encoding, for error messages.
    pub(super) const fn alphabet(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Base64 => "base64 with padding, as auth.secret_encoding specifies",
            Self::Hex => "pairs of hexadecimal digits, as auth.secret_encoding specifies",
        }
    }

    pub(super) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Text => Some(text.as_bytes().to_vec()),
            Self::Base64 => STANDARD.decode(text).ok(),
            Self::Hex => unhex(text),
        }
    }
}

impl SignatureEncoding {
    /// Returns the value of the setting `auth.encoding`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
        }
    }

    pub(super) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => unhex(text),
            Self::Base64 => STANDARD.decode(text).ok(),
        }
    }

    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(high)? << 4 | digit(low)?));
    bytes.collect::<Option<_>>().filter(|_| rest.is_empty())
}
