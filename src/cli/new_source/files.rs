//! Writes the files of a draft: all of them, or none.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The endings of the files of an example.
const EXAMPLE_ENDINGS: [&str; 4] = [
    ".event.json",
    ".headers.txt",
    ".request.json",
    ".refusal.json",
];

/// A file that the command writes.
#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) path: PathBuf,
    pub(super) content: Vec<u8>,
}

/// Writes all files in order. Without `force`, the function writes nothing if one of the files exists. If a file cannot
/// be written, the function removes the files that it created.
pub(super) fn write(files: &[NewFile], force: bool) -> anyhow::Result<()> {
    let exists = |file: &&NewFile| fs::symlink_metadata(&file.path).is_ok();
    let existing: Vec<_> = files
        .iter()
        .filter(exists)
        .map(|file| file.path.display().to_string())
        .collect();
    if !force && !existing.is_empty() {
        bail!(
            "these files exist: {}. Choose another name, or set --force to overwrite them",
            existing.join(", ")
        );
    }
    let mut created = Vec::new();
    for file in files {
        let is_new = fs::symlink_metadata(&file.path).is_err();
        if let Err(error) = write_one(file, force) {
            let failed = is_new.then_some(&file.path);
            created.into_iter().chain(failed).for_each(remove);
            return Err(error).context(format!("{} cannot be written", file.path.display()));
        }
        if is_new {
            created.push(&file.path);
        }
    }
    Ok(())
}

/// Creates a folder, because `check` reports a folder of schemas that does not exist. A source that ignores all its events
/// has no schema.
pub(super) fn create_folder(folder: &Path) -> anyhow::Result<()> {
    let created = fs::create_dir_all(folder);
    created.with_context(|| format!("{} cannot be created", folder.display()))
}

/// Removes the examples of an earlier draft from the folder of a source, because they need not match the new draft. Returns
/// their paths.
pub(super) fn remove_earlier_examples(
    folder: &Path,
    files: &[NewFile],
) -> anyhow::Result<Vec<PathBuf>> {
    let mut earlier = Vec::new();
    for entry in fs::read_dir(folder).context(format!("{}", folder.display()))? {
        let path = entry?.path();
        let name = path.to_string_lossy();
        let is_example = EXAMPLE_ENDINGS.iter().any(|ending| name.ends_with(ending));
        if is_example && !files.iter().any(|file| file.path == path) {
            earlier.push(path);
        }
    }
    earlier.sort();
    for path in &earlier {
        fs::remove_file(path).context(format!("{} cannot be removed", path.display()))?;
    }
    Ok(earlier)
}

fn write_one(file: &NewFile, force: bool) -> std::io::Result<()> {
    if let Some(folder) = file.path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true);
    // `create_new` fails for a file that somebody created since the check, and never follows a symbolic link.
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut output = options.open(&file.path)?;
    output.write_all(&file.content)?;
    output.sync_all()
}

/// Removes a file that is not complete. The error of the write is the one that counts.
fn remove(path: impl AsRef<Path>) {
    let _kept: std::io::Result<()> = fs::remove_file(path);
}
