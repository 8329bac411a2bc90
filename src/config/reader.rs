//! Reads settings one by one and collects all errors, so that the bridge can report all mistakes in a file at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use config::{Value, ValueKind};

use self::unknown::KnownSettings;

mod misspelt;
mod raw;
mod unknown;

pub(super) use raw::Raw;

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

    /// Returns the number of settings that no caller has taken, with the items of lists.
    pub(super) fn settings(&self) -> usize {
        let values = self.values.values();
        let count = values.map(|value| {
            if let ValueKind::Array(items) = &value.kind {
                items.len().saturating_add(1)
            } else {
                1
            }
        });
        count.fold(0, usize::saturating_add)
    }

    /// Lists the keys directly below `place`.
    pub(super) fn keys(&mut self, place: &[&str]) -> BTreeSet<String> {
        let place = owned(place);
        self.known.tables.insert(place.clone());
        let below = self.below(&place);
        below
            .filter_map(|(key, _)| key.get(place.len()))
            .cloned()
            .collect()
    }

    /// Removes all settings below `place`, and returns them by key. A key is the part of the key path after `place`,
    /// joined with dots.
    pub(super) fn take_all(&mut self, place: &[&str]) -> BTreeMap<String, Raw> {
        let place = owned(place);
        self.known.tables.insert(place.clone());
        let inside = self.remove_below(&place);
        self.known
            .settings
            .extend(inside.iter().map(|(key, _)| key.clone()));
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

    /// Returns the text of the setting at `place`, and does not remove the setting.
    pub(super) fn text_at(&self, place: &[&str]) -> Option<&str> {
        let ValueKind::String(text) = &self.values.get(&owned(place))?.kind else {
            return None;
        };
        Some(text)
    }

    /// Returns whether a setting is at `place` or below it.
    pub(super) fn has(&self, place: &[&str]) -> bool {
        self.below(&owned(place)).next().is_some()
    }

    /// Returns whether a caller has taken a setting or a table at `place`.
    pub(super) fn knows(&self, place: &[&str]) -> bool {
        self.known.settings.contains(&owned(place))
    }

    /// Removes all settings below `place` without an error. The caller has reported the error that makes these settings
    /// meaningless.
    pub(super) fn forget(&mut self, place: &[&str]) {
        drop(self.remove_below(&owned(place)));
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

    /// Returns the settings at `place` and below it. The map is ordered by key path, so the function visits no other
    /// setting: a file can have thousands of tables, and the bridge reads them one by one.
    fn below<'r>(&'r self, place: &'r KeyPath) -> impl Iterator<Item = (&'r KeyPath, &'r Value)> {
        let from_place = self.values.range(place.clone()..);
        from_place.take_while(move |(key, _)| key.starts_with(place))
    }

    fn remove_below(&mut self, place: &KeyPath) -> Vec<(KeyPath, Value)> {
        let keys: Vec<KeyPath> = self.below(place).map(|(key, _)| key.clone()).collect();
        let removed = keys.into_iter().filter_map(|key| {
            let value = self.values.remove(&key)?;
            Some((key, value))
        });
        removed.collect()
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
