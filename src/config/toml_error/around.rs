//! The mistakes in a TOML file that the line of the error alone does not show.

/// Returns the mistake that the message of the parser and the lines before the wrong line show. `number` is the number of the
/// wrong line.
pub(super) fn hint(message: &str, text: &str, number: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let (before, rest) = lines.split_at_checked(number.checked_sub(1)?)?;
    let line = rest.first()?.trim();
    let is_mark = ["<<<<<<<", "=======", ">>>>>>>", "|||||||"]
        .iter()
        .any(|mark| line.starts_with(mark));
    if text.replace("\r\n", "\n").contains('\r') && message.contains("carriage return") {
        Some("some lines end in CR without LF; save the file with LF or CR LF at the end of each line".to_owned())
    } else if is_mark {
        Some("the line is a mark of a merge conflict of git".to_owned())
    } else if message.contains("duplicate key") {
        duplicate(before, line)
    } else if message.contains("invalid unquoted key") && line.starts_with('[') {
        Some("a name with signs other than letters, digits, - and _ stands in quotes, such as [events.\"contact.*\"]".to_owned())
    } else if message.contains("with a dotted key") {
        group_with_value(before, line)
    } else if message.contains("array")
        && (line.starts_with('[') || is_setting(line))
        && let Some(open) = open_list(before)
    {
        Some(format!(
            "the list that begins in line {} has no `]`",
            open.saturating_add(1)
        ))
    } else if (message.contains("inline table") || message.contains("missing comma"))
        && let Some(open) = open_table(&lines, before)
    {
        Some(format!(
            "the table that begins with {{ in line {} has no `}}`",
            open.saturating_add(1)
        ))
    } else if is_open_text(line) {
        Some("the text in the line has no closing quote; three quotes stand around a text of several lines".to_owned())
    } else if before.last().is_some_and(|line| is_open_text(line)) {
        Some("the text in the line before has no closing quote; three quotes stand around a text of several lines".to_owned())
    } else {
        None
    }
}

/// Returns whether a line begins with a key and `=`.
fn is_setting(line: &str) -> bool {
    let key = line.split_once('=').map_or("", |(key, _)| key.trim());
    let is_sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '"');
    !key.is_empty() && key.chars().all(is_sign)
}

/// Returns the line that gives one value to a group of settings.
fn group_with_value(before: &[&str], line: &str) -> Option<String> {
    let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let member = name(line);
    let is_group =
        |line: &&str| line.contains('=') && member.starts_with(&format!("{}.", name(line)));
    let found = before.iter().rposition(is_group)?;
    let group = before.get(found).map(|line| name(line))?;
    Some(format!(
        "{group} has a value in line {}, but it is a group of settings, which has no value itself",
        found.saturating_add(1)
    ))
}

/// Returns the line of the first table or setting with the same name.
fn duplicate(before: &[&str], line: &str) -> Option<String> {
    let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    if line.starts_with('[') {
        let first = before.iter().position(|known| known.trim() == line)?;
        return Some(format!(
            "the table stands already in line {}: join the two tables",
            first.saturating_add(1)
        ));
    }
    let is_header = |line: &&str| line.trim_start().starts_with('[');
    let table = before.iter().rposition(is_header).unwrap_or_default();
    let same = |known: &&str| known.contains('=') && name(known) == name(line);
    let first = before.iter().skip(table).position(same)?;
    let first = table.saturating_add(first).saturating_add(1);
    Some(format!("the setting stands already in line {first}"))
}

/// Returns the position of the line that begins a list, if no later line ends it.
fn open_list(before: &[&str]) -> Option<usize> {
    let open = before.iter().rposition(|line| is_open_list(line))?;
    let mut after = before.iter().skip(open.saturating_add(1));
    (!after.any(|line| line.contains(']'))).then_some(open)
}

/// Returns the position of the last line with a setting, if it begins a table in braces that no line ends.
fn open_table(lines: &[&str], before: &[&str]) -> Option<usize> {
    let last = before.iter().rposition(|line| !line.trim().is_empty())?;
    let value = before.get(last)?.split_once('=')?.1.trim();
    let rest = lines.iter().skip(last);
    let mut of_table = rest.take_while(|line| !line.trim_start().starts_with('['));
    (value.starts_with('{') && !of_table.any(|line| line.contains('}'))).then_some(last)
}

/// Returns whether a line begins a list that does not end in the line.
fn is_open_list(line: &str) -> bool {
    let value = line.split_once('=').map(|(_, value)| value.trim());
    value.is_some_and(|value| value.starts_with('[') && !value.contains(']'))
}

/// Returns whether a line has a text without its closing quote.
fn is_open_text(line: &str) -> bool {
    let value = line.split_once('=').map(|(_, value)| value.trim());
    value.is_some_and(|value| {
        let quotes = value.matches('"').count() - value.matches("\\\"").count();
        let is_open_literal = value.starts_with('\'') && value.matches('\'').count() == 1;
        is_open_literal || value.starts_with('"') && !value.starts_with("\"\"\"") && quotes == 1
    })
}

#[cfg(test)]
mod tests {
    use config::{File, FileFormat, Source as _};

    use super::super::explained;

    /// FAULTS N1208: the message names a mistake in another line, or in the whole file.
    #[test]
    fn a_mistake_in_another_line_is_named() {
        for (text, expected) in [
            (
                "ignore = [\"new\", \"delete\"\n\n[auth]\nkind = \"none\"\n",
                "the list that begins in line 1 has no `]`",
            ),
            // FAULTS N1285
            (
                "[auth]\nsecret_files = [\"a\"\nheader = \"x-signature\"\n",
                "the list that begins in line 2 has no `]`",
            ),
            (
                "secret_files = [\n  \"a\"\n\nheader = \"x-signature\"\n",
                "the list that begins in line 1 has no `]`",
            ),
            // FAULTS N1395
            (
                "[e]\ncustomer = { partner_id = \".id\"\n[e.update]\n",
                "the table that begins with { in line 2 has no `}`",
            ),
            (
                "[e]\ncustomer = {\n  partner_id = \".id\";\n}\n[e.update]\n",
                "a line ends without a comma or a semicolon",
            ),
            ("a = \"x\"\rb = \"y\"\r", "some lines end in CR without LF"),
            ("[update]\nemail = \".data\n.email\"\n", "no closing quote"),
            // FAULTS N1244
            (
                "[update]\ntenure = 'months_since(\n.a; .b)'\n",
                "no closing quote",
            ),
            (
                "[update]\ntenure = 'months_since(\n.a | moment(\"s\"); .b | moment(\"s\"))'\n",
                "no closing quote",
            ),
            (
                "[auth]\na = 1\n\n[auth]\nb = 1\n",
                "the table stands already in line 1",
            ),
            (
                "[auth]\na = 1\n[other]\na = 1\nb = 2\na = 3\n",
                "the setting stands already in line 4",
            ),
            // FAULTS N1223
            (
                "a = 1\n[events.contact.*]\nb = 1\n",
                "stands in quotes, such as [events.\"contact.*\"]",
            ),
            (
                "[update]\nc = \".d\"\nhistory = \".data\"\nhistory.email = \".e\"\n",
                "history has a value in line 3",
            ),
            ("a = 1\n<<<<<<< HEAD\nb = 1\n", "a merge conflict of git"),
        ] {
            let parsed = File::from_str(text, FileFormat::Toml).collect();
            let message = explained(&parsed.unwrap_err(), text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
