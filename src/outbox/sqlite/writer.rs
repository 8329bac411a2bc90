//! The thread that owns the connection: takes what has come in, commits it as one group, then answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{oneshot, watch};

use super::{Shared, append, dispatch};
use crate::outbox::{
    Appended, Claim, Depth, EntryId, Error, LaneId, Lookup, NewEntry, Receipt, Settlement, State,
};
use crate::time::Timestamp;

/// The most commands in one commit: enough to share the price of a sync, few enough that nobody waits long for it.
const GROUP_COMMANDS_MAX: usize = 1024;

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What can be asked of the thread.
pub(super) enum Command {
    Append(Vec<NewEntry>, Reply<Appended>),
    Settle(Box<Settlement>, Reply<()>),
    Claim {
        now: Timestamp,
        max: usize,
        reply: Reply<Claim>,
    },
    Find(Lookup, Reply<Option<Receipt>>),
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
    shared: Arc<Shared>,
    in_flight: HashSet<LaneId>,
    counts: Counts,
}

/// The commands of one group, writes apart from reads: reads see what was committed, never what may be rolled back.
#[derive(Default)]
struct Group {
    appends: Vec<(Vec<NewEntry>, Reply<Appended>)>,
    settles: Vec<(Box<Settlement>, Reply<()>)>,
    reads: Vec<Command>,
}

impl Group {
    fn put(&mut self, command: Command) {
        match command {
            Command::Append(batch, reply) => self.appends.push((batch, reply)),
            Command::Settle(settlement, reply) => self.settles.push((settlement, reply)),
            Command::Claim { .. } | Command::Find(..) | Command::State(..) | Command::Depth(_) => {
                self.reads.push(command);
            }
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
    pub(super) fn new(connection: Connection, shared: Arc<Shared>) -> rusqlite::Result<Self> {
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
            shared,
            in_flight: HashSet::new(),
            counts,
        })
    }

    /// Runs until nobody can ask any more, or until the store fails; then `failed` says so.
    pub(super) fn run(&mut self, inbox: &Receiver<Command>, failed: &watch::Sender<bool>) {
        while let Ok(first) = inbox.recv() {
            let mut group = Group::default();
            group.put(first);
            for command in inbox.try_iter().take(GROUP_COMMANDS_MAX - 1) {
                group.put(command);
            }
            if let Err(error) = self.serve(group) {
                tracing::error!(error = %error, "the store failed; what is on disk is kept, the process is to end");
                failed.send_replace(true);
                return;
            }
        }
    }

    /// Serves one group. An error is one the store cannot go on after.
    fn serve(&mut self, mut group: Group) -> rusqlite::Result<()> {
        if !(group.appends.is_empty() && group.settles.is_empty()) {
            let events: usize = group.appends.iter().map(|(batch, _)| batch.len()).sum();
            let outcome = self.write(&mut group);
            self.shared.intake.fetch_sub(events, Ordering::Relaxed);
            outcome?;
        }
        for read in group.reads {
            self.read(read)?;
        }
        Ok(())
    }

    /// Writes a group's appends and settlements in one commit. On a full disk intake yields: the appends are refused and
    /// the settlements, which free space, are tried once by themselves.
    fn write(&mut self, group: &mut Group) -> rusqlite::Result<()> {
        let appends = std::mem::take(&mut group.appends);
        let settles = std::mem::take(&mut group.settles);
        let (batches, replies): (Vec<_>, Vec<_>) = appends.into_iter().unzip();
        match self.transact(&batches, &settles) {
            Ok(written) => {
                self.tell(replies, settles, written);
                Ok(())
            }
            Err(error) if is_full(&error) => {
                refuse(replies, &Error::Full);
                match self.transact(&[], &settles) {
                    Ok(written) => self.tell(Vec::new(), settles, written),
                    Err(error) if is_full(&error) => {
                        refuse(settles.into_iter().map(|(_, reply)| reply), &Error::Full);
                    }
                    Err(error) => {
                        refuse(
                            settles.into_iter().map(|(_, reply)| reply),
                            &failure("settling"),
                        );
                        return Err(error);
                    }
                }
                Ok(())
            }
            Err(error) => {
                refuse(replies, &failure("appending"));
                refuse(
                    settles.into_iter().map(|(_, reply)| reply),
                    &failure("settling"),
                );
                Err(error)
            }
        }
    }

    fn transact(
        &mut self,
        batches: &[Vec<NewEntry>],
        settles: &[(Box<Settlement>, Reply<()>)],
    ) -> rusqlite::Result<Written> {
        let transaction = self.connection.transaction()?;
        let mut written = Written {
            counts: self.counts,
            ..Written::default()
        };
        for batch in batches {
            written
                .appended
                .push(append::append(&transaction, batch, &mut written.counts)?);
        }
        for (settlement, _) in settles {
            written.settled.extend(dispatch::settle(
                &transaction,
                settlement,
                &mut written.counts,
            )?);
        }
        transaction.commit()?;
        Ok(written)
    }

    fn tell(
        &mut self,
        appends: Vec<Reply<Appended>>,
        settles: Vec<(Box<Settlement>, Reply<()>)>,
        written: Written,
    ) {
        self.counts = written.counts;
        for (reply, appended) in appends.into_iter().zip(written.appended) {
            // Whoever asked may have hung up; what was kept stays kept.
            let _unheard = reply.send(Ok(appended));
        }
        for (settlement, reply) in settles {
            self.in_flight.remove(&settlement.lane);
            let _unheard = reply.send(Ok(()));
        }
        self.shared.waiters.settle(&written.settled);
        self.shared.woken.notify_waiters();
    }

    fn read(&mut self, read: Command) -> rusqlite::Result<()> {
        match read {
            Command::Claim { now, max, reply } => {
                let claim = dispatch::claim(&self.connection, &self.in_flight, now, max)?;
                let lanes: Vec<LaneId> = claim.lanes.iter().map(|claimed| claimed.lane).collect();
                if reply.send(Ok(claim)).is_ok() {
                    self.in_flight.extend(lanes);
                }
            }
            Command::Find(lookup, reply) => {
                let _unheard = reply.send(Ok(append::find(&self.connection, &lookup)?));
            }
            Command::State(entry, reply) => {
                let _unheard = reply.send(Ok(append::state(&self.connection, entry)?));
            }
            Command::Depth(reply) => {
                let oldest = dispatch::oldest(&self.connection)?;
                let Counts { waiting, parked } = self.counts;
                let _unheard = reply.send(Ok(Depth {
                    waiting,
                    parked,
                    oldest,
                }));
            }
            Command::Append(..) | Command::Settle(..) => {}
        }
        Ok(())
    }
}

fn refuse<T>(replies: impl IntoIterator<Item = Reply<T>>, error: &Error) {
    for reply in replies {
        let _unheard = reply.send(Err(error.clone()));
    }
}

/// What the asker hears of a failure; the chain goes to the log, once, in [`Writer::run`].
fn failure(doing: &'static str) -> Error {
    Error::Failed { doing }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}
