//! `check`: reports all errors of the configuration and of the sources with their examples, without starting the
//! bridge.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use self::watch::FileSnapshot;
use super::explain::in_one_line;
use super::{Layers, NEGATIVE_RESULT, all_read, print_errors};
use crate::app::{SecretFileError, block_on, secret_file_errors, setting_file_errors};
use crate::config::sources::examples::{self, ExampleResults};
use crate::config::sources::{self, Auth, SourceFiles, SourceSettings};
use crate::config::{Config, Profile, Purpose, StorePlace, sealing_keys, secret};
use crate::draft;
use crate::intake::coverage::{self, ExampleCoverage};
use crate::intake::{EventType, Source, Sources};
use crate::terminal::{print_notice, print_result};
use crate::time::{Clock, cost};

mod fields;
mod journal;
mod paths;
mod stray;
mod watch;

/// The number of events of an example up to which `check` measures the expressions in `[body]`: the maximum of
/// `ingress.batch_max`.
const BODY_EVENTS_MAX: usize = 1000;

/// The note about a source that a running bridge does not use.
const DRAFT: &str =
    "  a draft: a running bridge does not use this source until you remove the line `draft = true`";

/// The arguments of the command `check`.
#[derive(Debug, Args)]
pub(super) struct CheckOptions {
    #[command(flatten)]
    layers: Layers,
    /// Check the configuration as if the setting `profile` had this value.
    #[arg(long)]
    profile: Option<ProfileOption>,
    /// Check again whenever a file changes, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Not allowed: the command checks all sources.
    #[arg(value_name = "FILE", hide = true, value_parser = stray::no_file)]
    file: Option<PathBuf>,
}

/// The values of the setting `profile`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProfileOption {
    Local,
    Production,
}

pub(super) fn run(options: &CheckOptions) -> ExitCode {
    if !options.watch {
        return check_once(options).1;
    }
    block_on(async {
        loop {
            let (paths, _) = check_once(options);
            let before = FileSnapshot::take(&paths);
            print_result("--- waiting for a change");
            before.changed(&paths).await;
        }
    })
}

/// Runs one check, and returns the exit code and the checked paths. With `--watch`, the caller watches these paths.
fn check_once(options: &CheckOptions) -> (Vec<PathBuf>, ExitCode) {
    let files = &options.layers.config;
    let mut paths = files.clone();
    let profile = options.profile.map(|profile| match profile {
        ProfileOption::Local => Profile::Local,
        ProfileOption::Production => Profile::Production,
    });
    let read = Config::read_all(files, profile, Purpose::Check);
    // `Config::read_all` does not read the sources, so `--watch` knows the folders even if a source has errors.
    if let Some(config) = &read.0 {
        paths.extend([config.sources_dir.clone(), config.schemas_dir.clone()]);
    }
    let (config, sources) = match all_read(read, sources::read) {
        Ok(read) => read,
        Err(errors) => return (paths, print_errors(&errors)),
    };
    paths.extend(config.read_paths(&sources).files);
    print_result(format_args!(
        "configuration: {:?} profile, destination {}, store {}",
        config.profile,
        config.imprint.base_url.as_str(),
        store(&config.outbox.place)
    ));
    if config.imprint.key_file.is_none() {
        print_result("  imprint.key_file is not set; serve needs it");
    }
    let folder = config.outbox.place.file().map(absolute);
    let folder = folder.as_deref().and_then(Path::parent);
    if let Some(missing) = folder.filter(|folder| !folder.exists()) {
        print_result(format_args!(
            "  the folder {} of the store does not exist; serve needs it",
            missing.display()
        ));
    }
    if config.outbox.keys_dir.is_none() {
        print_result("  outbox.keys_dir is not set, so the store is not sealed");
    }
    let errors = report_files("", setting_file_errors(&config));
    (paths, check_all(&config, sources, errors))
}

/// Returns the place of the store for people.
fn store(place: &StorePlace) -> String {
    match place.file() {
        Some(path) => absolute(path).display().to_string(),
        None => place.to_string(),
    }
}

/// Returns the absolute path of a relative path, because a relative path depends on the working directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_no_directory| path.to_owned())
}

/// Checks the sources with their examples and secrets.
pub(super) fn check_sources(config: &Config, settings: Vec<SourceSettings>) -> ExitCode {
    check_all(config, settings, 0)
}

/// Checks the sources, and reports the number of all errors. `errors` is the number of errors that are printed before.
fn check_all(config: &Config, settings: Vec<SourceSettings>, mut errors: usize) -> ExitCode {
    let all = settings.iter().map(|settings| Arc::clone(&settings.source));
    let sources = Sources::new(all, config.intake);
    let wall_time = Clock::machine().wall();
    stray::describe(config, &settings);
    errors += check_look(config) + check_sealing_keys(config) + journal::check(&config.outbox);
    let drafts = settings.iter().filter(|settings| settings.is_draft);
    let conflicts: BTreeMap<String, String> = drafts
        .filter_map(|draft| {
            let conflict = sources::conflict_of_draft(draft, &settings)?;
            Some((draft.source.name.to_string(), conflict))
        })
        .collect();
    for settings in settings {
        let warnings = settings.warnings();
        let SourceSettings {
            source,
            auth,
            is_draft,
            ..
        } = settings;
        print_result(format_args!("source {}: {}", source.name, auth.as_str()));
        if is_draft {
            print_result(DRAFT);
        }
        if let Some(conflict) = conflicts.get(source.name.as_str()) {
            print_result(format_args!("  {conflict}"));
        }
        for warning in warnings {
            print_result(format_args!("  {warning}"));
        }
        errors += check_secrets(&source, &auth);
        let folder = config.sources_dir.join(source.name.as_str());
        let results = examples::run(&folder, &sources, &source, wall_time);
        describe(&source, &results);
        print_result(format_args!("  {}", counted(&results, &folder)));
        describe_results(&source, &results);
        results.errors.iter().for_each(print_notice);
        errors += results.errors.len();
    }
    match errors {
        0 => {
            print_result("no errors");
            ExitCode::SUCCESS
        }
        1 => {
            print_notice("1 error");
            ExitCode::from(NEGATIVE_RESULT)
        }
        errors => {
            print_notice(format_args!("{errors} errors"));
            ExitCode::from(NEGATIVE_RESULT)
        }
    }
}

/// Reports if a running bridge could not look at the files of the sources, and returns the number of errors.
fn check_look(config: &Config) -> usize {
    match SourceFiles::look(&config.sources_dir, &config.schemas_dir) {
        Ok(_) => 0,
        Err(reason) => {
            print_notice(format_args!(
                "{reason}: the bridge would notice no changes of the files"
            ));
            1
        }
    }
}

/// Reports the sealing keys that are unusable, and returns the number of errors.
///
/// A missing directory is no error, because the machine of an author need not have the keys. `serve` does not start without
/// the directory.
fn check_sealing_keys(config: &Config) -> usize {
    let directory = config.outbox.keys_dir.as_deref();
    if let Some(missing) = directory.filter(|directory| !directory.exists()) {
        print_result(format_args!(
            "  the directory {} does not exist; serve needs the sealing keys in it",
            missing.display()
        ));
        return 0;
    }
    let errors = sealing_keys::read(directory).err().unwrap_or_default();
    for error in &errors {
        print_notice(format_args!("outbox.keys_dir: {error}"));
    }
    errors.len()
}

/// Reports the secret files of a source that are missing or unusable, and returns the number of errors.
///
/// A missing file is no error, because the machine of an author need not have the secrets. `serve` does not start
/// without the file.
fn check_secrets(source: &Source, auth: &Auth) -> usize {
    let files = auth.files().into_iter().flat_map(|files| &files.paths);
    for doubt in files.filter_map(|path| secret::doubt(path)) {
        print_result(format_args!("  {doubt}"));
    }
    report_files(
        &format!("source {}: ", source.name),
        secret_file_errors(auth),
    )
}

/// Reports files that are missing or unusable, and returns the number of errors. `owner` is the beginning of each error.
fn report_files(owner: &str, flaws: Vec<SecretFileError>) -> usize {
    let mut errors = 0;
    for flaw in flaws {
        match flaw {
            SecretFileError::Missing(reason) => {
                print_result(format_args!("  {reason}; serve needs this file"));
            }
            SecretFileError::Unusable(reason) | SecretFileError::Silent(reason) => {
                print_notice(format_args!("{owner}{reason}"));
                errors += 1;
            }
        }
    }
    errors
}

/// Prints the notes about the results of all examples of a source.
fn describe_results(source: &Source, results: &ExampleResults) {
    for note in results.ids.notes() {
        print_result(format_args!("  {note}"));
    }
    if has_no_request(results) {
        print_result(
            "  no example gives a request to Imprint, so no example tests the fields: add an example of an event that the bridge maps",
        );
    }
    // The expected results of such an example are also right for a mapping that makes every event invalid.
    if results.parked > 0 {
        print_result(format_args!(
            "  examples with an invalid event that the bridge parks: {}",
            results.parked
        ));
    }
    if results.has_differences() {
        print_result(format_args!(
            "  if the result of today is right, `imprint-bridge explain --source {} --example FILE` prints it",
            source.name
        ));
    }
}

/// Returns whether the source has examples, and none of them has a request. If all examples of an event type are invalid,
/// its own note says so.
fn has_no_request(results: &ExampleResults) -> bool {
    let says_more =
        |covered: &ExampleCoverage| covered.has_request() || covered.has_only_invalid_events();
    results.count > 0 && !results.coverage.values().any(says_more)
}

fn counted(results: &ExampleResults, folder: &Path) -> String {
    match results.count {
        0 if !results.errors.is_empty() => "no example was read: see the errors below".to_owned(),
        0 => format!("no examples; add some to {}", folder.display()),
        1 => "1 example".to_owned(),
        count => format!("{count} examples"),
    }
}

fn describe(source: &Source, results: &ExampleResults) {
    let nothing = ExampleCoverage::default();
    describe_interpreted_envelope(source, results);
    for (name, event_type) in &source.event_types {
        let mapping = &event_type.mapping;
        let order = mapping.version_domain().map_or("arrival", |_| "version");
        let fields = match mapping.fields().count() {
            1 => "1 field".to_owned(),
            fields => format!("{fields} fields"),
        };
        print_result(format_args!(
            "  {name}: {} maps {fields}, ordered by {order}",
            event_type.schema.name()
        ));
        let covered = results.coverage.get(name).unwrap_or(&nothing);
        let unread = coverage::unread(source, event_type, covered);
        list("not read", &unread);
        let not_kept = results.not_kept.get(name).into_iter().flatten();
        let not_kept: Vec<String> = not_kept.cloned().collect();
        list("not kept in the store", &not_kept);
        let review = draft::review(source, name, &results.explained);
        for note in paths::notes(event_type, &unread, covered, &review) {
            print_result(format_args!("    {note}"));
        }
        for note in covered.notes() {
            print_result(format_args!("    in an example, {note}"));
        }
        let notes = fields::notes(event_type).into_iter().chain(review.notes);
        let notes = notes.chain(fields::schema(event_type));
        for note in notes.chain(fields::other_schema(name, event_type, results)) {
            print_result(format_args!("    {note}"));
        }
        if covered.has_only_invalid_events() {
            print_result(
                "    every example is invalid: no example shows a request of this mapping to Imprint",
            );
        }
        if results.count > 0 {
            list(
                "in no example",
                &coverage::without_example(event_type, covered),
            );
        }
        describe_interpreted(name, event_type, results);
    }
    let ignored: Vec<&str> = source.ignored.iter().map(String::as_str).collect();
    if !ignored.is_empty() {
        print_result(format_args!("  ignored: {}", ignored.join(", ")));
        stray::misspelt_types(source, results)
            .iter()
            .for_each(print_result);
    }
}

/// Prints the expressions in `[body]` that run in the jq interpreter, and the time that the whole table takes for the
/// body of the first example.
fn describe_interpreted_envelope(source: &Source, results: &ExampleResults) {
    let Some(envelope) = &source.json_envelope else {
        return;
    };
    let interpreted = envelope.interpreted_rules();
    if interpreted.is_empty() {
        return;
    }
    let first = results.first_body.as_ref();
    let time = first.map(|(headers, body)| {
        cost(|| drop(envelope.events(body.clone(), headers, BODY_EVENTS_MAX)))
    });
    let time = time.map_or_else(
        || "not measured: no example".to_owned(),
        |time| format!("all of [body] takes {time:.1?} for the first example"),
    );
    for (target, expression) in interpreted {
        print_result(format_args!(
            "  runs in the jq interpreter ({time}): {target} = {}",
            in_one_line(expression)
        ));
    }
}

/// Prints every expression of an event type that runs in the jq interpreter, with the time that one run takes.
fn describe_interpreted(name: &str, event_type: &EventType, results: &ExampleResults) {
    let view = results.first_views.get(name);
    for rule in event_type.mapping.interpreted_rules() {
        let cost = view.map(|view| cost(|| _ = rule.run(view)));
        let cost = cost.map_or_else(
            || "not measured: no example".to_owned(),
            |cost| format!("{cost:.1?}"),
        );
        print_result(format_args!(
            "    runs in the jq interpreter ({cost}): {} = {}",
            rule.target(),
            in_one_line(rule.expression())
        ));
    }
}

fn list(title: &str, items: &[String]) {
    if !items.is_empty() {
        print_result(format_args!("    {title}: {}", items.join(", ")));
    }
}
