//! The quotas of sources. The table `[quota]` of the settings contains the defaults. The table `[quota]` of a source
//! file has the same keys and overrides the defaults.

use super::reader::{Raw, Reader};
use crate::ingress::{
    EVENTS_BURST_MAX, EVENTS_PER_SECOND_MAX, QuotaLimits, RateLimit, StorageLimit,
};

/// The maximum of `quota.stored_bytes_max`: 1 PiB. No disk of the bridge is so large.
const STORED_BYTES_MAX: u64 = 1 << 50;

/// The settings of one table `[quota]`. The value 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaSettings {
    events_per_second: u32,
    events_burst: u32,
    stored_bytes_max: u64,
    /// The minimum of `stored_bytes_max`: the store must have room for at least one request body of the maximum size.
    stored_bytes_min: u64,
}

impl QuotaSettings {
    #[cfg(test)]
    pub(super) const fn of(
        events_per_second: u32,
        events_burst: u32,
        stored_bytes_max: u64,
    ) -> Self {
        Self {
            events_per_second,
            events_burst,
            stored_bytes_max,
            stored_bytes_min: 1024,
        }
    }

    /// Reads the default quotas. `body_bytes_max` is the maximum size of a request body.
    pub(super) fn take(reader: &mut Reader, body_bytes_max: Option<usize>) -> Option<Self> {
        let stored_bytes_min = body_bytes_max.and_then(|bytes| u64::try_from(bytes).ok());
        let stored_bytes_min = stored_bytes_min.unwrap_or(1);
        let place = |key| ["quota", key];
        let rate = reader.take(&place("events_per_second"), events_per_second);
        let burst = reader.take(&place("events_burst"), events_burst);
        let bytes = reader.take(&place("stored_bytes_max"), |raw| {
            stored_bytes_max(raw, stored_bytes_min)
        });
        Some(Self {
            events_per_second: rate?,
            events_burst: burst?,
            stored_bytes_max: bytes?,
            stored_bytes_min,
        })
    }

    /// Reads the quotas of a source file. A quota that the file does not contain has the default of `self`.
    pub(super) fn take_source(self, reader: &mut Reader) -> QuotaLimits {
        let place = |key| ["quota", key];
        let rate = reader.take_optional(&place("events_per_second"), events_per_second);
        let burst = reader.take_optional(&place("events_burst"), events_burst);
        let bytes = reader.take_optional(&place("stored_bytes_max"), |raw| {
            stored_bytes_max(raw, self.stored_bytes_min)
        });
        let rate = match rate.unwrap_or(self.events_per_second) {
            0 => RateLimit::Unlimited,
            events => RateLimit::PerSecond {
                events,
                burst: burst.unwrap_or(self.events_burst),
            },
        };
        let stored_bytes = match bytes.unwrap_or(self.stored_bytes_max) {
            0 => StorageLimit::Unlimited,
            bytes => StorageLimit::Bytes(bytes),
        };
        QuotaLimits { rate, stored_bytes }
    }
}

fn events_per_second(raw: Raw) -> Result<u32, String> {
    number(raw, 0, EVENTS_PER_SECOND_MAX)
}

fn events_burst(raw: Raw) -> Result<u32, String> {
    number(raw, 1, EVENTS_BURST_MAX)
}

fn number(raw: Raw, least: u32, most: u32) -> Result<u32, String> {
    let number = raw.whole(u64::from(least), u64::from(most))?;
    Ok(u32::try_from(number).unwrap_or(most))
}

fn stored_bytes_max(raw: Raw, least: u64) -> Result<u64, String> {
    let bytes = raw.whole(0, STORED_BYTES_MAX)?;
    if bytes == 0 || bytes >= least {
        Ok(bytes)
    } else {
        Err(format!(
            "must be 0 (no quota) or at least ingress.body_bytes_max, which is {least}"
        ))
    }
}
