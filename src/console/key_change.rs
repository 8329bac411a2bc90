//! What a page says about the key file if Imprint refuses the API key: whether the file changed just before. Pure.

use std::time::Duration;

use super::words::{TimeText, span_text};
use crate::dispatch::destination::StateChange;
use crate::ops::operate::SecretFileView;
use crate::time::Timestamp;

/// If the file changed at most this time before the first refusal, the change is probably the cause.
const CAUSE_MAX: Duration = Duration::from_hours(1);

/// What a page says about the file of a refused key.
pub(super) struct RefusedKey {
    pub(super) sentence: String,
    pub(super) advice: String,
}

/// Returns whether Imprint has refused the API key with this change of its state.
pub(super) fn is_key_refused(change: &StateChange) -> bool {
    change.outcome == "denied" && change.cause == "status_401"
}

impl RefusedKey {
    /// Describes the file of the key that Imprint refuses since a time. `None` if the time of the file is not known.
    pub(super) fn of(file: &SecretFileView, refused: Timestamp, now: Timestamp) -> Option<Self> {
        const READ: &str = "The bridge reads the file every few seconds and goes on by itself.";
        let modified = file.modified?;
        let (path, setting) = (&file.path, &file.owner);
        let changed = TimeText::since(modified, now);
        let before = refused.since(modified);
        let (sentence, advice) = if modified > refused {
            (
                format!("The key file {path} has changed since then, at {changed}."),
                format!("The next probe shows whether Imprint accepts the new key. {READ}"),
            )
        } else if before <= CAUSE_MAX {
            (
                format!(
                    "The key file {path} changed at {changed}, {} before the first refusal.",
                    span_text(before)
                ),
                format!(
                    "Put the former key back into {path} ({setting}) if Imprint has not activated the new one. {READ}"
                ),
            )
        } else {
            (
                format!("The key file {path} has not changed since {changed}."),
                format!(
                    "Ask Imprint whether it has revoked the key. Put a valid key into {path} ({setting}). {READ}"
                ),
            )
        };
        Some(Self { sentence, advice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// FAULTS N1310: the banner told neither that the key file had changed two seconds before, nor its path and the way back.
    #[test]
    fn a_refused_key_is_told_with_the_change_of_its_file() {
        let ago = |seconds: i64| Timestamp::from_millis(NOW.as_millis() - seconds * 1000);
        let text = |modified: i64| {
            let file = SecretFileView {
                owner: "imprint.key_file".to_owned(),
                path: "/run/secrets/key".to_owned(),
                modified: Some(ago(modified)),
                read: Some(NOW),
                flaw: None,
                is_used: true,
            };
            let change = RefusedKey::of(&file, ago(600), NOW).unwrap();
            format!("{} {}", change.sentence, change.advice)
        };
        assert_eq!(
            text(602),
            "The key file /run/secrets/key changed at 22:03:18 UTC, 2 s before the first refusal. Put the former key back into /run/secrets/key (imprint.key_file) if Imprint has not activated the new one. The bridge reads the file every few seconds and goes on by itself."
        );
        assert!(text(90_000).contains("has not changed since 2023-11-13"));
        assert!(text(90_000).contains("whether it has revoked the key"));
        assert!(text(20).contains("has changed since then, at 22:13:00 UTC. The next probe shows"));
    }
}
