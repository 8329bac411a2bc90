//! Compares each storage engine with a model, the reference engine: any operations in any order must have the same
//! results.

use std::sync::Arc;
use std::time::Duration;

use imprint_bridge::event::{Attribute, EventError, Identity, SourceName, SourceVersion};
use imprint_bridge::fold::{MaxFold, fold};
use imprint_bridge::imprint::{
    CustomerChange, CustomerRef, Field, FieldValue, ImprintId, PartnerCustomerId,
};
use imprint_bridge::outbox::{
    AuditEvent, Claim, ClaimBounds, ClaimToken, ClaimedLane, Detail, Digest, Disposition, Ending,
    EntryFilter, EntryId, EntrySelection, IdentityLink, IgnoreReason, InvalidReason, LaneId,
    LaneKey, LaneShares, Lookup, MemoryOutbox, Moved, NewEntry, Outbox, ParkReason, Pick, Priority,
    Replay, ReplayChange, Settled, Settlement, SqliteOutbox, State, Trials, UntriedOrder,
    WaitingEntry, Withdrawal, WithdrawnState,
};
use imprint_bridge::time::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::sealed::ring;
use crate::postgres;
use crate::support::{is_full_run, wait_for};

mod moved;

/// One operation on a storage engine.
#[derive(Clone, Debug)]
enum Op {
    /// Appends events, each with id, customer, version and disposition.
    Append(Vec<(u8, u8, i64, Fate)>),
    Claim {
        max: usize,
        pick: Pick,
    },
    /// Settles one of the claimed lanes.
    Settle(u8, Outcome),
    Replay(Vec<u64>, u8),
    Approve(Vec<u64>),
    /// Parks or discards entries: only parked entries, or entries in every state.
    Withdraw {
        entries: Vec<u64>,
        parks: bool,
        only_parked: bool,
    },
    /// Resets the versions of a customer.
    Reset(u8),
    Load(Vec<u64>, u8),
    Release,
    Retire(u64),
    List(u8, u64, usize),
    Pass(u64),
    /// Ends the process and starts a new process on the same store.
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Waits,
    WaitsBehind,
    Parks,
    IsHeld,
    Ignored,
    IsInvalid,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Delivered,
    Unknown,
    Held,
    Later,
    Postponed,
    Parked,
    Undecided,
    Ignored,
    Unfolded,
    Moved,
    Learned,
}

fn pick() -> impl Strategy<Value = Pick> {
    let untried_last = |kept| {
        Pick::LongestDue(LaneShares {
            untried: UntriedOrder::Last { kept },
            ..LaneShares::UNLIMITED
        })
    };
    prop_oneof![
        2 => Just(Pick::LeastFailed(3)),
        1 => Just(Pick::LongestDue(LaneShares::UNLIMITED)),
        1 => (0..2_usize).prop_map(untried_last),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let fate = prop_oneof![
        6 => Just(Fate::Waits),
        2 => Just(Fate::WaitsBehind),
        1 => Just(Fate::Parks),
        1 => Just(Fate::IsHeld),
        1 => Just(Fate::Ignored),
        1 => Just(Fate::IsInvalid),
    ];
    let outcome = prop_oneof![
        Just(Outcome::Delivered),
        Just(Outcome::Unknown),
        Just(Outcome::Held),
        Just(Outcome::Later),
        Just(Outcome::Postponed),
        Just(Outcome::Parked),
        Just(Outcome::Undecided),
        Just(Outcome::Ignored),
        Just(Outcome::Unfolded),
        Just(Outcome::Moved),
        Just(Outcome::Learned),
    ];
    let event = (0..40_u8, 0..6_u8, 0..5_i64, fate);
    let numbers = || prop::collection::vec(1..60_u64, 0..5);
    let early = prop::collection::vec(1..20_u64, 0..5);
    prop_oneof![
        4 => prop::collection::vec(event, 1..5).prop_map(Op::Append),
        4 => (0..4_usize, pick()).prop_map(|(max, pick)| Op::Claim { max, pick }),
        5 => (any::<u8>(), outcome).prop_map(|(which, outcome)| Op::Settle(which, outcome)),
        1 => (numbers(), 0..3_u8).prop_map(|(entries, other)| Op::Replay(entries, other)),
        1 => numbers().prop_map(Op::Approve),
        2 => (early, any::<bool>(), any::<bool>()).prop_map(|(entries, parks, only_parked)| Op::Withdraw { entries, parks, only_parked }),
        1 => (numbers(), 0..2_u8).prop_map(|(entries, detail)| Op::Load(entries, detail)),
        1 => (0..6_u8).prop_map(Op::Reset),
        1 => Just(Op::Release),
        1 => (0..10_u64).prop_map(Op::Retire),
        1 => (0..8_u8, 0..40_u64, 1..5_usize).prop_map(|(state, after, max)| Op::List(state, after, max)),
        2 => (0..120_u64).prop_map(Op::Pass),
        1 => Just(Op::Restart),
    ]
}

/// Returns the reference to a customer: Imprint's id for customers 0 to 2, both ids for customer 3, and the partner
/// customer id for customers 4 and 5.
fn customer(number: u8) -> CustomerRef {
    let imprint = ImprintId::parse(&format!("CUST-{number}")).unwrap();
    let partner = PartnerCustomerId::parse(&format!("P-{number}")).unwrap();
    match number {
        0..=2 => CustomerRef::Imprint(imprint),
        3 => CustomerRef::Pair { imprint, partner },
        _ => CustomerRef::Partner(partner),
    }
}

/// Returns the source of an event: the events come from three sources.
fn source(id: u8) -> SourceName {
    let names = ["crm", "erp", "shop"];
    SourceName::parse(names[usize::from(id) % 3]).unwrap()
}

fn change(number: u8, value: i64, text: &str) -> CustomerChange {
    let field = if value % 2 == 0 { "email" } else { "phone" };
    let values = [
        (
            Field::parse(field).unwrap(),
            FieldValue::from_value(json!(text)),
        ),
        (
            Field::parse("city").unwrap(),
            FieldValue::from_value(json!(text)),
        ),
    ];
    CustomerChange {
        customer: customer(number),
        version: SourceVersion { epoch: 0, value },
        update: values.into_iter().collect(),
        jump_max: (value > 2).then_some(9),
        is_foreign: false,
        skipped: Vec::new(),
    }
}

fn entry((id, number, value, fate): (u8, u8, i64, Fate), now: Timestamp) -> NewEntry {
    // Events with the same id have the same content, except that the content of id 39 depends on the customer, to
    // produce conflicts.
    let digest = if id == 39 { number } else { id };
    let change = change(number, value, &format!("e-{id}"));
    NewEntry {
        identity: Identity {
            source: source(id),
            ce_source: None,
            id: Attribute::parse(&format!("e-{id}")).unwrap(),
        },
        event_type: Attribute::parse("customer.changed").unwrap(),
        digest: Digest([digest; 16]),
        accepted_at: now,
        priority: match fate {
            Fate::WaitsBehind => Priority::Low,
            Fate::Waits | Fate::Parks | Fate::IsHeld | Fate::Ignored | Fate::IsInvalid => {
                Priority::Live
            }
        },
        disposition: match fate {
            Fate::Waits | Fate::WaitsBehind => Disposition::Enqueue(change),
            Fate::Parks => Disposition::Park(change, ParkReason::ForeignAddress),
            Fate::IsHeld => Disposition::Hold(change),
            Fate::Ignored => Disposition::Ignore(IgnoreReason::ListedType.into()),
            Fate::IsInvalid => Disposition::Invalid(InvalidReason {
                epoch: u32::from(number),
                errors: vec![event_error("/email")],
            }),
        },
        event: format!("{{\"id\":{id}}}").into_bytes(),
    }
}

pub(super) fn event_error(pointer: &str) -> EventError {
    EventError {
        pointer: pointer.to_owned(),
        rule: "format".to_owned(),
        location: "/properties/email/format".to_owned(),
        detail: "The value is not an e-mail address.".to_owned(),
    }
}

/// Builds the settlement of a claimed lane, as the dispatch policy might decide.
fn settlement(claimed: &ClaimedLane, outcome: Outcome, now: Timestamp) -> Settlement {
    let fold = fold(&claimed.versions, &claimed.candidates(), MaxFold(2), now);
    let carried: Vec<EntryId> = fold.carried.iter().copied().map(EntryId).collect();
    let all = |ending: &Ending| -> Vec<(EntryId, Ending)> {
        let entries = claimed.waiting.iter();
        entries
            .map(|waiting| (waiting.entry, ending.clone()))
            .collect()
    };
    let until = now.after(Duration::from_secs(60));
    let mut settlement = Settlement {
        attempted: carried.clone(),
        unfold_to: claimed.unfold_to,
        reassert_at: claimed.versions.reassert_at(),
        at: now,
        ..super::settlement(claimed, Vec::new(), now)
    };
    match outcome {
        Outcome::Delivered => {
            let versions = claimed.versions.clone().delivered(&fold);
            settlement.endings = carried
                .into_iter()
                .map(|entry| (entry, Ending::Delivered))
                .collect();
            settlement.reassert_at = versions.reassert_at();
            settlement.versions = Some(versions);
        }
        Outcome::Unknown => {
            let versions = claimed.versions.clone().with_unconfirmed(&fold, until);
            settlement.reassert_at = versions.reassert_at();
            settlement.versions = Some(versions);
            settlement.trials = Trials {
                failures: claimed.trials.failures + 1,
                attempts: claimed.trials.attempts,
                tried_at: Some(now),
                blamed_since: None,
            };
        }
        Outcome::Held => settlement.trials = claimed.trials,
        Outcome::Later => settlement.due = until,
        Outcome::Postponed => {
            settlement.due = until;
            settlement.attempted.clear();
        }
        Outcome::Parked => settlement.endings = all(&parked()),
        Outcome::Undecided => settlement.endings = all(&Ending::Undecided),
        Outcome::Ignored => settlement.endings = all(&super::IGNORED),
        Outcome::Unfolded => settlement.unfold_to = carried.into_iter().max(),
        Outcome::Moved => settlement.moved = Some(moved(claimed)),
        Outcome::Learned => settlement.new_link = Some(learned(now)),
    }
    settlement
}

fn parked() -> Ending {
    Ending::Parked {
        reason: ParkReason::Rejected,
        detail: Some("status 400".to_owned()),
    }
}

/// Builds the move of all entries that name our id to the lane of customer 0.
fn moved(claimed: &ClaimedLane) -> Moved {
    let by_partner = |waiting: &&WaitingEntry| waiting.customer.partner().is_some();
    Moved {
        to: ImprintId::parse("CUST-0").unwrap(),
        entries: claimed
            .waiting
            .iter()
            .filter(by_partner)
            .map(|waiting| waiting.entry)
            .collect(),
    }
}

fn learned(now: Timestamp) -> IdentityLink {
    IdentityLink {
        partner: PartnerCustomerId::parse("P-3").unwrap(),
        imprint: ImprintId::parse("CUST-3").ok(),
        confirmed_at: now,
    }
}

/// Ends a storage engine, cleanly or by a crash, and starts the engine again.
type Restart = Box<dyn Fn(Arc<dyn Outbox>, bool, Timestamp) -> Arc<dyn Outbox>>;

/// A storage engine under test, with its restart function and its claimed lanes.
pub(super) struct Engine {
    pub(super) outbox: Arc<dyn Outbox>,
    restart: Restart,
    claimed: Vec<ClaimedLane>,
}

/// Waits for a result of the store writer.
fn now_or_soon<T>(answer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(answer)
}

impl Engine {
    /// Performs an operation on the storage engine and returns its result as text.
    fn perform(&mut self, op: &Op, now: Timestamp) -> String {
        let outbox = Arc::clone(&self.outbox);
        match op {
            Op::Append(events) => {
                let batch = events.iter().map(|event| entry(*event, now)).collect();
                format!("{:?}", now_or_soon(outbox.append(batch)).unwrap())
            }
            Op::Claim { max, pick } => self.claim(*max, *pick, now),
            Op::Settle(which, outcome) => self.settle(*which, *outcome, now),
            Op::Replay(entries, other) => {
                let change = replay_change(*other);
                let replays = entries.iter().map(|entry| Replay {
                    entry: EntryId(*entry),
                    change: change.clone(),
                });
                let replayed = outbox.replay(replays.collect(), event("replay", now));
                format!("{:?}", now_or_soon(replayed).unwrap())
            }
            Op::Approve(entries) => {
                let approved = outbox.approve(ids(entries), event("approve", now));
                format!("{:?}", now_or_soon(approved).unwrap())
            }
            Op::Withdraw {
                entries,
                parks,
                only_parked,
            } => {
                let withdrawal = withdrawal(ids(entries), *parks, *only_parked);
                let withdrawn = outbox.withdraw(withdrawal, event("withdraw", now));
                format!("{:?}", now_or_soon(withdrawn).unwrap())
            }
            Op::Load(entries, detail) => load(&*outbox, ids(entries), *detail),
            Op::Retire(from) => retire(&*outbox, EntryId(*from), now),
            Op::Reset(number) => {
                let key = LaneKey::of(&customer(*number));
                let reset = outbox.reset_versions(key, event("reset_versions", now));
                format!("{:?}", now_or_soon(reset))
            }
            Op::Release => format!("{:?}", now_or_soon(outbox.release(now))),
            Op::List(state, after, max) => {
                let listing = EntryFilter {
                    after: EntryId(*after),
                    ..EntryFilter::in_state(State::ALL[usize::from(*state)], *max)
                };
                let found = now_or_soon(outbox.list(listing)).unwrap();
                // Each engine may scan a different number of entries for one page, as long as it returns the place to
                // continue.
                format!("{:?}", found.entries)
            }
            Op::Pass(_) => String::new(),
            Op::Restart => {
                drop(outbox);
                self.restart(now);
                String::new()
            }
        }
    }

    /// Ends the storage engine and starts the engine again: after a crash if lanes are claimed, otherwise in order.
    pub(super) fn restart(&mut self, now: Timestamp) {
        let in_order = self.claimed.is_empty();
        self.claimed.clear();
        let old = std::mem::replace(&mut self.outbox, Arc::new(MemoryOutbox::default()));
        self.outbox = (self.restart)(old, in_order, now);
    }

    /// Claims lanes, which stay claimed until the test settles them with [`Self::record`].
    pub(super) fn take(&mut self, max: usize, pick: Pick, now: Timestamp) -> Claim {
        let claim = now_or_soon(self.outbox.claim(now, max, pick)).unwrap();
        self.claimed.extend(claim.lanes.iter().cloned());
        claim
    }

    /// Settles a claimed lane.
    pub(super) fn record(&mut self, settlement: Settlement) {
        self.claimed
            .retain(|claimed| claimed.token != settlement.token);
        let settled = now_or_soon(self.outbox.settle(settlement.into())).unwrap();
        assert_eq!(settled, Settled::Recorded);
    }

    fn claim(&mut self, max: usize, pick: Pick, now: Timestamp) -> String {
        let mut described = self.take(max, pick, now);
        // Each storage engine makes its own claim tokens, so the comparison leaves the tokens out.
        for lane in &mut described.lanes {
            lane.token = ClaimToken::default();
        }
        format!("{described:?}")
    }

    fn settle(&mut self, which: u8, outcome: Outcome, now: Timestamp) -> String {
        if self.claimed.is_empty() {
            return String::new();
        }
        let which = usize::from(which) % self.claimed.len();
        let claimed = self.claimed.remove(which);
        let settled = now_or_soon(
            self.outbox
                .settle(settlement(&claimed, outcome, now).into()),
        );
        format!("{settled:?}")
    }

    /// Reads the receipts and the depth of the storage engine as text.
    fn receipts(&self) -> String {
        let lookup = |id: u8| Lookup {
            source: source(id),
            ce_source: None,
            id: Attribute::parse(&format!("e-{id}")).unwrap(),
        };
        let receipts = (0..40).filter_map(|id| now_or_soon(self.outbox.find(lookup(id))).unwrap());
        let receipts: Vec<_> = receipts.collect();
        let mut depth = now_or_soon(self.outbox.depth()).unwrap();
        for (source, bytes) in &depth.stored_bytes {
            assert_eq!(self.outbox.stored_bytes(source), *bytes, "{source}");
        }
        depth.stored_bytes.retain(|_, bytes| *bytes > 0);
        format!("{receipts:#?} {depth:#?}")
    }

    /// Reads the whole state of the storage engine as text: receipts, inspections, origins, depth, audit log.
    fn readable(&self) -> String {
        let lookup = |id: u8| Lookup {
            source: source(id),
            ce_source: None,
            id: Attribute::parse(&format!("e-{id}")).unwrap(),
        };
        let receipts = (0..40).filter_map(|id| now_or_soon(self.outbox.find(lookup(id))).unwrap());
        let receipts: Vec<_> = receipts.collect();
        let inspections: Vec<_> = receipts
            .iter()
            .map(|receipt| now_or_soon(self.outbox.inspect(receipt.entry)).unwrap())
            .map(|found| found.map(|found| (found.summary, found.update, found.event)))
            .collect();
        let customers = (0..6).map(customer);
        let keys = customers.clone().map(|customer| LaneKey::of(&customer));
        let lanes = now_or_soon(self.outbox.lanes(customers.collect())).unwrap();
        let origins: Vec<_> = keys
            .map(|key| now_or_soon(self.outbox.origins(key)).unwrap())
            .collect();
        let mut depth = now_or_soon(self.outbox.depth()).unwrap();
        for (source, bytes) in &depth.stored_bytes {
            assert_eq!(self.outbox.stored_bytes(source), *bytes, "{source}");
        }
        // An engine may or may not list a source without unfinished events.
        depth.stored_bytes.retain(|_, bytes| *bytes > 0);
        let acts = now_or_soon(self.outbox.audit(0, 100)).unwrap();
        assert!(
            acts.iter().all(|act| act.is_intact),
            "the audit log is intact"
        );
        format!("{receipts:#?} {inspections:#?} {lanes:#?} {origins:#?} {depth:#?} {acts:#?}")
    }
}

fn replay_change(number: u8) -> ReplayChange {
    match number {
        0 => ReplayChange::Stored,
        1 => ReplayChange::Mapped(change(1, 4, "mapped again")),
        _ => ReplayChange::Ignored(IgnoreReason::Condition.into()),
    }
}

fn withdrawal(entries: Vec<EntryId>, parks: bool, only_parked: bool) -> Withdrawal {
    let mut from = vec![State::Parked];
    if !only_parked {
        from = State::ALL.to_vec();
    }
    let to = match parks {
        true => WithdrawnState::Parked(ParkReason::ByOperator),
        false => WithdrawnState::Discarded,
    };
    // No operator parks an entry that is parked already.
    from.retain(|state| !(parks && *state == State::Parked));
    Withdrawal { entries, from, to }
}

fn ids(entries: &[u64]) -> Vec<EntryId> {
    entries.iter().copied().map(EntryId).collect()
}

/// Deletes receipts that are older than a minute, and retires the customers without a delivery in this minute.
fn retire(outbox: &dyn Outbox, from: EntryId, now: Timestamp) -> String {
    let minute_ago = Timestamp::from_millis(now.as_millis() - 60_000);
    let kept = minute_ago..=now;
    let next = now_or_soon(outbox.prune_receipts(from, kept.clone())).unwrap();
    let last = now_or_soon(outbox.prune_receipts(next.unwrap_or_default(), kept));
    let retired = now_or_soon(outbox.retire_customers(LaneId(0), minute_ago));
    format!("{next:?} {last:?} {:?}", retired.unwrap())
}

/// Loads a selection of entries and returns its content as text.
fn load(outbox: &dyn Outbox, entries: Vec<EntryId>, detail: u8) -> String {
    let detail = match detail {
        0 => Detail::Summaries,
        _ => Detail::Payloads,
    };
    let loaded = now_or_soon(outbox.load(EntrySelection::Entries(entries), detail)).unwrap();
    let entries: Vec<_> = loaded
        .entries
        .into_iter()
        .map(|entry| {
            (
                entry.summary,
                entry.version,
                entry.update,
                entry.event,
                entry.customer,
                entry.jump_max,
            )
        })
        .collect();
    format!("{entries:?} {}", loaded.has_more)
}

fn event(what: &'static str, at: Timestamp) -> AuditEvent {
    AuditEvent {
        operator: "alice".to_owned(),
        action: what,
        target: "some".to_owned(),
        reason: None,
        at,
    }
}

/// Returns whether only the ledger can perform the operation.
const fn needs_ledger(op: &Op) -> bool {
    match op {
        Op::Replay(..)
        | Op::Approve(_)
        | Op::Withdraw { .. }
        | Op::Reset(_)
        | Op::Load(..)
        | Op::Retire(_)
        | Op::List(..) => true,
        Op::Append(_)
        | Op::Claim { .. }
        | Op::Settle(..)
        | Op::Release
        | Op::Pass(_)
        | Op::Restart => false,
    }
}

/// Small bounds of claims, so that few entries and lanes exceed every bound.
pub(super) const SMALL: ClaimBounds = ClaimBounds {
    newest: 2,
    oldest: 1,
    bytes: 1024 * 1024,
    in_flight: 2,
    probe: 2,
};

pub(super) fn memory(bounds: ClaimBounds) -> Engine {
    let outbox = Arc::new(MemoryOutbox::bounded(bounds));
    let kept = Arc::clone(&outbox);
    let restart = move |_old, in_order, _now| -> Arc<dyn Outbox> {
        kept.restart(in_order);
        let kept: Arc<dyn Outbox> = Arc::<MemoryOutbox>::clone(&kept);
        kept
    };
    Engine {
        outbox,
        restart: Box::new(restart),
        claimed: Vec::new(),
    }
}

/// The model of an engine whose store knows the claims of an earlier process.
fn memory_with_known_claims(bounds: ClaimBounds) -> Engine {
    let outbox = Arc::new(MemoryOutbox::bounded(bounds));
    let kept = Arc::clone(&outbox);
    let restart = move |_old, _in_order, _now| -> Arc<dyn Outbox> {
        kept.restart_with_known_claims();
        let kept: Arc<dyn Outbox> = Arc::<MemoryOutbox>::clone(&kept);
        kept
    };
    Engine {
        outbox,
        restart: Box::new(restart),
        claimed: Vec::new(),
    }
}

/// Opens a store in a new PostgreSQL database with the sealing keys of these seeds.
fn postgres(bounds: ClaimBounds, seeds: &[u8]) -> Engine {
    let (database, ring) = (postgres::database(), ring(seeds));
    let outbox = Arc::new(database.open(bounds, Arc::clone(&ring)));
    let restart = move |old: Arc<dyn Outbox>, _in_order, _now| -> Arc<dyn Outbox> {
        drop(old);
        Arc::new(database.open(bounds, Arc::clone(&ring)))
    };
    Engine {
        outbox,
        restart: Box::new(restart),
        claimed: Vec::new(),
    }
}

/// Opens a SQLite store with the sealing keys of these seeds.
pub(super) fn sqlite(
    folder: &tempfile::TempDir,
    start: Timestamp,
    bounds: ClaimBounds,
    seeds: &[u8],
) -> Engine {
    let path = folder.path().join(format!("outbox-{}.db", seeds.len()));
    let keys = (bounds, ring(seeds));
    let open = move |now| SqliteOutbox::open_sealed(&path, 1000, now, keys.clone()).ok();
    let outbox = Arc::new(open(start).unwrap());
    let restart = move |old: Arc<dyn Outbox>, _in_order, now| -> Arc<dyn Outbox> {
        // Dropping the store is a clean shutdown only if no lane is claimed at this moment.
        drop(old);
        // A process that another test starts at this moment may still hold the store's lock.
        Arc::new(wait_for("the store is free", || open(now)))
    };
    Engine {
        outbox,
        restart: Box::new(restart),
        claimed: Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_full_run() { 2_000 } else { 60 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// FAULTS T11: any operations in any order have the same results in every storage engine, and lead to the same
    /// state.
    #[test]
    fn engines_have_the_same_results(
        ops in prop::collection::vec(op(), 1..40),
        bounds in prop_oneof![Just(ClaimBounds::default()), Just(SMALL)],
    ) {
        let mut now = Timestamp::from_millis(1_000_000);
        let folder = super::fast_folder();
        let open = |seeds| sqlite(&folder, now, bounds, seeds);
        let mut engines = [memory(bounds), open(&[]), open(&[1])];
        for op in ops {
            if let Op::Pass(seconds) = op {
                now = now.after(Duration::from_secs(seconds));
            }
            let [model, engines @ ..] = &mut engines;
            let expected = model.perform(&op, now);
            for engine in engines {
                prop_assert_eq!(&expected, &engine.perform(&op, now), "{:?}", op);
                prop_assert_eq!(model.readable(), engine.readable(), "after {:?}", op);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_full_run() { 500 } else { 20 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// FAULTS T11: the same for PostgreSQL, whose store knows the claims of an earlier process.
    #[test]
    fn postgres_has_the_same_results(
        ops in prop::collection::vec(op(), 1..40),
        bounds in prop_oneof![Just(ClaimBounds::default()), Just(SMALL)],
    ) {
        let mut now = Timestamp::from_millis(1_000_000);
        let mut model = memory_with_known_claims(bounds);
        let mut engines = [postgres(bounds, &[]), postgres(bounds, &[1])];
        for op in ops.into_iter().filter(|op| !needs_ledger(op)) {
            if let Op::Pass(seconds) = op {
                now = now.after(Duration::from_secs(seconds));
            }
            let expected = model.perform(&op, now);
            for engine in &mut engines {
                prop_assert_eq!(&expected, &engine.perform(&op, now), "{:?}", op);
                prop_assert_eq!(model.receipts(), engine.receipts(), "after {:?}", op);
            }
        }
    }
}
