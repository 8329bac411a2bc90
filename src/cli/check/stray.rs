//! Notes about environment variables, and about files beside the sources, that the bridge does not read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::sources::SourceSettings;
use crate::config::sources::examples::ExampleResults;
use crate::config::{Config, unread_variables};
use crate::intake::Source;
use crate::spelling;
use crate::terminal::print_result;

/// The endings of configuration files of other systems.
const OTHER_ENDINGS: [&str; 4] = ["yaml", "yml", "json", "tml"];

/// The endings of the name of a copy.
const COPIES: [&str; 5] = ["backup", "bak", "copy", "old", "orig"];

/// Refuses a file, which the author wants to check alone.
pub(super) fn no_file(_file: &str) -> Result<PathBuf, &'static str> {
    Err(
        "`check` takes no file: it checks all sources in sources_dir. For the settings of the bridge, use --config FILE",
    )
}

/// Prints a note about each environment variable that looks like a setting, about each file that looks like a source file and has another ending, about source files in the folders of
/// examples, and about folders of examples without a source.
pub(super) fn describe(config: &Config, settings: &[SourceSettings]) {
    unread_variables(config).iter().for_each(print_result);
    let sources = settings
        .iter()
        .map(|settings| settings.source.name.to_string());
    let sources: &BTreeSet<String> = &sources.collect();
    copies(settings).iter().for_each(print_result);
    for path in entries(&config.sources_dir) {
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

/// Returns a note about each source that is probably a copy of another one, with its secret files.
fn copies(settings: &[SourceSettings]) -> Vec<String> {
    let mut notes = Vec::new();
    for copy in settings {
        let name = copy.source.name.as_str();
        let is_origin = |origin: &&SourceSettings| {
            let rest = name.strip_prefix(origin.source.name.as_str());
            let ending = rest.and_then(|rest| rest.strip_prefix(['-', '_', '.']));
            let files =
                |settings: &SourceSettings| settings.auth.files().map(|files| files.paths.clone());
            let has_same_files = files(copy).is_some() && files(origin) == files(copy);
            ending.is_some_and(|ending| COPIES.contains(&ending)) && has_same_files
        };
        notes.extend(settings.iter().find(is_origin).map(|origin| {
            format!(
                "{name} is a source of its own, with the secret files of {}, and a running bridge takes its events: if it is a copy, give the name of its file another ending than .toml",
                origin.source.name
            )
        }));
    }
    notes
}

/// Returns a note about each type in `ignore` that is probably another type of the source with a typing error.
pub(super) fn misspelt_types(source: &Source, results: &ExampleResults) -> Vec<String> {
    let explained = results.explained.iter();
    let events = explained.flat_map(|example| &example.explanation.events);
    let seen: BTreeSet<&str> = events
        .filter_map(|event| event.event_type.as_deref())
        .collect();
    let tables = source.event_types.keys().map(String::as_str);
    let known: BTreeSet<&str> = seen.iter().copied().chain(tables).collect();
    let ignored = source.ignored.iter().map(String::as_str);
    let unseen = ignored.filter(|name| !seen.contains(name));
    let notes = unseen.filter_map(|name| {
        let is_meant = |known: &&&str| {
            spelling::has_one_wrong_letter(name, known) && !is_other_word(name, known)
        };
        let meant = known.iter().find(is_meant)?;
        Some(format!(
            "  no example has the type {name} in `ignore`; did you mean {meant}?"
        ))
    });
    notes.collect()
}

/// Returns whether a type has another word than another type, such as `locked` and `blocked`, or `deactivated` and `reactivated`.
fn is_other_word(name: &str, other: &str) -> bool {
    let firsts = |name: &str| {
        let words = name.split(|sign: char| !sign.is_alphanumeric());
        let firsts = words.map(|word| word.chars().next());
        firsts.collect::<Vec<_>>()
    };
    let letters = |name: &str| name.chars().collect::<BTreeSet<_>>();
    let has_other_letter = name.len() == other.len() && letters(name) != letters(other);
    firsts(name) != firsts(other) || has_other_letter
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
