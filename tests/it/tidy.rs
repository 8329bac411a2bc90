//! Checks of the code rules that no lint covers, over whole source files: layers, purity, lengths, type names, module
//! cycles.

#![expect(
    clippy::string_slice,
    reason = "every index is one that a search in the same text has found"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use self::graph::Graph;
use self::source::{Source, root, sources};

mod bounds;
mod faults;
mod graph;
mod literals;
mod reference;
mod security;
mod source;

/// The maximum length of a source file, in lines, without tests.
const FILE_LINES_MAX: usize = 400;

/// The rooms (top-level modules) that each room may use. The rooms `app`, `cli` and `main` may use every room.
const EDGES: &[(&str, &[&str])] = &[
    ("backoff", &[]),
    ("confinement", &[]),
    ("core_dump", &["terminal"]),
    ("event", &["time"]),
    ("time", &[]),
    ("random", &[]),
    ("reference", &[]),
    ("metrics", &[]),
    ("notices", &["backoff", "metrics", "time"]),
    ("traces", &["event", "metrics", "outbox", "random", "time"]),
    ("spelling", &[]),
    ("sealing", &[]),
    ("telemetry", &["spelling", "time"]),
    ("shutdown", &[]),
    ("failpoint", &[]),
    (
        "draft",
        &["event", "imprint", "intake", "mapping", "spelling", "time"],
    ),
    (
        "intake",
        &["event", "imprint", "mapping", "outbox", "spelling", "time"],
    ),
    ("mapping", &["event", "imprint", "spelling", "time"]),
    ("http", &["time"]),
    ("imprint", &["event", "http", "time"]),
    ("sandbox", &["imprint", "random", "time"]),
    ("terminal", &[]),
    (
        "sender",
        &[
            "backoff",
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
            "metrics",
            "ops",
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
        &[
            "event",
            "failpoint",
            "fold",
            "imprint",
            "random",
            "sealing",
            "time",
        ],
    ),
    (
        "ingress",
        &[
            "event", "http", "intake", "metrics", "outbox", "spelling", "time", "traces",
        ],
    ),
    (
        "dispatch",
        &[
            "backoff",
            "event",
            "failpoint",
            "fold",
            "imprint",
            "metrics",
            "outbox",
            "random",
            "time",
            "traces",
        ],
    ),
    (
        "ops",
        &[
            "dispatch", "event", "fold", "http", "imprint", "intake", "metrics", "notices",
            "outbox", "random", "time",
        ],
    ),
    (
        "console",
        &[
            "dispatch", "event", "http", "intake", "metrics", "notices", "ops", "outbox",
            "terminal", "time",
        ],
    ),
    (
        "config",
        &[
            "confinement",
            "dispatch",
            "event",
            "http",
            "imprint",
            "ingress",
            "intake",
            "mapping",
            "outbox",
            "sealing",
            "spelling",
            "telemetry",
            "time",
        ],
    ),
];

/// The pure files, which contain decisions and no `.await`.
const PURE: &[&str] = &[
    "app/held_secret.rs",
    "backoff.rs",
    "console/change_form.rs",
    "console/entry_filter.rs",
    "console/entry_row.rs",
    "console/entry_text.rs",
    "console/sentence.rs",
    "console/try_text.rs",
    "console/words.rs",
    "draft.rs",
    "draft/",
    "event.rs",
    "event/",
    "intake.rs",
    "intake/",
    "mapping.rs",
    "mapping/",
    "fold.rs",
    "fold/",
    "dispatch/backoff.rs",
    "dispatch/breaker.rs",
    "dispatch/core.rs",
    "dispatch/core/",
    "dispatch/destination/limiter.rs",
    "dispatch/destination/permit.rs",
    "dispatch/lane_exchange.rs",
    "dispatch/lane_exchange/",
    "dispatch/pace.rs",
    "dispatch/policy.rs",
    "dispatch/settlement.rs",
    "http/answer_reader.rs",
    "http/idle.rs",
    "http/problem.rs",
    "http/retry_after.rs",
    "http/single_header.rs",
    "imprint/json.rs",
    "imprint/classify.rs",
    "imprint/echo.rs",
    "imprint/excerpt.rs",
    "imprint/lookup.rs",
    "notices.rs",
    "notices/",
    "reference.rs",
    "reference/",
    "sealing.rs",
    "sealing/",
    "spelling.rs",
];

/// The crates that only some places of the code may use, with these places.
const CRATES: &[(&str, &[&str])] = &[
    (
        "actix_web",
        &["app", "console", "ingress", "ops", "sandbox"],
    ),
    ("awc", &["http", "imprint/client"]),
    ("rusqlite", &["outbox/sqlite"]),
    ("tokio_postgres", &["outbox/postgres"]),
    ("landlock", &["confinement"]),
    ("seccompiler", &["confinement"]),
    ("libc", &["confinement"]),
    ("std::env", &["cli.rs", "config", "failpoint.rs"]),
];

/// The maximum length of a function, in lines, signature and closing brace included.
const FUNCTION_LINES_MAX: usize = 60;

/// The maximum number of files in one cycle of the module graph.
const CYCLE_FILES_MAX: usize = 4;

/// The type names that more than one file may define, each with its reason.
const SHARED_NAMES: &[(&str, &str)] = &[
    ("Error", "the one error type of a module"),
    (
        "ImprintCall",
        "a call as dispatch asks for it, and as the sandbox receives it",
    ),
    (
        "Ledger",
        "the port of the outbox, and the sandbox's list of calls",
    ),
    (
        "Rejection",
        "Imprint's of a request, and intake's of a body",
    ),
    (
        "UnknownCustomer",
        "the policy of dispatch, and the sandbox's stand-in for it",
    ),
];

#[test]
fn rooms_name_only_the_rooms_they_may() {
    assert_none(&forbidden_rooms(&sources()));
}

#[test]
fn crates_stay_in_their_rooms() {
    assert_none(&forbidden_crates(&sources()));
}

#[test]
fn pure_rooms_never_wait() {
    assert_none(&waits(&sources()));
}

#[test]
fn no_file_is_longer_than_it_may_be() {
    assert_none(&long_files(&sources()));
}

#[test]
fn modules_are_not_named_mod_rs() {
    let named = sources().into_iter().map(|source| source.path);
    assert_none(
        &named
            .filter(|path| path.ends_with("mod.rs"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn no_function_is_longer_than_it_may_be() {
    assert_none(&long_functions(&sources()));
}

#[test]
fn files_do_not_name_each_other_in_large_circles() {
    let mut cycles = Graph::of(&sources()).cycles();
    cycles.retain(|cycle| cycle.len() > CYCLE_FILES_MAX);
    assert!(cycles.is_empty(), "{cycles:#?}");
}

#[test]
fn a_type_name_means_one_thing() {
    let mut shared = shared_type_names(&sources());
    shared.retain(|shared| {
        let name = shared.split(':').next();
        !SHARED_NAMES.iter().any(|(known, _)| Some(*known) == name)
    });
    assert_none(&shared);
}

/// The code rules cover a whole file, including the code after a test module that is declared near the top of the
/// file.
#[test]
fn a_violation_behind_an_early_test_module_is_reported() {
    let early = "use std::fmt;\n#[cfg(test)]\nmod tests;\n";
    let file = |path: &str, code: &str| [Source::new(path, &format!("{early}{code}"))];
    let reported = forbidden_rooms(&file(
        "fold.rs",
        "use crate::{ingress::Limits, time::Clock};",
    ));
    assert_eq!(reported, ["fold.rs names ingress"]);
    let reported = forbidden_crates(&file("fold.rs", "fn f() { rusqlite::open(); }"));
    assert_eq!(reported, ["fold.rs names rusqlite"]);
    let reported = waits(&file("dispatch/policy.rs", "fn f() { later.await; }"));
    assert_eq!(reported, ["dispatch/policy.rs"]);
    let reported = long_files(&file("fold.rs", &"x\n".repeat(FILE_LINES_MAX)));
    assert_eq!(reported, ["fold.rs: 402 lines"]);
    let reported = long_functions(&file("fold.rs", &format!("fn f() {{{}}}", "\n".repeat(60))));
    assert_eq!(reported, ["fold.rs f: 61 lines"]);
}

#[test]
fn a_type_name_in_two_files_is_reported() {
    let sources = [
        Source::new(
            "a.rs",
            "pub struct Page;\nenum Kind {}\nimpl Page { type Page = u8; }",
        ),
        Source::new("b.rs", "pub(crate) trait Page {}"),
    ];
    assert_eq!(shared_type_names(&sources), ["Page: a.rs b.rs"]);
}

#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{violations:#?}");
}

fn forbidden_rooms(sources: &[Source]) -> Vec<String> {
    let edges: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let mut violations = Vec::new();
    for source in sources {
        let room = source.room();
        if matches!(room, "app" | "cli" | "main" | "lib") {
            continue;
        }
        let allowed = edges
            .get(room)
            .unwrap_or_else(|| panic!("the room {room} has no row in EDGES"));
        for named in named_rooms(&source.code) {
            if named != room && !allowed.contains(&named.as_str()) {
                violations.push(format!("{} names {named}", source.path));
            }
        }
    }
    violations
}

fn forbidden_crates(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        for (name, places) in CRATES {
            let is_named = source.code.contains(&format!("{name}::"));
            if is_named && !places.iter().any(|place| source.path.starts_with(place)) {
                violations.push(format!("{} names {name}", source.path));
            }
        }
    }
    violations
}

fn waits(sources: &[Source]) -> Vec<String> {
    let is_pure = |source: &&Source| PURE.iter().any(|pure| source.path.starts_with(pure));
    let waits = |source: &&Source| source.code.contains(".await") || source.code.contains("async ");
    let waiting = sources.iter().filter(is_pure).filter(waits);
    waiting.map(|source| source.path.clone()).collect()
}

fn long_files(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let lines = source.code.lines().count();
        if lines > FILE_LINES_MAX {
            violations.push(format!("{}: {lines} lines", source.path));
        }
    }
    violations
}

fn long_functions(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        for (at, _) in source.code.match_indices("fn ") {
            let function = &source.code[at..source::item_end(&source.code, at)];
            let name = function["fn ".len()..]
                .split(['(', '<'])
                .next()
                .unwrap_or_default();
            let lines = function.lines().count();
            if lines > FUNCTION_LINES_MAX {
                violations.push(format!("{} {name}: {lines} lines", source.path));
            }
        }
    }
    violations
}

/// Returns the type names that several files define at their top level, each name with its files.
fn shared_type_names(sources: &[Source]) -> Vec<String> {
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in sources {
        let lines = source.code.lines().map(|line| {
            let visibility = ["pub ", "pub(crate) ", "pub(super) "];
            visibility
                .iter()
                .find_map(|public| line.strip_prefix(public))
                .unwrap_or(line)
        });
        for line in lines {
            let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
            let Some(rest) = kinds.iter().find_map(|kind| line.strip_prefix(kind)) else {
                continue;
            };
            let name = rest
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next();
            names
                .entry(name.unwrap_or_default())
                .or_default()
                .insert(&source.path);
        }
    }
    let shared = names.into_iter().filter(|(_, files)| files.len() > 1);
    shared
        .map(|(name, files)| {
            format!(
                "{name}: {}",
                files.into_iter().collect::<Vec<_>>().join(" ")
            )
        })
        .collect()
}

/// Returns the rooms that the code names as `crate::room`, also inside `use crate::{a, b}`.
fn named_rooms(code: &str) -> BTreeSet<String> {
    graph::paths(code)
        .into_iter()
        .filter(|path| path.first().is_some_and(|first| first == "crate"))
        .filter_map(|path| path.into_iter().nth(1))
        .filter(|room| room.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
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
    let mut violations = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && line.contains(" = ") && !reasoned {
            violations.push(line.to_owned());
        }
        reasoned = line.starts_with('#') && !line.contains("beside it");
    }
    assert_none(&violations);
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
