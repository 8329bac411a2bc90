//! The values that an earlier process has possibly sent, and that can still arrive at Imprint. This module is pure: it
//! does no IO and reads no clock.

use crate::dispatch::rules::DeliveryRules;
use crate::outbox::{ClaimedLane, MaybeSent, WaitingEntry};
use crate::time::Timestamp;

/// Marks values as in doubt if an earlier process has possibly sent them. Dispatch must send values in doubt again
/// later.
pub(super) fn mark_in_doubt(claimed: &mut ClaimedLane, rules: &DeliveryRules, now: Timestamp) {
    let until = now.after(rules.reassert_after);
    // A later end of a doubt exists after somebody has set the clock back.
    let versions = std::mem::take(&mut claimed.versions).with_doubt_until_at_most(until);
    claimed.versions = match claimed.maybe_sent {
        MaybeSent::Nothing => versions,
        MaybeSent::Anything => versions.with_anything_sent(until),
        MaybeSent::Entries(last) => {
            let waiting = claimed.waiting.iter();
            let sent: Vec<_> = waiting
                .filter(|waiting| waiting.entry <= last)
                .map(WaitingEntry::candidate)
                .collect();
            versions.with_possibly_sent(&sent, until)
        }
    };
}
