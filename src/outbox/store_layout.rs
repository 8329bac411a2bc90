//! The layout of a store, and its differences from the layout that this program creates. This module is pure.

use std::collections::BTreeMap;

use super::Finding;

/// The definition of each part of a layout, by kind and name.
#[derive(Debug, Default)]
pub(super) struct StoreLayout(BTreeMap<(String, String), String>);

/// The differences of a layout.
#[derive(Debug, Default)]
pub(super) struct LayoutDifferences {
    /// The differences of the tables, columns and sequences, without which most statements fail.
    pub(super) tables: Vec<Finding>,
    /// The differences of the indexes, constraints and triggers.
    pub(super) others: Vec<Finding>,
    /// The process had no right to create the layout for the comparison.
    pub(super) are_unknown: bool,
}

impl StoreLayout {
    /// Adds a part.
    pub(super) fn add(&mut self, kind: String, name: String, definition: String) {
        self.0.insert((kind, name), definition);
    }

    /// Returns the definitions of the parts of a kind that a store lacks, by name.
    pub(super) fn missing<'a>(
        &'a self,
        wanted: &'a str,
        store: &'a Self,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let parts = self.0.iter().filter(move |(part, _)| part.0 == wanted);
        parts
            .filter(move |(part, _)| !store.0.contains_key(*part))
            .map(|((_, name), definition)| (name.as_str(), definition.as_str()))
    }

    /// Compares the layout of a store with this one. A part that only the store has is not an error: in PostgreSQL, a newer
    /// program has possibly added it.
    pub(super) fn differences(&self, store: &Self) -> LayoutDifferences {
        let mut differences = LayoutDifferences::default();
        for (part, definition) in &self.0 {
            let (kind, name) = part;
            let named = format!("{kind} {name}");
            let difference = match store.0.get(part) {
                None => Finding::Missing(named),
                Some(found) if found != definition => Finding::Changed(named),
                Some(_) => continue,
            };
            match kind.as_str() {
                "table" | "column" | "sequence" => differences.tables.push(difference),
                _ => differences.others.push(difference),
            }
        }
        differences
    }
}
