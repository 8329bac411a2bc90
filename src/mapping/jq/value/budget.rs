//! The expression that runs: how many steps it has taken, and what it has looked at.
//!
//! jaq hands no context to the values it works on, so this is kept beside them, one for each thread.

use std::cell::RefCell;

use super::{Answer, failed};

/// What is known of the expression that runs.
#[derive(Debug, Default)]
struct Budget {
    /// How many steps are left; none means that there was one too few.
    left: Option<u32>,
    /// The places that were looked at, where somebody wants to know.
    seen: Option<Vec<String>>,
}

thread_local! {
    static BUDGET: RefCell<Budget> = RefCell::default();
}

/// Begins to count down from `steps`; `watched` says whether the places are noted.
pub(in crate::mapping::jq) fn begin(steps: u32, watched: bool) {
    BUDGET.with_borrow_mut(|run| {
        run.left = Some(steps);
        run.seen = watched.then(Vec::new);
    });
}

/// The places that were looked at, and whether there were steps enough. If not, no result can be trusted: a comparison
/// cannot fail, and `try` can hide what failed.
pub(in crate::mapping::jq) fn end() -> (Vec<String>, Answer<()>) {
    let seen = BUDGET.with_borrow_mut(|run| run.seen.take().unwrap_or_default());
    (seen, spend(0))
}

/// Leaves no steps.
pub(super) fn exhaust() {
    BUDGET.with_borrow_mut(|run| run.left = None);
}

/// Takes steps, or refuses because there are too few left.
pub(super) fn spend(steps: usize) -> Answer<()> {
    let steps = u32::try_from(steps).ok();
    let left = BUDGET.with_borrow_mut(|run| {
        run.left = run
            .left
            .zip(steps)
            .and_then(|(left, steps)| left.checked_sub(steps));
        run.left
    });
    left.map(|_enough| ())
        .ok_or_else(|| failed("This event makes the expression do more than it may."))
}

/// Notes a place, where somebody wants to know.
pub(super) fn note(place: impl FnOnce() -> String) {
    BUDGET.with_borrow_mut(|run| {
        if let Some(seen) = &mut run.seen {
            seen.push(place());
        }
    });
}
