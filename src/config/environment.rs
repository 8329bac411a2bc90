//! The environment variables that contain settings, and the variables whose names look like settings but are not read.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use super::Config;
use super::reader::SettingError;
use crate::spelling;

/// The prefix of every environment variable that contains a setting.
pub(super) const PREFIX: &str = "IMPRINT_BRIDGE";
/// The separator after the prefix, and between a section and a key.
pub(super) const SEPARATOR: &str = "__";

/// The error of a value that has its quotes. A shell removes them, and a file with variables does not.
const QUOTED: &str = "has quotes around its value, which are a part of the value: remove them, because docker --env-file and similar readers do not";

/// The name of a variable that would name the settings file.
const SETTINGS_FILE: &str = "IMPRINT_BRIDGE__CONFIG";
const NO_SETTINGS_FILE: &str =
    "is not the name of a setting: only the option --config FILE names the file with the settings";

const PROXY: &str =
    "imprint.proxy_url has the URL of the proxy for the requests to Imprint, and it is not set";

/// Names of variables that other systems use for a setting of the bridge, each with the option or the variable that has this
/// meaning.
const OTHER_NAMES: [(&str, &str); 14] = [
    ("ALL_PROXY", PROXY),
    ("HTTP_PROXY", PROXY),
    (
        "DATABASE_URL",
        "IMPRINT_BRIDGE__OUTBOX__URL has the URL of the database",
    ),
    (
        "IMPRINT_BRIDGE_CONFIG",
        "the option --config FILE names the file with the settings",
    ),
    (
        "IMPRINT_API_KEY",
        "IMPRINT_BRIDGE__IMPRINT__KEY_FILE names the file with the API key",
    ),
    (
        "IMPRINT_KEY",
        "IMPRINT_BRIDGE__IMPRINT__KEY_FILE names the file with the API key",
    ),
    (
        "IMPRINT_API_URL",
        "IMPRINT_BRIDGE__IMPRINT__BASE_URL has the URL of Imprint",
    ),
    (
        "IMPRINT_BASE_URL",
        "IMPRINT_BRIDGE__IMPRINT__BASE_URL has the URL of Imprint",
    ),
    (
        "IMPRINT_URL",
        "IMPRINT_BRIDGE__IMPRINT__BASE_URL has the URL of Imprint",
    ),
    ("HTTPS_PROXY", PROXY),
    (
        "LOG_LEVEL",
        "IMPRINT_BRIDGE__LOG__FILTER has the level of the log",
    ),
    (
        "NO_PROXY",
        "the bridge sends each request to Imprint through the proxy in imprint.proxy_url, if it is set",
    ),
    (
        "PORT",
        "IMPRINT_BRIDGE__INGRESS__LISTEN has the address and the port of the bridge",
    ),
    (
        "RUST_LOG",
        "IMPRINT_BRIDGE__LOG__FILTER has the level of the log",
    ),
];
/// The beginnings of the variables that tests of the bridge read.
const OF_TESTS: [&str; 4] = [
    "IMPRINT_BRIDGE_FAILPOINTS",
    "IMPRINT_BRIDGE_FUZZ_",
    "IMPRINT_BRIDGE_MUTANT",
    "IMPRINT_BRIDGE_TEST_",
];

/// The variables that some platforms always set, and the variables of the bridge with the same purpose.
const OF_PLATFORMS: [(&str, &str); 2] = [
    ("DATABASE_URL", "IMPRINT_BRIDGE__OUTBOX__URL"),
    ("PORT", "IMPRINT_BRIDGE__INGRESS__LISTEN"),
];

/// Returns whether the bridge reads another variable with the purpose of this one.
fn is_replaced(name: &str) -> bool {
    let mut known = OF_PLATFORMS.iter();
    known.any(|(other, own)| *other == name && std::env::var_os(own).is_some())
}

/// Returns a note about each variable of the process that looks like a setting and that the bridge does not read.
///
/// With a proxy in the settings, the proxy variables of other programs say nothing about the bridge.
pub fn unread_variables(config: &Config) -> Vec<String> {
    let has_proxy = config.imprint.egress.proxy.is_some();
    let is_proxy = |name: &str| has_proxy && name.to_ascii_uppercase().ends_with("_PROXY");
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let names = names.filter(|name| !is_proxy(name) && !is_replaced(name));
    let notes = names.filter_map(|name| unread_variable(&name, &config.variables));
    let mut notes: Vec<String> = notes.collect();
    notes.sort();
    notes
}

/// Returns the names of the environment variables of these settings.
pub(super) fn variables(settings: &BTreeSet<Vec<String>>) -> BTreeSet<String> {
    let variables = settings.iter().map(|place| {
        let place: Vec<&str> = place.iter().map(String::as_str).collect();
        variable(&place)
    });
    variables.collect()
}

/// `settings` has the names of the variables of all settings.
fn unread_variable(name: &str, settings: &BTreeSet<String>) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let with_prefix = format!("{PREFIX}{SEPARATOR}{upper}");
    if upper.contains(SEPARATOR) && settings.contains(&with_prefix) {
        return Some(format!(
            "the environment variable {name} is not read: write {with_prefix}"
        ));
    }
    let meant = OTHER_NAMES.iter().find(|(other, _)| *other == upper);
    if let Some((_, meant)) = meant {
        return Some(format!(
            "the environment variable {name} is not read: {meant}"
        ));
    }
    let is_test = OF_TESTS.iter().any(|start| upper.starts_with(start));
    let has_parts = upper.contains(SEPARATOR) || upper.contains('.');
    let names_us = upper.contains("IMPRINT") || upper.starts_with("BRIDGE_");
    let is_ours = upper.starts_with("IMPRINT_BRIDGE_") || names_us && has_parts;
    let is_ours = is_ours && !is_setting(name);
    (is_ours && !is_test && !is_of_kubernetes(name)).then(|| {
        format!(
            "the environment variable {name} is not read: the name of a setting begins with IMPRINT_BRIDGE__, such as IMPRINT_BRIDGE__PROFILE"
        )
    })
}

/// The environment variables of the process whose names and values are text.
#[derive(Debug, Default)]
pub(super) struct Variables(Vec<(String, String)>);

impl Variables {
    /// Takes the variables of the process.
    ///
    /// # Errors
    /// Returns an error for each variable with a setting that is not text.
    pub(super) fn take(
        all: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<SettingError>> {
        let mut variables = Vec::new();
        let mut errors = Vec::new();
        for (name, value) in all {
            // No setting has a name that is not text.
            let Ok(name) = name.into_string() else {
                continue;
            };
            if name.eq_ignore_ascii_case(SETTINGS_FILE) {
                errors.push(error(&name, NO_SETTINGS_FILE.to_owned()));
                continue;
            }
            if is_setting(&name) && !has_valid_key(&name) {
                errors.push(error(&name, "is not the name of a setting".to_owned()));
                continue;
            }
            match value.into_string() {
                Ok(value) if is_setting(&name) && is_quoted(&value) => {
                    errors.push(error(&name, QUOTED.to_owned()));
                }
                Ok(value) => variables.push((name, value)),
                Err(_not_text) if is_setting(&name) => {
                    errors.push(error(&name, "is not UTF-8 text".to_owned()));
                }
                Err(_not_text) => {}
            }
        }
        if errors.is_empty() {
            Ok(Self(variables))
        } else {
            Err(errors)
        }
    }

    /// Returns the variables that contain settings.
    pub(super) fn settings(&self) -> config::Map<String, String> {
        let settings = self.0.iter().filter(|(name, _)| is_setting(name));
        settings.cloned().collect()
    }

    /// Returns an error for each variable whose name is a misspelt name of a setting. The bridge would ignore such a
    /// variable.
    pub(super) fn misspelt(&self, settings: &BTreeSet<Vec<String>>) -> Vec<SettingError> {
        let variables = settings.iter().map(|place| {
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            (place.join("_"), variable(&place))
        });
        let variables: BTreeMap<String, String> = variables.collect();
        let names = self.0.iter().map(|(name, _)| name);
        let names = names.filter(|name| !is_setting(name) && !is_of_kubernetes(name));
        let errors = names.filter_map(|name| {
            let meant = meant(name, &variables)?;
            Some(error(name, format!("is not read; did you mean {meant}?")))
        });
        errors.collect()
    }
}

/// Returns the name of the environment variable for the setting at `place`.
pub(super) fn variable(place: &[&str]) -> String {
    let parts = [PREFIX].into_iter().chain(place.iter().copied());
    let parts: Vec<String> = parts.map(str::to_ascii_uppercase).collect();
    parts.join(SEPARATOR)
}

fn error(name: &str, reason: String) -> SettingError {
    SettingError {
        origin: format!("environment variable {name}"),
        key: String::new(),
        reason,
    }
}

/// Returns whether the bridge reads the variable as a setting. The letter case of the name does not matter.
fn is_setting(name: &str) -> bool {
    let rest = name.get(PREFIX.len()..).unwrap_or_default();
    rest.starts_with(SEPARATOR)
        && name
            .get(..PREFIX.len())
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
}

fn is_quoted(value: &str) -> bool {
    let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').is_some() || inner('\'').is_some()
}

/// Returns whether the parts of a variable's name can be keys of settings.
fn has_valid_key(name: &str) -> bool {
    let is_key = |key: &str| {
        !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    name.split(SEPARATOR).all(is_key)
}

/// Returns whether Kubernetes sets a variable of this name for a service whose name begins with `imprint-bridge`.
fn is_of_kubernetes(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.contains("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.contains("_PORT")
}

/// Returns the variable that the author of a variable probably meant. `variables` has the variable of each setting, by
/// the key of the setting with an underscore between its parts.
///
/// The comparison is strict, because a variable such as `IMPRINT_BRIDGE_VERSION` can belong to another program.
fn meant<'v>(name: &str, variables: &'v BTreeMap<String, String>) -> Option<&'v String> {
    let start = name.split_at_checked(PREFIX.len());
    let exact = start.filter(|(prefix, _)| prefix.eq_ignore_ascii_case(PREFIX));
    let (prefix, rest) = exact.or_else(|| name.split_once(SEPARATOR)).or(start)?;
    spelling::misspelt(prefix, [PREFIX])?;
    let key = spelling::misspelt(rest, variables.keys().map(String::as_str))?;
    variables.get(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1274
    #[test]
    fn a_variable_that_looks_like_a_setting_is_noted_and_no_other() {
        for (name, expected) in [
            ("IMPRINT_BRIDGE_CONFIG", Some("--config FILE")),
            ("RUST_LOG", Some("IMPRINT_BRIDGE__LOG__FILTER")),
            // FAULTS N1402
            ("PORT", Some("IMPRINT_BRIDGE__INGRESS__LISTEN")),
            ("DATABASE_URL", Some("IMPRINT_BRIDGE__OUTBOX__URL")),
            // FAULTS N1373
            ("HTTPS_PROXY", Some("imprint.proxy_url")),
            ("http_proxy", Some("imprint.proxy_url")),
            ("ALL_PROXY", Some("imprint.proxy_url")),
            ("no_proxy", Some("if it is set")),
            ("IMPRINT_API_KEY", Some("IMPRINT_BRIDGE__IMPRINT__KEY_FILE")),
            (
                "IMPRINT_BRIDGE_VERSION",
                Some("begins with IMPRINT_BRIDGE__"),
            ),
            ("IMPRINT_BRIDGE__PROFILE", None),
            ("IMPRINT_BRIDGE_SERVICE_HOST", None),
            ("IMPRINT_BRIDGE_PORT_8080_TCP", None),
            ("IMPRINT_BRIDGE_FAILPOINTS", None),
            // FAULTS N1295: another prefix than IMPRINT_BRIDGE__.
            ("IMPRINT__BASE_URL", Some("begins with IMPRINT_BRIDGE__")),
            (
                "BRIDGE__IMPRINT__BASE_URL",
                Some("begins with IMPRINT_BRIDGE__"),
            ),
            (
                "IB__IMPRINT__BASE_URL",
                Some("begins with IMPRINT_BRIDGE__"),
            ),
            (
                "IMPRINT_BRIDGE.IMPRINT.BASE_URL",
                Some("begins with IMPRINT_BRIDGE__"),
            ),
            ("BRIDGE_NAME", None),
            ("IMPRINT_LANE", None),
            ("PATH", None),
            // FAULTS N1409
            (
                "INGRESS__LISTEN",
                Some("write IMPRINT_BRIDGE__INGRESS__LISTEN"),
            ),
            ("ingress__listen", Some("IMPRINT_BRIDGE__INGRESS__LISTEN")),
            ("INGRESS__HOST", None),
            ("PROFILE", None),
        ] {
            let settings = ["ingress.listen", "profile"];
            let settings = settings.map(|key| key.split('.').map(str::to_owned).collect());
            let found = unread_variable(name, &variables(&BTreeSet::from(settings)));
            assert_eq!(found.is_some(), expected.is_some(), "{name}: {found:?}");
            let found = found.unwrap_or_default();
            assert!(
                found.contains(expected.unwrap_or_default()),
                "{name}: {found}"
            );
        }
    }

    #[test]
    fn a_misspelt_variable_is_reported_and_no_other() {
        let settings = [
            "profile",
            "outbox.url",
            "imprint.key_file",
            "ingress.version_ahead_max",
        ];
        let settings = settings
            .iter()
            .map(|key| key.split('.').map(str::to_owned).collect());
        let settings = settings.collect();
        for (name, expected) in [
            ("IMPRINT_BRIDGE_PROFILE", Some("IMPRINT_BRIDGE__PROFILE")),
            (
                "IMPRINT_BRIDGE_OUTBOX_URL",
                Some("IMPRINT_BRIDGE__OUTBOX__URL"),
            ),
            (
                "IMPRINT_BRIDGE_OUTBOX__URL",
                Some("IMPRINT_BRIDGE__OUTBOX__URL"),
            ),
            ("IMPRNT_BRIDGE__PROFILE", Some("IMPRINT_BRIDGE__PROFILE")),
            ("IMPRINTBRIDGE__PROFILE", Some("IMPRINT_BRIDGE__PROFILE")),
            ("IMPRINT-BRIDGE__PROFILE", Some("IMPRINT_BRIDGE__PROFILE")),
            (
                "IMPRINT_BRIDGE_IMPRINT_KEYFILE",
                Some("IMPRINT_BRIDGE__IMPRINT__KEY_FILE"),
            ),
            ("IMPRINT_BRIDGE__PROFILE", None),
            ("imprint_bridge__profile", None),
            ("IMPRINT_BRIDGE_VERSION", None),
            ("IMPRINT_BRIDGE_FAILPOINTS", None),
            ("IMPRINT_BRIDGE_SERVICE_HOST", None),
            ("IMPRINT_BRIDGE_PORT_8080_TCP", None),
            ("OTHER_BRIDGE__PROFILE", None),
            ("PROFILE", None),
            ("é", None),
        ] {
            let all = [(OsString::from(name), OsString::from("x"))];
            let found = Variables::take(all).unwrap().misspelt(&settings);
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            match expected {
                None => assert_eq!(found, Vec::<String>::new(), "{name}"),
                Some(meant) => {
                    let error =
                        format!("environment variable {name}: is not read; did you mean {meant}?");
                    assert_eq!(found, [error]);
                }
            }
        }
    }
}
