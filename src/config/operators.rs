//! The operators of the admin API: one token file for each operator.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use super::reader::Reader;
use super::{Purpose, secret};

/// The maximum length of an operator's name. Every audit record contains the name.
const NAME_CHARS_MAX: usize = 64;
/// The minimum length of an operator's token. An attacker could guess a shorter token.
const TOKEN_BYTES_MIN: usize = 16;

/// An operator of the admin API, with the path of the operator's token file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorFile {
    /// The name of the operator: the name of the token file without the extension.
    pub name: String,
    pub token_file: PathBuf,
}

/// Reads the setting `ops.token_files`.
pub(super) fn take(reader: &mut Reader, purpose: Purpose) -> Option<Vec<OperatorFile>> {
    reader.take(&["ops", "token_files"], |raw| {
        let files = raw.texts()?.into_iter().filter(|file| !file.is_empty());
        let operators = files
            .map(|file| operator(PathBuf::from(file), purpose))
            .collect::<Result<Vec<_>, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(duplicate) = operators.iter().find(|one| !names.insert(&one.name)) {
            return Err(format!("names {} twice", duplicate.name));
        }
        if purpose == Purpose::Serve {
            different_tokens(&operators)?;
        }
        Ok(operators)
    })
}

/// Returns an error if two operators have the same token: the audit log could not tell the two apart.
fn different_tokens(operators: &[OperatorFile]) -> Result<(), String> {
    let mut owners = HashMap::new();
    for operator in operators {
        let token = operator.token()?.expose_secret().to_owned();
        if let Some(owner) = owners.insert(token, &operator.name) {
            return Err(format!(
                "{owner} and {} have the same token, so the audit log could not tell them apart",
                operator.name
            ));
        }
    }
    Ok(())
}

fn operator(token_file: PathBuf, purpose: Purpose) -> Result<OperatorFile, String> {
    let name = token_file.file_stem().and_then(|name| name.to_str());
    let name = name.filter(|name| {
        name.len() <= NAME_CHARS_MAX && name.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let Some(name) = name.map(str::to_owned) else {
        return Err(format!(
            "{}: the name must be 1 to {NAME_CHARS_MAX} visible ASCII characters",
            token_file.display()
        ));
    };
    let operator = OperatorFile { name, token_file };
    if purpose == Purpose::Serve {
        operator.token()?;
    }
    Ok(operator)
}

impl OperatorFile {
    /// Reads the operator's token from the token file.
    ///
    /// # Errors
    /// Returns the reason why the token cannot be used. The reason does not contain the content of the token file.
    pub fn token(&self) -> Result<SecretString, String> {
        let token = secret::read(&self.token_file)?;
        if token.expose_secret().len() < TOKEN_BYTES_MIN {
            return Err(format!(
                "{} is shorter than {TOKEN_BYTES_MIN} bytes",
                self.token_file.display()
            ));
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_has_a_short_name_and_a_long_token() {
        let folder = tempfile::tempdir().unwrap();
        for (file, content, fits) in [
            ("ann.token", "0123456789abcdef", true),
            ("bob", "0123456789abcdef\n", true),
            ("short", "0123456789abcde", false),
            ("two words", "0123456789abcdef", false),
            ("absent", "", false),
        ] {
            let path = folder.path().join(file);
            if !content.is_empty() {
                std::fs::write(&path, content).unwrap();
            }
            let found = operator(path, Purpose::Serve);
            assert_eq!(found.is_ok(), fits, "{file}: {found:?}");
            if let Err(reason) = found {
                assert!(!reason.contains("0123"), "{reason}");
            }
        }
        let operators: Vec<_> = ["ann.token", "bob"]
            .map(|file| operator(folder.path().join(file), Purpose::Check).unwrap())
            .into();
        let error = different_tokens(&operators).unwrap_err();
        assert!(
            error.starts_with("ann and bob have the same token"),
            "{error}"
        );
        let path = folder.path().join("absent.token");
        let named = operator(path, Purpose::Check).unwrap();
        assert_eq!(named.name, "absent");
    }
}
