//! Errors of TOML files that cannot be parsed. Some errors of the parser name a wrong cause, so the bridge adds
//! the most probable mistake in the line.

/// Returns the message of the TOML parser about `text`, with the most probable mistake.
pub(super) fn explained(error: &config::ConfigError, text: &str) -> String {
    let error = error.to_string();
    let error = error.trim_end();
    match wrong_line(error, text).and_then(hint) {
        Some(hint) => format!("{error}\n  probable cause: {hint}"),
        None => error.to_owned(),
    }
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
    let Some((_, value)) = line.split_once('=') else {
        let is_table = line.trim_start().starts_with('[');
        let hint = "a setting is written NAME = VALUE";
        return (!is_table).then_some(hint);
    };
    let value = value.trim();
    if value.starts_with('"') {
        let quotes = value.matches('"').count() - value.matches("\\\"").count();
        let hint =
            "a text with double quotes stands in single quotes, such as '.phone | e164(\"US\")'";
        return (quotes > 2).then_some(hint);
    }
    let is_word = value.starts_with(|first: char| first.is_alphabetic() || first == '.');
    (is_word && value != "true" && value != "false").then_some("a text stands in quotes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probable_mistake_is_named() {
        for (line, expected) in [
            ("kind = none", Some("a text stands in quotes")),
            ("email = .email", Some("a text stands in quotes")),
            ("kind = “none”", Some("typographic quotes")),
            ("phone = \".phone | e164(\"US\")\"", Some("single quotes")),
            ("profile: local", Some("NAME = VALUE")),
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
