//! Bugs and crashes put in on purpose, so that the tests can show that they would notice.
//!
//! They are compiled in by the feature `planted` only, which no release has, and sleep even then until the environment
//! variable `IMPRINT_BRIDGE_PLANTED` names them, separated by commas: `answer_before_commit,crash:before_commit:25` also
//! aborts the process when that point is reached for the 25th time. Without the feature the answer to every question
//! here is a constant, and nothing of it is left in the program. This module knows no other of ours.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// The sender hears 202 before the transaction is committed.
    AnswerBeforeCommit,
    /// Whatever comes of a request, its entries are marked delivered.
    ForgetInFlight,
    /// A commit does not wait for the disk. Only a power cut shows it: what a killed process wrote, the kernel keeps.
    SynchronousOff,
    /// The newest of several entries is marked delivered and not sent.
    DropNewest,
    /// A lane that is in flight is claimed once more.
    JumpTheLane,
    /// What a refused key brings back is parked.
    DeniedParks,
    /// The client goes where it is sent.
    FollowRedirects,
    /// What was appended wakes nobody, and nobody looks by himself.
    LoseWakeUps,
    /// A settlement is counted twice.
    SettleTwice,
    /// What may land late is not remembered.
    ForgetDoubt,
    /// What Imprint says about waiting is not heard.
    IgnoreRetryAfter,
    /// Every failure is held against the entry.
    SpendInOutages,
    /// What is beaten has ended before the winner is delivered.
    SupersedeEarly,
    /// An echo about somebody else counts.
    AnyCustomerWillDo,
    /// A hit of a search is not held against what was asked.
    AnyHitWillDo,
    /// The key is not read again.
    KeepTheKey,
    /// A replay is newer than everything.
    ReplayStale,
}

#[cfg(feature = "planted")]
impl Planted {
    /// Every bug, by the word that orders it.
    const WORDS: [(&'static str, Self); 17] = [
        ("answer_before_commit", Self::AnswerBeforeCommit),
        ("forget_in_flight", Self::ForgetInFlight),
        ("synchronous_off", Self::SynchronousOff),
        ("drop_newest", Self::DropNewest),
        ("jump_the_lane", Self::JumpTheLane),
        ("denied_parks", Self::DeniedParks),
        ("follow_redirects", Self::FollowRedirects),
        ("lose_wake_ups", Self::LoseWakeUps),
        ("settle_twice", Self::SettleTwice),
        ("forget_doubt", Self::ForgetDoubt),
        ("ignore_retry_after", Self::IgnoreRetryAfter),
        ("spend_in_outages", Self::SpendInOutages),
        ("supersede_early", Self::SupersedeEarly),
        ("any_customer_will_do", Self::AnyCustomerWillDo),
        ("any_hit_will_do", Self::AnyHitWillDo),
        ("keep_the_key", Self::KeepTheKey),
        ("replay_stale", Self::ReplayStale),
    ];
}

/// A place where the process can be made to end, as if it were killed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrashPoint {
    /// A group is written, and not committed.
    BeforeCommit,
    /// A group is on disk, and nobody has heard of it.
    AfterCommitBeforeAnswer,
    /// A lane is claimed, and nothing of it sent.
    AfterClaimBeforeRequest,
    /// Imprint has answered, and the store does not know.
    AfterRequestBeforeSettle,
    /// The store knows what came of a request.
    AfterSettle,
}

#[cfg(not(feature = "planted"))]
pub(crate) const fn armed(_bug: Planted) -> bool {
    false
}

#[cfg(not(feature = "planted"))]
pub(crate) const fn crash_point(_point: CrashPoint) {}

#[cfg(feature = "planted")]
pub(crate) use self::live::{armed, crash_point};

#[cfg(feature = "planted")]
mod live {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::{CrashPoint, Planted};

    /// What the process was told to do wrong.
    const ORDERS: &str = "IMPRINT_BRIDGE_PLANTED";

    /// How long a crash waits, so that whatever was said before it has been heard: that is the worst moment to crash.
    const LAST_WORDS: Duration = Duration::from_millis(50);

    static ORDERED: LazyLock<Orders> = LazyLock::new(Orders::read);

    /// Whether this bug is in force.
    pub(crate) fn armed(bug: Planted) -> bool {
        ORDERED.bugs.contains(&bug)
    }

    /// Ends the process here, if it was told to and this is the time.
    #[expect(
        clippy::disallowed_methods,
        reason = "the thread is to stand still until the process ends"
    )]
    pub(crate) fn crash_point(point: CrashPoint) {
        let Some(crash) = ORDERED.crash.as_ref().filter(|crash| crash.point == point) else {
            return;
        };
        if crash.hits_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::thread::sleep(LAST_WORDS);
            std::process::abort();
        }
    }

    #[derive(Default)]
    struct Orders {
        bugs: Vec<Planted>,
        crash: Option<Crash>,
    }

    struct Crash {
        point: CrashPoint,
        hits_left: AtomicU32,
    }

    impl Orders {
        /// Orders that cannot be read end the process: a test that plants nothing would prove nothing.
        #[expect(
            clippy::disallowed_methods,
            reason = "this is no configuration: no release reads it"
        )]
        fn read() -> Self {
            let text = std::env::var(ORDERS).unwrap_or_default();
            let mut orders = Self::default();
            for order in text.split(',').filter(|order| !order.is_empty()) {
                orders.take(order).unwrap_or_else(|| refuse(order));
                tracing::warn!(order, "planted: this process does wrong on purpose");
            }
            orders
        }

        fn take(&mut self, order: &str) -> Option<()> {
            let words: Vec<&str> = order.split(':').collect();
            match words.as_slice() {
                ["crash", point, hit] => {
                    self.crash = Some(Crash {
                        point: named(point)?,
                        hits_left: AtomicU32::new(hit.parse().ok().filter(|hit| *hit > 0)?),
                    });
                }
                [word] => {
                    let mut words = Planted::WORDS.iter();
                    let (_, bug) = words.find(|(other, _)| other == word)?;
                    self.bugs.push(*bug);
                }
                _ => return None,
            }
            Some(())
        }
    }

    fn refuse(order: &str) {
        tracing::error!(order, "{ORDERS} names what cannot be planted");
        std::process::abort();
    }

    fn named(point: &str) -> Option<CrashPoint> {
        Some(match point {
            "before_commit" => CrashPoint::BeforeCommit,
            "after_commit_before_answer" => CrashPoint::AfterCommitBeforeAnswer,
            "after_claim_before_request" => CrashPoint::AfterClaimBeforeRequest,
            "after_request_before_settle" => CrashPoint::AfterRequestBeforeSettle,
            "after_settle" => CrashPoint::AfterSettle,
            _ => return None,
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn orders_are_words_and_one_crash() {
            let mut orders = Orders::default();
            for order in [
                "answer_before_commit",
                "forget_in_flight",
                "synchronous_off",
                "crash:after_settle:3",
            ] {
                assert!(orders.take(order).is_some(), "{order}");
            }
            assert_eq!(orders.bugs.len(), 3);
            let crash = orders.crash.as_ref().unwrap();
            assert_eq!(crash.point, CrashPoint::AfterSettle);
            assert_eq!(crash.hits_left.load(Ordering::SeqCst), 3);
            for order in [
                "",
                "crash",
                "crash:before_commit",
                "crash:x:1",
                "crash:after_settle:0",
                "x",
            ] {
                assert!(orders.take(order).is_none(), "{order}");
            }
        }
    }
}
