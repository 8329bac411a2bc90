//! The files that the store creates beside itself: drafts, which get their final name when they are complete.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::files::with_ending;

/// The file mode of the store's files: only the user that runs the bridge can read the files.
pub(super) const FILE_MODE: u32 = 0o600;

/// Returns the path of a file beside the store: the path of the store, followed by a dot and an ending such as `lock`.
pub(super) fn beside(store: &Path, ending: &str) -> PathBuf {
    with_ending(store, &format!(".{ending}"))
}

/// Creates an empty file that only the user of the bridge can read. Returns an error if a file or a link of this name
/// exists.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
}

/// Removes the files of a draft that a crashed process left. SQLite would otherwise apply an old log or journal to the
/// new draft.
pub(super) fn remove_draft(draft: &Path) -> io::Result<()> {
    remove(draft)?;
    remove_logs(draft)
}

/// Removes the write-ahead log, the journal and the `-shm` file of a database.
pub(super) fn remove_logs(path: &Path) -> io::Result<()> {
    for ending in ["-wal", "-shm", "-journal"] {
        remove(&with_ending(path, ending))?;
    }
    Ok(())
}

/// Removes a file if the file exists.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Syncs the folder of a file to disk, so that the name of the file survives a crash.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all())
}
