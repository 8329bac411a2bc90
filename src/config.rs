//! Configuration: the only reader of files, of the environment and of secrets.
//!
//! What comes out is made of domain types: whoever has a [`Config`] has one that holds. Every fault is found at once,
//! with the file or variable it stands in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Environment, File, FileFormat, Source as _, Value, ValueKind};

use self::reader::{Raw, Reader};
mod base_url;
mod dispatch;
mod imprint;
mod operators;
mod reader;
pub mod secret;
pub mod sources;

pub use base_url::BaseUrl;
pub use dispatch::DispatchSettings;
pub use imprint::{ImprintEnvironment, ImprintSettings};
pub use operators::OperatorFile;
pub use reader::SettingError;

use crate::telemetry::LogFormat;

/// The defaults, built in.
const DEFAULT: &str = include_str!("../config/default.toml");
/// What every variable starts with.
const PREFIX: &str = "IMPRINT_BRIDGE";
/// The longest any deadline may be set to: longer than this, nobody is there any more.
const DEADLINE_MAX: Duration = Duration::from_secs(300);
/// The shortest any deadline may be set to.
const DEADLINE_MIN: Duration = Duration::from_millis(50);
/// What ended is remembered for a minute at least, so that a sender who repeats at once is recognised.
const RETAIN_MIN: Duration = Duration::from_mins(1);
/// Ten years; nobody has to remember longer.
const RETAIN_MAX: Duration = Duration::from_hours(24 * 3660);
/// Kubernetes kills after 30 s unless told otherwise: lag and drain together stay below it.
const SHUTDOWN_MAX: Duration = Duration::from_secs(28);

/// What the bridge is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A developer's machine.
    Local,
    /// Real customers.
    Production,
}

/// What the configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To run: secrets must be named and readable.
    Serve,
    /// To be looked over, perhaps on a machine without the secrets.
    Check,
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the bridge is run for.
    pub profile: Profile,
    /// Where the sources are.
    pub sources_dir: PathBuf,
    /// Where their schemas are.
    pub schemas_dir: PathBuf,
    /// The listener for events.
    pub ingress: IngressSettings,
    /// The listener for health, metrics and administration.
    pub ops_listen: SocketAddr,
    /// Who may administrate.
    pub operators: Vec<OperatorFile>,
    /// The store.
    pub outbox: OutboxSettings,
    /// The destination.
    pub imprint: ImprintSettings,
    /// How it is sent to.
    pub dispatch: DispatchSettings,
    /// How the process ends.
    pub shutdown: ShutdownSettings,
    /// What is logged.
    pub log: LogSettings,
}

/// The listener for events; see `config/default.toml` for each.
#[derive(Clone, Copy, Debug)]
#[expect(
    missing_docs,
    reason = "config/default.toml is where they are described, once"
)]
pub struct IngressSettings {
    pub listen: SocketAddr,
    pub workers: usize,
    pub body_bytes_max: usize,
    pub body_deadline: Duration,
    pub head_deadline: Duration,
    pub keep_alive: Duration,
    pub batch_max: usize,
    pub connections_max: usize,
    pub version_ahead_max: Duration,
}

/// The store; see `config/default.toml` for each.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "config/default.toml is where they are described, once"
)]
pub struct OutboxSettings {
    pub path: PathBuf,
    pub intake_max: usize,
    pub retain_receipt: Duration,
    pub retain_parked: Duration,
}

/// How the process ends; see `config/default.toml` for each.
#[derive(Clone, Copy, Debug)]
#[expect(
    missing_docs,
    reason = "config/default.toml is where they are described, once"
)]
pub struct ShutdownSettings {
    pub lag: Duration,
    pub drain: Duration,
}

/// What is logged; see `config/default.toml` for each.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "config/default.toml is where they are described, once"
)]
pub struct LogSettings {
    pub format: LogFormat,
    pub filter: String,
}

impl Config {
    /// Reads the defaults, `files` in their order, and the environment.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn read(files: &[PathBuf], purpose: Purpose) -> Result<Self, Vec<SettingError>> {
        Self::from_layers(files, Environment::with_prefix(PREFIX), purpose)
    }

    /// Reads the defaults and `files`, and nothing of the environment: what the demo sends must not go to the host
    /// that somebody's shell happens to name.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn read_apart(files: &[PathBuf], purpose: Purpose) -> Result<Self, Vec<SettingError>> {
        let nothing = Environment::default().source(Some(config::Map::new()));
        Self::from_layers(files, nothing, purpose)
    }

    fn from_layers(
        files: &[PathBuf],
        environment: Environment,
        purpose: Purpose,
    ) -> Result<Self, Vec<SettingError>> {
        let environment = environment
            .prefix_separator("__")
            .separator("__")
            .try_parsing(false);
        let mut layers =
            config::Config::builder().add_source(File::from_str(DEFAULT, FileFormat::Toml));
        for file in files {
            layers = layers.add_source(File::from(file.as_path()).format(FileFormat::Toml));
        }
        // `collect` and not `try_deserialize`: only what is collected still knows where it came from.
        let settings = layers
            .add_source(environment)
            .build()
            .and_then(|layers| layers.collect());
        let settings = settings.map_err(|error| vec![unreadable("configuration", &error)])?;
        let settings = Value::new(None, ValueKind::Table(settings));
        let mut reader = Reader::new("", settings);
        let config = Self::take(&mut reader, purpose);
        let faults = reader.finish();
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            Some(_) | None => Err(faults),
        }
    }

    /// Takes every section before it gives up on one, so that all faults are found.
    fn take(reader: &mut Reader, purpose: Purpose) -> Option<Self> {
        let profile = reader.take(&["profile"], |raw| {
            raw.word(&[
                ("local", Profile::Local),
                ("production", Profile::Production),
            ])
        });
        let sources_dir = reader.take(&["sources_dir"], path);
        let schemas_dir = reader.take(&["schemas_dir"], path);
        let ingress = take_ingress(reader);
        let ops_listen = reader.take(&["ops", "listen"], listen);
        let operators = operators::take(reader, purpose);
        let outbox = take_outbox(reader);
        let imprint = imprint::take(reader, profile, purpose);
        let clearing = imprint.as_ref().map(|imprint| imprint.clearing);
        let dispatch = dispatch::take(reader, clearing);
        let shutdown = take_shutdown(reader);
        let format = reader.take(&["log", "format"], |raw| {
            raw.word(&[("text", LogFormat::Text), ("json", LogFormat::Json)])
        });
        let filter = reader.take(&["log", "filter"], Raw::text);
        Some(Self {
            profile: profile?,
            sources_dir: sources_dir?,
            schemas_dir: schemas_dir?,
            ingress: ingress?,
            ops_listen: ops_listen?,
            operators: operators?,
            outbox: outbox?,
            imprint: imprint?,
            dispatch: dispatch?,
            shutdown: shutdown?,
            log: LogSettings {
                format: format?,
                filter: filter?,
            },
        })
    }
}

fn take_ingress(reader: &mut Reader) -> Option<IngressSettings> {
    let mut take_duration =
        |key, least, most| reader.take(&["ingress", key], |raw| raw.duration(least, most));
    let body_deadline = take_duration("body_deadline", DEADLINE_MIN, DEADLINE_MAX);
    let head_deadline = take_duration("head_deadline", DEADLINE_MIN, DEADLINE_MAX);
    let keep_alive = take_duration(
        "keep_alive",
        Duration::from_secs(1),
        Duration::from_hours(1),
    );
    let version_ahead_max = take_duration(
        "version_ahead_max",
        Duration::ZERO,
        Duration::from_hours(24),
    );
    let mut take_count =
        |key, least, most| reader.take(&["ingress", key], |raw| raw.count(least, most));
    let workers = take_count("workers", 0, 256);
    let body_bytes_max = take_count("body_bytes_max", 1024, 16 * 1024 * 1024);
    let batch_max = take_count("batch_max", 1, 1000);
    let connections_max = take_count("connections_max", 1, 1_000_000);
    let listen = reader.take(&["ingress", "listen"], listen);
    Some(IngressSettings {
        listen: listen?,
        workers: workers?,
        body_bytes_max: body_bytes_max?,
        body_deadline: body_deadline?,
        head_deadline: head_deadline?,
        keep_alive: keep_alive?,
        batch_max: batch_max?,
        connections_max: connections_max?,
        version_ahead_max: version_ahead_max?,
    })
}

fn take_outbox(reader: &mut Reader) -> Option<OutboxSettings> {
    let store = reader.take(&["outbox", "url"], |raw| {
        let url = raw.text()?;
        let path = url.strip_prefix("sqlite:").filter(|path| !path.is_empty());
        // `sqlite:///var/x` and `sqlite:/var/x` name the same file.
        let path = path.map(|path| path.strip_prefix("//").unwrap_or(path));
        path.map(PathBuf::from)
            .ok_or_else(|| "must be \"sqlite:PATH\"".to_owned())
    });
    let intake_max = reader.take(&["outbox", "intake_max"], |raw| raw.count(1, 1_000_000));
    let mut retain =
        |key| reader.take(&["outbox", key], |raw| raw.duration(RETAIN_MIN, RETAIN_MAX));
    let (retain_receipt, retain_parked) = (retain("retain_receipt"), retain("retain_parked"));
    Some(OutboxSettings {
        path: store?,
        intake_max: intake_max?,
        retain_receipt: retain_receipt?,
        retain_parked: retain_parked?,
    })
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
        reader.fault(
            &["shutdown"],
            format!("lag and drain together must stay within {SHUTDOWN_MAX:?}"),
        );
    }
    Some(shutdown)
}

fn path(raw: Raw) -> Result<PathBuf, String> {
    raw.text().map(PathBuf::from)
}

fn listen(raw: Raw) -> Result<SocketAddr, String> {
    raw.parsed("an address and a port, such as 127.0.0.1:8080")
}

/// The fault of a file that cannot be read at all.
fn unreadable(origin: &str, error: &config::ConfigError) -> SettingError {
    SettingError {
        origin: origin.to_owned(),
        key: "file".to_owned(),
        reason: error.to_string(),
    }
}

/// Reads one TOML file by itself.
fn read_file(path: &Path) -> Result<Value, SettingError> {
    let table = File::from(path).format(FileFormat::Toml).collect();
    let table = table.map_err(|error| unreadable(&path.display().to_string(), &error))?;
    Ok(Value::new(None, ValueKind::Table(table)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imprint::clearing::{AddressClearing, Clearing, FieldClearing};
    use crate::mapping::ForeignAddress;

    /// Reads the defaults with these variables and this file over them.
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
        let environment = Environment::with_prefix(PREFIX).source(Some(variables.collect()));
        let config = Config::from_layers(&[path], environment, purpose);
        config.map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_defaults_hold() {
        let config = check("", &[], Purpose::Check).unwrap();
        assert_eq!(
            (config.profile, config.dispatch.rules.max_fold),
            (Profile::Local, 100)
        );
        assert_eq!(
            config.imprint.rate,
            crate::dispatch::pace::Rate::PerSecond(20.0)
        );
        assert_eq!(config.outbox.path, PathBuf::from("outbox.db"));
    }

    #[test]
    fn what_clears_a_field_and_what_becomes_of_an_address_abroad_are_words() {
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
        assert_eq!(plain.imprint.foreign_address, ForeignAddress::Park);
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
            assert_eq!(config.imprint.foreign_address, ForeignAddress::Skip);
        }
        let faults = words("verify", "null", "send").unwrap_err();
        let keys = ["clearing", "address_clearing", "foreign_address"];
        assert_eq!(faults.len(), keys.len(), "{faults:?}");
        for key in keys {
            let name = format!("imprint.{key}");
            assert!(
                faults.iter().any(|fault| fault.contains(&name)),
                "{faults:?}"
            );
        }
    }

    #[test]
    fn the_environment_wins_over_a_file_and_a_file_over_the_defaults() {
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
        assert_eq!(config.outbox.path, PathBuf::from("/var/lib/outbox.db"));
    }

    /// K01, K03, K04: all at once, each with the file or the variable it stands in.
    #[test]
    fn every_fault_is_told_with_its_place() {
        let file = "profil = \"local\"\n[ingress]\nlisten = \"here\"\nbatch_max = 0\n[shutdown]\nlag = \"20s\"\ndrain = \"20s\"\n";
        let variables = [
            ("IMPRINT__CONCURRENCY", "many"),
            ("IMPRINT__BASE_URL", "http://imprint.example.com"),
            ("OPS__LISTN", "127.0.0.1:1"),
        ];
        let faults = check(file, &variables, Purpose::Serve).unwrap_err();
        let expected = [
            "imprint.key_file: is required",
            "shutdown: lag and drain together must stay within",
            "overlay.toml: ingress.batch_max: must be a whole number from 1 to 1000",
            "overlay.toml: ingress.listen: must be an address and a port",
            "overlay.toml: profil: is not a key of this program",
            "the environment: imprint.base_url: must be https",
            "the environment: imprint.concurrency: must be a whole number from 1 to 4096",
            "the environment: ops.listn: is not a key of this program",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for expected in expected {
            assert!(
                faults.iter().any(|fault| fault.contains(expected)),
                "{expected} in {faults:#?}"
            );
        }
    }

    #[test]
    fn a_duration_is_written_with_its_unit_or_in_seconds() {
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
