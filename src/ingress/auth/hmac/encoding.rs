//! The encodings of secrets in their files, and of signatures in their headers.

use base64::alphabet::{self, Alphabet};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, Engine as _};

/// The two alphabets of base64 (RFC 4648, sections 4 and 5), each with or without padding. Senders use all four forms, and a
/// text has the same bytes in each form that can decode it.
const ALPHABETS: [GeneralPurpose; 2] = [
    of_alphabet(&alphabet::STANDARD),
    of_alphabet(&alphabet::URL_SAFE),
];

const fn of_alphabet(alphabet: &Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new();
    let config = config.with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config)
}

/// The encoding of an HMAC secret in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretEncoding {
    /// The secret file contains the key itself, as UTF-8 text.
    Text,
    /// The secret file contains the key in base64.
    Base64,
    /// The secret file contains the key as hexadecimal digits in upper or lower case.
    Hex,
}

/// The encoding of a signature in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// The signature consists of hexadecimal digits in upper or lower case.
    Hex,
    /// The signature is base64.
    Base64,
}

impl SecretEncoding {
    /// Describes the texts of this encoding, for error messages.
    pub(super) const fn alphabet(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Base64 => "base64, as auth.secret_encoding specifies",
            Self::Hex => "pairs of hexadecimal digits, as auth.secret_encoding specifies",
        }
    }

    pub(in crate::ingress::auth) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Text => Some(text.as_bytes().to_vec()),
            Self::Base64 => unbase64(text),
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

    pub(in crate::ingress::auth) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => unhex(text),
            Self::Base64 => unbase64(text),
        }
    }

    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    ALPHABETS.iter().find_map(|base64| base64.decode(text).ok())
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
