//! The choice between two API keys during a rotation: the newer key first, the older key until a success with the newer.

use super::super::Outcome;

/// The age of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyAge {
    Newer,
    Older,
}

/// What the answer to a request shows about its API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyVerdict {
    /// Imprint has applied an update. A retrieve or a search shows nothing: a key can have the right to read only.
    Works,
    /// The answer is 401: Imprint does not know the key.
    Unknown,
    /// The answer is 403: the key has no right to the operation, or a gateway refuses the request.
    Forbidden,
}

/// The state of the rotation of the API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyChoice {
    /// The newer key is in use, and Imprint has not accepted it yet.
    Trial,
    /// The newer key is in use for good: it works, the older key does not work, or there is no older key.
    Newer,
    /// Imprint refused the newer key, so the older key is in use.
    Older,
}

impl KeyChoice {
    /// Returns the key for the next request.
    pub(super) const fn age(self) -> KeyAge {
        match self {
            Self::Trial | Self::Newer => KeyAge::Newer,
            Self::Older => KeyAge::Older,
        }
    }

    /// Returns the choice after an answer to a request with this key.
    pub(super) const fn after(self, age: KeyAge, verdict: KeyVerdict) -> Self {
        match (self, age, verdict) {
            (Self::Trial | Self::Older, KeyAge::Newer, KeyVerdict::Works) => Self::Newer,
            (Self::Trial, KeyAge::Newer, KeyVerdict::Unknown | KeyVerdict::Forbidden) => {
                Self::Older
            }
            // One answer about one customer shows too little about the older key: the destination stops if Imprint
            // refuses every customer, and then the newer key gets another trial.
            (unchanged, ..) => unchanged,
        }
    }

    /// Returns the choice when it is time to try the newer key again.
    pub(super) const fn retried(self) -> Self {
        match self {
            Self::Older => Self::Trial,
            Self::Trial | Self::Newer => self,
        }
    }
}

impl KeyVerdict {
    /// Returns what the status of an answer shows about the API key.
    pub(super) const fn of_status(status: u16) -> Option<Self> {
        match status {
            401 => Some(Self::Unknown),
            403 => Some(Self::Forbidden),
            _ => None,
        }
    }

    /// Returns what the outcome of an update shows about the API key.
    pub(super) const fn of_update(outcome: &Outcome) -> Option<Self> {
        if matches!(outcome, Outcome::Applied(_)) {
            Some(Self::Works)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N547, N720
    #[test]
    fn the_older_key_is_used_until_the_newer_key_works() {
        use KeyAge as Age;
        use KeyChoice as Choice;
        use KeyVerdict as Verdict;
        for (choice, age, verdict, expected) in [
            (Choice::Trial, Age::Newer, Verdict::Works, Choice::Newer),
            (Choice::Trial, Age::Newer, Verdict::Unknown, Choice::Older),
            (Choice::Trial, Age::Newer, Verdict::Forbidden, Choice::Older),
            // An answer to an earlier request.
            (Choice::Trial, Age::Older, Verdict::Unknown, Choice::Trial),
            (Choice::Trial, Age::Older, Verdict::Works, Choice::Trial),
            (Choice::Older, Age::Older, Verdict::Works, Choice::Older),
            (Choice::Older, Age::Older, Verdict::Forbidden, Choice::Older),
            (Choice::Older, Age::Older, Verdict::Unknown, Choice::Older),
            (Choice::Older, Age::Newer, Verdict::Unknown, Choice::Older),
            (Choice::Older, Age::Newer, Verdict::Works, Choice::Newer),
            (Choice::Newer, Age::Newer, Verdict::Unknown, Choice::Newer),
            (Choice::Newer, Age::Older, Verdict::Works, Choice::Newer),
        ] {
            assert_eq!(
                choice.after(age, verdict),
                expected,
                "{choice:?} {age:?} {verdict:?}"
            );
        }
        assert_eq!(Choice::Older.retried(), Choice::Trial);
        assert_eq!(Choice::Newer.retried(), Choice::Newer);
    }
}
