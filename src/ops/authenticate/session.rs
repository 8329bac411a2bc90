//! The sessions of the console: an operator logs in once with a token, and the browser then sends a session cookie.
//!
//! The bridge stores no session. The cookie names the operator, and an HMAC proves that the bridge issued it. The key of
//! the HMAC comes from the operator's token, so every process with the same token file accepts the cookie, and a removed
//! or replaced token ends its sessions at once. The cookie does not contain the token, and a token of
//! `ops.token_files` is too long to find it from the HMAC by trying.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use super::{Access, Denied, KnownOperator};
use crate::ops::AdminProblem;
use crate::ops::operate::Operator;
use crate::random::random_u32;
use crate::time::Timestamp;

/// The time without a request after which a session ends. An unattended browser must not stay logged in.
const SESSION_IDLE_MAX: Duration = Duration::from_mins(15);
/// The time after the login at which a session ends: one working day.
const SESSION_AGE_MAX: Duration = Duration::from_hours(8);
/// The age of a cookie from which an answer replaces the cookie. A session therefore ends up to this time before
/// [`SESSION_IDLE_MAX`].
const COOKIE_AGE_MAX: Duration = Duration::from_mins(1);
/// The time by which the clock of the process that issued a cookie may be ahead of the clock of this process.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(1);
/// The maximum length of a session cookie. The longest cookie of the bridge has 175 bytes.
const COOKIE_BYTES_MAX: usize = 256;
/// The maximum number of sessions that the bridge remembers as ended by a logout. More operators do not log out on one
/// day. Beyond this number, the bridge forgets the session that would expire first.
const LOGOUTS_MAX: usize = 1_024;

type HmacSha256 = Hmac<Sha256>;

/// The session of a logged-in operator.
#[derive(Clone, Debug)]
pub struct Session {
    pub operator: Operator,
    /// The token that each form of this session contains. A page of another site cannot know it.
    pub form_token: String,
    /// The cookie that replaces the cookie of the request. `None` if the cookie is not old enough.
    pub renewed: Option<String>,
    claim: SessionClaim,
}

/// The sessions that ended by a logout, with the times at which they would expire.
#[derive(Debug, Default)]
pub(super) struct Logouts(BTreeMap<SessionNumber, Timestamp>);

/// The number of a session: the time of the login, and a random number.
type SessionNumber = (Timestamp, u64);

/// The content of a session cookie without the HMAC.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SessionClaim {
    name: String,
    number: SessionNumber,
    used_at: Timestamp,
}

impl SessionClaim {
    /// Returns the text that the HMAC protects.
    fn text(&self) -> String {
        let (issued_at, random) = self.number;
        let name = BASE64_URL_SAFE_NO_PAD.encode(&self.name);
        let (issued_at, used_at) = (issued_at.as_millis(), self.used_at.as_millis());
        format!("{name}.{random:x}.{issued_at}.{used_at}")
    }

    /// Parses the text of [`Self::text`]. Nothing proves yet that the bridge wrote the text.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let name = BASE64_URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let random = u64::from_str_radix(parts.next()?, 16).ok()?;
        let mut time = || {
            let millis = parts.next()?.parse().ok()?;
            Some(Timestamp::from_millis(millis))
        };
        let (issued_at, used_at) = (time()?, time()?);
        let claim = Self {
            name: String::from_utf8(name).ok()?,
            number: (issued_at, random),
            used_at,
        };
        (claim.text() == text).then_some(claim)
    }

    /// Returns whether the session has neither expired nor begins in the future.
    fn is_present(&self, now: Timestamp) -> bool {
        let (issued_at, _) = self.number;
        let latest = now.after(CLOCK_TOLERANCE);
        issued_at <= latest
            && self.used_at <= latest
            && now.since(issued_at) < SESSION_AGE_MAX
            && now.since(self.used_at) < SESSION_IDLE_MAX
    }

    /// Returns the cookie: the text and its HMAC.
    fn cookie(&self, key: &SessionKey) -> String {
        let text = self.text();
        let mac = BASE64_URL_SAFE_NO_PAD.encode(key.mac("cookie", &text).finalize().into_bytes());
        format!("{text}.{mac}")
    }
}

/// The key of an operator's sessions.
struct SessionKey(HmacSha256);

impl SessionKey {
    /// Derives the key from the operator's token. An HMAC takes a key of any length, so the result is never `None`.
    fn of(token: &SecretString) -> Option<Self> {
        let mac = HmacSha256::new_from_slice(token.expose_secret().as_bytes()).ok()?;
        let derived = mac.chain_update(b"imprint-bridge console session");
        let key = derived.finalize().into_bytes();
        HmacSha256::new_from_slice(&key).ok().map(Self)
    }

    /// Returns the HMAC of a text for one purpose.
    fn mac(&self, purpose: &str, text: &str) -> HmacSha256 {
        let mac = self.0.clone();
        mac.chain_update(purpose)
            .chain_update([0])
            .chain_update(text)
    }
}

/// Returns the mark of a store in the name of the session cookie, derived from a secret key of the store.
pub(in crate::ops) fn session_mark(store_key: &[u8; 32]) -> String {
    let mac = HmacSha256::new_from_slice(store_key).map(|mac| {
        let derived = mac.chain_update(b"imprint-bridge console cookie");
        derived.finalize().into_bytes()
    });
    let bytes = mac.iter().flat_map(|mac| mac.iter().take(4));
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

impl Logouts {
    fn add(&mut self, number: SessionNumber, now: Timestamp) {
        self.0.retain(|_, expires_at| now < *expires_at);
        if self.0.len() >= LOGOUTS_MAX {
            self.0.pop_first();
        }
        let (issued_at, _) = number;
        self.0.insert(number, issued_at.after(SESSION_AGE_MAX));
    }
}

impl Access {
    /// Logs an operator in to the console. Returns the session cookie.
    ///
    /// # Errors
    /// Returns an error if no operator has this token, or if too many logins failed.
    pub(crate) fn log_in(&self, token: &str, peer: IpAddr) -> Result<String, AdminProblem> {
        let found = self.try_token(token, peer).and_then(|operator| {
            let known = self.operators.named(operator.name());
            let token = known.and_then(|known| (known.read)());
            let key = token.and_then(|token| SessionKey::of(&token));
            key.map(|key| (operator, key)).ok_or(Denied::Mismatch)
        });
        let (operator, key) = found.map_err(|denied| self.deny(denied, "POST"))?;
        let now = self.clock.now();
        let random = (u64::from(random_u32()) << 32) | u64::from(random_u32());
        let claim = SessionClaim {
            name: operator.name().to_owned(),
            number: (now, random),
            used_at: now,
        };
        tracing::info!(
            operator = operator.name(),
            %peer,
            "an operator logged in to the console"
        );
        Ok(claim.cookie(&key))
    }

    /// Returns the session of a cookie. Returns `None` if the session has ended, or if the bridge did not issue the
    /// cookie.
    pub(crate) fn session(&self, cookie: &str) -> Option<Session> {
        let now = self.clock.now();
        let cookie = Some(cookie).filter(|cookie| cookie.len() <= COOKIE_BYTES_MAX)?;
        let (text, mac) = cookie.rsplit_once('.')?;
        let mut claim = SessionClaim::parse(text)?;
        let known = self.operators.named(&claim.name)?;
        let key = SessionKey::of(&(known.read)()?)?;
        let mac = BASE64_URL_SAFE_NO_PAD.decode(mac).ok()?;
        key.mac("cookie", text).verify_slice(&mac).ok()?;
        if !claim.is_present(now) || self.logouts().0.contains_key(&claim.number) {
            return None;
        }
        let renewed = (now.since(claim.used_at) >= COOKIE_AGE_MAX).then(|| {
            claim.used_at = now;
            claim.cookie(&key)
        });
        let (issued_at, random) = claim.number;
        let form = key.mac("form", &format!("{random:x}.{}", issued_at.as_millis()));
        Some(Session {
            operator: Operator::authenticated(known.name.clone(), known.roles.clone()),
            form_token: BASE64_URL_SAFE_NO_PAD.encode(form.finalize().into_bytes()),
            renewed,
            claim,
        })
    }

    /// Ends a session, so that this process no longer accepts any cookie of the session.
    pub(crate) fn log_out(&self, session: &Session) {
        let now = self.clock.now();
        self.logouts().add(session.claim.number, now);
        let operator = session.operator.name();
        tracing::info!(operator, "an operator logged out of the console");
    }
}

impl super::Operators {
    fn named(&self, name: &str) -> Option<&KnownOperator> {
        self.0.iter().find(|known| known.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn key(token: &str) -> SessionKey {
        SessionKey::of(&SecretString::from(token)).unwrap()
    }

    fn claim() -> SessionClaim {
        SessionClaim {
            name: "ann;\"=.".to_owned(),
            number: (NOW, u64::MAX),
            used_at: NOW,
        }
    }

    /// FAULTS N860
    #[test]
    fn a_cookie_is_one_claim_and_has_characters_that_a_cookie_may_have() {
        let cookie = claim().cookie(&key("one"));
        let (text, mac) = cookie.rsplit_once('.').unwrap();
        assert_eq!(SessionClaim::parse(text), Some(claim()));
        assert_ne!(claim().cookie(&key("two")), cookie);
        let is_cookie_char = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        assert!(cookie.bytes().all(is_cookie_char), "{cookie}");
        for other in [
            "",
            ".",
            "YW5u.1.2",
            "YW5u.1.2.3.4",
            "YW5u.01.2.3",
            "YW5u.1.+2.3",
            "YW5u.1.2.99999999999999999999",
            &format!("{text}.{mac}"),
        ] {
            assert_eq!(SessionClaim::parse(other), None, "{other}");
        }
        let longest = SessionClaim {
            name: "n".repeat(64),
            ..claim()
        };
        assert_eq!(longest.cookie(&key("one")).len(), 175);
    }

    /// FAULTS N861
    #[test]
    fn a_session_ends_when_it_is_idle_or_old() {
        let minutes = |count| Duration::from_mins(count);
        for (age, idle, is_present) in [
            (0, 0, true),
            (14, 14, true),
            (15, 15, false),
            (479, 1, true),
            (480, 1, false),
        ] {
            let now = NOW.after(minutes(age));
            let claim = SessionClaim {
                used_at: NOW.after(minutes(age - idle)),
                ..claim()
            };
            assert_eq!(claim.is_present(now), is_present, "{age} {idle}");
        }
        let early = Timestamp::from_millis(NOW.as_millis() - 61_000);
        assert!(!claim().is_present(early), "from the future");
    }

    #[test]
    fn a_purpose_has_its_own_hmac() {
        let key = key("one");
        let mac = |purpose, text| key.mac(purpose, text).finalize().into_bytes();
        assert_ne!(mac("form", "x"), mac("cookie", "x"));
        assert_ne!(mac("form", "x"), mac("for", "mx"));
    }

    #[test]
    fn the_bridge_remembers_a_bounded_number_of_logouts() {
        let mut logouts = Logouts::default();
        for number in 0..5_000 {
            logouts.add((NOW, number), NOW);
        }
        assert_eq!(logouts.0.len(), LOGOUTS_MAX);
        logouts.add((NOW, 9_999), NOW.after(SESSION_AGE_MAX));
        assert_eq!(logouts.0.len(), 1);
    }
}
