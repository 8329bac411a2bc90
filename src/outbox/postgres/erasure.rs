//! Erases a customer, step by step.

use std::collections::BTreeSet;
use std::path::Path;

use super::connection::Connected;
use super::customer_eraser::CustomerEraser;
use super::customers::{self, KnownLane};
use super::engine::Engine;
use super::erasure_order::{self, ErasureStart};
use super::fault::DbFault;
use super::lane_table::LaneTable;
use super::named_search::NamedSearch;
use super::tally::TallyChange;
use super::{forgetting, linked_keys, subjects};
use crate::failpoint::{self, CrashPoint};
use crate::outbox::named_part::NamedPart;
use crate::outbox::{
    CustomerErasure, ENTRY_MAX, ERASE_MAX, EntryId, ErasedPart, ErasureProgress, ErasureStep,
    LaneId, LaneKey,
};

/// The ids of a customer with their lanes and tombstones.
#[derive(PartialEq, Eq)]
pub(super) struct ErasedIds {
    pub(super) keys: Vec<LaneKey>,
    /// The row of each key.
    pub(super) found: Vec<Option<KnownLane>>,
}

impl ErasedIds {
    async fn find(db: &Connected, engine: &Engine, keys: &[LaneKey]) -> Result<Self, DbFault> {
        let keys = linked_keys::all(db, engine, keys).await?;
        let found = customers::find_lanes(db, engine, &keys).await?;
        Ok(Self { keys, found })
    }

    /// Returns the lanes that are no tombstones.
    pub(super) fn lanes(&self) -> Vec<LaneId> {
        let lanes = self.found.iter().flatten();
        let lanes = lanes.filter(|lane| !lane.is_erased).map(|lane| lane.id);
        let lanes: BTreeSet<LaneId> = lanes.collect();
        lanes.into_iter().collect()
    }
}

/// Erases the next part of a customer's data. Changes nothing while a lane of the customer is claimed: the settlement of
/// the lane would write values again, and the request of the lane may be in flight. The same holds for an entry of the
/// customer in the lane of another customer.
///
/// The lanes and the identity links come last, in the step that finds no further entry in another lane: a crash before this
/// step leaves the links, so a repeated command finds the same ids. The step locks all lanes, so no entry arrives in them
/// before the commit.
pub(super) async fn step(
    db: &Connected,
    engine: &Engine,
    erasure: &CustomerErasure,
    (start, journal): (&ErasureStart, Option<&Path>),
) -> Result<(ErasureStep, TallyChange), DbFault> {
    let in_flight = Ok((ErasureStep::InFlight, TallyChange::default()));
    let ids = ErasedIds::find(db, engine, &erasure.keys).await?;
    let named = search(db, engine, erasure, &ids).await?;
    let lanes = lock(db, engine, &ids, &named).await?;
    let is_claimed = |lane: LaneId| lanes.row(lane).is_ok_and(|row| row.owner.is_some());
    if ids.lanes().into_iter().any(is_claimed) {
        return in_flight;
    }
    let Some(named) = named.before_claimed(is_claimed) else {
        return in_flight;
    };
    let progress = match erasure.progress {
        Some(progress) => progress,
        None => {
            let order = (erasure, ids.keys.as_slice());
            start.begin(db, engine, order, journal).await?
        }
    };
    let mut eraser = CustomerEraser::new(db, engine, lanes, (erasure.at, progress.last));
    eraser.part.unreadable = named.unreadable.len();
    let later = erasure.later_events;
    let is_erased = match named.is_end() {
        true => eraser.erase_lanes(&ids, later).await?,
        false => eraser.erase_named(&ids, &named, later).await?,
    };
    let (part, tally) = eraser.finish().await?;
    let own = ids.found.iter().flatten().filter(|_| is_erased);
    let lanes = own.map(|lane| lane.id).chain(part.lanes.iter().copied());
    forgetting::order(db, engine.owner.get(), lanes).await?;
    if let (true, Some(number)) = (is_erased, progress.number) {
        erasure_order::finish(db, number).await?;
    }
    failpoint::crash_point(CrashPoint::BeforeErasure);
    let progress = (!is_erased).then_some(ErasureProgress {
        examined: named.up_to,
        ..progress
    });
    let part = ErasedPart {
        keys: ids.keys,
        progress,
        ..part
    };
    Ok((ErasureStep::Erased(part), tally))
}

async fn search(
    db: &Connected,
    engine: &Engine,
    erasure: &CustomerErasure,
    ids: &ErasedIds,
) -> Result<NamedPart, DbFault> {
    let last = erasure.progress.map(|progress| progress.last);
    let search = NamedSearch {
        keys: &ids.keys,
        invalid: &erasure.invalid,
        own: &[],
        left_out: &ids.lanes(),
        after: examined(erasure, &ids.keys),
        last: last.unwrap_or(EntryId(ENTRY_MAX)),
        max: ERASE_MAX,
    };
    search.next(db, &engine.sealer).await
}

/// Returns the entry after which the search for entries in other lanes continues. If an identity link has led to a further
/// id since the step before, the search begins again.
fn examined(erasure: &CustomerErasure, keys: &[LaneKey]) -> EntryId {
    match erasure.progress {
        Some(progress) if erasure.keys.len() == keys.len() => progress.examined,
        Some(_) | None => EntryId(0),
    }
}

/// Locks the lanes and the found entries. If another transaction has changed them since the search, or has found a further
/// id, the step begins again.
async fn lock(
    db: &Connected,
    engine: &Engine,
    ids: &ErasedIds,
    named: &NamedPart,
) -> Result<LaneTable, DbFault> {
    let mut lanes = LaneTable::default();
    let own = ids.found.iter().flatten().map(|lane| lane.id);
    let locked: BTreeSet<LaneId> = own.chain(named.lanes()).collect();
    lanes.lock(db, locked).await?;
    if ErasedIds::find(db, engine, &ids.keys).await? != *ids {
        return Err(DbFault::Raced);
    }
    let named = named.entries.iter();
    subjects::lock(
        db,
        named.map(|found| (found.entry, found.state, found.lane)),
    )
    .await?;
    Ok(lanes)
}
