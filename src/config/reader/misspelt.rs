//! Leaves out the errors that only follow from another error of the same file.

use std::collections::{BTreeMap, BTreeSet};

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
