//! Output of the commands: results go to standard output, everything else to standard error.
//!
//! Events and answers of other systems are printed here, so control characters never reach the terminal.

use std::fmt::Display;
use std::io::Write as _;

/// Prints one line of a command's result to standard output. A closed pipe is no error: its reader has seen enough.
pub(crate) fn print_result(line: impl Display) {
    let _unread: std::io::Result<()> = writeln!(std::io::stdout(), "{}", printable_lines(&line));
}

/// Prints one line about the command's progress or its errors to standard error.
pub(crate) fn print_notice(line: impl Display) {
    let _unread: std::io::Result<()> = writeln!(std::io::stderr(), "{}", printable_lines(&line));
}

/// Replaces every control character, a line feed included, by U+FFFD.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Replaces every control character except line feeds by U+FFFD, in text of several lines.
fn printable_lines(text: &impl Display) -> String {
    let text = text.to_string();
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let text = "a\u{1b}[2J\r\nb\t";
        assert_eq!(printable(text), "a\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(printable_lines(&text), "a\u{fffd}[2J\u{fffd}\nb\u{fffd}");
    }
}
