//! The state of the sealing of a store: which key has which use, and what is left to seal again.

use std::collections::BTreeSet;

use super::sealer::UsedKey;
use crate::sealing::{KeyId, KeyRing};

/// The use of one sealing key for a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// The key seals new records.
    Seals,
    /// The key seals as soon as every replica has it.
    Waits,
    /// Records that an earlier process or an earlier key ring has sealed need the key.
    Opens,
    /// No record needs the key.
    Removable,
    /// Records need the key, and the process does not have it.
    Missing,
}

impl KeyUse {
    /// Returns the word of the use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seals => "seals",
            Self::Waits => "waits",
            Self::Opens => "opens",
            Self::Removable => "removable",
            Self::Missing => "missing",
        }
    }
}

/// The state of the sealing of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealingStatus {
    /// The keys of the process, and the keys that the process lacks, each with its use.
    pub keys: Vec<(KeyId, KeyUse)>,
    /// True if some records are possibly not sealed.
    pub has_plain: bool,
    /// True if the files of the store possibly contain remains of records that were not sealed. The next start erases
    /// them.
    pub has_remains: bool,
    /// The number of lanes that wait for a missing key.
    pub locked_lanes: usize,
    /// The number of entries, lanes and audit records that the bridge has yet to look at, to seal them again with the
    /// newest key.
    pub left: u64,
}

impl SealingStatus {
    /// Derives the use of each key from the key ring of the process and the keys that the store uses.
    pub(super) fn of(ring: &KeyRing, used: &BTreeSet<UsedKey>) -> Self {
        let own = ring.ids().map(|id| {
            let key_use = if ring.newest() == Some(id) {
                KeyUse::Seals
            } else if ring.is_waiting(id) {
                KeyUse::Waits
            } else if used.contains(&UsedKey::Key(id)) {
                KeyUse::Opens
            } else {
                KeyUse::Removable
            };
            (id, key_use)
        });
        let missing = used.iter().filter_map(|used| used.id());
        let missing = missing.filter(|id| !ring.has(*id));
        Self {
            keys: own.chain(missing.map(|id| (id, KeyUse::Missing))).collect(),
            has_plain: used.contains(&UsedKey::Plain),
            ..Self::default()
        }
    }

    /// Returns the ids of the keys with this use.
    pub fn with(&self, wanted: KeyUse) -> impl Iterator<Item = KeyId> {
        let keys = self.keys.iter();
        keys.filter(move |(_, key_use)| *key_use == wanted)
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::sealing::SealingKey;

    fn key(seed: u8) -> SealingKey {
        let hex: String = (0..32).map(|byte| format!("{:02x}", byte ^ seed)).collect();
        SealingKey::parse(&SecretString::from(hex)).unwrap()
    }

    #[test]
    fn every_key_has_one_use() {
        let ring = KeyRing::new([key(1), key(2), key(3)]);
        let used = [1, 3, 4].map(|seed| UsedKey::Key(key(seed).id()));
        let status = SealingStatus::of(&ring, &BTreeSet::from(used));
        let with = |key_use| status.with(key_use).collect::<Vec<_>>();
        assert_eq!(with(KeyUse::Opens), [key(1).id()]);
        assert_eq!(with(KeyUse::Removable), [key(2).id()]);
        assert_eq!(with(KeyUse::Seals), [key(3).id()]);
        assert_eq!(with(KeyUse::Missing), [key(4).id()]);
        assert!(!status.has_plain);
        let shared = ring.sealing_with(|id| id == key(1).id());
        let status = SealingStatus::of(&shared, &BTreeSet::from(used));
        let with = |key_use| status.with(key_use).collect::<BTreeSet<_>>();
        assert_eq!(with(KeyUse::Seals), BTreeSet::from([key(1).id()]));
        assert_eq!(
            with(KeyUse::Waits),
            [2, 3].map(|seed| key(seed).id()).into()
        );
        let plain = SealingStatus::of(&KeyRing::default(), &BTreeSet::from([UsedKey::Plain]));
        assert!(plain.has_plain && plain.keys.is_empty());
    }
}
