//! Seals and opens the blobs of one open store: the key ring of the process, the keys that the store uses, and random
//! salts.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::random;
use crate::sealing::{
    KeyId, KeyRing, RecordPlace, SALT_BYTES, SealFailure, Unopened, is_sealed, key_of,
};

/// The number of salts that the store reads with one system call. A group commit of a busy bridge seals some hundred
/// blobs.
const SALTS: usize = 256;

/// The key ring of the process, and the keys that the store uses.
///
/// Only the writer thread and the commands for closed stores use a sealer, so a `RefCell` is enough.
#[derive(Debug)]
pub(super) struct Sealer {
    ring: RefCell<Arc<KeyRing>>,
    used: RefCell<BTreeSet<UsedKey>>,
    salts: RefCell<Vec<[u8; SALT_BYTES]>>,
}

/// A key that possibly seals records of the store, as the table `sealing_key` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UsedKey {
    /// Some records are possibly not sealed.
    Plain,
    Key(KeyId),
}

impl UsedKey {
    /// Returns the stored form: the id of the key, or no bytes for records that are not sealed.
    pub(super) const fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain => &[],
            Self::Key(id) => id.bytes(),
        }
    }

    /// Decodes the stored form. Returns `None` if it is damaged.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => Some(Self::Plain),
            bytes => KeyId::from_bytes(bytes).map(Self::Key),
        }
    }

    pub(super) const fn id(self) -> Option<KeyId> {
        match self {
            Self::Plain => None,
            Self::Key(id) => Some(id),
        }
    }

    /// Returns the key that seals new records with this key ring.
    pub(super) fn newest(ring: &KeyRing) -> Self {
        ring.newest().map_or(Self::Plain, Self::Key)
    }

    /// Returns the key of a stored blob. Returns `None` if the blob is damaged.
    pub(super) fn of_blob(blob: &[u8]) -> Option<Self> {
        if is_sealed(blob) {
            key_of(blob).map(Self::Key)
        } else {
            Some(Self::Plain)
        }
    }

    /// Returns whether a process with this key ring can read the records of the key.
    pub(super) fn is_readable(self, ring: &KeyRing) -> bool {
        self.id().is_none_or(|id| ring.has(id))
    }
}

/// The reason why a blob cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealFault {
    /// The store uses the key, but the process does not have the key.
    #[error("the sealing key {0} is missing")]
    MissingKey(KeyId),
    /// The blob is damaged, or belongs to another record, or a program without keys has written it.
    #[error("the sealed bytes are damaged")]
    Damaged,
    /// The operating system returned no random bytes for the salt.
    #[error("the operating system returned no random bytes")]
    NoRandomness(#[source] getrandom::Error),
    /// The encryption failed.
    #[error(transparent)]
    Failed(#[from] SealFailure),
}

impl Default for Sealer {
    /// Returns the sealer of a store whose records are not sealed.
    fn default() -> Self {
        Self::new(Arc::default(), BTreeSet::from([UsedKey::Plain]))
    }
}

impl Sealer {
    pub(super) const fn new(ring: Arc<KeyRing>, used: BTreeSet<UsedKey>) -> Self {
        Self {
            ring: RefCell::new(ring),
            used: RefCell::new(used),
            salts: RefCell::new(Vec::new()),
        }
    }

    /// Replaces the key ring of the process, and the keys that the store uses.
    pub(super) fn replace(&self, ring: Arc<KeyRing>, used: BTreeSet<UsedKey>) {
        self.ring.replace(ring);
        self.used.replace(used);
    }

    pub(super) fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.borrow())
    }

    /// Returns the keys that the store uses.
    pub(super) fn used(&self) -> BTreeSet<UsedKey> {
        self.used.borrow().clone()
    }

    /// Returns whether the process has a key, so that it seals every new record.
    pub(super) fn has_key(&self) -> bool {
        !self.ring.borrow().is_empty()
    }

    /// Returns whether the sealed update of a new entry is bound to what routes and orders it.
    pub(super) fn binds_updates(&self) -> bool {
        let ring = self.ring.borrow();
        !ring.is_empty() && !ring.has_older_form()
    }

    /// Returns whether some records of the store are possibly not sealed.
    pub(super) fn has_plain(&self) -> bool {
        self.used.borrow().contains(&UsedKey::Plain)
    }

    /// Returns whether the process lacks the sealing key of a stored blob.
    pub(super) fn lacks_key_of(&self, blob: &[u8]) -> bool {
        UsedKey::of_blob(blob).is_some_and(|key| !key.is_readable(&self.ring.borrow()))
    }

    /// Seals bytes with the newest key. Returns `None` if the process has no key.
    pub(super) fn seal(
        &self,
        place: RecordPlace,
        plain: &[u8],
    ) -> Result<Option<Vec<u8>>, SealFault> {
        let ring = self.ring.borrow();
        if ring.is_empty() {
            return Ok(None);
        }
        Ok(ring.seal(place, plain, &self.salt()?)?)
    }

    /// Opens a stored blob. Returns a blob that is not sealed as it is.
    pub(super) fn open<'a>(
        &self,
        place: RecordPlace,
        blob: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, SealFault> {
        if !is_sealed(blob) {
            self.accept_plain()?;
            return Ok(Cow::Borrowed(blob));
        }
        match self.ring.borrow().open(place, blob) {
            Ok(plain) => Ok(Cow::Owned(plain)),
            // A key that the store never used shows that the key id of the blob is damaged.
            Err(Unopened::MissingKey(key)) if self.used.borrow().contains(&UsedKey::Key(key)) => {
                Err(SealFault::MissingKey(key))
            }
            Err(Unopened::MissingKey(_) | Unopened::Damaged) => Err(SealFault::Damaged),
        }
    }

    /// Returns an error if every record of the store is sealed: a record that is not sealed is then damaged or forged.
    pub(super) fn accept_plain(&self) -> Result<(), SealFault> {
        if !self.has_key() || self.has_plain() {
            Ok(())
        } else {
            Err(SealFault::Damaged)
        }
    }

    fn salt(&self) -> Result<[u8; SALT_BYTES], SealFault> {
        let mut salts = self.salts.borrow_mut();
        if let Some(salt) = salts.pop() {
            return Ok(salt);
        }
        let mut bytes = [0; SALTS * SALT_BYTES];
        random::fill_random(&mut bytes).map_err(SealFault::NoRandomness)?;
        let (chunks, _) = bytes.as_chunks();
        salts.extend_from_slice(chunks);
        salts.pop().ok_or(SealFault::Failed(SealFailure))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use secrecy::SecretString;

    use super::*;
    use crate::sealing::SealingKey;

    const PLACE: RecordPlace = RecordPlace { kind: 1, id: 1 };

    fn key(seed: u8) -> SealingKey {
        let hex: String = (0..32).map(|byte| format!("{:02x}", byte ^ seed)).collect();
        SealingKey::parse(&SecretString::from(hex)).unwrap()
    }

    fn sealer(keys: &[u8], used: &[u8], plain: bool) -> Sealer {
        let used = used.iter().map(|seed| UsedKey::Key(key(*seed).id()));
        let plain = plain.then_some(UsedKey::Plain);
        let ring = KeyRing::new(keys.iter().map(|seed| key(*seed)));
        Sealer::new(Arc::new(ring), used.chain(plain).collect())
    }

    /// FAULTS X33: no two records have the same salt, also across several reads of the random source.
    #[test]
    fn salts_differ() {
        let sealer = sealer(&[1], &[1], false);
        let salts: HashSet<_> = (0..3 * SALTS).map(|_| sealer.salt().unwrap()).collect();
        assert_eq!(salts.len(), 3 * SALTS);
    }

    /// FAULTS N482, N483: a missing key is a condition of the process, and an unknown key id is damage.
    #[test]
    fn a_missing_key_is_told_from_damage() {
        let blob = sealer(&[1], &[1], false)
            .seal(PLACE, b"x")
            .unwrap()
            .unwrap();
        let fault = |keys: &[u8], used: &[u8]| {
            let sealer = sealer(keys, used, false);
            sealer.open(PLACE, &blob).map(Cow::into_owned)
        };
        assert_eq!(fault(&[1, 2], &[1, 2]).unwrap(), b"x");
        assert!(matches!(
            fault(&[2], &[1, 2]),
            Err(SealFault::MissingKey(_))
        ));
        assert!(matches!(fault(&[2], &[2]), Err(SealFault::Damaged)));
    }

    /// FAULTS N484: a plain record in a store whose records are all sealed is damaged or forged.
    #[test]
    fn a_plain_record_is_readable_while_the_store_has_plain_records() {
        let plain = sealer(&[1], &[1], true);
        assert_eq!(&*plain.open(PLACE, b"{}").unwrap(), b"{}");
        let sealed = sealer(&[1], &[1], false);
        assert!(matches!(sealed.open(PLACE, b"{}"), Err(SealFault::Damaged)));
        assert!(sealer(&[], &[], true).seal(PLACE, b"{}").unwrap().is_none());
    }

    #[test]
    fn a_used_key_has_a_stored_form() {
        for used in [UsedKey::Plain, UsedKey::Key(key(1).id())] {
            assert_eq!(UsedKey::from_bytes(used.bytes()), Some(used));
        }
        assert_eq!(UsedKey::from_bytes(b"short"), None);
        assert_eq!(UsedKey::of_blob(b"{}"), Some(UsedKey::Plain));
        assert_eq!(UsedKey::of_blob(b"\x01{}"), None);
    }
}
