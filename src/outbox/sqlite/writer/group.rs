//! The group of commands that the writer thread serves together.

use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use super::job::{ActJob, AppendJob, ClaimJob, ReadJob, Reply, SettleJob, WriterCommand, bytes};
use super::{CopyJob, KeysJob};

/// The maximum number of commands in one commit. More commands share the cost of a sync better, but then each caller
/// waits longer.
const GROUP_COMMANDS_MAX: usize = 1024;

/// The maximum total size of the events in one commit. The last command of a group can exceed the limit.
///
/// [`INTAKE_BYTES`] of free space must be enough for the events of one commit.
///
/// [`INTAKE_BYTES`]: crate::outbox::reserve::INTAKE_BYTES
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The minimum number of commands in the last commit for which the writer waits before the next commit.
const WAIT_COMMANDS_MIN: usize = 5;

/// The maximum time for which the writer waits before a commit. Callers on a slow disk wait only a little longer.
const WAIT_MAX: Duration = Duration::from_millis(2);

/// The last commit of the store.
#[derive(Clone, Copy, Default)]
pub(super) struct LastCommit {
    pub(super) commands: usize,
    pub(super) took: Duration,
}

impl LastCommit {
    /// Returns the time for which the writer waits before the next commit, so that more callers add their commands: a
    /// larger group still costs only one sync.
    ///
    /// The rule is like `commit_delay` and `commit_siblings` in PostgreSQL: wait only if many callers are active. The time
    /// is that of the last commit, instead of a setting.
    fn wait(self) -> Option<Duration> {
        (self.commands >= WAIT_COMMANDS_MIN).then(|| self.took.min(WAIT_MAX))
    }
}

/// The commands that one group commit serves.
#[derive(Default)]
pub(super) struct CommitGroup {
    pub(super) claims: Vec<ClaimJob>,
    pub(super) reads: Vec<ReadJob>,
    pub(super) acts: Vec<ActJob>,
    pub(super) appends: Vec<AppendJob>,
    pub(super) settles: Vec<SettleJob>,
    pub(super) copies: Vec<CopyJob>,
    pub(super) erasures: Vec<Reply<()>>,
    pub(super) keys: Vec<KeysJob>,
    pub(super) reseals: Vec<Reply<bool>>,
    commands: usize,
    pub(super) bytes: usize,
}

impl CommitGroup {
    /// Adds the commands that wait in the queue, as far as the group has room.
    pub(super) fn fill(&mut self, commands: &Receiver<WriterCommand>) {
        while self.has_room()
            && let Ok(next) = commands.try_recv()
        {
            self.push(next);
        }
    }

    /// Returns the time for which the writer waits until it fills the group again, after the last commit.
    pub(super) fn wait(&self, last: LastCommit) -> Option<Duration> {
        let commits = !(self.appends.is_empty() && self.settles.is_empty());
        last.wait().filter(|_| commits && self.has_room())
    }

    /// Returns whether the group can take a further command.
    fn has_room(&self) -> bool {
        self.commands < GROUP_COMMANDS_MAX && self.bytes < GROUP_BYTES_MAX
    }

    /// Returns whether the group contains a command that can change the store.
    pub(super) const fn writes(&self) -> bool {
        !(self.acts.is_empty()
            && self.appends.is_empty()
            && self.settles.is_empty()
            && self.erasures.is_empty()
            && self.keys.is_empty()
            && self.reseals.is_empty())
    }

    pub(super) fn push(&mut self, command: WriterCommand) {
        self.commands += 1;
        match command {
            WriterCommand::Append(append) => {
                self.bytes += bytes(&append.batch);
                self.appends.push(append);
            }
            WriterCommand::Settle(settle) => self.settles.push(settle),
            WriterCommand::Claim(claim) => self.claims.push(claim),
            WriterCommand::Read(read) => self.reads.push(read),
            WriterCommand::Act(act) => self.acts.push(act),
            WriterCommand::Copy(copy) => self.copies.push(copy),
            WriterCommand::Erase(reply) => self.erasures.push(reply),
            WriterCommand::UseKeys(keys) => self.keys.push(keys),
            WriterCommand::Reseal(reply) => self.reseals.push(reply),
        }
    }
}

/// Lets more callers add their commands.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing must wake the writer: a wake-up for each command would cost more than the sync that it saves"
)]
pub(super) fn sleep(wait: Duration) {
    thread::sleep(wait);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(commands: usize, micros: u64) -> Option<Duration> {
        let took = Duration::from_micros(micros);
        LastCommit { commands, took }.wait()
    }

    #[test]
    fn the_writer_waits_as_long_as_the_last_commit_took() {
        assert_eq!(wait(5, 700), Some(Duration::from_micros(700)));
        assert_eq!(wait(1024, 1), Some(Duration::from_micros(1)));
    }

    #[test]
    fn a_slow_disk_does_not_make_the_writer_wait_for_long() {
        assert_eq!(wait(5, 2_000), Some(WAIT_MAX));
        assert_eq!(wait(5, 30_000_000), Some(WAIT_MAX));
    }

    #[test]
    fn with_few_callers_the_writer_commits_at_once() {
        assert_eq!(wait(4, 700), None);
        assert_eq!(LastCommit::default().wait(), None);
    }

    #[test]
    fn only_a_group_that_commits_and_has_room_waits() {
        let last = LastCommit {
            commands: 5,
            took: WAIT_MAX,
        };
        let mut group = CommitGroup::default();
        assert_eq!(group.wait(last), None);
        let (reply, _answer) = tokio::sync::oneshot::channel();
        let append = AppendJob {
            batch: Vec::new(),
            reply,
        };
        group.push(WriterCommand::Append(append));
        assert_eq!(group.wait(last), Some(WAIT_MAX));
        assert_eq!(group.wait(LastCommit::default()), None);
        group.commands = GROUP_COMMANDS_MAX;
        assert_eq!(group.wait(last), None);
    }
}
