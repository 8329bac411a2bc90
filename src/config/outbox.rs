//! The section `[outbox]`: the settings of the store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::{Raw, Reader};
use super::{Profile, sealing_keys, secret, secret_path};
use crate::outbox::{NAME_BYTES_MAX, is_reserved_name};

/// The minimum of a retention setting. A sender that repeats an event within this time must get the answer `duplicate`.
const RETAIN_MIN: Duration = Duration::from_mins(1);
/// The maximum of a retention setting: about ten years.
const RETAIN_MAX: Duration = Duration::from_hours(24 * 3660);
/// The maximum of `outbox.intake_max`. A million events of 1 KiB take about 1 GiB of memory.
const INTAKE_MAX: u64 = 1_000_000;

/// The maximum length of the path of the store. The system allows 4,095 bytes, also for the files beside the store.
const PATH_BYTES_MAX: usize = 3840;

/// The settings of the store. The file `config/default.toml` describes each setting.
#[derive(Clone, Debug)]
pub struct OutboxSettings {
    pub path: PathBuf,
    /// The directory of the sealing keys. `None` means that the store is not sealed.
    pub keys_dir: Option<PathBuf>,
    /// The erasure journal. `None` means that a restore of an older backup brings erased customers back.
    pub erasure_journal: Option<PathBuf>,
    pub intake_max: usize,
    pub retain_receipt: Duration,
    pub retain_parked: Duration,
}

/// Reads the section `[outbox]`. With the profile `production`, the store must be sealed, because it contains personal data.
pub(super) fn take(reader: &mut Reader, profile: Option<Profile>) -> Option<OutboxSettings> {
    let path = reader.take(&["outbox", "url"], |raw| store_path(&raw.text()?));
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
    Some(OutboxSettings {
        path: path?,
        keys_dir,
        erasure_journal,
        intake_max: intake_max?,
        retain_receipt: retain_receipt?,
        retain_parked: retain_parked?,
    })
}

/// Parses the setting `outbox.url`. The errors do not repeat the setting, because the URL of another database can contain
/// a password.
fn store_path(url: &str) -> Result<PathBuf, String> {
    let Some(path) = url.strip_prefix("sqlite:") else {
        let hint = if url.contains("://") {
            "; the bridge has no other store than SQLite"
        } else {
            ""
        };
        return Err(format!(
            "must be \"sqlite:PATH\", with the path of a file{hint}"
        ));
    };
    // `sqlite:///var/x` and `sqlite:/var/x` name the same file.
    let path = match path.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_host) => {
            return Err(
                "must have one slash after \"sqlite:\" for an absolute path (sqlite:/var/lib/outbox.db), and none for a relative path (sqlite:outbox.db)"
                    .to_owned(),
            );
        }
        None => path,
    };
    match misread(path) {
        Some(reason) => Err(reason.to_owned()),
        None => Ok(PathBuf::from(path)),
    }
}

/// Returns the reason why a path would name another file than its author expects.
fn misread(path: &str) -> Option<&'static str> {
    let is_encoded = |at: usize| {
        let digits = path.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    let name = Path::new(path).file_name().and_then(|name| name.to_str());
    if path.is_empty() {
        Some("must be \"sqlite:PATH\", with the path of a file")
    } else if path.contains(":memory:") || path.starts_with("file:") {
        Some("must be \"sqlite:PATH\", with the path of a file: a store in memory loses its events")
    } else if path.contains('?') || path.contains('#') {
        Some("must have no options after the path: the bridge sets all options of SQLite itself")
    } else if path.match_indices('%').any(|(at, _)| is_encoded(at)) {
        Some("must have a path without percent-encoding: write a space as a space, not as %20")
    } else if path.starts_with('~') || path.contains('$') {
        Some("must have a complete path: the bridge replaces neither ~ nor variables")
    } else if path.ends_with('/') || name.is_none() {
        Some("must name a file, not a folder")
    } else if is_reserved_name(path) || name.is_some_and(is_reserved_name) {
        Some(
            "must name another file: SQLite or the bridge gives this name or this ending a special meaning",
        )
    } else if name.is_some_and(|name| name.len() > NAME_BYTES_MAX) || path.len() > PATH_BYTES_MAX {
        Some(
            "must be shorter: the name of the file can have at most 225 bytes, because the files beside the store have longer names, and the whole path at most 3,840 bytes",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N420: a setting of the store that the bridge would not understand is an error.
    #[test]
    fn a_store_path_means_what_its_author_expects() {
        for (url, expected) in [
            ("sqlite:outbox.db", "outbox.db"),
            ("sqlite:/var/x.db", "/var/x.db"),
            ("sqlite:///var/x.db", "/var/x.db"),
            ("sqlite:./x y/100%.db", "./x y/100%.db"),
        ] {
            assert_eq!(store_path(url), Ok(PathBuf::from(expected)), "{url}");
        }
        for (url, cause) in [
            ("sqlite:x.db?mode=memory", "no options"),
            ("sqlite:x.db?cache=shared", "no options"),
            ("sqlite:x.db#a", "no options"),
            ("sqlite:a%20b.db", "percent-encoding"),
            ("sqlite://var/x.db", "one slash"),
            ("sqlite:~/x.db", "neither ~"),
            ("sqlite:$HOME/x.db", "nor variables"),
            ("sqlite::memory:", "in memory"),
            ("sqlite:file:x.db?mode=memory", "in memory"),
            ("sqlite:", "with the path of a file"),
            ("sqlite:/var/", "not a folder"),
            ("sqlite:..", "not a folder"),
            ("sqlite:x.db-wal", "special meaning"),
            ("postgres://user:secret@host/db", "no other store"),
            ("/var/x.db", "must be \"sqlite:PATH\""),
        ] {
            let reason = store_path(url).unwrap_err();
            assert!(reason.contains(cause), "{url}: {reason}");
            assert!(!reason.contains("secret"), "{reason}");
        }
    }
}
