//! The SQL statements that limit the due times of lanes at the start, after somebody has set the clock back.

use rusqlite::{Connection, params};

use crate::outbox::DUE_AHEAD_MAX;
use crate::time::Timestamp;

/// Limits the time that each lane still waits to the pause that the lane got (FAULTS C01, N723).
///
/// The store contains times in the past: the acceptance of the newest entry, and the last try of each lane. If the
/// latest of these times is later than `now`, somebody has set the clock back, and all due times move back by the
/// difference. No due time is then later than `now` by more than its pause, because dispatch set each due time before
/// the latest of these times.
pub(super) fn limit(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let now_millis = now.as_millis();
    // The index of due lanes begins with the number of the queue, so the queries read only lanes that are not due yet.
    let accepted: Option<i64> = connection
        .prepare(
            "SELECT max(accepted_at) FROM (SELECT accepted_at FROM entry ORDER BY id DESC LIMIT 1)",
        )?
        .query_row([], |row| row.get(0))?;
    let tried: Option<i64> = connection
        .prepare("SELECT max(tried_at) FROM lane WHERE due_at > ?1 AND low BETWEEN 0 AND 5")?
        .query_row([now_millis], |row| row.get(0))?;
    let latest = accepted.max(tried).unwrap_or(now_millis);
    let back = latest.saturating_sub(now_millis).max(0);
    if back > 0 {
        tracing::warn!(
            seconds = back / 1000,
            "the store contains later times than the clock: somebody has set the clock back, or the store comes from a machine whose clock is ahead"
        );
    }
    let ahead_max = now.after(DUE_AHEAD_MAX).as_millis();
    connection.execute(
        "UPDATE lane SET due_at = max(?1, min(?3, due_at - ?2))
         WHERE due_at > ?1 AND (?2 > 0 OR due_at > ?3)",
        params![now_millis, back, ahead_max],
    )?;
    Ok(())
}
