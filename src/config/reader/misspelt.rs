//! Leaves out the errors that only follow from another error of the same file.

use std::collections::{BTreeMap, BTreeSet};

use config::{Value, ValueKind};

use super::{Raw, Reader, spell_path};

impl Reader {
    /// Drops the error of a missing setting if one of its places has a setting with an error.
    pub(super) fn drop_answered(&mut self) {
        let wrong: BTreeSet<&str> = self.errors.iter().map(|error| error.key.as_str()).collect();
        self.missing.retain(|missing| {
            let mut places = missing.places.iter();
            !places.any(|place| wrong.contains(spell_path(place).as_str()))
        });
    }

    /// Finds names with dots that the author wrote without quotes. Returns the key paths of the tables of these names.
    ///
    /// `place` is a table of the file with a name of the author's choice. `settings` are places inside each such table.
    /// Such a setting deeper inside `place` belongs to a table whose name goes on after the last key of `place`. `free` is a
    /// place inside the table whose keys are names of the author's choice, too.
    pub(in crate::config) fn names_without_quotes(
        &self,
        place: &[&str],
        (settings, free): (&[&[&str]], &[&str]),
    ) -> BTreeSet<Vec<String>> {
        let place: Vec<String> = place.iter().map(|&key| key.to_owned()).collect();
        let below = self.below(&place);
        let below = below.filter_map(|(key, _)| key.strip_prefix(place.as_slice()));
        let below = below.filter(|rest| !rest.iter().take(free.len()).eq(free.iter()));
        let rest_of_name = |rest: &[String]| {
            let is_end = |setting: &&&[&str]| {
                let start = rest.len().checked_sub(setting.len());
                let end = start.and_then(|start| rest.get(start..));
                end.is_some_and(|end| end.iter().eq(setting.iter()))
            };
            let setting = settings.iter().find(is_end)?;
            let name = rest.get(..rest.len().checked_sub(setting.len())?)?;
            (!name.is_empty()).then(|| [&place, name].concat())
        };
        below.filter_map(rest_of_name).collect()
    }

    /// Lists the key paths of the settings below `table`, without the path of the table.
    pub(in crate::config) fn places_in(&self, table: &[&str]) -> Vec<Vec<String>> {
        let table: Vec<String> = table.iter().map(|&key| key.to_owned()).collect();
        let below = self.below(&table);
        let inside = below.filter_map(|(place, _)| place.strip_prefix(table.as_slice()));
        inside.map(<[String]>::to_vec).collect()
    }

    /// Moves the setting at `from` to its own place, unless this place has a value. Removes the setting if its place is
    /// unknown.
    pub(in crate::config) fn move_setting(&mut self, from: &[&str], to: Option<&[&str]>) {
        let owned = |place: &[&str]| place.iter().map(|&key| key.to_owned()).collect();
        let from: Vec<String> = owned(from);
        let value = self.values.remove(&from);
        if let (Some(value), Some(to)) = (value, to) {
            self.values.entry(owned(to)).or_insert(value);
        }
    }

    /// Moves the settings below `table` whose names satisfy the condition into the table `into` inside `table`. The name of a
    /// setting is its key path after `table`, joined with dots. Returns the names.
    pub(in crate::config) fn move_into(
        &mut self,
        table: &[&str],
        into: &str,
        is_misplaced: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let table: Vec<String> = table.iter().map(|&key| key.to_owned()).collect();
        let named = |place: &[String]| place.get(table.len()..).unwrap_or_default().join(".");
        let below = self.below(&table).map(|(place, _)| place.clone());
        let misplaced: Vec<Vec<String>> =
            below.filter(|place| is_misplaced(&named(place))).collect();
        let mut names = Vec::new();
        for place in misplaced {
            let Some(value) = self.values.remove(&place) else {
                continue;
            };
            names.push(named(&place));
            let inside = place.get(table.len()..).unwrap_or_default();
            let moved = [&table, [into.to_owned()].as_slice(), inside].concat();
            self.values.entry(moved).or_insert(value);
        }
        names
    }

    /// Reports a table that belongs elsewhere, with the origin of its first setting, and forgets its settings.
    pub(in crate::config) fn report_table(&mut self, place: &[&str], reason: &str) {
        let below: Vec<String> = place.iter().map(|&key| key.to_owned()).collect();
        let Some((_, first)) = self.below(&below).next() else {
            return;
        };
        let origin = first.origin().map(str::to_owned);
        let error = self.locate(place, origin, reason.to_owned());
        self.errors.push(error);
        self.forget(place);
    }

    /// Moves the lists whose keys are inside a table by mistake to the top level: TOML reads each key after the header of a
    /// table as a key of this table. Adds an error for each such list.
    ///
    /// `keys` are the keys of lists at the top level. A key is no mistake at one of the places in `own`.
    pub(in crate::config) fn take_misplaced(&mut self, keys: &[&str], own: &[&[&str]]) {
        let is_own = |place: &[String]| own.iter().any(|own| place.iter().eq(own.iter()));
        let is_misplaced = |(place, value): &(&Vec<String>, &Value)| {
            let is_key = place.last().is_some_and(|key| keys.contains(&key.as_str()));
            let is_list = matches!(value.kind, ValueKind::Array(_));
            place.len() > 1 && is_key && is_list && !is_own(place)
        };
        let misplaced = self.values.iter().filter(is_misplaced);
        let misplaced: Vec<Vec<String>> = misplaced.map(|(place, _)| place.clone()).collect();
        for place in misplaced {
            let (Some(value), Some((key, table))) =
                (self.values.remove(&place), place.split_last())
            else {
                continue;
            };
            let reason = format!(
                "is inside the table [{}]: write `{key}` before the first table of the file",
                spell_path(table)
            );
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            self.error(&place, reason);
            self.values.entry(vec![key.clone()]).or_insert(value);
        }
    }

    /// Finds tables below a misspelt name. An error about each use of such a table would only follow from the error about
    /// the name.
    ///
    /// Returns the tables of texts that are directly below an unknown top-level name, and removes nothing. `known` has the
    /// top-level names that can contain tables of texts.
    pub(in crate::config) fn tables_elsewhere(
        &self,
        known: &[&str],
    ) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut tables: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (place, value) in &self.values {
            if let [top, table, row @ ..] = place.as_slice()
                && !known.contains(&top.as_str())
                && !row.is_empty()
                && let Ok(text) = Raw(value.clone()).text()
            {
                let rows = tables.entry(table.clone()).or_default();
                rows.insert(row.join("."), text);
            }
        }
        tables
    }
}
