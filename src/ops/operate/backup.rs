//! Copies the store while the bridge uses the store.

use std::path::PathBuf;

use super::{Error, Operations, Operator, Role};
use crate::outbox::{CopyRefusal, Setting, is_reserved_name};

/// The maximum length of the name of a backup.
pub(super) const NAME_CHARS_MAX: usize = 100;

/// The file name of a backup: one path segment, because the bridge writes backups only to the folder of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupName(String);

impl BackupName {
    /// Parses the name of a backup.
    ///
    /// # Errors
    /// Returns [`Error::BackupName`] unless the name has 1 to 100 letters, digits, `.`, `_` and `-`, and starts with a
    /// letter or a digit. The name must also not be reserved, such as the names of the files that SQLite or the bridge
    /// keeps beside a store.
    pub fn parse(name: String) -> Result<Self, Error> {
        let is_valid = (1..=NAME_CHARS_MAX).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            && !is_reserved_name(&name);
        if is_valid {
            Ok(Self(name))
        } else {
            Err(Error::BackupName)
        }
    }
}

impl Operations {
    /// Copies the store into a new file in the folder of the store, and returns the path of the copy.
    ///
    /// # Errors
    /// Returns an error if the operator lacks the role, if the store fails, if a file with this name exists, if
    /// another backup is in progress, or if the disk has too little space for a copy.
    pub async fn backup(&self, operator: &Operator, name: BackupName) -> Result<PathBuf, Error> {
        operator.require(Role::Operator)?;
        let BackupName(name) = name;
        let event = self.audit_event(operator, "backup", name.clone());
        self.outbox.append_audit(event).await?;
        match self.outbox.backup(&name).await? {
            Ok(copy) => {
                self.record_backup().await;
                Ok(copy)
            }
            Err(CopyRefusal::Exists) => Err(Error::CopyExists),
            Err(CopyRefusal::Running) => Err(Error::BackupRunning),
            Err(CopyRefusal::InDatabase) => Err(Error::BackupInDatabase),
            Err(CopyRefusal::NoSpace { needed, free }) => Err(Error::NoCopySpace { needed, free }),
            Err(CopyRefusal::SpaceEnded { needed }) => Err(Error::CopySpaceEnded { needed }),
        }
    }

    /// Stores the time of a backup for the metric `last_backup_timestamp_seconds`. The backup is complete, so a failure
    /// here is only logged.
    async fn record_backup(&self) {
        let now = self.clock.now().as_millis().to_string();
        let stored = self.outbox.store_setting(Setting::LastBackup, now).await;
        if let Err(error) = stored {
            tracing::warn!(%error, "the backup is complete, but the store cannot keep its time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_name_is_one_path_segment() {
        for name in ["copy.db", "2025-02-13", "a"] {
            assert!(BackupName::parse(name.to_owned()).is_ok(), "{name}");
        }
        let long = "a".repeat(NAME_CHARS_MAX + 1);
        for name in [
            "",
            ".",
            "..",
            ".hidden",
            "../copy.db",
            "a/b",
            "a b",
            "ä",
            "outbox.db-wal",
            "outbox.db-journal",
            "outbox.db.lock",
            "outbox.db.replaced.7",
            &long,
        ] {
            assert!(BackupName::parse(name.to_owned()).is_err(), "{name}");
        }
    }
}
