//! The paths of secret files. Somebody can write a secret into a setting that must have the path of its file: such a text is
//! refused, and no error and no log repeats it.

use std::path::{Component, Path, PathBuf};

use super::reader::Raw;

/// The minimum length of a text that could be a secret. Shorter texts are names, such as `key` or `token`.
const SECRET_CHARS_MIN: usize = 8;
/// The minimum length of a part of a text, between dots, dashes and slashes, that could be random. The words in the name
/// of a file are shorter.
const RANDOM_CHARS_MIN: usize = 16;

/// Parses a setting that is the path of a secret file.
pub(super) fn take(raw: Raw) -> Result<PathBuf, String> {
    parse(raw.text()?)
}

/// Parses a setting that is a list of paths of secret files. Empty texts do not count.
pub(super) fn take_list(raw: Raw) -> Result<Vec<PathBuf>, String> {
    let texts = raw.texts()?.into_iter().filter(|text| !text.is_empty());
    texts.map(parse).collect()
}

fn parse(text: String) -> Result<PathBuf, String> {
    if begins_with_variable(&text) {
        return Err(
            "begins with a variable of the shell, which the bridge does not replace: write the whole path".to_owned(),
        );
    }
    let is_path_with_space = text.trim() != text && !could_be_secret(Path::new(text.trim()));
    let path = PathBuf::from(text);
    if is_path_with_space && !path.exists() {
        return Err("begins or ends with a space or a line break: remove it".to_owned());
    }
    if path.starts_with("~") && !path.exists() {
        return Err(
            "begins with ~, which the bridge does not replace: write the whole path".to_owned(),
        );
    }
    match could_be_secret(&path) {
        true => Err("must be the path of a file: the text names no file, and could be a secret itself, so no message repeats it. Write the secret into a file. If the text is the name of a file, write ./ before it".to_owned()),
        false => Ok(path),
    }
}

/// Returns whether a text begins with a variable and a slash, such as `$HOME/`. The name is in capital letters, as no secret is.
fn begins_with_variable(text: &str) -> bool {
    let Some((variable, _)) = text.split_once('/') else {
        return false;
    };
    let name = variable.strip_prefix('$').unwrap_or_default();
    let name = name
        .strip_prefix('{')
        .map_or(name, |name| name.trim_end_matches('}'));
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// Returns the path for a message, or another text if the path could be a secret.
pub(super) fn shown(path: &Path) -> String {
    match could_be_secret(path) {
        true => "a file whose name could be a secret".to_owned(),
        false => path.display().to_string(),
    }
}

/// Returns whether a text that should be a path has the form of a secret. A text with an existing file or folder is a path.
fn could_be_secret(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let begins_as_path = ["./", "../", "~/"]
        .iter()
        .any(|begin| text.starts_with(begin));
    if begins_as_path || path.exists() || begins_in_a_folder(path) || text.len() < SECRET_CHARS_MIN
    {
        return false;
    }
    let is_in_names = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let is_one_word = !path.is_absolute() && !text.contains(['/', '.']);
    let mut parts = text.split(['/', '.', '_', '-']);
    is_one_word || !text.chars().all(is_in_names) || parts.any(is_random)
}

/// Returns whether the first folder in the path exists.
fn begins_in_a_folder(path: &Path) -> bool {
    let mut parts = path.components().filter(|part| *part != Component::RootDir);
    let first = parts.next();
    let root = path.is_absolute().then_some(Component::RootDir);
    let folder: PathBuf = root.into_iter().chain(first).collect();
    parts.next().is_some() && folder.is_dir()
}

/// Returns whether a part of a text could be random: it is long, or it mixes digits with small and capital letters.
fn is_random(part: &str) -> bool {
    let has = |is_kind: fn(&char) -> bool| part.chars().any(|c| is_kind(&c));
    let is_mixed =
        has(char::is_ascii_digit) && has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase);
    part.len() >= RANDOM_CHARS_MIN || (is_mixed && part.len() >= SECRET_CHARS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N615: a secret in place of the path of its file, in many forms, and paths of files that do not exist.
    #[test]
    fn a_secret_in_place_of_a_path_is_recognised_by_its_form() {
        for secret in [
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "0f8fad5b-d9cb-469f-a165-70867728950e",
            "sk_test_canary_older_key",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKY/qrTwjUPD8IL/PZIo2LaLaSw",
            "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
            "/9gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVPmB92K27u",
            "correct-horse-battery-staple",
            "hunter22",
            "Bearer abc",
            "pass.word!",
            "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
        ] {
            assert!(could_be_secret(Path::new(secret)), "{secret}");
            let error = parse(secret.to_owned()).unwrap_err();
            let shown = shown(Path::new(secret));
            assert!(
                !error.contains(secret) && !shown.contains(secret),
                "{error}"
            );
        }
        // FAULTS N1210
        for (path, cause) in [
            ("$HOME/copper.secret", "begins with a variable"),
            ("${HOME}/copper.secret", "begins with a variable"),
            ("~/copper.secret", "begins with ~"),
            ("$2b$12abcdefgh/abcdefghijklmnop", "could be a secret"),
        ] {
            let error = parse(path.to_owned()).unwrap_err();
            assert!(error.contains(cause), "{path}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let existing = folder.path().join("0123456789abcdef0123456789abcdef");
        std::fs::write(&existing, "x").unwrap();
        let absent = folder.path().join("0123456789ABCDEF0123456789abcdef");
        for path in [
            existing.to_str().unwrap(),
            absent.to_str().unwrap(),
            "",
            "key",
            "ann",
            "ann.viewer",
            "ann.operator.revealer",
            "imprint-key.txt",
            "secrets/imprint-bridge/key",
            "./0123456789abcdef0123456789abcdef",
            "../imprint-key",
            "/run/secrets/imprint-bridge/sources/crm",
            "/nowhere/secrets/imprint/key",
            "/nowhere/2026-11-26.key",
        ] {
            let path = Path::new(path);
            assert!(!could_be_secret(path), "{}", path.display());
            assert_eq!(shown(path), path.display().to_string());
        }
    }
}
