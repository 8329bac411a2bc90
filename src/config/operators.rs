//! The operators of the admin API: one token file for each operator. The name of a token file contains the operator's
//! name, and after it the words of the operator's roles: `ann.viewer`, `ann.operator`, `ann.operator.revealer`.
//!
//! A key of a Kubernetes Secret can have these names, so that the mounted folder needs no second file with the roles.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::reader::Reader;
use super::{Profile, Purpose, secret, secret_path};
use crate::spelling::misspelt;

/// The maximum length of an operator's name. Every audit record contains the name.
const NAME_CHARS_MAX: usize = 64;
/// The minimum length of an operator's token. An attacker could guess a shorter token.
const TOKEN_BYTES_MIN: usize = 16;

/// Words for roles of other systems. A file `ann.admin` would give the operator every role, without a warning to its author.
const OTHER_ROLES: [&str; 8] = [
    "admin", "auditor", "editor", "owner", "readonly", "reader", "root", "writer",
];

/// An operator of the admin API, with the path of the operator's token file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorFile {
    /// The name of the operator: the name of the token file without the words of the roles and without the extension.
    pub name: String,
    /// The roles in the name of the token file. Without a role in the name, the operator has every role: earlier
    /// versions of the bridge had no roles.
    pub roles: Option<Vec<RoleWord>>,
    pub token_file: PathBuf,
}

/// The word of a role in the name of a token file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleWord {
    /// The operator reads masked data. Every operator has this role.
    Viewer,
    /// The operator changes entries and the state of the bridge.
    Operator,
    /// The operator sees unmasked values.
    Revealer,
}

impl RoleWord {
    const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Revealer];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Revealer => "revealer",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// The parts of the name of a token file.
struct TokenFileName {
    operator: String,
    roles: Option<Vec<RoleWord>>,
}

impl TokenFileName {
    /// Parses the name of a token file. The name of the operator ends before the first word of a role, and without such
    /// a word, before the extension.
    ///
    /// A misspelt word of a role is an error: otherwise `ann.viewr` would give the operator every role.
    fn parse(file: &str) -> Result<Self, String> {
        let words = RoleWord::ALL.map(RoleWord::as_str);
        let parts = || file.split('.').skip(1);
        let unknown = || parts().filter(|part| RoleWord::parse(part).is_none());
        if let Some((part, word)) = unknown().find_map(|part| Some((part, misspelt(part, words)?)))
        {
            return Err(format!("{part} is not a role; did you mean {word}?"));
        }
        if let Some(part) = unknown().find(|part| OTHER_ROLES.contains(part)) {
            return Err(format!(
                "{part} is not a role; the roles are {}, and both operator and revealer allow everything",
                words.join(", ")
            ));
        }
        let roles: Vec<_> = parts().filter_map(RoleWord::parse).collect();
        if roles.is_empty() {
            let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str());
            let operator = stem.unwrap_or_default().to_owned();
            return Ok(Self {
                operator,
                roles: None,
            });
        }
        let before_roles = parts().take_while(|part| RoleWord::parse(part).is_none());
        let operator: Vec<_> = file.split('.').take(1).chain(before_roles).collect();
        Ok(Self {
            operator: operator.join("."),
            roles: Some(roles),
        })
    }
}

/// Reads the setting `ops.token_files`.
pub(super) fn take(
    reader: &mut Reader,
    profile: Option<Profile>,
    purpose: Purpose,
) -> Option<Vec<OperatorFile>> {
    let operators = take_files(reader, purpose)?;
    for operator in &operators {
        if let Some(reason) = secret::exposure(&operator.token_file, profile) {
            reader.error(&["ops", "token_files"], reason);
        }
    }
    Some(operators)
}

fn take_files(reader: &mut Reader, purpose: Purpose) -> Option<Vec<OperatorFile>> {
    reader.take(&["ops", "token_files"], |raw| {
        let files = secret_path::take_list(raw)?.into_iter();
        let operators = files
            .map(|file| operator(file, purpose))
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

/// Returns an error if two operators have the same token: the audit log could not tell the two apart. A file that cannot be
/// read has its own error.
pub(crate) fn different_tokens(operators: &[OperatorFile]) -> Result<(), String> {
    let mut owners = HashMap::new();
    for operator in operators {
        let Ok(token) = operator.token() else {
            continue;
        };
        let token = token.expose_secret().to_owned();
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
    let file = token_file.file_name().and_then(|name| name.to_str());
    let TokenFileName { operator, roles } = TokenFileName::parse(file.unwrap_or_default())
        .map_err(|reason| format!("{}: {reason}", token_file.display()))?;
    let is_name = (1..=NAME_CHARS_MAX).contains(&operator.len())
        && operator.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_name {
        return Err(format!(
            "{}: the name must be 1 to {NAME_CHARS_MAX} visible ASCII characters",
            token_file.display()
        ));
    }
    let operator = OperatorFile {
        name: operator,
        roles,
        token_file,
    };
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
        let named = |flaw| format!("{} {flaw}", self.token_file.display());
        Self::check_token(&token).map_err(named)?;
        Ok(token)
    }

    /// Checks the token of an operator.
    ///
    /// # Errors
    /// Returns the flaw of the token. An error begins with the name of the file.
    pub fn check_token(token: &SecretString) -> Result<(), String> {
        if token.expose_secret().len() < TOKEN_BYTES_MIN {
            return Err(format!("is shorter than {TOKEN_BYTES_MIN} bytes"));
        }
        Ok(())
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
    /// FAULTS N500
    #[test]
    fn a_token_file_names_its_operator_and_the_roles() {
        use RoleWord::{Operator, Revealer, Viewer};
        for (file, name, roles) in [
            ("ann.viewer", "ann", Some(vec![Viewer])),
            ("ann.operator", "ann", Some(vec![Operator])),
            (
                "ann.operator.revealer",
                "ann",
                Some(vec![Operator, Revealer]),
            ),
            ("ann.viewer.token", "ann", Some(vec![Viewer])),
            ("ann.smith.viewer", "ann.smith", Some(vec![Viewer])),
            ("operator", "operator", None),
            ("operator.viewer", "operator", Some(vec![Viewer])),
            ("ann", "ann", None),
            ("ann.token", "ann", None),
            ("ann.smith.token", "ann.smith", None),
        ] {
            let found = TokenFileName::parse(file).unwrap();
            assert_eq!((found.operator.as_str(), found.roles), (name, roles));
        }
        for file in [
            "ann.viewr",
            "ann.Viewer",
            "ann.operators",
            "ann.viewer.reveler",
        ] {
            let reason = TokenFileName::parse(file).map(|name| name.operator);
            assert!(reason.unwrap_err().contains("did you mean"), "{file}");
        }
        let nameless = operator(PathBuf::from("/x/.viewer"), Purpose::Check);
        assert!(nameless.unwrap_err().contains("the name must be"));
    }
}
