//! Reads files that must be regular files of a bounded size.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use crate::confinement;

/// The reason why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("is not a regular file")]
    NotRegular,
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
}

impl FileError {
    /// Returns the error as a sentence that names the file.
    pub(crate) fn at(&self, path: &Path) -> String {
        format!("{} {self}", path.display())
    }
}

/// Reads a regular file with at most `bytes_max` bytes.
///
/// The function refuses a device, a pipe and a folder, because a read of a device or a pipe possibly never ends.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
    let check = |file: &Metadata| match file.is_file() {
        true if file.len() > bytes_max => Err(FileError::TooLarge(bytes_max)),
        true => Ok(()),
        false => Err(FileError::NotRegular),
    };
    // The first check comes before the open, because opening a device can have effects. With `NONBLOCK`, the open does
    // not block if a pipe replaces the file after the first check.
    check(&std::fs::metadata(path)?)?;
    let file = File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|error| refusal(path, error))?;
    check(&file.metadata()?)?;
    let mut content = Vec::new();
    // A file can grow while this function reads it.
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut content)?;
    if u64::try_from(content.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(FileError::TooLarge(bytes_max));
    }
    Ok(content)
}

/// The reason why the running bridge cannot open a file in a folder that it did not need at its start.
const FORBIDDEN: &str = "at its start, the bridge gave up the right to read this folder: restart the bridge, or add the folder to confinement.readable";

/// Returns the reason why a file cannot be opened.
fn refusal(path: &Path, error: io::Error) -> io::Error {
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    if is_denied && confinement::forbids(path) {
        io::Error::new(error.kind(), FORBIDDEN)
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_within_the_bound_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        let text = |path: &Path, bytes_max| read(path, bytes_max).unwrap_err().at(path);
        assert!(text(&path, 4).ends_with("file is larger than 4 bytes"));
        assert!(text(folder.path(), 4).ends_with("is not a regular file"));
        let zero = Path::new("/dev/zero");
        assert_eq!(text(zero, 4), "/dev/zero is not a regular file");
        let absent = folder.path().join("absent");
        assert!(text(&absent, 4).contains("absent cannot be read: "));
    }
}
