//! Reads settings one by one and collects all errors, so that the bridge can report all mistakes in a file at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use config::{Value, ValueKind};

use self::unknown::KnownSettings;
use crate::spelling;

mod misspelt;
mod unknown;

/// The origin of a value from an environment variable, as the crate `config` names the origin.
const ENVIRONMENT: &str = "the environment";

/// One error in the settings, with the origin and the key of the wrong setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingError {
    /// The settings file or the environment variable that contains the setting. Empty if the setting is missing
    /// everywhere.
    pub origin: String,
    /// The key of the setting. Empty if the error concerns the whole origin.
    pub key: String,
    pub reason: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            origin,
            key,
            reason,
        } = self;
        for part in [origin, key] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(reason)
    }
}

/// The path of keys to a setting: the outermost table first.
type KeyPath = Vec<String>;

/// A reader of settings by key path. `take` removes the setting that it reads. For each setting that is left, `finish`
/// reports the error "unknown setting".
#[derive(Debug)]
pub(super) struct Reader {
    /// The origin that an error about a missing setting shows.
    origin: String,
    values: BTreeMap<KeyPath, Value>,
    known: KnownSettings,
    errors: Vec<SettingError>,
    missing: Vec<MissingSetting>,
}

/// The error of a missing setting.
#[derive(Debug)]
struct MissingSetting {
    /// The places of which one needs a setting.
    places: Vec<KeyPath>,
    error: SettingError,
}

impl Reader {
    /// Creates a reader for the settings in the root table `settings`.
    pub(super) fn new(origin: &str, settings: Value) -> Self {
        let mut values = BTreeMap::new();
        flatten(Vec::new(), settings, &mut values);
        Self {
            origin: origin.to_owned(),
            values,
            known: KnownSettings::default(),
            errors: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Removes and parses the setting at `place`. If the setting is missing or not valid, collects an error and returns
    /// `None`.
    pub(super) fn take<T>(
        &mut self,
        place: &[&str],
        parse: impl FnOnce(Raw) -> Result<T, String>,
    ) -> Option<T> {
        let Some(value) = self.remove(place) else {
            self.missing(&[place], "is required");
            return None;
        };
        let origin = value.origin().map(str::to_owned);
        match parse(Raw(value)) {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                self.errors.push(self.locate(place, origin, reason));
                None
            }
        }
    }

    /// Like [`Reader::take`], but returns `None` without an error if the setting is missing or empty.
    pub(super) fn take_optional<T>(
        &mut self,
        place: &[&str],
        parse: impl FnOnce(Raw) -> Result<T, String>,
    ) -> Option<T> {
        let absent = self.values.get(&owned(place)).is_none_or(|value| {
            matches!(&value.kind, ValueKind::Nil)
                || matches!(&value.kind, ValueKind::String(text) if text.is_empty())
        });
        if absent {
            self.remove(place);
            return None;
        }
        self.take(place, parse)
    }

    /// Lists the keys directly below `place`.
    pub(super) fn keys(&mut self, place: &[&str]) -> BTreeSet<String> {
        let place = owned(place);
        self.known.tables.insert(place.clone());
        let below = self.values.keys().filter(|key| key.starts_with(&place));
        below
            .filter_map(|key| key.get(place.len()))
            .cloned()
            .collect()
    }

    /// Removes all settings below `place`, and returns them by key. A key is the part of the key path after `place`,
    /// joined with dots.
    pub(super) fn take_all(&mut self, place: &[&str]) -> BTreeMap<String, Raw> {
        let place = owned(place);
        self.known.tables.insert(place.clone());
        let (inside, outside) = std::mem::take(&mut self.values)
            .into_iter()
            .partition(|(key, _)| key.starts_with(&place));
        self.values = outside;
        let inside: BTreeMap<KeyPath, Value> = inside;
        self.known.settings.extend(inside.keys().cloned());
        inside
            .into_iter()
            .filter_map(|(key, value)| Some((key.get(place.len()..)?.join("."), Raw(value))))
            .collect()
    }

    /// Adds an error that the caller found in the setting at `place`.
    pub(super) fn error(&mut self, place: &[&str], reason: impl Into<String>) {
        let error = self.locate(place, None, reason.into());
        self.errors.push(error);
    }

    /// Adds the error that the settings at all of the given places are missing, and one of them is necessary. The reader
    /// leaves the error out if an unknown setting explains it.
    pub(super) fn missing(&mut self, places: &[&[&str]], reason: impl Into<String>) {
        let first = places.first().copied().unwrap_or_default();
        let error = self.locate(first, None, reason.into());
        let places: Vec<KeyPath> = places.iter().map(|place| owned(place)).collect();
        self.known.settings.extend(places.iter().cloned());
        self.missing.push(MissingSetting { places, error });
    }

    /// Returns whether a setting is at `place` or below it.
    pub(super) fn has(&self, place: &[&str]) -> bool {
        let place = owned(place);
        self.values.keys().any(|key| key.starts_with(&place))
    }

    /// Returns whether a caller has taken a setting or a table at `place`.
    pub(super) fn knows(&self, place: &[&str]) -> bool {
        self.known.settings.contains(&owned(place))
    }

    /// Removes all settings below `place` without an error. The caller has reported the error that makes these settings
    /// meaningless.
    pub(super) fn forget(&mut self, place: &[&str]) {
        let place = owned(place);
        self.values.retain(|key, _| !key.starts_with(&place));
    }

    /// Returns whether the reader has found an error up to now.
    pub(super) const fn has_errors(&self) -> bool {
        !self.errors.is_empty() || !self.missing.is_empty()
    }

    /// Returns the places of all settings that the callers have asked for.
    pub(super) const fn known(&self) -> &BTreeSet<KeyPath> {
        &self.known.settings
    }

    /// Returns all collected errors, and an error for each unknown setting.
    pub(super) fn finish(mut self) -> Vec<SettingError> {
        let mut unknown: BTreeMap<KeyPath, (Option<String>, Vec<KeyPath>)> = BTreeMap::new();
        for (place, value) in std::mem::take(&mut self.values) {
            let outermost = self.known.outermost_unknown(&place);
            let origin = value.origin().map(str::to_owned);
            let inside = unknown.entry(outermost).or_insert((origin, Vec::new()));
            inside.1.push(place);
        }
        for (place, (origin, inside)) in unknown {
            let unknown = self.known.describe(place, &inside);
            self.missing
                .retain(|missing| !unknown.explains(&missing.places));
            let place: Vec<&str> = unknown.place.iter().map(String::as_str).collect();
            let error = self.locate(&place, origin, unknown.reason);
            self.errors.push(error);
        }
        self.drop_answered();
        let missing = self.missing.into_iter().map(|missing| missing.error);
        self.errors.extend(missing);
        self.errors.sort();
        self.errors.dedup();
        self.errors
    }

    fn remove(&mut self, place: &[&str]) -> Option<Value> {
        let place = owned(place);
        let value = self.values.remove(&place);
        self.known.settings.insert(place);
        value
    }

    fn locate(&self, place: &[&str], origin: Option<String>, reason: String) -> SettingError {
        let origin = match origin {
            Some(origin) if origin == ENVIRONMENT => {
                format!(
                    "environment variable {}",
                    super::environment::variable(place)
                )
            }
            Some(origin) => origin,
            None => self.origin.clone(),
        };
        SettingError {
            origin,
            key: spell(place),
            reason,
        }
    }
}

/// The value of a setting before the bridge parses it.
#[derive(Debug)]
pub(super) struct Raw(Value);

impl Raw {
    pub(super) fn text(self) -> Result<String, String> {
        if let ValueKind::String(text) = self.0.kind {
            Ok(text)
        } else {
            Err("must be a string".to_owned())
        }
    }

    /// Parses a string setting into `T`, for example into an address.
    pub(super) fn parsed<T: FromStr>(self, what: &str) -> Result<T, String> {
        self.text()?
            .trim()
            .parse()
            .map_err(|_unreadable| format!("must be {what}"))
    }

    /// Parses a setting that is an integer from `least` to `most`.
    pub(super) fn whole(self, least: u64, most: u64) -> Result<u64, String> {
        let number = if self.is_truth() || matches!(self.0.kind, ValueKind::Float(_)) {
            None
        } else {
            self.0.into_uint().ok()
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
    }

    /// Parses a setting like [`Raw::whole`], but returns a `usize`.
    pub(super) fn count(self, least: u64, most: u64) -> Result<usize, String> {
        usize::try_from(self.whole(least, most)?)
            .map_err(|_large| "is too large for this machine".to_owned())
    }

    /// Parses a setting that is a number from `least` to `most`.
    pub(super) fn number(self, least: f64, most: f64) -> Result<f64, String> {
        let number = if self.is_truth() {
            None
        } else {
            self.0.into_float().ok()
        };
        let number = number.filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("must be a number from {least} to {most}"))
    }

    /// Parses a setting that is a duration such as `10s`. A number without a unit means seconds.
    pub(super) fn duration(self, least: Duration, most: Duration) -> Result<Duration, String> {
        let range = || format!("must be a duration such as \"10s\", from {least:?} to {most:?}");
        let text = self.0.into_string().map_err(|_unreadable| range())?;
        let seconds = text
            .parse()
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let friendly = || {
            text.parse::<jiff::SignedDuration>()
                .ok()
                .and_then(|span| Duration::try_from(span).ok())
        };
        let duration = seconds.or_else(friendly).ok_or_else(range)?;
        if (least..=most).contains(&duration) {
            Ok(duration)
        } else {
            Err(range())
        }
    }

    /// Returns whether the value is true or false. The crate `config` would read true as the number 1.
    const fn is_truth(&self) -> bool {
        matches!(self.0.kind, ValueKind::Boolean(_))
    }

    /// Parses a setting that is a list of strings. In an environment variable, commas separate the strings.
    pub(super) fn texts(self) -> Result<Vec<String>, String> {
        let not_a_list = |_not_a_text| "must be a list of strings".to_owned();
        if let ValueKind::Array(values) = self.0.kind {
            let texts = values.into_iter().map(|value| Self(value).text());
            return texts.collect::<Result<_, _>>().map_err(not_a_list);
        }
        let text = self.text().map_err(not_a_list)?;
        // A list in the notation of JSON or TOML would be one text with brackets and quotes.
        if text.trim_start().starts_with('[') {
            return Err(
                "must be a list without brackets and quotes, with a comma after each text, such as a,b"
                    .to_owned(),
            );
        }
        Ok(text
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect())
    }

    /// Parses a setting that is one of the given words.
    pub(super) fn word<T: Copy>(self, words: &[(&str, T)]) -> Result<T, String> {
        let text = self.text()?;
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, meaning)| *meaning);
        found.ok_or_else(|| {
            let words_known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let quoted: Vec<String> = words_known
                .iter()
                .map(|word| format!("\"{word}\""))
                .collect();
            let suggestion = spelling::suggestion(&text, words_known.iter().copied());
            format!("must be {}{suggestion}", quoted.join(" or "))
        })
    }
}

fn flatten(place: KeyPath, value: Value, values: &mut BTreeMap<KeyPath, Value>) {
    let ValueKind::Table(table) = value.kind else {
        values.insert(place, value);
        return;
    };
    for (key, value) in table {
        let mut place = place.clone();
        place.push(key);
        flatten(place, value, values);
    }
}

fn owned(place: &[&str]) -> KeyPath {
    place.iter().map(|&key| key.to_owned()).collect()
}

fn spell_path(place: &[String]) -> String {
    let place: Vec<&str> = place.iter().map(String::as_str).collect();
    spell(&place)
}

/// Formats a key path as in TOML, with quotes around a key that contains a dot.
fn spell(place: &[&str]) -> String {
    let spelled: Vec<String> = place
        .iter()
        .map(|key| {
            let bare = key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if bare {
                (*key).to_owned()
            } else {
                format!("\"{key}\"")
            }
        })
        .collect();
    spelled.join(".")
}
