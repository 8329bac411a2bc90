//! Decides when the store keeps a reserve of disk space, and when it accepts events.
//!
//! Deliveries need space: each settlement goes into the write-ahead log first, and the store file grows when the store
//! writes the log back. A process that starts on a full disk needs space too. The store therefore keeps a file of
//! [`RESERVE_BYTES`] beside itself, while the disk has space. On a full disk, the store removes the file, and the
//! deliveries go on in its space. The store accepts events only with space to spare, so no event takes the space of the
//! deliveries.

/// The size of the write-ahead log at which the store writes the log back into the store file.
pub(super) const LOG_BYTES: u64 = 32 * 1024 * 1024;

/// The size of the reserve.
///
/// On a full disk, the store first writes the log back, so that the log can be truncated. If all pages of the log are
/// new, the store file grows by the whole log: by [`LOG_BYTES`], and by the group of events whose commit filled the log,
/// which takes less than [`INTAKE_BYTES`].
pub(super) const RESERVE_BYTES: u64 = LOG_BYTES + INTAKE_BYTES;

/// The store accepts events only while the disk has this much free space beside the reserve. The space is enough for one
/// group of events with its index rows, and for the settlements of all lanes in flight.
pub(super) const INTAKE_BYTES: u64 = 16 * 1024 * 1024;

/// The part of [`INTAKE_BYTES`] that must be free on the disk itself, and not in unused pages of the store file: the
/// write-ahead log takes no unused pages.
pub(super) const INTAKE_LOG_BYTES: u64 = 8 * 1024 * 1024;

/// With less free space than this, the store gives the reserve back before it writes: a group of settlements possibly
/// finds the disk full. The store makes the reserve again only when [`INTAKE_LOG_BYTES`] stay free beside it, so a disk
/// that is almost full does not make the store remove and make the file again and again.
const RELEASE_BYTES: u64 = 4 * 1024 * 1024;

/// The state of the reserve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reserve {
    /// The reserve exists.
    Held,
    /// The store has given the reserve back, or has found no space for it. The store accepts no events. It makes the
    /// reserve as soon as the disk has space.
    #[default]
    Missing,
    /// The operating system refuses the file for another reason than space, for example a limit on the size of files.
    /// The store tries again at the next start.
    Impossible,
}

/// What the store knows of its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskState {
    /// The state of the reserve.
    pub reserve: Reserve,
    /// True if the disk had too little space for events when the store last looked, or if it refused the last write.
    pub lacks_space: bool,
}

impl DiskState {
    /// The state of a disk of which the store keeps no reserve, and whose space it cannot see.
    pub(super) const HELD: Self = Self {
        reserve: Reserve::Held,
        lacks_space: false,
    };

    /// Returns whether the store refuses events because of its disk.
    pub fn is_full(self) -> bool {
        self.lacks_space || self.reserve == Reserve::Missing
    }
}

/// The space that a write can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// The free space of the disk in bytes.
    pub(super) free: u64,
    /// The unused pages of the store file in bytes.
    pub(super) unused: u64,
}

/// What the store does with the reserve before it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReserveStep {
    Keep,
    GiveBack,
    Make,
}

impl Room {
    /// Returns whether the space is enough for events.
    pub(super) const fn takes_events(self) -> bool {
        self.free >= INTAKE_LOG_BYTES && self.free.saturating_add(self.unused) >= INTAKE_BYTES
    }

    /// Returns the space that the reserve leaves.
    const fn beside_reserve(self) -> Self {
        Self {
            free: self.free.saturating_sub(RESERVE_BYTES),
            unused: self.unused,
        }
    }
}

impl Reserve {
    /// Returns what the store does with the reserve before it writes.
    pub(super) const fn step(self, room: Room) -> ReserveStep {
        match self {
            Self::Held if is_short(room.free) => ReserveStep::GiveBack,
            Self::Missing if room.beside_reserve().takes_events() => ReserveStep::Make,
            Self::Held | Self::Missing | Self::Impossible => ReserveStep::Keep,
        }
    }

    /// Returns whether the store accepts events.
    pub(super) const fn takes_events(self, room: Room) -> bool {
        match self {
            Self::Held | Self::Impossible => room.takes_events(),
            Self::Missing => false,
        }
    }
}

/// Returns whether the free space of the disk is so short that the store needs the reserve.
pub(super) const fn is_short(free: u64) -> bool {
    free < RELEASE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn room(free: u64, unused: u64) -> Room {
        Room { free, unused }
    }

    /// FAULTS N770: the store needs the reserve before the disk is full, and makes it again only with space to spare.
    #[test]
    fn the_reserve_is_given_back_on_a_full_disk_and_made_again_with_space() {
        let table = [
            (Reserve::Held, room(0, 0), ReserveStep::GiveBack),
            (Reserve::Held, room(4 * MIB - 1, 0), ReserveStep::GiveBack),
            (Reserve::Held, room(4 * MIB, 0), ReserveStep::Keep),
            (Reserve::Missing, room(64 * MIB - 1, 0), ReserveStep::Keep),
            (Reserve::Missing, room(64 * MIB, 0), ReserveStep::Make),
            (
                Reserve::Missing,
                room(56 * MIB - 1, 99 * MIB),
                ReserveStep::Keep,
            ),
            (Reserve::Missing, room(56 * MIB, 8 * MIB), ReserveStep::Make),
            (Reserve::Impossible, room(0, 0), ReserveStep::Keep),
            (Reserve::Impossible, room(99 * MIB, 0), ReserveStep::Keep),
        ];
        for (reserve, room, step) in table {
            assert_eq!(reserve.step(room), step, "{reserve:?} {room:?}");
        }
    }

    /// FAULTS N770: the steps do not alternate: after each step, the store keeps the state.
    #[test]
    fn no_free_space_makes_the_store_remove_and_make_the_reserve_again_and_again() {
        for unused in [0, 8 * MIB, 999 * MIB] {
            for free in (0..160).map(|half| half * MIB / 2) {
                assert_no_alternation(free, unused);
            }
        }
    }

    fn assert_no_alternation(free: u64, unused: u64) {
        let given_back = room(free + RESERVE_BYTES, unused);
        if Reserve::Held.step(room(free, unused)) == ReserveStep::GiveBack {
            assert_eq!(Reserve::Missing.step(given_back), ReserveStep::Keep);
        }
        if Reserve::Missing.step(given_back) == ReserveStep::Make {
            let made = room(free, unused);
            assert_eq!(Reserve::Held.step(made), ReserveStep::Keep);
            assert!(Reserve::Held.takes_events(made));
        }
    }

    #[test]
    fn events_need_the_reserve_and_more_space() {
        for (reserve, room, expected) in [
            (Reserve::Held, room(16 * MIB, 0), true),
            (Reserve::Held, room(16 * MIB - 1, 0), false),
            (Reserve::Held, room(8 * MIB, 8 * MIB), true),
            (Reserve::Held, room(8 * MIB - 1, 99 * MIB), false),
            (Reserve::Missing, room(999 * MIB, 0), false),
            (Reserve::Impossible, room(16 * MIB, 0), true),
        ] {
            assert_eq!(reserve.takes_events(room), expected, "{reserve:?} {room:?}");
        }
    }
}
