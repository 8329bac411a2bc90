//! Errors of TOML files that cannot be parsed. Some errors of the parser name a wrong cause, so the bridge adds
//! the most probable mistake in the line. The message does not repeat the line: the log has the message too, and the
//! line possibly contains a secret that somebody wrote into the file by mistake.

/// Returns the message of the TOML parser about `text`, with the most probable mistake.
pub(super) fn explained(error: &config::ConfigError, text: &str) -> String {
    let error = error.to_string();
    let cause = without_line(&error);
    match wrong_line(&error, text).and_then(hint) {
        Some(hint) => format!("{cause}\n  probable cause: {hint}"),
        None => cause,
    }
}

/// Returns the message of the TOML parser without the lines that repeat the text. The parser draws `|` into each of
/// these lines, behind the number of the line or behind spaces.
fn without_line(error: &str) -> String {
    let is_drawn = |line: &&str| {
        let number = line.trim_start_matches(|first: char| first == ' ' || first.is_ascii_digit());
        number.starts_with('|')
    };
    let lines = error.trim_end().lines().filter(|line| !is_drawn(line));
    lines.collect::<Vec<_>>().join(": ")
}

/// Returns the line that the message of the TOML parser names.
fn wrong_line<'t>(error: &str, text: &'t str) -> Option<&'t str> {
    let (_, rest) = error.split_once("at line ")?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
    let number: usize = rest.get(..digits)?.parse().ok()?;
    text.lines().nth(number.checked_sub(1)?)
}

/// Returns the most probable mistake in a line that is not TOML.
fn hint(line: &str) -> Option<&'static str> {
    if line.contains(['“', '”', '„', '‘', '’']) {
        return Some("the line has typographic quotes; write straight quotes");
    }
    let start = line.trim_start();
    if start.starts_with("//") || start.starts_with(';') || start.starts_with("--") {
        return Some("a comment begins with #");
    }
    if start.starts_with('{') || start.starts_with("\"") && start.contains("\":") {
        return Some(
            "the line is JSON; the bridge reads TOML and not JSON: a setting is written NAME = VALUE",
        );
    }
    let shell = ["export ", "set ", "let ", "const ", "var "];
    if shell.iter().any(|word| start.starts_with(word)) {
        return Some(
            "a setting is written NAME = VALUE, without a word such as export before the name",
        );
    }
    let Some((name, value)) = line.split_once('=') else {
        let is_table = start.starts_with('[');
        let hint = "a setting is written NAME = VALUE";
        return (!is_table).then_some(hint);
    };
    let value = value.trim();
    if value.starts_with(['=', '>', '~']) || name.ends_with([':', '?']) {
        return Some("a setting is written NAME = VALUE");
    }
    if value.len() > 1 && value.ends_with([',', ';']) {
        return Some("a line ends without a comma or a semicolon");
    }
    if name.trim().contains(' ') && !name.contains(['"', '\'', '[', '{', '#']) {
        return Some("a name with a space stands in quotes, such as metadata.\"my key\"");
    }
    if let Some(hint) = word_hint(value) {
        return Some(hint);
    }
    if value.starts_with('"') && has_wrong_escape(value) {
        let hint =
            "a text with a backslash stands in single quotes, such as '\"\\(.first) \\(.last)\"'";
        return Some(hint);
    }
    if value.starts_with('"') {
        let quotes = value.matches('"').count() - value.matches("\\\"").count();
        let hint =
            "a text with double quotes stands in single quotes, such as '.phone | e164(\"US\")'";
        return (quotes > 2).then_some(hint);
    }
    let is_word = value.starts_with(|first: char| first.is_alphabetic() || first == '.');
    (is_word && value != "true" && value != "false").then_some("a text stands in quotes")
}

/// Returns the hint about a word of another language that stands for a value of TOML.
fn word_hint(value: &str) -> Option<&'static str> {
    let word = value.split('#').next().unwrap_or_default().trim();
    let is_one_of = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    if matches!(word, "true" | "false") {
        None
    } else if is_one_of(&["on", "off"]) {
        Some(
            "write \"on\" or \"off\" in quotes, or true or false without quotes if the setting has these values",
        )
    } else if is_one_of(&["yes", "true", "no", "false"]) {
        Some("write true or false, without quotes and in lower case")
    } else if is_one_of(&["null", "nil"]) {
        Some(
            "TOML has no null; leave the line out, or write the expression in quotes, such as \"null\"",
        )
    } else {
        None
    }
}

/// Returns whether a text in double quotes has a backslash before a letter that TOML does not escape.
fn has_wrong_escape(value: &str) -> bool {
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        let is_escape = letter == '\\';
        if is_escape
            && letters
                .next()
                .is_some_and(|next| !"btnfreuUx\"\\".contains(next))
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use config::{File, FileFormat, Source as _};

    use super::*;

    /// FAULTS N561
    #[test]
    fn the_message_does_not_repeat_the_line() {
        let text = "a = 1\nkey = \"canary\n";
        let parsed = File::from_str(text, FileFormat::Toml).collect();
        let message = explained(&parsed.unwrap_err(), text);
        assert!(message.contains("at line 2, column "), "{message}");
        assert!(message.contains(": invalid basic string"), "{message}");
        assert!(!message.contains("canary"), "{message}");
    }

    #[test]
    fn the_probable_mistake_is_named() {
        for (line, expected) in [
            ("kind = none", Some("a text stands in quotes")),
            ("email = .email", Some("a text stands in quotes")),
            ("kind = “none”", Some("typographic quotes")),
            ("phone = \".phone | e164(\"US\")\"", Some("single quotes")),
            ("profile: local", Some("NAME = VALUE")),
            ("email => \".a\"", Some("NAME = VALUE")),
            ("email == \".a\"", Some("NAME = VALUE")),
            ("email = \".a\",", Some("without a comma")),
            ("draft = yes", Some("write true or false")),
            // FAULTS N1054
            ("mode = on", Some("write \"on\" or \"off\" in quotes")),
            ("mode = OFF # x", Some("write \"on\" or \"off\" in quotes")),
            (
                "export format=\"json\"",
                Some("without a word such as export"),
            ),
            ("{\"type\": \"object\"}", Some("the line is JSON")),
            ("draft = True # x", Some("write true or false")),
            ("email = null", Some("TOML has no null")),
            ("city = \"\\(.city)\"", Some("single quotes")),
            (
                "city = \".city | split(\\\"\\d\\\")\"",
                Some("single quotes"),
            ),
            ("// a note", Some("a comment begins with #")),
            ("{\"profile\": \"local\"}", Some("not JSON")),
            ("metadata.my key = \".x\"", Some("a name with a space")),
            ("kind = \"none\"", None),
            ("x = 5", None),
            ("[auth", None),
        ] {
            let found = hint(line);
            assert_eq!(found.is_some(), expected.is_some(), "{line}: {found:?}");
            assert!(
                found
                    .unwrap_or_default()
                    .contains(expected.unwrap_or_default()),
                "{line}: {found:?}"
            );
        }
        let error = "TOML parse error at line 2, column 8\n  |";
        assert_eq!(wrong_line(error, "a\nb = c\n"), Some("b = c"));
        assert_eq!(wrong_line("no line", "a"), None);
    }
}
