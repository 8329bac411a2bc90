//! The last check of an update, immediately before its first byte.

use super::*;
use crate::support::wait_for;

/// FAULTS N1520: the client has opened the connection when the last check refuses the update. No byte is sent, and the
/// outcome says so.
#[test]
fn an_update_that_the_last_check_refuses_leaves_no_byte() {
    let imprint = RawImprint::start(|accepted| {
        accepted.until_closed();
        accepted.note("closed without a byte");
    });
    let check = LastCheck::new(|| false);
    let answered = block_on(async {
        let client = client(&imprint.origin());
        client.deliver(request("c1"), DEADLINE, &check).await
    });
    assert_eq!(answered.result, Outcome::Unavailable(Cause::Disconnected));
    assert_eq!(answered.facts, None);
    assert!(check.has_refused());
    wait_for("the end of the connection", || {
        (imprint.requests() == ["closed without a byte"]).then_some(())
    });
}
