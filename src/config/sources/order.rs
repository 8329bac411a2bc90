//! The order of the events of all sources. The bridge compares the versions of all events that set the same field.

use std::collections::BTreeMap;
use std::fmt;

use super::super::reader::SettingError;
use super::SourceSettings;
use crate::event::SourceName;
use crate::imprint::Field;
use crate::mapping::VersionDomain;

/// The rule that orders the events of an event type: by sequence number, by time, or by arrival. The bridge can compare
/// times of different sources, but not sequence numbers of different sources.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order<'a> {
    Sequence(&'a SourceName),
    Time,
    Arrival,
}

impl fmt::Display for Order<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequence(source) => write!(f, "a sequence of {source}"),
            Self::Time => f.write_str("time"),
            Self::Arrival => f.write_str("arrival"),
        }
    }
}

/// Returns an error for each field that two event types order by different rules. The bridge could not decide which
/// value of such a field is newer.
///
/// A draft is no source of a running bridge, so its order is no error.
pub(super) fn conflicting_orders<'a>(
    sources: impl IntoIterator<Item = &'a SourceSettings>,
) -> Vec<SettingError> {
    let mut orders: BTreeMap<&Field, (Order<'_>, String)> = BTreeMap::new();
    let mut errors = Vec::new();
    let event_types = sources.into_iter().flat_map(|settings| {
        let source = &settings.source;
        source
            .event_types
            .iter()
            .map(move |kind| (&source.name, kind))
    });
    for (source, (name, event_type)) in event_types {
        let order = match event_type.mapping.version_domain() {
            Some(VersionDomain::Sequence) => Order::Sequence(source),
            Some(VersionDomain::Time) => Order::Time,
            None => Order::Arrival,
        };
        let key = format!("{source} events.\"{name}\"");
        let clash = event_type.mapping.fields().find_map(|field| {
            let (first, place) = orders.entry(field).or_insert_with(|| (order, key.clone()));
            let reason =
                || {
                format!(
                    "orders {field} by {order}, but {place} orders it by {first}: the bridge cannot tell which value is newer. \
                     Give both the same order, or remove the file of the source that is not used"
                )
            };
            (*first != order).then(reason)
        });
        errors.extend(clash.map(|reason| SettingError {
            origin: "sources".to_owned(),
            key,
            reason,
        }));
    }
    errors
}

/// Returns the error that a draft would have if it were no draft: it orders a field by another rule than a source in use.
pub fn conflict_of_draft(draft: &SourceSettings, all: &[SourceSettings]) -> Option<String> {
    let used = all.iter().filter(|settings| !settings.is_draft);
    let errors = conflicting_orders(used.chain([draft]));
    let name = format!("{} events.", draft.source.name);
    let mut of_draft = errors
        .into_iter()
        .filter(|error| error.key.starts_with(&name));
    let error = of_draft.next()?;
    Some(format!(
        "without the line `draft = true`, this is an error: {} {}",
        error.key, error.reason
    ))
}
