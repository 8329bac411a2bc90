//! Compares the order that a source file gives its events with the order of the earlier events of the source. The versions
//! of the delivered values stay, so in another order, all later events could count as older and never reach Imprint.
//!
//! The store keeps the orders, because a start also compares: a rollback often replaces the files and the process at once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::config::sources::SourceSettings;
use crate::intake::{EventType, Source};
use crate::mapping::VersionDomain;
use crate::outbox::{self, Outbox, REPLACE_TRIES_MAX, Setting};

/// The maximum number of event types whose orders the store keeps. The orders of removed sources leave first.
const ORDERS_MAX: usize = 20_000;

/// The orders of the events, by source and event type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceOrders(BTreeMap<String, BTreeMap<String, EventOrder>>);

/// The order of the events of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EventOrder {
    epoch: u32,
    /// The rule of the versions. The value is `None` if the bridge orders the events by arrival.
    version: Option<OrderRule>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OrderRule {
    domain: String,
    expression: String,
}

impl SourceOrders {
    /// Reads the orders from the store.
    ///
    /// # Errors
    /// Returns an error if the store cannot read them, or if they are damaged.
    pub(super) async fn read(outbox: &dyn Outbox) -> anyhow::Result<Self> {
        let stored = outbox.setting(Setting::SourceOrders).await?;
        Self::parse(stored.as_deref())
    }

    pub(super) fn parse(stored: Option<&str>) -> anyhow::Result<Self> {
        let orders = stored.map(serde_json::from_str);
        let orders = orders.transpose().context("the stored orders of events")?;
        Ok(orders.unwrap_or_default())
    }

    /// Adds the orders of a set of sources to the orders in the store, and returns them. An order with a higher epoch stays,
    /// because another bridge with the same store can have newer files.
    ///
    /// # Errors
    /// Returns an error if the store cannot read or keep the orders.
    pub(super) async fn remember(self, outbox: &dyn Outbox) -> anyhow::Result<Self> {
        for _ in 0..REPLACE_TRIES_MAX {
            let known = outbox.setting(Setting::SourceOrders).await?;
            let stored = Self::parse(known.as_deref())?;
            let orders = stored.clone().with(self.clone(), ORDERS_MAX);
            if orders == stored {
                return Ok(orders);
            }
            let text = serde_json::to_string(&orders)?;
            let replaced = outbox.replace_setting(Setting::SourceOrders, known, text);
            if replaced.await? {
                return Ok(orders);
            }
        }
        Err(outbox::Error::Busy).context("keeping the orders of events")
    }

    /// Adds the orders of a set of sources. If there are more than `max` orders then, drops the orders of the sources that
    /// the set does not have.
    fn with(mut self, set: Self, max: usize) -> Self {
        let present: BTreeSet<String> = set.0.keys().cloned().collect();
        for (source, mut types) in set.0 {
            let known = self.0.entry(source).or_default();
            types.retain(|name, order| {
                known
                    .get(name)
                    .is_none_or(|known| known.epoch <= order.epoch)
            });
            known.extend(types);
        }
        if self.0.values().map(BTreeMap::len).sum::<usize>() > max {
            self.0.retain(|source, _| present.contains(source));
        }
        self
    }

    /// Returns the orders of a set of sources.
    pub(super) fn of<'a>(sources: impl Iterator<Item = &'a SourceSettings>) -> Self {
        let orders = sources.map(|settings| {
            let types = settings.source.event_types.iter();
            let types = types.map(|(name, event_type)| (name.clone(), EventOrder::of(event_type)));
            (settings.source.name.to_string(), types.collect())
        });
        Self(orders.collect())
    }

    /// Returns a sentence for each event type whose later events could count as older than the delivered values.
    pub(super) fn errors(&self, source: &Source) -> Vec<String> {
        let Some(known) = self.0.get(source.name.as_str()) else {
            return Vec::new();
        };
        let errors = source.event_types.iter().filter_map(|(name, changed)| {
            let wrong = known.get(name)?.error(&EventOrder::of(changed))?;
            Some(format!("source {}: events.{name}.{wrong}", source.name))
        });
        errors.collect()
    }
}

impl EventOrder {
    fn of(event_type: &EventType) -> Self {
        let rule = event_type.mapping.version_rule();
        let version = rule.map(|(domain, expression)| OrderRule {
            domain: match domain {
                VersionDomain::Sequence => "sequence",
                VersionDomain::Time => "time",
            }
            .to_owned(),
            expression: expression.to_owned(),
        });
        Self {
            epoch: event_type.epoch,
            version,
        }
    }

    fn error(&self, changed: &Self) -> Option<String> {
        let epoch = self.epoch;
        if changed.epoch < epoch {
            return Some(format!(
                "epoch is lower than {epoch}, the epoch of earlier events, so each later event would count as older than the delivered values: set it to {epoch} or more"
            ));
        }
        let is_same = changed.epoch == epoch && self.version.is_some();
        (is_same && changed.version != self.version).then(|| {
            format!(
                "version is not the version of the earlier events, so later events could count as older than the delivered values: set epoch to {} or more",
                epoch.saturating_add(1)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(of: &[(&str, u32)]) -> SourceOrders {
        let orders = of.iter().map(|(source, epoch)| {
            let order = EventOrder {
                epoch: *epoch,
                version: None,
            };
            ((*source).to_owned(), [("p".to_owned(), order)].into())
        });
        SourceOrders(orders.collect())
    }

    /// FAULTS N1160
    #[test]
    fn a_higher_epoch_stays_and_removed_sources_leave_first() {
        let stored = orders(&[("crm", 2), ("gone", 1)]);
        let set = orders(&[("crm", 1), ("erp", 3)]);
        let all = orders(&[("crm", 2), ("erp", 3), ("gone", 1)]);
        assert_eq!(stored.clone().with(set.clone(), 3), all);
        assert_eq!(stored.with(set, 2), orders(&[("crm", 2), ("erp", 3)]));
    }
}
