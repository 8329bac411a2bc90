//! The place of the erasure journal. The journal protects an erased customer only if it is not lost or restored together with
//! the store.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::OutboxSettings;

/// The place of the erasure journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalPlace {
    /// No journal is configured.
    NotSet,
    /// The folder of the journal does not exist. The machine of an author need not have it.
    NoFolder(PathBuf),
    /// The folder of the journal is the folder of the store.
    BesideStore,
    /// The journal has a folder of its own.
    Apart,
}

impl OutboxSettings {
    /// Looks at the folder of the erasure journal.
    ///
    /// # Errors
    /// Returns the reason why the bridge could not write the journal.
    pub fn journal_place(&self) -> Result<JournalPlace, String> {
        let Some(journal) = &self.erasure_journal else {
            return Ok(JournalPlace::NotSet);
        };
        if journal.is_dir() {
            return Err(format!("{} is a folder; name a file", journal.display()));
        }
        let folder = folder(journal);
        match folder.metadata() {
            Ok(found) if !found.is_dir() => {
                return Err(format!("{} is not a folder", folder.display()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(JournalPlace::NoFolder(folder.to_owned()));
            }
            Err(error) => {
                return Err(format!(
                    "the folder {} cannot be used: {error}",
                    folder.display()
                ));
            }
        }
        if access(folder, Access::WRITE_OK | Access::EXEC_OK).is_err() {
            return Err(format!("the folder {} is not writable", folder.display()));
        }
        let is_beside = real_folder(journal) == self.path_folder();
        Ok(match is_beside {
            true => JournalPlace::BesideStore,
            false => JournalPlace::Apart,
        })
    }

    /// Returns whether an erasure is lost together with the store.
    pub fn lacks_journal(&self) -> bool {
        match self.journal_place() {
            Ok(JournalPlace::NotSet | JournalPlace::BesideStore) => true,
            Ok(JournalPlace::NoFolder(_) | JournalPlace::Apart) | Err(_) => false,
        }
    }

    fn path_folder(&self) -> Option<PathBuf> {
        real_folder(self.place.file()?)
    }
}

/// Returns the folder of a file. A file that is a link lies in the folder to which the link leads.
fn real_folder(file: &Path) -> Option<PathBuf> {
    let real = file.canonicalize();
    let real = real.unwrap_or_else(|_absent| file.to_owned());
    folder(&real).canonicalize().ok()
}

fn folder(file: &Path) -> &Path {
    let folder = file.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}
