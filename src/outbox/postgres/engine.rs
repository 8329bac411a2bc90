//! The engine inside the runtime of the store: the connections, the keys, and the claims of this replica.
//!
//! Everything here runs on one thread, so the parts share their state without locks.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::sync::{Mutex, Notify};

use super::connection::{Connected, Connector, DbLink};
use super::database_address::DatabaseAddress;
use super::due_floors::DueFloors;
use super::fault::DbFault;
use super::held_claims::HeldClaims;
use super::keys::Digests;
use super::open_error::PostgresOpenError;
use super::random_number::random_number;
use super::replica::Registration;
use super::replica_state::ReplicaState;
use super::resealing::SealingPass;
use super::sealing_keys::{Unlocked, unlock};
use super::silent_replicas::SilentReplicas;
use super::{due_times, moved_tombstones, proof, replica, schema, shared_keys, tally};
use crate::outbox::keyed_digest::DigestKey;
use crate::outbox::sealer::Sealer;
use crate::outbox::{ClaimBounds, Error, SealingStatus};
use crate::sealing::KeyRing;

/// What the caller passes to the runtime of the store.
pub(super) struct EngineStart {
    pub(super) address: DatabaseAddress,
    pub(super) bounds: ClaimBounds,
    pub(super) ring: Arc<KeyRing>,
    pub(super) shared: Arc<ReplicaState>,
    /// True if a test injects failures into the statements.
    pub(super) injects: bool,
}

/// The connections by their use. The operations of one use take turns.
#[derive(Default)]
pub(super) struct DbLinks {
    pub(super) writer: DbLink,
    pub(super) claims: DbLink,
    pub(super) acts: DbLink,
    reads: [DbLink; 2],
    next_read: Cell<usize>,
    pub(super) keeper: DbLink,
    pub(super) tidy: DbLink,
    pub(super) sharing: DbLink,
}

impl DbLinks {
    /// Returns a connection for a read.
    pub(super) fn reader(&self) -> &DbLink {
        let next = self.next_read.get().wrapping_add(1);
        self.next_read.set(next);
        let [even, odd] = &self.reads;
        if next.is_multiple_of(2) { even } else { odd }
    }
}

pub(super) struct Engine {
    pub(super) connector: Connector,
    pub(super) links: DbLinks,
    pub(super) sealer: Sealer,
    /// The keys of this process. The sealer has the same keys, and seals with the key that all replicas share.
    pub(super) ring: RefCell<Arc<KeyRing>>,
    pub(super) digests: Digests,
    pub(super) digest_key: DigestKey,
    /// True if a transfer has moved tombstones into the store.
    pub(super) has_moved_tombstones: bool,
    /// The number under which the replica is registered.
    pub(super) owner: Cell<u64>,
    /// The random number of this process.
    process: i64,
    /// The number of extensions of the lease since the last failed extension.
    pub(super) beats: Cell<u32>,
    pub(super) claims: RefCell<HeldClaims>,
    /// Where claims begin to read the queues of due lanes.
    pub(super) floors: RefCell<DueFloors>,
    /// Claims take turns: a claim frees lanes that no finished claim knows.
    pub(super) claiming: Mutex<()>,
    /// How many times the connection of the claims was opened before the last agreement about the lanes of this replica.
    pub(super) agreed: Cell<u64>,
    /// The replicas that possibly are lost.
    pub(super) silent: RefCell<SilentReplicas>,
    /// Tells that the database answers again.
    pub(super) answers_again: Notify,
    /// The pass that seals values again. Its steps take turns.
    pub(super) resealing: Mutex<Option<SealingPass>>,
    pub(super) bounds: ClaimBounds,
    pub(super) shared: Arc<ReplicaState>,
    /// The number of operations in progress, beside the writer, that change the tally.
    acts: Cell<u32>,
    /// Counts the operations, beside the writer, that change the tally.
    acted: Cell<u64>,
}

impl Engine {
    pub(super) async fn open(start: EngineStart) -> Result<Self, PostgresOpenError> {
        let DatabaseAddress {
            url,
            password,
            tls,
            durability,
        } = start.address;
        let connector = Connector::parse(&url, tls, start.injects)?
            .with_password(password)
            .counting(Arc::clone(&start.shared.connections));
        let links = DbLinks::default();
        let failed = PostgresOpenError::of("opening the store");
        let layout = schema::find_or_create(&connector, &links.acts).await;
        let layout = layout.map_err(&failed)?;
        layout.expect_readable()?;
        let proof = proof::at_start(&connector, durability).await?;
        start.shared.set_lossy(proof.lossy_setting().is_some());
        let ring = &start.ring;
        let process = random_number().map_err(&failed)?;
        let asked_at = start.shared.lease.now();
        let (sealer, digest_key, owner) = register(&connector, &links, (ring, process)).await?;
        start.shared.lease.extended(owner, asked_at);
        let limited = due_times::limit(&connector, &links.acts).await;
        limited.map_err(&failed)?;
        let moved = connector.read(&links.acts, moved_tombstones::exist).await;
        let has_moved_tombstones = moved.map_err(&failed)?;
        let totals = connector.read(&links.acts, tally::read).await;
        start.shared.publish(totals.map_err(&failed)?.stored_bytes);
        start
            .shared
            .set_sealing(SealingStatus::of(&sealer.ring(), &sealer.used()));
        Ok(Self {
            connector,
            links,
            sealer,
            ring: RefCell::new(start.ring),
            digests: Digests::new(&digest_key),
            digest_key,
            has_moved_tombstones,
            owner: Cell::new(owner),
            process,
            beats: Cell::new(0),
            claims: RefCell::default(),
            floors: RefCell::default(),
            claiming: Mutex::default(),
            agreed: Cell::new(0),
            silent: RefCell::default(),
            answers_again: Notify::new(),
            resealing: Mutex::default(),
            bounds: start.bounds,
            shared: start.shared,
            acts: Cell::new(0),
            acted: Cell::new(0),
        })
    }

    /// Returns the registration of this replica.
    pub(super) const fn registration(&self) -> Registration {
        Registration {
            owner: self.owner.get(),
            process: self.process,
        }
    }

    /// Runs a read of committed rows, in statements of their own.
    pub(super) async fn read<T>(
        &self,
        read: impl AsyncFn(&Connected) -> Result<T, DbFault>,
    ) -> Result<T, Error> {
        let read = self.connector.read(self.links.reader(), read).await;
        read.map_err(|fault| fault.report("reading"))
    }

    /// Changes the store in a separate transaction. The engine possibly runs `act` several times, so `act` changes
    /// nothing but the database. The caller applies the result to the memory after the commit.
    pub(super) async fn act<T>(
        &self,
        act: impl AsyncFn(&Connected) -> Result<T, DbFault>,
    ) -> Result<T, Error> {
        self.acts.set(self.acts.get().saturating_add(1));
        let acted = self.connector.transact(&self.links.acts, act).await;
        self.acts.set(self.acts.get().saturating_sub(1));
        self.acted.set(self.acted.get().wrapping_add(1));
        self.floors.borrow_mut().ask();
        acted.map_err(|fault| fault.report("changing entries"))
    }

    /// Returns a number that changes with every act. Returns `None` while an act is in progress. If two calls return the
    /// same number, no act has changed the tally between the two calls.
    pub(super) fn acts_done(&self) -> Option<u64> {
        (self.acts.get() == 0).then(|| self.acted.get())
    }
}

/// Unlocks the store, and registers this replica.
async fn register(
    connector: &Connector,
    links: &DbLinks,
    (ring, process): (&Arc<KeyRing>, i64),
) -> Result<(Sealer, DigestKey, u64), PostgresOpenError> {
    let failed = PostgresOpenError::of("opening the store");
    let taken = connector.transact(&links.keeper, replica::take_over_ended);
    taken.await.map_err(&failed)?;
    // The digest key stays locked until this replica is registered with its keys.
    let registered = connector.transact(&links.acts, async |db: &Connected| {
        let unlocked = unlock(db, ring).await?;
        let keys = shared_keys::listed(ring);
        let owner = match &unlocked {
            Unlocked::Open(..) => replica::register(db, process, &keys).await?,
            Unlocked::NoKey(_) => 0,
        };
        Ok((unlocked, owner))
    });
    let (unlocked, owner) = registered.await.map_err(&failed)?;
    match unlocked {
        Unlocked::Open(sealer, key) => Ok((sealer, key, owner)),
        Unlocked::NoKey(key) => Err(PostgresOpenError::NoSealingKey(key)),
    }
}
