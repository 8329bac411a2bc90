//! The disk of the store without space for events, as the sentence of the overview describes it. Pure.

use super::words::bytes_text;

/// A disk without space for events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FullDisk {
    /// The place of the store on it.
    pub(super) path: String,
    /// The free space, or `None` if the disk does not report it.
    pub(super) free_bytes: Option<u64>,
}

impl FullDisk {
    /// Returns the free space as a text.
    pub(super) fn free_text(&self) -> String {
        match self.free_bytes {
            Some(bytes) => format!("{} free", bytes_text(bytes)),
            None => "and does not report its free space".to_owned(),
        }
    }
}
