//! The errors about settings that the bridge does not know. One misspelt name causes one error: the error of the missing
//! setting that the author meant is left out.

use std::collections::BTreeSet;

use super::{KeyPath, spell_path};
use crate::spelling;

/// The maximum number of names that an error lists. A longer list hides the other errors.
const LISTED_NAMES_MAX: usize = 12;

/// Names of settings in other systems, each with the settings in the same table that have this meaning.
const OTHER_NAMES: [(&[&str], &[&str]); 8] = [
    (
        &["customer_id", "contact_id", "external_id"],
        &["customer.partner_id", "customer.imprint_id"],
    ),
    (&["timeout", "request_timeout"], &["deadline"]),
    (&["level", "log_level"], &["filter", "log.filter"]),
    (&["rust_log", "loglevel"], &["log.filter"]),
    (&["url", "host", "endpoint"], &["base_url"]),
    (&["port", "listen", "bind"], &["listen", "ingress.listen"]),
    (&["store", "database", "storage", "db"], &["outbox"]),
    (&["clearing"], &["imprint.clearing"]),
];

/// Names of settings that would contain a secret.
const SECRETS: [&str; 9] = [
    "api_key",
    "apikey",
    "key",
    "password",
    "secret",
    "secrets",
    "signing_secret",
    "token",
    "tokens",
];
/// The names of settings with the paths of secret files.
const SECRET_FILES: [&str; 5] = [
    "key_file",
    "password_files",
    "secret_file",
    "secret_files",
    "token_files",
];
/// The beginning of the name of each environment variable of the bridge.
const VARIABLE: &str = "IMPRINT_BRIDGE__";

/// The settings and tables that the bridge knows.
#[derive(Debug, Default)]
pub(super) struct KnownSettings {
    pub(super) settings: BTreeSet<KeyPath>,
    /// The tables whose keys are names of the author's choice.
    pub(super) tables: BTreeSet<KeyPath>,
}

/// A setting or a table that the bridge does not know.
#[derive(Debug)]
pub(super) struct UnknownSetting {
    pub(super) place: KeyPath,
    pub(super) reason: String,
    /// The places that the author probably meant. A table stands for all settings below it.
    meant: Vec<KeyPath>,
    /// The last keys of the settings in the unknown table.
    keys: BTreeSet<String>,
}

impl UnknownSetting {
    /// Returns whether the author probably meant one of the settings at `places`, of which one is necessary.
    pub(super) fn explains(&self, places: &[KeyPath]) -> bool {
        let is_moved = |place: &KeyPath| place.last().is_some_and(|key| self.keys.contains(key));
        let is_meant = |place: &KeyPath| self.meant.iter().any(|meant| place.starts_with(meant));
        // The error lists all names of the table, so it lists the necessary ones.
        let parent = self.place.split_last().map(|(_, parent)| parent);
        let is_beside = |place: &KeyPath| place.split_last().map(|(_, parent)| parent) == parent;
        places
            .iter()
            .any(|place| is_meant(place) || is_moved(place))
            || (places.len() > 1 && places.iter().all(is_beside))
    }
}

impl KnownSettings {
    /// Returns the place of the error about a setting that is left: the outermost unknown table around the setting, or
    /// the setting itself.
    pub(super) fn outermost_unknown(&self, place: &KeyPath) -> KeyPath {
        let ends = 1..=place.len();
        let unknown = ends.filter_map(|end| place.get(..end));
        let mut unknown = unknown.filter(|start| !self.is_table(start));
        unknown.next().unwrap_or(place).to_vec()
    }

    /// Describes the unknown setting or table at `place`. `inside` has the places of the settings in the unknown table.
    pub(super) fn describe(&self, place: KeyPath, inside: &[KeyPath]) -> UnknownSetting {
        let keys = inside.iter().filter(|inside| inside.len() > place.len());
        let keys: BTreeSet<String> = keys.filter_map(|inside| inside.last().cloned()).collect();
        let (reason, meant) = self.reason(&place, inside);
        UnknownSetting {
            place,
            reason,
            meant,
            keys,
        }
    }

    fn reason(&self, place: &KeyPath, inside: &[KeyPath]) -> (String, Vec<KeyPath>) {
        let Some((name, parent)) = place.split_last() else {
            return ("unknown setting".to_owned(), Vec::new());
        };
        if self.is_table(place) {
            let names = self.names_in(place);
            let reason = format!("must be a table with {}", listed(&names));
            return (reason, vec![place.clone()]);
        }
        let is_table = inside.iter().any(|inside| inside.len() > place.len());
        let is_index = |inside: &KeyPath| {
            let index = inside.get(place.len());
            index.is_some_and(|index| index.parse::<u32>().is_ok())
        };
        if self.settings.contains(place) && inside.iter().any(is_index) {
            let reason = "must be one setting without a number after its name; in an environment variable, a list has commas between the texts, such as a,b".to_owned();
            return (reason, vec![place.clone()]);
        }
        if self.settings.contains(place) {
            let reason = "must be a single value, not a table".to_owned();
            return (reason, vec![place.clone()]);
        }
        if let Some(quoted) = self.name_with_dots(place, inside) {
            let reason = format!("unknown table; write a name with dots in quotes: {quoted}");
            return (reason, Vec::new());
        }
        // The name has the right letters and the wrong separators, such as `outbox_url`.
        let has_same_letters =
            |known: &&KeyPath| spelling::has_same_letters(&place.join("."), &known.join("."));
        if !is_table && let Some(meant) = self.settings.iter().find(has_same_letters) {
            let reason = format!("unknown setting; did you mean {}?", spell_path(meant));
            return (reason, vec![meant.clone()]);
        }
        let kind = if is_table { "table" } else { "setting" };
        let names = self.names_in(parent);
        if let Some(answer) = self.other_place(place, &names) {
            return answer;
        }
        let meant = self.other_name(name, parent);
        if let Some(meant) = meant.or_else(|| longer_names(name, parent, &names)) {
            let places: Vec<String> = meant.iter().map(|place| spell_path(place)).collect();
            let reason = format!("unknown {kind}; did you mean {}?", places.join(" or "));
            return (reason, meant);
        }
        if let Some(nearest) = spelling::nearest(name, names.iter().copied()) {
            let meant: KeyPath = parent.iter().cloned().chain([nearest.to_owned()]).collect();
            let reason = format!("unknown {kind}; did you mean {}?", spell_path(&meant));
            return (reason, vec![meant]);
        }
        let elsewhere = self.elsewhere(name, parent, is_table);
        if !elsewhere.is_empty() {
            let places: Vec<String> = elsewhere.iter().map(|place| spell_path(place)).collect();
            let reason = format!("unknown {kind}; did you mean {}?", places.join(" or "));
            return (reason, elsewhere);
        }
        (no_such_name(kind, parent, &names), Vec::new())
    }

    /// Returns the error of a name that belongs to another place: a secret into a file, the name of a variable into the
    /// environment, or a setting before the first table.
    fn other_place(
        &self,
        place: &KeyPath,
        names: &BTreeSet<&str>,
    ) -> Option<(String, Vec<KeyPath>)> {
        let (name, parent) = place.split_last()?;
        if let Some(variable) = name.strip_prefix(VARIABLE) {
            let meant: KeyPath = variable
                .to_lowercase()
                .split("__")
                .map(str::to_owned)
                .collect();
            let reason = format!(
                "unknown setting: this is the name of an environment variable; in a file, the setting is {}",
                spell_path(&meant)
            );
            return Some((reason, vec![meant]));
        }
        let top = [name.clone()];
        if !parent.is_empty() && self.settings.contains(top.as_slice()) {
            let reason = format!(
                "is inside the table [{}]: write `{name}` before the first table of the file",
                spell_path(parent)
            );
            return Some((reason, vec![top.to_vec()]));
        }
        let is_file = |known: &&&str| SECRET_FILES.contains(known);
        let file = names.iter().find(is_file)?;
        if !SECRETS.contains(&name.as_str()) {
            return None;
        }
        let meant: KeyPath = parent.iter().cloned().chain([(*file).to_owned()]).collect();
        let reason = format!(
            "unknown setting; did you mean {}? The bridge reads a secret only from a file: write the secret into a file, and the path of the file here",
            spell_path(&meant)
        );
        Some((reason, vec![meant]))
    }

    /// Returns the known settings for which other systems use this name.
    fn other_name(&self, name: &str, parent: &[String]) -> Option<Vec<KeyPath>> {
        let mut rows = OTHER_NAMES.iter();
        let (_, places) = rows.find(|(known, _)| known.contains(&name))?;
        let meant = places.iter().map(|place| -> KeyPath {
            let place = place.split('.').map(str::to_owned);
            parent.iter().cloned().chain(place).collect()
        });
        let meant: Vec<KeyPath> = meant
            .filter(|place| self.settings.contains(place) || self.is_table(place))
            .collect();
        (!meant.is_empty()).then_some(meant)
    }

    /// Returns the known settings or tables with this name in other tables: in the same table of the top level, or anywhere
    /// if the name stands at the top level or directly in an event type.
    fn elsewhere(&self, name: &String, parent: &[String], is_table: bool) -> Vec<KeyPath> {
        let known: Vec<&KeyPath> = if is_table {
            let is_free = |table: &&KeyPath| table.len() > 1 && parent.is_empty();
            self.tables.iter().filter(is_free).collect()
        } else {
            self.settings.iter().collect()
        };
        let named = known.into_iter().filter(|known| known.last() == Some(name));
        let named: Vec<KeyPath> = named.cloned().collect();
        let is_near = |known: &&KeyPath| parent.is_empty() || known.first() == parent.first();
        let near: Vec<KeyPath> = named.iter().filter(is_near).cloned().collect();
        let is_event_type = parent.len() == 2;
        if near.is_empty() && is_event_type && !is_table {
            return named;
        }
        near
    }

    /// Returns the header of the table at `place` with quotes, if the author wrote the name of a table with dots.
    fn name_with_dots(&self, place: &[String], inside: &[KeyPath]) -> Option<String> {
        let (_, parent) = place.split_last()?;
        let (_, outer) = parent.split_last()?;
        if !self.tables.contains(outer) {
            return None;
        }
        // The unknown table has a setting that belongs directly into the table of the first part of the name.
        let name = inside.iter().find_map(|inside| {
            let ends = (place.len()..inside.len()).rev();
            ends.filter_map(|end| inside.split_at_checked(end))
                .find_map(|(name, rest)| {
                    let known: KeyPath = parent.iter().chain(rest).cloned().collect();
                    let name = name.get(outer.len()..)?;
                    // `customer_history.address.country` in a misspelt table `update` ends like the setting `address.country`.
                    let is_direct = rest.len() == 1 && self.settings.contains(&known);
                    is_direct.then(|| name.join("."))
                })
        });
        Some(format!("[{}.\"{}\"]", spell_path(outer), name?))
    }

    /// Returns whether settings or free names are below `place`.
    fn is_table(&self, place: &[String]) -> bool {
        let is_above = |known: &KeyPath| known.len() > place.len() && known.starts_with(place);
        self.tables.contains(place) || self.settings.iter().chain(&self.tables).any(is_above)
    }

    /// Lists the names of the settings and tables directly below `place`.
    fn names_in(&self, place: &[String]) -> BTreeSet<&str> {
        let known = self.settings.iter().chain(&self.tables);
        let inside = known.filter(|known| known.starts_with(place));
        inside
            .filter_map(|known| known.get(place.len()).map(String::as_str))
            .collect()
    }
}

/// Returns the places of the names that go on after an underscore, such as `unknown_customer` for `unknown`, if there are several.
fn longer_names(name: &str, parent: &[String], names: &BTreeSet<&str>) -> Option<Vec<KeyPath>> {
    let start = format!("{name}_");
    let longer = names.iter().filter(|known| known.starts_with(&start));
    let place = |known: &&str| [parent, &[(*known).to_owned()]].concat();
    let places: Vec<KeyPath> = longer.map(place).collect();
    (places.len() > 1).then_some(places)
}

/// Returns the error of a name that is similar to no other, with the names that the table can have.
fn no_such_name(kind: &str, parent: &[String], names: &BTreeSet<&str>) -> String {
    match names.len() {
        0 => format!("unknown {kind}"),
        count if count > LISTED_NAMES_MAX => format!("unknown {kind}"),
        _ if parent.is_empty() => {
            format!("unknown {kind}; the file can have {}", listed(names))
        }
        _ => format!(
            "unknown {kind}; {} can have {}",
            spell_path(parent),
            listed(names)
        ),
    }
}

fn listed(names: &BTreeSet<&str>) -> String {
    let names: Vec<&str> = names.iter().copied().collect();
    names.join(", ")
}
