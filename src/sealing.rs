//! Seals the records of the store: encrypts and authenticates the bytes of one record with a key of the key ring.
//!
//! A sealed record has these parts:
//!
//! | part | bytes | content |
//! |---|---|---|
//! | version | 1 | 1, which is the first byte of no JSON value |
//! | key id | 8 | selects the key, so that no record is tried with every key |
//! | salt | 16 | random, new for every record |
//! | commitment | 32 | proves that the record was sealed with the key of the key id |
//! | ciphertext | as the plain bytes | AES-256-GCM |
//! | tag | 16 | the authentication tag of AES-256-GCM |
//!
//! For each record, one expansion of HKDF-SHA-256 derives an encryption key and the commitment. The input of the
//! expansion is the salt, the kind, the version and the id of the record. An encryption key encrypts one record only, so
//! the nonce can be zero, and the number of records has no limit: two records would share a key only if two random salts
//! of 128 bits were equal, for the same kind and the same id. Kind, version and id are also the associated data, so a
//! record that somebody moves to another place cannot be opened.
//!
//! This module is pure: it reads no file and no random numbers.

use std::collections::BTreeMap;
use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt as ExtractSalt};
use secrecy::{ExposeSecret as _, SecretString};

mod key_text;

pub use self::key_text::KeyFlaw;

/// The version of the format, and the first byte of every sealed record.
const VERSION: u8 = 1;
/// The length of the salt. Among 2^40 records of one kind and one id, two salts are equal with a probability of 2^-49.
pub const SALT_BYTES: usize = 16;
/// The length of a key id. Two of a thousand keys have the same id with a probability below 2^-44.
const KEY_ID_BYTES: usize = 8;
/// The length of the commitment. To find two keys with the same commitment takes 2^128 attempts.
const COMMITMENT_BYTES: usize = 32;
/// The length of an AES-256 key.
const CIPHER_KEY_BYTES: usize = 32;
/// The length of the authentication tag: the longest tag of AES-GCM.
const TAG_BYTES: usize = 16;
/// The length of everything before the ciphertext.
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + SALT_BYTES + COMMITMENT_BYTES;
/// The number of bytes that sealing adds to a record.
const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// The labels of the derivations. No label is the beginning of another label.
const EXTRACT_LABEL: &[u8] = b"imprint-bridge sealing v1";
const ID_LABEL: &[u8] = b"key id";
const RECORD_LABEL: &[u8] = b"record";

/// The id of a sealing key. The id is derived from the key, and does not reveal the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KEY_ID_BYTES]);

impl KeyId {
    /// Returns the stored form of the id.
    pub const fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Decodes the stored form of an id. Returns `None` if the length is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The place of a record: its kind, and its id among the records of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// The number of the kind.
    pub kind: u8,
    /// The id of the record.
    pub id: u64,
}

impl RecordPlace {
    /// Returns the associated data of the record.
    fn associated_data(self) -> [u8; 10] {
        let mut data = [0; 10];
        let [kind, version, id @ ..] = &mut data;
        *kind = self.kind;
        *version = VERSION;
        *id = self.id.to_be_bytes();
        data
    }
}

/// A key that seals records.
#[derive(Clone)]
pub struct SealingKey {
    id: KeyId,
    prepared: Prk,
}

/// Prints only the id, because the rest is secret.
impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealingKey").field(&self.id).finish()
    }
}

/// The length of an expansion.
struct Expanded(usize);

impl KeyType for Expanded {
    fn len(&self) -> usize {
        self.0
    }
}

/// The secrets of one record.
struct RecordSecrets {
    cipher: LessSafeKey,
    commitment: [u8; COMMITMENT_BYTES],
}

/// The error when ring refuses an operation. With lengths that are constants, no operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the encryption failed")]
pub struct SealFailure;

impl SealingKey {
    /// Parses the text of a key file: 32 bytes in hexadecimal digits or in Base64.
    ///
    /// # Errors
    /// Returns the flaw of the text. The flaw does not repeat the text.
    pub fn parse(text: &SecretString) -> Result<Self, KeyFlaw> {
        let bytes = key_text::parse(text.expose_secret())?;
        let prepared = ExtractSalt::new(HKDF_SHA256, EXTRACT_LABEL).extract(&bytes);
        let mut id = [0; KEY_ID_BYTES];
        expand(&prepared, &[ID_LABEL], &mut id).map_err(|SealFailure| KeyFlaw::Unusable)?;
        let id = KeyId(id);
        Ok(Self { id, prepared })
    }

    /// Returns the id of the key.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    fn secrets(
        &self,
        place: RecordPlace,
        salt: &[u8; SALT_BYTES],
    ) -> Result<RecordSecrets, SealFailure> {
        let mut derived = [0; CIPHER_KEY_BYTES + COMMITMENT_BYTES];
        let info = [RECORD_LABEL, salt.as_slice(), &place.associated_data()];
        expand(&self.prepared, &info, &mut derived)?;
        let (key, commitment) = derived.split_at(CIPHER_KEY_BYTES);
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_length| SealFailure)?;
        Ok(RecordSecrets {
            cipher: LessSafeKey::new(key),
            commitment: commitment.try_into().map_err(|_length| SealFailure)?,
        })
    }
}

fn expand(prepared: &Prk, info: &[&[u8]], out: &mut [u8]) -> Result<(), SealFailure> {
    let expanded = prepared.expand(info, Expanded(out.len()));
    let expanded = expanded.map_err(|_length| SealFailure)?;
    expanded.fill(out).map_err(|_length| SealFailure)
}

/// Returns the nonce of every record. Each encryption key encrypts one record only.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// The reason why a sealed record cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// The key ring does not have the key of the record.
    #[error("the sealing key {0} is missing")]
    MissingKey(KeyId),
    /// The record is damaged, or was sealed for another place.
    #[error("the sealed bytes are damaged")]
    Damaged,
}

/// The parts of a sealed record.
struct SealedParts<'a> {
    key: KeyId,
    salt: &'a [u8; SALT_BYTES],
    commitment: &'a [u8; COMMITMENT_BYTES],
    ciphertext: &'a [u8],
}

impl<'a> SealedParts<'a> {
    fn of(record: &'a [u8]) -> Option<Self> {
        let (version, rest) = record.split_first()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (commitment, ciphertext) = rest.split_first_chunk()?;
        (*version == VERSION && ciphertext.len() >= TAG_BYTES).then_some(Self {
            key: KeyId(*key),
            salt,
            commitment,
            ciphertext,
        })
    }
}

/// Returns whether the bytes begin as a sealed record begins. No JSON value begins so.
pub fn is_sealed(record: &[u8]) -> bool {
    record.first() == Some(&VERSION)
}

/// Returns the id of the key with which a record was sealed. Returns `None` if the bytes are no sealed record.
pub fn key_of(record: &[u8]) -> Option<KeyId> {
    SealedParts::of(record).map(|parts| parts.key)
}

/// The keys that a process has. The newest key seals, and every key opens.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: BTreeMap<KeyId, SealingKey>,
    /// The ids of the keys in the order of their age.
    by_age: Vec<KeyId>,
    newest: Option<KeyId>,
    has_older_form: bool,
}

impl KeyRing {
    /// Creates a key ring from keys in the order of their age. The last key is the newest key.
    pub fn new(keys: impl IntoIterator<Item = SealingKey>) -> Self {
        let mut ring = Self::default();
        for key in keys {
            ring.newest = Some(key.id);
            ring.by_age.retain(|id| *id != key.id);
            ring.by_age.push(key.id);
            ring.keys.insert(key.id, key);
        }
        ring
    }

    /// Returns the same keys. The newest key that is shared seals, or no key if none is shared.
    #[must_use]
    pub fn sealing_with(&self, is_shared: impl Fn(KeyId) -> bool) -> Self {
        let newest = self.by_age.iter().rev().find(|id| is_shared(**id));
        Self {
            newest: newest.copied(),
            ..self.clone()
        }
    }

    /// Returns the same keys for a store that an older program shares, if `has_older_form` is true: that program cannot
    /// read an update that is bound to its customer and its version.
    #[must_use]
    pub fn with_older_form(&self, has_older_form: bool) -> Self {
        Self {
            has_older_form,
            ..self.clone()
        }
    }

    /// Returns whether the updates of new entries have the form of older programs.
    pub const fn has_older_form(&self) -> bool {
        self.has_older_form
    }

    /// Returns whether a key is newer than the key that seals.
    pub fn is_waiting(&self, id: KeyId) -> bool {
        let mut newer = self.by_age.iter().rev();
        newer
            .by_ref()
            .take_while(|one| Some(**one) != self.newest)
            .any(|one| *one == id)
    }

    /// Returns the id of the key that seals new records. Returns `None` if the ring has no key.
    pub const fn newest(&self) -> Option<KeyId> {
        self.newest
    }

    /// Returns whether no key of the ring seals.
    pub const fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// Returns whether the ring has the key with this id.
    pub fn has(&self, id: KeyId) -> bool {
        self.keys.contains_key(&id)
    }

    /// Returns the ids of all keys.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.keys().copied()
    }

    /// Seals the bytes of a record with the newest key. Returns `None` if the ring has no key.
    ///
    /// # Errors
    /// Returns an error if the encryption fails.
    pub fn seal(
        &self,
        place: RecordPlace,
        plain: &[u8],
        salt: &[u8; SALT_BYTES],
    ) -> Result<Option<Vec<u8>>, SealFailure> {
        let newest = self.newest.and_then(|newest| self.keys.get(&newest));
        newest.map(|key| seal(key, place, plain, salt)).transpose()
    }

    /// Opens a sealed record with the key that the record names.
    ///
    /// # Errors
    /// Returns [`Unopened`] if the ring does not have the key, or if the record is damaged or from another place.
    pub fn open(&self, place: RecordPlace, sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        let parts = SealedParts::of(sealed).ok_or(Unopened::Damaged)?;
        let key = self.keys.get(&parts.key);
        let key = key.ok_or(Unopened::MissingKey(parts.key))?;
        open(key, place, &parts).ok_or(Unopened::Damaged)
    }
}

fn seal(
    key: &SealingKey,
    place: RecordPlace,
    plain: &[u8],
    salt: &[u8; SALT_BYTES],
) -> Result<Vec<u8>, SealFailure> {
    let secrets = key.secrets(place, salt)?;
    let mut sealed = Vec::with_capacity(plain.len().saturating_add(OVERHEAD_BYTES));
    sealed.push(VERSION);
    sealed.extend_from_slice(key.id.bytes());
    sealed.extend_from_slice(salt);
    sealed.extend_from_slice(&secrets.commitment);
    sealed.extend_from_slice(plain);
    let text = sealed.get_mut(HEADER_BYTES..).unwrap_or_default();
    let data = Aad::from(place.associated_data());
    let tag = secrets
        .cipher
        .seal_in_place_separate_tag(nonce(), data, text);
    sealed.extend_from_slice(tag.map_err(|_length| SealFailure)?.as_ref());
    Ok(sealed)
}

fn open(key: &SealingKey, place: RecordPlace, parts: &SealedParts<'_>) -> Option<Vec<u8>> {
    let secrets = key.secrets(place, parts.salt).ok()?;
    if !is_equal(&secrets.commitment, parts.commitment) {
        return None;
    }
    let mut text = parts.ciphertext.to_vec();
    let data = Aad::from(place.associated_data());
    let length = secrets.cipher.open_in_place(nonce(), data, &mut text);
    let length = length.ok()?.len();
    text.truncate(length);
    Some(text)
}

/// Compares two commitments in a time that does not depend on their content.
fn is_equal(one: &[u8; COMMITMENT_BYTES], other: &[u8; COMMITMENT_BYTES]) -> bool {
    let pairs = one.iter().zip(other);
    let difference = pairs.fold(0, |difference, (one, other)| difference | (one ^ other));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests;
