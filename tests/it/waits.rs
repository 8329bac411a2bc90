//! Senders that wait for the final state of their events with `Prefer: wait=N`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::http;
use crate::support::{TestApp, email, wait_for};

const BATCH: [(&str, &str); 2] = [
    ("content-type", "application/cloudevents-batch+json"),
    ("prefer", "wait=30"),
];

/// FAULTS N760. Each waiting event took memory without a limit, and each settled entry took time for all waiting events.
#[test]
fn beyond_the_limit_of_waiting_events_the_answer_is_202_at_once() {
    let mut app = TestApp::setup()
        .operator("ann", "ann-token-ann-token-ann")
        .start();
    let pause = json!({"mode": "paused", "reason": "test"});
    let paused = app.ask_operator(
        "ann-token-ann-token-ann",
        "POST /admin/v1/destination",
        &pause,
    );
    assert_eq!(paused.status, 200, "{}", paused.body);
    let (ingress, answered) = (app.ingress(), AtomicUsize::new(0));
    let post = |number: u64| {
        let event = |place| email(&format!("e-{number}-{place}"), "C-1", number * 100 + place);
        let batch: Vec<_> = (0..100).map(|place| event(place).json().clone()).collect();
        http::ask(
            ingress,
            "POST /v1/sources/crm/events",
            &BATCH,
            &json!(batch).to_string(),
        )
        .unwrap()
    };
    thread::scope(|scope| {
        // Of 4,100 events, 4,096 can wait: one of these requests gets its answer at once.
        for number in 1..=41 {
            let (post, answered) = (&post, &answered);
            scope.spawn(move || {
                let status = post(number).status;
                answered.fetch_add(1, Ordering::SeqCst);
                assert_eq!(status, 202);
            });
        }
        wait_for("an answer", || {
            (answered.load(Ordering::SeqCst) > 0).then_some(())
        });
        assert_eq!(app.metric("waiting_entries"), Some(4_100.0));
        assert_eq!(answered.load(Ordering::SeqCst), 1);
        app.leave_waiting_entries();
        app.stop().unwrap();
    });
}
