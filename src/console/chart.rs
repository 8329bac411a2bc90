//! Charts of the last hour: one bar for each minute, drawn by the server, so that a browser needs no script.

use super::words::{grouped, tenths_text};
use crate::ops::history::{History, HourTotals};

/// The height of a chart in the units of its view box.
const HEIGHT: u64 = 32;
/// The width of a bar and of the gap after it.
const STEP: u64 = 4;

/// One row of figures about the last hour.
pub(super) struct Chart {
    pub(super) name: &'static str,
    /// The present rate, such as `12 a minute`.
    pub(super) rate: String,
    /// What the bars show, as a text for screen readers.
    pub(super) summary: String,
    pub(super) bars: Vec<Bar>,
}

/// The bar of one minute.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) height: u64,
}

impl Chart {
    pub(super) fn of(
        name: &'static str,
        history: &History,
        count: impl Fn(&HourTotals) -> u64,
    ) -> Self {
        let minutes = history.minutes(&count);
        let total = minutes.iter().flatten().sum();
        let most = minutes.iter().flatten().copied().max().unwrap_or_default();
        Self {
            name,
            rate: rate(history, count),
            summary: format!(
                "{} {}, at most {} in a minute",
                grouped(total),
                time_of(&minutes),
                grouped(most)
            ),
            bars: bars(&minutes, most),
        }
    }
}

/// Returns the words for the time of these minutes: the bridge knows nothing of the time before its start.
pub(super) fn time_of(minutes: &[Option<u64>]) -> &'static str {
    match !minutes.is_empty() && minutes.iter().all(Option::is_some) {
        true => "in the last hour",
        false => "since the start",
    }
}

/// Returns the present rate as a text.
pub(super) fn rate(history: &History, count: impl Fn(&HourTotals) -> u64) -> String {
    match history.tenths_per_minute(count) {
        Some(tenths) => format!("{} a minute", tenths_text(tenths)),
        None => "no rate yet".to_owned(),
    }
}

/// Returns a bar for each minute with an event. The highest bar has the height of the chart, and the smallest bar is still
/// visible.
fn bars(minutes: &[Option<u64>], most: u64) -> Vec<Bar> {
    let bars = minutes.iter().zip(0_u64..).filter_map(|(events, minute)| {
        let events = events.filter(|events| *events > 0)?;
        let height = events.saturating_mul(HEIGHT).checked_div(most)?.max(1);
        Some(Bar {
            x: minute * STEP,
            y: HEIGHT.saturating_sub(height),
            height,
        })
    });
    bars.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1076
    #[test]
    fn the_highest_bar_fills_the_chart_and_the_smallest_stays_visible() {
        let minutes = [None, Some(0), Some(1), Some(1_000), Some(500)];
        let expected = [(8, 31, 1), (12, 0, 32), (16, 16, 16)];
        let expected = expected.map(|(x, y, height)| Bar { x, y, height });
        assert_eq!(bars(&minutes, 1_000), expected);
        assert_eq!(bars(&[None, Some(0)], 0), []);
    }
}
