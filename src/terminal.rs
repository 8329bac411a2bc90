//! The output of the commands: prints results to standard output, and everything else to standard error.
//!
//! The commands print events, and answers of other systems. Both can contain control characters, so this module
//! replaces the control characters in all output.

use std::fmt::Display;
use std::io::Write as _;

/// Prints one line of a command's result to standard output. A closed pipe is not an error: the program at the other
/// end of the pipe, such as `head`, can stop early.
pub(crate) fn print_result(line: impl Display) {
    let _unread: std::io::Result<()> = writeln!(std::io::stdout(), "{}", printable_lines(&line));
}

/// Prints one line about the command's progress or its errors to standard error.
pub(crate) fn print_notice(line: impl Display) {
    let _unread: std::io::Result<()> = writeln!(std::io::stderr(), "{}", printable_lines(&line));
}

/// Replaces the last line on a terminal by a line about the command's progress.
pub(crate) fn print_status(line: impl Display) {
    let line = printable(&line.to_string());
    let mut terminal = std::io::stderr();
    let _unread: std::io::Result<()> = write!(terminal, "\r{line}\u{1b}[K");
    let _unread: std::io::Result<()> = terminal.flush();
}

/// Replaces every control character, including line feeds, with U+FFFD.
pub(crate) fn printable(text: &str) -> String {
    let is_printable = |c: char| !c.is_control() && !changes_the_order(c);
    text.chars()
        .map(|c| if is_printable(c) { c } else { '\u{fffd}' })
        .collect()
}

/// Returns whether a character changes the order in which a terminal or a page shows the characters of a line, or ends the line.
/// An id with such a character could look like another id.
pub(crate) const fn changes_the_order(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Replaces every control character except line feeds with U+FFFD, in a text of several lines.
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
        assert_eq!(printable("\u{202e}1-e\u{2028}x"), "\u{fffd}1-e\u{fffd}x");
        let text = "a\u{1b}[2J\r\nb\t";
        assert_eq!(printable(text), "a\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(printable_lines(&text), "a\u{fffd}[2J\u{fffd}\nb\u{fffd}");
    }
}
