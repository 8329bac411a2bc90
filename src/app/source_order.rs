//! Compares the order of the events of a source in use with the order that its changed file would give them. The versions of
//! the delivered values stay, so in another order, all later events could count as older and never reach Imprint.

use crate::intake::{EventType, Source};

/// Returns a sentence for each event type whose later events could count as older than the delivered values.
pub(super) fn errors(used: &Source, changed: &Source) -> Vec<String> {
    let errors = used.event_types.iter().filter_map(|(name, used)| {
        let wrong = error(used, changed.event_types.get(name)?)?;
        Some(format!("source {}: events.{name}.{wrong}", changed.name))
    });
    errors.collect()
}

fn error(used: &EventType, changed: &EventType) -> Option<String> {
    let (epoch, rule) = (used.epoch, used.mapping.version_rule());
    if changed.epoch < epoch {
        return Some(format!(
            "epoch is lower than the epoch in use, so each later event would count as older than the delivered values: set it to {epoch} or more"
        ));
    }
    let is_same = changed.epoch == epoch && rule.is_some();
    (is_same && changed.mapping.version_rule() != rule).then(|| {
        format!(
            "version is not the version in use, so later events could count as older than the delivered values: set epoch to {} or more",
            epoch.saturating_add(1)
        )
    })
}
