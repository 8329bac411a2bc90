//! Configuration: reads settings files, environment variables and secret files. No other module of the bridge reads
//! them.
//!
//! A [`Config`] is always valid, because its fields have types that allow only valid values. [`Config::read`] reports
//! all errors at once. Each error names the file or the environment variable with the wrong setting.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Environment, File, FileFormat, Source as _, Value, ValueKind};

use self::environment::{PREFIX, SEPARATOR, Variables};
use self::reader::{Raw, Reader};
use crate::http::trusted_proxies::TrustedProxies;
use crate::intake::IntakeSettings;
use crate::telemetry::{self, LogFormat};

mod audit_keys;
mod base_url;
mod brake;
mod confinement;
mod dispatch;
pub(crate) mod egress;
mod environment;
mod erasure_journal;
mod imprint;
mod ingress;
mod intake;
pub(crate) mod listen_address;
mod misplaced;
pub(crate) mod notices;
pub(crate) mod operators;
mod outbox;
mod quota;
mod read_paths;
mod reader;
mod receiver_url;
pub(crate) mod regular_file;
pub mod sealing_keys;
pub mod secret;
mod secret_path;
pub mod source_set;
pub mod sources;
mod store_place;
mod text_file;
mod toml_error;
mod traces;

pub use audit_keys::AuditKeyFiles;
pub use base_url::BaseUrl;
pub use brake::BrakeSettings;
pub use confinement::{ConfinementMode, ConfinementSettings};
pub use dispatch::DispatchSettings;
pub use egress::{ClientCertificateFiles, EgressSettings, ProxySettings};
pub use environment::unread_variables;
pub use erasure_journal::JournalPlace;
pub use imprint::{ImprintEnvironment, ImprintSettings};
pub use ingress::IngressSettings;
pub use notices::NoticeSettings;
pub use operators::{OperatorFile, RoleWord};
pub use outbox::OutboxSettings;
pub use quota::QuotaSettings;
pub use read_paths::ReadPaths;
pub use reader::SettingError;
pub use receiver_url::ReceiverUrl;
pub use store_place::StorePlace;
pub use traces::{SecretHeader, TraceSettings};

/// The built-in default settings.
const DEFAULT: &str = include_str!("../config/default.toml");
/// The maximum of every setting for a deadline. No client waits for an answer for more than five minutes.
const DEADLINE_MAX: Duration = Duration::from_secs(300);
/// The minimum of every setting for a deadline.
const DEADLINE_MIN: Duration = Duration::from_millis(50);
/// The maximum size of a source file or of a settings file. A lookup table with 50,000 rows takes less.
const SOURCE_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The maximum of `shutdown.lag` plus `shutdown.drain`. By default, Kubernetes kills a pod 30 s after the signal to
/// stop.
const SHUTDOWN_MAX: Duration = Duration::from_secs(28);

/// The kind of deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A deployment on a developer's machine.
    Local,
    /// A deployment with real customers.
    Production,
}

impl Profile {
    /// Returns the value of the setting `profile`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Production => "production",
        }
    }
}

/// The command that reads the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The command `serve`. The secret files must be configured and readable.
    Serve,
    /// The command `check` or another command. Such a command can run on a machine without the secret files.
    Check,
}

/// All settings of the bridge.
#[derive(Clone, Debug)]
pub struct Config {
    pub profile: Profile,
    pub sources_dir: PathBuf,
    pub schemas_dir: PathBuf,
    pub ingress: IngressSettings,
    /// The default quotas of a source.
    pub quota: QuotaSettings,
    /// The default mass-change brake of a source.
    pub brake: BrakeSettings,
    /// The limits and rules of intake, which turns requests into entries.
    pub intake: IntakeSettings,
    /// The address of the listener for health, metrics and the admin API.
    pub ops_listen: SocketAddr,
    pub trusted_proxies: TrustedProxies,
    pub operators: Vec<OperatorFile>,
    pub audit_keys: AuditKeyFiles,
    pub outbox: OutboxSettings,
    pub imprint: ImprintSettings,
    pub dispatch: DispatchSettings,
    /// The name of this process in its notices, in its traces and in the console. Empty if it has no name.
    pub instance: String,
    /// The webhook for operators. `None` means that the bridge sends no notices.
    pub notices: Option<NoticeSettings>,
    /// The collector of traces. `None` means that the bridge exports no traces.
    pub traces: Option<TraceSettings>,
    pub confinement: ConfinementSettings,
    pub shutdown: ShutdownSettings,
    pub log: LogSettings,
    /// The names of the environment variables of all settings.
    pub variables: BTreeSet<String>,
}

/// The settings of the shutdown. The file `config/default.toml` describes each setting.
#[derive(Clone, Copy, Debug)]
pub struct ShutdownSettings {
    pub lag: Duration,
    pub drain: Duration,
}

/// The settings of the log. The file `config/default.toml` describes each setting.
#[derive(Clone, Debug)]
pub struct LogSettings {
    pub format: LogFormat,
    pub filter: String,
}

impl Config {
    /// Reads settings from three kinds of layers, in this order: the defaults, the settings files in the given order,
    /// and the environment. A later layer overrides the earlier layers.
    ///
    /// # Errors
    /// Returns every error of every layer of settings.
    pub fn read(files: &[PathBuf], purpose: Purpose) -> Result<Self, Vec<SettingError>> {
        valid(Self::read_all(files, None, purpose))
    }

    /// Reads settings like [`Config::read`]. If the settings have only errors that leave all values readable, also
    /// returns the settings, so that the caller can find the errors of other files too.
    ///
    /// The profile in `profile` overrides all layers.
    pub fn read_all(
        files: &[PathBuf],
        profile: Option<Profile>,
        purpose: Purpose,
    ) -> (Option<Self>, Vec<SettingError>) {
        let name = environment::variable(&["profile"]);
        let variables = std::env::vars_os();
        let variables =
            variables.filter(|(known, _)| profile.is_none() || !known.eq_ignore_ascii_case(&name));
        let profile = profile.map(|profile| (OsString::from(&name), profile.as_str().into()));
        match Variables::take(variables.chain(profile)) {
            Ok(variables) => Self::from_layers(files, &variables, purpose),
            Err(errors) => (None, errors),
        }
    }

    /// Reads the defaults and the settings files, but not the environment. The demo uses this function. Otherwise an
    /// environment variable could make the demo send its events to the real Imprint.
    ///
    /// # Errors
    /// Returns every error of every layer of settings.
    pub fn read_apart(files: &[PathBuf], purpose: Purpose) -> Result<Self, Vec<SettingError>> {
        valid(Self::from_layers(files, &Variables::default(), purpose))
    }

    fn from_layers(
        files: &[PathBuf],
        variables: &Variables,
        purpose: Purpose,
    ) -> (Option<Self>, Vec<SettingError>) {
        let settings = match merged(files, variables) {
            Ok(settings) => settings,
            Err(error) => return (None, vec![error]),
        };
        let mut reader = Reader::new("", settings);
        misplaced::report_sources(&mut reader);
        let config = Self::take(&mut reader, purpose).map(|config| Self {
            variables: environment::variables(reader.known()),
            ..config
        });
        let mut errors = variables.misspelt(reader.known());
        errors.extend(reader.finish());
        (config, errors)
    }

    /// Reads every section before it returns `None` for a wrong setting, so that the reader collects all errors.
    fn take(reader: &mut Reader, purpose: Purpose) -> Option<Self> {
        let profile = reader.take(&["profile"], |raw| {
            raw.word(&[
                ("local", Profile::Local),
                ("production", Profile::Production),
            ])
        });
        let sources_dir = reader.take(&["sources_dir"], path);
        let schemas_dir = reader.take(&["schemas_dir"], path);
        let ingress = ingress::take(reader);
        let body_bytes_max = ingress.map(|ingress| ingress.limits.body_bytes_max);
        let quota = QuotaSettings::take(reader, body_bytes_max);
        let brake = BrakeSettings::take(reader, profile);
        let ops_listen = reader.take(&["ops", "listen"], listen);
        if let (Some(ingress), Some(ops)) = (&ingress, &ops_listen)
            && ingress.listen == *ops
            && ops.port() != 0
        {
            reader.error(&["ops", "listen"], "must differ from ingress.listen");
        }
        let trusted_proxies = reader.take(&["ops", "trusted_proxies"], trusted_proxies);
        let operators = operators::take(reader, profile, purpose);
        let audit_keys = audit_keys::take(reader, profile, purpose);
        let outbox = outbox::take(reader, profile);
        let imprint = imprint::take(reader, profile, purpose);
        let clearing = imprint.as_ref().map(|imprint| imprint.clearing);
        let intake = intake::take(reader, clearing);
        let dispatch = dispatch::take(reader, clearing);
        let instance = notices::take_instance(reader);
        let notices = notices::take(reader, profile);
        let traces = traces::take(reader, profile);
        let confinement = confinement::take(reader);
        let shutdown = take_shutdown(reader);
        let log = take_log(reader);
        Some(Self {
            profile: profile?,
            sources_dir: sources_dir?,
            schemas_dir: schemas_dir?,
            ingress: ingress?,
            quota: quota?,
            brake: brake?,
            intake: intake?,
            ops_listen: ops_listen?,
            trusted_proxies: trusted_proxies?,
            operators: operators?,
            audit_keys: audit_keys?,
            outbox: outbox?,
            imprint: imprint?,
            dispatch: dispatch?,
            instance,
            notices,
            traces,
            confinement: confinement?,
            shutdown: shutdown?,
            log: log?,
            variables: BTreeSet::new(),
        })
    }
}

/// Merges the layers of settings.
fn merged(files: &[PathBuf], variables: &Variables) -> Result<Value, SettingError> {
    let environment = Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .try_parsing(false)
        .source(Some(variables.settings()));
    let mut layers =
        config::Config::builder().add_source(File::from_str(DEFAULT, FileFormat::Toml));
    for file in files {
        // A file that cannot be read gets an error of its own, with its path.
        read_file(file)?;
        layers = layers.add_source(File::from(file.as_path()).format(FileFormat::Toml));
    }
    // `collect` keeps the origin of each value, the file or the variable. `try_deserialize` would lose the origin.
    let settings = layers
        .add_source(environment)
        .build()
        .and_then(|layers| layers.collect());
    let settings = settings.map_err(|error| SettingError {
        origin: "settings".to_owned(),
        key: String::new(),
        reason: error.to_string(),
    })?;
    Ok(Value::new(None, ValueKind::Table(settings)))
}

/// Returns the configuration if there are no errors.
fn valid(
    (config, errors): (Option<Config>, Vec<SettingError>),
) -> Result<Config, Vec<SettingError>> {
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        Some(_) | None => Err(errors),
    }
}

fn trusted_proxies(raw: Raw) -> Result<TrustedProxies, String> {
    let networks = raw.texts()?.into_iter().map(|text| text.parse());
    networks.collect::<Result<_, _>>().map(TrustedProxies::new)
}

fn take_shutdown(reader: &mut Reader) -> Option<ShutdownSettings> {
    let lag = reader.take(&["shutdown", "lag"], |raw| {
        raw.duration(Duration::ZERO, SHUTDOWN_MAX)
    });
    let drain = reader.take(&["shutdown", "drain"], |raw| {
        raw.duration(Duration::ZERO, SHUTDOWN_MAX)
    });
    let shutdown = ShutdownSettings {
        lag: lag?,
        drain: drain?,
    };
    if shutdown.lag + shutdown.drain > SHUTDOWN_MAX {
        reader.error(
            &["shutdown"],
            format!("lag plus drain must be at most {SHUTDOWN_MAX:?}"),
        );
    }
    Some(shutdown)
}

fn take_log(reader: &mut Reader) -> Option<LogSettings> {
    let format = reader.take(&["log", "format"], |raw| {
        raw.word(&[("text", LogFormat::Text), ("json", LogFormat::Json)])
    });
    let filter = reader.take(&["log", "filter"], |raw| {
        let filter = raw.text()?;
        telemetry::check_filter(&filter).map(|()| filter)
    });
    Some(LogSettings {
        format: format?,
        filter: filter?,
    })
}

fn path(raw: Raw) -> Result<PathBuf, String> {
    raw.text().map(PathBuf::from)
}

fn listen(raw: Raw) -> Result<SocketAddr, String> {
    let text = raw.text();
    let text = text.map_err(|_not_a_text| format!("must be {} in quotes", listen_address::FORM))?;
    listen_address::parse(&text)
}

/// Reads only one TOML file, without the defaults and without the environment. Returns also the size of the file.
fn read_file(path: &Path) -> Result<(Value, String), SettingError> {
    let error = |reason| SettingError {
        origin: absolute(path),
        key: String::new(),
        reason,
    };
    let content = regular_file::read(path, SOURCE_FILE_BYTES_MAX);
    let content = content.map_err(|reason| error(reason.to_string()))?;
    let content = text_file::text(content).map_err(|reason| error(reason.to_owned()))?;
    let settings = text_file::parse(&content).map_err(error)?;
    Ok((settings, content))
}

/// Formats a path as an absolute path, because a relative path depends on the working directory of the bridge.
fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path);
    absolute.as_deref().unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imprint::clearing::{AddressClearing, Clearing, FieldClearing};
    use crate::intake::ForeignAddress;

    /// Checks the result of reading the default settings, the given file and the given environment variables.
    fn check(
        file: &str,
        variables: &[(&str, &str)],
        purpose: Purpose,
    ) -> Result<Config, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overlay.toml");
        std::fs::write(&path, file).unwrap();
        let variables = variables
            .iter()
            .map(|(name, value)| (format!("{PREFIX}__{name}"), (*value).to_owned()));
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let variables = Variables::take(variables).unwrap();
        let config = valid(Config::from_layers(&[path], &variables, purpose));
        config.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_defaults_are_valid() {
        let config = check("", &[], Purpose::Check).unwrap();
        assert_eq!(
            (config.profile, config.dispatch.rules.max_fold),
            (Profile::Local, 100)
        );
        assert_eq!(
            config.imprint.rate,
            crate::dispatch::pace::Rate::PerSecond(20.0)
        );
        assert_eq!(config.outbox.place.file(), Some(Path::new("outbox.db")));
    }

    #[test]
    fn clearing_and_foreign_address_policies_are_words() {
        let words = |fields: &str, address: &str, foreign: &str| {
            let variables = [
                ("IMPRINT__CLEARING", fields),
                ("IMPRINT__ADDRESS_CLEARING", address),
                ("IMPRINT__FOREIGN_ADDRESS", foreign),
            ];
            check("", &variables, Purpose::Check)
        };
        let plain = check("", &[], Purpose::Check).unwrap();
        assert_eq!(plain.imprint.clearing, Clearing::default());
        assert_eq!(plain.intake.foreign_address, ForeignAddress::Park);
        for (fields, address, clearing) in [
            (
                "null",
                "empty",
                Clearing {
                    fields: FieldClearing::Null,
                    address: AddressClearing::Empty,
                },
            ),
            (
                "empty",
                "omit",
                Clearing {
                    fields: FieldClearing::Empty,
                    address: AddressClearing::Omit,
                },
            ),
        ] {
            let config = words(fields, address, "skip").unwrap();
            assert_eq!(config.imprint.clearing, clearing);
            assert_eq!(config.dispatch.rules.clearing, clearing);
            assert_eq!(config.intake.foreign_address, ForeignAddress::Skip);
        }
        let errors = words("verify", "null", "send").unwrap_err();
        let keys = ["clearing", "address_clearing", "foreign_address"];
        assert_eq!(errors.len(), keys.len(), "{errors:?}");
        for key in keys {
            let name = format!("imprint.{key}");
            assert!(
                errors.iter().any(|error| error.contains(&name)),
                "{errors:?}"
            );
        }
    }

    #[test]
    fn the_environment_overrides_a_file_and_a_file_overrides_the_defaults() {
        let file = "[imprint]\ndeadline = \"3s\"\nrate_per_second = 5\n";
        let variables = [
            ("IMPRINT__RATE_PER_SECOND", "0"),
            ("INGRESS__LISTEN", "127.0.0.1:0"),
            ("DISPATCH__MAX_FOLD", "1"),
            ("IMPRINT__HOST_ALLOW", "a.example.com, b.example.com"),
            ("OUTBOX__URL", "sqlite:///var/lib/outbox.db"),
        ];
        let config = check(file, &variables, Purpose::Check).unwrap();
        assert_eq!(config.imprint.deadline, Duration::from_secs(3));
        assert_eq!(config.imprint.rate, crate::dispatch::pace::Rate::Unlimited);
        assert_eq!(
            (config.ingress.listen.port(), config.dispatch.rules.max_fold),
            (0, 1)
        );
        assert_eq!(config.outbox.place.to_string(), "/var/lib/outbox.db");
    }

    /// FAULTS K01, K03, K04
    #[test]
    fn every_error_is_reported_with_its_file_or_variable() {
        let file = "profil = \"local\"\n[ingress]\nlisten = \"here\"\nbatch_max = 0\n[shutdown]\nlag = \"20s\"\ndrain = \"20s\"\n";
        let variables = [
            ("IMPRINT__CONCURRENCY", "many"),
            ("IMPRINT__BASE_URL", "http://imprint.example.com"),
            ("OPS__LISTN", "127.0.0.1:1"),
        ];
        let errors = check(file, &variables, Purpose::Serve).unwrap_err();
        let expected = [
            "imprint.key_file: is required",
            "shutdown: lag plus drain must be at most",
            "overlay.toml: ingress.batch_max: must be a whole number from 1 to 1000",
            "overlay.toml: ingress.listen: must be an IP address and a port",
            "overlay.toml: profil: unknown setting; did you mean profile?",
            "environment variable IMPRINT_BRIDGE__IMPRINT__BASE_URL: imprint.base_url: must be https",
            "environment variable IMPRINT_BRIDGE__IMPRINT__CONCURRENCY: imprint.concurrency: must be a whole number from 1 to 4096",
            "environment variable IMPRINT_BRIDGE__OPS__LISTN: ops.listn: unknown setting; did you mean ops.listen?",
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for expected in expected {
            assert!(
                errors.iter().any(|error| error.contains(expected)),
                "{expected} in {errors:#?}"
            );
        }
    }

    #[test]
    fn a_duration_has_a_unit_or_is_in_seconds() {
        let deadline = |text| {
            check("", &[("IMPRINT__DEADLINE", text)], Purpose::Check).map(|c| c.imprint.deadline)
        };
        for (text, millis) in [
            ("250ms", 250),
            ("2s", 2000),
            ("2", 2000),
            ("0.5", 500),
            ("1m", 60_000),
        ] {
            assert_eq!(deadline(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "soon", "-1s", "0", "1h", "1ms"] {
            assert!(deadline(text).is_err(), "{text}");
        }
    }
}
