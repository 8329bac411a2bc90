//! The sections on how the destination is sent to, and on who is who there.

use std::time::Duration;

use super::reader::Reader;
use crate::dispatch::rules::{DeliveryRules, UnknownCustomer};
use crate::imprint::clearing::Clearing;

/// Nothing that is believed, waited for or asserted may go on longer than this.
const SPAN_MAX: Duration = Duration::from_hours(24 * 400);
/// What may land late may do so for a moment at least.
const ASSERT_AFTER_MIN: Duration = Duration::from_millis(100);
/// A late request that is still under way after an hour is not known to exist.
const ASSERT_AFTER_MAX: Duration = Duration::from_hours(1);
/// A "no" is believed for a moment at least: it costs a search.
const TTL_MIN: Duration = Duration::from_millis(100);

/// How the destination is sent to; see `config/default.toml` for each.
#[derive(Clone, Copy, Debug)]
pub struct DispatchSettings {
    /// Threads that send.
    pub threads: usize,
    /// What the operator decided.
    pub rules: DeliveryRules,
}

/// Takes both sections, as far as they can be read.
pub(super) fn take(reader: &mut Reader, clearing: Option<Clearing>) -> Option<DispatchSettings> {
    let threads = reader.take(&["dispatch", "threads"], |raw| raw.count(1, 64));
    let max_fold = reader.take(&["dispatch", "max_fold"], |raw| raw.count(1, 1000));
    let attempts_max = reader.take(&["dispatch", "attempts_max"], |raw| raw.whole(1, 1000));
    let reassert_after = reader.take(&["dispatch", "assert_after"], |raw| {
        raw.duration(ASSERT_AFTER_MIN, ASSERT_AFTER_MAX)
    });
    let unknown = reader.take(&["identity", "unknown_customer"], |raw| {
        raw.word(&[
            ("ignore", UnknownCustomer::Ignore),
            ("wait", UnknownCustomer::Wait),
            ("park", UnknownCustomer::Park),
        ])
    });
    let mut span = |key| reader.take(&["identity", key], |raw| raw.duration(TTL_MIN, SPAN_MAX));
    let (wait_max, link_ttl, unknown_ttl) =
        (span("wait_max"), span("pair_ttl"), span("unknown_ttl"));
    Some(DispatchSettings {
        threads: threads?,
        rules: DeliveryRules {
            max_fold: max_fold?,
            attempts_max: u32::try_from(attempts_max?).unwrap_or(u32::MAX),
            reassert_after: reassert_after?,
            clearing: clearing?,
            unknown: unknown?,
            wait_max: wait_max?,
            link_ttl: link_ttl?,
            unknown_ttl: unknown_ttl?,
        },
    })
}
