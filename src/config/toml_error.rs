//! Errors of TOML files that cannot be parsed. Some errors of the parser name a wrong cause, so the bridge adds
//! the most probable mistake in the line. The message does not repeat the line: the log has the message too, and the
//! line possibly contains a secret that somebody wrote into the file by mistake.

mod around;

/// Returns the message of the TOML parser about `text`, with the most probable mistake.
pub(super) fn explained(error: &config::ConfigError, text: &str) -> String {
    let error = error.to_string();
    let cause = without_line(&error);
    let place = wrong_line(&error, text);
    let hint = place.and_then(|(number, line)| {
        around::hint(&cause, text, number).or_else(|| hint(line).map(str::to_owned))
    });
    match hint {
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

/// Returns the line that the message of the TOML parser names, with its number.
fn wrong_line<'t>(error: &str, text: &'t str) -> Option<(usize, &'t str)> {
    let (_, rest) = error.split_once("at line ")?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
    let number: usize = rest.get(..digits)?.parse().ok()?;
    let line = text.lines().nth(number.checked_sub(1)?)?;
    Some((number, line))
}

/// Returns the most probable mistake in a line that is not TOML.
fn hint(line: &str) -> Option<&'static str> {
    if line.contains(['“', '”', '„', '‘', '’']) {
        return Some("the line has typographic quotes; write straight quotes");
    }
    if has_invisible_sign(line) {
        return Some(
            "the line has an invisible character, such as a no-break space: write the line again, without it",
        );
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
    if value.is_empty() {
        return Some("the value after = is missing");
    }
    if ends_with_foreign_comment(value) {
        return Some("a comment begins with #");
    }
    if value.contains('"') && has_wrong_escape(value) && !value.contains("\\(") {
        return Some("a path is written with /, and a text with a backslash in single quotes");
    }
    if value.starts_with('"') {
        return quoted_hint(value);
    }
    let value = value.split('#').next().unwrap_or_default().trim();
    let value = value.trim_start_matches(['[', ' ']);
    let is_word = value.starts_with(|first: char| first.is_alphabetic() || first == '.')
        || is_text_with_digits(value);
    (is_word && value != "true" && value != "false").then_some("a text stands in quotes")
}

/// Returns whether a line has an invisible character outside its texts and its comment, such as a no-break space.
fn has_invisible_sign(line: &str) -> bool {
    let is_space = |sign: char| !sign.is_ascii() && (sign.is_whitespace() || sign.is_control());
    let is_invisible = |sign: char| is_space(sign) || matches!(sign, '\u{200b}' | '\u{feff}');
    for part in line.split(['"', '\'']).step_by(2) {
        let (before, has_comment) = match part.split_once('#') {
            Some((before, _)) => (before, true),
            None => (part, false),
        };
        if before.contains(is_invisible) || has_comment {
            return before.contains(is_invisible);
        }
    }
    false
}

/// Returns the hint about a text in double quotes.
fn quoted_hint(value: &str) -> Option<&'static str> {
    if has_wrong_escape(value) {
        return Some(
            "a text with a backslash stands in single quotes, such as '\"\\(.first) \\(.last)\"'",
        );
    }
    let quotes = value.matches('"').count() - value.matches("\\\"").count();
    let hint = "the text has double quotes inside, so single quotes must stand around it, such as '.phone | e164(\"US\")'";
    (quotes > 2).then_some(hint)
}

/// Returns whether `//` stands after the closing quote of a text.
fn ends_with_foreign_comment(value: &str) -> bool {
    let quote = value.chars().next().filter(|quote| "\"'".contains(*quote));
    let after = quote.and_then(|quote| value.get(1..)?.rsplit_once(quote));
    after.is_some_and(|(_, after)| after.trim_start().starts_with("//"))
}

/// Returns whether a value begins with a digit and is no number, such as an IP address with a port, or a duration.
fn is_text_with_digits(value: &str) -> bool {
    let of_text = |sign: char| sign.is_ascii_alphanumeric() || ".:-/_".contains(sign);
    value.starts_with(|first: char| first.is_ascii_digit())
        && value.chars().all(of_text)
        && value.replace('_', "").parse::<f64>().is_err()
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
            // FAULTS N1207
            ("ignore = [new, delete]", Some("a text stands in quotes")),
            ("listen = 127.0.0.1:8080", Some("a text stands in quotes")),
            ("wait = 30s # x", Some("a text stands in quotes")),
            (
                "token_files = [\"s\\copper.secret\"]",
                Some("a path is written with /"),
            ),
            (
                "when = \".type == \"person\"\"",
                Some("single quotes must stand around it"),
            ),
            ("email = \".data.email\" // mail", Some("begins with #")),
            ("email =", Some("the value after = is missing")),
            // FAULTS N1395
            ("email\u{a0}= \".a\"", Some("an invisible character")),
            ("a = .a # \u{a0}: x", Some("stands in quotes")),
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
        assert_eq!(wrong_line(error, "a\nb = c\n"), Some((2, "b = c")));
        assert_eq!(wrong_line("no line", "a"), None);
    }
}
