//! Encodes values into stored bytes and numbers, and decodes stored bytes and numbers. No other module encodes or
//! decodes stored data.
//!
//! Every function that encodes or decodes a blob gets the kind of the blob and the id of the blob's record. If the
//! process has a sealing key, the codec seals each blob, and binds the blob to its kind and its record: nobody can move
//! the blob to a different record unnoticed. A blob from before the first sealing key stays readable.
//!
//! The numbers of states, reasons, priorities and lane kinds never change, because a newer program must read the stores
//! of an older program. After a number is removed, no new value ever gets this number. An unknown number is an error:
//! the codec never guesses the meaning of a number.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::sealer::Sealer;
use super::tombstone::TombstoneKind;
use super::{
    Absence, EntryId, IgnoreReason, KeyMark, LaneClass, LaneKey, LaterEvents, MaybeSent,
    ParkReason, Priority, Recognition, Standing, State,
};
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId};
use crate::time::Timestamp;

mod blob;
mod bound_update;
mod sealed_ids;

pub(super) use self::blob::{
    BlobKind, CodecError, StoredText, decode, decode_bytes, decode_text, encode, encode_bytes,
    encode_text, seal,
};
pub(super) use self::bound_update::{
    StoredUpdate, UpdateColumns, UpdateRoute, bind, decode_update, encode_update, expect_route,
    move_update, route,
};
pub(super) use self::sealed_ids::{decode_link, encode_link, link_ids, link_record};

/// The stored form of [`Absence`].
#[derive(Serialize, Deserialize)]
struct StoredAbsence {
    at: i64,
    typed: bool,
    search: bool,
    id: bool,
    key: u64,
}

pub(super) fn encode_absence(
    sealer: &Sealer,
    lane: u64,
    absence: &Absence,
) -> Result<Vec<u8>, CodecError> {
    let stored = StoredAbsence {
        at: absence.at.as_millis(),
        typed: absence.is_typed,
        search: absence.by_search,
        id: absence.by_id,
        key: absence.key.0,
    };
    encode(sealer, BlobKind::LaneAbsence, lane, &stored)
}

/// Decodes the recorded answer that a lane's customer does not exist. If the blob cannot be read, the function returns
/// `None`, so dispatch asks Imprint again.
pub(super) fn absence(sealer: &Sealer, lane: u64, bytes: &[u8]) -> Option<Absence> {
    let stored: StoredAbsence = decode(sealer, BlobKind::LaneAbsence, lane, bytes).ok()?;
    Some(Absence {
        at: Timestamp::from_millis(stored.at),
        is_typed: stored.typed,
        by_search: stored.search,
        by_id: stored.id,
        key: KeyMark(stored.key),
    })
}

pub(super) const fn state_number(state: State) -> u8 {
    match state {
        State::Waiting => 0,
        State::Delivered => 1,
        State::Superseded => 2,
        State::Ignored => 3,
        State::Parked => 4,
        State::Discarded => 5,
        State::Held => 6,
        State::Undecided => 7,
    }
}

pub(super) fn state(column: &'static str, number: i64) -> Result<State, CodecError> {
    named(column, number, &State::ALL, state_number)
}

pub(super) const fn reason_number(reason: ParkReason) -> u8 {
    match reason {
        ParkReason::Rejected => 0,
        ParkReason::AttemptsExhausted => 1,
        ParkReason::UnknownCustomer => 2,
        ParkReason::Unreadable => 3,
        ParkReason::IdentityConflict => 4,
        ParkReason::AmbiguousCustomer => 5,
        ParkReason::ForeignAddress => 6,
        ParkReason::NotCleared => 7,
        ParkReason::Vanished => 8,
        ParkReason::VersionJump => 10,
        ParkReason::ByOperator => 11,
        ParkReason::Invalid => 12,
    }
}

pub(super) fn reason(column: &'static str, number: i64) -> Result<ParkReason, CodecError> {
    named(column, number, &ParkReason::ALL, reason_number)
}

pub(super) const fn ignore_number(reason: IgnoreReason) -> u8 {
    match reason {
        IgnoreReason::ListedType => 0,
        IgnoreReason::Condition => 1,
        IgnoreReason::NothingToSend => 2,
        IgnoreReason::ForeignAddress => 3,
        IgnoreReason::ClearingOmitted => 4,
        IgnoreReason::UnknownCustomer => 5,
        IgnoreReason::ValuesSkipped => 6,
        IgnoreReason::Blocked => 7,
    }
}

pub(super) fn ignore_reason(column: &'static str, number: i64) -> Result<IgnoreReason, CodecError> {
    named(column, number, &IgnoreReason::ALL, ignore_number)
}

pub(super) const fn priority_number(priority: Priority) -> u8 {
    match priority {
        Priority::Live => 0,
        Priority::Low => 1,
    }
}

/// Returns the stored form of the largest allowed jump of a version. SQLite stores signed integers.
pub(super) fn jump_max(max: u64) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

/// Returns the number of a queue: the number of the priority, and 2 more for a failing lane or 4 more for an untried
/// lane. The SQL statements that record a settlement also contain these numbers.
pub(super) const fn class_number(class: LaneClass) -> u8 {
    let standing = match class.standing {
        Standing::Well => 0,
        Standing::Failing => 2,
        Standing::Untried => 4,
    };
    priority_number(class.priority) + standing
}

pub(super) fn maybe_sent_number(maybe_sent: MaybeSent) -> i64 {
    match maybe_sent {
        MaybeSent::Nothing => 0,
        MaybeSent::Entries(last) => i64::try_from(last.0).unwrap_or(-1).max(1),
        MaybeSent::Anything => -1,
    }
}

/// Decodes which entries an earlier process has possibly sent. A damaged number counts as possibly every entry.
pub(super) fn maybe_sent(number: i64) -> MaybeSent {
    match u64::try_from(number) {
        Ok(0) => MaybeSent::Nothing,
        Ok(last) => MaybeSent::Entries(EntryId(last)),
        Err(_negative) => MaybeSent::Anything,
    }
}

pub(super) fn class(column: &'static str, number: i64) -> Result<LaneClass, CodecError> {
    let all: Vec<LaneClass> = LaneClass::all().collect();
    named(column, number, &all, class_number)
}

/// The number in `lane.spelled` if Imprint has no customer with the lane's Imprint id. Dispatch must next search by the
/// partner customer id.
pub(super) const GONE: u8 = 2;

/// Returns the number in `lane.spelled` after an answer of Imprint. `None` means no answer: the SQL statement then
/// keeps the number of an applied update, and replaces [`GONE`] by 0.
pub(super) const fn recognition_number(recognition: &Recognition) -> Option<u8> {
    match recognition {
        Recognition::Unchanged => None,
        Recognition::Applied(_) => Some(1),
        Recognition::Gone => Some(GONE),
    }
}

/// Returns the value in `all` that has this stored number.
fn named<T: Copy>(
    column: &'static str,
    number: i64,
    all: &[T],
    number_of: impl Fn(T) -> u8,
) -> Result<T, CodecError> {
    all.iter()
        .copied()
        .find(|one| i64::from(number_of(*one)) == number)
        .ok_or(CodecError::UnknownNumber { column, number })
}

/// A customer id: its kind and its spellings.
pub(super) struct LaneColumns<'a> {
    pub(super) kind: u8,
    /// The canonical spelling of the customer id, by which the store finds the lane.
    pub(super) canonical: Cow<'a, str>,
    /// The customer id as the bridge received it.
    pub(super) received: &'a str,
}

/// The kind of a lane if the bridge knows Imprint's id of the customer.
pub(super) const IMPRINT_LANE: u8 = 0;
/// The kind of a lane if the bridge knows only the partner customer id.
pub(super) const PARTNER_LANE: u8 = 1;

/// The number of the queue of a lane that dispatch has never claimed.
pub(super) const NEW_LANE_CLASS: u8 = class_number(LaneClass {
    priority: Priority::Live,
    standing: Standing::Untried,
});

/// Returns the stored number of a kind of tombstones.
pub(super) const fn tombstone_number(tombstone: TombstoneKind) -> u8 {
    match tombstone {
        TombstoneKind::Erased(LaterEvents::Delivered) => 0,
        TombstoneKind::Erased(LaterEvents::Ignored) => 1,
        TombstoneKind::Retired => 2,
    }
}

/// Returns the kind of the tombstone of a lane with this kind, in a file.
pub(super) const fn tombstone_kind(kind: u8, tombstone: TombstoneKind) -> u8 {
    kind + 2 * (tombstone_number(tombstone) + 1)
}

/// Returns the kind of the lane and the kind of the tombstone that a stored kind stands for. Returns `None` for a lane.
pub(super) fn tombstone(kind: i64) -> Option<(u8, TombstoneKind)> {
    let lanes = [IMPRINT_LANE, PARTNER_LANE].into_iter();
    let mut all = lanes.flat_map(|lane| TombstoneKind::ALL.map(|tombstone| (lane, tombstone)));
    all.find(|(lane, tombstone)| i64::from(tombstone_kind(*lane, *tombstone)) == kind)
}

pub(super) fn lane_columns(key: &LaneKey) -> LaneColumns<'_> {
    match key {
        LaneKey::Imprint(imprint) => imprint_columns(imprint),
        LaneKey::Partner(partner) => partner_columns(partner),
    }
}

pub(super) fn imprint_columns(imprint: &ImprintId) -> LaneColumns<'_> {
    LaneColumns {
        kind: IMPRINT_LANE,
        canonical: Cow::from(imprint.canonical()),
        received: imprint.as_str(),
    }
}

pub(super) fn partner_columns(partner: &PartnerCustomerId) -> LaneColumns<'_> {
    LaneColumns {
        kind: PARTNER_LANE,
        canonical: Cow::from(partner.as_str()),
        received: partner.as_str(),
    }
}

/// Returns whether a lane with this kind is no tombstone.
pub(super) fn is_lane(kind: i64) -> bool {
    [IMPRINT_LANE, PARTNER_LANE].map(i64::from).contains(&kind)
}

/// Decodes the key of a lane. Returns `None` if the columns contain no valid customer id.
pub(super) fn lane_key(kind: i64, received: &str) -> Option<LaneKey> {
    match u8::try_from(kind) {
        Ok(IMPRINT_LANE) => ImprintId::parse(received).ok().map(LaneKey::Imprint),
        Ok(PARTNER_LANE) => PartnerCustomerId::parse(received)
            .ok()
            .map(LaneKey::Partner),
        Ok(_) | Err(_) => None,
    }
}

/// The columns of an entry that, together with the columns of its lane, tell which customer ids the event contains.
pub(super) struct CustomerColumns<'a> {
    pub(super) partner: Option<&'a str>,
    pub(super) names_imprint_id: bool,
}

pub(super) fn customer_columns(customer: &CustomerRef) -> CustomerColumns<'_> {
    CustomerColumns {
        partner: customer.partner().map(PartnerCustomerId::as_str),
        names_imprint_id: customer.imprint().is_some(),
    }
}

/// Decodes the customer ids of an event. Returns `None` if the columns contain no valid customer id.
pub(super) fn customer(key: &LaneKey, columns: &CustomerColumns<'_>) -> Option<CustomerRef> {
    let partner = columns.partner.map(PartnerCustomerId::parse);
    match (key, partner.transpose().ok()?) {
        (LaneKey::Imprint(imprint), None) => Some(CustomerRef::Imprint(imprint.clone())),
        (LaneKey::Imprint(imprint), Some(partner)) if columns.names_imprint_id => {
            Some(CustomerRef::Pair {
                imprint: imprint.clone(),
                partner,
            })
        }
        (LaneKey::Imprint(_) | LaneKey::Partner(_), Some(partner)) => {
            Some(CustomerRef::Partner(partner))
        }
        (LaneKey::Partner(_), None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stores of released versions contain these numbers, so the numbers must not change.
    #[test]
    fn the_numbers_of_ignore_reasons_never_change() {
        for (number, word) in [
            (0, "listed_type"),
            (1, "condition"),
            (2, "nothing_to_send"),
            (3, "foreign_address"),
            (4, "clearing_omitted"),
            (5, "unknown_customer"),
            (6, "values_skipped"),
            (7, "blocked"),
        ] {
            let reason = ignore_reason("entry.ignored", number).unwrap();
            assert_eq!(reason.as_str(), word);
        }
        assert!(ignore_reason("entry.ignored", 8).is_err());
    }

    /// The stores of released versions contain these numbers, so the numbers must not change.
    #[test]
    fn state_numbers_never_change() {
        for (number, word) in [
            (0, "waiting"),
            (1, "delivered"),
            (2, "superseded"),
            (3, "ignored"),
            (4, "parked"),
            (5, "discarded"),
            (6, "held"),
            (7, "undecided"),
        ] {
            let state = state("entry.state", number).unwrap();
            assert_eq!(
                (state.as_str(), i64::from(state_number(state))),
                (word, number)
            );
        }
        assert_eq!(State::ALL.len(), 8, "a new state is pinned above");
    }

    /// The stores of released versions contain these numbers, so the numbers must not change.
    #[test]
    fn reason_numbers_never_change() {
        for (number, word) in [
            (0, "rejected"),
            (1, "attempts_exhausted"),
            (2, "unknown_customer"),
            (3, "unreadable"),
            (4, "identity_conflict"),
            (5, "ambiguous_customer"),
            (6, "foreign_address"),
            (7, "not_cleared"),
            (8, "vanished"),
            (10, "version_jump"),
            (11, "by_operator"),
            (12, "invalid"),
        ] {
            let reason = reason("parked.reason", number).unwrap();
            assert_eq!(
                (reason.as_str(), i64::from(reason_number(reason))),
                (word, number)
            );
        }
        assert_eq!(ParkReason::ALL.len(), 12, "a new reason is pinned above");
    }

    /// The stores of released versions contain these numbers, so the numbers must not change.
    #[test]
    fn numbers_of_lane_classes_and_lane_kinds_never_change() {
        for (number, priority, standing) in [
            (0, Priority::Live, Standing::Well),
            (1, Priority::Low, Standing::Well),
            (2, Priority::Live, Standing::Failing),
            (3, Priority::Low, Standing::Failing),
            (4, Priority::Live, Standing::Untried),
            (5, Priority::Low, Standing::Untried),
        ] {
            let expected = LaneClass { priority, standing };
            assert_eq!(class("lane.low", number).unwrap(), expected);
            assert_eq!(i64::from(class_number(expected)), number);
        }
        assert!(matches!(lane_key(0, "CUST-1"), Some(LaneKey::Imprint(_))));
        assert!(matches!(lane_key(1, "P-1"), Some(LaneKey::Partner(_))));
        for (kind, number) in TombstoneKind::ALL.into_iter().zip([2, 4, 6]) {
            assert_eq!(tombstone_kind(IMPRINT_LANE, kind), number);
            assert_eq!(tombstone_kind(PARTNER_LANE, kind), number + 1);
            assert_eq!(tombstone(number.into()), Some((IMPRINT_LANE, kind)));
            assert_eq!(tombstone((number + 1).into()), Some((PARTNER_LANE, kind)));
            assert!(lane_key(number.into(), "CUST-1").is_none());
        }
    }

    #[test]
    fn an_unknown_number_is_an_error_that_names_column_and_number() {
        for number in [-1, 9, i64::MAX] {
            let refused = state("entry.state", number).unwrap_err().to_string();
            assert_eq!(refused, format!("unknown number {number} in entry.state"));
            let refused = reason("parked.reason", number).unwrap_err().to_string();
            assert_eq!(refused, format!("unknown number {number} in parked.reason"));
        }
        assert!(class("lane.low", 6).is_err());
    }
}
