//! What pages say about secret files: where they are, how old they are, and whether the bridge can use them. Pure.

use super::key_change::is_key_refused;
use super::words::{TimeText, capitalized};
use crate::http::denied::DeniedRow;
use crate::ops::operate::{DestinationView, SecretFileView};
use crate::time::Timestamp;

/// A file with a key for requests to Imprint.
pub(super) struct KeyFileText {
    pub(super) setting: String,
    pub(super) path: String,
    pub(super) modified: Option<TimeText>,
    pub(super) read: Option<TimeText>,
    pub(super) state: String,
}

impl KeyFileText {
    pub(super) fn all(
        files: Vec<SecretFileView>,
        destination: &DestinationView,
        now: Timestamp,
    ) -> Vec<Self> {
        let files = files.into_iter();
        files.map(|file| Self::of(file, destination, now)).collect()
    }

    fn of(file: SecretFileView, destination: &DestinationView, now: Timestamp) -> Self {
        let change = destination.change.as_ref();
        let refused = change.filter(|change| is_key_refused(change) && change.to != "flowing");
        let state = match (&file.flaw, file.is_used, refused) {
            (Some(flaw), true, _) => format!("the bridge uses the earlier key: {flaw}"),
            (Some(flaw), false, _) => flaw.clone(),
            (None, false, _) => "not in use".to_owned(),
            (None, true, Some(change)) => {
                let since = TimeText::since(change.at, now);
                let is_newer = file.modified.is_some_and(|modified| modified > change.at);
                match is_newer {
                    true => {
                        format!("Imprint refused the earlier key since {since}; the file is newer")
                    }
                    false => format!("Imprint refuses it since {since}"),
                }
            }
            (None, true, None) => "in use".to_owned(),
        };
        Self {
            setting: file.owner,
            path: file.path,
            modified: file.modified.map(|at| TimeText::of(at, now)),
            read: file.read.map(|at| TimeText::of(at, now)),
            state: capitalized(&state),
        }
    }
}

/// Returns whether requests failed because their signature or their token belongs to none of the secrets.
pub(super) fn is_wrong_secret(row: &DeniedRow) -> bool {
    row.reason == "mismatch"
}

/// Says in plain words that the sender has another secret than the bridge. `None` for another denial, or if the bridge has
/// no secret file of the source. The latest refused request says nothing about a file that is newer, or that the bridge has
/// used only since the source file changed at `changed_at`.
pub(super) fn wrong_secret(
    row: &DeniedRow,
    (files, changed_at): (&[SecretFileView], Option<Timestamp>),
    now: Timestamp,
) -> Option<String> {
    if !is_wrong_secret(row) || files.is_empty() {
        return None;
    }
    let is_newer = |file: &&SecretFileView| file.modified.is_some_and(|at| at > row.last_at);
    let (newer, older): (Vec<_>, Vec<_>) = files.iter().partition(is_newer);
    let is_signature = row.last_detail.contains("signature");
    let part = if is_signature { "signature" } else { "secret" };
    let newer = named(&newer, now);
    let other = if is_signature {
        ", or something on the way changes the body"
    } else {
        ""
    };
    if let Some(changed_at) = changed_at.filter(|at| *at > row.last_at) {
        let at = TimeText::of(changed_at, now).absolute;
        let newer = match newer.as_str() {
            "" => String::new(),
            newer => format!(", and {newer}"),
        };
        return Some(format!(
            "the {part} did not match: the sender had another secret than the bridge{other}; since then, at {at}, the files of the source have changed{newer}"
        ));
    }
    Some(match named(&older, now).as_str() {
        "" => {
            format!("the {part} did not match the earlier secret; changed since then: {newer}")
        }
        older if newer.is_empty() => {
            format!("the {part} does not match: the sender has another secret than {older}{other}")
        }
        older => format!(
            "the {part} did not match: the sender had another secret than {older}; changed since then: {newer}"
        ),
    })
}

/// Names files with the times of their last change.
fn named(files: &[&SecretFileView], now: Timestamp) -> String {
    let files = files.iter().map(|file| {
        let changed = file.modified.map(|at| {
            let at = TimeText::of(at, now);
            format!(" (changed at {}, {})", at.absolute, at.relative)
        });
        format!("{}{}", file.path, changed.unwrap_or_default())
    });
    files.collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::destination::{OperatorMode, StateChange};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn file(minutes: i64) -> SecretFileView {
        SecretFileView {
            owner: "imprint.key_file".to_owned(),
            path: "/run/secrets/key".to_owned(),
            modified: Some(Timestamp::from_millis(NOW.as_millis() - minutes * 60_000)),
            read: Some(NOW),
            flaw: None,
            is_used: true,
        }
    }

    /// FAULTS N1284
    #[test]
    fn a_wrong_secret_is_told_with_its_file_and_the_age_of_the_file() {
        let row = |reason: &str, detail: &str| DeniedRow {
            source: "crm".to_owned(),
            problem: "unauthenticated",
            reason: reason.to_owned(),
            location: String::new(),
            count: 1,
            first_at: NOW,
            last_at: NOW,
            last_pointers: Vec::new(),
            last_detail: detail.to_owned(),
        };
        let signature = "no secret of the source makes a signature";
        assert_eq!(
            wrong_secret(&row("mismatch", signature), (&[file(25)], None), NOW).unwrap(),
            "the signature does not match: the sender has another secret than /run/secrets/key (changed at 2023-11-14 21:48:20 UTC, 25 min ago), or something on the way changes the body"
        );
        let token = wrong_secret(
            &row("mismatch", "no secret of the source"),
            (&[file(25)], None),
            NOW,
        );
        assert!(token.unwrap().starts_with("the secret does not match"));
        assert_eq!(
            wrong_secret(&row("stale", signature), (&[file(25)], None), NOW),
            None
        );
        assert_eq!(
            wrong_secret(&row("mismatch", signature), (&[], None), NOW),
            None
        );
        // FAULTS N1235: an operator has put the new secret into a file after the latest refused request.
        let changed = |minutes| SecretFileView {
            path: "/run/secrets/new".to_owned(),
            ..file(minutes)
        };
        let ago = |minutes: i64| Timestamp::from_millis(NOW.as_millis() - minutes * 60_000);
        let row = DeniedRow {
            last_at: ago(10),
            ..row("mismatch", signature)
        };
        let late = |files: &[SecretFileView]| wrong_secret(&row, (files, None), NOW).unwrap();
        assert_eq!(
            late(&[file(25), changed(5)]),
            "the signature did not match: the sender had another secret than /run/secrets/key (changed at 2023-11-14 21:48:20 UTC, 25 min ago); changed since then: /run/secrets/new (changed at 2023-11-14 22:08:20 UTC, 5 min ago)"
        );
        assert!(late(&[changed(5)]).starts_with("the signature did not match the earlier secret;"));
        assert!(late(&[file(25), changed(20)]).contains("does not match"));
        // FAULTS N1474: the operator has added the new secret to the source file. The bridge uses a file only from then on.
        let both = [file(25), changed(11)];
        assert_eq!(
            wrong_secret(&row, (&both, Some(ago(9))), NOW).unwrap(),
            "the signature did not match: the sender had another secret than the bridge, or something on the way changes the body; since then, at 2023-11-14 22:04:20 UTC, the files of the source have changed"
        );
        let earlier = wrong_secret(&row, (&both, Some(ago(12))), NOW).unwrap();
        assert!(earlier.contains("does not match"), "{earlier}");
    }

    /// FAULTS N1283
    #[test]
    fn a_key_file_has_its_state() {
        let destination = |change: Option<(&'static str, &str)>| DestinationView {
            mode: OperatorMode::Open,
            state: "stopped",
            change: change.map(|(outcome, cause)| StateChange {
                to: "stopped",
                at: Timestamp::from_millis(NOW.as_millis() - 600_000),
                outcome,
                cause: cause.to_owned(),
            }),
            next_try_at: None,
            unproven: None,
            changes: Vec::new(),
        };
        let refused = destination(Some(("denied", "status_401")));
        let flaw = |is_used| SecretFileView {
            flaw: Some("/run/secrets/key is empty".to_owned()),
            is_used,
            ..file(25)
        };
        let unused = SecretFileView {
            is_used: false,
            ..file(25)
        };
        for (file, destination, state) in [
            (file(25), &destination(None), "In use"),
            (file(25), &refused, "Imprint refuses it since 22:03:20 UTC"),
            (
                file(5),
                &refused,
                "Imprint refused the earlier key since 22:03:20 UTC; the file is newer",
            ),
            (unused, &refused, "Not in use"),
            (
                flaw(true),
                &refused,
                "The bridge uses the earlier key: /run/secrets/key is empty",
            ),
            (flaw(false), &refused, "/run/secrets/key is empty"),
        ] {
            assert_eq!(KeyFileText::of(file, destination, NOW).state, state);
        }
    }
}
