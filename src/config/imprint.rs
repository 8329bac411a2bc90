//! The section `[imprint]`: the address of Imprint, the API key, and the limits for requests to Imprint.

use std::path::PathBuf;
use std::time::Duration;

use super::base_url::AllowedHost;
use super::egress::{self, EgressSettings};
use super::reader::{Raw, Reader};
use super::{BaseUrl, DEADLINE_MAX, DEADLINE_MIN, Profile, Purpose, secret, secret_path};
use crate::dispatch::pace::Rate;
use crate::imprint::ImprintId;
use crate::imprint::clearing::{AddressClearing, Clearing, FieldClearing};
use crate::imprint::client::KeyScheme;
use crate::outbox::IN_FLIGHT_MAX;

/// The lowest value of `rate_per_second`, except 0, which means no limit. The value is about four requests per hour.
const RATE_MIN: f64 = 0.001;

/// The highest value of `rate_per_second`. One bridge sends fewer requests per second, even without a limit.
const RATE_MAX: f64 = 100_000.0;

/// The kind of server at `imprint.base_url`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImprintEnvironment {
    /// The simulated Imprint of the bridge's command `sandbox`, on this machine.
    Local,
    /// Imprint's sandbox environment.
    Sandbox,
    /// Imprint's production environment.
    Production,
}

/// The settings for requests to Imprint. The file `config/default.toml` describes each setting.
#[derive(Clone, Debug)]
pub struct ImprintSettings {
    pub base_url: BaseUrl,
    pub environment: ImprintEnvironment,
    pub key_file: Option<PathBuf>,
    /// The file with the API key that a rotation replaces. The bridge uses it until the key in `key_file` works.
    pub previous_key_file: Option<PathBuf>,
    pub merchant_key_file: Option<PathBuf>,
    pub scheme: KeyScheme,
    pub rate: Rate,
    pub concurrency: usize,
    pub deadline: Duration,
    pub ca_file: Option<PathBuf>,
    pub egress: EgressSettings,
    pub clearing: Clearing,
    /// The id of a customer who always exists at Imprint. If Imprint answers that another customer does not exist, the
    /// bridge retrieves the customer with this id, to check whether such answers are true.
    pub canary_id: Option<ImprintId>,
}

impl ImprintSettings {
    /// Returns the environment and the host of Imprint as one text.
    ///
    /// A store belongs to one environment and one host, so that the bridge never sends an entry to a server for which
    /// it did not accept the entry. The text has no port, because the port of a sandbox on this machine can change.
    pub fn destination(&self) -> String {
        let environment = match self.environment {
            ImprintEnvironment::Local => "local",
            ImprintEnvironment::Sandbox => "sandbox",
            ImprintEnvironment::Production => "production",
        };
        format!("{environment} {}", self.base_url.host())
    }
}

/// Reads the section `[imprint]`.
pub(super) fn take(
    reader: &mut Reader,
    profile: Option<Profile>,
    purpose: Purpose,
) -> Option<ImprintSettings> {
    let environment = reader.take(&["imprint", "environment"], |raw| {
        raw.word(&[
            ("local", ImprintEnvironment::Local),
            ("sandbox", ImprintEnvironment::Sandbox),
            ("production", ImprintEnvironment::Production),
        ])
    });
    let host_allow = reader.take(&["imprint", "host_allow"], |raw| {
        let hosts = raw.texts()?.into_iter();
        hosts
            .map(|host| AllowedHost::parse(&host))
            .collect::<Result<Vec<_>, _>>()
    });
    let base_url = reader.take(&["imprint", "base_url"], |raw| BaseUrl::parse(&raw.text()?));
    if let (Some(profile), Some(environment), Some(host_allow), Some(base_url)) =
        (profile, environment, &host_allow, &base_url)
        && let Err(reason) = base_url.fits(profile, environment, host_allow)
    {
        reader.error(&["imprint", "base_url"], reason);
    }
    let [key_file, previous_key_file, merchant_key_file] = take_key_files(reader, profile, purpose);
    let ca_file = reader.take_optional(&["imprint", "ca_file"], secret_path::take);
    let egress = egress::take(reader, profile, base_url.as_ref());
    let scheme = reader.take(&["imprint", "auth"], |raw| {
        raw.word(&[("bearer", KeyScheme::Bearer), ("basic", KeyScheme::Basic)])
    });
    let rate = reader.take(&["imprint", "rate_per_second"], parse_rate);
    let concurrency = reader.take(&["imprint", "concurrency"], |raw| {
        raw.count(1, u64::try_from(IN_FLIGHT_MAX).unwrap_or(u64::MAX))
    });
    let deadline = reader.take(&["imprint", "deadline"], |raw| {
        raw.duration(DEADLINE_MIN, DEADLINE_MAX)
    });
    let clearing = take_clearing(reader);
    let canary_id = reader.take_optional(&["imprint", "canary_id"], |raw| {
        ImprintId::parse(&raw.text()?).map_err(|error| error.to_string())
    });
    Some(ImprintSettings {
        base_url: base_url?,
        environment: environment?,
        key_file,
        previous_key_file,
        merchant_key_file,
        scheme: scheme?,
        rate: rate?,
        concurrency: concurrency?,
        deadline: deadline?,
        ca_file,
        egress,
        clearing: clearing?,
        canary_id,
    })
}

/// Reads the paths of the files with the API key, the older API key and the merchant key. `serve` requires the API key,
/// and checks that all files are readable.
fn take_key_files(
    reader: &mut Reader,
    profile: Option<Profile>,
    purpose: Purpose,
) -> [Option<PathBuf>; 3] {
    let places = ["key_file", "previous_key_file", "merchant_key_file"];
    let places = places.map(|name| ["imprint", name]);
    let [key, previous_key, merchant_key] = &places;
    let files = match purpose {
        Purpose::Serve => [
            reader.take(key, required_secret_file),
            reader.take_optional(previous_key, secret_file),
            reader.take_optional(merchant_key, secret_file),
        ],
        Purpose::Check => [
            reader.take_optional(key, secret_path::take),
            reader.take_optional(previous_key, secret_path::take),
            reader.take_optional(merchant_key, secret_path::take),
        ],
    };
    for (place, file) in places.iter().zip(&files) {
        let exposed = file.as_deref();
        let exposed = exposed.and_then(|file| secret::exposure(file, profile));
        if let Some(reason) = exposed {
            reader.error(place, reason);
        }
    }
    files
}

fn parse_rate(raw: Raw) -> Result<Rate, String> {
    let rate = raw.number(0.0, RATE_MAX)?;
    if rate > 0.0 && rate < RATE_MIN {
        return Err(format!("must be 0 or at least {RATE_MIN}"));
    }
    Ok(if rate > 0.0 {
        Rate::PerSecond(rate)
    } else {
        Rate::Unlimited
    })
}

fn take_clearing(reader: &mut Reader) -> Option<Clearing> {
    let fields = reader.take(&["imprint", "clearing"], |raw| {
        raw.word(&[
            ("omit", FieldClearing::Omit),
            ("null", FieldClearing::Null),
            ("empty", FieldClearing::Empty),
        ])
    });
    let address = reader.take(&["imprint", "address_clearing"], |raw| {
        raw.word(&[
            ("verify", AddressClearing::Verify),
            ("empty", AddressClearing::Empty),
            ("omit", AddressClearing::Omit),
        ])
    });
    Some(Clearing {
        fields: fields?,
        address: address?,
    })
}

fn required_secret_file(raw: Raw) -> Result<PathBuf, String> {
    let path = secret_path::take(raw)?;
    if path.as_os_str().is_empty() {
        return Err("is required, and must name a readable file".to_owned());
    }
    secret::read(&path).map(|_secret| path)
}

fn secret_file(raw: Raw) -> Result<PathBuf, String> {
    let path = secret_path::take(raw)?;
    secret::read(&path).map(|_secret| path)
}
