//! The progress of the demo, read from the bridge's metrics page like any monitoring does, and shown on standard error.

use std::cell::{Cell, RefCell};
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::environment::DemoEnvironment;
use crate::dispatch::breaker::DestinationState;
use crate::http::client::HttpClient;
use crate::sender::fetch;
use crate::terminal::print_notice;
use crate::time::{Clock, Timestamp};

/// The limit on the metrics page.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// How often a terminal is updated.
const TERMINAL_EVERY: Duration = Duration::from_millis(200);
/// How often a line is printed if standard error is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Some figures of the metrics page.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct MetricsSample {
    pub(super) accepted: f64,
    pub(super) delivered: f64,
    pub(super) waiting: f64,
    /// The bridge's state of the destination.
    pub(super) destination: &'static str,
}

impl MetricsSample {
    fn of(page: &str) -> Self {
        Self {
            accepted: figure(page, "imprint_bridge_accepted_total"),
            delivered: figure(page, "imprint_bridge_ended_total{state=\"delivered\"}"),
            waiting: figure(page, "imprint_bridge_waiting_entries"),
            destination: destination(page),
        }
    }
}

/// The value of one series; 0 if the page does not have it.
fn figure(page: &str, series: &str) -> f64 {
    page.lines()
        .filter_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
        .next()
        .unwrap_or_default()
}

fn destination(page: &str) -> &'static str {
    let is_current = |word: &&str| {
        let series = format!("imprint_bridge_destination_state{{state=\"{word}\"}}");
        figure(page, &series) > 0.0
    };
    DestinationState::NAMES
        .into_iter()
        .find(is_current)
        .unwrap_or_default()
}

/// Reads the metrics and shows the progress.
pub(super) struct DemoProgress<'a> {
    http: HttpClient,
    metrics_url: String,
    environment: &'a DemoEnvironment,
    clock: Clock,
    bar: ProgressBar,
    before: Cell<Option<(Timestamp, MetricsSample)>>,
    rates: RefCell<String>,
}

impl<'a> DemoProgress<'a> {
    pub(super) fn new(
        http: HttpClient,
        metrics_url: String,
        environment: &'a DemoEnvironment,
        clock: Clock,
        events: u64,
    ) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::with_draw_target(Some(events), ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:16} {wide_msg}") {
            bar.set_style(style);
        }
        Self {
            http,
            metrics_url,
            environment,
            clock,
            bar,
            before: Cell::default(),
            rates: RefCell::new("starting".to_owned()),
        }
    }

    /// Reads the metrics now.
    pub(super) async fn read(&self) -> anyhow::Result<MetricsSample> {
        let page = fetch(&self.http, &self.metrics_url, PAGE_BYTES_MAX).await?;
        Ok(MetricsSample::of(std::str::from_utf8(&page)?))
    }

    /// Shows the progress until the future is dropped. It ends by itself only if the metrics cannot be read.
    pub(super) async fn show(&self, answered: impl Fn() -> u64) -> anyhow::Error {
        let every = if self.bar.is_hidden() {
            LOG_EVERY
        } else {
            TERMINAL_EVERY
        };
        loop {
            tokio::time::sleep(every).await;
            let sample = match self.read().await {
                Ok(sample) => sample,
                Err(error) => return error,
            };
            let line = self.line(answered(), sample);
            if self.bar.is_hidden() {
                print_notice(line);
            } else {
                self.bar.set_position(answered());
                self.bar.set_message(line);
            }
        }
    }

    /// Prints a line above the figures.
    pub(super) fn print_notice(&self, line: &str) {
        self.bar.suspend(|| print_notice(line));
    }

    fn line(&self, answered: u64, sample: MetricsSample) -> String {
        self.measure(self.clock.now(), sample);
        let requests = self.environment.sandbox().stats().updates;
        let MetricsSample {
            waiting,
            destination,
            ..
        } = sample;
        let rates = self.rates.borrow();
        format!(
            "{answered} sent  {rates}  {waiting} waiting  {requests} requests  destination {destination}"
        )
    }

    /// Computes the rates about once a second. Over a shorter time they would flicker.
    fn measure(&self, now: Timestamp, sample: MetricsSample) {
        let Some((at, before)) = self.before.get() else {
            self.before.set(Some((now, MetricsSample::default())));
            return;
        };
        let span = now.since(at);
        if span + TERMINAL_EVERY >= LOG_EVERY {
            let rate = |from: f64, to: f64| ((to - from) / span.as_secs_f64()).max(0.0);
            *self.rates.borrow_mut() = format!(
                "{:.0} accepted/s  {:.0} delivered/s",
                rate(before.accepted, sample.accepted),
                rate(before.delivered, sample.delivered)
            );
            self.before.set(Some((now, sample)));
        }
    }
}

/// Removes the progress bar.
impl Drop for DemoProgress<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let page = "# HELP imprint_bridge_accepted_total Events.\n\
            imprint_bridge_accepted_total 17\n\
            imprint_bridge_ended_total{state=\"delivered\"} 9\n\
            imprint_bridge_ended_total{state=\"superseded\"} 4\n\
            imprint_bridge_destination_state{state=\"flowing\"} 0\n\
            imprint_bridge_destination_state{state=\"throttled\"} 1\n\
            imprint_bridge_waiting_entries 4\n";
        let expected = MetricsSample {
            accepted: 17.0,
            delivered: 9.0,
            waiting: 4.0,
            destination: "throttled",
        };
        assert_eq!(MetricsSample::of(page), expected);
        assert_eq!(
            MetricsSample::of("imprint_bridge_accepted_totals 1"),
            MetricsSample::default()
        );
    }
}
