//! Paths of values in a sample, and their notation in the mapping language.

use serde_json::Value;

/// The maximum length of the expression of a path. An expression of the mapping language has at most 1,000 characters,
/// and the longest expression of a draft contains a path a few times.
pub(super) const PATH_CHARS_MAX: usize = 100;
/// The maximum number of brackets and hyphens in a path, because an expression has at most 64 of these signs.
pub(super) const PATH_SIGNS_MAX: usize = 8;
/// The maximum number of values that a draft keeps for each path, to recognize their form.
const VALUES_MAX: usize = 20;
/// Words of jq that cannot stand after a dot without quotes.
const KEYWORDS: [&str; 17] = [
    "__loc__", "and", "as", "catch", "def", "elif", "else", "end", "foreach", "if", "import",
    "include", "label", "or", "reduce", "then", "try",
];

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The member with this name.
    Member(String),
    /// The first item of a list.
    First,
    /// The first item of a list in which the member with this name marks the preferred item.
    Marked(String, ItemMark),
    /// The first item of a list in which the member with this name has none of these texts.
    Except(String, Vec<String>),
    /// The value of the item `{"key": name, "value": …}` of a list.
    Entry(String),
}

/// The value of a member that marks the preferred item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ItemMark {
    True,
    /// The number 1.
    One,
    /// The text `1`.
    OneText,
}

/// The path of a value in an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JsonPath(Vec<Step>);

/// A value without members and items, or a list of such values, as it occurs in the events of one type.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaf {
    pub(super) path: JsonPath,
    /// The different values, at most `VALUES_MAX`.
    pub(super) values: Vec<Value>,
    /// The first event of each of these values, as its position.
    value_events: Vec<usize>,
    /// The number of occurrences of each of these values.
    value_counts: Vec<usize>,
    /// The positions of the events that contain the path.
    pub(super) events: std::collections::BTreeSet<usize>,
    /// The number of events that contain the path.
    pub(super) count: usize,
    /// Whether false means that the text has no value.
    pub(super) is_false_empty: bool,
}

impl JsonPath {
    /// The path of a member of the event.
    pub(super) fn of(names: &[&str]) -> Self {
        let steps = names.iter().map(|name| Step::Member((*name).to_owned()));
        Self(steps.collect())
    }

    pub(super) fn child(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    pub(super) fn member(&self, name: &str) -> Self {
        self.child(Step::Member(name.to_owned()))
    }

    /// Returns the path without its last step. The root is its own parent.
    pub(super) fn parent(&self) -> Self {
        let length = self.0.len().saturating_sub(1);
        Self(self.0.iter().take(length).cloned().collect())
    }

    /// Returns the path with the first item in the place of each other item of a list.
    pub(super) fn with_first_items(&self) -> Self {
        let steps = self.0.iter().map(|step| match step {
            Step::Marked(..) | Step::Except(..) => Step::First,
            Step::Member(_) | Step::First | Step::Entry(_) => step.clone(),
        });
        Self(steps.collect())
    }

    pub(super) const fn depth(&self) -> usize {
        self.0.len()
    }

    pub(super) fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Returns the value at this path in an event.
    pub(super) fn value_in<'v>(&self, event: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(event, |value, step| match step {
            Step::Member(name) => value.get(name),
            Step::First => value.get(0),
            Step::Marked(..) | Step::Except(..) => {
                value.as_array()?.iter().find(|item| step.selects(item))
            }
            Step::Entry(name) => {
                let is_entry = |item: &&Value| item.get("key") == Some(&Value::from(name.as_str()));
                value.as_array()?.iter().find(is_entry)?.get("value")
            }
        })
    }

    /// Returns the names on the path, outermost first.
    pub(super) fn names(&self) -> Vec<&str> {
        let name = |step: &'_ Step| match step {
            Step::Member(_) | Step::Entry(_) => true,
            Step::First | Step::Marked(..) | Step::Except(..) => false,
        };
        let named = self.0.iter().filter(|step| name(step));
        named
            .map(|step| match step {
                Step::Member(name) | Step::Entry(name) => name.as_str(),
                Step::First | Step::Marked(..) | Step::Except(..) => "",
            })
            .collect()
    }

    pub(super) fn last_name(&self) -> &str {
        self.names().last().copied().unwrap_or_default()
    }

    /// Returns the path as an expression, such as `.data."first name"`.
    pub(super) fn expression(&self) -> String {
        let mut code = String::new();
        for step in &self.0 {
            let needs_pipe = matches!(step, Step::Marked(..) | Step::Except(..) | Step::Entry(_));
            if needs_pipe && !code.is_empty() && !code.ends_with(' ') {
                code.push_str(" | ");
            }
            match step {
                Step::Member(name) => {
                    code.push('.');
                    code.push_str(&member_name(name));
                }
                Step::First if code.is_empty() => code.push_str(".[0]"),
                Step::First => code.push_str("[0]"),
                Step::Marked(..) | Step::Except(..) | Step::Entry(_) => {
                    code.push_str(&piped(step));
                }
            }
        }
        if code.is_empty() {
            return ".".to_owned();
        }
        code.trim_end_matches(" | ").to_owned()
    }

    /// Returns the last name as an expression that reads the member of the current value.
    pub(super) fn member_expression(&self) -> String {
        format!(".{}", member_name(self.last_name()))
    }

    /// Returns whether an expression can contain the path without exceeding the limits of the mapping language.
    pub(super) fn is_usable(&self) -> bool {
        let code = self.expression();
        let signs = code.matches(['(', '[', '{', '-']).count();
        code.chars().count() <= PATH_CHARS_MAX && signs <= PATH_SIGNS_MAX
    }
}

/// Returns the part of an expression for a step that needs a pipe after it.
fn piped(step: &Step) -> String {
    match step {
        Step::Marked(marker, mark) => {
            let (name, mark) = (member_name(marker), mark.code());
            format!("map(select(.{name} == {mark})) | first | ")
        }
        Step::Except(member, texts) => {
            let name = member_name(member);
            let conditions = texts
                .iter()
                .map(|text| format!(".{name} != {}", quoted(text)));
            let conditions: Vec<String> = conditions.collect();
            format!("map(select({})) | first | ", conditions.join(" and "))
        }
        Step::Entry(name) => format!("from_entries | .{} | ", member_name(name)),
        Step::Member(_) | Step::First => String::new(),
    }
}

impl Step {
    /// Returns whether the step leads to this item of a list, if no item before it is one.
    pub(super) fn selects(&self, item: &Value) -> bool {
        match self {
            Self::Marked(marker, mark) => item.get(marker).is_some_and(|value| mark.is(value)),
            Self::Except(member, texts) => {
                let text = item.get(member).and_then(Value::as_str);
                !text.is_some_and(|text| texts.iter().any(|except| except == text))
            }
            Self::First => true,
            Self::Member(_) | Self::Entry(_) => false,
        }
    }
}

impl ItemMark {
    pub(super) const ALL: [Self; 3] = [Self::True, Self::One, Self::OneText];

    pub(super) fn is(self, value: &Value) -> bool {
        match self {
            Self::True => *value == Value::Bool(true),
            Self::One => value.as_u64() == Some(1),
            Self::OneText => value.as_str() == Some("1"),
        }
    }

    /// Returns whether a value is the mark, or the value of an item without it.
    pub(super) fn is_or_lacks(self, value: &Value) -> bool {
        match self {
            Self::True => value.is_boolean(),
            Self::One => value.as_u64().is_some_and(|number| number <= 1),
            Self::OneText => value
                .as_str()
                .is_some_and(|text| ["0", "1"].contains(&text)),
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::One => "1",
            Self::OneText => "\"1\"",
        }
    }
}

/// Returns a member name as it stands after a dot in an expression.
fn member_name(name: &str) -> String {
    let mut bytes = name.bytes();
    let starts_well = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let is_word = starts_well && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_word && !KEYWORDS.contains(&name) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// Returns a text in double quotes, as JSON, jq and TOML read it alike. All characters that are not visible are escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        let code = u32::from(c);
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            _ if is_invisible(c) && code <= 0xffff => {
                quoted.push_str(&format!("\\u{code:04x}"));
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns whether a character is a control character, or changes the order or the width of a line.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl Leaf {
    /// Creates a leaf without values.
    pub(super) fn at(path: &JsonPath) -> Self {
        Self {
            path: path.clone(),
            ..Self::default()
        }
    }

    /// Adds the value that one event has at the path of the leaf.
    pub(super) fn add(&mut self, value: &Value, event: usize) {
        self.count = self.count.saturating_add(1);
        self.events.insert(event);
        let known = self.values.iter().position(|known| known == value);
        if let Some(count) = known.and_then(|known| self.value_counts.get_mut(known)) {
            *count = count.saturating_add(1);
        } else if self.values.len() < VALUES_MAX {
            self.values.push(value.clone());
            self.value_events.push(event);
            self.value_counts.push(1);
        }
    }

    /// Returns whether a value is neither null nor a text of white space, and no false in the place of a text.
    fn is_present(&self, value: &Value) -> bool {
        let is_blank = value.as_str().is_some_and(|text| text.trim().is_empty());
        let is_empty = self.is_false_empty && *value == Value::Bool(false);
        !value.is_null() && !is_blank && !is_empty
    }

    /// Returns the position of the first event in which the value is false.
    pub(super) fn first_false(&self) -> Option<usize> {
        let mut values = self.value_events.iter().zip(&self.values);
        let (event, _) = values.find(|(_, value)| **value == Value::Bool(false))?;
        Some(*event)
    }

    /// Returns whether an event is the first one in which the value is empty.
    pub(super) fn is_empty_in(&self, event: usize) -> bool {
        let mut values = self.value_events.iter().zip(&self.values);
        values.any(|(first, value)| *first == event && !self.is_present(value))
    }

    /// Returns the values except null and texts of white space. Such a text means that the source has deleted the value.
    pub(super) fn present(&self) -> impl Iterator<Item = &Value> {
        self.present_in().map(|(_, value)| value)
    }

    /// Returns the values of [`Leaf::present`], each with the position of its first event.
    pub(super) fn present_in(&self) -> impl Iterator<Item = (usize, &Value)> {
        self.values_in().filter(|(_, value)| self.is_present(value))
    }

    /// Returns all values, each with the position of its first event.
    pub(super) fn values_in(&self) -> impl Iterator<Item = (usize, &Value)> {
        self.value_events.iter().copied().zip(&self.values)
    }

    /// Returns the leaf with only the values that satisfy a condition.
    pub(super) fn only(&self, fits: impl Fn(&Value) -> bool) -> Self {
        let mut leaf = Self {
            values: Vec::new(),
            value_events: Vec::new(),
            value_counts: Vec::new(),
            ..self.clone()
        };
        let values = self.values.iter().zip(&self.value_counts);
        for ((value, count), event) in values.zip(&self.value_events) {
            if self.is_present(value) && fits(value) {
                leaf.values.push(value.clone());
                leaf.value_events.push(*event);
                leaf.value_counts.push(*count);
            }
        }
        leaf
    }

    /// Returns whether all events have the leaf, or at least most events. One event that lacks a member can be an example of
    /// an invalid event.
    pub(super) fn is_common(&self, events: usize) -> bool {
        let has = self.events.len();
        has == events || has.saturating_mul(2) > events
    }

    /// Returns whether the leaf has another value in each event.
    pub(super) fn is_different(&self) -> bool {
        let has_one = |count: &usize| *count == 1;
        self.values.len() == self.events.len().min(VALUES_MAX)
            && self.value_counts.iter().all(has_one)
    }

    /// Returns whether most of the values, weighted by their occurrences, satisfy a condition, or all of no values.
    pub(super) fn mostly(&self, fits: impl Fn(&Value) -> bool) -> bool {
        let values = self.values.iter().zip(&self.value_counts);
        let (mut all, mut fitting) = (0_usize, 0_usize);
        for (value, count) in values.filter(|(value, _)| self.is_present(value)) {
            all = all.saturating_add(*count);
            if fits(value) {
                fitting = fitting.saturating_add(*count);
            }
        }
        all == fitting || fitting.saturating_mul(2) > all
    }

    pub(super) fn has_value(&self) -> bool {
        self.present().next().is_some()
    }
}
