//! Texts that a program writes in the place of a value that it does not have. Such a text must not become the name or the
//! address of a customer.

/// The signs at the beginning and at the end of a placeholder in the templates of mail and marketing systems.
const TEMPLATES: [(&str, &str); 6] = [
    ("{{", "}}"),
    ("{%", "%}"),
    ("${", "}"),
    ("<%", "%>"),
    ("*|", "|*"),
    ("[[", "]]"),
];
const TEMPLATE: &str = "The text has a placeholder of a template, such as {{name}}, in the place of a value. The source must send the value.";
const OBJECT: &str = "The text is what a program writes for an object or for a value that is not there. The source must send the value.";
const NULL: &str = "The text is the word null, in the place of a value. The source must send null; otherwise write if .name == \"null\" then null else .name end, with the path of the value.";

const HTML: &str = "The text has a character in the notation of HTML, such as &amp; for &. The source must send the character itself.";
/// The names of HTML's notation for a character, and the ends of the names of letters with an accent.
const HTML_NAMES: [&str; 6] = ["amp", "apos", "gt", "lt", "nbsp", "quot"];
const HTML_ENDS: [&str; 9] = [
    "acute", "caron", "cedil", "circ", "grave", "ring", "slash", "tilde", "uml",
];

/// Returns whether a text has a character in the notation of HTML, such as `&amp;`, `&#39;` or `&iacute;`.
fn has_html_reference(text: &str) -> bool {
    let mut parts = text.split('&').skip(1);
    parts.any(|part| {
        let Some((name, _)) = part.split_once(';') else {
            return false;
        };
        let number = name.strip_prefix('#');
        let is_number = number.is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        let is_accent = HTML_ENDS.iter().any(|end| {
            name.strip_suffix(end)
                .is_some_and(|letter| letter.len() == 1)
        });
        is_number || is_accent || HTML_NAMES.contains(&name)
    })
}

/// Returns the reason why a text is no value of a customer.
pub(super) fn flaw(text: &str) -> Option<&'static str> {
    let text = text.trim();
    if text == "undefined" {
        return Some(OBJECT);
    }
    if text == "null" {
        return Some(NULL);
    }
    // Nearly every text ends here.
    if !text.bytes().any(|byte| b"{%<*[&".contains(&byte)) {
        return None;
    }
    let has = |(start, end): &(&str, &str)| {
        let inner = text.split_once(start).map(|(_, inner)| inner);
        inner.is_some_and(|inner| inner.contains(end))
    };
    let percent = text
        .strip_prefix('%')
        .and_then(|text| text.strip_suffix('%'));
    if TEMPLATES.iter().any(has) || percent.is_some_and(|name| name.len() > 1) {
        Some(TEMPLATE)
    } else if text.contains("[object Object]") {
        Some(OBJECT)
    } else if has_html_reference(text) {
        Some(HTML)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1264
    #[test]
    fn a_placeholder_is_no_value() {
        for (text, expected) in [
            ("{{contact.lastname}}", Some(TEMPLATE)),
            ("Dear {{ first_name | default }}", Some(TEMPLATE)),
            ("${name}", Some(TEMPLATE)),
            ("*|LNAME|*", Some(TEMPLATE)),
            ("%%first_name%%", Some(TEMPLATE)),
            ("[[last]]", Some(TEMPLATE)),
            ("<%= name %>", Some(TEMPLATE)),
            ("{% if name %}", Some(TEMPLATE)),
            ("[object Object]", Some(OBJECT)),
            (" undefined ", Some(OBJECT)),
            ("null", Some(NULL)),
            // Forms have this word in the second line of an address, and in a tier.
            ("N/A", None),
            // FAULTS N1296
            ("Mar&iacute;a", Some(HTML)),
            ("John &amp; Mary", Some(HTML)),
            ("O&#39;Neil", Some(HTML)),
            ("O&#x27;Neil", Some(HTML)),
            ("Smith & Sons; Reno", None),
            ("A&B;C", None),
            // Names of persons and of streets.
            ("Null", None),
            ("NULL", None),
            ("Nan", None),
            ("None", None),
            ("Undefined Street 7", None),
            ("100% Main St", None),
            ("%", None),
            ("%%", None),
            ("Suite {5}", None),
            ("*", None),
            ("1 Main St [rear]", None),
        ] {
            assert_eq!(flaw(text), expected, "{text}");
        }
    }
}
