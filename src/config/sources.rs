//! Reads the source files, and compiles the schemas and mappings of each source. Reports all errors of all source files
//! at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::Value;

use super::reader::{Raw, Reader, SettingError};
use super::{BrakeSettings, Config, QuotaSettings, read_file};
use crate::event::SourceName;
use crate::ingress::QuotaLimits;
use crate::intake::{BrakePolicy, CardNumberPolicy, EventType, Source, StoredParts};
use crate::mapping::{JsonEnvelope, LookupTables};

mod auth;
mod edited;
mod example_ids;
mod example_reasons;
pub(crate) mod examples;
mod files;
mod folder;
mod headers;
mod in_use;
mod misplaced;
mod order;
mod other_kinds;
mod outer_settings;
mod production;
mod rules;
mod schema_files;
mod totals;

pub use auth::{Auth, SecretFiles};
pub use edited::{EDITED_BYTES_MAX, SourceTextReader};
pub use files::{SourceFiles, SourcesDigest};
use folder::folder_error;
pub use in_use::is_possibly_in_use;
pub use order::conflict_of_draft;
use order::conflicting_orders;
use schema_files::{SchemaFiles, SchemaOrigin};
use totals::{Total, Totals};

/// The lists of a source file that stand before its first table.
const TOP_LEVEL_LISTS: [&str; 3] = ["allowed_origins", "ignore", "unsigned_headers"];

/// The settings of one source file.
#[derive(Debug)]
pub struct SourceSettings {
    /// The source, with the compiled schemas and mappings.
    pub source: Arc<Source>,
    /// The authentication of the source's requests.
    pub auth: Auth,
    /// The origins (DNS names in lower case) to which the handshake of the CloudEvents webhook specification grants
    /// permission.
    pub allowed_origins: BTreeSet<String>,
    /// The headers that the bridge believes without a signature: `ce-` headers of binary mode, `priority`, or headers that
    /// the expressions of the source read.
    pub unsigned_headers: BTreeSet<String>,
    /// Whether the author is still writing the source. The commands for authors read a draft, and a running bridge does not.
    pub is_draft: bool,
    /// The quotas of the source: the table `[quota]` of the source file, with the defaults of the settings for missing
    /// keys.
    pub quota: QuotaLimits,
    /// The mass-change brake of the source: the table `[brake]` of the source file, with the defaults of the settings for
    /// missing keys.
    pub brake: BrakePolicy,
    /// The text of the source file, for a try-out. `None` if the text is longer than [`EDITED_BYTES_MAX`].
    pub text: Option<Arc<str>>,
}

impl SourceSettings {
    /// Returns warnings about the security risks that the operator accepts with the settings of the source. The command
    /// `check` and the log show these warnings.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<_> = self.auth.warning().map(str::to_owned).into_iter().collect();
        if self.auth.allows_guessable_secrets() {
            warnings.push(
                "auth.secret_bytes_min allows short secrets: an attacker can guess a short secret"
                    .to_owned(),
            );
        }
        warnings.extend(self.auth.user_with_space().map(str::to_owned));
        warnings.extend(self.auth.contradiction());
        let read = self.source.read_headers();
        warnings.extend(headers::of_programs(&self.auth, &read));
        if self.source.stored_parts == StoredParts::All {
            warnings.push(
                "body.keep = \"all\" stores parts of events that no schema describes".to_owned(),
            );
        }
        if self.source.card_numbers == CardNumberPolicy::Keep {
            warnings
                .push("body.card_numbers = \"keep\" allows card numbers in the store".to_owned());
        }
        if !self.unsigned_headers.is_empty() {
            let headers: Vec<_> = self.unsigned_headers.iter().map(String::as_str).collect();
            warnings.push(format!(
                "the signature need not cover {}: a gateway, or anybody who saw a request, can change these headers",
                headers.join(", ")
            ));
        }
        warnings
    }
}

/// The choice whether a reader compiles the source files that are drafts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drafts {
    Read,
    Skip,
}

/// The sources for a running bridge.
#[derive(Debug)]
pub struct SourcesInUse {
    pub sources: Vec<SourceSettings>,
    /// The names of the sources whose files are drafts. The running bridge does not use them.
    pub drafts: Vec<String>,
}

/// Reads every `*.toml` file in the folder of sources, except files whose names begin with a dot. For the commands for
/// authors, which also read the drafts.
///
/// # Errors
/// Returns all errors of all source files.
pub fn read(config: &Config) -> Result<Vec<SourceSettings>, Vec<SettingError>> {
    read_all(config, Drafts::Read).map(|live| live.sources)
}

/// Reads the source files like [`read`], for a running bridge. A draft neither becomes a source nor causes an error.
///
/// # Errors
/// Returns all errors of all source files that are not drafts.
pub fn read_live(config: &Config) -> Result<SourcesInUse, Vec<SettingError>> {
    read_all(config, Drafts::Skip)
}

fn read_all(config: &Config, drafts: Drafts) -> Result<SourcesInUse, Vec<SettingError>> {
    let (mut errors, files) = (Vec::new(), listed(config)?);
    let mut live = SourcesInUse {
        sources: Vec::new(),
        drafts: Vec::new(),
    };
    if files.is_empty() {
        let reason = "has no source: no file name ends in .toml";
        errors.push(folder_error("sources_dir", &config.sources_dir, reason));
    }
    let defaults = SourceDefaults::of(config);
    let mut totals = Totals::default();
    for file in files {
        let mut schemas = SchemaFiles {
            origin: SchemaOrigin::Folder(&config.schemas_dir),
            totals: &mut totals,
        };
        let read = read_source(&file, (defaults, drafts), &mut schemas);
        if let Some(error) = totals.error(&config.sources_dir) {
            errors.push(error);
            return Err(errors);
        }
        match read {
            Ok(SourceFile::Source(source)) => {
                if !source.is_draft {
                    errors.extend(production::refusals(config, &file, &source));
                }
                live.sources.push(*source);
            }
            Ok(SourceFile::Draft(name)) => live.drafts.push(name.to_string()),
            Err(found) => errors.extend(found),
        }
    }
    if live.sources.is_empty() && errors.is_empty() {
        let reason =
            "has only drafts: remove the line `draft = true` of a source that the bridge shall use";
        errors.push(folder_error("sources_dir", &config.sources_dir, reason));
    }
    let used = live.sources.iter().filter(|source| !source.is_draft);
    errors.extend(conflicting_orders(used));
    errors.is_empty().then_some(live).ok_or(errors)
}

/// Lists the source files, and returns an error if a folder cannot be read.
fn listed(config: &Config) -> Result<Vec<PathBuf>, Vec<SettingError>> {
    let folder = &config.sources_dir;
    let unreadable = |reason: String| vec![folder_error("sources_dir", folder, &reason)];
    let files = files::source_files(folder).map_err(unreadable)?;
    // Otherwise each schema would cause an error of its own.
    let schemas = fs::read_dir(&config.schemas_dir);
    schemas.map_err(|error| {
        let reason = format!("cannot be read: {error}");
        vec![folder_error("schemas_dir", &config.schemas_dir, &reason)]
    })?;
    Ok(files)
}

/// Reads only the table `[auth]` of a source file.
///
/// # Errors
/// Returns all errors of the table `[auth]`.
pub fn read_auth(file: &Path) -> Result<Auth, Vec<SettingError>> {
    let (settings, _) = read_file(file).map_err(|error| vec![error])?;
    let mut reader = Reader::new(&file.display().to_string(), settings);
    let auth = auth::take(&mut reader);
    // The command `send` uses no expression of the source, so the headers stay unchecked.
    headers::take_unsigned(&mut reader);
    let mut errors = reader.finish();
    errors.retain(|error| error.key == "auth" || error.key.starts_with("auth."));
    auth.filter(|_| errors.is_empty()).ok_or(errors)
}

/// The settings that a source file can override.
#[derive(Clone, Copy, Debug)]
struct SourceDefaults {
    quota: QuotaSettings,
    brake: BrakeSettings,
}

impl SourceDefaults {
    const fn of(config: &Config) -> Self {
        Self {
            quota: config.quota,
            brake: config.brake,
        }
    }
}

/// What a reader makes of a source file.
enum SourceFile {
    Source(Box<SourceSettings>),
    /// The file is a draft, and the reader has skipped it.
    Draft(SourceName),
}

fn read_source(
    file: &Path,
    (defaults, drafts): (SourceDefaults, Drafts),
    schemas: &mut SchemaFiles<'_>,
) -> Result<SourceFile, Vec<SettingError>> {
    let stem = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let name =
        SourceName::parse(stem).map_err(|error| vec![file_error(file, error.to_string())])?;
    let (reader, text) = reader(file, stem, schemas.totals)?;
    let read = compile(name, reader, (defaults, drafts), schemas)?;
    Ok(match read {
        SourceFile::Source(source) => {
            let text = edited::shown(&text);
            SourceFile::Source(Box::new(SourceSettings { text, ..*source }))
        }
        SourceFile::Draft(name) => SourceFile::Draft(name),
    })
}

/// Compiles the settings of a source file.
fn compile(
    name: SourceName,
    mut reader: Reader,
    (defaults, drafts): (SourceDefaults, Drafts),
    schemas: &mut SchemaFiles<'_>,
) -> Result<SourceFile, Vec<SettingError>> {
    if misplaced::is_settings_file(&mut reader) {
        return Err(reader.finish());
    }
    outer_settings::report(&mut reader);
    let is_draft = reader.take_optional(&["draft"], Raw::truth) == Some(true);
    if is_draft && drafts == Drafts::Skip {
        return Ok(SourceFile::Draft(name));
    }
    reader.take_misplaced(&TOP_LEVEL_LISTS, &[&["auth", "unsigned_headers"]]);
    let auth = auth::take(&mut reader);
    let listed = headers::take_unsigned(&mut reader);
    let quota = defaults.quota.take_source(&mut reader);
    let brake = defaults.brake.take_source(&mut reader);
    let tables = rules::tables(&mut reader);
    let json_envelope = rules::json_envelope(&mut reader, &tables);
    let ignored = reader
        .take_optional(&["ignore"], ignored_types)
        .unwrap_or_default();
    let allowed_origins = allowed_origins(&mut reader);
    check_names(&mut reader, &ignored);
    let event_types = event_types(&mut reader, (&tables, json_envelope.as_ref()), schemas);
    let source = Source {
        name,
        json_envelope,
        event_types,
        ignored: ignored.into_iter().collect(),
        invalid_events: rules::invalid_events(&mut reader),
        stored_parts: rules::stored_parts(&mut reader),
        card_numbers: rules::card_numbers(&mut reader),
    };
    // The expressions with an error read unknown headers, so a check would report false errors.
    let unsigned_headers = match &auth {
        Some(auth) if !reader.has_errors() => {
            let read = source.read_headers();
            headers::checked_unsigned(&mut reader, auth, (listed, &read))
        }
        Some(_) | None => BTreeSet::new(),
    };
    let errors = reader.finish();
    match auth {
        Some(auth) if errors.is_empty() => Ok(SourceFile::Source(Box::new(SourceSettings {
            is_draft,
            source: Arc::new(source),
            auth,
            allowed_origins,
            unsigned_headers,
            quota,
            brake,
            text: None,
        }))),
        Some(_) | None => Err(errors),
    }
}

/// Reads a source file, and counts its size before its settings are compiled. Returns its text too.
fn reader(
    file: &Path,
    source: &str,
    totals: &mut Totals,
) -> Result<(Reader, String), Vec<SettingError>> {
    totals.begin(source);
    let (settings, text) = read_file(file).map_err(|error| vec![error])?;
    let origin = file.display().to_string();
    Ok((counted(&origin, (settings, text.len()), totals), text))
}

/// Counts the settings of a source file. If a sum over all sources exceeds its bound, the reader has no settings: the caller
/// reports the sum.
fn counted(origin: &str, (settings, bytes): (Value, usize), totals: &mut Totals) -> Reader {
    let mut reader = Reader::new(origin, settings);
    let counted = totals.add(Total::SourceBytes, bytes);
    let counted = counted.and_then(|()| totals.add(Total::Settings, reader.settings()));
    if counted.is_err() {
        reader.forget(&[]);
    }
    reader
}

/// Reports a file without event types, and the event types that the file both ignores and maps.
fn check_names(reader: &mut Reader, ignored: &[String]) {
    let mapped = reader.keys(&["events"]);
    if ignored.is_empty() && mapped.is_empty() {
        let reason = "names no event type: add a table [events.\"TYPE\"] with the keys schema, customer.partner_id or customer.imprint_id, version, version_domain and update";
        reader.missing(&[&["events"]], reason);
    }
    for name in ignored.iter().filter(|name| mapped.contains(*name)) {
        let reason = format!(
            "names \"{name}\", which has a table [events.\"{name}\"]: remove one of the two"
        );
        reader.error(&["ignore"], reason);
    }
}

fn event_types(
    reader: &mut Reader,
    body: (&LookupTables, Option<&JsonEnvelope>),
    schemas: &mut SchemaFiles<'_>,
) -> BTreeMap<String, EventType> {
    let names = misplaced::event_types(reader).into_iter();
    let compiled = names.filter_map(|name| {
        if rules::has_names_without_quotes(reader, &name) {
            return None;
        }
        let event_type = rules::event_type(reader, &name, body, schemas)?;
        Some((name, event_type))
    });
    compiled.collect()
}

fn allowed_origins(reader: &mut Reader) -> BTreeSet<String> {
    let origins = reader.take_optional(&["allowed_origins"], Raw::texts);
    let origins = origins.unwrap_or_default().into_iter();
    origins.map(|origin| origin.to_ascii_lowercase()).collect()
}

fn ignored_types(raw: Raw) -> Result<Vec<String>, String> {
    let names = raw.texts()?;
    match names.iter().find_map(|name| rules::wrong_star(name)) {
        Some(reason) => Err(reason.to_owned()),
        None => Ok(names),
    }
}

fn file_error(path: &Path, reason: String) -> SettingError {
    SettingError {
        origin: path.display().to_string(),
        key: String::new(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::{RateLimit, StorageLimit};

    const SCHEMA: &str = "{}";

    const DEFAULTS: SourceDefaults = SourceDefaults {
        quota: QuotaSettings::of(100, 1000, 0),
        brake: BrakeSettings::OFF,
    };

    fn read(file: &Path, folder: &Path) -> Result<SourceSettings, Vec<SettingError>> {
        let totals = &mut Totals::default();
        let origin = SchemaOrigin::Folder(folder);
        let mut schemas = SchemaFiles { origin, totals };
        match read_source(file, (DEFAULTS, Drafts::Read), &mut schemas)? {
            SourceFile::Source(source) => Ok(*source),
            SourceFile::Draft(name) => panic!("{name} is a draft"),
        }
    }

    /// Creates a source with one event type that maps one field, ordered by `version`.
    fn source(folder: &Path, name: &str, version: &str, target: &str) -> SourceSettings {
        let file = folder.join(format!("{name}.toml"));
        let text = format!(
            "[auth]\nkind = \"none\"\n[events.changed]\nschema = \"any.json\"\n{version}\n\
             customer.imprint_id = \".data.id\"\n[events.changed.update]\n{target} = \".data.x\"\n"
        );
        fs::write(&file, text).unwrap();
        fs::write(folder.join("any.json"), SCHEMA).unwrap();
        read(&file, folder).unwrap()
    }

    #[test]
    fn one_field_has_one_order() {
        let folder = tempfile::tempdir().unwrap();
        let sequence = "version = \".data.n\"\nversion_domain = \"sequence\"";
        let time = "version = \".time\"\nversion_domain = \"time\"";
        let table = [
            (("a", sequence, "email"), ("b", sequence, "email"), false),
            (("a", sequence, "email"), ("b", sequence, "phone"), true),
            (("a", time, "email"), ("b", time, "email"), true),
            (("a", time, "email"), ("b", sequence, "email"), false),
            (("a", "", "metadata.k"), ("b", "", "metadata.k"), true),
            (("a", "", "metadata.k"), ("b", time, "metadata.k"), false),
        ];
        for (one, other, fits) in table {
            let sources = [one, other]
                .map(|(name, version, target)| source(folder.path(), name, version, target));
            assert_eq!(
                conflicting_orders(&sources).is_empty(),
                fits,
                "{one:?} {other:?}"
            );
        }
    }

    /// FAULTS N300: a source file overrides each default quota by itself.
    #[test]
    fn a_source_file_overrides_the_default_quotas() {
        let folder = tempfile::tempdir().unwrap();
        let quota = |table: &str| {
            let file = folder.path().join("crm.toml");
            let text = format!("ignore = [\"x\"]\n[auth]\nkind = \"none\"\n[quota]\n{table}\n");
            fs::write(&file, text).unwrap();
            read(&file, folder.path()).map(|source| source.quota)
        };
        let limits = |rate, stored_bytes| QuotaLimits { rate, stored_bytes };
        let rate = |events, burst| RateLimit::PerSecond { events, burst };
        let unlimited = StorageLimit::Unlimited;
        for (table, expected) in [
            ("", limits(rate(100, 1000), unlimited)),
            ("events_per_second = 7", limits(rate(7, 1000), unlimited)),
            ("events_burst = 9", limits(rate(100, 9), unlimited)),
            (
                "events_per_second = 0",
                limits(RateLimit::Unlimited, unlimited),
            ),
            (
                "stored_bytes_max = 5000",
                limits(rate(100, 1000), StorageLimit::Bytes(5000)),
            ),
        ] {
            assert_eq!(quota(table).unwrap(), expected, "{table}");
        }
        for wrong in [
            "events_per_second = -1",
            "events_burst = 0",
            "stored_bytes_max = 1023",
            "events = 1",
        ] {
            let errors = quota(wrong).unwrap_err();
            assert!(errors[0].key.starts_with("quota."), "{wrong}: {errors:?}");
        }
    }

    /// FAULTS K01, K03: every error of a file names its key.
    #[test]
    fn every_error_of_a_source_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("crm.toml");
        let text = "[auth]\nkind = \"signed\"\n[events.\"a.b\"]\nschema = \"none.json\"\nversion = \".n\"\n\
                    [events.\"a.b\".update]\ncountry = \".x\"\nemail = \"range(9)\"\n";
        fs::write(&file, text).unwrap();
        let found = read(&file, folder.path()).unwrap_err();
        let errors: Vec<String> = found.iter().map(ToString::to_string).collect();
        for expected in [
            "auth.kind: must be",
            "events.\"a.b\".schema",
            "version_domain: is required",
            "country",
            "range",
            "customer.imprint_id",
        ] {
            assert!(
                errors.iter().any(|error| error.contains(expected)),
                "{expected} in {errors:#?}"
            );
        }
    }
}
