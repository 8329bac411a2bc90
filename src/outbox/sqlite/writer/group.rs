//! The group of commands that the writer thread serves together.

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
    /// Returns whether the group can take a further command.
    pub(super) fn has_room(&self) -> bool {
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
