//! Failpoints: places in the code where a test can crash the process, or make it lose events.
//!
//! The kill test and the power-cut test need a crash at an exact point. Both tests also need a process that really
//! loses events, to prove that the tests detect a loss. The cargo feature `failpoints` compiles failpoints into the
//! program. No release has this feature. A compiled failpoint does nothing until the environment variable
//! `IMPRINT_BRIDGE_FAILPOINTS` names the failpoint; commas separate several names. For example,
//! `crash:before_commit:25` aborts the process when the process passes the point `before_commit` for the 25th time, and
//! `hang:/tmp/hang` blocks every commit while the file `/tmp/hang` exists, and `disk:/tmp/bytes` gives the disk of the
//! store the size in the file `/tmp/bytes` while this file exists.
//!
//! Without the feature `failpoints`, every function in this module returns a constant, and the compiler removes the
//! calls.
//!
//! Only modules with input and output are allowed to use failpoints. Mutation tests check the pure modules instead.
//! This module uses no other module of the crate.

/// A fault that a test can switch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bridge answers the sender with 202 before the store has committed the transaction.
    AnswerBeforeCommit,
    /// The dispatcher treats every outcome of an update as a success.
    AssumeApplied,
    /// A commit does not wait for the disk. Only a power cut shows the loss, because the kernel keeps the writes of a
    /// killed process.
    SynchronousOff,
}

/// A point in the code at which a test can abort the process, with the effect of SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrashPoint {
    /// The start has written a new mark into the store's write-ahead log, but not yet into the store file itself. The
    /// mark pairs the log with the store file.
    AfterMarkBeforeCheckpoint,
    /// The store has written the transaction of a group of events, but has not committed the transaction.
    BeforeCommit,
    /// The group of events is on disk, but no sender has an answer.
    AfterCommitBeforeAnswer,
    /// Dispatch has claimed a lane, but has not sent the request of the lane.
    AfterClaimBeforeRequest,
    /// Imprint has answered a request, but the store has not recorded the result.
    AfterRequestBeforeSettle,
    /// The store has recorded the result of a request.
    AfterSettle,
    /// The store has sealed some records again, but has not committed the transaction.
    BeforeReseal,
    /// The store has committed the transaction that seals some records again.
    AfterReseal,
    /// The store has listed its newest sealing key and sealed the digest key with it, but has not committed the
    /// transaction.
    BeforeKeyListing,
    /// The store has committed the listing of its newest sealing key, but no record is sealed with the key.
    AfterKeyListing,
    /// The erasure of a customer is in the erasure journal, but the store has erased nothing.
    AfterErasureRecord,
    /// The store has written the transaction of a step of an erasure, but has not committed the transaction.
    BeforeErasure,
    /// The store has committed a step of an erasure, but the operator has no answer.
    AfterErasure,
    /// The store has retired some idle customers, but has not committed the transaction.
    BeforeRetirement,
    /// A transfer to the other engine has written the transaction of a batch, but has not committed the transaction.
    BeforeTransferCommit,
    /// A transfer to the other engine has committed a batch.
    AfterTransferBatch,
}

/// Returns whether the program contains failpoints.
pub(crate) const fn are_compiled() -> bool {
    cfg!(feature = "failpoints")
}

#[cfg(not(feature = "failpoints"))]
pub(crate) const fn is_armed(_fault: Fault) -> bool {
    false
}

#[cfg(not(feature = "failpoints"))]
pub(crate) const fn crash_point(_point: CrashPoint) {}

#[cfg(not(feature = "failpoints"))]
pub(crate) const fn hang_point() {}

#[cfg(not(feature = "failpoints"))]
pub(crate) const fn free_bytes(_folder: &std::path::Path) -> Option<u64> {
    None
}

#[cfg(feature = "failpoints")]
pub(crate) use self::live::{crash_point, free_bytes, hang_point, is_armed};

#[cfg(feature = "failpoints")]
mod live {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Path, PathBuf};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::{CrashPoint, Fault};

    /// The environment variable that arms failpoints.
    const VARIABLE: &str = "IMPRINT_BRIDGE_FAILPOINTS";

    /// The delay before a crash. In this time, the answers that the process has written reach their clients. A crash
    /// after an answer is the most dangerous crash, because the client relies on the answer.
    const DELAY: Duration = Duration::from_millis(50);

    /// The time between two checks whether the file in `hang:FILE` exists.
    const HANG_POLL: Duration = Duration::from_millis(20);

    /// The unit of the number of blocks of a file, in bytes.
    const STAT_BLOCK: u64 = 512;

    static ARMED: LazyLock<Armed> = LazyLock::new(Armed::read);

    /// Returns whether the environment variable arms this fault.
    pub(crate) fn is_armed(fault: Fault) -> bool {
        ARMED.faults.contains(&fault)
    }

    /// Aborts the process if the environment variable arms a crash for this point and this pass.
    #[expect(
        clippy::disallowed_methods,
        reason = "the thread must not continue before the process aborts"
    )]
    pub(crate) fn crash_point(point: CrashPoint) {
        let Some(crash) = ARMED.crash.as_ref().filter(|crash| crash.point == point) else {
            return;
        };
        if crash.passes_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::thread::sleep(DELAY);
            std::process::abort();
        }
    }

    /// Blocks the thread while the file in `hang:FILE` exists. A commit on a disk that does not answer has this effect.
    #[expect(
        clippy::disallowed_methods,
        reason = "the thread must wait as for a disk"
    )]
    pub(crate) fn hang_point() {
        while ARMED.hang_file.as_ref().is_some_and(|file| file.exists()) {
            std::thread::sleep(HANG_POLL);
        }
    }

    /// Returns the free space of a disk with the size in the file of `disk:FILE`, on which only the files of this folder
    /// are. Returns `None` while the file does not exist.
    pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
        let size = fs::read_to_string(ARMED.disk_file.as_ref()?).ok()?;
        let size: u64 = size.trim().parse().ok()?;
        let files = fs::read_dir(folder).ok()?.flatten();
        let blocks = files.filter_map(|file| file.metadata().ok().map(|file| file.blocks()));
        Some(size.saturating_sub(blocks.sum::<u64>().saturating_mul(STAT_BLOCK)))
    }

    #[derive(Default)]
    struct Armed {
        faults: Vec<Fault>,
        hang_file: Option<PathBuf>,
        disk_file: Option<PathBuf>,
        crash: Option<Crash>,
    }

    struct Crash {
        point: CrashPoint,
        passes_left: AtomicU32,
    }

    impl Armed {
        /// Reads the armed failpoints. An unknown name aborts the process, because a test without its failpoint would
        /// prove nothing.
        #[expect(
            clippy::disallowed_methods,
            reason = "this is not configuration: no release reads it"
        )]
        fn read() -> Self {
            let text = std::env::var(VARIABLE).unwrap_or_default();
            let mut armed = Self::default();
            for name in text.split(',').filter(|name| !name.is_empty()) {
                armed.arm(name).unwrap_or_else(|| abort_on(name));
                tracing::warn!(
                    failpoint = name,
                    "failpoint armed: this process fails on purpose"
                );
            }
            armed
        }

        fn arm(&mut self, name: &str) -> Option<()> {
            let parts: Vec<&str> = name.split(':').collect();
            match parts.as_slice() {
                ["crash", point, passes] => {
                    self.crash = Some(Crash {
                        point: crash_point_named(point)?,
                        passes_left: AtomicU32::new(passes.parse().ok().filter(|left| *left > 0)?),
                    });
                }
                ["hang", file] => self.hang_file = Some(PathBuf::from(file)),
                ["disk", file] => self.disk_file = Some(PathBuf::from(file)),
                [fault] => self.faults.push(fault_named(fault)?),
                _ => return None,
            }
            Some(())
        }
    }

    fn abort_on(name: &str) {
        tracing::error!(failpoint = name, "{VARIABLE} names an unknown failpoint");
        std::process::abort();
    }

    fn fault_named(name: &str) -> Option<Fault> {
        Some(match name {
            "answer_before_commit" => Fault::AnswerBeforeCommit,
            "assume_applied" => Fault::AssumeApplied,
            "synchronous_off" => Fault::SynchronousOff,
            _ => return None,
        })
    }

    fn crash_point_named(name: &str) -> Option<CrashPoint> {
        Some(match name {
            "after_mark_before_checkpoint" => CrashPoint::AfterMarkBeforeCheckpoint,
            "before_commit" => CrashPoint::BeforeCommit,
            "after_commit_before_answer" => CrashPoint::AfterCommitBeforeAnswer,
            "after_claim_before_request" => CrashPoint::AfterClaimBeforeRequest,
            "after_request_before_settle" => CrashPoint::AfterRequestBeforeSettle,
            "after_settle" => CrashPoint::AfterSettle,
            "before_reseal" => CrashPoint::BeforeReseal,
            "after_reseal" => CrashPoint::AfterReseal,
            "before_key_listing" => CrashPoint::BeforeKeyListing,
            "after_key_listing" => CrashPoint::AfterKeyListing,
            "after_erasure_record" => CrashPoint::AfterErasureRecord,
            "before_erasure" => CrashPoint::BeforeErasure,
            "after_erasure" => CrashPoint::AfterErasure,
            "before_retirement" => CrashPoint::BeforeRetirement,
            "before_transfer_commit" => CrashPoint::BeforeTransferCommit,
            "after_transfer_batch" => CrashPoint::AfterTransferBatch,
            _ => return None,
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn faults_and_one_crash_are_armed_by_name() {
            let mut armed = Armed::default();
            for name in [
                "answer_before_commit",
                "assume_applied",
                "synchronous_off",
                "crash:after_settle:3",
            ] {
                assert!(armed.arm(name).is_some(), "{name}");
            }
            assert_eq!(armed.faults.len(), 3);
            let crash = armed.crash.as_ref().unwrap();
            assert_eq!(crash.point, CrashPoint::AfterSettle);
            assert_eq!(crash.passes_left.load(Ordering::SeqCst), 3);
            for name in [
                "",
                "crash",
                "crash:before_commit",
                "crash:x:1",
                "crash:after_settle:0",
                "x",
            ] {
                assert!(armed.arm(name).is_none(), "{name}");
            }
        }
    }
}
