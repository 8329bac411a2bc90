//! Reads secrets from files. The configuration accepts no secrets in settings or environment variables.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::Profile;
use super::regular_file::{self, FileError};
use super::secret_path::shown;

/// The maximum length of a secret file.
const SECRET_BYTES_MAX: u64 = 4096;
/// The maximum length of the line end after the secret. The line end is not a part of the secret.
const LINE_END_BYTES_MAX: u64 = 2;

/// The rights of users who are neither the owner of a file nor in its group: to read and to write.
const OTHERS: u32 = 0o006;
/// The right of the same users to write.
const OTHERS_WRITE: u32 = 0o002;
/// With this bit of a folder, only the owner of a file in the folder can remove or rename the file.
const STICKY: u32 = 0o1000;

/// Reads a secret from a file, and ignores a newline at the end of the file.
///
/// The secret must consist of visible ASCII characters. Another character is usually a mistake, which would appear only
/// later as a rejected key. The function refuses a device, a pipe and a folder, because a read of a device or a pipe
/// possibly never ends.
///
/// # Errors
/// Returns the reason why the secret cannot be used. The reason does not contain the content of the file.
pub fn read(path: &Path) -> Result<SecretString, String> {
    let content = regular_file::read(path, SECRET_BYTES_MAX + LINE_END_BYTES_MAX);
    let content = content.map_err(|error| match error {
        FileError::TooLarge(_) => too_long(path),
        FileError::Unreadable(_) | FileError::NotRegular => format!("{} {error}", shown(path)),
    })?;
    if let Some(form) = foreign_form(&content) {
        return Err(format!("{} {form}", path.display()));
    }
    let content = String::from_utf8(content)
        .map_err(|_binary| format!("{} cannot be read: it is not text", path.display()))?;
    let secret = content.strip_suffix('\n').unwrap_or(&content);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    if u64::try_from(secret.len()).unwrap_or(u64::MAX) > SECRET_BYTES_MAX {
        return Err(too_long(path));
    }
    // A byte order mark and similar characters have no width.
    let is_visible = |c: char| c.is_alphanumeric() || c.is_ascii_graphic();
    if !secret.is_ascii() && secret.chars().all(is_visible) {
        return Err(format!(
            "{} contains a letter or a sign that is not ASCII, such as a letter with an accent",
            path.display()
        ));
    }
    if let Some(word) = ["Bearer", "Basic", "Token"]
        .into_iter()
        .find(|word| begins_with_scheme(secret, word))
    {
        return Err(format!(
            "{} begins with {word} and a space; the file has only the secret, without this word",
            path.display()
        ));
    }
    if secret.trim_end().contains('\n') {
        return Err(format!(
            "{} has several lines; each secret has a file of its own, with one line",
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

/// Returns the reason why the content of a file is no secret, if an editor or a program wrote it in another form.
fn foreign_form(content: &[u8]) -> Option<&'static str> {
    let is_utf16 = content.starts_with(&[0xff, 0xfe]) || content.starts_with(&[0xfe, 0xff]);
    let text = content.trim_ascii();
    let is_object = text.starts_with(b"{") && text.ends_with(b"}");
    if is_utf16 {
        Some("is text in UTF-16, as some editors for Windows write it: save the file as UTF-8")
    } else if content.starts_with(&[0xef, 0xbb, 0xbf]) {
        Some(
            "begins with a byte order mark, which is not visible: save the file as UTF-8 without it",
        )
    } else if is_object && !text.iter().all(u8::is_ascii_graphic) {
        Some("is JSON: the file has only the secret itself, without a name and quotes")
    } else {
        None
    }
}

/// Returns the reason why a file probably has something around its secret, or in the place of its secret. The reason does not
/// contain the content of the file.
pub fn doubt(path: &Path) -> Option<String> {
    let secret = read(path).ok()?;
    let reason = doubtful_form(secret.expose_secret())?;
    Some(format!("{} {reason}", path.display()))
}

/// Words that documentation writes where the reader must put the secret.
const PLACEHOLDERS: [&str; 6] = [
    "changeme",
    "change-me",
    "change_me",
    "replace-me",
    "replace_me",
    "your-client-secret",
];

/// The minimum length of a text whose base64 form is certainly no accident.
const ENCODED_BYTES_MIN: usize = 12;

fn doubtful_form(secret: &str) -> Option<&'static str> {
    let is_name = |text: &str| {
        let of_name =
            |sign: char| sign.is_ascii_uppercase() || sign.is_ascii_digit() || sign == '_';
        text.starts_with(|first: char| first.is_ascii_uppercase()) && text.chars().all(of_name)
    };
    let is_between = |start: &str, end: &str| {
        let inner = secret.strip_prefix(start);
        inner
            .and_then(|inner| inner.strip_suffix(end))
            .is_some_and(|inner| !inner.is_empty())
    };
    let is_assigned = secret
        .split_once('=')
        .is_some_and(|(name, value)| is_name(name) && !value.trim_start_matches('=').is_empty());
    let is_placeholder = PLACEHOLDERS
        .iter()
        .any(|part| secret.to_ascii_lowercase().contains(part));
    if is_between("\"", "\"") || is_between("'", "'") {
        Some("has quotes around the secret, and they are a part of the secret: remove them")
    } else if secret.starts_with("{\"") {
        Some("is JSON, and the whole JSON is the secret: the file has only the secret itself")
    } else if is_between("${", "}") || secret.strip_prefix('$').is_some_and(is_name) {
        Some("has the name of a variable, which the bridge does not replace")
    } else if is_between("<", ">") || is_placeholder {
        Some("has a placeholder and no secret")
    } else if is_assigned {
        Some("begins with a name and =, and they are a part of the secret: remove them")
    } else if secret.starts_with("/run/secrets/") || secret.starts_with("/var/run/secrets/") {
        Some("has the path of another file, and the path is the secret")
    } else if is_encoded_text(secret) {
        Some(
            "is a text in base64, which the bridge does not decode: if the sender has the text itself, write the text",
        )
    } else {
        None
    }
}

/// Returns whether a secret is a printable text in base64, as in a Secret of Kubernetes. Random bytes are practically never such a
/// text. A user name and a password with a colon are sent in this form.
fn is_encoded_text(secret: &str) -> bool {
    let decoded = STANDARD.decode(secret).unwrap_or_default();
    let text = decoded.strip_suffix(b"\n").unwrap_or(&decoded);
    let is_printable = |byte: &u8| byte.is_ascii_graphic() && *byte != b':';
    text.len() >= ENCODED_BYTES_MIN && text.iter().all(is_printable)
}

/// Returns whether a secret begins with the word of an authentication scheme, as in the header Authorization.
fn begins_with_scheme(secret: &str, word: &str) -> bool {
    let begin = secret.get(..word.len());
    let rest = secret.get(word.len()..).unwrap_or_default();
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(word)) && rest.starts_with(' ')
}

/// Returns whether every user of the machine can read or write a secret file.
pub fn is_exposed(path: &Path) -> bool {
    mode(path).is_some_and(|mode| mode & OTHERS != 0)
}

/// Returns the reason why the profile does not allow a secret file: every user of the machine can read or write the file, or
/// can put another file in its place. A missing file is no reason.
pub fn exposure(path: &Path, profile: Option<Profile>) -> Option<String> {
    if profile != Some(Profile::Production) {
        return None;
    }
    if is_exposed(path) {
        let mode = mode(path).unwrap_or_default() & 0o777;
        return Some(format!(
            "{} must not be readable or writable for every user of this machine with the profile \"production\": its mode is {mode:04o}, and 0600 or 0440 would be safe",
            path.display()
        ));
    }
    let folder = path.parent()?;
    let mode = mode(folder).filter(|mode| mode & OTHERS_WRITE != 0 && mode & STICKY == 0)?;
    Some(format!(
        "the folder {} must not be writable for every user of this machine with the profile \"production\": its mode is {:04o}, and 0700 or 0755 would be safe",
        folder.display(),
        mode & 0o777
    ))
}

fn mode(path: &Path) -> Option<u32> {
    std::fs::metadata(path)
        .ok()
        .map(|file| file.permissions().mode())
}

/// Returns the time of the last change of a secret file, in seconds since the Unix epoch.
pub fn modified(path: &Path) -> Option<i64> {
    let file = std::fs::metadata(path).ok()?;
    Some(file.mtime())
}

fn too_long(path: &Path) -> String {
    format!("{} is longer than {SECRET_BYTES_MAX} bytes", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1257, N1432
    #[test]
    fn a_file_with_more_than_its_secret_is_doubtful() {
        for (secret, part) in [
            ("\"intercom-secret\"", Some("quotes")),
            ("'intercom-secret'", Some("quotes")),
            ("CLIENT_SECRET=intercom-secret", Some("a name and =")),
            ("${CLIENT_SECRET}", Some("a variable")),
            ("$CLIENT_SECRET", Some("a variable")),
            ("<your-secret-here>", Some("a placeholder")),
            ("REPLACE_ME_WITH_THE_SECRET", Some("a placeholder")),
            ("{\"client_secret\":\"x\"}", Some("JSON")),
            ("/run/secrets/intercom", Some("the path of another file")),
            ("YWJjZGVmZ2hpamtsbW5vcA==", Some("in base64")),
            ("YWJjZGVmZ2hpamtsbW5vcAo=", Some("in base64")),
            ("dXNlcjpwYXNzd29yZC1vZi11c2Vy", None),
            ("0123456789abcdef0123456789abcdef", None),
            ("U29tZVRva2VuV2l0aFdvcmRz0123", None),
            ("ABCDEF==", None),
            ("$2b$12$abcdefgh", None),
            ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", None),
            ("x=y", None),
        ] {
            let found = doubtful_form(secret);
            assert_eq!(found.is_some(), part.is_some(), "{secret}: {found:?}");
            let found = found.unwrap_or_default();
            assert!(
                found.contains(part.unwrap_or_default()),
                "{secret}: {found}"
            );
        }
    }

    /// FAULTS N1128: everybody could replace a token or remove a sealing key. With the sticky bit, as in `/tmp` and in the
    /// volumes of Kubernetes, only the owner of the file can.
    #[test]
    fn production_refuses_a_folder_that_everybody_can_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "k-1").unwrap();
        let set = |path: &Path, mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, mode).unwrap();
        };
        set(&path, 0o600);
        for (mode, is_refused) in [
            (0o777, true),
            (0o702, true),
            (0o1777, false),
            (0o755, false),
        ] {
            set(folder.path(), mode);
            let reason = exposure(&path, Some(Profile::Production));
            assert_eq!(reason.is_some(), is_refused, "{mode:o}: {reason:?}");
            assert_eq!(exposure(&path, Some(Profile::Local)), None);
        }
    }

    /// FAULTS N1053: a visible letter is no invisible character.
    #[test]
    fn the_error_tells_a_letter_with_an_accent_from_white_space() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (content, expected) in [
            ("sugar-\u{fc}123", "a letter or a sign that is not ASCII"),
            ("sugar 123", "spaces, newlines or other invisible"),
            ("\u{feff}sugar", "begins with a byte order mark"),
            // FAULTS N1392
            ("{\"password\": \"sugar123\"}", "is JSON"),
            // FAULTS N1222
            ("Bearer sugar123", "begins with Bearer and a space"),
            ("bearer sugar123\n", "begins with Bearer and a space"),
            ("sugar123\nsugar124\n", "has several lines"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// FAULTS N1392: PowerShell writes a text in UTF-16.
    #[test]
    fn a_secret_in_utf_16_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, b"\xff\xfek\x00-\x001\x00").unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.contains("is text in UTF-16"), "{error}");
    }

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

    /// FAULTS N202
    #[test]
    fn an_odd_file_is_refused_by_name_and_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("huge"), "k".repeat(1 << 20)).unwrap();
        std::fs::write(at("empty"), "").unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("link")).unwrap();
        let pipe = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(pipe.unwrap().success());
        std::fs::write(at("long"), "k".repeat(4096) + "\r\n").unwrap();
        assert!(read(&at("long")).is_ok());
        for path in [
            at("huge"),
            at("empty"),
            at("link"),
            at("pipe"),
            folder.path().to_owned(),
            "/dev/zero".into(),
            "/dev/null".into(),
        ] {
            let reason = read(&path).unwrap_err();
            assert!(reason.contains(path.to_str().unwrap()), "{reason}");
            assert!(!reason.contains("kk"), "{reason}");
        }
    }
}
