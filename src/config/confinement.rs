//! The section `[confinement]`: the limits that the running bridge sets on itself.

use std::path::PathBuf;

use super::reader::{Raw, Reader};

/// The settings of the confinement. The file `config/default.toml` describes each setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfinementSettings {
    pub mode: ConfinementMode,
    /// Folders that the running bridge can read in addition to the folders that it needs.
    pub readable: Vec<PathBuf>,
}

/// Whether the running bridge gives up the rights that it does not need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfinementMode {
    On,
    Off,
}

pub(super) fn take(reader: &mut Reader) -> Option<ConfinementSettings> {
    let mode = reader.take(&["confinement", "mode"], |raw| {
        raw.word(&[("on", ConfinementMode::On), ("off", ConfinementMode::Off)])
    });
    let readable = reader.take(&["confinement", "readable"], Raw::texts);
    Some(ConfinementSettings {
        mode: mode?,
        readable: readable?.into_iter().map(PathBuf::from).collect(),
    })
}
