//! The keys of the audit log: the setting `ops.audit_key_files`.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::reader::Reader;
use super::{Profile, Purpose, secret, secret_path};
use crate::outbox::AuditKeys;

/// The minimum length of a key of the audit log. Somebody with a copy of the store could guess a shorter key.
const AUDIT_KEY_BYTES_MIN: usize = 32;

/// The files with the keys of the audit log, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditKeyFiles(Vec<PathBuf>);

/// Reads the setting `ops.audit_key_files`.
pub(super) fn take(
    reader: &mut Reader,
    profile: Option<Profile>,
    purpose: Purpose,
) -> Option<AuditKeyFiles> {
    let files = take_files(reader, purpose)?;
    for file in files.paths() {
        if let Some(reason) = secret::exposure(file, profile) {
            reader.error(&["ops", "audit_key_files"], reason);
        }
    }
    Some(files)
}

fn take_files(reader: &mut Reader, purpose: Purpose) -> Option<AuditKeyFiles> {
    reader.take(&["ops", "audit_key_files"], |raw| {
        let files = AuditKeyFiles(secret_path::take_list(raw)?);
        if purpose == Purpose::Serve {
            files.read()?;
        }
        Ok(files)
    })
}

impl AuditKeyFiles {
    /// Creates the list of these files.
    pub const fn new(files: Vec<PathBuf>) -> Self {
        Self(files)
    }

    /// Reads the keys of the audit log.
    ///
    /// # Errors
    /// Returns the reason why a key cannot be used. The reason does not contain the content of the file.
    pub fn read(&self) -> Result<AuditKeys, String> {
        let keys = self.0.iter().map(|file| read_key(file));
        let keys: Vec<SecretString> = keys.collect::<Result<_, _>>()?;
        Ok(AuditKeys::new(keys))
    }

    /// Checks a key of the audit log.
    ///
    /// # Errors
    /// Returns the flaw of the key. An error begins with the name of the file.
    pub fn check_key(key: &SecretString) -> Result<(), String> {
        if key.expose_secret().len() < AUDIT_KEY_BYTES_MIN {
            return Err(format!("is shorter than {AUDIT_KEY_BYTES_MIN} bytes"));
        }
        Ok(())
    }

    /// Returns the files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// Returns each file, and the reason why its key cannot be used, if it cannot.
    pub fn flaws(&self) -> impl Iterator<Item = (&PathBuf, Option<String>)> {
        self.0.iter().map(|file| (file, read_key(file).err()))
    }
}

fn read_key(file: &Path) -> Result<SecretString, String> {
    let key = secret::read(file)?;
    let named = |flaw| format!("{} {flaw}", file.display());
    AuditKeyFiles::check_key(&key).map_err(named)?;
    Ok(key)
}
