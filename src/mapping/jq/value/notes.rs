//! Notes the lists and conditions that an expression reads, for the arrays that the expression makes.
//!
//! `.[]` of an absent list has no results, like `.[]` of an empty list. An array of no results would state that the
//! customer has an empty list, so the interpreter must know the difference. jaq passes no context to the values that it
//! works on, so the notes are a thread-local variable, like the budget.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::Val;

/// The lists and conditions that an expression has read since the beginning of an array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::mapping::jq) struct ReadNotes {
    has_absent_list: bool,
    has_null_list: bool,
    has_absent_condition: bool,
    has_present_condition: bool,
}

thread_local! {
    static NOTES: Cell<ReadNotes> = const {
        Cell::new(ReadNotes {
            has_absent_list: false,
            has_null_list: false,
            has_absent_condition: false,
            has_present_condition: false,
        })
    };
}

/// What the expression `body.split` has read since its beginning.
#[derive(Clone, Default)]
pub(in crate::mapping::jq) struct SplitNotes {
    /// Whether the expression has read the items of a list or an object without items. `empty` and `select` do the same
    /// if they leave out a value.
    pub(in crate::mapping::jq) has_empty_list: bool,
    /// The first absent or null value whose items the expression has read.
    pub(in crate::mapping::jq) no_list: Option<Val>,
    /// The last item of a list of events, which is the item of the current event.
    item: Option<Val>,
    /// The absent members of the objects that the expression has made for the current event.
    absent: Vec<AbsentMember>,
}

/// A member that an object of an expression lacks, because the body has no value for it.
#[derive(Clone)]
pub(in crate::mapping::jq) struct AbsentMember {
    pub(super) name: Rc<str>,
    /// The absent value, with its place in the body.
    pub(super) value: Val,
}

/// The maximum number of noted absent members. Only the place of an error reads the notes, so a run for the events of a body
/// soon notes nothing more.
const ABSENT_MAX: usize = 32;

thread_local! {
    static SPLIT: RefCell<SplitNotes> = RefCell::default();
}

/// Notes that the expression reads the items of a value.
pub(super) fn iteration(list: &Val, is_empty: bool) {
    if is_empty {
        SPLIT.with_borrow_mut(|notes| {
            if list.is_absent_or_null() {
                notes.no_list.get_or_insert_with(|| list.clone());
            } else {
                notes.has_empty_list = true;
            }
        });
    }
}

/// Notes the item of a list of events. The expression computes the next event from this item.
pub(in crate::mapping::jq) fn event_item(item: &Val) {
    SPLIT.with_borrow_mut(|notes| notes.item = Some(item.clone()));
}

/// Notes the absent members of an object that the expression makes. If the object is a member of another object, and all
/// its own members are absent, then the member of the outer object is absent at the same place: only the outer object
/// counts.
pub(super) fn absent_members(members: Vec<AbsentMember>) {
    SPLIT.with_borrow_mut(|notes| {
        let left = ABSENT_MAX.saturating_sub(notes.absent.len());
        if left == 0 {
            return;
        }
        let is_inner = |noted: &AbsentMember| {
            let mut outer = members.iter();
            outer.any(|member| member.value.has_origin_of(&noted.value))
        };
        notes.absent.retain(|noted| !is_inner(noted));
        notes.absent.extend(members.into_iter().take(left));
    });
}

impl SplitNotes {
    /// Begins the evaluation of an expression.
    pub(in crate::mapping::jq) fn begin() {
        SPLIT.take();
    }

    /// Returns the item and the absent members of the event that the expression has just made. The next event has absent
    /// members of its own.
    pub(in crate::mapping::jq) fn of_event() -> (Option<Val>, Vec<AbsentMember>) {
        SPLIT.with_borrow_mut(|notes| (notes.item.clone(), std::mem::take(&mut notes.absent)))
    }

    /// Ends the evaluation of an expression and returns its notes.
    pub(in crate::mapping::jq) fn end() -> Self {
        SPLIT.take()
    }
}

/// Notes that the expression reads the items of an absent list.
pub(super) fn absent_list() {
    NOTES.set(ReadNotes {
        has_absent_list: true,
        ..NOTES.get()
    });
}

/// Notes that the expression reads the items of null.
pub(super) fn null_list() {
    NOTES.set(ReadNotes {
        has_null_list: true,
        ..NOTES.get()
    });
}

/// Notes that the expression reads a condition.
pub(in crate::mapping::jq) fn condition(is_absent: bool) {
    let notes = NOTES.get();
    NOTES.set(ReadNotes {
        has_absent_condition: notes.has_absent_condition || is_absent,
        has_present_condition: notes.has_present_condition || !is_absent,
        ..notes
    });
}

impl ReadNotes {
    /// Begins an array. The caller gives the returned notes of the outer array to [`Self::end`].
    pub(in crate::mapping::jq) fn begin() -> Self {
        NOTES.replace(Self::default())
    }

    /// Ends an array, and returns the notes of the array.
    pub(in crate::mapping::jq) fn end(outer: Self) -> Self {
        NOTES.replace(outer)
    }

    /// Returns whether an array has no items because the lists or all conditions that the expression read are absent.
    pub(super) const fn is_absent(self) -> bool {
        self.has_absent_list || (self.has_absent_condition && !self.has_present_condition)
    }

    /// Returns whether an array has no items because a list that the expression read is null.
    pub(super) const fn is_null(self) -> bool {
        self.has_null_list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An array inside an array has notes of its own.
    #[test]
    fn an_inner_array_leaves_the_notes_of_the_outer_array() {
        let before = ReadNotes::begin();
        absent_list();
        let outer = ReadNotes::begin();
        assert!(!ReadNotes::end(outer).is_absent());
        assert!(ReadNotes::end(before).is_absent());
    }
}
