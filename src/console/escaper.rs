//! Writes values into a page as text: without markup, and without characters that change the order of other characters.

use std::fmt;

use askama::filters::{Escaper, Html};

use crate::terminal::changes_the_order;

/// The escaper of every template.
///
/// Replaces the characters that [`changes_the_order`] names with U+FFFD, because the reason of an operator could otherwise
/// look like another reason. A field of a form that a browser sends back has the filter `e("xml")`, which keeps them.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageText;

impl Escaper for PageText {
    fn write_escaped_str<W: fmt::Write>(&self, dest: W, text: &str) -> fmt::Result {
        // All of these characters have several bytes in UTF-8.
        if text.is_ascii() || !text.contains(changes_the_order) {
            return Html.write_escaped_str(dest, text);
        }
        Html.write_escaped_str(dest, &text.replace(changes_the_order, "\u{fffd}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1121
    #[test]
    fn a_value_is_text_in_the_order_of_its_characters() {
        for (text, expected) in [
            ("<b>&\n\t\u{e9}", "&#60;b&#62;&#38;\n\t\u{e9}"),
            ("ok\u{202e}<daor", "ok\u{fffd}&#60;daor"),
            ("\u{2066}a\u{2069}\u{61c}", "\u{fffd}a\u{fffd}\u{fffd}"),
        ] {
            let mut page = String::new();
            PageText.write_escaped_str(&mut page, text).unwrap();
            assert_eq!(page, expected);
        }
    }
}
