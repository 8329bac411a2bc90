//! Decides when the bridge tries the changed files of the sources. This module is pure.
//!
//! A program that writes several files needs some time, and a folder can vanish for a moment. Therefore the bridge tries
//! changed files only if two looks in a row, a few seconds apart, find the same files.

use std::time::Duration;

use crate::config::sources::SourcesDigest;
use crate::time::Timestamp;

/// The time after which the bridge tries refused files again. A cause outside the files has possibly ended: for example,
/// a secret file of a new source has arrived.
const RETRY_REFUSED_AFTER: Duration = Duration::from_mins(1);

/// The time after which the bridge reports files that change at every look, such as the log of another program. The bridge
/// never tries such files.
const UNSETTLED_MAX: Duration = Duration::from_mins(5);

/// The result of a look at the files of the sources: the digest of the files, or the reason why the bridge cannot look.
pub(super) type SeenFiles = Result<SourcesDigest, String>;

/// The files that the bridge has seen.
#[derive(Debug)]
pub(super) struct SetWatch {
    /// The digest of the files of the set in use, if the bridge knows it.
    used: Option<SourcesDigest>,
    /// The files that the bridge has refused last, and the time of the last attempt.
    refused: Option<(SeenFiles, Timestamp)>,
    /// The new result of the last look.
    pending: Option<SeenFiles>,
    /// The time since which each look finds other files than the look before.
    unsettled_since: Option<Timestamp>,
}

/// The action of the bridge after a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LookAction {
    /// The files are the files of the set in use.
    Confirm,
    /// The bridge waits for the next look.
    Wait,
    /// The bridge tries the files.
    Try,
    /// The bridge reports that the files change all the time.
    ReportUnsettled,
}

impl SetWatch {
    pub(super) const fn new(used: Option<SourcesDigest>) -> Self {
        Self {
            used,
            refused: None,
            pending: None,
            unsettled_since: None,
        }
    }

    /// Returns the digest of the files of the set in use.
    pub(super) const fn used(&self) -> Option<SourcesDigest> {
        self.used
    }

    /// Decides after a look.
    pub(super) fn look(&mut self, seen: SeenFiles, now: Timestamp) -> LookAction {
        let pending = self.pending.take();
        let unsettled_since = self.unsettled_since.take();
        if seen.as_ref().ok() == self.used.as_ref() && seen.is_ok() {
            self.refused = None;
            return LookAction::Confirm;
        }
        match &self.refused {
            Some((refused, tried_at)) if *refused == seen => {
                if now.since(*tried_at) < RETRY_REFUSED_AFTER {
                    LookAction::Wait
                } else {
                    LookAction::Try
                }
            }
            Some(_) | None if pending.as_ref() == Some(&seen) => LookAction::Try,
            Some(_) | None => {
                self.pending = Some(seen);
                let since = unsettled_since.unwrap_or(now);
                self.unsettled_since = Some(since);
                if now.since(since) < UNSETTLED_MAX {
                    LookAction::Wait
                } else {
                    LookAction::ReportUnsettled
                }
            }
        }
    }

    /// Records that the bridge uses the set with these files.
    pub(super) fn set_used(&mut self, digest: SourcesDigest) {
        *self = Self::new(Some(digest));
    }

    /// Records that the bridge has refused these files.
    pub(super) fn set_refused(&mut self, refused: SeenFiles, now: Timestamp) {
        self.refused = Some((refused, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> SourcesDigest {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.json"), name).unwrap();
        let files = crate::config::sources::SourceFiles::look(folder.path(), folder.path());
        files.unwrap().digest()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// Looks at files, and refuses the files if the bridge tries them.
    fn look_and_refuse(watch: &mut SetWatch, seen: &SeenFiles, now: Timestamp) -> LookAction {
        let action = watch.look(seen.clone(), now);
        if action == LookAction::Try {
            watch.set_refused(seen.clone(), now);
        }
        action
    }

    /// FAULTS N411, N412: the looks at a folder, and the action after each look. The files A are in use, and B are
    /// refused as soon as the bridge tries them.
    #[test]
    fn only_files_that_stay_the_same_are_tried() {
        use LookAction::{Confirm, Try, Wait};
        let [a, b, c] = ["a", "b", "c"].map(|name| Ok(digest(name)));
        let gone: SeenFiles = Err("gone".to_owned());
        let table: [&[(&SeenFiles, LookAction)]; 6] = [
            &[(&a, Confirm), (&a, Confirm)],
            &[(&b, Wait), (&b, Try), (&b, Wait)],
            &[
                (&b, Wait),
                (&c, Wait),
                (&b, Wait),
                (&a, Confirm),
                (&b, Wait),
            ],
            &[(&gone, Wait), (&a, Confirm), (&gone, Wait), (&gone, Try)],
            &[(&b, Wait), (&gone, Wait), (&b, Wait), (&b, Try)],
            &[(&b, Wait), (&b, Try), (&c, Wait), (&c, Try)],
        ];
        for looks in table {
            let mut watch = SetWatch::new(a.clone().ok());
            let actions = (0..)
                .zip(looks)
                .map(|(number, (seen, _))| look_and_refuse(&mut watch, seen, at(number * 3)));
            let expected = looks.iter().map(|(_, action)| action);
            assert!(actions.collect::<Vec<_>>().iter().eq(expected), "{looks:?}");
        }
    }

    /// FAULTS N412
    #[test]
    fn files_that_change_at_every_look_are_reported() {
        let mut watch = SetWatch::new(Some(digest("used")));
        let mut look = |number: i64| watch.look(Ok(digest(&number.to_string())), at(number * 3));
        for number in 0..100 {
            assert_eq!(look(number), LookAction::Wait, "{number}");
        }
        assert_eq!(look(100), LookAction::ReportUnsettled);
        assert_eq!(look(100), LookAction::Try, "the files have settled");
        assert_eq!(look(101), LookAction::Wait);
    }

    #[test]
    fn refused_files_are_tried_again_after_a_while() {
        let b: SeenFiles = Ok(digest("b"));
        let mut watch = SetWatch::new(None);
        watch.set_refused(b.clone(), at(0));
        assert_eq!(watch.look(b.clone(), at(59)), LookAction::Wait);
        assert_eq!(watch.look(b.clone(), at(60)), LookAction::Try);
        watch.set_used(digest("b"));
        assert_eq!(watch.look(b, at(63)), LookAction::Confirm);
    }
}
