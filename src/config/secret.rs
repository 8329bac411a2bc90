//! Reads secrets, which the configuration accepts only in files.

use std::io::Read;
use std::path::Path;

use secrecy::SecretString;

/// The maximum length of a secret file.
const SECRET_BYTES_MAX: u64 = 4096;

/// Reads a secret from a file, and ignores a newline at the end of the file.
///
/// All other characters must be visible ASCII, because other characters are usually a mistake that would appear only
/// later, as a rejected key.
///
/// # Errors
/// Returns the reason for which the secret cannot be used, without the content of the file.
pub fn read(path: &Path) -> Result<SecretString, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut content = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(SECRET_BYTES_MAX + 1)
        .read_to_string(&mut content)
        .map_err(unreadable)?;
    let secret = content.strip_suffix('\n').unwrap_or(&content);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    if u64::try_from(secret.len()).unwrap_or(u64::MAX) > SECRET_BYTES_MAX {
        return Err(format!(
            "{} is longer than {SECRET_BYTES_MAX} bytes",
            path.display()
        ));
    }
    if !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!(
            "{} contains spaces, newlines or other invisible characters",
            path.display()
        ));
    }
    Ok(SecretString::from(secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// FAULTS K05
    #[test]
    fn a_secret_is_one_line_of_visible_ascii() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let table: [(&[u8], Option<&str>); 10] = [
            (b"k-1", Some("k-1")),
            (b"k-1\n", Some("k-1")),
            (b"k-1\r\n", Some("k-1")),
            (b"", None),
            (b"\n", None),
            (b"k-1\n\n", None),
            (b"k 1", None),
            (b"\xef\xbb\xbfk-1", None),
            (b"\x00\x01", None),
            (b"\xff\xfe", None),
        ];
        for (content, expected) in table {
            std::fs::write(&path, content).unwrap();
            let secret = read(&path);
            assert_eq!(
                secret.as_ref().ok().map(ExposeSecret::expose_secret),
                expected,
                "{content:?}"
            );
            if let Err(reason) = secret {
                assert!(
                    !reason.contains("k-1") && !reason.contains("k 1"),
                    "{reason}"
                );
            }
        }
        assert!(read(&folder.path().join("absent")).is_err());
    }
}
