//! Tests of the rule that each answer belongs to its own request, also if answers arrive late.

use std::time::Duration;

use imprint_bridge::imprint::{Cause, Outcome};

use super::{
    DEADLINE_SHORT, RESTED, answer, applied, client, client_with_clock, customer_of, deliver,
    deliver_within, ok, own_customer, rejected,
};
use crate::raw_imprint::RawImprint;
use crate::support::block_on;

/// FAULTS N81: an answer arrives without a request, at once or some milliseconds after the answer to the first request.
/// The stray answer names the customer of the next request, and the next request follows at once or after a rest.
#[test]
fn a_stray_answer_is_never_taken_for_another_request() {
    for (milliseconds, next) in [0, 5, 30, 100]
        .into_iter()
        .flat_map(|late| [(late, "second"), (late, "first")])
    {
        for pause in [0, milliseconds, 400] {
            check_stray(milliseconds, next, Duration::from_millis(pause));
        }
    }
}

/// Checks that the second request gets its own answer, which is a rejection. The client may treat the first answer as
/// unknown if the stray answer arrives together with the first answer.
#[track_caller]
fn check_stray(milliseconds: u64, next: &'static str, pause: Duration) {
    let what = format!("{milliseconds} ms late, next {next} after {pause:?}");
    let imprint = RawImprint::start(move |mut accepted| {
        if accepted.number > 0 {
            return accepted.serve(|_request| answer("422 No", ""));
        }
        accepted.request().unwrap();
        accepted.send(&ok("first")).unwrap();
        if milliseconds > 0 {
            let _is_closed = accepted.is_closed_within(Duration::from_millis(milliseconds));
        }
        // The client may have closed the connection.
        drop(accepted.send(&ok(next)));
        accepted.serve(|_request| ok(next));
    });
    block_on(async {
        let client = client(&imprint.origin());
        let first = deliver(&client, "first").await;
        let is_safe = first == applied() || first == Outcome::Unknown(Cause::Protocol);
        assert!(is_safe, "{what}: {first:?}");
        tokio::time::sleep(pause).await;
        assert_eq!(deliver(&client, next).await, rejected(), "{what}");
    });
}

/// FAULTS N81: the late answer to a request arrives while the next request of that connection is in flight.
#[test]
fn an_answer_about_another_customer_closes_every_idle_connection() {
    let imprint = RawImprint::start(|mut accepted| {
        let is_mixed_up = accepted.number == 0;
        let mut last = String::new();
        while let Some(request) = accepted.request() {
            let own = customer_of(&request).to_owned();
            let named = if is_mixed_up && !last.is_empty() {
                &last
            } else {
                &own
            };
            if accepted.send(&ok(named)).is_err() {
                return;
            }
            last = own;
        }
    });
    block_on(async {
        let (client, clock) = client_with_clock(&imprint.origin());
        assert_eq!(deliver(&client, "c1").await, applied());
        clock.advance(RESTED);
        let wrong = Outcome::Unknown(Cause::WrongCustomer);
        assert_eq!(deliver(&client, "c2").await, wrong);
        clock.advance(RESTED);
        assert_eq!(deliver(&client, "c2").await, applied());
    });
    assert_eq!(imprint.connections(), 2);
}

/// FAULTS N81: a late answer to a request could be taken for the answer to the next request about the same customer.
#[test]
fn a_connection_carries_one_request_of_each_customer() {
    let imprint = RawImprint::start(|mut accepted| {
        // Every answer but the first is the answer to the request before.
        let mut status = "200 OK";
        while let Some(request) = accepted.request() {
            let own = format!("{{\"id\":\"{}\"}}", customer_of(&request));
            if accepted.send(&answer(status, &own)).is_err() {
                return;
            }
            status = "500 Late";
        }
    });
    block_on(async {
        let (client, clock) = client_with_clock(&imprint.origin());
        for _ in 0..3 {
            assert_eq!(deliver(&client, "c1").await, applied());
            clock.advance(RESTED);
        }
        let late = Outcome::Unavailable(Cause::Status(500));
        assert_eq!(deliver(&client, "c2").await, late);
    });
    assert_eq!((imprint.connections(), imprint.requests().len()), (3, 4));
}

/// FAULTS N81: after a server error, the answer of a server behind the gateway may still arrive.
#[test]
fn a_server_error_ends_the_connection() {
    for status in ["500 Down", "503 Wait", "504 Gateway Timeout", "408 Late"] {
        let imprint = RawImprint::start(move |mut accepted| {
            if accepted.number > 0 {
                return accepted.serve(own_customer);
            }
            accepted.request().unwrap();
            accepted.send(&answer(status, "")).unwrap();
            accepted.until_closed();
        });
        block_on(async {
            let (client, clock) = client_with_clock(&imprint.origin());
            let failed = deliver(&client, "first").await;
            assert!(matches!(failed, Outcome::Unavailable(_)), "{failed:?}");
            clock.advance(RESTED);
            assert_eq!(deliver(&client, "second").await, applied(), "{status}");
        });
    }
}

/// FAULTS U37
#[test]
fn an_answer_after_the_deadline_is_never_taken_for_another_request() {
    let imprint = RawImprint::start(|mut accepted| {
        if accepted.number > 0 {
            return accepted.serve(|_request| answer("422 No", ""));
        }
        accepted.request().unwrap();
        accepted.serve(|_request| ok("second"));
    });
    block_on(async {
        let client = client(&imprint.origin());
        let first = deliver_within(&client, "first", DEADLINE_SHORT).await;
        assert_eq!(first, Outcome::Unknown(Cause::Deadline));
        assert_eq!(deliver(&client, "second").await, rejected());
    });
}

#[test]
fn a_connection_is_used_again_after_its_rest() {
    let imprint = RawImprint::start(|mut accepted| accepted.serve(own_customer));
    block_on(async {
        let (client, clock) = client_with_clock(&imprint.origin());
        assert_eq!(deliver(&client, "c1").await, applied());
        assert_eq!(deliver(&client, "c2").await, applied());
        assert_eq!(imprint.connections(), 2);
        clock.advance(RESTED);
        for customer in ["c3", "c4"] {
            assert_eq!(deliver(&client, customer).await, applied());
        }
    });
    assert_eq!((imprint.connections(), imprint.requests().len()), (2, 4));
}

/// FAULTS U15: the server closes the connection before the client writes the next request, so the client sends no
/// request twice.
#[test]
fn a_closed_idle_connection_causes_no_failure() {
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let closed = std::sync::Mutex::new(Some(closed));
    let imprint = RawImprint::start(move |mut accepted| {
        if accepted.number > 0 {
            return accepted.serve(own_customer);
        }
        let request = accepted.request().unwrap();
        accepted.send(&own_customer(&request)).unwrap();
        drop(accepted);
        closed.lock().unwrap().take().unwrap().send(()).unwrap();
    });
    block_on(async {
        let (client, clock) = client_with_clock(&imprint.origin());
        assert_eq!(deliver(&client, "first").await, applied());
        is_closed.await.unwrap();
        clock.advance(RESTED);
        assert_eq!(deliver(&client, "second").await, applied());
    });
    assert_eq!(imprint.requests().len(), 2);
}

/// FAULTS N214: two customers who change all the time share a connection, because the answers about one customer show that
/// the server is not one answer late with the answers about the other.
#[test]
fn busy_customers_use_their_connections_again() {
    let imprint = RawImprint::start(|mut accepted| accepted.serve(own_customer));
    block_on(async {
        let (client, clock) = client_with_clock(&imprint.origin());
        for _ in 0..40 {
            for customer in ["c1", "c2"] {
                assert_eq!(deliver(&client, customer).await, applied());
                clock.advance(RESTED);
            }
        }
    });
    assert_eq!(imprint.requests().len(), 80);
    // A connection lives for 75 s, and carries a customer again after 10 s: before, each request needed a connection.
    assert!(imprint.connections() <= 24, "{}", imprint.connections());
}

/// FAULTS N213: no request follows, so nothing else would notice the end of the connections.
#[test]
fn idle_connections_are_closed_without_another_request() {
    // The server closes the first connection; the second one gets too old.
    let imprint = RawImprint::start(move |mut accepted| {
        let request = accepted.request().unwrap();
        accepted.send(&own_customer(&request)).unwrap();
        if accepted.number == 0 {
            accepted.end_sending();
        }
        accepted.until_closed();
        accepted.note("closed");
    });
    block_on(async {
        let (client, clock) = client_with_clock(&imprint.origin());
        for customer in ["c1", "c2"] {
            assert_eq!(deliver(&client, customer).await, applied());
        }
        let mut seconds = 0;
        for (closed, from) in [(1, 0), (2, 15)] {
            while imprint.requests().len() < 2 + closed {
                clock.advance(Duration::from_secs(1));
                seconds += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert!(seconds < 5_000, "nobody closes it");
            }
            assert!(seconds >= from, "{seconds}");
        }
    });
}

#[test]
fn a_request_on_a_kept_connection_is_never_repeated() {
    let imprint = RawImprint::start(|mut accepted| {
        let request = accepted.request().unwrap();
        accepted.send(&own_customer(&request)).unwrap();
        drop(accepted.request());
    });
    block_on(async {
        let (client, clock) = client_with_clock(&imprint.origin());
        assert_eq!(deliver(&client, "first").await, applied());
        clock.advance(RESTED);
        let second = deliver(&client, "second").await;
        assert_eq!(second, Outcome::Unknown(Cause::Disconnected));
    });
    assert_eq!((imprint.connections(), imprint.requests().len()), (1, 2));
}
