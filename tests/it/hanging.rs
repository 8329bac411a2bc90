//! Tests of a part of Imprint that hangs: the customers of the other parts must not wait.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use imprint_bridge::time::Clock;

use crate::raw_imprint::RawImprint;
use crate::support::{Event, TestApp, email};

/// Longer than the test may take for one event.
const DEADLINE: Duration = Duration::from_secs(6);
const HANGING: usize = 60;
const HEALTHY: usize = 3;

/// True while the customers whose ids begin with `H-` get no answer.
type Hangs = Arc<(Mutex<bool>, Condvar)>;

fn imprint(hangs: &Hangs) -> RawImprint {
    let hangs = Arc::clone(hangs);
    RawImprint::start(move |mut connection| {
        let hangs = Arc::clone(&hangs);
        connection.serve(move |request| {
            let path = request.split(' ').nth(1).unwrap();
            let id = path.rsplit('/').next().unwrap();
            if id.starts_with("H-") {
                let (hangs, released) = &*hangs;
                let released = released.wait_while(hangs.lock().unwrap(), |hangs| *hangs);
                drop(released.unwrap());
            }
            let body = format!("{{\"id\":\"{id}\"}}");
            let length = body.len();
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
        });
    })
}

/// Ends the hanging requests when the test ends, also after a failed assertion: otherwise the bridge and the fake Imprint
/// server would wait for each other without end.
struct Released<'a>(&'a Hangs);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        let (hangs, released) = &**self.0;
        *hangs.lock().unwrap_or_else(PoisonError::into_inner) = false;
        released.notify_all();
    }
}

fn of_shard(revision: u64) -> Vec<Event> {
    let event = |number| {
        email(
            &format!("h-{number}-{revision}"),
            &format!("H-{number}"),
            revision,
        )
    };
    (0..HANGING).map(event).collect()
}

/// FAULTS N726: a shard begins to hang after its customers were delivered. No other customer waits for the deadline of a
/// hanging request.
#[test]
fn a_shard_that_begins_to_hang_delays_no_other_customer() {
    let hangs = Hangs::default();
    let imprint = imprint(&hangs);
    let settings = format!(
        "[imprint]\nbase_url = \"{}\"\nconcurrency = 16\nrate_per_second = 50\ndeadline = \"{}s\"",
        imprint.origin(),
        DEADLINE.as_secs()
    );
    let mut app = TestApp::setup().settings(settings).start();
    app.leave_waiting_entries();
    let _released = Released(&hangs);
    let healthy = |number: usize, revision: u64| {
        email(
            &format!("c-{number}-{revision}"),
            &format!("C-{number}"),
            revision,
        )
    };
    assert_eq!(app.post_batch(&of_shard(1)).status, 202);
    for number in 0..HEALTHY {
        app.accept(&healthy(number, 1));
    }
    app.wait_for("everything is delivered", |app| {
        app.metric("waiting_entries") == Some(0.0)
    });
    *hangs.0.lock().unwrap() = true;
    assert_eq!(app.post_batch(&of_shard(2)).status, 202);
    let clock = Clock::machine();
    for revision in 2..7 {
        for number in 0..HEALTHY {
            let start = clock.now();
            app.accept(&healthy(number, revision));
            app.wait_until(&format!("c-{number}-{revision}"), "delivered");
            let waited = clock.now().since(start);
            assert!(waited < DEADLINE / 2, "{number} {revision} {waited:?}");
        }
    }
}
