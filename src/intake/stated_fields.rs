//! Lists the fields that a source maps, and the fields that an event states. The event listener counts them: a field that
//! the sender has renamed is suddenly absent from every event, and no error shows it.

use std::collections::BTreeMap;

use super::source::Source;
use crate::imprint::{Field, FieldValue};
use crate::outbox::NewEntry;

/// The fields that a source maps, each with its place in the list.
#[derive(Debug)]
pub struct MappedFields(BTreeMap<Field, usize>);

/// A field that an event sets or clears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatedField {
    /// The place of the field in [`MappedFields::paths`].
    pub place: usize,
    /// True if the event clears the field.
    pub is_cleared: bool,
}

impl MappedFields {
    /// Lists the fields of all event types of a source.
    pub fn of(source: &Source) -> Self {
        let event_types = source.event_types.values();
        let fields = event_types.flat_map(|event_type| event_type.mapping.fields());
        let mut places: BTreeMap<Field, usize> = fields.map(|field| (field.clone(), 0)).collect();
        for (place, numbered) in places.values_mut().enumerate() {
            *numbered = place;
        }
        Self(places)
    }

    /// Returns the paths of the fields, such as `customer_history.email`, in the order of their places.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(Field::path)
    }

    /// Returns the fields that the event of an entry sets or clears.
    pub fn stated(&self, entry: &NewEntry) -> Vec<StatedField> {
        let change = entry.disposition.change();
        let fields = change.into_iter().flat_map(|change| change.update.iter());
        fields
            .filter_map(|(field, value)| {
                Some(StatedField {
                    place: *self.0.get(field)?,
                    is_cleared: *value == FieldValue::Cleared,
                })
            })
            .collect()
    }
}
