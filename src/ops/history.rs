//! The totals of the last hour, for the rates on the pages of the console. Pure.
//!
//! The counters of the metrics page have only their present values. A rate needs an earlier value, and an operator who opens
//! a page at night has no earlier page.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::time::Timestamp;

/// The time between two samples.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_secs(20);
/// The number of minutes that a chart shows.
const MINUTES: u32 = 60;
const MINUTE_MILLIS: i64 = 60_000;
/// The time over which a present rate is the average. A shorter time would show the pauses between the batches of a sender.
const RATE_SPAN: Duration = Duration::from_mins(5);
/// The minimum time of an average.
const RATE_SPAN_MIN: Duration = Duration::from_mins(1);
/// The minimum number of requests for a mean time.
const MEAN_OF_MIN: u32 = 10;
/// The maximum number of samples: those of one hour, and the one before.
const SAMPLES_MAX: usize = 182;

/// What the bridge has done since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HourTotals {
    /// The number of events that the bridge stored for the first time.
    pub accepted: u64,
    /// The number of delivered entries.
    pub delivered: u64,
    /// The number of entries that left the lanes in any way: delivered, superseded, ignored, parked or discarded.
    pub ended: u64,
    /// The number of parked entries.
    pub parked: u64,
    /// The number of update requests to Imprint that have ended.
    pub requests: u64,
    /// The time that these requests took in total.
    pub request_time: Duration,
    /// The number of accepted events of each source.
    pub by_source: BTreeMap<String, u64>,
}

/// The totals at several times of the last hour.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: VecDeque<(Timestamp, HourTotals)>,
}

impl History {
    /// Begins the history at the start of the process, when it has done nothing.
    pub(super) fn begin(now: Timestamp) -> Self {
        let mut history = Self::default();
        history.record(now, HourTotals::default());
        history
    }

    /// Adds the totals at a time.
    pub(super) fn record(&mut self, now: Timestamp, totals: HourTotals) {
        // After the clock was set back, samples of the future would hide the new ones.
        while self.samples.back().is_some_and(|(at, _)| *at >= now) {
            self.samples.pop_back();
        }
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now, totals));
    }

    /// Returns the events per minute over the last minutes, in tenths. `None` until there are two samples.
    ///
    /// A shorter time than a minute counts as a minute: one event in the first seconds of the process is no rate.
    pub fn tenths_per_minute(&self, count: impl Fn(&HourTotals) -> u64) -> Option<u64> {
        let (now, newest) = self.samples.back()?;
        let begin = now.as_millis().saturating_sub(millis(RATE_SPAN));
        let mut samples = self.samples.iter();
        let (from, oldest) = samples.find(|(at, _)| at.as_millis() >= begin)?;
        let span = now.since(*from);
        if span.is_zero() {
            return None;
        }
        let span = u64::try_from(span.max(RATE_SPAN_MIN).as_millis()).ok()?;
        let events = count(newest).saturating_sub(count(oldest));
        events.saturating_mul(600_000).checked_div(span)
    }

    /// Returns the mean time of the requests to Imprint that ended in the last minute. `None` for fewer than 10 requests.
    pub fn mean_request(&self) -> Option<Duration> {
        let (now, newest) = self.samples.back()?;
        let begin = now.as_millis().saturating_sub(MINUTE_MILLIS);
        let mut samples = self.samples.iter();
        let (_, oldest) = samples.find(|(at, _)| at.as_millis() >= begin)?;
        let requests = newest.requests.saturating_sub(oldest.requests);
        let time = newest.request_time.saturating_sub(oldest.request_time);
        let requests = u32::try_from(requests).ok()?;
        (requests >= MEAN_OF_MIN).then(|| time / requests)
    }

    /// Returns the number of events in each of the last 60 minutes of the clock, the oldest first. The last minute is the
    /// present one. A minute before the first sample has no number.
    ///
    /// The minutes begin and end with the minutes of the clock, so that the number of a past minute never changes.
    pub fn minutes(&self, count: impl Fn(&HourTotals) -> u64) -> Vec<Option<u64>> {
        let Some((now, _)) = self.samples.back() else {
            return Vec::new();
        };
        let present = now.as_millis().div_euclid(MINUTE_MILLIS);
        // The total at the end of a minute, or `None` before the first sample.
        let total = |minute: i64| {
            let mut samples = self.samples.iter().rev();
            samples
                .find(|(sampled, _)| sampled.as_millis().div_euclid(MINUTE_MILLIS) <= minute)
                .map(|(_, totals)| count(totals))
        };
        let begin = self.samples.front().map(|(_, totals)| count(totals));
        let minutes = (0..i64::from(MINUTES)).rev();
        let minutes = minutes.map(|ago| {
            let minute = present.saturating_sub(ago);
            let before = total(minute.saturating_sub(1)).or(begin)?;
            Some(total(minute)?.saturating_sub(before))
        });
        minutes.collect()
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    fn record(history: &mut History, seconds: i64, accepted: u64) {
        let totals = HourTotals {
            accepted,
            ..HourTotals::default()
        };
        history.record(at(seconds), totals);
    }

    const fn accepted(totals: &HourTotals) -> u64 {
        totals.accepted
    }

    /// FAULTS N1076
    #[test]
    fn a_rate_is_the_average_of_the_last_minutes() {
        let mut history = History::default();
        assert_eq!(history.tenths_per_minute(accepted), None);
        record(&mut history, 0, 100);
        assert_eq!(history.tenths_per_minute(accepted), None);
        record(&mut history, 20, 101);
        // FAULTS N1499: the average over 20 s said 3 events a minute beside 1 event in the hour.
        assert_eq!(history.tenths_per_minute(accepted), Some(10));
        for sample in 2..400 {
            record(
                &mut history,
                sample * 20,
                101 + u64::try_from(sample).unwrap() * 4,
            );
        }
        assert_eq!(history.tenths_per_minute(accepted), Some(120));
        assert!(history.samples.len() <= SAMPLES_MAX);
        for sample in 400..416 {
            record(&mut history, sample * 20, 1_697);
        }
        assert_eq!(history.tenths_per_minute(accepted), Some(0));
    }

    /// FAULTS N1543
    #[test]
    fn the_mean_time_of_a_request_is_that_of_the_last_minute() {
        let check = |requests: u64, seconds: u64, expected: Option<u64>| {
            let mut history = History::default();
            for (at_seconds, requests, seconds) in
                [(0, 0, 0), (100, 500, 9), (140, 500 + requests, 9 + seconds)]
            {
                let totals = HourTotals {
                    requests,
                    request_time: Duration::from_secs(seconds),
                    ..HourTotals::default()
                };
                history.record(at(at_seconds), totals);
            }
            let mean = history.mean_request();
            let expected = expected.map(Duration::from_millis);
            assert_eq!(mean, expected, "{requests} {seconds}");
        };
        check(40, 292, Some(7_300));
        check(10, 1, Some(100));
        check(9, 90, None);
        check(0, 0, None);
    }

    /// FAULTS N1076
    #[test]
    fn a_chart_has_one_number_for_each_minute_since_the_start() {
        let mut history = History::default();
        assert_eq!(history.minutes(accepted), []);
        for sample in 0..10_u64 {
            record(
                &mut history,
                i64::try_from(sample).unwrap() * 20,
                sample * sample,
            );
        }
        let minutes = history.minutes(accepted);
        assert_eq!(minutes.len(), 60);
        // The clock shows 22:13:20 at the first sample, and 22:16:20 at the last one.
        assert_eq!(minutes[..56], [None; 56]);
        assert_eq!(minutes[56..], [Some(1), Some(15), Some(33), Some(32)]);
        let total: u64 = minutes.into_iter().flatten().sum();
        assert_eq!(total, 81, "no event counts twice");
    }

    /// FAULTS N1165: a chart showed a past minute with another number at each look, and lost what came before the first
    /// sample.
    #[test]
    fn the_number_of_a_past_minute_never_changes() {
        let mut history = History::default();
        record(&mut history, 0, 0);
        record(&mut history, 20, 40);
        let mut before: Vec<u64> = Vec::new();
        for sample in 2..30 {
            record(&mut history, sample * 20, 40);
            let minutes: Vec<u64> = history.minutes(accepted).into_iter().flatten().collect();
            assert_eq!(minutes[..before.len()], before, "{sample}");
            before = minutes;
        }
        assert_eq!(before.iter().sum::<u64>(), 40);
    }

    /// FAULTS N1076
    #[test]
    fn a_clock_that_somebody_sets_back_begins_a_new_history() {
        let mut history = History::default();
        for sample in 0..200 {
            record(&mut history, sample * 20, 50);
        }
        record(&mut history, -100, 60);
        record(&mut history, -40, 66);
        assert_eq!(history.samples.len(), 2);
        assert_eq!(history.tenths_per_minute(accepted), Some(60));
    }
}
