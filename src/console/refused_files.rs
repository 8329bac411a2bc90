//! What the sentence of the overview says about new source files with errors: the bridge uses the files from before. Pure.

use crate::ops::operate::RefusedSet;

/// The state in a headline.
pub(super) const NOT_IN_USE: &str = "Delivering, but new source files are not in use";
/// What an operator does about it.
pub(super) const CORRECT: &str = "Correct the files, or put the previous files back: Sources shows every error. The bridge reads the files again by itself.";
/// The maximum number of characters of an error.
const ERROR_CHARS_MAX: usize = 200;

/// Returns the cause: the first error, and the number of errors.
pub(super) fn not_in_use(refused: &RefusedSet) -> String {
    let first = refused.errors.first();
    let first = first.map(|error| shortened(error.lines().next().unwrap_or_default()));
    let errors = match (refused.errors.len(), first) {
        (_, None) => "errors.".to_owned(),
        (1, Some(first)) => format!("an error: {first}"),
        (count, Some(first)) => format!("{count} errors. The first: {first}"),
    };
    let end = if errors.ends_with('.') { "" } else { "." };
    format!("The bridge uses the files from before, because the new ones have {errors}{end}")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(ERROR_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn the_first_error_is_told_in_one_line() {
        let said = |errors: &[&str]| {
            not_in_use(&RefusedSet {
                since: Timestamp::from_millis(0),
                errors: errors.iter().map(ToString::to_string).collect(),
            })
        };
        let begin = "The bridge uses the files from before, because the new ones have";
        assert_eq!(said(&[]), format!("{begin} errors."));
        assert_eq!(said(&["a.\nb"]), format!("{begin} an error: a."));
        assert_eq!(
            said(&["a", "b"]),
            format!("{begin} 2 errors. The first: a.")
        );
        let long = "ä".repeat(300);
        assert_eq!(
            said(&[&long]),
            format!("{begin} an error: {}….", "ä".repeat(200))
        );
    }
}
