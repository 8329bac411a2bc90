//! Which parts of a header's line are meant: all of it, or some items of a list.

/// What may part the items of a header besides a space; not what base64 is made of.
const SEPARATORS: &[u8] = b" ,;|&:~!*$#";

/// Which parts of a header's line are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderItems {
    prefix: String,
    separator: Option<String>,
}

impl HeaderItems {
    /// The whole line, behind `prefix`; or, with a separator, every item of the line behind `prefix`.
    ///
    /// # Errors
    /// What is wrong with the separator.
    pub fn new(prefix: String, separator: Option<String>) -> Result<Self, String> {
        if let Some(separator) = &separator {
            let is_separator = |byte: &u8| SEPARATORS.contains(byte);
            if separator.is_empty() || !separator.as_bytes().iter().all(is_separator) {
                return Err("must be a comma, semicolon, space or the like".to_owned());
            }
            if prefix.is_empty() {
                return Err("needs a prefix: it tells which items of the list are meant".to_owned());
            }
            if prefix.contains(separator) {
                return Err("stands in the prefix: no item could have that".to_owned());
            }
        }
        Ok(Self { prefix, separator })
    }

    /// The values that stand in a line.
    pub(super) fn items<'a>(&'a self, line: &'a str) -> impl Iterator<Item = &'a str> {
        let separator = self.separator.as_deref();
        let items = separator.map(|separator| line.split(separator).map(str::trim));
        let whole = separator.is_none().then_some(line);
        let items = items.into_iter().flatten().chain(whole);
        items.filter_map(|item| item.strip_prefix(self.prefix.as_str()))
    }

    /// A value as it is written into the line.
    pub(super) fn item(&self, value: &str) -> String {
        format!("{}{value}", self.prefix)
    }

    /// What stands between two items; nothing where the line is no list.
    pub(super) fn separator(&self) -> &str {
        self.separator.as_deref().unwrap_or_default()
    }

    /// Whether no item of a line that both are about could be taken for both.
    #[must_use]
    pub fn are_told_from(&self, others: Option<&Self>) -> bool {
        let is_apart = |others: &Self| {
            !self.prefix.starts_with(&others.prefix) && !others.prefix.starts_with(&self.prefix)
        };
        others.is_none_or(is_apart)
    }
}
