//! The errors about the folders of the sources and of the schemas.

use std::fs;
use std::path::Path;

use super::super::absolute;
use super::super::reader::SettingError;
use crate::spelling;

/// Creates the error about the folder that a setting names.
pub(super) fn folder_error(setting: &str, path: &Path, reason: &str) -> SettingError {
    SettingError {
        origin: String::new(),
        key: setting.to_owned(),
        reason: format!("{} {reason}{}", absolute(path), similar_folder(path)),
    }
}

/// Returns the end of the error about a folder that does not exist: a folder beside it with a similar name.
fn similar_folder(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str());
    let parent = path
        .parent()
        .map(|parent| match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        });
    let (Some(name), Some(parent), false) = (name, parent, path.exists()) else {
        return String::new();
    };
    let beside = fs::read_dir(parent).into_iter().flatten().flatten();
    let folders = beside.filter(|entry| entry.path().is_dir());
    let names: Vec<String> = folders
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    spelling::suggestion(name, names.iter().map(String::as_str))
}
