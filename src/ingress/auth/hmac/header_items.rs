//! Selects the signatures or the signing time in a header value: the whole value, or some items of a list.

/// The characters of which a separator between the items of a header can consist. Base64 uses none of these characters.
const SEPARATORS: &[u8] = b" ,;|&:~!*$#";

/// The rule that selects the signatures, or the signing time, in a header value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderItems {
    prefix: String,
    separator: Option<String>,
}

impl HeaderItems {
    /// Creates a rule that selects parts of a header value. Without a separator, the rule selects the whole header
    /// value after `prefix`. With a separator, the rule selects all items that begin with `prefix`.
    ///
    /// # Errors
    /// Returns an error if the separator or the prefix is not valid.
    pub fn new(prefix: String, separator: Option<String>) -> Result<Self, String> {
        if let Some(separator) = &separator {
            let is_separator = |byte: &u8| SEPARATORS.contains(byte);
            if separator.is_empty() || !separator.as_bytes().iter().all(is_separator) {
                return Err(
                    "must be made of these characters: space , ; | & : ~ ! * $ #".to_owned(),
                );
            }
            if prefix.is_empty() {
                return Err("needs a prefix, which selects the items of the list".to_owned());
            }
            if prefix.contains(separator) {
                return Err("must not occur in the prefix".to_owned());
            }
        }
        Ok(Self { prefix, separator })
    }

    /// Returns the selected items of the header value `line`, without their prefix.
    pub(super) fn items<'a>(&'a self, line: &'a str) -> impl Iterator<Item = &'a str> {
        let separator = self.separator.as_deref();
        let items = separator.map(|separator| line.split(separator).map(str::trim));
        let whole = separator.is_none().then_some(line);
        let items = items.into_iter().flatten().chain(whole);
        items.filter_map(|item| item.strip_prefix(self.prefix.as_str()))
    }

    /// Returns the text before each selected item.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the header item for a value: the prefix and the value.
    pub(super) fn item(&self, value: &str) -> String {
        format!("{}{value}", self.prefix)
    }

    /// Returns the separator of the header items, or an empty text if the header is not a list.
    pub(super) fn separator(&self) -> &str {
        self.separator.as_deref().unwrap_or_default()
    }

    /// Returns whether no header item can match both rules, `self` and `others`.
    #[must_use]
    pub fn are_disjoint_from(&self, others: Option<&Self>) -> bool {
        let is_disjoint = |others: &Self| {
            !self.prefix.starts_with(&others.prefix) && !others.prefix.starts_with(&self.prefix)
        };
        others.is_none_or(is_disjoint)
    }
}
