//! Confines the processes of `serve` and `demo`: the running bridge can open only the files that it needs.

use std::path::Path;

use crate::config::sources::SourceSettings;
use crate::config::{Config, ConfinementMode};
use crate::confinement::{self, AllowedFiles};

/// Confines the process, unless the configuration switches this off. The caller must not have started a thread.
pub fn confine(config: &Config, sources: &[SourceSettings]) {
    if config.confinement.mode == ConfinementMode::Off {
        return;
    }
    let mut allowed = AllowedFiles::of_system();
    let paths = config.read_paths(sources);
    paths.files.iter().for_each(|file| allowed.read_file(file));
    let folders = paths.folders.iter();
    folders.for_each(|folder| allowed.read_folder(folder));
    let store = config.outbox.place.file().into_iter();
    store.for_each(|store| allowed.write_beside(store));
    let journal = config.outbox.erasure_journal.iter();
    journal.for_each(|journal| allowed.write_beside(journal));
    confinement::confine(allowed);
}

/// Confines the process to the files in one temporary folder, which it can also remove at its end. The caller must not
/// have started a thread.
pub fn confine_to(folder: &Path) {
    let mut allowed = AllowedFiles::of_system();
    allowed.write_beside(&folder.join("outbox.db"));
    allowed.remove(folder);
    confinement::confine(allowed);
}
