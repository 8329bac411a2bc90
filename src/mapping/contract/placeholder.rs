//! Texts that a program writes in the place of a value that it does not have. Such a text must not become the name or the
//! address of a customer.

use crate::mapping::{Field, FieldFormat};

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
const NO_VALUE: &str = "The text only says that there is no value, such as N/A. The source must send null; otherwise write if .name == \"N/A\" then null else .name end, with the path of the value and with its text.";
/// The texts that say that there is no value, in lower case. `NA`, `None` and `Null` are names of persons.
const NO_VALUES: [&str; 5] = ["n/a", "#n/a", "n.a.", "tbd", "unknown"];
/// The last names of the paths of the fields that are wrong with such a text. Forms have it also in the second line of an
/// address and in a tier, where it does no harm.
const NAMED: [&str; 6] = [
    "first_name",
    "last_name",
    "street_line1",
    "city",
    "state",
    "postal_code",
];

const JSON: &str = "The text contains JSON, and an expression reads no JSON inside a text. If another member has the value itself, write its path; otherwise the source must send the JSON itself.";

/// Returns whether a text is a list or an object in JSON.
pub(super) fn is_json(text: &str) -> bool {
    let value = serde_json::from_str::<serde::de::IgnoredAny>(text);
    value.is_ok() && text.trim_start().starts_with(['{', '['])
}

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

/// Returns the reason why a text such as `N/A` or `-` is no value of a name or of an address.
pub(super) fn no_value(field: &Field, text: &str) -> Option<&'static str> {
    if field.format() != FieldFormat::Text {
        return None;
    }
    let text = text.trim();
    let says_none = NO_VALUES.iter().any(|none| none.eq_ignore_ascii_case(text))
        || text.bytes().all(|byte| byte.is_ascii_punctuation());
    let is_named = || {
        let name = field.path().rsplit('.').next();
        name.is_some_and(|name| NAMED.contains(&name))
    };
    (says_none && !text.is_empty() && is_named()).then_some(NO_VALUE)
}

/// The reason why a text such as `N/A` is no id.
const NO_ID: &str = "The text only says that there is no id, such as null or N/A, so the event does not say which customer it is about. The source must send the id.";
/// The texts that programs write in the place of an id that they do not have.
const NO_IDS: [&str; 12] = [
    "#N/A",
    "<null>",
    "N/A",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nil",
    "null",
    "undefined",
    "unknown",
    "Unknown",
];
/// The UUID of zeros, which .NET and other programs write for no UUID (RFC 9562, section 5.9).
const NIL_UUID: &str = "00000000-0000-0000-0000-000000000000";

/// Returns the reason why a text is no id of a customer. An id can be a GUID in braces.
pub(super) fn no_id(text: &str) -> Option<&'static str> {
    let says_none = NO_IDS.contains(&text)
        || text == NIL_UUID
        || text.bytes().all(|byte| byte.is_ascii_punctuation());
    let starts = text.starts_with(['{', '[', '"']);
    let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if says_none {
        Some(NO_ID)
    } else if starts && is_json() {
        Some(JSON)
    } else if !has_sign(text) {
        None
    } else if TEMPLATES
        .iter()
        .any(|template| has_template(text, template))
    {
        Some(TEMPLATE)
    } else if text.contains("[object Object]") {
        Some(OBJECT)
    } else {
        None
    }
}

/// Returns whether a text has a character that every placeholder has. Nearly every text has none.
fn has_sign(text: &str) -> bool {
    text.bytes().any(|byte| b"{%<*[&".contains(&byte))
}

/// Returns whether a text has the signs of a template around another text.
fn has_template(text: &str, (start, end): &(&str, &str)) -> bool {
    let inner = text.split_once(start).map(|(_, inner)| inner);
    inner.is_some_and(|inner| inner.contains(end))
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
    if !has_sign(text) {
        return None;
    }
    let has = |template: &(&str, &str)| has_template(text, template);
    let percent = text
        .strip_prefix('%')
        .and_then(|text| text.strip_suffix('%'));
    let is_between = |start, end| text.starts_with(start) && text.ends_with(end);
    let is_bracketed = is_between('[', ']') || is_between('{', '}');
    let is_object = text.contains("[object Object]");
    if is_bracketed && !is_object && is_json(text) {
        return Some(JSON);
    }
    if TEMPLATES.iter().any(has)
        || is_bracketed && !is_object
        || percent.is_some_and(|name| name.len() > 1)
    {
        Some(TEMPLATE)
    } else if is_object {
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
            // FAULTS N1400
            ("[first_name]", Some(TEMPLATE)),
            ("{first_name}", Some(TEMPLATE)),
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

    /// FAULTS N1488
    #[test]
    fn a_text_for_no_id_is_no_id() {
        for (text, expected) in [
            ("{{contact.id}}", Some(TEMPLATE)),
            ("${id}", Some(TEMPLATE)),
            ("\"7064055\"", Some(JSON)),
            ("{\"id\": 7}", Some(JSON)),
            ("[7, 8]", Some(JSON)),
            ("[object Object]", Some(OBJECT)),
            ("None", Some(NO_ID)),
            ("null", Some(NO_ID)),
            ("undefined", Some(NO_ID)),
            ("n/a", Some(NO_ID)),
            ("-", Some(NO_ID)),
            ("NULL", Some(NO_ID)),
            ("<null>", Some(NO_ID)),
            ("00000000-0000-0000-0000-000000000000", Some(NO_ID)),
            ("TBD", None),
            ("{D5A3C9F2-0000-4000-8000-000000000001}", None),
            ("none-7", None),
            ("NONE", None),
            ("7", None),
            ("0", None),
            ("a@example.com", None),
            ("urn:li:person:x", None),
        ] {
            assert_eq!(no_id(text), expected, "{text}");
        }
    }

    /// FAULTS N1400
    #[test]
    fn a_text_for_no_value_is_no_name_and_no_address() {
        let flaw = |field, text| no_value(&Field::parse(field).unwrap(), text);
        for text in ["N/A", " n/a ", "#N/A", "-", "--", ".", "TBD", "Unknown"] {
            for field in ["first_name", "customer_history.address.city"] {
                assert_eq!(flaw(field, text), Some(NO_VALUE), "{field} {text}");
            }
            for field in [
                "street_line2",
                "customer_history.loyalty_tier",
                "metadata.city",
            ] {
                assert_eq!(flaw(field, text), None, "{field} {text}");
            }
        }
        for name in ["Na", "NA", "None", "Null", "Ng", "O", "Unknown Road 7", ""] {
            assert_eq!(flaw("last_name", name), None, "{name}");
        }
    }
}
