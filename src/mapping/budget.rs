//! The budget of one event. The budget limits the total time and memory of all expressions that read the event.
//!
//! The budget is a number of steps. An expression takes one step for each value that it visits or makes, and one more
//! step for each 64 bytes of text. A limit on the steps therefore limits time and memory. A compiled plan takes steps
//! only for the bytes that the plan reads or makes. The interpreter jaq takes steps for every operation. Each
//! interpreted expression also has its own limit of steps.
//!
//! jaq passes no context to the values that it works on, so the budget is a thread-local variable. When the steps run
//! out, every later call of [`take`] in the same run of jaq fails. `try` in an expression can hide this error, and a
//! comparison cannot report it, but the result of [`end`] shows that the steps ran out.

use std::cell::{Cell, RefCell};

use serde_json::Value;

/// The number of steps for all expressions of one event. A step takes about 0.1 µs and needs at most about 250 bytes.
/// An event of 60 fields takes a few hundred steps.
pub(super) const EVENT_STEPS_MAX: u32 = 100_000;
/// The number of steps of one interpreted expression. An expression that reads the data of a customer needs far fewer
/// steps.
pub(super) const EXPRESSION_STEPS_MAX: u32 = 50_000;
/// The number of steps of the expression `body.split`, which reads a whole body. A body has at most 256 KiB and 10,000
/// keys, so the expression can visit each member of the body sixteen times. All steps take about 22 ms: together
/// with the steps of an event, the body takes less than 50 ms.
pub(super) const SPLIT_STEPS_MAX: u32 = 160_000;
/// The number of steps for copying all events that the expression `body.split` returns for one body. The steps suffice
/// for 8 MiB of text.
///
/// `body.split` can return the same part of the body in each event, so the events together can be much longer than the
/// body. The bridge stores every event in full.
pub(super) const SPLIT_COPY_STEPS_MAX: u32 = 131_072;
/// The number of bytes of text that cost one step.
const STEP_BYTES: usize = 64;
/// The number of bytes that cost one step in a text of which a function looks at each character. Reading a byte, changing it
/// or hashing it takes longer than copying it.
const WORK_STEP_BYTES: usize = 16;
/// The number of steps for an object, without the steps for its members. A map reserves memory for eleven members.
pub(super) const OBJECT_STEPS: usize = 4;

/// The rule name in the error of an expression that exceeds the budget.
pub const RULE: &str = "budget";
/// The detail in the error of an expression that exceeds the budget.
pub(super) const EXCEEDED: &str =
    "This event makes the expression exceed its limit of time and memory.";

#[derive(Clone, Copy, Debug)]
struct Budget {
    /// The number of steps that are left. `None` means that a caller of [`take`] asked for more steps than were left.
    left: Option<u32>,
    /// The steps of the event that exceed the limit of the running interpreted expression. [`end`] gives these steps
    /// back to the event.
    reserved: u32,
    /// Whether an expression has exceeded the budget since the last call of [`begin_event`].
    is_exceeded: bool,
}

thread_local! {
    static BUDGET: Cell<Budget> = const {
        Cell::new(Budget { left: Some(EVENT_STEPS_MAX), reserved: 0, is_exceeded: false })
    };
    /// The places that the interpreted expression has read, as JSON Pointers. `None` means that the run logs no places.
    static PLACES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Starts the budget of a new event with `steps` steps.
pub(super) fn begin_event(steps: u32) {
    BUDGET.set(Budget {
        left: Some(steps),
        reserved: 0,
        is_exceeded: false,
    });
}

/// Begins a run of an interpreted expression. The run can take at most `steps` of the steps that the event has left. If
/// `is_logged` is true, the run logs the places that the expression reads.
pub(super) fn begin(steps: u32, is_logged: bool) {
    let budget = BUDGET.get();
    let event = budget.left.unwrap_or(0);
    let granted = event.min(steps);
    BUDGET.set(Budget {
        left: Some(granted),
        reserved: event.saturating_sub(granted),
        ..budget
    });
    PLACES.set(is_logged.then(Vec::new));
}

/// Ends a run of an interpreted expression. Returns the logged places, and whether the steps sufficed.
///
/// If the steps did not suffice, the caller must not use any result of the run.
pub(super) fn end() -> (Vec<String>, bool) {
    let budget = BUDGET.get();
    BUDGET.set(Budget {
        left: Some(budget.reserved.saturating_add(budget.left.unwrap_or(0))),
        reserved: 0,
        ..budget
    });
    (PLACES.take().unwrap_or_default(), budget.left.is_some())
}

/// Returns whether an expression has exceeded the budget since the last call of [`begin_event`].
pub(super) fn is_exceeded() -> bool {
    BUDGET.get().is_exceeded
}

/// Uses up all remaining steps.
pub(super) fn exhaust() {
    take(usize::MAX);
}

/// Takes `steps` from the budget. Returns `false` if fewer steps were left. After a call has returned `false`, every
/// call returns `false` until the next call of [`begin_event`], [`begin`] or [`end`].
pub(super) fn take(steps: usize) -> bool {
    let budget = BUDGET.get();
    let left = match (budget.left, u32::try_from(steps)) {
        (Some(left), Ok(steps)) => left.checked_sub(steps),
        (_, _) => None,
    };
    BUDGET.set(Budget {
        left,
        is_exceeded: budget.is_exceeded || left.is_none(),
        ..budget
    });
    left.is_some()
}

/// Logs a place of the event, if the run logs places. A long place takes steps, so the budget limits the size of the
/// log.
pub(super) fn log(place: impl FnOnce() -> String) {
    PLACES.with_borrow_mut(|places| {
        if let Some(places) = places
            && take(0)
        {
            let place = place();
            if take(place.len() / STEP_BYTES) {
                places.push(place);
            }
        }
    });
}

/// Returns the number of steps for a text.
pub(super) const fn text_steps(text: &str) -> usize {
    text.len() / STEP_BYTES + 1
}

/// Returns the number of steps for a text of which a function looks at each character.
pub(super) const fn work_steps(text: &str) -> usize {
    text.len() / WORK_STEP_BYTES + 1
}

/// Returns the number of steps for hashing the JSON of a value. In JSON, a control character has six bytes.
pub(super) fn hash_steps(value: &Value) -> usize {
    let text_steps = |text: &str| {
        let bytes = text.bytes().map(|byte| match byte {
            0..=0x1f => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        });
        bytes.sum::<usize>() / WORK_STEP_BYTES + 1
    };
    match value {
        Value::Null | Value::Bool(_) => 1,
        // The longest number has 24 digits and signs.
        Value::Number(_) => 2,
        Value::String(text) => text_steps(text),
        Value::Array(items) => items.iter().map(hash_steps).sum::<usize>() + 1,
        Value::Object(members) => {
            let members = members.iter();
            let steps = members.map(|(key, member)| text_steps(key) + hash_steps(member));
            steps.sum::<usize>() + 1
        }
    }
}

/// Returns the number of steps for the name of a member, without the steps for the value of the member.
pub(super) const fn key_steps(key: &str) -> usize {
    key.len() / STEP_BYTES
}

/// Returns the number of steps for a value and everything inside the value.
pub(super) fn value_steps(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => text_steps(text),
        Value::Array(items) => items.iter().map(value_steps).sum::<usize>() + 1,
        Value::Object(members) => {
            let members = members.iter();
            let steps = members.map(|(key, member)| key_steps(key) + value_steps(member));
            steps.sum::<usize>() + OBJECT_STEPS
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_budget_is_taken_step_by_step_and_stays_empty() {
        begin_event(10);
        begin(3, false);
        assert!(take(1));
        assert!(take(2), "the last step can be taken");
        assert!(take(0));
        assert!(!is_exceeded());
        assert!(!take(1));
        assert!(!take(0), "an overdrawn budget stays overdrawn");
        assert!(!end().1);
        assert!(is_exceeded());
        begin(7, false);
        assert!(take(7), "the event keeps the steps that no expression took");
        assert!(end().1);
        assert!(!take(1), "the expressions of an event share its steps");
        begin(5, false);
        assert!(!take(1));
        assert!(!end().1);
        begin_event(u32::MAX);
        assert!(!is_exceeded());
        assert!(!take(usize::MAX));
        begin_event(5);
        exhaust();
        assert!(!take(0));
    }

    #[test]
    fn an_expression_gives_back_the_steps_that_it_does_not_take() {
        begin_event(10);
        begin(8, false);
        assert!(take(1));
        assert!(end().1);
        assert!(take(9));
        assert!(!take(1));
    }

    #[test]
    fn places_are_logged_only_when_asked_for() {
        begin_event(10);
        begin(1, true);
        log(|| "/a".to_owned());
        log(|| "/long".repeat(100));
        log(|| "/b".to_owned());
        assert_eq!(end().0, ["/a"], "a long place exceeds the budget");
        begin(1, true);
        assert!(end().0.is_empty(), "a run sees only its own places");
        begin(1, false);
        log(|| "/a".to_owned());
        assert!(end().0.is_empty());
    }

    #[test]
    fn steps_count_values_and_bytes() {
        for (value, steps) in [
            (json!(null), 1),
            (json!("x".repeat(63)), 1),
            (json!("x".repeat(64)), 2),
            (json!([1, [2]]), 4),
            (json!({"a": 1}), 5),
            (json!({"k".repeat(128): {}}), 10),
        ] {
            assert_eq!(value_steps(&value), steps, "{value}");
        }
    }
}
