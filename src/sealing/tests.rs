use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn key(seed: u8) -> SealingKey {
    let hex: String = (0..32_u8)
        .map(|byte| format!("{:02x}", byte.wrapping_mul(7) ^ seed))
        .collect();
    SealingKey::parse(&SecretString::from(hex)).unwrap()
}

const SALT: [u8; SALT_BYTES] = [5; SALT_BYTES];

const fn place(kind: u8, id: u64) -> RecordPlace {
    RecordPlace { kind, id }
}

fn sealed(ring: &KeyRing, place: RecordPlace, plain: &[u8]) -> Vec<u8> {
    ring.seal(place, plain, &SALT).unwrap().unwrap()
}

/// FAULTS N480: every class of bytes of a sealed record is covered: version, key id, salt, commitment, ciphertext, tag.
#[test]
fn every_flipped_bit_is_found() {
    let ring = KeyRing::new([key(1), key(2)]);
    let record = sealed(&ring, place(3, 7), b"a customer");
    assert_eq!(ring.open(place(3, 7), &record).unwrap(), b"a customer");
    for at in 0..record.len() {
        for bit in 0..8 {
            let mut flipped = record.clone();
            flipped[at] ^= 1 << bit;
            let opened = ring.open(place(3, 7), &flipped);
            match at {
                1..9 => assert!(matches!(opened, Err(Unopened::MissingKey(_))), "{at} {bit}"),
                _ => assert_eq!(opened, Err(Unopened::Damaged), "{at} {bit}"),
            }
        }
    }
    for length in 0..record.len() {
        assert!(ring.open(place(3, 7), &record[..length]).is_err());
    }
    let longer = [record.as_slice(), b"\0"].concat();
    assert_eq!(ring.open(place(3, 7), &longer), Err(Unopened::Damaged));
}

/// FAULTS N480: a sealed record that somebody moves cannot be opened at its new place.
#[test]
fn a_record_opens_only_at_its_place() {
    let ring = KeyRing::new([key(1)]);
    let record = sealed(&ring, place(3, 7), b"a customer");
    for other in [place(3, 8), place(4, 7), place(3, 7 << 8), place(7, 3)] {
        assert_eq!(ring.open(other, &record), Err(Unopened::Damaged));
    }
}

/// FAULTS N480: a key of another ring with the same id would not fit the commitment.
#[test]
fn another_key_does_not_open_a_record() {
    let ring = KeyRing::new([key(1)]);
    let record = sealed(&ring, place(3, 7), b"a customer");
    let missing = Unopened::MissingKey(key(1).id());
    assert_eq!(
        KeyRing::new([key(2)]).open(place(3, 7), &record),
        Err(missing)
    );
    assert_eq!(KeyRing::default().open(place(3, 7), &record), Err(missing));
    let mut claimed = record;
    claimed[1..9].copy_from_slice(key(2).id().bytes());
    let ring = KeyRing::new([key(2)]);
    assert_eq!(ring.open(place(3, 7), &claimed), Err(Unopened::Damaged));
}

#[test]
fn the_newest_key_seals_and_every_key_opens() {
    let older = KeyRing::new([key(1)]);
    let both = KeyRing::new([key(1), key(2)]);
    let record = sealed(&older, place(1, 1), b"old");
    assert_eq!(key_of(&record), Some(key(1).id()));
    assert_eq!(both.open(place(1, 1), &record).unwrap(), b"old");
    assert_eq!(key_of(&sealed(&both, place(1, 1), b"")), Some(key(2).id()));
    assert!(KeyRing::default().is_empty());
    assert_eq!(KeyRing::default().seal(place(1, 1), b"x", &SALT), Ok(None));
}

/// FAULTS N481: the format of the stores of released versions never changes.
#[test]
fn a_record_of_an_older_program_is_opened() {
    let ring = KeyRing::new([key(1)]);
    assert_eq!(key(1).id().to_string(), KNOWN_ID);
    let record: String = sealed(&ring, place(2, 9), b"{}")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(record, KNOWN_RECORD);
}

/// A program of its own, in another language, has computed these values.
const KNOWN_ID: &str = "efb4f9b4540ddbf5";
const KNOWN_RECORD: &str = "01efb4f9b4540ddbf505050505050505050505050505050505d41a4da108159178152013de76dbba6e4967d6b12ed94a871aa5d92b66d6e537b23ae624a33284ad6a0f770bf3cbf819498b";

/// FAULTS X33: each record has its own encryption key, so equal contents have different ciphertexts.
#[test]
fn salt_kind_and_id_each_change_the_whole_record() {
    let ring = KeyRing::new([key(1)]);
    let other_salt = [6; SALT_BYTES];
    let records = [
        sealed(&ring, place(1, 1), &[0; 64]),
        sealed(&ring, place(2, 1), &[0; 64]),
        sealed(&ring, place(1, 2), &[0; 64]),
        ring.seal(place(1, 1), &[0; 64], &other_salt)
            .unwrap()
            .unwrap(),
    ];
    let texts: HashSet<&[u8]> = records
        .iter()
        .map(|record| &record[HEADER_BYTES..])
        .collect();
    assert_eq!(texts.len(), records.len());
}

#[test]
fn no_secret_is_printed() {
    let ring = KeyRing::new([key(1)]);
    let printed = format!("{ring:?} {:?}", key(1));
    assert!(!printed.contains("01080f"), "{printed}");
    assert!(printed.contains(&key(1).id().to_string()), "{printed}");
}

proptest! {
    /// FAULTS N480
    #[test]
    fn what_is_sealed_can_be_opened(
        plain in prop::collection::vec(any::<u8>(), 0..300),
        salt in any::<[u8; SALT_BYTES]>(),
        kind in any::<u8>(),
        id in any::<u64>(),
        flip in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let ring = KeyRing::new([key(1), key(2)]);
        let record = ring.seal(place(kind, id), &plain, &salt).unwrap().unwrap();
        prop_assert_eq!(record.len(), plain.len() + OVERHEAD_BYTES);
        prop_assert!(is_sealed(&record));
        prop_assert_eq!(ring.open(place(kind, id), &record), Ok(plain));
        let mut flipped = record;
        let at = flip.index(flipped.len());
        flipped[at] ^= 1 << bit;
        prop_assert!(ring.open(place(kind, id), &flipped).is_err());
        prop_assert!(ring.open(place(kind, id.wrapping_add(1)), &flipped).is_err());
    }
}
