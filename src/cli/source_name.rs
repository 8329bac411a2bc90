//! The errors about the option `--source`.

use std::path::Path;

use crate::spelling;

/// Returns the error about a source that does not exist. `known` has the names of the sources.
pub(super) fn unknown<'n>(
    name: &str,
    known: impl IntoIterator<Item = &'n str>,
    folder: &Path,
) -> String {
    format!(
        "there is no source {name} in {}{}",
        folder.display(),
        spelling::suggestion(name, known)
    )
}

/// Returns an error if the text is the path of a source file and no name.
pub(super) fn not_a_path(text: &str) -> Result<(), String> {
    let path = Path::new(text);
    let is_path = text.contains('/') || text.ends_with(".toml");
    match path.file_stem().and_then(|stem| stem.to_str()) {
        Some(stem) if is_path => Err(format!(
            "--source takes the name of a source and not its file: write --source {stem}"
        )),
        Some(_) | None => Ok(()),
    }
}
