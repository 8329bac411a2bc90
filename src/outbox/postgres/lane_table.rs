//! The lanes of one transaction: finds, creates, locks and writes their rows, each with one statement for all lanes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tokio_postgres::types::Type;

use super::columns::{get, number, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::keys::CustomerKey;
use super::lane_row::{self, LockedLane};
use super::moved_tombstones;
use crate::imprint::CustomerRef;
use crate::outbox::{LaneClass, LaneId, LaneKey, Trials, codec};
use crate::time::Timestamp;

/// The value of `lane.erased` for a customer whose later events the bridge ignores.
pub(super) const IGNORED: i16 = 1;
/// The value of `lane.erased` for a retired customer.
pub(super) const RETIRED: i16 = 2;

#[derive(Default)]
pub(super) struct LaneTable {
    ids: HashMap<CustomerKey, LaneId>,
    /// The erased customers whose events the bridge ignores.
    blocked: HashSet<CustomerKey>,
    /// The lanes that this transaction creates, with the stored form of their ids.
    new: BTreeMap<CustomerKey, (LaneId, Vec<u8>)>,
    rows: BTreeMap<LaneId, LockedLane>,
}

/// Returns the lane keys of both ids of a customer.
pub(super) fn keys_of(customer: &CustomerRef) -> impl Iterator<Item = LaneKey> {
    let imprint = customer.imprint().cloned().map(LaneKey::Imprint);
    let partner = customer.partner().cloned().map(LaneKey::Partner);
    imprint.into_iter().chain(partner)
}

impl LaneTable {
    /// Finds the lanes and tombstones of these customers, under both ids.
    pub(super) async fn find(
        &mut self,
        db: &Connected,
        engine: &Engine,
        customers: impl Iterator<Item = &CustomerRef>,
    ) -> Result<(), DbFault> {
        let keys: Vec<LaneKey> = customers.flat_map(keys_of).collect();
        moved_tombstones::adopt_customers(db, engine, keys.iter().cloned()).await?;
        let keys = keys.iter().map(|key| engine.digests.lane(key));
        let keys: BTreeSet<CustomerKey> = keys.collect();
        if keys.is_empty() {
            return Ok(());
        }
        let kinds: Vec<i16> = keys.iter().map(|key| key.kind.into()).collect();
        let customers: Vec<&[u8]> = keys.iter().map(|key| key.customer.as_slice()).collect();
        let sql = "SELECT l.kind, l.customer, l.id, l.erased FROM unnest($1::smallint[], $2::bytea[]) AS k(kind, customer)
             JOIN imprint_bridge.lane l ON l.kind = k.kind AND l.customer = k.customer";
        let rows = db
            .query(
                sql,
                &[(&kinds, Type::INT2_ARRAY), (&customers, Type::BYTEA_ARRAY)],
            )
            .await?;
        for row in &rows {
            let kind: i16 = get(row, 0)?;
            let customer: &[u8] = get(row, 1)?;
            let key = CustomerKey {
                kind: u8::try_from(kind).map_err(|_kind| DbFault::Damaged("lane.kind"))?,
                customer: customer
                    .try_into()
                    .map_err(|_length| DbFault::Damaged("lane.customer"))?,
            };
            self.ids.insert(key, LaneId(unsigned(get(row, 2)?)));
            if get::<Option<i16>>(row, 3)? == Some(IGNORED) {
                self.blocked.insert(key);
            }
        }
        Ok(())
    }

    /// Returns whether the bridge ignores the events of this customer, because an operator has erased and blocked it.
    pub(super) fn is_blocked(&self, engine: &Engine, customer: &CustomerRef) -> bool {
        !self.blocked.is_empty()
            && keys_of(customer).any(|key| self.blocked.contains(&engine.digests.lane(&key)))
    }

    /// Gives each of these lanes that does not exist a number, in the order of the list.
    pub(super) async fn number(
        &mut self,
        db: &Connected,
        engine: &Engine,
        keys: impl Iterator<Item = LaneKey>,
    ) -> Result<(), DbFault> {
        let mut missing: Vec<(CustomerKey, LaneKey)> = Vec::new();
        let mut seen = HashSet::new();
        for key in keys {
            let digests = engine.digests.lane(&key);
            if !self.ids.contains_key(&digests) && seen.insert(digests) {
                missing.push((digests, key));
            }
        }
        let numbers = next_numbers(db, "lane_number", missing.len()).await?;
        for ((digests, key), lane) in missing.into_iter().zip(numbers) {
            let lane = LaneId(lane);
            let received = lane_row::stored_id(&engine.sealer, lane, &key)?;
            self.ids.insert(digests, lane);
            self.new.insert(digests, (lane, received));
        }
        Ok(())
    }

    /// Returns the number of the lane with this key.
    pub(super) fn id(&self, engine: &Engine, key: &LaneKey) -> Result<LaneId, DbFault> {
        let id = self.ids.get(&engine.digests.lane(key));
        id.copied().ok_or(DbFault::Raced)
    }

    /// Inserts the new lanes, then locks and reads the rows of these lanes and of the new lanes.
    pub(super) async fn lock(
        &mut self,
        db: &Connected,
        mut lanes: BTreeSet<LaneId>,
    ) -> Result<(), DbFault> {
        self.insert(db).await?;
        lanes.extend(self.new.values().map(|(lane, _)| *lane));
        if lanes.is_empty() {
            return Ok(());
        }
        let wanted = lanes.len();
        let lanes: Vec<i64> = lanes.into_iter().map(|lane| number(lane.0)).collect();
        let sql = format!(
            "SELECT {} FROM imprint_bridge.lane WHERE id = ANY($1) ORDER BY id FOR UPDATE",
            lane_row::COLUMNS
        );
        for row in db.query(&sql, &[(&lanes, Type::INT8_ARRAY)]).await? {
            let row = LockedLane::read(&row)?;
            self.rows.insert(row.id, row);
        }
        let was_blocked = |key: &CustomerKey, row: &LockedLane| {
            row.erased == Some(IGNORED) && !self.blocked.contains(key)
        };
        let mut known = self.ids.iter();
        let is_blocked_now =
            known.any(|(key, lane)| self.rows.get(lane).is_some_and(|row| was_blocked(key, row)));
        // A lane was deleted, or its customer was erased, after this transaction has found it.
        match self.rows.len() < wanted || is_blocked_now {
            true => Err(DbFault::Raced),
            false => self.read_newest_sources(db).await,
        }
    }

    async fn insert(&self, db: &Connected) -> Result<(), DbFault> {
        if self.new.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = self.new.values().map(|(lane, _)| number(lane.0)).collect();
        let kinds: Vec<i16> = self.new.keys().map(|key| key.kind.into()).collect();
        let customers: Vec<&[u8]> = self.new.keys().map(|key| key.customer.as_slice()).collect();
        let received: Vec<&[u8]> = self.new.values().map(|(_, id)| id.as_slice()).collect();
        let sql = "INSERT INTO imprint_bridge.lane (id, kind, customer, received, idle, low)
             SELECT u.id, u.kind, u.customer, u.received, true, $5
             FROM unnest($1::bigint[], $2::smallint[], $3::bytea[], $4::bytea[]) AS u(id, kind, customer, received)
             ON CONFLICT (kind, customer) DO NOTHING";
        let low = i16::from(codec::NEW_LANE_CLASS);
        let inserted = db
            .execute(
                sql,
                &[
                    (&ids, Type::INT8_ARRAY),
                    (&kinds, Type::INT2_ARRAY),
                    (&customers, Type::BYTEA_ARRAY),
                    (&received, Type::BYTEA_ARRAY),
                    (&low, Type::INT2),
                ],
            )
            .await?;
        // Another replica has created one of the lanes.
        match usize::try_from(inserted) == Ok(self.new.len()) {
            true => Ok(()),
            false => Err(DbFault::Raced),
        }
    }

    /// Reads the source of the newest waiting entry of each lane that possibly waits for a search turn.
    async fn read_newest_sources(&mut self, db: &Connected) -> Result<(), DbFault> {
        let resting = self
            .rows
            .values()
            .filter(|row| row.is_partner() && !row.idle);
        let resting: Vec<i64> = resting.map(|row| number(row.id.0)).collect();
        if resting.is_empty() {
            return Ok(());
        }
        let sql = "SELECT l.id, (SELECT p.source FROM imprint_bridge.payload p WHERE p.lane = l.id AND p.state = 0 ORDER BY p.entry DESC LIMIT 1)
             FROM unnest($1::bigint[]) AS l(id)";
        for row in db.query(sql, &[(&resting, Type::INT8_ARRAY)]).await? {
            if let Some(lane) = self.rows.get_mut(&LaneId(unsigned(get(&row, 0)?))) {
                lane.newest_source = get(&row, 1)?;
            }
        }
        Ok(())
    }

    pub(super) fn row(&self, lane: LaneId) -> Result<&LockedLane, DbFault> {
        self.rows.get(&lane).ok_or(DbFault::Raced)
    }

    pub(super) fn row_mut(&mut self, lane: LaneId) -> Result<&mut LockedLane, DbFault> {
        self.rows.get_mut(&lane).ok_or(DbFault::Raced)
    }

    /// Returns the queues and due times of the free lanes among the changed rows.
    pub(super) fn free_dues(&self) -> Vec<(LaneClass, Timestamp)> {
        let mut dues: BTreeMap<u8, (LaneClass, i64)> = BTreeMap::new();
        let changed = self.rows.values().filter(|row| row.is_changed);
        for row in changed.filter(|row| row.owner.is_none()) {
            if let Some(due) = row.due {
                let queue = codec::class_number(row.class);
                let (_, first) = dues.entry(queue).or_insert((row.class, due));
                *first = due.min(*first);
            }
        }
        let dues = dues.into_values();
        dues.map(|(class, due)| (class, Timestamp::from_millis(due)))
            .collect()
    }

    /// Writes all changed rows.
    pub(super) async fn write(&self, db: &Connected) -> Result<(), DbFault> {
        let changed: Vec<&LockedLane> = self.rows.values().filter(|row| row.is_changed).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let numbers = |of: fn(&LockedLane) -> Option<i64>| -> Vec<Option<i64>> {
            changed.iter().map(|row| of(row)).collect()
        };
        let millis = |of: fn(&Trials) -> Option<Timestamp>| -> Vec<Option<i64>> {
            let times = changed.iter().map(|row| of(&row.trials));
            times.map(|time| time.map(Timestamp::as_millis)).collect()
        };
        let blobs = |of: fn(&LockedLane) -> Option<&Vec<u8>>| -> Vec<Option<&[u8]>> {
            changed
                .iter()
                .map(|row| of(row).map(Vec::as_slice))
                .collect()
        };
        let shorts = |of: fn(&LockedLane) -> Option<i16>| -> Vec<Option<i16>> {
            changed.iter().map(|row| of(row)).collect()
        };
        let idle: Vec<bool> = changed.iter().map(|row| row.idle).collect();
        db.execute(
            WRITE,
            &[
                (&numbers(|row| Some(number(row.id.0))), Type::INT8_ARRAY),
                (&blobs(|row| row.received.as_ref()), Type::BYTEA_ARRAY),
                (&numbers(|row| row.due), Type::INT8_ARRAY),
                (&idle, Type::BOOL_ARRAY),
                (
                    &shorts(|row| Some(codec::class_number(row.class).into())),
                    Type::INT2_ARRAY,
                ),
                (
                    &numbers(|row| Some(row.trials.failures.into())),
                    Type::INT8_ARRAY,
                ),
                (
                    &numbers(|row| Some(row.trials.attempts.into())),
                    Type::INT8_ARRAY,
                ),
                (&millis(|trials| trials.tried_at), Type::INT8_ARRAY),
                (&millis(|trials| trials.blamed_since), Type::INT8_ARRAY),
                (&numbers(|row| row.unfold_to), Type::INT8_ARRAY),
                (&numbers(|row| Some(row.maybe_sent)), Type::INT8_ARRAY),
                (&shorts(|row| Some(row.spelled)), Type::INT2_ARRAY),
                (&numbers(|row| row.unproven_since), Type::INT8_ARRAY),
                (&blobs(|row| row.absence.as_ref()), Type::BYTEA_ARRAY),
                (&shorts(|row| row.erased), Type::INT2_ARRAY),
                (&numbers(|row| row.owner), Type::INT8_ARRAY),
                (&blobs(|row| row.versions.as_ref()), Type::BYTEA_ARRAY),
            ],
        )
        .await?;
        Ok(())
    }
}

const WRITE: &str = "UPDATE imprint_bridge.lane AS l SET received = u.received, due_at = u.due_at, idle = u.idle, low = u.low,
        failures = u.failures, spent = u.spent, tried_at = u.tried_at, blamed_since = u.blamed_since,
        unfold_to = u.unfold_to, maybe_sent = u.maybe_sent, spelled = u.spelled, unproven_since = u.unproven_since,
        absence = u.absence, erased = u.erased, owner = u.owner, versions = coalesce(u.versions, l.versions)
    FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::boolean[], $5::smallint[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::smallint[], $13::bigint[], $14::bytea[],
        $15::smallint[], $16::bigint[], $17::bytea[])
        AS u(id, received, due_at, idle, low, failures, spent, tried_at, blamed_since, unfold_to, maybe_sent, spelled,
            unproven_since, absence, erased, owner, versions)
    WHERE l.id = u.id";

/// Takes new numbers from a sequence, in ascending order.
pub(super) async fn next_numbers(
    db: &Connected,
    sequence: &'static str,
    count: usize,
) -> Result<Vec<u64>, DbFault> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT nextval('imprint_bridge.{sequence}') FROM generate_series(1, $1)");
    let count = super::columns::size(count);
    let rows = db.query(&sql, &[(&count, Type::INT8)]).await?;
    let numbers = rows.iter().map(|row| get(row, 0).map(unsigned));
    let mut numbers = numbers.collect::<Result<Vec<u64>, DbFault>>()?;
    numbers.sort_unstable();
    Ok(numbers)
}
