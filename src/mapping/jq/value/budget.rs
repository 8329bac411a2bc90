//! The budget of the running interpreted expression: the number of steps left, and the places of the event that the
//! expression has read.
//!
//! jaq passes no context to the values that it works on, so the budget is a thread-local variable.

use std::cell::RefCell;

use super::{ValResult, failed};

#[derive(Debug, Default)]
struct Budget {
    /// The number of steps that are left, or `None` after a call of [`spend`] with more steps than were left.
    steps: Option<u32>,
    /// The places that the expression has read, if the run logs places.
    places: Option<Vec<String>>,
}

thread_local! {
    static BUDGET: RefCell<Budget> = RefCell::default();
}

/// Begins a run of an interpreted expression with a budget of `steps`. `is_logged` decides whether the run logs places.
pub(in crate::mapping::jq) fn begin(steps: u32, is_logged: bool) {
    BUDGET.with_borrow_mut(|budget| {
        budget.steps = Some(steps);
        budget.places = is_logged.then(Vec::new);
    });
}

/// Ends a run of an interpreted expression. Returns the logged places, and an error if the step budget did not suffice.
///
/// After a budget error the caller must not use any result, because a comparison cannot report the error, and `try` can
/// hide the error.
pub(in crate::mapping::jq) fn end() -> (Vec<String>, ValResult<()>) {
    let places = BUDGET.with_borrow_mut(|budget| budget.places.take().unwrap_or_default());
    (places, spend(0))
}

/// Uses up all remaining steps of the budget.
pub(super) fn exhaust() {
    BUDGET.with_borrow_mut(|budget| budget.steps = None);
}

/// Takes `steps` from the budget.
///
/// # Errors
/// Returns an error if fewer than `steps` steps are left. After the first error every later call of `spend` fails.
pub(super) fn spend(steps: usize) -> ValResult<()> {
    let steps = u32::try_from(steps).ok();
    let left = BUDGET.with_borrow_mut(|budget| {
        budget.steps = budget
            .steps
            .zip(steps)
            .and_then(|(left, steps)| left.checked_sub(steps));
        budget.steps
    });
    left.map(|_enough| ())
        .ok_or_else(|| failed("This event makes the expression exceed its step limit."))
}

/// Logs a place of the event, if the run logs places.
pub(super) fn log(place: impl FnOnce() -> String) {
    BUDGET.with_borrow_mut(|budget| {
        if let Some(places) = &mut budget.places {
            places.push(place());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_step_by_step_and_stays_empty() {
        begin(3, false);
        assert!(spend(1).is_ok());
        assert!(spend(2).is_ok(), "the last step can be spent");
        assert!(spend(0).is_ok());
        assert!(spend(1).is_err());
        assert!(spend(0).is_err(), "an overdrawn budget stays overdrawn");
        assert!(end().1.is_err());
        begin(1, false);
        assert!(end().1.is_ok(), "the next run starts with a full budget");
        begin(u32::MAX, false);
        assert!(spend(usize::MAX).is_err());
        begin(5, false);
        exhaust();
        assert!(end().1.is_err());
    }

    #[test]
    fn places_are_logged_only_when_asked_for() {
        begin(1, true);
        log(|| "/a".to_owned());
        assert_eq!(end().0, ["/a"]);
        begin(1, true);
        assert!(
            end().0.is_empty(),
            "a run does not see the places of the one before"
        );
        begin(1, false);
        log(|| "/a".to_owned());
        assert!(end().0.is_empty());
    }
}
