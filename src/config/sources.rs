//! Reads the source files, and compiles the schemas and mappings of each source. Reports all errors of all source files
//! at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::reader::{Raw, Reader, SettingError};
use super::{Config, QuotaSettings, absolute, read_file};
use crate::event::SourceName;
use crate::imprint::Field;
use crate::ingress::QuotaLimits;
use crate::intake::{CardNumberPolicy, EventType, Source, StoredParts};
use crate::mapping::{JsonEnvelope, LookupTables, VersionDomain};

mod auth;
pub(crate) mod examples;
mod files;
mod headers;
mod production;
mod rules;

pub use auth::{Auth, SecretFiles};
pub use files::{SourceFiles, SourcesDigest};

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
    /// The quotas of the source: the table `[quota]` of the source file, with the defaults of the settings for missing
    /// keys.
    pub quota: QuotaLimits,
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

/// Reads every `*.toml` file in the folder of sources, except files whose names begin with a dot.
///
/// # Errors
/// Returns all errors of all source files.
pub fn read(config: &Config) -> Result<Vec<SourceSettings>, Vec<SettingError>> {
    let mut errors = Vec::new();
    let mut sources = Vec::new();
    let files = match source_files(&config.sources_dir) {
        Ok(files) => files,
        Err(reason) => {
            return Err(vec![folder_error(
                "sources_dir",
                &config.sources_dir,
                &reason,
            )]);
        }
    };
    if files.is_empty() {
        let reason = "has no source: no file name ends in .toml";
        errors.push(folder_error("sources_dir", &config.sources_dir, reason));
    }
    // Otherwise each schema would cause an error of its own.
    if let Err(error) = fs::read_dir(&config.schemas_dir) {
        let reason = format!("cannot be read: {error}");
        return Err(vec![folder_error(
            "schemas_dir",
            &config.schemas_dir,
            &reason,
        )]);
    }
    for file in files {
        match read_source(&file, &config.schemas_dir, config.quota) {
            Ok(source) => {
                errors.extend(production::refusals(config, &file, &source));
                sources.push(source);
            }
            Err(found) => errors.extend(found),
        }
    }
    errors.extend(conflicting_orders(&sources));
    if errors.is_empty() {
        Ok(sources)
    } else {
        Err(errors)
    }
}

/// Reads only the table `[auth]` of a source file.
///
/// # Errors
/// Returns all errors of the table `[auth]`.
pub fn read_auth(file: &Path) -> Result<Auth, Vec<SettingError>> {
    let settings = read_file(file).map_err(|error| vec![error])?;
    let mut reader = Reader::new(&file.display().to_string(), settings);
    let auth = auth::take(&mut reader);
    // The command `send` uses no expression of the source, so the headers stay unchecked.
    headers::take_unsigned(&mut reader, auth.as_ref());
    let mut errors = reader.finish();
    errors.retain(|error| error.key == "auth" || error.key.starts_with("auth."));
    auth.filter(|_| errors.is_empty()).ok_or(errors)
}

/// The rule that orders the events of an event type: by sequence number, by time, or by arrival. The bridge can compare
/// times of different sources, but not sequence numbers of different sources.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order<'a> {
    Sequence(&'a SourceName),
    Time,
    Arrival,
}

impl fmt::Display for Order<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequence(source) => write!(f, "a sequence of {source}"),
            Self::Time => f.write_str("time"),
            Self::Arrival => f.write_str("arrival"),
        }
    }
}

/// Returns an error for each field that two event types order by different rules. The bridge could not decide which
/// value of such a field is newer.
fn conflicting_orders(sources: &[SourceSettings]) -> Vec<SettingError> {
    let mut orders: BTreeMap<&Field, (Order<'_>, String)> = BTreeMap::new();
    let mut errors = Vec::new();
    let event_types = sources.iter().flat_map(|settings| {
        let source = &settings.source;
        source
            .event_types
            .iter()
            .map(move |kind| (&source.name, kind))
    });
    for (source, (name, event_type)) in event_types {
        let order = match event_type.mapping.version_domain() {
            Some(VersionDomain::Sequence) => Order::Sequence(source),
            Some(VersionDomain::Time) => Order::Time,
            None => Order::Arrival,
        };
        let key = format!("{source} events.\"{name}\"");
        let clash = event_type.mapping.fields().find_map(|field| {
            let (first, place) = orders.entry(field).or_insert_with(|| (order, key.clone()));
            let reason =
                || {
                format!(
                    "orders {field} by {order}, but {place} orders it by {first}: the bridge cannot tell which value is newer. \
                     Give both the same order, or remove the file of the source that is not used"
                )
            };
            (*first != order).then(reason)
        });
        errors.extend(clash.map(|reason| SettingError {
            origin: "sources".to_owned(),
            key,
            reason,
        }));
    }
    errors
}

fn source_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if files::is_source_file(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_source(
    file: &Path,
    schemas_dir: &Path,
    quota: QuotaSettings,
) -> Result<SourceSettings, Vec<SettingError>> {
    let stem = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let name =
        SourceName::parse(stem).map_err(|error| vec![file_error(file, error.to_string())])?;
    let settings = read_file(file).map_err(|error| vec![error])?;
    let mut reader = Reader::new(&file.display().to_string(), settings);
    reader.take_misplaced(&TOP_LEVEL_LISTS, &[&["auth", "unsigned_headers"]]);
    let auth = auth::take(&mut reader);
    let listed = headers::take_unsigned(&mut reader, auth.as_ref());
    let quota = quota.take_source(&mut reader);
    let tables = rules::tables(&mut reader);
    let json_envelope = rules::json_envelope(&mut reader, &tables);
    let ignored = reader
        .take_optional(&["ignore"], ignored_types)
        .unwrap_or_default();
    let allowed_origins = reader
        .take_optional(&["allowed_origins"], Raw::texts)
        .unwrap_or_default();
    check_names(&mut reader, &ignored);
    let event_types = event_types(&mut reader, (&tables, json_envelope.as_ref()), schemas_dir);
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
        Some(auth) if errors.is_empty() => Ok(SourceSettings {
            source: Arc::new(source),
            auth,
            allowed_origins: allowed_origins
                .into_iter()
                .map(|origin| origin.to_ascii_lowercase())
                .collect(),
            unsigned_headers,
            quota,
        }),
        Some(_) | None => Err(errors),
    }
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
    schemas_dir: &Path,
) -> BTreeMap<String, EventType> {
    let names = reader.keys(&["events"]).into_iter();
    let compiled = names.filter_map(|name| {
        if rules::has_names_without_quotes(reader, &name) {
            return None;
        }
        let event_type = rules::event_type(reader, &name, body, schemas_dir)?;
        Some((name, event_type))
    });
    compiled.collect()
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

/// Creates the error about the folder that a setting names.
fn folder_error(setting: &str, path: &Path, reason: &str) -> SettingError {
    SettingError {
        origin: String::new(),
        key: setting.to_owned(),
        reason: format!("{} {reason}", absolute(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::{RateLimit, StorageLimit};

    const SCHEMA: &str = "{}";

    const QUOTA: QuotaSettings = QuotaSettings::of(100, 1000, 0);

    /// Creates a source with one event type that maps one field, ordered by `version`.
    fn source(folder: &Path, name: &str, version: &str, target: &str) -> SourceSettings {
        let file = folder.join(format!("{name}.toml"));
        let text = format!(
            "[auth]\nkind = \"none\"\n[events.changed]\nschema = \"any.json\"\n{version}\n\
             customer.imprint_id = \".data.id\"\n[events.changed.update]\n{target} = \".data.x\"\n"
        );
        fs::write(&file, text).unwrap();
        fs::write(folder.join("any.json"), SCHEMA).unwrap();
        read_source(&file, folder, QUOTA).unwrap()
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
            read_source(&file, folder.path(), QUOTA).map(|source| source.quota)
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
        let found = read_source(&file, folder.path(), QUOTA).unwrap_err();
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
