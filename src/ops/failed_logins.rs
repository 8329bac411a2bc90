//! Limits the failed logins of operators, and decides when the log reports them. The decisions are pure.
//!
//! A failed login is a request with a token that is no operator's token. A request without a token tries no token, so it
//! is not a login.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::time::Timestamp;

/// The time in which the bridge counts the failed logins. A new window starts with a login after the end of the last
/// one.
const LOGIN_WINDOW: Duration = Duration::from_mins(1);
/// The maximum number of failed logins of one address in a window. A person does not mistype more tokens, and a
/// program that guesses tokens gets no further.
const ADDRESS_FAILURES_MAX: u32 = 10;
/// The maximum number of failed logins of all addresses in a window. A program could guess tokens from many addresses.
const FAILURES_MAX: u32 = 100;
/// The time for which an address is known after a login. The failed logins of other addresses do not lock out an
/// operator at a known address.
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// The maximum number of known addresses. Fewer operators work at the same time.
const KNOWN_ADDRESSES_MAX: usize = 256;
/// The minimum time between two records of the log about failed logins.
const REPORT_EVERY: Duration = Duration::from_mins(1);
/// The part of an IPv6 address that counts as the address. One machine usually has all addresses with this prefix.
const IPV6_PREFIX: u128 = !0 << 64;

/// The failed logins of the current window, and of the time since the last report.
#[derive(Debug, Default)]
pub(super) struct FailedLogins {
    window_start: Option<Timestamp>,
    /// The number of failed logins in the window. Only a known address adds to the addresses when all addresses
    /// together have reached [`FAILURES_MAX`], so the number of addresses is bounded.
    failures: BTreeMap<IpAddr, u32>,
    /// The time of the last login of each known address.
    known: BTreeMap<IpAddr, Timestamp>,
    reported_at: Option<Timestamp>,
    unreported: BTreeMap<IpAddr, u32>,
    last_reason: &'static str,
}

/// The failed logins since the last report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoginReport {
    /// The number of failed logins.
    pub(super) failures: u32,
    /// The number of addresses.
    pub(super) addresses: usize,
    /// The address with the most failed logins, and their number.
    pub(super) peer: IpAddr,
    pub(super) of_peer: u32,
    /// The reason of the last failure.
    pub(super) reason: &'static str,
}

impl FailedLogins {
    /// Returns the time after which the address may try the next login, if the address has to wait.
    ///
    /// An address with too many failures also has to wait if its next token would be right: otherwise the limit would
    /// not limit the guesses.
    pub(super) fn wait(&mut self, peer: IpAddr, now: Timestamp) -> Option<Duration> {
        let start = *self.window_start.get_or_insert(now);
        if now < start || now.since(start) >= LOGIN_WINDOW {
            self.window_start = Some(now);
            self.failures.clear();
            return None;
        }
        let peer = network(peer);
        let own = self.failures.get(&peer).copied().unwrap_or_default();
        let all: u32 = self.failures.values().sum();
        let is_known = self.known.get(&peer).is_some_and(|at| is_recent(*at, now));
        let must_wait = own >= ADDRESS_FAILURES_MAX || (all >= FAILURES_MAX && !is_known);
        must_wait.then(|| LOGIN_WINDOW.saturating_sub(now.since(start)))
    }

    /// Records a failed login.
    pub(super) fn fail(&mut self, peer: IpAddr, reason: &'static str) {
        let peer = network(peer);
        *self.failures.entry(peer).or_default() += 1;
        *self.unreported.entry(peer).or_default() += 1;
        self.last_reason = reason;
    }

    /// Records a login.
    pub(super) fn succeed(&mut self, peer: IpAddr, now: Timestamp) {
        let peer = network(peer);
        if self.known.len() >= KNOWN_ADDRESSES_MAX && !self.known.contains_key(&peer) {
            self.known.retain(|_, at| is_recent(*at, now));
            if self.known.len() >= KNOWN_ADDRESSES_MAX {
                return;
            }
        }
        self.known.insert(peer, now);
    }

    /// Returns the failed logins for the log, at most once in [`REPORT_EVERY`].
    pub(super) fn report(&mut self, now: Timestamp) -> Option<LoginReport> {
        let is_early = |at: Timestamp| now >= at && now.since(at) < REPORT_EVERY;
        if self.reported_at.is_some_and(is_early) {
            return None;
        }
        let most = self.unreported.iter().max_by_key(|(_, count)| **count);
        let (peer, of_peer) = most.map(|(peer, count)| (*peer, *count))?;
        let report = LoginReport {
            failures: self.unreported.values().sum(),
            addresses: self.unreported.len(),
            peer,
            of_peer,
            reason: self.last_reason,
        };
        self.unreported.clear();
        self.reported_at = Some(now);
        Some(report)
    }
}

/// Returns whether an address is still known. A time in the future comes from a clock that somebody has set back.
fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now >= at && now.since(at) < KNOWN_FOR
}

/// Returns the address as the limit counts it.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & IPV6_PREFIX;
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    /// Tries wrong tokens from an address. Returns the number of tries that the limit admits.
    fn try_wrong(logins: &mut FailedLogins, peer: IpAddr, tries: u32, now: Timestamp) -> u32 {
        let admitted = (0..tries).filter(|_| {
            let admitted = logins.wait(peer, now).is_none();
            if admitted {
                logins.fail(peer, "mismatch");
            }
            admitted
        });
        u32::try_from(admitted.count()).unwrap()
    }

    /// FAULTS N501
    #[test]
    fn the_failed_logins_of_an_address_are_limited() {
        let mut logins = FailedLogins::default();
        assert_eq!(try_wrong(&mut logins, address(1), 50, at(0)), 10);
        assert_eq!(
            logins.wait(address(1), at(20)),
            Some(Duration::from_secs(40))
        );
        assert_eq!(logins.wait(address(2), at(20)), None);
        assert_eq!(try_wrong(&mut logins, address(1), 50, at(60)), 10);
        assert_eq!(logins.wait(address(1), at(-5)), None, "the clock goes back");
        let v6 = |text: &str| text.parse().unwrap();
        assert_eq!(try_wrong(&mut logins, v6("2001:db8::1"), 50, at(0)), 10);
        assert_eq!(try_wrong(&mut logins, v6("2001:db8::2"), 50, at(0)), 0);
        assert_eq!(try_wrong(&mut logins, v6("2001:db8:0:1::2"), 5, at(0)), 5);
        assert_eq!(try_wrong(&mut logins, v6("::ffff:10.0.0.7"), 7, at(0)), 7);
        assert_eq!(try_wrong(&mut logins, address(7), 7, at(0)), 3);
    }

    /// FAULTS N501
    #[test]
    fn the_failed_logins_of_all_addresses_are_limited() {
        let mut logins = FailedLogins::default();
        logins.succeed(address(999_999), at(-100));
        let tries = (0..200_000).map(|peer| try_wrong(&mut logins, address(peer), 2, at(0)));
        assert_eq!(tries.sum::<u32>(), FAILURES_MAX);
        assert!(logins.failures.len() <= 100 && logins.unreported.len() <= 100);
        assert_eq!(
            logins
                .wait(address(999_998), at(1))
                .map(|wait| wait.as_secs()),
            Some(59)
        );
        assert_eq!(
            logins.wait(address(999_999), at(1)),
            None,
            "an operator works there"
        );
        assert_eq!(try_wrong(&mut logins, address(999_999), 50, at(1)), 10);
        assert_eq!(logins.wait(address(999_998), at(60)), None);
        for peer in 0..100_000 {
            logins.succeed(address(peer), at(100));
        }
        assert_eq!(logins.known.len(), KNOWN_ADDRESSES_MAX);
    }

    /// FAULTS N501
    #[test]
    fn failed_logins_are_reported_once_a_minute() {
        let mut logins = FailedLogins::default();
        assert_eq!(logins.report(at(0)), None);
        assert_eq!(try_wrong(&mut logins, address(1), 1, at(0)), 1);
        assert_eq!(logins.report(at(0)).map(|report| report.failures), Some(1));
        try_wrong(&mut logins, address(1), 2, at(1));
        try_wrong(&mut logins, address(2), 5, at(1));
        assert_eq!(logins.report(at(59)), None);
        let expected = LoginReport {
            failures: 7,
            addresses: 2,
            peer: address(2),
            of_peer: 5,
            reason: "mismatch",
        };
        assert_eq!(logins.report(at(60)), Some(expected));
        assert_eq!(logins.report(at(200)), None);
    }
}
