//! One row of the table `lane` in memory, and the changes that a new entry or a settlement makes to the row.
//!
//! A transaction locks and reads the rows of its lanes, changes them here, and writes them with one statement.

use tokio_postgres::Row;

use super::columns::{from_text, get, number, small, time, to_text};
use super::fault::DbFault;
use crate::fold::LaneVersions;
use crate::outbox::codec::{self, BlobKind, StoredText};
use crate::outbox::sealer::Sealer;
use crate::outbox::{
    LaneClass, LaneId, LaneKey, Priority, Recognition, Settlement, Standing, Trials,
};
use crate::time::Timestamp;

/// The columns of [`LockedLane`], in the order of [`LockedLane::read`].
pub(super) const COLUMNS: &str =
    "id, kind, received, due_at, idle, low, failures, spent, tried_at, blamed_since,
    unfold_to, maybe_sent, spelled, unproven_since, absence, erased, owner, epoch";

/// The value of `lane.maybe_sent` for any value.
const ANYTHING: i64 = -1;

/// The value of `lane.maybe_sent` for any value, if another replica noticed its late request during the claim. The
/// settlement of the claim keeps the mark, because the late request possibly overwrites the values of the settlement.
const NOTICED: i64 = -2;

/// The value of `lane.spelled` after Imprint has applied an update.
const APPLIED: i16 = 1;

pub(super) struct LockedLane {
    pub(super) id: LaneId,
    pub(super) kind: i16,
    pub(super) received: Option<Vec<u8>>,
    pub(super) due: Option<i64>,
    pub(super) idle: bool,
    pub(super) class: LaneClass,
    pub(super) trials: Trials,
    pub(super) unfold_to: Option<i64>,
    pub(super) maybe_sent: i64,
    pub(super) spelled: i16,
    pub(super) unproven_since: Option<i64>,
    pub(super) absence: Option<Vec<u8>>,
    pub(super) erased: Option<i16>,
    pub(super) owner: Option<i64>,
    pub(super) epoch: i64,
    /// The new versions of the lane. `None` leaves the stored versions unchanged.
    pub(super) versions: Option<Vec<u8>>,
    /// The source of the newest waiting entry of a lane with the CRM's id.
    pub(super) newest_source: Option<String>,
    pub(super) is_changed: bool,
}

/// How a new entry enters its lane: with this priority at this time, or without waiting.
pub(super) type LaneEntrance = Option<(Priority, Timestamp)>;

impl LockedLane {
    /// Decodes a row of [`COLUMNS`].
    pub(super) fn read(row: &Row) -> Result<Self, DbFault> {
        let low: i16 = get(row, 5)?;
        Ok(Self {
            id: LaneId(super::columns::unsigned(get(row, 0)?)),
            kind: get(row, 1)?,
            received: get(row, 2)?,
            due: get(row, 3)?,
            idle: get(row, 4)?,
            // A wrong queue only changes which lane comes first.
            class: codec::class("lane.low", low.into()).unwrap_or(LaneClass::DEFAULT),
            trials: trials(row, 6)?,
            unfold_to: get(row, 10)?,
            maybe_sent: get(row, 11)?,
            spelled: get(row, 12)?,
            unproven_since: get(row, 13)?,
            absence: get(row, 14)?,
            erased: get(row, 15)?,
            owner: get(row, 16)?,
            epoch: get(row, 17)?,
            versions: None,
            newest_source: None,
            is_changed: false,
        })
    }

    /// Returns whether the lane has a customer with only the CRM's id.
    pub(super) fn is_partner(&self) -> bool {
        self.kind == i16::from(codec::PARTNER_LANE)
    }

    /// Updates the lane for a new entry whose event spells the customer's id as `key` does. `source` is the source of
    /// the entry, or `None` if a search found the lane of the entry.
    ///
    /// A waiting entry makes an idle lane due, and raises the priority of the lane to the priority of the entry. A
    /// parked, held or undecided entry changes nothing. If the row is a tombstone, it becomes a lane again.
    pub(super) fn enter(
        &mut self,
        sealer: &Sealer,
        key: &LaneKey,
        entrance: LaneEntrance,
        source: Option<&str>,
    ) -> Result<(), DbFault> {
        if self.erased.take().is_some() {
            self.received = Some(stored_id(sealer, self.id, key)?);
            self.class = LaneClass {
                priority: Priority::Live,
                standing: Standing::Untried,
            };
            (self.due, self.idle, self.spelled) = (None, true, 0);
            self.is_changed = true;
        }
        let Some((priority, now)) = entrance else {
            return Ok(());
        };
        self.is_changed = true;
        if self.needs_id(sealer, key) {
            self.received = Some(stored_id(sealer, self.id, key)?);
            self.spelled = 0;
        }
        let now = now.as_millis();
        let is_due = self.due.is_some_and(|due| due <= now);
        if self.idle || self.due.is_none() {
            // A lane that is due without an entry keeps its due time: its request is possibly in flight.
            if is_due {
                self.class.priority = self.class.priority.min(priority);
            } else {
                self.class.priority = priority;
                self.due = Some(now);
            }
            self.idle = false;
            self.spelled %= 2;
        } else {
            self.class.priority = self.class.priority.min(priority);
            if !is_due && self.is_asked_by(source) {
                self.due = Some(now);
            }
        }
        if let Some(source) = source {
            self.newest_source = Some(source.to_owned());
        }
        Ok(())
    }

    /// Returns whether an entry of this source ends the rest of the lane: the lane waits for the search turn of another
    /// source.
    fn is_asked_by(&self, source: Option<&str>) -> bool {
        let rests = self.class.standing == Standing::Failing || self.absence.is_some();
        let is_other = source.is_some() && self.newest_source.as_deref() != source;
        self.is_partner() && is_other && !rests
    }

    /// Returns whether a new event must replace the id of its lane: the id is damaged or its sealing key is missing, or
    /// Imprint has not yet applied an update and the event spells the id in another way. Only a UUID has two spellings,
    /// so the function opens no other sealed id.
    fn needs_id(&self, sealer: &Sealer, key: &LaneKey) -> bool {
        let received = codec::lane_columns(key).received;
        let is_unapplied = self.spelled != APPLIED;
        let has_spellings = match key {
            LaneKey::Imprint(imprint) => imprint.in_other_case().is_some(),
            LaneKey::Partner(_) => false,
        };
        match self.received.as_deref().and_then(to_text) {
            Some(StoredText::Plain(stored)) => is_unapplied && stored != received,
            Some(StoredText::Sealed(blob)) if sealer.lacks_key_of(&blob) => true,
            Some(sealed) if is_unapplied && has_spellings => {
                let kind = BlobKind::LaneCustomer;
                let stored = codec::decode_text(sealer, kind, self.id.0, &sealed);
                !stored.is_ok_and(|stored| stored == received)
            }
            Some(_) => false,
            None => is_unapplied,
        }
    }

    /// Returns whether the claim of this settlement still holds.
    pub(super) fn is_claimed_by(&self, settlement: &Settlement) -> bool {
        let token = settlement.token;
        self.owner == Some(number(token.owner)) && self.epoch == number(token.epoch)
    }

    /// Records that a lost replica possibly sent any value of the lane, until a later claim has read this.
    pub(super) fn notice_late_request(&mut self) {
        self.maybe_sent = match self.owner {
            Some(_) => NOTICED,
            None => ANYTHING,
        };
        self.is_changed = true;
    }

    /// Records that some entries which a lost replica possibly sent have left the lane.
    pub(super) fn forget_sent_entries(&mut self) {
        if self.maybe_sent > 0 {
            self.maybe_sent = ANYTHING;
        }
    }

    /// Records a settlement and ends the claim. The caller has ended and moved the entries before.
    ///
    /// Also removes the mark of values that a lost replica possibly sent before the claim, because the new versions contain
    /// these values as requests in doubt.
    pub(super) fn settle(
        &mut self,
        sealer: &Sealer,
        settlement: &Settlement,
        (has_waiting, is_asked): (bool, bool),
    ) -> Result<(), DbFault> {
        let is_noticed = self.maybe_sent == NOTICED;
        // The request sent the kept values again for the last time, but the late request possibly overwrites them.
        let keeps_values =
            is_noticed && settlement.reassert_at.is_none() && settlement.endings.is_empty();
        if let Some(versions) = settlement.versions.as_ref().filter(|_| !keeps_values) {
            self.set_versions(sealer, versions)?;
        }
        match &settlement.recognition {
            Recognition::Applied(spelling) => {
                let key = LaneKey::Imprint(spelling.clone());
                self.received = Some(stored_id(sealer, self.id, &key)?);
            }
            Recognition::Unchanged | Recognition::Gone => {}
        }
        self.spelled =
            codec::recognition_number(&settlement.recognition).map_or(self.spelled % 2, i16::from);
        self.trials = settlement.trials;
        self.class.standing = settlement.standing(self.class.standing);
        self.unfold_to = settlement.unfold_to.map(|entry| number(entry.0));
        let unproven = settlement.unproven;
        self.unproven_since = unproven.since.map(Timestamp::as_millis);
        let absence = unproven.absence.as_ref();
        let absence = absence.map(|absence| codec::encode_absence(sealer, self.id.0, absence));
        self.absence = absence.transpose()?;
        self.maybe_sent = if is_noticed { ANYTHING } else { 0 };
        self.idle = !has_waiting;
        let due = match (has_waiting, is_asked) {
            (true, true) => Some(settlement.at),
            (true, false) => Some(settlement.due),
            (false, _) if keeps_values => self.due.map(Timestamp::from_millis),
            (false, _) => settlement.reassert_at,
        };
        self.due = due.map(Timestamp::as_millis);
        self.owner = None;
        self.is_changed = true;
        Ok(())
    }

    /// Replaces the versions of the lane.
    pub(super) fn set_versions(
        &mut self,
        sealer: &Sealer,
        versions: &LaneVersions,
    ) -> Result<(), DbFault> {
        let stored = codec::encode(sealer, BlobKind::LaneVersions, self.id.0, versions)?;
        self.versions = Some(stored);
        self.is_changed = true;
        Ok(())
    }
}

/// Reads the failures of a lane from four columns: `failures`, `spent`, `tried_at`, `blamed_since`.
pub(super) fn trials(row: &Row, first: usize) -> Result<Trials, DbFault> {
    Ok(Trials {
        failures: small(get(row, first)?),
        attempts: small(get(row, first + 1)?),
        tried_at: time(row, first + 2)?,
        blamed_since: time(row, first + 3)?,
    })
}

/// Returns the stored form of the customer id of a lane, for the column `lane.received`.
pub(super) fn stored_id(sealer: &Sealer, lane: LaneId, key: &LaneKey) -> Result<Vec<u8>, DbFault> {
    let received = codec::lane_columns(key).received;
    let stored = codec::encode_text(sealer, BlobKind::LaneCustomer, lane.0, received)?;
    Ok(from_text(stored))
}
