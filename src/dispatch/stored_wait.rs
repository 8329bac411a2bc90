//! The stored form of a wait that Imprint asked for. The wait continues after a restart. This module is pure: it does no
//! IO and reads no clock.

use crate::outbox::DUE_AHEAD_MAX;
use crate::time::Timestamp;

/// A wait of the whole destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredWait {
    /// The end of the wait.
    pub until: Timestamp,
    /// The time when the bridge stored the wait.
    pub since: Timestamp,
}

impl StoredWait {
    /// Returns the text that the store keeps: the end of the wait and the time of storing, in milliseconds since the
    /// Unix epoch.
    pub fn to_text(self) -> String {
        format!("{} {}", self.until.as_millis(), self.since.as_millis())
    }

    /// Returns the end of a stored wait that is not over at `now`.
    ///
    /// If somebody has set the clock back since the bridge stored the wait, the rest of the wait would be too long. The
    /// rest is therefore never longer than the whole wait, and never longer than the longest wait that Imprint can ask
    /// for. Older programs stored only the end of the wait.
    pub fn continued(text: &str, now: Timestamp) -> Option<Timestamp> {
        let mut times = text.split(' ').map(|millis| millis.parse().ok());
        let until = Timestamp::from_millis(times.next()??);
        let since = times.next().flatten().map(Timestamp::from_millis);
        let longest = since.map_or(DUE_AHEAD_MAX, |since| until.since(since).min(DUE_AHEAD_MAX));
        (now < until).then(|| until.min(now.after(longest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// FAULTS C01, N724
    #[test]
    fn a_wait_is_never_longer_after_the_clock_went_back() {
        let wait = StoredWait {
            until: at(10_015),
            since: at(10_000),
        };
        let text = wait.to_text();
        for (now, until) in [
            (10_005, Some(10_015)),
            (10_015, None),
            (9_990, Some(10_005)),
            (6_400, Some(6_415)),
        ] {
            let continued = StoredWait::continued(&text, at(now));
            assert_eq!(continued, until.map(at), "{now}");
        }
        assert_eq!(StoredWait::continued("10015000", at(1)), Some(at(3_601)));
        assert_eq!(
            StoredWait::continued("10015000", at(10_000)),
            Some(at(10_015))
        );
        for damaged in ["", "x", "x 1"] {
            assert_eq!(StoredWait::continued(damaged, at(1)), None, "{damaged}");
        }
    }
}
