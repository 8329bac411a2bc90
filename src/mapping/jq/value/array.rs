//! Decides what an array states that the expression has made.

use super::notes::ReadNotes;
use super::{Val, ValContent};

impl Val {
    /// Returns an array that the expression made, or absent.
    ///
    /// An array is absent if no item reads a present value of the event: every item that is not a constant is absent, or
    /// the array has no such item because the lists that the expression read are absent. `constants` is the number of
    /// items that are constants. As in jq, the array leaves out the results of `t?` after an error of `t`.
    pub(in crate::mapping::jq) fn or_absent(self, constants: usize, notes: ReadNotes) -> Self {
        let ValContent::Array(items, _) = &self.content else {
            return self;
        };
        let present = items.iter().filter(|item| !item.is_absent()).count();
        let has_absent_items = items.len() > constants;
        if present <= constants && (has_absent_items || notes.is_absent()) {
            return Self::ABSENT;
        }
        if items.is_empty() && notes.is_null() {
            return Self::NULL;
        }
        if items.iter().any(Self::is_hidden) {
            return items
                .iter()
                .filter(|item| !item.is_hidden())
                .cloned()
                .collect();
        }
        self
    }
}
