//! Keeps the time of the last event of each source, and the numbers of its new events by hour, in the store. A source that has
//! stopped is silent also for the next process: without these values, a restart would end the alert about the source.
//!
//! Several processes can share the store. A gateway can send all events of a source to one of them, so each process takes the
//! newest time of all of them, before it reports that a source is silent. They all follow the clock of their database, so only
//! a clock that somebody has set back leaves times in the future.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::metrics::{CLOCK_DIFFERENCE_MAX_SECONDS, IngressMetrics, IngressSnapshot, Metrics};
use crate::notices::EarlierEvents;
use crate::ops::operate::LiveSources;
use crate::outbox::{self, Outbox, REPLACE_TRIES_MAX, Setting};
use crate::time::{Clock, Timestamp};

/// The time between two writes. A process that dies forgets the events of at most this time.
const KEEP_EVERY: Duration = Duration::from_mins(1);
/// The time at the end of a process after which the bridge stops without the newest values.
const LAST_WRITE_MAX: Duration = Duration::from_secs(2);
/// The time without an event in this process after which the bridge asks the store for newer events at other processes. The
/// notice about a silent source needs 3 hours.
const QUIET_AFTER_SECONDS: i64 = 3_600;
/// The number of hours with events of which the store keeps the numbers: the alert compares with the day that ended 3 hours
/// ago.
const HOURS_KEPT: usize = 30;
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

/// Returns the names of the sources in use.
pub(super) type SourceNames = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Returns a function that returns the names of the sources in use.
pub(super) fn names_in_use(sources: &Arc<impl LiveSources + 'static>) -> SourceNames {
    let sources = Arc::clone(sources);
    Arc::new(move || sources.set().names)
}

/// The task that writes the last events to the store.
pub(super) struct SourceActivity {
    outbox: Arc<dyn Outbox>,
    metrics: IngressMetrics,
    names: SourceNames,
    clock: Clock,
    earlier: Vec<EarlierEvents>,
    /// Never locked across an await.
    writes: Mutex<Writes>,
}

/// The last write and the write in progress.
#[derive(Debug, Default)]
struct Writes {
    /// The values of the metrics at the last write.
    written: IngressSnapshot,
    /// The write whose result the process does not know, with the values that it contains: a shutdown interrupts the wait for
    /// the result, and not the write. The next write must not count its events again.
    unconfirmed: Option<(String, IngressSnapshot)>,
    /// True if the store has a time of a wrong clock, which the next write replaces.
    has_wrong_time: bool,
}

impl SourceActivity {
    /// Reads the last events of the sources from the store, and shows their times in the metrics.
    ///
    /// # Errors
    /// Returns an error if the store fails. A damaged text counts as none, so that the bridge starts.
    pub(super) async fn start(
        outbox: Arc<dyn Outbox>,
        metrics: &Metrics,
        names: SourceNames,
        clock: &Clock,
    ) -> anyhow::Result<Arc<Self>> {
        let metrics = metrics.ingress.clone();
        let stored = outbox.setting(Setting::LastEvents).await?;
        let found = LastEvents::parse(stored.as_deref()).unwrap_or_default();
        let stored = found.clone().bounded(seconds(clock));
        let activity = Self {
            outbox,
            earlier: stored.earlier(),
            writes: Mutex::new(Writes {
                has_wrong_time: stored != found,
                ..Writes::default()
            }),
            metrics,
            names,
            clock: clock.clone(),
        };
        activity.show(&stored);
        activity.writes().written = activity.metrics.snapshot();
        Ok(Arc::new(activity))
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

    /// Writes the new events, and reads the newer times of other processes.
    async fn keep(&self) -> anyhow::Result<()> {
        let present = self.metrics.snapshot();
        let now = seconds(&self.clock);
        for _ in 0..REPLACE_TRIES_MAX {
            if !self.must_write(&present) && !self.has_quiet_source(&present, now) {
                return Ok(());
            }
            let known = self.outbox.setting(Setting::LastEvents).await?;
            self.confirm(known.as_deref());
            let found = LastEvents::parse(known.as_deref()).unwrap_or_default();
            let stored = found.clone().bounded(now);
            self.show(&stored);
            let new = LastEvents::between(&self.writes().written, &present, hour(now));
            let has_wrong_time = stored != found;
            self.writes().has_wrong_time = has_wrong_time;
            if new.0.is_empty() && !has_wrong_time {
                return Ok(());
            }
            let text = serde_json::to_string(&stored.with(&new))?;
            self.writes().unconfirmed = Some((text.clone(), present.clone()));
            let replaced = self
                .outbox
                .replace_setting(Setting::LastEvents, known, text);
            if replaced.await? {
                let mut writes = self.writes();
                writes.written = present;
                writes.unconfirmed = None;
                writes.has_wrong_time = false;
                return Ok(());
            }
        }
        Err(outbox::Error::Busy).context("keeping the times of the last events")
    }

    fn must_write(&self, present: &IngressSnapshot) -> bool {
        let writes = self.writes();
        let new = LastEvents::between(&writes.written, present, 0);
        writes.has_wrong_time || !new.0.is_empty()
    }

    /// Returns whether a source has been quiet here for so long that the bridge must ask for the events at other processes.
    /// A source without a time is also quiet: the operator has possibly removed it, and added it again.
    fn has_quiet_source(&self, present: &IngressSnapshot, now: i64) -> bool {
        (self.names)().iter().any(|source| {
            let last = present.last_event_at.get(source);
            last.is_none_or(|last| now.saturating_sub(*last) > QUIET_AFTER_SECONDS)
        })
    }

    /// Ends the wait for the result of a write if the store has the values of the write.
    fn confirm(&self, stored: Option<&str>) {
        let mut writes = self.writes();
        if let Some((text, values)) = writes.unconfirmed.take()
            && stored == Some(text.as_str())
        {
            writes.written = values;
        }
    }

    /// Shows the stored times of the loaded sources that are newer than the times of this process.
    fn show(&self, stored: &LastEvents) {
        let mut writes = self.writes();
        for source in (self.names)() {
            if let Some(events) = stored.0.get(&source)
                && self.metrics.last_event(&source, events.last)
            {
                // The store has this time already.
                writes.written.last_event_at.insert(source, events.last);
            }
        }
    }

    fn writes(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
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
            before.last_event_at.get(*source) < Some(*last)
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

    /// Replaces the times after `now` with `now`: a process with a wrong clock has stored them, and they would hide a silent
    /// source until the clock reaches them. The caller must store the result, so that the time is then in the past.
    fn bounded(mut self, now: i64) -> Self {
        let latest = now.saturating_add(CLOCK_DIFFERENCE_MAX_SECONDS);
        for events in self.0.values_mut() {
            let future = events.hours.split_off(&hour(latest).saturating_add(1));
            let future = future.into_values().fold(0, u64::saturating_add);
            if future > 0 {
                let present = events.hours.entry(hour(now)).or_default();
                *present = present.saturating_add(future);
            }
            if events.last > latest {
                events.last = now;
            }
        }
        self.0.retain(|_, events| events.last > 0);
        self
    }

    /// Adds newer events, and forgets the numbers of old hours. A time of a slow clock replaces no newer time.
    fn with(mut self, new: &Self) -> Self {
        for (source, events) in &new.0 {
            let known = self.0.entry(source.clone()).or_default();
            known.last = known.last.max(events.last);
            for (hour, count) in &events.hours {
                let known = known.hours.entry(*hour).or_default();
                *known = known.saturating_add(*count);
            }
        }
        for events in self.0.values_mut() {
            // The number of hours is limited, and not their age: a fast clock would remove all of them.
            while events.hours.len() > HOURS_KEPT {
                events.hours.pop_first();
            }
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

fn seconds(clock: &Clock) -> i64 {
    clock.now().as_millis().div_euclid(1000)
}

const fn hour(seconds: i64) -> i64 {
    seconds.div_euclid(HOUR_SECONDS)
}

fn count(snapshot: &IngressSnapshot, source: &str) -> u64 {
    let count = snapshot.accepted_by_source.get(source).copied();
    count.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{LabelSets, LogCounters};
    use crate::outbox::MemoryOutbox;

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

    /// A process of a bridge that shares its store with other processes.
    struct Replica {
        activity: Arc<SourceActivity>,
        metrics: IngressMetrics,
        names: Arc<Mutex<Vec<String>>>,
    }

    impl Replica {
        async fn start(outbox: &Arc<dyn Outbox>, clock: &Clock, names: &[&str]) -> Self {
            let names = names.iter().map(ToString::to_string).collect();
            let names: Arc<Mutex<Vec<String>>> = Arc::new(Mutex::new(names));
            let metrics = Metrics::new(LabelSets::default(), LogCounters::NONE).unwrap();
            let shared = Arc::clone(&names);
            let in_use: SourceNames = Arc::new(move || shared.lock().unwrap().clone());
            let activity = SourceActivity::start(Arc::clone(outbox), &metrics, in_use, clock);
            Self {
                activity: activity.await.unwrap(),
                metrics: metrics.ingress,
                names,
            }
        }

        /// Returns the time of the last event in seconds since the start of the test.
        fn last(&self) -> Option<i64> {
            let last = self.metrics.snapshot().last_event_at;
            last.get("crm").map(|last| last - START)
        }

        fn accept(&self, clock: &Clock) {
            self.metrics.accepted("crm", 1, 0, seconds(clock));
        }

        async fn keep(&self) {
            self.activity.keep().await.unwrap();
        }
    }

    /// The start of a test, in seconds since the Unix epoch: 22:13:20.
    const START: i64 = 1_700_000_000;

    fn opened() -> (Arc<dyn Outbox>, Clock) {
        let clock = Clock::manual(Timestamp::from_millis(START * 1000));
        (Arc::new(MemoryOutbox::default()), clock)
    }

    async fn stored(outbox: &Arc<dyn Outbox>) -> SourceEvents {
        let text = outbox.setting(Setting::LastEvents).await.unwrap();
        let mut stored = LastEvents::parse(text.as_deref()).unwrap();
        stored.0.remove("crm").unwrap()
    }

    async fn restore(outbox: &Arc<dyn Outbox>, text: Option<String>) {
        if let Some(text) = text {
            let stored = outbox.store_setting(Setting::LastEvents, text);
            stored.await.unwrap();
        }
    }

    /// FAULTS N1490: a gateway sends every event of a source to one of two processes.
    #[tokio::test]
    async fn a_source_that_sends_to_another_process_is_not_silent() {
        let (outbox, clock) = opened();
        let busy = Replica::start(&outbox, &clock, &["crm"]).await;
        busy.accept(&clock);
        busy.keep().await;
        let idle = Replica::start(&outbox, &clock, &["crm"]).await;
        assert_eq!(idle.last(), Some(0));
        for minute in 1..=120 {
            clock.advance(Duration::from_mins(1));
            busy.accept(&clock);
            busy.keep().await;
            idle.keep().await;
            // The process asks the store only about a source that has been quiet for an hour.
            let silence = seconds(&clock) - START - idle.last().unwrap();
            assert!(silence <= QUIET_AFTER_SECONDS + 60, "{minute}: {silence}");
        }
        assert_eq!(stored(&outbox).await.hours.values().sum::<u64>(), 121);
        for _ in 0..180 {
            clock.advance(Duration::from_mins(1));
            idle.keep().await;
        }
        assert_eq!(idle.last(), Some(7200), "the source stops");
    }

    /// FAULTS N1491: an operator adds a source while the bridge runs.
    #[tokio::test]
    async fn a_source_that_is_added_again_has_the_time_of_its_last_event() {
        let (outbox, clock) = opened();
        let replica = Replica::start(&outbox, &clock, &["crm"]).await;
        replica.accept(&clock);
        replica.keep().await;
        replica.names.lock().unwrap().clear();
        replica.metrics.remove_source("crm");
        clock.advance(Duration::from_hours(2));
        replica.keep().await;
        assert_eq!(replica.last(), None);
        replica.names.lock().unwrap().push("crm".to_owned());
        replica.keep().await;
        assert_eq!(replica.last(), Some(0));
        replica.names.lock().unwrap().push("new".to_owned());
        replica.keep().await;
        assert_eq!(replica.metrics.snapshot().last_event_at.len(), 1);
    }

    /// FAULTS N1492: the shutdown interrupts a write, and the store has done it.
    #[tokio::test]
    async fn the_last_write_counts_no_event_twice() {
        let (outbox, clock) = opened();
        let replica = Replica::start(&outbox, &clock, &["crm"]).await;
        for is_undone in [false, true] {
            replica.accept(&clock);
            let before = replica.activity.writes().written.clone();
            let known = outbox.setting(Setting::LastEvents).await.unwrap();
            replica.keep().await;
            // The state of a write whose future was dropped before its result.
            let text = outbox.setting(Setting::LastEvents).await.unwrap().unwrap();
            let present = replica.metrics.snapshot();
            *replica.activity.writes() = Writes {
                written: before,
                unconfirmed: Some((text, present)),
                has_wrong_time: false,
            };
            restore(&outbox, known.filter(|_| is_undone)).await;
            replica.activity.finish().await;
        }
        assert_eq!(stored(&outbox).await.hours.values().sum::<u64>(), 2);
    }

    /// FAULTS N1493, N1571: a process with a wrong clock has stored times of next year.
    #[tokio::test]
    async fn a_time_in_the_future_counts_as_now_and_is_then_in_the_past() {
        let (outbox, clock) = opened();
        let future = Clock::manual(clock.now().after(Duration::from_hours(9_000)));
        let wrong = Replica::start(&outbox, &future, &["crm"]).await;
        wrong.accept(&future);
        wrong.keep().await;
        let right = Replica::start(&outbox, &clock, &["crm"]).await;
        assert_eq!(right.last(), Some(0));
        right.accept(&clock);
        right.keep().await;
        assert_eq!(stored(&outbox).await, events(START, &[(hour(START), 2)]));
        wrong.accept(&future);
        wrong.keep().await;
        clock.advance(Duration::from_hours(2));
        let right = Replica::start(&outbox, &clock, &["crm"]).await;
        assert_eq!(right.last(), Some(7_200));
        right.keep().await;
        clock.advance(Duration::from_hours(4));
        right.keep().await;
        assert_eq!(right.last(), Some(7_200), "the source is silent");
        let later = hour(START + 7_200);
        let counted = [(hour(START), 2), (later, 1)];
        assert_eq!(stored(&outbox).await, events(START + 7_200, &counted));
    }

    /// FAULTS N1571: the clock of one of two processes is some seconds slow.
    #[tokio::test]
    async fn a_slow_clock_replaces_no_newer_time() {
        let (outbox, clock) = opened();
        let slow = Replica::start(&outbox, &clock, &["crm"]).await;
        let ahead = Clock::manual(clock.now().after(Duration::from_secs(30)));
        let other = Replica::start(&outbox, &ahead, &["crm"]).await;
        other.accept(&ahead);
        other.keep().await;
        slow.accept(&clock);
        slow.keep().await;
        slow.accept(&clock);
        assert_eq!(slow.last(), Some(30));
        slow.keep().await;
        assert_eq!(
            stored(&outbox).await,
            events(START + 30, &[(hour(START), 3)])
        );
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
        let stored = stored.with(&new);
        assert_eq!(stored.0["crm"], events(25, &[(70, 9), (71, 9), (100, 3)]));
        let hours: Vec<(i64, u64)> = (1..100).map(|hour| (hour, 9)).collect();
        let many = LastEvents([("crm".to_owned(), events(25, &hours))].into());
        let kept = many.with(&new).0.remove("crm").unwrap().hours;
        assert_eq!((kept.len(), kept[&71], kept[&100]), (HOURS_KEPT, 9, 2));
        let text = serde_json::to_string(&stored).unwrap();
        assert_eq!(LastEvents::parse(Some(&text)).unwrap(), stored);
    }

    #[test]
    fn the_number_of_sources_is_bounded() {
        let many = (0..3_000).map(|number| (format!("s{number:04}"), events(number, &[])));
        let kept = LastEvents(many.collect()).with(&LastEvents::default());
        assert_eq!(kept.0.len(), SOURCES_MAX);
        assert_eq!(kept.0.keys().next().unwrap(), "s1000");
    }
}
