//! The storage engine in PostgreSQL: several replicas share one store.
//!
//! The engine has a thread and a runtime of its own. A caller sends its operation to this thread and waits for the
//! answer. Appends and settlements wait for the writer, which commits all waiting operations as a group with a few
//! set-based statements. Every other operation runs in its own transaction.
//!
//! # Order of entries
//!
//! The writer takes the numbers of new entries from a sequence, before the transaction of the append. The transactions of
//! several replicas commit in any order, so an entry that becomes visible later possibly has a lower number. The numbers
//! keep the order that counts: if an append was answered before another append began, its entries have lower numbers.
//! Only the numbers of appends that ran at the same time are in no particular order, and these events have none.
//!
//! - [`Version::arrival`](crate::event::Version) decides between equal versions of a source: any order of two events that
//!   arrived at the same time is right.
//! - [`ClaimedLane::unfold_to`](super::ClaimedLane) and [`MaybeSent::Entries`](super::MaybeSent) concern all entries up to
//!   a number. An entry that becomes visible later under a lower number only adds a separate or a repeated request.
//! - A cursor of [`Ledger::list`](super::Ledger) or of the retention possibly passes a number that becomes visible later:
//!   the page lacks the entry until the next listing, and retention finds the receipt in its next pass.
//! - The rule that another source does not wait for a search turn possibly misses such an entry: it waits for its turn.
//!
//! A counter row, which the engine locks until the commit, would also keep the order of visibility. But then all replicas
//! commit one after another, and a stopped process stops the appends of all replicas.
//!
//! # Several replicas
//!
//! A claim gives a lane to a replica: the lane has the owner number of the replica, and an epoch that rises with each
//! claim. A settlement locks the lane and compares both numbers. See [`replica`] for the leases.
//!
//! At most one replica holds a lane at each moment of the database's clock. That does not prove that only one request of
//! a customer is in flight: a replica that was stopped for longer than its lease possibly sends the request of an earlier
//! claim when it continues. Its answer changes nothing. The first claim after the loss of the lease says that the values
//! were possibly sent, so dispatch sends the newest values again when the time of the doubt is over. See [`lease`] for the
//! check before each request, and [`late_sends`] for the requests that this check does not catch. A replica does not claim a
//! lane while it still has a request of its own earlier claim in flight, see [`held_claims`].
//!
//! A crash of the database can lose the last claims and settlements. See [`own_lanes`] for the agreement that follows. All
//! replicas seal with one key, see [`shared_keys`], and plan by the clock of the database, see [`due_times`].
//!
//! Every transaction takes its locks in the same order: entries by their keys, new lanes by their keys, lanes by their
//! numbers. Retention takes its locks in another order, but never waits for one. The lane's lock orders the append of an entry and the settlement that looks whether entries wait.

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use self::answer::{in_time, wait};
use self::connection::Connected;
use self::engine::{Engine, EngineStart};
use self::operator_state::OperatorState;
use self::replica_state::ReplicaState;
use self::runtime::EngineCommand;
use self::writer::WriteCall;
use super::{
    Appended, ClaimBounds, EntryId, Error, Inbox, Lookup, NewEntry, Receipt, State, StoreFuture,
};
use crate::event::SourceName;
use crate::sealing::KeyRing;

mod answer;
mod append;
mod append_plan;
mod audit;
mod bound_updates;
mod candidates;
mod claim;
mod claimed;
mod columns;
mod command_database;
mod connection;
mod connection_counts;
mod customer_eraser;
mod customers;
mod database_address;
mod due_floors;
mod due_times;
mod endings;
mod engine;
mod erased_rows;
mod erasure;
mod erasure_order;
mod fault;
mod forgetting;
mod held_claims;
mod keeper;
mod key_change;
mod keys;
mod lane_row;
mod lane_table;
mod lane_versions;
mod lanes;
mod late_sends;
mod layout;
mod lease;
mod ledger;
mod lifecycle;
mod link_table;
mod linked_keys;
mod links;
mod listing;
mod moved_tombstones;
mod named_search;
mod new_rows;
mod open_error;
mod operator_state;
mod origins;
mod own_lanes;
mod proof;
mod random_number;
mod receipt;
mod references;
mod release;
mod replay;
mod replica;
mod replica_state;
mod requeued_rows;
mod resealing;
mod retention;
mod retirement;
mod runtime;
mod schema;
mod sealed_columns;
mod sealing_keys;
mod settings;
mod settle;
mod shared_keys;
mod sharing;
mod signals;
mod silent_replicas;
mod snapshot;
mod subjects;
mod tally;
mod transfer;
mod verify;
mod version_reset;
mod waiting;
mod withdraw;
mod writer;

pub use database_address::{DatabaseAddress, Durability, ReadPassword};
pub use open_error::PostgresOpenError;
pub use proof::{DatabaseDuty, DatabaseProof, ProvenDuty, prove_database};
pub use signals::{DatabaseSignals, OldestSnapshot, SlowestSlot};
pub use verify::verify_database;

pub(super) use transfer::{DatabaseReader, DatabaseWriter};

/// The longest time that `close` waits for the thread of the store.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// The time between two looks at an entry for which a caller waits: another replica possibly settles the entry.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// An outbox in a PostgreSQL database.
pub struct PostgresOutbox {
    /// The command queue of the runtime. `None` means that the store is closed.
    commands: Mutex<Option<UnboundedSender<EngineCommand>>>,
    /// Closed when the thread of the store has ended.
    ended: Mutex<Option<Receiver<()>>>,
    digest_key: [u8; 32],
    intake_max: usize,
    shared: Arc<ReplicaState>,
    operators: OperatorState,
}

impl fmt::Debug for PostgresOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOutbox").finish_non_exhaustive()
    }
}

impl PostgresOutbox {
    /// Opens the store in the database of `url`, or creates the store, and registers this process as a replica. At most
    /// `intake_max` events wait for a commit. With `tls`, the URL can ask for TLS.
    ///
    /// # Errors
    /// [`PostgresOpenError`] says how to fix the problem.
    pub fn open(
        url: &str,
        intake_max: usize,
        (bounds, ring): (ClaimBounds, Arc<KeyRing>),
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, PostgresOpenError> {
        let url = url.to_owned();
        let address = DatabaseAddress {
            url,
            tls,
            ..DatabaseAddress::default()
        };
        Self::start((address, intake_max), (bounds, ring), false)
    }

    /// Does the same as [`Self::open`], with the password of the address.
    ///
    /// # Errors
    /// Returns the errors of [`Self::open`].
    pub fn connect(
        address: DatabaseAddress,
        intake_max: usize,
        keys: (ClaimBounds, Arc<KeyRing>),
    ) -> Result<Self, PostgresOpenError> {
        Self::start((address, intake_max), keys, false)
    }

    /// Does the same as [`Self::open`], without TLS. In a program with failpoints, statements and commits then fail at
    /// random with 40001, as those of an engine with optimistic concurrency can.
    ///
    /// # Errors
    /// Returns the errors of [`Self::open`].
    pub fn open_with_failures(
        url: &str,
        intake_max: usize,
        keys: (ClaimBounds, Arc<KeyRing>),
    ) -> Result<Self, PostgresOpenError> {
        let url = url.to_owned();
        let address = DatabaseAddress {
            url,
            ..DatabaseAddress::default()
        };
        Self::start((address, intake_max), keys, true)
    }

    fn start(
        (address, intake_max): (DatabaseAddress, usize),
        (bounds, ring): (ClaimBounds, Arc<KeyRing>),
        injects: bool,
    ) -> Result<Self, PostgresOpenError> {
        let shared = Arc::<ReplicaState>::default();
        let start = EngineStart {
            address,
            bounds,
            ring,
            shared: Arc::clone(&shared),
            injects,
        };
        let (commands, queue) = unbounded_channel();
        let (opened, answer) = channel();
        let (end, ended) = channel();
        let thread = std::thread::Builder::new().name("outbox".to_owned());
        thread
            .spawn(move || {
                runtime::run(start, &opened, queue);
                drop::<std::sync::mpsc::Sender<()>>(end);
            })
            .map_err(PostgresOpenError::Thread)?;
        let died = || std::io::Error::other("the thread of the store has ended");
        let digest_key = answer
            .recv()
            .map_err(|_died| PostgresOpenError::Thread(died()))??;
        Ok(Self {
            commands: Mutex::new(Some(commands)),
            ended: Mutex::new(Some(ended)),
            digest_key,
            intake_max,
            shared,
            operators: OperatorState::default(),
        })
    }

    /// Sends a command to the runtime of the store. Returns `false` if the store is closed.
    fn send(&self, command: EngineCommand) -> bool {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands
            .as_ref()
            .is_some_and(|commands| commands.send(command).is_ok())
    }

    /// Runs an operation inside the runtime of the store. If the caller drops the future, the operation goes on.
    fn run<T: Send + 'static>(
        &self,
        operation: impl AsyncFnOnce(Rc<Engine>) -> Result<T, Error> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let (reply, answer) = oneshot::channel();
        let operation = move |engine: Rc<Engine>| -> Pin<Box<dyn Future<Output = ()>>> {
            Box::pin(async move {
                let _caller_is_gone = reply.send(operation(engine).await);
            })
        };
        let sent = self.send(EngineCommand::Run(Box::new(operation)));
        wait(sent, answer)
    }

    /// Runs a read. Returns an error if the answer takes longer than [`super::STALLED_AFTER`].
    fn read<T: Send + 'static>(
        &self,
        read: impl AsyncFnOnce(Rc<Engine>) -> Result<T, Error> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        in_time(self.run(read))
    }

    /// Sends an append or a settlement to the writer.
    fn write<T: Send + 'static>(
        &self,
        call: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> WriteCall,
    ) -> StoreFuture<'_, T> {
        let (reply, answer) = oneshot::channel();
        let sent = self.send(EngineCommand::Write(call(reply)));
        wait(sent, answer)
    }

    /// Waits until the entry is settled: by this replica, or by another replica.
    async fn state_when_settled(&self, entry: EntryId) -> Result<State, Error> {
        let Some(waiter) = self.shared.waiters.register(entry) else {
            return Err(Error::Busy);
        };
        let settled = waiter.settled();
        tokio::pin!(settled);
        loop {
            let state = self.read(async move |engine: Rc<Engine>| {
                engine
                    .read(async |db: &Connected| receipt::state(db, entry).await)
                    .await
            });
            if let Some(state) = state.await?.filter(|state| state.is_settled()) {
                return Ok(state);
            }
            if let Ok(state) = tokio::time::timeout(LOOK_EVERY, &mut settled).await {
                return state.ok_or(Error::Closed);
            }
        }
    }

    /// Closes the store, and waits until the operations in progress have ended.
    fn end(&self) {
        let commands = self.commands.lock();
        drop(commands.unwrap_or_else(PoisonError::into_inner).take());
        let ended = self.ended.lock();
        let ended = ended.unwrap_or_else(PoisonError::into_inner).take();
        let is_late =
            |ended: Receiver<()>| ended.recv_timeout(CLOSE_MAX) == Err(RecvTimeoutError::Timeout);
        if ended.is_some_and(is_late) {
            tracing::error!("the store was not closed, because its database does not answer");
        }
    }
}

impl Drop for PostgresOutbox {
    fn drop(&mut self) {
        self.end();
    }
}

impl Inbox for PostgresOutbox {
    fn append(&self, batch: Vec<NewEntry>) -> StoreFuture<'_, Appended> {
        if let Err(error) = self.shared.accepts() {
            return Box::pin(ready(Err(error)));
        }
        let bytes = batch.iter().map(|new| new.event.len()).sum();
        let intake = &self.shared.intake;
        if !intake.enqueue(batch.len(), bytes, self.intake_max) {
            return Box::pin(ready(Err(Error::Busy)));
        }
        in_time(self.write(|reply| WriteCall::Append(batch, reply)))
    }

    fn find(&self, lookup: Lookup) -> StoreFuture<'_, Option<Receipt>> {
        self.read(async move |engine: Rc<Engine>| {
            let find = async |db: &Connected| receipt::find(db, &engine, &lookup).await;
            engine.read(find).await
        })
    }

    fn wait_settled(&self, entry: EntryId) -> StoreFuture<'_, State> {
        Box::pin(self.state_when_settled(entry))
    }

    fn digest_key(&self) -> [u8; 32] {
        self.digest_key
    }

    fn stored_bytes(&self, source: &SourceName) -> u64 {
        self.shared.stored_bytes(source)
    }
}
