//! The values of the watched metrics over the last hours.
//!
//! A counter whose series appears while the process runs began at 0: the process has counted it from the start.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::rows::Rows;
use crate::metrics::{Labels, SeriesValue};
use crate::time::Timestamp;

/// The metrics that the rules read, and the time for which each stays in memory.
const WATCHED: &[(&str, Kept)] = &[
    ("accepted_total", Kept::Days),
    ("admin_denied_total", Kept::Hour),
    ("attempts_total", Kept::Hour),
    ("audit_head_record", Kept::Latest),
    ("destination_mode", Kept::Latest),
    ("destination_state", Kept::Latest),
    ("duplicates_total", Kept::Hour),
    ("ended_total", Kept::Hour),
    ("field_values_total", Kept::Days),
    ("held_entries", Kept::Latest),
    ("last_backup_timestamp_seconds", Kept::Latest),
    ("last_event_timestamp_seconds", Kept::Latest),
    ("log_lines_dropped_total", Kept::Hour),
    ("misdirected_total", Kept::Hour),
    ("oldest_waiting_seconds", Kept::Latest),
    ("over_rate_quota_total", Kept::Hour),
    ("over_storage_quota_total", Kept::Hour),
    ("parked_invalid_total", Kept::Hour),
    ("parked_total", Kept::Hour),
    ("refused_total", Kept::Hour),
    ("request_duration_seconds_count", Kept::Hour),
    ("request_duration_seconds_sum", Kept::Hour),
    ("sealing_keys_unreadable", Kept::Latest),
    ("sealing_missing_keys", Kept::Latest),
    ("secret_read_failures_total", Kept::Hour),
    ("sources_refused", Kept::Latest),
    ("storage_quota_bytes", Kept::Latest),
    ("store_condition", Kept::Latest),
    ("store_free_bytes", Kept::Days),
    ("stored_bytes", Kept::Latest),
    ("unauthenticated_total", Kept::Hour),
    ("undecided_entries", Kept::Latest),
    ("unproven_total", Kept::Hour),
    ("waiting_entries", Kept::Latest),
    ("weakened", Kept::Latest),
];

/// The time between two values of the last hour.
const FINE: Duration = Duration::from_mins(1);
/// The maximum number of values of the last hour: one a minute, and the one before.
const FINE_MAX: usize = 62;
/// The time between two values of the last 31 hours.
const COARSE: Duration = Duration::from_mins(15);
/// The maximum number of values of the last 31 hours.
const COARSE_MAX: usize = 126;
/// The maximum number of series in memory. A series takes at most 3 KB, and a source has about 100 series.
const SERIES_MAX: usize = 8192;
/// The time for which the highest value counts.
const HIGHEST_FOR: Duration = Duration::from_hours(7 * 24);

/// The time for which the values of a metric stay in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Latest,
    Hour,
    Days,
}

/// Returns whether a rule reads the metric with this name. The name has no prefix.
pub fn is_watched(name: &str) -> bool {
    watched(name).is_some()
}

fn watched(name: &str) -> Option<(&'static str, Kept)> {
    WATCHED.iter().find(|(known, _)| *known == name).copied()
}

/// The values of the watched series.
#[derive(Debug)]
pub(super) struct SeriesHistory {
    started: Timestamp,
    now: Timestamp,
    looks: u64,
    series: BTreeMap<&'static str, BTreeMap<Labels, Track>>,
    earlier: Vec<EarlierEvents>,
}

/// The number of new events of a source in an hour before the start of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierEvents {
    /// The name of the source.
    pub source: String,
    /// The beginning of the hour.
    pub at: Timestamp,
    /// The number of new events.
    pub events: u64,
}

/// The values of one series.
#[derive(Debug)]
struct Track {
    latest: f64,
    highest: (Timestamp, f64),
    fine: VecDeque<(Timestamp, f64)>,
    coarse: VecDeque<(Timestamp, f64)>,
    /// The number of the last look that had the series.
    seen: u64,
}

impl SeriesHistory {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self {
            started: now,
            now,
            looks: 0,
            series: BTreeMap::new(),
            earlier: Vec::new(),
        }
    }

    pub(super) fn count_earlier(&mut self, events: Vec<EarlierEvents>) {
        self.earlier = events;
    }

    /// Adds the values at `now`, and forgets series that are gone.
    pub(super) fn record(&mut self, samples: Vec<SeriesValue>, now: Timestamp) {
        self.looks = self.looks.saturating_add(1);
        self.now = now;
        let mut count: usize = self.series.values().map(BTreeMap::len).sum();
        for SeriesValue {
            name,
            labels,
            value,
        } in samples
        {
            let Some((name, kept)) = watched(&name) else {
                continue;
            };
            let tracks = self.series.entry(name).or_default();
            let is_new = !tracks.contains_key(&labels);
            if is_new && count >= SERIES_MAX {
                continue;
            }
            count = count.saturating_add(usize::from(is_new));
            let track = tracks.entry(labels).or_insert_with(|| Track {
                latest: value,
                highest: (now, value),
                fine: VecDeque::new(),
                coarse: VecDeque::new(),
                seen: 0,
            });
            track.seen = self.looks;
            track.record(value, kept, now);
        }
        for tracks in self.series.values_mut() {
            tracks.retain(|_, track| track.seen == self.looks);
        }
    }

    /// Returns the present time in seconds since the Unix epoch.
    pub(super) fn seconds(&self) -> f64 {
        let seconds = self.now.as_millis().div_euclid(1000);
        i32::try_from(seconds).map_or_else(|_| to_float(seconds), f64::from)
    }

    /// Returns the start of the process.
    pub(super) const fn started(&self) -> Timestamp {
        self.started
    }

    /// Returns the time that was `span` ago at the last look, in whole seconds like the times of the metrics.
    pub(super) fn ago(&self, span: Duration) -> Timestamp {
        let seconds = self.now.as_millis().div_euclid(1000);
        let span = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_millis(seconds.saturating_sub(span).saturating_mul(1000))
    }

    /// Returns whether the process has run for this time.
    pub(super) fn covers(&self, span: Duration) -> bool {
        self.now.since(self.started) >= span
    }

    /// Returns the present values of a metric.
    pub(super) fn latest(&self, name: &str) -> Rows {
        self.rows(name, |track| Some(track.latest))
    }

    /// Returns the increase of a counter in the last `window`.
    pub(super) fn increase(&self, name: &str, window: Duration) -> Rows {
        self.increase_until(name, window, Duration::ZERO)
    }

    /// Returns the increase of a counter in the `window` that ended `ago`.
    pub(super) fn increase_until(&self, name: &str, window: Duration, ago: Duration) -> Rows {
        let end = earlier(self.now, ago);
        let begin = earlier(end, window);
        self.rows(name, |track| {
            let end = if ago.is_zero() {
                track.latest
            } else {
                track.at(end)
            };
            Some((end - track.at(begin)).max(0.0))
        })
    }

    /// Returns the numbers of new events by source in the `window` that ended `ago`, also of the time before the start.
    pub(super) fn events_until(&self, window: Duration, ago: Duration) -> Rows {
        let mut rows = self.increase_until("accepted_total", window, ago);
        let end = earlier(self.now, ago);
        let begin = earlier(end, window);
        let before = self.earlier.iter();
        let before = before.filter(|hour| hour.at >= begin && hour.at < end);
        rows.0.extend(before.map(|hour| {
            let labels = [("source".to_owned(), hour.source.clone())].into();
            (
                labels,
                to_float(i64::try_from(hour.events).unwrap_or(i64::MAX)),
            )
        }));
        rows
    }

    /// Returns the present values that are lower than a value of the last 7 days.
    pub(super) fn fallen(&self, name: &str) -> Rows {
        self.rows(name, |track| {
            (track.latest < track.highest.1).then_some(track.latest)
        })
    }

    /// Returns the values that the trend of the last `window` gives after `ahead`.
    pub(super) fn predicted(&self, name: &str, window: Duration, ahead: Duration) -> Rows {
        let begin = earlier(self.now, window);
        self.rows(name, |track| {
            let fine = track.fine.iter();
            let first_fine = track.fine.front().map_or(self.now, |(at, _)| *at);
            let coarse = track.coarse.iter().filter(|(at, _)| *at < first_fine);
            let points: Vec<(f64, f64)> = coarse
                .chain(fine)
                .filter(|(at, _)| *at >= begin)
                .map(|(at, value)| (-self.now.since(*at).as_secs_f64(), *value))
                .collect();
            trend(&points, ahead.as_secs_f64())
        })
    }

    fn rows(&self, name: &str, value: impl Fn(&Track) -> Option<f64>) -> Rows {
        debug_assert!(is_watched(name), "{name}");
        let tracks = self.series.get(name).into_iter().flatten();
        let rows = tracks.filter_map(|(labels, track)| Some((labels.clone(), value(track)?)));
        Rows(rows.collect())
    }
}

impl Track {
    fn record(&mut self, value: f64, kept: Kept, now: Timestamp) {
        self.latest = value;
        let (highest_at, highest) = self.highest;
        if value >= highest || now.since(highest_at) > HIGHEST_FOR {
            self.highest = (now, value);
        }
        if kept != Kept::Latest {
            push(&mut self.fine, (now, value), FINE, FINE_MAX);
        }
        if kept == Kept::Days {
            push(&mut self.coarse, (now, value), COARSE, COARSE_MAX);
        }
    }

    /// Returns the value of a counter at a time in the past. A counter begins at 0 with the process, so the history covers the
    /// whole life of the counter until the oldest values are forgotten.
    fn at(&self, time: Timestamp) -> f64 {
        let until = |values: &VecDeque<(Timestamp, f64)>| {
            let mut values = values.iter().rev();
            values.find(|(at, _)| *at <= time).map(|(_, value)| *value)
        };
        until(&self.fine)
            .or_else(|| until(&self.coarse))
            .unwrap_or(0.0)
    }
}

/// Adds a value if the last one is old enough.
fn push(
    values: &mut VecDeque<(Timestamp, f64)>,
    value: (Timestamp, f64),
    every: Duration,
    max: usize,
) {
    let last = values.back().map(|(at, _)| *at);
    if last.is_some_and(|last| value.0.since(last) < every) {
        return;
    }
    if values.len() >= max {
        values.pop_front();
    }
    values.push_back(value);
}

/// Returns the value of the line through the points `ahead` of the time 0. `None` for fewer than two times.
fn trend(points: &[(f64, f64)], ahead: f64) -> Option<f64> {
    let count = f64::from(u32::try_from(points.len()).ok()?);
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (time, value) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|(t, v)| (t - time) * (v - value)).sum();
    let spread: f64 = points.iter().map(|(t, _)| (t - time) * (t - time)).sum();
    (spread > 0.0).then(|| value + both / spread * (ahead - time))
}

fn earlier(time: Timestamp, span: Duration) -> Timestamp {
    let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_sub(millis))
}

#[expect(
    clippy::as_conversions,
    reason = "a second has no other conversion to a float; the loss is below a second"
)]
const fn to_float(seconds: i64) -> f64 {
    seconds as f64
}

/// Returns the names of the watched metrics.
#[cfg(test)]
pub(super) fn watched_names() -> impl Iterator<Item = &'static str> {
    WATCHED.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + minutes * 60_000)
    }

    fn sample(name: &str, value: f64) -> Vec<SeriesValue> {
        vec![SeriesValue {
            name: name.to_owned(),
            labels: Labels::new(),
            value,
        }]
    }

    fn only(rows: &Rows) -> Option<f64> {
        rows.0.first().map(|(_, value)| *value)
    }

    /// FAULTS N1033
    #[test]
    fn the_memory_of_a_counter_is_bounded_and_covers_31_hours() {
        let mut history = SeriesHistory::new(at(0));
        for minute in 0..4000_i32 {
            let value = f64::from(minute);
            history.record(sample("accepted_total", value), at(minute.into()));
        }
        let hours = Duration::from_hours;
        let found = history.increase("accepted_total", hours(1));
        assert_eq!(only(&found), Some(60.0));
        let found = history.increase_until("accepted_total", hours(24), hours(6));
        let found = only(&found).unwrap();
        assert!((1425.0..=1455.0).contains(&found), "{found}");
        let track = history.series["accepted_total"].values().next().unwrap();
        let lengths = (track.fine.len(), track.coarse.len());
        assert!(lengths.0 <= FINE_MAX && lengths.1 <= COARSE_MAX);
        history.record(Vec::new(), at(4001));
        assert_eq!(only(&history.latest("accepted_total")), None);
    }

    /// FAULTS N1033, N1178
    #[test]
    fn every_counter_began_at_zero() {
        let mut history = SeriesHistory::new(at(0));
        history.record(sample("parked_total", 7.0), at(0));
        let minute = Duration::from_mins(1);
        assert_eq!(only(&history.increase("parked_total", minute)), Some(7.0));
        history.record(sample("misdirected_total", 7.0), at(1));
        assert_eq!(
            only(&history.increase("misdirected_total", minute)),
            Some(7.0)
        );
        let many = (0..10_000).map(|number| SeriesValue {
            name: "refused_total".to_owned(),
            labels: [("source".to_owned(), number.to_string())].into(),
            value: 1.0,
        });
        history.record(many.collect(), at(2));
        let series: usize = history.series.values().map(BTreeMap::len).sum();
        assert!(series <= SERIES_MAX, "{series}");
    }

    #[test]
    fn a_trend_is_a_line() {
        let falling = [(-120.0, 30.0), (-60.0, 20.0), (0.0, 10.0)];
        assert_eq!(trend(&falling, 60.0), Some(0.0));
        assert_eq!(trend(&falling[..1], 60.0), None);
        assert_eq!(trend(&[], 60.0), None);
    }
}
