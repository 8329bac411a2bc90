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
        let (path, setting) = (&file.path, &file.owner);
        if let Some(flaw) = &file.flaw {
            return Some(Self {
                sentence: format!(
                    "The bridge cannot use the key file: {flaw}. It uses the earlier key, which Imprint refuses."
                ),
                advice: format!("Put a valid key into {path} ({setting}). {READ}"),
            });
        }
        let modified = file.modified?;
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
                    "The key file {path} was last modified at {changed}, {} before the first refusal.",
                    span_text(before)
                ),
                format!(
                    "Put the former key back into {path} ({setting}) if Imprint has not activated the new one. {READ}"
                ),
            )
        } else {
            (
                // A file that was moved into its place, or copied with its times, has the time of its earlier place.
                format!("The key file {path} was last modified at {changed}."),
                format!(
                    "If somebody has replaced the file, put the former key back into {path} ({setting}). Otherwise ask Imprint whether it has revoked the key. {READ}"
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
        let text = |modified: i64, flaw: Option<&str>| {
            let file = SecretFileView {
                owner: "imprint.key_file".to_owned(),
                path: "/run/secrets/key".to_owned(),
                modified: Some(ago(modified)),
                read: Some(NOW),
                flaw: flaw.map(str::to_owned),
                is_used: true,
            };
            let change = RefusedKey::of(&file, ago(600), NOW).unwrap();
            format!("{} {}", change.sentence, change.advice)
        };
        assert_eq!(
            text(602, None),
            "The key file /run/secrets/key was last modified at 22:03:18 UTC, 2 s before the first refusal. Put the former key back into /run/secrets/key (imprint.key_file) if Imprint has not activated the new one. The bridge reads the file every few seconds and goes on by itself."
        );
        // A file with an old time is possibly new in its place.
        let old = text(90_000, None);
        for part in [
            "was last modified at 2023-11-13",
            "If somebody has replaced the file, put the former key back",
            "whether it has revoked the key",
        ] {
            assert!(old.contains(part), "{part}: {old}");
        }
        let newer = text(20, None);
        assert!(newer.contains("has changed since then, at 22:13:00 UTC. The next probe shows"));
        // The bridge does not try a key that it cannot use.
        let flaw = "/run/secrets/key is empty";
        assert_eq!(
            text(20, Some(flaw)),
            "The bridge cannot use the key file: /run/secrets/key is empty. It uses the earlier key, which Imprint refuses. Put a valid key into /run/secrets/key (imprint.key_file). The bridge reads the file every few seconds and goes on by itself."
        );
    }
}
