//! The reference engine and a store that moves to the other engine and back: nothing that a port reads changes.

use std::path::Path;

use imprint_bridge::outbox::{PostgresOutbox, Setting};

use super::super::moved::{move_into, move_out};
use super::*;

/// A store that a test opens and closes between its moves.
struct MovingStore {
    folder: tempfile::TempDir,
    database: postgres::PostgresDatabase,
    seeds: &'static [u8],
}

impl MovingStore {
    fn new(seeds: &'static [u8]) -> Self {
        Self {
            folder: super::super::fast_folder(),
            database: postgres::database(),
            seeds,
        }
    }

    fn open_file(&self, name: &str, now: Timestamp) -> Engine {
        let path = self.folder.path().join(name);
        let keys = (ClaimBounds::default(), ring(self.seeds));
        let open = || SqliteOutbox::open_sealed(&path, 1000, now, keys.clone()).ok();
        engine(wait_for("the store is free", open))
    }

    fn open_database(&self) -> Engine {
        let opened: PostgresOutbox = self.database.open(ClaimBounds::default(), ring(self.seeds));
        engine(opened)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}

fn engine(outbox: impl Outbox + 'static) -> Engine {
    Engine {
        outbox: Arc::new(outbox),
        restart: Box::new(|old, _, _| old),
        claimed: Vec::new(),
    }
}

/// Performs operations on the reference engine and on a store, and compares their results and what the ports read.
fn compare(
    model: &mut Engine,
    store: &mut Engine,
    ops: &[Op],
    now: &mut Timestamp,
) -> Result<(), TestCaseError> {
    for op in ops {
        if let Op::Pass(seconds) = op {
            *now = now.after(Duration::from_secs(*seconds));
        }
        let expected = model.perform(op, *now);
        prop_assert_eq!(&expected, &store.perform(op, *now), "{:?}", op);
    }
    prop_assert_eq!(model.readable(), store.readable());
    Ok(())
}

/// Compares what the ports of a moved store read.
fn expect_same(model: &Engine, moved: &Engine) -> Result<(), TestCaseError> {
    prop_assert_eq!(model.readable(), moved.readable());
    let mode = now_or_soon(moved.outbox.setting(Setting::DestinationMode));
    prop_assert_eq!(mode.unwrap(), Some("paused".to_owned()));
    Ok(())
}

const fn is_restart(op: &Op) -> bool {
    matches!(op, Op::Restart)
}

fn check(
    (before, between, after): (&[Op], &[Op], &[Op]),
    seeds: &'static [u8],
) -> Result<(), TestCaseError> {
    let mut now = Timestamp::from_millis(1_000_000);
    let place = MovingStore::new(seeds);
    let mut model = memory(ClaimBounds::default());
    let mut store = place.open_file("outbox.db", now);
    let paused = store
        .outbox
        .store_setting(Setting::DestinationMode, "paused".to_owned());
    now_or_soon(paused).unwrap();
    compare(&mut model, &mut store, before, &mut now)?;
    drop(store);
    model.restart(now);
    move_into(&place.path("outbox.db"), &place.database, seeds, now);
    let mut store = place.open_database();
    expect_same(&model, &store)?;

    compare(&mut model, &mut store, between, &mut now)?;
    let digest_key = store.outbox.digest_key();
    drop(store);
    model.restart(now);
    move_out(&place.database, &place.path("back.db"), seeds, now);
    let mut store = place.open_file("back.db", now);
    expect_same(&model, &store)?;
    prop_assert_eq!(store.outbox.digest_key(), digest_key);
    compare(&mut model, &mut store, after, &mut now)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_full_run() { 500 } else { 24 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// FAULTS N1010: a store in any state moves from a file into a database and back. Each store has the same receipts,
    /// entries, customers, versions, origins, settings and audit records, and does the same afterwards.
    #[test]
    fn a_moved_store_is_the_same(
        before in prop::collection::vec(op(), 1..40),
        between in prop::collection::vec(op(), 0..12),
        after in prop::collection::vec(op(), 0..12),
        sealed in any::<bool>(),
    ) {
        let seeds: &[u8] = if sealed { &[1] } else { &[] };
        let part = |ops: Vec<Op>, has_claims: bool| -> Vec<Op> {
            let ops = ops.into_iter().filter(|op| !is_restart(op));
            ops.filter(|op| has_claims || !matches!(op, Op::Claim { .. })).collect()
        };
        // The reference engine restarts as a file does, which does not know the claims of the last process.
        check((&part(before, true), &part(between, false), &part(after, true)), seeds)?;
    }
}
