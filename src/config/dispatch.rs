//! The sections `[dispatch]` and `[identity]`: the settings for sending updates to Imprint and for finding customers at
//! Imprint.

use std::time::Duration;

use super::reader::Reader;
use crate::dispatch::rules::{DeliveryRules, UnknownCustomer};
use crate::imprint::clearing::Clearing;

/// The maximum of `dispatch.threads`. One thread sends thousands of requests per second.
const THREADS_MAX: u64 = 64;
/// The maximum of `dispatch.max_fold`. The store reads at most this number of waiting entries of a customer at once.
const FOLD_MAX: u64 = 1000;
/// The maximum of `dispatch.attempts_max`. At one attempt an hour, the bridge reaches it after six weeks.
const ATTEMPTS_MAX: u64 = 1000;
/// The maximum of several settings: `park_after`, `undecided_max`, and the durations in the section `[identity]`.
const SPAN_MAX: Duration = Duration::from_hours(24 * 400);
/// The minimum of `assert_after`. Only tests use such a short time.
const ASSERT_AFTER_MIN: Duration = Duration::from_millis(100);
/// The minimum of `undecided_max`. Only tests use such a short time.
const UNDECIDED_MIN: Duration = Duration::from_millis(100);
/// The maximum of the setting `assert_after`. A proxy does not hold a delayed request for more than one hour.
const ASSERT_AFTER_MAX: Duration = Duration::from_hours(1);
/// The minimum of the durations in the section `[identity]`. A shorter cache lifetime of search results would cause
/// many searches, and each search counts towards the rate limit.
const TTL_MIN: Duration = Duration::from_millis(100);

/// The settings of delivery. The file `config/default.toml` describes each setting.
#[derive(Clone, Copy, Debug)]
pub struct DispatchSettings {
    pub threads: usize,
    pub rules: DeliveryRules,
}

/// Reads the sections `[dispatch]` and `[identity]`.
pub(super) fn take(reader: &mut Reader, clearing: Option<Clearing>) -> Option<DispatchSettings> {
    let threads = reader.take(&["dispatch", "threads"], |raw| raw.count(1, THREADS_MAX));
    let max_fold = reader.take(&["dispatch", "max_fold"], |raw| raw.count(1, FOLD_MAX));
    let attempts_max = reader.take(&["dispatch", "attempts_max"], |raw| {
        raw.whole(1, ATTEMPTS_MAX)
    });
    let park_after = reader.take(&["dispatch", "park_after"], |raw| {
        raw.duration(Duration::ZERO, SPAN_MAX)
    });
    let reassert_after = reader.take(&["dispatch", "assert_after"], |raw| {
        raw.duration(ASSERT_AFTER_MIN, ASSERT_AFTER_MAX)
    });
    let undecided_max = reader.take(&["dispatch", "undecided_max"], |raw| {
        raw.duration(UNDECIDED_MIN, SPAN_MAX)
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
            undecided_max: undecided_max?,
            attempts_max: u32::try_from(attempts_max?).unwrap_or(u32::MAX),
            park_after: park_after?,
            reassert_after: reassert_after?,
            clearing: clearing?,
            unknown: unknown?,
            wait_max: wait_max?,
            link_ttl: link_ttl?,
            unknown_ttl: unknown_ttl?,
        },
    })
}
