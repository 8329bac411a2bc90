//! The columns that have another form in a file than in the rows of a transfer: ids of customers, tombstones, links, and the
//! head of the erasure journal. This module is pure.

use crate::imprint::ImprintId;
use crate::outbox::codec::{self, LaneColumns};
use crate::outbox::keyed_digest::{CustomerDigests, DigestKey, KeyedDigest};
use crate::outbox::sealer::Sealer;
use crate::outbox::tombstone::TombstoneKind;
use crate::outbox::transfer::row::{RowKind, TransferRow, TransferValue};
use crate::outbox::{LaneKey, LaterEvents};
use crate::sealing::is_sealed;

use TransferValue::{Bytes, Null, Number, Text};

/// The name of the head of the erasure journal: the only setting that is a number.
const JOURNAL_HEAD: &str = "erasure_journal";

/// Converts the ids of customers.
pub(super) struct Ids {
    digests: CustomerDigests,
    /// Encodes the links of a store that is not sealed.
    plain: Sealer,
}

impl Ids {
    pub(super) fn new(key: &DigestKey) -> Self {
        Self {
            digests: CustomerDigests::new(key),
            plain: Sealer::default(),
        }
    }

    /// Converts the stored values of a row. Returns `None` if the row is damaged.
    pub(super) fn read(&self, kind: RowKind, stored: TransferRow) -> Option<TransferRow> {
        match kind {
            RowKind::Settings => read_setting(stored),
            RowKind::Lanes => self.read_lane(stored),
            RowKind::Links => self.read_link(stored),
            RowKind::SealingKeys
            | RowKind::Receipts
            | RowKind::Waiting
            | RowKind::Parked
            | RowKind::Held
            | RowKind::Undecided
            | RowKind::Origins
            | RowKind::Audit => Some(stored),
        }
    }

    /// Converts a row into its stored values. Returns `None` if the row is damaged.
    pub(super) fn write(&self, kind: RowKind, row: TransferRow) -> Option<TransferRow> {
        match kind {
            RowKind::Settings => write_setting(row),
            RowKind::Lanes => write_lane(row),
            RowKind::Links => self.write_link(row),
            RowKind::SealingKeys
            | RowKind::Receipts
            | RowKind::Waiting
            | RowKind::Parked
            | RowKind::Held
            | RowKind::Undecided
            | RowKind::Origins
            | RowKind::Audit => Some(row),
        }
    }

    fn read_lane(&self, stored: TransferRow) -> Option<TransferRow> {
        let mut values = stored.into_iter();
        let (id, Number(kind)) = (values.next()?, values.next()?) else {
            return None;
        };
        let (customer, received) = (values.next()?, values.next()?);
        let (kind, customer, received, erased) = match (LaneKind::of(kind)?, customer) {
            (LaneKind::Live(kind), Text(id)) => {
                let digest = self.digest(kind, &id);
                (kind, digest, received, None)
            }
            (LaneKind::Live(kind), digest) => (kind, digest, received, None),
            (LaneKind::Buried(lane, tombstone), Text(hex)) => {
                let kind = moved_kind(lane, tombstone);
                (kind, from_hex(&hex)?, Null, Some(tombstone))
            }
            (LaneKind::Buried(kind, tombstone), digest) => (kind, digest, Null, Some(tombstone)),
        };
        let number = |tombstone| Number(codec::tombstone_number(tombstone).into());
        let erased = erased.map_or(Null, number);
        let head = [id, Number(kind.into()), customer, received, erased];
        Some(head.into_iter().chain(values).collect())
    }

    fn digest(&self, kind: u8, id: &str) -> TransferValue {
        let digest = self.digests.of(&LaneColumns {
            kind,
            canonical: id.into(),
            received: id,
        });
        Bytes(digest.to_vec())
    }

    fn read_link(&self, stored: TransferRow) -> Option<TransferRow> {
        let [partner, imprint, ids, confirmed_at] = stored.try_into().ok()?;
        let Text(partner) = partner else {
            return Some(vec![partner, imprint, ids, confirmed_at]);
        };
        let text = |value| match value {
            Text(text) => Some(Some(text)),
            Null => Some(None),
            Number(_) | Bytes(_) => None,
        };
        let (imprint, received) = (text(imprint)?, text(ids)?);
        let digest = self.digest(codec::PARTNER_LANE, &partner);
        let Bytes(bytes) = &digest else { return None };
        let key = KeyedDigest::try_from(bytes.as_slice()).ok()?;
        let ids = codec::encode_link(&self.plain, &key, &partner, received.as_deref());
        let imprint = imprint.map_or(Null, |id| self.digest(codec::IMPRINT_LANE, &id));
        Some(vec![digest, imprint, Bytes(ids.ok()?), confirmed_at])
    }

    fn write_link(&self, row: TransferRow) -> Option<TransferRow> {
        let [partner, imprint, ids, confirmed_at] = row.try_into().ok()?;
        let (Bytes(digest), Bytes(stored)) = (&partner, &ids) else {
            return None;
        };
        if is_sealed(stored) {
            return Some(vec![partner, imprint, ids, confirmed_at]);
        }
        let digest = KeyedDigest::try_from(digest.as_slice()).ok()?;
        let ids = codec::decode_link(&self.plain, &digest, stored).ok()??;
        let received = ids.imprint.as_ref();
        let canonical = received.map_or(Null, |id| Text(id.canonical()));
        let received = received.map_or(Null, |id| Text(ImprintId::as_str(id).to_owned()));
        let partner = Text(ids.partner.as_str().to_owned());
        Some(vec![partner, canonical, received, confirmed_at])
    }
}

/// The kind of the row of a lane in a file.
enum LaneKind {
    Live(u8),
    /// A tombstone of a lane with this kind.
    Buried(u8, TombstoneKind),
}

impl LaneKind {
    fn of(kind: i64) -> Option<Self> {
        let lanes = [codec::IMPRINT_LANE, codec::PARTNER_LANE];
        let live = lanes.into_iter().find(|lane| i64::from(*lane) == kind);
        let buried = codec::tombstone(kind).map(|(lane, tombstone)| Self::Buried(lane, tombstone));
        live.map(Self::Live).or(buried)
    }
}

/// Returns the kind in the database of a tombstone that a transfer has moved from a file. A program from before the retirement
/// of customers knows only the kinds of erased customers, and must find the versions of a retired customer too.
const fn moved_kind(lane: u8, tombstone: TombstoneKind) -> u8 {
    match tombstone {
        TombstoneKind::Erased(_) => codec::tombstone_kind(lane, tombstone),
        TombstoneKind::Retired => {
            codec::tombstone_kind(lane, TombstoneKind::Erased(LaterEvents::Delivered))
        }
    }
}

/// Returns the kind of tombstones with this stored number.
fn tombstone(number: i64) -> Option<TombstoneKind> {
    let has_number = |kind: &TombstoneKind| i64::from(codec::tombstone_number(*kind)) == number;
    TombstoneKind::ALL.into_iter().find(has_number)
}

fn write_lane(row: TransferRow) -> Option<TransferRow> {
    let mut values = row.into_iter();
    let (id, Number(kind)) = (values.next()?, values.next()?) else {
        return None;
    };
    let (Bytes(digest), received, erased) = (values.next()?, values.next()?, values.next()?) else {
        return None;
    };
    let (kind, customer, received) = match (LaneKind::of(kind)?, erased) {
        (LaneKind::Live(lane), Number(erased)) => {
            let kind = codec::tombstone_kind(lane, tombstone(erased)?);
            (i64::from(kind), Bytes(digest), Text(String::new()))
        }
        (LaneKind::Buried(lane, _), Number(erased)) => {
            let kind = codec::tombstone_kind(lane, tombstone(erased)?);
            (i64::from(kind), Text(to_hex(&digest)), Text(String::new()))
        }
        (LaneKind::Buried(..), _) => return None,
        (LaneKind::Live(_), _) => {
            let customer = canonical(kind, &received).map_or(Bytes(digest), Text);
            (kind, customer, received)
        }
    };
    let head = [id, Number(kind), customer, received];
    Some(head.into_iter().chain(values).collect())
}

/// Returns the id by which a file finds a lane that is not sealed.
fn canonical(kind: i64, received: &TransferValue) -> Option<String> {
    let Text(received) = received else {
        return None;
    };
    let key = codec::lane_key(kind, received)?;
    let canonical = match &key {
        LaneKey::Imprint(_) | LaneKey::Partner(_) => codec::lane_columns(&key).canonical,
    };
    Some(canonical.into_owned())
}

fn read_setting(stored: TransferRow) -> Option<TransferRow> {
    let [name, value] = stored.try_into().ok()?;
    let value = match value {
        Number(number) => Text(number.to_string()),
        value @ (Null | Text(_) | Bytes(_)) => value,
    };
    Some(vec![name, value])
}

fn write_setting(row: TransferRow) -> Option<TransferRow> {
    let [name, value] = row.try_into().ok()?;
    let value = match (&name, value) {
        (Text(name), Text(digits)) if name == JOURNAL_HEAD => Number(digits.parse().ok()?),
        (_, value) => value,
    };
    Some(vec![name, value])
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &str) -> Option<TransferValue> {
    let digits = hex.as_bytes().chunks(2);
    let bytes = digits.map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    bytes.collect::<Option<Vec<u8>>>().map(Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(kind: i64, customer: TransferValue, received: TransferValue) -> TransferRow {
        vec![Number(7), Number(kind), customer, received, Number(1), Null]
    }

    /// FAULTS N1011: each form of a lane and of a tombstone in a file survives the way into a database and back.
    #[test]
    fn each_form_of_a_lane_comes_back() {
        let ids = Ids::new(&[7; 32]);
        let (hex, digest) = ("0123456789abcdef".repeat(2), Bytes(vec![3; 16]));
        let erased = || Text(String::new());
        for (stored, kind, later) in [
            (
                lane(0, Text("c1".to_owned()), Text("c1".to_owned())),
                0,
                Null,
            ),
            (
                lane(1, Text("P 1".to_owned()), Text("P 1".to_owned())),
                1,
                Null,
            ),
            (lane(0, digest.clone(), Bytes(vec![1, 2])), 0, Null),
            (lane(2, Text(hex.clone()), erased()), 2, Number(0)),
            (lane(5, Text(hex.clone()), erased()), 5, Number(1)),
            (lane(6, Text(hex.clone()), erased()), 2, Number(2)),
            (lane(7, Text(hex), erased()), 3, Number(2)),
            (lane(3, digest.clone(), erased()), 1, Number(0)),
            (lane(4, digest.clone(), erased()), 0, Number(1)),
            (lane(7, digest, erased()), 1, Number(2)),
        ] {
            let row = ids.read(RowKind::Lanes, stored.clone()).unwrap();
            assert_eq!((&row[1], &row[4]), (&Number(kind), &later), "{stored:?}");
            assert!(matches!(&row[2], Bytes(digest) if digest.len() == 16));
            assert_eq!(ids.write(RowKind::Lanes, row).unwrap(), stored);
        }
        for damaged in [
            lane(8, Text("c1".to_owned()), erased()),
            lane(2, Text("no digest".to_owned()), erased()),
        ] {
            assert_eq!(ids.read(RowKind::Lanes, damaged), None);
        }
    }

    #[test]
    fn each_form_of_a_link_comes_back() {
        let ids = Ids::new(&[7; 32]);
        let upper = "2C9F3A52-7D41-4F0E-9A3B-5E8D1C6B7A90".to_owned();
        let text = |text: &str| Text(text.to_owned());
        for stored in [
            vec![text("P-1"), text("c1"), text("c1"), Number(3)],
            vec![
                text("P-1"),
                text(&upper.to_lowercase()),
                text(&upper),
                Number(3),
            ],
            vec![text("P-1"), Null, Null, Number(3)],
            vec![Bytes(vec![4; 16]), Null, Bytes(vec![1, 9]), Number(3)],
        ] {
            let row = ids.read(RowKind::Links, stored.clone()).unwrap();
            assert!(matches!(&row[0], Bytes(digest) if digest.len() == 16));
            assert_eq!(ids.write(RowKind::Links, row).unwrap(), stored);
        }
    }

    #[test]
    fn the_head_of_the_journal_is_a_number_only_in_a_file() {
        let ids = Ids::new(&[7; 32]);
        let name = || Text("erasure_journal".to_owned());
        let row = ids.read(RowKind::Settings, vec![name(), Number(12)]);
        assert_eq!(row, Some(vec![name(), Text("12".to_owned())]));
        let stored = ids.write(RowKind::Settings, row.unwrap());
        assert_eq!(stored, Some(vec![name(), Number(12)]));
    }
}
