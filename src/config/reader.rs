//! Reads settings one by one and collects all errors, so that the bridge can report all mistakes in a file at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use config::{Value, ValueKind};

/// One error in the settings, with the origin and the key of the wrong setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingError {
    /// The settings file or the environment variable that contains the setting. Empty if the setting is missing
    /// everywhere.
    pub origin: String,
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
        if origin.is_empty() {
            write!(f, "{key}: {reason}")
        } else {
            write!(f, "{origin}: {key}: {reason}")
        }
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
    errors: Vec<SettingError>,
}

impl Reader {
    /// Creates a reader for the settings in the root table `settings`.
    pub(super) fn new(origin: &str, settings: Value) -> Self {
        let mut values = BTreeMap::new();
        flatten(Vec::new(), settings, &mut values);
        Self {
            origin: origin.to_owned(),
            values,
            errors: Vec::new(),
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
            self.error(place, "is required");
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
    pub(super) fn keys(&self, place: &[&str]) -> BTreeSet<String> {
        let place = owned(place);
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
        let (inside, outside) = std::mem::take(&mut self.values)
            .into_iter()
            .partition(|(key, _)| key.starts_with(&place));
        self.values = outside;
        let inside: BTreeMap<KeyPath, Value> = inside;
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

    /// Returns whether the reader has found an error up to now.
    pub(super) const fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Returns all collected errors, and an error for each unknown setting.
    pub(super) fn finish(mut self) -> Vec<SettingError> {
        for (place, value) in std::mem::take(&mut self.values) {
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            let origin = value.origin().map(str::to_owned);
            self.errors
                .push(self.locate(&place, origin, "unknown setting".to_owned()));
        }
        self.errors.sort();
        self.errors
    }

    fn remove(&mut self, place: &[&str]) -> Option<Value> {
        self.values.remove(&owned(place))
    }

    fn locate(&self, place: &[&str], origin: Option<String>, reason: String) -> SettingError {
        SettingError {
            origin: origin.unwrap_or_else(|| self.origin.clone()),
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
        let range = || format!("must be a whole number from {least} to {most}");
        let number = self.0.into_uint().map_err(|_unreadable| range())?;
        if (least..=most).contains(&number) {
            Ok(number)
        } else {
            Err(range())
        }
    }

    /// Parses a setting like [`Raw::whole`], but returns a `usize`.
    pub(super) fn count(self, least: u64, most: u64) -> Result<usize, String> {
        usize::try_from(self.whole(least, most)?)
            .map_err(|_large| "is too large for this machine".to_owned())
    }

    /// Parses a setting that is a number from `least` to `most`.
    pub(super) fn number(self, least: f64, most: f64) -> Result<f64, String> {
        let number = self
            .0
            .into_float()
            .ok()
            .filter(|number| (least..=most).contains(number));
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

    /// Parses a setting that is a list of strings. In an environment variable, commas separate the strings.
    pub(super) fn texts(self) -> Result<Vec<String>, String> {
        if let ValueKind::Array(values) = self.0.kind {
            return values.into_iter().map(|value| Self(value).text()).collect();
        }
        let text = self
            .text()
            .map_err(|_not_a_text| "must be a list of strings".to_owned())?;
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
            let words: Vec<String> = words
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            format!("must be {}", words.join(" or "))
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
