//! Whether a running bridge possibly uses the source of a file.

use std::fs;
use std::path::Path;

use super::super::read_file;
use super::super::reader::{Raw, Reader};

/// Returns whether a running bridge possibly uses the source of this file: the file has settings, and is no draft. If the
/// file cannot be read, a running bridge possibly uses its earlier content.
pub fn is_possibly_in_use(file: &Path) -> bool {
    if fs::symlink_metadata(file).is_err() {
        return false;
    }
    let Ok((settings, _)) = read_file(file) else {
        return true;
    };
    let mut reader = Reader::new(&file.display().to_string(), settings);
    reader.settings() > 0 && reader.take_optional(&["draft"], Raw::truth) != Some(true)
}
