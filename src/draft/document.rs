//! The text of a source file as a list of items: comments, tables and settings. A draft can switch a setting off: the
//! setting then stands in a comment, with the reason.

use super::path::quoted;

/// The maximum length of a comment line.
const LINE_CHARS_MAX: usize = 118;

/// The content of a source file, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    items: Vec<Item>,
}

/// A part of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// Comment lines and empty lines, as they stand in the file.
    Text(Vec<String>),
    /// The head of a table, without brackets.
    Table(String),
    Setting(DraftSetting),
}

/// A setting with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DraftSetting {
    /// The table of the setting, without brackets.
    pub(super) table: String,
    pub(super) key: String,
    /// The value in TOML notation, which can have several lines.
    pub(super) value: String,
    /// The reason why the setting is only a comment.
    pub(super) off: Option<String>,
}

impl Document {
    /// Reads a source file in the notation of the source files of this repository.
    pub(super) fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let mut table = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.is_empty() || line.starts_with('#') {
                document.text(line);
                continue;
            }
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'))
            {
                name.clone_into(&mut table);
                document.items.push(Item::Table(table.clone()));
                continue;
            }
            let Some((key, first)) = line.split_once(" = ") else {
                continue;
            };
            let value = whole_value(first, &mut lines);
            document.items.push(Item::Setting(DraftSetting {
                table: table.clone(),
                key: key.to_owned(),
                value,
                off: None,
            }));
        }
        document
    }

    /// Adds one comment line or empty line.
    pub(super) fn text(&mut self, line: &str) {
        match self.items.last_mut() {
            Some(Item::Text(lines)) => lines.push(line.to_owned()),
            Some(Item::Table(_) | Item::Setting(_)) | None => {
                self.items.push(Item::Text(vec![line.to_owned()]));
            }
        }
    }

    /// Adds a comment, broken into lines.
    pub(super) fn comment(&mut self, text: &str) {
        for line in wrapped(text) {
            self.text(&line);
        }
    }

    pub(super) fn table(&mut self, name: &str) {
        self.text("");
        self.items.push(Item::Table(name.to_owned()));
    }

    /// Adds a setting to the last table.
    pub(super) fn setting(&mut self, key: &str, value: &str) {
        let setting = DraftSetting {
            table: self.last_table(),
            key: key.to_owned(),
            value: value.to_owned(),
            off: None,
        };
        self.items.push(Item::Setting(setting));
    }

    /// Adds a comment and an empty line before the first table.
    pub(super) fn comment_before_tables(&mut self, text: &str) {
        let mut lines = wrapped(text);
        lines.push(String::new());
        let is_table = |item: &Item| matches!(item, Item::Table(_));
        let position = self.items.iter().position(is_table).unwrap_or_default();
        self.items.insert(position, Item::Text(lines));
    }

    fn last_table(&self) -> String {
        let table = self.items.iter().rev().find_map(|item| match item {
            Item::Table(name) => Some(name.clone()),
            Item::Text(_) | Item::Setting(_) => None,
        });
        table.unwrap_or_default()
    }

    /// Switches off the settings that `reason` returns a reason for.
    pub(super) fn switch_off(&mut self, reason: impl Fn(&DraftSetting) -> Option<String>) -> usize {
        let mut count = 0_usize;
        for item in &mut self.items {
            let Item::Setting(setting) = item else {
                continue;
            };
            if setting.off.is_none()
                && let Some(reason) = reason(setting)
            {
                setting.off = Some(reason);
                count = count.saturating_add(1);
            }
        }
        count
    }

    pub(super) fn settings(&self) -> impl Iterator<Item = &DraftSetting> {
        self.items.iter().filter_map(|item| match item {
            Item::Setting(setting) => Some(setting),
            Item::Text(_) | Item::Table(_) => None,
        })
    }

    /// Returns the table of the fields of an event type.
    pub(super) fn update_table(&self, event_type: &str) -> Option<String> {
        let tables = self.items.iter().filter_map(|item| match item {
            Item::Table(name) => Some(name),
            Item::Text(_) | Item::Setting(_) => None,
        });
        let mut tables = tables.filter(|table| table.ends_with(".update"));
        let found = tables.find(|table| self::event_type(table).as_deref() == Some(event_type));
        found.cloned()
    }

    /// Inserts the items of another document after the last item of a table.
    pub(super) fn insert_into(&mut self, table: &str, other: Self) {
        let is_inside = |item: &Item| match item {
            Item::Table(name) => name == table,
            Item::Setting(setting) => setting.table == table,
            Item::Text(_) => false,
        };
        match self.items.iter().rposition(is_inside) {
            Some(position) => {
                let rest = self.items.split_off(position.saturating_add(1));
                self.items.extend(other.items);
                self.items.extend(rest);
            }
            None => self.items.extend(other.items),
        }
    }

    /// Returns the text of the source file.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for item in &self.items {
            match item {
                Item::Text(lines) => lines.iter().for_each(|line| push_line(&mut text, line)),
                Item::Table(name) => push_line(&mut text, &format!("[{name}]")),
                Item::Setting(setting) => setting.render(&mut text),
            }
        }
        text
    }
}

impl DraftSetting {
    fn render(&self, text: &mut String) {
        let code = format!("{} = {}", self.key, self.value);
        match &self.off {
            None => push_line(text, &code),
            Some(reason) => {
                wrapped(reason)
                    .iter()
                    .for_each(|line| push_line(text, line));
                code.lines()
                    .for_each(|line| push_line(text, &format!("# {line}")));
            }
        }
    }

    /// Returns the name of the event type in whose table the setting stands.
    pub(super) fn event_type(&self) -> Option<String> {
        event_type(&self.table)
    }

    /// Returns the Imprint field that the setting sets, or a rule such as `customer.imprint_id`.
    pub(super) fn target(&self) -> String {
        let key = self.key.strip_prefix("update.").unwrap_or(&self.key);
        unquoted(key)
    }
}

/// Returns a value with the further lines that belong to it: a text in three quotes, or a list.
fn whole_value<'a>(first: &str, lines: &mut impl Iterator<Item = &'a str>) -> String {
    let mut value = first.to_owned();
    let is_open = |text: &str| {
        text.strip_prefix("'''")
            .is_some_and(|rest| !rest.contains("'''"))
    };
    let end = match first {
        "[" => "]",
        _ if is_open(first) => "'''",
        _ => return value,
    };
    for line in lines {
        value.push('\n');
        value.push_str(line);
        if line.ends_with(end) {
            break;
        }
    }
    value
}

/// Returns the event type of a table such as `events."contact.changed".update`.
pub(super) fn event_type(table: &str) -> Option<String> {
    let rest = table.strip_prefix("events.")?;
    let name = rest.strip_suffix(".update").unwrap_or(rest);
    Some(unquoted(name))
}

/// Removes the quotes of a key. The keys of a draft contain no escapes except those of [`quoted`].
fn unquoted(key: &str) -> String {
    if key.contains('"')
        && let Ok(text) = serde_json::from_str(key)
    {
        return text;
    }
    key.replace('"', "")
}

/// Returns an expression as a TOML string.
pub(super) fn toml_text(text: &str) -> String {
    let is_plain = !text.contains('\'') && !text.chars().any(char::is_control);
    if is_plain && text.contains('"') {
        return format!("'{text}'");
    }
    quoted(text)
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// Breaks a comment into lines that begin with `# `.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        let length = line.chars().count().saturating_add(word.chars().count());
        if length >= LINE_CHARS_MAX && line != "#" {
            lines.push(std::mem::replace(&mut line, String::from("#")));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_file_is_read_and_written_without_a_change() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples");
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "toml") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert_eq!(Document::parse(&text).render(), text, "{}", path.display());
            }
        }
    }

    #[test]
    fn a_setting_that_is_off_is_a_comment_with_its_reason() {
        let mut document =
            Document::parse("[events.\"a.b\".update]\nemail = \".e\"\nphone = '''\n.p\n'''\n");
        let off = document.switch_off(|setting| (setting.key == "phone").then(|| "No.".to_owned()));
        assert_eq!(off, 1);
        assert_eq!(
            document.render(),
            "[events.\"a.b\".update]\nemail = \".e\"\n# No.\n# phone = '''\n# .p\n# '''\n"
        );
        let types: Vec<_> = document.settings().map(DraftSetting::event_type).collect();
        assert_eq!(types, [Some("a.b".to_owned()), Some("a.b".to_owned())]);
    }

    #[test]
    fn a_text_is_valid_toml_whatever_it_contains() {
        for text in ["a", "'", "\"", "'\"\\(x)", "\u{1}\n", "\u{202e}"] {
            let toml = format!("x = {}", toml_text(text));
            let read = config::Config::builder()
                .add_source(config::File::from_str(&toml, config::FileFormat::Toml))
                .build()
                .unwrap();
            assert_eq!(read.get_string("x").unwrap(), text);
        }
    }
}
