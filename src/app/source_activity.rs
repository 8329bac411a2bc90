//! Keeps the time of the last event of each source, and the numbers of its new events by hour, in the store. A source that has
//! stopped is silent also for the next process: without these values, a restart would end the alert about the source.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::metrics::{IngressMetrics, IngressSnapshot, Metrics};
use crate::notices::EarlierEvents;
use crate::ops::operate::LiveSources;
use crate::outbox::{self, Outbox, REPLACE_TRIES_MAX, Setting};
use crate::time::{Clock, Timestamp};

/// The time between two writes. A process that dies forgets the events of at most this time.
const KEEP_EVERY: Duration = Duration::from_mins(1);
/// The time at the end of a process after which the bridge stops without the newest values.
const LAST_WRITE_MAX: Duration = Duration::from_secs(2);
/// The hours of which the store keeps the numbers of events: the alert compares with the day that ended 3 hours ago.
const HOURS_KEPT: i64 = 30;
/// The maximum number of sources of which the store keeps the values. The sources without the newest events leave first.
const SOURCES_MAX: usize = 2_000;
const HOUR_SECONDS: i64 = 3_600;

/// The last events of the sources, by source name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastEvents(BTreeMap<String, SourceEvents>);

/// The last event of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SourceEvents {
    /// The time of the last event, in seconds since the Unix epoch.
    last: i64,
    /// The number of new events by hour since the Unix epoch.
    hours: BTreeMap<i64, u64>,
}

/// The task that writes the last events to the store.
#[derive(Debug)]
pub(super) struct SourceActivity {
    outbox: Arc<dyn Outbox>,
    metrics: IngressMetrics,
    clock: Clock,
    earlier: Vec<EarlierEvents>,
    /// The values of the metrics at the last write. Never locked across an await.
    written: Mutex<IngressSnapshot>,
}

impl SourceActivity {
    /// Reads the last events of the sources from the store, and shows their times in the metrics.
    ///
    /// # Errors
    /// Returns an error if the store fails. A text without readable values counts as none, so that the bridge starts.
    pub(super) async fn start(
        outbox: Arc<dyn Outbox>,
        metrics: &Metrics,
        sources: &impl LiveSources,
        clock: &Clock,
    ) -> anyhow::Result<Arc<Self>> {
        let metrics = &metrics.ingress;
        let stored = outbox.setting(Setting::LastEvents).await?;
        let stored = LastEvents::parse(stored.as_deref()).unwrap_or_else(|error| {
            tracing::warn!(%error, "the store has no readable times of the last events of the sources");
            LastEvents::default()
        });
        for source in sources.set().names {
            if let Some(events) = stored.0.get(&source) {
                metrics.last_event(&source, events.last);
            }
        }
        Ok(Arc::new(Self {
            outbox,
            earlier: stored.earlier(),
            written: Mutex::new(metrics.snapshot()),
            metrics: metrics.clone(),
            clock: clock.clone(),
        }))
    }

    /// Returns the numbers of new events before the start of the process.
    pub(super) fn earlier(&self) -> Vec<EarlierEvents> {
        self.earlier.clone()
    }

    /// Writes the last events every [`KEEP_EVERY`], and never returns. While the store fails, the next write has all values:
    /// the bridge reports a failing store elsewhere.
    pub(super) async fn run(&self) {
        loop {
            self.clock.sleep(KEEP_EVERY).await;
            drop(self.keep().await);
        }
    }

    /// Writes the last events before the process ends.
    pub(super) async fn finish(&self) {
        if !matches!(
            tokio::time::timeout(LAST_WRITE_MAX, self.keep()).await,
            Ok(Ok(()))
        ) {
            tracing::warn!("the store does not keep the times of the last events of the sources");
        }
    }

    async fn keep(&self) -> anyhow::Result<()> {
        let present = self.metrics.snapshot();
        let hour = self.clock.now().as_millis() / 1000 / HOUR_SECONDS;
        let new = {
            let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            LastEvents::between(&written, &present, hour)
        };
        if new.0.is_empty() {
            return Ok(());
        }
        for _ in 0..REPLACE_TRIES_MAX {
            let known = self.outbox.setting(Setting::LastEvents).await?;
            let stored = LastEvents::parse(known.as_deref()).unwrap_or_default();
            let text = serde_json::to_string(&stored.with(&new, hour))?;
            let replaced = self
                .outbox
                .replace_setting(Setting::LastEvents, known, text);
            if replaced.await? {
                *self.written.lock().unwrap_or_else(PoisonError::into_inner) = present;
                return Ok(());
            }
        }
        Err(outbox::Error::Busy).context("keeping the times of the last events")
    }
}

impl LastEvents {
    pub(super) fn parse(stored: Option<&str>) -> anyhow::Result<Self> {
        let events = stored.map(serde_json::from_str).transpose();
        let events = events.context("the stored times of the last events")?;
        Ok(events.unwrap_or_default())
    }

    /// Returns the sources that have sent events between two looks at the metrics.
    fn between(before: &IngressSnapshot, after: &IngressSnapshot, hour: i64) -> Self {
        let changed = after.last_event_at.iter();
        let changed = changed.filter(|(source, last)| {
            before.last_event_at.get(*source) != Some(*last)
                || count(before, source) != count(after, source)
        });
        let events = changed.map(|(source, last)| {
            let (earlier, present) = (count(before, source), count(after, source));
            // A source that was removed and added again counts from 0.
            let new = present.checked_sub(earlier).unwrap_or(present);
            let hours = (new > 0).then_some((hour, new)).into_iter().collect();
            (source.clone(), SourceEvents { last: *last, hours })
        });
        Self(events.collect())
    }

    /// Adds newer events, and forgets the numbers of old hours.
    fn with(mut self, new: &Self, hour: i64) -> Self {
        for (source, events) in &new.0 {
            let known = self.0.entry(source.clone()).or_default();
            known.last = known.last.max(events.last);
            for (hour, count) in &events.hours {
                let known = known.hours.entry(*hour).or_default();
                *known = known.saturating_add(*count);
            }
        }
        for events in self.0.values_mut() {
            events.hours.retain(|at, _| *at > hour - HOURS_KEPT);
        }
        while self.0.len() > SOURCES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, events)| events.last);
            let Some(oldest) = oldest.map(|(source, _)| source.clone()) else {
                break;
            };
            self.0.remove(&oldest);
        }
        self
    }

    fn earlier(&self) -> Vec<EarlierEvents> {
        let sources = self.0.iter();
        let events = sources.flat_map(|(source, events)| {
            let hours = events.hours.iter();
            hours.map(|(hour, count)| EarlierEvents {
                source: source.clone(),
                at: Timestamp::from_millis(hour.saturating_mul(HOUR_SECONDS * 1000)),
                events: *count,
            })
        });
        events.collect()
    }
}

fn count(snapshot: &IngressSnapshot, source: &str) -> u64 {
    let count = snapshot.accepted_by_source.get(source).copied();
    count.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(source: &str, count: u64, last: i64) -> IngressSnapshot {
        IngressSnapshot {
            accepted_by_source: [(source.to_owned(), count)].into(),
            last_event_at: [(source.to_owned(), last)].into(),
            ..IngressSnapshot::default()
        }
    }

    fn events(last: i64, hours: &[(i64, u64)]) -> SourceEvents {
        SourceEvents {
            last,
            hours: hours.iter().copied().collect(),
        }
    }

    /// FAULTS N1419
    #[test]
    fn the_store_keeps_the_newest_time_and_the_numbers_of_the_last_hours() {
        let new = LastEvents::between(&snapshot("crm", 3, 10), &snapshot("crm", 5, 20), 100);
        assert_eq!(new.0["crm"], events(20, &[(100, 2)]));
        let again = LastEvents::between(&snapshot("crm", 5, 20), &snapshot("crm", 5, 30), 100);
        assert_eq!(again.0["crm"], events(30, &[]), "a repeated event");
        let added = LastEvents::between(&snapshot("crm", 5, 20), &snapshot("crm", 1, 30), 100);
        assert_eq!(added.0["crm"], events(30, &[(100, 1)]), "added again");
        let same = LastEvents::between(&snapshot("crm", 5, 20), &snapshot("crm", 5, 20), 100);
        assert!(same.0.is_empty());
        let stored =
            LastEvents([("crm".to_owned(), events(25, &[(70, 9), (71, 9), (100, 1)]))].into());
        let stored = stored.with(&new, 100);
        assert_eq!(stored.0["crm"], events(25, &[(71, 9), (100, 3)]));
        let text = serde_json::to_string(&stored).unwrap();
        assert_eq!(LastEvents::parse(Some(&text)).unwrap(), stored);
    }

    #[test]
    fn the_number_of_sources_is_bounded() {
        let many = (0..3_000).map(|number| (format!("s{number:04}"), events(number, &[])));
        let kept = LastEvents(many.collect()).with(&LastEvents::default(), 0);
        assert_eq!(kept.0.len(), SOURCES_MAX);
        assert_eq!(kept.0.keys().next().unwrap(), "s1000");
    }
}
