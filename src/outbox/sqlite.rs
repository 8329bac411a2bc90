//! The embedded storage engine: SQLite with `journal_mode=WAL` and `synchronous=FULL`, for one process.
//!
//! One writer thread owns the SQLite connection. All commands that arrive during a commit share the next commit (group
//! commit), so a group of events needs only one `fdatasync`. The writer thread keeps the claims of lanes only in
//! memory: after a crash no lane is claimed, and dispatch sends the waiting entries again.

use std::fmt;
use std::future::ready;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use tokio::sync::watch as channel_watch;

use self::counts::Counts;
use self::shared::SharedState;
use self::threads::Threads;
use self::writer::Writer;
use self::writer::job::{AppendJob, ClaimJob, SettleJob, Wakes, WriterCommand, bytes};
use super::{
    Appended, AuditEvent, AuditHead, AuditKeys, AuditProtection, AuditRecord, Claim, ClaimBounds,
    CustomerErasure, Depth, Detail, DiskState, EntryFilter, EntryId, EntryPage, EntrySelection,
    ErasureStep, Error, FieldOrigin, Inbox, Inspection, LaneId, LaneKey, Lanes, Ledger,
    LoadedEntries, LoadedLane, Lookup, NamedEntries, NewEntry, Pick, Receipt, Replay, Retirement,
    Settled, Settlement, State, StoreFuture, VersionReset, Withdrawal, Withdrawn,
};
use crate::event::SourceName;
use crate::imprint::CustomerRef;
use crate::sealing::KeyRing;
use crate::time::Timestamp;

mod append;
mod ask;
mod audit;
mod audited;
mod backup;
mod claim;
mod claimed_lanes;
mod columns;
mod counts;
mod customer;
mod customer_erasure;
mod decode_cache;
mod disk_space;
mod draft;
mod due_times;
mod erase;
mod files;
mod filter;
mod identity_link;
mod journaled;
mod kept;
mod lane;
mod ledger;
mod lifecycle;
mod lock;
mod log_header;
mod log_mark;
mod meta;
mod open;
mod open_error;
mod operator;
mod origin;
mod payload;
mod prune;
mod published;
mod rebind;
mod receipt;
mod records;
mod reseal;
mod reserve_file;
mod reset;
mod retire;
mod sealing_keys;
mod settle;
mod shared;
mod signed_event;
mod statements;
mod store_connection;
mod threads;
mod tombstones;
mod transfer;
mod versions;
mod waiting;
mod watch;
mod withdraw;
mod writer;

pub use backup::{Restored, count_keys, restore, verify};
pub use kept::{KeptEvent, newest_events};
pub use open_error::{OpenCause, OpenError};
pub use rebind::{RebindConsent, RebindReport, rebind};
pub(super) use transfer::{FileReader, FileWriter};

/// An outbox in one SQLite file.
pub struct SqliteOutbox {
    /// The command queue of the writer thread. `None` means that the store is closed. Never locked across an await.
    commands: Mutex<Option<Sender<WriterCommand>>>,
    threads: Mutex<Option<Threads>>,
    path: PathBuf,
    failed: channel_watch::Receiver<bool>,
    digest_key: [u8; 32],
    intake_max: usize,
    bounds: ClaimBounds,
    shared: Arc<SharedState>,
    disk: channel_watch::Receiver<DiskState>,
    /// The keys of the audit log. Each use locks the keys only to copy or to replace them.
    audit_keys: Mutex<AuditKeys>,
}

impl fmt::Debug for SqliteOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOutbox")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl SqliteOutbox {
    /// Opens the store at `path`, or creates the store, and starts the writer thread. At most `intake_max` events wait
    /// for a commit.
    ///
    /// # Errors
    /// [`OpenError`] says how to fix the problem: another process holds the store, or the file is not a store.
    pub fn open(path: &Path, intake_max: usize, now: Timestamp) -> Result<Self, OpenError> {
        Self::open_sealed(path, intake_max, now, Default::default())
    }

    /// Opens the store with these bounds, and with the sealing keys of the process. Tests use small bounds.
    ///
    /// # Errors
    /// Returns the errors of [`Self::open`], or an error if a necessary key is missing.
    pub fn open_sealed(
        path: &Path,
        intake_max: usize,
        now: Timestamp,
        (bounds, keys): (ClaimBounds, Arc<KeyRing>),
    ) -> Result<Self, OpenError> {
        // If `path` is a link, lock the file that the link names, as `verify` and `restore` do.
        let file = path.canonicalize();
        let file = file.unwrap_or_else(|_absent| path.to_owned());
        let mut lock = lock::acquire(&file)?;
        let (opened, files) = open::connection(path, &mut lock, now, (bounds, keys))?;
        let digest_key = opened.digest_key;
        let counts = Counts::read(&opened.store).map_err(OpenError::sqlite("counting entries"))?;
        files.leave();
        let (files, shared) = (Arc::new(files), Arc::new(SharedState::default()));
        shared.publish(&counts.stored_bytes);
        shared.set_sealing(sealing_keys::status(&opened.store));
        let (commands, inbox) = channel();
        let (failed_sender, failed) = channel_watch::channel(false);
        let watches = watch::watches(&files, &shared);
        let (written, disk) = (Arc::clone(&shared), lock.disk().state());
        let write = move || {
            let (own, opened_on) = (Arc::clone(&files), (&opened, lock.disk()));
            Writer::new(opened_on, counts, own, written).run(&inbox, &failed_sender);
            drop((opened, files, lock));
        };
        let threads = Threads::start(write, watches).map_err(OpenError::Thread)?;
        Ok(Self {
            commands: Mutex::new(Some(commands)),
            threads: Mutex::new(Some(threads)),
            path: path.to_owned(),
            failed,
            digest_key,
            intake_max,
            bounds,
            shared,
            disk,
            audit_keys: Mutex::default(),
        })
    }
}

impl Inbox for SqliteOutbox {
    fn append(&self, batch: Vec<NewEntry>) -> StoreFuture<'_, Appended> {
        if let Err(error) = self.shared.accepts() {
            return Box::pin(ready(Err(error)));
        }
        let (events, bytes) = (batch.len(), bytes(&batch));
        if !self.shared.intake.enqueue(events, bytes, self.intake_max) {
            return Box::pin(ready(Err(Error::Busy)));
        }
        self.ask_in_time(|reply| WriterCommand::Append(AppendJob { batch, reply }))
    }

    fn find(&self, lookup: Lookup) -> StoreFuture<'_, Option<Receipt>> {
        self.read(move |connection, _| receipt::find(connection, &lookup))
    }

    fn wait_settled(&self, entry: EntryId) -> StoreFuture<'_, State> {
        self.state_when_settled(entry)
    }

    fn digest_key(&self) -> [u8; 32] {
        self.digest_key
    }

    fn stored_bytes(&self, source: &SourceName) -> u64 {
        self.shared.stored_bytes(source)
    }
}

impl Lanes for SqliteOutbox {
    fn claim(&self, now: Timestamp, max: usize, pick: Pick) -> StoreFuture<'_, Claim> {
        self.ask(|reply| {
            WriterCommand::Claim(ClaimJob {
                now,
                max,
                pick,
                reply,
            })
        })
    }

    fn settle(&self, settlement: Arc<Settlement>) -> StoreFuture<'_, Settled> {
        self.ask(|reply| WriterCommand::Settle(SettleJob { settlement, reply }))
    }

    fn release(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(self.release_all(now))
    }

    fn release_absent(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(self.release_all_absent(now))
    }

    fn woken(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.shared.woken.notified())
    }
}

impl Ledger for SqliteOutbox {
    fn list(&self, filter: EntryFilter) -> StoreFuture<'_, EntryPage> {
        self.read(move |connection, _| ledger::list(connection, &filter))
    }

    fn inspect(&self, entry: EntryId) -> StoreFuture<'_, Option<Inspection>> {
        self.read(move |connection, _| ledger::inspect(connection, entry))
    }

    fn load(&self, selection: EntrySelection, detail: Detail) -> StoreFuture<'_, LoadedEntries> {
        self.read(move |connection, _| ledger::load(connection, &selection, detail))
    }

    fn lanes(&self, customers: Vec<CustomerRef>) -> StoreFuture<'_, Vec<LoadedLane>> {
        let bounds = self.bounds;
        self.read(move |connection, _| customer::load(connection, &customers, bounds))
    }

    fn origins(&self, customer: LaneKey) -> StoreFuture<'_, Vec<FieldOrigin>> {
        self.read(move |connection, _| origin::read(connection, &customer))
    }

    fn replay(&self, replays: Vec<Replay>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>> {
        self.audited(event, |event| {
            self.act(Wakes::Dispatch, move |connection, counts| {
                operator::replay(connection, &replays, &event, counts)
            })
        })
    }

    fn approve(&self, entries: Vec<EntryId>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>> {
        self.audited(event, |event| {
            self.act(Wakes::Dispatch, move |connection, counts| {
                operator::approve(connection, &entries, &event, counts)
            })
        })
    }

    fn withdraw(&self, withdrawal: Withdrawal, event: AuditEvent) -> StoreFuture<'_, Withdrawn> {
        let state = withdrawal.to.state();
        let answer = self.audited(event, |event| {
            self.ask(|reply| WriterCommand::Act(withdraw::act(reply, withdrawal, event)))
        });
        Box::pin(async move {
            let withdrawn = answer.await?;
            let waiters = &self.shared.waiters;
            waiters.settle_all(&withdrawn.entries, state);
            Ok(withdrawn)
        })
    }

    fn reset_versions(
        &self,
        customer: LaneKey,
        event: AuditEvent,
    ) -> StoreFuture<'_, VersionReset> {
        self.audited(event, |event| {
            self.ask(|reply| WriterCommand::Act(reset::act(reply, customer, event)))
        })
    }

    fn named_entries(
        &self,
        keys: Vec<LaneKey>,
        after: EntryId,
        max: usize,
    ) -> StoreFuture<'_, NamedEntries> {
        self.read(move |store, _| customer_erasure::named_entries::find(store, &keys, (after, max)))
    }

    fn erase_customer(&self, erasure: CustomerErasure) -> StoreFuture<'_, ErasureStep> {
        self.erase_step(erasure)
    }

    fn append_audit(&self, event: AuditEvent) -> StoreFuture<'_, ()> {
        self.audited(event, |event| {
            self.act(Wakes::Nobody, move |store, _| {
                audit::append(store, &event, 0)
            })
        })
    }

    fn audit(&self, after: u64, max: usize) -> StoreFuture<'_, Vec<AuditRecord>> {
        let keys = self.audit_keys();
        self.read(move |connection, _| audit::read(connection, &keys, (after, max)))
    }

    fn protect_audit(&self, keys: AuditKeys, now: Timestamp) -> StoreFuture<'_, AuditProtection> {
        self.protect(keys, now)
    }

    fn audit_head(&self) -> StoreFuture<'_, AuditHead> {
        self.read(|connection, _| audit::head(connection))
    }

    fn prune_receipts(
        &self,
        from: EntryId,
        kept: RangeInclusive<Timestamp>,
    ) -> StoreFuture<'_, Option<EntryId>> {
        self.act(Wakes::Nobody, move |db, _| {
            prune::prune_receipts(db, from, &kept)
        })
    }

    fn retire_customers(&self, from: LaneId, before: Timestamp) -> StoreFuture<'_, Retirement> {
        self.retire_step(from, before)
    }

    fn depth(&self) -> StoreFuture<'_, Depth> {
        self.read(|connection, counts| counts.depth(connection))
    }
}
