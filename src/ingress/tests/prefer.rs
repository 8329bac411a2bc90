use futures_util::future::join;

use super::*;
use crate::outbox::State;

fn waiting(seconds: &'static str) -> TestRequest {
    post("open", STRUCTURED, &event("e-1")).insert_header(("prefer", seconds))
}

#[actix_web::test]
async fn a_waiting_sender_gets_the_final_state() {
    for state in [
        State::Delivered,
        State::Superseded,
        State::Parked,
        State::Ignored,
    ] {
        let listener = TestListener::new();
        listener.outbox.end(state);
        let reply = listener.send(waiting("wait=5")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("preference-applied"), Some("wait=5"));
        assert_eq!(reply.statuses(), [state.as_str()]);
    }
}

/// FAULTS N1276: the sender wants to wait longer than the bridge does. The bridge waited for no time, and did not say so.
#[actix_web::test]
async fn a_wait_above_the_bound_is_shortened_and_the_answer_says_so() {
    let listener = TestListener::new();
    listener.outbox.end(State::Delivered);
    let reply = listener.send(waiting("wait=99")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("preference-applied"), Some("wait=30"));
    let listener = TestListener::new();
    let stop = async { listener.stop.send(true).unwrap() };
    let (reply, ()) = join(listener.send(waiting("wait=99")), stop).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.header("preference-applied"), Some("wait=30"));
}

#[actix_web::test]
async fn a_sender_that_waits_too_short_gets_202() {
    let listener = TestListener::new();
    let reply = listener.send(waiting("wait=1")).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.header("preference-applied"), None);
    assert_eq!(reply.statuses(), ["waiting"]);
}

/// FAULTS P14
#[actix_web::test]
async fn a_stopping_process_ends_the_wait() {
    let listener = TestListener::new();
    let stop = async { listener.stop.send(true).unwrap() };
    let (reply, ()) = join(listener.send(waiting("wait=30")), stop).await;
    assert_eq!(reply.status, 202);
    assert_eq!(listener.send(waiting("wait=30")).await.status, 202);
}

/// The events are stored even if the store cannot tell the final state of the events.
#[actix_web::test]
async fn a_store_that_fails_after_the_append_is_still_202() {
    let listener = TestListener::new();
    listener.outbox.end(State::Waiting);
    assert_eq!(listener.send(waiting("wait=5")).await.status, 202);
}

#[actix_web::test]
async fn an_invalid_preference_is_ignored() {
    let listener = TestListener::new();
    for line in ["wait=0", "wait=-1", "wait=soon", "respond-async"] {
        assert_eq!(listener.send(waiting(line)).await.status, 202, "{line}");
    }
}
