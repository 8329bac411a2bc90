//! The thread that owns the connection: takes what has come in, commits it as one group, then answers.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::claim::{self, ClaimedLanes};
use super::counts::Counts;
use super::decode_cache::DecodeCache;
use super::disk_space::DiskSpace;
use super::{
    SharedState, append, audit, backup, bytes, meta, open, operator, prune, receipt, settle,
};
use crate::failpoint::{self, CrashPoint, Fault};
use crate::outbox::{
    Appended, AuditEvent, AuditRecord, Claim, Depth, EntryFilter, EntryId, EntryPage, Error,
    Inspection, LaneId, Lookup, NewEntry, Pick, Receipt, Replay, Setting, Settlement, State,
};
use crate::time::Timestamp;

mod reply;

use reply::{Finished, answer, finish, is_full, refuse};

/// The most commands in one commit: enough to share the price of a sync, few enough that nobody waits long for it.
const GROUP_COMMANDS_MAX: usize = 1024;

/// The most bytes of events in one commit, one command over it aside: what [`disk_space::RESERVE_BYTES`] has to hold.
///
/// [`disk_space::RESERVE_BYTES`]: super::disk_space::RESERVE_BYTES
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where an answer goes.
pub(super) type ReplyTo<T> = oneshot::Sender<Result<T, Error>>;

/// What can be asked of the thread.
pub(super) enum WriterCommand {
    Append(Vec<NewEntry>, ReplyTo<Appended>),
    Settle(Box<Settlement>, ReplyTo<()>),
    Claim {
        now: Timestamp,
        max: usize,
        pick: Pick,
        reply: ReplyTo<Claim>,
    },
    Release(Timestamp, ReplyTo<()>),
    Setting(Setting, String, ReplyTo<()>),
    Find(Lookup, ReplyTo<Option<Receipt>>),
    List(Box<EntryFilter>, ReplyTo<EntryPage>),
    Inspect(EntryId, ReplyTo<Option<Inspection>>),
    Replay(Vec<Replay>, Box<AuditEvent>, ReplyTo<Vec<EntryId>>),
    Discard(Vec<EntryId>, Box<AuditEvent>, ReplyTo<Vec<EntryId>>),
    Record(Box<AuditEvent>, ReplyTo<()>),
    Retire(EntryId, RangeInclusive<Timestamp>, ReplyTo<Option<EntryId>>),
    Acts(u64, usize, ReplyTo<Vec<AuditRecord>>),
    Backup(PathBuf, ReplyTo<PathBuf>),
    State(EntryId, ReplyTo<Option<State>>),
    Depth(ReplyTo<Depth>),
}

pub(super) struct Writer {
    connection: Connection,
    room: DiskSpace,
    has_room: bool,
    shared: Arc<SharedState>,
    claimed_lanes: ClaimedLanes,
    decoded: DecodeCache,
    counts: Counts,
}

/// A batch to keep, and who asked.
type Append = (Vec<NewEntry>, ReplyTo<Appended>);
/// A settlement to record, and who asked.
type Settle = (Box<Settlement>, ReplyTo<()>);

/// The commands of one group, writes apart from reads: reads see what was committed, never what may be rolled back.
#[derive(Default)]
struct CommitGroup {
    appends: Vec<Append>,
    settles: Vec<Settle>,
    reads: Vec<WriterCommand>,
    bytes: usize,
}

impl CommitGroup {
    fn has_room(&self) -> bool {
        let commands = self.appends.len() + self.settles.len() + self.reads.len();
        commands < GROUP_COMMANDS_MAX && self.bytes < GROUP_BYTES_MAX
    }

    fn put(&mut self, command: WriterCommand) {
        match command {
            WriterCommand::Append(batch, reply) => {
                self.bytes += bytes(&batch);
                self.appends.push((batch, reply));
            }
            WriterCommand::Settle(settlement, reply) => self.settles.push((settlement, reply)),
            // Those that write among these are a person's, and each is a transaction of its own.
            WriterCommand::Claim { .. }
            | WriterCommand::Release(..)
            | WriterCommand::Setting(..)
            | WriterCommand::Find(..)
            | WriterCommand::List(..)
            | WriterCommand::Inspect(..)
            | WriterCommand::Replay(..)
            | WriterCommand::Discard(..)
            | WriterCommand::Record(..)
            | WriterCommand::Retire(..)
            | WriterCommand::Acts(..)
            | WriterCommand::Backup(..)
            | WriterCommand::State(..)
            | WriterCommand::Depth(_) => self.reads.push(command),
        }
    }
}

/// What a group's transaction did, to be told once it is committed.
#[derive(Default)]
struct GroupResult {
    appended: Vec<Appended>,
    settled: Vec<(EntryId, State)>,
    counts: Counts,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        claimed_lanes: ClaimedLanes,
        room: DiskSpace,
        shared: Arc<SharedState>,
    ) -> rusqlite::Result<Self> {
        let count = |table: &str| {
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                row.get(0)
            })
        };
        let counts = Counts {
            waiting: count("waiting")?,
            parked: count("parked")?,
        };
        Ok(Self {
            connection,
            room,
            has_room: true,
            shared,
            claimed_lanes,
            decoded: DecodeCache::default(),
            counts,
        })
    }

    /// Runs until nobody can ask any more, or until the store fails; then `failed` says so.
    pub(super) fn run(&mut self, inbox: &Receiver<WriterCommand>, failed: &watch::Sender<bool>) {
        while let Ok(first) = inbox.recv() {
            // Whoever is about to ask as well, on a machine that is busy, goes along: a larger group costs one sync all the same.
            std::thread::yield_now();
            let mut group = CommitGroup::default();
            group.put(first);
            while group.has_room()
                && let Ok(next) = inbox.try_recv()
            {
                group.put(next);
            }
            if let Err(error) = self.serve(group) {
                tracing::error!(error = %error, "the store failed; what is on disk is kept, the process is to end");
                failed.send_replace(true);
                return;
            }
        }
        if self.claimed_lanes.lanes.is_empty()
            && let Err(error) = open::leave_in_order(&self.connection)
        {
            tracing::warn!(error = %error, "the store was not left in order; the next start asserts more than it had to");
        }
    }

    /// Serves one group. An error is one the store cannot go on after.
    ///
    /// Its reads come first: a claim that waited for the commit would keep free places in flight empty for as long.
    fn serve(&mut self, group: CommitGroup) -> rusqlite::Result<()> {
        for read in group.reads {
            self.read(read)?;
        }
        if !(group.appends.is_empty() && group.settles.is_empty()) {
            let events: usize = group.appends.iter().map(|(batch, _)| batch.len()).sum();
            // Before anybody is answered: whoever has an answer finds the room that it left.
            self.shared.taken(events, group.bytes);
            self.write(group.appends, group.settles)?;
        }
        Ok(())
    }

    /// Writes a group's appends and settlements in one commit. On a full disk intake yields: the appends are refused, and
    /// the settlements, which free space, are tried by themselves.
    fn write(&mut self, mut appends: Vec<Append>, settles: Vec<Settle>) -> rusqlite::Result<()> {
        let has_room = self.room.for_intake(&self.connection);
        self.note(has_room);
        if !has_room {
            refuse(appends.drain(..), &Error::Full);
        }
        let mut written = self.transact(&mut appends, &settles);
        if written.as_ref().is_err_and(is_full) {
            self.note(false);
            refuse(appends.drain(..), &Error::Full);
            self.room.reclaim(&self.connection);
            written = self.transact(&mut appends, &settles);
        }
        match written {
            Ok(written) => self.tell(appends, settles, written),
            Err(error) if is_full(&error) => refuse(settles, &Error::Full),
            Err(error) => {
                refuse(appends, &Error::Failed { doing: "appending" });
                refuse(settles, &Error::Failed { doing: "settling" });
                return Err(error);
            }
        }
        Ok(())
    }

    /// Says once that the disk is full, and once that it is not any more.
    fn note(&mut self, has_room: bool) {
        if self.has_room && !has_room {
            tracing::error!("the store's disk is full: events are refused, deliveries go on");
        } else if has_room && !self.has_room {
            tracing::warn!("the store's disk has room again");
        }
        self.has_room = has_room;
    }

    /// Does all of it in one transaction. The appends stay whole, unless the failpoint is armed that answers them too early.
    fn transact(
        &mut self,
        appends: &mut Vec<Append>,
        settles: &[Settle],
    ) -> rusqlite::Result<GroupResult> {
        let transaction = self.connection.transaction()?;
        let mut written = GroupResult {
            counts: self.counts,
            ..GroupResult::default()
        };
        for (batch, _) in appends.iter() {
            written
                .appended
                .push(append::append(&transaction, batch, &mut written.counts)?);
        }
        for (settlement, _) in settles {
            written.settled.extend(settle::settle(
                &transaction,
                settlement,
                &mut written.counts,
            )?);
        }
        if failpoint::is_armed(Fault::AnswerBeforeCommit) {
            answer(appends.drain(..), written.appended.drain(..));
        }
        failpoint::crash_point(CrashPoint::BeforeCommit);
        transaction.commit()?;
        failpoint::crash_point(CrashPoint::AfterCommitBeforeAnswer);
        Ok(written)
    }

    fn tell(&mut self, appends: Vec<Append>, settles: Vec<Settle>, written: GroupResult) {
        self.counts = written.counts;
        for ((batch, reply), appended) in appends.into_iter().zip(written.appended) {
            self.decoded.keep_of(batch, &appended);
            // Whoever asked may have hung up; what was kept stays kept.
            let _unheard = reply.send(Ok(appended));
        }
        for (settlement, reply) in settles {
            self.claimed_lanes.lanes.remove(&settlement.lane);
            self.claimed_lanes.doubted.remove(&settlement.lane);
            let _unheard = reply.send(Ok(()));
        }
        self.shared.waiters.settle(&written.settled);
        self.shared.woken.notify_waiters();
    }

    fn read(&mut self, read: WriterCommand) -> rusqlite::Result<()> {
        match read {
            WriterCommand::Claim {
                now,
                max,
                pick,
                reply,
            } => {
                let claim = claim::claim(
                    &self.connection,
                    (&self.claimed_lanes, &mut self.decoded),
                    now,
                    (max, pick),
                )?;
                let lanes: Vec<LaneId> = claim.lanes.iter().map(|claimed| claimed.lane).collect();
                if reply.send(Ok(claim)).is_ok() {
                    self.claimed_lanes.lanes.extend(lanes);
                }
            }
            WriterCommand::Find(lookup, reply) => {
                let _unheard = reply.send(Ok(receipt::find(&self.connection, &lookup)?));
            }
            WriterCommand::State(entry, reply) => {
                let _unheard = reply.send(Ok(receipt::state(&self.connection, entry)?));
            }
            WriterCommand::Depth(reply) => {
                let oldest = settle::oldest(&self.connection)?;
                let Counts { waiting, parked } = self.counts;
                let _unheard = reply.send(Ok(Depth {
                    waiting,
                    parked,
                    oldest,
                }));
            }
            WriterCommand::List(listing, reply) => {
                let _unheard = reply.send(Ok(operator::list(&self.connection, &listing)?));
            }
            WriterCommand::Inspect(entry, reply) => {
                let _unheard = reply.send(Ok(operator::inspect(&self.connection, entry)?));
            }
            WriterCommand::Backup(to, reply) => {
                let copied = backup::backup(&self.connection, &to).map(|()| to);
                if let Err(error) = &copied {
                    tracing::warn!(error = %error, "the store could not be copied");
                }
                let _unheard =
                    reply.send(copied.map_err(|_told| Error::Failed { doing: "copying" }));
            }
            WriterCommand::Acts(after, max, reply) => {
                let _unheard = reply.send(Ok(audit::read(&self.connection, after, max)?));
            }
            rest @ (WriterCommand::Append(..)
            | WriterCommand::Settle(..)
            | WriterCommand::Release(..)
            | WriterCommand::Setting(..)
            | WriterCommand::Replay(..)
            | WriterCommand::Discard(..)
            | WriterCommand::Record(..)
            | WriterCommand::Retire(..)) => self.act(rest)?,
        }
        Ok(())
    }

    /// Does what a person asked for, each in a transaction of its own. A full disk refuses it.
    fn act(&mut self, command: WriterCommand) -> rusqlite::Result<()> {
        let mut counts = self.counts;
        let makes_due = matches!(
            command,
            WriterCommand::Replay(..) | WriterCommand::Release(..)
        );
        let transaction = self.connection.transaction()?;
        let written = match command {
            WriterCommand::Replay(replays, act, reply) => {
                let done = operator::replay(&transaction, &replays, &act, &mut counts);
                finish(transaction, done, reply)?
            }
            WriterCommand::Discard(entries, act, reply) => {
                let done = operator::discard(&transaction, &entries, &act, &mut counts);
                finish(transaction, done, reply)?
            }
            WriterCommand::Record(act, reply) => {
                let done = audit::append(&transaction, &act, 0);
                finish(transaction, done, reply)?
            }
            WriterCommand::Retire(from, kept, reply) => {
                let done = prune::prune_receipts(&transaction, from, &kept);
                finish(transaction, done, reply)?
            }
            WriterCommand::Release(now, reply) => {
                let done = meta::release(&transaction, now);
                finish(transaction, done, reply)?
            }
            WriterCommand::Setting(note, text, reply) => {
                let done = meta::keep(&transaction, note, &text);
                finish(transaction, done, reply)?
            }
            WriterCommand::Append(..)
            | WriterCommand::Settle(..)
            | WriterCommand::Claim { .. }
            | WriterCommand::Find(..)
            | WriterCommand::List(..)
            | WriterCommand::Inspect(..)
            | WriterCommand::Acts(..)
            | WriterCommand::Backup(..)
            | WriterCommand::State(..)
            | WriterCommand::Depth(_) => Finished::Not,
        };
        if written == Finished::Committed {
            self.counts = counts;
            if makes_due {
                self.shared.woken.notify_waiters();
            }
        }
        Ok(())
    }
}
