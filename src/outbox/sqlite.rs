//! The embedded engine: SQLite with `journal_mode=WAL` and `synchronous=FULL`, for one process.
//!
//! One thread owns the connection. Everything asked of it while a commit was under way shares the next one (group
//! commit), so the price of `fdatasync` is paid once a group and not once an event. Which lanes are in flight is kept
//! in that thread's memory: after a crash nothing is in flight, and what waits is sent again.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{Notify, oneshot, watch};

use self::disk_space::DiskSpace;
use self::writer::{ReplyTo, Writer, WriterCommand};
use super::waiters::Waiters;
use super::{
    Appended, AuditEvent, AuditRecord, Claim, Depth, EntryFilter, EntryId, EntryPage, Error,
    Inspection, Lookup, NewEntry, Outbox, Pick, Receipt, Replay, Setting, Settlement, State,
    StoreFuture,
};
use crate::time::Timestamp;

mod append;
mod audit;
mod backup;
mod claim;
mod counts;
mod decode_cache;
mod disk_space;
mod identity_link;
mod lane;
mod lock;
mod meta;
mod open;
mod operator;
mod prune;
mod receipt;
mod settle;
mod writer;

pub use backup::{VerifyReport, restore, verify};
pub use open::OpenError;

/// The most bytes of events that wait for a commit: a slow disk is to cost the senders time and not us memory.
const INTAKE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An outbox in one SQLite file.
pub struct SqliteOutbox {
    /// `None` once it is closed. Held only while a command is put in, never across an await.
    commands: Mutex<Option<Sender<WriterCommand>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    path: PathBuf,
    failed: watch::Receiver<bool>,
    opened: Opened,
    intake_max: usize,
    shared: Arc<SharedState>,
}

/// What was found in the store when it was opened.
struct Opened {
    digest_key: [u8; 32],
    notes: BTreeMap<Setting, String>,
}

/// What the thread and its callers share.
#[derive(Debug, Default)]
struct SharedState {
    /// Events handed over that the thread has not taken in hand: what `intake_max` bounds.
    intake: AtomicUsize,
    /// Their bytes: what [`INTAKE_BYTES_MAX`] bounds.
    intake_bytes: AtomicUsize,
    waiters: Waiters,
    woken: Notify,
}

impl SharedState {
    /// Gives back the room of events that do not wait any more.
    fn taken(&self, events: usize, bytes: usize) {
        self.intake.fetch_sub(events, Ordering::Relaxed);
        self.intake_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// How much a batch takes in memory while it waits, as far as its sender decides it.
fn bytes(batch: &[NewEntry]) -> usize {
    batch.iter().map(|new| new.event.len()).sum()
}

impl fmt::Debug for SqliteOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOutbox")
            .field("intake", &self.shared.intake)
            .finish_non_exhaustive()
    }
}

impl SqliteOutbox {
    /// Opens the store at `path`, or makes it, and starts its thread. At most `intake_max` events wait for a commit.
    ///
    /// # Errors
    /// [`OpenError`] says what to do about it: another process holds the store, or it is not one of ours.
    pub fn open(path: &Path, intake_max: usize, now: Timestamp) -> Result<Self, OpenError> {
        let lock = lock::acquire(path)?;
        let (connection, opened, claimed_lanes) = open::connection(path, now)?;
        let shared = Arc::new(SharedState::default());
        let mut writer = Writer::new(
            connection,
            claimed_lanes,
            DiskSpace::beside(path),
            Arc::clone(&shared),
        )
        .map_err(OpenError::sqlite("counting entries"))?;
        let (commands, inbox): (_, Receiver<WriterCommand>) = channel();
        let (failed_sender, failed) = watch::channel(false);
        let run = move || {
            writer.run(&inbox, &failed_sender);
            drop(writer);
            drop(lock);
        };
        let thread = std::thread::Builder::new()
            .name("outbox".to_owned())
            .spawn(run)
            .map_err(OpenError::Thread)?;
        Ok(Self {
            commands: Mutex::new(Some(commands)),
            thread: Mutex::new(Some(thread)),
            path: path.to_owned(),
            failed,
            opened,
            intake_max,
            shared,
        })
    }

    /// Resolves when the engine has failed for good; then the process is to end, and a new one reads what is on disk.
    pub async fn failed(&self) {
        let mut failed = self.failed.clone();
        if failed.wait_for(|failed| *failed).await.is_err() {
            // The thread ended because it was asked to.
            std::future::pending::<()>().await;
        }
    }

    /// Copies the store into a new file of this name beside it, and says where that is. Meanwhile nothing else is done.
    pub fn backup(&self, name: &str) -> StoreFuture<'_, PathBuf> {
        let to = self.path.with_file_name(name);
        self.ask(|reply| WriterCommand::Backup(to, reply))
    }

    /// Finishes what it was given, writes the log back into the file, and lets go of it.
    pub fn close(&self) {
        drop(
            self.commands
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the store's thread panicked");
        }
    }

    /// Hands a command over and waits for its answer.
    fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(ReplyTo<T>) -> WriterCommand,
    ) -> StoreFuture<'_, T> {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = commands
            .as_ref()
            .is_some_and(|commands| commands.send(command(reply)).is_ok());
        drop(commands);
        Box::pin(async move {
            if !sent {
                return Err(Error::Closed);
            }
            answer.await.unwrap_or(Err(Error::Closed))
        })
    }
}

impl Outbox for SqliteOutbox {
    fn append(&self, batch: Vec<NewEntry>) -> StoreFuture<'_, Appended> {
        let (events, bytes) = (batch.len(), bytes(&batch));
        let waiting = self
            .shared
            .intake
            .fetch_add(events, Ordering::Relaxed)
            .saturating_add(events);
        let waiting_bytes = self
            .shared
            .intake_bytes
            .fetch_add(bytes, Ordering::Relaxed)
            .saturating_add(bytes);
        if waiting > self.intake_max || waiting_bytes > INTAKE_BYTES_MAX {
            self.shared.taken(events, bytes);
            return Box::pin(std::future::ready(Err(Error::Busy)));
        }
        self.ask(|reply| WriterCommand::Append(batch, reply))
    }

    fn claim(&self, now: Timestamp, max: usize, pick: Pick) -> StoreFuture<'_, Claim> {
        self.ask(|reply| WriterCommand::Claim {
            now,
            max,
            pick,
            reply,
        })
    }

    fn settle(&self, settlement: Settlement) -> StoreFuture<'_, ()> {
        self.ask(|reply| WriterCommand::Settle(Box::new(settlement), reply))
    }

    fn release(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        self.ask(|reply| WriterCommand::Release(now, reply))
    }

    fn store_setting(&self, note: Setting, text: String) -> StoreFuture<'_, ()> {
        self.ask(|reply| WriterCommand::Setting(note, text, reply))
    }

    fn setting(&self, note: Setting) -> Option<String> {
        self.opened.notes.get(&note).cloned()
    }

    fn find(&self, lookup: Lookup) -> StoreFuture<'_, Option<Receipt>> {
        self.ask(|reply| WriterCommand::Find(lookup, reply))
    }

    fn depth(&self) -> StoreFuture<'_, Depth> {
        self.ask(WriterCommand::Depth)
    }

    fn list(&self, listing: EntryFilter) -> StoreFuture<'_, EntryPage> {
        self.ask(|reply| WriterCommand::List(Box::new(listing), reply))
    }

    fn inspect(&self, entry: EntryId) -> StoreFuture<'_, Option<Inspection>> {
        self.ask(|reply| WriterCommand::Inspect(entry, reply))
    }

    fn replay(&self, replays: Vec<Replay>, act: AuditEvent) -> StoreFuture<'_, Vec<EntryId>> {
        self.ask(|reply| WriterCommand::Replay(replays, Box::new(act), reply))
    }

    fn discard(&self, entries: Vec<EntryId>, act: AuditEvent) -> StoreFuture<'_, Vec<EntryId>> {
        self.ask(|reply| WriterCommand::Discard(entries, Box::new(act), reply))
    }

    fn append_audit(&self, act: AuditEvent) -> StoreFuture<'_, ()> {
        self.ask(|reply| WriterCommand::Record(Box::new(act), reply))
    }

    fn prune_receipts(
        &self,
        from: EntryId,
        kept: RangeInclusive<Timestamp>,
    ) -> StoreFuture<'_, Option<EntryId>> {
        self.ask(|reply| WriterCommand::Retire(from, kept, reply))
    }

    fn audit(&self, after: u64, max: usize) -> StoreFuture<'_, Vec<AuditRecord>> {
        self.ask(|reply| WriterCommand::Acts(after, max, reply))
    }

    fn digest_key(&self) -> [u8; 32] {
        self.opened.digest_key
    }

    fn wait_settled(&self, entry: EntryId) -> StoreFuture<'_, State> {
        let waiter = self.shared.waiters.register(entry);
        let asked = self.ask(|reply| WriterCommand::State(entry, reply));
        Box::pin(async move {
            match asked.await? {
                Some(state) if state.is_settled() => Ok(state),
                Some(_) | None => waiter.await.map_err(|_gone| Error::Closed),
            }
        })
    }

    fn woken(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.shared.woken.notified())
    }
}

impl Drop for SqliteOutbox {
    fn drop(&mut self) {
        self.close();
    }
}
