//! The stored form of blobs: values, bytes and texts, sealed if the process has a sealing key.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::outbox::sealer::{SealFault, Sealer};
use crate::sealing::{KeyId, RecordPlace};

/// The usual size of an encoded update, in bytes: the initial capacity of the encoding buffer.
const UPDATE_BYTES_USUAL: usize = 1024;

/// The kind of a stored blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::outbox) enum BlobKind {
    /// The event of an entry. The record id is the number of the entry.
    Event,
    /// The values that the event of an entry sets, and the CRM's id of its customer. The record id is the number of the
    /// entry.
    Update,
    /// The versions of a lane, with the values that dispatch possibly must send again. The record id is the number of
    /// the lane.
    LaneVersions,
    /// Imprint's answer that the customer of a lane does not exist. The record id is the number of the lane.
    LaneAbsence,
    /// Imprint's answer about a parked entry. The record id is the number of the entry.
    ParkedDetail,
    /// The errors of an entry that is parked as invalid. The record id is the number of the entry.
    EventErrors,
    /// The errors of the fields that the update of an entry leaves out. The record id is the number of the entry.
    SkippedFields,
    /// An operator's reason for an action. The record id is the number of the audit record.
    AuditReason,
    /// The key of the digests of event contents. The record id is 0.
    DigestKey,
    /// The customer id of a lane. The record id is the number of the lane.
    LaneCustomer,
    /// The ids of an identity link. The record id is the first half of the digest of the CRM's id.
    LinkIds,
    /// The evidence that Imprint's answers are true, which names customers. The record id is 0.
    Evidence,
}

impl BlobKind {
    /// Returns the number to which a sealed blob is bound. The number of a kind never changes.
    const fn number(self) -> u8 {
        match self {
            Self::Event => 1,
            Self::Update => 2,
            Self::LaneVersions => 3,
            Self::LaneAbsence => 4,
            Self::ParkedDetail => 5,
            Self::EventErrors => 6,
            Self::SkippedFields => 7,
            Self::AuditReason => 8,
            Self::DigestKey => 9,
            Self::LaneCustomer => 10,
            Self::LinkIds => 11,
            Self::Evidence => 12,
        }
    }

    /// Returns whether a value of this kind is a text. Every other value is JSON, except the digest key.
    pub(in crate::outbox) const fn is_text(self) -> bool {
        match self {
            Self::ParkedDetail | Self::AuditReason | Self::LaneCustomer | Self::Evidence => true,
            Self::Event
            | Self::Update
            | Self::LaneVersions
            | Self::LaneAbsence
            | Self::EventErrors
            | Self::SkippedFields
            | Self::DigestKey
            | Self::LinkIds => false,
        }
    }

    pub(in crate::outbox) const fn place(self, record: u64) -> RecordPlace {
        RecordPlace {
            kind: self.number(),
            id: record,
        }
    }
}

impl fmt::Display for BlobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Event => "event of entry",
            Self::Update => "update of entry",
            Self::LaneVersions => "versions of lane",
            Self::LaneAbsence => "absent customer of lane",
            Self::ParkedDetail => "detail of parked entry",
            Self::EventErrors => "errors of invalid entry",
            Self::SkippedFields => "skipped fields of entry",
            Self::AuditReason => "reason of audit record",
            Self::DigestKey => "digest key",
            Self::LaneCustomer => "customer of lane",
            Self::LinkIds => "identity link",
            Self::Evidence => "evidence",
        })
    }
}

/// The error when this program cannot read or write stored content.
#[derive(Debug, thiserror::Error)]
pub(in crate::outbox) enum CodecError {
    /// The stored number belongs to no known state, reason, priority or lane kind.
    #[error("unknown number {number} in {column}")]
    UnknownNumber {
        /// The table and the column that contain the number.
        column: &'static str,
        number: i64,
    },
    /// The codec cannot decode the stored blob as a value of the blob's kind.
    #[error("unreadable {kind} {record}")]
    Unreadable {
        kind: BlobKind,
        record: u64,
        source: serde_json::Error,
    },
    /// The columns beside the sealed value name another customer or another version.
    #[error("{kind} {record}: the customer or the version beside it was changed")]
    OtherRoute { kind: BlobKind, record: u64 },
    /// The stored text is no UTF-8 text.
    #[error("unreadable {kind} {record}")]
    NoText { kind: BlobKind, record: u64 },
    /// The codec cannot encode the value as a blob.
    #[error("{kind} {record} cannot be stored")]
    Unwritable {
        kind: BlobKind,
        record: u64,
        source: serde_json::Error,
    },
    /// The codec cannot seal or open the blob.
    #[error("{kind} {record}: {source}")]
    Sealing {
        kind: BlobKind,
        record: u64,
        source: SealFault,
    },
}

impl CodecError {
    /// Returns the id of the sealing key that the process must get to read the blob. Returns `None` if no key helps.
    pub(in crate::outbox) const fn missing_key(&self) -> Option<KeyId> {
        match self {
            Self::Sealing {
                source: SealFault::MissingKey(key),
                ..
            } => Some(*key),
            Self::UnknownNumber { .. }
            | Self::Unreadable { .. }
            | Self::OtherRoute { .. }
            | Self::NoText { .. }
            | Self::Unwritable { .. }
            | Self::Sealing { .. } => None,
        }
    }
}

/// Encodes a value into its stored bytes.
pub(in crate::outbox) fn encode<T: Serialize>(
    sealer: &Sealer,
    kind: BlobKind,
    record: u64,
    value: &T,
) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(UPDATE_BYTES_USUAL);
    serde_json::to_writer(&mut bytes, value).map_err(|source| CodecError::Unwritable {
        kind,
        record,
        source,
    })?;
    let sealed = seal(sealer, kind, record, &bytes)?;
    Ok(sealed.unwrap_or(bytes))
}

/// Decodes a value from its stored bytes.
pub(in crate::outbox) fn decode<T: DeserializeOwned>(
    sealer: &Sealer,
    kind: BlobKind,
    record: u64,
    bytes: &[u8],
) -> Result<T, CodecError> {
    let bytes = decode_bytes(sealer, kind, record, bytes)?;
    serde_json::from_slice(&bytes).map_err(|source| CodecError::Unreadable {
        kind,
        record,
        source,
    })
}

/// Encodes a value that consists of bytes, such as an event, into its stored form.
pub(in crate::outbox) fn encode_bytes<'a>(
    sealer: &Sealer,
    kind: BlobKind,
    record: u64,
    bytes: &'a [u8],
) -> Result<Cow<'a, [u8]>, CodecError> {
    let sealed = seal(sealer, kind, record, bytes)?;
    Ok(sealed.map_or(Cow::Borrowed(bytes), Cow::Owned))
}

/// Decodes a value that consists of bytes, such as an event, from its stored form.
pub(in crate::outbox) fn decode_bytes<'a>(
    sealer: &Sealer,
    kind: BlobKind,
    record: u64,
    bytes: &'a [u8],
) -> Result<Cow<'a, [u8]>, CodecError> {
    let opened = sealer.open(kind.place(record), bytes);
    opened.map_err(|source| CodecError::Sealing {
        kind,
        record,
        source,
    })
}

/// The stored form of a text. The type of the stored value shows whether the text is sealed.
pub(in crate::outbox) enum StoredText<'a> {
    Plain(&'a str),
    Sealed(Cow<'a, [u8]>),
}

/// Encodes a text into its stored form.
pub(in crate::outbox) fn encode_text<'a>(
    sealer: &Sealer,
    kind: BlobKind,
    record: u64,
    text: &'a str,
) -> Result<StoredText<'a>, CodecError> {
    let sealed = seal(sealer, kind, record, text.as_bytes())?;
    Ok(sealed.map_or(StoredText::Plain(text), |sealed| {
        StoredText::Sealed(Cow::Owned(sealed))
    }))
}

/// Decodes a text from its stored form.
pub(in crate::outbox) fn decode_text(
    sealer: &Sealer,
    kind: BlobKind,
    record: u64,
    stored: &StoredText<'_>,
) -> Result<String, CodecError> {
    let fault = |source| CodecError::Sealing {
        kind,
        record,
        source,
    };
    match stored {
        StoredText::Plain(text) => {
            sealer.accept_plain().map_err(fault)?;
            Ok((*text).to_owned())
        }
        StoredText::Sealed(bytes) => {
            let bytes = decode_bytes(sealer, kind, record, bytes)?.into_owned();
            String::from_utf8(bytes).map_err(|_bytes| CodecError::NoText { kind, record })
        }
    }
}

/// Seals bytes. Returns `None` if the process has no sealing key.
pub(in crate::outbox) fn seal(
    sealer: &Sealer,
    kind: BlobKind,
    record: u64,
    bytes: &[u8],
) -> Result<Option<Vec<u8>>, CodecError> {
    let sealed = sealer.seal(kind.place(record), bytes);
    sealed.map_err(|source| CodecError::Sealing {
        kind,
        record,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_blob_is_an_error_that_names_its_record() {
        let sealer = Sealer::default();
        let refused = decode::<u8>(&sealer, BlobKind::Update, 7, b"{").unwrap_err();
        assert_eq!(refused.to_string(), "unreadable update of entry 7");
        let refused = decode::<u8>(&sealer, BlobKind::Update, 7, b"\x01{").unwrap_err();
        let text = "update of entry 7: the sealed bytes are damaged";
        assert_eq!(refused.to_string(), text);
    }

    /// The sealed records of released versions are bound to these numbers, so the numbers must not change.
    #[test]
    fn the_numbers_of_kinds_never_change() {
        let kinds = [
            BlobKind::Event,
            BlobKind::Update,
            BlobKind::LaneVersions,
            BlobKind::LaneAbsence,
            BlobKind::ParkedDetail,
            BlobKind::EventErrors,
            BlobKind::SkippedFields,
            BlobKind::AuditReason,
            BlobKind::DigestKey,
            BlobKind::LaneCustomer,
            BlobKind::LinkIds,
            BlobKind::Evidence,
        ];
        let numbers = kinds.map(BlobKind::number);
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    }

    /// A reason that begins as a sealed record begins is still a plain text in a store without keys.
    #[test]
    fn the_type_of_a_stored_text_shows_whether_it_is_sealed() {
        let sealer = Sealer::default();
        let text = "\u{1} is a control character";
        let stored = encode_text(&sealer, BlobKind::AuditReason, 1, text).unwrap();
        let read = decode_text(&sealer, BlobKind::AuditReason, 1, &stored);
        assert_eq!(read.unwrap(), text);
    }
}
