//! Decides after each read of a secret file which secret of the file is in use. This module is pure.
//!
//! Each file is on its own: a missing or damaged file never delays the change of another file.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::time::Timestamp;

/// The time for which the secret of a missing file stays in use, so that the secret survives a program that removes the
/// file before it writes the new one. A longer time would let a removed secret open the bridge for longer.
pub(super) const VANISHED_GRACE: Duration = Duration::from_mins(1);

/// The flaw of a secret file. The text names the file, and never repeats its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretFileError {
    /// The file does not exist.
    Missing(String),
    /// The file cannot be read, or its content is no secret of this kind.
    Unusable(String),
    /// The file does not respond, so nothing is known about it.
    Silent(String),
}

impl SecretFileError {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Missing(text) | Self::Unusable(text) | Self::Silent(text) => text,
        }
    }
}

/// The result of a read of a secret file.
pub(super) type SecretRead = Result<SecretString, SecretFileError>;

/// The rule for a secret whose file is missing or unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LossRule {
    /// The secret of a missing file ends after [`VANISHED_GRACE`], and the secret of an unusable file stays in use. A
    /// sender that gets a refusal possibly never sends the event again.
    EndAfterGrace,
    /// The secret ends at once. The holder of the secret loses nothing: the holder can try again.
    EndAtOnce,
    /// The secret of a missing file ends at once, and the secret of an unusable file stays in use.
    EndWhenMissing,
    /// The secret stays in use, because the bridge cannot work without it.
    Keep,
}

impl LossRule {
    /// Returns the time after which the loss ends the secret, or `None` if the secret stays in use.
    const fn time(self, flaw: &SecretFileError) -> Option<Duration> {
        match (self, flaw) {
            (Self::Keep, _) | (_, SecretFileError::Silent(_)) => None,
            (Self::EndAfterGrace, SecretFileError::Missing(_)) => Some(VANISHED_GRACE),
            (Self::EndAtOnce, SecretFileError::Missing(_) | SecretFileError::Unusable(_))
            | (Self::EndWhenMissing, SecretFileError::Missing(_)) => Some(Duration::ZERO),
            (Self::EndAfterGrace | Self::EndWhenMissing, SecretFileError::Unusable(_)) => None,
        }
    }
}

/// The secret of a file that is in use, and the flaw of the file.
#[derive(Clone, Debug)]
pub(super) struct HeldSecret {
    rule: LossRule,
    /// The secret in use, or `None` if the file has had no secret yet, or if the secret has ended.
    secret: Option<SecretString>,
    /// The flaw of the file, and the time of the first read with a flaw of this kind.
    flaw: Option<(SecretFileError, Timestamp)>,
}

/// The change after a read of a secret file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretChange {
    /// Nothing has changed, or a program is writing the file.
    Unchanged,
    /// The file has another secret, which is in use from now on.
    Replaced,
    /// The file has the secret in use again.
    Recovered,
    /// The file has a new flaw. Its secret stays in use, at least for now.
    Kept,
    /// The file has a new flaw, and there is no secret in use.
    Refused,
    /// The secret has ended.
    Ended,
}

impl HeldSecret {
    pub(super) const fn unread(rule: LossRule) -> Self {
        Self {
            rule,
            secret: None,
            flaw: None,
        }
    }

    pub(super) fn new(rule: LossRule, read: SecretRead, now: Timestamp) -> Self {
        let (secret, flaw) = match read {
            Ok(secret) => (Some(secret), None),
            Err(flaw) => (None, Some((flaw, now))),
        };
        Self { rule, secret, flaw }
    }

    /// Returns the secret in use.
    pub(super) const fn secret(&self) -> Option<&SecretString> {
        self.secret.as_ref()
    }

    /// Returns the flaw of the file.
    pub(super) fn flaw(&self) -> Option<&SecretFileError> {
        self.flaw.as_ref().map(|(flaw, _)| flaw)
    }

    /// Returns the time for which the secret stays in use if its file stays as it is.
    pub(super) fn grace(&self) -> Option<Duration> {
        self.flaw().and_then(|flaw| self.rule.time(flaw))
    }

    /// Returns whether the bridge must read the file a second time, because the first read shows something new.
    pub(super) fn differs(&self, read: &SecretRead) -> bool {
        match (read, &self.secret) {
            (Ok(read), Some(held)) => self.flaw.is_some() || !is_same(read, held),
            (Ok(_), None) => true,
            (Err(flaw), Some(_)) => !self.has(flaw) || self.rule.time(flaw).is_some(),
            (Err(flaw), None) => !self.has(flaw),
        }
    }

    /// Decides after two reads of the file. If the reads differ, another program is possibly writing the file.
    pub(super) fn step(
        &mut self,
        first: &SecretRead,
        second: &SecretRead,
        now: Timestamp,
    ) -> SecretChange {
        match (first, second) {
            (Ok(one), Ok(other)) if is_same(one, other) => self.take(other),
            (Err(one), Err(other)) if kind(one) == kind(other) => self.lose(other, now),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => SecretChange::Unchanged,
        }
    }

    fn take(&mut self, read: &SecretString) -> SecretChange {
        let had_flaw = self.flaw.take().is_some();
        match self.secret.replace(read.clone()) {
            Some(held) if is_same(&held, read) => match had_flaw {
                true => SecretChange::Recovered,
                false => SecretChange::Unchanged,
            },
            Some(_) | None => SecretChange::Replaced,
        }
    }

    fn lose(&mut self, flaw: &SecretFileError, now: Timestamp) -> SecretChange {
        let is_known = self.has(flaw);
        let same_kind = |(held, _): &&(SecretFileError, Timestamp)| kind(held) == kind(flaw);
        let before = self.flaw.as_ref().filter(same_kind);
        let since = before.map_or(now, |(_, since)| *since);
        self.flaw = Some((flaw.clone(), since));
        let is_over = |time| now.since(since) >= time;
        if self.secret.is_some() && self.rule.time(flaw).is_some_and(is_over) {
            self.secret = None;
            return SecretChange::Ended;
        }
        match (is_known, &self.secret) {
            (true, _) => SecretChange::Unchanged,
            (false, Some(_)) => SecretChange::Kept,
            (false, None) => SecretChange::Refused,
        }
    }

    fn has(&self, flaw: &SecretFileError) -> bool {
        self.flaw().is_some_and(|held| held == flaw)
    }
}

/// Returns the kind of a flaw without its text.
fn kind(flaw: &SecretFileError) -> std::mem::Discriminant<SecretFileError> {
    std::mem::discriminant(flaw)
}

fn is_same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn ok(text: &str) -> SecretRead {
        Ok(SecretString::from(text))
    }

    fn missing() -> SecretRead {
        Err(SecretFileError::Missing("gone".to_owned()))
    }

    fn flawed(flaw: &str) -> SecretRead {
        Err(SecretFileError::Unusable(flaw.to_owned()))
    }

    fn silent() -> SecretRead {
        Err(SecretFileError::Silent("hangs".to_owned()))
    }

    /// The time of two reads in seconds, the reads, the change, and the secret in use afterwards.
    type Step = (
        i64,
        SecretRead,
        SecretRead,
        SecretChange,
        Option<&'static str>,
    );

    fn both(at: i64, read: &SecretRead, change: SecretChange, held: Option<&'static str>) -> Step {
        (at, read.clone(), read.clone(), change, held)
    }

    /// Checks the steps of a file with the secret `old`.
    #[track_caller]
    fn check(rule: LossRule, steps: &[Step]) {
        let moment = |at| Timestamp::from_millis(1_700_000_000_000 + at * 1000);
        let mut held = HeldSecret::new(rule, ok("old"), moment(0));
        for (at, first, second, expected, secret) in steps {
            let before = held.clone();
            let change = held.step(first, second, moment(*at));
            let found = held.secret().map(ExposeSecret::expose_secret);
            assert_eq!((change, found), (*expected, *secret), "{rule:?} at {at}");
            let must_read_twice = change != SecretChange::Unchanged;
            assert!(
                !must_read_twice || before.differs(first),
                "{rule:?} at {at}: the bridge would not read the file a second time"
            );
        }
    }

    /// FAULTS N201
    #[test]
    fn a_half_written_secret_never_counts() {
        use SecretChange::{Replaced, Unchanged};
        check(
            LossRule::EndAtOnce,
            &[
                both(0, &ok("old"), Unchanged, Some("old")),
                (3, ok("ne"), ok("new"), Unchanged, Some("old")),
                (6, ok("ne"), ok("old"), Unchanged, Some("old")),
                (9, flawed("empty"), ok("new"), Unchanged, Some("old")),
                (12, missing(), ok("new"), Unchanged, Some("old")),
                both(15, &ok("new"), Replaced, Some("new")),
            ],
        );
        let mut unread = HeldSecret::unread(LossRule::Keep);
        assert!(unread.secret().is_none() && unread.differs(&ok("ne")));
        let now = Timestamp::from_millis(0);
        assert_eq!(unread.step(&ok("ne"), &ok("new"), now), Unchanged);
        assert_eq!(unread.step(&ok("new"), &ok("new"), now), Replaced);
    }

    /// FAULTS N610: the secret of a missing file ends after the grace, and only after an uninterrupted absence.
    #[test]
    fn the_secret_of_a_missing_file_ends_after_the_grace() {
        use SecretChange::{Ended, Kept, Recovered, Replaced, Unchanged};
        let rule = LossRule::EndAfterGrace;
        let gone = |at, change, held| both(at, &missing(), change, held);
        check(
            rule,
            &[
                gone(0, Kept, Some("old")),
                gone(59, Unchanged, Some("old")),
                gone(60, Ended, None),
                gone(63, Unchanged, None),
                both(66, &ok("old"), Replaced, Some("old")),
            ],
        );
        check(
            rule,
            &[
                gone(0, Kept, Some("old")),
                both(30, &ok("old"), Recovered, Some("old")),
                gone(60, Kept, Some("old")),
                (90, missing(), ok("old"), Unchanged, Some("old")),
                both(100, &flawed("empty"), Kept, Some("old")),
                gone(119, Kept, Some("old")),
                both(150, &silent(), Kept, Some("old")),
                gone(180, Kept, Some("old")),
                gone(239, Unchanged, Some("old")),
                gone(240, Ended, None),
            ],
        );
        // Somebody sets the system clock back.
        check(
            rule,
            &[
                gone(100, Kept, Some("old")),
                gone(0, Unchanged, Some("old")),
                gone(159, Unchanged, Some("old")),
                gone(160, Ended, None),
            ],
        );
    }

    /// FAULTS N610, N612
    #[test]
    fn each_kind_of_secret_has_its_rule_for_a_lost_file() {
        use SecretChange::{Ended, Kept, Refused, Replaced, Unchanged};
        for rule in [
            LossRule::EndAfterGrace,
            LossRule::EndWhenMissing,
            LossRule::Keep,
        ] {
            check(
                rule,
                &[
                    both(0, &flawed("empty"), Kept, Some("old")),
                    both(600, &flawed("empty"), Unchanged, Some("old")),
                    both(603, &flawed("mode"), Kept, Some("old")),
                    (606, flawed("empty"), flawed("size"), Kept, Some("old")),
                    both(609, &ok("new"), Replaced, Some("new")),
                ],
            );
        }
        for lost in [missing(), flawed("empty")] {
            check(
                LossRule::EndAtOnce,
                &[
                    both(0, &lost, Ended, None),
                    both(3, &lost, Unchanged, None),
                    both(6, &flawed("short"), Refused, None),
                    both(9, &ok("old"), Replaced, Some("old")),
                ],
            );
        }
        check(
            LossRule::EndWhenMissing,
            &[
                both(0, &flawed("empty"), Kept, Some("old")),
                both(3, &missing(), Ended, None),
            ],
        );
        check(
            LossRule::Keep,
            &[
                both(0, &missing(), Kept, Some("old")),
                both(90_000, &missing(), Unchanged, Some("old")),
            ],
        );
        for rule in [LossRule::EndAtOnce, LossRule::EndAfterGrace] {
            check(
                rule,
                &[
                    both(0, &silent(), Kept, Some("old")),
                    both(900, &silent(), Unchanged, Some("old")),
                ],
            );
        }
    }
}
