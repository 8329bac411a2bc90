//! The rules of the house that no lint knows: who may name whom, where IO may stand, how long a file may be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest file, in lines, without its tests.
const FILE_LINES_MAX: usize = 400;

/// Which rooms a room may name, itself aside. `app`, `cli` and `main` may name all.
const EDGES: [(&str, &[&str]); 21] = [
    ("event", &["time"]),
    ("time", &[]),
    ("random", &[]),
    ("metrics", &[]),
    ("telemetry", &[]),
    ("shutdown", &[]),
    ("failpoint", &[]),
    ("schema", &["event"]),
    ("mapping", &["event", "imprint", "time"]),
    ("http", &["time"]),
    ("imprint", &["event", "http", "time"]),
    ("sandbox", &["imprint", "time"]),
    ("terminal", &[]),
    (
        "sender",
        &[
            "config",
            "dispatch",
            "event",
            "http",
            "ingress",
            "random",
            "shutdown",
            "telemetry",
            "terminal",
            "time",
        ],
    ),
    (
        "demo",
        &[
            "app",
            "config",
            "dispatch",
            "http",
            "outbox",
            "random",
            "sandbox",
            "sender",
            "shutdown",
            "telemetry",
            "terminal",
            "time",
        ],
    ),
    ("fold", &["event", "imprint", "time"]),
    (
        "outbox",
        &["event", "failpoint", "fold", "imprint", "random", "time"],
    ),
    (
        "ingress",
        &[
            "event", "http", "imprint", "mapping", "metrics", "outbox", "schema", "time",
        ],
    ),
    (
        "dispatch",
        &[
            "failpoint",
            "fold",
            "imprint",
            "metrics",
            "outbox",
            "random",
            "time",
        ],
    ),
    (
        "ops",
        &[
            "dispatch", "event", "fold", "imprint", "metrics", "outbox", "time",
        ],
    ),
    (
        "config",
        &[
            "dispatch",
            "event",
            "imprint",
            "ingress",
            "mapping",
            "outbox",
            "schema",
            "telemetry",
        ],
    ),
];

/// Rooms that decide and never wait.
const PURE: [&str; 20] = [
    "event.rs",
    "event/",
    "schema.rs",
    "mapping.rs",
    "mapping/",
    "fold.rs",
    "fold/",
    "dispatch/backoff.rs",
    "dispatch/breaker.rs",
    "dispatch/lane_exchange.rs",
    "dispatch/pace.rs",
    "dispatch/policy.rs",
    "dispatch/settlement.rs",
    "http/problem.rs",
    "http/retry_after.rs",
    "http/single_header.rs",
    "imprint/answer.rs",
    "imprint/classify.rs",
    "imprint/echo.rs",
    "imprint/lookup.rs",
];

/// A crate, and the places that may name it.
const CRATES: [(&str, &[&str]); 4] = [
    (
        "actix_web",
        &["app", "cli/", "demo", "ingress", "ops", "sandbox", "sender"],
    ),
    ("awc", &["http", "imprint/client"]),
    ("rusqlite", &["outbox/sqlite"]),
    ("std::env", &["config", "failpoint.rs"]),
];

/// A source file: its path below `src`, and its text without tests, comments and string contents that look like code.
struct Source {
    path: String,
    text: String,
}

#[test]
fn rooms_name_only_the_rooms_they_may() {
    let edges: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let mut faults = Vec::new();
    for source in sources() {
        let room = room(&source.path);
        if matches!(room, "app" | "cli" | "main" | "lib") {
            continue;
        }
        let allowed = edges
            .get(room)
            .unwrap_or_else(|| panic!("the room {room} has no row in EDGES"));
        for named in named_rooms(&source.text) {
            if named != room && !allowed.contains(&named.as_str()) {
                faults.push(format!("{} names {named}", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut faults = Vec::new();
    for source in sources() {
        for (name, places) in CRATES {
            let named = source.text.contains(&format!("{name}::"));
            if named && !places.iter().any(|place| source.path.starts_with(place)) {
                faults.push(format!("{} names {name}", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn pure_rooms_never_wait() {
    let waits: Vec<String> = sources()
        .into_iter()
        .filter(|source| PURE.iter().any(|pure| source.path.starts_with(pure)))
        .filter(|source| source.text.contains(".await") || source.text.contains("async "))
        .map(|source| source.path)
        .collect();
    assert!(waits.is_empty(), "{waits:#?}");
}

#[test]
fn no_file_is_longer_than_it_may_be() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.text.lines().count() > FILE_LINES_MAX)
        .map(|source| format!("{}: {}", source.path, source.text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_top_level_is_as_the_owner_drew_it() {
    let output = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    let listing = String::from_utf8(output.stdout).unwrap();
    let mut top: Vec<&str> = listing
        .lines()
        .filter_map(|path| path.split('/').next())
        .filter(|name| !name.starts_with('.') && *name != "Cargo.lock")
        .collect();
    top.sort_unstable();
    top.dedup();
    assert_eq!(
        top,
        [
            "Cargo.toml",
            "README.md",
            "config",
            "deploy",
            "schemas",
            "src",
            "tests"
        ]
    );
}

#[test]
fn every_direct_dependency_has_a_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut inside = false;
    let mut reasoned = false;
    let mut faults = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && line.contains(" = ") && !reasoned {
            faults.push(line.to_owned());
        }
        reasoned = line.starts_with('#') && !line.contains("beside it");
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file but those that are tests.
fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let mut files = Vec::new();
    collect(&folder, &mut files);
    assert!(
        files.len() > 40,
        "the sources are where they are looked for"
    );
    files
        .into_iter()
        .map(|file| {
            let path = file
                .strip_prefix(&folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            Source {
                path,
                text: without_tests(&fs::read_to_string(&file).unwrap()),
            }
        })
        .filter(|source| !source.path.contains("/tests/") && !source.path.ends_with("/tests.rs"))
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            assert_ne!(path.file_name().unwrap(), "mod.rs", "{}", path.display());
            files.push(path);
        }
    }
}

/// Tests stand last in a file; comments name rooms freely.
fn without_tests(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(|line| {
        if line.trim_start().starts_with("//") {
            ""
        } else {
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn room(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or_default()
}

/// The rooms named by `crate::room`, also inside `use crate::{a, b}`.
fn named_rooms(text: &str) -> Vec<String> {
    let word = |text: &str| {
        text.chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '_')
            .collect::<String>()
    };
    text.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => group
                .split('}')
                .next()
                .unwrap_or_default()
                .split(',')
                .map(|named| word(named.trim()))
                .collect(),
            None => vec![word(rest)],
        })
        .filter(|named| !named.is_empty())
        .collect()
}

#[test]
fn the_readme_lists_every_setting() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let defaults = fs::read_to_string(root().join("config/default.toml")).unwrap();
    let mut section = String::new();
    for line in defaults.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.replace(']', ".");
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            assert!(
                readme.contains(&format!("`{section}{key}`")),
                "{section}{key}"
            );
        }
    }
}
