use futures_util::future::join;

use super::*;
use crate::outbox::State;

fn waiting(seconds: &'static str) -> TestRequest {
    post("open", STRUCTURED, &event("e-1")).insert_header(("prefer", seconds))
}

#[actix_web::test]
async fn who_waits_hears_how_it_ended() {
    for state in [
        State::Delivered,
        State::Superseded,
        State::Parked,
        State::Ignored,
    ] {
        let door = Door::new();
        door.outbox.end(state);
        let reply = door.send(waiting("wait=5")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("preference-applied"), Some("wait=5"));
        assert_eq!(reply.statuses(), [state.as_str()]);
    }
}

#[actix_web::test]
async fn who_waits_in_vain_hears_that_it_is_kept() {
    let door = Door::new();
    let reply = door.send(waiting("wait=1")).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.header("preference-applied"), None);
    assert_eq!(reply.statuses(), ["waiting"]);
}

/// P14
#[actix_web::test]
async fn nobody_is_kept_waiting_by_a_process_that_ends() {
    let door = Door::new();
    let stop = async { door.stop.send(true).unwrap() };
    let (reply, ()) = join(door.send(waiting("wait=30")), stop).await;
    assert_eq!(reply.status, 202);
    assert_eq!(door.send(waiting("wait=30")).await.status, 202);
}

/// The events are kept: that the store cannot tell how they end does not unmake that.
#[actix_web::test]
async fn a_store_that_fails_after_the_append_is_still_202() {
    let door = Door::new();
    door.outbox.end(State::Waiting);
    assert_eq!(door.send(waiting("wait=5")).await.status, 202);
}

#[actix_web::test]
async fn what_is_no_preference_is_not_waited_for() {
    let door = Door::new();
    for line in ["wait=0", "wait=31", "wait=soon", "respond-async"] {
        assert_eq!(door.send(waiting(line)).await.status, 202, "{line}");
    }
}
