//! Shows the progress of the demo on standard error, from the bridge's metrics.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::environment::DemoEnvironment;
use crate::metrics::MetricsSnapshot;
use crate::ops::Figures;
use crate::outbox::State;
use crate::terminal::print_notice;
use crate::time::{Clock, Timestamp};

/// The time between two redraws of the progress bar on a terminal.
const TERMINAL_EVERY: Duration = Duration::from_millis(200);
/// The time between two progress lines if standard error is not a terminal.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// The values of the metrics that the demo shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct MetricsSample {
    pub(super) accepted: u64,
    pub(super) delivered: u64,
    pub(super) waiting: u64,
    /// The state of the destination, as the bridge reports it.
    pub(super) destination: &'static str,
}

impl From<MetricsSnapshot> for MetricsSample {
    fn from(snapshot: MetricsSnapshot) -> Self {
        let delivered = snapshot.dispatch.ended.get(State::Delivered.as_str());
        Self {
            accepted: snapshot.ingress.accepted,
            delivered: delivered.copied().unwrap_or_default(),
            waiting: snapshot.store.waiting,
            destination: snapshot.dispatch.destination_state,
        }
    }
}

/// The progress display of the demo. The display reads the bridge's metrics.
pub(super) struct DemoProgress<'a> {
    figures: Figures,
    environment: &'a DemoEnvironment,
    clock: Clock,
    bar: ProgressBar,
    before: Cell<Option<(Timestamp, MetricsSample)>>,
    rates: RefCell<String>,
}

impl<'a> DemoProgress<'a> {
    pub(super) fn new(
        figures: Figures,
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
            figures,
            environment,
            clock,
            bar,
            before: Cell::default(),
            rates: RefCell::new("starting".to_owned()),
        }
    }

    /// Reads the bridge's metrics once.
    pub(super) async fn read(&self) -> MetricsSample {
        self.figures.snapshot().await.into()
    }

    /// Shows the demo's progress until the caller drops the future.
    pub(super) async fn show(&self, answered: impl Fn() -> u64) -> Infallible {
        let every = if self.bar.is_hidden() {
            LOG_EVERY
        } else {
            TERMINAL_EVERY
        };
        loop {
            tokio::time::sleep(every).await;
            let line = self.line(answered(), self.read().await);
            if self.bar.is_hidden() {
                print_notice(line);
            } else {
                self.bar.set_position(answered());
                self.bar.set_message(line);
            }
        }
    }

    /// Prints a line above the progress bar.
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

    /// Computes the rates about once a second. The displayed rates would flicker if the period were shorter.
    fn measure(&self, now: Timestamp, sample: MetricsSample) {
        let Some((at, before)) = self.before.get() else {
            self.before.set(Some((now, MetricsSample::default())));
            return;
        };
        let span = now.since(at);
        if span + TERMINAL_EVERY >= LOG_EVERY {
            let rate = |from: u64, to: u64| {
                let count = u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX);
                f64::from(count) / span.as_secs_f64()
            };
            *self.rates.borrow_mut() = format!(
                "{:.0} accepted/s  {:.0} delivered/s",
                rate(before.accepted, sample.accepted),
                rate(before.delivered, sample.delivered)
            );
            self.before.set(Some((now, sample)));
        }
    }
}

/// Removes the progress bar from the terminal.
impl Drop for DemoProgress<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_the_figures_of_the_snapshot() {
        let mut snapshot = MetricsSnapshot::default();
        snapshot.ingress.accepted = 17;
        snapshot.dispatch.destination_state = "throttled";
        snapshot.store.waiting = 4;
        for (state, count) in [("delivered", 9), ("superseded", 4)] {
            snapshot.dispatch.ended.insert(state.to_owned(), count);
        }
        let expected = MetricsSample {
            accepted: 17,
            delivered: 9,
            waiting: 4,
            destination: "throttled",
        };
        assert_eq!(MetricsSample::from(snapshot), expected);
        let empty = MetricsSample::from(MetricsSnapshot::default());
        assert_eq!(empty, MetricsSample::default());
    }
}
