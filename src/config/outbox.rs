//! The section `[outbox]`: the settings of the store.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Raw, Reader};
use super::store_place::StorePlace;
use super::{Profile, sealing_keys, secret, secret_path};

/// The minimum of a retention setting. A sender that repeats an event within this time must get the answer `duplicate`.
const RETAIN_MIN: Duration = Duration::from_mins(1);
/// The maximum of a retention setting: about ten years.
const RETAIN_MAX: Duration = Duration::from_hours(24 * 3660);
/// The maximum of `outbox.intake_max`. A million events of 1 KiB take about 1 GiB of memory.
const INTAKE_MAX: u64 = 1_000_000;

/// The settings of the store. The file `config/default.toml` describes each setting.
#[derive(Clone, Debug)]
pub struct OutboxSettings {
    pub place: StorePlace,
    /// The file with the password of the database. `None` means that the database asks for no password.
    pub password_file: Option<PathBuf>,
    /// The file with the root certificates of the database. `None` means the public root certificates.
    pub ca_file: Option<PathBuf>,
    /// The directory of the sealing keys. `None` means that the store is not sealed.
    pub keys_dir: Option<PathBuf>,
    /// The erasure journal. `None` means that a restore of an older backup brings erased customers back.
    pub erasure_journal: Option<PathBuf>,
    pub intake_max: usize,
    pub retain_receipt: Duration,
    pub retain_parked: Duration,
    pub retain_idle_customer: Duration,
}

/// Reads the section `[outbox]`. With the profile `production`, the store must be sealed, because it contains personal data.
pub(super) fn take(reader: &mut Reader, profile: Option<Profile>) -> Option<OutboxSettings> {
    let place = reader.take(&["outbox", "url"], |raw| {
        StorePlace::parse(&raw.text()?, profile)
    });
    let password_file = reader.take_optional(&["outbox", "password_file"], secret_path::take);
    let ca_file = reader.take_optional(&["outbox", "ca_file"], secret_path::take);
    let exposed = password_file.as_deref();
    if let Some(reason) = exposed.and_then(|file| secret::exposure(file, profile)) {
        reader.error(&["outbox", "password_file"], reason);
    }
    let keys_dir = reader.take_optional(&["outbox", "keys_dir"], secret_path::take);
    if profile == Some(Profile::Production) && keys_dir.is_none() {
        reader.error(
            &["outbox", "keys_dir"],
            "is required with the profile \"production\": the store contains personal data",
        );
    }
    for file in sealing_keys::files(keys_dir.as_deref()) {
        if let Some(reason) = secret::exposure(&file, profile) {
            reader.error(&["outbox", "keys_dir"], reason);
        }
    }
    let erasure_journal = reader.take_optional(&["outbox", "erasure_journal"], super::path);
    let intake_max = reader.take(&["outbox", "intake_max"], |raw| raw.count(1, INTAKE_MAX));
    let mut retain = |key| {
        reader.take(&["outbox", key], |raw: Raw| {
            raw.duration(RETAIN_MIN, RETAIN_MAX)
        })
    };
    let (retain_receipt, retain_parked) = (retain("retain_receipt"), retain("retain_parked"));
    let retain_idle_customer = retain("retain_idle_customer");
    Some(OutboxSettings {
        place: place?,
        password_file,
        ca_file,
        keys_dir,
        erasure_journal,
        intake_max: intake_max?,
        retain_receipt: retain_receipt?,
        retain_parked: retain_parked?,
        retain_idle_customer: retain_idle_customer?,
    })
}
