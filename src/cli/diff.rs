//! `diff`: shows which requests a change of the sources changes. The command runs the examples, and events of a copy of the
//! store, through two versions of the sources. The command stores and sends nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{Layers, print_errors, read, sealing_keys};
use crate::config::sources::examples::{self, ExampleRequest};
use crate::config::sources::{self, SourceSettings};
use crate::config::{Config, Purpose};
use crate::event::{SourceName, Visibility};
use crate::intake::comparison::{Difference, compare_bodies, compare_events, compare_sources};
use crate::intake::{EntryEvent, Explanation, Sources};
use crate::outbox;
use crate::telemetry;
use crate::terminal::{print_notice, print_result, printable};
use crate::time::{Clock, Timestamp};

/// The exit code if the two versions give different results.
const DIFFERENT: u8 = 1;
/// The exit code if the command cannot compare the two versions.
const NOT_COMPARED: u8 = 2;
/// The folder of the source files in the directory of `--against`.
const SOURCES: &str = "config/sources";
/// The folder of the schemas in the directory of `--against`.
const SCHEMAS: &str = "schemas";
/// The end of an error about a directory without an earlier version of the sources.
const EARLIER: &str = ". Check out an earlier commit beside the tree in use, such as with `git worktree add ../earlier COMMIT`, and write --against ../earlier";
/// The highest number of stored events that `--last` can compare. The command holds these events in memory.
const EVENTS_MAX: u32 = 10_000;

/// The arguments of the command `diff`.
#[derive(Debug, Args)]
pub(super) struct DiffOptions {
    #[command(flatten)]
    layers: Layers,
    /// Directory with the earlier version of the sources, in its folders `config/sources` and `schemas`, as in a checkout of
    /// an earlier commit. The later version is the configured one.
    #[arg(long, value_name = "DIR")]
    against: PathBuf,
    /// Copy of the store, from `store backup`, or the store of a bridge that does not run. The command also compares the
    /// newest events that the copy still has: waiting, held, undecided and parked events.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Number of stored events to compare, from the newest.
    #[arg(long, value_name = "N", default_value_t = 100, requires = "store", value_parser = clap::value_parser!(u32).range(1..=i64::from(EVENTS_MAX)))]
    last: u32,
    /// Show values unmasked.
    #[arg(long)]
    reveal: bool,
    /// Print the differences as JSON.
    #[arg(long)]
    json: bool,
}

/// Returns the exit code 0 if both versions give the same results, 1 if a result differs, and 2 if the command cannot
/// compare the versions.
pub(super) fn run(options: &DiffOptions) -> ExitCode {
    let (after, before) = match versions(options) {
        Ok(versions) => versions,
        Err(code) => return code,
    };
    match compare(options, &before, &after) {
        Ok(report) => {
            report.print(options.json);
            match report.results.is_empty() {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(DIFFERENT),
            }
        }
        Err(error) => {
            print_notice(telemetry::chain(error.as_ref()));
            ExitCode::from(NOT_COMPARED)
        }
    }
}

/// One of the two compared versions of the sources.
struct ComparedVersion {
    sources: Sources,
    names: Vec<SourceName>,
    /// The folder of the source files. Each source has its examples in a folder inside this folder.
    folder: PathBuf,
    schemas: PathBuf,
    /// The directory of the sealing keys.
    keys_dir: Option<PathBuf>,
}

impl ComparedVersion {
    fn new(config: &Config, settings: Vec<SourceSettings>) -> Self {
        let sources = settings.into_iter().map(|settings| settings.source);
        let sources: Vec<_> = sources.collect();
        Self {
            names: sources.iter().map(|source| source.name.clone()).collect(),
            sources: Sources::new(sources, config.intake),
            folder: config.sources_dir.clone(),
            schemas: config.schemas_dir.clone(),
            keys_dir: config.outbox.keys_dir.clone(),
        }
    }

    fn examples(&self, source: &SourceName) -> anyhow::Result<BTreeMap<String, ExampleRequest>> {
        let folder = self.folder.join(source.as_str());
        examples::requests(&folder).map_err(|reason| anyhow!(reason))
    }

    fn explain(
        &self,
        name: &SourceName,
        example: &ExampleRequest,
        wall_time: Timestamp,
    ) -> anyhow::Result<Explanation> {
        let missing = || anyhow!("there is no source {name} in {}", self.folder.display());
        let source = self.sources.get(name).ok_or_else(missing)?;
        let explanation = example.explain(&self.sources, source, wall_time);
        explanation.map_err(|reason| anyhow!(reason))
    }
}

/// Reads the later and the earlier version of the sources.
fn versions(options: &DiffOptions) -> Result<(ComparedVersion, ComparedVersion), ExitCode> {
    let (config, settings) = read(&options.layers, Purpose::Check)?;
    let after = ComparedVersion::new(&config, settings);
    let folder = options.against.join(SOURCES);
    if let Some(above) = directory_above(&options.against).filter(|_| !folder.is_dir()) {
        let against = options.against.display();
        // The directory with the sources in use is no earlier version.
        let meant = match is_same(&above.join(SOURCES), &after.folder) {
            true => EARLIER.to_owned(),
            false => format!("; did you mean --against {}?", above.display()),
        };
        print_notice(format_args!(
            "--against names the directory that contains {SOURCES}, and {against} does not contain it{meant}"
        ));
        return Err(ExitCode::from(NOT_COMPARED));
    }
    let config = Config {
        sources_dir: folder,
        schemas_dir: options.against.join(SCHEMAS),
        ..config
    };
    let settings = sources::read(&config).map_err(|errors| print_errors(&errors))?;
    Ok((after, ComparedVersion::new(&config, settings)))
}

/// Returns whether two paths lead to one folder.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one).is_some_and(|one| real(other) == Some(one))
}

/// Returns the next directory above another one that has the folder of the source files.
fn directory_above(against: &Path) -> Option<&Path> {
    let mut above = against.ancestors().skip(1);
    let found = above.find(|above| above.join(SOURCES).is_dir())?;
    let is_here = found.as_os_str().is_empty();
    Some(if is_here { Path::new(".") } else { found })
}

/// The differences between the two versions.
struct DiffReport {
    /// The compared things with differences, each with its differences: the sources, an example, or a stored event.
    results: Vec<(String, Vec<Difference>)>,
    compared: usize,
    /// The event types of both versions that no compared example or stored event has. Their mapping can differ unseen.
    not_compared: BTreeSet<String>,
}

/// Refuses a store that the command cannot read, and a comparison of the tree in use with itself.
fn refuse_useless(
    options: &DiffOptions,
    before: &ComparedVersion,
    after: &ComparedVersion,
) -> anyhow::Result<()> {
    if options.store.as_deref().is_some_and(is_database) {
        bail!(
            "--store must be a file of SQLite: `diff` does not read a store in PostgreSQL; compare the examples, or a single event with `explain`"
        );
    }
    if is_same(&before.folder, &after.folder) && is_same(&before.schemas, &after.schemas) {
        bail!(
            "--against names the tree in use, so the command would compare it with itself{EARLIER}"
        );
    }
    Ok(())
}

fn compare(
    options: &DiffOptions,
    before: &ComparedVersion,
    after: &ComparedVersion,
) -> anyhow::Result<DiffReport> {
    let visibility = match options.reveal {
        true => Visibility::Revealed,
        false => Visibility::Masked,
    };
    refuse_useless(options, before, after)?;
    let mut report = DiffReport {
        results: Vec::new(),
        compared: 0,
        not_compared: BTreeSet::new(),
    };
    let mut known = BTreeSet::new();
    let mut add = |label: String, differences: Vec<Difference>| {
        report.compared += 1;
        let shown = differences.into_iter();
        let shown: Vec<_> = shown
            .map(|difference| difference.shown(visibility))
            .collect();
        if !shown.is_empty() {
            report.results.push((label, shown));
        }
    };
    let changed = compare_sources(&before.sources, &after.sources);
    add("sources".to_owned(), changed);
    let wall_time = Clock::machine().wall();
    for name in after
        .names
        .iter()
        .filter(|name| before.names.contains(name))
    {
        for (label, example) in both_examples(before, after, name)? {
            let results = [before, after].map(|version| version.explain(name, &example, wall_time));
            let [before, after] = results;
            let (before, after) = (before?, after?);
            let types = after
                .events
                .iter()
                .filter_map(|event| event.event_type.clone());
            known.extend(types.map(|event_type| (name.clone(), event_type)));
            let differences = compare_bodies(&before, &after);
            add(format!("example {label}"), differences);
        }
    }
    if let Some(store) = &options.store {
        let stored = compare_stored(store, options.last, (before, after), wall_time)?;
        for (label, event_type, differences) in stored {
            known.insert(event_type);
            add(label, differences);
        }
    }
    report.not_compared = not_compared(before, after, &known);
    Ok(report)
}

/// Returns the event types that both versions have and no compared event has. `known` has the types of the compared events.
fn not_compared(
    before: &ComparedVersion,
    after: &ComparedVersion,
    known: &BTreeSet<(SourceName, String)>,
) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    for name in &after.names {
        let versions = (before.sources.get(name), after.sources.get(name));
        let (Some(before), Some(after)) = versions else {
            continue;
        };
        let of_source = known.iter().filter(|(source, _)| source == name);
        let compared: BTreeSet<&str> = of_source
            .filter_map(|(_, event_type)| after.mapped(event_type))
            .map(|(key, _)| key)
            .collect();
        let keys = after.event_types.keys().filter(|key| {
            before.event_types.contains_key(*key) && !compared.contains(key.as_str())
        });
        missing.extend(keys.map(|key| format!("{name}/{key}")));
    }
    missing
}

/// Returns whether the path of a store is the URL of a database.
fn is_database(store: &Path) -> bool {
    let text = store.to_string_lossy();
    ["postgres:", "postgresql:"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// Returns the examples of a source in both versions. If an example is not the same file in both versions, the list has
/// both.
fn both_examples(
    before: &ComparedVersion,
    after: &ComparedVersion,
    name: &SourceName,
) -> anyhow::Result<Vec<(String, ExampleRequest)>> {
    let later = after.examples(name)?;
    let earlier = before.examples(name)?;
    let only_earlier = earlier
        .into_iter()
        .filter(|(example, files)| later.get(example).is_none_or(|same| same != files));
    let only_earlier: Vec<_> = only_earlier
        .map(|(example, files)| (format!("{name}/{example} of the earlier version"), files))
        .collect();
    let later = later.into_iter();
    let later = later.map(|(example, files)| (format!("{name}/{example}"), files));
    Ok(later.chain(only_earlier).collect())
}

/// The name of a stored event in the report, its source and type, and its differences.
type StoredDifferences = (String, (SourceName, String), Vec<Difference>);

fn compare_stored(
    store: &Path,
    last: u32,
    (before, after): (&ComparedVersion, &ComparedVersion),
    wall_time: Timestamp,
) -> anyhow::Result<Vec<StoredDifferences>> {
    let keys = sealing_keys(after.keys_dir.as_deref())?;
    let events = outbox::newest_events(store, last, keys).with_context(|| {
        "the stored events cannot be compared; `imprint-bridge store backup` makes a copy of the store of a running bridge"
    })?;
    let compared = events.iter().map(|kept| {
        let event = EntryEvent {
            identity: &kept.identity,
            event_type: &kept.event_type,
            bytes: &kept.event,
            is_invalid: kept.is_invalid,
        };
        let explain = |version: &ComparedVersion| {
            let sources = &version.sources;
            sources.explain_entry(event, wall_time, Visibility::Revealed)
        };
        let differences = compare_events(explain(before).as_ref(), explain(after).as_ref());
        let (entry, source) = (kept.entry, &kept.identity.source);
        let event_type = (source.clone(), kept.event_type.as_str().to_owned());
        (
            format!("entry {entry} of {source}"),
            event_type,
            differences,
        )
    });
    Ok(compared.collect())
}

impl DiffReport {
    fn print(&self, as_json: bool) {
        let (different, equal) = (self.results.len(), self.compared - self.results.len());
        if as_json {
            let results = self.results.iter().map(|(label, differences)| {
                let differences: Vec<Value> = differences.iter().map(to_json).collect();
                json!({"compared": label, "differences": differences})
            });
            let results: Vec<Value> = results.collect();
            print_result(
                json!({"results": results, "different": different, "equal": equal, "not_compared": self.not_compared}),
            );
            return;
        }
        for (label, differences) in &self.results {
            print_result(format_args!("{}:", printable(label)));
            differences.iter().map(line).for_each(print_result);
        }
        if !self.not_compared.is_empty() {
            let types: Vec<&str> = self.not_compared.iter().map(String::as_str).collect();
            print_notice(format_args!(
                "no example and no stored event has these event types, so their mappings were not compared: {}",
                printable(&types.join(", "))
            ));
        }
        print_result(format_args!("{different} different, {equal} equal"));
    }
}

fn to_json(difference: &Difference) -> Value {
    let Difference {
        event,
        name,
        before,
        after,
        ..
    } = difference;
    json!({"event": event, "name": name, "before": before, "after": after})
}

fn line(difference: &Difference) -> String {
    let event = difference
        .event
        .map_or_else(String::new, |index| format!("event {index}, "));
    let shown = |value: &Option<Value>| match value {
        Some(Value::String(text)) => printable(text),
        Some(value) => printable(&value.to_string()),
        None => "nothing".to_owned(),
    };
    let (before, after) = (shown(&difference.before), shown(&difference.after));
    format!(
        "  {event}{}: {before} -> {after}",
        printable(&difference.name)
    )
}
