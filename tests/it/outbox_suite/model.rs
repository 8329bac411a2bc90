//! Engines against a model: whatever is asked of them in whatever order, they answer alike. The model is the reference
//! engine, which is plain maps.

use std::sync::Arc;
use std::time::Duration;

use imprint_bridge::event::{Attribute, Identity, SourceName, SourceVersion};
use imprint_bridge::fold::{MaxFold, fold};
use imprint_bridge::imprint::{
    CustomerChange, CustomerRef, Field, FieldValue, ImprintId, PartnerCustomerId,
};
use imprint_bridge::outbox::{
    AuditEvent, ClaimToken, ClaimedLane, Detail, Digest, Disposition, Ending, EntryFilter, EntryId,
    IdentityLink, LaneKey, Lookup, MemoryOutbox, Moved, NewEntry, Outbox, ParkReason, Pick,
    Priority, Replay, Selection, Settlement, SqliteOutbox, State, StoreFuture, Trials, Verdict,
    WaitingEntry,
};
use imprint_bridge::time::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use crate::support::is_full_run;
use crate::support::wait_for;

/// Something that is asked of an engine.
#[derive(Clone, Debug)]
enum Op {
    /// Events, by id, customer, version, and what becomes of them.
    Append(Vec<(u8, u8, i64, Fate)>),
    Claim {
        max: usize,
        least_failed: bool,
    },
    /// What comes of one of the lanes in flight.
    Settle(u8, Came),
    Replay(Vec<u64>, bool),
    Discard(Vec<u64>),
    Approve(Vec<u64>),
    Decide(Vec<u64>, u8),
    Load(Vec<u64>, u8),
    Release,
    Retire(u64),
    List(u8, u64, usize),
    Pass(u64),
    /// Ends the process and starts another.
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Waits,
    WaitsBehind,
    Parks,
    IsHeld,
    Ignored,
}

#[derive(Clone, Copy, Debug)]
enum Came {
    Delivered,
    Unknown,
    Held,
    Later,
    Parked,
    Undecided,
    Ignored,
    Unfolded,
    Moved,
    Learned,
}

fn op() -> impl Strategy<Value = Op> {
    let fate = prop_oneof![
        6 => Just(Fate::Waits),
        2 => Just(Fate::WaitsBehind),
        1 => Just(Fate::Parks),
        1 => Just(Fate::IsHeld),
        1 => Just(Fate::Ignored),
    ];
    let came = prop_oneof![
        Just(Came::Delivered),
        Just(Came::Unknown),
        Just(Came::Held),
        Just(Came::Later),
        Just(Came::Parked),
        Just(Came::Undecided),
        Just(Came::Ignored),
        Just(Came::Unfolded),
        Just(Came::Moved),
        Just(Came::Learned),
    ];
    let event = (0..40_u8, 0..6_u8, 0..5_i64, fate);
    let numbers = || prop::collection::vec(1..60_u64, 0..5);
    prop_oneof![
        4 => prop::collection::vec(event, 1..5).prop_map(Op::Append),
        4 => (0..4_usize, any::<bool>()).prop_map(|(max, least_failed)| Op::Claim { max, least_failed }),
        5 => (any::<u8>(), came).prop_map(|(which, came)| Op::Settle(which, came)),
        1 => (numbers(), any::<bool>()).prop_map(|(entries, other)| Op::Replay(entries, other)),
        1 => numbers().prop_map(Op::Discard),
        1 => numbers().prop_map(Op::Approve),
        1 => (numbers(), 0..3_u8).prop_map(|(entries, verdict)| Op::Decide(entries, verdict)),
        1 => (numbers(), 0..3_u8).prop_map(|(entries, detail)| Op::Load(entries, detail)),
        1 => Just(Op::Release),
        1 => (0..10_u64).prop_map(Op::Retire),
        1 => (0..8_u8, 0..40_u64, 1..5_usize).prop_map(|(state, after, max)| Op::List(state, after, max)),
        2 => (0..120_u64).prop_map(Op::Pass),
        1 => Just(Op::Restart),
    ]
}

/// Customers 0 to 3 are named by Imprint's id, 4 and 5 by the partner's, and 3 by both.
fn customer(number: u8) -> CustomerRef {
    let imprint = ImprintId::parse(&format!("CUST-{number}")).unwrap();
    let partner = PartnerCustomerId::parse(&format!("P-{number}")).unwrap();
    match number {
        0..=2 => CustomerRef::Imprint(imprint),
        3 => CustomerRef::Pair { imprint, partner },
        _ => CustomerRef::Partner(partner),
    }
}

fn change(number: u8, value: i64, text: &str) -> CustomerChange {
    let field = if value % 2 == 0 { "email" } else { "phone" };
    let facts = [
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
        update: facts.into_iter().collect(),
        is_foreign: false,
    }
}

fn entry((id, number, value, fate): (u8, u8, i64, Fate), now: Timestamp) -> NewEntry {
    // What an id says never changes, but for one: it is in conflict where it says two things.
    let digest = if id == 39 { number } else { id };
    let change = change(number, value, &format!("e-{id}"));
    NewEntry {
        identity: Identity {
            source: SourceName::parse("crm").unwrap(),
            ce_source: None,
            id: Attribute::parse(&format!("e-{id}")).unwrap(),
        },
        event_type: Attribute::parse("customer.changed").unwrap(),
        digest: Digest([digest; 16]),
        accepted_at: now,
        priority: match fate {
            Fate::WaitsBehind => Priority::Low,
            Fate::Waits | Fate::Parks | Fate::IsHeld | Fate::Ignored => Priority::Live,
        },
        disposition: match fate {
            Fate::Waits | Fate::WaitsBehind => Disposition::Enqueue(change),
            Fate::Parks => Disposition::Park(change, ParkReason::ForeignAddress),
            Fate::IsHeld => Disposition::Hold(change),
            Fate::Ignored => Disposition::Ignore,
        },
        event: b"{}".to_vec(),
    }
}

/// What becomes of a lane that was claimed, as a policy might write it down.
fn settlement(claimed: &ClaimedLane, came: Came, now: Timestamp) -> Settlement {
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
        lane: claimed.lane,
        token: claimed.token,
        endings: Vec::new(),
        attempted: carried.clone(),
        moved: None,
        new_link: None,
        versions: None,
        trials: Trials::default(),
        unfold_to: claimed.unfold_to,
        due: now,
        reassert_at: claimed.versions.reassert_at(),
        at: now,
    };
    match came {
        Came::Delivered => {
            let versions = claimed.versions.clone().delivered(&fold);
            settlement.endings = carried
                .into_iter()
                .map(|entry| (entry, Ending::Delivered))
                .collect();
            settlement.reassert_at = versions.reassert_at();
            settlement.versions = Some(versions);
        }
        Came::Unknown => {
            let versions = claimed.versions.clone().with_unconfirmed(&fold, until);
            settlement.reassert_at = versions.reassert_at();
            settlement.versions = Some(versions);
            settlement.trials = Trials {
                failures: claimed.trials.failures + 1,
                attempts: claimed.trials.attempts,
                tried_at: Some(now),
            };
        }
        Came::Held => settlement.trials = claimed.trials,
        Came::Later => settlement.due = until,
        Came::Parked => settlement.endings = all(&parked()),
        Came::Undecided => settlement.endings = all(&Ending::Undecided),
        Came::Ignored => settlement.endings = all(&Ending::Ignored),
        Came::Unfolded => settlement.unfold_to = carried.into_iter().max(),
        Came::Moved => settlement.moved = Some(moved(claimed)),
        Came::Learned => settlement.new_link = Some(learned(now)),
    }
    settlement
}

fn parked() -> Ending {
    Ending::Parked {
        reason: ParkReason::Rejected,
        detail: Some("status 400".to_owned()),
    }
}

/// Who named Imprint's id stays where it is.
fn moved(claimed: &ClaimedLane) -> Moved {
    let by_partner = |waiting: &&WaitingEntry| waiting.customer.imprint().is_none();
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

/// Ends an engine, in order or not, and starts it again.
type Restart = Box<dyn Fn(Arc<dyn Outbox>, bool, Timestamp) -> Arc<dyn Outbox>>;

/// An engine, and how it comes back after a restart.
struct Engine {
    outbox: Arc<dyn Outbox>,
    restart: Restart,
    claimed: Vec<ClaimedLane>,
}

/// Waits for an answer: the store's own thread gives it.
fn now_or_soon<T>(answer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(answer)
}

impl Engine {
    /// Does it, and says all that can be seen of it.
    fn perform(&mut self, op: &Op, now: Timestamp) -> String {
        let outbox = Arc::clone(&self.outbox);
        match op {
            Op::Append(events) => {
                let batch = events.iter().map(|event| entry(*event, now)).collect();
                format!("{:?}", now_or_soon(outbox.append(batch)).unwrap())
            }
            Op::Claim { max, least_failed } => self.claim(*max, *least_failed, now),
            Op::Settle(which, came) => self.settle(*which, *came, now),
            Op::Replay(..) | Op::Discard(_) | Op::Approve(_) | Op::Decide(..) => {
                let changed = operate(&*outbox, op, now);
                format!("{:?}", now_or_soon(changed).unwrap())
            }
            Op::Load(entries, detail) => load(&*outbox, ids(entries), *detail),
            Op::Retire(from) => {
                let minute_ago = Timestamp::from_millis(now.as_millis() - 60_000);
                let kept = minute_ago..=now;
                let next =
                    now_or_soon(outbox.prune_receipts(EntryId(*from), kept.clone())).unwrap();
                let last = now_or_soon(outbox.prune_receipts(next.unwrap_or_default(), kept));
                format!("{next:?} {last:?}")
            }
            Op::Release => format!("{:?}", now_or_soon(outbox.release(now))),
            Op::List(state, after, max) => {
                let listing = EntryFilter {
                    after: EntryId(*after),
                    ..EntryFilter::in_state(State::ALL[usize::from(*state)], *max)
                };
                let found = now_or_soon(outbox.list(listing)).unwrap();
                // How far a look goes is the engine's own affair, as long as it says where to go on.
                format!("{:?}", found.entries)
            }
            Op::Pass(_) => String::new(),
            Op::Restart => {
                let in_order = self.claimed.is_empty();
                self.claimed.clear();
                drop(outbox);
                let old = std::mem::replace(&mut self.outbox, Arc::new(MemoryOutbox::default()));
                self.outbox = (self.restart)(old, in_order, now);
                String::new()
            }
        }
    }

    fn claim(&mut self, max: usize, least_failed: bool, now: Timestamp) -> String {
        let pick = if least_failed {
            Pick::LeastFailed(3)
        } else {
            Pick::LongestDue
        };
        let claim = now_or_soon(self.outbox.claim(now, max, pick)).unwrap();
        let mut told = claim.clone();
        // Each engine makes its own tokens.
        for lane in &mut told.lanes {
            lane.token = ClaimToken::default();
        }
        self.claimed.extend(claim.lanes);
        format!("{told:?}")
    }

    fn settle(&mut self, which: u8, came: Came, now: Timestamp) -> String {
        if self.claimed.is_empty() {
            return String::new();
        }
        let which = usize::from(which) % self.claimed.len();
        let claimed = self.claimed.remove(which);
        let settled = now_or_soon(self.outbox.settle(settlement(&claimed, came, now)));
        format!("{settled:?}")
    }

    /// Where every event stands, how much there is, and who did what.
    fn standing(&self) -> String {
        let lookup = |id: u8| Lookup {
            source: SourceName::parse("crm").unwrap(),
            ce_source: None,
            id: Attribute::parse(&format!("e-{id}")).unwrap(),
        };
        let receipts = (0..40).filter_map(|id| now_or_soon(self.outbox.find(lookup(id))).unwrap());
        let receipts: Vec<_> = receipts.collect();
        let inspections: Vec<_> = receipts
            .iter()
            .map(|receipt| now_or_soon(self.outbox.inspect(receipt.entry)).unwrap())
            .map(|found| {
                found.map(|found| {
                    (
                        found.listed,
                        found.facts,
                        found.event,
                        found.versions,
                        found.waiting,
                    )
                })
            })
            .collect();
        let keys = (0..6).map(|number| LaneKey::of(&customer(number)));
        let origins: Vec<_> = keys
            .map(|key| now_or_soon(self.outbox.origins(key)).unwrap())
            .collect();
        let depth = now_or_soon(self.outbox.depth()).unwrap();
        let acts = now_or_soon(self.outbox.audit(0, 100)).unwrap();
        assert!(acts.iter().all(|act| act.is_intact), "the record is sound");
        format!("{receipts:#?} {inspections:#?} {origins:#?} {depth:#?} {acts:#?}")
    }
}

/// An operator's change.
fn operate<'a>(outbox: &'a dyn Outbox, op: &Op, now: Timestamp) -> StoreFuture<'a, Vec<EntryId>> {
    match op {
        Op::Replay(entries, other) => {
            let change = other.then(|| change(1, 4, "mapped again"));
            let replays = entries.iter().map(|entry| Replay {
                entry: EntryId(*entry),
                change: change.clone(),
            });
            outbox.replay(replays.collect(), event("replay", now))
        }
        Op::Discard(entries) => outbox.discard(ids(entries), event("discard", now)),
        Op::Approve(entries) => outbox.approve(ids(entries), event("approve", now)),
        Op::Decide(entries, verdict) => {
            let verdict = match verdict {
                0 => Verdict::Retry,
                1 => Verdict::Park(ParkReason::AttemptsExhausted),
                _ => Verdict::Discard,
            };
            outbox.decide(ids(entries), verdict, event("decide", now))
        }
        Op::Append(_)
        | Op::Claim { .. }
        | Op::Settle(..)
        | Op::Load(..)
        | Op::Release
        | Op::Retire(_)
        | Op::List(..)
        | Op::Pass(_)
        | Op::Restart => panic!("no operator does {op:?}"),
    }
}

fn ids(entries: &[u64]) -> Vec<EntryId> {
    entries.iter().copied().map(EntryId).collect()
}

/// Everything that a loaded selection has.
fn load(outbox: &dyn Outbox, entries: Vec<EntryId>, detail: u8) -> String {
    let detail = match detail {
        0 => Detail::Summaries,
        1 => Detail::Payloads,
        _ => Detail::Lanes,
    };
    let loaded = now_or_soon(outbox.load(Selection::Entries(entries), detail)).unwrap();
    let entries: Vec<_> = loaded
        .entries
        .into_iter()
        .map(|entry| (entry.summary, entry.update, entry.event, entry.lane))
        .collect();
    format!("{entries:?} {:?} {}", loaded.lanes, loaded.has_more)
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

fn memory() -> Engine {
    let outbox = Arc::new(MemoryOutbox::default());
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

fn sqlite(folder: &tempfile::TempDir, start: Timestamp) -> Engine {
    let path = folder.path().join("outbox.db");
    let outbox = Arc::new(SqliteOutbox::open(&path, 1000, start).unwrap());
    let restart = move |old: Arc<dyn Outbox>, _in_order, now| -> Arc<dyn Outbox> {
        // What is in flight when the last one lets go decides whether it was left in order.
        drop(old);
        // A command that another test is starting may still hold the lock.
        let open = || SqliteOutbox::open(&path, 1000, now).ok();
        Arc::new(wait_for("the store is free", open))
    };
    Engine {
        outbox,
        restart: Box::new(restart),
        claimed: Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_full_run() { 2_000 } else { 60 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// T11: whatever is asked in whatever order, the engines answer alike, and everything stands alike afterwards.
    #[test]
    fn engines_answer_alike(ops in prop::collection::vec(op(), 1..40)) {
        let mut now = Timestamp::from_millis(1_000_000);
        let folder = tempfile::tempdir().unwrap();
        let mut engines = [memory(), sqlite(&folder, now)];
        for op in ops {
            if let Op::Pass(seconds) = op {
                now = now.after(Duration::from_secs(seconds));
            }
            let [model, engine] = &mut engines;
            let (expected, answered) = (model.perform(&op, now), engine.perform(&op, now));
            prop_assert_eq!(expected, answered, "{:?}", op);
            prop_assert_eq!(model.standing(), engine.standing(), "after {:?}", op);
        }
    }
}
