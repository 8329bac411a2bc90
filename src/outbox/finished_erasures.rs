//! The erasures of the erasure journal that a store has finished. This module is pure.
//!
//! Several operators can erase at the same time, so a later erasure can end before an earlier one. An erasure that failed is
//! unfinished until the next start repeats it.

use std::collections::BTreeSet;

/// The numbers of the finished erasures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FinishedErasures {
    /// All erasures up to this number are finished.
    up_to: u64,
    /// The further finished erasures. The erasure after `up_to` is not one of them.
    later: BTreeSet<u64>,
}

impl FinishedErasures {
    /// The name of the setting with [`Self::up_to`].
    pub(super) const UP_TO: &str = "erasure_journal";
    /// The name of the setting with [`Self::later`]. A store without such erasures has no such setting.
    pub(super) const LATER: &str = "erasure_journal_later";

    /// Decodes the stored numbers. Returns `None` if they are damaged.
    pub(super) fn parse(up_to: u64, later: &str) -> Option<Self> {
        let later = later.split_ascii_whitespace().map(str::parse);
        let later: BTreeSet<u64> = later.collect::<Result<_, _>>().ok()?;
        let mut finished = Self { up_to, later };
        finished.close_gap();
        Some(finished)
    }

    pub(super) const fn up_to(&self) -> u64 {
        self.up_to
    }

    /// Returns the stored form of the finished erasures after [`Self::up_to`]. Returns `None` if there are none.
    pub(super) fn later(&self) -> Option<String> {
        let later: Vec<String> = self.later.iter().map(u64::to_string).collect();
        (!later.is_empty()).then(|| later.join(" "))
    }

    /// Returns the number of the newest finished erasure.
    pub(super) fn newest(&self) -> u64 {
        self.later.last().copied().unwrap_or(self.up_to)
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        number <= self.up_to || self.later.contains(&number)
    }

    /// Adds a finished erasure.
    pub(super) fn add(&mut self, number: u64) {
        if number > self.up_to {
            self.later.insert(number);
        }
        self.close_gap();
    }

    /// Gives up the erasures that are not finished, because an operator has replaced a lost journal by an empty file.
    pub(super) fn give_up(&mut self) {
        self.up_to = self.newest();
        self.later.clear();
    }

    fn close_gap(&mut self) {
        while self.later.remove(&self.up_to.saturating_add(1)) {
            self.up_to = self.up_to.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1110: the erasures end in any order.
    #[test]
    fn a_finished_erasure_counts_from_its_end_on() {
        let mut finished = FinishedErasures::parse(4, "").unwrap();
        for (number, up_to, later) in [
            (7, 4, Some("7")),
            (6, 4, Some("6 7")),
            (3, 4, Some("6 7")),
            (5, 7, None),
            (9, 7, Some("9")),
        ] {
            assert!(!finished.contains(number) || number == 3);
            finished.add(number);
            assert!(finished.contains(number));
            assert_eq!(finished.up_to(), up_to, "{number}");
            assert_eq!(finished.later().as_deref(), later, "{number}");
            let stored = finished.later().unwrap_or_default();
            assert_eq!(
                FinishedErasures::parse(up_to, &stored),
                Some(finished.clone())
            );
        }
        assert_eq!(finished.newest(), 9);
        assert!(!finished.contains(8));
        finished.give_up();
        assert_eq!((finished.up_to(), finished.later()), (9, None));
        assert_eq!(FinishedErasures::parse(1, "2 x"), None);
    }
}
