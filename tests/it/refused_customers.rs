//! Tests of new customers that Imprint refuses: the other customers must not wait behind them.

use crate::raw_imprint::RawImprint;
use crate::support::{Event, TestApp, email, wait_for};

/// The statuses that Imprint answers with, and the number of customers who get this answer. All their events arrive at once.
const REFUSALS: [(u16, usize); 7] = [
    (302, 80),
    (401, 80),
    (403, 80),
    (405, 80),
    (500, 80),
    (500, 400),
    (429, 400),
];
/// The number of requests that Imprint gets before the events of the healthy customers arrive: enough to show that the
/// first requests of many new customers fail.
const SEEN: usize = 25;
/// The maximum number of requests to Imprint between the acceptance of an event and the request with its value. The
/// refused customers need at least 60 further requests.
const WAIT_MAX: usize = 30;

/// Starts a fake Imprint server that gives this answer to every request for a customer whose id begins with `R-`.
fn imprint(status: u16) -> RawImprint {
    RawImprint::start(move |mut connection| {
        connection.serve(|request| {
            let path = request.split(' ').nth(1).unwrap();
            if path.contains("R-") {
                return format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
            }
            let id = path.rsplit('/').next().unwrap();
            let body = format!("{{\"id\":\"{id}\"}}");
            let length = body.len();
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
        });
    })
}

/// Returns the number of requests that Imprint gets before the value of an event, from now on.
fn wait_of(event: &Event, id: &str, app: &TestApp, imprint: &RawImprint) -> usize {
    let before = imprint.requests().len();
    app.accept(event);
    let value = format!("\"{id}@example.com\"");
    let has_value = |request: &String| request.contains(&value);
    let place = wait_for(id, || imprint.requests().iter().position(has_value));
    place - before
}

/// FAULTS N783, N780, N728: customers that Imprint knows, and new customers, do not wait behind many new customers whose
/// requests Imprint refuses, or for which it fails.
#[test]
fn healthy_customers_do_not_wait_behind_refused_ones() {
    for (status, customers) in REFUSALS {
        let imprint = imprint(status);
        let settings = format!(
            "[imprint]\nbase_url = \"{}\"\nrate_per_second = 20\nconcurrency = 16",
            imprint.origin()
        );
        let mut app = TestApp::setup().settings(settings).start();
        app.leave_waiting_entries();
        for known in ["K-1", "K-2", "K-3"] {
            app.accept(&email(known, known, 1));
            app.wait_until(known, "delivered");
        }
        let refused: Vec<Event> = (0..customers)
            .map(|number| {
                let id = format!("R-{number}");
                email(&id, &id, 1)
            })
            .collect();
        for batch in refused.chunks(100) {
            assert_eq!(app.post_batch(batch).status, 202);
        }
        wait_for("refusals", || {
            (imprint.requests().len() >= SEEN).then_some(())
        });
        for round in 2..5 {
            let id = format!("known-{round}");
            let known = wait_of(&email(&id, "K-1", round), &id, &app, &imprint);
            assert!(known <= WAIT_MAX, "{status} {customers} {round}: {known}");
            let id = format!("new-{round}");
            let new = wait_of(&email(&id, &id, 1), &id, &app, &imprint);
            assert!(new <= WAIT_MAX, "{status} {customers} {round}: {new}");
        }
    }
}
