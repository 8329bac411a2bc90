//! Opens a stored value for the verification of a store, in every storage engine. This module is pure.

use serde::de::IgnoredAny;

use super::codec::{self, BlobKind, CodecError, StoredText, UpdateRoute};
use super::keyed_digest::{CustomerDigests, KeyedDigest};
use super::sealer::{Sealer, UsedKey};
use crate::sealing::is_sealed;

/// A stored value, as its storage engine has it.
#[derive(Clone, Copy)]
pub(super) enum StoredValue<'a> {
    /// The column has no value.
    None,
    Blob(&'a [u8]),
    Text(&'a [u8]),
    /// The column has a value of another type.
    Other,
}

/// The record of a stored value.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) binding: Binding,
}

/// The columns to which the values of a record are bound, besides its number.
#[derive(Clone, Copy)]
pub(super) enum Binding {
    /// No columns.
    None,
    /// The columns of an entry, for its update.
    Route(UpdateRoute),
    /// The kind of a lane, and the digest by which the store finds the lane, for its customer id.
    Customer(i64, KeyedDigest),
    /// The columns are damaged.
    Damaged,
}

impl Record {
    pub(super) const fn numbered(number: u64) -> Self {
        Self {
            number,
            binding: Binding::None,
        }
    }
}

/// Opens a stored value. Returns its key, or `None` if the column has no value. Without `digests`, the value of a lane's
/// customer is not compared with its digest.
pub(super) fn open(
    (sealer, digests): (&Sealer, Option<&CustomerDigests>),
    kind: BlobKind,
    record: Record,
    value: StoredValue<'_>,
) -> Result<Option<UsedKey>, CodecError> {
    let Record { number, binding } = record;
    match value {
        StoredValue::None => Ok(None),
        StoredValue::Blob(blob) if is_sealed(blob) => {
            match (kind, binding) {
                (BlobKind::Update, Binding::Route(route)) => {
                    codec::expect_route(sealer, number, blob, &route)?;
                }
                (BlobKind::LaneCustomer, Binding::Customer(..)) => {
                    let stored = StoredText::Sealed(blob.into());
                    let id = codec::decode_text(sealer, kind, number, &stored)?;
                    expect_customer(digests, record, &id)?;
                }
                (BlobKind::Update | BlobKind::LaneCustomer, Binding::Damaged) => {
                    return Err(CodecError::OtherRoute {
                        kind,
                        record: number,
                    });
                }
                _ => drop(codec::decode_bytes(sealer, kind, number, blob)?),
            }
            Ok(UsedKey::of_blob(blob))
        }
        // The text of an identity link is the CRM's id of a link that is not sealed.
        StoredValue::Text(text) if kind.is_text() || kind == BlobKind::LinkIds => {
            let text = str::from_utf8(text).map_err(|_bytes| CodecError::NoText {
                kind,
                record: number,
            })?;
            codec::decode_text(sealer, kind, number, &StoredText::Plain(text))?;
            if kind == BlobKind::LaneCustomer {
                expect_customer(digests, record, text)?;
            }
            Ok(Some(UsedKey::Plain))
        }
        StoredValue::Blob(plain) | StoredValue::Text(plain) if !kind.is_text() => {
            codec::decode::<IgnoredAny>(sealer, kind, number, plain)?;
            Ok(Some(UsedKey::Plain))
        }
        StoredValue::Blob(_) | StoredValue::Text(_) | StoredValue::Other => {
            Err(CodecError::NoText {
                kind,
                record: number,
            })
        }
    }
}

/// Returns an error if the store does not find a lane by the customer id of the lane.
fn expect_customer(
    digests: Option<&CustomerDigests>,
    record: Record,
    id: &str,
) -> Result<(), CodecError> {
    let Binding::Customer(kind, digest) = record.binding else {
        return Ok(());
    };
    let key = codec::lane_key(kind, id);
    let is_own = |key| digests.is_none_or(|own| own.of(&codec::lane_columns(key)) == digest);
    match key.as_ref().is_some_and(is_own) {
        true => Ok(()),
        false => Err(CodecError::OtherRoute {
            kind: BlobKind::LaneCustomer,
            record: record.number,
        }),
    }
}
