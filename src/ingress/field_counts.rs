//! Counts how often the events of a source set and clear each field.

use crate::intake::{MappedFields, Source, StatedField};
use crate::metrics::{FieldCounters, IngressMetrics};
use crate::outbox::{AppendedEntry, NewEntry};

/// The counters of the fields that a source maps.
#[derive(Debug)]
pub struct FieldCounts {
    fields: MappedFields,
    /// The counters of each field, in the order of the fields.
    counters: Vec<FieldCounters>,
}

impl FieldCounts {
    /// Creates the counters of a source's fields.
    pub fn new(source: &Source, metrics: &IngressMetrics) -> Self {
        let fields = MappedFields::of(source);
        let counters = |path| metrics.field(source.name.as_str(), path);
        Self {
            counters: fields.paths().map(counters).collect(),
            fields,
        }
    }

    /// Returns the fields that each entry sets or clears.
    pub(super) fn stated(&self, entries: &[NewEntry]) -> Vec<Vec<StatedField>> {
        let stated = |entry: &NewEntry| self.fields.stated(entry);
        entries.iter().map(stated).collect()
    }

    /// Counts the fields of the new events. `stored` has an entry for each item of `stated`.
    pub(super) fn count(&self, stated: &[Vec<StatedField>], stored: &[AppendedEntry]) {
        let pairs = stated.iter().zip(stored);
        let new = pairs.filter(|(_, entry)| !entry.duplicate);
        for field in new.flat_map(|(fields, _)| fields) {
            if let Some(counters) = self.counters.get(field.place) {
                counters.count(field.is_cleared);
            }
        }
    }
}
