//! The changes by which operators make entries wait again: replay and approve. Each change appends a record to the audit
//! log.

use std::collections::BTreeSet;

use super::audit;
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::lane_table::LaneTable;
use super::requeued_rows::{IgnoredRow, RequeuedRow, ignore, requeue};
use super::subjects::{self, OperatorEntry};
use super::tally::TallyChange;
use crate::imprint::CustomerChange;
use crate::outbox::audit_chain::AuditKeys;
use crate::outbox::{
    AuditEvent, AuditHead, EntryId, IgnoreReason, IgnoredEvent, LaneId, LaneKey, Priority, Replay,
    ReplayChange, Standing, State, Trials,
};
use crate::time::Timestamp;

/// The result of a change that makes entries wait.
pub(super) struct Requeued {
    pub(super) entries: Vec<EntryId>,
    pub(super) tally: TallyChange,
    pub(super) head: AuditHead,
}

/// What happens to one entry.
enum Fate<'a> {
    Ignored(&'a IgnoredEvent),
    Waiting(Option<&'a CustomerChange>),
}

/// Makes parked entries wait again, or ends them as ignored. Skips entries that are not parked, and entries without a
/// customer change.
pub(super) async fn replay(
    db: &Connected,
    engine: &Engine,
    replays: &[Replay],
    action: (&AuditEvent, &AuditKeys),
) -> Result<Requeued, DbFault> {
    let mut lanes = LaneTable::default();
    let customers = replays.iter().filter_map(|replay| match &replay.change {
        ReplayChange::Mapped(change) => Some(&change.customer),
        ReplayChange::Stored | ReplayChange::Ignored(_) => None,
    });
    lanes.find(db, engine, customers).await?;
    let entries = replays.iter().map(|replay| replay.entry);
    let mut found = subjects::read(db, engine, entries, &[State::Parked]).await?;
    let blocked = IgnoredEvent::from(IgnoreReason::Blocked);
    let mut changes = Vec::new();
    for replay in replays {
        let Some(subject) = found.remove(&replay.entry) else {
            continue;
        };
        let fate = match &replay.change {
            ReplayChange::Ignored(ignored) => Fate::Ignored(ignored),
            ReplayChange::Mapped(change) if lanes.is_blocked(engine, &change.customer) => {
                Fate::Ignored(&blocked)
            }
            ReplayChange::Stored if !subject.can_wait => continue,
            ReplayChange::Stored => Fate::Waiting(None),
            ReplayChange::Mapped(change) => Fate::Waiting(Some(change)),
        };
        changes.push((subject, fate));
    }
    requeue_all(db, engine, (lanes, &changes), action).await
}

/// Makes held and undecided entries wait. Skips entries in other states.
pub(super) async fn approve(
    db: &Connected,
    engine: &Engine,
    entries: &[EntryId],
    action: (&AuditEvent, &AuditKeys),
) -> Result<Requeued, DbFault> {
    let states = [State::Held, State::Undecided];
    let mut found = subjects::read(db, engine, entries.iter().copied(), &states).await?;
    let subjects = entries.iter().filter_map(|entry| found.remove(entry));
    let subjects = subjects.filter(|subject| subject.can_wait);
    let changes: Vec<_> = subjects
        .map(|subject| (subject, Fate::Waiting(None)))
        .collect();
    requeue_all(db, engine, (LaneTable::default(), &changes), action).await
}

async fn requeue_all(
    db: &Connected,
    engine: &Engine,
    (mut lanes, changes): (LaneTable, &[(OperatorEntry, Fate<'_>)]),
    (event, keys): (&AuditEvent, &AuditKeys),
) -> Result<Requeued, DbFault> {
    let targets = lock(db, engine, &mut lanes, changes).await?;
    let mut tally = TallyChange::default();
    let (mut waiting, mut ignored) = (Vec::new(), Vec::new());
    for ((subject, fate), target) in changes.iter().zip(&targets) {
        let to = match fate {
            Fate::Ignored(reason) => {
                ignored.push(IgnoredRow {
                    entry: subject.entry,
                    ignored: reason,
                });
                State::Ignored
            }
            Fate::Waiting(change) => {
                enter(engine, &mut lanes, (subject, *change, *target), event.at)?;
                waiting.push(RequeuedRow {
                    entry: subject.entry,
                    lane: *target,
                    change: *change,
                });
                State::Waiting
            }
        };
        if let Some(source) = &subject.source {
            tally.leave(subject.state, source, subject.event_bytes);
            tally.enter(to, source, subject.event_bytes);
        }
    }
    requeue(db, &engine.sealer, &waiting).await?;
    ignore(db, &engine.sealer, &ignored, event.at).await?;
    lanes.write(db).await?;
    tally.write(db).await?;
    let head = audit::append(db, engine, (event, keys), changes.len()).await?;
    let entries = changes.iter().map(|(subject, _)| subject.entry);
    Ok(Requeued {
        entries: entries.collect(),
        tally,
        head,
    })
}

/// Locks the lanes of the entries, the lanes into which they go, and the payloads. Returns the lane into which each entry
/// goes.
async fn lock(
    db: &Connected,
    engine: &Engine,
    lanes: &mut LaneTable,
    changes: &[(OperatorEntry, Fate<'_>)],
) -> Result<Vec<LaneId>, DbFault> {
    let mapped = |fate: &Fate<'_>| match fate {
        Fate::Waiting(Some(change)) => Some(LaneKey::of(&change.customer)),
        Fate::Waiting(None) | Fate::Ignored(_) => None,
    };
    let keys = changes.iter().filter_map(|(_, fate)| mapped(fate));
    lanes.number(db, engine, keys).await?;
    let mut targets = Vec::with_capacity(changes.len());
    for (subject, fate) in changes {
        targets.push(match mapped(fate) {
            Some(key) => lanes.id(engine, &key)?,
            None => subject.lane,
        });
    }
    let mut locked: BTreeSet<LaneId> = subjects::lanes(changes.iter().map(|(subject, _)| subject));
    let entered = changes.iter().zip(&targets);
    let entered = entered.filter(|((_, fate), _)| matches!(fate, Fate::Waiting(_)));
    locked.extend(entered.map(|(_, target)| *target));
    lanes.lock(db, locked).await?;
    let payloads = changes.iter();
    let payloads = payloads.map(|(subject, _)| (subject.entry, subject.state, subject.lane));
    subjects::lock(db, payloads).await?;
    Ok(targets)
}

/// Makes the lane of an entry due, with low priority and without its failures.
fn enter(
    engine: &Engine,
    lanes: &mut LaneTable,
    (subject, change, target): (&OperatorEntry, Option<&CustomerChange>, LaneId),
    now: Timestamp,
) -> Result<(), DbFault> {
    let row = lanes.row_mut(target)?;
    let mapped = change.map(|change| LaneKey::of(&change.customer));
    if let Some(key) = mapped.as_ref().or(subject.key.as_ref()) {
        let source = subject.source.as_ref().map(|source| source.as_str());
        let entrance = Some((Priority::Low, now));
        row.enter(&engine.sealer, key, entrance, source)?;
    }
    row.trials = Trials::default();
    row.class.standing = Standing::Well;
    (row.unproven_since, row.absence) = (None, None);
    row.is_changed = true;
    Ok(())
}
