//! The store's writer thread: owns the SQLite connection, commits all queued commands as one group, and then answers
//! the callers.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::watch::Sender;

use super::claim::Claimer;
use super::claimed_lanes::ClaimedLanes;
use super::counts::Counts;
use super::decode_cache::DecodeCache;
use super::disk_space::DiskSpace;
use super::files::StoreFiles;
use super::open::Opened;
use super::reseal::ResealPass;
use super::shared::SharedState;
use super::statements::Statements;
use super::store_connection::StoreConnection;
use super::{append, log_mark, open, settle, watch};
use crate::failpoint::{self, CrashPoint, Fault};
use crate::outbox::keyed_digest::DigestKey;
use crate::outbox::{Appended, EntryId, Error, Settled, State, StoreCondition};
use crate::time::Clock;

mod command;
mod copy;
mod erasure;
mod group;
pub(super) mod job;
mod sealing;

use command::{Command, Isolation};
pub(super) use copy::CopyJob;
use group::{CommitGroup, LastCommit};
use job::{ActJob, ActState, AppendJob, ClaimJob, Finished, SettleJob, Wakes, WriterCommand};
use job::{answer_appends, failed, refuse_appends, refuse_settles, send, stops_the_store};
pub(super) use sealing::KeysJob;

pub(super) struct Writer<'a> {
    store: &'a StoreConnection,
    digest_key: DigestKey,
    /// The pass in progress that seals blobs again.
    pass: Option<ResealPass>,
    statements: Statements<'a>,
    disk: &'a DiskSpace,
    files: Arc<StoreFiles>,
    shared: Arc<SharedState>,
    /// Measures the commits.
    clock: Clock,
    last: LastCommit,
    claimed: ClaimedLanes,
    decoded: DecodeCache,
    counts: Counts,
    /// The copy of the store that an operator has asked for.
    copy: Option<(CopyJob, Arc<()>)>,
    /// A copy in progress holds a second reference to this value.
    copying: Arc<()>,
}

/// The result of a group's transaction. The writer answers the callers after the commit of the transaction.
#[derive(Default)]
struct GroupResult {
    appended: Vec<Result<Appended, Error>>,
    settled: Vec<Result<Settled, Error>>,
    ended: Vec<(EntryId, State)>,
    counts: Counts,
}

impl<'a> Writer<'a> {
    /// Creates the writer of an opened store. The caller keeps the connection.
    pub(super) fn new(
        (opened, disk): (&'a Opened, &'a DiskSpace),
        counts: Counts,
        files: Arc<StoreFiles>,
        shared: Arc<SharedState>,
    ) -> Self {
        Self {
            store: &opened.store,
            digest_key: opened.digest_key,
            pass: None,
            statements: Statements::of(&opened.store),
            disk,
            files,
            shared,
            clock: Clock::machine(),
            last: LastCommit::default(),
            claimed: ClaimedLanes::new(opened.owner, opened.bounds),
            decoded: DecodeCache::default(),
            counts,
            copy: None,
            copying: Arc::default(),
        }
    }

    /// Serves commands until every sender of commands is dropped, or until the store fails. If the store fails, sets
    /// `failed` to true.
    pub(super) fn run(&mut self, commands: &Receiver<WriterCommand>, failed: &Sender<bool>) {
        let served = self.serve_all(commands);
        // Count the close as a group: otherwise the thread that checks the files would take the writes of the close for
        // the writes of another program.
        self.shared.groups.start();
        self.shared.close();
        if let Err(error) = served {
            tracing::error!(
                error = %error,
                disk = self.disk.write_error().map(|error| error.to_string()),
                "the store failed, so the process stops; the data on disk stays as it is, and no accepted event is lost. Look at the log of the kernel and check the disk before the next start"
            );
            failed.send_replace(true);
            return;
        }
        if !self.files.has_database() {
            // Keep the log at its path: an operator possibly puts the store file back, and the store file then needs
            // the log.
            let config = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            if let Err(error) = self.store.set_db_config(config, true) {
                tracing::warn!(error = %error, "the store cannot keep the file of its write-ahead log while it closes");
            }
        } else if let Err(error) = self.mark_closed() {
            tracing::warn!(
                error = %error,
                "the store was not marked as closed cleanly; after the next start, dispatch sends more values again than necessary"
            );
        }
    }

    /// Records that the store needs no log and, if no lane is in flight, that it was closed cleanly.
    fn mark_closed(&self) -> rusqlite::Result<()> {
        match self.claimed.len() {
            0 => open::mark_closed_in_order(self.store).map(|_| ()),
            _ => log_mark::will_write_back(self.store),
        }
    }

    fn serve_all(&mut self, commands: &Receiver<WriterCommand>) -> rusqlite::Result<()> {
        while let Ok(first) = commands.recv() {
            self.serve_group(first, commands)?;
            if let Some(copy) = self.copy.take() {
                self.copy(copy, commands)?;
            }
        }
        Ok(())
    }

    /// Serves one command together with the commands that wait in the queue.
    fn serve_group(
        &mut self,
        first: WriterCommand,
        commands: &Receiver<WriterCommand>,
    ) -> rusqlite::Result<()> {
        // On a busy machine, the yield lets more callers add their commands to this group.
        thread::yield_now();
        let mut group = CommitGroup::default();
        group.push(first);
        group.fill(commands);
        self.shared.groups.start();
        if let Some(wait) = group.wait(self.last) {
            self.serve_readers(&mut group);
            group::sleep(wait);
            group.fill(commands);
        }
        let writes = group.writes();
        if writes {
            self.files.compare();
        }
        let served = self.serve(group);
        self.shared.groups.finish();
        served
    }

    /// Serves one group of commands. Returns an error only if the store cannot continue.
    fn serve(&mut self, mut group: CommitGroup) -> rusqlite::Result<()> {
        self.serve_readers(&mut group);
        for copy in group.copies {
            self.begin_copy(copy);
        }
        for act in group.acts {
            self.act(act)?;
        }
        for keys in group.keys {
            self.use_keys(keys)?;
        }
        for reseal in group.reseals {
            self.reseal(reseal)?;
        }
        if !(group.appends.is_empty() && group.settles.is_empty()) {
            let events: usize = group.appends.iter().map(|append| append.batch.len()).sum();
            // Free the queue space before the answers: a caller can send its next command as soon as it has its answer.
            self.shared.intake.dequeued(events, group.bytes);
            let commands = group.appends.len() + group.settles.len();
            let started = self.clock.monotonic();
            self.write(group.appends, group.settles)?;
            let took = self.clock.monotonic().saturating_sub(started);
            self.last = LastCommit { commands, took };
            self.shared.figures.committed(commands, took);
        }
        if !group.erasures.is_empty() {
            self.erase(group.erasures)?;
        }
        Ok(())
    }

    /// Serves the claims and reads of a group before its commit. If a claim waited for the commit, dispatch would have
    /// free request slots without a lane.
    fn serve_readers(&mut self, group: &mut CommitGroup) {
        for claim in group.claims.drain(..) {
            self.claim(claim);
        }
        for read in group.reads.drain(..) {
            read.run(self.store, &self.counts);
        }
    }

    fn claim(&mut self, claim: ClaimJob) {
        let mut claimer = Claimer {
            statements: &self.statements,
            claimed: &mut self.claimed,
            decoded: &mut self.decoded,
            now: claim.now,
        };
        let claimed = claimer.claim(claim.max, claim.pick);
        let claimed = claimed.map_err(|error| failed(&error, "claiming"));
        self.publish_locked_lanes();
        if let Err(Ok(unreceived)) = claim.reply.send(claimed) {
            for claimed in unreceived.lanes {
                self.claimed.free(claimed.lane);
            }
        }
    }

    fn act(&mut self, act: ActJob) -> rusqlite::Result<()> {
        self.disk.adjust(self.store);
        let (mut counts, wakes) = (self.counts.clone(), act.wakes);
        let state = ActState {
            store: self.store,
            transaction: self.store.unchecked_transaction()?,
            counts: &mut counts,
            disk: self.disk,
            files: &self.files,
            claimed: &self.claimed,
        };
        if act.run(state)? == Finished::Committed {
            self.counts = counts;
            self.shared.publish(&self.counts.stored_bytes);
            if wakes == Wakes::Dispatch {
                self.decoded.clear();
                self.claimed.unlock();
                self.shared.woken.notify_waiters();
            }
        }
        Ok(())
    }

    /// Writes a group's appends and settlements in one commit.
    ///
    /// If the disk is full, refuses the appends and then writes only the settlements, because settlements free space.
    fn write(
        &mut self,
        mut appends: Vec<AppendJob>,
        settles: Vec<SettleJob>,
    ) -> rusqlite::Result<()> {
        let has_space = self.disk.has_space_for_intake(self.store);
        if !has_space {
            self.disk.show(false);
            refuse_appends(appends.drain(..), &Error::Full);
        }
        let mut result = self.transact(&mut appends, &settles, Isolation::Group);
        let is_damage =
            |error: &rusqlite::Error| !self.disk.is_full(error) && !stops_the_store(error);
        if result.as_ref().is_err_and(is_damage) {
            result = self.transact(&mut appends, &settles, Isolation::Command);
        }
        if result.as_ref().is_err_and(|error| self.disk.is_full(error)) {
            // Without an event, nothing would end the state.
            if !appends.is_empty() {
                self.disk.report_refused();
            }
            refuse_appends(appends.drain(..), &Error::Full);
            self.disk.make_room(self.store);
            result = self.transact(&mut appends, &settles, Isolation::Command);
        }
        // Record the fingerprints before the answers: a caller can change the files as soon as it has its answer.
        self.files.leave();
        match result {
            Ok(result) => {
                if !appends.is_empty() {
                    self.disk.report_stored();
                }
                if !settles.is_empty() {
                    self.disk.report_deliveries(false);
                }
                if let Some(file) = self.files.displaced() {
                    let condition = StoreCondition::FileGone;
                    watch::report_file(&self.files, &self.shared, Some(file));
                    refuse_appends(appends.drain(..), &Error::Unavailable(condition));
                }
                self.answer(appends, settles, result);
            }
            Err(error) if self.disk.is_full(&error) => {
                self.disk.report_deliveries(!settles.is_empty());
                refuse_settles(settles, &Error::Full);
            }
            Err(error) => {
                refuse_appends(appends, &Error::Failed { doing: "appending" });
                refuse_settles(settles, &Error::Failed { doing: "settling" });
                if stops_the_store(&error) {
                    return Err(error);
                }
                failed(&error, "committing");
            }
        }
        Ok(())
    }

    /// Writes a group in one transaction. Only with the armed failpoint `answer_before_commit`, the function removes
    /// `appends` from the list and answers them.
    fn transact(
        &self,
        appends: &mut Vec<AppendJob>,
        settles: &[SettleJob],
        isolation: Isolation,
    ) -> rusqlite::Result<GroupResult> {
        let transaction = self.store.unchecked_transaction()?;
        let mut command = Command {
            transaction,
            counts: self.counts.clone(),
            disk: self.disk,
            isolation,
        };
        let mut result = GroupResult::default();
        for append in appends.iter() {
            let append = |_: &Connection, counts: &mut Counts| {
                append::append(&self.statements, &append.batch, counts)
            };
            result.appended.push(command.run("appending", append)?);
        }
        for (number, settle) in settles.iter().enumerate() {
            let settlement = &settle.settlement;
            let is_repeated = || {
                let earlier = settles.iter().take(number);
                let mut earlier = earlier.map(|earlier| &earlier.settlement);
                earlier.any(|earlier| earlier.token == settlement.token)
            };
            if !self.claimed.holds(settlement.lane, settlement.token) || is_repeated() {
                result.settled.push(Ok(Settled::Stale));
                continue;
            }
            let sizes = self.claimed.sizes(settlement.lane);
            let settle = |_: &Connection, counts: &mut Counts| {
                settle::settle(&self.statements, settlement, sizes, counts)
            };
            let ended = command.run("settling", settle)?;
            let settled = ended.map(|ended| {
                result.ended.extend(ended);
                Settled::Recorded
            });
            result.settled.push(settled);
        }
        command
            .counts
            .save_bytes(&command.transaction, &self.counts)?;
        result.counts = command.counts;
        if failpoint::is_armed(Fault::AnswerBeforeCommit) {
            answer_appends(appends.drain(..), result.appended.drain(..));
        }
        failpoint::crash_point(CrashPoint::BeforeCommit);
        failpoint::hang_point();
        command.transaction.commit()?;
        failpoint::crash_point(CrashPoint::AfterCommitBeforeAnswer);
        Ok(result)
    }

    fn answer(&mut self, appends: Vec<AppendJob>, settles: Vec<SettleJob>, result: GroupResult) {
        self.counts = result.counts;
        self.shared.publish(&self.counts.stored_bytes);
        for (append, appended) in appends.into_iter().zip(result.appended) {
            if let Ok(Appended::Stored(stored)) = &appended {
                self.decoded.insert(append.batch, stored);
            }
            send(append.reply, appended);
        }
        for (settle, settled) in settles.into_iter().zip(result.settled) {
            if settled
                .as_ref()
                .is_ok_and(|settled| *settled == Settled::Recorded)
            {
                self.claimed.free(settle.settlement.lane);
            }
            send(settle.reply, settled);
        }
        self.shared.waiters.settle(&result.ended);
        self.shared.woken.notify_waiters();
    }
}
