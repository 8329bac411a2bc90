//! Lists the fields that a source maps, and the fields that an event states. The event listener counts them: a field that
//! the sender has renamed is suddenly absent from every event, and no error shows it.

use std::collections::BTreeSet;

use super::source::Source;
use crate::imprint::{Field, FieldValue};
use crate::outbox::NewEntry;

/// The fields that a source maps, each with its place in the list.
#[derive(Debug)]
pub struct MappedFields(Vec<Field>);

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
        let fields: BTreeSet<&Field> = event_types
            .flat_map(|event_type| event_type.mapping.fields())
            .collect();
        Self(fields.into_iter().cloned().collect())
    }

    /// Returns the paths of the fields, such as `customer_history.email`, in the order of their places.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Field::path)
    }

    /// Returns the fields that the event of an entry sets or clears.
    pub fn stated(&self, entry: &NewEntry) -> Vec<StatedField> {
        let change = entry.disposition.change();
        let fields = change.into_iter().flat_map(|change| change.update.iter());
        // Both lists are in field order, so one pass over both finds each place without a search.
        let mut mapped = self.0.iter().enumerate().peekable();
        fields
            .filter_map(|(field, value)| {
                while mapped.next_if(|(_, mapped)| *mapped < field).is_some() {}
                let (place, _) = mapped.next_if(|(_, mapped)| *mapped == field)?;
                Some(StatedField {
                    place,
                    is_cleared: *value == FieldValue::Cleared,
                })
            })
            .collect()
    }
}
