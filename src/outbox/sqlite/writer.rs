//! The thread that owns the connection: takes what has come in, commits it as one group, then answers.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::claim::{self, Flights};
use super::recent::Recent;
use super::room::Room;
use super::{Shared, act, append, bytes, copy, desk, note, open, receipt, retire, settle};
use crate::failpoint::{self, CrashPoint, Fault};
use crate::outbox::{
    Act, Appended, Claim, Depth, EntryId, Error, Found, Inspection, LaneId, Listing, Lookup,
    NewEntry, Note, Pick, Receipt, Recorded, Replay, Settlement, State,
};
use crate::time::Timestamp;

mod reply;

use reply::{Finished, answer, finish, is_full, refuse};

/// The most commands in one commit: enough to share the price of a sync, few enough that nobody waits long for it.
const GROUP_COMMANDS_MAX: usize = 1024;

/// The most bytes of events in one commit, one command over it aside: what [`room::RESERVE_BYTES`] has to hold.
///
/// [`room::RESERVE_BYTES`]: super::room::RESERVE_BYTES
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What can be asked of the thread.
pub(super) enum Command {
    Append(Vec<NewEntry>, Reply<Appended>),
    Settle(Box<Settlement>, Reply<()>),
    Claim {
        now: Timestamp,
        max: usize,
        pick: Pick,
        reply: Reply<Claim>,
    },
    Release(Timestamp, Reply<()>),
    Note(Note, String, Reply<()>),
    Find(Lookup, Reply<Option<Receipt>>),
    List(Box<Listing>, Reply<Found>),
    Inspect(EntryId, Reply<Option<Inspection>>),
    Replay(Vec<Replay>, Box<Act>, Reply<Vec<EntryId>>),
    Discard(Vec<EntryId>, Box<Act>, Reply<Vec<EntryId>>),
    Record(Box<Act>, Reply<()>),
    Retire(EntryId, RangeInclusive<Timestamp>, Reply<Option<EntryId>>),
    Acts(u64, usize, Reply<Vec<Recorded>>),
    Backup(PathBuf, Reply<PathBuf>),
    State(EntryId, Reply<Option<State>>),
    Depth(Reply<Depth>),
}

/// How many entries are in a state; changed only together with a commit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) waiting: u64,
    pub(super) parked: u64,
}

pub(super) struct Writer {
    connection: Connection,
    room: Room,
    has_room: bool,
    shared: Arc<Shared>,
    flights: Flights,
    recent: Recent,
    counts: Counts,
}

/// A batch to keep, and who asked.
type Append = (Vec<NewEntry>, Reply<Appended>);
/// A settlement to record, and who asked.
type Settle = (Box<Settlement>, Reply<()>);

/// The commands of one group, writes apart from reads: reads see what was committed, never what may be rolled back.
#[derive(Default)]
struct Group {
    appends: Vec<Append>,
    settles: Vec<Settle>,
    reads: Vec<Command>,
    bytes: usize,
}

impl Group {
    fn has_room(&self) -> bool {
        let commands = self.appends.len() + self.settles.len() + self.reads.len();
        commands < GROUP_COMMANDS_MAX && self.bytes < GROUP_BYTES_MAX
    }

    fn put(&mut self, command: Command) {
        match command {
            Command::Append(batch, reply) => {
                self.bytes += bytes(&batch);
                self.appends.push((batch, reply));
            }
            Command::Settle(settlement, reply) => self.settles.push((settlement, reply)),
            // Those that write among these are a person's, and each is a transaction of its own.
            Command::Claim { .. }
            | Command::Release(..)
            | Command::Note(..)
            | Command::Find(..)
            | Command::List(..)
            | Command::Inspect(..)
            | Command::Replay(..)
            | Command::Discard(..)
            | Command::Record(..)
            | Command::Retire(..)
            | Command::Acts(..)
            | Command::Backup(..)
            | Command::State(..)
            | Command::Depth(_) => self.reads.push(command),
        }
    }
}

/// What a group's transaction did, to be told once it is committed.
#[derive(Default)]
struct Written {
    appended: Vec<Appended>,
    settled: Vec<(EntryId, State)>,
    counts: Counts,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        flights: Flights,
        room: Room,
        shared: Arc<Shared>,
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
            flights,
            recent: Recent::default(),
            counts,
        })
    }

    /// Runs until nobody can ask any more, or until the store fails; then `failed` says so.
    pub(super) fn run(&mut self, inbox: &Receiver<Command>, failed: &watch::Sender<bool>) {
        while let Ok(first) = inbox.recv() {
            // Whoever is about to ask as well, on a machine that is busy, goes along: a larger group costs one sync all the same.
            std::thread::yield_now();
            let mut group = Group::default();
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
        if self.flights.lanes.is_empty()
            && let Err(error) = open::leave_in_order(&self.connection)
        {
            tracing::warn!(error = %error, "the store was not left in order; the next start asserts more than it had to");
        }
    }

    /// Serves one group. An error is one the store cannot go on after.
    ///
    /// Its reads come first: a claim that waited for the commit would keep free places in flight empty for as long.
    fn serve(&mut self, group: Group) -> rusqlite::Result<()> {
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
    ) -> rusqlite::Result<Written> {
        let transaction = self.connection.transaction()?;
        let mut written = Written {
            counts: self.counts,
            ..Written::default()
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

    fn tell(&mut self, appends: Vec<Append>, settles: Vec<Settle>, written: Written) {
        self.counts = written.counts;
        for ((batch, reply), appended) in appends.into_iter().zip(written.appended) {
            self.recent.keep_of(batch, &appended);
            // Whoever asked may have hung up; what was kept stays kept.
            let _unheard = reply.send(Ok(appended));
        }
        for (settlement, reply) in settles {
            self.flights.lanes.remove(&settlement.lane);
            self.flights.doubted.remove(&settlement.lane);
            let _unheard = reply.send(Ok(()));
        }
        self.shared.waiters.settle(&written.settled);
        self.shared.woken.notify_waiters();
    }

    fn read(&mut self, read: Command) -> rusqlite::Result<()> {
        match read {
            Command::Claim {
                now,
                max,
                pick,
                reply,
            } => {
                let claim = claim::claim(
                    &self.connection,
                    (&self.flights, &mut self.recent),
                    now,
                    (max, pick),
                )?;
                let lanes: Vec<LaneId> = claim.lanes.iter().map(|claimed| claimed.lane).collect();
                if reply.send(Ok(claim)).is_ok() {
                    self.flights.lanes.extend(lanes);
                }
            }
            Command::Find(lookup, reply) => {
                let _unheard = reply.send(Ok(receipt::find(&self.connection, &lookup)?));
            }
            Command::State(entry, reply) => {
                let _unheard = reply.send(Ok(receipt::state(&self.connection, entry)?));
            }
            Command::Depth(reply) => {
                let oldest = settle::oldest(&self.connection)?;
                let Counts { waiting, parked } = self.counts;
                let _unheard = reply.send(Ok(Depth {
                    waiting,
                    parked,
                    oldest,
                }));
            }
            Command::List(listing, reply) => {
                let _unheard = reply.send(Ok(desk::list(&self.connection, &listing)?));
            }
            Command::Inspect(entry, reply) => {
                let _unheard = reply.send(Ok(desk::inspect(&self.connection, entry)?));
            }
            Command::Backup(to, reply) => {
                let copied = copy::backup(&self.connection, &to).map(|()| to);
                if let Err(error) = &copied {
                    tracing::warn!(error = %error, "the store could not be copied");
                }
                let _unheard =
                    reply.send(copied.map_err(|_told| Error::Failed { doing: "copying" }));
            }
            Command::Acts(after, max, reply) => {
                let _unheard = reply.send(Ok(act::read(&self.connection, after, max)?));
            }
            rest @ (Command::Append(..)
            | Command::Settle(..)
            | Command::Release(..)
            | Command::Note(..)
            | Command::Replay(..)
            | Command::Discard(..)
            | Command::Record(..)
            | Command::Retire(..)) => self.act(rest)?,
        }
        Ok(())
    }

    /// Does what a person asked for, each in a transaction of its own. A full disk refuses it.
    fn act(&mut self, command: Command) -> rusqlite::Result<()> {
        let mut counts = self.counts;
        let makes_due = matches!(command, Command::Replay(..) | Command::Release(..));
        let transaction = self.connection.transaction()?;
        let written = match command {
            Command::Replay(replays, act, reply) => {
                let done = desk::replay(&transaction, &replays, &act, &mut counts);
                finish(transaction, done, reply)?
            }
            Command::Discard(entries, act, reply) => {
                let done = desk::discard(&transaction, &entries, &act, &mut counts);
                finish(transaction, done, reply)?
            }
            Command::Record(act, reply) => {
                let done = act::record(&transaction, &act, 0);
                finish(transaction, done, reply)?
            }
            Command::Retire(from, kept, reply) => {
                let done = retire::retire(&transaction, from, &kept);
                finish(transaction, done, reply)?
            }
            Command::Release(now, reply) => {
                let done = note::release(&transaction, now);
                finish(transaction, done, reply)?
            }
            Command::Note(note, text, reply) => {
                let done = note::keep(&transaction, note, &text);
                finish(transaction, done, reply)?
            }
            Command::Append(..)
            | Command::Settle(..)
            | Command::Claim { .. }
            | Command::Find(..)
            | Command::List(..)
            | Command::Inspect(..)
            | Command::Acts(..)
            | Command::Backup(..)
            | Command::State(..)
            | Command::Depth(_) => Finished::Not,
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
