//! The chain of the audit log: every record has a seal over its content and over the seal of the record before it.
//!
//! Without a key, a seal is a SHA-256 hash. An attacker who can write the store can then rebuild the whole chain
//! unnoticed. With a key outside the store, a seal is an HMAC, and nobody without the key can write a seal. A chain can
//! begin without a key and go on with a key: the first keyed seal protects all records before it.
//!
//! No chain shows that its newest records are missing. The head of the chain shows this, if somebody keeps the head
//! outside the store: the log and the metrics contain each head.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::{AuditEvent, AuditRecord};
use crate::time::Timestamp;

/// The first byte of a keyed seal. A seal without a key has no such byte, and is shorter.
const KEYED: u8 = 1;
/// The length of the id of a key in a seal.
const KEY_ID_BYTES: usize = 8;
/// The length of a hash and of an HMAC.
const HASH_BYTES: usize = 32;
/// The length of a keyed seal: the first byte, the id of the key, and the HMAC.
const SEAL_BYTES: usize = 1 + KEY_ID_BYTES + HASH_BYTES;
/// The number of bytes of a seal in the head. A metric shows a number of this size exactly.
const CHECK_BYTES: usize = 6;

type AuditKeyId = [u8; KEY_ID_BYTES];

/// The keys of the audit log. The first key writes the seals of new records, and every key verifies seals. Without a key,
/// the chain of the audit log has no key.
#[derive(Clone, Default)]
pub struct AuditKeys(Arc<[AuditKey]>);

struct AuditKey {
    id: AuditKeyId,
    /// An HMAC whose input so far is the purpose of the key: the key can then have no other purpose by mistake.
    mac: Hmac<Sha256>,
}

/// Prints no key.
impl fmt::Debug for AuditKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuditKeys").field(&self.0.len()).finish()
    }
}

/// The end of the audit log: the number of the newest record, and a part of its seal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditHead {
    /// The number of the record. 0 means that the audit log has no record.
    pub record: u64,
    /// A part of the seal of the record.
    pub check: u64,
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.record, self.check)
    }
}

/// The error of a text that is no head of an audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the head of an audit log is two numbers, such as 17-142536475869")]
pub struct AuditHeadError;

impl FromStr for AuditHead {
    type Err = AuditHeadError;

    fn from_str(text: &str) -> Result<Self, AuditHeadError> {
        let parts = text.split_once('-').ok_or(AuditHeadError)?;
        let number = |text: &str| text.parse().map_err(|_not_a_number| AuditHeadError);
        Ok(Self {
            record: number(parts.0)?,
            check: number(parts.1)?,
        })
    }
}

/// The protection of the audit log of an opened store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditProtection {
    /// The chain has no key.
    Plain,
    /// The first key writes the seals of new records.
    Keyed,
    /// The newest record has a keyed seal, and the process has no key.
    KeyMissing,
}

/// What somebody outside the store knows about its audit log.
#[derive(Clone, Debug, Default)]
pub struct AuditProof {
    /// The keys of the audit log.
    pub keys: AuditKeys,
    /// An earlier head of the audit log.
    pub head: Option<AuditHead>,
}

/// The result of comparing a record with its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealState {
    Intact,
    Broken,
    /// The seal has a key that the process does not have.
    UnknownKey,
}

impl AuditKeys {
    /// Creates the keys. The first key writes the seals of new records.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        // An HMAC accepts keys of every length, so no secret is left out.
        let keys = secrets
            .into_iter()
            .filter_map(|secret| AuditKey::new(&secret));
        Self(keys.collect())
    }

    /// Returns whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the protection of a chain that ends with this seal.
    pub(super) fn protection(&self, newest: &[u8]) -> AuditProtection {
        match self.0.is_empty() {
            true if is_keyed(newest) => AuditProtection::KeyMissing,
            true => AuditProtection::Plain,
            false => AuditProtection::Keyed,
        }
    }

    /// Returns the action with which the first key begins to seal a chain that ends with this seal. Returns `None` if
    /// the first key has written the seal, or if there is no key.
    pub(super) fn beginning(&self, newest: &[u8], now: Timestamp) -> Option<AuditEvent> {
        let key = self.0.first()?;
        if parse(newest).is_some_and(|(id, _)| id == key.id) {
            return None;
        }
        let id: String = key.id.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(AuditEvent {
            operator: "bridge".to_owned(),
            action: "audit_key",
            target: format!("key {id}"),
            reason: None,
            at: now,
        })
    }

    /// Returns the seal of a record that follows the seal `before`.
    pub(super) fn seal(&self, before: &[u8], record: &AuditRecord) -> Vec<u8> {
        let Some(key) = self.0.first() else {
            return plain(before, record);
        };
        let mac = key.mac(before, record).finalize().into_bytes();
        [&[KEYED][..], &key.id, &mac].concat()
    }

    /// Records in an audit record whether it follows the record before it and matches its seal.
    pub(super) fn judge(
        &self,
        (number_before, seal_before): (u64, &[u8]),
        record: &mut AuditRecord,
        seal: &[u8],
    ) {
        // The numbers of audit records have no gaps, so a gap shows that a record was deleted.
        let follows = record.number == number_before.saturating_add(1);
        let state = self.verify(seal_before, record, seal);
        record.is_intact = follows && state == SealState::Intact;
        record.lacks_key = follows && (record.lacks_key || state == SealState::UnknownKey);
        record.check = check(seal);
        record.is_keyed = is_keyed(seal);
    }

    /// Compares a record with its seal.
    ///
    /// After a keyed seal, a seal without a key is broken: an attacker without the key could otherwise write the rest
    /// of the chain again.
    pub(super) fn verify(&self, before: &[u8], record: &AuditRecord, seal: &[u8]) -> SealState {
        let Some((id, mac)) = parse(seal) else {
            return match is_keyed(before) || seal != plain(before, record) {
                true => SealState::Broken,
                false => SealState::Intact,
            };
        };
        let Some(key) = self.0.iter().find(|key| key.id == id) else {
            return SealState::UnknownKey;
        };
        match key.mac(before, record).verify_slice(mac) {
            Ok(()) => SealState::Intact,
            Err(_) => SealState::Broken,
        }
    }
}

impl AuditKey {
    fn new(secret: &SecretString) -> Option<Self> {
        let mut mac = Hmac::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
        mac.update(b"imprint-bridge audit log 1");
        let mut of_id = mac.clone();
        of_id.update(b"id of the key");
        let of_id = of_id.finalize().into_bytes();
        let mut id = AuditKeyId::default();
        id.iter_mut().zip(of_id).for_each(|(id, byte)| *id = byte);
        Some(Self { id, mac })
    }

    fn mac(&self, before: &[u8], record: &AuditRecord) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&before.len().to_le_bytes());
        mac.update(before);
        mac.update(&record.number.to_le_bytes());
        for_each_field(record, |bytes| mac.update(bytes));
        mac
    }
}

impl AuditProof {
    /// Returns the errors that only somebody outside the store can find: missing newest records, and a chain without any
    /// keyed seal. `last_number` is the highest number that the store has given to a record.
    pub(super) fn errors(&self, records: &[AuditRecord], last_number: u64) -> Vec<String> {
        let mut errors = Vec::new();
        let newest = records.last().map_or(0, |record| record.number);
        if newest < last_number {
            errors.push(format!(
                "the audit log ends at record {newest}, but the store has written record {last_number}"
            ));
        }
        if !self.keys.is_empty() && !records.iter().any(|record| record.is_keyed) {
            errors.push("no record of the audit log has a seal with a key".to_owned());
        }
        let Some(head) = self.head else {
            return errors;
        };
        let known = records.iter().find(|record| record.number == head.record);
        if newest < head.record {
            errors.push(format!(
                "the audit log ends at record {newest}, but the given head is record {}",
                head.record
            ));
        } else if head != AuditHead::default()
            && known.is_none_or(|known| known.check != head.check)
        {
            errors.push(format!(
                "record {} of the audit log is not the record of the given head",
                head.record
            ));
        }
        errors
    }
}

/// Returns whether a seal has a key.
pub(super) fn is_keyed(seal: &[u8]) -> bool {
    parse(seal).is_some()
}

/// Returns the part of a seal that the head of the audit log contains.
pub(super) fn check(seal: &[u8]) -> u64 {
    let last = seal.iter().rev().take(CHECK_BYTES);
    last.fold(0, |check, byte| (check << 8) | u64::from(*byte))
}

/// Returns the id of the key and the HMAC in a keyed seal, or `None` for a seal without a key.
fn parse(seal: &[u8]) -> Option<(AuditKeyId, &[u8])> {
    let (version, rest) = seal.split_first()?;
    let (id, mac) = rest.split_first_chunk::<KEY_ID_BYTES>()?;
    (*version == KEYED && seal.len() == SEAL_BYTES).then_some((*id, mac))
}

/// Returns the seal without a key. It does not include the number of the record: the position of the record in the chain
/// determines the number.
fn plain(before: &[u8], record: &AuditRecord) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update(before);
    for_each_field(record, |bytes| hasher.update(bytes));
    hasher.finalize().to_vec()
}

/// Passes the fields of a record to `update`, each with its length before it. Without the lengths, two records with
/// different fields could have equal bytes.
fn for_each_field(record: &AuditRecord, mut update: impl FnMut(&[u8])) {
    let fields = [
        record.at.as_millis().to_string(),
        record.operator.clone(),
        record.action.clone(),
        record.target.clone(),
        record.entries.to_string(),
        record.reason.clone().unwrap_or_default(),
    ];
    for field in fields {
        update(&field.len().to_le_bytes());
        update(field.as_bytes());
    }
}
