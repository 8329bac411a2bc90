//! `check`: everything that is wrong, before anything runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::examples::{self, Covered, Shown};
use super::explain::in_one_line;
use super::{Layers, NEGATIVE_RESULT, read};
use crate::app;
use crate::app::block_on;
use crate::config::{Config, Purpose, sources};
use crate::event::{Visibility, pointer};
use crate::ingress::{EventType, Source};
use crate::mapping::JsonEnvelope;
use crate::terminal::{print_notice, print_result};
use crate::time::{Clock, cost};

/// How often `--watch` looks whether a file has changed.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How deep `--watch` looks into folders.
const DEPTH_MAX: usize = 4;

/// What is checked, and whether once.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    layers: Layers,
    /// Checks again whenever a file changes, until it is interrupted.
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(options: &Options) -> ExitCode {
    if !options.watch {
        return once(&options.layers).1;
    }
    block_on(async {
        loop {
            let (places, _) = once(&options.layers);
            let seen = state(&places);
            print_result("--- waiting for a change");
            while state(&places) == seen {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    })
}

/// Checks once; says where the files are that it read.
fn once(layers: &Layers) -> (Vec<PathBuf>, ExitCode) {
    let mut places = layers.config.clone();
    // Where the sources are is known even if they are at fault.
    if let Ok(config) = Config::read(&layers.config, Purpose::Check) {
        places.extend([config.sources_dir, config.schemas_dir]);
    }
    let (config, sources) = match read(layers, Purpose::Check) {
        Ok(read) => read,
        Err(code) => return (places, code),
    };
    print_result(format_args!(
        "configuration: {:?} profile, to {}",
        config.profile,
        config.imprint.base_url.as_str()
    ));
    if config.imprint.key_file.is_none() {
        print_result("  imprint.key_file is not set; serve needs it");
    }
    (places, examine(&config, sources))
}

fn examine(config: &Config, sources: Vec<sources::Source>) -> ExitCode {
    let terms = app::terms(config, &Clock::machine())(Visibility::Revealed);
    let auths: BTreeMap<_, _> = sources
        .iter()
        .map(|source| (source.name.clone(), source.auth.clone()))
        .collect();
    let mut faults = 0;
    for (name, source) in app::unlocked(sources) {
        let auth = auths.get(&name);
        let word = auth.map_or("none", sources::Auth::as_str);
        print_result(format_args!("source {name}: {word}"));
        if let Some(warning) = auth.and_then(sources::Auth::warning) {
            print_result(format_args!("  {warning}"));
        }
        let folder = config.sources_dir.join(name.as_str());
        let shown = examples::run(&folder, &name, &source, terms);
        describe(&source, &shown);
        print_result(format_args!("  {}", counted(&shown, &folder)));
        shown.faults.iter().for_each(print_notice);
        faults += shown.faults.len();
    }
    match faults {
        0 => {
            print_result("no faults");
            ExitCode::SUCCESS
        }
        1 => {
            print_notice("1 fault to mend");
            ExitCode::from(NEGATIVE_RESULT)
        }
        faults => {
            print_notice(format_args!("{faults} faults to mend"));
            ExitCode::from(NEGATIVE_RESULT)
        }
    }
}

fn counted(shown: &Shown, folder: &Path) -> String {
    match shown.count {
        0 => format!("no examples: put some into {}", folder.display()),
        1 => "1 example".to_owned(),
        count => format!("{count} examples"),
    }
}

fn describe(source: &Source, shown: &Shown) {
    let nothing = Covered::default();
    for (event_type, kind) in &source.event_types {
        let order = kind
            .mapping
            .version_domain()
            .map_or("arrival", |_| "version");
        let fields = kind.mapping.fields().count();
        print_result(format_args!(
            "  {event_type}: {} maps {fields} fields, ordered by {order}",
            kind.schema.name()
        ));
        let covered = shown.types.get(event_type).unwrap_or(&nothing);
        let frame = source.frame.as_ref();
        let mut reads = frame.map(JsonEnvelope::reads).unwrap_or_default();
        reads.extend(kind.mapping.reads());
        reads.extend(covered.reads.iter().cloned());
        uncovered("not read", &unread(kind, &reads));
        if shown.count > 0 {
            let targets = kind.mapping.fields().map(ToString::to_string);
            let missing = targets.filter(|target| !covered.produced.contains(target));
            uncovered("in no example", &missing.collect::<Vec<_>>());
        }
        let events = shown.events.get(event_type);
        for slow in kind.mapping.interpreted_rules() {
            let event = events.and_then(|events| events.first());
            let cost = event.map(|event| cost(|| _ = slow.run(event)));
            let cost = cost.map_or_else(
                || "not measured, there is no example".to_owned(),
                |cost| format!("{cost:.1?}"),
            );
            print_result(format_args!(
                "    runs on jq ({cost}): {} = {}",
                slow.target(),
                in_one_line(slow.expression())
            ));
        }
    }
    for event_type in &source.ignored {
        print_result(format_args!("  {event_type}: ignored"));
    }
}

fn uncovered(title: &str, places: &[String]) {
    if !places.is_empty() {
        print_result(format_args!("    {title}: {}", places.join(", ")));
    }
}

/// The places that the schema describes and no expression reads. Attributes of CloudEvents are for the bridge itself.
fn unread(kind: &EventType, reads: &BTreeSet<String>) -> Vec<String> {
    let root = if kind.is_plain { "" } else { "/data" };
    let is_read = |leaf: &String| reads.iter().any(|read| covers(read, leaf, reads));
    let leaves = kind.schema.leaves().into_iter();
    leaves
        .filter(|leaf| leaf.starts_with(&format!("{root}/")))
        .filter(|leaf| !is_read(leaf))
        .collect()
}

/// Whether reading a place reads a leaf: the place itself, or something around it of which no part is read by itself.
fn covers(read: &str, leaf: &str, reads: &BTreeSet<String>) -> bool {
    let mut steps = leaf.split('/');
    let fits = read.split('/').all(|step| {
        steps
            .next()
            .is_some_and(|of_leaf| of_leaf == step || of_leaf == "*")
    });
    let is_way = steps.next().is_some() && pointer::any_inside(reads, read);
    fits && !is_way
}

/// When each file below these places was changed.
fn state(places: &[PathBuf]) -> BTreeMap<PathBuf, Option<SystemTime>> {
    let mut files = BTreeMap::new();
    for place in places {
        note(place, DEPTH_MAX, &mut files);
    }
    files
}

fn note(place: &Path, depth: usize, files: &mut BTreeMap<PathBuf, Option<SystemTime>>) {
    let changed = fs::metadata(place).and_then(|file| file.modified()).ok();
    files.insert(place.to_owned(), changed);
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    for entry in entries {
        note(&entry.path(), depth, files);
    }
}
