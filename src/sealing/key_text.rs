//! Parses the text of a sealing key file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The length of a sealing key: AES-256 is not stronger with a longer key.
const KEY_BYTES: usize = 32;
/// The minimum number of different bytes in a key. Of 32 random bytes, about 30 are different. A text with fewer
/// different bytes, such as a placeholder of equal characters, is not random.
const DIFFERENT_BYTES_MIN: usize = 16;

/// The flaw of the text in a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFlaw {
    /// The text has the wrong length, or wrong characters.
    #[error("must contain 32 random bytes, as 64 hexadecimal digits or as 44 characters of Base64")]
    Encoding,
    /// The text is not random.
    #[error("contains no random key: use the output of `openssl rand -hex 32`")]
    NotRandom,
    /// The key cannot be prepared.
    #[error("contains a key that cannot be used")]
    Unusable,
}

pub(super) fn parse(text: &str) -> Result<[u8; KEY_BYTES], KeyFlaw> {
    let bytes = if text.len() == 2 * KEY_BYTES {
        from_hex(text)
    } else {
        STANDARD.decode(text).ok()
    };
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    let bytes: [u8; KEY_BYTES] = bytes.ok_or(KeyFlaw::Encoding)?;
    let mut different = bytes.to_vec();
    different.sort_unstable();
    different.dedup();
    if different.len() < DIFFERENT_BYTES_MIN {
        return Err(KeyFlaw::NotRandom);
    }
    Ok(bytes)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_random_bytes_in_hex_or_base64() {
        let bytes: Vec<u8> = (0..32).map(|byte| byte * 7 + 3).collect();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [&hex, &hex.to_uppercase(), &STANDARD.encode(&bytes)] {
            assert_eq!(parse(text).unwrap().as_slice(), bytes, "{text}");
        }
        for (text, flaw) in [
            ("", KeyFlaw::Encoding),
            (&hex.replace("0a", ""), KeyFlaw::Encoding),
            (&hex.replace('0', "g"), KeyFlaw::Encoding),
            (&STANDARD.encode(&bytes[1..]), KeyFlaw::Encoding),
            (&"00".repeat(32), KeyFlaw::NotRandom),
            (&"REPLACE-ME".repeat(3), KeyFlaw::Encoding),
            (&"0123456789abcdef".repeat(4), KeyFlaw::NotRandom),
        ] {
            assert_eq!(parse(text), Err(flaw), "{text}");
        }
    }
}
