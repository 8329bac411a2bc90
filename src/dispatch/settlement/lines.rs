//! The settlement of a request that leaves cleared address lines at Imprint. This module is pure: it does no IO and
//! reads no clock.

use super::echo::applied;
use super::{delivered, park};
use crate::dispatch::lane_exchange::LaneExchange;
use crate::fold::Fold;
use crate::imprint::Field;
use crate::outbox::{EntryId, ParkReason, Settlement, WaitingEntry};
use crate::time::Timestamp;

/// Returns the settlement of a request after which Imprint still has these cleared address lines.
///
/// Parks the entries that cleared the lines. The lines do not count as delivered, so a replay clears the lines again.
pub(super) fn delivered_except(
    exchange: &LaneExchange,
    lines: &[Field],
    sent: Settlement,
) -> Settlement {
    let mut delivered = delivered_without(exchange, exchange.fold.without(lines), lines, sent);
    let mut cleared_by = exchange.fold.entries_setting(lines);
    // If the request only repeated a line, its entry was delivered before.
    cleared_by.retain(|entry| exchange.fold.carried.contains(entry));
    // One entry can have cleared several lines.
    cleared_by.sort_unstable();
    cleared_by.dedup();
    let cleared_by = cleared_by.into_iter().map(EntryId);
    delivered
        .endings
        .extend(cleared_by.map(|entry| (entry, park(ParkReason::NotCleared))));
    applied(exchange, delivered)
}

/// Returns the settlement of an applied request after which dispatch must send these address lines as empty texts, but
/// not before `later`. The entries that cleared the lines stay waiting.
pub(super) fn lines_postponed(
    exchange: &LaneExchange,
    lines: &[Field],
    later: Timestamp,
    sent: Settlement,
) -> Settlement {
    let delivered = delivered_without(exchange, exchange.fold.postponing(lines), lines, sent);
    Settlement {
        due: later,
        ..applied(exchange, delivered)
    }
}

/// Returns the settlement after the delivery of `fold`, which does not contain these address lines.
///
/// If a clearing superseded the value of an older entry, the older entry stays waiting: if dispatch parks the clearing,
/// dispatch must send the older value after all.
fn delivered_without(
    exchange: &LaneExchange,
    mut fold: Fold,
    lines: &[Field],
    sent: Settlement,
) -> Settlement {
    let claimed = &exchange.claimed;
    let is_missing = |waiting: &WaitingEntry, line: &Field| {
        waiting.update.value(line).is_some()
            && claimed
                .versions
                .covering(line, &waiting.candidate())
                .is_none()
    };
    let unfinished = claimed.waiting.iter();
    let unfinished =
        unfinished.filter(|waiting| lines.iter().any(|line| is_missing(waiting, line)));
    let unfinished: Vec<EntryId> = unfinished.map(|waiting| waiting.entry).collect();
    fold.finished
        .retain(|(entry, _)| !unfinished.contains(&EntryId(*entry)));
    delivered(exchange, &fold, sent)
}
