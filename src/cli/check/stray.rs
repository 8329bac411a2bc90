//! Notes about environment variables, and about files beside the sources, that the bridge does not read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::sources::SourceSettings;
use crate::config::unread_variables;
use crate::spelling;
use crate::terminal::print_result;

/// The endings of configuration files of other systems.
const OTHER_ENDINGS: [&str; 4] = ["yaml", "yml", "json", "tml"];

/// Refuses a file, which the author wants to check alone.
pub(super) fn no_file(_file: &str) -> Result<PathBuf, &'static str> {
    Err(
        "`check` takes no file: it checks all sources in sources_dir. For the settings of the bridge, use --config FILE",
    )
}

/// Prints a note about each environment variable that looks like a setting, about each file that looks like a source file and has another ending, about source files in the folders of
/// examples, and about folders of examples without a source.
pub(super) fn describe(folder: &Path, settings: &[SourceSettings]) {
    unread_variables().iter().for_each(print_result);
    let sources = settings
        .iter()
        .map(|settings| settings.source.name.to_string());
    let sources: &BTreeSet<String> = &sources.collect();
    for path in entries(folder) {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let stem = stem.unwrap_or_default();
        if stem.is_empty() || stem.starts_with('.') {
            continue;
        }
        let ending = path.extension().and_then(|ending| ending.to_str());
        let ending = ending.unwrap_or_default();
        if path.is_dir() {
            describe_folder(&path, stem, sources);
        } else if is_other_ending(stem, ending) {
            print_result(format_args!(
                "{} is not read: the name of a source file ends in .toml",
                path.display()
            ));
        }
    }
}

/// Returns whether the name of a file has another ending than the name of a source file, although the file is meant as one.
fn is_other_ending(stem: &str, ending: &str) -> bool {
    let is_in_capitals = ending != "toml" && ending.eq_ignore_ascii_case("toml");
    is_in_capitals || OTHER_ENDINGS.contains(&ending) || ending == "txt" && stem.ends_with(".toml")
}

fn describe_folder(path: &Path, name: &str, sources: &BTreeSet<String>) {
    let files = entries(path);
    let ends_with = |file: &Path, ending: &str| file.to_string_lossy().ends_with(ending);
    if !sources.contains(name) && files.iter().any(|file| ends_with(file, ".event.json")) {
        print_result(format_args!(
            "the examples in {} are not run: there is no source {name}{}",
            path.display(),
            spelling::suggestion(name, sources.iter().map(String::as_str))
        ));
    }
    for file in files.iter().filter(|file| ends_with(file, ".toml")) {
        print_result(format_args!(
            "{} is not read: a source file lies directly in sources_dir",
            file.display()
        ));
    }
}

/// Lists a folder, sorted. A folder that cannot be read has its own error.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
