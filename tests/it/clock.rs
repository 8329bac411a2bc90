//! Tests of a clock that somebody sets back while the bridge is down.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use imprint_bridge::time::Timestamp;

use crate::raw_imprint::RawImprint;
use crate::support::{TestApp, email, wait_for};

const STEP: Duration = Duration::from_millis(100);

/// A bridge, and an Imprint server that answers every update with the same response.
struct Bench {
    app: TestApp,
    imprint: RawImprint,
    /// `None` means that the server applies updates.
    refusal: Arc<Mutex<Option<&'static str>>>,
}

impl Bench {
    fn start(refusal: &'static str) -> Self {
        let refusal = Arc::new(Mutex::new(Some(refusal)));
        let answer = Arc::clone(&refusal);
        let imprint = RawImprint::start(move |mut connection| {
            let answer = Arc::clone(&answer);
            connection.serve(move |request| match *answer.lock().unwrap() {
                Some(refusal) => format!("HTTP/1.1 {refusal}\r\ncontent-length: 0\r\n\r\n"),
                None => applied(request),
            });
        });
        let settings = format!("[imprint]\nbase_url = \"{}\"", imprint.origin());
        let mut app = TestApp::setup().settings(settings).manual_clock().start();
        app.leave_waiting_entries();
        Self {
            app,
            imprint,
            refusal,
        }
    }

    /// Stops the bridge, sets the clock back, and starts the bridge. Imprint applies updates again.
    fn restart_in_the_past(&mut self, back: Duration) {
        self.app.stop().unwrap();
        *self.refusal.lock().unwrap() = None;
        let back = i64::try_from(back.as_millis()).unwrap();
        let now = Timestamp::from_millis(self.app.now().as_millis() - back);
        self.app.restart_at(now);
    }

    /// Returns the time on the clock of the bridge until the bridge has delivered these entries.
    #[track_caller]
    fn time_until_delivered(&self, ids: &[&str]) -> Duration {
        let start = self.app.now();
        for id in ids {
            wait_for(id, || {
                self.app.advance(STEP);
                (self.app.receipt(id)["status"] == "delivered").then_some(())
            });
        }
        self.app.now().since(start)
    }
}

fn applied(request: &str) -> String {
    let path = request.split(' ').nth(1).unwrap();
    let id = path.rsplit('/').next().unwrap();
    let body = format!("{{\"id\":\"{id}\"}}");
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// FAULTS N723
#[test]
fn a_lane_waits_at_most_for_its_own_pause_after_the_clock_went_back() {
    for back in [300, 3_000, 86_400] {
        let mut bench = Bench::start("500 Internal Server Error");
        bench.app.accept(&email("failed", "C-1", 1));
        wait_for("the request", || {
            (bench.imprint.requests().len() == 1).then_some(())
        });
        bench.restart_in_the_past(Duration::from_secs(back));
        bench.app.accept(&email("next", "C-1", 2));
        bench.app.accept(&email("other", "C-2", 1));
        let waited = bench.time_until_delivered(&["next", "other"]);
        assert!(waited < Duration::from_secs(60), "{back} {waited:?}");
    }
}

/// FAULTS N724
#[test]
fn a_throttled_destination_waits_at_most_as_asked_after_the_clock_went_back() {
    for back in [60, 3_600, 86_400] {
        let mut bench = Bench::start("429 Too Many Requests\r\nretry-after: 15");
        bench.app.accept(&email("e1", "C-e1", 1));
        // Only a request after the first answer shows that the answer concerns every customer.
        bench
            .app
            .wait_for("the first customer is throttled", |app| {
                app.metric("attempts_total{outcome=\"throttled\"}") >= Some(1.0)
            });
        for id in ["e2", "e3"] {
            bench.app.accept(&email(id, &format!("C-{id}"), 1));
        }
        wait_for("the destination is throttled", || {
            bench.app.advance(Duration::from_millis(1));
            let state = bench.app.metric("destination_state{state=\"throttled\"}");
            (state == Some(1.0)).then_some(())
        });
        bench.restart_in_the_past(Duration::from_secs(back));
        let waited = bench.time_until_delivered(&["e1", "e2", "e3"]);
        assert!(waited < Duration::from_secs(40), "{back} {waited:?}");
    }
}

/// FAULTS N1571: the clock was a month ahead when a source sent its last event, and the source was never silent again.
#[test]
fn a_last_event_in_the_future_counts_as_now() {
    let mut app = TestApp::setup().manual_clock().start();
    let start = app.now();
    let metric = "last_event_timestamp_seconds{source=\"crm\"}";
    let last = |app: &TestApp| app.metric(metric).map(|at| at - seconds(start));
    let days = Duration::from_hours(30 * 24);
    app.stop().unwrap();
    app.restart_at(start.after(days));
    app.accept(&email("ahead", "c1", 1));
    app.wait_until("ahead", "delivered");
    app.stop().unwrap();
    let hour = Duration::from_hours(1);
    app.restart_at(start.after(hour));
    assert_eq!(last(&app), Some(3_600.0));
    // From now on, the time is in the past.
    app.stop().unwrap();
    app.restart_at(start.after(hour * 2));
    assert_eq!(last(&app), Some(3_600.0));
}

/// Returns a time as the metrics show it.
fn seconds(at: Timestamp) -> f64 {
    f64::from(i32::try_from(at.as_millis().div_euclid(1000)).unwrap())
}
